"""Answers to the questions of `sql/insights`, computed with polars from the questions' texts and not from their SQL.

Each function has the name of its question, takes events in the columns of `curated_events` (`quantity` may be absent)
and returns the same columns and the same order of rows as the SQL. Shares are computed in whole numbers and rounded
half up, as the engines do with decimals.
"""

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import polars as pl

MIN_VIEWERS, MIN_BUYERS = 10, 2
VISITS = ("view", "cart", "remove_from_cart", "purchase")


def unique_visitors_per_day(events: pl.DataFrame, from_date: date, to_date: date, **_: object) -> pl.DataFrame:
    rows = []
    visits = _between(events, from_date, to_date).filter(pl.col("event_type").is_in(VISITS))
    for (day,), group in visits.group_by(pl.col("event_at").dt.date()):
        buyers, sessions = group.filter(event_type="purchase"), group["user_session"].drop_nulls()
        rows.append((day, _number(group), sessions.n_unique(), _number(buyers)))
    return _frame(sorted(rows), ["visit_date", "visitors", "sessions", "buyers"])


def carts_not_bought(events: pl.DataFrame, from_date: date, to_date: date, top_n: int) -> pl.DataFrame:
    # Replay each shopper's product in order. In the same instant, adding comes first and buying last.
    steps = {"cart": 0, "remove_from_cart": 1, "purchase": 2}
    in_order = (
        _between(events, from_date, to_date)
        .filter(pl.col("event_type").is_in(list(steps)), pl.col("product_id").is_not_null())
        .filter(pl.col("visitor").is_not_null())
        .with_columns(step=pl.col("event_type").replace_strict(steps))
        .sort("event_at", "step", "price")
    )
    names: dict[str, tuple[set[str], set[str]]] = {}
    carts: dict[tuple[str, str], dict] = {}
    for event in in_order.iter_rows(named=True):
        key = (event["product_id"], event["visitor"])
        if event["event_type"] == "cart":
            price = carts[key]["price"] if event["price"] is None and key in carts else event["price"]
            carts[key] = {"state": "left_behind", "price": price}
        elif key in carts and carts[key]["state"] != "bought":
            carts[key]["state"] = "bought" if event["event_type"] == "purchase" else "removed"
    for event in in_order.iter_rows(named=True):
        if (event["product_id"], event["visitor"]) in carts:
            categories, brands = names.setdefault(event["product_id"], (set(), set()))
            categories |= {event["category_code"]} - {None}
            brands |= {event["brand"]} - {None}
    products: dict[str, list[dict]] = {}
    for (product_id, _), cart in carts.items():
        products.setdefault(product_id, []).append(cart)
    rows = []
    for product_id, product_carts in products.items():
        states = [cart["state"] for cart in product_carts]
        unbought = [cart["price"] or Decimal() for cart in product_carts if cart["state"] != "bought"]
        if unbought:
            categories, brands = names[product_id]
            counts = (len(states), states.count("bought"), states.count("removed"), states.count("left_behind"))
            rows.append(
                (
                    product_id,
                    max(categories, default=None),
                    max(brands, default=None),
                    *counts,
                    sum(unbought, Decimal()),
                )
            )
    rows.sort(key=lambda row: (-row[-1], row[0]))
    columns = ["product_id", "category_code", "brand", "carts", "bought", "removed", "left_behind", "unsold_value"]
    return _ranked(rows[:top_n], ["product_rank", *columns])


def top_categories_per_hour(events: pl.DataFrame, from_date: date, to_date: date, top_n: int) -> pl.DataFrame:
    return _top_categories(_between(events, from_date, to_date), pl.col("event_at").dt.hour(), "event_hour", top_n)


def top_categories_per_weekday(events: pl.DataFrame, from_date: date, to_date: date, top_n: int) -> pl.DataFrame:
    weekday = pl.col("event_at").dt.weekday()
    return _top_categories(_between(events, from_date, to_date), weekday, "event_weekday", top_n)


