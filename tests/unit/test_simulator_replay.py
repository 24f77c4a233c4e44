"""A replay sends each event once, at its pace, with the times asked for, and counts what it did."""

import io
import json
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.sending import replay as replay_module
from simulator.sending.errors import SendError
from simulator.sending.pace import Pace
from simulator.sending.replay import Plan, Replay, Summary, TooManyMalformed
from simulator.sending.resume import Resume, ResumeError
from simulator.sending.selection import Selection
from simulator.sending.sinks import AggregatingSink, StreamSink, write_ledger
from simulator.sending.writer import Writer
from simulator.traffic import inputs as inputs_module
from simulator.traffic.bots import BurstBots
from simulator.traffic.event import COLUMNS, event_key, event_time_at, ms_of, second_of, wire_time
from simulator.traffic.generate import LookAlike
from simulator.traffic.source import Malformed, Source

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

    name = "one"
    throttled_calls = 0

    def __init__(self, clock: Clock, refuse: Callable[[int, int], bool] = lambda call, position: False) -> None:
        self.clock = clock
        self.refuse = refuse
        self.calls = 0
        self.events: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.seconds: list[float] = []

    def put_records(self, entries: Sequence[str]) -> list[dict[str, Any]]:
        self.calls += 1
        answers = []
        for position, entry in enumerate(map(json.loads, entries)):
            refused = self.refuse(self.calls, position)
            answers.append({"ErrorCode": "InternalFailure"} if refused else {"SequenceNumber": "1"})
            if not refused:
                self.events.append(json.loads(b64decode(entry["Data"])))
                self.keys.append(entry["PartitionKey"])
                self.seconds.append(self.clock.seconds)
        return answers


def plan(options: dict[str, Any]) -> Plan:
    """Takes the fields of Plan out of a replay's options, and returns it."""
    return Plan(**{one.name: options.pop(one.name) for one in fields(Plan) if one.name in options})


class Run:
    """A replay of a file with fakes around it."""

    def __init__(
        self, path: Path, clock: Clock | None = None, refuse: Any = None, limit: int | None = None, **options: Any
    ) -> None:
        self.clock = clock or Clock()
        self.stream = Stream(self.clock, *([refuse] if refuse else []))
        self.ledger, self.progress = io.StringIO(), io.StringIO()
        self.malformed: list[Malformed] = []
        writer = Writer(self.stream, write_ledger(self.ledger), sleep=self.clock.sleep, rng=Random(1))
        self.sink = StreamSink(writer, with_event_keys=True)
        self.replay = Replay(
            Source(path, limit, sort=False),
            self.sink,
            plan(options),
            malformed=self.malformed.append,
            clock=self.clock,
            progress=self.progress,
            **options,
        )

    def acknowledged(self) -> list[str]:
        return self.ledger.getvalue().split()


def write_events(folder: Path, *seconds: int | str) -> Path:
    """Write events at the given seconds; a text among them is a row as it is. Return the file's path."""
    rows = [
        second
        if isinstance(second, str)
        else f"{event_time_at(START + second)},view,{number},2,a.b,aqua,33.20,{500 + number},s"
        for number, second in enumerate(seconds)
    ]
    path = folder / "events.csv"
    path.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    return path


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    return partial(write_events, tmp_path)


@contextmanager
def scratch() -> Iterator[Callable[..., Path]]:
    """As `file`, for tests with many examples."""
    with TemporaryDirectory() as folder:
        yield partial(write_events, Path(folder))


def test_events_keep_their_order_and_go_by_user(file) -> None:
    run = Run(file(0, 5, 3))
    run.replay.run()
    assert [int(event["product_id"]) for event in run.stream.events] == [0, 1, 2]
    assert run.stream.keys == ["500", "501", "502"]


def test_own_time_is_the_events_own(file) -> None:
    run = Run(file(0, 5))
    run.replay.run()
    assert [(event["event_time"], event["txn_timestamp"]) for event in run.stream.events] == [
        ("2019-10-01T00:00:00.000Z", "2019-10-01T00:00:00.000Z"),
        ("2019-10-01T00:00:05.000Z", "2019-10-01T00:00:05.000Z"),
    ]


@pytest.mark.parametrize("speed", [None, 60.0])
def test_live_time_starts_now_and_keeps_the_gaps_at_any_speed(file, speed: float | None) -> None:
    run = Run(file(100, 105, 3700), time="now", pace=Pace(speed))
    run.replay.run()
    assert [(event["event_time"], event["txn_timestamp"]) for event in run.stream.events] == [
        ("2019-10-01T00:01:40.000Z", "2026-11-23T12:00:00.250Z"),
        ("2019-10-01T00:01:45.000Z", "2026-11-23T12:00:05.250Z"),
        ("2019-10-01T01:01:40.000Z", "2026-11-23T13:00:00.250Z"),
    ]


