"""Curate arrival days: raw JSON lines become typed, deduplicated Iceberg rows, or quarantined records with a reason.

AWS Glue 5.1 runs this file as a Spark script. The catalog `glue_catalog`, and everything else that differs between AWS
and one machine, comes from Spark's configuration.

    --raw_path s3://bucket/events/ --database my_db_ecomm --from_date 2026-11-23 --to_date 2026-11-24 --run_id nightly-1
    --nobody_ids '["0", "guest"]' --max_ahead_s 60 --address_form whole
    --metric_namespace ecommerce-namespace-1 --quarantine_metric ecomm-quarantined-records --aws_region us-east-1
    --totals_table ecomm-event-totals

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

**Hot and cold.** `arrivals` says how many lines of each event date and reason arrived on each day, new or not. A run
replaces the rows of its days. Then it compares them with what the detector has counted (`totals_table`): for the event
dates of its lines, and for its bad records by reason. It logs the result, and writes into `etl_runs` how many lines the
detector has not counted. That fails no run: the detector may still be reading.

The last line on stdout is the run's row of `etl_runs` as JSON. Progress goes to stderr.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from time import monotonic, time
from typing import Any, NamedTuple
from unicodedata import normalize

import boto3
from awsglue.utils import getResolvedOptions
from botocore.exceptions import BotoCoreError, ClientError
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, Row, SparkSession, Window
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
# What a line says of its event.
ROW_COLUMNS = FIELD_COLUMNS | {"other_fields": "string"}  # JSON
# What most lines do not say.
OPTIONAL = (*(field.name for field in FIELDS[ALWAYS_WRITTEN:] if field.kind != "time"), "other_fields")
PERSONAL = tuple(field.name for field in FIELDS if field.personal)
QUARANTINED_RECORDS = {
    "record_id": "string",
    "record": "string",
    "reason": "string",
    "arrival_date": "date",
    "object": "string",
}
# By the time of the pipeline; a bad record has a reason instead.
ARRIVALS = {
    "arrival_date": "date",
    "event_date": "date",
    "reason": "string",
    "line_count": "bigint",
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
    "missing_rows": "bigint",
}

# No value contains one: U+001F separates the values in an event_key.
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# The longest id, in characters (Unicode code points).
LONGEST_ID = 128

# A line in wire form, as the project's producers write it, is valid JSON in which each field occurs once with a good
# value: only its times may not exist. Spark's own parser is enough for it. Ids of digits and times in the data set's
# form are wire form too. Any other line may still be good: `read_line` says so.
WIRE_ID = rf'"[^"\\\x00-\x1f\x7f]{{1,{LONGEST_ID}}}+"'
WIRE_VALUES = {
    "time": r'"(?!0000)\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d\.\d{3}Z| \d\d:\d\d:\d\d UTC)"',
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
# The same of ASCII alone, which needs no look for special characters.
ASCII_WIRE_RECORD = WIRE_RECORD.replace(r"\x7f]", r"\x7f-\x{10ffff}]")

# Date, time of day, fraction, and the offset's sign, hours and minutes.
TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z| UTC|([+-])(\d\d)(?::?([0-5]\d))?)", re.ASCII
)
# No time zone is further from UTC.
LONGEST_OFFSET = timedelta(hours=18)
# Digits, a fraction, and an exponent that costs nothing to write out.
PRICE = re.compile(r"(?=.{1,40}\Z)[-\d.]+(?:[eE][+-]?\d{1,3})?")
PRICE_LIMIT = 10**10

# So many objects and arrays may be in each other, with the line's own.
DEEPEST = 100
# A string, an unfinished one too, so that a line is searched once; or a bracket.
BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[][{}]', re.DOTALL)
# An escape of half a character: half of a pair without the other. It has no form in UTF-8.
LONE_SURROGATE = re.compile(
    r"\\u[dD][89aAbB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89aAbB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)

# Every character that Unicode's normal form C may change or join to the one before it: marks, vowels and finals of
# Korean, and letters that have another form. Some that it leaves alone are among them. And U+FFFD, which may stand for
# bytes that are not UTF-8.
SPECIAL = (
    r"[\p{M}\u0340-\u0345\u0374\u037e\u0387\u0900-\u109f\u1160-\u11ff\u1b00-\u1b4f\u1f00-\u1fff"
    r"\u2000\u2001\u2126\u212a\u212b\u2329\u232a\u2adc\uf900-\ufaff\ufb1d-\ufb4f\ufffd"
    r"\x{11000}-\x{11fff}\x{16d00}-\x{16dff}\x{1d100}-\x{1d1ff}\x{2f800}-\x{2fa1f}]"
)
NORMALISED = ("category_code", "brand")
BLANKS = r"[\p{Z}\x85]+"

# https://docs.aws.amazon.com/firehose/latest/dev/s3-object-name.html
DELIVERED_AT = r"-(\d{4}(?:-\d\d){5})-[0-9a-f-]{36}[^/]*\z"
RAW_LINES = "value string, object string, arrival_date date, received_at timestamp_ntz, arrived_by timestamp_ntz"
# What a line says: why it is bad; or its fields as sent, some also in Unicode's normal form C, and others as JSON.
READ_LINE = ", ".join(
    [
        "reason string",
        *(f"{field.name} {TYPES[field.kind]}" for field in FIELDS),
        *(f"{name}_form string" for name in NORMALISED),
        "other_fields string",
    ]
)

OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
IPV4 = rf"{OCTET}(?:\.{OCTET}){{3}}"
GROUP = "[0-9a-fA-F]{1,4}"
# Eight groups, or at most seven with "::" in place of the others.
IPV6 = (
    rf"\A(?:{GROUP}(?::{GROUP}){{7}}"
    rf"|(?!(?:::)?(?:{GROUP}::?){{7}}{GROUP})(?:{GROUP}(?::{GROUP})*)?::(?:{GROUP}(?::{GROUP})*)?)\z"
)

ADDRESS_FORMS = ("whole", "truncated")

# What costs this job less than Spark's defaults, by `make bench-curate`.
SPARK_OPTIONS = {
    # One method for a whole stage is too long for Java's compiler, which leaves it interpreted.
    "spark.sql.codegen.wholeStage": "false",
    # Most values of a cached line occur once, so that looking for repeated ones saves nothing.
    "spark.sql.inMemoryColumnarStorage.compressed": "false",
}


# What the detector has counted: the number of lines by day, such as `event 2026-11-26` or `arrival 2026-11-26`, and
# outcome.
Totals = dict[tuple[str, str], int]


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
    read_totals: Callable[[], Totals | None] = lambda: None,
) -> tuple[dict[str, Any], dict[str, int]]:
    """Curate the days. Return the run's row of `etl_runs`, and the number of newly quarantined records by reason.

    `read_totals` returns None if nobody knows what the detector has counted. Raise RuntimeError, without writing to
    `etl_runs`, when the counts do not add up.
    """
    for option, value in SPARK_OPTIONS.items():
        spark.conf.set(option, value)
    curated = create_table(spark, database, "curated_events", CURATED_EVENTS, "partitioned by (days(event_at))")
    quarantined = create_table(spark, database, "quarantined_records", QUARANTINED_RECORDS)
    arrivals = create_table(spark, database, "arrivals", ARRIVALS, "partitioned by (arrival_date)")
    etl_runs = create_table(spark, database, "etl_runs", ETL_RUNS)
    log("tables exist")

    raw = read_lines(spark, raw_path, from_date, to_date)
    lines = validate(raw, settings)
    arrived = (
        lines.groupBy("arrival_date", F.to_date("txn_at").alias("event_date"), "reason")
        .agg(
            F.count("*").alias("line_count"),
            F.min("event_at").cast("string").alias("first_at"),
            F.max("event_at").cast("string").alias("last_at"),
            *(F.count(name).alias(name) for name in OPTIONAL),
        )
        .collect()
    )
    raw_rows = sum(one["line_count"] for one in arrived)
    bad_rows = sum(one["line_count"] for one in arrived if one["reason"])
    first_at = min((one["first_at"] for one in arrived if one["first_at"]), default=None)
    last_at = max((one["last_at"] for one in arrived if one["last_at"]), default=None)
    log(f"read {raw_rows} lines, {bad_rows} of them bad")

    empty = {name for name in OPTIONAL if not any(one[name] for one in arrived)}
    columns = [name for name in ROW_COLUMNS if name not in empty]
    bad, rows = lines.where("reason is not null"), events(lines, columns)
    # Without an id of the producer, equal keys are equal events. Without other fields, they are also equal rows.
    if not {"event_id", "other_fields"} <= empty:
        # Checkpoints, as Spark writes the plan of each cache into those of all that use it, several times.
        judged = judge_repeats(spark, curated, rows.localCheckpoint(), settings).localCheckpoint()
        others = judged.where("not is_same").select("event_key", "content").distinct()
        if other_rows := others.count():
            log(f"{other_rows} different events repeat an event_id")
            repeats = repeated_ids(validate(raw, settings, keeps_records=True), others, settings)
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
    if arrived:
        record_arrivals(spark, arrivals, arrived)
    row = {
        "run_id": run_id,
        "from_date": str(from_date),
        "to_date": str(to_date),
        "finished_at": datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds"),
        "raw_rows": raw_rows,
        "curated_rows": curated_rows,
        "duplicate_rows": duplicate_rows,
        "quarantined_rows": quarantined_rows,
        "missing_rows": missing_rows(spark, arrivals, from_date, to_date, arrived, read_totals()),
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
    """Return a row per line that is not blank, with the columns of RAW_LINES. `value` may be invalid UTF-8.

    Firehose ends each record with a newline, so that a record that ends with its own leaves a blank line.

    `received_at` is when the first record of the line's object arrived, which Firehose writes into the object's name;
    without it, when the object was written. `arrived_by` is the latest time at which the line can have arrived.
    """
    days = [str(from_date + timedelta(days=day)) for day in range((to_date - from_date).days + 1)]
    # The base path makes a column of the folders' arrival_date, if they hold objects.
    text = spark.read.option("basePath", raw_path)
    try:
        # Only a newline ends a line. By default a carriage return does too.
        lines = text.text(f"{raw_path.rstrip('/')}/arrival_date={{{','.join(days)}}}", lineSep="\n")
    except AnalysisException as error:
        if error.getErrorClass() != "PATH_NOT_FOUND":
            raise
        lines = spark.createDataFrame([], "value string")
    if "arrival_date" not in lines.columns:
        log(f"nothing under {raw_path} arrived from {from_date} to {to_date}")
        return spark.createDataFrame([], RAW_LINES)
    lines = lines.where(r"length(btrim(value, ' \t\r')) > 0").select(
        "value",
        F.col("arrival_date").cast("date"),
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
        "arrival_date",
        F.coalesce(named_at, written_at).alias("received_at"),
        F.greatest(named_at, written_at).alias("arrived_by"),
    )


def validate(lines: DataFrame, settings: Settings, keeps_records: bool = False) -> DataFrame:
    """Return a row per line: an event's columns without `reason`, or `reason`, `record_id`, `record` of a bad line.

    Empty strings of nullable fields become null, and so do user ids that mean nobody. Prices are rounded half up to two
    decimals, times are cut to milliseconds. `other_fields` is JSON. `keeps_records` is for good lines too.

    The rows are cached: whatever is done with them, a line is read once.
    """
    line, is_wire = F.col("value"), F.col("is_wire")
    in_wire_form = line.rlike(ASCII_WIRE_RECORD) | (line.rlike(WIRE_RECORD) & ~line.rlike(SPECIAL))
    odd = F.when(~is_wire, F.struct(*lines.columns)).alias("odd")
    sent = F.from_json(line, ", ".join(f"{field.name} {TYPES[field.kind]}" for field in FIELDS))
    wire = (
        lines.withColumn("is_wire", in_wire_form)
        .withColumn("sent", F.when(is_wire, sent))
        .withColumns({field.name: wire_value(field) for field in FIELDS})
        .withColumns({f"{name}_form": F.col(name) for name in NORMALISED})
        .withColumns({name: F.lit(None).cast("string") for name in ("reason", "other_fields")})
    )
    rows = judge(wire, settings, keeps_records, odd).persist()
    odd_lines = rows.where("odd is not null").select("odd.*")
    rows = rows.where("odd is null").drop("odd")
    # Not isEmpty(), which reads one partition, then four, and so on: here all cores fill the cache.
    if not odd_lines.count():
        return rows
    read = odd_lines.withColumn("read", F.udf(read_line, READ_LINE)(line.cast("binary"))).select("*", "read.*")
    return rows.unionByName(judge(read, settings, keeps_records).persist())


def wire_value(field: Field) -> Column:
    """Return a field of a line in wire form: null if it is an empty string, a time as text in UTC milliseconds."""
    sent = F.col(f"sent.{field.name}")
    if field.kind == "time":
        day, time_of_day = F.substring(sent, 1, 10), F.substring(sent, 12, 8)
        return F.when(sent.endswith("Z"), sent).otherwise(F.concat(day, F.lit("T"), time_of_day, F.lit(".000Z")))
    return F.expr(f"nullif(sent.{field.name}, '')") if TYPES[field.kind] == "string" else sent


def judge(read: DataFrame, settings: Settings, keeps_records: bool, *others: Column) -> DataFrame:
    """Return the rows of `validate`, with `others`, from lines and what they say: the columns of READ_LINE."""
    reason, line = F.col("reason"), F.col("value").cast("binary")
    is_good = reason.isNull()
    kept = F.lit(True) if keeps_records else ~is_good
    stored = {name: F.col(name) for name in FIELD_COLUMNS} | {
        "event_type": F.lower(F.trim("event_type")),
        "user_id": somebody(settings),
        "txn_at": F.coalesce("txn_at", "event_at"),
        "other_fields": F.col("other_fields"),
    }
    for name in NORMALISED:
        stored[name] = normalised(f"{name}_form")
    if settings.truncates_addresses:
        stored["client_ip"] = truncated_address("client_ip")
    return (
        read.withColumns({column: instant(name) for name, column in TIMES.items()})
        .withColumn("reason", F.coalesce(reason, *(time_check(name) for name in TIMES), implausible(settings)))
        .select(
            reason,
            *(F.when(is_good, column).alias(name) for name, column in {"event_key": event_key(), **stored}.items()),
            "received_at",
            "arrival_date",
            F.when(kept, F.sha2(line, 256)).alias("record_id"),
            F.when(kept, F.decode(line, "UTF-8")).alias("record"),  # U+FFFD in place of bytes that are not UTF-8
            F.when(kept, F.col("object")).alias("object"),
            *others,
        )
    )


# A line that is not in wire form


class BadLine(Exception):
    """A line is no event. Its message is the reason."""


class Pairs(list):
    """The names and values of a JSON object, repeated ones too."""


class Number(str):
    """A JSON number as it is written, so that reading costs the same for each."""


def read_line(line: bytes) -> tuple[Any, ...]:
    """Return what a line says, in the order of READ_LINE."""
    values: dict[str, Any] = dict.fromkeys(field.name for field in FIELDS)
    try:
        fields, repeated = parse(line)
        for field in FIELDS:
            if field.name in repeated:
                raise BadLine(f"repeated:{field.name}")
            if (value := fields.pop(field.name, None)) not in (None, ""):
                values[field.name] = read_value(field, value)
            elif not field.nullable:
                raise BadLine(f"missing:{field.name}")
    except BadLine as bad:
        return str(bad), *[None] * (len(FIELDS) + len(NORMALISED) + 1)
    forms = (values[name] and normalize("NFC", values[name]) for name in NORMALISED)
    return None, *values.values(), *forms, other_fields(fields)


def parse(line: bytes) -> tuple[dict[str, Any], set[str]]:
    """Return the first value of each field of a line, and the names that are there again.

    Raise BadLine with `not_utf8`, or `not_json` (also: cut off, empty, not an object, more than one value, too deep).
    """
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise BadLine("not_utf8") from None
    if is_too_deep(text):
        raise BadLine("not_json")
    try:
        pairs = json.loads(text, object_pairs_hook=Pairs, parse_int=Number, parse_float=Number, parse_constant=refuse)
    except ValueError:
        raise BadLine("not_json") from None
    if not isinstance(pairs, Pairs):
        raise BadLine("not_json")
    if "\\" in text and LONE_SURROGATE.search(text.replace(r"\\", "")):  # an escaped backslash begins no escape
        raise BadLine("not_utf8")
    times = Counter(name for name, _ in pairs)
    return dict(reversed(pairs)), {name for name in times if times[name] > 1}


def refuse(constant: str) -> None:
    """Refuse what Python takes for a number, and JSON does not."""
    raise ValueError(f"{constant} is not JSON")


def is_too_deep(text: str) -> bool:
    """Return whether more than DEEPEST objects and arrays are in each other."""
    if text.count("[") + text.count("{") <= DEEPEST:
        return False
    depth = 0
    for bracket in BRACKETS.findall(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(bracket, 0)
        if depth > DEEPEST:
            return True
    return False


def read_value(field: Field, value: Any) -> Any:
    """Return the value of a field. Raise BadLine with the first check that it fails."""
    name = field.name
    if field.kind == "price":
        return read_price(value, name)
    if field.kind == "quantity":
        return read_quantity(value, name)
    if field.kind == "id" and isinstance(value, Number) and value.lstrip("-").isdigit():
        value = str(value)
    if type(value) is not str:
        raise BadLine(f"wrong_type:{name}")
    if field.kind in ("id", "word") and len(value) > LONGEST_ID:
        raise BadLine(f"too_long:{name}")
    if field.kind == "time":
        return read_time(value, name)
    if CONTROL.search(value):
        raise BadLine(f"control_character:{name}")
    return value


def read_price(value: Any, name: str) -> Decimal:
    """Return a price in whole cents."""
    if not isinstance(value, Number) or not PRICE.fullmatch(value) or abs(Decimal(value)) >= PRICE_LIMIT:
        raise BadLine(f"wrong_type:{name}")
    cents = Decimal(value).quantize(Decimal("0.01"), ROUND_HALF_UP)
    if abs(cents) >= PRICE_LIMIT:
        raise BadLine(f"wrong_type:{name}")
    if Decimal(value) < 0:
        raise BadLine(f"negative_{name}")
    return abs(cents)  # -0.00 is 0.00


def read_quantity(value: Any, name: str) -> int:
    """Return a quantity, which has 64 bits."""
    if not isinstance(value, Number) or not re.fullmatch(r"-?\d{1,19}", value) or not -(2**63) <= int(value) < 2**63:
        raise BadLine(f"wrong_type:{name}")
    if int(value) < 1:
        raise BadLine(f"bad_{name}")
    return int(value)


def read_time(text: str, name: str) -> str:
    """Return a time as `2019-10-01T00:00:00.000Z`."""
    found = TIME.fullmatch(text)
    day, time_of_day, fraction, sign, hours, minutes = found.groups(default="") if found else [""] * 6
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        at = datetime.fromisoformat(f"{day} {time_of_day}")
        at += offset if sign == "-" else -offset
    except (ValueError, OverflowError):  # an offset can lead to a year that has no four digits
        raise BadLine(f"bad_time:{name}") from None
    if offset > LONGEST_OFFSET:
        raise BadLine(f"bad_time:{name}")
    return f"{at.isoformat()}.{fraction[:3]:0<3}Z"


def other_fields(fields: dict[str, Any]) -> str | None:
    """Return the fields that the contract does not name, as a JSON object of strings: null if there are none.

    A value that is no string is its JSON text. `received_at` is left out: it says when an event arrived here, which its
    producer cannot know.
    """
    texts = {
        name: value if value is None or type(value) is str else json_text(value)
        for name, value in sorted(fields.items())
        if name != "received_at"
    }
    return json.dumps(texts, ensure_ascii=False) if texts else None


def json_text(value: Any) -> str:
    """Return a value as JSON, its numbers as they were written."""
    match value:
        case Number():
            return str(value)
        case Pairs():
            return "{" + ",".join(f"{json_text(name)}:{json_text(one)}" for name, one in value) + "}"
        case list():
            return "[" + ",".join(map(json_text, value)) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)


# What both kinds of lines share


def instant(name: str) -> Column:
    """Return the UTC time of a text in UTC milliseconds, as timestamp_ntz; null if it does not exist."""
    return F.expr(f"try_cast(substring({name}, 1, 23) as timestamp_ntz)")


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


def is_not_ascii(name: str) -> Column:
    return F.octet_length(name) > F.length(name)


def normalised(name: str) -> Column:
    """Return a text in normal form C in lower case, with single blanks inside and none around; null if it is empty."""
    text = F.col(name)
    single = F.trim(F.regexp_replace(text, BLANKS, " "))
    return F.nullif(F.lower(F.when(is_not_ascii(name) | text.contains(" "), single).otherwise(text)), F.lit(""))


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


def events(lines: DataFrame, columns: Collection[str]) -> DataFrame:
    """Return the rows for `curated_events` with the lines' `copies`, `other_fields` still JSON.

    Equal rows are one. It keeps the earliest `received_at`. Only `columns` have values: others cost nothing.
    """
    # Grouping by the whole row avoids the sort that picking the first of a group would need.
    rows = (
        lines.where("reason is null")
        .groupBy("event_key", *columns)
        .agg(F.min("received_at").alias("received_at"), F.count("*").alias("copies"))
    )
    empty = {name: F.lit(None).cast(type_) for name, type_ in ROW_COLUMNS.items() if name not in columns}
    return rows.withColumns(empty)


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


def repeated_ids(lines: DataFrame, others: DataFrame, settings: Settings) -> DataFrame:
    """Return the lines with the columns that `bad_records` reads, whose event is one of the `others`."""
    return (
        lines.where("reason is null and event_id is not null")
        .withColumn("content", content(settings))
        .join(others, ["event_key", "content"], "left_semi")
        .select(F.lit("repeated_event_id").alias("reason"), "record_id", "record", "object", "arrival_date")
    )


def bad_records(lines: DataFrame) -> DataFrame:
    """Return the rows for `quarantined_records`, each once, and how many `copies` of it were read."""
    return (
        lines.groupBy("record_id", "record", "reason")
        .agg(F.min(F.struct("arrival_date", "object")).alias("found"), F.count("*").alias("copies"))
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


def record_arrivals(spark: SparkSession, table: str, arrived: Iterable[Row]) -> None:
    """Write how many lines of each date and reason arrived. They replace the rows of the same days of arrival."""
    rows = [tuple(one[name] for name in ARRIVALS) for one in arrived]
    schema = ", ".join(f"{name} {type_}" for name, type_ in ARRIVALS.items())
    # Of days without lines, what was counted stays: their raw objects may have expired.
    spark.createDataFrame(rows, schema).writeTo(table).overwritePartitions()


def missing_rows(
    spark: SparkSession,
    arrivals: str,
    from_date: date,
    to_date: date,
    arrived: Collection[Row],
    totals: Totals | None,
) -> int | None:
    """Return how many lines that arrived the detector has not counted, by the run's event dates and reasons.

    None if nobody knows what it has counted. The log says more. An event of a date may arrive on any day, so all that
    arrived is compared; a bad record has no date, so those that arrived on the run's days are.
    """
    if totals is None:
        return None
    stored = spark.table(arrivals).groupBy("event_date").agg(F.sum("line_count").alias("line_count"))
    dates = {one["event_date"] for one in arrived if one["event_date"]}
    lines: Counter[str] = Counter()
    for one in stored.where("event_date is not null").collect():
        if one["event_date"] in dates:
            lines[str(one["event_date"])] = one["line_count"]
    counted: Counter[str] = Counter()
    for (day, outcome), total in totals.items():
        kind, _, text = day.partition(" ")
        if kind == "event" and text in lines:
            counted[text] += total
        elif kind == "arrival" and str(from_date) <= text <= str(to_date):
            counted[outcome] += total
    for one in arrived:
        if one["reason"]:
            lines[one["reason"]] += one["line_count"]
    missing = 0
    for name in sorted(lines | counted):
        difference = lines[name] - counted[name]
        missing += max(difference, 0)
        verdict = (
            "equal" if not difference else f"{difference} missing" if difference > 0 else "more, not delivered yet"
        )
        log(f"{name}: {lines[name]} arrived, the detector has counted {counted[name]}: {verdict}")
    return missing


def counted_totals(table: str, region: str) -> Totals | None:
    """Return what the detector has counted. None, and a line in the log, if DynamoDB does not say."""
    try:
        pages = boto3.client("dynamodb", region_name=region).get_paginator("scan").paginate(TableName=table)
        items = [item for page in pages for item in page["Items"]]
    except (BotoCoreError, ClientError) as error:
        log(f"not compared with the detector: {error}")
        return None
    return {(item["day"]["S"], item["outcome"]["S"]): int(item["total_count"]["N"]) for item in items}


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
    names += ["metric_namespace", "quarantine_metric", "totals_table", "aws_region"]
    options = getResolvedOptions(sys.argv, names)
    from_date, to_date = (day(options[option], option) for option in ("from_date", "to_date"))
    if from_date > to_date:
        raise SystemExit(f"--from_date {from_date} is after --to_date {to_date}: swap them, both days are included")
    settings = read_settings(options)
    spark = SparkSession.builder.appName("curate_events").getOrCreate()
    log("session is up")
    region = options["aws_region"]
    read_totals = partial(counted_totals, options["totals_table"], region)
    raw_path, database, run_id = (options[name] for name in ("raw_path", "database", "run_id"))
    row, reasons = run(spark, raw_path, database, from_date, to_date, run_id, settings, read_totals)
    publish(reasons, options["metric_namespace"], options["quarantine_metric"], region)
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
