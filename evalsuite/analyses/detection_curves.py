"""The FROC curve of the whole set and of every group of cases, with a band from resampled patients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from evalsuite.analyses.common import cells_of
from evalsuite.analyses.lesion_population import LesionPopulation
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.population import Bools, OutputPolicy
from evalsuite.analyses.resampling import Resampling
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats._resampled import read, replicated
from evalsuite.stats.bootstrap_interval import TITLES
from evalsuite.stats.detection import froc_band, froc_curve
from evalsuite.stats.draw import PatientDraw
from evalsuite.testset.strata import StratumLabels
from evalsuite.types import Curve

MOST_POINTS = 200
MOST_REPLICATES = 500


def froc_curves(
    protocol: StudyProtocol,
    population: LesionPopulation,
    resampling: Resampling,
    labels: Mapping[str, StratumLabels],
) -> tuple[Curve, ...]:
    """One curve per group that has enough lesions to be assessed; the band is of the whole set alone.

    Cases without output count as in the primary analysis, but for marks that nobody counted: a case without output has
    no false positive in the picture, and its lesions are not found.
    """
    return (*_curves(protocol, population, resampling, labels), *_across_overlaps(protocol, population))


def _across_overlaps(protocol: StudyProtocol, p: LesionPopulation) -> Iterator[Curve]:
    """Sensitivity per lesion over the smallest overlap that counts, at every operating point; no interval."""
    asked = protocol.missing_outputs.primary
    kept = p.included(asked)[p.lesion_case]
    if not p.across or not kept.any():
        return
    for point in protocol.operating_points:
        shares = []
        for other in p.across:
            score = other.lesion_score[kept]
            shares.append(
                float((score > point.threshold if point.comparison == ">" else score >= point.threshold).mean())
            )
        yield Curve(
            analysis="detection",
            metric="lesion_sensitivity",
            kind="overlap",
            operating_point=point.name,
            x=tuple(other.overlap for other in p.across),
            y=tuple(shares),
            n=int(kept.sum()),
            method="sensitivity per lesion over the smallest intersection over union that counts as found",
        )


def _curves(
    protocol: StudyProtocol,
    population: LesionPopulation,
    resampling: Resampling,
    labels: Mapping[str, StratumLabels],
) -> Iterator[Curve]:
    outputs: OutputPolicy = protocol.missing_outputs.primary
    seen = population.seen(outputs, 0.0)
    for cell in cells_of(labels, population.n):
        mask = cell.mask & population.included(outputs)
        lesions = int(mask[seen.lesion_case].sum())
        if not lesions or (not cell.whole and lesions < protocol.small_strata.suppress_below):
            continue
        curve = froc_curve(seen, mask=mask)
        keep = _thin(len(curve.threshold))
        x, y = curve.false_per_case[keep], curve.sensitivity[keep]
        low = high = method = None
        if cell.whole:
            low, high, method = _band(protocol, population, resampling, mask, x, y)
        yield Curve(
            analysis="detection",
            metric="froc_sensitivity",
            kind="froc",
            stratum=dict(cell.stratum),
            x=tuple(map(float, x)),
            y=tuple(map(float, y)),
            low=low,
            high=high,
            n=lesions,
            method=method or "sensitivity per lesion over false positives per case",
        )


def _band(
    protocol: StudyProtocol,
    population: LesionPopulation,
    resampling: Resampling,
    mask: Bools,
    x: np.ndarray,
    y: np.ndarray,
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None, str | None]:
    """Pointwise limits at the false positives per case that are drawn; none where too few replicates have a curve."""
    rates = np.unique(x[x > 0.0])
    if not rates.size:
        return None, None, None
    draw = resampling.draw
    if draw.replicates > MOST_REPLICATES:
        draw = PatientDraw(draw.cluster, MOST_REPLICATES, draw.seed)
    seen = population.seen(protocol.missing_outputs.primary, 0.0)
    asked = froc_band(draw, seen, rates.tolist())
    table = replicated(draw, asked.material, asked.statistics, masks=mask[None], with_jackknife=False)
    found = read(table, level=two_sided_level(protocol.confidence), method="percentile")[0]
    at = np.searchsorted(rates, x)
    low, high = [], []
    for i, (rate, value) in enumerate(zip(x, y, strict=True)):
        # Without a false positive there is no stretch of the curve to resample: the band begins at its own point.
        e = None if rate == 0.0 else found[int(at[i])]
        low.append(float(value) if e is None or e.low is None else min(e.low, float(value)))
        high.append(float(value) if e is None or e.high is None else max(e.high, float(value)))
    title = f"patient bootstrap, {TITLES['percentile']}, B={draw.replicates}, pointwise"
    return tuple(low), tuple(high), title


def _thin(n: int) -> np.ndarray:
    if n <= MOST_POINTS:
        return np.arange(n)
    return np.unique(np.linspace(0, n - 1, MOST_POINTS).round().astype(np.int64))
