"""Firehose from a Kinesis stream to S3, as AWS documents it, over the emulator's streams and buckets.

The emulator's own Firehose writes one object per record, without buffering and compression. This poller reads the
deployed delivery streams through the API, once. It reads from DeliveryStartTimestamp on, unpacks KPL's aggregates,
appends the configured delimiter, buffers by size and time, compresses, and names objects by the arrival of their oldest
record:
https://docs.aws.amazon.com/firehose/latest/dev/s3-object-name.html
"""

import gzip
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import md5
from pathlib import Path
from threading import Thread

import boto3
from aws_kinesis_agg import DIGEST_SIZE, MAGIC

# Not `import messages_pb2`: its own imports are found only after `deaggregator` has put their folder on sys.path.
from aws_kinesis_agg.deaggregator import messages_pb2
from botocore.exceptions import BotoCoreError, ClientError
from google.protobuf.message import DecodeError

from local_cloud.pollers.shards import Checkpoints, follow

log = logging.getLogger("firehose")

# https://docs.aws.amazon.com/firehose/latest/dev/s3-prefixes.html
DEFAULT_TIME_PREFIX = "!{timestamp:yyyy/MM/dd/HH/}"
# Java's time patterns, which AWS uses in prefixes, and Python's.
TIME_PATTERNS = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}


@dataclass
class Buffer:
    """The records that wait for the next object."""

    since: datetime  # its first record was read
    oldest_at: datetime  # arrival in the stream, UTC
    data: bytearray = field(default_factory=bytearray)
    reached: dict[str, str] = field(default_factory=dict)  # last sequence number by shard


