"""The writer keeps within the limits of PutRecords and repeats only what was refused, until all is acknowledged."""

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
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

from simulator.kinesis import MAX_ATTEMPTS, SendError, Writer, connect, explain

MIB = 1024**2


class Stream:
    """A Kinesis stream that refuses the entries that `refuse(call number, data)` names, and calls that AWS would."""

    def __init__(self, refuse: Callable[[int, bytes], bool] = lambda call, data: False) -> None:
        self.refuse = refuse
        self.calls: list[list[bytes]] = []
        self.stored: list[tuple[bytes, str]] = []

    def put_records(self, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:
        assert StreamName == "one"
        sizes = [len(entry["Data"]) + len(entry["PartitionKey"].encode()) for entry in Records]
        assert 1 <= len(Records) <= 500
        assert max(sizes) <= MIB
        assert sum(sizes) <= 5 * MIB
        self.calls.append([entry["Data"] for entry in Records])
        answers = []
        for entry in Records:
            if self.refuse(len(self.calls), entry["Data"]):
                answers.append({"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded"})
            else:
                self.stored.append((entry["Data"], entry["PartitionKey"]))
                answers.append({"SequenceNumber": "1", "ShardId": "shardId-000000000000"})
        return {"FailedRecordCount": sum("ErrorCode" in answer for answer in answers), "Records": answers}


class Longest(Random):
    """Chance that always draws the longest pause."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Ledger:
    """What was acknowledged, and how often the writer paused."""

    def __init__(self, stream: Stream, rng: Random | None = None) -> None:
        self.tags: list[Any] = []
        self.pauses: list[float] = []
        self.writer = Writer(stream, "one", self.tags.extend, sleep=self.pauses.append, rng=rng or Random(1))

    def put(self, *numbers: int) -> None:
        for number in numbers:
            self.writer.put(b"%d" % number, str(number % 7), number)


def test_batches_hold_500_records() -> None:
    stream = Stream()
    ledger = Ledger(stream)
    ledger.put(*range(1200))
    assert [len(call) for call in stream.calls] == [500, 500]
    ledger.writer.flush()
    assert [len(call) for call in stream.calls] == [500, 500, 200]
    assert stream.stored == [(b"%d" % number, str(number % 7)) for number in range(1200)]
    assert ledger.tags == list(range(1200))
    assert (ledger.writer.put_records, ledger.writer.acknowledged_records, ledger.writer.retries) == (1200, 1200, 0)
    assert ledger.pauses == []


def test_batches_hold_five_mebibytes_with_their_keys() -> None:
    stream = Stream()
    writer = Writer(stream, "one")
    for _ in range(5):
        writer.put(b"x" * (MIB - 3), "key")  # five of them fill a request to the byte
    writer.put(b"", "k")
    writer.flush()
    assert [len(call) for call in stream.calls] == [5, 1]


def test_keys_count_in_bytes_not_in_letters() -> None:
    stream = Stream()
    writer = Writer(stream, "one")
    for _ in range(5):
        writer.put(b"x" * (MIB - 512), "ж" * 256)
    writer.put(b"", "k")
    writer.flush()
    assert [len(call) for call in stream.calls] == [5, 1]


@pytest.mark.parametrize(
    ("data", "key", "reason"),
    [
        (b"x" * MIB, "k", "a record of 1048577 bytes with its key, allowed are 1048576"),
        (b"x", "k" * 257, "a partition key of 257 characters, allowed are 1 to 256"),
        (b"x", "", "a partition key of 0 characters"),
    ],
)
def test_record_that_no_stream_takes_is_refused_before_it_is_buffered(data: bytes, key: str, reason: str) -> None:
    stream = Stream()
    writer = Writer(stream, "one")
    writer.put(b"good", "k")
    with pytest.raises(ValueError, match=reason):
        writer.put(data, key)
    writer.flush()
    assert (stream.calls, writer.put_records) == ([[b"good"]], 1)


def test_flush_of_nothing_calls_nobody() -> None:
    stream = Stream()
    writer = Writer(stream, "one")
    writer.flush()
    writer.put(b"x", "k")
    writer.flush()
    writer.flush()
    assert stream.calls == [[b"x"]]


def test_only_refused_entries_are_repeated_in_their_order() -> None:
    stream = Stream(lambda call, data: (call, data) in {(1, b"1"), (1, b"3"), (1, b"4"), (2, b"3")})
    ledger = Ledger(stream)
    ledger.put(0, 1, 2, 3, 4)
    ledger.writer.flush()
    assert stream.calls == [[b"0", b"1", b"2", b"3", b"4"], [b"1", b"3", b"4"], [b"3"]]
    assert ledger.tags == [0, 2, 1, 4, 3]
    assert (ledger.writer.retries, ledger.writer.acknowledged_records) == (4, 5)
    assert len(ledger.pauses) == 2


def test_batch_is_complete_before_the_next_begins() -> None:
    stream = Stream(lambda call, data: call == 1 and data == b"499")
    ledger = Ledger(stream)
    ledger.put(*range(501))
    ledger.writer.flush()
    assert stream.calls[1:] == [[b"499"], [b"500"]]


@pytest.mark.parametrize("seed", range(5))
def test_under_random_throttling_everything_arrives_exactly_once(seed: int) -> None:
    chance = Random(seed)
    stream = Stream(lambda call, data: chance.random() < 0.3)
    ledger = Ledger(stream)
    ledger.put(*range(3000))
    ledger.writer.flush()
    assert Counter(int(data) for data, _ in stream.stored) == Counter(range(3000))
    assert Counter(ledger.tags) == Counter(range(3000))
    assert ledger.writer.acknowledged_records == 3000
    assert ledger.writer.retries == sum(map(len, stream.calls)) - 3000


def test_pauses_grow_up_to_five_seconds() -> None:
    ledger = Ledger(Stream(lambda call, data: call < 9), Longest())
    ledger.put(1)
    ledger.writer.flush()
    assert ledger.pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


def test_pauses_are_drawn_by_chance_so_that_senders_do_not_march_in_step() -> None:
    pauses = []
    for seed in (1, 2):
        ledger = Ledger(Stream(lambda call, data: call < 9), Random(seed))
        ledger.put(1)
        ledger.writer.flush()
        pauses += ledger.pauses
    assert len(set(pauses)) == 16
    assert all(0 <= pause <= 5 for pause in pauses)


def test_what_is_refused_to_the_end_is_an_error_with_the_next_step() -> None:
    stream = Stream(lambda call, data: data in (b"1", b"3"))
    ledger = Ledger(stream)
    ledger.put(0, 1, 2, 3)
    with pytest.raises(SendError) as raised:
        ledger.writer.flush()
    assert str(raised.value) == (
        "stream one refused 2 records 20 times, the first with ProvisionedThroughputExceededException: Rate exceeded; "
        "give the stream more shards or replay more slowly (--speed)"
    )
    assert len(stream.calls) == MAX_ATTEMPTS
    assert ledger.tags == [0, 2]
    assert (ledger.writer.put_records, ledger.writer.acknowledged_records) == (4, 2)


def test_call_that_fails_acknowledges_nothing() -> None:
    class Gone:
        def put_records(self, **_: Any) -> None:
            raise ReadTimeoutError(endpoint_url="http://127.0.0.1:1")

    acknowledged: list[Any] = []
    writer = Writer(Gone(), "one", acknowledged.extend)
    writer.put(b"x", "k", "tag")
    with pytest.raises(SendError, match=r"^stream one took no records: Read timeout on endpoint URL"):
        writer.flush()
    assert (acknowledged, writer.put_records, writer.acknowledged_records) == ([], 1, 0)


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
