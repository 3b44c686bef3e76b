"""A comparison in plain words: what changed and which way, how sure that is, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evalsuite.protocol.comparisons import SHARES, compared_metric, is_difference
from evalsuite.protocol.metrics import METRICS
from evalsuite.protocol.schema import Comparison
from evalsuite.report.format import format_count, format_level, format_number, format_stratum
from evalsuite.report.material import Material, metric_title
from evalsuite.report.text import clean
from evalsuite.types import CriterionResult, Estimate

#: What the devices of a comparison are called.
WHO = {"baseline": "the baseline", "original": "the original version"}
_MOST_NAMED = 6


def in_plain_words(m: Material) -> Iterator[str]:
    """One statement per comparison, one on the groups that are guarded, one on what to do."""
    for asked in m.protocol.comparisons:
        e = _estimate(m, asked)
        if e is not None:
            yield changed(asked, e)
    yield from _guards(m)
    yield what_to_do(m)


def _estimate(m: Material, asked: Comparison) -> Estimate | None:
    """The difference where it is judged: the whole set, or the one group it names."""
    return next(
        (
            f.estimate
            for _, f in m.findings(analysis="comparison")
            if f.endpoint == asked.name and is_difference(f.metric) and dict(f.stratum) == dict(asked.stratum)
        ),
        None,
    )


def changed(asked: Comparison, e: Estimate) -> str:
    """Which way one metric changed, how far it may have, and whether its margin is kept.

    "Better" and "worse" follow the metric: a higher sensitivity is better, a higher Brier score worse. Of a metric
    that is neither better nor worse when it is higher, only higher and lower are said.
    """
    metric = compared_metric(asked)
    of = f" of {clean(asked.target, longest=60)}" if asked.target else ""
    at = f" at “{clean(asked.at, longest=40)}”" if asked.at else ""
    where = f" in {format_stratum(asked.stratum)}" if asked.stratum else ""
    subject = f"{metric_title(metric)}{of}{at}{where} against {WHO[asked.against]}"
    if e.value is None:
        return f"{subject}: nothing can be said ({clean(e.undefined or 'no reason recorded', longest=160)})."
    seen = "no difference seen" if e.value == 0 else f"{_size(metric, e.value)} {'higher' if e.value > 0 else 'lower'}"
    if e.low is None or e.high is None:
        return f"{subject}: {seen}; how sure that is cannot be said ({clean(e.interval_undefined or '', longest=160)})."
    limits = f"({format_level(e.level)} CI {_signed(metric, e.low)} to {_signed(metric, e.high)})"
    better = METRICS[metric].higher_is_better if metric in METRICS else None
    if better is None:
        sure = "a difference is shown" if e.low > 0 or e.high < 0 else "no difference is shown, nor is it excluded"
        return f"{subject}: {seen} {limits}: {sure}."
    # As a benefit: positive is better, whichever way the metric goes.
    least, most = (e.low, e.high) if better else (-e.high, -e.low)
    if least > 0:
        sure = "shown to be better"
    elif most < 0:
        sure = "shown to be worse"
    else:
        sure = f"neither better nor worse is shown; it may be worse by up to {_size(metric, -least)}"
    return f"{subject}: {seen} {limits}: {sure}.{_margin(asked, metric, least, most)}"


def _margin(asked: Comparison, metric: str, least: float, most: float) -> str:
    """What is shown of the margin, in terms of loss."""
    if not asked.margin or asked.hypothesis not in ("non_inferiority", "equivalence"):
        return ""
    loss = f"a loss of {_size(metric, asked.margin)} (the margin) or more"
    if least > -asked.margin:
        said = f" {loss[0].upper()}{loss[1:]} is excluded."
    elif most <= -asked.margin:
        said = f" {loss[0].upper()}{loss[1:]} is shown."
    else:
        said = f" {loss[0].upper()}{loss[1:]} is not excluded."
    if asked.hypothesis == "equivalence" and least > -asked.margin:
        gain = "excluded too: the two are equivalent" if most < asked.margin else "not excluded"
        said += f" A gain as large is {gain}."
    return said


def _size(metric: str, value: float) -> str:
    """A difference without its sign: percentage points of shares, else the metric's own units."""
    if metric in SHARES:
        return f"{format_number(abs(100 * value), 1)} percentage points"
    return format_number(abs(value), 3)


def _signed(metric: str, value: float) -> str:
    return format_number(100 * value, 1) if metric in SHARES else format_number(value, 3)


def _guards(m: Material) -> Iterator[str]:
    """How the guarded groups fared, and what judging many of them does to the errors."""
    guarded = {(c.name, g.stratum) for c in m.protocol.comparisons for g in c.guards}
    if not guarded:
        return
    found = [r for r in m.verdict.criteria if r.stratum and _is_guard(m, r, guarded)]
    open_ = [r for r in found if r.outcome != "met"]
    n = format_count(len(found))
    if not open_:
        yield f"In none of {n} guarded groups is a loss as large as its margin left open."
    else:
        words = {"not_met": "exceeds its margin", "inconclusive": "not excluded"}
        named = [
            f"{clean(r.endpoint, longest=60)} in {format_stratum(r.stratum)} ({words[r.outcome]})"
            for r in open_[:_MOST_NAMED]
        ]
        more = f"; and {len(open_) - _MOST_NAMED} more" if len(open_) > _MOST_NAMED else ""
        yield (
            f"In {len(open_)} of {n} guarded groups a loss as large as the margin is not excluded: "
            f"{'; '.join(named)}{more}."
        )
    yield (
        "Every criterion and every guarded group has to be met, each at the study's own error rate. That makes it no "
        "more likely that a version with a true loss passes; the more groups are guarded, the more likely it is that "
        "one without any loss is stopped by chance."
    )


def _is_guard(m: Material, r: CriterionResult, guarded: set[tuple[str, str]]) -> bool:
    names = set(r.stratum)
    return any(
        r.endpoint == name and names == set(m.protocol.stratum(stratum).cross or [stratum]) for name, stratum in guarded
    )


def what_to_do(m: Material) -> str:
    """What follows from the verdict."""
    verdict = m.verdict
    if verdict.decision == "implement":
        return (
            "What to do: the modification may be implemented under its plan. Keep this version's predictions as the "
            "baseline of its drift audits, and tell users as the plan says."
        )
    open_ = [r for r in verdict.criteria if r.outcome != "met"]
    if verdict.decision == "do_not_implement":
        first = f" First look at: {_named(open_)}." if open_ else ""
        return (
            f"What to do: do not implement the modification. Keep the version in use, and record this result.{first} "
            "Another attempt is another modification, on cases that are fresh."
        )
    if not verdict.evidence:
        return "What to do: nothing follows from a run that is no evidence; freeze the protocol and run it."
    if verdict.overall == "met":
        return "What to do: what had to be shown is shown. Look at the cases that are newly wrong all the same."
    if verdict.overall == "not_met":
        return f"What to do: do not replace the device on this evidence: {_named(open_)} not met."
    return (
        f"What to do: undecided ({_named(open_)}). More cases would decide it; the same cases again, or another margin "
        "now, would not."
    )


def _named(open_: Sequence[CriterionResult]) -> str:
    names = list(
        dict.fromkeys(
            clean(r.endpoint, longest=60) + (f" in {format_stratum(r.stratum)}" if r.stratum else "") for r in open_
        )
    )
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
