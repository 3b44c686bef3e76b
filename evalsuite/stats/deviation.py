"""Whether deviations are small enough: how large most are, how many lie within a tolerance, equivalence of the mean."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from scipy.optimize import brentq

from evalsuite.stats._means import ROUNDING, Floats, clustered_mean, differences, paired, patient_index
from evalsuite.stats._normal import check_level, t_two_sided
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.types import Estimate, TestOutcome, Unit


def total_deviation_index(
    device: ArrayLike, reference: ArrayLike, *, coverage: float = 0.9, level: float = 0.95, unit: Unit = "case"
) -> Estimate:
    """The deviation within which a share `coverage` of differences lies, for normally distributed differences.

    The coverage quantile of |difference| under the fitted normal distribution (not Lin's approximation by the mean
    square); interval by the delta method on its logarithm. One case per patient.

    References
    ----------
    Lin, Stat Med 19:255-270 (2000); Lin, Hedayat, Sinha & Yang, J Am Stat Assoc 97:257-270 (2002).
    """
    a, b = paired(device, reference)
    level, coverage = check_level(level), check_level(coverage)
    fields: dict[str, Any] = {
        "n": a.size,
        "level": level,
        "unit": unit,
        "method": f"normal {coverage:.4g} quantile of the absolute difference, log delta method",
    }
    d = differences(a, b)
    if d.size < 2 or np.ptp(d) == 0:
        return Estimate.not_estimable("fewer than 2 cases" if d.size < 2 else "the differences do not vary", **fields)
    mean, sd, n = float(d.mean()), float(d.std(ddof=1)), d.size

    def missing(k: float) -> float:
        return float(special.ndtr((k - mean) / sd) - special.ndtr((-k - mean) / sd)) - coverage

    k = float(brentq(missing, 0.0, abs(mean) + 40.0 * sd, xtol=1e-13 * (abs(mean) + sd), maxiter=500))
    upper, lower = (k - mean) / sd, (-k - mean) / sd
    f_upper, f_lower = (math.exp(-v * v / 2.0) for v in (upper, lower))
    # Implicit derivatives of the quantile in mean and SD.
    by_mean = (f_upper - f_lower) / (f_upper + f_lower)
    by_sd = (upper * f_upper - lower * f_lower) / (f_upper + f_lower)
    se = math.sqrt(by_mean**2 * sd**2 / n + by_sd**2 * sd**2 / (2.0 * (n - 1)))
    half = t_two_sided(level, n - 1) * se / k
    return Estimate(value=k, low=k * math.exp(-half), high=k * math.exp(half), **fields)


def within_tolerance(device: Floats, reference: Floats, tolerance: float) -> NDArray[np.bool_]:
    """(n,) whether device and reference differ by at most `tolerance`: 12.3 is within .1 of 12.2, whatever the last
    digit of the subtraction."""
    slack = ROUNDING * np.maximum(np.abs(device), np.abs(reference))
    return np.asarray(np.abs(device - reference) <= tolerance + slack)


def coverage_probability(
    device: ArrayLike,
    reference: ArrayLike,
    *,
    tolerance: float,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    unit: Unit = "case",
) -> Estimate:
    """Share of cases whose device measurement lies within ±`tolerance` of the reference (inclusive), Clopper-Pearson.

    Raises
    ------
    ValueError
        If the tolerance is negative or not finite.
    """
    if not (0.0 <= tolerance < math.inf):
        raise ValueError(f"tolerance is a finite number from 0, got {tolerance!r}")
    a, b = paired(device, reference)
    return clustered_proportion(
        within_tolerance(a, b, tolerance), patient_index(patient, a.size), level=level, unit=unit
    )


def tost(
    device: ArrayLike,
    reference: ArrayLike,
    *,
    lower: float,
    upper: float,
    patient: ArrayLike | None = None,
    name: str = "equivalence of the mean",
    endpoint: str | None = None,
) -> TestOutcome:
    """Two one-sided t tests that the mean difference lies inside (lower, upper); p is the larger of the two.

    Equivalent at α exactly where the 1 - 2α interval of `bias` lies inside the margins. With `lower = -inf` or `upper
    = inf` it is a non-inferiority test. Undefined with one patient, and where no variation was seen.

    References
    ----------
    Schuirmann, J Pharmacokinet Biopharm 15:657-680 (1987).
    """
    if not lower < upper:
        raise ValueError(f"lower is below upper, got {lower!r} and {upper!r}")
    a, b = paired(device, reference)
    label = "two one-sided t tests" if math.isfinite(lower) and math.isfinite(upper) else "one-sided t test"
    undefined = "no cases" if a.size == 0 else None
    mean = clustered_mean(differences(a, b), patient_index(patient, a.size)) if a.size else None
    if mean is not None and mean.standard_error is None:
        undefined = mean.why_no_limits
    if mean is None or mean.standard_error is None:
        return TestOutcome(
            name=name, statistic=None, p_value=None, method=label, endpoint=endpoint, undefined=undefined
        )
    if mean.standard_error == 0.0:
        return TestOutcome(
            name=name,
            statistic=None,
            p_value=None,
            method=label,
            endpoint=endpoint,
            undefined="no variation between cases was seen",
        )
    t = [(mean.value - lower) / mean.standard_error, (upper - mean.value) / mean.standard_error]
    worst = min(t)
    p = float(special.stdtr(mean.df, -worst)) if math.isfinite(worst) else 0.0
    return TestOutcome(name=name, statistic=worst, p_value=p, method=f"{label}, {mean.df} df", endpoint=endpoint)
