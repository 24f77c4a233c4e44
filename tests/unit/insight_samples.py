"""Rows for the tests of questions: any question can be answered, also one that the tests do not know."""

from datetime import date
from decimal import Decimal
from typing import Any

from insights import Answer, Question

PARAMETERS = {"from_date": date(2019, 10, 1), "to_date": date(2019, 10, 2), "top_n": 10}
_VALUES: dict[str, Any] = {
    "category": "electronics.smartphone",
    "day": date(2019, 10, 1),
    "money": Decimal("1.00"),
    "share": Decimal("0.2500"),
    "text": "x",
}


def sample_row(question: Question) -> tuple[Any, ...]:
    """Return one row of values that fit the units of the question's columns."""
    return tuple(_VALUES.get(column.unit, 1) for column in question.columns.values())


def sample_answer(question: Question, rows: list[tuple[Any, ...]] | None = None) -> Answer:
    """Return an answer with these rows, by default with one sample row."""
    return Answer(question, [sample_row(question)] if rows is None else rows, PARAMETERS, 0.5)
