"""The protocol by which answers to changed images are compared with others of the same cases; it judges nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evalsuite.protocol.schema import Analyses, Comparison, Endpoint, Multiplicity, StudyProtocol

_SHARED = (
    *("metric", "at", "target", "prevalence", "top", "maximum", "tolerance", "coverage", "false_positives"),
    *("counted_in", "definition", "quantile"),
)


def changed_study(
    protocol: StudyProtocol, chosen: Sequence[Endpoint], strata: Sequence[Any], *, images: str
) -> StudyProtocol:
    """A comparison of each of the `chosen` endpoints, called "… on `images`", in the groups of `strata`."""
    comparisons = [
        Comparison(
            name=f"{e.name} on {images}",
            **{k: getattr(e, k) for k in _SHARED if k in Comparison.model_fields and hasattr(e, k)},
        )
        for e in chosen
    ]
    bare = chosen[0].model_copy(update={"criterion": None, "role": "secondary", "stratum": {}, "each": None})
    return protocol.model_copy(
        update={
            "kind": "comparison",
            "endpoints": [bare],
            "comparisons": comparisons,
            "strata": list(strata),
            "analyses": Analyses(),
            "multiplicity": Multiplicity(),
            "decision_rule": "all_primary",
        }
    )
