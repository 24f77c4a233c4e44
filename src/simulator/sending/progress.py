"""The lines that a replay writes while it runs."""

from collections.abc import Callable
from typing import TextIO

REPORT_EVERY_S = 1.0


class Progress:
    """Write at most a line a second."""

    def __init__(self, file: TextIO, monotonic: Callable[[], float]) -> None:
        self._file = file
        self._monotonic = monotonic
        self.started = self._written_at = monotonic()
        self._written_events = 0

    def write(self, acknowledged_events: int, line: Callable[[float, float], str]) -> None:
        """Write a line if it is time. `line` gets the events/s since the last one, and the seconds since the start."""
        now = self._monotonic()
        elapsed = now - self._written_at
        if elapsed < REPORT_EVERY_S:
            return
        text = line((acknowledged_events - self._written_events) / elapsed, now - self.started)
        self._file.write(f"{text}\n")
        self._file.flush()
        self._written_at, self._written_events = now, acknowledged_events
