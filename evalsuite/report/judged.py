"""Verdict and acceptance criteria in words: what was asked, what was found, and why it is judged as it is."""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite.report.format import (
    OUTCOME_MARKS,
    OUTCOME_WORDS,
    format_count,
    format_criterion,
    format_fraction,
    format_interval,
    format_level,
    format_stratum,
    format_value,
)
from evalsuite.report.material import ROLE_ORDER, Material, anchor, metric_title
from evalsuite.report.text import clean, given, sentence
from evalsuite.report.view import Cell, Column, Judgement, Row, Table
from evalsuite.types import CriterionResult, Outcome

RULES = {
    "all_primary": "every primary criterion must be met",
    "any_primary": "at least one primary criterion must be met, with intervals adjusted for multiplicity",
    "gatekeeping": "primary criteria are judged in a fixed order; the first that is not met ends the sequence",
}
_OVERALL = {
    "met": "Acceptance criteria met",
    "not_met": "Acceptance criteria not met",
    "inconclusive": "Inconclusive",
}


def judgement(material: Material) -> Judgement:
    """The overall verdict in words."""
    verdict = material.verdict
    stopped = verdict.decision == "do_not_implement"
    return Judgement(
        word="Do not implement" if stopped else _OVERALL[verdict.overall],
        mark=OUTCOME_MARKS[verdict.overall],
        tone=verdict.overall,
        reason=sentence(clean(verdict.reason, longest=280)),
    )


def ranked(material: Material) -> list[CriterionResult]:
    """Criteria in reading order: primary before secondary, the whole set before its groups."""
    order = material.endpoint_order
    return sorted(
        material.verdict.criteria,
        key=lambda c: (ROLE_ORDER.get(c.role, 9), bool(c.stratum), order.get(c.endpoint, 999)),
    )


def outcome_cell(outcome: Outcome) -> Cell:
    return Cell(text=f"{OUTCOME_MARKS[outcome]} {OUTCOME_WORDS[outcome]}", kind="verdict", tone=outcome)


def digits_for(result: CriterionResult) -> int:
    """Decimals that keep the judged bound and the goal apart: 3, or as many more as it takes (6 at most)."""
    goal, estimate = result.criterion.get("value"), result.estimate
    bound = {"lower": estimate.low, "upper": estimate.high}.get(str(result.criterion.get("bound")), estimate.value)
    if not isinstance(goal, int | float) or bound is None or bound == goal:
        return 3
    return next((d for d in range(3, 7) if round(bound, d) != round(float(goal), d)), 6)


def criterion_words(result: CriterionResult, *, subject: bool = False) -> str:
    """ "lower 95 % bound > 0.85"."""
    title = metric_title(result.metric) if subject else ""
    return format_criterion(result.criterion, level=result.estimate.level, metric=result.metric, title=title)


def _metric(material: Material, result: CriterionResult) -> str:
    """The metric, and the class or label it is of."""
    endpoint = material.endpoint(result.endpoint)
    target = endpoint.target if endpoint is not None else None
    return metric_title(result.metric) + (f" of {clean(target, longest=60)}" if target else "")


def _row(material: Material, result: CriterionResult, *, reasons: bool) -> Row:
    short = 250 if reasons else 40
    found = material.judged(result)
    where = "" if not result.stratum else clean(format_stratum(result.stratum), longest=short)
    point = f"at {clean(result.operating_point, longest=min(short, 60))}" if result.operating_point else ""
    estimate, digits = result.estimate, digits_for(result)
    cells = [
        Cell(
            text=clean(result.endpoint, longest=90 if reasons else 48),
            sub=" · ".join(part for part in (_metric(material, result), point, where) if part),
            link=anchor(found[0]) if found else None,
        ),
        Cell(
            text=criterion_words(result),
            sub="placeholder goal, still to be justified" if result.criterion.get("placeholder") else "",
        ),
    ]
    if estimate.value is None:
        why = clean(format_value(result.metric, estimate), longest=120 if reasons else 60)
        cells.append(Cell(text=why, kind="muted", span=2))
    else:
        cells += [
            Cell(
                text=format_value(result.metric, estimate, digits=digits),
                sub=format_fraction(estimate) or f"n = {format_count(estimate.n)}",
                kind="number",
            ),
            Cell(
                text=format_interval(result.metric, estimate, digits=digits),
                # Judged on a bound adjusted for multiplicity, so at another level than the column's heading says.
                sub="" if abs(estimate.level - material.level) < 1e-9 else f"at {format_level(estimate.level)}",
                kind="number",
            ),
        ]
    if reasons:
        code = material.method_codes.get(estimate.method, "") if estimate.value is not None else "–"
        cells.append(Cell(text=code, kind="muted"))
    cells.append(outcome_cell(result.outcome))
    return Row(cells=tuple(cells), of=(anchor(found[0]),) if found else ())


def criteria_table(
    material: Material, results: Sequence[CriterionResult], *, label: str, caption: str, most: int, reasons: bool
) -> Table:
    """Criteria with estimate, interval and outcome. Rows over `most` are left to the full table, which is said."""
    rows = [_row(material, result, reasons=reasons) for result in results[:most]]
    notes = []
    if len(results) > most:
        place = "the attached verdict.json" if reasons else "the section “Primary results”"
        notes.append(f"{len(results) - most} more criteria are in {place}.")
    level = format_level(material.level)
    notes.append(f"Intervals are two-sided {level}; a lower or upper bound is one end of that interval.")
    if any(abs(r.estimate.level - material.level) >= 1e-9 for r in results[:most]):
        notes.append("Where another level stands under an interval, it is the level adjusted for multiplicity.")
    methods = dict.fromkeys(
        clean(r.estimate.method, longest=80) for r in results[:most] if r.estimate.value is not None
    )
    if methods and reasons:
        notes.append(material.method_note(r.estimate for r in results[:most]))
    elif methods:
        notes.append(f"Methods: {clean('; '.join(methods), longest=110)}.")
    notes.append(material.set_note)
    columns = [
        Column(title="Endpoint", width=26 if reasons else 27),
        Column(title="Acceptance criterion", width=22 if reasons else 23),
        Column(title="Estimate", align="right", width=13 if reasons else 15),
        Column(title=material.interval_title, align="right", width=14 if reasons else 17),
    ]
    if reasons:
        columns.append(Column(title="Method", width=10))
    columns.append(Column(title="Verdict", width=15 if reasons else 18))
    return Table(label=label, caption=caption, columns=tuple(columns), rows=tuple(rows), notes=tuple(notes))


def conclusion(material: Material) -> str:
    """One line a reader may quote."""
    verdict = material.verdict
    subject = f"{given(material.evidence.model.get('name') or material.recorded('model.name'), 'The model')}"
    words = {
        "met": "met the acceptance criteria of",
        "not_met": "did not meet the acceptance criteria of",
        "inconclusive": "was evaluated without a conclusive result under",
    }[verdict.overall]
    line = f"{clean(subject, longest=60)} {words} protocol {clean(material.protocol.id, longest=80)} "
    line += f"version {clean(material.protocol.version, longest=30)} on {material.set_name}."
    return line if verdict.evidence else f"{line} This run does not count as evidence."
