"""The local stack for the tests of the whole platform."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from local_cloud import steps
from local_cloud.stack import Stack

HOME = Path(__file__).resolve().parents[2] / "build" / "e2e"
# BUILD of the modules' stack, one after the other: `make` finds it in its folder `local`.
SHARED = HOME / "shared"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Start a stack for the module, with four shards, and stop it at the end. Starting takes more than a minute."""
    directory = SHARED / "local"
    with suppress(FileNotFoundError):
        Stack.load(directory).stop()  # from a test run that was killed
    stack = Stack.create(directory)
    try:
        steps.start(stack, raw_stream_shard_count=4)  # enough to merge and to split
        yield stack
    finally:
        stack.stop()
