"""The inner loops of reshuffled periods, compiled: how far two distribution functions lie apart, and cases per group.

Importing this module loads Numba: import it inside the function that needs it. One value at a time in the order of the
cases, so the result does not depend on the processor or the compiler.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from evalsuite.stats._kernels import _compiled

Values = npt.NDArray[Any]
"""float64."""
Places = npt.NDArray[Any]
"""int64, or int32."""
Flags = npt.NDArray[Any]
"""bool."""


@_compiled
def apart(member: Flags, at: Places, last: Flags, gap: Values) -> Any:
    """Largest difference of the two distribution functions, and the area between them.

    `member` `(cases,)` says which cases are the window's, `at` `(n,)` the cases with a value in the order of it, `last`
    `(n,)` where a value is the last of its ties, `gap` `(n,)` how far the next one lies (0 after the last). Both are 0
    where a side has no value.
    """
    n = at.size
    window = 0
    for i in range(n):
        window += member[at[i]]
    rest = n - window
    if window == 0 or rest == 0:
        return 0.0, 0.0
    each = 1.0 / window + 1.0 / rest
    so_far, most, area = 0, 0.0, 0.0
    for i in range(n):
        so_far += member[at[i]]
        if last[i]:
            # so_far / window − (i + 1 − so_far) / rest
            difference = abs(so_far * each - (i + 1) / rest)
            most = max(most, difference)
            area += difference * gap[i]
    return most, area


@_compiled
def group_counts(codes: Places, member: Flags, out: Places) -> None:
    """Cases of every group: `out` `(2, groups)`, those of the baseline and then of the window."""
    out[:] = 0
    for i in range(codes.size):
        out[1 if member[i] else 0, codes[i]] += 1
