"""When events are sent."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

LONGEST_SLEEP_S = 0.2  # so that Ctrl-C takes effect and progress is shown during a gap


class Clock:
    """The system's clock. Tests use their own."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(frozen=True)
class Pace:
    """Which pace events are sent at: their own gaps divided by `speed`, or `rate` events/s, or without waiting."""

    speed: float | None = None
    rate: float | None = None


class Pacer:
    """Waits until events are due. `lag_s` is how late the latest one was, None before any had to wait."""

    def __init__(self, pace: Pace, clock: Clock) -> None:
        self._pace = pace
        self._clock = clock
        self.started = clock.monotonic()
        self.first_ms = 0
        self.lag_s: float | None = None

    def begin(self, first_ms: int) -> None:
        """Start the schedule now, with an event of this time, in Unix milliseconds."""
        self.started = self._clock.monotonic()
        self.first_ms = first_ms

    def due_s(self, times_ms: pl.Series, sent_events: int) -> list[float] | None:
        """Return when each event is due, by the monotonic clock; None if at once.

        `times_ms` are the events' times, `sent_events` the number of events sent before them.
        """
        if self._pace.rate:
            return [self.started + (sent_events + index) / self._pace.rate for index in range(len(times_ms))]
        if self._pace.speed:
            gaps_s = (times_ms - self.first_ms) / 1000
            return (gaps_s / self._pace.speed + self.started).to_list()
        return None

    def wait_until(self, due: float, stopped: Callable[[], bool], report: Callable[[], None]) -> None:
        """Wait until the moment has come or the replay is stopped, and call `report` meanwhile."""
        while (wait_s := due - self._clock.monotonic()) > 0 and not stopped():
            self.lag_s = 0.0
            report()
            self._clock.sleep(min(wait_s, LONGEST_SLEEP_S))
        self.lag_s = max(0.0, -wait_s)

    def note_lag(self, due: float) -> None:
        """Note how late an event is by now."""
        self.lag_s = max(0.0, self._clock.monotonic() - due)
