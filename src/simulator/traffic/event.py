"""One event of the shop: a CSV row in, a wire record out. The shape is `contracts/event.json`.

An event is a dict. It has the nine fields of the data set, null as None, and of the others those with a value. Ids and
texts are str, times are UTC with milliseconds as on the wire, the price is a Decimal with two places.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from hashlib import sha256
from json.encoder import encode_basestring as _quote
from typing import Any, Literal

Event = dict[str, Any]
Kind = Literal["time", "type", "id", "text", "price", "quantity"]

# The contract's fields in its order, each with what it holds. A new field is a line here, before `txn_timestamp`.
FIELDS: dict[str, Kind] = {
    "event_time": "time",
    "event_type": "type",
    "product_id": "id",
    "category_id": "id",
    "category_code": "text",
    "brand": "text",
    "price": "price",
    "user_id": "id",
    "user_session": "id",
    "event_id": "id",
    "order_id": "id",
    "quantity": "quantity",
    "currency": "text",
    "client_ip": "text",
    "user_agent": "text",
    "page_url": "text",
    "referrer": "text",
    "txn_timestamp": "time",
}
REQUIRED = ("event_time", "event_type")
COLUMNS = tuple(FIELDS)[:9]  # the data set's, each in every record
OTHERS = tuple(FIELDS)[9:-1]  # in a record only where they have a value
EVENT_TYPES = ("view", "cart", "remove_from_cart", "purchase")  # that the rules know; others are good, too
# What an event says about the product: the same whoever acts.
PRODUCT_FIELDS = ("product_id", "category_id", "category_code", "brand", "price", "currency")
# What exports write where there is no value. A brand of this name needs a mapping that says other words for null.
NOTHING = ("NULL", "null", "\\N", "NaN", "nan", "None", "<NA>")
HEAD_END = ',"txn_timestamp":"'
MAX_ID_CHARACTERS = 128  # of an id, and of an event_type
MAX_QUANTITY = 2**63 - 1
MAX_PRICE = Decimal("9999999999.99")  # decimal(12,2)
CENT = Decimal("0.01")
MAX_MS = 32_503_680_000_000 - 1  # the end of 2999: whatever the shift of a live replay, a year has four digits

_PRICE = re.compile(r"[0-9]{1,10}(\.[0-9]{1,18})?")
_QUANTITY = re.compile(r"[0-9]{1,19}")
# No hour 24, which Python 3.14 takes. No time zone is further than 18 hours from UTC.
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]((?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:Z| UTC|([+-])(0[0-9]|1[0-8])(?::?([0-5][0-9]))?)"
)
# U+001F separates the values of an event_key; surrogates are not UTF-8.
_UNFIT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


class MalformedRow(ValueError):
    """A row that breaks the contract. The message says how."""


def parse(row: Sequence[str], columns: Sequence[str] = COLUMNS, nothing: Sequence[str] = NOTHING) -> Event:
    """Return the event of a row of these columns; a cell that is empty or one of `nothing` is null. Raise MalformedRow.

    `txn_timestamp`, which the replay sets, is in it only if the row has it.
    """
    if len(row) != len(columns):
        raise MalformedRow(f"{len(row)} columns, expected {len(columns)}")
    event: Event = dict.fromkeys(COLUMNS)
    for name, text in zip(columns, row, strict=True):
        if text and text not in nothing:
            event[name] = _PARSERS[FIELDS[name]](name, text)
    for name in REQUIRED:
        if event[name] is None:
            raise MalformedRow(f"{name} is empty")
    return event


def encode(event: Event) -> bytes:
    """Return the wire record: one compact JSON object."""
    at = event.get("txn_timestamp")
    return (_encode_fields(event) + ("}" if at is None else f',"txn_timestamp":"{at}"}}')).encode()


def encode_head(event: Event) -> str:
    """Return the wire record up to where the value of `txn_timestamp` begins."""
    return _encode_fields(event) + HEAD_END


def _encode_fields(event: Event) -> str:
    """Return the record without `txn_timestamp` and the end. Not with `json`, which cannot write a Decimal."""
    price = event["price"]
    text = (
        f'{{"event_time":"{event["event_time"]}","event_type":{_quote(event["event_type"])},'
        f'"product_id":{_or_null(event["product_id"])},"category_id":{_or_null(event["category_id"])},'
        f'"category_code":{_or_null(event["category_code"])},"brand":{_or_null(event["brand"])},'
        f'"price":{"null" if price is None else _two_decimals(price)},'
        f'"user_id":{_or_null(event["user_id"])},"user_session":{_or_null(event["user_session"])}'
    )
    if len(event) > len(COLUMNS):
        for name in OTHERS:
            if (value := event.get(name)) is not None:
                text += f',"{name}":{value if FIELDS[name] == "quantity" else _quote(value)}'
    return text


def _or_null(text: str | None) -> str:
    return "null" if text is None else _quote(text)


def event_key(event: Event) -> str:
    """Return what makes an event this one: its `event_id`, else the hex SHA-256 of its values.

    Takes an event or `json.loads` of its record; what is absent or empty is null. It is the same wherever it is
    computed. Raise ValueError if a time or the price is not one.
    """
    try:
        values = {name: value for name in FIELDS if (value := event.get(name)) is not None and value != ""}
        if "event_id" in values:
            return str(values["event_id"])
        for name in values:
            if FIELDS[name] == "time":
                values[name] = wire_time(ms_of(values[name]))
            elif FIELDS[name] == "price":
                values[name] = _two_decimals(values[name])
        if missing := [name for name in REQUIRED if name not in values]:
            raise ValueError(f"{missing[0]} is missing")
    except (AttributeError, TypeError, ArithmeticError, ValueError) as error:
        raise ValueError(f"{event!r} is no event: {error}") from error
    return sha256("\x1f".join(f"{name}={value}" for name, value in values.items()).encode()).hexdigest()


def ordering_key(event: Event) -> str:
    """Return whose events must stay in order: the user's, else the session's. Others are spread, by their product."""
    return event["user_id"] or event["user_session"] or event["product_id"] or spread_key(encode_head(event))


def spread_key(head: str) -> str:
    """Return a key for a record that says neither who acted nor on which product."""
    return sha256(head.encode()).hexdigest()[:16]


def at_ms(event: Event) -> int:
    """Return the pipeline's time of an event in Unix milliseconds: `txn_timestamp` where it is given."""
    return ms_of(event.get("txn_timestamp") or event["event_time"])


