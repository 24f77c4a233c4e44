"""Every line is validated as the contract says, even where Spark's JSON parser accepts more."""

import json
import random
from datetime import datetime
from decimal import Decimal

import pytest
import reference
from pyspark.sql import SparkSession

from glue_etl.curate_events import CURATED_EVENTS, FIELDS, validate
from simulator.traffic import event as simulator_event

WIRE = (
    b'{"event_time":"2019-10-01 00:00:00 UTC","event_type":"view","product_id":44600062,'
    b'"category_id":2103807459595387724,"category_code":null,"brand":"shiseido","price":35.79,"user_id":541312140,'
    b'"user_session":"72d76fde-8bb3-4e00-8c23-a032dfed738c","txn_timestamp":"2019-10-01T00:00:00.000Z"}'
)


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
    "unknown field of the same name inside another": WIRE[:-1] + b',"old":{"brand":5,"price":"x","price":-1}}',
    "unknown field twice": WIRE[:-1] + b',"a":1,"a":2}',
    "escapes": wire(brand=rb'"a\"b\\c\/d\u00e9\ud83d\ude00{}[]"'),
    "escaped name": WIRE.replace(b'"brand"', rb'"br\u0061nd"'),
    "not ASCII": wire(brand="кофе ☕ 😀"),
    "braces in a string": wire(brand="}{", user_session="]["),
    "a string that looks like a number": wire(brand="12", category_code="1.5", user_session="true"),
    "a string that looks like JSON": wire(brand="[1]", category_code="{}", user_session="null"),
    "19 digits": wire(user_id=9223372036854775807, product_id=-9223372036854775808, category_id=1000000000000000001),
    "ids of 0 and -0": wire(user_id=b"0", product_id=b"-0"),
    "free": wire(price=b"0.00"),
    "price without decimals": wire(price=b"35"),
    "price with one decimal": wire(price=b"35.7"),
    "price with an exponent": wire(price=b"3.579e1"),
    "price with three decimals": wire(price=b"35.785"),
    "largest price": wire(price=b"9999999999.99"),
    "negative zero": wire(price=b"-0.00"),
    "empty strings are nulls": wire(brand="", category_code="", user_session=""),
    "all that may be null is": wire(brand=None, category_code=None, user_session=None),
    "a nullable field is absent": without("brand"),
    "in the hour that New York skipped": wire(
        event_time="2019-03-10 02:30:00 UTC", txn_timestamp="2019-03-10T02:30:00.123Z"
    ),
    "29 February": wire(event_time="2020-02-29 23:59:59 UTC"),
}

BAD = {
    "empty line": (b"", "not_json"),
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
    "absent": (without("user_id"), "missing:user_id"),
    "null time": (wire(txn_timestamp=None), "missing:txn_timestamp"),
    "null price": (wire(price=None), "missing:price"),
    "null id": (wire(product_id=None), "missing:product_id"),
    "empty type": (wire(event_type=""), "missing:event_type"),
    "empty time": (wire(event_time=""), "missing:event_time"),
    "id with decimals": (wire(product_id=b"1.5"), "wrong_type:product_id"),
    "id with zero decimals": (wire(product_id=b"1.0"), "wrong_type:product_id"),
    "id with an exponent": (wire(category_id=b"1e3"), "wrong_type:category_id"),
    "id as a string": (wire(user_id="12"), "wrong_type:user_id"),
    "id as an empty string": (wire(user_id=""), "wrong_type:user_id"),
    "id as a boolean": (wire(user_id=True), "wrong_type:user_id"),
    "id too big by one": (wire(user_id=b"9223372036854775808"), "wrong_type:user_id"),
    "id much too big": (wire(user_id=b"1" * 40), "wrong_type:user_id"),
    "price as a string": (wire(price="35.79"), "wrong_type:price"),
    "price as a boolean": (wire(price=False), "wrong_type:price"),
    "price too big by a cent": (wire(price=b"10000000000.00"), "wrong_type:price"),
    "price too big once rounded": (wire(price=b"9999999999.995"), "wrong_type:price"),
    "price much too big": (wire(price=b"1e400"), "wrong_type:price"),
    "number as a string": (wire(brand=12), "wrong_type:brand"),
    "fraction as a string": (wire(user_session=b"1.5"), "wrong_type:user_session"),
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
    "short numbers": (wire(event_time="2019-10-1 0:0:0 UTC"), "bad_time:event_time"),
    "30 February": (wire(event_time="2019-02-30 00:00:00 UTC"), "bad_time:event_time"),
    "hour 24": (wire(event_time="2019-10-01 24:00:00 UTC"), "bad_time:event_time"),
    "no Z": (wire(txn_timestamp="2019-10-01T00:00:00.000"), "bad_time:txn_timestamp"),
    "no milliseconds": (wire(txn_timestamp="2019-10-01T00:00:00Z"), "bad_time:txn_timestamp"),
    "microseconds": (wire(txn_timestamp="2019-10-01T00:00:00.000000Z"), "bad_time:txn_timestamp"),
    "second 60": (wire(txn_timestamp="2019-10-01T00:00:60.000Z"), "bad_time:txn_timestamp"),
    "a line break after the time": (wire(txn_timestamp="2019-10-01T00:00:00.000Z\n"), "bad_time:txn_timestamp"),
    "unknown type": (wire(event_type="refund"), "unknown_event_type"),
    "capital letters": (wire(event_type="View"), "unknown_event_type"),
    "negative price": (wire(price=b"-0.01"), "negative_price"),
    "negative before rounding": (wire(price=b"-0.001"), "negative_price"),
    "separator of the id": (wire(brand="a\x1fb"), "control_character:brand"),
    "line break": (wire(category_code="a\nb"), "control_character:category_code"),
    "delete": (wire(user_session="a\x7fb"), "control_character:user_session"),
    "first bad field in the contract's order": (wire(txn_timestamp=None, price=b"-1", user_id="x"), "negative_price"),
    "first bad field, though another is written first": (
        json.dumps({"brand": 5, **json.loads(wire(brand=5, event_type="refund"))}).encode(),
        "unknown_event_type",
    ),
    "too deep to read": (WIRE[:-1] + b',"x":' + b"[" * 5000 + b"]" * 5000 + b"}", "not_json"),
}


