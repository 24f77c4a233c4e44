"""What is replayed is read back as it was in the file, to the byte."""

import csv
import gzip
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from command import end, read_back, replay, start

from local_cloud.stack import ROOT
from simulator.traffic.event import COLUMNS, event_time_at, second_of

SAMPLE = ROOT.parent / "shared" / "data" / "2019-Oct-head-17k.csv.gz"
SAMPLE_EVENTS = 17_434
ROWS = [
    '2019-10-01 00:00:00 UTC,view,9223372036854775807,2053013555631882655,appliances,"a ""b"", c",0.10,1,s-1',
    "2019-10-01 00:00:00 UTC,cart,44600062,2103807459595387724,,,1081.98,9223372036854775807,",
    "2019-10-01 00:00:01 UTC,purchase,44600062,-1,,maļ\\n名,0.00,-9223372036854775808,nullo",
    "2019-10-01 00:00:01 UTC,remove_from_cart,7,2103807459595387724, , ,9999999999.99,000042,0",
    '2019-10-01 00:00:02 UTC,view,SKU-1/ä b#7:2,,,,,"kim\\""@example.com",s',
    "2019-10-01 00:00:02 UTC,view,7,,,,,,guest's session",
    "2019-10-01 00:00:02 UTC,search,,,,,,,",
]


@pytest.fixture(scope="module")
def sample() -> Path:
    if not SAMPLE.exists():
        pytest.skip(f"the real sample is not here: {SAMPLE}")
    return SAMPLE


@pytest.mark.parametrize("aggregate", [[], ["--aggregate"]], ids=["plain", "aggregated"])
def test_the_real_sample_arrives_whole_and_with_the_files_own_values(
    emulator: str, stream: str, sample: Path, tmp_path: Path, aggregate: list[str]
) -> None:
    with gzip.open(sample, "rt", newline="") as text:
        rows = [row for row in csv.reader(text) if len(row) == len(COLUMNS)][1:]
    assert len(rows) == SAMPLE_EVENTS

    sent = replay(sample, "--stream", stream, *aggregate)
    there = read_back(stream)

    assert (sent.code, sent.summary["input_rows"], sent.summary["malformed_rows"]) == (0, SAMPLE_EVENTS + 1, 1)
    assert sent.summary["sent_events"] == len(there) == SAMPLE_EVENTS
    assert Counter(map(values, there)) == Counter(map(tuple, rows))
    written = tmp_path / "records.jsonl"
    replay(sample, "--output", written)
    assert Counter(there) == Counter(written.read_bytes().splitlines())


@pytest.mark.parametrize("aggregate", [[], ["--aggregate"]], ids=["plain", "aggregated"])
def test_ids_prices_quotes_and_nulls_arrive_as_they_were(
    emulator: str, stream: str, tmp_path: Path, aggregate: list[str]
) -> None:
    file = tmp_path / "few.csv"
    file.write_text("\n".join([",".join(COLUMNS), *ROWS]) + "\n", encoding="utf-8")

    sent = replay(file, "--stream", stream, *aggregate)

    assert sent.code == 0, sent.stderr
    there = read_back(stream)
    assert Counter(map(values, there)) == Counter(map(tuple, csv.reader(ROWS)))
    bare = next(json.loads(line) for line in there if b'"cart"' in line)
    assert [bare[name] for name in ("category_code", "brand", "user_session")] == [None, None, None]


def test_two_processes_with_a_part_each_send_the_same_set_as_one(
    emulator: str, stream: str, data: Path, expected: list[bytes]
) -> None:
    parts = [start(data, "--stream", stream, "--part", f"{part}/2") for part in (1, 2)]
    ended = [end(part) for part in parts]

    assert [one.code for one in ended] == [0, 0], [one.stderr for one in ended]
    assert all(one.summary["sent_events"] > len(expected) / 4 for one in ended)
    assert Counter(read_back(stream)) == Counter(expected)


def values(record: bytes) -> tuple[str, ...]:
    """Return the record's columns as the file writes them: numbers as their own text, null as an empty text."""
    event = json.loads(record, parse_float=str, object_pairs_hook=_checked)
    event["event_time"] = event_time_at(second_of(event["event_time"]))
    return tuple("" if event[name] is None else event[name] for name in COLUMNS)


def _checked(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    """Return the object. Check that no text is empty, which is no null, and that no name occurs twice."""
    pairs = list(pairs)
    assert [name for name, _ in pairs] == [*COLUMNS, "txn_timestamp"]
    assert all(value != "" for _, value in pairs)
    return dict(pairs)
