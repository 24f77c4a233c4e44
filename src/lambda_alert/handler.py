"""The Lambda function: a batch of stream 2 in, the records to be retried out.

    stream 2 → unpack → parse → incident recorded → notice sent → metric logged → incident marked notified
                          ├ tally of unjudged events → metric logged
                          └ neither → failure queue

**Once in effect.** An alert may come twice: Lambda repeats batches, Flink repeats after a restart. Its id is the
incident's key, and an incident that is marked notified is left alone: no second item, message or metric. A call that
broke off in between left it unmarked, and the retry does the rest. If it broke off after the notice and before the
mark, the notice, and perhaps the metric, comes again: that window is one DynamoDB call long, and marking first would
lose alerts in it. Both copies carry the same `alert_id`. Of tallies nothing is remembered: one that comes twice counts
twice. They say whether events go unjudged, and about how many; the events themselves are in the lake.

**One at a time.** There is no lock against two calls with the same alert. Stream 2 is keyed by subject, and Lambda
never works on two records of one partition key at once, whatever the parallelization factor.

**Failures.** Lambda retries from the lowest sequence number reported, with everything behind it. What is behind is
worked on all the same: a repeat costs one conditional write, while waiting would let one stubborn alert hold up, and
after the last retry take along, the alerts of other subjects. So a record that is no alert may reach the failure queue
more than once if it stands behind a failure; its sequence number and position tell.
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

# A call fails of itself after at most 2 x (1 + 3) s and a short pause between. That is below the reserve, so that an
# outage is reported record by record before Lambda's own timeout fails the batch as a whole.
CLIENT_CONFIG = Config(connect_timeout=1, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 2})
RESERVE_MS = 10_000


def handle(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Lambda's partial batch response: the sequence numbers of the records to be retried."""
    return _responder().respond(event["Records"], context.get_remaining_time_in_millis)


class Responder:
    """What is done about alerts and tallies. Clients, clock and log are passed in."""

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
        self._notices = Notices(sns, values.topic_arn, values.dynamodb_control_table)
        self._dead_letters = DeadLetters(sqs, values.failure_queue_url)
        self._now = now
        self._log = log

    def respond(self, records: Sequence[Mapping[str, Any]], remaining_ms: Callable[[], int]) -> dict[str, Any]:
        """Lambda's partial batch response to the event's records."""
        failed: dict[str, None] = {}  # sequence numbers in their order, each once
        for number, record in enumerate(chain.from_iterable(map(unpack, records))):
            # The first is always tried, else a short timeout would mean no progress at all.
            if number and remaining_ms() < RESERVE_MS:
                self._log_line("WARNING", "out of time: left for the next call", record)
                failed[record.sequence_number] = None
                break
            try:
                self._settle(record)
            except Exception as error:  # whatever it is, it must not keep the other alerts from being handled
                # This error alone: format_exc would add the MalformedAlert behind it, which quotes the record.
                trace = "".join(traceback.format_tb(error.__traceback__))
                self._log_line("ERROR", "failed: to be retried", record, error=repr(error), trace=trace)
                failed[record.sequence_number] = None
        return {"batchItemFailures": [{"itemIdentifier": sequence_number} for sequence_number in failed]}

    def _settle(self, record: UserRecord) -> None:
        """None; the record needs no further attention. Any error means that it does."""
        values = self._values
        try:
            if unjudged := tally.parse(record.payload):
                line = tally_line(unjudged, values.cloudwatch_namespace, values.cloudwatch_unjudged_metric, self._now())
                self._log(line)
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
        """None; a line of JSON is logged, with ids and places but never a payload, which is a customer's."""
        place = {"shard_id": record.shard_id, "sequence_number": record.sequence_number, "position": record.position}
        self._log(json.dumps({"level": level, "message": message, **place, **more}))


@cache
def _responder() -> Responder:
    """The responder of this execution environment, made at its first call so that importing needs no AWS."""
    return Responder(
        settings.read(os.environ),
        *(boto3.client(service, config=CLIENT_CONFIG) for service in ("dynamodb", "sns", "sqs")),
        now=lambda: datetime.now(UTC),
        log=lambda line: print(line, flush=True),
    )
