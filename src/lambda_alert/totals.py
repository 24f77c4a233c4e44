"""Totals: one DynamoDB item per outcome and date, with the latest total that the detector has told."""

from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from lambda_alert.tally import Tally


class Total(NamedTuple):
    """How many lines there were, and when they were counted."""

    lines: int
    counted_at: str


class Totals:
    """The table of totals. Its partition key `day` is `event 2026-11-26`, or `arrival 2026-11-26` for bad records."""

    def __init__(self, dynamodb: Any, table: str, retention_days: int) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._retention_days = retention_days

    def record(self, tally: Tally, arrived_at: datetime) -> bool:
        """Keep the tally's total, unless a later one is there. Return whether it was kept: a repeat is not."""
        day = f"event {tally.event_date}" if tally.event_date else f"arrival {tally.arrival_date}"
        expires_at = int((arrived_at + timedelta(days=self._retention_days)).timestamp())
        try:
            self._dynamodb.put_item(
                TableName=self._table,
                Item={
                    "day": {"S": day},
                    "outcome": {"S": tally.outcome},
                    "total_count": {"N": str(tally.total_count)},
                    "counted_at": {"S": tally.counted_at},
                    "expires_at": {"N": str(expires_at)},
                },
                # Not the larger total: after a restart the detector counts again from its snapshot, and may judge what
                # was late before.
                ConditionExpression="attribute_not_exists(outcome) OR counted_at < :counted_at",
                ExpressionAttributeValues={":counted_at": {"S": tally.counted_at}},
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True


def read(dynamodb: Any, table: str) -> dict[tuple[str, date, str], Total]:
    """Return all totals by kind of day (`event` or `arrival`), day and outcome."""
    found = {}
    for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        for item in page["Items"]:
            kind, _, day = item["day"]["S"].partition(" ")
            total = Total(int(item["total_count"]["N"]), item["counted_at"]["S"])
            found[kind, date.fromisoformat(day), item["outcome"]["S"]] = total
    return found
