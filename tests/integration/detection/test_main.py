"""The entry point: property groups become options and values; what is unknown is refused; all rules share one scan."""

import json
import re
from pathlib import Path

import pytest
from conftest import SQL
from pyflink.table import TableEnvironment

from detector import main

RULES = sorted(file.stem for file in (SQL / "rules").glob("*.sql"))

# As terraform/tests/detection.tftest.hcl finds them at the application.
GROUPS = {
    "table.config": {"execution.buffer-timeout.interval": "20 ms"},
    "table.alerts": {"aws.region": "us-east-1", "sink.flush-buffer.timeout": "200", "stream": "alert-stream"},
    "table.unjudged": {"aws.region": "us-east-1", "sink.flush-buffer.timeout": "200", "stream": "alert-stream"},
    "table.raw_events": {
        "aws.region": "us-east-1",
        "scan.shard.discovery.intervalmillis": "1000",
        "scan.shard.getrecords.intervalmillis": "500",
        "scan.stream.initpos": "TRIM_HORIZON",
        "stream": "raw-stream",
    },
    "values.burst": {"threshold": "8"},
    "values.source": {"max_ahead_s": "30"},
}


def test_property_groups_are_read_as_managed_flink_writes_them(tmp_path: Path) -> None:
    file = tmp_path / "application_properties.json"
    file.write_text(
        json.dumps(
            [
                {"PropertyGroupId": "values.burst", "PropertyMap": {"threshold": "5"}},
                {"PropertyGroupId": "table.alerts", "PropertyMap": {"stream": "alerts"}},
            ]
        )
    )
    assert main.read_property_groups(file) == {
        "values.burst": {"threshold": "5"},
        "table.alerts": {"stream": "alerts"},
    }


def test_table_options_are_quoted() -> None:
    options = {"stream": "it's", "aws.region": "eu-central-1"}
    assert main.alter_table("t", options) == "alter table t set ('aws.region' = 'eu-central-1', 'stream' = 'it''s')"


@pytest.fixture
def sql(tmp_path: Path) -> Path:
    """Returns a folder with a view, a rule over it and a rule of its own."""
    for name, text in {
        "views/minutes.sql": "-- title: Minutes\n-- window_s: 60\n-- ratio: 0.5\nselect ${window_s_before}",
        "rules/scraper.sql": "-- title: Scraper 7\n-- window: minutes\n-- threshold: 60\nselect ${threshold}",
        "rules/burst.sql": "-- threshold: 5\n-- window_s: 10\nselect '${threshold}', ${window_s}, ${window_s_before}",
        "alerts.sql": "-- title: Alerts\nselect 1",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_values_are_the_numbers_of_the_headers(sql: Path) -> None:
    assert main.values(sql, {}) == {
        "alerts": {},
        "burst": {"threshold": "5", "window_s": "10"},
        "minutes": {"window_s": "60", "ratio": "0.5"},
        "scraper": {"window_s": "60", "ratio": "0.5", "threshold": "60"},
    }


def test_values_of_property_groups_come_first(sql: Path) -> None:
    groups = {"values.burst": {"threshold": "8"}, "values.minutes": {"window_s": "30"}, "table.config": {"a": "b"}}
    known = main.values(sql, groups)
    assert known["burst"] == {"threshold": "8", "window_s": "10"}
    assert known["minutes"]["window_s"] == known["scraper"]["window_s"] == "30"
    assert main.fill_in(sql / "rules/burst.sql", known["burst"]).endswith("select '8', 10, 9")
    assert main.fill_in(sql / "views/minutes.sql", known["minutes"]).endswith("select 29")


@pytest.mark.parametrize("name", ["brust", "alerts", "", "burst.x"])
def test_a_group_for_no_file_is_refused(sql: Path, name: str) -> None:
    with pytest.raises(ValueError) as raised:
        main.values(sql, {f"values.{name}": {"threshold": "8"}})
    assert str(raised.value) == (
        f"property group 'values.{name}' is for none of burst, scraper, minutes: mend Terraform's variable detection"
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("treshold", "8"), ("title", "8"), ("window_s_before", "8"), ("threshold", "many"), ("threshold", "")),
        *(("threshold", "-1"), ("threshold", "1e3"), ("threshold", "8 or true"), ("threshold", "8\n")),
    ],
)
def test_a_value_that_is_unknown_or_no_number_is_refused(sql: Path, key: str, value: str) -> None:
    with pytest.raises(ValueError) as raised:
        main.values(sql, {"values.burst": {key: value}})
    assert str(raised.value) == (
        f"property group 'values.burst' sets {key} to '{value}', but burst.sql takes numbers for threshold, window_s: "
        "mend Terraform's variable detection"
    )


