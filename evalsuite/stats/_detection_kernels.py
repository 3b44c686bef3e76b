"""The inner loops of detection, compiled: the FROC curve and areas under rankings, walked once per resample.

Importing this module loads Numba; see `_kernels`. Each replicate is walked by itself, in the order of the scores, so
its result does not depend on threads or on how replicates are split.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from evalsuite.stats._kernels import _compiled

Values = npt.NDArray[Any]
"""float64."""
Counts = npt.NDArray[Any]
"""int32."""
Index = npt.NDArray[Any]
"""int64."""
Flags = npt.NDArray[Any]
"""bool."""


@_compiled
def froc(
    counts: Counts,
    patient: Index,
    lesion: Flags,
    last_of_tie: Flags,
    cases_of: Index,
    lesions_of: Index,
    rates: Values,
    out: Values,
) -> None:
    """Sensitivity at each rate of false positives per case, and average precision, of every replicate.

    Events are found lesions and false positives by descending score: `patient`, `lesion` and `last_of_tie` `(e,)`.
    `cases_of` and `lesions_of` `(p,)` are what each patient adds to the denominators; `rates (k,)` ascend. `out` is
    `(r, k + 1)`: between two points of the curve a straight line, after its last the last sensitivity; NaN without
    lesions, and but for the average precision without cases.
    """
    many = rates.size
    for r in range(counts.shape[0]):
        cases, lesions = 0, 0
        for p in range(counts.shape[1]):
            cases += counts[r, p] * cases_of[p]
            lesions += counts[r, p] * lesions_of[p]
        if lesions == 0:
            for k in range(many + 1):
                out[r, k] = np.nan
            continue
        found, false, at = 0, 0, 0
        last_found, last_false = 0, 0
        precision = 0.0
        for e in range(patient.size):
            weight = counts[r, patient[e]]
            if weight == 0 and not last_of_tie[e]:
                continue
            if lesion[e]:
                found += weight
            else:
                false += weight
            if not last_of_tie[e]:
                continue
            if found > last_found:
                precision += (found - last_found) / lesions * (found / (found + false))
            # Rates that the curve has passed: those below its new point, on the line from the one before.
            while at < many and false > rates[at] * cases:
                share = (rates[at] * cases - last_false) / (false - last_false)
                out[r, at] = (last_found + share * (found - last_found)) / lesions
                at += 1
            last_found, last_false = found, false
        while at < many:
            out[r, at] = last_found / lesions
            at += 1
        if cases == 0:
            for k in range(many):
                out[r, k] = np.nan
        out[r, many] = precision


@_compiled
def area(counts: Counts, patient: Index, positive: Values, negative: Values, last_of_tie: Flags, out: Values) -> None:
    """Sum over pairs of a positive and a negative item of the product of their weights, if the positive one's score is
    higher; half of it if it is equal.

    Items by ascending score: `patient`, weights `positive` and `negative` (one of them 0), `last_of_tie` `(e,)`;
    `out (r,)`.
    """
    for r in range(counts.shape[0]):
        below, tied_negative, tied_positive, total = 0.0, 0.0, 0.0, 0.0
        for e in range(patient.size):
            weight = counts[r, patient[e]]
            tied_negative += weight * negative[e]
            tied_positive += weight * positive[e]
            if last_of_tie[e]:
                total += tied_positive * (below + 0.5 * tied_negative)
                below += tied_negative
                tied_negative, tied_positive = 0.0, 0.0
        out[r] = total
