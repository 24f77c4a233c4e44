"""Incidents: one DynamoDB item per alert. It also records whether the alert has been notified."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from lambda_alert.alert import Alert, iso


def key(alert: Alert) -> dict[str, Any]:
    """Return the incident's primary key. A subject's incidents are stored together, by rule and time."""
    return {"ddb_partition_key": {"S": alert.subject}, "ddb_sort_key": {"S": alert.alert_id}}


def item(alert: Alert, detected_at: datetime, retention_days: int) -> dict[str, Any]:
    """Return the incident before anyone is notified, as DynamoDB's typed attributes.

    `detected_at` is when the alert arrived in stream 2. Unlike the time of this call it is the same in every retry, so
    every retry computes the same item. `expires_at` counts from it and not from the window, which is event time: with
    a replay of old traffic, items would be expired when they are stored.
    """
    attributes = {
        name: {"N": str(value)} if isinstance(value, int) else {"S": value}
        for name, value in alert.record().items()
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
        """Store the incident if it is new. Return whether the alert's notice is due.

        It is due if the incident is new, or if an earlier attempt broke off before the end. It is also due if the
        incident comes from reprocessing, which notifies nobody: an alert that is found live must be notified, however
        late.
        """
        known = self._put(item(alert, detected_at, self._retention_days))
        return known is None or "notified_at" not in known

    def record_reprocessed(self, alert: Alert, reprocessed_at: datetime) -> bool:
        """Store the incident if it is new, marked as reprocessed. Return whether it is new. No notice is due."""
        marked = {"reprocessed_at": {"S": iso(reprocessed_at)}}
        return self._put(item(alert, reprocessed_at, self._retention_days) | marked) is None

    def _put(self, new: dict[str, Any]) -> dict[str, Any] | None:
        """Store the item, unless its key exists. Return the existing item, which stays as it is; None if stored."""
        try:
            self._dynamodb.put_item(
                TableName=self._table,
                Item=new,
                # No item has this primary key (every item has a sort key). Otherwise a repeat would replace the first
                # item, and remove its notified_at.
                ConditionExpression="attribute_not_exists(ddb_sort_key)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",  # saves a read, and is as consistent
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException as known:
            return known.response["Item"]
        return None

    def mark_notified(self, alert: Alert, notified_at: datetime) -> None:
        """Mark the incident as notified: from now on, `record` returns False for its alert."""
        # Already marked, or deleted by someone: either way nothing is left to do.
        with suppress(self._dynamodb.exceptions.ConditionalCheckFailedException):
            self._dynamodb.update_item(
                TableName=self._table,
                Key=key(alert),
                UpdateExpression="SET notified_at = :notified_at",
                # exists: for a deleted incident, UpdateItem would otherwise create an item that holds only this time.
                # not_exists: keep the first notice's time, also when the SDK repeats a call whose answer was lost.
                ConditionExpression="attribute_exists(ddb_sort_key) AND attribute_not_exists(notified_at)",
                ExpressionAttributeValues={":notified_at": {"S": iso(notified_at)}},
            )
