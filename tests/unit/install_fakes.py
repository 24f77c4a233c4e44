"""A machine for the installer: a project, a home folder and a PATH that hold only what a test puts there."""

import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Machine:
    """The folders of a made-up machine. `project` is the working folder, `programs` the whole PATH."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def programs(self) -> Path:
        return self.root / "programs"

    @property
    def project(self) -> Path:
        return self.root / "project"

    @property
    def shared(self) -> Path:
        """Stands for /opt and the like."""
        return self.root / "shared"

    def make(self) -> None:
        """Make the folders, and in the project what the installer reads."""
        for folder in (self.home, self.programs, self.shared, self.project / "terraform", self.project / ".tools/bin"):
            folder.mkdir(parents=True)
        shutil.copy(ROOT / "terraform" / "versions.tf", self.project / "terraform")

    def program(self, path: Path | str, script: str) -> Path:
        """Write a shell script, by default into the PATH's folder. It may call no other program."""
        file = self.programs / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        return file

    def python(self, path: Path | str, version: str) -> Path:
        """Write a Python that says its version and where it is."""
        return self.program(path, f'echo "{version} $0"')
