"""The validation of the Glue script again, in plain Python and with another parser."""

import hashlib
import json
import re
import unicodedata
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

CONTRACT = json.loads((Path(__file__).parents[3] / "contracts" / "event.json").read_text())
FIELDS = {field["name"]: field for field in CONTRACT}
IDS = [name for name, field in FIELDS.items() if field["unit"] == "id"]
TIMES = {"event_time": "event_at", "txn_timestamp": "txn_at"}
TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d{1,9})?(?:Z| UTC|([+-])(\d\d):?([0-5]\d)?)(?<!:)", re.ASCII
)
EPOCH = datetime(1970, 1, 1)


def reason(line: bytes, arrived_by: datetime = datetime.max, max_ahead_s: int = 0) -> str | None:
    """Return why the line is bad; None if it is good."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return "not_utf8"
    try:
        pairs = json.loads(text, parse_float=number, parse_constant=refuse, object_pairs_hook=Pairs)
    except (ValueError, RecursionError):
        return "not_json"
    try:
        json.dumps(pairs, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return "not_utf8"
    if not isinstance(pairs, Pairs) or depth(pairs) > 100:
        return "not_json"
    for name in FIELDS:
        if found := field_reason(name, [value for key, value in pairs if key == name]):
            return found
    event = dict(pairs)
    at = instant(event.get("txn_timestamp") or event["event_time"])
    if at <= EPOCH:
        return "undated"
    return "ahead" if arrived_by < datetime.max and at > arrived_by + timedelta(seconds=max_ahead_s) else None


def field_reason(name: str, values: list) -> str | None:
    """Return the first reason why the field is bad, given all its values in the record."""
    field = FIELDS[name]
    if len(values) > 1:
        return f"repeated:{name}"
    value = values[0] if values else None
    if value is None or value == "":
        return None if field["nullable"] else f"missing:{name}"
    if name in IDS and type(value) is int:
        value = str(value)
    if field["type"] == "string":
        if type(value) is not str:
            return f"wrong_type:{name}"
        if (name in IDS or name == "event_type") and len(value) > 128:
            return f"too_long:{name}"
        if name in TIMES and instant(value) is None:
            return f"bad_time:{name}"
        return f"control_character:{name}" if re.search(r"[\x00-\x1f\x7f]", value) else None
    if field["type"] == "bigint":
        if type(value) is not int or not -(2**63) <= value < 2**63:
            return f"wrong_type:{name}"
        return "bad_quantity" if value < 1 else None
    if type(value) not in (int, Decimal) or abs(value) > 10**10 or abs(cents(Decimal(value))) >= 10**10:
        return f"wrong_type:{name}"
    return "negative_price" if value < 0 else None


def sent(line: bytes) -> dict[str, Any]:
    """Return the values of a good line that are not null, as sent: texts, a price in cents, an int, times in UTC."""
    event = json.loads(line, parse_float=Decimal)
    given = {name: event[name] for name in FIELDS if event.get(name) not in (None, "")}
    for name in given:
        if name in IDS:
            given[name] = str(given[name])
        elif name == "price":
            given[name] = abs(cents(Decimal(given[name])))  # no negative zero
        elif name in TIMES:
            given[name] = instant(given[name])
    return given


def event_key(line: bytes) -> str:
    """Return the key of a good line's event."""
    values = sent(line)
    for name in TIMES.keys() & values.keys():
        values[name] = values[name].isoformat(timespec="milliseconds") + "Z"
    named = "\x1f".join(f"{name}={value}" for name, value in values.items())
    return values.get("event_id") or hashlib.sha256(named.encode()).hexdigest()


def curated(line: bytes, nobody_ids: tuple[str, ...] = (), truncates_addresses: bool = False) -> dict[str, Any]:
    """Return the row of a good line, without `received_at`."""
    values = sent(line)
    # Of a name that is there twice, the first value counts.
    hooks = {"parse_int": as_written, "parse_float": as_written}
    event = json.loads(line, object_pairs_hook=lambda pairs: dict(reversed(pairs)), **hooks)
    row = {TIMES.get(name, name): values.get(name) for name in FIELDS}
    row["event_key"] = event_key(line)
    row["event_type"] = row["event_type"].strip(" ").lower()
    row["txn_at"] = row["txn_at"] or row["event_at"]
    for name in ("brand", "category_code"):
        row[name] = " ".join(unicodedata.normalize("NFC", row[name] or "").split()).lower() or None
    row["user_id"] = None if row["user_id"] in nobody_ids else row["user_id"]
    if truncates_addresses:
        row["client_ip"] = network(row["client_ip"])
    others = {name: value for name, value in event.items() if name not in FIELDS and name != "received_at"}
    row["other_fields"] = {name: other_text(value) for name, value in others.items()} or None
    return row


def network(address: str | None) -> str | None:
    """Return the address of the /24 or /48 that an address is in; None if it is no address."""
    try:
        size = 24 if ip_address(address).version == 4 else 48
    except ValueError:
        return None
    return str(ip_network(f"{address}/{size}", strict=False).network_address)


def cents(price: Decimal) -> Decimal:
    return price.quantize(Decimal("0.01"), ROUND_HALF_UP)


def instant(text: str) -> datetime | None:
    """Return the time in UTC, cut to milliseconds; None if it is none."""
    found = TIME.fullmatch(text)
    try:
        at = datetime.strptime(f"{found[1]} {found[2]}", "%Y-%m-%d %H:%M:%S") if found else None
    except ValueError:
        return None
    if at is None:
        return None
    _, _, fraction, sign, hours, minutes = found.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    if offset > timedelta(hours=18):
        return None
    millis = timedelta(milliseconds=int((fraction or ".")[1:4].ljust(3, "0")))
    try:
        return at + millis + (offset if sign == "-" else -offset)
    except OverflowError:
        return None


def number(text: str) -> Decimal | complex:
    """Return a number with a fraction or an exponent; a complex one, which no field may have, if it is too long."""
    exponent = text.lower().partition("e")[2].lstrip("+-")
    return Decimal(text) if len(text) <= 40 and len(exponent) <= 3 else 0j


def depth(value: Any) -> int:
    """Return how many objects and arrays are in each other."""
    if isinstance(value, Pairs):
        return 1 + max((depth(one) for _, one in value), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def other_text(value: Any) -> str | None:
    """Return a value whose numbers are `as_written`: a text as it is, any other as JSON."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return re.sub(r'"?<number (.*?)>"?', r"\1", text)


def as_written(digits: str) -> str:
    """Return a text that stands for a number."""
    return f"<number {digits}>"


class Pairs(list):
    """A JSON object with its repeated keys."""


def refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
