"""The job: property groups become settings and values; unknown ones are an error; all rules share one source."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import read_alerts
from shop import event, records

from detector import job, rulebook

BOOK = rulebook.read()
PLAIN = BOOK.plain()
RULES = sorted(BOOK.rules)

# As the application has them.
GROUPS = {
    "source": {"stream": "raw-stream", "aws.region": "us-east-1", "flink.stream.initpos": "TRIM_HORIZON"},
    "alerts": {"stream": "alert-stream", "aws.region": "us-east-1"},
    "unjudged": {"stream": "alert-stream", "aws.region": "us-east-1", "buffer_ms": "200"},
    "nobody": {"0": "0", "1": "guest"},
    "values.burst": {"threshold": "8"},
    "values.source": {"max_ahead_s": "30"},
}
STATEFUL = ("activity", "product_activity", "site_activity", "levels", "tally")


def private(java_object: Any, name: str) -> Any:
    field = java_object.getClass().getDeclaredField(name)
    field.setAccessible(True)
    return field.get(java_object)


def plan(built: Any) -> list[dict]:
    """Return the nodes of the job's plan."""
    return json.loads(private(built, "env").getExecutionPlan())["nodes"]


def test_property_groups_are_read_as_managed_flink_writes_them(tmp_path: Path) -> None:
    file = tmp_path / "application_properties.json"
    file.write_text(
        json.dumps(
            [
                {"PropertyGroupId": "values.burst", "PropertyMap": {"threshold": "5"}},
                {"PropertyGroupId": "alerts", "PropertyMap": {"stream": "alerts"}},
            ]
        )
    )
    assert job.read_property_groups(file) == {"values.burst": {"threshold": "5"}, "alerts": {"stream": "alerts"}}


def test_a_group_for_no_rule_ends_the_job_before_it_runs(jvm: Any) -> None:
    with pytest.raises(ValueError, match=r"^'brust' has no values that can be set; these have some: "):
        job.build(PLAIN, GROUPS | {"values.brust": {"threshold": "8"}}, {})


def test_an_invalid_value_ends_the_job_before_it_runs(jvm: Any) -> None:
    with pytest.raises(ValueError, match=r"^burst\.threshold is 'many'; allowed: a whole number"):
        job.build(PLAIN, GROUPS | {"values.burst": {"threshold": "many"}}, {})


def test_property_groups_reach_the_job(start: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    looks = [event(at, product_id=str(at), user_id=user) for at in range(7) for user in ("7", "it's")]
    (tmp_path / "events" / "shard").write_bytes(b"\n".join(records(looks)))
    groups = {
        "source": {"files": (tmp_path / "events").as_uri()},
        "alerts": {"files": (tmp_path / "alerts").as_uri()},
        "nobody": {"any key": "it's"},
        "values.burst": {"threshold": "6"},
    }
    start(groups, parallelism_default="1").getJobExecutionResult().get()
    found = [(one["subject"], one["num_actions_per_watermark"]) for one in read_alerts(tmp_path / "alerts")]
    assert found == [("session#a1b2", 7), ("user#7", 7)]


def test_all_rules_are_one_job_with_one_source(jvm: Any) -> None:
    nodes = plan(job.build(PLAIN, GROUPS, {}))
    assert [node["type"] for node in nodes if node["pact"] == "Data Source"] == ["Source: source"]
    names = [node["type"] for node in nodes]
    assert all(names.count(name) == 1 for name in STATEFUL)
    assert sum("alerts" in name and "Writer" in name for name in names) == 1
    assert sum("unjudged" in name and "Writer" in name for name in names) == 1


@pytest.mark.parametrize("rule", RULES)
def test_operators_with_state_are_there_whichever_rules_there_are(jvm: Any, rule: str) -> None:
    own = {name: group for name, group in GROUPS.items() if not name.startswith("values.")}
    others = {name: one for name, one in PLAIN.items() if name != rule}
    for built in (job.build(PLAIN, own, {}, only=[rule]), job.build(others, own, {})):
        names = [node["type"] for node in plan(built)]
        assert all(names.count(name) == 1 for name in STATEFUL)


def test_the_job_sets_no_option_of_flink(jvm: Any) -> None:
    def options(configuration: Any) -> dict[str, str]:
        # The planner of SQL notes some of its own.
        return {name: value for name, value in dict(configuration.toMap()).items() if "table." not in name}

    fresh = jvm.org.apache.flink.streaming.api.environment.StreamExecutionEnvironment.getExecutionEnvironment()
    built = private(job.build(PLAIN, GROUPS, {}), "env")
    assert options(built.getConfiguration()) == options(fresh.getConfiguration())
    checkpoints = [env.getCheckpointConfig().toConfiguration() for env in (built, fresh)]
    assert options(checkpoints[0]) == options(checkpoints[1])


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_a_view_of_findings(jvm: Any, rule: str) -> None:
    """The text of a rule does not show the types."""
    tables = private(job.build(PLAIN, GROUPS, {}), "tables")
    schema = tables.sqlQuery(f"select * from {rule}").getResolvedSchema()
    columns = [
        (column.getName(), column.getDataType().getLogicalType().getTypeRoot().name()) for column in schema.getColumns()
    ]
    assert [name for name, _ in columns] == [
        *("rule", "subject", "window_start_at", "window_end_at", "num_actions_per_watermark", "threshold")
    ]
    times, counts = ["TIMESTAMP_WITHOUT_TIME_ZONE"] * 2, ["BIGINT"] * 2
    assert [type_ for _, type_ in columns][2:] == [*times, *counts]
