"""Whether the set has as many cases, positives and cases per group as the protocol planned."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from evalsuite.errors import EvalsuiteError
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.testset.intake.types import CheckResult, Intake
from evalsuite.testset.strata import assign_strata, number

_TITLE = "Counts against the plan"
_WHY = "With fewer cases than planned a criterion that would be met may stay inconclusive."


def counts_against_plan(intake: Intake) -> CheckResult:
    """Compare the protocol's planned minimum counts with what the table holds."""
    protocol = intake.protocol
    plan = protocol.plan if protocol is not None else None
    if protocol is None or plan is None:
        what = "no protocol was given" if protocol is None else "the protocol states no planned counts"
        return CheckResult(
            check="plan",
            title=_TITLE,
            outcome="not_checked",
            summary=what,
            why=_WHY,
            action="State them in the protocol: plan: {cases: …, positives: …, negatives: …} and lock with --protocol.",
        )
    wanted: list[tuple[str, int | None, int | None]] = [
        ("cases", plan.cases, len(intake.case_ids)),
        ("patients", plan.patients, len(set(intake.patients))),
    ]
    positive, negative = _classes(intake, protocol)
    wanted += [("positives", plan.positives, positive), ("negatives", plan.negatives, negative)]
    wanted += list(_levels(intake, protocol))
    compared = [(name, least, found) for name, least, found in wanted if least is not None]
    unknown = [name for name, _, found in compared if found is None]
    closed = intake.encrypted  # then not even sums of the reference standard are told
    short = [
        f"{name} {'below' if closed else f'{found:,} of'} {least:,}"
        for name, least, found in compared
        if found is not None and found < least
    ]
    said = f"all {len(compared)} planned counts are reached"
    if short:
        said = f"{len(short)} of {len(compared)} planned counts are not reached: {'; '.join(short)}"
    if unknown:
        said += f"; cannot be counted: {', '.join(unknown)}"
    counts = {
        name: found
        for name, _, found in compared
        if found is not None and (not closed or name in ("cases", "patients"))
    }
    counts |= {f"{name} planned": least for name, least, _ in compared}
    return CheckResult(
        check="plan",
        title=_TITLE,
        outcome="problem" if short else ("warning" if unknown else "ok"),
        summary=said,
        counts=counts,
        why=_WHY,
        action="Add cases before the set is locked, or change the plan before the protocol is frozen." if short else "",
    )


def _classes(intake: Intake, protocol: StudyProtocol) -> tuple[int | None, int | None]:
    """Positives and negatives of a binary task; None where that has no meaning or no column."""
    task = protocol.task
    if task.kind != "binary" or not isinstance(task.reference, str) or task.reference not in intake.frame.columns:
        return None, None
    stated = task.positive if isinstance(task.positive, list) else [task.positive]
    cells = intake.frame[task.reference].tolist()
    status = intake.frame["reference_status"].tolist() if "reference_status" in intake.frame.columns else None
    known = [c for i, c in enumerate(cells) if c.strip() and (status is None or status[i] == "established")]
    positive = sum(1 for c in known if _same(c, stated))
    negative = len(known) - positive if task.negative is None else sum(1 for c in known if _same(c, task.negative))
    return positive, negative


def _same(cell: str, values: Iterable[object]) -> bool:
    found = number(cell)
    for value in values:
        text = str(value).casefold() if isinstance(value, bool) else str(value)
        if cell.strip() == text or cell.strip().casefold() == text.casefold():
            return True
        if found is not None and isinstance(value, int | float) and not isinstance(value, bool) and found == value:
            return True
    return False


def _levels(intake: Intake, protocol: StudyProtocol) -> Iterable[tuple[str, int, int | None]]:
    plan = protocol.plan
    if plan is None or not plan.strata:
        return
    try:
        labels = assign_strata(intake.frame, protocol.strata)
    except EvalsuiteError:  # a stratum of an attribute that no file has: the lock refuses it, with the reason
        labels = {}
    for stratum, levels in plan.strata.items():
        found = labels.get(stratum)
        for level, least in levels.items():
            name = f"{stratum} = {level}"
            if found is None:
                yield name, least, None
                continue
            at = [i for i, texts in enumerate(found.levels) if ", ".join(texts) == level]
            yield name, least, int(np.isin(found.index, at).sum())
