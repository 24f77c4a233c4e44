"""The contracts and their golden records, read in a plain way. The code of each runtime must agree with them.

A line of contracts/golden/*.jsonl holds a `record` as text, because bad ones are often not JSON. With it comes the
`event_key` of a good event, or the `reason` why a bad record is invalid: the one in quarantine for an event, a part of
the function's message for an alert.
"""

import json
import re
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

PYTHON_TYPES = {"string": str, "bigint": int, "decimal(12,2)": Decimal}
TIME = "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"
TIME_PATTERN, TIME_FORM = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "%Y-%m-%dT%H:%M:%S.%fZ"
# The times that an event may have on its way in: with an offset, a fraction or none, or as the data set writes them.
EVENT_TIME_PATTERN = (
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,9})?"
    r"(?:Z| UTC|[+-][0-9]{2}(?::?[0-9]{2})?)"
)
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
MAX_ID_CHARACTERS = 128


def contract(name: str) -> list[dict[str, Any]]:
    """Return the fields of `event` or `alert` in order."""
    return json.loads((ROOT / f"contracts/{name}.json").read_text())


def golden(name: str) -> list[dict[str, str]]:
    """Return the lines of contracts/golden/<name>.jsonl."""
    return [json.loads(line) for line in (ROOT / f"contracts/golden/{name}.jsonl").read_text().splitlines()]


def conforms(record: str, fields: list[dict[str, Any]]) -> bool:
    """Whether a wire record holds each field of the contract once, with a value of its type, nullability and unit."""
    try:
        pairs = json.loads(record, parse_float=Decimal, parse_constant=Decimal, object_pairs_hook=Object)
    except ValueError:
        return False
    if not isinstance(pairs, Object) or len(dict(pairs)) < len(pairs):
        return False
    return all(_fits(dict(pairs).get(field["name"]), field) for field in fields)


class Object(list):
    """A JSON object as pairs: repeated keys stay visible."""


def _fits(value: Any, field: dict[str, Any]) -> bool:
    unit = field["unit"]
    if value is None:
        return field["nullable"]
    if type(value) is not PYTHON_TYPES[field["type"]]:
        return False
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    if isinstance(value, Decimal):
        return value.is_finite() and 0 <= value < 10**10 and value == round(value, 2)
    if unit == TIME:
        return re.fullmatch(TIME_PATTERN, value) is not None and _exists(value, TIME_FORM)
    if " | " in unit:
        return value in unit.split(" | ")
    return CONTROL.search(value) is None


def _exists(text: str, form: str) -> bool:
    try:
        return bool(datetime.strptime(text, form))
    except ValueError:
        return False


class Digits(str):
    """A JSON integer, as its digits."""


def reason(record: str, fields: list[dict[str, Any]]) -> str | None:
    """Return why a record is no event: the first reason of the first bad field; None of a good one."""
    try:
        pairs = json.loads(
            record, parse_int=Digits, parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=Object
        )
    except ValueError:
        return "not_json"
    if not isinstance(pairs, Object):
        return "not_json"
    names = [name for name, _ in pairs]
    for field in fields:
        name, value = field["name"], dict(pairs).get(field["name"])
        if names.count(name) > 1:
            return f"repeated:{name}"
        if value is None or (value == "" and type(value) is str):
            if not field["nullable"]:
                return f"missing:{name}"
        elif kind := _breaks(value, field):
            return kind if kind in ("negative_price", "bad_quantity") else f"{kind}:{name}"
    return None


def _breaks(value: Any, field: dict[str, Any]) -> str | None:
    """Return what is wrong with a value that is not null."""
    unit, type_ = field["unit"], field["type"]
    if type_.startswith("decimal"):
        if not isinstance(value, Digits | Decimal):
            return "wrong_type"
        price = Decimal(value).quantize(Decimal("0.01"), ROUND_HALF_UP) if abs(Decimal(value)) < 10**11 else 10**10
        return "wrong_type" if abs(price) >= 10**10 else "negative_price" if price < 0 else None
    if type_ == "bigint":
        if not isinstance(value, Digits) or not -(2**63) <= int(value) < 2**63:
            return "wrong_type"
        return "bad_quantity" if int(value) < 1 else None
    if type(value) is not str and not (unit == "id" and isinstance(value, Digits)):
        return "wrong_type"
    if (unit == "id" or field["name"] == "event_type") and len(value) > MAX_ID_CHARACTERS:
        return "too_long"
    if unit == TIME:
        found = re.fullmatch(EVENT_TIME_PATTERN, value)
        return None if found and _exists(f"{found[1]} {found[2]}", "%Y-%m-%d %H:%M:%S") else "bad_time"
    return "control_character" if CONTROL.search(value) else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def sql(path: str) -> str:
    """Return a statement of sql/detection without comments, with single spaces as white space."""
    text = (ROOT / "sql/detection" / path).read_text()
    return " ".join(re.sub(r"--.*", "", text).split())


def written(message: str) -> str:
    """Return the Java method that makes an `alert` or a `tally`, with single spaces as white space."""
    text = (ROOT / "src/detector/src/main/java/shopstream/Message.java").read_text()
    method = text[text.index(f"static Message {message}(") :]
    return " ".join(method[: method.index("\n    }\n")].split())


def json_fields(java: str) -> list[str]:
    """Return the names of the JSON fields that a Java method writes, in its order."""
    return re.findall(r'\\"(\w+)\\":', java)


def selected_columns(statement: str) -> dict[str, str]:
    """Return {column: expression} of the outermost select, in its order. A column that is not computed is its own."""
    depth, flat = 0, ""  # what is in brackets stays, but its words become others
    for letter in statement:
        depth += (letter == "(") - (letter == ")")
        flat += "." if depth and letter == " " else letter
    begin = flat.rindex(" select ") + len(" select ")
    columns = split_list(statement[begin : flat.index(" from ", begin)])
    pairs = [column.rpartition(" as ") for column in columns]
    return {name: expression or name for expression, _, name in pairs}


def split_list(text: str) -> list[str]:
    """Return the parts between commas, up to the bracket that closes the list or to the end."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            break
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]
