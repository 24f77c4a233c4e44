"""The detector, Shopstream's Managed Flink application: every rule of sql/detection in one Flink SQL job.

Managed Flink runs `main.py` from the application's zip, with the SQL beside it. What is set for the application is read
from /etc/flink/application_properties.json:

- group `table.<name>`: connector options of a table of source.sql, sink.sql or sink_unjudged.sql
- group `table.config`: options of Flink's table runtime
- group `values.<name>`: values of <name>.sql, a rule for instance, that shall differ from those in its header

https://docs.aws.amazon.com/managed-flink/latest/java/how-python-creating.html
"""

import json
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the headers are read where there is no Flink
    from pyflink.table import StatementSet, TableEnvironment

PROPERTIES = "/etc/flink/application_properties.json"
# In the zip, sql/ lies beside this file; in the repository, two folders above it.
SQL = next(
    folder / "sql" / "detection"
    for folder in (Path(__file__).resolve().parent, Path(__file__).resolve().parents[2])
    if (folder / "sql" / "detection").is_dir()
)
# What the SQL is written for; the group `table.config` goes before.
OPTIONS = {
    "table.local-time-zone": "UTC",
    # Of known deliveries (views/actions.sql) and of a subject's last alerts (alerts.sql), which never expire by
    # themselves: longer than the longest window and quiet_s together. So state grows with an hour's events at most.
    "table.exec.state.ttl": "1 h",
    # A shard without traffic must not hold back the watermark of the others.
    "table.exec.source.idle-timeout": "5 s",
    # All rules share one scan and the views, though each reads other columns of them.
    "table.optimizer.reuse-optimize-block-with-digest-enabled": "true",
    # A second has few rows of a key: to aggregate them first where they arise costs more than it saves.
    "table.optimizer.agg-phase-strategy": "ONE_PHASE",
    "pipeline.object-reuse": "true",
    # The rules have some twenty kinds of state, and RocksDB sets an eighth of this aside for each. With its own 64 MB
    # that is all of its memory, and half of all CPU goes into flushing and compacting (docs/adr/0008).
    "state.backend.rocksdb.writebuffer.size": "4 mb",
    # Most keys that the rules ask for are new: without filters RocksDB looks for them in every file.
    "state.backend.rocksdb.use-bloom-filter": "true",
}
HEADER_LINE = re.compile(r"-- (\w+): (.*)")
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
INTERVAL = re.compile(r"interval '\$\{(\w+?)(_before)?\}' second\((\d)\)")
# No pause between attacks, no time ahead of the clock. Any other time of 0 s is a window without events.
MAY_BE_0 = ("quiet_s", "max_ahead_s")
# Outside an interval: three decades.
MOST_SECONDS = 999_999_999

Groups = Mapping[str, Mapping[str, str]]


def main() -> None:
    """Starts the job with the application's properties."""
    from pyflink.table import EnvironmentSettings, TableEnvironment

    groups = read_property_groups(Path(os.environ.get("APPLICATION_PROPERTIES", PROPERTIES)))
    env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    create_tables(env, SQL, groups)
    return rules(env, SQL, groups).execute()


def read_property_groups(file: Path) -> Groups:
    """Returns {group id: {key: value}} of an application_properties.json."""
    return {group["PropertyGroupId"]: group["PropertyMap"] for group in json.loads(file.read_text())}


def create_tables(env: "TableEnvironment", sql: Path, groups: Groups) -> None:
    """Sets the options of the runtime, and creates source and sinks from the files in `sql`."""
    for option, value in (OPTIONS | dict(groups.get("table.config", {}))).items():
        env.get_config().set(option, value)
    for name in ("source", "sink", "sink_unjudged"):
        env.execute_sql(fill_in(sql / f"{name}.sql", values(sql, groups)[name]))
    for table in env.list_tables():
        if options := groups.get(f"table.{table}"):
            env.execute_sql(alter_table(table, options))


def rules(env: "TableEnvironment", sql: Path, groups: Groups, only: Collection[str] = ()) -> "StatementSet":
    """Returns the rules in `sql` and the tally of what they leave out, or `only` some rules, as one job, not yet run.

    ValueError if a property sets what no file knows.
    """
    known = values(sql, groups)
    for folder in ("views", "rules"):
        for file in sorted((sql / folder).glob("*.sql")):
            env.execute_sql(fill_in(file, known[file.stem]))
    statements = env.create_statement_set()
    # A statement for each rule: of one that unites them, Flink computes the shared views anew for each rule.
    for rule in sorted(file.stem for file in (sql / "rules").glob("*.sql")):
        if not only or rule in only:
            finding = {"findings": f"select * from {rule}"}
            statements.add_insert_sql(fill_in(sql / "alerts.sql", known["alerts"] | finding))
    if not only:
        statements.add_insert_sql(fill_in(sql / "unjudged.sql", known["unjudged"]))
    return statements


