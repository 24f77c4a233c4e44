"""The command line: what it sends, says and returns, against moto's Kinesis and with a clock of its own."""

import gzip
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import zipfile
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import boto3
import pytest
import typer
from aws_kinesis_agg import MAGIC
from aws_kinesis_agg.aggregator import messages_pb2
from moto import mock_aws

from shopstream.app import app, run
from shopstream.commands import traffic
from simulator.options import TrafficOptions
from simulator.sending import replay
from simulator.traffic.event import COLUMNS, event_key, event_time_at, second_of
from simulator.traffic.exports import NEXT_STEP
from simulator.traffic.generate import LookAlike
from simulator.traffic.inputs import ALLOWED
from simulator.traffic.rows import HEADER_ALLOWED

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
START = second_of("2019-10-01 00:00:00 UTC")
HEADER = ",".join(COLUMNS)
PROGRAM = str(Path(sys.executable).with_name("shopstream"))


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without an account, an endpoint or a region."""
    for name in [name for name in os.environ if name.startswith("AWS_") and name != "AWS_CA_BUNDLE"]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers credentials
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


class Stream:
    """A stream of two shards."""

    def __init__(self) -> None:
        self.client = boto3.client("kinesis")
        self.client.create_stream(StreamName="one", ShardCount=2)

    def records(self) -> list[bytes]:
        """Return all records, shard after shard."""
        found = []
        for shard in self.client.list_shards(StreamName="one")["Shards"]:
            iterator = self.client.get_shard_iterator(
                StreamName="one", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            found += [record["Data"] for record in self.client.get_records(ShardIterator=iterator)["Records"]]
        return found


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stream]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield Stream()


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a file of rows below the header; a number is an event at that second."""

    def write(*rows: int | str, header: str = HEADER) -> Path:
        texts = [
            row if isinstance(row, str) else f"{event_time_at(START + row)},view,{number},2,a.b,,33.20,{500 + number},s"
            for number, row in enumerate(rows)
        ]
        path = tmp_path / "events.csv"
        path.write_text("\n".join([header, *texts]) + "\n")
        return path

    return write


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines on stderr; stdout is empty."""
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


class TestReplay:
    def test_sends_the_file_and_says_what_it_did(
        self, stream: Stream, file, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(["replay", str(file(0, 1, 2)), "--stream", "one"]) == 0
        assert sorted(json.loads(record)["product_id"] for record in stream.records()) == ["0", "1", "2"]
        assert re.fullmatch(
            r"read 3 rows \(0 malformed\), injected 0 events, sent 3, acknowledged 3 \(0 retries\) in \d+\.\d s",
            said(capsys)[-1],
        )

    def test_json_summary_is_all_of_stdout(self, stream: Stream, file, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = ["replay", str(file(0, "bad", 5)), "--stream", "one", "--json", "--bursts", "3"]
        assert run([*arguments, "--max-malformed", "0.5"]) == 0
        summary = json.loads(capsys.readouterr().out)
        assert summary.pop("seconds") >= 0
        injected = summary.pop("injected_events")
        assert injected >= 3 * 8
        assert summary == {
            "input_rows": 3,
            "malformed_rows": 1,
            "malformed_reasons": [
                {
                    "rows": 1,
                    "example": {
                        "file": arguments[1],
                        "line_number": 3,
                        "reason": "1 columns, expected 9",
                        "row": "bad",
                    },
                }
            ],
            "set_aside_rows": 0,
            "set_aside_reasons": [],
            "early_rows": 0,
            "notes": [],
            "skipped_events": 0,
            "sent_events": 2 + injected,
            "retries": 0,
            "overtakings": 0,
        }
        assert len(stream.records()) == 2 + injected

    def test_side_files(self, stream: Stream, file, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        malformed, labels, ledger = (tmp_path / name for name in ("malformed.jsonl", "labels.json", "ledger"))
        path = file(0, "bad", 5)
        arguments = ["replay", str(path), "--stream", "one", "--bursts", "2", "--max-malformed", "0.5"]
        arguments += ["--malformed", str(malformed), "--labels", str(labels), "--ledger", str(ledger)]
        assert run(arguments) == 0

        assert json.loads(malformed.read_text()) == {
            "file": str(path),
            "line_number": 3,
            "reason": "1 columns, expected 9",
            "row": "bad",
        }
        events = [json.loads(record) for record in stream.records()]
        bots = {label["user_id"]: label["event_count"] for label in json.loads(labels.read_text())}
        assert len(bots) == 2
        assert bots == {user: sum(event["user_id"] == user for event in events) for user in bots}
        assert sorted(ledger.read_text().split()) == sorted(event_key(event) for event in events)
        example = f"          1 malformed, for example {path}, line 3: 1 columns, expected 9: bad"
        assert said(capsys)[1:] == [example], "the rows are in their file; the screen has one of each reason"

    def test_at_most_ten_malformed_rows_are_on_the_screen(
        self, stream: Stream, file, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = file(0, *["bad"] * 30)
        assert run(["replay", str(path), "--stream", "one", "--max-malformed", "1"]) == 0
        *rows, more, read, example = said(capsys)
        assert [json.loads(row)["line_number"] for row in rows] == list(range(3, 13))
        assert more == "more rows are malformed: --malformed FILE keeps them all"
        assert read.startswith("read 31 rows (30 malformed), ")
        assert example.startswith("         30 malformed, for example ")

    def test_malformed_rows_are_on_the_screen_without_a_file_for_them(
        self, stream: Stream, file, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(["replay", str(file(0, "bad")), "--stream", "one", "--max-malformed", "1"]) == 0
        assert json.loads(said(capsys)[0])["line_number"] == 3

    def test_labels_without_bots_are_an_empty_list(self, stream: Stream, file, tmp_path: Path) -> None:
        assert run(["replay", str(file(0)), "--stream", "one", "--labels", str(tmp_path / "labels")]) == 0
        assert json.loads((tmp_path / "labels").read_text()) == []

    def test_same_seed_sends_the_same_records(self, stream: Stream, file, tmp_path: Path) -> None:
        ids = {}
        for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
            ledger = tmp_path / name
            arguments = ["replay", str(file(0, 9)), "--stream", "one", "--bursts", "2", "--seed", seed]
            assert run([*arguments, "--ledger", str(ledger)]) == 0
            ids[name] = ledger.read_text()
        assert ids["a"] == ids["b"] != ids["c"]

    def test_limit(self, stream: Stream, file, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["replay", str(file(0, 1, 2)), "--stream", "one", "--limit", "2"]) == 0
        assert len(stream.records()) == 2

    def test_values_arrive_to_the_byte(self, stream: Stream, file) -> None:
        row = f'2019-10-01 00:00:00 UTC,cart,1,{2**63 - 1},,"7"" кофе",0.1,1,'
        assert run(["replay", str(file(row)), "--stream", "one"]) == 0
        assert stream.records() == [
            (
                '{"event_time":"2019-10-01T00:00:00.000Z","event_type":"cart","product_id":"1",'
                '"category_id":"9223372036854775807","category_code":null,"brand":"7\\" кофе","price":0.10,'
                '"user_id":"1","user_session":null,"txn_timestamp":"2019-10-01T00:00:00.000Z"}'
            ).encode()
        ]


def products(records: list[bytes]) -> list[int]:
    """Return the sorted product numbers of wire records."""
    return sorted(int(json.loads(record)["product_id"]) for record in records)


class TestOptions:
    def test_dry_run_checks_and_counts_without_an_account(self, file, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["replay", str(file(0, 1)), "--dry-run"]) == 0
        assert said(capsys)[-1].startswith("read 2 rows (0 malformed), injected 0 events, sent 2, acknowledged 2 (0")

    @pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
    def test_output_holds_the_records_a_stream_would_get(self, stream: Stream, file, tmp_path: Path, name: str) -> None:
        path, out = file(0, 1, 2), tmp_path / name
        assert run(["replay", str(path), "--output", str(out)]) == 0
        assert run(["replay", str(path), "--stream", "one"]) == 0
        lines = (gzip.decompress(out.read_bytes()) if name.endswith(".gz") else out.read_bytes()).splitlines()
        assert products(lines) == [0, 1, 2]
        assert sorted(lines) == sorted(stream.records())

    def test_aggregate_holds_the_same_events(self, stream: Stream, file, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["replay", str(file(*range(40))), "--stream", "one", "--aggregate"]) == 0
        records = stream.records()
        aggregates = [messages_pb2.AggregatedRecord.FromString(record[4:-16]) for record in records]
        assert len(aggregates) == 2, "one for each shard"
        assert products([event.data for one in aggregates for event in one.records]) == list(range(40))
        assert "sent 40, acknowledged 40 (0 retries)" in said(capsys)[-1]

    def test_start_until_and_part_select(self, stream: Stream, file) -> None:
        path = str(file(*range(0, 600, 10)))
        times = ["--start", "2019-10-01 00:01:00", "--until", "2019-10-01T00:05:00Z"]
        for part in ("1/2", "2/2"):
            assert run(["replay", path, "--stream", "one", *times, "--part", part]) == 0
        assert products(stream.records()) == list(range(6, 30))

    def test_several_inputs_and_kinds(self, stream: Stream, file, tmp_path: Path) -> None:
        first = file(0).read_bytes()
        (tmp_path / "b.csv.gz").write_bytes(gzip.compress(file(0, 1).read_bytes()))
        with zipfile.ZipFile(tmp_path / "c.csv.zip", "w") as archive:
            archive.writestr("c.csv", first)
        assert run(["replay", str(tmp_path / "?.csv.gz"), str(tmp_path / "c.csv.zip"), "--stream", "one"]) == 0
        assert products(stream.records()) == [0, 0, 1]

    def test_category_as_partition_key(self, stream: Stream, file) -> None:
        assert run(["replay", str(file(*range(9))), "--stream", "one", "--partition-key", "category_id"]) == 0
        shards = set()
        for shard in stream.client.list_shards(StreamName="one")["Shards"]:
            iterator = stream.client.get_shard_iterator(
                StreamName="one", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            for record in stream.client.get_records(ShardIterator=iterator)["Records"]:
                shards.add((shard["ShardId"], record["PartitionKey"]))
        assert len(shards) == 1
        assert shards.pop()[1] == "2"

    def test_strict_order_needs_more_calls_and_sends_the_same(self, stream: Stream, file) -> None:
        row = "2019-10-01 00:00:00 UTC,view,{},2,a.b,,33.20,7,s"
        assert run(["replay", str(file(*map(row.format, range(5)))), "--stream", "one", "--strict-order"]) == 0
        assert [int(json.loads(record)["product_id"]) for record in stream.records()] == list(range(5))

    def test_time_now_moves_the_first_event_to_now(self, stream: Stream, file, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(replay.Clock, "now_ms", lambda self: (START + 86_400) * 1000 + 7)
        assert run(["replay", str(file(100, 105)), "--stream", "one", "--time", "now"]) == 0
        assert sorted(json.loads(record)["txn_timestamp"] for record in stream.records()) == [
            "2019-10-02T00:00:00.007Z",
            "2019-10-02T00:00:05.007Z",
        ]

    def test_rate(self, stream: Stream, file, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = FakeClock()
        monkeypatch.setattr(replay, "Clock", lambda: clock)
        assert run(["replay", str(file(0, 0, 9000)), "--stream", "one", "--rate", "4"]) == 0
        assert clock.seconds == pytest.approx(0.5)

    def test_resume_goes_on_and_keeps_the_ledger(
        self, stream: Stream, file, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, state, ledger = file(0, 0, 3600, 3600), tmp_path / "state", tmp_path / "ledger"
        arguments = ["replay", str(path), "--stream", "one", "--speed", "60", "--time", "now"]
        arguments += ["--resume", str(state), "--ledger", str(ledger)]
        monkeypatch.setattr(replay, "Clock", InterruptedClock)
        assert run(arguments) == 130
        monkeypatch.setattr(replay, "Clock", FakeClock)
        assert run(arguments) == 0
        assert products(stream.records()) == [0, 1, 2, 3]
        assert len({json.loads(record)["txn_timestamp"] for record in stream.records()}) == 2, "one shift for both"
        assert sorted(ledger.read_text().split()) == sorted(event_key(json.loads(one)) for one in stream.records())
        assert "skipped 2 acknowledged before, sent 2, acknowledged 2" in capfd.readouterr().err.splitlines()[-1]

    def test_resume_with_other_options_is_refused(
        self, stream: Stream, file, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ["replay", str(file(0)), "--stream", "one", "--resume", str(tmp_path / "state")]
        assert run(arguments) == 0
        capsys.readouterr()
        assert run([*arguments, "--limit", "5", "--part", "1/1"]) == 2
        assert said(capsys) == [
            f"error: {tmp_path}/state: of a replay with other part, limit; repeat its options, or give another file"
        ]

    def test_loop_ends_with_ctrl_c(self, stream: Stream, file, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = FakeClock(interrupt_at=25)
        monkeypatch.setattr(replay, "Clock", lambda: clock)
        assert run(["replay", str(file(0, 9)), "--stream", "one", "--speed", "1", "--loop"]) == 130
        assert sorted(json.loads(record)["txn_timestamp"][14:19] for record in stream.records()) == [
            "00:00", "00:09", "00:10", "00:19", "00:20"
        ]  # fmt: skip


class TestReplayFails:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--dry-run", "--resume", "state"], "--resume needs --stream: an output is always written from its start"),
            (["--output", "o", "--resume", "s"], "--resume needs --stream: an output is always written from its start"),
            (["--dry-run", "--ledger", "l"], "--ledger names single records: it needs --stream, without --aggregate"),
            (
                ["--stream", "one", "--ledger", "l", "--aggregate"],
                "--ledger names single records: it needs --stream, without --aggregate",
            ),
            (
                ["--stream", "one", "--loop", "--bursts", "1"],
                "--loop cannot repeat --bursts: a bot attacks once; leave out one of them",
            ),
            *(
                ([*target, option], f"{option} says how records go to a stream; give --stream, or leave it out")
                for target in (["--dry-run"], ["--output", "o"])
                for option in ("--aggregate", "--strict-order")
            ),
            (
                ["--stream", "one", "--late", "0.1", "--checkout-items", "4"],
                "--late, --checkout-items: of made traffic only; give --look-alike, or leave it out",
            ),
            (
                ["--dry-run", "--duplicates", "0"],
                "--duplicates: of made traffic only; give --look-alike, or leave it out",
            ),
        ],
    )
    def test_options_that_exclude_each_other(
        self, file, capsys: pytest.CaptureFixture[str], options: list[str], message: str
    ) -> None:
        assert run(["replay", str(file(0)), *options]) == 2
        assert said(capsys) == [f"error: {message}"]

    def test_too_many_malformed_rows(self, stream: Stream, file, tmp_path: Path, capsys) -> None:
        path = file(*range(98), "bad", "bad")
        assert run(["replay", str(path), "--stream", "one", "--malformed", str(tmp_path / "m")]) == 2
        assert said(capsys)[-2:] == [
            "error: 2 of the first 100 rows are malformed, allowed is a share of 0.01; "
            "mend the file, or allow more with --max-malformed",
            f"          2 malformed, for example {path}, line 100: 1 columns, expected 9: bad",
        ]
        assert len((tmp_path / "m").read_text().splitlines()) == 2
        assert stream.records() == []

    @pytest.mark.parametrize("output", ["{}/no folder/out", "ftp://host/out"])
    def test_output_that_cannot_be_written(self, file, tmp_path: Path, capsys, output: str) -> None:
        assert run(["replay", str(file(0)), "--output", output.format(tmp_path)]) == 2
        (line,) = said(capsys)
        assert line.startswith(f"error: {output.format(tmp_path)}: ")

    @pytest.mark.parametrize("option", ["--output", "data"])
    def test_s3_address_that_does_not_exist(
        self, stream: Stream, file, capsys: pytest.CaptureFixture[str], option: str
    ) -> None:
        address = "s3://nobody/a.csv"
        arguments = [str(file(0)), "--output", address] if option == "--output" else [address, "--dry-run"]
        assert run(["replay", *arguments]) != 0
        (line,) = said(capsys)
        assert line.startswith("error: ")
        assert "nobody" in line or "NoSuchBucket" in line

    def test_resume_file_in_a_folder_that_is_missing_fails_before_anything_is_sent(
        self, stream: Stream, file, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "no folder" / "state"
        assert run(["replay", str(file(0)), "--stream", "one", "--resume", str(path)]) == 2
        (line,) = said(capsys)
        assert line.endswith("No such file or directory; give another path")
        assert stream.records() == []

    @pytest.mark.parametrize("bursts", ["0", "2"])
    @pytest.mark.parametrize("name", ["missing.csv", "missing.csv.gz"])
    def test_missing_path(
        self, stream: Stream, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, bursts: str
    ) -> None:
        path = tmp_path / name
        assert run(["replay", str(path), "--stream", "one", "--bursts", bursts]) == 2
        assert said(capsys) == [
            f"error: {path}: No such file or directory; give the path of a file: {ALLOWED}",
        ]

    def test_wrong_header(self, stream: Stream, file, capsys: pytest.CaptureFixture[str]) -> None:
        path = file(0, header="a,b")
        assert run(["replay", str(path), "--stream", "one"]) == 2
        assert said(capsys) == [
            f"error: {path}: the header is 'a,b': 'a' is no field; {HEADER_ALLOWED}; for other columns give a "
            f"--mapping: {NEXT_STEP}"
        ]
        assert stream.records() == []

    def test_bursts_without_events(self, stream: Stream, file, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["replay", str(file()), "--stream", "one", "--bursts", "1"]) == 2
        assert said(capsys) == ["error: no valid row to mix bursts with: give a file with events, or --bursts 0"]

    def test_zip_with_another_checksum_is_sent_as_far_as_it_goes(
        self, stream: Stream, file, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "events.csv.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.csv", file(*range(300)).read_bytes())
        content = bytearray(path.read_bytes())
        content[content.index(b"PK\x01\x02") + 16] ^= 0xFF
        path.write_bytes(content)
        assert run(["replay", str(path), "--stream", "one"]) == 2
        assert products(stream.records()) == list(range(300))
        assert said(capsys)[-1] == (
            f"error: {path}: reading ended early: Bad CRC-32 for file 'a.csv'; what could be read was sent"
        )

    def test_damaged_file_is_sent_as_far_as_it_goes(
        self, stream: Stream, file, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "events.csv.gz"
        path.write_bytes(gzip.compress(file(0, 1).read_bytes())[:-8])
        assert run(["replay", str(path), "--stream", "one"]) == 2
        assert len(stream.records()) == 2
        assert said(capsys)[-1].startswith(f"error: {path}: reading ended early: Compressed file ended before")
        assert run(["replay", str(path), "--stream", "one", "--limit", "1"]) == 0, "so far the file is whole"

    @pytest.mark.parametrize("option", ["--malformed", "--labels", "--ledger"])
    def test_side_file_that_cannot_be_written_fails_before_anything_is_sent(
        self, stream: Stream, file, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
    ) -> None:
        path = tmp_path / "no folder" / "side"
        assert run(["replay", str(file(0)), "--stream", "one", option, str(path)]) == 2
        assert said(capsys) == [f"error: {path}: No such file or directory; give another path"]
        assert stream.records() == []

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full to write to")
    def test_full_disk(self, stream: Stream, file, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["replay", str(file(0)), "--stream", "one", "--ledger", "/dev/full"]) == 2
        assert said(capsys) == ["error: an output cannot be written: No space left on device; give another path"]

    def test_missing_stream(self, stream: Stream, file, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["replay", str(file(0)), "--stream", "none"]) == 1
        *_, summary, error = said(capsys)
        assert "sent 1, acknowledged 0" in summary
        assert error.startswith("error: stream none took no records: An error occurred (ResourceNotFoundException)")
        assert error.endswith("; check --stream, the region and the account, or apply Terraform first")

    def test_no_credentials(self, file, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        assert run(["replay", str(file(0)), "--stream", "one"]) == 1
        assert said(capsys)[-1] == (
            "error: stream one took no records: Unable to locate credentials; "
            "log in to AWS, or use ENV=local with the stack up"
        )

    def test_no_region(self, file, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["replay", str(file(0)), "--stream", "one"]) == 1
        assert said(capsys) == [
            "error: You must specify a region; set AWS_DEFAULT_REGION, or use ENV=local with the stack up"
        ]

    def test_what_is_refused_to_the_end(
        self, stream: Stream, file, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        class Refusing:
            """Takes only product 0."""

            throttled_calls = 0

            def __init__(self, client: Any, name: str) -> None:
                self.name = name

            def put_records(self, entries: list[str]) -> list[dict[str, Any]]:
                return [
                    {}
                    if b'"product_id":"0",' in b64decode(json.loads(entry)["Data"])
                    else {"ErrorCode": "InternalFailure"}
                    for entry in entries
                ]

        monkeypatch.setattr("simulator.run.Stream", Refusing)
        monkeypatch.setattr("simulator.sending.writer.BACKOFF_CAP_S", 0)
        ledger = tmp_path / "ledger"
        assert run(["replay", str(file(0, 1)), "--stream", "one", "--ledger", str(ledger), "--json"]) == 1
        captured = capsys.readouterr()
        assert json.loads(captured.out)["sent_events"] == 1
        assert "sent 2, acknowledged 1 (20 retries)" in captured.err
        assert captured.err.splitlines()[-1].startswith("error: stream one refused 1 records 20 times, the first with")
        assert len(ledger.read_text().split()) == 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["replay", "a.csv"], "one of the arguments --stream --output --dry-run is required"),
            (["replay", "a.csv", "--stream", "s", "--dry-run"], "--dry-run: not allowed with argument --stream"),
            (["replay", "a.csv", "--stream", "s", "--output", "f"], "--output: not allowed with argument --stream"),
            (["replay", "a.csv", "--stream", "s", "--rate", "5", "--speed", "5"], "not allowed with argument --rate"),
            *(
                (
                    ["replay", "a.csv", "--stream", "s", "--rate", rate],
                    f"'{rate}' is not allowed; give a number above 0",
                )
                for rate in ("0", "max", "inf", "-1", "nan", "x")
            ),
            *(
                (["replay", "a.csv", "--stream", "s", "--part", part], f"'{part}' is no part such as 1/2 or 2/2")
                for part in ("0/2", "3/2", "1", "1/", "/2", "1/-2", "a/b", "1/2/3", "0/0", "")
            ),
            *(
                (["replay", "a.csv", "--stream", "s", "--max-malformed", share], f"'{share}' is no share from 0 to 1")
                for share in ("-0.1", "1.1", "1%", "nan", "x")
            ),
            *(
                (
                    ["replay", "a.csv", "--stream", "s", option, "today"],
                    "'today' is no time; give one such as 2019-10-01",
                )
                for option in ("--start", "--until")
            ),
            (
                ["replay", "a.csv", "--stream", "s", "--partition-key", "brand"],
                "'brand' is not one of 'user_id', 'category_id'",
            ),
            (["replay", "a.csv", "--stream", "s", "--speed", "0"], "'0' is not allowed; give max, or a number above 0"),
            (["replay", "a.csv", "--stream", "s", "--speed", "fast"], "'fast' is not allowed; give max, or a number"),
            (["replay", "a.csv", "--stream", "s", "--speed", "inf"], "'inf' is not allowed; give max, or a number"),
            (
                ["replay", "a.csv", "--stream", "s", "--bursts", "-1"],
                "--bursts': Input should be greater than or equal to 0",
            ),
            (["replay", "a.csv", "--stream", "s", "--bursts", "x"], "'--bursts': Input should be a valid integer"),
            (
                ["replay", "a.csv", "--stream", "s", "--limit", "0"],
                "'--limit': Input should be greater than or equal to 1",
            ),
            (
                ["replay", "a.csv", "--stream", "s", "--time", "live"],
                "'live' is not one of 'original', 'now'",
            ),
            (["look-alike", "a.json"], "'a.json' is neither .csv nor .csv.gz; give a name that ends so"),
            (["look-alike", "a.csv", "--events", "0"], "'--events': Input should be greater than or equal to 1"),
            (["look-alike", "a.csv", "--hours", "nan"], "nan is not allowed, at least 0.1 is"),
            (["look-alike", "a.csv", "--start", "today"], "'today' is no time; give one such as 2019-10-01 22:30:00"),
            (["look-alike"], "Missing argument 'OUT'"),
        ],
    )
    def test_bad_options(self, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
        assert run(arguments) == 2
        assert message in " ".join(capsys.readouterr().err.split())


class FakeClock(replay.Clock):
    """Time that passes only in `sleep`; a Ctrl-C comes at `interrupt_at`."""

    def __init__(self, interrupt_at: float = float("inf")) -> None:
        self.seconds = 0.0
        self.interrupt_at = interrupt_at

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        if self.seconds >= self.interrupt_at:
            self.interrupt_at = float("inf")
            signal.raise_signal(signal.SIGINT)


class InterruptedClock(FakeClock):
    """A Ctrl-C in each sleep."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        signal.raise_signal(signal.SIGINT)


