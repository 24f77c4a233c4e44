"""A CSV row becomes an event, the event a wire record with a key; a row that breaks the contract says how."""

import json
import re
from decimal import Decimal
from hashlib import sha256

import polars as pl
import pytest

from simulator.sending.replay import wire_data
from simulator.traffic.event import (
    COLUMNS,
    FIELDS,
    Event,
    MalformedRow,
    at_ms,
    encode,
    encode_head,
    event_key,
    event_time_at,
    ms_of,
    ordering_key,
    parse,
    second_of,
    spread_key,
    wire_time,
)
from simulator.traffic.rows import BLOCK

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
EVENT: Event = {
    "event_time": "2019-10-01T00:00:00.000Z",
    "event_type": "view",
    "product_id": "44600062",
    "category_id": "2103807459595387724",
    "category_code": None,
    "brand": "shiseido",
    "price": Decimal("35.79"),
    "user_id": "541312140",
    "user_session": "72d76fde-8bb3-4e00-8c23-a032dfed738c",
    "txn_timestamp": "2019-10-01T00:00:00.000Z",
}
OTHERS: Event = {
    "event_id": "evt-1",
    "order_id": "1001",
    "quantity": 2,
    "currency": "EUR",
    "client_ip": "192.0.2.17",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
    "page_url": "https://shop.example/p/1?q=%C3%A4",
    "referrer": "https://search.example/",
}
BAD_TIME = "is no time such as 2019-10-01 00:00:00 UTC or 2019-10-01T02:00:00.000+02:00, from 1970 to 2999"
IDS = [name for name, kind in FIELDS.items() if kind == "id"]
TEXTS = [name for name, kind in FIELDS.items() if kind == "text"]


def parsed(**values: str) -> Event:
    row = ROW | values
    return parse(list(row.values()), list(row))


