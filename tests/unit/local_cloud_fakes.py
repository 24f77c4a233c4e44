"""Fakes for the tests of the local cloud's pollers: a clock that only `sleep` moves, and Kinesis in memory.

Unlike moto and the emulator, this Kinesis keeps the records of a split shard and ends its iterators, as AWS does.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


class Stop(Exception):
    """Ends an endless loop."""


class Clock:
    """Time that only sleeping moves. An action planned for a moment runs during the sleep that reaches it."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self.sleeps: list[float] = []
        self.plan: list[tuple[float, Callable[[], object]]] = []

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.passed_s)

    def at(self, second: float, action: Callable[[], object]) -> None:
        self.plan.append((second, action))

    def stop_at(self, second: float) -> None:
        def stop() -> None:
            raise Stop

        self.at(second, stop)

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.passed_s = round(self.passed_s + seconds, 3)
        due = [action for second, action in self.plan if second <= self.passed_s]
        self.plan = [entry for entry in self.plan if entry[0] > self.passed_s]
        for action in due:
            action()


class ExpiredIteratorException(Exception):
    pass


class ResourceNotFoundException(Exception):
    pass


class Kinesis:
    """A stream as AWS documents it, behind the part of boto3's client that the pollers use.

    An iterator of a closed shard ends (None) at the shard's end. ListShards returns one shard per page.
    """

    class exceptions:
        ExpiredIteratorException = ExpiredIteratorException
        ResourceNotFoundException = ResourceNotFoundException

    def __init__(self, *shards: str) -> None:
        self.records: dict[str, list[dict[str, Any]]] = {shard: [] for shard in shards}
        self.parents: dict[str, list[str]] = {shard: [] for shard in shards}
        self.closed: set[str] = set()
        self.last_number = 0
        self.generation = 0
        self.reads: list[str] = []

    def put(self, shard: str, data: bytes = b"", key: str = "1", at: datetime = NOON) -> str:
        """Add a record and return its sequence number: 1, 2, … over all shards."""
        assert shard not in self.closed
        self.last_number += 1
        number = str(self.last_number)
        self.records[shard].append(
            {"SequenceNumber": number, "Data": data, "PartitionKey": key, "ApproximateArrivalTimestamp": at}
        )
        return number

    def close(self, shard: str) -> None:
        self.closed.add(shard)

    def reshard(self, parents: list[str], children: list[str]) -> None:
        """Split one shard, or merge two."""
        self.closed.update(parents)
        for child in children:
            self.records[child], self.parents[child] = [], parents

    def remove(self, shard: str) -> None:
        """Remove a shard, as when its retention is over."""
        del self.records[shard], self.parents[shard]

    def expire_iterators(self) -> None:
        self.generation += 1

    def get_paginator(self, name: str) -> "Kinesis":
        assert name == "list_shards"
        return self

    def paginate(self, StreamName: str) -> list[dict[str, Any]]:
        pages = []
        for shard, parents in self.parents.items():
            names = dict(zip(("ParentShardId", "AdjacentParentShardId"), parents, strict=False))
            pages.append({"Shards": [{"ShardId": shard, **names}]})
        return pages

    def get_shard_iterator(
        self,
        StreamName: str,
        ShardId: str,
        ShardIteratorType: str,
        StartingSequenceNumber: str | None = None,
        Timestamp: datetime | None = None,
    ) -> dict[str, str]:
        starts = {
            "TRIM_HORIZON": lambda record: True,
            "AFTER_SEQUENCE_NUMBER": lambda record: int(record["SequenceNumber"]) > int(StartingSequenceNumber or 0),
            "AT_TIMESTAMP": lambda record: record["ApproximateArrivalTimestamp"] >= Timestamp,
        }
        records = self.records[ShardId]
        is_behind = starts[ShardIteratorType]
        index = next((i for i, record in enumerate(records) if is_behind(record)), len(records))
        return {"ShardIterator": f"{ShardId} {index} {self.generation}"}

    def get_records(self, ShardIterator: str, Limit: int) -> dict[str, Any]:
        shard, index, generation = ShardIterator.split()
        if int(generation) != self.generation:
            raise ExpiredIteratorException
        if shard not in self.records:
            raise ResourceNotFoundException
        self.reads.append(shard)
        records = self.records[shard][int(index) : int(index) + Limit]
        after = int(index) + len(records)
        is_end = after == len(self.records[shard])
        answer: dict[str, Any] = {"Records": records, "MillisBehindLatest": 0 if is_end else 1}
        if not (is_end and shard in self.closed):
            answer["NextShardIterator"] = f"{shard} {after} {self.generation}"
        return answer
