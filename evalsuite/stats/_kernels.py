"""The inner loops of the bootstrap, compiled: drawing patients, ranking their cases, reading curves in every replicate.

Importing this module loads Numba, and its functions are compiled on their first call on a machine: import it inside the
function that needs it. Every kernel works on whole numbers, or on one value at a time in the order of the cases, so its
result does not depend on the processor, the compiler or how replicates are split between threads. All release the
interpreter lock.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.extending import intrinsic

from evalsuite.errors import EvalsuiteError

if numba.config.DISABLE_JIT:
    raise EvalsuiteError(
        "NUMBA_DISABLE_JIT is set, and the loops of the bootstrap run only compiled.",
        hint="Unset it and run the same command again.",
    )

Function = TypeVar("Function", bound=Callable[..., Any])
# Numba infers every type from the arguments; what they are is said here, and checked where kernels are called.
Bits = npt.NDArray[Any]
"""uint64."""
Counts = npt.NDArray[Any]
"""int32, or uint8."""
Index = npt.NDArray[Any]
"""int64, or uint32."""


def _compiled(function: Function) -> Function:
    """Compile on first call; the machine code stays on disk where a folder can be written to."""
    try:
        return cast(Function, numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:
        # Neither the folder of the code nor the user's cache can be written to: every process compiles for itself.
        return cast(Function, numba.njit(nogil=True)(function))


def _inlined(function: Function) -> Function:
    """Part of a kernel."""
    return cast(Function, numba.njit(nogil=True)(function))


# --- Random numbers: numpy's SeedSequence, PCG64DXSM and bounded integers, written out ------------------------------
# Making one generator with numpy takes longer than drawing 1,000 patients, and numpy may change the methods of its
# generators from version to version; these streams stay what they are. Tests hold every step to numpy's own.

_ONE, _16, _32, _48 = np.uint64(1), np.uint64(16), np.uint64(32), np.uint64(48)
_CELL, _LOW, _ALL = np.uint64(0xFFFF), np.uint64(0xFFFFFFFF), np.uint64(0xFFFFFFFFFFFFFFFF)
_CHEAP = np.uint64(0xDA942042E4DD58B5)
_FULL_HIGH, _FULL_LOW = np.uint64(0x2360ED051FC65DA4), np.uint64(0x4385DF649FCCF645)
_INIT_A, _MULT_A = np.uint64(0x43B0D7E5), np.uint64(0x931E8875)
_INIT_B, _MULT_B = np.uint64(0x8B51F9DD), np.uint64(0x58F38DED)
_MIX_L, _MIX_R = np.uint64(0xCA01F9DD), np.uint64(0x4973F715)
# State of a stream: state and increment (128 bits each), then whether half a number is kept back, and that half.
_HIGH, _LOWER, _STEP_HIGH, _STEP_LOW, _HAS_HALF, _HALF, _STATE_WORDS = range(7)


def _product(_context: Any, a: Any, b: Any) -> Any:
    """High and low 64 bits of a product: one instruction of the processor that Python's integers have no name for."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide, narrow = ir.IntType(128), ir.IntType(64)
        product = builder.mul(*(builder.zext(x, wide) for x in arguments))
        halves = [builder.trunc(builder.lshr(product, ir.Constant(wide, shift)), narrow) for shift in (64, 0)]
        return context.make_tuple(builder, signature.return_type, halves)

    return numba.types.UniTuple(numba.uint64, 2)(numba.uint64, numba.uint64), code


_multiplied: Any = intrinsic(_product)


@_inlined
def _next(high: Any, low: Any, step_high: Any, step_low: Any) -> Any:
    """Output of PCG64DXSM and the state after it."""
    out = high ^ (high >> _32)
    out *= _CHEAP
    out ^= out >> _48
    out *= low | _ONE
    carried, product = _multiplied(low, _CHEAP)
    low = product + step_low
    return out, high * _CHEAP + carried + step_high + np.uint64(low < product), low


@_inlined
def _next_64(state: Bits) -> Any:
    out, state[_HIGH], state[_LOWER] = _next(state[_HIGH], state[_LOWER], state[_STEP_HIGH], state[_STEP_LOW])
    return out


