"""The statements of the note, `sql/studio`, with the rules' default values in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from detector import rulebook
from detector.rulebook import Rulebook
from detector.rulebook import Statement as Described
from detector.values import Value, fill_in

SQL_FOLDER = Path(__file__).resolve().parents[2] / "sql" / "studio"

# Each after those that it reads.
ORDER = ("raw_events", "alerts", "tutorial", "actions", "burst", "patient", "alerts_of_stream_2", "alerts_per_minute")


@dataclass(frozen=True)
class Statement:
    """One statement with its values in it, and the text of its cell for people."""

    described: Described
    sql: str
    markdown: str

    @property
    def file(self) -> str:
        return self.described.file

    @property
    def created(self) -> tuple[str, str] | None:
        """What the statement creates, as ("table" or "view", name)."""
        return self.described.created

    @property
    def code(self) -> str:
        """The statement without comments and string literals."""
        return self.described.code


def all_statements(folder: Path = SQL_FOLDER, book: Rulebook | None = None) -> list[Statement]:
    """Return the statements in their order. Raise RulebookError if a file is missing or wrong."""
    known = values(book or rulebook.read())
    return [_statement(rulebook.read_statement(folder, folder / f"{name}.sql"), known) for name in ORDER]


def values(book: Rulebook) -> dict[str, Value | str]:
    """Return the numbers in the statements: those of burst, and the thresholds of the patient rules by their names."""
    known = book.values()
    burst = known["burst"]
    patient = {rule: known[rule]["threshold"] for rule in ("scraper", "session_rotator", "cart_hoarder")}
    return {**patient, **burst, "window_before": f"{burst['window_s'] - 1}.999"}


def _statement(one: Described, known: Mapping[str, Value | str]) -> Statement:
    lines = fill_in(one.name, one.sql, known).strip().splitlines()
    start = next(number for number, line in enumerate(lines) if not line.startswith("--"))
    notes = "\n".join(line.removeprefix("--").strip() for line in lines[:start])
    question = one.description.question
    parts = [
        f"### {one.title}",
        f"**{fill_in(one.name, question, known)}**" if question else "",
        f"- grain: {one.description.grain}" if one.description.grain else "",
        notes,
        f"`sql/studio/{one.file}`",
    ]
    return Statement(one, "\n".join(lines[start:]).strip(), "\n\n".join(part for part in parts if part))
