"""Decision curves: the net benefit of acting on the model at each threshold, beside treating everyone or no one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.population import Floats, OutputPolicy, Population, Scenario, scenario
from evalsuite.protocol.schema import StudyProtocol, Utility
from evalsuite.stats.decision_curve import DecisionCurve, decision_curve, decision_curve_difference
from evalsuite.types import Curve

_OPPOSITE: dict[OutputPolicy, OutputPolicy] = {"worst_case": "best_case", "best_case": "worst_case"}
#: More resampled studies than this do not change what a reader can see of a pointwise band.
_MOST_REPLICATES = 500


def decision_curves(
    protocol: StudyProtocol, population: Population, baseline: Population | None, outputs: OutputPolicy
) -> tuple[Curve, ...]:
    """Net benefit of the candidate, of treating all and none, and of the baseline where there is one.

    Whole set only, for scores that are probabilities; missing outputs as in the primary analysis (in a comparison, the
    baseline's under the opposite extreme), cases without a reference standard left out. With a baseline, the difference
    of the two on the same cases too. Where a threshold has no
    interval (nobody reaches it), the band is a series of its own over the thresholds that have one.
    """
    asked = protocol.analyses.utility or Utility()
    low, high, count = asked.thresholds
    grid = np.round(np.linspace(low, high, int(count)), 12)
    made: list[Curve] = []
    first = _of(protocol, population, grid, outputs, asked.prevalence)
    if first is None:
        return ()
    made += _lines(first, "model")
    for series, y in (("treat all", first.treat_all), ("treat none", np.zeros(grid.size))):
        made.append(
            Curve(
                analysis="utility",
                metric="net_benefit",
                kind="net_benefit",
                series=series,
                x=_floats(grid),
                y=_floats(y),
                n=first.n,
                method=_at(first, asked),
            )
        )
    if baseline is not None:
        second = _of(protocol, baseline, grid, _OPPOSITE.get(outputs, outputs), asked.prevalence)
        if second is not None:
            made += _lines(second, "baseline")
            made += _difference(protocol, population, baseline, grid, outputs, asked.prevalence)
    return tuple(made)


def _difference(
    protocol: StudyProtocol,
    population: Population,
    baseline: Population,
    grid: Floats,
    outputs: OutputPolicy,
    prevalence: float | None,
) -> Iterator[Curve]:
    """Candidate less baseline at each threshold, on the cases that count for both."""
    views = [_view(p, o) for p, o in ((population, outputs), (baseline, _OPPOSITE.get(outputs, outputs)))]
    m = views[0].include & views[1].include
    first, second = (v.probability for v in views)
    reference = views[0].reference[m]
    if first is None or second is None or not reference.any() or reference.all():
        return
    found = decision_curve_difference(
        reference,
        first[m],
        second[m],
        grid,
        prevalence=prevalence,
        level=two_sided_level(protocol.confidence),
        replicates=min(_MOST_REPLICATES, protocol.confidence.bootstrap.replicates),
        seed=protocol.seed,
        cluster=population.patient_index[m],
    )
    yield from _lines(found, "difference")


def _of(
    protocol: StudyProtocol, population: Population, grid: Floats, outputs: OutputPolicy, prevalence: float | None
) -> DecisionCurve | None:
    view = _view(population, outputs)
    m = view.include
    reference = view.reference[m]
    if view.probability is None or not reference.any() or reference.all():
        return None
    return decision_curve(
        reference,
        view.probability[m],
        grid,
        prevalence=prevalence,
        level=two_sided_level(protocol.confidence),
        replicates=min(_MOST_REPLICATES, protocol.confidence.bootstrap.replicates),
        seed=protocol.seed,
        cluster=population.patient_index[m],
    )


def _view(population: Population, outputs: OutputPolicy) -> Scenario:
    return scenario(
        population, looks="probability", threshold=None, strict=False, outputs=outputs, references="exclude"
    )


def _lines(found: DecisionCurve, series: str) -> Iterator[Curve]:
    known = np.isfinite(found.low) & np.isfinite(found.high)
    whole = bool(known.all())

    def curve(name: str, chosen: np.ndarray, *, band: bool) -> Curve:
        return Curve(
            analysis="utility",
            metric="net_benefit",
            kind="net_benefit",
            series=name,
            x=_floats(found.threshold[chosen]),
            y=_floats(found.value[chosen]),
            low=_floats(found.low[chosen]) if band else None,
            high=_floats(found.high[chosen]) if band else None,
            n=found.n,
            method=f"{found.method}, pointwise",
        )

    yield curve(series, np.ones(found.threshold.size, dtype=bool), band=whole)
    if not whole and known.any():
        yield curve(f"{series} band", known, band=True)


def _at(found: DecisionCurve, asked: Utility) -> str:
    how = "declared" if asked.prevalence is not None else "the test set's own"
    return f"prevalence {found.prevalence:.4g}, {how}"


def _floats(values: Floats) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
