"""Who is searched and what was found: lesions and marks of all cases, matched, and what is assumed where either lacks.

Worst case: of a case without output no lesion is found; where marks are counted it has as many false positives as the
endpoint's `maximum` says, above every threshold; where cases are ranked, one such mark if it has no lesion. Best case:
every lesion is found by a mark above every threshold, and there is no other mark.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import pandas as pd

from evalsuite.analyses.lesion_masks import pairs_in_masks
from evalsuite.analyses.lesions import CaseLesions
from evalsuite.analyses.population import Bools, Floats, Ints, OutputPolicy
from evalsuite.errors import InputError
from evalsuite.models.marks import is_box, place_columns
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats import matching
from evalsuite.stats.detection import Detections
from evalsuite.types import CaseStatus, ReferenceClass

#: Smallest overlaps at which performance is shown beside the protocol's own.
OVERLAPS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Where every lesion and every mark lies, and what became of it: for listings and pictures, not for figures.

    `lesion_at (l, k)` and `mark_at (m, k)` are centres or boxes in mm; `diameter_mm (l,)` NaN where not stated;
    `mark_of (l,)` the mark that found each lesion, -1 where none did; `hit (m,)` marks that found one.
    """

    lesion_at: Floats
    diameter_mm: Floats
    mark_of: Ints
    mark_case: Ints
    mark_score: Floats
    mark_at: Floats
    place: tuple[str, ...]
    hit: Bools
    false: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class Across:
    """What would have been found with another smallest overlap: the score of each lesion's mark `(l,)`, −inf where
    there is none, and `false (m,)` marks that count as false positives."""

    overlap: float
    lesion_score: Floats
    false: Bools


@dataclass(frozen=True, kw_only=True)
class LesionPopulation:
    """All n cases in lock order, their lesions `(l,)` and marks `(m,)`, and which mark found which lesion.

    `lesion_score` is −inf where no mark found the lesion, and where its case has no output; `overlap` is the
    intersection over union of a lesion found with its mark, NaN elsewhere and by other rules; `across` are other
    smallest overlaps, empty by other rules. Marks are those of cases with output and reference; `false` are those that
    count as false positives.
    """

    case_id: tuple[str, ...]
    patient_index: Ints
    n_patients: int
    has_reference: Bools
    has_output: Bools
    reference_class: tuple[ReferenceClass, ...]
    status: tuple[CaseStatus, ...]
    lesion_case: Ints
    lesion_score: Floats
    overlap: Floats
    groups: dict[str, tuple[str, ...]]
    false_case: Ints
    false_score: Floats
    n_marks: int
    located: Located
    across: tuple[Across, ...] = ()

    @property
    def n(self) -> int:
        return len(self.case_id)

    @cached_property
    def abnormal(self) -> Bools:
        """Cases with a lesion in the reference."""
        out = np.zeros(self.n, dtype=bool)
        out[self.lesion_case] = True
        return out

    def seen(self, outputs: OutputPolicy, extra: float | None) -> Detections:
        """Lesions and marks under one policy for missing outputs. `extra` false positives are assumed in a case without
        output in the worst case; None: one in a normal case, none in an abnormal one."""
        lost = ~self.has_output & self.has_reference
        score = self.lesion_score
        if outputs == "best_case":
            score = np.where(lost[self.lesion_case], np.inf, score)
        added = np.zeros(self.n, dtype=np.int64)
        if outputs == "worst_case":
            added = np.where(lost, ~self.abnormal if extra is None else round(extra), 0)
        more = np.repeat(np.arange(self.n), added)
        return Detections(
            abnormal=self.abnormal,
            lesion_case=self.lesion_case,
            lesion_score=score,
            false_case=np.concatenate([self.false_case, more]),
            false_score=np.concatenate([self.false_score, np.full(more.size, np.inf)]),
        )

    def included(self, outputs: OutputPolicy) -> Bools:
        """Cases that count: with a reference, and where missing outputs are excluded with an output."""
        return self.has_reference & self.has_output if outputs == "exclude" else self.has_reference


