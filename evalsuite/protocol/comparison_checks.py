"""What the comparisons of a protocol must satisfy: a metric that can be compared, and margins that mean something."""

from __future__ import annotations

from collections.abc import Iterator

from evalsuite.errors import Problem
from evalsuite.protocol.comparisons import (
    BOOTSTRAPPED,
    COMPARABLE,
    SHARES,
    as_endpoint,
    compared_metric,
    implied_criteria,
)
from evalsuite.protocol.metrics import METRICS, MetricInfo, suggest_metric
from evalsuite.protocol.schema import Comparison, StudyProtocol
from evalsuite.protocol.several import target_problems

_PAIRED = ("tango", "newcombe")
_SETTINGS = (
    *("prevalence", "top", "maximum", "tolerance", "coverage"),
    *("false_positives", "counted_in", "definition", "quantile"),
)


def comparison_problems(protocol: StudyProtocol, unreadable: str) -> Iterator[Problem]:
    """Every contradiction in `comparisons`, but for names of strata, which endpoints are checked for alike."""
    if protocol.kind == "comparison" and not protocol.comparisons:
        yield Problem(
            "a comparison study compares nothing", "comparisons", "declare what is compared with the baseline"
        )
    for i, comparison in enumerate(protocol.comparisons):
        path = f"comparisons[{i}]"
        taken = [e.name for e in protocol.endpoints] + [c.name for c in protocol.comparisons[:i]]
        if comparison.name != unreadable and comparison.name in taken:
            yield Problem(f"name '{comparison.name}' given twice", f"{path}.name", "names identify; choose another")
        name = compared_metric(comparison)
        info = METRICS.get(name)
        if name == unreadable:
            continue
        if info is None or name not in COMPARABLE:
            suggestion = suggest_metric(name) if info is None else None
            fitting = [m for m in COMPARABLE if protocol.task.kind in METRICS[m].tasks]
            hint = f"did you mean '{suggestion}'?" if suggestion in COMPARABLE else f"one of: {', '.join(fitting)}"
            yield Problem(f"no difference of '{name}' is estimated", f"{path}.metric", hint)
            continue
        if problems := target_problems(protocol, as_endpoint(comparison), info, path):
            yield from problems
            continue
        if comparison.target is None and protocol.task.kind not in info.tasks:
            kinds = ", ".join(info.tasks)
            what = f"metric '{name}' does not fit a {protocol.task.kind} task"
            yield Problem(what, f"{path}.metric", f"it is for {kinds} tasks")
            continue
        yield from _calls(protocol, comparison, info, path, unreadable)
        yield from _hypothesis(protocol, comparison, info, path)
        yield from _guards(protocol, comparison, info, path)
        yield from _settings(protocol, comparison, info, path)


def _calls(
    protocol: StudyProtocol, comparison: Comparison, info: MetricInfo, path: str, unreadable: str
) -> Iterator[Problem]:
    names = [p.name for p in protocol.operating_points]
    if not info.needs_threshold(protocol.task.kind):
        for key in ("at", "baseline_at"):
            if getattr(comparison, key) is not None:
                yield Problem(f"metric '{info.name}' needs no operating point", f"{path}.{key}", "remove it")
        return
    if comparison.at is None:
        yield Problem(f"metric '{info.name}' needs an operating point", f"{path}.at", f"one of: {', '.join(names)}")
    for key in ("at", "baseline_at"):
        point = getattr(comparison, key)
        if point is not None and point not in names and unreadable not in names:
            hint = f"declared: {', '.join(names)}" if names else "declare it under operating_points"
            yield Problem(f"unknown operating point '{point}'", f"{path}.{key}", hint)
    if info.name == "net_benefit":
        if comparison.baseline_at is not None:
            yield Problem("net benefit is compared at one threshold", f"{path}.baseline_at", "remove it")
        if comparison.at in names and not 0.0 < protocol.operating_point(str(comparison.at)).threshold < 1.0:
            yield Problem("net benefit needs a threshold between 0 and 1", f"{path}.at", "it is a probability")


