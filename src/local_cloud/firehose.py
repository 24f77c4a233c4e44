"""Firehose from a Kinesis stream to S3, as AWS documents it, over the emulator's streams and buckets.

The emulator's own writes one object per record and ignores buffering and compression. This runner reads the deployed
delivery streams through the API: it reads from DeliveryStartTimestamp on, takes KPL's aggregates apart, appends the
configured delimiter, buffers by size and time, compresses, and names objects by their arrival (UTC):
https://docs.aws.amazon.com/firehose/latest/dev/s3-object-name.html
"""

import base64
import gzip
import json
import logging
import os
import re
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import boto3
from aws_kinesis_agg.deaggregator import iter_deaggregate_records
from botocore.exceptions import BotoCoreError, ClientError

from local_cloud.shards import Checkpoints, follow

log = logging.getLogger("firehose")

# Java's time patterns, which AWS uses in prefixes, and Python's.
TIME_PATTERNS = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}


class Delivery:
    """One deployed delivery stream."""

    def __init__(self, description: dict, directory: Path):
        self.name = description["DeliveryStreamName"]
        self.version = description.get("VersionId", "1")
        source = description["Source"]["KinesisStreamSourceDescription"]
        self.stream = source["KinesisStreamARN"].rsplit("/", 1)[1]
        self.start = {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": source["DeliveryStartTimestamp"]}
        self.target = description["Destinations"][0]["ExtendedS3DestinationDescription"]
        self.bucket = self.target["BucketARN"].rsplit(":", 1)[1]
        self.delimiter = delimiter(self.target.get("ProcessingConfiguration") or {})
        self.checkpoints = Checkpoints(directory / "firehose" / f"{self.name}.json")
        self.s3 = boto3.client("s3")

    def run(self) -> None:
        """Delivers the stream's records to S3, for ever."""
        hints = self.target["BufferingHints"]
        buffer: list[bytes] = []
        size = 0
        since: datetime | None = None
        read: dict[str, str] = {}
        for shard, records in follow(boto3.client("kinesis"), self.stream, self.checkpoints, self.start):
            for record in records:
                since = since or datetime.now(UTC)
                for data in user_records(record):
                    buffer.append(data + self.delimiter)
                    size += len(data) + len(self.delimiter)
                read[shard.name] = record["SequenceNumber"]
            full = size >= hints["SizeInMBs"] * 1024 * 1024
            if since and (full or (datetime.now(UTC) - since).total_seconds() >= hints["IntervalInSeconds"]):
                self.write(b"".join(buffer), since)
                # Only now: a crash before repeats the records, it does not lose them.
                for name, sequence_number in read.items():
                    self.checkpoints.set(name, sequence_number)
                buffer, size, since, read = [], 0, None, {}

    def write(self, data: bytes, arrived_at: datetime) -> None:
        """Puts one object; like Firehose, it tries again until S3 takes it."""
        extension = self.target.get("FileExtension") or ""
        if self.target["CompressionFormat"] == "GZIP":
            data = gzip.compress(data, compresslevel=6)
            extension = extension or ".gz"
        stamp = arrived_at.strftime("%Y-%m-%d-%H-%M-%S")
        name = f"{self.name}-{self.version}-{stamp}-{uuid.uuid4()}{extension}"
        key = expand(self.target.get("Prefix") or "!{timestamp:yyyy/MM/dd/HH/}", arrived_at) + name
        while True:
            try:
                self.s3.put_object(Bucket=self.bucket, Key=key, Body=data)
                log.info("wrote s3://%s/%s, %d bytes", self.bucket, key, len(data))
                return
            except (BotoCoreError, ClientError) as error:
                log.warning("could not write, trying again: %s", error)
                time.sleep(1)


def user_records(record: dict) -> list[bytes]:
    """Returns the data of the records that a producer (KPL) packed into one, or of the one."""
    as_event = {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record["PartitionKey"],
            "sequenceNumber": record["SequenceNumber"],
            "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].timestamp(),
            "data": base64.b64encode(record["Data"]),
        }
    }
    return [base64.b64decode(user["kinesis"]["data"]) for user in iter_deaggregate_records([as_event])]


def delimiter(processing: dict) -> bytes:
    """Returns what AppendDelimiterToRecord puts after each record; nothing where it is not configured."""
    for processor in processing.get("Processors", []) if processing.get("Enabled") else []:
        if processor["Type"] == "AppendDelimiterToRecord":
            values = {p["ParameterName"]: p["ParameterValue"] for p in processor.get("Parameters", [])}
            return values.get("Delimiter", "\\n").encode().decode("unicode_escape").encode()
    return b""


def expand(prefix: str, at: datetime) -> str:
    """Returns the prefix with its !{timestamp:…} expressions filled in; ValueError names one it does not know."""

    def fill(match: re.Match) -> str:
        namespace, pattern = match[1], match[2]
        if namespace != "timestamp":
            raise ValueError(f"prefix has !{{{namespace}:{pattern}}}; the local runner knows !{{timestamp:…}} only")
        for java, python in TIME_PATTERNS.items():
            pattern = pattern.replace(java, python)
        return at.strftime(pattern)

    return re.sub(r"!\{(\w+):([^}]*)\}", fill, prefix)


def main() -> None:
    """Starts a thread for each delivery stream that is deployed, and for each that comes later."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    log.setLevel(logging.INFO)
    directory = Path(os.environ["STACK_DIRECTORY"])
    started: set[str] = set()
    while True:
        try:
            client = boto3.client("firehose")
            for name in client.list_delivery_streams()["DeliveryStreamNames"]:
                described = client.describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]
                if name not in started and described["DeliveryStreamStatus"] == "ACTIVE":
                    log.info("started %s", json.dumps(described, default=str))
                    started.add(name)
                    Thread(target=run_or_exit, args=(described, directory), daemon=True).start()
        except (BotoCoreError, ClientError) as error:
            log.info("waiting for the emulator: %s", error)
        time.sleep(1)


def run_or_exit(description: dict, directory: Path) -> None:
    """Runs the delivery; an error ends the process, so that it is seen and supervisor starts it anew."""
    try:
        Delivery(description, directory).run()
    except Exception:
        log.exception("delivery %s ended", description["DeliveryStreamName"])
        os._exit(1)


if __name__ == "__main__":
    main()
