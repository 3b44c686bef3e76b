"""The verdict: each acceptance criterion against its interval, and what follows for the study as a whole.

A pure function of protocol and evidence. It computes no estimate; where the evidence leaves a doubt, the outcome is
inconclusive, never met.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from evalsuite.errors import ProtocolError
from evalsuite.protocol.bias_block import GapCriterion
from evalsuite.protocol.bias_outcomes import JudgedGap, gap_level, judged_gaps
from evalsuite.protocol.comparisons import BASELINE, ORIGINAL, asked_endpoints, is_difference
from evalsuite.protocol.decision import Family, decision_family
from evalsuite.protocol.load import protocol_digest
from evalsuite.protocol.metrics import METRICS
from evalsuite.protocol.modification import Modification
from evalsuite.protocol.schema import Criterion, Endpoint, StudyProtocol
from evalsuite.record.digest import digest_json
from evalsuite.types import CriterionResult, Decision, Estimate, Evidence, Finding, Outcome, Stratum, Verdict

_WORDS = {"met": "met", "not_met": "not met", "inconclusive": "inconclusive"}
_VERBS = {">": "exceed", ">=": "reach", "<": "lie below", "<=": "stay within"}
_OPPOSITE = {"lower": "upper", "upper": "lower"}
_LEVEL_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class _Judged:
    outcome: Outcome
    reason: str


def judge(protocol: StudyProtocol, evidence: Evidence, *, not_evidence_because: Sequence[str] = ()) -> Verdict:
    """Judge the evidence by the protocol's acceptance criteria.

    A criterion is met when its named bound clears the goal, not met when the opposite bound lies on the wrong side of
    the goal, and otherwise inconclusive: not estimable, without an interval, not assessable or missing from the
    evidence included. Every criterion is judged and listed; only primary ones decide.

    Parameters
    ----------
    not_evidence_because
        Why the run does not count as evidence (unfrozen, limited to some cases, changed after unblinding). The outcome
        is then at most inconclusive.

    Returns
    -------
    Verdict
        With at least one result per endpoint that has a criterion, and one per group for a criterion on every group.

    Raises
    ------
    ProtocolError
        If no primary endpoint has a criterion: there is nothing to judge.
    """
    asked = asked_endpoints(protocol)
    if not any(e.role == "primary" and e.criterion is not None for e in asked):
        raise ProtocolError(
            "The protocol has no primary acceptance criterion, so there is nothing to judge.",
            hint="Give at least one endpoint role: primary and a criterion.",
        )
    reasons = [*not_evidence_because, *_other_protocol(protocol, evidence)]
    family = _deciding_family(protocol, evidence)
    adjusted = {e.name for e in family.endpoints} if family is not None else set()
    results: list[CriterionResult] = []
    flags: list[str] = []
    for endpoint in asked:
        if endpoint.criterion is None:
            continue
        for stratum in _strata_to_judge(endpoint, protocol, evidence):
            within = family if endpoint.name in adjusted else None
            result = _judge_one(endpoint, endpoint.criterion, stratum, protocol, evidence, within)
            results.append(result)
            flags.extend(_flags(result, protocol))
    if family is not None and family.ordered:
        results = _in_sequence(family, results)
    for result in _gap_results(protocol, evidence):
        results.append(result)
        flags.extend(_flags(result, protocol))
    overall = _overall(protocol, [r for r in results if r.role == "primary"], family)
    outcome, reason = overall.outcome, overall.reason
    decision: Decision | None = None
    if protocol.modification is not None:
        outcome, reason = _modified(protocol.modification, results, outcome, reason)
        decision = "implement" if outcome == "met" and not reasons else "do_not_implement"
    if reasons:
        if outcome == "met":
            outcome = "inconclusive"
        reason = f"{reason} The run is not evidence: {'; '.join(reasons)}."
    return Verdict(
        overall=outcome,
        decision_rule=protocol.decision_rule,
        criteria=tuple(results),
        reason=reason,
        evidence=not reasons,
        not_evidence_because=tuple(reasons),
        flags=tuple(dict.fromkeys(flags)),
        evidence_digest=digest_json(evidence.to_json()),
        decision=decision,
    )


def _modified(
    modification: Modification, results: Sequence[CriterionResult], outcome: Outcome, reason: str
) -> tuple[Outcome, str]:
    """Any criterion that is not met, a group that is not assessable included, leaves the modification unimplemented; so
    does a change that its plan does not cover."""
    open_ = [r for r in results if r.outcome != "met"]
    said = []
    if open_:
        said.append(f"{len(open_)} of {len(results)} criteria unresolved ({_names(open_)})")
        reason = ""
    if modification.outside:
        what = ", ".join(modification.outside)
        said.append(f"it changes what the plan does not cover ({what}): assess whether it needs a new submission")
    if not said:
        return outcome, f"The modification may be implemented under its plan. {reason}"
    return (
        "inconclusive" if outcome == "met" else outcome,
        f"Do not implement the modification: {'; '.join(said)}. {reason}".strip(),
    )


def _other_protocol(protocol: StudyProtocol, evidence: Evidence) -> list[str]:
    stated = evidence.protocol.get("digest")
    if stated is None or stated == protocol_digest(protocol):
        return []
    return ["the protocol was changed after the evidence was computed"]


# --- which findings a criterion is judged on ------------------------------------------------------------------------


def _deciding_family(protocol: StudyProtocol, evidence: Evidence) -> Family | None:
    """The endpoints judged on adjusted bounds, where the evidence holds such bounds for all of them."""
    family = decision_family(protocol)
    if family is None or not family.decides:
        return None
    held = {f.endpoint for f in evidence.findings if f.analysis == "multiplicity" and f.condition == family.condition}
    return family if all(e.name in held for e in family.endpoints) else None


def _matching(
    endpoint: Endpoint, evidence: Evidence, *, stratum: Stratum | None, condition: str | None, analysis: str | None
) -> list[Finding]:
    return [
        f
        for f in evidence.findings
        if f.endpoint == endpoint.name
        and f.metric == endpoint.metric
        and f.operating_point == endpoint.at
        and f.rater == "device"
        and f.reference_group in ((BASELINE, ORIGINAL) if is_difference(endpoint.metric) else (None,))
        and f.condition == condition
        and (analysis is None or f.analysis == analysis)
        and (stratum is None or dict(f.stratum) == dict(stratum))
    ]


def _primary_findings(endpoint: Endpoint, evidence: Evidence, stratum: Stratum | None) -> list[Finding]:
    info = METRICS.get(endpoint.metric)
    return _matching(endpoint, evidence, stratum=stratum, condition=None, analysis=info.analysis if info else None)


def _strata_to_judge(endpoint: Endpoint, protocol: StudyProtocol, evidence: Evidence) -> list[Stratum]:
    """The groups one criterion is judged in: the whole set, the named group, or every group the evidence holds."""
    if endpoint.each is None:
        return [dict(endpoint.stratum)]
    spec = protocol.stratum(endpoint.each)
    keys = set(spec.cross or [spec.name])
    found = [dict(f.stratum) for f in _primary_findings(endpoint, evidence, None) if set(f.stratum) == keys]
    # Groups that only the case accounting knows must be judged too: an estimate left out is not a criterion met.
    found += [dict(a.stratum) for a in evidence.accounting if set(a.stratum) == keys and a.n > 0]
    unique: list[Stratum] = []
    for cell in found:
        if cell not in unique:
            unique.append(cell)
    return unique or [dict.fromkeys(sorted(keys), "(no group found)")]


# --- one criterion --------------------------------------------------------------------------------------------------


def _judge_one(
    endpoint: Endpoint,
    criterion: Criterion,
    stratum: Stratum,
    protocol: StudyProtocol,
    evidence: Evidence,
    family: Family | None,
) -> CriterionResult:
    """`family` is given for criteria judged on bounds adjusted for multiplicity."""
    if family is None:
        found = _primary_findings(endpoint, evidence, stratum)
    else:
        found = _matching(endpoint, evidence, stratum=stratum, condition=family.condition, analysis="multiplicity")
    if not found:
        where = _where(stratum)
        estimate = Estimate.not_estimable(f"the evidence holds no {endpoint.metric}{where}", n=0)
        judged = _Judged("inconclusive", f"The evidence holds no {endpoint.metric} for this endpoint{where}.")
    else:
        estimate = found[0].estimate
        if any(f.estimate != estimate for f in found[1:]):
            judged = _Judged("inconclusive", "The evidence holds several different estimates for this criterion.")
        else:
            judged = _judge_estimate(criterion, estimate, protocol.confidence.two_sided_level)
            if family is not None and not family.ordered:
                judged = _Judged(judged.outcome, f"{judged.reason} The level is that of {family.title}'s procedure.")
            judged = _one_class_only(judged, evidence)
            judged = _missing_outputs(judged, endpoint, criterion, stratum, protocol, evidence, family)
            judged = _missing_reference(judged, endpoint, criterion, stratum, protocol, evidence, family)
    if criterion.placeholder:
        judged = _Judged(
            "inconclusive", f"The goal is a placeholder that still has to be justified. As it stands: {judged.reason}"
        )
    return CriterionResult(
        endpoint=endpoint.name,
        metric=endpoint.metric,
        role=endpoint.role,
        operating_point=endpoint.at,
        stratum=stratum,
        criterion=criterion.model_dump(mode="json"),
        estimate=estimate,
        outcome=judged.outcome,
        reason=judged.reason,
    )


def _clears(number: float, op: str, goal: float) -> bool:
    match op:
        case ">":
            return number > goal
        case ">=":
            return number >= goal
        case "<":
            return number < goal
        case "<=":
            return number <= goal
    raise ValueError(f"unknown comparison {op!r}")


def _judge_estimate(criterion: Criterion, estimate: Estimate, level: float) -> _Judged:
    """Met, not met or inconclusive from one estimate alone; `level` is the least its interval must have."""
    goal, op = criterion.value, criterion.op
    if estimate.value is None:
        return _Judged("inconclusive", f"Not estimable (n = {estimate.n}: {estimate.undefined}).")
    if criterion.bound == "point":
        cleared = _clears(estimate.value, op, goal)
        text = _compare("estimate", estimate.value, op, goal, cleared)
        return _Judged(
            "met" if cleared else "not_met",
            f"The {text}: {'met' if cleared else 'not met'}; judged on the point estimate, without its uncertainty.",
        )
    if (criterion.bound == "lower") != (op in (">", ">=")):
        return _Judged("inconclusive", f"A {criterion.bound} bound {op} {goal:g} can demonstrate nothing.")
    if estimate.low is None or estimate.high is None:
        why = f" ({estimate.interval_undefined})" if estimate.interval_undefined else ""
        return _Judged("inconclusive", f"The estimate has no interval{why}, so no bound to judge.")
    if estimate.level < level - _LEVEL_TOLERANCE:
        return _Judged(
            "inconclusive",
            f"The interval has level {_percent(estimate.level)}, the protocol asks for {_percent(level)}.",
        )
    ends = {"lower": estimate.low, "upper": estimate.high}
    bound, opposite = ends[criterion.bound], ends[_OPPOSITE[criterion.bound]]
    interval = f"of the {_percent(estimate.level)} interval"
    if _clears(bound, op, goal):
        return _Judged(
            "met", f"The {_compare(f'{criterion.bound} bound', bound, op, goal, True, after=interval)}: met."
        )
    first = _compare(f"{criterion.bound} bound", bound, op, goal, False, after=interval)
    cleared = _clears(opposite, op, goal)
    name = _OPPOSITE[criterion.bound]
    second = f"the {name} bound {_digits(opposite, goal)[0]} does{'' if cleared else ' not either'}"
    if cleared:
        return _Judged("inconclusive", f"The {first}; {second}: inconclusive.")
    return _Judged("not_met", f"The {first}; {second}: not met.")


def _compare(name: str, number: float, op: str, goal: float, cleared: bool, *, after: str = "") -> str:
    value, limit = _digits(number, goal)
    verb = _VERBS[op]
    if cleared:
        first, _, rest = verb.partition(" ")
        verb = " ".join(filter(None, [first + ("es" if first.endswith("ch") else "s"), rest]))
    else:
        verb = f"does not {verb}"
    return " ".join(filter(None, [name, value, after, verb, limit]))


def _digits(number: float, goal: float) -> tuple[str, str]:
    """Both numbers with as few decimals (three or more) as still show on which side of the goal the number lies."""
    for decimals in range(3, 16):
        text = f"{number:.{decimals}f}"
        if (float(text) > goal) - (float(text) < goal) == (number > goal) - (number < goal):
            return text, f"{goal:.15g}"
    return repr(number), repr(goal)


def _percent(level: float) -> str:
    return f"{round(100.0 * level, 6):g} %"


def _where(stratum: Stratum) -> str:
    return " in " + ", ".join(f"{key} {level}" for key, level in stratum.items()) if stratum else ""


# --- doubts that turn an outcome into inconclusive ------------------------------------------------------------------


def _counts(evidence: Evidence, stratum: Stratum) -> tuple[dict[str, int], dict[str, int]]:
    """Cases by status and by class of the reference standard, in this group if it is accounted for, else in the set."""
    rows = [a for a in evidence.accounting if dict(a.stratum) == dict(stratum)]
    rows = rows or [a for a in evidence.accounting if not a.stratum]
    by_status: dict[str, int] = {}
    by_reference: dict[str, int] = {}
    for row in rows:
        by_status[row.status] = by_status.get(row.status, 0) + row.n
        by_reference[row.reference] = by_reference.get(row.reference, 0) + row.n
    return by_status, by_reference


def _one_class_only(judged: _Judged, evidence: Evidence) -> _Judged:
    _, by_reference = _counts(evidence, {})
    if judged.outcome != "met" or not by_reference:
        return judged
    if by_reference.get("known", 0) > 0:
        return _one_of_several_only(judged, evidence)
    for name in ("positive", "negative"):
        if by_reference.get(name, 0) == 0:
            return _Judged(
                "inconclusive",
                f"The test set holds no reference-{name} case and cannot demonstrate performance. {judged.reason}",
            )
    return judged


def _one_of_several_only(judged: _Judged, evidence: Evidence) -> _Judged:
    """The same for classes and grades, by how common each is in the set: one has all cases and the others none."""
    shares = {
        f.target: f.estimate.value
        for f in evidence.findings
        if f.metric == "prevalence" and f.target is not None and not f.stratum and f.condition is None
    }
    if sorted(s for s in shares.values() if s is not None and s > 0.0) != [1.0]:
        return judged
    return _Judged(
        "inconclusive",
        f"The test set holds cases of one class only and cannot demonstrate performance. {judged.reason}",
    )


def _alternate(
    endpoint: Endpoint,
    criterion: Criterion,
    stratum: Stratum,
    protocol: StudyProtocol,
    evidence: Evidence,
    condition: str,
    family: Family | None,
) -> _Judged | None:
    analysis = "missing_data"
    if family is not None:
        analysis, condition = "multiplicity", f"{family.condition}; {condition}"
    found = _matching(endpoint, evidence, stratum=stratum, condition=condition, analysis=analysis)
    level = protocol.confidence.two_sided_level
    return _judge_estimate(criterion, found[0].estimate, level) if found else None


def _missing_outputs(
    judged: _Judged,
    endpoint: Endpoint,
    criterion: Criterion,
    stratum: Stratum,
    protocol: StudyProtocol,
    evidence: Evidence,
    family: Family | None,
) -> _Judged:
    policy = protocol.missing_outputs.primary
    if judged.outcome != "met" or policy == "worst_case":
        return judged
    worst = _alternate(endpoint, criterion, stratum, protocol, evidence, "missing_outputs=worst_case", family)
    if worst is None:
        by_status, _ = _counts(evidence, stratum)
        n_missing = sum(by_status.get(status, 0) for status in ("rejected", "failed", "indeterminate"))
        if n_missing == 0:
            return judged
        return _Judged(
            "inconclusive",
            f"{_cases(n_missing)} without a usable output, and the evidence holds no worst-case estimate to show "
            f"that the criterion does not depend on '{policy}'. {judged.reason}",
        )
    if worst.outcome == "met":
        return judged
    return _Judged(
        "inconclusive",
        f"Met only with missing outputs treated as '{policy}'; in the worst case {_WORDS[worst.outcome]} "
        f"({worst.reason.rstrip('.')}).",
    )


def _missing_reference(
    judged: _Judged,
    endpoint: Endpoint,
    criterion: Criterion,
    stratum: Stratum,
    protocol: StudyProtocol,
    evidence: Evidence,
    family: Family | None,
) -> _Judged:
    _, by_reference = _counts(evidence, stratum)
    n_missing = by_reference.get("missing", 0) + by_reference.get("equivocal", 0)
    extremes = {
        name: _alternate(endpoint, criterion, stratum, protocol, evidence, f"missing_reference={name}", family)
        for name in ("worst_case", "best_case")
    }
    known = {name: found for name, found in extremes.items() if found is not None}
    policy = protocol.missing_reference.primary
    if policy == "worst_case":
        known.setdefault("worst_case", judged)
    if not any(extremes.values()) and n_missing == 0:
        return judged
    if "worst_case" not in known:
        if judged.outcome != "met":
            return judged
        return _Judged(
            "inconclusive",
            f"{_cases(n_missing)} without a usable reference standard, and the evidence holds no worst-case estimate "
            f"to show that the criterion does not depend on '{policy}'. {judged.reason}",
        )
    outcomes = {found.outcome for found in known.values()} | {judged.outcome}
    if len(outcomes) == 1:
        return judged
    told = ", ".join(f"{name.replace('_', ' ')} {_WORDS[found.outcome]}" for name, found in known.items())
    cases = f"the {_cases(n_missing)}" if n_missing else "the cases"
    return _Judged(
        "inconclusive",
        f"Allocating {cases} without reference could change the verdict ({told}). As analysed: {judged.reason}",
    )


def _cases(n: int) -> str:
    return f"{n} case" if n == 1 else f"{n} cases"


# --- gaps between groups of patients --------------------------------------------------------------------------------


def _gap_results(protocol: StudyProtocol, evidence: Evidence) -> Iterator[CriterionResult]:
    """Two results per group of every criterion on gaps: its interval above minus the margin, and below the margin."""
    asked = protocol.analyses.bias
    if asked is None:
        return
    level = gap_level(asked, protocol.confidence.two_sided_level)
    for criterion in asked.criteria:
        spec = protocol.stratum(criterion.attribute)
        for found in judged_gaps(criterion, spec.cross or [spec.name], evidence.findings, evidence.accounting):
            yield _gap_result(criterion, found, "lower", level)
            yield _gap_result(criterion, found, "upper", level)


def _gap_result(
    asked: GapCriterion, found: JudgedGap, side: Literal["lower", "upper"], level: float
) -> CriterionResult:
    goal = -asked.margin if side == "lower" else asked.margin
    criterion = Criterion(bound=side, op=">" if side == "lower" else "<", value=goal, justification=asked.rationale)
    judged = _judge_estimate(criterion, found.estimate, level)
    extremes = {_judge_estimate(criterion, e, level).outcome for e in found.extremes}
    reason = f"{judged.reason} Against {found.reference_group}." if found.reference_group else judged.reason
    outcome = judged.outcome
    if extremes - {outcome}:
        outcome = "inconclusive"
        reason = f"What is missing could change the verdict: at the extremes {_either(extremes)}. As analysed: {reason}"
    return CriterionResult(
        endpoint=asked.name,
        metric=f"{asked.metric}_difference",
        role=asked.role,
        operating_point=found.operating_point,
        stratum=dict(found.stratum),
        criterion=criterion.model_dump(mode="json"),
        estimate=found.estimate,
        outcome=outcome,
        reason=reason,
    )


def _either(outcomes: Iterable[Outcome]) -> str:
    return " and ".join(_WORDS[o] for o in sorted(outcomes))


# --- the study as a whole -------------------------------------------------------------------------------------------


def _in_sequence(family: Family, results: Sequence[CriterionResult]) -> list[CriterionResult]:
    """The same results, with those after the first endpoint that is not met as not tested."""
    position = {e.name: i for i, e in enumerate(family.endpoints)}
    failed = [position[r.endpoint] for r in results if r.endpoint in position and r.outcome != "met"]
    if not failed:
        return list(results)
    first = min(failed)
    why = "gate" if family.procedure == "gatekeeping" else "endpoint of the sequence"
    reason = f"Not tested: an earlier {why} was not met ({family.endpoints[first].name})."
    return [
        replace(r, outcome="inconclusive", reason=f"{reason} For information: {r.reason}")
        if position.get(r.endpoint, -1) > first
        else r
        for r in results
    ]


def _overall(protocol: StudyProtocol, primary: Sequence[CriterionResult], family: Family | None) -> _Judged:
    total = len(primary)
    counts = {word: sum(r.outcome == word for r in primary) for word in ("met", "not_met", "inconclusive")}
    names = {word: _names(r for r in primary if r.outcome == word) for word in counts}
    endpoints = list(dict.fromkeys(r.endpoint for r in primary))
    if protocol.decision_rule != "all_primary" and len(endpoints) > 1 and family is None:
        if counts["not_met"] == total:
            return _Judged("not_met", "No primary criterion is met, and every one is refuted.")
        return _Judged(
            "inconclusive",
            f"The decision rule '{protocol.decision_rule}' needs bounds adjusted for multiplicity, "
            "which the evidence does not hold.",
        )
    if protocol.decision_rule == "any_primary" and family is not None:
        return _any_primary(endpoints, primary, family)
    if counts["not_met"]:
        return _Judged("not_met", f"{counts['not_met']} of {total} primary criteria not met ({names['not_met']}).")
    if counts["inconclusive"]:
        return _Judged(
            "inconclusive",
            f"{counts['inconclusive']} of {total} primary criteria inconclusive ({names['inconclusive']}).",
        )
    one = (
        "The primary criterion is met."
        if total == 1
        else f"All {total} primary criteria are met (every one has to be, so no error rate is split)."
    )
    return _Judged("met", one)


def _any_primary(endpoints: Sequence[str], primary: Sequence[CriterionResult], family: Family) -> _Judged:
    """One endpoint whose every criterion is met on its adjusted bound is enough."""
    outcomes = {name: {r.outcome for r in primary if r.endpoint == name} for name in endpoints}
    met = [name for name, found in outcomes.items() if found == {"met"}]
    how = f"at least one has to be, with bounds adjusted after {family.title}"
    if family.procedure == "fixed_sequence":
        how = "at least one has to be, tested in a fixed sequence"
    if met:
        return _Judged("met", f"{len(met)} of {len(endpoints)} primary endpoints met ({'; '.join(met)}): {how}.")
    if all("not_met" in found for found in outcomes.values()):
        return _Judged("not_met", f"All {len(endpoints)} primary endpoints not met: {how}.")
    return _Judged("inconclusive", f"None of {len(endpoints)} primary endpoints met, not all refuted: {how}.")


def _names(results: Iterable[CriterionResult]) -> str:
    return "; ".join(r.endpoint + _where(r.stratum) for r in results)


def _flags(result: CriterionResult, protocol: StudyProtocol) -> list[str]:
    """What a reader of the verdict must know about this criterion beside its outcome."""
    criterion: Mapping[str, object] = result.criterion
    name = result.endpoint + _where(result.stratum)
    flags = []
    if criterion["placeholder"]:
        flags.append(f"{name}: the goal is a placeholder and is never met")
    if criterion["bound"] == "point":
        flags.append(f"{name}: judged on the point estimate, without its uncertainty")
    if protocol.missing_outputs.primary != "worst_case":
        flags.append(f"missing outputs are treated as '{protocol.missing_outputs.primary}' in the primary analysis")
    limit = protocol.small_strata.flag_below
    for word, n in (("positive", result.estimate.n_positive), ("negative", result.estimate.n_negative)):
        # Sensitivity counts no negatives by design: 0 says that the class does not enter the estimate.
        if n is not None and 0 < n < limit:
            flags.append(f"{name}: only {n} reference-{word} (fewer than {limit})")
    return flags
