"""What is assumed about cases without output or reference, against brute force over every possibility."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from evalsuite.analyses.population import build_population, scenario
from evalsuite.errors import InputError
from evalsuite.protocol.schema import StudyProtocol


def protocol(**task: object) -> StudyProtocol:
    return StudyProtocol.model_validate(
        {
            "schema": "evalsuite/protocol/1",
            "id": "t",
            "version": "1",
            "title": "t",
            "kind": "standalone",
            "intended_use": {},
            "task": {"kind": "binary", "reference": "truth", "score": "p", **task},
            "unit": {},
            "endpoints": [{"name": "a", "metric": "auroc"}],
            "seed": 1,
        }
    )


def population(truth: list[str], values: list[float], status: list[str] | None = None, **task: object):
    n = len(truth)
    ids = tuple(f"c{i}" for i in range(n))
    status = status or ["ok"] * n
    predictions = pd.DataFrame({"case_id": ids, "rater": "device", "condition": None, "status": status, "reason": None})
    predictions["p"] = np.array(values, dtype=float)
    return build_population(
        protocol(**task), case_id=ids, patient_id=ids, frame=pd.DataFrame({"truth": truth}), predictions=predictions
    )


def test_reference_classes_follow_the_declared_values():
    p = population(["1", "0", "", "1.0"], [0.1, 0.2, 0.3, 0.4])
    assert p.reference_class == ("positive", "negative", "missing", "positive")
    assert p.status == ("ok", "ok", "reference_missing", "ok")


@pytest.mark.parametrize("word", ["unknown", "Equivocal", "NA", "2", "abc"])
def test_a_reference_that_is_neither_positive_nor_negative_is_an_error_and_not_a_negative(word):
    with pytest.raises(InputError) as caught:
        population(["1", "0", word], [0.1, 0.2, 0.3])
    assert [p.where for p in caught.value.problems] == ["case c2"]


def test_text_classes_need_no_declared_negatives_unless_a_word_is_unsettled():
    p = population(["mel", "nv", "bkl"], [0.9, 0.2, 0.3], positive=["mel", "bcc"])
    assert p.reference_class == ("positive", "negative", "negative")
    with pytest.raises(InputError):
        population(["mel", "nv", "unknown"], [0.9, 0.2, 0.3], positive=["mel", "bcc"])


def test_an_output_the_model_does_not_give_is_named():
    with pytest.raises(InputError, match="p_mel"):
        population(["1", "0"], [0.1, 0.2], score="p_mel")


def test_worst_case_of_a_missing_output_is_a_wrong_call_at_the_extreme_rank():
    p = population(["1", "0", "1", "0"], [0.9, 0.1, np.nan, np.nan], ["ok", "ok", "failed", "rejected"])
    s = scenario(p, looks="rank", threshold=0.5, strict=False, outputs="worst_case", references="worst_case")
    assert s.call is not None
    assert s.call.tolist() == [True, False, False, True]
    assert s.score[2] == -np.inf
    assert s.score[3] == np.inf
    assert s.probability is not None
    assert s.probability[2:].tolist() == [0.0, 1.0]
    best = scenario(p, looks="rank", threshold=0.5, strict=False, outputs="best_case", references="worst_case")
    assert best.call is not None
    assert best.call.tolist() == [True, False, True, False]


def test_as_negative_as_positive_and_exclude():
    p = population(["1", "0", "1", "0"], [0.9, 0.1, np.nan, np.nan], ["ok", "ok", "failed", "failed"])
    view = {"looks": "call", "threshold": 0.5, "strict": False, "references": "worst_case"}
    assert scenario(p, outputs="as_negative", **view).call.tolist() == [True, False, False, False]
    assert scenario(p, outputs="as_positive", **view).call.tolist() == [True, False, True, True]
    assert scenario(p, outputs="exclude", **view).include.tolist() == [True, True, False, False]


@pytest.mark.parametrize("seed", range(25))
def test_extreme_auroc_over_missing_references_equals_brute_force(seed):
    rng = np.random.default_rng(seed)
    known = int(rng.integers(3, 9))
    unknown = int(rng.integers(1, 7))
    truth = ["1", "0", *rng.choice(["0", "1"], known - 2).tolist(), *[""] * unknown]
    # Few distinct values, so that ties are common.
    score = (rng.integers(0, 6, known + unknown) / 5).tolist()
    p = population(truth, score)
    tried = []
    for allocation in itertools.product([False, True], repeat=unknown):
        labels = np.array([t == "1" for t in truth[:known]] + list(allocation))
        tried.append(roc_auc_score(labels, score))
    for policy, wanted in (("worst_case", min(tried)), ("best_case", max(tried))):
        s = scenario(p, looks="rank", threshold=None, strict=False, outputs="worst_case", references=policy)
        assert roc_auc_score(s.reference, s.score) == pytest.approx(wanted, abs=1e-12)


def test_missing_reference_is_allocated_against_the_call():
    p = population(["1", "0", "", ""], [0.9, 0.1, 0.8, 0.2])
    view = {"looks": "call", "threshold": 0.5, "strict": False, "outputs": "worst_case"}
    assert scenario(p, references="worst_case", **view).reference.tolist() == [True, False, False, True]
    assert scenario(p, references="best_case", **view).reference.tolist() == [True, False, True, False]


def test_a_recalibration_has_no_worst_case_and_says_so():
    p = population(["1", "0", "1"], [0.9, 0.1, np.nan], ["ok", "ok", "failed"])
    s = scenario(p, looks="fit", threshold=None, strict=False, outputs="worst_case", references="worst_case")
    assert s.undefined is not None
    assert "no worst case" in s.undefined
    excluded = scenario(p, looks="fit", threshold=None, strict=False, outputs="exclude", references="exclude")
    assert excluded.undefined is None


def test_a_score_outside_zero_to_one_is_not_a_probability():
    assert not population(["1", "0"], [1.5, 0.2]).is_probability
    assert population(["1", "0"], [1.0 + 1e-9, 0.2]).is_probability
    assert not population(["1", "0"], [0.5, 0.2], probability=False).is_probability
