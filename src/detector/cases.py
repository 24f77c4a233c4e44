"""Cases of the rules as data: events in, alerts out. tests/integration/detection/test_cases.py runs them on Flink.

A file `cases.yaml` holds:

- `cases`: each has a `name`, `events` and `alerts`, and perhaps `values` other than the defaults
  (`{burst: {threshold: 0}}`). An alert has a `subject` (if the rule is not about the site), the second `end` at which
  its window ends (`5.678` is to the millisecond), the `count`, and perhaps a `threshold` other than the rule's,
  another `rule`, or the rule that it is `explained_by`. All alerts of all rules are listed.
- `traffic`: groups of events by name, for cases that begin alike. A case uses one as an item of its `events`.
- `elsewhere`: set to `ignored` if the rule also fires in the cases of other rules, and these need not list it.

An item of `events` is one event or a group of similar events (class Events):

    {at: 3}                                       one event, in second 3 of the case; DEFAULTS gives its columns
    {at: [0, 1, 2.5]}                             one in each of these seconds
    {at: 10, count: 61, every: 2}                 61 events, one every two seconds; `every` is 0 if it is not given
    {at: 0, count: 60, every: 5, together: 12}    12 events at each of the 60 times
    {at: 3, copies: 2}                            the same event delivered twice
    {at: 3, event_type: cart, brand: null}        other columns; `txn_timestamp` replaces the time of the event itself
    {at: 3, count: 6, product_id: {from: 100}}    product 100, 101, 102 …; numbers become text, as all ids are
    {at: 3, count: 6, user_session: {prefix: s}}  session s0, s1, s2 …
    {at: 3, count: 6, user_id: [7, 8]}            user 7, 8, 7, 8 …
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from detector.described import RulebookError, read_yaml

# The columns of an event where a case does not say otherwise.
DEFAULTS: Mapping[str, Any] = {
    "event_time": "2019-10-01 00:00:00 UTC",
    "event_type": "view",
    "product_id": "1",
    "category_id": "2053013555631882655",
    "category_code": "electronics.smartphone",
    "brand": "samsung",
    "price": 130.76,
    "user_id": "7",
    "user_session": "a1b2",
}
_CONTRACT = json.loads((Path(__file__).parents[2] / "contracts" / "event.json").read_text(encoding="utf-8"))
COLUMNS = tuple(field["name"] for field in _CONTRACT)
IDS = frozenset(field["name"] for field in _CONTRACT if field["unit"] == "id")

Event = dict[str, Any]
Seconds = Annotated[float, Field(ge=0, lt=3600)]


class Events(BaseModel):
    """One event or a group of similar events. What is no field of this class is a column."""

    model_config = ConfigDict(extra="allow", frozen=True)

    at: Seconds | Annotated[list[Seconds], Field(min_length=1)]
    count: Annotated[int, Field(ge=1)] = 1
    every: Annotated[float, Field(ge=0)] = 0
    together: Annotated[int, Field(ge=1)] = 1
    copies: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _check(self) -> "Events":
        if isinstance(self.at, list) and (self.count > 1 or self.every):
            raise ValueError("count and every are for one second `at`, not for a list of them")
        for name, value in self.columns.items():
            if name not in COLUMNS:
                raise ValueError(f"{name} is unknown; allowed: {', '.join((*type(self).model_fields, *COLUMNS))}")
            if isinstance(value, dict) and set(value) not in ({"from"}, {"prefix"}):
                raise ValueError(f"{name} is {value}; allowed: a value, a list, {{from: number}} or {{prefix: text}}")
        return self

    @property
    def columns(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    def expand(self) -> Iterator[Event]:
        """Yield the events, as columns and the second `at`."""
        times = self.at if isinstance(self.at, list) else [self.at + n * self.every for n in range(self.count)]
        for number, at in enumerate(at for at in times for _ in range(self.together)):
            own = {name: _text(name, _nth(value, number)) for name, value in self.columns.items()}
            for _ in range(self.copies):
                yield {"at": at, **DEFAULTS, **own}


class ExpectedAlert(BaseModel):
    """An alert that a case must raise. `rule` is the rule of the file if it is not given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: str | None = None
    subject: Annotated[str, Field(pattern=r"^((user|session|product|ip)#[^\x00-\x1f\x7f]{1,128}|site)$")] = "site"
    end: float
    count: int
    threshold: int | None = None
    explained_by: str | None = None


class CaseDescription(BaseModel):
    """Events in, alerts out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    values: dict[str, dict[str, int | float]] = {}
    events: Annotated[list[Events | str], Field(min_length=1)]
    alerts: list[ExpectedAlert]


class CaseFile(BaseModel):
    """The cases of a rule: events in, alerts out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    elsewhere: Literal["listed", "ignored"] = "listed"
    traffic: dict[str, list[Events]] = {}
    cases: Annotated[list[CaseDescription], Field(min_length=1)]


@dataclass(frozen=True)
class Case:
    """One case. `elsewhere_ignored`: alerts of this rule in the cases of other rules are not compared."""

    rule: str
    name: str
    events: Sequence[Event]
    alerts: Sequence[ExpectedAlert]
    values: Mapping[str, Mapping[str, int | float]] = field(default_factory=dict)
    elsewhere_ignored: bool = False


def read_cases(file: Path, rule: str, shown: str = "") -> list[Case]:
    """Return the cases of a file, which are of the `rule`. Raise RulebookError, which calls the file `shown`."""
    shown = shown or file.name
    content = read_yaml(file, CaseFile, shown)
    names = [one.name for one in content.cases]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise RulebookError(f"{shown}: cases: the name {repeated[0]!r} is used twice")
    cases = []
    for one in content.cases:
        events: list[Event] = []
        for item in one.events:
            if isinstance(item, str) and item not in content.traffic:
                known = ", ".join(content.traffic) or "none"
                raise RulebookError(f"{shown}: cases.{one.name}.events: no traffic {item!r}; known: {known}")
            groups = content.traffic[item] if isinstance(item, str) else [item]
            events += [event for group in groups for event in group.expand()]
        alerts = [alert.model_copy(update={"rule": alert.rule or rule}) for alert in one.alerts]
        cases.append(Case(rule, one.name, events, alerts, one.values, content.elsewhere == "ignored"))
    return cases


def _nth(value: Any, number: int) -> Any:
    """Return the value of a column in the event with that number, from 0."""
    if isinstance(value, list):
        return value[number % len(value)]
    if isinstance(value, dict):
        return value["from"] + number if "from" in value else f"{value['prefix']}{number}"
    return value


def _text(name: str, value: Any) -> Any:
    """Return the value of a column. YAML reads an id of digits as a number, but ids are text."""
    return str(value) if name in IDS and isinstance(value, int) else value
