"""What a Studio notebook understands: the SQL of Flink 1.15, its Kinesis connector, the cells of Zeppelin 0.10."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from detector import main as detector
from notebook.statement import SQL_FOLDER, Statement, StatementError, all_statements

NAME = "sql-flink-ecomm-notebook-1"
NOTE = Path(__file__).parents[2] / "notebooks" / f"{NAME}.zpln"
CHART_TABLE = Path(__file__).with_name("alerts_of_stream_2.sql")
CHART = Path(__file__).with_name("alerts_per_minute.sql")

REGION = "us-east-1"
# The seed's names; terraform/modules/studio puts the deployed ones in their place.
OPTIONS = {
    "raw_events": {
        "stream": "ecommerce-raw-user-activity-stream-1",
        "aws.region": REGION,
        "scan.stream.initpos": "LATEST",
        # By default the notebook would take all five reads a second that a shard answers, the others' too.
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

# Options of the detector's connector (4.3) that the Studio's (1.15) does not know: it would pass over them in silence.
UNKNOWN_OPTIONS = ("scan.shard-assigner",)

# As at the detector, whose further options only make it faster. Without spaces and quotes both Zeppelin and Flink can
# read them. Zeppelin forgets them at the end of a cell.
SETTINGS = {
    option: detector.OPTIONS[option].replace(" ", "")
    for option in ("table.exec.source.idle-timeout", "table.exec.state.ttl", "table.local-time-zone")
}

# Two jobs, the rules' and the chart's, share the notebook's few slots (terraform/modules/studio).
SQL_CELL = "%flink.ssql(type=update, parallelism=1)"

INTRODUCTION = f"""## {NAME}

The detector's own rules, to try by hand: made from `sql/detection` by `make notebook`. Change the files there, not this
note.

Run the cells from top to bottom. Each holds one statement; what an earlier run left behind is dropped first. Numbers in
the rules are their defaults.

- The cell that inserts writes to stream 2, beside the deployed detector. An alert found by both has one `alert_id`, and
  the alert function tells of it once.
- A cell that inserts or selects runs until you cancel it; the notebook costs money until you stop it.
- Nothing is deployed from here: `make deploy` deploys the same files, with Flink 1.20."""


def render_note(folder: Path = SQL_FOLDER) -> str:
    """Returns the note as the text of a .zpln file. Same files, same bytes."""
    paragraphs = [_paragraph("introduction", "%md", INTRODUCTION)]
    for statement in [*all_statements(folder), Statement.read(CHART_TABLE.parent, CHART_TABLE)]:
        paragraphs.append(_paragraph(f"{statement.file} text", "%md", statement.markdown))
        paragraphs.append(_paragraph(statement.file, SQL_CELL, cell(statement)))
    chart = Statement.read(CHART.parent, CHART)
    paragraphs.append(_paragraph(f"{chart.file} text", "%md", chart.markdown))
    paragraphs.append(
        _paragraph(
            *(chart.file, SQL_CELL, cell(chart)),
            results={"0": {"graph": bar_chart("alert_minute", "rule", "alerts"), "helium": {}}},
        )
    )
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
    """Returns the text of the statement's cell: itself, after what it needs in order to run once more."""
    if statement.created is None:
        before = [f"set {option}={value}" for option, value in SETTINGS.items()]
        return _join([*before, statement.sql])
    kind, name = statement.created
    temporary = "temporary " if re.match(r"create\s+temporary\b", statement.code, re.IGNORECASE) else ""
    sql = studio_options(name, statement.sql) if kind == "table" else statement.sql
    return _join([f"drop {temporary}{kind} if exists {name}", sql])


def studio_options(table: str, sql: str) -> str:
    """Returns the statement that creates the table with the options of the Studio's connector."""
    if table not in OPTIONS:
        raise StatementError(
            f"table {table} has no stream; known are {', '.join(OPTIONS)}: add it to notebook/studio.py."
        )
    if not sql.endswith(")"):
        raise StatementError(f"table {table}: the statement must end with its options, `with (…)`.")
    for option in UNKNOWN_OPTIONS:
        sql = re.sub(rf",\s*'{re.escape(option)}'\s*=\s*'[^']*'", "", sql)
    options = [f"  '{option}' = '{value}'" for option, value in OPTIONS[table].items()]
    return ",\n".join([sql[:-1].rstrip(), *options]) + "\n)"


def bar_chart(key: str, group: str, value: str) -> dict:
    """Returns Zeppelin's settings of a stacked bar chart over columns 0, 1 and 2 of a result."""
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
