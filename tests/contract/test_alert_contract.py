"""contracts/alert.json is what every rule gives, the detector writes and the alert function reads."""

import json
import re
from dataclasses import MISSING, fields

import pytest
from reader import ROOT, conforms, contract, golden, json_fields, selected_columns, sql, written

from detector import rulebook
from detector.values import fill_in
from lambda_alert.alert import Alert, MalformedAlert, parse, shown

FIELDS = contract("alert")
NAMES = [field["name"] for field in FIELDS]
GOOD = golden("alert_good")
BAD = golden("alert_bad")
BOOK = rulebook.read()
RULES = sorted(BOOK.rules)

EXPECTED_SUBJECT = "expected user#<id>, session#<id>, product#<id>, ip#<address> or site"
# Subjects that are none.
WRONG = [
    *("541312140", "user#", "session#", "User#1", "order#1", "site#1", " user#1", "user"),
    *("user#" + "x" * 129, "product#" + "é" * 129),
    *("user#\ud83d", "user#\udc00\ud800"),  # halves of characters, which JSON can write and UTF-8 cannot
]
WRONG_CONTROL = ["user#5413\n", "session#a\x00b", "product#\x7f"]

PYTHON_TYPES = {"string": str, "bigint": int}


def test_contract_says_the_same_five_things_of_each_field() -> None:
    assert all(list(field) == ["name", "type", "nullable", "unit", "meaning"] for field in FIELDS)
    assert len(set(NAMES)) == len(NAMES)


class TestAlertFunction:
    def test_dataclass_has_the_contracts_fields(self) -> None:
        assert [(field.name, field.type) for field in fields(Alert)] == [
            (field["name"], PYTHON_TYPES[field["type"]] | None if field["nullable"] else PYTHON_TYPES[field["type"]])
            for field in FIELDS
        ]
        # Only what is nullable may be absent.
        assert [field.default for field in fields(Alert)] == [
            None if field["nullable"] else MISSING for field in FIELDS
        ]
        assert all(field.default_factory is MISSING for field in fields(Alert))

    @pytest.mark.parametrize("line", GOOD, ids=lambda line: line["name"])
    def test_accepts_a_good_alert_with_its_values(self, line: dict) -> None:
        assert conforms(line["record"], FIELDS)
        written = {name: value for name, value in json.loads(line["record"]).items() if value is not None}
        assert parse(line["record"].encode()).record() == written

    @pytest.mark.parametrize("line", BAD, ids=lambda line: line["reason"])
    def test_refuses_a_bad_alert_with_the_reason(self, line: dict) -> None:
        with pytest.raises(MalformedAlert, match=re.escape(line["reason"])):
            parse(line["record"].encode())

    def test_bad_alerts_have_subjects_with_control_characters(self) -> None:
        reasons = {line["reason"] for line in BAD if not conforms(line["record"], FIELDS)}
        assert reasons >= {f"subject is {shown(subject)}, {EXPECTED_SUBJECT}" for subject in WRONG_CONTROL}

    def test_good_alerts_have_ids_of_every_kind(self) -> None:
        ids = {json.loads(line["record"])["subject"].partition("#")[2] for line in GOOD}
        assert ids >= {"000042", "42", "SKU-1/ä b#7:2", "site", " ", "é" * 128, "😀" * 128}

    def test_good_alerts_are_of_every_kind_of_subject(self) -> None:
        subjects = {json.loads(line["record"])["subject"] for line in GOOD}
        assert {subject.partition("#")[0] for subject in subjects} == {"user", "session", "product", "ip", "site"}

    @pytest.mark.parametrize("line", GOOD, ids=lambda line: line["name"])
    def test_level_is_as_the_contract_says(self, line: dict) -> None:
        alert = parse(line["record"].encode())
        first = (alert.threshold + 1) * 2 ** (alert.level - 1)
        assert first <= alert.num_actions_per_watermark < 2 * first

    def test_bad_alerts_break_every_field(self) -> None:
        for name in (field["name"] for field in FIELDS if not field["nullable"]):
            for kind in (f"without {name}", f"{name} is null"):
                assert kind in {line["reason"] for line in BAD}

    def test_refuses_all_that_does_not_conform(self) -> None:
        # What is left conforms field by field, and is bad only as a whole.
        whole = [line["reason"] for line in BAD if conforms(line["record"], FIELDS)]
        assert whole == [
            'rule is "Burst"',
            *[f"subject is {shown(subject)}, {EXPECTED_SUBJECT}" for subject in WRONG],
            "is not after window_start_at",
            "threshold is -1, expected 0 or more",
            "num_actions_per_watermark 5 does not exceed threshold 5",
            "level is 0, expected 1 for num_actions_per_watermark 7 above threshold 5",
            "level is 2, expected 1 for num_actions_per_watermark 7 above threshold 5",
            "level is 2, expected 1 for num_actions_per_watermark 11 above threshold 5",
            "level is 1, expected 2 for num_actions_per_watermark 12 above threshold 5",
            "level is 2, expected 3 for num_actions_per_watermark 24 above threshold 5",
            "level is 9223372036854775807, expected 3 for num_actions_per_watermark 24 above threshold 5",
            "level is -1, expected 1 for num_actions_per_watermark 7 above threshold 5",
            'alert_id is "burst:user#1:2019-10-01T00:00:12.500Z", expected burst:user#541312140:',
            'alert_id is "burst:541312140:2019-10-01T00:00:12.500Z", expected burst:user#541312140:',
            'alert_id is "burst:user#42:2019-10-01T00:00:12.500Z", expected burst:user#000042:',
            'explained_by is "Site surge"',
            'explained_by is ""',
            'declared_crawler is ""',
        ]


