"""Tables of tasks with several classes, labels or grades: the confusion matrix, and each class against the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evalsuite.protocol.schema import Endpoint
from evalsuite.report.format import (
    format_count,
    format_fraction,
    format_interval,
    format_number,
    format_p,
    format_value,
)
from evalsuite.report.material import Material, anchor, metric_title
from evalsuite.report.text import clean, given
from evalsuite.report.view import Block, Cell, Column, Prose, Row, Table
from evalsuite.types import Finding

MOST_CLASSES_IN_MATRIX = 8
MOST_CLASSES = 40
PER_TABLE = 4
_WORDS = {
    "multiclass": ("class", "Class"),
    "multilabel": ("label", "Label"),
    "ordinal": ("grade", "Grade"),
    "segmentation": ("structure", "Structure"),
}


def is_measurement(material: Material) -> bool:
    """Whether the device measures a quantity: no classes at all."""
    return material.protocol.task.kind == "regression"


def is_detection(material: Material) -> bool:
    """Whether the task is to find lesions: a case has any number of them, and of marks."""
    return material.protocol.task.kind == "detection"


def is_segmentation(material: Material) -> bool:
    """Whether the task is to outline structures: every case has a figure of each."""
    return material.protocol.task.kind == "segmentation"


def has_several(material: Material) -> bool:
    """Whether cases are not split into positive and negative: several classes, labels or grades, a measurement, or
    structures that are outlined."""
    return material.protocol.task.kind in _WORDS or is_measurement(material)


def too_few_of(material: Material) -> str:
    """What a group that is not assessable has too few of."""
    if is_detection(material):
        return "lesions (of a rate: cases with or without one)"
    return "cases" if is_measurement(material) or is_segmentation(material) else "positives or negatives"


def names(material: Material) -> tuple[str, ...]:
    """The classes, labels or grades, in the protocol's order."""
    task = material.protocol.task
    if task.kind == "multilabel":
        return tuple(task.reference) if isinstance(task.reference, list) else (task.reference,)
    return tuple(task.classes or ())


def class_tables(material: Material) -> list[Block]:
    """The confusion matrix and the figures of each class, label or grade; nothing for a task of one question."""
    if material.protocol.task.kind not in _WORDS:
        return []
    return [*_matrix(material), *_each(material)]


def _matrix(material: Material) -> list[Block]:
    cells: dict[str, dict[str, tuple[int, Finding]]] = {}
    for index, finding in material.findings(overall=True, analysis="confusion"):
        predicted = str(finding.condition).partition("=")[2]
        cells.setdefault(str(finding.target), {})[predicted] = (index, finding)
    if not cells:
        return []
    columns = list(dict.fromkeys(name for row in cells.values() for name in row))
    word = _WORDS[material.protocol.task.kind][0]
    if len(columns) > MOST_CLASSES_IN_MATRIX + 1:
        text = f"The confusion matrix of {len(cells)} classes is in the attached evidence.json (analysis: confusion)."
        return [Prose(paragraphs=(text, *_marginal_notes(material, word)))]
    rows = []
    for own, found in cells.items():
        place, total = next(((anchor(i), f.estimate.n) for i, f in found.values()), ("", 0))
        row = [Cell(text=clean(own, longest=60))]
        for name in columns:
            index, finding = found[name]
            e = finding.estimate
            share = f"{format_number(100 * e.value, 1)}\u00a0%" if e.value is not None else "–"
            text = format_count(int(e.numerator or 0)) if e.value is not None else "0"
            kind = "head" if name == own else "number"
            row.append(Cell(text=text, sub=share, kind=kind, anchor=anchor(index)))  # type: ignore[arg-type]
        row.append(Cell(text=format_count(total), kind="number", of=(place,) if place else ()))
        rows.append(Row(cells=tuple(row)))
    return [
        Table(
            label="",
            caption=f"Confusion matrix: reference {word} in rows, predicted {word} in columns",
            columns=(
                Column(title=f"Reference {word}", width=20),
                *(Column(title=clean(name, longest=40), align="right") for name in columns),
                Column(title="Total", align="right"),
            ),
            rows=tuple(rows),
            notes=(
                "Cases with an established reference, as counted: nothing is assumed about cases without output. Below "
                "each count its share of the row; intervals are in the attached evidence.json.",
                *_marginal_notes(material, word),
                material.set_note,
            ),
        )
    ]


