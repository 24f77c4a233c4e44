"""The rules over random traffic with low thresholds, compared with a reference in plain Python."""

import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from conftest import NOBODY
from reference import RULES, alerts
from shop import event, record, records

Detect = Callable[..., list[dict]]

SEEDS = [1, 2, 3, 4]
VALUES: dict[str, dict[str, float]] = {
    "alerts": {"quiet_s": 20},
    "burst": {"threshold": 3, "window_s": 6},
    "cart_hoarder": {"threshold": 2, "window_s": 50},
    "scraper": {"threshold": 3, "carts_per_100": 60, "window_s": 60},
    "session_rotator": {"threshold": 2, "window_s": 40},
    "product_flood": {"threshold": 2, "window_s": 6, "baseline_s": 50, "factor": 2.5},
    "identity_rotator": {"threshold": 2, "window_s": 8},
    "site_surge": {"threshold": 6, "window_s": 5, "baseline_s": 90, "least_baseline_s": 12, "factor": 2.5},
}
# Echoes and batches reach further back than these windows.
SHORT = VALUES | {
    "burst": {"threshold": 1, "window_s": 1},
    "cart_hoarder": {"threshold": 1, "window_s": 1},
    "scraper": {"threshold": 1, "carts_per_100": 60, "window_s": 1},
    "session_rotator": {"threshold": 1, "window_s": 1},
    "product_flood": {"threshold": 1, "window_s": 1, "baseline_s": 3, "factor": 1},
    "identity_rotator": {"threshold": 1, "window_s": 1},
}

# Who acts: users, guests with a session, and events of nobody. The earlier, the more events.
USERS = ["1", "kim@example.com", "42", "000042", None, "guest", "-7", "9223372036854775807", "ü b#7:2", "0", ""]
SESSIONS = ["a", "b", "c,d=e", "ä", "A", "1", "", None]
PRODUCTS = ["1", "2", "SKU-1/ä b#7:2", "0", "000", "-7", "9223372036854775807", "9223372036854775808"]
ADDRESSES = [None, "192.0.2.17", "::ffff:192.0.2.17", "2001:db8::1", "2001:DB8:0:0::2", "2001:db8:0:a::1", "", "x"]
PAGES = ["https://shop.example/", "https://shop.example/help", "", None]
# Where the limits of echoes, batches, late events and whole seconds are, in milliseconds.
STEPS = [0, 1, 499, 500, 998, 999, 1000, 1001, 1500, 1999, 2000, 2001, 2999, 3000, 3001]


def sent_late(right: str) -> str:
    """Return an `event_time` that is not the pipeline's."""
    return right.replace("2019", "2018")


def right_time(right: str) -> str:
    return right


def traffic(seed: int, minutes: int = 30) -> list[dict]:
    """Return some 100 events per minute, in time order, by turns quiet and busy."""
    draw = random.Random(seed)
    events: list[dict] = []
    start = 1
    while start < minutes * 60:
        length, rate = draw.randrange(5, 90), draw.choice([0, 0.05, 0.2, 0.2, 0.5, 0.5, 2.5])
        for _ in range(int(length * rate)):
            at = (start + draw.randrange(length)) * 1000 + draw.choice([0, draw.randrange(1000)])
            events += scene(draw, at)
        start += length
    events.sort(key=lambda one: one["at"])
    return [copy for one in events for copy in deliveries(draw, one)]


def scene(draw: random.Random, at: int) -> list[dict]:
    """Return what one of the actors does from that millisecond on."""
    user = USERS[min(draw.randrange(len(USERS)), draw.randrange(len(USERS)))]
    session = SESSIONS[min(draw.randrange(len(SESSIONS)), draw.randrange(len(SESSIONS)))]

    def one(at: int, kind: str, **what: Any) -> dict:
        own = {"product_id": draw.choice(PRODUCTS), "user_id": user, "user_session": session, "event_type": kind}
        own |= {"event_id": f"e{draw.randrange(10**12)}"} if draw.random() < 0.3 else {}
        own |= {"price": draw.choice([None, 1.5, 1.51]), "client_ip": draw.choice(ADDRESSES), "event_time": sent_late}
        if draw.random() < 0.2:  # the pipeline's time is that of the event
            own |= {"event_time": right_time, "txn_timestamp": draw.choice([None, ""])}
        return event(at / 1000, **own | what)

    def later() -> int:
        return draw.choice([*STEPS, draw.randrange(3000)])

    kind = draw.choices(["view", "cart", "remove_from_cart", "purchase"], [12, 6, 2, 1])[0]
    scenes = {"one": 8, "echoes": 3, "batch": 2, "page": 2, "order": 1, "other": 1, "tabs": 1, "visits": 1}
    match draw.choices(list(scenes), list(scenes.values())):
        case ["one"]:
            return [one(at, draw.choice([kind, kind, f" {kind.title()} ", kind.upper()]))]
        case ["echoes"]:  # the same thing, now and then
            what = draw.choice([{"product_id": draw.choice(PRODUCTS)}, {"product_id": None, "page_url": PAGES[0]}])
            times = [at, *(at + later() for _ in range(draw.randrange(1, 5)))]
            return [one(when, draw.choice([kind, kind, "remove_from_cart"]), **what) for when in times]
        case ["batch"]:
            times = [at + draw.choice([0, draw.randrange(1300)]) for _ in range(draw.randrange(2, 6))]
            return [one(when, kind if kind != "view" else "cart") for when in times]
        case ["page"]:
            return [
                one(at + later() * place, kind, product_id=draw.choice([None, ""]), page_url=draw.choice(PAGES))
                for place in range(draw.randrange(1, 3))
            ]
        case ["order"]:  # of what was looked at, put into the cart, perhaps taken out
            chosen = draw.sample(PRODUCTS, draw.randrange(1, 5))
            events = [
                one(at + later(), each, product_id=product)
                for product in chosen
                for each in ("view", "cart", *draw.choice([(), (), ("remove_from_cart",)]))
            ]
            bought = draw.choice([[None], chosen, chosen])
            return events + [one(at + 2000 + later(), "purchase", product_id=product) for product in bought]
        case ["other"]:
            return [one(at, draw.choice(["search", "checkout", "views", "purchase_"]))]
        case ["tabs"]:
            return [
                one(at + place * draw.choice([0, 10]), "view", product_id=each) for place, each in enumerate(PRODUCTS)
            ]
        case _:  # of several sessions
            return [one(at + later(), kind, user_session=each) for each in SESSIONS]


