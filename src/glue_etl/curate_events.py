"""Curate arrival days: raw JSON lines become typed, deduplicated Iceberg rows, or quarantined records with a reason.

AWS Glue 5.1 runs this file as a Spark script. The catalog `glue_catalog`, and everything else that differs between AWS
and one machine, comes from Spark's configuration.

    --raw_path s3://bucket/events/ --database my_db_ecomm --from_date 2026-11-23 --to_date 2026-11-24 --run_id nightly-1
    --nobody_ids '["0", "guest"]' --max_ahead_s 60 --address_form whole
    --metric_namespace ecommerce-namespace-1 --quarantine_metric ecomm-quarantined-records --metric_region us-east-1

Both dates are arrival days (UTC), included. A day without objects is fine. `nobody_ids` is a JSON list of the user ids
that mean "nobody". An event may be `max_ahead_s` seconds ahead of its arrival. With the `address_form` truncated,
client addresses are stored as networks (/24 and /48).

Every line is counted in one place:

    raw_rows = curated_rows     events that were not stored yet
             + duplicate_rows   lines seen before, good or bad, in this run or an earlier one
             + quarantined_rows bad records that were not stored yet

The four are measured independently, and the run fails when the sum does not match. Rows are merged by their key: the
producer's own id of the event, or a hash of its content. `etl_runs` is written last. So repeating a run that died, or
days that are already done, changes nothing that is stored. A `run_id` that is used again replaces its row in `etl_runs`
with the counts of the last attempt. Runs must not overlap: both would count an event as new.

At the end, CloudWatch gets the number of new quarantined records by reason. Records that a run quarantined before it
died are in no such number, as they are in no row of `etl_runs`.

The last line on stdout is the run's row of `etl_runs` as JSON. Progress goes to stderr.
"""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from time import monotonic, time
from typing import Any, NamedTuple
from unicodedata import normalize

import boto3
from awsglue.utils import getResolvedOptions
from botocore.exceptions import BotoCoreError, ClientError
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

CATALOG = "glue_catalog"


class Field(NamedTuple):
    """A field of the wire record. Its kind is one of TYPES."""

    name: str
    kind: str
    nullable: bool = True
    personal: bool = False


# contracts/event.json, in its order. The records of our own producers have the first nine always, the others if given.
FIELDS = (
    Field("event_time", "time", nullable=False),
    Field("event_type", "word", nullable=False),
    Field("product_id", "id"),
    Field("category_id", "id"),
    Field("category_code", "text"),
    Field("brand", "text"),
    Field("price", "price"),
    Field("user_id", "id"),
    Field("user_session", "id"),
    Field("event_id", "id"),
    Field("order_id", "id"),
    Field("quantity", "quantity"),
    Field("currency", "text"),
    Field("client_ip", "text", personal=True),
    Field("user_agent", "text", personal=True),
    Field("page_url", "text"),
    Field("referrer", "text"),
    Field("txn_timestamp", "time"),
)
ALWAYS_WRITTEN = 9
TYPES = {
    "time": "string",
    "word": "string",
    "id": "string",
    "text": "string",
    "price": "decimal(12,2)",
    "quantity": "bigint",
}
TIMES = {"event_time": "event_at", "txn_timestamp": "txn_at"}

# By column. The fields' columns are those of the contract, with the times as instants.
FIELD_COLUMNS = {
    TIMES.get(field.name, field.name): "timestamp_ntz" if field.kind == "time" else TYPES[field.kind]
    for field in FIELDS
}
CURATED_EVENTS = {
    "event_key": "string",
    **FIELD_COLUMNS,
    "received_at": "timestamp_ntz",
    "other_fields": "map<string,string>",
}
PERSONAL = tuple(field.name for field in FIELDS if field.personal)
QUARANTINED_RECORDS = {
    "record_id": "string",
    "record": "string",
    "reason": "string",
    "arrival_date": "date",
    "object": "string",
}
ETL_RUNS = {
    "run_id": "string",
    "from_date": "date",
    "to_date": "date",
    "finished_at": "timestamp_ntz",
    "raw_rows": "bigint",
    "curated_rows": "bigint",
    "duplicate_rows": "bigint",
    "quarantined_rows": "bigint",
}

# No value contains one: U+001F separates the values in an event_key.
CONTROL = r"[\x00-\x1f\x7f]"
# The longest id, in characters (Unicode code points).
LONGEST_ID = 128
# Date and time of day, then the groups: fraction, and the offset's sign, hours and minutes. No time
# zone is further than 18 hours from UTC.
TIME = (
    r"\A\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.(\d{1,9}))?"
    r"(?:Z| UTC|([+-])(0\d|1[0-8])(?::?([0-5]\d))?)\z"
)

