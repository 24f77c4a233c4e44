"""The attack lab: labelled attackers, one scenario for each rule and a mean one, mixed into a file of shop events.

Controls are shoppers who look like attackers, and are none.

How loud an attacker is, is a factor of the rule's threshold, chosen before the rules were tuned. Each attack lasts one
window of its rule, the least that the rule can see; the surge three.
"""

import csv
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from heapq import merge
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import smart_open

from detector import rulebook
from simulator.traffic.event import COLUMNS, MAX_ID, Event, event_time_at, second_of
from simulator.traffic.source import Source

FIRST_USER_ID = 900_000_000_000  # far above the data set's: people know an attacker at sight
PRODUCTS = 5_000  # of the traffic, from which attackers choose
SLICE_S = 10  # of the site's own traffic, as the surge is measured
SURGE_WINDOWS = 3
MOST_USERS_VIEWS = 3  # of a user in a surge: none of them is loud
# Of the controls: between two things that they do, longer than the longest window of seconds; what they buy at once;
# how often each look is delivered.
PAUSE_S, CHECKOUT_ITEMS, ECHOES = 15, 12, 6


class ScenarioError(ValueError):
    """No attack is possible on this traffic; the message says why and what to do."""


@dataclass(frozen=True)
class Limit:
    """A rule's values: `threshold` must be exceeded within `window_s`; `factor` is of the site's own recent rate."""

    threshold: int
    window_s: int
    factor: float = 0.0


@dataclass(frozen=True)
class Attacker:
    """Whom the rule of its scenario has to report. `users`: those who do it, if the subject is no user."""

    subject: str
    scenario: str
    intensity: float
    started_at: str
    ended_at: str
    events: int
    users: list[int] = field(default_factory=list)


@dataclass
class Traffic:
    """What attackers must know of the traffic that they hide in."""

    first: int
    last: int
    products: list[Event]
    slices: Counter[int]
    users: set[int]


@dataclass(frozen=True)
class Step:
    """One thing that an attacker does."""

    second: int
    user_id: int
    session: str
    product: Event
    event_type: str = "view"


