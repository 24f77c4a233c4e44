"""Records → a Kinesis stream: in batches, in order, repeating only what was refused, until all is acknowledged."""

import json
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
)

# https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html: at most 500 records a request
MAX_BATCH_RECORDS = 500
# https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html: a request's records and
# keys. AWS has raised it since; this much is taken everywhere.
MAX_BATCH_BYTES = 5 * 1024**2
# https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html: a record, the default of a stream
MAX_RECORD_BYTES = 1024**2

# https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/: "full jitter". With these a
# shard may refuse everything for about 40 s before the replay gives up.
MAX_ATTEMPTS = 20
BACKOFF_BASE_S = 0.1
BACKOFF_CAP_S = 5.0

# https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html: what a shard takes in a second. How many
# shards there are, how evenly the keys fall on them and who else writes, only the stream's answers tell.
SHARD_RECORDS_PER_S = 1_000
SHARD_BYTES_PER_S = 1024**2
THROTTLED = "ProvisionedThroughputExceededException"


class SendError(RuntimeError):
    """Records that the stream did not acknowledge; the message says why and what to do."""


class Records:
    """Records to be put: parallel lists. Each entry is one of PutRecords's request, as JSON."""

    def __init__(
        self,
        entries: Sequence[str],
        keys: Sequence[str],
        sizes: Sequence[int],
        counts: Sequence[int] | None = None,
        tags: Sequence[Any] | None = None,
    ) -> None:
        self.entries = entries
        self.keys = keys  # partition keys: who shares one must stay in order
        self.sizes = sizes  # bytes of data and key, which Kinesis limits
        self.counts = counts  # events in each, where they are aggregated
        self.tags = tags

    def events(self, positions: Iterable[int]) -> int:
        """How many events the records at these positions hold."""
        return sum(self.counts[i] for i in positions) if self.counts else sum(1 for _ in positions)


class Rate:
    """How fast records may be sent: as fast as they come until the stream first throttles, then as it proves to bear.

    Additive-increase, multiplicative-decrease, as TCP does it. The load is counted in shards: what one takes in a
    second, of records or bytes, is 1. Throttled, the limit becomes KEPT_SHARE of what was accepted in the last second;
    it grows by GROWTH_PER_S each second until it is throttled again. The limits are per second, so one second's
    refusals are one sign, however many entries they hit.
    """

    KEPT_SHARE = 0.9
    GROWTH_PER_S = 0.02
    WINDOW_S = 1.0
    # A stream that refuses whatever the rate is must not bring us to a stop. Half a shard: two senders can share the
    # smallest stream.
    LOWEST = 0.5
    # A request holds no more than the limit allows in this time: what comes at once must fit into a shard's second.
    REQUEST_S = 0.15

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._limit: float | None = None
        self._accepted: deque[tuple[float, float]] = deque()
        self._sent_at = self._grown_at = self._throttled_at = float("-inf")
        self._free_at = 0.0

    def load(self, records: int, size: int) -> float:
        """Shards' seconds that so many records, of so many bytes together, take."""
        return max(records / SHARD_RECORDS_PER_S, size / SHARD_BYTES_PER_S)

    def request_load(self) -> float:
        """The most that the next request may hold, but for a single record."""
        return float("inf") if self._limit is None else self._limit * self.REQUEST_S

    def wait(self, pause_s: float, sleep: Callable[[float], None]) -> None:
        """Returns when the next request may be sent, and not before the pause is over."""
        if self._limit is not None:
            pause_s = max(pause_s, self._free_at - self._monotonic())
        if pause_s > 0:
            sleep(pause_s)
        self._sent_at = self._monotonic()

    def answered(self, sent_load: float, accepted_load: float, is_throttled: bool) -> None:
        """Learns from the answer to a request."""
        now = self._monotonic()
        self._accepted.append((now, accepted_load))
        while self._accepted[0][0] <= now - self.WINDOW_S:
            self._accepted.popleft()
        if is_throttled and now - self._throttled_at >= self.WINDOW_S:
            borne = self.KEPT_SHARE * sum(load for _, load in self._accepted)
            self._limit = max(self.LOWEST, borne if self._limit is None else min(self._limit, borne))
            self._throttled_at = self._grown_at = now
        if self._limit is not None:
            if not is_throttled:
                self._limit *= 1 + self.GROWTH_PER_S * (now - self._grown_at)
            self._grown_at = now
            # Of a request made before the limit was known: no more than one of now.
            self._free_at = self._sent_at + min(sent_load / self._limit, self.REQUEST_S)


