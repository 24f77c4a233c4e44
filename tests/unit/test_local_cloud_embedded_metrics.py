"""Metric lines in functions' logs become CloudWatch metrics, each line once; other lines become nothing.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from lambda_alert.alert import Alert
from lambda_alert.metrics import alert_lines
from local_cloud.pollers.embedded_metrics import Extraction, metrics

AT = datetime(2026, 11, 23, 12, 0, 0, 250_000, UTC)
GROUP = "/aws/lambda/alert"


def emf(directives: list[dict] | dict, **members: Any) -> str:
    directives = directives if isinstance(directives, list) else [directives]
    return json.dumps({"_aws": {"Timestamp": int(AT.timestamp() * 1000), "CloudWatchMetrics": directives}, **members})


def directive(*names: str, dimensions: list[list[str]] | None = None, namespace: str = "shop") -> dict[str, Any]:
    named = [{"Name": name, "Unit": "Count"} for name in names]
    return {"Namespace": namespace, "Dimensions": dimensions or [[]], "Metrics": named}


def datum(name: str, *values: float, unit: str = "Count", **dimensions: str) -> dict[str, Any]:
    """Return an entry of PutMetricData."""
    return {
        "MetricName": name,
        "Unit": unit,
        "Timestamp": AT,
        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
        "Values": list(values),
    }


# Lines


def test_the_alert_functions_line_is_a_metric_with_its_dimension() -> None:
    end_at = "2019-10-01T00:00:12.500Z"
    subject = "user#9223372036854775807"
    alert = Alert(f"burst:{subject}:{end_at}", "burst", subject, "2019-10-01T00:00:02.500Z", end_at, 7, 5, 1)
    [line] = alert_lines([alert], "shop", "alerts", AT)
    assert metrics(line) == [("shop", [datum("alerts", 7, rule="burst")])]


def test_each_metric_is_put_with_each_set_of_dimensions() -> None:
    line = emf(directive("a", "b", dimensions=[["rule"], ["rule", "user"], []]), a=1, b=2.5, rule="burst", user=7)
    both, one = {"rule": "burst", "user": "7"}, {"rule": "burst"}
    assert metrics(line) == [
        (
            "shop",
            [
                *(datum("a", 1, **one), datum("b", 2.5, **one)),
                *(datum("a", 1, **both), datum("b", 2.5, **both)),
                *(datum("a", 1), datum("b", 2.5)),
            ],
        )
    ]


def test_each_directive_is_put_under_its_namespace() -> None:
    line = emf([directive("a", namespace="one"), directive("b", namespace="two")], a=1, b=2)
    assert metrics(line) == [("one", [datum("a", 1)]), ("two", [datum("b", 2)])]


def test_a_metric_may_hold_a_list_of_values_and_no_unit() -> None:
    line = emf({"Namespace": "shop", "Dimensions": [], "Metrics": [{"Name": "a"}]}, a=[1, 2.5, 1])
    assert metrics(line) == [("shop", [datum("a", 1, 2.5, 1, unit="None")])]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "START RequestId: 1 Version: $LATEST",
        "[]",
        "7",
        "null",
        '"_aws"',
        '{"level": "INFO"}',
        '{"_aws": null}',
        '{"_aws": {}}',
        '{"_aws": {"Timestamp": 1, "CloudWatchMetrics": 7}}',
        '{"_aws": {"Timestamp": "now", "CloudWatchMetrics": []}}',
        '{"_aws": {"Timestamp": 1e300, "CloudWatchMetrics": []}}',
        emf([]),
        emf(directive()),
        emf(directive("a")),
        emf(directive("a"), a="7"),
        emf(directive("a"), a=True),
        emf(directive("a"), a=None),
        emf(directive("a"), a=[]),
        emf(directive("a"), a=[1, "2"]),
        emf(directive("a", dimensions=[["rule"]]), a=1),
        emf({"Namespace": "shop", "Metrics": [{"Name": "a"}]}, a=1),
        emf({"Dimensions": [[]], "Metrics": [{"Name": "a"}]}, a=1),
        emf(directive("a"), a=1)[:-1],
    ],
)
def test_a_line_without_valid_metrics_is_none(line: str) -> None:
    assert metrics(line) == []


# Logs


class Bench:
    """The logs of functions, and the metrics that CloudWatch has of them, both in moto."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clients = {"logs": boto3.client("logs"), "cloudwatch": boto3.client("cloudwatch")}
        self.logs, self.cloudwatch = self.clients["logs"], self.clients["cloudwatch"]
        # CloudWatch takes no older ones.
        self.now_ms = int(time.time() * 1000)

    def extraction(self) -> Extraction:
        return Extraction(self.directory, self.clients.__getitem__)

    def stream(self, name: str, *lines: str, group: str = GROUP) -> None:
        """Create a log stream with these lines."""
        if not self.logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
            self.logs.create_log_group(logGroupName=group)
        self.logs.create_log_stream(logGroupName=group, logStreamName=name)
        if lines:
            self.append(name, *lines, group=group)

    def append(self, name: str, *lines: str, group: str = GROUP) -> None:
        self.now_ms += 1
        events = [{"timestamp": self.now_ms, "message": line} for line in lines]
        self.logs.put_log_events(logGroupName=group, logStreamName=name, logEvents=events)

    def line(self, value: float, rule: str = "burst", name: str = "alerts") -> str:
        content = json.loads(emf(directive(name, dimensions=[["rule"]]), **{name: value, "rule": rule}))
        content["_aws"]["Timestamp"] = self.now_ms
        return json.dumps(content)

    def held(self, rule: str = "burst") -> tuple[float, float]:
        """Return (count, sum) of the metric's values."""
        points = self.cloudwatch.get_metric_statistics(
            Namespace="shop",
            MetricName="alerts",
            Dimensions=[{"Name": "rule", "Value": rule}],
            StartTime=datetime.now(UTC) - timedelta(hours=1),
            EndTime=datetime.now(UTC) + timedelta(hours=1),
            Period=24 * 3600,
            Statistics=["SampleCount", "Sum"],
        )["Datapoints"]
        return sum(point["SampleCount"] for point in points), sum(point["Sum"] for point in points)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield Bench(tmp_path)