def build_lesion_population(
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
) -> LesionPopulation:
    """Join marks to lesions, case by case. `frame` has been through `with_lesions`.

    Raises InputError where the model gives no marks, or marks and lesions cannot be compared by the protocol's rule.
    """
    if [str(c) for c in predictions["case_id"]] != list(case_id):
        raise InputError("The predictions are not those of this test set: their cases differ.")
    place = place_columns(predictions.columns)
    score = str(protocol.task.score)
    if place is None or score not in predictions.columns:
        raise InputError(
            "A detection task needs marks, and the model gives none.",
            hint=f"One row per mark: case_id, {score}, x, y, z (mm) or x0, y0, x1, y1.",
        )
    references = frame[str(protocol.task.reference)].tolist()
    classes = _classes(frame, references)
    has_reference = np.array([c in ("positive", "negative") for c in classes], dtype=bool)
    status = [str(s) for s in predictions["status"]]
    has_output = np.array([s == "ok" for s in status], dtype=bool)
    lesions = [r if ok else None for r, ok in zip(references, has_reference, strict=True)]
    columns = [predictions[c].tolist() for c in (score, *place)]
    marks = [
        np.array([cells[i] for cells in columns], dtype=np.float64).T if usable else None
        for i, usable in enumerate(has_output & has_reference)
    ]
    return _matched(protocol, case_id, patient_id, classes, status, has_reference, has_output, lesions, marks, place)


def matching_rule(protocol: StudyProtocol) -> str:
    """When a mark has found a lesion, in words."""
    matching = protocol.task.matching
    assert matching is not None, "the protocol's loader requires it"
    rule = {
        "distance": f"within {matching.distance_mm:g} mm of its centre"
        if matching.distance_mm is not None
        else "within its radius of its centre",
        "inside": "inside its box",
        "in_mask": "in whose mask it lies",
        "overlap": f"if their boxes overlap by {matching.overlap or 0.0:g} or more (intersection over union)",
    }[matching.rule]
    who = {
        "by_score": "the mark with the highest score chooses first",
        "by_closeness": "the closest pair comes first",
        "best_total": "so that the overlaps add up to most",
    }[matching.assignment]
    extra = "ignored" if matching.extra == "ignored" else "false positives"
    return f"A mark finds a lesion {rule}; {who}, a lesion is found once, and further marks on it are {extra}."


def _classes(frame: pd.DataFrame, references: list[CaseLesions | str]) -> tuple[ReferenceClass, ...]:
    flags = [str(s) for s in frame["reference_status"]] if "reference_status" in frame.columns else [""] * len(frame)
    out: list[ReferenceClass] = []
    for lesions, flag in zip(references, flags, strict=True):
        if flag == "equivocal":
            out.append("equivocal")
        elif flag == "missing" or isinstance(lesions, str):
            out.append("missing")
        else:
            out.append("positive" if lesions.n else "negative")
    return tuple(out)


def _matched(
    protocol: StudyProtocol,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    classes: tuple[ReferenceClass, ...],
    status: list[str],
    has_reference: Bools,
    has_output: Bools,
    lesions: list[CaseLesions | None],
    marks: list[np.ndarray | None],
    place: tuple[str, ...],
) -> LesionPopulation:
    known = [(i, x) for i, x in enumerate(lesions) if x is not None]
    lesion_case = np.repeat([i for i, _ in known], [x.n for _, x in known]).astype(np.int64)
    given = [(i, m) for i, m in enumerate(marks) if m is not None]
    mark_case = np.repeat([i for i, _ in given], [len(m) for _, m in given]).astype(np.int64)
    every = np.concatenate([m for _, m in given] or [np.zeros((0, 1 + len(place)))])
    score, where = every[:, 0], every[:, 1:]
    asked = protocol.task.matching
    assert asked is not None, "the protocol's loader requires it"
    some = [x for _, x in known if x.n]
    closeness = np.full(lesion_case.size, np.nan)
    mark_of = np.full(lesion_case.size, -1)
    false, hit = np.ones(len(every), dtype=bool), np.zeros(len(every), dtype=bool)
    if some:
        pairs = _pairs(protocol, known, lesion_case, mark_case, where, place)
        found = matching.match(pairs, score, lesion_case.size, assignment=asked.assignment, extra=asked.extra)
        mark_of, closeness, false, hit = found.mark_of, found.closeness, found.false, found.hit
    across = []
    for least in OVERLAPS if some and asked.rule == "overlap" else ():
        pairs = _pairs(protocol, known, lesion_case, mark_case, where, place, least=least)
        again = matching.match(pairs, score, lesion_case.size, assignment=asked.assignment, extra=asked.extra)
        scores = np.full(lesion_case.size, -np.inf)
        scores[again.found] = score[again.mark_of[again.found]]
        across.append(Across(overlap=least, lesion_score=scores, false=again.false))
    patients = {p: i for i, p in enumerate(dict.fromkeys(patient_id))}
    columns = {s.column or s.name for s in protocol.task.lesion_strata}
    lesion_score = np.full(lesion_case.size, -np.inf)
    lesion_score[mark_of >= 0] = score[mark_of[mark_of >= 0]]
    return LesionPopulation(
        case_id=case_id,
        patient_index=np.array([patients[p] for p in patient_id], dtype=np.int64),
        n_patients=len(patients),
        has_reference=has_reference,
        has_output=has_output,
        reference_class=classes,
        status=tuple(
            cast(CaseStatus, s if s != "ok" else "ok" if c in ("positive", "negative") else f"reference_{c}")
            for s, c in zip(status, classes, strict=True)
        ),
        lesion_case=lesion_case,
        lesion_score=lesion_score,
        overlap=closeness if asked.rule == "overlap" else np.full(lesion_case.size, np.nan),
        groups={c: tuple(t for _, x in known for t in x.groups[c]) for c in columns},
        false_case=mark_case[false],
        false_score=score[false],
        n_marks=len(every),
        located=Located(
            lesion_at=np.concatenate([x.place for x in some]) if some else np.zeros((0, len(place))),
            diameter_mm=np.concatenate([x.diameter_mm for x in some]) if some else np.zeros(0),
            mark_of=mark_of,
            mark_case=mark_case,
            mark_score=score,
            mark_at=where,
            place=place,
            hit=hit,
            false=false,
        ),
        across=tuple(across),
    )