def brands_needing_marketing(events: pl.DataFrame, from_date: date, to_date: date, top_n: int) -> pl.DataFrame:
    branded = _between(events, from_date, to_date).filter(pl.col("brand").is_not_null())
    brands = {}
    for (brand,), group in branded.group_by("brand"):
        viewers = set(group.filter(event_type="view")["visitor"].drop_nulls())
        buyers = viewers & set(group.filter(event_type="purchase")["visitor"])
        if viewers:
            brands[brand] = (len(viewers), len(buyers))
    shop_viewers = sum(viewers for viewers, _ in brands.values())
    shop_buyers = sum(buyers for _, buyers in brands.values())
    known = [viewers for viewers, _ in brands.values() if viewers >= MIN_VIEWERS]
    rows = []
    for brand, (viewers, buyers) in brands.items():
        if viewers < MIN_VIEWERS or buyers < MIN_BUYERS:
            continue
        if buyers / viewers > shop_buyers / shop_viewers and viewers < sum(known) / len(known):
            rows.append(
                (
                    brand,
                    viewers,
                    buyers,
                    _quotient(buyers, viewers, 4),
                    _quotient(shop_buyers, shop_viewers, 4),
                    _quotient(sum(known), len(known), 1),
                    _quotient(buyers * shop_viewers - viewers * shop_buyers, shop_viewers, 2),
                )
            )
    rows.sort(key=lambda row: (-row[6], -row[1], row[0]))
    columns = ["brand", "viewers", "buyers", "conversion", "shop_conversion", "average_viewers", "extra_buyers"]
    return _ranked(rows[:top_n], ["brand_rank", *columns])


# By name. A new question may be without one.
REFERENCES: dict[str, Callable[..., pl.DataFrame]] = {
    function.__name__: function
    for function in (
        unique_visitors_per_day,
        carts_not_bought,
        top_categories_per_hour,
        top_categories_per_weekday,
        brands_needing_marketing,
    )
}


def _between(events: pl.DataFrame, from_date: date, to_date: date) -> pl.DataFrame:
    """Return the events of these days, with `visitor`: who acted, a user or, without one, a session."""
    visitors = [
        f"user#{user}" if user is not None else None if session is None else f"session#{session}"
        for user, session in events.select("user_id", "user_session").iter_rows()
    ]
    seen = events.with_columns(visitor=pl.Series(visitors, dtype=pl.String))
    return seen.filter(pl.col("event_at").dt.date().is_between(from_date, to_date))


def _number(events: pl.DataFrame) -> int:
    """Return how many visitors are known in the events."""
    return events["visitor"].drop_nulls().n_unique()


def _revenue(purchases: pl.DataFrame) -> Decimal:
    """Return the sum of price times quantity. Without a quantity it is one piece."""
    rows = purchases.iter_rows(named=True)
    return sum(((row["price"] or Decimal()) * (row.get("quantity") or 1) for row in rows), Decimal("0.00"))


def _top_categories(events: pl.DataFrame, period: pl.Expr, column: str, top_n: int) -> pl.DataFrame:
    periods: dict[int, list[tuple]] = {}
    named = events.filter(pl.col("category_code").is_not_null()).with_columns(period.cast(pl.Int64).alias(column))
    for (number, category), group in named.group_by(column, "category_code"):
        views = group.filter(event_type="view")
        bought = group.filter(event_type="purchase")
        if views.height:
            periods.setdefault(number, []).append(
                (category, _number(views), views.height, bought.height, _revenue(bought))
            )
    rows = []
    for number in sorted(periods):
        ordered = sorted(periods[number], key=lambda row: (-row[1], -row[2], row[0]))
        rows += [(number, rank, *row) for rank, row in enumerate(ordered[:top_n], start=1)]
    return _frame(rows, [column, "category_rank", "category_code", "viewers", "views", "purchases", "revenue"])


def _quotient(dividend: int, divisor: int, digits: int) -> Decimal:
    """Return the quotient of two numbers that are not negative, rounded half up in whole numbers."""
    scaled = (2 * dividend * 10**digits + divisor) // (2 * divisor)
    return Decimal(scaled).scaleb(-digits)


def _ranked(rows: list[tuple], columns: list[str]) -> pl.DataFrame:
    return _frame([(rank, *row) for rank, row in enumerate(rows, start=1)], columns)


def _frame(rows: list[tuple], columns: list[str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=columns, orient="row", infer_schema_length=None)
