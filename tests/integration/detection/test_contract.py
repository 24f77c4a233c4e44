"""The event contract in the detector (shopstream.Contract): what it makes of each record, and how long that takes."""

import json
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import NOBODY
from expensive import EXPENSIVE, LIMIT_S, MEGABYTE, event, with_raw

GOLDEN = Path(__file__).parents[3] / "contracts" / "golden"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ARRIVED = datetime(2030, 1, 1, tzinfo=UTC)
KINDS = {"view": 1, "cart": 2, "remove_from_cart": 3, "purchase": 4}


class Event(NamedTuple):
    at: int
    kind: int
    actor: str | None
    product: str | None
    session: int
    thing: int
    key: int


class Batch(NamedTuple):
    """What a record holds."""

    events: list[Event]
    unjudged: list[str]


Read = Callable[..., Batch]


def ms(at: datetime) -> int:
    return (at - EPOCH) // timedelta(milliseconds=1)


@pytest.fixture(scope="module")
def read(jvm: Any) -> Read:
    """Return a function that reads a record: `read(bytes or dict, arrived=…, max_ahead_s=…)`."""
    from py4j.java_gateway import get_field

    def run(record: bytes | str | dict, arrived: datetime = ARRIVED, max_ahead_s: int = 60) -> Batch:
        line = json.dumps(record) if isinstance(record, dict) else record
        contract = jvm.shopstream.Contract(set(NOBODY), set(), max_ahead_s * 1000)
        batch = contract.read(line.encode() if isinstance(line, str) else line, ms(arrived))
        events = [Event(*(get_field(one, name) for name in Event._fields)) for one in get_field(batch, "events")]
        return Batch(events, [key.split()[0] for key in get_field(batch, "unjudged")])

    return run


def golden(name: str) -> Iterator[Any]:
    for number, line in enumerate((GOLDEN / name).read_text(encoding="utf-8").splitlines()):
        one = json.loads(line)
        yield pytest.param(one, id=one.get("name") or f"{number} {one['reason']}")


@pytest.mark.parametrize("good", golden("event_good.jsonl"))
def test_a_good_record_is_an_event(read: Read, good: dict) -> None:
    fields = json.loads(good["record"])
    batch = read(good["record"])
    kind = KINDS.get(fields["event_type"].strip().lower())
    if kind is None:
        assert batch == ([], ["other_type"])
        return
    [one] = batch.events
    at = datetime.fromisoformat(fields.get("txn_timestamp") or fields["event_time"])
    assert (one.at, one.kind, one.product) == (ms(at), kind, fields["product_id"])
    user, session = fields["user_id"], fields["user_session"]
    assert one.actor == (f"user#{user}" if user else f"session#{session}" if session else None)
    assert batch.unjudged == []
    assert read(good["record"]) == batch


def test_good_records_differ(read: Read) -> None:
    lines = [json.loads(line)["record"] for line in (GOLDEN / "event_good.jsonl").read_text().splitlines()]
    keys = [one.key for line in lines for one in read(line).events]
    assert len(set(keys)) == len(keys) >= 20


@pytest.mark.parametrize("bad", golden("event_bad.jsonl"))
def test_a_bad_record_is_its_reason(read: Read, bad: dict) -> None:
    assert read(bad["record"]) == ([], [bad["reason"]])


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"event_type": None, "event_time": 7}, "wrong_type:event_time"),
        ({"event_type": None, "event_time": None}, "missing:event_time"),
        ({"price": -1, "event_type": ""}, "missing:event_type"),
        ({"txn_timestamp": "soon", "quantity": 0}, "bad_quantity"),
        ({"user_id": "x" * 128 + "\n"}, "too_long:user_id"),
        ({"user_session": True, "order_id": []}, "wrong_type:user_session"),
        ({"price": -1, "user_id": "\x7f"}, "negative_price"),
        ({"event_id": "\ud800", "price": -1}, "not_utf8"),
        ({"page_url": "\udc00\ud800"}, "not_utf8"),
        ({"other": {"a": "\\\udfff"}}, "not_utf8"),
        ({"referrer": "a\tb", "txn_timestamp": 7}, "control_character:referrer"),
        ({"event_time": "1960-01-01T00:00:00Z", "user_id": 1.5}, "wrong_type:user_id"),
        ({"event_type": "search", "price": "1"}, "wrong_type:price"),
        ({"event_type": "search", "event_time": "1960-01-01T00:00:00Z"}, "undated"),
    ],
)
def test_the_first_reason_in_the_order_of_the_contract(read: Read, fields: dict, reason: str) -> None:
    assert read(event(**fields)) == ([], [reason])


