"""Measure what reading files costs: the data set's form, other forms, through a mapping, and sorting on disk.

`make bench-files` writes build/bench/files.json and prints it as a table. Each case runs in a process of its own, on
one core, with the same events in another form. `events_per_s` is for reading, checking, encoding and spooling, as
before a replay; `sort` has the rows in no order. `peak_mb` is the process's largest resident memory, `folder_mb` what
the folder for temporary files held in the end.
"""

import argparse
import csv
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from simulator.traffic.event import COLUMNS

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "bench" / "files.json"
EVENTS = 1_000_000
START = int(datetime(2019, 10, 1, tzinfo=UTC).timestamp())
EVENTS_PER_SECOND = 20
CASES = ("nine_columns", "shuffled", "semicolons", "quoted", "mapping", "json_lines", "parquet")
# The mapping reads a shop's own words, times, numbers and nulls.
MAPPING = """
columns: {event_time: zeit, event_type: aktion, product_id: artikel, category_id: gruppe, category_code: warengruppe,
  brand: marke, price: preis, user_id: kunde, user_session: sitzung}
time: {format: "%d.%m.%Y %H:%M:%S", zone: Europe/Berlin}
event_types: {ansicht: view, korb: cart, kauf: purchase}
numbers: {decimal: ",", thousands: "."}
nobody: ["0"]
"""
WORDS = {"view": "ansicht", "cart": "korb", "purchase": "kauf"}


def rows(events: int, is_shuffled: bool = False) -> Iterator[list[str]]:
    """Yield the cells of events of a shop, in the order of their times or in none."""
    draw = random.Random(1)
    for number in range(events):
        place = draw.randrange(events) if is_shuffled else number
        at = datetime.fromtimestamp(START + place // EVENTS_PER_SECOND, UTC)
        product = int(draw.paretovariate(0.5)) % 100_000
        user = 500_000_000 + draw.randrange(200_000)
        yield [
            at.strftime("%Y-%m-%d %H:%M:%S UTC"),
            draw.choices(("view", "cart", "purchase"), (97.8, 1.0, 1.2))[0],
            str(1_000_000 + product),
            str(2053013555631882655 + product % 600),
            "electronics.smartphone" if product % 3 else "",
            f"brand{product % 900}" if product % 7 else "",
            f"{1 + product % 5000 / 7:.2f}",
            str(user),
            f"{user:08x}-9990-4eea-83f5-a5d724831219",
        ]


def write(case: str, events: int, path: Path) -> None:
    """Write the events in the case's form."""
    if case == "parquet":
        import polars as pl

        pl.DataFrame(list(rows(events)), schema=COLUMNS, orient="row").write_parquet(path)
        return
    made = rows(events, is_shuffled=case == "shuffled")
    with path.open("w", newline="") as file:
        if case == "json_lines":
            for row in made:
                file.write(json.dumps({k: v or None for k, v in zip(COLUMNS, row, strict=True)}) + "\n")
            return
        quoting = csv.QUOTE_ALL if case == "quoted" else csv.QUOTE_MINIMAL
        delimiter = ";" if case in ("semicolons", "mapping") else ","
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n", quoting=quoting)
        header = COLUMNS
        if case == "mapping":
            header = ["zeit", "aktion", "artikel", "gruppe", "warengruppe", "marke", "preis", "kunde", "sitzung"]
        if case != "nine_columns":
            writer.writerow(header)
        for row in made:
            if case == "mapping":
                at = datetime.strptime(row[0], "%Y-%m-%d %H:%M:%S UTC")
                row = [at.strftime("%d.%m.%Y %H:%M:%S"), WORDS[row[1]], *row[2:6], row[6].replace(".", ","), *row[7:]]
            writer.writerow(row)


def read(case: str, file: str, mapping: str) -> dict:
    """Return what reading costs. In a process of its own."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from simulator.traffic.source import Source

    started, cpu = time.perf_counter(), time.process_time()
    source = Source(file, mapping=mapping if case == "mapping" else None)
    spool = source.read()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    return {
        "events": spool.rows,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
        "events_per_cpu_s": round(spool.rows / cpu),
        "sorted": source.early > 0,
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "folder_mb": round(spool.disk_bytes() / 1e6),
        "file_mb": round(os.path.getsize(file) / 1e6),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--events", type=lambda text: int(float(text)), default=EVENTS)
    arguments.add_argument("--cases", default=",".join(CASES), help="some of %(default)s")
    arguments.add_argument("--read", nargs=3, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.read:
        print(json.dumps(read(*given.read)))
        return
    cases = given.cases.split(",")
    if not {*cases} <= {*CASES}:
        arguments.error(f"got --cases {given.cases}: see --help for what there is")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    report = {"load_before": [round(load, 2) for load in os.getloadavg()], "cases": {}}
    with tempfile.TemporaryDirectory(dir=OUT.parent) as name:
        mapping = Path(name) / "shop.yaml"
        mapping.write_text(MAPPING)
        for case in cases:
            file = Path(name) / (
                "events.parquet" if case == "parquet" else "events.jsonl" if case == "json_lines" else "events.csv"
            )
            write(case, given.events, file)
            command = [sys.executable, "-P", __file__, "--read", case, str(file), str(mapping)]
            done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TMPDIR": name})
            if done.returncode:
                raise RuntimeError(f"{case} ended with {done.returncode}: {done.stderr[-2000:]}")
            report["cases"][case] = json.loads(done.stdout)
            file.unlink()
    OUT.write_text(json.dumps(report, indent=2) + "\n")
    from tabulate import tabulate

    names = list(next(iter(report["cases"].values())))
    lines = [[case, *(result[one] for one in names)] for case, result in report["cases"].items()]
    print(tabulate(lines, ("case", *names), intfmt=","), f"\n\n{OUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
