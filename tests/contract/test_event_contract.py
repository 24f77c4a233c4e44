"""The simulator writes, the detector reads and the raw table shows what contracts/event.json says."""

import csv
import io
import json
import re
from decimal import Decimal

import pytest
from reader import ROOT, conforms, contract, golden

from simulator.traffic import event as simulator
from simulator.traffic.event import MalformedRow, encode, event_id, parse

FIELDS = contract("event")
NAMES = [field["name"] for field in FIELDS]
GOOD = golden("event_good")
BAD = golden("event_bad")

TIME = "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"

every_good = pytest.mark.parametrize("line", GOOD, ids=lambda line: line["name"])
every_bad = pytest.mark.parametrize("line", BAD, ids=lambda line: line["reason"])


def csv_row(event: dict) -> list[str]:
    """Return the event as a row of the data set: null is empty, and there is no txn_timestamp."""
    text = io.StringIO()
    csv.writer(text).writerow("" if value is None else value for value in list(event.values())[:-1])
    return next(csv.reader([text.getvalue()], strict=True))


class TestContract:
    def test_says_the_same_five_things_of_each_field(self) -> None:
        assert all(list(field) == ["name", "type", "nullable", "unit", "meaning"] for field in FIELDS)
        assert len(set(NAMES)) == len(NAMES)

    def test_meanings_fit_into_a_comment_of_the_glue_catalog(self) -> None:
        # https://docs.aws.amazon.com/glue/latest/webapi/API_Column.html: at most 255 characters
        assert all(0 < len(field["meaning"]) <= 255 for field in FIELDS)


class TestGoldenRecords:
    @every_good
    def test_good_one_conforms(self, line: dict) -> None:
        assert conforms(line["record"], FIELDS)

    @every_bad
    def test_bad_one_does_not(self, line: dict) -> None:
        assert not conforms(line["record"], FIELDS)

    def test_no_two_are_alike(self) -> None:
        records = [line["record"] for line in GOOD + BAD]
        assert len(set(records)) == len(records)
        assert len({line["event_id"] for line in GOOD}) == len(GOOD)

    def test_good_ones_try_what_a_field_may_hold(self) -> None:
        events = [json.loads(line["record"], parse_float=Decimal) for line in GOOD]
        assert {name for event in events for name in NAMES if event[name] is None} == {
            field["name"] for field in FIELDS if field["nullable"]
        }
        assert {event["event_type"] for event in events} == set(simulator.EVENT_TYPES)
        assert 2**63 - 1 in {event["user_id"] for event in events}
        assert {"0.00", "543.10", "9999999999.99"} <= {str(event["price"]) for event in events}
        brands = {event["brand"] or "" for event in events}
        assert any('"' in brand for brand in brands)
        assert not all(brand.isascii() for brand in brands)

    def test_bad_ones_break_every_field(self) -> None:
        kinds = {"unknown_event_type": "event_type", "negative_price": "price"}
        assert {kinds.get(line["reason"], line["reason"].partition(":")[2]) for line in BAD} == {"", *NAMES}


class TestSimulator:
    def test_fields_are_the_contracts(self) -> None:
        assert list(simulator.FIELDS) == NAMES
        assert list(simulator.COLUMNS) == NAMES[:-1]

    def test_event_types_are_the_contracts(self) -> None:
        (field,) = (field for field in FIELDS if field["name"] == "event_type")
        assert " | ".join(simulator.EVENT_TYPES) == field["unit"]

    @every_good
    def test_writes_the_golden_record_to_the_byte(self, line: dict) -> None:
        wanted = json.loads(line["record"], parse_float=Decimal)
        event = parse(csv_row(wanted)) | {"txn_timestamp": wanted["txn_timestamp"]}
        assert event == wanted
        assert encode(event) == line["record"].encode()

    @every_good
    def test_event_id_is_the_golden_one_before_and_after_the_wire(self, line: dict) -> None:
        assert event_id(json.loads(line["record"])) == line["event_id"]
        assert event_id(json.loads(line["record"], parse_float=Decimal)) == line["event_id"]

    def test_makes_no_bad_record_of_any_row(self) -> None:
        refused = set()
        for line in BAD:
            if line["reason"] == "not_json":
                continue  # so it is no row either
            event = json.loads(line["record"], parse_float=Decimal)
            try:
                event = parse(csv_row({name: event.get(name) for name in NAMES}))
            except MalformedRow:
                refused.add(line["reason"])
            else:  # a row has no types and no txn_timestamp: what was bad only there is good now
                assert conforms(encode(event | {"txn_timestamp": "2019-10-01T00:00:00.000Z"}).decode(), FIELDS)
        assert refused == {
            *(f"missing:{field['name']}" for field in FIELDS[:-1] if not field["nullable"]),
            *(f"wrong_type:{name}" for name in ("event_time", "product_id", "price", "user_id")),
            "bad_time:event_time",
            "unknown_event_type",
            "negative_price",
            "control_character:brand",
        }


class TestDetector:
    JAVA = (ROOT / "src/detector/src/main/java/shopstream/Contract.java").read_text()

    def test_fields_are_the_contracts(self) -> None:
        listed = re.findall(r'^ +[A-Z_]+\("(\w+)", Kind\.(\w+), (true|false)\)[,;]$', self.JAVA, re.MULTILINE)
        kinds = {"decimal(12,2)": "PRICE", "bigint": "QUANTITY", "string": "TEXT"}

        def kind(field: dict) -> str:
            if field["name"] == "event_type":
                return "TYPE"
            return {TIME: "TIME", "id": "ID"}.get(field["unit"], kinds[field["type"]])

        assert listed == [(field["name"], kind(field), "false" if field["nullable"] else "true") for field in FIELDS]

    def test_kinds_of_events_are_the_contracts(self) -> None:
        (unit,) = (field["unit"] for field in FIELDS if field["name"] == "event_type")
        assert re.findall(r'case "(\w+)":', self.JAVA) == unit.partition(", ")[0].split(" | ")

    def test_bad_records_have_reasons_that_the_detector_knows(self) -> None:
        assert all(f'"{line["reason"].partition(":")[0]}"' in self.JAVA for line in BAD)


class TestRawTable:
    def test_terraform_takes_its_columns_from_the_contract(self) -> None:
        root = (ROOT / "terraform/main.tf").read_text()
        assert re.findall(r"\braw_columns\s*=\s*(.*)", root) == [
            'jsondecode(file("${path.root}/../contracts/event.json"))'
        ]
        lake = " ".join((ROOT / "terraform/modules/lake/main.tf").read_text().split())
        assert (
            'dynamic "columns" { for_each = var.raw_columns content { name = columns.value.name '
            "type = columns.value.type comment = columns.value.meaning }" in lake
        )

    def test_types_are_types_of_hive(self) -> None:
        assert {field["type"] for field in FIELDS} <= {"string", "bigint", "decimal(12,2)"}