@pytest.mark.parametrize(
    "record",
    [
        *("null", "7", '"text"', "[]", "[{}]", "{", "}", "{}}", "{} {}", "{},", "\ufeff{}"),
        *('{"event_time"}', "{'event_time': 1}", '{"a": 01}', '{"a": +1}', '{"a": .5}', '{"a": 1.}', '{"a": NaN}'),
        *('{"a": 1,}', '{"a": "\t"}', '{"a": "\\x"}', '{"a": "\\u12"}', '{"a": tru}', '{"a" 1}', "// \n", '{"a": [}'),
        *('{"a": 1} x', '{"a": -}', '{"a": 1e}', '{"a": Infinity}', '{"a": "', '{"a": {"b": 1}', "{/* */}"),
    ],
)
def test_what_is_no_json_object(read: Read, record: str) -> None:
    assert read(record) == ([], ["not_json"])


@pytest.mark.parametrize(
    "record", [b"\xff", b'{"a": "\xc3"}', b'{"a": "\xed\xa0\x80"}', b'{"a": "\xc0\xaf"}', b"\xfe\xff"]
)
def test_what_is_no_utf8(read: Read, record: bytes) -> None:
    assert read(record) == ([], ["not_utf8"])


def test_escaped_pairs_are_characters(read: Read) -> None:
    record = with_raw("user_id", r'"\\ud83d\ud83d\ude00"')
    assert read(record).events[0].actor == "user#\\ud83d😀"


def test_the_replacement_character_is_a_character(read: Read) -> None:
    assert read(event(user_id="\ufffd")).events[0].actor == "user#\ufffd"


def test_names_and_texts_may_be_escaped(read: Read) -> None:
    record = json.dumps(event()).replace("user_id", "\\u0075ser_id").replace('"7"', '"\\u0037"')
    assert read(record).events[0].actor == "user#7"
    assert read(record[:-1] + ', "user_id": "8"}').unjudged == ["repeated:user_id"]


def test_unknown_fields_change_nothing_else(read: Read) -> None:
    own = read(event()).events[0]
    more = read(event(received_at=7, other={"user_id": [1, {"price": -1}]}, more=None)).events[0]
    assert more._replace(key=0) == own._replace(key=0)


@pytest.mark.parametrize(
    ("value", "actor"),
    [
        *(('"7"', "user#7"), ("7", "user#7"), ("-7", "user#-7"), ("-0", "user#-0"), ("0", "session#s")),
        *(('"000042"', "user#000042"), ('"guest"', "session#s"), ('"Guest"', "user#Guest"), ('"-1"', "session#s")),
        *(("null", "session#s"), ('""', "session#s"), ('" "', "user# "), ("9" * 128, "user#" + "9" * 128)),
        (json.dumps("😀" * 128), "user#" + "😀" * 128),
    ],
)
def test_who_acts(read: Read, value: str, actor: str) -> None:
    [one] = read(with_raw("user_id", value)).events
    assert one.actor == actor


@pytest.mark.parametrize("value", ['"0"', "null", '""', "-1"])
def test_nobody_without_a_session(read: Read, value: str) -> None:
    record = with_raw("user_id", value).replace('"s"', '""')
    batch = read(record)
    assert [one.actor for one in batch.events] == [None] and batch.unjudged == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        *(("1.0", "wrong_type"), ("1e3", "wrong_type"), ("true", "wrong_type"), ("[1]", "wrong_type")),
        *(('{"id": {"id": 1}}', "wrong_type"), ("9" * 129, "too_long"), ("-" + "9" * 128, "too_long")),
        *((json.dumps("😀" * 129), "too_long"), ('"a\\u0000"', "control_character"), ('"a\x7f"', "control_character")),
    ],
)
@pytest.mark.parametrize("name", ["product_id", "user_id", "event_id"])
def test_what_is_no_id(read: Read, name: str, value: str, reason: str) -> None:
    assert read(with_raw(name, value)) == ([], [f"{reason}:{name}"])


@pytest.mark.parametrize(
    ("type_", "kind"), [("view", 1), (" CART ", 2), ("Remove_From_Cart", 3), ("purchase\u2003", None), ("VİEW", None)]
)
def test_types_are_trimmed_and_in_lower_case(read: Read, type_: str, kind: int | None) -> None:
    batch = read(event(event_type=type_))
    assert batch.unjudged == ([] if kind else ["other_type"])
    assert [one.kind for one in batch.events] == [kind] * bool(kind)


