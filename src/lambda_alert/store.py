"""The table: alerts, incidents and policy, each found by the keys that docs/incidents.md lists.

**Once in effect.** One transaction puts the new alerts of a batch and lets their incidents grow, so an alert counts
once, however often it comes. The transaction also raises `due`: the notice that is owed is stored, and survives what
happens next. It never writes `told` or the claim. Those belong to whoever tells: claim, publish, mark.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from random import random
from typing import Any
from uuid import uuid4

from lambda_alert.alert import Alert, iso
from lambda_alert.incidents import RECORDED, Arrival, Incident, Span, incident_id, opened
from lambda_alert.policy import Policy

# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html
MAX_TRANSACTION = 100
# The rest of a transaction is for the incidents and the pointers.
MAX_ALERTS = 90
# Most incidents of a rule that further alerts can join. Older ones still end, and are told.
MAX_JOINABLE = 8
MAX_TRIES = 8
# A call of AWS takes at most 2 x (1 + 3) s and a short pause between (handler.CLIENT_CONFIG). None begins later.
CALL_MS = 9_000
# Longer than the function's timeout (terraform/modules/alerting): while a claim holds, its holder may still publish.
LEASE_S = 90
# At most one notice of an incident in this time.
PAUSE_S = 60

OPEN_INDEX, INCIDENT_INDEX = "open", "incident"
Attributes = dict[str, Any]


class OutOfTimeError(Exception):
    """The function would end before a call could: what is left is for the next one."""


class ContendedError(Exception):
    """Others changed the same incidents at each try."""


@dataclass(frozen=True)
class Recorded:
    """What a batch of alerts has changed."""

    new: list[Arrival]
    allowed: list[Arrival]  # of these subjects, which make no incident
    known: list[Arrival]
    incidents: list[Incident]  # those that grew
    open_rules: frozenset[str]  # rules with an incident that further alerts can join


def key(partition: str, sort: str) -> Attributes:
    """Return a primary key."""
    return {"ddb_partition_key": {"S": partition}, "ddb_sort_key": {"S": sort}}


def alert_key(alert: Alert) -> Attributes:
    """Return an alert's primary key. A subject's alerts are stored together, by rule and time."""
    return key(alert.subject, alert.alert_id)


def incident_key(name: str) -> Attributes:
    """Return an incident's primary key."""
    return key(f"incident#{name}", "incident")


def pointer_key(rule: str) -> Attributes:
    """Return the primary key of the pointer to a rule's incidents that further alerts can join."""
    return key(f"group#{rule}", "open")


def alert_item(alert: Alert, detected_at: datetime, retention_days: int) -> Attributes:
    """Return the item of an alert, before it belongs to an incident, as DynamoDB's typed attributes.

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
        **alert_key(alert),
        **attributes,
        "detected_at": {"S": iso(detected_at)},
        "expires_at": {"N": str(expires_at)},
    }


def encode(value: Any) -> Attributes:
    """Return a value as DynamoDB's typed attribute."""
    match value:
        case int():
            return {"N": str(value)}
        case str():
            return {"S": value}
        case bytes():
            return {"B": value}
        case dict():
            return {"M": {name: encode(one) for name, one in value.items()}}
        case _:
            return {"L": [encode(one) for one in value]}


def decode(attribute: Attributes) -> Any:
    """Return the value of DynamoDB's typed attribute."""
    [(kind, value)] = attribute.items()
    match kind:
        case "N":
            return int(value)
        case "M":
            return {name: decode(one) for name, one in value.items()}
        case "L":
            return [decode(one) for one in value]
        case _:
            return value


def incident(item: Attributes) -> Incident:
    """Return the incident of an item. An index may lack `subject_hashes`."""
    names = {field.name for field in fields(Incident)}
    values = {name: decode(value) for name, value in item.items() if name in names}
    values["examples"] = tuple(values["examples"])
    return Incident(
        **{"subject_hashes": b"", **values}, incident_id=item["ddb_partition_key"]["S"].removeprefix("incident#")
    )


