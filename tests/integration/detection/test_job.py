"""The job: property groups become options and values; unknown ones are an error; all rules share one scan."""

import json
import re
from pathlib import Path

import pytest
from pyflink.table import TableEnvironment

from detector import job, rulebook

BOOK = rulebook.read()
PLAIN = BOOK.plain()
RULES = sorted(BOOK.rules)

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
    assert job.read_property_groups(file) == {
        "values.burst": {"threshold": "5"},
        "table.alerts": {"stream": "alerts"},
    }


def test_table_options_are_quoted() -> None:
    options = {"stream": "it's", "aws.region": "eu-central-1"}
    assert job.alter_table("t", options) == "alter table t set ('aws.region' = 'eu-central-1', 'stream' = 'it''s')"


def test_a_group_for_no_rule_ends_the_job_before_it_runs(kinesis: TableEnvironment) -> None:
    groups = GROUPS | {"values.brust": {"threshold": "8"}}
    with pytest.raises(ValueError, match=r"^'brust' has no values that can be set; these have some: "):
        job.create_tables(kinesis, PLAIN, groups)
    assert kinesis.list_tables() == []


def test_property_groups_reach_the_runtime_and_the_tables(kinesis: TableEnvironment) -> None:
    own = {"table.exec.state.ttl": "2 h"}
    job.create_tables(kinesis, PLAIN, {"table.config": own, "table.alerts": {"stream": "it's", "format": "raw"}})
    expected = job.OPTIONS | own
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
    job.create_tables(kinesis, PLAIN, GROUPS)
    plan = job.rules(kinesis, PLAIN, GROUPS).explain().split("== Optimized Execution Plan ==")[1]
    assert plan.count("TableSourceScan(") == 1
    assert all(f"'{rule}'" in plan for rule in RULES)
    assert plan.count("Sink(") == len(RULES) + 1  # and the tally of what they leave out


def test_only_some_rules_come_without_the_tally(kinesis: TableEnvironment) -> None:
    job.create_tables(kinesis, PLAIN, GROUPS)
    plan = job.rules(kinesis, PLAIN, GROUPS, ["burst"]).explain().split("== Optimized Execution Plan ==")[1]
    assert re.findall(r"Sink\(table=\[[\w.]*\.(\w+)\]", plan) == ["alerts"]


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_a_view_of_findings(kinesis: TableEnvironment, rule: str) -> None:
    """The text of a rule does not show the types."""
    job.create_tables(kinesis, PLAIN, GROUPS)
    job.rules(kinesis, PLAIN, GROUPS)
    columns = [row[:2] for row in kinesis.execute_sql(f"describe {rule}").collect()]
    assert [name for name, _ in columns] == [
        *("rule", "subject", "window_start_at", "window_end_at", "num_actions_per_watermark", "threshold")
    ]
    types = [re.sub(r"\(.*\)| NOT NULL", "", type_) for _, type_ in columns]
    assert types[2:] == ["TIMESTAMP", "TIMESTAMP", "BIGINT", "BIGINT"]
