"""The generator of the note: from files of sql/detection, as they are or shall be, to cells."""

import json
import re
from pathlib import Path

import pytest

from detector import main as detector
from notebook.__main__ import main
from notebook.statement import LEFT_OUT, SQL_FOLDER, Statement, StatementError, all_statements
from notebook.studio import CHART, NAME, NOTE, OPTIONS, SETTINGS, UNKNOWN_OPTIONS, cell, render_note

ROOT = Path(__file__).parents[2]

FILES = {
    "source.sql": "-- title: Source\n-- Times are UTC.\ncreate table raw_events (\n  n int\n) with (\n"
    "  'connector' = 'kinesis',\n  'scan.shard-assigner' = 'uniform'\n)\n",
    "sink.sql": "-- title: Sink\ncreate table alerts (n int) with ('connector' = 'kinesis')\n",
    "views/a_second.sql": "-- title: Second\ncreate temporary view a_second as select n from b_first\n",
    "views/b_first.sql": "-- title: First\n-- window_s: 600\n"
    "create temporary view b_first as select n from raw_events where n > ${window_s_before}\n",
    "rules/burst.sql": "-- title: Burst\n-- question: More than ${threshold}?\n-- grain: one row per burst\n"
    "-- owasp: OAT-011\n-- window: b_first\n-- threshold: 7\n-- Why; and how.\n"
    "create temporary view burst as select n from a_second where n > ${threshold} -- not ${window_s}; more\n",
    "alerts.sql": "-- title: Alerts\ninsert into alerts select n from (${findings}) where 'sink; ''a_second' <> ''\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Returns a folder with FILES."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def cells(text: str) -> list[tuple[str, str]]:
    """Returns (first line, rest) of each cell of a note."""
    return [tuple(paragraph["text"].split("\n", 1)) for paragraph in json.loads(text)["paragraphs"]]


def test_committed_note_is_up_to_date():
    assert main(["--check"]) == 0


def test_same_files_give_the_same_bytes(folder):
    assert render_note(folder) == render_note(folder)


def test_ids_differ_and_survive_a_change_of_text(folder):
    def ids() -> list[str]:
        return [paragraph["id"] for paragraph in json.loads(render_note(folder))["paragraphs"]]

    before = ids()
    (folder / "rules" / "burst.sql").write_text(FILES["rules/burst.sql"].replace("OAT-011", "OAT-012"))
    assert ids() == before
    assert len(set(before)) == len(before)


def test_each_statement_after_what_it_reads(folder):
    assert [statement.file for statement in all_statements(folder)] == [
        *("source.sql", "sink.sql", "views/b_first.sql", "views/a_second.sql", "rules/burst.sql", "alerts.sql")
    ]


def test_header_becomes_text(folder):
    burst = Statement.read(folder, folder / "rules" / "burst.sql")
    assert burst.markdown == (
        "### Burst\n\n**More than 7?**\n\n- grain: one row per burst\n- owasp: OAT-011\n- window: b_first\n"
        "- threshold: 7\n\nWhy; and how.\n\n`rules/burst.sql`"
    )


def test_cells_can_be_run_again(folder):
    by_file = {statement.file: cell(statement) for statement in all_statements(folder)}
    assert by_file["rules/burst.sql"] == (
        "drop temporary view if exists burst;\n"
        "create temporary view burst as select n from a_second where n > 7 -- not 600; more;"
    )
    assert by_file["sink.sql"].startswith("drop table if exists alerts;\ncreate table alerts")
    assert by_file["alerts.sql"].startswith("set table.exec.source.idle-timeout=5s;\n")
    assert by_file["alerts.sql"].endswith(
        "\ninsert into alerts select n from (select * from burst) where 'sink; ''a_second' <> '';"
    )
    assert by_file["views/b_first.sql"].endswith("where n > 599;")


def test_tables_get_the_studios_options(folder):
    source = cell(Statement.read(folder, folder / "source.sql"))
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
    """The cells are what src/detector/main.py runs with no value changed, word for word."""
    known = detector.values(SQL_FOLDER, {})
    findings = {"findings": detector.findings(SQL_FOLDER)}
    by_file = {statement.file: statement.sql for statement in all_statements()}
    files = {file.relative_to(SQL_FOLDER).as_posix() for file in SQL_FOLDER.rglob("*.sql")}
    assert set(by_file) == files - set(LEFT_OUT) and files > set(LEFT_OUT)
    for file, sql in by_file.items():
        assert detector.fill_in(SQL_FOLDER / file, known[Path(file).stem] | findings).rstrip().endswith(sql)
    assert all(f"select * from {file.stem}" in by_file["alerts.sql"] for file in SQL_FOLDER.glob("rules/*.sql"))


def test_chart_of_alerts_by_rule_comes_last():
    chart = json.loads(render_note())["paragraphs"][-1]
    graph = chart["config"]["results"]["0"]["graph"]
    assert graph["mode"] == "multiBarChart"
    shown = [graph[part][0] for part in ("keys", "groups", "values")]
    statement = Statement.read(CHART.parent, CHART)
    columns = re.match(r"select\n(.*?)\nfrom", statement.sql, re.DOTALL)[1].split(",\n")
    assert [(column["name"], column["index"]) for column in shown] == [
        (column.split()[-1], float(index)) for index, column in enumerate(columns)
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("views/c.sql", "create temporary view c as select 1", "no line `-- title: …`"),
        ("views/c.sql", "-- title: C\n", "exactly one statement"),
        ("views/c.sql", "-- title: C\nselect 1; select 2", "exactly one statement"),
        ("views/c.sql", "-- title: C\n-- limit: 3\nselect ${lmit}", "views/c.sql: .* needs the value 'lmit'"),
        ("views/c.sql", "-- title: C\nselect '$'", "Invalid placeholder"),
        ("other/c.sql", "-- title: C\nselect 1", "no place in the note"),
        ("views/c.sql", "-- title: C\ncreate table c (n int) with ('connector' = 'kinesis')", "table c has no stream"),
        ("sink.sql", "-- title: C\ncreate table alerts (n int) with ('a' = 'b') -- x", "must end with its options"),
    ],
)
def test_bad_file_is_an_error(folder, capsys, name, text, message):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    with pytest.raises(StatementError, match=message):
        render_note(folder)
    assert main(["--sql", str(folder), "--check"]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_stale_note_is_an_error(folder, tmp_path, capsys):
    out = tmp_path / "made" / "note.zpln"
    arguments = ["--sql", str(folder), "--out", str(out)]
    assert main([*arguments, "--check"]) == 1  # not there
    assert main(arguments) == 0
    assert main([*arguments, "--check"]) == 0
    (folder / "sink.sql").write_text(FILES["sink.sql"].replace("n int", "m int"))
    capsys.readouterr()
    assert main([*arguments, "--check"]) == 1
    assert "hint: call `make notebook`" in capsys.readouterr().err


def test_names_are_those_terraform_knows():
    """terraform/modules/studio puts the deployed names in the place of these."""
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
    assert set(detector.OPTIONS) == set(SETTINGS) | only_faster