def survey(source: Source, rng: Random) -> Traffic:
    """Reads the traffic once. Raises ScenarioError if there is none."""
    first, last, slices, products, users = math.inf, -math.inf, Counter(), [], set()
    for number, event in enumerate(source.events()):
        second = second_of(event["event_time"])
        first, last = min(first, second), max(last, second)
        slices[second // SLICE_S] += 1
        # A sample of fixed size, each event as likely as any other.
        if len(products) < PRODUCTS:
            products.append(event)
        elif (place := rng.randrange(number + 1)) < PRODUCTS:
            products[place] = event
        if event["user_id"] >= FIRST_USER_ID:
            users.add(event["user_id"])
    if not products:
        raise ScenarioError("no valid row to hide attackers among: give a file with events")
    different = {event["product_id"]: event for event in products}
    return Traffic(int(first), int(last), list(different.values()), slices, users)


def limits() -> dict[str, Limit]:
    """Return the default values of the rules."""
    known = rulebook.read().values()
    return {
        name: Limit(int(own["threshold"]), int(own["window_s"]), float(own.get("factor", 0)))
        for name, own in known.items()
        if "threshold" in own
    }


class Lab:
    """Plans attacks on `traffic`; the same for the same seed."""

    def __init__(self, traffic: Traffic, limits: Mapping[str, Limit], seed: int) -> None:
        self._traffic = traffic
        self._limits = limits
        self._rng = Random(f"lab {seed}")
        self._user_ids = (number for number in count(FIRST_USER_ID) if number not in traffic.users)
        self._flooded = 0
        self.attackers: list[Attacker] = []
        self.controls: list[Attacker] = []
        self.steps: list[Step] = []

    def add(self, scenario: str, intensities: Sequence[float], attackers: int) -> None:
        """Plans that many attackers of a scenario for each intensity, spread over the traffic. Raises ScenarioError."""
        plan = (SCENARIOS | CONTROLS)[scenario]
        labelled = self.attackers if scenario in SCENARIOS else self.controls
        planned = attackers * len(intensities)
        for number in range(planned):
            # In turns: attacks of one scenario keep their distance, whatever their intensity.
            intensity = intensities[number % len(intensities)]
            labelled.append(self._labelled(scenario, intensity, plan(self, intensity, number, planned)))

    def plan_burst(self, intensity: float, number: int, of: int) -> tuple[str, list[Step]]:
        """All at once, astride a boundary of the wall clock's windows, or evenly: in turns."""
        limit = self._limits["burst"]
        amount, span = self._amount(limit, intensity), limit.window_s - 1
        start = self._start(number, of, limit.window_s)
        kind = (number + number // 3) % 3  # each kind with each of three intensities
        if kind == 0:
            seconds = [start] * amount
        elif kind == 1:
            boundary = -(-start // limit.window_s) * limit.window_s
            half = amount // 2
            seconds = [boundary - 1 - step % 3 for step in range(half)]
            seconds += [boundary + step % 3 for step in range(amount - half)]
        else:
            seconds = [start + step * span // (amount - 1) for step in range(amount)]
        return self._by_one_user(zip(sorted(seconds), self._different_products(amount), strict=True))

    def plan_scraper(self, intensity: float, number: int, of: int) -> tuple[str, list[Step]]:
        """Product after product, patiently, none of them put into a cart."""
        limit = self._limits["scraper"]
        amount = self._amount(limit, intensity)
        seconds = self._evenly(self._start(number, of, limit.window_s), limit.window_s, amount)
        return self._by_one_user(zip(seconds, self._different_products(amount), strict=True))

    def plan_cart_hoarder(self, intensity: float, number: int, of: int) -> tuple[str, list[Step]]:
        """Looks at products and puts each into the cart, and buys none."""
        limit = self._limits["cart_hoarder"]
        amount = self._amount(limit, intensity)
        seconds = self._evenly(self._start(number, of, limit.window_s), limit.window_s, amount)
        user_id, session = next(self._user_ids), self._session()
        steps = []
        for second, product in zip(seconds, self._different_products(amount), strict=True):
            steps += [Step(second, user_id, session, product), Step(second, user_id, session, product, "cart")]
        return f"user#{user_id}", steps

    def plan_session_rotator(self, intensity: float, number: int, of: int) -> tuple[str, list[Step]]:
        """A new session for every look."""
        limit = self._limits["session_rotator"]
        amount = self._amount(limit, intensity)
        seconds = self._evenly(self._start(number, of, limit.window_s), limit.window_s, amount)
        user_id = next(self._user_ids)
        looks = zip(seconds, self._different_products(amount), strict=True)
        return f"user#{user_id}", [Step(second, user_id, self._session(), product) for second, product in looks]

    def plan_product_flood(self, intensity: float, number: int, of: int) -> tuple[str, list[Step]]:
        """Many users look at one product, each once."""
        limit = self._limits["product_flood"]
        start = self._start(number, of, limit.window_s)
        products, at = self._traffic.products, self._flooded
        self._flooded += 1
        product = products[at % len(products)]
        steps = [
            Step(start + self._rng.randrange(limit.window_s), next(self._user_ids), self._session(), product)
            for _ in range(self._amount(limit, intensity))
        ]
        return f"product#{product['product_id']}", steps

    def plan_site_surge(self, intensity: float, number: int, of: int) -> tuple[str, list[Step]]:
        """Very many users, each with a few looks at anything."""
        limit = self._limits["site_surge"]
        start = self._start(number, of, SURGE_WINDOWS * limit.window_s)
        before = range((start - 600) // SLICE_S, start // SLICE_S)
        usual = sum(self._traffic.slices[one] for one in before) / len(before) * limit.window_s / SLICE_S
        amount = math.ceil(max(limit.threshold, limit.factor * usual) * intensity) * SURGE_WINDOWS
        steps: list[Step] = []
        while len(steps) < amount:
            user_id, session = next(self._user_ids), self._session()
            for _ in range(self._rng.randint(1, MOST_USERS_VIEWS)):
                second = start + self._rng.randrange(SURGE_WINDOWS * limit.window_s)
                steps.append(Step(second, user_id, session, self._rng.choice(self._traffic.products)))
        return "site", steps[:amount]

    def plan_just_under(self, intensity: float, number: int, of: int) -> tuple[str, list[Step]]:
        """Knows the rules for users, and does just what each of them allows, for three windows of the longest."""
        burst, scraper = self._limits["burst"], self._limits["scraper"]
        start = self._start(number, of, 3 * scraper.window_s)
        allowed = [scraper.threshold // (burst.threshold or 1)] * 3
        user_id, session = next(self._user_ids), self._session()
        steps = []
        for window, bursts in enumerate(allowed):
            pause = scraper.window_s // bursts
            for turn in range(bursts):
                second = start + window * scraper.window_s + turn * pause
                products = self._different_products(burst.threshold)
                steps += [Step(second, user_id, session, product) for product in products]
        return f"user#{user_id}", steps

    def plan_five_tabs(self, intensity: float, number: int, of: int) -> tuple[str, list[Step]]:
        """Opens five products at once, each in a tab, between two single looks."""
        start = self._start(number, of, 3 * PAUSE_S)
        looks = zip([0, 1, 1, 1, 1, 1, 2], self._different_products(7), strict=True)
        return self._by_one_user((start + pause * PAUSE_S, product) for pause, product in looks)

    def plan_big_checkout(self, intensity: float, number: int, of: int) -> tuple[str, list[Step]]:
        """Fills a cart slowly and buys all of it in one second."""
        start = self._start(number, of, (CHECKOUT_ITEMS + 1) * PAUSE_S)
        user_id, session = next(self._user_ids), self._session()
        products = list(self._different_products(CHECKOUT_ITEMS))
        bought_at = start + CHECKOUT_ITEMS * PAUSE_S
        steps = [
            Step(start + place * PAUSE_S, user_id, session, product, "cart") for place, product in enumerate(products)
        ]
        steps += [Step(bought_at, user_id, session, product, "purchase") for product in products]
        return f"user#{user_id}", steps

    def plan_echo(self, intensity: float, number: int, of: int) -> tuple[str, list[Step]]:
        """Looks now and then, and each look is delivered several times."""
        start = self._start(number, of, 3 * PAUSE_S)
        looks = zip(range(3), self._different_products(3), strict=True)
        subject, steps = self._by_one_user((start + pause * PAUSE_S, product) for pause, product in looks)
        return subject, [step for step in steps for _ in range(ECHOES)]

    def _labelled(self, scenario: str, intensity: float, planned: tuple[str, list[Step]]) -> Attacker:
        subject, steps = planned
        self.steps += steps
        users = [] if subject.startswith("user#") else sorted({step.user_id for step in steps})
        first, last = min(step.second for step in steps), max(step.second for step in steps)
        return Attacker(subject, scenario, intensity, event_time_at(first), event_time_at(last), len(steps), users)

    def _amount(self, limit: Limit, intensity: float) -> int:
        return max(limit.threshold + 1, math.ceil(limit.threshold * intensity))

    def _start(self, number: int, of: int, length_s: int) -> int:
        """A second for the attack; those of one scenario keep their distance, as far as the traffic is long enough."""
        room = self._traffic.last - self._traffic.first - length_s
        if room < 0:
            raise ScenarioError(f"the traffic is shorter than an attack of {length_s} s: give a longer file")
        place = (number + self._rng.uniform(0.25, 0.75)) / of
        return self._traffic.first + round(room * place)

    def _evenly(self, start: int, length_s: int, amount: int) -> list[int]:
        """Seconds within (start, start + length], as evenly as a patient program with an uneven network does it."""
        pause = length_s / amount
        return sorted(start + min(length_s - 1, int((step + self._rng.random()) * pause)) for step in range(amount))

    def _by_one_user(self, looks: Iterable[tuple[int, Event]]) -> tuple[str, list[Step]]:
        user_id, session = next(self._user_ids), self._session()
        return f"user#{user_id}", [Step(second, user_id, session, product) for second, product in looks]

    def _different_products(self, amount: int) -> Iterator[Event]:
        """Products of the traffic, from a random one on; when they are used up, of numbers that nobody has seen."""
        products, start = self._traffic.products, self._rng.randrange(len(self._traffic.products))
        known = (products[(start + step) % len(products)] for step in range(len(products)))
        unknown = (products[start] | {"product_id": MAX_ID - step} for step in count())
        yield from islice(known, amount)
        yield from islice(unknown, max(0, amount - len(products)))

    def _session(self) -> str:
        return str(UUID(int=self._rng.getrandbits(128), version=4))


SCENARIOS: dict[str, Callable[[Lab, float, int, int], tuple[str, list[Step]]]] = {
    "burst": Lab.plan_burst,
    "scraper": Lab.plan_scraper,
    "cart_hoarder": Lab.plan_cart_hoarder,
    "session_rotator": Lab.plan_session_rotator,
    "product_flood": Lab.plan_product_flood,
    "site_surge": Lab.plan_site_surge,
    "just_under": Lab.plan_just_under,
}

# Shoppers who do what looks like an attack and is none: nobody may accuse them.
CONTROLS: dict[str, Callable[[Lab, float, int, int], tuple[str, list[Step]]]] = {
    "five_tabs": Lab.plan_five_tabs,
    "big_checkout": Lab.plan_big_checkout,
    "echo": Lab.plan_echo,
}


def labels(lab: Lab) -> dict[str, Any]:
    """The ground truth by subject; a list where one subject attacks several times."""
    return {"attackers": _by_subject(lab.attackers), "controls": _by_subject(lab.controls)}


def _by_subject(ones: Iterable[Attacker]) -> dict[str, Any]:
    by_subject: dict[str, list[dict[str, Any]]] = {}
    for one in map(asdict, ones):
        by_subject.setdefault(one.pop("subject"), []).append(one)
    return {subject: found[0] if len(found) == 1 else found for subject, found in by_subject.items()}


def mix(source: Source, lab: Lab, out: Path, labels_file: Path) -> int:
    """Writes traffic and attackers as one file in the data set's format, and the labels; returns the rows."""
    attack = sorted((step.second, number) for number, step in enumerate(lab.steps))
    attacks = ((second, 1, _event(lab.steps[number])) for second, number in attack)
    traffic = ((second_of(event["event_time"]), 0, event) for event in source.events())
    rows = 0
    with smart_open.open(out, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for _, _, event in merge(_in_order(traffic), attacks, key=lambda item: item[:2]):
            writer.writerow("" if event[name] is None else event[name] for name in COLUMNS)
            rows += 1
    labels_file.write_text(json.dumps(labels(lab), indent=1) + "\n")
    return rows


def _in_order(items: Iterable[tuple[int, int, Event]]) -> Iterator[tuple[int, int, Event]]:
    """The items in their own order, each with the latest time so far: late rows stay where they stand."""
    latest = -1
    for second, kind, event in items:
        latest = max(latest, second)
        yield latest, kind, event


def _event(step: Step) -> Event:
    return step.product | {
        "event_time": event_time_at(step.second),
        "event_type": step.event_type,
        "user_id": step.user_id,
        "user_session": step.session,
    }
