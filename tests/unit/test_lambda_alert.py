"""The alert function as a whole, with moto: what is in the table, the topic, the queue and the log afterwards."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from aws_kinesis_agg.aggregator import RecordAggregator
from botocore.exceptions import ReadTimeoutError
from moto import mock_aws

from lambda_alert import handler, settings
from lambda_alert.alert import parse
from lambda_alert.incidents import Incidents
from lambda_alert.rules import RULES
from lambda_alert.totals import Total, read

TABLE, METRIC, NAMESPACE = "ddb-ecommerce-tab-1", "ecomm-user-high-volume-events", "ecommerce-namespace-1"
UNJUDGED_METRIC, TOTALS = "ecomm-unjudged-events", "ecomm-event-totals"
ARRIVED_AT = datetime(2026, 11, 23, 12, 0, 0, 250_000, UTC)
NOW = datetime(2026, 11, 23, 12, 0, 2, tzinfo=UTC)


def alert(user_id: int, count: int = 7, level: int = 1) -> dict[str, Any]:
    end_at = "2019-10-01T00:00:12.500Z"
    return {
        "alert_id": f"burst:user#{user_id}:{end_at}",
        "rule": "burst",
        "subject": f"user#{user_id}",
        "window_start_at": "2019-10-01T00:00:02.500Z",
        "window_end_at": end_at,
        "num_actions_per_watermark": count,
        "threshold": 5,
        "level": level,
    }


def item(user_id: int) -> dict[str, Any]:
    """Return the final state of an alert's incident."""
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
        "notified_at": {"S": "2026-11-23T12:00:02.000Z"},
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
    """The function's surroundings. `respond` runs it, with other clients if given."""

    values: settings.Settings
    clients: dict[str, Any]
    readers_url: str
    lines: list[str] = field(default_factory=list)

    def respond(
        self, events: list[dict], remaining_ms: Callable[[], int] = lambda: 30_000, **replaced: Any
    ) -> list[str]:
        clients = {**self.clients, "now": lambda: NOW, "log": self.lines.append, **replaced}
        answer = handler.Responder(self.values, **clients).respond(events, remaining_ms)
        assert list(answer) == ["batchItemFailures"]
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    def break_once(self, service: str, method: str, fault: BaseException, after: bool) -> dict[str, Breaking]:
        return {service: Breaking(self.clients[service], method, fault, after, lambda _: True)}

    def items(self) -> list[dict]:
        pages = self.clients["dynamodb"].get_paginator("scan").paginate(TableName=TABLE)
        return sorted((i for page in pages for i in page["Items"]), key=lambda i: i["ddb_sort_key"]["S"])

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


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        clients = {name: boto3.client(name) for name in ("dynamodb", "sns", "sqs")}
        clients["dynamodb"].create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"} for name in ("ddb_partition_key", "ddb_sort_key")
            ],
            KeySchema=[
                {"AttributeName": "ddb_partition_key", "KeyType": "HASH"},
                {"AttributeName": "ddb_sort_key", "KeyType": "RANGE"},
            ],
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
        topic_arn = clients["sns"].create_topic(Name="incidents")["TopicArn"]
        failures_url, readers_url = (
            clients["sqs"].create_queue(QueueName=n)["QueueUrl"] for n in ("failures", "readers")
        )
        clients["sns"].subscribe(
            TopicArn=topic_arn, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:123456789012:readers"
        )
        values = settings.Settings(METRIC, UNJUDGED_METRIC, NAMESPACE, TABLE, TOTALS, topic_arn, failures_url)
        yield Cloud(values, clients, readers_url)


