"""Measure what the simulator costs, stage by stage, and compare it with other ways to send the same events.

`PYTHONPATH=src .venv/bin/python bench/simulator.py` writes build/bench/simulator.json and prints it as tables:

- stages: one core, one process each, over two million events. `read_and_encode` is a dry run of the data set's nine
  columns, `read_and_encode_all_fields` one of a file with a column for each field, in another order, and quoted texts.
  `aggregate` also packs the events in the KPL format. The `request` stages also make, sign and serialise each
  PutRecords request with boto3; only the socket is missing. `read_and_encode_2_gb` shows the memory that a large file
  takes.
- clients: the same events to one emulator, each client in a process of its own that reads the file itself.
  `tutorial_loop` sends one put_record at a time with `json.dumps`, as the tutorial does (without its sleep).
  `boto3_batches` is a plain loop of PutRecords. aiokpl is a library that does what the KPL does. These three use `csv`
  and `json.dumps`, which `csv_and_json` measures alone. CPU seconds are those of the client; events/s are often those
  of the emulator. Calls and PUT payload units (25 KB, each record rounded up) are counted, the latter in the stream.
- pacing: how far the send times are off the schedule at --speed 60, 500 events/s.

CPU times do not include the start of Python and imports. Compare numbers of one run only, not of two machines.
"""

import asyncio
import csv
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "bench" / "simulator.json"
# Not part of the project: `uv venv .tools/bench/aiokpl && uv pip install --python .tools/bench/aiokpl aiokpl==0.2.0`
AIOKPL_PYTHON = ROOT / ".tools" / "bench" / "aiokpl" / "bin" / "python"

SHARDS = 4
BASE_EVENTS = 50_000
STAGE_COPIES = 41  # 2,050,000 events
LARGE_BYTES = 2_000_000_000
# https://aws.amazon.com/kinesis/data-streams/pricing/: 25 KB, of 1,024 as in the KPL's 51,200 bytes
UNIT_BYTES = 25 * 1024
TUTORIAL_EVENTS = 4_000
BATCH = 500
TIME_FORMAT = "%Y-%m-%d %H:%M:%S UTC"
PACE_SPEED, PACE_RATE, PACE_S = 60, 500, 20

Result = dict[str, Any]


# In processes of their own


def stage(name: str, file: str) -> Result:
    """Measure CPU, rate and memory of one stage, on one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from simulator.sending.kinesis import Stream
    from simulator.sending.replay import Replay
    from simulator.sending.sinks import AggregatingSink, FileSink, StreamSink
    from simulator.sending.writer import Writer
    from simulator.traffic.source import Source

    if name.startswith("read_and_encode"):
        sink: Any = FileSink()
    elif name == "aggregate":
        sink = AggregatingSink(Writer(_TakesAll()), _four_shards)
    else:
        writer = Writer(Stream(_client_without_network(), "stream"))
        sink = AggregatingSink(writer, _four_shards) if name == "request_aggregated" else StreamSink(writer)
    with open(os.devnull, "w") as nowhere, _measured() as result:
        summary = Replay(Source(file), sink, progress=nowhere).run()
        result["events"] = summary.sent_events
    return result


class _TakesAll:
    name = "stream"
    throttled_calls = 0

    def put_records(self, entries: list[str]) -> list[Result]:
        return [{}] * len(entries)


def _four_shards() -> list[tuple[int, int]]:
    quarter = 2**128 // SHARDS
    return [(shard * quarter, (shard + 1) * quarter - 1) for shard in range(SHARDS)]


def _client_without_network() -> Any:
    from botocore.awsrequest import AWSResponse

    from simulator.sending.kinesis import connect

    class Raw:
        def __init__(self, body: bytes) -> None:
            self.body = body

        def stream(self, **_: object) -> Iterator[bytes]:
            yield self.body

    one = (
        '{"SequenceNumber":"49543463076548007577105092703039560359975228518395012686","ShardId":"shardId-000000000000"}'
    )

    def answer(request: Any, **_: object) -> AWSResponse:
        count = request.body.count(b'"PartitionKey"')
        body = f'{{"FailedRecordCount":0,"Records":[{",".join([one] * count)}]}}'.encode()
        return AWSResponse(request.url, 200, {"content-type": "application/x-amz-json-1.1"}, Raw(body))

    client = connect()
    client.meta.events.register("before-send.kinesis.PutRecords", answer)
    return client


def client(name: str, file: str, events: int, stream: str) -> Result:
    """Measure CPU, rate and calls of one client that sends the file's first events."""
    send = {
        "csv_and_json": _csv_and_json,
        "tutorial_loop": _tutorial_loop,
        "boto3_batches": _boto3_batches,
        "ours": _ours,
        "ours_aggregated": lambda *job: _ours(*job, aggregate=True),
        "aiokpl": lambda *job: asyncio.run(_aiokpl(*job, aggregate=False)),
        "aiokpl_aggregated": lambda *job: asyncio.run(_aiokpl(*job, aggregate=True)),
    }[name]
    calls = _count_calls(name)
    if name.startswith("ours"):
        import simulator.run  # noqa: F401
    with _measured() as result:
        result["events"] = send(file, events, stream)
    return result | {"calls": len(calls)}


