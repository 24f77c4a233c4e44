"""A stack: the processes of the local cloud, their ports and their folder.

All that belongs to a stack is in one directory: settings, logs, data. Its processes listen on 127.0.0.1 only, on ports
that are chosen when the stack is created, so several stacks can run side by side. Nothing here changes `os.environ`:
commands get the stack's variables from `run`, AWS clients come from `client`.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import boto3
import botocore.session
from botocore.config import Config

from local_cloud.ports import free_ports, ports_from
from local_cloud.processes import ROOT as ROOT
from local_cloud.processes import Program, Supervisor, socket_for
from local_cloud.waiting import wait_for

REGION = "us-east-1"
# The emulator takes an access key of 12 digits as the id of the account.
ACCOUNT = "123456789012"
SECRET_KEY = "local"

# Ctrl-C, `kill`, and a terminal that is closed.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

PORTS = ("emulator", "kinesis", "trino", "flink_rest", "flink_rpc")


@dataclass(frozen=True)
class Stack:
    """The processes of one local cloud. `directory` holds all that they write."""

    directory: Path
    ports: dict[str, int]
    # The commands that `run` has not finished yet.
    commands: list[subprocess.Popen[str]] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def create(cls, directory: Path, first_port: int | None = None) -> "Stack":
        """Return a new stack in the directory, whose old content is deleted.

        Its ports are `first_port` and the ones after it, or any free ones. Raise RuntimeError if a stack runs in the
        directory or a port is in use.
        """
        with suppress(FileNotFoundError):
            cls.load(directory)
            raise RuntimeError(f"a stack already runs in {directory}: stop it with `make down`")
        ports = free_ports(len(PORTS)) if first_port is None else ports_from(first_port, len(PORTS))
        shutil.rmtree(directory, ignore_errors=True)
        (directory / "log").mkdir(parents=True)
        stack = cls(directory.resolve(), dict(zip(PORTS, ports, strict=True)))
        (directory / "stack.json").write_text(json.dumps({"ports": stack.ports}))
        # For people's shells: `. build/local/env`.
        lines = [
            f"export {name}={shlex.quote(value)}" if value else f"unset {name}"
            for name, value in stack.environment().items()
        ]
        (directory / "env").write_text("\n".join(lines) + "\n")
        (directory / "no-aws-config").touch()
        return stack

    @classmethod
    def load(cls, directory: Path) -> "Stack":
        """Return the stack that runs in the directory. Raise FileNotFoundError if none runs there."""
        file = directory / "stack.json"
        if file.exists():
            stack = cls(directory.resolve(), json.loads(file.read_text())["ports"])
            if stack.is_running():
                return stack
        raise FileNotFoundError(f"no local stack runs in {directory}: start one with `make up`")

    def url(self, port: str) -> str:
        """Return the base URL of one of PORTS."""
        return f"http://127.0.0.1:{self.ports[port]}"

    def environment(self) -> dict[str, str]:
        """Return the variables that lead AWS's SDKs, Terraform and our programs to this stack; "" means: unset it."""
        no_config = str(self.directory / "no-aws-config")
        # The endpoint of a single service has priority over the one for all.
        others = [name for name in os.environ if name.startswith("AWS_ENDPOINT_URL_")]
        return dict.fromkeys(others, "") | {
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url("emulator"),
            "AWS_ENDPOINT_URL_KINESIS": self.url("kinesis"),
            # The user's own profile or session must not lead a local run to a real account.
            "AWS_CONFIG_FILE": no_config,
            "AWS_SHARED_CREDENTIALS_FILE": no_config,
            "AWS_PROFILE": "",
            "AWS_SESSION_TOKEN": "",
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "",
            "AWS_EC2_METADATA_DISABLED": "true",
            # A proxy cannot reach this machine's own addresses. Some programs read one name, some the other.
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            # Otherwise Terraform asks its maker's server for a newer version.
            "CHECKPOINT_DISABLE": "1",
            "TRINO_URL": self.url("trino"),
            "FLINK_URL": self.url("flink_rest"),
        }

    def full_environment(self) -> dict[str, str]:
        """Return this process's environment with the stack's variables set and unset: all that a subprocess needs."""
        return {name: value for name, value in (os.environ | self.environment()).items() if value}

    def client(self, service: str, **options: Any) -> Any:
        """Return a boto3 client of the stack's service. It ignores the user's own AWS settings.

        `options` are those of boto3.client.
        """
        # `{}` means: no proxy, whatever HTTP_PROXY says.
        config = Config(proxies={}).merge(options.pop("config", Config()))
        endpoint = self.url("kinesis" if service == "kinesis" else "emulator")
        return self._session.client(service, **{"endpoint_url": endpoint, "config": config} | options)

    @cached_property
    def _session(self) -> boto3.Session:
        # Each variable of a session: its names in the settings file and in the environment, default, conversion.
        nowhere = (None, None, str(self.directory / "no-aws-config"), None)
        own = {"profile": (None, None, None, None), "config_file": nowhere, "credentials_file": nowhere}
        return boto3.Session(
            aws_access_key_id=ACCOUNT,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
            botocore_session=botocore.session.Session(session_vars=own),
        )

    def outputs(self) -> dict[str, str]:
        """Return Terraform's outputs: the names, ARNs and URLs of what is deployed."""
        return json.loads((self.directory / "outputs.json").read_text())

    def run(
        self,
        command: list[str],
        environment: Mapping[str, str] | None = None,
        stderr: int | IO | None = subprocess.PIPE,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and return how it ended. AWS's SDKs in it find the stack.

        `environment` holds further variables. `stop`, and any exception here, such as Ctrl-C, kill the command with
        everything that it has started: without its cloud, Terraform would go on trying for minutes.
        """
        process = subprocess.Popen(
            command,
            env=self.full_environment() | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,  # a process group of its own, which can be killed as a whole
        )
        self.commands.append(process)
        try:
            out, err = process.communicate()
        except BaseException:
            kill_group(process)
            raise
        finally:
            self.commands.remove(process)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def start(self, programs: list[Program]) -> None:
        """Start the programs in the background. supervisor keeps them running."""
        self.supervisor.start(programs, self.full_environment())

    def stop(self) -> None:
        """Stop what the stack has started, its programs and its commands, and return when all of it has ended.

        Signals that come meanwhile are ignored: they would leave the rest running.
        """
        handlers = {number: signal.signal(number, signal.SIG_IGN) for number in STOP_SIGNALS}
        try:
            for command in list(self.commands):
                kill_group(command)
            self.supervisor.stop()
            # A shell must not be led to a stack that has ended.
            (self.directory / "env").unlink(missing_ok=True)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def is_running(self) -> bool:
        """Return whether the stack's supervisor runs."""
        return self.supervisor.process() is not None

    def wait_for(self, condition: Callable[[], Any], what: str, timeout_s: float) -> Any:
        """Return the condition's first true value. Raise RuntimeError if a process of the stack ends meanwhile."""
        self._check_running()
        seen = self.supervisor.pids()

        def met() -> Any:
            self._check_running()
            if ended := self.supervisor.ended(seen):
                raise RuntimeError(f"{ended} ended: see {self.log(ended)}")
            return condition()

        return wait_for(met, what, timeout_s)

    def _check_running(self) -> None:
        if not self.is_running():
            raise RuntimeError(f"the stack in {self.directory} was stopped")

    @cached_property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.directory, socket_for(self.ports["emulator"]))

    def log(self, program: str) -> Path:
        """Return the log file of a program."""
        return self.directory / "log" / f"{program}.log"


def kill_group(leader: subprocess.Popen[str]) -> None:
    """Kill a process and all of its group, and return when it has ended."""
    with suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGKILL)
    leader.wait()
