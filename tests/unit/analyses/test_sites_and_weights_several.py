"""Sites and sampling weights with classes, labels, grades and measurements: against scipy, numpy and binary studies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from evalsuite.analyses.tasks import evaluate_task
from evalsuite.protocol.load import check_protocol
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.protocol.support import unsupported
from evalsuite.types import Estimate

N = 300
CLASSES = ["mel", "nv", "bcc"]
SITES = np.array(["a", "b", "c", "d", "e"])[np.arange(N) % 5]
MULTICLASS = {"kind": "multiclass", "reference": "truth", "classes": CLASSES, "score": [f"p_{c}" for c in CLASSES]}
ORDINAL = {"kind": "ordinal", "reference": "truth", "classes": CLASSES, "score": "grade"}
REGRESSION = {"kind": "regression", "reference": "size", "score": "mm"}


def protocol(task: dict[str, Any], endpoints: list[dict[str, Any]], **analyses: Any) -> StudyProtocol:
    made = StudyProtocol.model_validate(
        {
            "schema": "evalsuite/protocol/1",
            "id": "t",
            "version": "1",
            "title": "t",
            "kind": "standalone",
            "intended_use": {},
            "task": task,
            "unit": {},
            "endpoints": [
                {**endpoints[0], "role": "primary", "criterion": {"bound": "lower", "op": ">", "value": 0.1}},
                *endpoints[1:],
            ],
            "strata": [{"name": "site", "column": "site"}],
            "confidence": {"bootstrap": {"replicates": 100}},
            "analyses": analyses,
            "seed": 7,
        }
    )
    assert check_protocol(made) == []
    assert unsupported(made, {e["metric"] for e in endpoints}) == []
    return made


def run(study: StudyProtocol, frame: dict[str, Any], outputs: dict[str, Any]):
    ids = tuple(f"c{i}" for i in range(N))
    return evaluate_task(
        study,
        case_id=ids,
        patient_id=ids,
        frame=pd.DataFrame({"site": SITES, **frame}),
        predictions=pd.DataFrame({"case_id": ids, "status": "ok", **outputs}),
    )


def found(results, endpoint: str, condition: str, metric: str | None = None, **stratum: str) -> Estimate:
    hits = [
        f
        for f in results.findings
        if (f.endpoint, f.condition, dict(f.stratum)) == (endpoint, condition, stratum)
        and (metric is None or f.metric == metric)
        and f.analysis in ("generalisation", "weighting")
    ]
    assert len(hits) == 1
    return hits[0].estimate


def reml(y: np.ndarray, v: np.ndarray) -> tuple[float, float]:
    """Mean and between-site standard deviation that maximise the restricted likelihood, numerically."""

    def loss(t: float) -> float:
        w = 1 / (v + t)
        mean = (w * y).sum() / w.sum()
        return 0.5 * (np.log(v + t).sum() + np.log(w.sum()) + (w * (y - mean) ** 2).sum())

    top = float(10 * y.var() + 1e-6)
    t = optimize.minimize_scalar(loss, bounds=(0, top), method="bounded", options={"xatol": 1e-12}).x
    t = 0.0 if loss(0.0) <= loss(t) else float(t)
    w = 1 / (v + t)
    return float((w * y).sum() / w.sum()), float(np.sqrt(t))


def classified(seed: int = 2):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, N)
    strength = np.where(SITES == "e", 0.15, 0.5)[:, None]
    p = rng.dirichlet(np.ones(3), N) + strength * np.eye(3)[truth]
    return truth, p / p.sum(axis=1, keepdims=True)


def test_the_average_over_sites_of_an_accuracy_is_the_restricted_likelihood_s() -> None:
    truth, p = classified()
    asked = [{"name": "right", "metric": "accuracy"}, {"name": "mel", "metric": "auroc", "target": "mel"}]
    study = protocol(MULTICLASS, asked, generalisation={"site": "site", "endpoints": ["right", "mel"]})
    results = run(study, {"truth": [CLASSES[t] for t in truth]}, {f"p_{c}": p[:, i] for i, c in enumerate(CLASSES)})
    right = p.argmax(axis=1) == truth
    yes = np.array([right[s == SITES].sum() for s in "abcde"], dtype=float)
    no = np.array([(~right[s == SITES]).sum() for s in "abcde"], dtype=float)
    mean, tau = reml(np.log(yes / no), 1 / yes + 1 / no)
    average = found(results, "right", "average_site")
    assert average.value == pytest.approx(1 / (1 + np.exp(-mean)), abs=1e-5)
    assert found(results, "right", "between_sites", "heterogeneity_tau").value == pytest.approx(tau, abs=2e-4)
    own = found(results, "right", "site", site="a")
    assert (own.numerator, own.denominator) == (yes[0], yes[0] + no[0])
    assert found(results, "right", "leave_out=e").value > average.value
    new = found(results, "right", "new_site")
    assert new.low < average.low < average.high < new.high

    # One class against the rest is a binary study of that class.
    binary = protocol(
        {"kind": "binary", "reference": "truth", "positive": "mel", "score": "p_mel"},
        [{"name": "mel", "metric": "auroc"}],
        generalisation={"site": "site", "endpoints": ["mel"]},
    )
    alone = run(binary, {"truth": [CLASSES[t] for t in truth]}, {"p_mel": p[:, 0]})
    for condition in ("average_site", "new_site", "leave_out=b"):
        assert found(results, "mel", condition) == found(alone, "mel", condition)


def test_an_average_over_classes_is_modelled_where_a_site_s_interval_reaches_one() -> None:
    truth, p = classified()
    asked = [{"name": "area", "metric": "macro_auroc", "interval": "percentile"}]
    study = protocol(MULTICLASS, asked, generalisation={"site": "site", "endpoints": ["area"]})
    results = run(study, {"truth": [CLASSES[t] for t in truth]}, {f"p_{c}": p[:, i] for i, c in enumerate(CLASSES)})
    own = [found(results, "area", "site", site=s) for s in "abcde"]
    y = np.array([e.value for e in own])
    error = np.array([(e.high - e.low) / (2 * stats.norm.ppf(0.975)) for e in own]) / (y * (1 - y))
    mean, _ = reml(np.log(y / (1 - y)), error**2)
    assert found(results, "area", "average_site").value == pytest.approx(1 / (1 + np.exp(-mean)), abs=1e-4)


def test_agreement_and_error_over_sites_come_from_each_site_s_interval() -> None:
    rng = np.random.default_rng(4)
    size = rng.gamma(5, 10, N)
    measured = size + rng.normal(1, 2, N) + np.where(SITES == "e", 2.0, 0.0)
    study = protocol(
        REGRESSION,
        [{"name": "bias", "metric": "bias"}, {"name": "mae", "metric": "mae"}],
        generalisation={"site": "site", "endpoints": ["bias", "mae"]},
    )
    results = run(study, {"size": [repr(float(v)) for v in size]}, {"mm": measured})
    gaps = [(measured - size)[s == SITES] for s in "abcde"]
    # The variance is read back from a t interval of 60 cases a site with the normal quantile.
    stretch = stats.t.ppf(0.975, 59) / stats.norm.ppf(0.975)
    mean, tau = reml(np.array([g.mean() for g in gaps]), np.array([g.var(ddof=1) / len(g) * stretch**2 for g in gaps]))
    assert found(results, "bias", "average_site").value == pytest.approx(mean, abs=1e-4)
    assert found(results, "bias", "between_sites", "heterogeneity_tau").value == pytest.approx(tau, abs=1e-3)
    assert "identity scale" in found(results, "bias", "average_site").method
    grade = np.clip(np.arange(N) % 3 + (rng.random(N) < 0.2), 0, 2).astype(float)
    study = protocol(
        ORDINAL,
        [{"name": "kappa", "metric": "quadratic_kappa"}],
        generalisation={"site": "site", "endpoints": ["kappa"]},
    )
    results = run(study, {"truth": [CLASSES[i % 3] for i in range(N)]}, {"grade": grade})
    own = [found(results, "kappa", "site", site=s).value for s in "abcde"]
    assert min(own) <= found(results, "kappa", "average_site").value <= max(own)


def test_weights_of_a_class_are_those_of_a_binary_study_of_it() -> None:
    truth, p = classified()
    weight = [str(w) for w in np.where(truth == 0, 1.0, 4.0)]
    asked = [
        {"name": "found", "metric": "sensitivity", "target": "nv"},
        {"name": "area", "metric": "auroc", "target": "nv"},
    ]
    frame = {"truth": [CLASSES[t] for t in truth], "sample_weight": weight}
    columns = {f"p_{c}": p[:, i] for i, c in enumerate(CLASSES)}
    results = run(protocol(MULTICLASS, asked, weighting={}), frame, columns)
    called = p.argmax(axis=1) == 1
    w = np.asarray(weight, dtype=float)
    positive = truth == 1
    assert found(results, "found", "weighted").value == pytest.approx((w * called)[positive].sum() / w[positive].sum())
    wins = (p[positive, 1][:, None] > p[~positive, 1][None, :]).astype(float)
    pairs = w[positive][:, None] * w[~positive][None, :]
    assert found(results, "area", "weighted").value == pytest.approx((wins * pairs).sum() / pairs.sum())
    binary = protocol(
        {"kind": "binary", "reference": "truth", "positive": "nv", "score": "p_nv"},
        [{"name": "area", "metric": "auroc"}],
        weighting={},
    )
    assert found(results, "area", "weighted") == found(run(binary, frame, columns), "area", "weighted")
    assert any("unweighted" in n for n in results.notes)


@pytest.mark.parametrize(
    ("task", "analysis", "words"),
    [
        (MULTICLASS, {"verification": {"verified": "biopsied"}}, "one yes/no call"),
        (MULTICLASS, {"utility": {}}, "one action against none"),
        (ORDINAL, {"weighting": {}}, "no weighted interval"),
        (REGRESSION, {"weighting": {}}, "no weighted interval"),
    ],
)
def test_what_has_no_sound_definition_is_refused_in_words(task, analysis, words) -> None:
    metric = {"multiclass": "accuracy", "ordinal": "accuracy", "regression": "bias"}[task["kind"]]
    study = protocol(task, [{"name": "x", "metric": metric}])
    asked = study.model_copy(update={"analyses": study.analyses.model_validate(analysis)})
    (problem,) = unsupported(asked, {metric})
    assert words in problem.what
    assert "this version" not in problem.what
