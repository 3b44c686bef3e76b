"""Agreement of change: exact thresholds, relative change from nothing, categories, several cases per patient."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats import change
from evalsuite.stats.agreement import bland_altman


def test_recist_thresholds_belong_to_response_and_progression():
    before = np.array([30.0, 30.0, 10.0, 10.0, 10.0, 0.7])
    after = np.array([21.0, 21.01, 12.0, 11.99, 5.0, 0.84])
    assert change.response_category(before, after).tolist() == [0, 1, 2, 1, 0, 2]
    absolute = change.response_category([10, 10, 10], [12, 8, 10], [-1.5, 1.5], relative=False)
    assert absolute.tolist() == [2, 0, 1]


def test_a_constant_error_cancels():
    rng = np.random.default_rng(1)
    first, second = rng.normal(20, 5, 30), rng.normal(22, 5, 30)
    noise = rng.normal(0, 1, (2, 30))
    plain = change.change_agreement(first + noise[0], second + noise[1], first, second)
    shifted = change.change_agreement(first + noise[0] + 7, second + noise[1] + 7, first, second)
    assert shifted.bias.value == pytest.approx(plain.bias.value)
    assert plain == bland_altman(second + noise[1] - (first + noise[0]), second - first)


def test_relative_change_needs_a_value_above_nothing():
    assert change.change([10.0], [12.0], relative=True)[0] == pytest.approx(0.2)
    with pytest.raises(ValueError, match="above 0"):
        change.change([0.0], [12.0], relative=True)
    with pytest.raises(ValueError, match="finite"):
        change.change([np.nan], [12.0])


def test_categories_agree_and_oppose():
    device, reference = np.array([0, 0, 1, 2, 2, 2, 1, 0]), np.array([0, 2, 1, 2, 2, 1, 1, 0])
    r = change.response_agreement(device, reference, 3)
    assert r.agreement.value == 6 / 8
    assert r.opposite.value == 1 / 8
    assert [e.value for e in r.by_category] == [1.0, 2 / 3, 2 / 3]
    assert sum(map(sum, r.table)) == 8
    assert r.kappa.low is not None
    clustered = change.response_agreement(device, reference, 3, patient=np.arange(8) // 2)
    assert clustered.kappa.value == r.kappa.value
    assert "several cases" in clustered.kappa.interval_undefined
    assert clustered.agreement.n_patients == 4


def test_empty_and_missing_categories():
    none = change.response_agreement([], [], 3)
    assert none.agreement.undefined
    assert none.kappa.undefined
    r = change.response_agreement([0, 1, 1], [0, 1, 1], 3)
    assert r.by_category[2].undefined
    assert r.by_category[1].value == 1


def test_faults_are_named():
    with pytest.raises(ValueError, match="increase"):
        change.response_category([1.0], [2.0], [0.2, -0.3])
    with pytest.raises(ValueError, match="grades"):
        change.response_agreement([3], [0], 3)
