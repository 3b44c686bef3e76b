"""What a protocol must satisfy beyond its form: names that exist, metrics that fit, criteria that can be met."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import get_args

from evalsuite.errors import Problem, ProtocolError
from evalsuite.protocol.comparisons import asked_endpoints, compared_metric, difference_endpoints
from evalsuite.protocol.detection import detection_problems
from evalsuite.protocol.expression import compile_score
from evalsuite.protocol.measurement import measurement_problems
from evalsuite.protocol.metrics import METRICS, MetricInfo, suggest_metric
from evalsuite.protocol.readers import READERS
from evalsuite.protocol.schema import (
    AurocInterval,
    BootstrapInterval,
    Endpoint,
    ProportionInterval,
    StratumSpec,
    StudyProtocol,
)
from evalsuite.protocol.segmentation import segmentation_problems
from evalsuite.protocol.several import several_answers, target_problems

# Stands in for a name that could not be read; whatever refers to names is then not checked.
UNREADABLE = "\ufffd"

_PROPORTION_INTERVALS: tuple[str, ...] = get_args(ProportionInterval)
_AUROC_INTERVALS: tuple[str, ...] = get_args(AurocInterval)
_OF_TWO_CLASSES = ("fisher-z", "fleiss")
#: Limits that hold at every look while labels arrive, and the shares of cases they are made of.
SEQUENCE = "sequence"
OF_SEQUENCE = ("sensitivity", "specificity", "ppv", "npv", "accuracy")
_BOOTSTRAP_INTERVALS: tuple[str, ...] = get_args(BootstrapInterval)
SETTINGS = (
    *("prevalence", "sensitivity", "specificity", "range", "over", "bins", "binning", "smoother", "top", "maximum"),
    *("tolerance", "coverage", "variance_ratio", "repeats", "false_positives", "counted_in"),
    *("definition", "quantile"),
)
"""What an endpoint may ask of its metric beyond operating point and target."""
_MAX_ALPHA = 0.025
#: "Youden on the test set", "optimised on the locked set": said of the set that is to give the evidence.
_SEARCHED = re.compile(
    r"(?<!not )(?<!never )\b(optimi[sz]ed?|tuned|chosen|selected|searched|maximi[sz]ed?|youden)\b( [\w']+){0,3} "
    r"(on|over|from|in) (the |this |our )?(locked|test|evaluation)([ -]?(test)?[ -]?(set|data))",
    re.IGNORECASE,
)
#: Names that claim the truth to be known.
_OF_A_REFERENCE = (
    *("sensitivity", "specificity", "ppv", "npv", "accuracy", "balanced_accuracy", "youden", "lr_positive"),
    *("lr_negative", "sensitivity_at_specificity", "specificity_at_sensitivity"),
)


def check_protocol(protocol: StudyProtocol) -> list[Problem]:
    """Every contradiction in a protocol whose form is sound; empty if there is none."""
    from evalsuite.protocol.analysis_checks import analysis_problems
    from evalsuite.protocol.bias_checks import bias_problems
    from evalsuite.protocol.comparison_checks import comparison_problems
    from evalsuite.protocol.drift import drift_problems
    from evalsuite.protocol.failures import failure_problems, slice_problems, what_if_problems
    from evalsuite.protocol.interpretability import interpretability_problems
    from evalsuite.protocol.modification import modification_problems
    from evalsuite.protocol.planning import plan_problems
    from evalsuite.protocol.readers import reader_problems
    from evalsuite.protocol.robustness import robustness_problems
    from evalsuite.protocol.source_checks import source_problems
    from evalsuite.protocol.triage import triage_problems
    from evalsuite.protocol.uncertainty import uncertainty_problems

    return [
        *_unique(protocol),
        *_task(protocol),
        *several_answers(protocol),
        *measurement_problems(protocol),
        *detection_problems(protocol),
        *segmentation_problems(protocol),
        *_operating_points(protocol),
        *_strata(protocol),
        *(p for i, e in enumerate(protocol.endpoints) for p in _endpoint(protocol, e, f"endpoints[{i}]")),
        *comparison_problems(protocol, UNREADABLE),
        *(p for i in range(len(protocol.comparisons)) for p in _comparison_stratum(protocol, i)),
        *modification_problems(protocol),
        *_utility(protocol),
        *analysis_problems(protocol, UNREADABLE),
        *bias_problems(protocol, UNREADABLE),
        *source_problems(protocol, UNREADABLE),
        *failure_problems(protocol, UNREADABLE),
        *drift_problems(protocol, UNREADABLE),
        *slice_problems(protocol, UNREADABLE),
        *what_if_problems(protocol, UNREADABLE),
        *uncertainty_problems(protocol, UNREADABLE),
        *robustness_problems(protocol, UNREADABLE),
        *interpretability_problems(protocol, UNREADABLE),
        *triage_problems(
            protocol.analyses.triage,
            points=[p.name for p in protocol.operating_points],
            task=protocol.task.kind,
            comparator=protocol.task.reference_is == "comparator",
            unreadable=UNREADABLE,
        ),
        *reader_problems(
            protocol.kind,
            protocol.readers,
            protocol.task.kind,
            protocol.endpoints,
            unresolved=protocol.missing_reference.primary,
            compares=bool(protocol.comparisons),
        ),
        *plan_problems(protocol.plan, protocol.endpoints, protocol.comparisons, UNREADABLE),
        *_decision(protocol),
        *_confidence(protocol),
    ]


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """A hint with the closest candidate, or with all of them where none is close."""
    names = [c for c in candidates if c]
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"declared: {', '.join(names)}" if names else ""


def bin_labels(bins: Sequence[float]) -> list[str]:
    """The levels of a binned stratum, in order: `<40`, `40-<60`, `>=60`."""
    edges = [f"{edge:.15g}" for edge in bins]
    return [f"<{edges[0]}", *(f"{a}-<{b}" for a, b in itertools.pairwise(edges)), f">={edges[-1]}"]


def _unique(protocol: StudyProtocol) -> Iterator[Problem]:
    groups = {
        "operating_points": [p.name for p in protocol.operating_points],
        "endpoints": [e.name for e in protocol.endpoints],
        "strata": [s.name for s in protocol.strata],
    }
    for key, names in groups.items():
        for i, name in enumerate(names):
            if name != UNREADABLE and name in names[:i]:
                yield Problem(f"name '{name}' given twice", f"{key}[{i}].name", "names identify; choose another")


def _task(protocol: StudyProtocol) -> Iterator[Problem]:
    task = protocol.task
    if task.reference_is == "comparator" and task.kind != "binary":
        yield Problem(
            f"agreement with a comparator is of a binary task, not a {task.kind} one", "task.reference_is", "remove it"
        )
    if task.kind == "binary" and not isinstance(task.reference, str):
        yield Problem("a binary task has one reference column", "task.reference", "name one column")
    if isinstance(task.positive, list) and not task.positive:
        yield Problem("no value of the reference means positive", "task.positive", "give at least one value")
    if task.kind in ("multiclass", "multilabel") or (task.kind == "ordinal" and not isinstance(task.score, str)):
        return  # a list of outputs, each by name
    try:
        compile_score(task.score)
    except ProtocolError as error:
        yield from error.problems


def _operating_points(protocol: StudyProtocol) -> Iterator[Problem]:
    for i, point in enumerate(protocol.operating_points):
        if _SEARCHED.search(point.source):
            yield Problem(
                "an operating point searched on the test set is no operating point fixed beforehand",
                f"operating_points[{i}].source",
                "fix it on other data, and say on which",
            )
    if protocol.task.kind in ("binary", "multilabel", "detection"):
        return
    for i, _ in enumerate(protocol.operating_points):
        yield Problem(
            f"a {protocol.task.kind} task has no operating point",
            f"operating_points[{i}]",
            "remove it, or check task.kind",
        )


def _strata(protocol: StudyProtocol) -> Iterator[Problem]:
    by_name = {s.name: s for s in protocol.strata}
    for i, spec in enumerate(protocol.strata):
        path = f"strata[{i}]"
        if spec.cross is None:
            if spec.column is None:
                yield Problem("a stratum needs a column or a cross", path, f"give column: {spec.name}")
        elif spec.column is not None or spec.bins is not None:
            yield Problem("a cross has no column and no bins of its own", path, "declare them in the strata it crosses")
        if spec.column is not None and spec.column.strip() in ("", "dicom:"):
            yield Problem("no column named", f"{path}.column", 'e.g. column: "dicom:Manufacturer"')
        if spec.bins is not None:
            if not spec.bins:
                yield Problem("no bin edge given", f"{path}.bins", "e.g. bins: [40, 60]")
            if any(b <= a for a, b in itertools.pairwise(spec.bins)):
                yield Problem("bin edges must increase", f"{path}.bins", f"e.g. {sorted(set(spec.bins))}")
        if spec.cross is not None:
            yield from _cross(spec, path, by_name)


def _cross(spec: StratumSpec, path: str, by_name: dict[str, StratumSpec]) -> Iterator[Problem]:
    members = spec.cross or []
    if len(members) < 2:
        yield Problem("a cross needs at least two strata", f"{path}.cross", "e.g. cross: [sex, age]")
    for j, member in enumerate(members):
        if member in members[:j]:
            yield Problem(f"stratum '{member}' crossed with itself", f"{path}.cross[{j}]")
        elif member not in by_name:
            if UNREADABLE not in by_name:
                simple = [n for n, s in by_name.items() if s.cross is None]
                yield Problem(f"unknown stratum '{member}'", f"{path}.cross[{j}]", did_you_mean(member, simple))
        elif by_name[member].cross is not None:
            yield Problem(f"'{member}' is a cross itself", f"{path}.cross[{j}]", "cross its members directly")


def _endpoint(protocol: StudyProtocol, endpoint: Endpoint, path: str) -> Iterator[Problem]:
    info = METRICS.get(endpoint.metric)
    if info is None:
        if endpoint.metric != UNREADABLE:
            suggestion = suggest_metric(endpoint.metric)
            hint = f"did you mean '{suggestion}'?" if suggestion else "evalsuite list metrics"
            yield Problem(f"unknown metric '{endpoint.metric}'", f"{path}.metric", hint)
    elif info.analysis == READERS:
        yield from _operating_point(protocol, endpoint, info, path)
        yield from _settings(protocol, endpoint, info, path)
    elif problems := target_problems(protocol, endpoint, info, path):
        yield from problems
    elif endpoint.target is None and protocol.task.kind not in info.tasks:
        yield Problem(
            f"metric '{endpoint.metric}' does not fit a {protocol.task.kind} task",
            f"{path}.metric",
            f"it is for {', '.join(info.tasks)} tasks",
        )
    else:
        yield from _named_rightly(protocol, info, path)
        yield from _operating_point(protocol, endpoint, info, path)
        yield from _settings(protocol, endpoint, info, path)
    yield from _criterion(endpoint, info, path)
    yield from _endpoint_stratum(protocol, endpoint, path)


def _named_rightly(protocol: StudyProtocol, info: MetricInfo, path: str) -> Iterator[Problem]:
    """A sensitivity needs a reference standard; against any other comparator it is an agreement (FDA, 2007)."""
    comparator = protocol.task.reference_is == "comparator"
    if comparator and info.name in _OF_A_REFERENCE:
        yield Problem(
            f"'{info.name}' needs a reference standard, and task.reference_is says the comparator is none",
            f"{path}.metric",
            "use ppa, npa or opa",
        )
    elif not comparator and info.name in ("ppa", "npa", "opa"):
        yield Problem(
            f"'{info.name}' is of a comparator that is no reference standard",
            f"{path}.metric",
            "say task.reference_is: comparator, or use sensitivity, specificity or accuracy",
        )


def _operating_point(protocol: StudyProtocol, endpoint: Endpoint, info: MetricInfo, path: str) -> Iterator[Problem]:
    names = [p.name for p in protocol.operating_points]
    if not info.needs_threshold(protocol.task.kind):
        if endpoint.at is not None:
            yield Problem(f"metric '{info.name}' needs no operating point", f"{path}.at", "remove it")
        return
    if endpoint.at is None:
        known = [n for n in names if n != UNREADABLE]
        hint = f"one of: {', '.join(known)}" if known else "declare one under operating_points and name it here"
        yield Problem(f"metric '{info.name}' needs an operating point", f"{path}.at", hint)
    elif endpoint.at not in names and UNREADABLE not in names:
        hint = did_you_mean(endpoint.at, names) or "declare it under operating_points"
        yield Problem(f"unknown operating point '{endpoint.at}'", f"{path}.at", hint)
    elif info.needs_probability and endpoint.at in names:
        threshold = protocol.operating_point(endpoint.at).threshold
        if not 0.0 < threshold < 1.0:
            yield Problem("net benefit needs a threshold between 0 and 1", f"{path}.at", "it is a probability")


def _settings(protocol: StudyProtocol, endpoint: Endpoint, info: MetricInfo, path: str) -> Iterator[Problem]:
    for name in SETTINGS:
        given = getattr(endpoint, name) is not None
        if given and name not in (*info.requires, *info.accepts):
            yield Problem(f"metric '{info.name}' has no setting '{name}'", f"{path}.{name}", "remove it")
        if not given and name in info.requires:
            yield Problem("required field missing", f"{path}.{name}", f"metric '{info.name}' needs it")
    if endpoint.range is not None and not 0.0 <= endpoint.range[0] < endpoint.range[1] <= 1.0:
        yield Problem("a range lies within 0 and 1 and increases", f"{path}.range", "e.g. range: [0.8, 1.0]")
    if info.needs_probability and not protocol.task.probability:
        yield Problem(
            f"metric '{info.name}' needs a probability", f"{path}.metric", "task.probability says the score is none"
        )
    fitting = intervals_for(endpoint, info)
    if info.needs_call and protocol.task.kind == "multiclass" and endpoint.target is None:
        # The closed forms of kappa and MCC are those of two classes.
        fitting = tuple(name for name in fitting if name not in _OF_TWO_CLASSES)
    if protocol.task.kind != "binary":
        fitting = tuple(name for name in fitting if name != SEQUENCE)
    if endpoint.interval is not None and endpoint.interval not in fitting:
        allowed = ", ".join(fitting)
        hint = f"one of: {allowed}; or leave it out for the default" if allowed else "it has one only; leave it out"
        yield Problem(f"interval '{endpoint.interval}' does not fit '{info.name}'", f"{path}.interval", hint)


def intervals_for(endpoint: Endpoint, info: MetricInfo) -> tuple[str, ...]:
    """Interval methods that may be named for this metric; none where it has only one."""
    if info.intervals is not None:
        return info.intervals
    if info.family == "auroc":
        return (*_AUROC_INTERVALS, *_BOOTSTRAP_INTERVALS)
    # A predictive value at a declared prevalence is no proportion of cases.
    if info.family == "proportion" and endpoint.prevalence is None:
        at_every_look = (SEQUENCE,) if info.name in OF_SEQUENCE else ()
        return (*_PROPORTION_INTERVALS, *_BOOTSTRAP_INTERVALS, *at_every_look)
    return _BOOTSTRAP_INTERVALS


def _criterion(endpoint: Endpoint, info: MetricInfo | None, path: str) -> Iterator[Problem]:
    criterion = endpoint.criterion
    if criterion is None:
        if endpoint.role == "primary":
            yield Problem(
                "a primary endpoint needs a criterion",
                f"{path}.criterion",
                'e.g. {bound: lower, op: ">", value: 0.80}, or make its role secondary',
            )
        return
    where = f"{path}.criterion"
    if criterion.bound == "point" and not criterion.justification:
        yield Problem(
            "a criterion on a point estimate needs a justification", f"{where}.justification", "or judge bound: lower"
        )
    if (criterion.bound == "lower" and criterion.op in ("<", "<=")) or (
        criterion.bound == "upper" and criterion.op in (">", ">=")
    ):
        other = "upper" if criterion.bound == "lower" else "lower"
        yield Problem(
            f"a {criterion.bound} bound {criterion.op} {criterion.value:g} demonstrates nothing",
            where,
            f'use bound: {other} with op: "{criterion.op}", or turn the comparison round',
        )
    elif info is not None and not criterion.placeholder and not _reachable(info, criterion.op, criterion.value):
        yield Problem(
            f"goal {criterion.op} {criterion.value:g} cannot be reached",
            f"{where}.value",
            f"the range of '{info.name}' ends before",
        )


def _reachable(info: MetricInfo, op: str, goal: float) -> bool:
    if op in (">", ">="):
        return info.upper is None or goal < info.upper or (op == ">=" and goal == info.upper)
    return info.lower is None or goal > info.lower or (op == "<=" and goal == info.lower)


def _endpoint_stratum(protocol: StudyProtocol, endpoint: Endpoint, path: str) -> Iterator[Problem]:
    by_name = {s.name: s for s in protocol.strata}
    if endpoint.each is not None and endpoint.stratum:
        yield Problem("an endpoint has 'each' or 'stratum', not both", f"{path}.each", "declare two endpoints")
    if endpoint.each is not None and endpoint.each not in by_name and UNREADABLE not in by_name:
        hint = did_you_mean(endpoint.each, by_name) or "declare it under strata"
        yield Problem(f"unknown stratum '{endpoint.each}'", f"{path}.each", hint)
    if (endpoint.each is not None or endpoint.stratum) and endpoint.criterion is None:
        yield Problem(
            "'each' and 'stratum' say where a criterion is judged, and there is none",
            f"{path}.{'each' if endpoint.each is not None else 'stratum'}",
            "estimates are reported in every stratum anyway; remove it or add a criterion",
        )
    for key, level in endpoint.stratum.items():
        spec = by_name.get(key)
        if spec is None:
            if UNREADABLE not in by_name:
                hint = (
                    did_you_mean(key, [n for n, s in by_name.items() if s.cross is None]) or "declare it under strata"
                )
                yield Problem(f"unknown stratum '{key}'", f"{path}.stratum.{key}", hint)
        elif spec.cross is not None:
            yield Problem(
                f"'{key}' is a cross", f"{path}.stratum.{key}", f"name a level of each: {', '.join(spec.cross)}"
            )
        elif spec.bins and level[:1] in tuple("<>=0123456789") and level not in bin_labels(spec.bins):
            hint = did_you_mean(level, bin_labels(spec.bins))
            yield Problem(f"stratum '{key}' has no group '{level}'", f"{path}.stratum.{key}", hint)
    if len(endpoint.stratum) > 1 and all(key in by_name for key in endpoint.stratum):
        keys = set(endpoint.stratum)
        if not any(s.cross is not None and set(s.cross) == keys for s in protocol.strata):
            names = ", ".join(endpoint.stratum)
            yield Problem(f"no stratum crosses {names}", f"{path}.stratum", f"declare one with cross: [{names}]")


def _comparison_stratum(protocol: StudyProtocol, i: int) -> Iterator[Problem]:
    if compared_metric(protocol.comparisons[i]) in METRICS:
        own, *_ = difference_endpoints(protocol.comparisons[i])
        yield from _endpoint_stratum(protocol, own, f"comparisons[{i}]")
        for j, guard in enumerate(protocol.comparisons[i].guards):
            guarded = own.model_copy(update={"stratum": {}, "each": guard.stratum})
            for problem in _endpoint_stratum(protocol, guarded, f"comparisons[{i}]"):
                yield replace(problem, where=f"comparisons[{i}].guards[{j}].stratum")


def _decision(protocol: StudyProtocol) -> Iterator[Problem]:
    # An equivalence is two criteria of one name, hence one claim.
    asked = list({e.name: e for e in asked_endpoints(protocol)}.values())
    primary = [e for e in asked if e.role == "primary"]
    names = [e.name for e in asked]
    multiplicity = protocol.multiplicity
    if not primary and UNREADABLE not in names:
        yield Problem(
            "no endpoint is primary, so there is nothing to judge",
            "endpoints",
            "give at least one endpoint role: primary and a criterion",
        )
    if protocol.decision_rule == "any_primary" and len(primary) > 1 and multiplicity.method == "none":
        yield Problem(
            "any_primary with several primary endpoints needs a multiplicity method",
            "multiplicity.method",
            "one of: holm, hochberg, hommel, fixed_sequence",
        )
    ordered = multiplicity.method == "fixed_sequence" or protocol.decision_rule == "gatekeeping"
    for i, name in enumerate(multiplicity.order):
        if name not in names and UNREADABLE not in names:
            yield Problem(f"unknown endpoint '{name}'", f"multiplicity.order[{i}]", did_you_mean(name, names))
        elif name in multiplicity.order[:i]:
            yield Problem(f"endpoint '{name}' ordered twice", f"multiplicity.order[{i}]")
    if ordered:
        absent = [e.name for e in primary if e.name not in multiplicity.order and e.name != UNREADABLE]
        if absent:
            why = "a fixed sequence" if multiplicity.method == "fixed_sequence" else "gatekeeping"
            yield Problem(
                f"{why} needs the order of the primary endpoints",
                "multiplicity.order",
                f"not in it: {', '.join(absent)}",
            )
    elif multiplicity.order:
        yield Problem(
            "an order is for a fixed sequence or gatekeeping",
            "multiplicity.order",
            "set method: fixed_sequence, or remove it",
        )
    yield from _adjusted_criteria(protocol, ordered)


def _adjusted_criteria(protocol: StudyProtocol, ordered: bool) -> Iterator[Problem]:
    method = protocol.multiplicity.method
    if protocol.decision_rule == "gatekeeping" and method in ("holm", "hochberg", "hommel"):
        yield Problem(
            f"gatekeeping tests its gates in a fixed order, each at the full error rate; '{method}' splits it",
            "multiplicity.method",
            f"leave it out (or fixed_sequence), or use decision_rule: any_primary with {method}",
        )
    named = set(protocol.multiplicity.order) if ordered else set()
    for i, endpoint in enumerate(protocol.endpoints):
        tested = endpoint.name in named or (
            endpoint.role == "primary" and (protocol.decision_rule != "all_primary" or method != "none")
        )
        if not tested:
            continue
        if endpoint.criterion is None and endpoint.role != "primary":
            yield Problem(
                f"endpoint '{endpoint.name}' is in the order but has no criterion to test",
                f"endpoints[{i}].criterion",
                "give it one, or take it out of multiplicity.order",
            )
        elif endpoint.criterion is not None and endpoint.criterion.bound == "point":
            yield Problem(
                "a criterion on a point estimate has no error rate to adjust",
                f"endpoints[{i}].criterion.bound",
                "judge bound: lower or upper, or use decision_rule: all_primary without multiplicity",
            )


def _utility(protocol: StudyProtocol) -> Iterator[Problem]:
    utility = protocol.analyses.utility
    if utility is None:
        return
    if utility.thresholds[0] >= utility.thresholds[1]:
        yield Problem("thresholds must increase", "analyses.utility.thresholds", "e.g. thresholds: [0.05, 0.5, 46]")
    if protocol.task.kind == "binary" and not protocol.task.probability:
        yield Problem(
            "a decision curve needs a probability", "analyses.utility", "task.probability says the score is none"
        )


def _confidence(protocol: StudyProtocol) -> Iterator[Problem]:
    confidence = protocol.confidence
    if confidence.bootstrap.stratified and protocol.task.kind != "binary":
        where = "confidence.bootstrap.stratified"
        yield Problem("patients are drawn by class in binary tasks only", where, "remove it")
    if confidence.two_sided_level <= 0.0:
        yield Problem("a one-sided level lies above 0.5", "confidence.level", "e.g. 0.975")
    elif confidence.alpha > _MAX_ALPHA + 1e-9 and not confidence.justification:
        yield Problem(
            f"one-sided alpha of {confidence.alpha:.3g} exceeds 0.025",
            "confidence.justification",
            "justify it, or use level: 0.95 two-sided (0.975 one-sided)",
        )
