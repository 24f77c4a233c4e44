"""A new question: its two files are all that it takes, from the statement to the report and the docs."""

import json
import re
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from insight_samples import PARAMETERS

from insights import all_questions, run_all
from insights.question import SQL_FOLDER, QuestionError
from insights.report import render
from insights.tables import questions_table, text_table

SQL = """\
select
  brand,
  avg(price) as average_price,
  count(*) as purchases
from curated_events
where
  event_at >= cast(${from_date} as date)
  and event_at < cast(${to_date} as date) + interval '1' day
  and price >= ${min_price}
group by brand
order by average_price desc
"""
DESCRIPTION = """\
title: Prices
question: How expensive is each brand?
grain: one row per brand
notes: Only what was bought counts.
parameters:
  from_date: {type: date, meaning: first day}
  to_date: {type: date, meaning: last day}
  min_price: {type: integer, default: 5, meaning: lowest price that counts}
columns:
  brand: {unit: text, meaning: the brand}
  average_price: {unit: money, meaning: average price}
  purchases: {unit: count, meaning: products bought, label: Sold}
"""
BARS = """\
chart:
  kind: bars
  name: "{{ brand }}"
  name_title: Brand
  length: average_price
  label: "{{ average_price | money }}"
  tooltip: [brand, average_price, purchases]
  finding: "{{ rows[0].brand | sentence_case }} costs {{ rows[0].average_price | money }} on average."
"""
GROUPS = """\
chart: {kind: grouped_bars, x: brand, measures: [purchases], finding: "{{ rows | length | count('brand') }}."}
"""
GRID = """\
chart: {kind: grid, x: brand, y: brand, shade: purchases, finding: "{{ rows | length | count('brand') }}."}
"""
COLUMNS = ("brand", "average_price", "purchases")
ROWS = [("sony", Decimal("1234.50"), 2), (None, Decimal("3.00"), 1000)]


class OneAnswer:
    """An engine that answers the toy question and knows no other."""

    def query(self, sql: str, values: Any) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        assert list(values) == ["2019-10-01", "2019-10-02", 5]
        return COLUMNS, list(ROWS)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the toy question, from which all questions are read."""
    (tmp_path / "prices.sql").write_text(SQL)
    monkeypatch.setattr("insights.answer.all_questions", lambda: all_questions(tmp_path))
    return tmp_path


def report_of(folder: Path, chart: str) -> tuple[str, dict[str, Any]]:
    """Return the page and its charts."""
    (folder / "prices.yaml").write_text(DESCRIPTION + chart)
    html = render(run_all(OneAnswer(), PARAMETERS))
    found = re.search(r'id="charts">(.*?)</script>', html, re.DOTALL)
    assert found
    return html, json.loads(found[1])


def test_without_a_chart_it_has_its_table(folder: Path) -> None:
    html, charts = report_of(folder, "")

    assert charts == {}
    assert "How expensive is each brand?" in html and "1,234.50" in html and ">Sold</th>" in html
    assert "Only what was bought counts." in html


@pytest.mark.parametrize(
    ("chart", "finding"), [(BARS, "Sony costs 1,234.50 on average."), (GROUPS, "2 brands."), (GRID, "2 brands.")]
)
def test_with_a_chart_it_has_a_drawing_and_a_sentence(folder: Path, chart: str, finding: str) -> None:
    html, charts = report_of(folder, chart)

    assert list(charts) == ["prices"]
    assert f'<p class="finding">{finding}</p>' in html and 'id="chart-prices"' in html


def test_it_has_a_text_table_and_is_in_the_docs(folder: Path) -> None:
    (folder / "prices.yaml").write_text(DESCRIPTION)
    [answer] = run_all(OneAnswer(), PARAMETERS)

    *_, row, more = text_table(answer, 1).splitlines()
    assert row.split() == ["sony", "1,234.50", "2"] and more == "… 1 more row"
    assert "[Prices](../sql/insights/prices.yaml)" in questions_table(folder)
    assert "`from_date`, `to_date`, `min_price` (default 5)" in questions_table(folder)


def test_a_sentence_that_does_not_fit_the_rows_is_named(folder: Path) -> None:
    with pytest.raises(QuestionError, match=r"prices\.yaml: chart\.finding: .*'dict object' has no attribute 'price'"):
        report_of(folder, GROUPS.replace("rows | length | count('brand')", "rows[0].price"))


def test_it_comes_beside_the_questions_that_are_there(tmp_path: Path) -> None:
    folder = tmp_path / "insights"
    shutil.copytree(SQL_FOLDER, folder)
    (folder / "prices.sql").write_text(SQL)
    (folder / "prices.yaml").write_text(DESCRIPTION + BARS)

    names = {question.name for question in all_questions(folder)}

    assert names == {question.name for question in all_questions()} | {"prices"}
