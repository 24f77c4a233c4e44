"""Lines that could cost much to read, and what both paths make of each: a reason, or None for an event."""

import json
from typing import Any

LIMIT_S = 1.0
MEGABYTE = 1_000_000


def event(**changes: Any) -> dict:
    own = {"event_time": "2019-10-01T00:00:00.000Z", "event_type": "view", "product_id": "1", "user_id": "7"}
    return own | {"user_session": "s"} | changes


def with_raw(name: str, value: str) -> str:
    """Return an event with a field whose JSON is this."""
    fields = {key: one for key, one in event().items() if key != name}
    return f'{json.dumps(fields)[:-1]}, "{name}": {value}}}'


def colliding(pairs: int) -> list[str]:
    """Return names for which a hash that multiplies by 33, or by 31, is the same."""
    names = [""]
    for _ in range(pairs):
        names = [name + block for name in names for block in ("aZ", "b9")]
    return names + [name.replace("aZ", "Aa").replace("b9", "BB") for name in names]


EXPENSIVE: dict[str, tuple[str | bytes, str | None]] = {
    "an exponent far below": (with_raw("price", "1e-100000000"), "wrong_type:price"),
    "an exponent far above": (with_raw("price", "1e100000000"), "wrong_type:price"),
    "an exponent of many digits": (with_raw("price", "1e" + "9" * 100_000), "wrong_type:price"),
    "a price of many digits": (with_raw("price", "9" * 100_000), "wrong_type:price"),
    "a price of many decimals": (with_raw("price", "1." + "9" * 100_000), "wrong_type:price"),
    "a quantity of many digits": (with_raw("quantity", "9" * 100_000), "wrong_type:quantity"),
    "an id of many digits": (with_raw("user_id", "9" * MEGABYTE), "too_long:user_id"),
    "a long id": (with_raw("user_id", '"' + "x" * MEGABYTE + '"'), "too_long:user_id"),
    "a long id of escapes": (with_raw("user_id", '"' + "\\u00e9" * 150_000 + '"'), "too_long:user_id"),
    "a long type": (with_raw("event_type", '" ' + "X" * MEGABYTE + '"'), "too_long:event_type"),
    "a long time": (with_raw("event_time", '"2019-10-01T00:00:00.' + "0" * MEGABYTE + 'Z"'), "bad_time:event_time"),
    "a long page": (with_raw("page_url", '"' + "x" * MEGABYTE + '"'), None),
    "a number of many digits that is not ours": (with_raw("other", "9" * 100_000), None),
    "an exponent that is not ours": (with_raw("other", "1e999999999"), None),
    "many fields": (with_raw("other", "1, " + ", ".join(f'"{number}": 1' for number in range(60_000))), None),
    "many fields with one hash": (with_raw("other", "1, " + ", ".join(f'"{name}": 1' for name in colliding(11))), None),
    "a field often": (with_raw("price", "1" + ', "price": 1' * 60_000), "repeated:price"),
    "deep lists": (with_raw("other", "[" * 99 + "]" * 99), None),
    "deep lists by one too many": (with_raw("other", "[" * 100 + "]" * 100), "not_json"),
    "very deep lists": (with_raw("other", "[" * 400_000 + "]" * 400_000), "not_json"),
    "very deep objects": (with_raw("other", '{"a":' * 150_000 + "1" + "}" * 150_000), "not_json"),
    "deep lists in place of an id": (with_raw("user_id", "[" * 400_000 + "]" * 400_000), "not_json"),
    "lists without an end": ("[" * MEGABYTE, "not_json"),
    "objects without an end": ('{"a":' * 200_000, "not_json"),
    "a text without an end": ('{"a": "' + "x" * MEGABYTE, "not_json"),
    "half a character at each place": (b'{"a": "' + b"\xc3" * MEGABYTE + b'"}', "not_utf8"),
}