def test_a_value_of_the_shared_view_is_not_the_rules(sql: Path) -> None:
    with pytest.raises(ValueError, match=r"scraper\.sql takes numbers for threshold:"):
        main.values(sql, {"values.scraper": {"window_s": "30"}})


def test_a_missing_value_is_named(sql: Path) -> None:
    with pytest.raises(ValueError) as raised:
        main.fill_in(sql / "rules/burst.sql", {"threshold": "5"})
    assert str(raised.value) == "burst.sql needs the value 'window_s': give its default in a line of its header"


def test_a_group_for_no_rule_ends_the_job_before_it_runs(kinesis: TableEnvironment) -> None:
    groups = GROUPS | {"values.brust": {"threshold": "8"}}
    with pytest.raises(ValueError, match=r"^property group 'values\.brust' is for none of "):
        main.create_tables(kinesis, SQL, groups)
    assert kinesis.list_tables() == []


def test_property_groups_reach_the_runtime_and_the_tables(kinesis: TableEnvironment) -> None:
    own = {"table.exec.state.ttl": "2 h"}
    main.create_tables(kinesis, SQL, {"table.config": own, "table.alerts": {"stream": "it's", "format": "raw"}})
    expected = main.OPTIONS | own
    assert {name: kinesis.get_config().get(name, "") for name in expected} == expected
    assert sorted(kinesis.list_tables()) == ["alerts", "raw_events", "unjudged"]
    ddl = {
        table: kinesis.execute_sql(f"show create table {table}").collect().next()[0] for table in kinesis.list_tables()
    }
    assert all(
        option in ddl["alerts"] for option in ("'connector' = 'kinesis'", "'stream' = 'it''s'", "'format' = 'raw'")
    )
    assert "'stream'" not in ddl["raw_events"]


def test_all_rules_are_one_job_with_one_scan_of_the_stream(kinesis: TableEnvironment) -> None:
    main.create_tables(kinesis, SQL, GROUPS)
    plan = main.rules(kinesis, SQL, GROUPS).explain().split("== Optimized Execution Plan ==")[1]
    assert plan.count("TableSourceScan(") == 1
    assert all(f"'{rule}'" in plan for rule in RULES)
    assert plan.count("Sink(") == len(RULES) + 1  # and the tally of what they leave out


def test_only_some_rules_come_without_the_tally(kinesis: TableEnvironment) -> None:
    main.create_tables(kinesis, SQL, GROUPS)
    plan = main.rules(kinesis, SQL, GROUPS, ["burst"]).explain().split("== Optimized Execution Plan ==")[1]
    assert re.findall(r"Sink\(table=\[[\w.]*\.(\w+)\]", plan) == ["alerts"]


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_a_view_of_findings(kinesis: TableEnvironment, rule: str) -> None:
    """What a text cannot tell: types, and that no row has a hole in it that the sink would stumble over."""
    main.create_tables(kinesis, SQL, GROUPS)
    main.rules(kinesis, SQL, GROUPS)
    columns = [row[:2] for row in kinesis.execute_sql(f"describe {rule}").collect()]
    assert [name for name, _ in columns] == [
        *("rule", "subject", "window_start_at", "window_end_at", "num_actions_per_watermark", "threshold")
    ]
    types = [re.sub(r"\(.*\)| NOT NULL", "", type_) for _, type_ in columns]
    assert types[2:] == ["TIMESTAMP", "TIMESTAMP", "BIGINT", "BIGINT"]
