"""Telling: send the notices that are due, at most one a minute for each incident.

What is due stands in the table, so nothing is lost with a call that breaks off: the sweep comes each minute. Whoever
tells first claims the incident, then publishes once, then marks the incident as told. A kill between the last two is
the one case in which a notice comes twice; both copies have the same `notice_id`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError

from lambda_alert.alert import instant
from lambda_alert.incidents import Incident
from lambda_alert.notices import Notices
from lambda_alert.policy import Policy
from lambda_alert.store import CALL_MS, Store

# The topic's answer may take 1 + 20 s (handler.PUBLISH_CONFIG): one that comes late is waited for, not asked for again.
PUBLISH_MS = 22_000
TELL_MS = CALL_MS + PUBLISH_MS + CALL_MS
# An incident that goes on is told again after so long.
STILL_S = 3600

# After these, the topic has not taken the notice. After any other error it may have.
REFUSED = (ClientError, ConnectTimeoutError, EndpointConnectionError)


class Teller:
    """Tells incidents. `log` takes a level, a message and ids."""

    def __init__(
        self,
        store: Store,
        notices: Notices,
        now: Callable[[], datetime],
        log: Callable[..., None],
        quiet_s: int,
    ) -> None:
        self._store = store
        self._notices = notices
        self._now = now
        self._log = log
        self._quiet_s = quiet_s

    def tell(self, one: Incident, remaining_ms: Callable[[], int]) -> bool:
        """Tell the incident if something is due and nobody else does. Return whether that was done."""
        if remaining_ms() < TELL_MS:
            return False
        claimed = self._store.claim(one.incident_id, self._now())
        if claimed is None:
            return False
        explained = [
            other
            for other in (self._store.open_incidents() if self._notices.is_about_the_site(claimed.rule) else [])
            if other.is_explained and other.explained_by == claimed.rule
        ]
        try:
            self._notices.send(claimed, explained)
        except REFUSED as error:
            self._log("ERROR", "notice refused: to be sent later", incident_id=one.incident_id, error=repr(error))
            self._store.release(claimed)
            return False
        except Exception as error:  # the topic may have taken it: only when the claim ends is it sent again
            self._log("ERROR", "notice without answer", incident_id=one.incident_id, error=repr(error))
            return False
        self._store.mark(claimed, self._now())
        for other in explained:
            self._store.list_in(other, claimed.incident_id)
        notice_id = f"{claimed.incident_id}#{claimed.due}"
        self._log("INFO", "incident told", incident_id=one.incident_id, notice_id=notice_id, kind=claimed.kind)
        return True

    def sweep(self, policy: Policy, remaining_ms: Callable[[], int]) -> dict[str, Any]:
        """End the incidents that are quiet, and tell what is due. Return counts, and the age of what is due."""
        now = self._now()
        found = []
        for one in self._store.open_incidents():
            with self._failures(one):
                one = self._moved_on(one, now, remaining_ms)
            found.append(one)
        open_rules = {one.rule for one in found}
        told, muted, left = [], 0, []
        for one in found:
            if one.due <= one.told:
                continue
            reason = one.muted_by(policy, open_rules, now)
            is_done = False
            with self._failures(one):
                if reason is None:
                    is_done = self.tell(one, remaining_ms)
                # What a surge explains stays while the surge does, so that its last notice names it too.
                elif one.closed_at and (reason != "explained" or one.explained_by not in open_rules):
                    self._store.drop(one, now)
            if reason:
                muted += 1
            elif is_done:
                told.append(one)
            else:
                left.append(one)
        ages = [(now - instant("", one.due_at)).total_seconds() for one in left]
        return {
            "open": len(found),
            "told": [one.rule for one in told],
            "muted": muted,
            "oldest_due_s": max(ages, default=0),
        }

    @contextmanager
    def _failures(self, one: Incident) -> Iterator[None]:
        """Log what goes wrong with an incident. It must not keep the others from being told; the next sweep comes."""
        try:
            yield
        except Exception as error:
            self._log("ERROR", "left to the next sweep", incident_id=one.incident_id, error=repr(error))

    def _moved_on(self, one: Incident, now: datetime, remaining_ms: Callable[[], int]) -> Incident:
        """Return the incident, ended if it is quiet, or with a notice due if it has gone on for long."""
        if one.closed_at or remaining_ms() < 2 * CALL_MS:
            return one
        if now - instant("", one.last_alert_at) >= timedelta(seconds=self._quiet_s):
            return self._store.close(one, now) or one
        has_news = one.due == one.told and one.alert_count > one.told_alerts
        if has_news and now - instant("", one.told_at) >= timedelta(seconds=STILL_S):
            return self._store.raise_due(one, now) or one
        return one
