"""Metrics of two classes that read probabilities: calibration, and the net benefit of acting on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, cast

import numpy as np

from evalsuite.analyses.cuts import Cut, resampling
from evalsuite.protocol.schema import Endpoint
from evalsuite.stats import calibration, calibration_error, calibration_intervals, decision_curve
from evalsuite.stats.bootstrap_interval import BootstrapMethod
from evalsuite.types import Estimate, TestOutcome

Direct = Callable[[Cut, Endpoint], Estimate]

#: A smooth curve or a kernel per replicate is slow; 500 replicates put the Monte Carlo error far below the interval.
_MOST_CURVES = 500
_BOOTSTRAPS = ("percentile", "basic", "bca")
_DEFAULT_BINS = 10


def _probability(c: Cut) -> np.ndarray:
    assert c.probability is not None, "cells without probabilities are not estimable"
    return c.probability


def _recalibration(which: calibration_intervals.Recalibration, closed: Callable[..., Estimate]) -> Direct:
    def estimate(c: Cut, e: Endpoint) -> Estimate:
        p = _probability(c)
        options: dict[str, Any] = {"level": c.level, "cluster": c.patient_index}
        if e.interval in _BOOTSTRAPS:
            return calibration_intervals.resampled_recalibration(
                which,
                c.reference,
                p,
                method=cast(BootstrapMethod, e.interval),
                replicates=c.confidence.bootstrap.replicates,
                seed=c.seed,
                **options,
            )
        if e.interval != "profile":
            return closed(c.reference, p, **options)
        if which == "slope":
            return calibration_intervals.profile_slope(c.reference, p, **options)
        if c.n_patients == len(c.reference):
            return closed(c.reference, p, method="profile", **options)
        wald = closed(c.reference, p, **options)
        if wald.value is None:
            return wald
        return Estimate(
            value=wald.value,
            interval_undefined=calibration_intervals.REPEATED,
            method="profile likelihood",
            n=wald.n,
            level=c.level,
            **c.counts(),
        )

    return estimate


def _smooth(statistic: calibration_error.SmoothStatistic) -> Direct:
    def estimate(c: Cut, e: Endpoint) -> Estimate:
        return calibration_error.smooth_error(
            c.reference,
            _probability(c),
            statistic,
            smoother=e.smoother or "loess",
            level=c.level,
            cluster=c.patient_index,
            replicates=min(_MOST_CURVES, c.confidence.bootstrap.replicates),
            seed=c.seed,
        )

    return estimate


def _options(c: Cut) -> dict[str, Any]:
    return {
        "level": c.level,
        "cluster": c.patient_index,
        "replicates": c.confidence.bootstrap.replicates,
        "seed": c.seed,
    }


def _smooth_ece(c: Cut, e: Endpoint) -> Estimate:
    options = {**_options(c), "replicates": min(_MOST_CURVES, c.confidence.bootstrap.replicates)}
    return calibration_intervals.smooth_ece(c.reference, _probability(c), **options)


def _debiased_ece(c: Cut, e: Endpoint) -> Estimate:
    return calibration_intervals.debiased_ece(
        c.reference, _probability(c), e.bins or _DEFAULT_BINS, e.binning or "equal_mass", **_options(c)
    )


def _murphy(which: calibration_intervals.MurphyPart) -> Direct:
    def estimate(c: Cut, e: Endpoint) -> Estimate:
        return calibration_intervals.brier_part(
            which, c.reference, _probability(c), e.bins or _DEFAULT_BINS, e.binning or "equal_width", **_options(c)
        )

    return estimate


def _as_estimate(test: TestOutcome, c: Cut) -> Estimate:
    n = len(c.reference)
    if test.statistic is None:
        return Estimate.not_estimable(test.undefined or "no variance", n=n, level=c.level, **c.counts())
    return Estimate(
        value=test.statistic,
        interval_undefined=f"a test statistic, not an estimate: p = {test.p_value:.4g}",
        method=test.method,
        n=n,
        level=c.level,
        **c.counts(),
    )


def _independent(test: Callable[[Cut, Endpoint], TestOutcome]) -> Direct:
    def estimate(c: Cut, e: Endpoint) -> Estimate:
        n = len(c.reference)
        if c.n_patients < n:
            return Estimate.not_estimable("assumes one case per patient", n=n, level=c.level, **c.counts())
        return _as_estimate(test(c, e), c)

    return estimate


def _benefit(quantity: Literal["net_benefit", "standardised", "interventions_avoided"]) -> Direct:
    def estimate(c: Cut, e: Endpoint) -> Estimate:
        assert c.threshold is not None, "the protocol's loader requires it"
        return decision_curve.net_benefit(
            c.reference, _probability(c), c.threshold, quantity=quantity, prevalence=e.prevalence, **resampling(c, e)
        )

    return estimate


UTILITY = ("net_benefit", "standardised_net_benefit", "interventions_avoided")
#: Defined with cases of one class too.
ONE_CLASS_WILL_DO = (*UTILITY, "smooth_ece", "debiased_ece", "brier_reliability", "brier_uncertainty")

OF_PROBABILITIES: dict[str, Direct] = {
    "calibration_slope": _recalibration("slope", calibration.calibration_slope),
    "calibration_intercept": _recalibration("intercept", calibration.calibration_intercept),
    "recalibration_intercept": _recalibration("recalibration_intercept", calibration.recalibration_intercept),
    "scaled_brier": _recalibration("scaled_brier", calibration.scaled_brier),
    "brier_reliability": _murphy("reliability"),
    "brier_resolution": _murphy("resolution"),
    "brier_uncertainty": _murphy("uncertainty"),
    "smooth_ece": _smooth_ece,
    "debiased_ece": _debiased_ece,
    "ici": _smooth("ici"),
    "e50": _smooth("e50"),
    "e90": _smooth("e90"),
    "emax": _smooth("emax"),
    "spiegelhalter_z": _independent(lambda c, e: calibration_error.spiegelhalter(c.reference, _probability(c))),
    "hosmer_lemeshow": _independent(
        lambda c, e: calibration_error.hosmer_lemeshow(c.reference, _probability(c), groups=e.bins or _DEFAULT_BINS)
    ),
    "net_benefit": _benefit("net_benefit"),
    "standardised_net_benefit": _benefit("standardised"),
    "interventions_avoided": _benefit("interventions_avoided"),
}
