"""Variance of a weighted estimate when patients were drawn by design: patients as units, within sampling strata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalsuite.stats._means import Floats, patient_index
from evalsuite.types import Unit

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Weights, patients and sampling strata of n cases, checked.

    `stratum_of_patient` is None where patients were drawn from one population.
    """

    weight: Floats
    patient: NDArray[np.intp]
    stratum_of_patient: NDArray[np.intp] | None

    @property
    def n_patients(self) -> int:
        return int(self.patient.max()) + 1 if self.patient.size else 0

    @property
    def clustered(self) -> bool:
        return self.n_patients < self.patient.size

    @property
    def plain(self) -> bool:
        """Whether all weights are equal and there are no strata: the unweighted methods then apply as they are."""
        equal = self.weight.size == 0 or bool((self.weight == self.weight[0]).all())
        return equal and self.stratum_of_patient is None

    @property
    def df(self) -> int:
        """Patients less sampling strata."""
        strata = 1 if self.stratum_of_patient is None else int(self.stratum_of_patient.max()) + 1
        return self.n_patients - strata


def design(n: int, weight: ArrayLike | None, patient: ArrayLike | None, stratum: ArrayLike | None) -> Design:
    """Check the design of `n` cases.

    Raises
    ------
    ValueError
        If shapes differ, a weight is not a positive finite number, or a patient lies in two sampling strata.
    """
    w = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
    if w.shape != (n,):
        raise ValueError(f"weight has shape {w.shape}, expected ({n},)")
    if not (np.isfinite(w).all() and (w > 0).all()):
        raise ValueError("weights are positive finite numbers; a case that was not sampled has none")
    patients = patient_index(patient, n)
    if stratum is None:
        return Design(weight=w, patient=patients, stratum_of_patient=None)
    labels = np.asarray(stratum)
    if labels.shape != (n,):
        raise ValueError(f"stratum has shape {labels.shape}, expected ({n},)")
    codes = np.unique(labels, return_inverse=True)[1].reshape(-1)
    of_patient = np.zeros(int(patients.max()) + 1 if n else 0, dtype=np.intp)
    of_patient[patients] = codes
    if (of_patient[patients] != codes).any():
        raise ValueError(
            "a patient lies in two sampling strata; strata are drawn apart, so that patients belong to one"
        )
    return Design(weight=w, patient=patients, stratum_of_patient=of_patient)


def linearised_variance(z: Floats, d: Design) -> float | str:
    """Variance of a sum of influences `z (n,)`, or the reason why it is not identified.

    Σ_h m_h/(m_h - 1) Σ_c (z_hc - mean_h)² over sampling strata h and their patients c: Woodruff, J Am Stat Assoc
    66:411-414 (1971); Binder, Int Stat Rev 51:279-292 (1983).
    """
    m = d.n_patients
    if m < 2:
        return "one case" if z.size == 1 else "all cases come from one patient"
    sums = np.bincount(d.patient, z, minlength=m)
    strata = np.zeros(m, dtype=np.intp) if d.stratum_of_patient is None else d.stratum_of_patient
    size = np.bincount(strata)
    if (size == 1).any():
        return f"{int((size == 1).sum())} sampling strata hold a single patient, so their variance cannot be seen"
    gap = sums - (np.bincount(strata, sums) / size)[strata]
    # Rounding noise must not pass for a variance.
    gap[np.abs(gap) < 1e-12 * max(float(np.abs(z).max()), 1e-300) * z.size] = 0.0
    return float((size / (size - 1.0))[strata] @ gap**2)


def kish_effective_n(weight: ArrayLike) -> float:
    """Number of equally weighted units with the same information: (Σw)² / Σw²; 0 without units.

    References
    ----------
    Kish, Survey Sampling (1965), section 11.2C.
    """
    w = np.asarray(weight, dtype=np.float64)
    if w.ndim != 1 or not np.isfinite(w).all() or (w < 0).any():
        raise ValueError("weights are a one-dimensional array of finite numbers from 0")
    return float(w.sum() ** 2 / (w @ w)) if w.any() else 0.0


def one_class_reason(y: Bools) -> str | None:
    if y.size == 0:
        return "no cases"
    return None if 0 < y.sum() < y.size else f"no reference-{'negative' if y.all() else 'positive'} cases"


def class_fields(y: Bools, d: Design, level: float, unit: Unit) -> dict[str, Any]:
    return {
        "n": y.size,
        "n_positive": int(y.sum()),
        "n_negative": int((~y).sum()),
        "n_patients": d.n_patients,
        "level": level,
        "unit": unit,
    }
