"""The command `shopstream insights`: what it asks, prints, writes and returns, with an engine of fixed answers."""

import csv
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from insight_samples import sample_row

from insights import all_questions
from insights.engines import Athena, EngineError, Trino
from local_cloud.stack import Stack
from shopstream.app import run
from shopstream.commands import insights as command
from shopstream.environment import Aws, Local

QUESTIONS = {question.name: question for question in all_questions()}


class FixedEngine:
    """Answers every question with one row and keeps what it was asked; its table spans three days."""

    def __init__(self, last_date: date | None = date(2019, 10, 3)) -> None:
        self.asked: dict[str, list[str | int]] = {}
        self._first_date = last_date and date(2019, 10, 1)
        self._last_date = last_date

    def query(self, sql: str, values: Sequence[str | int]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        if not values:
            return ("from_date", "to_date"), [(self._first_date, self._last_date)]
        some = {"from_date": date(2019, 10, 1), "to_date": date(2019, 10, 1)}
        [question] = [question for question in QUESTIONS.values() if question.bind(some)[0] == sql]
        self.asked[question.name] = list(values)
        return tuple(question.columns), [sample_row(question)]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FixedEngine:
    fixed = FixedEngine()
    use(monkeypatch, fixed)
    return fixed


def use(monkeypatch: pytest.MonkeyPatch, engine: FixedEngine) -> None:
    """Make the command ask this engine."""
    monkeypatch.setattr(command, "open_environment", lambda env, home: SimpleNamespace(engine=lambda: engine))


def ask(home: Path, *arguments: str) -> int:
    return run(["insights", "--env", "local", "--home", str(home), *arguments])


def test_without_dates_the_whole_table_is_asked(engine: FixedEngine, tmp_path: Path) -> None:
    assert ask(tmp_path) == 0

    assert set(engine.asked) == set(QUESTIONS)
    assert all(values[:2] == ["2019-10-01", "2019-10-03"] for values in engine.asked.values())
    assert engine.asked["carts_not_bought"] == ["2019-10-01", "2019-10-03", 10]


def test_dates_and_count_given_are_asked(engine: FixedEngine, tmp_path: Path) -> None:
    assert ask(tmp_path, "--from-date", "2019-10-02", "--top-n", "3") == 0

    assert engine.asked["carts_not_bought"] == ["2019-10-02", "2019-10-03", 3]


def test_answers_go_to_stdout_and_progress_to_stderr(
    engine: FixedEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(tmp_path, "--json")

    out, err = capsys.readouterr()
    answers = json.loads(out)
    assert answers["unique_visitors_per_day"] == [
        {"visit_date": "2019-10-01", "visitors": 1, "sessions": 1, "buyers": 1}
    ]
    assert set(answers) == set(QUESTIONS) and "carts_not_bought: 1 row" in err


def test_files_are_written(engine: FixedEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "new" / "index.html"

    ask(tmp_path, "--out", str(tmp_path / "answers"), "--report", str(report))

    with (tmp_path / "answers" / "unique_visitors_per_day.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["visit_date", "visitors", "sessions", "buyers"],
            ["2019-10-01", "1", "1", "1"],
        ]
    assert {path.name for path in (tmp_path / "answers").iterdir()} == {f"{name}.csv" for name in QUESTIONS}
    assert '<h2 id="carts_not_bought">' in report.read_text(encoding="utf-8")
    assert "Unique visitors per day\n" in capsys.readouterr().out


def test_without_a_folder_the_answers_go_below_home(engine: FixedEngine, tmp_path: Path) -> None:
    ask(tmp_path)

    assert {path.stem for path in (tmp_path / "insights").iterdir()} == set(QUESTIONS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from-date", "1.10.2019"], "'1.10.2019' is not a day; write it as 2019-10-01"),
        (["--top-n", "0"], "'--top-n': Input should be greater than or equal to 1"),
        (["--top-n", "ten"], "'--top-n'"),
        (["--from-date", "2019-10-04"], "2019-10-04 is after --to-date 2019-10-03"),
    ],
)
def test_wrong_arguments_end_with_2_and_a_sentence(
    engine: FixedEngine, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(tmp_path, *arguments) == 2
    assert message in capsys.readouterr().err
    assert engine.asked == {}


def test_an_environment_that_is_not_there_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["insights", "--env", "duckdb"]) == 2
    assert "ENV is 'duckdb', but there is no terraform/env/duckdb.tfvars" in capsys.readouterr().err


def test_without_a_local_stack_it_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(tmp_path) == 1
    assert capsys.readouterr().err == "error: no local stack: start one with 'make up'\n"


def test_an_engine_that_fails_ends_with_1_and_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Silent(FixedEngine):
        def query(self, sql: str, values: Sequence[str | int]) -> Any:
            raise EngineError("Trino does not answer.")

    use(monkeypatch, Silent())

    assert ask(tmp_path) == 1
    assert capsys.readouterr().err == "error: Trino does not answer.\n"


def test_an_empty_table_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, FixedEngine(last_date=None))

    assert ask(tmp_path) == 1
    assert "make etl" in capsys.readouterr().err


def test_ctrl_c_ends_with_130_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(FixedEngine):
        def query(self, sql: str, values: Sequence[str | int]) -> Any:
            raise KeyboardInterrupt

    use(monkeypatch, Interrupted())

    assert ask(tmp_path) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted"


def test_the_local_stack_is_asked_through_its_trino(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stack = Stack(tmp_path, {"trino": 4711})
    (tmp_path / "outputs.json").write_text(json.dumps({"database": "my_shop"}))
    monkeypatch.setattr(Stack, "load", lambda directory: stack)

    engine = Local(tmp_path).engine()

    assert isinstance(engine, Trino)
    assert engine._url == "http://127.0.0.1:4711" and engine._connection.schema == "my_shop"


def test_aws_is_asked_through_the_deployed_workgroup(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Aws("dev")
    environment.__dict__ |= {"outputs": {"database": "my_shop", "workgroup_name": "analysts", "region": "eu-west-1"}}

    engine = environment.engine()

    assert isinstance(engine, Athena) and isinstance(engine._session, boto3.Session)
    assert (engine._workgroup, engine._database) == ("analysts", "my_shop")
    assert engine._session.region_name == "eu-west-1"
