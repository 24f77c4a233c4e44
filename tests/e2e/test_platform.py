"""The whole platform on the events of shop.py: streams, detector, alert function, delivery, lake, questions."""

import gzip
import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

import insight_reference
import pytest
import shop
import variants
from conftest import SHARED

from insights import run_all, table_dates
from insights.engines import Engine
from lambda_alert import notices
from lambda_alert.alert import parse
from lambda_alert.incidents import Arrival, opened
from local_cloud import counts, steps, trino
from local_cloud.stack import ROOT, Stack
from local_cloud.waiting import wait_for

RETENTION_S = 365 * 24 * 3600


@dataclass
class Platform:
    """A stack after the shop's events have gone through all of it."""

    stack: Stack
    outputs: dict[str, str]
    notices: counts.Notices
    sent: list[str]
    started_at: datetime
    etl_counts: dict = field(default_factory=dict)

    @property
    def engine(self) -> Engine:
        return trino.engine(self.stack)

    def alerts(self) -> list[dict]:
        """Return the alerts in stream 2."""
        return counts.alerts(self.stack.client("kinesis"), self.outputs["alert_stream_name"])

    def items(self) -> list[dict[str, str]]:
        """Return the stored alerts in the order of their windows."""
        alerts = counts.stored_alerts(self.stack.client("dynamodb"), self.outputs["incident_table_name"])
        return sorted(alerts, key=lambda item: item["window_end_at"])

    def incidents(self) -> dict[str, dict]:
        """Return the incidents by id."""
        return counts.incidents(self.stack.client("dynamodb"), self.outputs["incident_table_name"])

    def metric(self) -> dict[str, float]:
        """Return the metric of the alerts so far."""
        statistics = ["SampleCount", "Sum", "Maximum"]
        points = self.stack.client("cloudwatch").get_metric_statistics(
            Namespace=self.outputs["metric_namespace"],
            MetricName=self.outputs["metric_name"],
            Dimensions=[{"Name": "rule", "Value": "burst"}],
            StartTime=self.started_at,
            EndTime=datetime.now(UTC),
            Period=24 * 3600,
            Statistics=statistics,
        )["Datapoints"]
        return {
            "SampleCount": sum(point["SampleCount"] for point in points),
            "Sum": sum(point["Sum"] for point in points),
            "Maximum": max((point["Maximum"] for point in points), default=0),
        }

    def failure_letters(self) -> list[dict]:
        """Remove all messages from the failure queue and return them."""
        sqs, url, letters = self.stack.client("sqs"), self.outputs["failure_queue_url"], []
        while batch := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in batch:
                letters.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return letters


def put(stack: Stack, stream: str, records: list[tuple[str, str]]) -> None:
    """Put records, as (partition key, data), into a stream, which must take them all."""
    kinesis = stack.client("kinesis")
    for start in range(0, len(records), 500):
        entries = [{"PartitionKey": key, "Data": data.encode()} for key, data in records[start : start + 500]]
        assert kinesis.put_records(StreamName=stream, Records=entries)["FailedRecordCount"] == 0


@pytest.fixture(scope="module")
def platform(stack: Stack) -> Iterator[Platform]:
    outputs = stack.outputs()
    started_at = datetime.now(UTC).replace(microsecond=0)
    notices = counts.Notices(stack)
    records = shop.records()
    put(stack, outputs["raw_stream_name"], records)
    platform = Platform(stack, outputs, notices, [data for _, data in records], started_at)
    steps.drain_and_resume(stack)
    counts.wait_until_handled(stack)
    assert steps.wait_until_delivered(stack) == len(records)
    platform.etl_counts = curate(platform)
    yield platform


def curate(platform: Platform) -> dict:
    """Run the curate job over all that has arrived, also past midnight, and return its counts."""
    return steps.curate(platform.stack, platform.started_at.date(), datetime.now(UTC).date())


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_every_record_is_in_the_stream_and_in_the_raw_bucket_once(platform: Platform) -> None:
    kinesis = platform.stack.client("kinesis")
    assert counts.records(kinesis, platform.outputs["raw_stream_name"]) == len(platform.sent)
    assert sorted(raw_lines(platform)) == sorted(platform.sent)


def test_quarantined_records_are_a_metric_by_reason(platform: Platform) -> None:
    sums = counts.metric_sums(platform.stack, "quarantine_metric_name", "reason", platform.started_at)
    assert sums == Counter(shop.BAD_RECORDS.values())


