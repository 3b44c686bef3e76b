"""Intervals of measurements: bias, limits of agreement, concordance, lines, repeatability."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from scipy.special import ndtr

from benchmarks.coverage.designs import Floats, Ints, alike, patients, with_draws
from benchmarks.coverage.study import FEWER, Answer, Cell, Family, grid
from evalsuite.stats import agreement, deviation, method_comparison, repeatability
from evalsuite.stats._resampled import read
from evalsuite.stats.bootstrap_interval import BootstrapMethod
from evalsuite.stats.measured_bootstrap import measured_replicates

PAGE = "measurement"
CENTRE, BETWEEN, ERROR, BIAS = 50.0, 10.0, 2.5, 1.0
TOLERANCE, COVERED = 5.0, 0.9
Z = 1.959963984540054
METHODS: dict[BootstrapMethod, str] = {"percentile": "bootstrap, percentile", "bca": "bootstrap, BCa"}
NAMES = {
    "bias": "bias",
    "mae": "mean absolute error",
    "rmse": "root mean square error",
    "loa_lower": "lower limit of agreement",
    "loa_upper": "upper limit of agreement",
    "ccc": "CCC",
    "icc": "ICC(2,1), device against reference",
    "deming_slope": "Deming slope",
    "deming_intercept": "Deming intercept",
    "tdi": "TDI",
    "coverage_probability": "share within a tolerance",
}


def _more(cell: Cell) -> str:
    return ", several cases per patient" if cell.cases > 1 else ""


def _errors(rng: np.random.Generator, patient: Ints, shape: str) -> Floats:
    """Errors with variance 1: normal (half shared within a patient), heavy-tailed (t, 5 df) or skewed (exponential)."""
    if shape == "heavy tails":
        return rng.standard_t(5, patient.size) / math.sqrt(5.0 / 3.0)
    if shape == "skewed":
        return rng.exponential(size=patient.size) - 1.0
    return alike(rng, patient)


def _pair(rng: np.random.Generator, patient: Ints, shape: str) -> tuple[Floats, Floats]:
    """Device and reference: the true value, each with an error; the device's is off by `BIAS` on average."""
    true = CENTRE + BETWEEN * alike(rng, patient)
    return (
        true + BIAS + ERROR * _errors(rng, patient, shape),
        true + ERROR * alike(rng, patient),
    )


@lru_cache(maxsize=4)
def truths(shape: str) -> dict[str, float]:
    """True values by normal theory, or for other errors from 10⁷ differences."""
    spread = ERROR * math.sqrt(2.0)
    total = BETWEEN**2 + ERROR**2
    made = {
        "bias": BIAS,
        "rmse": math.hypot(BIAS, spread),
        "loa_lower": BIAS - Z * spread,
        "loa_upper": BIAS + Z * spread,
        "sd": spread,
        "ccc": 2.0 * BETWEEN**2 / (2.0 * total + BIAS**2),
        "icc": BETWEEN**2 / (total + BIAS**2 / 2.0),
        "icc consistency": BETWEEN**2 / total,
        "slope": 1.0,
        "intercept": BIAS,
    }
    if shape == "normal":
        u = BIAS / spread
        low, high = 0.0, 100.0
        for _ in range(200):
            mid = (low + high) / 2.0
            share = float(ndtr((mid - BIAS) / spread) - ndtr((-mid - BIAS) / spread))
            low, high = (mid, high) if share < COVERED else (low, mid)
        density = math.exp(-u * u / 2.0) / math.sqrt(2.0 * math.pi)
        return made | {
            "mae": spread * (2.0 * density + u * (1.0 - 2.0 * float(ndtr(-u)))),
            "tdi": (low + high) / 2.0,
            "coverage_probability": float(ndtr((TOLERANCE - BIAS) / spread) - ndtr((-TOLERANCE - BIAS) / spread)),
        }
    rng = np.random.default_rng(20_240_302)
    everyone = np.arange(10_000_000)
    d = np.abs(BIAS + ERROR * (_errors(rng, everyone, shape) - rng.normal(size=everyone.size)))
    return made | {
        "mae": float(d.mean()),
        "tdi": float(np.quantile(d, COVERED)),
        "coverage_probability": float((d <= TOLERANCE).mean()),
    }


