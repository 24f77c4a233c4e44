"""The detector is killed, and shards are merged and split while aggregates are sent: nothing is lost.

The stream then has another number of shards than the detector has subtasks. The tests share a stack, so each counts
what it adds.
"""

import time
from collections import Counter
from pathlib import Path

import pytest
from bots import EVENTS_PER_USER, bursts, merge, open_shards, replaying, split, write_bots

from local_cloud import counts, flink, steps
from local_cloud.pollers.shards import read_all
from local_cloud.stack import Stack
from local_cloud.waiting import wait_for

KILLED_SECONDS, KILL_AFTER_S = 25, 12
# The replay looks at the shards every 10 s: it knows of the merge before the split, and of the split before its end.
SECONDS, MERGE_AFTER_S, SPLIT_AFTER_S = 40, 15, 26


def test_a_detector_that_is_killed_goes_on_at_its_checkpoint(stack: Stack, tmp_path: Path) -> None:
    outputs = stack.outputs()
    job = flink.running_job(stack)
    data = tmp_path / "bots.csv"
    bots = write_bots(data, KILLED_SECONDS, 710_000_000)
    found_before = bursts(stack)
    with replaying(stack, data, KILLED_SECONDS):
        time.sleep(KILL_AFTER_S)
        stack.supervisor.signal("flink-taskmanager", "KILL")

    def restarted() -> bool:
        # Not by its state alone: that changes only when Flink notices.
        restored = flink.rest(stack, f"/jobs/{job}/checkpoints")["counts"]["restored"]
        return restored >= 1 and all(vertex["status"] == "RUNNING" for vertex in flink.job(stack, job)["vertices"])

    wait_for(restarted, "the detector to run again from a checkpoint", timeout_s=120)
    savepoint = steps.drain(stack)
    counts.wait_until_handled(stack)
    assert bursts(stack) - found_before == Counter(bots)
    # An alert that is reported before and after the restart is the same alert.
    alerts = counts.alerts(stack.client("kinesis"), outputs["alert_stream_name"])
    found = {alert["alert_id"] for alert in alerts if alert["rule"] == "burst" and alert["subject"] in bots}
    assert len(found) == len(bots)
    steps.start_detector(stack, savepoint)


def test_every_event_of_every_aggregate_comes_through_a_merge_and_a_split(stack: Stack, tmp_path: Path) -> None:
    outputs = stack.outputs()
    stream = outputs["raw_stream_name"]
    kinesis = stack.client("kinesis")
    assert len(open_shards(stack)) == 4
    data = tmp_path / "bots.csv"
    bots = write_bots(data, SECONDS, 600_000_000)
    before, found_before = counts.records(kinesis, stream), bursts(stack)
    with replaying(stack, data, SECONDS):
        time.sleep(MERGE_AFTER_S)
        merge(stack, *open_shards(stack)[1:3])
        assert len(open_shards(stack)) == 3
        time.sleep(SPLIT_AFTER_S - MERGE_AFTER_S)
        split(stack, open_shards(stack)[1])
        assert len(open_shards(stack)) == 4
    assert counts.records(kinesis, stream) == before + len(bots) * EVENTS_PER_USER
    savepoint = steps.drain(stack)
    counts.wait_until_handled(stack)
    assert bursts(stack) - found_before == Counter(bots)
    assert steps.wait_until_delivered(stack) == before + len(bots) * EVENTS_PER_USER
    written = {record["ShardId"] for record in read_all(kinesis, stream)}
    assert len(written) == 7  # four, one of the merge, two of the split
    steps.start_detector(stack, savepoint)


def test_a_backlog_on_more_shards_than_subtasks_loses_nothing(stack: Stack, tmp_path: Path) -> None:
    """The detector is down while the stream is split and a replay fills it: it reads old and new shards at once."""
    savepoint = steps.drain(stack)
    found_before = bursts(stack)
    data = tmp_path / "bots.csv"
    bots = write_bots(data, SECONDS, 510_000_000)
    with replaying(stack, data, SECONDS):
        time.sleep(SPLIT_AFTER_S - MERGE_AFTER_S)
        split(stack, open_shards(stack)[0])
        assert len(open_shards(stack)) == 5
    steps.start_detector(stack, savepoint)
    steps.drain(stack)
    counts.wait_until_handled(stack)
    assert bursts(stack) - found_before == Counter(bots)
    steps.start_detector(stack)


def test_a_dead_detector_is_noticed(stack: Stack) -> None:
    flink.rest(stack, f"/jobs/{flink.running_job(stack)}/yarn-cancel")
    wait_for(lambda: flink.running_job(stack) is None, "the detector to be cancelled", timeout_s=30)
    with pytest.raises(RuntimeError, match=r"the detector does not run: see .*flink-jobmanager.log"):
        steps.drain(stack)


# An option that Managed Flink refuses.
FORBIDDEN = """
from pyflink.table import EnvironmentSettings, TableEnvironment

env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
env.get_config().set("state.backend.rocksdb.use-bloom-filter", "true")
env.execute_sql("create table nowhere (n int) with ('connector' = 'blackhole')")
env.execute_sql("insert into nowhere values (1)")
"""


def test_a_job_whose_code_sets_a_forbidden_option_is_refused(stack: Stack, tmp_path: Path) -> None:
    """The detectors above have passed the same gate. Now that none runs, slots are free."""
    program = tmp_path / "forbidden.py"
    program.write_text(FORBIDDEN)
    jar = stack.directory / "flink" / "app" / "lib" / "pyflink-dependencies.jar"
    with pytest.raises(RuntimeError, match="did not start"):
        flink.run(stack, "a job that sets an option", program, jar, flink.properties_file(stack), 1, 60_000)
    log = (stack.directory / "log" / "flink-run.log").read_text()
    assert "MutatedConfigurationException" in log and "use-bloom-filter" in log
