"""The Flink job: creates the tables, and the statements that write alerts and tallies.

Managed Flink imports this module, so it uses the standard library only. Property groups set what differs from the
rulebook:

- group `table.<name>`: connector options of a table
- group `table.config`: options of Flink's table runtime
- group `values.<name>`: values of that rule or other statement
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from detector.values import Book, Value, fill_in, resolve

if TYPE_CHECKING:  # property groups are also read where there is no Flink
    from pyflink.table import StatementSet, TableEnvironment

# What the SQL needs. The property group `table.config` overrides it.
OPTIONS = {
    "table.local-time-zone": "UTC",
    # For state that never expires by itself: known deliveries (views/actions.sql) and a subject's last alerts
    # (alerts.sql). Longer than the longest window and quiet_s together, so state grows with one hour's events at most.
    "table.exec.state.ttl": "1 h",
    # A shard without traffic must not hold back the watermark of the others.
    "table.exec.source.idle-timeout": "5 s",
    # All rules share one scan and the views, though each reads other columns of them.
    "table.optimizer.reuse-optimize-block-with-digest-enabled": "true",
    # A key has few rows a second: to aggregate them before they are sent costs more than it saves.
    "table.optimizer.agg-phase-strategy": "ONE_PHASE",
    "pipeline.object-reuse": "true",
    # The rules have some twenty kinds of state, and RocksDB sets an eighth of this aside for each. With its default of
    # 64 MB that is all of its memory, and half of all CPU goes into flushing and compacting (docs/adr/0008).
    "state.backend.rocksdb.writebuffer.size": "4 mb",
    # Most keys that the rules look up are new: without filters RocksDB searches every file for them.
    "state.backend.rocksdb.use-bloom-filter": "true",
}

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


def create_tables(env: "TableEnvironment", book: Book, groups: Groups) -> None:
    """Set the options of the runtime, and create source and sinks."""
    known = values(book, groups)
    for option, value in (OPTIONS | dict(groups.get("table.config", {}))).items():
        env.get_config().set(option, value)
    for name in of_kind(book, "table"):
        env.execute_sql(fill_in(name, book[name]["sql"], known[name]))
    for table in env.list_tables():
        if options := groups.get(f"table.{table}"):
            env.execute_sql(alter_table(table, options))


def rules(env: "TableEnvironment", book: Book, groups: Groups, only: Collection[str] = ()) -> "StatementSet":
    """Return all rules and the tally of unjudged events as one job that is not started yet; or `only` some rules.

    Raise ValueError if a property group sets an unknown or invalid value.
    """
    known = values(book, groups)
    for name in [*of_kind(book, "view"), *of_kind(book, "rule")]:
        env.execute_sql(fill_in(name, book[name]["sql"], known[name]))
    statements = env.create_statement_set()
    # One statement for each rule: if one statement unites them, Flink computes the shared views once for each rule.
    for rule in of_kind(book, "rule"):
        if not only or rule in only:
            own = {**known["alerts"], "findings": f"select * from {rule}"}
            statements.add_insert_sql(fill_in("alerts", book["alerts"]["sql"], own))
    if not only:
        statements.add_insert_sql(fill_in("unjudged", book["unjudged"]["sql"], known["unjudged"]))
    return statements


def findings(book: Book) -> str:
    """Return the query for the findings of all rules together, which alerts.sql can read as well."""
    return " union all ".join(f"select * from {rule}" for rule in of_kind(book, "rule"))


def of_kind(book: Book, kind: str) -> list[str]:
    """Return the names of the statements of a kind: table, view, rule or insert."""
    return [name for name, statement in book.items() if statement["kind"] == kind]


def alter_table(table: str, options: Mapping[str, str]) -> str:
    """Return the statement that sets connector options on a table."""
    pairs = ", ".join(f"{literal(key)} = {literal(value)}" for key, value in sorted(options.items()))
    return f"alter table {table} set ({pairs})"


def literal(text: str) -> str:
    """Return the text as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"
