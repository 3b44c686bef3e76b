"""A reference panel resampled, as a protocol asks for it: against the three-reader panel counted by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from evalsuite.analyses.tasks import evaluate_task
from evalsuite.errors import InputError
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.types import Estimate

READERS = ("r1", "r2", "r3")


def protocol(task: dict, endpoints: list[dict], *, panel: dict | None = None, **more: object) -> StudyProtocol:
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
            "endpoints": endpoints,
            "confidence": {"bootstrap": {"replicates": 200}},
            "analyses": {
                "truth_panel": {"readers": list(READERS), "endpoints": [e["name"] for e in endpoints], **(panel or {})}
            },
            "seed": 7,
            **more,
        }
    )


BINARY = {"kind": "binary", "reference": "truth", "score": "p"}
MEASURED = {"kind": "regression", "reference": "truth", "score": "p"}
SENS = {"name": "sens", "metric": "sensitivity", "at": "primary"}


def run(p: StudyProtocol, score: list, truth: list, votes: list[tuple], patients: int | None = None):
    n = len(score)
    ids = tuple(f"c{i}" for i in range(n))
    frame = pd.DataFrame({"truth": truth, **{r: [v[j] for v in votes] for j, r in enumerate(READERS)}}).astype(str)
    status = ["failed" if s is None else "ok" for s in score]
    values = [math.nan if s is None else s for s in score]
    table = pd.DataFrame(
        {"case_id": ids, "rater": "device", "condition": None, "status": status, "reason": None, "p": values}
    )
    who = tuple(f"p{i % (patients or n)}" for i in range(n))
    return evaluate_task(p, case_id=ids, patient_id=who, frame=frame, predictions=table)


def found(results, endpoint: str) -> dict[str, Estimate]:
    return {
        str(f.condition): f.estimate for f in results.findings if f.analysis == "truth_panel" and f.endpoint == endpoint
    }


def study(n: int = 60, seed: int = 2) -> tuple[list[float], list[str], list[tuple[str, ...]]]:
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.5
    votes = np.array([np.where(rng.random(n) < 0.88, truth, ~truth) for _ in READERS]).T
    score = np.clip(0.5 + 0.3 * np.where(truth, 1, -1) + rng.normal(0, 0.3, n), 0, 1)
    return [float(s) for s in score], [str(int(t)) for t in truth], [tuple(str(int(v)) for v in row) for row in votes]


def test_the_panels_range_is_the_one_of_all_twenty_seven_panels():
    score, truth, votes = study()
    e = found(run(protocol(BINARY, [SENS]), score, truth, votes), "sens")
    v = np.array(votes).astype(int)
    called = np.array(score) >= 0.5
    values = []
    for drawn in itertools.product(range(3), repeat=3):
        positive = v[:, drawn].sum(axis=1) >= 2
        values.append(float(called[positive].mean()))
    majority = v.sum(axis=1) >= 2
    value = float(called[majority].mean())
    assert e["panel_and_patients"].value == pytest.approx(value)
    # 27 equally likely panels: one of them is less than 5 %, so that the central 95 % leave out none.
    assert e["panel"].low == pytest.approx(min(values))
    assert e["panel"].high == pytest.approx(max(values))
    for j, reader in enumerate(READERS):
        assert e[f"reader={reader}"].value == pytest.approx(float(called[v[:, j] == 1].mean()))
        others = np.delete(v, j, axis=1).sum(axis=1)
        assert e[f"without_reader={reader}"].value == pytest.approx(float(called[others == 2].mean()))
        assert e[f"reader={reader}"].low is None
    both, patients = e["panel_and_patients"], e["patients"]
    assert both.high - both.low > 0.9 * (patients.high - patients.low)


def test_a_case_without_output_is_wrong_whatever_the_panel_says():
    score, truth, votes = study()
    lost = [None if i < 8 else s for i, s in enumerate(score)]
    endpoints = [SENS, {"name": "spec", "metric": "specificity", "at": "primary"}, {"name": "area", "metric": "auroc"}]
    results = run(protocol(BINARY, endpoints), lost, truth, votes)
    majority = np.array(votes).astype(int).sum(axis=1) >= 2
    called = np.array([False if s is None else s >= 0.5 for s in lost])
    gone = np.array([s is None for s in lost])
    assert found(results, "sens")["patients"].value == pytest.approx((called & majority).sum() / majority.sum())
    right = (~called & ~gone & ~majority).sum()
    assert found(results, "spec")["patients"].value == pytest.approx(right / (~majority).sum())
    worst = np.where(gone, np.where(majority, -1.0, 2.0), [s or 0.0 for s in lost])
    wins = (worst[majority][:, None] > worst[~majority]) + 0.5 * (worst[majority][:, None] == worst[~majority])
    assert found(results, "area")["patients"].value == pytest.approx(float(wins.mean()))
    left_out = run(protocol(BINARY, endpoints, missing_outputs={"primary": "exclude"}), lost, truth, votes)
    e = found(left_out, "sens")["patients"]
    assert e.value == pytest.approx(float(called[majority & ~gone].mean()))
    assert e.n == 52


def test_the_panel_decides_not_the_reference_column_and_the_difference_is_told():
    score, truth, votes = study()
    turned = ["0" if t == "1" else "1" for t in truth]
    a, b = (found(run(protocol(BINARY, [SENS]), score, t, votes), "sens") for t in (truth, turned))
    assert a == b
    notes = run(protocol(BINARY, [SENS]), score, turned, votes).notes
    assert any("majority differs from the reference standard" in n for n in notes)


def test_ties_and_unread_cases_follow_the_protocol():
    score, truth, votes = study()
    votes = [("1", "0", "") if i < 4 else ("", "", "") if i < 6 else v for i, v in enumerate(votes)]
    excluded = run(protocol(BINARY, [SENS]), score, truth, votes)
    assert any("6 cases unresolved" in n for n in excluded.notes)
    assert any("10 of 180 readings" in n for n in excluded.notes)
    called = np.array(score) >= 0.5
    majority = np.array([sum(v == "1" for v in row) > sum(v == "0" for v in row) for row in votes])
    assert found(excluded, "sens")["patients"].value == pytest.approx(float(called[majority].mean()))
    positive = run(protocol(BINARY, [SENS], panel={"ties": "positive"}), score, truth, votes)
    majority[:4] = True
    assert found(positive, "sens")["patients"].value == pytest.approx(float(called[majority].mean()))


def test_measurements_are_held_against_the_mean_reading():
    rng = np.random.default_rng(3)
    truth = rng.gamma(4, 10, 40)
    votes = [tuple(f"{t + rng.normal(0, 2):.3f}" for _ in READERS) for t in truth]
    device = truth + rng.normal(1, 3, 40)
    endpoints = [
        {"name": "offset", "metric": "bias"},
        {"name": "error", "metric": "mae"},
        {"name": "r", "metric": "rmse"},
    ]
    results = run(protocol(MEASURED, endpoints), [float(d) for d in device], [f"{t:.3f}" for t in truth], votes)
    d = device - np.array(votes).astype(float).mean(axis=1)
    assert found(results, "offset")["panel_and_patients"].value == pytest.approx(float(d.mean()))
    assert found(results, "error")["panel_and_patients"].value == pytest.approx(float(np.abs(d).mean()))
    assert found(results, "r")["panel_and_patients"].value == pytest.approx(float(np.sqrt((d**2).mean())))
    lost = run(protocol(MEASURED, endpoints), [None, *map(float, device[1:])], [f"{t:.3f}" for t in truth], votes)
    assert "no largest error (maximum)" in str(found(lost, "error")["panel_and_patients"].undefined)
    known = [{**e, "maximum": 50} for e in endpoints]
    told = run(protocol(MEASURED, known), [None, *map(float, device[1:])], [f"{t:.3f}" for t in truth], votes)
    assert found(told, "error")["patients"].value == pytest.approx((50 + np.abs(d[1:]).sum()) / 40)


def test_columns_that_are_not_there_and_cells_that_are_no_reading_are_told_by_name():
    score, truth, votes = study()
    p = protocol(BINARY, [SENS], panel={"readers": ["r1", "r9"]})
    with pytest.raises(InputError, match="r9"):
        run(p, score, truth, votes)
    votes[5] = ("2", "0", "1")
    with pytest.raises(InputError) as caught:
        run(protocol(BINARY, [SENS]), score, truth, votes)
    assert "r1" in str(caught.value)
    assert [str(x.where) for x in caught.value.problems] == ["case c5"]
