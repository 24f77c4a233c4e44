"""Each line is counted once, as judged or with the reason why not, by its date. Totals go on after a restart."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from conftest import property_groups
from shop import event, record, records

TIMEOUT_S = 60
# Of test_totals_go_on_after_a_restart: so many events wait for the watermark when a part has been read.
WAITING = [3, 3, 1]
MILLISECOND = timedelta(milliseconds=1)

Tally = Callable[..., list[dict]]


@pytest.fixture
def tally(start: Callable[..., Any], tmp_path: Path) -> Tally:
    """Return a function that runs the deployed job over a shard that does not end: only then do the clock's steps end.

    `tally(expected number of events, lines, source={value: number}, …)` returns the tallies, with steps of a second.
    """

    def run(expected: int, lines: Iterable[bytes], **values: dict[str, str]) -> list[dict]:
        (tmp_path / "events").mkdir()
        (tmp_path / "events" / "shard").write_bytes(b"".join(line + b"\n" for line in lines))
        groups = {
            "source": {"files": (tmp_path / "events").as_uri(), "watch_ms": "200"},
            "unjudged": {"files": (tmp_path / "unjudged").as_uri()},
            **property_groups({"unjudged": {"step_s": 1}, **values}),
        }
        # A file is written with each checkpoint.
        job = start(groups, parallelism_default="1", execution_checkpointing_interval="300 ms")
        try:
            deadline = time.monotonic() + TIMEOUT_S
            while sum(by_reason(written(tmp_path / "unjudged")).values()) < expected:
                assert time.monotonic() < deadline, f"of {expected} there are {written(tmp_path / 'unjudged')}"
                time.sleep(0.3)
            time.sleep(1.5)  # for more than there should be
        finally:
            job.cancel().get()
        return written(tmp_path / "unjudged")

    return run


def written(folder: Path) -> list[dict]:
    """Return the tallies so far."""
    return [json.loads(line) for file in folder.glob("*/part-*") for line in file.read_bytes().splitlines()]


def by_reason(tallies: Iterable[dict]) -> dict[str, int]:
    """Return the number of unjudged lines by reason."""
    counts: Counter[str] = Counter()
    for one in tallies:
        if one["outcome"] != "judged":
            counts[one["outcome"]] += one["event_count"]
    return dict(counts)


def totals(tallies: Iterable[dict]) -> dict[tuple[str, str | None], int]:
    """Return the latest total of each outcome and event date, as the alert function keeps it."""
    latest = sorted(tallies, key=itemgetter("counted_at"))
    return {(one["outcome"], one["event_date"]): one["total_count"] for one in latest}


def test_each_reason_is_counted_and_judged_events_are_not(tally: Tally) -> None:
    before_1970 = [f"{at}.000Z" for at in ("1969-12-31T23:59:59", "1970-01-01T00:00:00", "0001-01-01T00:00:00")]
    lines = [
        *records(event(0, product_id=str(product)) for product in range(50)),
        *(record(event(1, txn_timestamp=at)) for at in before_1970),
        *(record(event(1, txn_timestamp=f"{year}-01-01T00:00:00.000Z")) for year in (2999, 9999)),
        *(record(event(1, txn_timestamp=at)) for at in ("soon", "2019-10-01T00:00:01", "2019-02-30T00:00:00Z")),
        record(event(1, txn_timestamp=7)),
        *(record(event(1, event_time=at)) for at in (None, "")),
        record(event(1, user_id="x" * 129)),
        record(event(1, price=-1)),
        record(event(1, brand="a\x00")),
        *(record(event(1, event_type=kind)) for kind in ("search", "refund", "?")),
        *(b"{", b"oops", b"[]", b"", b"\xff"),
        # Judged, but by the rules about products and the site only.
        *(record(event(1, user_id=user, user_session=None)) for user in (None, "", "0", "guest")),
        record(event(1, user_id="guest")),  # the session acts
        record(event(10)),
        *(record(event(7.999, user_id=user)) for user in ("7", "8")),  # 2.001 s behind
        record(event(8)),
        record(event(-86_400)),
        record(event(1, user_id=None)),
    ]
    begun_at = datetime.now(UTC)
    expected = {
        **{"undated": 3, "ahead": 2, "bad_time:txn_timestamp": 3, "wrong_type:txn_timestamp": 1},
        **{"missing:event_time": 2, "too_long:user_id": 1, "negative_price": 1, "control_character:brand": 1},
        **{"other_type": 3, "not_json": 3, "not_utf8": 1, "no_actor": 4, "late": 4},
    }
    tallies = tally(sum(expected.values()), lines)
    assert by_reason(tallies) == expected
    for one in tallies:
        assert list(one) == [
            *("outcome", "event_date", "arrival_date", "counted_at", "event_count", "total_count"),
        ]
        assert begun_at - MILLISECOND <= datetime.fromisoformat(one["counted_at"]) <= datetime.now(UTC)
    # No line is in two places. The last two events wait for the watermark: at 10 s, and nothing comes after them.
    day, day_before = "2019-10-01", "2019-09-30"
    arrived = {one["arrival_date"] for one in tallies if one["outcome"] == "not_json"}
    assert arrived <= {f"{at:%Y-%m-%d}" for at in (begun_at, datetime.now(UTC))}
    assert {key: count for key, count in totals(tallies).items() if key[1]} == {
        ("judged", day): 51,
        ("no_actor", day): 4,
        ("other_type", day): 3,
        ("late", day): 3,
        ("late", day_before): 1,
    }


def test_late_is_not_what_was_judged_before(tally: Tally) -> None:
    known = [event(0, product_id="1"), event(0, product_id="2", event_id="e"), event(0, user_id=None)]
    lines = [
        *records(known),
        record(event(30, user_id="8")),
        *records([*known, known[1] | {"price": 7}]),
        record(known[0] | {"price": 7}),  # without an id other bytes are another event
        record(event(0.001, product_id="2", event_id="e")),  # and so is another time
    ]
    tallies = tally(2, lines)
    assert by_reason(tallies) == {"late": 2}
    # What comes again was judged, too: the first three, and the four that repeat them.
    assert totals(tallies) == {("judged", "2019-10-01"): 7, ("late", "2019-10-01"): 2}


def test_how_far_ahead_is_a_value(tally: Tally) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    lines = records([event(at) for at in (40, 86_400, 900)], now)
    # With a day and more allowed, 86,400 s is no longer left out, and makes what follows late.
    assert by_reason(tally(1, lines, source={"max_ahead_s": "90000"})) == {"late": 1}


def lines_of(seconds: Iterable[float], user_id: str) -> list[bytes]:
    return list(records(event(at, user_id=user_id, product_id=f"{at}") for at in seconds))


def test_totals_go_on_after_a_restart(jvm: Any, start: Callable[..., Any], tmp_path: Path) -> None:
    """Events of three dates, in three parts, with a savepoint between them while some wait, and one at the end."""
    parts = [
        [*lines_of(range(-20, 30), "1"), *lines_of([-10], "late"), b"oops"],
        # The repeat of an event that was judged before the savepoint, and of one that waited in it.
        [*lines_of(range(28, 60), "1"), *lines_of([20, 29], "1"), b"oops", b"oops"],
        [*lines_of([90_000], "1"), *lines_of([89_000], "late")],
    ]
    (tmp_path / "events").mkdir()
    options: dict[str, str] = {}
    for number, (part, parallelism) in enumerate(zip(parts, "121", strict=True)):
        (tmp_path / "next").write_bytes(b"".join(line + b"\n" for line in part))
        (tmp_path / "next").rename(tmp_path / "events" / f"shard-{number}")
        groups = {
            "source": {"files": (tmp_path / "events").as_uri(), "watch_ms": "200"},
            "unjudged": {"files": (tmp_path / "unjudged").as_uri()},
            **property_groups({"unjudged": {"step_s": 1}}),
        }
        own = {"parallelism_default": parallelism, "execution_checkpointing_interval": "300 ms"}
        job = start(groups, state_backend_type="rocksdb", **own, **options)
        deadline = time.monotonic() + TIMEOUT_S
        while (
            sum(totals(written(tmp_path / "unjudged")).values()) < sum(map(len, parts[: number + 1])) - WAITING[number]
        ):
            assert time.monotonic() < deadline, totals(written(tmp_path / "unjudged"))
            time.sleep(0.2)
        canonical = jvm.org.apache.flink.core.execution.SavepointFormatType.CANONICAL
        is_last = number == len(parts) - 1
        savepoint = job.stopWithSavepoint(is_last, (tmp_path / "savepoints").as_uri(), canonical).get()
        options = {"execution_savepoint_path": savepoint}
    # The drain has judged the last event of all.
    assert totals(written(tmp_path / "unjudged")) == {
        ("judged", "2019-09-30"): 20,
        ("judged", "2019-10-01"): 64,
        ("judged", "2019-10-02"): 1,
        ("late", "2019-09-30"): 1,
        ("late", "2019-10-02"): 1,
        ("not_json", None): 3,
    }
