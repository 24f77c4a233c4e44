"""What Terraform may set in place of the numbers in the SQL's headers, and what is refused before the job starts."""

import pytest

from detector.main import SQL, fill_in, values

ADVICE = "mend Terraform's variable detection"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("burst", {"window_s": "1", "threshold": "0"}),
        ("burst", {"window_s": "1000"}),  # the interval is one less
        ("user_windows", {"window_s": "999", "slide_s": "333"}),
        ("user_windows", {"slide_s": "1"}),
        ("product_flood", {"window_s": "20", "slide_s": "20"}),
        ("site_surge", {"factor": "2.5", "baseline_s": "1000"}),
        ("scraper", {"carts_per_100": "0.5"}),
        ("site_surge", {"window_s": "10", "least_baseline_s": "60", "baseline_s": "70"}),
        ("alerts", {"quiet_s": "0"}),
        ("alerts", {"quiet_s": "999"}),
        ("source", {"max_ahead_s": "0"}),
        ("source", {"max_ahead_s": "2678400"}),
        ("unjudged", {"step_s": "999"}),
    ],
)
def test_what_the_sql_can_take_is_taken(name: str, changes: dict[str, str]) -> None:
    known = values(SQL, {f"values.{name}": changes})[name]
    assert known.items() >= changes.items()
    [file] = SQL.rglob(f"{name}.sql")
    assert all(value in fill_in(file, known | {"findings": "x"}) for key, value in changes.items() if key != "window_s")


@pytest.mark.parametrize(
    ("name", "key", "value", "allowed"),
    [
        ("burst", "window_s", "10.5", "1 to 1000"),
        ("burst", "window_s", "0", "1 to 1000"),
        ("burst", "window_s", "1001", "1 to 1000"),
        ("burst", "threshold", "5.5", "0 to 2147483646"),
        ("burst", "threshold", "2147483647", "0 to 2147483646"),
        ("user_windows", "window_s", "1000", "1 to 999"),
        ("user_windows", "slide_s", "0", "1 to 999"),
        ("site_surge", "least_baseline_s", "0", "1 to 999999999"),
        ("alerts", "quiet_s", "0.5", "0 to 999"),
        ("alerts", "quiet_s", "1000", "0 to 999"),  # with a window, less than the hour that state lasts
        ("source", "max_ahead_s", "1000000000", "0 to 999999999"),
        ("unjudged", "step_s", "1000", "1 to 999"),
    ],
)
def test_what_the_sql_cannot_take_is_refused_with_what_it_can(name: str, key: str, value: str, allowed: str) -> None:
    with pytest.raises(ValueError) as raised:
        values(SQL, {f"values.{name}": {key: value}})
    assert str(raised.value) == (
        f"property group 'values.{name}' sets {key} to '{value}', but {name}.sql takes whole numbers from {allowed} "
        f"there: {ADVICE}"
    )


@pytest.mark.parametrize(
    ("name", "changes", "window_s", "slide_s"),
    [
        ("user_windows", {"window_s": "500"}, 500, 300),
        ("user_windows", {"slide_s": "700"}, 600, 700),
        ("product_flood", {"window_s": "9", "slide_s": "6"}, 9, 6),
    ],
)
def test_a_window_is_a_whole_number_of_slides(name: str, changes: dict, window_s: int, slide_s: int) -> None:
    with pytest.raises(ValueError) as raised:
        values(SQL, {f"values.{name}": changes})
    assert str(raised.value) == (
        f"property group 'values.{name}' makes window_s {window_s} with slide_s {slide_s}, but a window is a whole "
        f"number of slides: {ADVICE}"
    )


@pytest.mark.parametrize(
    ("changes", "window_s", "least_baseline_s", "baseline_s"),
    [
        ({"baseline_s": "69"}, 10, 60, 69),
        ({"window_s": "541"}, 541, 60, 600),
        ({"least_baseline_s": "591"}, 10, 591, 600),
    ],
)
def test_a_baseline_is_longer_than_the_window_it_lies_before(
    changes: dict, window_s: int, least_baseline_s: int, baseline_s: int
) -> None:
    with pytest.raises(ValueError) as raised:
        values(SQL, {"values.site_surge": changes})
    assert str(raised.value) == (
        f"property group 'values.site_surge' makes baseline_s {baseline_s}, but it holds the window_s {window_s} and "
        f"least_baseline_s {least_baseline_s} before them, or nothing would ever be found: {ADVICE}"
    )


def test_every_default_may_be_set_as_well() -> None:
    defaults = values(SQL, {})
    for file in SQL.rglob("*.sql"):
        own = {key: value for key, value in defaults[file.stem].items() if f"-- {key}: {value}\n" in file.read_text()}
        if own:
            assert values(SQL, {f"values.{file.stem}": own}) == defaults
