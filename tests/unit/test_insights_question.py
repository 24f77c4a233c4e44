"""Questions: how the two files are read, how values are bound, and that every question keeps the rules."""

import importlib.util
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlfluff
from insight_samples import PARAMETERS, sample_row

from insights.answer import run_all
from insights.question import SQL_FOLDER, Question, QuestionError, all_questions, in_reading_order

SQL = """\
-- Bots never count.
select user_id, 1 as buys from curated_events
where day >= ${from_date} and day <= ${to_date} and ${from_date} is not null and buys <= ${top_n}
"""
DESCRIPTION = """\
title: Buyers
question: Who buys?
grain: one row per shopper
notes: A shopper counts once.
parameters:
  from_date: {type: date, meaning: first day}
  to_date: {type: date, meaning: last day}
  top_n: {type: integer, default: 10, meaning: how many}
columns:
  user_id: {unit: id, meaning: the shopper}
  buys: {unit: count, meaning: how often}
chart:
  kind: bars
  name: "shopper {{ user_id }}"
  name_title: Shopper
  length: buys
  label: "{{ buys | count }}"
  tooltip: [buys]
  finding: "{{ rows | length | count('shopper') }}."
"""
QUESTIONS = {question.name: question for question in all_questions()}
THE_SHOPS = {
    "unique_visitors_per_day",
    "carts_not_bought",
    "top_categories_per_hour",
    "top_categories_per_weekday",
    "brands_needing_marketing",
}


def parse(description: str = DESCRIPTION, sql: str = SQL) -> Question:
    return Question.parse("sql/insights/buyers", description, sql)


def test_a_question_is_a_description_and_a_statement() -> None:
    question = parse()

    assert (question.name, question.title, question.question) == ("buyers", "Buyers", "Who buys?")
    assert (question.grain, question.notes) == ("one row per shopper", "A shopper counts once.")
    assert list(question.columns) == ["user_id", "buys"]
    assert [question.label(name) for name in question.columns] == ["User id", "Buys"]
    assert question.sql.startswith("-- Bots never count.") and question.sql.endswith("buys <= ${top_n}")


def test_values_are_bound_in_the_order_of_their_placeholders() -> None:
    sql, values = parse().bind({"top_n": 3, "to_date": date(2019, 10, 31), "from_date": date(2019, 10, 1)})

    assert sql.endswith("where day >= ? and day <= ? and ? is not null and buys <= ?")
    assert values == ["2019-10-01", "2019-10-31", "2019-10-01", 3]


