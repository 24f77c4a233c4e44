"""Events and alerts as they stand in the streams, counted in seconds from some base."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

MIDNIGHT = datetime(2019, 10, 1, tzinfo=UTC)


def time(at: float, base: datetime = MIDNIGHT) -> str:
    """Returns the instant that many seconds after the base, as the pipeline writes it."""
    return (base + timedelta(seconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event(at: float, **changes: object) -> dict:
    """Returns an event at that second; what is not given is the same in all."""
    columns = {
        "event_time": "2019-10-01 00:00:00 UTC",
        "event_type": "view",
        "product_id": 1,
        "category_id": 2053013555631882655,
        "category_code": "electronics.smartphone",
        "brand": "samsung",
        "price": 130.76,
        "user_id": 7,
        "user_session": "a1b2",
    }
    return {"at": at} | columns | changes


def record(event: dict, base: datetime = MIDNIGHT) -> bytes:
    """Returns the wire record; an event may have its own `txn_timestamp`, or make it of the right one."""
    right = time(event["at"], base)
    own = event.get("txn_timestamp", right)
    columns = event | {"txn_timestamp": own(right) if callable(own) else own}
    del columns["at"]
    return json.dumps(columns).encode()


def records(events: Iterable[dict], base: datetime = MIDNIGHT) -> list[bytes]:
    return [record(event, base) for event in events]


def alert(
    rule: str, subject: str, start: int, end: int, count: int, threshold: int, base: datetime = MIDNIGHT
) -> dict[str, object]:
    """Returns the alert of a window between two seconds, as stream 2 holds it."""
    return {
        "alert_id": f"{rule}:{subject}:{time(end, base)}",
        "rule": rule,
        "subject": subject,
        "window_start_at": time(start, base),
        "window_end_at": time(end, base),
        "num_actions_per_watermark": count,
        "threshold": threshold,
        "level": level(count, threshold),
    }


def level(count: int, threshold: int) -> int:
    """Returns how often the first count above the threshold can be doubled without passing the count, and once more."""
    doubles, reached = 0, threshold + 1
    while reached <= count:
        doubles, reached = doubles + 1, reached * 2
    return doubles