def raw_lines(platform: Platform) -> list[str]:
    s3, bucket = platform.stack.client("s3"), platform.outputs["raw_bucket"]
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="events/")
    keys = [entry["Key"] for page in pages for entry in page["Contents"]]
    bodies = [s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys]
    return [line for body in bodies for line in gzip.decompress(body).decode().splitlines()]


def test_stream_2_holds_exactly_the_alerts_keyed_by_subject_beside_the_tally(platform: Platform) -> None:
    assert sorted(platform.alerts(), key=lambda one: one["window_end_at"]) == shop.ALERTS
    for record in counts.read_all(platform.stack.client("kinesis"), platform.outputs["alert_stream_name"]):
        found = json.loads(record["Data"])
        assert record["PartitionKey"] == (found["subject"] if "subject" in found else found["outcome"])


def test_unjudged_events_are_counted(platform: Platform) -> None:
    kinesis = platform.stack.client("kinesis")
    assert counts.unjudged(kinesis, platform.outputs["alert_stream_name"]) == shop.UNJUDGED

    def metric() -> dict[str, float]:
        return counts.metric_sums(platform.stack, "unjudged_metric_name", "reason", platform.started_at)

    wait_for(lambda: metric() == shop.UNJUDGED, f"{shop.UNJUDGED}, there is {metric()}", timeout_s=30)


def test_stored_alerts_are_exactly_the_alerts(platform: Platform) -> None:
    items = platform.items()
    expected = [
        {"ddb_partition_key": alert["subject"], "ddb_sort_key": alert["alert_id"]}
        | {name: str(value) for name, value in alert.items() if name != "alert_id"}
        for alert in shop.ALERTS
    ]
    other = ("detected_at", "incident_id", "expires_at")
    assert [{name: item[name] for name in item if name not in other} for item in items] == expected
    for item in items:
        detected_at = instant(item["detected_at"])
        assert platform.started_at <= detected_at <= datetime.now(UTC)
        assert int(item["expires_at"]) == int(detected_at.timestamp()) + RETENTION_S


def test_metric_counts_each_alert_once_with_its_count(platform: Platform) -> None:
    expected = {"SampleCount": 6, "Sum": 7 + 6 + 6 + 12 + 7 + 6, "Maximum": 12}
    wait_for(lambda: platform.metric() == expected, f"{expected}, there is {platform.metric()}", timeout_s=30)


def test_each_alert_counts_in_one_incident(platform: Platform) -> None:
    counted = Counter(item["incident_id"] for item in platform.items())
    assert {name: int(one["alert_count"]) for name, one in platform.incidents().items()} == counted
    # The shop's alerts are those of one rule, within minutes: bots of each kind, of one incident.
    assert counted.total() == len(shop.ALERTS)


def test_each_incident_is_told_when_it_opens(platform: Platform) -> None:
    first = {}
    for message in platform.notices.receive():
        first.setdefault(message["incident_id"], message)
    assert first.keys() == platform.incidents().keys()
    for name, message in first.items():
        assert (message["kind"], message["notice_id"]) == ("opened", f"{name}#1")


def test_the_sweep_tells_the_end_of_each_incident(platform: Platform) -> None:
    def ended() -> set[str]:
        return {one["incident_id"] for one in platform.notices.receive() if one["kind"] == "over"}

    names = platform.incidents().keys()
    what = "the sweep to end each incident: it comes each minute, and incidents are over after incident_quiet_s"
    wait_for(lambda: ended() == names, what, timeout_s=300, every_s=5)
    last = {one["incident_id"]: one for one in platform.notices.receive()}
    assert all(one["kind"] == "over" for one in last.values())
    assert sum(one["alert_count"] for one in last.values()) == len(shop.ALERTS)
    assert not any("open" in one for one in platform.incidents().values())


def test_sent_is_stored_plus_quarantined_plus_duplicates(platform: Platform) -> None:
    run = {name: platform.etl_counts[name] for name in ("raw_rows", "curated_rows", "duplicate_rows")}
    assert run == {"raw_rows": len(platform.sent), "curated_rows": shop.curated().height, "duplicate_rows": 3}
    assert platform.etl_counts["quarantined_rows"] == len(shop.BAD_RECORDS)
    assert len(platform.sent) == shop.curated().height + 3 + len(shop.BAD_RECORDS)


