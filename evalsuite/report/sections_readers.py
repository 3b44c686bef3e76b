"""R18, the reader study: what readers reach with each treatment, what they gain, and every reader by name."""

from __future__ import annotations

from dataclasses import replace

from evalsuite.protocol.readers import AGREEMENT, READERS, ReaderStudy, figure_of
from evalsuite.report.figures_cases import ForestRow, forest
from evalsuite.report.figures_readers import mean_curves
from evalsuite.report.format import format_count, format_interval, format_p, format_value
from evalsuite.report.material import Material, anchor, bounds, drawn_from, metric_title, places, tested
from evalsuite.report.text import clean, given
from evalsuite.report.view import Block, Bullets, Cell, Column, Facts, Figure, Heading, Item, Row, Section, Table
from evalsuite.types import Curve, Estimate, Finding

_FOR = {
    "readers_and_cases": "other readers and other cases like these",
    "cases": "other cases like these, read by these readers",
    "readers": "other readers like these, of these cases",
}
_METHODS = {
    "obuchowski_rockette": "Obuchowski-Rockette, degrees of freedom by Hillis",
    "u_statistics": "U-statistics (iMRMC), degrees of freedom by Obuchowski, Gallas and Hillis",
}


def readers(material: Material) -> Section:
    """Design, results of all readers together, and the tables of every reader."""
    study = material.protocol.readers
    assert study is not None
    whole = [f for _, f in material.findings(analysis=READERS) if not f.stratum and f.rater == "device"]
    found = [f for f in whole if not f.metric.startswith(AGREEMENT)]
    blocks: list[Block] = [
        Facts(items=_design(material, study)),
        _together(material),
        *_curves(material),
        *(g for f in found if f.metric.endswith("_gain") and (g := _gains(material, f)) is not None),
        *(t for name in dict.fromkeys(figure_of(f.metric) for f in found) if (t := _one_by_one(material, study, name))),
    ]
    if len(found) < len(whole):
        blocks.append(_between(material, study))
    said = tuple(clean(n) for n in material.evidence.notes if "reading" in n.lower())
    if said:
        blocks += [Heading(text="Notes on the readings", id="readings"), Bullets(items=said)]
    return Section(id="readers", number="", title="Reader study", code="R23", blocks=tuple(blocks))


def _design(material: Material, study: ReaderStudy) -> tuple[Item, ...]:
    names = {f.rater for _, f in material.findings(analysis=READERS)} - {"device"}
    control = "none" if study.control is None else clean(study.control)
    return (
        Item(name="Readers", value=format_count(len(names))),
        Item(name="Test treatment", value=clean(study.test)),
        Item(name="Control", value=control),
        Item(
            name="Design",
            value="every reader reads every case with every treatment" if study.design == "crossed" else "as recorded",
        ),
        Item(name="Meant to hold for", value=_FOR[study.generalise]),
        Item(name="Method", value=_METHODS[study.method]),
        Item(name="Covariances", value=_covariances(material, study)),
    )


def _covariances(material: Material, study: ReaderStudy) -> str:
    if study.covariance != "bootstrap":
        return study.covariance
    return (
        f"bootstrap, {format_count(material.protocol.confidence.bootstrap.replicates)} resamples of patients, "
        f"seed {material.protocol.seed}"
    )


def _cells(finding: Finding) -> tuple[Cell, Cell]:
    e = finding.estimate
    if e.value is None:
        return Cell(text="not estimable", sub=given(e.undefined, "")), Cell(text="")
    digits = _digits(finding.metric)
    value = Cell(text=format_value(finding.metric, e, digits=digits), kind="number")
    if e.low is None:
        return value, Cell(text="none", sub=given(e.interval_undefined, ""))
    return value, Cell(text=format_interval(finding.metric, e, digits=digits), kind="number")


def _digits(metric: str) -> int:
    """Seconds are told to a tenth."""
    return 1 if figure_of(metric) == "mean" else 3


