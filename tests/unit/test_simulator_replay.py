"""A replay sends each event once, at its pace, with the times asked for, and counts what it did."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from simulator.attack import Attack
from simulator.event import COLUMNS, event_id, event_time_at, second_of
from simulator.kinesis import SendError, Writer
from simulator.replay import Replay, write_ledger
from simulator.source import Malformed, Source

START = second_of("2019-10-01 00:00:00 UTC")
NOW_MS = second_of("2026-11-23 12:00:00 UTC") * 1000 + 250


class Clock:
    """Time that passes only in `sleep`; `on_sleep` may do something then."""

    def __init__(self, on_sleep: Callable[[], None] = lambda: None) -> None:
        self.seconds = 0.0
        self.on_sleep = on_sleep

    def now_ms(self) -> int:
        return NOW_MS + round(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.seconds += seconds
        self.on_sleep()


class Stream:
    """Keeps what came, and when; `refuse` says of a call's number and a position whether that entry is refused."""

    def __init__(self, clock: Clock, refuse: Callable[[int, int], bool] = lambda call, position: False) -> None:
        self.clock = clock
        self.refuse = refuse
        self.calls = 0
        self.events: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.seconds: list[float] = []

    def put_records(self, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:
        self.calls += 1
        answers = []
        for position, entry in enumerate(Records):
            refused = self.refuse(self.calls, position)
            answers.append({"ErrorCode": "InternalFailure"} if refused else {"SequenceNumber": "1"})
            if not refused:
                self.events.append(json.loads(entry["Data"]))
                self.keys.append(entry["PartitionKey"])
                self.seconds.append(self.clock.seconds)
        return {"Records": answers}


class Run:
    """A replay of a file with fakes around it."""

    def __init__(self, path: Path, clock: Clock | None = None, refuse: Any = None, **options: Any) -> None:
        self.clock = clock or Clock()
        self.stream = Stream(self.clock, *([refuse] if refuse else []))
        self.ledger, self.progress = io.StringIO(), io.StringIO()
        self.malformed: list[Malformed] = []
        self.writer = Writer(self.stream, "one", write_ledger(self.ledger), sleep=self.clock.sleep, rng=Random(1))
        self.replay = Replay(
            Source(path),
            self.writer,
            malformed=self.malformed.append,
            with_event_ids=True,
            clock=self.clock,
            progress=self.progress,
            **options,
        )

    def acknowledged(self) -> list[str]:
        return self.ledger.getvalue().split()


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that writes events at the given seconds; a text among them is a row as it is."""

    def write(*seconds: int | str) -> Path:
        rows = [
            second
            if isinstance(second, str)
            else f"{event_time_at(START + second)},view,{number},2,a.b,aqua,33.20,{500 + number},s"
            for number, second in enumerate(seconds)
        ]
        path = tmp_path / "events.csv"
        path.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
        return path

    return write


def test_events_keep_their_order_and_go_by_user(file) -> None:
    run = Run(file(0, 5, 3))
    run.replay.run()
    assert [event["product_id"] for event in run.stream.events] == [0, 1, 2]
    assert run.stream.keys == ["500", "501", "502"]


def test_own_time_is_the_events_own(file) -> None:
    run = Run(file(0, 5))
    run.replay.run()
    assert [(event["event_time"], event["txn_timestamp"]) for event in run.stream.events] == [
        ("2019-10-01 00:00:00 UTC", "2019-10-01T00:00:00.000Z"),
        ("2019-10-01 00:00:05 UTC", "2019-10-01T00:00:05.000Z"),
    ]


@pytest.mark.parametrize("speed", [None, 60.0])
def test_live_time_starts_now_and_keeps_the_gaps_at_any_speed(file, speed: float | None) -> None:
    run = Run(file(100, 105, 3700), time="live", speed=speed)
    run.replay.run()
    assert [(event["event_time"], event["txn_timestamp"]) for event in run.stream.events] == [
        ("2019-10-01 00:01:40 UTC", "2026-11-23T12:00:00.250Z"),
        ("2019-10-01 00:01:45 UTC", "2026-11-23T12:00:05.250Z"),
        ("2019-10-01 01:01:40 UTC", "2026-11-23T13:00:00.250Z"),
    ]


@pytest.mark.parametrize(("speed", "due"), [(1.0, [0, 10, 10, 3600]), (60.0, [0, 1 / 6, 1 / 6, 60])])
def test_speed_divides_the_gaps(file, speed: float, due: list[float]) -> None:
    run = Run(file(0, 10, 10, 3600), speed=speed)
    run.replay.run()
    assert run.stream.seconds == pytest.approx(due, abs=1e-6)


def test_without_a_speed_nothing_waits(file) -> None:
    run = Run(file(0, 3600))
    run.replay.run()
    assert run.stream.seconds == [0, 0]
    assert run.stream.calls == 1


def test_nothing_waits_in_the_buffer_during_a_gap(file) -> None:
    run = Run(file(0, 0, 3600), speed=1.0)
    run.replay.run()
    assert run.stream.seconds == [0, 0, pytest.approx(3600)]


def test_event_that_is_late_in_the_file_is_sent_at_once(file) -> None:
    run = Run(file(100, 0, 110), speed=1.0)
    run.replay.run()
    assert run.stream.seconds == pytest.approx([0, 0, 10])


def test_time_lost_to_throttling_is_caught_up(file) -> None:
    # Without the pacing's fixed start the third event would be as late as the retry.
    run = Run(file(0, 1, 30), speed=1.0, refuse=lambda call, position: call < 4)
    run.replay.run()
    assert run.stream.seconds[0] > 0
    assert run.stream.seconds[2] == pytest.approx(30)


def test_summary_counts_each_thing_once(file) -> None:
    attack = Attack(2, seed=1)
    run = Run(file(0, "bad", 5, 3600, "worse"), attack=attack, refuse=lambda call, position: (call, position) == (1, 0))
    summary = run.replay.run()
    injected = sum(label["event_count"] for label in attack.labels())
    assert injected >= 2 * 8
    assert summary.as_dict() == {
        "input_rows": 5,
        "malformed_rows": 2,
        "injected_events": injected,
        "sent_events": 3 + injected,
        "retries": 1,
        "seconds": round(run.clock.seconds, 3),
    }
    assert len(run.stream.events) == 3 + injected
    assert [(row.line_number, row.row) for row in run.malformed] == [(3, "bad"), (6, "worse")], "told once, not twice"


def test_bots_are_mixed_in_with_times_of_the_same_clock(file) -> None:
    attack = Attack(1, seed=1)
    run = Run(file(0, 5), attack=attack, time="live")
    run.replay.run()
    bot = [event for event in run.stream.events if event["user_id"] == attack.bots[0].user_id]
    assert {event["txn_timestamp"] for event in bot} == {"2026-11-23T12:00:06.250Z"}
    assert {event["event_time"] for event in bot} == {"2019-10-01 00:00:06 UTC"}


def test_ledger_holds_the_id_of_each_event_in_the_stream(file) -> None:
    run = Run(file(*range(700)), time="live", attack=Attack(3, seed=1))
    run.replay.run()
    assert run.acknowledged() == [event_id(event) for event in run.stream.events]
    assert len(set(run.acknowledged())) == len(run.stream.events) > 700


def test_error_leaves_a_ledger_and_a_summary_that_are_true(file) -> None:
    run = Run(file(*range(700)), refuse=lambda call, position: call > 1 or position >= 400)
    with pytest.raises(SendError):
        run.replay.run()
    assert run.acknowledged() == [event_id(event) for event in run.stream.events]
    assert (len(run.stream.events), run.replay.summary().sent_events, run.writer.put_records) == (400, 400, 500)


def test_file_without_events_sends_nothing(file) -> None:
    run = Run(file())
    assert run.replay.run().sent_events == 0
    assert run.stream.calls == 0


class TestStopped:
    def test_during_a_gap_what_is_buffered_is_drained(self, file) -> None:
        came: list[bool] = []
        clock = Clock(on_sleep=lambda: came.append(True))
        run = Run(file(0, 0, 3600), clock, speed=1.0, stopped=lambda: bool(came))
        summary = run.replay.run()
        assert len(run.stream.events) == len(run.acknowledged()) == summary.sent_events == run.writer.put_records == 2
        assert clock.seconds <= 0.2, "it must be heard at once"

    def test_at_full_speed_what_is_buffered_is_drained(self, file) -> None:
        asked = iter(range(10_000))
        run = Run(file(*range(700)), stopped=lambda: next(asked) >= 600)
        summary = run.replay.run()
        assert len(run.stream.events) == len(run.acknowledged()) == summary.sent_events == run.writer.put_records == 600

    def test_while_looking_for_places_for_the_bots_nothing_is_sent(self, file) -> None:
        run = Run(file(0, 1, 2), attack=Attack(1, seed=1), stopped=lambda: True)
        assert run.replay.run().sent_events == 0
        assert (run.stream.calls, run.writer.put_records) == (0, 0)


def test_progress_tells_rate_lag_and_retries_once_a_second(file) -> None:
    run = Run(file(0, 0, 0, 0, 7), speed=2.0)
    run.replay.run()
    assert run.progress.getvalue().splitlines() == [
        "sent 4, 4/s, 0.0 s behind schedule, 0 retries",
        "sent 4, 0/s, 0.0 s behind schedule, 0 retries",
        "sent 4, 0/s, 0.0 s behind schedule, 0 retries",
    ]


def test_progress_tells_how_late_it_is(file) -> None:
    # The first event is refused until seconds have passed: the second, due after one, is that much late.
    run = Run(file(0, 1, 30), speed=1.0, refuse=lambda call, position: call < 8)
    run.replay.run()
    late_s = run.stream.seconds[0] - 1
    assert late_s > 1
    assert run.stream.seconds[1] == run.stream.seconds[0], "and not a pause later"
    first, *_, last = run.progress.getvalue().splitlines()
    assert first == f"sent 1, 0/s, {late_s:.1f} s behind schedule, 7 retries"
    assert last == "sent 2, 0/s, 0.0 s behind schedule, 7 retries"
