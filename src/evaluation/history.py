"""Whom the rules would have flagged in the past: over a data file, or what arrived in the raw bucket.

    python -m evaluation.history --data FILE
    python -m evaluation.history --bucket NAME --from-date 2026-11-01 --to-date 2026-11-02
    python -m evaluation.history --bucket NAME --from-date 2026-11-01 --to-date 2026-11-02 --incidents TABLE

Values of the rules are those in the SQL, over them the deployed detector's (--application), over these those to be
tried (--values). Nobody is told anything. With --incidents what is found is stored, marked as reprocessed; without,
only in a file.
"""

import argparse
import gzip
import json
import re
import sys
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stderr, suppress
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from evaluation import backtest
from lambda_alert.alert import MalformedAlert, parse
from lambda_alert.incidents import Incidents
from lambda_alert.settings import DEFAULT_RETENTION_DAYS
from simulator.__main__ import main as simulator
from simulator.sending.kinesis import explain

# What is read before and after the days, because an attack may lie astride their ends: as long as the rules remember
# anything (main.OPTIONS, table.exec.state.ttl), and longer than Firehose buffers.
MARGIN = timedelta(hours=1)
# Of a wire record: the event's time by the second, as the rules count it, and its hour.
TIME = re.compile(rb'"txn_timestamp"\s*:\s*"((\d{4}-\d\d-\d\dT\d\d):\d\d:\d\d)')
SECOND = len("2019-10-01T00:00:00")
# When an object's oldest record arrived is in its name: https://docs.aws.amazon.com/firehose/latest/dev/s3-object-name.html
ARRIVAL = re.compile(r"-(\d{4}(?:-\d\d){5})-[^/]*$")


class HistoryError(ValueError):
    """What cannot be judged; the message says why and what to do."""


def from_file(file: Path, records: Path) -> None:
    """Writes the wire records of a data file. Raises HistoryError."""
    with redirect_stderr(StringIO()) as said:
        code = simulator(["replay", str(file), "--output", str(records)])
    if code:
        raise HistoryError(said.getvalue().strip().splitlines()[-1].removeprefix("error: "))


def days(first: str, last: str) -> list[date]:
    """Returns the days from the first to the last, both included. Raises HistoryError."""
    try:
        from_date, to_date = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError:
        raise HistoryError(f"the days are {first!r} to {last!r}: give FROM and TO like 2026-11-01") from None
    if from_date > to_date:
        raise HistoryError(f"the first day, {first}, is after the last, {last}: swap FROM and TO")
    return [from_date + timedelta(days=number) for number in range((to_date - from_date).days + 1)]


def from_bucket(s3: Any, bucket: str, days: Sequence[date], records: Path) -> list[str]:
    """Writes the wire records that arrived on these days or within MARGIN of them, in the order of their times.

    What arrived has the order of its shards and deliveries, so as it lies there much of it would be late. It is sorted
    hour by hour, on disk: a busy day need not fit into memory. Returns the seconds, as `2019-10-01T00:00:00`, of what
    arrived on the days themselves. Raises HistoryError if nothing did.
    """
    seconds: set[bytes] = set()
    arrived = False
    with TemporaryDirectory(dir=records.parent) as name:
        hours = Path(name)
        for key, on_the_days in _objects(s3, bucket, days):
            lines = gzip.decompress(s3.get_object(Bucket=bucket, Key=key)["Body"].read()).splitlines()
            arrived |= on_the_days and bool(lines)
            by_hour: dict[str, list[bytes]] = defaultdict(list)
            for line in lines:
                time = TIME.search(line)
                by_hour[time[2].decode() if time else "without"].append(line)  # letters: after all hours
                if time and on_the_days:
                    seconds.add(time[1])
            for hour, ones in by_hour.items():
                with (hours / hour).open("ab") as file:
                    file.writelines(line + b"\n" for line in ones)
        if not arrived:
            raise HistoryError(
                f"nothing arrived in s3://{bucket} from {days[0]} to {days[-1]}: give another FROM and TO"
            )
        with records.open("wb") as file:
            for hour in sorted(hours.iterdir()):
                file.writelines(sorted(hour.read_bytes().splitlines(keepends=True), key=_second))
    return sorted(second.decode() for second in seconds)


def _second(line: bytes) -> bytes:
    time = TIME.search(line)
    return time[1] if time else b""


def _objects(s3: Any, bucket: str, days: Sequence[date]) -> Iterator[tuple[str, bool]]:
    """Keys in the order of their days, and whether of these or of the margins around them."""
    start = datetime.combine(days[0], datetime.min.time()) - MARGIN
    end = datetime.combine(days[-1], datetime.min.time()) + timedelta(days=1) + MARGIN
    form = "%Y-%m-%d-%H-%M-%S"
    for day in [start.date(), *days, end.date()]:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"events/arrival_date={day}/")
        for key in (entry["Key"] for page in pages for entry in page.get("Contents", [])):
            if day in days:
                yield key, True
            elif (at := ARRIVAL.search(key)) and f"{start:{form}}" <= at[1] < f"{end:{form}}":
                yield key, False