def _together(material: Material) -> Table:
    tests = {t.endpoint: t for t in material.evidence.tests if t.endpoint is not None and t.p_adjusted is None}
    rows = []
    for index, f in material.findings(analysis=READERS):
        if f.stratum or f.rater != "device" or f.condition is not None or f.metric.startswith(AGREEMENT):
            continue
        test = tests.get(f.endpoint)
        p = format_p(None if test is None else test.p_value)
        value, interval = _cells(f)
        point = f"at {clean(f.operating_point, longest=40)}" if f.operating_point else ""
        rows.append(
            Row(
                cells=(
                    Cell(text=metric_title(f.metric), sub=" · ".join(t for t in (clean(f.endpoint), point) if t)),
                    value,
                    interval,
                    Cell(text=p, kind="number", of=tested(material, test)),
                    Cell(text=anchor(index), kind="muted"),
                ),
                anchor=anchor(index),
            )
        )
    return Table(
        label="",
        caption="All readers together",
        columns=(
            Column(title="Figure", width=40),
            Column(title="Estimate", width=14, align="right"),
            Column(title=material.interval_title, width=22, align="right"),
            Column(title="p", width=12, align="right"),
            Column(title="Finding", align="right"),
        ),
        rows=tuple(rows),
        notes=(
            "p: two-sided test of no difference, beside the interval that decides. Mean over readers, each counting "
            "the same; the interval allows for readers and cases as the design above says.",
        ),
    )


def _gains(material: Material, together: Finding) -> Figure | None:
    """Every reader's gain beside that of all together: whether some few carry it, or most."""
    each = [
        f for _, f in material.findings(analysis=READERS)
        if f.rater != "device" and not f.stratum and (f.metric, f.endpoint) == (together.metric, together.endpoint)
    ]  # fmt: skip
    if not each or together.estimate.value is None:
        return None
    of = places(material, (together, *each))
    rows = [_line(together, "All readers", overall=True)]
    rows += [_line(f, clean(f.rater, longest=60)) for f in sorted(each, key=lambda f: str(f.rater))]
    title = metric_title(together.metric)
    alt = f"{title}, reader by reader: " + "; ".join(f"{r.label}: {r.text}" for r in rows) + "."
    return Figure(
        label="",
        caption=f"{title}, reader by reader ({clean(together.endpoint, longest=80)})",
        alt=alt,
        of=of,
        notes=(
            f"Bars: {material.interval_title}; of all readers as the design above says, of each over cases alone.",
        ),
        svg=forest(
            rows, axis_title=title, goal=0.0, goal_text="no difference", reference=together.estimate.value,
            bounds=bounds(together.metric), counts_title="", alt=alt, of="Reader", reference_text="all readers",
        ),
    )  # fmt: skip


def _line(finding: Finding, label: str, *, overall: bool = False) -> ForestRow:
    value, interval = _cells(finding)
    return ForestRow(
        label=label, counts="", text=f"{value.text} ({interval.text})" if interval.text else value.text,
        value=finding.estimate.value, low=finding.estimate.low, high=finding.estimate.high, overall=overall,
    )  # fmt: skip


_AXES = {
    "auroc": ("1 − specificity", "Sensitivity"),
    "lroc": ("Share of cases without a lesion marked", "Share of cases with a lesion whose highest mark found one"),
    "afroc": ("Share of cases without a lesion marked", "Share of lesions found"),
    "wafroc": ("Share of cases without a lesion marked", "Weighted share of lesions found"),
    "afroc1": ("Share of cases with a wrong mark", "Share of lesions found"),
    "wafroc1": ("Share of cases with a wrong mark", "Weighted share of lesions found"),
}


