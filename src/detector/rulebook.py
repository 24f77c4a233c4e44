"""The rulebook: the rules of sql/detection and the values of the job around them, read and checked in one place.

A rule is a folder `rules/<rule>/` with `rule.sql`, `rule.yaml` (class RuleDescription) and `cases.yaml`
(detector.cases). A file `<name>.yaml` (class Description) has the values of a part of the job that is no SQL.

Managed Flink has neither pydantic nor PyYAML, so the application contains `Rulebook.plain()` as JSON.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from detector.cases import Case, read_cases
from detector.described import RulebookError, read_yaml
from detector.values import Book, Changes, Value, resolve, text

SQL_FOLDER = Path(__file__).resolve().parents[2] / "sql" / "detection"

PARTS, RULES = "*.yaml", "rules/*/rule.sql"

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
            for other in parameter.at_least_sum_of:
                if other not in self.parameters:
                    raise ValueError(f"{name} refers to {other}; allowed: {', '.join(self.parameters)}")
        return self


class RuleDescription(Description):
    """What `rule.yaml` says about a rule."""

    question: Annotated[str, StringConstraints(pattern=r"\?$")]
    grain: Text
    subject: Literal["actor", "product", "address", "site"]
    owasp: Owasp
    severity: Literal["low", "medium", "high", "critical"]
    # What must be true besides a count above the threshold; for the table in the docs.
    condition: Text | None = None
    # The rule about the whole site whose findings may explain those of this rule.
    explained_by: Name | None = None
    false_positives: Texts
    response: Texts
    references: Annotated[list[Annotated[str, StringConstraints(pattern=r"^https://\S+$")]], Field(min_length=1)]
    # What the attacker of the rule's test scenario does.
    attack: Text


@dataclass(frozen=True)
class Statement:
    """A statement of Flink SQL, with placeholders for its values, and its description. `file` is relative.

    The SQL of a part of the job that is written in Java is empty.
    """

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
    def kind(self) -> str:
        """Whether it is a rule or another `part` of the job."""
        return "part"

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


@dataclass(frozen=True)
class Rulebook:
    """The parts of the job and the rules by name, and the rules alone."""

    statements: dict[str, Statement]

    @property
    def rules(self) -> dict[str, Rule]:
        return {name: one for name, one in self.statements.items() if isinstance(one, Rule)}

    def values(self, changes: Changes | None = None) -> dict[str, dict[str, Value]]:
        """Return the values of each rule and part by its name: the defaults, or the changes.

        Raise ValueError for a change that is unknown or not allowed.
        """
        return resolve(self.plain(), changes or {})

    def plain(self) -> Book:
        """Return what the Flink job needs, as plain JSON."""
        return {
            name: {
                "kind": one.kind,
                "sql": one.sql,
                "subject": one.description.subject if isinstance(one, Rule) else None,
                "explained_by": one.description.explained_by if isinstance(one, Rule) else None,
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
    files = [*sorted(folder.glob(PARTS)), *sorted(folder.glob(RULES))]
    if strays := sorted(set(folder.rglob("*.sql")) - set(files)):
        raise RulebookError(f"{strays[0].relative_to(folder)}: no place for SQL; allowed: {RULES}")
    for path in sorted(folder.glob("rules/*/")):
        if path.is_dir() and path.name != "__pycache__" and not (path / "rule.sql").is_file():
            missing = "no rule.sql; a rule has rule.sql, rule.yaml and cases.yaml"
            raise RulebookError(f"{path.relative_to(folder)}: {missing}")
    by_name: dict[str, Statement] = {}
    for file in files:
        one = _read(folder, file)
        if one.name in by_name:
            raise RulebookError(f"{one.file}: the name {one.name} is taken by {by_name[one.name].file}")
        by_name[one.name] = one
    for one in by_name.values():
        _check(one, by_name)
    book = Rulebook(by_name)
    for name, one in by_name.items():
        defaults = {key: parameter.default for key, parameter in one.parameters.items()}
        try:
            book.values({name: defaults} if defaults else {})
        except ValueError as error:
            raise RulebookError(f"{one.file}: parameters: default: {error}") from None
    return book


def _read(folder: Path, file: Path) -> Statement:
    path = file.relative_to(folder).as_posix()
    if file.suffix == ".yaml":
        return Statement(file.stem, path, "", read_yaml(file, Description, path))
    cases = file.with_name("cases.yaml")
    described = read_yaml(file.with_name("rule.yaml"), RuleDescription, path.replace(".sql", ".yaml"))
    rule = file.parent.name
    own = Rule(rule, path, _sql(file, path), described, read_cases(cases, rule, cases.relative_to(folder).as_posix()))
    return own


def read_statement(folder: Path, file: Path) -> Statement:
    """Return the statement of an SQL file and of the YAML beside it. Raise RulebookError."""
    path, yaml = file.relative_to(folder).as_posix(), file.with_suffix(".yaml")
    return Statement(file.stem, path, _sql(file, path), read_yaml(yaml, Description, yaml.name))


def _sql(file: Path, shown: str) -> str:
    sql = file.read_text(encoding="utf-8")
    code = _NOT_CODE.sub("", sql).strip()
    if not code or ";" in code:
        raise RulebookError(f"{shown}: allowed is exactly one statement, without a semicolon")
    return sql


def _check(one: Statement, others: Mapping[str, Statement]) -> None:
    """Raise RulebookError if a rule, its description and the other rules do not fit each other."""
    if not isinstance(one, Rule):
        return
    if not re.fullmatch(NAME, one.name):
        raise RulebookError(f"{one.file}: the rule's name is {one.name}; allowed: {NAME}")
    if one.created != ("view", one.name):
        raise RulebookError(f"{one.file}: allowed is exactly one statement, create temporary view {one.name}")
    for needed in ("threshold", "window_s"):
        if needed not in one.parameters:
            raise RulebookError(f"{one.file}: a rule needs the parameter {needed}")
    if (explained_by := one.description.explained_by) is not None:
        rules = [other for other in others.values() if isinstance(other, Rule) and other.name != one.name]
        known = [other.name for other in rules if other.description.subject == "site"]
        if explained_by not in known:
            yaml, names = one.file.replace(".sql", ".yaml"), ", ".join(known) or "none"
            raise RulebookError(
                f"{yaml}: explained_by is {explained_by}; allowed: another rule about the site: {names}"
            )
    texts = {"SQL": one.sql, "question": one.description.question, "condition": one.description.condition or ""}
    for where, content in texts.items():
        template = Template(content)
        if not template.is_valid():
            raise RulebookError(f"{one.file}: {where}: a placeholder is ${{name}}, and a dollar sign itself is $$")
        if unknown := sorted(set(template.get_identifiers()) - set(one.parameters)):
            allowed = ", ".join(sorted(one.parameters)) or "none"
            raise RulebookError(f"{one.file}: {where}: no parameter ${{{unknown[0]}}}; allowed: {allowed}")
    used = Template(one.sql).get_identifiers()
    if unused := [name for name in one.parameters if name not in used]:
        raise RulebookError(f"{one.file}: parameters: {unused[0]} is nowhere in the SQL; use it or remove it")
