"""How a command fails: one sentence on stderr and an exit code."""

import typer

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


class Failure(typer.TyperException):
    """A command that cannot do what was asked. The message says what came, what is allowed and what to do next.

    `code`: 1 if the work failed, 2 if the input was wrong.
    """

    def __init__(self, message: object, code: int = FAILED) -> None:
        super().__init__(str(message))
        self.exit_code = code
