"""Answers to the shop's questions, the same whichever engine gave them."""

import csv
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from insights.engines import Engine, Row
from insights.question import Question, QuestionError, all_questions

# Written in the SQL that both engines know.
_TABLE_DATES = (
    "select cast(min(event_at) as date) as from_date, cast(max(event_at) as date) as to_date from curated_events"
)


class EmptyTableError(LookupError):
    """The table holds no event, so there is nothing to ask."""


@dataclass(frozen=True)
class Answer:
    """One question's answer. Values are int, Decimal, str, date or None, in the order of the question's columns."""

    question: Question
    rows: list[Row]
    parameters: Mapping[str, Any]
    seconds: float

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self.question.columns)

    def records(self) -> list[dict[str, Any]]:
        """Return the rows as JSON-ready dicts: dates as ISO strings, decimals as numbers."""
        return [dict(zip(self.columns, map(_json_value, row), strict=True)) for row in self.rows]

    def write_csv(self, path: Path) -> None:
        """Write the rows as one CSV file: decimals to their last digit, null as an empty field."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self.columns)
            writer.writerows(self.rows)


def run_all(
    engine: Engine,
    parameters: Mapping[str, Any],
    report_progress: Callable[[str], None] = lambda line: None,
) -> list[Answer]:
    """Return one answer for each question of `sql/insights`, by name.

    `parameters`: from_date, to_date (dates, both included) and, if it is not to be each question's default, top_n.
    Raise QuestionError if a statement does not return the columns that its description names.
    """
    answers = []
    for question in all_questions():
        sql, values = question.bind(parameters)
        started_s = time.monotonic()
        columns, rows = engine.query(sql, values)
        seconds = time.monotonic() - started_s
        if list(columns) != list(question.columns):
            raise QuestionError(
                f"{question.name}.yaml: columns: the SQL returns {', '.join(columns)}, but the file describes "
                f"{', '.join(question.columns)}; describe the same columns in the same order."
            )
        answers.append(Answer(question, rows, dict(parameters), seconds))
        report_progress(f"{question.name}: {len(rows)} row{'' if len(rows) == 1 else 's'} in {seconds:.1f} s")
    return answers


def table_dates(engine: Engine) -> tuple[date, date]:
    """Return the first and the last day (UTC) that curated_events holds. Raise EmptyTableError if it is empty."""
    _, rows = engine.query(_TABLE_DATES, [])
    from_date, to_date = rows[0]
    if from_date is None:
        raise EmptyTableError("curated_events holds no event; run the ETL first (`make etl`).")
    return from_date, to_date


def _json_value(value: Any) -> Any:
    match value:
        case Decimal():
            return float(value)
        case date():
            return value.isoformat()
        case _:
            return value
