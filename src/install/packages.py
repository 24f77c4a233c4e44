"""Installs uv, the Python environments and the jars, all pinned."""

import os
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

from install.failure import Failure

TOOLS = Path(".tools")
UV = str(TOOLS / "bin" / "uv")
UV_VERSION = "0.13.9"
PYPI = "It needs Python's package index, or a mirror of it. Behind a proxy, set HTTPS_PROXY."
CENTRAL = "It needs Maven Central, or a mirror of it. A proxy or mirror is set in ~/.m2/settings.xml."


def install_uv() -> None:
    """Install uv with pip, which every Python brings, into an environment of its own."""
    print("installing uv", flush=True)
    pip = str(TOOLS / "bin" / "pip")
    run([sys.executable, "-m", "venv", str(TOOLS)], "uv", "It needs Python's module venv.")
    options = ["--quiet", "--disable-pip-version-check", *certificates(pip)]
    run([pip, "install", *options, f"uv=={UV_VERSION}"], "uv", PYPI)


def install_environment(folder: str, python: str) -> None:
    """Install the environment of one uv.lock beside it, on this interpreter."""
    what = "the developer's environment" if folder == "." else f"the environment of {folder}"
    print(f"installing {what}", flush=True)
    run([UV, "sync", "--quiet", "--locked", "--project", folder, "--python", python], what, PYPI)
    (Path(folder) / ".venv" / "installed").touch()


def install_jars(what: str, pom: Path, target: Path) -> None:
    """Install the jars that a pom.xml names into an empty folder."""
    print(f"installing {what}", flush=True)
    shutil.rmtree(target, ignore_errors=True)
    maven = ["mvn", "--quiet", "--batch-mode", "--file", str(pom), "package", f"-Dtarget={target.absolute()}"]
    run(maven, what, CENTRAL)
    (target / "installed").touch()


def environment() -> dict[str, str]:
    """Return the variables for programs that download: they trust the certificates that the system trusts."""
    variables = {"UV_SYSTEM_CERTS": "1"} | os.environ
    # The Makefile's, for this program only.
    variables.pop("PYTHONPATH", None)
    return variables


def certificates(pip: str) -> list[str]:
    """Return the options that make pip trust what the system trusts. New pips do so by themselves."""
    version = tuple(int(part) for part in answer([pip, "--version"]).split()[1].split(".")[:2])
    # The user's own choice, in a variable or a file.
    if version >= (24, 2) or ".cert=" in answer([pip, "config", "list"]):
        return []
    if version >= (23, 3):
        return ["--use-feature=truststore"]
    paths = ssl.get_default_verify_paths()
    # The second: where Red Hat's systems have it.
    bundles = [paths.cafile, "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem", paths.capath]
    return next((["--cert", bundle] for bundle in bundles if bundle and os.path.exists(bundle)), [])


def answer(command: list[str]) -> str:
    """Return what a program prints."""
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout


def run(command: list[str], what: str, hint: str) -> None:
    """Run an installation; Failure with the program's first words if it fails."""
    done = subprocess.run(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        # Without colours, and of pip's tries only the last.
        lines = re.sub(r"\x1b\[[\d;]*m", "", done.stdout).splitlines()
        words = [line for line in lines if line.strip() and not re.search(r"Retry\(total=[1-9]", line)]
        said = "".join(f"\n  {line}" for line in words[:8])
        raise Failure(f"{what} cannot be installed. {hint} {Path(command[0]).name} said:{said}")
