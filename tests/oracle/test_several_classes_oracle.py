"""Tasks with several classes, labels or grades against R, scikit-learn and brute force.

`data/several_classes.csv` is what `generators/several_classes.R` printed (versions in its first line) for the made-up
cases of `data/four_classes.csv` and `data/three_labels.csv`.
"""

from __future__ import annotations

import csv
import itertools
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from evalsuite.stats import averages, multiclass, multilabel, ordinal, ordinal_bootstrap
from evalsuite.stats.draw import PatientDraw

DATA = Path(__file__).parent / "data"
CLASSES = ("mel", "nv", "bcc", "bkl")
LABELS = ("effusion", "nodule", "oedema")


def _figures() -> dict[str, dict[str, dict[str, float]]]:
    table: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    with (DATA / "several_classes.csv").open(encoding="utf-8") as lines:
        next(lines)  # versions
        for row in csv.DictReader(lines):
            table[row["family"]][row["case"]][row["figure"]] = float(row["value"])
    return table


def _rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


R = _figures()
ROWS = _rows("four_classes.csv")
PATIENT = np.array([int(r["patient"]) for r in ROWS])
TRUTH = np.array([CLASSES.index(r["reference"]) for r in ROWS])
P = np.array([[float(r[f"p_{c}"]) for c in CLASSES] for r in ROWS])
SAMPLE = multiclass.class_sample(TRUTH, CLASSES, probability=P)
CALLED = SAMPLE.predicted
DRAW = PatientDraw(PATIENT, replicates=50, seed=4)

LABEL_ROWS = _rows("three_labels.csv")
Y = np.array([[r[c] == "1" for c in LABELS] for r in LABEL_ROWS])
S = np.array([[float(r[f"p_{c}"]) for c in LABELS] for r in LABEL_ROWS])
ANSWERS = averages.Answers(truth=Y, call=S >= 0.5, score=S, names=LABELS, kind="label")
LABEL_DRAW = PatientDraw(np.array([int(r["patient"]) for r in LABEL_ROWS]), replicates=50, seed=4)


def overall(metric: str, sample: multiclass.ClassSample = SAMPLE, **options: int) -> float:
    found = multiclass.multiclass_bootstrap(DRAW, sample, [metric], method="percentile", threads=1, **options)[0][0]
    assert found.value is not None, found.undefined
    return found.value


def average(metric: str) -> float:
    draw, answers = DRAW, multiclass.one_vs_rest(SAMPLE)
    found = averages.averaged(draw, answers, [metric], method="percentile", threads=1)[0][0]
    assert found.value is not None, found.undefined
    return found.value


def of_labels(metric: str) -> float:
    found = multilabel.multilabel_bootstrap(LABEL_DRAW, ANSWERS, [metric], method="percentile", threads=1)[0][0]
    assert found.value is not None, found.undefined
    return found.value


def near(value: float) -> object:
    return pytest.approx(value, rel=1e-12, abs=1e-12)


# --- R ----------------------------------------------------------------------------------------------------------------


def test_hand_till_is_procs_multiclass_roc():
    assert overall("hand_till") == near(R["hand-till"]["four"]["value"])
    sub = TRUTH < 3
    found = multiclass.hand_till(TRUTH[sub], P[sub][:, :3], CLASSES[:3], method="percentile")
    assert found.value == near(R["hand-till"]["three"]["value"])


@pytest.mark.parametrize("metric", ["kappa", "accuracy", "mcc", "multiclass_brier"])
def test_overall_figures_are_those_of_r(metric):
    assert overall(metric) == near(R["overall"]["four"][metric])


@pytest.mark.parametrize("top", [1, 2, 3, 4])
def test_top_k_is_counted_as_in_r(top):
    assert overall("top_k_accuracy", top=top) == near(R["top-k"][str(top)]["value"])


@pytest.mark.parametrize("bins", [5, 10, 15])
@pytest.mark.parametrize("metric", ["top_label_ece", "classwise_ece"])
def test_calibration_errors_are_those_of_r(metric, bins):
    assert overall(metric, bins=bins) == near(R["ece"][str(bins)][metric])


