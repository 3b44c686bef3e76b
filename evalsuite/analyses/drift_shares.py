"""The shares of cases that an audit can watch: which cases count, and which of them are right."""

from __future__ import annotations

import numpy as np

from evalsuite.analyses.drift_periods import call_threshold
from evalsuite.analyses.metrics import COMPUTABLE
from evalsuite.analyses.population import Bools, Floats, OutputPolicy, Population, scenario
from evalsuite.protocol.schema import Endpoint, StudyProtocol

SHARES = ("sensitivity", "specificity", "ppv", "npv", "accuracy")


def share_of(metric: str, positive: Bools, call: Bools) -> tuple[Bools, Bools]:
    """Which cases count as right, and among which cases, for a share of cases. KeyError for any other metric."""
    return {
        "sensitivity": (call, positive),
        "specificity": (~call, ~positive),
        "ppv": (positive, call),
        "npv": (~positive, ~call),
        "accuracy": (call == positive, np.ones(len(call), dtype=bool)),
    }[metric]


def counted_in(
    protocol: StudyProtocol, endpoint: Endpoint, population: Population, outputs: OutputPolicy
) -> tuple[Bools, Bools, Floats | None]:
    """Which cases are right, among which with a reference, and their weights if any; (n,) each."""
    threshold = call_threshold(protocol, endpoint.at)
    assert threshold is not None, "the protocol's checks require an operating point"
    view = scenario(
        population,
        looks=COMPUTABLE[endpoint.metric].looks,
        threshold=threshold.value,
        strict=threshold.strict,
        outputs=outputs,
        references="exclude",
    )
    assert view.call is not None
    success, among = share_of(endpoint.metric, view.reference, view.call)
    return success, among & view.include, view.weight
