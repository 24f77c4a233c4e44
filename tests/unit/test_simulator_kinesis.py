"""The writer keeps within the limits of PutRecords and repeats only what was refused, until all is acknowledged."""

import json
from base64 import b64decode, b64encode
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from hashlib import md5
from itertools import count
from random import Random
from typing import Any

import boto3
import polars as pl
import pytest
from aws_kinesis_agg.aggregator import RecordAggregator, messages_pb2
from aws_kinesis_agg.deaggregator import deaggregate_records
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    UnauthorizedSSOTokenError,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from simulator.sending import writer as writer_module
from simulator.sending.aggregate import MAX_AGGREGATE_BYTES, MAX_PACKED_BYTES, Aggregator
from simulator.sending.errors import THROTTLED, SendError, explain
from simulator.sending.kinesis import Stream, connect
from simulator.sending.rate import Rate
from simulator.sending.sinks import AggregatingSink, StreamSink, to_records
from simulator.sending.writer import MAX_ATTEMPTS, Records, Writer

MIB = 1024**2
LAST_HASH_KEY = 2**128 - 1


class FakeStream:
    """A Kinesis stream that refuses the entries that `refuse(call number, entry)` names."""

    name = "one"
    throttled_calls = 0

    def __init__(
        self, refuse: Callable[[int, str], bool] = lambda call, entry: False, error_code: str = THROTTLED
    ) -> None:
        self.refuse = refuse
        self.error_code = error_code
        self.calls: list[list[str]] = []
        self.stored: list[str] = []

    def put_records(self, entries: Sequence[str]) -> list[dict[str, Any]]:
        assert 1 <= len(entries) <= 500
        self.calls.append(list(entries))
        answers = []
        for entry in entries:
            if self.refuse(len(self.calls), entry):
                answers.append({"ErrorCode": self.error_code, "ErrorMessage": "Rate exceeded"})
            else:
                self.stored.append(entry)
                answers.append({"SequenceNumber": "1", "ShardId": "shardId-000000000000"})
        return answers


class Longest(Random):
    """Chance that always draws the longest pause."""

    def uniform(self, a: float, b: float) -> float:
        return b


def numbered(numbers: Sequence[int], keys: Callable[[int], str] = lambda number: str(number % 7)) -> Records:
    """Return records whose entries and tags are their numbers."""
    return Records(
        [str(number) for number in numbers], [keys(number) for number in numbers], [9] * len(numbers), tags=numbers
    )


class Ledger:
    """What was acknowledged, and how the writer paused, on a clock that passes only then."""

    def __init__(self, stream: FakeStream, rng: Random | None = None, **options: Any) -> None:
        self.tags: list[Any] = []
        self.pauses: list[float] = []
        options = {"sleep": self.pauses.append, "monotonic": lambda: sum(self.pauses)} | options
        self.writer = Writer(stream, self.tags.extend, rng=rng or Random(1), **options)

    def put(self, *numbers: int) -> None:
        self.writer.put(numbered(numbers))


def test_batches_hold_500_records() -> None:
    stream = FakeStream()
    ledger = Ledger(stream)
    ledger.put(*range(1200))
    assert [len(call) for call in stream.calls] == [500, 500, 200]
    assert stream.stored == [str(number) for number in range(1200)]
    assert ledger.tags == list(range(1200))
    assert (
        ledger.writer.counts.put_events,
        ledger.writer.counts.acknowledged_events,
        ledger.writer.counts.retries,
    ) == (1200, 1200, 0)
    assert ledger.pauses == []


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([MIB] * 5 + [1], [5, 1]),
        ([MIB] * 4 + [MIB - 1, 1], [6]),
        ([MIB] * 4 + [MIB - 1, 2], [5, 1]),
        ([MIB] * 11, [5, 5, 1]),
    ],
)
def test_batches_hold_five_mebibytes(sizes: list[int], batches: list[int]) -> None:
    stream = FakeStream()
    names = [str(number) for number in range(len(sizes))]
    Writer(stream).put(Records(names, names, sizes))
    assert [len(call) for call in stream.calls] == batches
    assert stream.stored == names


def test_record_that_no_stream_takes_is_an_error() -> None:
    stream = FakeStream()
    writer = Writer(stream)
    writer.put(Records(["0"], ["k"], [MIB]))
    with pytest.raises(ValueError, match="a record of 1048577 bytes with its key, allowed are 1048576"):
        writer.put(Records(["1"], ["k"], [MIB + 1]))
    assert (stream.stored, writer.counts.acknowledged_events) == (["0"], 1)


def test_nothing_to_put_calls_nobody() -> None:
    stream = FakeStream()
    Writer(stream).put(Records([], [], []))
    assert stream.calls == []


def test_aggregated_events_are_counted_not_their_records() -> None:
    stream = FakeStream(lambda call, entry: (call, entry) == (1, "b"))
    writer = Writer(stream, sleep=lambda seconds: None)
    writer.put(Records(["a", "b"], ["0", "1"], [9, 9], [10, 7]))
    assert (writer.counts.put_events, writer.counts.acknowledged_events, writer.counts.retries) == (17, 17, 1)


