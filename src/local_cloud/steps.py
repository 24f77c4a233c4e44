"""The platform's steps on a stack: deploy, detect, curate. The demo, the tests and the command line share them."""

import sys
import time
import uuid
from datetime import date

from local_cloud import counts, flink, ministack, spark, terraform, trino
from local_cloud.stack import Stack, programs, wait_for


def start(stack: Stack, **variables: object) -> dict[str, str]:
    """Returns Terraform's outputs when all is deployed, the detector runs and Trino answers.

    `variables` are Terraform's, other than in env/local.tfvars.
    """
    stack.enter()
    stack.start(programs(stack))
    for port in ("emulator", "kinesis"):
        url = stack.url(port)
        stack.wait_for(lambda url=url: ministack.answers(url), f"the emulator, see {stack.log(port)}", timeout_s=60)
    progress("deploying terraform/ to the local cloud (the provider waits a minute for its streams)")
    outputs = terraform.apply(stack, variables)
    progress("starting the detector")
    start_detector(stack)
    trino.wait_until_ready(stack)
    return outputs


def start_detector(stack: Stack, savepoint: str | None = None) -> str:
    """Returns the id of the detector's job when all its tasks run."""
    job = flink.submit(stack, stack.outputs()["detector_name"], savepoint)
    flink.wait_until_running(stack, job)
    return job


def drain(stack: Stack) -> str:
    """Returns the savepoint after the detector has read stream 1 to its end and judged all of it."""
    stack.enter()
    job = flink.running_job(stack)
    if job is None:
        raise RuntimeError(f"the detector does not run: see {stack.log('flink-jobmanager')}")
    stream = stack.outputs()["raw_stream_name"]
    flink.wait_until_read(stack, job, counts.last_positions(stream), counts.closed_shards(stream))
    # A drain closes all windows but those of the clock, in which the events that were not judged are counted.
    time.sleep(flink.tally_step_s(stack) + 1)
    return flink.drain(stack, job)


def wait_until_delivered(stack: Stack) -> int:
    """Returns how many lines the raw bucket holds when it has everything that stream 1 holds now."""
    stack.enter()
    outputs = stack.outputs()
    expected = counts.records(outputs["raw_stream_name"])
    raw = counts.RawEvents(outputs["raw_bucket"])
    what = f"Firehose to deliver {expected} records, see {stack.log('firehose')}"
    wait_for(lambda: raw.count() >= expected, what, timeout_s=60, every_s=1, progress=lambda: len(raw.lines))
    return raw.count()


def curate(stack: Stack, from_date: date, to_date: date) -> dict:
    """Returns the counts of one run of the curate job over the days of arrival, both included."""
    if from_date > to_date:
        raise RuntimeError(f"the first day, {from_date}, is after the last, {to_date}: swap them")
    stack.enter()
    outputs = stack.outputs()
    days = {"--from_date": str(from_date), "--to_date": str(to_date)}
    return spark.run_job(stack, outputs["curate_job_name"], days | {"--run_id": str(uuid.uuid4())})


def progress(line: str) -> None:
    """Writes a line of progress with the time of day."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
