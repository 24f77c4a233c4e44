"""The detector writes and the alert function reads what contracts/tally.json says."""

import json
import re
from dataclasses import MISSING, asdict, fields

import pytest
from reader import conforms, contract, golden, json_fields, written

from lambda_alert.alert import parse as parse_alert
from lambda_alert.tally import MalformedTally, Tally, parse

FIELDS = contract("tally")
NAMES = [field["name"] for field in FIELDS]
GOOD = golden("tally_good")
BAD = golden("tally_bad")

# Those of quarantine, without the field, and the detector's own.
OUTCOMES = {
    "judged",
    *("not_utf8", "not_json", "repeated", "missing", "wrong_type", "too_long", "bad_time", "negative_price"),
    *("bad_quantity", "control_character", "undated", "ahead", "late", "no_actor", "other_type"),
}
NO_OUTCOMES = [
    *("", "a" * 51, "missing:" + "a" * 51, "missing:", "missing:a:b", "missing:Event", ":brand", "too late"),
    "zu_spät",
]

PYTHON_TYPES = {("string", False): str, ("string", True): str | None, ("bigint", False): int}


def test_contract_says_the_same_five_things_of_each_field() -> None:
    assert all(list(field) == ["name", "type", "nullable", "unit", "meaning"] for field in FIELDS)
    assert len(set(NAMES)) == len(NAMES)


def test_a_tally_is_told_from_an_alert_by_a_field_that_alerts_do_not_have() -> None:
    assert "outcome" in NAMES and "alert_id" not in NAMES
    alerts = [field["name"] for field in contract("alert")]
    assert "alert_id" in alerts and "outcome" not in alerts


class TestAlertFunction:
    def test_dataclass_has_the_contracts_fields(self) -> None:
        assert [(field.name, field.type) for field in fields(Tally)] == [
            (field["name"], PYTHON_TYPES[field["type"], field["nullable"]]) for field in FIELDS
        ]
        assert all(field.default is field.default_factory is MISSING for field in fields(Tally))

    @pytest.mark.parametrize("line", GOOD, ids=lambda line: line["name"])
    def test_accepts_a_good_tally_with_its_values(self, line: dict) -> None:
        assert conforms(line["record"], FIELDS)
        known = {name: value for name, value in json.loads(line["record"]).items() if name in NAMES}
        assert asdict(parse(line["record"].encode())) == known

    @pytest.mark.parametrize("line", BAD, ids=lambda line: line["reason"])
    def test_refuses_a_bad_tally_with_the_reason(self, line: dict) -> None:
        with pytest.raises(MalformedTally, match=re.escape(line["reason"])):
            parse(line["record"].encode())

    def test_refuses_all_that_does_not_conform(self) -> None:
        # These conform field by field: words, dates, and how fields go together, `conforms` does not know.
        assert [line["reason"] for line in BAD if conforms(line["record"], FIELDS)] == [
            'outcome is "Late"',
            *[f"outcome is {json.dumps(outcome)}" for outcome in NO_OUTCOMES],
            "event_count is 0",
            "event_count is -1",
            *["without event_date", "without arrival_date"],
            *['event_date is "26.11.2026"', 'event_date is "2026-02-30"', 'arrival_date is ""'],
            "event_date is null and arrival_date null",
            'event_date is "2026-11-26" and arrival_date "2026-11-26"',
            "total_count is 6",
        ]

    def test_good_tallies_are_of_every_outcome(self) -> None:
        assert {json.loads(line["record"])["outcome"].partition(":")[0] for line in GOOD} > OUTCOMES

    @pytest.mark.parametrize("field", [field["name"] for field in contract("event")])
    def test_a_reason_may_name_any_field_of_an_event(self, field: str) -> None:
        line = json.loads(GOOD[0]["record"]) | {"outcome": f"control_character:{field}"}
        assert asdict(parse(json.dumps(line).encode())) == line

    @pytest.mark.parametrize("line", golden("alert_good"), ids=lambda line: line["name"])
    def test_an_alert_is_no_tally(self, line: dict) -> None:
        assert parse(line["record"].encode()) is None

    @pytest.mark.parametrize("record", [b"", b"\xff", b"{", b"[" * 100_000, b"null", b'"outcome"', b"{}"])
    def test_what_is_no_tally_is_refused_as_an_alert(self, record: bytes) -> None:
        assert parse(record) is None
        with pytest.raises(ValueError):
            parse_alert(record)


class TestDetector:
    JAVA = written("tally")

    def test_writes_the_contracts_fields_in_order(self) -> None:
        assert json_fields(self.JAVA) == NAMES

    def test_tallies_are_partitioned_as_the_contract_says(self) -> None:
        (key,) = (field["name"] for field in FIELDS if "partition key" in field["meaning"])
        assert self.JAVA.endswith(f"return new Message({key}, json);")
