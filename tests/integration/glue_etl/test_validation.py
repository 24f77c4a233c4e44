"""Every line is validated as the contract says, even where Spark's JSON parser accepts more."""

import json
import random
import re
import time
from datetime import datetime
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from unicodedata import combining, normalize

import pytest
import reference
from expensive import EXPENSIVE, LIMIT_S
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from glue_etl.curate_events import CURATED_EVENTS, RAW_LINES, SPECIAL, Settings, read_line, validate

WIRE = (
    b'{"event_time":"2019-10-01T00:00:00.000Z","event_type":"view","product_id":"44600062",'
    b'"category_id":"2103807459595387724","category_code":null,"brand":"shiseido","price":35.79,"user_id":"541312140",'
    b'"user_session":"72d76fde-8bb3-4e00-8c23-a032dfed738c","txn_timestamp":"2019-10-01T00:00:00.000Z"}'
)
ARRIVED_AT = datetime(2026, 11, 23, 10, 0, 0, 500000)
SETTINGS = Settings(nobody_ids=("0", "guest", "it's, \\ \"é"), max_ahead_s=60)


def wire(**values: object) -> bytes:
    """Return the record with some values replaced. Bytes are inserted as they are: they must be JSON."""
    fields = {name: json.dumps(value).encode() for name, value in json.loads(WIRE).items()}
    fields |= {k: v if isinstance(v, bytes) else json.dumps(v, ensure_ascii=False).encode() for k, v in values.items()}
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), value) for name, value in fields.items()) + b"}"


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in json.loads(WIRE).items() if key != name}).encode()


