"""Figures of groups of patients for the bias analysis: of any cases, under any assumption about what is missing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from evalsuite.analyses.binary_questions import not_assessable
from evalsuite.analyses.common import Cell, primary_reference_policy
from evalsuite.analyses.metrics import COMPUTABLE, Cut, cut
from evalsuite.analyses.paired import Cutoff
from evalsuite.analyses.population import Bools, OutputPolicy, Population, ReferencePolicy, Scenario, scenario
from evalsuite.protocol.bias_block import COMPLEMENT
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.group_figures import (
    GroupFigure,
    auroc_figure,
    mean_figure,
    recalibration_figure,
    share_figure,
)
from evalsuite.types import Estimate

#: The suite's name of a figure that the literature on fairness calls otherwise.
SAME_AS = {"selection_rate": "call_rate"}
NEED_PROBABILITY = ("calibration_intercept", "calibration_slope", "brier")
NEED_CALL = (
    *("sensitivity", "specificity", "ppv", "npv", "accuracy", "selection_rate"),
    *COMPLEMENT,
)
#: Which way is better for patients; None where neither is (more calls, another calibration).
HIGHER_IS_BETTER: dict[str, bool | None] = {
    **dict.fromkeys(("sensitivity", "specificity", "ppv", "npv", "accuracy", "auroc"), True),
    **dict.fromkeys(("fpr", "fnr", "underdiagnosis_rate", "brier"), False),
    **dict.fromkeys(("selection_rate", "calibration_intercept", "calibration_slope"), None),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A figure of some cases, or why there is none; with the numbers of those cases."""

    figure: GroupFigure | None
    reason: str | None
    n: int
    n_positive: int
    n_negative: int
    n_patients: int
    numerator: float | None = None
    denominator: float | None = None

    def estimate(self, level: float) -> Estimate:
        """The figure with its own interval at a two-sided level."""
        counts: dict[str, Any] = {
            "n_positive": self.n_positive,
            "n_negative": self.n_negative,
            "n_patients": self.n_patients,
        }
        f = self.figure
        if f is None:
            return Estimate.not_estimable(self.reason or "not estimable", n=self.n, level=level, **counts)
        shared: dict[str, Any] = {
            **counts,
            "numerator": self.numerator,
            "denominator": self.denominator,
            "method": f.method,
        }
        if f.limits is None:
            return Estimate(value=f.value, interval_undefined=f.no_interval, n=f.n, level=level, **shared)
        low, high = f.limits(level)
        if f.bounds == (-1.0, 1.0):
            low, high = max(0.0, low), min(1.0, high)
        return Estimate(value=f.value, low=low, high=high, n=f.n, level=level, **shared)


def complement(e: Estimate, *, gap: bool = False) -> Estimate:
    """One less the figure (false-negative rate of a sensitivity); of a gap the same gap the other way round."""
    if e.value is None:
        return e
    whole = 0.0 if gap else 1.0
    low, high = (None, None) if e.low is None or e.high is None else (whole - e.high, whole - e.low)
    share = e.numerator is not None and e.denominator is not None
    numerator = e.denominator - e.numerator if share else None  # type: ignore[operator]
    return replace(e, value=whole - e.value, low=low, high=high, numerator=numerator)


