"""The alert function's surroundings, with moto: what is in the table, the topic, the queue and the log."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from aws_kinesis_agg.aggregator import RecordAggregator
from moto import mock_aws

from lambda_alert import handler, settings
from lambda_alert.alert import iso
from lambda_alert.policy import PARTITION
from lambda_alert.store import INCIDENT_INDEX, OPEN_INDEX, Store

TABLE, METRIC, NAMESPACE = "ddb-ecommerce-tab-1", "ecomm-user-high-volume-events", "ecommerce-namespace-1"
UNJUDGED_METRIC, TOTALS = "ecomm-unjudged-events", "ecomm-event-totals"
ARRIVED_AT = datetime(2026, 11, 23, 12, 0, 0, 250_000, UTC)
NOW = datetime(2026, 11, 23, 12, 0, 2, tzinfo=UTC)


def alert(user_id: int, count: int = 7, later_s: float = 0, rule: str = "burst", **more: str) -> dict[str, Any]:
    """Return an alert about a user, in a window that ends so much later than the first."""
    end = datetime(2019, 10, 1, 0, 0, 12, 500_000, UTC) + timedelta(seconds=later_s)
    return {
        "alert_id": f"{rule}:user#{user_id}:{iso(end)}",
        "rule": rule,
        "subject": f"user#{user_id}",
        "window_start_at": iso(end - timedelta(seconds=10)),
        "window_end_at": iso(end),
        "num_actions_per_watermark": count,
        "threshold": 5,
        "level": (count // 6).bit_length(),
        **more,
    }


def item(user_id: int) -> dict[str, Any]:
    """Return what is stored of an alert, but for its incident."""
    return {
        "ddb_partition_key": {"S": f"user#{user_id}"},
        "ddb_sort_key": {"S": f"burst:user#{user_id}:2019-10-01T00:00:12.500Z"},
        "rule": {"S": "burst"},
        "subject": {"S": f"user#{user_id}"},
        "window_start_at": {"S": "2019-10-01T00:00:02.500Z"},
        "window_end_at": {"S": "2019-10-01T00:00:12.500Z"},
        "num_actions_per_watermark": {"N": "7"},
        "threshold": {"N": "5"},
        "level": {"N": "1"},
        "detected_at": {"S": "2026-11-23T12:00:00.250Z"},
        "expires_at": {"N": str(int(datetime(2027, 11, 23, 12, tzinfo=UTC).timestamp()))},
    }


def records(*payloads: Any) -> list[dict[str, Any]]:
    """Return Kinesis records as Lambda gets them, numbered 1, 2, … Payloads other than bytes become JSON."""
    return [
        {
            "eventID": f"shardId-000000000000:{number}",
            "eventSourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/two",
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "sequenceNumber": str(number),
                "partitionKey": "1",
                "data": base64.b64encode(
                    payload if isinstance(payload, bytes) else json.dumps(payload).encode()
                ).decode(),
                "approximateArrivalTimestamp": ARRIVED_AT.timestamp(),
            },
        }
        for number, payload in enumerate(payloads, 1)
    ]


def aggregated(*payloads: bytes) -> bytes:
    aggregator = RecordAggregator()
    for payload in payloads:
        aggregator.add_user_record("1", payload)
    return aggregator.clear_and_get().get_contents()[2]


class Breaking:
    """A client with one method that fails, before or after the call takes effect, for the calls that `breaks` picks."""

    def __init__(self, client: Any, method: str, fault: BaseException, after: bool, breaks: Callable[[dict], bool]):
        self._client, self._method, self._fault, self._after, self._breaks = client, method, fault, after, breaks

    def __getattr__(self, name: str) -> Any:
        actual = getattr(self._client, name)
        if name != self._method:
            return actual

        def call(**arguments: Any) -> Any:
            broken = self._breaks(arguments)
            if not broken or self._after:
                answer = actual(**arguments)
            if broken:
                raise self._fault
            return answer

        return call


@dataclass
class Cloud:
    """The function's surroundings. `respond` and `sweep` run it, with other clients if given. `now` is its clock."""

    values: settings.Settings
    clients: dict[str, Any]
    readers_url: str
    lines: list[str] = field(default_factory=list)
    now: datetime = NOW

    def responder(self, **replaced: Any) -> handler.Responder:
        clients = {**self.clients, "now": lambda: self.now, "log": self.lines.append, **replaced}
        return handler.Responder(self.values, **clients)

    def respond(
        self, events: list[dict], remaining_ms: Callable[[], int] = lambda: 60_000, **replaced: Any
    ) -> list[str]:
        answer = self.responder(**replaced).respond(events, remaining_ms)
        assert list(answer) == ["batchItemFailures"]
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    def sweep(self, later_s: float = 60, **replaced: Any) -> dict[str, Any]:
        self.now += timedelta(seconds=later_s)
        return self.responder(**replaced).sweep(lambda: 60_000)

    def store(self) -> Store:
        return Store(self.clients["dynamodb"], TABLE, settings.DEFAULT_RETENTION_DAYS, settings.DEFAULT_QUIET_S)

    def break_once(self, service: str, method: str, fault: BaseException, after: bool) -> dict[str, Breaking]:
        return {service: Breaking(self.clients[service], method, fault, after, lambda _: True)}

    def scan(self) -> list[dict]:
        pages = self.clients["dynamodb"].get_paginator("scan").paginate(TableName=TABLE)
        return sorted((i for page in pages for i in page["Items"]), key=lambda i: i["ddb_sort_key"]["S"])

    def items(self) -> list[dict]:
        """Return the stored alerts, without the incidents that they belong to."""
        return [{n: v for n, v in i.items() if n != "incident_id"} for i in self.scan() if "subject" in i]

    def incidents(self) -> list[dict]:
        return [i for i in self.scan() if i["ddb_sort_key"]["S"] == "incident"]

    def counts(self) -> list[tuple[int, int]]:
        """Return the number of alerts and of subjects of each incident."""
        names = ("alert_count", "subject_count")
        return sorted(tuple(int(i[name]["N"]) for name in names) for i in self.incidents())

    def decide(self, name: str, **more: str) -> None:
        """Put a policy item, and wait until the function has read it."""
        policy = {"ddb_partition_key": PARTITION, "ddb_sort_key": name, **more}
        item = {key: {"S": value} for key, value in policy.items()}
        self.clients["dynamodb"].put_item(TableName=TABLE, Item=item)

    def kinds(self) -> list[str]:
        """Return the kinds of the notices that have come since the last call."""
        return [json.loads(message["Message"])["kind"] for message in self.messages()]

    def _drain(self, url: str) -> list[dict]:
        bodies = []
        while found := self.clients["sqs"].receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                bodies.append(json.loads(message["Body"]))
                self.clients["sqs"].delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    def messages(self) -> list[dict]:
        return self._drain(self.readers_url)

    def letters(self) -> list[dict]:
        return self._drain(self.values.failure_queue_url)

    def metrics(self) -> list[dict]:
        return [line for line in map(json.loads, self.lines) if "_aws" in line]

    def log(self) -> list[str]:
        return [line["message"] for line in map(json.loads, self.lines) if "_aws" not in line]


