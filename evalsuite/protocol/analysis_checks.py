"""What the blocks on sites, groups and partial verification must satisfy: names that exist, metrics that fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evalsuite.errors import Problem
from evalsuite.protocol.blocks import GroupDifferences
from evalsuite.protocol.metrics import METRICS
from evalsuite.protocol.schema import Endpoint, Generalisation, StudyProtocol

#: Calibration errors (inflated by resampling, each group's by another amount) and statistics of tests.
NO_DIFFERENCE = (
    *("ece", "mce", "debiased_ece", "smooth_ece", "top_label_ece", "classwise_ece", "ici", "e50", "e90", "emax"),
    *("brier_reliability", "brier_resolution", "spiegelhalter_z", "hosmer_lemeshow"),
)
#: Metrics that a random-effects model over sites is made of.
OVER_SITES = ("sensitivity", "specificity", "accuracy", "ppv", "npv", "auroc")


def analysis_problems(protocol: StudyProtocol, unreadable: str) -> Iterator[Problem]:
    """Every contradiction in `analyses.generalisation`, `analyses.group_differences` and `analyses.verification`."""
    if protocol.analyses.generalisation is not None:
        yield from _one_stratum(protocol, protocol.analyses.generalisation.site, "generalisation.site", unreadable)
        yield from _endpoints(protocol, protocol.analyses.generalisation, unreadable)
    groups = protocol.analyses.group_differences
    if groups is not None:
        yield from _one_stratum(protocol, groups.stratum, "group_differences.stratum", unreadable)
        yield from _groups(protocol, groups, unreadable)
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
    if protocol.task.kind in ("detection", "segmentation"):
        return info is not None and endpoint.quantile is None
    if protocol.task.kind == "binary" or endpoint.target is not None or info is None:
        return endpoint.metric in OVER_SITES
    return not endpoint.metric.endswith("_ece") and "repeats" not in info.requires


def _one_stratum(protocol: StudyProtocol, name: str, key: str, unreadable: str) -> Iterator[Problem]:
    """The stratum exists and is no cross."""
    from evalsuite.protocol.checks import did_you_mean

    path = f"analyses.{key}"
    by_name = {s.name: s for s in protocol.strata}
    spec = by_name.get(name)
    if spec is None:
        if unreadable not in by_name and name != unreadable:
            simple = [n for n, s in by_name.items() if s.cross is None]
            hint = did_you_mean(name, simple) or "declare it under strata"
            yield Problem(f"unknown stratum '{name}'", path, hint)
    elif spec.cross is not None:
        yield Problem(f"'{name}' is a cross", path, f"one of its members: {', '.join(spec.cross)}")


def _names(
    protocol: StudyProtocol, names: Sequence[str], path: str, unreadable: str
) -> Iterator[tuple[str, Endpoint | None, Problem | None]]:
    """Where each endpoint is named, and the endpoint, or what is wrong with the name."""
    from evalsuite.protocol.checks import did_you_mean

    by_name = {e.name: e for e in protocol.endpoints}
    for i, name in enumerate(names):
        where = f"{path}[{i}]"
        if name not in by_name:
            if unreadable not in by_name and name != unreadable:
                yield where, None, Problem(f"unknown endpoint '{name}'", where, did_you_mean(name, by_name))
        elif name in names[:i]:
            yield where, None, Problem(f"endpoint '{name}' named twice", where)
        else:
            yield where, by_name[name], None


def _endpoints(protocol: StudyProtocol, asked: Generalisation, unreadable: str) -> Iterator[Problem]:
    path = "analyses.generalisation.endpoints"
    for where, endpoint, problem in _names(protocol, asked.endpoints, path, unreadable):
        if endpoint is None:
            if problem is not None:
                yield problem
        elif endpoint.metric != unreadable and not _over_sites(protocol, endpoint):
            hint = f"it is of: {', '.join(OVER_SITES)}"
            if protocol.task.kind != "binary" and endpoint.target is None:
                hint = "resampling inflates calibration errors, and repeats are no cases of a site; name another"
            yield Problem(f"no model over sites is made of '{endpoint.metric}'", where, hint)
        elif endpoint.prevalence is not None:
            said = f"endpoint '{endpoint.name}' is at a declared prevalence, sites have their own"
            yield Problem(said, where, "take it out of the list")


def _groups(protocol: StudyProtocol, asked: GroupDifferences, unreadable: str) -> Iterator[Problem]:
    path = "analyses.group_differences.endpoints"
    for where, endpoint, problem in _names(protocol, asked.endpoints, path, unreadable):
        if problem is not None:
            yield problem
        elif endpoint is not None and endpoint.metric in NO_DIFFERENCE:
            hint = "resampling inflates each group's error by another amount, and a test statistic is no size"
            yield Problem(f"no difference between groups is made of '{endpoint.metric}'", where, hint)
