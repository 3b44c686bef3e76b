"""What if each group had a threshold of its own: sensitivities and specificities now and then; no verdict uses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evalsuite.report.format import format_interval, format_level_name, format_number, format_value, not_estimable
from evalsuite.report.material import Material, anchor
from evalsuite.report.text import clean
from evalsuite.report.view import Block, Cell, Column, Heading, Notice, Prose, Row, Table
from evalsuite.types import Finding

ANALYSIS = "threshold_what_if"
DECLARED, EQUALISED = "as declared", "equalised"
_Found = Mapping[tuple[str, str, str], tuple[int, Finding]]


def what_if(material: Material) -> list[Block]:
    """The table and what it says; nothing where the protocol does not ask."""
    asked = material.protocol.analyses.threshold_what_if
    notes = [clean(n, longest=300) for n in material.evidence.notes if n.startswith("What-if thresholds: ")]
    if asked is None or not (notes or any(True for _ in material.findings(analysis=ANALYSIS))):
        return []  # not asked for, or withheld in this copy of the report
    found: dict[tuple[str, str, str], tuple[int, Finding]] = {
        (next(iter(f.stratum.values()), ""), f.metric, f.condition or ""): (i, f)
        for i, f in material.findings(analysis=ANALYSIS)
    }
    blocks: list[Block] = [
        Heading(text="What if groups had thresholds of their own", id="threshold-what-if"),
        Notice(
            title="A what-if, never applied",
            text="The verdict and every other figure of this report use the declared threshold. Thresholds read off "
            "the test set are no evidence of a device that has them; deciding by group membership may also be unlawful "
            "or unwanted.",
        ),
    ]
    groups = list(dict.fromkeys(group for group, _, _ in found))
    if not groups:
        return [*blocks, Prose(paragraphs=tuple(notes))]
    name = clean(asked.stratum, longest=60)
    how = {
        "sensitivity": "Each group gets the highest threshold at which it reaches the whole set's sensitivity.",
        "odds": "Each group gets the whole set's false positive rate, and the sensitivity that all groups can reach at "
        "it; where that needs it, cases are called by chance.",
    }[asked.equalise]
    words = what_if_in_words([(g, found) for g in groups], equalise=asked.equalise)
    blocks.append(Prose(paragraphs=(f"{how} {words}".strip(), *notes)))
    shown = [f for _, f in found.values() if f.metric != "threshold"]
    blocks.append(
        Table(
            label="",
            caption=f"Groups of {name} at the declared threshold, and as they would be (what-if)",
            columns=(
                Column(title="Group", width=14),
                Column(title="Own threshold", align="right", width=12),
                Column(title="Sensitivity", width=18),
                Column(title="What if", width=18),
                Column(title="Specificity", width=18),
                Column(title="What if"),
            ),
            rows=tuple(_row(g, found) for g in groups),
            notes=(
                "What if: every case is called by the rule found on the half of the patients it does not belong to, "
                "so that the figures are not flattered by the search. The threshold printed is of all cases.",
                material.method_note(f.estimate for f in shown),
                material.set_note,
            ),
            compact=True,
        )
    )
    return blocks


def _row(group: str, found: _Found) -> Row:
    threshold = found.get((group, "threshold", EQUALISED))
    value = None if threshold is None else threshold[1].estimate.value
    of = () if threshold is None else (anchor(threshold[0]),)
    own = Cell(text="by chance" if value is None else format_number(value), of=of)
    cells = [Cell(text=format_level_name(group)), own]
    for metric in ("sensitivity", "specificity"):
        for condition in (DECLARED, EQUALISED):
            index, f = found[group, metric, condition]
            e = f.estimate
            if e.value is None:
                cells.append(Cell(text=not_estimable(e), kind="muted", anchor=anchor(index)))
            else:
                text, sub = format_value(metric, e), format_interval(metric, e)
                cells.append(Cell(text=text, sub=sub, anchor=anchor(index)))
    return Row(cells=tuple(cells))


def what_if_in_words(groups: Sequence[tuple[str, _Found]], *, equalise: str) -> str:
    """What each group would gain and pay: which way its sensitivity and its specificity would move, in figures."""
    said = []
    for group, found in groups:
        parts = []
        for metric in ("sensitivity", "specificity"):
            now, then = (found[group, metric, c][1].estimate.value for c in (DECLARED, EQUALISED))
            if now is None or then is None:
                continue
            way = "stay at" if abs(then - now) < 5e-4 else "rise" if then > now else "fall"
            figures = f"{100 * now:.1f}" if way == "stay at" else f"from {100 * now:.1f} to {100 * then:.1f}"
            parts.append(f"{metric} would {way} {figures}\u00a0%")
        if parts:
            said.append(f"{format_level_name(group)}: {', '.join(parts)}")
    if not said:
        return "Neither could be worked out."
    more = "" if equalise == "odds" else " What one group gains in sensitivity it pays for in specificity."
    return f"{'; '.join(said)}.{more}"
