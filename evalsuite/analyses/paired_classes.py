"""Two devices that name classes or grades, on the same cases: who counts, and what is assumed where data are missing.

A case without the candidate's output is wrong for the candidate, one without the baseline's right for the baseline (the
reverse as best case). A case without reference has one class for both devices: the one that makes the difference worst
(or best) for the candidate, found case by case for figures that are means over cases; for others none is searched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np

from evalsuite.analyses.classes import ClassPopulation, ClassScenario, class_scenario
from evalsuite.analyses.figure_pair import Figures, PairUp, Sides
from evalsuite.analyses.paired import OPPOSITE, unsearched
from evalsuite.analyses.population import Bools, Floats, OutputPolicy, ReferencePolicy
from evalsuite.protocol.metrics import METRICS
from evalsuite.protocol.schema import Endpoint


class ClassLike(Figures, Protocol):
    """Figures of classes or grades, some of which are means over cases."""

    def per_case(self, endpoint: Endpoint, view: ClassScenario) -> Floats | None:
        """`(n,)` whose mean over cases the figure is; None where it is no mean."""
        ...


def paired_class_figures(
    candidate: ClassPopulation, baseline: ClassPopulation, endpoint: Endpoint, figures: ClassLike
) -> PairUp:
    """How both devices are seen by one figure of the whole classification or grading."""

    def pair_up(outputs: OutputPolicy, references: ReferencePolicy, within: Bools) -> Sides:
        other = OPPOSITE.get(outputs, outputs)
        include = within.copy()
        if outputs == "exclude":
            include &= candidate.has_output & baseline.has_output
        if references == "exclude":
            include &= candidate.has_reference

        def views(reference: np.ndarray) -> tuple[ClassScenario, ClassScenario]:
            settled = np.asarray(candidate.has_reference | (include & (reference >= 0)))
            first = replace(candidate, reference=reference, has_reference=settled)
            second = replace(baseline, reference=reference, has_reference=settled)
            return (
                class_scenario(first, outputs=outputs, references="exclude"),
                class_scenario(second, outputs=other, references="exclude"),
            )

        open_ = include & ~candidate.has_reference
        reference, undefined = candidate.reference.copy(), None
        if open_.any():
            found = _allocated(
                endpoint, figures, candidate.k, views, reference, open_, worst=references == "worst_case"
            )
            if found is None:
                undefined = unsearched(int(open_.sum()))
                include &= candidate.has_reference
            else:
                reference = found
        first, second = views(reference)
        return Sides(candidate=first, baseline=second, include=include, undefined=undefined)

    return pair_up


def _allocated(
    endpoint: Endpoint,
    figures: ClassLike,
    n_classes: int,
    views: Callable[[np.ndarray], tuple[ClassScenario, ClassScenario]],
    reference: np.ndarray,
    open_: Bools,
    *,
    worst: bool,
) -> np.ndarray | None:
    """The reference with every open case in the class that makes the difference of means worst (or best)."""
    sign = 1.0 if (METRICS[endpoint.metric].higher_is_better is not False) == worst else -1.0
    gains = []
    for c in range(n_classes):
        first, second = (figures.per_case(endpoint, v) for v in views(np.where(open_, c, reference)))
        if first is None or second is None:
            return None
        gains.append(sign * (first - second))
    return np.where(open_, np.argmin(np.stack(gains), axis=0), reference).astype(np.int64)
