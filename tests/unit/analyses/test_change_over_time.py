"""Change between two visits as a protocol asks for it: against Bland-Altman of the changes and categories by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalsuite.analyses.tasks import evaluate_task
from evalsuite.errors import InputError, ProtocolError
from evalsuite.protocol.load import parse_protocol
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.change import change_agreement
from evalsuite.types import Estimate

N = 60
BLOCK = {"visit": "visit", "before": 0, "after": 6, "relative": True, "thresholds": [-0.3, 0.2]}
NAMES = ("up to -30 %", "between -30 % and +20 %", "from +20 %")


def data(**changes: Any) -> dict[str, Any]:
    return {
        "schema": "evalsuite/protocol/1",
        "id": "t",
        "version": "1",
        "title": "t",
        "kind": "standalone",
        "intended_use": {},
        "task": {"kind": "regression", "reference": "truth", "score": "p"},
        "unit": {},
        "endpoints": [
            {
                "name": "upper",
                "metric": "change_loa_upper",
                "role": "primary",
                "maximum": 1.0,
                "criterion": {"bound": "upper", "op": "<", "value": 0.5},
            },
            {"name": "offset", "metric": "change_bias", "maximum": 1.0},
            {"name": "same", "metric": "response_agreement"},
            {"name": "opposite", "metric": "response_opposite"},
            {"name": "kappa", "metric": "response_kappa"},
            {"name": "single", "metric": "bias", "maximum": 100},
        ],
        "confidence": {"bootstrap": {"replicates": 100}},
        "strata": ["sex"],
        "analyses": {"change": BLOCK},
        "seed": 7,
        **changes,
    }


def protocol(**changes: Any) -> StudyProtocol:
    import yaml

    return parse_protocol(yaml.safe_dump(data(**changes)).encode())


def visits(seed: int = 1) -> pd.DataFrame:
    """Two visits of every patient, shuffled: the reference's and the device's size."""
    rng = np.random.default_rng(seed)
    first = rng.gamma(6, 10, N) + 10
    second = first * rng.choice([0.5, 0.95, 1.5], N) * np.exp(rng.normal(0, 0.05, N))
    rows = pd.DataFrame(
        {
            "patient": [f"p{i}" for i in range(N)] * 2,
            "visit": ["0"] * N + ["6.0"] * N,
            "truth": np.round(np.r_[first, second], 3),
            "p": np.r_[first, second] * np.exp(rng.normal(0.02, 0.06, 2 * N)),
            "sex": ["f" if i % 3 else "m" for i in range(N)] * 2,
        }
    )
    return rows.sample(frac=1.0, random_state=3).reset_index(drop=True)


def run(p: StudyProtocol, table: pd.DataFrame):
    ids = tuple(f"c{i}" for i in range(len(table)))
    status = np.where(np.isnan(table["p"]), "failed", "ok")
    predictions = pd.DataFrame(
        {"case_id": ids, "rater": "device", "condition": None, "status": status, "reason": None, "p": table["p"]}
    )
    frame = table.drop(columns=["p", "patient"]).astype(str)
    return evaluate_task(p, case_id=ids, patient_id=tuple(table["patient"]), frame=frame, predictions=predictions)


def found(results, endpoint: str, condition: str | None = None, **stratum: str) -> Estimate:
    (hit,) = [
        f.estimate
        for f in results.findings
        if (f.endpoint, f.condition, dict(f.stratum)) == (endpoint, condition, stratum)
    ]
    return hit


def paired(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Device and reference, before and after, patient by patient."""
    ends = [table[table.visit == v].set_index("patient") for v in ("0", "6.0")]
    order = [f"p{i}" for i in range(N) if f"p{i}" in ends[0].index and f"p{i}" in ends[1].index]
    return tuple(e.loc[order, c].to_numpy() for c in ("p", "truth") for e in ends)  # type: ignore[return-value]


def test_limits_of_change_are_bland_altmans_of_the_changes():
    table = visits()
    results = run(protocol(), table)
    want = change_agreement(*paired(table), relative=True)
    upper = found(results, "upper")
    assert (upper.value, upper.low, upper.high) == pytest.approx(
        (want.upper_limit.value, want.upper_limit.low, want.upper_limit.high)
    )
    assert found(results, "offset").value == pytest.approx(want.bias.value)
    assert found(results, "offset").n == N
    # The same questions asked of single measurements stand beside them, of all cases.
    assert found(results, "single").n == 2 * N
    names = {f.metric for f in results.findings if f.role == "descriptive"}
    assert {"change_mae", "change_loa_lower"} <= names


def test_response_is_cut_and_counted_by_hand():
    table = visits()
    results = run(protocol(), table)
    db, da, rb, ra = paired(table)
    d, r = (np.digitize((after - before) / before, [-0.3, 0.2]) for before, after in ((db, da), (rb, ra)))
    assert found(results, "same").value == pytest.approx((d == r).mean())
    assert found(results, "opposite").value == pytest.approx((np.abs(d - r) == 2).mean())
    assert found(results, "kappa").low is not None
    cells = {(f.target, f.condition): f.estimate for f in results.findings if f.analysis == "response"}
    for i, own in enumerate(NAMES):
        for j, called in enumerate(NAMES):
            assert cells[own, f"predicted={called}"].numerator == ((r == i) & (d == j)).sum()


