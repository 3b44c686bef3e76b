"""Several claims, one error rate: p-values that agree with the intervals, adjusted, and bounds at the level they imply.

The p-value of a criterion is the smallest one-sided error rate at which the bound of the very interval method that
decides clears the goal. Test and interval can therefore never disagree, whatever the method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from evalsuite.protocol.comparisons import asked_endpoints
from evalsuite.protocol.decision import Family, decision_family
from evalsuite.protocol.schema import Criterion, Endpoint, StudyProtocol
from evalsuite.stats.multiplicity import Adjustment, adjust_p, simultaneous_level
from evalsuite.types import Estimate, Finding, Stratum, TestOutcome

#: Estimates of one endpoint under one assumption about missing data (None: the primary one) at a two-sided level;
#: one finding per judged group, as in the primary analysis.
AtLevel = Callable[[Endpoint, str | None, float], Sequence[Finding]]
#: Reads one estimate at a two-sided level.
Reader = Callable[[float], Estimate]

# One-sided error rates down to 1e-12 are told apart; a smaller p-value is reported as that.
_Z_MOST = 7.034
# An interval of level 0 is not defined: between the two bounds' regimes this much of the normal scale is left out.
_Z_LEAST = 1e-6
_TOLERANCE = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class PValue:
    """One-sided p-value of one criterion, or why there is none."""

    value: float | None
    method: str
    undefined: str | None = None


def one_sided_p(criterion: Criterion, read: Reader, *, alpha: float) -> PValue:
    """Smallest one-sided error rate at which the criterion's bound clears its goal.

    Above one half the bound of a one-sided interval is the other end of a two-sided one, so that a point estimate on
    the wrong side of the goal gets a p-value above one half. Between 0 and 1; p-values below 1e-12 are reported as
    1e-12. Where intervals near level 0 do not exist (BCa), a p-value in that range errs to the larger side.

    Parameters
    ----------
    read
        The estimate at a two-sided level.
    alpha
        The one-sided error rate of the study; whether the bound at it clears the goal and whether p is at most `alpha`
        is the same by construction.
    """
    seen = read(1.0 - 2.0 * alpha)
    if criterion.bound == "point":
        return PValue(value=None, method=seen.method, undefined="a criterion on a point estimate has no error rate")
    if seen.value is None:
        return PValue(value=None, method=seen.method, undefined=seen.undefined)
    if seen.low is None:
        return PValue(value=None, method=seen.method, undefined=seen.interval_undefined or "no interval")

    def gap(z: float) -> float | None:
        """By how much the bound with error rate Φ(−z) clears the goal; None where there is no such bound."""
        e = read(1.0 - 2.0 * float(ndtr(-max(abs(z), _Z_LEAST))))
        if e.low is None or e.high is None:
            return None
        lower = (criterion.bound == "lower") == (z > 0.0)
        bound = e.low if lower else e.high
        return bound - criterion.value if criterion.op in (">", ">=") else criterion.value - bound

    strict = criterion.op in (">", "<")

    def clears(z: float) -> bool:
        g = gap(z)
        return g is not None and (g > 0.0 if strict else g >= 0.0)

    z_alpha = float(-ndtri(alpha))
    # z of an error rate that clears, z of a smaller one that does not: p lies between.
    inside, outside = (z_alpha, _Z_MOST) if clears(z_alpha) else (-_Z_MOST, z_alpha)
    if inside == z_alpha and clears(_Z_MOST):
        return PValue(value=float(ndtr(-_Z_MOST)), method=seen.method)
    if inside != z_alpha and not clears(inside):
        return PValue(value=1.0, method=seen.method)
    inside, outside = _narrowed(gap, clears, inside, outside)
    while outside - inside > _TOLERANCE:
        middle = (inside + outside) / 2.0
        inside, outside = (middle, outside) if clears(middle) else (inside, middle)
    return PValue(value=float(ndtr(-inside)), method=seen.method)


def _narrowed(
    gap: Callable[[float], float | None], clears: Callable[[float], bool], inside: float, outside: float
) -> tuple[float, float]:
    """The same bracket, tightened by root finding where the bound is smooth: it saves most of the bisection."""
    if inside < 0.0 < outside:
        inside, outside = (_Z_LEAST, outside) if clears(_Z_LEAST) else (inside, -_Z_LEAST)
    first, last = gap(inside), gap(outside)
    if first is None or last is None or not first > 0.0 > last:
        return inside, outside

    def smooth(z: float) -> float:
        g = gap(z)
        return -1.0 if g is None else g

    found = float(cast(float, brentq(smooth, inside, outside, xtol=1e-11, maxiter=60, disp=False)))
    for z in (found - 0.4 * _TOLERANCE, found + 0.4 * _TOLERANCE):
        if inside < z < outside:
            inside, outside = (z, outside) if clears(z) else (inside, z)
    return inside, outside


def adjusted_findings(
    protocol: StudyProtocol, findings: Sequence[Finding], at_level: AtLevel
) -> tuple[list[Finding], list[TestOutcome]]:
    """What multiplicity adds to the evidence: bounds at adjusted levels, and every test with its adjusted p-value.

    The family that decides (protocol/decision.py) gets findings of analysis "multiplicity" under every assumption
    about missing data that the evidence holds; the judge reads them. Where a family is adjusted, several secondary
    criteria are Holm-adjusted among themselves, with Bonferroni-simultaneous intervals; several exploratory ones
    carry Benjamini-Hochberg p-values, labelled as exploratory. Neither decides anything.

    Parameters
    ----------
    findings
        Those of the analysis at the protocol's level, alternates for missing data included.
    """
    made: list[Finding] = []
    tests: list[TestOutcome] = []
    family = decision_family(protocol)
    if family is not None:
        for condition in (None, *_assumptions(family, findings)):
            members = [_Member(protocol, claim, condition, findings, at_level) for claim in family.claims]
            levels, adjusted = _procedure(family, [m.p for m in members], protocol.confidence.alpha)
            label = family.condition if condition is None else f"{family.condition}; {condition}"
            for member, alpha in zip(members, levels, strict=True):
                level = round(1.0 - 2.0 * alpha, 12)
                made += [replace(f, analysis="multiplicity", condition=label) for f in member.findings(level)]
            if condition is None:
                how = f"{family.title} over {len(members)} endpoints"
                if not family.decides:
                    how += ", for information: all have to be met, so no error rate is split"
                for member, value in zip(members, adjusted, strict=True):
                    tests += member.tests(value, how)
    taken = {e.name for e in family.endpoints} if family is not None else set()
    secondary = _others(protocol, "secondary", taken)
    if family is not None and len(secondary) > 1:
        more, extra = _secondary(protocol, secondary, findings, at_level)
        made += more
        tests += extra
    exploratory = _others(protocol, "exploratory", taken)
    if len(exploratory) > 1:
        members = [_Member(protocol, claim, None, findings, at_level) for claim in exploratory]
        how = f"Benjamini-Hochberg over {len(members)} exploratory endpoints: false discovery rate, exploratory only"
        for member, value in zip(members, _adjusted([m.p for m in members], "bh"), strict=True):
            tests += member.tests(value, how)
    return made, tests


def _others(protocol: StudyProtocol, role: str, taken: set[str]) -> list[tuple[Endpoint, ...]]:
    """Claims of this role that no family decides on; those on point estimates have no error rate."""
    asked = [
        e
        for e in asked_endpoints(protocol)
        if e.role == role and e.name not in taken and e.criterion is not None and e.criterion.bound != "point"
    ]
    return [tuple(e for e in asked if e.name == name) for name in dict.fromkeys(e.name for e in asked)]


def _secondary(
    protocol: StudyProtocol, claims: Sequence[tuple[Endpoint, ...]], findings: Sequence[Finding], at_level: AtLevel
) -> tuple[list[Finding], list[TestOutcome]]:
    members = [_Member(protocol, claim, None, findings, at_level) for claim in claims]
    level = simultaneous_level(protocol.confidence.two_sided_level, len(members))
    made = [
        replace(f, analysis="multiplicity", condition="simultaneous=bonferroni, secondary endpoints")
        for m in members
        for f in m.findings(level)
    ]
    tests: list[TestOutcome] = []
    how = f"Holm over {len(members)} secondary endpoints, whatever the primary ones show"
    for member, value in zip(members, _adjusted([m.p for m in members], "holm"), strict=True):
        tests += member.tests(value, how)
    return made, tests


def _assumptions(family: Family, findings: Sequence[Finding]) -> list[str]:
    """Conditions of missing data that the evidence holds for the family, in its order."""
    names = {e.name for e in family.endpoints}
    found = (f.condition for f in findings if f.analysis == "missing_data" and f.endpoint in names)
    return list(dict.fromkeys(c for c in found if c is not None))


class _Member:
    """One claim of a family: the p-value of each criterion in each group, and of the claim as a whole."""

    def __init__(
        self,
        protocol: StudyProtocol,
        claim: tuple[Endpoint, ...],
        condition: str | None,
        findings: Sequence[Finding],
        at_level: AtLevel,
    ) -> None:
        self.endpoint = claim[0]
        self.condition = condition
        self._at_level = at_level
        self._seen: dict[float, Mapping[tuple[tuple[str, str], ...], Finding]] = {}
        self.groups = list(_judged_groups(protocol, self.endpoint, findings))
        alpha = protocol.confidence.alpha
        self.parts = [(e.criterion, g) for e in claim for g in self.groups if e.criterion is not None]
        self.each = [one_sided_p(c, self._reader(g), alpha=alpha) for c, g in self.parts]

    @property
    def p(self) -> float | None:
        """p-value of "every part is met": the largest; None where a part has none, which is never significant."""
        values = [p.value for p in self.each if p.value is not None]
        return max(values) if values and len(values) == len(self.each) else None

    def findings(self, level: float) -> list[Finding]:
        found = self._all(level)
        return [found[_key(g)] for g in self.groups if _key(g) in found]

    def tests(self, adjusted: float | None, how: str) -> Iterator[TestOutcome]:
        if len(self.parts) > 1:
            how += f"; the adjusted p-value is that of all {len(self.parts)} criteria of this claim together"
        for (c, group), p in zip(self.parts, self.each, strict=True):
            yield TestOutcome(
                name=f"{self.endpoint.name} {c.op} {c.value:g}",
                statistic=None,
                p_value=p.value,
                p_adjusted=None if p.value is None else adjusted,
                method=f"one-sided, by inverting the interval ({p.method}); {how}",
                endpoint=self.endpoint.name,
                stratum=dict(group),
                undefined=p.undefined,
            )

    def _all(self, level: float) -> Mapping[tuple[tuple[str, str], ...], Finding]:
        if level not in self._seen:
            found = self._at_level(self.endpoint, self.condition, level)
            self._seen[level] = {_key(f.stratum): f for f in found}
        return self._seen[level]

    def _reader(self, group: Stratum) -> Reader:
        def read(level: float) -> Estimate:
            found = self._all(level).get(_key(group))
            if found is None:
                return Estimate.not_estimable("the evidence holds no estimate for this group", n=0, level=level)
            return found.estimate

        return read


def _key(stratum: Stratum) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(stratum.items()))


def _judged_groups(protocol: StudyProtocol, endpoint: Endpoint, findings: Sequence[Finding]) -> Iterator[Stratum]:
    if endpoint.each is None:
        yield dict(endpoint.stratum)
        return
    spec = protocol.stratum(endpoint.each)
    keys = set(spec.cross or [spec.name])
    for f in findings:
        if f.endpoint == endpoint.name and f.condition is None and set(f.stratum) == keys:
            yield dict(f.stratum)


def _adjusted(p: Sequence[float | None], method: Adjustment) -> list[float | None]:
    """Adjusted p-values; a test that could not be made counts as 1 in the family and keeps none."""
    values = adjust_p([1.0 if v is None else v for v in p], method)
    return [None if v is None else float(a) for v, a in zip(p, values, strict=True)]


def _procedure(family: Family, p: Sequence[float | None], alpha: float) -> tuple[list[float], list[float | None]]:
    """One-sided error rate at which each member's bound is read, and adjusted p-values.

    Holm: the members are tested in the order of their p-values, the k-th of m (from 0) at alpha/(m − k); from the
    first that fails on, all stay at its level. Hochberg: from the largest p-value down, until one is at most
    alpha/(m − k); it and all with smaller p-values are read at that level, those before it at the level they failed
    at. Hommel: with j the largest number of hypotheses that may all be true by Simes' test, all at alpha/j (alpha where
    there is none). A fixed sequence and gatekeeping test each at the full alpha, and nothing after the first that
    fails. In every case a bound clears its goal exactly where the adjusted p-value is at most alpha.
    """
    m = len(p)
    values = np.array([1.0 if v is None else v for v in p])
    if family.ordered:
        return [alpha] * m, _adjusted(p, "fixed-sequence")
    order = np.argsort(values, kind="stable")
    levels = [alpha] * m
    if family.procedure == "holm":
        stopped: float | None = None
        for k, i in enumerate(order):
            levels[i] = stopped if stopped is not None else alpha / (m - k)
            if stopped is None and values[i] > levels[i]:
                stopped = levels[i]
        return levels, _adjusted(p, "holm")
    if family.procedure == "hommel":
        # Hommel 1988: j is the largest i with p_(m-i+k) > k alpha / i for every k = 1 … i.
        ordered = values[order]
        left = [i for i in range(1, m + 1) if bool((ordered[m - i :] > np.arange(1, i + 1) * alpha / i).all())]
        return [alpha / max(left, default=1)] * m, _adjusted(p, "hommel")
    passed: float | None = None
    for k in range(m - 1, -1, -1):
        i = order[k]
        if passed is None and values[i] <= alpha / (m - k):
            passed = alpha / (m - k)
        levels[i] = passed if passed is not None else alpha / (m - k)
    return levels, _adjusted(p, "hochberg")