GOOD = {
    "as our producers write it": WIRE,
    "spaces": WIRE.replace(b",", b" ,\t").replace(b'":', b'" : '),
    "carriage return at the end": WIRE + b"\r",
    "spaces around": b"  " + WIRE + b"\t ",
    "other order": json.dumps(dict(reversed(json.loads(WIRE).items()))).encode(),
    "unknown field": WIRE[:-1] + b',"campaign":"autumn"}',
    "unknown field of the same name inside another": WIRE[:-1] + b',"old":{"brand":5}}',
    "unknown field twice": WIRE[:-1] + b',"a":1,"a":2}',
    "escapes": wire(brand=rb'"a\"b\\c\/d\u00e9\ud83d\ude00{}[]"'),
    "escaped name": WIRE.replace(b'"brand"', rb'"br\u0061nd"'),
    "not ASCII": wire(brand="кофе ☕ 😀"),
    "braces in a string": wire(brand="}{", user_session="]["),
    "a string that looks like a number": wire(brand="12", category_code="1.5", user_session="true"),
    "a string that looks like JSON": wire(brand="[1]", category_code="{}", user_session="null"),
    "ids as numbers": wire(user_id=9223372036854775807, product_id=-42, category_id=0, user_session=7),
    "an id of more digits than 64 bits have": wire(user_id=b"92233720368547758089"),
    "an id of 128 digits": wire(user_id=b"9" * 128),
    "ids with and without zeros": wire(user_id="000042", product_id="42"),
    "ids of 128 characters": wire(user_id="é" * 128, product_id="😀" * 128, event_type="x" * 128),
    "nobody": wire(user_id="guest"),
    "nobody as a number": wire(user_id=0),
    "nobody with quotes": wire(user_id="it's, \\ \"é"),
    "nearly nobody": wire(user_id="Guest", user_session="0"),
    "free": wire(price=b"0.00"),
    "price without decimals": wire(price=b"35"),
    "price with one decimal": wire(price=b"35.7"),
    "price with an exponent": wire(price=b"3.579e1"),
    "price with three decimals": wire(price=b"35.785"),
    "price of 40 characters": wire(price=b"0." + b"0" * 38),
    "price with a small exponent": wire(price=b"1e-999"),
    "in 99 lists": WIRE[:-1] + b',"x":' + b"[" * 99 + b"]" * 99 + b"}",
    "brackets in a string": WIRE[:-1] + b',"x":"' + b"[" * 200 + b'\\""}',
    "numbers as they are written": WIRE[:-1] + b',"n":1.50,"o":{"a":[1E3,-0.0]}}',
    "escaped pairs": wire(brand=rb'"\\ud83d\ud83d\ude00"'),
    "largest price": wire(price=b"9999999999.99"),
    "negative zero": wire(price=b"-0.00"),
    "empty strings are nulls": wire(
        brand="", category_code="", user_session="", user_id="", price="", txn_timestamp=""
    ),
    "all that may be null is": wire(
        **dict.fromkeys(["product_id", "category_id", "category_code", "brand", "price", "user_id", "user_session"])
    ),
    "only what must be given": b'{"event_time":"2019-10-01T00:00:00.000Z","event_type":"view"}',
    "a nullable field is absent": without("brand"),
    "in the hour that New York skipped": wire(
        event_time="2019-03-10T02:30:00.000Z", txn_timestamp="2019-03-10T02:30:00.123Z"
    ),
    "the data set's time": wire(event_time="2020-02-29 23:59:59 UTC"),
    "an offset": wire(event_time="2019-10-01T02:00:00+02:00", txn_timestamp="2019-09-30T20:15:00.120-0345"),
    "an offset of hours": wire(event_time="2019-10-01 02:00:00+02", txn_timestamp="2019-10-01 00:00:00Z"),
    "fractions": wire(event_time="2019-10-01T00:00:00.059999999Z", txn_timestamp="2019-10-01T00:00:00.1Z"),
    "a year that an offset ends": wire(event_time="2019-12-31T23:30:00-00:45"),
    "type in capitals": wire(event_type=" View "),
    "another type": wire(event_type="refund"),
    "all fields": WIRE[:-1].replace(
        b'"txn',
        b'"event_id":"e-1","order_id":"o-1","quantity":3,"currency":"EUR",'
        b'"client_ip":"192.0.2.17","user_agent":"Mozilla/5.0 (X11)","page_url":"/p?q=1","referrer":"https://x/","txn',
    )
    + b"}",
    "all fields in another form": WIRE[:-1] + b', "event_id": "e-2", "order_id": 12, "quantity": 3, "client_ip": "::1",'
    b'"user_agent":"a\\u00e9", "received_at": "2019-10-01T00:00:00.000Z"}',
    "other fields": WIRE[:-1] + b',"n":1,"t":"x","b":true,"o":{"a":[1,"x"]},"z":null,"e":"","s":" \\"q\\" \\u00e9"}',
    "other fields of the same name": WIRE[:-1] + b',"campaign":"autumn","campaign":"winter"}',
    "its own arrival": WIRE[:-1] + b',"received_at":"1990-01-01"}',
    "brand to be normalised": wire(brand="  L'Or\u00e9al \u00a0 \u2003Paris ", category_code="Apparel.Shoes"),
    "brand that is composed": wire(brand="L'Ore\u0301al  Paris"),
    "brand of a sign with another form": wire(brand="\u212b", category_code="\u1112\u1161\u11ab"),
    "brand of blanks": wire(brand="   ", category_code="\u2003"),
    "Greek": wire(brand="ΟΔΟΣ"),
    "Turkish": wire(brand="İstanbul"),
    "ahead by what is allowed": wire(txn_timestamp="2026-11-23T10:01:00.500Z"),
    "a shopper's clock is no matter": wire(event_time="2999-12-31T23:59:59.999Z"),
    "the first millisecond": wire(txn_timestamp="1970-01-01T00:00:00.001Z"),
}