@pytest.mark.parametrize("top_n", [{}, {"top_n": None}])
def test_a_value_that_is_not_given_is_the_default(top_n: dict[str, None]) -> None:
    _, values = parse().bind({"from_date": date(2019, 10, 1), "to_date": date(2019, 10, 31)} | top_n)

    assert values[-1] == 10


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (SQL.replace("${to_date}", "${until}"), r"unknown placeholder \$\{until\}; .*: from_date, to_date, top_n"),
        (SQL.replace("never count", "never: ${top_n}"), "placeholder in a comment"),
        (SQL.replace("where", "where -- from ${from_date}\n"), "placeholder in a comment"),
        (SQL + "; drop table curated_events", "a file holds exactly one statement"),
        (SQL.splitlines()[0], "a file holds exactly one statement"),
        ("", "a file holds exactly one statement"),
    ],
)
def test_a_wrong_statement_is_refused_with_its_file(sql: str, message: str) -> None:
    with pytest.raises(QuestionError, match=rf"^sql/insights/buyers\.sql: {message}"):
        parse(sql=sql)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("grain: one row per shopper\n", "", "grain: Field required"),
        ("title: Buyers", "title: ''", "title: String should have at least 1 character"),
        ("title: Buyers", "titel: Buyers\ntitle: Buyers", "titel: Extra inputs are not permitted"),
        ("title: Buyers", "name: other\ntitle: Buyers", "name: Extra inputs are not permitted"),
        ("title: Buyers", "title: [", "this is not YAML"),
        (DESCRIPTION, "Buyers", "the file must hold fields"),
        (
            "unit: count",
            "unit: pieces",
            r"columns\.buys\.unit: 'pieces' is not a unit; use one of category, count, .*day",
        ),
        ("unit: count, meaning: how often", "unit: count", r"columns\.buys\.meaning: Field required"),
        ("buys: {", "Buys: {", r"columns\.Buys.*: String should match pattern"),
        ("type: integer", "type: number", r"parameters\.top_n\.type: Input should be 'date', 'integer' or 'text'"),
        ("default: 10, ", "", r"parameters\.top_n\.default: missing; only from_date and to_date are always given"),
        ("default: 10", "default: ten", r"parameters\.top_n\.default: 'ten' is not of type integer"),
        (
            "columns:",
            "  more: {type: integer, default: 1, meaning: x}\ncolumns:",
            r"parameters\.more: .* no \$\{more\}",
        ),
        ("kind: bars", "kind: pie", r"chart: .*'pie'.*'bars', 'grouped_bars', 'grid'"),
        ("length: buys", "length: sells", r"chart\.length: no column sells; columns: user_id, buys"),
        ("length: buys", "length: user_id", "chart: column user_id must be a number, but its unit is id"),
        ("tooltip: [buys]", "tooltip: [sells]", r"chart\.tooltip: no column sells"),
        ("tooltip: [buys]", "line: {column: sells, note: x}", r"chart\.line\.column: no column sells"),
        ("  name_title: Shopper\n", "", r"chart\.name_title: Field required"),
        ("{{ user_id }}", "{{ product_id }}", r"chart\.name: unknown product_id; known: user_id, buys"),
        ("{{ user_id }}", "{{ user_id", r"chart\.name: unexpected end"),
        (
            "{{ buys | count }}",
            "{{ buys | roman }}",
            r"chart\.label: No filter named 'roman'.*filters.*: category, count",
        ),
        ("rows | length", "row | length", r"chart\.finding: unknown row; known: rows"),
    ],
)
def test_a_wrong_description_is_refused_with_its_file_and_field(old: str, new: str, message: str) -> None:
    assert old in DESCRIPTION
    with pytest.raises(QuestionError, match=rf"^sql/insights/buyers\.yaml: {message}"):
        parse(DESCRIPTION.replace(old, new))


def test_measures_on_one_axis_need_one_unit() -> None:
    chart = "chart: {kind: grouped_bars, x: user_id, measures: [buys, value], finding: x}"
    columns = "columns:\n  value: {unit: money, meaning: x}"
    description = DESCRIPTION.partition("chart:")[0].replace("columns:", columns) + chart

    with pytest.raises(QuestionError, match=r"chart\.measures: all need the same unit; found count, money"):
        parse(description)


def test_all_faults_of_a_file_are_told_at_once() -> None:
    with pytest.raises(QuestionError) as error:
        parse(DESCRIPTION.replace("title: Buyers\n", "").replace("grain: one row per shopper\n", ""))

    assert str(error.value).splitlines() == [
        "sql/insights/buyers.yaml: title: Field required",
        "sql/insights/buyers.yaml: grain: Field required",
    ]


def test_a_name_that_athena_cannot_take_is_refused() -> None:
    with pytest.raises(QuestionError, match="top-buyers: a question's name consists of a-z, 0-9 and _"):
        Question.parse("sql/insights/top-buyers", DESCRIPTION, SQL)


@pytest.mark.parametrize("ending", ["sql", "yaml"])
def test_a_file_without_its_other_is_named(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"buyers.{ending}").write_text({"sql": SQL, "yaml": DESCRIPTION}[ending])
    other = {"sql": "yaml", "yaml": "sql"}[ending]

    with pytest.raises(QuestionError, match=rf"buyers\.{other} is missing: a question is a \.sql and a \.yaml file"):
        all_questions(tmp_path)