class TestParse:
    def test_values_have_the_contracts_types(self) -> None:
        event = parsed()
        assert list(event) == list(COLUMNS)
        assert event | {"txn_timestamp": EVENT["txn_timestamp"]} == EVENT

    @pytest.mark.parametrize("name", [name for name in COLUMNS if name not in ("event_time", "event_type")])
    def test_empty_nullable_field_is_null(self, name: str) -> None:
        assert parsed(**{name: ""})[name] is None

    def test_other_fields_are_there_only_with_a_value(self) -> None:
        assert parsed(**{name: str(value) for name, value in OTHERS.items()}) == {
            **{name: EVENT[name] for name in COLUMNS},
            **OTHERS,
        }
        assert list(parsed(**dict.fromkeys(OTHERS, ""))) == list(COLUMNS)

    def test_columns_may_be_few_and_in_any_order(self) -> None:
        event = parse(["view", "e1", "2019-10-01T00:00:00Z"], ["event_type", "event_id", "event_time"])
        nulls = dict.fromkeys(COLUMNS) | {"event_type": "view"}
        assert event == nulls | {"event_time": "2019-10-01T00:00:00.000Z", "event_id": "e1"}

    @pytest.mark.parametrize("text", ["search", "View", " view", "refund", "x" * 128])
    def test_every_word_is_an_event_type(self, text: str) -> None:
        assert parsed(event_type=text)["event_type"] == text

    @pytest.mark.parametrize(
        ("text", "time"),
        [
            ("2019-10-01 00:00:00 UTC", "2019-10-01T00:00:00.000Z"),
            ("2019-10-01T00:00:00Z", "2019-10-01T00:00:00.000Z"),
            ("2019-10-01 00:00:00.5 UTC", "2019-10-01T00:00:00.500Z"),
            ("2019-10-01T00:00:00.059Z", "2019-10-01T00:00:00.059Z"),
            ("2019-10-01T00:00:00.123999999Z", "2019-10-01T00:00:00.123Z"),
            ("2019-10-01T02:00:00+02:00", "2019-10-01T00:00:00.000Z"),
            ("2019-10-01 05:30:00.25+0530", "2019-10-01T00:00:00.250Z"),
            ("2019-09-30T21:00:00-03", "2019-10-01T00:00:00.000Z"),
            ("2019-09-30T20:30:00-03:30", "2019-10-01T00:00:00.000Z"),
            ("2020-02-29T23:59:59-00:00", "2020-02-29T23:59:59.000Z"),
            ("1970-01-01T01:00:00+01:00", "1970-01-01T00:00:00.000Z"),
            ("2999-12-31T23:59:59.999Z", "2999-12-31T23:59:59.999Z"),
        ],
    )
    def test_times_become_utc_milliseconds(self, text: str, time: str) -> None:
        event = parsed(event_time=text, txn_timestamp=text)
        assert (event["event_time"], event["txn_timestamp"]) == (time, time)
        assert wire_time(ms_of(text)) == time
        assert ms_of(time) // 1000 == second_of(time)

    @pytest.mark.parametrize(
        ("text", "price"),
        [("0", "0.00"), ("35.7", "35.70"), ("35", "35.00"), ("35.785", "35.79"), ("9999999999.99", "9999999999.99")],
    )
    def test_price_gets_two_decimals(self, text: str, price: str) -> None:
        assert str(parsed(price=text)["price"]) == price

    @pytest.mark.parametrize(
        "text", ["9223372036854775808", "-1", "0", "000042", "1.0", " 1", "SKU-1/ä b#7:2", "kim@example.com", "é" * 128]
    )
    @pytest.mark.parametrize("name", IDS)
    def test_ids_stay_as_they_are(self, name: str, text: str) -> None:
        assert parsed(**{name: text})[name] == text

    @pytest.mark.parametrize(
        ("name", "text", "reason"),
        [
            *(
                ("event_time", text, BAD_TIME)
                for text in (
                    "2019-10-01 00:00:00",
                    "2019-10-01T00:00:00.000",
                    "2019-10-01T00:00Z",
                    "2019-10-01 00:00:00 CET",
                    "2019-10-01T00:00:00.Z",
                    "2019-10-01T00:00:00.1234567890Z",
                    "2019-10-01T00:00:00z",
                    "2019-10-01T00:00:00+19:00",
                    "2019-10-01T00:00:00+2:00",
                    "2019-10-01T00:00:00+02:60",
                    "2019-10-01T00:00:00 +02:00",
                    "1970-01-01T00:59:59+01:00",
                    "2999-12-31T23:00:00-01:00",
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
                ("price", text, "is no decimal number from 0 to 9999999999.99")
                for text in ("-0.01", "1,5", "1e3", "Infinity", ".5", "5.", "9999999999.995", "1" * 11)
            ),
            *(
                ("quantity", text, "is no whole number from 1 to 9223372036854775807")
                for text in ("0", "-1", "1.0", "+1", " 1", "x", "9223372036854775808", "1" * 30)
            ),
            *(
                (name, text, "holds a control character")
                for name in ("event_type", *IDS, *TEXTS)
                for text in ("a\x1fb", "a\nb", "a\tb", "\x00", "\x7f")
            ),
        ],
    )
    def test_bad_column_is_named_with_its_value(self, name: str, text: str, reason: str) -> None:
        with pytest.raises(MalformedRow, match=f"^{name} {re.escape(repr(text))} {re.escape(reason)}$"):
            parsed(**{name: text})

    @pytest.mark.parametrize("name", ["event_time", "event_type"])
    def test_what_is_required_is_not_empty(self, name: str) -> None:
        with pytest.raises(MalformedRow, match=f"^{name} is empty$"):
            parsed(**{name: ""})

    @pytest.mark.parametrize("name", ["event_type", *IDS])
    def test_too_long_an_id_is_named_with_its_length(self, name: str) -> None:
        with pytest.raises(MalformedRow, match=f"^{name} has 129 characters, allowed are 128$"):
            parsed(**{name: "é" * 129})

    @pytest.mark.parametrize("name", TEXTS)
    def test_other_texts_have_no_limit(self, name: str) -> None:
        assert parsed(**{name: "x" * 5_000})[name] == "x" * 5_000

    @pytest.mark.parametrize("columns", [0, 1, 8, 10])
    def test_wrong_number_of_columns(self, columns: int) -> None:
        with pytest.raises(MalformedRow, match=f"^{columns} columns, expected 9$"):
            parse([*ROW.values(), "x"][:columns])


class TestEncode:
    def test_is_compact_json_in_the_contracts_order(self) -> None:
        assert encode(EVENT) == (
            b'{"event_time":"2019-10-01T00:00:00.000Z","event_type":"view","product_id":"44600062",'
            b'"category_id":"2103807459595387724","category_code":null,"brand":"shiseido","price":35.79,'
            b'"user_id":"541312140","user_session":"72d76fde-8bb3-4e00-8c23-a032dfed738c",'
            b'"txn_timestamp":"2019-10-01T00:00:00.000Z"}'
        )

    @pytest.mark.parametrize(
        ("price", "text"), [("0.00", "0.00"), ("35.70", "35.70"), ("9999999999.99", "9999999999.99")]
    )
    def test_price_always_has_two_decimals(self, price: str, text: str) -> None:
        assert f'"price":{text},'.encode() in encode(EVENT | {"price": Decimal(price)})

    def test_the_first_nine_are_always_there_and_the_others_where_given(self) -> None:
        bare = dict.fromkeys(COLUMNS) | {"event_time": EVENT["event_time"], "event_type": "view"}
        assert encode(bare) == (
            b'{"event_time":"2019-10-01T00:00:00.000Z","event_type":"view","product_id":null,"category_id":null,'
            b'"category_code":null,"brand":null,"price":null,"user_id":null,"user_session":null}'
        )
        whole = json.loads(encode(EVENT | OTHERS), parse_float=Decimal)
        assert (list(whole), whole) == (list(FIELDS), EVENT | OTHERS)
        assert encode_head(bare | {"quantity": 3}).endswith('"user_session":null,"quantity":3,"txn_timestamp":"')

    @pytest.mark.parametrize("text", ['7" pan', "back\\slash", "кофе ☕ 😀", "}{", "null", "\u2028", "'"])
    def test_any_text_survives(self, text: str) -> None:
        event = EVENT | dict.fromkeys((*IDS, *TEXTS), text)
        assert json.loads(encode(event), parse_float=Decimal) == event

    def test_letters_outside_ascii_are_utf8(self) -> None:
        assert "кофе".encode() in encode(EVENT | {"brand": "кофе"})


class TestEventKey:
    def test_is_the_hash_of_the_values_that_there_are(self) -> None:
        values = [
            "event_time=2019-10-01T00:00:00.000Z",
            "event_type=view",
            "product_id=44600062",
            "category_id=2103807459595387724",
            "brand=shiseido",
            "price=35.79",
            "user_id=541312140",
            "user_session=72d76fde-8bb3-4e00-8c23-a032dfed738c",
            "txn_timestamp=2019-10-01T00:00:00.000Z",
        ]
        assert event_key(EVENT) == sha256("\x1f".join(values).encode()).hexdigest()

    def test_is_the_producers_own_id_where_there_is_one(self) -> None:
        assert event_key(EVENT | {"event_id": "evt-1"}) == "evt-1"
        assert event_key(EVENT | {"event_id": 7, "price": None}) == "7"

    @pytest.mark.parametrize(
        "price", ["0.00", "0.10", "35.79", "35.70", "1.15", "2.675", "1234567.89", "9999999999.99", "9999999999.90"]
    )
    def test_is_the_same_of_the_record_read_back(self, price: str) -> None:
        event = EVENT | {"price": Decimal(price), "brand": "кофе", "quantity": 2**63 - 1}
        assert event_key(json.loads(encode(event))) == event_key(event)

    @pytest.mark.parametrize(
        ("price", "same_as"), [(35, "35.00"), (35.7, "35.70"), (-0.0, "0.00"), (Decimal("0E+3"), "0.00")]
    )
    def test_depends_on_the_price_not_on_how_it_is_written(self, price: object, same_as: str) -> None:
        assert event_key(EVENT | {"price": price}) == event_key(EVENT | {"price": Decimal(same_as)})

    @pytest.mark.parametrize("text", ["2019-10-01 00:00:00 UTC", "2019-10-01T02:00:00.0001+02:00"])
    def test_depends_on_the_time_not_on_how_it_is_written(self, text: str) -> None:
        assert event_key(EVENT | {"event_time": text, "txn_timestamp": text}) == event_key(EVENT)

    @pytest.mark.parametrize("nothing", [{}, {"brand": None}, {"brand": ""}])
    def test_absent_or_empty_field_counts_as_null(self, nothing: Event) -> None:
        absent = {name: value for name, value in EVENT.items() if name != "brand"}
        assert event_key(absent | nothing) == event_key(absent)
        assert event_key(absent) != event_key(EVENT)

    def test_an_integer_is_its_digits(self) -> None:
        assert event_key(EVENT | {"user_id": 541312140}) == event_key(EVENT)
        assert event_key(EVENT | {"user_id": "0541312140"}) != event_key(EVENT)

    @pytest.mark.parametrize("name", [name for name in FIELDS if name != "event_id"])
    def test_differs_when_any_field_does(self, name: str) -> None:
        other = {"price": Decimal("35.78")} | dict.fromkeys(("event_time", "txn_timestamp"), "2019-10-01T00:00:00.001Z")
        assert event_key(EVENT | {name: other.get(name, "8")}) != event_key(EVENT)

    def test_values_do_not_run_into_each_other(self) -> None:
        ab, a = ({"category_code": "a", "brand": "b"}, {"category_code": "ab", "brand": None})
        assert event_key(EVENT | ab) != event_key(EVENT | a)

    @pytest.mark.parametrize(
        "change",
        [
            *({"txn_timestamp": "12:00"}, {"event_time": 5}, {"event_time": None}, {"event_type": ""}),
            *({"price": "x"}, {"price": []}, {"event_time": "2019-10-01 00:00:00"}),
        ],
    )
    def test_of_what_is_no_event_raises(self, change: Event) -> None:
        with pytest.raises(ValueError, match="is no event"):
            event_key(EVENT | change)

    def test_of_what_is_no_object_raises(self) -> None:
        with pytest.raises(ValueError, match="is no event"):
            event_key([])  # type: ignore[arg-type]


class TestOrderingKey:
    def test_is_the_user_else_the_session_else_the_product(self) -> None:
        assert ordering_key(EVENT) == "541312140"
        assert ordering_key(EVENT | {"user_id": None}) == EVENT["user_session"]
        assert ordering_key(EVENT | {"user_id": None, "user_session": None}) == "44600062"

    def test_is_spread_by_content_where_there_is_nothing_else(self) -> None:
        bare = dict.fromkeys(COLUMNS) | {"event_type": "search"}
        keys = {ordering_key(bare | {"event_time": wire_time(ms)}) for ms in range(1_000)}
        assert len(keys) == 1_000
        one = bare | {"event_time": wire_time(7)}
        assert ordering_key(one) == spread_key(encode_head(one))


def test_the_pipelines_time_is_the_events_own_unless_it_is_given() -> None:
    assert at_ms(EVENT | {"txn_timestamp": "2019-10-01T00:00:01.250Z"}) == at_ms(EVENT) + 1_250
    assert at_ms(parsed()) == at_ms(EVENT) == second_of(EVENT["event_time"]) * 1000


def test_times_are_utc_whatever_the_machine_says(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        # The hour that New York skips.
        assert second_of("2019-03-10 02:30:00 UTC") == 1552185000
        assert event_time_at(1552185000) == "2019-03-10 02:30:00 UTC"
        block = pl.DataFrame([(1552185000123, "1", "1", '"')], schema=BLOCK, orient="row")
        assert wire_data(block["head"], block["ms"] + 7).to_list() == ['"2019-03-10T02:30:00.130Z"}']
    finally:
        monkeypatch.undo()
        time.tzset()
