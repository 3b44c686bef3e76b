"""Resampled reference panels against every possible draw in R, and agreement of change against R's intervals.

`data/truth_panel.csv` is what `generators/truth_panel.R` printed (version in its first line).
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from evalsuite.stats import change
from evalsuite.stats import truth_panel as tp


def _read():
    table = defaultdict(lambda: defaultdict(dict))
    with (Path(__file__).parent / "data" / "truth_panel.csv").open(encoding="utf-8") as lines:
        next(lines)  # versions
        for row in csv.DictReader(lines):
            table[row["family"]][row["case"]][row["figure"]] = float(row["value"])
    return table


R = _read()
VOTES = np.array(
    [
        [1, 1, 1],
        [1, 1, 0],
        [1, 0, 0],
        [0, 0, 0],
        [0, 1, 0],
        [1, 1, 1],
        [1, 0, 1],
        [0, 0, 1],
        [0, 0, 0],
        [1, 1, 1],
        [0, 1, 1],
        [0, 0, 0],
    ]
)
CALL = np.array([1, 1, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0], bool)
SCORE = np.array([0.9, 0.8, 0.4, 0.1, 0.6, 0.7, 0.3, 0.2, 0.35, 0.95, 0.65, 0.15])
STATISTICS = {
    "sensitivity": tp.sensitivity_to(CALL),
    "specificity": tp.specificity_to(CALL),
    "auroc": tp.auroc_to(SCORE),
}


@pytest.mark.parametrize("name", sorted(STATISTICS))
def test_panels_are_all_27_draws(name):
    r = tp.truth_panel(VOTES, STATISTICS[name], replicates=200, level=0.9999)
    want = R["panel"][name]
    assert r.sd_panel == pytest.approx(want["sd"], rel=1e-12)
    assert [r.panel_only.low, r.panel_only.high] == pytest.approx([want["min"], want["max"]], rel=1e-12)
    assert r.each_reader == pytest.approx([want[f"reader-{j}"] for j in (1, 2, 3)], rel=1e-12)


def test_joint_spread_is_that_of_simulated_studies_with_new_readers_and_patients():
    """Second derivation: the joint SD of one study, averaged, is near the SD over studies with other readers."""
    rng = np.random.default_rng(9)
    n, m = 120, 6

    def study():
        skill = rng.normal(0, 0.7, m)
        trait = rng.normal(size=n)
        votes = (trait[:, None] + skill[None, :] + rng.normal(0, 0.6, (n, m)) > 0).astype(float)
        return votes, trait + rng.normal(0, 0.5, n)

    def sensitivity(votes, score):
        reference, known = tp.panel_reference(votes, ties="positive")
        return tp.sensitivity_to(score > 0.2)(reference, known.astype(float))

    truth = np.std([sensitivity(*study()) for _ in range(400)], ddof=1)
    joint, cases = [], []
    for k in range(25):
        votes, score = study()
        r = tp.truth_panel(votes, tp.sensitivity_to(score > 0.2), ties="positive", replicates=200, seed=k)
        joint.append(r.sd_both)
        cases.append(r.sd_cases)
    assert np.mean(joint) == pytest.approx(truth, rel=0.15)
    assert np.mean(cases) < 0.9 * truth


D1 = [10.2, 14.5, 9.8, 22.1, 17.3, 30.4, 12.0, 25.6, 18.8, 21.0]
D2 = [8.1, 15.9, 5.2, 23.0, 21.9, 20.3, 12.4, 31.5, 13.0, 20.2]
R1 = [10.0, 15.0, 9.1, 21.5, 18.0, 29.0, 12.6, 26.0, 18.0, 20.4]
R2 = [8.6, 15.2, 6.4, 22.9, 21.0, 21.5, 12.0, 30.1, 14.2, 20.6]


def test_limits_of_agreement_of_change_are_rs():
    r = change.change_agreement(D1, D2, R1, R2)
    for e, name in ((r.bias, "bias"), (r.upper_limit, "upper"), (r.lower_limit, "lower")):
        want = R["change"][name]
        assert [e.value, e.low, e.high] == pytest.approx([want["value"], want["low"], want["high"]], rel=1e-7)


def test_agreement_of_response_categories_is_rs():
    device, reference = change.response_category(D1, D2), change.response_category(R1, R2)
    e = change.response_agreement(device, reference, 3).agreement
    want = R["change"]["category-agreement"]
    assert [e.value, e.low, e.high] == pytest.approx([want["value"], want["low"], want["high"]], rel=1e-9)