def test_events_are_the_same_by_their_id_or_their_bytes(read: Read) -> None:
    def key(**fields: Any) -> int:
        return read(event(**fields)).events[0].key

    assert key() == key() != key(brand="x")
    assert key(event_id="e") == key(event_id="e", brand="x") != key(event_id="f")
    assert key(event_id="") == key(event_id="") != key()


def test_things_are_products_or_else_pages(read: Read) -> None:
    def thing(**fields: Any) -> int:
        return read(event(**fields)).events[0].thing

    assert thing() == thing(page_url="p") != thing(product_id="2")
    assert thing(product_id=None, page_url="p") == thing(product_id="", page_url="p") != thing(product_id=None)


class TestTimes:
    """Against Python's datetime."""

    @staticmethod
    def drawn(draw: random.Random) -> tuple[str, datetime]:
        """Return a time as text, and what it means."""
        day = datetime(1970, 1, 3, tzinfo=UTC) + timedelta(
            days=draw.randrange(2_932_500), seconds=draw.randrange(86_400)
        )
        if draw.random() < 0.3:  # the ends of months and years
            day = day.replace(month=draw.choice([1, 2, 3, 12]), day=draw.choice([1, 28]))
            day += timedelta(days=draw.randrange(4)) if day.year < 9999 else timedelta()
        fraction = "".join(draw.choice("0123456789") for _ in range(draw.randrange(10)))
        offset = timedelta(minutes=draw.choice([0, draw.randrange(-18 * 60, 18 * 60 + 1)]))
        hours, minutes = divmod(abs(offset) // timedelta(minutes=1), 60)
        sign = "-" if offset < timedelta() else "+"
        ends = [f"{sign}{hours:02}:{minutes:02}", f"{sign}{hours:02}{minutes:02}"]
        ends += [f"{sign}{hours:02}"] * (minutes == 0) + ["Z", " UTC"] * (offset == timedelta())
        text = day.strftime("%Y-%m-%d") + draw.choice("T ") + day.strftime("%H:%M:%S")
        text += f".{fraction}" * bool(fraction) + draw.choice(ends)
        at = day.replace(tzinfo=timezone(offset)) + timedelta(milliseconds=int(f"{fraction}000"[:3]))
        return text, at

    def test_times_mean_the_same_as_in_python(self, read: Read) -> None:
        draw = random.Random(1)
        times = [self.drawn(draw) for _ in range(1_000)]
        record = "\n".join(json.dumps(event(event_time=text)) for text, _ in times)
        batch = read(record, arrived=datetime(9999, 12, 31, tzinfo=UTC), max_ahead_s=10**9)
        assert batch.unjudged == []
        assert [one.at for one in batch.events] == [ms(at) for _, at in times]

    @pytest.mark.parametrize(
        "text",
        [
            *("2019-10-01", "2019-10-01T00:00:00", "2019-10-01T00:00:00.000", "2019-10-01T00:00Z", "20191001T000000Z"),
            *("2019-10-01t00:00:00Z", "2019-10-01T00:00:00z", "2019-10-01  00:00:00Z", " 2019-10-01T00:00:00Z"),
            *("2019-10-01T00:00:00Z ", "2019-10-01T00:00:00 Z", "2019-10-01T00:00:00  UTC", "2019-10-01T00:00:00 utc"),
            *(
                "2019-10-01T00:00:00UTC",
                "2019-10-01T00:00:00.Z",
                "2019-10-01T00:00:00,5Z",
                "2019-10-01T00:00:00.0123456789Z",
            ),
            *(
                "2019-10-01T00:00:00+1",
                "2019-10-01T00:00:00+1:00",
                "2019-10-01T00:00:00+01:0",
                "2019-10-01T00:00:00+01:60",
            ),
            *("2019-10-01T00:00:00+18:01", "2019-10-01T00:00:00+19", "2019-10-01T00:00:00+", "2019-10-01T00:00:00+0a"),
            *("2019-10-01T00:00:00+01:00:00", "2019-10-01T24:00:00Z", "2019-10-01T00:60:00Z", "2019-10-01T00:00:60Z"),
            *("2019-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2019-04-31T00:00:00Z", "2019-00-01T00:00:00Z"),
            *("2019-13-01T00:00:00Z", "2019-10-00T00:00:00Z", "2019-10-32T00:00:00Z", "02019-10-01T00:00:00Z"),
            *("+2019-10-01T00:00:00Z", "-2019-10-01T00:00:00Z", "2019-W40-2T00:00:00Z", "\uff12019-10-01T00:00:00Z"),
            *(
                "2019-10-01T0a:00:00Z",
                "2019-10-01T-1:00:00Z",
                "soon",
                "Z",
                "T",
                "1569888000",
                " ",
                "2019-10-01T00:00:00.-5Z",
                "0000-12-31T00:00:00Z",
                "0001-01-01T00:00:00+00:01",
                "9999-12-31T23:59:59-00:01",
            ),
        ],
    )
    def test_what_is_no_time(self, read: Read, text: str) -> None:
        assert read(event(event_time=text)) == ([], ["bad_time:event_time"])
        assert read(event(txn_timestamp=text)) == ([], ["bad_time:txn_timestamp"])

    @pytest.mark.parametrize("text", ["2000-02-29T00:00:00Z", "2020-02-29T23:59:59.999999999Z"])
    def test_leap_days_exist(self, read: Read, text: str) -> None:
        assert len(read(event(event_time=text)).events) == 1

    @pytest.mark.parametrize(
        ("after", "before", "reason"),
        [(60_001, 0, "ahead"), (60_000, 0, None), (None, 0, "undated"), (None, -1, "undated"), (None, 1, None)],
    )
    @pytest.mark.parametrize("name", ["event_time", "txn_timestamp"])
    def test_times_are_plausible(
        self, read: Read, name: str, after: int | None, before: int, reason: str | None
    ) -> None:
        at = EPOCH + timedelta(milliseconds=before) if after is None else ARRIVED + timedelta(milliseconds=after)
        batch = read(event(**{name: at.isoformat(timespec="milliseconds")}))
        assert batch.unjudged == ([reason] if reason else [])
        assert len(batch.events) == (reason is None)

    def test_the_pipelines_time_wins(self, read: Read) -> None:
        batch = read(event(event_time="1950-01-01T00:00:00Z", txn_timestamp="2019-10-01 02:00:00.059+0200"))
        assert [one.at for one in batch.events] == [ms(datetime(2019, 10, 1, 0, 0, 0, 59_000, tzinfo=UTC))]

    @pytest.mark.parametrize("year", ["0001", "1582", "1900", "1969"])
    def test_any_year_is_a_time(self, read: Read, year: str) -> None:
        assert read(event(event_time=f"{year}-01-01T00:00:00Z")) == ([], ["undated"])


class TestNumbers:
    """Prices and quantities."""

    @pytest.mark.parametrize(
        "value",
        [
            *("0", "0.0", "-0", "-0.00", "35.79", "35.7949999", "1e3", "1E+3", "12.5e-1", "9999999999.99", "0e0"),
            *("9999999999.994", "9.99999999999e9", "0." + "0" * 38, "1e-999", "null"),
        ],
    )
    def test_prices(self, read: Read, value: str) -> None:
        assert len(read(with_raw("price", value)).events) == 1

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            *(("-0.01", "negative_price"), ("-1e9", "negative_price"), ("-35.79", "negative_price")),
            *((value, "wrong_type:price") for value in ("10000000000", "9999999999.995", "1e10", "1e30", "1e400")),
            *((value, "wrong_type:price") for value in ('"1"', "true", "[1]", "{}", "-10000000000", '"abc"', "1e999")),
            *((value, "wrong_type:price") for value in ("1e-1000", "0e1000", "1e+0001", "0." + "0" * 39)),
        ],
    )
    def test_what_is_no_price(self, read: Read, value: str, reason: str) -> None:
        assert read(with_raw("price", value)) == ([], [reason])

    @pytest.mark.parametrize("value", ["1", "9223372036854775807", "null"])
    def test_quantities(self, read: Read, value: str) -> None:
        assert len(read(with_raw("quantity", value)).events) == 1

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            *(("0", "bad_quantity"), ("-1", "bad_quantity"), ("-9223372036854775808", "bad_quantity")),
            *((value, "wrong_type:quantity") for value in ("9223372036854775808", "1.0", "1e3", '"1"', "true", "[]")),
        ],
    )
    def test_what_is_no_quantity(self, read: Read, value: str, reason: str) -> None:
        assert read(with_raw("quantity", value)) == ([], [reason])


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.17", "192.0.2.17"),
        ("2001:DB8:0:a:1::7", "2001:db8:0:a::/64"),
        # Of a name Java would ask a name server, for each event.
        *(
            (text, None)
            for text in ("shop.example", "shop.example:443", "xyz:80", "g::1", "[::1]", "fe80::1%eth0", "é::1")
        ),
    ],
)
def test_addresses(jvm: Any, text: str, address: str | None) -> None:
    from py4j.java_gateway import get_field

    contract = jvm.shopstream.Contract(set(NOBODY), set(), 60_000)
    (found,) = get_field(contract.read(json.dumps(event(client_ip=text)).encode(), ms(ARRIVED)), "events")
    assert get_field(found, "address") == address


