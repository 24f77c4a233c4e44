"""A new rule is its own folder, a new question its own two files: no other file needs to be edited by hand.

NEW holds the new files. To try another kind of addition, add its files here, and its tests to `test_the_tests_pass`.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from shopstream.generated import GENERATED

ROOT = Path(__file__).parents[2]

# Installed or built, not tracked. The copy uses those of this tree.
LINKED = [
    *(".venv", ".tools", "src/detector/.venv", "src/detector/target", "src/glue_etl/.venv", "src/lambda_alert/.venv"),
    *("src/local_cloud/emulator/.venv", "terraform/.terraform"),
]

RULE = "sql/detection/rules/cart_flipper"
QUESTION = "sql/insights/events_per_type"
NEW = {
    f"{RULE}/rule.sql": """\
create temporary view cart_flipper as
select
  'cart_flipper' as rule,
  subject,
  window_start_at,
  window_end_at,
  actions - carts - purchases as num_actions_per_watermark,
  cast(${threshold} as bigint) as threshold
from activity
where window_s = ${window_s} and products = 0 and actions - carts - purchases > ${threshold}
""",
    f"{RULE}/rule.yaml": """\
title: Cart flipper
question: Who takes more than ${threshold} things out of the cart within ${window_s} seconds?
grain: one row per action at which the actor's count is above the threshold
subject: actor
owasp: OAT-021 Denial of Inventory
severity: low
parameters:
  window_s: {type: integer, default: 20, minimum: 1, maximum: 3600, unit: seconds, meaning: Length.}
  threshold: {type: integer, default: 4, minimum: 0, maximum: 999, unit: removals, meaning: More than this.}
false_positives: [A shopper who clears the cart.]
response: [Look at what the user puts into the cart.]
references: ["https://owasp.org/www-project-automated-threats-to-web-applications/"]
attack: A program takes product after product out of its cart.
""",
    f"{RULE}/cases.yaml": """\
