"""The rulebook: all Flink SQL of sql/detection with its descriptions, read and checked in one place.

A rule is a folder `rules/<rule>/` with `rule.sql`, `rule.yaml` (class RuleDescription) and `cases.yaml`
(detector.cases). Every other statement is a file `<name>.sql` with `<name>.yaml` (class Description) beside it.

Managed Flink has neither pydantic nor PyYAML, so the application contains `Rulebook.plain()` as JSON.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from detector.cases import Case, read_cases
from detector.described import RulebookError, read_yaml
from detector.values import Book, Changes, Value, resolve, text

SQL_FOLDER = Path(__file__).resolve().parents[2] / "sql" / "detection"

# Where no statement needs the other, they come in this order: the way of an event through the job.
ORDER = ("source.sql", "sink.sql", "sink_*.sql", "views/*.sql", "rules/*/rule.sql", "*.sql")

# As in contracts/alert.json: a rule's name is part of keys, metrics and the subject of an email.
NAME = r"[a-z][a-z0-9_]{0,49}"
Name = Annotated[str, StringConstraints(pattern=f"^{NAME}$")]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Texts = Annotated[list[Text], Field(min_length=1)]
# Automated threats by their OWASP names: https://owasp.org/www-project-automated-threats-to-web-applications/
Owasp = Annotated[str, StringConstraints(pattern=r"^OAT-0(0[1-9]|1\d|2[01]) [A-Z][A-Za-z ]+$")]

_CREATED = re.compile(r"create\s+(?:temporary\s+)?(table|view)\s+(?:if\s+not\s+exists\s+)?(\w+)", re.IGNORECASE)
_NOT_CODE = re.compile(r"--[^\n]*|'(?:[^']|'')*'")


class Parameter(BaseModel):
    """A value in the SQL that can be set for a deployment (Terraform's variable `detection`)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    type: Literal["integer", "number"]
    default: int | float
    minimum: int
    maximum: int | None = None
    multiple_of: Name | None = None
    at_least_sum_of: list[Name] = []
    unit: Text
    meaning: Text


class Description(BaseModel):
    """What the YAML beside a statement says about it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    title: Text
    question: Annotated[str, StringConstraints(pattern=r"\?$")] | None = None
    grain: Text | None = None
    parameters: dict[Name, Parameter] = {}

    @model_validator(mode="after")
    def _check_parameters(self) -> "Description":
        for name, parameter in self.parameters.items():
            divisor = [parameter.multiple_of] if parameter.multiple_of else []
            for other in [*divisor, *parameter.at_least_sum_of]:
                if other not in self.parameters:
                    raise ValueError(f"{name} refers to {other}; allowed: {', '.join(self.parameters)}")
            if any(self.parameters[other].minimum < 1 for other in divisor):
                raise ValueError(
                    f"{name} is a multiple of {divisor[0]}, so the minimum of {divisor[0]} must be 1 or more"
                )
        return self


class RuleDescription(Description):
    """What `rule.yaml` says about a rule."""

    question: Annotated[str, StringConstraints(pattern=r"\?$")]
    grain: Text
    subject: Literal["user", "product", "site"]
    owasp: Owasp
    severity: Literal["low", "medium", "high", "critical"]
    # A view whose parameters the rule shares.
    window: Name | None = None
    # What must be true besides a count above the threshold; for the table in the docs.
    condition: Text | None = None
    false_positives: Texts
    response: Texts
    references: Annotated[list[Annotated[str, StringConstraints(pattern=r"^https://\S+$")]], Field(min_length=1)]
    # What the attacker of the rule's test scenario does.
    attack: Text


@dataclass(frozen=True)
class Statement:
    """A statement of Flink SQL, with placeholders for its values, and its description. `file` is relative."""

    name: str
    file: str
    sql: str
    description: Description

    @property
    def title(self) -> str:
        return self.description.title

    @property
    def parameters(self) -> dict[str, Parameter]:
        return self.description.parameters

    @property
    def window(self) -> str | None:
        return None

    @property
    def kind(self) -> str:
        """Whether it is a table, a view, a rule, an insert or (in a notebook) a select."""
        return self.created[0] if self.created else self.code.split(maxsplit=1)[0].lower()

    @property
    def created(self) -> tuple[str, str] | None:
        """What the statement creates, as ("table" or "view", name)."""
        found = _CREATED.match(self.code)
        return (found[1].lower(), found[2]) if found else None

    @property
    def code(self) -> str:
        """The statement without comments and string literals."""
        return _NOT_CODE.sub("", self.sql).strip()


@dataclass(frozen=True)
class Rule(Statement):
    """A rule: its SQL, its description, and its cases."""

    description: RuleDescription
    cases: Sequence[Case] = ()

    @property
    def kind(self) -> str:
        return "rule"

    @property
    def window(self) -> str | None:
        return self.description.window


@dataclass(frozen=True)
class Rulebook:
    """All statements by name, each after those that it reads, and the rules among them, sorted by name."""

    statements: dict[str, Statement]

    @property
    def rules(self) -> dict[str, Rule]:
        found = {name: one for name, one in self.statements.items() if isinstance(one, Rule)}
        return dict(sorted(found.items()))

    def values(self, changes: Changes | None = None) -> dict[str, dict[str, Value]]:
        """Return the values of each statement by its name: defaults, or the changes; with those of a shared window.

        Raise ValueError for a change that is unknown or not allowed.
        """
        return resolve(self.plain(), changes or {})

    def plain(self) -> Book:
        """Return what the Flink job needs, as plain JSON."""
        return {
            name: {
                "kind": one.kind,
                "sql": one.sql,
                "window": one.window,
                "parameters": {
                    key: parameter.model_dump(exclude_none=True, exclude={"meaning"})
                    for key, parameter in one.parameters.items()
                },
            }
            for name, one in self.statements.items()
        }

    def question(self, rule: str) -> str:
        """Return a rule's question with the default values in it."""
        defaults = {key: text(value) for key, value in self.values()[rule].items()}
        return Template(self.rules[rule].description.question).substitute(defaults)

    def condition(self, rule: str) -> str | None:
        """Return a rule's further condition with the default values in it."""
        defaults = {key: text(value) for key, value in self.values()[rule].items()}
        condition = self.rules[rule].description.condition
        return Template(condition).substitute(defaults) if condition else None


def read(folder: Path = SQL_FOLDER) -> Rulebook:
    """Return the rulebook of a folder. Raise RulebookError if a file is missing or wrong."""
    files = {file: None for pattern in ORDER for file in sorted(folder.glob(pattern))}
    if strays := sorted(set(folder.rglob("*.sql")) - set(files)):
        raise RulebookError(f"{strays[0].relative_to(folder)}: no place for SQL; allowed: {', '.join(ORDER)}")
    for path in sorted(folder.glob("rules/*/")):
        if path.is_dir() and path.name != "__pycache__" and not (path / "rule.sql").is_file():
            missing = "no rule.sql; a rule has rule.sql, rule.yaml and cases.yaml"
            raise RulebookError(f"{path.relative_to(folder)}: {missing}")
    statements = [read_statement(folder, file) for file in files]
    by_name: dict[str, Statement] = {}
    for one in _in_order(statements):
        if one.name in by_name:
            raise RulebookError(f"{one.file}: the name {one.name} is taken by {by_name[one.name].file}")
        by_name[one.name] = one
    for one in statements:
        _check(one, by_name)
    book = Rulebook(by_name)
    for name, one in by_name.items():
        defaults = {key: parameter.default for key, parameter in one.parameters.items()}
        try:
            book.values({name: defaults} if defaults else {})
        except ValueError as error:
            raise RulebookError(f"{one.file}: parameters: default: {error}") from None
    return book


def read_statement(folder: Path, file: Path) -> Statement:
    """Return the statement of an SQL file and of the YAML beside it. Raise RulebookError."""
    path = file.relative_to(folder).as_posix()
    sql = file.read_text(encoding="utf-8")
    yaml = file.with_suffix(".yaml")
    beside = yaml.relative_to(folder).as_posix()
    statement: Statement
    if file.name == "rule.sql":
        rule, cases = file.parent.name, file.with_name("cases.yaml")
        described = read_yaml(yaml, RuleDescription, beside)
        shown = cases.relative_to(folder).as_posix()
        statement = Rule(rule, path, sql, described, read_cases(cases, rule, shown))
    else:
        statement = Statement(file.stem, path, sql, read_yaml(yaml, Description, beside))
    if not statement.code or ";" in statement.code:
        raise RulebookError(f"{path}: allowed is exactly one statement, without a semicolon")
    return statement


def _in_order(statements: Sequence[Statement]) -> list[Statement]:
    """Return the statements so that each comes after those whose tables and views it names, else as they were."""
    waiting, done = list(statements), []
    while waiting:
        missing = {one.created[1] for one in waiting if one.created}
        # In a circle no statement is ready; then Flink says what is missing.
        ready = next((one for one in waiting if not _words(one) & (missing - _own(one))), waiting[0])
        waiting.remove(ready)
        done.append(ready)
    return done


def _words(statement: Statement) -> set[str]:
    return set(re.findall(r"\w+", statement.code))


def _own(statement: Statement) -> set[str]:
    return {statement.created[1]} if statement.created else set()


def _check(one: Statement, by_name: dict[str, Statement]) -> None:
    """Raise RulebookError if a statement, its description and the other statements do not fit each other."""
    view = by_name.get(one.window) if one.window else None
    if one.window and (view is None or view.kind != "view"):
        views = ", ".join(name for name, other in by_name.items() if other.kind == "view")
        raise RulebookError(f"{one.file}: window is {one.window}; allowed: {views}")
    shared = view.parameters if view else {}
    if isinstance(one, Rule):
        if not re.fullmatch(NAME, one.name):
            raise RulebookError(f"{one.file}: the rule's name is {one.name}; allowed: {NAME}")
        if one.created != ("view", one.name):
            raise RulebookError(f"{one.file}: allowed is exactly one statement, create temporary view {one.name}")
        for needed in ("threshold", "window_s"):
            if needed not in shared | one.parameters:
                raise RulebookError(f"{one.file}: a rule needs the parameter {needed}, its own or that of its window")
    texts = {"SQL": one.sql, "question": one.description.question or ""}
    if isinstance(one, Rule):
        texts["condition"] = one.description.condition or ""
    known = {**shared, **one.parameters}
    names = {*known, *(f"{name}_before" for name, parameter in known.items() if parameter.type == "integer")}
    names |= {"findings"} if one.name == "alerts" else set()
    for where, content in texts.items():
        template = Template(content)
        if not template.is_valid():
            raise RulebookError(f"{one.file}: {where}: a placeholder is ${{name}}, and a dollar sign itself is $$")
        if unknown := sorted(set(template.get_identifiers()) - names):
            allowed = ", ".join(sorted(names)) or "none"
            raise RulebookError(f"{one.file}: {where}: no parameter ${{{unknown[0]}}}; allowed: {allowed}")
    used = Template(one.sql).get_identifiers()
    if unused := [name for name in one.parameters if name not in used and f"{name}_before" not in used]:
        raise RulebookError(f"{one.file}: parameters: {unused[0]} is nowhere in the SQL; use it or remove it")
