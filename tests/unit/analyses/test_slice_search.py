"""The search for slices as a protocol asks for it: a planted slice in evidence, embeddings, and sets too small."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evalsuite.analyses.embedding import embedding_columns
from evalsuite.analyses.tasks import evaluate_task
from tests.unit.analyses.test_beside_performance import AREA, of, protocol

STRATA = [{"name": "site"}, {"name": "sex"}, {"name": "both", "cross": ["site", "sex"]}]


def study(n: int = 1600, *, seed: int = 5, weak: bool = True):
    """Positives and negatives by turns; positives of men at site b are missed half of the time, others 1 in 10."""
    rng = np.random.default_rng(seed)
    site, sex = rng.choice(["a", "b", "c"], size=n), rng.choice(["f", "m"], size=n)
    truth = np.arange(n) % 2 == 0
    poor = (site == "b") & (sex == "m") & weak
    right = rng.random(n) < np.where(truth & poor, 0.5, 0.9)
    score = np.where(right == truth, 0.8, 0.2)
    frame = pd.DataFrame({"truth": np.where(truth, "1", "0"), "site": site, "sex": sex})
    return frame, score, poor


def evaluate(frame: pd.DataFrame, score: np.ndarray, block: dict | None = None, **outputs: np.ndarray):
    ids = tuple(f"c{i}" for i in range(len(frame)))
    p = protocol(AREA, analyses={"slices": block or {}}, strata=STRATA)
    predictions = pd.DataFrame(
        {"case_id": ids, "rater": "device", "condition": None, "status": "ok", "reason": None, "p": score, **outputs}
    )
    return evaluate_task(p, case_id=ids, patient_id=ids, frame=frame, predictions=predictions)


def held(results) -> list:
    return [t for t in results.tests if t.name.endswith("held-out half") and t.p_adjusted <= 0.05]


def test_a_planted_slice_is_in_the_evidence_with_both_halves():
    frame, score, poor = study()
    results = evaluate(frame, score)
    (found,) = [t for t in held(results) if dict(t.stratum) == {"site": "b", "sex": "m"}]
    assert found.endpoint == "false negative"
    shares = {
        (f.condition, f.reference_group): f.estimate
        for f in of(results, "slices")
        if f.endpoint == "false negative" and dict(f.stratum) == {"site": "b", "sex": "m"}
    }
    assert set(shares) == {(h, r) for h in ("searched half", "held-out half") for r in (None, "all others")}
    positives = (frame["truth"] == "1").to_numpy()
    both = sum(shares[h, None].denominator for h in ("searched half", "held-out half"))
    assert both == (positives & poor).sum()
    assert shares["held-out half", None].value > 0.3 > shares["held-out half", "all others"].value
    (said,) = [n for n in results.notes if n.startswith("Slices: ")]
    assert "hold" in said
    assert all(f.role == "exploratory" and not f.prespecified for f in of(results, "slices"))


def test_without_an_effect_nothing_holds_and_the_note_says_so():
    frame, score, _ = study(weak=False, seed=6)
    results = evaluate(frame, score)
    assert not held(results)
    assert any("0 hold" in n for n in results.notes)


def test_a_set_too_small_to_search_has_no_slices():
    frame, score, _ = study(30)
    results = evaluate(frame, score)
    assert not of(results, "slices")
    assert any("Slices: 0 groups" in n for n in results.notes)


def test_groups_of_alike_cases_are_an_attribute_drawn_without_the_held_out_half():
    frame, score, poor = study(seed=7)
    rng = np.random.default_rng(1)
    place = np.where(poor, 6.0, 0.0)[:, None] + rng.normal(size=(len(frame), 3))
    outputs = {f"feature_{i}": place[:, i] for i in range(3)}
    block = {"attributes": ["sex"], "depth": 1, "embedding": ["feature_*"], "clusters": 2}
    results = evaluate(frame, score, block, **outputs)
    names = {tuple(t.stratum) for t in held(results) if t.endpoint == "false negative"}
    assert ("group of alike images",) in names
    assert results.tests == evaluate(frame, score, block, **outputs).tests


def test_an_embedding_the_model_does_not_give_is_said_and_the_rest_is_searched():
    frame, score, _ = study()
    results = evaluate(frame, score, {"embedding": ["feature_*"]})
    assert any("gives no output named feature_*" in n for n in results.notes)
    assert held(results)


def test_cases_without_an_embedding_are_a_group_of_their_own():
    frame, score, poor = study()
    place = np.where(poor, np.nan, np.arange(len(frame)) % 7.0)
    results = evaluate(frame, score, {"attributes": ["sex"], "depth": 1, "embedding": ["e"], "clusters": 3}, e=place)
    assert {"group of alike images": "no embedding"} in [dict(t.stratum) for t in held(results)]


@pytest.mark.parametrize(
    ("asked", "columns", "absent"),
    [
        (["f*"], ["f1", "f2"], []),
        (["f2", "p"], ["p", "f2"], []),
        (["f3", "case_id"], [], ["f3", "case_id"]),
    ],
)
def test_names_of_embeddings(asked, columns, absent):
    assert embedding_columns(asked, ["case_id", "status", "p", "f1", "f2"]) == (columns, absent)
