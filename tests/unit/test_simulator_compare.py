"""The table that compares files of events: each measure on rows whose answer is known, and the page that shows it."""

import re
from pathlib import Path

import pytest

from simulator.traffic.compare import compare, measures, read
from simulator.traffic.event import COLUMNS, second_of
from simulator.traffic.generate import write
from simulator.traffic.inputs import SourceError

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT.parent / "shared" / "data" / "2019-Oct-head-17k.csv.gz"
PAGE = ROOT / "docs" / "look-alike.md"

# (second, type, product, category, code, brand, price, user, session)
ROWS = [
    (0, "view", 1, 10, "a.b", "x", "10.00", 1, "s1"),
    (0, "view", 2, 10, "a.b", "x", "20.00", 1, "s1"),  # a tab
    (9, "cart", 1, 10, "a.b", "x", "10.00", 1, "s1"),
    (9, "cart", 1, 10, "a.b", "x", "10.00", 1, "s1"),  # an exact duplicate
    (10, "purchase", 1, 10, "a.b", "x", "10.00", 1, "s1"),
    (10, "purchase", 2, 10, "a.b", "x", "20.00", 1, "s1"),  # of the same checkout
    (60, "view", 3, 2053013555631882655, "", "", "0.00", 1, "s2"),
    (70, "view", 3, 2053013555631882655, "", "", "0.00", 2, "s3"),
    (65, "remove_from_cart", 3, 2053013555631882655, "", "y", "40.00", 2, "s3"),  # out of order
    (75, "view", 4, 11, "a.c", "y", "40.00", 3, ""),
]


def file(folder: Path, rows: list[tuple], name: str = "a.csv") -> Path:
    path = folder / name
    lines = [
        f"2019-10-01 00:{second // 60:02}:{second % 60:02} UTC,{','.join(map(str, rest))}" for second, *rest in rows
    ]
    path.write_text("".join(f"{line}\n" for line in [",".join(COLUMNS), *lines]))
    return path


@pytest.fixture
def measured(tmp_path: Path) -> dict[str, str]:
    return dict(measures(read(file(tmp_path, ROWS))))


@pytest.mark.parametrize(
    ("measure", "value"),
    [
        ("events", "10"),
        ("users", "3"),
        ("sessions", "3"),
        ("share of view", "50.00 %"),
        ("share of cart", "20.00 %"),
        ("share of remove_from_cart", "10.00 %"),
        ("share of purchase", "20.00 %"),
        ("category_code null", "30.00 %"),
        ("brand null", "20.00 %"),
        ("user_id null", "0.00 %"),
        ("user_session null", "10.00 %"),
        ("price 0", "20.00 %"),
        ("exact duplicates", "10.00 %"),
        ("out of order: later in the file than a newer one", "10.00 %"),
        ("characters of the longest id", "19"),
        ("most events in one second", "2"),
        # 0, 9, 1, 0, 50 of user 1 and 5 of user 2, whose events are put in order; the duplicate makes no gap.
        ("seconds between a user's events: 1 %, 5 %, 25 %, 50 %, 75 %, 95 %, 99 %", "0, 0, 0, 5, 9, 50, 50"),
        ("seconds within a session: 1 %, 5 %, 25 %, 50 %, 75 %, 95 %, 99 %", "0, 0, 0, 1, 5, 9, 9"),
        ("seconds from one session to the next: 50 %, 75 %, 90 %, 99 %", "50, 50, 50, 50"),
        # User 1 has three different events in (-1, 9] and (0, 10]: the second 0 is not in the latter.
        ("users with 1 in their busiest 10 s", "33.33 %"),
        ("users with 2 in their busiest 10 s", "33.33 %"),
        ("users with 3 in their busiest 10 s", "33.33 %"),
        ("users with 4 in their busiest 10 s", "0.00 %"),
        ("most different events of a user in 10 s", "3"),
        ("events per session: mean", "3"),
        ("events per session: 50 %, 75 %, 90 %, 99 %, most", "2, 6, 6, 6, 6"),
        ("sessions with one event", "33.33 %"),
        ("sessions with more than 20", "0.00 %"),
        ("products per session: mean", "1.33"),
        ("categories per session: mean", "1"),
        ("sessions that buy", "33.33 %"),
        ("sessions per user: mean", "1.33"),
        ("users with several sessions", "33.33 %"),
        ("tabs: views of several products by one session in one second", "1"),
        ("checkouts: purchases of several products by one session in one second", "1"),
        ("distinct product_id", "4"),
        ("distinct category_id", "3"),
        ("distinct category_code", "2"),
        ("distinct brand", "2"),
        ("events of the 1, 10, 100, 1000 top products", "40.00 %, 100.00 %, 100.00 %, 100.00 %"),
        ("events of the 3 top values of category_code", "60.00 %, 10.00 %"),
        ("events of the 3 top values of brand", "60.00 %, 20.00 %"),
        ("price: 1 %, 5 %, 25 %, 50 %, 75 %, 95 %, 99 %, most", "0, 0, 10, 10, 20, 40, 40, 40"),
    ],
)
def test_measure(measured: dict[str, str], measure: str, value: str) -> None:
    assert measured[measure] == value


