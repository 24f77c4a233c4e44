"""`shopstream build`: what is in the packages that Terraform deploys, and that the same input gives the same bytes."""

import json
import os
import shutil
import sys
import time
import zipfile
from pathlib import Path

import pytest

from detector import rulebook
from shopstream import app, packages

# In place of uv: it records how it was called, and installs two packages with the files that installers leave behind.
UV = f"""#!{sys.executable}
import json, pathlib, sys
arguments = sys.argv[1:]
after = lambda name: pathlib.Path(arguments[arguments.index(name) + 1])
log = pathlib.Path(__file__).with_name("calls.json")
log.write_text(json.dumps(json.loads(log.read_text() if log.exists() else "[]") + [arguments]))
if arguments[0] == "export":
    after("--output-file").write_text("six==1.17.0 --hash=sha256:1\\n")
else:
    assert after("--requirements").read_text() == "six==1.17.0 --hash=sha256:1\\n"
    for name in ("six.py", "google/protobuf/message.py", "six-1.17.0.dist-info/METADATA", "six.pyi", ".lock",
                 "__pycache__/six.pyc", "google/__pycache__/x.pyc"):
        file = after("--target") / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a small project with this one's layout, which the packages are built from."""
    files = {
        "src/detector/__init__.py": "",
        "src/detector/main.py": "main",
        "src/detector/job.py": "job" * 1000,
        "src/detector/values.py": "values",
        "src/detector/rulebook.py": "not deployed",
        "src/detector/target/pyflink-dependencies.jar": "jar" * 1000,
        "src/detector/notes.md": "not deployed",
        "sql/insights/visitors.sql": "not deployed",
        "src/lambda_alert/__init__.py": "",
        "src/lambda_alert/handler.py": "handler",
        "src/lambda_alert/rules.json": "{}",
        "src/lambda_alert/uv.lock": "not deployed",
        "src/lambda_alert/.venv/lib/six.py": "not deployed",
        "src/lambda_alert/__pycache__/handler.pyc": "not deployed",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    shutil.copytree(rulebook.SQL_FOLDER, tmp_path / "sql" / "detection")
    (tmp_path / ".tools" / "bin").mkdir(parents=True)
    (tmp_path / packages.UV).write_text(UV)
    (tmp_path / packages.UV).chmod(0o755)
    monkeypatch.setattr(packages.build, "__defaults__", (tmp_path, None))
    return tmp_path


def build(*arguments: str) -> None:
    assert app.run(["build", *arguments]) == 0


def contents(file: Path) -> dict[str, str]:
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        # No file system's own order.
        assert archive.namelist() == sorted(archive.namelist())
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_the_detectors_package_is_its_program_connector_and_rulebook(project: Path) -> None:
    build()
    found = contents(project / "build" / "detector.zip")
    assert json.loads(found.pop("rulebook.json")) == rulebook.read().plain()
    assert found == {
        "detector/__init__.py": "",
        "detector/job.py": "job" * 1000,
        "detector/values.py": "values",
        "lib/pyflink-dependencies.jar": "jar" * 1000,
        "main.py": "main",
    }


def test_the_functions_package_is_its_code_and_its_dependencies(project: Path) -> None:
    build()
    assert contents(project / "build" / "lambda_alert.zip") == {
        "google/protobuf/message.py": "google/protobuf/message.py",
        "lambda_alert/__init__.py": "",
        "lambda_alert/handler.py": "handler",
        "lambda_alert/rules.json": "{}",
        "six-1.17.0.dist-info/METADATA": "six-1.17.0.dist-info/METADATA",
        "six.py": "six.py",
        "six.pyi": "six.pyi",
    }


def test_dependencies_are_the_locked_ones_built_for_lambda(project: Path) -> None:
    build()
    export, install = json.loads((project / ".tools/bin/calls.json").read_text())
    assert export[0] == "export" and "--locked" in export
    assert export[export.index("--project") + 1] == str(project / "src" / "lambda_alert")
    assert install[:2] == ["pip", "install"]
    assert "--require-hashes" in install and "--no-compile-bytecode" in install
    assert install[install.index("--only-binary") + 1] == ":all:"
    assert install[install.index("--python-version") + 1] == "3.13"
    assert install[install.index("--python-platform") + 1] == "x86_64-manylinux2014"


def test_the_same_input_gives_the_same_bytes(project: Path) -> None:
    packages = [project / "build" / name for name in ("detector.zip", "lambda_alert.zip")]
    build()
    first = [package.read_bytes() for package in packages]
    # Another day, another umask, files made in another order.
    for file in sorted(project.rglob("*.*"), reverse=True):
        if file.is_file() and not {"build", ".tools"} & set(file.parts):
            content = file.read_bytes()
            file.unlink()
            file.write_bytes(content)
            file.chmod(0o700)
            os.utime(file, (time.time() - 1e8,) * 2)
    build()
    assert [package.read_bytes() for package in packages] == first

    rule = project / "sql/detection/rules/burst/rule.sql"
    rule.write_text(rule.read_text() + "-- another")
    (project / "src/lambda_alert/handler.py").write_text("another")
    build()
    assert all(package.read_bytes() != before for package, before in zip(packages, first, strict=True))


def test_what_is_deployed_can_be_read_by_everyone_and_a_jar_is_not_compressed_twice(project: Path) -> None:
    build()
    with zipfile.ZipFile(project / "build" / "detector.zip") as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
    assert {oct(entry.external_attr >> 16) for entry in entries.values()} == {"0o644"}
    assert entries["lib/pyflink-dependencies.jar"].compress_type == zipfile.ZIP_STORED
    assert entries["detector/job.py"].compress_size < entries["detector/job.py"].file_size


def test_what_is_locked_no_more_leaves_the_package(project: Path) -> None:
    build()
    (project / "build" / "lambda_alert" / "left_over.py").write_text("of an earlier build")
    build()
    assert "left_over.py" not in contents(project / "build" / "lambda_alert.zip")


def test_another_uv_can_be_named(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other-uv"
    (project / packages.UV).rename(other)
    build("--uv", str(other))
    assert (tmp_path / "calls.json").is_file()


@pytest.mark.parametrize("subcommand", ["export", "pip"])
def test_a_failing_uv_ends_the_build_before_make_takes_it_for_done(
    project: Path, subcommand: str, capsys: pytest.CaptureFixture
) -> None:
    uv = project / packages.UV
    uv.write_text(UV.replace("arguments =", f"sys.argv[1] != '{subcommand}' or sys.exit(3)\narguments =", 1))
    assert app.run(["build"]) == 1
    assert "error: uv failed with exit code 3" in capsys.readouterr().err
    assert not (project / "build" / "detector.zip").exists()


@pytest.mark.parametrize(
    "missing", ["src/detector/target/pyflink-dependencies.jar", "sql/detection/rules/burst/rule.yaml"]
)
def test_a_missing_file_ends_the_build_and_is_named(project: Path, missing: str, capsys: pytest.CaptureFixture) -> None:
    (project / missing).unlink()
    assert app.run(["build"]) == 1
    assert Path(missing).name in capsys.readouterr().err
    assert not (project / "build" / "detector.zip").exists(), "make would take half a zip for done"
