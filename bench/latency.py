"""Measure how long an alert takes: from putting the event that crosses a threshold into stream 1 to stream 2.

`make bench-latency` writes build/bench/latency.json and prints it as a table. It starts a local stack of its own, which
runs the deployed detector (all rules, RocksDB, the deployed properties). Beside it the tutorial's rule runs as a second
job on the same stream 1, with the same options and a watermark two seconds behind the events, and writes to a stream of
its own. The tutorial is the blog post that this project comes from.

The traffic is `--rate` events a second on both shards, sent as they happen: an event's time is that of its put. Each
rule about shoppers has bots of its own, whose last event crosses the threshold. Those of `burst` act within three
seconds, and cross the tutorial's threshold too, which is the same. The others are patient: some act for two minutes and
a half. The clock starts just before the call of PutRecords with the last event. It ends when the stream accepts the
rule's first alert for the bot, which is the record's ApproximateArrivalTimestamp, by the same clock. So it is Flink's
part: on AWS, networks and Lambda's poll come on top. The tutorial's rule does not find a bot on both sides of the
end of a window: `found` counts the bots that a rule finds, and the times are of those.

On a busy machine the times are the machine's: look at the load, and at the longest put, which takes milliseconds on an
idle one.

The bots that count start after both jobs have reported others. Compare numbers of one run with each other.
"""

import argparse
import heapq
import json
import math
import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tabulate import tabulate

from detector import rulebook
from local_cloud import flink, steps
from local_cloud.pollers.shards import read_all
from local_cloud.stack import STOP_SIGNALS, Stack

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "bench" / "latency.json"
TUTORIAL_STREAM = "bench-tutorial-alerts"

BURST_S = 3.0
# Between two actions of a patient bot: too slow for the rule burst.
PATIENT_S = 2.5
# https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html
MAX_BATCH_RECORDS = 500
TICK_S = 0.05
# Traffic before the bots that count: meanwhile Java compiles what runs often.
LEAD_S = 45
LEAD_LIMIT_S = 300
# Traffic after the last bot, repeated until no more alerts come: the tutorial's window, its watermark, and some more.
TAIL_S = 20
USERS = 1_000_000
FIRST_BOT = 700_000_000_000

Result = dict[str, Any]
# An attack and the number of the step in it.
Step = tuple["Attack", int]


@dataclass(frozen=True)
class Attack:
    """What the bots of one rule do: events at an even pace, of which the last crosses the threshold."""

    rule: str
    events: int
    every_s: float
    type: str = "view"
    changes_session: bool = False


def attacks() -> list[Attack]:
    """Return the attacks that the rules about shoppers find, the tutorial's first."""
    values = rulebook.read(ROOT / "sql" / "detection").values()

    def crossing(rule: str) -> int:
        return int(values[rule]["threshold"]) + 1

    return [
        Attack("burst", crossing("burst"), BURST_S / (crossing("burst") - 1)),
        Attack("session_rotator", crossing("session_rotator"), PATIENT_S, changes_session=True),
        Attack("cart_hoarder", crossing("cart_hoarder"), PATIENT_S, type="cart"),
        Attack("scraper", crossing("scraper"), PATIENT_S),
    ]