def _curves(material: Material) -> list[Figure]:
    """The readers' mean curve with each treatment, a figure for each area asked for."""
    by_metric: dict[str, list[Curve]] = {}
    for curve in material.curves("reader_roc"):
        by_metric.setdefault(curve.metric, []).append(curve)
    made = []
    for metric, curves in by_metric.items():
        title = metric_title(f"reader_{metric}").removeprefix("Readers' ")
        x_title, y_title = _AXES[metric]
        names = " and ".join(clean(c.series or "", longest=40) for c in curves)
        alt = f"Curve of the readers' {title} with {names}: {y_title} over {x_title}."
        made.append(
            Figure(
                label="",
                caption=f"The readers' mean curve: {title}",
                alt=alt,
                notes=(f"{clean(curves[0].method or '')}; straight between points, as ties count one half.",),
                source=drawn_from(material, curves[0]),
                svg=mean_curves(
                    curves, x_title=x_title, y_title=y_title, chance=metric == "auroc", alt=alt,
                ),
            )
        )  # fmt: skip
    return made


def _between(material: Material, study: ReaderStudy) -> Table:
    """Agreement of the readers with each other, a column for each treatment."""
    rows: dict[str, dict[str, tuple[int, Finding]]] = {}
    for index, f in material.findings(analysis=READERS):
        if not f.stratum and f.metric.startswith(AGREEMENT):
            rows.setdefault(f.endpoint, {})[f.condition or study.test] = index, f
    treatments = [t for t in (study.test, study.control) if t is not None]

    def cell(entry: tuple[int, Finding]) -> Cell:
        value, interval = _cells(entry[1])
        return replace(value, sub=value.sub or interval.text or interval.sub, anchor=anchor(entry[0]))

    return Table(
        label="",
        caption="Readers' agreement with each other",
        columns=(
            Column(title="Figure", width=40),
            *(Column(title=clean(t, longest=30), align="right") for t in treatments),
            Column(title="Finding", align="right"),
        ),
        rows=tuple(
            Row(
                cells=(
                    Cell(
                        text=metric_title(by[study.test][1].metric),
                        sub=f"{clean(name)} · {by[study.test][1].estimate.method}",
                    ),
                    *(cell(by[t]) for t in treatments),
                    Cell(text=anchor(by[study.test][0]), kind="muted"),
                )
            )
            for name, by in rows.items()
        ),
        notes=("Agreement is not accuracy. Readings that are missing do not enter.",),
    )


def _one_by_one(material: Material, study: ReaderStudy, figure: str) -> Table | None:
    """One row per reader: the figure with each treatment, and the gain."""
    rows_of: dict[str, dict[str, tuple[int, Estimate]]] = {}
    metrics: dict[str, str] = {}
    for index, f in material.findings(analysis=READERS):
        if f.rater == "device" or f.stratum or figure_of(f.metric) != figure:
            continue
        key = "gain" if f.metric.endswith("_gain") else str(f.condition)
        rows_of.setdefault(f.rater, {}).setdefault(key, (index, f.estimate))
        metrics[key] = f.metric
    if not rows_of:
        return None
    keys = [k for k in (study.test, study.control, "gain") if k is not None and k in metrics]

    def cell(key: str, entry: tuple[int, Estimate] | None) -> Cell:
        if entry is None:
            return Cell(text="–")
        index, estimate = entry
        if estimate.value is None:
            return Cell(text="–", sub=given(estimate.undefined, ""), anchor=anchor(index))
        digits = _digits(metrics[key])
        interval = "" if estimate.low is None else format_interval(metrics[key], estimate, digits=digits)
        text = format_value(metrics[key], estimate, digits=digits)
        return Cell(text=text, sub=interval, kind="number", anchor=anchor(index))

    title = metric_title(metrics[keys[0]] if keys[0] != "gain" else f"reader_{figure}").removeprefix("Readers' ")
    return Table(
        label="",
        caption=f"Every reader: {title}",
        columns=(
            Column(title="Reader", width=22),
            *(Column(title="Gain" if k == "gain" else clean(k, longest=30), align="right") for k in keys),
        ),
        rows=tuple(
            Row(cells=(Cell(text=clean(name, longest=60)), *(cell(k, rows_of[name].get(k)) for k in keys)))
            for name in sorted(rows_of)
        ),
        notes=("Intervals of single readers are over the sampling of cases; they say nothing about other readers.",),
    )