def test_the_confusion_matrix_is_rs_table():
    matrix = multiclass.confusion_matrix(TRUTH, CALLED, 4)
    for (i, a), (j, b) in itertools.product(enumerate(CLASSES), enumerate(CLASSES)):
        assert matrix[i, j] == R["confusion"][f"{a}/{b}"]["n"]


@pytest.mark.parametrize("metric", [*averages.CALLED, *averages.RANKED])
def test_averages_are_averages_of_rs_one_vs_rest_figures(metric):
    each = np.array([R["one-vs-rest"][c][metric] for c in CLASSES])
    weight = np.bincount(TRUTH, minlength=4)
    assert average(f"macro_{metric}") == near(each.mean())
    assert average(f"weighted_{metric}") == near(np.average(each, weights=weight))


def test_ordered_grades_are_those_of_r():
    figures = R["ordinal"]
    found = ordinal_bootstrap.ordinal_bootstrap(DRAW, CALLED, TRUTH, 4, ordinal_bootstrap.METRICS, probability=P)[0]
    by_name = dict(zip(ordinal_bootstrap.METRICS, found, strict=True))
    assert by_name["linear_kappa"].value == near(figures["Equal-Spacing"]["value"])
    assert by_name["quadratic_kappa"].value == near(figures["Fleiss-Cohen"]["value"])
    assert by_name["kendall_tau_b"].value == near(figures["tau-b"]["value"])
    three = TRUTH < 3
    score = CALLED[three] + P[three, 1] / 8
    volume = ordinal_bootstrap.vus_bootstrap(PatientDraw(PATIENT[three], replicates=50, seed=1), score, TRUTH[three])
    assert volume[0].value == near(figures["vus"]["value"])


def test_labels_are_those_of_r():
    assert of_labels("subset_accuracy") == near(R["labels"]["all"]["subset_accuracy"])
    assert of_labels("hamming_loss") == near(R["labels"]["all"]["hamming_loss"])
    assert of_labels("macro_auroc") == near(np.mean([R["labels"][c]["auroc"] for c in LABELS]))
    assert of_labels("micro_auroc") == near(R["labels"]["pooled"]["auroc"])
    assert of_labels("micro_f1") == near(R["labels"]["pooled"]["f1"])
    assert of_labels("macro_f1") == near(R["labels"]["mean"]["f1"])


# --- scikit-learn -----------------------------------------------------------------------------------------------------


def test_overall_figures_are_those_of_scikit_learn():
    assert overall("accuracy") == near(sk.accuracy_score(TRUTH, CALLED))
    assert overall("kappa") == near(sk.cohen_kappa_score(TRUTH, CALLED))
    assert overall("mcc") == near(sk.matthews_corrcoef(TRUTH, CALLED))
    assert overall("hand_till") == near(sk.roc_auc_score(TRUTH, P, multi_class="ovo", average="macro"))
    impossible = P[np.arange(len(TRUTH)), TRUTH] == 0.0
    safe = np.where(impossible[:, None], 0.25, P)
    sample = multiclass.class_sample(TRUTH, CLASSES, probability=safe)
    assert overall("log_loss", sample) == near(sk.log_loss(TRUTH, safe / safe.sum(axis=1, keepdims=True)))


def _by_scikit_learn(kind: str, metric: str, truth: np.ndarray, call: np.ndarray, score: np.ndarray) -> float | None:
    functions = {"sensitivity": sk.recall_score, "ppv": sk.precision_score, "f1": sk.f1_score}
    if metric in functions:
        return float(functions[metric](truth, call, average=kind))
    if metric == "auroc":
        return float(sk.roc_auc_score(truth, score, average=kind))
    if metric == "average_precision":
        return float(sk.average_precision_score(truth, score, average=kind))
    return None


