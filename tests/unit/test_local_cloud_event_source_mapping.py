"""The mapping does with batches, failures and retries what AWS documents: nothing lost, nothing out of order.

https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
"""

import io
import json
import time
from base64 import b64decode
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Lock
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from local_cloud_fakes import NOON, Clock, Kinesis, Stop
from moto import mock_aws

from local_cloud.pollers.event_source_mapping import MAX_PAYLOAD_BYTES, Mapping, start_position
from local_cloud.pollers.shards import Checkpoints, Shard, list_shards

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:alert"
STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/two"
QUEUE = "arn:aws:sqs:us-east-1:123456789012:failures"
REPORTING = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
ON_FAILURE = {"DestinationConfig": {"OnFailure": {"Destination": QUEUE}}}
THROTTLED = ClientError({"Error": {"Code": "TooManyRequestsException", "Message": "Rate Exceeded"}}, "Invoke")


class FunctionError(Exception):
    """An error that a function raises. AWS replies with FunctionError."""


class Function:
    """A Lambda function behind boto3's client: `handle` gets the records and returns the reply.

    Bytes are returned as they are. A FunctionError comes from the function, any other exception from the client.
    """

    def __init__(self, handle: Callable[[list[dict]], Any] = lambda records: None) -> None:
        self.handle = handle
        self.lock = Lock()
        self.calls: list[list[str]] = []  # sequence numbers
        self.payloads: list[str] = []

    def invoke(self, FunctionName: str, Payload: str) -> dict[str, Any]:
        assert FunctionName == FUNCTION
        records = json.loads(Payload)["Records"]
        with self.lock:
            self.payloads.append(Payload)
            self.calls.append(numbers(records))
            call = len(self.calls)
        answer: dict[str, Any] = {
            "StatusCode": 200,
            "ExecutedVersion": "$LATEST",
            "ResponseMetadata": {"RequestId": f"request {call}"},
        }
        try:
            body = self.handle(records)
        except FunctionError as error:
            body = {"errorMessage": str(error)}
            answer["FunctionError"] = "Unhandled"
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        return answer | {"Payload": io.BytesIO(text)}


def numbers(records: list[dict]) -> list[str]:
    return [record["kinesis"]["sequenceNumber"] for record in records]


def failures(*sequence_numbers: Any) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": number} for number in sequence_numbers]}


def fails_at(*poison: str) -> Callable[[list[dict]], Any]:
    """A function that fails as a whole where one of these records is in the batch."""

    def handle(records: list[dict]) -> None:
        if set(poison) & set(numbers(records)):
            raise FunctionError("poison")

    return handle


def reports(*poison: str) -> Callable[[list[dict]], Any]:
    """A function that reports those of these records that are in the batch."""
    return lambda records: failures(*(number for number in poison if number in numbers(records)))


def in_turn(*answers: Any) -> Callable[[list[dict]], Any]:
    """A function that returns, or raises, these one after the other, and then nothing."""
    left = iter(answers)

    def handle(records: list[dict]) -> Any:
        answer = next(left, None)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return handle


