"""Properties every two-class statistic must have, whatever the data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalsuite.stats import calibration as c
from evalsuite.stats.bootstrap import METRICS, PatientDraw, binary_bootstrap, binary_replicates
from evalsuite.stats.decision_curve import net_benefit_value
from evalsuite.stats.precision_recall import average_precision_value
from evalsuite.stats.reliability import reliability_curve
from evalsuite.stats.roc import auroc, auroc_variance, roc_curve
from evalsuite.stats.roc_compare import paired_auroc_difference
from evalsuite.stats.roc_operating import partial_auroc_value

FEW = settings(max_examples=40, deadline=None)
Sample = tuple[np.ndarray, np.ndarray, np.ndarray]


@st.composite
def samples(draw: st.DrawFn, *, both: bool = True, smallest: int = 4) -> Sample:
    """Reference, score with ties, patient."""
    n = draw(st.integers(smallest, 60))
    y = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    if both:
        y[:2] = [True, False]
    s = np.array(draw(st.lists(st.integers(-8, 8), min_size=n, max_size=n)), dtype=np.float64)
    patient = np.array(draw(st.lists(st.integers(0, max(1, n // 2)), min_size=n, max_size=n)))
    return y, s, patient


def _logistic(s: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-s / 2))


@FEW
@given(samples())
def test_auroc_of_the_negated_score_is_the_complement(sample: Sample) -> None:
    y, s, patient = sample
    up, down = auroc(y, s, cluster=patient), auroc(y, -s, cluster=patient)
    assert up.value is not None
    assert down.value == pytest.approx(1 - up.value, abs=1e-15)
    if up.low is not None and down.high is not None:
        assert down.high == pytest.approx(1 - up.low, abs=1e-9)


@FEW
@given(samples())
def test_swapping_the_classes_is_negating_the_score(sample: Sample) -> None:
    y, s, patient = sample
    a, b = auroc(~y, s, cluster=patient), auroc(y, -s, cluster=patient)
    assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high), abs=1e-12)


@FEW
@given(samples())
def test_increasing_maps_change_nothing_that_is_about_ranks(sample: Sample) -> None:
    y, s, patient = sample
    for mapped in (s**3 + 7, np.exp(s), 1e-9 * s):
        assert auroc(y, mapped, cluster=patient) == auroc(y, s, cluster=patient)
        assert average_precision_value(y, mapped) == average_precision_value(y, s)
        assert partial_auroc_value(y, mapped) == partial_auroc_value(y, s)
        np.testing.assert_array_equal(roc_curve(y, mapped).tpr, roc_curve(y, s).tpr)


@FEW
@given(samples(), st.randoms(use_true_random=False))
def test_order_of_cases_changes_nothing(sample: Sample, random: object) -> None:
    y, s, patient = sample
    order = np.random.default_rng(random.randint(0, 10**6)).permutation(y.size)  # type: ignore[attr-defined]
    p = _logistic(s)
    assert auroc(y[order], s[order]).value == auroc(y, s).value
    for function in (c.brier, c.log_loss, c.observed_expected):
        a, b = function(y, p, cluster=patient), function(y[order], p[order], cluster=patient[order])
        assert a.value == pytest.approx(b.value, rel=1e-12)
        assert (a.low is None) == (b.low is None)
        if b.low is not None:
            assert a.low == pytest.approx(b.low, rel=1e-9, abs=1e-12)
    assert c.ece_value(y, p) == pytest.approx(c.ece_value(y[order], p[order]), abs=1e-12)
    draw, shuffled = PatientDraw(patient, 10, 1), PatientDraw(patient[order], 10, 1)
    arrays = {"score": s, "probability": p, "call": s > 0}
    one = binary_replicates(draw, reference=y, metrics=METRICS, **arrays)
    two = binary_replicates(shuffled, reference=y[order], metrics=METRICS, **{k: v[order] for k, v in arrays.items()})
    np.testing.assert_allclose(one.values, two.values, atol=1e-9)


@FEW
@given(samples())
def test_auroc_is_the_area_under_its_curve(sample: Sample) -> None:
    y, s, _ = sample
    curve = roc_curve(y, s)
    area = auroc(y, s).value
    assert float(np.trapezoid(curve.tpr, curve.fpr)) == pytest.approx(area, abs=1e-12)
    assert partial_auroc_value(y, s, range=(0.0, 1.0)) == pytest.approx(area, abs=1e-12)
    assert partial_auroc_value(y, s, focus="sensitivity", range=(0.0, 1.0)) == pytest.approx(area, abs=1e-12)


@FEW
@given(samples())
def test_interval_holds_the_estimate_and_widens_with_the_level(sample: Sample) -> None:
    y, s, patient = sample
    p = _logistic(s)
    results = []
    for level in (0.8, 0.95, 0.99):
        results.append(
            [
                auroc(y, s, level=level, cluster=patient),
                auroc(y, s, level=level, method="logit-delong"),
                c.brier(y, p, level=level),
                c.log_loss(y, p, level=level, cluster=patient),
                c.observed_expected(y, p, level=level),
                c.calibration_intercept(y, p, level=level),
                c.calibration_slope(y, p, level=level),
            ]
        )
    for estimates in results:
        for e in estimates:
            if e.low is not None:
                assert e.value is not None
                assert e.high is not None
                assert e.low <= e.value <= e.high
                assert e.low < e.high
            else:
                assert e.undefined is not None or e.interval_undefined is not None
    for narrow, wide in zip(results[0], results[2], strict=True):
        if narrow.low is not None:
            assert wide.low is not None
            assert wide.high is not None
            assert narrow.high is not None
            assert wide.low <= narrow.low
            assert wide.high >= narrow.high


@FEW
@given(samples(both=False, smallest=1))
def test_an_estimate_is_a_value_or_a_reason(sample: Sample) -> None:
    y, s, patient = sample
    rows = binary_bootstrap(
        PatientDraw(patient, 30, 0),
        reference=y, score=s, call=s > 0, probability=_logistic(s), metrics=METRICS,
        masks=np.stack([np.ones(y.size, dtype=bool), s > 0, ~y]),
    )  # fmt: skip
    for row in rows:
        for e in row:
            assert (e.value is None) != (e.undefined is None)
            if e.value is not None:
                assert (e.low is None) == (e.interval_undefined is not None)
                if e.low is not None and e.high is not None:
                    assert e.low < e.high


@FEW
@given(samples())
def test_one_case_per_patient_is_the_unclustered_result(sample: Sample) -> None:
    y, s, _ = sample
    own = np.arange(y.size) * 3 + 1
    assert auroc(y, s, cluster=own) == auroc(y, s)
    p = _logistic(s)
    assert c.brier(y, p, cluster=own) == c.brier(y, p)
    assert c.calibration_slope(y, p, cluster=own) == c.calibration_slope(y, p)


@FEW
@given(samples())
def test_weights_of_one_change_nothing_and_strata_add_up(sample: Sample) -> None:
    y, s, patient = sample
    p = _logistic(s)
    groups = np.stack([s > 0, s <= 0])
    table = binary_replicates(
        PatientDraw(patient, 8, 2),
        reference=y, score=s, probability=p, call=s > 1, metrics=["brier", "accuracy", "prevalence"],
        masks=np.vstack([np.ones((1, y.size), dtype=bool), groups]),
    )  # fmt: skip
    assert table.point[0, 0] == pytest.approx(float(((p - y) ** 2).mean()), abs=1e-12)
    sizes = groups.sum(axis=1)
    for m in range(3):
        parts = [size * table.point[g + 1, m] for g, size in enumerate(sizes) if size]
        assert sum(parts) / y.size == pytest.approx(table.point[0, m], abs=1e-12)


@FEW
@given(samples())
def test_difference_with_itself_is_zero_and_antisymmetric(sample: Sample) -> None:
    y, s, patient = sample
    other = np.roll(s, 1)
    forth = paired_auroc_difference(y, s, other, cluster=patient).estimate
    back = paired_auroc_difference(y, other, s, cluster=patient).estimate
    assert forth.value == pytest.approx(-back.value if back.value is not None else None)
    if forth.low is not None:
        assert back.high == pytest.approx(-forth.low, abs=1e-12)
    itself = paired_auroc_difference(y, s, s, cluster=patient)
    assert itself.estimate.value == 0.0
    assert itself.test.p_value is None


@FEW
@given(samples())
def test_repeating_every_case_in_its_patient_changes_no_robust_variance(sample: Sample) -> None:
    y, s, patient = sample
    once = auroc_variance(y, s, cluster=patient)
    twice = auroc_variance(np.tile(y, 2), np.tile(s, 2), cluster=np.tile(patient, 2))
    assert once is not None
    assert twice is not None
    if once.robust is not None and np.unique(patient).size < y.size:
        assert twice.robust == pytest.approx(once.robust, abs=1e-12)


@FEW
@given(samples())
def test_brier_parts_add_up_and_reliability_counts_all(sample: Sample) -> None:
    y, s, _ = sample
    p = _logistic(s)
    for scheme in ("equal_width", "equal_mass"):
        parts = c.brier_decomposition(y, p, 5, scheme)  # type: ignore[arg-type]
        total = parts.reliability - parts.resolution + parts.uncertainty + parts.within_bin
        assert total == pytest.approx(c.brier_value(y, p), abs=1e-12)
        curve = reliability_curve(y, p, bins=5, scheme=scheme)  # type: ignore[arg-type]
        assert int(curve.n.sum()) == y.size
        gap = float((curve.n * np.abs(curve.observed - curve.mean_probability)).sum() / y.size)
        assert gap == pytest.approx(c.ece_value(y, p, 5, scheme), abs=1e-12)  # type: ignore[arg-type]
    # One bin per distinct probability: nothing is left inside a bin.
    distinct = np.unique(p).size
    assert c.brier_decomposition(y, p, 1000).within_bin == pytest.approx(0, abs=2e-3 if distinct > 1 else 1e-9)


@FEW
@given(samples(), st.floats(0.05, 0.95))
def test_net_benefit_lies_between_its_bounds(sample: Sample, threshold: float) -> None:
    y, s, _ = sample
    value = net_benefit_value(y, _logistic(s), threshold)
    assert value <= float(y.mean()) + 1e-12
    assert value >= -float((~y).mean()) * threshold / (1 - threshold) - 1e-12
    assert net_benefit_value(y, y.astype(float), threshold) == pytest.approx(float(y.mean()))


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_large_n_with_ties_stays_within_bounds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.random(200_000) < 0.5
    s = rng.integers(0, 3, 200_000) + 10.0 * y
    e = auroc(y, s)
    assert e.value == 1.0
    assert e.low is not None
    assert 0.9999 < e.low < 1.0
