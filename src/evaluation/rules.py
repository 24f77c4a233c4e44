"""What the evaluation reads of the rules: their names, their limits and where their attacks are."""

from pathlib import Path

from detector.main import SQL, values
from evaluation.lab import Limit

RULES = SQL / "rules"


def rule_names() -> list[str]:
    """Return the names of all rules, sorted."""
    return sorted(file.stem for file in RULES.glob("*.sql"))


def limits() -> dict[str, Limit]:
    """Return the limit of each rule that has a threshold and a window, with the values in this repository."""
    known = values(SQL, {})
    return {
        name: Limit(
            int(known[name]["threshold"]),
            int(known[name]["window_s"]),
            {key: float(value) for key, value in known[name].items()},
        )
        for name in rule_names()
        if {"threshold", "window_s"} <= known[name].keys()
    }


def attack_files() -> dict[str, Path]:
    """Return the file with the attack that a rule looks for, by rule: `sql/detection/rules/<rule>/attack.py`."""
    return {file.parent.name: file for file in sorted(RULES.glob("*/attack.py"))}
