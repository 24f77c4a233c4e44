"""The scenarios of the attack lab: the attack of each rule, one attacker who knows the rules, and the controls.

A rule's attack is in the rule's own folder, `sql/detection/rules/<rule>/attack.py`. The file has one function,

    def plan(lab: Lab, limit: Limit, intensity: float, number: int, of: int) -> AttackPlan

which plans attacker `number` of `of`, `intensity` times as loud as the rule's threshold. `SPARSE = True` in the file
says that each attack needs a long time without another one before it, so that there can be only a few.
"""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from evaluation.controls import CONTROLS, LARGE
from evaluation.lab import AttackPlan, Lab, ScenarioError, Step
from evaluation.rules import attack_files

Planner = Callable[[Lab, float, int, int], AttackPlan]

JUST_UNDER = "just_under"


@dataclass(frozen=True)
class Scenario:
    """A kind of attacker or of control."""

    name: str
    plan: Planner
    is_control: bool = False
    has_intensity: bool = True  # otherwise all its attackers are alike
    is_sparse: bool = False


def load(files: Mapping[str, Path] | None = None) -> dict[str, Scenario]:
    """Return every scenario by name. `files` are the rules' attacks by rule, by default those of this repository."""
    found = [_of_rule(rule, _module(rule, file)) for rule, file in (attack_files() if files is None else files).items()]
    found += [Scenario(JUST_UNDER, plan_just_under, has_intensity=False)]
    found += [
        Scenario(name, plan, is_control=True, has_intensity=False, is_sparse=name in LARGE)
        for name, plan in CONTROLS.items()
    ]
    return {scenario.name: scenario for scenario in found}


def plan_just_under(lab: Lab, intensity: float, number: int, of: int) -> AttackPlan:
    """Know the rules for users, and do exactly what they allow, for three of the longest windows."""
    burst, scraper = lab.limits["burst"], lab.limits["scraper"]
    start = lab.start(number, of, 3 * scraper.window_s)
    bursts = scraper.threshold // (burst.threshold or 1)
    user_id, session = lab.new_user(), lab.new_session()
    steps = []
    for window in range(3):
        pause = scraper.window_s // bursts
        for turn in range(bursts):
            second = start + window * scraper.window_s + turn * pause
            steps += [Step(second, user_id, session, product) for product in lab.products(burst.threshold)]
    return AttackPlan(f"user#{user_id}", steps)


def _of_rule(rule: str, module: ModuleType) -> Scenario:
    def plan(lab: Lab, intensity: float, number: int, of: int) -> AttackPlan:
        if rule not in lab.limits:
            raise ScenarioError(f"no attack on the rule {rule}, which lacks threshold or window_s: give it both")
        return module.plan(lab, lab.limits[rule], intensity, number, of)

    return Scenario(rule, plan, is_sparse=getattr(module, "SPARSE", False))


def _module(rule: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"attack_on_{rule}", file)
    assert spec and spec.loader, file
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
