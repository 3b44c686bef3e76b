"""Intervals where there are several classes, labels or ordered grades."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from scipy.special import ndtr, ndtri

from benchmarks.coverage.designs import Bools, Floats, Ints, alike, patients, with_draws
from benchmarks.coverage.study import FEWER, Answer, Cell, Family, grid
from evalsuite.stats import averages, multiclass, multilabel, ordinal
from evalsuite.stats._resampled import read, replicated
from evalsuite.stats.bootstrap_interval import BootstrapMethod
from evalsuite.stats.ordinal_bootstrap import ordinal_replicates, vus_replicates

PAGE = "several"
REPLICATES = 500
METHODS: dict[BootstrapMethod, str] = {"percentile": "bootstrap, percentile", "bca": "bootstrap, BCa"}
CLASSES = ("a", "b", "c", "d")
SHARES = {"even": (0.25, 0.25, 0.25, 0.25), "one rare": (0.05, 0.15, 0.3, 0.5)}
WHOLE = {
    "accuracy": "accuracy, several classes",
    "top_k_accuracy": "top-2 accuracy",
    "kappa": "kappa, several classes",
    "mcc": "MCC, several classes",
    "hand_till": "Hand-Till M",
    "multiclass_brier": "Brier score, several classes",
    "log_loss": "log loss, several classes",
}
ABSOLUTE = {"top_label_ece": "top-label ECE", "classwise_ece": "class-wise ECE"}
MEAN = {
    "macro_sensitivity": "macro sensitivity",
    "macro_specificity": "macro specificity",
    "macro_ppv": "macro PPV",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "micro_f1": "micro F1",
    "macro_auroc": "macro AUROC",
    "weighted_auroc": "weighted AUROC",
    "macro_average_precision": "macro average precision",
}
TRUTH_CASES = 2_000_000


def _more(cell: Cell) -> str:
    return ", several cases per patient" if cell.cases > 1 else ""


def _classes(rng: np.random.Generator, patient: Ints, kind: str) -> tuple[Ints, Floats]:
    """Class and probabilities of each case; the noise of a class's score is shared within a patient by half."""
    truth = rng.choice(4, patient.size, p=SHARES[kind])
    noise = np.stack([alike(rng, patient) for _ in CLASSES], axis=1)
    p = np.exp(noise + 1.5 * np.eye(4)[truth])
    return truth.astype(np.int64), p / p.sum(axis=1, keepdims=True)


@lru_cache(maxsize=4)
def class_truths(kind: str) -> dict[str, float]:
    """True values from two million cases, by scikit-learn and plain numpy, not by the suite."""
    from sklearn import metrics as sk

    truth, p = _classes(np.random.default_rng(20_240_229), np.arange(TRUTH_CASES), kind)
    called = p.argmax(axis=1)
    own = p[np.arange(truth.size), truth]
    hot = np.eye(4)[truth]
    top = p.max(axis=1)
    right = (called == truth).astype(np.float64)

    def gap(outcome: Floats, probability: Floats) -> float:
        index = np.minimum((probability * 10.0).astype(int), 9)
        return float(np.abs(np.bincount(index, outcome - probability, minlength=10)).sum() / outcome.size)

    common = {"labels": range(4), "zero_division": np.nan}
    return {
        "accuracy": float(right.mean()),
        "top_k_accuracy": float(((p > own[:, None]).sum(axis=1) < 2).mean()),
        "kappa": sk.cohen_kappa_score(truth, called),
        "mcc": sk.matthews_corrcoef(truth, called),
        "hand_till": sk.roc_auc_score(truth, p, multi_class="ovo", average="macro"),
        "multiclass_brier": float(((p - hot) ** 2).sum(axis=1).mean()),
        "log_loss": float(-np.log(own).mean()),
        "top_label_ece": gap(right, top),
        "classwise_ece": float(np.mean([gap(hot[:, k], p[:, k]) for k in range(4)])),
        "macro_sensitivity": sk.recall_score(truth, called, average="macro", **common),
        "macro_specificity": float(np.mean([sk.recall_score(truth != k, called != k) for k in range(4)])),
        "macro_ppv": sk.precision_score(truth, called, average="macro", **common),
        "macro_f1": sk.f1_score(truth, called, average="macro", **common),
        "weighted_f1": sk.f1_score(truth, called, average="weighted", **common),
        "micro_f1": sk.f1_score(truth, called, average="micro", **common),
        "macro_auroc": sk.roc_auc_score(truth, p, multi_class="ovr", average="macro"),
        "weighted_auroc": sk.roc_auc_score(truth, p, multi_class="ovr", average="weighted"),
        "macro_average_precision": sk.average_precision_score(hot, p, average="macro"),
    }


