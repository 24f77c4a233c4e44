"""What is in files of events, on one screen, before any of them is sent."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml

from simulator.aws import ClientFactory, client_from_environment
from simulator.traffic import exports
from simulator.traffic.event import EVENT_TYPES, FIELDS, encode
from simulator.traffic.inputs import chunks, open_text, places
from simulator.traffic.mapping import Mapping, draft
from simulator.traffic.refused import Refused, left_out
from simulator.traffic.source import Source

SHOWN_ROWS = 3
DRAFT_ROWS = 200


@dataclass
class Inspection:
    """What was found in the inputs."""

    source: Source
    shapes: list[str]
    refused: Refused = field(default_factory=Refused)
    set_aside: Refused = field(default_factory=Refused)
    types: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    users: set[str] = field(default_factory=set)
    guests: set[str] = field(default_factory=set)
    filled: Counter[str] = field(default_factory=Counter)
    events: int = 0
    nobody: int = 0
    first: str = ""
    last: str = ""

    def lines(self) -> list[str]:
        """Return them for people."""
        source = self.source
        lines = [*self.shapes, ""]
        aside = f", {self.set_aside.rows:,} set aside" if self.set_aside.rows else ""
        lines += [f"{source.rows:,} rows: {self.events:,} events, {self.refused.rows:,} malformed{aside}"]
        lines += left_out(self.refused.reasons(), self.set_aside.reasons(), source.notes)
        if source.damage:
            lines.append(source.damage)
        if not self.events:
            return lines
        lines += [f"from {self.first} to {self.last}", *([] if source.early else ["in the order of their times"])]
        nobody = f", {self.nobody:,} events of nobody: neither user nor session" if self.nobody else ""
        lines.append(f"{len(self.users):,} users, {len(self.guests):,} guests' sessions{nobody}")
        types = (
            f"{count:,} {kind}{'' if kind in EVENT_TYPES else ' (*)'}" for kind, count in self.types.most_common(8)
        )
        lines.append(", ".join(types))
        if any(kind not in EVENT_TYPES for kind in self.types):
            lines.append(f"(*) stored, but no rule reads it: the rules know {', '.join(EVENT_TYPES)}")
        empty = [name for name in (*FIELDS,)[:9] if not self.filled[name]]
        if empty:
            lines.append(f"never filled: {', '.join(empty)}")
        lines += ["", "as they will be sent:", *self.examples]
        return lines


def inspect(
    inputs: Sequence[str],
    mapping: str | None = None,
    limit: int | None = None,
    create_client: ClientFactory = client_from_environment,
) -> Inspection:
    """Read files as a replay would, and return what is in them. Raise SourceError or OSError."""
    source = Source(inputs, limit, create_client, mapping=mapping)
    found = Inspection(source, shapes(inputs, source.mapping, create_client))
    source.read(found.refused, found.set_aside)
    for event in source.events():
        found.events += 1
        found.types[event["event_type"]] += 1
        found.filled.update(name for name, value in event.items() if value is not None)
        if event["user_id"]:
            found.users.add(event["user_id"])
        elif event["user_session"]:
            found.guests.add(event["user_session"])
        else:
            found.nobody += 1
        if len(found.examples) < SHOWN_ROWS:
            found.examples.append(f"  {encode(event).decode()}")
        found.first, found.last = found.first or event["event_time"], event["event_time"]
    return found


def shapes(inputs: Sequence[str], mapping: Mapping | None, create_client: ClientFactory) -> list[str]:
    """Return a line about each file: its form, how its text is written, and its columns."""
    lines = []
    for name, place in places(inputs, create_client).items():
        shape = exports.shape_of(name, place, mapping)
        text = f", {shape.encoding}, separated by {shape.delimiter!r}" if shape.form == "csv" else ""
        lines.append(f"{name}: {shape.form}{text}: {', '.join(shape.header)}")
    return lines


def draft_mapping(inputs: Sequence[str], create_client: ClientFactory = client_from_environment) -> str:
    """Return a mapping to start from, as YAML, for the first of the files. Raise SourceError."""
    name, place = next(iter(places(inputs, create_client).items()))
    shape = exports.shape_of(name, place, None)
    header = shape.header
    # Any mapping that reads all columns.
    known = Mapping(columns={"event_time": header[0], "event_type": [*header]}) if header else None
    rows: list[dict[str, str]] = []
    if known:
        with open_text(*place) as stream:
            every = exports.batches(name, stream, chunks(stream), shape, known, lambda *_: None)
            for batch in every:
                rows += batch.columns.head(DRAFT_ROWS).fill_null("").to_dicts()
                if len(rows) >= DRAFT_ROWS:
                    break
    made: dict[str, Any] = draft(header, rows)
    about = f"# Drafted from {name} on {datetime.now(UTC):%Y-%m-%d}: read it, and mend what is wrong. docs/files.md\n"
    unused = [one for one in header if one not in made["columns"].values()]
    rest = f"# columns that are not read: {', '.join(unused)}\n" if unused else ""
    return about + rest + yaml.safe_dump(made, sort_keys=False, allow_unicode=True)
