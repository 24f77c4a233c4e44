"""Rule burst: more than 5 different events of one user within (t - 10 s, t] give an alert, at the crossing event, and
one more each time the count doubles."""

import json
import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import groupby

import pytest
from conftest import GROUPS

Detect = Callable[..., list[dict]]

MIDNIGHT = datetime(2019, 10, 1, tzinfo=UTC)
MAX_ID = 2**63 - 1


def time(second: float) -> str:
    """Returns the instant that many seconds after midnight as the pipeline writes it."""
    return (MIDNIGHT + timedelta(seconds=second)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event(second: float, product: int = 1, user: int | None = 7, **changes: object) -> bytes:
    """Returns the wire record of an event; what is not given is the same in all."""
    columns = {
        "event_time": "2019-10-01 00:00:00 UTC",
        "event_type": "view",
        "product_id": product,
        "category_id": 2053013555631882655,
        "category_code": "electronics.smartphone",
        "brand": "samsung",
        "price": 130.76,
        "user_id": user,
        "user_session": "a1b2",
        "txn_timestamp": time(second),
    }
    return json.dumps(columns | changes).encode()


def events(seconds: Iterable[float], user: int | None = 7) -> list[bytes]:
    """Returns an event of another product at each of the seconds."""
    return [event(second, product, user) for product, second in enumerate(seconds)]


def second_of(line: bytes) -> float:
    """Returns the second after midnight at which the event happened."""
    at = datetime.fromisoformat(json.loads(line)["txn_timestamp"])
    return round((at - MIDNIGHT) / timedelta(seconds=1), 3)


def alert(second: float, count: int = 6, user: int = 7) -> dict:
    """Returns the alert of a burst that reaches its level at that second, by the rule's own threshold."""
    return {
        "alert_id": f"burst:user#{user}:{time(second)}",
        "rule": "burst",
        "subject": f"user#{user}",
        "window_start_at": time(second - 10),
        "window_end_at": time(second),
        "num_actions_per_watermark": count,
        "threshold": 5,
        "level": level(count),
    }


def level(count: int, threshold: int = 5) -> int:
    """Returns how often the first count above the threshold can be doubled without passing the count, and once more."""
    doubles, reached = 0, threshold + 1
    while reached <= count:
        doubles, reached = doubles + 1, reached * 2
    return doubles


def reference(lines: Iterable[bytes]) -> list[dict]:
    """Returns the alerts of the lines, counted by brute force."""
    alerts = []
    by_user = {}
    for line in set(lines):
        by_user.setdefault(json.loads(line)["user_id"], []).append(second_of(line))
    for user, seconds in by_user.items():
        previous = None
        for now, _ in groupby(sorted(seconds)):
            count = sum(round(now - 10, 3) < second <= now for second in seconds)
            quiet = previous is None or previous[0] < round(now - 10, 3)
            if count > 5 and (quiet or previous[1] < level(count)):
                alerts.append(alert(now, count, user))
            previous = now, level(count)
    return sorted(alerts, key=lambda found: (found["subject"], found["window_end_at"]))


def shop(seed: int) -> list[bytes]:
    """Returns 600 events of 12 users in three minutes, in time order, many in the same second, many delivered twice.

    The lower a user's id, the more of them.
    """
    draw = random.Random(seed)
    seconds = sorted(
        draw.choice([draw.randrange(180), draw.randrange(60) * 3, draw.randrange(180_000) / 1000]) for _ in range(600)
    )
    lines = [event(second, draw.randrange(3), min(draw.randrange(12), draw.randrange(12))) for second in seconds]
    return [copy for line in lines for copy in [line] * draw.choice([1, 1, 1, 2])]


def test_as_many_as_the_threshold_are_no_burst(detect: Detect) -> None:
    assert detect(events([0, 1, 2, 3, 4])) == []


def test_one_more_is_a_burst_at_the_event_that_crosses(detect: Detect) -> None:
    assert detect(events([0, 1, 2, 3, 4, 5.678])) == [
        {
            "alert_id": "burst:user#7:2019-10-01T00:00:05.678Z",
            "rule": "burst",
            "subject": "user#7",
            "window_start_at": "2019-09-30T23:59:55.678Z",
            "window_end_at": "2019-10-01T00:00:05.678Z",
            "num_actions_per_watermark": 6,
            "threshold": 5,
            "level": 1,
        }
    ]


def test_all_in_one_instant(detect: Detect) -> None:
    assert detect(events([3, 3, 3, 3, 3, 3])) == [alert(3)]


def test_an_instant_that_crosses_counts_all_its_events(detect: Detect) -> None:
    assert detect(events([1, 2, 3, 3, 3, 3, 3])) == [alert(3, count=7)]


def test_astride_the_boundary_of_a_tumbling_window(detect: Detect) -> None:
    assert detect(events([7, 8, 9, 10, 11, 12])) == [alert(12)]


@pytest.mark.parametrize(("last", "alerts"), [(9.999, [alert(9.999)]), (10, [])])
def test_the_window_is_open_at_its_start(detect: Detect, last: float, alerts: list[dict]) -> None:
    assert detect(events([0, 1, 2, 3, 4, last])) == alerts


def test_threshold_and_window_are_values(detect: Detect) -> None:
    values = {"threshold": "2", "window_s": "120", "lookback_s": "119.999"}
    [found] = detect(events([0, 60, 119.999, 180]), burst=values)
    assert found == alert(119.999, count=3) | {"threshold": 2, "window_start_at": time(-0.001), "level": 1}


def test_a_threshold_of_0_has_levels_too(detect: Detect) -> None:
    found = detect(events(range(8)), burst=GROUPS["rule.burst"] | {"threshold": "0"})
    assert [(one["num_actions_per_watermark"], one["level"]) for one in found] == [(1, 1), (2, 2), (4, 3), (8, 4)]


def test_the_same_event_twice_counts_once(detect: Detect) -> None:
    five = events([0, 1, 2, 3, 4])
    assert detect([line for line in five for _ in range(3)]) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"category_code": "x", "brand": None}, {"category_code": None, "brand": "x"}),
        ({"brand": None}, {"brand": ""}),
        ({"category_code": "x|y", "brand": "z"}, {"category_code": "x", "brand": "y|z"}),
        ({"price": 1.50}, {"price": 1.51}),
        ({"user_session": "a1b2"}, {"user_session": "a1b3"}),
        ({"event_time": "2019-10-01 00:00:00 UTC"}, {"event_time": "2019-10-01 00:00:01 UTC"}),
        ({"txn_timestamp": time(4)}, {"txn_timestamp": time(4.001)}),
    ],
)
def test_events_that_differ_in_anything_count_apart(detect: Detect, one: dict, other: dict) -> None:
    four = events([0, 1, 2, 3])
    assert [found["num_actions_per_watermark"] for found in detect([*four, event(4, **one), event(4, **other)])] == [6]


