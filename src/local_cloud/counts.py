"""What has arrived where. Each number is counted in its own place; none is derived from another."""

import gzip
import json
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from insights.engines import Engine
from lambda_alert import tally
from local_cloud.pollers.firehose import user_records
from local_cloud.pollers.shards import list_shards, read_all
from local_cloud.stack import Stack
from local_cloud.waiting import wait_for
from simulator.traffic.event import event_key

# A client of boto3, for the service that its name says.
Client = Any


def records(kinesis: Client, stream: str) -> int:
    """Return how many records a stream holds. Records that a producer packed into one are counted one by one."""
    return sum(len(user_records(record["Data"])) for record in read_all(kinesis, stream))


def alerts(kinesis: Client, stream: str) -> list[dict]:
    """Return the alerts in stream 2. Its other records are tallies."""
    found = (json.loads(record["Data"]) for record in read_all(kinesis, stream))
    return [one for one in found if "alert_id" in one]


def last_positions(kinesis: Client, stream: str) -> dict[str, str]:
    """Return the sequence number of the last record of each shard that holds records."""
    return {record["ShardId"]: record["SequenceNumber"] for record in read_all(kinesis, stream)}


def closed_shards(kinesis: Client, stream: str) -> list[str]:
    """Return the shards that were split or merged. They get no further records."""
    shards = list_shards(kinesis, stream)
    return [shard["ShardId"] for shard in shards if "EndingSequenceNumber" in shard["SequenceNumberRange"]]


class RawEvents:
    """The lines in the raw bucket. Each object is read once."""

    def __init__(self, s3: Client, bucket: str):
        self.s3, self.bucket = s3, bucket
        self.lines: dict[str, int] = {}

    def count(self) -> int:
        """Return how many lines the objects under events/ hold now."""
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix="events/"):
            for entry in page.get("Contents", []):
                if entry["Key"] not in self.lines:
                    body = self.s3.get_object(Bucket=self.bucket, Key=entry["Key"])["Body"].read()
                    self.lines[entry["Key"]] = gzip.decompress(body).count(b"\n")
        return sum(self.lines.values())


class Notices:
    """The notices that the topic sends from now on. A queue subscribes to it, as an operator's queue would."""

    def __init__(self, stack: Stack):
        self.sqs = stack.client("sqs")
        self.url = self.sqs.create_queue(QueueName=f"notices-{uuid.uuid4()}")["QueueUrl"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]
        topic_arn = stack.outputs()["incident_topic_arn"]
        stack.client("sns").subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=attributes["QueueArn"])
        self.messages: list[dict] = []

    def receive(self) -> list[dict]:
        """Return all notices so far, in the form for programs."""
        while True:
            reply = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            batch = reply.get("Messages", [])
            if not batch:
                return self.messages
            for message in batch:
                self.messages.append(json.loads(json.loads(message["Body"])["Message"]))
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def count(self) -> int:
        """Return how many notices have come so far."""
        return len(self.receive())


def wait_until_handled(stack: Stack, timeout_s: float = 120) -> None:
    """Return when the alert function has handled all records that stream 2 holds now."""
    outputs = stack.outputs()
    last = last_positions(stack.client("kinesis"), outputs["alert_stream_name"])
    file = stack.directory / "event_source_mapping" / f"{outputs['alert_function_name']}.json"

    def handled() -> bool:
        reached = json.loads(file.read_text()) if file.exists() else {}
        return all(int(reached.get(shard, "-1")) >= int(number) for shard, number in last.items())

    wait_for(handled, f"the alert function, see {stack.log('event_source_mapping')}", timeout_s)


def stored_alerts(dynamodb: Client, table: str) -> list[dict[str, str]]:
    """Return all alerts of the incident table. Their values are text."""
    return [one for one in _items(dynamodb, table) if "subject" in one]


def incidents(dynamodb: Client, table: str) -> dict[str, dict[str, str]]:
    """Return all incidents of the table by id. Their values are text, except lists."""
    prefix = "incident#"
    found = [one for one in _items(dynamodb, table) if one["ddb_partition_key"].startswith(prefix)]
    return {one["ddb_partition_key"].removeprefix(prefix): one for one in found}


def _items(dynamodb: Client, table: str) -> list[dict[str, Any]]:
    pages = dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    items = [item for page in pages for item in page["Items"]]
    return [{name: next(iter(value.values())) for name, value in item.items()} for item in items]


def unjudged(kinesis: Client, stream: str) -> Counter[str]:
    """Return the number of unjudged events by reason: the sum of the tallies in stream 2."""
    sums: Counter[str] = Counter()
    for record in read_all(kinesis, stream):
        if (found := tally.parse(record["Data"])) and found.outcome != tally.JUDGED:
            sums[found.outcome] += found.event_count
    return sums


def metric_sums(stack: Stack, output: str, dimension: str, since: datetime) -> dict[str, float]:
    """Return the sums of a metric since then, by the values of a dimension. `output` is Terraform's, with its name."""
    cloudwatch, outputs = stack.client("cloudwatch"), stack.outputs()
    name = outputs[output]
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
    """Return the rows of the curated and of the quarantine table, and the duplicates that the runs have found."""
    questions = {
        "curated_rows": "select count(*) from curated_events",
        "duplicate_rows": "select coalesce(sum(duplicate_rows), 0) from etl_runs",
        "quarantined_rows": "select count(*) from quarantined_records",
    }
    return {name: int(engine.query(sql, [])[1][0][0]) for name, sql in questions.items()}


def missing(engine: Engine, ledger: Path) -> int:
    """Return how many of the events that were sent, according to the sender's ledger, are in no table."""
    sent = set(filter(None, ledger.read_text().split("\n")))  # an id may hold blanks
    sent.difference_update(row[0] for row in engine.query("select event_key from curated_events", [])[1])
    for (text,) in engine.query("select record from quarantined_records", [])[1]:
        try:
            sent.discard(event_key(json.loads(text)))
        except (ValueError, TypeError, KeyError):
            continue  # not an event, so it was not sent as one
    return len(sent)
