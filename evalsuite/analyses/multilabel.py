"""Performance and calibration of a device that answers several yes/no questions per case, each label and together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from evalsuite.analyses.averaging import AverageFigures, Members, averaged_estimates, paired_averages
from evalsuite.analyses.binary_pair import BinaryPair
from evalsuite.analyses.binary_questions import Threshold, answer
from evalsuite.analyses.common import Cell, OnStep, Results
from evalsuite.analyses.comparison import Both, Paired, beside
from evalsuite.analyses.figure_pair import FigurePair
from evalsuite.analyses.metrics import COMPUTABLE
from evalsuite.analyses.paired import Cutoff, cutoff
from evalsuite.analyses.population import (
    Ints,
    OutputPolicy,
    Population,
    ReferencePolicy,
    build_population,
)
from evalsuite.analyses.resampling import Resampling, with_level, with_small_groups
from evalsuite.analyses.several import Studied, evaluate_several, with_standard_table
from evalsuite.protocol.comparisons import as_endpoint
from evalsuite.protocol.schema import Comparison, Endpoint, StudyProtocol
from evalsuite.protocol.several import outputs as output_names
from evalsuite.protocol.several import targets
from evalsuite.stats import multilabel
from evalsuite.types import CaseStatus, Estimate, ReferenceClass

_POLICIES: tuple[OutputPolicy, ...] = ("worst_case", "best_case", "exclude", "as_negative", "as_positive")

STANDARD_AT_POINT = (
    "subset_accuracy",
    "hamming_loss",
    "macro_sensitivity",
    "macro_specificity",
    "macro_f1",
    "micro_f1",
)
STANDARD_OVERALL = ("macro_auroc", "micro_auroc", "macro_average_precision")
STANDARD_PER_LABEL_AT_POINT = ("sensitivity", "specificity", "ppv", "npv", "f1")
STANDARD_PER_LABEL = ("auroc", "average_precision", "brier", "ece", "prevalence")
COMPUTED = frozenset(multilabel.METRICS)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCases:
    """What has become of each case, over all its labels."""

    n: int
    case_id: tuple[str, ...]
    patient_index: Ints
    status: tuple[CaseStatus, ...]
    reference_class: tuple[ReferenceClass, ...]


def evaluate_multilabel(
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
    """Every finding, count and test of a multilabel protocol; arguments as for a binary one.

    Each label is a binary task of its own: column, output, `positive` and `negative` values, operating points.
    """
    names = targets(protocol)
    built = partial(label_populations, protocol, case_id=case_id, patient_id=patient_id, frame=frame)
    labels = built(predictions=predictions)
    study = _Study(protocol, names, labels)
    rows: list[tuple[str, str | None, str | None]] = []
    for point in protocol.operating_points:
        rows += [(metric, point.name, None) for metric in STANDARD_AT_POINT]
    rows += [(metric, None, None) for metric in STANDARD_OVERALL]
    for name in names:
        for point in protocol.operating_points:
            rows += [(metric, point.name, name) for metric in STANDARD_PER_LABEL_AT_POINT]
        rows += [
            (metric, None, name)
            for metric in STANDARD_PER_LABEL
            if protocol.task.probability or not COMPUTABLE[metric].needs_probability
        ]
    return evaluate_several(
        protocol,
        _cases(labels),
        with_standard_table(protocol, rows),
        study,
        frame=frame,
        n_patients=labels[0].n_patients,
        missing_outputs=not all(p.has_output.all() for p in labels),
        missing_references=not all(p.has_reference.all() for p in labels),
        output_policies=_POLICIES,
        of_targets=dict(zip(names, labels, strict=True)),
        both=beside(protocol, baseline, original, lambda other, cells: _both(study, built(predictions=other), cells)),
        notes=tuple(_notes(protocol, names, labels)),
        on_step=on_step,
    )


def studied(
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
) -> Studied:
    """The population with its study, for analyses that stand beside performance; arguments as for a binary one."""
    labels = label_populations(protocol, case_id=case_id, patient_id=patient_id, frame=frame, predictions=predictions)
    study = _Study(protocol, targets(protocol), labels)
    return Studied(study=study, population=_cases(labels), one_of=study.one_of)


def label_populations(
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
) -> tuple[Population, ...]:
    """A population per label, in the protocol's order."""
    return tuple(
        build_population(
            _of_one_label(protocol, name, output),
            case_id=case_id,
            patient_id=patient_id,
            frame=frame,
            predictions=predictions,
        )
        for name, output in zip(targets(protocol), output_names(protocol), strict=True)
    )


