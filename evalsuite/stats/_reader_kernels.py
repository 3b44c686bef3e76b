"""Many simulated reader studies, compiled: ratings are drawn, and each reader's figure and its covariances summed.

Importing this module loads Numba: import it inside the function that needs it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from evalsuite.stats._kernels import _compiled, _inlined

Values = npt.NDArray[Any]
"""float64."""


@_inlined
def _draw(rng: Any, x: Values, n_positive: int, variance: Values, mean: Values, scale: float) -> None:
    """Ratings `x (2, readers, cases)`, positive cases first, by Roe and Metz' model.

    `variance` holds those of readers, treatment × reader, cases, treatment × case, reader × case and the rest, `mean`
    the positive cases' mean by treatment; `scale` widens all that varies between positive cases.
    """
    reader, own, case, with_case, of_pair, rest = np.sqrt(variance)
    n_readers, n = x.shape[1], x.shape[2]
    shift = np.empty((2, n_readers))
    for label in range(2):
        first, last = (0, n_positive) if label == 1 else (n_positive, n)
        wide = scale if label == 1 else 1.0
        for r in range(n_readers):
            both = reader * rng.standard_normal()
            for t in range(2):
                shift[t, r] = both + own * rng.standard_normal() + (mean[t] if label == 1 else 0.0)
        for i in range(first, last):
            shared = case * rng.standard_normal()
            one = shared + with_case * rng.standard_normal()
            two = shared + with_case * rng.standard_normal()
            for r in range(n_readers):
                pair = of_pair * rng.standard_normal()
                x[0, r, i] = shift[0, r] + wide * (one + pair + rest * rng.standard_normal())
                x[1, r, i] = shift[1, r] + wide * (two + pair + rest * rng.standard_normal())


@_inlined
def _areas(x: Values, n_positive: int, value: Values, positive: Values, negative: Values) -> None:
    """AUROC of every reader and treatment, and the cases' placements less it; ratings have no ties."""
    n_negative = x.shape[2] - n_positive
    for t in range(x.shape[0]):
        for r in range(x.shape[1]):
            order = np.argsort(x[t, r])
            below, above, total = 0, n_positive, 0
            for i in order:
                if i < n_positive:
                    positive[t, r, i] = below / n_negative
                    total += below
                    above -= 1
                else:
                    negative[t, r, i - n_positive] = above / n_positive
                    below += 1
            area = total / (n_positive * n_negative)
            value[t, r] = area
            positive[t, r] -= area
            negative[t, r] -= area


@_inlined
def _summed(deviation: Values, out: Values) -> None:
    """Mean sums of products over cases of pairs of readings: the same; one reader; one treatment; neither."""
    n_readers = deviation.shape[1]
    same = one_reader = one_treatment = neither = 0.0
    for i in range(deviation.shape[2]):
        a_sum = b_sum = 0.0
        for r in range(n_readers):
            a, b = deviation[0, r, i], deviation[1, r, i]
            same += a * a + b * b
            one_reader += a * b
            a_sum += a
            b_sum += b
        one_treatment += a_sum * a_sum + b_sum * b_sum
        neither += a_sum * b_sum
    pairs = n_readers * (n_readers - 1)
    out[0] = same / (2 * n_readers)
    out[1] = one_reader / n_readers
    out[2] = (one_treatment - same) / (2 * pairs)
    out[3] = (neither - one_reader) / pairs


@_compiled
def simulate_areas(
    rng: Any, n_positive: int, variance: Values, mean: Values, scale: float, value: Values, positive: Values,
    negative: Values, last: Values,
) -> None:  # fmt: skip
    """Studies of readers' AUROCs `value (studies, 2, readers)` and sums of products over cases `(studies, 4)`.

    `last (2, readers, cases)` is left with the ratings of the last study.
    """
    n_readers, n = last.shape[1], last.shape[2]
    v10 = np.empty((2, n_readers, n_positive))
    v01 = np.empty((2, n_readers, n - n_positive))
    for s in range(len(value)):
        _draw(rng, last, n_positive, variance, mean, scale)
        _areas(last, n_positive, value[s], v10, v01)
        _summed(v10, positive[s])
        _summed(v01, negative[s])


