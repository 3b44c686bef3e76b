"""Who read what: the recorded readings of a reader study, as one table of treatments, readers and cases."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from evalsuite.analyses.lesion_population import LesionPopulation, build_lesion_population
from evalsuite.analyses.population import Bools, Floats, Population, build_population
from evalsuite.errors import InputError
from evalsuite.protocol.readers import ReaderStudy
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.types import CaseStatus

DEVICE = "device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """All readings of the study: scores `(treatments, readers, cases)`, NaN where none is usable.

    `expected` marks readings that were to be made; one that was and is not usable is missing. `device` holds the scores
    of the device alone, None where it was not run; `seconds` how long each reading took, NaN where that is not known.
    Of readers who mark lesions the score is that of a case's highest mark, −inf without one, and `marks` (and
    `device_marks`) are what they marked: a row per treatment, an entry per reader.
    """

    base: Population
    treatments: tuple[str, ...]
    names: tuple[str, ...]
    score: Floats
    expected: Bools
    device: Floats | None
    seconds: Floats | None
    marks: tuple[tuple[LesionPopulation, ...], ...] | None = None
    device_marks: LesionPopulation | None = None

    @property
    def lost(self) -> Bools:
        return self.expected & np.isnan(self.score)


def collect(
    protocol: StudyProtocol,
    study: ReaderStudy,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
) -> Read:
    """The readings of every reader with each treatment, aligned with the cases.

    Raises
    ------
    InputError
        If a condition has no readings, readers differ between conditions, a case has no established reference
        standard, or reading times are asked for that are not there or below 0.
    """
    treatments = (study.test,) if study.control is None else (study.test, study.control)
    raters = predictions["rater"].astype(str)
    conditions = predictions["condition"].astype(object).where(predictions["condition"].notna(), "").astype(str)
    made = raters != DEVICE
    known = sorted(set(conditions[made]))
    for treatment in treatments:
        if treatment not in known:
            raise InputError(
                f"no reading has the condition '{treatment}'",
                hint=f"Conditions recorded: {', '.join(known) or 'none'}. Correct readers.test and readers.control.",
            )
    names = tuple(sorted(set(raters[made & conditions.isin(treatments)])))
    absent = [(n, t) for n in names for t in treatments if not (made & (raters == n) & (conditions == t)).any()]
    if absent:
        raise InputError(
            f"{len(absent)} readers have no readings with one of the treatments: "
            + ", ".join(f"{n} ({t})" for n, t in absent[:5]),
            hint="Each reader reads with every treatment; leave a reader out who did not.",
        )

    def aligned(rows: pd.Series[bool]) -> tuple[Population, Bools, LesionPopulation | None]:
        own = predictions[rows].set_index("case_id", drop=False)
        there = np.isin(case_id, own.index.to_numpy(dtype=str))
        whole = own.reindex(list(case_id))
        whole["case_id"] = list(case_id)
        whole["status"] = whole["status"].astype(object).where(there, "failed")
        cases: dict[str, Any] = {"case_id": case_id, "patient_id": patient_id, "frame": frame}
        cases["predictions"] = whole.reset_index(drop=True)
        if protocol.task.kind != "detection":
            return build_population(protocol, **cases), there, None
        marks = build_lesion_population(protocol, **cases)
        return _by_highest_mark(marks), there, marks

    scores = np.empty((len(treatments), len(names), len(case_id)))
    recorded = np.empty(scores.shape, dtype=np.bool_)
    if study.seconds is not None and study.seconds not in predictions.columns:
        raise InputError(
            f"the readings have no column '{study.seconds}'", hint="Correct readers.seconds, or record the times."
        )
    seconds = None if study.seconds is None else np.full(scores.shape, np.nan)
    base: Population | None = None
    marks: list[list[LesionPopulation]] = [[] for _ in treatments]
    for t, treatment in enumerate(treatments):
        for r, name in enumerate(names):
            population, recorded[t, r], marked = aligned(made & (raters == name) & (conditions == treatment))
            scores[t, r] = population.score
            if marked is not None:
                marks[t].append(marked)
            if seconds is not None:
                own = predictions[made & (raters == name) & (conditions == treatment)].set_index("case_id")
                seconds[t, r] = own[study.seconds].reindex(list(case_id)).to_numpy(dtype=np.float64)
            base = base or population
    assert base is not None
    unresolved = int((~base.has_reference).sum())
    if unresolved:
        raise InputError(
            f"{unresolved} of {base.n} cases have no established reference standard",
            hint="A reader study is of cases whose truth is known: lock a set without the others.",
        )
    if seconds is not None and (wrong := int(((seconds < 0) | np.isinf(seconds)).sum())):
        raise InputError(f"{wrong} reading times are below 0 or infinite", hint="Correct the recorded times.")
    alone = ~made & (conditions == "") & (predictions["status"] == "ok")
    device, _, device_marks = aligned(~made & (conditions == "")) if bool(alone.any()) else (None, None, None)
    usable: Bools = np.asarray((~np.isnan(scores)).reshape(-1, len(case_id)).any(axis=0))
    status: tuple[CaseStatus, ...] = tuple("ok" if there else "failed" for there in usable)
    return Read(
        base=replace(base, status=status, has_output=usable),
        treatments=treatments,
        names=names,
        score=scores,
        expected=np.ones(scores.shape, dtype=np.bool_) if study.design == "crossed" else recorded,
        device=None if device is None else device.score,
        seconds=seconds,
        marks=tuple(map(tuple, marks)) if marks[0] else None,
        device_marks=device_marks,
    )


def _by_highest_mark(marks: LesionPopulation) -> Population:
    """The cases with the score of their highest mark as their rating; those with a lesion are positive."""
    highest = marks.seen("exclude", None).highest()
    return Population(
        case_id=marks.case_id,
        patient_index=marks.patient_index,
        n_patients=marks.n_patients,
        positive=marks.abnormal,
        has_reference=marks.has_reference,
        reference_class=marks.reference_class,
        has_output=marks.has_output,
        status=marks.status,
        score=np.where(marks.has_output, highest, np.nan),
        is_probability=False,
    )
