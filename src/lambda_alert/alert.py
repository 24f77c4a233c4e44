"""Alerts of stream 2: read and validate a wire record. Its shape is `contracts/alert.json`."""

import json
import re
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, get_args

MIN_BIGINT, MAX_BIGINT = -(2**63), 2**63 - 1

# Also fits, unescaped, into a sort key, a metric dimension and the subject of an email.
_RULE = re.compile("[a-z][a-z0-9_]{0,49}")
# Characters as Python counts them: code points. Control characters are those of the event contract. A lone surrogate,
# which JSON can write, has no form in UTF-8: each call of AWS with it would fail.
SUBJECT = re.compile("site|(?:user|session|product|ip)#[^\x00-\x1f\x7f\ud800-\udfff]{1,128}")
_CRAWLER = re.compile("[ -~]{1,50}")
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_EXPECTED: dict[Any, str] = {str: "a string", str | None: "a string", int: "a whole number"}


class MalformedAlert(ValueError):
    """A record that breaks the contract; the message says how."""


@dataclass(frozen=True)
class Alert:
    """A finding of a rule that follows the contract. Constructing an invalid one raises MalformedAlert."""

    alert_id: str
    rule: str
    subject: str
    window_start_at: str
    window_end_at: str
    num_actions_per_watermark: int
    threshold: int
    level: int
    explained_by: str | None = None  # the rule about the whole site that may explain this
    declared_crawler: str | None = None  # the crawler that the events' user agents declare

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) not in (get_args(field.type) or (field.type,)):  # isinstance would accept true as a number
                raise MalformedAlert(f"{field.name} is {shown(value)}, expected {_EXPECTED[field.type]}")
            if field.type is int and not MIN_BIGINT <= value <= MAX_BIGINT:
                raise MalformedAlert(f"{field.name} is {shown(value)}, expected a signed 64-bit number")
        for name, rule in (("rule", self.rule), ("explained_by", self.explained_by)):
            if rule is not None and not _RULE.fullmatch(rule):
                raise MalformedAlert(f"{name} is {shown(rule)}, expected {_RULE.pattern}")
        if self.declared_crawler is not None and not _CRAWLER.fullmatch(self.declared_crawler):
            raise MalformedAlert(f"declared_crawler is {shown(self.declared_crawler)}, expected {_CRAWLER.pattern}")
        if not SUBJECT.fullmatch(self.subject):
            raise MalformedAlert(
                f"subject is {shown(self.subject)}, expected user#<id>, session#<id>, product#<id>, ip#<address> "
                "or site (an id: 1 to 128 characters, no control characters)"
            )
        if self.window_s <= 0:
            raise MalformedAlert(
                f"window_end_at {self.window_end_at} is not after window_start_at {self.window_start_at}"
            )
        if self.threshold < 0:
            raise MalformedAlert(f"threshold is {self.threshold}, expected 0 or more")
        count = f"num_actions_per_watermark {self.num_actions_per_watermark}"
        if self.num_actions_per_watermark <= self.threshold:
            raise MalformedAlert(f"{count} does not exceed threshold {self.threshold}")
        # The number of binary digits is one more each time the count doubles, without the rounding of a logarithm.
        expected_level = (self.num_actions_per_watermark // (self.threshold + 1)).bit_length()
        if self.level != expected_level:
            raise MalformedAlert(
                f"level is {self.level}, expected {expected_level} for {count} above threshold {self.threshold}"
            )
        # Repeats are recognised by this id alone: an alert with another alert's id would be dropped as its repeat.
        expected_id = f"{self.rule}:{self.subject}:{self.window_end_at}"
        if self.alert_id != expected_id:
            raise MalformedAlert(f"alert_id is {shown(self.alert_id)}, expected {expected_id}")

    def record(self) -> dict[str, Any]:
        """Return the fields by name, as in the wire record: without what is null."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def window_s(self) -> float:
        """Return the length of the window in seconds of event time."""
        start_at = instant("window_start_at", self.window_start_at)
        return (instant("window_end_at", self.window_end_at) - start_at).total_seconds()


def parse(payload: bytes) -> Alert:
    """Return the alert in a wire record. Raise MalformedAlert if there is none.

    Unknown fields are ignored, so that a detector that writes a new one can be deployed before this function.
    """
    try:
        record = json.loads(payload.decode())
    except (ValueError, RecursionError) as error:  # RecursionError: many nested brackets
        raise MalformedAlert(f"not JSON in UTF-8: {error}") from None
    if not isinstance(record, dict):
        raise MalformedAlert(f"{shown(record)} is not a JSON object")
    missing = [field.name for field in fields(Alert) if field.default is MISSING and field.name not in record]
    if missing:
        raise MalformedAlert(f"without {', '.join(missing)}")
    return Alert(**{field.name: record[field.name] for field in fields(Alert) if field.name in record})


def iso(at: datetime) -> str:
    """Return the instant as the contracts write it, in UTC: `2019-10-01T00:00:00.000Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def instant(name: str, text: Any) -> datetime:
    """Return the instant in the text, which is written as by `iso`. Raise MalformedAlert for the field `name`."""
    try:
        if isinstance(text, str) and _INSTANT.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:  # the 30th of February
        pass
    raise MalformedAlert(f"{name} is {shown(text)}, expected an instant like 2019-10-01T00:00:00.000Z")


def shown(value: Any) -> str:
    """Return the value as JSON for a message, cut off after 100 characters."""
    text = json.dumps(value)
    return text if len(text) <= 100 else text[:97] + "..."
