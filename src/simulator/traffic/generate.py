"""Look-alike traffic in the data set's own format: the same rows for the same arguments, as many as wanted.

The times of the rows are planned from the week's curve alone. Open visits fill planned rows first; where they leave one
open, a new visitor comes in. So the number of rows and the length are exact, the curve is right up to chance, and rows
are in time order. Memory holds open visits, shelves and a limited number of past visitors.

Shares and gaps follow the real sample (October 2019), see docs/look-alike.md. By default no shopper breaks the burst
rule: a visitor waits until (t - 10 s, t] holds no more than BURST_LIMIT different events. That is a property of this
model and of the real sample, but no evidence about other shops.
"""

import gzip
import heapq
import io
import os
import uuid
from bisect import bisect
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, count, islice
from pathlib import Path
from random import Random

import polars as pl

from simulator.options import DEFAULT, TrafficOptions
from simulator.traffic.catalogue import Catalogue, Product, Shelf
from simulator.traffic.event import COLUMNS, Event, MalformedRow, event_time_at, parse, second_of
from simulator.traffic.rows import to_block

# Log-normal pauses as (mean, deviation) of the logarithm of seconds: e ** 3.45 = 31. To THINK and DECIDE, which comes
# before a purchase, MIN_THINK_S is added, and they are multiplied by a shopper's own pace: some are quick, others slow.
THINK, DECIDE = (3.45, 0.89), (4.4, 0.95)
PACE = (0, 0.5)
MIN_THINK_S = 2
# Events per session before carts and purchases: one, or a few, or many of shoppers who compare a lot.
ONE_VIEW_SHARE, BUSY_SHARE = 0.4, 0.085
STOP_SHARE, BUSY_STOP_SHARE = 0.33, 0.08
MAX_VIEWS = 50
STAY_ON_SHELF_SHARE = 0.88
SAME_PRODUCT_SHARE = 0.3
# Of views, times the product's appeal.
CART_SHARE, PURCHASE_SHARE = 0.0078, 0.0075
# What follows a cart, by cumulated share; remove_from_cart is not in the sample, but in its family.
_AFTER_CART, _AFTER_CART_SHARES = ("cart", "purchase", "remove_from_cart", "view"), (0.17, 0.59, 0.65)
SEVERAL_ITEMS_SHARE = 0.15  # of checkouts, if the session saw several products
TABS_SHARE = 0.002  # of views
# A visitor who leaves may come back at once with a new session, or hours and days later. The latter becomes more likely
# with the number of known visitors.
BACK_AT_ONCE_SHARE = 0.125
BACK_AFTER = (4.85, 1.2)  # a log-normal pause
BACK_LATER_SHARE = 0.5
BACK_LATER_AFTER_S = 1_800
KNOWN_VISITORS = 200_000
ONCE_MORE_SHARE = 0.2  # of repeated rows: repeated again

BURST_S = 10  # the window of the rule burst (sql/detection/rules)

# Visitors by hour (UTC) and weekday (Monday first), relative. The shop's customers live some hours east.
HOURS = (12, 14, 26, 52, 82, 100, 110, 114, 116, 116, 114, 112, 112, 116, 126, 140, 150, 146, 124, 90, 56, 32, 19, 13)
WEEKDAYS = (97, 99, 99, 98, 100, 105, 102)
HOUR_S, WEEK_S = 3600, 7 * 86_400
MONDAY = 4 * 86_400  # the first of Unix time

BLOCK_EVENTS = 5_000  # that LookAlike reads ahead
LAST_SECOND = second_of("2999-12-31 23:59:59 UTC")
# The sample's range. The two are coprime: a walk in such steps comes to each id before it comes to one again.
FIRST_USER_ID, USER_IDS, USER_ID_STEP = 512_000_000, 44_000_000, 16_806_299

Row = tuple[int, str]  # unix second, line
Act = tuple[int, list[str]]  # unix second, the lines of it without their times


