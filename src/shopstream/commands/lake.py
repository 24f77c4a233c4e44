"""Lake: the curate job, and whether the detector has counted the same."""

import json
import sys
from datetime import UTC, date, datetime
from typing import Annotated, Any

import typer

from shopstream.app import app
from shopstream.environment import DEFAULT_HOME, Aws, Env, Home, Local, open_environment
from shopstream.failure import BAD_INPUT, INTERRUPTED, Failure
from shopstream.parsers import DAY

PANEL = "Lake"


@app.command(rich_help_panel=PANEL)
def etl(
    from_date: Annotated[date | None, typer.Option(help="first day of arrival, UTC (default: today)", **DAY)] = None,
    to_date: Annotated[date | None, typer.Option(help="last day of arrival, included (default: today)", **DAY)] = None,
    run_id: Annotated[
        str | None, typer.Option(metavar="ID", help="key in etl_runs on AWS (default: the time of the start)")
    ] = None,
    env: Env = "dev",
    home: Home = DEFAULT_HOME,
) -> int | None:
    """Run the curate job over what arrived from the first to the last day."""
    started_at = datetime.now(UTC)
    first, last = (day or started_at.date() for day in (from_date, to_date))
    if first > last:
        raise Failure(f"--from-date {first} is after --to-date {last}: swap them, both days are included", BAD_INPUT)
    environment = open_environment(env, home)
    if isinstance(environment, Local):
        print(json.dumps(_curate_locally(environment, first, last), indent=2))
        return None
    return _curate_on_aws(environment, first, last, run_id or f"{started_at:%Y-%m-%dT%H-%M-%SZ}")


def _curate_locally(environment: Local, first: date, last: date) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError

    from local_cloud import steps

    try:
        return steps.etl(environment.stack, first, last)
    except (RuntimeError, OSError, BotoCoreError, ClientError) as error:
        raise Failure(error) from None


def _curate_on_aws(environment: Aws, first: date, last: date, run_id: str) -> int | None:
    from botocore.exceptions import BotoCoreError, ClientError

    from glue_etl import job_run

    job = environment.outputs["curate_job_name"]
    job_run_id = None
    try:
        glue = environment.client("glue")
        job_run_id = job_run.start(glue, job, first, last, run_id)
        _progress(f"{job}: started {job_run_id} for {first} to {last}")
        ended = job_run.wait(glue, job, job_run_id, _progress)
    except KeyboardInterrupt:
        if job_run_id is None:
            raise
        stop = f"aws glue batch-stop-job-run --job-name {job} --job-run-ids {job_run_id}"
        _progress(f"interrupted; the job goes on. Stop it with: {stop}")
        return INTERRUPTED
    except (BotoCoreError, ClientError) as error:
        raise Failure(error) from None
    state = ended["JobRunState"]
    print(
        json.dumps(
            {"job_run_id": job_run_id, "run_id": run_id, "state": state, "seconds": ended.get("ExecutionTime", 0)}
        )
    )
    if state != "SUCCEEDED":
        raise Failure(f"{job_run_id} {state}: {ended.get('ErrorMessage', 'Glue gives no reason')}")
    return None


@app.command(rich_help_panel=PANEL)
def reconcile(
    from_date: Annotated[date | None, typer.Option(help="first event date, UTC (default: all)", **DAY)] = None,
    to_date: Annotated[date | None, typer.Option(help="last event date, included (default: all)", **DAY)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
    env: Env = "dev",
    home: Home = DEFAULT_HOME,
) -> int:
    """Compare what arrived in the lake with what the detector judged, by event date. Exit with 1 if they differ.

    Bad records have no usable time: those that arrived on these days are compared by reason.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    from insights.engines import EngineError
    from lambda_alert import totals
    from shopstream import reconciliation

    first, last = from_date or date.min, to_date or date.max
    if first > last:
        raise Failure(f"--from-date {first} is after --to-date {last}: swap them, both days are included", BAD_INPUT)
    environment = open_environment(env, home)
    try:
        engine = environment.engine()
        _, arrivals = engine.query("select event_date, reason, arrival_date, line_count from arrivals", [])
        _, [(curated_at,)] = engine.query("select cast(max(finished_at) as varchar) from etl_runs", [])
        counted = totals.read(environment.client("dynamodb"), environment.outputs["totals_table_name"])
    except EngineError as error:
        raise Failure(f"{error} Was there a curate run yet? If not, call make etl first.") from None
    except (BotoCoreError, ClientError) as error:
        raise Failure(error) from None
    found = reconciliation.compare(arrivals, {key: one.lines for key, one in counted.items()}, first, last)
    counted_at = max((one.counted_at for one in counted.values()), default="none")
    if as_json:
        print(json.dumps(found.as_dict() | {"curated_at": curated_at, "counted_at": counted_at}, indent=2))
    else:
        print(f"{found.as_text()}\n\n{found.sentence()}")
        print(f"The last curate run ended at {curated_at} UTC; the detector's last tally is of {counted_at}.")
    if not found.is_equal:
        _progress(
            "hint: what arrived in the last minutes may be undelivered, uncurated or not judged yet. Call make etl, and"
            " compare again"
        )
    return 0 if found.is_equal else 1


def _progress(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