def _of_one_label(protocol: StudyProtocol, name: str, output: str) -> StudyProtocol:
    task = protocol.task.model_copy(update={"kind": "binary", "reference": name, "score": [output]})
    return protocol.model_copy(update={"task": task})


def _cases(labels: Sequence[Population]) -> LabelCases:
    """A case is settled where every label is, and has an output where every label has one."""
    status: list[CaseStatus] = []
    classes: list[ReferenceClass] = []
    for i in range(labels[0].n):
        each = [p.reference_class[i] for p in labels]
        reference: ReferenceClass = "missing" if "missing" in each else "equivocal" if "equivocal" in each else "known"
        lost = next((p.status[i] for p in labels if not p.has_output[i]), None)
        if lost is not None:
            status.append(lost)
        elif reference == "known":
            status.append("ok")
        else:
            status.append("reference_missing" if reference == "missing" else "reference_equivocal")
        classes.append(reference)
    return LabelCases(
        n=labels[0].n,
        case_id=labels[0].case_id,
        patient_index=labels[0].patient_index,
        status=tuple(status),
        reference_class=tuple(classes),
    )


def _notes(protocol: StudyProtocol, names: Sequence[str], labels: Sequence[Population]) -> Iterator[str]:
    for name, p in zip(names, labels, strict=True):
        known = p.has_reference
        if known.any() and (not (p.positive & known).any() or (p.positive | ~known).all()):
            only = "positive" if (p.positive & known).any() else "negative"
            yield f"Label '{name}': every case is reference-{only}, so nothing that compares the two can be estimated."
        if protocol.task.probability and not p.is_probability:
            yield f"Label '{name}': the score leaves the range 0 to 1; it is not a probability and has no calibration."


def _both(study: _Study, baseline: tuple[Population, ...], cells: tuple[Cell, ...]) -> Both:
    """The candidate beside a baseline: one label, or figures over all of them."""
    protocol, kept = study.protocol, study.resampling.keeping()

    def pair(asked: Comparison) -> Paired:
        points = (asked.at, asked.baseline_at or asked.at)
        if asked.target is not None:
            i = study.names.index(asked.target)
            return BinaryPair(
                protocol=protocol,
                comparison=asked,
                candidate=study.labels[i],
                baseline=baseline[i],
                cutoffs=(cutoff(protocol, points[0]), cutoff(protocol, points[1])),
                cells=cells,
                resampling=kept,
            )
        first, second = (None if at is None else study.thresholds[at] for at in points)
        return FigurePair(
            protocol=protocol,
            comparison=asked,
            figures=AverageFigures(),
            pair_up=paired_averages(
                study.members(study.labels), study.members(baseline), as_endpoint(asked), (first, second)
            ),
            patient_index=study.labels[0].patient_index,
            resampling=kept,
        )

    def lost(labels: Sequence[Population]) -> int:
        return int((~np.stack([p.has_output for p in labels]).all(axis=0)).sum())

    return Both(
        pairs={c.name: pair(c) for c in protocol.comparisons},
        lost=(lost(study.labels), lost(baseline)),
        missing_references=not all(p.has_reference.all() for p in study.labels),
        output_policies=_POLICIES,
    )


class _Study:
    """The labels with one draw of patients, and how each kind of endpoint is answered."""

    def __init__(self, protocol: StudyProtocol, names: tuple[str, ...], labels: tuple[Population, ...]) -> None:
        self.protocol, self.names, self.labels = protocol, names, labels
        self.resampling = Resampling.of(protocol, labels[0].patient_index)
        self.thresholds = {
            p.name: Threshold(value=p.threshold, strict=p.comparison == ">") for p in protocol.operating_points
        }

    def one_of(self, metric: str, at: str | None, target: str) -> tuple[Population, Cutoff | None]:
        """One label's cases, and how they are called."""
        return self.labels[self.names.index(target)], cutoff(self.protocol, at)

    def members(self, labels: tuple[Population, ...]) -> Members:
        return Members(names=self.names, kind="label", called=labels, ranked=labels)

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
        found = averaged_estimates(
            self.protocol,
            self.members(self.labels),
            self.resampling,
            [e for e in endpoints if e.target is None],
            cells,
            thresholds=self.thresholds,
            outputs=outputs,
            references=references,
        )
        for endpoint in endpoints:
            if endpoint.target is None:
                continue
            estimates = answer(
                self.protocol,
                self.labels[self.names.index(endpoint.target)],
                self.resampling,
                endpoint,
                cells,
                threshold=None if endpoint.at is None else self.thresholds[endpoint.at],
                outputs=outputs,
                references=references,
            )
            found |= {(endpoint.name, i): e for i, e in enumerate(estimates)}
        return found
