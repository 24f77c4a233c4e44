"""The demo itself: on bad input, interrupted, and on the real sample."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from insights import all_questions
from local_cloud.stack import ROOT
from local_cloud.waiting import wait_for
from simulator.traffic.event import COLUMNS
from simulator.traffic.generate import write

SAMPLE = ROOT.parent / "shared" / "data" / "2019-Oct-head-17k.csv.gz"
HOME = ROOT / "build" / "e2e"
KEYS = [
    *("run_id", "input_rows", "malformed_rows", "malformed_reasons", "set_aside_rows", "set_aside_reasons"),
    *("early_rows", "notes", "injected_events", "sent_events"),
    *("stream_events", "raw_events"),
    *("curated_rows", "duplicate_rows", "quarantined_rows", "missing_events", "labelled_bursts", "found_bursts"),
    *("falsely_flagged_users", "alert_records", "stored_alerts", "incidents", "told_incidents"),
    *("unjudged_events", "unjudged_reasons", "seconds"),
]
STEPS = ["install", "up", "replay", "detect", "deliver", "etl", "insights", "total"]


def start_demo(data: Path, *options: str) -> subprocess.Popen:
    """Start the demo as the leader of a process group, as a shell does, and return its process."""
    command = [str(Path(sys.prefix) / "bin" / "shopstream"), "demo", "--home", str(HOME), str(data), *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=pipe, stderr=pipe, start_new_session=True
    )


def refusal(data: Path, *options: str) -> str:
    """Return the only line that a demo writes which does not start."""
    demo = start_demo(data, *options)
    out, err = demo.communicate(timeout=60)
    assert (demo.returncode, out) == (1, "")
    [line] = err.splitlines()
    return line


def left_processes() -> list[str]:
    """Return the command lines of processes that belong to a demo's stack."""
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [" ".join(line) for line in lines if any(str(HOME / "demo") in part for part in line)]


def alert_count(labels: list[dict]) -> int:
    """Return how many alerts the labelled bots cause: one each, and another if an even one reaches level 2.

    No bot has the 24 events of level 3, and none of the kind that crosses a boundary has 12.
    """
    return sum(1 + (label["kind"] == "even" and label["event_count"] >= 12) for label in labels)


def shop_file(folder: Path) -> Path:
    file = folder / "shop.csv"
    write(file, 100, 1.0, 1, 1_583_100_000)
    return file


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "missing.csv"
    line = refusal(missing)
    assert line.startswith(f"error: DATA is '{missing}', which is no file: give the path of a file (.csv, ")


def test_a_wrong_header_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    file.write_text("a,b\n1,2\n")
    line = refusal(file)
    assert line.startswith(f"error: {file}: the header is 'a,b': 'a' is no field; a header names each column once")
    assert ",".join(COLUMNS) in line


def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal(shop_file(tmp_path), "--first-port", str(port))
    assert line.startswith(f"error: port {port} cannot be used")
    assert "give another PORT" in line


def test_ctrl_c_leaves_no_process_and_no_port(tmp_path: Path) -> None:
    demo = start_demo(shop_file(tmp_path))
    state = HOME / "demo" / "stack" / "terraform.tfstate"
    state.unlink(missing_ok=True)
    # While Terraform works and all processes of the stack run.
    wait_for(lambda: state.exists() and state.stat().st_size > 1000, "Terraform to be at work", timeout_s=90)
    ports = json.loads((HOME / "demo" / "stack" / "stack.json").read_text())["ports"]
    assert left_processes()
    os.killpg(demo.pid, signal.SIGINT)
    _, err = demo.communicate(timeout=90)
    assert demo.returncode == 130
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err
    assert left_processes() == []
    for port in ports.values():
        socket.create_server(("127.0.0.1", port)).close()


def test_a_file_without_events_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "empty.csv"
    file.write_text(",".join(COLUMNS) + "\n")
    assert refusal(file) == f"error: {file} holds no event in the contract's shape: nothing to replay"


@pytest.mark.skipif(SAMPLE.exists(), reason="the real sample proves more")
def test_each_bot_among_look_alike_shoppers_is_found(tmp_path: Path) -> None:
    demo = start_demo(shop_file(tmp_path), "--bursts", "3")
    out, err = demo.communicate(timeout=600)
    assert demo.returncode == 0, out + err
    summary = json.loads((HOME / "demo" / "summary.json").read_text())
    assert [summary[name] for name in ("labelled_bursts", "found_bursts")] == [3, 3]
    alerts = alert_count(json.loads((HOME / "demo" / "labels.json").read_text()))
    assert summary["stored_alerts"] == alerts
    assert 1 <= summary["incidents"] == summary["told_incidents"] <= alerts


@pytest.mark.skipif(not SAMPLE.exists(), reason=f"the real sample is not there: {SAMPLE.name}")
@pytest.mark.parametrize("bursts", [0, 3])
def test_real_shoppers_raise_no_alarm_and_each_bot_does(bursts: int) -> None:
    demo = start_demo(SAMPLE, "--bursts", str(bursts))
    out, err = demo.communicate(timeout=600)
    assert demo.returncode == 0, out + err
    summary = json.loads((HOME / "demo" / "summary.json").read_text())
    assert list(summary) == KEYS
    assert list(summary["seconds"]) == STEPS

    labels = json.loads((HOME / "demo" / "labels.json").read_text())
    injected = sum(label["event_count"] for label in labels)
    sent = 17_434 + injected
    alerts = alert_count(labels)
    assert len({label["user_id"] for label in labels}) == bursts
    assert {name: summary[name] for name in KEYS if name not in ("run_id", "malformed_reasons", "seconds")} == {
        "input_rows": 17_435,
        "malformed_rows": 1,
        "set_aside_rows": 0,
        "set_aside_reasons": [],
        "early_rows": 0,
        "notes": [],
        "injected_events": injected,
        "sent_events": sent,
        "stream_events": sent,
        "raw_events": sent,
        "curated_rows": sent - 5,
        "duplicate_rows": 5,
        "quarantined_rows": 0,
        "missing_events": 0,
        "labelled_bursts": bursts,
        "found_bursts": bursts,
        "falsely_flagged_users": 0,
        "alert_records": alerts,
        "stored_alerts": alerts,
        "incidents": summary["incidents"],
        "told_incidents": summary["incidents"],
        "unjudged_events": 0,
        "unjudged_reasons": {},
    }
    [malformed] = (HOME / "demo" / "malformed.jsonl").read_text().splitlines()
    assert json.loads(malformed)["line_number"] == 17_436
    assert summary["malformed_reasons"] == [{"rows": 1, "example": json.loads(malformed)}]
    assert "1 malformed, for example" in out
    assert "All events accounted for, all bots found, no shopper flagged." in out
    page = (HOME / "report" / "index.html").read_text()
    for text in [question.title for question in all_questions()] + [str(label["user_id"]) for label in labels]:
        assert text in page
    assert left_processes() == []
