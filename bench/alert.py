"""Measure what the alert function costs: calls of AWS, notices, CPU, and how many alerts a second it can take.

`make bench-alert` writes build/bench/alert.json and prints it as a table. Each program handles the same 10,000 alerts,
in batches of 90 as Lambda gives them (alert_batch_size), in a process of its own:

- `tutorial` writes, as the blog post's function does, an item per alert in batches of 25, a metric per alert with one
  call each, and a notice for each count above 10. It does not recognise repeats.
- `before` is this repository's function at the commit `--before`.
- `ours` is the function of this folder. Its sweep runs each minute until every incident is over.

The kinds of traffic:

- `new`: 10,000 users, one alert each, within an hour.
- `rising`: 2,000 users, five alerts each with twice the count of the one before, within an hour.
- `botnet`: a surge of the site with two floods of products that it explains, and 2,000 users as in `rising`, in 40 s.
- `known`: the alerts of `new` once more.
- `lone`: 200 users, one alert each, ten minutes apart: nothing can be told together.

boto3 signs, writes and reads each request; a stand-in answers in the same process (stand_in.py), and its CPU time is
taken off. So the CPU is that of the function and of boto3 without the network. `alerts_per_s` adds to it what the calls
would wait, one after another: 6 ms for a call of DynamoDB on one item or on a read, 25 ms for SNS and for a transaction
or batch of writes, 15 ms for CloudWatch. The clock that the function sees is not the machine's: a batch takes a second.
"""

import argparse
import base64
import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import stand_in

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "bench" / "alert.json"
# The last commit whose function told each alert by itself.
BEFORE = "bd8df8b"
LEVELS, BATCH = 5, 90
PROGRAMS = ("tutorial", "before", "ours")
KINDS = ("new", "rising", "botnet", "known", "lone")

DEFAULT_WAIT_MS = {"dynamodb": 6, "sns": 25, "cloudwatch": 15}
WAIT_MS = {"TransactWriteItems": 25, "BatchWriteItem": 25}

STARTED_AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
EVENTS_FROM = datetime(2026, 11, 23, 11, tzinfo=UTC)
TABLE, METRIC, NAMESPACE = "incidents", "metric", "namespace"
TOPIC = "arn:aws:sns:us-east-1:123456789012:notices"


