"""The job goes on from a savepoint with other rules and values, as if it had never stopped.

Managed Flink does the same when an application is updated. State of a rule that is gone must not be in the way: such a
snapshot would not be restored.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import NOBODY, property_groups, read_alerts
from reference import RULES, alerts
from shop import event, records
from shop import time as instant

from detector import rulebook
from detector.values import Book, resolve

TIMEOUT_S = 60
UPDATED_AT = 100.5
PLAIN = rulebook.read().plain()


def views(times: Sequence[float], first: int, **changes: object) -> list[dict]:
    """Return a view of another product at each of the seconds."""
    return [
        event(at, product_id=f"{changes.get('user_id')} {first + place}", **changes) for place, at in enumerate(times)
    ]


def carts(times: Sequence[float], first: int, **changes: object) -> list[dict]:
    return [one | {"event_type": "cart"} for one in views(times, first, **changes)]


def usual(begin: int, end: int) -> list[dict]:
    """Return something in each second, each time by somebody else."""
    return [event(at, user_id=f"usual {at}", product_id=f"usual {at}") for at in range(begin, end)]


def many(at: float, count: int) -> list[dict]:
    return [event(at, user_id=f"{at} {one}", product_id=f"{at} {one}") for one in range(count)]


def crowd(times: Sequence[float], product: str, first: int = 0) -> list[dict]:
    return [event(at, user_id=f"crowd {first + place}", product_id=product) for place, at in enumerate(times)]


def rotating(begin: float, count: int, first: int) -> list[dict]:
    """Return what so many users do from one address, each once."""
    return [
        event(begin + place / 4, user_id=f"rotating {first + place}", product_id=f"{place}", client_ip="192.0.2.17")
        for place in range(count)
    ]


def signal(at: float, number: int) -> list[dict]:
    """Return what several rules find, and after it what lets them judge it: all before it was judged then too."""
    sessions = [
        one | {"user_session": f"s{place}"} for place, one in enumerate(views([at] * 61, 0, user_id=f"signal {number}"))
    ]
    return [*sessions, event(at + 2.5, user_id="push", product_id="push")]


def slowly(begin: float, count: int) -> list[float]:
    """Return seconds far enough apart that no rule calls it a burst."""
    return [begin + 2.5 * place for place in range(count)]


# What each rule finds because of what was before the update, and what comes after it.
BEFORE = [
    *(usual(1, 101) + views([96.2, 97, 98, 99], 0, user_id="burst") + views(slowly(0, 36), 0, user_id="scraper")),
    *carts(slowly(1, 10), 0, user_id="hoarder"),
    *(event(at, user_id="rotator", user_session=f"{at}") for at in slowly(40, 10)),
    *rotating(50, 60, 0),
    *(crowd([95.5] * 30, "crowded") + views([90] * 6, 0, user_id="at it") + carts([70] * 20, 0, user_id="buyer")),
    *carts([98, 98.5, 99, 99.5], 0, user_id="echo"),
    # The watermark has not passed these when the savepoint is made.
    *views([101, 101.5, 102], 0, user_id="waiting"),
]
AFTER = [
    *(usual(103, 240) + views([103.5, 104], 4, user_id="burst") + views(slowly(110, 30), 36, user_id="scraper")),
    *carts(slowly(105, 8), 10, user_id="hoarder"),
    *(event(at, user_id="rotator", user_session=f"{at}") for at in slowly(120, 5)),
    *rotating(120, 60, 60),
    *(crowd([103.5] * 25, "crowded", 30) + crowd([150.5] * 51, "more crowded") + many(130, 501) + many(215, 501)),
    # The attack goes on: first no higher level, then one.
    *(views([106] * 5, 6, user_id="at it") + views([120] * 12, 12, user_id="at it")),
    event(105, user_id="buyer", event_type="purchase", product_id="buyer 0"),
    # An echo of what was before the update, so these are 7 actions.
    *(carts([101.4], 3, user_id="echo") + views([101.5] * 5, 0, user_id="echo")),
    *(views([103, 103.5, 104], 3, user_id="waiting") + views([170] * 5, 0, user_id="small")),
]
FIRST = sorted(BEFORE, key=lambda one: one["at"]) + signal(100.1, 1)
SECOND = sorted(AFTER, key=lambda one: one["at"]) + signal(241, 2)


class Version(NamedTuple):
    """What is deployed."""

    book: Book = PLAIN
    values: Mapping[str, Mapping[str, float]] = {}
    parallelism: int = 1

    def expected(self, events: list[dict]) -> list[dict]:
        return [one for one in alerts(events, resolve(PLAIN, self.values), NOBODY) if one["rule"] in self.book]


def without(*rules: str) -> Book:
    return {name: one for name, one in PLAIN.items() if name not in rules}


@pytest.fixture
def run(jvm: Any, start: Callable[..., Any], tmp_path: Path) -> Callable[..., list[dict]]:
    """Return a function that deploys one version after the other, each with its events, and returns all alerts."""

    def until_judged(number: int) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not any(one["subject"] == f"user#signal {number}" for one in read_alerts(tmp_path / "alerts")):
            assert time.monotonic() < deadline, f"signal {number} raised no alert"
            time.sleep(0.2)

    def deploy(*versions: tuple[Version, list[dict]]) -> list[dict]:
        (tmp_path / "events").mkdir()
        options: dict[str, str] = {}
        for number, (version, events) in enumerate(versions, 1):
            (tmp_path / "next").write_bytes(b"".join(line + b"\n" for line in records(events)))
            (tmp_path / "next").rename(tmp_path / "events" / f"shard-{number}")
            groups = {
                "source": {"files": (tmp_path / "events").as_uri(), "watch_ms": "200"},
                "alerts": {"files": (tmp_path / "alerts").as_uri()},
                **property_groups(version.values),
            }
            parallelism = str(version.parallelism)
            own = {
                "parallelism_default": parallelism,
                "execution_checkpointing_interval": "300 ms",
                "state_backend_type": "rocksdb",  # as on Managed Flink
                **options,
            }
            client = start(groups, version.book, **own)
            until_judged(number)
            canonical = jvm.org.apache.flink.core.execution.SavepointFormatType.CANONICAL
            savepoint = client.stopWithSavepoint(False, (tmp_path / "savepoints").as_uri(), canonical).get()
            options = {"execution_savepoint_path": savepoint}
        return [one for one in read_alerts(tmp_path / "alerts") if one["rule"] in RULES]

    return deploy


def split(one: list[dict], other: list[dict]) -> list[dict]:
    """Return the alerts of one list until the update, and those of the other from then on, in order."""
    before = [alert for alert in one if alert["window_end_at"] < instant(UPDATED_AT)]
    after = [alert for alert in other if alert["window_end_at"] >= instant(UPDATED_AT)]
    return sorted(before + after, key=itemgetter("rule", "subject", "window_end_at"))


NOW = Version()
OTHER_VALUES = {
    "burst": {"threshold": 4},
    "product_flood": {"threshold": 54},
    "scraper": {"window_s": 100},
    "cart_hoarder": {"window_s": 900},
    "site_surge": {"factor": 20},
}
OTHER_CONDITION = PLAIN["burst"]["sql"].replace("actions > ", "carts = 0 and actions > ", 1)


def test_the_update_divides_what_each_rule_finds() -> None:
    whole, parts = NOW.expected(FIRST + SECOND), NOW.expected(FIRST) + NOW.expected(SECOND)
    differences = [one for one in whole if one not in parts] + [one for one in parts if one not in whole]
    assert {one["rule"] for one in differences} == set(RULES)
    assert "user#waiting" in {one["subject"] for one in differences}
    other = Version(values=OTHER_VALUES).expected(FIRST + SECOND)
    differences = [one for one in split(whole, other) if one not in whole]
    differences += [one for one in whole if one not in split(whole, other)]
    assert {one["rule"] for one in differences} >= set(OTHER_VALUES) - {"cart_hoarder"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(NOW, NOW, id="nothing changes"),
        pytest.param(NOW, Version(parallelism=2), id="more subtasks"),
        pytest.param(NOW, Version(values=OTHER_VALUES), id="other values"),
        pytest.param(NOW, Version(book=without("burst")), id="without burst"),
        pytest.param(NOW, Version(book=without("site_surge", "product_flood")), id="only rules about actors"),
        pytest.param(Version(book=without("session_rotator")), NOW, id="a new rule in a known window"),
    ],
)
def test_an_update_changes_nothing_else(run: Callable[..., list[dict]], old: Version, new: Version) -> None:
    found = run((old, FIRST), (new, SECOND))
    assert found == split(old.expected(FIRST + SECOND), new.expected(FIRST + SECOND))


def test_a_surge_before_the_update_explains_what_comes_after_it(run: Callable[..., list[dict]]) -> None:
    # The surge has left its own windows by then, so only the memory of what was found can tell.
    values = {"product_flood": {"window_s": 40}}
    first = [*usual(1, 80), *many(80, 501), *usual(81, 101), *signal(100.1, 1)]
    second = [*crowd([110.5] * 51, "explained"), *crowd([129.5] * 51, "not explained"), *signal(135, 2)]
    found = run((Version(values=values), first), (Version(values=values, parallelism=2), second))
    assert found == Version(values=values).expected(first + second)
    floods = [(one["subject"], one.get("explained_by")) for one in found if one["rule"] == "product_flood"]
    assert floods == [("product#explained", "site_surge"), ("product#not explained", None)]


def test_another_condition(run: Callable[..., list[dict]]) -> None:
    book = {**PLAIN, "burst": {**PLAIN["burst"], "sql": OTHER_CONDITION}}
    found = run((NOW, FIRST), (Version(book), SECOND))
    expected = [one for one in NOW.expected(FIRST + SECOND) if one["alert_id"][:16] != "burst:user#echo:"]
    assert found == expected != NOW.expected(FIRST + SECOND)


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(("product_flood", "site_surge"), id="of other subjects"),
        pytest.param(("scraper", "cart_hoarder", "session_rotator"), id="in longer windows"),
    ],
)
def test_a_new_rule_counts_from_its_deployment(run: Callable[..., list[dict]], rules: tuple[str, ...]) -> None:
    old = Version(book=without(*rules))
    found = run((old, FIRST), (NOW, SECOND))
    known = [one for one in NOW.expected(FIRST + SECOND) if one["rule"] not in rules]
    new = [one for one in NOW.expected(SECOND) if one["rule"] in rules]
    assert found == sorted(known + new, key=itemgetter("rule", "subject", "window_end_at"))
