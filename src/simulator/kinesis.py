"""Records → a Kinesis stream: in batches, in order, repeating only what was refused, until all is acknowledged."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
)

# https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html: at most 500 records a request
MAX_BATCH_RECORDS = 500
# https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html: a request's records and
# keys. AWS has raised it since; this much is taken everywhere.
MAX_BATCH_BYTES = 5 * 1024**2
# https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html: a record, the default of a stream
MAX_RECORD_BYTES = 1024**2
# https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsRequestEntry.html: characters of a partition key
MAX_KEY_CHARACTERS = 256

# https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/: "full jitter". With these a
# shard may refuse everything for about 40 s before the replay gives up.
MAX_ATTEMPTS = 20
BACKOFF_BASE_S = 0.1
BACKOFF_CAP_S = 5.0


class SendError(RuntimeError):
    """Records that the stream did not acknowledge; the message says why and what to do."""


class _Record(NamedTuple):
    data: bytes
    partition_key: str
    tag: Any


class Writer:
    """Puts records on one stream; right after the stream acknowledged some, `acknowledged` is called with their tags.

    A batch is complete before the next begins, and there is one sender, not several: consumers by event time (Flink,
    with a watermark per shard) drop what is overtaken by more than seconds, and at full speed a batch spans a minute.
    Within a batch Kinesis promises no order: a refused entry may be overtaken by later ones, even of its own key.
    """

    def __init__(
        self,
        client: Any,
        stream: str,
        acknowledged: Callable[[Sequence[Any]], None] = lambda tags: None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self._client = client
        self._stream = stream
        self._acknowledged = acknowledged
        self._sleep = sleep
        self._rng = rng or random.Random()
        self._batch: list[_Record] = []
        self._batch_bytes = 0
        self.put_records = 0
        self.acknowledged_records = 0
        self.retries = 0

    def put(self, data: bytes, partition_key: str, tag: Any = None) -> None:
        """Buffers a record, after sending the batch before it if that is full. Raises SendError."""
        size = len(data) + len(partition_key.encode())
        if size > MAX_RECORD_BYTES:
            raise ValueError(f"a record of {size} bytes with its key, allowed are {MAX_RECORD_BYTES}: make it smaller")
        if not 1 <= len(partition_key) <= MAX_KEY_CHARACTERS:
            raise ValueError(
                f"a partition key of {len(partition_key)} characters, allowed are 1 to {MAX_KEY_CHARACTERS}"
            )
        if len(self._batch) == MAX_BATCH_RECORDS or self._batch_bytes + size > MAX_BATCH_BYTES:
            self.flush()
        self._batch.append(_Record(data, partition_key, tag))
        self._batch_bytes += size
        self.put_records += 1

    def flush(self) -> None:
        """Sends what is buffered and returns when all of it is acknowledged. Raises SendError."""
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        for attempt in range(MAX_ATTEMPTS):
            if not batch:
                return
            if attempt:
                self.retries += len(batch)
                self._sleep(self._rng.uniform(0, min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2**attempt)))
            answers = self._put_records(batch)
            accepted = [
                record.tag for record, answer in zip(batch, answers, strict=True) if not answer.get("ErrorCode")
            ]
            refused = [
                (record, answer) for record, answer in zip(batch, answers, strict=True) if answer.get("ErrorCode")
            ]
            self.acknowledged_records += len(accepted)
            self._acknowledged(accepted)
            batch = [record for record, _ in refused]
        if batch:
            answer = refused[0][1]
            raise SendError(
                f"stream {self._stream} refused {len(batch)} records {MAX_ATTEMPTS} times, the first with "
                f"{answer['ErrorCode']}: {answer.get('ErrorMessage')}; {_TOO_FAST}"
            )

    def _put_records(self, batch: Sequence[_Record]) -> list[dict[str, Any]]:
        entries = [{"Data": record.data, "PartitionKey": record.partition_key} for record in batch]
        try:
            return self._client.put_records(StreamName=self._stream, Records=entries)["Records"]
        except (ClientError, BotoCoreError) as error:
            raise SendError(f"stream {self._stream} took no records: {explain(error)}") from error


def connect() -> Any:
    """A Kinesis client. The SDK repeats failed calls, Writer refused entries."""
    try:
        return boto3.client("kinesis", config=Config(retries={"mode": "standard", "total_max_attempts": 8}))
    except (BotoCoreError, ValueError) as error:  # ValueError: AWS_ENDPOINT_URL is no URL
        raise SendError(explain(error)) from error


def explain(error: Exception) -> str:
    """The error in one sentence, with a next step where one is known."""
    hint = next((hint for kind, hint in _HINTS_BY_TYPE.items() if isinstance(error, kind)), None)
    if isinstance(error, ClientError):
        hint = _HINTS_BY_CODE.get(error.response.get("Error", {}).get("Code", ""))
    text = " ".join(str(error).split()).removesuffix(".")  # botocore puts some on several lines
    return f"{text}; {hint}" if hint else text


_TOO_FAST = "give the stream more shards or replay more slowly (--speed)"
_NO_LOGIN = "log in to AWS, or use ENV=local with the stack up"
_HINTS_BY_TYPE: dict[type[Exception], str] = {
    NoCredentialsError: _NO_LOGIN,
    PartialCredentialsError: _NO_LOGIN,
    CredentialRetrievalError: _NO_LOGIN,
    SSOError: _NO_LOGIN,
    ProfileNotFound: "check AWS_PROFILE, or use ENV=local with the stack up",
    # Not AWS_REGION, which boto3 does not read.
    NoRegionError: "set AWS_DEFAULT_REGION, or use ENV=local with the stack up",
    EndpointConnectionError: "is the stack up? `make up` starts the local one",
}
_HINTS_BY_CODE = {
    "ResourceNotFoundException": "check --stream, the region and the account, or apply Terraform first",
    "ProvisionedThroughputExceededException": _TOO_FAST,
    "AccessDeniedException": "the caller needs kinesis:PutRecords on this stream",
    "ExpiredTokenException": _NO_LOGIN,
    "UnrecognizedClientException": _NO_LOGIN,
    "InvalidSignatureException": _NO_LOGIN,
}