def test_a_missing_value_is_named() -> None:
    with pytest.raises(QuestionError, match="no value for to_date; given: from_date"):
        parse().bind({"from_date": date(2019, 10, 1)})


def test_a_value_of_another_type_is_refused() -> None:
    with pytest.raises(QuestionError, match="buyers: top_n is 'ten'; it must be of type integer"):
        parse().bind({"from_date": date(2019, 10, 1), "to_date": date(2019, 10, 1), "top_n": "ten"})


def test_columns_other_than_described_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class OtherColumns:
        def query(self, sql: str, values: Any) -> Any:
            return ("buys", "user_id"), []

    monkeypatch.setattr("insights.answer.all_questions", lambda: [parse()])

    with pytest.raises(
        QuestionError, match=r"buyers\.yaml: columns: the SQL returns buys, user_id, but .* user_id, buys"
    ):
        run_all(OtherColumns(), PARAMETERS)


def test_every_file_belongs_to_a_question_and_all_that_the_shop_asks_are_there() -> None:
    files = sorted(path.name for path in SQL_FOLDER.iterdir())

    assert files == [f"{name}.{ending}" for name in QUESTIONS for ending in ("sql", "yaml")]
    assert set(QUESTIONS) >= THE_SHOPS


def test_each_question_of_the_shop_has_an_independent_computation() -> None:
    path = Path(__file__).parents[1] / "e2e" / "insight_reference.py"
    spec = importlib.util.spec_from_file_location("insight_reference", path)
    assert spec and spec.loader
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)

    assert set(reference.REFERENCES) == THE_SHOPS


def test_the_report_shows_questions_by_position_and_those_without_one_last() -> None:
    first, second = (parse(f"position: {number}\n{DESCRIPTION}") for number in (1, 2))
    last = parse()

    assert in_reading_order([last, second, first]) == [first, second, last]


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_the_columns_are_those_of_the_statement_in_order(question: Question) -> None:
    elements = list(_find(_final_select(question), "select_clause_element"))

    assert [_last_name(element) for element in elements] == list(question.columns)
    assert len(sample_row(question)) == len(elements)


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
    assert list(_find(_final_select(question), "orderby_clause"))


def _final_select(question: Question) -> Any:
    """Return the select whose rows are the answer: the last one after `with`, or the only one."""
    tree = _parse(question)
    with_clauses = next(_find(tree, "with_compound_statement"), tree)
    *_, final = _find(
        [part for part in _parts(with_clauses) if "common_table_expression" not in part], "select_statement"
    )
    # Without the selects within it, whose order does not matter.
    return [part for part in _parts(final) if "from_clause" not in part]


def _parts(tree: Any) -> list[dict[str, Any]]:
    return tree if isinstance(tree, list) else [{name: part} for name, part in tree.items()]


def _parse(question: Question) -> Any:
    """Return sqlfluff's tree of the statement, each placeholder as a string that holds its name."""
    sql = question.sql
    for name in question.parameters:
        sql = sql.replace(f"${{{name}}}", f"'placeholder {name}'")
    return sqlfluff.parse(sql + "\n", dialect="trino")


def _find(tree: Any, kind: str) -> Any:
    """Yield the outermost parts of this kind, in order."""
    if isinstance(tree, list):
        for part in tree:
            yield from _find(part, kind)
    elif isinstance(tree, dict):
        for name, part in tree.items():
            if name == kind:
                yield part
            else:
                yield from _find(part, kind)


def _last_name(tree: Any) -> str:
    """Return the last name in a column of a select: its alias, or the column itself."""
    return list(_find(tree, "naked_identifier"))[-1]


def _placeholders(tree: Any) -> list[str]:
    literals = _find(tree, "quoted_literal")
    return [text.strip("'").removeprefix("placeholder ") for text in literals if text.startswith("'placeholder ")]