def test_a_long_burst_that_does_not_double_is_one_alert(detect: Detect) -> None:
    assert detect(events([number / 2 for number in range(11)])) == [alert(2.5)]


def test_a_burst_alerts_again_each_time_it_doubles(detect: Detect) -> None:
    found = detect(events([number / 10 for number in range(48)]))
    assert found == [alert(0.5), alert(1.1, count=12), alert(2.3, count=24), alert(4.7, count=48)]
    assert [one["level"] for one in found] == [1, 2, 3, 4]


@pytest.mark.parametrize(("count", "expected"), [(11, 1), (12, 2), (23, 2), (24, 3), (47, 3), (48, 4)])
def test_a_level_reached_at_once_leaves_out_those_below(detect: Detect, count: int, expected: int) -> None:
    assert detect(events([3] * count)) == [alert(3, count) | {"level": expected}]


def test_a_level_that_falls_can_rise_again(detect: Detect) -> None:
    # 12 at second 1; at 10.5 the six of second 0 have left; at 10.6 there are 12 again.
    lines = events([0] * 6 + [1] * 6 + [10.5, 10.6, 10.6, 10.6, 10.6, 10.6])
    assert detect(lines) == [alert(0), alert(1, count=12), alert(10.6, count=12)]


@pytest.mark.parametrize("again", [[60, 61, 62, 63, 64, 65], [60] * 6])
def test_after_a_quiet_time_a_burst_is_a_new_alert(detect: Detect, again: list[float]) -> None:
    assert detect(events([0, 1, 2, 3, 4, 5, *again])) == [alert(5), alert(again[-1])]


@pytest.mark.parametrize(("second", "alerts"), [(10, [alert(0)]), (10.001, [alert(0), alert(10.001)])])
def test_quiet_is_longer_than_the_window(detect: Detect, second: float, alerts: list[dict]) -> None:
    assert detect(events([0] * 6 + [second] * 6)) == alerts


@pytest.mark.parametrize(("second", "more"), [(10, []), (10.001, [alert(10.001)])])
def test_a_lower_level_is_news_only_after_a_quiet_window(detect: Detect, second: float, more: list[dict]) -> None:
    assert detect(events([0] * 12 + [second] * 6)) == [alert(0, count=12), *more]


def test_a_steady_flood_is_one_alert(detect: Detect) -> None:
    assert detect(events(range(60))) == [alert(5)]


