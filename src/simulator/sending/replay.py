"""A replay: events from a source, selected, paced, with the times asked for, into a sink."""

import sys
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import asdict, dataclass, field
from typing import Any, TextIO

import polars as pl

from simulator.options import PartitionKey, TimeMode
from simulator.sending.pace import Clock, Pace, Pacer
from simulator.sending.progress import Progress
from simulator.sending.resume import Resume
from simulator.sending.selection import Selection
from simulator.sending.sinks import Sink
from simulator.traffic.bots import BurstBots
from simulator.traffic.generate import LookAlike
from simulator.traffic.inputs import SourceError
from simulator.traffic.rows import from_events
from simulator.traffic.source import Malformed, Source

MIXED_BLOCK = 20_000  # as many as the sinks take at once
# A few malformed rows at the start of a file say little about it: so many rows are read before the first is sent.
CHECKED_ROWS = 1_000


class TooManyMalformed(SourceError):
    """More of the rows than allowed break the contract. The message says how many."""


@dataclass(frozen=True)
class Plan:
    """What is sent, when, and with which times.

    With `time="now"` all times in the events are shifted by one offset, so that the first event happens now and the
    gaps stay. Pace never changes them. With `loop` the source is sent again and again, each time moved to after the
    last.
    """

    selection: Selection = field(default_factory=Selection)
    time: TimeMode = "original"
    pace: Pace = field(default_factory=Pace)
    loop: bool = False
    partition_key: PartitionKey = "user_id"
    max_malformed: float = 1.0  # share of the rows


@dataclass(frozen=True)
class Summary:
    """What one replay did."""

    input_rows: int  # without headers
    malformed_rows: int
    set_aside_rows: int  # left out for another reason: alone in time, or by the mapping
    early_rows: int  # events that were earlier than one before them, in the files
    injected_events: int
    skipped_events: int  # acknowledged by the replay that this one resumes
    sent_events: int  # acknowledged by the stream
    retries: int
    overtakings: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class _Stopped(Exception):
    """The replay ends while it reads."""


