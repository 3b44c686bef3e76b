"""Known sizes measured repeatedly: deviation from linearity at each, and the smallest that is measured precisely."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from evalsuite.analyses.common import Results
from evalsuite.analyses.measurement_population import MeasurementPopulation
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.population import Bools
from evalsuite.protocol.blocks import LinearityStudy
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.linearity import Linearity, limit_of_quantitation, linearity
from evalsuite.types import Estimate, Finding, TestOutcome

ANALYSIS = "linearity"


def linear_range(protocol: StudyProtocol, population: MeasurementPopulation) -> Results:
    """What `analyses.linearity` asks for, of the whole set; nothing without it.

    Findings of endpoint "linearity": the deviation at each level (metric "deviation", condition "level=VALUE"), the
    largest ("nonlinearity") and the slope of the line ("slope"); with a goal for the precision also each level's
    coefficient of variation ("level_cv") and the "limit_of_quantitation", condition None by the estimates, "assured" by
    their upper limits. Tests are those of the nonlinear coefficients. Cases without an output or a reference are left
    out, which a note says.
    """
    asked = protocol.analyses.linearity
    if asked is None:
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=())
    level = two_sided_level(protocol.confidence)
    both = population.both
    found = bent(asked, population, both, level)
    people = len(np.unique(population.patient_index[both]))
    findings = list(_findings(protocol, asked, population, found, level))
    notes = []
    if not both.all():
        notes.append(
            f"{int((~both).sum())} cases without an output or a reference are not in the figures of linearity."
        )
    if people < int(both.sum()):
        notes.append("Figures of linearity take repeated measurements as independent, those of one patient included.")
    tests = tuple(
        TestOutcome(
            name=t.name,
            statistic=t.statistic,
            p_value=t.p_value,
            method=t.method,
            endpoint=ANALYSIS,
            undefined=t.undefined,
        )
        for t in found.tests
    )
    of_patients = tuple(replace(f, estimate=replace(f.estimate, n_patients=people)) for f in findings)
    return Results(findings=of_patients, curves=(), accounting=(), tests=tests, notes=tuple(notes))


def bent(asked: LinearityStudy, population: MeasurementPopulation, mask: Bools, level: float) -> Linearity:
    """Deviation from linearity of the cases of `mask`, all of which have an output and a reference."""
    device, reference = population.device[mask], population.reference[mask]
    return linearity(device, reference, levels=asked.levels, level=level)


def _findings(
    protocol: StudyProtocol, asked: LinearityStudy, population: MeasurementPopulation, found: Linearity, level: float
) -> Iterator[Finding]:
    for at, e in zip(found.levels, found.deviations, strict=True):
        yield _finding(protocol, "deviation", e, f"level={at:g}")
    yield _finding(protocol, "nonlinearity", found.largest)
    yield _finding(protocol, "slope", found.slope)
    if asked.cv_goal is None:
        return
    both = population.both
    precise = limit_of_quantitation(population.device[both], population.reference[both], asked.cv_goal, level=level)
    for at, e in zip(precise.levels, precise.precision, strict=True):
        yield _finding(protocol, "level_cv", e, f"level={at:g}")
    yield _finding(protocol, "limit_of_quantitation", precise.limit)
    yield _finding(protocol, "limit_of_quantitation", precise.assured, "assured")


def _finding(protocol: StudyProtocol, metric: str, estimate: Estimate, condition: str | None = None) -> Finding:
    return Finding(
        analysis=ANALYSIS,
        endpoint=ANALYSIS,
        metric=metric,
        role="descriptive",
        target=str(protocol.task.reference),
        operating_point=None,
        condition=condition,
        estimate=estimate,
    )