class Delivery:
    """One deployed delivery stream.

    `description` comes from DescribeDeliveryStream. A setting that the poller does not support is a ValueError.
    """

    def __init__(
        self,
        description: dict,
        directory: Path,
        client: Callable = boto3.client,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ):
        self.now, self.sleep = now, sleep
        self.name = description["DeliveryStreamName"]
        self.version = description.get("VersionId", "1")
        source = description["Source"]["KinesisStreamSourceDescription"]
        self.stream = source["KinesisStreamARN"].rsplit("/", 1)[1]
        self.start = {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": source["DeliveryStartTimestamp"]}
        target = description["Destinations"][0]["ExtendedS3DestinationDescription"]
        if unknown := unknown_settings(target):
            raise ValueError(
                f"delivery stream {self.name} has {' and '.join(unknown)}, which the local poller does not support: "
                "remove it, or add it to local_cloud/pollers/firehose.py"
            )
        self.bucket = target["BucketARN"].rsplit(":", 1)[1]
        self.prefix = target.get("Prefix") or ""
        self.is_compressed = target.get("CompressionFormat") == "GZIP"
        self.extension = target.get("FileExtension") or (".gz" if self.is_compressed else "")
        self.delimiter = delimiter(target.get("ProcessingConfiguration") or {})
        self.max_bytes = target["BufferingHints"]["SizeInMBs"] * 1024 * 1024
        self.max_s = target["BufferingHints"]["IntervalInSeconds"]
        self.buffer: Buffer | None = None
        self.checkpoints = Checkpoints(directory / "firehose" / f"{self.name}.json")
        self.kinesis, self.s3 = client("kinesis"), client("s3")

    def run(self) -> None:
        """Deliver the stream's records to S3, for ever."""
        for shard, records in follow(self.kinesis, self.stream, self.checkpoints, self.start, self.sleep):
            for record in records:
                self.take(shard.name, record)
                if self.buffer and len(self.buffer.data) >= self.max_bytes:
                    self.flush(self.buffer)
            if self.buffer and (self.now() - self.buffer.since).total_seconds() >= self.max_s:
                self.flush(self.buffer)

    def take(self, shard: str, record: dict) -> None:
        """Put a record of the stream into the buffer."""
        arrived_at = record["ApproximateArrivalTimestamp"].astimezone(UTC)
        self.buffer = self.buffer or Buffer(since=self.now(), oldest_at=arrived_at)
        self.buffer.oldest_at = min(self.buffer.oldest_at, arrived_at)
        for data in user_records(record["Data"]):
            self.buffer.data += data + self.delimiter
        self.buffer.reached[shard] = record["SequenceNumber"]

    def flush(self, buffer: Buffer) -> None:
        """Put the buffered records into one object, and remember how far the shards are delivered."""
        self.write(bytes(buffer.data), buffer.oldest_at)
        # Not earlier: a crash before this line repeats records, it does not lose them.
        for shard, sequence_number in buffer.reached.items():
            self.checkpoints.set(shard, sequence_number)
        self.buffer = None

    def write(self, data: bytes, oldest_at: datetime) -> None:
        """Put one object. Like Firehose, try again until S3 takes it."""
        name = f"{self.name}-{self.version}-{oldest_at:%Y-%m-%d-%H-%M-%S}-{uuid.uuid4()}{self.extension}"
        key = expand(self.prefix, oldest_at) + name
        if self.is_compressed:
            data = gzip.compress(data, compresslevel=6)
        while True:
            try:
                self.s3.put_object(Bucket=self.bucket, Key=key, Body=data)
                log.info("wrote s3://%s/%s, %d bytes", self.bucket, key, len(data))
                return
            except (BotoCoreError, ClientError) as error:
                log.warning("could not write, trying again: %s", error)
                self.sleep(1)


def unknown_settings(target: dict) -> list[str]:
    """Return the settings of an S3 destination that this poller does not support."""
    switches = ("DataFormatConversionConfiguration", "DynamicPartitioningConfiguration")
    unknown = [name for name in switches if (target.get(name) or {}).get("Enabled")]
    known = ("UNCOMPRESSED", "GZIP")
    if target.get("CompressionFormat", known[0]) not in known:
        unknown.append(f"CompressionFormat {target['CompressionFormat']}")
    if target.get("CustomTimeZone", "UTC") != "UTC":
        unknown.append(f"CustomTimeZone {target['CustomTimeZone']}")
    processing = target.get("ProcessingConfiguration") or {}
    for processor in processing.get("Processors", []) if processing.get("Enabled") else []:
        if processor["Type"] != "AppendDelimiterToRecord":
            unknown.append(f"processor {processor['Type']}")
    return unknown


def user_records(data: bytes) -> list[bytes]:
    """Return the data of the records that a producer packed into one (KPL), or of the one.

    Data that only looks like an aggregate stays as it is. Why not aws_kinesis_agg's own deaggregator: at an entry
    without a valid key it prints the data and drops the rest of the aggregate.
    https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md
    """
    body, digest = data[len(MAGIC) : -DIGEST_SIZE], data[-DIGEST_SIZE:]
    if not data.startswith(MAGIC) or md5(body, usedforsecurity=False).digest() != digest:
        return [data]
    try:
        return [entry.data for entry in messages_pb2.AggregatedRecord.FromString(body).records] or [data]
    except DecodeError:
        return [data]


def delimiter(processing: dict) -> bytes:
    """Return what AppendDelimiterToRecord puts after each record: nothing if it is not configured."""
    for processor in processing.get("Processors", []) if processing.get("Enabled") else []:
        if processor["Type"] == "AppendDelimiterToRecord":
            values = {p["ParameterName"]: p["ParameterValue"] for p in processor.get("Parameters", [])}
            return values.get("Delimiter", "\\n").replace("\\n", "\n").encode()
    return b""


def expand(prefix: str, at: datetime) -> str:
    """Return the prefix with its !{timestamp:…} expressions filled in. One without any gets AWS's default at its end.

    Raise ValueError for an expression that the poller does not support.
    """

    def fill(expression: re.Match) -> str:
        def part(match: re.Match) -> str:
            if match[1] is not None:  # 'quoted'
                return match[1]
            if match[0] not in TIME_PATTERNS:
                raise ValueError(
                    f"prefix has {expression[0]}; the local poller supports only {', '.join(TIME_PATTERNS)}"
                )
            return at.strftime(TIME_PATTERNS[match[0]])

        if expression[1] != "timestamp":
            raise ValueError(f"prefix has {expression[0]}; the local poller supports only !{{timestamp:…}}")
        return re.sub(r"'([^']*)'|([A-Za-z])\2*", part, expression[2])

    if "!{timestamp:" not in prefix:
        prefix += DEFAULT_TIME_PREFIX
    return re.sub(r"!\{([^:}]+):([^}]*)\}", fill, prefix)


def main() -> None:
    """Start a thread for each delivery stream that is deployed, now or later."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    log.setLevel(logging.INFO)
    directory = Path(os.environ["STACK_DIRECTORY"])
    started: set[str] = set()
    while True:
        try:
            client = boto3.client("firehose")
            names = client.list_delivery_streams(DeliveryStreamType="KinesisStreamAsSource")["DeliveryStreamNames"]
            for name in set(names) - started:
                described = client.describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]
                if described["DeliveryStreamStatus"] == "ACTIVE":
                    log.info("started %s", json.dumps(described, default=str))
                    started.add(name)
                    Thread(target=run_or_exit, args=(described, directory), daemon=True).start()
        except (BotoCoreError, ClientError) as error:
            log.info("waiting for the emulator: %s", error)
        time.sleep(1)


def run_or_exit(description: dict, directory: Path) -> None:
    """Run the delivery. An error ends the process, so that it is noticed and supervisor starts it again."""
    try:
        Delivery(description, directory).run()
    except Exception:
        log.exception("delivery %s ended", description["DeliveryStreamName"])
        os._exit(1)


if __name__ == "__main__":
    main()
