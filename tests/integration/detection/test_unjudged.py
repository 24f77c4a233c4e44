"""Unjudged events, and no others, are counted by reason and by the clock."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyflink.table import EnvironmentSettings, TableEnvironment
from shop import event, record, records

from detector import job as detector_job
from detector import rulebook

TIMEOUT_S = 60

Tally = Callable[..., list[dict]]


@pytest.fixture
def tally(cluster: dict[str, str], tmp_path: Path) -> Tally:
    """Return a function that runs the deployed job over a shard that does not end: only then do the clock's steps end.

    `tally(expected number of events, lines, source={value: number}, …)` returns the tallies, with steps of a second.
    """

    def run(expected: int, lines: Iterable[bytes], **values: dict[str, str]) -> list[dict]:
        (tmp_path / "events").mkdir()
        (tmp_path / "events" / "shard").write_bytes(b"".join(line + b"\n" for line in lines))
        files = {"connector": "filesystem", "path": (tmp_path / "events").as_uri(), "source.monitor-interval": "1 s"}
        groups = {
            "table.raw_events": files,
            "table.alerts": {"connector": "filesystem", "path": (tmp_path / "alerts").as_uri()},
            # So that tallies can be read soon after they are written.
            "table.unjudged": {
                "connector": "filesystem",
                "path": (tmp_path / "unjudged").as_uri(),
                "sink.rolling-policy.rollover-interval": "200 ms",
                "sink.rolling-policy.check-interval": "200 ms",
            },
            "values.unjudged": {"step_s": "1"},
            **{f"values.{name}": changes for name, changes in values.items()},
        }
        env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
        for option, value in cluster.items():
            env.get_config().set(option, value)
        env.get_config().set("parallelism.default", "1")
        env.get_config().set("pipeline.auto-watermark-interval", "0 ms")
        env.get_config().set("execution.checkpointing.interval", "300 ms")
        book = rulebook.read().plain()
        detector_job.create_tables(env, book, groups)
        env.execute_sql("alter table raw_events reset ('scan.shard-assigner')")
        job = detector_job.rules(env, book, groups).execute().get_job_client()
        try:
            deadline = time.monotonic() + TIMEOUT_S
            while sum(one["event_count"] for one in written(tmp_path / "unjudged")) < expected:
                assert time.monotonic() < deadline, f"of {expected} there are {written(tmp_path / 'unjudged')}"
                time.sleep(0.3)
        finally:
            job.cancel().result()
        return written(tmp_path / "unjudged")

    return run


def written(folder: Path) -> list[dict]:
    """Return the tallies so far. The file connector makes the partition key the name of a folder."""
    return [
        {"reason": file.parent.name.removeprefix("reason="), **json.loads(line)}
        for file in folder.glob("*/part-*")
        for line in file.read_bytes().splitlines()
    ]


def by_reason(tallies: Iterable[dict]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for one in tallies:
        counts[one["reason"]] += one["event_count"]
    return dict(counts)


def test_each_reason_is_counted_and_judged_events_are_not(tally: Tally) -> None:
    before_1970 = [f"{at}.000Z" for at in ("1969-12-31T23:59:59", "1970-01-01T00:00:00", "0001-01-01T00:00:00")]
    odd_times = [None, "", "soon", 7, *before_1970]
    lines = [
        record(event(0)),  # before the first watermark nothing is late
        *records(event(0, product_id=product) for product in range(50)),
        *(record(event(1, txn_timestamp=at)) for at in odd_times),
        *(record(event(1, txn_timestamp=f"{year}-01-01T00:00:00.000Z")) for year in (2999, 9999)),
        record(event(1, user_id=None)),
        record(event(1, user_id="x")),
        record(event(10)),
        record(event(7)),  # the watermark itself
        record(event(8)),
        *(record(event(-at, user_id=user)) for at in (0, 86_400) for user in (7, 8)),
        b"{",  # never becomes a row: the curate job counts it
        record(event(5, user_id=None, txn_timestamp=None)),  # one reason each
        record(event(2, user_id=None)),
    ]
    begun_at = datetime.now(UTC)
    tallies = tally(len(odd_times) + 2 + 2 + 5 + 1 + 1, lines)
    assert by_reason(tallies) == {"undated": len(odd_times) + 1, "ahead": 2, "no_user": 3, "late": 5}
    for one in tallies:
        assert list(one) == ["reason", "counted_at", "event_count"]
        assert one["counted_at"].endswith(".000Z")
        assert begun_at <= datetime.fromisoformat(one["counted_at"]) <= datetime.now(UTC)


def test_how_far_ahead_is_a_value(tally: Tally) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    lines = records([event(at) for at in (40, 86_400, 900)], now)
    # With a day and more allowed, 86,400 s is no longer left out, and makes what follows late.
    assert by_reason(tally(1, lines, source={"max_ahead_s": "90000"})) == {"late": 1}
