"""Sampling strata, covariates of verification and the scale of the model over sites, as a protocol names them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from evalsuite.analyses.tasks import evaluate_task
from evalsuite.errors import InputError
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.verification_bias import begg_greenes
from evalsuite.stats.weighting import weighted_call_metric
from evalsuite.types import Estimate


def protocol(analyses: dict, **more: object) -> StudyProtocol:
    return StudyProtocol.model_validate(
        {
            "schema": "evalsuite/protocol/1",
            "id": "t",
            "version": "1",
            "title": "t",
            "kind": "standalone",
            "intended_use": {},
            "task": {"kind": "binary", "reference": "truth", "score": "p"},
            "unit": {},
            "operating_points": [{"name": "primary", "threshold": 0.5}],
            "endpoints": [
                {"name": "sens", "metric": "sensitivity", "at": "primary"},
                {"name": "area", "metric": "auroc"},
            ],
            "confidence": {"bootstrap": {"replicates": 100}},
            "strata": [{"name": "site", "column": "site"}],
            "analyses": analyses,
            "seed": 7,
            **more,
        }
    )


def run(p: StudyProtocol, table: pd.DataFrame):
    n = len(table)
    ids = tuple(f"c{i}" for i in range(n))
    predictions = pd.DataFrame(
        {"case_id": ids, "rater": "device", "condition": None, "status": "ok", "reason": None, "p": table["p"]}
    )
    who = tuple(table["patient"]) if "patient" in table else ids
    frame = table.drop(columns="p").astype(str)
    return evaluate_task(p, case_id=ids, patient_id=who, frame=frame, predictions=predictions)


def one(results, analysis: str, metric: str, condition: str) -> Estimate:
    (hit,) = [
        f.estimate
        for f in results.findings
        if (f.analysis, f.metric, f.condition) == (analysis, metric, condition) and not f.stratum
    ]
    return hit


def sampled(n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(9)
    stratum = np.where(rng.random(n) < 0.3, "clinic", "ward")
    truth = rng.random(n) < np.where(stratum == "clinic", 0.2, 0.6)
    p = np.clip(0.5 + 0.25 * np.where(truth, 1, -1) + rng.normal(0, 0.25, n), 0, 1)
    weight = np.where(stratum == "clinic", 8.0, 1.5)
    return pd.DataFrame(
        {"truth": truth.astype(int), "p": p, "site": "a", "sample_weight": weight, "drawn": stratum, "sex": "f"}
    )


def test_named_sampling_strata_give_the_stratified_interval():
    table = sampled()
    plain = one(run(protocol({"weighting": {}}), table), "weighting", "sensitivity", "weighted")
    results = run(protocol({"weighting": {"stratum": "drawn"}}), table)
    got = one(results, "weighting", "sensitivity", "weighted")
    want = weighted_call_metric(
        "sensitivity", table.truth == 1, table.p >= 0.5, table.sample_weight, stratum=table.drawn
    )
    assert (got.value, got.low, got.high) == pytest.approx((want.value, want.low, want.high))
    assert got.value == pytest.approx(plain.value)
    assert (got.low, got.high) != (plain.low, plain.high)
    assert "sampling strata" in got.method
    for metric in ("auroc", "ppv", "brier"):
        assert one(results, "weighting", metric, "weighted").low is not None
    assert any("2 sampling strata ('drawn')" in n for n in results.notes)


def test_a_patient_comes_from_one_stratum_and_every_cell_says_which():
    asked = protocol({"weighting": {"stratum": "drawn"}})
    with pytest.raises(InputError, match="no column 'drawn'"):
        run(asked, sampled().drop(columns="drawn"))
    table = sampled()
    table["patient"] = [f"p{i // 2}" for i in range(len(table))]
    table["drawn"] = ["ward"] * 3 + ["clinic"] + ["ward"] * (len(table) - 4)
    table.loc[10, "drawn"] = " "
    with pytest.raises(InputError) as caught:
        run(asked, table)
    assert [p.where for p in caught.value.problems] == ["case c3", "case c10"]


def test_covariates_of_verification_split_the_correction():
    rng = np.random.default_rng(4)
    n = 600
    sex, age = rng.choice(["f", "m"], n), rng.choice(["old", "young"], n)
    truth = rng.random(n) < np.where(sex == "f", 0.6, 0.3)
    p = np.clip(0.5 + 0.25 * np.where(truth, 1, -1) + rng.normal(0, 0.25, n), 0, 1)
    chance = np.where(p >= 0.5, 0.9, 0.4) * np.where(sex == "f", 1.0, 0.6)
    seen = rng.random(n) < chance
    table = pd.DataFrame(
        {
            "truth": ["" if not s else str(int(t)) for s, t in zip(seen, truth, strict=True)],
            "p": p, "site": "a", "seen": seen.astype(int), "sex": sex, "age": age,
        }
    )  # fmt: skip
    block = {"verified": "seen"}
    plain = one(run(protocol({"verification": block}), table), "verification_bias", "sensitivity", "corrected")
    asked = {**block, "covariates": ["sex", "age"]}
    results = run(protocol({"verification": asked}), table)
    got = one(results, "verification_bias", "sensitivity", "corrected")
    want = begg_greenes(p >= 0.5, seen, truth, covariate=[f"{a} {b}" for a, b in zip(sex, age, strict=True)])
    assert (got.value, got.low, got.high) == pytest.approx(
        (want.sensitivity.value, want.sensitivity.low, want.sensitivity.high)
    )
    assert got.value != pytest.approx(plain.value)
    assert any("but the call and sex, age" in n for n in results.notes)
    with pytest.raises(InputError, match="'ward'"):
        run(protocol({"verification": {**block, "covariates": ["ward"]}}), table)


def test_sites_as_they_are_take_a_perfect_area_and_stay_within_one():
    rng = np.random.default_rng(5)
    rows = []
    for site, gap in (("a", 9.0), ("b", 2.0), ("c", 1.6), ("d", 2.4)):
        truth = np.arange(40) % 2
        rows.append(
            pd.DataFrame({"truth": truth, "p": 1 / (1 + np.exp(-gap * (truth - 0.5) - rng.normal(0, 0.8, 40)))})
        )
        rows[-1]["site"] = site
    table = pd.concat(rows, ignore_index=True)
    block = {"site": "site", "endpoints": ["area", "sens"]}
    logit = one(run(protocol({"generalisation": block}), table), "generalisation", "auroc", "average_site")
    assert logit.value is None
    results = run(protocol({"generalisation": {**block, "scale": "identity"}}), table)
    average = one(results, "generalisation", "auroc", "average_site")
    new = one(results, "generalisation", "auroc", "new_site")
    assert "identity scale" in average.method
    assert average.value is not None
    assert new.low <= average.low <= average.value <= average.high <= new.high <= 1.0
    assert math.isfinite(new.low)
    if new.high == 1.0:
        assert new.method.endswith("cut off at 0 and 1")
    assert one(results, "generalisation", "sensitivity", "average_site").value is not None