BAD = {
    "spaces only": (b"   ", "not_json"),
    "prose": (b"hello", "not_json"),
    "cut off": (WIRE[:-1], "not_json"),
    "cut off in a string": (WIRE[:40], "not_json"),
    "array": (b"[" + WIRE + b"]", "not_json"),
    "empty array": (b"[]", "not_json"),
    "number": (b"5", "not_json"),
    "string": (b'"x"', "not_json"),
    "null": (b"null", "not_json"),
    "two records without a newline between": (WIRE + WIRE, "not_json"),
    "two records with a comma between": (WIRE + b"," + WIRE, "not_json"),
    "words after the record": (WIRE + b" x", "not_json"),
    "a brace after the record": (WIRE + b"}", "not_json"),
    "a bracket after the record": (WIRE + b"]", "not_json"),
    "a bracket and more after the record": (WIRE + b',"x"]' + WIRE, "not_json"),
    "trailing comma": (WIRE[:-1] + b",}", "not_json"),
    "single quotes": (WIRE.replace(b'"', b"'"), "not_json"),
    "comment": (WIRE[:-1] + b"/* x */}", "not_json"),
    "NaN": (wire(price=b"NaN"), "not_json"),
    "leading zero": (wire(user_id=b"007"), "not_json"),
    "NUL in a string": (wire(brand=b'"a\x00b"'), "not_json"),
    "tab in a string": (wire(brand=b'"a\tb"'), "not_json"),
    "byte order mark": (b"\xef\xbb\xbf" + WIRE, "not_json"),
    "Latin-1": (wire(brand=b'"caf\xe9"'), "not_utf8"),
    "no UTF-8 at all": (b"\xff\xfe\x00\x9f", "not_utf8"),
    "surrogates as UTF-8": (wire(brand=b'"\xed\xa0\x80"'), "not_utf8"),
    "no field": (b"{}", "missing:event_time"),
    "another object": (b'{"level":"info"}', "missing:event_time"),
    "absent": (without("event_type"), "missing:event_type"),
    "null time": (wire(event_time=None), "missing:event_time"),
    "empty type": (wire(event_type=""), "missing:event_type"),
    "empty time": (wire(event_time=""), "missing:event_time"),
    "id with decimals": (wire(product_id=b"1.5"), "wrong_type:product_id"),
    "id with zero decimals": (wire(product_id=b"1.0"), "wrong_type:product_id"),
    "id with an exponent": (wire(category_id=b"1e3"), "wrong_type:category_id"),
    "id as a boolean": (wire(user_id=True), "wrong_type:user_id"),
    "id as an array": (wire(user_id=["x"]), "wrong_type:user_id"),
    "id as an object": (wire(user_session={"id": "x"}), "wrong_type:user_session"),
    "id too long by one": (wire(user_id="é" * 129), "too_long:user_id"),
    "id of too many digits": (wire(user_id=b"9" * 129), "too_long:user_id"),
    "type too long by one": (wire(event_type="x" * 129), "too_long:event_type"),
    "half a character": (wire(brand=rb'"\ud83d"'), "not_utf8"),
    "the other half": (wire(brand=rb'"\\\\\ude00 \ud83d\ude00"'), "not_utf8"),
    "half a character in another field": (WIRE[:-1] + rb',"x":"\ud83d\ud83d\ude00"}', "not_utf8"),
    "quantity with decimals": (WIRE[:-1] + b',"quantity":1.5}', "wrong_type:quantity"),
    "quantity as a string": (WIRE[:-1] + b',"quantity":"2"}', "wrong_type:quantity"),
    "quantity of 65 bits": (WIRE[:-1] + b',"quantity":9223372036854775808}', "wrong_type:quantity"),
    "quantity 0": (WIRE[:-1] + b',"quantity":0}', "bad_quantity"),
    "quantity below 0": (WIRE[:-1] + b',"quantity":-1}', "bad_quantity"),
    "price as a string": (wire(price="35.79"), "wrong_type:price"),
    "price as a boolean": (wire(price=False), "wrong_type:price"),
    "price too big by a cent": (wire(price=b"10000000000.00"), "wrong_type:price"),
    "price too big once rounded": (wire(price=b"9999999999.995"), "wrong_type:price"),
    "price much too big": (wire(price=b"1e400"), "wrong_type:price"),
    "price of 41 characters": (wire(price=b"0." + b"0" * 39), "wrong_type:price"),
    "exponent of four digits": (wire(price=b"1e-1000"), "wrong_type:price"),
    "exponent of many digits": (wire(price=b"1e-100000000"), "wrong_type:price"),
    "zero with an exponent of four digits": (wire(price=b"0e+0001"), "wrong_type:price"),
    "number as a string": (wire(brand=12), "wrong_type:brand"),
    "fraction as a string": (wire(brand=b"1.5"), "wrong_type:brand"),
    "boolean as a string": (wire(category_code=True), "wrong_type:category_code"),
    "object as a string": (wire(brand={"name": "x"}), "wrong_type:brand"),
    "empty object as a string": (wire(brand={}), "wrong_type:brand"),
    "array as a string": (wire(brand=["x", 1]), "wrong_type:brand"),
    "number as a time": (wire(event_time=1569888000), "wrong_type:event_time"),
    "number as a type": (wire(event_type=1), "wrong_type:event_type"),
    "escaped name of a wrong type": (wire(brand=5).replace(b'"brand"', rb'"br\u0061nd"'), "wrong_type:brand"),
    "the same value twice": (WIRE[:-1] + b',"price":35.79}', "repeated:price"),
    "two values": (WIRE[:-1] + b',"brand":null}', "repeated:brand"),
    "two values, one escaped": (WIRE[:-1] + rb',"us\u0065r_id":1}', "repeated:user_id"),
    "local time": (wire(event_time="2019-10-01 00:00:00"), "bad_time:event_time"),
    "another zone": (wire(event_time="2019-10-01 00:00:00 CET"), "bad_time:event_time"),
    "a day": (wire(event_time="2019-10-01"), "bad_time:event_time"),
    "short numbers": (wire(event_time="2019-10-1 0:0:0 UTC"), "bad_time:event_time"),
    "30 February": (wire(event_time="2019-02-30 00:00:00 UTC"), "bad_time:event_time"),
    "30 February in wire form": (wire(event_time="2019-02-30T00:00:00.000Z"), "bad_time:event_time"),
    "30 February with an offset": (wire(event_time="2019-02-30T00:00:00+02:00"), "bad_time:event_time"),
    "hour 24": (wire(event_time="2019-10-01T24:00:00.000Z"), "bad_time:event_time"),
    "hour 24 with an offset": (wire(event_time="2019-10-01T24:00:00+01:00"), "bad_time:event_time"),
    "offset beyond all time zones": (wire(event_time="2019-10-01T12:00:00+19:00"), "bad_time:event_time"),
    "offset beyond all time zones by a minute": (wire(event_time="2019-10-01T12:00:00+18:01"), "bad_time:event_time"),
    "year 0": (wire(event_time="0000-12-31T00:00:00.000Z"), "bad_time:event_time"),
    "year 0 with an offset": (wire(event_time="0001-01-01T00:00:00+00:01"), "bad_time:event_time"),
    "a colon without minutes": (wire(event_time="2019-10-01T12:00:00+02:"), "bad_time:event_time"),
    "no seconds": (wire(txn_timestamp="2019-10-01T00:00Z"), "bad_time:txn_timestamp"),
    "no Z": (wire(txn_timestamp="2019-10-01T00:00:00.000"), "bad_time:txn_timestamp"),
    "ten digits of a second": (wire(txn_timestamp="2019-10-01T00:00:00.0000000000Z"), "bad_time:txn_timestamp"),
    "a point without digits": (wire(txn_timestamp="2019-10-01T00:00:00.Z"), "bad_time:txn_timestamp"),
    "second 60": (wire(txn_timestamp="2019-10-01T00:00:60.000Z"), "bad_time:txn_timestamp"),
    "a year of five digits": (wire(txn_timestamp="9999-12-31T23:59:59-01:00"), "bad_time:txn_timestamp"),
    "a line break after the time": (wire(txn_timestamp="2019-10-01T00:00:00.000Z\n"), "bad_time:txn_timestamp"),
    "the epoch": (wire(txn_timestamp="1970-01-01T00:00:00.000Z"), "undated"),
    "before the epoch": (wire(event_time="1969-12-31T23:59:59.999Z", txn_timestamp=""), "undated"),
    "ahead by a millisecond": (wire(txn_timestamp="2026-11-23T10:01:00.501Z"), "ahead"),
    "ahead, and without the pipeline's time": (wire(event_time="2026-11-23T12:02:00+02:00", txn_timestamp=""), "ahead"),
    "negative price": (wire(price=b"-0.01"), "negative_price"),
    "negative before rounding": (wire(price=b"-0.001"), "negative_price"),
    "separator of the id": (wire(brand="a\x1fb"), "control_character:brand"),
    "line break": (wire(category_code="a\nb"), "control_character:category_code"),
    "delete": (wire(user_session="a\x7fb"), "control_character:user_session"),
    "first bad field in the contract's order": (wire(txn_timestamp=5, price=b"-1", user_id=True), "negative_price"),
    "first bad field, though another is written first": (
        json.dumps({"brand": 5, **json.loads(wire(brand=5, event_type=7))}).encode(),
        "wrong_type:event_type",
    ),
    "in 100 lists": (WIRE[:-1] + b',"x":' + b"[" * 100 + b"]" * 100 + b"}", "not_json"),
    "too deep to read": (WIRE[:-1] + b',"x":' + b"[" * 5000 + b"]" * 5000 + b"}", "not_json"),
}