class TestInterrupted:
    def test_ctrl_c_drains_what_is_buffered(
        self, stream: Stream, file, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(replay, "Clock", InterruptedClock)
        before = signal.getsignal(signal.SIGINT)
        ledger = tmp_path / "ledger"
        arguments = ["replay", str(file(0, 0, 0, 3600)), "--stream", "one", "--speed", "1", "--ledger", str(ledger)]
        assert run(arguments) == 130
        assert len(stream.records()) == len(ledger.read_text().split()) == 3
        lines = capfd.readouterr().err.splitlines()
        assert lines[0] == "stopping: sending what is buffered (Ctrl-C again to stop at once)"
        assert "sent 3, acknowledged 3 (0 retries)" in lines[-1]
        assert signal.getsignal(signal.SIGINT) is before

    def test_second_ctrl_c_stops_at_once(
        self, stream: Stream, file, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Impatient(InterruptedClock):
            def sleep(self, seconds: float) -> None:
                super().sleep(seconds)
                super().sleep(seconds)

        monkeypatch.setattr(replay, "Clock", Impatient)
        assert run(["replay", str(file(0, 3600)), "--stream", "one", "--speed", "1"]) == 130
        assert (
            capfd.readouterr().err.splitlines()[-1]
            == "error: stopped at once: what was not yet sent or written is lost"
        )


class TestLookAlike:
    def test_writes_a_file_that_replay_takes(
        self, stream: Stream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "look-alike.csv.gz"
        assert run(["look-alike", str(path), "--events", "600", "--hours", "0.5"]) == 0
        assert said(capsys) == [f"{path}: 600 events"]
        assert run(["replay", str(path), "--stream", "one"]) == 0
        assert "read 600 rows (0 malformed)" in said(capsys)[-1]

    def test_same_arguments_same_bytes(self, tmp_path: Path) -> None:
        contents = set()
        for name in ("a.csv.gz", "b.csv.gz"):
            assert run(["look-alike", str(tmp_path / name), "--events", "100", "--seed", "7"]) == 0
            contents.add((tmp_path / name).read_bytes())
        assert len(contents) == 1

    @pytest.mark.parametrize(
        ("start", "first_hour"),
        [
            ("2020-02-29 12:00:00", "2020-02-29 12:"),
            ("2020-02-29T12:00:00Z", "2020-02-29 12:"),
            ("2020-02-29 12:00:00+02:00", "2020-02-29 10:"),
        ],
    )
    def test_start_is_utc_unless_it_says_otherwise(self, tmp_path: Path, start: str, first_hour: str) -> None:
        path = tmp_path / "a.csv"
        assert run(["look-alike", str(path), "--events", "10", "--hours", "0.5", "--start", start]) == 0
        assert all(line.startswith(first_hour) for line in path.read_text().splitlines()[1:])

    def test_times_that_replay_would_refuse(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["look-alike", str(tmp_path / "a.csv"), "--start", "1950-01-01"]) == 2
        assert said(capsys) == [
            "error: the data would be outside of 1970 to 2999; give another --start or fewer --hours"
        ]

    def test_folder_that_is_missing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["look-alike", str(tmp_path / "no" / "a.csv")]) == 2
        (line,) = said(capsys)
        assert line.startswith(f"error: {tmp_path}/no/")
        assert line.endswith("No such file or directory; give another path")


def test_replay_is_a_program_with_exit_codes(tmp_path: Path) -> None:
    command = [PROGRAM, "replay", str(tmp_path / "missing.csv"), "--stream", "one"]
    environment = os.environ | {"PYTHONPATH": str(SRC), "AWS_DEFAULT_REGION": "us-east-1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert re.fullmatch(r"error: .*missing\.csv: No such file or directory; .*\n", result.stderr)


class Deployed:
    """An environment with the test's stream and a bucket."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stack = object()
        self.outputs = {"raw_stream_name": "one", "raw_bucket": "raw"}
        self.drained: list[object] = []

    def client(self, service: str, **options: Any) -> Any:
        return boto3.client(service, **options)


@pytest.fixture
def deployed(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> Deployed:
    """An environment that every command finds, whatever its name; it is local if its name is."""
    found = Deployed("none yet")

    class LocalDeployed(Deployed):
        pass

    def opened(name: str, home: Path) -> Deployed:
        found.name = name
        if name == "local":
            found.__class__ = LocalDeployed
        return found

    boto3.client("s3").create_bucket(Bucket="raw")
    monkeypatch.setattr(traffic, "open_environment", opened)
    monkeypatch.setattr(traffic, "Local", LocalDeployed)
    monkeypatch.setattr(traffic, "drain_and_resume", found.drained.append)
    return found


class TestSimulate:
    def test_replays_into_the_deployed_stream_with_side_files_below_home(
        self, deployed: Deployed, stream: Stream, file, tmp_path: Path
    ) -> None:
        path = file(0, "bad", *range(1, 200))
        assert run(["simulate", str(path), "--env", "prod", "--home", str(tmp_path / "home")]) == 0
        labels = json.loads((tmp_path / "home" / "simulate" / "labels.json").read_text())
        malformed = (tmp_path / "home" / "simulate" / "malformed.jsonl").read_text().splitlines()
        assert (deployed.name, len(labels), len(malformed)) == ("prod", 5, 1)
        events = [json.loads(record) for record in stream.records()]
        assert len(events) == 200 + sum(label["event_count"] for label in labels)
        assert min(event["txn_timestamp"] for event in events) > "2026", "times are moved to now"
        assert deployed.drained == [], "nothing drains on AWS"

    @pytest.mark.parametrize(("row", "drains"), [(0, True), ("bad", False)])
    def test_the_local_detector_drains_after_a_replay_that_worked(
        self, deployed: Deployed, file, tmp_path: Path, row: int | str, drains: bool
    ) -> None:
        code = run(["simulate", str(file(row)), "--env", "local", "--home", str(tmp_path)])
        assert (code == 0, deployed.drained == [deployed.stack]) == (drains, drains)

    def test_a_shells_own_variable_does_not_choose_the_environment(
        self, deployed: Deployed, file, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """POSIX shells name their startup file in ENV."""
        monkeypatch.setenv("ENV", "local")
        assert run(["simulate", str(file(0)), "--home", str(tmp_path)]) == 0
        assert deployed.name == "dev"

    def test_takes_the_options_of_replay(self, deployed: Deployed, stream: Stream, file, tmp_path: Path) -> None:
        options = ["--bursts", "0", "--time", "original", "--limit", "2", "--labels", str(tmp_path / "mine")]
        assert run(["simulate", str(file(0, 1, 2)), "--home", str(tmp_path), *options]) == 0
        assert products(stream.records()) == [0, 1]
        assert (tmp_path / "mine").exists()
        assert not (tmp_path / "simulate" / "labels.json").exists()

    def test_several_inputs_in_one_argument(self, deployed: Deployed, stream: Stream, file, tmp_path: Path) -> None:
        first = file(0, 1).rename(tmp_path / "a.csv")
        (tmp_path / "with space").mkdir()
        second = file(0).rename(tmp_path / "with space" / "b.csv")
        for data in (f"{first} '{second}'", str(second), f"{tmp_path}/?.csv"):
            assert run(["simulate", data, "--home", str(tmp_path), "--bursts", "0"]) == 0
        assert products(stream.records()) == [0, 0, 0, 0, 1, 1]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["missing.csv"], "DATA is 'missing.csv', which is no file: give the path of a file (.csv"),
            (["*.parquet"], "DATA is '*.parquet', which is no file: give the path of a file (.csv"),
            ([], "give either files or --look-alike"),
            (["--look-alike", "5000"], "--bursts needs an end, to spread the bots over all events"),
        ],
    )
    def test_what_cannot_work_fails_before_anything_is_asked_of_aws(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
    ) -> None:
        monkeypatch.setattr(traffic, "open_environment", pytest.fail)
        assert run(["simulate", *arguments]) == 2
        (line,) = said(capsys)
        assert line.startswith(f"error: {message}")


class TestUpload:
    def test_files_go_to_the_deployed_bucket(self, deployed: Deployed, file, tmp_path: Path) -> None:
        first = file(0).rename(tmp_path / "a.csv")
        second = file(1).rename(tmp_path / "b.csv")
        assert run(["upload", f"{first} {second}"]) == 0
        assert boto3.client("s3").list_objects_v2(Bucket="raw")["KeyCount"] == 6

    def test_object_of_another_bucket(self, deployed: Deployed, file) -> None:
        boto3.client("s3").create_bucket(Bucket="other")
        boto3.client("s3").upload_file(str(file(0)), "other", "2019-Oct.csv")
        assert run(["upload", "s3://other/2019-Oct.csv"]) == 0
        found = boto3.client("s3").list_objects_v2(Bucket="raw")["Contents"]
        assert {one["Key"].rpartition("/")[2] for one in found} == {"2019-Oct.csv", "2019-Oct-sample.csv"}

    def test_missing_file(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["upload", "missing.csv"]) == 2
        assert said(capsys)[0].startswith(
            "error: DATA is 'missing.csv', which is no file: give the path of a file (.csv"
        )


class TestDocs:
    """docs/simulator.md shows only what works: its commands are run as they stand."""

    DOC = (ROOT / "docs" / "simulator.md").read_text()
    COMMANDS = tuple(
        line.partition("#")[0].strip()
        for block in re.findall(r"^```sh\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    )

    def test_has_commands(self) -> None:
        assert len(self.COMMANDS) >= 4

    @pytest.mark.parametrize("command", COMMANDS)
    def test_command_works(
        self,
        deployed: Deployed,
        stream: Stream,
        file,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        command: str,
    ) -> None:
        program, name, *options = shlex.split(command)
        assert program == ".venv/bin/shopstream"
        content = file(*range(20)).read_bytes()
        (tmp_path / "2019-Oct.csv.gz").write_bytes(gzip.compress(content))
        with zipfile.ZipFile(tmp_path / "2019-Nov.csv.zip", "w") as archive:
            archive.writestr("2019-Nov.csv", content)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(replay, "Clock", FakeClock)

        assert run([name, *options, "--home", str(tmp_path / "build")]) == 0

        if name == "upload":
            assert boto3.client("s3").list_objects_v2(Bucket="raw")["KeyCount"] == 3
        else:
            labels = json.loads((tmp_path / "build" / "simulate" / "labels.json").read_text())
            records = stream.records()
            events = [one for record in records for one in unpacked(record)]
            assert len(events) == 20 + sum(label["event_count"] for label in labels)
            assert {record.startswith(MAGIC) for record in records} == {"--aggregate" in command}

    def test_help_is_called_as_it_stands(self, capsys: pytest.CaptureFixture[str]) -> None:
        (command,) = re.findall(r"`(\S*shopstream [a-z]+ --help)`", self.DOC)
        assert run(shlex.split(command)[1:]) == 0
        assert "--look-alike" in capsys.readouterr().out

    def test_every_option_it_names_exists(self) -> None:
        known = {one for name in ("replay", "simulate", "look-alike", "compare", "upload") for one in options_of(name)}
        named = set(re.findall(r"--[a-z][a-z-]+", self.DOC))
        assert len(named) > 20
        assert named <= known | {"--help", "--no-sort"}


def options_of(command: str) -> list[str]:
    """Return the names of a command's options."""
    run([])  # registers the commands
    return [name for one in typer.main.get_command(app).commands[command].params for name in one.opts]


def unpacked(record: bytes) -> list[bytes]:
    """Return the events in a record, plain or aggregated."""
    if not record.startswith(MAGIC):
        return [record]
    return [event.data for event in messages_pb2.AggregatedRecord.FromString(record[4:-16]).records]


class TestMadeTraffic:
    def test_replay_sends_made_traffic_without_a_file(self, tmp_path: Path) -> None:
        out = tmp_path / "out.jsonl"
        assert run(["replay", "--look-alike", "5000", "--limit", "700", "--output", str(out)]) == 0
        records = [json.loads(line) for line in out.read_text().splitlines()]
        assert len(records) == 700
        assert records[0]["event_time"] >= "2019-10-01 22:30:00 UTC"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "give either files or --look-alike"),
            (["a.csv", "--look-alike", "5000"], "give either files or --look-alike"),
            (
                ["--look-alike", "5000", "--bursts", "1"],
                "--bursts needs an end, to spread the bots over all events; give --look-alike a --limit",
            ),
            (["--look-alike", "5000", "--late", "0.7"], "late_share 0.7 is not allowed; give one from 0 to 0.5"),
        ],
    )
    def test_what_does_not_fit_together_is_refused(
        self, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(["replay", *arguments, "--dry-run"]) == 2
        assert said(capsys) == [f"error: {message}"]

    def test_takes_the_options_of_made_traffic(self, tmp_path: Path) -> None:
        out = tmp_path / "out.jsonl"

        def made(*options: str) -> list[str]:
            assert run(["replay", "--look-alike", "50000", "--limit", "3000", "--output", str(out), *options]) == 0
            return out.read_text().splitlines()

        def late(lines: list[str]) -> int:
            times = [json.loads(line)["event_time"] for line in lines]
            return sum(time < before for before, time in pairwise(times))

        plain = made()
        assert (late(plain), len(plain) - len(set(plain)) < 10) == (0, True)
        assert len(set(made("--duplicates", "0"))) == 3000
        assert 2400 < len(set(made("--duplicates", "0.1"))) < 2900
        assert late(made("--late", "0.1")) > 50
        assert late(made("--unsorted", "0.1")) > 50
        assert made("--checkout-items", "1") != plain

    def test_options_of_made_traffic_are_the_same_for_both_commands(self, monkeypatch: pytest.MonkeyPatch) -> None:
        given = ["--duplicates", "0.1", "--unsorted", "0.2", "--late", "0.3", "--checkout-items", "9"]
        given += ["--tabs", "7", "--burst-limit", "8", "--guest-share", "0.4"]
        seen: list[TrafficOptions] = []

        def look_alike(rate: float, seed: int, start: int, chosen: TrafficOptions, limit: int | None) -> Any:
            seen.append(chosen)
            return LookAlike(rate, seed, start, chosen, limit)

        monkeypatch.setattr("simulator.run.LookAlike", look_alike)
        monkeypatch.setattr("simulator.traffic.generate.write", lambda *arguments: seen.append(arguments[-1]))
        assert run(["replay", "--look-alike", "5000", "--limit", "5", "--dry-run", *given]) == 0
        assert run(["look-alike", "a.csv", *given]) == 0
        chosen = TrafficOptions(
            duplicate_share=0.1,
            unsorted_share=0.2,
            late_share=0.3,
            guest_share=0.4,
            checkout_items=9,
            tabs=7,
            burst_limit=8,
        )
        assert seen == [chosen, chosen]

    def test_bots_are_mixed_into_made_traffic_with_a_limit(self, stream: Stream, tmp_path: Path) -> None:
        labels = tmp_path / "labels.json"
        arguments = ["--look-alike", "5000", "--limit", "500", "--bursts", "3", "--labels", str(labels)]
        assert run(["replay", *arguments, "--stream", "one"]) == 0
        bots = {label["user_id"]: label["event_count"] for label in json.loads(labels.read_text())}
        users = Counter(json.loads(record)["user_id"] for record in stream.records())
        assert len(bots) == 3
        assert {user: users[user] for user in bots} == bots
        assert users.total() == 500 + sum(bots.values())

    def test_compare_prints_a_column_per_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        names = [str(tmp_path / name) for name in ("a.csv", "b.csv.gz")]
        for name in names:
            assert run(["look-alike", name, "--events", "300", "--late", "0.1", "--duplicates", "0.05"]) == 0
        assert run(["compare", *names]) == 0
        lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
        assert lines[0] == "| | a.csv | b.csv.gz |"
        assert lines[2] == "| events | 300 | 300 |"
