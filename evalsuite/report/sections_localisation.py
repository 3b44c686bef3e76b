"""The part on maps beside lesions: hits of the map's peak, overlap, and what chance gives."""

from __future__ import annotations

from collections.abc import Iterator

from evalsuite.protocol.interpretability import TRIVIAL_PREFIX
from evalsuite.report.format import format_interval, format_value, not_estimable
from evalsuite.report.material import Material, anchor
from evalsuite.report.text import clean
from evalsuite.report.view import Block, Cell, Column, Heading, Prose, Row, Table
from evalsuite.types import Finding

ANALYSIS = "interpretability"
#: Metrics in the order of the table's columns.
METRICS_SHOWN = ("localisation_hit_rate", "localisation_iou", "localisation_iou_true_positive")
CHANCE = "localisation_chance"
KNOWS_NOTHING = "maps that know nothing of the model"
_SHARE = "prevalence"


def is_localisation(f: Finding) -> bool:
    """Whether a finding is of maps beside lesions."""
    return f.metric.startswith("localisation_")


def localisation_blocks(m: Material) -> Iterator[Block]:
    """The table of localisation, overall and by group; nothing where there is none."""
    block = m.protocol.analyses.interpretability
    found = {
        (f.endpoint, f.metric, tuple(f.stratum.items())): (i, f)
        for i, f in m.findings(analysis=ANALYSIS)
        if is_localisation(f)
    }
    if not found or block is None or block.localisation is None:
        return
    asked = block.localisation
    yield Heading(text="Maps beside lesions", id="localisation")
    salient = {
        "brightest": f"the brightest {asked.threshold:g} of the map's pixels",
        "of_maximum": f"what reaches {asked.threshold:g} of the map's largest value",
        "value": f"what reaches {asked.threshold:g} in the map's own units",
    }[asked.salient]
    yield Prose(
        paragraphs=(
            "Hit rate: the share of maps whose largest value lies in the lesion; a largest value at a random place "
            "would as often as the lesion covers the image (chance). Overlap: intersection over union of the lesion "
            f"with what is salient, fixed beforehand as {salient}; over all maps, and over those that touch their "
            "lesion at all, which flatters. Maps that know nothing of the model stand beside the others: a figure that "
            "is no better than theirs says nothing of the model. Agreement with a lesion does not explain an answer.",
        )
    )
    rows: list[Row] = []
    shown: list[Finding] = []
    for stratum in dict.fromkeys(key[2] for key in found):
        rate = [found[k][1].estimate for k in found if k[1] == METRICS_SHOWN[0] and k[2] == stratum]
        if stratum and all(e.value is None for e in rate):
            continue  # nothing but "not assessable": in the evidence
        if stratum:
            rows.append(
                Row(cells=(Cell(text=", ".join(f"{k} = {clean(v, longest=60)}" for k, v in stratum)),), group=True)
            )
        for endpoint in dict.fromkeys(key[0] for key in found if key[2] == stratum):
            cells = [found.get((endpoint, metric, stratum)) for metric in (*METRICS_SHOWN, CHANCE)]
            first = next(x for x in cells if x is not None)
            shown += [x[1] for x in cells if x is not None]
            rows.append(
                Row(
                    cells=(
                        Cell(text=map_name(endpoint)),
                        *(_cell(x) for x in cells),
                        Cell(text=anchor(first[0]), kind="muted"),
                    ),
                )
            )
    yield Table(
        label="",
        caption="Maps beside lesions",
        columns=(
            Column(title="Map", width=23),
            Column(title=f"Hit rate, {m.interval_title}", align="right", width=18),
            Column(title="IoU, all maps", align="right", width=17),
            Column(title="IoU, maps that touch", align="right", width=17),
            Column(title="Chance (lesion's share)", align="right", width=17),
            Column(title="Finding", align="right"),
        ),
        rows=tuple(rows),
        notes=(f"†: {KNOWS_NOTHING}.", m.method_note(f.estimate for f in shown), m.set_note),
        compact=True,
    )


def map_name(label: str) -> str:
    """A map's name in words: "grad cam", "the image itself †"."""
    if label.startswith(TRIVIAL_PREFIX):
        trivial = {"image": "the image itself", "edges": "edges of the image", "centre": "a blob at the centre"}
        rest = label.removeprefix(TRIVIAL_PREFIX)
        return f"{trivial.get(rest, clean(rest, longest=60))} †"
    if label == "random":
        return "pixels in random order †"
    return clean(label, longest=60).replace("_", " ")


def _cell(found: tuple[int, Finding] | None) -> Cell:
    if found is None:
        return Cell(text="–", kind="number")
    index, f = found
    if f.estimate.value is None:
        return Cell(text=not_estimable(f.estimate), kind="muted", anchor=anchor(index))
    counted = f.estimate.numerator is not None and float(f.estimate.numerator).is_integer()
    metric = _SHARE if counted else f.metric
    text, sub = format_value(metric, f.estimate), format_interval(metric, f.estimate)
    return Cell(text=text, sub=sub, kind="number", anchor=anchor(index))