class Stream:
    """A Kinesis stream that takes entries as JSON.

    boto3 encodes and checks each entry in 20 µs and more; ours are encoded a block at a time. So boto3 gets one entry
    to check, and just before it signs the request, its body is exchanged (docs/adr/0007). Credentials, retries of whole
    calls, endpoints and answers stay boto3's.
    """

    def __init__(self, client: Any, name: str) -> None:
        self.name = name
        self.calls = 0
        self.throttled_calls = 0  # of which boto3 repeats all but the last
        self._client = client
        self._body = b""
        client.meta.events.register("before-call.kinesis.PutRecords", self._exchange_body)
        client.meta.events.register("response-received.kinesis.PutRecords", self._count_throttled)

    def put_records(self, entries: Sequence[str]) -> list[dict[str, Any]]:
        """The answer to each entry. Raises SendError."""
        self._body = f'{{"StreamName":{json.dumps(self.name)},"Records":[{",".join(entries)}]}}'.encode()
        self.calls += 1
        try:
            one = [{"Data": b"", "PartitionKey": "0"}]
            return self._client.put_records(StreamName=self.name, Records=one)["Records"]
        except (ClientError, BotoCoreError) as error:
            raise SendError(f"stream {self.name} took no records: {explain(error)}") from error

    def shards(self) -> list[tuple[int, int]]:
        """First and last hash key of each open shard, in order. Raises SendError."""
        try:
            pages = self._client.get_paginator("list_shards").paginate(StreamName=self.name)
            ranges = [
                shard["HashKeyRange"]
                for page in pages
                for shard in page["Shards"]
                if "EndingSequenceNumber" not in shard["SequenceNumberRange"]
            ]
        except (ClientError, BotoCoreError) as error:
            raise SendError(f"stream {self.name} tells no shards: {explain(error)}") from error
        return sorted((int(one["StartingHashKey"]), int(one["EndingHashKey"])) for one in ranges)

    def _exchange_body(self, params: dict[str, Any], **_: Any) -> None:
        params["body"] = self._body

    def _count_throttled(self, parsed_response: dict[str, Any] | None, **_: Any) -> None:
        self.throttled_calls += (parsed_response or {}).get("Error", {}).get("Code") == THROTTLED


class Writer:
    """Puts records on one stream; right after the stream acknowledged some, `acknowledged` is called with their tags.

    A batch is complete before the next begins, and there is one sender, not several: consumers by event time (Flink,
    with a watermark per shard) drop what is overtaken by more than seconds, and at full speed a batch spans a minute.
    Within a batch Kinesis promises no order: a refused entry may be overtaken by later ones, even of its own key;
    `overtakings` counts the refused entries that this happened to. With `strict_order` no batch holds two entries of
    one key, so it cannot happen; that takes several times the calls.

    A stream that throttles is sent to no faster than it bears (`Rate`), so that few entries are refused; those that are
    wait, too, by exponential backoff.
    """

    def __init__(
        self,
        stream: Any,
        acknowledged: Callable[[Sequence[Any]], None] = lambda tags: None,
        *,
        strict_order: bool = False,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._stream = stream
        self._acknowledged = acknowledged
        self._strict_order = strict_order
        self._sleep = sleep
        self._rate = Rate(monotonic)
        self._rng = rng or random.Random()
        self.put_events = 0
        self.acknowledged_events = 0
        self.retries = 0
        self.overtakings = 0

    def put(self, records: Records) -> None:
        """Returns when all are acknowledged. Raises SendError, ValueError where one is larger than Kinesis takes."""
        self.put_events += records.events(range(len(records.entries)))
        for batch in self._batches(records):
            self._put_batch(records, batch)

    def _batches(self, records: Records) -> Iterator[Sequence[int]]:
        """Positions that fit into one request, in order; in strict order with each key once."""
        rest: Sequence[int] = range(len(records.entries))
        while rest:
            batch, size, keys = [], 0, set()
            later: list[int] = []
            for number, position in enumerate(rest):
                record_bytes = records.sizes[position]
                if record_bytes > MAX_RECORD_BYTES:
                    raise ValueError(f"a record of {record_bytes} bytes with its key, allowed are {MAX_RECORD_BYTES}")
                if len(batch) == MAX_BATCH_RECORDS or size + record_bytes > MAX_BATCH_BYTES:
                    later.extend(rest[number:])
                    break
                if self._strict_order and records.keys[position] in keys:
                    later.append(position)
                    continue
                keys.add(records.keys[position])
                batch.append(position)
                size += record_bytes
            yield batch
            rest = later

    def _put_batch(self, records: Records, batch: Sequence[int]) -> None:
        overtaken: set[int] = set()
        # Calls in which nothing was taken. One that got something through shows that the stream keeps up, nearly.
        vain = 0
        pause_s = 0.0
        while vain < MAX_ATTEMPTS:
            self._rate.wait(pause_s, self._sleep)
            sent = self._first_of(records, batch)
            throttled_calls = self._throttled_calls()
            answers = self._stream.put_records([records.entries[position] for position in sent])
            failed = [number for number, answer in enumerate(answers) if answer.get("ErrorCode")]
            is_throttled = self._throttled_calls() > throttled_calls
            if not failed:
                load = self._load(records, sent)
                self._rate.answered(load, load, is_throttled)
                self._acknowledge(records, sent)
                if len(sent) == len(batch):
                    return
                batch = batch[len(sent) :]
                vain, pause_s = 0, 0.0
                continue
            refused = set(failed)
            accepted = [position for number, position in enumerate(sent) if number not in refused]
            is_throttled |= any(answers[number]["ErrorCode"] == THROTTLED for number in failed)
            self._rate.answered(self._load(records, sent), self._load(records, accepted), is_throttled)
            self._acknowledge(records, accepted)
            batch = [*(sent[number] for number in failed), *batch[len(sent) :]]
            last_accepted = {records.keys[position]: position for position in accepted}
            fresh = {position for position in batch if last_accepted.get(records.keys[position], -1) > position}
            self.overtakings += len(fresh - overtaken)
            overtaken |= fresh
            answer = answers[failed[0]]
            vain = 0 if accepted else vain + 1
            if vain < MAX_ATTEMPTS:
                self.retries += len(failed)
                pause_s = self._rng.uniform(0, min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2**vain))
        raise SendError(
            f"stream {self._stream.name} refused {len(batch)} records {MAX_ATTEMPTS} times, the first with "
            f"{answer['ErrorCode']}: {answer.get('ErrorMessage')}; {_TOO_FAST}"
        )

    def _first_of(self, records: Records, batch: Sequence[int]) -> Sequence[int]:
        """The first records of a batch, as many as one request may hold now, at least one."""
        most = self._rate.request_load()
        if most == float("inf"):
            return batch
        size = 0
        for number, position in enumerate(batch):
            size += records.sizes[position]
            if number and self._rate.load(number + 1, size) > most:
                return batch[:number]
        return batch

    def _load(self, records: Records, positions: Sequence[int]) -> float:
        return self._rate.load(len(positions), sum(map(records.sizes.__getitem__, positions)))

    def _throttled_calls(self) -> int:
        return getattr(self._stream, "throttled_calls", 0)

    def _acknowledge(self, records: Records, positions: Sequence[int]) -> None:
        self.acknowledged_events += records.events(positions)
        if records.tags is not None:
            self._acknowledged([records.tags[position] for position in positions])


