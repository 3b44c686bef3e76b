"""Patient-bootstrap intervals of two-class metrics: one device, two on the same cases, readings of the curve."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.coverage.designs import Population, Risks, patients, risk_population, risks, with_draws
from benchmarks.coverage.study import FEWER, Answer, Cell, Family, grid
from evalsuite.stats import calibration_error, decision_curve, roc, roc_operating
from evalsuite.stats.bootstrap import FOLDED, binary_replicates, difference_estimate, estimates
from evalsuite.stats.bootstrap_interval import BootstrapMethod
from evalsuite.stats.draw import PatientDraw
from evalsuite.types import Estimate

PAGE = "bootstrap"
REPLICATES = 500
NOISE = 1.0
"""The second device's score is the first's with this many standard normals added."""
METHODS: dict[BootstrapMethod, str] = {
    "percentile": "bootstrap, percentile",
    "basic": "bootstrap, basic",
    "bca": "bootstrap, BCa",
}
FOLDED_NAME = "bootstrap for absolute values"
NAMES = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "PPV in the sample",
    "npv": "NPV in the sample",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "mcc": "MCC",
    "kappa": "kappa",
    "youden": "Youden index",
    "lr_positive": "likelihood ratio of a positive result",
    "lr_negative": "likelihood ratio of a negative result",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "brier": "Brier score",
    "log_loss": "log loss",
    "observed_expected": "O/E",
    "ece": "ECE",
    "mce": "MCE",
}
COMPARED = ("ppv", "npv", "balanced_accuracy", "f1", "mcc", "kappa", "average_precision", "brier", "log_loss")
SMOOTH: dict[calibration_error.SmoothStatistic, str] = {"ici": "ICI", "e50": "E50", "e90": "E90"}


def values(p: Population, cut: float | None = None) -> dict[str, float]:
    """The true value of every metric."""
    tp, fn, fp, tn = p.called(cut)
    se, sp = tp / (tp + fn), tn / (tn + fp)
    accuracy, called, pi = tp + tn, tp + fp, p.prevalence
    by_chance = pi * called + (1.0 - pi) * (1.0 - called)
    return {
        "sensitivity": se,
        "specificity": sp,
        "ppv": tp / (tp + fp),
        "npv": tn / (tn + fn),
        "accuracy": accuracy,
        "balanced_accuracy": (se + sp) / 2.0,
        "f1": 2.0 * tp / (2.0 * tp + fp + fn),
        "mcc": (tp * tn - fp * fn) / (called * (1.0 - called) * pi * (1.0 - pi)) ** 0.5,
        "kappa": (accuracy - by_chance) / (1.0 - by_chance),
        "youden": se + sp - 1.0,
        "lr_positive": se / (1.0 - sp),
        "lr_negative": (1.0 - se) / sp,
        "auroc": p.auroc(),
        "average_precision": p.average_precision(),
        "brier": p.brier(),
        "log_loss": p.log_loss(),
        "observed_expected": p.observed_expected(),
        "ece": p.ece(),
        "mce": p.mce(),
    }


def _more(cell: Cell) -> str:
    return ", several cases per patient" if cell.cases > 1 else ""


def _bootstrap(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    assert cell.prevalence is not None
    off = cell.word("model") == "miscalibrated"
    population = risk_population(cell.prevalence, off)
    truth = values(population)
    for design in with_draws(rng, cell, studies, REPLICATES):
        d = risks(rng, design.patient, cell.prevalence, off=off)
        table = binary_replicates(
            design.draw,
            reference=d.reference,
            score=d.score,
            call=d.score >= population.cut,
            probability=d.probability,
            metrics=list(NAMES),
            threads=1,
        )
        for method, title in METHODS.items():
            for metric, e in zip(NAMES, estimates(table, method=method)[0], strict=True):
                if metric not in FOLDED:
                    yield Answer(NAMES[metric] + _more(cell), title, truth[metric], e)
                elif method == "bca":
                    yield Answer(NAMES[metric] + _more(cell), FOLDED_NAME, truth[metric], e)


def _stratified(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    """Patients drawn within those with and those without positives; the draw then depends on the study."""
    assert cell.prevalence is not None
    population = risk_population(cell.prevalence)
    truth = values(population)
    metrics = ("auroc", "average_precision", "youden", "f1", "mcc")
    for _ in range(studies):
        d = risks(rng, patients(rng, cell.n, cell.cases), cell.prevalence)
        draw = PatientDraw(d.patient, REPLICATES, int(rng.integers(2**31)), stratify=d.reference)
        table = binary_replicates(
            draw, reference=d.reference, score=d.score, call=d.score >= population.cut, metrics=metrics, threads=1
        )
        for method, title in METHODS.items():
            for metric, e in zip(metrics, estimates(table, method=method)[0], strict=True):
                yield Answer(NAMES[metric] + _more(cell), f"{title}, stratified", truth[metric], e)


def _differences(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    assert cell.prevalence is not None
    one = risk_population(cell.prevalence)
    two = risk_population(cell.prevalence, noise=NOISE)
    a, b = values(one), values(two)
    for design in with_draws(rng, cell, studies, REPLICATES):
        d = risks(rng, design.patient, cell.prevalence, noise=NOISE)
        tables = [
            binary_replicates(
                design.draw,
                reference=d.reference,
                score=score,
                call=score >= cut,
                probability=1.0 / (1.0 + np.exp(-score)),
                metrics=COMPARED,
                threads=1,
            )
            for score, cut in ((d.score, one.cut), (d.second, two.cut))
        ]
        for k, metric in enumerate(COMPARED):
            for method, title in METHODS.items():
                e = difference_estimate((tables[0], 0, k), (tables[1], 0, k), method=method)
                yield Answer(f"difference of {NAMES[metric]}, paired{_more(cell)}", title, a[metric] - b[metric], e)


READ: tuple[tuple[BootstrapMethod, bool], ...] = (("percentile", False), ("percentile", True), ("bca", False))
SPECIFICITY, SENSITIVITY, RANGE = 0.9, 0.9, (0.8, 1.0)


@lru_cache(maxsize=8)
def _readings(prevalence: float) -> dict[str, float]:
    p = risk_population(prevalence)
    return {
        "partial AUROC": p.partial_auroc(*RANGE),
        "sensitivity at a fixed specificity": p.sensitivity_at(SPECIFICITY),
        "specificity at a fixed sensitivity": p.specificity_at(SENSITIVITY),
        "ROC band at one false-positive rate": p.sensitivity_at(SPECIFICITY),
    }


def _operating(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    assert cell.prevalence is not None
    truth = _readings(cell.prevalence)
    for _ in range(studies):
        d = risks(rng, patients(rng, cell.n, cell.cases), cell.prevalence)
        y, s = d.reference, d.score
        for method, stratified in READ:
            if method == "bca" and cell.n > 100:
                continue
            options: dict[str, Any] = {
                "method": method,
                "stratified": stratified,
                "replicates": REPLICATES,
                "seed": int(rng.integers(2**31)),
                "cluster": d.patient,
            }
            made: dict[str, Estimate] = {
                "partial AUROC": roc_operating.partial_auroc(y, s, range=RANGE, corrected=True, **options),
                "sensitivity at a fixed specificity": roc_operating.sensitivity_at_specificity(
                    y, s, SPECIFICITY, **options
                ),
                "specificity at a fixed sensitivity": roc_operating.specificity_at_sensitivity(
                    y, s, SENSITIVITY, **options
                ),
            }
            title = METHODS[method] + (", stratified" if stratified else "")
            for quantity, e in made.items():
                yield Answer(quantity + _more(cell), title, truth[quantity], e)
        quantity = "ROC band at one false-positive rate"
        yield Answer(quantity + _more(cell), "bootstrap, percentile, stratified", truth[quantity], _band(d, rng))


def _band(d: Risks, rng: np.random.Generator) -> Estimate:
    if not 0 < int(d.reference.sum()) < d.reference.size:
        return Estimate.not_estimable("one class", n=d.reference.size, method="ROC band")
    low, high = roc.roc_band(
        d.reference,
        d.score,
        grid_fpr=[1.0 - SPECIFICITY],
        replicates=REPLICATES,
        seed=int(rng.integers(2**31)),
        cluster=d.patient,
    )
    return Estimate(
        value=float((low[0] + high[0]) / 2.0), low=float(low[0]), high=float(high[0]), n=d.patient.size, method="band"
    )


def _benefit(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    assert cell.prevalence is not None
    threshold = cell.get("threshold")
    one, two = risk_population(cell.prevalence), risk_population(cell.prevalence, noise=NOISE)
    first, other = one.net_benefit(threshold), two.net_benefit(threshold)
    for _ in range(studies):
        d = risks(rng, patients(rng, cell.n, cell.cases), cell.prevalence, noise=NOISE)
        common: dict[str, Any] = {"replicates": REPLICATES, "seed": int(rng.integers(2**31)), "cluster": d.patient}
        second = 1.0 / (1.0 + np.exp(-d.second))
        for method, _ in READ[::2]:
            if method == "bca" and cell.n > 400:
                continue
            e = decision_curve.net_benefit(d.reference, d.probability, threshold, method=method, **common)
            yield Answer("net benefit" + _more(cell), METHODS[method], first, e)
        e = decision_curve.net_benefit(d.reference, d.probability, threshold, quantity="standardised", **common)
        yield Answer("standardised net benefit" + _more(cell), METHODS["percentile"], first / cell.prevalence, e)
        e = decision_curve.net_benefit_difference(d.reference, d.probability, second, threshold, **common)
        yield Answer("difference of net benefits, paired" + _more(cell), METHODS["percentile"], first - other, e)


def _smooth(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    assert cell.prevalence is not None
    off = cell.word("model") == "miscalibrated"
    p = risk_population(cell.prevalence, off)
    truth = {"ici": p.smooth_gap(), "e50": p.smooth_gap(0.5), "e90": p.smooth_gap(0.9)}
    for _ in range(studies):
        d = risks(rng, patients(rng, cell.n, cell.cases), cell.prevalence, off=off)
        seed = int(rng.integers(2**31))
        made = calibration_error.smooth_errors(
            d.reference,
            d.probability,
            tuple(SMOOTH),
            replicates=int(cell.get("resamples")),
            seed=seed,
            cluster=d.patient,
        )
        for statistic, e in zip(SMOOTH, made, strict=True):
            yield Answer(SMOOTH[statistic] + _more(cell), FOLDED_NAME, truth[statistic], e)


_CALIBRATED = ((("model", "calibrated"),),)
_OFF = ((("model", "miscalibrated"),),)


def _enough(cell: Cell) -> bool:
    """Designs in which both classes usually occur."""
    return cell.prevalence is not None and cell.n * cell.prevalence >= 2


FAMILIES = (
    Family(
        name="bootstrap",
        page=PAGE,
        simulate=_bootstrap,
        cells=grid(
            "bootstrap",
            n=(30, 100, 400),
            prevalence=(0.02, 0.1, 0.5),
            settings=_CALIBRATED,
            piece=500,
            keep=_enough,
        )
        + grid("bootstrap", n=(30, 100), prevalence=(0.5,), cases=(4, 8), settings=_CALIBRATED, piece=500)
        + grid("bootstrap", n=(100, 400), prevalence=(0.1,), cases=(4,), settings=_CALIBRATED, piece=500)
        + grid("bootstrap", n=(100, 400), prevalence=(0.1, 0.5), settings=_OFF, piece=500),
        stage=2,
        first=2,
    ),
    Family(
        name="differences",
        page=PAGE,
        simulate=_differences,
        cells=grid("differences", n=(30, 100, 400), prevalence=(0.1, 0.5), piece=500)
        + grid("differences", n=(100,), prevalence=(0.5,), cases=(4,), piece=500),
        stage=2,
        first=1,
    ),
    Family(
        name="bootstrap large",
        page=PAGE,
        simulate=_bootstrap,
        cells=grid(
            "bootstrap large",
            n=(2000,),
            prevalence=(0.02, 0.1, 0.5),
            settings=_CALIBRATED,
            studies=FEWER,
            piece=100,
        ),
        stage=4,
        first=4,
    ),
    Family(
        name="stratified",
        page=PAGE,
        simulate=_stratified,
        cells=grid("stratified", n=(30, 100), prevalence=(0.1, 0.5), piece=250, keep=_enough)
        + grid("stratified", n=(400,), prevalence=(0.1, 0.5), studies=FEWER, piece=250),
        stage=4,
        first=3,
    ),
    Family(
        name="operating",
        page=PAGE,
        simulate=_operating,
        cells=grid("operating", n=(100,), prevalence=(0.1, 0.5), piece=100)
        + grid("operating", n=(400,), prevalence=(0.1, 0.5), studies=FEWER, piece=50)
        + grid("operating", n=(30,), prevalence=(0.5,), cases=(1, 4), piece=100)
        + grid("operating", n=(100,), prevalence=(0.5,), cases=(4,), studies=FEWER, piece=50),
        stage=6,
        first=4,
    ),
    Family(
        name="benefit",
        page=PAGE,
        simulate=_benefit,
        cells=tuple(
            cell
            for p, t in ((0.02, 0.02), (0.1, 0.1), (0.5, 0.5))
            for cell in grid(
                "benefit", n=(30, 100, 400), prevalence=(p,), settings=((("threshold", t),),), piece=250, keep=_enough
            )
        )
        + grid("benefit", n=(30, 100), prevalence=(0.5,), cases=(4,), settings=((("threshold", 0.5),),), piece=250),
        stage=5,
        first=4,
    ),
    Family(
        name="smooth",
        page=PAGE,
        simulate=_smooth,
        cells=grid(
            "smooth",
            n=(50,),
            prevalence=(0.3,),
            settings=tuple((("model", m), ("resamples", 200)) for m in ("calibrated", "miscalibrated")),
            studies=10_000,
            piece=50,
        ),
        stage=6,
        first=4,
    ),
)
