"""Tipping points at the edges: nothing unresolved, goals never or always reached, grids too large to print."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats.tipping_point import (
    Goal,
    auroc_tipping_point,
    output_tipping_point,
    proportion_tipping_point,
    tipping_point,
)
from evalsuite.types import Estimate

GOAL = Goal(bound="lower", op=">", value=0.8)
COUNTS = {"true_positive": 95, "false_negative": 5, "true_negative": 80, "false_positive": 20}


def _unresolved(positive, negative):
    return {**COUNTS, "unresolved_called_positive": positive, "unresolved_called_negative": negative}


def test_nothing_unresolved():
    t = proportion_tipping_point("sensitivity", GOAL, **_unresolved(0, 0))
    assert t.tipping is None
    assert t.excluded == t.all_right.estimate == t.all_wrong.estimate
    assert t.expected_wrong == 0
    assert t.share_needed is None
    assert len(t.grid) == 1


def test_only_the_calls_that_bear_on_the_metric_tip_it():
    t = proportion_tipping_point("sensitivity", GOAL, **_unresolved(0, 40))
    assert t.tipping.wrong_negative_calls > 0
    assert t.tipping.wrong_positive_calls == 0
    assert not t.tipping.met
    one_less = proportion_tipping_point(
        "sensitivity", GOAL, **{**_unresolved(0, 0), "false_negative": 5 + t.tipping.wrong - 1}
    )
    assert one_less.all_right.met
    assert t.expected_wrong == pytest.approx(40 * 5 / 85)
    assert t.share_needed == t.tipping.wrong / 40
    ppv = proportion_tipping_point("ppv", Goal(bound="point", op=">=", value=0.8), **_unresolved(0, 40))
    assert ppv.tipping is None


def test_a_goal_missed_even_if_all_are_right():
    t = proportion_tipping_point("specificity", GOAL, **_unresolved(3, 3))
    assert t.fails_at_once
    assert t.tipping.wrong == 0


def test_without_resolved_calls_nothing_can_be_expected():
    none = {"true_positive": 0, "false_negative": 0, "true_negative": 0, "false_positive": 0}
    t = proportion_tipping_point(
        "sensitivity", GOAL, **none, unresolved_called_positive=4, unresolved_called_negative=1
    )
    assert t.excluded.undefined
    assert t.expected_wrong is None
    # All right: 4 of 4, whose exact lower limit is far below the goal.
    assert t.fails_at_once


def test_an_undefined_estimate_does_not_meet_a_goal():
    assert not GOAL.met(Estimate.not_estimable("no cases", n=0))
    e = Estimate(value=0.9, interval_undefined="one patient", method="-", n=3)
    assert not GOAL.met(e)
    assert Goal(bound="point", op=">", value=0.8).met(e)
    assert Goal(bound="point", op="<=", value=0.9).met(e)
    assert not Goal(bound="point", op="<", value=0.9).met(e)


def test_large_grids_are_thinned_but_the_tipping_point_is_exact():
    t = proportion_tipping_point("npv", Goal(bound="lower", op=">", value=0.85), **_unresolved(60, 200))
    assert not t.complete
    assert len(t.grid) <= 41 * 41
    assert t.grid[0].wrong == 0
    assert t.grid[-1].wrong == 260
    k = t.tipping.wrong
    assert t.tipping.wrong_positive_calls == 0
    before = proportion_tipping_point(
        "npv",
        Goal(bound="lower", op=">", value=0.85),
        **{**_unresolved(0, 0), "true_negative": 80 + 200 - (k - 1), "false_negative": 5 + k - 1},
    )
    assert before.all_right.met
    with pytest.raises(ValueError, match="divisions"):
        proportion_tipping_point("npv", GOAL, **_unresolved(600, 600))


def test_missing_outputs_tip_what_they_bear_on():
    t = output_tipping_point("sensitivity", GOAL, **COUNTS, positives_without_output=30, negatives_without_output=7)
    assert t.tipping.wrong_positive_calls == 0
    assert t.tipping.wrong_negative_calls == t.tipping.wrong > 0
    assert t.all_wrong.estimate.denominator == 130
    assert t.expected_wrong == pytest.approx(30 * 0.05 + 7 * 0.2)
    spec = output_tipping_point(
        "specificity",
        Goal(bound="lower", op=">", value=0.7),
        **COUNTS,
        positives_without_output=0,
        negatives_without_output=20,
    )
    assert spec.tipping.wrong_negative_calls == 0


def test_any_estimate_can_be_searched():
    def at(a, b):
        return Estimate(value=1 - (a + 2 * b) / 100, interval_undefined="-", method="-", n=1)

    t = tipping_point(
        at, Goal(bound="point", op=">", value=0.9), n_first=9, n_second=9, excluded=at(0, 0), expected_wrong=None
    )
    assert (t.tipping.wrong_positive_calls, t.tipping.wrong_negative_calls) == (0, 5)


def test_area_with_one_class_among_the_resolved():
    t = auroc_tipping_point([True, True, True], [1, 2, 3], [True, True, False], GOAL)
    assert t.excluded.undefined
    assert t.worst[0].value == 0
    assert t.worst[1].undefined
    assert t.fails_for == (0, 1)
    assert t.holds_for == ()


def test_area_unresolved_truth_is_not_looked_at():
    rng = np.random.default_rng(2)
    y, s, known = rng.random(40) < 0.5, rng.normal(size=40), np.arange(40) % 5 > 0
    a = auroc_tipping_point(y, s, known, GOAL, patient=np.arange(40) // 2)
    b = auroc_tipping_point(np.where(known, y, ~y), s, known, GOAL, patient=np.arange(40) // 2)
    assert a == b
    assert all(w.value <= x.value for w, x in zip(a.worst, a.best, strict=True))


def test_faults_are_named():
    with pytest.raises(ValueError, match="metric is one of"):
        proportion_tipping_point("auroc", GOAL, **_unresolved(1, 1))
    with pytest.raises(ValueError, match="goal is"):
        Goal(bound="middle", op=">", value=0.5)
    with pytest.raises(ValueError, match="not negative"):
        proportion_tipping_point("ppv", GOAL, **_unresolved(-1, 1))
    with pytest.raises(ValueError, match="500"):
        auroc_tipping_point(np.zeros(600), np.zeros(600), np.zeros(600), GOAL)
