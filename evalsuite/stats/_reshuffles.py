"""Which cases are the window's: as they were, and with patients reshuffled between baseline and window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalsuite.stats.draw import seed_words

Booleans = NDArray[np.bool_]
Codes = NDArray[np.int32]
Lots = NDArray[np.uint64]
_LOTS = 2**53
"""Lots are whole numbers below this."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """A way to part the cases: `some` are the places (in `Members.order`) of those on the side with fewer patients."""

    some: Codes
    some_are_window: bool


class Members:
    """Patients, with all their cases, in either period; `order` `(cases,)` has the cases of one patient together."""

    def __init__(self, baseline: Sequence[str], window: Sequence[str], *, seed: int) -> None:
        _, first = np.unique(np.asarray(baseline, dtype=object).astype(str), return_inverse=True)
        _, second = np.unique(np.asarray(window, dtype=object).astype(str), return_inverse=True)
        known = int(first.max()) + 1
        patient = np.concatenate([first, second + known])
        self._patients = known + int(second.max()) + 1
        self._drawn = self._patients - known
        self._window_is_fewer = self._drawn <= known
        self._words = seed_words(seed)
        self.is_window: Booleans = patient >= known
        self.first_cases = np.unique(patient, return_index=True)[1]
        self.order = np.argsort(patient, kind="stable")
        self._ends = np.searchsorted(patient[self.order], np.arange(self._patients + 1)).astype(np.int32)
        # Space of the compiled loops; its contents are copied before anybody sees them.
        self._sure, self._open_places = (np.empty(self._patients + 1, dtype=np.int32) for _ in range(2))
        self._open_lots = np.empty(self._patients + 1, dtype=np.uint64)
        fewer = np.arange(known, self._patients) if self._window_is_fewer else np.arange(known)
        self.observed = self._split(fewer.astype(np.int32))

    def shuffled(self, number: int) -> Split:
        """Reshuffle `number`: the window has the patients with the smallest random numbers, as many as it had.

        Its random numbers are `Generator(PCG64DXSM(SeedSequence(seed, spawn_key=(number,)))).random(patients)`: faster
        than a permutation, and the same whatever is asked before. Patients with equal numbers at the border are all
        the window's.
        """
        found = self._divided(number, *_expected(self._drawn, self._patients))
        if found is None:
            # Once in some 10,000 times the border is not where it is expected.
            found = self._divided(number, 0, _LOTS)
            assert found is not None, "every lot lies below 2^53"
        return self._split(found)

    def _divided(self, number: int, low: int, high: int) -> Codes | None:
        """Patients of the smaller side; None where the border does not lie from `low` to `high`."""
        from evalsuite.stats import _shift_kernels

        self._words[-1] = number
        between = np.array([low, high], dtype=np.uint64)
        above = not self._window_is_fewer
        n_sure, n_open = _shift_kernels.draw_lots(
            self._words, between, above, self._sure, self._open_lots, self._open_places
        )
        place = self._drawn - 1 - (self._patients - n_open - n_sure if above else n_sure)
        if not 0 <= place < n_open:
            return None
        lots = self._open_lots[:n_open]
        chosen = lots <= np.partition(lots, place)[place]
        return np.concatenate([self._sure[:n_sure], self._open_places[:n_open][chosen == self._window_is_fewer]])

    def _split(self, patients: Codes) -> Split:
        some = patients
        if self.order.size > self._patients:
            from evalsuite.stats import _shift_kernels

            cases = np.empty(self.order.size, dtype=np.int32)
            some = cases[: _shift_kernels.their_cases(patients, self._ends, cases)]
        return Split(some=some, some_are_window=self._window_is_fewer)


def _expected(k: int, n: int) -> tuple[int, int]:
    """Where the k-th smallest of n lots is looked for first: four standard errors around its share."""
    share = k / n
    near = 4.0 * np.sqrt(share * (1.0 - share) / n)
    return int(max(0.0, share - near) * _LOTS), int(min(1.0, share + near) * _LOTS)
