"""`shopstream replay` as a function: options in, files and clients opened, an outcome back."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from random import Random
from typing import Any, Literal, TextIO

import smart_open

from simulator.aws import ClientFactory, client_from_environment
from simulator.options import DEFAULT_START, ReplayOptions
from simulator.sending.errors import SendError
from simulator.sending.kinesis import Stream, connect
from simulator.sending.pace import Pace
from simulator.sending.replay import Plan, Replay, Summary
from simulator.sending.resume import Resume
from simulator.sending.selection import Selection
from simulator.sending.sinks import AggregatingSink, FileSink, Sink, StreamSink, write_ledger
from simulator.sending.writer import Writer
from simulator.traffic.bots import BotsError, BurstBots
from simulator.traffic.generate import LookAlike
from simulator.traffic.inputs import SourceError, transport
from simulator.traffic.refused import Refused, left_out, shown
from simulator.traffic.source import Malformed, Source

NOT_ACKNOWLEDGED, BAD_INPUT, INTERRUPTED = 1, 2, 130
# So many malformed rows are printed without a file for them.
PRINTED_ROWS = 10


@dataclass(frozen=True)
class Outcome:
    """How a replay ended."""

    summary: Summary
    put_events: int
    refused: Refused
    set_aside: Refused
    notes: Sequence[str] = ()  # what else was noticed in the files
    error: Exception | None = None  # that ended it
    interrupted: bool = False
    damage: str | None = None  # which file could not be read to its end, and why

    @property
    def problem(self) -> str | None:
        """The sentence about what went wrong, None if nothing did."""
        if self.error:
            return str(self.error)
        if self.summary.sent_events != self.put_events:
            return "not every event was acknowledged"
        if self.damage and not self.interrupted:
            return f"{self.damage}; what could be read was sent"
        return None

    @property
    def exit_code(self) -> int:
        """0 done, 1 not every event acknowledged, 2 bad input, 130 interrupted."""
        if isinstance(self.error, SourceError | BotsError):
            return BAD_INPUT
        if self.error or self.summary.sent_events != self.put_events:
            return NOT_ACKNOWLEDGED
        if self.interrupted:
            return INTERRUPTED
        return BAD_INPUT if self.damage else 0

    def as_dict(self) -> dict[str, Any]:
        """Return the summary, with the reasons of malformed rows."""
        return self.summary.as_dict() | {
            "malformed_reasons": self.refused.reasons(),
            "set_aside_reasons": self.set_aside.reasons(),
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """Return the last lines of a replay: what was read, sent and acknowledged, and why rows were not sent."""
        summary = self.summary
        skipped = f", skipped {summary.skipped_events:,} acknowledged before" if summary.skipped_events else ""
        overtaken = f", {summary.overtakings:,} overtaken" if summary.overtakings else ""
        set_aside = f", {summary.set_aside_rows:,} set aside" if summary.set_aside_rows else ""
        read = (
            f"read {summary.input_rows:,} rows ({summary.malformed_rows:,} malformed{set_aside}), injected "
            f"{summary.injected_events:,} events{skipped}, sent {self.put_events:,}, acknowledged "
            f"{summary.sent_events:,} ({summary.retries:,} retries{overtaken}) in {summary.seconds:.1f} s"
        )
        return [read, *left_out(self.refused.reasons(), self.set_aside.reasons(), self.notes)]


def replay(
    options: ReplayOptions,
    *,
    create_client: ClientFactory = client_from_environment,
    stopped: Callable[[], bool] = lambda: False,
    progress: TextIO | None = None,
) -> Outcome:
    """Run a replay, and write its side files. `progress` gets a line a second (default: stderr).

    Raise SourceError, BotsError or SendError if nothing could be sent, and OSError, BotoCoreError or ClientError if an
    output cannot be written. All side files and the input are opened before the first record is sent.
    """
    progress = progress or sys.stderr
    with ExitStack() as stack:
        # What a resumed replay acknowledged before stays in its ledger.
        continues = options.resume and options.resume.exists()
        ledger = _side_file(stack, options.ledger, "a" if continues else "w")
        labels = _side_file(stack, options.labels)
        malformed = _side_file(stack, options.malformed)
        refused, set_aside = Refused(), Refused()
        source = _source(options, create_client)
        sink = _sink(stack, options, ledger, create_client)
        bots = BurstBots(options.bursts, options.seed) if options.bursts else None

        def keep(row: Malformed) -> None:
            refused(row)
            if malformed or refused.rows <= PRINTED_ROWS:
                (malformed or progress).write(json.dumps(row.as_dict()) + "\n")
            elif refused.rows == PRINTED_ROWS + 1:
                progress.write("more rows are malformed: --malformed FILE keeps them all\n")

        def keep_aside(row: Malformed) -> None:
            set_aside(row)
            if malformed:
                malformed.write(json.dumps(row.as_dict()) + "\n")

        run = Replay(
            source,
            sink,
            _plan(options),
            bots=bots,
            resume=Resume(options.resume, options.resumed()) if options.resume else None,
            malformed=keep,
            set_aside=keep_aside,
            stopped=stopped,
            progress=progress,
        )
        error = None
        try:
            run.run()
        except (SendError, SourceError, BotsError) as raised:
            if not sink.counts.put_events:  # nothing was begun: the error alone says it best
                if isinstance(raised, SourceError) and refused.rows:
                    raise type(raised)("\n".join([str(raised), *shown(refused.reasons())])) from raised
                raise
            error = raised
        if labels:
            json.dump(bots.labels() if bots else [], labels, indent=2)
            labels.write("\n")
        put = sink.counts.put_events
        return Outcome(run.summary(), put, refused, set_aside, tuple(source.notes), error, stopped(), source.damage)


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Return a function that says whether Ctrl-C was pressed.

    The first Ctrl-C lets a replay send what is buffered; a second one raises KeyboardInterrupt.
    """
    came: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)
        # Not print: a handler may run in the middle of one, and buffered files are not re-entrant.
        os.write(sys.stderr.fileno(), b"stopping: sending what is buffered (Ctrl-C again to stop at once)\n")

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGINT, before)


