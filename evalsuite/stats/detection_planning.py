"""How many cases a detection study takes: sensitivity per lesion, also at a rate of false positives."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri

from evalsuite.stats._resampled import read, replicated
from evalsuite.stats.bootstrap_interval import BootstrapMethod
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.detection import Detections, sensitivity_at
from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.proportions import ProportionMethod

_MOST = 1 << 22
#: Resamples of patients in a simulated study.
_REPLICATES = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Marking:
    """How lesions and false marks occur, as assumed.

    `lesions` of an abnormal case on average (one and a Poisson number more); `abnormal` share of cases; `marked` share
    of lesions marked at any score; `false_marks` per case at any score (Poisson), in all cases alike; `correlation` of
    two lesions of a case being found. Scores of false marks are standard normal, those of lesions normal of variance 1.
    """

    lesions: float = 1.0
    abnormal: float = 0.5
    marked: float = 1.0
    false_marks: float = 4.0
    correlation: float = 0.0

    @property
    def per_lesion(self) -> float:
        """Variance of a share of lesions over that of independent ones (ratio estimate, Rao and Scott 1992)."""
        others = (self.lesions**2 + self.lesions - 1.0) / self.lesions - 1.0
        return 1.0 + others * self.correlation


def separation(marking: Marking, sensitivity: float, rate: float) -> float:
    """Distance of the scores of lesions from those of false marks that gives this sensitivity at so many false
    positives per case.

    Raises ValueError where the rate is not below the false marks there are, or the sensitivity not below the share
    marked.
    """
    if not 0.0 < rate < marking.false_marks:
        raise ValueError(f"{rate:g} false positives per case are not below the {marking.false_marks:g} marks there are")
    if not 0.0 < sensitivity < marking.marked:
        raise ValueError(f"a sensitivity of {sensitivity:g} is not below the share of lesions marked")
    return float(ndtri(sensitivity / marking.marked) - ndtri(rate / marking.false_marks))


def froc_power(
    cases: int, marking: Marking, sensitivity: float, goal: float, *, rate: float, normal_only: bool = False,
    level: float = 0.95,
) -> float:  # fmt: skip
    """Chance that the lower limit of the sensitivity at `rate` false positives per case lies above the goal.

    Normal approximation. A lower limit clears the goal where the estimate lies further above it than a device exactly
    at the goal would come by chance: that distance takes the variance at the goal, as a test does, and only the
    estimate's own scatter the variance at what is assumed. BCa limits follow it within 2 points in simulation;
    percentile and basic ones reach the goal more often. No power without cases, or to show more than is ever marked.

    References
    ----------
    Chow, Shao & Wang, Sample Size Calculations in Clinical Research, 2nd ed. 2008, ch. 4 (variance under each
    hypothesis).
    """
    if cases < 1 or goal >= marking.marked:
        return 0.0
    here = _variance(cases, marking, sensitivity, rate=rate, normal_only=normal_only)
    there = 0.0 if goal <= 0.0 else _variance(cases, marking, goal, rate=rate, normal_only=normal_only)
    away = sensitivity - goal - float(ndtri(0.5 + level / 2.0)) * math.sqrt(there)
    return float(ndtr(away / math.sqrt(here)))


def _variance(cases: int, marking: Marking, sensitivity: float, *, rate: float, normal_only: bool) -> float:
    """Variance of the sensitivity at `rate` false positives per case, where it is `sensitivity`.

    Two parts: that of a share of lesions, which repeat in cases, and that of the threshold, which is where so many
    false positives are counted in these cases, times the squared slope of the FROC curve (delta method; the search
    model's curve for one separation of scores: Chakraborty, Observer Performance Methods for Diagnostic Imaging, CRC
    Press 2017, ch. 16).
    """
    far = separation(marking, sensitivity, rate)
    lesions = cases * marking.abnormal * marking.lesions
    counted = cases * (1.0 - marking.abnormal if normal_only else 1.0)
    z = float(ndtri(rate / marking.false_marks))
    slope = marking.marked / marking.false_marks * math.exp(0.5 * z * z - 0.5 * (z + far) ** 2)
    return sensitivity * (1.0 - sensitivity) * marking.per_lesion / lesions + slope**2 * rate / counted


def cases_for_froc(
    marking: Marking, sensitivity: float, goal: float, *, rate: float, normal_only: bool = False,
    power: float = 0.8, level: float = 0.95,
) -> int | None:  # fmt: skip
    """Fewest cases for `power`; None where the sensitivity does not exceed the goal."""
    if sensitivity <= goal:
        return None

    def reached(n: int) -> bool:
        asked = {"rate": rate, "normal_only": normal_only, "level": level}
        return froc_power(n, marking, sensitivity, goal, **asked) >= power  # type: ignore[arg-type]

    low, high = 1, 2
    while not reached(high):
        low, high = high, 2 * high
        if high > _MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def simulate_marks(
    rng: np.random.Generator, cases: int, marking: Marking, far: float, *, threshold: float | None = None
) -> Detections:
    """One study of so many cases, the abnormal ones first; with a `threshold` only marks at or above it."""
    abnormal = np.arange(cases) < round(cases * marking.abnormal)
    many = np.where(abnormal, 1 + rng.poisson(marking.lesions - 1.0, cases), 0)
    lesion_case = np.repeat(np.arange(cases), many)

    def scores(n: int) -> np.ndarray:
        return np.where(rng.random(n) < marking.marked, rng.normal(far, 1.0, n), -np.inf)

    # A lesion shares its case's fate with the square root of the correlation: two of them then correlate by it.
    common = rng.random(lesion_case.size) < math.sqrt(marking.correlation)
    lesion = np.where(common, scores(cases)[lesion_case], scores(lesion_case.size))
    false_case = np.repeat(np.arange(cases), rng.poisson(marking.false_marks, cases))
    false = rng.normal(0.0, 1.0, false_case.size)
    if threshold is not None:
        lesion = np.where(lesion >= threshold, lesion, -np.inf)
        false_case, false = false_case[false >= threshold], false[false >= threshold]
    return Detections(
        abnormal=abnormal, lesion_case=lesion_case, lesion_score=lesion, false_case=false_case, false_score=false
    )


def simulated_froc_power(
    cases: int, marking: Marking, sensitivity: float, goal: float, *, rate: float, normal_only: bool = False,
    studies: int, rng: np.random.Generator, level: float = 0.95, interval: BootstrapMethod = "bca",
) -> float:  # fmt: skip
    """Share of simulated studies whose interval, the suite's own over resampled patients, lies above the goal."""
    far, hits = separation(marking, sensitivity, rate), 0
    for study in range(studies):
        found = simulate_marks(rng, cases, marking, far)
        draw = PatientDraw(np.arange(cases), _REPLICATES, study)
        asked = sensitivity_at(draw, found, rate, cases="normal" if normal_only else "all")
        table = replicated(draw, asked.material, asked.statistics, with_jackknife=interval == "bca")
        low = read(table, level=level, method=interval)[0][0].low
        hits += low is not None and low > goal
    return hits / studies


def simulated_sensitivity_power(
    cases: int, marking: Marking, sensitivity: float, goal: float, *,
    studies: int, rng: np.random.Generator, level: float = 0.95, method: ProportionMethod = "clopper-pearson",
) -> float:  # fmt: skip
    """The same of sensitivity per lesion at a threshold: `clustered_proportion`'s lower limit above the goal."""
    hits = 0
    always = replace(marking, marked=1.0, false_marks=1.0)
    far = float(ndtri(sensitivity))
    for _ in range(studies):
        found = simulate_marks(rng, cases, always, far)
        low = clustered_proportion(found.lesion_score >= 0.0, found.lesion_case, level=level, method=method).low
        hits += low is not None and low > goal
    return hits / studies


def half_width_at(
    cases: int, marking: Marking, sensitivity: float, *, rate: float, normal_only: bool = False, level: float = 0.95
) -> float:
    """Half the width to expect of the interval of the sensitivity at `rate`, of the same variance; 0.5 at most."""
    variance = _variance(cases, marking, sensitivity, rate=rate, normal_only=normal_only)
    return min(0.5, float(ndtri(0.5 + level / 2.0)) * math.sqrt(variance))
