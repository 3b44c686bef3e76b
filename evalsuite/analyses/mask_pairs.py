"""Two devices outlining the same structures: the difference of their figures, case by case."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evalsuite.analyses.comparison import Both
from evalsuite.analyses.figure_pair import FigurePair, PairUp, Sides
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.paired import OPPOSITE
from evalsuite.analyses.population import Bools, Floats, OutputPolicy, ReferencePolicy
from evalsuite.analyses.resampling import Resampling
from evalsuite.analyses.several import enough
from evalsuite.protocol.comparisons import as_endpoint
from evalsuite.protocol.metrics import METRICS
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats._resampled import Replicated, replicated
from evalsuite.stats.case_means import mean_of, quantile_of
from evalsuite.types import Estimate

#: One device's figure of every case `(n,)`, which cases have one, and why a worst case has none in some.
Values = Callable[[Endpoint, Bools, OutputPolicy, ReferencePolicy], tuple[Floats, Bools, str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlined:
    """One device in a comparison: the figures of its cases, and how many lack an output."""

    values: Values
    has_output: Bools
    has_reference: Bools


class CaseFigures:
    """Means and quantiles of cases' own figures; a view is `(n,)` of them."""

    def absent(
        self, protocol: StudyProtocol, endpoint: Endpoint, view: Floats, mask: Bools, *, whole: bool
    ) -> Estimate | None:
        n, level = int(mask.sum()), two_sided_level(protocol.confidence)
        if n == 0:
            return Estimate.not_estimable("no case has this figure of both devices", n=n, level=level)
        return enough(protocol, whole, {"cases": n}, level, n)

    def right(self, endpoint: Endpoint, view: Floats) -> Bools | None:
        return None

    def replicates(
        self, resampling: Resampling, endpoints: Sequence[Endpoint], view: Floats, masks: Bools, *, with_jackknife: bool
    ) -> Replicated:
        (e,) = endpoints
        info = METRICS[e.metric]
        bounds = (-np.inf if info.lower is None else info.lower, np.inf if info.upper is None else info.upper)
        material, statistic = (
            mean_of(view, bounds) if e.quantile is None else quantile_of(resampling.draw, view, e.quantile, bounds)
        )
        return replicated(resampling.draw, material, [statistic], masks=masks, with_jackknife=with_jackknife)


def both_outline(
    protocol: StudyProtocol,
    candidate: Outlined,
    baseline: Outlined,
    patient_index: np.ndarray,
    resampling: Resampling,
    policies: Sequence[OutputPolicy],
) -> Both:
    """The candidate beside a baseline. A case counts where both devices have the figure: undefined ones (empty masks)
    make no pair. A missing output is the worst for the candidate and the best for the baseline."""
    kept = resampling.keeping()
    pairs = {
        asked.name: FigurePair(
            protocol=protocol,
            comparison=asked,
            figures=CaseFigures(),
            pair_up=_pair_up(as_endpoint(asked), candidate, baseline),
            patient_index=patient_index,
            resampling=kept,
            values=None if asked.quantile is not None else _both_values,
        )
        for asked in protocol.comparisons
    }
    lost = (int((~candidate.has_output).sum()), int((~baseline.has_output).sum()))
    open_ = not bool(candidate.has_reference.all())
    return Both(pairs=pairs, lost=lost, missing_references=open_, output_policies=policies)


def _both_values(sides: Sides) -> tuple[Floats, Floats]:
    return sides.candidate, sides.baseline


def _pair_up(endpoint: Endpoint, candidate: Outlined, baseline: Outlined) -> PairUp:
    def pair_up(outputs: OutputPolicy, references: ReferencePolicy, within: Bools) -> Sides:
        turned: dict[ReferencePolicy, ReferencePolicy] = {"worst_case": "best_case", "best_case": "worst_case"}
        first, has_first, why = candidate.values(endpoint, within, outputs, references)
        second, has_second, why_other = baseline.values(
            endpoint, within, OPPOSITE.get(outputs, outputs), turned.get(references, references)
        )
        return Sides(
            candidate=first,
            baseline=second,
            include=within & has_first & has_second,
            undefined=why or why_other,
        )

    return pair_up
