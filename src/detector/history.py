"""Whom the rules would have flagged in the past: over a data file, or what arrived in the raw bucket.

    python -m detector.history --data FILE
    python -m detector.history --bucket NAME --from-date 2026-11-01 --to-date 2026-11-02

Nobody is told anything, and nothing is stored but the alerts in a file.
"""

import argparse
import gzip
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr
from datetime import date, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import boto3
import polars as pl
from botocore.exceptions import BotoCoreError, ClientError

from detector import backtest
from simulator.__main__ import main as simulator
from simulator.kinesis import explain


class HistoryError(ValueError):
    """What cannot be judged; the message says why and what to do."""


def from_file(file: Path, records: Path) -> None:
    """Writes the wire records of a data file. Raises HistoryError."""
    with redirect_stderr(StringIO()) as said:
        code = simulator(["replay", str(file), "--output", str(records)])
    if code:
        raise HistoryError(said.getvalue().strip().splitlines()[-1].removeprefix("error: "))


def from_bucket(s3: Any, bucket: str, days: Iterable[date], records: Path) -> int:
    """Writes the wire records that arrived on these days, in the order of their times, and returns how many.

    What arrived has the order of its shards and deliveries, so as it lies there much of it would be late. Raises
    HistoryError if nothing arrived.
    """
    lines = pl.Series("line", list(_lines(s3, bucket, days)), dtype=pl.String)
    if lines.is_empty():
        raise HistoryError(f"nothing arrived in s3://{bucket} on these days: give others")
    time = pl.col("line").str.extract(r'"txn_timestamp": ?"([^"]*)"')
    ordered = lines.to_frame().sort(time, maintain_order=True, nulls_last=True)["line"]
    with records.open("w") as file:
        file.writelines(f"{line}\n" for line in ordered)
    return len(ordered)


def _lines(s3: Any, bucket: str, days: Iterable[date]) -> Iterator[str]:
    for day in days:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"events/arrival_date={day}/")
        for entry in (entry for page in pages for entry in page.get("Contents", [])):
            body = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            yield from gzip.decompress(body).decode(errors="replace").splitlines()


def flagged(alerts: Iterable[dict], records: Path) -> list[dict[str, Any]]:
    """Returns a row for each subject and rule: how often, how high, when, and whether a user who buys."""
    by: dict[tuple[str, str], list[dict]] = defaultdict(list)
    for alert in alerts:
        by[alert["subject"], alert["rule"]].append(alert)
    accused = {subject for subject, _ in by}
    buyers = set()
    with records.open() as lines:
        for line in lines:
            if '"purchase"' in line:
                event = json.loads(line)
                if event["event_type"] == "purchase" and (subject := f"user#{event['user_id']}") in accused:
                    buyers.add(subject)
    return [
        {
            "subject": subject,
            "rule": rule,
            "alerts": len(ones),
            "level": max(one["level"] for one in ones),
            "most": max(one["num_actions_per_watermark"] for one in ones),
            "first": min(one["window_end_at"] for one in ones),
            "last": max(one["window_end_at"] for one in ones),
            "buys": subject in buyers,
        }
        for (subject, rule), ones in sorted(by.items())
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text, and how many buyers are among them."""
    lines = [f"{'subject':32}{'rule':18}{'alerts':>8}{'level':>7}{'most':>8}  {'first':26}{'last':26}buys"]
    for row in rows:
        lines.append(
            f"{row['subject']:32}{row['rule']:18}{row['alerts']:>8,}{row['level']:>7}{row['most']:>8,}"
            f"  {row['first']:26}{row['last']:26}{'yes' if row['buys'] else ''}"
        )
    subjects = {row["subject"] for row in rows}
    buyers = {row["subject"] for row in rows if row["buys"]}
    return "\n".join([*lines, f"{len(subjects):,} would be flagged, {len(buyers):,} of them buy"])


def main() -> int:
    """The process's exit code: 0, 1 if the rules did not run, 2 for input that cannot be judged."""
    parser = argparse.ArgumentParser(prog="detector.history", description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, metavar="FILE", help="in the data set's format")
    source.add_argument("--bucket", metavar="NAME", help="the raw bucket")
    parser.add_argument("--from-date", type=date.fromisoformat, default=date.today(), metavar="DAY", help="of arrival")
    parser.add_argument("--to-date", type=date.fromisoformat, default=date.today(), metavar="DAY", help="included")
    parser.add_argument("--out", type=Path, default=Path("build/backtest"), metavar="FOLDER")
    options = parser.parse_args()
    records, alerts = options.out / "records.jsonl", options.out / "alerts.jsonl"
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        if options.data:
            from_file(options.data, records)
        else:
            length = (options.to_date - options.from_date).days + 1
            days = [options.from_date + timedelta(days=number) for number in range(length)]
            from_bucket(boto3.client("s3"), options.bucket, days, records)
        print(table(flagged(backtest.launch(records, alerts), records)))
    except (HistoryError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (BotoCoreError, ClientError) as error:
        print(f"error: {explain(error)}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"the alerts are in {alerts}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
