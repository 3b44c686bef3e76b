"""The population as the primary analysis of one metric sees it, for analyses that stand beside that one."""

from __future__ import annotations

from evalsuite.analyses.common import primary_reference_policy
from evalsuite.analyses.metrics import COMPUTABLE
from evalsuite.analyses.population import Bools, OutputPolicy, Population, ReferencePolicy, Scenario, scenario
from evalsuite.protocol.schema import StudyProtocol


def primary_view(
    protocol: StudyProtocol,
    population: Population,
    metric: str,
    at: str | None,
    *,
    within: Bools,
    references: ReferencePolicy | None = None,
) -> Scenario:
    """Reference, score, call and who counts, under the protocol's primary assumptions about what is missing.

    `at` names the operating point of a metric that needs a call; `within` (n,) are the cases under study;
    `references` replaces the primary assumption about missing references.
    """
    point = None if at is None else protocol.operating_point(at)
    outputs: OutputPolicy = protocol.missing_outputs.primary
    return scenario(
        population,
        looks=COMPUTABLE[metric].looks,
        threshold=None if point is None else point.threshold,
        strict=point is not None and point.comparison == ">",
        outputs=outputs,
        references=references or primary_reference_policy(protocol),
        within=within,
    )