class Queues:
    """SQS with one queue, "failures"."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def get_queue_url(self, QueueName: str) -> dict[str, str]:
        assert QueueName == "failures"
        return {"QueueUrl": "http://queues/failures"}

    def send_message(self, QueueUrl: str, MessageBody: str) -> None:
        assert QueueUrl == "http://queues/failures"
        self.messages.append(MessageBody)


class Bench:
    """A mapping over its own shard "a", and the results."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.kinesis, self.clock, self.function, self.queues = Kinesis("a"), Clock(), Function(), Queues()

    def mapping(self, **settings: Any) -> Mapping:
        required = {"UUID": "1", "EventSourceArn": STREAM, "FunctionArn": FUNCTION, "StartingPosition": "TRIM_HORIZON"}
        clients = {"kinesis": self.kinesis, "lambda": self.function, "sqs": self.queues}
        return Mapping(
            required | settings,
            self.directory,
            client=lambda name, config=None: clients[name],
            now=self.clock.now,
            sleep=self.clock.sleep,
        )

    def put(self, count: int, shard: str = "a", **record: Any) -> list[str]:
        return [self.kinesis.put(shard, **{"at": self.clock.now()} | record) for _ in range(count)]

    def deliver(self, **settings: Any) -> list[list[str]]:
        """Return the function's calls until the shard, closed by the plan or now, is done."""
        mapping = self.mapping(**settings)
        if not self.clock.plan:
            self.kinesis.close("a")
        mapping.deliver_shard(Shard(self.kinesis, "two", "a", mapping.checkpoints.get("a"), mapping.start))
        return self.function.calls

    def run_until(self, mapping: Mapping, is_done: Callable[[], bool]) -> None:
        """Run the mapping, all shards at once, until it has done that. Fail if it does not."""
        deadline = time.monotonic() + 20

        def sleep(seconds: float) -> None:
            if is_done():
                raise Stop
            assert time.monotonic() < deadline
            time.sleep(0.001)

        mapping.sleep = sleep
        mapping.run()

    @property
    def checkpoints_file(self) -> Path:
        return self.directory / "event_source_mapping" / "alert.json"

    @property
    def checkpoint(self) -> str | None:
        return Checkpoints(self.checkpoints_file).get("a")

    def letters(self) -> list[dict]:
        """Return the messages in the on-failure queue."""
        return [json.loads(message) for message in self.queues.messages]

    def given_up(self) -> list[tuple[str, str, str]]:
        """Return (condition, first record, last record) of each batch in the on-failure queue."""
        places = [(letter["requestContext"], letter["KinesisBatchInfo"]) for letter in self.letters()]
        return [
            (request["condition"], batch["startSequenceNumber"], batch["endSequenceNumber"])
            for request, batch in places
        ]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# Batches


def test_without_a_window_what_is_read_is_delivered_at_once_in_batches_of_the_size(bench: Bench) -> None:
    bench.put(5)
    assert bench.deliver(BatchSize=2) == [["1", "2"], ["3", "4"], ["5"]]
    assert bench.checkpoint == "5"


def test_a_full_batch_goes_at_once_and_the_rest_when_the_window_ends(bench: Bench) -> None:
    called_at = []
    bench.function.handle = lambda records: called_at.append(bench.clock.passed_s)
    bench.clock.at(1, lambda: bench.put(3))
    bench.clock.at(4, lambda: bench.put(2))
    bench.clock.at(4, lambda: bench.kinesis.close("a"))
    assert bench.deliver(BatchSize=2, MaximumBatchingWindowInSeconds=10) == [["1", "2"], ["3", "4"], ["5"]]
    assert called_at == [1, 4, 14]


def test_the_window_starts_with_the_first_record_that_waits(bench: Bench) -> None:
    called_at = []
    bench.function.handle = lambda records: called_at.append(bench.clock.passed_s)
    bench.clock.at(3, lambda: bench.put(1))
    bench.clock.at(7, lambda: bench.put(1))
    bench.clock.at(30, lambda: bench.put(1))
    bench.clock.at(30, lambda: bench.kinesis.close("a"))
    assert bench.deliver(BatchSize=100, MaximumBatchingWindowInSeconds=5) == [["1", "2"], ["3"]]
    assert called_at == [8, 35]


def test_records_of_more_than_6_mb_are_cut_into_calls_that_lambda_takes(bench: Bench) -> None:
    for size in (1_000_000, 1_048_576, 10, 1_048_576, 999_999, 1_048_576, 1_048_576, 3):
        bench.put(1, data=b"x" * size, key="é" * 256)
    calls = bench.deliver(BatchSize=100)
    payloads = bench.function.payloads
    assert calls == [["1", "2", "3", "4", "5"], ["6", "7", "8"]]
    assert [len(payload) <= 6 * 1024 * 1024 for payload in payloads] == [True, True]
    # None is cut for nothing.
    assert len(payloads[0]) + 1_048_576 * 4 / 3 > MAX_PAYLOAD_BYTES == 6 * 1024 * 1024


def test_small_records_are_cut_too_where_their_keys_and_wrapping_fill_a_call(bench: Bench) -> None:
    bench.put(5000, key="é" * 256)
    calls = bench.deliver(BatchSize=10_000)
    assert [number for call in calls for number in call] == [str(number) for number in range(1, 5001)]
    first, second = map(len, bench.function.payloads)
    assert 0.999 * MAX_PAYLOAD_BYTES < first <= MAX_PAYLOAD_BYTES
    assert second < MAX_PAYLOAD_BYTES


