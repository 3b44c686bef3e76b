"""What must hold of every metric of the catalogue: order, level, strata, labels, weights, and a million tied cases."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalsuite.analyses.tasks import evaluate_task
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.bootstrap import METRICS as TWO_CLASS
from evalsuite.stats.bootstrap import PatientDraw, binary_replicates
from evalsuite.types import Estimate
from tests.catalogue_study import CLASSES, GRADES, LABELS, body, endpoints_of

KINDS = ("binary", "multiclass", "multilabel", "ordinal", "regression")
N = 36
FEW = settings(max_examples=1, deadline=None)
Study = tuple[pd.DataFrame, pd.DataFrame, np.ndarray]


def _study(kind: str, seed: int, *, patients: int) -> Study:
    """Case table, outputs and patient of each case; outputs are rounded so that there are ties."""
    rng = np.random.default_rng(seed)
    k = 2 if kind == "binary" else 3
    truth = rng.permutation(np.arange(N) % k)
    frame = pd.DataFrame({"site": np.where(np.arange(N) % 3, "x", "y"), "lesion": [f"l{i // 2}" for i in range(N)]})
    if kind == "binary":
        outputs = {"p": np.clip(np.round(rng.normal(0.33 + 0.35 * truth, 0.2), 2), 0.031, 0.969)}
        frame["truth"] = truth.astype(str)
    elif kind == "regression":
        size = np.round(rng.gamma(5, 10, N), 1)
        outputs = {"p": np.round(size + rng.normal(1, 3, N), 1)}
        frame["truth"] = size.astype(str)
    else:
        names = {"multiclass": CLASSES, "ordinal": GRADES, "multilabel": LABELS}[kind]
        width = len(names)
        raw = rng.dirichlet(np.ones(width), N) + 0.6 * (np.arange(width) == np.minimum(truth, width - 1)[:, None])
        outputs = {f"p{i}": column for i, column in enumerate((raw / raw.sum(axis=1, keepdims=True)).T)}
        if kind == "multilabel":
            for i, label in enumerate(LABELS):
                frame[label] = (truth != i).astype(int).astype(str)
        else:
            frame["truth"] = [names[t] for t in truth]
    return frame, pd.DataFrame(outputs), np.arange(N) // (N // patients)


def _found(kind: str, study: Study, **more: Any) -> dict[tuple[str, str], Estimate]:
    frame, outputs, patient = study
    endpoints = endpoints_of(kind, every_interval=False)
    ids = [f"c{i}" for i in frame.index]
    predictions = outputs.assign(case_id=ids, rater="device", condition=None, status="ok", reason=None)
    results = evaluate_task(
        StudyProtocol.model_validate(body(kind, endpoints, **more)),
        case_id=tuple(ids),
        patient_id=tuple(f"p{i:04d}" for i in patient),
        frame=frame.reset_index(drop=True),
        predictions=predictions.reset_index(drop=True),
    )
    asked = {e["name"] for e in endpoints}
    return {
        (f.endpoint, f.stratum.get("site", "")): f.estimate
        for f in results.findings
        if f.endpoint in asked and f.condition is None and f.analysis in ("performance", "calibration")
    }


def _same(a: Estimate, b: Estimate, *, limits: bool) -> bool:
    pairs = [(a.value, b.value), *([(a.low, b.low), (a.high, b.high)] if limits else [])]
    return all(
        (x is None) == (y is None) and (x is None or math.isclose(x, y, rel_tol=1e-9, abs_tol=1e-9)) for x, y in pairs
    )


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(seed=st.integers(0, 10**6))
def test_the_order_of_cases_changes_no_value_and_no_closed_interval(kind: str, seed: int) -> None:
    frame, outputs, patient = _study(kind, seed, patients=N)
    order = np.random.default_rng(seed).permutation(N)
    first = _found(kind, (frame, outputs, patient), strata=[])
    second = _found(kind, (frame.iloc[order], outputs.iloc[order], patient[order]), strata=[])
    assert set(first) == set(second)
    wrong = [key for key, e in first.items() if not _same(e, second[key], limits=e.replicates is None)]
    assert wrong == []


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(seed=st.integers(0, 10**6), clustered=st.booleans())
def test_intervals_widen_with_the_level_and_hold_the_estimate(kind: str, seed: int, clustered: bool) -> None:
    study = _study(kind, seed, patients=N // 2 if clustered else N)
    narrow, wide = (
        _found(kind, study, strata=[], confidence={"level": level, "bootstrap": {"replicates": 100}})
        for level in (0.9, 0.98)
    )
    wrong = []
    for key, e in narrow.items():
        w = wide[key]
        assert e.value == w.value, key
        if e.low is None or w.low is None or e.high is None or w.high is None:
            continue
        slack = 1e-9 * max(1.0, abs(e.low), abs(e.high))
        if not (w.low - slack <= e.low <= e.value + slack and e.value - slack <= e.high <= w.high + slack):
            wrong.append((key, e.low, e.high, w.low, w.high))
    assert wrong == []


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(seed=st.integers(0, 10**6))
def test_strata_add_up_to_the_whole(kind: str, seed: int) -> None:
    found = _found(kind, _study(kind, seed, patients=N // 2))
    counted = 0
    for (name, site), e in found.items():
        parts = [found[name, "x"], found[name, "y"]]
        if site or e.numerator is None or any(p.numerator is None for p in parts):
            continue
        counted += 1
        for what in ("numerator", "denominator"):
            assert sum(getattr(p, what) for p in parts) == pytest.approx(getattr(e, what), abs=1e-9), (name, what)
    assert counted or kind == "regression"


RANKS = ("auroc", "average_precision", "partial_auroc", "sensitivity_at_specificity", "specificity_at_sensitivity")


@FEW
@given(seed=st.integers(0, 10**6))
def test_an_increasing_map_changes_nothing_about_ranks(seed: int) -> None:
    frame, outputs, patient = _study("binary", seed, patients=N // 2)
    a, b = (_found("binary", (frame, o, patient), strata=[]) for o in (outputs, outputs**3))
    for name in RANKS:
        assert _same(a[name, ""], b[name, ""], limits=True), name


#: What each figure is of the complement: of the other name, or of itself, as it is or with its sign turned.
MIRRORED: Mapping[str, tuple[str, float]] = {
    "sensitivity": ("specificity", 1.0),
    "specificity": ("sensitivity", 1.0),
    "ppv": ("npv", 1.0),
    "npv": ("ppv", 1.0),
    **{m: (m, 1.0) for m in ("accuracy", "balanced_accuracy", "youden", "mcc", "kappa", "auroc", "brier", "log_loss")},
    **{m: (m, 1.0) for m in ("scaled_brier", "calibration_slope", "brier_uncertainty", "smooth_ece", "ici", "e50")},
    **{m: (m, 1.0) for m in ("emax", "spiegelhalter_z")},
    **{m: (m, -1.0) for m in ("calibration_intercept", "recalibration_intercept")},
}


@FEW
@given(seed=st.integers(0, 10**6))
def test_the_complement_mirrors_every_figure(seed: int) -> None:
    """Disease called health and 1 − p for p: intervals without chance are mirrored too."""
    frame, outputs, patient = _study("binary", seed, patients=N)
    outputs = outputs.where(outputs["p"] != 0.5, 0.51)
    other = frame.assign(truth=np.where(frame["truth"] == "1", "0", "1"))
    a = _found("binary", (frame, outputs, patient), strata=[])
    b = _found("binary", (other, 1.0 - outputs, patient), strata=[])
    for name, (mirror, sign) in MIRRORED.items():
        x, y = a[name, ""], b[mirror, ""]
        assert x.value == pytest.approx(sign * y.value, abs=1e-7), name
        if x.replicates is None and x.low is not None:
            ends = (y.low, y.high) if sign > 0 else (-y.high, -y.low)
            assert (x.low, x.high) == pytest.approx(ends, abs=1e-6), name


@FEW
@given(seed=st.integers(0, 10**6))
def test_weights_of_one_change_nothing(seed: int) -> None:
    frame, outputs, patient = _study("binary", seed, patients=N // 2)
    endpoints = endpoints_of("binary", every_interval=False)
    ids = tuple(f"c{i}" for i in range(N))
    results = evaluate_task(
        StudyProtocol.model_validate(body("binary", endpoints, strata=[], analyses={"weighting": {}})),
        case_id=ids,
        patient_id=tuple(map(str, patient)),
        frame=frame.assign(sample_weight="1"),
        predictions=outputs.assign(case_id=ids, rater="device", condition=None, status="ok", reason=None),
    )
    plain = {f.endpoint: f.estimate for f in results.findings if f.analysis == "performance" and not f.stratum}
    weighted = [f for f in results.findings if f.analysis == "weighting" and not f.stratum and f.endpoint in plain]
    assert weighted
    for f in weighted:
        assert f.estimate.value == pytest.approx(plain[f.endpoint].value, abs=1e-12), f.endpoint


def test_a_million_tied_cases_lose_no_digit() -> None:
    """Every two-class metric against integer arithmetic and exactly rounded sums."""
    rng = np.random.default_rng(1)
    n = 1_000_000
    y = rng.random(n) < 0.3
    level = np.clip(rng.integers(0, 90, n) + 9 * y, 1, 98)
    p = level / 99.0
    call = p >= 0.5
    table = binary_replicates(
        PatientDraw(np.arange(n), 2, 0),
        reference=y,
        score=p,
        call=call,
        probability=p,
        metrics=list(TWO_CLASS),
        with_jackknife=False,
    )
    ours = dict(zip(TWO_CLASS, table.point[0], strict=True))
    pos, neg = (np.bincount(level[c], minlength=99).tolist() for c in (y, ~y))
    m, k = sum(pos), sum(neg)
    tp, fp = (sum(c[i] for i in range(99) if i / 99.0 >= 0.5) for c in (pos, neg))
    fn, tn = m - tp, k - fp
    below = wins = 0
    for i in range(99):
        wins += pos[i] * (2 * below + neg[i])
        below += neg[i]
    seen = hit = 0
    steps = []
    for i in reversed(range(99)):
        seen, hit = seen + pos[i] + neg[i], hit + pos[i]
        steps.append(pos[i] * hit / seen if seen else 0.0)
    sums = {
        "brier": [pos[i] * (1 - i / 99.0) ** 2 + neg[i] * (i / 99.0) ** 2 for i in range(99)],
        "log_loss": [-(pos[i] * math.log(i / 99.0) + neg[i] * math.log1p(-i / 99.0)) for i in range(1, 99)],
    }
    exact = {
        "sensitivity": tp / m,
        "specificity": tn / k,
        "ppv": tp / (tp + fp),
        "npv": tn / (tn + fn),
        "accuracy": (tp + tn) / n,
        "prevalence": m / n,
        "call_rate": (tp + fp) / n,
        "f1": 2 * tp / (2 * tp + fp + fn),
        "youden": tp / m + tn / k - 1,
        "balanced_accuracy": (tp / m + tn / k) / 2,
        "lr_positive": (tp / m) / (fp / k),
        "lr_negative": (fn / m) / (tn / k),
        "mcc": (tp * tn - fp * fn) / math.sqrt((tp + fp) * m * k * (tn + fn)),
        "kappa": (n * (tp + tn) - (tp + fp) * m - (fn + tn) * k) / (n * n - (tp + fp) * m - (fn + tn) * k),
        "auroc": wins / (2 * m * k),
        "average_precision": math.fsum(steps) / m,
        **{name: math.fsum(parts) / n for name, parts in sums.items()},
        "observed_expected": m / math.fsum((pos[i] + neg[i]) * (i / 99.0) for i in range(99)),
    }
    for name, value in exact.items():
        assert ours[name] == pytest.approx(value, rel=1e-12), name
    assert set(TWO_CLASS) - set(exact) == {"ece", "mce"}
