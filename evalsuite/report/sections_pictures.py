"""Single cases: galleries of best, median and worst outlines, of lesions found and missed and of false marks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from evalsuite.report.figures_pictures import gallery
from evalsuite.report.format import format_count
from evalsuite.report.material import Material
from evalsuite.report.sections_changes import FLIPS, of_a_flip
from evalsuite.report.sections_failures import KINDS, failures, in_kinds
from evalsuite.report.sections_interpretability import of_a_map
from evalsuite.report.sections_slices import slices
from evalsuite.report.sections_what_if import what_if
from evalsuite.report.text import clean
from evalsuite.report.view import Block, Cell, Column, Figure, Prose, Row, Section, Table
from evalsuite.types import Listing, Picture

_TITLES = {
    "found": "Lesions found",
    "missed": "Lesions missed",
    "false": "False marks",
    **{kind: title for kind, (title, _) in KINDS.items()},
}
_CHOSEN = {
    "false negative": "The positive cases whose scores lie farthest below the threshold.",
    "false positive": "The negative cases whose scores lie farthest above the threshold.",
    "wrong answer": "The cases in which the answer given exceeds the right one most.",
    "nearly wrong": "The cases decided rightly whose scores lie nearest to the other decision.",
    "found": "Highest, median and lowest score of the lesions found at the first operating point.",
    "missed": "The largest lesions missed at the first operating point.",
    "false": "The highest false marks, one per case.",
}
WORST = 10


def cases_shown(material: Material) -> tuple[Section, ...]:
    """The section with pictures and the worst cases; none where there is nothing of single cases."""
    shown = replace(
        material.exhibits,
        listings=tuple(x for x in material.exhibits.listings if x.name != FLIPS),
        pictures=tuple(p for p in material.exhibits.pictures if not of_a_flip(p) and not of_a_map(p)),
    )
    cases, groups = failures(material)
    searches = [*groups, *slices(material), *what_if(material)]
    if not shown.listings and not searches:
        return ()
    blocks: list[Block] = [*cases, *_galleries(shown.pictures, shown.listings)]
    if not shown.pictures and shown.listings:
        blocks.append(Prose(paragraphs=(_why_none(material),)))
    for listing in shown.listings:
        if listing.name == "structures":
            blocks += _worst(material, listing)
    if shown.listings:
        files = ", ".join(f"{x.name}.csv ({format_count(len(x.rows))} rows)" for x in shown.listings)
        text = f"Every one is in the attached line listing: {files}. Which cases are shown follows from it alone."
        blocks.append(Prose(paragraphs=(text,)))
    title = "Failure analysis" if cases or searches else "Single cases"
    return (Section(id="cases-shown", number="", title=title, code="R17", blocks=(*blocks, *searches)),)


def _why_none(material: Material) -> str:
    task = material.protocol.task
    if material.protocol.pictures == "none":
        return "The protocol shows no pictures of cases."
    if material.protocol.analyses.failures is not None:
        return _why_no_wrong_case(material)
    if task.kind == "detection" and task.coordinates is None:
        return "The protocol does not say what the millimetres of marks count from (task.coordinates): no pictures."
    return "No case that could be shown has an image or an outline."


def _why_no_wrong_case(material: Material) -> str:
    """Why no wrong case has a picture."""
    listing = next((x for x in material.exhibits.listings if x.name == "failures"), None)
    if listing is None or not listing.rows:
        return "No case was wrong: there is nothing to show."
    asked = material.protocol.analyses.failures
    if material.protocol.pictures != "images" or (asked is not None and asked.shown == 0):
        return "The protocol shows no images of cases."
    return "The test set has no images of these cases, or none that could be read: no pictures."


def _passed_over(kind: str, shown: Sequence[Picture], listings: Sequence[Listing]) -> Iterator[str]:
    """Which cases as bad as those shown have no picture, because their image is absent or cannot be read."""
    listed = [r["case_id"] for x in listings if x.name == "failures" for r in in_kinds(x).get(kind, [])]
    pictured = {p.case_id for p in shown}
    last = max((i for i, case in enumerate(listed) if case in pictured), default=-1)
    without = [case for case in listed[: last + 1] if case not in pictured]
    if without:
        names = ", ".join(clean(c, longest=40) for c in without[:8]) + (", …" if len(without) > 8 else "")
        yield f"Without a picture, for want of an image that can be read: {names}."


def _galleries(pictures: tuple[Picture, ...], listings: Sequence[Listing]) -> Iterator[Figure]:
    for group in dict.fromkeys(p.group for p in pictures):
        mine = [p for p in pictures if p.group == group]
        name = clean(group, longest=60)
        caption = _TITLES.get(group, f"Outlines of {name}: best, median and worst case")
        alt = f"{caption}. " + "; ".join(clean(f"{p.title} ({p.case_id})", longest=120) for p in mine) + "."
        chosen = _CHOSEN.get(group, "By Dice coefficient; the slice in which reference and device are largest.")
        how = "Stored voxels, not interpolated; grey from the 1st to the 99.5th percentile of the slice."
        notes: tuple[str, ...] = (chosen, how)
        across = 3
        if group in KINDS:
            across = 4
            how = "Stored pixels, not interpolated; grey ones from the 1st to the 99.5th percentile."
            notes = (chosen, how, *_passed_over(group, mine, listings))
        drawing = gallery(mine, alt=alt, across=across)
        source = f"{listings[0].name}.csv" if listings else "record.json"
        yield Figure(label="", caption=caption, svg=drawing, alt=alt, notes=notes, source=source)


def _worst(material: Material, listing: Listing) -> Iterator[Table]:
    """The lowest Dice coefficients, with the distances that were asked for beside them."""
    at = {name: i for i, name in enumerate(listing.columns)}
    rows = [row for row in listing.rows if row[at["dice"]]]
    rows.sort(key=lambda row: (float(row[at["dice"]]), row[at["case_id"]], row[at["structure"]]))
    if not rows:
        return
    figures = [c for c in listing.columns if c not in ("case_id", "structure", "status", "reason", "dice")][:3]
    yield Table(
        label="",
        caption=f"The {min(WORST, len(rows))} lowest Dice coefficients",
        columns=(
            Column(title="Case", width=24),
            Column(title="Structure", width=22),
            Column(title="Dice", align="right"),
            *(Column(title=clean(c, longest=40).replace("_", " "), align="right") for c in figures),
        ),
        rows=tuple(
            Row(
                cells=(
                    Cell(text=clean(row[at["case_id"]], longest=40)),
                    Cell(text=clean(row[at["structure"]], longest=40)),
                    Cell(text=f"{float(row[at['dice']]):.3f}", kind="number"),
                    *(Cell(text=f"{float(row[at[c]]):.3g}" if row[at[c]] else "–", kind="number") for c in figures),
                )
            )
            for row in rows[:WORST]
        ),
        notes=("Cases with an output; of those without one the accounting says how many.", material.set_note),
        compact=True,
        source=f"{listing.name}.csv",
    )