def test_groups_are_those_of_the_earlier_visit():
    table = visits()
    table.loc[table.visit == "6.0", "sex"] = "m"
    results = run(protocol(), table)
    assert found(results, "offset", sex="f").n == 40
    assert found(results, "offset", sex="m").n == 20


def test_a_lost_output_at_either_visit_is_as_far_off_as_declared():
    table = visits()
    lost = table.index[table.visit == "6.0"][:4]
    table.loc[lost, "p"] = np.nan
    gone = set(table.loc[lost, "patient"])
    results = run(protocol(), table)
    kept = run(protocol(), table[~table.patient.isin(gone)].reset_index(drop=True))
    assert found(results, "offset", "missing_outputs=exclude").value == pytest.approx(found(kept, "offset").value)
    n, m = N, N - 4
    assert abs(found(results, "offset").value * n - found(kept, "offset").value * m) == pytest.approx(4.0)
    same = found(kept, "same")
    assert found(results, "same").numerator == same.numerator
    assert found(results, "same").n == N
    assert found(results, "same", "missing_outputs=best_case").numerator == same.numerator + 4
    assert "no worst case" in str(found(results, "kappa").undefined)
    assert found(results, "kappa", "missing_outputs=exclude").value == pytest.approx(found(kept, "kappa").value)


def test_a_first_output_of_nothing_gives_no_relative_change_and_is_counted():
    table = visits()
    table.loc[table.index[table.visit == "0"][0], "p"] = 0.0
    results = run(protocol(), table)
    assert any("first output that is not above 0" in n for n in results.notes)
    assert found(results, "same").n == N
    assert found(results, "offset", "missing_outputs=exclude").n == N - 1
    absolute = run(protocol(analyses={"change": {**BLOCK, "relative": False, "thresholds": [-15, 15]}}), table)
    assert found(absolute, "same").n == N
    assert not any("not above 0" in n for n in absolute.notes)


def test_what_is_in_no_pair_is_counted():
    table = visits()
    table.loc[5, "visit"] = "12"
    results = run(protocol(), table)
    assert any(n.startswith("1 cases are of neither visit") for n in results.notes)
    assert any(n.startswith("1 patients or lesions were seen at one") for n in results.notes)
    assert found(results, "offset").n == N - 1


def test_pairs_that_cannot_be_are_named_by_case():
    table = visits()
    twice = table.copy()
    twice.loc[3, ["patient", "visit"]] = list(twice.loc[4, ["patient", "visit"]])
    with pytest.raises(InputError) as caught:
        run(protocol(), twice)
    assert "a second case at the same visit" in str(caught.value)
    nothing = table.copy()
    first = int(table.index[table.visit == "0"][0])
    nothing.loc[first, "truth"] = 0.0
    with pytest.raises(InputError) as caught:
        run(protocol(), nothing)
    assert [str(p.where) for p in caught.value.problems] == [f"case c{first}"]
    with pytest.raises(InputError, match="'lesion'"):
        run(protocol(analyses={"change": {**BLOCK, "pair": "lesion"}}), table)
    table["lesion"] = table.patient + "a"
    assert found(run(protocol(analyses={"change": {**BLOCK, "pair": "lesion"}}), table), "offset").n == N


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"analyses": {}}, "endpoints[0].metric"),
        ({"analyses": {"change": {**BLOCK, "thresholds": None}}}, "endpoints[2].metric"),
        ({"analyses": {"change": {**BLOCK, "thresholds": [0.2, -0.3]}}}, "analyses.change.thresholds"),
        ({"analyses": {"change": {**BLOCK, "thresholds": [-1.5]}}}, "analyses.change.thresholds"),
        ({"analyses": {"change": {**BLOCK, "after": "0"}}}, "analyses.change.after"),
        ({"analyses": {"change": {**BLOCK, "visit": "truth"}}}, "analyses.change.visit"),
        ({"analyses": {"change": {**BLOCK, "pair": "visit"}}}, "analyses.change.pair"),
        ({"endpoints": [{"name": "bend", "metric": "nonlinearity"}]}, "endpoints[0].metric"),
        ({"analyses": {"change": BLOCK, "linearity": {"levels": []}}}, "analyses.linearity.levels"),
        ({"analyses": {"change": BLOCK, "linearity": {"cv_goal": 0}}}, "analyses.linearity.cv_goal"),
    ],
)
def test_contradictions_are_refused_at_their_place(changes: dict[str, Any], where: str):
    with pytest.raises(ProtocolError) as caught:
        protocol(**changes)
    assert where in {p.where for p in caught.value.problems}
