"""The attack lab: plan what labelled attackers do in given traffic.

How loud an attacker is, its intensity, is a factor of the rule's threshold. The factors were chosen before the rules
were tuned. An attack lasts one window of its rule, the shortest time that the rule can see.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, islice
from random import Random
from uuid import UUID

from evaluation.actors import SESSION, USER
from simulator.traffic.event import PRODUCT_FIELDS, Event, at_ms
from simulator.traffic.source import Source

FIRST_USER_ID = 900_000_000_000  # far above the data set's, so that people recognise an attacker
ATTACKER_ID = re.compile("9[0-9]{11}")
UNKNOWN_PRODUCT_ID = 2**63 - 1  # of a product that is not in the traffic: this number, or one below it
PRODUCTS = 5_000  # of the traffic, from which attackers choose
SLICE_S = 10  # length of the slices in which the traffic's own events are counted
USUAL_S = 600  # time before an attack over which the traffic's usual rate is measured


class ScenarioError(ValueError):
    """An attack that is not possible. The message says why and what to do."""


@dataclass(frozen=True)
class Limit:
    """What a rule allows: up to `threshold` within `window_s`. `values` holds all of the rule's values by name."""

    threshold: int
    window_s: int
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Survey:
    """What attackers must know about the traffic that they hide in. Times in Unix seconds."""

    first: int
    last: int
    products: list[Event]  # each once, with what an event says about it
    shares: Mapping[str, float]  # of the events, by product
    slices: Counter[int]  # events by second // SLICE_S
    attacker_ids: set[str]  # users of the traffic whose id could be an attacker's


@dataclass(frozen=True)
class Step:
    """One event of an attacker. A guest has no user id."""

    second: int
    user_id: str | None
    session: str
    product: Event
    event_type: str = "view"
    client_ip: str | None = None

    @property
    def actor(self) -> str:
        """Who acts, as a subject."""
        return f"{SESSION}{self.session}" if self.user_id is None else f"{USER}{self.user_id}"


@dataclass(frozen=True)
class AttackPlan:
    """What one attacker does, and the subject that an alert about it must name."""

    subject: str
    steps: list[Step]


def survey(source: Source, random: Random) -> Survey:
    """Read the traffic once. Raise ScenarioError if there is none."""
    first, last = math.inf, -math.inf
    slices: Counter[int] = Counter()
    products: list[Event] = []
    attacker_ids = set()
    with_product = 0
    for event in source.events():
        second = at_ms(event) // 1000
        first, last = min(first, second), max(last, second)
        slices[second // SLICE_S] += 1
        if event["user_id"] and ATTACKER_ID.fullmatch(event["user_id"]):
            attacker_ids.add(event["user_id"])
        if not event["product_id"]:
            continue
        with_product += 1
        # A sample of fixed size, each event as likely as any other.
        if len(products) < PRODUCTS:
            products.append(event)
        elif (place := random.randrange(with_product)) < PRODUCTS:
            products[place] = event
    if not products:
        raise ScenarioError("no valid row with a product to hide attackers among: give a file with events")
    different = {event["product_id"]: {name: event.get(name) for name in PRODUCT_FIELDS} for event in products}
    sampled = Counter(event["product_id"] for event in products)
    shares = {product: events / sampled.total() for product, events in sampled.items()}
    return Survey(int(first), int(last), list(different.values()), shares, slices, attacker_ids)


class Lab:
    """The tools with which one scenario plans its attackers. `limits` are the rules' by name."""

    def __init__(self, survey: Survey, limits: Mapping[str, Limit], random: Random, user_ids: Iterator[str]) -> None:
        self.survey = survey
        self.limits = limits
        self.random = random
        self._user_ids = user_ids

    def new_user(self) -> str:
        """Return the id of a user who is neither in the traffic nor another attacker."""
        return next(self._user_ids)

    def new_session(self) -> str:
        """Return the id of a session."""
        return str(UUID(int=self.random.getrandbits(128), version=4))

    def new_address(self) -> str:
        """Return an address of the range for private networks, from which nobody reaches a shop."""
        return f"10.{self.random.randrange(256)}.{self.random.randrange(256)}.{self.random.randrange(1, 255)}"

    def amount(self, limit: Limit, intensity: float) -> int:
        """Return how many actions an attacker of this intensity takes: at least one above the threshold."""
        return max(limit.threshold + 1, math.ceil(limit.threshold * intensity))

    def start(self, number: int, of: int, length_s: int) -> int:
        """Return a second at which an attack of this length begins.

        The attacks of one scenario, 0 to `of` - 1, are spread over the traffic. Raise ScenarioError if the traffic is
        shorter than the attack.
        """
        room = self.survey.last - self.survey.first - length_s
        if room < 0:
            raise ScenarioError(f"the traffic is shorter than an attack of {length_s} s: give a longer file")
        place = (number + self.random.uniform(0.25, 0.75)) / of
        return self.survey.first + round(room * place)

    def spread(self, start: int, length_s: int, amount: int) -> list[int]:
        """Return seconds in [start, start + length_s), almost evenly spaced, as a patient program's requests are."""
        pause = length_s / amount
        return sorted(start + min(length_s - 1, int((step + self.random.random()) * pause)) for step in range(amount))

    def products(self, amount: int) -> Iterator[Event]:
        """Yield different products: those of the traffic, from a random one on, then ids that are not in it."""
        known, start = self.survey.products, self.random.randrange(len(self.survey.products))
        yield from islice((known[(start + step) % len(known)] for step in range(len(known))), amount)
        unknown = (known[start] | {"product_id": str(UNKNOWN_PRODUCT_ID - step)} for step in count())
        yield from islice(unknown, max(0, amount - len(known)))

    def usual_events(self, start: int, window_s: int, product: Event | None = None) -> float:
        """Return the traffic's own events in `window_s`, or those of a product: the mean of the time before `start`."""
        before = range((start - USUAL_S) // SLICE_S, start // SLICE_S)
        usual = sum(self.survey.slices[one] for one in before) / len(before) * window_s / SLICE_S
        return usual if product is None else usual * self.survey.shares[product["product_id"]]

    def by_one_user(self, views: Iterable[tuple[int, Event]]) -> AttackPlan:
        """Return the plan of a new user who views products, as (second, product), in one session."""
        user_id, session = self.new_user(), self.new_session()
        return AttackPlan(f"user#{user_id}", [Step(second, user_id, session, product) for second, product in views])
