"""Labelled burst bots: synthetic users who do more in ten seconds than any shopper, mixed into real traffic."""

import heapq
import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

from simulator.traffic.event import (
    COLUMNS,
    MAX_ID_CHARACTERS,
    PRODUCT_FIELDS,
    Event,
    at_ms,
    event_time_at,
    ordering_key,
    wire_time,
)

# (t - 10 s, t] of whole seconds holds ten of them: first and last event are at most nine seconds apart.
SPAN_S = 9
BOUNDARY_S = 10
MIN_EVENTS, MAX_EVENTS = 8, 20
# Five on each side: a count by tumbling windows stays at the threshold and finds nothing.
MAX_ASTRIDE_EVENTS = 10
KINDS = ("same_second", "astride", "even")

_SPARE_IDS = 64
_NUMBER = re.compile(r"(0|[1-9][0-9]{0,18})")
_STEM = MAX_ID_CHARACTERS - len(f"-{MAX_EVENTS}")


class BotsError(ValueError):
    """No bots can be mixed into this traffic. The message says why and what to do."""


@dataclass
class Bot:
    """A synthetic user that breaks the burst rule. `seconds` holds the times of its events that were sent."""

    user_id: str
    kind: str
    seconds: list[int] = field(default_factory=list)

    def label(self) -> dict[str, Any]:
        """Return what the bot did, by what of it was sent."""
        return {
            "user_id": self.user_id,
            "kind": self.kind,
            "started_at": event_time_at(min(self.seconds)),
            "ended_at": event_time_at(max(self.seconds)),
            "event_count": len(self.seconds),
        }


class BurstBots:
    """So many bots, drawn from `seed`, to mix into traffic.

    First call `survey` with the traffic, then `mix` with the same traffic, then `note_sent` with what is sent: only
    what was sent becomes a label. The traffic is read twice, because a bot's id must not occur in it and the bots are
    spread over all its rows. Neither pass keeps rows or users, so memory does not grow.
    """

    def __init__(self, bots: int, seed: int) -> None:
        self._rng = Random(f"attack {seed}")
        # Far above the data set's ids, so that people recognise a bot; spare ones, because survey may remove some.
        self._candidates = dict.fromkeys(
            str(900_000_000_000 + self._rng.randrange(10**11)) for _ in range(bots + _SPARE_IDS)
        )
        self._bots = bots
        self._rows = 0
        self._pending: list[tuple[int, int, Event]] = []
        self._sequence = count()
        self.bots: list[Bot] = []

    def survey(self, events: Iterable[Event]) -> Iterator[Event]:
        """Return the events unchanged, and count them. Exhaust the iterator."""
        for event in events:
            self._candidates.pop(ordering_key(event), None)
            self._rows += 1
            yield event

    def mix(self, events: Iterable[Event]) -> Iterator[Event]:
        """Return the events in their order, with each bot's in time order among them.

        The last bot comes after everything else: only a pipeline that drains the end of its input finds it.
        Raise BotsError if the survey saw no event, or too many of the bots' ids.
        """
        if not self._bots:
            yield from events
            return
        if not self._rows:
            raise BotsError("no valid row to mix bursts with: give a file with events, or --bursts 0")
        if len(self._candidates) < self._bots:
            raise BotsError("the bots' user ids occur in the input: give another --seed")
        self.bots = [
            Bot(user_id, KINDS[number % len(KINDS)])
            for number, user_id in zip(range(self._bots), self._candidates, strict=False)
        ]
        *spread, last = self.bots
        places = [self._rows * (number + 1) // self._bots for number in range(len(spread))]
        waiting = list(zip(places, spread, strict=True))[::-1]
        latest = 0
        for place, event in enumerate(events):
            ms = at_ms(event)
            latest = max(latest, ms // 1000)
            yield from self._due_before(ms / 1000)
            while waiting and waiting[-1][0] == place:
                self._start(waiting.pop()[1], -(-ms // 1000), event)
            yield event
        latest = max([latest, *(second for second, *_ in self._pending)])
        yield from self._due_before(latest + 1)
        self._start(last, latest + 1, event)
        yield from self._due_before(latest + 2 * BOUNDARY_S + SPAN_S)

    def note_sent(self, keys: Iterable[str], times_ms: Iterable[int]) -> None:
        """Note the events that were sent, shoppers' and bots', by their ordering keys and Unix milliseconds."""
        bots = {bot.user_id: bot for bot in self.bots}
        for key, ms in zip(keys, times_ms, strict=True):
            if bot := bots.get(key):
                bot.seconds.append(ms // 1000)

    @property
    def sent_events(self) -> int:
        """The number of the bots' events that were sent."""
        return sum(len(bot.seconds) for bot in self.bots)

    def labels(self) -> list[dict[str, Any]]:
        """Return the labels of the bots, by what was sent so far."""
        return [bot.label() for bot in self.bots if bot.seconds]

    def _start(self, bot: Bot, not_before: int, like: Event) -> None:
        """Plan a burst. It walks over products from that of a nearby event, so that no two events are equal."""
        session = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        product = {name: like[name] for name in PRODUCT_FIELDS if name in like}
        for step, second in enumerate(burst_seconds(bot.kind, not_before, self._rng)):
            own = {
                "event_time": wire_time(second * 1000),
                "event_type": "view",
                "product_id": neighbour(like["product_id"], step),
                "user_id": bot.user_id,
                "user_session": session,
            }
            event = dict.fromkeys(COLUMNS) | product | own
            heapq.heappush(self._pending, (second, next(self._sequence), event))

    def _due_before(self, second: float) -> Iterator[Event]:
        while self._pending and self._pending[0][0] < second:
            yield heapq.heappop(self._pending)[-1]


def neighbour(product_id: str | None, step: int) -> str:
    """Return the id of another product for each step: the next numbers, or the same text with a number behind it."""
    if product_id is None or _NUMBER.fullmatch(product_id):
        return str(int(product_id or 1) + step)
    return f"{product_id[:_STEM]}-{step}"


def burst_seconds(kind: str, not_before: int, rng: Random) -> list[int]:
    """Return the Unix seconds of one burst's events, ascending, at most SPAN_S apart.

    The first is at `not_before` or at most BOUNDARY_S after it.
    """
    if kind == "same_second":
        return [not_before] * rng.randint(MIN_EVENTS, MAX_EVENTS)
    if kind == "even":
        size = rng.randint(MIN_EVENTS, MAX_EVENTS)
        return [not_before + step * SPAN_S // (size - 1) for step in range(size)]
    if kind == "astride":
        size = rng.randint(MIN_EVENTS, MAX_ASTRIDE_EVENTS)
        boundary = -(-(not_before + 3) // BOUNDARY_S) * BOUNDARY_S
        before = size // 2
        after = size - before
        return sorted(
            [boundary - 1 - step % 3 for step in range(before)] + [boundary + step % 3 for step in range(after)]
        )
    raise ValueError(f"kind {kind!r} is none of {', '.join(KINDS)}")
