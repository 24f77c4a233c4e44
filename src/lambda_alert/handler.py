"""The Lambda function: takes a batch of stream 2, returns the records to retry.

    stream 2 → unpack → parse → incident recorded → notice sent → metric logged → incident marked notified
                          ├ tally → total kept → of unjudged events: metric logged
                          └ neither → failure queue

**Exactly one effect.** An alert may come twice: Lambda repeats batches, and Flink repeats alerts after a restart. The
alert's id is the key of the incident. Once the incident is marked notified, a repeat changes nothing: no second item,
message or metric. If a call breaks off before that mark, the retry does the rest. If it breaks off between the notice
and the mark, the notice, and perhaps the metric, comes again. That gap is one DynamoDB call long, and marking first
would lose alerts in it. Both copies of the notice have the same `alert_id`.
Of the tallies of one outcome and date, the latest total is kept. One that comes twice changes nothing.

**No concurrent calls for one alert.** So there is no lock. Stream 2 is partitioned by subject, and Lambda never
processes two records of one partition key at once, whatever the parallelization factor.

**Failures.** Lambda retries everything from the lowest sequence number that is reported. The records behind a failed
one are processed all the same: repeating them costs one conditional write each. Waiting would let one failing alert
delay the alerts of other subjects, and lose them after the last retry. So a record that is neither alert nor tally may
reach the failure queue more than once if it is behind a failure. Its sequence number and position show that.
https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
"""

import json
import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import chain
from typing import Any

import boto3
from botocore.config import Config

from lambda_alert import settings, tally
from lambda_alert.alert import MalformedAlert, parse
from lambda_alert.dead_letters import DeadLetters
from lambda_alert.incidents import Incidents
from lambda_alert.metrics import emf_line, tally_line
from lambda_alert.notices import Notices
from lambda_alert.records import UserRecord, unpack
from lambda_alert.tally import MalformedTally
from lambda_alert.totals import Totals

# An AWS call fails after at most 2 x (1 + 3) s and a short pause between. That is below the reserve: an outage is
# reported record by record, before Lambda's own timeout fails the whole batch.
CLIENT_CONFIG = Config(connect_timeout=1, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 2})
RESERVE_MS = 10_000


def handle(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Handle a batch. Return Lambda's partial batch response: the sequence numbers of the records to retry."""
    return _responder().respond(event["Records"], context.get_remaining_time_in_millis)


class Responder:
    """What turns alerts and tallies into incidents, notices and metrics. Clients, clock and log are passed in."""

    def __init__(
        self,
        values: settings.Settings,
        dynamodb: Any,
        sns: Any,
        sqs: Any,
        now: Callable[[], datetime],
        log: Callable[[str], None],
    ) -> None:
        self._values = values
        self._incidents = Incidents(dynamodb, values.dynamodb_control_table, values.incident_retention_days)
        self._totals = Totals(dynamodb, values.dynamodb_totals_table, values.incident_retention_days)
        self._notices = Notices(sns, values.topic_arn, values.dynamodb_control_table)
        self._dead_letters = DeadLetters(sqs, values.failure_queue_url)
        self._now = now
        self._log = log

    def respond(self, records: Sequence[Mapping[str, Any]], remaining_ms: Callable[[], int]) -> dict[str, Any]:
        """Handle the records. Return Lambda's partial batch response."""
        failed: dict[str, None] = {}  # an ordered set of sequence numbers
        for number, record in enumerate(chain.from_iterable(map(unpack, records))):
            # The first record is always tried: otherwise a short timeout would mean no progress at all.
            if number and remaining_ms() < RESERVE_MS:
                self._log_line("WARNING", "out of time: left for the next call", record)
                failed[record.sequence_number] = None
                break
            try:
                self._settle(record)
            except Exception as error:  # no error may stop the other alerts
                # Not format_exc: it would add the MalformedAlert before this error, which quotes the record.
                trace = "".join(traceback.format_tb(error.__traceback__))
                self._log_line("ERROR", "failed: to be retried", record, error=repr(error), trace=trace)
                failed[record.sequence_number] = None
        return {"batchItemFailures": [{"itemIdentifier": sequence_number} for sequence_number in failed]}

    def _settle(self, record: UserRecord) -> None:
        """Handle one record to the end. Any error means that it must be retried."""
        values = self._values
        try:
            if found := tally.parse(record.payload):
                if self._totals.record(found, record.arrived_at) and found.outcome != tally.JUDGED:
                    namespace, metric = values.cloudwatch_namespace, values.cloudwatch_unjudged_metric
                    self._log(tally_line(found, namespace, metric, self._now()))
                return
            alert = parse(record.payload)
        except (MalformedAlert, MalformedTally) as error:
            self._dead_letters.send(record, str(error))
            self._log_line("ERROR", "neither alert nor tally: kept in the failure queue with the reason", record)
            return
        if not self._incidents.record(alert, record.arrived_at):
            self._log_line("INFO", "repeated alert: nothing to do", record, alert_id=alert.alert_id)
            return
        self._notices.send(alert, record.arrived_at)
        self._log(emf_line(alert, values.cloudwatch_namespace, values.cloudwatch_metric, self._now()))
        self._incidents.mark_notified(alert, self._now())
        self._log_line("INFO", "alert notified", record, alert_id=alert.alert_id)

    def _log_line(self, level: str, message: str, record: UserRecord, **more: str) -> None:
        """Log a line of JSON with ids and positions, never a payload: that is customer data."""
        place = {"shard_id": record.shard_id, "sequence_number": record.sequence_number, "position": record.position}
        self._log(json.dumps({"level": level, "message": message, **place, **more}))


@cache
def _responder() -> Responder:
    """Return the responder of this execution environment. The first call makes it, so importing needs no AWS."""
    return Responder(
        settings.read(os.environ),
        dynamodb=boto3.client("dynamodb", config=CLIENT_CONFIG),
        sns=boto3.client("sns", config=CLIENT_CONFIG),
        sqs=boto3.client("sqs", config=CLIENT_CONFIG),
        now=lambda: datetime.now(UTC),
        log=lambda line: print(line, flush=True),
    )
