"""Dead letters: records that are neither alert nor tally, in the failure queue with the reason and their position.

Lambda itself puts other messages into the queue, about batches that failed too often: they hold the records' position
in the stream, but not the records.
"""

import json
from base64 import b64encode
from typing import Any

from lambda_alert.alert import iso
from lambda_alert.records import UserRecord

# An alert has 250 bytes, and with the longest id 4,000. JSON escapes turn a byte into six at most, and a queue accepts
# 262,144 by default:
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
MAX_PAYLOAD_BYTES = 40_000


def letter(record: UserRecord, reason: str) -> str:
    """Return the message: a JSON object, in ASCII because SQS refuses some characters.

    A payload that is not UTF-8 is in base64. Only the start of a large one is kept; the whole record is in the stream
    at `sequence_number` until its retention ends.
    """
    kept = record.payload[:MAX_PAYLOAD_BYTES]
    try:
        payload, encoding = kept.decode(), "utf-8"
    except UnicodeDecodeError:
        payload, encoding = b64encode(kept).decode(), "base64"
    return json.dumps(
        {
            "reason": reason,
            "payload": payload,
            "payload_encoding": encoding,
            "payload_bytes": len(record.payload),
            "payload_kept_bytes": len(kept),
            "stream_arn": record.stream_arn,
            "shard_id": record.shard_id,
            "sequence_number": record.sequence_number,
            "position": record.position,
            "arrived_at": iso(record.arrived_at),
        }
    )


class DeadLetters:
    """The failure queue."""

    def __init__(self, sqs: Any, queue_url: str) -> None:
        self._sqs = sqs
        self._queue_url = queue_url

    def send(self, record: UserRecord, reason: str) -> None:
        """Put the record into the queue."""
        self._sqs.send_message(QueueUrl=self._queue_url, MessageBody=letter(record, reason))
