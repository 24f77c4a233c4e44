"""The Studio note: from sql/studio to cells."""

import json
import re
import shutil
from pathlib import Path

import pytest

from detector import rulebook
from detector.described import RulebookError
from notebook.statement import ORDER, SQL_FOLDER, all_statements, values
from notebook.studio import CHART, NAME, NOTE, OPTIONS, cell, render_note

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of sql/studio."""
    return Path(shutil.copytree(SQL_FOLDER, tmp_path / "studio"))


def cells(text: str) -> list[tuple[str, str]]:
    """Return (first line, rest) of each cell of a note."""
    return [tuple(paragraph["text"].split("\n", 1)) for paragraph in json.loads(text)["paragraphs"]]


def cell_of(name: str, folder: Path = SQL_FOLDER) -> str:
    return next(cell(statement) for statement in all_statements(folder) if statement.file == f"{name}.sql")


def test_same_files_give_the_same_bytes(folder: Path) -> None:
    assert render_note(folder) == render_note(folder) == render_note()


def test_ids_differ_and_survive_a_change_of_text(folder: Path) -> None:
    def ids() -> list[str]:
        return [paragraph["id"] for paragraph in json.loads(render_note(folder))["paragraphs"]]

    before = ids()
    (folder / "burst.yaml").write_text((folder / "burst.yaml").read_text().replace("Burst", "Rush"))
    assert ids() == before
    assert len(set(before)) == len(before)


def test_every_file_is_a_cell_after_what_it_reads() -> None:
    assert sorted(ORDER) == sorted(file.stem for file in SQL_FOLDER.glob("*.sql"))
    known: set[str] = set()
    created = {one.created[1] for one in all_statements() if one.created}
    for one in all_statements():
        own = {one.created[1]} if one.created else set()
        assert set(re.findall(r"\w+", one.code)) & created - own <= known, one.file
        known |= own


def test_description_becomes_text() -> None:
    burst = next(one for one in all_statements() if one.file == "burst.sql")
    assert burst.markdown.startswith("### Burst, as a window\n\n**Who does more than 5 things within 10 seconds")
    assert burst.markdown.endswith("`sql/studio/burst.sql`")
    assert "The deployed rule is `actions > 5`" in burst.markdown


def test_numbers_are_the_rules_defaults() -> None:
    known = rulebook.read().values()
    assert values(rulebook.read()) == {
        **known["burst"],
        "window_before": "9.999",
        **{rule: known[rule]["threshold"] for rule in ("scraper", "session_rotator", "cart_hoarder")},
    }
    assert "interval '9.999' second" in cell_of("burst") and "action_count > 5;" in cell_of("burst")
    assert "${" not in render_note()


def test_cells_can_be_run_again() -> None:
    assert cell_of("actions").startswith("drop temporary view if exists actions;\ncreate temporary view actions")
    assert cell_of("alerts").startswith("drop table if exists alerts;\ncreate table alerts")
    assert cell_of("tutorial").startswith("set table.exec.source.idle-timeout=5s;\n")
    assert cell_of("burst").endswith(";")


def test_tables_get_the_studios_options() -> None:
    assert cell_of("raw_events").endswith(
        "  'stream' = 'ecommerce-raw-user-activity-stream-1',\n"
        "  'aws.region' = 'us-east-1',\n  'scan.stream.initpos' = 'LATEST',\n"
        "  'scan.shard.getrecords.intervalmillis' = '500'\n);"
    )


def test_kinds_of_cells() -> None:
    kinds = [first for first, _ in cells(render_note())]
    assert kinds == ["%md", *["%md", "%flink.ssql(type=update, parallelism=1)"] * len(ORDER)]


def test_chart_of_alerts_by_rule_comes_last() -> None:
    chart = json.loads(render_note())["paragraphs"][-1]
    graph = chart["config"]["results"]["0"]["graph"]
    assert graph["mode"] == "multiBarChart"
    shown = [graph[part][0] for part in ("keys", "groups", "values")]
    statement = all_statements()[-1]
    assert statement.file == CHART
    columns = re.match(r"select\n(.*?)\nfrom", statement.sql, re.DOTALL)[1].split(",\n")
    assert [(column["name"], column["index"]) for column in shown] == [
        (column.split()[-1], float(index)) for index, column in enumerate(columns)
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("burst.sql", "", "exactly one statement"),
        ("burst.sql", "select 1; select 2", "exactly one statement"),
        ("burst.yaml", "titel: x", "burst.yaml: title: Field required"),
        ("actions.sql", "create table c (n int) with ('connector' = 'kinesis')", "table c has no stream"),
        ("alerts.sql", "create table alerts (n int) with ('a' = 'b') -- x", "must end with its options"),
    ],
)
def test_bad_file_is_an_error(folder: Path, name: str, text: str, message: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(RulebookError, match=message):
        render_note(folder)


def test_names_are_those_terraform_knows() -> None:
    """terraform/modules/studio replaces these with the deployed names."""
    variables = (ROOT / "terraform" / "variables.tf").read_text()
    module = (ROOT / "terraform" / "modules" / "studio" / "main.tf").read_text()
    assert NOTE.name in (ROOT / "terraform" / "main.tf").read_text() and NOTE.stem == NAME
    for table in OPTIONS.values():
        assert f'"{table["stream"]}"' in variables
        assert f"'{table['stream']}'" in module and f"'{table['aws.region']}'" in module