class Replay:
    """One run over `source`, with `bots` mixed in.

    `malformed` is called with each malformed row, `set_aside` with each that is left out for another reason. `stopped`
    says whether to end early.
    """

    def __init__(
        self,
        source: Source | LookAlike,
        sink: Sink,
        plan: Plan | None = None,
        *,
        bots: BurstBots | None = None,
        resume: Resume | None = None,
        malformed: Callable[[Malformed], None] = lambda row: None,
        set_aside: Callable[[Malformed], None] = lambda row: None,
        stopped: Callable[[], bool] = lambda: False,
        clock: Clock | None = None,
        progress: TextIO = sys.stderr,
    ) -> None:
        self._source = source
        self._sink = sink
        self._plan = plan or Plan()
        self._bots = bots
        self._resume = resume
        self._malformed = malformed
        self._set_aside = set_aside
        self._set_aside_rows = 0
        self._is_checked = False
        self._stopped = stopped
        self._clock = clock or Clock()
        self._progress = Progress(progress, self._clock.monotonic)
        self._pacer = Pacer(self._plan.pace, self._clock)
        self._malformed_rows = 0
        self._skip = resume.acknowledged if resume else 0
        self._skipped = 0
        self._shift_ms = 0

    def run(self) -> Summary:
        """Send everything. After `stopped`, return when what was begun is acknowledged.

        Raise SourceError, BotsError or SendError. `summary` is right even then.
        """
        try:
            self._read()
        except _Stopped:
            return self.summary()
        if self._bots and not self._survey(self._bots):
            return self.summary()
        for block, loop_ms in self._blocks():
            skipped = min(self._skip, block.height)
            self._skip -= skipped
            self._skipped += skipped
            self._note_bots(block.head(skipped))
            if skipped < block.height:
                self._send(block.slice(skipped), loop_ms)
            if self._stopped():
                break
        return self.summary()

    def summary(self) -> Summary:
        """Return what was done so far."""
        counts = self._sink.counts
        return Summary(
            input_rows=self._source.rows,
            malformed_rows=self._malformed_rows,
            set_aside_rows=self._set_aside_rows,
            early_rows=self._source.early,
            injected_events=self._bots.sent_events if self._bots else 0,
            skipped_events=self._skipped,
            sent_events=counts.acknowledged_events,
            retries=counts.retries,
            overtakings=counts.overtakings,
            seconds=round(self._clock.monotonic() - self._progress.started, 3),
        )

    def _read(self) -> None:
        """Read the source, which finds its malformed rows and its order. Raise _Stopped, SourceError or OSError."""
        if isinstance(self._source, Source):
            self._source.read(self._keep, self._keep_aside, self._watch)
            self._check_malformed()

    def _watch(self, rows: int) -> None:
        if rows >= CHECKED_ROWS and not self._is_checked:
            self._check_malformed()
            self._is_checked = True
        self._progress.write(0, lambda *_: f"reading: {rows:,} rows")
        if self._stopped():
            raise _Stopped

    def _survey(self, bots: BurstBots) -> bool:
        """Show the bots the whole source. Return False if the replay was stopped meanwhile."""
        source = copy(self._source)  # of look-alike traffic: its rows do not count as read
        for _ in bots.survey(source.events()):
            self._progress.write(0, lambda *_: f"looking for places for the bots among {source.rows:,} rows")
            if self._stopped():
                return False
        return True

    def _blocks(self) -> Iterator[tuple[pl.DataFrame, int]]:
        """Return the selected blocks, each with the milliseconds by which its pass is moved."""
        loop_ms = 0
        while True:
            first: int | None = None
            last = 0
            for block in self._one_pass():
                # Shift, pace and loop go by all users, so that the parts of one replay stay together.
                block = self._plan.selection.in_time(block)
                if block.height:
                    ms = self._times(block)
                    begin, low, high = ms[0], int(ms.min()), int(ms.max())  # type: ignore[arg-type]
                    if first is None:
                        if not loop_ms:
                            self._begin(begin, self._source.closed(block["ms"])[0])
                        first, last = low, high
                    first, last = min(first, low), max(last, high)
                yield self._plan.selection.in_part(block), loop_ms
            if not self._plan.loop or first is None:
                return
            loop_ms += last - first + 1000

    def _one_pass(self) -> Iterator[pl.DataFrame]:
        if not self._bots:
            yield from self._source.blocks()
            return
        # Event by event, since each bot has its place among them.
        events = []
        for event in self._bots.mix(self._source.events()):
            events.append(event)
            if len(events) == MIXED_BLOCK:
                yield from_events(events)
                events = []
        yield from_events(events)

    def _check_malformed(self) -> None:
        """Raise TooManyMalformed if there are more malformed rows than the plan allows."""
        rows, share = self._source.rows, self._plan.max_malformed
        if self._malformed_rows > share * rows:
            raise TooManyMalformed(
                f"{self._malformed_rows:,} of the first {rows:,} rows are malformed, allowed is a share of "
                f"{share:g}; mend the file, or allow more with --max-malformed"
            )

    def _times(self, block: pl.DataFrame) -> pl.Series:
        """Return the times of a block before they are shifted: those of the events, or without gaps if they move."""
        moves = self._plan.time == "now" or self._plan.loop
        return self._source.closed(block["ms"]) if moves else block["ms"]

    def _begin(self, first_ms: int, paced_ms: int) -> None:
        """Fix what counts from the first event on: the shift of all times, and the pace."""
        self._pacer.begin(paced_ms)
        if self._plan.time == "now":
            self._shift_ms = self._clock.now_ms() - first_ms
        if self._resume:
            if self._resume.shift_ms is not None:
                self._shift_ms = self._resume.shift_ms
            # Before anything is sent: a repeated batch has the same times then, and a wrong path fails early.
            self._resume.save(self._resume.acknowledged, self._shift_ms)

    def _send(self, block: pl.DataFrame, loop_ms: int) -> None:
        """Send the block, each event when it is due."""
        sink, pacer = self._sink, self._pacer
        times_ms = self._source.closed(block["ms"]) + loop_ms  # nobody waits through a gap
        if self._skipped and not sink.counts.put_events:
            pacer.begin(times_ms[0])
        data = wire_data(block["head"], self._times(block) + self._shift_ms + loop_ms)
        keys = block["key" if self._plan.partition_key == "user_id" else "category_key"]
        due_s = pacer.due_s(times_ms, sink.counts.put_events)
        start = 0
        while start < block.height and not self._stopped():
            stop = min(start + sink.batch_events, block.height)
            if due_s:
                # Not beyond the last event that could be put with it.
                moment = max(due_s[start], min(due_s[start] + sink.linger_s, due_s[stop - 1]))
                pacer.wait_until(moment, self._stopped, self._report)
                if self._stopped():
                    return
                now = self._clock.monotonic()
                stop = next((index for index in range(start + 1, stop) if due_s[index] > now), stop)
            sink.put(data[start:stop], keys[start:stop])
            self._note_bots(block[start:stop])
            start = stop
            if due_s and start < block.height:
                pacer.note_lag(due_s[start])
            if self._resume:
                done = self._resume.acknowledged + sink.counts.acknowledged_events
                self._resume.save(done, self._shift_ms)
            self._report()

    def _note_bots(self, sent: pl.DataFrame) -> None:
        if self._bots:
            self._bots.note_sent(sent["key"], sent["ms"])

    def _keep(self, row: Malformed) -> None:
        self._malformed_rows += 1
        self._malformed(row)

    def _keep_aside(self, row: Malformed) -> None:
        self._set_aside_rows += 1
        self._set_aside(row)

    def _report(self) -> None:
        self._progress.write(self._sink.counts.acknowledged_events, self._progress_line)

    def _progress_line(self, per_second: float, seconds: float) -> str:
        """Return what was sent, how fast, how late, how many retries, and how long it takes from here."""
        counts, lag_s = self._sink.counts, self._pacer.lag_s
        line = f"sent {counts.acknowledged_events:,}, {per_second:,.0f}/s"
        if lag_s is not None:
            line += f", {lag_s:.1f} s behind schedule"
        line += f", {counts.retries:,} retries"
        if (share := self._source.share_read) and share < 1 and not self._plan.loop:
            line += f", about {seconds * (1 - share) / share:,.0f} s to go"
        return line


def wire_data(heads: pl.Series, ms: pl.Series) -> pl.Series:
    """Return the wire records of events (rows.BLOCK) with these times, in Unix milliseconds."""
    # To format a time takes as long as all else: each is formatted once where it repeats, as in a file in time order.
    times = pl.from_epoch(ms.rle().struct.field("value"), "ms").dt.to_string("%Y-%m-%dT%H:%M:%S%.3fZ")
    frame = pl.DataFrame({"head": heads, "time": times.gather(ms.rle_id())})
    return frame.select(pl.concat_str("head", "time", pl.lit('"}'))).to_series()
