"""A tally of stream 2: how many events the rules did not judge, and why. The shape is `contracts/unjudged.json`."""

import json
from dataclasses import dataclass, fields

from lambda_alert.alert import MAX_BIGINT, MalformedAlert, instant, shown

REASONS = ("undated", "ahead", "no_user", "late")


class MalformedTally(ValueError):
    """A record that breaks the contract; the message says how."""


@dataclass(frozen=True)
class Tally:
    """Events left out for one reason, valid by the contract. Constructing an invalid one raises MalformedTally."""

    reason: str
    counted_at: str
    event_count: int

    def __post_init__(self) -> None:
        if self.reason not in REASONS:
            raise MalformedTally(f"reason is {shown(self.reason)}, expected one of {', '.join(REASONS)}")
        try:
            instant("counted_at", self.counted_at)
        except MalformedAlert as error:
            raise MalformedTally(str(error)) from None
        if type(self.event_count) is not int or not 1 <= self.event_count <= MAX_BIGINT:
            raise MalformedTally(f"event_count is {shown(self.event_count)}, expected a 64-bit number from 1 up")


def parse(payload: bytes) -> Tally | None:
    """The tally that a wire record holds; None if it holds something else, as an alert. Raises MalformedTally.

    What has a `reason` and no `alert_id` is a tally. Unknown fields are ignored, as they are of alerts.
    """
    try:
        record = json.loads(payload.decode())
    except (ValueError, RecursionError):  # what is wrong with it is said when it is read as an alert
        return None
    if not isinstance(record, dict) or "alert_id" in record or "reason" not in record:
        return None
    missing = [field.name for field in fields(Tally) if field.name not in record]
    if missing:
        raise MalformedTally(f"without {', '.join(missing)}")
    return Tally(**{field.name: record[field.name] for field in fields(Tally)})
