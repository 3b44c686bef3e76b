"""The core values refuse what must not exist: a number without a reason, NaN, half an interval."""

from __future__ import annotations

import json
import math

import pytest

from evalsuite.types import Account, Curve, Estimate, Evidence, Finding, TestOutcome


def estimate(**changes: object) -> Estimate:
    return Estimate(**{"value": 0.9, "low": 0.7, "high": 0.98, "method": "Clopper-Pearson", "n": 30, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"value": None},
        {"undefined": "why"},
        {"value": math.nan},
        {"value": math.inf},
        {"low": None},
        {"high": None},
        {"level": 1.0},
        {"level": 0.0},
        {"value": None, "undefined": "why"},
    ],
)
def test_an_estimate_that_contradicts_itself_cannot_be_made(changes):
    with pytest.raises(ValueError, match=r"estimate|interval|level"):
        estimate(**changes)


def test_not_estimable_carries_its_reason_and_n():
    e = Estimate.not_estimable("no reference-positive cases", n=12)
    assert (e.value, e.low, e.undefined, e.n) == (None, None, "no reference-positive cases", 12)


def test_evidence_survives_json():
    evidence = Evidence(
        protocol={"id": "a"},
        testset={"root": "r"},
        model={"digest": "m"},
        predictions={"digest": "p"},
        software={"evalsuite": "0"},
        findings=(
            Finding(
                analysis="performance",
                endpoint="sensitivity",
                metric="sensitivity",
                role="primary",
                target="t",
                operating_point="primary",
                stratum={"sex": "female"},
                estimate=estimate(),
            ),
        ),
        curves=(Curve(analysis="performance", metric="auroc", kind="roc", x=(0.0, 1.0), y=(0.0, 1.0), n=(3, 4)),),
        accounting=(Account(status="ok", reference="positive", n=3, n_patients=2),),
        tests=(TestOutcome(name="t", statistic=1.0, p_value=0.5, method="exact"),),
        notes=("note",),
    )
    assert Evidence.from_json(json.loads(json.dumps(evidence.to_json(), allow_nan=False))) == evidence
