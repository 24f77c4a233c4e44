"""The options of made traffic and of a replay."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from simulator.traffic.event import second_of

TimeMode = Literal["original", "now"]
PartitionKey = Literal["user_id", "category_id"]  # where an event has none: the session, else the product
DEFAULT_START = second_of("2019-10-01 22:30:00 UTC")  # of made traffic: midnight is crossed
BURST_LIMIT = 5  # the threshold of the rule burst (sql/detection/rules)


@dataclass(frozen=True)
class TrafficOptions:
    """The options of made traffic. Raise ValueError for a value that makes no sense.

    Shares are of the rows, but `guest_share` is of the sessions.
    """

    duplicate_share: float = 0.0003  # exact repetitions; the sample has 5 in 17,434
    unsorted_share: float = 0.0  # rows that are up to `unsorted_s` later in the file than their time
    unsorted_s: int = 5
    late_share: float = 0.0  # rows that are up to `late_s` later, and more than `unsorted_s`
    late_s: int = 600
    guest_share: float = 0.0  # sessions without a user id
    # The most purchases of one session in one second. Above BURST_LIMIT such checkouts break the rule burst.
    checkout_items: int = 4
    tabs: int = 4  # the most products that open at once, each in a tab
    # The most different events of a visitor in 10 s: one who would do more waits. A very high value takes the limit
    # away, which shows who the rules flag then.
    burst_limit: int = BURST_LIMIT

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            lowest, highest = (0, 0.5) if name.endswith("share") else (1, 86_400)
            if name == "guest_share":
                highest = 1
            if not lowest <= value <= highest:
                raise ValueError(f"{name} {value} is not allowed; give one from {lowest} to {highest}")
        if self.late_s <= self.unsorted_s:
            raise ValueError(f"late_s {self.late_s} is not allowed; give more than unsorted_s, {self.unsorted_s}")


DEFAULT = TrafficOptions()

# The options of made traffic by their names in ReplayOptions and on the command line.
TRAFFIC_FIELDS = {
    "duplicates": "duplicate_share",
    "unsorted": "unsorted_share",
    "late": "late_share",
    "guest_share": "guest_share",
    "checkout_items": "checkout_items",
    "tabs": "tabs",
    "burst_limit": "burst_limit",
}


def traffic_options(**values: Any) -> TrafficOptions:
    """Return options of made traffic from TRAFFIC_FIELDS's names; None is the default.

    Raise ValueError for a value that makes no sense.
    """
    return TrafficOptions(**{TRAFFIC_FIELDS[name]: value for name, value in values.items() if value is not None})


# What must be the same for a replay to continue another one.
RESUMED = (
    *(
        "data",
        "mapping",
        "sort",
        "look_alike",
        "stream",
        "bursts",
        "seed",
        "start",
        "until",
        "part",
        "limit",
        "time",
        "partition_key",
    ),
    *("loop", *TRAFFIC_FIELDS),
)


class OptionsError(ValueError):
    """Options that exclude each other. The message says which, and what to do."""


@dataclass(frozen=True, kw_only=True)
class ReplayOptions:
    """The options of one replay, named as on the command line. Raise OptionsError if some exclude each other.

    Exactly one of `data` and `look_alike`, and exactly one of `stream`, `output` and `dry_run` must be given.
    """

    data: Sequence[str | Path] = ()  # files, folders, globs, s3:// objects or prefixes
    mapping: str | None = None  # a file, or the name of one that ships with the project: what the columns are
    sort: bool = True  # rows that are out of order
    look_alike: float | None = None  # made traffic: events an hour
    duplicates: float | None = None
    unsorted: float | None = None
    late: float | None = None
    guest_share: float | None = None
    checkout_items: int | None = None
    tabs: int | None = None
    burst_limit: int | None = None

    stream: str | None = None
    output: str | None = None  # a file or s3:// object that gets the records, one a line
    dry_run: bool = False

    time: TimeMode = "original"
    speed: float | None = None  # divides the gaps between events; infinite or None: no waiting
    rate: float | None = None  # events/s
    start: int | None = None  # Unix seconds of the first events that are sent
    until: int | None = None  # and of the first that are not sent any more
    limit: int | None = None  # rows to read
    loop: bool = False
    part: tuple[int, int] | None = None  # (i, n): the users and guests of part i of n
    partition_key: PartitionKey = "user_id"
    aggregate: bool = False
    strict_order: bool = False
    resume: Path | None = None

    bursts: int = 0  # bots to mix in
    seed: int = 1  # of the bots and of the backoff
    malformed: Path | None = None  # JSON lines, also of what is set aside; without it the first ones are progress lines
    max_malformed: float = 0.01  # share of the rows
    labels: Path | None = None
    ledger: Path | None = None

    def __post_init__(self) -> None:
        if conflict := self._conflict():
            raise OptionsError(conflict)

    def _conflict(self) -> str | None:
        targets = {"--stream": self.stream, "--output": self.output, "--dry-run": self.dry_run}
        match [name for name, value in targets.items() if value]:
            case []:
                return f"one of the arguments {' '.join(targets)} is required"
            case [first, *_, second]:
                return f"{second}: not allowed with argument {first}"
        if self.speed is not None and self.rate is not None:
            return "--speed: not allowed with argument --rate"
        if bool(self.data) == bool(self.look_alike):
            return "give either files or --look-alike"
        if self.look_alike and (self.mapping or not self.sort):
            return "--mapping and --no-sort are about files; leave them out, or give files"
        if self.look_alike and self.bursts and not self.limit:
            return "--bursts needs an end, to spread the bots over all events; give --look-alike a --limit"
        if not self.look_alike and (given := [name for name in TRAFFIC_FIELDS if getattr(self, name) is not None]):
            names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            return f"{names}: of made traffic only; give --look-alike, or leave it out"
        if self.resume and not self.stream:
            return "--resume needs --stream: an output is always written from its start"
        if self.ledger and (self.aggregate or not self.stream):
            return "--ledger names single records: it needs --stream, without --aggregate"
        if not self.stream and (self.aggregate or self.strict_order):
            name = "--aggregate" if self.aggregate else "--strict-order"
            return f"{name} says how records go to a stream; give --stream, or leave it out"
        if self.loop and self.bursts:
            return "--loop cannot repeat --bursts: a bot attacks once; leave out one of them"
        return None

    def traffic(self) -> TrafficOptions:
        """Return the options of made traffic. Raise ValueError for a value that makes no sense."""
        return traffic_options(**{name: getattr(self, name) for name in TRAFFIC_FIELDS})

    def resumed(self) -> dict[str, Any]:
        """Return the options that must be the same for a replay to continue another one, as JSON keeps them."""
        values = {name: getattr(self, name) for name in RESUMED} | {"data": [str(name) for name in self.data]}
        return json.loads(json.dumps(values))
