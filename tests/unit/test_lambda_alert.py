"""The alert function as a whole, with moto: what is in the table, the topic, the queue and the log afterwards."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from lambda_alert_cloud import (
    ARRIVED_AT,
    METRIC,
    NAMESPACE,
    NOW,
    TABLE,
    TOTALS,
    UNJUDGED_METRIC,
    Breaking,
    Cloud,
    Killed,
    aggregated,
    alert,
    item,
    opened_cloud,
    records,
    set_variables,
)

from lambda_alert import handler, settings
from lambda_alert.alert import iso, parse
from lambda_alert.policy import CACHE_S
from lambda_alert.rules import RULES
from lambda_alert.store import CALL_MS, INCIDENT_INDEX, LEASE_S, PAUSE_S
from lambda_alert.telling import STILL_S, TELL_MS
from lambda_alert.totals import Total, read


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    set_variables(monkeypatch)
    with opened_cloud() as cloud:
        yield cloud


def test_alert_becomes_incident_notice_and_metric(cloud: Cloud):
    assert cloud.respond(records(alert(1))) == []

    assert cloud.items() == [item(1)]
    assert cloud.counts() == [(1, 1)]
    (message,) = cloud.messages()
    rule = RULES["burst"]
    assert message["Subject"] == f"[{rule.severity}] {rule.title}, level 1: user 1, 7 in 10 s (allowed: 5)"
    told = json.loads(message["Message"])
    assert (told["kind"], told["rule"], told["alert_count"]) == ("opened", "burst", 1)
    assert {name: a["Value"] for name, a in message["MessageAttributes"].items()} == {
        "notice_id": f"{told['incident_id']}#1",
        "incident_id": told["incident_id"],
        "kind": "opened",
        "rule": "burst",
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
            METRIC: [7],
            "rule": "burst",
        }
    ]
    assert cloud.letters() == []


def test_repeated_alert_changes_nothing(cloud: Cloud):
    # Within a batch, in a later batch, and with another count and level, as after a restart of the detector.
    assert cloud.respond(records(alert(1), alert(1))) == []
    before = cloud.scan()
    for again in (alert(1), alert(1, count=9), alert(1, count=12)):
        assert cloud.respond(records(again)) == []

    assert cloud.scan() == before
    assert cloud.counts() == [(1, 1)]
    assert len(cloud.messages()) == len(cloud.metrics()) == 1


def test_repeated_alert_does_not_hold_up_the_others(cloud: Cloud):
    assert cloud.respond(records(alert(1), alert(2))) == []
    assert cloud.respond(records(alert(3), alert(1), alert(4), alert(2))) == []
    assert cloud.items() == [item(user_id) for user_id in (1, 2, 3, 4)]
    assert cloud.counts() == [(4, 4)]


def test_alerts_of_a_rule_that_lie_close_together_are_one_incident(cloud: Cloud):
    quiet_s = settings.DEFAULT_QUIET_S
    # The windows are 10 s long. The last is one too far from all others; another rule is another incident.
    found = [alert(1), alert(2, later_s=quiet_s + 10), alert(2, count=12, later_s=quiet_s + 15)]
    apart = [alert(3, later_s=2 * quiet_s + 25.001), alert(1, rule="scraper")]
    assert cloud.respond(records(*found, *apart)) == []
    assert cloud.counts() == [(1, 1), (1, 1), (3, 2)]
    assert cloud.kinds() == ["opened"] * 3

    dynamodb = cloud.clients["dynamodb"]
    [largest] = [i for i in cloud.incidents() if i["alert_count"]["N"] == "3"]
    answer = dynamodb.query(
        TableName=TABLE,
        IndexName=INCIDENT_INDEX,
        KeyConditionExpression="incident_id = :id",
        ExpressionAttributeValues={":id": {"S": largest["ddb_partition_key"]["S"].removeprefix("incident#")}},
    )
    assert {i["ddb_sort_key"]["S"] for i in answer["Items"]} == {one["alert_id"] for one in found}


def test_a_batch_of_many_alerts_and_incidents_is_split(cloud: Cloud):
    # 60 alerts, each an incident of its own: 121 writes.
    found = [alert(user_id, later_s=1000 * user_id) for user_id in range(60)]
    assert cloud.respond(records(*found)) == []
    assert cloud.counts() == [(1, 1)] * 60


def test_growth_is_told_by_level_and_tenfold_at_most_once_a_minute(cloud: Cloud):
    assert cloud.respond(records(alert(0))) == []
    assert cloud.kinds() == ["opened"]
    assert cloud.respond(records(*map(alert, range(1, 9)))) == []  # nine subjects
    assert cloud.sweep(PAUSE_S)["told"] == []
    assert cloud.respond(records(alert(9))) == []
    assert cloud.kinds() == ["grew"]
    assert cloud.respond(records(alert(9, count=12, later_s=1))) == []
    assert cloud.kinds() == []  # within a minute: the sweep tells it
    assert cloud.sweep(PAUSE_S - 1)["told"] == []
    assert cloud.sweep(1)["told"] == ["burst"]
    (message,) = cloud.messages()
    told = json.loads(message["Message"])
    assert (told["kind"], told["level"], told["alert_count"], told["subject_count"]) == ("grew", 2, 11, 10)


def test_an_incident_that_goes_on_is_told_again_and_its_end_too(cloud: Cloud):
    for step in range(STILL_S // 240 + 1):
        events = records(alert(1, later_s=240 * step))
        for event in events:
            event["kinesis"]["approximateArrivalTimestamp"] = cloud.now.timestamp()
        assert cloud.respond(events) == []
        cloud.sweep(240)
    assert cloud.kinds() == ["opened", "still"]
    assert cloud.sweep(60)["open"] == 1
    assert cloud.kinds() == ["over"]
    assert cloud.sweep() == {"open": 0, "told": [], "muted": 0, "oldest_due_s": 0}
    # What comes then is another incident.
    assert cloud.respond(records(alert(1, later_s=STILL_S + 241))) == []
    assert cloud.kinds() == ["opened"]
    assert len(cloud.incidents()) == 2


def test_what_a_surge_explains_is_muted_and_listed_in_its_notice(cloud: Cloud):
    surge = alert(1, rule="site_surge")
    surge |= {"subject": "site", "alert_id": surge["alert_id"].replace("user#1", "site")}
    assert cloud.respond(records(surge, alert(2, rule="product_flood", explained_by="site_surge"), alert(3))) == []
    assert sorted(json.loads(m["Message"])["rule"] for m in cloud.messages()) == ["burst", "site_surge"]
    assert cloud.sweep()["muted"] == 1
    for _ in range(7):
        cloud.sweep()
    told = [json.loads(message["Message"]) for message in cloud.messages()]
    assert sorted((one["rule"], one["kind"]) for one in told) == [("burst", "over"), ("site_surge", "over")]
    [explained] = [one["explains"] for one in told if one["rule"] == "site_surge"]
    assert [name.rpartition("-")[0] for name in explained] == ["product_flood"]
    assert cloud.sweep()["open"] == 0


def test_what_a_surge_may_explain_is_told_without_a_surge(cloud: Cloud):
    assert cloud.respond(records(alert(2, rule="product_flood", explained_by="site_surge"))) == []
    assert cloud.kinds() == ["opened"]


def in_s(cloud: Cloud, seconds: float) -> str:
    return iso(cloud.now + timedelta(seconds=seconds))


def test_allowed_subject_makes_no_incident_until_its_end(cloud: Cloud):
    cloud.decide("allow#user#1", until=iso(ARRIVED_AT + timedelta(seconds=60)))
    assert cloud.respond(records(alert(1))) == []
    assert cloud.items() == [item(1) | {"allowed": {"S": "yes"}}]
    assert cloud.incidents() == cloud.messages() == []
    cloud.decide("allow#user#1", until=iso(ARRIVED_AT))
    assert cloud.respond(records(alert(1), alert(1, later_s=1))) == []
    assert cloud.counts() == [(1, 1)]


def test_observed_rule_counts_and_tells_nobody(cloud: Cloud):
    cloud.decide("mode#burst", mode="observe")
    assert cloud.respond(records(alert(1), alert(1, rule="scraper"))) == []
    assert cloud.counts() == [(1, 1), (1, 1)]
    assert [json.loads(m["Message"])["rule"] for m in cloud.messages()] == ["scraper"]
    for _ in range(7):
        cloud.sweep()
    assert cloud.kinds() == ["over"]
    assert cloud.sweep()["open"] == 0


def test_silence_ends(cloud: Cloud):
    cloud.decide("silence#burst", until=in_s(cloud, 100))
    assert cloud.respond(records(alert(1))) == []
    assert cloud.sweep(99)["muted"] == 1
    assert cloud.kinds() == []
    assert cloud.sweep(1)["told"] == ["burst"]
    assert cloud.kinds() == ["opened"]


def test_policy_is_read_again_after_30_seconds(cloud: Cloud):
    responder = cloud.responder()
    responder.respond(records(alert(1)), lambda: 60_000)
    cloud.decide("mode#burst", mode="observe")
    cloud.now += timedelta(seconds=CACHE_S)
    responder.respond(records(alert(1, later_s=1000)), lambda: 60_000)
    assert cloud.kinds() == ["opened"]


@pytest.mark.parametrize(
    ("attributes", "kinds"),
    [({"acked_at": "2026"}, ["over"]), ({"verdict": "false-positive"}, [])],
    ids=["acknowledged", "false positive"],
)
def test_answered_incident_is_told_no_more_than_its_end(cloud: Cloud, attributes: dict, kinds: list[str]):
    assert cloud.respond(records(alert(0))) == []
    cloud.messages()
    [one] = cloud.incidents()
    answered = one | {name: {"S": value} for name, value in attributes.items()}
    cloud.clients["dynamodb"].put_item(TableName=TABLE, Item=answered)
    cloud.now += timedelta(seconds=PAUSE_S)
    assert cloud.respond(records(*map(alert, range(1, 10)))) == []
    for _ in range(6):
        cloud.sweep()
    assert cloud.kinds() == kinds
    assert cloud.sweep()["open"] == 0


def test_alert_that_reprocessing_stored_before_counts_when_it_is_found_live(cloud: Cloud):
    reprocessed_at = datetime(2026, 11, 23, 11, tzinfo=UTC)
    assert cloud.store().record_reprocessed(parse(json.dumps(alert(1)).encode()), reprocessed_at)
    at = {"S": "2026-11-23T11:00:00.000Z"}
    expires_at = {"N": str(int(datetime(2027, 11, 23, 11, tzinfo=UTC).timestamp()))}
    stored = {**item(1), "detected_at": at, "reprocessed_at": at, "expires_at": expires_at}
    assert cloud.scan() == [stored]

    assert cloud.respond(records(alert(2), alert(1))) == []
    assert cloud.respond(records(alert(1))) == []
    assert cloud.items() == [stored, item(2)]
    assert cloud.counts() == [(2, 2)]
    assert cloud.kinds() == ["opened"]


def test_reprocessing_leaves_an_alert_that_is_there_as_it_is(cloud: Cloud):
    cloud.respond(records(alert(1)))
    before = cloud.scan()
    assert not cloud.store().record_reprocessed(parse(json.dumps(alert(1, count=12)).encode()), NOW)
    assert cloud.scan() == before


@pytest.mark.parametrize(
    "subject", ["product#1004856", "session#72d76fde", "user#O'Brien: 1#2", f"user#{'😀' * 128}", "site"]
)
def test_subjects_of_every_kind_become_incident_notice_and_metric(cloud: Cloud, subject: str):
    found = {**alert(1), "subject": subject, "alert_id": f"burst:{subject}:2019-10-01T00:00:12.500Z"}
    assert cloud.respond(records(found)) == []

    (stored,) = cloud.items()
    assert stored["ddb_partition_key"] == stored["subject"] == {"S": subject}
    (message,) = cloud.messages()
    assert [one["subject"] for one in json.loads(message["Message"])["examples"]] == [subject]
    assert len(cloud.metrics()) == 1
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
    late, bad_time, of_alert = cloud.metrics()
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


LATE = ReadTimeoutError(endpoint_url="https://…")


@pytest.mark.parametrize("fault", [LATE, Killed()], ids=["fails", "is killed"])
@pytest.mark.parametrize(
    ("service", "method", "after", "messages"),
    [
        ("dynamodb", "batch_get_item", False, 1),
        ("dynamodb", "transact_write_items", False, 1),
        ("dynamodb", "transact_write_items", True, 1),
        ("dynamodb", "update_item", False, 1),  # the claim
        ("dynamodb", "update_item", True, 1),
        ("sns", "publish", False, 1),
        # From here to the mark, the notice has been sent but not recorded: it is sent again when the claim ends.
        ("sns", "publish", True, 2),
    ],
)
def test_a_break_loses_nothing_and_counts_nothing_twice(
    cloud: Cloud, service: str, method: str, after: bool, messages: int, fault: BaseException
):
    broken = cloud.break_once(service, method, fault, after)
    if isinstance(fault, Killed):
        with pytest.raises(Killed):
            cloud.respond(records(alert(1)), **broken)
    else:
        cloud.respond(records(alert(1)), **broken)
    for _ in range(2):  # the retry, and one too many
        assert cloud.respond(records(alert(1))) == []
    cloud.sweep(LEASE_S + 1)

    assert cloud.items() == [item(1)]
    assert cloud.counts() == [(1, 1)]
    sent = [json.loads(message["Message"]) for message in cloud.messages()]
    assert len(sent) == messages
    assert len({one["notice_id"] for one in sent}) == 1


def test_notice_that_the_topic_refuses_is_sent_by_the_next_sweep(cloud: Cloud):
    refusal = ClientError({"Error": {"Code": "Throttled"}}, "Publish")
    broken = cloud.break_once("sns", "publish", refusal, after=False)
    assert cloud.respond(records(alert(1)), **broken) == []
    assert cloud.sweep(1, **broken)["oldest_due_s"] == 2.75
    assert cloud.sweep(1)["told"] == ["burst"]
    assert cloud.kinds() == ["opened"]


def test_an_incident_that_fails_keeps_no_other_from_being_told(cloud: Cloud):
    assert cloud.respond(records(alert(1), alert(1, rule="scraper")), remaining_ms=lambda: TELL_MS - 1) == []

    def of_burst(call: dict) -> bool:
        return "incident#burst" in call["Key"]["ddb_partition_key"]["S"]

    broken = Breaking(cloud.clients["dynamodb"], "update_item", LATE, after=False, breaks=of_burst)
    assert cloud.sweep(1, dynamodb=broken)["told"] == ["scraper"]
    assert cloud.sweep(1)["told"] == ["burst"]


def test_short_of_time_to_publish_the_sweep_tells(cloud: Cloud):
    assert cloud.respond(records(alert(1)), remaining_ms=lambda: TELL_MS - 1) == []
    assert cloud.messages() == []
    assert cloud.sweep(1)["told"] == ["burst"]


def test_short_of_time_to_store_the_alerts_are_left_to_the_next_call(cloud: Cloud):
    assert cloud.respond(records(tally("late"), alert(1), alert(2)), remaining_ms=lambda: CALL_MS - 1) == ["2", "3"]
    assert cloud.scan() == []


def test_two_at_once_count_each_alert_once(cloud: Cloud):
    class Overtaken(Breaking):
        """Lets another invocation go first, once, between read and transaction."""

        def transact_write_items(self, **call: Any) -> Any:
            if not overtaken:
                overtaken.append(True)
                assert cloud.respond(records(alert(1), alert(2))) == []
            return self._client.transact_write_items(**call)

    overtaken: list[bool] = []
    client = Overtaken(cloud.clients["dynamodb"], "", Killed(), after=False, breaks=lambda _: False)
    assert cloud.respond(records(alert(2), alert(3)), dynamodb=client) == []
    assert cloud.items() == [item(user_id) for user_id in (1, 2, 3)]
    assert cloud.counts() == [(3, 3)]
    assert cloud.kinds() == ["opened"]


def test_poison_is_kept_and_hurts_no_other(cloud: Cloud):
    assert cloud.respond(records(alert(1), b"{broken", b"\xff", {**alert(2), "subject": None}, alert(3))) == []

    assert cloud.items() == [item(1), item(3)]
    assert cloud.counts() == [(2, 2)]
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
    broken = cloud.break_once("sqs", "send_message", LATE, after=False)
    assert cloud.respond(records(b"{broken", alert(1)), **broken) == ["1"]
    assert cloud.items() == [item(1)]
    assert cloud.respond(records(b"{broken", alert(1))) == []
    assert len(cloud.letters()) == len(cloud.messages()) == 1


def test_log_holds_no_payload(cloud: Cloud):
    batch = records(b'{"name": "Jane Doe"}', {**alert(1), "rule": "Jane Doe"})
    broken = cloud.break_once("sqs", "send_message", LATE, after=False)
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


def test_failure_is_reported_for_each_record_of_the_transaction(cloud: Cloud):
    broken = cloud.break_once("dynamodb", "transact_write_items", LATE, after=False)
    assert cloud.respond(records(alert(1), tally("late"), alert(2)), **broken) == ["1", "3"]
    (line,) = (line for line in map(json.loads, cloud.lines) if line.get("level") == "ERROR")
    assert (line["sequence_number"], line["error"]) == ("1", repr(LATE))


def test_aggregated_and_plain_records_mix(cloud: Cloud):
    wire = [json.dumps(alert(user_id)).encode() for user_id in range(1, 5)]
    batch = records(wire[0], aggregated(wire[1], b"{broken", wire[2]), wire[3])
    broken = cloud.break_once("sqs", "send_message", LATE, after=False)
    assert cloud.respond(batch, **broken) == ["2"]  # of the Kinesis record, once
    assert cloud.respond(batch[1:]) == []
    assert cloud.items() == [item(1), item(2), item(3), item(4)]
    assert cloud.counts() == [(4, 4)]
    assert [(letter["sequence_number"], letter["position"]) for letter in cloud.letters()] == [("2", 1)]


@pytest.fixture
def fresh_environment() -> Iterator[None]:
    handler._responder.cache_clear()
    yield
    handler._responder.cache_clear()


CONTEXT = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000)


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
    assert stored == item(1)
    assert len(cloud.messages()) == len(cloud.letters()) == 1
    poison, metric, *log = map(json.loads, capsys.readouterr().out.splitlines())
    assert poison["message"] == "neither alert nor tally: kept in the failure queue with the reason"
    assert metric[METRIC] == [7]
    assert [line["message"] for line in log] == ["alerts recorded", "incident told"]
    assert handler.handle({"sweep": True}, CONTEXT)["open"] == 1


def test_missing_environment_is_named(fresh_environment: None, monkeypatch: pytest.MonkeyPatch):
    for name in ("topic_arn", "failure_queue_url"):
        monkeypatch.delenv(name, raising=False)
    tables = ("dynamodb_control_table", "dynamodb_totals_table")
    for name in ("cloudwatch_metric", "cloudwatch_unjudged_metric", "cloudwatch_namespace", *tables):
        monkeypatch.setenv(name, "x")
    with pytest.raises(ValueError, match=r"^environment without topic_arn, failure_queue_url: "):
        handler.handle({"Records": records(alert(1))}, CONTEXT)
