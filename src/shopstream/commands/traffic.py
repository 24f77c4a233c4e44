"""Traffic: replay, make, compare and upload shop events."""

import json as json_format
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from inspect import Parameter, Signature, signature
from math import inf
from pathlib import Path
from typing import Annotated, Any

import typer

from shopstream.app import app
from shopstream.commands.local import drain_and_resume
from shopstream.environment import DEFAULT_HOME, Env, Home, Local, open_environment
from shopstream.failure import BAD_INPUT, INTERRUPTED, Failure, simulator_failures
from shopstream.parsers import MAPPING_HELP, SORT_HELP, MappingOption, parse_made_file
from simulator.aws import ClientFactory, client_from_environment
from simulator.options import (
    DEFAULT,
    DEFAULT_START,
    TRAFFIC_FIELDS,
    PartitionKey,
    ReplayOptions,
    TimeMode,
    traffic_options,
)

PANEL = "Traffic"
INPUTS = "files, folders, globs, s3:// objects or prefixes: CSV, JSON lines or Parquet, also in gzip, zstd or zip"


# Values of options


def _number(text: str) -> float:
    """Return the number, or one that is outside of every range."""
    try:
        return float(text)
    except ValueError:
        return -1.0


def _above_0(text: str, allowed: str = "a number above 0") -> float:
    number = _number(text)
    if not 0 < number < inf:
        raise typer.BadParameter(f"{text!r} is not allowed; give {allowed}")
    return number


def _speed(text: str) -> float:
    return inf if text == "max" else _above_0(text, "max, or a number above 0 such as 60")


def _share(text: str) -> float:
    share = _number(text)
    if not 0 <= share <= 1:
        raise typer.BadParameter(f"{text!r} is no share from 0 to 1")
    return share


def _hours(text: str) -> float:
    hours = _number(text)
    if not 0.1 <= hours < inf:
        raise typer.BadParameter(f"{text} is not allowed, at least 0.1 is")
    return hours


def _part(text: str) -> tuple[int, int]:
    index, _, parts = text.partition("/")
    if index.isdecimal() and parts.isdecimal() and 1 <= int(index) <= int(parts):
        return int(index), int(parts)
    raise typer.BadParameter(f"{text!r} is no part such as 1/2 or 2/2")


