"""Answers: the questions of sql/insights."""

import json
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shopstream.app import app
from shopstream.environment import DEFAULT_HOME, Env, Home, open_environment
from shopstream.failure import Failure
from shopstream.parsers import DAY

if TYPE_CHECKING:
    from insights import Answer

FIRST_ROWS = 10


@app.command(rich_help_panel="Answers")
def insights(
    env: Env = "dev",
    home: Home = DEFAULT_HOME,
    from_date: Annotated[
        date | None, typer.Option(help="first day of the events, UTC (default: the table's first)", **DAY)
    ] = None,
    to_date: Annotated[date | None, typer.Option(help="last day, included (default: the table's last)", **DAY)] = None,
    top_n: Annotated[
        int | None, typer.Option(min=1, help="length of ranked answers (default: each question's own)")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="folder of the answers as CSV files (default: HOME/insights)")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write the answers as one HTML page with charts")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document with all rows")] = False,
) -> None:
    """Answer every question of sql/insights: on Athena, or on the local stack's Trino with ENV=local."""
    from insights.answer import EmptyTableError, run_all, table_dates
    from insights.engines import EngineError
    from insights.question import QuestionError
    from insights.report import render

    try:
        engine = open_environment(env, home).engine()
        if from_date is None or to_date is None:
            first_date, last_date = table_dates(engine)
            from_date, to_date = from_date or first_date, to_date or last_date
        if from_date > to_date:
            raise typer.BadParameter(f"--from-date {from_date} is after --to-date {to_date}; both days are included.")
        _progress(f"asking about {from_date} to {to_date} (UTC)")
        answers = run_all(engine, {"from_date": from_date, "to_date": to_date, "top_n": top_n}, _progress)
        page = render(answers) if report else ""
    except (EngineError, EmptyTableError, QuestionError) as error:
        raise Failure(error) from error
    print(_as_json(answers) if as_json else _as_text(answers))
    folder = out or home / "insights"
    folder.mkdir(parents=True, exist_ok=True)
    for answer in answers:
        answer.write_csv(folder / f"{answer.question.name}.csv")
    _progress(f"answers as CSV in {folder}")
    if report:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(page, encoding="utf-8")
        _progress(f"report: {report}")


def _as_json(answers: "Sequence[Answer]") -> str:
    return json.dumps({answer.question.name: answer.records() for answer in answers}, indent=2)


def _as_text(answers: "Sequence[Answer]") -> str:
    from insights.tables import text_table

    return "\n".join(
        f"{answer.question.title}\n{answer.question.question}\n\n{text_table(answer, FIRST_ROWS)}\n"
        for answer in answers
    )


def _progress(line: str) -> None:
    print(line, file=sys.stderr)
