"""The statements of `sql/detection`: one file, one statement, explained by its own header."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from detector import main as detector

SQL_FOLDER = detector.SQL

# Where two statements do not need each other, this order tells the story.
ORDER = ("source.sql", "sink.sql", "views/*.sql", "rules/*.sql", "alerts.sql")

# What the deployed job says of itself, for its operators: as a job of a notebook it would take slots and count twice.
LEFT_OUT = ("sink_unjudged.sql", "unjudged.sql")

_HEADER = re.compile(r"-- ([a-z][a-z0-9_]*): (.+)")
_CREATED = re.compile(r"create\s+(?:temporary\s+)?(table|view)\s+(?:if\s+not\s+exists\s+)?(\w+)", re.IGNORECASE)
_NOT_CODE = re.compile(r"--[^\n]*|'(?:[^']|'')*'")


class StatementError(ValueError):
    """A file is not as it must be; the message says what to change."""


@dataclass(frozen=True)
class Statement:
    """One statement, its placeholders filled. `header` keeps the file's order of keys, `notes` its further comment."""

    file: str
    header: Mapping[str, str]
    notes: str
    sql: str

    @classmethod
    def read(cls, folder: Path, path: Path) -> "Statement":
        """The statement in a file of the folder: comment lines first, then one statement."""
        file = path.relative_to(folder).as_posix()
        header, notes, sql = _split(fill_in(folder, path).strip())
        if "title" not in header:
            raise StatementError(f"{file}: no line `-- title: …`; a file begins with it.")
        if not sql or ";" in _NOT_CODE.sub("", sql):
            raise StatementError(f"{file}: a file holds exactly one statement, and no semicolon.")
        return cls(file, header, notes, sql)

    @property
    def created(self) -> tuple[str, str] | None:
        """What the statement creates, as ("table" or "view", name); None if nothing."""
        found = _CREATED.match(self.code)
        return (found[1].lower(), found[2]) if found else None

    @property
    def code(self) -> str:
        """The statement without comments and texts."""
        return _NOT_CODE.sub("", self.sql).strip()

    @property
    def markdown(self) -> str:
        """What the header says, for people."""
        header = dict(self.header)
        parts = [f"### {header.pop('title')}"]
        if question := header.pop("question", None):
            parts.append(f"**{question}**")
        parts += ["\n".join(f"- {key}: {value}" for key, value in header.items()), self.notes, f"`{self.file}`"]
        return "\n\n".join(part for part in parts if part)


def fill_in(folder: Path, path: Path) -> str:
    """Returns the file's text as the detector fills it with its defaults: Zeppelin would make a form of `${x}`."""
    try:
        known = detector.values(folder, {})[path.stem]
        return detector.fill_in(path, known | {"findings": detector.findings(folder)})
    except ValueError as error:
        raise StatementError(
            f"{path.relative_to(folder).as_posix()}: {error}; placeholders are ${{name}}, a dollar sign itself is $$."
        ) from None


def all_statements(folder: Path = SQL_FOLDER) -> list[Statement]:
    """Every statement of the folder, what is created before what reads it."""
    paths = [path for pattern in ORDER for path in sorted(folder.glob(pattern))]
    if strays := sorted(set(folder.rglob("*.sql")) - set(paths) - {folder / name for name in LEFT_OUT}):
        raise StatementError(f"{strays[0]} has no place in the note; known are {', '.join(ORDER)}.")
    return in_order([Statement.read(folder, path) for path in paths])


def in_order(statements: Sequence[Statement]) -> list[Statement]:
    """Returns the statements so that each comes after those whose tables and views it names, else as they were."""
    waiting, done = list(statements), []
    while waiting:
        unmade = {statement.created[1] for statement in waiting if statement.created}
        # In a circle nothing is ready; then Flink tells what is missing.
        ready = next((each for each in waiting if not _words(each) & (unmade - _own(each))), waiting[0])
        waiting.remove(ready)
        done.append(ready)
    return done


def _words(statement: Statement) -> set[str]:
    return set(re.findall(r"\w+", statement.code))


def _own(statement: Statement) -> set[str]:
    return {statement.created[1]} if statement.created else set()


def _split(text: str) -> tuple[dict[str, str], str, str]:
    """Returns header, notes and statement."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if not line.startswith("--")), len(lines))
    header, notes = {}, []
    for line in lines[:start]:
        if found := _HEADER.fullmatch(line.rstrip()):
            header[found[1]] = found[2]
        else:
            notes.append(line.removeprefix("--").strip())
    return header, "\n".join(notes).strip(), "\n".join(lines[start:]).strip()