def test_a_full_payload_does_not_wait_for_the_window(bench: Bench) -> None:
    bench.clock.at(1, lambda: bench.put(5, data=b"x" * 1_048_576))
    bench.clock.at(2, lambda: bench.function.calls.append(["at second 2"]))
    bench.clock.at(2, lambda: bench.kinesis.close("a"))
    calls = bench.deliver(BatchSize=100, MaximumBatchingWindowInSeconds=300)
    assert calls == [["1", "2", "3", "4"], ["at second 2"], ["5"]]


# Answers


@pytest.mark.parametrize("answer", [None, b"", {}, {"batchItemFailures": []}, {"batchItemFailures": None}, "", []])
def test_an_empty_answer_is_a_success(bench: Bench, answer: Any) -> None:
    bench.put(2)
    bench.function.handle = lambda records: answer
    assert bench.deliver(**REPORTING, MaximumRetryAttempts=0, **ON_FAILURE) == [["1", "2"]]
    assert bench.letters() == []


def test_a_retry_begins_at_the_first_record_reported(bench: Bench) -> None:
    bench.put(5)
    bench.function.handle = in_turn(failures("5", "3"), failures("4"))
    assert bench.deliver(**REPORTING) == [["1", "2", "3", "4", "5"], ["3", "4", "5"], ["4", "5"]]
    assert bench.checkpoint == "5"


@pytest.mark.parametrize(
    "answer",
    [
        failures(""),
        failures(None),
        failures("999"),
        failures("2", "999"),
        failures(2),
        {"batchItemFailures": [{"itemIdentifer": "2"}]},
        {"batchItemFailures": ["2"]},
        {"batchItemFailures": {"itemIdentifier": "2"}},
        {"batchItemFailures": 2},
        b"<html>",
        "done",
        ["2"],
        7,
    ],
)
def test_an_answer_that_names_no_record_of_the_batch_fails_all_of_it(bench: Bench, answer: Any) -> None:
    bench.put(3)
    bench.function.handle = in_turn(answer)
    assert bench.deliver(**REPORTING) == [["1", "2", "3"], ["1", "2", "3"]]


def test_reported_failures_count_only_where_the_mapping_asks_for_them(bench: Bench) -> None:
    bench.put(2)
    bench.function.handle = reports("1")
    assert bench.deliver() == [["1", "2"]]


def test_a_function_that_fails_gets_the_whole_batch_again_after_pauses_that_grow(bench: Bench) -> None:
    bench.put(2)
    bench.function.handle = in_turn(*[FunctionError("not yet")] * 8)
    assert bench.deliver(**REPORTING) == [["1", "2"]] * 9
    assert bench.clock.sleeps[:8] == [0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5]


# Retries


def test_by_default_retries_are_endless(bench: Bench) -> None:
    bench.put(1)
    bench.function.handle = in_turn(*[FunctionError("not yet")] * 1500)
    assert len(bench.deliver(**ON_FAILURE)) == 1501
    assert bench.letters() == []


@pytest.mark.parametrize("endless", [-1, None])
def test_minus_one_and_none_are_endless(bench: Bench, endless: int | None) -> None:
    bench.put(1, at=NOON - timedelta(days=6))
    bench.function.handle = in_turn(*[FunctionError("not yet")] * 20)
    calls = bench.deliver(MaximumRetryAttempts=endless, MaximumRecordAgeInSeconds=endless, **ON_FAILURE)
    assert calls == [["1"]] * 21
    assert bench.letters() == []


