"""The lines a report draws: ROC, precision-recall, reliability and score histograms, thinned but never smoothed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evalsuite.analyses.common import Cell
from evalsuite.analyses.metrics import Cut, cut, two_sided_level
from evalsuite.analyses.population import Bools, Floats, Ints, Population
from evalsuite.analyses.views import primary_view
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.precision_recall import precision_recall_curve
from evalsuite.stats.reliability import reliability_curve
from evalsuite.stats.roc import roc_band, roc_curve
from evalsuite.types import Curve

#: More vertices than this cannot be told apart on paper; thinning keeps the ends and evenly spaced vertices between.
MAX_POINTS = 500
_BAND_GRID = np.linspace(0.0, 1.0, 101)
_HISTOGRAM_BINS = 20
_CONSISTENCY_REPLICATES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One stratum cell: ranks under the primary policy, and scores of the cases with output and reference."""

    stratum: dict[str, str]
    rank: Cut
    score: Floats
    positive: Bools
    known: Bools
    patient_index: Ints
    is_probability: bool


def drawn(protocol: StudyProtocol, population: Population, cells: Sequence[Cell]) -> list[Drawn]:
    """What the curves are drawn from: ranks as in the primary analysis, probabilities of cases that have one."""
    made = []
    for cell in cells:
        if len(cell.stratum) > 1:
            continue  # curves of crossed strata are too thin to read; their estimates are in the tables
        rank = primary_view(protocol, population, "auroc", None, within=cell.mask)
        made.append(
            Drawn(
                stratum=dict(cell.stratum),
                rank=cut(rank, cell.mask, population.patient_index, protocol.confidence),
                score=population.score,
                positive=population.positive,
                known=cell.mask & population.has_output & population.has_reference,
                patient_index=population.patient_index,
                is_probability=population.is_probability,
            )
        )
    return made


def curves_of_targets(
    protocol: StudyProtocol, populations: Mapping[str, Population], cells: Sequence[Cell]
) -> tuple[Curve, ...]:
    """ROC and reliability curve of every class or label against the rest, in the whole set with their bands, and in
    every group that is large enough."""
    return tuple(
        replace(curve, target=name)
        for name, population in populations.items()
        for curve in curves(protocol, drawn(protocol, population, cells), seed=protocol.seed)
        if curve.kind in ("roc", "reliability")
    )


def curves(protocol: StudyProtocol, drawn: Sequence[Drawn], *, seed: int) -> tuple[Curve, ...]:
    """All curves of all cells; a cell too small to show (small_strata) or of one class has none."""
    made: list[Curve] = []
    small = protocol.small_strata.suppress_below
    for cell in drawn:
        enough = min(cell.rank.n_positive, cell.rank.n_negative) >= (small if cell.stratum else 1)
        if enough:
            made += _ranking(protocol, cell, seed=seed)
        if cell.known.any() and (enough or not cell.stratum):
            made += _scores(protocol, cell, seed=seed)
    return tuple(made)


def _ranking(protocol: StudyProtocol, cell: Drawn, *, seed: int) -> Iterator[Curve]:
    c = cell.rank
    line = roc_curve(c.reference, c.score)
    keep = _thin(line.fpr, line.tpr)
    yield Curve(
        analysis="performance",
        metric="auroc",
        kind="roc",
        stratum=cell.stratum,
        series="curve",
        x=_floats(line.fpr[keep]),
        y=_floats(line.tpr[keep]),
        n=len(c.reference),
        method="empirical",
    )
    if not cell.stratum:
        low, high = roc_band(
            c.reference,
            c.score,
            level=two_sided_level(protocol.confidence),
            grid_fpr=_BAND_GRID,
            replicates=min(1000, protocol.confidence.bootstrap.replicates),
            seed=seed,
            cluster=c.patient_index,
        )
        yield Curve(
            analysis="performance",
            metric="auroc",
            kind="roc",
            stratum=cell.stratum,
            series="band",
            x=_floats(_BAND_GRID),
            y=_floats(np.interp(_BAND_GRID, line.fpr, line.tpr)),
            low=_floats(low),
            high=_floats(high),
            n=len(c.reference),
            method="pointwise patient bootstrap of the sensitivity at each false-positive rate",
        )
        pr = precision_recall_curve(c.reference, c.score)
        keep = _thin(pr.recall, pr.precision)
        yield Curve(
            analysis="performance",
            metric="average_precision",
            kind="pr",
            x=_floats(pr.recall[keep]),
            y=_floats(pr.precision[keep]),
            n=len(c.reference),
            method="empirical",
        )


def _scores(protocol: StudyProtocol, cell: Drawn, *, seed: int) -> Iterator[Curve]:
    score, positive = cell.score[cell.known], cell.positive[cell.known]
    if cell.is_probability:
        probability = np.clip(score, 0.0, 1.0)
        line = reliability_curve(
            positive,
            probability,
            bins=10,
            scheme="equal_width",
            level=two_sided_level(protocol.confidence),
            cluster=cell.patient_index[cell.known],
            consistency=not cell.stratum,
            replicates=_CONSISTENCY_REPLICATES,
            seed=seed,
        )
        yield Curve(
            analysis="calibration",
            metric="ece",
            kind="reliability",
            stratum=cell.stratum,
            x=_floats(line.mean_probability),
            y=_floats(line.observed),
            low=_floats(line.low),
            high=_floats(line.high),
            n=tuple(int(k) for k in line.n),
            method="10 bins of equal width, " + line.method.replace("Wilson", "Wilson intervals", 1),
        )
        if line.consistency_low is not None and line.consistency_high is not None:
            yield Curve(
                analysis="calibration",
                metric="ece",
                kind="reliability",
                series="consistency",
                x=_floats(line.mean_probability),
                y=_floats(line.mean_probability),
                low=_floats(line.consistency_low),
                high=_floats(line.consistency_high),
                n=tuple(int(k) for k in line.n),
                method="what the observed share would be if every probability were right, outcomes drawn from the "
                f"probabilities {_CONSISTENCY_REPLICATES} times",
            )
    if cell.stratum:
        return
    low, high = (0.0, 1.0) if cell.is_probability else (float(score.min()), float(score.max()))
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _HISTOGRAM_BINS + 1)
    for series, chosen in (("positive", positive), ("negative", ~positive)):
        counts, _ = np.histogram(np.clip(score[chosen], low, high), bins=edges)
        yield Curve(
            analysis="performance",
            metric="score",
            kind="histogram",
            series=series,
            x=_floats((edges[:-1] + edges[1:]) / 2.0),
            y=_floats(counts),
            n=int(chosen.sum()),
            method=f"{_HISTOGRAM_BINS} bins of equal width; y is the number of cases",
        )


def _thin(x: NDArray[np.float64], y: NDArray[np.float64]) -> Ints:
    """Indices of the corners of a step line, at most MAX_POINTS of them, ends kept."""
    n = len(x)
    if n <= 2:
        return np.arange(n)
    turn = (np.diff(x[:-1]) * np.diff(y[1:])) != (np.diff(x[1:]) * np.diff(y[:-1]))
    corners = np.concatenate(([0], 1 + np.flatnonzero(turn), [n - 1]))
    if len(corners) > MAX_POINTS:
        corners = corners[np.unique(np.linspace(0, len(corners) - 1, MAX_POINTS).round().astype(int))]
    return corners


def _floats(values: NDArray[np.floating] | NDArray[np.integer]) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
