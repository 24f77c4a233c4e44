"""Which values can be set in place of the rulebook's defaults, and what the messages say about invalid ones."""

import pytest

from detector import job, rulebook
from detector.values import fill_in

BOOK = rulebook.read()
PLAIN = BOOK.plain()
ADVICE = "Fix the Terraform variable `detection`."


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("burst", {"window_s": "1", "threshold": "0"}),
        ("burst", {"window_s": "3600", "threshold": "999"}),
        ("cart_hoarder", {"window_s": "10"}),
        ("product_flood", {"window_s": "20", "threshold": "9999"}),
        ("site_surge", {"factor": "2.5", "baseline_s": "1000"}),
        ("scraper", {"carts_per_100": "0.5"}),
        ("site_surge", {"window_s": "10", "least_baseline_s": "60", "baseline_s": "70"}),
        ("alerts", {"quiet_s": "0"}),
        ("alerts", {"quiet_s": "86400"}),
        ("source", {"max_ahead_s": "0"}),
        ("source", {"max_ahead_s": "2678400"}),
        ("unjudged", {"step_s": "999"}),
    ],
)
def test_allowed_values_are_those_of_the_job(name: str, changes: dict[str, str]) -> None:
    known = job.values(PLAIN, {f"values.{name}": changes})[name]
    assert {key: str(known[key]) for key in changes} == changes
    if sql := BOOK.statements[name].sql:
        assert all(value in fill_in(name, sql, known) for value in changes.values())


@pytest.mark.parametrize(
    ("name", "key", "value", "allowed"),
    [
        ("burst", "window_s", "10.5", "a whole number from 1 to 3600 (seconds)"),
        ("burst", "window_s", "0", "a whole number from 1 to 3600 (seconds)"),
        ("burst", "window_s", "3601", "a whole number from 1 to 3600 (seconds)"),
        ("burst", "threshold", "5.5", "a whole number from 0 to 999 (actions)"),
        ("burst", "threshold", "1000", "a whole number from 0 to 999 (actions)"),
        ("burst", "threshold", "8.0", "a whole number from 0 to 999 (actions)"),
        ("product_flood", "threshold", "10000", "a whole number from 0 to 9999 (users)"),
        ("site_surge", "least_baseline_s", "0", "a whole number from 1 to 999999999 (seconds)"),
        ("site_surge", "factor", "-1", "a number of 0 or more (times the usual rate)"),
        ("alerts", "quiet_s", "0.5", "a whole number from 0 to 86400 (seconds)"),
        ("alerts", "quiet_s", "86401", "a whole number from 0 to 86400 (seconds)"),
        ("source", "max_ahead_s", "1000000000", "a whole number from 0 to 999999999 (seconds)"),
        ("unjudged", "step_s", "1000", "a whole number from 1 to 999 (seconds)"),
        *(
            ("burst", "threshold", no_number, "a whole number from 0 to 999 (actions)")
            for no_number in ("many", "", "-1", "1e3", "8 or true", "8\n", "٣")
        ),
    ],
)
def test_an_invalid_value_is_an_error_with_the_allowed_ones(name: str, key: str, value: str, allowed: str) -> None:
    with pytest.raises(ValueError) as raised:
        job.values(PLAIN, {f"values.{name}": {key: value}})
    assert str(raised.value) == f"{name}.{key} is '{value}'; allowed: {allowed}. {ADVICE}"


@pytest.mark.parametrize(
    ("changes", "window_s", "least_baseline_s", "baseline_s"),
    [
        ({"baseline_s": "69"}, 10, 60, 69),
        ({"window_s": "541"}, 541, 60, 600),
        ({"least_baseline_s": "591"}, 10, 591, 600),
    ],
)
def test_a_baseline_is_longer_than_the_window_after_it(
    changes: dict, window_s: int, least_baseline_s: int, baseline_s: int
) -> None:
    with pytest.raises(ValueError) as raised:
        job.values(PLAIN, {"values.site_surge": changes})
    assert str(raised.value) == (
        f"site_surge.baseline_s is {baseline_s}; allowed: at least window_s + least_baseline_s, which is {window_s} + "
        f"{least_baseline_s}. {ADVICE}"
    )


def test_every_default_can_also_be_set() -> None:
    defaults = {
        name: {key: one.default for key, one in statement.parameters.items()}
        for name, statement in BOOK.statements.items()
        if statement.parameters
    }
    assert BOOK.values(defaults) == BOOK.values()
    as_text = {f"values.{name}": {key: str(value) for key, value in own.items()} for name, own in defaults.items()}
    assert job.values(PLAIN, as_text) == BOOK.values()


def test_no_threshold_is_above_what_the_detector_keeps() -> None:
    """Of an actor it keeps 1,000 events, of a product 10,000 actors, of an address 2,000: no rule finds more."""
    kept = {"actor": 1_000, "product": 10_000, "address": 2_000}
    for rule in BOOK.rules.values():
        most = rule.parameters["threshold"].maximum
        assert most is not None and most < kept.get(rule.description.subject, 2**31)


@pytest.mark.parametrize(
    "changes", [{"burst": {"threshold": 8.5}}, {"burst": {"threshold": True}}, {"burst": {"x": 1}}]
)
def test_the_rulebook_checks_changes_too(changes: dict) -> None:
    with pytest.raises(ValueError, match=r"^burst\."):
        BOOK.values(changes)


def test_numbers_are_in_the_sql_without_an_exponent() -> None:
    assert fill_in("x", "${a} ${b} ${c}", {"a": 1e16, "b": 0.00001, "c": 2.5}) == "10000000000000000 0.00001 2.5"


def test_a_placeholder_without_a_value_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^the SQL of x needs the value 'b': describe it under `parameters`$"):
        fill_in("x", "${a} ${b}", {"a": 1})
