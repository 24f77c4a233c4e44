"""Entry point of the console script `shopstream`.

Exit codes: 0 done, 1 failed, 2 wrong arguments or input, 130 interrupted by Ctrl-C.
"""

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from shopstream.failure import INTERRUPTED


class Commands(TyperGroup):
    """The commands. Typer itself would turn Ctrl-C into an exit code without a word."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the context names. Raise Abort if Ctrl-C ends it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Abort from None


app = typer.Typer(
    cls=Commands,
    help="Shopstream: find bots in shop traffic, and answer business questions about it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Errors are one line on stderr, `error: …`."""
    try:
        from shopstream import commands  # noqa: F401 (registers the commands)

        code = app(list(arguments) if arguments is not None else None, prog_name="shopstream", standalone_mode=False)
    except typer.TyperException as error:
        print(f"error: {error.format_message()}", file=sys.stderr)
        if context := getattr(error, "ctx", None):  # a usage error
            print(f"hint: {context.command_path} --help", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def main() -> None:
    """Run the command that the process was called with."""
    sys.exit(run())