elsewhere: ignored
cases:
  - name: as many as the threshold
    events: [{at: 0, count: 4, every: 2, event_type: remove_from_cart, product_id: {from: 0}}]
    alerts: []
  - name: one more
    events: [{at: 0, count: 5, every: 2, event_type: remove_from_cart, product_id: {from: 0}}]
    alerts: [{subject: user#7, end: 8, count: 5}]
  - name: a lower threshold
    values: {cart_flipper: {threshold: 3}}
    events: [{at: 0, count: 4, every: 2, event_type: remove_from_cart, product_id: {from: 0}}]
    alerts: [{subject: user#7, end: 6, count: 4}]
""",
    f"{RULE}/attack.py": """\
\"\"\"The attack that the rule cart_flipper looks for: one user empties a large cart.\"\"\"

from evaluation.lab import AttackPlan, Lab, Limit, Step


def plan(lab: Lab, limit: Limit, intensity: float, number: int, of: int) -> AttackPlan:
    \"\"\"Remove products from the cart during one window.\"\"\"
    amount = lab.amount(limit, intensity)
    seconds = lab.spread(lab.start(number, of, limit.window_s), limit.window_s, amount)
    user_id, session = lab.new_user(), lab.new_session()
    removals = zip(seconds, lab.products(amount), strict=True)
    steps = [Step(second, user_id, session, product, "remove_from_cart") for second, product in removals]
    return AttackPlan(f"user#{user_id}", steps)
""",
    f"{QUESTION}.sql": """\
select
  event_type,
  count(*) as events
from curated_events
where
  event_at >= cast(${from_date} as date)
  and event_at < cast(${to_date} as date) + interval '1' day
group by event_type
order by events desc, event_type asc
""",
    f"{QUESTION}.yaml": """\
title: Events per type
question: How many events of each type are there?
grain: one row per event type in the range
notes: Duplicates do not count.
position: 99
parameters:
  from_date: {type: date, meaning: first day (UTC)}
  to_date: {type: date, meaning: "last day (UTC), included"}
columns:
  event_type: {unit: text, meaning: type of the event}
  events: {unit: count, meaning: events of the type}
chart:
  kind: bars
  name: "{{ event_type }}"
  name_title: Type
  length: events
  length_title: Events
  label: "{{ events | count }}"
  tooltip: [events]
  finding: "Most events are of the type {{ rows[0].event_type }}."
""",
}

# Of all that reads rules or questions.
UNIT_TESTS = [
    *("detector_values", "detector_rulebook", "evaluation_lab", "evaluation_score", "generated", "insights_question"),
    *("insights_report", "notebook", "packages"),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of this tree with the new files and what `shopstream generate` makes of them."""
    copy = tmp_path_factory.mktemp("tree")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    for name in LINKED:
        if (ROOT / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).symlink_to((ROOT / name).resolve())
    lock = Path("terraform/.terraform.lock.hcl")
    if (ROOT / lock).is_file():
        shutil.copy(ROOT / lock, copy / lock)
    before = contents(copy)
    for name, text in NEW.items():
        assert not (copy / name).exists()
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(text)
    assert run(copy, ".venv/bin/shopstream", "generate", "--check").returncode == 1
    done = run(copy, ".venv/bin/shopstream", "generate")
    assert done.returncode == 0, done.stderr
    after = contents(copy)
    changed = {name for name in after if before.get(name) != after[name]}
    assert set(NEW) < changed <= set(NEW) | set(GENERATED)
    assert before.keys() <= after.keys()
    return copy


def contents(tree: Path) -> dict[str, bytes]:
    """Return the files of a tree that are not linked, by name."""
    found = {}
    for folder, folders, files in os.walk(tree):
        folders[:] = [name for name in folders if not (Path(folder) / name).is_symlink() and name != "__pycache__"]
        for file in (Path(folder) / name for name in files):
            found[file.relative_to(tree).as_posix()] = file.read_bytes()
    return found


def run(tree: Path, *command: str) -> subprocess.CompletedProcess:
    """Return how a command ended that ran in a tree, with the code of that tree."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    if not Path(own.get("TF_CLI_CONFIG_FILE", "")).is_file():
        own.pop("TF_CLI_CONFIG_FILE", None)
    environment = own | {"PYTHONPATH": "src", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)


def test_generated_files_know_the_rule_and_the_question(tree: Path) -> None:
    assert run(tree, ".venv/bin/shopstream", "generate", "--check").returncode == 0
    for name in ("docs/detection.md", "src/lambda_alert/rules.json"):
        assert "cart_flipper" in (tree / name).read_text()
    assert "Events per type" in (tree / "docs/questions.md").read_text()


@pytest.mark.parametrize(
    "command",
    [
        [
            *(".venv/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/contract"),
            *(f"tests/unit/test_{name}.py" for name in UNIT_TESTS),
        ],
        [
            *("src/detector/.venv/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("tests/integration/detection/test_cases.py", "tests/integration/detection/test_job.py"),
        ],
        [
            *("terraform", "-chdir=terraform", "test", "-no-color"),
            *(
                "-filter=tests/detection.tftest.hcl",
                "-filter=tests/insights.tftest.hcl",
                "-filter=tests/root.tftest.hcl",
            ),
        ],
        [".venv/bin/ruff", "check", "--no-cache", "."],
        [".venv/bin/sqlfluff", "lint", "--disable-progress-bar", "sql/insights"],
    ],
    ids=["unit", "flink", "terraform", "ruff", "sqlfluff"],
)
def test_the_tests_pass(tree: Path, command: list[str]) -> None:
    done = run(tree, *command)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_terraform_validates_values_of_the_rule(tree: Path) -> None:
    """By a changed copy of a run in the tests: a plan of the module, with a value of the new rule."""
    file = tree / "terraform/tests/detection.tftest.hcl"
    text = file.read_text()
    allowed = "{ burst = { threshold = 8 }, source = { max_ahead_s = 30 } }"
    assert allowed in text
    try:
        file.write_text(text.replace(allowed, "{ cart_flipper = { window_s = 4000 } }"))
        done = run(tree, "terraform", "-chdir=terraform", "test", "-no-color", "-filter=tests/detection.tftest.hcl")
    finally:
        file.write_text(text)
    message = " ".join((done.stdout + done.stderr).replace("│", " ").split())
    assert "cart_flipper.window_s = 4000 (allowed: a whole number from 1 to 3600, seconds)" in message
