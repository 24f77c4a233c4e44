"""The validation of the Glue script again, in plain Python and with another parser."""

import hashlib
import json
import re
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

EVENT_TYPES = ("view", "cart", "remove_from_cart", "purchase")
TYPES = {
    "event_time": str,
    "event_type": str,
    "product_id": int,
    "category_id": int,
    "category_code": str,
    "brand": str,
    "price": Decimal,
    "user_id": int,
    "user_session": str,
    "txn_timestamp": str,
}
NULLABLE = ("category_code", "brand", "user_session")
TIMES = {
    "event_time": (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "%Y-%m-%d %H:%M:%S UTC"),
    "txn_timestamp": (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "%Y-%m-%dT%H:%M:%S.%fZ"),
}


def reason(line: bytes) -> str | None:
    """Return why the line is bad; None if it is good."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return "not_utf8"
    try:
        pairs = json.loads(text, parse_float=Decimal, parse_constant=refuse, object_pairs_hook=Pairs)
    except ValueError:
        return "not_json"
    if not isinstance(pairs, Pairs):
        return "not_json"
    return next(
        filter(None, (field_reason(name, [value for key, value in pairs if key == name]) for name in TYPES)), None
    )


def field_reason(name: str, values: list) -> str | None:
    """Return the first reason why the field is bad, given all its values in the record."""
    if len(values) > 1:
        return f"repeated:{name}"
    value = values[0] if values else None
    if value is None or (value == "" and TYPES[name] is str):
        return None if name in NULLABLE else f"missing:{name}"
    if TYPES[name] is Decimal and type(value) is int:
        value = Decimal(value)
    if type(value) is not TYPES[name]:
        return f"wrong_type:{name}"
    if TYPES[name] is int and not -(2**63) <= value < 2**63:
        return f"wrong_type:{name}"
    if name == "price" and (abs(value) > 10**10 or abs(cents(value)) >= 10**10):
        return f"wrong_type:{name}"
    if name in TIMES and not is_time(value, *TIMES[name]):
        return f"bad_time:{name}"
    if name == "event_type" and value not in EVENT_TYPES:
        return "unknown_event_type"
    if name == "price" and value < 0:
        return "negative_price"
    if TYPES[name] is str and re.search(r"[\x00-\x1f\x7f]", value):
        return f"control_character:{name}"
    return None


def event_id(line: bytes) -> str:
    """Return the id of a good line's event."""
    event = json.loads(line, parse_float=Decimal)
    values = {name: "" if event.get(name) is None else str(event[name]) for name in TYPES}
    values["event_time"] = values["event_time"][:19]
    values["price"] = f"{abs(cents(Decimal(event['price']))):f}"  # no negative zero
    values["txn_timestamp"] = values["txn_timestamp"].replace("T", " ").replace("Z", "")
    return hashlib.sha256("\x1f".join(values.values()).encode()).hexdigest()


def cents(price: Decimal) -> Decimal:
    return price.quantize(Decimal("0.01"), ROUND_HALF_UP)


def is_time(text: str, pattern: str, form: str) -> bool:
    try:
        return re.fullmatch(pattern, text, re.ASCII) is not None and bool(datetime.strptime(text, form))
    except ValueError:
        return False


class Pairs(list):
    """A JSON object with its repeated keys."""


def refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
