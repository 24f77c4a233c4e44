"""The score counts right: who was found, how soon, and who was flagged wrongly."""

import json
import re
from pathlib import Path

import pytest

from evaluation.actors import NOBODY_IDS, actor_of, subject_of
from evaluation.score import (
    Alert,
    LabelledAttacker,
    ScoreError,
    Truth,
    count_flagged,
    overlaps,
    percentile,
    read_labels,
    score,
    tables,
    unix_seconds,
)
from shopstream.app import run


def alert(rule: str, subject: str, end: float, length: float = 10) -> Alert:
    return Alert(rule, subject, end - length, end)


BURSTER = LabelledAttacker("user#1", "burst", 2.0, 100, 109)
SCRAPER = LabelledAttacker("user#2", "scraper", 2.0, 1_000, 1_600)


def test_an_attacker_is_found_by_the_rule_of_its_scenario_during_the_attack() -> None:
    truth = Truth([BURSTER, SCRAPER])
    alerts = [alert("burst", "user#1", 105), alert("burst", "user#1", 108), alert("burst", "user#2", 1_100)]
    burst, scraper = score(truth, alerts, ["burst", "scraper"])["scenarios"]
    assert (burst["found"], burst["recall"], burst["alerts_per_attacker"]) == (1, 1.0, 2.0)
    assert (burst["seconds_to_detect_median"], burst["seconds_to_detect_p95"]) == (5, 5)
    assert (scraper["found"], scraper["alerts_per_attacker"]) == (0, 1.0), "another rule's alert is no proof"


def test_the_tutorials_one_rule_finds_whatever_it_reports() -> None:
    [row] = score(Truth([SCRAPER]), [alert("tutorial", "user#2", 1_100)], ["tutorial"])["scenarios"]
    assert row["found"] == 1


def test_an_attacker_of_another_scenario_is_found_by_any_rule() -> None:
    truth = read_labels('{"attackers": {"2": {"scenario": "price spy"}, "3": {"scenario": "price spy"}}}')
    [row] = score(truth, [alert("scraper", "user#2", 1_100)], ["burst", "scraper"])["scenarios"]
    assert (row["attackers"], row["found"]) == (2, 1)


def test_intensities_are_scored_apart() -> None:
    loud = LabelledAttacker("user#3", "burst", 5.0, 100, 109)
    rows = score(Truth([BURSTER, loud]), [alert("burst", "user#3", 105)], ["burst"])["scenarios"]
    assert [(row["intensity"], row["recall"]) for row in rows] == [(2.0, 0.0), (5.0, 1.0)]


def test_whoever_did_not_attack_is_flagged_wrongly() -> None:
    truth = Truth([BURSTER], helpers={"user#8"}, controls={"user#6"}, buyers={"user#5"})
    alerts = [
        *(alert("burst", "user#1", 105), alert("burst", "user#8", 50)),
        *(alert("burst", "user#5", 105), alert("burst", "user#6", 105), alert("burst", "user#7", 105)),
        *(alert("product_flood", "product#9", 105), alert("site_surge", "site", 105)),
    ]
    one = count_flagged(truth, alerts)
    assert (one["alerts"], one["flagged"], one["precision"]) == (7, 7, round(2 / 7, 4))
    assert (one["flagged_humans"], one["flagged_buyers"], one["flagged_controls"]) == (3, 1, 1)
    assert one["flagged_others"] == ["product#9", "site"]
    assert count_flagged(truth, alerts, "burst")["flagged_others"] == []


def test_an_alert_about_an_attacker_at_another_time_is_wrong() -> None:
    one = count_flagged(Truth([BURSTER]), [alert("burst", "user#1", 500)])
    assert (one["precision"], one["flagged_humans"]) == (0.0, 1)


@pytest.mark.parametrize(("end", "is_during"), [(99, False), (100, True), (109, True), (118, True), (119, False)])
def test_a_window_is_half_open(end: float, is_during: bool) -> None:
    assert overlaps(BURSTER, alert("burst", "user#1", end)) is is_during