def test_after_the_last_retry_the_queue_is_told_where_the_records_are_and_the_next_batch_follows(bench: Bench) -> None:
    bench.put(1, data=b"secret", at=datetime(2026, 11, 23, 11, 59, 58, 500_000, UTC))
    bench.put(1, data=b"secret", at=datetime(2026, 11, 23, 11, 59, 59, tzinfo=UTC))
    bench.put(1)
    bench.function.handle = fails_at("1")
    calls = bench.deliver(BatchSize=2, MaximumRetryAttempts=2, **ON_FAILURE)
    assert calls == [["1", "2"], ["1", "2"], ["1", "2"], ["3"]]
    assert bench.checkpoint == "3"
    assert bench.letters() == [
        {
            "requestContext": {
                "requestId": "request 3",
                "functionArn": FUNCTION,
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": 3,
            },
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
            "version": "1.0",
            "timestamp": "2026-11-23T12:00:00.600Z",
            "KinesisBatchInfo": {
                "shardId": "a",
                "startSequenceNumber": "1",
                "endSequenceNumber": "2",
                "approximateArrivalOfFirstRecord": "2026-11-23T11:59:58.500Z",
                "approximateArrivalOfLastRecord": "2026-11-23T11:59:59.000Z",
                "batchSize": 2,
                "streamArn": STREAM,
            },
        }
    ]


def test_records_before_the_first_reported_failure_are_not_given_up(bench: Bench) -> None:
    bench.put(4)
    bench.function.handle = reports("3")
    calls = bench.deliver(**REPORTING, MaximumRetryAttempts=1, **ON_FAILURE)
    assert calls == [["1", "2", "3", "4"], ["3", "4"]]
    assert bench.given_up() == [("RetryAttemptsExhausted", "3", "4")]


def test_without_a_queue_records_are_given_up_all_the_same(bench: Bench) -> None:
    bench.put(2)
    bench.function.handle = fails_at("1")
    assert bench.deliver(BatchSize=1, MaximumRetryAttempts=0) == [["1"], ["2"]]
    assert bench.checkpoint == "2"


def test_a_batch_of_a_failing_function_is_split_until_only_the_bad_record_is_given_up(bench: Bench) -> None:
    bench.put(5)
    bench.function.handle = fails_at("4")
    calls = bench.deliver(BisectBatchOnFunctionError=True, MaximumRetryAttempts=1, **ON_FAILURE)
    assert calls == [["1", "2", "3", "4", "5"], ["1", "2"], ["3", "4", "5"], ["3"], ["4", "5"], ["4"], ["4"], ["5"]]
    [letter] = bench.letters()
    # A split uses up no retry: the record alone was tried twice.
    assert letter["requestContext"]["approximateInvokeCount"] == 2
    assert letter["KinesisBatchInfo"]["startSequenceNumber"] == letter["KinesisBatchInfo"]["endSequenceNumber"] == "4"


def test_an_answer_that_cannot_be_read_splits_the_batch_too(bench: Bench) -> None:
    bench.put(2)
    bench.function.handle = in_turn(b"<html>")
    assert bench.deliver(**REPORTING, BisectBatchOnFunctionError=True) == [["1", "2"], ["1"], ["2"]]


def test_a_batch_is_split_at_the_record_reported_and_not_in_the_middle(bench: Bench) -> None:
    bench.put(4)
    bench.function.handle = in_turn(failures("2"), failures("2"))
    calls = bench.deliver(**REPORTING, BisectBatchOnFunctionError=True)
    assert calls == [["1", "2", "3", "4"], ["2", "3", "4"], ["2", "3", "4"]]


@pytest.mark.parametrize("error", [THROTTLED, EndpointConnectionError(endpoint_url="http://127.0.0.1:1")])
def test_a_function_that_cannot_be_called_uses_up_no_retry(bench: Bench, error: Exception) -> None:
    bench.put(2)
    bench.function.handle = in_turn(*[error] * 30)
    settings = {"BisectBatchOnFunctionError": True, "MaximumRetryAttempts": 0} | ON_FAILURE
    assert bench.deliver(**settings) == [["1", "2"]] * 31
    assert bench.letters() == []


# Age


def test_records_past_their_age_are_given_up_without_a_call(bench: Bench) -> None:
    for age_s in (62, 61, 60, 0):
        bench.put(1, at=NOON - timedelta(seconds=age_s))
    assert bench.deliver(MaximumRecordAgeInSeconds=60, **ON_FAILURE) == [["3", "4"]]
    assert bench.checkpoint == "4"
    [letter] = bench.letters()
    assert letter["requestContext"] == {
        "requestId": None,
        "functionArn": FUNCTION,
        "condition": "RecordAgeExceeded",
        "approximateInvokeCount": 0,
    }
    assert letter["responseContext"] is None
    assert (letter["KinesisBatchInfo"]["startSequenceNumber"], letter["KinesisBatchInfo"]["batchSize"]) == ("1", 2)


