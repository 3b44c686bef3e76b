"""Section on triage: the waiting time saved in the reading room the protocol assumes, and whom it costs time."""

from __future__ import annotations

from evalsuite.protocol.triage import Triage
from evalsuite.report.figures_triage import wait_saved
from evalsuite.report.format import format_number, format_percent
from evalsuite.report.material import Material, drawn_from
from evalsuite.report.sections_sources import row, table_of
from evalsuite.report.text import clean
from evalsuite.report.view import Block, Cell, Facts, Figure, Item, Prose, Row, Section
from evalsuite.types import Finding

_WORDS = {
    "wait_without_device": "Wait without the device, patients with the condition (min)",
    "wait_with_device": "Wait with the device, patients with the condition (min)",
    "wait_saved": "Saved on average for patients with the condition (min)",
    "wait_saved_simulated": "Saved on average, in a simulated room (min); its interval is that of the simulation",
    "wait_saved_found": "Saved for those the device flags (min)",
    "wait_added_missed": "Added for those it does not flag (min)",
    "wait_added_negatives": "Added for patients without the condition (min)",
    "flagged_share": "Share of images the device flags",
    "reader_load": "Share of the readers' time that reading takes",
}
_DISCIPLINES = {
    "nonpreemptive": "A reading that has begun is finished first",
    "preemptive": "A flagged image interrupts a reading",
}
_NAMES = {"nonpreemptive": "Not interrupted", "preemptive": "Interrupted"}


def triage(material: Material) -> Section | None:
    """Assumptions, table and figure; None where the protocol does not ask."""
    asked = material.protocol.analyses.triage
    found = list(material.findings(analysis="triage"))
    if asked is None or not found:
        return None
    text = (
        "A triage device shows some images earlier, and all others therefore later. These waits are worked out from "
        "its sensitivity and specificity in this study and from the reading room assumed below; none was observed. A "
        "wait is the time from arrival to the end of reading, less the reading itself, in a steady state. Images "
        "flagged falsely are read early too, and slow the rest; patients whom the device misses wait longer than "
        "without it."
    )
    rows: list[Row] = []
    shown: list[Finding] = []
    for discipline in asked.disciplines:
        rows.append(Row(cells=(Cell(text=_DISCIPLINES[discipline]),), group=True))
        for index, f in found:
            if f.condition == discipline:
                share, alone = f.metric in ("flagged_share", "reader_load"), f.estimate.low is None
                said = _WORDS.get(f.metric, clean(f.metric))
                rows.append(row(material, index, f, said, percent=share, alone=alone))
                shown.append(f)
    note = (
        "Intervals: the smallest and largest value over all sensitivities and specificities within intervals that hold "
        "together at this level. The assumptions have no uncertainty here. No criterion is judged on these figures."
    )
    blocks: list[Block] = [
        Prose(paragraphs=(text,)),
        _assumptions(asked),
        table_of(material, "Waiting times with and without the device", rows, shown, notes=(note,)),
        *_figure(material, asked),
    ]
    return Section(id="triage", number="", title="Triage benefit", code="R13", blocks=tuple(blocks))


def _assumptions(asked: Triage) -> Facts:
    reading = asked.reading
    urgent = "none"
    if asked.urgent is not None:
        urgent = f"{format_percent(asked.urgent.share)} % of all images, {asked.urgent.minutes:g} min each on average"
    spread = {1.0: "exponential", 0.0: "all equally long"}.get(reading.cv, f"coefficient of variation {reading.cv:g}")
    facts = (
        ("Arrivals", f"{asked.arrivals_per_hour:g} images per hour, at random (Poisson)"),
        ("Prevalence", f"{format_percent(asked.prevalence)} % of images that are not urgent"),
        (
            "Reading",
            f"{reading.with_condition:g} min with the condition, {reading.without_condition:g} min without, {spread}",
        ),
        ("Readers", f"{asked.readers}"),
        ("Read before all others", urgent),
        ("Within a class", "in the order of arrival; an interrupted reading is taken up where it was left"),
        ("The device's answer", "is there when the image arrives"),
        ("Source", clean(asked.source, longest=300) or "none stated"),
    )
    return Facts(items=tuple(Item(name=name, value=value) for name, value in facts))


def _figure(material: Material, asked: Triage) -> list[Block]:
    curves = material.curves("wait_saved")
    if not curves:
        return []
    first = curves[0]
    alt = (
        "Minutes saved on average for patients with the condition, over images arriving per hour from "
        f"{format_number(first.x[0], 1)} to {format_number(first.x[-1], 1)}: "
        + "; ".join(
            f"{_NAMES[str(c.series)].lower()} from {format_number(c.y[0], 1)} to {format_number(c.y[-1], 1)}"
            for c in curves
        )
        + "."
    )
    notes = (
        f"Band: {material.interval_title} of the first line, from the uncertainty of sensitivity and specificity.",
        "Dashed vertical: the arrivals assumed. The last point is a load of 90 %.",
    )
    return [
        Figure(
            label="",
            caption="Minutes saved for patients with the condition, over how much there is to read",
            alt=alt,
            notes=notes,
            source=drawn_from(material, first),
            svg=wait_saved(curves, assumed=asked.arrivals_per_hour, names=_NAMES, alt=alt),
        )
    ]
