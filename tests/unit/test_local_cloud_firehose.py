"""The delivery writes to S3 what Firehose would write: the same bytes, the same names, nothing lost.

https://docs.aws.amazon.com/firehose/latest/dev/s3-object-name.html
https://docs.aws.amazon.com/firehose/latest/dev/s3-prefixes.html
"""

import gzip
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from hashlib import md5
from pathlib import Path
from typing import Any

import boto3
import pytest
from aws_kinesis_agg import MAGIC
from aws_kinesis_agg.aggregator import RecordAggregator
from aws_kinesis_agg.deaggregator import messages_pb2
from botocore.exceptions import ClientError, EndpointConnectionError
from local_cloud_fakes import NOON, Clock, Kinesis, Stop
from moto import mock_aws

from local_cloud.pollers.firehose import Delivery, expand, user_records
from local_cloud.pollers.shards import Checkpoints

MIB = 1024 * 1024
UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
SLOW_DOWN = ClientError({"Error": {"Code": "SlowDown", "Message": "Please reduce your request rate."}}, "PutObject")


def newline(value: str | None = "\\n", enabled: bool = True) -> dict[str, Any]:
    """Return the setting of a destination that appends a delimiter to each record, as Terraform sets it."""
    parameters = [{"ParameterName": "Delimiter", "ParameterValue": value}] if value else []
    processor = {"Type": "AppendDelimiterToRecord", "Parameters": parameters}
    return {"ProcessingConfiguration": {"Enabled": enabled, "Processors": [processor]}}


class Bucket:
    """S3 with one bucket, "raw". It refuses the calls that `refusals` names, one after the other."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.refusals: list[Exception] = []
        self.on_put: Callable[[], object] = lambda: None

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
        assert Bucket == "raw"
        self.on_put()
        if self.refusals:
            raise self.refusals.pop(0)
        assert Key not in self.objects
        self.objects[Key] = Body


class Bench:
    """A delivery stream from a stream with the shards "a" and "b", and what it writes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.kinesis, self.clock, self.s3 = Kinesis("a", "b"), Clock(), Bucket()

    def delivery(self, size_mb: int = 1, interval_s: int = 10, **target: Any) -> Delivery:
        description = {
            "DeliveryStreamName": "raw-events",
            "VersionId": "3",
            "Source": {
                "KinesisStreamSourceDescription": {
                    "KinesisStreamARN": "arn:aws:kinesis:us-east-1:123456789012:stream/one",
                    "DeliveryStartTimestamp": NOON,
                }
            },
            "Destinations": [
                {
                    "ExtendedS3DestinationDescription": {
                        "BucketARN": "arn:aws:s3:::raw",
                        "CompressionFormat": "UNCOMPRESSED",
                        "BufferingHints": {"SizeInMBs": size_mb, "IntervalInSeconds": interval_s},
                        **target,
                    }
                }
            ],
        }
        clients = {"kinesis": self.kinesis, "s3": self.s3}
        return Delivery(description, self.directory, clients.__getitem__, self.clock.now, self.clock.sleep)

    def put(self, data: bytes, shard: str = "a", at: datetime | None = None) -> None:
        self.kinesis.put(shard, data, at=at or self.clock.now())

    def run(self, until_s: float = 60, **settings: Any) -> list[bytes]:
        """Return the contents of the objects, in order of writing, after so many seconds of the clock."""
        delivery = self.delivery(**settings)
        self.clock.stop_at(until_s)
        with pytest.raises(Stop):
            delivery.run()
        return list(self.s3.objects.values())

    @property
    def keys(self) -> list[str]:
        return list(self.s3.objects)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# What is in an object


@pytest.mark.parametrize(
    ("target", "content"),
    [
        ({}, b"xy"),
        ({"ProcessingConfiguration": {"Enabled": False}}, b"xy"),
        (newline(enabled=False), b"xy"),
        (newline(), b"x\ny\n"),
        (newline(None), b"x\ny\n"),
        (newline("|€\\n"), "x|€\ny|€\n".encode()),
    ],
)
def test_a_delimiter_follows_each_record_only_where_it_is_configured(
    bench: Bench, target: dict, content: bytes
) -> None:
    bench.put(b"x")
    bench.put(b"y")
    assert bench.run(**target) == [content]


def test_gzip_holds_the_same_bytes(bench: Bench) -> None:
    bench.put(b"x")
    bench.put(b"y")
    [content] = bench.run(CompressionFormat="GZIP", **newline())
    assert gzip.decompress(content) == b"x\ny\n"


def test_records_that_a_producer_aggregated_are_taken_apart(bench: Bench) -> None:
    aggregator = RecordAggregator()
    for data in (b"1", b"2", b""):
        aggregator.add_user_record("user", data)
    bench.put(b"0")
    bench.put(aggregator.clear_and_get().get_contents()[2])
    bench.put(b"3")
    assert bench.run(**newline()) == [b"0\n1\n2\n\n3\n"]


