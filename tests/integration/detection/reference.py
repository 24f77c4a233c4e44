"""What the detector must find, by brute force, from the meaning of the rules: Flink's alerts must equal these.

Times are whole milliseconds. A window (start, end] excludes its start and includes its end. A second is named by its
end: 5 is (4.000, 5.000].
"""

import json
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from ipaddress import ip_address, ip_network
from itertools import groupby
from math import floor
from operator import attrgetter
from typing import Any, NamedTuple

from shop import alert, level

Values = Mapping[str, Mapping[str, float]]

RULES = ("burst", "cart_hoarder", "identity_rotator", "product_flood", "scraper", "session_rotator", "site_surge")
EXPLAINED_BY = {"product_flood": "site_surge"}
KINDS = ("view", "cart", "remove_from_cart", "purchase")  # in this order if they happen in one instant
VIEW_ECHO_MS = 1_000
ECHO_MS = 2_000
BATCH_MS = 1_000
LATE_MS = 2_001


class Deed(NamedTuple):
    """An event that rules count. `actor` is unlike all others where nobody is known."""

    at: int
    kind: str
    actor: str
    is_known: bool
    product: str | None
    thing: Hashable
    session: str | None
    address: str | None


class Judged(NamedTuple):
    """A deed of an actor, and what it is: an `action`, a `part` of the action before it, or an `echo`."""

    deed: Deed
    fate: str

    @property
    def at(self) -> int:
        return self.deed.at

    @property
    def is_action(self) -> bool:
        return self.fate == "action"


class Finding(NamedTuple):
    """A window in which a subject was above the threshold."""

    rule: str
    subject: str
    start: int
    end: int
    count: int
    threshold: int


def alerts(events: Iterable[dict], values: Values, nobody: Sequence[str] = ()) -> list[dict]:
    """Return the alerts of events in the order of their arrival, by rule, subject and time."""
    done = deeds(events, nobody)
    actors = {actor: judged(own) for actor, own in by(done, attrgetter("actor")).items()}
    known = [own for own in actors.values() if own[0].deed.is_known]
    products = by([one for one in done if one.product is not None], attrgetter("product"))
    addresses = by([one for one in done if one.address is not None], attrgetter("address"))
    found = [
        *(one for own in known for one in actor_rules(own, values)),
        *(one for product, own in products.items() for one in product_flood(product, own, **values["product_flood"])),
        *(one for name, own in addresses.items() for one in identity_rotator(name, own, **values["identity_rotator"])),
        *site_surge([one for own in actors.values() for one in own if one.is_action], **values["site_surge"]),
    ]
    return [
        alert(
            *(one.rule, one.subject, one.start / 1000, one.end / 1000, one.count, one.threshold),
            explained_by=explanation(one, found),
        )
        for _, own in groupby(sorted(found), attrgetter("rule", "subject"))
        for one in news(sorted(own, key=attrgetter("end")), values["alerts"]["quiet_s"] * 1000)
    ]


def news(findings: Iterable[Finding], quiet_ms: float) -> Iterator[Finding]:
    """Yield the findings of one rule and subject that start an attack or reach a new highest level."""
    last, height = None, 0
    for finding in findings:
        if last is None or last + quiet_ms <= finding.start:
            height = 0
        last = finding.end
        if (reached := level(finding.count, finding.threshold)) > height:
            height = reached
            yield finding


def explanation(finding: Finding, found: Iterable[Finding]) -> str | None:
    """Return the rule about the site that found something in a window that ends within the finding's window."""
    rule = EXPLAINED_BY.get(finding.rule)
    return rule if any(one.rule == rule and finding.start < one.end <= finding.end for one in found) else None


