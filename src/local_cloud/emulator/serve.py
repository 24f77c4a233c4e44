"""Serve ministack with a Kinesis that keeps a shard that was split or merged, as AWS does.

ministack deletes such a shard with all its unread records. On AWS it is closed: it takes no more records and is read to
its end, where GetRecords returns no further iterator. It disappears when its retention is over.

https://docs.aws.amazon.com/streams/latest/dev/kinesis-using-sdk-java-after-resharding.html
"""

import json
from collections.abc import Callable

from ministack.app import main
from ministack.core.responses import error_response_json, json_response
from ministack.services import kinesis

Reply = tuple[int, dict, bytes]

# ministack's own functions, which know no closed shards.
split_shard, merge_shards = kinesis._split_shard, kinesis._merge_shards
get_records, shard_out = kinesis._get_records, kinesis._shard_out
describe_stream_summary = kinesis._describe_stream_summary


def is_open(shard: dict) -> bool:
    """Return whether the shard takes records."""
    return "ending_sequence_number" not in shard


def open_shards(stream: dict) -> dict[str, dict]:
    """Return the open shards by name, in the order of their hash keys."""
    shards = [(name, shard) for name, shard in stream["shards"].items() if is_open(shard)]
    return dict(sorted(shards, key=lambda item: int(item[1]["starting_hash_key"])))


def keeps_parents(reshard: Callable[[dict], Reply]) -> Callable[[dict], Reply]:
    """Return ministack's split or merge, changed so that it closes shards instead of deleting them."""

    def resharded(request: dict) -> Reply:
        _, stream = kinesis._resolve_stream(request)
        before = dict(stream["shards"]) if stream else {}
        for parameter in ("ShardToSplit", "ShardToMerge", "AdjacentShardToMerge"):
            if (name := request.get(parameter)) in before and not is_open(before[name]):
                text = f"Shard {name} in stream {stream['StreamName']} is closed"
                return error_response_json("InvalidArgumentException", text, 400)
        ending = kinesis._next_sequence_number()
        reply = reshard(request)
        if stream:
            for name in before.keys() - stream["shards"].keys():
                stream["shards"][name] = before[name] | {"ending_sequence_number": ending}
        return reply

    return resharded


def update_shard_count(request: dict) -> Reply:
    """Make shards of equal size: split at the new bounds, and merge between them."""
    _, stream = kinesis._resolve_stream(request)
    if not stream:
        return error_response_json("ResourceNotFoundException", f"Stream {request.get('StreamName')} not found", 400)
    current, target = len(open_shards(stream)), int(request.get("TargetShardCount", 0))
    # https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateShardCount.html
    if not current <= 2 * target <= 4 * current:
        text = f"TargetShardCount {target} is not between half and double of {current}"
        return error_response_json("InvalidArgumentException", text, 400)
    name = {"StreamName": stream["StreamName"]}
    ranges = [(int(start), int(end)) for start, end in kinesis._compute_hash_ranges(target)]
    for start, _ in ranges:
        for shard, bounds in open_shards(stream).items():
            if int(bounds["starting_hash_key"]) < start <= int(bounds["ending_hash_key"]):
                kinesis._split_shard(name | {"ShardToSplit": shard, "NewStartingHashKey": str(start)})
    for start, end in ranges:

        def inside(start: int = start, end: int = end) -> list[str]:
            shards = open_shards(stream).items()
            return [shard for shard, bounds in shards if start <= int(bounds["starting_hash_key"]) <= end]

        while len(parts := inside()) > 1:
            kinesis._merge_shards(name | {"ShardToMerge": parts[0], "AdjacentShardToMerge": parts[1]})
    counts = {"CurrentShardCount": current, "TargetShardCount": target}
    return json_response(name | counts | {"StreamARN": stream["StreamARN"]})


def route_to_shard(hash_key: int, stream: dict) -> str:
    """Return the open shard that the hash key belongs to."""
    return next(
        name
        for name, shard in stream["shards"].items()
        if is_open(shard) and int(shard["starting_hash_key"]) <= hash_key <= int(shard["ending_hash_key"])
    )


def get_records_to_the_end(request: dict) -> Reply:
    """Answer GetRecords: at the end of a closed shard without a further iterator."""
    state = kinesis._shard_iterators.get(request.get("ShardIterator"))
    status, headers, body = get_records(request)
    if status != 200:
        return status, headers, body
    stream = kinesis._streams[state["stream"]]
    reply = json.loads(body)
    following = kinesis._shard_iterators[reply["NextShardIterator"]]
    shard = stream["shards"][state["shard_id"]]
    if is_open(shard) or following["position"] < len(shard["records"]):
        return status, headers, body
    del kinesis._shard_iterators[reply.pop("NextShardIterator")]
    reply["ChildShards"] = [
        {"ShardId": name, "ParentShards": parents(child), "HashKeyRange": shard_out(name, child)["HashKeyRange"]}
        for name, child in stream["shards"].items()
        if state["shard_id"] in parents(child)
    ]
    return json_response(reply)


def parents(shard: dict) -> list[str]:
    """Return the shards that this one was made of."""
    return [shard[name] for name in ("parent_shard_id", "adjacent_parent_shard_id") if shard.get(name)]


def shard_out_with_its_end(name: str, shard: dict) -> dict:
    """Return a shard as ListShards shows it: a closed one has an ending sequence number."""
    shown = shard_out(name, shard)
    if not is_open(shard):
        shown["SequenceNumberRange"]["EndingSequenceNumber"] = shard["ending_sequence_number"]
    return shown


def describe_open_shards(request: dict) -> Reply:
    """Answer DescribeStreamSummary, which counts the open shards."""
    status, headers, body = describe_stream_summary(request)
    if status != 200:
        return status, headers, body
    _, stream = kinesis._resolve_stream(request)
    reply = json.loads(body)
    reply["StreamDescriptionSummary"]["OpenShardCount"] = len(open_shards(stream))
    return json_response(reply)


if __name__ == "__main__":
    kinesis._split_shard, kinesis._merge_shards = keeps_parents(split_shard), keeps_parents(merge_shards)
    kinesis._update_shard_count = update_shard_count
    kinesis._route_to_shard = route_to_shard
    kinesis._get_records = get_records_to_the_end
    kinesis._shard_out = shard_out_with_its_end
    kinesis._describe_stream_summary = describe_open_shards
    main()
