"""What a gap between two groups shows: equivalence, a disparity, neither, or nothing because too few were seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from evalsuite.protocol.bias_block import Bias, GapCriterion
from evalsuite.types import Account, Estimate, Finding, Stratum

GapOutcome = Literal["equivalent", "disparity", "inconclusive", "not_assessable"]

#: Conditions of gap findings: the 90 % interval that margins are judged on, and the adjusted one.
EQUIVALENCE = "equivalence"
ADJUSTED = "adjusted=holm"
#: What is missing counts against the group and for the other side, and the reverse.
EXTREMES = ("missing=against_the_group", "missing=for_the_group")


def within(estimate: Estimate, margin: float) -> bool:
    """Whether the whole interval lies strictly inside ± the margin."""
    return estimate.low is not None and estimate.high is not None and -margin < estimate.low <= estimate.high < margin


def leaves_out_zero(estimate: Estimate) -> bool:
    """Whether the interval lies on one side of 0."""
    return estimate.low is not None and estimate.high is not None and (estimate.low > 0.0 or estimate.high < 0.0)


def classify(
    estimate: Estimate,
    *,
    apart: bool,
    narrow: Estimate | None,
    narrow_extremes: Sequence[Estimate] = (),
    wide_extremes: Sequence[Estimate] = (),
    margin: float | None,
) -> GapOutcome:
    """The outcome of one gap.

    - not assessable: there is no gap, or it has no interval;
    - equivalent: a margin was declared and the 90 % interval lies inside it, even if it leaves out 0; where outputs or
      references are missing, at both extremes too;
    - disparity: not equivalent, and the groups are apart after adjustment; where something is missing, the gap has the
      same sign and leaves out 0 at both extremes too;
    - inconclusive: anything else. It is not evidence that the groups are equal.

    Parameters
    ----------
    apart
        Whether the adjusted interval leaves out 0 and the test of all groups allows to look.
    narrow, narrow_extremes
        90 % intervals (two one-sided tests at 5 %) as analysed and at the extremes; None where no margin is declared.
    """
    if estimate.value is None or estimate.low is None:
        return "not_assessable"
    if margin is not None and narrow is not None and all(within(e, margin) for e in (narrow, *narrow_extremes)):
        return "equivalent"
    sign = estimate.value > 0.0
    if apart and all(leaves_out_zero(e) and (e.value or 0.0) * (1 if sign else -1) > 0.0 for e in wide_extremes):
        return "disparity"
    return "inconclusive"


# --- what a criterion on gaps is judged on --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedGap:
    """One group's gap: the interval that the margin is judged on, and the same at both extremes of what is missing."""

    stratum: Stratum
    reference_group: str | None
    operating_point: str | None
    estimate: Estimate
    extremes: tuple[Estimate, ...]


def gap_level(asked: Bias, level: float) -> float:
    """Two-sided level of the interval that lies inside the margins where two one-sided tests reject: 0.9 for 0.95."""
    return round(2.0 * (asked.level or level) - 1.0, 12)


def judged_gaps(
    criterion: GapCriterion, keys: Sequence[str], findings: Sequence[Finding], accounting: Sequence[Account]
) -> Iterator[JudgedGap]:
    """The declared gaps of a criterion's attribute and metric, one per group.

    A group that only the case accounting knows has a gap that is not estimable: what was left out is not met.
    """
    gaps = [
        f
        for f in findings
        if f.analysis == "bias"
        and f.metric == f"{criterion.metric}_difference"
        and set(f.stratum) == set(keys)
        and f.prespecified
        and f.condition is not None
        and f.condition.startswith(EQUIVALENCE)
    ]
    seen = []
    for f in gaps:
        if f.condition != EQUIVALENCE:
            continue
        seen += [" × ".join(f.stratum[key] for key in keys), str(f.reference_group)]
        beside = (g for g in gaps if dict(g.stratum) == dict(f.stratum) and g.reference_group == f.reference_group)
        yield JudgedGap(
            stratum=f.stratum,
            reference_group=f.reference_group,
            operating_point=f.operating_point,
            estimate=f.estimate,
            extremes=tuple(g.estimate for g in beside if g.condition != EQUIVALENCE),
        )
    left = {
        " × ".join(a.stratum[key] for key in keys): dict(a.stratum)
        for a in accounting
        if set(a.stratum) == set(keys) and a.n > 0
    }
    strange = {name: stratum for name, stratum in left.items() if name not in seen}
    if not seen and not strange:
        strange = {"": dict.fromkeys(keys, "(no group found)")}
    for stratum in strange.values():
        yield JudgedGap(
            stratum=stratum,
            reference_group=None,
            operating_point=None,
            estimate=Estimate.not_estimable("the evidence holds no gap of this group", n=0),
            extremes=(),
        )
