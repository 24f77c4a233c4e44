"""The local stack for the tests of the whole platform."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from local_cloud import steps
from local_cloud.stack import Stack

HOME = Path(__file__).resolve().parents[2] / "build" / "e2e"
# BUILD of the stack that tests share: `make` finds it in its folder `local`.
SHARED = HOME / "shared"


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Start the stack that test_platform.py and test_platform_disturbances.py share, in this order. Stop it at the end.

    It takes more than a minute to start. What one module leaves behind must not change the results of the other.
    """
    directory = SHARED / "local"
    with suppress(FileNotFoundError):
        Stack.load(directory).stop()  # from a test run that was killed
    stack = Stack.create(directory)
    try:
        steps.start(stack, raw_stream_shard_count=4)  # enough to merge and to split
        yield stack
    finally:
        stack.stop()
