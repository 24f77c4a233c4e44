"""Groups of events in a cases.yaml, and the events that they mean."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from detector.cases import DEFAULTS, Events, ExpectedAlert, read_cases
from detector.described import RulebookError


def expanded(*columns: str, **group: object) -> list[tuple]:
    """Return the second and these columns of each event of a group."""
    return [tuple(event[name] for name in ("at", *columns)) for event in Events.model_validate(group).expand()]


def test_an_event_has_the_default_columns() -> None:
    assert list(Events(at=3).expand()) == [{"at": 3, **DEFAULTS}]


@pytest.mark.parametrize(
    ("group", "events"),
    [
        ({"at": [0, 2.5], "user_id": None}, [(0, None), (2.5, None)]),
        ({"at": 10, "count": 3, "every": 2, "user_id": {"from": 5}}, [(10, "5"), (12, "6"), (14, "7")]),
        ({"at": 1, "count": 2, "user_id": {"from": -1}}, [(1, "-1"), (1, "0")]),
        ({"at": 0, "count": 2, "every": 5, "together": 2, "user_id": [7, 8]}, [(0, "7"), (0, "8"), (5, "7"), (5, "8")]),
        ({"at": 0, "count": 2, "copies": 2, "user_id": {"from": 1}}, [(0, "1"), (0, "1"), (0, "2"), (0, "2")]),
        ({"at": 1, "user_id": 7}, [(1, "7")]),
        ({"at": 1, "count": 2, "user_id": ["007", None]}, [(1, "007"), (1, None)]),
        ({"at": [1, 1, 1], "user_id": {"prefix": "s"}}, [(1, "s0"), (1, "s1"), (1, "s2")]),
    ],
)
def test_a_group_is_similar_events(group: dict, events: list[tuple]) -> None:
    assert expanded("user_id", **group) == events


def test_what_is_no_id_stays_a_number() -> None:
    assert expanded("price", "quantity", at=0, price=2, quantity=3) == [(0, 2, 3)]


@pytest.mark.parametrize(
    ("subject", "is_one"),
    [
        *(("site", True), ("user#7", True), ("user#kim@example.com", True), ("session#a b", True), ("product#ü", True)),
        *(("user#" + "😀" * 128, True), ("user#" + "x" * 129, False), ("user#", False), ("user#a\nb", False)),
        *(("guest#7", False), ("User#7", False), ("", False), ("site#1", False), ("session#\x7f", False)),
    ],
)
def test_subjects(subject: str, is_one: bool) -> None:
    with nullcontext() if is_one else pytest.raises(ValueError, match="subject"):
        assert ExpectedAlert(subject=subject, end=5.678, count=6).end == 5.678


@pytest.mark.parametrize("group", [{"at": 3600}, {"at": []}, {"at": 1, "count": 0}, {"at": [1], "count": 2}, {}])
def test_an_impossible_group_is_an_error(group: dict) -> None:
    with pytest.raises(ValueError):
        Events.model_validate(group)


def test_traffic_is_used_by_its_name_and_alerts_are_the_rules_own(tmp_path: Path) -> None:
    file = tmp_path / "cases.yaml"
    file.write_text(
        "elsewhere: ignored\n"
        "traffic: {two: [{at: 0}, {at: 1}]}\n"
        "cases:\n"
        "  - name: a\n"
        "    events: [two, {at: 2}]\n"
        "    alerts: [{end: 2, count: 3}, {rule: other, subject: user#7, end: 2, count: 3}]\n"
    )
    [case] = read_cases(file, "own")
    assert [event["at"] for event in case.events] == [0, 1, 2]
    assert [(alert.rule, alert.subject) for alert in case.alerts] == [("own", "site"), ("other", "user#7")]
    assert case.elsewhere_ignored


def test_a_name_is_used_once(tmp_path: Path) -> None:
    file = tmp_path / "cases.yaml"
    file.write_text("cases:\n" + "  - {name: a, events: [{at: 0}], alerts: []}\n" * 2)
    with pytest.raises(RulebookError, match=r"^cases\.yaml: cases: the name 'a' is used twice"):
        read_cases(file, "own")
