"""A change of the model told from a change of the data: each alone, both, and neither."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evalsuite.analyses.drift_periods import Former, Period
from evalsuite.analyses.drift_versions import BOTH, CELLS, DATA, MODEL, versions
from evalsuite.types import Estimate
from tests.unit.analyses.test_drift_analysis import period, study


def _missing(p: Period, share: float, seed: int) -> pd.DataFrame:
    """The outputs of a version that misses this share of the diseased whom the other one finds."""
    rng = np.random.default_rng(seed)
    lost = (p.frame["truth"] == "1").to_numpy() & (rng.random(p.n) < share)
    return p.predictions.assign(p=np.where(lost, 0.1, p.predictions["p"]))


def _parts(baseline: Period, window: Period, former: Former) -> dict[str, Estimate]:
    found = versions(study(), baseline, window, former)
    return {str(f.condition): f.estimate for f in found if f.endpoint == "sensitivity"}


@pytest.mark.parametrize(
    ("former_misses", "sensitivity", "changed"),
    [(0.0, 0.9, set()), (0.4, 0.9, {MODEL}), (0.0, 0.5, {DATA}), (0.4, 0.5, {MODEL, DATA})],
)
def test_who_changed_is_told(former_misses: float, sensitivity: float, changed: set[str]) -> None:
    baseline, window = period(500, 60), period(500, 61, sensitivity=sensitivity)
    former = Former(baseline=_missing(baseline, former_misses, 1), window=_missing(window, former_misses, 2))
    parts = _parts(baseline, window, former)
    assert set(parts) == {*CELLS, BOTH, MODEL, DATA}
    values = {name: e.value or 0.0 for name, e in parts.items()}
    assert values[MODEL] + values[DATA] == pytest.approx(values[BOTH], abs=1e-12)
    assert values[BOTH] == pytest.approx(values["current_window"] - values["former_baseline"], abs=1e-12)
    for name in (MODEL, DATA):
        low, high = parts[name].low, parts[name].high
        if name not in changed:
            assert abs(values[name]) < 0.06
            assert low is None or (high is not None and low <= 0.0 <= high)
        else:
            assert low is not None
            assert high is not None
            assert (low > 0.0) if name == MODEL else (high < 0.0)


def test_by_hand_and_whatever_the_order_of_rows() -> None:
    """Four diseased patients a side: former 4/4 and 2/4, current 3/4 and 1/4; model −1/4, data −1/2."""

    def four(name: str) -> Period:
        ids = tuple(f"{name}{i}" for i in range(4))
        frame = pd.DataFrame({"truth": ["1"] * 4, "scanner": ["a"] * 4, "age": ["60"] * 4})
        score = [0.9, 0.9, 0.9, 0.1] if name == "b" else [0.9, 0.1, 0.1, 0.1]
        return Period(
            case_id=ids,
            patient_id=ids,
            frame=frame,
            predictions=pd.DataFrame({"case_id": ids, "status": "ok", "p": score}),
        )

    def rows(p: Period, score: list[float]) -> pd.DataFrame:
        return p.predictions.assign(p=score).iloc[::-1].reset_index(drop=True)

    b, w = four("b"), four("w")
    parts = _parts(b, w, Former(baseline=rows(b, [0.9] * 4), window=rows(w, [0.9, 0.9, 0.1, 0.1])))
    assert [parts[c].value for c in CELLS] == [1.0, 0.75, 0.5, 0.25]
    assert (parts[MODEL].value, parts[DATA].value, parts[BOTH].value) == (-0.25, -0.5, -0.75)
    assert [parts[c].n for c in (*CELLS, MODEL)] == [4, 4, 4, 4, 8]
    nobody = Period(
        case_id=w.case_id, patient_id=w.patient_id, frame=w.frame.assign(truth=""), predictions=w.predictions
    )
    unknown = _parts(b, nobody, Former(baseline=b.predictions, window=w.predictions))
    assert unknown[MODEL].value is None
    assert "no case" in (unknown[MODEL].undefined or "")