def validate_lines(spark: SparkSession, lines: list[bytes], settings: Settings = SETTINGS) -> list:
    """Return the validated rows in the order of the lines.

    The lines must differ from each other.
    """
    arrived = ARRIVED_AT.date(), ARRIVED_AT, ARRIVED_AT
    rows = [(bytearray(line), str(number), *arrived) for number, line in enumerate(lines)]
    sent = spark.createDataFrame(rows, RAW_LINES.replace("value string", "value binary"))
    validated = validate(sent.withColumn("value", F.col("value").cast("string")), settings, keeps_records=True)
    return sorted(validated.collect(), key=lambda row: int(row.object))


def as_stored(row: Row) -> dict:
    """Return the columns of `curated_events`, with other fields as a dict."""
    others = row.other_fields and json.loads(row.other_fields)
    return {name: row[name] for name in CURATED_EVENTS if name != "received_at"} | {"other_fields": others}


@pytest.fixture(scope="module")
def validated(spark: SparkSession) -> dict:
    lines = list(GOOD.values()) + [line for line, _ in BAD.values()]
    return dict(zip([*GOOD, *BAD], validate_lines(spark, lines), strict=True))


@pytest.mark.parametrize("name", GOOD)
def test_good_line_is_an_event(validated: dict, name: str) -> None:
    row = validated[name]
    assert row.reason is None
    assert as_stored(row) == expected(GOOD[name])
    assert reference.reason(GOOD[name], ARRIVED_AT, SETTINGS.max_ahead_s) is None


