"""No fault of the stream or of the machine loses an event: the real command, through a proxy that makes faults.

An event can only arrive twice if the stream took it and the client got no answer. The proxy counts each such case, and
what arrived twice must be exactly that.
"""

import json
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import boto3
import pytest
from command import Ended, end, event_keys, events_in, read_back, replay, start
from fault_proxy import Fault, FaultProxy

from local_cloud.pollers.shards import list_shards

BATCH = 500  # records in a full call
FEW = 500  # events, where each batch is repeated several times and backs off


def every_third(fault: Fault) -> Callable[[int], Fault | None]:
    """Return the fault of calls 2, 5, 8 and so on: each repetition succeeds."""
    return lambda call: fault if call % 3 == 2 else None


def accepted(proxy: FaultProxy) -> list[bytes]:
    return [event.data for record in proxy.accepted for event in events_in(record.data)]


def unanswered(proxy: FaultProxy) -> int:
    """Count the events that the emulator took and of which the client got no answer."""
    return sum(len(events_in(record.data)) for record in proxy.accepted if not record.answered)


def assert_all_acknowledged(ended: Ended, events: int) -> None:
    assert ended.code == 0, ended.stderr
    assert ended.summary["sent_events"] == events


def users_sequences(lines: Sequence[bytes]) -> dict[int, list[bytes]]:
    sequences: dict[int, list[bytes]] = defaultdict(list)
    for line in lines:
        sequences[json.loads(line)["user_id"]].append(line)
    return sequences


@pytest.mark.parametrize("aggregate", [[], ["--aggregate"]], ids=["plain", "aggregated"])
def test_refused_entries_are_sent_again_and_nothing_twice(
    emulator: str, stream: str, data: Path, expected: list[bytes], aggregate: list[str]
) -> None:
    with FaultProxy(emulator, refused_share=0.2) as proxy:
        ended = replay(data, "--stream", stream, "--limit", FEW, *aggregate, url=proxy.url)

    assert_all_acknowledged(ended, FEW)
    assert event_keys(read_back(stream)) == event_keys(expected[:FEW])
    assert ended.summary["retries"] == proxy.refused > 0


@pytest.mark.parametrize("fault", [Fault.THROTTLED, Fault.RESET_BEFORE, Fault.ERROR_BEFORE])
def test_calls_that_did_not_reach_the_stream_are_repeated_and_nothing_arrives_twice(
    emulator: str, stream: str, data: Path, expected: list[bytes], fault: Fault
) -> None:
    with FaultProxy(emulator, fault=every_third(fault)) as proxy:
        ended = replay(data, "--stream", stream, url=proxy.url)

    assert_all_acknowledged(ended, len(expected))
    assert event_keys(read_back(stream)) == event_keys(expected)
    assert proxy.faults >= 4


@pytest.mark.parametrize(
    ("fault", "aggregate"),
    [(Fault.RESET_AFTER, []), (Fault.ERROR_AFTER, []), (Fault.RESET_AFTER, ["--aggregate"])],
)
def test_only_what_the_stream_took_without_an_answer_arrives_twice(
    emulator: str, stream: str, data: Path, expected: list[bytes], fault: Fault, aggregate: list[str]
) -> None:
    # Aggregated, all fits into one call: that is the one to lose its answer.
    hit = (lambda call: fault if call == 1 else None) if aggregate else every_third(fault)
    with FaultProxy(emulator, fault=hit) as proxy:
        ended = replay(data, "--stream", stream, *aggregate, url=proxy.url)

    assert_all_acknowledged(ended, len(expected))
    there, wanted = event_keys(read_back(stream)), event_keys(expected)
    assert wanted - there == Counter()
    assert (there - wanted).total() == unanswered(proxy) > 0


def test_a_stream_split_during_the_replay_loses_nothing(
    emulator: str, stream: str, data: Path, expected: list[bytes]
) -> None:
    kinesis = boto3.client("kinesis")

    def split(call: int) -> None:
        if call == 6:
            split_first_shard(kinesis, stream)

    with FaultProxy(emulator, reached=split) as proxy:
        ended = replay(data, "--stream", stream, url=proxy.url)

    assert_all_acknowledged(ended, len(expected))
    assert event_keys(accepted(proxy)) == event_keys(expected)
    assert len({record.shard for record in proxy.accepted}) == 6  # the four, and the two from the first


@pytest.mark.parametrize("merge", [False, True], ids=["split", "merge"])
def test_each_event_of_an_aggregate_belongs_to_the_shard_it_arrives_in_also_after_a_reshard(
    emulator: str, stream: str, data: Path, expected: list[bytes], merge: bool
) -> None:
    """Consumers drop other events without a log line."""
    kinesis = boto3.client("kinesis")
    ranges = hash_ranges(kinesis, stream)

    def reshard(call: int) -> None:
        if call == 2:
            if merge:
                first, second = sorted(ranges, key=ranges.__getitem__)[:2]
                kinesis.merge_shards(StreamName=stream, ShardToMerge=first, AdjacentShardToMerge=second)
            else:
                split_first_shard(kinesis, stream)
            ranges.update(hash_ranges(kinesis, stream))

    with FaultProxy(emulator, reached=reshard) as proxy:
        # A bounded rate makes many small calls: some before, some after. It is low, so that a busy machine keeps up.
        ended = replay(data, "--stream", stream, "--aggregate", "--rate", "2000", url=proxy.url)

    assert_all_acknowledged(ended, len(expected))
    assert event_keys(accepted(proxy)) == event_keys(expected)
    assert proxy.calls > 4
    resharded = set(ranges) - {record.shard for record in proxy.accepted[:4]}
    assert resharded & {record.shard for record in proxy.accepted}
    for record in proxy.accepted:
        first, last = ranges[record.shard]
        events = events_in(record.data)
        assert {event.hash_key for event in events} == {int(record.explicit_hash_key)}
        assert first <= int(record.explicit_hash_key) <= last


