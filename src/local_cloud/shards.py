"""Reading a Kinesis stream shard by shard, and remembering how far."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import boto3

# https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html
MAX_RECORDS_PER_READ = 10_000


class Checkpoints:
    """The last sequence number that was dealt with, by shard; in a file, so that a restart goes on from there."""

    def __init__(self, file: Path):
        self.file = file
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.positions: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}

    def get(self, shard: str) -> str | None:
        """Returns the shard's last sequence number that was dealt with; None at its start."""
        return self.positions.get(shard)

    def set(self, shard: str, sequence_number: str) -> None:
        """Remembers that everything up to this record was dealt with."""
        self.positions[shard] = sequence_number
        # Replaced as a whole: a reader, or a restart after a kill, never sees half a file.
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(self.positions))
        fresh.replace(self.file)


class Shard:
    """One shard, read from a position on."""

    def __init__(self, client, stream: str, shard: str, after: str | None, start: dict):
        self.client, self.stream, self.name, self.start = client, stream, shard, start
        self.after = after
        self.millis_behind = 0
        self.iterator = self.find_iterator()

    def find_iterator(self) -> str:
        """Returns an iterator behind the last record seen, or at the start asked for."""
        at = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": self.after}
        where = at if self.after else self.start
        return self.client.get_shard_iterator(StreamName=self.stream, ShardId=self.name, **where)["ShardIterator"]

    def read(self, limit: int = MAX_RECORDS_PER_READ) -> list[dict]:
        """Returns the next records, boto3's dicts; none when there are none yet, or no more."""
        if self.is_finished:
            return []
        try:
            answer = self.client.get_records(ShardIterator=self.iterator, Limit=limit)
        except self.client.exceptions.ExpiredIteratorException:
            self.iterator = self.find_iterator()
            return []
        self.iterator = answer.get("NextShardIterator")
        if answer["Records"]:
            self.after = answer["Records"][-1]["SequenceNumber"]
        self.millis_behind = answer.get("MillisBehindLatest", 0)
        return answer["Records"]

    @property
    def is_finished(self) -> bool:
        """Whether the shard was split or merged, and everything in it has been read."""
        return self.iterator is None


def list_shards(client, stream: str) -> list[dict]:
    """Returns the stream's shards, open and closed, parents before children."""
    pages = client.get_paginator("list_shards").paginate(StreamName=stream)
    return [shard for page in pages for shard in page["Shards"]]


def read_all(stream: str) -> Iterator[dict]:
    """Yields every record that the stream holds now, shard after shard, with its ShardId."""
    client = boto3.client("kinesis")
    for shard in list_shards(client, stream):
        reader = Shard(client, stream, shard["ShardId"], None, {"ShardIteratorType": "TRIM_HORIZON"})
        # A read may be empty and more still follow; only one at the shard's end says that it is nothing behind.
        while not reader.is_finished:
            records = reader.read()
            yield from (record | {"ShardId": reader.name} for record in records)
            if not records and reader.millis_behind == 0:
                break


def follow(client, stream: str, checkpoints: Checkpoints, start: dict) -> Iterator[tuple[Shard, list[dict]]]:
    """Yields (shard, records) for ever, each shard in order, a split shard's children after it is read out.

    The records can be none. Whoever takes them sets the checkpoint when they are dealt with.
    """
    readers: dict[str, Shard] = {}
    looked_at = float("-inf")
    while True:
        if time.monotonic() - looked_at > 5:
            looked_at = time.monotonic()
            shards = list_shards(client, stream)
            names = {shard["ShardId"] for shard in shards}
            for shard in shards:
                parents = {shard.get("ParentShardId"), shard.get("AdjacentParentShardId")} & names
                if shard["ShardId"] not in readers and all(is_read_out(readers, parent) for parent in parents):
                    after = checkpoints.get(shard["ShardId"])
                    readers[shard["ShardId"]] = Shard(client, stream, shard["ShardId"], after, start)
        for reader in list(readers.values()):
            yield reader, reader.read()
        # Kinesis allows five reads a second and shard.
        # https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
        time.sleep(0.2)


def is_read_out(readers: dict[str, Shard], shard: str) -> bool:
    """Returns whether a parent shard was read to its end."""
    return shard in readers and readers[shard].is_finished
