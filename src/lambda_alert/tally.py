"""Tallies of stream 2: how many lines were judged, and how many not and why. Their shape is `contracts/tally.json`."""

import json
import re
from dataclasses import dataclass, fields
from datetime import date

from lambda_alert.alert import MAX_BIGINT, MalformedAlert, instant, shown

JUDGED = "judged"

# A word, for some with a field after a colon: `late`, `bad_time:event_time`. Not a closed list: a detector with a new
# reason can be deployed before this function. It becomes a metric's dimension, so it is short and in plain ASCII.
_OUTCOME = re.compile("[a-z0-9_]{1,50}(:[a-z0-9_]{1,50})?")
_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")


class MalformedTally(ValueError):
    """A record that breaks the contract; the message says how."""


@dataclass(frozen=True)
class Tally:
    """How many lines of one date had one outcome. Constructing an invalid one raises MalformedTally."""

    outcome: str
    event_date: str | None
    arrival_date: str | None
    counted_at: str
    event_count: int
    total_count: int

    def __post_init__(self) -> None:
        if not isinstance(self.outcome, str) or not _OUTCOME.fullmatch(self.outcome):
            raise MalformedTally(f"outcome is {shown(self.outcome)}, expected {_OUTCOME.pattern}")
        for name in ("event_date", "arrival_date"):
            if not _is_date_or_none(value := getattr(self, name)):
                raise MalformedTally(f"{name} is {shown(value)}, expected a date such as 2026-11-26, or null")
        if (self.event_date is None) == (self.arrival_date is None):
            dates = f"event_date is {shown(self.event_date)} and arrival_date {shown(self.arrival_date)}"
            raise MalformedTally(f"{dates}, expected one of them")
        try:
            instant("counted_at", self.counted_at)
        except MalformedAlert as error:
            raise MalformedTally(str(error)) from None
        for name, least in (("event_count", 1), ("total_count", self.event_count)):
            if type(value := getattr(self, name)) is not int or not least <= value <= MAX_BIGINT:
                raise MalformedTally(f"{name} is {shown(value)}, expected a 64-bit number from {least} up")


def _is_date_or_none(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        return False
    try:
        return bool(date.fromisoformat(value))
    except ValueError:
        return False


def parse(payload: bytes) -> Tally | None:
    """Return the tally in a wire record; None if the record is something else. Raise MalformedTally if it is invalid.

    A record with an `outcome` and without an `alert_id` is a tally. Unknown fields are ignored, as in alerts.
    """
    try:
        record = json.loads(payload.decode())
    except (ValueError, RecursionError):  # the parser of alerts says what is wrong
        return None
    if not isinstance(record, dict) or "alert_id" in record or "outcome" not in record:
        return None
    missing = [field.name for field in fields(Tally) if field.name not in record]
    if missing:
        raise MalformedTally(f"without {', '.join(missing)}")
    return Tally(**{field.name: record[field.name] for field in fields(Tally)})
