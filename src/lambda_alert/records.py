"""What Lambda hands over from Kinesis: an event's record in, the user records inside it out."""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import md5
from typing import Any

from aws_kinesis_agg import DIGEST_SIZE, MAGIC

# Not `import messages_pb2`: it only finds its own imports once `deaggregator` has put their folder on sys.path.
from aws_kinesis_agg.deaggregator import messages_pb2
from google.protobuf.message import DecodeError


@dataclass(frozen=True)
class UserRecord:
    """One record as its producer meant it, and where in the stream it lies."""

    payload: bytes
    stream_arn: str
    shard_id: str
    sequence_number: str  # of the Kinesis record: all that Lambda can retry
    position: int  # within the Kinesis record: not 0 only if the producer aggregated
    arrived_at: datetime


def unpack(record: Mapping[str, Any]) -> list[UserRecord]:
    """The user records of one Kinesis record: several if the KPL aggregated them, else the record itself."""
    kinesis = record["kinesis"]
    return [
        UserRecord(
            payload=payload,
            stream_arn=record["eventSourceARN"],
            shard_id=record["eventID"].partition(":")[0],
            sequence_number=kinesis["sequenceNumber"],
            position=position,
            arrived_at=datetime.fromtimestamp(kinesis["approximateArrivalTimestamp"], UTC),
        )
        for position, payload in enumerate(_payloads(b64decode(kinesis["data"])))
    ]


def _payloads(data: bytes) -> list[bytes]:
    """The payloads in the data of a Kinesis record; what only looks like an aggregate is returned as it is.

    Not aws_kinesis_agg's own deaggregator: at an entry without a valid key it prints the customer's data and drops the
    rest of the aggregate. The keys are of no interest here.
    https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md
    """
    body, digest = data[len(MAGIC) : -DIGEST_SIZE], data[-DIGEST_SIZE:]
    if not data.startswith(MAGIC) or md5(body, usedforsecurity=False).digest() != digest:
        return [data]
    try:
        entries = messages_pb2.AggregatedRecord.FromString(body).records
    except DecodeError:
        return [data]
    return [entry.data for entry in entries] or [data]
