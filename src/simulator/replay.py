"""Source → attack → clock → writer: sends a file's events, at their own pace or as fast as it goes."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TextIO

from simulator.attack import Attack
from simulator.event import Event, encode, event_id, second_of, txn_timestamp_at
from simulator.kinesis import Writer
from simulator.source import Malformed, Source

TimeMode = Literal["own", "live"]
REPORT_EVERY_S = 1.0
LONGEST_SLEEP_S = 0.2  # so that Ctrl-C is heard and progress shown during a gap


class Clock:
    """The world's time; tests bring their own."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(frozen=True)
class Summary:
    """What one replay did: `sent_events` are those the stream acknowledged, `input_rows` excludes the header."""

    input_rows: int
    malformed_rows: int
    injected_events: int
    sent_events: int
    retries: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Replay:
    """One run over `source`. `run` may raise SourceError, AttackError or SendError; `summary` is right even then.

    `speed` divides the gaps between the sends; None sends without waiting. It never changes the times *in* the events:
    with `time="live"` all are shifted by one offset, so the first happens now and shoppers stay as quick as they were.
    """

    def __init__(
        self,
        source: Source,
        writer: Writer,
        *,
        attack: Attack | None = None,
        time: TimeMode = "own",
        speed: float | None = None,
        malformed: Callable[[Malformed], None] = lambda row: None,
        with_event_ids: bool = False,
        stopped: Callable[[], bool] = lambda: False,
        clock: Clock | None = None,
        progress: TextIO = sys.stderr,
    ) -> None:
        self._source = source
        self._writer = writer
        self._attack = attack
        self._time = time
        self._speed = speed
        self._malformed = malformed
        self._with_event_ids = with_event_ids
        self._stopped = stopped
        self._clock = clock or Clock()
        self._progress = progress
        self._malformed_rows = 0
        self._lag_s: float | None = None
        self._started = self._reported = self._clock.monotonic()
        self._reported_events = 0

    def run(self) -> Summary:
        """Sends everything, or after `stopped` what is buffered by then."""
        traffic: Iterable[Event] = self._source.events(self._keep)
        if self._attack:
            survey = Source(self._source.path, self._source.limit)
            for _ in self._attack.survey(survey.events()):
                self._report(f"looking for places for the bots: {survey.rows:,} rows")
                if self._stopped():
                    return self.summary()
            traffic = self._attack.mix(traffic)
        for event in self._paced(traffic):
            tag = event_id(event) if self._with_event_ids else None
            self._writer.put(encode(event), str(event["user_id"]), tag)
            self._report()
        self._writer.flush()
        return self.summary()

    def summary(self) -> Summary:
        return Summary(
            input_rows=self._source.rows,
            malformed_rows=self._malformed_rows,
            injected_events=sum(len(bot.seconds) for bot in self._attack.bots) if self._attack else 0,
            sent_events=self._writer.acknowledged_records,
            retries=self._writer.retries,
            seconds=round(self._clock.monotonic() - self._started, 3),
        )

    def _paced(self, events: Iterable[Event]) -> Iterator[Event]:
        """The events with their `txn_timestamp`, each when it is due: clock at the first + gap to the first ÷ speed."""
        first_second = offset_ms = None
        started = 0.0
        for event in events:
            second = second_of(event["event_time"])
            if first_second is None:
                first_second, started = second, self._clock.monotonic()
                offset_ms = self._clock.now_ms() - second * 1000 if self._time == "live" else 0
            if self._speed:
                self._wait_until(started + (second - first_second) / self._speed)
            if self._stopped():
                return
            event["txn_timestamp"] = txn_timestamp_at(second * 1000 + offset_ms)
            yield event

    def _wait_until(self, due: float) -> None:
        if due > self._clock.monotonic():
            self._writer.flush()  # nothing waits in the buffer longer than it has to; this may take until after `due`
        while (wait_s := due - self._clock.monotonic()) > 0 and not self._stopped():
            self._lag_s = 0.0
            self._report()
            self._clock.sleep(min(wait_s, LONGEST_SLEEP_S))
        self._lag_s = max(0.0, -wait_s)

    def _keep(self, row: Malformed) -> None:
        self._malformed_rows += 1
        self._malformed(row)

    def _report(self, text: str = "") -> None:
        """Writes a line about each second: by default what was sent, how fast, how late and how often again."""
        now = self._clock.monotonic()
        if (elapsed := now - self._reported) < REPORT_EVERY_S:
            return
        sent = self._writer.acknowledged_records
        rate = (sent - self._reported_events) / elapsed
        lag = "" if self._lag_s is None else f", {self._lag_s:.1f} s behind schedule"
        self._progress.write(f"{text or f'sent {sent:,}, {rate:,.0f}/s{lag}, {self._writer.retries:,} retries'}\n")
        self._progress.flush()
        self._reported, self._reported_events = now, sent


def write_ledger(file: TextIO) -> Callable[[Sequence[str]], None]:
    """A callback for Writer: acknowledged event_ids, one a line, written at once; true even after a kill."""

    def acknowledged(event_ids: Sequence[str]) -> None:
        file.writelines(f"{event_id}\n" for event_id in event_ids)
        file.flush()

    return acknowledged
