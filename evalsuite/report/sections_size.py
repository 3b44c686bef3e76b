"""R10, the size of the study: what each goal was planned to take, beside what the set holds."""

from __future__ import annotations

from evalsuite.report.format import format_count, format_percent
from evalsuite.report.material import Material, anchor
from evalsuite.report.text import clean, sentence
from evalsuite.report.view import Block, Cell, Column, Prose, Row, Section, Table


def sample_size(material: Material) -> Section:
    """The table of what each goal takes; a sentence instead where the protocol assumes nothing."""
    blocks = tuple(_blocks(material))
    return Section(id="size", number="", title="Size of the study", code="R10", blocks=blocks)


def _blocks(material: Material) -> list[Block]:
    plan = material.protocol.plan
    planned = list(material.findings(analysis="planning"))
    needed = [(i, f) for i, f in planned if f.metric == "cases_needed"]
    if plan is None or not needed:
        said = "The protocol states no assumptions about the size of the study (plan.assume)."
        return [Prose(paragraphs=(said,))]
    power = {(f.endpoint, f.condition): (i, f) for i, f in planned if f.metric == "planned_power"}
    rows = []
    for index, f in needed:
        assumed = plan.assume[f.endpoint]
        at, with_these = power.get((f.endpoint, f.condition), (None, None))
        reached = None if with_these is None else with_these.estimate.value
        size = None if f.estimate.value is None else int(f.estimate.value)
        rows.append(
            Row(
                cells=(
                    Cell(text=clean(f.endpoint, longest=90), sub=clean(f.condition or "", longest=90)),
                    Cell(text=f"{assumed.value:g}", sub=clean(assumed.source or "no source given", longest=120)),
                    Cell(text="none" if size is None else format_count(size), sub=clean(f.estimate.undefined or "")),
                    Cell(text=format_count(f.estimate.n)),
                    Cell(
                        text="–" if reached is None else f"{format_percent(reached)} %",
                        of=() if at is None else (anchor(at),),
                    ),
                ),
                anchor=anchor(index),
            )
        )
    terms = [f"power aimed at {format_percent(plan.power)} % for each goal", f"design effect {plan.design_effect:g}"]
    terms.append(f"attrition {format_percent(plan.attrition)} %")
    methods = sorted({f.estimate.method for _, f in needed if f.estimate.method != "none"})
    table = Table(
        label="",
        caption="Cases each goal was planned to take, and those in the set",
        columns=(
            Column(title="Endpoint", width=26),
            Column(title="Assumed", width=26),
            Column(title="Needed", width=20, align="right"),
            Column(title="In the set", width=13, align="right"),
            Column(title="Power", align="right"),
        ),
        rows=tuple(rows),
        notes=(
            sentence("; ".join(terms)),
            "Cases of the kind a goal counts: positives, negatives or all. Power: the chance of reaching the goal with "
            "the cases in the set if the assumption holds; it is of the plan, not of this result.",
            *(sentence(clean(m)) for m in methods),
        ),
    )
    return [table]
