"""The statements of the note: those of the rulebook, with the default values in them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detector import rulebook
from detector.job import findings
from detector.rulebook import Rule, Rulebook
from detector.rulebook import Statement as Described
from detector.values import fill_in, text

# What the deployed job writes about itself, for its operators. In a notebook it would need slots, and count twice.
LEFT_OUT = ("sink_unjudged.sql", "unjudged.sql")


@dataclass(frozen=True)
class Statement:
    """One statement with its values in it. `notes` is the comment before it, `described` what the rulebook says."""

    described: Described
    notes: str
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


def all_statements(book: Rulebook) -> list[Statement]:
    """Return the statements of the rulebook, each after those that it reads."""
    known = book.values()
    filled = []
    for name, one in book.statements.items():
        if one.file not in LEFT_OUT:
            own = {**known[name], **({"findings": findings(book.plain())} if name == "alerts" else {})}
            filled.append(_statement(one, own, book))
    return filled


def own_statement(file: Path) -> Statement:
    """Return a statement that only the note has; its YAML is beside it."""
    return _statement(rulebook.read_statement(file.parent, file), {}, None)


def _statement(one: Described, values: dict[str, Any], book: Rulebook | None) -> Statement:
    lines = fill_in(one.name, one.sql, values).strip().splitlines()
    start = next(number for number, line in enumerate(lines) if not line.startswith("--"))
    notes = "\n".join(line.removeprefix("--").strip() for line in lines[:start])
    question = book.question(one.name) if book and isinstance(one, Rule) else one.description.question
    return Statement(one, notes, "\n".join(lines[start:]).strip(), _markdown(one, question, notes))


def _markdown(one: Described, question: str | None, notes: str) -> str:
    """Return what the description says, for people."""
    facts = [f"grain: {one.description.grain}"] if one.description.grain else []
    if isinstance(one, Rule):
        rule = one.description
        facts += [f"subject: {rule.subject}", f"severity: {rule.severity}", f"OWASP: {rule.owasp}"]
        facts += [f"window: {rule.window}"] if rule.window else []
    facts += [f"{name}: {text(each.default)} ({each.unit}). {each.meaning}" for name, each in one.parameters.items()]
    parts = [
        f"### {one.title}",
        f"**{question}**" if question else "",
        "\n".join(f"- {fact}" for fact in facts),
        notes,
        f"`{one.file}`",
    ]
    return "\n\n".join(part for part in parts if part)
