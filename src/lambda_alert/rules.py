"""What notices say about a rule: its title, its severity, and what to do about an alert.

`rules.json` is generated from the rulebook (sql/detection) by `make generate`, and packed with the function.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Rule:
    """A rule as people in operations know it."""

    title: str
    severity: str  # low, medium, high or critical
    response: tuple[str, ...]  # what to do, step by step
    question: str = ""
    subject: str = ""  # what it is about: actor, address, product or site


def parse(text: str) -> dict[str, Rule]:
    """Return the rules of a `rules.json` by name."""
    return {
        name: Rule(rule["title"], rule["severity"], tuple(rule["response"]), rule["question"], rule["subject"])
        for name, rule in json.loads(text).items()
    }


RULES: Mapping[str, Rule] = parse(Path(__file__).with_name("rules.json").read_text(encoding="utf-8"))
