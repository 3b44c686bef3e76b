"""Performance and calibration of a device that names one of several classes, in the whole set and in every stratum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from evalsuite.analyses.averaging import AverageFigures, Members, averaged_estimates, paired_averages
from evalsuite.analyses.binary_pair import BinaryPair
from evalsuite.analyses.binary_questions import answer
from evalsuite.analyses.class_figures import CALLED, confusion_of, figures_in_cells
from evalsuite.analyses.classes import ClassPopulation, ClassScenario, build_class_population
from evalsuite.analyses.common import Cell, OnStep, Results
from evalsuite.analyses.comparison import Both, Paired, beside
from evalsuite.analyses.figure_pair import FigurePair, Figures
from evalsuite.analyses.marginal import marginal_homogeneity
from evalsuite.analyses.metrics import COMPUTABLE, two_sided_level
from evalsuite.analyses.paired import Cutoff
from evalsuite.analyses.paired_classes import paired_class_figures
from evalsuite.analyses.population import Bools, Floats, OutputPolicy, Population, ReferencePolicy
from evalsuite.analyses.resampling import Resampling, with_level, with_small_groups
from evalsuite.analyses.several import (
    Studied,
    class_counts,
    enough,
    evaluate_several,
    share,
    with_standard_table,
)
from evalsuite.protocol.comparisons import as_endpoint
from evalsuite.protocol.schema import Comparison, Endpoint, StudyProtocol
from evalsuite.stats import averages, multiclass
from evalsuite.stats.bootstrap import Replicated
from evalsuite.types import Estimate, Finding

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
    baseline: pd.DataFrame | None = None,
    original: pd.DataFrame | None = None,
    on_step: OnStep | None = None,
) -> Results:
    """Every finding, count and test of a multiclass protocol; arguments as for a binary one.

    Raises InputError where the reference is none of the declared classes, or an output is missing.
    """
    built = partial(build_class_population, protocol, case_id=case_id, patient_id=patient_id, frame=frame)
    population = built(predictions=predictions)
    study = _Study(protocol, population)
    overall = [*STANDARD_OVERALL, *(STANDARD_CALIBRATION if protocol.task.probability else ())]
    rows: list[tuple[str, str | None, str | None]] = [(metric, None, None) for metric in overall]
    rows += [(metric, None, name) for name in population.names for metric in STANDARD_PER_CLASS]
    results = evaluate_several(
        protocol,
        population,
        with_standard_table(protocol, rows),
        study,
        frame=frame,
        n_patients=population.n_patients,
        missing_outputs=not population.has_output.all(),
        missing_references=not population.has_reference.all(),
        output_policies=_POLICIES,
        extra=study.confusion,
        of_targets=dict(zip(population.names, study.ranked, strict=True)),
        both=beside(protocol, baseline, original, lambda other, cells: _both(study, built(predictions=other), cells)),
        notes=tuple(class_notes(protocol, population)),
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
    study = _Study(protocol, population)
    return Studied(study=study, population=population, one_of=study.one_of)


def is_called(metric: str) -> bool:
    """Whether the metric of one class against the rest looks at what was called, not at the ranks."""
    return COMPUTABLE[metric].needs_call or metric == "prevalence"


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


class ClassFigures:
    """How figures of the whole classification are made."""

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
        if endpoint.metric in multiclass.NEEDS_PROBABILITY:
            if view.probability is None:
                return no("the outputs are not probabilities")
        elif endpoint.metric == "hand_till":
            if view.unresolved:
                return no(f"{view.unresolved} cases lack a reference, for which pairs of classes have no worst case")
            return enough(protocol, whole, class_counts(view.reference, mask, self.population.names), level, n)
        return enough(protocol, whole, {"cases": n}, level, n)

    def right(self, endpoint: Endpoint, view: ClassScenario) -> Bools | None:
        """`(n,)` where the device is right, for a metric that is a share of cases; None for others."""
        if endpoint.metric == "accuracy":
            return np.asarray(view.predicted == view.reference)
        if endpoint.metric == "top_k_accuracy":
            assert view.score is not None, "the protocol's loader requires one output per class"
            return np.asarray(multiclass.class_rank(view.score, view.reference) < (endpoint.top or 1))
        return None

    def closed(self, protocol: StudyProtocol, endpoint: Endpoint, view: ClassScenario, mask: Bools) -> Estimate | None:
        return share(protocol, endpoint, self.right(endpoint, view), mask, self.population.patient_index)

    def per_case(self, endpoint: Endpoint, view: ClassScenario) -> Floats | None:
        """`(n,)` whose mean over cases the figure is; None where it is no mean."""
        right = self.right(endpoint, view)
        if right is not None:
            return right.astype(np.float64)
        if endpoint.metric == "multiclass_brier" and view.probability is not None:
            wanted = np.eye(self.population.k)[view.reference]
            return np.asarray(((view.probability - wanted) ** 2).sum(axis=1))
        return None

    def replicates(
        self,
        resampling: Resampling,
        endpoints: Sequence[Endpoint],
        view: ClassScenario,
        masks: Bools,
        *,
        with_jackknife: bool,
    ) -> Replicated:
        return multiclass.multiclass_replicates(
            resampling.draw,
            _sample(self.population, view),
            [e.metric for e in endpoints],
            masks=masks,
            bins=endpoints[0].bins or 10,
            top=endpoints[0].top or 1,
            with_jackknife=with_jackknife,
        )


class _Study:
    """The population with its one draw of patients, and how each kind of endpoint is answered."""

    def __init__(self, protocol: StudyProtocol, population: ClassPopulation) -> None:
        p = population
        self.protocol, self.population = protocol, p
        self.resampling = Resampling.of(protocol, p.patient_index)
        self.called = tuple(p.against_rest(c, called=True) for c in range(p.k))
        self.ranked = tuple(p.against_rest(c, called=False) for c in range(p.k))
        self.figures = ClassFigures(p)

    def whatever_size(self) -> _Study:
        return with_small_groups(self)

    def at(self, level: float) -> _Study:
        return with_level(self, level)

    def one_of(self, metric: str, at: str | None, target: str) -> tuple[Population, Cutoff | None]:
        """One class against the rest as a metric sees it, and how its cases are called."""
        i = self.population.names.index(target)
        if is_called(metric):
            return self.called[i], Cutoff(value=CALLED.value, strict=CALLED.strict)
        return self.ranked[i], None

    @property
    def members(self) -> Members:
        return Members(names=self.population.names, kind="class", called=self.called, ranked=self.ranked)

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
        found = averaged_estimates(
            self.protocol,
            self.members,
            self.resampling,
            averaged,
            cells,
            thresholds={"": CALLED},
            outputs=outputs,
            references=references,
        )
        for endpoint in of_one:
            estimates = self._one(endpoint, cells, outputs, references)
            found |= {(endpoint.name, i): e for i, e in enumerate(estimates)}
        return found | figures_in_cells(
            self.figures, self.protocol, self.population, self.resampling, overall, cells, outputs, references
        )

    def _one(
        self, endpoint: Endpoint, cells: Sequence[Cell], outputs: OutputPolicy, references: ReferencePolicy
    ) -> list[Estimate]:
        """One class against the rest."""
        called = is_called(endpoint.metric)
        target = self.population.names.index(str(endpoint.target))
        if endpoint.metric == "prevalence":
            # How common a class is asks nothing of the outputs, and nothing is assumed about unsettled cases.
            outputs, references = "worst_case", "exclude"
        return answer(
            self.protocol,
            (self.called if called else self.ranked)[target],
            self.resampling,
            endpoint,
            cells,
            threshold=CALLED if called else None,
            outputs=outputs,
            references=references,
        )

    def confusion(self, cells: Sequence[Cell]) -> Iterator[Finding]:
        """The confusion matrix as counted."""
        return confusion_of(self.population, two_sided_level(self.protocol.confidence), cells)


def _both(study: _Study, baseline: ClassPopulation, cells: tuple[Cell, ...]) -> Both:
    """The candidate beside a baseline: one class against the rest, averages, or the whole classification."""
    protocol, candidate = study.protocol, study.population
    other, kept = _Study(protocol, baseline), study.resampling.keeping()

    def pair(asked: Comparison) -> Paired:
        endpoint = as_endpoint(asked)
        if asked.target is not None:
            mine, cut = study.one_of(endpoint.metric, None, asked.target)
            return BinaryPair(
                protocol=protocol,
                comparison=asked,
                candidate=mine,
                baseline=other.one_of(endpoint.metric, None, asked.target)[0],
                cutoffs=(cut, cut),
                cells=cells,
                resampling=kept,
            )
        figures: Figures = study.figures
        pair_up = paired_class_figures(candidate, baseline, endpoint, study.figures)
        if endpoint.metric in averages.METRICS:
            figures = AverageFigures()
            pair_up = paired_averages(study.members, other.members, endpoint, (CALLED, CALLED))
        return FigurePair(
            protocol=protocol,
            comparison=asked,
            figures=figures,
            pair_up=pair_up,
            patient_index=candidate.patient_index,
            resampling=kept,
        )

    return Both(
        pairs={c.name: pair(c) for c in protocol.comparisons},
        lost=(int((~candidate.has_output).sum()), int((~baseline.has_output).sum())),
        missing_references=not candidate.has_reference.all(),
        output_policies=_POLICIES,
    )


def _sample(population: ClassPopulation, view: ClassScenario) -> multiclass.ClassSample:
    return multiclass.ClassSample(
        reference=view.reference,
        names=population.names,
        predicted=view.predicted,
        score=view.score,
        probability=view.probability,
    )
