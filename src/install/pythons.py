"""Finds the Pythons that the environments need: 3.11 for Flink and Spark, 3.13 for the AWS emulator."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from install.failure import Failure
from install.packages import UV, environment

# One link to an interpreter for each version, which the Makefile's rules depend on. A link whose interpreter was
# removed does not exist for make, so it is found anew.
LINKS = Path(".tools/pythons")
# The Lambda's Python. The emulator runs the Lambda's code, and can do so on these too.
NEXT_BEST = {"3.13": ("3.12", "3.11")}
# Homebrew, python.org, and what a distribution or `make altinstall` installs, where the PATH lacks them.
USUAL_PLACES = (
    "/opt/homebrew/opt/python@{}/bin",
    "/usr/local/opt/python@{}/bin",
    "/home/linuxbrew/.linuxbrew/opt/python@{}/bin",
    "/Library/Frameworks/Python.framework/Versions/{}/bin",
    "/usr/local/bin",
    "/usr/bin",
)
SECONDS = 10


def link(version: str) -> None:
    """Make the link to a Python of this version, or to the next best; say which. Failure if there is none."""
    trouble = None
    found = find(version) or managed(version)
    if not found:
        trouble = download(version)
        found = managed(version)
    if found:
        print(f"using Python {version}: {found}", flush=True)
    else:
        for other in NEXT_BEST.get(version, ()):
            found = find(other) or managed(other)
            if found:
                print(
                    f"using Python {other} for the AWS emulator: {found} (Python {version}, which the Lambda has on "
                    f"AWS, is not on this machine, and its download failed: {trouble})",
                    flush=True,
                )
                break
    if not found:
        raise Failure(missing(version, trouble))
    LINKS.mkdir(parents=True, exist_ok=True)
    (LINKS / version).unlink(missing_ok=True)
    (LINKS / version).symlink_to(found)


def linked(version: str) -> str:
    """Return the interpreter that a link leads to."""
    return os.readlink(LINKS / version)


def find(version: str) -> str | None:
    """Return the path of an installed Python of this version, such as 3.11."""
    for candidate in candidates(version):
        found = interpreter(candidate, version)
        if found:
            return found
    return None


def candidates(version: str) -> Iterator[Path]:
    """Yield where a Python of this version may be: on the PATH, in pyenv, in the usual places."""
    path = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    for name in (f"python{version}", "python3"):
        yield from (folder / name for folder in path)
    for root in pyenv_roots(path):
        # The newest first: 3.11.10 before 3.11.9. Without the free-threaded 3.13.0t, which lacks wheels.
        releases = [folder for folder in root.glob(f"versions/{version}.*") if folder.suffix[1:].isdigit()]
        releases.sort(key=lambda folder: int(folder.suffix[1:]), reverse=True)
        yield from (folder / "bin" / f"python{version}" for folder in releases)
    yield from (Path(place.format(version)) / f"python{version}" for place in USUAL_PLACES)


def pyenv_roots(path: list[Path]) -> list[Path]:
    """Return pyenv's possible folders: its variable, its default, and where the PATH's entries of pyenv are."""
    named = os.environ.get("PYENV_ROOT")
    beside = [folder.parent for folder in path if folder.name in ("shims", "bin")]
    return list(dict.fromkeys([*([Path(named)] if named else []), Path.home() / ".pyenv", *beside]))


def interpreter(candidate: Path, version: str) -> str | None:
    """Return the interpreter behind a command, if it starts and has this version; a shim of pyenv's may do neither."""
    if not os.access(candidate, os.X_OK):
        return None
    program = "import os, sys; print('%d.%d' % sys.version_info[:2], os.path.realpath(sys.executable))"
    try:
        done = subprocess.run(
            [candidate, "-I", "-c", program], capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    has, _, path = done.stdout.strip().partition(" ")
    return path if done.returncode == 0 and has == version else None


def managed(version: str) -> str | None:
    """Return the path of uv's own Python of this version, if it has installed one."""
    command = [UV, "python", "find", "--managed-python", "--no-python-downloads", "--no-project", version]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def download(version: str) -> str:
    """Let uv install a Python; give up soon where there is no answer. Return uv's last words."""
    quick = {"UV_HTTP_TIMEOUT": str(SECONDS), "UV_HTTP_CONNECT_TIMEOUT": str(SECONDS), "UV_HTTP_RETRIES": "0"}
    command = [UV, "python", "install", "--no-bin", version]
    done = subprocess.run(command, env=quick | environment(), capture_output=True, text=True, check=False)
    lines = done.stderr.strip().splitlines() or ["uv said nothing"]
    return lines[-1].strip().removeprefix("cause: ").removeprefix("error: ")


def missing(version: str, trouble: str | None) -> str:
    """Return the sentence about a Python that cannot be had."""
    user = "Flink 1.20 and Glue's Spark run on no other" if version == "3.11" else "the AWS emulator runs on it"
    return (
        f"Python {version} is missing ({user}): looked for python{version} on the PATH, in pyenv's versions, among "
        "uv's Pythons, in /usr/bin, /usr/local/bin and Homebrew's folders; uv cannot download it "
        f"({trouble}). To install it: Debian/Ubuntu: apt install python{version} where the release has it "
        f"(Debian 12 has 3.11), else pyenv install {version}; macOS: brew install python@{version}"
    )