def test_strict_order_keeps_each_users_order_where_without_it_some_are_overtaken(
    emulator: str, stream: str, data: Path, expected: list[bytes]
) -> None:
    wanted = users_sequences(expected[:FEW])
    with FaultProxy(emulator, refused_share=0.2) as proxy:
        loose = replay(data, "--stream", stream, "--limit", FEW, url=proxy.url)
        loosely = users_sequences(accepted(proxy))
    assert_all_acknowledged(loose, FEW)
    assert loosely != wanted
    assert loose.summary["overtakings"] > 0

    again = f"{stream}-strict"
    boto3.client("kinesis").create_stream(StreamName=again, ShardCount=4)
    with FaultProxy(emulator, refused_share=0.2) as proxy:
        strict = replay(data, "--stream", again, "--limit", FEW, "--strict-order", url=proxy.url)
    assert_all_acknowledged(strict, FEW)
    assert users_sequences(read_back(again)) == wanted
    assert strict.summary["overtakings"] == 0
    assert proxy.refused > 0


def test_strict_order_keeps_each_users_order_also_in_aggregates(
    emulator: str, stream: str, data: Path, expected: list[bytes]
) -> None:
    with FaultProxy(emulator, refused_share=0.2) as proxy:
        ended = replay(data, "--stream", stream, "--limit", FEW, "--strict-order", "--aggregate", url=proxy.url)

    assert_all_acknowledged(ended, FEW)
    assert users_sequences(read_back(stream)) == users_sequences(expected[:FEW])
    assert proxy.refused > 0


@pytest.mark.parametrize(("taken", "twice"), [(True, BATCH), (False, 0)], ids=["taken", "not-taken"])
def test_a_replay_that_was_killed_goes_on_and_repeats_at_most_the_batch_in_flight(
    emulator: str, stream: str, data: Path, expected: list[bytes], tmp_path: Path, taken: bool, twice: int
) -> None:
    options = (data, "--stream", stream, "--resume", tmp_path / "progress.json")
    killed = []

    def kill(call: int) -> None:
        if call == 6:
            killed[0].send_signal(signal.SIGKILL)

    kill_when = {"reached": kill} if taken else {"fault": lambda call: kill(call) or _lost_if(call == 6)}
    with FaultProxy(emulator, **kill_when) as proxy:
        killed.append(start(*options, url=proxy.url))
        assert end(killed[0]).code == -signal.SIGKILL
    rest = replay(*options)

    assert rest.code == 0, rest.stderr
    assert rest.summary["skipped_events"] == 5 * BATCH
    assert rest.summary["sent_events"] == len(expected) - 5 * BATCH
    there, wanted = event_keys(read_back(stream)), event_keys(expected)
    assert wanted - there == Counter()
    assert (there - wanted).total() == twice


def test_an_aggregated_replay_that_was_killed_goes_on_after_the_last_call_that_was_noted(
    emulator: str, stream: str, data: Path, expected: list[bytes], tmp_path: Path
) -> None:
    options = (data, "--stream", stream, "--aggregate", "--resume", tmp_path / "progress.json")
    killed = []
    with FaultProxy(emulator, reached=lambda call: call == 2 and killed[0].send_signal(signal.SIGKILL)) as proxy:
        killed.append(start(*options, url=proxy.url))
        assert end(killed[0]).code == -signal.SIGKILL
    rest = replay(*options)

    assert rest.code == 0, rest.stderr
    assert rest.summary["skipped_events"] == 2_500
    there, wanted = event_keys(read_back(stream)), event_keys(expected)
    assert wanted - there == Counter()
    assert (there - wanted).total() == len(expected) - 2_500


def _lost_if(lost: bool) -> Fault | None:
    return Fault.RESET_BEFORE if lost else None


def hash_ranges(kinesis: object, stream: str) -> dict[str, tuple[int, int]]:
    """Return first and last hash key of each shard."""
    return {
        shard["ShardId"]: (int(shard["HashKeyRange"]["StartingHashKey"]), int(shard["HashKeyRange"]["EndingHashKey"]))
        for shard in list_shards(kinesis, stream)
    }


def split_first_shard(kinesis: object, stream: str) -> None:
    name, (first, last) = min(hash_ranges(kinesis, stream).items(), key=lambda item: item[1])
    kinesis.split_shard(StreamName=stream, ShardToSplit=name, NewStartingHashKey=str((first + last) // 2))