class LiveTraffic:
    """Shoppers and bots, sent to a stream at an even rate as time passes."""

    def __init__(self, kinesis: Any, stream: str, rate: float):
        self.kinesis, self.stream, self.rate = kinesis, stream, rate
        self.draw = random.Random(1)
        self.bots = 0
        # By bot: Unix time just before the put of the event that crosses.
        self.crossed_at: dict[int, float] = {}
        self.longest_put_s = 0.0

    def send(self, seconds: float, bots: Mapping[Attack, int] | None = None) -> dict[Attack, list[int]]:
        """Send traffic for that time, with bots that begin evenly spread over it. Return the bots of each attack."""
        names: dict[Attack, list[int]] = {}
        due: list[tuple[float, int, Step]] = []
        for attack, count in (bots or {}).items():
            names[attack] = [FIRST_BOT + self.bots + number for number in range(count)]
            self.bots += count
            for number, bot in enumerate(names[attack]):
                start = number * seconds / count + self.draw.random()  # at any place of the second
                due += [(start + step * attack.every_s, bot, (attack, step)) for step in range(attack.events)]
        heapq.heapify(due)
        end = max([seconds, *(at + TICK_S for at, *_ in due)])
        started, sent, now = time.monotonic(), 0, 0.0
        while now < end:
            now = time.monotonic() - started
            acts: list[tuple[int, Step | None]] = []
            while due and due[0][0] <= now:
                _, bot, step = heapq.heappop(due)
                acts.append((bot, step))
            # If the machine stood still, the rest is sent with the next requests.
            missing = min(int(now * self.rate) - sent, MAX_BATCH_RECORDS) - len(acts)
            acts += [(self.draw.randrange(USERS), None) for _ in range(missing)]
            if acts:
                put_at = self._put(acts)
                for user, step in acts:
                    if step and step[1] == step[0].events - 1:
                        self.crossed_at[user] = put_at
                sent += len(acts)
            time.sleep(max(0.0, TICK_S - (time.monotonic() - started - now)))
        return names

    def _put(self, acts: list[tuple[int, Step | None]]) -> float:
        """Return the Unix time just before the call. Raise RuntimeError if a record was refused."""
        put_at = time.time()
        records = [{"PartitionKey": str(user), "Data": self._event(user, step, put_at)} for user, step in acts]
        answer = self.kinesis.put_records(StreamName=self.stream, Records=records)
        if answer["FailedRecordCount"]:
            raise RuntimeError(f"{self.stream} refused {answer['FailedRecordCount']} of {len(records)} records")
        self.longest_put_s = max(self.longest_put_s, time.time() - put_at)
        return put_at

    def _event(self, user: int, step: Step | None, at: float) -> bytes:
        moment = datetime.fromtimestamp(at, UTC)
        product, kind, session = self.draw.randrange(100_000), "view", f"session-{user}"
        if step:
            attack, number = step
            product, kind = user % 100_000 * 1_000 + number, attack.type
            session += f"-{number}" if attack.changes_session else ""
        event = {
            "event_time": f"{moment:%Y-%m-%dT%H:%M:%S}.000Z",
            "event_type": kind,
            "product_id": str(product),
            "category_id": str(product % 600),
            "category_code": "electronics.smartphone",
            "brand": f"brand{product % 900}",
            "price": 9.99,
            "user_id": str(user),
            "user_session": session,
            "txn_timestamp": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z",
        }
        return json.dumps(event).encode()