def _several_classes(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    kind = cell.word("classes")
    truth = class_truths(kind)
    for design in with_draws(rng, cell, studies, REPLICATES):
        reference, p = _classes(rng, design.patient, kind)
        sample = multiclass.class_sample(reference, CLASSES, probability=p)
        one_vs_rest = multiclass.one_vs_rest(sample)
        whole = multiclass.multiclass_replicates(design.draw, sample, list(WHOLE), top=2, threads=1)
        material = averages.material_of(one_vs_rest, list(MEAN))
        formulas = [averages.statistic_of(one_vs_rest, metric) for metric in MEAN]
        mean = replicated(design.draw, material, formulas, threads=1)
        for method, title in METHODS.items():
            rows = (*read(whole, method=method)[0], *read(mean, method=method)[0])
            for metric, e in zip((*WHOLE, *MEAN), rows, strict=True):
                yield Answer((WHOLE.get(metric) or MEAN[metric]) + _more(cell), title, truth[metric], e)


def _absolute(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    """The calibration errors of the same designs: absolute values, with an interval of their own."""
    kind = cell.word("classes")
    truth = class_truths(kind)
    for design in with_draws(rng, cell, studies, REPLICATES):
        reference, p = _classes(rng, design.patient, kind)
        sample = multiclass.class_sample(reference, CLASSES, probability=p)
        made = multiclass.multiclass_bootstrap(design.draw, sample, list(ABSOLUTE), threads=1)[0]
        for metric, e in zip(ABSOLUTE, made, strict=True):
            yield Answer(ABSOLUTE[metric] + _more(cell), "bootstrap for absolute values", truth[metric], e)


LABELS = (0.5, 0.3, 0.1)
LABEL_SHIFT = 1.5


def _labels(rng: np.random.Generator, patient: Ints) -> tuple[Bools, Floats]:
    """Three labels per case: truth and score, both correlated within a patient and between labels."""
    common = alike(rng, patient)
    truth = np.stack([common * math.sqrt(0.3) + math.sqrt(0.7) * alike(rng, patient) for _ in LABELS], axis=1) < ndtri(
        np.array(LABELS)
    )
    return truth, np.stack([alike(rng, patient) for _ in LABELS], axis=1) + LABEL_SHIFT * truth


@lru_cache(maxsize=1)
def label_truths() -> dict[str, float]:
    """True values from two million cases, and by normal theory where there is any."""
    truth, score = _labels(np.random.default_rng(20_240_301), np.arange(TRUTH_CASES))
    called = score >= LABEL_SHIFT / 2.0
    right = float(ndtr(LABEL_SHIFT / 2.0))
    return {
        "subset_accuracy": float((called == truth).all(axis=1).mean()),
        "hamming_loss": 1.0 - right,
        "macro_auroc": float(ndtr(LABEL_SHIFT / math.sqrt(2.0))),
        "macro_f1": float(np.mean([2 * q * right / (q + q * right + (1 - q) * (1 - right)) for q in LABELS])),
    }


def _several_labels(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    truth = label_truths()
    names = {"subset_accuracy": "subset accuracy", "hamming_loss": "Hamming loss"}
    for design in with_draws(rng, cell, studies, REPLICATES):
        labels, score = _labels(rng, design.patient)
        answers = averages.Answers(
            truth=labels, call=score >= LABEL_SHIFT / 2.0, score=score, names=("a", "b", "c"), kind="label"
        )
        table = multilabel.multilabel_replicates(design.draw, answers, list(truth), threads=1)
        for method, title in METHODS.items():
            made = read(table, method=method)[0]
            for metric, e in zip(truth, made, strict=True):
                name = names.get(metric) or f"{MEAN[metric]}, several labels"
                yield Answer(name + _more(cell), title, truth[metric], e)


GRADES = {"even": (0.25, 0.25, 0.25, 0.25), "skewed": (0.7, 0.2, 0.07, 0.03)}
ALIKE = 0.8
"""Correlation of the device's and the reference's latent scale."""
TABLE = {
    "quadratic_kappa": "weighted kappa, quadratic",
    "linear_kappa": "weighted kappa, linear",
    "gwet_ac2": "AC2",
    "kendall_tau_b": "tau-b",
    "adjacent_agreement": "agreement within one grade",
}


def _cuts(kind: str) -> Floats:
    return np.asarray(ndtri(np.cumsum(GRADES[kind])[:-1]), dtype=np.float64)


@lru_cache(maxsize=4)
def grade_truths(kind: str) -> dict[str, float]:
    """True values from the probabilities of the cells of the table, themselves by numerical integration."""
    edges = np.concatenate([[-np.inf], _cuts(kind), [np.inf]])
    z = np.linspace(-9.0, 9.0, 200_001)
    mass = np.exp(-z * z / 2.0)
    mass /= mass.sum()
    # Given the device's latent value the reference's is normal around its `ALIKE`th part.
    below = ndtr((edges[None, :] - ALIKE * z[:, None]) / math.sqrt(1.0 - ALIKE**2))
    of_reference = np.diff(below, axis=1)
    device = np.searchsorted(_cuts(kind), z, side="right")
    p = np.stack([(mass[:, None] * of_reference)[device == g].sum(axis=0) for g in range(4)])
    apart = np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    row, column = p.sum(axis=1), p.sum(axis=0)

    def beyond_chance(weight: Floats, chance: float) -> float:
        return float(((weight * p).sum() - chance) / (1.0 - chance))

    linear, quadratic = 1.0 - apart / 3.0, 1.0 - (apart / 3.0) ** 2
    share = (row + column) / 2.0
    concordant = sum(p[i, j] * (p[i + 1 :, j + 1 :].sum() - p[i + 1 :, :j].sum()) for i in range(4) for j in range(4))
    cumulative = below[:, 1:-1]
    return {
        "quadratic_kappa": beyond_chance(quadratic, float(row @ quadratic @ column)),
        "linear_kappa": beyond_chance(linear, float(row @ linear @ column)),
        "gwet_ac2": beyond_chance(quadratic, float(quadratic.sum() / 12.0 * (share * (1.0 - share)).sum())),
        "kendall_tau_b": float(2.0 * concordant / math.sqrt((1.0 - row @ row) * (1.0 - column @ column))),
        "adjacent_agreement": float(p[apart <= 1].sum()),
        "rps": float((mass @ (cumulative * (1.0 - cumulative))).sum() / 3.0),
    }


def _graded(rng: np.random.Generator, patient: Ints, kind: str) -> tuple[Ints, Ints, Floats]:
    """Device's and reference's grade of each case, and the device's probabilities of the grades (which are right)."""
    latent = alike(rng, patient)
    reference = ALIKE * latent + math.sqrt(1.0 - ALIKE**2) * alike(rng, patient)
    cuts = _cuts(kind)
    below = ndtr((cuts[None, :] - ALIKE * latent[:, None]) / math.sqrt(1.0 - ALIKE**2))
    edge = np.zeros((patient.size, 1))
    probability = np.diff(np.concatenate([edge, below, edge + 1.0], axis=1), axis=1)
    return np.searchsorted(cuts, latent, side="right"), np.searchsorted(cuts, reference, side="right"), probability


def _ordinal(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    """Closed forms, one case per patient (agreement and RPS also with several)."""
    kind = cell.word("grades")
    truth = grade_truths(kind)
    for _ in range(studies):
        patient = patients(rng, cell.n, cell.cases)
        device, reference, p = _graded(rng, patient, kind)
        if cell.cases == 1:
            table = ordinal.grade_table(device, reference, 4)
            for weights in ("quadratic", "linear"):
                e = ordinal.weighted_kappa(device, reference, 4, weights=weights)
                yield Answer(f"weighted kappa, {weights}", "Fleiss-Cohen-Everitt", truth[f"{weights}_kappa"], e)
            yield Answer("AC2", "Gwet, t", truth["gwet_ac2"], ordinal.gwet_ac(table))
            yield Answer("tau-b", "Fisher z, delta method", truth["kendall_tau_b"], ordinal.kendall_tau_b(table))
        e = ordinal.grade_agreement(device, reference, within=1, patient=patient)
        name = "Clopper-Pearson, effective n" if cell.cases > 1 else "Clopper-Pearson"
        yield Answer("agreement within one grade" + _more(cell), name, truth["adjacent_agreement"], e)
        e = ordinal.ranked_probability_score(p, reference, patient=patient)
        yield Answer("RPS" + _more(cell), "Student t", truth["rps"], e)


@lru_cache(maxsize=1)
def vus_truth() -> float:
    """Three grades with normal scores one standard deviation apart."""
    x = np.linspace(-9.0, 11.0, 400_001)
    density = np.exp(-((x - 1.0) ** 2) / 2.0) / math.sqrt(2.0 * math.pi)
    return float(np.trapezoid(density * ndtr(x) * ndtr(2.0 - x), x))


def _three(rng: np.random.Generator, patient: Ints) -> tuple[Ints, Floats]:
    grade = rng.integers(0, 3, patient.size)
    return grade, alike(rng, patient) + grade


def _vus(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    for _ in range(studies):
        grade, score = _three(rng, patients(rng, cell.n, 1))
        yield Answer("VUS", "structural components, logit", vus_truth(), ordinal.vus(score, grade))


def _ordinal_bootstrap(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    kind = cell.word("grades")
    truth = grade_truths(kind)
    metrics = [*TABLE, "rps"]
    for design in with_draws(rng, cell, studies, REPLICATES):
        device, reference, p = _graded(rng, design.patient, kind)
        grade, score = _three(rng, design.patient)
        table = ordinal_replicates(design.draw, device, reference, 4, metrics, probability=p, threads=1)
        volume = vus_replicates(design.draw, score, grade)
        for method, title in METHODS.items():
            for metric, e in zip(metrics, read(table, method=method)[0], strict=True):
                yield Answer(TABLE.get(metric, "RPS") + _more(cell), title, truth[metric], e)
            yield Answer("VUS" + _more(cell), title, vus_truth(), read(volume, method=method)[0][0])


_KINDS = tuple((("classes", kind),) for kind in SHARES)
_GRADED = tuple((("grades", kind),) for kind in GRADES)

FAMILIES = (
    Family(
        name="ordinal",
        page=PAGE,
        simulate=_ordinal,
        cells=grid("ordinal", n=(30, 100, 400, 2000), settings=_GRADED)
        + grid("ordinal", n=(30, 100, 400), cases=(4, 8), settings=_GRADED),
        stage=1,
        first=4,
    ),
    Family(name="vus", page=PAGE, simulate=_vus, cells=grid("vus", n=(30, 100, 400, 2000)), stage=1, first=4),
    Family(
        name="ordinal bootstrap",
        page=PAGE,
        simulate=_ordinal_bootstrap,
        cells=grid("ordinal bootstrap", n=(30, 100), cases=(4,), settings=_GRADED, piece=250)
        + grid("ordinal bootstrap", n=(30, 100), cases=(8,), settings=_GRADED, studies=FEWER, piece=250)
        + grid("ordinal bootstrap", n=(400,), cases=(4,), settings=_GRADED, studies=FEWER, piece=250),
        stage=4,
        first=2,
    ),
    Family(
        name="classes",
        page=PAGE,
        simulate=_several_classes,
        cells=grid("classes", n=(30, 100), settings=_KINDS, piece=250)
        + grid("classes", n=(30,), cases=(4,), settings=_KINDS[:1], piece=250)
        + grid("classes", n=(400,), settings=_KINDS, studies=FEWER, piece=250)
        + grid("classes", n=(100,), cases=(4,), settings=_KINDS, studies=FEWER, piece=250),
        stage=4,
        first=2,
    ),
    Family(
        name="class errors",
        page=PAGE,
        simulate=_absolute,
        cells=grid("class errors", n=(30, 100, 400), settings=_KINDS, piece=500)
        + grid("class errors", n=(100,), cases=(4,), settings=_KINDS, piece=500),
        stage=3,
        first=2,
    ),
    Family(
        name="classes large",
        page=PAGE,
        simulate=_several_classes,
        cells=grid("classes large", n=(2000,), settings=_KINDS, studies=1_000, piece=50),
        stage=5,
        first=4,
    ),
    Family(
        name="labels",
        page=PAGE,
        simulate=_several_labels,
        cells=grid("labels", n=(30, 100, 400), piece=250) + grid("labels", n=(100,), cases=(4,), piece=250),
        stage=4,
        first=2,
    ),
)
