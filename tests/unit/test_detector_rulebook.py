"""The rulebook as it is read: what it offers, and what its errors say about a wrong file."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from detector import job, rulebook
from detector.rulebook import SQL_FOLDER, RulebookError
from shopstream import packages

ROOT = Path(__file__).parents[2]

PART = """
title: Alerts
parameters:
  quiet_s: {type: integer, default: 60, minimum: 0, maximum: 999, unit: seconds, meaning: Pause.}
"""
RULE = """
title: Scraper 7
question: Who reads more than ${threshold} pages in ${window_s} s?
condition: at most ${ratio} of them bought
grain: one row per actor
subject: actor
owasp: OAT-011 Scraping
severity: low
parameters:
  threshold: {type: integer, default: 60, minimum: 0, unit: pages, meaning: More than this.}
  window_s: {type: integer, default: 30, minimum: 1, maximum: 999, unit: seconds, meaning: Length.}
  ratio: {type: number, default: 0.5, minimum: 0, unit: parts, meaning: Share.}
false_positives: [A reader.]
response: [Ask.]
references: ["https://example.com/"]
attack: Reads.
"""
FILES = {
    "alerts.yaml": PART,
    "source.yaml": "title: Source",
    "rules/scraper/rule.sql": (
        "create temporary view scraper as select ${threshold}, ${window_s}, ${ratio} from activity"
    ),
    "rules/scraper/rule.yaml": RULE,
    "rules/scraper/cases.yaml": "cases:\n  - {name: none, events: [{at: 0}], alerts: []}\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with FILES: a rule, and parts of the job."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_parts_come_before_rules(folder: Path) -> None:
    book = rulebook.read(folder)
    assert list(book.statements) == ["alerts", "source", "scraper"]
    assert list(book.rules) == ["scraper"]


def test_values_are_the_defaults_or_what_is_set(folder: Path) -> None:
    book = rulebook.read(folder)
    assert book.values()["scraper"] == {"threshold": 60, "window_s": 30, "ratio": 0.5}
    changed = book.values({"scraper": {"threshold": "8"}, "alerts": {"quiet_s": 30}})
    assert changed["scraper"] == {"threshold": 8, "window_s": 30, "ratio": 0.5}
    assert changed["alerts"] == {"quiet_s": 30}
    assert changed["source"] == {}


def test_a_question_has_the_default_values(folder: Path) -> None:
    assert rulebook.read(folder).question("scraper") == "Who reads more than 60 pages in 30 s?"
    assert rulebook.read(folder).condition("scraper") == "at most 0.5 of them bought"


@pytest.mark.parametrize("name", ["scrapper", "source", "", "scraper.x"])
def test_values_for_an_unknown_statement_are_an_error(folder: Path, name: str) -> None:
    with pytest.raises(ValueError) as raised:
        job.values(rulebook.read(folder).plain(), {f"values.{name}": {"threshold": "8"}})
    assert str(raised.value) == (
        f"'{name}' has no values that can be set; these have some: alerts, scraper. "
        "Fix the Terraform variable `detection`."
    )


@pytest.mark.parametrize("key", ["treshold", "title", "quiet_s"])
def test_an_unknown_parameter_is_an_error(folder: Path, key: str) -> None:
    with pytest.raises(ValueError) as raised:
        rulebook.read(folder).values({"scraper": {key: "8"}})
    assert str(raised.value) == f"scraper.{key} is unknown; scraper has threshold, window_s, ratio"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "rules/scraper/rule.yaml",
            "severity: low",
            "severity: lo",
            "rule.yaml: severity: .*'low', .*'critical'.*'lo'",
        ),
        ("rules/scraper/rule.yaml", "grain: one row per actor\n", "", "rule.yaml: grain: Field required"),
        ("rules/scraper/rule.yaml", "title:", "tittle: x\ntitle:", "rule.yaml: tittle: Extra inputs are not permitted"),
        ("rules/scraper/rule.yaml", "in ${window_s} s?", "in a while.", "rule.yaml: question: .*pattern"),
        ("rules/scraper/rule.yaml", "OAT-011", "OAT-022", "rule.yaml: owasp: .*pattern"),
        ("rules/scraper/rule.yaml", "${threshold}", "${treshold}", r"question: no parameter \$\{treshold\}; allowed: "),
        (
            "rules/scraper/rule.yaml",
            "subject: actor",
            "subject: user",
            "rule.yaml: subject: .*'actor', 'product', 'address' or 'site'",
        ),
        ("rules/scraper/rule.yaml", "window_s:", "length_s:", "a rule needs the parameter window_s"),
        ("rules/scraper/rule.yaml", "threshold:", "limit:", "a rule needs the parameter threshold"),
        ("rules/scraper/rule.yaml", "${ratio} of", "${share} of", r"condition: no parameter \$\{share\}; allowed: "),
        (
            "rules/scraper/rule.yaml",
            "default: 60",
            "default: -1",
            "default: scraper.threshold is '-1'; allowed: a whole",
        ),
        ("rules/scraper/rule.yaml", "type: integer", "type: int", "threshold.type: .*'integer' or 'number'"),
        ("rules/scraper/rule.yaml", "unit: pages, ", "", "parameters.threshold.unit: Field required"),
        (
            "rules/scraper/rule.yaml",
            "unit: pages",
            "unit: pages, at_least_sum_of: [x]",
            "threshold refers to x; allowed: ",
        ),
        ("rules/scraper/rule.yaml", "title: ", "title: [", "rule.yaml: not YAML: "),
        ("rules/scraper/rule.sql", "${threshold}", "${limit}", r"rule.sql: SQL: no parameter \$\{limit\}; allowed: "),
        ("rules/scraper/rule.sql", "${threshold}", "7", "parameters: threshold is nowhere in the SQL"),
        ("rules/scraper/rule.sql", "${threshold}", "$ ", r"a placeholder is \$\{name\}"),
        ("rules/scraper/rule.sql", "view scraper", "view s", "exactly one statement, create temporary view scraper"),
        (
            "rules/scraper/rule.sql",
            "from activity",
            "from activity; select 1",
            "exactly one statement, without a semicolon",
        ),
        ("rules/scraper/cases.yaml", "at: 0", "at: -1", r"cases.yaml: cases.0.events"),
        ("rules/scraper/cases.yaml", "at: 0", "at: 0, user: 7", "user is unknown; allowed: at, count, .* user_id"),
        ("rules/scraper/cases.yaml", "{at: 0}", "usual", "cases.none.events: no traffic 'usual'; known: none"),
        ("rules/scraper/rule.sql", "create", "-- create", "rule.sql: allowed is exactly one statement"),
        ("alerts.yaml", "default: 60", "default: many", "alerts.yaml: parameters.quiet_s.default"),
        ("alerts.yaml", "title", "window: x\ntitle", "alerts.yaml: window: Extra inputs are not permitted"),
    ],
)
def test_an_error_names_the_file_and_what_is_allowed(folder: Path, file: str, old: str, new: str, message: str) -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    with pytest.raises(RulebookError, match=message):
        rulebook.read(folder)


def test_only_another_rule_about_the_site_explains_findings(folder: Path) -> None:
    for name, subject in (("surge", "site"), ("flood", "product")):
        shutil.copytree(folder / "rules/scraper", folder / "rules" / name)
        sql = FILES["rules/scraper/rule.sql"].replace("view scraper", f"view {name}")
        (folder / f"rules/{name}/rule.sql").write_text(sql)
        (folder / f"rules/{name}/rule.yaml").write_text(RULE.replace("subject: actor", f"subject: {subject}"))

    def explained(rule: str, by: str) -> rulebook.Rulebook:
        text = RULE.replace("subject: actor", f"subject: {'site' if rule == 'surge' else 'product'}")
        (folder / f"rules/{rule}/rule.yaml").write_text(f"{text}explained_by: {by}\n")
        return rulebook.read(folder)

    plain = explained("flood", "surge").plain()
    assert {name: one["explained_by"] for name, one in plain.items() if one["kind"] == "rule"} == {
        **{"flood": "surge", "scraper": None, "surge": None}
    }
    for wrong in ("scraper", "alerts", "flood", "unknown"):
        message = f"rules/flood/rule.yaml: explained_by is {wrong}; allowed: another rule about the site: surge"
        with pytest.raises(RulebookError, match=f"^{message}$"):
            explained("flood", wrong)
    explained("flood", "surge")
    with pytest.raises(RulebookError, match=r"explained_by is surge; allowed: another rule about the site: none$"):
        explained("surge", "surge")


@pytest.mark.parametrize("missing", ["rule.sql", "rule.yaml", "cases.yaml"])
def test_a_rule_has_three_files(folder: Path, missing: str) -> None:
    (folder / "rules/scraper" / missing).unlink()
    with pytest.raises(RulebookError, match=rf"rules/scraper.*{missing}|rules/scraper/{missing}: missing"):
        rulebook.read(folder)


@pytest.mark.parametrize("place", ["rules/old.sql", "alerts.sql", "views/old.sql", "rules/scraper/old.sql"])
def test_sql_in_another_place_is_an_error(folder: Path, place: str) -> None:
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / place).write_text("select 1")
    with pytest.raises(RulebookError, match=rf"^{place}: no place for SQL; allowed: rules/\*/rule\.sql"):
        rulebook.read(folder)


def test_a_rule_has_no_name_of_a_part(folder: Path) -> None:
    shutil.copytree(folder / "rules/scraper", folder / "rules/source")
    sql = FILES["rules/scraper/rule.sql"].replace("view scraper", "view source")
    (folder / "rules/source/rule.sql").write_text(sql)
    with pytest.raises(RulebookError, match=r"the name source is taken by source\.yaml"):
        rulebook.read(folder)


def test_the_application_reads_what_the_rulebook_writes(tmp_path: Path) -> None:
    book = rulebook.read()
    (tmp_path / "rulebook.json").write_text(str(packages.detector_files(ROOT)["rulebook.json"]))
    plain = job.read_book(tmp_path / "rulebook.json")
    assert plain == json.loads(json.dumps(book.plain()))
    assert job.values(plain, {}) == book.values()
    assert job.rules(plain) == list(book.rules)
    files = {file.relative_to(SQL_FOLDER).as_posix() for file in SQL_FOLDER.rglob("*.sql")}
    assert {one.file for one in book.rules.values()} == files


def test_all_rules_are_one_query() -> None:
    assert job.findings(["burst", "scraper"]) == "select * from burst union all select * from scraper"


def test_the_operators_count_in_the_windows_of_the_rules() -> None:
    plain = rulebook.read().plain()
    changes = {
        "values.burst": {"window_s": "7"},
        "values.cart_hoarder": {"window_s": "300"},
        "values.product_flood": {"baseline_s": "900"},
        "values.site_surge": {"window_s": "20"},
    }
    known = job.values(plain, changes)
    found = {subject: job.windows(plain, known, subject) for subject in ("actor", "product", "address", "site")}
    # Among those of further rules.
    assert {7, 300, 600} <= {*found["actor"]} and 10 not in found["actor"] and found["actor"] == sorted(found["actor"])
    assert [found[subject][:2] for subject in ("product", "address", "site")] == [[10, 900], [300, 0], [20, 600]]


def test_the_entry_point_needs_only_its_own_folder(tmp_path: Path) -> None:
    """Managed Flink links main.py into another folder, and has neither pydantic nor PyYAML."""
    app, elsewhere = tmp_path / "app", tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name, content in packages.detector_files(ROOT).items():
        if isinstance(content, Path) and content.suffix == ".py":
            (app / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(content, app / name)
    (elsewhere / "main.py").symlink_to(app / "main.py")
    # -I and -S: no PYTHONPATH, no installed packages.
    code = f"import runpy; print(runpy.run_path({str(elsewhere / 'main.py')!r}, run_name='x')['job'].__file__)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str((app / "detector/job.py").resolve())
