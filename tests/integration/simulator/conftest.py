"""A Kinesis emulator for the simulator's tests, a stream on it, and data to replay."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from command import PROGRAM, replay

from local_cloud import ministack
from local_cloud.stack import ROOT

EVENTS = 4_000


@pytest.fixture(scope="session")
def emulator() -> Iterator[str]:
    """Return the address of a Kinesis emulator. The process's environment points at it."""
    with pytest.MonkeyPatch.context() as environment, ministack.running() as variables:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            environment.delenv(name)
        for name, value in (variables | {"PYTHONPATH": str(ROOT / "src")}).items():
            environment.setenv(name, value)
        yield variables["AWS_ENDPOINT_URL"]


@pytest.fixture
def stream(emulator: str) -> str:
    """Return the name of a new stream with four shards."""
    name = f"stream-{uuid.uuid4()}"
    kinesis = boto3.client("kinesis")
    kinesis.create_stream(StreamName=name, ShardCount=4)
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    return name


@pytest.fixture(scope="session")
def data(emulator: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of look-alike events: eight full batches."""
    path = tmp_path_factory.mktemp("data") / "look-alike.csv.gz"
    command = [PROGRAM, "look-alike", path, "--events", str(EVENTS), "--seed", "1"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return path


@pytest.fixture(scope="session")
def expected(emulator: str, data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Return the wire records of `data` in its order, as `--output` writes them."""
    path = tmp_path_factory.mktemp("expected") / "records.jsonl"
    assert replay(data, "--output", path).code == 0
    lines = path.read_bytes().splitlines()
    assert len(lines) == EVENTS
    return lines
