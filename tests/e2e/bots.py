"""Bots that each do one thing too many, so that each lost event is a missing alert, and what befalls their stream."""

import csv
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from local_cloud import counts
from local_cloud.demo import REPLAY
from local_cloud.pollers.shards import list_shards
from local_cloud.stack import ROOT, Stack
from simulator.traffic.event import COLUMNS

EVENTS_PER_USER = 6  # one above the threshold
START = datetime(2020, 3, 1, tzinfo=UTC)
# A replay may end later than its events: Python starts slowly on a busy machine.
LATE_S = 60


def write_bots(path: Path, seconds: int, first_user: int, users_per_s: int = 10) -> set[str]:
    """Write events of users who each do one thing too many in a second. Return them as subjects of alerts."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for second in range(seconds):
            at = f"{START + timedelta(seconds=second):%Y-%m-%d %H:%M:%S} UTC"
            users = range(first_user + second * users_per_s, first_user + (second + 1) * users_per_s)
            for step in range(EVENTS_PER_USER):
                for user in users:
                    rows.writerow([at, "view", 100 + step, 7, "", "kestrel", "9.90", user, f"s-{user}"])
    return {f"user#{user}" for user in range(first_user, first_user + seconds * users_per_s)}


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
    """Return how many alerts of the rule burst each subject has."""
    alerts = counts.stored_alerts(stack.client("dynamodb"), stack.outputs()["incident_table_name"])
    return Counter(item["subject"] for item in alerts if item["rule"] == "burst")


def open_shards(stack: Stack) -> list[dict]:
    """Return the open shards of stream 1 in the order of their hash keys."""
    shards = [
        shard
        for shard in list_shards(stack.client("kinesis"), stack.outputs()["raw_stream_name"])
        if "EndingSequenceNumber" not in shard["SequenceNumberRange"]
    ]
    return sorted(shards, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))


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
