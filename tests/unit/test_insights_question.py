"""Questions: how a file is read, how values are bound, and that every file of `sql/insights` keeps the rules."""

from datetime import date
from typing import Any

import pytest
import sqlfluff

from insights.question import PARAMETERS, SQL_FOLDER, Question, QuestionError, all_questions

TEXT = """\
-- title: Buyers
-- question: Who buys?
-- grain: one row per shopper
-- A shopper counts once,
-- and a bot never.
select user_id from curated_events
where day >= ${from_date} and day <= ${to_date} and ${from_date} is not null
"""
QUESTIONS = {question.name: question for question in all_questions()}


def test_a_file_is_headers_notes_and_a_statement() -> None:
    question = Question.parse("buyers", TEXT)

    assert (question.title, question.question, question.grain) == ("Buyers", "Who buys?", "one row per shopper")
    assert question.notes == "A shopper counts once, and a bot never."
    assert question.sql.startswith("select user_id") and question.sql.endswith("is not null")


def test_values_are_bound_in_the_order_of_their_placeholders() -> None:
    sql, values = Question.parse("buyers", TEXT).bind(
        {"top_n": 3, "to_date": date(2019, 10, 31), "from_date": date(2019, 10, 1)}
    )

    assert sql.endswith("where day >= ? and day <= ? and ? is not null")
    assert values == ["2019-10-01", "2019-10-31", "2019-10-01"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEXT.replace("-- grain: one row per shopper\n", ""), "no line `-- grain: …`"),
        (TEXT.replace("${to_date}", "${until}"), r"unknown placeholder \$\{until\}; known: from_date, to_date, top_n"),
        (TEXT.replace("never.", "never: ${top_n}."), "placeholder in a comment"),
        (TEXT.replace("where", "where -- from ${from_date}\n"), "placeholder in a comment"),
        (TEXT + "; drop table curated_events", "a file holds exactly one statement"),
        ("\n".join(TEXT.splitlines()[:5]), "a file holds exactly one statement"),
        ("", "no line `-- title: …`"),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(QuestionError, match=f"buyers: {message}"):
        Question.parse("buyers", text)


def test_a_missing_value_is_named() -> None:
    with pytest.raises(QuestionError, match="no value for to_date; given: from_date"):
        Question.parse("buyers", TEXT).bind({"from_date": date(2019, 10, 1)})


def test_every_file_is_a_question_and_all_that_the_shop_asks_are_there() -> None:
    assert list(QUESTIONS) == sorted(path.stem for path in SQL_FOLDER.iterdir())
    assert set(QUESTIONS) >= {
        "unique_visitors_per_day",
        "carts_not_bought",
        "top_categories_per_hour",
        "top_categories_per_weekday",
        "brands_needing_marketing",
    }


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_the_statement_parses_and_is_one_select(question: Question) -> None:
    statements = list(_find(_parse(question), "statement"))

    assert len(statements) == 1
    assert list(_find(statements[0], "select_statement"))


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_placeholders_stand_in_where_only(question: Question) -> None:
    """Athena takes parameters nowhere else: "Considerations and limitations" of its parameterized queries."""
    tree = _parse(question)

    everywhere = _placeholders(tree)
    in_where = [name for clause in _find(tree, "where_clause") for name in _placeholders(clause)]

    assert everywhere == in_where
    # Both ends of the range: without them the engine reads every day of the table.
    assert set(everywhere) >= {"from_date", "to_date"}


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_the_order_of_rows_is_stated(question: Question) -> None:
    top = next(_find(_parse(question), "with_compound_statement"))
    final = [part["select_statement"] for part in top if "select_statement" in part][-1]

    assert any("orderby_clause" in part for part in final)


def _parse(question: Question) -> Any:
    """sqlfluff's tree of the statement, each placeholder a string that holds its name."""
    sql = question.sql
    for name in PARAMETERS:
        sql = sql.replace(f"${{{name}}}", f"'placeholder {name}'")
    return sqlfluff.parse(sql + "\n", dialect="trino")


def _find(tree: Any, kind: str) -> Any:
    """Outermost parts of this kind, in order."""
    if isinstance(tree, list):
        for part in tree:
            yield from _find(part, kind)
    elif isinstance(tree, dict):
        for name, part in tree.items():
            if name == kind:
                yield part
            else:
                yield from _find(part, kind)


def _placeholders(tree: Any) -> list[str]:
    literals = _find(tree, "quoted_literal")
    return [text.strip("'").removeprefix("placeholder ") for text in literals if text.startswith("'placeholder ")]
