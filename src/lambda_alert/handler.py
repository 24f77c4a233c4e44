"""The Lambda function: takes a batch of stream 2 and returns the records to retry, or sweeps, each minute.

    stream 2 → unpack → parse → alerts recorded, incidents grown, notices due → metric logged → told what is due
                          ├ tally → total kept → of unjudged events: metric logged
                          └ neither → failure queue
    sweep → quiet incidents ended → told what is due

**Once in effect.** An alert may come twice: Lambda repeats batches, and Flink repeats alerts after a restart. One
transaction stores the new alerts of a batch and lets their incidents grow, so each counts once (`store`). The notice is
due from then on, whatever happens to this call (`telling`): no error of the topic makes Lambda retry a record.
The metric is logged after the transaction: a kill between the two loses it.
Of the tallies of one outcome and date, the latest total is kept. One that comes twice changes nothing.

**Failures.** Lambda retries everything from the lowest sequence number that is reported, until the record is too old.
The records behind a failed one are processed all the same: one failing alert must not delay the alerts of other
subjects. So a record that is neither alert nor tally may reach the failure queue more than once if it is behind a
failure. Its sequence number and position show that.
https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
"""

import json
import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from itertools import chain
from typing import Any

import boto3
from botocore.config import Config

from lambda_alert import settings, tally
from lambda_alert.alert import Alert, MalformedAlert, parse
from lambda_alert.dead_letters import DeadLetters
from lambda_alert.incidents import Arrival
from lambda_alert.metrics import alert_lines, sweep_line, tally_line
from lambda_alert.notices import Notices
from lambda_alert.policy import Policies
from lambda_alert.records import UserRecord, unpack
from lambda_alert.store import CALL_MS, MAX_ALERTS, OutOfTimeError, Store
from lambda_alert.tally import MalformedTally
from lambda_alert.telling import Teller
from lambda_alert.totals import Totals

# An AWS call ends after at most 2 x (1 + 3) s and a short pause between, which is store.CALL_MS. None begins with less
# time left, so an outage is reported record by record, before Lambda's own timeout fails the whole batch.
CLIENT_CONFIG = Config(connect_timeout=1, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 2})
# boto3 would repeat a Publish whose answer comes late, and send the notice twice. So: one try, and patience.
PUBLISH_CONFIG = Config(connect_timeout=1, read_timeout=20, retries={"total_max_attempts": 1})


