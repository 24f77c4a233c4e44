"""Where a replay's wire records go: to a stream, one by one or aggregated, or to a file."""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TextIO

import polars as pl

from simulator.sending.aggregate import Aggregator
from simulator.sending.writer import Counts, Records, Writer
from simulator.traffic.event import event_key

# Between two looks at the stream's shards: a reshard is rare, and what is packed for the old shards still arrives.
LIST_SHARDS_EVERY_S = 10.0
# During a put no progress is saved or shown, and Ctrl-C waits: where a put takes longer, the next ones are smaller.
PUT_S = 1.0


class Sink(Protocol):
    """Takes wire records."""

    batch_events: int  # how many to put at once
    linger_s: float  # how long a paced event may wait for others to be put with
    counts: Counts

    def put(self, data: pl.Series, keys: pl.Series) -> None:
        """Take the records, and return when all are acknowledged. Raise SendError."""


class StreamSink:
    """A stream that gets one record for each event. With `with_event_keys`, these are the writer's tags."""

    batch_events = 500
    linger_s = 0.0

    def __init__(self, writer: Writer, with_event_keys: bool = False) -> None:
        self._writer = writer
        self._with_event_keys = with_event_keys
        self.counts = writer.counts

    def put(self, data: pl.Series, keys: pl.Series) -> None:
        tags = [event_key(json.loads(text)) for text in data] if self._with_event_keys else None
        self._writer.put(to_records(data, keys, tags))


class AggregatingSink:
    """A stream that gets many events in each record. `shards` returns the hash key ranges of its open shards."""

    # Aggregates are full when many events are packed at once; what is put at once is acknowledged at once.
    FEWEST, MOST = 500, 20_000
    # As the KPL's RecordMaxBufferedTime: at the pace of a shop few events are due at one instant.
    linger_s = 0.1

    def __init__(
        self,
        writer: Writer,
        shards: Callable[[], Sequence[tuple[int, int]]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._shards = shards
        self._monotonic = monotonic
        self._listed_at = float("-inf")
        self.batch_events = 2_500
        self.counts = writer.counts

    def put(self, data: pl.Series, keys: pl.Series) -> None:
        began = self._monotonic()
        if began - self._listed_at >= LIST_SHARDS_EVERY_S:
            self._aggregator = Aggregator(self._shards())
            self._listed_at = began
        self._writer.put(self._aggregator.pack(data.cast(pl.Binary).to_list(), keys.to_list()))
        took_s = self._monotonic() - began
        if took_s > PUT_S:
            self.batch_events = max(self.FEWEST, int(len(data) * PUT_S / took_s))
        elif took_s < PUT_S / 2 and len(data) == self.batch_events:
            self.batch_events = min(self.MOST, 2 * self.batch_events)


class FileSink:
    """A file of wire records, one a line. Without a file, records are only counted."""

    batch_events = 20_000
    linger_s = 0.0

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file
        self.counts = Counts()

    def put(self, data: pl.Series, keys: pl.Series) -> None:
        self.counts.put_events += len(data)
        if self._file:
            self._file.writelines(f"{text}\n" for text in data)
        self.counts.acknowledged_events += len(data)


def to_records(data: pl.Series, keys: pl.Series, tags: Sequence[Any] | None = None) -> Records:
    """Return wire records as entries of PutRecords. Keys hold no control characters."""
    encoded = data.cast(pl.Binary).bin.encode("base64")
    escaped = keys
    if keys.str.contains(r'["\\]').any():
        escaped = keys.str.replace_all("\\", r"\\", literal=True).str.replace_all('"', r"\"", literal=True)
    parts = (pl.lit('{"Data":"'), encoded, pl.lit('","PartitionKey":"'), escaped, pl.lit('"}'))
    entries = pl.select(pl.concat_str(*parts)).to_series()
    sizes = data.str.len_bytes() + keys.str.len_bytes()
    return Records(entries.to_list(), keys.to_list(), sizes.to_list(), tags=tags)


def write_ledger(file: TextIO) -> Callable[[Sequence[str]], None]:
    """Return a callback for Writer that writes acknowledged event_keys, one a line.

    Each call flushes the file, so it is right even after a kill.
    """

    def acknowledged(event_keys: Sequence[str]) -> None:
        file.writelines(f"{key}\n" for key in event_keys)
        file.flush()

    return acknowledged
