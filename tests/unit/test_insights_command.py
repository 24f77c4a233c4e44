"""The command line: what it asks, prints, writes and returns, with an engine of fixed answers."""

import csv
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from insights import __main__ as command
from insights.engines import EngineError


class FixedEngine:
    """Answers every question with one row and keeps what it was asked; its table spans three days."""

    def __init__(self, last_date: date | None = date(2019, 10, 3)) -> None:
        self.asked: list[list[str | int]] = []
        self._first_date = last_date and date(2019, 10, 1)
        self._last_date = last_date

    def query(self, sql: str, values: Sequence[str | int]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        if not values:
            return ("from_date", "to_date"), [(self._first_date, self._last_date)]
        self.asked.append(list(values))
        # The columns of the final select, whatever the question.
        names = sql.rpartition("\nselect\n")[2].partition("\nfrom ")[0].replace(",\n", "\n").split("\n")
        columns = tuple(name.rpartition(" ")[2].strip() for name in names)
        row = tuple("x" if name in ("brand", "category_code") else self._value(name) for name in columns)
        return columns, [row]

    def _value(self, name: str) -> Any:
        return date(2019, 10, 1) if name == "visit_date" else 1


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FixedEngine:
    fixed = FixedEngine()
    monkeypatch.setattr(command, "from_environment", lambda name, database: fixed)
    return fixed


def test_without_dates_the_whole_table_is_asked(engine: FixedEngine) -> None:
    assert command.main(["--engine", "trino"]) == 0

    assert len(engine.asked) == 5
    assert all(values[:2] == ["2019-10-01", "2019-10-03"] for values in engine.asked)


def test_dates_and_count_given_are_asked(engine: FixedEngine) -> None:
    assert command.main(["--engine", "athena", "--from-date", "2019-10-02", "--top-n", "3"]) == 0

    assert ["2019-10-02", "2019-10-03", 3] in engine.asked


def test_answers_go_to_stdout_and_progress_to_stderr(engine: FixedEngine, capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["--engine", "trino", "--json"])

    out, err = capsys.readouterr()
    answers = json.loads(out)
    assert answers["unique_visitors_per_day"] == [
        {"visit_date": "2019-10-01", "visitors": 1, "sessions": 1, "buyers": 1}
    ]
    assert len(answers) == 5 and "carts_not_bought: 1 row" in err


def test_files_are_written(engine: FixedEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "new" / "index.html"

    command.main(["--engine", "trino", "--out", str(tmp_path / "answers"), "--report", str(report)])

    with (tmp_path / "answers" / "unique_visitors_per_day.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["visit_date", "visitors", "sessions", "buyers"],
            ["2019-10-01", "1", "1", "1"],
        ]
    assert len(list((tmp_path / "answers").iterdir())) == 5
    assert '<h2 id="carts_not_bought">' in report.read_text(encoding="utf-8")
    assert "Unique visitors per day\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--engine", "duckdb"], "invalid choice: 'duckdb'"),
        (["--engine", "trino", "--from-date", "1.10.2019"], "'1.10.2019' is not a day; write it as 2019-10-01"),
        (["--engine", "trino", "--top-n", "0"], "'0' is not a count"),
        (["--engine", "trino", "--from-date", "2019-10-04"], "2019-10-04 is after --to-date 2019-10-03"),
    ],
)
def test_wrong_arguments_end_with_2_and_a_sentence(
    engine: FixedEngine, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        command.main(arguments)

    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_an_engine_that_fails_ends_with_1_and_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(name: str, database: str) -> None:
        raise EngineError("TRINO_URL is not set.")

    monkeypatch.setattr(command, "from_environment", fail)

    assert command.main(["--engine", "trino"]) == 1
    assert capsys.readouterr().err == "error: TRINO_URL is not set.\n"


def test_an_empty_table_ends_with_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "from_environment", lambda name, database: FixedEngine(last_date=None))

    assert command.main(["--engine", "trino"]) == 1
    assert "make etl" in capsys.readouterr().err
