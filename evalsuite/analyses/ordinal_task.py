"""Performance of a device that gives one of several ordered grades, in the whole set and in every stratum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from evalsuite.analyses.binary_questions import answer
from evalsuite.analyses.class_figures import CALLED, confusion_of, figures_in_cells
from evalsuite.analyses.classes import ClassPopulation, ClassScenario, build_class_population
from evalsuite.analyses.common import Cell, OnStep, Results
from evalsuite.analyses.comparison import Both, beside
from evalsuite.analyses.figure_pair import FigurePair
from evalsuite.analyses.marginal import marginal_homogeneity
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.paired_classes import paired_class_figures
from evalsuite.analyses.population import Bools, Floats, OutputPolicy, ReferencePolicy
from evalsuite.analyses.resampling import Resampling, with_level, with_small_groups
from evalsuite.analyses.several import (
    Studied,
    class_counts,
    enough,
    evaluate_several,
    share,
    share_rows,
    with_standard_table,
)
from evalsuite.protocol.comparisons import as_endpoint
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats import ordinal, ordinal_bootstrap
from evalsuite.stats.bootstrap import Replicated
from evalsuite.types import Estimate, Finding

_POLICIES: tuple[OutputPolicy, ...] = ("worst_case", "best_case", "exclude")

STANDARD = ("accuracy", "adjacent_agreement", "quadratic_kappa", "linear_kappa", "kendall_tau_b", "gwet_ac2")
COMPUTED = frozenset({*ordinal_bootstrap.METRICS, "vus"})


def evaluate_ordinal(
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
    baseline: pd.DataFrame | None = None,
    original: pd.DataFrame | None = None,
    on_step: OnStep | None = None,
) -> Results:
    """Every finding, count and test of an ordinal protocol; arguments as for a binary one.

    Raises InputError where the reference is none of the declared grades, or an output is missing.
    """
    built = partial(build_class_population, protocol, case_id=case_id, patient_id=patient_id, frame=frame)
    population = built(predictions=predictions)
    study = _Study(protocol, population)
    metrics = [*STANDARD]
    if population.k == 3:
        metrics.append("vus")
    if population.score is not None and protocol.task.probability:
        metrics.append("rps")
    rows: list[tuple[str, str | None, str | None]] = [(metric, None, None) for metric in metrics]
    results = evaluate_several(
        protocol,
        population,
        with_standard_table(protocol, [*rows, *share_rows(population.names)]),
        study,
        frame=frame,
        n_patients=population.n_patients,
        missing_outputs=not population.has_output.all(),
        missing_references=not population.has_reference.all(),
        output_policies=_POLICIES,
        extra=study.confusion,
        both=beside(protocol, baseline, original, lambda other, cells: _both(study, built(predictions=other))),
        notes=tuple(_notes(protocol, population)),
        on_step=on_step,
    )
    return replace(results, tests=(*results.tests, marginal_homogeneity(population)))


def studied(
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
) -> Studied:
    """The population with its study, for analyses that stand beside performance; arguments as for a binary one."""
    population = build_class_population(
        protocol, case_id=case_id, patient_id=patient_id, frame=frame, predictions=predictions
    )
    return Studied(study=_Study(protocol, population), population=population, one_of=None)


def _notes(protocol: StudyProtocol, p: ClassPopulation) -> Iterator[str]:
    seen = np.bincount(p.reference[p.has_reference], minlength=p.k)
    absent = [name for name, n in zip(p.names, seen, strict=True) if n == 0]
    if absent:
        yield f"No case of the set has the reference grade {', '.join(repr(a) for a in absent)}."
    if p.n_tied:
        yield f"{p.n_tied} cases have equal largest outputs; the lowest of those grades is called."
    if protocol.task.probability and p.score is not None and not p.is_probability and p.has_output.any():
        yield "The outputs of a case do not sum to 1 within 0 to 1: they are not probabilities."


def _exact(probability: Floats) -> Floats:
    """Rows that sum to exactly 1: printed probabilities do within rounding, and the score takes them as exact."""
    return np.asarray(probability / probability.sum(axis=1, keepdims=True))


class GradeFigures:
    """How figures of the whole grading are made."""

    def __init__(self, population: ClassPopulation) -> None:
        self.population = population

    def absent(
        self, protocol: StudyProtocol, endpoint: Endpoint, view: ClassScenario, mask: Bools, *, whole: bool
    ) -> Estimate | None:
        n, level = int(mask.sum()), two_sided_level(protocol.confidence)

        def no(reason: str) -> Estimate:
            return Estimate.not_estimable(reason, n=n, level=level)

        if n == 0:
            return no("no cases")
        if endpoint.metric == "rps" and view.probability is None:
            return no("the outputs are not probabilities")
        if endpoint.metric == "vus":
            if view.unresolved:
                return no(f"{view.unresolved} cases lack a reference, for which the volume has no worst case")
            return enough(protocol, whole, class_counts(view.reference, mask, self.population.names), level, n)
        return enough(protocol, whole, {"cases": n}, level, n)

    def right(self, endpoint: Endpoint, view: ClassScenario) -> Bools | None:
        """`(n,)` where the device is right, for a metric that is a share of cases; None for others."""
        if endpoint.metric not in ("accuracy", "adjacent_agreement"):
            return None
        apart = np.abs(view.predicted - view.reference)
        return np.asarray(apart <= (0 if endpoint.metric == "accuracy" else 1))

    def per_case(self, endpoint: Endpoint, view: ClassScenario) -> Floats | None:
        """`(n,)` whose mean over cases the figure is; None where it is no mean."""
        right = self.right(endpoint, view)
        if right is not None:
            return right.astype(np.float64)
        if endpoint.metric == "rps" and view.probability is not None:
            grades = np.arange(self.population.k - 1)
            below = _exact(view.probability).cumsum(axis=1)[:, :-1]
            return np.asarray(((below - (view.reference[:, None] <= grades)) ** 2).sum(axis=1))
        return None

    def closed(self, protocol: StudyProtocol, endpoint: Endpoint, view: ClassScenario, mask: Bools) -> Estimate | None:
        name, patient = endpoint.metric, self.population.patient_index
        right = self.right(endpoint, view)
        if right is not None:
            return share(protocol, endpoint, right, mask, patient)
        if endpoint.interval in ("percentile", "basic", "bca"):
            return None
        options: dict[str, Any] = {"level": two_sided_level(protocol.confidence)}
        device, reference, k = view.predicted[mask], view.reference[mask], self.population.k
        if name == "rps":
            assert view.probability is not None, "cells without probabilities are not estimable"
            p = _exact(view.probability)[mask]
            return ordinal.ranked_probability_score(p, reference, patient=patient[mask], **options)
        if self.population.clustered:
            return None  # the other closed intervals take cases as independent
        options["n_patients"] = len(np.unique(patient[mask]))
        if name == "vus":
            assert view.value is not None, "an ordinal population has a place on the scale"
            return ordinal.vus(view.value[mask], reference, n_grades=self.population.k, **options)
        if name in ("linear_kappa", "quadratic_kappa"):
            weights: Any = name.removesuffix("_kappa")
            return ordinal.weighted_kappa(device, reference, k, weights=weights, **options)
        table = ordinal.grade_table(device, reference, k)
        return (ordinal.kendall_tau_b if name == "kendall_tau_b" else ordinal.gwet_ac)(table, **options)

    def replicates(
        self,
        resampling: Resampling,
        endpoints: Sequence[Endpoint],
        view: ClassScenario,
        masks: Bools,
        *,
        with_jackknife: bool,
    ) -> Replicated:
        if endpoints[0].metric == "vus":
            assert view.value is not None, "an ordinal population has a place on the scale"
            return ordinal_bootstrap.vus_replicates(
                resampling.draw, view.value, view.reference, n_grades=self.population.k, masks=masks
            )
        return ordinal_bootstrap.ordinal_replicates(
            resampling.draw,
            view.predicted,
            view.reference,
            self.population.k,
            [e.metric for e in endpoints],
            probability=None if view.probability is None else _exact(view.probability),
            masks=masks,
            with_jackknife=with_jackknife,
        )


def _both(study: _Study, baseline: ClassPopulation) -> Both:
    """The candidate beside a baseline."""
    protocol, candidate, kept = study.protocol, study.population, study.resampling.keeping()
    pairs = {
        asked.name: FigurePair(
            protocol=protocol,
            comparison=asked,
            figures=study.figures,
            pair_up=paired_class_figures(candidate, baseline, as_endpoint(asked), study.figures),
            patient_index=candidate.patient_index,
            resampling=kept,
        )
        for asked in protocol.comparisons
    }
    return Both(
        pairs=pairs,
        lost=(int((~candidate.has_output).sum()), int((~baseline.has_output).sum())),
        missing_references=not candidate.has_reference.all(),
        output_policies=_POLICIES,
    )


class _Study:
    """The population with its one draw of patients, and how each endpoint is answered."""

    def __init__(self, protocol: StudyProtocol, population: ClassPopulation) -> None:
        self.protocol, self.population = protocol, population
        self.resampling = Resampling.of(protocol, population.patient_index)
        self.figures = GradeFigures(population)

    def whatever_size(self) -> _Study:
        return with_small_groups(self)

    def at(self, level: float) -> _Study:
        return with_level(self, level)

    def answer(
        self,
        endpoints: Sequence[Endpoint],
        cells: Sequence[Cell],
        outputs: OutputPolicy,
        references: ReferencePolicy,
    ) -> dict[tuple[str, int], Estimate]:
        found: dict[tuple[str, int], Estimate] = {}
        for endpoint in endpoints:
            if endpoint.target is None:
                continue
            estimates = answer(
                self.protocol,
                self.population.against_rest(self.population.names.index(endpoint.target), called=True),
                self.resampling,
                endpoint,
                cells,
                threshold=CALLED,
                # How common a grade is asks nothing of the outputs, and nothing is assumed about unsettled cases.
                outputs="worst_case",
                references="exclude",
            )
            found |= {(endpoint.name, i): e for i, e in enumerate(estimates)}
        overall = [e for e in endpoints if e.target is None]
        return found | figures_in_cells(
            self.figures, self.protocol, self.population, self.resampling, overall, cells, outputs, references
        )

    def confusion(self, cells: Sequence[Cell]) -> Iterator[Finding]:
        """The confusion matrix as counted."""
        return confusion_of(self.population, two_sided_level(self.protocol.confidence), cells)
