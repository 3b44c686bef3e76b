"""Measurements: which side an unknown error is taken to, small groups, repeats, and what cannot be assumed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evalsuite.analyses.measurement import evaluate_measurement
from evalsuite.errors import InputError
from evalsuite.protocol.schema import StudyProtocol

N = 40
RNG = np.random.default_rng(2)
TRUTH = np.round(RNG.gamma(5, 10, N), 1)
DEVICE = TRUTH + RNG.normal(1, 3, N)


def _protocol(endpoints, **changes):
    return StudyProtocol.model_validate(
        {
            "schema": "evalsuite/protocol/1",
            "id": "m",
            "version": "1",
            "title": "m",
            "kind": "standalone",
            "intended_use": {},
            "task": {"kind": "regression", "reference": "truth", "score": "value"},
            "unit": {},
            "endpoints": endpoints,
            "strata": [{"name": "site", "column": "site"}],
            "confidence": {"bootstrap": {"replicates": 100}},
            "seed": 1,
            **changes,
        }
    )


def _results(endpoints, *, lost=(), unresolved=(), patient=None, repeats=None, device=DEVICE, **changes):
    case_id = tuple(f"c{i}" for i in range(N))
    truth = ["" if i in unresolved else str(v) for i, v in enumerate(TRUTH)]
    frame = pd.DataFrame({"truth": truth, "site": ["a"] * 35 + ["b"] * 5})
    if repeats is not None:
        frame["lesion"] = repeats
    predictions = pd.DataFrame(
        {
            "case_id": case_id,
            "status": ["failed" if i in lost else "ok" for i in range(N)],
            "value": [np.nan if i in lost else v for i, v in enumerate(device)],
        }
    )
    return evaluate_measurement(
        _protocol(endpoints, **changes),
        case_id=case_id,
        patient_id=tuple(patient or case_id),
        frame=frame,
        predictions=predictions,
    )


def _value(results, name, stratum=None, condition=None):
    (f,) = [
        f for f in results.findings if (f.endpoint, dict(f.stratum), f.condition) == (name, stratum or {}, condition)
    ]
    return f.estimate


def _bias(bound, op):
    return {
        "name": "bias",
        "metric": "bias",
        "maximum": 50,
        "role": "primary",
        "criterion": {"bound": bound, "op": op, "value": 0},
    }


def test_an_unknown_error_lies_where_the_criterion_guards():
    known = (DEVICE - TRUTH)[2:].sum()
    assert _value(_results([_bias("upper", "<")], lost=(0, 1)), "bias").value == pytest.approx((known + 100) / N)
    assert _value(_results([_bias("lower", ">")], lost=(0, 1)), "bias").value == pytest.approx((known - 100) / N)
    best = _value(_results([_bias("lower", ">")], lost=(0, 1)), "bias", condition="missing_outputs=best_case")
    assert best.value == pytest.approx(known / N)


def test_output_and_reference_both_unknown_count_once():
    results = _results([{"name": "mae", "metric": "mae", "maximum": 50}], lost=(0, 1), unresolved=(1, 2))
    assert _value(results, "mae").value == pytest.approx((np.abs(DEVICE - TRUTH)[3:].sum() + 150) / N)
    left = _value(results, "mae", condition="missing_reference=exclude")
    assert left.n == N - 2
    assert left.value == pytest.approx((np.abs(DEVICE - TRUTH)[3:].sum() + 50) / (N - 2))


def test_limits_move_outwards_and_the_total_deviation_grows():
    ask = [{"name": m, "metric": m, "maximum": 50} for m in ("loa_lower", "loa_upper", "tdi")]
    whole, lost = _results(ask), _results(ask, lost=(0,))
    assert _value(lost, "loa_lower").value < _value(whole, "loa_lower").value
    assert _value(lost, "loa_upper").value > _value(whole, "loa_upper").value
    assert _value(lost, "tdi").value > _value(whole, "tdi").value


def test_standard_rows_take_the_declared_maximum_and_say_what_has_no_worst_case():
    results = _results([{"name": "mae", "metric": "mae", "maximum": 50}], lost=(0,))
    assert _value(results, "rmse").value is not None
    assert "1 case without an output or a reference" in _value(results, "ccc").undefined


def test_a_lost_case_is_outside_the_tolerance():
    ask = [{"name": "near", "metric": "coverage_probability", "tolerance": 1000}]
    e = _value(_results(ask, lost=(0,), unresolved=(1,)), "near")
    assert (e.numerator, e.denominator) == (N - 2, N)


def test_a_small_group_is_not_assessable():
    e = _value(_results([{"name": "mae", "metric": "mae"}]), "mae", {"site": "b"})
    assert "5 cases, fewer than 10" in e.undefined


def test_repeats():
    ask = [{"name": "cv", "metric": "within_subject_cv", "repeats": "lesion"}]
    lesion = [f"l{i // 2}" for i in range(N)]
    patient = [f"p{i // 2}" for i in range(N)]
    e = _value(_results(ask, repeats=lesion, patient=patient), "cv")
    pairs = DEVICE.reshape(-1, 2)
    assert e.value == pytest.approx(np.sqrt((pairs.var(axis=1, ddof=1) / pairs.mean(axis=1) ** 2).mean()))
    assert e.low < e.value < e.high
    several = _value(_results(ask, repeats=lesion, patient=[f"p{i // 4}" for i in range(N)]), "cv")
    assert several.value == pytest.approx(e.value)
    assert "several repeated" in several.interval_undefined
    assert "two patients" in _value(_results(ask, repeats=lesion), "cv").undefined
    with pytest.raises(InputError, match="no column 'lesion'"):
        _results(ask)


def test_repeated_patients_get_the_bootstrap_where_no_closed_form_serves():
    patient = [f"p{i // 2}" for i in range(N)]
    results = _results([{"name": "icc", "metric": "icc"}], patient=patient)
    assert "bootstrap" in _value(results, "icc").method
    assert "bootstrap" in _value(results, "ccc").method
    assert "patients as clusters" in _value(results, "mae").method
    assert any("40 cases come from 20 patients" in note for note in results.notes)


def test_curves_are_of_known_cases_only():
    curves = _results([{"name": "mae", "metric": "mae"}], lost=(0, 1)).curves
    (points,) = [c for c in curves if c.kind == "bland_altman" and c.series == "cases"]
    assert len(points.x) == points.n == N - 2
    assert {c.series for c in curves if c.kind == "scatter"} == {"cases", "identity", "Deming line"}
    assert {c.series for c in curves if c.stratum} == {"bias", "lower limit", "upper limit"}


def test_copied_outputs_are_noticed():
    results = _results([{"name": "mae", "metric": "mae"}], device=TRUTH)
    assert any("equals its reference exactly" in note for note in results.notes)
    assert _value(results, "mae").interval_undefined
    assert _value(results, "loa_upper").undefined


def test_criteria_on_both_sides_of_the_bias_are_two_one_sided_tests():
    """scipy's t tests; the 90 % interval inside the margins and p below 5 % are the same."""
    from scipy import stats

    both = [
        {**_bias("lower", ">"), "criterion": {"bound": "lower", "op": ">", "value": -2.0}},
        {**_bias("upper", "<"), "name": "upper bias", "criterion": {"bound": "upper", "op": "<", "value": 2.0}},
    ]
    tests = {t.name: t for t in _results(both).tests}
    p = [stats.ttest_1samp(DEVICE - TRUTH, m, alternative=a).pvalue for m, a in ((-2.0, "greater"), (2.0, "less"))]
    assert tests["bias > -2"].p_value == pytest.approx(p[0], abs=1e-12)
    assert tests["upper bias < 2"].p_value == pytest.approx(p[1], abs=1e-12)
    assert tests["upper bias: -2 to 2"].p_value == pytest.approx(max(p), abs=1e-12)
    lost = [t for t in _results(both, lost=(0,)).tests if t.endpoint == "bias"]
    assert lost
    assert all("without an output" in str(t.undefined) for t in lost)
