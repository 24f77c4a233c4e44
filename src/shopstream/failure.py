"""How a command fails: one sentence on stderr and an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


class Failure(typer.TyperException):
    """A command that cannot do what was asked. The message says what came, what is allowed and what to do next.

    `code`: 1 if the work failed, 2 if the input was wrong.
    """

    def __init__(self, message: object, code: int = FAILED) -> None:
        super().__init__(str(message))
        self.exit_code = code


@contextmanager
def simulator_failures() -> Iterator[None]:
    """Turn the errors of reading, sending and writing events into Failure."""
    from botocore.exceptions import BotoCoreError, ClientError

    from simulator.options import OptionsError
    from simulator.sending.errors import SendError, explain
    from simulator.sending.upload import UploadError
    from simulator.traffic.bots import BotsError
    from simulator.traffic.inputs import SourceError

    try:
        yield
    except (SendError, UploadError) as error:
        raise Failure(error, FAILED) from error
    except (SourceError, BotsError, OptionsError) as error:
        raise Failure(error, BAD_INPUT) from error
    except (BotoCoreError, ClientError) as error:  # an input or output on S3
        raise Failure(explain(error), FAILED) from error
    except OSError as error:  # an output that cannot be written; a full disk or a closed pipe comes without its name
        name = f"{error.filename}: " if error.filename else "an output cannot be written: "
        raise Failure(f"{name}{error.strerror}; give another path", BAD_INPUT) from error
