"""CloudWatch's embedded metric format: turns metric lines in functions' logs into metrics, which no emulator does.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
import logging
import time
from datetime import UTC, datetime

import boto3
from botocore.exceptions import BotoCoreError, ClientError

log = logging.getLogger("embedded_metrics")


def main() -> None:
    """Follows the log groups of all functions, for ever."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    log.setLevel(logging.INFO)
    seen: set[tuple] = set()
    while True:
        try:
            extract_new(boto3.client("logs"), boto3.client("cloudwatch"), seen)
        except (BotoCoreError, ClientError) as error:
            log.info("waiting for the emulator: %s", error)
        time.sleep(0.5)


def extract_new(logs, cloudwatch, seen: set[tuple]) -> None:
    """Puts the metrics of log events that are not in `seen` yet, and adds them."""
    for group in logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]:
        for stream in logs.describe_log_streams(logGroupName=group["logGroupName"])["logStreams"]:
            place = (group["logGroupName"], stream["logStreamName"])
            # The emulator opens a stream for each call and fills it at once.
            if place in seen or not stream.get("lastEventTimestamp"):
                continue
            name = {"logGroupName": place[0], "logStreamName": place[1]}
            for event in logs.get_log_events(**name, startFromHead=True)["events"]:
                for namespace, data in metrics(event["message"]):
                    cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)
                    log.info("put %s", data)
            seen.add(place)


def metrics(line: str) -> list[tuple[str, list[dict]]]:
    """Returns (namespace, metric data as PutMetricData takes it) of a log line; nothing if it holds no metrics."""
    try:
        record = json.loads(line)
        directives = record["_aws"]["CloudWatchMetrics"]
        at = datetime.fromtimestamp(record["_aws"]["Timestamp"] / 1000, UTC)
    except (ValueError, TypeError, KeyError):
        return []
    found = []
    for directive in directives:
        data = []
        for names in directive["Dimensions"] or [[]]:
            dimensions = [{"Name": name, "Value": str(record[name])} for name in names]
            for metric in directive["Metrics"]:
                value = {"MetricName": metric["Name"], "Unit": metric.get("Unit", "None"), "Timestamp": at}
                data.append(value | {"Dimensions": dimensions, "Value": record[metric["Name"]]})
        found.append((directive["Namespace"], data))
    return found


if __name__ == "__main__":
    main()
