"""The shard assigner of the application's jar, called as the connector calls it: no two open shards share a subtask."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import permutations

import pytest
from py4j.java_gateway import JavaObject
from py4j.protocol import Py4JJavaError
from pyflink.java_gateway import get_gateway
from pyflink.table import TableEnvironment

STREAM = "raw-stream"
HASH_KEYS = 2**128

Shard = Callable[..., JavaObject]
Assign = Callable[..., list[int]]


@pytest.fixture
def shard(kinesis: TableEnvironment) -> Shard:
    """Return a function that makes a shard with a part of all hash keys: shard(4, 0, 1/2, parents=(1,))."""
    connector = get_gateway().jvm.org.apache.flink
    model = connector.kinesis.shaded.com.amazonaws.services.kinesis.model

    def name(number: int) -> str:
        return f"shardId-{number:012}"

    def make(
        number: int, start: float, end: float, parents: Sequence[int] = (), closed: bool = False, stream: str = STREAM
    ) -> JavaObject:
        keys = [int(Fraction(start) * HASH_KEYS), int(Fraction(end) * HASH_KEYS) - 1]
        made = model.Shard().withShardId(name(number))
        made.setHashKeyRange(model.HashKeyRange().withStartingHashKey(str(keys[0])).withEndingHashKey(str(keys[1])))
        sequence_numbers = model.SequenceNumberRange().withStartingSequenceNumber("1")
        made.setSequenceNumberRange(sequence_numbers.withEndingSequenceNumber("2") if closed else sequence_numbers)
        for parent, setter in zip(parents, (made.setParentShardId, made.setAdjacentParentShardId), strict=False):
            setter(name(parent))
        return connector.streaming.connectors.kinesis.model.StreamShardHandle(stream, made)

    return make


@pytest.fixture
def assign(kinesis: TableEnvironment) -> Assign:
    """Return a function that asks a new assigner about shards, one by one, and returns the subtasks that read them.

    The connector decides which subtask reads a shard. Raise Py4JJavaError if the assigner rejects one.
    """
    jvm = get_gateway().jvm
    fetcher = jvm.org.apache.flink.streaming.connectors.kinesis.internals.KinesisDataFetcher

    def run(shards: Sequence[JavaObject], parallelism: int) -> list[int]:
        assigner = jvm.shopstream.OneShardPerSubtask()
        subtasks = []
        for each in shards:
            answer = assigner.assign(each, parallelism)
            readers = [n for n in range(parallelism) if fetcher.isThisSubtaskShouldSubscribeTo(answer, parallelism, n)]
            assert len(readers) == 1
            subtasks += readers
        return subtasks

    return run


@pytest.mark.parametrize("count", range(1, 9))
@pytest.mark.parametrize("stream", [STREAM, "raw-stream-1"])  # their Java hash codes are of either sign
def test_shards_of_equal_size_have_a_subtask_each(shard: Shard, assign: Assign, count: int, stream: str) -> None:
    shards = [shard(n, Fraction(n, count), Fraction(n + 1, count), stream=stream) for n in range(count)]
    assert sorted(assign(shards, count)) == list(range(count))


def test_two_open_shards_on_one_subtask_are_refused_with_what_to_do(shard: Shard, assign: Assign) -> None:
    with pytest.raises(Py4JJavaError) as refused:
        assign([shard(0, 0, 1 / 4), shard(1, 1 / 4, 1 / 2), shard(2, 1 / 2, 1)], 2)
    assert refused.value.java_exception.getMessage() == (
        "with parallelism 2, one subtask would read shardId-000000000000 and shardId-000000000001 of stream "
        "raw-stream, whose events would make each other late: give the stream as many shards of equal size "
        "(aws kinesis update-shard-count), or stop the application by force, set raw_stream_shard_count to their "
        "number and deploy"
    )


def test_closed_shards_do_not_count(shard: Shard, assign: Assign) -> None:
    first, second = assign([shard(0, 0, 1 / 2, closed=True), shard(1, 0, 1 / 2)], 2)
    assert first == second


def test_a_shard_may_be_asked_about_again(shard: Shard, assign: Assign) -> None:
    first, second = assign([shard(0, 0, 1), shard(0, 0, 1)], 1)
    assert first == second


def test_a_checkpoint_may_hold_a_shard_as_open_that_is_closed_by_now(shard: Shard, assign: Assign) -> None:
    listed, checkpointed = shard(0, 0, 1 / 2, closed=True), shard(0, 0, 1 / 2)
    parts = [shard(1, 0, 1 / 4, (0,), closed=True), shard(2, 1 / 4, 1 / 2, (0,), closed=True)]
    merged = shard(3, 0, 1 / 2, (1, 2))
    for order in ([checkpointed, listed, *parts, merged], [listed, *parts, merged, checkpointed]):
        assert len(set(assign(order, 2))) == 1


def quarters(shard: Shard) -> list[JavaObject]:
    return [shard(n, n / 4, (n + 1) / 4) for n in range(4)]


@pytest.mark.parametrize("split", [1, 2])
def test_a_split_whose_parts_find_free_subtasks_goes_on(shard: Shard, assign: Assign, split: int) -> None:
    middle = (2 * split + 1) / 8
    parts = [shard(4, split / 4, middle, (split,)), shard(5, middle, (split + 1) / 4, (split,))]
    *before, first, second = assign(quarters(shard) + parts, 5)
    before.pop(split)
    assert len({*before, first, second}) == 5


@pytest.mark.parametrize("split", [0, 3])
def test_a_split_whose_parts_meet_is_refused_though_there_are_subtasks_enough(
    shard: Shard, assign: Assign, split: int
) -> None:
    middle = (2 * split + 1) / 8
    parts = [shard(4, split / 4, middle, (split,)), shard(5, middle, (split + 1) / 4, (split,))]
    with pytest.raises(Py4JJavaError, match="would read shardId-000000000004 and shardId-000000000005 of"):
        assign(quarters(shard) + parts, 5)


def test_several_reshards_in_a_row(shard: Shard, assign: Assign) -> None:
    merged = shard(4, 1 / 4, 3 / 4, (1, 2))
    parts = [shard(5, 1 / 4, 1 / 2, (4,)), shard(6, 1 / 2, 3 / 4, (4,))]
    first, _, _, last, _, *middle = assign([*quarters(shard), merged, *parts], 4)
    assert len({first, *middle, last}) == 4
    halves = [shard(7, 1 / 2, 5 / 8, (6,)), shard(8, 5 / 8, 3 / 4, (6,))]
    with pytest.raises(Py4JJavaError, match="would read shardId-000000000007 and shardId-000000000008 of"):
        assign([*quarters(shard), merged, *parts, *halves], 4)


def test_parents_and_children_come_in_any_order(shard: Shard, assign: Assign) -> None:
    for order in permutations([*quarters(shard), shard(4, 1 / 4, 3 / 4, (1, 2))]):
        assert len(set(assign(order, 4))) == 4
    first, *_, last = quarters(shard)
    for order in permutations([first, last, shard(5, 0, 1 / 8, (0,)), shard(6, 1 / 8, 1 / 4, (0,))]):
        with pytest.raises(Py4JJavaError, match=r"would read \S+[56] and \S+[56] of"):
            assign(order, 4)