def of_the_days(alerts: Iterable[dict], seconds: Sequence[str]) -> list[dict]:
    """Returns the alerts in whose windows, (start, end], lies one of the seconds; the others are of the margins."""

    def until(instant: str) -> int:
        return bisect_right(seconds, instant[:SECOND])

    return [alert for alert in alerts if until(alert["window_start_at"]) < until(alert["window_end_at"])]


def fetch_properties(analytics: Any, application: str) -> list[dict]:
    """Returns the deployed application's property groups, as Managed Flink hands them to it."""
    detail = analytics.describe_application(ApplicationName=application)["ApplicationDetail"]
    properties = detail["ApplicationConfigurationDescription"]["EnvironmentPropertyDescriptions"]
    return properties["PropertyGroupDescriptions"]


def with_values(groups: Iterable[dict], text: str) -> list[dict]:
    """Returns the property groups with values changed as Terraform's variable `detection` would, given as JSON.

    Raises HistoryError; whether the SQL knows these values is asked of it when it runs.
    """
    try:
        changes = {
            f"values.{name}": {key: str(value) for key, value in own.items()} for name, own in json.loads(text).items()
        }
    except (ValueError, TypeError, AttributeError):
        raise HistoryError(f'the values are {text!r}: give JSON like {{"burst": {{"threshold": 8}}}}') from None
    known = {group["PropertyGroupId"]: group["PropertyMap"] for group in groups}
    merged = known | {name: known.get(name, {}) | own for name, own in changes.items()}
    return [{"PropertyGroupId": name, "PropertyMap": own} for name, own in merged.items()]


def store(incidents: Incidents, alerts: Iterable[dict], now: datetime) -> int:
    """Returns how many of the alerts became incidents; the others are incidents already, and stay as they are."""
    findings = [parse(json.dumps(alert).encode()) for alert in alerts]  # all of them, before the first is stored
    return sum(incidents.record_reprocessed(finding, now) for finding in findings)


def flagged(alerts: Iterable[dict], records: Path) -> list[dict[str, Any]]:
    """Returns a row for each subject and rule: how often, how high, when, and whether a user who buys."""
    by: dict[tuple[str, str], list[dict]] = defaultdict(list)
    for alert in alerts:
        by[alert["subject"], alert["rule"]].append(alert)
    accused = {subject for subject, _ in by}
    buyers = set()
    with records.open("rb") as lines:
        for line in lines:
            if b'"purchase"' in line:
                # The raw bucket holds whatever was sent, so also what is no event.
                with suppress(ValueError, TypeError, KeyError):
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
    """The process's exit code: 0, 1 if the rules did not run, 2 for what cannot be judged or stored."""
    parser = argparse.ArgumentParser(prog="evaluation.history", description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, metavar="FILE", help="in the data set's format")
    source.add_argument("--bucket", metavar="NAME", help="the raw bucket")
    today = str(datetime.now(UTC).date())
    parser.add_argument("--from-date", default=today, metavar="DAY", help="of arrival, UTC (default: today)")
    parser.add_argument("--to-date", default=today, metavar="DAY", help="included (default: today)")
    parser.add_argument("--application", metavar="NAME", help="the deployed detector, whose values the rules get")
    parser.add_argument("--values", default="{}", metavar="JSON", help='to be tried: {"burst": {"threshold": 8}}')
    parser.add_argument("--incidents", metavar="TABLE", help="store the alerts there, marked as reprocessed")
    parser.add_argument("--out", type=Path, default=Path("build/backtest"), metavar="FOLDER")
    options = parser.parse_args()
    records, alerts = options.out / "records.jsonl", options.out / "alerts.jsonl"
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        asked = days(options.from_date, options.to_date)
        groups = []
        if options.application:
            groups = fetch_properties(boto3.client("kinesisanalyticsv2"), options.application)
        properties = options.out / "properties.json"
        properties.write_text(json.dumps(with_values(groups, options.values)))
        if options.data:
            from_file(options.data, records)
            found = backtest.launch(records, alerts, properties=properties)
        else:
            seconds = from_bucket(boto3.client("s3"), options.bucket, asked, records)
            found = of_the_days(backtest.launch(records, alerts, properties=properties), seconds)
            alerts.write_text("".join(f"{json.dumps(alert)}\n" for alert in found))
        print(table(flagged(found, records)))
        if options.incidents:
            incidents = Incidents(boto3.client("dynamodb"), options.incidents, DEFAULT_RETENTION_DAYS)
            new = store(incidents, found, datetime.now(UTC))
            print(f"{len(found):,} alerts, {new:,} stored as incidents, {len(found) - new:,} were known")
    except MalformedAlert as error:
        print(f"error: a rule gives what contracts/alert.json does not allow: {error}; mend the rule", file=sys.stderr)
        return 1
    except (HistoryError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (BotoCoreError, ClientError) as error:
        # AWS's own words name the call and what it was about; the hints for its codes are those of a stream.
        print(f"error: {error if isinstance(error, ClientError) else explain(error)}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"the alerts are in {alerts}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