@pytest.mark.parametrize(("speed", "due"), [(1.0, [0, 10, 10, 3600]), (60.0, [0, 1 / 6, 1 / 6, 60])])
def test_speed_divides_the_gaps(file, speed: float, due: list[float]) -> None:
    run = Run(file(0, 10, 10, 3600), pace=Pace(speed))
    run.replay.run()
    assert run.stream.seconds == pytest.approx(due, abs=1e-6)


def test_without_a_speed_nothing_waits(file) -> None:
    run = Run(file(0, 3600))
    run.replay.run()
    assert run.stream.seconds == [0, 0]
    assert run.stream.calls == 1


def test_nothing_waits_in_the_buffer_during_a_gap(file) -> None:
    run = Run(file(0, 0, 3600), pace=Pace(1.0))
    run.replay.run()
    assert run.stream.seconds == [0, 0, pytest.approx(3600)]


def test_event_that_is_late_in_the_file_is_sent_at_once(file) -> None:
    run = Run(file(100, 0, 110), pace=Pace(1.0))
    run.replay.run()
    assert run.stream.seconds == pytest.approx([0, 0, 10])


def test_time_lost_to_throttling_is_caught_up(file) -> None:
    # Without the pacing's fixed start the third event would be as late as the retry.
    run = Run(file(0, 1, 30), pace=Pace(1.0), refuse=lambda call, position: call < 4)
    run.replay.run()
    assert run.stream.seconds[0] > 0
    assert run.stream.seconds[2] == pytest.approx(30)


def test_summary_counts_each_thing_once(file) -> None:
    bots = BurstBots(2, seed=1)
    run = Run(file(0, "bad", 5, 3600, "worse"), bots=bots, refuse=lambda call, position: (call, position) == (1, 0))
    summary = run.replay.run()
    injected = sum(label["event_count"] for label in bots.labels())
    assert injected >= 2 * 8
    assert summary.as_dict() == {
        "input_rows": 5,
        "malformed_rows": 2,
        "set_aside_rows": 0,
        "early_rows": 0,
        "injected_events": injected,
        "skipped_events": 0,
        "sent_events": 3 + injected,
        "retries": 1,
        "overtakings": 0,
        "seconds": round(run.clock.seconds, 3),
    }
    assert len(run.stream.events) == 3 + injected
    assert [(row.line_number, row.row) for row in run.malformed] == [(3, "bad"), (6, "worse")], "told once, not twice"


def test_bots_are_mixed_in_with_times_of_the_same_clock(file) -> None:
    bots = BurstBots(1, seed=1)
    run = Run(file(0, 5), bots=bots, time="now")
    run.replay.run()
    bot = [event for event in run.stream.events if event["user_id"] == bots.bots[0].user_id]
    assert {event["txn_timestamp"] for event in bot} == {"2026-11-23T12:00:06.250Z"}
    assert {event["event_time"] for event in bot} == {"2019-10-01T00:00:06.000Z"}


def labelled(run: Run, bots: BurstBots) -> None:
    """Asserts that labels and count are of what is in the stream, and of nothing else."""
    sent = Counter(event["user_id"] for event in run.stream.events if int(event["user_id"]) > 10**11)
    assert {label["user_id"]: label["event_count"] for label in bots.labels()} == sent
    assert run.replay.summary().injected_events == sent.total()
    for label in bots.labels():
        times = [event["event_time"] for event in run.stream.events if event["user_id"] == label["user_id"]]
        assert [wire_time(ms_of(label[name])) for name in ("started_at", "ended_at")] == [min(times), max(times)]


