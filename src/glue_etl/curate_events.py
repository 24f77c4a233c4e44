"""Curate arrival days: raw JSON lines become typed, deduplicated Iceberg rows, or quarantined records with a reason.

AWS Glue 5.1 runs this file as a Spark script. The catalog `glue_catalog`, and everything else that differs between AWS
and one machine, comes from Spark's configuration.

    --raw_path s3://bucket/events/ --database my_db_ecomm --from_date 2026-11-23 --to_date 2026-11-24 --run_id nightly-1
    --metric_namespace ecommerce-namespace-1 --quarantine_metric ecomm-quarantined-records --metric_region us-east-1

Both dates are arrival days (UTC), included. A day without objects is fine. Every line is counted in one place:

    raw_rows = curated_rows     events that were not stored yet
             + duplicate_rows   lines seen before, good or bad, in this run or an earlier one
             + quarantined_rows bad records that were not stored yet

The four are measured independently, and the run fails when the sum does not match. Rows are merged by a hash of their
content, and `etl_runs` is written last. So repeating a run that died, or days that are already done, changes nothing
that is stored. A `run_id` that is used again replaces its row in `etl_runs` with the counts of the last attempt. Runs
must not overlap: both would count an event as new.

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

import boto3
from awsglue.utils import getResolvedOptions
from botocore.exceptions import BotoCoreError, ClientError
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

CATALOG = "glue_catalog"

CURATED_EVENTS = {
    "event_id": "string",
    "event_at": "timestamp_ntz",
    "event_type": "string",
    "product_id": "bigint",
    "category_id": "bigint",
    "category_code": "string",
    "brand": "string",
    "price": "decimal(12,2)",
    "user_id": "bigint",
    "user_session": "string",
    "txn_at": "timestamp_ntz",
}
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


class Field(NamedTuple):
    """A field of the wire record."""

    name: str
    type: str
    nullable: bool = False


# contracts/event.json, in its order.
FIELDS = (
    Field("event_time", "string"),
    Field("event_type", "string"),
    Field("product_id", "bigint"),
    Field("category_id", "bigint"),
    Field("category_code", "string", nullable=True),
    Field("brand", "string", nullable=True),
    Field("price", "decimal(12,2)"),
    Field("user_id", "bigint"),
    Field("user_session", "string", nullable=True),
    Field("txn_timestamp", "string"),
)
EVENT_TYPES = ("view", "cart", "remove_from_cart", "purchase")
EVENT_TIME = r"\A(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC\z"
TXN_TIMESTAMP = r"\A(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})Z\z"
# No value contains one: U+001F separates the values in an event_id.
CONTROL = r"[\x00-\x1f\x7f]"

# Spark's parser accepts these by default. No other JSON parser does.
STRICT_JSON = {"mode": "PERMISSIVE", "allowSingleQuotes": "false", "allowNonNumericNumbers": "false"}

# Prices are parsed with more digits than are stored, so that rounding or an overflow can't hide a bad one.
PARSED_TYPES = {field.name: "decimal(38,18)" if field.name == "price" else field.type for field in FIELDS}

# from_json makes a string of any value: "12" and 12 look alike. As one of these types it reads a number, a boolean, an
# array or an object, but no string.
NOT_STRINGS = ("double", "boolean", "array<string>", "map<string,string>")

# A line in wire form, as the project's producers write it, is valid JSON in which each field occurs once with a value
# of the right kind. One parse is enough for it. Any other line may still be good, and gets the slower `inspection`.
WIRE_VALUES = {
    "string": r'"[^"\\\x00-\x1f]*+"',
    "bigint": r"-?(?:0|[1-9]\d{0,18})",
    "decimal(12,2)": r"(?:0|[1-9]\d{0,9})\.\d\d",
}
WIRE_FIELDS = (f'"{field.name}":(?:{WIRE_VALUES[field.type]}{"|null" if field.nullable else ""})' for field in FIELDS)
WIRE_RECORD = rf"\A\{{{','.join(WIRE_FIELDS)}\}}\z"


def run(
    spark: SparkSession, raw_path: str, database: str, from_date: date, to_date: date, run_id: str
) -> tuple[dict[str, Any], dict[str, int]]:
    """Curate the days. Return the run's row of `etl_runs`, and the number of newly quarantined records by reason.

    Raise RuntimeError, without writing to `etl_runs`, when the counts do not add up.
    """
    curated = create_table(spark, database, "curated_events", CURATED_EVENTS, "partitioned by (days(event_at))")
    quarantined = create_table(spark, database, "quarantined_records", QUARANTINED_RECORDS)
    etl_runs = create_table(spark, database, "etl_runs", ETL_RUNS)
    log("tables exist")

    lines = validate(read_lines(spark, raw_path, from_date, to_date)).persist()
    raw_rows, bad_rows, first_at, last_at = lines.agg(
        F.count("*"), F.count("reason"), F.min("event_at").cast("string"), F.max("event_at").cast("string")
    ).first()
    log(f"read {raw_rows} lines, {bad_rows} of them bad")

    quarantined_rows = bad_repeats = curated_rows = event_repeats = 0
    reasons: dict[str, int] = {}
    if bad_rows:
        reasons = new_reasons(spark, quarantined, bad_records(lines))
        quarantined_rows, bad_repeats = insert_new(spark, quarantined, "record_id", bad_records(lines))
        log(f"quarantined {quarantined_rows}, stored before or repeated {bad_repeats}")
    if first_at:
        # With this range, the merge does not read every event ever stored.
        in_range = f"stored.event_at between timestamp_ntz '{first_at}' and timestamp_ntz '{last_at}'"
        curated_rows, event_repeats = insert_new(spark, curated, "event_id", events(lines), in_range)
        log(f"curated {curated_rows}, stored before or repeated {event_repeats}")
    lines.unpersist()

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
    """Create the table if it does not exist. Return its full name."""
    name = f"{CATALOG}.`{database}`.{table}"
    spark.sql(
        f"create table if not exists {name} ({', '.join(map(' '.join, columns.items()))}) using iceberg {partitions}"
        " tblproperties ('format-version' = '2', 'write.parquet.compression-codec' = 'zstd')"
    )
    return name


def read_lines(spark: SparkSession, raw_path: str, from_date: date, to_date: date) -> DataFrame:
    """Return a row per line: `value` (bytes, which may be invalid UTF-8), `arrival_date`, `object`."""
    days = [str(from_date + timedelta(days=day)) for day in range((to_date - from_date).days + 1)]
    try:
        # Only a newline ends a line. By default a carriage return does too.
        lines = spark.read.text(f"{raw_path.rstrip('/')}/arrival_date={{{','.join(days)}}}", lineSep="\n")
    except AnalysisException as error:
        if error.getErrorClass() != "PATH_NOT_FOUND":
            raise
        log(f"nothing under {raw_path} arrived from {from_date} to {to_date}")
        return spark.createDataFrame([], "value binary, arrival_date date, object string")
    path = F.col("_metadata.file_path")
    arrival_date = F.regexp_extract(path, r"/arrival_date=([\d-]+)/", 1).cast("date")
    lines = lines.select(F.col("value").cast("binary"), arrival_date.alias("arrival_date"), path.alias("object"))
    # Spark can't split a gzip file: one big file would keep one core busy and the others idle.
    cores = spark.sparkContext.defaultParallelism
    return lines.repartition(cores) if len(lines.inputFiles()) < cores else lines


def validate(lines: DataFrame) -> DataFrame:
    """Return a row per line: an event's columns without `reason`, or `reason`, `record_id`, `record` of a bad line.

    The reasons are `not_utf8`, `not_json` (also: cut off, empty, not an object, more than one value), then the first
    failed check of the first bad field, in the order of the contract: see `checks`.

    Fields that the contract does not name are ignored. Empty strings of nullable fields become null. Prices are rounded
    half up to two decimals.
    """
    text, record_id, is_wire, reason = F.col("text"), F.sha2("value", 256), F.col("is_wire"), F.col("reason")
    return (
        lines.withColumn("text", F.decode("value", "UTF-8"))  # U+FFFD in place of bytes that are not UTF-8
        .withColumn("is_utf8", F.encode(text, "UTF-8") == F.col("value"))
        .withColumn("is_wire", F.col("is_utf8") & text.rlike(WIRE_RECORD))
        .withColumns({"event": parse(PARSED_TYPES), "inspection": F.when(~is_wire, inspection(record_id))})
        .withColumns(
            {
                "event_at": instant("event.event_time", EVENT_TIME),
                "txn_at": instant("event.txn_timestamp", TXN_TIMESTAMP),
                "price": F.expr("try_cast(event.price as decimal(12,2))"),
            }
        )
        .withColumn(
            "reason",
            F.when(~F.col("is_utf8"), "not_utf8")
            .when(~is_wire & ~F.col("inspection.is_one_object"), "not_json")
            .otherwise(F.coalesce(*map(first_failed_check, FIELDS))),
        )
        .select(
            reason,
            F.when(reason.isNull(), event_id()).alias("event_id"),
            F.when(reason.isNull(), F.col("event_at")).alias("event_at"),
            "event.event_type",
            "event.product_id",
            "event.category_id",
            null_if_empty("category_code"),
            null_if_empty("brand"),
            "price",
            "event.user_id",
            null_if_empty("user_session"),
            "txn_at",
            F.when(reason.isNotNull(), record_id).alias("record_id"),
            F.when(reason.isNotNull(), text).alias("record"),
            "arrival_date",
            "object",
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
    """Yield the checks of a field, in order of precedence. They read the columns that `validate` adds.

    A check may assume that those before it have passed.
    """
    name, is_text = field.name, field.type == "string"
    value = F.col(f"event.{name}")
    is_given = F.col("is_wire") | F.col("inspection.string")[name].isNotNull()

    yield Check(f"repeated:{name}", F.size(F.filter(F.col("inspection.names"), lambda key: key == name)) > 1)
    if not field.nullable:  # absent, null, or an empty string
        yield Check(f"missing:{name}", ~is_given | (value == "") if is_text else ~is_given)
    yield Check(f"wrong_type:{name}", is_given & is_wrong_type(field))
    if name == "event_time":
        yield Check(f"bad_time:{name}", F.col("event_at").isNull())
    if name == "txn_timestamp":
        yield Check(f"bad_time:{name}", F.col("txn_at").isNull())
    if name == "event_type":
        yield Check("unknown_event_type", ~value.isin(*EVENT_TYPES))
    if name == "price":
        yield Check("negative_price", value < 0)
    if is_text:
        yield Check(f"control_character:{name}", value.rlike(CONTROL))


def is_wrong_type(field: Field) -> Column:
    """Return whether the value that is given is of another type, or a number out of the type's range."""
    value, inspected = F.col(f"event.{field.name}"), F.col("inspection")
    match field.type:
        case "string":
            return F.coalesce(*(inspected[type_][field.name].cast("string") for type_ in NOT_STRINGS)).isNotNull()
        case "bigint":
            return value.isNull()
        case _:  # from_json reads a decimal from the string "35.79" too, but no double
            return F.col("price").isNull() | (~F.col("is_wire") & inspected["double"][field.name].isNull())


