"""The order in which the labels of a set arrived: what is looked at again and again is looked at in this order."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalsuite.errors import InputError, Problem
from evalsuite.protocol.checks import SEQUENCE
from evalsuite.protocol.schema import StudyProtocol

#: Column of the case table with the time at which a case's reference standard became known.
LABELLED_AT = "labelled_at"
_SHOWN = 20


def arrival_order(protocol: StudyProtocol, frame: pd.DataFrame, case_id: tuple[str, ...]) -> NDArray[np.intp] | None:
    """Positions of the cases in the order of their labels; None where the order of the case table is that order.

    It matters to protocols that ask for limits at every look (`interval: sequence`). The column `labelled_at` has times
    in ISO 8601, those without a zone being UTC; cases without one come last, equal times keep the table's order.

    Raises
    ------
    InputError
        If a cell is no such time; cases are named, cells are not.
    """
    if LABELLED_AT not in frame.columns or all(e.interval != SEQUENCE for e in protocol.endpoints):
        return None
    seconds, wrong = np.full(len(frame), np.inf), []
    for i, cell in enumerate(frame[LABELLED_AT]):
        text = str(cell).strip()
        if not text:
            continue
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            wrong.append(case_id[i])
            continue
        seconds[i] = (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    if wrong:
        raise InputError(
            f"{len(wrong)} cells of '{LABELLED_AT}' are not a time.",
            problems=[Problem("not a time in ISO 8601", f"case {c}") for c in wrong[:_SHOWN]],
            hint="For example 2026-03-31 or 2026-03-31T14:05:00+02:00; leave it empty where there is no label.",
        )
    return np.argsort(seconds, kind="stable")


def by_patient(
    success: NDArray[np.bool_], patient: NDArray[np.int64], weight: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64] | None]:
    """Successes, cases and weight of each patient, in the order in which patients are complete.

    `success`, `patient` and `weight` (the same for all cases of a patient), shape (cases,), are in the order of the
    labels' arrival; a patient is complete with their last case.
    """
    last = {int(p): i for i, p in enumerate(patient)}
    order = np.array(sorted(last, key=lambda p: last[p]), dtype=np.intp)
    good = np.asarray(np.bincount(patient, weights=success)[order], dtype=np.float64)
    cases = np.asarray(np.bincount(patient)[order], dtype=np.int64)
    if weight is None:
        return good, cases, None
    return good, cases, weight[[last[int(p)] for p in order]]
