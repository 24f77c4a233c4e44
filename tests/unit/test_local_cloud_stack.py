"""A stack's settings reach its processes as they were meant; a directory holds one running stack at most."""

import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from supervisor.options import ServerOptions

from local_cloud import stack as stack_module
from local_cloud.stack import (
    PORTS,
    Program,
    Stack,
    free_ports,
    ports_from,
    program_settings,
    supervisor_settings,
    wait_for,
)

# A program that writes its process id, arguments and environment.
TELL = "import json, os, sys; print(json.dumps([os.getpid(), sys.argv[1:], dict(os.environ)]), flush=True)"
STAY = "; import signal; signal.pause()"


def read_by_supervisor(directory: Path, program: Program) -> ServerOptions:
    """What supervisor itself makes of the settings of a stack in this directory with one program."""
    (directory / "log").mkdir(parents=True)
    text = supervisor_settings(Path("/tmp/a.sock"), directory) + program_settings(program, directory / "log")
    file = directory / "supervisord.conf"
    file.write_text(text)
    options = ServerOptions()
    options.realize(["-c", str(file)])
    return options


def program_of(options: ServerOptions):
    [group] = options.process_group_configs
    [program] = group.process_configs
    return program


def started(directory: Path, arguments: list[str], variables: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """The arguments and variables with which a program arrives that is started as supervisor would."""
    command = [sys.executable, "-S", "-c", TELL, *arguments]
    read = program_of(read_by_supervisor(directory, Program("one", command, variables)))
    environment = os.environ | (read.environment or {})
    out = subprocess.run(shlex.split(read.command), env=environment, capture_output=True, text=True, check=True).stdout
    _, got, all_variables = json.loads(out)
    return got, {name: all_variables.get(name) for name in variables}


# Settings


def test_supervisor_reads_how_a_program_is_run(tmp_path: Path) -> None:
    read = program_of(read_by_supervisor(tmp_path, Program("trino", ["/bin/true"], {})))
    assert read.name == "trino"
    assert read.stdout_logfile == f"{tmp_path}/log/trino.log"
    assert (read.redirect_stderr, read.stopasgroup, read.killasgroup) == (True, True, True)


def test_a_program_gets_its_arguments_as_they_were_meant(tmp_path: Path) -> None:
    arguments = ["-Dx=1", "a b", "", "it's", '{"a": 1}', "100%", "%(x)s", "a;b", "$HOME", "x\\n"]
    assert started(tmp_path, arguments, {})[0] == arguments


@pytest.mark.parametrize("value", ["", "100%", "%(x)s", "a,b=c", "a b", "it's", "a;b", "a#b", "é", "$HOME", "x\\n"])
def test_a_program_gets_a_variable_as_it_was_meant(tmp_path: Path, value: str) -> None:
    variables = {"FIRST": value, "SECOND": "2"}
    assert started(tmp_path, [], variables)[1] == variables


@pytest.mark.parametrize("value", ['say "hi"', '"quoted"', "trail'", "a ;b", "a #b", "' ;\" #%"])
def test_a_program_gets_quotes_and_comment_signs_as_they_were_meant(tmp_path: Path, value: str) -> None:
    variables = {"FIRST": value, "SECOND": "2"}
    assert started(tmp_path, [value], variables) == ([value], variables)


@pytest.mark.parametrize("name", ["plain", "a b", "o'neil", 'q"q'])
def test_supervisor_finds_the_stacks_directory(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    options = read_by_supervisor(directory, Program("one", ["/bin/true"], {}))
    assert options.logfile == f"{directory}/log/supervisord.log"
    assert options.pidfile == f"{directory}/supervisord.pid"
    assert program_of(options).stdout_logfile == f"{directory}/log/one.log"


@pytest.mark.parametrize("name", ["feature%2Fone", "100%x", "%(x)s"])
def test_supervisor_finds_a_directory_with_a_percent_sign(tmp_path: Path, name: str) -> None:
    test_supervisor_finds_the_stacks_directory(tmp_path, name)


# Ports


def test_free_ports_are_different_and_can_be_listened_at() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()


def test_a_stacks_ports_begin_at_the_first_port_asked_for(tmp_path: Path) -> None:
    [first] = free_ports(1)
    try:
        stack = Stack.create(tmp_path / "stack", first)
    except RuntimeError:
        pytest.skip("someone listens behind the free port")
    assert stack.ports == {name: first + number for number, name in enumerate(PORTS)}


def test_a_port_that_is_taken_is_named_and_nothing_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        with pytest.raises(RuntimeError, match=f"port {taken} cannot be used .*: give another PORT, whose next 4"):
            Stack.create(tmp_path / "stack", taken)
    assert not (tmp_path / "stack").exists()


@pytest.mark.parametrize("first", [-1, 65_534, 70_000])
def test_ports_that_do_not_exist_are_refused(first: int) -> None:
    with pytest.raises(RuntimeError, match="cannot be used"):
        ports_from(first, 5)


# A stack and its directory


def test_a_stack_that_was_never_made_or_never_started_is_named_with_what_to_do(tmp_path: Path) -> None:
    Stack.create(tmp_path / "made")
    for directory in (tmp_path / "none", tmp_path / "made"):
        with pytest.raises(FileNotFoundError, match=f"no local stack runs in {directory}: start one with `make up`"):
            Stack.load(directory)


def test_the_env_file_points_a_shell_at_the_stack_and_away_from_the_users_account(tmp_path: Path) -> None:
    stack = Stack.create(tmp_path / "it's 100%")
    script = (
        f'. "{stack.directory}/env"; exec {sys.executable} -c "import json, os; print(json.dumps(dict(os.environ)))"'
    )
    mine = {"AWS_PROFILE": "mine", "AWS_SESSION_TOKEN": "mine", "AWS_ENDPOINT_URL": "https://aws"}
    out = subprocess.run(["sh", "-c", script], env=os.environ | mine, capture_output=True, text=True, check=True).stdout
    in_shell = json.loads(out)
    expected = stack.environment()
    assert {name: in_shell.get(name, "") for name in expected} == expected
    assert "AWS_PROFILE" not in in_shell and "AWS_SESSION_TOKEN" not in in_shell


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Stack]:
    """A stack that runs one program, whose log tells how it was started."""
    stack = Stack.create(tmp_path / "stack")
    program = Program(
        "teller", [sys.executable, "-c", TELL + STAY, "100%", "a 'b' \"c\""], {"A": "100% it's", "B": "a,b"}
    )
    try:
        stack.start([program])
        log = stack.log("teller")
        stack.wait_for(lambda: log.exists() and log.read_text().endswith("\n"), "the program", timeout_s=20)
        yield stack
    finally:
        stack.stop()


def test_a_running_stack_keeps_its_directory_to_itself_until_it_is_stopped(running: Stack) -> None:
    pid, arguments, environment = json.loads(running.log("teller").read_text())
    assert arguments == ["100%", "a 'b' \"c\""]
    assert (environment["A"], environment["B"]) == ("100% it's", "a,b")
    assert Stack.load(running.directory) == running

    before = sorted(path.name for path in running.directory.iterdir())
    with pytest.raises(RuntimeError, match=f"a stack already runs in {running.directory}: stop it with `make down`"):
        Stack.create(running.directory)
    assert sorted(path.name for path in running.directory.iterdir()) == before

    assert psutil.pid_exists(pid)
    running.stop()
    assert not running.is_running()
    assert not psutil.pid_exists(pid)
    assert not running.socket.exists()
    with pytest.raises(RuntimeError, match="was stopped"):
        running.wait_for(lambda: True, "anything", timeout_s=1)

    with pytest.raises(FileNotFoundError, match="no local stack runs in"):
        Stack.load(running.directory)
    again = Stack.create(running.directory)
    assert not again.log("teller").exists()


def test_waiting_says_what_did_not_come() -> None:
    assert wait_for(lambda: "here", "it", timeout_s=0) == "here"
    with pytest.raises(TimeoutError, match="waited 0 s in vain for the emulator"):
        wait_for(lambda: None, "the emulator", timeout_s=0, every_s=0)


def test_waiting_ends_when_a_process_of_the_stack_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack.create(tmp_path / "stack")
    monkeypatch.setattr(stack_module.Stack, "is_running", lambda self: True)
    stack.log("supervisord").write_text("INFO success: trino entered RUNNING state\n")
    assert stack.wait_for(lambda: "here", "it", timeout_s=1) == "here"

    def ends_meanwhile() -> None:
        with stack.log("supervisord").open("a") as log:
            log.write("INFO exited: trino (exit status 1; not expected)\n")

    with pytest.raises(RuntimeError, match=f"trino ended: see {stack.log('trino')}"):
        stack.wait_for(ends_meanwhile, "it", timeout_s=1)
    # That was then: supervisor has started it again.
    assert stack.wait_for(lambda: "here", "it", timeout_s=1) == "here"
