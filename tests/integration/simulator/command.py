"""Run the real command in a process of its own, and read the stream back."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from typing import Any

import boto3
from aws_kinesis_agg import DIGEST_SIZE, MAGIC
from aws_kinesis_agg.aggregator import messages_pb2

from local_cloud.pollers.shards import read_all
from simulator.traffic.event import event_key

PROGRAM = str(Path(sys.executable).with_name("shopstream"))


@dataclass(frozen=True)
class Ended:
    """The end of a replay: its exit code, its summary (empty if there is none) and its stderr."""

    code: int
    summary: dict[str, Any]
    stderr: str


def start(*arguments: object, url: str | None = None) -> subprocess.Popen[str]:
    """Start a `replay`. `url` is the endpoint, if not the emulator's."""
    environment = os.environ | ({"AWS_ENDPOINT_URL": url} if url else {})
    command = [PROGRAM, "replay", *map(str, arguments), "--json"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> Ended:
    """Wait for the end of a replay."""
    with process:
        stdout, stderr = process.communicate(timeout=60)
    return Ended(process.returncode, json.loads(stdout) if stdout else {}, stderr)


def replay(*arguments: object, url: str | None = None) -> Ended:
    """Run a `replay` to its end."""
    return end(start(*arguments, url=url))


def event_keys(lines: Iterable[bytes]) -> Counter[str]:
    """Count each event, by its key."""
    return Counter(event_key(json.loads(line)) for line in lines)


@dataclass(frozen=True)
class Event:
    """An event as a consumer sees it. `hash_key` is its own in an aggregate: consumers drop it if it does not fit."""

    data: bytes
    partition_key: str | None
    hash_key: int | None


def read_back(stream: str) -> list[bytes]:
    """Return the data of all events in the stream, shard after shard, aggregates unpacked."""
    kinesis = boto3.client("kinesis")
    return [event.data for record in read_all(kinesis, stream) for event in events_in(record["Data"])]


def events_in(data: bytes) -> list[Event]:
    """Return the events in one record: itself, or those of a KPL aggregate (magic, message, MD5 of the message).

    https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md
    """
    if not data.startswith(MAGIC):
        return [Event(data, None, None)]
    message, digest = data[len(MAGIC) : -DIGEST_SIZE], data[-DIGEST_SIZE:]
    assert md5(message).digest() == digest
    aggregate = messages_pb2.AggregatedRecord.FromString(message)
    keys, hash_keys = aggregate.partition_key_table, aggregate.explicit_hash_key_table
    return [
        Event(one.data, keys[one.partition_key_index], int(hash_keys[one.explicit_hash_key_index]))
        for one in aggregate.records
    ]
