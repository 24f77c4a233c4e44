"""How good the rules are: recall, precision and time to detect, against labelled attackers, beside the seed's own SQL.

Who attacked is known (`simulator attack`), whom the rules report is found out by running them, as they are deployed,
over the same events (`evaluation.backtest`). An attacker counts as found if the rule of its scenario reported it while
it attacked. Everybody else whom a rule reports is accused falsely.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from detector.main import SQL
from evaluation.backtest import launch
from evaluation.history import HistoryError, from_file
from evaluation.scenarios import CONTROLS, SCENARIOS, Lab, ScenarioError, limits, mix, survey
from simulator.traffic.generate import TrafficOptions, write
from simulator.traffic.source import Source, SourceError

SEED_RULE = Path(__file__).parent / "tutorial.sql"

# Fixed before the rules were tuned.
INTENSITIES = (1.5, 2.0, 5.0)
EVENTS, HOURS, START, SEED = 250_000, 24.0, 1_570_000_000, 1
ATTACKERS, SURGES = 100, 8  # of each intensity; before each surge there must be time without one
SMALL_ATTACKERS, SMALL_SURGES = 20, 1  # in traffic of a few hours

USER = "user#"


class ScoreError(ValueError):
    """What cannot be scored; the message says why and what to do."""


@dataclass(frozen=True)
class Attacker:
    """One that is labelled. Without times (labels from elsewhere) every alert about it counts."""

    subject: str
    scenario: str
    intensity: float | None = None
    started_at: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True)
class Alert:
    """One that was raised: times in Unix seconds."""

    rule: str
    subject: str
    window_start: float
    window_end: float


@dataclass
class Truth:
    """Who attacked, who helped (the users of a distributed attack), who only looks like it, and who is there at all."""

    attackers: list[Attacker]
    helpers: set[str] = field(default_factory=set)
    controls: set[str] = field(default_factory=set)
    users: set[str] = field(default_factory=set)
    buyers: set[str] = field(default_factory=set)


def read_labels(text: str) -> Truth:
    """The truth of a labels file, without the traffic. Raises ScoreError that says what is wrong.

    `{"attackers": {"<user_id>": {"scenario": …}}}`, or with subjects such as `product#…` and a list where one subject
    attacked several times.
    """
    try:
        said = json.loads(text)
        truth = Truth([])
        for name, ones in said["attackers"].items():
            for one in ones if isinstance(ones, list) else [ones]:
                seconds = [one.get(key) and unix(one[key]) for key in ("started_at", "ended_at")]
                truth.attackers.append(Attacker(subject_of(name), one["scenario"], one.get("intensity"), *seconds))
                truth.helpers |= {subject_of(str(user)) for user in one.get("users", [])}
        truth.controls |= {subject_of(name) for name in said.get("controls", {})}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        form = '{"attackers": {"<user_id>": {"scenario": "burst"}}}'
        raise ScoreError(f"the labels are not of the form {form}: {error!r}; mend the file") from error
    return truth


def subject_of(name: str) -> str:
    """The subject as in alerts; bare numbers are users."""
    return f"{USER}{name}" if name.lstrip("-").isdigit() else name


def unix(text: str) -> float:
    """An instant, `2019-10-01 00:00:00 UTC` or `2019-10-01T00:00:00.000Z`, in Unix seconds."""
    return datetime.fromisoformat(text.replace(" UTC", "Z").replace(" ", "T")).astimezone(UTC).timestamp()


def score(truth: Truth, alerts: Sequence[Alert], rules: Iterable[str], same_rule: bool = True) -> dict[str, Any]:
    """Every figure of one run. Without `same_rule` any alert finds an attacker: the seed has one rule for all."""
    by_subject: dict[str, list[Alert]] = defaultdict(list)
    for alert in alerts:
        by_subject[alert.subject].append(alert)
    rows = []
    cells: dict[tuple[str, float | None], list[Attacker]] = defaultdict(list)
    for attacker in truth.attackers:
        cells[attacker.scenario, attacker.intensity].append(attacker)
    for (scenario, intensity), attackers in sorted(cells.items(), key=lambda cell: (cell[0][0], cell[0][1] or 0)):
        delays, raised = [], []
        for attacker in attackers:
            during = [alert for alert in by_subject[attacker.subject] if overlaps(attacker, alert)]
            raised.append(len(during))
            proofs = [alert for alert in during if alert.rule == scenario or not same_rule]
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
        "rules": {rule: judged(truth, alerts, rule) for rule in rules},
        "all": judged(truth, alerts),
    }


def judged(truth: Truth, alerts: Iterable[Alert], rule: str | None = None) -> dict[str, Any]:
    """Whom a rule, or all of them, accused, and how many of those rightly."""
    attacks: dict[str, list[Attacker]] = defaultdict(list)
    for attacker in truth.attackers:
        attacks[attacker.subject].append(attacker)
    accused: Counter[str] = Counter()
    right: set[str] = set()
    for alert in alerts:
        if rule in (None, alert.rule):
            accused[alert.subject] += 1
            during = any(overlaps(attacker, alert) for attacker in attacks[alert.subject])
            if during or alert.subject in truth.helpers:
                right.add(alert.subject)
    wrong = set(accused) - right
    people = {subject for subject in wrong if subject.startswith(USER)}
    return {
        "alerts": accused.total(),
        "accused": len(accused),
        "precision": round(len(right) / len(accused), 4) if accused else None,
        "flagged_humans": len(people),
        "flagged_buyers": len(people & truth.buyers),
        "flagged_controls": len(people & truth.controls),
        "flagged_others": sorted(wrong - people)[:20],
    }


def overlaps(attacker: Attacker, alert: Alert) -> bool:
    """Whether the alert's window, (start, end], holds a part of the attack."""
    if attacker.started_at is None or attacker.ended_at is None:
        return True
    return alert.window_start < attacker.ended_at and attacker.started_at <= alert.window_end


