"""What the bias block must satisfy: names that exist, margins that fit, criteria that can be met."""

from __future__ import annotations

from collections.abc import Iterator

from evalsuite.errors import Problem
from evalsuite.protocol.bias_block import COMPLEMENT, Bias, BiasAttribute, GapCriterion
from evalsuite.protocol.schema import StratumSpec, StudyProtocol

_OF_CALLS = (
    *("sensitivity", "specificity", "ppv", "npv", "accuracy", "fpr", "fnr", "selection_rate"),
    "underdiagnosis_rate",
)
_OF_PROBABILITIES = ("calibration_intercept", "calibration_slope", "brier")
#: No two groups can differ by more.
_SHARES = (*_OF_CALLS, "auroc", "brier")
_PATH = "analyses.bias"


def bias_problems(protocol: StudyProtocol, unreadable: str) -> Iterator[Problem]:
    """Every contradiction in `analyses.bias`; none without the block."""
    asked = protocol.analyses.bias
    if asked is None:
        return
    by_name = {s.name: s for s in protocol.strata}
    known = unreadable not in by_name
    yield from _attributes(asked, by_name, known, unreadable)
    for key, names in (("case_mix", asked.case_mix), ("verification", [asked.verification])):
        for i, name in enumerate(names):
            where = f"{_PATH}.{key}[{i}]" if key == "case_mix" else f"{_PATH}.{key}"
            if name is None:
                continue
            if name in by_name and by_name[name].cross is not None and key == "verification":
                yield Problem(f"'{name}' is a cross", where, "name one of its members")
            yield from _stratum(name, by_name, known, where, unreadable)
            if key == "case_mix" and name in asked.case_mix[:i]:
                yield Problem(f"stratum '{name}' named twice", where)
    yield from _points(protocol, asked, unreadable)
    yield from _metrics(protocol, asked)
    for i, criterion in enumerate(asked.criteria):
        yield from _criterion(protocol, asked, criterion, i)


def _stratum(name: str, by_name: dict[str, StratumSpec], known: bool, where: str, unreadable: str) -> Iterator[Problem]:
    from evalsuite.protocol.checks import did_you_mean

    if name not in by_name and known and name != unreadable:
        yield Problem(f"unknown stratum '{name}'", where, did_you_mean(name, by_name) or "declare it under strata")


