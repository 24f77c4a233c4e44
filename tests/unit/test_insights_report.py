"""The report: everything in one page that loads nothing, and text from outside stays text."""

import json
import re
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest
from insight_samples import sample_answer

from insights import Answer, Question, all_questions
from insights.drawing import draw
from insights.question import in_reading_order
from insights.report import render
from insights.tables import questions_table, text_table

QUESTIONS = {question.name: question for question in all_questions()}
# The order of the report.
DRAWN = [
    "unique_visitors_per_day",
    "top_categories_per_hour",
    "top_categories_per_weekday",
    "carts_not_bought",
    "brands_needing_marketing",
]
HOSTILE = "</script><script>alert('x')</script><img src=http://evil.example/x.png>"
ROWS: dict[str, list[tuple[Any, ...]]] = {
    "brands_needing_marketing": [
        (1, HOSTILE, 23, 3, Decimal("0.1304"), Decimal("0.0263"), Decimal("45.1"), Decimal("2.39"))
    ],
    "carts_not_bought": [
        (1, 9_000_000_000_000_000_001, HOSTILE, None, 3, 1, 1, 1, Decimal("1234.50")),
        (2, 7, None, "sony", 1, 0, 0, 1, Decimal("0.00")),
    ],
    "top_categories_per_hour": [
        (0, 1, "electronics.smartphone", 12, 30, 1, Decimal("99.90")),
        (0, 2, HOSTILE, 3, 3, 0, Decimal("0.00")),
        (23, 1, "electronics.smartphone", 7, 9, 0, Decimal("0.00")),
    ],
    "top_categories_per_weekday": [(2, 1, "apparel.shoes", 5, 6, 0, Decimal("0.00"))],
    "unique_visitors_per_day": [(date(2019, 10, 1), 4504, 5066, 193), (date(2019, 10, 2), 12, 13, 0)],
}
ALERT = {
    "subject": "user#9000000000000000002",
    "rule": HOSTILE,
    "window_start_at": "2019-10-01T00:00:02.500Z",
    "window_end_at": "2019-10-01T00:00:12.500Z",
    "num_actions_per_watermark": 1234,
    "threshold": 5,
    "level": 8,
    "detected_at": "2026-11-23T12:00:00.000Z",
    "incident_id": "burst-0a1b2c3d4e",
}
SUMMARY = {
    "run_id": "r1",
    "sent_events": 17434,
    "curated_rows": 17429,
    "missing_events": 0,
    "labelled_bursts": 3,
    "found_bursts": 2,
    "falsely_flagged_users": 1,
    "seconds": {"replay": 4.25, "total": 98.0},
}


def answer(name: str, rows: list[tuple[Any, ...]]) -> Answer:
    return sample_answer(QUESTIONS[name], rows)


