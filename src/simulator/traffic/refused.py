"""Why rows of the input were refused: counted by reason, with an example of each."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from simulator.traffic.source import Malformed

TOP_REASONS = 3
# What differs between rows that are refused for one reason: values in quotes, and numbers.
_VALUES = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\d+""")
_LONGEST_ROW = 120


class Refused:
    """The malformed rows of a pass."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()
        self._first: dict[str, Malformed] = {}

    def __call__(self, row: Malformed) -> None:
        """Count a row."""
        reason = _VALUES.sub("…", row.reason)
        self._rows[reason] += 1
        self._first.setdefault(reason, row)

    @property
    def rows(self) -> int:
        """The number of malformed rows."""
        return self._rows.total()

    def reasons(self) -> list[dict[str, Any]]:
        """Return the reasons, the most frequent first: `rows`, and the first of them as `example`."""
        return [{"rows": rows, "example": self._first[reason].as_dict()} for reason, rows in self._rows.most_common()]


def shown(reasons: list[dict[str, Any]], what: str = "malformed") -> list[str]:
    """Return lines about the most frequent of `Refused.reasons`, for people. `what` the rows are called."""
    lines = []
    for reason in reasons[:TOP_REASONS]:
        example = reason["example"]
        row = example["row"] if len(example["row"]) <= _LONGEST_ROW else f"{example['row'][:_LONGEST_ROW]}…"
        line = f", line {example['line_number']}" if example["line_number"] else ""
        place = f"{example['file']}{line}"
        lines.append(f"  {reason['rows']:>9,} {what}, for example {place}: {example['reason']}: {row}")
    if others := sum(reason["rows"] for reason in reasons[TOP_REASONS:]):
        lines.append(f"  {others:>9,} {what} for {len(reasons) - TOP_REASONS} other reasons")
    return lines


def left_out(malformed: list[dict[str, Any]], set_aside: list[dict[str, Any]], notes: Sequence[str]) -> list[str]:
    """Return lines about what was not sent (`Refused.reasons`), and what else was noticed in the files, for people."""
    return [*shown(malformed), *shown(set_aside, "set aside"), *(f"  {note}" for note in notes)]