@pytest.mark.parametrize("name", BAD)
def test_bad_line_says_why(validated: dict, name: str) -> None:
    line, reason = BAD[name]
    row = validated[name]
    assert (row.reason, row.event_key, row.event_at, row.other_fields) == (reason, None, None, None)
    # How many U+FFFD take the place of bytes that are none of UTF-8 is the decoder's choice.
    assert re.sub("\ufffd+", "\ufffd", row.record) == re.sub("\ufffd+", "\ufffd", line.decode(errors="replace"))
    if name != "too deep to read":
        assert reference.reason(line, ARRIVED_AT, SETTINGS.max_ahead_s) == reason


def test_values_survive_exactly(validated: dict) -> None:
    assert as_stored(validated["as our producers write it"]) == dict.fromkeys(
        CURATED_EVENTS.keys() - {"received_at"}
    ) | {
        "event_key": reference.event_key(WIRE),
        "event_at": datetime(2019, 10, 1),
        "event_type": "view",
        "product_id": "44600062",
        "category_id": "2103807459595387724",
        "brand": "shiseido",
        "price": Decimal("35.79"),
        "user_id": "541312140",
        "user_session": "72d76fde-8bb3-4e00-8c23-a032dfed738c",
        "txn_at": datetime(2019, 10, 1),
    }
    row = validated["ids as numbers"]
    assert (row.user_id, row.product_id, row.category_id, row.user_session) == ("9223372036854775807", "-42", "0", "7")
    assert validated["nobody"].user_id is validated["nobody as a number"].user_id is None
    assert validated["nearly nobody"].user_id == "Guest"
    assert validated["price with three decimals"].price == Decimal("35.79")
    assert validated["largest price"].price == Decimal("9999999999.99")
    assert validated["escapes"].brand == 'a"b\\c/dé😀{}[]'
    assert validated["empty strings are nulls"].brand is None
    assert validated["a string that looks like a number"].brand == "12"
    assert validated["in the hour that New York skipped"].event_at == datetime(2019, 3, 10, 2, 30)
    assert validated["in the hour that New York skipped"].txn_at == datetime(2019, 3, 10, 2, 30, 0, 123000)
    row = validated["an offset"]
    assert (row.event_at, row.txn_at) == (datetime(2019, 10, 1), datetime(2019, 10, 1, 0, 0, 0, 120000))
    row = validated["fractions"]
    assert (row.event_at.microsecond, row.txn_at.microsecond) == (59000, 100000)
    assert validated["type in capitals"].event_type == "view"
    assert validated["brand to be normalised"].brand == "l'oréal paris" == validated["brand that is composed"].brand
    assert validated["brand of a sign with another form"].brand == "å"
    assert json.loads(validated["other fields"].other_fields)["o"] == '{"a":[1,"x"]}'
    assert validated["all fields in another form"].other_fields is None


