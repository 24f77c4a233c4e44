"""What has arrived where: each number counted at its own place, none derived from another."""

import gzip
import json
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3

from insights.engines import Engine
from lambda_alert import tally
from local_cloud.pollers.firehose import user_records
from local_cloud.pollers.shards import list_shards, read_all
from local_cloud.stack import Stack, wait_for


def records(stream: str) -> int:
    """Returns how many records a Kinesis stream holds; those that a producer packed into one are counted one by one."""
    return sum(len(user_records(record["Data"])) for record in read_all(stream))


def alerts(stream: str) -> list[dict]:
    """Returns the alerts in stream 2, as they stand there; its other records are tallies of unjudged events."""
    found = (json.loads(record["Data"]) for record in read_all(stream))
    return [one for one in found if "alert_id" in one]


def last_positions(stream: str) -> dict[str, str]:
    """Returns the sequence number of the last record of each shard that holds records."""
    return {record["ShardId"]: record["SequenceNumber"] for record in read_all(stream)}


def closed_shards(stream: str) -> list[str]:
    """Returns the shards that were split or merged: nothing comes after what they hold."""
    shards = list_shards(boto3.client("kinesis"), stream)
    return [shard["ShardId"] for shard in shards if "EndingSequenceNumber" in shard["SequenceNumberRange"]]


class RawEvents:
    """The lines in the raw bucket; an object is read once."""

    def __init__(self, bucket: str):
        self.bucket = bucket
        self.lines: dict[str, int] = {}

    def count(self) -> int:
        """Returns how many lines the objects under events/ hold now."""
        s3 = boto3.client("s3")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix="events/"):
            for entry in page.get("Contents", []):
                if entry["Key"] not in self.lines:
                    body = s3.get_object(Bucket=self.bucket, Key=entry["Key"])["Body"].read()
                    self.lines[entry["Key"]] = gzip.decompress(body).count(b"\n")
        return sum(self.lines.values())


class Notices:
    """A queue subscribed to the topic, as an operator's would be."""

    def __init__(self, topic_arn: str):
        self.sqs = boto3.client("sqs")
        self.url = self.sqs.create_queue(QueueName=f"notices-{uuid.uuid4()}")["QueueUrl"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]
        boto3.client("sns").subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=attributes["QueueArn"])
        self.messages: list[dict] = []

    def receive(self) -> list[dict]:
        """Returns every message so far: the alerts as the topic hands them to programs."""
        while True:
            answer = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            batch = answer.get("Messages", [])
            if not batch:
                return self.messages
            for message in batch:
                self.messages.append(json.loads(json.loads(message["Body"])["Message"]))
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def count(self) -> int:
        """Returns how many messages came."""
        return len(self.receive())


def wait_until_handled(stack: Stack, outputs: dict[str, str], timeout_s: float = 120) -> None:
    """Returns when the alert function has dealt with every record that stream 2 holds now."""
    last = last_positions(outputs["alert_stream_name"])
    file = stack.directory / "event_source_mapping" / f"{outputs['alert_function_name']}.json"

    def handled() -> bool:
        reached = json.loads(file.read_text()) if file.exists() else {}
        return all(int(reached.get(shard, "-1")) >= int(number) for shard, number in last.items())

    wait_for(handled, f"the alert function, see {stack.log('event_source_mapping')}", timeout_s)


def incidents(table: str) -> list[dict[str, str]]:
    """Returns all incidents of the table, their values as text."""
    pages = boto3.client("dynamodb").get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    items = [item for page in pages for item in page["Items"]]
    return [{name: next(iter(value.values())) for name, value in item.items()} for item in items]


def unjudged(stream: str) -> Counter[str]:
    """Returns how many events the rules did not judge, by reason, as the tallies in stream 2 say."""
    sums: Counter[str] = Counter()
    for record in read_all(stream):
        if found := tally.parse(record["Data"]):
            sums[found.reason] += found.event_count
    return sums


def metric_sums(outputs: dict[str, str], output: str, dimension: str, since: datetime) -> dict[str, float]:
    """Returns the sum of a metric, whose name is an output, since then, by the values of its dimension."""
    cloudwatch, name = boto3.client("cloudwatch"), outputs[output]
    sums = {}
    for metric in cloudwatch.list_metrics(Namespace=outputs["metric_namespace"], MetricName=name)["Metrics"]:
        points = cloudwatch.get_metric_statistics(
            Namespace=outputs["metric_namespace"],
            MetricName=name,
            Dimensions=metric["Dimensions"],
            StartTime=since,
            EndTime=datetime.now(UTC) + timedelta(minutes=1),
            Period=24 * 3600,
            Statistics=["Sum"],
        )["Datapoints"]
        values = {one["Name"]: one["Value"] for one in metric["Dimensions"]}
        sums[values[dimension]] = sum(point["Sum"] for point in points)
    return sums


def lake(engine: Engine) -> dict[str, int]:
    """Returns the rows of the curated and the quarantine table, and the duplicates that the runs recognised."""
    questions = {
        "curated_rows": "select count(*) from curated_events",
        "duplicate_rows": "select coalesce(sum(duplicate_rows), 0) from etl_runs",
        "quarantined_rows": "select count(*) from quarantined_records",
    }
    return {name: int(engine.query(sql, [])[1][0][0]) for name, sql in questions.items()}


def missing(engine: Engine, ledger: Path) -> int:
    """Returns how many of the events that were sent, by the sender's ledger, are in no table."""
    from simulator.traffic.event import event_id

    sent = set(ledger.read_text().split())
    sent.difference_update(row[0] for row in engine.query("select event_id from curated_events", [])[1])
    for (text,) in engine.query("select record from quarantined_records", [])[1]:
        try:
            sent.discard(event_id(json.loads(text)))
        except (ValueError, TypeError, KeyError):
            continue  # not an event at all: so it is none that was sent
    return len(sent)
