"""Lambda's event source mappings for Kinesis, as AWS documents them, over the emulator's functions.

The emulator's own mappings lose records (docs/traps.md). This poller reads the deployed mappings through the API, once,
and does what https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html and the pages
beside it say: batch size and window, partial batch responses, bisecting, retries, record age, on-failure queue,
parallelisation.

A batch that is retried delays its own shard only.
"""

import base64
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from zlib import crc32

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local_cloud.pollers.shards import SECONDS_PER_READ, Checkpoints, Shard, list_shards, next_shards

log = logging.getLogger("event_source_mapping")

# Limit of a synchronous call: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_PAYLOAD_BYTES = 6 * 1024 * 1024
MAX_SHARDS = 1000
MAX_PAUSE_S = 5


@dataclass(frozen=True)
class Outcome:
    """How a call of the function ended."""

    handled: int  # how many records are done, from the start of the batch
    is_error: bool  # the batch failed as a whole; otherwise the function itself reported where to continue
    request_id: str
    context: dict  # what the on-failure queue gets


class Mapping:
    """One deployed mapping from a stream to a function.

    `settings` is an entry of ListEventSourceMappings. One that the poller does not support is a ValueError.
    """

    def __init__(
        self,
        settings: dict,
        directory: Path,
        client: Callable = boto3.client,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ):
        self.now, self.sleep = now, sleep
        self.stream_arn, self.function = settings["EventSourceArn"], settings["FunctionArn"]
        self.stream = self.stream_arn.split("/")[1]
        self.start = start_position(settings)
        self.batch_size = settings.get("BatchSize") or 100
        self.window_s = settings.get("MaximumBatchingWindowInSeconds") or 0
        self.lanes = settings.get("ParallelizationFactor") or 1
        self.takes_partial_answers = "ReportBatchItemFailures" in (settings.get("FunctionResponseTypes") or [])
        self.bisects = bool(settings.get("BisectBatchOnFunctionError"))
        # For both, -1 is the default and means: no limit.
        self.most_retries = endless_if_none(settings.get("MaximumRetryAttempts"))
        self.max_age_s = endless_if_none(settings.get("MaximumRecordAgeInSeconds"))
        self.on_failure = ((settings.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination")
        unknown = [name for name in ("FilterCriteria", "TumblingWindowInSeconds") if settings.get(name)]
        if self.on_failure and ":sqs:" not in self.on_failure:
            unknown.append(f"the on-failure destination {self.on_failure}")
        if unknown:
            raise ValueError(
                f"mapping {settings['UUID']} has {' and '.join(unknown)}, which the local poller does not support: "
                "remove it, or add it to local_cloud/pollers/event_source_mapping.py"
            )
        self.checkpoints = Checkpoints(directory / "event_source_mapping" / f"{self.function.split(':')[6]}.json")
        self.kinesis, self.queues = client("kinesis"), client("sqs")
        # The mapping decides on retries, not the SDK.
        self.functions = client("lambda", config=Config(retries={"total_max_attempts": 1}, read_timeout=900))

    def run(self) -> None:
        """Deliver the stream's records to the function, for ever, each shard in its own thread.

        Raise the error that ends the delivery of a shard.
        """
        pool = ThreadPoolExecutor(MAX_SHARDS)
        deliveries: dict[str, Future] = {}
        while True:
            ended = {name for name, delivery in deliveries.items() if delivery.done()}
            for name in ended:
                deliveries[name].result()
            for name in next_shards(list_shards(self.kinesis, self.stream), deliveries, ended):
                shard = Shard(self.kinesis, self.stream, name, self.checkpoints.get(name), self.start)
                deliveries[name] = pool.submit(self.deliver_shard, shard)
            self.sleep(1)

    def deliver_shard(self, shard: Shard) -> None:
        """Deliver a shard's records, and return when the shard is closed and all of them are done."""
        waiting: list[dict] = []
        since = self.now()
        with ThreadPoolExecutor(self.lanes) as pool:
            while waiting or not shard.is_read_out:
                records = [self.event(shard.name, record) for record in shard.read()]
                if not waiting:
                    since = self.now()
                waiting += records
                due = 0
                if (self.now() - since).total_seconds() >= self.window_s:
                    due = len(waiting)
                elif records:
                    due = self.in_full_batches(waiting)
                if due:
                    self.deliver_all(pool, shard.name, waiting[:due])
                    waiting, since = waiting[due:], self.now()
                self.sleep(SECONDS_PER_READ)

    def in_full_batches(self, records: list[dict]) -> int:
        """Return how many of the records, at least one, are in full batches."""
        *full, last = batches(records, self.batch_size)
        return len(records) if len(last) == self.batch_size else sum(map(len, full))

    def deliver_all(self, pool: ThreadPoolExecutor, shard: str, records: list[dict]) -> None:
        """Return when all records are done: handled by the function, or given up."""
        lanes: list[list[dict]] = [[] for _ in range(self.lanes)]
        for record in records:
            # All records of a partition key are in one lane, so that they stay in order.
            lanes[crc32(record["kinesis"]["partitionKey"].encode()) % self.lanes].append(record)
        list(pool.map(lambda lane: self.deliver_lane(shard, lane), lanes))
        self.checkpoints.set(shard, sequence_number(records[-1]))

    def deliver_lane(self, shard: str, records: list[dict]) -> None:
        """Return when the lane's records are done, batch after batch."""
        for batch in batches(records, self.batch_size):
            self.deliver(shard, batch)

    def deliver(self, shard: str, batch: list[dict], retries: int = 0) -> None:
        """Return when the batch is done. `retries` is how many it has already used."""
        outcome = None
        while batch := self.without_expired(shard, batch, retries, outcome):
            outcome = self.call(batch)
            if outcome is None:
                # A function that could not be called uses up no retry. Only the age of the records ends this.
                # https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
                self.sleep(1)
                continue
            batch = batch[outcome.handled :]
            if outcome.is_error and self.bisects and len(batch) > 1:
                # Splitting the batch uses up no retry either.
                middle = len(batch) // 2
                self.deliver(shard, batch[:middle], retries)
                batch = batch[middle:]
            elif batch and 0 <= self.most_retries <= retries:
                self.give_up(shard, batch, "RetryAttemptsExhausted", retries + 1, outcome)
                return
            elif batch:
                retries += 1
                self.sleep(min(0.1 * 2 ** min(retries, 10), MAX_PAUSE_S))

    def call(self, batch: list[dict]) -> Outcome | None:
        """Call the function and return how that ended, or None if it could not be called."""
        try:
            reply = self.functions.invoke(FunctionName=self.function, Payload=json.dumps({"Records": batch}))
            body = reply["Payload"].read()
        except (BotoCoreError, ClientError) as exception:
            log.warning("could not call %s: %s", self.function, exception)
            return None
        error = reply.get("FunctionError")
        if error:
            log.warning("%s failed: %s", self.function, body[:500])
        handled = None if error else len(batch)
        if not error and self.takes_partial_answers:
            handled = handled_records(body, [sequence_number(record) for record in batch])
        return Outcome(
            handled=handled or 0,
            is_error=handled is None,
            request_id=reply["ResponseMetadata"]["RequestId"],
            context={
                "statusCode": reply["StatusCode"],
                "executedVersion": reply.get("ExecutedVersion", "$LATEST"),
                "functionError": error,
            },
        )

    def event(self, shard: str, record: dict) -> dict:
        """Return the record, given as boto3 does, as a function gets it."""
        return {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": record["PartitionKey"],
                "sequenceNumber": record["SequenceNumber"],
                "data": base64.b64encode(record["Data"]).decode(),
                "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].timestamp(),
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{shard}:{record['SequenceNumber']}",
            "eventName": "aws:kinesis:record",
            "awsRegion": self.stream_arn.split(":")[3],
            "eventSourceARN": self.stream_arn,
        }

    def without_expired(self, shard: str, batch: list[dict], calls: int, outcome: Outcome | None) -> list[dict]:
        """Return the batch from its first record that is young enough on. Give up the records before it."""
        if self.max_age_s < 0:
            return batch
        oldest = self.now().timestamp() - self.max_age_s
        expired = next((i for i, record in enumerate(batch) if arrived_at(record) >= oldest), len(batch))
        if expired:
            self.give_up(shard, batch[:expired], "RecordAgeExceeded", calls, outcome)
        return batch[expired:]

    def give_up(self, shard: str, batch: list[dict], condition: str, calls: int, outcome: Outcome | None) -> None:
        """Notify the on-failure queue of records that were not handled. As on AWS, it gets their place, not their data.

        https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
        """
        log.error("gave up %d records of %s: %s", len(batch), shard, condition)
        if not self.on_failure:
            return
        message = {
            "requestContext": {
                "requestId": outcome.request_id if outcome else None,
                "functionArn": self.function,
                "condition": condition,
                "approximateInvokeCount": calls,
            },
            "responseContext": outcome.context if outcome else None,
            "version": "1.0",
            "timestamp": iso(self.now().timestamp()),
            "KinesisBatchInfo": {
                "shardId": shard,
                "startSequenceNumber": sequence_number(batch[0]),
                "endSequenceNumber": sequence_number(batch[-1]),
                "approximateArrivalOfFirstRecord": iso(arrived_at(batch[0])),
                "approximateArrivalOfLastRecord": iso(arrived_at(batch[-1])),
                "batchSize": len(batch),
                "streamArn": self.stream_arn,
            },
        }
        url = self.queues.get_queue_url(QueueName=self.on_failure.rsplit(":", 1)[1])["QueueUrl"]
        self.queues.send_message(QueueUrl=url, MessageBody=json.dumps(message))


def start_position(settings: dict) -> dict:
    """Return the arguments of GetShardIterator for a shard without a checkpoint."""
    position = settings["StartingPosition"]
    if position == "TRIM_HORIZON":
        return {"ShardIteratorType": position}
    # Not LATEST itself: that would be another place at each restart, and in each shard that a split makes.
    at = settings["LastModified"] if position == "LATEST" else settings["StartingPositionTimestamp"]
    return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": at}


def endless_if_none(value: int | None) -> int:
    """Return the limit, or -1 (no limit) if none is set."""
    return -1 if value is None else value


def sequence_number(event: dict) -> str:
    """Return the record's sequence number."""
    return event["kinesis"]["sequenceNumber"]


def arrived_at(event: dict) -> float:
    """Return when the record arrived in the stream, in Unix seconds."""
    return event["kinesis"]["approximateArrivalTimestamp"]


def iso(seconds: float) -> str:
    """Return the instant as AWS writes it: `2019-11-14T00:38:06.021Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def batches(events: list[dict], size: int) -> Iterator[list[dict]]:
    """Yield the events in order, in lists of at most `size` that fit into one call."""
    empty = len(json.dumps({"Records": []}))
    batch: list[dict] = []
    total = empty
    for event in events:
        length = len(json.dumps(event)) + len(", ")
        if batch and (len(batch) == size or total + length > MAX_PAYLOAD_BYTES):
            yield batch
            batch, total = [], empty
        batch.append(event)
        total += length
    if batch:
        yield batch


def handled_records(body: bytes, sequence_numbers: list[str]) -> int | None:
    """Return how many records come before the first one that the function reports as failed.

    Return None if the function's reply is invalid: then, as AWS documents, the whole batch has failed.
    """
    try:
        failures = (json.loads(body or b"null") or {}).get("batchItemFailures") or []
        return min(
            (sequence_numbers.index(failure["itemIdentifier"]) for failure in failures), default=len(sequence_numbers)
        )
    except (ValueError, AttributeError, TypeError, KeyError):
        return None


def main() -> None:
    """Start a thread for each mapping that is deployed, now or later."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    log.setLevel(logging.INFO)
    directory = Path(os.environ["STACK_DIRECTORY"])
    started: set[str] = set()
    while True:
        try:
            pages = list(boto3.client("lambda").get_paginator("list_event_source_mappings").paginate())
        except (BotoCoreError, ClientError) as error:
            log.info("waiting for the emulator: %s", error)
            pages = []
        for settings in (mapping for page in pages for mapping in page["EventSourceMappings"]):
            enabled = settings["State"] in ("Enabled", "Creating", "Enabling")
            if ":kinesis:" in settings.get("EventSourceArn", "") and enabled and settings["UUID"] not in started:
                log.info("started %s", json.dumps(settings, default=str))
                started.add(settings["UUID"])
                Thread(target=run_or_exit, args=(settings, directory), daemon=True).start()
        time.sleep(1)


def run_or_exit(settings: dict, directory: Path) -> None:
    """Run the mapping. An error ends the process, so that it is noticed and supervisor starts it again."""
    try:
        Mapping(settings, directory).run()
    except Exception:
        log.exception("mapping %s ended", settings["UUID"])
        os._exit(1)


if __name__ == "__main__":
    main()
