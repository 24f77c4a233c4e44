"""Tallies of stream 2: counts of unjudged events by reason. Their shape is `contracts/unjudged.json`."""

import json
import re
from dataclasses import dataclass, fields

from lambda_alert.alert import MAX_BIGINT, MalformedAlert, instant, shown

# A word, for some with a field after a colon: `late`, `bad_time:event_time`. Not a closed list: a detector with a new
# reason can be deployed before this function. It becomes a metric's dimension, so it is short and in plain ASCII.
_REASON = re.compile("[a-z0-9_]{1,50}(:[a-z0-9_]{1,50})?")


class MalformedTally(ValueError):
    """A record that breaks the contract; the message says how."""


@dataclass(frozen=True)
class Tally:
    """The count of unjudged events of one reason. Constructing an invalid one raises MalformedTally."""

    reason: str
    counted_at: str
    event_count: int

    def __post_init__(self) -> None:
        if not isinstance(self.reason, str) or not _REASON.fullmatch(self.reason):
            raise MalformedTally(f"reason is {shown(self.reason)}, expected {_REASON.pattern}")
        try:
            instant("counted_at", self.counted_at)
        except MalformedAlert as error:
            raise MalformedTally(str(error)) from None
        if type(self.event_count) is not int or not 1 <= self.event_count <= MAX_BIGINT:
            raise MalformedTally(f"event_count is {shown(self.event_count)}, expected a 64-bit number from 1 up")


def parse(payload: bytes) -> Tally | None:
    """Return the tally in a wire record; None if the record is something else. Raise MalformedTally if it is invalid.

    A record with a `reason` and without an `alert_id` is a tally. Unknown fields are ignored, as in alerts.
    """
    try:
        record = json.loads(payload.decode())
    except (ValueError, RecursionError):  # the parser of alerts says what is wrong
        return None
    if not isinstance(record, dict) or "alert_id" in record or "reason" not in record:
        return None
    missing = [field.name for field in fields(Tally) if field.name not in record]
    if missing:
        raise MalformedTally(f"without {', '.join(missing)}")
    return Tally(**{field.name: record[field.name] for field in fields(Tally)})