def _rows(file: str, events: int) -> Iterator[tuple[str, str, str]]:
    """Return (record, user_id, category_id) of each row, as a straightforward script does."""
    with open(file, newline="") as text:
        for row in islice(csv.DictReader(text), events):
            row["txn_timestamp"] = f"{row['event_time'][:10]}T{row['event_time'][11:19]}.000Z"
            yield json.dumps(row), row["user_id"], row["category_id"]


def _csv_and_json(file: str, events: int, stream: str) -> int:
    return sum(1 for _ in _rows(file, events))


def _tutorial_loop(file: str, events: int, stream: str) -> int:
    import boto3

    kinesis = boto3.client("kinesis")
    sent = 0
    for record, _, category in _rows(file, events):
        kinesis.put_record(StreamName=stream, Data=record, PartitionKey=category)
        sent += 1
    return sent


def _boto3_batches(file: str, events: int, stream: str) -> int:
    import boto3

    kinesis = boto3.client("kinesis")
    sent, rows = 0, _rows(file, events)
    while batch := [{"Data": record, "PartitionKey": user} for record, user, _ in islice(rows, BATCH)]:
        assert kinesis.put_records(StreamName=stream, Records=batch)["FailedRecordCount"] == 0
        sent += len(batch)
    return sent


def _ours(file: str, events: int, stream: str, aggregate: bool = False) -> int:
    from simulator.options import ReplayOptions
    from simulator.run import replay

    assert replay(ReplayOptions(data=[file], stream=stream, limit=events, aggregate=aggregate)).exit_code == 0
    return events


async def _aiokpl(file: str, events: int, stream: str, aggregate: bool) -> int:
    from aiokpl import Config, Producer

    config = Config(
        region=os.environ["AWS_DEFAULT_REGION"],
        endpoint_url=os.environ["AWS_ENDPOINT_URL"],
        aggregation_enabled=aggregate,
        # The emulator knows no limit for each shard, and no other client here keeps one.
        rate_limit_records_per_sec_per_shard=1e9,
        rate_limit_bytes_per_sec_per_shard=1e12,
        record_ttl_ms=600_000,
    )
    waiting = []
    async with Producer(config) as producer:
        for record, user, _ in _rows(file, events):
            waiting.append(await producer.put_record(stream=stream, partition_key=user, data=record.encode()))
        await producer.flush()
        results = [await one.wait() for one in waiting]
    assert all(result.success for result in results)
    return len(results)


