"""The questions of `sql/insights`: one .sql file with the statement and one .yaml file that describes it, for each."""

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pydantic
import yaml

from insights.schema import Description, faults

ROOT = Path(__file__).parents[2]
SQL_FOLDER = ROOT / "sql" / "insights"
Value = str | int | date
_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")


class QuestionError(ValueError):
    """A file of `sql/insights`, or a value for it, is wrong; the message names file and field and says what to do."""


class Question(Description):
    """One business question. `sql` is the statement with its placeholders."""

    name: str
    sql: str

    @classmethod
    def parse(cls, place: str, description: str, sql: str) -> "Question":
        """Return the question in the texts of its two files. `place` is their path without the ending."""
        name = place.rpartition("/")[2]
        if not _NAME.fullmatch(name):
            # Athena allows no hyphen in the name of a prepared statement.
            raise QuestionError(f"{place}: a question's name consists of a-z, 0-9 and _, and begins with no digit.")
        described = _describe(f"{place}.yaml", description)
        question = cls(name=name, sql=sql.strip(), **dict(described))
        question._check_sql(f"{place}.sql", f"{place}.yaml")
        return question

    def _check_sql(self, sql_file: str, yaml_file: str) -> None:
        if not re.sub(r"--.*", "", self.sql).strip() or ";" in self.sql:
            raise QuestionError(f"{sql_file}: a file holds exactly one statement, and no semicolon.")
        for line in self.sql.splitlines():
            # An engine does not count a `?` in a comment as a parameter: all later values would shift by one.
            if _PLACEHOLDER.search(line.partition("--")[2]):
                raise QuestionError(f"{sql_file}: placeholder in a comment ({line.strip()}); name it without ${{}}.")
        used = _PLACEHOLDER.findall(self.sql)
        for placeholder in used:
            if placeholder not in self.parameters:
                raise QuestionError(
                    f"{sql_file}: unknown placeholder ${{{placeholder}}}; "
                    f"parameters of {yaml_file}: {', '.join(self.parameters) or 'none'}."
                )
        for name in self.parameters:
            if name not in used:
                raise QuestionError(f"{yaml_file}: parameters.{name}: the SQL has no ${{{name}}}; use it or remove it.")

    def bind(self, parameters: Mapping[str, Value | None]) -> tuple[str, list[str | int]]:
        """Return the statement with `?` for each placeholder, and the values in the order of the placeholders.

        A value that is missing or None is the default. Dates become strings: both engines take `'2019-10-01'` in
        EXECUTE … USING, and the SQL casts it.
        """
        values: list[str | int] = []

        def take(placeholder: re.Match[str]) -> str:
            value = self._value(placeholder[1], parameters)
            values.append(value.isoformat() if isinstance(value, date) else value)
            return "?"

        return _PLACEHOLDER.sub(take, self.sql), values

    def _value(self, name: str, parameters: Mapping[str, Value | None]) -> Value:
        parameter = self.parameters[name]
        value = parameters.get(name)
        if value is None:
            value = parameter.default
        if value is None:
            raise QuestionError(f"{self.name}: no value for {name}; given: {', '.join(parameters)}.")
        if not parameter.accepts(value):
            raise QuestionError(f"{self.name}: {name} is {value!r}; it must be of type {parameter.type}.")
        return value


def all_questions(folder: Path = SQL_FOLDER) -> list[Question]:
    """Return every question of the folder, by name."""
    files = {path.stem for ending in ("sql", "yaml") for path in folder.glob(f"*.{ending}")}
    return [_read(folder / name) for name in sorted(files)]


def in_reading_order(questions: list[Question]) -> list[Question]:
    """Return the questions in the order of the report: by position, those without one last, then by name."""
    return sorted(questions, key=reading_order)


def reading_order(question: Question) -> tuple[bool, int, str]:
    """Return the key that sorts questions in the order of the report."""
    return question.position is None, question.position or 0, question.name


def _read(path: Path) -> Question:
    place = (path.relative_to(ROOT) if path.is_relative_to(ROOT) else path).as_posix()
    texts = {}
    for ending in ("yaml", "sql"):
        file = path.with_name(f"{path.name}.{ending}")
        if not file.is_file():
            raise QuestionError(f"{place}.{ending} is missing: a question is a .sql and a .yaml file.")
        texts[ending] = file.read_text(encoding="utf-8")
    return Question.parse(place, texts["yaml"], texts["sql"])


def _describe(file: str, text: str) -> Description:
    try:
        data: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise QuestionError(f"{file}: this is not YAML: {error}") from error
    if not isinstance(data, dict):
        raise QuestionError(f"{file}: the file must hold fields such as `title: …`; it holds {data!r}.")
    try:
        description = Description.model_validate(data)
    except pydantic.ValidationError as error:
        raise QuestionError("\n".join(_sentence(file, fault) for fault in error.errors())) from None
    if found := list(faults(description)):
        raise QuestionError("\n".join(f"{file}: {field}: {fault}" for field, fault in found))
    return description


def _sentence(file: str, fault: Any) -> str:
    path = [str(part) for part in fault["loc"]]
    if len(path) > 2 and path[0] == "chart":
        del path[1]  # pydantic's name of the chart's kind, which is no field of the file
    return f"{file}: {'.'.join(path)}: {fault['msg'].removeprefix('Value error, ')}"
