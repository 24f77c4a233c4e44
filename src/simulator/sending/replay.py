"""Source → selection → clock → writer: sends a file's events, at their own pace or as fast as it goes."""

import json
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

import polars as pl

from simulator.sending.sinks import Sink
from simulator.traffic.attack import Attack
from simulator.traffic.generate import LookAlike
from simulator.traffic.source import Malformed, Source, SourceError, from_events

TimeMode = Literal["original", "now"]
REPORT_EVERY_S = 1.0
LONGEST_SLEEP_S = 0.2  # so that Ctrl-C is heard and progress shown during a gap
MIXED_BLOCK = 20_000  # as many as the sinks take at once
# A few bad rows at the start of a file do not say how the file is: so many are read before the first is sent.
JUDGED_ROWS = 1_000


class TooManyMalformed(SourceError):
    """More of the rows than allowed break the contract; the message says how many."""


class ResumeError(SourceError):
    """The file of an earlier replay does not fit this one; the message says how."""


class Clock:
    """The world's time; tests bring their own."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(frozen=True)
class Selection:
    """Which events are sent. `start` and `until` in Unix seconds, until excluded; `part` (i, n): the users of one part
    of n, by a hash of their id, so that n replays send everything once."""

    start: int | None = None
    until: int | None = None
    part: tuple[int, int] | None = None

    def in_time(self, block: pl.DataFrame) -> pl.DataFrame:
        """The block's rows whose time is selected, whoever did them, in their order."""
        if self.start is not None:
            block = block.filter(pl.col("second") >= self.start)
        if self.until is not None:
            block = block.filter(pl.col("second") < self.until)
        return block

    def in_part(self, block: pl.DataFrame) -> pl.DataFrame:
        """The block's rows of selected users, in their order."""
        if self.part:
            index, parts = self.part
            block = block.filter(
                pl.Series(
                    [zlib.crc32(user.encode()) % parts == index - 1 for user in block["user_id"]], dtype=pl.Boolean
                )
            )
        return block


@dataclass(frozen=True)
class Pace:
    """When events are sent: with their own gaps divided by `speed`, or at `rate` events/s, or without waiting."""

    speed: float | None = None
    rate: float | None = None


@dataclass(frozen=True)
class Summary:
    """What one replay did: `sent_events` are those the stream acknowledged, `input_rows` excludes headers."""

    input_rows: int
    malformed_rows: int
    injected_events: int
    skipped_events: int  # acknowledged by the replay that this one resumes
    sent_events: int
    retries: int
    overtakings: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Resume:
    """The file of `--resume`: how many events are acknowledged, in the order of sending, and of which replay.

    It is written after each batch: a replay killed between a batch's acknowledgement and that repeats the batch.
    """

    def __init__(self, path: Path, what: dict[str, Any]) -> None:
        self._path = path
        self._what = what
        self.acknowledged = 0
        self.shift_ms: int | None = None
        if path.exists():
            try:
                known = json.loads(path.read_text())
                self.acknowledged, self.shift_ms = known["acknowledged"], known["shift_ms"]
                other = [name for name, value in what.items() if known["what"][name] != value]
            except (ValueError, KeyError, TypeError) as error:
                raise ResumeError(f"{path}: not written by --resume ({error}); give another file") from error
            if other:
                names = ", ".join(other)
                raise ResumeError(f"{path}: of a replay with other {names}; repeat its options, or give another file")

    def save(self, acknowledged: int, shift_ms: int) -> None:
        """Remembers them; a reader never sees half of it."""
        fresh = self._path.with_name(f".{self._path.name}.new")
        fresh.write_text(json.dumps({"acknowledged": acknowledged, "shift_ms": shift_ms, "what": self._what}))
        fresh.replace(self._path)


