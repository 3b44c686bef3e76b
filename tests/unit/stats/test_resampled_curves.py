"""Readings of many resampled curves at once agree with the same readings of the cases drawn, one resample at a time."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from evalsuite.stats import smoothing
from evalsuite.stats._binary_inputs import binary_sample
from evalsuite.stats._polygons import of_data, of_replicates, without_each_patient
from evalsuite.stats.calibration_error import smooth_error, smooth_errors
from evalsuite.stats.decision_curve import net_benefit, net_benefit_value
from evalsuite.stats.draw import PatientDraw, without_each


def _study(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(20), 3)
    reference = rng.random(60) < 0.4
    return reference, np.round(rng.normal(size=60) + reference, 1), patient


@pytest.mark.parametrize("seed", [1, 2])
def test_polygons_of_replicates_are_those_of_the_cases_drawn(seed: int) -> None:
    reference, score, patient = _study(seed)
    sample = binary_sample(reference, score, cluster=patient)
    draw = PatientDraw(patient, 25, seed)
    (curves,) = of_replicates(sample, draw)
    heights, areas = curves.heights(np.array([0.1, 0.45])), curves.areas(0.0, 0.2)
    for count, height, area in zip(draw.counts(0, 25), heights, areas, strict=True):
        drawn = np.repeat(np.arange(60), count[patient])
        fpr, tpr, _ = roc_curve(reference[drawn], score[drawn], drop_intermediate=False)
        # Just beyond a vertical rise, so that its upper end counts.
        np.testing.assert_allclose(height, np.interp(np.array([0.1, 0.45]) + 1e-9, fpr, tpr), atol=1e-7)
        corrected = roc_auc_score(reference[drawn], score[drawn], max_fpr=0.2)
        assert 0.5 * (1.0 + (area - 0.02) / (0.2 - 0.02)) == pytest.approx(corrected, abs=1e-12)


def test_turned_polygons_read_specificity_and_keep_the_area() -> None:
    reference, score, _ = _study(3)
    curves = of_data(binary_sample(reference, score))
    mirrored = of_data(binary_sample(~reference, -score))
    np.testing.assert_allclose(curves.turned().heights(np.array([0.2])), mirrored.heights(np.array([0.2])), atol=1e-15)
    assert curves.areas(0.0, 1.0)[0] == pytest.approx(roc_auc_score(reference, score), abs=1e-13)
    assert curves.turned().areas(0.0, 1.0)[0] == pytest.approx(roc_auc_score(reference, score), abs=1e-13)


def test_resamples_that_lack_a_class_have_no_curve() -> None:
    sample = binary_sample([True, False, False], [0.9, 0.1, 0.2])
    left_out = np.concatenate(
        [c.heights(np.array([0.5])) for c in without_each_patient(sample, PatientDraw(range(3), 1, 0))]
    )
    assert np.isnan(left_out[0, 0])
    assert left_out[1:, 0].tolist() == [1.0, 1.0]


def test_every_patient_is_left_out_once_whatever_the_block_size() -> None:
    counts = np.concatenate(list(without_each(7, rows=3)))
    assert (counts == 1 - np.eye(7, dtype=np.int64)).all()


def test_net_benefit_of_replicates_is_that_of_the_cases_drawn() -> None:
    reference, score, patient = _study(4)
    probability = 1.0 / (1.0 + np.exp(-score))
    draw = PatientDraw(patient, 40, 9)
    by_hand = [
        net_benefit_value(reference[drawn], probability[drawn], 0.3)
        for count in draw.counts(0, 40)
        for drawn in [np.repeat(np.arange(60), count[patient])]
    ]
    e = net_benefit(reference, probability, 0.3, cluster=patient, replicates=40, seed=9)
    np.testing.assert_allclose([e.low, e.high], np.quantile(by_hand, [0.025, 0.975]), atol=1e-14)


def test_compiled_loess_is_the_least_squares_fit_also_where_few_values_differ() -> None:
    rng = np.random.default_rng(5)
    for x in (np.sort(rng.random(40)), np.repeat([0.1, 0.4], 10), np.repeat([0.1, 0.4, 0.8], [3, 3, 14])):
        y = (rng.random(x.size) < x).astype(float)
        count = int(0.75 * x.size)
        expected = [smoothing._local_quadratic(x, y, float(at), count) for at in np.unique(x)]
        np.testing.assert_allclose(smoothing.loess(x, y), np.interp(x, np.unique(x), expected), atol=1e-10)


def test_smooth_errors_together_are_those_asked_for_one_by_one() -> None:
    reference, score, patient = _study(6)
    probability = 1.0 / (1.0 + np.exp(-score))
    options = {"cluster": patient, "replicates": 20, "seed": 3}
    together = smooth_errors(reference, probability, ("e90", "ici", "e50", "emax"), **options)
    assert together == [smooth_error(reference, probability, s, **options) for s in ("e90", "ici", "e50", "emax")]
