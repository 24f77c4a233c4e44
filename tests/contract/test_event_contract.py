"""The simulator writes, the detector reads and the raw table shows what contracts/event.json says."""

import csv
import io
import json
import re
from decimal import Decimal

import polars as pl
import pytest
from reader import ROOT, contract, golden, reason

from simulator.traffic import event as simulator
from simulator.traffic.event import Event, MalformedRow, encode, event_key, parse
from simulator.traffic.rows import cells_to_block, to_block

FIELDS = contract("event")
NAMES = [field["name"] for field in FIELDS]
GOOD = golden("event_good")
BAD = golden("event_bad")

TIME = "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"

every_good = pytest.mark.parametrize("line", GOOD, ids=lambda line: line["name"])
every_bad = pytest.mark.parametrize("line", BAD, ids=lambda line: line["reason"])


def csv_row(event: Event) -> list[str]:
    """Return the event as the cells of a file with a column for each of its fields: null is empty."""
    text = io.StringIO()
    csv.writer(text).writerow("" if value is None else value for value in event.values())
    return next(csv.reader([text.getvalue()], strict=True))


def good(line: dict) -> Event:
    """Return a good line's event as the simulator has it: the data set's fields, and others where given."""
    return json.loads(line["record"], parse_float=Decimal)


class TestContract:
    def test_says_the_same_six_things_of_each_field(self) -> None:
        assert all(list(field) == ["name", "type", "nullable", "unit", "meaning", "personal"] for field in FIELDS)
        assert len(set(NAMES)) == len(NAMES)

    def test_only_time_and_type_are_required(self) -> None:
        assert [field["name"] for field in FIELDS if not field["nullable"]] == ["event_time", "event_type"]

    def test_addresses_and_programs_are_personal_data(self) -> None:
        assert [field["name"] for field in FIELDS if field["personal"]] == ["client_ip", "user_agent"]

    def test_meanings_fit_into_a_comment_of_the_glue_catalog(self) -> None:
        # https://docs.aws.amazon.com/glue/latest/webapi/API_Column.html: at most 255 characters
        assert all(0 < len(field["meaning"]) <= 255 for field in FIELDS)


class TestGoldenRecords:
    @every_good
    def test_good_one_conforms(self, line: dict) -> None:
        assert reason(line["record"], FIELDS) is None

    @every_bad
    def test_bad_one_breaks_what_it_says(self, line: dict) -> None:
        assert reason(line["record"], FIELDS) == line["reason"]

    def test_no_two_are_alike(self) -> None:
        records = [line["record"] for line in GOOD + BAD]
        assert len(set(records)) == len(records)
        assert len({line["event_key"] for line in GOOD}) == len(GOOD)

    def test_good_ones_try_what_a_field_may_hold(self) -> None:
        events = [good(line) for line in GOOD]
        nullable = {field["name"] for field in FIELDS if field["nullable"]}
        assert {name for event in events for name in NAMES if event.get(name) is None} == nullable
        assert {name for event in events for name in event if event[name] is not None} == set(NAMES)
        assert {event["event_type"] for event in events} > set(simulator.EVENT_TYPES)
        assert {"000042", "42", "9223372036854775807", "é" * 128} <= {event["user_id"] for event in events}
        assert {"0.00", "543.10", "9999999999.99"} <= {str(event["price"]) for event in events}
        brands = {event["brand"] or "" for event in events}
        assert any('"' in brand for brand in brands)
        assert not all(brand.isascii() for brand in brands)

    def test_bad_ones_break_every_field(self) -> None:
        kinds = {"bad_quantity": "quantity", "negative_price": "price"}
        assert {kinds.get(line["reason"], line["reason"].partition(":")[2]) for line in BAD} == {"", *NAMES}


class TestSimulator:
    def test_fields_are_the_contracts(self) -> None:
        assert list(simulator.FIELDS) == NAMES
        assert [*simulator.COLUMNS, *simulator.OTHERS, "txn_timestamp"] == NAMES
        assert list(simulator.REQUIRED) == [field["name"] for field in FIELDS if not field["nullable"]]

    @pytest.mark.parametrize("field", FIELDS, ids=NAMES)
    def test_kinds_of_fields_are_the_contracts(self, field: dict) -> None:
        kinds = {"id": "id", "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'": "time", "pieces, at least 1": "quantity"}
        kinds |= {"shop currency, at least 0": "price"}
        wanted = "type" if field["name"] == "event_type" else kinds.get(field["unit"], "text")
        assert simulator.FIELDS[field["name"]] == wanted

    def test_event_types_are_the_contracts(self) -> None:
        (field,) = (field for field in FIELDS if field["name"] == "event_type")
        assert " | ".join(simulator.EVENT_TYPES) + ", or another word" == field["unit"]

    @every_good
    def test_writes_the_golden_record_to_the_byte(self, line: dict) -> None:
        wanted = good(line)
        event = parse(csv_row(wanted), list(wanted), nothing=())
        assert event == wanted
        assert encode(event) == line["record"].encode()

    def test_writes_the_golden_records_by_the_block_to_the_byte(self) -> None:
        for line in GOOD:
            wanted = good(line)
            cells = {name: "" if value is None else str(value) for name, value in wanted.items()}
            blocks = [cells_to_block(pl.DataFrame([cells]), pytest.fail)]
            if not {*cells.values()} & {*simulator.NOTHING}:  # which mean nothing in a file
                text = io.StringIO()
                csv.writer(text, lineterminator="").writerow(cells.values())
                blocks.append(to_block([text.getvalue().encode()], pytest.fail, tuple(wanted)))
            for block in blocks:
                # A replay writes the pipeline's time into each record, also where the file has none.
                record = line["record"].encode().removesuffix(b"}")
                assert record.startswith(block["head"][0].removesuffix(',"txn_timestamp":"').encode())
                assert block["ms"][0] == simulator.at_ms(wanted)

    @every_good
    def test_event_key_is_the_golden_one_before_and_after_the_wire(self, line: dict) -> None:
        assert event_key(json.loads(line["record"])) == line["event_key"]
        assert event_key(good(line)) == line["event_key"]

    def test_makes_no_bad_record_of_any_row(self) -> None:
        refused = set()
        for line in BAD:
            if line["reason"] == "not_json":
                continue  # so it is no row either
            event = json.loads(line["record"], parse_float=Decimal)
            try:
                made = parse(csv_row(event), list(event)) if event else parse([])
            except MalformedRow:
                refused.add(line["reason"])
            else:  # a cell has no type, and a column is there once: what was bad only there is good now
                assert reason(encode(made).decode(), FIELDS) is None
        assert refused == {
            *("missing:event_time", "missing:event_type"),
            *("wrong_type:event_time", "wrong_type:price", "wrong_type:quantity", "wrong_type:txn_timestamp"),
            *("bad_time:event_time", "bad_time:txn_timestamp"),
            *("too_long:user_id", "too_long:event_type"),
            *("negative_price", "bad_quantity"),
            *("control_character:brand", "control_character:user_id"),
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
            "type = columns.value.type comment = columns.value.personal ?" in lake
        )

    def test_types_are_types_of_hive(self) -> None:
        assert {field["type"] for field in FIELDS} <= {"string", "bigint", "decimal(12,2)"}
