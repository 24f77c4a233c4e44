"""uv, pip and Maven: pinned versions, the system's certificates, and what they say when they fail."""

import os
import ssl
from pathlib import Path

import pytest
from install_fakes import Machine

from install import packages
from install.failure import Failure
from install.main import main


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose uv and Maven write down how they were called."""
    machine = Machine(tmp_path)
    machine.make()
    machine.program(machine.project / ".tools/bin/uv", 'echo "$* $UV_SYSTEM_CERTS" > calls')
    machine.program("mvn", 'echo "$*" > calls')
    monkeypatch.chdir(machine.project)
    monkeypatch.setenv("PATH", str(machine.programs))
    monkeypatch.delenv("UV_SYSTEM_CERTS", raising=False)
    return machine


def pip(machine: Machine, version: str, settings: str = "") -> str:
    """Return the path of a pip of this version and settings."""
    says = f'test "$1" = --version && echo "pip {version} from x (python 3.11)" || echo "{settings}"'
    return str(machine.program("pip", says))


@pytest.mark.parametrize("version", ["24.2", "25.0.1", "26.0"])
def test_a_new_pip_trusts_the_system_by_itself(machine: Machine, version: str) -> None:
    assert packages.certificates(pip(machine, version)) == []


@pytest.mark.parametrize("version", ["23.3", "24.0"])
def test_a_pip_that_can_is_told_to_trust_the_system(machine: Machine, version: str) -> None:
    assert packages.certificates(pip(machine, version)) == ["--use-feature=truststore"]


def test_an_old_pip_gets_the_systems_bundle(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = machine.root / "bundle.pem"
    bundle.touch()
    paths = ssl.DefaultVerifyPaths(str(bundle), None, "", "", "", "")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    assert packages.certificates(pip(machine, "23.2.1")) == ["--cert", str(bundle)]


@pytest.mark.parametrize("settings", ["global.cert='/x.pem'", ":env:.cert='/x.pem'"])
def test_the_users_own_certificates_win(machine: Machine, settings: str) -> None:
    assert packages.certificates(pip(machine, "23.2.1", settings)) == []


def test_an_environment_is_locked_and_on_the_given_python(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine.project / "src/detector/.venv").mkdir(parents=True)
    (machine.project / ".tools/pythons").mkdir()
    (machine.project / ".tools/pythons/3.11").symlink_to("/some/python3.11")
    assert main(["environment", "src/detector", "3.11"]) == 0
    assert Path("calls").read_text() == "sync --quiet --locked --project src/detector --python /some/python3.11 1\n"
    assert Path("src/detector/.venv/installed").exists()
    assert capsys.readouterr().out == "installing the environment of src/detector\n"
    monkeypatch.setenv("UV_SYSTEM_CERTS", "0")
    packages.install_environment("src/detector", "/some/python3.11")
    assert Path("calls").read_text().endswith(" 0\n")  # the user's own value wins


def test_jars_are_copied_into_an_empty_folder(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    target = Path(".tools/jars")
    target.mkdir()
    (target / "old.jar").touch()
    machine.program("mvn", f'echo "$*" > calls; /bin/mkdir {target}')
    assert main(["jars", "Spark's jars", "pom.xml", str(target)]) == 0
    assert [file.name for file in target.iterdir()] == ["installed"]
    command = f"--quiet --batch-mode --file pom.xml package -Dtarget={machine.project / target}\n"
    assert Path("calls").read_text() == command
    assert capsys.readouterr().out == "installing Spark's jars\n"


@pytest.mark.parametrize(
    ("arguments", "program", "needs"),
    [
        (["environment", "src/detector"], ".tools/bin/uv", "It needs Python's package index"),
        (["jars", "Trino", "pom.xml", "jars"], "mvn", "It needs Maven Central"),
    ],
)
def test_what_a_failing_program_says_is_passed_on(
    machine: Machine, capsys: pytest.CaptureFixture[str], arguments: list[str], program: str, needs: str
) -> None:
    folder = machine.project if "/" in program else machine.programs
    machine.program(
        folder / program, "echo 'Retry(total=1)'; printf '\\033[0m\\n\\033[31mno such host\\033[0m\\n' >&2; exit 1"
    )
    assert main(arguments) == 1
    sentence, words = capsys.readouterr().err.splitlines()
    assert sentence.startswith("error: ")
    assert f" cannot be installed. {needs}" in sentence
    assert sentence.endswith(f"{Path(program).name} said:")
    assert words == "  no such host"
    assert not list(machine.project.rglob("installed"))


def test_the_makefiles_path_does_not_reach_other_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "src")
    assert "PYTHONPATH" not in packages.environment()
    assert os.environ["PYTHONPATH"] == "src"


def test_a_command_that_is_unknown_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["everything"]) == 1
    assert capsys.readouterr().err.startswith("error: the installer has no command 'everything'")


def test_a_failure_is_one_sentence() -> None:
    with pytest.raises(Failure, match=r"^uv cannot be installed\. It needs Python's module venv\. false said:"):
        packages.run(["/bin/false"], "uv", "It needs Python's module venv.")
