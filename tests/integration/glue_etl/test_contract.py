"""The job follows contracts/event.json: good golden records are curated under their key, bad ones get their reason."""

import json
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import pytest
import reference
from pyspark.sql import SparkSession

from glue_etl import curate_events

CONTRACTS = Path(__file__).parents[3] / "contracts"
CONTRACT = json.loads((CONTRACTS / "event.json").read_text())
GOOD, BAD = (
    [json.loads(line) for line in (CONTRACTS / f"golden/{name}.jsonl").read_text().splitlines()]
    for name in ("event_good", "event_bad")
)
ARRIVAL_DATE = "2026-11-23"
# The two times are instants in the table, under names that say so.
CURATED_NAMES = {"event_time": "event_at", "txn_timestamp": "txn_at"}
SETTINGS = curate_events.Settings(nobody_ids=("0", "guest"))


@pytest.fixture(scope="module")
def lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[dict]]:
    """Return a function that returns the rows of a table, after a run over all golden records."""
    folder = tmp_path_factory.mktemp("golden")
    (folder / f"arrival_date={ARRIVAL_DATE}").mkdir()
    lines = "".join(line["record"] + "\n" for line in GOOD + BAD)
    (folder / f"arrival_date={ARRIVAL_DATE}/golden").write_text(lines, encoding="utf-8")
    day = date.fromisoformat(ARRIVAL_DATE)
    counts, reasons = curate_events.run(spark, f"file:{folder}/", "golden", day, day, "golden", SETTINGS)
    assert [counts[f"{kind}_rows"] for kind in ("raw", "curated", "duplicate", "quarantined")] == [
        len(GOOD) + len(BAD),
        len(GOOD),
        0,
        len(BAD),
    ]
    assert sum(reasons.values()) == len(BAD)
    return lambda table: [row.asDict() for row in spark.table(f"glue_catalog.golden.{table}").collect()]


def test_fields_are_the_contracts() -> None:
    stated = [
        {
            "name": field.name,
            "type": curate_events.TYPES[field.kind],
            "nullable": field.nullable,
            "is_id": field.kind == "id",
            "is_time": field.kind == "time",
            "personal": field.personal,
        }
        for field in curate_events.FIELDS
    ]
    assert stated == [
        {name: field[name] for name in ("name", "type", "nullable", "personal")}
        | {"is_id": field["unit"] == "id", "is_time": field["unit"].startswith("yyyy")}
        for field in CONTRACT
    ]


def test_curated_columns_are_the_contracts_with_times_as_instants() -> None:
    wanted = {"event_key": "string"}
    for field in CONTRACT:
        name = CURATED_NAMES.get(field["name"])
        wanted |= {name: "timestamp_ntz"} if name else {field["name"]: field["type"]}
    wanted |= {"received_at": "timestamp_ntz", "other_fields": "map<string,string>"}
    assert list(curate_events.CURATED_EVENTS.items()) == list(wanted.items())


def test_good_events_are_curated_under_the_golden_key(lake: Callable) -> None:
    stored = {row["event_key"]: row for row in lake("curated_events")}
    assert set(stored) == {line["event_key"] for line in GOOD}
    for line in GOOD:
        row = stored[line["event_key"]]
        assert isinstance(row.pop("received_at"), datetime)
        # No value may be lost or changed on the way.
        assert row == reference.curated(line["record"].encode(), SETTINGS.nobody_ids), line["name"]


def test_bad_records_are_quarantined_with_the_golden_reason(lake: Callable) -> None:
    assert sorted((row["reason"], row["record"]) for row in lake("quarantined_records")) == sorted(
        (line["reason"], line["record"]) for line in BAD
    )


@pytest.mark.parametrize("line", [*GOOD, *BAD], ids=lambda line: line.get("name") or line["reason"])
def test_the_reference_agrees(line: dict) -> None:
    record = line["record"].encode()
    assert reference.reason(record) == line.get("reason")
    if "event_key" in line:
        assert reference.event_key(record) == line["event_key"]


def test_our_producers_records_are_in_wire_form(spark: SparkSession) -> None:
    """They must take the fast path: nothing else would notice if they did not."""
    records = spark.createDataFrame([(line["name"], line["record"]) for line in GOOD], "name string, record string")
    slow = records.where(~records.record.rlike(curate_events.WIRE_RECORD)).collect()
    assert {row.name for row in slow} == {line["name"] for line in GOOD if "\\" in line["record"]}


def test_personal_data_is_marked(spark: SparkSession, lake: Callable) -> None:
    described = spark.sql("describe table glue_catalog.golden.curated_events").collect()
    marked = [row.col_name for row in described if row.comment == "Personal data"]
    assert marked == [field["name"] for field in CONTRACT if field["personal"]] == ["client_ip", "user_agent"]
