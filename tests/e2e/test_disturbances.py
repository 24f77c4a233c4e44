"""The detector is killed, the stream's shards are merged and split, while aggregates are sent: nothing is lost.

Where a subtask would read two open shards, the detector says so and reads nothing.
"""

import csv
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from conftest import running_stack

from local_cloud import counts, flink, steps
from local_cloud.pollers.shards import list_shards, read_all
from local_cloud.stack import ROOT, Stack, wait_for
from simulator.traffic.event import COLUMNS

USERS_PER_S, EVENTS_PER_USER = 10, 6  # one more than the threshold: a single lost event is an alert that is not there
KILLED_SECONDS, KILL_AFTER_S = 25, 12
# The replay looks at the shards every 10 s: it knows of the merge when the split comes, and of the split later.
SECONDS, MERGE_AFTER_S, SPLIT_AFTER_S = 50, 15, 26
AFTERWARDS_SECONDS = 10


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running_stack(raw_stream_shard_count=4) as stack:
        yield stack


def write_bots(path: Path, seconds: int, first_user: int) -> set[str]:
    """Writes events of users who each do just too much in one second; returns them as subjects of alerts."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for second in range(seconds):
            for step in range(EVENTS_PER_USER):
                for user in range(first_user + second * USERS_PER_S, first_user + (second + 1) * USERS_PER_S):
                    at = f"2020-03-01 00:00:{second:02} UTC"
                    rows.writerow([at, "view", 100 + step, 7, "", "kestrel", "9.90", user, f"s-{user}"])
    return {f"user#{user}" for user in range(first_user, first_user + seconds * USERS_PER_S)}


def start_replay(data: Path, stream: str) -> subprocess.Popen[bytes]:
    """Starts to send the file at the pace of the shop: what the detector has not read yet is at most a moment old."""
    command = [sys.executable, "-m", "simulator", "replay", str(data), "--stream", stream]
    command += ["--aggregate", "--time", "now", "--speed", "1"]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, stderr=subprocess.PIPE)


def bursts(outputs: dict[str, str]) -> Counter[str]:
    """Returns how many incidents of the rule burst each subject has."""
    incidents = counts.incidents(outputs["incident_table_name"])
    return Counter(item["subject"] for item in incidents if item["rule"] == "burst")


def open_shards(stream: str) -> list[dict]:
    """Returns the open shards in the order of their hash keys."""
    shards = [
        shard
        for shard in list_shards(boto3.client("kinesis"), stream)
        if "EndingSequenceNumber" not in shard["SequenceNumberRange"]
    ]
    return sorted(shards, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))


def test_a_detector_that_is_killed_goes_on_at_its_checkpoint(stack: Stack, tmp_path: Path) -> None:
    outputs = stack.outputs()
    job = flink.running_job(stack)
    data = tmp_path / "bots.csv"
    bots = write_bots(data, KILLED_SECONDS, 700_000_000)
    replay = start_replay(data, outputs["raw_stream_name"])
    try:
        time.sleep(KILL_AFTER_S)
        killed = stack.control("signal", "KILL", "flink-taskmanager")
        assert killed.returncode == 0, killed.stdout
        _, said = replay.communicate(timeout=KILLED_SECONDS)
    finally:
        replay.kill()
    assert replay.returncode == 0, said

    def restarted() -> bool:
        # Its state alone is still that of before, until Flink notices.
        restored = flink.rest(stack, f"/jobs/{job}/checkpoints")["counts"]["restored"]
        return restored >= 1 and all(vertex["status"] == "RUNNING" for vertex in flink.job(stack, job)["vertices"])

    wait_for(restarted, "the detector to run again from a checkpoint", timeout_s=120)
    savepoint = steps.drain(stack)
    counts.wait_until_handled(stack, outputs)
    assert bursts(outputs) == Counter(bots)
    # What was reported before and after the restart is one and the same alert.
    alerts = counts.alerts(outputs["alert_stream_name"])
    assert len({alert["alert_id"] for alert in alerts if alert["rule"] == "burst"}) == len(bots)
    steps.start_detector(stack, savepoint)


def split(stream: str, shard: dict) -> None:
    """Splits the shard into two of half its size."""
    middle = (int(shard["HashKeyRange"]["StartingHashKey"]) + int(shard["HashKeyRange"]["EndingHashKey"])) // 2
    kinesis = boto3.client("kinesis")
    kinesis.split_shard(StreamName=stream, ShardToSplit=shard["ShardId"], NewStartingHashKey=str(middle))


def merge(stream: str, shard: dict, next_shard: dict) -> None:
    """Makes one shard of two neighbours."""
    boto3.client("kinesis").merge_shards(
        StreamName=stream, ShardToMerge=shard["ShardId"], AdjacentShardToMerge=next_shard["ShardId"]
    )


def wait_until_refused(stack: Stack, job: str, stream: str) -> None:
    """Returns when the job has failed because of the stream's first two shards, and has said what to do."""
    first, second = (shard["ShardId"] for shard in open_shards(stream)[:2])
    reason = f"with parallelism 4, one subtask would read {first} and {second} of stream {stream}"

    def refused() -> str | None:
        said = flink.first_exception(stack, job)
        return said if reason in said else None

    said = wait_for(refused, "the detector to refuse the shards", timeout_s=60)
    assert "give the stream as many shards of equal size" in said