def instant(name: str, pattern: str) -> Column:
    """Return the UTC time as timestamp_ntz; null if it does not match the pattern or does not exist (30 February)."""
    return F.expr(f"try_cast(regexp_extract({name}, r'{pattern}', 1) as timestamp_ntz)")


def null_if_empty(name: str) -> Column:
    """Return the event's string; null if it is empty."""
    return F.expr(f"nullif(event.{name}, '')").alias(name)


def event_id() -> Column:
    """Return the id that `simulator.traffic.event.event_id` defines, from text, so no time zone can change it."""
    values = {field.name: F.coalesce(F.col(f"event.{field.name}").cast("string"), F.lit("")) for field in FIELDS}
    values["event_time"] = F.substring("event.event_time", 1, len("2019-10-01 00:00:00"))
    values["price"] = F.col("price").cast("string")
    values["txn_timestamp"] = F.translate("event.txn_timestamp", "TZ", " ")
    return F.sha2(F.concat_ws("\x1f", *values.values()), 256)


def events(lines: DataFrame) -> DataFrame:
    """Return the rows for `curated_events`, each once, and how many `copies` of it were read."""
    # Equal ids mean equal rows. Grouping by the whole row avoids the sort that picking the first of a group would need.
    return lines.where("reason is null").groupBy(*CURATED_EVENTS).agg(F.count("*").alias("copies"))