def connect() -> Any:
    """A Kinesis client. The SDK repeats failed calls, Writer refused entries."""
    try:
        return boto3.client("kinesis", config=Config(retries={"mode": "standard", "total_max_attempts": 8}))
    except (BotoCoreError, ValueError) as error:  # ValueError: AWS_ENDPOINT_URL is no URL
        raise SendError(explain(error)) from error


def explain(error: Exception) -> str:
    """The error in one sentence, with a next step where one is known."""
    hint = next((hint for kind, hint in _HINTS_BY_TYPE.items() if isinstance(error, kind)), None)
    if isinstance(error, ClientError):
        hint = _HINTS_BY_CODE.get(error.response.get("Error", {}).get("Code", ""))
        hint = hint.format(operation=error.operation_name) if hint else None
    text = " ".join(str(error).split()).removesuffix(".")  # botocore puts some on several lines
    return f"{text}; {hint}" if hint else text


_TOO_FAST = "give the stream more shards or replay more slowly (--speed)"
_NO_LOGIN = "log in to AWS, or use ENV=local with the stack up"
_HINTS_BY_TYPE: dict[type[Exception], str] = {
    NoCredentialsError: _NO_LOGIN,
    PartialCredentialsError: _NO_LOGIN,
    CredentialRetrievalError: _NO_LOGIN,
    SSOError: _NO_LOGIN,
    ProfileNotFound: "check AWS_PROFILE, or use ENV=local with the stack up",
    # Not AWS_REGION, which boto3 does not read.
    NoRegionError: "set AWS_DEFAULT_REGION, or use ENV=local with the stack up",
    EndpointConnectionError: "is the stack up? `make up` starts the local one",
}
_HINTS_BY_CODE = {
    "ResourceNotFoundException": "check --stream, the region and the account, or apply Terraform first",
    THROTTLED: _TOO_FAST,
    "AccessDeniedException": "the caller needs kinesis:{operation} on this stream",
    "ExpiredTokenException": _NO_LOGIN,
    "UnrecognizedClientException": _NO_LOGIN,
    "InvalidSignatureException": _NO_LOGIN,
}
