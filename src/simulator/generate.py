"""Look-alike traffic in the data set's own format: the same bytes for the same arguments.

Shares and gaps follow the real sample (October 2019): think times are log-normal with a median of half a minute, 40 %
of the sessions have one event, one in a hundred more than twenty. By design no shopper breaks the burst rule: between
two events of one shopper lie at least MIN_THINK_S seconds and a session repeats at most one row, so (t - 10 s, t] never
holds more than five. That is a property of this model, and of the real sample, but no evidence about other shops.
Not modelled: a curve of the day, several tabs, checkouts of many items in one second, late or unsorted rows.
"""

import gzip
import io
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from random import Random

from simulator.catalogue import Catalogue
from simulator.event import COLUMNS, event_time_at, second_of

MIN_THINK_S = 3
THINK_LOG_MEDIAN_S = 3.5  # e ** 3.5 = 33 s
THINK_LOG_SIGMA = 0.95
RETURN_SHARE = 0.12  # shoppers who come back with a new session
RETURN_AFTER_S = (1_800, 5_400)
ONE_VIEW_SHARE = 0.4
BUSY_SHARE = 0.08  # sessions of shoppers who compare a lot
STAY_ON_SHELF_SHARE = 0.88
SAME_PRODUCT_SHARE = 0.3
CART_SHARE = 0.018  # of views, times the product's appeal
PURCHASE_SHARE = 0.5  # of carts
REMOVE_SHARE = 0.12
DIRECT_PURCHASE_SHARE = 0.004
DUPLICATE_SHARE = 0.0003  # of rows: the sample has 5 in 17,434

LAST_SECOND = second_of("2999-12-31 23:59:59 UTC")

Row = tuple[int, str]  # unix second, line


def write(path: Path, events: int, hours: float, seed: int, start: int) -> None:
    """Writes the file, whole or not at all; `start` in Unix seconds. Raises ValueError, if `replay` would refuse it."""
    if not 0 <= start <= start + hours * 3600 <= LAST_SECOND:
        raise ValueError("the data would lie outside of 1970 to 2999; give another --start or fewer --hours")
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as raw:
            # No name and no time in gzip's header: they would differ from run to run.
            packed = gzip.GzipFile("", "wb", 6, raw, mtime=0) if path.suffix == ".gz" else raw
            with io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as text:
                text.write(",".join(COLUMNS) + "\n")
                text.writelines(line + "\n" for line in lines(events, hours, seed, start))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def lines(events: int, hours: float, seed: int, start: int) -> Iterator[str]:
    """Exactly `events` CSV lines in time order, within `hours` from `start` (Unix seconds)."""
    rng = Random(f"shop {seed}")
    catalogue = Catalogue(rng)
    end = start + round(hours * 3600)
    rows: list[Row] = []
    user_ids: set[int] = set()
    while len(rows) < events:
        user_id = 512_000_000 + rng.randrange(44_000_000)
        if user_id not in user_ids:
            user_ids.add(user_id)
            rows.extend(_visits(str(user_id), start, end, catalogue, rng))
    del rows[events:]
    rows.sort(key=lambda row: row[0])  # stable: a shopper's events keep their order
    return (line for _, line in rows)


def _visits(user_id: str, start: int, end: int, catalogue: Catalogue, rng: Random) -> Iterator[Row]:
    """One shopper's rows, in time order."""
    second = start + rng.randrange(end - start)
    while second < end:
        for row in _session(user_id, second, end, catalogue, rng):
            second = row[0]
            yield row
        if rng.random() >= RETURN_SHARE:
            return
        second += rng.randint(*RETURN_AFTER_S)


def _session(user_id: str, second: int, end: int, catalogue: Catalogue, rng: Random) -> Iterator[Row]:
    """Browse, then perhaps cart, then perhaps remove or purchase."""
    tail = f"{user_id},{uuid.UUID(int=rng.getrandbits(128), version=4)}"
    shelf = catalogue.shelf(second // 3600 % 24, rng)
    product = catalogue.product(shelf, rng)
    views = _view_count(rng)
    repeated = False
    steps = ["view"]
    while steps:
        if second >= end:
            return
        step = steps.pop()
        row = (
            second,
            f"{event_time_at(second)},{step},{product.product_id},{product.category_id},{product.category_code},"
            f"{product.brand},{product.price},{tail}",
        )
        yield row
        if not repeated and rng.random() < DUPLICATE_SHARE:
            repeated = True
            yield row
        second += MIN_THINK_S + int(rng.lognormvariate(THINK_LOG_MEDIAN_S, THINK_LOG_SIGMA))
        if step == "view":
            views -= 1
            chance = rng.random()
            if chance < CART_SHARE * product.appeal:
                steps.append("cart")
            elif chance > 1 - DIRECT_PURCHASE_SHARE * product.appeal:
                steps.append("purchase")
        elif step == "cart":
            chance = rng.random()
            if chance < PURCHASE_SHARE:
                steps.append("purchase")
            elif chance > 1 - REMOVE_SHARE:
                steps.append("remove_from_cart")
        if not steps and views > 0:
            if rng.random() > STAY_ON_SHELF_SHARE:
                shelf = catalogue.shelf(second // 3600 % 24, rng)
            if rng.random() > SAME_PRODUCT_SHARE:
                product = catalogue.product(shelf, rng)
            steps.append("view")


def _view_count(rng: Random) -> int:
    if rng.random() < ONE_VIEW_SHARE:
        return 1
    stop = 0.08 if rng.random() < BUSY_SHARE / (1 - ONE_VIEW_SHARE) else 0.33
    views = 2
    while views < 50 and rng.random() > stop:
        views += 1
    return views