def aggregate(body: bytes) -> bytes:
    return MAGIC + body + md5(body).digest()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        MAGIC,
        MAGIC + b"no digest that fits",
        aggregate(b"\xff no message"),
        aggregate(b""),
        aggregate(b"")[:-1],
    ],
)
def test_what_only_looks_aggregated_is_delivered_as_it_is(data: bytes) -> None:
    assert user_records(data) == [data]


def test_no_record_of_an_aggregate_is_lost_for_a_key_that_is_not_there() -> None:
    message = messages_pb2.AggregatedRecord(partition_key_table=["user"])
    message.records.add(partition_key_index=0, data=b"1")
    message.records.add(partition_key_index=7, data=b"2")
    assert user_records(aggregate(message.SerializeToString())) == [b"1", b"2"]


# When an object is written


def test_an_object_is_written_when_the_interval_has_passed_since_its_first_record(bench: Bench) -> None:
    written_at = []
    bench.s3.on_put = lambda: written_at.append(bench.clock.passed_s)
    for second in (5, 7, 14, 30):
        bench.clock.at(second, lambda second=second: bench.put(b"%d " % second))
    assert bench.run(interval_s=10) == [b"5 7 14 ", b"30 "]
    assert written_at == [15, 40]


def test_an_object_is_written_as_soon_as_the_buffer_holds_its_size(bench: Bench) -> None:
    written_at = []
    bench.s3.on_put = lambda: written_at.append(bench.clock.passed_s)
    third = b"x" * (MIB // 3)
    for data in (third, third, third, b"y", third, third, third, b"z"):
        bench.put(data)
    # A MiB less one byte is not full: the next record still goes in.
    assert [content[-1:] for content in bench.run(size_mb=1, CompressionFormat="UNCOMPRESSED")] == [b"y", b"z"]
    assert [len(content) for content in bench.s3.objects.values()] == [MIB, MIB]
    assert written_at == [0, 0]


def test_the_size_is_that_before_compression(bench: Bench) -> None:
    bench.put(b"x" * MIB)
    assert len(bench.run(until_s=1, CompressionFormat="GZIP")) == 1


def test_a_stream_without_records_writes_nothing(bench: Bench) -> None:
    assert bench.run() == []


def test_nothing_is_lost_when_a_shard_is_split(bench: Bench) -> None:
    bench.put(b"1")
    bench.clock.at(5, lambda: bench.kinesis.reshard(["a"], ["c", "d"]))
    bench.clock.at(5, lambda: [bench.put(b"2", "c"), bench.put(b"3", "d")])
    assert sorted(bench.run(interval_s=2)) == [b"1", b"23"]


# Its name


@pytest.mark.parametrize(
    ("target", "extension"),
    [
        ({}, ""),
        ({"CompressionFormat": "GZIP"}, ".gz"),
        ({"CompressionFormat": "GZIP", "FileExtension": ".json.gz"}, ".json.gz"),
        ({"FileExtension": ".json"}, ".json"),
    ],
)
def test_an_object_is_named_by_stream_version_arrival_and_extension(bench: Bench, target: dict, extension: str) -> None:
    bench.put(b"x")
    bench.run(Prefix="events/!{timestamp:yyyy-MM-dd}/", **target)
    assert re.fullmatch(
        f"events/2026-11-23/raw-events-3-2026-11-23-12-00-00-{UUID}{re.escape(extension)}", bench.keys[0]
    )


def test_prefix_and_name_show_the_arrival_of_the_oldest_record_in_utc(bench: Bench) -> None:
    new_york = timezone(-timedelta(hours=5))
    bench.put(b"new", "a", at=datetime(2026, 11, 25, 8, 0, 0, tzinfo=UTC))
    bench.put(b"old", "b", at=datetime(2026, 11, 23, 22, 30, 1, tzinfo=new_york))
    bench.run(Prefix="events/arrival_date=!{timestamp:yyyy-MM-dd}/")
    assert bench.keys[0].startswith("events/arrival_date=2026-11-24/raw-events-3-2026-11-24-03-30-01-")


def test_each_object_has_a_time_of_its_own(bench: Bench) -> None:
    bench.put(b"1", at=NOON + timedelta(hours=1))
    bench.clock.at(20, lambda: bench.put(b"2", at=NOON + timedelta(hours=2)))
    bench.run(Prefix="!{timestamp:HH}/")
    assert [key[:3] for key in bench.keys] == ["13/", "14/"]


@pytest.mark.parametrize(
    ("prefix", "expanded"),
    [
        ("", "2026/01/02/03/"),
        ("events/", "events/2026/01/02/03/"),
        ("!{timestamp:yyyyMMdd}/!{timestamp:HH-mm-ss}/", "20260102/03-04-05/"),
        ("!{timestamp:yyyy'-day-'dd}/", "2026-day-02/"),
        ("100%/%Y/!{timestamp:HH}/", "100%/%Y/03/"),
    ],
)
def test_time_expressions_are_filled_in(prefix: str, expanded: str) -> None:
    assert expand(prefix, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == expanded


@pytest.mark.parametrize("expression", ["!{timestamp:YYYY}", "!{timestamp:yy}", "!{firehose:random-string}"])
def test_an_expression_that_the_poller_does_not_support_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"prefix has {expression}")):
        expand(f"!{{timestamp:yyyy}}/{expression}/", NOON)


