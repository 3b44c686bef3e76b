"""The resampling engine: reproducible draws, undefined replicates counted, no zero-width intervals, strata."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats.bootstrap import (
    METRICS,
    PatientDraw,
    binary_bootstrap,
    binary_replicates,
    difference_estimate,
    replicate_values,
)
from evalsuite.stats.bootstrap_interval import acceleration, bootstrap_interval
from evalsuite.stats.roc import auroc

RNG = np.random.default_rng(0)
N = 300
PATIENT = RNG.integers(0, 120, N)
Y = RNG.random(N) < 0.35
S = np.round(RNG.normal(size=N) + Y, 1)
P = np.clip(1 / (1 + np.exp(-S)), 0.01, 0.99)
CALL = S >= 0.5
ARRAYS = {"reference": Y, "score": S, "call": CALL, "probability": P}


def test_replicates_do_not_depend_on_threads_blocks_or_number(monkeypatch: pytest.MonkeyPatch) -> None:
    base = replicate_values(PatientDraw(PATIENT, 64, 7), metrics=METRICS, **ARRAYS, threads=1)
    threaded = replicate_values(PatientDraw(PATIENT, 64, 7), metrics=METRICS, **ARRAYS, threads=4)
    np.testing.assert_array_equal(base, threaded)
    monkeypatch.setattr("evalsuite.stats.draw.BLOCK_BYTES", 4 * 120 * 3)
    small = replicate_values(PatientDraw(PATIENT, 64, 7), metrics=METRICS, **ARRAYS, threads=2)
    np.testing.assert_array_equal(base, small)
    fewer = replicate_values(PatientDraw(PATIENT, 20, 7), metrics=METRICS, **ARRAYS)
    np.testing.assert_array_equal(base[:, :, :20], fewer)
    other = replicate_values(PatientDraw(PATIENT, 64, 8), metrics=METRICS, **ARRAYS)
    assert not np.array_equal(base, other)


def test_one_metric_alone_or_beside_others_is_the_same() -> None:
    draw = PatientDraw(PATIENT, 50, 1)
    together = replicate_values(draw, metrics=METRICS, **ARRAYS)
    for m, metric in enumerate(METRICS):
        np.testing.assert_array_equal(replicate_values(draw, metrics=[metric], **ARRAYS)[:, 0], together[:, m])


def test_counts_sum_to_patients_and_stratified_draws_keep_their_groups() -> None:
    counts = PatientDraw(PATIENT, 30, 2).counts(0, 30)
    patients = np.unique(PATIENT).size
    assert (counts.sum(axis=1) == patients).all()
    cluster, label = np.array([1, 1, 2, 3, 4, 4]), np.array([0, 1, 1, 1, 0, 0])
    draw = PatientDraw(cluster, 40, 2, stratify=label)
    # Groups: patient 4 (only 0), patient 1 (both), patients 2 and 3 (only 1).
    counts = draw.counts(0, 40)
    assert (counts[:, 0] == 1).all()
    assert (counts[:, 3] == 1).all()
    assert (counts[:, 1] + counts[:, 2] == 2).all()


def test_draw_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="one-dimensional"):
        PatientDraw(np.zeros((2, 2)), 10, 0)
    with pytest.raises(ValueError, match="NaN"):
        PatientDraw(np.array([1.0, np.nan]), 10, 0)
    with pytest.raises(ValueError, match="replicates"):
        PatientDraw(PATIENT, 0, 0)
    with pytest.raises(ValueError, match="seed"):
        PatientDraw(PATIENT, 10, -1)
    with pytest.raises(ValueError, match="stratify"):
        PatientDraw(PATIENT, 10, 0, stratify=[1])


def test_text_patients_are_accepted() -> None:
    names = np.array([f"p{i:03d}" for i in PATIENT])
    one = replicate_values(PatientDraw(names, 5, 1), metrics=["auroc"], **ARRAYS)
    two = replicate_values(PatientDraw(PATIENT, 5, 1), metrics=["auroc"], **ARRAYS)
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("method", ["bca", "percentile", "basic"])
def test_every_metric_has_value_interval_and_counts(method: str) -> None:
    rows = binary_bootstrap(PatientDraw(PATIENT, 400, 3), metrics=METRICS, method=method, **ARRAYS)  # type: ignore[arg-type]
    for metric, e in zip(METRICS, rows[0], strict=True):
        assert e.value is not None, metric
        assert e.low is not None, (metric, e.interval_undefined)
        assert e.high is not None
        assert e.low < e.high
        assert (e.n_positive, e.n_negative) == (int(Y.sum()), int((~Y).sum()))
        assert e.n_patients == np.unique(PATIENT).size
        assert (e.replicates, e.replicates_undefined) == (400, 0)
    by_name = dict(zip(METRICS, rows[0], strict=True))
    assert by_name["sensitivity"].denominator == by_name["sensitivity"].n == int(Y.sum())
    assert by_name["auroc"].n == N
    assert by_name["auroc"].value == auroc(Y, S).value
    assert "upper limit basic" in by_name["ece"].method


def test_masks_give_what_the_stratum_alone_gives() -> None:
    masks = np.stack([np.ones(N, dtype=bool), S > 0, S <= 0, PATIENT < 40])
    rows = binary_bootstrap(PatientDraw(PATIENT, 50, 1), masks=masks, metrics=METRICS, **ARRAYS)
    for mask, row in zip(masks, rows, strict=True):
        part = {k: v[mask] for k, v in ARRAYS.items()}
        alone = binary_bootstrap(PatientDraw(PATIENT[mask], 50, 1), metrics=METRICS, **part)[0]
        for e, f in zip(row, alone, strict=True):
            assert (e.value, e.undefined, e.n, e.n_patients) == (f.value, f.undefined, f.n, f.n_patients)


def test_undefined_metrics_carry_their_reason() -> None:
    draw = PatientDraw(np.arange(6), 20, 0)
    y, p = np.zeros(6, dtype=bool), np.array([0.0, 0.1, 0.2, 0.3, 0.4, 1.0])
    call = np.zeros(6, dtype=bool)
    masks = np.array([[True] * 6, [False] * 6])
    rows = binary_bootstrap(draw, reference=y, score=p, call=call, probability=p, masks=masks, metrics=METRICS)
    found = {m: e.undefined for m, e in zip(METRICS, rows[0], strict=True)}
    assert found["sensitivity"] == "no reference-positive cases"
    assert found["specificity"] is None
    assert found["ppv"] == "no positive calls"
    assert found["npv"] is None
    assert found["f1"] == "no reference-positive cases and no positive calls"
    assert found["auroc"] == found["average_precision"] == found["youden"] == "no reference-positive cases"
    assert found["log_loss"] is not None
    assert found["log_loss"].startswith("infinite")
    assert found["kappa"] is not None
    assert found["mcc"] is not None
    assert {e.undefined for e in rows[1]} == {"no cases"}
    assert all(e.n == 0 for e in rows[1])


def test_infinite_likelihood_ratio_is_not_a_number() -> None:
    y = np.array([1, 1, 0, 0], dtype=bool)
    e = binary_bootstrap(PatientDraw(np.arange(4), 20, 0), reference=y, call=y, metrics=["lr_positive"])[0][0]
    assert e.undefined == "no false positives, so the ratio is infinite or undefined"


def test_equal_replicates_never_give_a_zero_width_interval() -> None:
    y = np.repeat([True, False], 5)
    for method in ("bca", "percentile", "basic"):
        rows = binary_bootstrap(
            PatientDraw(np.arange(10), 100, 0), reference=y, score=y * 1.0, call=y, metrics=["sensitivity", "auroc"],
            method=method,  # type: ignore[arg-type]
        )  # fmt: skip
        for e in rows[0]:
            assert e.value == 1.0
            assert e.low is None
            assert e.interval_undefined is not None
            assert e.interval_undefined.startswith(("all replicates equal", "undefined in"))


def test_one_patient_has_a_reason() -> None:
    e = binary_bootstrap(PatientDraw(np.zeros(N), 50, 0), metrics=["auroc"], reference=Y, score=S)[0][0]
    assert e.interval_undefined == "one patient only: resampling patients cannot show any variation"
    assert e.n_patients == 1


def test_undefined_replicates_are_counted_and_bar_the_interval_above_five_per_cent() -> None:
    y = np.arange(60) < 2
    e = binary_bootstrap(PatientDraw(np.arange(60), 500, 0), reference=y, score=RNG.normal(size=60), metrics=["auroc"])
    assert e[0][0].replicates_undefined is not None
    assert e[0][0].replicates_undefined > 25
    assert e[0][0].interval_undefined is not None
    assert "bootstrap replicates (more than 5%)" in e[0][0].interval_undefined
    few = np.append(np.full(3, np.nan), np.linspace(0, 1, 97))
    interval = bootstrap_interval(few, 0.5, method="percentile")
    assert interval.replicates_undefined == 3
    assert interval.low == pytest.approx(0.025)


def test_bca_refuses_where_it_would_miss_the_estimate() -> None:
    values = np.linspace(0.5, 1.0, 200)
    interval = bootstrap_interval(values, 0.49, method="bca", jackknife=np.arange(10.0))
    assert interval.undefined is not None
    assert "too biased" in interval.undefined
    with pytest.raises(ValueError, match="jackknife"):
        bootstrap_interval(values, 0.7, method="bca")
    with pytest.raises(ValueError, match="percentile, basic or bca"):
        bootstrap_interval(values, 0.7, method="BCa")  # type: ignore[arg-type]
    assert acceleration(np.ones(5)) == 0.0
    assert acceleration(np.array([1.0])) == 0.0


def test_inputs_are_checked_all_at_once() -> None:
    draw = PatientDraw(PATIENT, 5, 0)
    with pytest.raises(ValueError, match=r"unknown metric: auc; sensitivity needs call; brier needs probability"):
        binary_bootstrap(draw, reference=Y, score=S, metrics=["auc", "sensitivity", "brier"])
    with pytest.raises(ValueError, match="masks"):
        binary_bootstrap(draw, reference=Y, score=S, metrics=["auroc"], masks=np.ones((1, 3), dtype=bool))
    with pytest.raises(ValueError, match="draw was made for"):
        binary_bootstrap(draw, reference=Y[:-1], score=S[:-1], metrics=["auroc"])
    with pytest.raises(ValueError, match="NaN"):
        binary_bootstrap(draw, reference=Y, score=np.where(Y, np.nan, S), metrics=["auroc"])
    with pytest.raises(ValueError, match="prevalence"):
        binary_bootstrap(draw, reference=Y, call=CALL, metrics=["ppv"], prevalence=0.0)


def test_cases_outside_every_stratum_may_lack_a_score() -> None:
    s = np.where(PATIENT < 40, S, np.nan)
    mask = (PATIENT < 40)[None, :]
    e = binary_bootstrap(PatientDraw(PATIENT, 20, 0), reference=Y, score=s, metrics=["auroc"], masks=mask)[0][0]
    assert e.value == auroc(Y[mask[0]], S[mask[0]]).value


def test_predictive_values_at_a_declared_prevalence() -> None:
    draw = PatientDraw(PATIENT, 200, 4)
    rows = binary_bootstrap(draw, metrics=["sensitivity", "specificity", "ppv", "npv"], prevalence=0.05, **ARRAYS)[0]
    sens, spec, ppv, npv = (e.value for e in rows)
    assert sens is not None
    assert spec is not None
    assert ppv == pytest.approx(0.05 * sens / (0.05 * sens + 0.95 * (1 - spec)))
    assert npv == pytest.approx(0.95 * spec / (0.95 * spec + 0.05 * (1 - sens)))
    assert rows[2].denominator is None


def test_difference_between_strata_is_paired_through_the_draw() -> None:
    masks = np.stack([PATIENT % 2 == 0, PATIENT % 2 == 1])
    table = binary_replicates(PatientDraw(PATIENT, 500, 1), masks=masks, metrics=["auroc", "sensitivity"], **ARRAYS)
    for method in ("percentile", "bca"):
        d = difference_estimate((table, 0, 0), (table, 1, 0), method=method)  # type: ignore[arg-type]
        assert d.value == pytest.approx(table.point[0, 0] - table.point[1, 0])
        assert d.low is not None
        assert d.high is not None
        assert d.low < d.value < d.high
        assert d.n == N
    same = difference_estimate((table, 0, 0), (table, 0, 0))
    assert same.value == 0.0
    assert same.interval_undefined is not None
    empty = binary_replicates(
        PatientDraw(PATIENT, 10, 1), masks=np.zeros((1, N), dtype=bool), metrics=["auroc"], reference=Y, score=S
    )
    assert difference_estimate((empty, 0, 0), (empty, 0, 0)).undefined == "no cases"


def test_no_cases_at_all() -> None:
    draw = PatientDraw([], 5, 0)
    assert (draw.n, draw.n_patients, draw.counts(0, 5).shape) == (0, 0, (5, 0))
    nothing = np.zeros(0)
    rows = binary_bootstrap(
        draw, reference=nothing, score=nothing, call=nothing, probability=nothing, metrics=METRICS
    )  # fmt: skip
    assert {e.undefined for e in rows[0]} == {"no cases"}