class TestDetector:
    JAVA = written("alert")

    def test_writes_the_contracts_fields_in_order(self) -> None:
        assert json_fields(self.JAVA) == NAMES

    def test_alerts_are_partitioned_as_the_contract_says(self) -> None:
        (key,) = (field["name"] for field in FIELDS if "partition key" in field["meaning"])
        assert self.JAVA.endswith(f"return new Message({key}, json);")

    def test_alert_id_is_made_of_the_fields_that_the_contract_names(self) -> None:
        (unit,) = (field["unit"] for field in FIELDS if field["name"] == "alert_id")
        assert unit == "rule:subject:window_end_at"
        assert 'quoted(rule + ":" + subject + ":" + endAt)' in self.JAVA


class TestRules:
    def test_are_all_folders(self) -> None:
        # A rule that went missing would go untested.
        assert sorted(folder.name for folder in (ROOT / "sql/detection/rules").iterdir()) == RULES and len(RULES) > 1

    @pytest.mark.parametrize("rule", RULES)
    def test_rule_is_a_view_by_the_name_of_its_folder(self, rule: str) -> None:
        assert sql(f"rules/{rule}/rule.sql").startswith(f"create temporary view {rule} as ")

    @pytest.mark.parametrize("rule", RULES)
    def test_rule_gives_what_alerts_are_made_of(self, rule: str) -> None:
        # `union all` goes by position too.
        assert list(selected_columns(sql(f"rules/{rule}/rule.sql"))) == [
            *("rule", "subject", "window_start_at", "window_end_at", "num_actions_per_watermark", "threshold")
        ]

    @pytest.mark.parametrize("rule", RULES)
    def test_rule_says_its_own_name_and_kind_of_subject(self, rule: str) -> None:
        columns = selected_columns(sql(f"rules/{rule}/rule.sql"))
        assert columns["rule"] == f"'{rule}'"
        view = {
            "actor": "activity",
            "product": "product_activity",
            "address": "address_activity",
            "site": "site_activity",
        }
        assert columns["subject"] == "subject"
        assert f" from {view[BOOK.rules[rule].description.subject]} where " in sql(f"rules/{rule}/rule.sql")

    @pytest.mark.parametrize("rule", RULES)
    def test_rule_reads_the_windows_of_its_own_length(self, rule: str) -> None:
        # The views have the windows of all rules.
        assert "where window_s = ${window_s} and " in sql(f"rules/{rule}/rule.sql")
        if "baseline_s" in BOOK.rules[rule].parameters:
            assert " and baseline_s = ${baseline_s} and " in sql(f"rules/{rule}/rule.sql")

    @pytest.mark.parametrize("rule", RULES)
    def test_threshold_and_window_are_whole_numbers(self, rule: str) -> None:
        known = BOOK.values()[rule]
        assert known.keys() >= {"threshold", "window_s"}
        assert all(type(known[name]) is int and known[name] > 0 for name in ("threshold", "window_s"))
        assert "${" not in fill_in(rule, BOOK.rules[rule].sql, known)
