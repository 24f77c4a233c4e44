"""Bots break the burst rule, are nobody's neighbours, and leave the traffic they hide in as it was."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from random import Random

import pytest

from simulator.traffic.bots import KINDS, SPAN_S, BotsError, BurstBots, burst_seconds, neighbour
from simulator.traffic.event import (
    COLUMNS,
    EVENT_TYPES,
    Event,
    at_ms,
    encode,
    event_time_at,
    ordering_key,
    second_of,
    wire_time,
)

START = second_of("2019-10-01 00:00:00 UTC")
THRESHOLD, WINDOW_S = 5, 10


def shopper(number: int, second: int, user_id: str | None = None) -> Event:
    return {
        "event_time": wire_time(second * 1000),
        "event_type": EVENT_TYPES[number % 4],
        "product_id": str(1000 + number),
        "category_id": "2",
        "category_code": "a.b",
        "brand": "aqua",
        "price": 1,
        "user_id": str(500 + number) if user_id is None else user_id,
        "user_session": f"s{number}",
    }


TRAFFIC = [shopper(number, START + number * 7) for number in range(300)]


def mixed(bots: BurstBots, traffic: Sequence[Event] = TRAFFIC) -> list[Event]:
    """Return what goes out after both passes; all of it is sent."""
    assert list(bots.survey(traffic)) == list(traffic)
    events = list(bots.mix(traffic))
    note(bots, events)
    return events


def note(bots: BurstBots, events: Sequence[Event]) -> None:
    bots.note_sent(map(ordering_key, events), map(at_ms, events))


def seconds_by_bot(bots: BurstBots, events: Sequence[Event]) -> dict[str, list[int]]:
    """Return each bot's Unix seconds in the order in which its events go out."""
    return {
        bot.user_id: [second_of(event["event_time"]) for event in events if event["user_id"] == bot.user_id]
        for bot in bots.bots
    }


def busiest_sliding(seconds: Sequence[int]) -> int:
    """Return the highest count in any (t - 10 s, t]."""
    return max(sum(t - WINDOW_S < second <= t for second in seconds) for t in seconds)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_breaks_the_rule_wherever_it_starts(kind: str) -> None:
    for seed in range(200):
        not_before = START + seed % 23
        seconds = burst_seconds(kind, not_before, Random(seed))
        assert seconds == sorted(seconds)
        assert seconds[0] >= not_before
        assert seconds[-1] - seconds[0] <= SPAN_S
        assert busiest_sliding(seconds) > THRESHOLD


