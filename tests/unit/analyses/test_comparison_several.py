"""Paired differences of tasks with classes, labels, grades and measurements: against scikit-learn, scipy, numpy's
quantiles on copied cases, and every allocation of cases without reference."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats as scipy_stats
from sklearn import metrics as sk

from evalsuite.analyses.tasks import evaluate_task
from evalsuite.errors import ProtocolError
from evalsuite.judging import judge
from evalsuite.protocol.load import parse_protocol
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.protocol.support import unsupported
from evalsuite.stats.clustered_tests import clustered_paired_difference
from evalsuite.stats.draw import PatientDraw
from evalsuite.types import Estimate, Evidence

N, B, SEED = 90, 100, 7
CLASSES = ["mel", "nv", "bcc"]
LABELS = ["effusion", "nodule"]
GRADES = ["none", "mild", "severe"]
MULTICLASS = {"kind": "multiclass", "reference": "truth", "classes": CLASSES, "score": [f"p_{c}" for c in CLASSES]}
MULTILABEL = {"kind": "multilabel", "reference": LABELS, "score": [f"p_{c}" for c in LABELS]}
ORDINAL = {"kind": "ordinal", "reference": "truth", "classes": GRADES, "score": [f"p_{c}" for c in GRADES]}
REGRESSION = {"kind": "regression", "reference": "size", "score": "mm"}
FIRST = {"multiclass": "accuracy", "multilabel": "macro_auroc", "ordinal": "accuracy", "regression": "mae"}


def protocol(task: dict[str, Any], *comparisons: dict[str, Any], **more: Any) -> StudyProtocol:
    base = {
        "schema": "evalsuite/protocol/1",
        "id": "t",
        "version": "1",
        "title": "t",
        "kind": "comparison",
        "intended_use": {},
        "task": task,
        "unit": {},
        "operating_points": [{"name": "primary", "threshold": 0.5}] if task["kind"] == "multilabel" else [],
        "endpoints": [{"name": "first", "metric": FIRST[task["kind"]]}],
        "comparisons": [{"role": "primary", "hypothesis": "superiority", **comparisons[0]}, *comparisons[1:]],
        "confidence": {"bootstrap": {"replicates": B, "interval": "percentile"}},
        "seed": SEED,
        **more,
    }
    return parse_protocol(yaml.safe_dump(base).encode())


def table(columns: dict[str, Any]) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    lost = np.isnan(np.asarray(next(iter(columns.values())), dtype=float))
    return pd.DataFrame({"case_id": [f"c{i}" for i in range(n)], "status": np.where(lost, "failed", "ok"), **columns})


def run(study: StudyProtocol, frame: dict[str, Any], first: Any, second: Any, *, per_patient: int = 1):
    n = len(next(iter(frame.values())))
    return evaluate_task(
        study,
        case_id=tuple(f"c{i}" for i in range(n)),
        patient_id=tuple(f"p{i // per_patient}" for i in range(n)),
        frame=pd.DataFrame(frame),
        predictions=table(first),
        baseline=table(second),
    )


def difference(results, name: str, condition: str | None = None, which: str | None = "baseline", **stratum) -> Estimate:
    hits = [
        f
        for f in results.findings
        if f.endpoint == name
        and f.reference_group == which
        and f.condition == condition
        and dict(f.stratum) == stratum
        and f.analysis != "multiplicity"
    ]
    assert len(hits) == 1
    return hits[0].estimate


def own(results, name: str) -> tuple[float, float]:
    return tuple(difference(results, name, who, None).value for who in ("candidate", "baseline"))  # type: ignore[return-value]


def classified(names: list[str], strength: float, seed: int, n: int = N):
    truth = np.random.default_rng(1).integers(0, len(names), n)
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(len(names)), n) + strength * np.eye(len(names))[truth]
    p /= p.sum(axis=1, keepdims=True)
    return truth, p


def as_columns(p: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    return {f"p_{c}": p[:, i] for i, c in enumerate(names)}


def copied(statistic, *, per_patient: int = 1, n: int = N) -> tuple[float, float]:
    """Percentile limits of a statistic of case numbers, every drawn patient's cases copied as often as drawn."""
    draw = PatientDraw(np.arange(n) // per_patient, replicates=B, seed=SEED)
    values = []
    for row in draw.counts(0, B):
        values.append(statistic(np.repeat(np.arange(n), row[draw.patient])))
    return tuple(np.quantile(values, [0.025, 0.975]))  # type: ignore[return-value]


# --- classes ----------------------------------------------------------------------------------------------------------


def test_differences_of_classes_are_those_of_scikit_learn_on_the_same_resamples() -> None:
    truth, a = classified(CLASSES, 0.8, 2)
    _, b = classified(CLASSES, 0.4, 3)
    study = protocol(
        MULTICLASS,
        {"name": "area", "metric": "macro_auroc"},
        {"name": "kappa", "metric": "kappa"},
        {"name": "brier", "metric": "multiclass_brier"},
        {"name": "found", "metric": "macro_sensitivity"},
    )
    results = run(
        study, {"truth": [CLASSES[t] for t in truth]}, *(as_columns(p, CLASSES) for p in (a, b)), per_patient=2
    )

    def area(i, p):
        return sk.roc_auc_score(truth[i], p[i], multi_class="ovr")

    def brier(i, p):
        return ((p[i] - np.eye(3)[truth[i]]) ** 2).sum(axis=1).mean()

    def kappa(i, p):
        return sk.cohen_kappa_score(truth[i], p[i].argmax(axis=1))

    def found(i, p):
        return sk.balanced_accuracy_score(truth[i], p[i].argmax(axis=1))

    everyone = np.arange(N)
    for name, f in (("area", area), ("kappa", kappa), ("brier", brier), ("found", found)):
        e = difference(results, name)
        assert e.value == pytest.approx(f(everyone, a) - f(everyone, b), abs=1e-12), name
        limits = copied(lambda i, f=f: f(i, a) - f(i, b), per_patient=2)
        assert (e.low, e.high) == pytest.approx(limits, abs=1e-9), name
        assert own(results, name) == pytest.approx((f(everyone, a), f(everyone, b)), abs=1e-12)
        assert e.n_patients == N // 2


def test_accuracy_of_classes_and_grades_has_mcnemars_test_and_a_score_interval() -> None:
    for task, names, metric in ((MULTICLASS, CLASSES, "accuracy"), (ORDINAL, GRADES, "adjacent_agreement")):
        truth, a = classified(names, 0.5, 2)
        _, b = classified(names, 0.2, 3)
        reach = 0 if metric == "accuracy" else 1
        right = [np.abs(p.argmax(axis=1) - truth) <= reach for p in (a, b)]
        results = run(
            protocol(task, {"name": "right", "metric": metric}),
            {"truth": [names[t] for t in truth]},
            *(as_columns(p, names) for p in (a, b)),
        )
        only = (int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()))
        e = difference(results, "right")
        assert e.value == pytest.approx((only[0] - only[1]) / N)
        assert e.method.startswith("Tango")
        exact = next(t for t in results.tests if t.method == "McNemar exact")
        assert exact.p_value == pytest.approx(scipy_stats.binomtest(min(only), sum(only)).pvalue)
        # Tango's limits are where the score statistic has the normal quantile.
        for limit in (e.low, e.high):
            assert abs(tango(only, N, limit)) == pytest.approx(scipy_stats.norm.ppf(0.975), abs=1e-6)


