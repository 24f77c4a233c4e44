"""The programs that a user installs: Terraform, Maven, Java. They are checked before anything is downloaded."""

import json
import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from install.failure import Failure

# What was found when all was well. While it stays the same, no program is called to ask its version.
CHECKED = Path(".tools/checked.json")
VERSIONS = Path("terraform/versions.tf")


def check() -> None:
    """Raise one Failure that names everything that is missing or too old."""
    found = {name: shutil.which(name) for name in ("terraform", "mvn", "java")}
    found["JAVA_HOME"] = os.environ.get("JAVA_HOME")
    if CHECKED.exists() and json.loads(CHECKED.read_text()) == found:
        return
    problems = [
        *project_problems(),
        *terraform_problems(found["terraform"]),
        *maven_problems(found["mvn"]),
        *java_problems(found["mvn"], found["java"]),
    ]
    if problems:
        raise Failure("\nerror: ".join(problems))
    CHECKED.parent.mkdir(exist_ok=True)
    CHECKED.write_text(json.dumps(found))


def project_problems() -> list[str]:
    """Return what hinders any installation here: the folder's name, or a Python without its venv."""
    problems = []
    if " " in str(Path.cwd()):
        problems.append(f"the path of this folder has a space, which make and Maven cannot take: move {Path.cwd()}")
    if not find_spec("ensurepip"):
        problems.append(
            "Python's venv is missing: looked for the module ensurepip of the Python that runs the installer. "
            "To install it: Debian/Ubuntu: apt install python3-venv; macOS: brew install python@3.13"
        )
    return problems


def terraform_problems(terraform: str | None) -> list[str]:
    """Return what is wrong with Terraform; its least version is the one in terraform/versions.tf."""
    install = (
        "To install it: Debian/Ubuntu: HashiCorp's own packages, see developer.hashicorp.com/terraform/install; "
        "macOS: brew install hashicorp/tap/terraform"
    )
    if not terraform:
        return [f"Terraform is missing: looked for terraform on the PATH. {install}"]
    match = re.search(r'required_version = ">= ([\d.]+)"', VERSIONS.read_text())
    assert match, f"{VERSIONS} names no least version"
    said = answer([terraform, "version", "-json"])
    has = json.loads(said)["terraform_version"] if said else None
    if has and number(has) < number(match[1]):
        return [f"Terraform {match[1]} or later is needed, but {terraform} is {has}. {install}"]
    return [] if has else [f"Terraform does not start: `{terraform} version` fails. {install}"]


def maven_problems(mvn: str | None) -> list[str]:
    """Return whether Maven is missing."""
    install = "To install it: Debian/Ubuntu: apt install maven; macOS: brew install maven"
    return [] if mvn else [f"Maven is missing: looked for mvn on the PATH. {install}"]


def java_problems(mvn: str | None, java: str | None) -> list[str]:
    """Return whether Java is missing. Maven knows best, since some of its packages bring their own Java."""
    home = os.environ.get("JAVA_HOME")
    command = [mvn, "-version"] if mvn else [f"{home}/bin/java" if home else java or "java", "-version"]
    if answer(command) is not None:
        return []
    return [
        f"Java is missing, which Maven runs on: looked in JAVA_HOME ({home or 'not set'}) and for java on the PATH "
        f"({java or 'not there'}). To install it: Debian/Ubuntu: apt install default-jdk-headless; "
        "macOS: brew install --cask temurin"
    ]


def answer(command: list[str]) -> str | None:
    """Return what a program prints; None if it cannot be called or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def number(version: str) -> tuple[int, ...]:
    """Return a version as numbers that can be compared: (1, 9, 0) for 1.9.0-beta1."""
    return tuple(int(part) for part in re.findall(r"\d+", version.split("-")[0]))
