"""Wrong cases of a real skin-lesion classifier: counts by plain comparison, tests by SciPy, adjustment by SciPy.

Data: 1,000 dermoscopic images of HAM10000 with recorded predictions (../shared/real/derm_ham10000). The oracles are
`scipy.stats.fisher_exact` (one-sided) and `scipy.stats.false_discovery_control` (Benjamini-Hochberg), neither of which
the suite uses here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from evalsuite.analyses.tasks import evaluate_task
from tests.unit.analyses.test_beside_performance import AREA, of, protocol

STRATA = ("sex", "localization", "dx_type")


@pytest.fixture(scope="module")
def derm(shared_real: Path) -> pd.DataFrame:
    folder = shared_real / "derm_ham10000"
    labels = pd.read_csv(folder / "labels.csv", dtype=str).fillna("")
    given = pd.read_csv(folder / "predictions_derm_mnv2_7class.csv")
    return labels.merge(given, on="image_id", validate="one_to_one")


@pytest.fixture(scope="module")
def results(derm: pd.DataFrame):
    p = protocol(
        AREA,
        task={"kind": "binary", "reference": "malignant", "score": "p_malignant"},
        strata=[{"name": s} for s in STRATA],
        analyses={"failures": {"near": 0.05, "confident": 0.05}, "slices": {"attributes": ["sex", "dx_type"]}},
    )
    ids = tuple(derm["image_id"])
    predictions = pd.DataFrame(
        {"case_id": ids, "rater": "device", "condition": None, "status": "ok", "p_malignant": derm["p_malignant"]}
    )
    frame = derm[["malignant", *STRATA]].astype(str)
    return evaluate_task(p, case_id=ids, patient_id=tuple(derm["lesion_id"]), frame=frame, predictions=predictions)


def wrong(derm: pd.DataFrame, kind: str) -> tuple[np.ndarray, np.ndarray]:
    positive, called = (derm["malignant"] == "1").to_numpy(), (derm["p_malignant"] >= 0.5).to_numpy()
    return (positive, positive & ~called) if kind == "false negative" else (~positive, ~positive & called)


def test_counts_are_those_of_plain_comparison(derm, results):
    (listing,) = results.listings
    for kind in ("false negative", "false positive"):
        _, failed = wrong(derm, kind)
        assert {row[0] for row in listing.rows if row[1] == kind} == set(derm["image_id"][failed])
    doubtful = {row[0] for row in listing.rows if row[listing.columns.index("reference_error")]}
    positive = derm["malignant"] == "1"
    sure = (positive & (derm["p_malignant"] < 0.05)) | (~positive & (derm["p_malignant"] > 0.95))
    assert doubtful == set(derm["image_id"][sure])


def test_p_values_and_their_adjustment_are_scipys(derm, results):
    tests = [t for t in results.tests if t.name.endswith(" above all others")]
    assert len(tests) > 20
    for t in tests:
        eligible, failed = wrong(derm, t.endpoint or "")
        ((name, level),) = t.stratum.items()
        group = (derm[name] == level).to_numpy()
        table = [[(failed & group).sum(), (eligible & ~failed & group).sum()],
                 [(failed & ~group).sum(), (eligible & ~failed & ~group).sum()]]  # fmt: skip
        assert t.p_value == pytest.approx(stats.fisher_exact(table, alternative="greater").pvalue, rel=1e-7)
    adjusted = stats.false_discovery_control([t.p_value for t in tests], method="bh")
    assert [t.p_adjusted for t in tests] == pytest.approx(list(adjusted), rel=1e-9)


def test_false_alarms_gather_among_lesions_confirmed_by_histology(results):
    (histology,) = [t for t in results.tests if t.name == "false positive: dx_type histo above all others"]
    assert histology.p_adjusted is not None
    assert histology.p_adjusted < 1e-4
    holds = [dict(t.stratum) for t in results.tests if t.name.endswith("held-out half") and (t.p_adjusted or 1) < 0.05]
    assert {"dx_type": "histo"} in holds
    assert of(results, "slices")
