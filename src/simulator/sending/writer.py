"""Records → a stream: in batches, in order, retrying only what was refused, until all is acknowledged."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from simulator.sending.errors import THROTTLED, TOO_FAST, SendError
from simulator.sending.rate import Rate

# Of one request: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html
MAX_BATCH_RECORDS = 500
# Records and keys of one request (same page). AWS has raised it since; this much is taken everywhere.
MAX_BATCH_BYTES = 5 * 1024**2
# A record, by a stream's default: https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
MAX_RECORD_BYTES = 1024**2

# "Full jitter": https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
# With these values a shard may refuse everything for about 40 s before the replay gives up.
MAX_ATTEMPTS = 20
BACKOFF_BASE_S = 0.1
BACKOFF_CAP_S = 5.0


class TakesRecords(Protocol):
    """A stream, as Writer needs it."""

    name: str
    throttled_calls: int

    def put_records(self, entries: Sequence[str]) -> list[dict[str, Any]]:
        """Return the answer to each entry. Raise SendError."""


@dataclass
class Counts:
    """What a writer or sink did so far."""

    put_events: int = 0  # handed over
    acknowledged_events: int = 0
    retries: int = 0  # entries that were sent again
    overtakings: int = 0  # refused entries that a later one of their key overtook


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
        self.keys = keys  # partition keys: records of one key must stay in order
        self.sizes = sizes  # bytes of data and key, which Kinesis limits
        self.counts = counts  # events in each, where they are aggregated
        self.tags = tags

    def events(self, positions: Iterable[int]) -> int:
        """Return how many events the records at these positions hold."""
        return sum(self.counts[i] for i in positions) if self.counts else sum(1 for _ in positions)

    def batches(self, unique_keys: bool) -> Iterator["Batch"]:
        """Return batches that fit into one request each, in order; with `unique_keys` each key once in a batch.

        Raise ValueError if a record is larger than Kinesis takes.
        """
        rest: Sequence[int] = range(len(self.entries))
        while rest:
            batch: list[int] = []
            later: list[int] = []
            size, keys = 0, set()
            for number, position in enumerate(rest):
                record_bytes = self.sizes[position]
                if record_bytes > MAX_RECORD_BYTES:
                    raise ValueError(f"a record of {record_bytes} bytes with its key, allowed are {MAX_RECORD_BYTES}")
                if len(batch) == MAX_BATCH_RECORDS or size + record_bytes > MAX_BATCH_BYTES:
                    later.extend(rest[number:])
                    break
                if unique_keys and self.keys[position] in keys:
                    later.append(position)
                    continue
                keys.add(self.keys[position])
                batch.append(position)
                size += record_bytes
            yield Batch(self, batch)
            rest = later


class Batch:
    """The records of one batch, and which of them the stream has not accepted yet."""

    def __init__(self, records: Records, positions: Sequence[int]) -> None:
        self._records = records
        self._overtaken: set[int] = set()
        self.waiting = positions

    def next_request(self, rate: Rate) -> Sequence[int]:
        """Return the first waiting positions, as many as one request may hold now, at least one."""
        most = rate.request_load()
        if most == float("inf"):
            return self.waiting
        size = 0
        for number, position in enumerate(self.waiting):
            size += self._records.sizes[position]
            if number and rate.load(number + 1, size) > most:
                return self.waiting[:number]
        return self.waiting

    def answered(self, accepted: Sequence[int], refused: Sequence[int]) -> int:
        """Keep what was refused, in front of what was not sent yet. Return how many more entries are overtaken now."""
        unsent = self.waiting[len(accepted) + len(refused) :]
        if not refused:
            self.waiting = unsent
            return 0
        self.waiting = [*refused, *unsent]
        keys = self._records.keys
        last_accepted = {keys[position]: position for position in accepted}
        overtaken = {position for position in self.waiting if last_accepted.get(keys[position], -1) > position}
        more = len(overtaken - self._overtaken)
        self._overtaken |= overtaken
        return more


class Backoff:
    """Pauses between requests of which entries are refused: exponential, with full jitter.

    The pause grows with each request in a row of which nothing was accepted. A request of which something was accepted
    shows that the stream nearly keeps up.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.failures = 0  # requests in a row of which nothing was accepted
        self.pause_s = 0.0

    def answered(self, accepted: int, refused: int) -> None:
        """Choose the pause before the next request."""
        self.failures = 0 if accepted else self.failures + 1
        self.pause_s = self._rng.uniform(0, min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2**self.failures)) if refused else 0.0


class Writer:
    """Puts records on one stream. When the stream acknowledged some, it calls `acknowledged` with their tags at once.

    There is one sender, and a batch is complete before the next begins: consumers by event time (Flink, with a
    watermark per shard) drop events that are overtaken by more than seconds, and at full speed a batch spans a minute.
    Within a batch Kinesis does not guarantee order: later entries may overtake a refused one, even of its own key;
    `counts.overtakings` says of how many. With `strict_order` no batch holds two entries of one key, so it cannot
    happen; that takes several times the calls.

    `Rate` limits what a stream that throttles is sent, so that few entries are refused. What is refused waits for
    `Backoff`, too.
    """

    def __init__(
        self,
        stream: TakesRecords,
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
        self.counts = Counts()

    def put(self, records: Records) -> None:
        """Put the records, and return when all are acknowledged.

        Raise SendError, or ValueError if a record is larger than Kinesis takes.
        """
        self.counts.put_events += records.events(range(len(records.entries)))
        for batch in records.batches(unique_keys=self._strict_order):
            self._put_batch(records, batch)

    def _put_batch(self, records: Records, batch: Batch) -> None:
        backoff = Backoff(self._rng)
        while batch.waiting:
            self._rate.wait(backoff.pause_s, self._sleep)
            accepted, refused, error = self._put_request(records, batch.next_request(self._rate))
            self._acknowledge(records, accepted)
            self.counts.overtakings += batch.answered(accepted, refused)
            backoff.answered(len(accepted), len(refused))
            if backoff.failures == MAX_ATTEMPTS:
                raise SendError(
                    f"stream {self._stream.name} refused {len(batch.waiting)} records {MAX_ATTEMPTS} times, the first "
                    f"with {error.get('ErrorCode')}: {error.get('ErrorMessage')}; {TOO_FAST}"
                )
            self.counts.retries += len(refused)

    def _put_request(
        self, records: Records, positions: Sequence[int]
    ) -> tuple[Sequence[int], Sequence[int], dict[str, Any]]:
        """Send one request. Return the accepted positions, the refused ones, and the answer to the first refused."""
        throttled_calls = self._stream.throttled_calls
        answers = self._stream.put_records([records.entries[position] for position in positions])
        is_throttled = self._stream.throttled_calls > throttled_calls
        errors = {number: answer for number, answer in enumerate(answers) if answer.get("ErrorCode")}
        load = self._load(records, positions)
        if not errors:
            self._rate.answered(load, load, is_throttled)
            return positions, [], {}
        is_throttled |= any(answer["ErrorCode"] == THROTTLED for answer in errors.values())
        accepted = [position for number, position in enumerate(positions) if number not in errors]
        self._rate.answered(load, self._load(records, accepted), is_throttled)
        return accepted, [positions[number] for number in errors], next(iter(errors.values()))

    def _load(self, records: Records, positions: Sequence[int]) -> float:
        return self._rate.load(len(positions), sum(map(records.sizes.__getitem__, positions)))

    def _acknowledge(self, records: Records, positions: Sequence[int]) -> None:
        self.counts.acknowledged_events += records.events(positions)
        if records.tags is not None:
            self._acknowledged([records.tags[position] for position in positions])