def test_the_same_event_has_one_key_in_any_form(spark: SparkSession) -> None:
    forms = [
        WIRE,
        WIRE.replace(b"2019-10-01T00:00:00.000Z", b"2019-10-01 00:00:00 UTC"),
        wire(user_id=541312140, product_id=44600062),
        wire(event_time="2019-10-01T02:00:00+02:00", price=b"35.790", category_code=""),
        WIRE[:-1] + b',"campaign":"autumn"}',
    ]
    assert len({row.event_key for row in validate_lines(spark, forms)}) == 1
    differ = [wire(brand="Shiseido"), wire(user_id="guest"), wire(user_id=None), wire(txn_timestamp=""), forms[0]]
    assert len({row.event_key for row in validate_lines(spark, differ)}) == len(differ)


def test_every_character_that_the_normal_form_changes_is_found(spark: SparkSession) -> None:
    characters = [chr(code) for code in range(0xA0, 0x110000) if not 0xD800 <= code < 0xE000]
    parts = {part for one in characters for part in normalize("NFD", one)}
    texts = [one for one in characters if normalize("NFC", one) != one or combining(one)]
    texts += [f"{one[0]}{one[1:]}" for one in {normalize("NFD", one) for one in characters} if len(one) > 1]
    texts += [part for part in parts if len(part.encode()) > 1]
    frame = spark.createDataFrame([(text,) for text in texts], "brand string")
    missed = frame.where(~frame.brand.rlike(SPECIAL))
    wrong = [
        row.brand for row in missed.collect() if any(normalize("NFC", a + row.brand) != a + row.brand for a in "aeᄀ")
    ]
    assert wrong == []


# Addresses and what is none. IPv6 addresses may leave out zeros, once, and end with an IPv4 address.
ADDRESSES = """
    192.0.2.17 0.0.0.0 255.255.255.255 256.1.1.1 01.2.3.4 1.2.3 1.2.3.4.5 1.2.3.4:80 1.2.3.4,5.6.7.8
    :: ::1 1:: 2001:db8::17 2001:DB8:0:5::1 2001:0db8:00a0:1:2:3:4:5 1:2:3:4:5:6:7:: ::2:3:4:5:6:7:8
    1:0:0:4:5:6:7:8 1::3:4:5:6:7:8 0:0:5:: 1:2:3:4:5:6:7:8:9 1:2:3:4:5:6:7 1::2::3 ::: :1 1: 12345::
    ::ffff:192.0.2.1 64:ff9b::192.0.2.33 1:2:3:4:5:6:192.0.2.1 1:2:3:4:5:6:7:192.0.2.1 ::ffff:192.0.2.256
    fe80::1%eth0 localhost unknown [::1] 1:2:3:4:5:6:7::8 1:2:3:4:5:6::8 ::1:2:3:4:5:6:7:8 0:0:0:: 0::0:7
"""


