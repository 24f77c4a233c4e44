"""Reading a Kinesis stream shard by shard, and remembering how far."""

import json
import logging
import time
from collections.abc import Callable, Container, Iterator
from itertools import count
from pathlib import Path
from threading import Lock

import boto3

log = logging.getLogger("shards")

# https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html
MAX_RECORDS_PER_READ = 10_000
# Kinesis allows five reads a second and shard: https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
SECONDS_PER_READ = 0.2
READS_PER_LOOK_AT_SHARDS = 25


class Checkpoints:
    """How far each shard was dealt with; in a file, so that a restart goes on from there. Threads may share it."""

    def __init__(self, file: Path):
        self.file = file
        self.lock = Lock()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.positions: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}

    def get(self, shard: str) -> str | None:
        """Returns the shard's last sequence number that was dealt with; None at its start."""
        return self.positions.get(shard)

    def set(self, shard: str, sequence_number: str) -> None:
        """Remembers that everything up to this record was dealt with."""
        with self.lock:
            self.positions[shard] = sequence_number
            # Replaced as a whole: a reader, or a restart after a kill, never sees half a file.
            fresh = self.file.with_suffix(".new")
            fresh.write_text(json.dumps(self.positions))
            fresh.replace(self.file)


class Shard:
    """One shard, read from behind the record `after`, or else from `start`, boto3's arguments of an iterator."""

    def __init__(self, client, stream: str, name: str, after: str | None, start: dict):
        self.client, self.stream, self.name, self.start = client, stream, name, start
        self.after = after
        self.millis_behind = 0
        self.iterator: str | None = self.find_iterator()

    def find_iterator(self) -> str:
        """Returns an iterator behind the last record seen, or at the start asked for."""
        at = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": self.after}
        where = at if self.after else self.start
        return self.client.get_shard_iterator(StreamName=self.stream, ShardId=self.name, **where)["ShardIterator"]

    def read(self) -> list[dict]:
        """Returns the next records, boto3's dicts; none when there are none yet, or no more."""
        if self.is_read_out:
            return []
        try:
            answer = self.client.get_records(ShardIterator=self.iterator, Limit=MAX_RECORDS_PER_READ)
        except self.client.exceptions.ExpiredIteratorException:
            self.iterator = self.find_iterator()
            return []
        except self.client.exceptions.ResourceNotFoundException:
            # Past its retention.
            log.warning("shard %s of %s is gone", self.name, self.stream)
            self.iterator = None
            return []
        self.iterator = answer.get("NextShardIterator")
        if answer["Records"]:
            self.after = answer["Records"][-1]["SequenceNumber"]
        self.millis_behind = answer.get("MillisBehindLatest", 0)
        return answer["Records"]

    @property
    def is_read_out(self) -> bool:
        """Whether the shard was split or merged, and everything in it has been read."""
        return self.iterator is None


def list_shards(client, stream: str) -> list[dict]:
    """Returns the stream's shards, open and closed, parents before children."""
    pages = client.get_paginator("list_shards").paginate(StreamName=stream)
    return [shard for page in pages for shard in page["Shards"]]


def next_shards(shards: list[dict], known: Container[str], finished: set[str]) -> list[str]:
    """Returns the names of the shards, not `known` yet, that may be read: their parents are `finished` or gone."""
    names = {shard["ShardId"] for shard in shards}
    return [
        shard["ShardId"]
        for shard in shards
        if shard["ShardId"] not in known
        and {shard.get("ParentShardId"), shard.get("AdjacentParentShardId")} & names <= finished
    ]


def read_all(stream: str) -> Iterator[dict]:
    """Yields every record that the stream holds now, shard after shard, with its ShardId."""
    client = boto3.client("kinesis")
    for shard in list_shards(client, stream):
        reader = Shard(client, stream, shard["ShardId"], None, {"ShardIteratorType": "TRIM_HORIZON"})
        # A read may be empty and more still follow; only one at the shard's end says that it is nothing behind.
        while not reader.is_read_out:
            records = reader.read()
            yield from (record | {"ShardId": reader.name} for record in records)
            if not records and reader.millis_behind == 0:
                break


def follow(
    client, stream: str, checkpoints: Checkpoints, start: dict, sleep: Callable[[float], None] = time.sleep
) -> Iterator[tuple[Shard, list[dict]]]:
    """Yields (shard, records) for ever, each shard in order, a split shard's children after it is read out.

    The records can be none. Whoever takes them sets the checkpoint when they are dealt with.
    """
    readers: dict[str, Shard] = {}
    for turn in count():
        if turn % READS_PER_LOOK_AT_SHARDS == 0:
            finished = {name for name, reader in readers.items() if reader.is_read_out}
            for name in next_shards(list_shards(client, stream), readers, finished):
                readers[name] = Shard(client, stream, name, checkpoints.get(name), start)
        for reader in readers.values():
            yield reader, reader.read()
        sleep(SECONDS_PER_READ)