def test_only_refused_entries_are_repeated_in_their_order() -> None:
    stream = FakeStream(lambda call, entry: (call, entry) in {(1, "1"), (1, "3"), (1, "4"), (2, "3")})
    ledger = Ledger(stream)
    ledger.put(0, 1, 2, 3, 4)
    assert stream.calls == [["0", "1", "2", "3", "4"], ["1", "3", "4"], ["3"]]
    assert ledger.tags == [0, 2, 1, 4, 3]
    assert (ledger.writer.counts.retries, ledger.writer.counts.acknowledged_events) == (4, 5)
    assert len(ledger.pauses) == 2


@pytest.mark.parametrize("strict_order", [False, True])
def test_batch_is_complete_before_the_next_begins(strict_order: bool) -> None:
    stream = FakeStream(lambda call, entry: call == 1 and entry == "499")
    writer = Writer(stream, sleep=lambda seconds: None, strict_order=strict_order)
    writer.put(numbered(range(501), str))
    assert stream.calls[1:] == [["499"], ["500"]]


@pytest.mark.parametrize(
    ("refused", "overtakings"),
    [
        (set(), 0),
        ({(1, 4)}, 0),  # nobody is behind it
        ({(1, 0)}, 1),
        ({(1, 3)}, 0),  # another's events do not count
        ({(1, 0), (1, 2), (1, 4)}, 0),  # all of the key wait
        ({(1, 0), (1, 2)}, 2),
        ({(1, 0), (1, 2), (2, 0)}, 2),  # overtaken again is still one entry
        ({(1, 0), (1, 2), (1, 4), (2, 0), (2, 4)}, 1),
    ],
)
def test_refused_entries_that_later_ones_of_their_key_overtake_are_counted(
    refused: set[tuple[int, int]], overtakings: int
) -> None:
    stream = FakeStream(lambda call, entry: (call, int(entry)) in refused)
    writer = Writer(stream, sleep=lambda seconds: None)
    writer.put(numbered(range(5), lambda number: "odd" if number % 2 else "even"))
    assert writer.counts.overtakings == overtakings


def test_strict_order_puts_a_key_into_a_batch_once() -> None:
    stream = FakeStream()
    Writer(stream, strict_order=True).put(numbered(range(6), lambda number: "aabbca"[number]))
    assert stream.calls == [["0", "2", "4"], ["1", "3"], ["5"]]


@settings(max_examples=60, deadline=None)
@given(
    keys=st.lists(st.sampled_from("abcdefgh"), max_size=80),
    batch=st.integers(1, 20),
    share=st.floats(0, 0.7),
    seed=st.integers(0, 99),
    strict_order=st.booleans(),
)
def test_under_random_refusals_everything_arrives_exactly_once(
    keys: list[str], batch: int, share: float, seed: int, strict_order: bool
) -> None:
    chance = Random(seed)
    stream = FakeStream(lambda call, entry: call % 15 != 0 and chance.random() < share)
    ledger = Ledger(stream, strict_order=strict_order)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer_module, "MAX_BATCH_RECORDS", batch)
        ledger.writer.put(numbered(range(len(keys)), keys.__getitem__))
    assert sorted(map(int, stream.stored)) == sorted(ledger.tags) == list(range(len(keys)))
    assert max(map(len, stream.calls), default=0) <= batch
    assert ledger.writer.counts.acknowledged_events == ledger.writer.counts.put_events == len(keys)
    assert ledger.writer.counts.retries == sum(map(len, stream.calls)) - len(keys)
    order = defaultdict(list)
    for number in ledger.tags:
        order[keys[number]].append(number)
    if strict_order:
        assert ledger.writer.counts.overtakings == 0
        assert all(numbers == sorted(numbers) for numbers in order.values())
    overtaken = sum(
        any(later > one for later in numbers[:at]) for numbers in order.values() for at, one in enumerate(numbers)
    )
    assert ledger.writer.counts.overtakings == overtaken


def test_pauses_grow_up_to_five_seconds() -> None:
    ledger = Ledger(FakeStream(lambda call, entry: call < 9), Longest())
    ledger.put(1)
    assert ledger.pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


def test_pauses_are_drawn_by_chance_so_that_senders_do_not_march_in_step() -> None:
    pauses = []
    for seed in (1, 2):
        ledger = Ledger(FakeStream(lambda call, entry: call < 9), Random(seed))
        ledger.put(1)
        pauses += ledger.pauses
    assert len(set(pauses)) == 16
    assert all(0 <= pause <= 5 for pause in pauses)


def test_pauses_stay_short_while_something_gets_through() -> None:
    ledger = Ledger(FakeStream(lambda call, entry: int(entry) >= call, "InternalFailure"), Random(1))
    ledger.put(*range(30))
    assert len(ledger.pauses) > 20
    assert all(pause <= 0.1 for pause in ledger.pauses)