class Replay:
    """One run over `source`. `run` may raise SourceError, AttackError or SendError; `summary` is right even then.

    Pace never changes the times *in* the events: with `time="now"` all are shifted by one offset, so the first happens
    now and shoppers stay as quick as they were. With `loop` the source is sent for ever, each time moved to after the
    last.
    """

    def __init__(
        self,
        source: Source | LookAlike,
        sink: Sink,
        *,
        attack: Attack | None = None,
        selection: Selection | None = None,
        time: TimeMode = "original",
        pace: Pace | None = None,
        loop: bool = False,
        partition_key: Literal["user_id", "category_id"] = "user_id",
        resume: Resume | None = None,
        malformed: Callable[[Malformed], None] = lambda row: None,
        max_malformed: float = 1.0,
        stopped: Callable[[], bool] = lambda: False,
        clock: Clock | None = None,
        progress: TextIO = sys.stderr,
    ) -> None:
        self._source = source
        self._sink = sink
        self._attack = attack
        self._selection = selection or Selection()
        self._time = time
        self._pace = pace or Pace()
        self._loop = loop
        self._partition_key = partition_key
        self._resume = resume
        self._malformed = malformed
        self._max_malformed = max_malformed
        self._stopped = stopped
        self._clock = clock or Clock()
        self._progress = progress
        self._malformed_rows = 0
        self._input_rows = 0
        self._skip = resume.acknowledged if resume else 0
        self._skipped = 0
        self._shift_ms = 0
        self._lag_s: float | None = None
        self._started = self._reported = self._clock.monotonic()
        self._reported_events = 0

    def run(self) -> Summary:
        """Sends everything; after `stopped`, returns when what was begun is acknowledged."""
        if self._attack:
            survey = copy(self._source)  # whose rows are not the replay's
            for _ in self._attack.survey(survey.events()):
                self._report(f"looking for places for the bots: {survey.rows:,} rows")
                if self._stopped():
                    return self.summary()
        for block, loop_s in self._blocks():
            skipped = min(self._skip, block.height)
            self._skip -= skipped
            self._skipped += skipped
            self._note_bots(block.head(skipped))
            if skipped < block.height:
                self._send(block.slice(skipped), loop_s)
            if self._stopped():
                break
        return self.summary()

    def summary(self) -> Summary:
        return Summary(
            input_rows=self._input_rows + self._source.rows,
            malformed_rows=self._malformed_rows,
            injected_events=self._attack.sent_events if self._attack else 0,
            skipped_events=self._skipped,
            sent_events=self._sink.acknowledged_events,
            retries=self._sink.retries,
            overtakings=self._sink.overtakings,
            seconds=round(self._clock.monotonic() - self._started, 3),
        )

    def _blocks(self) -> Iterator[tuple[pl.DataFrame, int]]:
        """(block, seconds by which this pass is moved)."""
        loop_s = 0
        while True:
            first, last = None, None
            for block in self._judged(self._one_pass()):
                # Shift, pace and loop go by all users, so that the parts of one replay stay together.
                block = self._selection.in_time(block)
                if block.height:
                    seconds = block["second"]
                    if first is None and not loop_s:
                        self._begin(seconds[0])
                    first = seconds.min() if first is None else min(first, seconds.min())
                    last = seconds.max() if last is None else max(last, seconds.max())
                yield self._selection.in_part(block), loop_s
            if not self._loop or first is None:
                return
            loop_s += last - first + 1
            self._input_rows += self._source.rows

    def _one_pass(self) -> Iterator[pl.DataFrame]:
        if not self._attack:
            yield from self._source.blocks(self._keep)
            return
        # Event by event, since each bot has its place among them.
        events = []
        for event in self._attack.mix(self._source.events(self._keep)):
            events.append(event)
            if len(events) == MIXED_BLOCK:
                yield from_events(events)
                events = []
        yield from_events(events)

    def _judged(self, blocks: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """The blocks; the first are held back until enough is read to judge by, or all. Raises TooManyMalformed."""
        held = []
        for block in blocks:
            held.append(block)
            if self._input_rows + self._source.rows >= JUDGED_ROWS:
                self._judge()
                yield from held
                held = []
        self._judge()
        yield from held

    def _judge(self) -> None:
        rows = self._input_rows + self._source.rows
        if self._malformed_rows > self._max_malformed * rows:
            raise TooManyMalformed(
                f"{self._malformed_rows:,} of the first {rows:,} rows are malformed, allowed is a share of "
                f"{self._max_malformed:g}; see why in the --malformed file, or allow more with --max-malformed"
            )

    def _begin(self, first_second: int) -> None:
        """Fixes what is counted from the first event on: the shift of all times, and the pace."""
        self._pace_from = self._clock.monotonic(), first_second
        if self._time == "now":
            self._shift_ms = self._clock.now_ms() - first_second * 1000
        if self._resume:
            if self._resume.shift_ms is not None:
                self._shift_ms = self._resume.shift_ms
            # Before anything is sent: a repeated batch has the same times then, and a bad path shows.
            self._resume.save(self._resume.acknowledged, self._shift_ms)

    def _send(self, block: pl.DataFrame, loop_s: int) -> None:
        """Sends the block, each event when it is due."""
        if self._skipped and not self._sink.put_events:
            self._pace_from = self._clock.monotonic(), block["second"][0] + loop_s
        data, keys = wire_data(block, self._shift_ms + loop_s * 1000), block[self._partition_key]
        due_s = self._due_s(block, loop_s)
        start = 0
        while start < block.height and not self._stopped():
            stop = min(start + self._sink.batch_events, block.height)
            if due_s:
                # Not beyond the last one that could go along.
                self._wait_until(max(due_s[start], min(due_s[start] + self._sink.linger_s, due_s[stop - 1])))
                if self._stopped():
                    return
                now = self._clock.monotonic()
                stop = next((index for index in range(start + 1, stop) if due_s[index] > now), stop)
            self._sink.put(data[start:stop], keys[start:stop])
            self._note_bots(block[start:stop])
            start = stop
            if due_s and start < block.height:
                self._lag_s = max(0.0, self._clock.monotonic() - due_s[start])
            if self._resume:
                done = self._resume.acknowledged + self._sink.acknowledged_events
                self._resume.save(done, self._shift_ms)
            self._report()

    def _note_bots(self, sent: pl.DataFrame) -> None:
        if self._attack:
            self._attack.note_sent(sent["user_id"], sent["second"])

    def _due_s(self, block: pl.DataFrame, loop_s: int) -> list[float] | None:
        """When each event is to be sent, by the monotonic clock; None if at once."""
        started, first_second = self._pace_from
        if self._pace.rate:
            sent = self._sink.put_events
            return [started + (sent + index) / self._pace.rate for index in range(block.height)]
        if self._pace.speed:
            gaps = block["second"].cast(pl.Float64) + (loop_s - first_second)
            return (gaps / self._pace.speed + started).to_list()
        return None

    def _wait_until(self, due: float) -> None:
        while (wait_s := due - self._clock.monotonic()) > 0 and not self._stopped():
            self._lag_s = 0.0
            self._report()
            self._clock.sleep(min(wait_s, LONGEST_SLEEP_S))
        self._lag_s = max(0.0, -wait_s)

    def _keep(self, row: Malformed) -> None:
        self._malformed_rows += 1
        self._malformed(row)

    def _report(self, text: str = "") -> None:
        """Writes a line about each second: by default what was sent, how fast, how late, how often again, how long."""
        now = self._clock.monotonic()
        if (elapsed := now - self._reported) < REPORT_EVERY_S:
            return
        sent = self._sink.acknowledged_events
        if not text:
            text = f"sent {sent:,}, {(sent - self._reported_events) / elapsed:,.0f}/s"
            text += "" if self._lag_s is None else f", {self._lag_s:.1f} s behind schedule"
            text += f", {self._sink.retries:,} retries"
            if (share := self._source.share_read) and share < 1 and not self._loop:
                text += f", about {(now - self._started) * (1 - share) / share:,.0f} s to go"
        self._progress.write(f"{text}\n")
        self._progress.flush()
        self._reported, self._reported_events = now, sent


def wire_data(block: pl.DataFrame, shift_ms: int) -> pl.Series:
    """The wire records of a block, its times shifted."""
    at = pl.from_epoch(pl.col("second") * 1000 + shift_ms, "ms").dt.to_string("%Y-%m-%dT%H:%M:%S%.3fZ")
    return block.select(pl.concat_str("head", at, pl.lit('"}'))).to_series()


def write_ledger(file: TextIO) -> Callable[[Sequence[str]], None]:
    """A callback for Writer: acknowledged event_ids, one a line, written at once; true even after a kill."""

    def acknowledged(event_ids: Sequence[str]) -> None:
        file.writelines(f"{event_id}\n" for event_id in event_ids)
        file.flush()

    return acknowledged
