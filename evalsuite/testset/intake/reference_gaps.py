"""Cases without an established reference standard: counted per column, not named, because the standard is sealed."""

from __future__ import annotations

from evalsuite.testset.intake.types import CheckResult, Intake, plural

_TITLE = "Gaps in the reference standard"
_WHY = "Cases without a reference standard cannot be judged; where they could change the verdict it is inconclusive."


def reference_gaps(intake: Intake) -> CheckResult:
    """Empty cells of the reference columns, and what reference_status says.

    Which cases these are stays sealed with the reference standard; only counts are given.
    """
    protocol = intake.protocol
    columns = list(intake.roles.sealed)
    if protocol is not None:
        task = protocol.task.reference
        columns = [c for c in ([task] if isinstance(task, str) else task) if c in intake.frame.columns]
    columns = [c for c in columns if c != "reference_status"]
    if not columns:
        return CheckResult(
            check="reference_gaps", title=_TITLE, outcome="not_checked", summary="no reference column", why=_WHY
        )
    n = len(intake.case_ids)
    empty = {c: int((intake.frame[c].str.strip() == "").sum()) for c in columns}
    gaps = {c: k for c, k in empty.items() if k}
    status = {}
    if "reference_status" in intake.frame.columns:
        cells = intake.frame["reference_status"]
        status = {word: int((cells == word).sum()) for word in ("equivocal", "missing")}
    if intake.encrypted:
        return CheckResult(
            check="reference_gaps",
            title=_TITLE,
            outcome="not_checked",
            summary="the reference standard is encrypted: nothing of it is told, sums included",
            why=_WHY,
        )
    parts = [f"{c} empty in {k:,} of {n:,}" for c, k in gaps.items()]
    parts += [f"{plural(k, 'case')} {word}" for word, k in status.items() if k]
    return CheckResult(
        check="reference_gaps",
        title=_TITLE,
        outcome="warning" if parts else "ok",
        summary="; ".join(parts) if parts else f"none in {plural(len(columns), 'column')}",
        counts={"cases": n, **{f"{c} empty": k for c, k in gaps.items()}, **status},
        why=_WHY,
        action="Complete the reference standard, or mark these cases in reference_status." if parts else "",
    )
