"""Edges of tasks with several labels: unsettled cells, an absent label, one case."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats.averages import Answers
from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.multilabel import METRICS, multilabel_bootstrap

TRUTH = np.array([[1, 0], [1, 1], [0, 0], [0, 1], [1, 0]], dtype=bool)
CALL = np.array([[1, 0], [1, 0], [0, 0], [1, 1], [1, 0]], dtype=bool)


def run(metrics, *, known=None, truth=TRUTH, call=CALL, score=None, cluster=None):
    answers = Answers(truth=truth, call=call, score=score, known=known, names=("x", "y"), kind="label")
    draw = PatientDraw(np.arange(len(truth)) if cluster is None else cluster, replicates=100, seed=1)
    return multilabel_bootstrap(draw, answers, metrics)[0]


def test_whole_sets_and_single_labels_by_hand():
    subset, hamming = run(["subset_accuracy", "hamming_loss"])
    assert (subset.numerator, subset.denominator) == (3, 5)
    assert subset.value == pytest.approx(0.6)
    assert hamming.value == pytest.approx(0.2)


def test_unsettled_cells_take_no_part_anywhere():
    known = np.ones((5, 2), dtype=bool)
    known[1, 1] = False
    subset, hamming, macro = run(["subset_accuracy", "hamming_loss", "macro_sensitivity"], known=known)
    assert (subset.numerator, subset.denominator) == (3, 4)
    assert hamming.value == pytest.approx(1 / 9)
    assert macro.value == pytest.approx((1 + 1) / 2)
    nothing = run(["subset_accuracy", "hamming_loss"], known=np.zeros((5, 2), dtype=bool))
    assert nothing[0].undefined == "no case has a settled reference for every label"
    assert nothing[1].undefined == "no label has a settled reference"


def test_a_label_nobody_has_is_named():
    truth = TRUTH.copy()
    truth[:, 1] = False
    score = np.linspace(0, 1, 10).reshape(5, 2)
    m_ap, auroc = run(["macro_average_precision", "macro_auroc"], truth=truth, score=score)
    assert m_ap.undefined == auroc.undefined == "label 'y': no reference-positive cases"


def test_one_case_has_values_and_no_interval():
    found = run(METRICS, truth=TRUTH[:1], call=CALL[:1], score=np.array([[0.9, 0.1]]))
    for metric, e in zip(METRICS, found, strict=True):
        assert (e.value is None) != (e.undefined is None), metric
        assert e.low is None, metric


def test_repeated_patients_are_resampled_whole():
    free, tied = run(["hamming_loss"])[0], run(["hamming_loss"], cluster=np.array([0, 0, 1, 1, 1]))[0]
    assert free.value == tied.value
    assert (free.n_patients, tied.n_patients) == (5, 2)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="unknown metric"):
        run(["nothing"])
    with pytest.raises(ValueError, match="needs calls"):
        run(["hamming_loss"], call=None)
    with pytest.raises(ValueError, match="shape"):
        run(["hamming_loss"], call=CALL[:, :1])
    with pytest.raises(ValueError, match="NaN"):
        run(["macro_auroc"], score=np.full((5, 2), np.nan))