def _hypothesis(protocol: StudyProtocol, comparison: Comparison, info: MetricInfo, path: str) -> Iterator[Problem]:
    margin, hypothesis, criterion = comparison.margin, comparison.hypothesis, comparison.criterion
    if comparison.role == "primary" and criterion is None and hypothesis is None:
        yield Problem(
            "a primary comparison needs a hypothesis or a criterion",
            f"{path}.hypothesis",
            "e.g. hypothesis: non_inferiority with margin: 0.05, or make its role secondary",
        )
    if hypothesis in ("non_inferiority", "equivalence") and not margin:
        yield Problem(f"{hypothesis.replace('_', '-')} needs a margin above 0", f"{path}.margin", "e.g. margin: 0.05")
    if margin is not None and hypothesis is None:
        yield Problem(
            "a margin without a hypothesis means nothing", f"{path}.hypothesis", "say what it is the margin of"
        )
    if criterion is None:
        return
    implied = implied_criteria(comparison)
    if implied and not any(
        (c.bound, c.op.rstrip("="), c.value) == (criterion.bound, criterion.op.rstrip("="), criterion.value)
        for c in implied
    ):
        meant = " and ".join(f"{c.bound} bound {c.op} {c.value:g}" for c in implied)
        yield Problem("criterion and hypothesis contradict each other", f"{path}.criterion", f"it means: {meant}")
    elif implied and len(implied) > 1:
        yield Problem("one criterion is only half of an equivalence", f"{path}.criterion", "leave the criterion out")
    if criterion.bound == "point":
        adjusted = protocol.decision_rule != "all_primary" or protocol.multiplicity.method != "none"
        if comparison.role == "primary" and adjusted:
            yield Problem("a criterion on a point estimate has no error rate to adjust", f"{path}.criterion.bound")
        elif not criterion.justification:
            yield Problem(
                "a criterion on a point estimate needs a justification",
                f"{path}.criterion.justification",
                "or judge bound: lower",
            )
    elif (criterion.bound == "lower") != (criterion.op in (">", ">=")):
        yield Problem(
            f"a {criterion.bound} bound {criterion.op} {criterion.value:g} demonstrates nothing",
            f"{path}.criterion",
            "turn the comparison round, or name the other bound",
        )


def _guards(protocol: StudyProtocol, comparison: Comparison, info: MetricInfo, path: str) -> Iterator[Problem]:
    if comparison.guards and (protocol.decision_rule != "all_primary" or protocol.multiplicity.method != "none"):
        what = "guards are judged all together, each at the study's error rate"
        yield Problem(what, f"{path}.guards", "use decision_rule: all_primary without a multiplicity method")
    taken: list[str] = [] if comparison.each is None else [comparison.each]
    top = _span(info)
    for i, guard in enumerate(comparison.guards):
        if guard.stratum in taken:
            what = f"stratum '{guard.stratum}' is judged already"
            yield Problem(what, f"{path}.guards[{i}].stratum", "one margin for each stratum")
        taken.append(guard.stratum)
        if top is not None and guard.margin >= top:
            what = f"differences of '{info.name}' lie between {-top:g} and {top:g}: nothing is guarded"
            yield Problem(what, f"{path}.guards[{i}].margin", "a smaller margin")


def _settings(protocol: StudyProtocol, comparison: Comparison, info: MetricInfo, path: str) -> Iterator[Problem]:
    if info.needs_probability and not protocol.task.probability:
        yield Problem(
            f"metric '{info.name}' needs a probability", f"{path}.metric", "task.probability says the score is none"
        )
    for name in _SETTINGS:
        given = getattr(comparison, name) is not None
        if given and name not in (*info.requires, *info.accepts):
            yield Problem(f"metric '{info.name}' has no setting '{name}'", f"{path}.{name}", "remove it")
        if not given and name in info.requires:
            yield Problem("required field missing", f"{path}.{name}", f"metric '{info.name}' needs it")
    if comparison.ratio and info.name not in SHARES:
        fitting = [name for name in SHARES if protocol.task.kind in METRICS[name].tasks]
        hint = f"it is of shares of cases: {', '.join(fitting)}"
        yield Problem(f"no ratio of '{info.name}' is estimated", f"{path}.ratio", hint)
    known = difference_intervals(info.name)
    if comparison.interval is not None and comparison.interval not in known:
        hint = f"one of: {', '.join(known)}; or leave it out for the default"
        yield Problem(f"interval '{comparison.interval}' does not fit a difference", f"{path}.interval", hint)
    top = _span(info)
    for c in implied_criteria(comparison) or ((comparison.criterion,) if comparison.criterion else ()):
        if top is not None and c is not None and not c.placeholder and abs(c.value) >= top:
            yield Problem(
                f"goal {c.op} {c.value:g} lies outside what a difference can be",
                f"{path}.{'margin' if comparison.criterion is None else 'criterion.value'}",
                f"differences of '{info.name}' lie between {-top:g} and {top:g}",
            )
            break


def difference_intervals(metric: str) -> tuple[str, ...]:
    """Interval methods that may be named for the difference of this metric."""
    if metric in SHARES:
        return (*_PAIRED, *BOOTSTRAPPED)
    return ("delong", *BOOTSTRAPPED) if metric == "auroc" else BOOTSTRAPPED


def _span(info: MetricInfo) -> float | None:
    return None if info.lower is None or info.upper is None else info.upper - info.lower