class Killed(BaseException):
    """The end of the process: no `except Exception` catches it."""


def set_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let boto3 find no other cloud than moto's."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@contextmanager
def opened_cloud() -> Iterator[Cloud]:
    """Yield a cloud of its own, with empty table, topic and queues."""
    with mock_aws():
        clients = {name: boto3.client(name) for name in ("dynamodb", "sns", "sqs")}
        clients["dynamodb"].create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"}
                for name in ("ddb_partition_key", "ddb_sort_key", "incident_id", "open", "opened_at")
            ],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": name,
                    "KeySchema": [
                        {"AttributeName": partition, "KeyType": "HASH"},
                        {"AttributeName": sort, "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                }
                for name, partition, sort in (
                    (OPEN_INDEX, "open", "opened_at"),
                    (INCIDENT_INDEX, "incident_id", "ddb_sort_key"),
                )
            ],
            KeySchema=[
                {"AttributeName": "ddb_partition_key", "KeyType": "HASH"},
                {"AttributeName": "ddb_sort_key", "KeyType": "RANGE"},
            ],
        )
        topic_arn = clients["sns"].create_topic(Name="incidents")["TopicArn"]
        failures_url, readers_url = (
            clients["sqs"].create_queue(QueueName=n)["QueueUrl"] for n in ("failures", "readers")
        )
        clients["sns"].subscribe(
            TopicArn=topic_arn, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:123456789012:readers"
        )
        clients["dynamodb"].create_table(
            TableName=TOTALS,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("day", "outcome")],
            KeySchema=[
                {"AttributeName": "day", "KeyType": "HASH"},
                {"AttributeName": "outcome", "KeyType": "RANGE"},
            ],
        )
        values = settings.Settings(METRIC, UNJUDGED_METRIC, NAMESPACE, TABLE, TOTALS, topic_arn, failures_url)
        yield Cloud(values, clients, readers_url)