class Store:
    """The table. `remaining_ms` of each method says how long the function may go on."""

    def __init__(self, dynamodb: Any, table: str, retention_days: int, quiet_s: int) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._retention_days = retention_days
        self._quiet_s = quiet_s

    def record_reprocessed(self, alert: Alert, reprocessed_at: datetime) -> bool:
        """Store the alert if it is new, marked as reprocessed. Return whether it is new. It makes no incident."""
        item = alert_item(alert, reprocessed_at, self._retention_days)
        try:
            self._dynamodb.put_item(
                TableName=self._table,
                Item=item | {"reprocessed_at": {"S": iso(reprocessed_at)}},
                # No item has this primary key (every item has a sort key).
                ConditionExpression="attribute_not_exists(ddb_sort_key)",
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def record(self, arrivals: Sequence[Arrival], policy: Policy, remaining_ms: Callable[[], int]) -> Recorded:
        """Store the alerts that are new, at most MAX_ALERTS, and let their incidents grow: all at once or not at all.

        An alert that is there already counts no more, and does not hold up the others. One from reprocessing, which
        makes no incident, is new: an alert that is found live must be told, however late.
        """
        pending = {arrival.alert.alert_id: arrival for arrival in reversed(arrivals)}
        pending = dict(reversed(pending.items()))  # the first of the same, in order
        known: list[Arrival] = []
        reprocessed: set[str] = set()
        for attempt in range(MAX_TRIES):
            if not pending:
                return Recorded([], [], known, [], frozenset())
            groups = self._groups([arrival.alert for arrival in pending.values()], remaining_ms)
            plan = self._plan(pending.values(), groups, reprocessed, policy)
            if len(plan.writes) > MAX_TRANSACTION:
                return self._record_halves(list(pending.values()), known, policy, remaining_ms)
            _check(remaining_ms)
            try:
                self._dynamodb.transact_write_items(TransactItems=plan.writes)
            except self._dynamodb.exceptions.TransactionCanceledException as error:
                for name, reason in zip(pending, error.response["CancellationReasons"], strict=False):
                    if reason.get("Code") != "ConditionalCheckFailed":
                        continue
                    if _is_settled(reason.get("Item", {})):
                        known.append(pending[name])
                    else:
                        reprocessed.add(name)
                if not any(one in known for one in pending.values()) and not reprocessed:
                    time.sleep(random() * 0.05 * 2**attempt)
                pending = {name: one for name, one in pending.items() if one not in known}
                continue
            return replace(plan.recorded, known=known)
        raise ContendedError(f"{MAX_TRIES} transactions were cancelled")

    def _record_halves(
        self, arrivals: list[Arrival], known: list[Arrival], policy: Policy, remaining_ms: Callable[[], int]
    ) -> Recorded:
        middle = len(arrivals) // 2
        first, second = (self.record(half, policy, remaining_ms) for half in (arrivals[:middle], arrivals[middle:]))
        return Recorded(
            first.new + second.new,
            first.allowed + second.allowed,
            known + first.known + second.known,
            list({one.incident_id: one for one in (*first.incidents, *second.incidents)}.values()),
            first.open_rules | second.open_rules,
        )

    def _groups(self, alerts: Sequence[Alert], remaining_ms: Callable[[], int]) -> dict[str, "Group"]:
        """Return the groups of the alerts' rules, and of the rules that explain them."""
        rules = sorted({rule for alert in alerts for rule in (alert.rule, alert.explained_by) if rule})
        pointers = {
            item["ddb_partition_key"]["S"].removeprefix("group#"): item
            for item in self._get([pointer_key(rule) for rule in rules], remaining_ms)
        }
        ids = {rule: decode(item["incidents"]) for rule, item in pointers.items()}
        found = {
            one.incident_id: one
            for one in map(
                incident, self._get([incident_key(name) for names in ids.values() for name in names], remaining_ms)
            )
        }
        return {
            rule: Group(
                version=decode(pointers[rule]["version"]) if rule in pointers else 0,
                incidents=[found[name] for name in ids.get(rule, []) if name in found],
            )
            for rule in rules
        }

    def _get(self, keys: list[Attributes], remaining_ms: Callable[[], int]) -> Iterator[Attributes]:
        for start in range(0, len(keys), 100):
            wanted = {self._table: {"Keys": keys[start : start + 100], "ConsistentRead": True}}
            while wanted:
                _check(remaining_ms)
                reply = self._dynamodb.batch_get_item(RequestItems=wanted)
                yield from reply["Responses"].get(self._table, [])
                wanted = reply.get("UnprocessedKeys") or {}

    def _plan(self, pending: Any, groups: Mapping[str, "Group"], reprocessed: set[str], policy: Policy) -> "Plan":
        """Return the transaction. Its first writes are those of the pending alerts, in their order."""
        before = {one.incident_id: one for group in groups.values() for one in group.incidents}
        spans = {name: Span.of(one) for name, one in before.items()}
        ids = {rule: [one.incident_id for one in group.incidents] for rule, group in groups.items()}
        joined: dict[str, list[Arrival]] = defaultdict(list)
        allowed: list[Arrival] = []
        writes: list[Attributes] = []
        for arrival in pending:
            alert = arrival.alert
            if policy.allows(alert.subject, arrival.at):
                allowed.append(arrival)
                writes.append(self._alert_write(arrival, {"allowed": {"S": "yes"}}, reprocessed))
                continue
            span = Span.of(alert)
            name = next((one for one in ids[alert.rule] if spans[one].is_close_to(span, self._quiet_s)), None)
            if name is None:
                name = incident_id(alert)
                ids[alert.rule].append(name)
                spans[name] = span
            spans[name] = spans[name].with_(span)
            joined[name].append(arrival)
            writes.append(self._alert_write(arrival, {"incident_id": {"S": name}}, reprocessed))
        changed = [
            (before.get(name) or opened(of_it)).grown(of_it, self._retention_days) for name, of_it in joined.items()
        ]
        writes += [{"Update": self._recorded_update(one)} for one in changed]
        for rule, group in groups.items():
            if ids[rule] != [one.incident_id for one in group.incidents]:
                writes.append({"Put": self._pointer_put(rule, group.version, ids[rule][-MAX_JOINABLE:])})
        new = [arrival for of_it in joined.values() for arrival in of_it]
        return Plan(writes, Recorded(new, allowed, [], changed, frozenset(rule for rule in ids if ids[rule])))

    def _alert_write(self, arrival: Arrival, home: Attributes, reprocessed: set[str]) -> Attributes:
        """Return the write of an alert that is new, or of one that only reprocessing has found before."""
        alert = arrival.alert
        if alert.alert_id in reprocessed:
            [(name, value)] = home.items()
            return {
                "Update": {
                    "TableName": self._table,
                    "Key": alert_key(alert),
                    "UpdateExpression": f"SET {name} = :home",
                    "ConditionExpression": (
                        "attribute_exists(ddb_sort_key) AND attribute_not_exists(incident_id)"
                        " AND attribute_not_exists(allowed)"
                    ),
                    "ExpressionAttributeValues": {":home": value},
                    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                }
            }
        return {
            "Put": {
                "TableName": self._table,
                "Item": alert_item(alert, arrival.at, self._retention_days) | home,
                # No item has this primary key (every item has a sort key).
                "ConditionExpression": "attribute_not_exists(ddb_sort_key)",
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    def _recorded_update(self, after: Incident) -> Attributes:
        """Return the update of what recording owns: RECORDED, and the key of the index of open incidents."""
        values = {name: getattr(after, name) for name in RECORDED}
        values = {name: value for name, value in values.items() if value is not None} | {"open": "yes"}
        if after.version == 1:
            values["told"] = 0
            condition, more = "attribute_not_exists(ddb_sort_key)", {}
        else:
            condition, more = "version = :before", {":before": encode(after.version - 1)}
        return {
            "TableName": self._table,
            "Key": incident_key(after.incident_id),
            # Names with a sign in front: some, such as `rule`, may be words of DynamoDB's own.
            "UpdateExpression": "SET " + ", ".join(f"#{name} = :{name}" for name in values),
            "ConditionExpression": condition,
            "ExpressionAttributeNames": {f"#{name}": name for name in values},
            "ExpressionAttributeValues": {f":{name}": encode(value) for name, value in values.items()} | more,
        }

    def _pointer_put(self, rule: str, version: int, ids: list[str]) -> Attributes:
        values = {"version": encode(version + 1), "incidents": encode(ids)}
        condition: Attributes = {"ConditionExpression": "attribute_not_exists(ddb_sort_key)"}
        if version:
            condition = {
                "ConditionExpression": "version = :before",
                "ExpressionAttributeValues": {":before": encode(version)},
            }
        return {"TableName": self._table, "Item": pointer_key(rule) | values, **condition}

    def open_incidents(self) -> list[Incident]:
        """Return the incidents that are not over, or whose end has not been told. The index may be a second behind."""
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=OPEN_INDEX,
            KeyConditionExpression="#open = :yes",
            ExpressionAttributeNames={"#open": "open"},
            ExpressionAttributeValues={":yes": {"S": "yes"}},
        )
        return [incident(item) for page in pages for item in page["Items"]]

    def all_incidents(self) -> list[Incident]:
        """Return all incidents. This reads the whole table."""
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=self._table,
            FilterExpression="ddb_sort_key = :incident",
            ExpressionAttributeValues={":incident": {"S": "incident"}},
        )
        return [incident(item) for page in pages for item in page["Items"]]

    def alerts_of(self, subject: str) -> list[dict[str, Any]]:
        """Return the alerts about a subject, in the order of their windows."""
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="ddb_partition_key = :subject",
            ExpressionAttributeValues={":subject": {"S": subject}},
        )
        items = [{name: decode(value) for name, value in item.items()} for page in pages for item in page["Items"]]
        return sorted(items, key=lambda item: item["window_end_at"])

    def answer(self, name: str, values: dict[str, str]) -> bool:
        """Add a person's answer to an incident. Return whether there is one of that id."""
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key=incident_key(name),
                UpdateExpression="SET " + ", ".join(f"{key} = :{key}" for key in values),
                ConditionExpression="attribute_exists(ddb_sort_key)",
                ExpressionAttributeValues={f":{key}": encode(value) for key, value in values.items()},
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def get(self, name: str) -> Incident | None:
        """Return the incident as it is now; None if there is none."""
        reply = self._dynamodb.get_item(TableName=self._table, Key=incident_key(name), ConsistentRead=True)
        return incident(reply["Item"]) if "Item" in reply else None

    def close(self, one: Incident, at: datetime) -> Incident | None:
        """End the incident: no further alert joins it, and its last notice is due. Return it; None if it has grown."""
        found = self._dynamodb.get_item(TableName=self._table, Key=pointer_key(one.rule), ConsistentRead=True)
        pointer = found.get("Item")
        after = replace(one.raised(iso(at)), version=one.version + 1, closed_at=iso(at))
        writes = [{"Update": self._raised_update(after)}]
        ids = decode(pointer["incidents"]) if pointer else []
        if pointer and one.incident_id in ids:
            ids.remove(one.incident_id)
            writes.append({"Put": self._pointer_put(one.rule, decode(pointer["version"]), ids)})
        try:
            self._dynamodb.transact_write_items(TransactItems=writes)
        except self._dynamodb.exceptions.TransactionCanceledException:
            return None
        return after

    def raise_due(self, one: Incident, at: datetime) -> Incident | None:
        """Let a further notice of the incident be due. Return it; None if it has grown meanwhile."""
        after = replace(one.raised(iso(at)), version=one.version + 1)
        try:
            self._dynamodb.update_item(**self._raised_update(after))
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return None
        return after

    def _raised_update(self, after: Incident) -> Attributes:
        names = ("version", "due", "due_at", "due_level", "due_subjects", "closed_at")
        values = {name: getattr(after, name) for name in names if getattr(after, name) is not None}
        return {
            "TableName": self._table,
            "Key": incident_key(after.incident_id),
            "UpdateExpression": "SET " + ", ".join(f"{name} = :{name}" for name in values),
            "ConditionExpression": "version = :before",
            "ExpressionAttributeValues": {f":{name}": encode(value) for name, value in values.items()}
            | {":before": encode(after.version - 1)},
        }

    def claim(self, name: str, now: datetime) -> Incident | None:
        """Take the right to tell what is due of the incident. Return it as it is now; None if nothing may be told.

        Nothing may be told if nothing is due, if another has the right, or if the last notice is less than PAUSE_S old.
        """
        values = {
            "claim": str(uuid4()),
            "until": iso(now + timedelta(seconds=LEASE_S)),
            "now": iso(now),
            "pause": iso(now - timedelta(seconds=PAUSE_S)),
        }
        try:
            reply = self._dynamodb.update_item(
                TableName=self._table,
                Key=incident_key(name),
                UpdateExpression="SET claim = :claim, claimed_until = :until",
                ConditionExpression=(
                    "due > told AND (attribute_not_exists(claimed_until) OR claimed_until < :now)"
                    " AND (attribute_not_exists(told_at) OR told_at <= :pause)"
                ),
                ExpressionAttributeValues={f":{name}": encode(value) for name, value in values.items()},
                ReturnValues="ALL_NEW",
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return None
        return incident(reply["Attributes"])

    def mark(self, told: Incident, now: datetime) -> None:
        """Note that the notice has been sent that was due when the incident was claimed."""
        values = {
            "told": told.due,
            "told_at": iso(now),
            "told_level": told.level,
            "told_subjects": told.subject_count,
            "told_alerts": told.alert_count,
            "claim": told.claim,
        }
        names = [name for name in values if name != "claim"]
        # Once the end has been told, nothing is left to do: the incident leaves the index.
        gone = ", #open" if told.closed_at else ""
        self._settle(
            told,
            f"SET {', '.join(f'{name} = :{name}' for name in names)} REMOVE claim, claimed_until{gone}",
            values,
            {"#open": "open"} if gone else {},
        )

    def release(self, claimed: Incident) -> None:
        """Give the right back: the notice has not been sent."""
        self._settle(claimed, "REMOVE claim, claimed_until", {"claim": claimed.claim}, {})

    def _settle(self, claimed: Incident, expression: str, values: Attributes, names: Attributes) -> None:
        call = {
            "TableName": self._table,
            "Key": incident_key(claimed.incident_id),
            "UpdateExpression": expression,
            "ConditionExpression": "claim = :claim",
            "ExpressionAttributeValues": {f":{name}": encode(value) for name, value in values.items()},
        }
        # Done already by a call whose answer was lost, or another has the right by now.
        with suppress(self._dynamodb.exceptions.ConditionalCheckFailedException):
            self._dynamodb.update_item(**call, **({"ExpressionAttributeNames": names} if names else {}))

    def drop(self, one: Incident, now: datetime) -> None:
        """Let an incident leave the index that is over and that nobody is to be told of."""
        with suppress(self._dynamodb.exceptions.ConditionalCheckFailedException):
            self._dynamodb.update_item(
                TableName=self._table,
                Key=incident_key(one.incident_id),
                UpdateExpression="SET dropped_at = :at REMOVE #open",
                ConditionExpression="version = :version AND due = :due",
                ExpressionAttributeNames={"#open": "open"},
                ExpressionAttributeValues={
                    ":at": {"S": iso(now)},
                    ":version": encode(one.version),
                    ":due": encode(one.due),
                },
            )

    def list_in(self, explained: Incident, by: str) -> None:
        """Note that the notice of the incident `by` has named this one, which it explains."""
        self._dynamodb.update_item(
            TableName=self._table,
            Key=incident_key(explained.incident_id),
            UpdateExpression="SET listed_in = :by",
            ConditionExpression="attribute_exists(ddb_sort_key)",
            ExpressionAttributeValues={":by": {"S": by}},
        )


@dataclass(frozen=True)
class Group:
    """A rule's incidents that further alerts can join, and the version of the pointer to them."""

    version: int
    incidents: list[Incident]


@dataclass(frozen=True)
class Plan:
    """A transaction, and what it changes."""

    writes: list[Attributes]
    recorded: Recorded


def _check(remaining_ms: Callable[[], int]) -> None:
    if remaining_ms() < CALL_MS:
        raise OutOfTimeError("a call of AWS might not end before the function does")


def _is_settled(item: Attributes) -> bool:
    """Return whether the alert has counted: in an incident, as allowed, or as notified by an earlier version."""
    return bool(item.keys() & {"incident_id", "allowed", "notified_at"})