def _plan(options: ReplayOptions) -> Plan:
    return Plan(
        selection=Selection(options.start, options.until, options.part),
        time=options.time,
        pace=Pace(None if options.speed == inf else options.speed, options.rate),
        loop=options.loop,
        partition_key=options.partition_key,
        max_malformed=options.max_malformed,
    )


def _source(options: ReplayOptions, create_client: ClientFactory) -> Source | LookAlike:
    if options.look_alike:
        try:
            traffic = options.traffic()
        except ValueError as error:
            raise SourceError(error) from error
        return LookAlike(options.look_alike, options.seed, DEFAULT_START, traffic, options.limit)
    return Source(options.data, options.limit, create_client, mapping=options.mapping, sort=options.sort)


def _sink(stack: ExitStack, options: ReplayOptions, ledger: TextIO | None, create_client: ClientFactory) -> Sink:
    if options.stream:
        stream = Stream(connect(create_client), options.stream)
        writer = Writer(
            stream,
            write_ledger(ledger) if ledger else lambda tags: None,
            strict_order=options.strict_order,
            rng=Random(options.seed),
        )
        return AggregatingSink(writer, stream.shards) if options.aggregate else StreamSink(writer, ledger is not None)
    if options.output:
        try:
            parameters = transport(options.output, create_client)
            file = smart_open.open(options.output, "w", encoding="utf-8", transport_params=parameters)
        except (NotImplementedError, ValueError, ImportError) as error:  # of ftp:// and other addresses
            raise SourceError(f"{options.output}: no such address; give a local path or an s3:// address") from error
        return FileSink(stack.enter_context(file))
    return FileSink()


def _side_file(stack: ExitStack, path: Path | None, mode: Literal["w", "a"] = "w") -> TextIO | None:
    return stack.enter_context(path.open(mode, encoding="utf-8")) if path else None
