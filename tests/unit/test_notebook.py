"""The Studio note: from the rulebook to cells."""

import json
import re
from pathlib import Path

import pytest

from detector import job, rulebook
from detector.described import RulebookError
from detector.rulebook import SQL_FOLDER
from detector.values import fill_in
from notebook.statement import LEFT_OUT, Statement, all_statements, own_statement
from notebook.studio import CHART, NAME, NOTE, OPTIONS, SETTINGS, UNKNOWN_OPTIONS, cell, render_note

ROOT = Path(__file__).parents[2]

RULE = """
title: Burst
question: More than ${threshold}?
grain: one row per burst
subject: user
owasp: OAT-011 Scraping
severity: low
window: b_first
parameters:
  threshold: {type: integer, default: 7, minimum: 0, unit: pages, meaning: More than this.}
false_positives: [A reader.]
response: [Ask.]
references: ["https://example.com/"]
attack: Reads.
"""
WINDOW = "{type: integer, default: 600, minimum: 1, maximum: 999, unit: seconds, meaning: Length.}"
FILES = {
    "source.sql": "-- Times are UTC.\ncreate table raw_events (\n  n int\n) with (\n"
    "  'connector' = 'kinesis',\n  'scan.shard-assigner' = 'uniform'\n)\n",
    "source.yaml": "title: Source",
    "sink.sql": "create table alerts (n int) with ('connector' = 'kinesis')\n",
    "sink.yaml": "title: Sink",
    "views/a_second.sql": "create temporary view a_second as select n from b_first\n",
    "views/a_second.yaml": "title: Second",
    "views/b_first.sql": "create temporary view b_first as select n from raw_events where n > ${window_s_before}\n",
    "views/b_first.yaml": f"title: First\nparameters:\n  window_s: {WINDOW}\n",
    "rules/burst/rule.sql": "-- Why; and how.\n"
    "create temporary view burst as select n from a_second where n > ${threshold} -- not ${window_s}; more\n",
    "rules/burst/rule.yaml": RULE,
    "rules/burst/cases.yaml": "cases: [{name: none, events: [{at: 0}], alerts: []}]",
    "alerts.sql": "insert into alerts select n from (${findings}) where 'sink; ''a_second' <> ''\n",
    "alerts.yaml": "title: Alerts",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with FILES."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def cells(text: str) -> list[tuple[str, str]]:
    """Return (first line, rest) of each cell of a note."""
    return [tuple(paragraph["text"].split("\n", 1)) for paragraph in json.loads(text)["paragraphs"]]


def by_file(folder: Path) -> dict[str, Statement]:
    """Return the statements of a folder by the file."""
    return {statement.file: statement for statement in all_statements(rulebook.read(folder))}


def test_same_files_give_the_same_bytes(folder):
    assert render_note(folder) == render_note(folder)


def test_ids_differ_and_survive_a_change_of_text(folder):
    def ids() -> list[str]:
        return [paragraph["id"] for paragraph in json.loads(render_note(folder))["paragraphs"]]

    before = ids()
    (folder / "rules/burst/rule.yaml").write_text(RULE.replace("OAT-011", "OAT-012"))
    assert ids() == before
    assert len(set(before)) == len(before)


def test_each_statement_after_what_it_reads(folder):
    assert list(by_file(folder)) == [
        *("source.sql", "sink.sql", "views/b_first.sql", "views/a_second.sql", "rules/burst/rule.sql", "alerts.sql")
    ]


def test_description_becomes_text(folder):
    assert by_file(folder)["rules/burst/rule.sql"].markdown == (
        "### Burst\n\n**More than 7?**\n\n- grain: one row per burst\n- subject: user\n- severity: low\n"
        "- OWASP: OAT-011 Scraping\n- window: b_first\n- threshold: 7 (pages). More than this.\n\nWhy; and how.\n\n"
        "`rules/burst/rule.sql`"
    )
    assert by_file(folder)["source.sql"].markdown == "### Source\n\nTimes are UTC.\n\n`source.sql`"


def test_cells_can_be_run_again(folder):
    cell_of = {file: cell(statement) for file, statement in by_file(folder).items()}
    assert cell_of["rules/burst/rule.sql"] == (
        "drop temporary view if exists burst;\n"
        "create temporary view burst as select n from a_second where n > 7 -- not 600; more;"
    )
    assert cell_of["sink.sql"].startswith("drop table if exists alerts;\ncreate table alerts")
    assert cell_of["alerts.sql"].startswith("set table.exec.source.idle-timeout=5s;\n")
    assert cell_of["alerts.sql"].endswith(
        "\ninsert into alerts select n from (select * from burst) where 'sink; ''a_second' <> '';"
    )
    assert cell_of["views/b_first.sql"].endswith("where n > 599;")


def test_tables_get_the_studios_options(folder):
    source = cell(by_file(folder)["source.sql"])
    assert source.endswith(
        ") with (\n  'connector' = 'kinesis',\n  'stream' = 'ecommerce-raw-user-activity-stream-1',\n"
        "  'aws.region' = 'us-east-1',\n  'scan.stream.initpos' = 'LATEST',\n"
        "  'scan.shard.getrecords.intervalmillis' = '500'\n);"
    )


def test_note_of_this_repository():
    text = render_note()
    kinds = [first for first, _ in cells(text)]
    assert kinds == ["%md", *["%md", "%flink.ssql(type=update, parallelism=1)"] * (len(kinds) // 2)]
    assert len(kinds) == 1 + 2 * (len(list(SQL_FOLDER.rglob("*.sql"))) - len(LEFT_OUT) + 2)  # the chart and its table
    assert "${" not in text
    assert not any(option in text for option in UNKNOWN_OPTIONS)


def test_note_has_the_detectors_statements():
    """The cells are what the job executes with the default values, word for word."""
    book = rulebook.read()
    known, rest = book.values(), {"findings": job.findings(book.plain())}
    statements = by_file(SQL_FOLDER)
    assert set(statements) == {one.file for one in book.statements.values()} - set(LEFT_OUT)
    assert set(LEFT_OUT) < {one.file for one in book.statements.values()}
    for name, one in book.statements.items():
        if one.file not in LEFT_OUT:
            assert fill_in(name, one.sql, {**known[name], **rest}).rstrip().endswith(statements[one.file].sql)
    assert all(f"select * from {rule}" in statements["alerts.sql"].sql for rule in book.rules)


def test_chart_of_alerts_by_rule_comes_last():
    chart = json.loads(render_note())["paragraphs"][-1]
    graph = chart["config"]["results"]["0"]["graph"]
    assert graph["mode"] == "multiBarChart"
    shown = [graph[part][0] for part in ("keys", "groups", "values")]
    statement = own_statement(CHART)
    columns = re.match(r"select\n(.*?)\nfrom", statement.sql, re.DOTALL)[1].split(",\n")
    assert [(column["name"], column["index"]) for column in shown] == [
        (column.split()[-1], float(index)) for index, column in enumerate(columns)
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("views/c.sql", "create temporary view c as select 1", "views/c.yaml: missing"),
        ("views/a_second.sql", "", "exactly one statement"),
        ("views/a_second.sql", "select 1; select 2", "exactly one statement"),
        ("views/b_first.sql", "select ${windo_s}", r"views/b_first.sql: SQL: no parameter \$\{windo_s\}"),
        ("views/a_second.sql", "select '$'", "a placeholder is"),
        ("other/c.sql", "select 1", "no place for SQL"),
        ("views/a_second.sql", "create table c (n int) with ('connector' = 'kinesis')", "table c has no stream"),
        ("sink.sql", "create table alerts (n int) with ('a' = 'b') -- x", "must end with its options"),
    ],
)
def test_bad_file_is_an_error(folder, name, text, message):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    with pytest.raises(RulebookError, match=message):
        render_note(folder)


def test_names_are_those_terraform_knows():
    """terraform/modules/studio replaces these with the deployed names."""
    variables = (ROOT / "terraform" / "variables.tf").read_text()
    module = (ROOT / "terraform" / "modules" / "studio" / "main.tf").read_text()
    assert NOTE.name in (ROOT / "terraform" / "main.tf").read_text() and NOTE.stem == NAME
    for table in OPTIONS.values():
        assert f'"{table["stream"]}"' in variables
        assert f"'{table['stream']}'" in module and f"'{table['aws.region']}'" in module


def test_settings_are_the_detectors():
    """All that changes results, as Zeppelin can read it."""
    assert SETTINGS == {
        "table.exec.source.idle-timeout": "5s",
        "table.exec.state.ttl": "1h",
        "table.local-time-zone": "UTC",
    }
    only_faster = {
        "table.optimizer.reuse-optimize-block-with-digest-enabled",
        "table.optimizer.agg-phase-strategy",
        "pipeline.object-reuse",
        "state.backend.rocksdb.writebuffer.size",
        "state.backend.rocksdb.use-bloom-filter",
    }
    assert set(job.OPTIONS) == set(SETTINGS) | only_faster
