"""Shares of cases that two devices get right, on the same cases: score intervals and McNemar's tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import numpy as np

from evalsuite.analyses.population import Bools, Ints
from evalsuite.protocol.comparisons import BOOTSTRAPPED, compared_metric
from evalsuite.protocol.schema import Comparison, StudyProtocol
from evalsuite.stats.bootstrap import BootstrapMethod
from evalsuite.stats.clustered_tests import clustered_paired_difference
from evalsuite.stats.differences import (
    McNemarMethod,
    PairedMethod,
    mcnemar,
    paired_counts,
    paired_difference,
)
from evalsuite.stats.paired_ratio import paired_ratio
from evalsuite.types import Estimate, TestOutcome

Right = tuple[Bools, Bools]


def chosen_method(protocol: StudyProtocol, comparison: Comparison) -> BootstrapMethod:
    """The bootstrap interval of a paired difference: what the comparison asks for, else the one that covers.

    A protocol's BCa is meant for single figures. Of paired differences it held the truth in as few as 75 of 100
    simulated studies, the basic interval in 95, and of average precisions the percentile interval (decision 0018).
    """
    if comparison.interval in BOOTSTRAPPED:
        return cast(BootstrapMethod, comparison.interval)
    general = protocol.confidence.bootstrap.interval
    if general != "bca":
        return general
    return "percentile" if compared_metric(comparison).endswith("average_precision") else "basic"


def share_difference(
    comparison: Comparison, right: Right, among: Bools, patient: Ints, *, clustered: bool, level: float, **counts: Any
) -> Estimate | None:
    """Difference of the shares of cases `among` that each device gets right, by a score interval.

    Where patients have several cases (`clustered`) Tango's interval takes the effective number of pairs; for another
    one there is none (None), and the patient bootstrap serves.
    """
    method = cast(PairedMethod, comparison.interval or "tango")
    first, second = right[0][among], right[1][among]
    if not clustered:
        return paired_difference(paired_counts(first, second), level=level, method=method, **counts)
    if method != "tango":
        return None
    return clustered_paired_difference(first, second, patient[among], level=level, **counts)


def share_ratio(right: Right, among: Bools, patient: Ints, *, level: float, **counts: Any) -> Estimate:
    """Ratio of the shares of cases `among` that each device gets right, candidate over baseline.

    The score interval is one for independent pairs: where patients have several cases there is the value alone.
    """
    found = paired_ratio(paired_counts(right[0][among], right[1][among]), level=level, **counts)
    repeated = len(np.unique(patient[among])) < int(among.sum())
    if not repeated or found.low is None:
        return found
    why = "patients have several cases; the interval for independent pairs would be too narrow"
    return replace(found, low=None, high=None, interval_undefined=why)


def mcnemar_tests(comparison: Comparison, right: Right, among: Bools) -> Iterator[TestOutcome]:
    """McNemar's tests of no difference, exact and mid-p; for cases that are one per patient."""
    counts = paired_counts(right[0][among], right[1][among])
    methods: tuple[McNemarMethod, ...] = ("exact", "mid-p")
    for how in methods:
        yield mcnemar(
            counts.first_only,
            counts.second_only,
            method=how,
            name=f"{comparison.name}: no difference",
            endpoint=comparison.name,
        )
