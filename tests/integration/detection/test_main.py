"""The entry point: property groups become options and values; what is missing is named; all rules share one scan."""

import json
from pathlib import Path
from shutil import copytree

import pytest
from conftest import GROUPS, SQL
from pyflink.table import EnvironmentSettings, TableEnvironment

from detector import main

JAR = Path(main.__file__).parent / "target" / "pyflink-dependencies.jar"


@pytest.fixture
def kinesis(cluster: dict[str, str]) -> TableEnvironment:
    """Returns an environment that knows the Kinesis connector, as the application's jar brings it."""
    if not JAR.exists():
        pytest.fail(f"no {JAR.name} in {JAR.parent}: run `make build`")
    env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    env.get_config().set("pipeline.jars", JAR.as_uri())
    return env


def test_property_groups_are_read_as_managed_flink_writes_them(tmp_path: Path) -> None:
    file = tmp_path / "application_properties.json"
    file.write_text(
        json.dumps(
            [
                {"PropertyGroupId": "rule.burst", "PropertyMap": {"threshold": "5", "window_s": "10"}},
                {"PropertyGroupId": "table.alerts", "PropertyMap": {"stream": "alerts"}},
            ]
        )
    )
    assert main.read_property_groups(file) == {
        "rule.burst": {"threshold": "5", "window_s": "10"},
        "table.alerts": {"stream": "alerts"},
    }


def test_table_options_are_quoted() -> None:
    options = {"stream": "it's", "aws.region": "eu-central-1"}
    assert main.alter_table("t", options) == "alter table t set ('aws.region' = 'eu-central-1', 'stream' = 'it''s')"


def test_a_rule_gets_its_values(tmp_path: Path) -> None:
    rule = tmp_path / "scraper.sql"
    rule.write_text("select '${a}', ${b}")
    assert main.fill_in(rule, {"a": "x", "b": "1", "unused": "2"}) == "select 'x', 1"


@pytest.mark.parametrize(("values", "sets"), [({}, "nothing"), ({"b": "1", "a": "2"}, "['a', 'b']")])
def test_a_missing_value_is_named(tmp_path: Path, values: dict[str, str], sets: str) -> None:
    rule = tmp_path / "scraper.sql"
    rule.write_text("select ${limit}")
    with pytest.raises(ValueError) as raised:
        main.fill_in(rule, values)
    assert str(raised.value) == (
        f"scraper.sql needs the value 'limit', but property group 'rule.scraper' sets {sets}: "
        "add it to the application's properties in terraform/modules/detection"
    )


def test_property_groups_reach_the_runtime_and_the_tables(kinesis: TableEnvironment) -> None:
    main.create_tables(kinesis, SQL, GROUPS | {"table.alerts": {"stream": "it's", "format": "raw"}})
    assert {name: kinesis.get_config().get(name, "") for name in GROUPS["table.config"]} == GROUPS["table.config"]
    assert sorted(kinesis.list_tables()) == ["alerts", "raw_events"]
    ddl = {
        table: kinesis.execute_sql(f"show create table {table}").collect().next()[0] for table in kinesis.list_tables()
    }
    assert all(
        option in ddl["alerts"] for option in ("'connector' = 'kinesis'", "'stream' = 'it''s'", "'format' = 'raw'")
    )
    assert "'stream'" not in ddl["raw_events"]


def test_all_rules_are_one_job_with_one_scan_of_the_stream(kinesis: TableEnvironment, tmp_path: Path) -> None:
    sql = copytree(SQL, tmp_path / "sql")
    burst = (sql / "rules" / "burst.sql").read_text()
    # Another rule over other columns, or all that is alike would be shared, not the scan alone.
    (sql / "rules" / "carts.sql").write_text(burst.replace("txn_timestamp is not null", "event_type = 'cart'"))
    groups = GROUPS | {
        "table.raw_events": {
            "aws.region": "us-east-1",
            "scan.shard.discovery.intervalmillis": "1000",
            "scan.stream.initpos": "TRIM_HORIZON",
            "stream": "raw-stream",
        },
        "table.alerts": {"aws.region": "us-east-1", "sink.flush-buffer.timeout": "200", "stream": "alert-stream"},
        "rule.carts": GROUPS["rule.burst"],
    }
    main.create_tables(kinesis, sql, groups)
    plan = main.rules(kinesis, sql, groups).explain().split("== Optimized Execution Plan ==")[1]
    assert (plan.count("Sink("), plan.count("WatermarkAssigner("), plan.count("TableSourceScan(")) == (2, 2, 1)
