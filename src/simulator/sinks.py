"""Where a replay's wire records go: to a stream, one by one or aggregated, or to a file."""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TextIO

import polars as pl

from simulator.aggregate import Aggregator
from simulator.event import event_id
from simulator.kinesis import Records, Writer

# Between two looks at the stream's shards: a reshard is rare, and what is packed for the old ones still arrives.
LIST_SHARDS_EVERY_S = 30.0


class Sink(Protocol):
    """Takes wire records. `batch_events`: how many at once are best; counts as in Writer."""

    batch_events: int
    put_events: int
    acknowledged_events: int
    retries: int
    overtakings: int

    def put(self, data: pl.Series, keys: pl.Series) -> None:
        """Returns when all are acknowledged. Raises SendError."""


class StreamSink:
    """One record of the stream for each event. With `with_event_ids`, Writer hears of each event's id."""

    batch_events = 500

    def __init__(self, writer: Writer, with_event_ids: bool = False) -> None:
        self._writer = writer
        self._with_event_ids = with_event_ids

    def put(self, data: pl.Series, keys: pl.Series) -> None:
        tags = [event_id(json.loads(text)) for text in data] if self._with_event_ids else None
        self._writer.put(to_records(data, keys, tags))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


class AggregatingSink:
    """Many events in each record of the stream. `shards` tells the hash key ranges of the open ones."""

    # Aggregates are full when many events are packed at once.
    batch_events = 20_000

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

    def put(self, data: pl.Series, keys: pl.Series) -> None:
        if self._monotonic() - self._listed_at >= LIST_SHARDS_EVERY_S:
            self._aggregator = Aggregator(self._shards())
            self._listed_at = self._monotonic()
        self._writer.put(self._aggregator.pack(data, keys))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


class FileSink:
    """A file of wire records, one a line; without a file they are only counted."""

    batch_events = 20_000
    retries = overtakings = 0

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file
        self.put_events = self.acknowledged_events = 0

    def put(self, data: pl.Series, keys: pl.Series) -> None:
        self.put_events += len(data)
        if self._file:
            self._file.writelines(f"{text}\n" for text in data)
        self.acknowledged_events += len(data)


def to_records(data: pl.Series, keys: pl.Series, tags: Sequence[Any] | None = None) -> Records:
    """Wire records as entries of PutRecords. Keys are ids: they need no escaping."""
    encoded = data.cast(pl.Binary).bin.encode("base64")
    parts = (pl.lit('{"Data":"'), encoded, pl.lit('","PartitionKey":"'), keys, pl.lit('"}'))
    entries = pl.select(pl.concat_str(*parts)).to_series()
    sizes = data.str.len_bytes() + keys.str.len_bytes()
    return Records(entries.to_list(), keys.to_list(), sizes.to_list(), tags=tags)