def percentile(values: Sequence[float], share: int) -> float:
    """The value that `share` percent do not exceed."""
    return sorted(values)[ceil(len(values) * share / 100) - 1]


def run(traffic: Path, truth: Truth, folder: Path) -> dict[str, Any]:
    """The score of our rules and of the seed's over one file of traffic; what was made on the way stays there."""
    records = folder / "records.jsonl"
    from_file(traffic, records)
    with records.open() as lines:
        for line in lines:
            event = json.loads(line)
            subject = f"{USER}{event['user_id']}"
            truth.users.add(subject)
            if event["event_type"] == "purchase":
                truth.buyers.add(subject)
    rules = sorted(file.stem for file in (SQL / "rules").glob("*.sql"))
    attackers = truth.helpers | {attacker.subject for attacker in truth.attackers}
    humans = len(truth.users - attackers - truth.controls)
    ours = alerts_of(records, folder / "alerts.jsonl")
    seeds = alerts_of(records, folder / "seed_alerts.jsonl", statement=SEED_RULE)
    return {
        "humans": humans,
        "buyers": len(truth.buyers - attackers - truth.controls),
        "controls": len(truth.controls),
        "ours": score(truth, ours, rules),
        "seed": score(truth, seeds, ["seed"], same_rule=False),
    }


def alerts_of(records: Path, out: Path, statement: Path | None = None) -> list[Alert]:
    """What the rules, or one statement, report of the wire records."""
    return [
        Alert(line["rule"], line["subject"], unix(line["window_start_at"]), unix(line["window_end_at"]))
        for line in launch(records, out, statement)
    ]


def made(folder: Path) -> tuple[Path, Truth]:
    """Traffic of more than 50,000 shoppers whom nothing keeps from breaking a rule, with attackers and controls."""
    humans = folder / "humans.csv"
    write(humans, EVENTS, HOURS, SEED, START, TrafficOptions(burst_limit=1_000))
    return attacked(humans, folder, ATTACKERS, SURGES)


def attacked(humans: Path, folder: Path, attackers: int, surges: int) -> tuple[Path, Truth]:
    """The traffic with attackers of every scenario and intensity, and controls."""
    source = Source(humans)
    lab = Lab(survey(source, Random(SEED)), limits(), SEED)
    for scenario in SCENARIOS:
        if scenario == "just_under":
            lab.add(scenario, [1.0], max(1, attackers // 5))
        else:
            lab.add(scenario, INTENSITIES, surges if scenario == "site_surge" else attackers)
    for control in CONTROLS:
        lab.add(control, [1.0], attackers)
    mixed, labels = folder / "traffic.csv", folder / "labels.json"
    mix(source, lab, mixed, labels)
    return mixed, read_labels(labels.read_text())


def table(name: str, result: dict[str, Any]) -> str:
    """The score as a Markdown table: ours and the seed's side by side."""
    lines = [
        f"{name}: {result['humans']:,} humans ({result['buyers']:,} of them buy), {result['controls']:,} controls",
        "",
        "| scenario | times the threshold | attackers | found | recall | seconds to detect: median, p95 | alerts each "
        "| seed: found | recall |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for ours, seed in zip(result["ours"]["scenarios"], result["seed"]["scenarios"], strict=True):
        delay = ours["seconds_to_detect_median"]
        delays = "" if delay is None else f"{delay:,.0f}, {ours['seconds_to_detect_p95']:,.0f}"
        lines.append(
            f"| {ours['scenario']} | {ours['intensity'] or ''} | {ours['attackers']} | {ours['found']} "
            f"| {ours['recall']:.3f} | {delays} | {ours['alerts_per_attacker']} "
            f"| {seed['found']} | {seed['recall']:.3f} |"
        )
    lines += [
        "",
        "| rule | alerts | accused | precision | humans flagged | buyers | controls | others |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for rule, one in {**result["ours"]["rules"], "all": result["ours"]["all"], "seed": result["seed"]["all"]}.items():
        lines.append(
            f"| {rule} | {one['alerts']:,} | {one['accused']:,} | {one['precision'] or ''} | {one['flagged_humans']} "
            f"| {one['flagged_buyers']} | {one['flagged_controls']} | {', '.join(one['flagged_others'])} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """The process's exit code: 0, 1 if the rules did not run, 2 for input that cannot be scored."""
    parser = argparse.ArgumentParser(prog="evaluation.score", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="FILE", help="traffic from elsewhere, in the data set's format")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="who attacks in it (default: our own attackers)")
    parser.add_argument("--out", type=Path, default=Path("build/score"), metavar="FOLDER")
    options = parser.parse_args()
    try:
        if options.labels and not options.data:
            raise ScoreError("--labels is about --data: give both")
        folder = options.out / (options.data.name.split(".")[0] if options.data else "made")
        folder.mkdir(parents=True, exist_ok=True)
        if options.labels:
            traffic, truth = options.data, read_labels(options.labels.read_text())
        elif options.data:
            traffic, truth = attacked(options.data, folder, SMALL_ATTACKERS, SMALL_SURGES)
        else:
            traffic, truth = made(folder)
        result = run(traffic, truth, folder)
    except (ScoreError, HistoryError, ScenarioError, SourceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    (folder / "score.json").write_text(json.dumps(result, indent=1) + "\n")
    text = table(folder.name, result)
    (folder / "score.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
