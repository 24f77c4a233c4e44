"""Engines: Athena's results, as moto stores them, become plain Python values; errors say what to do."""

import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import boto3
import pytest
import requests
from moto import mock_aws

from insights.answer import EmptyTableError, table_dates
from insights.engines import Athena, EngineError, Trino, athena_literal

ACCOUNT, REGION, WORKGROUP, BUCKET = "123456789012", "us-east-1", "analysts", "results"


@pytest.fixture
def athena(monkeypatch: pytest.MonkeyPatch) -> Iterator[Athena]:
    """Athena in a workgroup with a place for results."""
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)  # of the other clients
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        boto3.client("athena").create_work_group(
            Name=WORKGROUP,
            Configuration={
                "EnforceWorkGroupConfiguration": True,
                "ResultConfiguration": {"OutputLocation": f"s3://{BUCKET}/"},
                "EngineVersion": {"EffectiveEngineVersion": "Athena engine version 3"},
            },
        )
        yield Athena(WORKGROUP, session=boto3.Session(region_name=REGION))


def put_result(types: dict[str, str], rows: list[list[str | None]]) -> None:
    """Set the next statement's result: columns with Athena's types, and values as Athena writes them."""
    columns = [
        {"CatalogName": "hive", "SchemaName": "", "TableName": "", "Name": name, "Label": name, "Type": kind}
        | {"Precision": 38, "Scale": 2, "Nullable": "UNKNOWN", "CaseSensitive": True}
        for name, kind in types.items()
    ]
    data = [
        {"Data": [{} if value is None else {"VarCharValue": value} for value in row]} for row in [list(types), *rows]
    ]
    result = {"account_id": ACCOUNT, "region": REGION, "results": [{"rows": data, "column_info": columns}]}
    response = requests.post("http://motoapi.amazonaws.com/moto-api/static/athena/query-results", json.dumps(result))
    assert response.status_code == 201


def test_athena_gives_the_same_kinds_of_values_as_trino(athena: Athena) -> None:
    types = {"day": "date", "brand": "varchar", "viewers": "bigint", "hour": "integer", "revenue": "decimal"}
    put_result(
        types,
        [
            ["2019-10-01", "gem'co", "9000000000000000001", "23", "0.10"],
            [None, None, None, None, None],
        ],
    )

    columns, rows = athena.query("select 1 where 1 = ?", [1])

    assert columns == tuple(types)
    assert rows == [
        (date(2019, 10, 1), "gem'co", 9_000_000_000_000_000_001, 23, Decimal("0.10")),
        (None, None, None, None, None),
    ]
    assert [type(value) for value in rows[0]] == [date, str, int, int, Decimal]


def test_athena_gets_one_literal_per_question_mark(athena: Athena) -> None:
    put_result({"n": "bigint"}, [["1"]])

    athena.query("select n from t where day >= cast(? as date) and n <= ?", ["2019-10-01", 10])

    client = boto3.client("athena")
    (execution_id,) = client.list_query_executions(WorkGroup=WORKGROUP)["QueryExecutionIds"]
    execution = client.get_query_execution(QueryExecutionId=execution_id)["QueryExecution"]
    assert execution["Query"].count("?") == 2
    assert execution["ExecutionParameters"] == ["'2019-10-01'", "10"]
    assert execution["QueryExecutionContext"]["Database"] == "my_db_ecomm"


def test_a_quote_cannot_leave_its_literal() -> None:
    assert athena_literal("x' or '1' = '1") == "'x'' or ''1'' = ''1'"


def test_an_empty_table_says_what_to_run(athena: Athena) -> None:
    put_result({"from_date": "date", "to_date": "date"}, [[None, None]])

    with pytest.raises(EmptyTableError, match="make etl"):
        table_dates(athena)


def test_athena_without_credentials_names_the_local_stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)

    with pytest.raises(EngineError, match=r"No AWS credentials found; .*ENV=local"):
        Athena(WORKGROUP).query("select 1", [])


def test_a_silent_trino_names_the_local_stack() -> None:
    # Port 9 (discard) has no listener.
    with pytest.raises(EngineError, match=r"does not answer at http://127\.0\.0\.1:9; is the local stack up"):
        Trino("http://127.0.0.1:9").query("select 1", [])


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(EngineError, match=r"'127\.0\.0\.1:8080'; it must be an address"):
        Trino("127.0.0.1:8080")
