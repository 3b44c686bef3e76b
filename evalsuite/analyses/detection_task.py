"""How well a device's marks find lesions, in the whole set, in every stratum of cases and in groups of lesions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from evalsuite.analyses.binary_questions import Question
from evalsuite.analyses.common import Cell, OnStep, Results
from evalsuite.analyses.comparison import beside
from evalsuite.analyses.detection_curves import froc_curves
from evalsuite.analyses.detection_figures import COMPUTED, COUNTING, NEEDS, OF_LESIONS, estimate
from evalsuite.analyses.lesion_listing import lesion_listings
from evalsuite.analyses.lesion_population import LesionPopulation, build_lesion_population, matching_rule
from evalsuite.analyses.mark_overlap import mark_overlap
from evalsuite.analyses.mark_pairs import both_mark
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.population import Bools, OutputPolicy, ReferencePolicy
from evalsuite.analyses.resampling import Resampling, with_level, with_small_groups
from evalsuite.analyses.several import Studied, enough, evaluate_several, with_standard_table
from evalsuite.protocol.comparisons import BASELINE, ORIGINAL
from evalsuite.protocol.schema import Endpoint, StratumSpec, StudyProtocol
from evalsuite.testset.strata import assign_strata
from evalsuite.types import Estimate, Finding

__all__ = ["COMPUTED", "evaluate_detection"]

_POLICIES: tuple[OutputPolicy, ...] = ("worst_case", "best_case", "exclude")
_AT_A_POINT = (
    *("lesion_sensitivity", "patient_detection", "false_positives_per_case", "false_positives_per_normal_case"),
    *("false_positives_per_abnormal_case", "case_sensitivity", "case_specificity", "mark_ppv"),
)
_OVER_ALL = ("cpm", "lesion_average_precision", "lroc", "afroc", "wafroc", "case_auroc")


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionGroup:
    """Some of the lesions: what they are called in the evidence, and which `(l,)` they are."""

    stratum: dict[str, str]
    mask: Bools


def evaluate_detection(
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
    """Every finding, curve and count of a detection protocol; arguments as for a binary one. The reference column of
    `frame` holds the lesions of each case (`with_lesions`).

    Raises InputError where the model gives no marks, or marks and lesions cannot be compared.
    """
    cases: dict[str, Any] = {"case_id": case_id, "patient_id": patient_id, "frame": frame}
    population = build_lesion_population(protocol, **cases, predictions=predictions)
    marked = {
        who: build_lesion_population(protocol, **cases, predictions=frame)
        for who, frame in ((BASELINE, baseline), (ORIGINAL, original))
        if frame is not None
    }
    study = _Study(protocol, population)
    asked = _with_maximum(protocol, with_standard_table(protocol, _standard(protocol)))
    results = evaluate_several(
        protocol,
        population,
        asked,
        study,
        frame=frame,
        n_patients=population.n_patients,
        missing_outputs=not population.has_output.all(),
        missing_references=not population.has_reference.all(),
        output_policies=_POLICIES,
        extra=lambda cells: _beside(asked, study, cells[0], marked),
        both=beside(
            protocol,
            marked.get(BASELINE),
            marked.get(ORIGINAL),
            lambda other, _: both_mark(protocol, population, other, study.resampling, _POLICIES),
        ),
        notes=tuple(_notes(protocol, population)),
        on_step=on_step,
    )
    labels = assign_strata(frame, protocol.strata)
    return replace(
        results,
        curves=froc_curves(protocol, population, study.resampling, labels),
        listings=lesion_listings(protocol, population),
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
    population = build_lesion_population(
        protocol, case_id=case_id, patient_id=patient_id, frame=frame, predictions=predictions
    )
    return Studied(study=_Study(protocol, population), population=population, one_of=None)


def _standard(protocol: StudyProtocol) -> list[tuple[str, str | None, str | None]]:
    rows: list[tuple[str, str | None, str | None]] = [
        (metric, point.name, None) for point in protocol.operating_points for metric in _AT_A_POINT
    ]
    return [*rows, *((metric, None, None) for metric in _OVER_ALL)]


def _with_maximum(protocol: StudyProtocol, asked: Sequence[Question]) -> tuple[Question, ...]:
    """Rows of the standard table take the false positives of a case without output that all endpoints agree on."""
    declared = {e.maximum for e in protocol.endpoints if e.maximum is not None}
    if len(declared) != 1:
        return tuple(asked)
    (maximum,) = declared
    return tuple(
        q
        if q.prespecified or q.endpoint.metric not in COUNTING
        else replace(q, endpoint=q.endpoint.model_copy(update={"maximum": maximum}))
        for q in asked
    )


def _notes(protocol: StudyProtocol, p: LesionPopulation) -> Iterator[str]:
    yield (
        f"{matching_rule(protocol)} {p.lesion_case.size} lesions lie in {int(p.abnormal.sum())} cases; {p.n_marks} "
        "marks were compared with them."
    )
    at = p.located
    every = np.column_stack([at.mark_case, at.mark_score, at.mark_at])
    twice = len(every) - len(np.unique(every, axis=0))
    if twice:
        marks = "1 mark repeats" if twice == 1 else f"{twice} marks repeat"
        yield f"{marks} another one of their case exactly (score and place); each counts as a mark."


def _beside(
    asked: Sequence[Question], study: _Study, whole: Cell, marked: Mapping[str, LesionPopulation]
) -> Iterator[Finding]:
    """Figures of groups of lesions, and what the device and each one it is compared with mark alike."""
    yield from _of_groups(asked, study, whole)
    for who, other in marked.items():
        yield from mark_overlap(study.protocol, study.population, other, who)


def _of_groups(asked: Sequence[Question], study: _Study, whole: Cell) -> Iterator[Finding]:
    """Figures of lesions in every group of lesions, of all cases."""
    protocol = study.protocol
    outputs: OutputPolicy = protocol.missing_outputs.primary
    references: ReferencePolicy = "worst_case" if protocol.missing_reference.primary == "worst_case" else "exclude"
    groups = study.groups()
    for question in asked:
        e = question.endpoint
        if e.metric not in OF_LESIONS:
            continue
        for group in groups:
            yield Finding(
                analysis="detection",
                endpoint=e.name,
                metric=e.metric,
                role=question.role,
                target=None,
                operating_point=e.at,
                stratum=group.stratum,
                prespecified=question.prespecified,
                estimate=study.one(e, whole, outputs, references, group),
            )


class _Study:
    """The population with its one draw of patients, and how each endpoint is answered."""

    def __init__(self, protocol: StudyProtocol, population: LesionPopulation) -> None:
        self.protocol, self.population = protocol, population
        self.resampling = Resampling.of(protocol, population.patient_index)

    @property
    def level(self) -> float:
        return two_sided_level(self.protocol.confidence)

    def whatever_size(self) -> _Study:
        return with_small_groups(self)

    def at(self, level: float) -> _Study:
        return with_level(self, level)

    def groups(self) -> list[LesionGroup]:
        """Every group of every lesion stratum."""
        specs = [
            StratumSpec(name=s.name, column=s.column or s.name, bins=s.bins) for s in self.protocol.task.lesion_strata
        ]
        columns = {name: list(texts) for name, texts in self.population.groups.items()}
        labels = assign_strata(pd.DataFrame(columns, dtype="str"), specs) if specs else {}
        return [
            LesionGroup(stratum=group.as_stratum(i), mask=group.mask(i))
            for group in labels.values()
            for i in range(len(group.levels))
        ]

    def answer(
        self,
        endpoints: Sequence[Endpoint],
        cells: Sequence[Cell],
        outputs: OutputPolicy,
        references: ReferencePolicy,
    ) -> dict[tuple[str, int], Estimate]:
        return {
            (endpoint.name, i): self.one(endpoint, cell, outputs, references)
            for endpoint in endpoints
            for i, cell in enumerate(cells)
        }

    def one(
        self,
        e: Endpoint,
        cell: Cell,
        outputs: OutputPolicy,
        references: ReferencePolicy,
        group: LesionGroup | None = None,
    ) -> Estimate:
        """One endpoint in one cell, of all lesions or of a group of them."""
        p = self.population
        mask = cell.mask & p.included(outputs)
        n = int(mask.sum())
        lesions = np.ones(p.lesion_case.size, dtype=bool) if group is None else group.mask
        why = self._unknown(e, cell.mask, outputs, references)
        if n == 0 or why is not None:
            return Estimate.not_estimable(why or "no cases", n=n, level=self.level)
        counts = {
            "lesions": int((lesions & mask[p.lesion_case]).sum()),
            "cases with a lesion": int((mask & p.abnormal).sum()),
            "cases without a lesion": int((mask & ~p.abnormal).sum()),
            "cases": n,
        }
        needed = {name: counts[name] for name in NEEDS.get(e.metric, ("cases",))}
        small = enough(self.protocol, cell.whole and group is None, needed, self.level, n)
        if small is not None:
            return small
        seen = p.seen(outputs, e.maximum if e.metric in COUNTING else None)
        return estimate(self.protocol, e, p, seen, mask, self.resampling, lesions)

    def _unknown(self, e: Endpoint, mask: Bools, outputs: OutputPolicy, references: ReferencePolicy) -> str | None:
        """Why nothing can be assumed about cases that lack an output or a reference, or None."""
        p = self.population
        open_ = int((mask & ~p.has_reference).sum())
        if open_ and references != "exclude":
            cases = f"{open_} case{'s' if open_ > 1 else ''} without a reference"
            return f"{cases}, which may have any number of lesions: no worst case"
        lost = int((mask & ~p.has_output & p.has_reference).sum())
        if lost and outputs == "worst_case" and e.metric in COUNTING and e.maximum is None:
            cases = f"{lost} case{'s' if lost > 1 else ''} without an output"
            return (
                f"{cases}, and the protocol declares no largest number of false positives (maximum) for this endpoint"
            )
        return None
