"""Submits the SQL files of sql/detection as one Flink job: the entry point of the Managed Flink application.

The application's property groups, which Terraform sets, fill in what differs between deployments:

- `table.config`: options of Flink's table runtime,
- `table.<table>`: connector options of that table (stream, region, position),
- `rule.<rule>`: the values of the `${placeholders}` in sql/detection/rules/<rule>.sql.
"""

import json
import os
from pathlib import Path
from string import Template

from pyflink.table import EnvironmentSettings, StatementSet, TableEnvironment, TableResult

SQL = Path(__file__).resolve().parent / "sql" / "detection"

# Managed Flink puts the property groups here:
# https://docs.aws.amazon.com/managed-flink/latest/java/how-properties.html
PROPERTIES = "/etc/flink/application_properties.json"


def main() -> TableResult:
    """Returns the running job's handle; all rules share one scan of the source."""
    groups = read_property_groups(Path(os.environ.get("APPLICATION_PROPERTIES", PROPERTIES)))
    env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    create_tables(env, SQL, groups)
    return rules(env, SQL, groups).execute()


def read_property_groups(file: Path) -> dict[str, dict[str, str]]:
    """Returns {group id: {key: value}} of an application_properties.json."""
    return {group["PropertyGroupId"]: group["PropertyMap"] for group in json.loads(file.read_text())}


def create_tables(env: TableEnvironment, sql: Path, groups: dict[str, dict[str, str]]) -> None:
    """Sets the options of the runtime, and creates source and sink from the files in `sql`."""
    for option, value in groups.get("table.config", {}).items():
        env.get_config().set(option, value)
    for file in (sql / "source.sql", sql / "sink.sql"):
        env.execute_sql(file.read_text())
    for table in env.list_tables():
        if options := groups.get(f"table.{table}"):
            env.execute_sql(alter_table(table, options))


def rules(env: TableEnvironment, sql: Path, groups: dict[str, dict[str, str]]) -> StatementSet:
    """Returns all rules in `sql` as one job, not yet running."""
    statements = env.create_statement_set()
    for file in sorted((sql / "rules").glob("*.sql")):
        statements.add_insert_sql(fill_in(file, groups.get(f"rule.{file.stem}", {})))
    return statements


def alter_table(table: str, options: dict[str, str]) -> str:
    """Returns the statement that sets connector options on a table."""
    pairs = ", ".join(f"{literal(key)} = {literal(value)}" for key, value in sorted(options.items()))
    return f"alter table {table} set ({pairs})"


def literal(text: str) -> str:
    """Returns the text as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def fill_in(rule: Path, values: dict[str, str]) -> str:
    """Returns the rule's SQL with its placeholders filled; ValueError names one that no property sets."""
    try:
        return Template(rule.read_text()).substitute(values)
    except KeyError as missing:
        raise ValueError(
            f"{rule.name} needs the value {missing}, but property group 'rule.{rule.stem}' sets "
            f"{sorted(values) or 'nothing'}: add it to the application's properties in terraform/modules/detection"
        ) from None


if __name__ == "__main__":
    main()
