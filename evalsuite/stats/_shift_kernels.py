"""The inner loops of reshuffled periods, compiled: who is drawn, how far distributions lie apart, cases per group.

Importing this module loads Numba: import it inside the function that needs it. Whole numbers, or one value at a time in
the order of the cases, so the result does not depend on the processor or the compiler.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from evalsuite.stats._kernels import (
    _HIGH,
    _LOWER,
    _STATE_WORDS,
    _STEP_HIGH,
    _STEP_LOW,
    _compiled,
    _next,
    _start,
)

Values = npt.NDArray[Any]
"""float64."""
Places = npt.NDArray[Any]
"""int32, or int64 for totals."""
Lots = npt.NDArray[Any]
"""uint64."""

_NONE, _ONE = np.uint64(0), np.uint64(1)
_DROPPED = np.uint64(11)
"""Bits that numpy's `Generator.random` drops of every 64 before it divides by 2^53."""


@_compiled
def draw_lots(words: Lots, between: Lots, above: bool, sure: Places, open_lots: Lots, open_places: Places) -> Any:
    """Draw the lot of every patient: `Generator.random` of `PCG64DXSM(SeedSequence)`, times 2^53.

    `words` are the seed's, as `draw.seed_words` has them. Patients with a lot outside `between` (two lots) are settled:
    `sure` receives those above it, or those below it. The lots between the two, and whose they are, go to `open_lots`
    and `open_places`; both and `sure` have a place more than there are patients. Returns how many are in `sure`, and
    how many lots are open.
    """
    state = np.zeros(_STATE_WORDS, dtype=np.uint64)
    _start(words, state)
    high, low, step_high, step_low = state[_HIGH], state[_LOWER], state[_STEP_HIGH], state[_STEP_LOW]
    first, last = between[0], between[1]
    width = last - first
    n_sure, n_open = _NONE, _NONE
    for i in range(sure.size - 1):
        word, high, low = _next(high, low, step_high, step_low)
        lot = word >> _DROPPED
        # Written always and kept sometimes: faster than a branch that nobody can predict.
        sure[n_sure] = i
        n_sure += _ONE if (lot > last if above else lot < first) else _NONE
        open_lots[n_open] = lot
        open_places[n_open] = i
        # The lots below the first wrap around to large numbers.
        n_open += _ONE if lot - first <= width else _NONE
    return n_sure, n_open


@_compiled
def their_cases(patients: Places, ends: Places, out: Places) -> Any:
    """The cases of some patients: patient p has the cases `ends[p] … ends[p + 1] - 1`. Returns how many there are."""
    n = 0
    for patient in patients:
        for case in range(ends[patient], ends[patient + 1]):
            out[n] = case
            n += 1
    return n


@_compiled
def apart(some: Places, some_are_window: bool, group: Places, through: Places, gap: Values, work: Places) -> Any:
    """Largest difference of the two distribution functions, and the area between them.

    `some` are the cases of one side, the window where `some_are_window`. `group` `(cases,)` numbers the different
    values by size, the number after the last one for cases without a value; `through` `(groups,)` is how many cases of
    both sides have a value up to it, `gap` `(groups,)` how far the next value lies (0 after the last), `work`
    `(groups + 1,)` zeros, left as such. Both results are 0 where a side has no value.
    """
    groups = through.size
    for case in some:
        work[group[case]] += 1
    have = some.size - work[groups]
    work[groups] = 0
    n = through[groups - 1] if groups > 0 else 0
    window = have if some_are_window else n - have
    rest = n - window
    if window == 0 or rest == 0:
        work[:] = 0
        return 0.0, 0.0
    each = 1.0 / window + 1.0 / rest
    so_far, most, area = 0, 0.0, 0.0
    for g in range(groups):
        so_far += work[g]
        work[g] = 0
        inside = so_far if some_are_window else through[g] - so_far
        # inside / window − (through − inside) / rest
        difference = abs(inside * each - through[g] / rest)
        most = max(most, difference)
        area += difference * gap[g]
    return most, area


@_compiled
def group_counts(codes: Places, some: Places, out: Places) -> None:
    """How many of some cases every group has: `out` `(groups,)`."""
    out[:] = 0
    for case in some:
        out[codes[case]] += 1
