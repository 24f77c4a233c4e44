"""One machine: the local stack and the demo."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from local_cloud.stack import STOP_SIGNALS, Stack
from shopstream.app import app
from shopstream.environment import DEFAULT_HOME, Home
from shopstream.failure import FAILED, Failure
from shopstream.parsers import MappingOption, SortOption

PANEL = "One machine"
# In the folder --home: the stack of `up`, and that of a demo.
KEPT, DEMO = Path("local"), Path("demo") / "stack"

FirstPort = Annotated[
    int | None, typer.Option("--first-port", metavar="PORT", help="first port of the stack (default: any free ones)")
]


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn errors that a user can fix into a Failure, and every signal that ends a program into Ctrl-C.

    So whoever ends the command, what it has started is stopped first. Other errors are ours: a traceback says where.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    from insights.answer import EmptyTableError
    from insights.question import QuestionError
    from simulator.traffic.inputs import SourceError

    handlers = {number: signal.signal(number, signal.default_int_handler) for number in STOP_SIGNALS}
    try:
        yield
    # OSError: also a time limit, and a server that does not answer.
    except (RuntimeError, OSError, SourceError, QuestionError, EmptyTableError, BotoCoreError, ClientError) as error:
        raise Failure(error) from None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@app.command(rich_help_panel=PANEL)
def demo(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA", help="events: files, folders, globs or s3:// addresses; also several in one argument"
        ),
    ],
    bursts: Annotated[int, typer.Option(min=0, help="burst bots to mix in")] = 5,
    mapping: MappingOption = None,
    limit: Annotated[int | None, typer.Option(metavar="ROWS", min=1, help="read only the first rows")] = None,
    sort: SortOption = True,
    install_s: Annotated[float, typer.Option(help="seconds that the installation took, for the summary")] = 0,
    first_port: FirstPort = None,
    home: Home = DEFAULT_HOME,
) -> int:
    """Run the whole platform once on this machine, from files of events to alerts and answers."""
    from local_cloud.demo import Demo
    from simulator.traffic.inputs import split_data

    with stoppable():
        inputs = [name for text in data for name in split_data(text)]
        run = Demo(home, inputs, bursts, install_s, mapping, sort, limit)
        print(run.run(first_port))
    return FAILED if run.faults else 0


@app.command(rich_help_panel=PANEL)
def up(first_port: FirstPort = None, home: Home = DEFAULT_HOME) -> None:
    """Start the local stack, deploy terraform/ to it, start the detector, and leave it running."""
    from local_cloud import steps

    with stoppable():
        started = time.monotonic()
        stack = Stack.create(home / KEPT, first_port)
        try:
            steps.start(stack)
        except BaseException:
            stack.stop()
            raise
    report(f"up after {time.monotonic() - started:.0f} s")
    report_addresses(stack)
    report("next: make simulate ENV=local, make etl ENV=local, make insights ENV=local; make down stops it")
    report(f"in your own shell: . {stack.directory}/env")


@app.command(rich_help_panel=PANEL)
def down(home: Home = DEFAULT_HOME) -> None:
    """Stop the local stack, and that of a demo that was left behind."""
    running = []
    with stoppable():
        for directory in (KEPT, DEMO):
            with suppress(FileNotFoundError):
                running.append(Stack.load(home / directory))
        for stack in running:
            stack.stop()
    report("stopped" if running else "nothing was running")


@app.command(rich_help_panel=PANEL)
def status(home: Home = DEFAULT_HOME) -> None:
    """Show the processes of the local stack."""
    from tabulate import tabulate

    with stoppable():
        stack = Stack.load(home / KEPT)
        rows = [(one["name"], one["statename"], one["description"]) for one in stack.supervisor.info()]
    print(tabulate(rows, headers=("process", "state", "since"), disable_numparse=True))
    report_addresses(stack)


@app.command(rich_help_panel=PANEL)
def drain(home: Home = DEFAULT_HOME) -> None:
    """Let the detector judge the last events of a finite replay; then it goes on."""
    with stoppable():
        stack = Stack.load(home / KEPT)
    drain_and_resume(stack)


def drain_and_resume(stack: Stack) -> None:
    """Let the detector judge the last events, start it again where it stopped, and say so. Raise Failure."""
    from local_cloud import steps

    with stoppable():
        steps.drain_and_resume(stack)
    report("drained; the detector goes on")


def report_addresses(stack: Stack) -> None:
    """Write where the stack's parts are."""
    report(f"Flink {stack.url('flink_rest')}, Trino {stack.url('trino')}, AWS {stack.url('emulator')}")
    report(f"logs in {stack.directory}/log")


def report(line: str) -> None:
    """Write a line of progress to stderr."""
    print(line, file=sys.stderr, flush=True)