def test_alert_becomes_incident_notice_and_metric(cloud: Cloud):
    assert cloud.respond(records(alert(1))) == []

    assert cloud.items() == [item(1)]
    (message,) = cloud.messages()
    rule = RULES["burst"]
    assert message["Subject"] == f"[{rule.severity}] {rule.title}, level 1: user 1, 7 in 10 s (allowed: 5)"
    assert json.loads(message["Message"]) == {**alert(1), "detected_at": "2026-11-23T12:00:00.250Z"}
    assert {name: a["Value"] for name, a in message["MessageAttributes"].items()} == {
        "alert_id": "burst:user#1:2019-10-01T00:00:12.500Z",
        "rule": "burst",
        "subject": "user#1",
        "level": "1",
        "severity": rule.severity,
    }
    assert cloud.metrics() == [
        {
            "_aws": {
                "Timestamp": int(NOW.timestamp() * 1000),
                "CloudWatchMetrics": [
                    {"Namespace": NAMESPACE, "Dimensions": [["rule"]], "Metrics": [{"Name": METRIC, "Unit": "Count"}]}
                ],
            },
            METRIC: 7,
            "rule": "burst",
            "subject": "user#1",
            "level": 1,
            "alert_id": "burst:user#1:2019-10-01T00:00:12.500Z",
        }
    ]
    assert cloud.letters() == []


def test_repeated_alert_changes_nothing(cloud: Cloud):
    # Within a batch, in a later batch, and with another count and level, as after a restart of the detector.
    assert cloud.respond(records(alert(1), alert(1))) == []
    assert cloud.respond(records(alert(1))) == []
    assert cloud.respond(records(alert(1, count=9))) == []
    assert cloud.respond(records(alert(1, count=12, level=2))) == []

    assert cloud.items() == [item(1)]
    assert len(cloud.messages()) == len(cloud.metrics()) == 1
    assert cloud.log() == ["alert notified", *["repeated alert: nothing to do"] * 4]


def test_alert_that_reprocessing_stored_before_is_notified_when_it_is_found_live(cloud: Cloud):
    reprocessed_at = datetime(2026, 11, 23, 11, tzinfo=UTC)
    incidents = Incidents(cloud.clients["dynamodb"], TABLE, settings.DEFAULT_RETENTION_DAYS)
    assert incidents.record_reprocessed(parse(json.dumps(alert(1)).encode()), reprocessed_at)
    at = {"S": "2026-11-23T11:00:00.000Z"}
    expires_at = {"N": str(int(datetime(2027, 11, 23, 11, tzinfo=UTC).timestamp()))}
    stored = {**item(1), "detected_at": at, "reprocessed_at": at, "expires_at": expires_at}
    del stored["notified_at"]
    assert cloud.items() == [stored]

    assert cloud.respond(records(alert(1))) == []
    assert cloud.respond(records(alert(1))) == []

    assert cloud.items() == [{**stored, "notified_at": {"S": "2026-11-23T12:00:02.000Z"}}]
    assert len(cloud.messages()) == len(cloud.metrics()) == 1


def test_reprocessing_leaves_an_incident_that_is_there_as_it_is(cloud: Cloud):
    cloud.respond(records(alert(1)))
    incidents = Incidents(cloud.clients["dynamodb"], TABLE, settings.DEFAULT_RETENTION_DAYS)
    again = parse(json.dumps(alert(1, count=12, level=2)).encode())
    assert not incidents.record_reprocessed(again, NOW)

    assert cloud.items() == [item(1)]
    assert cloud.respond(records(alert(1))) == []
    assert len(cloud.messages()) == len(cloud.metrics()) == 1


def test_next_level_is_an_incident_of_its_own_beside_the_first(cloud: Cloud):
    end_at = "2019-10-01T00:00:13.500Z"
    times = {"window_start_at": "2019-10-01T00:00:03.500Z", "window_end_at": end_at}
    risen = {**alert(1, count=12, level=2), **times, "alert_id": f"burst:user#1:{end_at}"}
    assert cloud.respond(records(alert(1), risen)) == []

    assert [(i["ddb_partition_key"]["S"], i["level"]["N"]) for i in cloud.items()] == [("user#1", "1"), ("user#1", "2")]
    assert [message["MessageAttributes"]["level"] for message in cloud.messages()] == [
        {"Type": "Number", "Value": "1"},
        {"Type": "Number", "Value": "2"},
    ]
    assert [(line[METRIC], line["level"]) for line in cloud.metrics()] == [(7, 1), (12, 2)]


