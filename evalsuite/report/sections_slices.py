"""Slices: groups with more wrong cases that a search found, and whether they hold on patients held out."""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite.report.format import format_count, format_level, format_p, format_stratum
from evalsuite.report.material import Material, tested
from evalsuite.report.sections_failures import kind_title, share_cell
from evalsuite.report.text import clean
from evalsuite.report.view import Block, Cell, Column, Heading, Prose, Row, Table
from evalsuite.types import Finding, TestOutcome

ANALYSIS = "slices"
SEARCHED, HELD_OUT = "searched half", "held-out half"
_Found = dict[tuple[str, tuple[tuple[str, str], ...], str | None, str | None], tuple[int, Finding]]


def slices(material: Material) -> list[Block]:
    """What the search singled out and what became of it; nothing where the protocol asks for no search."""
    asked = material.protocol.analyses.slices
    said = next((n for n in material.evidence.notes if n.startswith("Slices: ")), None)
    if asked is None or said is None:
        return []  # not asked for, or withheld in this copy of the report
    tests = [t for t in material.evidence.tests if t.name.endswith((f", {HELD_OUT}", f", {SEARCHED}"))]
    checked = {(t.endpoint or "", tuple(t.stratum.items())): t for t in tests if t.name.endswith(HELD_OUT)}
    screened = {(t.endpoint or "", tuple(t.stratum.items())): t for t in tests if t.name.endswith(SEARCHED)}
    absent = [n for n in material.evidence.notes if n.startswith("Slices over embeddings: ")]
    blocks: list[Block] = [
        Heading(text="Slices", id="slices"),
        Prose(
            paragraphs=(
                *(clean(n, longest=600) for n in (said, *absent)),
                slices_in_words(list(checked.values()), asked.level),
            )
        ),
    ]
    if not checked:
        return blocks
    found: _Found = {
        (f.endpoint, tuple(f.stratum.items()), f.condition, f.reference_group): (i, f)
        for i, f in material.findings(analysis=ANALYSIS)
    }
    rows = tuple(
        _row(material, key, test, screened.get(key), found, asked.level)
        for key, test in sorted(checked.items(), key=lambda x: (_value(x[1]), x[0]))
    )
    methods = "; ".join(dict.fromkeys(clean(t.method, longest=160) for t in (*checked.values(), *screened.values())))
    blocks.append(
        Table(
            label="",
            caption="Slices singled out in half of the patients, and the same in the other half (exploratory)",
            columns=(
                Column(title="Failure", width=13),
                Column(title="Slice", width=20),
                Column(title="Searched half", width=15),
                Column(title="Held-out half", width=15),
                Column(title="All others, held out", width=15),
                Column(title="p, held out", width=10),
                Column(title="Holds"),
            ),
            rows=rows,
            notes=(
                f"Wrong cases of those that could be, {material.interval_title}; p one-sided and adjusted. Figures of "
                f"the searched half are too bad by how they were chosen: read those of the held-out half. {methods}.",
                material.set_note,
            ),
            compact=True,
        )
    )
    return blocks


def slices_in_words(checked: Sequence[TestOutcome], level: float) -> str:
    """One or two sentences: which slices hold on the patients held out, and what that does and does not mean."""
    if not checked:
        return (
            "No slice was singled out, so there is none to test in the held-out half. That is not evidence that there "
            "is none: small groups show only large differences."
        )
    holds = [t for t in checked if t.p_adjusted is not None and t.p_adjusted <= level]
    if not holds:
        return (
            f"None of the {format_count(len(checked))} slices singled out holds on the patients held out. What the "
            "search saw there may be chance; it is not shown to be."
        )
    names = "; ".join(f"{kind_title(t.endpoint or '').lower()} among {format_stratum(t.stratum)}" for t in holds[:6])
    more = f"; and {len(holds) - 6} more" if len(holds) > 6 else ""
    return (
        f"More frequent than among all others on patients who took no part in the search, at a family-wise error of "
        f"{format_level(level)}: {names}{more}. A slice is a description, not a cause: attributes that go together "
        "carry each other's effect."
    )


def _value(test: TestOutcome) -> float:
    return 2.0 if test.p_adjusted is None else test.p_adjusted


def _row(
    material: Material,
    key: tuple[str, tuple[tuple[str, str], ...]],
    test: TestOutcome,
    screened: TestOutcome | None,
    found: _Found,
    level: float,
) -> Row:
    holds = _value(test) <= level
    return Row(
        cells=(
            Cell(text=kind_title(key[0])),
            Cell(
                text=format_stratum(material.ordered(test.stratum)),
                sub="" if screened is None else f"search: {format_p(screened.p_adjusted)}",
                of=tested(material, screened),
            ),
            share_cell(found[(*key, SEARCHED, None)]),
            share_cell(found[(*key, HELD_OUT, None)]),
            share_cell(found[(*key, HELD_OUT, "all others")]),
            Cell(text=format_p(test.p_adjusted), of=tested(material, test)),
            Cell(text="yes" if holds else "not shown"),
        )
    )
