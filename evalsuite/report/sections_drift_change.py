"""Parts of a drift report on change: what changed when, model or data, and the annex for periodic reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from evalsuite.protocol.drift import IMAGE, Drift
from evalsuite.report.format import format_count, format_percent
from evalsuite.report.material import Material, anchor
from evalsuite.report.sections_sources import row, table_of
from evalsuite.report.text import clean
from evalsuite.report.view import Block, Cell, Column, Facts, Heading, Item, Prose, Row, Table
from evalsuite.types import Finding

_Found = list[tuple[int, Finding]]
#: What somebody has to act on first.
URGENCY = ("performance", "input", "output", "integrity", "chart")
INDICATOR = "indicator_"
_LOG = "change_log"
_PARTS = {
    "former_baseline": "replaced version, validation",
    "current_baseline": "this version, validation",
    "former_window": "replaced version, this window",
    "current_window": "this version, this window",
    "both_changed": "whole change: this version here less the replaced one in the validation",
    "model_changed": "of it the model's",
    "data_changed": "of it the data's",
}


def kind_of(f: Finding) -> str:
    """What an indicator is about."""
    return f.metric.removeprefix(INDICATOR)


def plainly(name: str, longest: int = 60) -> str:
    """An indicator's or a covariate's name as a reader would say it: numbers of the images without their prefix."""
    kind, colon, rest = name.partition(": ")
    if not colon:
        kind, rest = "", name
    return clean(
        f"{kind}{colon}{rest.replace(IMAGE, 'image ', 1) if rest.startswith(IMAGE) else rest}", longest=longest
    )


def standing_at(lines: Sequence[Finding], status: str) -> list[Finding]:
    """The indicators that stand so, the most urgent kinds first."""
    own = [f for f in lines if f.condition == status]
    return sorted(own, key=lambda f: URGENCY.index(kind_of(f)))


def first_seen(found: _Found) -> dict[str, str]:
    """When each change was first seen, as the summary says it."""
    return {
        f.endpoint: "" if f.condition == "this audit" else f" (since audit {f.estimate.value:g}, {f.condition})"
        for _, f in found
        if f.metric == _LOG
    }


def marks(found: _Found) -> dict[int, str]:
    """What the charts say at an audit: the first change seen in it, and how many more."""
    by_audit: dict[int, list[str]] = {}
    for _, f in found:
        if f.metric == _LOG:
            by_audit.setdefault(int(f.estimate.value or 0), []).append(_short(f.endpoint))
    return {n: names[0] + (f" +{len(names) - 1}" if len(names) > 1 else "") for n, names in by_audit.items()}


def _short(name: str) -> str:
    said = name.partition(": ")[2] or name.partition(" of ")[2] or name
    return clean(said.removeprefix("dicom:"))


def change_log(found: _Found) -> list[Block]:
    """The log as a table; nothing where nothing ever changed."""
    log = [(i, f) for i, f in found if f.metric == _LOG]
    if not log:
        return []
    rows = tuple(
        Row(
            cells=(
                Cell(text=plainly(f.endpoint, 80)),
                Cell(text=f"{f.estimate.value:g}", kind="number"),
                Cell(text=clean(str(f.condition), longest=20)),
                Cell(text=anchor(index), kind="muted"),
            ),
            anchor=anchor(index),
        )
        for index, f in log
    )
    titles = (("What was seen", 56.0), ("Audit", 10.0), ("First seen", 24.0), ("Finding", 10.0))
    columns = tuple(Column(title=t, width=w, align="right" if t == "Audit" else "left") for t, w in titles)
    note = "Changes that the deployment reports itself (software, protocols, staff) are added by hand: ______"
    return [Table(label="", caption="Change log of this calendar", columns=columns, rows=rows, notes=(note,))]


def model_or_data(material: Material, found: _Found) -> list[Block]:
    """Which of both changed: from the outputs of the version that was replaced, else from the model's digest."""
    parts = [(i, f) for i, f in found if f.condition in _PARTS]
    heading = Heading(text="Model changed or data changed", id="drift-versions")
    if not parts:
        said = (
            "The model is the one that was validated, by its digest: a change is of the patients, the images, the "
            "labels or the use of the device, not of the model."
        )
        return [heading, Prose(paragraphs=(said,))]
    rows: list[Row] = []
    name = None
    for index, f in parts:
        if f.endpoint != name:
            name = f.endpoint
            rows.append(Row(cells=(Cell(text=clean(name, longest=80)),), group=True))
        rows.append(row(material, index, f, _PARTS[str(f.condition)]))
    note = (
        "Both versions were asked about the same cases. The model's part is the mean of its changes on either, the "
        "data's part the mean of both versions' changes; they add up to the whole."
    )
    shown = [f for _, f in parts]
    return [heading, table_of(material, "Both versions on both periods", rows, shown, notes=(note,))]


def periodic_annex(material: Material, asked: Drift, found: _Found, lines: Sequence[Finding]) -> list[Block]:
    """What a periodic safety update report takes over: volumes, figures, limits passed; what a person adds is open."""
    accounts: Counter[str] = Counter()
    for a in material.evidence.accounting:
        if not a.stratum:
            accounts[str(a.status)] += a.n
    passed = [plainly(f.endpoint) for f in standing_at(lines, "action")]
    figures = []
    for m in asked.monitor:
        line = next((f for f in lines if f.endpoint == f"Performance: {m.endpoint}"), None)
        if line is not None and line.estimate.value is not None:
            limit = f"action limit {format_percent(m.action)} %"
            figures.append(f"{clean(m.endpoint)} {format_percent(line.estimate.value)} % ({limit})")
    series = [c for c in material.evidence.curves if c.kind == "audit_series"]
    number = int(max((c.x[-1] for c in series), default=1.0))
    counted = ", ".join(f"{format_count(n)} {status.replace('_', ' ')}" for status, n in sorted(accounts.items()))
    items = (
        ("Audit", f"{number} of {asked.calendar.audits}; window {material.set_name}"),
        (
            "Cases received",
            f"{format_count(material.n_cases)}" + (f"; of those assessed: {counted}" if counted else ""),
        ),
        ("Performance", "; ".join(figures) or "not known in this window"),
        ("Verdict", material.verdict.overall.replace("_", " ")),
        ("Action limits passed", ", ".join(passed) or "none"),
        ("Changes since the calendar began", format_count(len(first_seen(found)))),
        ("Units sold, users, complaints and incidents of the period", "______"),
        ("Conclusion on benefit and risk, and measures taken", "______"),
    )
    return [
        Heading(text="Annex for the periodic safety update report", id="drift-annex"),
        Facts(items=tuple(Item(name=name, value=value) for name, value in items)),
    ]
