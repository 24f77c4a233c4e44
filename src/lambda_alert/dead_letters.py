"""Dead letters: records that are neither alert nor tally, in the failure queue with the reason and their position.

Lambda itself puts other messages into the queue, about batches that failed too often: they hold the records' position
in the stream, but not the records.
"""

import json
from base64 import b64encode
from datetime import datetime
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


def redriven(sqs: Any, kinesis: Any, queue_url: str, stream: str) -> list[dict[str, Any]]:
    """Put back into the stream what the queue's messages name by position. Return a row for each message.

    Such a message leaves the queue when its records are in the stream again. One whose records are gone stays, and so
    does a dead letter of the function: its record would come back.
    """
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    while messages := sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages"):
        new = [one for one in messages if one["MessageId"] not in seen]
        if not new:
            break
        seen.update(one["MessageId"] for one in new)
        for message in new:
            body = json.loads(message["Body"])
            batch = body.get("KinesisBatchInfo")
            if batch is None:
                rows.append({"what": "dead letter", "why": body.get("reason", ""), "records": 1, "redriven": 0})
                continue
            found = _records_of(kinesis, stream, batch)
            for record in found:
                kinesis.put_record(StreamName=stream, PartitionKey=record["PartitionKey"], Data=record["Data"])
            if len(found) == batch["batchSize"]:
                sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
            why = body["requestContext"]["condition"]
            rows.append({"what": "records", "why": why, "records": batch["batchSize"], "redriven": len(found)})
    return rows


def _records_of(kinesis: Any, stream: str, batch: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the batch's records that the stream still holds."""
    first, last = int(batch["startSequenceNumber"]), int(batch["endSequenceNumber"])
    iterator = kinesis.get_shard_iterator(
        StreamName=stream,
        ShardId=batch["shardId"],
        ShardIteratorType="AT_TIMESTAMP",  # AT_SEQUENCE_NUMBER is refused once the record is gone
        Timestamp=datetime.fromisoformat(batch["approximateArrivalOfFirstRecord"]),
    )["ShardIterator"]
    found: list[dict[str, Any]] = []
    while iterator:
        reply = kinesis.get_records(ShardIterator=iterator)
        found += [one for one in reply["Records"] if first <= int(one["SequenceNumber"]) <= last]
        is_past = any(int(one["SequenceNumber"]) >= last for one in reply["Records"])
        iterator = None if is_past or not reply["MillisBehindLatest"] else reply.get("NextShardIterator")
    return found
