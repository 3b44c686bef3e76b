"""Performance of a device that gives one of several ordered grades, in the whole set and in every stratum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from evalsuite.analyses.binary_questions import Threshold, answer, chosen_interval
from evalsuite.analyses.classes import ClassPopulation, ClassScenario, build_class_population, class_scenario
from evalsuite.analyses.common import Cell, OnStep, Results
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.population import Floats, OutputPolicy, ReferencePolicy
from evalsuite.analyses.several import (
    class_counts,
    confusion_findings,
    enough,
    evaluate_several,
    share_rows,
    with_standard_table,
)
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats import ordinal, ordinal_bootstrap
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.proportions import ProportionMethod
from evalsuite.types import Estimate, Finding

_SHARES = ("accuracy", "adjacent_agreement")
_POLICIES: tuple[OutputPolicy, ...] = ("worst_case", "best_case", "exclude")
_CALLED = Threshold(value=0.5, strict=False)

STANDARD = ("accuracy", "adjacent_agreement", "quadratic_kappa", "linear_kappa", "kendall_tau_b", "gwet_ac2")
COMPUTED = frozenset({*ordinal_bootstrap.METRICS, "vus"})


def evaluate_ordinal(
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
    on_step: OnStep | None = None,
) -> Results:
    """Every finding, count and test of an ordinal protocol; arguments as for a binary one.

    Raises InputError where the reference is none of the declared grades, or an output is missing.
    """
    population = build_class_population(
        protocol, case_id=case_id, patient_id=patient_id, frame=frame, predictions=predictions
    )
    study = _Study(protocol, population)
    metrics = [*STANDARD]
    if population.k == 3:
        metrics.append("vus")
    if population.score is not None and protocol.task.probability:
        metrics.append("rps")
    rows: list[tuple[str, str | None, str | None]] = [(metric, None, None) for metric in metrics]
    return evaluate_several(
        protocol,
        population,
        with_standard_table(protocol, [*rows, *share_rows(population.names)]),
        study.answer,
        frame=frame,
        n_patients=population.n_patients,
        missing_outputs=not population.has_output.all(),
        missing_references=not population.has_reference.all(),
        output_policies=_POLICIES,
        extra=study.confusion,
        notes=tuple(_notes(protocol, population)),
        on_step=on_step,
    )


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


class _Study:
    """The population with its one draw of patients, and how each endpoint is answered."""

    def __init__(self, protocol: StudyProtocol, population: ClassPopulation) -> None:
        self.protocol, self.population = protocol, population
        self.level = two_sided_level(protocol.confidence)
        self.draw = PatientDraw(
            population.patient_index, replicates=protocol.confidence.bootstrap.replicates, seed=protocol.seed
        )

    def answer(
        self,
        endpoints: Sequence[Endpoint],
        cells: Sequence[Cell],
        outputs: OutputPolicy,
        references: ReferencePolicy,
    ) -> dict[tuple[str, int], Estimate]:
        view = class_scenario(self.population, outputs=outputs, references=references)
        found: dict[tuple[str, int], Estimate] = {}
        for endpoint in endpoints:
            if endpoint.target is not None:
                estimates = answer(
                    self.protocol,
                    self.population.against_rest(self.population.names.index(endpoint.target), called=True),
                    self.draw,
                    endpoint,
                    cells,
                    threshold=_CALLED,
                    # How common a grade is asks nothing of the outputs, and nothing is assumed about unsettled cases.
                    outputs="worst_case",
                    references="exclude",
                )
            else:
                estimates = self._everywhere(endpoint, view, cells)
            found |= {(endpoint.name, i): e for i, e in enumerate(estimates)}
        return found

    def _everywhere(self, endpoint: Endpoint, view: ClassScenario, cells: Sequence[Cell]) -> list[Estimate]:
        found: list[Estimate | None] = [self._not_assessable(endpoint, view, c) for c in cells]
        todo = [i for i, e in enumerate(found) if e is None]
        if todo and self._by_bootstrap(endpoint):
            masks = np.array([cells[i].mask & view.include for i in todo])
            for i, estimate in zip(todo, self._bootstrapped(endpoint, view, masks), strict=True):
                found[i] = estimate
        else:
            for i in todo:
                found[i] = self._closed(endpoint, view, cells[i])
        return [cast(Estimate, e) for e in found]

    def _by_bootstrap(self, endpoint: Endpoint) -> bool:
        if endpoint.interval in ("percentile", "basic", "bca"):
            return True
        # Shares and the ranked probability score have intervals that allow for several cases of a patient.
        return self.population.clustered and endpoint.metric not in (*_SHARES, "rps")

    def _bootstrapped(self, endpoint: Endpoint, view: ClassScenario, masks: np.ndarray) -> list[Estimate]:
        options: dict[str, Any] = {
            "masks": masks,
            "level": self.level,
            "method": chosen_interval(self.protocol, endpoint),
        }
        if endpoint.metric == "vus":
            assert view.value is not None, "an ordinal population has a place on the scale"
            return ordinal_bootstrap.vus_bootstrap(self.draw, view.value, view.reference, **options)
        rows = ordinal_bootstrap.ordinal_bootstrap(
            self.draw,
            view.predicted,
            view.reference,
            self.population.k,
            [endpoint.metric],
            probability=None if view.probability is None else _exact(view.probability),
            **options,
        )
        return [row[0] for row in rows]

    def _closed(self, endpoint: Endpoint, view: ClassScenario, cell: Cell) -> Estimate:
        m = cell.mask & view.include
        device, reference, patient = view.predicted[m], view.reference[m], self.population.patient_index[m]
        k, name = self.population.k, endpoint.metric
        options: dict[str, Any] = {"level": self.level}
        if name in _SHARES:
            near = np.abs(device - reference) <= (0 if name == "accuracy" else 1)
            method = cast(ProportionMethod, endpoint.interval or self.protocol.confidence.proportion)
            return clustered_proportion(near, patient, method=method, **options)
        if name == "rps":
            assert view.probability is not None, "cells without probabilities are not estimable"
            p = _exact(view.probability)[m]
            return ordinal.ranked_probability_score(p, reference, patient=patient, **options)
        options["n_patients"] = len(np.unique(patient))
        if name == "vus":
            assert view.value is not None, "an ordinal population has a place on the scale"
            return ordinal.vus(view.value[m], reference, **options)
        if name in ("linear_kappa", "quadratic_kappa"):
            weights: Any = name.removesuffix("_kappa")
            return ordinal.weighted_kappa(device, reference, k, weights=weights, **options)
        table = ordinal.grade_table(device, reference, k)
        return (ordinal.kendall_tau_b if name == "kendall_tau_b" else ordinal.gwet_ac)(table, **options)

    def _not_assessable(self, endpoint: Endpoint, view: ClassScenario, cell: Cell) -> Estimate | None:
        n = int((cell.mask & view.include).sum())

        def no(reason: str) -> Estimate:
            return Estimate.not_estimable(reason, n=n, level=self.level)

        if n == 0:
            return no("no cases")
        if endpoint.metric == "rps" and view.probability is None:
            return no("the outputs are not probabilities")
        if endpoint.metric == "vus":
            if self.population.k != 3:
                return no(f"the volume is of three grades, the scale has {self.population.k}")
            if view.unresolved:
                return no(f"{view.unresolved} cases lack a reference, for which the volume has no worst case")
            counts = class_counts(view.reference, view.include, cell.mask, self.population.names)
            return enough(self.protocol, cell, counts, self.level, n)
        return enough(self.protocol, cell, {"cases": n}, self.level, n)

    def confusion(self, cells: Sequence[Cell]) -> Iterator[Finding]:
        """The confusion matrix as counted."""
        p = self.population
        return confusion_findings(
            p.reference,
            p.predicted,
            p.has_reference,
            p.has_output,
            p.patient_index,
            p.names,
            level=self.level,
            cells=cells,
        )
