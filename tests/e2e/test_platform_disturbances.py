"""The detector is killed, and shards are merged and split while aggregates are sent: nothing is lost.

The stream then has another number of shards than the detector has subtasks. The tests share a stack, so each counts
what it adds.
"""

import csv
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local_cloud import counts, flink, steps
from local_cloud.demo import REPLAY
from local_cloud.pollers.shards import list_shards, read_all
from local_cloud.stack import ROOT, Stack
from local_cloud.waiting import wait_for
from simulator.traffic.event import COLUMNS

USERS_PER_S, EVENTS_PER_USER = 10, 6  # one above the threshold: each lost event is a missing alert
KILLED_SECONDS, KILL_AFTER_S = 25, 12
# A replay may end later than its events: Python starts slowly on a busy machine.
LATE_S = 60
# The replay looks at the shards every 10 s: it knows of the merge before the split, and of the split before its end.
SECONDS, MERGE_AFTER_S, SPLIT_AFTER_S = 40, 15, 26
AFTERWARDS_SECONDS = 10


def write_bots(path: Path, seconds: int, first_user: int) -> set[str]:
    """Write events of users who each do one thing too many in a second. Return them as subjects of alerts."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for second in range(seconds):
            for step in range(EVENTS_PER_USER):
                for user in range(first_user + second * USERS_PER_S, first_user + (second + 1) * USERS_PER_S):
                    at = f"2020-03-01 00:00:{second:02} UTC"
                    rows.writerow([at, "view", 100 + step, 7, "", "kestrel", "9.90", user, f"s-{user}"])
    return {f"user#{user}" for user in range(first_user, first_user + seconds * USERS_PER_S)}


@contextmanager
def replaying(stack: Stack, data: Path, seconds: int) -> Iterator[None]:
    """Send the file at the pace of a shop, so that the detector is never far behind, and return when all is sent."""
    command = [*REPLAY, str(data), "--stream", stack.outputs()["raw_stream_name"]]
    command += ["--aggregate", "--time", "now", "--speed", "1"]
    environment = stack.full_environment() | {"PYTHONPATH": str(ROOT / "src")}
    replay = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    try:
        yield
        _, said = replay.communicate(timeout=seconds + LATE_S)
    finally:
        replay.kill()
    assert replay.returncode == 0, said


def bursts(stack: Stack) -> Counter[str]:
    """Return how many incidents of the rule burst each subject has."""
    incidents = counts.incidents(stack.client("dynamodb"), stack.outputs()["incident_table_name"])
    return Counter(item["subject"] for item in incidents if item["rule"] == "burst")


def open_shards(stack: Stack) -> list[dict]:
    """Return the open shards of stream 1 in the order of their hash keys."""
    shards = [
        shard
        for shard in list_shards(stack.client("kinesis"), stack.outputs()["raw_stream_name"])
        if "EndingSequenceNumber" not in shard["SequenceNumberRange"]
    ]
    return sorted(shards, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))


def test_a_detector_that_is_killed_goes_on_at_its_checkpoint(stack: Stack, tmp_path: Path) -> None:
    outputs = stack.outputs()
    job = flink.running_job(stack)
    data = tmp_path / "bots.csv"
    bots = write_bots(data, KILLED_SECONDS, 710_000_000)
    found_before = bursts(stack)
    with replaying(stack, data, KILLED_SECONDS):
        time.sleep(KILL_AFTER_S)
        stack.supervisor.signal("flink-taskmanager", "KILL")

    def restarted() -> bool:
        # Not by its state alone: that changes only when Flink notices.
        restored = flink.rest(stack, f"/jobs/{job}/checkpoints")["counts"]["restored"]
        return restored >= 1 and all(vertex["status"] == "RUNNING" for vertex in flink.job(stack, job)["vertices"])

    wait_for(restarted, "the detector to run again from a checkpoint", timeout_s=120)
    savepoint = steps.drain(stack)
    counts.wait_until_handled(stack)
    assert bursts(stack) - found_before == Counter(bots)
    # An alert that is reported before and after the restart is the same alert.
    alerts = counts.alerts(stack.client("kinesis"), outputs["alert_stream_name"])
    found = {alert["alert_id"] for alert in alerts if alert["rule"] == "burst" and alert["subject"] in bots}
    assert len(found) == len(bots)
    steps.start_detector(stack, savepoint)


def split(stack: Stack, shard: dict) -> None:
    """Split the shard into two of half its size."""
    middle = (int(shard["HashKeyRange"]["StartingHashKey"]) + int(shard["HashKeyRange"]["EndingHashKey"])) // 2
    stream = stack.outputs()["raw_stream_name"]
    stack.client("kinesis").split_shard(
        StreamName=stream, ShardToSplit=shard["ShardId"], NewStartingHashKey=str(middle)
    )


def merge(stack: Stack, shard: dict, next_shard: dict) -> None:
    """Merge two shards that are side by side."""
    stack.client("kinesis").merge_shards(
        StreamName=stack.outputs()["raw_stream_name"],
        ShardToMerge=shard["ShardId"],
        AdjacentShardToMerge=next_shard["ShardId"],
    )


def test_every_event_of_every_aggregate_comes_through_a_merge_and_a_split(stack: Stack, tmp_path: Path) -> None:
    outputs = stack.outputs()
    stream = outputs["raw_stream_name"]
    kinesis = stack.client("kinesis")
    assert len(open_shards(stack)) == 4
    data = tmp_path / "bots.csv"
    bots = write_bots(data, SECONDS, 600_000_000)
    before, found_before = counts.records(kinesis, stream), bursts(stack)
    with replaying(stack, data, SECONDS):
        time.sleep(MERGE_AFTER_S)
        merge(stack, *open_shards(stack)[1:3])
        assert len(open_shards(stack)) == 3
        time.sleep(SPLIT_AFTER_S - MERGE_AFTER_S)
        split(stack, open_shards(stack)[1])
        assert len(open_shards(stack)) == 4
    assert counts.records(kinesis, stream) == before + len(bots) * EVENTS_PER_USER
    savepoint = steps.drain(stack)
    counts.wait_until_handled(stack)
    assert bursts(stack) - found_before == Counter(bots)
    assert steps.wait_until_delivered(stack) == before + len(bots) * EVENTS_PER_USER
    written = {record["ShardId"] for record in read_all(kinesis, stream)}
    assert len(written) == 7  # four, one of the merge, two of the split
    steps.start_detector(stack, savepoint)


def test_a_backlog_on_more_shards_than_subtasks_loses_nothing(stack: Stack, tmp_path: Path) -> None:
    """The detector is down while the stream is split and a replay fills it: it reads old and new shards at once."""
    savepoint = steps.drain(stack)
    found_before = bursts(stack)
    data = tmp_path / "bots.csv"
    bots = write_bots(data, SECONDS, 510_000_000)
    with replaying(stack, data, SECONDS):
        time.sleep(SPLIT_AFTER_S - MERGE_AFTER_S)
        split(stack, open_shards(stack)[0])
        assert len(open_shards(stack)) == 5
    steps.start_detector(stack, savepoint)
    steps.drain(stack)
    counts.wait_until_handled(stack)
    assert bursts(stack) - found_before == Counter(bots)
    steps.start_detector(stack)


def test_a_dead_detector_is_noticed(stack: Stack) -> None:
    flink.rest(stack, f"/jobs/{flink.running_job(stack)}/yarn-cancel")
    wait_for(lambda: flink.running_job(stack) is None, "the detector to be cancelled", timeout_s=30)
    with pytest.raises(RuntimeError, match=r"the detector does not run: see .*flink-jobmanager.log"):
        steps.drain(stack)


# An option that Managed Flink refuses.
FORBIDDEN = """
from pyflink.table import EnvironmentSettings, TableEnvironment

env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
env.get_config().set("state.backend.rocksdb.use-bloom-filter", "true")
env.execute_sql("create table nowhere (n int) with ('connector' = 'blackhole')")
env.execute_sql("insert into nowhere values (1)")
"""


def test_a_job_whose_code_sets_a_forbidden_option_is_refused(stack: Stack, tmp_path: Path) -> None:
    """The detectors above have passed the same gate. Now that none runs, slots are free."""
    program = tmp_path / "forbidden.py"
    program.write_text(FORBIDDEN)
    jar = stack.directory / "flink" / "app" / "lib" / "pyflink-dependencies.jar"
    with pytest.raises(RuntimeError, match="did not start"):
        flink.run(stack, "a job that sets an option", program, jar, flink.properties_file(stack), 1, 60_000)
    log = (stack.directory / "log" / "flink-run.log").read_text()
    assert "MutatedConfigurationException" in log and "use-bloom-filter" in log
