"""A Kinesis stream: the client, its calls, its shards."""

import json
from collections.abc import Sequence
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from simulator.aws import ClientFactory, client_from_environment
from simulator.sending.errors import THROTTLED, SendError, explain


def connect(create_client: ClientFactory = client_from_environment) -> Any:
    """Return a Kinesis client. It repeats calls that fail; entries that are refused are left to Writer."""
    try:
        return create_client("kinesis", config=Config(retries={"mode": "standard", "total_max_attempts": 8}))
    except (BotoCoreError, ValueError) as error:  # ValueError: AWS_ENDPOINT_URL is no URL
        raise SendError(explain(error)) from error


class Stream:
    """A Kinesis stream that takes entries as JSON.

    boto3 takes 20 µs and more to encode and check each entry; ours are encoded a block at a time. So boto3 gets one
    entry to check, and its request's body is replaced just before it is signed (docs/adr/0007). Credentials, retries
    of whole calls, endpoints and answers remain boto3's.
    """

    def __init__(self, client: Any, name: str) -> None:
        self.name = name
        self.calls = 0
        self.throttled_calls = 0  # boto3 repeats all of them but the last
        self._client = client
        self._body = b""
        client.meta.events.register("before-call.kinesis.PutRecords", self._replace_body)
        client.meta.events.register("response-received.kinesis.PutRecords", self._count_throttled)

    def put_records(self, entries: Sequence[str]) -> list[dict[str, Any]]:
        """Return the answer to each entry. Raise SendError."""
        self._body = f'{{"StreamName":{json.dumps(self.name)},"Records":[{",".join(entries)}]}}'.encode()
        self.calls += 1
        try:
            one = [{"Data": b"", "PartitionKey": "0"}]
            return self._client.put_records(StreamName=self.name, Records=one)["Records"]
        except (ClientError, BotoCoreError) as error:
            raise SendError(f"stream {self.name} took no records: {explain(error)}") from error

    def shards(self) -> list[tuple[int, int]]:
        """Return first and last hash key of each open shard, in order. Raise SendError."""
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

    def _replace_body(self, params: dict[str, Any], **_: Any) -> None:
        params["body"] = self._body

    def _count_throttled(self, parsed_response: dict[str, Any] | None, **_: Any) -> None:
        self.throttled_calls += (parsed_response or {}).get("Error", {}).get("Code") == THROTTLED
