"""The file with which an interrupted replay continues."""

import json
from pathlib import Path
from typing import Any

from simulator.traffic.inputs import SourceError


class ResumeError(SourceError):
    """The file of an earlier replay does not fit this one. The message says how."""


class Resume:
    """The file of `--resume`: how many events are acknowledged, in the order of sending, and the replay's options.

    It is written after each batch. A replay that is killed after a batch's acknowledgement and before that repeats the
    batch.
    """

    def __init__(self, path: Path, options: dict[str, Any]) -> None:
        self._path = path
        self._options = options
        self.acknowledged = 0
        self.shift_ms: int | None = None
        if path.exists():
            try:
                known = json.loads(path.read_text())
                self.acknowledged, self.shift_ms = known["acknowledged"], known["shift_ms"]
                other = [name for name, value in options.items() if known["what"][name] != value]
            except (ValueError, KeyError, TypeError) as error:
                raise ResumeError(f"{path}: not written by --resume ({error}); give another file") from error
            if other:
                names = ", ".join(other)
                raise ResumeError(f"{path}: of a replay with other {names}; repeat its options, or give another file")

    def save(self, acknowledged: int, shift_ms: int) -> None:
        """Write the progress. A reader never sees half of it."""
        fresh = self._path.with_name(f".{self._path.name}.new")
        fresh.write_text(json.dumps({"acknowledged": acknowledged, "shift_ms": shift_ms, "what": self._options}))
        fresh.replace(self._path)
