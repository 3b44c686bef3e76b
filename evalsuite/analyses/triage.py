"""Waiting time a triage device saves: its sensitivity and specificity here, in the reading room assumed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from evalsuite.analyses.binary_questions import not_assessable, with_counts
from evalsuite.analyses.common import Cell, Results
from evalsuite.analyses.cuts import cut, two_sided_level
from evalsuite.analyses.metrics import COMPUTABLE
from evalsuite.analyses.population import Population
from evalsuite.analyses.resampling import at_level
from evalsuite.analyses.views import primary_view
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.protocol.triage import Triage
from evalsuite.stats.queueing import Discipline, triage_benefit
from evalsuite.stats.queueing_simulation import simulated_saving
from evalsuite.types import Curve, Estimate, Finding

ANALYSIS = "triage"
SIMULATED = "wait_saved_simulated"
#: Loads of the curve: from a quiet room to one that hardly keeps up.
_LOADS = np.round(np.linspace(0.05, 0.9, 35), 6)


def triage_figures(protocol: StudyProtocol, population: Population) -> Results:
    """Waits with and without the device, by discipline, and the wait saved over arrivals; nothing where not asked for.

    Findings of the whole set, their `condition` the discipline (see `evalsuite.stats.queueing.triage_benefit`), under
    the protocol's primary assumptions about what is missing. No criterion is judged on them.
    """
    asked = protocol.analyses.triage
    if asked is None:
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=())
    level = two_sided_level(protocol.confidence)
    sensitivity, specificity = (
        _share(protocol, population, m, asked.at, level) for m in ("sensitivity", "specificity")
    )
    n_patients = population.n_patients
    findings: list[Finding] = []
    curves: list[Curve] = []
    for discipline in asked.disciplines:
        figures = triage_benefit(asked.room(), sensitivity, specificity, discipline=discipline, level=level)
        simulated = _simulated(protocol, asked, sensitivity, specificity, discipline)
        findings += [
            Finding(
                analysis=ANALYSIS,
                endpoint=f"triage at {asked.at}",
                metric=metric,
                role="secondary",
                target=str(protocol.task.reference),
                operating_point=asked.at,
                condition=discipline,
                estimate=replace(estimate, n_patients=n_patients),
            )
            for metric, estimate in (*figures.items(), *simulated)
        ]
        curves += _over_arrivals(asked, sensitivity, specificity, discipline, level)
    note = (
        "Waiting times are worked out for the reading room the protocol assumes (analyses.triage), not observed; their "
        "intervals hold the uncertainty of sensitivity and specificity only."
    )
    if not asked.room().exact:
        note += (
            " Several readers with unequal reading times have no exact wait: the figures are an approximation, and "
            f"{SIMULATED} is what a simulated room gives at the same sensitivity and specificity."
        )
    return Results(findings=tuple(findings), curves=tuple(curves), accounting=(), tests=(), notes=(note,))


def _simulated(
    protocol: StudyProtocol, asked: Triage, sensitivity: Estimate, specificity: Estimate, discipline: Discipline
) -> Iterator[tuple[str, Estimate]]:
    """The wait saved in a simulated room, where the formulas are approximate: how near they are."""
    room = asked.room()
    if room.exact or sensitivity.value is None or specificity.value is None:
        return
    yield (
        SIMULATED,
        simulated_saving(
            room,
            sensitivity.value,
            specificity.value,
            discipline=discipline,
            level=two_sided_level(protocol.confidence),
            seed=protocol.seed,
        ),
    )


def _share(protocol: StudyProtocol, population: Population, metric: str, at: str, level: float) -> Estimate:
    """Sensitivity or specificity of the whole set at the level at which both hold together at `level`."""
    study = at_level(protocol, 1.0 - (1.0 - level) / 2.0)
    whole = Cell(stratum={}, mask=np.ones(population.n, dtype=bool))
    view = primary_view(study, population, metric, at, within=whole.mask)
    cases = cut(view, whole.mask, population.patient_index, study.confidence, seed=study.seed)
    known = COMPUTABLE[metric]
    reason = not_assessable(study, known, view, cases, whole)
    if reason is not None:
        return reason
    assert known.direct is not None, "shares of cases have a closed form"
    return with_counts(known.direct(cases, Endpoint(name=metric, metric=metric, at=at)), cases)


def _over_arrivals(
    asked: Triage, sensitivity: Estimate, specificity: Estimate, discipline: Discipline, level: float
) -> Iterator[Curve]:
    """Wait saved over arrivals per hour, up to where the readers hardly keep up."""
    per_load = asked.arrivals_per_hour / asked.room().load
    made = []
    for arrivals in _LOADS * per_load:
        room = asked.room(float(arrivals))
        figures = triage_benefit(room, sensitivity, specificity, discipline=discipline, level=level)
        made.append((float(arrivals), figures["wait_saved"]))
    known = [(x, e.value, e.low, e.high) for x, e in made if e.value is not None]
    if not known:
        return
    x, y, low, high = zip(*known, strict=True)
    yield Curve(
        analysis=ANALYSIS,
        metric="wait_saved",
        kind="wait_saved",
        series=discipline,
        operating_point=asked.at,
        x=tuple(x),
        y=tuple(y),
        low=tuple(low),
        high=tuple(high),
        n=made[0][1].n,
        method=made[0][1].method,
    )