class Page(HTMLParser):
    """A page taken apart: text outside scripts, elements, and scripts by order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        elif self.cdata_elem != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def charts(self) -> dict[str, Any]:
        return json.loads(self.scripts[0])


@pytest.fixture(scope="module")
def html() -> str:
    return render([answer(name, rows) for name, rows in ROWS.items()], [ALERT], SUMMARY)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_page_loads_nothing(page: Page, html: str) -> None:
    loading = [(tag, name) for tag, attributes in page.elements for name in attributes if name in ("src", "href")]
    policy = next(
        attributes["content"] for tag, attributes in page.elements if attributes.get("http-equiv") and tag == "meta"
    )

    assert loading == []
    assert "default-src 'none'" in policy and "http" not in policy
    assert not re.search(r"@import|url\(", html[: html.index("</style>")])
    assert '"url":' not in page.scripts[0]
    assert len(html) < 1_500_000


def test_text_from_outside_stays_text(page: Page, html: str) -> None:
    assert page.text.count(HOSTILE) >= 3
    assert [tag for tag, _ in page.elements].count("script") == 3
    assert "img" not in [tag for tag, _ in page.elements]
    assert HOSTILE not in html


def test_every_question_has_a_chart_a_sentence_and_a_table(page: Page) -> None:
    drawn = [attributes["id"] for _, attributes in page.elements if (attributes.get("id") or "").startswith("chart-")]

    assert drawn == [f"chart-{name}" for name in DRAWN]
    assert set(page.charts()) == set(DRAWN)
    assert "On the busiest day, 1 October 2019, 4,504 shoppers came and 193 of them bought." in page.text
    assert "The top category is electronics / smartphone in 2 of 2 hours." in page.text
    assert "Tuesday: the top category is apparel / shoes, with 5 viewers." in page.text
    assert "Of the 4 carts with these products, 3 were not bought: 1,234.50 unsold." in page.text
    assert "13.0% of those who see it, against 2.6% across the shop, but only 23 shoppers saw it" in page.text
    assert [tag for tag, _ in page.elements].count("table") == len(DRAWN) + 1


def test_charts_hold_the_rows(page: Page) -> None:
    values = page.charts()["carts_not_bought"]["data"]["values"]

    # An id as text: JavaScript would round 9000000000000000001.
    assert [value["product_id"] for value in values] == ["9000000000000000001", "7"]
    assert [value["unsold_value"] for value in values] == [1234.5, 0.0]


def test_alerts_and_counts_are_there(page: Page) -> None:
    assert "1 alert, in the order" in page.text
    assert "user 9000000000000000002" in page.text and "1,234" in page.text
    assert "2019-10-01 00:00:12.500" in page.text and "2026-11-23 12:00:00 " in page.text
    assert "17,434" in page.text and "2 of 3" in page.text and "98.0 s" in page.text


def test_alerts_are_of_any_subject_and_level() -> None:
    subjects = {"site": "2019-10-01T00:00:12.500Z", "product#1004856": "2019-10-01T00:00:11.000Z"}
    alerts = [ALERT | {"rule": "r", "subject": name, "window_end_at": at} for name, at in subjects.items()]
    page = Page(render([], alerts))

    assert "Who or what Rule Level From (UTC) To (UTC) Count Allowed" in page.text
    assert "product 1004856 r 8 2019-10-01 00:00:02.500 2019-10-01 00:00:11 1,234 5" in page.text
    assert page.text.index("product 1004856") < page.text.index("site r 8")


def test_a_failed_run_is_not_shown_in_green(html: str) -> None:
    assert re.search(r'Bots found</dt><dd class="bad">2 of 3<', html)
    assert re.search(r'Shoppers wrongly flagged</dt><dd class="bad">1<', html)
    assert re.search(r'Events lost</dt><dd class="good">0<', html)


def test_answers_without_rows_say_so_and_draw_nothing() -> None:
    page = Page(render([answer(name, []) for name in ROWS], [], {}))

    assert page.text.count("Nothing in this range fits the question") == len(ROWS)
    assert page.charts() == {}
    assert "No alert: nobody exceeded a threshold." in page.text


def test_what_is_not_given_is_left_out() -> None:
    page = Page(render([answer("unique_visitors_per_day", ROWS["unique_visitors_per_day"][:1])]))

    assert not {"alerts", "run"} & {attributes.get("id") for _, attributes in page.elements}


def test_long_ranges_are_drawn_too() -> None:
    days = [(date(2019, 10, day), day, day, 0) for day in range(1, 32)]
    hours = [(hour, 1, f"c{hour}", hour + 1, 1, 0, Decimal(0)) for hour in range(24)]
    page = Page(render([answer("unique_visitors_per_day", days), answer("top_categories_per_hour", hours)]))

    assert set(page.charts()) == {"unique_visitors_per_day", "top_categories_per_hour"}
    assert "The first 5 of 31 rows" in page.text and "All 31 rows" in page.text


def test_the_text_table_aligns_numbers_and_counts_the_rest() -> None:
    assert text_table(answer("carts_not_bought", ROWS["carts_not_bought"]), 1).splitlines()[0].split()[:3] == [
        "Rank",
        "Product",
        "id",
    ]
    table = text_table(answer("unique_visitors_per_day", ROWS["unique_visitors_per_day"]), 1)

    assert table.splitlines() == [
        "Visit date      Visitors    Sessions    Buyers",
        "------------  ----------  ----------  --------",
        "2019-10-01         4,504       5,066       193",
        "… 1 more row",
    ]


def test_the_text_table_of_an_answer_without_rows_says_so() -> None:
    lines = text_table(answer("carts_not_bought", []), 10).splitlines()

    assert lines[0].split()[:3] == ["Rank", "Product", "id"]
    assert lines[2:] == ["(nothing in this range fits the question)"]


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_every_question_can_be_shown(question: Question) -> None:
    page = Page(render([sample_answer(question)]))

    assert question.title in page.text and question.question in page.text
    assert set(page.charts()) == ({question.name} if question.chart else set())


def test_every_question_is_in_the_table_of_the_docs() -> None:
    rows = questions_table().splitlines()[2:]

    assert [row.split("]")[0].removeprefix("| [") for row in rows] == [
        question.title for question in in_reading_order(list(QUESTIONS.values()))
    ]
    [visitors] = [row for row in rows if "unique_visitors_per_day" in row]
    assert "How many different shoppers visit the shop each day, and how many of them buy?" in visitors
    assert "one row per day (UTC) with at least one view" in visitors
    assert "`from_date`, `to_date`" in visitors and "top_n" not in visitors
    assert "`top_n` (default 10)" in next(row for row in rows if "carts_not_bought" in row)


class TestCharts:
    """What the charts of the five questions show."""

    def values(self, name: str, rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
        drawing = draw(answer(name, rows))
        assert drawing
        data = drawing.chart.get("data") or drawing.chart["layer"][0]["data"]
        return data["values"]

    def finding(self, name: str, rows: list[tuple[Any, ...]]) -> str:
        drawing = draw(answer(name, rows))
        assert drawing
        return drawing.finding

    def test_a_product_is_named_by_brand_kind_and_id(self) -> None:
        rows = [
            (1, 5, "appliances.kitchen.air_heater", "sony", 3, 1, 1, 1, Decimal("12.50")),
            (2, 7, None, None, 1, 0, 0, 1, Decimal("0.00")),
        ]
        values = self.values("carts_not_bought", rows)

        assert [value["Name"] for value in values] == ["sony air heater 5", "7"]
        assert [value["Label"] for value in values] == ["12.50 in 2 carts", "0.00 in 1 cart"]

    def test_bars_stop_at_15_and_the_sentence_counts_all(self) -> None:
        rows = [(i, i, None, None, 2, 1, 0, 1, Decimal("1.00")) for i in range(1, 21)]

        assert len(self.values("carts_not_bought", rows)) == 15
        assert self.finding("carts_not_bought", rows) == (
            "Of the 40 carts with these products, 20 were not bought: 20.00 unsold."
        )

    def test_the_average_of_the_shop_is_a_line(self) -> None:
        drawing = draw(answer("brands_needing_marketing", ROWS["brands_needing_marketing"]))
        assert drawing
        bars, labels, line, note = drawing.chart["layer"]

        assert bars["mark"]["type"] == "bar" and labels["mark"]["type"] == "text"
        assert line["mark"]["type"] == "rule" and line["data"]["values"] == [{"Value": 0.0263}]
        assert note["mark"]["text"] == "the shop's average"
        assert "sells to 13.0% of those" in drawing.finding

    def test_one_day_is_three_bars_and_many_days_are_groups(self) -> None:
        days = [(date(2019, 10, day), 30 - day, day, 0) for day in range(1, 12)]
        one, few, many = (draw(answer("unique_visitors_per_day", days[:count])) for count in (1, 10, 11))
        assert one and few and many

        assert one.chart["layer"][0]["encoding"]["x"]["title"] == "1 October 2019"
        assert [layer["mark"]["type"] for layer in few.chart["layer"]] == ["bar", "text"]
        assert many.chart["mark"]["type"] == "bar"
        assert many.finding == "On the busiest day, 1 October 2019, 29 shoppers came and 0 of them bought."

    def test_a_grid_holds_the_15_categories_with_the_most_viewers(self) -> None:
        rows = [(1, i, f"c{i:02}", 100 - i, 100, 0, Decimal(0)) for i in range(1, 21)]
        rows += [(7, 1, "c02", 20_000, 20_000, 0, Decimal(0))]
        drawing = draw(answer("top_categories_per_weekday", rows))
        assert drawing
        cells, low, high = drawing.chart["layer"]

        assert {value["Y"] for value in drawing.chart["data"]["values"]} == {f"c{i:02}" for i in range(1, 16)}
        assert cells["encoding"]["x"]["sort"] == ["Monday", "Sunday"]
        assert cells["encoding"]["y"]["sort"][:2] == ["c02", "c01"]
        assert low["encoding"]["text"]["format"] == high["encoding"]["text"]["format"] == "~s"

    def test_of_two_leaders_the_first_in_order_is_named(self) -> None:
        rows = [(hour, 1, code, 1, 1, 0, Decimal(0)) for hour, code in ((1, "b"), (2, "a"))]

        assert self.finding("top_categories_per_hour", rows) == "The top category is a in 1 of 2 hours."

    def test_one_hour_only_is_a_list_of_bars(self) -> None:
        rows = [(5, 1, "a.b_c", 1, 1, 0, Decimal(0))]

        assert self.finding("top_categories_per_hour", rows) == "05:00: the top category is a / b c, with 1 viewer."
        assert [value["Label"] for value in self.values("top_categories_per_hour", rows)] == ["1"]