def test_labels_from_elsewhere_need_no_times() -> None:
    truth = read_labels('{"attackers": {"541312140": {"scenario": "burst"}}}')
    assert truth.attackers == [LabelledAttacker("user#541312140", "burst")]
    assert score(truth, [alert("burst", "user#541312140", 7)], ["burst"])["scenarios"][0]["recall"] == 1.0


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("541312140", "user#541312140"),
        ("kim@example.com", "user#kim@example.com"),
        ("000042", "user#000042"),
        ("a#b", "user#a#b"),
        ("site visitor", "user#site visitor"),
        *((known, known) for known in ("user#7", "session#7", "product#SKU-1", "site")),
    ],
)
def test_a_name_without_a_known_kind_is_a_user(name: str, subject: str) -> None:
    assert subject_of(name) == subject


@pytest.mark.parametrize(
    ("user_id", "session", "actor"),
    [
        ("000042", "s", "user#000042"),
        (42, "s", "user#42"),
        (None, "s", "session#s"),
        ("", "s", "session#s"),
        ("0", "s", "session#s"),
        ("guest", "s", "session#s"),
        ("Guest", "s", "user#Guest"),
        ("0", None, None),
        (None, "", None),
        (True, 1.5, None),
    ],
)
def test_who_acts_is_the_user_else_the_session(user_id: object, session: object, actor: str | None) -> None:
    assert actor_of({"user_id": user_id, "user_session": session}) == actor


def test_ids_that_mean_nobody_are_terraforms_defaults() -> None:
    variables = (Path(__file__).parents[2] / "terraform" / "variables.tf").read_text()
    found = re.search(r'variable "nobody_ids" \{.*?default\s*= (\[.*?\])', variables, re.DOTALL)
    assert found and set(json.loads(found[1])) == NOBODY_IDS


def test_a_guest_is_a_human_too() -> None:
    truth = Truth([], controls={"session#c"}, buyers={"session#b"})
    one = count_flagged(truth, [alert("burst", f"session#{name}", 105) for name in "abc"])
    assert (one["flagged_humans"], one["flagged_buyers"], one["flagged_controls"]) == (3, 1, 1)
    assert one["flagged_others"] == []


def test_our_own_labels_are_read_whole() -> None:
    surge = {"scenario": "site_surge", "intensity": 2, "users": ["user#5", "session#6"]}
    surge |= {"started_at": "2019-10-01 00:00:10 UTC", "ended_at": "2019-10-01 00:00:20 UTC"}
    text = json.dumps(
        {
            "attackers": {"site": [surge, surge]},
            "controls": {"session#7": {"scenario": "guests", "users": ["session#7", "session#8"]}},
        }
    )
    truth = read_labels(text)
    start = unix_seconds("2019-10-01T00:00:10.000Z")
    assert truth.attackers == [LabelledAttacker("site", "site_surge", 2, start, start + 10)] * 2
    assert (truth.helpers, truth.controls) == ({"user#5", "session#6"}, {"session#7", "session#8"})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"attackers": [1]}', '{"attackers": {"1": {}}}'])
def test_labels_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(ScoreError, match="the labels are not of the form"):
        read_labels(text)


def test_percentile_is_a_value_that_was_there() -> None:
    assert percentile([5, 1, 3], 95) == 5
    assert percentile([1, 2, 3, 4], 50) == 2


def test_the_tables_show_our_rules_beside_the_tutorials() -> None:
    truth = Truth([BURSTER], controls={"user#6"})
    ours = score(truth, [alert("burst", "user#1", 105)], ["burst"])
    tutorial = score(truth, [alert("tutorial", "user#6", 105)], ["tutorial"])
    result = {"humans": 1_234, "buyers": 5, "controls": 1, "ours": ours, "tutorial": tutorial}
    lines = tables("made", result).splitlines()
    assert lines[0] == "made: 1,234 humans (5 of them buy), 1 controls"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert cells[2] == ["burst", "2.0", "1", "1", "1.000", "5, 5", "1.0", "0", "0.000"]
    assert cells[0][-2:] == ["tutorial: found", "tutorial: recall"]
    assert [row[:4] for row in cells[5:]] == [
        ["burst", "1", "1", "1.0"],
        ["all", "1", "1", "1.0"],
        ["tutorial", "1", "1", ""],
    ]


def test_labels_without_their_traffic_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", "--labels", "labels.json"]) == 2
    assert capsys.readouterr().err == "error: --labels is about --data: give both\n"
