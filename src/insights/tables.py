"""Tables as text: the first rows of an answer, and the list of all questions for the docs."""

from pathlib import Path
from typing import Any

from tabulate import tabulate

from insights.answer import Answer
from insights.formats import count, plain
from insights.question import SQL_FOLDER, Question, all_questions, in_reading_order
from insights.schema import Column


def cell(column: Column, value: Any) -> str:
    """Return a value as the tables show it."""
    return plain(None) if value is None else column.format.text(value)


def text_table(answer: Answer, limit: int) -> str:
    """Return the first rows as aligned text, with a last line that says how many more there are."""
    columns = answer.question.columns
    lines = tabulate(
        [
            [cell(column, value) for column, value in zip(columns.values(), row, strict=True)]
            for row in answer.rows[:limit]
        ],
        headers=[answer.question.label(name) for name in columns],
        colalign=["right" if column.format.is_number else "left" for column in columns.values()],
        disable_numparse=True,
    ).splitlines()
    if len(answer.rows) > limit:
        lines.append(f"… {count(len(answer.rows) - limit, 'more row')}")
    if not answer.rows:
        lines.append("(nothing in this range fits the question)")
    return "\n".join(line.rstrip() for line in lines)


def questions_table(folder: Path = SQL_FOLDER) -> str:
    """Return the questions of a folder as a Markdown table, in the order of the report: for docs/questions.md."""
    rows = [
        [_link(question), question.question, question.grain, _parameters(question)]
        for question in in_reading_order(all_questions(folder))
    ]
    headers = ["Title", "Question", "Grain", "Parameters"]
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def _link(question: Question) -> str:
    return f"[{question.title}](../sql/insights/{question.name}.yaml)"


def _parameters(question: Question) -> str:
    return ", ".join(
        f"`{name}`" + ("" if parameter.default is None else f" (default {parameter.default})")
        for name, parameter in question.parameters.items()
    )
