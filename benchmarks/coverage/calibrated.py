"""Intervals of calibration with a closed form: intercept, slope, O/E, Brier score, log loss, reliability curve."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.coverage.designs import Population, patients, risk_population, risks
from benchmarks.coverage.study import Answer, Cell, Family, grid
from evalsuite.stats import calibration as c
from evalsuite.stats.reliability import reliability_curve
from evalsuite.types import Estimate

PAGE = "calibration"
BIN = 2
"""Of the ten bins of the reliability curve, the one looked at: probabilities above 0.2 to 0.3."""


def _truths(population: Population) -> dict[str, float]:
    large, _, slope = population.recalibration()
    null = population.prevalence * (1.0 - population.prevalence)
    mass, gap = population.gaps()
    index = np.minimum((population.probability * 10).astype(int), 9) == BIN
    mean = float((population.probability * (population.positive + population.negative))[index].sum() / mass[BIN])
    return {
        "calibration intercept": large,
        "calibration slope": slope,
        "O/E": population.observed_expected(),
        "Brier score": population.brier(),
        "scaled Brier score": 1.0 - population.brier() / null,
        "log loss": population.log_loss(),
        "reliability curve, one bin": mean + float(gap[BIN]),
    }


def _closed(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    assert cell.prevalence is not None
    off = cell.word("model") == "miscalibrated"
    truth = _truths(risk_population(cell.prevalence, off))
    clustered = cell.cases > 1
    more = ", several cases per patient" if clustered else ""
    wald = "Wald, sandwich" if clustered else "Wald"
    for _ in range(studies):
        d = risks(rng, patients(rng, cell.n, cell.cases), cell.prevalence, off=off)
        y, p, k = d.reference, d.probability, d.patient
        made: list[tuple[str, str, Estimate]] = [
            ("calibration intercept", wald, c.calibration_intercept(y, p, cluster=k)),
            ("calibration slope", wald, c.calibration_slope(y, p, cluster=k)),
            ("O/E", "log", c.observed_expected(y, p, cluster=k)),
            ("Brier score", "normal", c.brier(y, p, cluster=k)),
            ("scaled Brier score", "normal, delta method", c.scaled_brier(y, p, cluster=k)),
            ("log loss", "normal", c.log_loss(y, p, cluster=k)),
            ("reliability curve, one bin", "Wilson", _bin(y, p, k)),
        ]
        if not clustered:
            profile = c.calibration_intercept(y, p, method="profile")
            made.append(("calibration intercept", "profile likelihood", profile))
        for quantity, method, e in made:
            yield Answer(quantity + more, method, truth[quantity], e)


def _bin(y: np.ndarray, p: np.ndarray, patient: np.ndarray) -> Estimate:
    curve = reliability_curve(y, p, cluster=patient)
    here = np.flatnonzero((curve.mean_probability > BIN / 10) & (curve.mean_probability <= (BIN + 1) / 10))
    if here.size == 0:
        return Estimate.not_estimable("no case in the bin", n=0, level=0.95)
    i = int(here[0])
    return Estimate(
        value=float(curve.observed[i]),
        low=float(curve.low[i]),
        high=float(curve.high[i]),
        n=int(curve.n[i]),
        level=0.95,
        method=curve.method,
    )


FAMILIES = (
    Family(
        name="calibration",
        page=PAGE,
        simulate=_closed,
        cells=grid(
            "calibration",
            n=(30, 100, 400, 2000),
            prevalence=(0.02, 0.1, 0.5),
            settings=((("model", "calibrated"),),),
        )
        + grid("calibration", n=(100, 400), prevalence=(0.1, 0.5), settings=((("model", "miscalibrated"),),))
        + grid(
            "calibration",
            n=(30, 100, 400),
            prevalence=(0.1, 0.5),
            cases=(4, 8),
            settings=((("model", "calibrated"),),),
            keep=lambda cell: cell.cases == 4 or cell.n == 100,
        ),
        stage=1,
        first=2,
    ),
)
