"""The rules over random traffic with low thresholds, compared with a reference in plain Python."""

import random
from collections.abc import Callable

import pytest
from reference import alerts
from shop import event, record, records

Detect = Callable[..., list[dict]]

SEEDS = [1, 2, 3, 4]
MAX_ID = 2**63 - 1
VALUES = {
    "alerts": {"quiet_s": 20},
    "user_windows": {"window_s": 60, "slide_s": 30},
    "burst": {"threshold": 3, "window_s": 6},
    "cart_hoarder": {"threshold": 2},
    "scraper": {"threshold": 3, "carts_per_100": 60},
    "session_rotator": {"threshold": 1},
    "product_flood": {"threshold": 2, "window_s": 6, "slide_s": 2},
    "site_surge": {"threshold": 6, "window_s": 5, "baseline_s": 90, "least_baseline_s": 12, "factor": 2},
}
PROPERTIES = {name: {key: str(value) for key, value in own.items()} for name, own in VALUES.items()}

USERS = [1, 2, 3, 4, 5, 6, -7, MAX_ID, -MAX_ID - 1, None]
PRODUCTS = [1, 2, 3, 4, 5, 6, -7, MAX_ID, MAX_ID - 1, None]
SESSIONS = ["a", "b", "c,d=e", "", None]


def traffic(seed: int) -> list[dict]:
    """Return some 2,000 events of ten users in half an hour, in time order, by turns quiet and busy.

    Many are delivered twice, many differ only in the fraction of a second. The earlier a user is in USERS, the more
    events it has.
    """
    draw = random.Random(seed)
    events, start = [], 0
    while start < 1_800:
        length, rate = draw.randrange(5, 90), draw.choice([0, 0.1, 0.4, 0.4, 1, 1, 5])
        for _ in range(int(length * rate)):
            at = draw.choice([start + draw.randrange(length), start + draw.randrange(length * 1000) / 1000])
            place = min(draw.randrange(len(USERS)), draw.randrange(len(USERS)))
            who = {"user_id": USERS[place], "user_session": SESSIONS[min(draw.randrange(5), draw.randrange(5))]}
            what = {"product_id": draw.choice(PRODUCTS), "price": draw.choice([1.5, 1.51])}
            kind = draw.choices(["view", "cart", "purchase"], [12, 5, 1])[0]
            if kind == "purchase":  # of some things, at which the user has just looked
                for product in draw.sample(PRODUCTS, draw.randrange(1, 4)):
                    events += [
                        event(at, event_type=kind, **who, **what | {"product_id": product})
                        for kind in ("view", "purchase")
                    ]
            else:
                events.append(event(at, event_type=kind, **who, **what))
        start += length
    events.sort(key=lambda one: one["at"])
    return [copy for one in events for copy in [one] * draw.choice([1, 1, 1, 2])]


def mixed(events: list[dict]) -> list[dict]:
    """Return the events in an order in which none is late."""
    draw = random.Random(1)
    return sorted(events, key=lambda one: one["at"] + draw.uniform(0, 2))


def shards(events: list[dict], seed: int) -> list[list[bytes]]:
    """Return two shards, with all events of a user on one. Now and then a shard has to wait for its next event."""
    draw = random.Random(seed)
    lines = [[], []]
    for one in events:
        own = lines[(USERS.index(one["user_id"]) >> seed) % 2]
        own += [b"-"] * draw.choice([0] * 50 + [draw.randrange(500)])
        own.append(record(one))
    return lines


def detect_randomly(detect: Detect, *lines: list[bytes]) -> list[dict]:
    # A rule without a reference is tested by its cases alone.
    found = [one for one in detect(*lines, **PROPERTIES) if one["rule"] in VALUES]
    assert len({one["alert_id"] for one in found}) == len(found)
    return found


def test_traffic_tries_all_rules_and_levels_and_the_end_of_attacks() -> None:
    found = [one for seed in SEEDS for one in alerts(traffic(seed), VALUES)]
    rules = set(VALUES) - {"alerts", "user_windows"}
    assert {(one["rule"], one["level"]) for one in found} >= {(rule, level) for rule in rules for level in (1, 2)}
    assert any(one["threshold"] > 6 for one in found if one["rule"] == "site_surge")
    for quiet_s in (19, 21):  # each changes something
        other = [one for seed in SEEDS for one in alerts(traffic(seed), VALUES | {"alerts": {"quiet_s": quiet_s}})]
        assert other != found


@pytest.mark.parametrize("seed", SEEDS)
def test_equals_the_reference(detect: Detect, seed: int) -> None:
    events = traffic(seed)
    assert detect_randomly(detect, records(events)) == alerts(events, VALUES)


def test_order_within_two_seconds_changes_nothing(detect: Detect) -> None:
    events = traffic(1)
    assert detect_randomly(detect, records(mixed(events))) == alerts(events, VALUES)


@pytest.mark.parametrize("seed", [1, 2])
def test_two_shards_change_nothing(detect: Detect, seed: int) -> None:
    events = traffic(1)
    assert detect_randomly(detect, *shards(mixed(events), seed)) == alerts(events, VALUES)


def test_everything_delivered_again_changes_nothing(detect: Detect) -> None:
    lines = records(traffic(2))
    assert detect_randomly(detect, [*lines, *lines]) == alerts(traffic(2), VALUES)
