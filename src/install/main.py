"""The installer's commands, one for each kind of rule in the Makefile."""

import os
import sys
from pathlib import Path

from install import packages, provider, pythons, tools
from install.failure import Failure


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code. The working folder is the project's."""
    try:
        match arguments:
            case ["check"]:
                tools.check()
            case ["uv"]:
                packages.install_uv()
            case ["python", version]:
                pythons.link(version)
            case ["environment", folder]:
                packages.install_environment(folder, os.path.realpath(sys.executable))
            case ["environment", folder, version]:
                packages.install_environment(folder, pythons.linked(version))
            case ["jars", what, pom, target]:
                packages.install_jars(what, Path(pom), Path(target))
            case ["provider"]:
                provider.install()
            case _:
                raise Failure(f"the installer has no command {' '.join(arguments)!r}: see src/install/main.py")
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