@pytest.mark.parametrize(
    "subject", ["product#1004856", "session#72d76fde", "user#O'Brien: 1#2", f"user#{'😀' * 128}", "site"]
)
def test_subjects_of_every_kind_become_incident_notice_and_metric(cloud: Cloud, subject: str):
    found = {**alert(1), "subject": subject, "alert_id": f"burst:{subject}:2019-10-01T00:00:12.500Z"}
    assert cloud.respond(records(found)) == []

    (stored,) = cloud.items()
    assert stored["ddb_partition_key"] == stored["subject"] == {"S": subject}
    (message,) = cloud.messages()
    assert message["MessageAttributes"]["subject"]["Value"] == json.loads(message["Message"])["subject"] == subject
    assert [line["subject"] for line in cloud.metrics()] == [subject]
    assert cloud.letters() == []


def tally(outcome: str, event_count: int = 3, total_count: int = 2**41, second: int = 50) -> dict[str, Any]:
    return {
        "outcome": outcome,
        "event_date": "2019-10-01",
        "arrival_date": None,
        "counted_at": f"2026-11-23T11:59:{second}.000Z",
        "event_count": event_count,
        "total_count": total_count,
    }


def test_tally_becomes_a_metric_and_no_incident(cloud: Cloud):
    assert cloud.respond(records(tally("late"), alert(1), tally("bad_time:event_time", 2**40))) == []

    assert cloud.items() == [item(1)]
    assert len(cloud.messages()) == 1
    assert cloud.letters() == []
    late, of_alert, bad_time = cloud.metrics()
    assert late == {
        "_aws": {
            "Timestamp": int(NOW.timestamp() * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": NAMESPACE,
                    "Dimensions": [["reason"]],
                    "Metrics": [{"Name": UNJUDGED_METRIC, "Unit": "Count"}],
                }
            ],
        },
        UNJUDGED_METRIC: 3,
        "reason": "late",
        "counted_at": "2026-11-23T11:59:50.000Z",
    }
    assert METRIC in of_alert and UNJUDGED_METRIC not in of_alert
    assert (bad_time["reason"], bad_time[UNJUDGED_METRIC]) == ("bad_time:event_time", 2**40)


def test_the_latest_total_of_each_outcome_and_date_is_kept(cloud: Cloud):
    first, later = tally("judged", 5, 5, second=10), tally("judged", 2, 7, second=20)
    bad = {**tally("not_json", 1, 1), "event_date": None, "arrival_date": "2026-11-23"}
    assert cloud.respond(records(first, tally("late", 1, 1), {**first, "event_date": "2019-10-02"}, bad)) == []
    assert cloud.respond(records(later)) == []
    assert cloud.respond(records(first, later, bad)) == []  # again, and out of order

    expected = {
        ("event", date(2019, 10, 1), "judged"): Total(7, "2026-11-23T11:59:20.000Z"),
        ("event", date(2019, 10, 1), "late"): Total(1, "2026-11-23T11:59:50.000Z"),
        ("event", date(2019, 10, 2), "judged"): Total(5, "2026-11-23T11:59:10.000Z"),
        ("arrival", date(2026, 11, 23), "not_json"): Total(1, "2026-11-23T11:59:50.000Z"),
    }
    dynamodb = cloud.clients["dynamodb"]
    assert read(dynamodb, TOTALS) == expected
    # A metric of each tally of unjudged events, once, and of no judged ones.
    assert [(line["reason"], line[UNJUDGED_METRIC]) for line in cloud.metrics()] == [("late", 1), ("not_json", 1)]
    assert all(one["expires_at"] == item(1)["expires_at"] for one in dynamodb.scan(TableName=TOTALS)["Items"])

    # After a restart the detector may judge what was late before: the later count is right, though it is smaller.
    assert cloud.respond(records(tally("judged", 1, 6, second=30))) == []
    assert read(dynamodb, TOTALS)["event", date(2019, 10, 1), "judged"].lines == 6