class TestLabels:
    def test_bots_outside_of_start_and_until_are_not_labelled(self, file) -> None:
        bots = BurstBots(6, seed=1)
        # The third bot, of six over a hundred rows, comes after the 50th and takes nine seconds.
        run = Run(file(*range(100)), bots=bots, selection=Selection(START + 20, START + 54))
        run.replay.run()
        labelled(run, bots)
        sent = [bot for bot in bots.bots if bot.seconds]
        assert 0 < len(sent) < 6
        assert max(second for bot in sent for second in bot.seconds) < START + 54

    def test_parts_label_their_own_bots(self, file) -> None:
        path, users = file(*range(100)), []
        for part in (1, 2):
            bots = BurstBots(9, seed=1)
            run = Run(path, bots=bots, selection=Selection(part=(part, 2)))
            run.replay.run()
            labelled(run, bots)
            users.append({label["user_id"] for label in bots.labels()})
        assert all(users)
        assert not users[0] & users[1]
        assert len(users[0] | users[1]) == 9

    def test_bots_after_an_interrupt_are_not_labelled(self, file) -> None:
        bots = BurstBots(4, seed=1)
        run = Run(file(*range(3000)), bots=bots, stopped=lambda: run.stream.calls >= 4)
        run.replay.run()
        labelled(run, bots)
        assert 0 < len(bots.labels()) < 4

    def test_what_an_earlier_replay_sent_is_labelled_by_the_one_that_goes_on(self, file, tmp_path: Path) -> None:
        path, stored = file(*range(40)), []
        with pytest.raises(Killed):
            resumable(path, tmp_path / "state", MortalStream(stored, 12, False), bots=BurstBots(4, seed=1))[0].run()
        bots, stream = BurstBots(4, seed=1), Stream(Clock())
        summary = resumable(path, tmp_path / "state", stream, bots=bots)[0].run()
        assert summary.skipped_events > 20
        sent = Counter(event["user_id"] for event in stored + stream.events if int(event["user_id"]) > 10**11)
        assert {label["user_id"]: label["event_count"] for label in bots.labels()} == sent
        assert len(sent) == 4
        assert 40 + summary.injected_events == summary.skipped_events + summary.sent_events


def test_bots_are_mixed_into_made_traffic_that_ends(tmp_path: Path) -> None:
    made = LookAlike(5000, 1, START, limit=700)
    bots = BurstBots(3, seed=1)
    run = Run(tmp_path, bots=bots)
    run.replay._source = made
    summary = run.replay.run()
    labelled(run, bots)
    assert (summary.input_rows, len(bots.labels())) == (700, 3)
    assert summary.sent_events == 700 + summary.injected_events
    shoppers = [event for event in run.stream.events if int(event["user_id"]) < 10**11]
    plain = Run(tmp_path)
    plain.replay._source = LookAlike(5000, 1, START, limit=700)
    plain.replay.run()
    assert shoppers == plain.stream.events


def test_ledger_holds_the_id_of_each_event_in_the_stream(file) -> None:
    run = Run(file(*range(700)), time="now", bots=BurstBots(3, seed=1))
    run.replay.run()
    assert run.acknowledged() == [event_key(event) for event in run.stream.events]
    assert len(set(run.acknowledged())) == len(run.stream.events) > 700


def test_error_leaves_a_ledger_and_a_summary_that_are_true(file) -> None:
    run = Run(file(*range(700)), refuse=lambda call, position: call > 1 or position >= 400)
    with pytest.raises(SendError):
        run.replay.run()
    assert run.acknowledged() == [event_key(event) for event in run.stream.events]
    assert (len(run.stream.events), run.replay.summary().sent_events, run.sink.counts.put_events) == (400, 400, 500)


def test_file_without_events_sends_nothing(file) -> None:
    run = Run(file())
    assert run.replay.run().sent_events == 0
    assert run.stream.calls == 0


class TestStopped:
    def test_during_a_gap_what_is_buffered_is_drained(self, file) -> None:
        came: list[bool] = []
        clock = Clock(on_sleep=lambda: came.append(True))
        run = Run(file(0, 0, 3600), clock, pace=Pace(1.0), stopped=lambda: bool(came))
        summary = run.replay.run()
        assert (
            len(run.stream.events) == len(run.acknowledged()) == summary.sent_events == run.sink.counts.put_events == 2
        )
        assert clock.seconds <= 0.2, "it must be heard at once"

    def test_at_full_speed_it_is_heard_after_the_batch_that_was_begun(self, file) -> None:
        came: list[bool] = []
        run = Run(
            file(*range(1700)),
            refuse=lambda call, position: call == 2 and not came.append(True),
            stopped=lambda: bool(came),
        )
        summary = run.replay.run()
        assert (
            len(run.stream.events)
            == len(run.acknowledged())
            == summary.sent_events
            == run.sink.counts.put_events
            == 1000
        )

    @pytest.mark.parametrize(
        "options",
        [{"selection": Selection(start=START + 9000)}, {"selection": Selection(part=(1, 10**9)), "loop": True}],
    )
    def test_while_nothing_is_selected_it_is_heard(self, file, options: dict[str, Any]) -> None:
        asked = count()
        run = Run(file(0, 1, 2), stopped=lambda: next(asked) >= 3, **options)
        assert run.replay.run().sent_events == 0

    def test_while_looking_for_places_for_the_bots_nothing_is_sent(self, file) -> None:
        run = Run(file(0, 1, 2), bots=BurstBots(1, seed=1), stopped=lambda: True)
        assert run.replay.run().sent_events == 0
        assert (run.stream.calls, run.sink.counts.put_events) == (0, 0)