class LimitedStream:
    """A stream of four shards on a clock of its own. `place` says of an entry its shard and size in bytes.

    A shard takes 1,000 records and 1 MiB in each second, or, if `saves`, after a pause what it did not take before, for
    a second; other entries it refuses.
    """

    name = "limited"
    throttled_calls = 0
    shards = 4

    def __init__(self, place: Callable[[str], tuple[int, int]], saves: bool) -> None:
        self.place = place
        self.saves = saves
        self.seconds = self.asked_at = 0.0
        self.left = [(1000.0, float(MIB))] * self.shards
        self.sent = self.refused = self.calls = 0

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.seconds += seconds

    def put_records(self, entries: Sequence[str]) -> list[dict[str, Any]]:
        self.calls += 1
        self.seconds += 0.02  # a call takes so long
        if self.saves:
            more = self.seconds - self.asked_at
            self.left = [(min(1000, one + 1000 * more), min(MIB, size + MIB * more)) for one, size in self.left]
        elif int(self.seconds) > int(self.asked_at):
            self.left = [(1000.0, float(MIB))] * self.shards
        self.asked_at = self.seconds
        answers: list[dict[str, Any]] = []
        for shard, size in map(self.place, entries):
            records_left, bytes_left = self.left[shard]
            if is_taken := records_left >= 1 and bytes_left >= size:
                self.left[shard] = records_left - 1, bytes_left - size
            answers.append({} if is_taken else {"ErrorCode": THROTTLED, "ErrorMessage": "Rate exceeded"})
        self.sent += len(entries)
        self.refused += sum("ErrorCode" in answer for answer in answers)
        return answers


def by_shard(shards: Sequence[tuple[int, int]], keys: int) -> dict[str, int]:
    """Return the number of the shard of each key."""
    return {str(key): shards.index(shard_of(str(key), shards)) for key in range(keys)}


QUARTERS = [number * 2**126 for number in range(4)]


class TestRate:
    """A long replay into a stream that takes less than the replay could send."""

    def replayed(self, saves: bool) -> LimitedStream:
        """500,000 records a go: two minutes' worth."""
        shard = by_shard(shards_of(*QUARTERS), 5000)
        stream = LimitedStream(lambda key: (shard[key], 300), saves)
        writer = Writer(stream, sleep=stream.sleep, monotonic=lambda: stream.seconds, rng=Random(1))
        users = Random(1)
        for _ in range(960):
            keys = [str(users.randrange(5000)) for _ in range(500)]
            writer.put(Records(keys, keys, [300] * 500))
        assert writer.counts.acknowledged_events == writer.counts.put_events == 480_000
        assert writer.counts.retries == stream.refused
        return stream

    def aggregated(self, saves: bool) -> LimitedStream:
        shards = shards_of(*QUARTERS)
        starts = {str(start): number for number, start in enumerate(QUARTERS)}

        def place(entry: str) -> tuple[int, int]:
            outer = json.loads(entry)
            return starts[outer["ExplicitHashKey"]], len(outer["Data"]) * 3 // 4 + len(outer["PartitionKey"])

        stream = LimitedStream(place, saves)
        writer = Writer(stream, sleep=stream.sleep, monotonic=lambda: stream.seconds, rng=Random(1))
        sink = AggregatingSink(writer, lambda: shards, lambda: stream.seconds)
        users, events = Random(1), 0
        while events < 360_000:
            size = sink.batch_events
            sink.put(pl.Series(["x" * 1200] * size), pl.Series([str(users.randrange(5000)) for _ in range(size)]))
            events += size
        assert writer.counts.acknowledged_events == writer.counts.put_events == events
        stream.taken_share = events * 1200 / (4 * MIB * stream.seconds)
        return stream

    @pytest.mark.parametrize("saves", [True, False])
    def test_few_records_are_refused_and_the_stream_is_used(self, saves: bool) -> None:
        stream = self.replayed(saves)
        assert stream.refused < 0.01 * stream.sent
        assert 480_000 / stream.seconds > 0.9 * 4000

    @pytest.mark.parametrize("saves", [True, False])
    def test_few_aggregates_are_refused_and_the_stream_is_used(self, saves: bool) -> None:
        stream = self.aggregated(saves)
        assert stream.refused < 0.03 * stream.sent
        assert stream.taken_share > 0.85

    def test_without_it_backoff_alone_lets_many_be_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Rate, "answered", lambda *_: None)
        plain, aggregated = self.replayed(True), self.aggregated(True)
        assert plain.refused > 0.1 * plain.sent
        assert aggregated.refused > 0.5 * aggregated.sent

    def test_stream_that_never_throttles_is_never_waited_for(self) -> None:
        ledger = Ledger(FakeStream())
        for number in range(100):
            ledger.put(*range(number, number + 1200))
        assert ledger.pauses == []

    def test_refusals_for_other_reasons_do_not_slow_down(self) -> None:
        stream = FakeStream(lambda call, entry: call == 1 and entry == "7", "InternalFailure")
        ledger = Ledger(stream)
        ledger.put(*range(5000))
        assert len(ledger.pauses) == 1, "the backoff"

    def test_throttled_calls_that_boto3_repeated_count_too(self) -> None:
        class Throttled(FakeStream):
            def put_records(self, entries: Sequence[str]) -> list[dict[str, Any]]:
                self.throttled_calls += len(self.calls) == 3
                return super().put_records(entries)

        ledger = Ledger(Throttled())
        ledger.put(*range(2000))
        assert ledger.pauses == [], "2,000 were taken within the second"
        ledger.put(*range(2000))
        assert sum(ledger.pauses) > 2000 / 2000 / 0.9 - 0.5

    def test_limit_is_a_share_of_what_was_taken_of_late_and_grows_again(self) -> None:
        now = 0.0
        rate = Rate(lambda: now)
        for now in (0.1, 0.6, 1.2):
            rate.wait(0, pytest.fail)
            rate.answered(1.0, 0.8, now == 1.2)
        assert rate.request_load() == pytest.approx(0.9 * (0.8 + 0.8) * Rate.REQUEST_S), "not what is older than 1 s"
        pauses: list[float] = []
        rate.wait(0, pauses.append)
        assert pauses == pytest.approx([Rate.REQUEST_S]), "of what was sent before the limit was known"
        now = 2.0
        rate.answered(0.1, 0.0, True)
        assert rate.request_load() == pytest.approx(0.9 * 1.6 * Rate.REQUEST_S), "the same second's refusals"
        now = 12.0
        rate.wait(0, pauses.append)
        rate.answered(0.1, 0.1, False)
        assert rate.request_load() == pytest.approx(0.9 * 1.6 * 1.2 * Rate.REQUEST_S), "2 % a second"
        for now in (13.5, 15.0, 16.5):  # noqa: B007 - the clock's
            rate.answered(0.1, 0.0, True)
        assert rate.request_load() == Rate.LOWEST * Rate.REQUEST_S

    def test_bytes_count_where_they_are_the_narrower_limit(self) -> None:
        rate = Rate(lambda: 0.0)
        assert rate.load(500, 100) == 0.5
        assert rate.load(500, 2 * MIB) == 2

    def test_request_holds_what_the_stream_takes_in_a_small_part_of_a_second(self) -> None:
        stream = FakeStream(lambda call, entry: call == 3 and int(entry) >= 1200)
        ledger = Ledger(stream)
        ledger.put(*range(2000))
        # 0.9 * 1,200 * 0.15; what was refused is complete before the next batch begins.
        assert [len(call) for call in stream.calls][:6] == [500, 500, 500, 162, 138, 162]
        assert stream.stored == [str(number) for number in range(2000)]
        assert ledger.tags == list(range(2000))

    @pytest.mark.parametrize("strict_order", [False, True])
    def test_everything_arrives_once_also_where_keys_repeat(self, strict_order: bool) -> None:
        numbers = count()
        keys = [str(number % 37) for number in range(6000)]
        order = defaultdict(list)
        stream = LimitedStream(lambda entry: (int(keys[int(entry)]) % 4, 20_000), saves=True)
        writer = Writer(
            stream,
            lambda tags: [order[keys[tag]].append(tag) for tag in tags],
            strict_order=strict_order,
            sleep=stream.sleep,
            monotonic=lambda: stream.seconds,
            rng=Random(1),
        )
        while (first := next(numbers) * 1500) < 6000:
            entries = range(first, first + 1500)
            writer.put(
                Records([str(one) for one in entries], keys[first : first + 1500], [20_000] * 1500, tags=entries)
            )
        assert stream.refused > 0
        assert sorted(one for ones in order.values() for one in ones) == list(range(6000))
        if strict_order:
            assert all(ones == sorted(ones) for ones in order.values())


