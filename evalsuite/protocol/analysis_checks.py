"""What the blocks on sites and on partial verification must satisfy: names that exist, metrics that fit."""

from __future__ import annotations

from collections.abc import Iterator

from evalsuite.errors import Problem
from evalsuite.protocol.metrics import METRICS
from evalsuite.protocol.schema import Endpoint, Generalisation, StudyProtocol

#: Metrics that a random-effects model over sites is made of.
OVER_SITES = ("sensitivity", "specificity", "accuracy", "ppv", "npv", "auroc")


def analysis_problems(protocol: StudyProtocol, unreadable: str) -> Iterator[Problem]:
    """Every contradiction in `analyses.generalisation` and `analyses.verification`."""
    if protocol.analyses.generalisation is not None:
        yield from _site(protocol, protocol.analyses.generalisation, unreadable)
        yield from _endpoints(protocol, protocol.analyses.generalisation, unreadable)
    verification = protocol.analyses.verification
    if verification is None or protocol.task.kind != "binary":
        return  # for other tasks there is none, which is said elsewhere
    path = "analyses.verification"
    if verification.verified in (protocol.task.reference, protocol.unit.case, protocol.unit.cluster):
        yield Problem(
            f"column '{verification.verified}' already means something else",
            f"{path}.verified",
            "name the column that says which cases got the reference standard",
        )
    if not protocol.operating_points:
        yield Problem("a correction for partial verification needs a call", path, "declare one under operating_points")


def _over_sites(protocol: StudyProtocol, endpoint: Endpoint) -> bool:
    """Whether a site has an estimate with a sampling variance of its own."""
    info = METRICS.get(endpoint.metric)
    if protocol.task.kind == "binary" or endpoint.target is not None or info is None:
        return endpoint.metric in OVER_SITES
    return not endpoint.metric.endswith("_ece") and "repeats" not in info.requires


def _site(protocol: StudyProtocol, asked: Generalisation, unreadable: str) -> Iterator[Problem]:
    from evalsuite.protocol.checks import did_you_mean

    path = "analyses.generalisation.site"
    by_name = {s.name: s for s in protocol.strata}
    spec = by_name.get(asked.site)
    if spec is None:
        if unreadable not in by_name and asked.site != unreadable:
            simple = [n for n, s in by_name.items() if s.cross is None]
            hint = did_you_mean(asked.site, simple) or "declare it under strata"
            yield Problem(f"unknown stratum '{asked.site}'", path, hint)
    elif spec.cross is not None:
        yield Problem(f"'{asked.site}' is a cross", path, f"one of its members: {', '.join(spec.cross)}")


def _endpoints(protocol: StudyProtocol, asked: Generalisation, unreadable: str) -> Iterator[Problem]:
    from evalsuite.protocol.checks import did_you_mean

    by_name = {e.name: e for e in protocol.endpoints}
    for i, name in enumerate(asked.endpoints):
        path = f"analyses.generalisation.endpoints[{i}]"
        endpoint = by_name.get(name)
        if endpoint is None:
            if unreadable not in by_name and name != unreadable:
                yield Problem(f"unknown endpoint '{name}'", path, did_you_mean(name, by_name))
        elif name in asked.endpoints[:i]:
            yield Problem(f"endpoint '{name}' named twice", path)
        elif endpoint.metric != unreadable and not _over_sites(protocol, endpoint):
            hint = f"it is of: {', '.join(OVER_SITES)}"
            if protocol.task.kind != "binary" and endpoint.target is None:
                hint = "resampling inflates calibration errors, and repeats are no cases of a site; name another"
            yield Problem(f"no model over sites is made of '{endpoint.metric}'", path, hint)
        elif endpoint.prevalence is not None:
            yield Problem(
                f"endpoint '{name}' is at a declared prevalence, sites have their own", path, "take it out of the list"
            )
