"""Means of a per-case quantity when one patient may contribute several cases, and checks of paired measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalsuite.stats._normal import t_two_sided
from evalsuite.stats.clustered import compact

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean over cases, its standard error with patients as the independent units, and what it rests on.

    `standard_error` is None with a single patient; `design_effect` only where patients contribute several cases.
    """

    value: float
    standard_error: float | None
    df: int
    n: int
    n_patients: int
    design_effect: float | None

    def limits(self, level: float) -> tuple[float, float] | None:
        """Student t limits on patients - 1 degrees of freedom; None where no variation was seen."""
        if self.standard_error is None or self.standard_error == 0.0:
            return None
        half = t_two_sided(level, self.df) * self.standard_error
        return self.value - half, self.value + half

    @property
    def why_no_limits(self) -> str:
        """The reason that `limits` is None."""
        if self.standard_error is None:
            return "one case" if self.n == 1 else "all cases come from one patient"
        return "no variation between cases was seen"


def patient_index(patient: ArrayLike | None, n: int) -> NDArray[np.intp]:
    """(n,) index of each case's patient, 0 to m - 1; every case its own patient where `patient` is None."""
    if patient is None:
        return np.arange(n)
    labels = np.asarray(patient)
    if labels.shape != (n,):
        raise ValueError(f"patient has shape {labels.shape}, expected ({n},)")
    return compact(labels)


def clustered_mean(values: Floats, index: NDArray[np.intp]) -> Mean:
    """Mean over cases; variance m/(m-1) Σ_c (Σ_i (x - mean))² / n² over m patients (s²/n with one case each)."""
    n = values.size
    m = int(index.max()) + 1
    mean = float(values.mean())
    if m == 1:
        return Mean(value=mean, standard_error=None, df=0, n=n, n_patients=1, design_effect=None)
    if np.ptp(values) == 0.0:
        return Mean(value=float(values[0]), standard_error=0.0, df=m - 1, n=n, n_patients=m, design_effect=None)
    sums = np.bincount(index, values - mean, minlength=m)
    variance = m / (m - 1.0) * float(sums @ sums) / n**2
    plain = float(values.var(ddof=1)) / n
    return Mean(
        value=mean,
        standard_error=math.sqrt(variance),
        df=m - 1,
        n=n,
        n_patients=m,
        design_effect=variance / plain if m < n else None,
    )


#: Of the larger number: what subtracting two decimals leaves beside their difference (12.3 - 12.2 is not .1).
ROUNDING = 4.0 * float(np.finfo(np.float64).eps)


def differences(device: Floats, reference: Floats) -> Floats:
    """(n,) device less reference; exactly equal where nothing but the rounding of the subtraction tells them apart."""
    d = device - reference
    if d.size and np.ptp(d) <= ROUNDING * max(float(np.abs(device).max()), float(np.abs(reference).max())):
        return np.full(d.size, float(d.mean()))
    return d


def paired(device: ArrayLike, reference: ArrayLike) -> tuple[Floats, Floats]:
    """Two (n,) arrays of finite measurements of the same cases, as float64.

    Raises
    ------
    ValueError
        If shapes differ or a value is not finite (missing measurements are accounted for before, not here).
    """
    a, b = np.asarray(device, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"device and reference hold one value per case, got shapes {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("measurements are finite numbers; leave out and account for missing ones first")
    return a, b
