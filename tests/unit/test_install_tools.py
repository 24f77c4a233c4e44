"""What a user must install is checked first; one sentence each says what is missing, where, and how to install it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from install_fakes import ROOT, Machine

from install import tools
from install.failure import Failure
from install.main import main

TERRAFORM = """echo '{"terraform_version": "%s", "platform": "linux_amd64"}'"""
DEBIAN_AND_MACOS = ("Debian/Ubuntu: ", "macOS: brew install ")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine that has all tools."""
    machine = Machine(tmp_path)
    machine.make()
    machine.program("terraform", TERRAFORM % "1.9.0")
    machine.program("mvn", "exit 0")
    machine.program("java", "exit 0")
    monkeypatch.chdir(machine.project)
    monkeypatch.setenv("PATH", str(machine.programs))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return machine


def problems() -> list[str]:
    """Return the sentences of a check that must fail."""
    with pytest.raises(Failure) as caught:
        tools.check()
    return str(caught.value).split("\nerror: ")


def test_a_machine_with_all_tools_passes(machine: Machine) -> None:
    tools.check()


def test_all_that_is_missing_is_named_at_once(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    for program in machine.programs.iterdir():
        program.unlink()
    assert main(["check"]) == 1
    terraform, maven, java = capsys.readouterr().err.splitlines()
    assert terraform.startswith("error: Terraform is missing: looked for terraform on the PATH. To install it: ")
    assert maven.startswith("error: Maven is missing: looked for mvn on the PATH. To install it: ")
    assert java.startswith(
        "error: Java is missing, which Maven runs on: looked in JAVA_HOME (not set) and for java on the PATH "
        "(not there). To install it: "
    )
    assert all(hint in line for line in (terraform, maven, java) for hint in DEBIAN_AND_MACOS)


@pytest.mark.parametrize(("program", "name"), [("terraform", "Terraform"), ("mvn", "Maven")])
def test_one_missing_tool_is_named_alone(machine: Machine, program: str, name: str) -> None:
    (machine.programs / program).unlink()
    [line] = problems()
    assert line.startswith(f"{name} is missing: looked for {program} on the PATH.")


def test_an_old_terraform_is_named_with_its_version(machine: Machine) -> None:
    file = machine.program("terraform", TERRAFORM % "1.8.5")
    [line] = problems()
    assert line.startswith(f"Terraform 1.9 or later is needed, but {file} is 1.8.5. To install it: ")


@pytest.mark.parametrize("version", ["1.9.0", "1.10.0-beta1", "2.0.0"])
def test_versions_compare_as_numbers(machine: Machine, version: str) -> None:
    machine.program("terraform", TERRAFORM % version)
    tools.check()


def test_a_terraform_that_does_not_start_is_named(machine: Machine) -> None:
    machine.program("terraform", "exit 126")
    [line] = problems()
    assert line.startswith("Terraform does not start: ")


def test_maven_decides_whether_there_is_a_java(machine: Machine) -> None:
    (machine.programs / "java").unlink()
    tools.check()  # some packages of Maven bring their own
    tools.CHECKED.unlink()
    machine.program("mvn", "exit 1")
    [line] = problems()
    assert line.startswith("Java is missing")


def test_without_maven_java_is_looked_for_in_java_home_first(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine.programs / "mvn").unlink()
    monkeypatch.setenv("JAVA_HOME", "/no/java")
    maven, java = problems()
    assert maven.startswith("Maven is missing")
    assert "looked in JAVA_HOME (/no/java)" in java
    machine.program(machine.home / "jdk/bin/java", "exit 0")
    monkeypatch.setenv("JAVA_HOME", str(machine.home / "jdk"))
    assert len(problems()) == 1


def test_a_path_with_a_space_is_named(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = machine.root / "my projects"
    shutil.copytree(machine.project, folder)
    monkeypatch.chdir(folder)
    assert problems() == [f"the path of this folder has a space, which make and Maven cannot take: move {folder}"]


def test_a_python_without_venv_is_named(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "find_spec", lambda name: None)
    [line] = problems()
    assert line.startswith("Python's venv is missing: looked for the module ensurepip")
    assert "apt install python3-venv" in line


def test_what_was_checked_is_checked_again_only_when_it_changes(machine: Machine) -> None:
    tools.check()
    assert set(json.loads(tools.CHECKED.read_text())) == {"terraform", "mvn", "java", "JAVA_HOME"}
    machine.program("terraform", "exit 1")
    tools.check()  # calls no program
    (machine.programs / "java").unlink()
    [line] = problems()
    assert line.startswith("Terraform does not start")


def old_python(machine: Machine, *names: str) -> subprocess.CompletedProcess[str]:
    """Run the installer as a Python 3.9 would; each name is a Python on the PATH that says how it was called."""
    for name in names:
        machine.program(name, 'test "$1" = -c || echo "$0 $*"')
    old = (
        "import runpy, sys; sys.version_info = (3, 9, 6); sys.argv = ['install', 'check']; runpy.run_module('install')"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run([sys.executable, "-c", old], env=environment, capture_output=True, text=True, check=False)


def test_a_python_that_is_too_old_is_named(machine: Machine) -> None:
    done = old_python(machine)
    assert done.returncode == 1
    assert done.stderr.startswith("error: Python 3.11 or later is needed, but ")
    assert "is Python 3.9" in done.stderr
    assert "PYTHON=/path/to/python3" in done.stderr
    assert all(hint in done.stderr for hint in ("Debian 12 or Ubuntu 24.04 and later: apt", "macOS: brew install"))


def test_a_python_that_is_too_old_hands_over_to_a_newer_one(machine: Machine) -> None:
    machine.program("python3.13", "exit 127")  # as pyenv's, where the version is not in use
    done = old_python(machine, "python3.12", "python3.11")
    assert done.stdout == f"{machine.programs}/python3.12 -m install check\n"