def write(path: Path, events: int, hours: float, seed: int, start: int, options: TrafficOptions = DEFAULT) -> None:
    """Write the file, whole or not at all. `start` is in Unix seconds.

    Raise ValueError if its times were outside of what `replay` accepts.
    """
    if not 0 <= start <= start + hours * HOUR_S <= LAST_SECOND:
        raise ValueError("the data would be outside of 1970 to 2999; give another --start or fewer --hours")
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as raw:
            # No name and no time in gzip's header: they would differ from run to run.
            packed = gzip.GzipFile("", "wb", 6, raw, mtime=0) if path.suffix == ".gz" else raw
            with io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as text:
                text.write(",".join(COLUMNS) + "\n")
                text.writelines(f"{line}\n" for line in lines(events, hours, seed, start, options))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def lines(events: int, hours: float, seed: int, start: int, options: TrafficOptions = DEFAULT) -> Iterator[str]:
    """Return exactly `events` CSV lines within `hours` from `start` (Unix seconds).

    They are in time order, unless `options` say otherwise.
    """
    planned = _planned(events, start, start + round(hours * HOUR_S), Random(f"plan {seed}"))
    return _lines(islice(_rows(planned, _Shop(seed, options)), events), options, seed)


def endless_lines(events_per_hour: float, seed: int, start: int, options: TrafficOptions = DEFAULT) -> Iterator[str]:
    """Return CSV lines from `start` (Unix seconds) to the year 2999. `events_per_hour` is the mean of a week."""
    planned = _planned_endlessly(events_per_hour, start, Random(f"plan {seed}"))
    return _lines(_rows(planned, _Shop(seed, options)), options, seed)


class LookAlike:
    """Look-alike traffic in place of a Source: never written to a file, endless without `limit`.

    Each pass over it gives the same events. `rows` counts those of the latest pass.
    """

    damage = None
    share_read = None
    early = 0
    notes: Sequence[str] = ()

    def __init__(
        self, events_per_hour: float, seed: int, start: int, options: TrafficOptions = DEFAULT, limit: int | None = None
    ) -> None:
        self._arguments = events_per_hour, seed, start, options
        self.limit = limit
        self.rows = 0

    def closed(self, ms: pl.Series) -> pl.Series:
        """Return the times as they are, in place of `Source.closed`: made traffic has no gaps."""
        return ms

    def events(self) -> Iterator[Event]:
        """Return the events, as `Source.events` does. None is malformed."""
        self.rows = 0
        for line in islice(endless_lines(*self._arguments), self.limit):
            self.rows += 1
            yield parse(line.split(","))

    def blocks(self) -> Iterator[pl.DataFrame]:
        """Return the same events in blocks, as `Source.blocks` does."""
        self.rows = 0
        generated = islice(endless_lines(*self._arguments), self.limit)
        while lines := [line.encode() for line in islice(generated, BLOCK_EVENTS)]:
            self.rows += len(lines)
            yield to_block(lines, _refuse)


def _refuse(index: int, line: bytes, error: MalformedRow) -> None:
    raise AssertionError(f"the generator made {line!r}: {error}")


def _lines(rows: Iterator[Row], options: TrafficOptions, seed: int) -> Iterator[str]:
    if options.unsorted_share or options.late_share:
        rows = _disordered(rows, options, Random(f"disorder {seed}"))
    return (line for _, line in rows)


def _planned(events: int, start: int, end: int, rng: Random) -> Iterator[int]:
    """Return the seconds of `events` random arrivals by the week's curve, in order.

    It is a Poisson process of which the number of arrivals is given. They are drawn one by one as order statistics, so
    that none is kept.
    """
    done, all_done = _weight_at(start), _weight_at(end)
    for left in range(events, 0, -1):
        done = all_done - (all_done - done) * (1 - rng.random()) ** (1 / left)
        yield min(max(_second_at(done), start), end - 1)


def _planned_endlessly(events_per_hour: float, start: int, rng: Random) -> Iterator[int]:
    """Return the seconds of a Poisson process' arrivals by the week's curve."""
    done = _weight_at(start)
    while (second := max(_second_at(done := done + rng.expovariate(events_per_hour)), start)) <= LAST_SECOND:
        yield second


_HOUR_WEIGHTS = [hour * day * 168 / sum(HOURS) / sum(WEEKDAYS) for day in WEEKDAYS for hour in HOURS]  # mean 1
_DONE = [0.0, *accumulate(_HOUR_WEIGHTS)]


def _weight_at(second: int) -> float:
    """Return the curve's integral from the first Monday to a second: hours, weighted by the visitors in them."""
    weeks, rest = divmod(second - MONDAY, WEEK_S)
    hour, rest = divmod(rest, HOUR_S)
    return weeks * _DONE[-1] + _DONE[hour] + _HOUR_WEIGHTS[hour] * rest / HOUR_S