def bad_records(lines: DataFrame) -> DataFrame:
    """Return the rows for `quarantined_records`, each once, and how many `copies` of it were read."""
    return (
        lines.where("reason is not null")
        .groupBy("record_id", "record", "reason")
        .agg(F.min(F.struct("arrival_date", "object")).alias("found"), F.count("*").alias("copies"))
        .select("record_id", "record", "reason", "found.arrival_date", "found.object", "copies")
    )


def insert_new(spark: SparkSession, table: str, key: str, rows: DataFrame, in_range: str = "true") -> tuple[int, int]:
    """Insert the rows whose key is not stored. Return the number of rows added, and of lines that were duplicates.

    `in_range` is a condition on `stored` rows that holds for each of the new rows: the merge reads only what meets it.
    """
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


def log(message: str) -> None:
    """Write a line of progress to stderr."""
    print(f"{monotonic() - STARTED_S:6.1f} s  {message}", file=sys.stderr, flush=True)


STARTED_S = monotonic()


def main() -> None:
    """Run the job with the arguments that Glue passes."""
    names = ["raw_path", "database", "from_date", "to_date", "run_id"]
    options = getResolvedOptions(sys.argv, [*names, "metric_namespace", "quarantine_metric", "metric_region"])
    from_date, to_date = (day(options[option], option) for option in ("from_date", "to_date"))
    if from_date > to_date:
        raise SystemExit(f"--from_date {from_date} is after --to_date {to_date}: swap them, both days are included")
    spark = SparkSession.builder.appName("curate_events").getOrCreate()
    log("session is up")
    row, reasons = run(spark, options["raw_path"], options["database"], from_date, to_date, options["run_id"])
    publish(reasons, options["metric_namespace"], options["quarantine_metric"], options["metric_region"])
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
