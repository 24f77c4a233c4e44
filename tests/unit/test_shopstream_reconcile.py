"""`shopstream reconcile`: what arrived is compared with what the detector has counted."""

import json
from collections.abc import Callable
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

from insights.engines import EngineError
from lambda_alert.totals import Total
from shopstream.app import run
from shopstream.commands import lake
from shopstream.reconciliation import compare

FIRST, SECOND, THIRD = (date(2026, 11, day) for day in (1, 2, 3))
ARRIVALS = [
    (FIRST, None, FIRST, 90),
    (FIRST, None, SECOND, 10),  # late, of the same event date
    (SECOND, None, SECOND, 7),
    (None, "not_json", FIRST, 2),
    (None, "not_json", SECOND, 3),
]
TOTALS = {
    ("event", FIRST, "judged"): 95,
    ("event", FIRST, "late"): 4,
    ("event", FIRST, "other_type"): 1,
    ("event", SECOND, "judged"): 7,
    ("arrival", FIRST, "not_json"): 2,
    ("arrival", SECOND, "not_json"): 3,
}
MISSING = "Not equal. Lines that arrived, but are neither judged nor counted as unjudged: 1 of 112."
MORE = "Not equal. Lines that the detector has counted, but that are not in the lake: 1."


def test_equal_counts_are_equal() -> None:
    found = compare(ARRIVALS, TOTALS)
    assert found.is_equal
    assert found.sentence() == "Equal: 112 arrived = 102 judged + 10 unjudged."
    assert list(found.dates) == [FIRST, SECOND] and list(found.reasons) == ["not_json"]
    assert found.as_text().splitlines() == [
        "event date                         arrived      judged    unjudged   missing",
        "2026-11-01                             100          95           5         0  late 4, other_type 1",
        "2026-11-02                               7           7           0         0",
        "",
        "bad records                        arrived                unjudged   missing",
        "not_json                                 5                       5         0",
    ]


@pytest.mark.parametrize("key", TOTALS)
def test_one_line_less_at_the_detector_is_missing(key: tuple[str, date, str]) -> None:
    found = compare(ARRIVALS, TOTALS | {key: TOTALS[key] - 1})
    assert not found.is_equal
    assert found.sentence() == MISSING
    place = found.dates[key[1]] if key[0] == "event" else found.reasons[key[2]]
    assert place.missing == 1


@pytest.mark.parametrize("number", range(len(ARRIVALS)))
def test_one_line_less_in_the_lake_is_named_as_such(number: int) -> None:
    arrivals = [(*row[:3], row[3] - (place == number)) for place, row in enumerate(ARRIVALS)]
    found = compare(arrivals, TOTALS)
    assert not found.is_equal
    assert found.sentence() == MORE


def test_too_much_on_one_date_does_not_make_up_for_too_little_on_another() -> None:
    totals = TOTALS | {("event", FIRST, "judged"): 94, ("event", SECOND, "judged"): 8}
    found = compare(ARRIVALS, totals)
    assert [one.missing for one in found.dates.values()] == [1, -1]
    assert found.sentence() == (
        "Not equal. Lines that arrived, but are neither judged nor counted as unjudged: 1 of 112."
        " Lines that the detector has counted, but that are not in the lake: 1."
    )


def test_what_only_one_side_has_is_compared_with_nothing() -> None:
    assert {day: one.missing for day, one in compare(ARRIVALS, {}).dates.items()} == {FIRST: 100, SECOND: 7}
    assert {day: one.missing for day, one in compare([], TOTALS).dates.items()} == {FIRST: -100, SECOND: -7}
    assert compare([], {}).sentence() == "Equal: 0 arrived = 0 judged + 0 unjudged."


def test_a_range_leaves_other_dates_out() -> None:
    found = compare(ARRIVALS, TOTALS, SECOND, THIRD)
    assert found.is_equal
    assert list(found.dates) == [SECOND]
    assert (found.reasons["not_json"].arrived, found.reasons["not_json"].unjudged.total()) == (3, 3)


@pytest.fixture
def reconcile(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Return a function that runs the command on these arrivals and totals."""

    def call(arrivals: Any, totals: dict[tuple[str, date, str], int], *arguments: str) -> int:
        def query(sql: str, values: list[Any]) -> Any:
            if isinstance(arrivals, EngineError):
                raise arrivals
            return (), arrivals if "arrivals" in sql else [("2026-11-02 23:00:00.000",)]

        environment = SimpleNamespace(
            engine=lambda: SimpleNamespace(query=query),
            client=lambda service: None,
            outputs={"totals_table_name": "totals"},
        )
        counted = {key: Total(count, "2026-11-02T23:59:00.000Z") for key, count in totals.items()}
        monkeypatch.setattr(lake, "open_environment", lambda env, home: environment)
        monkeypatch.setattr("lambda_alert.totals.read", lambda dynamodb, table: counted)
        return run(["reconcile", *arguments])

    return call


def test_equal_ends_with_0(reconcile: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert reconcile(ARRIVALS, TOTALS) == 0
    said = capsys.readouterr()
    *_, sentence, when = said.out.splitlines()
    assert sentence == "Equal: 112 arrived = 102 judged + 10 unjudged."
    assert when == (
        "The last curate run ended at 2026-11-02 23:00:00.000 UTC;"
        " the detector's last tally is of 2026-11-02T23:59:00.000Z."
    )
    assert not said.err


def test_a_difference_ends_with_1_and_says_what_it_may_be(
    reconcile: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert reconcile(ARRIVALS, TOTALS | {("event", FIRST, "late"): 3}) == 1
    said = capsys.readouterr()
    assert MISSING in said.out
    assert said.err.startswith("hint: what arrived in the last minutes may be undelivered")


def test_json_is_for_programs(reconcile: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert reconcile(ARRIVALS, TOTALS, "--json", "--from-date", "2026-11-02") == 0
    assert json.loads(capsys.readouterr().out) == {
        "equal": True,
        "event_dates": {"2026-11-02": {"arrived": 7, "judged": 7, "unjudged": {}, "missing": 0}},
        "bad_records": {"not_json": {"arrived": 3, "judged": 0, "unjudged": {"not_json": 3}, "missing": 0}},
        "curated_at": "2026-11-02 23:00:00.000",
        "counted_at": "2026-11-02T23:59:00.000Z",
    }


def test_a_range_that_ends_before_it_begins_is_refused(
    reconcile: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert reconcile(ARRIVALS, TOTALS, "--from-date", "2026-11-02", "--to-date", "2026-11-01") == 2
    assert "swap them" in capsys.readouterr().err


def test_without_a_curate_run_it_says_what_to_do(
    reconcile: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert reconcile(EngineError("Trino refused the statement: no table."), TOTALS) == 1
    assert "Was there a curate run yet? If not, call make etl first." in capsys.readouterr().err