@_inlined
def _next_32(state: Bits) -> Any:
    if state[_HAS_HALF]:
        state[_HAS_HALF] = 0
        return state[_HALF]
    out = _next_64(state)
    state[_HAS_HALF] = 1
    state[_HALF] = out >> _32
    return out & _LOW


@_inlined
def _up_to(state: Bits, largest: Any) -> Any:
    """Uniform on 0 … largest (below 2^32 − 1), by Lemire's multiplication with rejection."""
    if largest == 0:
        return np.uint64(0)
    size = np.uint64(largest) + _ONE
    product = _next_32(state) * size
    if product & _LOW < size:
        threshold = (_LOW - np.uint64(largest)) % size
        while product & _LOW < threshold:
            product = _next_32(state) * size
    return product >> _32


@_inlined
def _hashed(value: Any, constant: Any, multiplier: Any) -> Any:
    """32-bit hash of a value, and the constant for the next one."""
    following = (constant * multiplier) & _LOW
    value = ((value ^ constant) * following) & _LOW
    return value ^ (value >> _16), following


@_inlined
def _start(words: Bits, state: Bits) -> None:
    """Set `state` as `PCG64DXSM(SeedSequence)` does; `words (≥ 4)` is the entropy, 32 bits in each."""
    pool = np.empty(4, dtype=np.uint64)
    constant = _INIT_A
    for i in range(4):
        pool[i], constant = _hashed(words[i], constant, _MULT_A)
    for source in range(words.size):
        for i in range(4):
            if source >= 4 or source != i:
                value, constant = _hashed(pool[source] if source < 4 else words[source], constant, _MULT_A)
                mixed = (_MIX_L * pool[i] - _MIX_R * value) & _LOW
                pool[i] = mixed ^ (mixed >> _16)
    constant = _INIT_B
    filled = np.empty(4, dtype=np.uint64)
    for i in range(4):
        low, constant = _hashed(pool[(2 * i) % 4], constant, _MULT_B)
        high, constant = _hashed(pool[(2 * i + 1) % 4], constant, _MULT_B)
        filled[i] = low | (high << _32)
    step_high, step_low = (filled[2] << _ONE) | (filled[3] >> np.uint64(63)), (filled[3] << _ONE) | _ONE
    # One step from 0, the seed added, another step; these two with the full multiplier.
    low = step_low + filled[1]
    high = step_high + filled[0] + (_ONE if low < step_low else np.uint64(0))
    carried, product = _multiplied(low, _FULL_LOW)
    high = high * _FULL_LOW + low * _FULL_HIGH + carried + step_high
    low = product + step_low
    if low < product:
        high += _ONE
    state[_HIGH], state[_LOWER], state[_STEP_HIGH], state[_STEP_LOW] = high, low, step_high, step_low
    state[_HAS_HALF] = 0
    state[_HALF] = 0


@_inlined
def _without_replacement(state: Bits, total: int, size: int) -> Any:
    """`size` different numbers out of 0 … total − 1, as `Generator.choice(replace=False, shuffle=False)`."""
    chosen = np.empty(size, dtype=np.int64)
    if total > 10_000 and size > total // 20:
        # The end of a shuffle.
        pool = np.empty(total, dtype=np.int64)
        for i in range(total):
            pool[i] = i
        for k in range(size):
            i = total - 1 - k
            j = _up_to(state, i)
            chosen[size - 1 - k] = pool[j]
            pool[j] = pool[i]
        return chosen
    # Floyd's algorithm with a table of what was taken.
    room = 1
    while room <= int(1.2 * size):
        room *= 2
    taken = np.empty(room, dtype=np.int64)
    for k in range(room):
        taken[k] = -1
    for k in range(size):
        last = total - size + k
        value: Any = np.int64(_up_to(state, last))
        at = value & (room - 1)
        while taken[at] != -1 and taken[at] != value:
            at = (at + 1) & (room - 1)
        if taken[at] == value:
            value = last
            at = value & (room - 1)
            while taken[at] != -1:
                at = (at + 1) & (room - 1)
        taken[at] = value
        chosen[k] = value
    return chosen


# --- One draw of patients ---------------------------------------------------------------------------------------------


