"""The rules over real shoppers and labelled attackers: all of these are found and nobody else, in any order of rows."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from evaluation import history
from evaluation.actors import DEFAULTS
from evaluation.controls import CONTROLS, GUESTS, SHARERS
from evaluation.scenarios import load
from evaluation.score import INTENSITIES, add_attackers, run
from local_cloud.stack import ROOT
from simulator.traffic.source import Source

SAMPLE = ROOT.parent / "shared" / "data" / "2019-Oct-head-17k.csv.gz"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for the sample with attackers, traffic.csv, and what the rules say about it."""
    if not SAMPLE.exists():
        pytest.skip(f"the real sample is not here: {SAMPLE}")
    return tmp_path_factory.mktemp("score")


@pytest.fixture(scope="module")
def result(folder: Path) -> dict[str, Any]:
    traffic, truth = add_attackers(Source(SAMPLE), folder, attackers=4, sparse_attackers=1)
    return run(Source(traffic), truth, folder)


def test_every_attacker_among_real_shoppers_is_found_and_no_shopper_flagged(
    result: dict[str, Any], folder: Path
) -> None:
    scenarios = load().values()
    # Each plan is one shopper, but for that of the guests, and those of an address and a product, which are controls.
    said = json.loads((folder / "labels.json").read_text())["controls"].values()
    visitors = sum(len(one["users"]) for one in said if one["scenario"] == "flash_sale")
    controls = 4 * (len(CONTROLS) - 3 + GUESTS) + SHARERS + 1 + visitors + 1
    assert (result["humans"], result["controls"]) == (4_504, controls)
    recall = {(row["scenario"], row["intensity"]): row["recall"] for row in result["ours"]["scenarios"]}
    assert recall.pop(("just_under", 1.0)) == 0
    assert recall == {(one.name, loud): 1 for one in scenarios if one.has_intensity for loud in INTENSITIES}
    flagged = result["ours"]["all"]
    assert (flagged["precision"], flagged["flagged_humans"], flagged["flagged_controls"]) == (1, 0, 0)
    assert result["tutorial"]["all"]["flagged_controls"] > 0, "the controls would mean nothing"


@pytest.mark.parametrize("order", ["reversed", "shuffled"])
def test_a_copy_in_another_order_gives_the_same_alerts(
    result: dict[str, Any], folder: Path, order: str, capsys: pytest.CaptureFixture[str]
) -> None:
    header, *rows = (folder / "traffic.csv").read_text().splitlines()
    if order == "reversed":
        rows.reverse()
    else:
        Random(1).shuffle(rows)
    copy = folder / f"{order}.csv"
    copy.write_text("\n".join([header, *rows]) + "\n")
    found = history.over_data(Source(copy), DEFAULTS, folder / order)
    wanted = [json.loads(line) for line in (folder / "alerts.jsonl").read_text().splitlines()]
    assert sorted(map(crossing, found)) == sorted(map(crossing, wanted))
    assert "events are earlier than one before them: sorted by time" in capsys.readouterr().err


def crossing(alert: dict[str, Any]) -> tuple[Any, ...]:
    """Return what an alert is about, and when."""
    return alert["rule"], alert["subject"], alert["level"], alert["window_start_at"], alert["window_end_at"]
