"""A CSV row becomes an event, the event a wire record and an id; a row that breaks the contract says how."""

import json
import re
from decimal import Decimal
from hashlib import sha256

import polars as pl
import pytest

from simulator.sending.replay import wire_data
from simulator.traffic.event import (
    COLUMNS,
    MalformedRow,
    encode,
    event_id,
    event_time_at,
    parse,
    second_of,
)
from simulator.traffic.source import BLOCK

ROW = {
    "event_time": "2019-10-01 00:00:00 UTC",
    "event_type": "view",
    "product_id": "44600062",
    "category_id": "2103807459595387724",
    "category_code": "",
    "brand": "shiseido",
    "price": "35.79",
    "user_id": "541312140",
    "user_session": "72d76fde-8bb3-4e00-8c23-a032dfed738c",
}
EVENT = {
    "event_time": "2019-10-01 00:00:00 UTC",
    "event_type": "view",
    "product_id": 44600062,
    "category_id": 2103807459595387724,
    "category_code": None,
    "brand": "shiseido",
    "price": Decimal("35.79"),
    "user_id": 541312140,
    "user_session": "72d76fde-8bb3-4e00-8c23-a032dfed738c",
    "txn_timestamp": "2019-10-01T00:00:00.000Z",
}


def parsed(**values: str) -> dict:
    return parse(list((ROW | values).values()))


class TestParse:
    def test_values_have_the_contracts_types(self) -> None:
        event = parsed()
        assert list(event) == list(COLUMNS)
        assert event | {"txn_timestamp": EVENT["txn_timestamp"]} == EVENT

    @pytest.mark.parametrize("name", ["category_code", "brand", "user_session"])
    def test_empty_nullable_field_is_null(self, name: str) -> None:
        assert parsed(**{name: ""})[name] is None

    @pytest.mark.parametrize(
        ("text", "price"),
        [("0", "0.00"), ("35.7", "35.70"), ("35", "35.00"), ("35.785", "35.79"), ("9999999999.99", "9999999999.99")],
    )
    def test_price_gets_two_decimals(self, text: str, price: str) -> None:
        assert str(parsed(price=text)["price"]) == price

    @pytest.mark.parametrize("text", ["9223372036854775807", "-9223372036854775808", "0"])
    @pytest.mark.parametrize("name", ["product_id", "category_id", "user_id"])
    def test_ids_of_64_bits_stay_exact(self, name: str, text: str) -> None:
        assert parsed(**{name: text})[name] == int(text)

    @pytest.mark.parametrize(
        ("name", "text", "reason"),
        [
            *(
                ("event_time", text, "is no time such as 2019-10-01 00:00:00 UTC, from 1970 to 2999")
                for text in (
                    "",
                    "2019-10-01 00:00:00",
                    "2019-10-01T00:00:00Z",
                    "2019-10-01 00:00:00 CET",
                    "2019-10-01 00:00:00.5 UTC",
                    "2019-10-1 00:00:00 UTC",
                    "2019-02-30 00:00:00 UTC",
                    "2019-10-01 24:00:00 UTC",
                    "2019-10-01 00:00:60 UTC",
                    "1969-12-31 23:59:59 UTC",
                    "3000-01-01 00:00:00 UTC",
                    "\uff12019-10-01 00:00:00 UTC",
                    "2019-10-01 00:00:00 UTC\n",
                )
            ),
            *(
                ("event_type", text, "is none of view, cart, remove_from_cart, purchase")
                for text in ("", "View", "refund", "view ")
            ),
            *(
                (name, text, "is no 64-bit integer")
                for name in ("product_id", "category_id", "user_id")
                for text in ("", "1.0", "1e3", " 1", "1_000", "+1", "x", "٣", "9223372036854775808", "1" * 5000)
            ),
            *(
                ("price", text, "is no decimal number from 0 to 9999999999.99")
                for text in ("", "-0.01", "1,5", "1e3", "NaN", "Infinity", ".5", "5.", "9999999999.995", "1" * 11)
            ),
            *(
                (name, text, "holds a control character")
                for name in ("category_code", "brand", "user_session")
                for text in ("a\x1fb", "a\nb", "a\tb", "\x00", "\x7f")
            ),
        ],
    )
    def test_bad_column_is_named_with_its_value(self, name: str, text: str, reason: str) -> None:
        with pytest.raises(MalformedRow, match=f"^{name} {re.escape(repr(text))} {re.escape(reason)}$"):
            parsed(**{name: text})

    @pytest.mark.parametrize("columns", [0, 1, 8, 10])
    def test_wrong_number_of_columns(self, columns: int) -> None:
        with pytest.raises(MalformedRow, match=f"^{columns} columns, expected 9$"):
            parse([*ROW.values(), "x"][:columns])


