"""A run is good only if every event and every bot is accounted for. Otherwise the two numbers are named."""

import pytest

from local_cloud.demo import compare_with_labels, faults, verdict

# All numbers differ, so that no equality holds by comparing the wrong ones.
GOOD = {
    "run_id": "1",
    "input_rows": 50_014,
    "malformed_rows": 10,
    "set_aside_rows": 4,
    "injected_events": 30,
    "sent_events": 50_030,
    "stream_events": 50_030,
    "raw_events": 50_030,
    "curated_rows": 50_003,
    "duplicate_rows": 20,
    "quarantined_rows": 7,
    "missing_events": 0,
    "labelled_bursts": 5,
    "found_bursts": 5,
    "falsely_flagged_users": 0,
    "alert_records": 8,
    "stored_alerts": 8,
    "incidents": 6,
    "told_incidents": 6,
    "unjudged_events": 0,
    "unjudged_reasons": {},
}

BOTS = [{"user_id": 900_000_000_001, "event_count": 12}, {"user_id": 900_000_000_002, "event_count": 8}]

SENT = "sent_events = input_rows - malformed_rows - set_aside_rows + injected_events"
ALERTING = ("labelled_bursts", "found_bursts", "alert_records", "stored_alerts", "incidents", "told_incidents")
STORED = "curated_rows + duplicate_rows + quarantined_rows = raw_events"


def test_a_run_that_accounts_for_everything_has_no_faults() -> None:
    assert faults(GOOD, 5) == []


def test_the_last_line_says_what_was_left_out() -> None:
    well = "All events accounted for, all bots found, no shopper flagged."
    none = {
        "malformed_rows": 0,
        "set_aside_rows": 0,
        "quarantined_rows": 0,
        "unjudged_events": 0,
        "unjudged_reasons": {},
    }
    assert verdict(GOOD | none, []) == [well]
    some = {"unjudged_events": 1_200, "unjudged_reasons": {"other_type": 1_200}}
    assert verdict(GOOD | some, []) == [
        well,
        "Left out: 10 malformed rows; 4 rows set aside; 7 quarantined records; 1,200 unjudged events, most of them "
        "other_type.",
    ]
    assert verdict(GOOD | none, ["a is not b"]) == ["FAILED:", "  a is not b"]


def test_of_events_that_no_rule_has_judged_nothing_is_well() -> None:
    reasons = {"unjudged_events": 1_234, "unjudged_reasons": {"ahead": 4, "late": 1_200, "other_type": 30}}
    assert faults(GOOD | reasons, 5) == [
        "no rule has judged 1,204 events: 4 ahead, 1,200 late; docs/detection.md says why"
    ]
    assert faults(GOOD | {"unjudged_events": 30, "unjudged_reasons": {"other_type": 30}}, 5) == []


def test_a_run_without_bots_has_no_faults() -> None:
    quiet = dict.fromkeys(ALERTING, 0)
    assert faults(GOOD | quiet | {"injected_events": 0, "input_rows": 50_044}, 0) == []


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ({"input_rows": 50_015}, [f"{SENT}: 50,030 is not 50,031"]),
        ({"malformed_rows": 0}, [f"{SENT}: 50,030 is not 50,040"]),
        ({"injected_events": 31}, [f"{SENT}: 50,030 is not 50,031"]),
        (
            {"sent_events": 50_029},
            [f"{SENT}: 50,029 is not 50,030", "stream_events = sent_events: 50,030 is not 50,029"],
        ),
        (
            {"stream_events": 50_031},
            [
                "stream_events = sent_events: 50,031 is not 50,030",
                "raw_events = stream_events: 50,030 is not 50,031",
            ],
        ),
        (
            {"raw_events": 0},
            ["raw_events = stream_events: 0 is not 50,030", f"{STORED}: 50,030 is not 0"],
        ),
        ({"curated_rows": 50_002}, [f"{STORED}: 50,029 is not 50,030"]),
        ({"duplicate_rows": 21}, [f"{STORED}: 50,031 is not 50,030"]),
        ({"quarantined_rows": 0}, [f"{STORED}: 50,023 is not 50,030"]),
        ({"missing_events": 1}, ["missing_events = 0: 1 is not 0"]),
        (
            {"labelled_bursts": 6},
            ["labelled_bursts = BURSTS: 6 is not 5", "found_bursts = labelled_bursts: 5 is not 6"],
        ),
        # A dead detector.
        ({"found_bursts": 0}, ["found_bursts = labelled_bursts: 0 is not 5"]),
        ({"falsely_flagged_users": 1}, ["falsely_flagged_users = 0: 1 is not 0"]),
        ({"stored_alerts": 7}, ["stored_alerts = alert_records: 7 is not 8"]),
        ({"incidents": 7}, ["told_incidents = incidents: 6 is not 7"]),
        ({"told_incidents": 0}, ["told_incidents = incidents: 0 is not 6"]),
    ],
)
def test_each_number_that_does_not_add_up_is_named(change: dict[str, int], lines: list[str]) -> None:
    assert faults(GOOD | change, 5) == lines


def test_faults_of_different_kinds_are_all_named() -> None:
    lines = faults(GOOD | {"missing_events": 2, "found_bursts": 4, "told_incidents": 5}, 5)
    assert lines == [
        "missing_events = 0: 2 is not 0",
        "found_bursts = labelled_bursts: 4 is not 5",
        "told_incidents = incidents: 5 is not 6",
    ]


def test_a_run_in_which_no_bot_was_mixed_in_although_asked_for_is_not_good() -> None:
    quiet = dict.fromkeys(ALERTING, 0)
    lines = faults(GOOD | quiet | {"injected_events": 0, "input_rows": 50_044}, 3)
    assert lines == ["labelled_bursts = BURSTS: 0 is not 3"]


@pytest.mark.parametrize(
    ("subjects", "found", "falsely_flagged"),
    [
        ([], 0, 0),
        (["user#900000000001", "user#900000000002"], 2, 0),
        # Of two levels.
        (["user#900000000001", "user#900000000001"], 1, 0),
        (["user#900000000001", "user#7", "user#7", "product#900000000002", "site"], 1, 3),
    ],
)
def test_who_is_found_or_flagged_counts_once_however_many_alerts(
    subjects: list[str], found: int, falsely_flagged: int
) -> None:
    assert compare_with_labels(BOTS, [{"subject": subject} for subject in subjects]) == {
        "labelled_bursts": 2,
        "found_bursts": found,
        "falsely_flagged_users": falsely_flagged,
    }
