"""Find who the rules would have flagged in the past: in a data file, or in what arrived in the raw bucket.

The rules are those of this repository. Nobody is notified. What is found is a list of alerts; `store` stores
them, marked as reprocessed.
"""

import gzip
import json
import re
import sys
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tabulate import tabulate

from detector.job import Groups
from evaluation import backtest
from evaluation.actors import DEFAULTS, NOBODY, actor_of, buys
from lambda_alert.alert import parse
from lambda_alert.store import Store
from simulator.options import ReplayOptions
from simulator.sending.replay import Plan, Replay
from simulator.sending.sinks import FileSink
from simulator.traffic.event import at_ms, wire_time
from simulator.traffic.inputs import SourceError
from simulator.traffic.refused import Refused, left_out, shown
from simulator.traffic.source import Source

# What is read before and after the days too, because an attack may begin before or end after them: as long as the rules
# keep state (the job's option table.exec.state.ttl), and longer than Firehose buffers.
MARGIN = timedelta(hours=1)
# The time of most wire records: UTC, with milliseconds or without.
TIME = re.compile(rb'"txn_timestamp"\s*:\s*"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?)Z"')
HOUR, SECOND = len("2019-10-01T00"), len("2019-10-01T00:00:00")
# An object's name says when its oldest record arrived: https://docs.aws.amazon.com/firehose/latest/dev/s3-object-name.html
ARRIVAL = re.compile(r"-(\d{4}(?:-\d\d){5})-[^/]*$")

RECORDS, ALERTS = "records.jsonl", "alerts.jsonl"


class HistoryError(ValueError):
    """Events that cannot be read, or a wrong choice of them. The message says why and what to do."""


def over_data(source: Source, groups: Groups, folder: Path) -> list[dict]:
    """Return the alerts that data files raise. Records and alerts stay in the folder. Raise HistoryError."""
    folder.mkdir(parents=True, exist_ok=True)
    from_data(source, folder / RECORDS)
    return backtest.launch(folder / RECORDS, folder / ALERTS, groups)


def over_bucket(s3: Any, bucket: str, days: Sequence[date], groups: Groups, folder: Path) -> list[dict]:
    """Return the alerts that what arrived on the days raises. Records and alerts stay in the folder.

    Raise HistoryError if nothing arrived.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seconds = from_bucket(s3, bucket, days, folder / RECORDS)
    found = of_the_days(backtest.launch(folder / RECORDS, folder / ALERTS, groups), seconds)
    (folder / ALERTS).write_text("".join(f"{json.dumps(alert)}\n" for alert in found))
    return found


def from_data(source: Source, records: Path) -> None:
    """Write the wire records of data files. Say on stderr how many rows were read, and why some were left out.

    Raise HistoryError.
    """
    refused, set_aside = Refused(), Refused()
    with records.open("w", encoding="utf-8") as file:
        plan = Plan(max_malformed=ReplayOptions.max_malformed)
        replay = Replay(source, FileSink(file), plan, malformed=refused, set_aside=set_aside, progress=StringIO())
        try:
            replay.run()
        except SourceError as error:
            raise HistoryError("\n".join([str(error), *shown(refused.reasons())])) from error
    _say(source, refused, set_aside)


def read(source: Source) -> None:
    """Read data files. Say on stderr what was left out or noticed, if anything was.

    Raise SourceError, and HistoryError for a damaged file.
    """
    refused, set_aside = Refused(), Refused()
    source.read(refused, set_aside)
    if refused.rows or set_aside.rows or source.notes or source.damage:
        _say(source, refused, set_aside)


def _say(source: Source, refused: Refused, set_aside: Refused) -> None:
    aside = f", {set_aside.rows:,} set aside" if set_aside.rows else ""
    lines = left_out(refused.reasons(), set_aside.reasons(), source.notes)
    print(f"read {source.rows:,} rows ({refused.rows:,} malformed{aside})", *lines, sep="\n", file=sys.stderr)
    if source.damage:
        raise HistoryError(f"{source.damage}; no rule has run: give a whole file")


def days_between(first: date, last: date) -> list[date]:
    """Return the days from the first to the last, both included. Raise HistoryError."""
    if first > last:
        raise HistoryError(f"the first day, {first}, is after the last, {last}: swap FROM and TO")
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def from_bucket(s3: Any, bucket: str, days: Sequence[date], records: Path) -> list[str]:
    """Write the wire records that arrived on these days or within MARGIN of them, in the order of their times.

    In the bucket they are in the order of shards and deliveries, in which many would be late. They are sorted hour by
    hour, on disk: a busy day need not fit into memory. Return the seconds, as `2019-10-01T00:00:00`, of what arrived on
    the days themselves. Raise HistoryError if nothing did.
    """
    seconds: set[str] = set()
    arrived = False
    with TemporaryDirectory(dir=records.parent) as name:
        hours = Path(name)
        for key, on_the_days in _objects(s3, bucket, days):
            lines = gzip.decompress(s3.get_object(Bucket=bucket, Key=key)["Body"].read()).splitlines()
            arrived |= on_the_days and bool(lines)
            by_hour: dict[str, list[bytes]] = defaultdict(list)
            for line in lines:
                time = _time(line)
                by_hour[time[:HOUR] or "without"].append(line)  # letters: after all hours
                if time and on_the_days:
                    seconds.add(time[:SECOND])
            for hour, ones in by_hour.items():
                with (hours / hour).open("ab") as part:
                    part.writelines(line + b"\n" for line in ones)
        if not arrived:
            raise HistoryError(
                f"nothing arrived in s3://{bucket} from {days[0]} to {days[-1]}: give another FROM and TO"
            )
        with records.open("wb") as file:
            for path in sorted(hours.iterdir()):
                in_order = sorted(path.read_bytes().splitlines(keepends=True), key=_time)
                file.writelines(in_order)
    return sorted(seconds)


def _time(line: bytes) -> str:
    """Return the pipeline's time of a wire record, UTC, as `2019-10-01T00:00:00.000`; empty if it has none."""
    if time := TIME.search(line):
        return time[1].decode()
    # The raw bucket holds whatever was sent, also records that are no events.
    with suppress(ValueError, TypeError, KeyError, AttributeError):
        return wire_time(at_ms(json.loads(line))).removesuffix("Z")
    return ""


