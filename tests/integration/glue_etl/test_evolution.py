"""A field added to the contract, followed from a raw file to an answer, in a table with a million older rows."""

import importlib.util
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import ModuleType

import pytest
from pyspark.sql import SparkSession

from glue_etl import curate_events

ROWS = 1_000_000
DATABASE = "evolution"
TABLE = f"glue_catalog.{DATABASE}.curated_events"
DAY = date(2026, 11, 23)
NEW = 'Field("campaign", "text"),'
EVENT = (
    b'{"event_time":"2019-10-01T00:00:0%d.000Z","event_type":"view","product_id":"1","category_id":null,'
    b'"category_code":null,"brand":null,"price":null,"user_id":"7","user_session":null%s,'
    b'"txn_timestamp":"2019-10-01T00:00:00.000Z"}'
)


@pytest.fixture(scope="module")
def evolved(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """Return the job with one more field. Nothing else of it is changed."""
    source = Path(curate_events.__file__).read_text()
    last = 'Field("txn_timestamp", "time"),'
    assert source.count(last) == 1
    file = tmp_path_factory.mktemp("evolved") / "evolved.py"
    file.write_text(source.replace(last, f"{NEW}\n    {last}"))
    spec = importlib.util.spec_from_file_location("evolved", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def files(spark: SparkSession) -> set[str]:
    """Return the data files of a table with a million events that were curated before."""
    curate_events.create_table(
        spark, DATABASE, "curated_events", curate_events.CURATED_EVENTS, "partitioned by (days(event_at))"
    )
    values = {name: f"cast(null as {type_})" for name, type_ in curate_events.CURATED_EVENTS.items()} | {
        "event_key": "cast(id as string)",
        "event_at": "timestamp_ntz '2019-10-01 00:00:00' + interval '0.1' second * id",
        "event_type": "'view'",
        "user_id": "cast(id % 1000 as string)",
        "txn_at": "timestamp_ntz '2019-10-01 00:00:00' + interval '0.1' second * id",
        "received_at": "timestamp_ntz '2019-10-03 00:00:00'",
    }
    columns = ", ".join(f"{value} as {name}" for name, value in values.items())
    spark.sql(f"insert into {TABLE} select {columns} from range(0, {ROWS}, 1, 2)")
    return data_files(spark)


def data_files(spark: SparkSession) -> set[str]:
    return {row.file_path for row in spark.table(f"{TABLE}.files").collect()}


def test_a_new_field_is_one_line_and_older_rows_are_not_touched(
    spark: SparkSession, files: set[str], evolved: ModuleType, deliver: Callable, tmp_path: Path
) -> None:
    def run(job: ModuleType, run_id: str) -> list[int]:
        row, _ = job.run(spark, f"file:{tmp_path}/events", DATABASE, DAY, DAY, run_id, job.Settings())
        return [row[f"{kind}_rows"] for kind in ("raw", "curated", "duplicate", "quarantined")]

    plain, campaigns = EVENT % (1, b""), [EVENT % (2, b',"campaign":"autumn"'), EVENT % (3, b', "campaign": "winter"')]
    deliver(str(DAY), "a", [plain])
    assert run(curate_events, "before") == [1, 1, 0, 0]
    before = data_files(spark)
    assert files < before
    history = spark.table(f"{TABLE}.snapshots").count()

    deliver(str(DAY), "b", [*campaigns, EVENT % (4, b',"campaign":5')])
    assert run(evolved, "after") == [4, 2, 1, 1]

    assert before < data_files(spark), "a file was rewritten"
    added = [row.summary for row in spark.table(f"{TABLE}.snapshots").orderBy("committed_at").collect()][history:]
    assert [(one["added-records"], one.get("deleted-data-files")) for one in added] == [("2", None)]
    answer = spark.sql(f"select campaign, count(*) as events from {TABLE} group by campaign order by campaign")
    assert [tuple(row) for row in answer.collect()] == [(None, ROWS + 1), ("autumn", 1), ("winter", 1)]
    assert spark.table(TABLE).columns == [*curate_events.CURATED_EVENTS, "campaign"]

    # The job before may run again, too. To it, what a field of the later contract says is another field's.
    deliver(str(DAY), "c", [EVENT % (5, b"")])
    assert run(curate_events, "back") == [5, 4, 1, 0]
    assert spark.table(TABLE).where("campaign is not null").count() == 2


def test_the_reason_of_a_bad_value_names_the_new_field(spark: SparkSession) -> None:
    reasons = spark.table(f"glue_catalog.{DATABASE}.quarantined_records").select("reason").collect()
    assert [row.reason for row in reasons] == ["wrong_type:campaign"]


def test_the_copy_follows_a_copy_of_the_contract(evolved: ModuleType) -> None:
    contract = json.loads((Path(__file__).parents[3] / "contracts" / "event.json").read_text())
    new = {"name": "campaign", "type": "string", "nullable": True}
    wanted = [*contract[:-1], new, contract[-1]]
    assert [(field.name, evolved.TYPES[field.kind], field.nullable) for field in evolved.FIELDS] == [
        (field["name"], field["type"], field["nullable"]) for field in wanted
    ]