def test_progress_tells_rate_lag_and_retries_once_a_second(file) -> None:
    run = Run(file(0, 0, 0, 0, 7), pace=Pace(2.0))
    run.replay.run()
    assert run.progress.getvalue().splitlines() == [
        "sent 4, 4/s, 0.0 s behind schedule, 0 retries",
        "sent 4, 0/s, 0.0 s behind schedule, 0 retries",
        "sent 4, 0/s, 0.0 s behind schedule, 0 retries",
    ]


def test_progress_tells_how_late_it_is(file) -> None:
    # The first event is refused until seconds have passed: the second, due after one, is that much late.
    run = Run(file(0, 1, 30), pace=Pace(1.0), refuse=lambda call, position: call < 8)
    run.replay.run()
    late_s = run.stream.seconds[0] - 1
    assert late_s > 1
    assert run.stream.seconds[1] == run.stream.seconds[0], "and not a pause later"
    first, *_, last = run.progress.getvalue().splitlines()
    assert first == f"sent 1, 0/s, {late_s:.1f} s behind schedule, 7 retries"
    assert last.endswith(", 0.0 s behind schedule, 7 retries"), "caught up"


@pytest.mark.parametrize(("rate", "due"), [(2.0, [0, 0.5, 1, 1.5]), (1000.0, [0, 0.001, 0.002, 0.003])])
def test_rate_spaces_the_events_whatever_their_gaps(file, rate: float, due: list[float]) -> None:
    run = Run(file(0, 0, 3600, 10), pace=Pace(rate=rate))
    run.replay.run()
    assert run.stream.seconds == pytest.approx(due, abs=1e-6)


class LingeringSink(StreamSink):
    linger_s = 0.1


@pytest.mark.parametrize(
    ("pace", "sent"),
    [
        (Pace(rate=20.0), [0.1] * 3 + [0.25] * 3 + [0.35] * 2),  # the last two wait for nobody
        (Pace(1.0), [0.1, 1.1, 2.1, 3.1, 4.1, 5.1, 6.1, 7.0]),
    ],
)
def test_where_the_sink_packs_events_they_wait_a_moment_for_others(file, pace: Pace, sent: list[float]) -> None:
    clock = Clock()
    stream = Stream(clock)
    sink = LingeringSink(Writer(stream, sleep=clock.sleep))
    Replay(Source(file(*range(8))), sink, Plan(pace=pace), clock=clock, progress=io.StringIO()).run()
    assert stream.seconds == pytest.approx(sent)
    assert stream.calls == len(set(sent))


def test_pace_goes_on_over_blocks(file, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs_module, "CHUNK_BYTES", 100)
    for pace in (Pace(speed=2.0), Pace(rate=1.0)):
        run = Run(file(0, 2, 4, 6, 8), pace=pace)
        run.replay.run()
        assert run.stream.seconds == pytest.approx([0, 1, 2, 3, 4])


@settings(max_examples=50, deadline=None)
@given(gaps=st.lists(st.integers(-20, 60), max_size=30), speed=st.sampled_from([0.5, 1.0, 60.0]))
def test_each_event_is_sent_when_it_is_due_or_else_after_the_one_before(gaps: list[int], speed: float) -> None:
    seconds = [1000]
    for gap in gaps:
        seconds.append(max(0, seconds[-1] + gap))
    with scratch() as write:
        run = Run(write(*seconds), pace=Pace(speed))
        run.replay.run()
    assert [int(event["product_id"]) for event in run.stream.events] == list(range(len(seconds)))
    latest = 0.0
    for second, sent in zip(seconds, run.stream.seconds, strict=True):
        latest = max(latest, (second - 1000) / speed)
        assert sent == pytest.approx(latest, abs=1e-6)


def test_events_go_by_category_where_asked(file) -> None:
    run = Run(file(0, 5), partition_key="category_id")
    run.replay.run()
    assert run.stream.keys == ["2", "2"]