# Spark's parser accepts these by default. No other JSON parser does.
STRICT_JSON = {"mode": "PERMISSIVE", "allowSingleQuotes": "false", "allowNonNumericNumbers": "false"}

# Prices are parsed with more digits than are stored, so that rounding or an overflow can't hide a bad one.
PARSED_TYPES = TYPES | {"price": "decimal(38,18)"}

# from_json makes a string of any value: "12" and 12 look alike. As one of these types it reads a number, a boolean, an
# array or an object, but no string.
NOT_STRINGS = ("double", "boolean", "array<string>", "map<string,string>")

# A line in wire form, as the project's producers write it, is valid JSON in which each field occurs once with a good
# value: only its times may not exist. One parse is enough for it. Ids of digits and times in the data set's form are
# wire form too. Any other line may still be good, and gets the slower `inspection`.
WIRE_ID = rf'"[^"\\\x00-\x1f\x7f]{{1,{LONGEST_ID}}}+"'
WIRE_VALUES = {
    "time": r'"\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d\.\d{3}Z| \d\d:\d\d:\d\d UTC)"',
    "word": WIRE_ID,
    "id": rf"(?:{WIRE_ID}|-?(?:0|[1-9]\d{{0,98}}+))",
    "text": r'"[^"\\\x00-\x1f\x7f]*+"',
    "price": r"(?:0|[1-9]\d{0,9})\.\d\d",
    "quantity": r"[1-9]\d{0,17}+",
}
WIRE_RECORD = (
    r"\A\{"
    + ",".join(
        f'"{field.name}":(?:{WIRE_VALUES[field.kind]}{"|null" if field.nullable else ""})'
        for field in FIELDS[:ALWAYS_WRITTEN]
    )
    + "".join(f'(?:,"{field.name}":{WIRE_VALUES[field.kind]})?' for field in FIELDS[ALWAYS_WRITTEN:])
    + r"\}\z"
)

