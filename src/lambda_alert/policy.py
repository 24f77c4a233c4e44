"""Policy: who is allowed, which rules are only observed, and what is silent. Set by people, without a deployment.

The items are in the table of incidents, under one partition key. Terraform never writes them. A policy has an end,
except the mode of a rule.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from lambda_alert.alert import iso

PARTITION = "policy"
CACHE_S = 30


@dataclass(frozen=True)
class Policy:
    """What people have decided. Keys are subjects, rules or incident ids, values until when."""

    allowed: dict[str, str] = field(default_factory=dict)  # subject: until
    silent: dict[str, str] = field(default_factory=dict)  # rule or incident id: until
    observed: frozenset[str] = frozenset()  # rules

    def allows(self, subject: str, now: datetime) -> bool:
        """Return whether alerts about this subject make no incident."""
        return self.allowed.get(subject, "") > iso(now)

    def silences(self, incident_id: str, rule: str, now: datetime) -> str | None:
        """Return why nobody is told of the incident now; None if people are."""
        if rule in self.observed:
            return "observe"
        if any(self.silent.get(name, "") > iso(now) for name in (incident_id, rule)):
            return "silence"
        return None


class Policies:
    """The policy items of the table, read at most each CACHE_S seconds."""

    def __init__(self, dynamodb: Any, table: str, now: Callable[[], datetime]) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._now = now
        self._read_at: datetime | None = None
        self._policy = Policy()

    def current(self) -> Policy:
        """Return the policy, at most CACHE_S seconds old."""
        now = self._now()
        if self._read_at is None or now - self._read_at >= timedelta(seconds=CACHE_S):
            self._policy = read(self._dynamodb, self._table)
            self._read_at = now
        return self._policy


def put(dynamodb: Any, table: str, name: str, values: dict[str, str]) -> None:
    """Store a policy: `values` say what, who decided it, why, and until when. `name` is the sort key."""
    item = {"ddb_partition_key": PARTITION, "ddb_sort_key": name, **values}
    dynamodb.put_item(TableName=table, Item={key: {"S": value} for key, value in item.items()})


def read(dynamodb: Any, table: str) -> Policy:
    """Return the policy of the table."""
    pages = dynamodb.get_paginator("query").paginate(
        TableName=table,
        KeyConditionExpression="ddb_partition_key = :policy",
        ExpressionAttributeValues={":policy": {"S": PARTITION}},
    )
    allowed, silent, observed = {}, {}, set()
    for item in (item for page in pages for item in page["Items"]):
        verb, _, name = item["ddb_sort_key"]["S"].partition("#")
        until = item.get("until", {"S": "9"})["S"]
        if verb == "allow":
            allowed[name] = until
        elif verb == "silence":
            silent[name] = until
        elif verb == "mode" and item["mode"]["S"] == "observe":
            observed.add(name)
    return Policy(allowed, silent, frozenset(observed))
