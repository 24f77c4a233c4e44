"""The command line, `python -m simulator replay|generate|compare|upload`.

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

import boto3
import smart_open
from botocore.exceptions import BotoCoreError, ClientError

from simulator.sending.kinesis import SendError, Stream, Writer, connect, explain
from simulator.sending.replay import Pace, Replay, Resume, Selection, Summary, write_ledger
from simulator.sending.sinks import AggregatingSink, FileSink, Sink, StreamSink
from simulator.sending.upload import UploadError, progress, send, uploads
from simulator.traffic.attack import Attack, AttackError
from simulator.traffic.compare import compare as compare_files
from simulator.traffic.generate import DEFAULT, LookAlike, Traffic, write
from simulator.traffic.source import Malformed, Source, SourceError

NOT_ACKNOWLEDGED, BAD_INPUT, INTERRUPTED = 1, 2, 130
DEFAULT_START = "2019-10-01 22:30:00"  # of made traffic, UTC
# The options of made traffic, and what they are called in Traffic.
TRAFFIC = {
    "duplicates": "duplicate_share",
    "unsorted": "unsorted_share",
    "late": "late_share",
    "checkout_items": "checkout_items",
    "tabs": "tabs",
    "burst_limit": "burst_limit",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The process's exit code."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except SendError as error:
        return _fail(error, NOT_ACKNOWLEDGED)
    except (SourceError, AttackError) as error:
        return _fail(error, BAD_INPUT)
    except (BotoCoreError, ClientError) as error:  # an output on S3
        return _fail(explain(error), NOT_ACKNOWLEDGED)
    except OSError as error:  # an output that cannot be written; a full disk or a closed pipe comes without its name
        name = f"{error.filename}: " if error.filename else "an output cannot be written: "
        return _fail(f"{name}{error.strerror}; give another path", BAD_INPUT)
    except KeyboardInterrupt:
        return _fail("stopped at once: what was not yet sent or written is lost", INTERRUPTED)


def replay(options: argparse.Namespace) -> int:
    if conflict := _conflict(options):
        return _fail(conflict, BAD_INPUT)
    with ExitStack() as stack, _until_interrupted() as interrupted:
        # The ends of the file and of the options are tried before the first record is sent.
        # What a resumed replay acknowledged before stays in its ledger.
        goes_on = options.resume and options.resume.exists()
        ledger = _side_file(stack, options.ledger, "a" if goes_on else "w")
        labels = _side_file(stack, options.labels)
        malformed = _side_file(stack, options.malformed) or sys.stderr
        source = _source(options)
        sink = _sink(stack, options, ledger)
        attack = Attack(options.bursts, options.seed) if options.bursts else None

        def keep(row: Malformed) -> None:
            malformed.write(json.dumps(row.as_dict()) + "\n")

        run = Replay(
            source,
            sink,
            attack=attack,
            selection=Selection(options.start, options.until, options.part),
            time=options.time,
            pace=Pace(options.speed, options.rate),
            loop=options.loop,
            partition_key=options.partition_key,
            resume=Resume(options.resume, _what(options)) if options.resume else None,
            malformed=keep,
            max_malformed=options.max_malformed,
            stopped=interrupted,
        )
        error = None
        try:
            run.run()
        except (SendError, SourceError, AttackError) as fault:
            if not sink.put_events:
                raise  # nothing was begun: the error alone says it best
            error = fault
        if labels:
            json.dump(attack.labels() if attack else [], labels, indent=2)
            labels.write("\n")
        summary = run.summary()
        if options.json:
            print(json.dumps(summary.as_dict()), flush=True)
        print(_last_line(summary, sink), file=sys.stderr)
    if isinstance(error, SourceError | AttackError):
        return _fail(error, BAD_INPUT)
    if error or summary.sent_events != sink.put_events:
        return _fail(error or "not every event was acknowledged", NOT_ACKNOWLEDGED)
    if interrupted():
        return INTERRUPTED
    if source.damage:
        return _fail(f"{source.damage}; what could be read was sent", BAD_INPUT)
    return 0


def _conflict(options: argparse.Namespace) -> str | None:
    """Options that exclude each other, with the next step; None if there are none."""
    if bool(options.data) == bool(options.look_alike):
        return "give either files or --look-alike"
    if options.look_alike and options.bursts and not options.limit:
        return "--bursts needs an end, to spread the bots over all events; give --look-alike a --limit"
    if not options.look_alike and (given := [name for name in TRAFFIC if getattr(options, name) is not None]):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        return f"{names}: of made traffic only; give --look-alike, or leave it out"
    if options.resume and not options.stream:
        return "--resume needs --stream: an output is always written from its start"
    if options.ledger and (options.aggregate or not options.stream):
        return "--ledger names single records: it needs --stream, without --aggregate"
    if not options.stream and (options.aggregate or options.strict_order):
        name = "--aggregate" if options.aggregate else "--strict-order"
        return f"{name} says how records go to a stream; give --stream, or leave it out"
    if options.loop and options.bursts:
        return "--loop cannot repeat --bursts: a bot attacks once; leave out one of them"
    return None


def _source(options: argparse.Namespace) -> Source | LookAlike:
    if options.look_alike:
        try:
            traffic = _traffic(options)
        except ValueError as error:
            raise SourceError(error) from error
        return LookAlike(options.look_alike, options.seed, _start(DEFAULT_START), traffic, options.limit)
    return Source(options.data, options.limit)


def _sink(stack: ExitStack, options: argparse.Namespace, ledger: TextIO | None) -> Sink:
    if options.dry_run:
        return FileSink()
    if options.output:
        try:
            return FileSink(stack.enter_context(smart_open.open(options.output, "w", encoding="utf-8")))
        except (NotImplementedError, ValueError, ImportError) as error:  # of ftp:// and other addresses
            raise SourceError(f"{options.output}: no such address; give a local path or an s3:// address") from error
    stream = Stream(connect(), options.stream)
    writer = Writer(
        stream,
        write_ledger(ledger) if ledger else lambda tags: None,
        strict_order=options.strict_order,
        rng=Random(options.seed),
    )
    return AggregatingSink(writer, stream.shards) if options.aggregate else StreamSink(writer, ledger is not None)


def _what(options: argparse.Namespace) -> dict[str, Any]:
    """What must be the same for a replay to go on where another was."""
    names = (
        "data",
        "look_alike",
        "stream",
        "bursts",
        "seed",
        "start",
        "until",
        "part",
        "limit",
        "time",
        "partition_key",
        "loop",
        *TRAFFIC,
    )
    return {name: json.loads(json.dumps(getattr(options, name))) for name in names}


def _last_line(summary: Summary, sink: Sink) -> str:
    skipped = f", skipped {summary.skipped_events:,} acknowledged before" if summary.skipped_events else ""
    overtaken = f", {summary.overtakings:,} overtaken" if summary.overtakings else ""
    return (
        f"read {summary.input_rows:,} rows ({summary.malformed_rows:,} malformed), injected "
        f"{summary.injected_events:,} events{skipped}, sent {sink.put_events:,}, acknowledged "
        f"{summary.sent_events:,} ({summary.retries:,} retries{overtaken}) in {summary.seconds:.1f} s"
    )


def upload(options: argparse.Namespace) -> int:
    s3 = boto3.client("s3")
    try:
        for one in uploads(options.data):
            send(s3, options.bucket, one, progress)
    except UploadError as error:
        return _fail(error, NOT_ACKNOWLEDGED)
    print(f"s3://{options.bucket}: all of {options.data} is there", file=sys.stderr)
    return 0


def generate(options: argparse.Namespace) -> int:
    try:
        write(options.out, options.events, options.hours, options.seed, options.start, _traffic(options))
    except ValueError as error:
        return _fail(error, BAD_INPUT)
    print(f"{options.out}: {options.events:,} events", file=sys.stderr)
    return 0


def _traffic(options: argparse.Namespace) -> Traffic:
    """What was chosen about made traffic. Raises ValueError for what makes no sense."""
    chosen = {field: getattr(options, name) for name, field in TRAFFIC.items()}
    return Traffic(**{field: value for field, value in chosen.items() if value is not None})


def compare(options: argparse.Namespace) -> int:
    print(compare_files(options.data, options.limit), end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="simulator", description="Shop traffic → Kinesis.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("replay", help="send a file of events to a stream")
    command.set_defaults(run=replay)
    command.add_argument(
        "data",
        metavar="DATA",
        nargs="*",
        help="files, folders, globs, s3:// objects or prefixes: .csv, .csv.gz, .csv.zip",
    )
    command.add_argument(
        "--look-alike",
        type=_above_0,
        metavar="N",
        help="instead of DATA: made traffic without end, N events an hour in the mean of a week",
    )
    _add_traffic(command)
    target = command.add_mutually_exclusive_group(required=True)
    target.add_argument("--stream", metavar="NAME", help="name of the Kinesis stream")
    target.add_argument("--output", metavar="FILE", help="write the records to a file instead, one a line")
    target.add_argument("--dry-run", action="store_true", help="send nothing: read, check and count")
    command.add_argument(
        "--time",
        choices=("original", "now"),
        default="original",
        help="txn_timestamp: the event's own time (default), or shifted so that the first event is now",
    )
    pace = command.add_mutually_exclusive_group()
    pace.add_argument(
        "--speed",
        type=_speed,
        default=None,
        metavar="max|X",
        help="divide the gaps between events by X (default max: none)",
    )
    pace.add_argument("--rate", type=_above_0, metavar="N", help="send N events/s, whatever their gaps")
    command.add_argument("--start", type=_start, metavar="TIME", help="leave out events before this time, UTC")
    command.add_argument("--until", type=_start, metavar="TIME", help="leave out events from this time on, UTC")
    command.add_argument("--limit", type=_at_least(int, 1), metavar="ROWS", help="read only the first rows")
    command.add_argument("--loop", action="store_true", help="begin again at the end, with later times, until Ctrl-C")
    command.add_argument(
        "--part", type=_part, metavar="I/N", help="send only the users of part I: N replays send everything once"
    )
    command.add_argument(
        "--partition-key", choices=("user_id", "category_id"), default="user_id", help="(default user_id)"
    )
    command.add_argument("--aggregate", action="store_true", help="pack many events into each record, as the KPL does")
    command.add_argument(
        "--strict-order", action="store_true", help="keep each key's order also where the stream refuses entries"
    )
    command.add_argument(
        "--resume", type=Path, metavar="FILE", help="note progress in the file, and go on from what it says"
    )
    command.add_argument(
        "--bursts", type=_at_least(int, 0), default=0, metavar="N", help="burst bots to mix in (default 0)"
    )
    command.add_argument("--seed", type=int, default=1, metavar="S", help="of the bots and of the backoff (default 1)")
    command.add_argument(
        "--malformed", type=Path, metavar="FILE", help="rows that break the contract, as JSON lines (default: stderr)"
    )
    command.add_argument(
        "--max-malformed",
        type=_share,
        default=0.01,
        metavar="SHARE",
        help="stop if more of the rows than this break the contract (default 0.01)",
    )
    command.add_argument("--labels", type=Path, metavar="FILE", help="the bots that were mixed in, as JSON")
    command.add_argument("--ledger", type=Path, metavar="FILE", help="event_id of each acknowledged record, one a line")
    command.add_argument("--json", action="store_true", help="print the summary as JSON to stdout")

    command = commands.add_parser("upload", help="put a data file and a sample of it into a bucket")
    command.set_defaults(run=upload)
    command.add_argument("data", metavar="DATA", type=Path, help=".csv, .csv.gz or .csv.zip")
    command.add_argument("--bucket", required=True, metavar="NAME", help="name of the bucket")

    command = commands.add_parser("generate", help="make look-alike data")
    command.set_defaults(run=generate)
    command.add_argument("out", metavar="OUT", type=_out, help=".csv or .csv.gz to write")
    command.add_argument("--events", type=_at_least(int, 1), default=50_000, metavar="N", help="rows (default 50000)")
    command.add_argument("--hours", type=_at_least(float, 0.1), default=3.0, metavar="H", help="length (default 3)")
    command.add_argument("--seed", type=int, default=1, metavar="S", help="same seed, same bytes (default 1)")
    command.add_argument(
        "--start",
        type=_start,
        default=DEFAULT_START,
        metavar="TIME",
        help=f'UTC (default "{DEFAULT_START}": midnight is crossed)',
    )
    _add_traffic(command)

    command = commands.add_parser("compare", help="distributions of files side by side, as a Markdown table")
    command.set_defaults(run=compare)
    command.add_argument("data", metavar="DATA", nargs="+", help="one column each; inputs as of replay")
    command.add_argument("--limit", type=_at_least(int, 1), metavar="ROWS", help="read only the first rows of each")
    return parser


def _add_traffic(command: argparse.ArgumentParser) -> None:
    """The options of made traffic."""
    # No defaults here: `replay` must see which are given.
    for option, default, what in (
        ("--duplicates", DEFAULT.duplicate_share, "exact repetitions"),
        ("--unsorted", DEFAULT.unsorted_share, f"up to {DEFAULT.unsorted_s} s out of order"),
        ("--late", DEFAULT.late_share, f"up to {DEFAULT.late_s} s late"),
    ):
        command.add_argument(
            option, type=_share, metavar="SHARE", help=f"of rows that are {what} (default {default:g})"
        )
    command.add_argument(
        "--checkout-items",
        type=_at_least(int, 1),
        metavar="N",
        help=f"most purchases of a session in one second (default {DEFAULT.checkout_items})",
    )
    command.add_argument(
        "--tabs",
        type=_at_least(int, 2),
        metavar="N",
        help=f"most products that open at once, each in a tab (default {DEFAULT.tabs})",
    )
    command.add_argument(
        "--burst-limit",
        type=_at_least(int, 1),
        metavar="N",
        help=f"most different events of a visitor in 10 s: who would do more waits (default {DEFAULT.burst_limit})",
    )


def _at_least(kind: type, lowest: float) -> Any:
    def value(text: str) -> Any:
        number = kind(text)
        if not lowest <= number < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not allowed, at least {lowest} is")
        return number

    value.__name__ = kind.__name__  # argparse names it when `text` is no number at all
    return value


def _speed(text: str) -> float | None:
    return None if text == "max" else _above_0(text, "max, or a number above 0 such as 60")


def _above_0(text: str, allowed: str = "a number above 0") -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; give {allowed}")
    return number


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share from 0 to 1")
    return share


def _part(text: str) -> tuple[int, int]:
    index, _, parts = text.partition("/")
    if index.isdecimal() and parts.isdecimal() and 1 <= int(index) <= int(parts):
        return int(index), int(parts)
    raise argparse.ArgumentTypeError(f"{text!r} is no part such as 1/2 or 2/2")


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


def _side_file(stack: ExitStack, path: Path | None, mode: str = "w") -> TextIO | None:
    return stack.enter_context(path.open(mode, encoding="utf-8")) if path else None


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
