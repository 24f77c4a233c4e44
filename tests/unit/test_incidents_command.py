"""The commands about incidents, on moto: what they list, what they decide, and what the function makes of it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from lambda_alert_cloud import TABLE, Cloud, alert, opened_cloud, records, set_variables

from lambda_alert.alert import iso
from lambda_alert.store import PAUSE_S
from local_cloud.pollers.shards import read_all
from shopstream.app import run
from shopstream.commands import incidents


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    set_variables(monkeypatch)
    with opened_cloud() as cloud:

        class Environment:
            outputs = {"incident_table_name": TABLE}  # noqa: RUF012

            def client(self, service: str) -> Any:
                return cloud.clients[service]

        monkeypatch.setattr(incidents, "open_environment", lambda name, home: Environment())
        cloud.now = datetime.now(UTC)
        yield cloud


def arrived(cloud: Cloud, *alerts: dict) -> list[dict]:
    """Return records of alerts that arrive now."""
    events = records(*alerts)
    for event in events:
        event["kinesis"]["approximateArrivalTimestamp"] = cloud.now.timestamp()
    return events


def listed(capsys: pytest.CaptureFixture, *arguments: str) -> list[dict]:
    """Return what a command prints as JSON."""
    capsys.readouterr()
    assert run([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_open_incidents_are_listed_until_they_are_over(cloud: Cloud, capsys: pytest.CaptureFixture):
    assert listed(capsys, "incidents") == []
    cloud.respond(arrived(cloud, alert(1), alert(2, count=12)))
    [one] = listed(capsys, "incidents")
    assert (one["state"], one["level"], one["alerts"], one["subjects"], one["due"]) == ("open", 2, 2, 2, False)
    for _ in range(6):
        cloud.sweep()
    assert listed(capsys, "incidents") == []
    assert [row["state"] for row in listed(capsys, "incidents", "--all")] == ["over"]
    assert run(["incidents"]) == 0
    assert capsys.readouterr().out == "no incident is open\n"


def test_explain_lists_the_alerts_about_a_subject(cloud: Cloud, capsys: pytest.CaptureFixture):
    cloud.respond(arrived(cloud, alert(1, later_s=5, rule="scraper"), alert(1), alert(2)))
    rows = listed(capsys, "explain", "user#1")
    assert [row["rule"] for row in rows] == ["burst", "scraper"]
    assert {row["incident_id"] for row in rows} == {row["incident"] for row in listed(capsys, "incidents")}


def test_acknowledged_and_false_positive_stay_with_the_incident(cloud: Cloud, capsys: pytest.CaptureFixture):
    cloud.respond(arrived(cloud, alert(1), alert(1, rule="scraper")))
    burst, scraper = sorted(row["incident"] for row in listed(capsys, "incidents"))
    assert run(["ack", burst, "--by", "ann"]) == 0
    assert run(["false-positive", scraper, "--by", "bob"]) == 0
    rows = {row["incident"]: row for row in listed(capsys, "incidents")}
    assert (rows[burst]["acked_by"], rows[burst]["muted_by"]) == ("ann", "acknowledged")
    assert (rows[scraper]["verdict"], rows[scraper]["muted_by"]) == ("false-positive", "verdict")


def test_silence_and_observe_tell_nobody_and_end(cloud: Cloud, capsys: pytest.CaptureFixture):
    assert run(["silence", "burst", "--for", "1h", "--why", "load test", "--by", "ann"]) == 0
    assert run(["observe", "scraper", "--why", "new rule"]) == 0
    cloud.respond(arrived(cloud, alert(1), alert(1, rule="scraper")))
    assert [row["muted_by"] for row in listed(capsys, "incidents")] == ["silence", "observe"]
    assert cloud.messages() == []
    [silence] = [i for i in cloud.scan() if i["ddb_sort_key"]["S"] == "silence#burst"]
    assert (silence["by"]["S"], silence["why"]["S"]) == ("ann", "load test")
    assert run(["observe", "scraper", "--off"]) == 0
    assert cloud.sweep(PAUSE_S)["told"] == ["scraper"]


def test_allowed_subject_makes_no_incident(cloud: Cloud, capsys: pytest.CaptureFixture):
    assert run(["allow", "user#1", "--for", "30d", "--why", "price checker"]) == 0
    cloud.respond(arrived(cloud, alert(1)))
    assert listed(capsys, "incidents", "--all") == []
    [policy] = [i for i in cloud.scan() if i["ddb_sort_key"]["S"] == "allow#user#1"]
    assert policy["until"]["S"][:10] == iso(datetime.now(UTC) + timedelta(days=30))[:10]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["explain", "42"], "the subject is '42', expected user#<id>"),
        (["allow", "user#", "--for", "1d", "--why", "x"], "the subject is 'user#', expected user#<id>"),
        (["allow", "user#1", "--for", "1y", "--why", "x"], "the time is '1y': give a number and m, h or d"),
        (["ack", "burst-0"], "there is no incident 'burst-0': `shopstream incidents --all` lists them"),
        (["silence", "burts", "--for", "1h", "--why", "x"], "'burts' is neither a rule nor an incident: use burst,"),
        (["observe", "burts", "--why", "x"], "the rule is 'burts': use one of burst,"),
        (["observe", "burst"], 'observe needs a reason: give --why "…"'),
    ],
)
def test_bad_input_is_named(cloud: Cloud, capsys: pytest.CaptureFixture, arguments: list[str], error: str):
    assert run(arguments) == 2
    assert capsys.readouterr().err.startswith(f"error: {error}")


def test_redrive_puts_records_back_and_keeps_dead_letters(
    cloud: Cloud, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    kinesis, sqs, url = boto3.client("kinesis"), cloud.clients["sqs"], cloud.values.failure_queue_url
    kinesis.create_stream(StreamName="two", ShardCount=1)
    sent = [kinesis.put_record(StreamName="two", PartitionKey=name, Data=name.encode()) for name in "abc"]
    lost = {
        "requestContext": {"condition": "RecordAgeExceeded"},
        "KinesisBatchInfo": {
            "shardId": sent[0]["ShardId"],
            "startSequenceNumber": sent[0]["SequenceNumber"],
            "endSequenceNumber": sent[1]["SequenceNumber"],
            "approximateArrivalOfFirstRecord": iso(datetime.now(UTC) - timedelta(seconds=60)),
            "batchSize": 2,
        },
    }
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps(lost))
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"reason": "not JSON", "payload": "{"}))

    class Environment:
        outputs = {"failure_queue_url": url, "alert_stream_name": "two"}  # noqa: RUF012

        def client(self, service: str) -> Any:
            return kinesis if service == "kinesis" else cloud.clients[service]

    monkeypatch.setattr(incidents, "open_environment", lambda name, home: Environment())
    assert sorted(listed(capsys, "redrive"), key=lambda row: row["what"]) == [
        {"what": "dead letter", "why": "not JSON", "records": 1, "redriven": 0},
        {"what": "records", "why": "RecordAgeExceeded", "records": 2, "redriven": 2},
    ]
    assert [(one["PartitionKey"], one["Data"]) for one in read_all(kinesis, "two")] == [
        (name, name.encode()) for name in "abcab"
    ]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "0"})
    count = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert int(count["ApproximateNumberOfMessages"]) + int(count["ApproximateNumberOfMessagesNotVisible"]) == 1
