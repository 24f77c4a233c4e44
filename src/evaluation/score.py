"""Measure how good the rules are: recall, precision and time to detect, beside the rule of the tutorial.

The attackers are labelled. The deployed rules run over the same events (`evaluation.backtest`), and we compare. A rule
finds an attacker if it is the rule of the attacker's scenario and raises an alert about it during the attack. Any other
subject that a rule reports is flagged wrongly. The tutorial is the blog post that this project comes from.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from tabulate import tabulate

from evaluation.actors import DEFAULTS, PEOPLE, actor_of, buys, subject_of
from evaluation.backtest import launch
from evaluation.history import from_data, read
from evaluation.lab import survey
from evaluation.mixture import Mixture
from evaluation.rules import limits, rule_names
from evaluation.scenarios import load
from simulator.traffic.generate import TrafficOptions, write
from simulator.traffic.source import Source

TUTORIAL = "tutorial"

# Fixed before the rules were tuned.
INTENSITIES = (1.5, 2.0, 5.0)
EVENTS, HOURS, START, SEED = 250_000, 24.0, 1_570_000_000, 1
# Of each scenario and intensity; of sparse scenarios fewer: before each attack there must be time without one.
ATTACKERS, SPARSE_ATTACKERS = 100, 8
SMALL_ATTACKERS, SMALL_SPARSE_ATTACKERS = 20, 1  # in traffic of a few hours


class ScoreError(ValueError):
    """Input that cannot be scored. The message says why and what to do."""


@dataclass(frozen=True)
class LabelledAttacker:
    """An attacker of the ground truth. Without times (labels from elsewhere) every alert about it counts."""

    subject: str
    scenario: str
    intensity: float | None = None
    started_at: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True)
class Alert:
    """An alert that was raised. Times in Unix seconds."""

    rule: str
    subject: str
    window_start: float
    window_end: float


@dataclass
class Truth:
    """The ground truth: who attacks and who does not.

    All are subjects: users, and guests by their sessions. `helpers`: who takes part in distributed attacks.
    `controls`: shoppers who look like attackers. `actors`: everybody.
    """

    attackers: list[LabelledAttacker]
    helpers: set[str] = field(default_factory=set)
    controls: set[str] = field(default_factory=set)
    actors: set[str] = field(default_factory=set)
    buyers: set[str] = field(default_factory=set)


def read_labels(text: str) -> Truth:
    """Return the truth of a labels file, without the shoppers of the traffic. Raise ScoreError.

    The form is `{"attackers": {"<user_id>": {"scenario": …}}}`. A key may be a subject such as `session#…`, and a value
    a list where one subject attacked several times.
    """
    try:
        said = json.loads(text)
        truth = Truth([])
        for name, ones in said["attackers"].items():
            for one in ones if isinstance(ones, list) else [ones]:
                seconds = [one.get(key) and unix_seconds(one[key]) for key in ("started_at", "ended_at")]
                truth.attackers.append(
                    LabelledAttacker(subject_of(name), one["scenario"], one.get("intensity"), *seconds)
                )
                truth.helpers |= {subject_of(str(user)) for user in one.get("users", [])}
        for name, ones in said.get("controls", {}).items():
            truth.controls.add(subject_of(name))
            for one in ones if isinstance(ones, list) else [ones]:
                truth.controls |= {subject_of(str(user)) for user in one.get("users", [])}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        form = '{"attackers": {"<user_id>": {"scenario": "burst"}}}'
        raise ScoreError(f"the labels are not of the form {form}: {error!r}; fix the file") from error
    return truth


def unix_seconds(text: str) -> float:
    """Return an instant, `2019-10-01 00:00:00 UTC` or `2019-10-01T00:00:00.000Z`, in Unix seconds."""
    return datetime.fromisoformat(text.replace(" UTC", "Z").replace(" ", "T")).astimezone(UTC).timestamp()


def score(truth: Truth, alerts: Sequence[Alert], rules: Collection[str]) -> dict[str, Any]:
    """Return every figure of one run.

    An attacker is found by the rule that its scenario is named after. If no rule has that name (labels from elsewhere,
    or the tutorial's one rule), any alert finds it.
    """
    by_subject: dict[str, list[Alert]] = defaultdict(list)
    for alert in alerts:
        by_subject[alert.subject].append(alert)
    rows = []
    cells: dict[tuple[str, float | None], list[LabelledAttacker]] = defaultdict(list)
    for attacker in truth.attackers:
        cells[attacker.scenario, attacker.intensity].append(attacker)
    for (scenario, intensity), attackers in sorted(cells.items(), key=lambda cell: (cell[0][0], cell[0][1] or 0)):
        delays, raised = [], []
        for attacker in attackers:
            during = [alert for alert in by_subject[attacker.subject] if overlaps(attacker, alert)]
            raised.append(len(during))
            proofs = [alert for alert in during if alert.rule == scenario or scenario not in rules]
            if proofs:
                delays.append(min(alert.window_end for alert in proofs) - (attacker.started_at or 0))
        rows.append(
            {
                "scenario": scenario,
                "intensity": intensity,
                "attackers": len(attackers),
                "found": len(delays),
                "recall": round(len(delays) / len(attackers), 4),
                "seconds_to_detect_median": median(delays) if delays and attackers[0].started_at else None,
                "seconds_to_detect_p95": percentile(delays, 95) if delays and attackers[0].started_at else None,
                "alerts_per_attacker": round(sum(raised) / len(attackers), 2),
            }
        )
    return {
        "scenarios": rows,
        "rules": {rule: count_flagged(truth, alerts, rule) for rule in rules},
        "all": count_flagged(truth, alerts),
    }


def count_flagged(truth: Truth, alerts: Iterable[Alert], rule: str | None = None) -> dict[str, Any]:
    """Return how many subjects a rule, or all of them, flagged, and which of them wrongly."""
    attacks: dict[str, list[LabelledAttacker]] = defaultdict(list)
    for attacker in truth.attackers:
        attacks[attacker.subject].append(attacker)
    flagged: Counter[str] = Counter()
    right: set[str] = set()
    for alert in alerts:
        if rule in (None, alert.rule):
            flagged[alert.subject] += 1
            during = any(overlaps(attacker, alert) for attacker in attacks[alert.subject])
            if during or alert.subject in truth.helpers:
                right.add(alert.subject)
    wrong = set(flagged) - right
    humans = {subject for subject in wrong if subject.startswith(PEOPLE)}
    return {
        "alerts": flagged.total(),
        "flagged": len(flagged),
        "precision": round(len(right) / len(flagged), 4) if flagged else None,
        "flagged_humans": len(humans),
        "flagged_buyers": len(humans & truth.buyers),
        "flagged_controls": len(wrong & truth.controls),
        "flagged_others": sorted(wrong - humans)[:20],
    }


def overlaps(attacker: LabelledAttacker, alert: Alert) -> bool:
    """Return whether a part of the attack is in the alert's window, (start, end]."""
    if attacker.started_at is None or attacker.ended_at is None:
        return True
    return alert.window_start < attacker.ended_at and attacker.started_at <= alert.window_end


def percentile(values: Sequence[float], share: int) -> float:
    """Return the value that `share` percent do not exceed."""
    return sorted(values)[ceil(len(values) * share / 100) - 1]


def run(traffic: Source, truth: Truth, folder: Path) -> dict[str, Any]:
    """Return the score of our rules and of the tutorial's over traffic. Records and alerts stay in the folder."""
    records = folder / "records.jsonl"
    from_data(traffic, records)
    with records.open() as lines:
        for line in lines:
            event = json.loads(line)
            if actor := actor_of(event):
                truth.actors.add(actor)
                if buys(event):
                    truth.buyers.add(actor)
    attackers = truth.helpers | {attacker.subject for attacker in truth.attackers}
    ours = alerts_of(records, folder / "alerts.jsonl")
    tutorials = alerts_of(records, folder / "tutorial_alerts.jsonl", is_tutorial=True)
    return {
        "humans": len(truth.actors - attackers - truth.controls),
        "buyers": len(truth.buyers - attackers - truth.controls),
        "controls": len(truth.controls),
        "ours": score(truth, ours, rule_names()),
        TUTORIAL: score(truth, tutorials, [TUTORIAL]),
    }


def alerts_of(records: Path, out: Path, is_tutorial: bool = False) -> list[Alert]:
    """Return what our rules, or the tutorial's, report about the wire records."""
    return [
        Alert(line["rule"], line["subject"], unix_seconds(line["window_start_at"]), unix_seconds(line["window_end_at"]))
        for line in launch(records, out, DEFAULTS, is_tutorial)
    ]


def make_traffic(folder: Path) -> tuple[Path, Truth]:
    """Make traffic of more than 50,000 shoppers, with attackers and controls. Return the file and the truth.

    Nothing keeps these shoppers from exceeding a rule's threshold.
    """
    humans = folder / "humans.csv"
    write(humans, EVENTS, HOURS, SEED, START, TrafficOptions(burst_limit=1_000))
    return add_attackers(Source(humans), folder, ATTACKERS, SPARSE_ATTACKERS)


def add_attackers(source: Source, folder: Path, attackers: int, sparse_attackers: int) -> tuple[Path, Truth]:
    """Mix attackers of every scenario and intensity, and controls, into traffic. Return the file and the truth."""
    scenarios = load()
    mixture = Mixture(survey(source, Random(SEED)), limits(), SEED, scenarios)
    for name, scenario in scenarios.items():
        if scenario.is_control:
            mixture.add(name, [1.0], sparse_attackers if scenario.is_sparse else attackers)
        elif not scenario.has_intensity:
            mixture.add(name, [1.0], max(1, attackers // 5))
        else:
            mixture.add(name, INTENSITIES, sparse_attackers if scenario.is_sparse else attackers)
    mixed, labels = folder / "traffic.csv", folder / "labels.json"
    mixture.write(source, mixed, labels)
    return mixed, read_labels(labels.read_text())


def score_traffic(data: Source | None, labels: Path | None, out: Path) -> str:
    """Score traffic, or by default traffic made here, and return the tables. They and score.json stay below `out`.

    Without labels, our own attackers are mixed into the traffic. Raise ScoreError, HistoryError, ScenarioError or
    SourceError for wrong input, RuntimeError if the rules did not run.
    """
    if labels and not data:
        raise ScoreError("--labels is about --data: give both")
    name = Path(data.inputs[0]).name.split(".")[0].strip("*") or "data" if data else "made"
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    if data and labels:
        traffic, truth = data, read_labels(labels.read_text())
    elif data:
        read(data)
        mixed, truth = add_attackers(data, folder, SMALL_ATTACKERS, SMALL_SPARSE_ATTACKERS)
        traffic = Source(mixed)
    else:
        mixed, truth = make_traffic(folder)
        traffic = Source(mixed)
    result = run(traffic, truth, folder)
    (folder / "score.json").write_text(json.dumps(result, indent=1) + "\n")
    text = tables(name, result)
    (folder / "score.md").write_text(text)
    return text


def tables(name: str, result: dict[str, Any]) -> str:
    """Return the score as two Markdown tables: by scenario, beside the tutorial's rule, and by rule."""
    scenarios = []
    for ours, tutorial in zip(result["ours"]["scenarios"], result[TUTORIAL]["scenarios"], strict=True):
        delay = ours["seconds_to_detect_median"]
        scenarios.append(
            {
                "scenario": ours["scenario"],
                "times the threshold": ours["intensity"] or "",
                "attackers": ours["attackers"],
                "found": ours["found"],
                "recall": f"{ours['recall']:.3f}",
                "seconds to detect: median, p95": ""
                if delay is None
                else f"{delay:,.0f}, {ours['seconds_to_detect_p95']:,.0f}",
                "alerts each": ours["alerts_per_attacker"],
                "tutorial: found": tutorial["found"],
                "tutorial: recall": f"{tutorial['recall']:.3f}",
            }
        )
    flagged = {**result["ours"]["rules"], "all": result["ours"]["all"], TUTORIAL: result[TUTORIAL]["all"]}
    rules = [
        {
            "rule": rule,
            "alerts": f"{one['alerts']:,}",
            "flagged": f"{one['flagged']:,}",
            "precision": one["precision"] or "",
            "humans flagged": one["flagged_humans"],
            "buyers": one["flagged_buyers"],
            "controls": one["flagged_controls"],
            "others": ", ".join(one["flagged_others"]),
        }
        for rule, one in flagged.items()
    ]
    title = f"{name}: {result['humans']:,} humans ({result['buyers']:,} of them buy), {result['controls']:,} controls"
    parts = [
        title,
        tabulate(scenarios, "keys", "pipe", disable_numparse=True, colalign=("left", *["right"] * 8)),
        tabulate(rules, "keys", "pipe", disable_numparse=True, colalign=("left", *["right"] * 6, "left")),
    ]
    return "\n\n".join(parts) + "\n"