def test_bad_records_are_in_quarantine_with_their_reason(platform: Platform) -> None:
    _, rows = platform.engine.query("select record, reason from quarantined_records", [])
    assert dict(rows) == shop.BAD_RECORDS


def test_curated_rows_hold_the_events_values(platform: Platform) -> None:
    names = ["event_at", "event_type", "product_id", "category_code", "brand", "price", "user_id", "user_session"]
    _, rows = platform.engine.query(f"select {', '.join(names)} from curated_events", [])
    assert sorted(rows, key=repr) == sorted(shop.curated().select(names).rows(), key=repr)


def test_guests_are_curated_without_a_user(platform: Platform) -> None:
    _, rows = platform.engine.query(
        "select user_session, count(*) from curated_events where user_id is null group by 1", []
    )
    assert dict(rows) == {
        shop.GUEST_BOT: 7,
        shop.HASTY_GUEST: 5,
        shop.OTHER_HASTY_GUEST: 5,
        None: len(shop.OF_NO_ACTOR),
    }


def test_other_types_and_unknown_fields_are_curated(platform: Platform) -> None:
    columns = "event_type, user_id, page_url, other_fields['hits']"
    _, rows = platform.engine.query(f"select {columns} from curated_events where other_fields is not null", [])
    expected = [("search", shop.SEARCHER, one["page_url"], str(one["hits"])) for one in shop.SEARCHES]
    assert sorted(rows) == sorted(expected)


def test_equal_items_of_an_order_are_events_by_their_ids(platform: Platform) -> None:
    _, rows = platform.engine.query("select event_key, event_id from curated_events where order_id = '1001'", [])
    assert sorted(rows) == [(one["event_id"], one["event_id"]) for one in shop.ORDER]


@pytest.mark.parametrize("alert", shop.ALERTS, ids=lambda alert: alert["alert_id"])
def test_the_query_of_the_notice_finds_what_was_done(platform: Platform, alert: dict) -> None:
    arrival = Arrival(parse(json.dumps(alert).encode()), platform.started_at)
    text = notices.body(opened([arrival]).grown([arrival], retention_days=1), "table")
    (query,) = re.findall(r"^ +(select \* .*?order by txn_at)$", text, re.MULTILINE | re.DOTALL)
    _, rows = platform.engine.query(query, [])
    assert len(rows) == alert["num_actions_per_watermark"]


@pytest.mark.parametrize("top_n", [2, 10])
def test_each_answer_equals_an_independent_computation(platform: Platform, top_n: int) -> None:
    from_date, to_date = table_dates(platform.engine)
    parameters = {"from_date": from_date, "to_date": to_date, "top_n": top_n}
    answers = {answer.question.name: answer for answer in run_all(platform.engine, parameters)}
    for name, reference in insight_reference.REFERENCES.items():
        answer, expected = answers[name], reference(shop.curated(), **parameters)
        assert list(answer.columns) == expected.columns
        assert answer.rows, f"{name} answers nothing: the shop's events do not test it"
        assert answer.rows == expected.rows(), name


def test_a_range_of_one_day_leaves_the_other_out(platform: Platform) -> None:
    _, to_date = table_dates(platform.engine)
    parameters = {"from_date": to_date, "to_date": to_date, "top_n": 3}
    answers = {answer.question.name: answer for answer in run_all(platform.engine, parameters)}
    for name, reference in insight_reference.REFERENCES.items():
        assert answers[name].rows == reference(shop.curated(), **parameters).rows(), name


# The following tests send more. They come last.


