"""Each case of each rule, and of what all rules share, as it is deployed.

All cases with the default values are one job: each has an hour of event time to itself. Cases with values of their own
are one job for each set of values. `detector.cases` describes the format of the cases.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path

import pytest
from conftest import NOBODY
from reference import RULES, alerts
from shop import MIDNIGHT, alert, event, record, time

from detector import rulebook
from detector.cases import Case, ExpectedAlert, read_cases

Detect = Callable[..., list[dict]]

BOOK = rulebook.read()
HOUR = timedelta(hours=1)

# What is no event by the contract. Bytes are lines as they are. tests/integration/detection/test_contract.py has more.
POISON: list[bytes | dict] = [
    *(b"", b"oops", b"null", b"[]", b"[{}]", b"{}", b'"text"', b"7", b"\xff\xfe\x00", b'{"user_id": 7'),
    *(
        event(2, product_id="99", txn_timestamp=wrong)
        for wrong in (
            *("yesterday", 1569888002000, True, {"at": 2}, []),
            *("T", "Z", "2019-13-41T00:00:02.000Z", "99999-01-01T00:00:02.000Z", "+999999999-12-31T23:59:59.999Z"),
            lambda right: right.removesuffix("Z"),
            lambda right: right.replace("Z", "X"),
            lambda right: right.replace("T", " ").removesuffix("Z"),
        )
    ),
    *(event(2, product_id="99", event_time=wrong) for wrong in (None, "", 7, "2019-10-01", "2019-02-30T00:00:00Z")),
    *(event(2, product_id="99", user_id=wrong) for wrong in ([7], {"id": 7}, True, 7.5, "7" * 129, "7\n", "\ud800")),
    *(event(2, product_id=wrong) for wrong in ([7], {"id": 7}, True, 7.5, "7" * 129, "7\n")),
    *(event(2, product_id="99", event_type=wrong) for wrong in (None, "", 7, "x" * 129)),
    *(event(2, product_id="99", price=wrong) for wrong in ("free", 1e30, -1, [], True)),
    *(event(2, product_id="99", brand=wrong) for wrong in (["a"], 7, "a\x1fb")),
    *(event(2, product_id="99", quantity=wrong) for wrong in (0, -1, 1.5, 2**63, "1")),
]
PAST = [time(0, datetime(year, 1, 1, tzinfo=UTC)) for year in (1, 1582, 1900, 1969, 1970)] + [time(-86_400)]
FUTURE = [time(0, datetime(year, 1, 1, tzinfo=UTC)) for year in (2100, 9999)]
# Events that are unusual, and count.
UNUSUAL = [
    {"txn_timestamp": lambda right: right.replace("T", " ")},
    {"txn_timestamp": lambda right: right.replace("T", " ").replace(".000Z", " UTC")},
    {"txn_timestamp": lambda right: right.replace("Z", "+0000")},
    {"txn_timestamp": None, "event_time": lambda right: right},
    {"txn_timestamp": "", "event_time": lambda right: right.replace("Z", "-00")},
    {"user_id": 7, "product_id": -7, "more": {"user_id": [1]}, "received_at": 7, "price": None, "brand": ""},
]


@dataclass(frozen=True)
class Run:
    """A case in its own hour of a job."""

    id: str
    case: Case
    base: datetime = MIDNIGHT
    lines: list[bytes] = field(default_factory=list)

    @property
    def job(self) -> str:
        """The values of the job, as text: cases with the same values share a job."""
        return json.dumps(self.case.values, sort_keys=True)

    @property
    def alerts(self) -> list[dict]:
        known = BOOK.values(self.case.values)
        found = []
        for one in self.case.alerts:
            values = known[one.rule]
            threshold = values["threshold"] if one.threshold is None else one.threshold
            start = one.end - values["window_s"]
            found.append(
                alert(one.rule, one.subject, start, one.end, one.count, threshold, self.base, one.explained_by)
            )
        return sorted(found, key=lambda one: (one["rule"], one["subject"], one["window_end_at"]))


def views(seconds: list[float], first: int = 0, **changes: object) -> list[dict]:
    """Return a view of another product at each of the seconds."""
    return [event(at, product_id=str(product), **changes) for product, at in enumerate(seconds, first)]


def strange(*times: str) -> list[dict]:
    """Return events at other times, enough for an alert if they counted."""
    return [one | {"txn_timestamp": each} for each in times for one in views([2] * 6, 500)]


def poisoned(name: str, events: list[dict | bytes], *alerts: tuple[int, int]) -> Run:
    """Return a case with lines that YAML cannot express; the alerts of burst for user 7 as (end, count)."""
    expected = [ExpectedAlert(rule="burst", subject="user#7", end=end, count=count) for end, count in alerts]
    return Run(f"poison: {name}", Case("burst", name, events, expected))


def all_runs() -> list[Run]:
    """Return all cases, each in the next hour."""
    no_time, far_ahead = views([3] * 6, txn_timestamp="soon"), views([3] * 6, txn_timestamp=time(86_400 * 9999))
    runs = [
        # First: later on, an event with a time of 1970 would be late and so left out in any case.
        poisoned("before all else", [*no_time, *far_ahead, *strange(*PAST[:-1])]),
        poisoned("does not count", [*views([0, 1, 2]), *POISON, *views([3, 4], 3)]),
        poisoned("does not harm", [*views([0, 1, 2]), *POISON, *views([3, 4, 5], 3)], (5, 6)),
        poisoned("the far past", [*views([0, 1, 2]), *strange(*PAST), *views([3, 4, 5], 3)], (5, 6)),
        poisoned("the far past alone", [*views([0, 1, 2]), *strange(*PAST), *views([3, 4], 3)]),
        poisoned(
            "the far future hides nothing",
            [*strange(*FUTURE), *views([0, 1, 2]), *strange(*FUTURE), *views([3, 4, 5], 3)],
            (5, 6),
        ),
        poisoned("unusual events count", [event(at) | one for at, one in enumerate(UNUSUAL)], (5, 6)),
        poisoned("a number is the same id as its digits", [event(3, product_id=id_) for id_ in (0, 1, 2, 3, 4, "4")]),
    ]
    for file in sorted(Path(__file__).with_name("cases").glob("*.yaml")):
        runs += [Run(f"{file.stem}: {one.name}", one) for one in read_cases(file, "burst", file.name)]
    for name, rule in BOOK.rules.items():
        runs += [Run(f"{name}: {one.name}", one) for one in rule.cases]
    return [in_its_hour(run, number) for number, run in enumerate(runs)]


def in_its_hour(run: Run, number: int) -> Run:
    base = MIDNIGHT + number * HOUR
    lines = [each if isinstance(each, bytes) else record(each, base) for each in run.case.events]
    return Run(run.id, run.case, base, lines)


RUNS = all_runs()
JOBS = {run.job: run.case.values for run in RUNS}
# Rules whose own cases say that the cases of other rules need not list them.
IGNORED = {name for name, rule in BOOK.rules.items() if any(one.elsewhere_ignored for one in rule.cases)}


@pytest.fixture(scope="module")
def found(detect: Detect) -> Callable[[str], list[dict]]:
    """Return a function that returns the alerts of a job with all its cases. Each job runs once."""
    results: dict[str, list[dict]] = {}

    def run(job: str) -> list[dict]:
        if job not in results:
            results[job] = detect((line for run in RUNS if run.job == job for line in run.lines), **JOBS[job])
        return results[job]

    return run


@pytest.mark.parametrize("run", RUNS, ids=attrgetter("id"))
def test_case(found: Callable[[str], list[dict]], run: Run) -> None:
    begins, ends = time(0, run.base), time(3_600, run.base)
    ignored = IGNORED - {run.case.rule}
    alerts = [one for one in found(run.job) if begins <= one["window_end_at"] < ends and one["rule"] not in ignored]
    assert alerts == run.alerts, (
        "If a new rule fires here as well, list its alerts in the case, or set `elsewhere: ignored` in its cases.yaml."
    )


@pytest.mark.parametrize("job", JOBS, ids=lambda job: "defaults" if job == "{}" else job)
def test_cases_have_all_alerts(found: Callable[[str], list[dict]], job: str) -> None:
    alerts = [one for one in found(job) if one["rule"] not in IGNORED]
    assert len(alerts) == sum(one["rule"] not in IGNORED for run in RUNS if run.job == job for one in run.alerts)
    assert len({one["alert_id"] for one in found(job)}) == len(found(job))


# What the reference does not know, so that it stays plain: that only so many events are kept.
CAPPED = "counts say at least"


@pytest.mark.parametrize(
    "run", [run for run in RUNS if run.case.name != CAPPED and "poison" not in run.id], ids=attrgetter("id")
)
def test_the_reference_says_the_same(run: Run) -> None:
    expected = [one for one in Run(run.id, run.case).alerts if one["rule"] in RULES]
    ignored = IGNORED - {run.case.rule}
    found = [one for one in alerts(run.case.events, BOOK.values(run.case.values), NOBODY) if one["rule"] not in ignored]
    assert found == expected


@pytest.mark.parametrize("rule", BOOK.rules)
def test_the_cases_of_a_rule_raise_its_alerts_and_also_none(rule: str) -> None:
    cases = BOOK.rules[rule].cases
    raised = [any(one.rule == rule for one in case.alerts) for case in cases]
    assert any(raised) and not all(raised)
