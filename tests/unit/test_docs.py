"""The documents say what is there: links lead somewhere, commands exist, examples are the code's own."""

import re
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from lambda_alert import notices
from lambda_alert.alert import parse
from lambda_alert.incidents import Arrival, opened

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("**/*.md"))]
README = (ROOT / "README.md").read_text()
MAX_CELL = 200  # characters of a table's cell

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def prose(document: Path) -> str:
    """Return a document without its code blocks."""
    return re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@every_document
def test_links_within_the_repository_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@every_document
def test_cells_of_tables_are_short(document: Path) -> None:
    rows = [line for line in document.read_text().splitlines() if line.startswith("|")]
    assert [cell for row in rows for cell in row.split("|") if len(cell.strip()) > MAX_CELL] == []


def test_every_document_is_in_the_readmes_table() -> None:
    for document in DOCUMENTS:
        name = str(document.relative_to(ROOT))
        if name != "README.md" and not name.startswith("docs/adr/"):
            assert f"]({name})" in README, name


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_make_has_every_target_that_the_blocks_call(document: str) -> None:
    text = (ROOT / document).read_text()
    lines = [line.partition("#")[0] for block in blocks(text, "sh") for line in block.splitlines()]
    targets = {word for line in lines if line.startswith("make ") for word in line.split()[1:] if "=" not in word}
    assert targets
    command = ["make", "--no-print-directory", "help"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    missing = [target for target in sorted(targets) if not re.search(rf"^ +{target}\b", said, re.MULTILINE)]
    assert missing == []


class TestExamplesOfTheReadme:
    def test_notice_is_that_of_the_alert(self) -> None:
        (record,) = blocks(README, "json")
        alert = parse(record.encode())
        (notice,) = [block for block in blocks(README, "text") if block.startswith("Subject: ")]
        head, _, text = notice.partition("\n\n")
        (detected_at,) = re.findall(r"detected \(UTC\)\n +(\S+)", text)
        arrival = Arrival(alert, datetime.fromisoformat(detected_at))
        incident = opened([arrival]).grown([arrival], retention_days=1)
        assert head == f"Subject: {notices.subject(incident)}"
        (table,) = re.findall(r"DynamoDB table (\S+):", text)
        assert text == notices.body(incident, table)

    def test_sql_is_the_rules_own(self) -> None:
        (sql,) = blocks(README, "sql")
        assert sql == (ROOT / "sql" / "detection" / "rules" / "burst" / "rule.sql").read_text()

    def test_yaml_is_a_part_of_the_rules_own(self) -> None:
        (part,) = blocks(README, "yaml")
        whole = yaml.safe_load((ROOT / "sql" / "detection" / "rules" / "burst" / "rule.yaml").read_text())
        assert is_part(yaml.safe_load(part), whole)


def is_part(part: Any, whole: Any) -> bool:
    """Return whether every value of `part` is in `whole`, at the same place."""
    if not isinstance(part, dict):
        return part == whole
    return isinstance(whole, dict) and all(name in whole and is_part(part[name], whole[name]) for name in part)