def _marginal_notes(material: Material, word: str) -> list[str]:
    """The test of row totals against column totals, in words."""
    notes = []
    for t in material.evidence.tests:
        if not t.method.startswith("Stuart-Maxwell"):
            continue
        said = f"Test that device and reference use the {word}s equally often".replace("classs", "classes")
        method = clean(t.method, longest=80)
        if t.p_value is None:
            notes.append(f"{said}: no test ({clean(given(t.undefined, 'no reason recorded'), longest=120)}); {method}.")
            continue
        p = f"p {format_p(t.p_value, sign='= ')}"
        statistic = "" if t.statistic is None else f"statistic {format_number(t.statistic, 2)}, "
        notes.append(
            f"{said} ({method}): {statistic}{p}. It looks at how often, not at which cases: equal use is not agreement."
        )
    return notes


#: Metric, operating point, and what else the endpoints of a column have in common.
_Key = tuple[str, str | None, str]


def _settings(endpoint: Endpoint | None) -> str:
    """What an endpoint asks of the figure itself: a quantile of the cases is another number than their mean."""
    if endpoint is None:
        return ""
    said = {"quantile": endpoint.quantile, "tolerance": endpoint.tolerance, "top": endpoint.top}
    own = [f"{name} {value:g}" for name, value in said.items() if value is not None]
    return ", ".join([*own, f"{endpoint.definition} surfaces"] if endpoint.definition else own)


def _each(material: Material) -> list[Block]:
    found: dict[_Key, dict[str, tuple[int, Finding]]] = {}
    for index, finding in material.findings(overall=True):
        if finding.target is None or finding.condition is not None or finding.analysis == "calibration":
            continue
        endpoint = material.endpoint(finding.endpoint)
        if endpoint is not None and (endpoint.interval or endpoint.prevalence or endpoint.range):
            continue  # an endpoint with settings of its own has its own row
        key = (finding.metric, finding.operating_point, _settings(endpoint))
        found.setdefault(key, {})[finding.target] = (index, finding)
    order = names(material)
    # One figure of one class has its own row; a column is for all of them.
    asked = [key for key, members in found.items() if len(members) == len(order)]
    several = len(material.protocol.operating_points) > 1
    word, title = _WORDS[material.protocol.task.kind]
    blocks: list[Block] = []
    for start in range(0, len(asked), PER_TABLE):
        keys = asked[start : start + PER_TABLE]
        blocks.append(_table(material, [found[k] for k in keys], keys, order[:MOST_CLASSES], word, title, several))
    if blocks and len(order) > MOST_CLASSES:
        text = f"The first {MOST_CLASSES} of {len(order)} are tabled; all are in the attached evidence.json."
        blocks.append(Prose(paragraphs=(text,)))
    return blocks


def _table(
    material: Material,
    members: Sequence[dict[str, tuple[int, Finding]]],
    keys: Sequence[_Key],
    order: Sequence[str],
    word: str,
    title: str,
    several: bool,
) -> Table:
    rows = []
    for name in order:
        cells = [Cell(text=clean(name, longest=60))]
        for member in members:
            index, finding = member[name]
            e = finding.estimate
            if e.value is None:
                cells.append(Cell(text=clean(e.undefined, longest=80), kind="muted", **_place(finding, index)))
                continue
            fraction = format_fraction(e)
            cells.append(
                Cell(
                    text=f"{fraction + ' · ' if fraction else ''}{format_value(finding.metric, e)}",
                    sub=format_interval(finding.metric, e),
                    kind="number",
                    **_place(finding, index),
                )
            )
        cells += [Cell(text="")] * (PER_TABLE - len(members))
        rows.append(Row(cells=tuple(cells)))
    estimates = [member[name][1].estimate for member in members for name in order]
    methods = dict.fromkeys(clean(e.method, longest=120) for e in estimates if e.low is not None)
    heads = [
        metric_title(m) + (f" at {clean(at, longest=40)}" if at and several else "") + (f", {own}" if own else "")
        for m, at, own in keys
    ]
    against = "each on its own" if word == "label" else f"each {word} against the rest"
    return Table(
        label="",
        caption=f"{title} by {word}: {', '.join(heads)}",
        columns=(
            Column(title=title, width=16),
            *(Column(title=head, align="right", width=21) for head in heads),
            *(Column(title="", width=21) for _ in range(PER_TABLE - len(heads))),
        ),
        rows=tuple(rows),
        notes=(
            f"Interval methods: {'; '.join(methods)}." if methods else "No interval could be given.",
            f"{against.capitalize()}; estimate and {material.interval_title}. {material.set_note}",
        ),
    )


def _place(finding: Finding, index: int) -> dict[str, Any]:
    """Endpoints of the protocol have their row, and with it their anchor, in the table of the whole set."""
    return {"anchor": anchor(index)} if finding.role == "descriptive" else {"of": (anchor(index),)}
