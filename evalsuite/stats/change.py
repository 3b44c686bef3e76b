"""Whether a device sees the change between two visits that the reference sees: how far off, and in which category.

For monitoring, two measurements of one patient are compared. An error that is the same at both visits cancels, so the
agreement of change can be better, or worse, than that of single measurements, and has to be measured by itself.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalsuite.stats._kappa import Weights, kappa_from_table
from evalsuite.stats._means import Floats, paired, patient_index
from evalsuite.stats.agreement import BlandAltman, LimitsMethod, bland_altman
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.ordinal import grade_table
from evalsuite.types import Estimate, Unit

#: RECIST 1.1: partial response from 30 % smaller, progression from 20 % larger.
RECIST = (-0.30, 0.20)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseAgreement:
    """Agreement of the categories of change: device in rows and reference in columns of `table`, in order of change.

    `agreement` is the share of cases in the same category, `kappa` the agreement beyond chance, `opposite` the share
    put in the lowest category by one and the highest by the other. `by_category[j]` is the share of cases in category j
    of the reference that the device puts there too.
    """

    table: tuple[tuple[int, ...], ...]
    agreement: Estimate
    kappa: Estimate
    opposite: Estimate
    by_category: tuple[Estimate, ...]


def change(before: ArrayLike, after: ArrayLike, *, relative: bool = False) -> Floats:
    """(n,) change from `before` to `after`; `relative` to the value before (0.2 is 20 % more).

    Raises
    ------
    ValueError
        If shapes differ, a value is not finite, or a relative change starts from a value that is not above 0.
    """
    b, a = paired(after, before)
    if not relative:
        return b - a
    if (a <= 0).any():
        raise ValueError("a relative change needs values above 0 before")
    return (b - a) / a


def change_agreement(
    device_before: ArrayLike,
    device_after: ArrayLike,
    reference_before: ArrayLike,
    reference_after: ArrayLike,
    *,
    relative: bool = False,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    coverage: float = 0.95,
    method: LimitsMethod = "exact",
    unit: Unit = "case",
) -> BlandAltman:
    """Bias and limits of agreement of the change, device minus reference; parameters as `agreement.bland_altman`.

    Each (n,) array holds one measurement per pair of visits. With `relative` the changes are shares of each method's
    own first value.
    """
    device = change(device_before, device_after, relative=relative)
    reference = change(reference_before, reference_after, relative=relative)
    return bland_altman(device, reference, patient=patient, level=level, coverage=coverage, method=method, unit=unit)


def response_category(
    before: ArrayLike, after: ArrayLike, thresholds: Sequence[float] = RECIST, *, relative: bool = True
) -> NDArray[np.intp]:
    """(n,) category of change, 0 the largest decrease: cut points below 0 belong to the category below them, the others
    to the one above (a decrease of exactly 30 % is a response, an increase of exactly 20 % progression).

    Raises
    ------
    ValueError
        If thresholds do not increase, or as `change`.
    """
    cuts = [float(t) for t in thresholds]
    if not cuts or not all(math.isfinite(t) for t in cuts) or any(b <= a for a, b in itertools.pairwise(cuts)):
        raise ValueError(f"thresholds are finite and increase, got {cuts}")
    delta = change(before, after, relative=relative)
    category = np.zeros(delta.size, dtype=np.intp)
    for t in cuts:
        # 21 from 30 is a decrease of exactly 30 %, whatever the last digit of the division.
        slack = 1e-12 * max(1.0, abs(t))
        category += (delta > t + slack) if t < 0 else (delta >= t - slack)
    return category


def response_agreement(
    device: ArrayLike,
    reference: ArrayLike,
    n_categories: int,
    *,
    weights: Weights = "linear",
    patient: ArrayLike | None = None,
    level: float = 0.95,
    unit: Unit = "case",
) -> ResponseAgreement:
    """Agreement of two (n,) categories of change, 0 to k - 1 in order.

    Shares have Clopper-Pearson limits, patients as clusters. Kappa's interval takes cases as independent, so that it is
    left out where a patient has several.

    Raises
    ------
    ValueError
        If shapes differ or a category is out of range.
    """
    table = grade_table(device, reference, n_categories)
    d, r = np.asarray(device), np.asarray(reference)
    index = patient_index(patient, d.size)
    m = int(index.max()) + 1 if d.size else 0
    kappa = kappa_from_table(table, weights=weights, level=level, unit=unit, n_patients=m)
    if m < d.size and kappa.low is not None:
        data: dict[str, Any] = {**kappa.to_json(), "low": None, "high": None}
        why = "patients have several cases; the interval for independent cases would be too narrow"
        kappa = Estimate.from_json({**data, "interval_undefined": why})

    def share(success: NDArray[np.bool_], among: NDArray[np.bool_]) -> Estimate:
        return clustered_proportion(success[among], index[among], level=level, unit=unit)

    everyone = np.ones(d.size, dtype=bool)
    return ResponseAgreement(
        table=tuple(tuple(int(v) for v in row) for row in table),
        agreement=share(d == r, everyone),
        kappa=kappa,
        opposite=share(np.abs(d - r) == n_categories - 1, everyone),
        by_category=tuple(share(d == j, r == j) for j in range(n_categories)),
    )
