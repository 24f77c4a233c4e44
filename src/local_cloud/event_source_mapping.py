"""Lambda's event source mappings for Kinesis, as AWS documents them, over the emulator's functions.

The emulator's own lose records (docs/traps.md). This runner reads the deployed mappings through the API and does what
https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html and its neighbours say: batch
size and window, partial batch responses, bisecting, retries, record age, on-failure destination, parallelisation.
"""

import base64
import json
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from zlib import crc32

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local_cloud.shards import Checkpoints, Shard, follow

log = logging.getLogger("event_source_mapping")

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: of a synchronous call. The event wraps each
# record in about 500 bytes and its data in base64.
MAX_PAYLOAD_BYTES = 6 * 1024 * 1024
WRAPPING_BYTES = 500


class Mapping:
    """One deployed mapping from a stream to a function."""

    def __init__(self, settings: dict, directory: Path):
        if settings.get("FilterCriteria") or settings.get("TumblingWindowInSeconds"):
            raise ValueError(
                f"mapping {settings['UUID']} has a filter or a tumbling window, which the local runner does not "
                "know: take them out, or teach local_cloud/event_source_mapping.py"
            )
        self.settings = settings
        self.stream = settings["EventSourceArn"].rsplit("/", 1)[1]
        self.function = settings["FunctionArn"]
        self.checkpoints = Checkpoints(directory / "event_source_mapping" / f"{self.function.split(':')[6]}.json")
        self.kinesis = boto3.client("kinesis")
        # A retry is the mapping's decision, not the SDK's.
        self.functions = boto3.client("lambda", config=Config(retries={"total_max_attempts": 1}, read_timeout=900))
        self.queues = boto3.client("sqs")
        self.pool = ThreadPoolExecutor(settings.get("ParallelizationFactor") or 1)

    def run(self) -> None:
        """Delivers the stream's records to the function, for ever."""
        waiting: dict[str, list[dict]] = {}
        since: dict[str, float] = {}
        start = {"ShardIteratorType": self.settings["StartingPosition"]}
        if start["ShardIteratorType"] == "AT_TIMESTAMP":
            start["Timestamp"] = self.settings["StartingPositionTimestamp"]
        for shard, records in follow(self.kinesis, self.stream, self.checkpoints, start):
            batch = waiting.setdefault(shard.name, [])
            if records and not batch:
                since[shard.name] = time.monotonic()
            batch += records
            window_s = self.settings.get("MaximumBatchingWindowInSeconds") or 0
            size = self.settings.get("BatchSize") or 100
            if batch and (len(batch) >= size or time.monotonic() - since[shard.name] >= window_s):
                self.deliver_all(shard, batch)
                waiting[shard.name] = []

    def deliver_all(self, shard: Shard, records: list[dict]) -> None:
        """Returns when all records are dealt with: handled by the function, or sent to the on-failure destination."""
        factor = self.settings.get("ParallelizationFactor") or 1
        lanes: list[list[dict]] = [[] for _ in range(factor)]
        for record in records:
            # The records of one partition key stay in order: they share a lane.
            lanes[crc32(record["PartitionKey"].encode()) % factor].append(record)
        list(self.pool.map(lambda lane: self.deliver_lane(shard.name, lane), lanes))
        self.checkpoints.set(shard.name, records[-1]["SequenceNumber"])

    def deliver_lane(self, shard: str, records: list[dict]) -> None:
        """Returns when the lane's records are dealt with, batch after batch."""
        for batch in batches(records, self.settings.get("BatchSize") or 100):
            self.deliver(shard, batch, attempt=0)

    def deliver(self, shard: str, batch: list[dict], attempt: int) -> None:
        """Returns when the batch is dealt with; `attempt` counts the retries so far."""
        while batch:
            batch = self.without_expired(shard, batch)
            if not batch:
                return
            failed_at, cause = self.call(shard, batch)
            if failed_at is None:
                return
            # What stands before the first failure is done, and counts as progress.
            batch = batch[failed_at:]
            most = self.settings.get("MaximumRetryAttempts", -1)
            if self.settings.get("BisectBatchOnFunctionError") and failed_at == 0 and len(batch) > 1:
                # A split does not use up a retry.
                middle = len(batch) // 2
                self.deliver(shard, batch[:middle], attempt)
                batch = batch[middle:]
                continue
            if most is not None and 0 <= most <= attempt:
                self.give_up(shard, batch, "RetryAttemptsExhausted", attempt + 1, cause)
                return
            attempt += 1
            time.sleep(min(0.1 * 2**attempt, 5))

    def call(self, shard: str, batch: list[dict]) -> tuple[int | None, dict]:
        """Returns (index of the first record that failed or None, what the function answered)."""
        payload = json.dumps({"Records": [self.event(shard, record) for record in batch]})
        try:
            answer = self.functions.invoke(FunctionName=self.function, Payload=payload)
            body = answer["Payload"].read()
        except (BotoCoreError, ClientError) as error:
            log.warning("could not call %s: %s", self.function, error)
            return 0, {"statusCode": 500, "functionError": str(error)}
        response = {"statusCode": answer["StatusCode"], "executedVersion": answer.get("ExecutedVersion", "$LATEST")}
        if "FunctionError" in answer:
            log.warning("%s failed: %s", self.function, body[:500])
            return 0, response | {"functionError": answer["FunctionError"]}
        if "ReportBatchItemFailures" not in (self.settings.get("FunctionResponseTypes") or []):
            return None, response
        return first_failure(body, [record["SequenceNumber"] for record in batch]), response

    def event(self, shard: str, record: dict) -> dict:
        """Returns the record as a function gets it."""
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
            "awsRegion": self.settings["EventSourceArn"].split(":")[3],
            "eventSourceARN": self.settings["EventSourceArn"],
        }

    def without_expired(self, shard: str, batch: list[dict]) -> list[dict]:
        """Returns the records young enough to be tried; the others go to the on-failure destination."""
        most_s = self.settings.get("MaximumRecordAgeInSeconds") or -1
        if most_s < 0:
            return batch
        now = datetime.now(UTC)
        old = [r for r in batch if (now - r["ApproximateArrivalTimestamp"]).total_seconds() > most_s]
        if old:
            self.give_up(shard, old, "RecordAgeExceeded", 0, {})
        return [record for record in batch if record not in old]

    def give_up(self, shard: str, batch: list[dict], condition: str, calls: int, response: dict) -> None:
        """Tells the on-failure queue which records were not handled. As on AWS, it gets their place, not their data."""
        destination = (self.settings.get("DestinationConfig") or {}).get("OnFailure", {}).get("Destination")
        log.error("gave up %d records of %s: %s", len(batch), shard, condition)
        if not destination:
            return
        first, last = batch[0], batch[-1]
        message = {
            "requestContext": {
                "functionArn": self.function,
                "condition": condition,
                "approximateInvokeCount": calls,
            },
            "responseContext": response,
            "version": "1.0",
            "timestamp": datetime.now(UTC).isoformat(),
            "KinesisBatchInfo": {
                "shardId": shard,
                "startSequenceNumber": first["SequenceNumber"],
                "endSequenceNumber": last["SequenceNumber"],
                "approximateArrivalOfFirstRecord": first["ApproximateArrivalTimestamp"].isoformat(),
                "approximateArrivalOfLastRecord": last["ApproximateArrivalTimestamp"].isoformat(),
                "batchSize": len(batch),
                "streamArn": self.settings["EventSourceArn"],
            },
        }
        url = self.queues.get_queue_url(QueueName=destination.rsplit(":", 1)[1])["QueueUrl"]
        self.queues.send_message(QueueUrl=url, MessageBody=json.dumps(message))