# Failures and restarts


@pytest.mark.parametrize("refusal", [SLOW_DOWN, EndpointConnectionError(endpoint_url="http://127.0.0.1:1")])
def test_what_s3_refuses_is_written_later_and_only_then_remembered(bench: Bench, refusal: Exception) -> None:
    file = bench.directory / "firehose" / "raw-events.json"
    reached = []
    bench.s3.on_put = lambda: reached.append(Checkpoints(file).get("a"))
    bench.s3.refusals = [refusal, refusal]
    bench.put(b"1")
    bench.clock.at(20, lambda: bench.put(b"2"))
    assert bench.run() == [b"1", b"2"]
    assert reached == [None, None, None, "1"]
    assert Checkpoints(file).get("a") == "2"


def test_a_restart_repeats_what_was_not_written_and_nothing_else(bench: Bench) -> None:
    bench.put(b"1", "a")
    bench.put(b"2", "b")
    bench.clock.at(15, lambda: [bench.put(b"3", "a"), bench.put(b"4", "b")])
    assert bench.run(until_s=17) == [b"12"]
    bench.put(b"5", "b")
    assert bench.run(until_s=60) == [b"12", b"345"]


def test_a_restart_in_the_middle_of_a_read_repeats_only_what_stands_behind_the_last_object(bench: Bench) -> None:
    class Killed(Exception):
        pass

    for letter in b"xyz":
        bench.put(bytes([letter]) * MIB)
    puts = iter([None, Killed])

    def kill_at_the_second() -> None:
        if kill := next(puts, None):
            raise kill

    bench.s3.on_put = kill_at_the_second
    with pytest.raises(Killed):
        bench.delivery(size_mb=1).run()
    bench.s3.on_put = lambda: None
    assert [content[:1] for content in bench.run()] == [b"x", b"y", b"z"]


def test_records_from_before_the_delivery_stream_are_not_delivered(bench: Bench) -> None:
    bench.put(b"before", at=NOON - timedelta(milliseconds=1))
    bench.put(b"then", at=NOON)
    bench.put(b"after", "b", at=NOON + timedelta(milliseconds=1))
    assert bench.run() == [b"thenafter"]


# Settings


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ({"DataFormatConversionConfiguration": {"Enabled": True}}, "DataFormatConversionConfiguration"),
        ({"DynamicPartitioningConfiguration": {"Enabled": True}}, "DynamicPartitioningConfiguration"),
        ({"CompressionFormat": "ZIP"}, "CompressionFormat ZIP"),
        ({"CustomTimeZone": "Asia/Tokyo"}, "CustomTimeZone Asia/Tokyo"),
        ({"ProcessingConfiguration": {"Enabled": True, "Processors": [{"Type": "Lambda"}]}}, "processor Lambda"),
    ],
)
def test_a_setting_that_the_poller_does_not_support_is_refused(bench: Bench, target: dict, named: str) -> None:
    with pytest.raises(ValueError, match=f"delivery stream raw-events has {named},"):
        bench.delivery(**target)


def test_settings_that_are_switched_off_are_not_refused(bench: Bench) -> None:
    switches = ("DataFormatConversionConfiguration", "DynamicPartitioningConfiguration")
    bench.delivery(CustomTimeZone="UTC", **{name: {"Enabled": False} for name in switches})


def test_what_boto3_reads_is_what_s3_gets(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        bench.kinesis, bench.s3 = boto3.client("kinesis"), boto3.client("s3")
        bench.s3.create_bucket(Bucket="raw")
        bench.kinesis.create_stream(StreamName="one", ShardCount=1)
        delivery = bench.delivery(CompressionFormat="GZIP", **newline())
        # moto stamps records with the real time, which NOON lies before or behind.
        delivery.start["Timestamp"] = datetime.now(UTC) - timedelta(hours=1)
        bench.kinesis.put_record(StreamName="one", Data=b"\xff1", PartitionKey="1")
        bench.kinesis.put_record(StreamName="one", Data=b"2", PartitionKey="1")
        bench.clock.stop_at(15)
        with pytest.raises(Stop):
            delivery.run()
        [entry] = bench.s3.list_objects_v2(Bucket="raw")["Contents"]
        body = bench.s3.get_object(Bucket="raw", Key=entry["Key"])["Body"].read()
    assert gzip.decompress(body) == b"\xff1\n2\n"
    assert re.fullmatch(rf"\d{{4}}/\d\d/\d\d/\d\d/raw-events-3-[\d-]{{19}}-{UUID}\.gz", entry["Key"])
