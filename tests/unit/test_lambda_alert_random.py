"""The alert function under random faults, with moto: whatever breaks, each alert counts once and the end is told."""

import json
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from lambda_alert_cloud import Killed, alert, opened_cloud, records, set_variables

THROTTLED = ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "Any")
LATE = ReadTimeoutError(endpoint_url="https://…")

CALLS = (
    ("dynamodb", "batch_get_item"),
    ("dynamodb", "transact_write_items"),
    ("dynamodb", "update_item"),
    ("dynamodb", "get_item"),
    ("sns", "publish"),
)
# The call, whether it takes effect before it breaks, how it breaks, and which call of its kind in the invocation.
FAULTS = st.none() | st.tuples(
    st.sampled_from(CALLS),
    st.sampled_from([(False, THROTTLED), (False, LATE), (True, LATE), (False, Killed()), (True, Killed())]),
    st.integers(0, 2),
)
ALERTS = st.lists(
    st.tuples(st.integers(1, 5), st.sampled_from([6, 12, 24]), st.sampled_from([0, 1, 200, 1000, 1001])),
    min_size=1,
    max_size=4,
)


class Faulty:
    """A client whose call number `number` of one method breaks. `between` runs before its first transaction."""

    def __init__(self, client: Any, fault: Any, between: Any = None) -> None:
        self._client, self._fault, self._between, self._calls = client, fault, between, Counter()

    def __getattr__(self, name: str) -> Any:
        actual = getattr(self._client, name)
        if not callable(actual) or name in ("get_paginator", "exceptions"):
            return actual

        def call(**arguments: Any) -> Any:
            number, self._calls[name] = self._calls[name], self._calls[name] + 1
            if name == "transact_write_items" and self._between:
                between, self._between = self._between, None
                between()
            if self._fault and (self._fault[0][1], self._fault[2]) == (name, number):
                after, error = self._fault[1]
                if after:
                    actual(**arguments)
                raise error
            return actual(**arguments)

        return call


class Deliveries(RuleBasedStateMachine):
    """Alerts come in any order, again and again, while calls break. At the end all is well."""

    @initialize()
    def start(self) -> None:
        self.context = opened_cloud()
        self.cloud = self.context.__enter__()
        self.sent: dict[str, dict] = {}
        self.again: list[dict] = []
        self.told: list[dict] = []
        self.unsure = 0  # faults after which nobody knows whether a notice was sent

    def clients(self, fault: Any, between: Any = None) -> dict[str, Faulty]:
        return {name: Faulty(self.cloud.clients[name], fault, between) for name in ("dynamodb", "sns")}

    def invoke(self, alerts: list[dict], fault: Any = None, between: Any = None) -> None:
        """Deliver the alerts. What is reported or was not finished comes again."""
        if fault and fault[0][1] in ("publish", "update_item"):
            self.unsure += 1
        self.sent |= {one["alert_id"]: one for one in alerts}
        try:
            failed = self.cloud.respond(records(*alerts), **self.clients(fault, between))
        except Killed:
            self.again += alerts
        else:
            self.again += alerts[int(failed[0]) - 1 :] if failed else []

    @rule(found=ALERTS, fault=FAULTS)
    def deliver(self, found: list[tuple], fault: Any) -> None:
        self.invoke([alert(user, count, later_s) for user, count, later_s in found], fault)

    @rule(found=ALERTS, others=ALERTS, fault=FAULTS)
    def deliver_at_once(self, found: list[tuple], others: list[tuple], fault: Any) -> None:
        other = [alert(user, count, later_s) for user, count, later_s in others]
        alerts = [alert(user, count, later_s) for user, count, later_s in found]
        self.invoke(alerts, fault, between=lambda: self.invoke(other))

    @rule(seconds=st.integers(1, 120), fault=FAULTS)
    def sweep(self, seconds: int, fault: Any) -> None:
        self.cloud.now += timedelta(seconds=seconds)
        if fault and fault[0][1] in ("publish", "update_item"):
            self.unsure += 1
        with suppress(Killed, ClientError, ReadTimeoutError):  # the next minute brings another
            self.cloud.sweep(0, **self.clients(fault))

    @rule()
    def redeliver(self) -> None:
        again, self.again = self.again, []
        if again:
            self.invoke(again)

    def teardown(self) -> None:
        self.redeliver()
        for _ in range(12):
            self.cloud.sweep(60)
        self.check()
        self.context.__exit__(None, None, None)

    def check(self) -> None:
        stored = [item for item in self.cloud.scan() if "subject" in item]
        assert {item["ddb_sort_key"]["S"] for item in stored} == self.sent.keys()
        subjects: dict[str, list[str]] = {}
        for item in stored:
            subjects.setdefault(item["incident_id"]["S"], []).append(item["subject"]["S"])
        assert {
            item["ddb_partition_key"]["S"].removeprefix("incident#"): (
                int(item["alert_count"]["N"]),
                int(item["subject_count"]["N"]),
            )
            for item in self.cloud.incidents()
        } == {name: (len(found), len(set(found))) for name, found in subjects.items()}
        assert not any("open" in item for item in self.cloud.incidents())
        told = [json.loads(message["Message"]) for message in self.cloud.messages()]
        last = {one["incident_id"]: one for one in told}
        assert {name: (one["kind"], one["alert_count"]) for name, one in last.items()} == {
            name: ("over", len(found)) for name, found in subjects.items()
        }
        copies = sum(Counter(one["notice_id"] for one in told).values()) - len({one["notice_id"] for one in told})
        assert copies <= self.unsure


def test_whatever_breaks_each_alert_counts_once_and_the_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch)
    monkeypatch.setattr("lambda_alert.store.time.sleep", lambda _: None)
    run_state_machine_as_test(
        Deliveries,
        settings=settings(
            max_examples=8,
            stateful_step_count=8,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
