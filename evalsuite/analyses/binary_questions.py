"""One yes/no question of a population (a class, a label against the others) in every stratum, as estimates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from evalsuite.analyses.common import Cell
from evalsuite.analyses.metrics import COMPUTABLE, Cut, Metric, cut, two_sided_level
from evalsuite.analyses.population import Bools, OutputPolicy, Population, ReferencePolicy, Scenario, scenario
from evalsuite.analyses.resampling import Resampling
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats.bootstrap import METRICS as BOOTSTRAPPED
from evalsuite.stats.bootstrap import BootstrapMethod, binary_replicates, estimates
from evalsuite.types import Estimate, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An endpoint of the protocol, or a row of the standard table that the protocol does not name."""

    endpoint: Endpoint
    role: Role
    prespecified: bool

    @property
    def metric(self) -> Metric:
        """How the endpoint's metric is estimated; KeyError for figures of several classes or labels together."""
        return COMPUTABLE[self.endpoint.metric]


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Where a score becomes a call; `strict` means above it rather than at least."""

    value: float
    strict: bool


def chosen_interval(protocol: StudyProtocol, endpoint: Endpoint) -> BootstrapMethod:
    """The bootstrap interval an endpoint asks for, else the protocol's."""
    chosen = endpoint.interval if endpoint.interval in ("percentile", "basic", "bca") else None
    return cast(BootstrapMethod, chosen or protocol.confidence.bootstrap.interval)


def answer(
    protocol: StudyProtocol,
    population: Population,
    resampling: Resampling,
    endpoint: Endpoint,
    cells: Sequence[Cell],
    *,
    threshold: Threshold | None,
    outputs: OutputPolicy,
    references: ReferencePolicy,
) -> list[Estimate]:
    """The endpoint's metric in every cell, or why there is none; as for a task of one yes/no question."""
    metric = COMPUTABLE[endpoint.metric]
    method = chosen_interval(protocol, endpoint)
    # Only where the allocation of missing references is searched for does the scenario depend on the stratum.
    local = metric.looks in ("rank", "fit") and not (population.has_reference.all() and population.has_output.all())

    def view(within: Bools | None) -> Scenario:
        return scenario(
            population,
            looks=metric.looks,
            threshold=None if threshold is None else threshold.value,
            strict=threshold is not None and threshold.strict,
            outputs=outputs,
            references=references,
            within=within,
        )

    shared = None if local else view(None)
    views = [shared or view(c.mask) for c in cells]
    cuts = [
        cut(
            v,
            c.mask,
            population.patient_index,
            protocol.confidence,
            threshold=None if threshold is None else threshold.value,
            seed=protocol.seed,
        )
        for v, c in zip(views, cells, strict=True)
    ]
    found: list[Estimate | None] = [
        not_assessable(protocol, metric, v, c, cell) for v, c, cell in zip(views, cuts, cells, strict=True)
    ]
    todo = [i for i, e in enumerate(found) if e is None]
    if metric.direct is not None and not by_bootstrap(endpoint, metric, population):
        for i in todo:
            found[i] = metric.direct(cuts[i], endpoint)
    else:
        for v, indices in group_by_view(views, todo):
            masks = np.array([cells[i].mask & v.include for i in indices])
            table = resampling.table(
                (endpoint.name, outputs, references, tuple(id(cells[i]) for i in indices)),
                lambda v=v, masks=masks: binary_replicates(  # type: ignore[misc]
                    resampling.draw,
                    reference=v.reference,
                    score=v.score,
                    call=v.call,
                    probability=v.probability,
                    metrics=[endpoint.metric],
                    masks=masks,
                    bins=endpoint.bins or 10,
                    scheme=endpoint.binning or "equal_width",
                    prevalence=endpoint.prevalence,
                    with_jackknife=method == "bca",
                ),
            )
            rows = estimates(table, method=method, level=two_sided_level(protocol.confidence))
            for i, row in zip(indices, rows, strict=True):
                found[i] = row[0]
    return [with_counts(cast(Estimate, e), c) for e, c in zip(found, cuts, strict=True)]


def by_bootstrap(endpoint: Endpoint, metric: Metric, population: Population) -> bool:
    """Whether the interval comes from the shared patient bootstrap rather than from a closed form."""
    if metric.direct is None:
        return True
    if endpoint.metric not in BOOTSTRAPPED:
        return False  # it brings a bootstrap of its own
    if endpoint.interval in ("percentile", "basic", "bca") or (endpoint.interval is None and metric.only_if_asked):
        return True
    return population.clustered and metric.clustered_by_bootstrap


def group_by_view(views: Sequence[Scenario], todo: Sequence[int]) -> Iterator[tuple[Scenario, list[int]]]:
    """Positions that share a scenario, so that one resampling serves them."""
    groups: dict[int, list[int]] = {}
    for i in todo:
        groups.setdefault(id(views[i]), []).append(i)
    for indices in groups.values():
        yield views[indices[0]], indices


def not_assessable(protocol: StudyProtocol, metric: Metric, view: Scenario, c: Cut, cell: Cell) -> Estimate | None:
    """Why there can be no estimate in this cell, or None."""
    n = len(c.reference)

    def no(reason: str) -> Estimate:
        return Estimate.not_estimable(reason, n=n, level=c.level)

    if metric.needs_probability and c.probability is None:
        return no("the score is not a probability")
    if view.undefined is not None:
        return no(view.undefined)
    if n == 0:
        return no("no cases")
    counts: Mapping[str, int] = {"positive": c.n_positive, "negative": c.n_negative}
    kinds = {"positives": ["positive"], "negatives": ["negative"], "both": ["positive", "negative"], "any": []}
    least = protocol.small_strata.suppress_below
    for kind in kinds[metric.needs]:
        if counts[kind] == 0:
            return no(f"no reference-{kind} cases")
        if not cell.whole and counts[kind] < least:
            return no(f"not assessable: {counts[kind]} reference-{kind} cases, fewer than {least}")
    if metric.needs == "any" and not cell.whole and n < least:
        return no(f"not assessable: {n} cases, fewer than {least}")
    return None


def with_counts(estimate: Estimate, c: Cut) -> Estimate:
    """Fill in how many positives, negatives and patients the cell holds, where the statistic did not say."""
    missing: dict[str, Any] = {k: v for k, v in c.counts().items() if getattr(estimate, k) is None}
    return replace(estimate, **missing) if missing else estimate
