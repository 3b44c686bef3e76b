"""Components of variation as a protocol asks for them: balanced and not, scores, calls and measurements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalsuite.analyses.tasks import evaluate_task
from evalsuite.errors import InputError
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.repeatability import repeatability_coefficient
from evalsuite.stats.variance_components import gauge_study, variance_components
from evalsuite.types import Estimate

P, CAMERAS, R = 30, 3, 2
MEASURED = {"kind": "regression", "reference": "truth", "score": "p"}
BINARY = {"kind": "binary", "reference": "truth", "score": "p"}


def protocol(task: dict[str, Any], block: dict[str, Any], *endpoints: dict[str, Any], **more: Any) -> StudyProtocol:
    binary = task["kind"] == "binary"
    return StudyProtocol.model_validate(
        {
            "schema": "evalsuite/protocol/1",
            "id": "t",
            "version": "1",
            "title": "t",
            "kind": "standalone",
            "intended_use": {},
            "task": task,
            "unit": {},
            "operating_points": [{"name": "primary", "threshold": 0.5}] if binary else [],
            "endpoints": list(endpoints) or [{"name": "main", "metric": "auroc" if binary else "bias"}],
            "confidence": {"bootstrap": {"replicates": 100}},
            "analyses": {"variance_components": {"factors": ["camera"], **block}},
            "seed": 7,
            **more,
        }
    )


def acquired(seed: int = 1, patients: int = P) -> pd.DataFrame:
    """Every camera acquires every patient twice."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), CAMERAS * R)
    camera = np.tile(np.repeat(np.arange(CAMERAS), R), patients)
    size = rng.normal(50, 8, patients)[patient] + np.array([-1.5, 0.0, 2.0])[camera] + rng.normal(0, 1.2, patient.size)
    return pd.DataFrame(
        {
            "patient": [f"p{i}" for i in patient],
            "camera": [f"cam {i}" for i in camera],
            "truth": np.round(rng.normal(50, 8, patients)[patient], 2),
            "p": size,
        }
    )


def run(p: StudyProtocol, table: pd.DataFrame):
    ids = tuple(f"c{i}" for i in range(len(table)))
    status = np.where(np.isnan(table["p"]), "failed", "ok")
    predictions = pd.DataFrame(
        {"case_id": ids, "rater": "device", "condition": None, "status": status, "reason": None, "p": table["p"]}
    )
    frame = table.drop(columns=["p", "patient"]).astype(str)
    return evaluate_task(p, case_id=ids, patient_id=tuple(table["patient"]), frame=frame, predictions=predictions)


def one(results, endpoint: str, metric: str, condition: str | None = None, analysis: str = "variance_components"):
    (hit,) = [
        f.estimate
        for f in results.findings
        if (f.analysis, f.endpoint, f.metric, f.condition) == (analysis, endpoint, metric, condition) and not f.stratum
    ]
    return hit


def same(a: Estimate, b: Estimate) -> bool:
    return (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high), nan_ok=False)


def test_a_balanced_study_of_one_factor_is_a_gauge_study():
    table = acquired()
    results = run(protocol(MEASURED, {}), table)
    want = gauge_study(table.p, table.patient, table.camera)
    assert same(one(results, "score", "component_sd", "source=camera"), want.operator)
    assert same(one(results, "score", "component_sd", "source=subject"), want.patient)
    assert same(one(results, "score", "component_sd", "source=residual"), want.repeatability)
    assert same(one(results, "score", "repeatability_coefficient"), want.repeatability_coefficient)
    assert same(one(results, "score", "reproducibility_coefficient"), want.reproducibility_coefficient)
    parts = [f.estimate.value for f in results.findings if f.metric == "component_share"]
    assert sum(parts) == pytest.approx(1.0)
    assert one(results, "score", "repeatability_coefficient").n_patients == P


def test_any_other_design_is_fitted_by_restricted_likelihood():
    table = acquired(patients=12).drop(index=[3, 17, 18, 60]).reset_index(drop=True)
    results = run(protocol(MEASURED, {}), table)
    want = variance_components(table.p, {"subject": table.patient, "camera": table.camera})
    for source in ("subject", "camera", "residual"):
        assert same(one(results, "score", "component_sd", f"source={source}"), want.sd[source])
    rc = one(results, "score", "repeatability_coefficient")
    assert rc.value == pytest.approx(1.96 * math.sqrt(2) * want.sd["residual"].value, rel=1e-4)
    assert rc.low is not None
    rdc = one(results, "score", "reproducibility_coefficient")
    both = math.hypot(want.sd["camera"].value, want.sd["residual"].value)
    assert rdc.value == pytest.approx(1.96 * math.sqrt(2) * both, rel=1e-4)
    assert "balanced study" in str(rdc.interval_undefined)


def test_what_a_factor_adds_patient_by_patient_is_told_where_it_can_be():
    table = acquired(patients=8).drop(index=[3]).reset_index(drop=True)
    results = run(protocol(MEASURED, {"interactions": True}), table)
    assert one(results, "score", "component_sd", "source=subject by camera").value is not None
    once = (
        acquired(patients=8).iloc[::2].drop(index=[0]).reset_index(drop=True)
    )  # no cell acquired twice: not to be told apart
    names = {f.condition for f in run(protocol(MEASURED, {"interactions": True}), once).findings}
    assert "source=subject by camera" not in names
    assert "source=camera" in names


