"""Simulated reader studies, to plan with and to test methods on: ratings by Roe and Metz' model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtr

from evalsuite.stats.reader_figures import Readings, readings


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """Variances of a rating by source, on the scale on which `case`, `treatment_case`, `reader_case`, `error` sum to 1.

    `reader` and `treatment_reader` are of the readers' means, each separately for positive and negative cases;
    `separation` is the distance between the means of both. What varies between positive cases is `positive_scale` times
    as wide as between negative ones (Hillis, Academic Radiology 19:1518-1528 (2012), where it is 1 / b).
    """

    separation: float
    reader: float
    treatment_reader: float
    case: float
    treatment_case: float
    reader_case: float
    error: float
    positive_scale: float = 1.0

    def auroc(self, gain: float = 0.0) -> float:
        """AUROC in the population of readers and cases, with `gain` added to the positive cases' mean."""
        within = self.case + self.treatment_case + self.reader_case + self.error
        spread = (1.0 + self.positive_scale**2) * within + 2.0 * (self.reader + self.treatment_reader)
        return float(ndtr((self.separation + gain) / math.sqrt(spread)))


def _structures() -> dict[str, Structure]:
    found = {}
    for separation, high in ((0.75, 0.011), (1.5, 0.03), (2.5, 0.056)):
        for correlation in "HL":
            case, error = (0.3, 0.2) if correlation == "H" else (0.1, 0.6)
            for readers in "HL":
                spread = high if readers == "H" else 0.0055
                found[f"{correlation}{readers} {separation:g}"] = Structure(
                    separation=separation, reader=spread, treatment_reader=spread, case=case, treatment_case=case,
                    reader_case=0.2, error=error,
                )  # fmt: skip
    return found


#: The structures of Roe and Metz (1997) as FDA's iRoeMetz configures them: high or low correlation of the data, high or
#: low variance of the readers, and the separation (0.75, 1.5 and 2.5: AUROC 0.70, 0.86 and 0.96 of a single reader).
ROE_METZ: Final = _structures()


def simulate_readings(
    rng: np.random.Generator,
    structure: Structure,
    *,
    readers: int,
    n_positive: int,
    n_negative: int,
    gain: float = 0.0,
) -> Readings:
    """Ratings `(2, readers, n_positive + n_negative)` of a crossed study of two treatments; positive cases come first.

    `gain` is added to the positive cases' mean with treatment 0.

    References
    ----------
    Roe & Metz, Academic Radiology 4:298-303 (1997).
    """
    truth = np.arange(n_positive + n_negative) < n_positive
    n = truth.size

    def normal(variance: float, *shape: int) -> np.ndarray:
        return rng.normal(0.0, math.sqrt(variance), shape)

    x = np.zeros((2, readers, n))
    x += normal(structure.case, 1, 1, n) + normal(structure.treatment_case, 2, 1, n)
    x += normal(structure.reader_case, 1, readers, n) + normal(structure.error, 2, readers, n)
    x *= np.where(truth, structure.positive_scale, 1.0)
    x += np.where(truth, structure.separation, 0.0)
    for label in (True, False):
        of_readers = normal(structure.reader, 1, readers, 1) + normal(structure.treatment_reader, 2, readers, 1)
        x += np.where(truth == label, of_readers, 0.0)
    x[0] += np.where(truth, gain, 0.0)
    return readings(truth, x)
