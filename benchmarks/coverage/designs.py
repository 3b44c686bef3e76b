"""What is simulated: patients with one or several cases, scores, risks, calls, measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import expit, ndtr, ndtri

from benchmarks.coverage.study import Cell
from evalsuite.stats.draw import PatientDraw

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

SPREAD = 1.5
"""Standard deviation of the log-odds of risk between cases."""
SHARED = 0.5
"""Share of the variance that cases of one patient have in common."""
DRAWS = 20
"""Bootstrap draws made per piece and used in turn: a draw does not depend on the data of a study."""


def patients(rng: np.random.Generator, n: int, cases: int) -> Ints:
    """Patient of each case: 1 to `cases` cases per patient, all numbers equally likely."""
    size = np.ones(n, dtype=np.int64) if cases == 1 else rng.integers(1, cases + 1, n)
    return np.repeat(np.arange(n), size)


def alike(rng: np.random.Generator, patient: Ints, shared: float = SHARED) -> Floats:
    """Standard normal per case, correlated by `shared` within a patient."""
    own = rng.normal(size=patient.size)
    if patient.size == 0 or int(patient[-1]) + 1 == patient.size:
        return own
    common = rng.normal(size=int(patient[-1]) + 1)[patient]
    return math.sqrt(1.0 - shared) * own + math.sqrt(shared) * common


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Patients of one piece with the draw that resamples them."""

    patient: Ints
    draw: PatientDraw