def alert(subject: str, ends_at: datetime, count: int, rule: str = "burst", threshold: int = 5, **more: str) -> dict:
    """Return an alert of a window of ten seconds."""
    end, start = (at.isoformat(timespec="milliseconds")[:-6] + "Z" for at in (ends_at, ends_at - timedelta(seconds=10)))
    return {
        "alert_id": f"{rule}:{subject}:{end}",
        "rule": rule,
        "subject": subject,
        "window_start_at": start,
        "window_end_at": end,
        "num_actions_per_watermark": count,
        "threshold": threshold,
        "level": (count // (threshold + 1)).bit_length(),
        **more,
    }


def traffic(kind: str, count: int) -> list[dict]:
    """Return so many alerts of a kind, in the order of their windows. The botnet has three more, `lone` a 50th."""
    chance = random.Random(15)
    if kind in ("new", "known", "lone"):
        number, pause_s = (count // 50, 600) if kind == "lone" else (count, 3600 / count)
        times = [EVENTS_FROM + timedelta(seconds=pause_s * i) for i in range(number)]
        return [alert(f"user#{541_000_000 + i}", at, chance.randint(6, 11)) for i, at in enumerate(times)]
    seconds = 40 if kind == "botnet" else 3600
    found = []
    for user in range(count // LEVELS):
        begins = chance.uniform(0, seconds * 0.9)
        for step in range(LEVELS):
            at = EVENTS_FROM + timedelta(seconds=begins + seconds * 0.02 * step)
            found.append(alert(f"user#{541_000_000 + user}", at, 6 * 2**step))
    if kind == "botnet":
        found.append(alert("site", EVENTS_FROM + timedelta(seconds=1), 5000, "site_surge", 500))
        for product in (1004856, 1004767):
            at = EVENTS_FROM + timedelta(seconds=2)
            found.append(
                alert(f"product#{product}", at, 80, "product_flood", 50, explained_by="site_surge"),
            )
    return sorted(found, key=lambda one: one["window_end_at"])


def records(alerts: list[dict], first: int, arrived_at: datetime) -> list[dict]:
    """Return alerts as Lambda gets them."""
    return [
        {
            "eventID": f"shardId-000000000000:{number}",
            "eventSourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/two",
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "sequenceNumber": str(number),
                "partitionKey": one["subject"],
                "data": base64.b64encode(json.dumps(one).encode()).decode(),
                "approximateArrivalTimestamp": arrived_at.timestamp(),
            },
        }
        for number, one in enumerate(alerts, first)
    ]


class Meter:
    """Counts the calls of clients, answers them, and notes the CPU seconds that the answers cost."""

    def __init__(self, table: stand_in.Table) -> None:
        self.table = table
        self.calls: Counter[str] = Counter()
        self.wait_ms = 0.0
        self.answers_s = 0.0

    def watch(self, client: Any) -> Any:
        """Return the client, answered from now on."""
        client.meta.events.register_first("before-send", self._answer)
        return client

    def _answer(self, event_name: str, request: Any, **_: Any) -> Any:
        started = time.process_time()
        service, operation = event_name.split(".")[1:]
        self.calls[f"{service}.{operation}"] += 1
        self.wait_ms += WAIT_MS.get(operation, DEFAULT_WAIT_MS[service])
        try:
            return stand_in.answer(self.table, service, operation, request)
        finally:
            self.answers_s += time.process_time() - started

    def reset(self) -> None:
        """Start to count again."""
        self.calls.clear()
        self.wait_ms = self.answers_s = 0.0


def measure(program: str, kind: str, count: int) -> dict[str, Any]:
    """Return what the program costs for this traffic."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS", "AWS_PROFILE"):
        os.environ.pop(name, None)
    os.environ |= dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "testing")
    os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
    meter, clock = Meter(stand_in.Table(("ddb_partition_key", "ddb_sort_key"), ("open", "opened_at"))), Clock()
    handle, sweep = (tutorial if program == "tutorial" else ours)(meter, clock)
    alerts = traffic(kind, count)
    warm = [alert(f"user#{i}", EVENTS_FROM - timedelta(days=1), 6, "warm") for i in range(BATCH)]
    run(warm, handle, sweep, clock, until_over=True)
    if kind == "known":
        run(alerts, handle, sweep, clock, until_over=False)
    meter.reset()
    started = time.process_time()
    run(alerts, handle, sweep, clock, until_over=True)
    cpu_s = time.process_time() - started - meter.answers_s
    thousands = len(alerts) / 1000
    return {
        "program": program,
        "traffic": kind,
        "alerts": len(alerts),
        "calls_per_1000": round(meter.calls.total() / thousands, 1),
        "notices": meter.calls["sns.Publish"],
        "cpu_s_per_1000": round(cpu_s / thousands, 3),
        "alerts_per_s": round(len(alerts) / (cpu_s + meter.wait_ms / 1000)),
        "calls": dict(meter.calls.most_common()),
    }


class Clock:
    """The time that a program sees."""

    def __init__(self) -> None:
        self.now = STARTED_AT

    def step(self, seconds: float) -> None:
        """Move on."""
        self.now += timedelta(seconds=seconds)


Handle = Callable[[list[dict]], None]
Sweep = Callable[[], bool]  # returns whether anything is left for later


def run(alerts: list[dict], handle: Handle, sweep: Sweep | None, clock: Clock, until_over: bool) -> None:
    """Let the program handle the alerts, a batch each second, and sweep each minute."""
    for number, first in enumerate(range(0, len(alerts), BATCH), 1):
        handle(records(alerts[first : first + BATCH], first + 1000, clock.now))
        clock.step(1)
        if sweep and number % 60 == 0:
            sweep()
    while sweep and until_over:
        clock.step(60)
        if not sweep():
            return


def tutorial(meter: Meter, clock: Clock) -> tuple[Handle, None]:
    """Return a function that makes the calls of the tutorial's."""
    import boto3

    from lambda_alert.records import unpack

    resource = boto3.resource("dynamodb")
    meter.watch(resource.meta.client)
    table = resource.Table(TABLE)
    cloudwatch, sns = (meter.watch(boto3.client(name)) for name in ("cloudwatch", "sns"))

    def handle(batch: list[dict]) -> None:
        with table.batch_writer() as writer:
            for record in (one for packed in batch for one in unpack(packed)):
                item = json.loads(record.payload)
                user, count = item["subject"], str(item["num_actions_per_watermark"])
                item["ddb_partition_key"] = f"userid#{user}#appserver"
                item["ddb_sort_key"] = int(clock.now.timestamp())
                writer.put_item(Item=item)
                dimensions = {"user_id": user, "num_actions_per_watermark": count}
                cloudwatch.put_metric_data(
                    Namespace=NAMESPACE,
                    MetricData=[
                        {
                            "MetricName": METRIC,
                            "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
                            "Unit": "Count",
                            "Value": 1,
                            "StorageResolution": 1,
                        }
                    ],
                )
                if int(count) > 10:
                    sns.publish(TopicArn=TOPIC, Message=str(item), Subject=f"Possible attack by {user}: {count}")

    return handle, None


def ours(meter: Meter, clock: Clock) -> tuple[Handle, Sweep | None]:
    """Return the function of this repository, in the version that Python finds."""
    import boto3

    from lambda_alert import handler, settings

    clients = {name: meter.watch(boto3.client(name)) for name in ("dynamodb", "sns", "sqs")}
    values = settings.Settings(
        METRIC, "unjudged", NAMESPACE, TABLE, "totals", TOPIC, "https://sqs.example.com/failures"
    )
    log = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (open as long as the process)
    responder = handler.Responder(
        values,
        **clients,
        now=lambda: clock.now,
        log=lambda line: print(line, file=sys.stderr if '"ERROR"' in line else log, flush=True),
    )

    def handle(batch: list[dict]) -> None:
        assert responder.respond(batch, lambda: 60_000) == {"batchItemFailures": []}

    return handle, getattr(responder, "sweep", None) and (lambda: bool(responder.sweep(lambda: 60_000)["open"]))


def code_of(revision: str, folder: Path) -> Path:
    """Return the folder with the function's code at this commit."""
    command = ["git", "archive", revision, "src/lambda_alert"]
    packed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "src"


def main() -> None:
    """Measure every program with every kind of traffic."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default=BEFORE, metavar="COMMIT", help=f"default: {BEFORE}")
    parser.add_argument("--alerts", type=int, default=10_000, metavar="N", help="default: 10,000")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=PROGRAMS)
    parser.add_argument("--one", nargs=2, metavar=("PROGRAM", "KIND"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(*arguments.one, arguments.alerts)))
        return
    from tabulate import tabulate

    results = []
    with tempfile.TemporaryDirectory() as folder:
        code = {"before": code_of(arguments.before, Path(folder))}
        for kind in arguments.kinds:
            for program in arguments.programs:
                command = [sys.executable, __file__, "--one", program, kind, "--alerts", str(arguments.alerts)]
                environment = {**os.environ, "PYTHONPATH": str(code.get(program, ROOT / "src"))}
                out = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
                results.append(json.loads(out))
                print(out, file=sys.stderr, end="", flush=True)
    summary = {
        "before": arguments.before,
        "load": os.getloadavg()[0],
        "cpus": os.cpu_count(),
        "results": results,
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(summary, indent=2) + "\n")
    shown = ("traffic", "program", "alerts", "calls_per_1000", "notices", "cpu_s_per_1000", "alerts_per_s")
    print(tabulate([{name: one[name] for name in shown} for one in results], headers="keys"))


if __name__ == "__main__":
    main()