def _instant(text: str) -> int:
    """Return an instant, UTC unless it says otherwise, in Unix seconds."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time; give one such as 2019-10-01 22:30:00") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


# Options of several commands, by their names in ReplayOptions. Their defaults are those of ReplayOptions, too.


def _option(kind: Any, help: str, panel: str, **more: Any) -> Any:
    return Annotated[kind, typer.Option(help=help, rich_help_panel=panel, **more)]


def _switch(name: str, help: str, panel: str) -> Any:
    return Annotated[bool, typer.Option(name, help=help, rich_help_panel=panel)]


MADE, EVENTS, SENDING, SIDE = "Made traffic", "Which events, and when", "How they are sent", "Safety and side files"

# The defaults are in the texts: `replay` must see which options are given.
TRAFFIC: dict[str, Any] = {
    name: _option(type_, f"{help} (default {getattr(DEFAULT, TRAFFIC_FIELDS[name]):g})", MADE, **more)
    for name, type_, help, more in (
        ("duplicates", float | None, "share of rows that are exact repetitions", {"parser": _share}),
        (
            "unsorted",
            float | None,
            f"share of rows that are up to {DEFAULT.unsorted_s} s out of order",
            {"parser": _share},
        ),
        ("late", float | None, f"share of rows that are up to {DEFAULT.late_s} s late", {"parser": _share}),
        ("guest_share", float | None, "share of sessions without a user id", {"parser": _share}),
        ("checkout_items", int | None, "most purchases of a session in one second", {"min": 1}),
        ("tabs", int | None, "most products that open at once, each in a tab", {"min": 2}),
        ("burst_limit", int | None, "most different events of a visitor in 10 s; then the visitor waits", {"min": 1}),
    )
}
REPLAY: dict[str, Any] = {
    "look_alike": _option(
        float | None,
        "instead of DATA: made traffic without end, N events an hour in the mean of a week",
        MADE,
        parser=_above_0,
        metavar="N",
    ),
    **TRAFFIC,
    "mapping": _option(str | None, MAPPING_HELP, EVENTS, metavar="NAME|FILE"),
    "sort": _switch("--sort/--no-sort", SORT_HELP, EVENTS),
    "time": _option(
        TimeMode, "txn_timestamp: the event's own time, or shifted so that the first event happens now", EVENTS
    ),
    "speed": _option(
        float | None,
        "divide the gaps between events by X (default max: none)",
        EVENTS,
        parser=_speed,
        metavar="max|X",
    ),
    "rate": _option(float | None, "send N events/s, whatever their gaps", EVENTS, parser=_above_0, metavar="N"),
    "start": _option(int | None, "leave out events before this time, UTC", EVENTS, parser=_instant, metavar="TIME"),
    "until": _option(int | None, "leave out events from this time on, UTC", EVENTS, parser=_instant, metavar="TIME"),
    "limit": _option(int | None, "read only the first rows", EVENTS, min=1, metavar="ROWS"),
    "loop": _switch("--loop", "begin again at the end, with later times, until Ctrl-C", EVENTS),
    "part": _option(
        Any,
        "send only the users and guests of part I: N replays send everything once",
        EVENTS,
        parser=_part,
        metavar="I/N",
    ),
    "bursts": _option(int, "burst bots to mix in", EVENTS, min=0, metavar="N"),
    "seed": _option(int, "of made traffic, of the bots and of the backoff", EVENTS, metavar="S"),
    "partition_key": _option(
        PartitionKey, "events with the same value stay in order; without one, those of a session or product", SENDING
    ),
    "aggregate": _switch("--aggregate", "pack many events into each record, as the KPL does", SENDING),
    "strict_order": _switch("--strict-order", "keep each key's order even where the stream refuses entries", SENDING),
    "resume": _option(Path | None, "note progress in the file, and continue from what it says", SIDE, metavar="FILE"),
    "malformed": _option(
        Path | None, "rows that are not sent, as JSON lines (default: ten of them to stderr)", SIDE, metavar="FILE"
    ),
    "max_malformed": _option(
        float, "stop if more of the rows than this break the contract", SIDE, parser=_share, metavar="SHARE"
    ),
    "labels": _option(Path | None, "the bots that were mixed in, as JSON", SIDE, metavar="FILE"),
    "ledger": _option(Path | None, "event_key of each acknowledged record, one a line", SIDE, metavar="FILE"),
}
DEFAULTS = {field.name: field.default for field in fields(ReplayOptions)}

Data = Annotated[list[str] | None, typer.Argument(metavar="DATA", help=INPUTS)]
Json = Annotated[bool, typer.Option("--json", help="print the summary as JSON to stdout")]


def _with_options(options: Mapping[str, Any], **defaults: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add options to a command that takes them as keyword arguments."""

    def extended(command: Callable[..., Any]) -> Callable[..., Any]:
        own = [one for one in signature(command).parameters.values() if one.kind is not Parameter.VAR_KEYWORD]
        added = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=defaults.get(name, DEFAULTS[name]), annotation=annotation)
            for name, annotation in options.items()
        ]
        setattr(command, "__signature__", Signature([*own, *added]))  # noqa: B010 - for mypy a function has none
        return command

    return extended


def _replay(options: ReplayOptions, create_client: ClientFactory, json: bool) -> int:
    """Run a replay that Ctrl-C ends, and write its summary. Return the exit code."""
    from simulator import run

    try:
        with run.interruptible() as interrupted:
            outcome = run.replay(options, create_client=create_client, stopped=interrupted)
    except KeyboardInterrupt:
        raise Failure("stopped at once: what was not yet sent or written is lost", INTERRUPTED) from None
    if json:
        print(json_format.dumps(outcome.as_dict()), flush=True)
    print(*outcome.lines(), sep="\n", file=sys.stderr)
    if outcome.problem:
        raise Failure(outcome.problem, outcome.exit_code)
    return outcome.exit_code


@app.command(rich_help_panel=PANEL)
@_with_options(REPLAY)
def replay(
    data: Data = None,
    stream: Annotated[str | None, typer.Option(metavar="NAME", help="name of the Kinesis stream")] = None,
    output: Annotated[
        str | None, typer.Option(metavar="FILE", help="write the records to a file instead, one a line")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="send nothing: read, check and count")] = False,
    json: Json = False,
    **options: Any,
) -> int:
    """Send files of events to a stream of the AWS account that the shell points at.

    Exit codes: 0 all sent and acknowledged, 1 not every event acknowledged, 2 bad input or options, 130 Ctrl-C.
    """
    with simulator_failures():
        chosen = ReplayOptions(data=data or (), stream=stream, output=output, dry_run=dry_run, **options)
        return _replay(chosen, client_from_environment, json)


