"""What the evaluation reads of the rules: their names, their limits and where their attacks are."""

from pathlib import Path

from detector import rulebook
from evaluation.lab import Limit

RULES = rulebook.SQL_FOLDER / "rules"


def rule_names() -> list[str]:
    """Return the names of all rules, sorted."""
    return list(rulebook.read().rules)


def limits() -> dict[str, Limit]:
    """Return the limit of each rule, with the default values."""
    book = rulebook.read()
    known = book.values()
    return {
        name: Limit(
            int(known[name]["threshold"]),
            int(known[name]["window_s"]),
            {key: float(value) for key, value in known[name].items()},
        )
        for name in book.rules
    }


def attack_files() -> dict[str, Path]:
    """Return the file with the attack that a rule looks for, by rule: `sql/detection/rules/<rule>/attack.py`."""
    return {file.parent.name: file for file in sorted(RULES.glob("*/attack.py"))}