class TestLines:
    """A record of several lines, as Firehose and aggregating producers write them."""

    GOOD = json.dumps(event())

    @pytest.mark.parametrize(
        "around", ["{}", "{}\n", "\n{}", "{}\r\n", "\n\n {} \n\t\n", "  {}  "], ids=lambda one: json.dumps(one)
    )
    def test_blanks_are_nothing(self, read: Read, around: str) -> None:
        batch = read(around.replace("{}", self.GOOD))
        assert (len(batch.events), batch.unjudged) == (1, [])
        assert read(around.replace("{}", "")) == ([], [])

    def test_each_line_is_an_event_or_a_reason(self, read: Read) -> None:
        lines = [json.dumps(event(user_id=str(number))) for number in range(3, 6)]
        bad = ["oops", json.dumps(event(price=-1)), json.dumps(event(event_type="search"))]
        record = "\n".join([lines[0], bad[0], lines[1], "", bad[1], lines[2], bad[2]]).encode()
        batch = read(record + b"\n\xff\n")
        assert [one.actor for one in batch.events] == ["user#3", "user#4", "user#5"]
        assert batch.unjudged == ["not_json", "negative_price", "other_type", "not_utf8"]

    def test_nothing_of_a_line_is_left_for_the_next(self, read: Read) -> None:
        [one] = read(json.dumps(event(txn_timestamp="2020-01-01T00:00:00Z", page_url="p")) + "\n" + self.GOOD).events[
            1:
        ]
        assert one == read(self.GOOD).events[0]
        only = json.dumps({"event_time": "2019-10-01T00:00:00Z"})
        assert read(f"{self.GOOD}\n{only}").unjudged == ["missing:event_type"]

    def test_the_same_line_is_the_same_event(self, read: Read) -> None:
        assert len(set(read(f"{self.GOOD}\n{self.GOOD}\n").events)) == 1

    def test_many_lines(self, read: Read) -> None:
        batch = read("\n".join([self.GOOD] * 500))
        assert len(batch.events) == 500