def test_repeated_and_broken_alerts_change_nothing_downstream(platform: Platform) -> None:
    items, metric, messages = platform.items(), platform.metric(), platform.notices.count()
    again = [(alert["subject"], json.dumps(alert)) for alert in shop.ALERTS]
    stream = platform.outputs["alert_stream_name"]
    put(platform.stack, stream, [*again, (shop.ALERTS[1]["subject"], '{"alert_id": "half an al'), *again])
    counts.wait_until_handled(platform.stack)
    [letter] = platform.failure_letters()
    assert letter["payload"] == '{"alert_id": "half an al'
    assert platform.items() == items
    assert platform.metric() == metric
    assert platform.notices.count() == messages


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Call make on the stack."""
    command = ["make", "--silent", "ENV=local", f"BUILD={SHARED}", *arguments]
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)


def reprocess(platform: Platform) -> str:
    """Run `make reprocess` over all that has arrived, and return the last line of its output."""
    result = make("reprocess", f"FROM={platform.started_at.date()}", f"TO={datetime.now(UTC).date()}")
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.splitlines()[-1]


def notified(platform: Platform) -> tuple[int, dict, int]:
    """Return the number of records in stream 2, the metric, and the number of notices."""
    kinesis = platform.stack.client("kinesis")
    records = counts.records(kinesis, platform.outputs["alert_stream_name"])
    return records, platform.metric(), platform.notices.count()


def test_reprocessing_stores_missing_incidents_marked_and_notifies_nobody(platform: Platform) -> None:
    items, before = platform.items(), notified(platform)
    gone = items.pop()
    key = {name: {"S": gone[name]} for name in ("ddb_partition_key", "ddb_sort_key")}
    platform.stack.client("dynamodb").delete_item(TableName=platform.outputs["incident_table_name"], Key=key)

    assert reprocess(platform) == "6 alerts, 1 stored, 5 were known"
    *known, stored = platform.items()
    assert known == items
    other = {"detected_at", "incident_id", "reprocessed_at", "expires_at"}
    assert {name: stored[name] for name in stored.keys() - other} == {name: gone[name] for name in gone.keys() - other}
    assert "incident_id" not in stored
    assert gone["detected_at"] < stored["reprocessed_at"] == stored["detected_at"]
    assert notified(platform) == before


@contextmanager
def deployed(platform: Platform, group: dict) -> Iterator[None]:
    """Add a property group to the deployed detector until the end of the block."""
    analytics, name = platform.stack.client("kinesisanalyticsv2"), platform.outputs["detector_name"]

    def detail() -> dict:
        return analytics.describe_application(ApplicationName=name)["ApplicationDetail"]

    def update(groups: list[dict]) -> None:
        analytics.update_application(
            ApplicationName=name,
            CurrentApplicationVersionId=detail()["ApplicationVersionId"],
            ApplicationConfigurationUpdate={"EnvironmentPropertyUpdates": {"PropertyGroups": groups}},
        )

    configuration = detail()["ApplicationConfigurationDescription"]
    groups = configuration["EnvironmentPropertyDescriptions"]["PropertyGroupDescriptions"]
    update([*groups, group])
    try:
        yield
    finally:
        update(groups)


def test_reprocessing_goes_by_the_deployed_values(platform: Platform) -> None:
    items, before = platform.items(), notified(platform)
    # The two bots of one second and the first alert of the doubling one cross both thresholds at the same time.
    with deployed(platform, {"PropertyGroupId": "values.burst", "PropertyMap": {"threshold": "4"}}):
        assert reprocess(platform) == "10 alerts, 7 stored, 3 were known"
    added = [item for item in platform.items() if item not in items]
    assert len(platform.items()) == len(items) + len(added)
    assert [(item["subject"], item["level"], item["num_actions_per_watermark"]) for item in added] == [
        (f"user#{shop.ASTRIDE_BOT}", "1", "5"),
        (f"user#{shop.HASTY_SHOPPER}", "1", "5"),
        (f"user#{shop.ECHOED_SHOPPER}", "1", "5"),
        (f"user#{shop.DOUBLING_BOT}", "2", "10"),
        (f"session#{shop.HASTY_GUEST}", "1", "5"),
        (f"session#{shop.OTHER_HASTY_GUEST}", "1", "5"),
        (f"user#{shop.LAST_BOT}", "1", "5"),
    ]
    assert all("reprocessed_at" in item and "incident_id" not in item for item in added)
    assert notified(platform) == before


def test_curating_the_same_days_again_changes_nothing(platform: Platform) -> None:
    before = counts.lake(platform.engine)
    again = curate(platform)
    assert again["raw_rows"] == again["duplicate_rows"] == len(platform.sent)
    assert again["curated_rows"] == again["quarantined_rows"] == 0
    after = counts.lake(platform.engine)
    assert after == before | {"duplicate_rows": before["duplicate_rows"] + len(platform.sent)}


def test_both_paths_make_the_same_of_each_variant(platform: Platform) -> None:
    kinesis, stream_1, stream_2 = (
        platform.stack.client("kinesis"),
        platform.outputs["raw_stream_name"],
        platform.outputs["alert_stream_name"],
    )
    raw = counts.RawEvents(platform.stack.client("s3"), platform.outputs["raw_bucket"])
    lines, unjudged = raw.count(), counts.unjudged(kinesis, stream_2)
    sent = variants.records()
    for start in range(0, len(sent), 20):  # a request holds 5 MB
        entries = [one.entry() for one in sent[start : start + 20]]
        assert kinesis.put_records(StreamName=stream_1, Records=entries)["FailedRecordCount"] == 0
    steps.drain_and_resume(platform.stack)

    assert counts.unjudged(kinesis, stream_2) - unjudged == variants.unjudged()
    counts.wait_until_handled(platform.stack)
    accused = {one["subject"] for one in platform.items() if one["window_end_at"] > variants.DAY}
    assert accused == variants.subjects()

    expected = lines + sum(one.lines for one in sent)
    wait_for(lambda: raw.count() >= expected, f"{expected} lines, there are {raw.count()}", timeout_s=60)
    curate(platform)
    _, rows = platform.engine.query("select product_id from curated_events where product_id like '80000%'", [])
    assert sorted(product for (product,) in rows) == sorted(product for one in sent for product in one.curated)
    _, rows = platform.engine.query("select record_id, reason from quarantined_records", [])
    before = {sha256(record.encode()).hexdigest() for record in shop.BAD_RECORDS}
    assert {key: reason for key, reason in rows if key not in before} == {
        key: reason for one in sent for key, reason in one.quarantined.items()
    }


def test_what_arrived_is_judged_or_counted_as_unjudged(platform: Platform) -> None:
    arrived = curate(platform)
    assert arrived["missing_rows"] == 0
    kinesis = platform.stack.client("kinesis")

    result = make("reconcile")
    assert result.returncode == 0, result.stdout + result.stderr
    judged = arrived["raw_rows"] - counts.unjudged(kinesis, platform.outputs["alert_stream_name"]).total()
    unjudged = arrived["raw_rows"] - judged
    sentence = f"Equal: {arrived['raw_rows']:,} arrived = {judged:,} judged + {unjudged:,} unjudged."
    assert sentence in result.stdout.splitlines()

    found = json.loads(make("reconcile", "ARGS=--json").stdout)
    assert found["equal"]
    assert list(found["event_dates"]) == ["2020-03-01", "2020-03-02", variants.DAY]
    assert found["event_dates"]["2020-03-02"]["unjudged"] == {"no_actor": 1, "other_type": 7}
    assert {reason: one["arrived"] for reason, one in found["bad_records"].items()} == dict(
        Counter(shop.BAD_RECORDS.values())
        + Counter({reason: n for reason, n in variants.unjudged().items() if reason not in variants.CURATED})
    )


def test_a_line_that_is_taken_away_or_added_is_missing(platform: Platform) -> None:
    s3, bucket = platform.stack.client("s3"), platform.outputs["raw_bucket"]
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="events/")
    key = min(entry["Key"] for page in pages for entry in page["Contents"])
    lines = gzip.decompress(s3.get_object(Bucket=bucket, Key=key)["Body"].read()).splitlines(keepends=True)
    day = json.loads(lines[0])["txn_timestamp"][:10]

    def reconciled(*with_lines: bytes) -> tuple[int, dict[str, int], str]:
        """Return the lines that the job misses, those that each date misses, and the last line that make prints."""
        s3.put_object(Bucket=bucket, Key=key, Body=gzip.compress(b"".join(with_lines)))
        missing = curate(platform)["missing_rows"]
        result, parts = make("reconcile"), json.loads(make("reconcile", "ARGS=--json").stdout)["event_dates"]
        assert (result.returncode != 0) == any(one["missing"] for one in parts.values())
        sentence = next(line for line in result.stdout.splitlines() if line.startswith(("Equal", "Not equal")))
        return missing, {date: one["missing"] for date, one in parts.items() if one["missing"]}, sentence

    try:
        missing, dates, sentence = reconciled(*lines[1:])
        assert (missing, dates) == (0, {day: -1})
        assert sentence == "Not equal. Lines that the detector has counted, but that are not in the lake: 1."
        # It is in the lake, but was never in stream 1.
        missing, dates, sentence = reconciled(*lines, lines[0])
        assert (missing, dates) == (1, {day: 1})
        assert re.fullmatch(
            r"Not equal\. Lines that arrived, but are neither judged nor counted as unjudged: 1 of [\d,]+\.", sentence
        )
    finally:
        assert reconciled(*lines)[:2] == (0, {})