def test_astride_is_not_seen_by_tumbling_windows() -> None:
    for seed in range(200):
        seconds = burst_seconds("astride", START + seed % 23, Random(seed))
        tumbling = Counter(second // WINDOW_S for second in seconds)
        assert len(tumbling) == 2
        assert max(tumbling.values()) <= THRESHOLD


def test_same_second_is_one_second() -> None:
    assert set(burst_seconds("same_second", START, Random(1))) == {START}


def test_even_has_no_pause() -> None:
    seconds = burst_seconds("even", START, Random(1))
    assert (seconds[0], seconds[-1]) == (START, START + SPAN_S)
    assert max(later - earlier for earlier, later in pairwise(seconds)) <= 2


def test_unknown_kind_names_the_known() -> None:
    with pytest.raises(ValueError, match="'slow' is none of same_second, astride, even"):
        burst_seconds("slow", START, Random(1))


def test_traffic_goes_out_unchanged_and_in_its_order() -> None:
    bots = BurstBots(5, seed=1)
    events = mixed(bots)
    ids = {bot.user_id for bot in bots.bots}
    assert [event for event in events if event["user_id"] not in ids] == TRAFFIC


def test_bots_take_turns_in_kind_and_each_breaks_the_rule() -> None:
    bots = BurstBots(7, seed=1)
    events = mixed(bots)
    assert [bot.kind for bot in bots.bots] == [*KINDS, *KINDS, KINDS[0]]
    for seconds in seconds_by_bot(bots, events).values():
        assert seconds == sorted(seconds)
        assert busiest_sliding(seconds) > THRESHOLD


def test_sorted_traffic_stays_sorted() -> None:
    events = mixed(BurstBots(20, seed=1))
    times = [event["event_time"] for event in events]
    assert times == sorted(times)


def test_bots_users_occur_nowhere_in_the_input() -> None:
    first_choice = BurstBots(3, seed=1)
    mixed(first_choice)
    chosen = [bot.user_id for bot in first_choice.bots]

    bots = BurstBots(3, seed=1)
    mixed(bots, [*TRAFFIC, shopper(300, START + 3000, user_id=chosen[1])])

    users = [bot.user_id for bot in bots.bots]
    assert len(set(users)) == 3
    assert chosen[1] not in users
    assert not {*users} & {event["user_id"] for event in TRAFFIC}


def test_input_that_holds_every_candidate_is_refused() -> None:
    # 66 candidates: two bots and 64 spare ones.
    bots = BurstBots(2, seed=1)
    candidates = list(bots._candidates)
    traffic = [shopper(number, START, user_id) for number, user_id in enumerate(candidates[:-1])]
    with pytest.raises(BotsError, match="occur in the input: give another --seed"):
        mixed(bots, traffic)


def test_input_without_a_valid_row_is_refused() -> None:
    with pytest.raises(BotsError, match="no valid row to mix bursts with: give a file with events, or --bursts 0"):
        mixed(BurstBots(1, seed=1), [])


def test_same_seed_same_events_and_another_seed_others() -> None:
    one, again, other = BurstBots(5, seed=1), BurstBots(5, seed=1), BurstBots(5, seed=2)
    events = [encode(event) for event in mixed(one)]
    assert events == [encode(event) for event in mixed(again)]
    assert one.labels() == again.labels()
    mixed(other)
    assert not {bot.user_id for bot in other.bots} & {bot.user_id for bot in one.bots}


def test_no_bots_change_nothing() -> None:
    bots = BurstBots(0, seed=1)
    assert mixed(bots) == TRAFFIC
    assert bots.labels() == []


@pytest.mark.parametrize("bots", [1, 2, 3, 6])
def test_last_bot_comes_after_everything(bots: int) -> None:
    # Unsorted: the latest event is not the last.
    traffic = [*TRAFFIC, shopper(300, START + 9000), shopper(301, START)]
    bots = BurstBots(bots, seed=1)
    events = mixed(bots, traffic)
    last = bots.bots[-1].user_id
    size = sum(event["user_id"] == last for event in events)
    assert size > THRESHOLD
    assert {event["user_id"] for event in events[-size:]} == {last}
    before = max(event["event_time"] for event in events[:-size])
    assert all(event["event_time"] > before for event in events[-size:])


def test_more_bots_than_rows() -> None:
    bots = BurstBots(9, seed=1)
    events = mixed(bots, TRAFFIC[:2])
    assert all(busiest_sliding(seconds) > THRESHOLD for seconds in seconds_by_bot(bots, events).values())
    assert len(bots.labels()) == 9


@pytest.mark.parametrize(
    "product_id", [None, "0", "44600062", "9223372036854775807", "000042", "SKU-1/ä", "é" * 128, "9" * 128]
)
def test_no_two_events_of_a_bot_are_equal(product_id: str | None) -> None:
    bots = BurstBots(3, seed=1)
    events = mixed(bots, [event | {"product_id": product_id} for event in TRAFFIC])
    ids = {bot.user_id for bot in bots.bots}
    attackers = [event for event in events if event["user_id"] in ids]
    assert len({encode(event) for event in attackers}) == len(attackers)
    assert max(len(event["product_id"]) for event in attackers) <= 128
    assert all(list(event) == list(COLUMNS) for event in attackers)


def test_neighbours_of_a_number_are_the_next_numbers() -> None:
    assert [neighbour("44600062", step) for step in range(3)] == ["44600062", "44600063", "44600064"]
    assert [neighbour("000042", step) for step in range(2)] == ["000042-0", "000042-1"]


def test_bots_take_over_what_is_said_of_the_product_and_nothing_else() -> None:
    own = {"event_id": "e", "order_id": "o", "quantity": 2, "currency": "EUR", "client_ip": "192.0.2.17"}
    own |= {"user_agent": "a", "page_url": "p", "referrer": "r", "txn_timestamp": "2019-10-01T00:00:00.000Z"}
    bots = BurstBots(2, seed=1)
    events = mixed(bots, [event | own for event in TRAFFIC])
    ids = {bot.user_id for bot in bots.bots}
    for event in events:
        if event["user_id"] in ids:
            assert list(event) == [*COLUMNS, "currency"]
            assert (event["currency"], event["category_id"], event["brand"]) == ("EUR", "2", "aqua")


def test_bots_are_mixed_with_guests() -> None:
    guests = [event | {"user_id": None} for event in TRAFFIC]
    bots = BurstBots(3, seed=1)
    assert [event for event in mixed(bots, guests) if event["user_id"] is None] == guests
    assert len(bots.labels()) == 3


def test_labels_say_what_each_bot_did() -> None:
    bots = BurstBots(4, seed=1)
    seconds = seconds_by_bot(bots, mixed(bots))
    assert bots.labels() == [
        {
            "user_id": bot.user_id,
            "kind": bot.kind,
            "started_at": event_time_at(seconds[bot.user_id][0]),
            "ended_at": event_time_at(seconds[bot.user_id][-1]),
            "event_count": len(seconds[bot.user_id]),
        }
        for bot in bots.bots
    ]


def test_labels_hold_only_what_was_sent() -> None:
    bots = BurstBots(3, seed=1)
    list(bots.survey(TRAFFIC))
    events = list(bots.mix(TRAFFIC))
    assert (bots.labels(), bots.sent_events) == ([], 0)
    ids = {bot.user_id for bot in bots.bots}
    first = next(number for number, event in enumerate(events) if event["user_id"] in ids)
    note(bots, events[: first + 1])
    assert [(label["user_id"], label["event_count"]) for label in bots.labels()] == [(events[first]["user_id"], 1)]
    assert bots.sent_events == 1
