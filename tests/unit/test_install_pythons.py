"""Pythons are taken from the PATH, pyenv, the usual places and uv, in this order; only 3.13 has a next best."""

from pathlib import Path

import pytest
from install_fakes import Machine

from install import pythons
from install.failure import Failure

# It has no Python, and no network.
UV = 'test "$2" = find && exit 2; echo "error: Failed to install" >&2; echo "  cause: dns error" >&2; exit 1'


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine without any Python."""
    machine = Machine(tmp_path)
    machine.make()
    machine.program(machine.project / ".tools/bin/uv", UV)
    monkeypatch.chdir(machine.project)
    monkeypatch.setenv("PATH", str(machine.programs))
    monkeypatch.setenv("HOME", str(machine.home))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    monkeypatch.setattr(pythons, "USUAL_PLACES", (f"{machine.shared}/python@{{}}/bin",))
    return machine


def pyenv(machine: Machine, root: Path, *versions: str) -> list[Path]:
    """Install Pythons as pyenv does, and return their paths."""
    return [
        machine.python(root / "versions" / version / "bin" / f"python{version.rpartition('.')[0]}", version[:4])
        for version in versions
    ]


def linked(version: str) -> Path:
    """Return what the installer takes for a version, after it made the link."""
    pythons.link(version)
    assert (pythons.LINKS / version).exists()
    return Path(pythons.linked(version))


def test_the_path_comes_first(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    pyenv(machine, machine.home / ".pyenv", "3.11.7")
    file = machine.python("python3.11", "3.11")
    assert linked("3.11") == file
    assert capsys.readouterr().out == f"using Python 3.11: {file}\n"


def test_python3_counts_if_it_has_the_version(machine: Machine) -> None:
    file = machine.python("python3", "3.11")
    assert pythons.find("3.11") == str(file)
    assert pythons.find("3.13") is None


def test_a_command_that_does_not_start_or_is_another_version_does_not_count(machine: Machine) -> None:
    machine.program("python3.11", "echo 'pyenv: python3.11: command not found' >&2; exit 127")
    machine.python("python3.13", "3.12")
    [file] = pyenv(machine, machine.home / ".pyenv", "3.11.7")
    assert pythons.find("3.11") == str(file)
    assert pythons.find("3.13") is None


def test_pyenv_is_found_by_its_variable(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    [file] = pyenv(machine, machine.root / "pyenv", "3.13.0")
    assert pythons.find("3.13") is None
    monkeypatch.setenv("PYENV_ROOT", str(machine.root / "pyenv"))
    assert pythons.find("3.13") == str(file)


@pytest.mark.parametrize("folder", ["shims", "bin"])
def test_pyenv_is_found_by_its_folder_on_the_path(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    [file] = pyenv(machine, machine.root / "pyenv", "3.13.0")
    monkeypatch.setenv("PATH", f"{machine.root}/pyenv/{folder}:{machine.programs}")
    assert pythons.find("3.13") == str(file)


def test_the_newest_of_pyenvs_is_taken(machine: Machine) -> None:
    *_, newest = pyenv(machine, machine.home / ".pyenv", "3.11.7", "3.11.9", "3.11.10")
    machine.python(machine.home / ".pyenv/versions/3.11.11t/bin/python3.11", "3.11")  # free-threaded
    assert pythons.find("3.11") == str(newest)


def test_the_usual_places_are_searched(machine: Machine) -> None:
    file = machine.python(machine.shared / "python@3.13/bin/python3.13", "3.13")
    assert linked("3.13") == file


def test_a_python_that_uv_has_needs_no_download(machine: Machine) -> None:
    file = machine.python(machine.home / "uv/python3.13", "3.13")
    machine.program(machine.project / ".tools/bin/uv", f'echo "$*" >> log; echo {file}')
    assert linked("3.13") == file
    assert Path("log").read_text() == "python find --managed-python --no-python-downloads --no-project 3.13\n"


def test_uv_downloads_what_is_nowhere(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    file = machine.python(machine.home / "uv/python3.13", "3.13")
    script = f'test "$2" = install && : > done; test "$2" = find && test -e done && echo {file}'
    machine.program(machine.project / ".tools/bin/uv", f'echo "$* $UV_HTTP_RETRIES $UV_SYSTEM_CERTS" >> log\n{script}')
    assert linked("3.13") == file
    assert capsys.readouterr().out == f"using Python 3.13: {file}\n"
    assert "python install --no-bin 3.13 0 1" in Path("log").read_text()


@pytest.mark.parametrize("best", ["3.12", "3.11"])
def test_the_next_best_replaces_313_and_one_line_says_so(
    machine: Machine, capsys: pytest.CaptureFixture[str], best: str
) -> None:
    machine.python("python3.11", "3.11")
    file = machine.python(f"python{best}", best)
    assert linked("3.13") == file
    assert capsys.readouterr().out == (
        f"using Python {best} for the AWS emulator: {file} (Python 3.13, which the Lambda has on AWS, is not on this "
        "machine, and its download failed: dns error)\n"
    )


def test_nothing_replaces_311(machine: Machine) -> None:
    machine.python("python3.12", "3.12")
    machine.python("python3", "3.13")
    with pytest.raises(Failure) as caught:
        pythons.link("3.11")
    assert not (pythons.LINKS / "3.11").exists()
    sentence = str(caught.value)
    assert sentence.startswith("Python 3.11 is missing (Flink 1.20 and Glue's Spark run on no other): looked for ")
    assert "uv cannot download it (dns error)" in sentence
    assert "Debian/Ubuntu: apt install python3.11" in sentence
    assert sentence.endswith("macOS: brew install python@3.11")


def test_a_link_whose_interpreter_was_removed_is_made_anew(machine: Machine) -> None:
    file = machine.python("python3.11", "3.11")
    pythons.link("3.11")
    file.unlink()
    assert not (pythons.LINKS / "3.11").exists()  # so make calls the installer again
    [other] = pyenv(machine, machine.home / ".pyenv", "3.11.7")
    assert linked("3.11") == other
