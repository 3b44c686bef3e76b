"""Two devices on a figure of a whole task (an average, an agreement, an error) of the same cases: their difference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from evalsuite.analyses.common import Cell, policies
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.paired_shares import chosen_method, mcnemar_tests, share_difference, share_ratio
from evalsuite.analyses.population import Bools, Floats, Ints, OutputPolicy, ReferencePolicy
from evalsuite.analyses.resampling import Resampling
from evalsuite.analyses.several import share
from evalsuite.protocol.comparisons import BOOTSTRAPPED, as_endpoint
from evalsuite.protocol.schema import Comparison, Endpoint, StudyProtocol
from evalsuite.stats.bootstrap import Replicated, difference_estimate, read
from evalsuite.stats.signed_rank import signed_ranks
from evalsuite.types import Estimate, TestOutcome, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Both devices under the assumptions made: a view each (what it is, the task knows), `include (n,)` who counts, and
    why there is no answer where there is none."""

    candidate: Any
    baseline: Any
    include: Bools
    undefined: str | None = None


class Figures(Protocol):
    """What a task knows of its own figures, of one device at a time."""

    def absent(
        self, protocol: StudyProtocol, endpoint: Endpoint, view: Any, mask: Bools, *, whole: bool
    ) -> Estimate | None: ...

    def right(self, endpoint: Endpoint, view: Any) -> Bools | None: ...

    def replicates(
        self, resampling: Resampling, endpoints: Sequence[Endpoint], view: Any, masks: Bools, *, with_jackknife: bool
    ) -> Replicated: ...


#: Both devices under a policy for outputs and one for references, on the cases of a mask.
PairUp = Callable[[OutputPolicy, ReferencePolicy, Bools], Sides]


