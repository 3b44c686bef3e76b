"""Predictive values at a declared prevalence and likelihood ratios: values, edges, refusals."""

from __future__ import annotations

import pytest

from evalsuite.stats.predictive import likelihood_ratio, predictive_value


def _ppv(tp, n1, tn, n0, kind="ppv", prevalence=0.1, **more):
    return predictive_value(
        kind, true_positive=tp, n_positive=n1, true_negative=tn, n_negative=n0, prevalence=prevalence, **more
    )


def test_value_by_bayes():
    e = _ppv(45, 50, 80, 100, prevalence=0.1, n_patients=140)
    assert e.value == pytest.approx(0.09 / (0.09 + 0.18))
    assert e.low < e.value < e.high
    assert (e.n, e.n_positive, e.n_negative, e.n_patients) == (150, 50, 100, 140)
    assert e.method == "Mercaldo logit at prevalence 0.1"
    npv = _ppv(45, 50, 80, 100, "npv")
    assert npv.value == pytest.approx(0.72 / (0.72 + 0.01))


@pytest.mark.parametrize(
    ("kind", "tp", "tn"),
    [(k, *v) for k in ("ppv", "npv") for v in ((10, 20), (10, 7), (4, 20), (4, 0), (0, 7))] + [("ppv", 10, 0)],
)
def test_sensitivity_or_specificity_at_the_edge(kind, tp, tn):
    e = _ppv(tp, 10, tn, 20, kind)
    assert e.low <= e.value <= e.high
    assert e.high - e.low > 0.01
    assert "adjusted" in e.method


def test_a_result_that_never_occurs():
    assert _ppv(0, 10, 20, 20).undefined == "no case is called positive"
    assert _ppv(10, 10, 0, 20, "npv").undefined == "no case is called negative"


def test_a_missing_class():
    assert _ppv(0, 0, 5, 9).undefined == "no reference-positive cases"
    assert _ppv(3, 4, 0, 0).undefined == "no reference-negative cases"


def test_design_effects_widen():
    plain = _ppv(45, 50, 80, 100)
    wide = _ppv(45, 50, 80, 100, design_effect_positive=2.0, design_effect_negative=1.5)
    assert wide.value == plain.value
    assert wide.high - wide.low > plain.high - plain.low


def test_swapping_labels_swaps_ppv_and_npv():
    ppv, npv = _ppv(45, 50, 80, 100, prevalence=0.3), _ppv(80, 100, 45, 50, "npv", prevalence=0.7)
    assert (ppv.value, ppv.low, ppv.high) == pytest.approx((npv.value, npv.low, npv.high), abs=1e-12)


@pytest.mark.parametrize("prevalence", [0.0, 1.0, -0.1, float("nan")])
def test_prevalence_is_strictly_inside(prevalence):
    with pytest.raises(ValueError, match="prevalence"):
        _ppv(1, 2, 1, 2, prevalence=prevalence)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="kind"):
        _ppv(1, 2, 1, 2, "lr")
    with pytest.raises(ValueError, match="exceed"):
        _ppv(3, 2, 1, 2)
    with pytest.raises(ValueError, match="design effects"):
        _ppv(1, 2, 1, 2, design_effect_positive=0.5)
    with pytest.raises(ValueError, match="kind"):
        likelihood_ratio("ppv", tp=1, fn=1, tn=1, fp=1)
    with pytest.raises(ValueError, match="method"):
        likelihood_ratio("positive", tp=1, fn=1, tn=1, fp=1, method="wald")


def test_likelihood_ratio_values():
    q = {"tp": 18, "fn": 2, "tn": 60, "fp": 20}
    pos, neg = likelihood_ratio("positive", **q), likelihood_ratio("negative", **q)
    assert pos.value == pytest.approx(0.9 / 0.25)
    assert neg.value == pytest.approx(0.1 / 0.75)
    for e in (pos, neg):
        assert e.low < e.value < e.high
        assert e.method == "log method (Simel)"
        assert (e.n, e.n_positive, e.n_negative) == (100, 20, 80)


def test_unbounded_ratios_say_so_with_their_lower_limit():
    e = likelihood_ratio("positive", tp=10, fn=2, tn=20, fp=0)
    assert e.value is None
    assert "no false positive" in e.undefined
    assert "5.103" in e.undefined
    e = likelihood_ratio("negative", tp=10, fn=2, tn=0, fp=20)
    assert "no true negative" in e.undefined


def test_a_ratio_of_zero_has_an_upper_limit():
    e = likelihood_ratio("negative", tp=10, fn=0, tn=10, fp=2)
    assert e.value == e.low == 0.0
    assert 0 < e.high < 1
    assert "Koopman" in e.method


def test_everything_called_positive_has_a_width():
    e = likelihood_ratio("positive", tp=10, fn=0, tn=0, fp=20)
    assert e.value == 1.0
    assert e.low < 1.0 < e.high
    assert likelihood_ratio("negative", tp=10, fn=0, tn=0, fp=20).undefined == "no case is called negative"


def test_a_missing_class_has_no_ratio():
    assert likelihood_ratio("positive", tp=0, fn=0, tn=3, fp=1).undefined == "no reference-positive cases"
    assert likelihood_ratio("negative", tp=3, fn=1, tn=0, fp=0).undefined == "no reference-negative cases"


def test_score_limits_on_request():
    e = likelihood_ratio("positive", tp=26, fn=15, tn=58, fp=14, method="koopman")
    assert e.method == "Koopman score"
    assert e.low < e.value < e.high
