"""A mixture: shop traffic with labelled attackers and controls in it, and the labels as the ground truth."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from heapq import merge
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

import smart_open

from evaluation.lab import FIRST_USER_ID, AttackPlan, Lab, Limit, Step, Survey
from evaluation.scenarios import Scenario, load
from simulator.traffic.event import COLUMNS, FIELDS, Event, at_ms, event_time_at, ms_of, wire_time
from simulator.traffic.source import Source

USER_IDS, USER_ID_RANGES = 1_000_000, 90_000  # of each scenario, from FIRST_USER_ID on


@dataclass(frozen=True)
class PlannedAttack:
    """One attack, or one control, as labelled. `users`: the subjects of all who take part, if they are several."""

    subject: str
    scenario: str
    intensity: float
    started_at: str
    ended_at: str
    events: int
    users: list[str] = field(default_factory=list)


class Mixture:
    """Attackers and controls for the surveyed traffic; the same for the same seed."""

    def __init__(
        self,
        survey: Survey,
        limits: Mapping[str, Limit],
        seed: int,
        scenarios: Mapping[str, Scenario] | None = None,
    ) -> None:
        self._survey = survey
        self._limits = limits
        self._scenarios = load() if scenarios is None else scenarios
        self._seed = seed
        self._labs: dict[str, Lab] = {}
        self._taken = set(survey.attacker_ids)
        self.attackers: list[PlannedAttack] = []
        self.controls: list[PlannedAttack] = []
        self.steps: list[Step] = []

    def add(self, scenario: str, intensities: Sequence[float], attackers: int) -> None:
        """Plan that many attackers of a scenario for each intensity, over all of the traffic. Raise ScenarioError."""
        chosen, lab, of = self._scenarios[scenario], self.lab(scenario), attackers * len(intensities)
        labelled = self.controls if chosen.is_control else self.attackers
        for number in range(of):
            # In turns: attacks of one scenario keep their distance, whatever their intensity.
            intensity = intensities[number % len(intensities)]
            plan = chosen.plan(lab, intensity, number, of)
            self.steps += plan.steps
            labelled.append(_label(scenario, intensity, plan))

    def lab(self, scenario: str) -> Lab:
        """Return the tools with which a scenario is planned.

        Random numbers and user ids are the scenario's own. So a new scenario changes nothing about the others.
        """
        if scenario not in self._labs:
            random = Random(f"lab {self._seed} {scenario}")
            self._labs[scenario] = Lab(self._survey, self._limits, random, self._user_ids(scenario))
        return self._labs[scenario]

    def labels(self) -> dict[str, Any]:
        """Return the ground truth by subject; a list where one subject attacks several times."""
        return {"attackers": _by_subject(self.attackers), "controls": _by_subject(self.controls)}

    def write(self, source: Source, out: Path, labels_file: Path) -> int:
        """Write traffic and attackers as one file in the data set's format, and the labels. Return the rows."""
        attack = sorted((step.second, number) for number, step in enumerate(self.steps))
        attacks = ((second * 1000, 1, _event(self.steps[number])) for second, number in attack)
        traffic = ((at_ms(event), 0, event) for event in source.events())
        own = {name for step in self.steps for name in ("client_ip",) if step.client_ip}
        columns = [name for name in FIELDS if name in own or name in source.columns]
        rows = 0
        with smart_open.open(out, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            for _, _, event in merge(_in_order(traffic), attacks, key=lambda item: item[:2]):
                writer.writerow(_cell(name, event.get(name)) for name in columns)
                rows += 1
        labels_file.write_text(json.dumps(self.labels(), indent=1) + "\n")
        return rows

    def _user_ids(self, scenario: str) -> Iterator[str]:
        """Yield ids from the scenario's own range on. The range is a hash of its name, so ranges may overlap."""
        for user_id in map(str, count(FIRST_USER_ID + crc32(scenario.encode()) % USER_ID_RANGES * USER_IDS)):
            if user_id not in self._taken:
                self._taken.add(user_id)
                yield user_id


def _label(scenario: str, intensity: float, plan: AttackPlan) -> PlannedAttack:
    actors = sorted({step.actor for step in plan.steps})
    users = [] if actors == [plan.subject] else actors
    seconds = [step.second for step in plan.steps]
    started_at, ended_at = event_time_at(min(seconds)), event_time_at(max(seconds))
    return PlannedAttack(plan.subject, scenario, intensity, started_at, ended_at, len(plan.steps), users)


def _by_subject(attacks: Iterable[PlannedAttack]) -> dict[str, Any]:
    by_subject: dict[str, list[dict[str, Any]]] = {}
    for one in map(asdict, attacks):
        by_subject.setdefault(one.pop("subject"), []).append(one)
    return {subject: found[0] if len(found) == 1 else found for subject, found in by_subject.items()}


def _in_order(items: Iterable[tuple[int, int, Event]]) -> Iterator[tuple[int, int, Event]]:
    """Yield the items in their own order, each with the latest time so far, so that late rows keep their place."""
    latest = -1
    for ms, kind, event in items:
        latest = max(latest, ms)
        yield latest, kind, event


def _event(step: Step) -> Event:
    return (
        dict.fromkeys(COLUMNS)
        | step.product
        | {
            "event_time": wire_time(step.second * 1000),
            "event_type": step.event_type,
            "user_id": step.user_id,
            "user_session": step.session,
            "client_ip": step.client_ip,
        }
    )


def _cell(name: str, value: Any) -> Any:
    """Return a field as a file has it: a time of a whole second as the data set writes it."""
    if value is None:
        return ""
    if FIELDS[name] == "time" and (ms := ms_of(value)) % 1000 == 0:
        return event_time_at(ms // 1000)
    return value