@_compiled
def simulate_shares(
    rng: Any, variance: Values, mean: Values, value: Values, products: Values, last: Values
) -> None:  # fmt: skip
    """The same of the share of cases rated above 0 (calls of one class of cases, `last (2, readers, cases)`)."""
    n_readers, n = last.shape[1], last.shape[2]
    called = np.empty((2, n_readers, n))
    for s in range(len(value)):
        _draw(rng, last, n, variance, mean, 1.0)
        for t in range(2):
            for r in range(n_readers):
                count = 0
                for i in range(n):
                    yes = last[t, r, i] > 0.0
                    called[t, r, i] = 1.0 if yes else 0.0
                    count += yes
                value[s, t, r] = count / n
                called[t, r] -= count / n
        _summed(called, products[s])


@_inlined
def _pairs(x: Values, n_positive: int, same: Values, every: Values) -> None:
    """Sums of products of successes of two treatments over pairs of cases that agree in both, positive, negative, none.

    Rows of `same` (of one reader) and `every` (of all readers' successes summed) `(3, 4)`: treatments 0 and 0, 1 and 1,
    0 and 1.
    """
    n_readers, n = x.shape[1], x.shape[2]
    n_negative = n - n_positive
    count = np.zeros((2, n_readers))
    by_positive = np.zeros((2, n_readers, n_positive))
    by_negative = np.zeros((2, n_readers, n_negative))
    same[:] = 0.0
    every[:] = 0.0
    for i in range(n_positive):
        for k in range(n_negative):
            one = two = both = 0
            for r in range(n_readers):
                a = x[0, r, i] > x[0, r, n_positive + k]
                b = x[1, r, i] > x[1, r, n_positive + k]
                one += a
                two += b
                both += a & b
                by_positive[0, r, i] += a
                by_positive[1, r, i] += b
                by_negative[0, r, k] += a
                by_negative[1, r, k] += b
            same[0, 0] += one
            same[1, 0] += two
            same[2, 0] += both
            every[0, 0] += one * one
            every[1, 0] += two * two
            every[2, 0] += one * two
    for row in range(3):
        first, second = (0 if row != 1 else 1), (0 if row == 0 else 1)
        for kind in range(1, 3):
            marginal = by_positive if kind == 1 else by_negative
            for i in range(marginal.shape[2]):
                a_sum = b_sum = 0.0
                for r in range(n_readers):
                    a_sum += marginal[first, r, i]
                    b_sum += marginal[second, r, i]
                    same[row, kind] += marginal[first, r, i] * marginal[second, r, i]
                every[row, kind] += a_sum * b_sum
    for t in range(2):
        for r in range(n_readers):
            count[t, r] = by_positive[t, r].sum()
    for row in range(3):
        first, second = (0 if row != 1 else 1), (0 if row == 0 else 1)
        for r in range(n_readers):
            same[row, 3] += count[first, r] * count[second, r]
        every[row, 3] = count[first].sum() * count[second].sum()


@_compiled
def simulate_pairs(
    rng: Any, n_positive: int, variance: Values, mean: Values, scale: float, value: Values, same: Values, every: Values,
    last: Values,
) -> None:  # fmt: skip
    """Studies of readers' AUROCs `value (studies, 2, readers)` and sums over pairs of cases `(studies, 3, 4)`."""
    n_readers, n = last.shape[1], last.shape[2]
    v10 = np.empty((2, n_readers, n_positive))
    v01 = np.empty((2, n_readers, n - n_positive))
    for s in range(len(value)):
        _draw(rng, last, n_positive, variance, mean, scale)
        _areas(last, n_positive, value[s], v10, v01)
        _pairs(last, n_positive, same[s], every[s])
