"""Shards are read in order, parents before children, and after a restart from where it stopped: all of it, once."""

import json
from itertools import islice
from pathlib import Path
from threading import Thread

import boto3
import pytest
from local_cloud_fakes import Clock, Kinesis, Stop
from moto import mock_aws

from local_cloud.pollers import shards
from local_cloud.pollers.shards import Checkpoints, Shard, follow, next_shards, read_all

FROM_START = {"ShardIteratorType": "TRIM_HORIZON"}


def numbers(records: list[dict]) -> list[str]:
    return [record["SequenceNumber"] for record in records]


def followed(kinesis: Kinesis, checkpoints: Checkpoints, clock: Clock) -> list[tuple[str, str]]:
    """Return (shard, sequence number) of all that is read until the clock stops it."""
    seen = []
    with pytest.raises(Stop):
        for shard, records in follow(kinesis, "one", checkpoints, FROM_START, clock.sleep):
            seen += [(shard.name, number) for number in numbers(records)]
    return seen


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "poller" / "one.json")


def test_a_read_goes_on_behind_the_one_before() -> None:
    kinesis = Kinesis("a")
    shard = Shard(kinesis, "one", "a", None, FROM_START)
    assert shard.read() == []
    first, second = kinesis.put("a"), kinesis.put("a")
    assert numbers(shard.read()) == [first, second]
    assert shard.read() == []
    third = kinesis.put("a")
    assert numbers(shard.read()) == [third]


def test_a_shard_is_read_from_behind_the_checkpoint() -> None:
    kinesis = Kinesis("a")
    first, second = kinesis.put("a"), kinesis.put("a")
    assert numbers(Shard(kinesis, "one", "a", first, FROM_START).read()) == [second]


def test_an_expired_iterator_is_renewed_behind_the_last_record_read() -> None:
    kinesis = Kinesis("a")
    shard = Shard(kinesis, "one", "a", None, FROM_START)
    kinesis.put("a")
    shard.read()
    second = kinesis.put("a")
    kinesis.expire_iterators()
    assert shard.read() == []
    assert numbers(shard.read()) == [second]


def test_an_iterator_that_expired_before_the_first_record_is_renewed_at_the_start() -> None:
    kinesis = Kinesis("a")
    shard = Shard(kinesis, "one", "a", None, FROM_START)
    kinesis.expire_iterators()
    first = kinesis.put("a")
    assert numbers(shard.read() + shard.read()) == [first]


def test_a_closed_shard_is_read_out_with_its_last_record() -> None:
    kinesis = Kinesis("a")
    first = kinesis.put("a")
    shard = Shard(kinesis, "one", "a", None, FROM_START)
    kinesis.close("a")
    assert not shard.is_read_out
    assert numbers(shard.read()) == [first]
    assert shard.is_read_out
    assert shard.read() == []
    assert kinesis.reads == ["a"]


def test_a_shard_that_is_gone_is_read_out() -> None:
    kinesis = Kinesis("a")
    shard = Shard(kinesis, "one", "a", None, FROM_START)
    kinesis.remove("a")
    assert shard.read() == []
    assert shard.is_read_out


def test_next_shards_are_those_whose_parents_are_finished_or_gone() -> None:
    listed = [
        {"ShardId": "a"},
        {"ShardId": "b"},
        {"ShardId": "half", "ParentShardId": "a"},
        {"ShardId": "whole", "ParentShardId": "a", "AdjacentParentShardId": "b"},
        {"ShardId": "late", "ParentShardId": "past its retention"},
    ]
    assert next_shards(listed, known=set(), finished=set()) == ["a", "b", "late"]
    assert next_shards(listed, known={"a", "b", "late"}, finished={"a"}) == ["half"]
    assert next_shards(listed, known={"a", "b", "late"}, finished={"a", "b"}) == ["half", "whole"]