def _objects(s3: Any, bucket: str, days: Sequence[date]) -> Iterator[tuple[str, bool]]:
    """Yield keys in the order of their days, and whether they are of these days or of the margins around them."""
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
    """Return the alerts with one of the seconds in their window, (start, end]. The others are of the margins."""

    def until(instant: str) -> int:
        return bisect_right(seconds, instant[:SECOND])

    return [alert for alert in alerts if until(alert["window_start_at"]) < until(alert["window_end_at"])]


def deployed_groups(analytics: Any, application: str) -> Groups:
    """Return the property groups of the deployed detector that say how it judges. `analytics`: kinesisanalyticsv2."""
    detail = analytics.describe_application(ApplicationName=application)["ApplicationDetail"]
    properties = detail["ApplicationConfigurationDescription"]["EnvironmentPropertyDescriptions"]
    groups = properties["PropertyGroupDescriptions"]
    return {
        group["PropertyGroupId"]: group["PropertyMap"]
        for group in groups
        if group["PropertyGroupId"].startswith("values.") or group["PropertyGroupId"] == NOBODY
    }


def with_values(groups: Groups, text: str) -> Groups:
    """Return the property groups, changed by JSON in the form of Terraform's variable `detection`.

    Raise HistoryError for another form. Whether the rules know these values shows when they run.
    """
    try:
        changes = {
            f"values.{name}": {key: str(value) for key, value in own.items()} for name, own in json.loads(text).items()
        }
    except (ValueError, TypeError, AttributeError):
        raise HistoryError(f'the values are {text!r}: give JSON like {{"burst": {{"threshold": 8}}}}') from None
    return {**groups, **{name: {**groups.get(name, {}), **own} for name, own in changes.items()}}


def store(table: Store, alerts: Iterable[dict], now: datetime) -> int:
    """Return how many of the alerts were stored. The others are there already and stay as they are.

    Raise MalformedAlert, before anything is stored, if an alert breaks contracts/alert.json.
    """
    parsed = [parse(json.dumps(alert).encode()) for alert in alerts]
    return sum(table.record_reprocessed(alert, now) for alert in parsed)


def flagged(alerts: Iterable[dict], records: Path, groups: Groups = DEFAULTS) -> list[dict[str, Any]]:
    """Return a row for each subject and rule: how often, how high, when, whether it buys, and how often explained.

    `groups` are the property groups with which the alerts were found.
    """
    nobody_ids = set(groups.get(NOBODY, {}).values())
    by: dict[tuple[str, str], list[dict]] = defaultdict(list)
    for alert in alerts:
        by[alert["subject"], alert["rule"]].append(alert)
    subjects = {subject for subject, _ in by}
    buyers = set()
    with records.open("rb") as lines:
        for line in lines:
            if b"purchase" in line.lower():
                # The raw bucket holds whatever was sent, also records that are no events.
                with suppress(ValueError, AttributeError):
                    event = json.loads(line)
                    if buys(event) and (actor := actor_of(event, nobody_ids)) in subjects:
                        buyers.add(actor)
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
            "explained": sum("explained_by" in one for one in ones),
            "declares": next((one["declared_crawler"] for one in ones if "declared_crawler" in one), ""),
        }
        for (subject, rule), ones in sorted(by.items())
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a table, and lines that say how many subjects, buyers and explained alerts are in it."""
    headers = ("subject", "rule", "alerts", "level", "most", "first", "last", "buys", "explained", "declares")
    cells = [
        [*(row[name] for name in headers[:-3]), "yes" if row["buys"] else "", row["explained"] or "", row["declares"]]
        for row in rows
    ]
    subjects = {row["subject"] for row in rows}
    buyers = {row["subject"] for row in rows if row["buys"]}
    last = f"{len(subjects):,} would be flagged, {len(buyers):,} of them buy"
    lines = [tabulate(cells, headers, intfmt=","), last]
    if explained := sum(row["explained"] for row in rows):
        lines.insert(1, f"{explained:,} of the alerts may be explained by what the whole site did at the same time")
    return "\n".join(lines)