def batches(records: list[dict], size: int):
    """Yields the records in order, in lists of at most `size` that fit into one call."""
    batch: list[dict] = []
    total = 0
    for record in records:
        length = len(record["Data"]) * 4 // 3 + WRAPPING_BYTES
        if batch and (len(batch) == size or total + length > MAX_PAYLOAD_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(record)
        total += length
    if batch:
        yield batch


def first_failure(body: bytes, sequence_numbers: list[str]) -> int | None:
    """Returns the index of the first record that the function reports as failed; None if all went well.

    An answer that cannot be understood fails the whole batch, as AWS documents.
    """
    try:
        answer = json.loads(body or b"null")
        failures = (answer or {}).get("batchItemFailures") or []
        reported = [failure["itemIdentifier"] for failure in failures]
        return min((sequence_numbers.index(number) for number in reported), default=None)
    except (ValueError, AttributeError, TypeError, KeyError):
        return 0


def main() -> None:
    """Starts a thread for each mapping that is deployed, and for each that comes later."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    log.setLevel(logging.INFO)
    directory = Path(os.environ["STACK_DIRECTORY"])
    started: set[str] = set()
    while True:
        try:
            mappings = boto3.client("lambda").list_event_source_mappings()["EventSourceMappings"]
        except (BotoCoreError, ClientError) as error:
            log.info("waiting for the emulator: %s", error)
            mappings = []
        for settings in mappings:
            enabled = settings["State"] in ("Enabled", "Creating", "Enabling")
            if ":kinesis:" in settings["EventSourceArn"] and enabled and settings["UUID"] not in started:
                log.info("started %s", json.dumps(settings, default=str))
                started.add(settings["UUID"])
                Thread(target=run_or_exit, args=(settings, directory), daemon=True).start()
        time.sleep(1)


def run_or_exit(settings: dict, directory: Path) -> None:
    """Runs the mapping; an error ends the process, so that it is seen and supervisor starts it anew."""
    try:
        Mapping(settings, directory).run()
    except Exception:
        log.exception("mapping %s ended", settings["UUID"])
        os._exit(1)


if __name__ == "__main__":
    main()
