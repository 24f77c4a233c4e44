"""Incidents: the alerts of one rule whose windows touch or lie close together, with all their subjects.

This module says what an incident is and how alerts make it grow. `store` keeps it, `notices` says it.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from lambda_alert.alert import Alert, instant, iso
from lambda_alert.policy import Policy

MAX_EXAMPLES = 20
# Of so many subjects an incident knows which it has counted, with HASH_BYTES for each. Further ones are not counted.
MAX_SUBJECTS = 20_000
HASH_BYTES = 8
# A notice is due when an incident has so many times the subjects of the time when the last one became due.
GROWTH = 10


@dataclass(frozen=True)
class Arrival:
    """An alert, and when it arrived in stream 2. Unlike the time of a call, that is the same in every retry."""

    alert: Alert
    at: datetime


@dataclass(frozen=True)
class Incident:
    """An incident as it is stored. Times are texts as `iso` writes them.

    A notice is due while `due` is greater than `told`. Whoever records alerts writes the fields up to `explained_by`,
    whoever tells writes the others: so neither overwrites what the other has seen.
    """

    incident_id: str
    rule: str
    version: int  # how often the fields below were written, up to `explained_by`
    opened_at: str  # when its first alert arrived
    last_alert_at: str
    first_window_start_at: str
    last_window_end_at: str
    alert_count: int
    subject_count: int
    explained_count: int  # alerts that a rule about the whole site may explain
    level: int
    highest_count: int
    threshold: int
    examples: tuple[dict[str, Any], ...]  # the alerts with the highest counts, one for each subject
    subject_hashes: bytes
    due: int
    due_at: str
    due_level: int
    due_subjects: int
    expires_at: int
    closed_at: str | None = None
    explained_by: str | None = None
    told: int = 0
    told_at: str | None = None
    told_level: int = 0
    told_subjects: int = 0
    told_alerts: int = 0
    claim: str | None = None
    claimed_until: str | None = None
    listed_in: str | None = None  # the incident whose notice has named this one, because it explains it
    acked_at: str | None = None
    acked_by: str | None = None
    verdict: str | None = None
    verdict_by: str | None = None
    verdict_at: str | None = None

    def grown(self, arrivals: Sequence[Arrival], retention_days: int) -> "Incident":
        """Return the incident with further alerts."""
        alerts = [arrival.alert for arrival in arrivals]
        hashes = self.subject_hashes
        known = {hashes[i : i + HASH_BYTES] for i in range(0, len(hashes), HASH_BYTES)}
        added = {subject_hash(alert.subject) for alert in alerts} - known
        room = MAX_SUBJECTS - len(known)
        hashes += b"".join(sorted(added)[:room])
        last = max(self.last_alert_at, *(iso(arrival.at) for arrival in arrivals))
        explained = [alert.explained_by for alert in alerts if alert.explained_by]
        after = replace(
            self,
            version=self.version + 1,
            last_alert_at=last,
            first_window_start_at=min(self.first_window_start_at, *(alert.window_start_at for alert in alerts)),
            last_window_end_at=max(self.last_window_end_at, *(alert.window_end_at for alert in alerts)),
            alert_count=self.alert_count + len(alerts),
            subject_count=len(hashes) // HASH_BYTES,
            explained_count=self.explained_count + len(explained),
            explained_by=self.explained_by or (explained[0] if explained else None),
            level=max(self.level, *(alert.level for alert in alerts)),
            highest_count=max(self.highest_count, *(alert.num_actions_per_watermark for alert in alerts)),
            examples=_examples([*self.examples, *(example(alert) for alert in alerts)]),
            subject_hashes=hashes,
            expires_at=int((instant("", last) + timedelta(days=retention_days)).timestamp()),
        )
        grew = after.level > self.due_level or after.subject_count >= GROWTH * self.due_subjects
        return after.raised(last) if grew else after

    def raised(self, at: str) -> "Incident":
        """Return the incident with a further notice due. `due_at` stays while an earlier one has not been sent."""
        due_at = at if self.due <= self.told else self.due_at
        return replace(
            self, due=self.due + 1, due_at=due_at, due_level=self.level, due_subjects=max(self.subject_count, 1)
        )

    @property
    def kind(self) -> str:
        """Return what the next notice says: opened, grew, still or over."""
        if self.closed_at:
            return "over"
        if not self.told:
            return "opened"
        grew = self.level > self.told_level or self.subject_count >= GROWTH * self.told_subjects
        return "grew" if grew else "still"

    def muted_by(self, policy: Policy, open_rules: Collection[str], now: datetime) -> str | None:
        """Return why nobody is told of it now; None if people are. `open_rules` are those of open incidents."""
        if self.verdict:
            return "verdict"
        if reason := policy.silences(self.incident_id, self.rule, now):
            return reason
        if self.acked_at and not self.closed_at and self.level <= self.told_level:
            return "acknowledged"
        if self.is_explained and (self.explained_by in open_rules or (self.closed_at and self.listed_in)):
            return "explained"
        return None

    @property
    def is_explained(self) -> bool:
        """Return whether a rule about the whole site may explain all alerts."""
        return self.explained_count == self.alert_count


_NAMES = [field.name for field in fields(Incident)]
# What recording writes.
RECORDED = tuple(name for name in _NAMES[1 : _NAMES.index("explained_by") + 1] if name != "closed_at")


def incident_id(first: Alert) -> str:
    """Return the id of the incident that this alert opens. It follows from the alert: a retry gives the same."""
    return f"{first.rule}-{blake2b(first.alert_id.encode(), digest_size=5).hexdigest()}"


def opened(arrivals: Sequence[Arrival]) -> Incident:
    """Return the incident that these alerts of a rule will open, before it has grown by them."""
    first, at = arrivals[0].alert, iso(arrivals[0].at)
    return Incident(
        incident_id=incident_id(first),
        rule=first.rule,
        version=0,
        opened_at=at,
        last_alert_at=at,
        first_window_start_at=first.window_start_at,
        last_window_end_at=first.window_end_at,
        alert_count=0,
        subject_count=0,
        explained_count=0,
        level=0,
        highest_count=0,
        threshold=first.threshold,
        examples=(),
        subject_hashes=b"",
        due=0,
        due_at=at,
        due_level=0,
        due_subjects=1,
        expires_at=0,
    )


@dataclass(frozen=True)
class Span:
    """A stretch of event time."""

    start: datetime
    end: datetime

    @classmethod
    def of(cls, one: "Alert | Incident") -> "Span":
        """Return the window of an alert, or the windows of an incident."""
        if isinstance(one, Alert):
            return cls(instant("", one.window_start_at), instant("", one.window_end_at))
        return cls(instant("", one.first_window_start_at), instant("", one.last_window_end_at))

    def is_close_to(self, other: "Span", quiet_s: int) -> bool:
        """Return whether they touch, or less than or just `quiet_s` seconds lie between."""
        quiet = timedelta(seconds=quiet_s)
        return self.start - quiet <= other.end and other.start <= self.end + quiet

    def with_(self, other: "Span") -> "Span":
        """Return what covers both."""
        return Span(min(self.start, other.start), max(self.end, other.end))


def example(alert: Alert) -> dict[str, Any]:
    """Return what an incident remembers of an alert."""
    names = ("subject", "window_start_at", "window_end_at", "num_actions_per_watermark", "level")
    crawler = {"declared_crawler": alert.declared_crawler} if alert.declared_crawler else {}
    return {name: getattr(alert, name) for name in names} | crawler


def subject_hash(subject: str) -> bytes:
    """Return what tells a subject from others, in HASH_BYTES."""
    return blake2b(subject.encode(), digest_size=HASH_BYTES).digest()


def _examples(candidates: Iterable[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    highest: dict[str, dict[str, Any]] = {}
    for one in candidates:
        known = highest.get(one["subject"])
        if known is None or one["num_actions_per_watermark"] > known["num_actions_per_watermark"]:
            highest[one["subject"]] = one
    ordered = sorted(highest.values(), key=lambda one: -one["num_actions_per_watermark"])
    return tuple(ordered[:MAX_EXAMPLES])