def by(things: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    groups = defaultdict(list)
    for one in things:
        groups[key(one)].append(one)
    return groups


def deeds(events: Iterable[dict], nobody: Sequence[str]) -> list[Deed]:
    """Return what counts of the events: not what comes too late, not what was delivered before, no other types."""
    found, seen, latest = [], set(), None
    for number, event in enumerate(events):
        at, kind = round(event["at"] * 1000), event["event_type"].strip().lower()
        if kind not in KINDS or (latest is not None and at <= latest - LATE_MS):
            continue
        latest = at if latest is None else max(latest, at)
        delivery = (at, event.get("event_id") or json.dumps(event, default=str))
        if delivery in seen:
            continue
        seen.add(delivery)
        user, session, product = (event[name] or None for name in ("user_id", "user_session", "product_id"))
        if user is not None and user not in nobody:
            actor = f"user#{user}"
        else:
            actor = f"session#{session}" if session is not None else None
        thing = ("page", event.get("page_url") or None) if product is None else ("product", product)
        address = address_of(event.get("client_ip"))
        found.append(Deed(at, kind, actor or f"event {number}", actor is not None, product, thing, session, address))
    return found


def address_of(text: str | None) -> str | None:
    """Return an address of IPv4, or the network of one of IPv6; None if the text is neither."""
    try:
        address = ip_address(text or "")
    except ValueError:
        return None
    if address.version == 4 or address.ipv4_mapped:
        return str(getattr(address, "ipv4_mapped", None) or address)
    groups = ip_network((address, 64), strict=False).network_address.exploded.split(":")[:4]
    return ":".join(f"{int(group, 16):x}" for group in groups) + "::/64"


def judged(deeds: Iterable[Deed]) -> list[Judged]:
    """Return an actor's deeds in order of time, and what each of them is."""
    found: list[Judged] = []
    for deed in sorted(deeds, key=lambda one: (one.at, KINDS.index(one.kind))):
        before = [
            one
            for one in found
            if one.fate != "echo" and (one.deed.kind, one.deed.session) == (deed.kind, deed.session)
        ]
        since_same = [deed.at - one.at for one in before if one.deed.thing == deed.thing]
        since_action = [deed.at - one.at for one in before if one.is_action]
        if deed.kind == "view":
            fate = "echo" if any(ms < VIEW_ECHO_MS for ms in since_same) else "action"
        elif any(ms <= ECHO_MS for ms in since_same):
            fate = "echo"
        else:
            fate = "part" if any(ms < BATCH_MS for ms in since_action) else "action"
        found.append(Judged(deed, fate))
    return found


def within(things: Iterable[Judged], start: int, end: int) -> list[Judged]:
    return [one for one in things if start < one.at <= end]


def left_in_cart(window: Iterable[Judged]) -> int:
    """Return the number of products whose last event is that they were put into the cart."""
    cart: set[str | None] = set()
    for deed in (one.deed for one in window):
        if deed.kind == "cart":
            cart.add(deed.product)
        elif deed.kind == "purchase" and deed.product is None:
            cart.clear()
        elif deed.kind != "view":
            cart.discard(deed.product)
    return len(cart - {None})


def actor_rules(own: list[Judged], values: Values) -> Iterator[Finding]:
    """Yield the findings about an actor: a window ends at each of its deeds."""
    for end in sorted({one.at for one in own}):
        for rule in ("burst", "scraper", "cart_hoarder", "session_rotator"):
            start = end - int(values[rule]["window_s"] * 1000)
            window = within(own, start, end)
            of_kind = {kind: [one for one in window if one.deed.kind == kind] for kind in KINDS}
            products = len({one.deed.product for one in of_kind["view"]} - {None})
            carts = sum(one.fate != "echo" for one in of_kind["cart"])
            purchases = sum(one.is_action for one in of_kind["purchase"])
            if rule == "burst":
                count, is_it = sum(one.is_action for one in window), True
            elif rule == "scraper":
                count, is_it = products, (carts + purchases) * 100 <= products * values[rule]["carts_per_100"]
            elif rule == "cart_hoarder":
                count, is_it = left_in_cart(window), purchases == 0
            else:
                count, is_it = len({one.deed.session for one in window} - {None}), True
            if is_it and count > values[rule]["threshold"]:
                yield Finding(rule, own[0].deed.actor, start, end, count, int(values[rule]["threshold"]))


def second(at: int) -> int:
    return -(-at // 1000)


def product_flood(
    product: str, own: list[Deed], threshold: int, window_s: int, baseline_s: int, factor: float
) -> Iterator[Finding]:
    of_second = {now: {one.actor for one in acts} for now, acts in by(own, lambda one: second(one.at)).items()}

    def actors_until(end: int) -> int:
        return len(set().union(*(of_second.get(end - back, ()) for back in range(window_s))))

    usual_windows = baseline_s // window_s - 2  # whole ones of the clock, wherever a second is in its own
    for now in of_second:
        count = actors_until(now)
        last = (now - window_s) // window_s * window_s  # the end of the last one before the window
        before = [actors_until(last - place * window_s) for place in range(usual_windows)]
        limit = max(threshold, floor(sum(before) * Fraction(str(factor)) / usual_windows))
        if count > limit:
            subject, start = f"product#{product}", (now - window_s) * 1000
            yield Finding("product_flood", subject, start, now * 1000, count, limit)


def identity_rotator(address: str, own: list[Deed], threshold: int, window_s: int) -> Iterator[Finding]:
    for now in {second(one.at) for one in own}:
        actors = {one.actor for one in own if now - window_s < second(one.at) <= now}
        if len(actors) > threshold:
            subject, start = f"ip#{address}", (now - window_s) * 1000
            yield Finding("identity_rotator", subject, start, now * 1000, len(actors), threshold)


def site_surge(
    actions: list[Judged], threshold: int, window_s: int, baseline_s: int, least_baseline_s: int, factor: float
) -> Iterator[Finding]:
    counts = {now: len(own) for now, own in by(actions, lambda one: second(one.at)).items()}
    for now in counts:
        count = sum(own for one, own in counts.items() if now - window_s < one <= now)
        before = [own for one, own in counts.items() if now - baseline_s < one <= now - window_s]
        if before and len(before) >= least_baseline_s:
            limit = max(threshold, floor(sum(before) * window_s * Fraction(str(factor)) / len(before)))
            if count > limit:
                yield Finding("site_surge", "site", (now - window_s) * 1000, now * 1000, count, limit)