def start_tutorial(stack: Stack) -> None:
    """Start the tutorial's rule beside the detector, with the detector's properties, into a stream of its own."""
    outputs, folder = stack.outputs(), stack.directory / "flink"
    kinesis = stack.client("kinesis")
    kinesis.create_stream(StreamName=TUTORIAL_STREAM, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=TUTORIAL_STREAM, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    groups = json.loads(flink.properties_file(stack).read_text())
    for group in groups:
        if group["PropertyGroupId"] == "alerts":
            group["PropertyMap"]["stream"] = TUTORIAL_STREAM
    properties = folder / "tutorial_properties.json"
    properties.write_text(json.dumps(groups))
    detector = flink.rest(stack, f"/jobs/{flink.running_job(stack)}")
    config = flink.rest(stack, f"/jobs/{detector['jid']}/checkpoints/config")
    jar = folder / "app" / "lib" / "pyflink-dependencies.jar"
    parallelism = max(vertex["parallelism"] for vertex in detector["vertices"])
    program = Path(__file__).with_name("tutorial_job.py")
    job = flink.run(stack, "the tutorial's rule", program, jar, properties, parallelism, config["interval"])
    flink.wait_until_running(stack, job)
    steps.progress(f"the tutorial's rule runs beside {outputs['detector_name']}")


def first_alerts(kinesis: Any, stream: str, rule: str) -> dict[int, float]:
    """Return when the stream accepted each user's first alert of a rule, Unix time."""
    first: dict[int, float] = {}
    for record in read_all(kinesis, stream):
        alert = json.loads(record["Data"])
        if alert.get("rule") == rule:  # stream 2 holds tallies too
            user, at = int(alert["subject"].removeprefix("user#")), record["ApproximateArrivalTimestamp"].timestamp()
            first[user] = min(at, first.get(user, at))
    return first


def measure(stack: Stack, bots: int, seconds: float, rate: float) -> Result:
    """Return the figures of both jobs over one stretch of traffic. Both must run already."""
    outputs = stack.outputs()
    known = attacks()
    places = {attack.rule: outputs["alert_stream_name"] for attack in known} | {"tutorial": TUTORIAL_STREAM}
    kinesis = stack.client("kinesis")
    traffic = LiveTraffic(kinesis, outputs["raw_stream_name"], rate)
    started = time.monotonic()
    while time.monotonic() - started < LEAD_S or not all(
        first_alerts(kinesis, places[rule], rule) for rule in ("burst", "tutorial")
    ):
        if time.monotonic() - started > LEAD_LIMIT_S:
            raise RuntimeError(f"a job reported none of {traffic.bots} bots: see {stack.log('flink-taskmanager')}")
        traffic.send(5, {known[0]: 3})
    steps.progress(f"sending {bots} bots of each kind in {seconds:.0f} s")
    load_before, traffic.longest_put_s = os.getloadavg(), 0.0
    names = traffic.send(seconds, dict.fromkeys(known, bots))
    of_rule = {attack.rule: own for attack, own in names.items()}
    of_rule["tutorial"] = of_rule["burst"]
    result: Result = {
        "load_before": [round(load, 2) for load in load_before],
        "load_after": [round(load, 2) for load in os.getloadavg()],
        "longest_put_s": round(traffic.longest_put_s, 3),
    }
    # As long as alerts come: on a busy machine the last ones are late, and without them the figures would be too good.
    alerts: dict[str, dict[int, float]] = {}
    before: dict[str, dict[int, float]] | None = None
    while alerts != before:
        before = alerts
        traffic.send(TAIL_S)
        alerts = {rule: first_alerts(kinesis, stream, rule) for rule, stream in places.items()}
    for rule, at in alerts.items():
        result[rule] = summary([at[bot] - traffic.crossed_at[bot] for bot in of_rule[rule] if bot in at], bots)
    return result


def summary(latencies: list[float], bots: int) -> Result:
    """Return the figures of one job, in seconds. Percentiles are by nearest rank."""
    ranked = sorted(latencies)
    if not ranked:
        raise RuntimeError(f"none of {bots} bots was found")
    result: Result = {"bots": bots, "found": len(ranked)}
    for name, share in (("min", 0.0), ("median", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)):
        result[f"{name}_s"] = round(ranked[max(0, math.ceil(share * len(ranked)) - 1)], 3)
    return result


def table(report: Result) -> str:
    """Return the report as a table, one row for each rule."""
    columns = ("bots", "found", "min_s", "median_s", "p95_s", "p99_s", "max_s")
    rules = [*(attack.rule for attack in attacks()), "tutorial"]
    rows = [[rule, *(report[rule][column] for column in columns)] for rule in rules]
    title = f"{report['rate']} events/s"
    load = report["load_before"][0]
    last = f"load before: {load} on {report['cores']} cores; longest put: {report['longest_put_s']} s"
    return f"{tabulate(rows, (title, *columns))}\n\n{last}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bots", type=int, default=120, help="of each rule (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=4, help="over which they are spread (default: 4)")
    parser.add_argument("--rate", type=float, default=200, help="events a second, the bots' included (default: 200)")
    given = parser.parse_args()
    events = given.bots * sum(attack.events for attack in attacks())
    if given.bots < 1 or events > given.minutes * 60 * given.rate / 2:
        parser.error(f"{given.bots} bots: give at least 1, and so few that at most half of the traffic is theirs")
    for number in STOP_SIGNALS:  # what was started is stopped first
        signal.signal(number, signal.default_int_handler)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    report: Result = {"cores": os.cpu_count(), "load_at_start": [round(load, 2) for load in os.getloadavg()]}
    report |= {"rate": given.rate, "minutes": given.minutes}
    directory = OUT.parent / "latency"
    with suppress(FileNotFoundError):
        Stack.load(directory).stop()  # left by a run that was killed
    stack = Stack.create(directory)
    try:
        steps.start(stack)
        start_tutorial(stack)
        report |= measure(stack, given.bots, given.minutes * 60, given.rate)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        stack.stop()
    OUT.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\n{table(report)}")
    print(f"\n{OUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