def test_every_line_of_every_functions_streams_counts_once(bench: Bench) -> None:
    bench.stream("first", "START", bench.line(1), bench.line(2, "scraper"), "END")
    bench.stream("second", bench.line(4))
    bench.stream("third", bench.line(8), group="/aws/lambda/another")
    bench.stream("not a function's", bench.line(16), group="/aws/kinesisfirehose/raw")
    bench.stream("empty")
    extraction = bench.extraction()
    for _ in range(3):
        extraction.run_once()
    assert bench.held() == (3, 13)
    assert bench.held("scraper") == (1, 2)


def test_lines_and_streams_that_come_later_count_too(bench: Bench) -> None:
    extraction = bench.extraction()
    extraction.run_once()
    bench.stream("first")
    extraction.run_once()
    bench.append("first", bench.line(1), "END")
    extraction.run_once()
    bench.append("first", "START", bench.line(2))
    bench.stream("second", bench.line(4))
    extraction.run_once()
    assert bench.held() == (3, 7)


def test_streams_count_though_aws_lists_50_at_a_time(bench: Bench) -> None:
    extraction = bench.extraction()
    for number in range(120):
        bench.stream(f"{number:03}", bench.line(1))
    extraction.run_once()
    assert bench.held() == (120, 120)
    # Also one that sorts behind all by its name.
    bench.stream("zzz", bench.line(1))
    extraction.run_once()
    assert bench.held() == (121, 121)


def test_a_restart_counts_no_line_again(bench: Bench) -> None:
    bench.stream("first", bench.line(1))
    bench.extraction().run_once()
    bench.append("first", bench.line(2))
    bench.extraction().run_once()
    assert bench.held() == (2, 3)


class Failing:
    """A CloudWatch whose n-th call fails."""

    def __init__(self, cloudwatch: Any, call: int, error: Exception) -> None:
        self.cloudwatch, self.left, self.error = cloudwatch, call, error

    def put_metric_data(self, **arguments: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise self.error
        self.cloudwatch.put_metric_data(**arguments)


def test_a_lost_connection_repeats_its_own_line_only(bench: Bench) -> None:
    bench.stream("first", bench.line(1), bench.line(2), bench.line(4))
    error = EndpointConnectionError(endpoint_url="http://127.0.0.1:1")
    bench.clients["cloudwatch"] = Failing(bench.cloudwatch, 2, error)
    extraction = bench.extraction()
    with pytest.raises(EndpointConnectionError):
        extraction.run_once()
    assert bench.held() == (1, 1)
    extraction.run_once()
    assert bench.held() == (3, 7)


def test_after_a_lost_connection_no_older_stream_is_forgotten(bench: Bench) -> None:
    for number in range(70):
        bench.stream(f"{number:02}", bench.line(1))
    error = EndpointConnectionError(endpoint_url="http://127.0.0.1:1")
    bench.clients["cloudwatch"] = Failing(bench.cloudwatch, 60, error)
    extraction = bench.extraction()
    with pytest.raises(EndpointConnectionError):
        extraction.run_once()
    extraction.run_once()
    assert bench.held() == (70, 70)


def test_a_metric_that_cloudwatch_refuses_does_not_hold_up_the_others(bench: Bench) -> None:
    bench.stream("first", bench.line(1), bench.line(2), bench.line(4))
    error = ClientError({"Error": {"Code": "InvalidParameterValue", "Message": "too old"}}, "PutMetricData")
    bench.clients["cloudwatch"] = Failing(bench.cloudwatch, 2, error)
    extraction = bench.extraction()
    extraction.run_once()
    extraction.run_once()
    assert bench.held() == (2, 5)