def _attributes(asked: Bias, by_name: dict[str, StratumSpec], known: bool, unreadable: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for i, attribute in enumerate(asked.attributes):
        where = f"{_PATH}.attributes[{i}]"
        yield from _stratum(attribute.stratum, by_name, known, f"{where}.stratum", unreadable)
        if attribute.stratum in seen:
            yield Problem(f"stratum '{attribute.stratum}' named twice", f"{where}.stratum")
        seen.add(attribute.stratum)
        spec = by_name.get(attribute.stratum)
        if spec is not None:
            yield from _reference(attribute, spec, by_name, where)


def _reference(
    attribute: BiasAttribute, spec: StratumSpec, by_name: dict[str, StratumSpec], where: str
) -> Iterator[Problem]:
    from evalsuite.protocol.checks import bin_labels

    reference = attribute.reference
    if reference is None:
        return
    path = f"{where}.reference"
    if spec.cross is None:
        if isinstance(reference, dict):
            yield Problem(f"'{spec.name}' is no cross: its groups have one name", path, "write the group's name")
        elif spec.bins and "<" not in reference and not reference.startswith(">="):
            groups = ", ".join(bin_labels(spec.bins))
            yield Problem(f"'{reference}' is no bin of '{spec.name}'", path, f"its groups: {groups}")
        return
    if isinstance(reference, str):
        example = ", ".join(f"{name}: …" for name in spec.cross)
        yield Problem(f"'{spec.name}' is a cross: a group of it has several parts", path, f"write {{{example}}}")
        return
    parts = [name for name in spec.cross if by_name.get(name) is None or by_name[name].cross is None]
    for name in (n for n in reference if n not in parts and len(parts) == len(spec.cross)):
        yield Problem(f"'{name}' is no part of '{spec.name}'", path, f"its parts: {', '.join(spec.cross)}")
    for name in (n for n in parts if n not in reference and len(parts) == len(spec.cross)):
        yield Problem(f"the reference group does not say which '{name}'", path, f"add {name}")


def _points(protocol: StudyProtocol, asked: Bias, unreadable: str) -> Iterator[Problem]:
    from evalsuite.protocol.checks import did_you_mean

    names = [p.name for p in protocol.operating_points]
    if unreadable in names or asked.at == unreadable:
        return
    if asked.at is not None:
        if asked.at not in names:
            yield Problem(f"unknown operating point '{asked.at}'", f"{_PATH}.at", did_you_mean(asked.at, names))
    elif len(names) > 1:
        yield Problem("several operating points, and none is named", f"{_PATH}.at", f"one of: {', '.join(names)}")


def _metrics(protocol: StudyProtocol, asked: Bias) -> Iterator[Problem]:
    # The default list is thinned to what the study has; what is written out has to be possible.
    named = asked.metrics or []
    for i, metric in enumerate(named):
        where = f"{_PATH}.metrics[{i}]"
        if metric in named[:i]:
            yield Problem(f"metric '{metric}' named twice", where)
        if metric in _OF_CALLS and not protocol.operating_points:
            yield Problem(f"'{metric}' needs a call", where, "declare a threshold under operating_points")
        if metric in _OF_PROBABILITIES and not protocol.task.probability:
            yield Problem(f"'{metric}' needs a probability", where, "task.probability says the score is none")
    for metric, margin in asked.margins.items():
        where = f"{_PATH}.margins.{metric}"
        if metric not in asked.compared:
            yield Problem(f"a margin for '{metric}', which is not compared", where, "add it to metrics")
        if metric in _SHARES and margin >= 1.0:
            yield Problem("no two groups can differ by more than 1: this margin is always kept", where)
        if margin != asked.margin(metric):
            same = COMPLEMENT.get(metric, metric)
            yield Problem(f"'{metric}' and its mirror image have two margins", where, f"give one, of {same}")


def _criterion(protocol: StudyProtocol, asked: Bias, criterion: GapCriterion, i: int) -> Iterator[Problem]:
    where = f"{_PATH}.criteria[{i}]"
    taken = [e.name for e in protocol.endpoints] + [c.name for c in protocol.comparisons]
    taken += [c.name for c in asked.criteria[:i]]
    if criterion.name in taken:
        yield Problem(f"the name '{criterion.name}' is taken", f"{where}.name", "give every criterion its own")
    attributes = [a.stratum for a in asked.attributes]
    if criterion.attribute not in attributes:
        yield Problem(
            f"'{criterion.attribute}' is not among the attributes",
            f"{where}.attribute",
            f"one of: {', '.join(attributes)}",
        )
    if criterion.metric not in asked.compared:
        yield Problem(
            f"'{criterion.metric}' is not among the metrics", f"{where}.metric", f"one of: {', '.join(asked.compared)}"
        )
    elif criterion.metric in _OF_CALLS and not protocol.operating_points:
        yield Problem(f"'{criterion.metric}' needs a call", f"{where}.metric", "declare one under operating_points")
    if criterion.metric in _SHARES and criterion.margin >= 1.0:
        yield Problem("no two groups can differ by more than 1: this margin is always kept", f"{where}.margin")
    if asked.adjustment == "bh":
        yield Problem("an exploratory analysis cannot decide", where, "use adjustment: holm, or remove the criterion")
    if criterion.role != "primary":
        return
    if not criterion.rationale:
        yield Problem(
            "a primary criterion on gaps is judged at a one-sided 5 %, above 2.5 %, without saying why",
            f"{where}.rationale",
            "say why this margin and this error rate suffice",
        )
    if protocol.decision_rule != "all_primary":
        yield Problem(
            f"a primary criterion on gaps does not fit the decision rule '{protocol.decision_rule}'",
            f"{where}.role",
            "use all_primary, or make it secondary",
        )