def tango(only: tuple[int, int], n: int, delta: float) -> float:
    """Tango 1998, with the restricted estimate found by maximising the likelihood numerically."""
    b, c = only
    grid = np.linspace(max(0.0, -delta) + 1e-12, (1 - delta) / 2 - 1e-12, 2_000_001)
    likelihood = (
        b * np.log(np.maximum(grid + delta, 1e-300)) + c * np.log(grid) + (n - b - c) * np.log(1 - 2 * grid - delta)
    )
    q = grid[np.argmax(likelihood)]
    return (b - c - n * delta) / np.sqrt(n * (2 * q + delta * (1 - delta)))


def test_one_label_or_class_is_compared_as_in_a_binary_task() -> None:
    rng = np.random.default_rng(4)
    truth = rng.random((N, 2)) < [0.4, 0.3]
    a, b = (1 / (1 + np.exp(-(rng.normal(size=(N, 2)) + g * truth - g / 2))) for g in (2.5, 1.5))
    asked = [
        {"name": "area", "metric": "auroc", "target": "nodule"},
        {"name": "found", "metric": "sensitivity", "at": "primary", "target": "nodule"},
        {"name": "all right", "metric": "subset_accuracy", "at": "primary"},
        {"name": "map", "metric": "macro_average_precision"},
    ]
    frame = {c: np.where(truth[:, i], "1", "0") for i, c in enumerate(LABELS)}
    results = run(protocol(MULTILABEL, *asked), frame, *(as_columns(p, LABELS) for p in (a, b)))
    single = StudyProtocol.model_validate(
        {
            **protocol(MULTILABEL, *asked).model_dump(by_alias=True),
            "task": {"kind": "binary", "reference": "nodule", "score": "p_nodule"},
            "comparisons": [{**c, "target": None} for c in asked[:2]],
            "endpoints": [{"name": "first", "metric": "auroc"}],
        }
    )
    alone = run(single, frame, *(as_columns(p, LABELS) for p in (a, b)))
    for name in ("area", "found"):
        assert difference(results, name) == difference(alone, name)
    assert {t.method for t in results.tests if t.endpoint == "area"} >= {"DeLong, paired, two-sided z"}
    exact = [((p >= 0.5) == truth).all(axis=1).mean() for p in (a, b)]
    assert difference(results, "all right").value == pytest.approx(exact[0] - exact[1])
    expected = [sk.average_precision_score(truth, p, average="macro") for p in (a, b)]
    assert own(results, "map") == pytest.approx(expected)