def test_what_is_refused_to_the_end_is_an_error_with_the_next_step() -> None:
    stream = FakeStream(lambda call, entry: entry in ("1", "3"))
    ledger = Ledger(stream)
    with pytest.raises(SendError) as raised:
        ledger.put(0, 1, 2, 3)
    assert str(raised.value) == (
        "stream one refused 2 records 20 times, the first with ProvisionedThroughputExceededException: Rate exceeded; "
        "give the stream more shards or replay more slowly (--speed)"
    )
    assert len(stream.calls) == 1 + MAX_ATTEMPTS, "the first call got something through"
    assert ledger.tags == [0, 2]
    assert (ledger.writer.counts.put_events, ledger.writer.counts.acknowledged_events) == (4, 2)


def test_call_that_fails_acknowledges_nothing() -> None:
    class Gone(FakeStream):
        def put_records(self, entries: Sequence[str]) -> list[dict[str, Any]]:
            raise SendError("gone")

    ledger = Ledger(Gone())
    with pytest.raises(SendError):
        ledger.put(1)
    assert (ledger.tags, ledger.writer.counts.put_events, ledger.writer.counts.acknowledged_events) == ([], 1, 0)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Environment of an account that does not exist."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for name, value in (("ACCESS_KEY_ID", "1"), ("SECRET_ACCESS_KEY", "1"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS"):
        monkeypatch.delenv(name, raising=False)


def entry(data: bytes, key: str) -> str:
    """Return one entry of PutRecords as JSON."""
    return to_records(pl.Series([data.decode()]), pl.Series([key])).entries[0]