def _second_at(weight: float) -> int:
    """Return the second of a weight: the inverse of `_weight_at`."""
    weeks, rest = divmod(weight, _DONE[-1])
    hour = bisect(_DONE, rest, hi=len(_HOUR_WEIGHTS)) - 1
    return MONDAY + int(weeks) * WEEK_S + hour * HOUR_S + int((rest - _DONE[hour]) / _HOUR_WEIGHTS[hour] * HOUR_S)


def _rows(planned: Iterator[int], shop: "_Shop") -> Iterator[Row]:
    """Return rows in time order: when the n-th planned moment has passed, at least n have come."""
    numbers = count()
    open_visits: list[tuple[int, int, list[str], Iterator[Act]]] = []  # a heap, by the second of the visit's next rows
    now, time = -1, ""
    made = 0
    for wanted, moment in enumerate(planned, 1):
        while (is_due := bool(open_visits) and open_visits[0][0] <= moment) or made < wanted:
            if not is_due:
                visit = shop.visit(moment)
                second, rows = next(visit)
                heapq.heappush(open_visits, (second, next(numbers), rows, visit))
                continue
            second, number, rows, visit = open_visits[0]
            if second != now:
                now, time = second, event_time_at(second)
            for row in rows:
                yield second, time + row
            made += len(rows)
            following = next(visit, None)
            if following:
                heapq.heapreplace(open_visits, (following[0], number, following[1], visit))
            else:
                heapq.heappop(open_visits)


def _disordered(rows: Iterator[Row], options: TrafficOptions, rng: Random) -> Iterator[Row]:
    """Return the same rows, some held back until rows of a later second have passed."""
    held: list[tuple[int, int, Row]] = []
    for number, row in enumerate(rows):
        while held and held[0][0] < row[0]:
            yield heapq.heappop(held)[2]
        chance = rng.random()
        if chance < options.late_share:
            heapq.heappush(held, (row[0] + rng.randint(options.unsorted_s + 1, options.late_s), number, row))
        elif chance < options.late_share + options.unsorted_share:
            heapq.heappush(held, (row[0] + rng.randint(1, options.unsorted_s), number, row))
        else:
            yield row
    while held:
        yield heapq.heappop(held)[2]


def _view_shares() -> list[float]:
    """Return the cumulated shares of the sessions with 1, 2, ... MAX_VIEWS views."""

    def some(views: int, stop_share: float) -> float:
        return (1 - stop_share) ** (views - 2) * stop_share

    few_share = 1 - ONE_VIEW_SHARE - BUSY_SHARE
    several = (
        few_share * some(views, STOP_SHARE) + BUSY_SHARE * some(views, BUSY_STOP_SHARE)
        for views in range(2, MAX_VIEWS + 1)
    )
    return list(accumulate(several, initial=ONE_VIEW_SHARE))


_VIEW_SHARES = _view_shares()


_catalogue = lru_cache(1)(Catalogue)  # a further pass finds the shelves filled


