"""The command line, `python -m simulator replay|generate`.

Exit codes: 0 done, 1 not every event acknowledged, 2 bad input, 130 Ctrl-C.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, TextIO

from simulator.attack import Attack, AttackError
from simulator.generate import write
from simulator.kinesis import SendError, Writer, connect
from simulator.replay import Replay, write_ledger
from simulator.source import Malformed, Source, SourceError

NOT_ACKNOWLEDGED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """The process's exit code."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except SendError as error:
        return _fail(error, NOT_ACKNOWLEDGED)
    except (SourceError, AttackError) as error:
        return _fail(error, BAD_INPUT)
    except OSError as error:  # an output that cannot be written; a full disk or a closed pipe comes without its name
        name = f"{error.filename}: " if error.filename else "an output cannot be written: "
        return _fail(f"{name}{error.strerror}; give another path", BAD_INPUT)
    except KeyboardInterrupt:
        return _fail("stopped at once: what was not yet sent or written is lost", INTERRUPTED)


def replay(options: argparse.Namespace) -> int:
    with ExitStack() as stack, _until_interrupted() as interrupted:
        # The ends of the file and of the options are tried before the first record is sent.
        ledger = _side_file(stack, options.ledger)
        labels = _side_file(stack, options.labels)
        malformed = _side_file(stack, options.malformed) or sys.stderr
        writer = Writer(
            connect(), options.stream, write_ledger(ledger) if ledger else lambda tags: None, rng=Random(options.seed)
        )
        source = Source(options.data, options.limit)
        attack = Attack(options.bursts, options.seed) if options.bursts else None

        def keep(row: Malformed) -> None:
            malformed.write(json.dumps(row.as_dict()) + "\n")

        run = Replay(
            source,
            writer,
            attack=attack,
            time=options.time,
            speed=options.speed,
            malformed=keep,
            with_event_ids=ledger is not None,
            stopped=interrupted,
        )
        try:
            run.run()
        except (SendError, SourceError, AttackError):
            if not writer.put_records:
                raise  # nothing was begun: the error alone says it best
            error = sys.exception()
        else:
            error = None
        if labels:
            json.dump(attack.labels() if attack else [], labels, indent=2)
            labels.write("\n")
        summary = run.summary()
        if options.json:
            print(json.dumps(summary.as_dict()), flush=True)
        print(
            f"read {summary.input_rows:,} rows ({summary.malformed_rows:,} malformed), "
            f"injected {summary.injected_events:,} events, sent {writer.put_records:,}, "
            f"acknowledged {summary.sent_events:,} ({summary.retries:,} retries) in {summary.seconds:.1f} s",
            file=sys.stderr,
        )
    if error or summary.sent_events != writer.put_records:
        return _fail(error or "not every event was acknowledged", NOT_ACKNOWLEDGED)
    if interrupted():
        return INTERRUPTED
    if source.damage:
        return _fail(f"{source.path}: {source.damage}; what could be read was sent", BAD_INPUT)
    return 0


def generate(options: argparse.Namespace) -> int:
    try:
        write(options.out, options.events, options.hours, options.seed, options.start)
    except ValueError as error:
        return _fail(error, BAD_INPUT)
    print(f"{options.out}: {options.events:,} events", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="simulator", description="Shop traffic → Kinesis.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("replay", help="send a file of events to a stream")
    command.set_defaults(run=replay)
    command.add_argument("data", metavar="DATA", type=Path, help=".csv or .csv.gz in the data set's format")
    command.add_argument("--stream", required=True, metavar="NAME", help="name of the Kinesis stream")
    command.add_argument(
        "--bursts", type=_at_least(int, 0), default=0, metavar="N", help="burst bots to mix in (default 0)"
    )
    command.add_argument("--seed", type=int, default=1, metavar="S", help="of the bots and of the backoff (default 1)")
    command.add_argument(
        "--time",
        choices=("own", "live"),
        default="own",
        help="txn_timestamp: the event's own time, or shifted so that the first event is now",
    )
    command.add_argument(
        "--speed",
        type=_speed,
        default=None,
        metavar="max|X",
        help="divide the gaps between events by X (default max: none)",
    )
    command.add_argument("--limit", type=_at_least(int, 1), metavar="ROWS", help="read only the first rows")
    command.add_argument(
        "--malformed", type=Path, metavar="FILE", help="rows that break the contract, as JSON lines (default: stderr)"
    )
    command.add_argument("--labels", type=Path, metavar="FILE", help="the bots that were mixed in, as JSON")
    command.add_argument("--ledger", type=Path, metavar="FILE", help="event_id of each acknowledged record, one a line")
    command.add_argument("--json", action="store_true", help="print the summary as JSON to stdout")

    command = commands.add_parser("generate", help="make look-alike data")
    command.set_defaults(run=generate)
    command.add_argument("out", metavar="OUT", type=_out, help=".csv or .csv.gz to write")
    command.add_argument("--events", type=_at_least(int, 1), default=50_000, metavar="N", help="rows (default 50000)")
    command.add_argument("--hours", type=_at_least(float, 0.1), default=3.0, metavar="H", help="length (default 3)")
    command.add_argument("--seed", type=int, default=1, metavar="S", help="same seed, same bytes (default 1)")
    command.add_argument(
        "--start",
        type=_start,
        default="2019-10-01 22:30:00",
        metavar="TIME",
        help='UTC (default "2019-10-01 22:30:00": midnight is crossed)',
    )
    return parser


def _at_least(kind: type, lowest: float) -> Any:
    def value(text: str) -> Any:
        number = kind(text)
        if not lowest <= number < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not allowed, at least {lowest} is")
        return number

    value.__name__ = kind.__name__  # argparse names it when `text` is no number at all
    return value


def _speed(text: str) -> float | None:
    try:
        speed = None if text == "max" else float(text)
    except ValueError:
        speed = 0.0
    if speed is not None and not 0 < speed < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; give max, or a number above 0 such as 60")
    return speed


def _start(text: str) -> int:
    try:
        start = datetime.fromisoformat(text)
        return int((start if start.tzinfo else start.replace(tzinfo=UTC)).timestamp())
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give one such as 2019-10-01 22:30:00") from error


def _out(text: str) -> Path:
    if not text.endswith((".csv", ".csv.gz")):
        raise argparse.ArgumentTypeError(f"{text!r} is neither .csv nor .csv.gz; give a name that ends so")
    return Path(text)


def _side_file(stack: ExitStack, path: Path | None) -> TextIO | None:
    return stack.enter_context(path.open("w", encoding="utf-8")) if path else None


@contextmanager
def _until_interrupted() -> Iterator[Any]:
    """A function that says whether Ctrl-C came. The first lets the replay drain what is buffered, a second ends it."""
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


def _fail(error: object, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