def test_what_is_neither_alert_nor_tally_is_kept(cloud: Cloud):
    odd = [tally("Bored"), {"outcome": "late"}, {**alert(1), "outcome": "late", "level": 2}, {"kind": "tally"}]
    assert cloud.respond(records(*odd)) == []

    letters = sorted(cloud.letters(), key=lambda letter: letter["sequence_number"])
    assert [letter["reason"] for letter in letters] == [
        'outcome is "Bored", expected [a-z0-9_]{1,50}(:[a-z0-9_]{1,50})?',
        "without event_date, arrival_date, counted_at, event_count, total_count",
        "level is 2, expected 1 for num_actions_per_watermark 7 above threshold 5",
        "without alert_id, rule, subject, window_start_at, window_end_at, num_actions_per_watermark, threshold, level",
    ]
    assert cloud.items() == cloud.metrics() == []


class Killed(BaseException):
    """The end of the process: no `except Exception` catches it."""


@pytest.mark.parametrize("fault", [ReadTimeoutError(endpoint_url="https://…"), Killed()], ids=["fails", "is killed"])
@pytest.mark.parametrize(
    ("service", "method", "after", "messages", "metrics"),
    [
        ("dynamodb", "put_item", False, 1, 1),
        ("dynamodb", "put_item", True, 1, 1),
        ("sns", "publish", False, 1, 1),
        # From here to the mark, the notice has been sent but not recorded: it is sent again.
        ("sns", "publish", True, 2, 1),
        ("dynamodb", "update_item", False, 2, 2),
        ("dynamodb", "update_item", True, 1, 1),
    ],
)
def test_retry_after_a_break_ends_in_the_same_state(
    cloud: Cloud, service: str, method: str, after: bool, messages: int, metrics: int, fault: BaseException
):
    broken = cloud.break_once(service, method, fault, after)
    if isinstance(fault, Killed):
        with pytest.raises(Killed):
            cloud.respond(records(alert(1)), **broken)
    else:
        assert cloud.respond(records(alert(1)), **broken) == ["1"]
    for _ in range(2):  # the retry, and one too many
        assert cloud.respond(records(alert(1))) == []

    assert cloud.items() == [item(1)]
    sent = cloud.messages()
    assert len(sent) == messages
    assert {message["MessageAttributes"]["alert_id"]["Value"] for message in sent} == {alert(1)["alert_id"]}
    assert len({message["Message"] for message in sent}) == 1
    assert len(cloud.metrics()) == metrics


@pytest.mark.parametrize(("after", "metrics"), [(False, 1), (True, 2)])
def test_retry_after_a_kill_around_the_metric(cloud: Cloud, after: bool, metrics: int):
    def log(line: str) -> None:
        if after:
            cloud.lines.append(line)
        raise Killed

    with pytest.raises(Killed):
        cloud.respond(records(alert(1)), log=log)
    assert cloud.respond(records(alert(1))) == []

    assert cloud.items() == [item(1)]
    assert len(cloud.messages()) == 2
    assert len(cloud.metrics()) == metrics


def test_incident_deleted_before_its_mark_does_not_come_back(cloud: Cloud):
    class Deleting:
        def publish(self, **_: Any) -> None:
            key = {name: item(1)[name] for name in ("ddb_partition_key", "ddb_sort_key")}
            cloud.clients["dynamodb"].delete_item(TableName=TABLE, Key=key)

    assert cloud.respond(records(alert(1)), sns=Deleting()) == []
    assert cloud.items() == []


