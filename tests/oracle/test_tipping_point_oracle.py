"""Tipping points against R's exact intervals over every division, and against all subsets for the AUROC.

`data/tipping_point.csv` is what `generators/tipping_point.R` printed (versions in its first line).
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from evalsuite.stats.tipping_point import Goal, auroc_tipping_point, proportion_tipping_point


def _read():
    table = defaultdict(lambda: defaultdict(dict))
    with (Path(__file__).parent / "data" / "tipping_point.csv").open(encoding="utf-8") as lines:
        next(lines)  # versions
        for row in csv.DictReader(lines):
            table[row["family"]][row["case"]][row["figure"]] = float(row["value"])
    return table


R = _read()
STUDIES = {"small": (46, 4, 90, 10, 6, 9), "tight": (190, 10, 270, 30, 5, 25), "firm": (99, 1, 99, 1, 3, 2)}
GOALS = {"sensitivity": 0.80, "specificity": 0.82, "ppv": 0.70, "npv": 0.90, "accuracy": 0.85}
NAMES = (
    "true_positive",
    "false_negative",
    "true_negative",
    "false_positive",
    "unresolved_called_positive",
    "unresolved_called_negative",
)


@pytest.mark.parametrize("study", sorted(STUDIES))
@pytest.mark.parametrize("metric", sorted(GOALS))
def test_fewest_wrong_cases_are_those_of_all_divisions(study, metric):
    goal = Goal(bound="lower", op=">", value=GOALS[metric])
    t = proportion_tipping_point(metric, goal, **dict(zip(NAMES, STUDIES[study], strict=True)))
    want = R["tipping"][f"{study}/{metric}"]
    assert (-1 if t.tipping is None else t.tipping.wrong) == want["wrong"]
    assert t.all_right.estimate.low == pytest.approx(want["all-right"], rel=1e-9)
    assert t.all_wrong.estimate.low == pytest.approx(want["all-wrong"], rel=1e-9)


def test_area_is_worst_and_best_over_all_subsets():
    i = np.arange(30)
    y = (i * 7 + 3) % 5 < 2
    s = np.round(np.sin(i * 1.3) + 1.2 * y, 1)
    t = auroc_tipping_point(y, s, i % 4 != 1, Goal(bound="point", op=">", value=0.7))
    assert t.n_unresolved == 8
    assert t.excluded.value == pytest.approx(R["auroc"]["excluded"]["value"], rel=1e-12)
    for k in range(9):
        want = R["auroc"][str(k)]
        assert [t.worst[k].value, t.best[k].value] == pytest.approx([want["worst"], want["best"]], rel=1e-12)
    assert t.fails_for == tuple(k for k in range(9) if R["auroc"][str(k)]["worst"] <= 0.7)
