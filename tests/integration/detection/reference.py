"""The rules in plain Python, by brute force, from their meaning: Flink's alerts must equal these.

Times are whole seconds. A window (start, end] excludes its start and includes its end.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from math import floor
from operator import attrgetter
from typing import NamedTuple

from shop import alert, level

Values = Mapping[str, Mapping[str, int]]
Seconds = Mapping[int, list[dict]]


class Finding(NamedTuple):
    """A window in which a subject was above the threshold."""

    rule: str
    subject: str
    start: int
    end: int
    count: int
    threshold: int


def alerts(events: Iterable[dict], values: Values) -> list[dict]:
    """Return the alerts of events that are not late, by rule, subject and time."""
    events = [event for event in events if event["user_id"] is not None]
    users = {user: by_second(own) for user, own in by(events, "user_id").items()}
    products = {product: by_second(own) for product, own in by(events, "product_id").items() if product is not None}
    found = [
        *burst(users, **values["burst"]),
        *user_windows(users, values),
        *product_flood(products, **values["product_flood"]),
        *site_surge(users, **values["site_surge"]),
    ]
    found.sort()
    return [
        alert(*finding)
        for _, own in groupby(found, attrgetter("rule", "subject"))
        for finding in news(sorted(own, key=attrgetter("end")), values["alerts"]["quiet_s"])
    ]


def news(findings: Iterable[Finding], quiet_s: int) -> Iterator[Finding]:
    """Yield the findings of one rule and subject that start an attack or reach a new highest level."""
    last, height = None, 0
    for finding in findings:
        if last is None or finding.start - last >= quiet_s:
            height = 0
        last = finding.end
        if (reached := level(finding.count, finding.threshold)) > height:
            height = reached
            yield finding


def by(events: Iterable[dict], name: str) -> dict:
    groups = defaultdict(list)
    for event in events:
        groups[event[name]].append(event)
    return groups


def by_second(events: Iterable[dict]) -> Seconds:
    groups = defaultdict(list)
    for event in events:
        groups[floor(event["at"])].append(event)
    return groups


def actions(seconds: Seconds, kind: str | None = None) -> int:
    """Return the number of a user's actions: equal events of a second are one, and so is a session's checkout."""
    return sum(
        len(
            {
                ("purchase", event["user_session"])
                if event["event_type"] == "purchase"
                else tuple(value for name, value in event.items() if name != "at")
                for event in events
                if kind in (None, event["event_type"])
            }
        )
        for events in seconds.values()
    )


def within(seconds: Seconds, start: int, end: int) -> Seconds:
    return {second: events for second, events in seconds.items() if start < second <= end}


def hops(seconds: Seconds, window_s: int, slide_s: int) -> Iterator[tuple[int, int, Seconds]]:
    """Yield (start, end, content) of each window that is not empty. Second 0 of the clock is a boundary."""
    ends = {
        end
        for second in seconds
        for end in range(second, second + window_s)
        if (end + 1) % slide_s == 0  # the last second before a boundary
    }
    return ((end - window_s, end, within(seconds, end - window_s, end)) for end in sorted(ends))


def distinct(seconds: Seconds, name: str) -> int:
    return len({event[name] for events in seconds.values() for event in events} - {None})


def burst(users: Mapping[int, Seconds], threshold: int, window_s: int) -> Iterator[Finding]:
    for user, seconds in users.items():
        for now in seconds:
            count = actions(within(seconds, now - window_s, now))
            if count > threshold:
                yield Finding("burst", f"user#{user}", now - window_s, now, count, threshold)


def user_windows(users: Mapping[int, Seconds], values: Values) -> Iterator[Finding]:
    for user, seconds in users.items():
        for start, end, window in hops(seconds, **values["user_windows"]):
            products, sessions = distinct(window, "product_id"), distinct(window, "user_session")
            carts, purchases = actions(window, "cart"), actions(window, "purchase")
            scarcely_bought = (carts + purchases) * 100 <= products * values["scraper"]["carts_per_100"]
            for rule, count, is_it in (
                ("scraper", products, scarcely_bought),
                ("cart_hoarder", carts, purchases == 0),
                ("session_rotator", sessions, True),
            ):
                if is_it and count > (threshold := values[rule]["threshold"]):
                    yield Finding(rule, f"user#{user}", start, end, count, threshold)


def product_flood(products: Mapping[int, Seconds], threshold: int, window_s: int, slide_s: int) -> Iterator[Finding]:
    for product, seconds in products.items():
        for start, end, window in hops(seconds, window_s, slide_s):
            count = distinct(window, "user_id")
            if count > threshold:
                yield Finding("product_flood", f"product#{product}", start, end, count, threshold)


def site_surge(
    users: Mapping[int, Seconds], threshold: int, window_s: int, baseline_s: int, least_baseline_s: int, factor: int
) -> Iterator[Finding]:
    site = defaultdict(int)
    for seconds in users.values():
        for second, events in seconds.items():
            site[second] += actions({second: events})
    for now in site:
        count = sum(within(site, now - window_s, now).values())
        before = within(site, now - baseline_s, now - window_s)
        if not before or len(before) < least_baseline_s:
            continue
        limit = max(threshold, sum(before.values()) * window_s * factor // len(before))
        if count > limit:
            yield Finding("site_surge", "site", now - window_s, now, count, limit)
