"""Edges of ordered grades under the patient bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.ordinal_bootstrap import METRICS, ordinal_bootstrap, vus_bootstrap


def draw(n: int) -> PatientDraw:
    return PatientDraw(np.arange(n), replicates=100, seed=5)


def test_one_grade_only_has_reasons():
    zero = np.zeros(8, dtype=int)
    found = dict(
        zip(METRICS, ordinal_bootstrap(draw(8), zero, zero, 3, METRICS, probability=np.eye(3)[zero])[0], strict=True)
    )
    for metric in ("linear_kappa", "quadratic_kappa", "kendall_tau_b"):
        assert found[metric].undefined, metric
    assert found["gwet_ac2"].value == 1.0
    assert found["accuracy"].value == 1.0
    assert found["accuracy"].low is None
    assert found["rps"].value == 0.0


def test_no_cases_and_one_case():
    nothing = ordinal_bootstrap(PatientDraw(np.zeros(0), replicates=5, seed=1), [], [], 3, ["gwet_ac2"])[0][0]
    assert nothing.undefined == "no cases"
    one = ordinal_bootstrap(draw(1), [1], [2], 3, ["accuracy", "adjacent_agreement", "kendall_tau_b"])[0]
    assert [e.value for e in one] == [0.0, 1.0, None]
    assert one[0].interval_undefined.startswith("one patient")


def test_volume_edges():
    assert vus_bootstrap(draw(2), [1.0, 2.0], [0, 2])[0].undefined == "no cases of grade 1"
    perfect = vus_bootstrap(draw(9), np.arange(9.0), np.repeat([0, 1, 2], 3))[0]
    assert perfect.value == 1.0
    assert perfect.low is None
    tied = vus_bootstrap(draw(9), np.zeros(9), np.repeat([0, 1, 2], 3))[0]
    assert tied.value == pytest.approx(1 / 6)
    nobody = np.zeros((1, 2), dtype=bool)
    assert vus_bootstrap(draw(2), [1.0, 2.0], [0, 2], masks=nobody)[0].undefined == "no cases"


def test_what_is_no_grade_is_refused():
    with pytest.raises(ValueError, match="whole grades"):
        ordinal_bootstrap(draw(2), [0, 3], [0, 1], 3, ["accuracy"])
    with pytest.raises(ValueError, match="unknown metric"):
        ordinal_bootstrap(draw(2), [0, 1], [0, 1], 3, ["nothing"])
    with pytest.raises(ValueError, match="needs probability"):
        ordinal_bootstrap(draw(2), [0, 1], [0, 1], 3, ["rps"])
    with pytest.raises(ValueError, match="numbers"):
        vus_bootstrap(draw(2), [np.nan, 1], [0, 1])