class TestEncode:
    def test_is_compact_json_in_the_contracts_order(self) -> None:
        assert encode(EVENT) == (
            b'{"event_time":"2019-10-01 00:00:00 UTC","event_type":"view","product_id":44600062,'
            b'"category_id":2103807459595387724,"category_code":null,"brand":"shiseido","price":35.79,'
            b'"user_id":541312140,"user_session":"72d76fde-8bb3-4e00-8c23-a032dfed738c",'
            b'"txn_timestamp":"2019-10-01T00:00:00.000Z"}'
        )

    @pytest.mark.parametrize(
        ("price", "text"), [("0.00", "0.00"), ("35.70", "35.70"), ("9999999999.99", "9999999999.99")]
    )
    def test_price_always_has_two_decimals(self, price: str, text: str) -> None:
        assert f'"price":{text},'.encode() in encode(EVENT | {"price": Decimal(price)})

    def test_nulls(self) -> None:
        record = encode(EVENT | {"category_code": None, "brand": None, "user_session": None})
        assert b'"category_code":null,"brand":null,' in record
        assert b'"user_session":null,' in record

    @pytest.mark.parametrize("text", ['7" pan', "back\\slash", "кофе ☕ 😀", "}{", "null", "\u2028", "'"])
    def test_any_text_survives(self, text: str) -> None:
        event = EVENT | {"category_code": text, "brand": text, "user_session": text}
        assert json.loads(encode(event), parse_float=Decimal) == event

    def test_letters_outside_ascii_are_utf8(self) -> None:
        assert "кофе".encode() in encode(EVENT | {"brand": "кофе"})


class TestEventId:
    def test_is_the_hash_of_ten_values(self) -> None:
        values = [
            "2019-10-01 00:00:00",
            "view",
            "44600062",
            "2103807459595387724",
            "",
            "shiseido",
            "35.79",
            "541312140",
            "72d76fde-8bb3-4e00-8c23-a032dfed738c",
            "2019-10-01 00:00:00.000",
        ]
        assert event_id(EVENT) == sha256("\x1f".join(values).encode()).hexdigest()

    @pytest.mark.parametrize(
        "price", ["0.00", "0.10", "35.79", "35.70", "1.15", "2.675", "1234567.89", "9999999999.99", "9999999999.90"]
    )
    def test_is_the_same_of_the_record_read_back(self, price: str) -> None:
        event = EVENT | {"price": Decimal(price), "brand": "кофе", "user_id": 2**63 - 1}
        assert event_id(json.loads(encode(event))) == event_id(event)

    @pytest.mark.parametrize(
        ("price", "same_as"), [(35, "35.00"), (35.7, "35.70"), (-0.0, "0.00"), (Decimal("0E+3"), "0.00")]
    )
    def test_depends_on_the_price_not_on_how_it_is_written(self, price: object, same_as: str) -> None:
        assert event_id(EVENT | {"price": price}) == event_id(EVENT | {"price": Decimal(same_as)})

    def test_absent_field_counts_as_null(self) -> None:
        absent = {name: value for name, value in EVENT.items() if name != "brand"}
        assert event_id(absent) == event_id(EVENT | {"brand": None})

    @pytest.mark.parametrize("name", EVENT)
    def test_differs_when_any_field_does(self, name: str) -> None:
        other = {
            "event_time": "2019-10-01 00:00:01 UTC",
            "event_type": "cart",
            "price": Decimal("35.78"),
            "txn_timestamp": "2019-10-01T00:00:00.001Z",
        }
        assert event_id(EVENT | {name: other.get(name, 8)}) != event_id(EVENT)

    def test_values_do_not_run_into_each_other(self) -> None:
        ab, a = ({"category_code": "a", "brand": "b"}, {"category_code": "ab", "brand": None})
        assert event_id(EVENT | ab) != event_id(EVENT | a)

    @pytest.mark.parametrize("change", [{"txn_timestamp": None}, {"event_time": 5}, {"price": "x"}, {"price": None}])
    def test_of_what_is_no_event_raises(self, change: dict) -> None:
        with pytest.raises(ValueError, match="is no event"):
            event_id(EVENT | change)

    def test_of_what_is_no_object_raises(self) -> None:
        with pytest.raises(ValueError, match="is no event"):
            event_id([])


def test_times_are_utc_whatever_the_machine_says(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        # The hour that New York skips.
        assert second_of("2019-03-10 02:30:00 UTC") == 1552185000
        assert event_time_at(1552185000) == "2019-03-10 02:30:00 UTC"
        block = pl.DataFrame([(1552185000, "1", "1", '"')], schema=BLOCK, orient="row")
        assert wire_data(block, shift_ms=7).to_list() == ['"2019-03-10T02:30:00.007Z"}']
    finally:
        monkeypatch.undo()
        time.tzset()