@pytest.mark.parametrize("kind", averages.AVERAGES)
@pytest.mark.parametrize("metric", ["sensitivity", "ppv", "f1", "auroc", "average_precision"])
def test_averages_are_those_of_scikit_learn(kind, metric):
    answers = multiclass.one_vs_rest(SAMPLE)
    assert average(f"{kind}_{metric}") == near(_by_scikit_learn(kind, metric, answers.truth, answers.call, P))
    assert of_labels(f"{kind}_{metric}") == near(_by_scikit_learn(kind, metric, Y, S >= 0.5, S))


@pytest.mark.parametrize("kind", averages.AVERAGES)
@pytest.mark.parametrize(("metric", "flipped"), [("specificity", "sensitivity"), ("npv", "ppv")])
def test_the_negative_side_is_the_positive_side_of_the_complement(kind, metric, flipped):
    """Specificity is sensitivity, and NPV is PPV, of the negated answers (scikit-learn has neither by name)."""
    weights = Y.sum(axis=0)
    function = sk.recall_score if flipped == "sensitivity" else sk.precision_score
    each = function(~Y, S < 0.5, average=None)
    pooled = function(~Y, S < 0.5, average="micro")
    expected = {"macro": each.mean(), "weighted": np.average(each, weights=weights), "micro": pooled}[kind]
    assert of_labels(f"{kind}_{metric}") == near(expected)


def test_whole_label_sets_are_those_of_scikit_learn():
    assert of_labels("subset_accuracy") == near(sk.accuracy_score(Y, S >= 0.5))
    assert of_labels("hamming_loss") == near(sk.hamming_loss(Y, S >= 0.5))


# --- by hand and by brute force ---------------------------------------------------------------------------------------


def test_hand_till_of_five_cases_by_hand():
    """Three classes a, b, c with 2, 2 and 1 cases; every pair comparison can be read off the table.

    A(a|b): a's scores for a .6 .3 against b's .3 .2: wins 2 + (½ + 1) = 3½ of 4. A(b|a): b .5 .6 against a .3 .4: 4 of
    4. A(a|c): .6 .3 against .1: 2 of 2. A(c|a): .7 against .1 .3: 2 of 2. A(b|c): .5 .6 against .2: 2 of 2. A(c|b): .7
    against .2 .2: 2 of 2. M = ((.875 + 1)/2 + 1 + 1)/3 = 2.9375/3.
    """
    p = [[0.6, 0.3, 0.1], [0.3, 0.4, 0.3], [0.3, 0.5, 0.2], [0.2, 0.6, 0.2], [0.1, 0.2, 0.7]]
    found = multiclass.hand_till([0, 0, 1, 1, 2], p, ["a", "b", "c"], method="percentile")
    assert found.value == near(2.9375 / 3.0)


def test_kappa_and_correlation_of_a_table_by_hand():
    """10 cases: 3 of a called a, 1 of a called b, 2 of b called b, 1 of b called c, 3 of c called c.

    Right 8; reference 4 3 3, called 3 3 4: chance 12 + 9 + 12 = 33 of 100. Kappa (80 − 33)/(100 − 33); R_K the same
    numerator over √((100 − 34)(100 − 34)).
    """
    truth, called = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    sample = multiclass.class_sample(truth, list("abc"), predicted=called)
    draw = PatientDraw(np.arange(10), replicates=20, seed=1)
    kappa, mcc = multiclass.multiclass_bootstrap(draw, sample, ["kappa", "mcc"], method="percentile")[0]
    assert kappa.value == near(47 / 67)
    assert mcc.value == near(47 / 66)


def test_brier_and_top_label_error_of_two_cases_by_hand():
    """(.7, .2, .1) for class a: .09 + .04 + .01 = .14. (.5, .3, .2) for b: .25 + .49 + .04 = .78. Top labels: bins
    (.6, .7] gap |1 − .7| = .3 and (.4, .5] gap |0 − .5| = .5, mean .4."""
    sample = multiclass.class_sample([0, 1], list("abc"), probability=[[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]])
    draw = PatientDraw(np.arange(2), replicates=20, seed=1)
    brier, ece = multiclass.multiclass_bootstrap(draw, sample, ["multiclass_brier", "top_label_ece"])[0]
    assert brier.value == near(0.46)
    assert ece.value == near(0.4)