def test_records_that_grow_too_old_while_they_are_retried_are_given_up(bench: Bench) -> None:
    bench.put(1, at=NOON - timedelta(seconds=30))
    bench.put(1, at=NOON)
    bench.function.handle = fails_at("1")
    calls = bench.deliver(MaximumRecordAgeInSeconds=60, **ON_FAILURE)
    assert calls == [["1", "2"]] * 10 + [["2"]]
    [letter] = bench.letters()
    assert letter["requestContext"]["approximateInvokeCount"] == 10
    assert letter["requestContext"]["requestId"] == "request 10"
    assert bench.given_up() == [("RecordAgeExceeded", "1", "1")]


def test_records_that_grow_too_old_while_the_function_cannot_be_called_are_given_up(bench: Bench) -> None:
    bench.put(1)
    bench.function.handle = in_turn(*[THROTTLED] * 1000)
    bench.deliver(MaximumRecordAgeInSeconds=60, MaximumRetryAttempts=0, **ON_FAILURE)
    assert bench.given_up() == [("RecordAgeExceeded", "1", "1")]


# Lanes and shards


def test_a_parallel_mapping_keeps_the_order_of_each_key(bench: Bench) -> None:
    keys = [f"user {n}" for n in range(8)]
    for turn in range(12):
        for key in keys:
            bench.put(1, data=b"%d" % turn, key=key)
    seen: dict[str, list[bytes]] = defaultdict(list)

    def handle(records: list[dict]) -> Any:
        """Let the last record of each batch fail when it comes first."""
        with bench.function.lock:
            known = {(record["kinesis"]["partitionKey"], record["kinesis"]["data"]) for record in records[-1:]}
            good = records[:-1] if known - tried else records
            tried.update(known)
            for record in good:
                seen[record["kinesis"]["partitionKey"]].append(b64decode(record["kinesis"]["data"]))
        return failures(*numbers(records[len(good) :]))

    tried: set[tuple[str, str]] = set()
    bench.function.handle = handle
    bench.deliver(BatchSize=5, ParallelizationFactor=4, **REPORTING)
    assert seen == {key: [b"%d" % turn for turn in range(12)] for key in keys}
    assert bench.checkpoint == "96"


def test_a_parallel_mapping_calls_the_function_for_different_keys_at_once(bench: Bench) -> None:
    both = Barrier(2)
    bench.put(1, key="1")
    bench.put(1, key="2")
    bench.function.handle = lambda records: both.wait(timeout=10) and None
    assert sorted(bench.deliver(ParallelizationFactor=10)) == [["1"], ["2"]]


def test_children_of_a_split_are_delivered_after_all_of_their_parent_is_dealt_with(bench: Bench) -> None:
    bench.put(5)
    bench.kinesis.reshard(["a"], ["b", "c"])
    bench.put(1, "b")
    bench.put(1, "c")
    bench.kinesis.reshard(["b", "c"], ["d"])
    bench.put(1, "d")
    handled: list[str] = []
    stubborn = in_turn(*[FunctionError("not yet")] * 3)

    def handle(records: list[dict]) -> None:
        stubborn(records)
        with bench.function.lock:
            handled.extend(numbers(records))

    bench.function.handle = handle
    with pytest.raises(Stop):
        bench.run_until(bench.mapping(BatchSize=2), lambda: len(handled) == 8)
    assert handled[:5] == ["1", "2", "3", "4", "5"]
    assert set(handled[5:7]) == {"6", "7"}
    assert handled[7:] == ["8"]


def test_a_shard_whose_batch_is_retried_does_not_hold_up_another(bench: Bench) -> None:
    bench.kinesis = Kinesis("a", "b")
    bench.put(1, "a")
    bench.put(3, "b")
    bench.function.handle = fails_at("1")
    with pytest.raises(Stop):
        bench.run_until(bench.mapping(BatchSize=1), lambda: ["4"] in bench.function.calls)
    calls = [call for call in bench.function.calls if call != ["1"]]
    assert calls == [["2"], ["3"], ["4"]]


