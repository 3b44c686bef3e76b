"""Shares of cases that two devices get right, on the same cases: score intervals and McNemar's tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import numpy as np

from evalsuite.analyses.population import Bools, Ints
from evalsuite.protocol.comparisons import BOOTSTRAPPED
from evalsuite.protocol.schema import Comparison, StudyProtocol
from evalsuite.stats.bootstrap import BootstrapMethod
from evalsuite.stats.differences import (
    McNemarMethod,
    PairedCounts,
    PairedMethod,
    mcnemar,
    paired_counts,
    paired_difference,
)
from evalsuite.types import Estimate, TestOutcome

Right = tuple[Bools, Bools]


def chosen_method(protocol: StudyProtocol, comparison: Comparison) -> BootstrapMethod:
    """The bootstrap interval a comparison asks for, else the protocol's."""
    chosen = comparison.interval if comparison.interval in BOOTSTRAPPED else None
    return cast(BootstrapMethod, chosen or protocol.confidence.bootstrap.interval)


def share_difference(
    comparison: Comparison, right: Right, among: Bools, patient: Ints, *, clustered: bool, level: float, **counts: Any
) -> Estimate | None:
    """Difference of the shares of cases `among` that each device gets right, by a score interval.

    None where patients have several cases (`clustered`): the patient bootstrap serves then, but for two devices that
    are right and wrong on the same cases. No resample varies there, so as for a single clustered proportion without
    variance the effective number of pairs is the number of patients.
    """
    method = cast(PairedMethod, comparison.interval or "tango")
    if not clustered:
        return paired_difference(paired_counts(right[0][among], right[1][among]), level=level, method=method, **counts)
    if not bool((right[0] == right[1])[among].all()):
        return None
    people = len(np.unique(patient[among]))
    both = round(people * float(right[0][among].mean()))
    found = paired_difference(
        PairedCounts(both=both, first_only=0, second_only=0, neither=people - both),
        level=level,
        method=method,
        **counts,
    )
    how = f"{found.method} on as many pairs as patients (no discordant pair)"
    return replace(found, n=int(among.sum()), method=how)


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
