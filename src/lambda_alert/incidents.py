"""Incidents: one DynamoDB item per alert, which is also the memory of what has been notified."""

from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from lambda_alert.alert import Alert, iso


def key(alert: Alert) -> dict[str, Any]:
    """The incident's primary key: a subject's incidents lie together, by rule and time."""
    return {"ddb_partition_key": {"S": alert.subject}, "ddb_sort_key": {"S": alert.alert_id}}


def item(alert: Alert, detected_at: datetime, retention_days: int) -> dict[str, Any]:
    """The incident before anyone is notified, as DynamoDB's typed attributes.

    `detected_at` is when the alert arrived in stream 2. Unlike the time of this call it is the same in every retry, so
    every retry computes the same item. `expires_at` follows from it and not from the window, which is event time: a
    replay of old traffic would make items that are born expired.
    """
    attributes = {
        name: {"N": str(value)} if isinstance(value, int) else {"S": value}
        for name, value in asdict(alert).items()
        if name != "alert_id"  # it is the sort key
    }
    expires_at = int((detected_at + timedelta(days=retention_days)).timestamp())
    return {
        **key(alert),
        **attributes,
        "detected_at": {"S": iso(detected_at)},
        "expires_at": {"N": str(expires_at)},
    }


class Incidents:
    """The table of incidents."""

    def __init__(self, dynamodb: Any, table: str, retention_days: int) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._retention_days = retention_days

    def record(self, alert: Alert, detected_at: datetime) -> bool:
        """Whether the alert's notice is due: the incident is new, or an earlier attempt broke off before the end.

        It is due too if the incident is there from reprocessing alone: what is found live people are to hear, however
        late, and nobody has told them.
        """
        known = self._put(item(alert, detected_at, self._retention_days))
        return known is None or "notified_at" not in known

    def record_reprocessed(self, alert: Alert, reprocessed_at: datetime) -> bool:
        """Whether the incident is new. It is detected, and marked, at the time of reprocessing; no notice is due."""
        marked = {"reprocessed_at": {"S": iso(reprocessed_at)}}
        return self._put(item(alert, reprocessed_at, self._retention_days) | marked) is None

    def _put(self, new: dict[str, Any]) -> dict[str, Any] | None:
        """The incident of this key that is there already, and stays as it is; None if the new one is stored."""
        try:
            self._dynamodb.put_item(
                TableName=self._table,
                Item=new,
                # is_new: no item has this primary key (every item has a sort key). The first finding stands; a repeat
                # would otherwise wipe notified_at.
                ConditionExpression="attribute_not_exists(ddb_sort_key)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",  # saves reading the item, and is as consistent
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException as known:
            return known.response["Item"]
        return None

    def mark_notified(self, alert: Alert, notified_at: datetime) -> None:
        """None; from now on `record` says of this alert that nothing is due."""
        # Marked already, or deleted by someone: either way nothing is left to do.
        with suppress(self._dynamodb.exceptions.ConditionalCheckFailedException):
            self._dynamodb.update_item(
                TableName=self._table,
                Key=key(alert),
                UpdateExpression="SET notified_at = :notified_at",
                # is_recorded: UpdateItem would otherwise make an item of nothing but this time, had someone deleted it.
                # is_unmarked: the first notice's time stands, also when the SDK repeats a call whose answer got lost.
                ConditionExpression="attribute_exists(ddb_sort_key) AND attribute_not_exists(notified_at)",
                ExpressionAttributeValues={":notified_at": {"S": iso(notified_at)}},
            )