def findings(sql: Path) -> str:
    """Returns the query of what all rules in `sql` find, which alerts.sql can read as well."""
    return " union all ".join(f"select * from {file.stem}" for file in sorted((sql / "rules").glob("*.sql")))


def header(file: Path) -> dict[str, str]:
    """Returns what a file says of itself in its first lines, `-- key: value`."""
    matches = (HEADER_LINE.fullmatch(line) for line in file.read_text().splitlines())
    return {match[1]: match[2] for match in matches if match}


def values(sql: Path, groups: Groups) -> dict[str, dict[str, str]]:
    """Returns each file's values by its name: the numbers in its header, or what a property group says instead.

    A rule whose header names a view as its `window` has that view's values too. ValueError names what is set but
    unknown, no number, or one that the SQL cannot take.
    """
    files = {file.stem: file for file in sorted(sql.rglob("*.sql"))}
    headers = {name: header(file) for name, file in files.items()}
    known = {
        name: {key: value for key, value in lines.items() if NUMBER.fullmatch(value)} for name, lines in headers.items()
    }
    for group, changes in groups.items():
        if not group.startswith("values."):
            continue
        own = known.get(name := group.removeprefix("values."))
        if not own:
            named = ", ".join(name for name, own in known.items() if own)
            raise ValueError(f"property group '{group}' is for none of {named}: mend Terraform's variable detection")
        for key, value in changes.items():
            if key not in own or not NUMBER.fullmatch(value):
                raise ValueError(
                    f"property group '{group}' sets {key} to '{value}', but {name}.sql takes numbers for "
                    f"{', '.join(own)}: mend Terraform's variable detection"
                )
            if (allowed := whole_numbers(files[name], key)) and not (value.isdigit() and int(value) in allowed):
                raise ValueError(
                    f"property group '{group}' sets {key} to '{value}', but {name}.sql takes whole numbers from "
                    f"{allowed[0]} to {allowed[-1]} there: mend Terraform's variable detection"
                )
        own.update(changes)
        if {"window_s", "slide_s"} <= own.keys() and int(own["window_s"]) % int(own["slide_s"]):
            raise ValueError(
                f"property group '{group}' makes window_s {own['window_s']} with slide_s {own['slide_s']}, but a "
                "window is a whole number of slides: mend Terraform's variable detection"
            )
        if "baseline_s" in own and int(own["baseline_s"]) < int(own["window_s"]) + int(own["least_baseline_s"]):
            raise ValueError(
                f"property group '{group}' makes baseline_s {own['baseline_s']}, but it holds the window_s "
                f"{own['window_s']} and least_baseline_s {own['least_baseline_s']} before them, or nothing would "
                "ever be found: mend Terraform's variable detection"
            )
    shared = {name: known.get(lines.get("window", ""), {}) for name, lines in headers.items()}
    return {name: shared[name] | own for name, own in known.items()}


def whole_numbers(file: Path, key: str) -> range | None:
    """Returns which numbers a value of the file may be, None if any: seconds and thresholds are whole.

    How long seconds may be their use tells: an interval holds as many digits as it declares.
    """
    if key == "threshold":
        return range(2**31 - 1)
    if not key.endswith("_s"):
        return None
    uses = [(before, digits) for name, before, digits in INTERVAL.findall(file.read_text()) if name == key]
    most = min((10 ** int(digits) - (not before) for before, digits in uses), default=MOST_SECONDS)
    return range(key not in MAY_BE_0, most + 1)


def fill_in(file: Path, known: Mapping[str, str]) -> str:
    """Returns the file's SQL with its values. `<name>_before` is one less: both ends of SQL's RANGE are closed."""
    before = {f"{name}_before": str(int(value) - 1) for name, value in known.items() if name.endswith("_s")}
    try:
        return Template(file.read_text()).substitute(known | before)
    except KeyError as missing:
        raise ValueError(f"{file.name} needs the value {missing}: give its default in a line of its header") from None


def alter_table(table: str, options: Mapping[str, str]) -> str:
    """Returns the statement that sets connector options on a table."""
    pairs = ", ".join(f"{literal(key)} = {literal(value)}" for key, value in sorted(options.items()))
    return f"alter table {table} set ({pairs})"


def literal(text: str) -> str:
    """Returns the text as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


if __name__ == "__main__":
    main()