def _count_calls(name: str) -> list[float]:
    """Return a list that gets the time of each call that sends records."""
    from botocore.httpsession import URLLib3Session as Session

    if name.startswith("aiokpl"):
        from aiobotocore.httpsession import AIOHTTPSession as Session
    calls: list[float] = []
    send = Session.send

    def counted(self: Any, request: Any) -> Any:
        target = request.headers.get("X-Amz-Target", b"")
        if b"PutRecord" in (target if isinstance(target, bytes) else target.encode()):
            calls.append(time.monotonic())
        return send(self, request)

    Session.send = counted
    return calls


def pacing(file: str, stream: str) -> Result:
    """Measure how far each event is off the schedule, in ms, at a speed that keeps the gaps."""
    from botocore.httpsession import URLLib3Session

    from simulator.options import ReplayOptions
    from simulator.run import replay
    from simulator.sending.pace import Pacer
    from simulator.traffic.event import ms_of

    pacers: list[Pacer] = []
    sent: list[tuple[float, bytes]] = []
    begin, send = Pacer.begin, URLLib3Session.send

    def remembered(self: Pacer, first_ms: int) -> None:
        pacers.append(self)
        begin(self, first_ms)

    def noted(self: Any, request: Any) -> Any:
        sent.append((time.monotonic(), request.body))
        return send(self, request)

    Pacer.begin, URLLib3Session.send = remembered, noted
    with _measured() as result:
        assert replay(ReplayOptions(data=[file], stream=stream, speed=PACE_SPEED)).exit_code == 0
    started, first_ms = pacers[0].started, pacers[0].first_ms
    off_ms = sorted(
        abs((at - started) * 1000 - (ms_of(json.loads(b64decode(entry["Data"]))["event_time"]) - first_ms) / PACE_SPEED)
        for at, body in sent
        for entry in json.loads(body)["Records"]
    )
    result["events"] = len(off_ms)
    return result | {
        "speed": PACE_SPEED,
        "calls": len(sent),
        "p50_ms": round(off_ms[len(off_ms) // 2], 2),
        "p99_ms": round(off_ms[int(len(off_ms) * 0.99)], 2),
        "max_ms": round(off_ms[-1], 2),
    }


@contextmanager
def _measured() -> Iterator[Result]:
    """Yield a dict that gets what the block took; the block puts `events` into it."""
    result: Result = {}
    started, cpu = time.perf_counter(), time.process_time()
    yield result
    result["seconds"] = round(time.perf_counter() - started, 3)
    result["cpu_seconds"] = round(time.process_time() - cpu, 3)
    status = Path("/proc/self/status").read_text()  # ru_maxrss would count what the parent had, too
    peak_kb = next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]
    result["peak_mb"] = round(int(peak_kb) / 1024, 1)


# In the process that calls them


def measure(kind: str, *arguments: object, python: str | Path = sys.executable, **environment: str) -> Result:
    """Measure `kind` in a process of its own. Return its result, with rates."""
    # With -P, this file's own name does not hide src/simulator.
    command = [str(python), "-P", __file__, kind, *map(str, arguments)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    result = json.loads(done.stdout.splitlines()[-1])
    return result | {
        "events_per_s": round(result["events"] / result["seconds"]),
        "cpu_s_per_million": round(result["cpu_seconds"] / result["events"] * 1e6, 2),
    }


def make_file(path: Path, copies: int = 0, until_bytes: int = 0) -> None:
    """Write look-alike events, again and again, each time by other users and later."""
    import polars as pl

    from simulator.options import DEFAULT_START
    from simulator.traffic.generate import write

    base = path.with_name("base.csv")
    write(base, BASE_EVENTS, hours=3, seed=1, start=DEFAULT_START)
    rows = pl.read_csv(base, infer_schema=False)
    at = rows["event_time"].str.to_datetime(TIME_FORMAT)
    length = at.max() - at.min()
    with path.open("wb") as file:
        copy = 0
        while copy < copies or file.tell() < until_bytes:
            later = at + copy * length
            user = pl.col("user_id").cast(pl.Int64) + copy * 1_000_000
            shifted = rows.with_columns(event_time=later.dt.to_string(TIME_FORMAT), user_id=user.cast(pl.String))
            shifted.write_csv(file, include_header=copy == 0)
            copy += 1


def make_file_of_all_fields(path: Path, nine_columns: Path) -> None:
    """Write the same events with a value for each field, the columns in another order, and times as ISO 8601."""
    import polars as pl

    number, agent = pl.int_range(pl.len()), "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
    rows = pl.scan_csv(nine_columns, infer_schema=False).with_columns(
        event_time=pl.col("event_time").str.to_datetime(TIME_FORMAT).dt.to_string("%Y-%m-%dT%H:%M:%S.250Z"),
        event_id=pl.format("evt-{}", number),
        order_id=pl.when(pl.col("event_type") == "purchase").then(pl.format("{}", number)),
        quantity=pl.when(pl.col("event_type") == "purchase").then(1 + number % 3),
        currency=pl.lit("EUR"),
        client_ip=pl.format("192.0.2.{}", number % 256),
        user_agent=pl.format(f"{agent} Chrome/{{}}.0", 100 + number % 30),
        page_url=pl.format("https://shop.example/p/{}?ref=list", "product_id"),
        referrer=pl.lit("https://search.example/"),
    )
    rows.select(*rows.collect_schema().names()[::-1]).sink_csv(path)


def make_paced_file(path: Path) -> None:
    """Write events that come at PACE_RATE when replayed at PACE_SPEED."""
    from simulator.traffic.event import COLUMNS, event_time_at

    per_second = PACE_RATE / PACE_SPEED
    lines = [
        f"{event_time_at(1_569_900_000 + int(number / per_second))},view,{number},1,,,1.00,{number % 997},s"
        for number in range(PACE_RATE * PACE_S)
    ]
    path.write_text("\n".join([",".join(COLUMNS), *lines]) + "\n")


def stages(folder: Path) -> Result:
    file = folder / "stages.csv"
    make_file(file, copies=STAGE_COPIES)
    whole = folder / "all_fields.csv"
    make_file_of_all_fields(whole, file)
    results = {
        name: measure("stage", name, whole if name.endswith("all_fields") else file, POLARS_MAX_THREADS="1")
        for name in ("read_and_encode", "read_and_encode_all_fields", "aggregate", "request", "request_aggregated")
    }
    whole.unlink()
    large = folder / "large.csv"
    try:
        make_file(large, until_bytes=LARGE_BYTES)
        name = "read_and_encode_2_gb"
        results[name] = measure("stage", name, large, POLARS_MAX_THREADS="1")
    finally:
        large.unlink(missing_ok=True)
    return results


def clients(file: Path) -> Result:
    jobs = {
        "csv_and_json": 400_000,
        "tutorial_loop": TUTORIAL_EVENTS,
        "boto3_batches": 100_000,
        "ours": 100_000,
        "ours_aggregated": 800_000,
        "aiokpl": 100_000,
        "aiokpl_aggregated": 200_000,
    }
    results: Result = {}
    for name, events in jobs.items():
        python = AIOKPL_PYTHON if name.startswith("aiokpl") else sys.executable
        if not Path(python).exists():
            results[name] = {"not_measured": "not installed"}
            continue
        with new_stream() as stream:
            result = measure("client", name, file, events, stream, python=python)
            if name != "csv_and_json":
                result |= _held(stream, events)
            results[name] = result
    return results


def _held(stream: str, events: int) -> Result:
    """Count what the stream holds: it must be every event once."""
    import boto3

    from local_cloud.pollers.shards import read_all

    sizes, there = [], 0
    for record in read_all(boto3.client("kinesis"), stream):
        sizes.append(len(record["Data"]))
        there += _events_in(record["Data"])
    assert there == events, f"{there} events are in {stream}, not {events}"
    units = sum(math.ceil(size / UNIT_BYTES) for size in sizes)
    return {"records": len(sizes), "payload_units_per_thousand": round(units / events * 1000, 2)}


def _events_in(data: bytes) -> int:
    from aws_kinesis_agg import DIGEST_SIZE, MAGIC
    from aws_kinesis_agg.aggregator import messages_pb2

    if not data.startswith(MAGIC):
        return 1
    return len(messages_pb2.AggregatedRecord.FromString(data[len(MAGIC) : -DIGEST_SIZE]).records)


@contextmanager
def new_stream() -> Iterator[str]:
    import boto3

    kinesis = boto3.client("kinesis")
    name = f"bench-{time.monotonic_ns()}"
    kinesis.create_stream(StreamName=name, ShardCount=SHARDS)
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    yield name
    kinesis.delete_stream(StreamName=name)


def ratios(results: Result) -> Result:
    """Return how many times the CPU of ours, per event, the others take."""
    cpu = {name: one["cpu_s_per_million"] for name, one in results.items() if "cpu_s_per_million" in one}
    pairs = {
        "tutorial_loop": ("ours", "ours_aggregated"),
        "boto3_batches": ("ours", "ours_aggregated"),
        "aiokpl": ("ours",),
        "aiokpl_aggregated": ("ours_aggregated",),
    }
    return {
        f"{other}_cpu_over_{mine}": round(cpu[other] / cpu[mine], 1)
        for other, ours in pairs.items()
        if other in cpu
        for mine in ours
    }


def table(title: str, results: Result) -> str:
    """Return the results as a table, a line for each."""
    from tabulate import tabulate

    columns = (
        "events",
        "events_per_s",
        "cpu_s_per_million",
        "peak_mb",
        "calls_per_thousand",
        "payload_units_per_thousand",
    )
    rows = [
        [name, one["not_measured"]] if "not_measured" in one else [name, *map(one.get, columns)]
        for name, one in results.items()
    ]
    names = [title, *(name.replace("_per_thousand", "/1000") for name in columns)]
    return tabulate(rows, names, intfmt=",", floatfmt=",", missingval="")


def main() -> None:
    from tabulate import tabulate

    from local_cloud import ministack

    OUT.parent.mkdir(parents=True, exist_ok=True)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    with tempfile.TemporaryDirectory(dir=OUT.parent) as name, ministack.running() as variables:
        os.environ |= variables
        folder = Path(name)
        report: Result = {"cores": os.cpu_count(), "load_before": [round(load, 2) for load in os.getloadavg()]}
        report["stages"] = stages(folder)
        report["clients"] = clients(folder / "stages.csv")
        for one in report["clients"].values():
            if "calls" in one:
                one["calls_per_thousand"] = round(one["calls"] / one["events"] * 1000, 3)
        make_paced_file(folder / "paced.csv")
        with new_stream() as stream:
            report["pacing"] = measure("pacing", folder / "paced.csv", stream)
        report["ratios"] = ratios(report["clients"])
    OUT.write_text(json.dumps(report, indent=2) + "\n")
    print(table("stage, one core", report["stages"]), end="\n\n")
    print(table("client, one emulator", report["clients"]), end="\n\n")
    print(tabulate(report["ratios"].items(), ["CPU per event", "times ours"]))
    paced = report["pacing"]
    print(f"\npacing, {paced['events_per_s']} events/s: off by p50 {paced['p50_ms']} ms, p99 {paced['p99_ms']} ms")
    print(f"\n{OUT.relative_to(ROOT)}")


KINDS: dict[str, Callable[..., Result]] = {
    "stage": stage,
    "client": lambda name, file, events, stream: client(name, file, int(events), stream),
    "pacing": pacing,
}

if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(KINDS[sys.argv[1]](*sys.argv[2:])))
    else:
        main()