@dataclass(frozen=True, slots=True, kw_only=True)
class FigurePair:
    """One comparison of a figure of the whole task.

    Shares of cases have a score interval as in a task of one question; every other difference is of two columns of one
    resampling of patients. `resampling` keeps its replicates, which are read at any level. `unit` is what counts, where
    that is not a case; `values` are both devices' figures of every case, where cases have their own.
    """

    protocol: StudyProtocol
    comparison: Comparison
    figures: Figures
    pair_up: PairUp
    patient_index: Ints
    resampling: Resampling
    unit: Unit = "case"
    values: Callable[[Sides], tuple[Floats, Floats]] | None = None
    sides: dict[tuple[str | None, int], Sides] = field(default_factory=dict)

    @property
    def endpoint(self) -> Endpoint:
        return as_endpoint(self.comparison)

    def difference(self, cell: Cell, condition: str | None, level: float) -> Estimate:
        """Candidate minus baseline at a two-sided level, or why there is none."""
        return replace(self._difference(cell, condition, level), unit=self.unit)

    def _difference(self, cell: Cell, condition: str | None, level: float) -> Estimate:
        sides = self._sides(cell, condition)
        absent = self._absent(sides, cell, level)
        if absent is not None:
            return absent
        right = self._right(sides)
        counts: dict[str, Any] = {"n_patients": len(np.unique(self.patient_index[sides.include]))}
        if right is not None and self.comparison.interval not in BOOTSTRAPPED:
            found = share_difference(
                self.comparison,
                right,
                sides.include,
                self.patient_index,
                clustered=self._clustered,
                level=level,
                **counts,
            )
            if found is not None:
                return found
        first, second = self._tables(sides, cell, condition)
        method = chosen_method(self.protocol, self.comparison)
        found = difference_estimate((first, 0, 0), (second, 0, 0), level=level, method=method)
        return replace(found, n=int(sides.include.sum()), **counts)

    def ratio(self, cell: Cell) -> Estimate:
        """Candidate over baseline, for shares of cases, or why there is none."""
        sides = self._sides(cell, None)
        level = two_sided_level(self.protocol.confidence)
        absent = self._absent(sides, cell, level)
        if absent is not None:
            return absent
        right = self._right(sides)
        assert right is not None, "the protocol's loader requires a share of cases"
        people = len(np.unique(self.patient_index[sides.include]))
        found = share_ratio(right, sides.include, self.patient_index, level=level, n_patients=people)
        return replace(found, unit=self.unit)

    def own(self, cell: Cell, which: int) -> Estimate:
        """One device's own estimate (0 the candidate's, 1 the baseline's) on the cases and under the assumptions of the
        difference."""
        return replace(self._own(cell, which), unit=self.unit)

    def _own(self, cell: Cell, which: int) -> Estimate:
        sides = self._sides(cell, None)
        level = two_sided_level(self.protocol.confidence)
        absent = self._absent(sides, cell, level)
        if absent is not None:
            return absent
        right = self._right(sides)
        if right is not None:
            plain = self.endpoint.model_copy(update={"interval": None})
            found = share(self.protocol, plain, right[which], sides.include, self.patient_index)
            assert found is not None, "a share has a closed interval"
            return found
        table = self._tables(sides, cell, None)[which]
        return read(table, method=self.protocol.confidence.bootstrap.interval, level=level)[0][0]

    def no_difference(self, cell: Cell) -> Iterator[TestOutcome]:
        """McNemar's tests of shares of cases, signed ranks of cases' own figures; where every case is a patient."""
        sides = self._sides(cell, None)
        level = two_sided_level(self.protocol.confidence)
        right = self._right(sides)
        if self._clustered or self._absent(sides, cell, level) is not None:
            return
        if right is not None:
            yield from mcnemar_tests(self.comparison, right, sides.include)
        elif self.values is not None:
            first, second = (v[sides.include] for v in self.values(sides))
            name = f"{self.comparison.name}: no difference"
            yield signed_ranks(first, second, name=name, endpoint=self.comparison.name)

    @property
    def _clustered(self) -> bool:
        return len(np.unique(self.patient_index)) < len(self.patient_index)

    def _sides(self, cell: Cell, condition: str | None) -> Sides:
        key = (condition, id(cell))
        if key not in self.sides:
            self.sides[key] = self.pair_up(*policies(self.protocol, condition), cell.mask)
        return self.sides[key]

    def _right(self, sides: Sides) -> tuple[Bools, Bools] | None:
        first = self.figures.right(self.endpoint, sides.candidate)
        second = self.figures.right(self.endpoint, sides.baseline)
        return None if first is None or second is None else (first, second)

    def _absent(self, sides: Sides, cell: Cell, level: float) -> Estimate | None:
        if sides.undefined is not None:
            return Estimate.not_estimable(sides.undefined, n=int(sides.include.sum()), level=level)
        for who, view in (("candidate", sides.candidate), ("baseline", sides.baseline)):
            none = self.figures.absent(self.protocol, self.endpoint, view, sides.include, whole=cell.whole)
            if none is not None:
                reason = f"{who}: {none.undefined}" if none.undefined == NO_PROBABILITY else none.undefined
                return replace(none, undefined=reason, level=level)
        return None

    def _tables(self, sides: Sides, cell: Cell, condition: str | None) -> tuple[Replicated, Replicated]:
        with_jackknife = "bca" in (
            chosen_method(self.protocol, self.comparison),
            self.protocol.confidence.bootstrap.interval,
        )

        def make() -> tuple[Replicated, Replicated]:
            masks = sides.include[np.newaxis]
            asked = [self.endpoint]
            return (
                self.figures.replicates(self.resampling, asked, sides.candidate, masks, with_jackknife=with_jackknife),
                self.figures.replicates(self.resampling, asked, sides.baseline, masks, with_jackknife=with_jackknife),
            )

        return self.resampling.table((self.comparison.name, condition, id(cell)), make)


#: Said of the device whose outputs are none.
NO_PROBABILITY = "the outputs are not probabilities"
