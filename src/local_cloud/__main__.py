"""Command line of the local cloud: python -m local_cloud up | down | etl | drain | status | demo."""

import argparse
import json
import signal
import sys
import time
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from insights.answer import EmptyTableError
from insights.question import QuestionError
from local_cloud import steps
from local_cloud.demo import Demo
from local_cloud.stack import ROOT, STOP_SIGNALS, Stack
from simulator.traffic.source import SourceError

BUILD = ROOT / "build"


# What a user can meet and mend; anything else is ours, and a traceback says where. OSError: also a time limit, a server
# that does not answer.
ERRORS = (RuntimeError, OSError, SourceError, QuestionError, EmptyTableError, BotoCoreError, ClientError)


def main() -> None:
    """Runs the command that the arguments name."""
    parser = argparse.ArgumentParser(prog="local_cloud", description="AWS on this machine, without an account.")
    parser.add_argument("--home", type=Path, default=BUILD, help="folder of all that is written (default: build)")
    commands = parser.add_subparsers(dest="command", required=True)
    up_ = commands.add_parser("up", help="start the local cloud, deploy terraform/ to it, start the detector")
    commands.add_parser("down", help="stop the local cloud, and a demo that was left behind")
    commands.add_parser("status", help="show its processes")
    commands.add_parser("drain", help="let the detector judge the last events of a finite replay, then go on")
    etl = commands.add_parser("etl", help="run the curate job on what was delivered")
    today = datetime.now(UTC).date()
    for option, which in (("--from-date", "first"), ("--to-date", "last")):
        etl.add_argument(option, type=day, default=today, help=f"{which} day of arrival, UTC (default: today)")
    demo = commands.add_parser("demo", help="run the whole platform once, from a file to alerts and answers")
    demo.add_argument("data", type=Path, help=".csv or .csv.gz in the data set's format")
    demo.add_argument("--bursts", type=count, default=5, help="burst bots to mix in (default: 5)")
    demo.add_argument("--install-s", type=float, default=0, help="seconds that the installation took, for the summary")
    for command in (up_, demo):
        command.add_argument(
            "--first-port", type=int, metavar="PORT", help="the stack's first port (default: free ones)"
        )
    arguments = parser.parse_args()
    kept = arguments.home / "local"
    for number in STOP_SIGNALS:  # whoever ends us: what was started is stopped first
        signal.signal(number, signal.default_int_handler)

    try:
        if arguments.command == "demo":
            run = Demo(arguments.home, arguments.data, arguments.bursts, arguments.install_s)
            sys.exit(run.run(arguments.first_port))
        if arguments.command == "up":
            up(kept, arguments.first_port)
        elif arguments.command == "down":
            down([kept, arguments.home / "demo" / "stack"])
        elif arguments.command == "status":
            stack = Stack.load(kept)
            print(stack.control("status").stdout, end="")
            say_where(stack)
        elif arguments.command == "drain":
            drain(Stack.load(kept))
        elif arguments.command == "etl":
            stack = Stack.load(kept)
            steps.wait_until_delivered(stack)
            print(json.dumps(steps.curate(stack, arguments.from_date, arguments.to_date), indent=2))
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(130)
    except ERRORS as error:
        sys.exit(f"error: {error}")


def up(directory: Path, first_port: int | None) -> None:
    """Starts the stack that stays, and says how to use it."""
    started = time.monotonic()
    stack = Stack.create(directory, first_port)
    try:
        steps.start(stack)
    except BaseException:
        stack.stop()
        raise
    say(f"up after {time.monotonic() - started:.0f} s")
    say_where(stack)
    say("next: make simulate ENV=local, make etl ENV=local, make insights ENV=local; make down stops it")
    say(f"in a shell of yours: . {stack.directory}/env")


def down(directories: list[Path]) -> None:
    """Stops the stacks that run there, and says so if none does."""
    running = []
    for directory in directories:
        with suppress(FileNotFoundError):
            running.append(Stack.load(directory))
    for stack in running:
        stack.stop()
    say("stopped" if running else "nothing was running")


def drain(stack: Stack) -> None:
    """Drains the detector and starts it again where it stood."""
    steps.start_detector(stack, savepoint=steps.drain(stack))
    say("drained; the detector goes on")


def day(text: str) -> date:
    """Returns the day that an option gives."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day such as 2019-10-01") from None


def count(text: str) -> int:
    """Returns the number, 0 or more, that an option gives."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 up")
    return int(text)


def say_where(stack: Stack) -> None:
    """Writes where the stack's parts are found."""
    say(f"Flink {stack.url('flink_rest')}, Trino {stack.url('trino')}, AWS {stack.url('emulator')}")
    say(f"logs in {stack.directory}/log")


def say(line: str) -> None:
    """Writes a line of progress."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