# --- what is missing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["accuracy", "multiclass_brier"])
def test_cases_without_reference_get_the_classes_that_are_worst_for_the_candidate(metric: str) -> None:
    truth, a = classified(CLASSES, 0.5, 2, n=30)
    _, b = classified(CLASSES, 0.4, 3, n=30)
    gone = [0, 7, 11, 20]
    names: list[str] = [CLASSES[t] for t in truth]
    study = protocol(MULTICLASS, {"name": "d", "metric": metric})
    columns = [as_columns(p, CLASSES) for p in (a, b)]
    results = run(study, {"truth": ["" if i in gone else c for i, c in enumerate(names)]}, *columns)

    def value(labels: list[int]) -> float:
        if metric == "accuracy":
            return sk.accuracy_score(labels, a.argmax(axis=1)) - sk.accuracy_score(labels, b.argmax(axis=1))
        wanted = np.eye(3)[labels]
        return float(((a - wanted) ** 2).sum(axis=1).mean() - ((b - wanted) ** 2).sum(axis=1).mean())

    every = []
    for choice in itertools.product(range(3), repeat=len(gone)):
        labels = truth.copy()
        labels[gone] = choice
        every.append(value(list(labels)))
    worst, best = (min(every), max(every)) if metric == "accuracy" else (max(every), min(every))
    assert difference(results, "d").value == pytest.approx(worst)
    assert difference(results, "d", "missing_reference=best_case").value == pytest.approx(best)
    kept = [i for i in range(30) if i not in gone]
    assert difference(results, "d", "missing_reference=exclude").n == len(kept)


def test_a_missing_output_is_wrong_for_the_candidate_and_right_for_the_baseline() -> None:
    truth, a = classified(CLASSES, 0.5, 2)
    _, b = classified(CLASSES, 0.5, 3)
    called = [p.argmax(axis=1) == truth for p in (a, b)]
    a[:6], b[6:10] = np.nan, np.nan
    study = protocol(
        MULTICLASS, {"name": "right", "metric": "accuracy"}, {"name": "area", "metric": "macro_auroc"},
        strata=["sex"], small_strata={"suppress_below": 2},
    )  # fmt: skip
    frame = {"truth": [CLASSES[t] for t in truth], "sex": ["f", "m"] * (N // 2)}
    results = run(study, frame, *(as_columns(p, CLASSES) for p in (a, b)))
    first, second = called[0].copy(), called[1].copy()
    first[:6], second[6:10] = False, True
    assert difference(results, "right").value == pytest.approx(first.mean() - second.mean())
    first[:6], second[6:10] = True, False
    assert difference(results, "right", "missing_outputs=best_case").value == pytest.approx(
        first.mean() - second.mean()
    )
    kept = slice(10, None)
    excluded = difference(results, "right", "missing_outputs=exclude")
    assert excluded.value == pytest.approx(called[0][kept].mean() - called[1][kept].mean())
    assert excluded.n == N - 10
    worst, best = (difference(results, "area", f"missing_outputs={p}").value for p in ("worst_case", "best_case"))
    assert worst < difference(results, "area", "missing_outputs=exclude").value < best
    assert difference(results, "right", sex="f").n == N // 2
    assert any("6 cases of the candidate, 4 of the baseline" in note for note in results.notes)


def test_exchanging_the_devices_changes_the_sign() -> None:
    truth, a = classified(GRADES, 0.6, 2)
    _, b = classified(GRADES, 0.3, 3)
    asked = [
        {"name": m, "metric": m} for m in ("quadratic_kappa", "kendall_tau_b", "gwet_ac2", "vus", "rps", "accuracy")
    ]
    columns = [as_columns(p, GRADES) for p in (a, b)]
    frame = {"truth": [GRADES[t] for t in truth]}
    there, back = (run(protocol(ORDINAL, *asked), frame, *c) for c in (columns, columns[::-1]))
    for name in (c["name"] for c in asked):
        one, other = difference(there, name), difference(back, name)
        assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low), abs=1e-9), name


