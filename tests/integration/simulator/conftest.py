"""A Kinesis emulator for the simulator's tests, a stream on it, and data to replay."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from command import replay

from local_cloud.stack import ACCOUNT, REGION, ROOT, free_ports, wait_for
from local_cloud.steps import answers

EMULATOR = ROOT / "src" / "local_cloud" / "emulator" / ".venv" / "bin" / "ministack"
EVENTS = 4_000


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Kinesis emulator; the process's environment points at it."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    folder = tmp_path_factory.mktemp("emulator")
    own = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "IOT_MTLS_ENABLED": "0",
        "S3_DATA_DIR": str(folder / "s3"),
        "STATE_DIR": str(folder / "state"),
        "TMPDIR": str(folder),
        "LOG_LEVEL": "WARNING",
    }
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            environment.delenv(name)
        for name, value in {
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": url,
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": str(ROOT / "src"),
        }.items():
            environment.setenv(name, value)
        process = subprocess.Popen(
            [EMULATOR], env=os.environ | own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_for(lambda: answers(url), "the emulator", timeout_s=30)
            yield url
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture
def stream(emulator: str) -> str:
    """The name of a new stream with four shards."""
    name = f"stream-{uuid.uuid4()}"
    kinesis = boto3.client("kinesis")
    kinesis.create_stream(StreamName=name, ShardCount=4)
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    return name


@pytest.fixture(scope="session")
def data(emulator: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of look-alike events: eight full batches."""
    path = tmp_path_factory.mktemp("data") / "look-alike.csv.gz"
    command = [sys.executable, "-m", "simulator", "generate", path, "--events", str(EVENTS), "--seed", "1"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return path


@pytest.fixture(scope="session")
def expected(emulator: str, data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The wire records of `data` in its order, as `--output` writes them."""
    path = tmp_path_factory.mktemp("expected") / "records.jsonl"
    assert replay(data, "--output", path).code == 0
    lines = path.read_bytes().splitlines()
    assert len(lines) == EVENTS
    return lines