def _closed(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    shape = cell.word("errors")
    t = truths(shape)
    more = _more(cell)
    clustered = cell.cases > 1
    student = "Student t, patients as clusters" if clustered else "Student t"
    for _ in range(studies):
        k = patients(rng, cell.n, cell.cases)
        y, x = _pair(rng, k, shape)
        yield Answer("bias" + more, student, t["bias"], agreement.bias(y, x, patient=k))
        yield Answer("mean absolute error" + more, student, t["mae"], agreement.mean_absolute_error(y, x, patient=k))
        e = agreement.root_mean_square_error(y, x, patient=k)
        yield Answer("root mean square error" + more, "log delta method", t["rmse"], e)
        for method, title in (("exact", "exact"), ("mover", "MOVER"), ("bland-altman", "Bland-Altman")):
            if clustered and method != "mover":
                continue
            made = agreement.bland_altman(y, x, patient=k, method=method)
            yield Answer("lower limit of agreement" + more, title, t["loa_lower"], made.lower_limit)
            yield Answer("upper limit of agreement" + more, title, t["loa_upper"], made.upper_limit)
            if method == "mover":
                yield Answer("SD of differences" + more, "chi-square, MOVER", t["sd"], made.sd)
                yield Answer("bias of patients" + more, "Student t on patient means", t["bias"], made.bias)
        e = deviation.coverage_probability(y, x, tolerance=TOLERANCE, patient=k)
        name = "Clopper-Pearson, effective n" if clustered else "Clopper-Pearson"
        yield Answer("share within a tolerance" + more, name, t["coverage_probability"], e)
        line = method_comparison.deming(y, x, patient=k)
        yield Answer("Deming slope" + more, "jackknife, t", t["slope"], line.slope)
        yield Answer("Deming intercept" + more, "jackknife, t", t["intercept"], line.intercept)
        if not clustered:
            yield Answer("CCC", "Lin, Fisher z", t["ccc"], repeatability.concordance(y, x))
            both = np.stack([y, x], axis=1)
            yield Answer("ICC(2,1), device against reference", "F, Satterthwaite", t["icc"], repeatability.icc(both))
            e = repeatability.icc(both, "icc(3,1)")
            yield Answer("ICC(3,1)", "exact F", t["icc consistency"], e)
            yield Answer("TDI", "log delta method", t["tdi"], deviation.total_deviation_index(y, x, coverage=COVERED))


def _passing(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    shape = cell.word("errors")
    for _ in range(studies):
        y, x = _pair(rng, np.arange(cell.n), shape)
        line = method_comparison.passing_bablok(y, x)
        yield Answer("Passing-Bablok slope", "Passing-Bablok", 1.0, line.slope)
        if shape != "skewed":  # The median of skewed errors is not their mean: the line has another intercept.
            yield Answer("Passing-Bablok intercept", "Passing-Bablok", BIAS, line.intercept)


def _raters(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    """ICC(2,1) as its model has it: raters drawn at random, with standard deviation 2."""
    k, rater = int(cell.get("raters")), 2.0
    truth = BETWEEN**2 / (BETWEEN**2 + rater**2 + ERROR**2)
    for _ in range(studies):
        ratings = (
            BETWEEN * rng.normal(size=(cell.n, 1))
            + rater * rng.normal(size=(1, k))
            + ERROR * rng.normal(size=(cell.n, k))
        )
        yield Answer("ICC(2,1), raters at random", "F, Satterthwaite", truth, repeatability.icc(ratings))


CV = 0.1


def _repeats(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    """Two measurements of every subject, with an error of constant size or in proportion to the value."""
    subject = np.repeat(np.arange(cell.n), 2)
    for _ in range(studies):
        true = np.maximum(CENTRE + BETWEEN * rng.normal(size=cell.n), 10.0)[subject]
        z = rng.normal(size=subject.size)
        plain = true + ERROR * z
        yield Answer("within-subject SD", "chi-square", ERROR, repeatability.within_subject_sd(plain, subject))
        e = repeatability.repeatability_coefficient(plain, subject)
        yield Answer("repeatability coefficient", "chi-square", Z * math.sqrt(2.0) * ERROR, e)
        e = repeatability.within_subject_cv(true * (1.0 + CV * z), subject, method="rms")
        yield Answer("within-subject CV, root mean square", "chi-square", CV, e)
        e = repeatability.within_subject_cv(true * np.exp(CV * z), subject, method="log")
        yield Answer("within-subject CV, logarithms", "chi-square", math.sqrt(math.expm1(CV**2)), e)


def _bootstrap(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    shape = cell.word("errors")
    t = truths(shape) | {"deming_slope": 1.0, "deming_intercept": BIAS}
    # The bootstrap of the TDI is dear and only used with several cases per patient.
    metrics = [m for m in NAMES if m != "tdi" or cell.cases > 1]
    for design in with_draws(rng, cell, studies, 500):
        y, x = _pair(rng, design.patient, shape)
        table = measured_replicates(design.draw, y, x, metrics, tolerance=TOLERANCE, coverage=COVERED)
        for method, title in METHODS.items():
            for metric, e in zip(metrics, read(table, method=method)[0], strict=True):
                yield Answer(NAMES[metric] + _more(cell), title, t[metric], e)


_NORMAL = ((("errors", "normal"),),)
_ALL = tuple((("errors", shape),) for shape in ("normal", "heavy tails", "skewed"))

FAMILIES = (
    Family(
        name="measurement",
        page=PAGE,
        simulate=_closed,
        cells=grid("measurement", n=(30, 100, 400, 2000), settings=_NORMAL)
        + grid("measurement", n=(30, 400), settings=_ALL[1:])
        + grid("measurement", n=(30, 100, 400), cases=(4, 8), settings=_NORMAL),
        stage=1,
        first=3,
    ),
    Family(
        name="raters",
        page=PAGE,
        simulate=_raters,
        cells=grid("raters", n=(30, 100, 400, 2000), settings=tuple((("raters", k),) for k in (2, 5))),
        stage=1,
        first=4,
    ),
    Family(name="repeats", page=PAGE, simulate=_repeats, cells=grid("repeats", n=(30, 100, 400, 2000)), stage=1),
    Family(
        name="passing-bablok",
        page=PAGE,
        simulate=_passing,
        cells=grid("passing-bablok", n=(30, 100), settings=_ALL),
        stage=1,
        first=3,
    ),
    Family(
        name="passing-bablok large",
        page=PAGE,
        simulate=_passing,
        cells=grid("passing-bablok large", n=(400,), settings=_NORMAL, studies=FEWER, piece=250),
        stage=5,
        first=2,
    ),
    Family(
        name="measurement bootstrap",
        page=PAGE,
        simulate=_bootstrap,
        cells=grid("measurement bootstrap", n=(30, 100), cases=(1, 4), settings=_NORMAL, piece=250)
        + grid("measurement bootstrap", n=(30, 100), cases=(8,), settings=_NORMAL, studies=FEWER, piece=250)
        + grid("measurement bootstrap", n=(400,), settings=_NORMAL, studies=FEWER, piece=250)
        + grid("measurement bootstrap", n=(100,), settings=_ALL[1:], piece=250),
        stage=4,
        first=1,
    ),
)
