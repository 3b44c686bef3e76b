"""One scenario restricted to one stratum: what every metric of two classes is computed from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evalsuite.analyses.population import Bools, Floats, Ints, Scenario
from evalsuite.protocol.schema import Bootstrap, Confidence, Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One scenario restricted to one stratum, and how its intervals are to be made. `weight` as in `Population`."""

    reference: Bools
    score: np.ndarray
    call: Bools | None
    probability: np.ndarray | None
    patient_index: Ints
    confidence: Confidence
    level: float
    threshold: float | None = None
    seed: int = 0
    weight: Floats | None = None

    @property
    def n_positive(self) -> int:
        return int(self.reference.sum())

    @property
    def n_negative(self) -> int:
        return len(self.reference) - self.n_positive

    @property
    def n_patients(self) -> int:
        return int(np.count_nonzero(np.bincount(self.patient_index)))  # np.unique: a hundred times the work

    def counts(self) -> dict[str, Any]:
        return {"n_positive": self.n_positive, "n_negative": self.n_negative, "n_patients": self.n_patients}


def cut(
    whole: Scenario,
    mask: Bools,
    patient_index: Ints,
    confidence: Confidence,
    *,
    threshold: float | None = None,
    seed: int = 0,
) -> Cut:
    """The cases of `whole` that count and lie in `mask`. `threshold` is that of the call, `seed` the protocol's."""
    m = mask & whole.include
    return Cut(
        reference=whole.reference[m],
        score=whole.score[m],
        call=None if whole.call is None else whole.call[m],
        probability=None if whole.probability is None else whole.probability[m],
        patient_index=patient_index[m],
        confidence=confidence,
        level=two_sided_level(confidence),
        threshold=threshold,
        seed=seed,
        weight=None if whole.weight is None else whole.weight[m],
    )


def two_sided_level(confidence: Confidence) -> float:
    """Level of the two-sided interval whose ends are the protocol's bounds: one-sided 97.5 % is two-sided 95 %."""
    return confidence.level if confidence.sided == "two" else 2.0 * confidence.level - 1.0


def resampling(c: Cut, e: Endpoint) -> dict[str, Any]:
    """Options of statistics that bring their own patient bootstrap: percentile, where the protocol leaves the default.

    The default (BCa) written out and left out are the same protocol, so they give the same interval; BCa of such a
    statistic is asked for at the endpoint.
    """
    bootstrap = c.confidence.bootstrap
    declared = "percentile" if bootstrap.interval == Bootstrap().interval else bootstrap.interval
    return {
        "level": c.level,
        "method": e.interval if e.interval in ("percentile", "basic", "bca") else declared,
        "replicates": bootstrap.replicates,
        "seed": c.seed,
        "cluster": c.patient_index,
    }


def stratifiable(c: Cut, e: Endpoint) -> dict[str, Any]:
    """Those options, and whether patients of both classes are drawn apart, for statistics that can do so."""
    return {**resampling(c, e), "stratified": c.confidence.bootstrap.stratified}
