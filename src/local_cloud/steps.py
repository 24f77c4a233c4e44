"""The platform's steps on a stack: deploy, detect, curate. The demo, the tests and the command line share them."""

import sys
import time
import uuid
from datetime import date
from functools import partial

from local_cloud import counts, flink, http, spark, terraform, trino
from local_cloud.programs import programs
from local_cloud.stack import Stack
from local_cloud.waiting import wait_for


def start(stack: Stack, **variables: object) -> dict[str, str]:
    """Start the stack and deploy to it. Return Terraform's outputs when the detector runs and Trino answers.

    `variables` are those of Terraform that differ from env/local.tfvars.
    """
    # All at once: Flink and Trino start while Terraform works.
    stack.start(programs(stack))
    for port in ("emulator", "kinesis"):
        what = f"the emulator, see {stack.log(port)}"
        stack.wait_for(partial(http.answers, stack.url(port)), what, timeout_s=180)
    progress("deploying terraform/ to the local cloud (most of it is the provider's wait for the streams)")
    outputs = terraform.apply(stack, variables)
    progress("starting the detector")
    start_detector(stack)
    trino.wait_until_ready(stack)
    return outputs


def start_detector(stack: Stack, savepoint: str | None = None) -> str:
    """Start the detector, at a savepoint if one is given, and return its job's id when all its tasks run."""
    job = flink.submit(stack, stack.outputs()["detector_name"], savepoint)
    flink.wait_until_running(stack, job)
    return job


def drain(stack: Stack) -> str:
    """Stop the detector when it has judged all that stream 1 holds, and return its savepoint."""
    job = flink.running_job(stack)
    if job is None:
        raise RuntimeError(f"the detector does not run: see {stack.log('flink-jobmanager')}")
    stream, kinesis = stack.outputs()["raw_stream_name"], stack.client("kinesis")
    flink.wait_until_read(stack, job, counts.last_positions(kinesis, stream), counts.closed_shards(kinesis, stream))
    return flink.drain(stack, job)


def drain_and_resume(stack: Stack) -> None:
    """Let the detector judge all that stream 1 holds, and start it again where it stopped."""
    start_detector(stack, savepoint=drain(stack))


def wait_until_delivered(stack: Stack) -> int:
    """Return the number of lines in the raw bucket when it has everything that stream 1 holds now."""
    outputs = stack.outputs()
    expected = counts.records(stack.client("kinesis"), outputs["raw_stream_name"])
    raw = counts.RawEvents(stack.client("s3"), outputs["raw_bucket"])
    what = f"Firehose to deliver {expected} records, see {stack.log('firehose')}"
    wait_for(lambda: raw.count() >= expected, what, timeout_s=60, every_s=1, progress=lambda: len(raw.lines))
    return raw.count()


def curate(stack: Stack, from_date: date, to_date: date) -> dict:
    """Run the curate job over the days of arrival, both included, and return its counts."""
    if from_date > to_date:
        raise RuntimeError(f"the first day, {from_date}, is after the last, {to_date}: swap them")
    days = {"--from_date": str(from_date), "--to_date": str(to_date)}
    return spark.run_job(stack, stack.outputs()["curate_job_name"], days | {"--run_id": str(uuid.uuid4())})


def etl(stack: Stack, from_date: date, to_date: date) -> dict:
    """Wait until everything is delivered, then run the curate job over the days of arrival. Return its counts."""
    wait_until_delivered(stack)
    return curate(stack, from_date, to_date)


def progress(line: str) -> None:
    """Write a line of progress, with the time of day, to stderr."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
