"""Aggregates as of the KPL: many events in one Kinesis record, for fewer calls and fewer PUT payload units.

https://docs.aws.amazon.com/streams/latest/dev/kinesis-kpl-concepts.html
"""

from base64 import b64encode
from bisect import bisect
from collections.abc import Iterable, Sequence
from hashlib import md5
from json import dumps

from aws_kinesis_agg import DIGEST_SIZE, MAGIC
from aws_kinesis_agg.aggregator import messages_pb2

from simulator.sending.writer import Records

# Two PUT payload units of 25 KB, whether a KB is 1,000 or 1,024 bytes. The KPL's own default is 51,200.
MAX_AGGREGATE_BYTES = 50_000
# Larger events are records of their own: with its key and hash key one would fill more than an aggregate.
MAX_PACKED_BYTES = MAX_AGGREGATE_BYTES - 1_000

# The most bytes of an event beside its data, and of a key beside its text: tags take one byte, lengths (below 2 ** 21)
# up to three, indexes (below 2 ** 14) up to two. (tag, length), (tag, key), (tag, hash key), (tag, length of data)
EVENT_BYTES = (1 + 3) + (1 + 2) + (1 + 1) + (1 + 3)
KEY_BYTES = 1 + 3


class Aggregator:
    """Packs events by the shard that they belong to.

    Many consumers drop an aggregate without a word if the hash key of an event in it is not in the shard (the detector
    does not). So the aggregate and its events all carry the hash key at which their shard begins: after a reshard, they
    still belong to the same shard.

    This class fills the library's message itself. The library's RecordAggregator takes several times as long: it counts
    each event's bytes exactly and copies each full aggregate.
    """

    def __init__(self, shards: Sequence[tuple[int, int]]) -> None:
        self._starts = [first for first, _ in shards]

    def pack(self, events: Iterable[bytes], keys: Iterable[str]) -> Records:
        """Return records that hold all these events. Within a shard, so also within a key, their order is kept."""
        packed = _Packed()
        growing = [_Aggregate(str(first)) for first in self._starts]
        shards: dict[str, int] = {}
        for event, key in zip(events, keys, strict=True):
            shard = shards.get(key)
            if shard is None:
                shard = shards[key] = bisect(self._starts, int.from_bytes(md5(key.encode()).digest(), "big")) - 1
            aggregate = growing[shard]
            if len(event) > MAX_PACKED_BYTES:
                packed.append(aggregate)
                packed.append_record(1, key, aggregate.hash_key, event)
                growing[shard] = _Aggregate(aggregate.hash_key)
            elif not aggregate.add(event, key):
                packed.append(aggregate)
                growing[shard] = fresh = _Aggregate(aggregate.hash_key)
                fresh.add(event, key)
        for aggregate in growing:
            packed.append(aggregate)
        return packed.records()


class _Aggregate:
    """The events of a record in the making, all of the shard that begins at `hash_key`."""

    def __init__(self, hash_key: str) -> None:
        self.hash_key = hash_key
        self.keys: dict[str, int] = {}  # and the place of each in the table
        self.message = messages_pb2.AggregatedRecord(explicit_hash_key_table=[hash_key])
        self._size = len(MAGIC) + DIGEST_SIZE + KEY_BYTES + len(hash_key)

    def add(self, event: bytes, key: str) -> bool:
        """Add the event if there is room, and return whether there was. An empty one has room for MAX_PACKED_BYTES."""
        size = self._size + EVENT_BYTES + len(event)
        index = self.keys.get(key)
        if index is None:
            size += KEY_BYTES + len(key.encode())
        if size > MAX_AGGREGATE_BYTES:
            return False
        if index is None:
            index = self.keys[key] = len(self.keys)
        record = self.message.records.add()
        record.partition_key_index = index
        record.explicit_hash_key_index = 0
        record.data = event
        self._size = size
        return True

    def data(self) -> bytes:
        """Return the record's data.

        https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md
        """
        self.message.partition_key_table.extend(self.keys)
        message = self.message.SerializeToString()
        return MAGIC + message + md5(message).digest()


class _Packed:
    """The parallel lists of Records, in the making."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.keys: list[str] = []
        self.sizes: list[int] = []
        self.counts: list[int] = []

    def append(self, aggregate: _Aggregate) -> None:
        if aggregate.keys:
            key = next(iter(aggregate.keys))
            self.append_record(len(aggregate.message.records), key, aggregate.hash_key, aggregate.data())

    def append_record(self, count: int, key: str, hash_key: str, data: bytes) -> None:
        encoded = b64encode(data).decode()
        self.entries.append(f'{{"Data":"{encoded}","PartitionKey":{dumps(key)},"ExplicitHashKey":"{hash_key}"}}')
        # By shard, not by the first event's key: in strict order the aggregates of a shard follow each other.
        self.keys.append(hash_key)
        self.sizes.append(len(data) + len(key.encode()))
        self.counts.append(count)

    def records(self) -> Records:
        return Records(self.entries, self.keys, self.sizes, self.counts)