def deliveries(draw: random.Random, one: dict) -> list[dict]:
    """Return the event, perhaps delivered more than once. With an id, other bytes are the same event."""
    again = [dict(one) for _ in range(draw.choice([0, 0, 0, 1]))]
    if "event_id" in one:
        for copy in again:
            copy["brand"] = draw.choice(["samsung", "lg"])
    return [one, *again]


def mixed(events: list[dict]) -> list[dict]:
    """Return the events in an order in which none is late."""
    draw = random.Random(1)
    return sorted(events, key=lambda one: one["at"] + draw.uniform(0, 2))


def shuffled(events: list[dict]) -> list[dict]:
    """Return the events in an order in which many are late."""
    draw = random.Random(2)
    return sorted(events, key=lambda one: one["at"] + draw.choice([0, 0, draw.uniform(0, 8)]))


def shards(events: list[dict], seed: int) -> list[list[bytes]]:
    """Return two shards, with all events of an actor on one. Now and then a shard has to wait for its next event."""
    draw = random.Random(seed)
    lines: list[list[bytes]] = [[], []]
    for one in events:
        own = lines[hash_of(one["user_id"] or one["user_session"]) >> seed & 1]
        own += [b"-"] * draw.choice([0] * 50 + [draw.randrange(500)])
        own.append(record(one))
    return lines


def hash_of(text: str | None) -> int:
    return sum((text or "").encode())


def detect_randomly(detect: Detect, *lines: Iterable[bytes], values: dict = VALUES) -> list[dict]:
    # A rule without a reference is tested by its cases alone.
    found = [one for one in detect(*lines, **values) if one["rule"] in RULES]
    assert len({one["alert_id"] for one in found}) == len(found)
    return found


def expected(events: list[dict], values: dict = VALUES) -> list[dict]:
    return alerts(events, values, NOBODY)


def test_traffic_tries_all_rules_and_levels_and_the_end_of_attacks() -> None:
    found = [one for seed in SEEDS for one in expected(traffic(seed))]
    assert {(one["rule"], one["level"]) for one in found} >= {(rule, level) for rule in RULES for level in (1, 2)}
    for rule in ("product_flood", "site_surge"):
        assert any(one["threshold"] > VALUES[rule]["threshold"] for one in found if one["rule"] == rule)
    assert {one["subject"].split("#")[0] for one in found} == {"user", "session", "product", "ip", "site"}
    floods = [one for one in found if one["rule"] == "product_flood"]
    assert {one.get("explained_by") for one in floods} == {None, "site_surge"}
    for quiet_s in (19, 21):  # each changes something
        other = [one for seed in SEEDS for one in expected(traffic(seed), VALUES | {"alerts": {"quiet_s": quiet_s}})]
        assert other != found


def test_traffic_is_late_at_times() -> None:
    assert expected(mixed(traffic(1))) == expected(traffic(1)) != expected(shuffled(traffic(1)))


@pytest.mark.parametrize("seed", SEEDS)
def test_equals_the_reference(detect: Detect, seed: int) -> None:
    events = traffic(seed)
    assert detect_randomly(detect, records(events)) == expected(events)


@pytest.mark.parametrize("seed", [5, 6])
def test_equals_the_reference_with_windows_of_a_second(detect: Detect, seed: int) -> None:
    events = traffic(seed)
    assert detect_randomly(detect, records(events), values=SHORT) == expected(events, SHORT)


def test_order_within_two_seconds_changes_nothing(detect: Detect) -> None:
    events = traffic(1)
    assert detect_randomly(detect, records(mixed(events))) == expected(events)


def test_what_is_later_does_not_count(detect: Detect) -> None:
    events = shuffled(traffic(1))
    assert detect_randomly(detect, records(events)) == expected(events)


@pytest.mark.parametrize("seed", [1, 2])
def test_two_shards_change_nothing(detect: Detect, seed: int) -> None:
    events = traffic(1)
    assert detect_randomly(detect, *shards(mixed(events), seed)) == expected(events)


def test_everything_delivered_again_changes_nothing(detect: Detect) -> None:
    lines = records(traffic(2))
    assert detect_randomly(detect, [*lines, *lines]) == expected(traffic(2))


def test_more_events_and_actors_than_fit_in_memory_change_nothing(detect: Detect) -> None:
    # The bounds: KeyedActivity.MAX_WAITING, Histories.MAX_BYTES.
    draw = random.Random(1)
    at_once = [
        event(
            1 + draw.randrange(2000) / 1000,
            user_id=f"often {number // 10 % 1000}" if number % 10 == 0 else f"once {number}",
            product_id=f"often {number // 10 % 999}" if number % 10 == 0 else f"once {number}",
        )
        for number in range(120_000)
    ]
    # After these the watermark passes the others, a tenth of a second at a time.
    after = [event(3 + step / 10, user_id=f"often {step}", product_id="often 1") for step in range(1, 31)]
    assert detect_randomly(detect, records(at_once + after)) == expected(at_once + after)