def test_children_are_followed_after_their_parent_is_read_out(checkpoints: Checkpoints) -> None:
    kinesis, clock = Kinesis("a", "b"), Clock()
    kinesis.put("a")  # 1
    clock.at(1, lambda: kinesis.put("a"))  # 2
    clock.at(2, lambda: kinesis.reshard(["a"], ["c", "d"]))
    clock.at(2, lambda: [kinesis.put("d"), kinesis.put("c"), kinesis.put("b")])  # 3, 4, 5
    clock.at(8, lambda: kinesis.reshard(["b", "c"], ["e"]))
    clock.at(8, lambda: kinesis.put("e"))  # 6
    clock.stop_at(16)
    seen = followed(kinesis, checkpoints, clock)
    assert sorted(seen, key=lambda entry: int(entry[1])) == [
        *[("a", "1"), ("a", "2"), ("d", "3"), ("c", "4"), ("b", "5"), ("e", "6")]
    ]
    assert [number for shard, number in seen if shard in "acd"][:2] == ["1", "2"]
    assert seen[-1] == ("e", "6")


def test_a_child_waits_while_its_closed_parent_still_holds_records(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MAX_RECORDS_PER_READ", 1)
    monkeypatch.setattr(shards, "READS_PER_LOOK_AT_SHARDS", 1)
    kinesis, clock = Kinesis("a"), Clock()
    for _ in range(5):
        kinesis.put("a")
    kinesis.reshard(["a"], ["b"])
    kinesis.put("b")
    clock.stop_at(5)
    assert followed(kinesis, checkpoints, clock) == [*[("a", str(n)) for n in range(1, 6)], ("b", "6")]


def test_following_reads_no_shard_more_often_than_kinesis_allows(checkpoints: Checkpoints) -> None:
    kinesis, clock = Kinesis("a"), Clock()
    clock.stop_at(10)
    followed(kinesis, checkpoints, clock)
    assert len(kinesis.reads) <= 5 * 10


def test_a_restart_follows_on_behind_the_checkpoints(checkpoints: Checkpoints) -> None:
    kinesis = Kinesis("a", "b")
    first, second = kinesis.put("a"), kinesis.put("b")
    checkpoints.set("a", first)
    clock = Clock()
    third = kinesis.put("a")
    clock.stop_at(1)
    assert followed(kinesis, Checkpoints(checkpoints.file), clock) == [("a", third), ("b", second)]


def test_checkpoints_outlive_the_process(checkpoints: Checkpoints) -> None:
    assert checkpoints.get("a") is None
    checkpoints.set("a", "1")
    checkpoints.set("b", "2")
    checkpoints.set("a", "3")
    again = Checkpoints(checkpoints.file)
    assert (again.get("a"), again.get("b")) == ("3", "2")


def test_checkpoints_file_is_whole_at_every_moment_though_threads_write_it(checkpoints: Checkpoints) -> None:
    checkpoints.set("0", "0")
    threads = [
        Thread(target=lambda shard=shard: [checkpoints.set(shard, str(n)) for n in range(50)]) for shard in "0123"
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        json.loads(checkpoints.file.read_text())
    assert json.loads(checkpoints.file.read_text()) == dict.fromkeys("0123", "49")


def test_read_all_goes_on_through_an_empty_read_that_is_not_the_end() -> None:
    class WithGap(Kinesis):
        """Kinesis may return no records although more follow."""

        def get_records(self, ShardIterator: str, Limit: int) -> dict:
            if not self.reads:
                self.reads.append("empty")
                return {"Records": [], "NextShardIterator": ShardIterator, "MillisBehindLatest": 1000}
            return super().get_records(ShardIterator, Limit)

    kinesis = WithGap("a")
    kinesis.put("a", b"x")
    assert [record["Data"] for record in read_all(kinesis, "one")] == [b"x"]


def test_read_all_and_follow_understand_boto3(checkpoints: Checkpoints) -> None:
    with mock_aws():
        kinesis = boto3.client("kinesis", region_name="us-east-1")
        kinesis.create_stream(StreamName="one", ShardCount=3)
        kinesis.put_records(StreamName="one", Records=[{"Data": b"%d" % n, "PartitionKey": str(n)} for n in range(100)])
        everything = list(read_all(kinesis, "one"))
        followed = islice(follow(kinesis, "one", checkpoints, FROM_START, Clock().sleep), 3)
        seen = {(shard.name, record["Data"]) for shard, records in followed for record in records}
    assert sorted(int(record["Data"]) for record in everything) == list(range(100))
    assert {record["ShardId"] for record in everything} == {f"shardId-00000000000{n}" for n in range(3)}
    assert seen == {(record["ShardId"], record["Data"]) for record in everything}
