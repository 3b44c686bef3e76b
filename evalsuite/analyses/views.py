"""The population as the primary analysis of one metric sees it, for analyses that stand beside that one."""

from __future__ import annotations

from evalsuite.analyses.common import primary_reference_policy
from evalsuite.analyses.metrics import COMPUTABLE
from evalsuite.analyses.paired import Cutoff
from evalsuite.analyses.paired import cutoff as cutoff_of
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
    cutoff: Cutoff | None = None,
) -> Scenario:
    """Reference, score, call and who counts, under the protocol's primary assumptions about what is missing.

    `at` names the operating point of a metric that needs a call; `within` (n,) are the cases under study;
    `references` replaces the primary assumption about missing references; `cutoff` makes the calls of a class against
    the rest, which has no operating point.
    """
    cut = cutoff or cutoff_of(protocol, at)
    outputs: OutputPolicy = protocol.missing_outputs.primary
    return scenario(
        population,
        looks=COMPUTABLE[metric].looks,
        threshold=None if cut is None else cut.value,
        strict=cut is not None and cut.strict,
        outputs=outputs,
        references=references or primary_reference_policy(protocol),
        within=within,
    )
