"""Table of how far groups of different patients lie apart: differences, ratios and tests against a reference group."""

from __future__ import annotations

from evalsuite.protocol.comparisons import RATIO
from evalsuite.report.format import format_level_name
from evalsuite.report.material import Material
from evalsuite.report.sections_sources import group_row, p_words, row, table_of
from evalsuite.report.text import clean
from evalsuite.report.view import Block, Heading, Prose, Row


def group_differences(material: Material) -> list[Block]:
    """Each group less the reference group; nothing where the protocol asks for none."""
    asked = material.protocol.analyses.group_differences
    found = list(material.findings(analysis="group_differences"))
    if asked is None or not found:
        return []
    rows: list[Row] = []
    name = ""
    for index, f in found:
        if f.endpoint != name:
            name = f.endpoint
            rows.append(group_row(material, f))
        group = format_level_name(next(iter(f.stratum.values()), ""))
        word = "over" if f.metric.endswith(RATIO) else "less"
        rows.append(row(material, index, f, f"{group} {word} {format_level_name(asked.reference)}"))
    start = f": {asked.stratum} "
    tests = [t for t in material.evidence.tests if start in t.name and t.name.startswith(f"{t.endpoint}{start}")]
    said = "; ".join(f"{clean(t.name, longest=120)}: {p_words(t)}" for t in tests)
    notes = (f"Tests that both are equal ({clean(tests[0].method, longest=80)}): {said}.",) if tests else ()
    text = (
        f"Groups of '{clean(asked.stratum, longest=60)}' are of different patients. The interval says how far apart "
        "two of them may be; one that holds 0 (a ratio: 1) does not show that they are equal. No margin was declared "
        "for these differences, several are looked at without adjustment, and no criterion is judged on them."
    )
    table = table_of(
        material,
        f"Differences and ratios between groups, against {format_level_name(asked.reference)}",
        rows,
        [f for _, f in found],
        notes=notes,
    )
    return [Heading(text="Differences between groups", id="group-differences"), Prose(paragraphs=(text,)), table]
