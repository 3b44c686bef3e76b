"""Curves side by side: ROC and reliability of every class or label, and reliability in every group."""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite.report.figures import reliability, roc
from evalsuite.report.format import format_count, format_estimate, format_number, format_stratum
from evalsuite.report.material import Material, drawn_from, metric_title, places
from evalsuite.report.sections_classes import names
from evalsuite.report.text import clean
from evalsuite.report.view import Block, Figure, Heading, Pair, Prose
from evalsuite.types import Curve

#: More small figures than this are turned over unread; the curves are in the evidence.
MOST_FIGURES = 12
MOST_GROUPS = 6


def band_note(band: Curve | None) -> str:
    """What the band behind a reliability curve is; empty without one."""
    if band is None:
        return ""
    return f" Band: {clean(band.method or 'method not recorded', longest=200)}."


def target_curves(material: Material) -> list[Block]:
    """The ROC curve of every class or label against the rest, with its band."""
    figures: list[Figure] = []
    lines = [(name, c) for name in names(material) for c in material.curves("roc", series="curve", target=name)]
    for name, line in lines[:MOST_FIGURES]:
        band = next(iter(material.curves("roc", series="band", target=name)), None)
        said = clean(name, longest=60)
        found = next(
            (
                f
                for _, f in material.findings(overall=True)
                if f.metric == "auroc" and f.target == name and f.condition is None
            ),
            None,
        )
        legend = metric_title("auroc") + (f" {format_estimate('auroc', found.estimate)}" if found else "")
        n = f" of {format_count(line.n)} cases" if isinstance(line.n, int) else ""
        alt = f"ROC curve of {said} against the rest{n}. {legend}."
        figures.append(
            Figure(
                label="",
                caption=f"ROC curve of {said}",
                alt=alt,
                notes=_band_notes(material, band) if not figures else (),
                source=drawn_from(material, line),
                of=places(material, [found]),
                svg=roc(line, band=band, marks=[], legend=legend, alt=alt),
            )
        )
    return _side_by_side(figures, len(lines), "ROC curves")


def _band_notes(material: Material, band: Curve | None) -> tuple[str, ...]:
    if band is None:
        return ()
    return (f"Bands: {material.interval_title}, {clean(band.method or 'method not recorded', longest=160)}.",)


def reliability_small(material: Material) -> list[Block]:
    """The reliability curve of every class or label against the rest, and of every group of a task of one question."""
    of_targets = [
        (clean(name, longest=60), curve)
        for name in names(material)
        for curve in material.curves("reliability", target=name)
        if curve.series is None
    ]
    figures = []
    for said, curve in of_targets[:MOST_FIGURES]:
        band = next(iter(material.curves("reliability", series="consistency", target=curve.target)), None)
        figures.append(_reliability(material, said, curve, band))
    blocks = _side_by_side(figures, len(of_targets), "reliability curves")
    groups = [c for c in material.evidence.curves if c.kind == "reliability" and c.stratum]
    if groups:
        small = [_reliability(material, _said(c), c, None) for c in groups[:MOST_GROUPS]]
        blocks.append(Heading(text="Reliability in groups", id="reliability-groups"))
        blocks += _side_by_side(small, len(groups), "reliability curves")
    return blocks


def _said(curve: Curve) -> str:
    group = format_stratum(curve.stratum)
    return group if curve.target is None else f"{clean(curve.target, longest=60)}, {group}"


def _reliability(material: Material, said: str, curve: Curve, band: Curve | None) -> Figure:
    counts = curve.n if isinstance(curve.n, tuple) else ()
    words = "; ".join(
        f"{format_number(x, 2)} predicted, {format_number(y, 2)} observed"
        for x, y in zip(curve.x, curve.y, strict=True)
    )
    alt = f"Reliability of {said}. {words}."
    total = f" n = {format_count(sum(counts))} cases." if counts else ""
    note = f"Bars: {material.interval_title}. Dashed: perfect calibration.{band_note(band)}{total}"
    return Figure(
        label="", caption=f"Reliability of {said}", alt=alt, notes=(note,), source=drawn_from(material, curve),
        svg=reliability(curve, band=band, alt=alt),
    )  # fmt: skip


def _side_by_side(figures: Sequence[Figure], of: int, what: str) -> list[Block]:
    """Figures two in a row; those that are left out are said."""
    blocks: list[Block] = [
        Pair(left=figures[i], right=figures[i + 1]) if i + 1 < len(figures) else figures[i]
        for i in range(0, len(figures), 2)
    ]
    if of > len(figures):
        text = f"The first {len(figures)} of {of} {what} are drawn; all are in the attached evidence.json."
        blocks.append(Prose(paragraphs=(text,)))
    return blocks
