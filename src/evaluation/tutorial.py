"""The rule of the tutorial, the blog post that this project comes from: for comparison with ours."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyflink.table import TableEnvironment

SQL_FOLDER = Path(__file__).resolve().parents[2] / "sql" / "studio"
OPTIONS = {"table.local-time-zone": "UTC", "table.exec.source.idle-timeout": "5 s"}


def create(env: "TableEnvironment", source: Mapping[str, str], sink: Mapping[str, str]) -> None:
    """Create the tables `raw_events` and `alerts`, with these options of their connectors."""
    for table, options in (("raw_events", source), ("alerts", sink)):
        env.execute_sql((SQL_FOLDER / f"{table}.sql").read_text())
        env.execute_sql(f"alter table {table} set ({pairs(options)})")


def statement() -> str:
    """Return the statement that inserts the rule's alerts."""
    return (SQL_FOLDER / "tutorial.sql").read_text()


def pairs(options: Mapping[str, str]) -> str:
    """Return options as SQL."""
    return ", ".join(f"{literal(key)} = {literal(value)}" for key, value in sorted(options.items()))


def literal(text: str) -> str:
    """Return the text as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"