@dataclass(slots=True, kw_only=True)
class Figures:
    """Makes figures of any cases of one study; views of the whole set are made once.

    `among_all` is the number of patients where some of them belong to several groups, None where none does.
    """

    protocol: StudyProtocol
    population: Population
    cutoff: Cutoff | None
    among_all: int | None = None
    _views: dict[tuple[str, str, str], Scenario] = field(default_factory=dict)

    def of(
        self,
        metric: str,
        mask: Bools,
        outputs: OutputPolicy | None = None,
        references: ReferencePolicy | None = None,
    ) -> Found:
        """The figure of the cases in `mask`, under the protocol's primary assumptions unless others are given."""
        c, scene = self.cut(metric, mask, outputs, references)
        name = SAME_AS.get(metric, metric)
        counts: dict[str, Any] = {"n_positive": c.n_positive, "n_negative": c.n_negative, "n_patients": c.n_patients}
        n = len(c.reference)
        refused = not_assessable(self.protocol, COMPUTABLE[name], scene, c, Cell(stratum={"group": ""}, mask=mask))
        if refused is not None:
            return Found(figure=None, reason=refused.undefined, n=n, **counts)
        made = self._made(metric, c)
        if isinstance(made, str):
            return Found(figure=None, reason=made, n=n, **counts)
        success: tuple[float | None, float | None] = (None, None)
        if metric in NEED_CALL:
            success = (round(made.value * made.n), made.n)
        return Found(figure=made, reason=None, n=n, numerator=success[0], denominator=success[1], **counts)

    def cut(
        self, metric: str, mask: Bools, outputs: OutputPolicy | None = None, references: ReferencePolicy | None = None
    ) -> tuple[Cut, Scenario]:
        """The cases of `mask` as the metric sees them."""
        view = self._view(
            SAME_AS.get(metric, metric),
            mask,
            outputs or self.protocol.missing_outputs.primary,
            references or primary_reference_policy(self.protocol),
        )
        return cut(view, mask, self.population.patient_index, self.protocol.confidence), view

    def complete(self, mask: Bools) -> bool:
        """Whether all of these cases have an output and a reference."""
        p = self.population
        return bool((p.has_output | ~mask).all() and (p.has_reference | ~mask).all())

    def _view(self, metric: str, mask: Bools, outputs: OutputPolicy, references: ReferencePolicy) -> Scenario:
        looks = COMPUTABLE[metric].looks
        p = self.population
        # Only where the allocation of missing references is searched for does the scenario depend on the cases.
        local = looks in ("rank", "fit") and not (p.has_output.all() and p.has_reference.all())
        key = (looks, outputs, references)
        if local or key not in self._views:
            made = scenario(
                p,
                looks=looks,
                threshold=None if self.cutoff is None else self.cutoff.value,
                strict=self.cutoff is not None and self.cutoff.strict,
                outputs=outputs,
                references=references,
                within=mask if local else None,
            )
            if local:
                return made
            self._views[key] = made
        return self._views[key]

    def _made(self, metric: str, c: Cut) -> GroupFigure | str:
        if metric in NEED_CALL:
            success, among, words = answers(metric, c)
            least = self.protocol.small_strata.suppress_below
            n = int(among.sum())
            if n < least:
                return f"not assessable: {n} {words}, fewer than {least}"
            return share_figure(success[among], c.patient_index[among], among_all=self.among_all)
        if metric == "auroc":
            return auroc_figure(c.reference, c.score, c.patient_index, among_all=self.among_all)
        assert c.probability is not None, "not assessable without"
        if metric == "brier":
            errors = (c.probability - c.reference) ** 2
            return mean_figure(errors, c.patient_index, bounds=(-1.0, 1.0), among_all=self.among_all)
        return recalibration_figure(
            c.reference,
            c.probability,
            c.patient_index,
            slope=metric == "calibration_slope",
            among_all=self.among_all,
        )


def answers(metric: str, c: Cut) -> tuple[Bools, Bools, str]:
    """What counts as a success, among which cases, and those cases in words."""
    assert c.call is not None, "the protocol's loader requires an operating point"
    everyone = np.ones(len(c.reference), dtype=bool)
    return {
        "sensitivity": (c.call, c.reference, "reference-positive cases"),
        "specificity": (~c.call, ~c.reference, "reference-negative cases"),
        "ppv": (c.reference, c.call, "cases called positive"),
        "npv": (~c.reference, ~c.call, "cases called negative"),
        "accuracy": (c.call == c.reference, everyone, "cases"),
        "selection_rate": (c.call, everyone, "cases"),
    }[metric]
