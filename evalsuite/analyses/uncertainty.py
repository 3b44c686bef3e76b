"""Does the device know when it may be wrong: errors among its surest cases; sets and unfamiliar cases stand beside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from evalsuite.analyses.answers import Answers, answers_of, output_columns
from evalsuite.analyses.classes import ClassPopulation
from evalsuite.analyses.common import Cell, Results, cells_of
from evalsuite.analyses.conformal_sets import conformal_figures
from evalsuite.analyses.cuts import two_sided_level
from evalsuite.analyses.population import Floats, Population
from evalsuite.analyses.resampling import Resampling
from evalsuite.analyses.unfamiliar import outlier_figures
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.protocol.uncertainty import Selective
from evalsuite.stats._resampled import Material, Parts, Statistic, resampled
from evalsuite.stats.bootstrap_interval import BootstrapMethod
from evalsuite.stats.selective import selective_counted
from evalsuite.testset.strata import StratumLabels, assign_strata
from evalsuite.types import Curve, Estimate, Finding

ANALYSIS = "uncertainty"
ENDPOINT = "selective prediction"
#: BCa would leave out every patient in turn and rank all others anew: hours in a large set.
INTERVAL: BootstrapMethod = "percentile"
#: Where the drawn curve is computed.
_GRID = tuple(round(0.05 * k, 2) for k in range(1, 21))


def uncertainty_figures(
    protocol: StudyProtocol,
    population: Population | ClassPopulation,
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
) -> Results:
    """What `analyses.uncertainty` asks for; nothing without the block.

    Cases without a usable output or an established reference are left out, and counted in a note. No criterion is
    judged on any of it.

    Raises
    ------
    InputError
        If an output, a column or a group that the block names is not there, or a patient is in both parts of a split.
    """
    asked = protocol.analyses.uncertainty
    if asked is None:
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=())
    at = asked.selective.at if asked.selective is not None else None
    answers = answers_of(protocol, population, patient_id, at)
    labels = assign_strata(frame, protocol.strata)
    made = []
    if asked.selective is not None:
        made.append(_selective(protocol, asked.selective, answers, labels, predictions))
    if asked.conformal is not None:
        made.append(conformal_figures(protocol, asked.conformal, answers, labels, frame))
    if asked.outliers is not None:
        made.append(outlier_figures(protocol, asked.outliers, answers, labels, frame, predictions))
    return Results(
        findings=tuple(f for m in made for f in m.findings),
        curves=tuple(c for m in made for c in m.curves),
        accounting=(),
        tests=tuple(t for m in made for t in m.tests),
        notes=(*_left_out(answers), *(n for m in made for n in m.notes)),
    )


def _left_out(answers: Answers) -> Iterator[str]:
    lost = answers.n - int(answers.settled.sum())
    if lost:
        yield (
            f"Uncertainty: {lost} of {answers.n} cases have no usable output or no established reference and are left "
            "out of its figures."
        )


def confidence_of(asked: Selective, answers: Answers, predictions: pd.DataFrame) -> Floats:
    """(n,) how sure the device is, higher is surer; NaN where not known."""
    if asked.confidence is None:
        return answers.sure
    key = "analyses.uncertainty.selective.confidence"
    _, table = output_columns(predictions, [asked.confidence], key)
    return np.asarray(table[:, 0] if asked.higher_is == "surer" else -table[:, 0])


def _selective(
    protocol: StudyProtocol,
    asked: Selective,
    answers: Answers,
    labels: Mapping[str, StratumLabels],
    predictions: pd.DataFrame,
) -> Results:
    sure = confidence_of(asked, answers, predictions)
    counts = answers.settled & np.isfinite(sure)
    cells = cells_of(labels, answers.n)
    grid = tuple(dict.fromkeys((*asked.coverages, *_GRID)))
    rows = _estimates(protocol, answers, sure, counts, cells, grid)
    findings: list[Finding] = []
    for cell, row in zip(cells, rows, strict=True):
        named: list[tuple[str, str | None, Estimate]] = [("aurc", None, row[0]), ("excess_aurc", None, row[1])]
        named += [("selective_risk", f"coverage {c:g}", row[2 + grid.index(c)]) for c in asked.coverages]
        findings += [
            Finding(
                analysis=ANALYSIS,
                endpoint=ENDPOINT,
                metric=metric,
                role="secondary",
                target=None,
                operating_point=answers.point,
                stratum=dict(cell.stratum),
                condition=condition,
                estimate=estimate,
            )
            for metric, condition, estimate in named
        ]
    notes = []
    lost = int((answers.settled & ~np.isfinite(sure)).sum())
    if lost:
        notes.append(f"Selective prediction: {lost} cases have no confidence and are left out of its figures.")
    drawn = [(c, rows[0][2 + grid.index(c)]) for c in _GRID]
    return Results(findings=tuple(findings), curves=tuple(_curves(drawn)), accounting=(), tests=(), notes=tuple(notes))


def _estimates(
    protocol: StudyProtocol,
    answers: Answers,
    sure: Floats,
    counts: np.ndarray,
    cells: tuple[Cell, ...],
    grid: tuple[float, ...],
) -> list[list[Estimate]]:
    """`[cell][aurc, excess, risk at each coverage]`; a small group is not assessable."""
    level = two_sided_level(protocol.confidence)
    draw = Resampling.of(protocol, answers.patient_index).draw
    material = Material(counted={"selective": selective_counted(draw, answers.wrong, sure, grid)})

    def column(j: int) -> Statistic:
        def value(parts: Parts) -> Floats:
            return np.asarray(parts.counted["selective"][:, j])

        return Statistic(value=value, reason=lambda parts: "no cases")

    masks = np.array([cell.mask & counts for cell in cells])
    found = resampled(
        draw, material, [column(j) for j in range(2 + len(grid))], masks=masks, level=level, method=INTERVAL
    )
    least = protocol.small_strata.suppress_below
    return [
        [_small(e, least, level) for e in row] if not cell.whole and mask.sum() < least else row
        for cell, mask, row in zip(cells, masks, found, strict=True)
    ]


def _small(estimate: Estimate, least: int, level: float) -> Estimate:
    reason = f"not assessable: {estimate.n} cases, fewer than {least}"
    return Estimate.not_estimable(reason, n=estimate.n, level=level, n_patients=estimate.n_patients)


def _curves(drawn: list[tuple[float, Estimate]]) -> Iterator[Curve]:
    """The risk-coverage curve, and its band over the coverages that have one."""
    known = [(c, e) for c, e in drawn if e.value is not None]
    if not known:
        return

    def curve(series: str, points: list[tuple[float, Estimate]], *, band: bool) -> Curve:
        return Curve(
            analysis=ANALYSIS,
            metric="selective_risk",
            kind="risk_coverage",
            series=series,
            x=tuple(c for c, _ in points),
            y=tuple(float(e.value or 0.0) for _, e in points),
            low=tuple(float(e.low or 0.0) for _, e in points) if band else None,
            high=tuple(float(e.high or 0.0) for _, e in points) if band else None,
            n=known[0][1].n,
            method=f"{known[0][1].method}, pointwise",
        )

    banded = [(c, e) for c, e in known if e.low is not None]
    yield curve("device", known, band=False)
    if len(banded) > 1:
        yield curve("band", banded, band=True)