def test_a_count_that_falls_to_the_threshold_can_cross_again(detect: Detect) -> None:
    assert detect(events([0, 1, 2, 3, 4, 5, 11, 11.1])) == [alert(5), alert(11.1)]


def test_each_user_has_alerts_of_their_own(detect: Detect) -> None:
    both = [line for pair in zip(events(range(6), 7), events(range(6), 8), strict=True) for line in pair]
    assert detect(both) == [alert(5), alert(5, user=8)]


def test_ids_of_19_digits_stay_exact(detect: Detect) -> None:
    lines = events(range(6), MAX_ID) + events(range(5), MAX_ID - 1)
    assert detect(sorted(lines, key=second_of)) == [alert(5, user=MAX_ID)]


def test_events_without_a_user_are_nobodys_burst(detect: Detect) -> None:
    assert detect(events([0, 0, 0, 0, 0, 0, 0], user=None) + events(range(6))) == [alert(5)]


# What is no event, or lacks the user or the time; at second 2 where it says one.
POISON = [
    b"",
    b"oops",
    b"null",
    b"[]",
    b'"text"',
    b"7",
    b"\xff\xfe\x00",
    event(2)[:-20],
    event(2, txn_timestamp=None),
    event(2, txn_timestamp=""),
    event(2, txn_timestamp="yesterday"),
    event(2, txn_timestamp="2019-10-01T00:00:02.000"),
    event(2, txn_timestamp="2019-10-01 00:00:02"),
    event(2, txn_timestamp="2019-13-41T00:00:02.000Z"),
    event(2, txn_timestamp=1569888002000),
    event(2, txn_timestamp={"at": 2}),
    event(2).replace(b"txn_timestamp", b"timestamp"),
    event(2, user_id=None),
    event(2, user_id="seven"),
    event(2, user_id=[7]),
    event(2, user_id=MAX_ID + 1),
    event(2).replace(b"user_id", b"user"),
]


def test_a_bad_record_neither_counts_nor_harms(detect: Detect) -> None:
    lines = []
    for user, poison in enumerate(POISON, 100):
        lines += [*events([0, 1], user), poison.replace(b'"user_id": 7', b'"user_id": %d' % user)]
    for user, _ in enumerate(POISON, 100):
        lines += [event(second, int(second * 10), user) for second in (3, 3.1, 3.2)]
    assert detect([*events([0, 1, 2], 1), *lines, *events([3, 4, 5], 2)]) == []
    assert detect([*events([0, 1, 2], 1), *lines, *events([3, 3.1, 4], 1)]) == [alert(4, user=1)]


def test_a_bad_column_beside_user_and_time_does_not_hide_an_event(detect: Detect) -> None:
    changes = [{"price": "free"}, {"brand": ["a"]}, {"product_id": "x"}, {"event_type": None}, {"more": 1}, {}]
    assert detect([event(second, second, **change) for second, change in enumerate(changes)]) == [alert(5)]


@pytest.mark.parametrize("seed", [1, 2])
def test_equals_a_count_by_brute_force(detect: Detect, seed: int) -> None:
    lines = shop(seed)
    expected = reference(lines)
    assert len(expected) > 20
    assert {found["level"] for found in expected} >= {1, 2}
    assert detect(lines) == expected


def test_order_within_the_watermarks_delay_changes_nothing(detect: Detect) -> None:
    draw = random.Random(3)
    lines = shop(1)
    mixed = sorted(lines, key=lambda line: second_of(line) + draw.uniform(0, 2))
    assert mixed != lines
    assert detect(mixed) == reference(lines)


def test_parallelism_changes_nothing(detect: Detect) -> None:
    lines = shop(1)
    assert detect(lines, parallelism=2) == reference(lines)


def test_shards_on_subtasks_of_their_own(detect: Detect) -> None:
    assert detect(events(range(6), 7), events(range(6), 8), parallelism=2) == [alert(5), alert(5, user=8)]


def test_everything_delivered_again_gives_the_same_alerts(detect: Detect) -> None:
    lines = shop(1)
    assert detect([*lines, *lines]) == reference(lines)


def test_a_burst_delivered_again_long_after_is_the_same_alert_again(detect: Detect) -> None:
    burst, much_later = events(range(6)), event(60, user=8)
    assert detect([*burst, much_later, *burst]) == [alert(5), alert(5)]


def test_an_event_later_than_the_watermark_is_left_out(detect: Detect) -> None:
    five, late = events(range(5)), event(3.5, 99)
    assert detect([*five, late]) == [alert(4)]
    assert detect([*five, event(7, user=8), late]) == []


def test_late_is_judged_by_what_the_user_did_last(detect: Detect) -> None:
    five, late = events(range(5)), event(4.5, 99)
    assert detect([*five, event(7, user=8), late]) == [alert(4.5)]
