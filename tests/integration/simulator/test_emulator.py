"""The emulator's Kinesis where it was fixed: shards that are split or merged stay to be read, as on AWS."""

from collections import Counter

import boto3
import pytest
from botocore.exceptions import ClientError

from local_cloud.pollers.shards import Shard, list_shards, read_all

TRIM_HORIZON = {"ShardIteratorType": "TRIM_HORIZON"}
HASH_KEYS = 2**128


def put(stream: str, names: range) -> None:
    entries = [{"PartitionKey": str(name), "Data": str(name).encode()} for name in names]
    assert boto3.client("kinesis").put_records(StreamName=stream, Records=entries)["FailedRecordCount"] == 0


def open_shards(stream: str) -> list[dict]:
    """Return the open shards in the order of their hash keys."""
    shards = list_shards(boto3.client("kinesis"), stream)
    living = [shard for shard in shards if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]
    return sorted(living, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))


def bounds(shard: dict) -> tuple[int, int]:
    return int(shard["HashKeyRange"]["StartingHashKey"]), int(shard["HashKeyRange"]["EndingHashKey"])


def test_a_split_shard_is_read_to_its_end_and_takes_no_more(emulator: str, stream: str) -> None:
    kinesis = boto3.client("kinesis")
    put(stream, range(100))
    parent = open_shards(stream)[0]
    first, last = bounds(parent)
    reader = Shard(kinesis, stream, parent["ShardId"], None, TRIM_HORIZON)

    kinesis.split_shard(StreamName=stream, ShardToSplit=parent["ShardId"], NewStartingHashKey=str((first + last) // 2))
    put(stream, range(100, 200))

    assert [int(record["Data"]) < 100 for record in reader.read()].count(True) > 10
    assert reader.is_read_out
    assert Counter(int(record["Data"]) for record in read_all(boto3.client("kinesis"), stream)) == Counter(range(200))
    children = [shard for shard in open_shards(stream) if shard.get("ParentShardId") == parent["ShardId"]]
    assert [bounds(child) for child in children] == [(first, (first + last) // 2 - 1), ((first + last) // 2, last)]


def test_a_closed_shard_cannot_be_split_again(emulator: str, stream: str) -> None:
    kinesis = boto3.client("kinesis")
    shard = open_shards(stream)[0]
    split = {"StreamName": stream, "ShardToSplit": shard["ShardId"], "NewStartingHashKey": "1000"}
    kinesis.split_shard(**split)

    with pytest.raises(ClientError, match="is closed"):
        kinesis.split_shard(**split)


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_an_update_of_the_shard_count_makes_equal_shards_and_keeps_all_records(
    emulator: str, stream: str, count: int
) -> None:
    kinesis = boto3.client("kinesis")
    put(stream, range(100))

    kinesis.update_shard_count(StreamName=stream, TargetShardCount=count, ScalingType="UNIFORM_SCALING")
    put(stream, range(100, 200))

    shards = [bounds(shard) for shard in open_shards(stream)]
    assert len(shards) == count
    assert [first for first, _ in shards] == [0, *(last + 1 for _, last in shards[:-1])]
    assert shards[-1][1] == HASH_KEYS - 1
    assert max(last - first for first, last in shards) - min(last - first for first, last in shards) <= count
    summary = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    assert summary["OpenShardCount"] == count
    assert Counter(int(record["Data"]) for record in read_all(boto3.client("kinesis"), stream)) == Counter(range(200))


def test_a_shard_count_beyond_the_double_is_refused(emulator: str, stream: str) -> None:
    with pytest.raises(ClientError, match="TargetShardCount 9"):
        boto3.client("kinesis").update_shard_count(StreamName=stream, TargetShardCount=9, ScalingType="UNIFORM_SCALING")
