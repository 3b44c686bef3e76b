"""Edges of tasks with several classes: an absent class, one class only, ties, one case, nothing at all."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats import averages, multiclass
from evalsuite.stats.draw import PatientDraw

NAMES = ("a", "b", "c")


def sample(truth, p, names=NAMES):
    return multiclass.class_sample(truth, names, probability=p)


def draw(n: int, replicates: int = 200) -> PatientDraw:
    return PatientDraw(np.arange(n), replicates=replicates, seed=2)


def made(n: int = 60, k: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    p = rng.dirichlet(np.ones(k), n) + 0.5 * np.eye(k)[truth]
    return truth, p / p.sum(axis=1, keepdims=True)


def test_an_absent_class_is_named_and_no_average_leaves_it_out():
    truth, p = made()
    truth[truth == 1] = 0
    s = sample(truth, p)
    hand_till = multiclass.multiclass_bootstrap(draw(60), s, ["hand_till"])[0][0]
    assert hand_till.undefined == "class 'b': no cases"
    macro, micro, weighted = averages.averaged(
        draw(60), multiclass.one_vs_rest(s), ["macro_sensitivity", "micro_sensitivity", "weighted_auroc"]
    )[0]
    assert macro.undefined == "class 'b': no reference-positive cases"
    assert micro.value is not None
    assert weighted.value is not None


def test_a_class_that_is_never_called_has_no_ppv():
    s = multiclass.class_sample([0, 1, 2, 0], NAMES, predicted=[0, 1, 1, 0])
    ppv, f1 = averages.averaged(draw(4), multiclass.one_vs_rest(s), ["macro_ppv", "macro_f1"])[0]
    assert ppv.undefined == "class 'c': no positive calls"
    assert f1.value == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_one_class_only_gives_reasons_and_never_a_number():
    p = np.tile([0.8, 0.1, 0.1], (12, 1))
    found = dict(
        zip(
            multiclass.METRICS,
            multiclass.multiclass_bootstrap(draw(12), sample(np.zeros(12, int), p), multiclass.METRICS)[0],
            strict=True,
        )
    )
    assert found["accuracy"].value == 1.0
    assert found["accuracy"].low is None
    assert "replicates equal" in found["accuracy"].interval_undefined
    for metric in ("kappa", "mcc", "hand_till"):
        assert found[metric].value is None, metric
        assert found[metric].undefined


def test_no_cases_and_one_case():
    empty = sample(np.zeros(0, int), np.zeros((0, 3)))
    for e in multiclass.multiclass_bootstrap(PatientDraw(np.zeros(0), replicates=5, seed=1), empty, ["accuracy"])[0]:
        assert e.undefined == "no cases"
    one = multiclass.multiclass_bootstrap(draw(1), sample([1], [[0.2, 0.7, 0.1]]), ["accuracy", "multiclass_brier"])[0]
    assert one[0].value == 1.0
    assert one[0].interval_undefined.startswith("one patient only")
    assert one[1].value == pytest.approx(0.04 + 0.09 + 0.01)


def test_one_patient_with_all_cases_has_no_interval():
    truth, p = made()
    one = PatientDraw(np.zeros(60), replicates=50, seed=1)
    for e in multiclass.multiclass_bootstrap(one, sample(truth, p), ["accuracy", "hand_till"])[0]:
        assert e.value is not None
        assert e.interval_undefined == "one patient only: resampling patients cannot show any variation"


def test_ties_go_to_the_first_class_and_top_one_is_accuracy():
    p = np.full((9, 3), 1 / 3)
    s = sample(np.repeat([0, 1, 2], 3), p)
    assert s.predicted.tolist() == [0] * 9
    accuracy, top1, hand_till = multiclass.multiclass_bootstrap(
        draw(9), s, ["accuracy", "top_k_accuracy", "hand_till"], top=1
    )[0]
    assert accuracy.value == top1.value == pytest.approx(1 / 3)
    assert (accuracy.numerator, accuracy.denominator) == (3, 9)
    assert hand_till.value == 0.5


def test_an_impossible_class_makes_the_log_loss_infinite_and_says_so():
    e = multiclass.multiclass_bootstrap(draw(2), sample([0, 1], [[0.5, 0.5, 0], [1, 0, 0]]), ["log_loss"])[0][0]
    assert e.value is None
    assert "1 cases have probability 0" in e.undefined


def test_strata_are_estimated_from_their_own_cases_only():
    truth, p = made()
    mask = np.arange(60) < 25
    both = multiclass.multiclass_bootstrap(
        draw(60), sample(truth, p), ["kappa", "hand_till"], masks=np.array([mask, np.zeros(60, bool)])
    )
    alone = multiclass.multiclass_bootstrap(draw(25), sample(truth[mask], p[mask]), ["kappa", "hand_till"])
    assert [e.value for e in both[0]] == pytest.approx([e.value for e in alone[0]])
    assert [e.undefined for e in both[1]] == ["no cases", "no cases"]


def test_numbers_do_not_depend_on_threads():
    truth, p = made()
    first = multiclass.multiclass_bootstrap(draw(60), sample(truth, p), multiclass.METRICS, threads=1)
    again = multiclass.multiclass_bootstrap(draw(60), sample(truth, p), multiclass.METRICS, threads=3)
    assert first == again


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": [0, 3]}, "whole numbers from 0 to 2"),
        ({"reference": [0.5, 1]}, "whole numbers"),
        ({"reference": ["a", "b"]}, "whole numbers"),
        ({"probability": [[0.5, 0.2, 0.1], [1, 0, 0]]}, "sum to 1"),
        ({"probability": [[1.5, -0.5, 0], [1, 0, 0]]}, r"outside \[0, 1\]"),
        ({"probability": [[np.nan, 1, 0], [1, 0, 0]]}, "NaN"),
        ({"probability": [[1.0, 0]]}, "shape"),
        ({"predicted": [0]}, "shape"),
    ],
)
def test_what_is_not_a_classification_is_refused(change, message):
    arguments = {"reference": [0, 1], "names": NAMES, **change}
    with pytest.raises(ValueError, match=message):
        multiclass.class_sample(arguments.pop("reference"), arguments.pop("names"), **arguments)


def test_unknown_metrics_and_missing_inputs_are_refused():
    s = multiclass.class_sample([0, 1], NAMES, predicted=[0, 1])
    with pytest.raises(ValueError, match="unknown metric: nothing"):
        multiclass.multiclass_bootstrap(draw(2), s, ["nothing"])
    with pytest.raises(ValueError, match="needs score"):
        multiclass.multiclass_bootstrap(draw(2), s, ["hand_till"])
    with pytest.raises(ValueError, match="needs probability"):
        multiclass.multiclass_bootstrap(draw(2), s, ["log_loss"])
    with pytest.raises(ValueError, match="top lies between"):
        multiclass.multiclass_bootstrap(draw(60), sample(*made()), ["top_k_accuracy"], top=4)
    with pytest.raises(ValueError, match="need scores"):
        averages.averaged(draw(2), multiclass.one_vs_rest(s), ["macro_auroc"])
    with pytest.raises(ValueError, match="at least 2"):
        multiclass.class_sample([0], ["a"])