@app.command(rich_help_panel=PANEL)
@_with_options(REPLAY, time="now", bursts=5)
def simulate(
    data: Annotated[
        list[str] | None, typer.Argument(metavar="DATA", help=f"{INPUTS}; also several in one argument")
    ] = None,
    json: Json = False,
    env: Env = "dev",
    home: Home = DEFAULT_HOME,
    **options: Any,
) -> int:
    """Replay events into the deployed platform, with burst bots among them.

    Malformed rows and labels go to simulate/ below --home. On the local stack, the detector drains afterwards, so that
    it judges the last events, too.
    """
    from simulator.traffic.inputs import split_data

    with simulator_failures():
        inputs = [name for text in data or () for name in split_data(text)]
        for name, file in (("malformed", "malformed.jsonl"), ("labels", "labels.json")):
            options[name] = options[name] or home / "simulate" / file
        # The options are checked before anything is asked of AWS; the stream's name is known only then.
        ReplayOptions(data=inputs, stream="to be known", **options)
        environment = open_environment(env, home)
        chosen = ReplayOptions(data=inputs, stream=environment.outputs["raw_stream_name"], **options)
        (home / "simulate").mkdir(parents=True, exist_ok=True)
        code = _replay(chosen, environment.client, json)
    if code == 0 and isinstance(environment, Local):
        drain_and_resume(environment.stack)
    return code


@app.command(rich_help_panel=PANEL)
@_with_options(TRAFFIC)
def look_alike(
    out: Annotated[Path, typer.Argument(metavar="OUT", parser=parse_made_file, help=".csv or .csv.gz to write")],
    events: Annotated[int, typer.Option(metavar="N", min=1, help="rows")] = 50_000,
    hours: Annotated[float, typer.Option(metavar="H", parser=_hours, help="length")] = 3.0,
    seed: Annotated[int, typer.Option(metavar="S", help="same seed, same bytes")] = 1,
    start: Annotated[
        int | None,
        typer.Option(metavar="TIME", parser=_instant, help='UTC (default "2019-10-01 22:30:00": midnight is crossed)'),
    ] = None,
    **options: Any,
) -> None:
    """Make look-alike data: a file of shop traffic in the data set's format."""
    from simulator.traffic.generate import write

    with simulator_failures():
        try:
            chosen = traffic_options(**options)
            write(out, events, hours, seed, DEFAULT_START if start is None else start, chosen)
        except ValueError as error:
            raise Failure(error, BAD_INPUT) from error
    print(f"{out}: {events:,} events", file=sys.stderr)


@app.command(rich_help_panel=PANEL)
def inspect(
    data: Annotated[list[str], typer.Argument(metavar="DATA", help=f"{INPUTS}; also several in one argument")],
    mapping: MappingOption = None,
    limit: Annotated[int | None, typer.Option(metavar="ROWS", min=1, help="read only the first rows")] = None,
    draft: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="write a mapping to start from, for the first file; nothing else"),
    ] = None,
) -> int:
    """Show what is in files of events, and how they would be sent. Nothing is sent.

    Exit codes: 0, or 2 where a replay would refuse the files.
    """
    from simulator.traffic import inspection
    from simulator.traffic.inputs import SourceError, split_data

    with simulator_failures():
        inputs = [name for text in data for name in split_data(text)]
        if draft:
            draft.write_text(inspection.draft_mapping(inputs), encoding="utf-8")
            print(f"{draft}: read it, mend it, then: shopstream inspect {' '.join(data)} --mapping {draft}")
            return 0
        try:
            found = inspection.inspect(inputs, mapping, limit)
        except SourceError as error:
            if mapping is None:
                raise SourceError(f"{error}\n--draft FILE writes a mapping to start from") from error
            raise
    print(*found.lines(), sep="\n")
    return 0 if found.events else BAD_INPUT


@app.command(rich_help_panel=PANEL)
def compare(
    data: Annotated[list[str], typer.Argument(metavar="DATA", help="one column each; inputs as of replay")],
    limit: Annotated[int | None, typer.Option(metavar="ROWS", min=1, help="read only the first rows of each")] = None,
) -> None:
    """Put the distributions of files side by side, as a Markdown table."""
    from simulator.traffic.compare import compare as compare_inputs

    with simulator_failures():
        print(compare_inputs(data, limit), end="")


@app.command(rich_help_panel=PANEL)
def upload(
    data: Annotated[list[str], typer.Argument(metavar="DATA", help=f"{INPUTS}; also several in one argument")],
    bucket: Annotated[
        str | None, typer.Option(metavar="NAME", help="a bucket of the account that the shell points at")
    ] = None,
    env: Env = "dev",
    home: Home = DEFAULT_HOME,
) -> None:
    """Put data files into the raw bucket: each as it is, unpacked, and a sample of it."""
    from simulator.sending.upload import send, uploads
    from simulator.traffic.inputs import expand, split_data

    with simulator_failures():
        inputs = [name for text in data for name in split_data(text)]
        create_client = client_from_environment
        if bucket is None:
            environment = open_environment(env, home)
            bucket, create_client = environment.outputs["raw_bucket"], environment.client
        s3 = create_client("s3")
        for name in expand(inputs, create_client):
            for one in uploads(name, create_client):
                send(s3, bucket, one, lambda line: print(line, file=sys.stderr, flush=True))
            print(f"s3://{bucket}: all of {name} is there", file=sys.stderr)
