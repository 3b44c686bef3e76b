"""Section on what answers depend on: shortcuts by behaviour, maps by measures, maps beside lesions; limits in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from evalsuite.protocol.metrics import METRICS
from evalsuite.report.figures_cases import ForestRow, forest
from evalsuite.report.figures_pictures import map_gallery
from evalsuite.report.format import format_count, format_estimate, format_interval, format_value, not_estimable
from evalsuite.report.material import Material, anchor
from evalsuite.report.sections_localisation import KNOWS_NOTHING, is_localisation, localisation_blocks, map_name
from evalsuite.report.sections_shortcuts import ANALYSIS, shortcut_blocks
from evalsuite.report.text import clean, given
from evalsuite.report.view import Block, Cell, Column, Facts, Figure, Heading, Item, Prose, Row, Section, Table
from evalsuite.types import Finding, Picture

_NAMES = {
    "randomisation": "Likeness to the map of the network with shuffled parameters",
    "reproducibility": "Likeness to the map of the image with slight noise",
    "infidelity": "Infidelity: what the map leaves unexplained of the answer's changes",
    "sensitivity": "Sensitivity: largest change of the map under slight noise",
    "insertion": "Insertion: area under the answer as pixels come back",
    "deletion": "Deletion: area under the answer as pixels are taken away",
    "road": "Remove and debias: mean of the answer",
}
#: Which way is better, for a reader of the table; likeness to a shuffled network should be low.
_BETTER = {
    "randomisation": "lower",
    "reproducibility": "higher",
    "infidelity": "lower",
    "sensitivity": "lower",
    "insertion": "higher",
    "deletion": "lower",
    "road": "lower",
}
#: What a reader needs of the run record; the rest of it is attached.
_RECORDED = {
    "target": "Maps of",
    "n_cases": "Cases",
    "n_patients": "Patients",
    "planned_passes": "Image passes",
}
#: Variants of a measure in words; an area and a mean are in the measure's name.
_VARIANTS = {"ssim": " (SSIM)", "spearman": " (rank correlation)", "auc": "", "max": "", "mean": "", "unexplained": ""}
_LIMITS = (
    "A map shows what the score is sensitive to, not why, and not that a finding caused the answer. A map that looks "
    "right may come from a network whose parameters were shuffled, from the image's own edges, or from the middle of "
    "the image: every measure therefore stands beside maps that know nothing of the model. A map that points at a tag "
    "or a border does not convict, and one that points at a lesion does not acquit; only a change of the answers does. "
    "No map and no measure of one is an acceptance criterion."
)


def interpretability(material: Material) -> Section | None:
    """Everything `analyses.interpretability` found; None where the protocol does not ask or nothing was found."""
    m = material
    found = list(m.findings(analysis=ANALYSIS))
    if m.protocol.analyses.interpretability is None or not found:
        return None
    maps = [(i, f) for i, f in found if f.condition is None and not is_localisation(f)]
    blocks: list[Block] = [Prose(paragraphs=(_LIMITS,)), *shortcut_blocks(m)]
    blocks += _how(m)
    blocks += _gallery(m)
    blocks += _measures(m, maps)
    blocks += localisation_blocks(m)
    return Section(id="interpretability", number="", title="What answers depend on", code="R21", blocks=tuple(blocks))


# --- maps -----------------------------------------------------------------------------------------------------------


def _how(m: Material) -> Iterator[Block]:
    """How the maps were made, from the run record."""
    recorded = m.recorded("interpretability")
    if not isinstance(recorded, dict):
        return
    yield Heading(text="Maps of what moves the answer", id="attribution")
    items = [Item(name=name, value=_said(recorded[key])) for key, name in _RECORDED.items() if key in recorded]
    if items:
        yield Facts(items=tuple(items))
    methods = [x for x in recorded.get("methods", ()) if isinstance(x, dict)]
    if methods:
        yield Table(
            label="",
            caption="How each map was made",
            columns=(Column(title="Map", width=30), Column(title="Settings")),
            rows=tuple(Row(cells=(Cell(text=map_name(str(x.get("name")))), Cell(text=_settings(x)))) for x in methods),
            notes=(_FORMATS,),
            source="record.json#/interpretability",
            compact=True,
        )
    refused = recorded.get("refused")
    if isinstance(refused, dict) and refused:
        said = "; ".join(f"{map_name(str(k))}: {clean(v, longest=200)}" for k, v in refused.items())
        yield Prose(paragraphs=(f"Not made of this package: {said}.",))
    left_out = recorded.get("failed_by_reason")
    if isinstance(left_out, dict) and left_out:
        said = "; ".join(f"{clean(k, longest=200)}: {v}" for k, v in left_out.items())
        yield Prose(paragraphs=(f"Cases of the sample without maps: {said}.",))
    notes = [clean(note, longest=400) for note in recorded.get("notes", ()) if isinstance(note, str)]
    if notes:
        yield Prose(paragraphs=tuple(f"{note[:1].upper()}{note[1:]}." for note in notes))


_FORMATS = (
    "Methods of gradients (integrated gradients, GradientSHAP, DeepLift, Grad-CAM) need a format that gives them; of "
    "others (ONNX, served models, programs and containers) only maps of answers to changed images are made (occlusion, "
    "ablation, RISE)."
)


def _settings(method: dict[str, Any]) -> str:
    """ "method occlusion, window 32, stride 16, baseline zero, sign positive": what is recorded and not empty."""
    told = [
        f"{key} {clean(value, longest=80)}" for key, value in method.items()
        if key != "name" and isinstance(value, (str, int, float)) and value not in (None, "")
    ]  # fmt: skip
    return ", ".join(told)


def of_a_map(picture: Picture) -> bool:
    """Whether a picture is of a map, or of the image beside it."""
    return picture.group.startswith("map of ")


def _gallery(m: Material) -> Iterator[Block]:
    """Each shown case in a row: its image, then its maps."""
    shown = [p for p in m.exhibits.pictures if of_a_map(p)]
    groups = list(dict.fromkeys(p.group for p in shown))
    if not groups:
        return
    across = min(5, max(sum(p.group == g for p in shown) for g in groups))
    fitting = [p for g in groups for p in [q for q in shown if q.group == g][:across]]
    if any(sum(p.group == g for p in fitting) != across for g in groups):
        return
    alt = f"Images of {len(groups)} cases, each with its maps beside it."
    yield Figure(
        label="",
        caption="Maps beside their images",
        alt=alt,
        notes=(
            "The first cases of the sample in the order of the test set. An illustration: nothing follows from it. "
            "A map's colours run from its own smallest to its own largest value, so that they cannot be compared "
            "between maps.",
        ),
        source="arrays/attribution",
        svg=map_gallery(fitting, alt=alt, across=across),
    )


def _said(value: object) -> str:
    return format_count(value) if isinstance(value, int) else given(value, "not recorded")


def _measures(m: Material, maps: list[tuple[int, Finding]]) -> Iterator[Block]:
    """A table per measure: every map, and its difference from those that know nothing of the model."""
    own: dict[str, list[tuple[int, Finding]]] = {}
    for i, f in maps:
        if f.reference_group is None and not f.stratum and f.metric.partition("_")[0] in _NAMES:
            own.setdefault(f.metric, []).append((i, f))
    for metric, rows in own.items():
        against = {
            (f.endpoint, str(f.reference_group)): (i, f)
            for i, f in maps
            if f.metric == metric and f.reference_group is not None and not f.stratum
        }
        yield from _figure(metric, rows)
        yield _table(m, metric, rows, against)
    if own and any(f.stratum for _, f in maps):
        yield Prose(paragraphs=("The same figures in each group are in the attached evidence.json.",))


def _title(metric: str) -> str:
    measure, _, variant = metric.partition("_")
    said = f" ({clean(variant, longest=40).replace('_', ' ')})" if variant else ""
    return f"{_NAMES.get(measure, measure)}{_VARIANTS.get(variant, said)}"


def _figure(metric: str, rows: list[tuple[int, Finding]]) -> Iterator[Block]:
    shown = [
        ForestRow(
            label=map_name(f.endpoint), counts=format_count(f.estimate.n), value=f.estimate.value, low=f.estimate.low,
            high=f.estimate.high, text=format_estimate(metric, f.estimate), small="†" in map_name(f.endpoint),
            of=anchor(i),
        )
        for i, f in rows
    ]  # fmt: skip
    if not any(r.value is not None for r in shown):
        return
    alt = f"{_title(metric)}: " + "; ".join(f"{r.label} {r.text}" for r in shown)
    bounds = (METRICS[metric].lower, METRICS[metric].upper) if metric in METRICS else (None, None)
    yield Figure(
        label="",
        caption=_title(metric),
        alt=f"{alt}.",
        notes=(f"Open circles: {KNOWS_NOTHING}.",) if any(r.small for r in shown) else (),
        of=tuple(r.of for r in shown),
        svg=forest(
            shown, axis_title=metric.replace("_", " "), goal=None, goal_text="", reference=None, bounds=bounds,
            counts_title="Cases", alt=f"{alt}.", of="Map",
        ),
    )  # fmt: skip


def _table(
    m: Material, metric: str, rows: list[tuple[int, Finding]], against: dict[tuple[str, str], tuple[int, Finding]]
) -> Table:
    made: list[Row] = []
    shown: list[Finding] = []
    for i, f in rows:
        others = [(group, x) for (endpoint, group), x in against.items() if endpoint == f.endpoint]
        shown += [f, *(x[1] for _, x in others)]
        n = f.estimate.n
        first = Cell(text=map_name(f.endpoint), sub=f"{format_count(n)} {'case' if n == 1 else 'cases'}")
        if not others:
            made.append(Row(cells=(first, _cell(i, f), Cell(text="–"), Cell(text=""), _mark(i))))
        for k, (group, x) in enumerate(others):
            lead = (first, _cell(i, f)) if k == 0 else (Cell(text=""), Cell(text=""))
            made.append(Row(cells=(*lead, Cell(text=map_name(group)), _cell(*x), _mark(i if k == 0 else x[0]))))
    better = _BETTER.get(metric.partition("_")[0])
    direction = [f"{better.capitalize()} is better."] if better else []
    if against:
        direction.append("Differences are paired: of the cases in which both could be measured.")
    if any("†" in c.text for row in made for c in row.cells):
        direction.append(f"†: {KNOWS_NOTHING}.")
    return Table(
        label="",
        caption=f"{_title(metric)}, map by map",
        columns=(
            Column(title="Map", width=27),
            Column(title=f"Mean, {m.interval_title}", align="right", width=20),
            Column(title="Compared with", width=26),
            Column(title="Difference", align="right", width=19),
            Column(title="Finding", align="right"),
        ),
        rows=tuple(made),
        notes=(*direction, m.method_note(f.estimate for f in shown), m.set_note),
        compact=True,
    )


def _cell(index: int, f: Finding) -> Cell:
    if f.estimate.value is None:
        return Cell(text=not_estimable(f.estimate), kind="muted", anchor=anchor(index))
    text, sub = format_value(f.metric, f.estimate), format_interval(f.metric, f.estimate)
    return Cell(text=text, sub=sub, kind="number", anchor=anchor(index))


def _mark(index: int) -> Cell:
    return Cell(text=anchor(index), kind="muted")