# An escape of half a character: half of a pair without the other. It has no form in UTF-8.
LONE_SURROGATE = (
    r"\\u[dD][89aAbB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89aAbB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)

# Every character that Unicode's normal form C may change or join to the one before it: marks, vowels and finals of
# Korean, and letters that have another form. Some that it leaves alone are among them.
MAY_CHANGE = (
    r"[\p{M}\u0340-\u0345\u0374\u037e\u0387\u0900-\u109f\u1160-\u11ff\u1b00-\u1b4f\u1f00-\u1fff"
    r"\u2000\u2001\u2126\u212a\u212b\u2329\u232a\u2adc\uf900-\ufaff\ufb1d-\ufb4f"
    r"\x{11000}-\x{11fff}\x{16d00}-\x{16dff}\x{1d100}-\x{1d1ff}\x{2f800}-\x{2fa1f}]"
)
NORMALISED = ("category_code", "brand")
BLANKS = r"[\p{Z}\x85]+"

# https://docs.aws.amazon.com/firehose/latest/dev/s3-object-name.html
DELIVERED_AT = r"-(\d{4}(?:-\d\d){5})-[0-9a-f-]{36}[^/]*\z"
RAW_LINES = "value binary, object string, received_at timestamp_ntz, arrived_by timestamp_ntz"

OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
IPV4 = rf"{OCTET}(?:\.{OCTET}){{3}}"
GROUP = "[0-9a-fA-F]{1,4}"
# Eight groups, or at most seven with "::" in place of the others.
IPV6 = (
    rf"\A(?:{GROUP}(?::{GROUP}){{7}}"
    rf"|(?!(?:::)?(?:{GROUP}::?){{7}}{GROUP})(?:{GROUP}(?::{GROUP})*)?::(?:{GROUP}(?::{GROUP})*)?)\z"
)

ADDRESS_FORMS = ("whole", "truncated")


class Settings(NamedTuple):
    """What an environment decides."""

    nobody_ids: tuple[str, ...] = ()
    max_ahead_s: int = 60
    truncates_addresses: bool = False


def run(
    spark: SparkSession,
    raw_path: str,
    database: str,
    from_date: date,
    to_date: date,
    run_id: str,
    settings: Settings,
) -> tuple[dict[str, Any], dict[str, int]]:
    """Curate the days. Return the run's row of `etl_runs`, and the number of newly quarantined records by reason.

    Raise RuntimeError, without writing to `etl_runs`, when the counts do not add up.
    """
    curated = create_table(spark, database, "curated_events", CURATED_EVENTS, "partitioned by (days(event_at))")
    quarantined = create_table(spark, database, "quarantined_records", QUARANTINED_RECORDS)
    etl_runs = create_table(spark, database, "etl_runs", ETL_RUNS)
    log("tables exist")

    raw = read_lines(spark, raw_path, from_date, to_date)
    lines = validate(raw, settings).persist()
    raw_rows, bad_rows, first_at, last_at, odd_rows, own_ids, extended_rows = lines.agg(
        F.count("*"),
        F.count("reason"),
        F.min("event_at").cast("string"),
        F.max("event_at").cast("string"),
        F.count_if("may_change"),
        F.count("event_id"),
        F.count("other_fields"),
    ).first()
    log(f"read {raw_rows} lines, {bad_rows} of them bad")

    has_odd_rows = odd_rows > 0
    bad, rows = lines.where("reason is not null"), events(lines, has_odd_rows)
    # Without an id of the producer, equal keys are equal events. Without other fields, they are also equal rows.
    if own_ids or extended_rows:
        # Checkpoints, as Spark writes the plan of each cache into those of all that use it, several times.
        judged = judge_repeats(spark, curated, rows.localCheckpoint(), settings).localCheckpoint()
        others = judged.where("not is_same").select("event_key", "content").distinct()
        if other_rows := others.count():
            log(f"{other_rows} different events repeat an event_id")
            repeats = repeated_ids(validate(raw, settings, keeps_records=True), others, has_odd_rows, settings)
            bad = bad.select(*repeats.columns).unionByName(repeats.localCheckpoint())
            bad_rows += other_rows
        rows = judged.where("is_same and rank = 1").select(*rows.columns)

    quarantined_rows = bad_repeats = curated_rows = event_repeats = 0
    reasons: dict[str, int] = {}
    if bad_rows:
        new = bad_records(bad)
        reasons = new_reasons(spark, quarantined, new)
        quarantined_rows, bad_repeats = insert_new(spark, quarantined, "record_id", new)
        log(f"quarantined {quarantined_rows}, stored before or repeated {bad_repeats}")
    if first_at:
        # With this range, the merge does not read every event ever stored.
        in_range = f"stored.event_at between timestamp_ntz '{first_at}' and timestamp_ntz '{last_at}'"
        new = rows.withColumn("other_fields", F.from_json("other_fields", CURATED_EVENTS["other_fields"]))
        curated_rows, event_repeats = insert_new(spark, curated, "event_key", new, in_range)
        log(f"curated {curated_rows}, stored before or repeated {event_repeats}")
    spark.catalog.clearCache()

    duplicate_rows = bad_repeats + event_repeats
    if raw_rows != curated_rows + duplicate_rows + quarantined_rows:
        raise RuntimeError(
            f"counts do not add up: {raw_rows} raw rows, but {curated_rows} curated + {duplicate_rows} duplicate"
            f" + {quarantined_rows} quarantined; {run_id!r} is not recorded in etl_runs."
            " Did another run work on these tables? Run the same days again, alone."
        )
    row = {
        "run_id": run_id,
        "from_date": str(from_date),
        "to_date": str(to_date),
        "finished_at": datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds"),
        "raw_rows": raw_rows,
        "curated_rows": curated_rows,
        "duplicate_rows": duplicate_rows,
        "quarantined_rows": quarantined_rows,
    }
    record_run(spark, etl_runs, row)
    log("recorded the run")
    return row, reasons


def create_table(spark: SparkSession, database: str, table: str, columns: dict[str, str], partitions: str = "") -> str:
    """Create the table if it does not exist, and add the columns that it lacks. Return its full name."""
    name = f"{CATALOG}.`{database}`.{table}"
    declared = {
        column: f"{column} {type_}" + (" comment 'Personal data'" if column in PERSONAL else "")
        for column, type_ in columns.items()
    }
    spark.sql(
        f"create table if not exists {name} ({', '.join(declared.values())}) using iceberg {partitions}"
        " tblproperties ('format-version' = '2', 'write.parquet.compression-codec' = 'zstd')"
    )
    stored = spark.table(name).columns
    if missing := [declared[column] for column in columns if column not in stored]:
        # Iceberg changes the table's description only: older rows have nulls there.
        spark.sql(f"alter table {name} add columns ({', '.join(missing)})")
        log(f"added to {table}: {', '.join(missing)}")
    return name


def read_lines(spark: SparkSession, raw_path: str, from_date: date, to_date: date) -> DataFrame:
    """Return a row per line, with the columns of RAW_LINES. `value` may be invalid UTF-8.

    `received_at` is when the first record of the line's object arrived, which Firehose writes into the object's name;
    without it, when the object was written. `arrived_by` is the latest time at which the line can have arrived.
    """
    days = [str(from_date + timedelta(days=day)) for day in range((to_date - from_date).days + 1)]
    try:
        # Only a newline ends a line. By default a carriage return does too.
        lines = spark.read.text(f"{raw_path.rstrip('/')}/arrival_date={{{','.join(days)}}}", lineSep="\n")
    except AnalysisException as error:
        if error.getErrorClass() != "PATH_NOT_FOUND":
            raise
        log(f"nothing under {raw_path} arrived from {from_date} to {to_date}")
        return spark.createDataFrame([], RAW_LINES)
    lines = lines.select(
        F.col("value").cast("binary"),
        F.col("_metadata.file_path").alias("object"),
        F.unix_millis("_metadata.file_modification_time").alias("written_ms"),
    )
    # Spark can't split a gzip file: one big file would keep one core busy and the others idle.
    cores = spark.sparkContext.defaultParallelism
    lines = lines.repartition(cores) if len(lines.inputFiles()) < cores else lines
    # Not a cast, which would go through the session's time zone.
    written_at = F.expr("timestamp_ntz '1970-01-01 00:00:00' + interval '0.001' second * written_ms")
    name = f"regexp_extract(object, r'{DELIVERED_AT}', 1)"
    named = f"concat(substring({name}, 1, 10), ' ', translate(substring({name}, 12), '-', ':'))"
    named_at = F.expr(f"try_cast({named} as timestamp_ntz)")
    return lines.select(
        "value",
        "object",
        F.coalesce(named_at, written_at).alias("received_at"),
        F.greatest(named_at, written_at).alias("arrived_by"),
    )


def validate(lines: DataFrame, settings: Settings, keeps_records: bool = False) -> DataFrame:
    """Return a row per line: an event's columns without `reason`, or `reason`, `record_id`, `record` of a bad line.

    The reasons are `not_utf8`, `not_json` (also: cut off, empty, not an object, more than one value), then the first
    failed check of the first bad field, in the order of the contract: see `checks`. Then come `undated` and `ahead`.

    Empty strings of nullable fields become null, and so do user ids that mean nobody. Prices are rounded half up to two
    decimals, times are cut to milliseconds. `other_fields` is JSON. With `may_change`, brand and category are as sent,
    and the rest of their normalisation is due (`normalised_lines`). `keeps_records` is for good lines too.
    """
    text, record_id, is_wire, reason = F.col("text"), F.sha2("value", 256), F.col("is_wire"), F.col("reason")
    is_good = reason.isNull()
    kept = F.lit(True) if keeps_records else ~is_good
    stored = {name: F.col(name) for name in FIELD_COLUMNS} | {
        "event_type": F.lower(F.trim("event_type")),
        "user_id": somebody(settings),
        "txn_at": F.coalesce("txn_at", "event_at"),
    }
    if settings.truncates_addresses:
        stored["client_ip"] = truncated_address("client_ip")
    for name in NORMALISED:
        stored[name] = F.when(F.col("may_change"), F.col(name)).otherwise(normalised(name))
    return (
        lines.withColumn("text", F.decode("value", "UTF-8"))  # U+FFFD in place of bytes that are not UTF-8
        .withColumn("is_utf8", ~text.contains("\ufffd") | (F.encode(text, "UTF-8") == F.col("value")))
        .withColumn("is_wire", F.col("is_utf8") & text.rlike(WIRE_RECORD))
        .withColumns(
            {
                "event": parse({field.name: PARSED_TYPES[field.kind] for field in FIELDS}),
                "inspection": F.when(~is_wire, inspection(record_id)),
            }
        )
        .withColumns({field.name: value(field) for field in FIELDS})
        .withColumns({column: instant(name) for name, column in TIMES.items()})
        .withColumn(
            "reason",
            F.when(~F.col("is_utf8") | has_lone_surrogate(), "not_utf8")
            .when(~is_wire & ~F.col("inspection.is_one_object"), "not_json")
            .otherwise(
                F.coalesce(
                    # Of a field in wire form, only a time can be bad.
                    F.when(is_wire, F.coalesce(*(time_check(name) for name in TIMES))).otherwise(
                        F.coalesce(*map(first_failed_check, FIELDS))
                    ),
                    implausible(settings),
                )
            ),
        )
        .withColumn(
            "may_change", F.coalesce(is_good & (may_change("brand") | may_change("category_code")), F.lit(False))
        )
        .select(
            reason,
            "may_change",
            *(F.when(is_good, column).alias(name) for name, column in {"event_key": event_key(), **stored}.items()),
            F.when(is_good & ~is_wire, other_fields()).alias("other_fields"),
            "received_at",
            F.when(kept, record_id).alias("record_id"),
            F.when(kept, text).alias("record"),
            F.when(kept, F.col("object")).alias("object"),
        )
    )


def parse(types: dict[str, str]) -> Column:
    """Return the fields of the line's JSON object as a struct. A value that is not of its type is null."""
    return F.from_json("text", ", ".join(map(" ".join, types.items())), STRICT_JSON)


def inspection(record_id: Column) -> Column:
    """Return what `checks` need to know of a line that is not in wire form, as a struct.

    `is_one_object`: whether the line is one JSON object and nothing else. `names`: the object's keys, with repeats.
    `string` and each of NOT_STRINGS: all fields parsed as that type.
    """
    text = F.col("text")
    # from_json ignores what follows the first value. So the line is put into an array, before an element that no line
    # can contain: if that is the second element, then nothing else follows the line's first value.
    framed = F.from_json(F.concat(F.lit("["), text, F.lit(',"'), record_id, F.lit('"]')), "array<string>", STRICT_JSON)
    is_one_object = text.rlike(r"\A\s*\{") & (F.get(framed, F.lit(1)) == record_id)
    return F.struct(
        F.coalesce(is_one_object, F.lit(False)).alias("is_one_object"),
        F.json_object_keys("text").alias("names"),
        *(parse({field.name: type_ for field in FIELDS}).alias(type_) for type_ in ("string", *NOT_STRINGS)),
    )


def has_lone_surrogate() -> Column:
    """Return whether a string of the line holds half a character. In wire form there are no escapes."""
    # An escaped backslash does not begin an escape.
    return ~F.col("is_wire") & F.regexp_replace("text", r"\\\\", "").rlike(LONE_SURROGATE)


def value(field: Field) -> Column:
    """Return the field's value, as sent: null if it is an empty string, a time as text in UTC milliseconds.

    A value that cannot be of the field's type is null or wrong: `checks` find it.
    """
    sent = f"event.{field.name}"
    match field.kind:
        case "price":
            return F.expr(f"try_cast({sent} as {TYPES['price']})")
        case "quantity":
            return F.col(sent)
        case "time":
            return utc_text(sent)
        case _:
            return F.expr(f"nullif({sent}, '')")


def utc_text(sent: str) -> Column:
    """Return the time as `2019-10-01T00:00:00.000Z`; null if it is in none of the contract's forms.

    One in wire form may not exist, such as 30 February.
    """
    day, time_of_day = F.substring(sent, 1, 10), F.substring(sent, 12, 8)
    wire = F.when(F.col(sent).endswith("Z"), F.col(sent)).otherwise(
        F.concat(day, F.lit("T"), time_of_day, F.lit(".000Z"))
    )
    # Time zones stay out of it: an offset is so many minutes, and changes no part of a minute.
    hours, minutes = (f"coalesce(try_cast(regexp_extract({sent}, r'{TIME}', {group}) as int), 0)" for group in (3, 4))
    utc = F.expr(
        f"cast(try_cast(concat(substring({sent}, 1, 10), ' ', substring({sent}, 12, 8)) as timestamp_ntz)"
        f" - if(regexp_extract({sent}, r'{TIME}', 2) = '-', -1, 1) * ({hours} * 60 + {minutes}) * interval '1' minute"
        " as string)"
    )
    millis = F.rpad(F.substring(F.regexp_extract(sent, TIME, 1), 1, 3), 3, "0")
    other = F.concat(F.substring(utc, 1, 10), F.lit("T"), F.substring(utc, 12, 8), F.lit("."), millis, F.lit("Z"))
    # An offset can lead to a year of five digits.
    is_time = F.col(sent).rlike(TIME) & (F.length(utc) == len("2019-10-01 00:00:00"))
    return F.when(F.col("is_wire"), wire).when(is_time, other)


def instant(name: str) -> Column:
    """Return the UTC time of a text in UTC milliseconds, as timestamp_ntz; null if it does not exist."""
    return F.expr(f"try_cast(substring({name}, 1, 23) as timestamp_ntz)")


def first_failed_check(field: Field) -> Column:
    """Return the reason of the first check that the field fails, or null."""
    first, *others = checks(field)
    reason = F.when(first.is_failed, first.reason)
    for check in others:
        reason = reason.when(check.is_failed, check.reason)
    return reason


class Check(NamedTuple):
    """A reason to quarantine a record, and the condition under which it applies."""

    reason: str
    is_failed: Column


def checks(field: Field) -> Iterator[Check]:
    """Yield the checks of a field of a line that is not in wire form, in order of precedence.

    They read the columns that `validate` adds. A check may assume that those before it have passed.
    """
    name = field.name
    sent, text = F.col(f"event.{name}"), F.col("inspection.string")[name]
    is_given = text.isNotNull() & (text != "")

    yield Check(f"repeated:{name}", F.size(F.filter(F.col("inspection.names"), lambda key: key == name)) > 1)
    if not field.nullable:  # absent, null, or an empty string
        yield Check(f"missing:{name}", ~is_given)
    yield Check(f"wrong_type:{name}", is_given & is_wrong_type(field))
    if field.kind in ("id", "word"):
        yield Check(f"too_long:{name}", F.length(sent) > LONGEST_ID)
    if field.kind == "time":
        yield Check(f"bad_time:{name}", is_given & F.col(TIMES[name]).isNull())
    if field.kind == "price":
        yield Check(f"negative_{name}", sent < 0)
    if field.kind == "quantity":
        yield Check(f"bad_{name}", sent < 1)
    if TYPES[field.kind] == "string":
        yield Check(f"control_character:{name}", sent.rlike(CONTROL))


def is_wrong_type(field: Field) -> Column:
    """Return whether the value that is given is of another type, or a number out of the type's range."""
    sent, inspected = F.col(f"event.{field.name}"), F.col("inspection")
    is_number = inspected["double"][field.name].isNotNull()
    match field.kind:
        case "price":  # from_json reads a decimal from the string "35.79" too, but no double
            return F.col(field.name).isNull() | ~is_number
        case "quantity":
            return sent.isNull()
    is_other = F.coalesce(
        *(inspected[type_][field.name].cast("string") for type_ in NOT_STRINGS if type_ != "double")
    ).isNotNull()
    # A number with a fraction or an exponent is never read as digits only.
    return is_other | (is_number & ~sent.rlike(r"\A-?\d+\z") if field.kind == "id" else is_number)


def time_check(name: str) -> Column:
    """Return the reason if a time in wire form does not exist."""
    return F.when(F.col(name).isNotNull() & F.col(TIMES[name]).isNull(), f"bad_time:{name}")


def implausible(settings: Settings) -> Column:
    """Return the reason if the event's time cannot be one, in the pipeline's own clock."""
    at = F.coalesce("txn_at", "event_at")
    latest = F.col("arrived_by") + F.expr(f"interval '{settings.max_ahead_s}' second")
    return F.when(at <= F.expr("timestamp_ntz '1970-01-01 00:00:00'"), "undated").when(at > latest, "ahead")


def event_key() -> Column:
    """Return the key that `simulator.traffic.event.event_key` defines: the producer's own id, or a hash."""
    return F.coalesce("event_id", digest({field.name: F.col(field.name) for field in FIELDS}))


def digest(values: dict[str, Column]) -> Column:
    """Return the hex SHA-256 of the names and values that are not null, from text, so no time zone can change it."""
    named = (F.concat(F.lit(f"{name}="), column.cast("string")) for name, column in values.items())
    return F.sha2(F.concat_ws("\x1f", *named), 256)


def somebody(settings: Settings) -> Column:
    """Return the user id; null if it means nobody."""
    user_id = F.col("user_id")
    return F.when(~user_id.isin(*settings.nobody_ids), user_id)


def other_fields() -> Column:
    """Return the fields that the contract does not name, as a JSON object of strings: null if there are none.

    A value that is no string is its JSON text. Of a name that is there twice, the first value counts. `received_at` is
    left out: it says when an event arrived here, which its producer cannot know.
    """
    entries = F.from_json("text", "map<string,string>", STRICT_JSON)
    known = [field.name for field in FIELDS] + ["received_at"]
    names = F.array_sort(F.array_distinct(F.filter(F.col("inspection.names"), lambda name: ~name.isin(*known))))
    values = F.transform(names, lambda name: entries[name])
    return F.when(F.size(names) > 0, F.to_json(F.map_from_arrays(names, values)))


def may_change(name: str) -> Column:
    """Return whether Unicode's normal form C may differ from the text."""
    return is_not_ascii(name) & F.col(name).rlike(MAY_CHANGE)


def is_not_ascii(name: str) -> Column:
    return F.octet_length(name) > F.length(name)


def normalised(name: str) -> Column:
    """Return a text in normal form C in lower case, with single blanks inside and none around; null if it is empty."""
    text = F.col(name)
    single = F.trim(F.regexp_replace(text, BLANKS, " "))
    return F.nullif(F.lower(F.when(is_not_ascii(name) | text.contains(" "), single).otherwise(text)), F.lit(""))


def normalised_lines(lines: DataFrame, has_odd_rows: bool) -> DataFrame:
    """Return the lines with each brand and category in its normal form.

    Spark has no function for the form. A Python function is slow, so only the lines that need it go through one.
    """
    if not has_odd_rows:
        return lines
    form = F.udf(lambda text: text and normalize("NFC", text))
    odd = lines.where("may_change").withColumns({name: form(name) for name in NORMALISED})
    odd = odd.withColumns({name: normalised(name) for name in NORMALISED})
    return lines.where("not may_change").unionByName(odd)


def truncated_address(name: str) -> Column:
    """Return the address of the network: of IPv4 the first 24 bits, of IPv6 the first 48. Null if it is no address."""
    sent = F.col(name)
    # An IPv6 address may end with an IPv4 address, which is beyond the first 48 bits.
    address = F.regexp_replace(sent, rf":{IPV4}\z", ":0:0")

    def groups(part: Column) -> Column:
        return F.filter(F.split(part, ":"), lambda group: group != "")

    before = groups(F.substring_index(address, "::", 1))
    after = F.when(address.contains("::"), groups(F.substring_index(address, "::", -1))).otherwise(F.array())
    zeros = F.array_repeat(F.lit("0"), F.lit(8) - F.size(before) - F.size(after))
    first = F.transform(
        F.slice(F.concat(before, zeros, after), 1, 3),
        lambda group: F.regexp_replace(F.lower(group), "^0+(?=.)", ""),
    )
    prefix = F.regexp_replace(F.array_join(first, ":"), "(?:(?:^|:)0)+$", "")
    return F.when(sent.rlike(rf"\A{IPV4}\z"), F.concat(F.substring_index(sent, ".", 3), F.lit(".0"))).when(
        address.rlike(IPV6), F.concat(prefix, F.lit("::"))
    )


def events(lines: DataFrame, has_odd_rows: bool) -> DataFrame:
    """Return the rows for `curated_events` with the lines' `copies`, `other_fields` still JSON.

    Equal rows are one. It keeps the earliest `received_at`.
    """
    # Grouping by the whole row avoids the sort that picking the first of a group would need.
    return (
        normalised_lines(lines.where("reason is null"), has_odd_rows)
        .groupBy("event_key", *FIELD_COLUMNS, "other_fields")
        .agg(F.min("received_at").alias("received_at"), F.count("*").alias("copies"))
    )


def content(settings: Settings) -> Column:
    """Return a hash of what a stored event says, whatever the settings were when it was stored."""
    values = {name: F.col(name) for name in FIELD_COLUMNS}
    return digest(values | {"user_id": somebody(settings), "client_ip": truncated_address("client_ip")})


def judge_repeats(spark: SparkSession, curated: str, rows: DataFrame, settings: Settings) -> DataFrame:
    """Return the events with `content`, `is_same` and `rank`.

    `is_same`: the row says what the first event of its key says: the stored one, or the one that arrived first. `rank`
    is 1 for one such row of each key, whose `copies` are then those of all.
    """
    own = rows.where("event_id is not null").select("event_key")
    # A different event may have any time, so this looks for the keys in the whole table.
    stored = spark.table(curated).where("event_id is not null").join(own, "event_key", "left_semi")
    first_at, last_at = stored.agg(F.min("event_at").cast("string"), F.max("event_at").cast("string")).first()
    in_range = f"event_at between timestamp_ntz '{first_at}' and timestamp_ntz '{last_at}'" if first_at else "false"
    stored = stored.where(in_range).select("event_key", content(settings).alias("stored_content"))

    of_key = Window.partitionBy("event_key")
    arrived_first = F.first("content").over(of_key.orderBy("received_at", "content"))
    return (
        rows.withColumn("content", content(settings))
        .join(stored, "event_key", "left")
        .withColumn("is_same", F.col("content") == F.coalesce("stored_content", arrived_first))
        .withColumn(
            "rank",
            F.row_number().over(of_key.orderBy(F.desc("is_same"), "received_at", F.desc_nulls_last("other_fields"))),
        )
        .withColumn("copies", F.sum(F.when(F.col("is_same"), F.col("copies"))).over(of_key))
    )


def repeated_ids(lines: DataFrame, others: DataFrame, has_odd_rows: bool, settings: Settings) -> DataFrame:
    """Return the lines with `reason`, `record_id`, `record`, `object` whose event is one of the `others`."""
    # Without the cache, Spark would move the condition into `validate`, and write out each reason in full to do so.
    good = lines.persist().where("reason is null and event_id is not null")
    return (
        normalised_lines(good, has_odd_rows)
        .withColumn("content", content(settings))
        .join(others, ["event_key", "content"], "left_semi")
        .select(F.lit("repeated_event_id").alias("reason"), "record_id", "record", "object")
    )


def bad_records(lines: DataFrame) -> DataFrame:
    """Return the rows for `quarantined_records`, each once, and how many `copies` of it were read."""
    arrival_date = F.regexp_extract("object", r"/arrival_date=([\d-]+)/", 1).cast("date")
    return (
        lines.groupBy("record_id", "record", "reason")
        .agg(F.min(F.struct(arrival_date.alias("arrival_date"), "object")).alias("found"), F.count("*").alias("copies"))
        .select("record_id", "record", "reason", "found.arrival_date", "found.object", "copies")
    )


def insert_new(spark: SparkSession, table: str, key: str, rows: DataFrame, in_range: str = "true") -> tuple[int, int]:
    """Insert the rows whose key is not stored. Return the number of rows added, and of lines that were duplicates.

    `in_range` is a condition on `stored` rows that holds for each of the new rows: the merge reads only what meets it.
    """
    # A later version of this job may have added columns.
    columns = spark.table(table).columns
    rows = rows.withColumns({name: F.lit(None) for name in columns if name not in rows.columns})
    rows.persist().createOrReplaceTempView("new")
    repeated = rows.agg(F.sum(F.col("copies") - 1)).first()[0]
    stored = rows.join(spark.table(table).alias("stored").where(in_range), key, how="left_semi").count()
    started_ms = int(time() * 1000)
    spark.sql(
        f"merge into {table} as stored using new on stored.{key} = new.{key} and {in_range}"
        " when not matched then insert *"
    )
    rows.unpersist()
    # What this session has written since then, according to Iceberg.
    added = spark.sql(
        f"select coalesce(sum(cast(summary['added-records'] as bigint)), 0) from {table}.snapshots"
        f" where committed_at >= timestamp_millis({started_ms})"
        f" and summary['spark.app.id'] = '{spark.sparkContext.applicationId}'"
    ).first()[0]
    return added, repeated + stored


def new_reasons(spark: SparkSession, quarantined: str, bad: DataFrame) -> dict[str, int]:
    """Return the number of bad records that are not stored yet, by reason."""
    new = bad.join(spark.table(quarantined), "record_id", how="left_anti")
    return {row["reason"]: row["count"] for row in new.groupBy("reason").count().collect()}


def publish(reasons: dict[str, int], namespace: str, metric: str, region: str) -> None:
    """Send the metric to CloudWatch: quarantined records by the dimension `reason`.

    If CloudWatch fails, the log says so and the run still succeeds: `quarantined_records` has the same numbers.
    """
    data = [
        {
            "MetricName": metric,
            "Dimensions": [{"Name": "reason", "Value": reason}],
            "Unit": "Count",
            "Value": count,
        }
        for reason, count in sorted(reasons.items())
    ]
    if not data:
        return
    try:
        # A call takes at most 1,000 of them. There are about forty reasons.
        boto3.client("cloudwatch", region_name=region).put_metric_data(Namespace=namespace, MetricData=data)
    except (BotoCoreError, ClientError) as error:
        log(f"the metric {metric} is not published: {error}; it should say {reasons}")
    else:
        log(f"published {metric}: {reasons}")


def record_run(spark: SparkSession, table: str, row: dict[str, Any]) -> None:
    """Write the run's row. It replaces an older one of the same `run_id`."""
    values = ", ".join(f"cast(:{name} as {type_}) as {name}" for name, type_ in ETL_RUNS.items())
    spark.sql(f"select {values}", row).createOrReplaceTempView("new")
    spark.sql(
        f"merge into {table} as stored using new on stored.run_id = new.run_id"
        " when matched then update set * when not matched then insert *"
    )


def day(text: str, option: str) -> date:
    """Return the day that an option gives. Raise SystemExit if it is none."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise SystemExit(f"--{option} {text!r} is not a day: use the form 2026-11-24") from None


def read_settings(options: dict[str, str]) -> Settings:
    """Return the settings that the options give. Raise SystemExit if one is invalid."""
    try:
        nobody_ids = json.loads(options["nobody_ids"])
    except ValueError:
        nobody_ids = None
    if not isinstance(nobody_ids, list) or not all(isinstance(one, str) for one in nobody_ids):
        raise SystemExit(f'--nobody_ids {options["nobody_ids"]!r} is no JSON list of texts, such as \'["0", "guest"]\'')
    if not options["max_ahead_s"].isdecimal():
        raise SystemExit(f"--max_ahead_s {options['max_ahead_s']!r} is no whole number of seconds, such as 60")
    if options["address_form"] not in ADDRESS_FORMS:
        raise SystemExit(f"--address_form {options['address_form']!r} is none of {', '.join(ADDRESS_FORMS)}")
    return Settings(tuple(nobody_ids), int(options["max_ahead_s"]), options["address_form"] == "truncated")


def log(message: str) -> None:
    """Write a line of progress to stderr."""
    print(f"{monotonic() - STARTED_S:6.1f} s  {message}", file=sys.stderr, flush=True)


STARTED_S = monotonic()


def main() -> None:
    """Run the job with the arguments that Glue passes."""
    names = ["raw_path", "database", "from_date", "to_date", "run_id", "nobody_ids", "max_ahead_s", "address_form"]
    options = getResolvedOptions(sys.argv, [*names, "metric_namespace", "quarantine_metric", "metric_region"])
    from_date, to_date = (day(options[option], option) for option in ("from_date", "to_date"))
    if from_date > to_date:
        raise SystemExit(f"--from_date {from_date} is after --to_date {to_date}: swap them, both days are included")
    settings = read_settings(options)
    spark = SparkSession.builder.appName("curate_events").getOrCreate()
    log("session is up")
    row, reasons = run(spark, options["raw_path"], options["database"], from_date, to_date, options["run_id"], settings)
    publish(reasons, options["metric_namespace"], options["quarantine_metric"], options["metric_region"])
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
