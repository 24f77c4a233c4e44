"""One event of the shop: a CSV row in, a wire record out. The shape is `contracts/event.json`.

An event is a dict with the contract's fields in the contract's order: ids are int, the price is a Decimal with two
places, null is None.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from hashlib import sha256
from json import JSONEncoder
from typing import Any

Event = dict[str, Any]

COLUMNS = (
    "event_time",
    "event_type",
    "product_id",
    "category_id",
    "category_code",
    "brand",
    "price",
    "user_id",
    "user_session",
)
FIELDS = (*COLUMNS, "txn_timestamp")
EVENT_TYPES = ("view", "cart", "remove_from_cart", "purchase")
MIN_ID, MAX_ID = -(2**63), 2**63 - 1
MAX_PRICE = Decimal("9999999999.99")  # decimal(12,2)
CENT = Decimal("0.01")

_ID = re.compile(r"-?[0-9]{1,19}")
_PRICE = re.compile(r"[0-9]{1,10}(\.[0-9]{1,18})?")
# 1970 to 2999: whatever the offset of a live replay, it stays a year of four digits. No hour 24: Python 3.14 takes it.
_TIME = re.compile(r"(19[7-9]|2[0-9]{2})[0-9]-[0-9]{2}-[0-9]{2} ([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2} UTC")
# A name holds no control characters; U+001F separates the values of an event_id; surrogates are not UTF-8.
_UNFIT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_quote = lru_cache(1 << 16)(JSONEncoder(ensure_ascii=False).encode)


class MalformedRow(ValueError):
    """A row that breaks the contract. The message says how."""


def parse(row: Sequence[str]) -> Event:
    """Return the row's event, without `txn_timestamp`, which only the replay knows. Raise MalformedRow."""
    if len(row) != len(COLUMNS):
        raise MalformedRow(f"{len(row)} columns, expected {len(COLUMNS)}")
    event_time, event_type, product_id, category_id, category_code, brand, price, user_id, user_session = row
    second_of(event_time)
    if event_type not in EVENT_TYPES:
        raise MalformedRow(f"event_type {event_type!r} is none of {', '.join(EVENT_TYPES)}")
    return {
        "event_time": event_time,
        "event_type": event_type,
        "product_id": _id("product_id", product_id),
        "category_id": _id("category_id", category_id),
        "category_code": _text("category_code", category_code),
        "brand": _text("brand", brand),
        "price": _price(price),
        "user_id": _id("user_id", user_id),
        "user_session": _text("user_session", user_session),
    }


def encode(event: Event) -> bytes:
    """Return the wire record: one compact JSON object."""
    return f'{encode_head(event)}{event["txn_timestamp"]}"}}'.encode()


def encode_head(event: Event) -> str:
    """Return the wire record up to where the value of `txn_timestamp` begins.

    Not with `json`, which cannot write a Decimal.
    """
    code, brand, session = event["category_code"], event["brand"], event["user_session"]
    return (
        f'{{"event_time":{_quote(event["event_time"])},"event_type":{_quote(event["event_type"])},'
        f'"product_id":{event["product_id"]},"category_id":{event["category_id"]},'
        f'"category_code":{"null" if code is None else _quote(code)},'
        f'"brand":{"null" if brand is None else _quote(brand)},'
        f'"price":{_two_decimals(event["price"])},"user_id":{event["user_id"]},'
        f'"user_session":{"null" if session is None else _quote(session)},'
        f'"txn_timestamp":"'
    )


def event_id(event: Event) -> str:
    """Return the hex SHA-256 of the ten values: the same wherever it is computed.

    Takes an event or `json.loads` of its record. An absent field counts as null. Raise ValueError if a time or the
    price is not one.
    """
    try:
        values: list[Any] = [event.get(name) for name in FIELDS]
        values[0] = values[0].removesuffix(" UTC")
        values[6] = _two_decimals(values[6])
        values[9] = values[9].removesuffix("Z").replace("T", " ")
    except (AttributeError, ArithmeticError) as error:
        raise ValueError(f"{event!r} is no event: {error}") from error
    return sha256("\x1f".join("" if value is None else str(value) for value in values).encode()).hexdigest()


# The caches pay because a file in time order repeats its seconds and a shop its prices.
@lru_cache(1 << 12)
def second_of(event_time: str) -> int:
    """Return the Unix seconds of a time of the data set. Raise MalformedRow."""
    try:
        if _TIME.fullmatch(event_time):
            return int(datetime.fromisoformat(event_time.removesuffix(" UTC")).replace(tzinfo=UTC).timestamp())
    except ValueError:  # the 30th of February
        pass
    raise MalformedRow(f"event_time {event_time!r} is no time such as 2019-10-01 00:00:00 UTC, from 1970 to 2999")


@lru_cache(1 << 12)
def event_time_at(second: int) -> str:
    """Return Unix seconds as the data set writes them."""
    return f"{datetime.fromtimestamp(second, UTC).replace(tzinfo=None).isoformat(' ')} UTC"


def _id(name: str, text: str) -> int:
    if _ID.fullmatch(text) and MIN_ID <= (value := int(text)) <= MAX_ID:
        return value
    raise MalformedRow(f"{name} {text!r} is no 64-bit integer")


@lru_cache(1 << 16)
def _price(text: str) -> Decimal:
    if _PRICE.fullmatch(text) and (price := Decimal(text).quantize(CENT, ROUND_HALF_UP)) <= MAX_PRICE:
        return price
    raise MalformedRow(f"price {text!r} is no decimal number from 0 to {MAX_PRICE}")


def _text(name: str, text: str) -> str | None:
    if _UNFIT.search(text):
        raise MalformedRow(f"{name} {text!r} holds a control character")
    return text or None


def _two_decimals(price: Decimal | float) -> str:
    # `str` first: of a float it is the shortest text that reads back the same, so 35.79 stays 35.79. `+ 0`: no -0.00.
    return f"{Decimal(str(price)).quantize(CENT, ROUND_HALF_UP) + 0:f}"
