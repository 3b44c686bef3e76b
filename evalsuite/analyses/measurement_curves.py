"""What a report draws of a measurement: the Bland-Altman plot and device against reference, points and lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from evalsuite.analyses.common import Cell, cells_of
from evalsuite.analyses.measurement_population import MeasurementPopulation
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.population import Bools, Floats, Ints
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.agreement import bland_altman
from evalsuite.stats.method_comparison import deming
from evalsuite.testset.strata import StratumLabels
from evalsuite.types import Curve, Estimate

#: More points than this cannot be told apart on paper; thinning keeps the ends and evenly spaced ranks between.
MAX_POINTS = 2000


def agreement_curves(
    protocol: StudyProtocol, population: MeasurementPopulation, labels: Mapping[str, StratumLabels]
) -> tuple[Curve, ...]:
    """Bland-Altman lines of every cell that is large enough; points, and device against reference, of the whole set.

    Only cases with both an output and a reference are drawn.
    """
    made: list[Curve] = []
    for cell in cells_of(labels, population.n):
        mask = cell.mask & population.both
        if int(mask.sum()) < (2 if cell.whole else max(2, protocol.small_strata.suppress_below)):
            continue
        made += _bland_altman(protocol, population, cell, mask)
        if cell.whole:
            made += _scatter(protocol, population, mask)
    return tuple(made)


def _bland_altman(protocol: StudyProtocol, p: MeasurementPopulation, cell: Cell, mask: Bools) -> Iterator[Curve]:
    device, reference, patient = p.device[mask], p.reference[mask], p.patient_index[mask]
    size, gap = (device + reference) / 2.0, device - reference
    n = len(gap)
    if cell.whole:
        keep = _thin(size)
        yield Curve(
            analysis="performance",
            metric="bias",
            kind="bland_altman",
            series="cases",
            x=_floats(size[keep]),
            y=_floats(gap[keep]),
            n=n,
            method="device − reference over their mean, one point per case"
            + (f"; {MAX_POINTS} of {n} cases drawn" if len(keep) < n else ""),
        )
    fit = bland_altman(device, reference, patient=patient, level=two_sided_level(protocol.confidence))
    ends = (float(size.min()), float(size.max()))
    for series, metric, estimate in (
        ("bias", "bias", fit.bias),
        ("lower limit", "loa_lower", fit.lower_limit),
        ("upper limit", "loa_upper", fit.upper_limit),
    ):
        line = _level_line(metric, series, cell, ends, estimate, n)
        if line is not None:
            yield line


def _level_line(
    metric: str, series: str, cell: Cell, ends: tuple[float, float], estimate: Estimate, n: int
) -> Curve | None:
    if estimate.value is None:
        return None
    low, high = estimate.low, estimate.high
    return Curve(
        analysis="performance",
        metric=metric,
        kind="bland_altman",
        stratum=dict(cell.stratum),
        series=series,
        x=ends,
        y=(estimate.value, estimate.value),
        low=None if low is None else (low, low),
        high=None if high is None else (high, high),
        n=n,
        method=estimate.method,
    )


def _scatter(protocol: StudyProtocol, p: MeasurementPopulation, mask: Bools) -> Iterator[Curve]:
    device, reference = p.device[mask], p.reference[mask]
    keep = _thin(reference)
    n = len(reference)
    ends = np.array([reference.min(), reference.max()])
    yield Curve(
        analysis="performance",
        metric="deming_slope",
        kind="scatter",
        series="cases",
        x=_floats(reference[keep]),
        y=_floats(device[keep]),
        n=n,
        method="device over reference, one point per case"
        + (f"; {MAX_POINTS} of {n} cases drawn" if len(keep) < n else ""),
    )
    yield Curve(
        analysis="performance",
        metric="deming_slope",
        kind="scatter",
        series="identity",
        x=_floats(ends),
        y=_floats(ends),
        method="perfect agreement",
    )
    line = deming(device, reference, patient=p.patient_index[mask], level=two_sided_level(protocol.confidence))
    if line.slope.value is not None and line.intercept.value is not None:
        yield Curve(
            analysis="performance",
            metric="deming_slope",
            kind="scatter",
            series="Deming line",
            x=_floats(ends),
            y=_floats(line.intercept.value + line.slope.value * ends),
            n=n,
            method="Deming regression, equal error variances",
        )


def _thin(values: Floats) -> Ints:
    """Indices of at most MAX_POINTS cases: evenly spaced ranks of `values`, in lock order."""
    if len(values) <= MAX_POINTS:
        return np.arange(len(values))
    ranks = np.unique(np.linspace(0, len(values) - 1, MAX_POINTS).round().astype(np.int64))
    return np.sort(np.argsort(values, kind="stable")[ranks])


def _floats(values: Floats) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
