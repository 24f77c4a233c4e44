"""Read a Kinesis stream shard by shard, and remember the position."""

import json
import logging
import time
from collections.abc import Callable, Container, Iterator
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

log = logging.getLogger("shards")

# https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html
MAX_RECORDS_PER_READ = 10_000
# Kinesis allows five reads a second and shard: https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
SECONDS_PER_READ = 0.2
READS_PER_LOOK_AT_SHARDS = 25


class Checkpoints:
    """How far each shard is done, kept in a file so that a restart continues there. Threads may share it."""

    def __init__(self, file: Path):
        self.file = file
        self.lock = Lock()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.positions: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}

    def get(self, shard: str) -> str | None:
        """Return the sequence number of the shard's last record that is done, or None if none is."""
        return self.positions.get(shard)

    def set(self, shard: str, sequence_number: str) -> None:
        """Remember that everything up to this record is done."""
        with self.lock:
            self.positions[shard] = sequence_number
            # The file is replaced as a whole, so that nobody ever reads half of it, also after a kill.
            fresh = self.file.with_suffix(".new")
            fresh.write_text(json.dumps(self.positions))
            fresh.replace(self.file)


class Shard:
    """One shard, read from behind the record `after`. Without that, from `start`: arguments of GetShardIterator."""

    def __init__(self, client: Any, stream: str, name: str, after: str | None, start: dict):
        self.client, self.stream, self.name, self.start = client, stream, name, start
        self.after = after
        self.millis_behind = 0
        self.iterator: str | None = self.find_iterator()

    def find_iterator(self) -> str:
        """Return an iterator behind the last record seen, or at `start`."""
        at = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": self.after}
        where = at if self.after else self.start
        return self.client.get_shard_iterator(StreamName=self.stream, ShardId=self.name, **where)["ShardIterator"]

    def read(self) -> list[dict]:
        """Return the next records as boto3 gives them: none if there are none yet, or no more."""
        if self.is_read_out:
            return []
        try:
            reply = self.client.get_records(ShardIterator=self.iterator, Limit=MAX_RECORDS_PER_READ)
        except self.client.exceptions.ExpiredIteratorException:
            self.iterator = self.find_iterator()
            return []
        except self.client.exceptions.ResourceNotFoundException:
            # Its retention is over.
            log.warning("shard %s of %s is gone", self.name, self.stream)
            self.iterator = None
            return []
        self.iterator = reply.get("NextShardIterator")
        if reply["Records"]:
            self.after = reply["Records"][-1]["SequenceNumber"]
        self.millis_behind = reply.get("MillisBehindLatest", 0)
        return reply["Records"]

    @property
    def is_read_out(self) -> bool:
        """Whether the shard is closed (split or merged) and has been read to its end."""
        return self.iterator is None


def list_shards(client: Any, stream: str) -> list[dict]:
    """Return the stream's shards, open and closed, parents before children."""
    pages = client.get_paginator("list_shards").paginate(StreamName=stream)
    return [shard for page in pages for shard in page["Shards"]]


def next_shards(shards: list[dict], known: Container[str], finished: set[str]) -> list[str]:
    """Return the shards, not `known` yet, that may be read now: their parents are `finished` or gone."""
    names = {shard["ShardId"] for shard in shards}
    return [
        shard["ShardId"]
        for shard in shards
        if shard["ShardId"] not in known
        and {shard.get("ParentShardId"), shard.get("AdjacentParentShardId")} & names <= finished
    ]


def read_all(client: Any, stream: str) -> Iterator[dict]:
    """Yield every record that the stream holds now, shard after shard, with its ShardId."""
    for shard in list_shards(client, stream):
        reader = Shard(client, stream, shard["ShardId"], None, {"ShardIteratorType": "TRIM_HORIZON"})
        # A read may be empty although more records follow. Only a read at the shard's end is nothing behind.
        while not reader.is_read_out:
            records = reader.read()
            yield from (record | {"ShardId": reader.name} for record in records)
            if not records and reader.millis_behind == 0:
                break


def follow(
    client: Any, stream: str, checkpoints: Checkpoints, start: dict, sleep: Callable[[float], None] = time.sleep
) -> Iterator[tuple[Shard, list[dict]]]:
    """Yield (shard, records) for ever, each shard in order, and the children of a closed shard after its end.

    The list of records may be empty. The caller sets the checkpoint when they are done.
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
