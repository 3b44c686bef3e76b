"""What every two-class statistic checks before it counts anything: shapes, missing numbers, probabilities, patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalsuite.types import Unit

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def as_reference(reference: npt.ArrayLike) -> BoolArray:
    """`(n,)` bool from bools or exact 0/1 numbers; anything else is a `ValueError`."""
    array = np.asarray(reference)
    if array.ndim != 1:
        raise ValueError(f"reference must be one-dimensional, got shape {array.shape}")
    if array.dtype == np.bool_:
        return array
    if array.size == 0:
        return np.zeros(0, dtype=np.bool_)
    if not np.issubdtype(array.dtype, np.number) or not bool(np.all((array == 0) | (array == 1))):
        raise ValueError("reference must hold only False/True (or 0/1), without missing values")
    return np.asarray(array == 1)


def as_scores(score: npt.ArrayLike, n: int, *, name: str = "score") -> FloatArray:
    """`(n,)` float64; infinite values keep their rank, NaN is a `ValueError`."""
    array = np.ascontiguousarray(score, dtype=np.float64)
    if array.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},) like reference, got {array.shape}")
    if bool(np.isnan(array).any()):
        raise ValueError(f"{name} holds NaN; a case without a score is not an observation and must be handled before")
    return array


def as_probabilities(probability: npt.ArrayLike, n: int) -> FloatArray:
    """`(n,)` float64 within [0, 1]; NaN or anything outside is a `ValueError`."""
    array = as_scores(probability, n, name="probability")
    if n and (float(array.min()) < 0.0 or float(array.max()) > 1.0):
        raise ValueError("probability lies outside [0, 1]; calibration is only defined for probabilities")
    return array


def as_clusters(cluster: npt.ArrayLike | None, n: int) -> IntArray | None:
    """`(n,)` int64 codes 0 … patients − 1, or None when every case is its own patient."""
    if cluster is None:
        return None
    array = np.asarray(cluster)
    if array.shape != (n,):
        raise ValueError(f"cluster must have shape ({n},) like reference, got {array.shape}")
    if array.dtype.kind == "f" and bool(np.isnan(array).any()):
        raise ValueError("cluster holds NaN; every case needs a patient")
    codes = np.unique(array, return_inverse=True)[1]
    return np.ascontiguousarray(codes.reshape(-1), dtype=np.int64)


def check_level(level: float) -> float:
    """Two-sided confidence level strictly between 0 and 1."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"level lies strictly between 0 and 1, got {level!r}")
    return float(level)


@dataclass(frozen=True, slots=True, kw_only=True)
class BinarySample:
    """Checked arrays of one two-class sample. `cluster` is None when every case is its own patient."""

    reference: BoolArray
    score: FloatArray
    cluster: IntArray | None
    unit: Unit

    @property
    def n(self) -> int:
        return int(self.reference.size)

    @property
    def n_positive(self) -> int:
        return int(self.reference.sum())

    @property
    def n_negative(self) -> int:
        return self.n - self.n_positive

    @property
    def n_patients(self) -> int:
        """Number of patients; without a cluster every case counts as one."""
        if self.cluster is None:
            return self.n
        return int(self.cluster.max()) + 1 if self.n else 0

    @property
    def clustered(self) -> bool:
        """Whether some patient contributes several cases."""
        return self.cluster is not None and self.n_patients < self.n

    @property
    def counts(self) -> dict[str, int]:
        return {
            "n_positive": self.n_positive,
            "n_negative": self.n_negative,
            "n_patients": self.n_patients,
        }

    def one_class_reason(self) -> str | None:
        """Why a statistic that compares positives with negatives does not exist here, or None."""
        if self.n == 0:
            return "no cases"
        if self.n_positive == 0:
            return "no reference-positive cases"
        if self.n_negative == 0:
            return "no reference-negative cases"
        return None


def binary_sample(
    reference: npt.ArrayLike,
    score: npt.ArrayLike,
    *,
    cluster: npt.ArrayLike | None = None,
    unit: Unit = "case",
    probability: bool = False,
) -> BinarySample:
    """Check and pack one two-class sample.

    Raises
    ------
    ValueError
        If shapes differ, a value is NaN, the reference is not binary, or a probability lies outside [0, 1].
    """
    truth = as_reference(reference)
    n = int(truth.size)
    values = as_probabilities(score, n) if probability else as_scores(score, n)
    return BinarySample(reference=truth, score=values, cluster=as_clusters(cluster, n), unit=unit)
