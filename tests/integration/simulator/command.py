"""The real command in a process of its own, and what a consumer finds in the stream afterwards."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import md5
from typing import Any

import boto3
from aws_kinesis_agg import DIGEST_SIZE, MAGIC
from aws_kinesis_agg.aggregator import messages_pb2

from local_cloud.pollers.shards import read_all
from simulator.traffic.event import event_id


@dataclass(frozen=True)
class Ended:
    """How a replay ended: its exit code, its summary (empty if there is none) and what it said."""

    code: int
    summary: dict[str, Any]
    stderr: str


def start(*arguments: object, url: str | None = None) -> subprocess.Popen[str]:
    """A `replay` that runs; `url`: the endpoint, if not the emulator's."""
    environment = os.environ | ({"AWS_ENDPOINT_URL": url} if url else {})
    command = [sys.executable, "-m", "simulator", "replay", *map(str, arguments), "--json"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> Ended:
    """How it ends."""
    with process:
        stdout, stderr = process.communicate(timeout=60)
    return Ended(process.returncode, json.loads(stdout) if stdout else {}, stderr)


def replay(*arguments: object, url: str | None = None) -> Ended:
    return end(start(*arguments, url=url))


def event_ids(lines: Iterable[bytes]) -> Counter[str]:
    """How often each event is there."""
    return Counter(event_id(json.loads(line)) for line in lines)


@dataclass(frozen=True)
class Event:
    """One event as a consumer sees it. `hash_key`: its own inside of an aggregate, which decides if it is kept."""

    data: bytes
    partition_key: str | None
    hash_key: int | None


def read_back(stream: str) -> list[bytes]:
    """The data of all events that the stream holds, shard after shard, aggregates unpacked."""
    return [event.data for record in read_all(boto3.client("kinesis"), stream) for event in events_in(record["Data"])]


def events_in(data: bytes) -> list[Event]:
    """The events in one record: itself, or those of a KPL aggregate (magic, message, MD5 of the message).

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
