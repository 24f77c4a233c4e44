"""The rules over real shoppers and labelled attackers: all of these are found, and nobody else is accused."""

from pathlib import Path

import pytest

from evaluation.scenarios import CONTROLS, SCENARIOS
from evaluation.score import attacked, run
from local_cloud.stack import ROOT

SAMPLE = ROOT.parent / "shared" / "data" / "2019-Oct-head-17k.csv.gz"


def test_every_attacker_among_real_shoppers_is_found_and_no_shopper_accused(tmp_path: Path) -> None:
    if not SAMPLE.exists():
        pytest.skip(f"the real sample is not here: {SAMPLE}")
    traffic, truth = attacked(SAMPLE, tmp_path, attackers=4, surges=1)
    result = run(traffic, truth, tmp_path)

    assert (result["humans"], result["controls"]) == (4_504, 4 * len(CONTROLS))
    recall = {(row["scenario"], row["intensity"]): row["recall"] for row in result["ours"]["scenarios"]}
    assert recall.pop(("just_under", 1.0)) == 0
    assert recall == {(name, loud): 1 for name in SCENARIOS if name != "just_under" for loud in (1.5, 2.0, 5.0)}
    accused = result["ours"]["all"]
    assert (accused["precision"], accused["flagged_humans"], accused["flagged_controls"]) == (1, 0, 0)
    assert result["seed"]["all"]["flagged_controls"] > 0, "the controls would mean nothing"
