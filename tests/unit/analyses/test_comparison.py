"""Paired differences: against closed forms, R's figures, every allocation of missing cases, and each other."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalsuite.analyses.common import Results
from evalsuite.analyses.paired import Cutoff, pair_up
from evalsuite.analyses.performance import evaluate_binary
from evalsuite.analyses.population import Population, build_population
from evalsuite.judging import judge
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.differences import PairedCounts, paired_difference
from evalsuite.types import Evidence, Finding

POINT = {"name": "primary", "threshold": 0.5}


def protocol(*comparisons: dict[str, Any], **more: Any) -> StudyProtocol:
    return StudyProtocol.model_validate(
        {
            "schema": "evalsuite/protocol/1",
            "id": "t",
            "version": "1",
            "title": "t",
            "kind": "comparison",
            "intended_use": {},
            "task": {"kind": "binary", "reference": "truth", "score": "p"},
            "unit": {},
            "operating_points": [POINT],
            "endpoints": [{"name": "area", "metric": "auroc"}],
            "comparisons": list(comparisons),
            "confidence": {"bootstrap": {"replicates": 200}},
            "seed": 7,
            **more,
        }
    )


def table(scores: Any) -> pd.DataFrame:
    values = np.asarray(scores, dtype=float)
    return pd.DataFrame(
        {
            "case_id": [f"c{i}" for i in range(len(values))],
            "status": ["failed" if np.isnan(v) else "ok" for v in values],
            "p": values,
        }
    )


def evaluated(
    study: StudyProtocol, truth: Any, first: Any, second: Any, *, per_patient: int = 1, **columns: Any
) -> Results:
    n = len(truth)
    return evaluate_binary(
        study,
        case_id=tuple(f"c{i}" for i in range(n)),
        patient_id=tuple(f"p{i // per_patient}" for i in range(n)),
        frame=pd.DataFrame({"truth": [str(t) for t in truth], **columns}),
        predictions=table(first),
        baseline=table(second),
    )


def difference(results: Results, name: str, condition: str | None = None, **stratum: str) -> Finding:
    return next(
        f
        for f in results.findings
        if f.endpoint == name
        and f.reference_group == "baseline"
        and f.condition == condition
        and dict(f.stratum) == stratum
    )


def simulated(n: int = 200, seed: int = 5) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.4).astype(int)
    signal = 1.5 * truth + rng.normal(size=n)
    first = 1 / (1 + np.exp(-(signal - 0.8)))
    second = 1 / (1 + np.exp(-(0.7 * signal + rng.normal(size=n) - 0.6)))
    return truth, first, second


def test_paired_delong_gives_the_published_figures(shared_golden: Path) -> None:
    """pROC 1.18.0: roc.test(s100b, ndka, paired = TRUE) on the aSAH data; figures in asah.expected.json."""
    cases = pd.read_csv(shared_golden / "asah.csv")
    expected = json.loads((shared_golden / "asah.expected.json").read_text())["delong_paired"]["s100b_vs_ndka"]
    study = protocol(
        {"name": "gain", "metric": "auroc"},
        task={"kind": "binary", "reference": "truth", "score": "p", "probability": False},
        operating_points=[],
    )
    truth = [int(o == "Poor") for o in cases["outcome"]]
    results = evaluated(study, truth, cases["s100b"], cases["ndka"])
    estimate = difference(results, "gain").estimate
    assert [estimate.low, estimate.high] == pytest.approx(expected["conf_int"], abs=1e-6)
    test = next(t for t in results.tests if t.name == "gain: no difference")
    assert test.statistic == pytest.approx(expected["statistic"], abs=1e-6)
    assert test.p_value == pytest.approx(expected["p"], abs=1e-6)


def test_proportions_are_compared_by_tango_and_mcnemar() -> None:
    truth, first, second = simulated()
    study = protocol(
        {"name": "sens", "metric": "sensitivity", "at": "primary"},
        {"name": "spec", "metric": "specificity_difference", "at": "primary", "interval": "newcombe"},
    )
    results = evaluated(study, truth, first, second)
    for name, positive, method in (("sens", 1, "tango"), ("spec", 0, "newcombe")):
        among = truth == positive
        a, b = ((s >= 0.5) == (truth == 1) for s in (first, second))
        counts = PairedCounts(
            both=int((a & b & among).sum()),
            first_only=int((a & ~b & among).sum()),
            second_only=int((~a & b & among).sum()),
            neither=int((~a & ~b & among).sum()),
        )
        wanted = paired_difference(counts, level=0.95, method=method)  # type: ignore[arg-type]
        got = difference(results, name).estimate
        assert (got.value, got.low, got.high, got.n) == (wanted.value, wanted.low, wanted.high, int(among.sum()))
        exact = next(t for t in results.tests if t.endpoint == name and t.method == "McNemar exact")
        assert exact.statistic == min(counts.first_only, counts.second_only)


@pytest.mark.parametrize(
    "metric",
    ["sensitivity", "ppv", "f1", "kappa", "auroc", "average_precision", "brier", "log_loss", "net_benefit"],
)
@pytest.mark.parametrize("per_patient", [1, 4])
def test_a_difference_is_that_of_the_two_values_and_turns_with_them(metric: str, per_patient: int) -> None:
    truth, first, second = simulated()
    called = metric in ("sensitivity", "ppv", "f1", "kappa", "net_benefit")
    study = protocol({"name": "x", "metric": metric, **({"at": "primary"} if called else {})})
    results = evaluated(study, truth, first, second, per_patient=per_patient)
    turned = evaluated(study, truth, second, first, per_patient=per_patient)
    e, back = difference(results, "x").estimate, difference(turned, "x").estimate
    own = {f.condition: f.estimate.value for f in results.findings if f.endpoint == "x" and f.condition}
    assert e.value == pytest.approx(own["candidate"] - own["baseline"], abs=1e-9)
    assert back.value == pytest.approx(-e.value, abs=1e-12)
    assert e.low is not None
    assert e.high is not None
    assert e.low < e.value < e.high
    # Percentiles and BCa of the same replicates, turned round, agree but for interpolation at the ends.
    assert back.low == pytest.approx(-e.high, abs=0.02)
    assert e.n_patients == back.n_patients
    if per_patient == 4 and metric == "auroc":
        assert "Obuchowski" in e.method


def test_two_devices_that_agree_differ_by_nothing() -> None:
    truth, first, _ = simulated()
    study = protocol(
        {"name": "sens", "metric": "sensitivity", "at": "primary", "hypothesis": "non_inferiority", "margin": 0.1},
        {"name": "area", "metric": "auroc", "role": "primary", "hypothesis": "superiority"},
    )
    results = evaluated(study, truth, first, first)
    sens = difference(results, "sens").estimate
    assert sens.value == 0.0
    assert sens.low is not None
    assert -0.1 < sens.low < 0.0
    area = difference(results, "area").estimate
    assert area.value == 0.0
    assert area.interval_undefined is not None
    evidence = Evidence(protocol={}, testset={}, model={}, predictions={}, software={}, findings=results.findings)
    verdict = judge(study, evidence)
    assert {c.endpoint: c.outcome for c in verdict.criteria} == {"sens": "met", "area": "inconclusive"}


def test_clustered_devices_that_agree_are_as_sure_as_there_are_patients() -> None:
    truth, first, _ = simulated()
    study = protocol({"name": "sens", "metric": "sensitivity", "at": "primary"})
    e = difference(evaluated(study, truth, first, first, per_patient=4), "sens").estimate
    patients = len({i // 4 for i in range(len(truth)) if truth[i] == 1})
    wanted = paired_difference(PairedCounts(both=patients, first_only=0, second_only=0, neither=0))
    assert (e.value, e.low, e.high) == (0.0, wanted.low, wanted.high)
    assert (e.n, e.n_patients) == (int(truth.sum()), patients)
    alone = difference(evaluated(study, truth, first, first), "sens").estimate
    assert e.low is not None
    assert alone.low is not None
    assert e.low < alone.low


def test_a_brier_difference_is_bootstrapped_as_wide_as_normal_theory_says() -> None:
    truth, first, second = simulated(400)
    study = protocol({"name": "x", "metric": "brier"}, confidence={"bootstrap": {"replicates": 2000}})
    e = difference(evaluated(study, truth, first, second), "x").estimate
    each = (first - truth) ** 2 - (second - truth) ** 2
    half = 1.959964 * each.std(ddof=1) / np.sqrt(len(each))
    assert e.value == pytest.approx(each.mean(), abs=1e-9)
    assert [e.low, e.high] == pytest.approx([each.mean() - half, each.mean() + half], abs=0.1 * half)


def test_a_baseline_may_have_its_own_threshold() -> None:
    truth, first, second = simulated()
    points = [POINT, {"name": "theirs", "threshold": 0.3}]
    study = protocol(
        {"name": "sens", "metric": "sensitivity", "at": "primary", "baseline_at": "theirs"}, operating_points=points
    )
    results = evaluated(study, truth, first, second)
    expected = (first[truth == 1] >= 0.5).mean() - (second[truth == 1] >= 0.3).mean()
    assert difference(results, "sens").estimate.value == pytest.approx(expected, abs=1e-12)


def test_small_groups_are_not_assessable() -> None:
    truth, first, second = simulated(120)
    study = protocol(
        {"name": "sens", "metric": "sensitivity", "at": "primary"}, strata=[{"name": "site", "column": "site"}]
    )
    site = ["small" if i < 12 else "large" for i in range(120)]
    results = evaluated(study, truth, first, second, site=site)
    assert (difference(results, "sens", site="small").estimate.undefined or "").startswith("not assessable")
    assert difference(results, "sens", site="large").estimate.value is not None


def test_p_of_a_hypothesis_agrees_with_its_bound() -> None:
    truth, first, second = simulated()
    for margin in (0.02, 0.05, 0.1, 0.2):
        study = protocol(
            {"name": "x", "metric": "auroc", "role": "primary", "hypothesis": "non_inferiority", "margin": margin}
        )
        results = evaluated(study, truth, second, first)
        e = difference(results, "x").estimate
        row = next(t for t in results.tests if t.name == f"x > {-margin:g}")
        assert row.p_value is not None
        assert e.low is not None
        assert (row.p_value <= 0.025) == (e.low > -margin)


def test_comparisons_are_adjusted_with_the_endpoints() -> None:
    truth, first, second = simulated()
    study = protocol(
        {"name": "gain", "metric": "auroc", "role": "primary", "hypothesis": "superiority"},
        {
            "name": "alike",
            "metric": "sensitivity",
            "at": "primary",
            "role": "primary",
            "hypothesis": "equivalence",
            "margin": 0.4,
        },
        decision_rule="any_primary",
        multiplicity={"method": "holm"},
    )
    results = evaluated(study, truth, first, second)
    made = [f for f in results.findings if f.analysis == "multiplicity"]
    assert {f.endpoint for f in made} == {"gain", "alike"}
    assert {f.reference_group for f in made} == {"baseline"}
    assert max(f.estimate.level for f in made) == 0.975
    rows = [t for t in results.tests if t.p_adjusted is not None]
    assert [t.name for t in rows] == ["gain > 0", "alike > -0.4", "alike < 0.4"]
    assert rows[1].p_adjusted == rows[2].p_adjusted
    evidence = Evidence(protocol={}, testset={}, model={}, predictions={}, software={}, findings=results.findings)
    assert judge(study, evidence).overall == "met"


# --- missing outputs and references ---------------------------------------------------------------------------------


def populations(truth: list[str], first: Any, second: Any) -> tuple[Population, Population]:
    study = protocol({"name": "x", "metric": "brier"})
    frame = pd.DataFrame({"truth": truth})
    ids = tuple(f"c{i}" for i in range(len(truth)))
    made = [
        build_population(study, case_id=ids, patient_id=ids, frame=frame, predictions=table(s)) for s in (first, second)
    ]
    return made[0], made[1]


def value(metric: str, truth: Any, first: Any, second: Any) -> float:
    """The difference by its definition, a missing output being wrong for the first and right for the second."""

    def filled(scores: Any, wrong: bool) -> Any:
        # Brier 1 or 0, and the call that goes with it.
        lost = (1.0 - truth) if wrong else truth.astype(float)
        return np.where(np.isnan(scores), lost, scores)

    a, b = filled(first, True), filled(second, False)
    if metric == "brier":
        return float(((a - truth) ** 2 - (b - truth) ** 2).mean())
    right_a, right_b = (a >= 0.5) == (truth == 1), (b >= 0.5) == (truth == 1)
    among = {"sensitivity": truth == 1, "specificity": truth == 0, "accuracy": truth >= 0}[metric]
    return float(right_a[among].mean() - right_b[among].mean()) if among.any() else np.nan


@pytest.mark.parametrize("metric", ["sensitivity", "specificity", "accuracy", "brier"])
@pytest.mark.parametrize("seed", range(8))
def test_the_worst_allocation_of_missing_references_is_the_worst_of_all(metric: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, unknown = 14, 6
    truth = rng.integers(0, 2, n)
    truth[-2:] = [0, 1]
    first, second = rng.random(n), rng.random(n)
    first[rng.random(n) < 0.2] = np.nan
    second[rng.random(n) < 0.2] = np.nan
    texts = ["" if i < unknown else str(t) for i, t in enumerate(truth)]
    candidate, baseline = populations(texts, first, second)
    every = []
    for allocation in itertools.product((0, 1), repeat=unknown):
        whole = truth.copy()
        whole[:unknown] = allocation
        every.append(value(metric, whole, first, second))
    cutoff = Cutoff(value=0.5, strict=False)
    for policy in ("worst_case", "best_case"):
        pair = pair_up(
            candidate,
            baseline,
            metric,
            cutoffs=(cutoff, cutoff),
            outputs="worst_case",
            references=policy,  # type: ignore[arg-type]
            within=np.ones(n, dtype=bool),
        )
        found = value(metric, pair.reference.astype(int), first, second)
        lowest = (policy == "worst_case") == (metric != "brier")
        assert found == pytest.approx(np.nanmin(every) if lowest else np.nanmax(every), abs=1e-12)


def test_a_difference_of_areas_without_a_searched_worst_case_stays_inconclusive() -> None:
    truth, first, second = simulated()
    study = protocol({"name": "gain", "metric": "auroc", "role": "primary", "hypothesis": "superiority"})
    cells = ["" if i < 3 else str(t) for i, t in enumerate(truth)]
    for policy in ("worst_case", "exclude"):
        study = study.model_copy(
            update={"missing_reference": study.missing_reference.model_copy(update={"primary": policy})}
        )
        results = evaluated(study, cells, first, second)
        evidence = Evidence(
            protocol={},
            testset={},
            model={},
            predictions={},
            software={},
            findings=results.findings,
            accounting=results.accounting,
        )
        assert judge(study, evidence).overall == "inconclusive"
    assert difference(results, "gain").estimate.value is not None
    assert difference(results, "gain", "missing_reference=worst_case").estimate.value is None