def test_one_event_alone_has_no_gaps(tmp_path: Path) -> None:
    measured = dict(measures(read(file(tmp_path, ROWS[-1:]))))
    assert measured["seconds from one session to the next: 50 %, 75 %, 90 %, 99 %"] == "-, -, -, -"
    assert measured["sessions with one event"] == "-"  # its session is null
    assert measured["events per session: 50 %, 75 %, 90 %, 99 %, most"] == "-, -, -, -, -"
    assert measured["users with several sessions"] == "0.00 %"


def cells(line: str) -> list[str]:
    """Return the texts of a line of a Markdown table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_column_for_each_input(tmp_path: Path) -> None:
    first, below, *lines = compare(
        [file(tmp_path, ROWS, "one.csv"), file(tmp_path, ROWS[:4], "other.csv")]
    ).splitlines()
    assert cells(first) == ["", "one.csv", "other.csv"]
    assert re.fullmatch(r"\|:-+\|-+:\|-+:\|", below)
    assert [cells(line) for line in lines[:2]] == [["events", "10", "4"], ["users", "3", "1"]]


def test_only_the_first_rows_if_asked_for(tmp_path: Path) -> None:
    assert ["events", "4"] in map(cells, compare([file(tmp_path, ROWS)], limit=4).splitlines())


def test_malformed_rows_are_left_out(tmp_path: Path) -> None:
    table = compare([file(tmp_path, [*ROWS, (1, "", 1, 10, "", "", "1.00", 1, "s")])])
    assert ["events", "10"] in map(cells, table.splitlines())


def test_nothing_to_compare_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="it holds no event in the contract's shape: nothing to compare"):
        compare([file(tmp_path, [(1, "", 1, 10, "", "", "1.00", 1, "s")])])


def test_guests_count_by_their_sessions_and_what_is_missing_is_left_out(tmp_path: Path) -> None:
    rows = [
        *((second, "view", "SKU-1", "", "", "", "", "", "g1") for second in (0, 3, 5)),
        (5, "view", "SKU-1", "", "", "", "2.00", "", "g2"),
        (7, "search", "", "", "", "", "", "", ""),
    ]
    measured = dict(measures(read(file(tmp_path, rows))))
    assert (measured["users"], measured["user_id null"]) == ("0", "100.00 %")
    assert measured["characters of the longest id"] == "5"
    assert measured["most different events of a user in 10 s"] == "3"
    assert measured["users with several sessions"] == "0.00 %"
    assert measured["distinct product_id"] == "1"
    assert measured["events of the 1, 10, 100, 1000 top products"].startswith("80.00 %")


def test_nothing_but_the_required_fields_is_compared(tmp_path: Path) -> None:
    measured = dict(measures(read(file(tmp_path, [(7, "search", "", "", "", "", "", "", "")]))))
    assert measured["characters of the longest id"] == measured["most different events of a user in 10 s"] == "-"


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        compare([tmp_path / "a.csv"])


@pytest.mark.skipif(not SAMPLE.exists(), reason="the real sample is not part of the project")
def test_the_page_shows_what_the_commands_give(tmp_path: Path) -> None:
    page = PAGE.read_text()
    command = 'shopstream look-alike build/look-alike-17k.csv --events 17434 --hours 0.5 --start "2019-10-01 02:20:00"'
    assert command in page
    made = tmp_path / "look-alike-17k.csv"
    write(made, 17_434, 0.5, 1, second_of("2019-10-01 02:20:00 UTC"))
    assert compare([SAMPLE, made]) in page