class _Shop:
    """What all visitors share: the catalogue, chance, and the users who visited before."""

    def __init__(self, seed: int, options: TrafficOptions) -> None:
        self._rng = Random(f"shop {seed}")
        self._catalogue = _catalogue(seed)
        self._checkout_items = options.checkout_items
        self._tabs = options.tabs
        self._burst_limit = options.burst_limit
        # Of the rows before they are repeated, such that of all rows `duplicate_share` are copies.
        copies = options.duplicate_share / (1 - options.duplicate_share)
        self._first_copy_share = copies * (1 - ONCE_MORE_SHARE)
        self._visitors = self._rng.randrange(USER_IDS)
        # Chance of their own: whoever is a guest, the traffic is the same.
        self._guests, self._guest_share = Random(f"guests {seed}"), options.guest_share
        self._known: list[tuple[int, int]] = []  # (second of the last event, user_id)

    def visit(self, second: int) -> Iterator[Act]:
        """Return what one visitor does from `second` on, in one session or several in a row."""
        rng = self._rng
        user_id = self._visitor(second)
        recent = deque([second - BURST_S] * self._burst_limit, maxlen=self._burst_limit)
        second = yield from self._session(user_id, second, recent)
        while rng.random() < BACK_AT_ONCE_SHARE:
            second += 1 + int(rng.lognormvariate(*BACK_AFTER))
            second = yield from self._session(user_id, second, recent)
        # When it is full, a visitor is forgotten: if the latest replaced others, nobody of a busy shop would stay in it
        # for long enough to come back.
        if len(self._known) < KNOWN_VISITORS:
            self._known.append((second, user_id))

    def _visitor(self, second: int) -> int:
        """Return the user_id of the next visitor: a known one, or a new one."""
        rng, known = self._rng, self._known
        if rng.random() < BACK_LATER_SHARE * len(known) / KNOWN_VISITORS:
            place = rng.randrange(len(known))
            left, user_id = known[place]
            if second - left >= BACK_LATER_AFTER_S:
                known[place] = known[-1]
                known.pop()
                return user_id
        self._visitors = (self._visitors + USER_ID_STEP) % USER_IDS
        return FIRST_USER_ID + self._visitors

    def _session(self, user_id: int, second: int, recent: deque[int]) -> Generator[Act, None, int]:
        """Browse, then perhaps cart, then perhaps remove or purchase. Return the second of the last rows.

        `recent` holds the seconds of the user's latest `burst_limit` different events, and is kept so.
        """
        rng = self._rng
        is_guest = self._guests.random() < self._guest_share
        tail = f",{'' if is_guest else user_id},{uuid.UUID(int=rng.getrandbits(128), version=4)}"
        pace = rng.lognormvariate(*PACE)
        views = bisect(_VIEW_SHARES, rng.random() * _VIEW_SHARES[-1]) + 1
        shelf = self._catalogue.shelf(second // HOUR_S % 24, rng)
        step, products = "view", [shelf.product(rng)]
        seen: list[Product] = []
        while True:
            # Where more than the limit come at once, as `checkout_items` may allow, they have the ten seconds alone.
            second = max(second, recent[min(len(products), self._burst_limit) - 1] + BURST_S)
            recent.extend([second] * len(products))
            yield second, self._with_copies([f",{step},{product.columns}{tail}" for product in products])

            product = products[0]
            if step == "view":
                views -= len(products)
                seen += products
            step = self._next_step(step, product)
            if step == "view":
                if views < 1:
                    return second
                if rng.random() > STAY_ON_SHELF_SHARE:
                    shelf = self._catalogue.shelf(second // HOUR_S % 24, rng)
                products = self._next_views(shelf, product)
            elif step == "purchase":
                products = self._checkout(product, seen)
            else:
                products = [product]
            think_s = pace * rng.lognormvariate(*(DECIDE if step == "purchase" else THINK))
            second += MIN_THINK_S + int(think_s)

    def _next_step(self, step: str, product: Product) -> str:
        chance = self._rng.random()
        if step == "view":
            if chance < CART_SHARE * product.appeal:
                return "cart"
            if chance > 1 - PURCHASE_SHARE * product.appeal:
                return "purchase"
        elif step == "cart":
            return _AFTER_CART[bisect(_AFTER_CART_SHARES, chance)]
        return "view"

    def _next_views(self, shelf: Shelf, product: Product) -> list[Product]:
        """Return what is viewed next: one product, or a few in tabs that open together."""
        rng = self._rng
        chance = rng.random()
        if chance < SAME_PRODUCT_SHARE:
            return [product]
        if chance > 1 - TABS_SHARE:
            return list(dict.fromkeys(shelf.product(rng) for _ in range(rng.randint(2, max(2, self._tabs)))))
        return [shelf.product(rng)]

    def _checkout(self, product: Product, seen: list[Product]) -> list[Product]:
        """Return what is bought: the product first, then the latest that the session saw."""
        rng, most = self._rng, self._checkout_items
        if most == 1 or rng.random() >= SEVERAL_ITEMS_SHARE:
            return [product]
        return list(dict.fromkeys([product, *reversed(seen)]))[: rng.randint(2, most)]

    def _with_copies(self, rows: list[str]) -> list[str]:
        rng = self._rng
        repeated = []
        for row in rows:
            repeated.append(row)
            chance = self._first_copy_share
            while rng.random() < chance:
                repeated.append(row)
                chance = ONCE_MORE_SHARE
        return repeated