class Wire:
    """What a client sends; each request is answered with the next of `answers`, the last for ever."""

    def __init__(self, client: Any, *answers: tuple[int, dict[str, Any]]) -> None:
        self.requests: list[AWSPreparedRequest] = []
        self.answers = [*answers]
        client.meta.events.register("before-send.kinesis.*", self.answer)

    def answer(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        self.requests.append(request)
        status, answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

        class Raw:
            def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
                yield json.dumps(answer).encode()

        return AWSResponse(request.url, status, {}, Raw())


ACCEPTED = (200, {"FailedRecordCount": 0, "Records": [{"SequenceNumber": "1", "ShardId": "shardId-0"}] * 2})


@pytest.mark.usefixtures("account")
class TestStream:
    def client(self, attempts: int = 1) -> Any:
        return boto3.client("kinesis", config=Config(retries={"mode": "standard", "total_max_attempts": attempts}))

    def test_records_arrive_to_the_byte(self) -> None:
        with mock_aws():
            client = self.client()
            client.create_stream(StreamName="one", ShardCount=1)
            data = ['{"brand":"7\\" кофе ☕"}', "", "x" * 200_000]
            answers = Stream(client, "one").put_records(
                to_records(pl.Series(data), pl.Series(["1", str(2**63 - 1), "-1"])).entries
            )
            shard = client.list_shards(StreamName="one")["Shards"][0]["ShardId"]
            iterator = client.get_shard_iterator(StreamName="one", ShardId=shard, ShardIteratorType="TRIM_HORIZON")
            records = client.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
        assert [(record["Data"].decode(), record["PartitionKey"]) for record in records] == [
            (data[0], "1"),
            ("", str(2**63 - 1)),
            (data[2], "-1"),
        ]
        assert [answer["SequenceNumber"] for answer in answers] == [record["SequenceNumber"] for record in records]

    def test_request_is_the_one_that_boto3_would_send(self) -> None:
        """Same values, headers of the same body, and a signature that is true of it."""
        ours, theirs = self.client(), self.client()
        wires = Wire(ours, ACCEPTED), Wire(theirs, ACCEPTED)
        Stream(ours, "one").put_records([entry("кофе".encode(), "7"), entry(b"x", "8")])
        theirs.put_records(
            StreamName="one",
            Records=[{"Data": "кофе".encode(), "PartitionKey": "7"}, {"Data": b"x", "PartitionKey": "8"}],
        )
        request, expected = (wire.requests[0] for wire in wires)
        assert json.loads(request.body) == json.loads(expected.body)
        assert request.headers["Content-Length"] == str(len(request.body))
        for name in ("Content-Type", "X-Amz-Target", "Host"):
            assert request.headers.get(name) == expected.headers.get(name)
        assert request.url == expected.url

    def test_signature_is_of_the_body_that_is_sent(self) -> None:
        signed = {}
        client = self.client()
        wire = Wire(client, ACCEPTED)
        for register in (client.meta.events.register_last,):
            register("request-created.kinesis.PutRecords", lambda request, **_: signed.update(body=request.body))
        Stream(client, "one").put_records([entry(b"x", "8")])
        assert signed["body"] == wire.requests[0].body
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        sent = wire.requests[0]
        at = sent.headers["X-Amz-Date"]
        at = at.decode() if isinstance(at, bytes) else at
        headers = {
            name: value.decode() if isinstance(value, bytes) else value
            for name, value in sent.headers.items()
            if name.lower() in ("content-type", "x-amz-target", "x-amz-date")
        }
        again = AWSRequest("POST", sent.url, headers, sent.body)
        again.context["timestamp"] = at
        signer = SigV4Auth(client._request_signer._credentials.get_frozen_credentials(), "kinesis", "us-east-1")
        text = signer.string_to_sign(again, signer.canonical_request(again))
        authorization = sent.headers["Authorization"]
        authorization = authorization.decode() if isinstance(authorization, bytes) else authorization
        assert authorization.endswith(f"Signature={signer.signature(text, again)}")

    @pytest.mark.parametrize("fault", [(500, {}), (400, {"__type": "ProvisionedThroughputExceededException"})])
    def test_call_that_fails_is_repeated_with_the_same_body(
        self, fault: tuple[int, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)
        client = self.client(attempts=8)
        wire = Wire(client, fault, fault, ACCEPTED)
        stream = Stream(client, "one")
        assert len(stream.put_records([entry(b"a", "1"), entry(b"b", "2")])) == 2
        first, *others = (request.body for request in wire.requests)
        assert others == [first, first]
        throttled = fault[1].get("__type") == THROTTLED
        assert stream.throttled_calls == 2 * throttled
        assert json.loads(first)["Records"][1] == {"Data": "Yg==", "PartitionKey": "2"}
        assert stream.calls == 1

    def test_each_call_has_its_own_body(self) -> None:
        client = self.client()
        wire = Wire(client, ACCEPTED)
        stream = Stream(client, "one")
        stream.put_records([entry(b"a", "1")])
        stream.put_records([entry(b"b", "2")])
        bodies = [json.loads(request.body) for request in wire.requests]
        assert [body["Records"][0]["PartitionKey"] for body in bodies] == ["1", "2"]
        assert {body["StreamName"] for body in bodies} == {"one"}

    def test_call_that_fails_to_the_end_is_an_error(self) -> None:
        client = self.client()
        Wire(client, (400, {"__type": "AccessDeniedException", "message": "no"}))
        with pytest.raises(SendError, match=r"^stream one took no records: .*AccessDenied.*kinesis:PutRecords on this"):
            Stream(client, "one").put_records([entry(b"a", "1")])
        with pytest.raises(SendError, match=r"^stream one tells no shards: .*the caller needs kinesis:ListShards on"):
            Stream(client, "one").shards()

    def test_connection_that_breaks_is_an_error(self) -> None:
        client = self.client()

        def broken(**_: Any) -> None:
            raise ReadTimeoutError(endpoint_url="http://127.0.0.1:1")

        client.meta.events.register("before-send.kinesis.*", broken)
        with pytest.raises(SendError, match=r"^stream one took no records: Read timeout on endpoint URL"):
            Stream(client, "one").put_records([entry(b"a", "1")])

    def test_shards_are_the_open_ones_in_order_and_cover_every_key(self) -> None:
        with mock_aws():
            client = self.client()
            client.create_stream(StreamName="one", ShardCount=2)
            client.split_shard(StreamName="one", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**126))
            shards = Stream(client, "one").shards()
        assert [first for first, _ in shards] == [0, 2**126, 2**127]
        assert [last for _, last in shards] == [2**126 - 1, 2**127 - 1, LAST_HASH_KEY]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_ID = st.characters(exclude_categories=["Cs"], exclude_characters=[*map(chr, range(32)), "\x7f"])
KEYS = st.integers(0, 2**63 - 1).map(str) | st.text(_ID, min_size=1, max_size=128)


@settings(max_examples=50, deadline=None)
@given(events=st.lists(st.tuples(TEXTS, KEYS), min_size=1, max_size=20))
def test_entries_decode_to_the_same_data_and_key(events: list[tuple[str, str]]) -> None:
    data, keys = (list(values) for values in zip(*events, strict=True))
    records = to_records(pl.Series(data), pl.Series(keys), tags=data)
    decoded = [json.loads(one) for one in records.entries]
    assert [(b64decode(one.pop("Data")).decode(), one.pop("PartitionKey")) for one in decoded] == events
    assert not any(decoded)
    assert records.keys == keys
    assert records.sizes == [len(text.encode()) + len(key.encode()) for text, key in events]
    assert (records.tags, records.counts) == (data, None)


def deaggregated(entry: str) -> list[tuple[str, str, str | None, str]]:
    """Return (data, partition key, explicit hash key, explicit hash key of the record) of each event in an entry."""
    outer = json.loads(entry)
    record = {
        "kinesis": {
            "data": outer["Data"],
            "partitionKey": outer["PartitionKey"],
            "explicitHashKey": outer["ExplicitHashKey"],
            "kinesisSchemaVersion": "1.0",
            "sequenceNumber": "1",
            "approximateArrivalTimestamp": 1,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": "1",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "a",
        "awsRegion": "r",
        "eventSourceARN": "b",
    }
    events = []
    for inner in deaggregate_records([record]):
        inner = inner["kinesis"]
        events.append(
            (
                b64decode(inner["data"]).decode(),
                inner["partitionKey"],
                inner.get("explicitHashKey"),
                outer["ExplicitHashKey"],
            )
        )
    return events


def entry_of(key: bytes, hash_key: bytes, data: bytes) -> str:
    """Return an entry as the library's aggregates make one."""
    names = {"PartitionKey": key.decode(), "ExplicitHashKey": hash_key.decode()}
    return json.dumps(names | {"Data": b64encode(data).decode()})


def shards_of(*starts: int) -> list[tuple[int, int]]:
    return list(zip(starts, [*(start - 1 for start in starts[1:]), LAST_HASH_KEY], strict=True))


def shard_of(key: str, shards: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the shard that Kinesis chooses for a partition key."""
    hashed = int.from_bytes(md5(key.encode()).digest(), "big")
    return next((first, last) for first, last in shards if first <= hashed <= last)


class TestAggregator:
    @settings(max_examples=50, deadline=None)
    @given(
        events=st.lists(st.tuples(TEXTS, KEYS, st.sampled_from([1, 1, 400, 2000])), max_size=60),
        starts=st.lists(st.integers(1, LAST_HASH_KEY), max_size=5, unique=True).map(sorted),
    )
    def test_every_event_is_in_the_shard_of_its_key_and_its_record_too(
        self, events: list[tuple[str, str, int]], starts: list[int]
    ) -> None:
        shards = shards_of(0, *starts)
        data = [f"{number} {text * times}" for number, (text, _, times) in enumerate(events)]
        keys = [key for _, key, _ in events]
        records = Aggregator(shards).pack(map(str.encode, data), keys)

        packed = [deaggregated(entry) for entry in records.entries]
        assert records.counts == [len(one) for one in packed]
        assert records.keys == [one[0][3] for one in packed]
        unpacked = [event for one in packed for event in one]
        assert Counter((text, key) for text, key, _, _ in unpacked) == Counter(zip(data, keys, strict=True))
        for _, key, hash_key, outer_hash_key in unpacked:
            first, last = shard_of(key, shards)
            assert hash_key in (None, outer_hash_key)
            assert first <= int(outer_hash_key) <= last
        for shard in shards:
            assert [text for text, key, _, _ in unpacked if shard_of(key, shards) == shard] == [
                text for text, key in zip(data, keys, strict=True) if shard_of(key, shards) == shard
            ]

    def test_events_within_an_aggregate_carry_its_hash_key(self) -> None:
        (entry,) = Aggregator(shards_of(0)).pack([b"a", b"b"], ["1", "2"]).entries
        aggregate = messages_pb2.AggregatedRecord.FromString(b64decode(json.loads(entry)["Data"])[4:-16])
        assert list(aggregate.explicit_hash_key_table) == ["0"]
        assert [record.explicit_hash_key_index for record in aggregate.records] == [0, 0]
        assert all(record.HasField("explicit_hash_key_index") for record in aggregate.records)

    def test_records_are_full_but_not_larger_than_the_kpls(self) -> None:
        data = [b"x" * 300] * 2000
        records = Aggregator(shards_of(0, 2**127)).pack(data, [str(number) for number in range(2000)])
        assert max(len(b64decode(json.loads(one)["Data"])) for one in records.entries) <= MAX_AGGREGATE_BYTES
        assert sorted(records.sizes)[2] > 0.95 * MAX_AGGREGATE_BYTES, "all but each shard's last"
        assert [len(b64decode(json.loads(one)["Data"])) for one in records.entries] == [
            size - len(json.loads(one)["PartitionKey"])
            for one, size in zip(records.entries, records.sizes, strict=True)
        ]
        assert sum(records.counts) == 2000

    @pytest.mark.parametrize(
        "size", [MAX_PACKED_BYTES, MAX_PACKED_BYTES + 1, 49_860, 49_920, MAX_AGGREGATE_BYTES, 250_000]
    )
    def test_event_that_fills_an_aggregate_or_more_arrives_in_its_place(self, size: int) -> None:
        data = ["a", "x" * size, "b"]
        records = Aggregator(shards_of(0)).pack(map(str.encode, data), ["-" + "9" * 18] * 3)
        assert [event[0] for one in records.entries for event in deaggregated(one)] == data
        assert sum(records.counts) == 3
        assert {json.loads(one)["ExplicitHashKey"] for one in records.entries} == {"0"}

    def test_is_empty_after_each_pack(self) -> None:
        aggregator = Aggregator(shards_of(0))
        aggregator.pack([b"a"], ["1"])
        assert [deaggregated(one)[0][0] for one in aggregator.pack([b"b"], ["1"]).entries] == ["b"]
        assert aggregator.pack([], []).entries == []

    @settings(max_examples=60, deadline=None)
    @given(
        events=st.lists(
            st.tuples(TEXTS, KEYS | st.integers(0, 9).map(str), st.sampled_from([1, 1, 20, 400, 2000])), max_size=80
        ),
        starts=st.lists(st.integers(1, LAST_HASH_KEY), max_size=5, unique=True).map(sorted),
    )
    def test_reads_back_as_what_the_librarys_own_aggregator_makes(
        self, events: list[tuple[str, str, int]], starts: list[int]
    ) -> None:
        shards = shards_of(0, *starts)
        data = [(text * times).encode() for text, _, times in events]
        keys = [key for _, key, _ in events]
        records = Aggregator(shards).pack(data, keys)

        for first, _ in shards:
            ours = [one for one in records.entries if json.loads(one)["ExplicitHashKey"] == str(first)]
            theirs = []
            library = RecordAggregator(MAX_AGGREGATE_BYTES)
            for event, key in zip(data, keys, strict=True):
                if shard_of(key, shards)[0] != first:
                    continue
                if len(event) > MAX_PACKED_BYTES:
                    if before := library.clear_and_get():
                        theirs.append(before.get_contents())
                    theirs.append((key.encode(), str(first).encode(), event))
                elif full := library.add_user_record(key.encode(), event, str(first).encode()):
                    theirs.append(full.get_contents())
            if rest := library.clear_and_get():
                theirs.append(rest.get_contents())
            assert [event[:3] for one in ours for event in deaggregated(one)] == [
                event[:3] for contents in theirs for event in deaggregated(entry_of(*contents))
            ]
            assert len(ours) <= len(theirs) + 1
        for one, size in zip(records.entries, records.sizes, strict=True):
            outer = json.loads(one)
            assert len(b64decode(outer["Data"])) + len(outer["PartitionKey"].encode()) == size
            if len(deaggregated(one)) > 1:
                assert len(b64decode(outer["Data"])) <= MAX_AGGREGATE_BYTES

    @pytest.mark.parametrize("size", [1, 100, 127, 128, 16_383, 16_384, 24_000])
    @pytest.mark.parametrize("keys", [1, 5, 10**9])
    def test_no_aggregate_is_larger_than_allowed(self, size: int, keys: int) -> None:
        data = [b"x" * size] * (200_000 // (size + 20))
        records = Aggregator(shards_of(0)).pack(data, [str(-(2**62) + number % keys) for number in range(len(data))])
        sizes = [len(b64decode(json.loads(one)["Data"])) for one in records.entries]
        assert len(sizes) > 1
        assert max(sizes) <= MAX_AGGREGATE_BYTES

    @pytest.mark.parametrize("letter", ["é", "😀"])
    def test_nor_with_the_longest_keys(self, letter: str) -> None:
        data = [b"x" * 300] * 600
        keys = [f"{letter * 120}{number:08}" for number in range(len(data))]
        records = Aggregator(shards_of(0)).pack(data, keys)
        sizes = [len(b64decode(json.loads(one)["Data"])) for one in records.entries]
        assert len(sizes) > 1
        assert max(sizes) <= MAX_AGGREGATE_BYTES


class TestSinks:
    def test_stream_sink_tells_the_writer_each_events_key(self) -> None:
        from simulator.traffic.event import event_key

        event = {"event_time": "2019-10-01T00:00:00.000Z", "event_type": "view", "price": 1}
        ledger = Ledger(FakeStream())
        StreamSink(ledger.writer, with_event_keys=True).put(pl.Series([json.dumps(event)]), pl.Series(["7"]))
        assert ledger.tags == [event_key(event)]

    def test_aggregating_sink_looks_for_new_shards_after_10_s(self) -> None:
        now, shards, looked = [0.0], shards_of(0), []
        stream = FakeStream()
        sink = AggregatingSink(Writer(stream), lambda: looked.append(now[0]) or shards, lambda: now[0])
        keys = [str(number) for number in range(50)]

        def hash_keys() -> set[str]:
            stream.stored.clear()
            sink.put(pl.Series(["x"] * 50), pl.Series(keys))
            return {json.loads(one)["ExplicitHashKey"] for one in stream.stored}

        assert hash_keys() == {"0"}
        shards, now[0] = shards_of(0, 2**127), 9.9
        assert hash_keys() == {"0"}
        now[0] = 10.0
        assert hash_keys() == {"0", str(2**127)}
        assert looked == [0.0, 10.0]
        assert (
            sink.counts.put_events,
            sink.counts.acknowledged_events,
            sink.counts.retries,
            sink.counts.overtakings,
        ) == (150, 150, 0, 0)

    def test_what_is_put_at_once_takes_about_a_second_where_the_stream_is_slow(self) -> None:
        now, per_s = 0.0, 1_000_000.0

        class Slow(FakeStream):
            def put_records(self, entries: Sequence[str]) -> list[dict[str, Any]]:
                nonlocal now
                now += sum(len(deaggregated(entry)) for entry in entries) / per_s
                return super().put_records(entries)

        sink = AggregatingSink(Writer(Slow()), lambda: shards_of(0), lambda: now)

        def put() -> int:
            size = sink.batch_events
            sink.put(pl.Series(["x"] * size), pl.Series(["1"] * size))
            return size

        assert [put() for _ in range(5)] == [2500, 5000, 10_000, 20_000, 20_000]
        per_s = 3000.0
        assert [put() for _ in range(4)] == [20_000, 3000, 3000, 3000]
        per_s = 10.0
        assert [put() for _ in range(3)] == [3000, 500, 500], "so few fill no aggregate"
        per_s = 1_000_000.0
        assert [put() for _ in range(3)] == [500, 1000, 2000]

    def test_aggregates_of_a_shard_stay_in_order_under_refusals_in_strict_order(self) -> None:
        chance = Random(1)
        stream = FakeStream(lambda call, entry: chance.random() < 0.4)
        sink = AggregatingSink(
            Writer(stream, strict_order=True, sleep=lambda seconds: None), lambda: shards_of(0, 2**127)
        )
        data = [f"{number:06}{'x' * 5000}" for number in range(200)]
        keys = [str(number % 9) for number in range(200)]
        sink.put(pl.Series(data), pl.Series(keys))
        arrived = defaultdict(list)
        for one in stream.stored:
            for text, key, *_ in deaggregated(one):
                arrived[key].append(text)
        assert sum(map(len, arrived.values())) == 200
        assert len(stream.stored) > 10
        assert all(texts == sorted(texts) for texts in arrived.values())


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "PutRecords")


@pytest.mark.parametrize(
    ("error", "next_step"),
    [
        (NoCredentialsError(), "log in to AWS, or use ENV=local with the stack up"),
        (PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), "log in to AWS, or use ENV=local"),
        (UnauthorizedSSOTokenError(), "log in to AWS, or use ENV=local"),
        (ProfileNotFound(profile="x"), "check AWS_PROFILE, or use ENV=local"),
        (NoRegionError(), "set AWS_DEFAULT_REGION, or use ENV=local"),
        (EndpointConnectionError(endpoint_url="http://x"), "is the stack up? `make up` starts the local one"),
        (client_error("ResourceNotFoundException"), "check --stream, the region and the account"),
        (client_error("AccessDeniedException"), "the caller needs kinesis:PutRecords on this stream"),
        (client_error("ExpiredTokenException"), "log in to AWS, or use ENV=local"),
        (client_error("UnrecognizedClientException"), "log in to AWS, or use ENV=local"),
        (
            client_error("ProvisionedThroughputExceededException"),
            "give the stream more shards or replay more slowly (--speed)",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_error_names_the_next_step(error: Exception, next_step: str) -> None:
    assert f"; {next_step}" in explain(error)


def test_error_of_several_lines_becomes_one() -> None:
    assert explain(ParamValidationError(report="first\nsecond")) == "Parameter validation failed: first second"


def test_unknown_error_is_shown_as_it_is() -> None:
    assert explain(client_error("Odd")) == "An error occurred (Odd) when calling the PutRecords operation: no"


def test_client_without_a_region_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(SendError, match="set AWS_DEFAULT_REGION, or use ENV=local with the stack up"):
        connect()


def test_client_of_an_endpoint_that_is_no_url_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nowhere")
    with pytest.raises(SendError, match="Invalid endpoint: nowhere"):
        connect()


def test_client_comes_from_the_factory_that_is_given() -> None:
    asked = []
    assert connect(lambda service, **options: asked.append((service, *options)) or "client") == "client"
    assert asked == [("kinesis", "config")]
