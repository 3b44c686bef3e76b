"""Real lesions: the drop in specificity among those confirmed by histology is found, and is more than chance."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from evalsuite.analyses.tasks import evaluate_task
from evalsuite.types import Finding
from tests.unit.analyses.test_beside_performance import SENSITIVITY, goal, protocol

DATA = "derm_ham10000"


@pytest.fixture(scope="module")
def findings(shared_real: Path) -> list[Finding]:
    folder = shared_real / DATA
    if not (folder / "predictions_derm_mnv2_7class.csv").exists():
        pytest.skip(f"{DATA} has no recorded predictions here")
    labels = pd.read_csv(folder / "labels.csv", dtype=str, keep_default_na=False)
    recorded = pd.read_csv(folder / "predictions_derm_mnv2_7class.csv").set_index("image_id")
    table = recorded.loc[labels["image_id"]].reset_index()
    predictions = pd.DataFrame(
        {"case_id": table["image_id"], "rater": "device", "condition": None, "status": "ok", "p": table["p_malignant"]}
    )
    p = protocol(
        goal(SENSITIVITY, 0.3),
        task={"kind": "binary", "reference": "malignant", "score": "p"},
        operating_points=[{"name": "primary", "threshold": 0.15}],
        strata=[
            {"name": "sex", "column": "sex"},
            {"name": "age", "column": "age", "bins": [40, 60]},
            {"name": "site", "column": "localization"},
            {"name": "confirmed by", "column": "dx_type"},
        ],
        analyses={
            "bias": {
                "attributes": ["sex", "age", "site", "confirmed by"],
                "metrics": ["sensitivity", "specificity"],
                "case_mix": ["age", "site"],
                "verification": "confirmed by",
            }
        },
    )
    ids = tuple(labels["image_id"])
    results = evaluate_task(
        p, case_id=ids, patient_id=tuple(labels["lesion_id"]), frame=labels, predictions=predictions
    )
    return [f for f in results.findings if f.analysis == "bias"]


def only(findings: list[Finding], metric: str, condition: str | None, **stratum: str) -> Finding:
    (found,) = [
        f
        for f in findings
        if (f.metric, f.condition, dict(f.stratum)) == (metric, condition, stratum)
        and (f.reference_group is not None) == metric.endswith("_difference")
    ]
    return found


def test_specificity_drops_where_histology_confirmed(findings):
    key = {"confirmed by": "histo"}
    own = only(findings, "specificity", None, **key).estimate
    # Counted in the files: 230 benign lesions confirmed by histology, 110 of them scored below 0.15.
    assert (own.numerator, own.denominator) == (110, 230)
    gap = only(findings, "specificity_difference", None, **key)
    assert gap.outcome == "disparity"
    assert gap.estimate.value == pytest.approx(-0.465, abs=1e-3)
    standardised = only(findings, "specificity_difference", "standardised=age, site", **key).estimate
    assert standardised.high < -0.2  # age and site do not explain it


def test_a_way_of_confirming_without_cancers_has_no_sensitivity(findings):
    gap = only(findings, "sensitivity_difference", None, **{"confirmed by": "follow_up"})
    assert gap.outcome == "not_assessable"
    assert "no reference-positive cases" in str(gap.estimate.undefined)


def test_every_attribute_is_compared(findings):
    compared = {next(iter(f.stratum)) for f in findings if f.metric == "specificity_difference"}
    assert compared == {"sex", "age", "site", "confirmed by"}
