"""Performance and calibration of a device that names one of several classes, in the whole set and in every stratum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import pandas as pd

from evalsuite.analyses.averaging import Members, averaged_estimates
from evalsuite.analyses.binary_questions import Threshold, answer, chosen_interval
from evalsuite.analyses.classes import ClassPopulation, ClassScenario, build_class_population, class_scenario
from evalsuite.analyses.common import Cell, OnStep, Results
from evalsuite.analyses.metrics import COMPUTABLE, two_sided_level
from evalsuite.analyses.population import OutputPolicy, Population, ReferencePolicy
from evalsuite.analyses.several import class_counts, confusion_findings, enough, evaluate_several, with_standard_table
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats import averages, multiclass
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.proportions import ProportionMethod
from evalsuite.types import Estimate, Finding

#: A class is called where it is predicted: its own indicator is the score, cut in the middle.
_CALLED = Threshold(value=0.5, strict=False)
_SHARES = ("accuracy", "top_k_accuracy")
_POLICIES: tuple[OutputPolicy, ...] = ("worst_case", "best_case", "exclude")

STANDARD_OVERALL = ("accuracy", "macro_sensitivity", "macro_f1", "kappa", "mcc", "macro_auroc", "hand_till")
STANDARD_CALIBRATION = ("multiclass_brier", "top_label_ece", "classwise_ece")
STANDARD_PER_CLASS = ("sensitivity", "specificity", "ppv", "npv", "f1", "auroc", "average_precision", "prevalence")
COMPUTED = frozenset({*multiclass.METRICS, *averages.METRICS})


def evaluate_multiclass(
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
    on_step: OnStep | None = None,
) -> Results:
    """Every finding, count and test of a multiclass protocol; arguments as for a binary one.

    Raises InputError where the reference is none of the declared classes, or an output is missing.
    """
    population = build_class_population(
        protocol, case_id=case_id, patient_id=patient_id, frame=frame, predictions=predictions
    )
    study = _Study(protocol, population)
    overall = [*STANDARD_OVERALL, *(STANDARD_CALIBRATION if protocol.task.probability else ())]
    rows: list[tuple[str, str | None, str | None]] = [(metric, None, None) for metric in overall]
    rows += [(metric, None, name) for name in population.names for metric in STANDARD_PER_CLASS]
    return evaluate_several(
        protocol,
        population,
        with_standard_table(protocol, rows),
        study.answer,
        frame=frame,
        n_patients=population.n_patients,
        missing_outputs=not population.has_output.all(),
        missing_references=not population.has_reference.all(),
        output_policies=_POLICIES,
        extra=study.confusion,
        notes=tuple(class_notes(protocol, population)),
        on_step=on_step,
    )


def class_notes(protocol: StudyProtocol, p: ClassPopulation) -> Iterator[str]:
    """What a reader must know of the classes in this set."""
    seen = np.bincount(p.reference[p.has_reference], minlength=p.k)
    absent = [name for name, n in zip(p.names, seen, strict=True) if n == 0]
    if absent:
        yield (
            f"No case of the set has the reference class {', '.join(repr(a) for a in absent)}: nothing that needs it "
            "can be estimated, averages over classes included."
        )
    if p.n_tied:
        yield f"{p.n_tied} cases have equal largest outputs; the first class in the protocol's order is called."
    if protocol.task.probability and p.score is not None and not p.is_probability and p.has_output.any():
        yield (
            "The outputs of a case leave the range 0 to 1 or do not sum to 1: they are not probabilities, and "
            "calibration is not estimated."
        )


class _Study:
    """The population with its one draw of patients, and how each kind of endpoint is answered."""

    def __init__(self, protocol: StudyProtocol, population: ClassPopulation) -> None:
        p = population
        self.protocol, self.population = protocol, p
        self.level = two_sided_level(protocol.confidence)
        self.draw = PatientDraw(
            p.patient_index, replicates=protocol.confidence.bootstrap.replicates, seed=protocol.seed
        )
        self.called = tuple(p.against_rest(c, called=True) for c in range(p.k))
        self.ranked = tuple(p.against_rest(c, called=False) for c in range(p.k))

    def answer(
        self,
        endpoints: Sequence[Endpoint],
        cells: Sequence[Cell],
        outputs: OutputPolicy,
        references: ReferencePolicy,
    ) -> dict[tuple[str, int], Estimate]:
        of_one = [e for e in endpoints if e.target is not None]
        averaged = [e for e in endpoints if e.target is None and e.metric in averages.METRICS]
        overall = [e for e in endpoints if e.target is None and e.metric not in averages.METRICS]
        p = self.population
        found = averaged_estimates(
            self.protocol,
            Members(names=p.names, kind="class", called=self.called, ranked=self.ranked),
            self.draw,
            averaged,
            cells,
            thresholds={"": _CALLED},
            outputs=outputs,
            references=references,
        )
        for endpoint in of_one:
            estimates = self._one(endpoint, cells, outputs, references)
            found |= {(endpoint.name, i): e for i, e in enumerate(estimates)}
        found |= self._overall(overall, cells, outputs, references)
        return found

    def _one(
        self, endpoint: Endpoint, cells: Sequence[Cell], outputs: OutputPolicy, references: ReferencePolicy
    ) -> list[Estimate]:
        """One class against the rest."""
        metric = COMPUTABLE[endpoint.metric]
        called = metric.needs_call or endpoint.metric == "prevalence"
        target = self.population.names.index(str(endpoint.target))
        population: Population = (self.called if called else self.ranked)[target]
        if endpoint.metric == "prevalence":
            # How common a class is asks nothing of the outputs, and nothing is assumed about unsettled cases.
            outputs, references = "worst_case", "exclude"
        return answer(
            self.protocol,
            population,
            self.draw,
            endpoint,
            cells,
            threshold=_CALLED if called else None,
            outputs=outputs,
            references=references,
        )

    def _overall(
        self, endpoints: Sequence[Endpoint], cells: Sequence[Cell], outputs: OutputPolicy, references: ReferencePolicy
    ) -> dict[tuple[str, int], Estimate]:
        view = class_scenario(self.population, outputs=outputs, references=references)
        found: dict[tuple[str, int], Estimate] = {}
        groups: dict[tuple[str, int, int], list[Endpoint]] = {}
        for endpoint in endpoints:
            for i, cell in enumerate(cells):
                reason = self._not_assessable(endpoint, view, cell)
                if reason is not None:
                    found[endpoint.name, i] = reason
            if self._counted(endpoint):
                for i, cell in enumerate(cells):
                    if (endpoint.name, i) not in found:
                        found[endpoint.name, i] = self._share(endpoint, view, cell)
            else:
                key = (chosen_interval(self.protocol, endpoint), endpoint.bins or 10, endpoint.top or 1)
                groups.setdefault(key, []).append(endpoint)
        for (method, bins, top), group in groups.items():
            todo = [i for i in range(len(cells)) if any((e.name, i) not in found for e in group)]
            asked = [e for e in group if any((e.name, i) not in found for i in todo)]
            if not todo:
                continue
            rows = multiclass.multiclass_bootstrap(
                self.draw,
                _sample(self.population, view),
                [e.metric for e in asked],
                masks=np.array([cells[i].mask & view.include for i in todo]),
                level=self.level,
                method=method,  # type: ignore[arg-type]
                bins=bins,
                top=top,
            )
            for i, row in zip(todo, rows, strict=True):
                for endpoint, estimate in zip(asked, row, strict=True):
                    found.setdefault((endpoint.name, i), estimate)
        return found

    def _counted(self, endpoint: Endpoint) -> bool:
        """Whether the endpoint is a share of cases with a closed interval."""
        return endpoint.metric in _SHARES and endpoint.interval not in ("percentile", "basic", "bca")

    def _share(self, endpoint: Endpoint, view: ClassScenario, cell: Cell) -> Estimate:
        mask = cell.mask & view.include
        if endpoint.metric == "accuracy":
            right = view.predicted == view.reference
        else:
            assert view.score is not None, "the protocol's loader requires one output per class"
            right = multiclass.class_rank(view.score, view.reference) < (endpoint.top or 1)
        return clustered_proportion(
            right[mask],
            self.population.patient_index[mask],
            level=self.level,
            method=cast(ProportionMethod, endpoint.interval or self.protocol.confidence.proportion),
        )

    def _not_assessable(self, endpoint: Endpoint, view: ClassScenario, cell: Cell) -> Estimate | None:
        mask = cell.mask & view.include
        n = int(mask.sum())

        def no(reason: str) -> Estimate:
            return Estimate.not_estimable(reason, n=n, level=self.level)

        if n == 0:
            return no("no cases")
        if endpoint.metric in ("multiclass_brier", "log_loss", "top_label_ece", "classwise_ece"):
            if view.probability is None:
                return no("the outputs are not probabilities")
        elif endpoint.metric == "hand_till":
            if view.unresolved:
                return no(f"{view.unresolved} cases lack a reference, for which pairs of classes have no worst case")
            counts = class_counts(view.reference, view.include, cell.mask, self.population.names)
            return enough(self.protocol, cell, counts, self.level, n)
        return enough(self.protocol, cell, {"cases": n}, self.level, n)

    def confusion(self, cells: Sequence[Cell]) -> Iterator[Finding]:
        """The confusion matrix as counted."""
        return confusion_of(self.population, self.level, cells)


def confusion_of(p: ClassPopulation, level: float, cells: Sequence[Cell]) -> Iterator[Finding]:
    """The confusion matrix of a population as findings."""
    return confusion_findings(
        p.reference, p.predicted, p.has_reference, p.has_output, p.patient_index, p.names, level=level, cells=cells
    )


def _sample(population: ClassPopulation, view: ClassScenario) -> multiclass.ClassSample:
    return multiclass.ClassSample(
        reference=view.reference,
        names=population.names,
        predicted=view.predicted,
        score=view.score,
        probability=view.probability,
    )
