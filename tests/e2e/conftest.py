"""The local stack for the tests of the whole platform."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from local_cloud import steps
from local_cloud.stack import Stack

HOME = Path(__file__).resolve().parents[2] / "build" / "e2e"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Returns a stack of the module's own, deployed and running; afterwards it is stopped."""
    with running_stack() as stack:
        yield stack


@contextmanager
def running_stack(**variables: object) -> Iterator[Stack]:
    """Yields a new stack, deployed with these variables of Terraform; this process's environment points at it."""
    directory = HOME / "stack"
    with suppress(FileNotFoundError):
        Stack.load(directory).stop()  # what a run that was killed has left
    with pytest.MonkeyPatch.context() as environment:
        stack = Stack.create(directory)
        for name in stack.environment():
            environment.delenv(name, raising=False)  # and restored at the end, whatever stack.enter() sets
        try:
            steps.start(stack, **variables)
            yield stack
        finally:
            stack.stop()
