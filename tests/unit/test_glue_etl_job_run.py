"""The command starts the job with the script's arguments, follows it, and fails as it fails."""

import json
from collections.abc import Iterator

import boto3
import pytest
from botocore.exceptions import NoCredentialsError
from botocore.stub import Stubber

from glue_etl import start_job_run

ARGV = ["--job", "curate", "--from-date", "2026-11-23", "--to-date", "2026-11-24", "--run-id", "r1"]


@pytest.fixture
def glue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    client = boto3.client("glue", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    monkeypatch.setattr(start_job_run.boto3, "client", lambda service: client)
    with Stubber(client) as stub:
        yield stub


def expect(glue: Stubber, *runs: dict) -> None:
    """The job is started as the script wants it, then shows these states."""
    arguments = {"--from_date": "2026-11-23", "--to_date": "2026-11-24", "--run_id": "r1"}
    glue.add_response("start_job_run", {"JobRunId": "jr_1"}, {"JobName": "curate", "Arguments": arguments})
    for run in runs:
        glue.add_response("get_job_run", {"JobRun": run}, {"JobName": "curate", "RunId": "jr_1"})


def test_follows_the_run_to_its_end(glue: Stubber, capsys: pytest.CaptureFixture) -> None:
    running = {"JobRunState": "RUNNING", "ExecutionTime": 0}
    expect(glue, {"JobRunState": "STARTING"}, running, running, {"JobRunState": "SUCCEEDED", "ExecutionTime": 61})
    naps: list[float] = []
    assert start_job_run.main(ARGV, naps.append) == 0
    glue.assert_no_pending_responses()
    assert naps == [start_job_run.POLL_S] * 3
    out, err = capsys.readouterr()
    assert json.loads(out) == {"job_run_id": "jr_1", "run_id": "r1", "state": "SUCCEEDED", "seconds": 61}
    assert err.splitlines()[1:] == [
        "curate: STARTING after 0 s",
        "curate: RUNNING after 0 s",
        "curate: SUCCEEDED after 61 s",
    ]


@pytest.mark.parametrize("state", [state for state in start_job_run.ENDED if state != "SUCCEEDED"])
def test_fails_with_the_jobs_own_message(glue: Stubber, capsys: pytest.CaptureFixture, state: str) -> None:
    expect(glue, {"JobRunState": state, "ErrorMessage": "counts do not add up"})
    assert start_job_run.main(ARGV) == 1
    assert f"error: jr_1 {state}: counts do not add up" in capsys.readouterr().err


def test_says_that_the_job_goes_on_when_interrupted(glue: Stubber, capsys: pytest.CaptureFixture) -> None:
    expect(glue, {"JobRunState": "RUNNING"})

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    assert start_job_run.main(ARGV, interrupt) == 130
    assert "batch-stop-job-run --job-name curate --job-run-ids jr_1" in capsys.readouterr().err


def test_refusal_is_one_line(glue: Stubber, capsys: pytest.CaptureFixture) -> None:
    glue.add_client_error("start_job_run", "ConcurrentRunsExceededException", "Concurrent runs exceeded for curate")
    assert start_job_run.main(ARGV) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and line.endswith("Concurrent runs exceeded for curate")


def test_without_credentials_it_names_the_local_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def refuse(service: str) -> None:
        raise NoCredentialsError

    monkeypatch.setattr(start_job_run.boto3, "client", refuse)
    assert start_job_run.main(ARGV) == 1
    assert "ENV=local" in capsys.readouterr().err


@pytest.mark.parametrize("days", [("2026-11-24", "2026-11-23"), ("yesterday", "2026-11-23")])
def test_odd_days_are_refused_before_anything_starts(glue: Stubber, days: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as ended:
        start_job_run.main(["--job", "curate", "--from-date", days[0], "--to-date", days[1]])
    assert ended.value.code == 2