def _pairs(
    protocol: StudyProtocol,
    known: list[tuple[int, CaseLesions]],
    lesion_case: Ints,
    mark_case: Ints,
    where: np.ndarray,
    place: tuple[str, ...],
    least: float | None = None,
) -> matching.Pairs:
    """Marks and lesions that are close enough; `least` in place of the protocol's smallest overlap."""
    asked = protocol.task.matching
    assert asked is not None, "the protocol's loader requires it"
    lesions = [x for _, x in known if x.n]
    at = np.concatenate([x.place for x in lesions])
    boxes, marked_by_boxes = lesions[0].box, is_box(place)
    axes = at.shape[1] // 2 if boxes else at.shape[1]
    if axes != (len(place) // 2 if marked_by_boxes else len(place)):
        raise InputError(
            f"The lesions have {axes} axes and the marks have another number of them.",
            hint="Give both in the plane (x, y), or both in space (x, y, z).",
        )
    needed = {"overlap": (True, True), "inside": (True, None)}.get(asked.rule, (None, None))
    for has, need, whose in ((boxes, needed[0], "lesions"), (marked_by_boxes, needed[1], "marks")):
        if need and not has:
            raise InputError(
                f"The matching rule '{asked.rule}' needs the boxes of {whose}, and they are given as points.",
                hint="Give x0, y0, x1, y1 (with z0, z1 in space), or use another rule in task.matching.",
            )
    if asked.rule == "overlap":
        assert asked.overlap is not None, "the protocol's loader requires it"
        return matching.pairs_by_box(mark_case, where, lesion_case, at, least=least or asked.overlap)
    points = (where[:, :axes] + where[:, axes:]) / 2.0 if marked_by_boxes else where
    if asked.rule == "in_mask":
        return pairs_in_masks(known, mark_case, points, str(protocol.task.coordinates))
    if asked.rule == "inside":
        return matching.pairs_in_box(mark_case, points, lesion_case, at)
    centres = (at[:, :axes] + at[:, axes:]) / 2.0 if boxes else at
    if asked.distance_mm is not None:
        return matching.pairs_by_distance(mark_case, points, lesion_case, centres, asked.distance_mm)
    diameter = np.concatenate([x.diameter_mm for x in lesions])
    if np.isnan(diameter).any():
        raise InputError(
            f"{int(np.isnan(diameter).sum())} lesions have no diameter_mm, and the protocol matches within the radius.",
            hint="Give diameter_mm for every lesion, or declare task.matching.distance_mm.",
        )
    return matching.pairs_by_distance(mark_case, points, lesion_case, centres, diameter / 2.0)
