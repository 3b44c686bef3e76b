"""Figures of tasks that find and outline: the FROC curve with its operating points, distributions of Dice."""

from __future__ import annotations

from evalsuite.report.figures import Mark
from evalsuite.report.figures_lesions import across, distribution, froc
from evalsuite.report.format import format_count, format_estimate
from evalsuite.report.material import Material, anchor, drawn_from, finding_at, metric_title, places
from evalsuite.report.text import clean
from evalsuite.report.view import Block, Cell, Column, Figure, Pair, Prose, Row, Table
from evalsuite.types import Curve

#: More small figures than this are turned over unread; the curves are in the evidence.
MOST_STRUCTURES = 12


def froc_figures(material: Material) -> list[Block]:
    """The FROC curve of the whole set, or why there is none."""
    line = next((c for c in material.curves("froc") if not c.stratum), None)
    if line is None:
        return [Prose(paragraphs=("The evidence holds no FROC curve: it takes lesions in the reference.",))]
    return [_froc_figure(material, line), *_across_figure(material)]


def _across_figure(material: Material) -> list[Figure]:
    """How sensitivity falls with the overlap that is asked for, where lesions are matched by overlap."""
    curves = material.curves("overlap")[:3]
    matching = material.protocol.task.matching
    if not curves or matching is None:
        return []
    first = curves[0]
    ends = f"from {first.y[0]:.3g} at {first.x[0]:g} to {first.y[-1]:.3g} at {first.x[-1]:g}"
    alt = f"Sensitivity per lesion over the smallest overlap that counts as found, {ends}."
    note = "Dashed upright: the protocol's own smallest overlap. Cases without output as in the primary analysis."
    return [
        Figure(
            label="", caption="Sensitivity across the overlap that counts as found", alt=alt, notes=(note,),
            source=drawn_from(material, first), svg=across(curves, own=matching.overlap, alt=alt),
        )
    ]  # fmt: skip


def _froc_figure(material: Material, line: Curve) -> Figure:
    found = next((f for _, f in material.findings(overall=True) if f.metric == "cpm" and f.condition is None), None)
    words = "" if found is None else f"{metric_title('cpm')} {format_estimate('cpm', found.estimate)}."
    n = format_count(line.n) if isinstance(line.n, int) else "the"
    alt = f"FROC curve of {n} lesions, from (0, 0) to ({line.x[-1]:.3g}, {line.y[-1]:.3g}). {words}"
    notes = [
        "Marks of equal score enter together. Of a case without a usable output no lesion is found on the curve, and "
        "no false positive is counted; the tables count as many as the protocol declares."
    ]
    if line.low is not None:
        notes.append(f"Band: {material.interval_title}, {clean(line.method or 'method not recorded', longest=160)}.")
    marks = _operating_points(material)
    if marks:
        notes.append(f"Circles: operating points, with the {material.interval_title} of the sensitivity.")
    legend = "" if found is None or found.estimate.value is None else f"CPM {format_estimate('cpm', found.estimate)}"
    return Figure(
        label="", caption="FROC curve", alt=alt, notes=tuple(notes), source=drawn_from(material, line),
        of=places(material, [found]),
        svg=froc(line, marks=marks, legend=legend, alt=alt),
    )  # fmt: skip


def _operating_points(material: Material) -> list[Mark]:
    marks = []
    for point in material.protocol.operating_points[:5]:
        hit = finding_at(material, "lesion_sensitivity", point.name)
        rate = finding_at(material, "false_positives_per_case", point.name)
        if hit is None or rate is None or hit.estimate.value is None or rate.estimate.value is None:
            continue
        e = hit.estimate
        interval = (e.low, e.high) if e.low is not None and e.high is not None else None
        marks.append(Mark(name=point.name, x=rate.estimate.value, y=hit.estimate.value, y_interval=interval))
    return marks


def distribution_figures(material: Material) -> list[Block]:
    """How many cases have which Dice, a small figure per structure, two side by side."""
    curves = [c for c in material.curves("histogram") if c.metric == "dice"]
    if not curves:
        return [Prose(paragraphs=("No case has a Dice coefficient: there is nothing to draw.",))]
    made = [_distribution(material, c) for c in curves[:MOST_STRUCTURES]]
    blocks: list[Block] = [*_two_readers(material)]
    blocks += [Pair(left=left, right=right) for left, right in zip(made[::2], made[1::2], strict=False)]
    if len(made) % 2:
        blocks.append(made[-1])
    if len(curves) > MOST_STRUCTURES:
        text = (
            f"The distributions of {len(curves) - MOST_STRUCTURES} more structures are in the attached evidence.json."
        )
        blocks.append(Prose(paragraphs=(text,)))
    return blocks


def _two_readers(material: Material) -> list[Table]:
    """The device's Dice coefficient beside that of a second reader, both against the reference."""
    rows = []
    for index, finding in material.findings(overall=True, analysis="segmentation"):
        if finding.rater != "second reader":
            continue
        e = finding.estimate
        device = next(
            (
                (i, f)
                for i, f in material.findings(overall=True)
                if f.metric == "dice" and f.condition is None and f.target in (finding.target, None)
                and ((asked := material.endpoint(f.endpoint)) is None or asked.quantile is None)
                and (f.target is not None or len(material.protocol.task.classes or []) == 1)
            ),
            None,
        )  # fmt: skip
        rows.append(
            Row(
                cells=(
                    Cell(text=clean(finding.endpoint.removeprefix("second reader, "), longest=60)),
                    Cell(
                        text="–" if device is None else format_estimate("dice", device[1].estimate),
                        kind="number",
                        of=() if device is None else (anchor(device[0]),),
                    ),
                    Cell(text=format_estimate("dice", e), kind="number"),
                    Cell(text=format_count(e.n), kind="number"),
                    Cell(text=anchor(index), kind="muted"),
                ),
                anchor=anchor(index),
            )
        )
    if not rows:
        return []
    note = "The second reader's cases are those with an output; the device's are as in the primary analysis."
    return [
        Table(
            label="",
            caption="Dice coefficient of the device and of a second reader, both against the reference",
            columns=(
                Column(title="Structure", width=24),
                Column(title="Device", align="right", width=30),
                Column(title="Second reader", align="right", width=30),
                Column(title="Cases", align="right"),
                Column(title="Finding", align="right"),
            ),
            rows=tuple(rows),
            notes=(note, material.set_note),
        )
    ]


def _distribution(material: Material, curve: Curve) -> Figure:
    name = clean(curve.series or "", longest=60)
    n = format_count(curve.n) if isinstance(curve.n, int) else "the"
    low = sum(count for x, count in zip(curve.x, curve.y, strict=True) if x < 0.5)
    alt = f"Dice coefficient of {name} in {n} cases, {format_count(int(low))} of them below 0.5."
    notes = ("Cases without a usable output count as in the primary analysis.",)
    return Figure(
        label="", caption=f"Dice coefficient of {name}: cases", alt=alt, notes=notes,
        source=drawn_from(material, curve), svg=distribution(curve, name=f"Dice coefficient, {name}", alt=alt),
    )  # fmt: skip
