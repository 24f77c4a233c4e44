"""The Flink job: the operators of src/detector/src (Java), with the rules' SQL between them.

Managed Flink imports this module, so it uses the standard library only. The application's property groups say what
differs from the rulebook:

- group `source`: the stream that is read, and options of its connector
- groups `alerts` and `unjudged`: the stream that is written, and options of its client
- group `values.<name>`: values of that rule, or of `source`, `alerts` or `unjudged`
- group `nobody`: user ids that mean nobody, as the keys' values
- group `allowed_crawlers`: declared crawlers whose events are not judged, as the keys' values

The job sets no option of Flink. Managed Flink refuses most options that a job's code sets
(docs/adr/0014-activity-operators.md).
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from detector.values import Book, Value, fill_in, resolve

NAME = "detector"

Groups = Mapping[str, Mapping[str, str]]


def read_book(file: Path) -> Book:
    """Return the rulebook of a `rulebook.json`."""
    return json.loads(file.read_text(encoding="utf-8"))


def read_property_groups(file: Path) -> Groups:
    """Return {group id: {key: value}} of an application_properties.json."""
    return {group["PropertyGroupId"]: group["PropertyMap"] for group in json.loads(file.read_text())}


def values(book: Book, groups: Groups) -> dict[str, dict[str, Value]]:
    """Return the values of each statement, with those of the property groups. Raise ValueError for invalid ones."""
    prefix = "values."
    changes = {group.removeprefix(prefix): own for group, own in groups.items() if group.startswith(prefix)}
    try:
        return resolve(book, changes)
    except ValueError as error:
        raise ValueError(f"{error}. Fix the Terraform variable `detection`.") from None


def windows(book: Book, known: Mapping[str, Mapping[str, Value]], subject: str) -> list[Value]:
    """Return the lengths of the windows that rules about such a subject ask for, in seconds, in ascending order.

    But for actors, each comes with its baseline, the time before it that it is compared with, or 0: `[10, 600]`.
    """
    own = [known[name] for name in rules(book) if book[name]["subject"] == subject]
    if subject == "actor":
        return sorted({one["window_s"] for one in own})
    pairs = sorted({(one["window_s"], one.get("baseline_s", 0)) for one in own})
    return [length for pair in pairs for length in pair]


def build(book: Book, groups: Groups, options: Mapping[str, str], only: Collection[str] = ()) -> Any:
    """Return the job (Java) with all rules, or `only` some, not started yet: call its `start(name)`.

    `options` are Flink's; none on Managed Flink. Raise ValueError if a property group sets an unknown or invalid value.
    """
    from pyflink.java_gateway import get_gateway

    known = values(book, groups)
    settings = {name: dict(groups.get(name, {})) for name in ("source", "alerts", "unjudged")}
    job: Any = get_gateway().jvm.shopstream.Detector(dict(options), settings)
    job.read(
        sorted(groups.get("nobody", {}).values()),
        sorted(groups.get("allowed_crawlers", {}).values()),
        known["source"]["max_ahead_s"],
        *(windows(book, known, subject) for subject in ("actor", "product", "address", "site")),
    )
    chosen = [rule for rule in rules(book) if not only or rule in only]
    for rule in chosen:
        job.execute(fill_in(rule, book[rule]["sql"], known[rule]))
    explained = {rule: book[rule]["explained_by"] for rule in chosen if book[rule]["explained_by"] in chosen}
    explaining = findings(sorted(set(explained.values())))
    longest_s = max((known[rule]["window_s"] for rule in explained), default=0)
    job.alert(findings(chosen), known["alerts"]["quiet_s"], explaining, explained, longest_s)
    job.tally(known["unjudged"]["step_s"])
    return job


def findings(rules: Collection[str]) -> str:
    """Return the query for the findings of these rules together."""
    return " union all ".join(f"select * from {rule}" for rule in rules)


def rules(book: Book) -> list[str]:
    """Return the names of the rules."""
    return [name for name, statement in book.items() if statement["kind"] == "rule"]
