"""What a Studio notebook understands: the SQL of Flink 1.15, its Kinesis connector, the cells of Zeppelin 0.10."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from detector import rulebook
from detector.rulebook import RulebookError
from notebook.statement import SQL_FOLDER, Statement, all_statements

NAME = "sql-flink-ecomm-notebook-1"
NOTE = Path(__file__).parents[2] / "notebooks" / f"{NAME}.zpln"
CHART = "alerts_per_minute.sql"

REGION = "us-east-1"
# The tutorial's names. terraform/modules/studio replaces them with the deployed ones.
OPTIONS = {
    "raw_events": {
        "stream": "ecommerce-raw-user-activity-stream-1",
        "aws.region": REGION,
        "scan.stream.initpos": "LATEST",
        # By default the notebook would use all five reads a second that a shard answers, and leave none to others.
        "scan.shard.getrecords.intervalmillis": "500",
    },
    "alerts": {"stream": "ecommerce-raw-user-activity-stream-2", "aws.region": REGION},
    "alerts_of_stream_2": {
        "stream": "ecommerce-raw-user-activity-stream-2",
        "aws.region": REGION,
        "scan.stream.initpos": "TRIM_HORIZON",
        "scan.shard.getrecords.intervalmillis": "1000",
    },
}

# Zeppelin and Flink can both read them without spaces and quotes. Zeppelin forgets them at the end of a cell.
SETTINGS = {
    # A shard without traffic must not hold back the watermark of the others.
    "table.exec.source.idle-timeout": "5s",
    # Deliveries that are known, for longer than the longest window.
    "table.exec.state.ttl": "1h",
    "table.local-time-zone": "UTC",
}

# Two jobs, the rules' and the chart's, share the notebook's few slots (terraform/modules/studio).
SQL_CELL = "%flink.ssql(type=update, parallelism=1)"

INTRODUCTION = f"""## {NAME}

The tutorial's rule and ours, to try by hand. `make generate` makes this note from `sql/studio`: change the files there,
not this note.

The detector counts in Java, which a notebook cannot run. The cells say what it counts in SQL that this notebook's Flink
1.15 understands. docs/detection.md says where the two differ.

Run the cells from top to bottom. Each cell holds one statement, and first drops what an earlier run created. Numbers in
the rules are their defaults.

- The cell that inserts writes to stream 2. The alert function sends a notice for each of its alerts.
- A cell that inserts or selects runs until you cancel it; the notebook costs money until you stop it.
- Nothing is deployed from here: `make deploy` deploys the detector."""


def render_note(folder: Path = SQL_FOLDER, rules: Path = rulebook.SQL_FOLDER) -> str:
    """Return the note as the text of a .zpln file. The same files give the same bytes. Raise RulebookError."""
    paragraphs = [_paragraph("introduction", "%md", INTRODUCTION)]
    chart = {"0": {"graph": bar_chart("alert_minute", "rule", "alerts"), "helium": {}}}
    for statement in all_statements(folder, rulebook.read(rules)):
        results = chart if statement.file == CHART else None
        paragraphs.append(_paragraph(f"{statement.file} text", "%md", statement.markdown))
        paragraphs.append(_paragraph(statement.file, SQL_CELL, cell(statement), results))
    note = {
        "paragraphs": paragraphs,
        "name": NAME,
        "id": _digest(NAME)[:9].upper(),
        "defaultInterpreterGroup": "flink",
        "version": "0.10.0",
        "noteParams": {},
        "noteForms": {},
        "angularObjects": {},
        "config": {"isZeppelinNotebookCronEnable": False},
        "info": {},
    }
    return json.dumps(note, indent=2, ensure_ascii=False) + "\n"


def cell(statement: Statement) -> str:
    """Return the text of the statement's cell: the statement, after what it needs so that it can run again."""
    if statement.created is None:
        before = [f"set {option}={value}" for option, value in SETTINGS.items()]
        return _join([*before, statement.sql])
    kind, name = statement.created
    temporary = "temporary " if re.match(r"create\s+temporary\b", statement.code, re.IGNORECASE) else ""
    sql = studio_options(name, statement.sql) if kind == "table" else statement.sql
    return _join([f"drop {temporary}{kind} if exists {name}", sql])


def studio_options(table: str, sql: str) -> str:
    """Return the statement that creates the table, with the options of the Studio's connector."""
    if table not in OPTIONS:
        raise RulebookError(f"table {table} has no stream; known: {', '.join(OPTIONS)}. Add it to notebook/studio.py.")
    if not sql.endswith(")"):
        raise RulebookError(f"table {table}: the statement must end with its options, `with (…)`")
    options = [f"  '{option}' = '{value}'" for option, value in OPTIONS[table].items()]
    return ",\n".join([sql[:-1].rstrip(), *options]) + "\n)"


def bar_chart(key: str, group: str, value: str) -> dict:
    """Return Zeppelin's settings for a stacked bar chart over columns 0, 1 and 2 of a result."""
    return {
        "mode": "multiBarChart",
        "height": 300.0,
        "optionOpen": False,
        "setting": {"multiBarChart": {"stacked": True, "rotate": {"degree": "-45"}, "xLabelStatus": "default"}},
        "commonSetting": {},
        "keys": [{"name": key, "index": 0.0, "aggr": "sum"}],
        "groups": [{"name": group, "index": 1.0, "aggr": "sum"}],
        "values": [{"name": value, "index": 2.0, "aggr": "sum"}],
    }


def _join(statements: Sequence[str]) -> str:
    return "".join(f"{statement};\n" for statement in statements).rstrip()


def _paragraph(key: str, interpreter: str, text: str, results: dict | None = None) -> dict:
    language = "markdown" if interpreter == "%md" else "sql"
    identity = f"paragraph_{int(_digest(f'{NAME}/{key}')[:12], 16)}"
    return {
        "text": f"{interpreter}\n{text}",
        "user": "anonymous",
        "progress": 0,
        "config": {
            "colWidth": 12.0,
            "fontSize": 9.0,
            "enabled": True,
            "results": results or {},
            "editorSetting": {
                "language": language,
                "editOnDblClick": language == "markdown",
                "completionKey": "TAB",
                "completionSupport": language != "markdown",
            },
            "editorMode": f"ace/mode/{language}",
        },
        "settings": {"params": {}, "forms": {}},
        "apps": [],
        "runtimeInfos": {},
        "progressUpdateIntervalMs": 500,
        "jobName": identity,
        "id": identity,
        "status": "READY",
    }


def _digest(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
