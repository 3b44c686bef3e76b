"""Every metric of the catalogue at every edge: an interval with a width, or a reason; never NaN, never a traceback."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalsuite.analyses.tasks import evaluate_task
from evalsuite.errors import InputError
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.report.method_sources import sources_of
from tests.catalogue_study import CLASSES, GRADES, KINDS, LABELS, body, endpoints_of

N = 18
#: Where the whole set may be refused, with the reason, instead of every figure.
REFUSED = ("infinite scores", "scores are no numbers")
EDGES = (
    *("all right", "all wrong", "one case", "first class only", "last class only", "all ties", "one patient"),
    *("no output", "a few outputs missing", "a few references missing", "certain", "no reference", "no cases"),
    "empty stratum",
    *REFUSED,
)


def _data(kind: str, edge: str) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """Case table, predictions and patients of an edge."""
    n = {"one case": 1, "no cases": 0}.get(edge, N)
    rng = np.random.default_rng(5)
    truth = np.arange(n) % (2 if kind in ("binary", "comparator") else 3)
    if edge in ("first class only", "last class only"):
        truth[:] = 0 if edge.startswith("first") else (1 if kind in ("binary", "comparator") else 2)
    called = truth if edge in ("all right", "certain") else (truth + 1) % (truth.max(initial=0) + 1)
    if edge not in ("all right", "all wrong", "certain"):
        called = np.where(rng.random(n) < 0.7, truth, called)
    frame: dict[str, Any] = {
        "site": ["x"] * (n - n // 6) + ["y"] * (n // 6),
        "lesion": [f"l{i // 2}" for i in range(n)],
        "age": ["30"] * n,
    }
    outputs: dict[str, Any] = {}
    sharp = 1.0 if edge == "certain" else 0.8
    if kind in ("binary", "comparator"):
        outputs["p"] = np.where(called == 1, sharp, 1.0 - sharp) + (
            0.0 if edge == "certain" else rng.uniform(0, 0.1, n)
        )
        frame["truth"] = [str(t) for t in truth]
    elif kind == "regression":
        outputs["p"] = truth + (0.0 if edge == "all right" else rng.normal(0, 1, n)) + 10.0
        frame["truth"] = [str(10.0 + t) for t in truth]
    else:
        k = 2 if kind == "multilabel" else 3
        chance = np.full((n, k), (1.0 - sharp) / 2.0)
        chance[np.arange(n), np.minimum(called, k - 1)] = sharp
        outputs |= {f"p{i}": chance[:, i] for i in range(k)}
        names = {"multiclass": CLASSES, "ordinal": GRADES, "multilabel": LABELS}[kind]
        if kind == "multilabel":
            frame |= {label: [str(int(t == i)) for t in truth] for i, label in enumerate(LABELS)}
        else:
            frame["truth"] = [names[t] for t in truth]
    if edge == "all ties":
        outputs = {name: np.full(n, 1.0 / len(outputs) if kind != "regression" else 11.0) for name in outputs}
    if edge in REFUSED:
        odd = [np.inf, -np.inf] if edge.startswith("inf") else [np.nan]
        outputs = {name: np.where(np.arange(n) < 4, np.resize(odd, n), values) for name, values in outputs.items()}
    status = np.full(n, "ok", dtype=object)
    if edge in ("no output", "a few outputs missing"):
        lost = np.ones(n, dtype=bool) if edge == "no output" else np.arange(n) < 3
        status[lost] = "failed"
        outputs = {name: np.where(lost, np.nan, values) for name, values in outputs.items()}
    if edge in ("no reference", "a few references missing"):
        for name in [c for c in frame if c not in ("site", "lesion", "age")]:
            frame[name] = ["" if edge == "no reference" or i < 3 else v for i, v in enumerate(frame[name])]
    ids = [f"c{i}" for i in range(n)]
    predictions = pd.DataFrame(
        {"case_id": ids, "rater": "device", "condition": None, "status": status, "reason": None, **outputs}
    )
    patients = tuple("p" if edge == "one patient" else f"p{i}" for i in range(n))
    return pd.DataFrame(frame), predictions, patients


def _faults(estimate: Any) -> list[str]:
    if estimate.low is not None and not sources_of([estimate.method]):
        return [f"'{estimate.method}' has no source that a report could print"]
    numbers = [estimate.value, estimate.low, estimate.high]
    if any(v is not None and not math.isfinite(v) for v in numbers):
        return ["not finite"]
    if estimate.value is None:
        return [] if estimate.undefined and len(estimate.undefined) > 3 else ["no value and no reason"]
    if estimate.low is None:
        return [] if estimate.interval_undefined else ["no interval and no reason"]
    slack = 1e-9 * max(1.0, abs(estimate.value))
    found = []
    if estimate.high - estimate.low <= 1e-12:
        found.append(f"no width [{estimate.low}, {estimate.high}]")
    # Jeffreys' interval is one of a Bayesian posterior: at 0/n and n/n its tail leaves out the very end.
    inside = estimate.low - slack <= estimate.value <= estimate.high + slack
    if not inside and "Jeffreys" not in estimate.method:
        found.append(f"value {estimate.value} outside [{estimate.low}, {estimate.high}]")
    return found


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("kind", KINDS)
def test_an_interval_with_a_width_or_a_reason(kind: str, edge: str) -> None:
    frame, predictions, patients = _data(kind, edge)
    endpoints = endpoints_of(kind)
    more = {"strata": [{"name": "age", "column": "age", "bins": [60]}]} if edge == "empty stratum" else {}
    protocol = StudyProtocol.model_validate(body(kind, endpoints, **more))
    try:
        results = evaluate_task(
            protocol,
            case_id=tuple(predictions["case_id"]),
            patient_id=patients,
            frame=frame,
            predictions=predictions,
        )
    except InputError:
        if edge in REFUSED:
            return
        raise
    answered = {f.endpoint for f in results.findings}
    assert {e["name"] for e in endpoints} <= answered
    if edge == "empty stratum":
        nobody = [f.estimate for f in results.findings if f.stratum == {"age": ">=60"}]
        assert nobody
        assert all(e.value is None and e.undefined and e.n == 0 for e in nobody)
    wrong = sorted({
        f"{f.endpoint} {dict(f.stratum)} {f.condition or ''}: {fault} ({f.estimate.method})"
        for f in results.findings
        for fault in _faults(f.estimate)
    })  # fmt: skip
    assert wrong == []
