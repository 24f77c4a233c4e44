"""The job follows contracts/event.json: good golden records are curated under their id, bad ones get their reason."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from glue_etl import curate_events

CONTRACTS = Path(__file__).parents[3] / "contracts"
CONTRACT = json.loads((CONTRACTS / "event.json").read_text())
NAMES = [field["name"] for field in CONTRACT]
GOOD, BAD = (
    [json.loads(line) for line in (CONTRACTS / f"golden/{name}.jsonl").read_text().splitlines()]
    for name in ("event_good", "event_bad")
)
ARRIVAL_DATE = "2026-11-23"
# The two times are instants in the table, under names that say so.
CURATED_NAMES = {"event_time": "event_at", "txn_timestamp": "txn_at"}


@pytest.fixture(scope="module")
def lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[dict]]:
    """Return a function that returns the rows of a table, after a run over all golden records."""
    folder = tmp_path_factory.mktemp("golden")
    (folder / f"arrival_date={ARRIVAL_DATE}").mkdir()
    lines = "".join(line["record"] + "\n" for line in GOOD + BAD)
    (folder / f"arrival_date={ARRIVAL_DATE}/golden").write_text(lines, encoding="utf-8")
    day = date.fromisoformat(ARRIVAL_DATE)
    counts, reasons = curate_events.run(spark, f"file:{folder}/", "golden", day, day, "golden")
    assert [counts[f"{kind}_rows"] for kind in ("raw", "curated", "duplicate", "quarantined")] == [
        len(GOOD) + len(BAD),
        len(GOOD),
        0,
        len(BAD),
    ]
    assert sum(reasons.values()) == len(BAD)
    return lambda table: [row.asDict() for row in spark.table(f"glue_catalog.golden.{table}").collect()]


def test_fields_are_the_contracts() -> None:
    assert [field._asdict() for field in curate_events.FIELDS] == [
        {name: field[name] for name in ("name", "type", "nullable")} for field in CONTRACT
    ]


def test_event_types_are_the_contracts() -> None:
    (field,) = (field for field in CONTRACT if field["name"] == "event_type")
    assert " | ".join(curate_events.EVENT_TYPES) == field["unit"]


def test_curated_columns_are_the_contracts_with_times_as_instants() -> None:
    wanted = {"event_id": "string"} | {
        CURATED_NAMES.get(field["name"], field["name"]): "timestamp_ntz"
        if field["name"] in CURATED_NAMES
        else field["type"]
        for field in CONTRACT
    }
    assert list(curate_events.CURATED_EVENTS.items()) == list(wanted.items())


def test_good_events_are_curated_under_the_golden_id(lake: Callable) -> None:
    stored = {row["event_id"]: row for row in lake("curated_events")}
    assert set(stored) == {line["event_id"] for line in GOOD}
    for line in GOOD:
        assert as_record(stored[line["event_id"]]) == line["record"], line["name"]


def test_bad_records_are_quarantined_with_the_golden_reason(lake: Callable) -> None:
    assert sorted((row["reason"], row["record"]) for row in lake("quarantined_records")) == sorted(
        (line["reason"], line["record"]) for line in BAD
    )


def as_record(row: dict) -> str:
    """Return the wire record that a curated row came from: no value may be lost on the way."""
    values = {
        "event_time": json.dumps(f"{row['event_at']:%Y-%m-%d %H:%M:%S} UTC"),
        "price": str(row["price"]),
        "txn_timestamp": json.dumps(row["txn_at"].isoformat(timespec="milliseconds") + "Z"),
    }
    texts = (values.get(name) or json.dumps(row[name], ensure_ascii=False) for name in NAMES)
    return "{" + ",".join(f'"{name}":{text}' for name, text in zip(NAMES, texts, strict=True)) + "}"
