"""Means and quantiles of cases: against numpy on the cases written out, with patients, strata and nobody left."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats._resampled import replicated
from evalsuite.stats.case_means import mean_of, quantile_of
from evalsuite.stats.draw import PatientDraw

PATIENT = np.repeat(np.arange(12), [1, 2, 3] * 4)
VALUES = np.round(np.random.default_rng(6).beta(5, 2, PATIENT.size), 2)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.93])
def test_replicates_are_quantiles_of_the_cases_written_out(share: float) -> None:
    draw = PatientDraw(PATIENT, 40, 3)
    mask = np.arange(PATIENT.size) % 5 != 0
    material, statistic = quantile_of(draw, VALUES, share, (0.0, 1.0))
    table = replicated(draw, material, [statistic], masks=mask[None])
    assert table.point[0, 0] == pytest.approx(np.quantile(VALUES[mask], share))
    for r, counts in enumerate(draw.counts(0, 40)):
        drawn = np.repeat(VALUES[mask], counts[PATIENT[mask]])
        assert table.values[0, 0, r] == pytest.approx(np.quantile(drawn, share))
    left_out = table.jackknife[0][0]
    assert left_out is not None
    for i, p in enumerate(table.patients[0]):
        assert left_out[i] == pytest.approx(np.quantile(VALUES[mask & (p != PATIENT)], share))


def test_replicates_are_means_of_the_cases_written_out() -> None:
    draw = PatientDraw(PATIENT, 20, 3)
    material, statistic = mean_of(VALUES, (0.0, 1.0))
    table = replicated(draw, material, [statistic])
    assert table.point[0, 0] == pytest.approx(VALUES.mean())
    for r, counts in enumerate(draw.counts(0, 20)):
        assert table.values[0, 0, r] == pytest.approx(np.repeat(VALUES, counts[PATIENT]).mean())


def test_nobody_and_nothing() -> None:
    draw = PatientDraw(PATIENT, 5, 3)
    for material, statistic in (mean_of(VALUES, (0.0, 1.0)), quantile_of(draw, VALUES, 0.5, (0.0, 1.0))):
        table = replicated(draw, material, [statistic], masks=np.zeros((1, PATIENT.size), dtype=bool))
        assert table.reasons[0][0] == "no cases"
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            quantile_of(draw, VALUES, share, (0.0, 1.0))
