"""A drift audit: has the world changed since the baseline, has the device, and is it still good enough to use?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evalsuite.analyses.common import Results
from evalsuite.analyses.drift_charts import control_charts
from evalsuite.analyses.drift_inputs import compare_inputs
from evalsuite.analyses.drift_labels import label_indicators, late_cases
from evalsuite.analyses.drift_log import change_log
from evalsuite.analyses.drift_performance import differences, watch
from evalsuite.analyses.drift_periods import (
    EarlierAudit,
    Figure,
    Former,
    Period,
    call_threshold,
    calls,
    chosen_for_labels,
)
from evalsuite.analyses.drift_unlabelled import carried_by, without_labels
from evalsuite.analyses.drift_versions import versions
from evalsuite.analyses.population import WEIGHT, Population
from evalsuite.errors import InputError, Problem
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.unlabelled import BLIND

#: Figures of every audit that have a control chart beside those of the monitored endpoints.
CALL_RATE, UNUSABLE = "share called positive", "share without usable output"


def drift_analysis(
    protocol: StudyProtocol,
    *,
    baseline: Period,
    window: Period,
    labelled: Period,
    earlier: Sequence[EarlierAudit] = (),
    former: Former | None = None,
) -> Results:
    """Findings, curves and tests of one audit.

    Parameters
    ----------
    baseline, window
        All cases of each, as they were.
    labelled
        The window's cases that were chosen to be labelled, in the order in which labels arrived.
    earlier
        What the deployment's audits before this one left, in their order.
    former
        Outputs of the version that was replaced, on the cases of both periods: how much of a change is the model's.

    The table of limits is in the findings of metrics "indicator_…": the status is the condition, the limits are the
    method. Only detectors and tests of inputs and outputs spend the budget of false alarms.

    Raises
    ------
    InputError
        If a numeric covariate has cells that are no numbers, or an embedding's outputs are not there.
    """
    asked = protocol.analyses.drift
    assert asked is not None, "the protocol's checks require it"
    late = late_cases(window, earlier)
    new = window.only(~late) if late.any() else window
    before, now = baseline.population(protocol), new.population(protocol)
    inputs = compare_inputs(protocol, baseline, new, (before, now))
    apart = differences(protocol, baseline, labelled)
    watched = watch(protocol, baseline, labelled, earlier, apart)
    figures = {**watched.figures, **_rates(protocol, before, now)}
    chart_findings, chart_curves, chart_lines = control_charts(asked.charts, figures, earlier)
    expected = without_labels(protocol, before, now)
    awaited = label_indicators(protocol, window, late, earlier)
    lines = (*inputs.indicators, *awaited, *watched.indicators, *chart_lines)
    notes = list(inputs.notes)
    if late.any():
        notes.append(
            f"{int(late.sum())} cases are of earlier windows and have their labels since: they are of this audit's "
            "performance, and not of its inputs and outputs."
        )
    if labelled.n < window.n:
        notes.append(
            f"{labelled.n} of {window.n} cases of the window were chosen to be labelled; performance is of those, "
            "inputs and outputs are of all."
        )
    if expected:
        notes.append(f"Performance without labels: {BLIND}")
    shared = len(set(baseline.patient_id) & set(window.patient_id))
    if shared:
        notes.append(f"{shared} patients have cases in both periods and count as one patient in each.")
    return Results(
        findings=(
            *(line.finding() for line in lines),
            *change_log(lines, earlier),
            *inputs.findings,
            *apart,
            *watched.findings,
            *chart_findings,
            *expected,
            *carried_by(protocol, baseline, labelled),
            *(() if former is None else versions(protocol, baseline, labelled, former)),
        ),
        curves=(*watched.curves, *chart_curves),
        accounting=(),
        tests=(*inputs.tests, *watched.tests),
        notes=tuple(notes),
    )


def _rates(protocol: StudyProtocol, before: Population, now: Population) -> dict[str, tuple[Figure, Figure]]:
    """How often the device calls, and how often it gives nothing, in both periods."""
    out = {UNUSABLE: tuple(Figure(value=float((~p.has_output).mean()), n=p.n) for p in (before, now))}
    threshold = call_threshold(protocol)
    if threshold is not None and before.has_output.any() and now.has_output.any():
        out[CALL_RATE] = tuple(
            Figure(value=float(calls(p, threshold)[p.has_output].mean()), n=int(np.count_nonzero(p.has_output)))
            for p in (before, now)
        )
    return {name: (pair[0], pair[1]) for name, pair in out.items()}


def for_performance(protocol: StudyProtocol, window: Period) -> Period:
    """The cases that performance is of: those chosen to be labelled.

    Where none was chosen it is all of them, none with a reference standard: then nothing can be concluded, which the
    worst case says. Raises InputError as `chosen_for_labels`.
    """
    chosen = chosen_for_labels(protocol, window.frame)
    if chosen.any():
        made = window if chosen.all() else window.only(chosen)
        _require_weights(protocol, made)
        return made
    return replace(window, frame=window.frame.assign(**{str(protocol.task.reference): ""}))


def _require_weights(protocol: StudyProtocol, labelled: Period) -> None:
    """InputError where labels were sampled and a weight is absent, above the largest, or not the same in a patient."""
    asked = protocol.analyses.drift
    if asked is None or asked.largest_weight is None:
        return
    if WEIGHT not in labelled.frame.columns:
        raise InputError(
            f"The protocol asks for sampling weights, and the window has no column '{WEIGHT}'.",
            hint=f"'{WEIGHT}' is the inverse of a case's chance of being chosen to be labelled; or remove "
            "analyses.drift.largest_weight.",
        )
    first: dict[str, float] = {}
    problems = []
    for case, patient, cell in zip(labelled.case_id, labelled.patient_id, labelled.frame[WEIGHT], strict=True):
        weight = float(str(cell))
        if weight > asked.largest_weight * (1.0 + 1e-12):
            problems.append(Problem(f"a weight above the largest, {asked.largest_weight:g}", f"case {case}"))
        elif first.setdefault(patient, weight) != weight:
            problems.append(Problem("another weight than an earlier case of the same patient", f"case {case}"))
    if problems:
        raise InputError(
            f"{len(problems)} sampling weights cannot be used.",
            problems=problems[:20],
            hint="Patients are chosen, with all their cases; the largest weight is fixed before the first audit.",
        )


def with_audit(results: Results, audit: Results) -> Results:
    """The results of a window's performance with those of the audit beside them."""
    return replace(
        results,
        findings=(*results.findings, *audit.findings),
        curves=(*results.curves, *audit.curves),
        tests=(*results.tests, *audit.tests),
        notes=(*results.notes, *audit.notes),
    )
