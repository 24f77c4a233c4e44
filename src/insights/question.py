"""Business questions as they stand in `sql/insights`: one file, one question, one statement."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

SQL_FOLDER = Path(__file__).parents[2] / "sql" / "insights"
HEADERS = ("title", "question", "grain")
PARAMETERS = ("from_date", "to_date", "top_n")
_HEADER = re.compile(r"-- (title|question|grain): (.+)")
_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")


class QuestionError(ValueError):
    """A file of `sql/insights`, or a value for it, is not as it must be; the message says what to change."""


@dataclass(frozen=True)
class Question:
    """One business question. `notes` says how it is counted; `sql` is the statement, placeholders and all."""

    name: str
    title: str
    question: str
    grain: str
    notes: str
    sql: str

    @classmethod
    def parse(cls, name: str, text: str) -> "Question":
        """The question in the text of a file: header lines, further comment lines as notes, then one statement."""
        lines = text.strip().splitlines()
        start = next((i for i, line in enumerate(lines) if not line.startswith("--")), len(lines))
        headers, notes = {}, []
        for line in lines[:start]:
            if found := _HEADER.fullmatch(line.rstrip()):
                headers[found[1]] = found[2]
            else:
                notes.append(line.removeprefix("--").strip())
        for header in HEADERS:
            if header not in headers:
                raise QuestionError(f"{name}: no line `-- {header}: …`; a file begins with {', '.join(HEADERS)}.")
        sql = "\n".join(lines[start:]).strip()
        if not sql or ";" in sql:
            raise QuestionError(f"{name}: a file holds exactly one statement, and no semicolon.")
        for line in text.splitlines():
            # An engine does not count a `?` in a comment as a parameter: all later values would shift by one.
            if _PLACEHOLDER.search(line.partition("--")[2]):
                raise QuestionError(f"{name}: placeholder in a comment ({line.strip()}); name it without ${{}}.")
        for placeholder in _PLACEHOLDER.findall(sql):
            if placeholder not in PARAMETERS:
                raise QuestionError(f"{name}: unknown placeholder ${{{placeholder}}}; known: {', '.join(PARAMETERS)}.")
        return cls(name=name, notes=" ".join(notes), sql=sql, **headers)

    def bind(self, parameters: Mapping[str, str | int | date]) -> tuple[str, list[str | int]]:
        """The statement with `?` for each placeholder, and the values in order of appearance, repeated as they are.

        Dates become strings: both engines take `'2019-10-01'` in EXECUTE … USING, and the SQL casts it.
        """
        values: list[str | int] = []

        def take(placeholder: re.Match[str]) -> str:
            if placeholder[1] not in parameters:
                raise QuestionError(f"{self.name}: no value for {placeholder[1]}; given: {', '.join(parameters)}.")
            value = parameters[placeholder[1]]
            values.append(value.isoformat() if isinstance(value, date) else value)
            return "?"

        return _PLACEHOLDER.sub(take, self.sql), values


def all_questions(folder: Path = SQL_FOLDER) -> list[Question]:
    """Every question of the folder, by name."""
    return [Question.parse(path.stem, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.sql"))]
