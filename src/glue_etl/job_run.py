"""Runs the Glue job over arrival days on AWS and waits for its end.

    python -m glue_etl.start_job_run --job ecomm-curate-events --from-date 2026-11-23 --to-date 2026-11-24

Progress goes to stderr, the ended run to stdout as one line of JSON. Exit codes: 0 succeeded, 1 failed or refused,
2 bad arguments, 130 interrupted, in which case the job goes on.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

# https://docs.aws.amazon.com/glue/latest/webapi/API_JobRun.html, JobRunState
ENDED = ("SUCCEEDED", "FAILED", "ERROR", "TIMEOUT", "STOPPED", "EXPIRED")
POLL_S = 10.0


def main(argv: Sequence[str] | None = None, sleep: Callable[[float], None] = time.sleep) -> int:
    """Returns the exit code."""
    arguments = parse(argv)
    job_run_id = None
    try:
        glue = boto3.client("glue")
        job_run_id = start(glue, arguments.job, arguments.from_date, arguments.to_date, arguments.run_id)
        log(f"{arguments.job}: started {job_run_id} for {arguments.from_date} to {arguments.to_date}")
        job_run = wait(glue, arguments.job, job_run_id, sleep)
    except KeyboardInterrupt:
        if job_run_id:
            log(
                f"interrupted; the job goes on. Stop it with: aws glue batch-stop-job-run --job-name {arguments.job}"
                f" --job-run-ids {job_run_id}"
            )
        return 130
    except (NoCredentialsError, NoRegionError) as error:
        hint = "choose an account with AWS_PROFILE and AWS_DEFAULT_REGION, or one machine with ENV=local"
        log(f"error: {error}\nhint: {hint}")
        return 1
    except (BotoCoreError, ClientError) as error:
        log(f"error: {error}")
        return 1
    print(
        json.dumps(
            {
                "job_run_id": job_run_id,
                "run_id": arguments.run_id,
                "state": job_run["JobRunState"],
                "seconds": job_run.get("ExecutionTime", 0),
            }
        )
    )
    if job_run["JobRunState"] != "SUCCEEDED":
        log(f"error: {job_run_id} {job_run['JobRunState']}: {job_run.get('ErrorMessage', 'Glue gives no reason')}")
        return 1
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Returns the arguments, checked; `run_id` is the present second unless given."""
    parser = argparse.ArgumentParser(
        prog="glue_etl.start_job_run", description="Run the Glue job and wait for its end."
    )
    parser.add_argument("--job", required=True, help="name of the Glue job")
    parser.add_argument("--from-date", required=True, type=date.fromisoformat, help="first arrival day, UTC")
    parser.add_argument("--to-date", required=True, type=date.fromisoformat, help="last arrival day, included")
    parser.add_argument("--run-id", default=f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}", help="key in etl_runs")
    arguments = parser.parse_args(argv)
    if arguments.from_date > arguments.to_date:
        parser.error(f"--from-date {arguments.from_date} is after --to-date {arguments.to_date}; both are included")
    return arguments


def start(glue, job: str, from_date: date, to_date: date, run_id: str) -> str:
    """Returns the id that Glue gives the run."""
    arguments = {"--from_date": str(from_date), "--to_date": str(to_date), "--run_id": run_id}
    return glue.start_job_run(JobName=job, Arguments=arguments)["JobRunId"]


def wait(glue, job: str, job_run_id: str, sleep: Callable[[float], None]) -> dict:
    """Returns the run once it has ended; Glue's own timeout ends it at the latest."""
    state = None
    while True:
        job_run = glue.get_job_run(JobName=job, RunId=job_run_id)["JobRun"]
        if job_run["JobRunState"] != state:
            state = job_run["JobRunState"]
            log(f"{job}: {state} after {job_run.get('ExecutionTime', 0)} s")
        if state in ENDED:
            return job_run
        sleep(POLL_S)


def log(message: str) -> None:
    """Says it on stderr."""
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
