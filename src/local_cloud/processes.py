"""The processes of a stack, under supervisor: its settings file, its control.

supervisor keeps the programs alive, in the background. It is asked through its own API, XML-RPC over a Unix socket.
http://supervisord.org/api.html
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from xmlrpc.client import Error, ServerProxy

import psutil
from supervisor.xmlrpc import SupervisorTransport

from local_cloud.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Program:
    """A program that supervisor keeps running, and the variables it gets beside those of supervisor itself."""

    name: str
    command: list[str]
    environment: dict[str, str]


@dataclass(frozen=True)
class Supervisor:
    """The supervisor of one stack. `directory` gets its settings and its logs; `socket` is where it answers."""

    directory: Path
    socket: Path

    def start(self, programs: list[Program], environment: Mapping[str, str]) -> None:
        """Start supervisor and the programs in the background. `environment` is all that they get of the caller's."""
        sections = [supervisor_settings(self.socket, self.directory)]
        sections += [program_settings(program, self.directory / "log") for program in programs]
        self.settings.write_text("\n".join(sections))
        command = [str(Path(sys.prefix) / "bin" / "supervisord"), "-c", str(self.settings)]
        subprocess.run(command, env=environment, check=True)
        wait_for(lambda: self.process() and self.answers(), "supervisor to start", timeout_s=30)

    def stop(self) -> None:
        """End supervisor and all its programs, and return when they have ended."""
        if process := self.process():
            process.terminate()
            wait_for(lambda: not is_alive(process), "supervisor to stop", timeout_s=60)

    def process(self) -> psutil.Process | None:
        """Return supervisor's own process, or None if it does not run.

        The socket does not prove it: some systems clean the folder of temporary files, and the stack would be lost.
        """
        try:
            process = psutil.Process(int((self.directory / "supervisord.pid").read_text()))
            # After a restart of the machine the number may belong to another process.
            return process if is_alive(process) and str(self.settings) in process.cmdline() else None
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
            return None

    def info(self) -> list[dict[str, Any]]:
        """Return what supervisor knows of each program: `name`, `statename`, `pid` (0 if it does not run) and more."""
        return self._call("getAllProcessInfo")

    def pids(self) -> dict[str, int]:
        """Return the process id of each program that runs."""
        return {program["name"]: program["pid"] for program in self.info() if program["pid"]}

    def ended(self, seen: dict[str, int]) -> str | None:
        """Return a program that has ended since `seen`, also if it runs again, or that cannot be started.

        `seen` holds process ids as `pids` returns them. Programs that have started since are added to it.
        """
        for program in self.info():
            name, pid = program["name"], program["pid"]
            # `spawnerr` says why a program is not there (cannot be started, ended too soon); a new start clears it.
            if program["spawnerr"] or seen.get(name, pid) != pid:
                return name
            if pid:
                seen[name] = pid
        return None

    def signal(self, program: str, name: str) -> None:
        """Send a signal, such as KILL, to a program."""
        self._call("signalProcess", program, name)

    def answers(self) -> bool:
        """Return whether supervisor answers on its socket."""
        with suppress(RuntimeError):
            self.info()
            return True
        return False

    def _call(self, method: str, *arguments: str) -> Any:
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self.socket}")
        try:
            # The address is not used, but must be there.
            return getattr(ServerProxy("http://127.0.0.1", transport=transport).supervisor, method)(*arguments)
        except (OSError, HTTPException, Error) as error:
            raise RuntimeError(
                f"supervisor does not answer at {self.socket} ({error}): "
                "restart the stack with `make down` and `make up`"
            ) from None
        finally:
            transport.close()

    @property
    def settings(self) -> Path:
        return self.directory / "supervisord.conf"


def installed(environment: Path, pattern: str) -> Path:
    """Return the folder of a Python environment that fits the pattern. Raise RuntimeError if it is not installed."""
    if found := next(environment.glob(pattern), None):
        return found
    raise RuntimeError(f"{environment} is not installed: call `make install`")


def is_alive(process: psutil.Process) -> bool:
    """Return whether the process runs. A zombie does not: it has ended, but its parent has not taken note."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def supervisor_settings(socket_file: Path, directory: Path) -> str:
    """Return supervisor's own part of its settings file."""
    folder = escaped(directory)
    return f"""[supervisord]
directory = {escaped(ROOT)}
logfile = {folder}/log/supervisord.log
pidfile = {folder}/supervisord.pid
[unix_http_server]
file = {socket_file}
chmod = 0700
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""


def program_settings(program: Program, log: Path) -> str:
    """Return a program's part of supervisor's settings file."""
    # Through `env`: supervisor's own setting `environment` has no way to escape characters.
    variables = [f"{name}={value}" for name, value in program.environment.items()]
    command = escaped(shlex.join(["/usr/bin/env", *variables, *program.command]))
    # supervisor takes what follows " ;" or " #" as a comment.
    command = command.replace(" ;", " '';").replace(" #", " ''#")
    # It expands the name of a log file twice.
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


def escaped(text: object) -> str:
    """Return the text as supervisor's settings file needs it: %(name)s is expanded there, so % is written twice."""
    return str(text).replace("%", "%%")


def socket_for(port: int) -> Path:
    """Return the place of the socket of the supervisor whose stack uses this port.

    A socket's path has at most 104 bytes (macOS); the stack's own folder may have a longer one.
    """
    return Path("/tmp") / f"shopstream-{os.getuid()}-{port}.sock"
