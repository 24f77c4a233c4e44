"""Stream 1 is split and merged under a backlog of ten minutes, and scaled while it is sent to: nothing is lost."""

import time
from collections import Counter
from pathlib import Path

import pytest
from bots import bursts, merge, open_shards, replaying, split, write_bots

from local_cloud import counts, steps
from local_cloud.stack import Stack

pytestmark = pytest.mark.long

BACKLOG_S, BOTS_PER_S = 600, 2
SCALED_S, SCALE_EVERY_S = 120, 40


def test_a_backlog_of_ten_minutes_across_a_split_and_a_merge_loses_nothing(stack: Stack, tmp_path: Path) -> None:
    """The detector is down all the while, and then reads shards of before and after at once."""
    savepoint = steps.drain(stack)
    found_before = bursts(stack)
    bots = write_bots(tmp_path / "bots.csv", BACKLOG_S, 520_000_000, BOTS_PER_S)
    with replaying(stack, tmp_path / "bots.csv", BACKLOG_S):
        time.sleep(BACKLOG_S / 3)
        split(stack, open_shards(stack)[0])
        time.sleep(BACKLOG_S / 3)
        merge(stack, *open_shards(stack)[2:4])
        assert len(open_shards(stack)) == 4
    steps.start_detector(stack, savepoint)
    savepoint = steps.drain(stack)
    counts.wait_until_handled(stack)
    assert bursts(stack) - found_before == Counter(bots)
    steps.start_detector(stack, savepoint)


def test_a_stream_that_is_scaled_from_two_to_four_to_three_shards_loses_nothing(stack: Stack, tmp_path: Path) -> None:
    for first in (0, 1):
        merge(stack, *open_shards(stack)[first : first + 2])
    assert len(open_shards(stack)) == 2
    found_before = bursts(stack)
    bots = write_bots(tmp_path / "bots.csv", SCALED_S, 530_000_000)
    with replaying(stack, tmp_path / "bots.csv", SCALED_S):
        time.sleep(SCALE_EVERY_S)
        for shard in open_shards(stack):
            split(stack, shard)
        assert len(open_shards(stack)) == 4
        time.sleep(SCALE_EVERY_S)
        merge(stack, *open_shards(stack)[1:3])
        assert len(open_shards(stack)) == 3
    steps.drain(stack)
    counts.wait_until_handled(stack)
    assert bursts(stack) - found_before == Counter(bots)