def validate_lines(spark: SparkSession, lines: list[bytes]) -> list:
    """Return the validated rows in the order of the lines, which must differ from each other."""
    rows = [(bytearray(line), None, str(number)) for number, line in enumerate(lines)]
    validated = validate(spark.createDataFrame(rows, "value binary, arrival_date date, object string"))
    return sorted(validated.collect(), key=lambda row: int(row.object))


@pytest.fixture(scope="module")
def validated(spark: SparkSession) -> dict:
    lines = list(GOOD.values()) + [line for line, _ in BAD.values()]
    return dict(zip([*GOOD, *BAD], validate_lines(spark, lines), strict=True))


@pytest.mark.parametrize("name", GOOD)
def test_good_line_is_an_event(validated: dict, name: str) -> None:
    row = validated[name]
    assert (row.reason, row.record) == (None, None)
    assert row.event_id == reference.event_id(_without_empty(GOOD[name]))
    assert reference.reason(GOOD[name]) is None


@pytest.mark.parametrize("name", BAD)
def test_bad_line_says_why(validated: dict, name: str) -> None:
    line, reason = BAD[name]
    row = validated[name]
    assert (row.reason, row.event_id, row.event_at) == (reason, None, None)
    assert reason == "not_utf8" or row.record == line.decode()
    if name not in ("empty line", "too deep to read"):
        assert reference.reason(line) == reason


def test_values_survive_exactly(validated: dict) -> None:
    row = validated["as our producers write it"].asDict()
    assert {name: row[name] for name in CURATED_EVENTS if name != "event_id"} == {
        "event_at": datetime(2019, 10, 1),
        "event_type": "view",
        "product_id": 44600062,
        "category_id": 2103807459595387724,
        "category_code": None,
        "brand": "shiseido",
        "price": Decimal("35.79"),
        "user_id": 541312140,
        "user_session": "72d76fde-8bb3-4e00-8c23-a032dfed738c",
        "txn_at": datetime(2019, 10, 1),
    }
    row = validated["19 digits"]
    assert (row.user_id, row.product_id, row.category_id) == (2**63 - 1, -(2**63), 10**18 + 1)
    assert validated["price with three decimals"].price == Decimal("35.79")
    assert validated["largest price"].price == Decimal("9999999999.99")
    assert validated["escapes"].brand == 'a"b\\c/dé😀{}[]'
    assert validated["empty strings are nulls"].brand is None
    assert validated["a string that looks like a number"].brand == "12"
    assert validated["in the hour that New York skipped"].event_at == datetime(2019, 3, 10, 2, 30)
    assert validated["in the hour that New York skipped"].txn_at == datetime(2019, 3, 10, 2, 30, 0, 123000)


def test_event_id_is_the_simulators(validated: dict) -> None:
    for name in ("as our producers write it", "escapes", "not ASCII", "19 digits", "all that may be null is", "free"):
        assert validated[name].event_id == simulator_event.event_id(json.loads(GOOD[name])), name


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
    names = [field.name for field in FIELDS]
    lines = {WIRE}
    while len(lines) < 4000:
        fields = [[b'"%s"' % name.encode(), None] for name in names]
        for field, value in zip(fields, json.loads(WIRE).values(), strict=True):
            field[1] = json.dumps(value).encode()
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
    expected = [reference.reason(line) for line in ordered]
    assert [(line, row.reason) for line, row in zip(ordered, rows, strict=True)] == list(
        zip(ordered, expected, strict=True)
    )
    ids = [(line, row.event_id) for line, row in zip(ordered, rows, strict=True) if row.reason is None]
    assert ids == [(line, reference.event_id(_without_empty(line))) for line, _ in ids]
    assert 100 < len(ids) < 3900, "both good and bad records must be tried"


def _without_empty(line: bytes) -> bytes:
    """Return the record with nulls in place of empty strings, which mean the same."""
    event = json.loads(line, parse_float=Decimal)
    return json.dumps(
        {k: None if v == "" else v for k, v in event.items() if k in reference.TYPES}, default=str
    ).encode()