def with_draws(rng: np.random.Generator, cell: Cell, studies: int, replicates: int) -> list[Design]:
    """One design per study; the `DRAWS` of a piece take turns (sizes of patients go with the draw)."""
    made = []
    for _ in range(min(DRAWS, studies)):
        patient = patients(rng, cell.n, cell.cases)
        made.append(Design(patient=patient, draw=PatientDraw(patient, replicates, int(rng.integers(2**31)))))
    return [made[i % len(made)] for i in range(studies)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Everything true of a score: on the grid `x (g,)`, the mass of positives and of negatives, and the probability
    that the model gives. Truths are integrals over the grid, none of them computed by the suite.
    """

    x: Floats
    positive: Floats
    negative: Floats
    probability: Floats
    cut: float

    @property
    def prevalence(self) -> float:
        return float(self.positive.sum())

    def called(self, at: float | None = None) -> tuple[float, float, float, float]:
        """Shares of all cases that are TP, FN, FP, TN at a cut."""
        above = self.x >= (self.cut if at is None else at)
        tp, fp = float(self.positive[above].sum()), float(self.negative[above].sum())
        return tp, self.prevalence - tp, fp, 1.0 - self.prevalence - fp

    def auroc(self) -> float:
        under = np.cumsum(self.negative) - self.negative / 2.0
        return float((self.positive * under).sum() / (self.prevalence * (1.0 - self.prevalence)))

    def average_precision(self) -> float:
        tp = np.cumsum(self.positive[::-1])[::-1] - self.positive / 2.0
        fp = np.cumsum(self.negative[::-1])[::-1] - self.negative / 2.0
        return float((self.positive * tp / np.maximum(tp + fp, 1e-300)).sum() / self.prevalence)

    def sensitivity_at(self, specificity: float) -> float:
        """Sensitivity at a specificity."""
        above = np.cumsum(self.negative) / (1.0 - self.prevalence)
        cut = float(np.interp(specificity, above, self.x))
        return 1.0 - float(np.interp(cut, self.x, np.cumsum(self.positive))) / self.prevalence

    def specificity_at(self, sensitivity: float) -> float:
        """Specificity at a sensitivity."""
        below = np.cumsum(self.positive) / self.prevalence
        cut = float(np.interp(1.0 - sensitivity, below, self.x))
        return float(np.interp(cut, self.x, np.cumsum(self.negative))) / (1.0 - self.prevalence)

    def partial_auroc(self, low: float, high: float) -> float:
        """McClish's standardised area over specificities `low` to `high`."""
        at = np.linspace(low, high, 4001)
        area = float(np.trapezoid([self.sensitivity_at(s) for s in at], at))
        start, stop = 1.0 - high, 1.0 - low
        least, most = (stop**2 - start**2) / 2.0, stop - start
        return 0.5 * (1.0 + (area - least) / (most - least))

    def mean(self, of_positive: Floats, of_negative: Floats) -> float:
        return float((self.positive * of_positive).sum() + (self.negative * of_negative).sum())

    def brier(self) -> float:
        return self.mean((1.0 - self.probability) ** 2, self.probability**2)

    def log_loss(self) -> float:
        return self.mean(-np.log(self.probability), -np.log1p(-self.probability))

    def observed_expected(self) -> float:
        return self.prevalence / self.mean(self.probability, self.probability)

    def gaps(self, bins: int = 10) -> tuple[Floats, Floats]:
        """Mass and signed gap (observed share less probability) of each bin of equal width."""
        index = np.minimum((self.probability * bins).astype(np.int64), bins - 1)
        mass = np.bincount(index, self.positive + self.negative, minlength=bins)
        gap = np.bincount(index, self.positive - self.probability * (self.positive + self.negative), minlength=bins)
        return mass, np.divide(gap, mass, out=np.zeros(bins), where=mass > 0)

    def ece(self) -> float:
        mass, gap = self.gaps()
        return float((mass * np.abs(gap)).sum())

    def mce(self) -> float:
        return float(np.abs(self.gaps()[1]).max())

    def smooth_gap(self, share: float | None = None) -> float:
        """Mean of |risk - probability|, or the quantile of that share."""
        mass = self.positive + self.negative
        gap = np.abs(self.positive / np.maximum(mass, 1e-300) - self.probability)
        if share is None:
            return float((mass * gap).sum())
        order = np.argsort(gap)
        return float(gap[order][np.searchsorted(np.cumsum(mass[order]), share)])

    def recalibration(self) -> tuple[float, float, float]:
        """Intercept in the large; intercept and slope of logistic recalibration, by Newton's method on the masses."""
        z = np.log(self.probability / (1.0 - self.probability))
        mass = self.positive + self.negative

        def fit(design: Floats, offset: Floats) -> Floats:
            beta = np.zeros(design.shape[1])
            for _ in range(50):
                risk = expit(offset + design @ beta)
                slope = design.T @ (self.positive - mass * risk)
                beta = beta + np.linalg.solve((design * (mass * risk * (1.0 - risk))[:, None]).T @ design, slope)
            return beta

        large = fit(np.ones((z.size, 1)), z)[0]
        intercept, slope = fit(np.stack([np.ones(z.size), z], axis=1), np.zeros(z.size))
        return float(large), float(intercept), float(slope)

    def net_benefit(self, threshold: float) -> float:
        treated = self.probability >= threshold
        odds = threshold / (1.0 - threshold)
        return float(self.positive[treated].sum() - odds * self.negative[treated].sum())


_GRID = 40_001


def _log_odds_mean(prevalence: float) -> float:
    z = np.linspace(-9.0, 9.0, 4001)
    mass = np.exp(-z * z / 2.0)
    mass /= mass.sum()
    low, high = -30.0, 30.0
    for _ in range(200):
        mid = (low + high) / 2.0
        low, high = (mid, high) if float(mass @ expit(mid + SPREAD * z)) < prevalence else (low, mid)
    return (low + high) / 2.0


@lru_cache(maxsize=64)
def risk_population(prevalence: float, off: bool = False, noise: float = 0.0, sensitivity: float = 0.8) -> Population:
    """Log-odds of risk are normal with standard deviation 1.5; the score is the log-odds plus `noise` standard normals.

    The model's probability is the logistic function of the score (with `noise` 0: the risk itself), or, with `off`,
    such that the score is 0.5 + 0.7 · the probability's log-odds. The cut is where the sensitivity is `sensitivity`.
    """
    centre = _log_odds_mean(prevalence)
    spread = math.hypot(SPREAD, noise)
    x = np.linspace(centre - 9.0 * spread, centre + 9.0 * spread, _GRID)
    if noise == 0.0:
        mass = np.exp(-(((x - centre) / SPREAD) ** 2) / 2.0)
        mass /= mass.sum()
        positive = mass * expit(x)
        negative = mass - positive
    else:
        # The score is normal; given it the log-odds are normal too: the risk is averaged over them.
        mass = np.exp(-(((x - centre) / spread) ** 2) / 2.0)
        mass /= mass.sum()
        shrink = SPREAD**2 / spread**2
        z = np.linspace(-8.0, 8.0, 401)
        w = np.exp(-z * z / 2.0)
        w /= w.sum()
        mean = centre + shrink * (x - centre)
        left = SPREAD * math.sqrt(1.0 - shrink)
        risk = sum(wi * expit(mean + left * zi) for wi, zi in zip(w, z, strict=True))
        positive = mass * risk
        negative = mass - positive
    probability = expit((x - 0.5) / 0.7) if off else expit(x)
    below = np.cumsum(positive) / positive.sum()
    cut = float(np.interp(1.0 - sensitivity, below, x))
    return Population(x=x, positive=positive, negative=negative, probability=probability, cut=cut)


@dataclass(frozen=True, slots=True, kw_only=True)
class Risks:
    """Cases of one simulated study of the risk model; `second` is the score of a noisier second device."""

    patient: Ints
    reference: Bools
    score: Floats
    probability: Floats
    second: Floats


def risks(
    rng: np.random.Generator, patient: Ints, prevalence: float, *, off: bool = False, noise: float = 0.0
) -> Risks:
    """Outcomes happen with the risk, correlated within a patient beyond what the risks explain."""
    score = _centre(prevalence) + SPREAD * alike(rng, patient)
    # A uniform number by way of a normal one: cases of a patient share half of its variance.
    reference = ndtr(alike(rng, patient)) < expit(score)
    return Risks(
        patient=patient,
        reference=reference,
        score=score,
        probability=expit((score - 0.5) / 0.7) if off else expit(score),
        second=score + noise * rng.normal(size=patient.size),
    )


_centre = lru_cache(maxsize=16)(_log_odds_mean)


def binormal(
    rng: np.random.Generator, patient: Ints, prevalence: float, auroc: float, second: float | None = None
) -> tuple[Bools, Floats, Floats]:
    """Reference of the patient, scores of one or two devices with these true AUROCs (correlation ½ between devices)."""
    truth = (rng.random(int(patient[-1]) + 1) < prevalence)[patient]
    common = alike(rng, patient)
    own, other = alike(rng, patient), alike(rng, patient)
    shift = math.sqrt(2.0) * float(ndtri(auroc))
    if second is None:
        return truth, own + shift * truth, own
    half = math.sqrt(0.5)
    return (
        truth,
        half * (own + common) + shift * truth,
        half * (other + common) + math.sqrt(2.0) * float(ndtri(second)) * truth,
    )