def test_every_event_of_every_aggregate_comes_through_a_merge_and_a_split(stack: Stack, tmp_path: Path) -> None:
    outputs = stack.outputs()
    stream = outputs["raw_stream_name"]
    assert len(open_shards(stream)) == 4
    data = tmp_path / "bots.csv"
    bots = write_bots(data, SECONDS, 600_000_000)
    before, found_before = counts.records(stream), bursts(outputs)
    replay = start_replay(data, stream)
    try:
        time.sleep(MERGE_AFTER_S)
        merge(stream, *open_shards(stream)[1:3])
        assert len(open_shards(stream)) == 3
        time.sleep(SPLIT_AFTER_S - MERGE_AFTER_S)
        split(stream, open_shards(stream)[1])
        assert len(open_shards(stream)) == 4
        _, said = replay.communicate(timeout=SECONDS)
    finally:
        replay.kill()

    assert replay.returncode == 0, said
    assert counts.records(stream) == before + len(bots) * EVENTS_PER_USER
    savepoint = steps.drain(stack)
    counts.wait_until_handled(stack, outputs)
    assert bursts(outputs) - found_before == Counter(bots)
    assert steps.wait_until_delivered(stack) == before + len(bots) * EVENTS_PER_USER
    written = {record["ShardId"] for record in read_all(stream)}
    assert len(written) == 7  # four, one of the merge, two of the split
    steps.start_detector(stack, savepoint)


def test_a_split_that_would_share_a_subtask_stops_the_detector_until_it_is_undone(stack: Stack, tmp_path: Path) -> None:
    outputs = stack.outputs()
    stream = outputs["raw_stream_name"]
    job = flink.running_job(stack)
    found_before = bursts(outputs)

    def checkpoints() -> int:
        return flink.rest(stack, f"/jobs/{job}/checkpoints")["counts"]["completed"]

    split(stream, open_shards(stream)[0])
    wait_until_refused(stack, job, stream)
    merge(stream, *open_shards(stream)[:2])
    # The attempt that goes on may still know the two; as it starts, it may complete one.
    completed = checkpoints() + 1
    wait_for(lambda: checkpoints() > completed, "the detector to run again by itself", timeout_s=120)

    data = tmp_path / "bots.csv"
    bots = write_bots(data, AFTERWARDS_SECONDS, 500_000_000)
    replay = start_replay(data, stream)
    _, said = replay.communicate(timeout=3 * AFTERWARDS_SECONDS)
    assert replay.returncode == 0, said
    steps.drain(stack)
    counts.wait_until_handled(stack, outputs)
    assert bursts(outputs) - found_before == Counter(bots)


def test_a_detector_whose_subtask_would_read_two_shards_does_not_start(stack: Stack) -> None:
    outputs = stack.outputs()
    split(outputs["raw_stream_name"], open_shards(outputs["raw_stream_name"])[0])
    job = flink.submit(stack, outputs["detector_name"])
    wait_until_refused(stack, job, outputs["raw_stream_name"])