@_inlined
def _poisson(
    state: Bits, table: npt.NDArray[Any], threshold_high: Bits, threshold_low: Bits, out: Counts, cells: Bits
) -> Any:
    """Poisson(1) counts: 16 random bits looked up, those that leave it open settled with 64 more; returns the sum."""
    size, total, n_open = out.size, 0, 0
    high, low, step_high, step_low = state[_HIGH], state[_LOWER], state[_STEP_HIGH], state[_STEP_LOW]
    for i in range((size + 3) // 4):
        word, high, low = _next(high, low, step_high, step_low)
        a, b = table[word & _CELL], table[(word >> _16) & _CELL]
        c, d = table[(word >> _32) & _CELL], table[word >> _48]
        at = 4 * i
        if at + 4 <= size and (a | b | c | d) >= 0:
            out[at], out[at + 1], out[at + 2], out[at + 3] = a, b, c, d
            total += a + b + c + d
        else:
            # The last few patients, and words with a number that leaves its count open.
            for j in range(at, min(at + 4, size)):
                count = table[word & _CELL]
                if count < 0:
                    count = 0
                    cells[n_open] = (np.uint64(j) << _16) | (word & _CELL)
                    n_open += 1
                out[j] = count
                total += count
                word >>= _16
    state[_HIGH], state[_LOWER] = high, low
    for k in range(n_open):
        more, cell, count = _next_64(state), cells[k] & _CELL, 0
        while count < threshold_high.size and (
            threshold_high[count] < cell or (threshold_high[count] == cell and threshold_low[count] <= more)
        ):
            count += 1
        out[cells[k] >> _16] = count
        total += count
    return total


@_inlined
def _owners(units: Index, counts: Counts, sums: Index) -> None:
    """Replace each unit's number by its patient's: patient 0 has the first `counts[0]` units, and so on."""
    size, n_sums = counts.size, (counts.size + 63) // 64
    passed = 0
    for block in range(n_sums):
        for i in range(64 * block, min(64 * block + 64, size)):
            passed += counts[i]
        sums[block] = passed
    for k in range(units.size):
        first, last = 0, n_sums - 1
        while first < last:
            middle = (first + last) // 2
            if sums[middle] > units[k]:
                last = middle
            else:
                first = middle + 1
        passed, i = sums[first - 1] if first > 0 else 0, 64 * first
        while passed + counts[i] <= units[k]:
            passed += counts[i]
            i += 1
        units[k] = i


@_inlined
def _corrected(state: Bits, total: int, out: Counts, sums: Index) -> None:
    """Bring counts that sum to `total` to the sum `out.size`: uniform draws added, or drawn units taken away."""
    size = out.size
    for _ in range(size - total):
        out[_up_to(state, size - 1)] += 1
    if total > size:
        units = _without_replacement(state, total, total - size)
        _owners(units, out, sums)
        for patient in units:
            out[patient] -= 1


@_compiled
def draw_counts(
    words: Bits,
    first: int,
    members: Index,
    ends: Index,
    table: npt.NDArray[Any],
    threshold_high: Bits,
    threshold_low: Bits,
    out: Counts,
) -> None:
    """Fill `out (r, p)` with the counts of replicates `first …`; group g is `members[ends[g]:ends[g + 1]]`."""
    patients = out.shape[1]
    state = np.zeros(_STATE_WORDS, dtype=np.uint64)
    part, cells, sums = np.empty(patients, np.int32), np.empty(patients, np.uint64), np.empty(patients, np.int64)
    for row in range(out.shape[0]):
        words[-1] = first + row
        _start(words, state)
        for g in range(ends.size - 1):
            size = ends[g + 1] - ends[g]
            counts = out[row] if size == patients else part[:size]
            total = _poisson(state, table, threshold_high, threshold_low, counts, cells)
            _corrected(state, total, counts, sums)
            if size < patients:
                for i in range(size):
                    out[row, members[ends[g] + i]] = counts[i]


# --- Ranks ------------------------------------------------------------------------------------------------------------


@_compiled
def rank_counts(
    counts: Counts,
    index: tuple[Index, ...],
    work: tuple[Index, ...],
    totals: Index,
    terms: npt.NDArray[Any],
) -> None:
    """Per row of `counts (r, p)`: `totals (r, 3)` positives, negatives, and twice the pairs won (ties count one half).

    `terms (r, m)`, unless it has no rows, receives for each positive its count times the precision at its score.
    `index`: positive patient, negative patient, below, through and first tied of the `RankPlan`, as uint32. `work`:
    space of `n + 1` and `m + 1` numbers of a type that holds the sums of counts.
    """
    positive_patient, negative_patient, below, through, first_tied = index
    running, passed = work
    m, n = positive_patient.size, negative_patient.size
    running[0] = passed[0] = 0
    for row in range(counts.shape[0]):
        drawn = counts[row]
        negatives, positives, twice = np.int64(0), np.int64(0), np.int64(0)
        for j in range(n):
            negatives += np.int64(drawn[negative_patient[j]])
            running[j + 1] = negatives
        for i in range(m):
            count = np.int64(drawn[positive_patient[i]])
            positives += count
            passed[i + 1] = positives
            twice += count * (np.int64(running[below[i]]) + np.int64(running[through[i]]))
        totals[row, 0], totals[row, 1], totals[row, 2] = positives, negatives, twice
        if terms.shape[0] > 0:
            for i in range(m):
                true = float(positives - np.int64(passed[first_tied[i]]))
                called = true + float(negatives - np.int64(running[below[i]]))
                term = float(drawn[positive_patient[i]])
                terms[row, i] = term * (true / called) if called > 0.0 else 0.0


# --- ROC polygons -----------------------------------------------------------------------------------------------------


@_compiled
def corner_counts(counts: Counts, who: Index, positive: npt.NDArray[Any], closes: Index, x: Index, y: Index) -> None:
    """Fill `x`, `y (r, k + 1)` with negatives and positives drawn up to each corner, for each row of `counts (r, p)`.

    Cases `who`, `positive (n,)` come by falling score; `closes (n,)` is 1 at the last case of a distinct score.
    """
    for row in range(counts.shape[0]):
        negatives, positives, corner = np.int64(0), np.int64(0), 0
        x[row, 0] = y[row, 0] = 0
        for i in range(who.size):
            count = np.int64(counts[row, who[i]])
            if positive[i]:
                positives += count
            else:
                negatives += count
            if closes[i]:
                corner += 1
                x[row, corner], y[row, corner] = negatives, positives


@_compiled
def cell_counts(counts: Counts, who: Index, cell: Index, out: Index) -> None:
    """Add to `out (r, cells)` how many cases are drawn in each cell, for each row of `counts (r, p)`."""
    for row in range(counts.shape[0]):
        for i in range(who.size):
            out[row, cell[i]] += np.int64(counts[row, who[i]])


# --- Smooth curves ----------------------------------------------------------------------------------------------------


@_compiled
def local_quadratics(
    x: npt.NDArray[Any], y: npt.NDArray[Any], at: npt.NDArray[Any], nearest: int, out: npt.NDArray[Any]
) -> None:
    """Loess of degree 2 at each rising `at`, over rising `x (n,)`; NaN where the points do not settle a parabola."""
    n, first = x.size, 0
    one, line, square = np.empty(nearest), np.empty(nearest), np.empty(nearest)
    for k in range(at.size):
        here = at[k]
        while first + nearest < n and x[first + nearest] - here < here - x[first]:
            first += 1
        reach = max(here - x[first], x[first + nearest - 1] - here)
        out[k] = np.nan
        if reach <= 0.0:
            continue
        # Root of the tricube weights; of the three columns the constant is the one whose coefficient is wanted.
        ll, ls, lo, ss, so, oo = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(nearest):
            u = (x[first + i] - here) / reach
            share = abs(u)
            # A root costs a tenth of a power of 1.5, and this is the innermost line.
            falling = max(1.0 - share * share * share, 0.0)
            root = falling * math.sqrt(falling)
            one[i], line[i], square[i] = root, root * u, root * u * u
            ll += line[i] * line[i]
            ls += line[i] * square[i]
            lo += line[i] * one[i]
            ss += square[i] * square[i]
            so += square[i] * one[i]
            oo += one[i] * one[i]
        if ll <= 0.0:
            continue
        a, b = ls / ll, lo / ll
        left = ss - a * ls
        if left <= 1e-6 * ss:
            continue
        c = (so - a * lo) / left
        top, bottom = 0.0, 0.0
        for i in range(nearest):
            rest = one[i] - b * line[i] - c * (square[i] - a * line[i])
            top += rest * one[i] * y[first + i]
            bottom += rest * one[i]
        if bottom > 1e-6 * oo:
            out[k] = top / bottom
