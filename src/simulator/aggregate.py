"""KPL's aggregates: many events in one Kinesis record, which costs fewer calls and fewer PUT payload units.

https://docs.aws.amazon.com/streams/latest/dev/kinesis-kpl-concepts.html
"""

from base64 import b64encode
from bisect import bisect
from collections.abc import Iterable, Sequence
from hashlib import md5
from typing import Any

from aws_kinesis_agg.aggregator import RecordAggregator

from simulator.kinesis import Records

# Two PUT payload units of 25 KB, however many bytes a KB is taken for; the KPL's own default is 51,200.
MAX_AGGREGATE_BYTES = 50_000
# Larger events are records of their own: with its key and hash key the library refuses them, some without a word.
MAX_PACKED_BYTES = MAX_AGGREGATE_BYTES - 1_000


class Aggregator:
    """Packs events by the shard that they belong to.

    Consumers throw away what is in an aggregate but whose own hash key is not in the shard: Flink's connector does so
    without a word. So aggregate and events all carry the hash key at which their shard begins: wherever a reshard
    sends the aggregate, its events belong there too.
    """

    def __init__(self, shards: Sequence[tuple[int, int]]) -> None:
        self._starts = [first for first, _ in shards]
        self._hash_keys = [str(first).encode() for first in self._starts]
        self._aggregators = [RecordAggregator(MAX_AGGREGATE_BYTES) for _ in shards]

    def pack(self, data: Iterable[str], keys: Iterable[str]) -> Records:
        """Records that hold all these events; within a shard, so also within a key, their order is kept."""
        packed: tuple[list[str], list[str], list[int], list[int]] = ([], [], [], [])
        for text, key in zip(data, keys, strict=True):
            # Bytes: of a text the library does not see that its table holds it, and closes aggregates at 88 %.
            name, event = key.encode(), text.encode()
            shard = bisect(self._starts, int.from_bytes(md5(name).digest(), "big")) - 1
            aggregator, hash_key = self._aggregators[shard], self._hash_keys[shard]
            if len(event) > MAX_PACKED_BYTES:
                if before := aggregator.clear_and_get():
                    _append(packed, before)
                _append_record(packed, 1, name, hash_key, event)
            # The library hands out what is full when the next event comes.
            elif full := aggregator.add_user_record(name, event, hash_key):
                _append(packed, full)
        for aggregator in self._aggregators:
            if rest := aggregator.clear_and_get():
                _append(packed, rest)
        return Records(*packed)


def _append(packed: tuple[list[str], list[str], list[int], list[int]], aggregate: Any) -> None:
    _append_record(packed, aggregate.get_num_user_records(), *aggregate.get_contents())


def _append_record(
    packed: tuple[list[str], list[str], list[int], list[int]], count: int, key: bytes, hash_key: bytes, data: bytes
) -> None:
    entries, keys, sizes, counts = packed
    counts.append(count)
    at = hash_key.decode()
    entries.append(f'{{"Data":"{b64encode(data).decode()}","PartitionKey":"{key.decode()}","ExplicitHashKey":"{at}"}}')
    # By shard, not by the first event's key: in strict order the aggregates of a shard follow each other.
    keys.append(at)
    sizes.append(len(data) + len(key))
