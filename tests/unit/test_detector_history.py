"""History is read in the order of its times, and each accused subject is listed once for a rule."""

import gzip
import json
from datetime import date
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from detector.history import HistoryError, flagged, from_bucket, from_file, table


def record(user: int, at: str, kind: str = "view") -> str:
    return json.dumps({"event_type": kind, "user_id": user, "txn_timestamp": at})


def alert(rule: str, subject: str, at: str, level: int = 1, count: int = 6) -> dict:
    return {
        "rule": rule,
        "subject": subject,
        "window_end_at": at,
        "level": level,
        "num_actions_per_watermark": count,
    }


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="raw")
        yield client


def put(s3, day: str, name: str, *lines: str) -> None:
    body = gzip.compress("".join(f"{line}\n" for line in lines).encode())
    s3.put_object(Bucket="raw", Key=f"events/arrival_date={day}/{name}.gz", Body=body)


def test_what_arrived_on_the_days_comes_in_the_order_of_its_times(s3, tmp_path: Path) -> None:
    put(s3, "2026-11-01", "b", record(1, "2026-11-01T10:00:05.000Z"), record(2, "2026-11-01T10:00:01.000Z"))
    put(s3, "2026-11-02", "a", record(3, "2026-11-01T10:00:03.000Z"), "no record at all")
    put(s3, "2026-11-03", "a", record(4, "2026-11-01T10:00:02.000Z"))
    out = tmp_path / "records.jsonl"
    assert from_bucket(s3, "raw", [date(2026, 11, 1), date(2026, 11, 2)], out) == 4
    *lines, last = out.read_text().splitlines()
    assert [json.loads(line)["user_id"] for line in lines] == [2, 3, 1]
    assert last == "no record at all"


def test_days_without_arrivals_are_named(s3, tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="nothing arrived in s3://raw"):
        from_bucket(s3, "raw", [date(2026, 11, 1)], tmp_path / "records.jsonl")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"gone\.csv"):
        from_file(tmp_path / "gone.csv", tmp_path / "records.jsonl")


def test_each_subject_is_listed_once_for_a_rule_and_buyers_are_marked(tmp_path: Path) -> None:
    records = tmp_path / "records.jsonl"
    times = [f"2026-11-01T10:00:0{second}.000Z" for second in range(4)]
    records.write_text(
        "\n".join([record(7, times[0], "purchase"), record(8, times[0]), record(9, times[0], "purchase")])
    )
    rows = flagged(
        [
            *(alert("burst", "user#7", times[2], 2, 12), alert("burst", "user#7", times[1])),
            *(alert("burst", "user#8", times[1]), alert("site_surge", "site", times[3])),
        ],
        records,
    )
    assert [(row["subject"], row["rule"], row["alerts"], row["level"], row["most"], row["buys"]) for row in rows] == [
        ("site", "site_surge", 1, 1, 6, False),
        ("user#7", "burst", 2, 2, 12, True),
        ("user#8", "burst", 1, 1, 6, False),
    ]
    assert (rows[1]["first"], rows[1]["last"]) == (times[1], times[2])
    assert table(rows).splitlines()[-1] == "3 would be flagged, 1 of them buy"