def _resample(draw: PatientDraw, r: int) -> np.ndarray:
    counts = draw.counts(r, r + 1)[0]
    return np.repeat(np.arange(draw.n), counts[draw.patient])


@pytest.mark.parametrize("metric", ["accuracy", "kappa", "mcc", "hand_till", "macro_f1", "micro_average_precision"])
def test_every_replicate_is_the_statistic_of_the_resampled_cases(metric):
    """Replicates built by copying cases and asking scikit-learn, and the interval read off them by numpy."""
    values = []
    for r in range(DRAW.replicates):
        rows = _resample(DRAW, r)
        t, c, p = TRUTH[rows], CALLED[rows], P[rows]
        values.append(
            {
                "accuracy": lambda t, c, p: sk.accuracy_score(t, c),
                "kappa": lambda t, c, p: sk.cohen_kappa_score(t, c),
                "mcc": lambda t, c, p: sk.matthews_corrcoef(t, c),
                "hand_till": lambda t, c, p: sk.roc_auc_score(t, p, multi_class="ovo"),
                "macro_f1": lambda t, c, p: sk.f1_score(t, c, average="macro"),
                "micro_average_precision": lambda t, c, p: sk.average_precision_score(np.eye(4)[t], p, average="micro"),
            }[metric](t, c, p)
        )
    if metric in multiclass.METRICS:
        found = multiclass.multiclass_bootstrap(DRAW, SAMPLE, [metric], method="percentile")[0][0]
    else:
        found = averages.averaged(DRAW, multiclass.one_vs_rest(SAMPLE), [metric], method="percentile")[0][0]
    low, high = np.quantile(values, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=1e-10)
    assert found.high == pytest.approx(high, abs=1e-10)


@pytest.mark.parametrize("metric", ["linear_kappa", "quadratic_kappa", "kendall_tau_b", "gwet_ac2", "rps"])
def test_ordinal_replicates_are_the_closed_estimates_of_the_resampled_cases(metric):
    functions = {
        "linear_kappa": lambda t, c, p: ordinal.weighted_kappa(c, t, 4, weights="linear").value,
        "quadratic_kappa": lambda t, c, p: ordinal.weighted_kappa(c, t, 4).value,
        "kendall_tau_b": lambda t, c, p: ordinal.kendall_tau_b(ordinal.grade_table(c, t, 4)).value,
        "gwet_ac2": lambda t, c, p: ordinal.gwet_ac(ordinal.grade_table(c, t, 4)).value,
        "rps": lambda t, c, p: ordinal.ranked_probability_score(p, t).value,
    }
    values = []
    for r in range(DRAW.replicates):
        rows = _resample(DRAW, r)
        values.append(functions[metric](TRUTH[rows], CALLED[rows], P[rows]))
    found = ordinal_bootstrap.ordinal_bootstrap(DRAW, CALLED, TRUTH, 4, [metric], probability=P, method="percentile")[
        0
    ][0]
    low, high = np.quantile(values, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=1e-10)
    assert found.high == pytest.approx(high, abs=1e-10)
    assert found.value == near(functions[metric](TRUTH, CALLED, P))


def test_volume_replicates_are_those_of_the_resampled_cases():
    three = TRUTH < 3
    score, grade = np.round(CALLED[three] + P[three, 1], 1), TRUTH[three]
    draw = PatientDraw(PATIENT[three], replicates=40, seed=9)
    values = [ordinal.vus(score[rows], grade[rows]).value for rows in (_resample(draw, r) for r in range(40))]
    found = ordinal_bootstrap.vus_bootstrap(draw, score, grade, method="percentile")[0]
    low, high = np.quantile(values, [0.025, 0.975])
    assert found.value == near(ordinal.vus(score, grade).value)
    assert found.low == pytest.approx(low, abs=1e-12)
    assert found.high == pytest.approx(high, abs=1e-12)