# --- measurements -----------------------------------------------------------------------------------------------------


def measurements():
    rng = np.random.default_rng(9)
    size = rng.gamma(5, 10, N)
    return size, size + rng.normal(0.3, 1.5, N), size + rng.normal(0.6, 3, N)


def test_errors_of_two_devices_are_compared_on_the_same_resamples() -> None:
    size, a, b = measurements()
    study = protocol(
        REGRESSION,
        {"name": "mae", "metric": "mae"},
        {"name": "rmse", "metric": "rmse"},
        {"name": "bias", "metric": "bias", "hypothesis": "equivalence", "margin": 1.5},
        {"name": "near", "metric": "coverage_probability", "tolerance": 2.0, "hypothesis": "non_inferiority",
         "margin": 0.05},
        {"name": "ccc", "metric": "ccc"},
    )  # fmt: skip
    results = run(study, {"size": [repr(float(v)) for v in size]}, {"mm": a}, {"mm": b}, per_patient=3)
    figures = {
        "mae": lambda i, d: np.abs(d[i] - size[i]).mean(),
        "rmse": lambda i, d: np.sqrt(((d[i] - size[i]) ** 2).mean()),
        "bias": lambda i, d: (d[i] - size[i]).mean(),
        "near": lambda i, d: (np.abs(d[i] - size[i]) <= 2.0).mean(),
        "ccc": lambda i, d: (
            2 * np.cov(d[i], size[i], ddof=0)[0, 1] / (d[i].var() + size[i].var() + (d[i] - size[i]).mean() ** 2)
        ),
    }
    for name, f in figures.items():
        e = difference(results, name)
        assert e.value == pytest.approx(f(np.arange(N), a) - f(np.arange(N), b), abs=1e-9), name
        if name == "near":
            right = [np.abs(d - size) <= 2.0 for d in (a, b)]
            wanted = clustered_paired_difference(*right, np.arange(N) // 3)
            assert (e.low, e.high) == (wanted.low, wanted.high)
            continue
        limits = copied(lambda i, f=f: f(i, a) - f(i, b), per_patient=3)
        assert (e.low, e.high) == pytest.approx(limits, abs=1e-9), name
    evidence = Evidence(
        protocol={}, testset={}, model={}, predictions={}, software={}, findings=results.findings, tests=results.tests,
        accounting=results.accounting,
    )  # fmt: skip
    outcome = {(c.endpoint, c.criterion["bound"]): c.outcome for c in judge(study, evidence).criteria}
    assert outcome["mae", "upper"] == "met"
    assert outcome["bias", "lower"] == outcome["bias", "upper"] == "met"
    assert outcome["near", "lower"] == "met"


def test_a_measurement_that_is_missing_needs_a_largest_error() -> None:
    size, a, b = measurements()
    a[:3] = np.nan
    study = protocol(
        REGRESSION,
        {"name": "bounded", "metric": "mae", "maximum": 40.0},
        {"name": "unbounded", "metric": "rmse"},
        {"name": "agreement", "metric": "icc"},
        {"name": "high", "metric": "bias", "criterion": {"bound": "upper", "op": "<", "value": 1.0}, "maximum": 10.0},
        {"name": "either", "metric": "bias", "hypothesis": "equivalence", "margin": 1.0, "maximum": 10.0},
        {"name": "near", "metric": "coverage_probability", "tolerance": 2.0},
    )
    results = run(study, {"size": [repr(float(v)) for v in size]}, {"mm": a}, {"mm": b})
    error = np.abs(a - size)
    error[:3] = 40.0
    assert difference(results, "bounded").value == pytest.approx(error.mean() - np.abs(b - size).mean())
    near = [np.abs(d - size) <= 2.0 for d in (a, b)]  # a missing measurement is near nothing
    assert difference(results, "near").value == pytest.approx(near[0].mean() - near[1].mean())
    assert "declares no largest error" in difference(results, "unbounded").undefined
    assert "no worst case" in difference(results, "agreement").undefined
    gap = np.where(np.arange(N) < 3, 10.0, a - size)
    assert difference(results, "high").value == pytest.approx(gap.mean() - (b - size).mean())
    assert "to which side" in difference(results, "either").undefined
    assert difference(results, "either", "missing_outputs=exclude").value is not None


# --- several comparisons, and what a protocol may say -----------------------------------------------------------------


def test_comparisons_share_an_error_rate() -> None:
    truth, a = classified(CLASSES, 0.9, 2)
    _, b = classified(CLASSES, 0.3, 3)
    asked = [
        {"name": "area", "metric": "macro_auroc", "role": "primary", "hypothesis": "superiority"},
        {"name": "mel", "metric": "auroc", "target": "mel", "role": "primary", "hypothesis": "superiority"},
        {"name": "nv", "metric": "sensitivity", "target": "nv", "role": "primary", "hypothesis": "superiority"},
    ]
    study = protocol(MULTICLASS, *asked, decision_rule="any_primary", multiplicity={"method": "holm"})
    results = run(study, {"truth": [CLASSES[t] for t in truth]}, *(as_columns(p, CLASSES) for p in (a, b)))
    tests = {t.endpoint: t for t in results.tests if t.p_adjusted is not None}
    assert set(tests) == {"area", "mel", "nv"}
    bounds = {f.endpoint: f.estimate for f in results.findings if f.condition == "multiplicity=holm"}
    assert max(e.level for e in bounds.values()) > 0.95
    for name, e in bounds.items():
        assert (e.low > 0) == (tests[name].p_adjusted <= 0.025)


@pytest.mark.parametrize(
    ("task", "asked", "words"),
    [
        (MULTICLASS, {"metric": "auroc"}, "is of one class against the others"),
        (MULTICLASS, {"metric": "auroc", "target": "mole"}, "unknown class 'mole'"),
        (MULTICLASS, {"metric": "accuracy", "at": "primary"}, "needs no operating point"),
        (MULTICLASS, {"metric": "quadratic_kappa"}, "does not fit a multiclass task"),
        (MULTICLASS, {"metric": "top_k_accuracy"}, "required field missing"),
        (MULTICLASS, {"metric": "top_label_ece"}, "no difference of 'top_label_ece' is estimated"),
        (MULTILABEL, {"metric": "macro_f1"}, "needs an operating point"),
        (ORDINAL, {"metric": "accuracy", "target": "mild"}, "has no target classes"),
        (REGRESSION, {"metric": "mae", "tolerance": 2.0}, "has no setting 'tolerance'"),
        (REGRESSION, {"metric": "coverage_probability"}, "required field missing"),
        (REGRESSION, {"metric": "mae", "interval": "tango"}, "does not fit a difference"),
    ],
)
def test_contradictions_are_said(task, asked, words) -> None:
    with pytest.raises(ProtocolError) as error:
        protocol(task, {"name": "d", **asked})
    assert any(words in p.what for p in error.value.problems), [p.what for p in error.value.problems]


@pytest.mark.parametrize("task", [MULTICLASS, MULTILABEL, ORDINAL, REGRESSION])
def test_comparisons_are_carried_out_in_every_kind_of_task(task) -> None:
    study = protocol(task, {"name": "d", "metric": FIRST[task["kind"]]})
    assert unsupported(study, [FIRST[task["kind"]]]) == []
