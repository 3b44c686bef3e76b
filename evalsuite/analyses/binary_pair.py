"""Two devices on one yes/no question of the same cases: each paired difference with its interval and its tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from evalsuite.analyses.binary_questions import by_bootstrap
from evalsuite.analyses.common import Cell, policies
from evalsuite.analyses.metrics import COMPUTABLE, Cut, two_sided_level
from evalsuite.analyses.paired import Cutoff, Pair, Side, pair_up
from evalsuite.analyses.paired_shares import chosen_method, mcnemar_tests, share_difference, share_ratio
from evalsuite.analyses.population import Bools, Population
from evalsuite.analyses.resampling import Resampling
from evalsuite.protocol.comparisons import BOOTSTRAPPED, as_endpoint, compared_metric
from evalsuite.protocol.schema import Comparison, StudyProtocol
from evalsuite.stats.bootstrap import BootstrapMethod, ReplicateTable, binary_replicates, difference_estimate
from evalsuite.stats.bootstrap import estimates as read_table
from evalsuite.stats.decision_curve import net_benefit_difference
from evalsuite.stats.roc_compare import AurocDifference, paired_auroc_difference
from evalsuite.types import Estimate, TestOutcome

_PROPORTIONS = ("sensitivity", "specificity", "accuracy")
_WHO = ("candidate", "baseline")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    """Replicates of both devices from one draw, and the row that is a cell's."""

    candidate: ReplicateTable
    baseline: ReplicateTable
    row: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BinaryPair:
    """One comparison of a yes/no question (of the task, of a label, of a class against the rest).

    Both populations hold the same cases in the same order. `cutoffs` make each device's calls; `resampling` keeps its
    replicates, which are read at any level.
    """

    protocol: StudyProtocol
    comparison: Comparison
    candidate: Population
    baseline: Population
    cutoffs: tuple[Cutoff | None, Cutoff | None]
    cells: tuple[Cell, ...]
    resampling: Resampling
    pairs: dict[tuple[str | None, int], Pair] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        return compared_metric(self.comparison)

    @property
    def complete(self) -> bool:
        """Nothing is missing, so that every cell sees the same population."""
        return bool(
            self.candidate.has_output.all() and self.baseline.has_output.all() and self.candidate.has_reference.all()
        )

    def difference(self, cell: Cell, condition: str | None, level: float) -> Estimate:
        """Candidate minus baseline at a two-sided level, or why there is none."""
        pair = self._pair(cell, condition)
        absent = self._not_assessable(pair, cell, level)
        if absent is not None:
            return absent
        counts = self._counts(pair)
        resampled = self.comparison.interval in BOOTSTRAPPED
        if self.metric == "net_benefit":
            return self._net_benefit(pair, level)
        if self.metric == "auroc" and not resampled:
            return replace(self._auroc(pair, level).estimate, **counts)
        if self.metric not in _PROPORTIONS:
            return replace(self._by_bootstrap(cell, condition, level), n=int(pair.include.sum()), **counts)
        among, right = self._right(pair)
        found = None
        if not resampled:
            found = share_difference(
                self.comparison,
                right,
                among,
                self.candidate.patient_index,
                clustered=self.candidate.clustered,
                level=level,
                **self._within(pair, among),
            )
        if found is None:
            made = self._by_bootstrap(cell, condition, level)
            found = replace(made, n=int(among.sum()), **self._within(pair, among))
        return found

    def ratio(self, cell: Cell) -> Estimate:
        """Candidate over baseline, for shares of cases, or why there is none."""
        pair = self._pair(cell, None)
        level = two_sided_level(self.protocol.confidence)
        absent = self._not_assessable(pair, cell, level)
        if absent is not None:
            return absent
        among, right = self._right(pair)
        return share_ratio(right, among, self.candidate.patient_index, level=level, **self._within(pair, among))

    def own(self, cell: Cell, which: int) -> Estimate:
        """One device's own estimate (0 the candidate's, 1 the baseline's) on the cases and under the assumptions of the
        difference."""
        pair = self._pair(cell, None)
        level = two_sided_level(self.protocol.confidence)
        absent = self._not_assessable(pair, cell, level)
        if absent is not None:
            return absent
        metric, m = COMPUTABLE[self.metric], pair.include
        side, cutoff = (pair.candidate, pair.baseline)[which], self.cutoffs[which]
        c = Cut(
            reference=pair.reference[m],
            score=side.score[m],
            call=None if side.call is None else side.call[m],
            probability=None if side.probability is None else side.probability[m],
            patient_index=self.candidate.patient_index[m],
            confidence=self.protocol.confidence,
            level=level,
            threshold=None if cutoff is None else cutoff.value,
            seed=self.protocol.seed,
        )
        # The comparison's interval is one of differences; each device's own is the protocol's.
        endpoint = as_endpoint(self.comparison).model_copy(update={"interval": None})
        if metric.direct is not None and not by_bootstrap(endpoint, metric, self.candidate):
            found = metric.direct(c, endpoint)
        else:
            tables = self._tables(cell, None)
            table = (tables.candidate, tables.baseline)[which]
            found = read_table(table, method=self.protocol.confidence.bootstrap.interval, level=level)[tables.row][0]
        missing: dict[str, Any] = {k: v for k, v in c.counts().items() if getattr(found, k) is None}
        return replace(found, **missing) if missing else found

    def no_difference(self, cell: Cell) -> Iterator[TestOutcome]:
        """Tests of no difference: DeLong's z, or McNemar's where every case is a patient."""
        pair = self._pair(cell, None)
        level = two_sided_level(self.protocol.confidence)
        if self._not_assessable(pair, cell, level) is not None:
            return
        if self.metric == "auroc":
            yield replace(
                self._auroc(pair, level).test,
                name=f"{self.comparison.name}: no difference",
                endpoint=self.comparison.name,
            )
        elif self.metric in _PROPORTIONS and not self.candidate.clustered:
            among, right = self._right(pair)
            yield from mcnemar_tests(self.comparison, right, among)

    # --- steps ------------------------------------------------------------------------------------------------------

    @property
    def _method(self) -> BootstrapMethod:
        return chosen_method(self.protocol, self.comparison)

    def _position(self, cell: Cell) -> int:
        return next(i for i, c in enumerate(self.cells) if c is cell)

    def _pair(self, cell: Cell, condition: str | None) -> Pair:
        key = (condition, self._position(cell))
        if key not in self.pairs:
            outputs, references = policies(self.protocol, condition)
            self.pairs[key] = pair_up(
                self.candidate,
                self.baseline,
                self.metric,
                cutoffs=self.cutoffs,
                outputs=outputs,
                references=references,
                within=cell.mask,
            )
        return self.pairs[key]

    def _counts(self, pair: Pair) -> dict[str, Any]:
        return self._within(pair, pair.include)

    def _within(self, pair: Pair, among: Bools) -> dict[str, Any]:
        """Positives, negatives and patients among these cases."""
        return {
            "n_positive": int((pair.reference & among).sum()),
            "n_negative": int((~pair.reference & among).sum()),
            "n_patients": len(np.unique(self.candidate.patient_index[among])),
        }

    def _not_assessable(self, pair: Pair, cell: Cell, level: float) -> Estimate | None:
        n = int(pair.include.sum())
        counts = self._counts(pair)
        metric = COMPUTABLE[self.metric]

        def no(reason: str) -> Estimate:
            return Estimate.not_estimable(reason, n=n, level=level, **counts)

        if metric.needs_probability:
            for who, side in zip(_WHO, (pair.candidate, pair.baseline), strict=True):
                if side.probability is None:
                    return no(f"the {who}'s score is not a probability")
        if pair.undefined is not None:
            return no(pair.undefined)
        if n == 0:
            return no("no cases")
        needs = {"positives": ("positive",), "negatives": ("negative",), "both": ("positive", "negative"), "any": ()}
        small = self.protocol.small_strata.suppress_below
        for word in needs[metric.needs]:
            have = counts[f"n_{word}"]
            if have == 0:
                return no(f"no reference-{word} cases")
            if not cell.whole and have < small:
                return no(f"not assessable: {have} reference-{word} cases, fewer than {small}")
        if metric.needs == "any" and not cell.whole and n < small:
            return no(f"not assessable: {n} cases, fewer than {small}")
        return None

    def _right(self, pair: Pair) -> tuple[Bools, tuple[Bools, Bools]]:
        """The cases a proportion is of, and where each device is right."""
        among = pair.include.copy()
        if self.metric != "accuracy":
            among &= pair.reference if self.metric == "sensitivity" else ~pair.reference
        first, second = pair.candidate.call, pair.baseline.call
        assert first is not None, "the protocol's loader requires an operating point"
        assert second is not None, "the protocol's loader requires an operating point"
        return among, (first == pair.reference, second == pair.reference)

    def _auroc(self, pair: Pair, level: float) -> AurocDifference:
        m = pair.include
        return paired_auroc_difference(
            pair.reference[m],
            pair.candidate.score[m],
            pair.baseline.score[m],
            level=level,
            cluster=self.candidate.patient_index[m] if self.candidate.clustered else None,
        )

    def _net_benefit(self, pair: Pair, level: float) -> Estimate:
        m = pair.include
        cutoff = self.cutoffs[0]
        assert cutoff is not None, "the protocol's loader requires an operating point"
        assert pair.candidate.probability is not None, "cells without probabilities are not assessable"
        assert pair.baseline.probability is not None, "cells without probabilities are not assessable"
        return net_benefit_difference(
            pair.reference[m],
            pair.candidate.probability[m],
            pair.baseline.probability[m],
            cutoff.value,
            level=level,
            method=cast(BootstrapMethod, self.comparison.interval or "percentile"),
            replicates=self.protocol.confidence.bootstrap.replicates,
            seed=self.protocol.seed,
            prevalence=self.comparison.prevalence,
            cluster=self.candidate.patient_index[m],
        )

    def _by_bootstrap(self, cell: Cell, condition: str | None, level: float) -> Estimate:
        tables = self._tables(cell, condition)
        return difference_estimate(
            (tables.candidate, tables.row, 0), (tables.baseline, tables.row, 0), level=level, method=self._method
        )

    def _tables(self, cell: Cell, condition: str | None) -> _Tables:
        """Replicates of both devices in this cell; of all cells at once where they see the same population."""
        position = self._position(cell)
        key = (self.comparison.name, condition, -1 if self.complete else position)
        made = self.resampling.table(key, lambda: self._replicated(cell, condition))
        return replace(made, row=position if self.complete else 0)

    def _replicated(self, cell: Cell, condition: str | None) -> _Tables:
        pair = self._pair(self.cells[0] if self.complete else cell, condition)
        masks = np.array([c.mask for c in self.cells]) if self.complete else pair.include[np.newaxis]

        def table(side: Side) -> ReplicateTable:
            return binary_replicates(
                self.resampling.draw,
                reference=pair.reference,
                score=side.score,
                call=side.call,
                probability=side.probability,
                metrics=[self.metric],
                masks=masks,
                prevalence=self.comparison.prevalence,
                with_jackknife="bca" in (self._method, self.protocol.confidence.bootstrap.interval),
            )

        return _Tables(candidate=table(pair.candidate), baseline=table(pair.baseline), row=0)
