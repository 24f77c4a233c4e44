"""The command `etl` starts the job with the script's arguments, waits for its end, and fails if the job fails."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import NoCredentialsError
from botocore.stub import ANY, Stubber

from glue_etl import job_run
from local_cloud import steps
from shopstream import app, environment

ARGV = ["etl", "--env", "dev", "--from-date", "2026-11-23", "--to-date", "2026-11-24", "--run-id", "r1"]


@pytest.fixture
def glue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """Return Glue in an account in which the platform is deployed. No time passes between two looks at a run."""
    monkeypatch.setattr(job_run, "POLL_S", 0.0)
    client = boto3.client("glue", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    monkeypatch.setattr(environment, "check_aws", lambda name: None)
    monkeypatch.setattr(environment.Aws, "outputs", {"curate_job_name": "curate", "region": "us-east-1"})
    monkeypatch.setattr(environment.Aws, "client", lambda self, service: {"glue": client}[service])
    with Stubber(client) as stub:
        yield stub


def expect(glue: Stubber, *runs: dict[str, Any], days: tuple[str, str] = ("2026-11-23", "2026-11-24")) -> None:
    """Expect that the job is started with the script's arguments, then show these states."""
    arguments = {"--from_date": days[0], "--to_date": days[1], "--run_id": "r1"}
    glue.add_response("start_job_run", {"JobRunId": "jr_1"}, {"JobName": "curate", "Arguments": arguments})
    for run in runs:
        glue.add_response("get_job_run", {"JobRun": run}, {"JobName": "curate", "RunId": "jr_1"})


def test_looks_at_the_run_every_10_s(glue: Stubber, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    states = ("STARTING", "RUNNING", "RUNNING", "SUCCEEDED")
    for state in states:
        glue.add_response("get_job_run", {"JobRun": {"JobRunState": state}}, {"JobName": "curate", "RunId": "jr_1"})
    naps: list[float] = []
    lines: list[str] = []
    ended = job_run.wait(glue.client, "curate", "jr_1", lines.append, naps.append)
    assert (ended["JobRunState"], naps) == ("SUCCEEDED", [10.0] * 3)
    assert lines == [f"curate: {state} after 0 s" for state in ("STARTING", "RUNNING", "SUCCEEDED")]


def test_follows_the_run_to_its_end(glue: Stubber, capsys: pytest.CaptureFixture) -> None:
    running = {"JobRunState": "RUNNING", "ExecutionTime": 0}
    expect(glue, {"JobRunState": "STARTING"}, running, running, {"JobRunState": "SUCCEEDED", "ExecutionTime": 61})
    assert app.run(ARGV) == 0
    glue.assert_no_pending_responses()
    out, err = capsys.readouterr()
    assert json.loads(out) == {"job_run_id": "jr_1", "run_id": "r1", "state": "SUCCEEDED", "seconds": 61}
    assert err.splitlines() == [
        "curate: started jr_1 for 2026-11-23 to 2026-11-24",
        "curate: STARTING after 0 s",
        "curate: RUNNING after 0 s",
        "curate: SUCCEEDED after 61 s",
    ]


def test_takes_today_and_the_time_unless_told_otherwise(glue: Stubber, capsys: pytest.CaptureFixture) -> None:
    before = datetime.now(UTC)
    glue.add_response("start_job_run", {"JobRunId": "jr_1"}, {"JobName": "curate", "Arguments": ANY})
    glue.add_response("get_job_run", {"JobRun": {"JobRunState": "SUCCEEDED"}})
    assert app.run(["etl", "--env", "dev"]) == 0
    out, err = capsys.readouterr()
    started_at = datetime.strptime(json.loads(out)["run_id"], "%Y-%m-%dT%H-%M-%SZ").replace(tzinfo=UTC)
    assert before.replace(microsecond=0) <= started_at <= datetime.now(UTC)
    assert f"started jr_1 for {started_at.date()} to {started_at.date()}" in err


@pytest.mark.parametrize("state", [state for state in job_run.ENDED if state != "SUCCEEDED"])
def test_fails_with_the_jobs_own_message(glue: Stubber, capsys: pytest.CaptureFixture, state: str) -> None:
    expect(glue, {"JobRunState": state, "ErrorMessage": "counts do not add up"})
    assert app.run(ARGV) == 1
    out, err = capsys.readouterr()
    assert f"error: jr_1 {state}: counts do not add up" in err
    assert json.loads(out)["state"] == state


def test_says_that_the_job_goes_on_when_interrupted(
    glue: Stubber, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    expect(glue)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job_run, "wait", interrupt)
    assert app.run(ARGV) == 130
    assert "batch-stop-job-run --job-name curate --job-run-ids jr_1" in capsys.readouterr().err


def test_refusal_is_one_line(glue: Stubber, capsys: pytest.CaptureFixture) -> None:
    glue.add_client_error("start_job_run", "ConcurrentRunsExceededException", "Concurrent runs exceeded for curate")
    assert app.run(ARGV) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and line.endswith("Concurrent runs exceeded for curate")


def test_without_credentials_it_names_the_local_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise NoCredentialsError

    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setattr(environment.boto3, "client", refuse)
    assert app.run(ARGV) == 1
    assert "ENV=local" in capsys.readouterr().err


@pytest.mark.parametrize("days", [("2026-11-24", "2026-11-23"), ("yesterday", "2026-11-23")])
@pytest.mark.parametrize("env", ["dev", "local"])
def test_invalid_days_are_refused_before_anything_starts(glue: Stubber, days: tuple[str, str], env: str) -> None:
    assert app.run(["etl", "--env", env, "--from-date", days[0], "--to-date", days[1]]) == 2


class TestLocal:
    """With ENV=local, the job runs on the local stack."""

    @pytest.fixture(autouse=True)
    def stack(self, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
        stack = SimpleNamespace(outputs=dict)
        monkeypatch.setattr(environment.Stack, "load", lambda directory: stack)
        return stack

    def test_prints_the_counts(
        self, stack: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
    ) -> None:
        called: list[tuple] = []
        monkeypatch.setattr(steps, "wait_until_delivered", lambda *given: called.append(given))
        monkeypatch.setattr(steps, "curate", lambda *given: called.append(given) or {"raw_rows": 7})
        assert app.run(["etl", "--env", "local", "--from-date", "2026-11-23", "--to-date", "2026-11-24"]) == 0
        assert called == [(stack,), (stack, date(2026, 11, 23), date(2026, 11, 24))]
        assert json.loads(capsys.readouterr().out) == {"raw_rows": 7}

    def test_fails_in_one_line(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
        def time_out(stack: SimpleNamespace) -> None:
            raise TimeoutError("waited 60 s for Firehose")

        monkeypatch.setattr(steps, "wait_until_delivered", time_out)
        assert app.run(["etl", "--env", "local"]) == 1
        assert capsys.readouterr().err == "error: waited 60 s for Firehose\n"


def test_without_a_stack_it_says_how_to_start_one(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert app.run(["etl", "--env", "local", "--home", str(tmp_path)]) == 1
    assert "make up" in capsys.readouterr().err