RECORDS = {name: line for name, (line, _) in EXPENSIVE.items()} | {
    "many lines": "\n".join(["{"] * 30_000),
    "many blank lines": "\n" * MEGABYTE,
}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_no_record_is_expensive(jvm: Any, read: Read, record: str | bytes) -> None:
    from py4j.java_gateway import get_field

    contract = jvm.shopstream.Contract(set(NOBODY), set(), 60_000)
    raw = record.encode() if isinstance(record, str) else record
    took_s = []
    for _ in range(3):  # the machine may be busy
        began = time.monotonic()
        batch = contract.read(raw, ms(ARRIVED))
        took_s.append(time.monotonic() - began)
    assert min(took_s) < LIMIT_S
    assert get_field(batch, "events").size() + get_field(batch, "unjudged").size() >= bool(raw.strip())
    if raw.count(b"\n") < 2:
        assert get_field(batch, "unjudged").size() <= 1
    good = read(event())  # nothing is broken afterwards
    assert (len(good.events), good.unjudged) == (1, [])


@pytest.mark.parametrize(("line", "reason"), EXPENSIVE.values(), ids=EXPENSIVE)
def test_expensive_lines_have_their_outcome(read: Read, line: str | bytes, reason: str | None) -> None:
    events, unjudged = read(line)
    assert (len(events), unjudged) == ((0, [reason]) if reason else (1, []))


def test_random_bytes_harm_nothing(jvm: Any) -> None:
    from py4j.java_gateway import get_field

    draw = random.Random(1)
    good = json.dumps(event(price=1.5, quantity=2, page_url="p\u00e4", txn_timestamp="2019-10-01T00:00:01.5Z")).encode()
    lines = []
    for _ in range(5_000):
        line = bytearray(good)
        for _ in range(draw.randrange(1, 4)):
            place = draw.randrange(len(line))
            match draw.randrange(3):
                case 0:
                    line[place] = draw.choice(b'{}[]",:0-e.\\ \xff\x00' + bytes([draw.randrange(256)]))
                case 1:
                    del line[place : place + draw.randrange(1, 9)]
                case _:
                    line[place:place] = line[draw.randrange(len(line)) :][: draw.randrange(9)]
        lines.append(bytes(line).replace(b"\n", b""))
    contract = jvm.shopstream.Contract(set(NOBODY), set(), 60_000)
    batch = contract.read(b"\n".join(lines), ms(ARRIVED))
    events, left_out = get_field(batch, "events").size(), get_field(batch, "unjudged").size()
    assert events + left_out == len(lines) and events > 100 and left_out > 1_000