def binary(seed: int = 3) -> pd.DataFrame:
    table = acquired(seed)
    z = (table.p - 50) / 8
    table["p"] = 1 / (1 + np.exp(-2 * z))
    patients = np.array([int(x[1:]) for x in table.patient])
    table["truth"] = (patients % 2).astype(int)
    return table


def test_calls_are_compared_in_pairs_counted_by_hand():
    table = binary()
    results = run(protocol(BINARY, {}), table)
    called = (table.p >= 0.5).to_numpy().reshape(P, CAMERAS, R)
    within = (called[:, :, 0] != called[:, :, 1]).mean()
    between = np.mean(
        [called[:, i, a] != called[:, j, b] for i in range(3) for j in range(i) for a in (0, 1) for b in (0, 1)]
    )
    flat = called.reshape(P, -1)
    anyone = np.mean([flat[:, i] != flat[:, j] for i in range(6) for j in range(i)])
    for condition, want, pairs in (
        ("same_conditions", within, 90),
        ("other=camera", between, 360),
        ("any_other", anyone, 450),
    ):
        e = one(results, "call at primary", "calls_that_differ", condition)
        assert e.value == pytest.approx(want)
        assert (e.n, e.n_patients) == (pairs, P)
        assert e.low < e.value < e.high
    assert one(results, "score", "component_sd", "source=camera").value is not None
    share = one(results, "call at primary", "component_share", "source=subject")
    assert 0.5 < share.value < 1.0
    assert share.low is None


def test_every_subject_counts_once_however_often_it_was_acquired():
    table = pd.DataFrame(
        {
            "patient": ["a"] * 2 + ["b"] * 4,
            "camera": ["x", "y", "x", "x", "y", "y"],
            "truth": [1, 1, 0, 0, 0, 0],
            "p": [0.9, 0.1, 0.9, 0.9, 0.9, 0.9],
        }
    )
    e = one(run(protocol(BINARY, {}), table), "call at primary", "calls_that_differ", "any_other")
    assert e.value == pytest.approx(0.5)


def test_lost_outputs_and_unrecorded_conditions_are_counted():
    table = acquired(patients=10)
    table.loc[[0, 7], "p"] = np.nan
    table.loc[5, "camera"] = ""
    results = run(protocol(MEASURED, {}, missing_outputs={"primary": "exclude"}), table)
    assert any(n.startswith("2 acquisitions without a usable output") for n in results.notes)
    assert any(n.startswith("1 acquisitions with an unrecorded factor") for n in results.notes)
    assert one(results, "score", "component_sd", "source=camera").n == len(table) - 3


def test_subjects_may_be_lesions_of_a_patient_but_not_of_two():
    table = acquired(patients=10)
    table["lesion"] = [f"{p} l{i % 2}" for i, p in enumerate(table.patient)]
    results = run(protocol(MEASURED, {"subject": "lesion"}), table)
    assert one(results, "score", "component_sd", "source=subject").value is not None
    table["lesion"] = "l"
    with pytest.raises(InputError, match="different patients"):
        run(protocol(MEASURED, {"subject": "lesion"}), table)
    with pytest.raises(InputError, match="'operator'"):
        run(protocol(MEASURED, {"factors": ["operator"]}), table)


def test_nobody_measured_twice_is_a_reason():
    table = acquired().groupby("patient", sort=False).first().reset_index()
    results = run(protocol(MEASURED, {}), table)
    reason = str(one(results, "score", "repeatability_coefficient").undefined)
    assert "one level" in reason or "own level" in reason
    assert any("acquired once" in n for n in results.notes)


REPEATED = (
    {"name": "again", "metric": "repeatability_coefficient", "repeats": "cell"},
    {"name": "spread", "metric": "within_subject_sd", "repeats": "cell"},
    {"name": "elsewhere", "metric": "reproducibility_coefficient"},
)


def test_coefficients_can_be_endpoints_of_a_measurement():
    table = acquired(patients=10)
    table["cell"] = [f"{p} {c}" for p, c in zip(table.patient, table.camera, strict=True)]
    # One group per patient, so that its interval stands.
    alone = table.drop_duplicates(["patient", "camera"]).index
    results = run(protocol(MEASURED, {}, *REPEATED), table)
    again = one(results, "again", "repeatability_coefficient", analysis="performance")
    assert again.value == pytest.approx(repeatability_coefficient(table.p, table.cell).value)
    assert "several repeated measurements" in str(again.interval_undefined)
    want = gauge_study(table.p, table.patient, table.camera).reproducibility_coefficient
    assert same(one(results, "elsewhere", "reproducibility_coefficient", analysis="performance"), want)
    table.loc[alone[0], "p"] = np.nan
    worst = run(protocol(MEASURED, {}, *REPEATED), table)
    lost = one(worst, "elsewhere", "reproducibility_coefficient", analysis="performance")
    assert "no worst case" in str(lost.undefined)
    left_out = "missing_outputs=exclude"
    assert one(worst, "elsewhere", "reproducibility_coefficient", left_out, analysis="missing_data").value is not None
