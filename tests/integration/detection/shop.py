"""Events and alerts as they are in the streams, with times in seconds from some base."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from detector.cases import DEFAULTS

MIDNIGHT = datetime(2019, 10, 1, tzinfo=UTC)


def time(at: float, base: datetime = MIDNIGHT) -> str:
    """Return the instant that many seconds after the base, as the pipeline writes it."""
    return (base + timedelta(seconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event(at: float, **changes: object) -> dict:
    """Return an event at that second, with the default columns where no others are given."""
    return {"at": at, **DEFAULTS, **changes}


def record(event: dict, base: datetime = MIDNIGHT) -> bytes:
    """Return the wire record. An event can have times of its own, or functions that change the right one."""
    right = time(event["at"], base)
    columns = {"txn_timestamp": right} | event
    del columns["at"]
    return json.dumps({name: value(right) if callable(value) else value for name, value in columns.items()}).encode()


def records(events: Iterable[dict], base: datetime = MIDNIGHT) -> list[bytes]:
    return [record(event, base) for event in events]


def alert(
    rule: str,
    subject: str,
    start: float,
    end: float,
    count: int,
    threshold: int,
    base: datetime = MIDNIGHT,
    explained_by: str | None = None,
) -> dict[str, object]:
    """Return the alert of a window between two seconds, as it is in stream 2."""
    return {
        "alert_id": f"{rule}:{subject}:{time(end, base)}",
        "rule": rule,
        "subject": subject,
        "window_start_at": time(start, base),
        "window_end_at": time(end, base),
        "num_actions_per_watermark": count,
        "threshold": threshold,
        "level": level(count, threshold),
        **({"explained_by": explained_by} if explained_by else {}),
    }


def level(count: int, threshold: int) -> int:
    """Return the level: 1 above the threshold, and one more for each doubling that the count reaches."""
    doubles, reached = 0, threshold + 1
    while reached <= count:
        doubles, reached = doubles + 1, reached * 2
    return doubles
