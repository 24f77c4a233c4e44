"""The Studio note's SQL for the rule burst says what the deployed job says, where both mean the same by an action."""

import json
import re

import pytest
from conftest import ROOT
from shop import time
from test_cases import RUNS, Run

NOTE = ROOT / "notebooks" / "sql-flink-ecomm-notebook-1.zpln"

FILES = (
    "with ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json',"
    " 'json.timestamp-format.standard' = 'ISO-8601', 'json.ignore-parse-errors' = 'true')"
)

# Where the note's SQL means another thing than the job, so that it stays short.
DIFFERENT = {
    # It counts what a second of the clock holds, and knows no echoes of carts and removals.
    "actions: a removal recorded twice within two seconds",
    "actions: a cart recorded twice within two seconds",
    "actions: an echo does not prolong the two seconds",
    "actions: an echo of what belongs to an action",
    "actions: an echo begins no action",
    "actions: into the cart, out, and in again",
    "actions: a checkout recorded twice with ids",
    # It knows neither event ids nor pages, and takes types as they are written.
    "actions: the same event id with other bytes",
    "actions: pages without a product",
    "actions: a product, a page, and neither",
    "actions: types in capitals and with blanks",
    # It keeps all events of a shopper.
    "actions: counts say at least",
    # It takes every user id for a user.
    "actors: an empty user is none",
    "actors: a user id that means nobody",
    "actors: each of them",
    "actors: users who are nobody, in many sessions",
    "actors: events of nobody without a session",
}


def of_the_note(name: str) -> list[str]:
    """Return the statements of the note's cell that makes or reads something."""
    cells = json.loads(NOTE.read_text(encoding="utf-8"))["paragraphs"]
    (cell,) = (one["text"] for one in cells if one["text"].startswith("%flink") and re.search(name, one["text"]))
    return [statement for statement in re.split(r";\s*$", cell.split("\n", 1)[1], flags=re.MULTILINE) if statement]


@pytest.fixture(scope="module")
def first_found(cluster: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list]:
    """Return of each shopper and hour the first row of the note's burst: (hour, subject) → [time, actions]."""
    from pyflink.common import Configuration
    from pyflink.table import EnvironmentSettings, TableEnvironment

    folder = tmp_path_factory.mktemp("note")
    lines = b"".join(line + b"\n" for run in COMPARED for line in run.lines)
    (folder / "events").write_bytes(lines)
    configuration = Configuration()
    for key, value in {**cluster, "parallelism.default": "1", "table.local-time-zone": "UTC"}.items():
        configuration.set_string(key, value)
    env = TableEnvironment.create(EnvironmentSettings.new_instance().with_configuration(configuration).build())
    for cell in ("create table raw_events", "create temporary view actions"):
        for statement in of_the_note(cell):
            if statement.lstrip().startswith("create"):
                env.execute_sql(re.sub(r"\bwith \(.*\)\s*$", FILES.format(folder.as_uri()), statement, flags=re.DOTALL))
    (query,) = (one for one in of_the_note("action_count >") if one.lstrip().startswith("select"))
    rows = env.execute_sql(f"select subject, cast(event_at as string), action_count from ({query})")
    found: dict[tuple[str, str], list] = {}
    with rows.collect() as results:
        for subject, at, actions in results:
            found.setdefault((at[:13], subject), [at, actions])
    return found


COMPARED = [run for run in RUNS if run.job == "{}" and run.id.partition(":")[0] in ("actions", "actors", "burst")]


def deployed(run: Run) -> dict[str, tuple[str, int]]:
    """Return of each shopper the first alert of burst: (time, actions)."""
    first: dict[str, tuple[str, int]] = {}
    for one in run.alerts:
        if one["rule"] == "burst":
            first.setdefault(one["subject"], (one["window_end_at"], one["num_actions_per_watermark"]))
    return first


@pytest.mark.parametrize("run", COMPARED, ids=lambda run: run.id)
def test_the_note_finds_what_the_job_finds(first_found: dict[tuple[str, str], list], run: Run) -> None:
    hour = time(0, run.base)[:13].replace("T", " ")
    found = {
        subject: (f"{at.replace(' ', 'T')}Z", actions)
        for (found_in, subject), (at, actions) in first_found.items()
        if found_in == hour
    }
    if run.id in DIFFERENT:
        assert found != deployed(run), "the note says the same by now: take the case off the list"
    else:
        assert found == deployed(run)
