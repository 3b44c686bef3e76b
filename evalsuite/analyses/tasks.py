"""Which analysis answers which kind of task, and which metrics each of them computes."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from evalsuite.analyses import measurement, multiclass, multilabel, ordinal_task
from evalsuite.analyses.common import OnStep, Results
from evalsuite.analyses.metrics import COMPUTABLE
from evalsuite.analyses.performance import evaluate_binary
from evalsuite.protocol.schema import StudyProtocol


def computable() -> frozenset[str]:
    """Names of all metrics that some task's analysis computes; which task takes which is the catalogue's to say."""
    several = multiclass.COMPUTED | multilabel.COMPUTED | ordinal_task.COMPUTED
    return frozenset(COMPUTABLE) | several | measurement.COMPUTED


def evaluate_task(
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
    baseline: pd.DataFrame | None = None,
    on_step: OnStep | None = None,
) -> Results:
    """Every finding, curve, count and test of a protocol, by the analysis of its kind of task.

    `frame` (reference and stratum columns), `predictions` (rater "device") and, where the protocol compares with one,
    the `baseline`'s predictions have one row per case, in lock order.

    Raises
    ------
    InputError
        Where the reference is ambiguous or the score cannot be formed.
    ValueError
        For a kind of task without an analysis; the protocol's checks refuse it before.
    """
    analyses: dict[str, Callable[..., Results]] = {
        "binary": evaluate_binary,
        "multiclass": multiclass.evaluate_multiclass,
        "multilabel": multilabel.evaluate_multilabel,
        "ordinal": ordinal_task.evaluate_ordinal,
        "regression": measurement.evaluate_measurement,
    }
    if protocol.task.kind not in analyses:
        raise ValueError(f"no analysis of a {protocol.task.kind} task")
    more = {} if baseline is None else {"baseline": baseline}
    return analyses[protocol.task.kind](
        protocol, case_id=case_id, patient_id=patient_id, frame=frame, predictions=predictions, on_step=on_step, **more
    )