# The caches pay because a file in time order repeats its seconds and a shop its prices.
@lru_cache(1 << 12)
def ms_of(text: str) -> int:
    """Return the Unix milliseconds of a time in any of the contract's forms. Raise ValueError."""
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no time with an offset")
    day, clock, fraction, sign, hours, minutes = found.groups()
    second = int(datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=UTC).timestamp())
    if sign:
        second -= int(f"{sign}1") * (int(hours) * 3600 + int(minutes or 0) * 60)
    return second * 1000 + int((fraction or "")[:3].ljust(3, "0"))


def second_of(text: str) -> int:
    """Return the Unix second that a time is in. Raise ValueError."""
    return ms_of(text) // 1000


@lru_cache(1 << 12)
def wire_time(ms: int) -> str:
    """Return Unix milliseconds as on the wire, `2019-10-01T00:00:00.000Z`."""
    return f"{_iso(ms // 1000, 'T')}.{ms % 1000:03}Z"


@lru_cache(1 << 12)
def event_time_at(second: int) -> str:
    """Return Unix seconds as the data set writes them, `2019-10-01 00:00:00 UTC`."""
    return f"{_iso(second, ' ')} UTC"


def _iso(second: int, separator: str) -> str:
    return datetime.fromtimestamp(second, UTC).replace(tzinfo=None).isoformat(separator)


def _time(name: str, text: str) -> str:
    try:
        if 0 <= (ms := ms_of(text)) <= MAX_MS:
            return wire_time(ms)
    except ValueError:  # also of the 30th of February
        pass
    raise MalformedRow(
        f"{name} {text!r} is no time such as 2019-10-01 00:00:00 UTC or 2019-10-01T02:00:00.000+02:00, "
        "from 1970 to 2999"
    )


def _id(name: str, text: str) -> str:
    if len(text) > MAX_ID_CHARACTERS:
        raise MalformedRow(f"{name} has {len(text)} characters, allowed are {MAX_ID_CHARACTERS}")
    return _text(name, text)


@lru_cache(1 << 16)
def _price(name: str, text: str) -> Decimal:
    if _PRICE.fullmatch(text) and (price := Decimal(text).quantize(CENT, ROUND_HALF_UP)) <= MAX_PRICE:
        return price
    raise MalformedRow(f"{name} {text!r} is no decimal number from 0 to {MAX_PRICE}")


def _quantity(name: str, text: str) -> int:
    if _QUANTITY.fullmatch(text) and 1 <= (number := int(text)) <= MAX_QUANTITY:
        return number
    raise MalformedRow(f"{name} {text!r} is no whole number from 1 to {MAX_QUANTITY}")


def _text(name: str, text: str) -> str:
    if _UNFIT.search(text):
        raise MalformedRow(f"{name} {text!r} holds a control character")
    return text


_PARSERS: dict[Kind, Callable[[str, str], Any]] = {
    "time": _time,
    "type": _id,
    "id": _id,
    "text": _text,
    "price": _price,
    "quantity": _quantity,
}


def _two_decimals(price: Decimal | float) -> str:
    # `str` first: of a float it is the shortest text that reads back the same, so 35.79 stays 35.79. `+ 0`: no -0.00.
    return f"{Decimal(str(price)).quantize(CENT, ROUND_HALF_UP) + 0:f}"