def handle(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Handle a batch, or sweep. Return Lambda's partial batch response, or what the sweep did."""
    if "sweep" in event:
        return _responder().sweep(context.get_remaining_time_in_millis)
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
        table, quiet_s = values.dynamodb_control_table, values.incident_quiet_s
        self._values = values
        self._store = Store(dynamodb, table, values.incident_retention_days, quiet_s)
        self._teller = Teller(self._store, Notices(sns, values.topic_arn, table), now, self._log_ids, quiet_s)
        self._policies = Policies(dynamodb, table, now)
        self._totals = Totals(dynamodb, values.dynamodb_totals_table, values.incident_retention_days)
        self._dead_letters = DeadLetters(sqs, values.failure_queue_url)
        self._now = now
        self._log = log

    def respond(self, records: Sequence[Mapping[str, Any]], remaining_ms: Callable[[], int]) -> dict[str, Any]:
        """Handle the records. Return Lambda's partial batch response."""
        failed: set[UserRecord] = set()
        found = list(chain.from_iterable(map(unpack, records)))
        alerts: list[tuple[UserRecord, Arrival]] = []
        for record in found:
            with self._failures([record], failed):
                if alert := self._settle(record, remaining_ms):
                    alerts.append((record, Arrival(alert, record.arrived_at)))
        for start in range(0, len(alerts), MAX_ALERTS):
            batch = alerts[start : start + MAX_ALERTS]
            with self._failures([record for record, _ in batch], failed):
                self._record([arrival for _, arrival in batch], remaining_ms)
        numbers = dict.fromkeys(record.sequence_number for record in found if record in failed)
        return {"batchItemFailures": [{"itemIdentifier": number} for number in numbers]}

    def sweep(self, remaining_ms: Callable[[], int]) -> dict[str, Any]:
        """End what is quiet, and tell what is due. Return what that did."""
        swept = self._teller.sweep(self._policies.current(), remaining_ms)
        line = sweep_line(
            swept["open"],
            len(swept["told"]),
            swept["muted"],
            swept["oldest_due_s"],
            self._values.cloudwatch_namespace,
            self._now(),
        )
        self._log(line)
        return swept

    @contextmanager
    def _failures(self, records: list[UserRecord], failed: set[UserRecord]) -> Iterator[None]:
        """Add the records to the failed ones if the block fails. No error may stop the other records."""
        try:
            yield
        except OutOfTimeError:
            self._log_line("WARNING", "out of time: left for the next call", records[0])
            failed.update(records)
        except Exception as error:
            # Not format_exc: it would add the MalformedAlert before this error, which quotes the record.
            trace = "".join(traceback.format_tb(error.__traceback__))
            self._log_line("ERROR", "failed: to be retried", records[0], error=repr(error), trace=trace)
            failed.update(records)

    def _settle(self, record: UserRecord, remaining_ms: Callable[[], int]) -> Alert | None:
        """Return the record's alert. Handle any other record to the end. Any error means that it must be retried."""
        values = self._values
        try:
            if found := tally.parse(record.payload):
                if self._totals.record(found, record.arrived_at) and found.outcome != tally.JUDGED:
                    namespace, metric = values.cloudwatch_namespace, values.cloudwatch_unjudged_metric
                    self._log(tally_line(found, namespace, metric, self._now()))
                return None
            return parse(record.payload)
        except (MalformedAlert, MalformedTally) as error:
            if remaining_ms() < CALL_MS:
                raise OutOfTimeError from None
            self._dead_letters.send(record, str(error))
            self._log_line("ERROR", "neither alert nor tally: kept in the failure queue with the reason", record)
            return None

    def _record(self, arrivals: Sequence[Arrival], remaining_ms: Callable[[], int]) -> None:
        """Record the alerts, at most MAX_ALERTS, and tell what is due. Any error means that they must be retried."""
        values, policy = self._values, self._policies.current()
        recorded = self._store.record(arrivals, policy, remaining_ms)
        new = [arrival.alert for arrival in recorded.new]
        for line in alert_lines(new, values.cloudwatch_namespace, values.cloudwatch_metric, self._now()):
            self._log(line)
        counts = {"new": len(new), "allowed": len(recorded.allowed), "known": len(arrivals) - len(new)}
        counts["known"] -= counts["allowed"]
        ids = [one.incident_id for one in recorded.incidents]
        self._log_ids("INFO", "alerts recorded", incident_ids=ids, **counts)
        for one in recorded.incidents:
            if one.due > one.told and not one.muted_by(policy, recorded.open_rules, self._now()):
                try:
                    self._teller.tell(one, remaining_ms)
                except Exception as error:  # the alerts are recorded, and the sweep tells what is due
                    self._log_ids(
                        "ERROR", "not told: left to the sweep", incident_id=one.incident_id, error=repr(error)
                    )

    def _log_ids(self, level: str, message: str, **more: Any) -> None:
        """Log a line of JSON with ids and counts, never a payload: that is customer data."""
        self._log(json.dumps({"level": level, "message": message, **more}))

    def _log_line(self, level: str, message: str, record: UserRecord, **more: str) -> None:
        """Log a line about a record: its position, never its payload."""
        place = {"shard_id": record.shard_id, "sequence_number": record.sequence_number, "position": record.position}
        self._log_ids(level, message, **place, **more)


@cache
def _responder() -> Responder:
    """Return the responder of this execution environment. The first call makes it, so importing needs no AWS."""
    return Responder(
        settings.read(os.environ),
        dynamodb=boto3.client("dynamodb", config=CLIENT_CONFIG),
        sns=boto3.client("sns", config=PUBLISH_CONFIG),
        sqs=boto3.client("sqs", config=CLIENT_CONFIG),
        now=lambda: datetime.now(UTC),
        log=lambda line: print(line, flush=True),
    )
