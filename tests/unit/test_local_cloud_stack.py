"""A stack starts its processes as told; a directory has at most one running stack; a stop ends all of it."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import psutil
import pytest
from supervisor.options import ServerOptions

from local_cloud import steps
from local_cloud.ports import free_ports, ports_from
from local_cloud.processes import Program, is_alive, program_settings, supervisor_settings
from local_cloud.stack import PORTS, STOP_SIGNALS, Stack
from local_cloud.waiting import wait_for
from shopstream.app import run

# A program that writes its process id, arguments and environment.
TELL = "import json, os, sys; print(json.dumps([os.getpid(), sys.argv[1:], dict(os.environ)]), flush=True)"
STAY = "; import signal; signal.pause()"


def read_by_supervisor(directory: Path, program: Program) -> ServerOptions:
    """Return the settings, of a stack in this directory with one program, as supervisor itself reads them."""
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
    """Start a program as supervisor would, and return the arguments and variables that it gets."""
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


def test_a_program_gets_its_arguments_unchanged(tmp_path: Path) -> None:
    arguments = ["-Dx=1", "a b", "", "it's", '{"a": 1}', "100%", "%(x)s", "a;b", "$HOME", "x\\n"]
    assert started(tmp_path, arguments, {})[0] == arguments


@pytest.mark.parametrize("value", ["", "100%", "%(x)s", "a,b=c", "a b", "it's", "a;b", "a#b", "é", "$HOME", "x\\n"])
def test_a_program_gets_a_variable_unchanged(tmp_path: Path, value: str) -> None:
    variables = {"FIRST": value, "SECOND": "2"}
    assert started(tmp_path, [], variables)[1] == variables


@pytest.mark.parametrize("value", ['say "hi"', '"quoted"', "trail'", "a ;b", "a #b", "' ;\" #%"])
def test_a_program_gets_quotes_and_comment_signs_unchanged(tmp_path: Path, value: str) -> None:
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


def test_free_ports_are_different_and_can_be_used() -> None:
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


# A running stack

SLEEPER = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Stack]:
    """Run a stack with two programs: the log of the first tells how it was started."""
    stack = Stack.create(tmp_path / "stack")
    teller = Program(
        "teller", [sys.executable, "-c", TELL + STAY, "100%", "a 'b' \"c\""], {"A": "100% it's", "B": "a,b"}
    )
    try:
        stack.start([teller, Program("sleeper", SLEEPER, {})])
        log = stack.log("teller")
        stack.wait_for(lambda: log.exists() and log.read_text().endswith("\n"), "the program", timeout_s=20)
        yield stack
    finally:
        stack.stop()


def test_a_running_stack_keeps_its_directory_to_itself_until_it_is_stopped(running: Stack) -> None:
    pid, arguments, environment = json.loads(running.log("teller").read_text())
    assert arguments == ["100%", "a 'b' \"c\""]
    assert (environment["A"], environment["B"]) == ("100% it's", "a,b")
    assert environment["AWS_ENDPOINT_URL"] == running.url("emulator")
    assert Stack.load(running.directory) == running

    before = sorted(path.name for path in running.directory.iterdir())
    with pytest.raises(RuntimeError, match=f"a stack already runs in {running.directory}: stop it with `make down`"):
        Stack.create(running.directory)
    assert sorted(path.name for path in running.directory.iterdir()) == before

    assert psutil.pid_exists(pid)
    running.stop()
    assert not running.is_running()
    assert not psutil.pid_exists(pid)
    assert not running.supervisor.socket.exists()
    with pytest.raises(RuntimeError, match="was stopped"):
        running.wait_for(lambda: True, "anything", timeout_s=1)

    with pytest.raises(FileNotFoundError, match="no local stack runs in"):
        Stack.load(running.directory)
    again = Stack.create(running.directory)
    assert not again.log("teller").exists()


def test_a_stop_ends_the_stacks_own_commands_and_no_other_child(running: Stack) -> None:
    child_of_a_command = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    handlers = [signal.getsignal(number) for number in STOP_SIGNALS]
    started = []

    def run() -> None:
        started.append(running.run([sys.executable, "-S", "-c", child_of_a_command, *SLEEPER]))

    other = subprocess.Popen(SLEEPER)
    thread = Thread(target=run)
    thread.start()
    try:

        def tree() -> list[psutil.Process]:
            return [child for one in running.commands for child in psutil.Process(one.pid).children(recursive=True)]

        [grandchild] = wait_for(tree, "the command's own child", timeout_s=20)
        running.stop()
        thread.join(20)
        assert started[0].returncode == -signal.SIGKILL
        wait_for(lambda: not is_alive(grandchild), "the command's own child to end", timeout_s=20)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
        thread.join(20)
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == handlers


@pytest.fixture
def hears_interrupts() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt, which a shell's background jobs ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_command_that_is_interrupted_is_killed_with_its_children(running: Stack, hears_interrupts: None) -> None:
    interrupter = Thread(target=lambda: (time.sleep(1), os.kill(os.getpid(), signal.SIGINT)))
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        running.run(SLEEPER)
    interrupter.join()
    assert running.commands == []
    assert not [one for one in psutil.Process().children() if "time.sleep(600)" in " ".join(one.cmdline())]


def test_a_command_finds_the_stack_and_this_process_is_not_changed(
    running: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://aws")
    before = dict(os.environ)
    done = running.run([sys.executable, "-S", "-c", TELL], {"OWN": "1"})
    _, _, variables = json.loads(done.stdout)
    set_ones = {name: value for name, value in running.environment().items() if value}
    assert variables.items() >= (set_ones | {"OWN": "1"}).items()
    assert not {"AWS_PROFILE", "AWS_ENDPOINT_URL_S3"} & variables.keys()
    assert dict(os.environ) == before


def test_a_client_reaches_the_stack_whatever_the_users_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text("[profile mine]\nregion = eu-west-1\nendpoint_url = https://aws\n")
    mine = {
        "AWS_PROFILE": "mine",
        "AWS_CONFIG_FILE": str(config),
        "AWS_ACCESS_KEY_ID": "mine",
        "AWS_SESSION_TOKEN": "mine",
        "AWS_ENDPOINT_URL": "https://aws",
        "AWS_ENDPOINT_URL_S3": "https://aws",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    for name, value in mine.items():
        monkeypatch.setenv(name, value)
    stack = Stack.create(tmp_path / "stack")
    requests = []

    class Emulator(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.headers["Authorization"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", stack.ports["emulator"]), Emulator) as server:
        Thread(target=server.handle_request).start()
        assert stack.client("s3").list_buckets()["Buckets"] == []
    [authorization] = requests
    assert "Credential=123456789012/" in authorization and "/us-east-1/s3/" in authorization
    assert stack.client("kinesis").meta.endpoint_url == stack.url("kinesis")


# Waiting


def test_waiting_says_what_did_not_come() -> None:
    assert wait_for(lambda: "here", "it", timeout_s=0) == "here"
    with pytest.raises(TimeoutError, match="waited 0 s for the emulator, without success"):
        wait_for(lambda: None, "the emulator", timeout_s=0, every_s=0)


def test_waiting_ends_when_a_process_of_the_stack_ends_even_if_it_is_started_again(running: Stack) -> None:
    assert running.wait_for(lambda: "here", "it", timeout_s=1) == "here"
    first = running.supervisor.pids()["sleeper"]

    def ends_meanwhile() -> None:
        if running.supervisor.pids().get("sleeper") == first:
            running.supervisor.signal("sleeper", "KILL")
            wait_for(lambda: running.supervisor.pids().get("sleeper", first) != first, "its restart", timeout_s=20)

    with pytest.raises(RuntimeError, match=f"sleeper ended: see {running.log('sleeper')}"):
        running.wait_for(ends_meanwhile, "it", timeout_s=20)
    # That was then: it runs again.
    assert running.wait_for(lambda: "here", "it", timeout_s=1) == "here"


def test_waiting_ends_when_a_program_cannot_be_started(tmp_path: Path) -> None:
    stack = Stack.create(tmp_path / "stack")
    try:
        stack.start([Program("missing", ["/none"], {})])
        with pytest.raises(RuntimeError, match=f"missing ended: see {stack.log('missing')}"):
            stack.wait_for(lambda: None, "it", timeout_s=20)
    finally:
        stack.stop()


def test_a_supervisor_that_does_not_answer_says_what_to_do(running: Stack) -> None:
    running.supervisor.socket.unlink()
    with pytest.raises(RuntimeError, match=r"supervisor does not answer at .*: restart the stack with `make down`"):
        running.wait_for(lambda: None, "it", timeout_s=1)
    # Nevertheless it is found, and can be stopped.
    Stack.load(running.directory).stop()
    assert not running.is_running()


# The command line


def test_the_commands_without_a_stack_say_how_to_start_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("status", "drain"):
        assert run([command, "--home", str(tmp_path)]) == 1
        line = f"error: no local stack runs in {tmp_path}/local: start one with `make up`\n"
        assert capsys.readouterr().err == line
    assert run(["down", "--home", str(tmp_path)]) == 0
    assert capsys.readouterr().err == "nothing was running\n"


@pytest.mark.parametrize("arguments", [["demo"], ["demo", "x.csv", "--bursts", "-1"], ["up", "--first-port", "x"]])
def test_wrong_arguments_end_with_2(arguments: list[str], tmp_path: Path) -> None:
    assert run([*arguments, "--home", str(tmp_path)]) == 2


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_that_ends_a_command_stops_what_it_has_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def start(stack: Stack) -> None:
        stack.start([Program("sleeper", SLEEPER, {})])
        os.kill(os.getpid(), number)
        time.sleep(60)

    monkeypatch.setattr(steps, "start", start)
    assert run(["up", "--home", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    with pytest.raises(FileNotFoundError):
        Stack.load(tmp_path / "local")


def test_status_shows_each_process_and_down_stops_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack = Stack.create(tmp_path / "local")
    try:
        stack.start([Program("sleeper", SLEEPER, {})])
        wait_for(lambda: stack.supervisor.info()[0]["statename"] == "RUNNING", "the program", timeout_s=20)
        assert run(["status", "--home", str(tmp_path)]) == 0
        shown = capsys.readouterr()
        assert [line.split()[:2] for line in shown.out.splitlines()[2:]] == [["sleeper", "RUNNING"]]
        assert shown.err.splitlines()[-1] == f"logs in {stack.directory}/log"
        assert run(["down", "--home", str(tmp_path)]) == 0
        assert capsys.readouterr().err == "stopped\n"
        assert not stack.is_running()
    finally:
        stack.stop()
