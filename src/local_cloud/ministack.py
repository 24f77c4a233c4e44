"""The AWS emulator: the command and the settings of its process, and a short-lived one for tests and benchmarks."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local_cloud import http
from local_cloud.ports import free_ports
from local_cloud.stack import ACCOUNT, REGION, ROOT, SECRET_KEY
from local_cloud.waiting import wait_for

FOLDER = ROOT / "src" / "local_cloud" / "emulator"
COMMAND = [str(FOLDER / ".venv" / "bin" / "python"), str(FOLDER / "serve.py")]


def settings(port: int, data: Path, temporary: Path) -> dict[str, str]:
    """Return the environment of an emulator that listens on 127.0.0.1 only and writes into these folders only."""
    return {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": REGION,
        "IOT_MTLS_ENABLED": "0",
        "S3_DATA_DIR": str(data / "s3"),
        "STATE_DIR": str(data / "state"),
        "TMPDIR": str(temporary),
        # Where there is a docker daemon, it would run functions and Flink in containers of its own.
        "DOCKER_HOST": "unix:///nonexistent",
        "LAMBDA_EXECUTOR": "local",
        "LOG_LEVEL": "WARNING",
    }


@contextmanager
def running() -> Iterator[dict[str, str]]:
    """Start an emulator and yield the variables that lead AWS's SDKs to it. It ends with the block."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        own = settings(port, Path(folder), Path(folder))
        process = subprocess.Popen(COMMAND, env=os.environ | own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: http.answers(url), "the emulator", timeout_s=30)
            yield {
                "AWS_ACCESS_KEY_ID": ACCOUNT,
                "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
                "AWS_DEFAULT_REGION": REGION,
                "AWS_ENDPOINT_URL": url,
                "NO_PROXY": "127.0.0.1",
            }
        finally:
            process.terminate()
            process.wait(10)
