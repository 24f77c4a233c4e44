"""The rules over real shoppers and labelled attackers: all of these are found, and nobody else is flagged."""

import json
from pathlib import Path

import pytest

from evaluation.controls import CONTROLS, GUESTS, SHARERS
from evaluation.scenarios import load
from evaluation.score import INTENSITIES, add_attackers, run
from local_cloud.stack import ROOT

SAMPLE = ROOT.parent / "shared" / "data" / "2019-Oct-head-17k.csv.gz"


def test_every_attacker_among_real_shoppers_is_found_and_no_shopper_flagged(tmp_path: Path) -> None:
    if not SAMPLE.exists():
        pytest.skip(f"the real sample is not here: {SAMPLE}")
    traffic, truth = add_attackers([str(SAMPLE)], tmp_path, attackers=4, sparse_attackers=1)
    result = run([str(traffic)], truth, tmp_path)

    scenarios = load().values()
    # Each plan is one shopper, but for that of the guests, and those of an address and a product, which are controls.
    said = json.loads((tmp_path / "labels.json").read_text())["controls"].values()
    visitors = sum(len(one["users"]) for one in said if one["scenario"] == "flash_sale")
    controls = 4 * (len(CONTROLS) - 3 + GUESTS) + SHARERS + 1 + visitors + 1
    assert (result["humans"], result["controls"]) == (4_504, controls)
    recall = {(row["scenario"], row["intensity"]): row["recall"] for row in result["ours"]["scenarios"]}
    assert recall.pop(("just_under", 1.0)) == 0
    assert recall == {(one.name, loud): 1 for one in scenarios if one.has_intensity for loud in INTENSITIES}
    flagged = result["ours"]["all"]
    assert (flagged["precision"], flagged["flagged_humans"], flagged["flagged_controls"]) == (1, 0, 0)
    assert result["tutorial"]["all"]["flagged_controls"] > 0, "the controls would mean nothing"