def test_addresses_are_truncated_to_their_network(spark: SparkSession) -> None:
    chance = random.Random(6)
    addresses = [*ADDRESSES.split(), " 1.2.3.4", "1.2.3.4 "] + [
        str(IPv4Address(chance.getrandbits(32))) for _ in range(200)
    ]
    for _ in range(300):
        address = IPv6Address(chance.getrandbits(128) & chance.choice([-1, chance.getrandbits(128) & (0xFFFF << 64)]))
        addresses += [str(address), address.exploded]
    lines = [WIRE[:-1] + b',"client_ip":"%s"}' % address.encode() for address in dict.fromkeys(addresses)]
    rows = validate_lines(spark, lines, Settings(truncates_addresses=True))
    # Python takes an address with a zone.
    assert [(json.loads(row.record)["client_ip"], row.client_ip) for row in rows] == [
        (address, None if "%" in address else reference.network(address)) for address in dict.fromkeys(addresses)
    ]
    assert [row.event_key for row in rows] == [reference.event_key(line) for line in lines]


def test_mutated_lines_are_validated_as_by_the_reference(spark: SparkSession) -> None:
    """Compare 4,000 records, put together at random from pieces of good and odd ones."""
    chance = random.Random(20191001)
    odd = [
        b"null",
        b'""',
        b'"x"',
        b"1",
        b"-1",
        b"1.5",
        b"12345678901234567890",
        b"true",
        b"{}",
        b'[{"price":1}]',
        b'{"brand":1}',
    ]
    values = json.loads(GOOD["all fields"])
    lines = {WIRE}
    while len(lines) < 4000:
        fields = [[json.dumps(name).encode(), json.dumps(value).encode()] for name, value in values.items()]
        for _ in range(chance.randint(0, 3)):
            match chance.randrange(5):
                case 0:
                    chance.choice(fields)[1] = chance.choice(odd)
                case 1:
                    fields.append(list(chance.choice(fields)))
                case 2:
                    chance.shuffle(fields)
                case 3:
                    fields.remove(chance.choice(fields))
                case 4:
                    fields.append([b'"extra"', chance.choice(odd)])
        line = b"{" + b",".join(b":".join(field) for field in fields) + b"}"
        for _ in range(chance.choice((0, 0, 1, 2))):
            at = chance.randrange(len(line) + 1)
            line = (
                line[:at]
                + chance.choice((b"", b'"', b"{", b"}", b"]", b",", b"\\", b"0", b" ", b"\xc3\xa9", b"\xff"))
                + line[at + chance.randint(0, 1) :]
            )
        lines.add(line)
    ordered = sorted(lines)
    rows = validate_lines(spark, ordered)
    reasons = [reference.reason(line, ARRIVED_AT, SETTINGS.max_ahead_s) for line in ordered]
    assert [(line, row.reason) for line, row in zip(ordered, rows, strict=True)] == list(
        zip(ordered, reasons, strict=True)
    )
    good = [(line, as_stored(row)) for line, row in zip(ordered, rows, strict=True) if row.reason is None]
    assert good == [(line, expected(line)) for line, _ in good]
    assert 100 < len(good) < 3900, "both good and bad records must be tried"


def expected(line: bytes) -> dict:
    """Return the columns that the reference computes."""
    return reference.curated(line, SETTINGS.nobody_ids)


@pytest.mark.parametrize(("line", "reason"), EXPENSIVE.values(), ids=EXPENSIVE)
def test_no_line_is_expensive(line: str | bytes, reason: str | None) -> None:
    sent = line if isinstance(line, bytes) else line.encode()
    took_s = []
    for _ in range(3):  # the machine may be busy
        began = time.monotonic()
        read = read_line(sent)
        took_s.append(time.monotonic() - began)
    assert read[0] == reason
    assert min(took_s) < LIMIT_S


def test_expensive_lines_cost_spark_no_more(spark: SparkSession) -> None:
    """Read those that Spark reads itself, too: its regular expressions look at each line."""
    lines = [line if isinstance(line, bytes) else line.encode() for line, _ in EXPENSIVE.values()]
    began = time.monotonic()
    rows = validate_lines(spark, lines)
    assert time.monotonic() - began < len(lines) * LIMIT_S
    assert [row.reason for row in rows] == [reason for _, reason in EXPENSIVE.values()]
