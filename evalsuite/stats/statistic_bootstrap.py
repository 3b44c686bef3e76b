"""The patient bootstrap of any statistic that is computed from the cases themselves, one resample at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from evalsuite.stats._binary_inputs import FloatArray, IntArray
from evalsuite.stats.bootstrap_interval import BootstrapInterval, BootstrapMethod, bootstrap_interval, check_method
from evalsuite.stats.draw import PatientDraw

MOST_JACKKNIFE_WORK = 100_000_000
"""Patients × cases beyond which leaving out each patient in turn would take hours."""
TOO_MANY_PATIENTS = "too many patients for the jackknife of a BCa interval; choose percentile or basic"


def statistic_interval(
    statistic: Callable[[IntArray], float],
    point: float,
    *,
    cluster: npt.ArrayLike,
    method: BootstrapMethod = "bca",
    level: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> BootstrapInterval:
    """Interval of `statistic` over resampled patients.

    Parameters
    ----------
    statistic
        From the indices of the cases drawn (with repeats) to a value; NaN where it does not exist.
    point
        Its value on the data.
    cluster
        `(n,)` patient of each case.

    Returns
    -------
    BootstrapInterval
        Without ends, and with the reason, where too many replicates are undefined or the data are too large for the
        jackknife that BCa needs.
    """
    check_method(method)
    draw = PatientDraw(cluster, replicates, seed)
    if draw.n_patients == 1:
        return _absent("one patient only: resampling patients cannot show any variation")
    cases = np.arange(draw.n)
    values = np.array(
        [statistic(np.repeat(cases, count[draw.patient])) for _, counts in draw.blocks() for count in counts]
    )
    left_out: FloatArray | None = None
    if method == "bca":
        if draw.n_patients * draw.n > MOST_JACKKNIFE_WORK:
            return _absent(TOO_MANY_PATIENTS)
        left_out = np.array([statistic(cases[draw.patient != i]) for i in range(draw.n_patients)])
    return bootstrap_interval(values, point, method=method, level=level, jackknife=left_out, bounds=bounds)


def _absent(reason: str) -> BootstrapInterval:
    return BootstrapInterval(low=None, high=None, undefined=reason, replicates=0, replicates_undefined=0)
