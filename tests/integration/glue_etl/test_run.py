"""A run stores every line in one place, once, however often it is delivered, run again, or interrupted."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date, datetime
from hashlib import sha256
from itertools import count
from pathlib import Path

import boto3
import pytest
import reference
from botocore.stub import Stubber
from pyspark.sql import SparkSession

from glue_etl import curate_events

MONDAY, TUESDAY, WEDNESDAY = "2026-11-23", "2026-11-24", "2026-11-25"
NUMBERS = count(1)
TABLES = ("curated_events", "quarantined_records", "etl_runs")


def event(number: int, at: str = "2019-10-01T00:00:00.000Z") -> bytes:
    """Return the wire record of an event that differs from all others by its product."""
    return (
        f'{{"event_time":"{at}","event_type":"cart","product_id":"{number}","category_id":"1","category_code":null,'
        f'"brand":null,"price":1.50,"user_id":"7","user_session":null,"txn_timestamp":"{at}"}}'
    ).encode()


class Lake:
    """A raw folder, a database of its own, and runs over both."""

    def __init__(self, spark: SparkSession, raw: Path) -> None:
        self.spark, self.raw_path, self.database = spark, f"file:{raw}/", f"lake_{next(NUMBERS)}"
        self.settings = curate_events.Settings()
        self.totals: curate_events.Totals | None = None

    def run(self, first: str = MONDAY, last: str | None = None, run_id: str = "r") -> tuple[int, int, int, int]:
        """Run the job. Return the numbers of raw, curated, duplicate and quarantined rows."""
        first_day, last_day = date.fromisoformat(first), date.fromisoformat(last or first)
        row, self.reasons = curate_events.run(
            self.spark, self.raw_path, self.database, first_day, last_day, run_id, self.settings, lambda: self.totals
        )
        self.missing = row["missing_rows"]
        return row["raw_rows"], row["curated_rows"], row["duplicate_rows"], row["quarantined_rows"]

    def rows(self, table: str) -> list[dict]:
        rows = self.spark.table(f"glue_catalog.{self.database}.{table}").collect()
        return sorted((row.asDict() for row in rows), key=str)


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> Lake:
    return Lake(spark, tmp_path / "events")


def test_every_line_is_in_one_place(lake: Lake, deliver: Callable) -> None:
    bad = [b"[]", b"oops", b'{"a":1', b"\xff\xfe", event(9).replace(b"1.50", b"-1.50")]
    deliver(MONDAY, "a", [event(1), event(2), event(1), bad[1]])
    deliver(MONDAY, "b", [event(3), event(2), event(2), *bad])
    deliver(WEDNESDAY, "c", [event(4), event(3), bad[0]])
    deliver("2026-11-26", "beyond the range", [event(5)])

    assert lake.run(MONDAY, WEDNESDAY, "r1") == (15, 4, 6, 5)

    curated = lake.rows("curated_events")
    assert sorted(row["product_id"] for row in curated) == ["1", "2", "3", "4"]
    assert {row["event_key"] for row in curated} == {reference.event_key(event(number)) for number in (1, 2, 3, 4)}
    quarantined = {row["record_id"]: row for row in lake.rows("quarantined_records")}
    assert set(quarantined) == {sha256(line).hexdigest() for line in bad}
    oops = quarantined[sha256(b"oops").hexdigest()]
    assert (oops["record"], oops["reason"], oops["arrival_date"]) == ("oops", "not_json", date(2026, 11, 23))
    assert oops["object"].endswith("/events/arrival_date=2026-11-23/a.gz"), "of two copies, the first place is kept"
    assert quarantined[sha256(bad[3]).hexdigest()]["reason"] == "not_utf8"
    assert quarantined[sha256(bad[4]).hexdigest()]["reason"] == "negative_price"
    (run,) = lake.rows("etl_runs")
    assert isinstance(run.pop("finished_at"), datetime)
    assert run == {
        "run_id": "r1",
        "from_date": date(2026, 11, 23),
        "to_date": date(2026, 11, 25),
        "raw_rows": 15,
        "curated_rows": 4,
        "duplicate_rows": 6,
        "quarantined_rows": 5,
        "missing_rows": None,
    }


def test_new_quarantined_records_are_counted_by_reason(lake: Lake, deliver: Callable) -> None:
    negative = [event(number).replace(b"1.50", b"-1.50") for number in (7, 8, 9)]
    deliver(MONDAY, "a", [event(1), b"oops", b"oops", *negative[:2]])
    lake.run(MONDAY)
    assert lake.reasons == {"not_json": 1, "negative_price": 2}
    lake.run(MONDAY)
    assert lake.reasons == {}
    deliver(TUESDAY, "b", [event(2), b"oops", *negative, b"\xff"])
    assert lake.run(TUESDAY)[3] == 2
    assert lake.reasons == {"negative_price": 1, "not_utf8": 1}
    deliver(WEDNESDAY, "c", [event(3)])
    lake.run(WEDNESDAY)
    assert lake.reasons == {}


def test_running_again_and_delivering_again_change_nothing(lake: Lake, deliver: Callable) -> None:
    deliver(MONDAY, "a", [event(1), event(2), b"oops"])
    assert lake.run(MONDAY, run_id="r1") == (3, 2, 0, 1)
    stored = lake.rows("curated_events"), lake.rows("quarantined_records")

    assert lake.run(MONDAY, run_id="r2") == (3, 0, 3, 0)
    deliver(TUESDAY, "b", [event(1), event(2), event(2), b"oops", b"oops"])
    assert lake.run(TUESDAY, run_id="r3") == (5, 0, 5, 0)

    assert (lake.rows("curated_events"), lake.rows("quarantined_records")) == stored
    assert [row["run_id"] for row in lake.rows("etl_runs")] == ["r1", "r2", "r3"]


def test_only_what_is_new_is_added(lake: Lake, deliver: Callable) -> None:
    deliver(MONDAY, "a", [event(1, "2019-10-01T00:00:00.000Z"), event(2, "2019-10-31T23:59:59.000Z")])
    assert lake.run(MONDAY) == (2, 2, 0, 0)
    # The stored ones are at both ends of the time range that the merge reads. One is beyond it and must not matter.
    deliver(TUESDAY, "b", [event(1, "2019-10-01T00:00:00.000Z"), event(3, "2019-10-15T12:00:00.000Z")])
    assert lake.run(TUESDAY) == (2, 1, 1, 0)
    deliver(WEDNESDAY, "c", [event(4, "2018-01-01T00:00:00.000Z"), event(2, "2019-10-31T23:59:59.000Z")])
    assert lake.run(WEDNESDAY) == (2, 1, 1, 0)


def arrivals(lake: Lake) -> dict[tuple[str, str | None, str | None], int]:
    """Return the number of lines by day of arrival, event date and reason."""
    rows = lake.rows("arrivals")
    found = {
        (str(row["arrival_date"]), row["event_date"] and str(row["event_date"]), row["reason"]): row["line_count"]
        for row in rows
    }
    assert len(found) == len(rows)
    return found


def test_arrivals_say_how_many_lines_of_each_date_and_reason_arrived(lake: Lake, deliver: Callable) -> None:
    def with_id(product: int) -> bytes:
        return event(product).replace(b"{", b'{"event_id":"e",', 1)

    # A repeat, and another event with a known id, arrived too, though neither is stored.
    deliver(
        MONDAY, "a", [event(1), event(1), event(2, "2019-10-01T23:59:59.999Z"), event(3, "2019-10-02T00:00:00.000Z")]
    )
    deliver(MONDAY, "b", [with_id(7), with_id(8), b"oops", b"oops", b"\xff"])
    deliver(TUESDAY, "c", [event(1), event(4).replace(b'"2019-10-01T00:00:00.000Z"}', b'"2026-11-24T00:00:00.000Z"}')])
    lake.run(MONDAY, TUESDAY)
    monday = {
        (MONDAY, "2019-10-01", None): 5,
        (MONDAY, "2019-10-02", None): 1,
        (MONDAY, None, "not_json"): 2,
        (MONDAY, None, "not_utf8"): 1,
    }
    # The rules judge by the pipeline's time, so that is an event's date.
    tuesday = {(TUESDAY, "2019-10-01", None): 1, (TUESDAY, "2026-11-24", None): 1}
    assert arrivals(lake) == monday | tuesday

    lake.run(MONDAY)
    assert arrivals(lake) == monday | tuesday
    deliver(TUESDAY, "c", [event(1)])
    lake.run(TUESDAY)
    assert arrivals(lake) == monday | {(TUESDAY, "2019-10-01", None): 1}
    lake.run(WEDNESDAY)
    assert arrivals(lake) == monday | {(TUESDAY, "2019-10-01", None): 1}


def test_a_run_is_compared_with_the_detector(lake: Lake, deliver: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    deliver(MONDAY, "a", [event(1), event(2), event(2), b"oops", b"oops"])
    deliver(TUESDAY, "b", [event(3), event(4, "2019-10-02T00:00:00.000Z"), b"oops"])
    lake.totals = {
        ("event 2019-10-01", "judged"): 3,
        ("event 2019-10-01", "late"): 1,
        ("event 2019-10-02", "judged"): 1,
        ("event 2019-10-03", "judged"): 9,  # of a date of which nothing is in these runs
        (f"arrival {MONDAY}", "not_json"): 2,
        (f"arrival {TUESDAY}", "not_json"): 1,
    }
    lake.run(MONDAY, TUESDAY)
    assert lake.missing == 0
    assert "2019-10-01: 4 arrived, the detector has counted 4: equal" in capsys.readouterr().err
    # What arrived on another day is of the same date.
    lake.run(TUESDAY)
    assert lake.missing == 0
    assert "not_json: 1 arrived, the detector has counted 1: equal" in capsys.readouterr().err

    lake.totals |= {("event 2019-10-01", "judged"): 1, (f"arrival {TUESDAY}", "not_json"): 0}
    lake.run(MONDAY, TUESDAY)
    assert lake.missing == 3
    said = capsys.readouterr().err
    assert "2019-10-01: 4 arrived, the detector has counted 2: 2 missing" in said
    assert "not_json: 3 arrived, the detector has counted 2: 1 missing" in said

    lake.totals |= {("event 2019-10-01", "judged"): 8, (f"arrival {TUESDAY}", "not_utf8"): 1}
    lake.run(TUESDAY)
    assert lake.missing == 1, "what the lake lacks does not make up for what the detector lacks"
    said = capsys.readouterr().err
    assert "2019-10-01: 4 arrived, the detector has counted 9: more, not delivered yet" in said
    assert "not_utf8: 0 arrived, the detector has counted 1: more, not delivered yet" in said
    assert [row["missing_rows"] for row in lake.rows("etl_runs")] == [1]


def test_only_a_newline_ends_a_line(lake: Lake, deliver: Callable) -> None:
    deliver(MONDAY, "a", [event(1) + b"\r", b"one\rrecord", b"", b" \t\r"])  # blank lines are nothing
    assert lake.run() == (2, 1, 0, 1)
    assert [row["record"] for row in lake.rows("quarantined_records")] == ["one\rrecord"]


def test_no_data_is_a_run_of_zeros(lake: Lake, deliver: Callable, tmp_path: Path) -> None:
    assert lake.run(MONDAY, run_id="nothing at all") == (0, 0, 0, 0)
    (tmp_path / "events/arrival_date=2026-11-23").mkdir(parents=True)
    assert lake.run(MONDAY, run_id="an empty folder") == (0, 0, 0, 0)
    deliver(MONDAY, "a", [])
    assert lake.run(MONDAY, TUESDAY, run_id="an empty object") == (0, 0, 0, 0)
    assert [lake.rows(table) for table in TABLES[:2]] == [[], []]
    assert len(lake.rows("etl_runs")) == 3


def test_a_run_that_died_before_its_record_is_repeated_safely(
    lake: Lake, deliver: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(MONDAY, "a", [event(1), event(2), b"oops"])
    with monkeypatch.context() as patch:
        insert_new = curate_events.insert_new
        patch.setattr(curate_events, "insert_new", lambda *g: _raise() if g[2] == "event_key" else insert_new(*g))
        with pytest.raises(OSError, match="died"):
            lake.run(run_id="r1")
    assert [len(lake.rows(table)) for table in TABLES] == [0, 1, 0]
    with monkeypatch.context() as patch:
        patch.setattr(curate_events, "record_run", _raise)
        with pytest.raises(OSError, match="died"):
            lake.run(run_id="r1")
    assert [len(lake.rows(table)) for table in TABLES] == [2, 1, 0]
    assert lake.run(run_id="r1") == (3, 0, 3, 0)
    assert [len(lake.rows(table)) for table in TABLES] == [2, 1, 1]


def test_a_used_run_id_replaces_its_row(lake: Lake, deliver: Callable) -> None:
    deliver(MONDAY, "a", [event(1)])
    lake.run(run_id="it's mine")
    deliver(MONDAY, "b", [event(2)])
    lake.run(run_id="it's mine")
    lake.run(run_id="another")
    counts = {row["run_id"]: (row["raw_rows"], row["curated_rows"]) for row in lake.rows("etl_runs")}
    assert counts == {"it's mine": (2, 1), "another": (2, 0)}
    assert len(lake.rows("etl_runs")) == 2


@pytest.mark.parametrize("kind", ["events", "bad_records"])
def test_a_lost_row_fails_the_run(lake: Lake, deliver: Callable, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    deliver(MONDAY, "a", [event(1), event(2), b"oops", b"ouch"])
    whole = getattr(curate_events, kind)
    monkeypatch.setattr(curate_events, kind, lambda *given: whole(*given).limit(1))
    with pytest.raises(RuntimeError, match="counts do not add up: 4 raw rows, but"):
        lake.run()
    assert lake.rows("etl_runs") == []


def test_an_object_that_is_cut_off_fails_the_run(lake: Lake, deliver: Callable, tmp_path: Path) -> None:
    deliver(MONDAY, "a", [event(number) for number in range(1000)])
    path = tmp_path / "events/arrival_date=2026-11-23/a.gz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(Exception, match="Unexpected end of input stream"):
        lake.run()
    assert [lake.rows(table) for table in TABLES] == [[], [], []]


def with_fields(record: bytes, **fields: object) -> bytes:
    """Return the record with these fields instead of its own, or at its end."""
    return json.dumps(json.loads(record) | fields).encode()


def test_an_object_says_when_its_lines_arrived(lake: Lake, deliver: Callable, tmp_path: Path) -> None:
    name = "delivery-1-2026-11-23-10-20-30-0f8fad5b-d9cb-469f-a165-70867728950e"
    deliver(MONDAY, name, [event(1), event(2)])
    deliver(MONDAY, "copied", [event(2), event(3)])
    for file, at in (("copied", 1795429230.25), (name, 1795430000)):  # 10:20:30.25 and 10:33:20
        os.utime(tmp_path / f"events/arrival_date={MONDAY}/{file}.gz", (at, at))
    assert lake.run() == (4, 3, 1, 0)
    named, written = datetime(2026, 11, 23, 10, 20, 30), datetime(2026, 11, 23, 10, 20, 30, 250000)
    assert {row["product_id"]: row["received_at"] for row in lake.rows("curated_events")} == {
        "1": named,
        "2": named,
        "3": written,
    }


def test_an_event_may_be_as_late_in_its_object_as_the_object_was_written(
    lake: Lake, deliver: Callable, tmp_path: Path
) -> None:
    """Firehose names an object by its first record, and goes on collecting for minutes."""
    name = "delivery-1-2026-11-23-10-20-30-0f8fad5b-d9cb-469f-a165-70867728950e"
    deliver(MONDAY, name, [event(1, "2026-11-23T10:26:30.000Z"), event(2, "2026-11-23T10:26:30.001Z")])
    os.utime(tmp_path / f"events/arrival_date={MONDAY}/{name}.gz", (1795429530, 1795429530))  # 10:25:30
    assert lake.run() == (2, 1, 0, 1)
    assert lake.reasons == {"ahead": 1}


def test_different_events_with_one_id_are_not_lost(lake: Lake, deliver: Callable, tmp_path: Path) -> None:
    one, other, third = (with_fields(event(number), event_id="e-1") for number in (1, 2, 3))
    equal = with_fields(event(1), event_id="e-1", brand="")
    unlike = with_fields(event(1), event_id="e-1", brand="Aqua\u0301")
    deliver(MONDAY, "a", [other, unlike])
    deliver(MONDAY, "b", [one, one, equal, with_fields(event(1), event_id="e-2"), event(1)])
    for number, file in enumerate("ba"):
        os.utime(tmp_path / f"events/arrival_date={MONDAY}/{file}.gz", (1795429230 + number,) * 2)
    assert lake.run() == (7, 3, 2, 2)
    assert lake.reasons == {"repeated_event_id": 2}
    bad = {row["record"] for row in lake.rows("quarantined_records")}
    assert bad == {other.decode(), unlike.decode()}
    stored = lake.rows("curated_events")
    assert {row["event_key"]: row["product_id"] for row in stored} == {
        "e-1": "1",
        "e-2": "1",
        reference.event_key(event(1)): "1",
    }
    assert lake.run() == (7, 0, 7, 0)

    # Another run finds the stored event first, even if the other is of another day.
    far = with_fields(event(1, "2020-05-05T00:00:00.000Z"), event_id="e-2")
    deliver(TUESDAY, "c", [third, one, other, far])
    assert lake.run(TUESDAY) == (4, 0, 2, 2)
    assert lake.reasons == {"repeated_event_id": 2}
    assert lake.rows("curated_events") == stored
    assert lake.run(MONDAY, TUESDAY) == (11, 0, 11, 0)


def test_a_changed_setting_makes_no_event_another(lake: Lake, deliver: Callable) -> None:
    fields = {"client_ip": "192.0.2.17", "user_id": "nobody", "event_id": "e-1"}
    deliver(MONDAY, "a", [with_fields(event(1), **fields), with_fields(event(1), **fields | {"event_id": "e-2"})])
    assert lake.run() == (2, 2, 0, 0)
    lake.settings = curate_events.Settings(nobody_ids=("nobody",), truncates_addresses=True)
    deliver(MONDAY, "b", [with_fields(event(1), **fields | {"event_id": "e-3"})])
    assert lake.run() == (3, 1, 2, 0)
    assert {(row["event_key"], row["client_ip"], row["user_id"]) for row in lake.rows("curated_events")} == {
        ("e-1", "192.0.2.17", "nobody"),
        ("e-2", "192.0.2.17", "nobody"),
        ("e-3", "192.0.2.0", None),
    }


def test_other_fields_are_kept_and_make_no_other_event(lake: Lake, deliver: Callable) -> None:
    plain, extended = event(1), with_fields(event(1), campaign="autumn", flags={"a": [1, None]}, nothing=None)
    deliver(MONDAY, "a", [plain, extended, extended, event(2), with_fields(event(3), received_at="2019")])
    assert lake.run() == (5, 3, 2, 0)
    # Of copies that arrived at once, the one that says more is kept.
    assert {row["product_id"]: row["other_fields"] for row in lake.rows("curated_events")} == {
        "1": {"campaign": "autumn", "flags": '{"a":[1,null]}', "nothing": None},
        "2": None,
        "3": None,
    }
    assert lake.run() == (5, 0, 5, 0)


def test_brands_are_in_one_form(lake: Lake, deliver: Callable) -> None:
    brands = ["L'Oréal  Paris", "L'Ore\u0301al Paris ", "l'oréal paris", None]
    deliver(MONDAY, "a", [with_fields(event(number), brand=brand) for number, brand in enumerate(brands)])
    assert lake.run() == (4, 4, 0, 0)
    assert [row["brand"] for row in lake.rows("curated_events")].count("l'oréal paris") == 3
    assert lake.run() == (4, 0, 4, 0)


def test_tables_are_as_agreed(lake: Lake) -> None:
    lake.run()
    types = {
        "curated_events": curate_events.CURATED_EVENTS,
        "quarantined_records": curate_events.QUARANTINED_RECORDS,
        "arrivals": curate_events.ARRIVALS,
        "etl_runs": curate_events.ETL_RUNS,
    }
    for table, columns in types.items():
        name = f"glue_catalog.{lake.database}.{table}"
        assert dict(lake.spark.table(name).dtypes) == columns
        properties = {row.key: row.value for row in lake.spark.sql(f"show tblproperties {name}").collect()}
        assert properties["format-version"] == "2"
        assert properties["write.parquet.compression-codec"] == "zstd"
    described = lake.spark.sql(f"describe table glue_catalog.{lake.database}.curated_events").collect()
    assert [row.data_type for row in described if row.col_name == "Part 0"] == ["days(event_at)"]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Stubber]]:
    """Return a CloudWatch and a DynamoDB that answer only the calls that they expect."""
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    clients = {name: boto3.client(name, region_name="eu-central-1", **keys) for name in ("cloudwatch", "dynamodb")}
    asked = {(name, "eu-central-1"): client for name, client in clients.items()}
    monkeypatch.setattr(curate_events.boto3, "client", lambda service, region_name: asked[service, region_name])
    with ExitStack() as stack:
        yield {name: stack.enter_context(Stubber(client)) for name, client in clients.items()}


@pytest.fixture
def cloudwatch(aws: dict[str, Stubber]) -> Stubber:
    return aws["cloudwatch"]


OOPS = {
    "Namespace": "namespace",
    "MetricData": [
        {
            "MetricName": "quarantined",
            "Dimensions": [{"Name": "reason", "Value": "not_json"}],
            "Unit": "Count",
            "Value": 1,
        }
    ],
}


def test_main_publishes_what_is_new_in_quarantine(
    lake: Lake, deliver: Callable, monkeypatch: pytest.MonkeyPatch, cloudwatch: Stubber
) -> None:
    deliver(MONDAY, "a", [event(1), b"oops", b"oops"])
    _argue(monkeypatch, lake, MONDAY, TUESDAY)
    cloudwatch.add_response("put_metric_data", {}, OOPS)
    curate_events.main()
    cloudwatch.assert_no_pending_responses()
    curate_events.main()  # nothing is new, so nothing is published: the stub would refuse


def test_a_run_succeeds_though_the_metric_is_refused(
    lake: Lake, deliver: Callable, monkeypatch: pytest.MonkeyPatch, cloudwatch: Stubber, capsys: pytest.CaptureFixture
) -> None:
    deliver(MONDAY, "a", [b"oops"])
    _argue(monkeypatch, lake, MONDAY, TUESDAY)
    cloudwatch.add_client_error("put_metric_data", "AccessDenied", "not allowed")
    curate_events.main()
    cloudwatch.assert_no_pending_responses()
    said = capsys.readouterr()
    assert json.loads(said.out.splitlines()[-1])["quarantined_rows"] == 1
    assert "the metric quarantined is not published: An error occurred (AccessDenied)" in said.err
    assert "it should say {'not_json': 1}" in said.err
    assert "not compared with the detector: " in said.err, "DynamoDB answers nothing here"
    assert [row["missing_rows"] for row in lake.rows("etl_runs")] == [None]


def test_main_prints_the_row_as_its_last_line(
    lake: Lake,
    deliver: Callable,
    monkeypatch: pytest.MonkeyPatch,
    aws: dict[str, Stubber],
    capsys: pytest.CaptureFixture,
) -> None:
    deliver(MONDAY, "a", [event(1), event(1), b"oops"])
    _argue(monkeypatch, lake, MONDAY, TUESDAY)
    aws["cloudwatch"].add_response("put_metric_data", {}, OOPS)
    total = {"day": {"S": "event 2019-10-01"}, "outcome": {"S": "judged"}, "total_count": {"N": "2"}}
    aws["dynamodb"].add_response("scan", {"Items": [total]}, {"TableName": "totals"})
    curate_events.main()
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert datetime.fromisoformat(row.pop("finished_at"))
    assert row == {
        "run_id": "r",
        "from_date": MONDAY,
        "to_date": TUESDAY,
        "raw_rows": 3,
        "curated_rows": 1,
        "duplicate_rows": 1,
        "quarantined_rows": 1,
        "missing_rows": 1,
    }


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("from_date", "2026-11-25", "--from_date 2026-11-25 is after --to_date 2026-11-24"),
        ("from_date", "20261123", "--from_date '20261123' is not a day: use the form 2026-11-24"),
        ("to_date", "2026-11-31", "--to_date '2026-11-31' is not a day: use the form 2026-11-24"),
        ("nobody_ids", "0,guest", "--nobody_ids '0,guest' is no JSON list of texts"),
        ("nobody_ids", "[0]", r"--nobody_ids '\[0\]' is no JSON list of texts"),
        ("max_ahead_s", "1.5", "--max_ahead_s '1.5' is no whole number of seconds"),
        ("address_form", "hashed", "--address_form 'hashed' is none of whole, truncated"),
    ],
)
def test_main_refuses_invalid_options(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, option: str, value: str, message: str
) -> None:
    _argue(monkeypatch, lake, MONDAY, TUESDAY, **{option: value})
    with pytest.raises(SystemExit, match=message):
        curate_events.main()


def test_main_reads_the_settings() -> None:
    options = {"nobody_ids": '["0", "a, \\"b\\" é"]', "max_ahead_s": "0", "address_form": "truncated"}
    assert curate_events.read_settings(options) == curate_events.Settings(("0", 'a, "b" é'), 0, True)


def _argue(monkeypatch: pytest.MonkeyPatch, lake: Lake, first: str, last: str, **changed: str) -> None:
    options = {
        "raw_path": lake.raw_path,
        "database": lake.database,
        "from_date": first,
        "to_date": last,
        "run_id": "r",
        "metric_namespace": "namespace",
        "nobody_ids": '["0", "a, \\"b\\" é"]',
        "max_ahead_s": "60",
        "address_form": "whole",
        "quarantine_metric": "quarantined",
        "totals_table": "totals",
        "aws_region": "eu-central-1",
        "JOB_NAME": "ecomm-curate-events",  # Glue adds it
    } | changed
    monkeypatch.setattr("sys.argv", ["curate_events.py", *(word for k, v in options.items() for word in (f"--{k}", v))])


def _raise(*_: object) -> None:
    raise OSError("died")
