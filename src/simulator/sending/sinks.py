"""Where a replay's wire records go: to a stream, one by one or aggregated, or to a file."""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TextIO

import polars as pl

from simulator.sending.aggregate import Aggregator
from simulator.sending.kinesis import Records, Writer
from simulator.traffic.event import event_id

# Between two looks at the stream's shards: a reshard is rare, and what is packed for the old ones still arrives.
LIST_SHARDS_EVERY_S = 10.0
# Between two puts nothing is noted, shown or heard: where the stream is slow, they become smaller.
PUT_S = 1.0


class Sink(Protocol):
    """Takes wire records. `batch_events`: how many at once are best now; counts as in Writer."""

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
    linger_s = 0.0

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

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


class FileSink:
    """A file of wire records, one a line; without a file they are only counted."""

    batch_events = 20_000
    linger_s = 0.0
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
