"""CloudWatch's embedded metric format: turn metric lines in functions' logs into metrics. No emulator does that.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
import logging
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local_cloud.pollers.shards import Checkpoints

log = logging.getLogger("embedded_metrics")


class Extraction:
    """The metrics in all functions' logs, put into CloudWatch: each line once, also after a restart."""

    def __init__(self, directory: Path, client: Callable = boto3.client):
        self.logs, self.cloudwatch = client("logs"), client("cloudwatch")
        # How many lines of each log stream are done.
        self.checkpoints = Checkpoints(directory / "embedded_metrics" / "lines.json")
        self.last_seen: dict[str, int] = {}

    def run_once(self) -> None:
        """Put the metrics of all new log lines."""
        for page in self.logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix="/aws/lambda/"):
            for group in page["logGroups"]:
                self.extract_group(group["logGroupName"])

    def extract_group(self, group: str) -> None:
        """Put the metrics of a log group's new lines.

        The emulator opens a log stream for each call, so there are thousands. Only the newest are looked at.
        """
        newest_first = {"orderBy": "LastEventTime", "descending": True}
        fresh: list[tuple[str, int]] = []
        for page in self.logs.get_paginator("describe_log_streams").paginate(logGroupName=group, **newest_first):
            ends = [(stream["logStreamName"], stream.get("lastEventTimestamp")) for stream in page["logStreams"]]
            news = [(name, end) for name, end in ends if end != self.last_seen.get(f"{group} {name}")]
            if not news:
                break
            fresh += news
        # Oldest first: so after an error, everything older than a log stream that is done is done too.
        for name, end in reversed(fresh):
            self.extract_stream(group, name)
            self.last_seen[f"{group} {name}"] = end

    def extract_stream(self, group: str, stream: str) -> None:
        """Put the metrics of a log stream's lines behind its checkpoint."""
        place = f"{group} {stream}"
        events = self.logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)["events"]
        done = int(self.checkpoints.get(place) or 0)
        try:
            for event in events[done:]:
                for namespace, data in metrics(event["message"]):
                    self.put(namespace, data)
                done += 1
        finally:
            self.checkpoints.set(place, str(done))

    def put(self, namespace: str, data: list[dict]) -> None:
        """Put metrics. Those that CloudWatch refuses are lost, as on AWS, and do not stop the others."""
        try:
            self.cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)
            log.info("put %s", data)
        except ClientError as error:
            log.error("refused (%s): %s", error, data)


def metrics(line: str) -> list[tuple[str, list[dict]]]:
    """Return (namespace, metric data for PutMetricData) of a log line: nothing if it holds no metrics."""
    try:
        record = json.loads(line)
        embedded = record["_aws"]
    except (ValueError, TypeError, KeyError):
        return []
    try:
        at = datetime.fromtimestamp(embedded["Timestamp"] / 1000, UTC)
        found = [(each["Namespace"], metric_data(each, record, at)) for each in embedded["CloudWatchMetrics"]]
    except (ValueError, TypeError, KeyError, OverflowError, OSError) as error:
        log.warning("not valid in the embedded metric format (%r): %s", error, line[:500])
        return []
    return [(namespace, data) for namespace, data in found if data]


def metric_data(directive: dict, record: dict, at: datetime) -> list[dict]:
    """Return the metric data of one directive: each metric with each set of dimensions.

    Raise KeyError or TypeError if the record does not hold what the directive names.
    """
    found = []
    for names in directive["Dimensions"] or [[]]:
        dimensions = [{"Name": name, "Value": str(record[name])} for name in names]
        for metric in directive["Metrics"]:
            value = {"MetricName": metric["Name"], "Unit": metric.get("Unit", "None"), "Timestamp": at}
            found.append(value | {"Dimensions": dimensions, "Values": numbers(record[metric["Name"]])})
    return found


def numbers(value: object) -> list[float]:
    """Return the values of a metric, given as one number or a list. Raise TypeError if they are not numbers."""
    values: list[Any] = value if isinstance(value, list) else [value]
    found = [item for item in values if type(item) in (int, float)]
    if not found or len(found) < len(values):
        raise TypeError(f"{value!r} where numbers belong")
    return found


def main() -> None:
    """Follow the log groups of all functions, for ever."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    log.setLevel(logging.INFO)
    extraction = Extraction(Path(os.environ["STACK_DIRECTORY"]))
    while True:
        try:
            extraction.run_once()
        except (BotoCoreError, ClientError) as error:
            log.info("waiting for the emulator: %s", error)
        time.sleep(0.5)


if __name__ == "__main__":
    main()