def test_what_ends_the_delivery_of_a_shard_ends_the_mapping(bench: Bench) -> None:
    class Broken(Kinesis):
        def get_records(self, ShardIterator: str, Limit: int) -> dict:
            raise RuntimeError("broken")

    bench.kinesis = Broken("a")
    with pytest.raises(RuntimeError, match="broken"):
        bench.run_until(bench.mapping(), lambda: False)


# Checkpoints


def test_a_restart_goes_on_behind_what_was_dealt_with(bench: Bench) -> None:
    class Killed(Exception):
        pass

    bench.put(2)
    bench.clock.at(1, lambda: bench.put(2))
    bench.function.handle = in_turn(None, Killed())
    with pytest.raises(Killed):
        bench.deliver(BatchSize=2)
    assert bench.function.calls == [["1", "2"], ["3", "4"]]
    assert bench.checkpoint == "2"

    bench.function = Function()
    bench.put(1)
    assert bench.deliver(BatchSize=2) == [["3", "4"], ["5"]]
    assert bench.checkpoint == "5"


def test_the_checkpoint_stays_while_any_lane_is_not_dealt_with(bench: Bench) -> None:
    class Killed(Exception):
        pass

    bench.put(1, key="1")
    bench.put(1, key="2")

    def handle(records: list[dict]) -> None:
        if numbers(records) == ["1"]:
            raise Killed

    bench.function.handle = handle
    with pytest.raises(Killed):
        bench.deliver(ParallelizationFactor=10)
    assert bench.checkpoint is None


# What is read


def test_what_boto3_reads_becomes_what_lambda_hands_over_and_what_sqs_takes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        bench.kinesis, bench.queues = boto3.client("kinesis"), boto3.client("sqs")
        url = bench.queues.create_queue(QueueName="failures")["QueueUrl"]
        bench.kinesis.create_stream(StreamName="two", ShardCount=2)
        first = list_shards(bench.kinesis, "two")[0]["HashKeyRange"]["StartingHashKey"]
        before = time.time()
        number = bench.kinesis.put_record(
            StreamName="two", Data=b"\x00\xff", PartitionKey="user 1", ExplicitHashKey=first
        )["SequenceNumber"]
        bench.function.handle = fails_at(number)
        with pytest.raises(Stop):
            bench.run_until(
                bench.mapping(MaximumRetryAttempts=0, **ON_FAILURE),
                lambda: Checkpoints(bench.checkpoints_file).get("shardId-000000000000") == number,
            )
        [letter] = bench.queues.receive_message(QueueUrl=url)["Messages"]
    assert json.loads(letter["Body"])["KinesisBatchInfo"]["startSequenceNumber"] == number
    [record] = json.loads(bench.function.payloads[0])["Records"]
    assert before - 1 < record["kinesis"].pop("approximateArrivalTimestamp") < time.time() + 1
    assert record == {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "user 1",
            "sequenceNumber": number,
            "data": "AP8=",
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"shardId-000000000000:{number}",
        "eventName": "aws:kinesis:record",
        "awsRegion": "us-east-1",
        "eventSourceARN": STREAM,
    }


@pytest.mark.parametrize(
    ("settings", "start"),
    [
        ({"StartingPosition": "TRIM_HORIZON"}, {"ShardIteratorType": "TRIM_HORIZON"}),
        (
            {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": NOON},
            {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": NOON},
        ),
        # Also after a restart and in the children of a split nothing since then is left out.
        (
            {"StartingPosition": "LATEST", "LastModified": NOON},
            {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": NOON},
        ),
    ],
)
def test_a_shard_without_a_checkpoint_is_read_from_the_starting_position(settings: dict, start: dict) -> None:
    assert start_position(settings) == start


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"FilterCriteria": {"Filters": [{"Pattern": "{}"}]}}, "FilterCriteria"),
        ({"TumblingWindowInSeconds": 30}, "TumblingWindowInSeconds"),
        ({"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::bucket"}}}, "arn:aws:s3:::bucket"),
    ],
)
def test_a_setting_that_the_poller_does_not_support_is_refused(bench: Bench, settings: dict, named: str) -> None:
    with pytest.raises(ValueError, match=f"mapping 1 has .*{named}"):
        bench.mapping(**settings)
