"""The distributions of files of events side by side, to compare look-alike data with real data."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from tabulate import tabulate

from simulator.traffic.event import EVENT_TYPES
from simulator.traffic.inputs import SourceError
from simulator.traffic.source import Source

WINDOW_S = 10  # of the rule burst: (t - 10 s, t]
GAP_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
COUNT_QUANTILES = (0.5, 0.75, 0.9, 0.99)
PRICE_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
TOP_PRODUCTS = (1, 10, 100, 1000)

_RECORD = pl.Struct(
    {
        "event_type": pl.String,
        "product_id": pl.String,
        "category_id": pl.String,
        "category_code": pl.String,
        "brand": pl.String,
        "price": pl.Float64,
        "user_id": pl.String,
        "user_session": pl.String,
    }
)


def compare(inputs: Sequence[Path | str], limit: int | None = None) -> str:
    """Return a Markdown table: a row per measure, a column per input, of its first `limit` rows if given.

    Inputs are those of `replay`. Malformed rows are left out. It takes up to 700 bytes of memory per event.
    Raise SourceError if an input is not usable or holds no event.
    """
    columns = [dict(measures(read(name, limit))) for name in inputs]
    names = ["", *(Path(str(name)).name for name in inputs)]
    rows = [[measure, *(column[measure] for column in columns)] for measure in columns[0]]
    align = ["left", *("right" for _ in inputs)]
    return tabulate(rows, names, tablefmt="pipe", colalign=align, disable_numparse=True) + "\n"


def read(name: Path | str, limit: int | None = None) -> pl.DataFrame:
    """Return the input's good rows in its order: `second` (Unix time), `actor` and the data set's columns.

    The actor is the user, else the session, else null.

    Raise SourceError if the input is not usable or holds no event.
    """
    blocks = [
        block.select(
            pl.col("ms") // 1000,
            # The wire record, with the value that only a replay knows left empty.
            (pl.col("head") + '"}').str.json_decode(_RECORD).struct.unnest(),
        )
        .rename({"ms": "second"})
        .with_columns(actor=pl.coalesce("user_id", "user_session"))
        for block in Source(name, limit, sort=False).blocks()
    ]
    events = pl.concat(blocks) if blocks else pl.DataFrame()
    if not events.height:
        raise SourceError(f"{name}: it holds no event in the contract's shape: nothing to compare")
    return events


def measures(events: pl.DataFrame) -> Iterator[tuple[str, str]]:
    """Return name and value of each measure, for the columns of `read`."""
    unique = events.unique(maintain_order=True)
    yield from _counts(events, unique)
    yield from _times(events, unique)
    yield from _visits(events, unique)
    yield from _products(events)


def _counts(events: pl.DataFrame, unique: pl.DataFrame) -> Iterator[tuple[str, str]]:
    yield "events", f"{events.height:,}"
    yield "users", f"{events['user_id'].drop_nulls().n_unique():,}"
    yield "sessions", f"{events['user_session'].drop_nulls().n_unique():,}"
    for event_type in EVENT_TYPES:
        yield f"share of {event_type}", _percent((events["event_type"] == event_type).mean())
    for name in ("category_code", "brand", "user_id", "user_session"):
        yield f"{name} null", _percent(events[name].is_null().mean())
    yield "price 0", _percent((events["price"] == 0).mean())
    yield "exact duplicates", _percent(1 - unique.height / events.height)
    yield (
        "out of order: later in the file than a newer one",
        _percent((events["second"] < events["second"].cum_max()).mean()),
    )
    ids = events.select(pl.max_horizontal(pl.col("product_id", "category_id", "user_id").str.len_chars().max()))
    yield "characters of the longest id", _number(ids.item())


def _times(events: pl.DataFrame, unique: pl.DataFrame) -> Iterator[tuple[str, str]]:
    per_second = events.group_by("second").len()["len"]
    yield "most events in one second", str(per_second.max())
    known = unique.drop_nulls("actor")
    gaps = known.sort("actor", "second", maintain_order=True).select(
        gap=pl.col("second").diff().over("actor"),
        in_session=pl.col("user_session") == pl.col("user_session").shift().over("actor"),
    )
    yield f"seconds between a user's events: {_names(GAP_QUANTILES)}", _quantiles(gaps["gap"], GAP_QUANTILES)
    within = gaps.filter("in_session")["gap"]
    yield f"seconds within a session: {_names(GAP_QUANTILES)}", _quantiles(within, GAP_QUANTILES)
    between = gaps.filter(~pl.col("in_session"))["gap"]
    yield f"seconds from one session to the next: {_names(COUNT_QUANTILES)}", _quantiles(between, COUNT_QUANTILES)
    busiest = (
        known.select("actor", at=pl.from_epoch("second"))
        .sort("actor", "at")
        .rolling("at", period=f"{WINDOW_S}s", group_by="actor", closed="right")
        .agg(count=pl.len())
        .group_by("actor")
        .agg(pl.col("count").max())["count"]
    )
    for count in range(1, 6):
        yield f"users with {count} in their busiest {WINDOW_S} s", _percent((busiest == count).mean())
    yield f"most different events of a user in {WINDOW_S} s", _number(busiest.max())


def _visits(events: pl.DataFrame, unique: pl.DataFrame) -> Iterator[tuple[str, str]]:
    sessions = (
        events.drop_nulls("user_session")
        .group_by("user_session")
        .agg(
            events=pl.len(),
            products=pl.col("product_id").n_unique(),
            categories=pl.col("category_id").n_unique(),
            buys=(pl.col("event_type") == "purchase").any(),
        )
    )
    yield "events per session: mean", _number(sessions["events"].mean())
    yield (
        f"events per session: {_names(COUNT_QUANTILES)}, most",
        (f"{_quantiles(sessions['events'], COUNT_QUANTILES)}, {_number(sessions['events'].max())}"),
    )
    yield "sessions with one event", _percent((sessions["events"] == 1).mean())
    yield "sessions with more than 20", _percent((sessions["events"] > 20).mean())
    yield "products per session: mean", _number(sessions["products"].mean())
    yield "categories per session: mean", _number(sessions["categories"].mean())
    yield "sessions that buy", _percent(sessions["buys"].mean())
    users = events.drop_nulls("actor").group_by("actor").agg(pl.col("user_session").n_unique())["user_session"]
    yield "sessions per user: mean", _number(users.mean())
    yield "users with several sessions", _percent((users > 1).mean())
    at_once = unique.group_by("user_session", "second", "event_type").agg(pl.col("product_id").n_unique())
    for event_type, name in (("view", "tabs: views"), ("purchase", "checkouts: purchases")):
        sizes = at_once.filter(event_type=event_type)["product_id"]
        yield f"{name} of several products by one session in one second", f"{(sizes > 1).sum():,}"


def _products(events: pl.DataFrame) -> Iterator[tuple[str, str]]:
    for name in ("product_id", "category_id", "category_code", "brand"):
        yield f"distinct {name}", f"{events[name].drop_nulls().n_unique():,}"
    by_product = events["product_id"].drop_nulls().value_counts(sort=True)["count"]
    top = ", ".join(_percent(by_product.head(count).sum() / events.height) for count in TOP_PRODUCTS)
    yield f"events of the {', '.join(map(str, TOP_PRODUCTS))} top products", top
    for name in ("category_code", "brand"):
        by_name = events[name].drop_nulls().value_counts(sort=True)["count"]
        top = ", ".join(_percent(count / events.height) for count in by_name.head(3))
        yield f"events of the 3 top values of {name}", top or "-"
    yield (
        f"price: {_names(PRICE_QUANTILES)}, most",
        (f"{_quantiles(events['price'], PRICE_QUANTILES)}, {_number(events['price'].max())}"),
    )


def _names(quantiles: Sequence[float]) -> str:
    return ", ".join(f"{quantile:.0%}" for quantile in quantiles).replace("%", " %")


def _quantiles(values: pl.Series, quantiles: Sequence[float]) -> str:
    return ", ".join(_number(values.quantile(quantile)) for quantile in quantiles)


# Any: polars types an aggregate of a column as whatever a column may hold.
def _percent(share: Any) -> str:
    return "-" if share is None else f"{share:.2%}".replace("%", " %")


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:,.2f}".removesuffix(".00")
