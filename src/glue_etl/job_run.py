"""Runs of the Glue job on AWS: start one over arrival days, and wait for its end."""

import time
from collections.abc import Callable
from datetime import date
from typing import Any

# https://docs.aws.amazon.com/glue/latest/webapi/API_JobRun.html, JobRunState
ENDED = ("SUCCEEDED", "FAILED", "ERROR", "TIMEOUT", "STOPPED", "EXPIRED")
POLL_S = 10.0


def start(glue: Any, job: str, from_date: date, to_date: date, run_id: str) -> str:
    """Start the job over arrival days, both included. Return Glue's id of the run. `run_id` is for `etl_runs`."""
    arguments = {"--from_date": str(from_date), "--to_date": str(to_date), "--run_id": run_id}
    return glue.start_job_run(JobName=job, Arguments=arguments)["JobRunId"]


def wait(
    glue: Any,
    job: str,
    job_run_id: str,
    progress: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Wait until the run has ended, at the latest by the job's own timeout. Return Glue's JobRun."""
    state = None
    while True:
        job_run = glue.get_job_run(JobName=job, RunId=job_run_id)["JobRun"]
        if job_run["JobRunState"] != state:
            state = job_run["JobRunState"]
            progress(f"{job}: {state} after {job_run.get('ExecutionTime', 0)} s")
        if state in ENDED:
            return job_run
        sleep(POLL_S)
