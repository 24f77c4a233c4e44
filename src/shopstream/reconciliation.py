"""Compare what arrived in the lake with what the detector has counted: arrived = judged + unjudged.

Events are compared by their date. Bad records have no usable time: they are compared by reason, over days of arrival.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from lambda_alert.tally import JUDGED

# By (kind of day, day, outcome): the kind is `event` or `arrival`.
Totals = Mapping[tuple[str, date, str], int]
# Event date, or none and a reason; day of arrival; number of lines.
Arrivals = Iterable[tuple[date | None, str | None, date, int]]


@dataclass
class Comparison:
    """The lines of one event date, or of one reason."""

    arrived: int = 0
    judged: int = 0
    unjudged: Counter[str] = field(default_factory=Counter)

    @property
    def missing(self) -> int:
        """How many lines the detector has not counted. Below 0: how many that it has counted are not in the lake."""
        return self.arrived - self.judged - self.unjudged.total()

    def as_dict(self) -> dict[str, Any]:
        return vars(self) | {"missing": self.missing}


@dataclass
class Reconciliation:
    """All comparisons, by event date and by reason."""

    dates: dict[date, Comparison]
    reasons: dict[str, Comparison]

    @property
    def is_equal(self) -> bool:
        return not any(one.missing for one in self._all())

    def _all(self) -> list[Comparison]:
        return [*self.dates.values(), *self.reasons.values()]

    def sentence(self) -> str:
        """Say whether both have counted the same, or how many lines are missing where."""
        arrived, judged = (sum(getattr(one, name) for one in self._all()) for name in ("arrived", "judged"))
        unjudged = sum(one.unjudged.total() for one in self._all())
        if self.is_equal:
            return f"Equal: {arrived:,} arrived = {judged:,} judged + {unjudged:,} unjudged."
        missing = sum(max(one.missing, 0) for one in self._all())
        more = sum(max(-one.missing, 0) for one in self._all())
        sentence = "Not equal."
        if missing:
            sentence += (
                f" Lines that arrived, but are neither judged nor counted as unjudged: {missing:,} of {arrived:,}."
            )
        if more:
            sentence += f" Lines that the detector has counted, but that are not in the lake: {more:,}."
        return sentence

    def as_dict(self) -> dict[str, Any]:
        """Return what a program needs: numbers by date and by reason."""
        return {
            "equal": self.is_equal,
            "event_dates": {str(day): one.as_dict() for day, one in self.dates.items()},
            "bad_records": {reason: one.as_dict() for reason, one in self.reasons.items()},
        }

    def as_text(self) -> str:
        """Return a table of the event dates, and one of the reasons if there are bad records."""
        lines = [f"{'event date':<30}{'arrived':>12}{'judged':>12}{'unjudged':>12}{'missing':>10}"]
        for day, one in self.dates.items():
            why = ", ".join(f"{reason} {count:,}" for reason, count in one.unjudged.most_common(3))
            numbers = f"{one.arrived:>12,}{one.judged:>12,}{one.unjudged.total():>12,}{one.missing:>10,}"
            lines.append(f"{day!s:<30}{numbers}  {why}".rstrip())
        if self.reasons:
            lines.append(f"\n{'bad records':<30}{'arrived':>12}{'':>12}{'unjudged':>12}{'missing':>10}")
        for reason, one in self.reasons.items():
            lines.append(f"{reason:<30}{one.arrived:>12,}{'':>12}{one.unjudged.total():>12,}{one.missing:>10,}")
        return "\n".join(lines)


def compare(arrivals: Arrivals, totals: Totals, first: date = date.min, last: date = date.max) -> Reconciliation:
    """Compare the event dates, and the bad records of the days of arrival, from the first to the last day."""
    dates: dict[date, Comparison] = {}
    reasons: dict[str, Comparison] = {}

    def place(kind: str, day: date, outcome: str) -> Comparison | None:
        if not first <= day <= last:
            return None
        if kind == "event":
            return dates.setdefault(day, Comparison())
        return reasons.setdefault(outcome, Comparison())

    for event_date, reason, arrival_date, count in arrivals:
        kind, day = ("event", event_date) if event_date else ("arrival", arrival_date)
        if found := place(kind, day, reason or ""):
            found.arrived += count
    for (kind, day, outcome), total in totals.items():
        if (found := place(kind, day, outcome)) is None:
            continue
        if outcome == JUDGED:
            found.judged += total
        else:
            found.unjudged[outcome] += total
    return Reconciliation(dict(sorted(dates.items())), dict(sorted(reasons.items())))