def test_guests_go_by_their_session_and_the_rest_is_spread(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = ["s1,7", "s1,7", ",7", ",", ","]
    lines = [f"2019-10-01T00:00:0{second}Z,view,{row}" for second, row in enumerate(rows)]
    path.write_text("\n".join(["event_time,event_type,user_session,product_id", *lines]))
    run = Run(path)
    run.replay.run()
    first, second, third, *others = run.stream.keys
    assert (first, second, third) == ("s1", "s1", "7")
    assert len(set(others)) == 2
    assert all(run.stream.keys)


@pytest.fixture
def precise(tmp_path: Path) -> Path:
    """A file of events with milliseconds."""
    path = tmp_path / "precise.csv"
    times = ("00.250", "00.750", "02.000", "02.001")
    rows = [f"{number},view,2019-10-01T00:00:{time}Z" for number, time in enumerate(times)]
    path.write_text("\n".join(["product_id,event_type,event_time", *rows]))
    return path


class TestMilliseconds:
    def test_pace_and_shift_keep_them(self, precise: Path) -> None:
        run = Run(precise, time="now", pace=Pace(speed=0.5))
        run.replay.run()
        assert run.stream.seconds == pytest.approx([0, 1, 3.5, 3.502])
        assert [event["txn_timestamp"] for event in run.stream.events] == [
            f"2026-11-23T12:00:{time}Z" for time in ("00.250", "00.750", "02.000", "02.001")
        ]

    def test_original_times_stay(self, precise: Path) -> None:
        run = Run(precise)
        run.replay.run()
        assert all(event["event_time"] == event["txn_timestamp"] for event in run.stream.events)
        assert run.stream.events[3]["event_time"] == "2019-10-01T00:00:02.001Z"

    def test_until_is_not_sent(self, precise: Path) -> None:
        run = Run(precise, selection=Selection(START + 1, START + 2))
        assert run.replay.run().sent_events == 0
        run = Run(precise, selection=Selection(START, START + 1))
        assert run.replay.run().sent_events == 2

    def test_bots_come_in_order(self, precise: Path) -> None:
        bots = BurstBots(3, seed=1)
        run = Run(precise, bots=bots)
        run.replay.run()
        times = [event["event_time"] for event in run.stream.events]
        assert times == sorted(times)
        labelled_events = sum(label["event_count"] for label in bots.labels())
        assert len(times) == 4 + labelled_events

    def test_a_file_may_give_the_pipelines_time(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text(
            "event_time,event_type,txn_timestamp\n"
            "2019-10-01T00:00:00Z,view,2026-11-01T00:00:00.500Z\n"
            "2019-10-02T00:00:00Z,view,2026-11-01T00:00:01Z\n"
        )
        run = Run(path, pace=Pace(1.0))
        run.replay.run()
        assert run.stream.seconds == pytest.approx([0, 0.5])
        assert [event["txn_timestamp"][11:] for event in run.stream.events] == ["00:00:00.500Z", "00:00:01.000Z"]


class TestSelection:
    def test_start_is_sent_and_until_is_not(self, file) -> None:
        run = Run(file(9, 10, 5, 19, 20), selection=Selection(START + 10, START + 20))
        summary = run.replay.run()
        assert [int(event["product_id"]) for event in run.stream.events] == [1, 3]
        assert (summary.input_rows, summary.sent_events) == (5, 2)

    def test_pace_and_shift_begin_at_the_first_event_that_is_selected(self, file) -> None:
        run = Run(file(0, 100, 110), selection=Selection(start=START + 50), time="now", pace=Pace(1.0))
        run.replay.run()
        assert run.stream.seconds == pytest.approx([0, 10])
        assert run.stream.events[0]["txn_timestamp"] == "2026-11-23T12:00:00.250Z"

    @settings(max_examples=50, deadline=None)
    @given(keys=st.lists(st.text(max_size=3), max_size=60), parts=st.integers(1, 5))
    def test_parts_are_disjoint_whole_and_split_nobody(self, keys: list[str], parts: int) -> None:
        block = pl.DataFrame({"ms": range(len(keys)), "key": keys}, schema={"ms": pl.Int64, "key": pl.String})
        shares = [Selection(part=(part, parts)).in_part(block) for part in range(1, parts + 1)]
        assert pl.concat(shares).sort("ms").equals(block)
        assert all(share["ms"].is_sorted() for share in shares)
        assert sum(share["key"].n_unique() for share in shares) == block["key"].n_unique()

    def test_parts_are_of_about_the_same_size(self) -> None:
        block = pl.DataFrame({"key": [str(user) for user in range(512_000_000, 512_010_000)]})
        assert 2300 < Selection(part=(3, 4)).in_part(block).height < 2700

    def test_parts_share_shift_and_pace(self, file) -> None:
        path = file(*range(0, 100, 10))
        sent = {}
        for part in (1, 2):
            run = Run(path, selection=Selection(part=(part, 2)), time="now", pace=Pace(1.0))
            run.replay.run()
            sent[part] = [
                (event["product_id"], event["txn_timestamp"], round(at, 6))
                for event, at in zip(run.stream.events, run.stream.seconds, strict=True)
            ]
        whole = Run(path, time="now", pace=Pace(1.0))
        whole.replay.run()
        assert all(sent.values())
        assert sorted(sent[1] + sent[2]) == [
            (event["product_id"], event["txn_timestamp"], round(at, 6))
            for event, at in zip(whole.stream.events, whole.stream.seconds, strict=True)
        ]


class TestLoop:
    def looped(self, path: Path, events: int, **options: Any) -> Run:
        """Return a run that is stopped after so many events."""
        run = Run(path, loop=True, stopped=lambda: len(run.stream.events) >= events, **options)
        run.replay.run()
        return run

    def test_each_pass_comes_right_after_the_one_before(self, file) -> None:
        run = self.looped(file(10, 5, 14), 8, pace=Pace(1.0))
        assert [event["txn_timestamp"][14:19] for event in run.stream.events] == [
            "00:10", "00:05", "00:14", "00:20", "00:15", "00:24", "00:30", "00:25"
        ]  # fmt: skip
        assert run.stream.seconds == pytest.approx([0, 0, 4, 10, 10, 14, 20, 20])

    def test_gap_is_right_where_the_earliest_event_comes_in_a_later_block(
        self, file, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(inputs_module, "CHUNK_BYTES", 60)
        run = self.looped(file(10, 14, 5), 6)
        assert [event["txn_timestamp"][14:19] for event in run.stream.events] == [
            "00:10", "00:14", "00:05", "00:20", "00:24", "00:15"
        ]  # fmt: skip

    def test_parts_move_by_the_same(self, file) -> None:
        path, seconds = file(*range(20)), {}
        for part in (1, 2):
            run = self.looped(path, 25, selection=Selection(part=(part, 2)))
            for event in run.stream.events:
                seconds.setdefault(event["product_id"], []).append(event["txn_timestamp"])
        assert len(seconds) == 20
        assert all(times[1][14:19] == f"00:{20 + int(product)}" for product, times in seconds.items())

    def test_rows_are_read_and_counted_once(self, file) -> None:
        run = self.looped(file(0, "bad", 1), 4)
        summary = run.replay.summary()
        assert (summary.input_rows, summary.malformed_rows, summary.sent_events) == (3, 1, 4)

    def test_file_without_events_ends(self, file) -> None:
        assert Run(file(), loop=True).replay.run().sent_events == 0

    def test_ends_where_nothing_is_selected(self, file) -> None:
        run = Run(file(0), loop=True, selection=Selection(start=START + 1))
        assert run.replay.run().input_rows == 1


class TestTooManyMalformed:
    @pytest.mark.parametrize("with_bots", [False, True])
    def test_stops_in_the_middle(self, file, monkeypatch: pytest.MonkeyPatch, with_bots: bool) -> None:
        monkeypatch.setattr(inputs_module, "CHUNK_BYTES", 10_000)
        monkeypatch.setattr(replay_module, "MIXED_BLOCK", 500)
        rows = [*range(1000), *["bad"] * 30, *range(1000)]
        run = Run(file(*rows), max_malformed=0.01, bots=BurstBots(1, seed=1) if with_bots else None)
        with pytest.raises(TooManyMalformed) as raised:
            run.replay.run()
        summary = run.replay.summary()
        assert str(raised.value) == (
            f"{summary.malformed_rows} of the first {summary.input_rows:,} rows are malformed, allowed is a share of "
            "0.01; mend the file, or allow more with --max-malformed"
        )
        assert summary.input_rows < 1700
        assert summary.sent_events == len(run.stream.events) <= 1000

    def test_few_at_the_start_do_not_count_before_a_thousand_rows(self, file, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inputs_module, "CHUNK_BYTES", 1000)
        run = Run(file("bad", "bad", *range(1500)), max_malformed=0.01)
        assert run.replay.run().sent_events == 1500

    @pytest.mark.parametrize(("share", "fits"), [(0.5, True), (0.4, False), (0.0, False), (1.0, True)])
    def test_share_itself_is_allowed(self, file, share: float, fits: bool) -> None:
        run = Run(file(0, "bad"), max_malformed=share)
        if fits:
            assert run.replay.run().sent_events == 1
        else:
            with pytest.raises(TooManyMalformed, match="1 of the first 2 rows"):
                run.replay.run()
            assert run.stream.calls == 0

    @pytest.mark.parametrize("with_bots", [False, True])
    @pytest.mark.parametrize("chunk_bytes", [100, 1 << 22])
    def test_of_a_small_file_nothing_is_sent_before_all_of_it_is_read(
        self, file, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int, with_bots: bool
    ) -> None:
        monkeypatch.setattr(inputs_module, "CHUNK_BYTES", chunk_bytes)
        monkeypatch.setattr(replay_module, "MIXED_BLOCK", 10)
        run = Run(
            file(*range(300), *["bad"] * 600), max_malformed=0.5, bots=BurstBots(1, seed=1) if with_bots else None
        )
        with pytest.raises(TooManyMalformed) as raised:
            run.replay.run()
        assert (run.stream.calls, run.sink.counts.put_events, len(run.malformed)) == (0, 0, 600)
        assert str(raised.value) == (
            "600 of the first 900 rows are malformed, allowed is a share of 0.5; mend the file, or "
            "allow more with --max-malformed"
        )

    def test_passes_after_the_first_are_not_held_back(self, file) -> None:
        run = Run(file(0, 1, "bad"), max_malformed=0.4, loop=True, stopped=lambda: len(run.stream.events) >= 6)
        assert run.replay.run().sent_events == 6


class Killed(BaseException):
    """The end of a process."""


class MortalStream(Stream):
    """Dies in its n-th call, after what came with it was stored or before."""

    def __init__(self, stored: list[dict[str, Any]], dies_in_call: int, after: bool) -> None:
        super().__init__(Clock())
        self.stored = stored
        self.dies_in_call = dies_in_call
        self.after = after

    def put_records(self, entries: Sequence[str]) -> list[dict[str, Any]]:
        dies = self.calls + 1 == self.dies_in_call
        if dies and not self.after:
            raise Killed
        answers = super().put_records(entries)
        self.stored += [json.loads(b64decode(json.loads(entry)["Data"])) for entry in entries]
        if dies:
            raise Killed
        return answers


class SmallSink(StreamSink):
    batch_events = 4


def resumable(path: Path, state: Path, stream: Stream, **options: Any) -> tuple[Replay, Clock]:
    clock = options.pop("clock", None) or Clock()
    sink = SmallSink(Writer(stream, sleep=lambda seconds: None))
    resume = Resume(state, {"data": "a", "seed": options.pop("seed", 1)})
    return Replay(
        Source(path, sort=False), sink, plan(options), resume=resume, clock=clock, progress=io.StringIO(), **options
    ), clock


class TestResume:
    @settings(max_examples=25, deadline=None)
    @given(
        events=st.integers(0, 40),
        kills=st.lists(st.tuples(st.integers(1, 6), st.booleans()), max_size=4),
        chunk_bytes=st.integers(50, 1500),
        bots=st.integers(0, 2),
        mode=st.sampled_from(["now", "original"]),
    )
    def test_killed_replays_lose_nothing_and_repeat_at_most_a_batch_each(
        self, events: int, kills: list[tuple[int, bool]], chunk_bytes: int, bots: int, mode: str
    ) -> None:
        with scratch() as write, pytest.MonkeyPatch.context() as patch:
            patch.setattr(inputs_module, "CHUNK_BYTES", chunk_bytes)
            path = write(*range(events))
            state = path.with_name("state")
            state.unlink(missing_ok=True)
            stored: list[dict[str, Any]] = []
            deaths = 0
            for number, (call, after) in enumerate([*kills, (10**9, False)]):
                clock = Clock()
                clock.seconds = 1000.0 * number  # each begins later
                mixed_in = BurstBots(bots, seed=1) if bots and events else None
                replay, _ = resumable(
                    path, state, MortalStream(stored, call, after), time=mode, bots=mixed_in, clock=clock
                )
                try:
                    summary = replay.run()
                except Killed:
                    deaths += after
            whole = Run(path, time=mode, bots=BurstBots(bots, seed=1) if bots and events else None)
            whole.replay.run()
        expected = [json.dumps(event) for event in whole.stream.events]
        came = Counter(json.dumps(event) for event in stored)
        assert came.keys() == set(expected)
        assert came.total() - len(expected) <= 4 * deaths
        assert summary.skipped_events + summary.sent_events == len(expected)

    def test_pace_begins_where_it_goes_on(self, file, tmp_path: Path) -> None:
        path = file(0, 1, 2, 3, 3600, 3610)
        with pytest.raises(Killed):
            resumable(path, tmp_path / "state", MortalStream([], 2, False))[0].run()
        for pace in (Pace(1.0), Pace(rate=0.1)):
            state = tmp_path / "again"
            state.write_bytes((tmp_path / "state").read_bytes())
            clock = Clock()
            stream = Stream(clock)
            summary = resumable(path, state, stream, pace=pace, clock=clock)[0].run()
            assert stream.seconds == pytest.approx([0, 10])
            assert (summary.skipped_events, summary.sent_events) == (4, 2)

    def test_stopped_replay_goes_on(self, file, tmp_path: Path) -> None:
        path, first, second = file(*range(10)), Stream(Clock()), Stream(Clock())
        resumable(path, tmp_path / "state", first, stopped=lambda: first.calls >= 1)[0].run()
        resumable(path, tmp_path / "state", second)[0].run()
        assert [int(event["product_id"]) for event in first.events + second.events] == list(range(10))
        assert len(first.events) == 4

    def test_replay_that_was_complete_sends_nothing_again(self, file, tmp_path: Path) -> None:
        path = file(*range(10))
        resumable(path, tmp_path / "state", Stream(Clock()))[0].run()
        again = Stream(Clock())
        assert resumable(path, tmp_path / "state", again)[0].run().skipped_events == 10
        assert again.calls == 0

    def test_loop_goes_on_in_its_pass(self, file, tmp_path: Path) -> None:
        path, stored = file(*range(6)), []
        with pytest.raises(Killed):
            resumable(path, tmp_path / "state", MortalStream(stored, 6, False), loop=True)[0].run()
        stream = Stream(Clock())
        resumable(path, tmp_path / "state", stream, loop=True, stopped=lambda: stream.calls >= 3)[0].run()
        times = [event["txn_timestamp"][14:19] for event in stored + stream.events]
        assert times == [f"00:{second:02}" for second in range(len(times))]
        assert len(times) > 20

    def test_aggregated_progress_is_noted_about_each_second_where_the_stream_is_slow(
        self, file, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock, noted = Clock(), []
        save = Resume.save

        def note(self: Resume, acknowledged: int, shift_ms: int) -> None:
            noted.append((clock.seconds, acknowledged))
            save(self, acknowledged, shift_ms)

        class Slow:
            """Takes 1 MB/s."""

            name = "slow"
            throttled_calls = 0

            def put_records(self, entries: Sequence[str]) -> list[dict[str, Any]]:
                clock.seconds += len(entries) / 20
                return [{}] * len(entries)

        monkeypatch.setattr(Resume, "save", note)
        sink = AggregatingSink(Writer(Slow()), lambda: [(0, 2**128 - 1)], clock.monotonic)
        resume = Resume(tmp_path / "state", {})
        Replay(Source(file(*range(40_000))), sink, resume=resume, clock=clock, progress=io.StringIO()).run()
        assert noted[-1][0] > 5
        assert noted[-1][1] == 40_000
        assert max(later - earlier for (earlier, _), (later, _) in pairwise(noted)) < 1.5

    def test_other_options_are_refused_by_name(self, file, tmp_path: Path) -> None:
        resumable(file(0), tmp_path / "state", Stream(Clock()))[0].run()
        with pytest.raises(
            ResumeError, match=r"state: of a replay with other seed; repeat its options, or give another"
        ):
            resumable(file(0), tmp_path / "state", Stream(Clock()), seed=2)

    @pytest.mark.parametrize("text", ["", "no json", "[]", "5", "{}", '{"acknowledged": 1, "shift_ms": 0}'])
    def test_file_of_another_kind_is_refused(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "state").write_text(text)
        with pytest.raises(ResumeError, match=r"state: not written by --resume \(.*\); give another file"):
            Resume(tmp_path / "state", {"data": "a"})

    def test_file_that_cannot_be_written_is_told_before_anything_is_sent(self, file, tmp_path: Path) -> None:
        stream = Stream(Clock())
        with pytest.raises(FileNotFoundError):
            resumable(file(0), tmp_path / "no folder" / "state", stream)[0].run()
        assert stream.calls == 0

    def test_state_is_of_what_is_acknowledged_even_if_a_batch_fails(self, file, tmp_path: Path) -> None:
        path = file(*range(10))
        with pytest.raises(SendError):
            resumable(path, tmp_path / "state", Stream(Clock(), lambda call, position: call > 1))[0].run()
        assert Resume(tmp_path / "state", {"data": "a", "seed": 1}).acknowledged == 4


def test_summary_has_the_fields_that_programs_read() -> None:
    assert list(Summary.__dataclass_fields__) == [
        "input_rows",
        "malformed_rows",
        "set_aside_rows",
        "early_rows",
        "injected_events",
        "skipped_events",
        "sent_events",
        "retries",
        "overtakings",
        "seconds",
    ]