def test_first_mark_stands(cloud: Cloud):
    class Forgetful(Breaking):
        """Marks, and marks again a minute later, as the SDK does when an answer is lost."""

        def update_item(self, **call: Any) -> None:
            self._client.update_item(**call)
            later = {":notified_at": {"S": "2026-11-23T12:01:02.000Z"}}
            self._client.update_item(**{**call, "ExpressionAttributeValues": later})

    client = Forgetful(cloud.clients["dynamodb"], "", Killed(), after=False, breaks=lambda _: False)
    assert cloud.respond(records(alert(1)), dynamodb=client) == []
    assert cloud.items() == [item(1)]


def test_poison_is_kept_and_hurts_no_other(cloud: Cloud):
    assert cloud.respond(records(alert(1), b"{broken", b"\xff", {**alert(2), "subject": None}, alert(3))) == []

    assert cloud.items() == [item(1), item(3)]
    assert len(cloud.messages()) == len(cloud.metrics()) == 2
    letters = sorted(cloud.letters(), key=lambda letter: letter["sequence_number"])
    assert [(letter["sequence_number"], letter["payload_encoding"]) for letter in letters] == [
        ("2", "utf-8"),
        ("3", "base64"),
        ("4", "utf-8"),
    ]
    assert letters[0] == {
        "reason": "not JSON in UTF-8: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        "payload": "{broken",
        "payload_encoding": "utf-8",
        "payload_bytes": 7,
        "payload_kept_bytes": 7,
        "stream_arn": "arn:aws:kinesis:us-east-1:123456789012:stream/two",
        "shard_id": "shardId-000000000000",
        "sequence_number": "2",
        "position": 0,
        "arrived_at": "2026-11-23T12:00:00.250Z",
    }
    assert letters[2]["reason"] == "subject is null, expected a string"


def test_poison_is_retried_when_the_failure_queue_fails(cloud: Cloud):
    broken = cloud.break_once("sqs", "send_message", ReadTimeoutError(endpoint_url="https://…"), after=False)
    assert cloud.respond(records(b"{broken", alert(1)), **broken) == ["1"]
    assert cloud.items() == [item(1)]
    assert cloud.respond(records(b"{broken", alert(1))) == []
    assert len(cloud.letters()) == len(cloud.messages()) == 1


def test_log_holds_no_payload(cloud: Cloud):
    batch = records(b'{"name": "Jane Doe"}', {**alert(1), "rule": "Jane Doe"})
    broken = cloud.break_once("sqs", "send_message", ReadTimeoutError(endpoint_url="https://…"), after=False)
    assert cloud.respond(batch) == []
    assert cloud.respond(batch, **broken) == ["1", "2"]
    assert cloud.lines and "Jane" not in "".join(cloud.lines)
    assert json.loads(cloud.lines[0]) == {
        "level": "ERROR",
        "message": "neither alert nor tally: kept in the failure queue with the reason",
        "shard_id": "shardId-000000000000",
        "sequence_number": "1",
        "position": 0,
    }


def test_failure_is_reported_and_the_others_are_worked_on(cloud: Cloud):
    def of_user_2_or_4(call: dict) -> bool:
        return call["Item"]["subject"]["S"] in ("user#2", "user#4")

    fault = ReadTimeoutError(endpoint_url="https://…")
    broken = Breaking(cloud.clients["dynamodb"], "put_item", fault, after=False, breaks=of_user_2_or_4)
    batch = records(*(alert(user_id) for user_id in range(1, 6)))
    assert cloud.respond(batch, dynamodb=broken) == ["2", "4"]
    assert cloud.items() == [item(1), item(3), item(5)]
    (line, _) = (line for line in map(json.loads, cloud.lines) if line.get("level") == "ERROR")
    assert (line["sequence_number"], line["error"]) == ("2", repr(fault))

    # Lambda retries from the lowest.
    assert cloud.respond(batch[1:]) == []
    assert cloud.items() == [item(user_id) for user_id in range(1, 6)]
    assert len(cloud.messages()) == len(cloud.metrics()) == 5


def test_aggregated_and_plain_records_mix(cloud: Cloud):
    wire = [json.dumps(alert(user_id)).encode() for user_id in range(1, 5)]
    batch = records(wire[0], aggregated(wire[1], b"{broken", wire[2]), wire[3])

    def of_user_2(call: dict) -> bool:
        return call["Item"]["subject"]["S"] == "user#2"

    fault = ReadTimeoutError(endpoint_url="https://…")
    broken = Breaking(cloud.clients["dynamodb"], "put_item", fault, after=False, breaks=of_user_2)
    assert cloud.respond(batch, dynamodb=broken) == ["2"]  # of the Kinesis record, once
    assert cloud.items() == [item(1), item(3), item(4)]

    assert cloud.respond(batch[1:]) == []
    assert cloud.items() == [item(1), item(2), item(3), item(4)]
    assert len(cloud.messages()) == len(cloud.metrics()) == 4
    # The one behind the failure came twice, and can be told.
    assert [(letter["sequence_number"], letter["position"]) for letter in cloud.letters()] == [("2", 1), ("2", 1)]


def test_short_of_time_the_rest_is_left_to_the_next_call(cloud: Cloud):
    times = iter([20_000, handler.RESERVE_MS - 1])
    assert cloud.respond(records(*map(alert, range(1, 5))), remaining_ms=lambda: next(times)) == ["3"]
    assert cloud.items() == [item(1), item(2)]


def test_however_short_of_time_one_is_done(cloud: Cloud):
    assert cloud.respond(records(alert(1), alert(2)), remaining_ms=lambda: 0) == ["2"]
    assert cloud.items() == [item(1)]


@pytest.fixture
def fresh_environment() -> Iterator[None]:
    handler._responder.cache_clear()
    yield
    handler._responder.cache_clear()


CONTEXT = SimpleNamespace(get_remaining_time_in_millis=lambda: 30_000)


def test_entry_point(
    cloud: Cloud, fresh_environment: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    for name in ("topic_arn", "failure_queue_url"):
        monkeypatch.setenv(name, getattr(cloud.values, name))
    monkeypatch.setenv("dynamodb_control_table", TABLE)
    monkeypatch.setenv("dynamodb_totals_table", TOTALS)
    monkeypatch.setenv("cloudwatch_metric", METRIC)
    monkeypatch.setenv("cloudwatch_unjudged_metric", UNJUDGED_METRIC)
    monkeypatch.setenv("cloudwatch_namespace", NAMESPACE)

    assert handler.handle({"Records": records(alert(1), b"{broken")}, CONTEXT) == {"batchItemFailures": []}

    (stored,) = cloud.items()
    assert {**stored, "notified_at": item(1)["notified_at"]} == item(1)
    assert len(cloud.messages()) == len(cloud.letters()) == 1
    metric, *log = map(json.loads, capsys.readouterr().out.splitlines())
    assert metric[METRIC] == 7
    assert [line["message"] for line in log] == [
        "alert notified",
        "neither alert nor tally: kept in the failure queue with the reason",
    ]


def test_missing_environment_is_named(fresh_environment: None, monkeypatch: pytest.MonkeyPatch):
    for name in ("topic_arn", "failure_queue_url"):
        monkeypatch.delenv(name, raising=False)
    tables = ("dynamodb_control_table", "dynamodb_totals_table")
    for name in ("cloudwatch_metric", "cloudwatch_unjudged_metric", "cloudwatch_namespace", *tables):
        monkeypatch.setenv(name, "x")
    with pytest.raises(ValueError, match=r"^environment without topic_arn, failure_queue_url: "):
        handler.handle({"Records": records(alert(1))}, CONTEXT)
