"""Wilcoxon's signed-rank test: do two devices differ on the same cases, judged by the ranks of the differences?"""

from __future__ import annotations

import numpy as np
from scipy.stats import wilcoxon

from evalsuite.stats._binary_inputs import FloatArray
from evalsuite.types import TestOutcome

#: So many different cases at most have the exact distribution; ties of differences always take the normal one.
MOST_EXACT = 50


def signed_ranks(first: FloatArray, second: FloatArray, *, name: str, endpoint: str | None = None) -> TestOutcome:
    """Two-sided test that differences `first - second` `(n,)` of independent pairs are symmetric about 0.

    Pairs that do not differ are left out (Wilcoxon's own way). The statistic is the smaller sum of ranks. Exact up to
    50 pairs without ties, else the normal approximation with its correction for ties.

    References
    ----------
    Wilcoxon, Biometrics Bulletin 1:80-83 (1945). Computed by SciPy.
    """
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    changed = difference[difference != 0.0]
    method = "Wilcoxon signed-rank, two-sided"
    if changed.size == 0:
        reason = "no case differs between the two"
        return TestOutcome(name=name, statistic=None, p_value=None, method=method, endpoint=endpoint, undefined=reason)
    exact = changed.size <= MOST_EXACT and np.unique(np.abs(changed)).size == changed.size
    found = wilcoxon(changed, method="exact" if exact else "asymptotic", correction=False)
    return TestOutcome(
        name=name,
        statistic=float(found.statistic),
        p_value=float(found.pvalue),
        method=f"{method}, {'exact' if exact else 'normal approximation'}",
        endpoint=endpoint,
    )
