"""Intervals of calibration that resample or profile: recalibration, debiased and smooth errors, Brier score's parts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.coverage.designs import Population, patients, risk_population, risks
from benchmarks.coverage.study import FEWER, Answer, Cell, Family, grid
from evalsuite.stats import calibration, calibration_intervals
from evalsuite.types import Estimate

PAGE = "calibration"
REPLICATES = 500
FOLDED = "bootstrap for absolute values"


def _more(cell: Cell) -> str:
    return ", several cases per patient" if cell.cases > 1 else ""


def _parts(p: Population, bins: int = 10) -> dict[str, float]:
    """Murphy's parts over bins of equal width, by integration."""
    mass, gap = p.gaps(bins)
    index = np.minimum((p.probability * bins).astype(int), bins - 1)
    share = np.divide(np.bincount(index, p.positive, bins), mass, out=np.zeros(bins), where=mass > 0)
    pi = p.prevalence
    return {
        "reliability": float((mass * gap**2).sum()),
        "resolution": float((mass * (share - pi) ** 2).sum()),
        "uncertainty": pi * (1.0 - pi),
    }


def smooth_ece_truth(p: Population) -> float:
    """The width at which the smoothed gap of the population equals the width, by bisection on a plain kernel sum."""
    cells = 400
    centre = (np.arange(cells) + 0.5) / cells
    index = np.minimum((p.probability * cells).astype(int), cells - 1)
    residual = np.bincount(index, p.positive - p.probability * (p.positive + p.negative), cells)

    def smoothed(width: float) -> float:
        away = centre[:, None] - np.concatenate([centre, -centre, 2.0 - centre])[None, :]
        kernel = np.exp(-((away / width) ** 2) / 2.0) / (width * math.sqrt(2.0 * math.pi))
        return float(np.abs(kernel @ np.tile(residual, 3)).mean())

    low, high = 1e-3, 1.0
    if smoothed(low) < low:
        # A calibrated model: only the grid's rounding is left.
        return 0.0
    for _ in range(30):
        middle = (low + high) / 2.0
        low, high = (middle, high) if smoothed(middle) > middle else (low, middle)
    return low


@lru_cache(maxsize=16)
def calibration_truths(prevalence: float, off: bool) -> dict[str, float]:
    p = risk_population(prevalence, off)
    _, intercept, slope = p.recalibration()
    return {
        "recalibration intercept": intercept,
        "calibration slope": slope,
        "debiased ECE": p.ece(),
        "smooth ECE": smooth_ece_truth(p),
        **{f"{part} of the Brier score": value for part, value in _parts(p).items()},
    }


def _calibration(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    assert cell.prevalence is not None
    off = cell.word("model") == "miscalibrated"
    truth = calibration_truths(cell.prevalence, off)
    clustered = cell.cases > 1
    for _ in range(studies):
        d = risks(rng, patients(rng, cell.n, cell.cases), cell.prevalence, off=off)
        y, p, k = d.reference, d.probability, d.patient
        common: dict[str, Any] = {"cluster": k, "replicates": REPLICATES, "seed": int(rng.integers(2**31))}
        made: list[tuple[str, str, Estimate]] = [
            (
                "debiased ECE",
                "bootstrap for absolute values, of ECE",
                calibration_intervals.debiased_ece(y, p, scheme="equal_width", **common),
            ),
        ]
        for part in ("reliability", "resolution", "uncertainty"):
            e = calibration_intervals.brier_part(part, y, p, **common)  # type: ignore[arg-type]
            name = "Clopper-Pearson of the prevalence" if part == "uncertainty" else FOLDED
            made.append((f"{part} of the Brier score", name, e))
        if not clustered:
            made.append(("calibration slope", "profile likelihood", calibration_intervals.profile_slope(y, p)))
        for quantity, method, e in made:
            yield Answer(quantity + _more(cell), method, truth[quantity], e)


def _recalibration(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    """The intercept of recalibration alone: a closed form, which needs none of the resampling of its neighbours."""
    assert cell.prevalence is not None
    truth = calibration_truths(cell.prevalence, cell.word("model") == "miscalibrated")["recalibration intercept"]
    name = "Wald, sandwich" if cell.cases > 1 else "Wald"
    for _ in range(studies):
        d = risks(rng, patients(rng, cell.n, cell.cases), cell.prevalence, off=cell.word("model") == "miscalibrated")
        e = calibration.recalibration_intercept(d.reference, d.probability, cluster=d.patient)
        yield Answer("recalibration intercept" + _more(cell), name, truth, e)


def _smooth_ece(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    assert cell.prevalence is not None
    off = cell.word("model") == "miscalibrated"
    truth = calibration_truths(cell.prevalence, off)["smooth ECE"]
    for _ in range(studies):
        d = risks(rng, patients(rng, cell.n, cell.cases), cell.prevalence, off=off)
        e = calibration_intervals.smooth_ece(
            d.reference, d.probability, replicates=int(cell.get("resamples")), seed=int(rng.integers(2**31))
        )
        yield Answer("smooth ECE", FOLDED, truth, e)


_CALIBRATED = ((("model", "calibrated"),),)
_OFF = ((("model", "miscalibrated"),),)

FAMILIES = (
    Family(
        name="calibration further",
        page=PAGE,
        simulate=_calibration,
        cells=grid("calibration further", n=(100,), prevalence=(0.5,), settings=_CALIBRATED + _OFF, piece=250)
        + grid("calibration further", n=(100,), prevalence=(0.5,), cases=(4,), settings=_CALIBRATED, piece=250)
        + grid(
            "calibration further", n=(400,), prevalence=(0.5,), settings=_CALIBRATED + _OFF, studies=FEWER, piece=250
        )
        + grid("calibration further", n=(100, 400), prevalence=(0.1,), settings=_CALIBRATED, studies=FEWER, piece=250),
        stage=3,
        first=2,
    ),
    Family(
        name="recalibration",
        page=PAGE,
        simulate=_recalibration,
        cells=grid("recalibration", n=(30, 100, 400), prevalence=(0.1, 0.5), settings=_CALIBRATED)
        + grid("recalibration", n=(100,), prevalence=(0.5,), settings=_OFF)
        + grid("recalibration", n=(30, 100), prevalence=(0.5,), cases=(4,), settings=_CALIBRATED),
        stage=1,
        first=2,
    ),
    Family(
        name="smooth ECE",
        page=PAGE,
        simulate=_smooth_ece,
        cells=grid(
            "smooth ECE",
            n=(100,),
            prevalence=(0.5,),
            settings=tuple((("model", m), ("resamples", 200)) for m in ("calibrated", "miscalibrated")),
            piece=100,
        ),
        stage=6,
        first=10,
    ),
)
