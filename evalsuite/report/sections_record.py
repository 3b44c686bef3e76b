"""Sections about the run: limitations, environment, reproducibility, ledger and glossary."""

from __future__ import annotations

from collections.abc import Mapping

from evalsuite.protocol.comparisons import RATIO, is_difference
from evalsuite.protocol.metrics import METRICS
from evalsuite.report.format import format_count, format_number, format_stratum, format_utc
from evalsuite.report.material import Material, metric_title
from evalsuite.report.method_sources import sources_of
from evalsuite.report.sections_classes import has_several, is_measurement, is_segmentation, too_few_of
from evalsuite.report.sections_study import open_items
from evalsuite.report.signatures import run_items, times_sentence
from evalsuite.report.study_items import open_items_table
from evalsuite.report.text import clean, given, sentence
from evalsuite.report.timing import timing
from evalsuite.report.view import Block, Bullets, Cell, Column, Facts, Heading, Item, Prose, Row, Section, Table

_MOST_NAMED = 8


def limitations(material: Material) -> Section:
    """Limitations the evidence itself shows; a person adds those it cannot show."""
    blocks: list[Block] = [Bullets(items=tuple(limitation_statements(material)))]
    notes = tuple(sentence(clean(n)) for n in material.evidence.notes[:40])
    if notes:
        blocks += [Heading(text="Notes of the analysis", id="analysis-notes"), Bullets(items=notes)]
    items = open_items(material)
    if items:
        blocks += [
            Heading(text="Open items", id="open-items"),
            Bullets(items=tuple(sentence(item) for item in items)),
        ]
    left = open_items_table(material)
    if left is not None:
        blocks.append(left)
    return Section(id="limitations", number="", title="Limitations and open items", code="R25", blocks=tuple(blocks))


def limitation_statements(material: Material) -> list[str]:
    m = material
    said: list[str] = []
    if m.recorded("protocol.frozen") is None:
        said.append(
            "The protocol was not frozen: nothing proves that it, the model and the test set were fixed before the "
            "reference standard was opened."
        )
    for reason in m.verdict.not_evidence_because:
        text = sentence(clean(reason))
        if "frozen" not in text.lower():
            said.append(f"Not evidence: {text}")
    if not m.recorded("testset.signed", False):
        said.append("The lock of the test set is unsigned: it shows any change, but not who made it.")
    limit = m.recorded("limit")
    if limit is not None and not any("limit" in reason for reason in m.verdict.not_evidence_because):
        said.append(f"Only the first {format_count(limit)} cases were run (--limit).")
    without = sum(m.count(status=s) for s in ("rejected", "failed", "indeterminate"))
    total = m.count()
    if without:
        said.append(
            f"{format_count(without)} of {format_count(total)} cases have no usable output; see “Missing and failed "
            "cases” for the estimates under other assumptions."
        )
    unsettled = sum(m.count(status=s) for s in ("reference_equivocal", "reference_missing"))
    if unsettled:
        said.append(f"{format_count(unsettled)} of {format_count(total)} cases have no established reference standard.")
    said += _groups(m)
    if len({a.stratum.get("site") for a in m.evidence.accounting if "site" in a.stratum}) == 1:
        said.append("All cases come from one site: results may not carry over to others.")
    elif m.recorded("view") is None and not any("site" in a.stratum for a in m.evidence.accounting):
        said.append("Performance by site was not examined: the protocol declares no stratum named site.")
    prevalence = next((f.estimate for _, f in m.findings(overall=True) if f.metric == "prevalence"), None)
    if is_measurement(m):
        said.append(
            "Agreement holds over this set's range of values only, and correlations depend on how wide that range is."
        )
    elif is_segmentation(m):
        said.append("Means over cases hide single bad outlines; quantiles and distributions show how many there are.")
    elif has_several(m):
        said.append(
            "Predictive values, averages and calibration hold for this set's mix of cases only; where it is enriched "
            "they do not describe clinical use."
        )
    elif prevalence is not None and prevalence.value is not None:
        said.append(
            f"The target condition is present in {format_number(100 * prevalence.value, 1)} % of the analysed cases. "
            "Predictive values and calibration hold at this prevalence only; where the set is enriched they do not "
            "describe clinical use."
        )
    said.append(
        "Readers were evaluated in the conditions of the study. Effects on workflow and patients were not examined."
        if m.protocol.readers is not None
        else "The score of the device alone was evaluated. Effects on readers, workflow and patients were not examined."
    )
    return said


def _groups(m: Material) -> list[str]:
    limit = m.protocol.small_strata.flag_below
    primary = {e.name for e in m.protocol.endpoints if e.role == "primary"}
    undefined: list[str] = []
    small: list[str] = []
    for _, finding in m.findings(overall=False):
        if finding.endpoint not in primary or finding.condition is not None:
            continue
        name = format_stratum(finding.stratum)
        e = finding.estimate
        if e.value is None:
            if name not in undefined:
                undefined.append(name)
        elif any(c is not None and c < limit for c in (e.n_positive, e.n_negative)) and name not in small:
            small.append(name)
    said = []
    if undefined:
        said.append(f"Not assessable for at least one primary endpoint: {_named(undefined)}.")
    small = [s for s in small if s not in undefined]
    if small:
        said.append(f"Small groups, with wide intervals (fewer than {limit} {too_few_of(m)}): {_named(small)}.")
    return said


def _named(names: list[str]) -> str:
    shown = "; ".join(names[:_MOST_NAMED])
    return f"{shown}; and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else shown


def environment(material: Material) -> Section:
    m = material
    items = [
        Item(name="evalsuite", value=m.text("software.evalsuite")),
        Item(name="Python", value=m.text("software.python")),
        Item(name="Operating system", value=m.text("platform.os")),
        Item(name="Processor", value=f"{m.text('platform.cpu')} ({m.text('platform.n_cpu')} logical)"),
        Item(name="GPU", value=m.text("platform.gpu", "none used or none recorded")),
    ]
    inference = m.recorded("inference")
    recorded = m.evidence.model.get("format") == "recorded" or m.recorded("model.format") == "recorded"
    if recorded:
        text = "none: predictions were recorded elsewhere, and how they were made is outside this report"
        items.append(Item(name="Inference", value=text))
    elif isinstance(inference, Mapping):
        items += [
            Item(name="Inference device", value=_device(m)),
            Item(name="Precision, backend", value=f"{m.text('inference.precision')}, {m.text('inference.backend')}"),
            Item(
                name="Batch size, threads",
                value=f"{m.text('inference.batch_size')}, {m.text('inference.threads')} "
                f"({m.text('inference.decoders')} decoders)",
            ),
            Item(name="Sandbox", value=_sandbox(m)),
            *_prepared(m),
            *timing(m),
        ]
    blocks: list[Block] = [Facts(items=tuple(items))]
    packages = m.recorded("software.packages")
    if isinstance(packages, Mapping) and packages:
        names = sorted(packages)
        deep = (len(names) + 2) // 3
        rows = []
        for i in range(min(deep, 40)):
            beside = [names[k] for k in (i, i + deep, i + 2 * deep) if k < len(names)]
            cells = [cell for name in beside for cell in (Cell(text=clean(name)), Cell(text=clean(packages[name])))]
            cells += [Cell(text="")] * (6 - len(cells))
            rows.append(Row(cells=tuple(cells)))
        blocks.append(
            Table(
                label="",
                caption="Software packages",
                columns=(Column(title="Package", width=21), Column(title="Version", width=12.3)) * 3,
                rows=tuple(rows),
                compact=True,
                source="software.cdx.json",
            )
        )
    return Section(id="environment", number="", title="Environment", code="R27", blocks=tuple(blocks))


def _device(m: Material) -> str:
    device, name = m.text("inference.device"), m.text("inference.device_name", "")
    return f"{device} ({name})" if name and name != device else device


def _prepared(m: Material) -> list[Item]:
    """What was done to the images, and what was peculiar about them, with how many images it concerns."""
    found = m.recorded("inference.prepared")
    if not isinstance(found, Mapping) or not found:
        return []
    counts = sorted(((n, str(what)) for what, n in found.items() if isinstance(n, int)), key=lambda c: (-c[0], c[1]))
    shown = [f"{clean(what, longest=160)} ({n:,})" for n, what in counts[:_MOST_NAMED]]
    more = [f"and {len(counts) - _MOST_NAMED} more"] if len(counts) > _MOST_NAMED else []
    return [Item(name="Images, how many", value="; ".join([*shown, *more]))]


def _sandbox(m: Material) -> str:
    found = m.recorded("inference.sandbox")
    if not isinstance(found, Mapping):
        said = m.text("inference.sandbox", "none")
        return said if said != "none" else "none: the model's program ran in the evaluating process"
    kept = "; ".join(clean(x, longest=120) for x in found.get("restricted", ()))
    return f"{clean(found.get('name'), longest=40)} {clean(found.get('version'), longest=20)} ({kept})"


def reproducibility(material: Material) -> Section:
    m = material
    items = [
        Item(name="Command", value=clean(m.recorded("run.command", "not recorded"), longest=1000), mono=True),
        Item(name="Seed", value=str(m.protocol.seed)),
        Item(name="Run", value=m.text("run.id"), mono=True),
        Item(
            name="Started, finished",
            value=f"{format_utc(m.recorded('run.started_utc'))}, {format_utc(m.recorded('run.finished_utc'))}",
        ),
        Item(name="Resumed", value=_times(m.recorded("run.resumed", 0))),
    ]
    digests = [
        ("Evidence", m.verdict.evidence_digest),
        ("Protocol", m.evidence.protocol.get("digest")),
        ("Test-set root", m.evidence.testset.get("root")),
        ("Model package", m.evidence.model.get("digest")),
        ("Predictions", m.evidence.predictions.get("digest")),
    ]
    items += [Item(name=f"{name} SHA-256", value=given(value, "not recorded"), mono=True) for name, value in digests]
    rerun = m.recorded("rerun")
    words = (
        sentence(clean(rerun.get("result", rerun) if isinstance(rerun, Mapping) else rerun))
        if rerun is not None
        else "No rerun was recorded."
    )
    blocks: list[Block] = [
        Facts(items=tuple(items)),
        Prose(
            paragraphs=(
                f"Rerun: {words} The evidence is a pure function of protocol, locked test set and predictions: the "
                "same three give the same bytes of evidence.json and the digest above. It is attached to this file, "
                "with the protocol and the verdict, so that every number can be read by a program and computed again.",
            )
        ),
    ]
    return Section(id="reproducibility", number="", title="Reproducibility", code="R28", blocks=tuple(blocks))


def _times(value: object) -> str:
    if not isinstance(value, int) or value == 0:
        return "no"
    return "once" if value == 1 else f"{value} times"


def ledger(material: Material) -> Section:
    m = material
    items = [
        Item(name="Entries", value=m.text("ledger.count")),
        Item(name="Head SHA-256", value=m.text("ledger.head"), mono=True),
        *run_items(m),
        Item(name="Acting person", value=f"{m.text('run.actor')}, {m.text('run.role', 'role not recorded')}"),
    ]
    blocks: list[Block] = [
        Facts(items=tuple(items)),
        Prose(
            paragraphs=(
                "The ledger is a chain of entries, each containing the digest of the one before; cutting, reordering "
                f"or changing an entry breaks the chain. {times_sentence(m)} The full ledger is in the run folder "
                "(ledger.jsonl).",
            )
        ),
    ]
    entries = m.recorded("ledger.entries")
    if isinstance(entries, list) and entries:
        rows = tuple(
            Row(
                cells=(
                    Cell(text=given(e.get("seq"), "–"), kind="number"),
                    Cell(text=format_utc(e.get("utc"))),
                    Cell(text=given(e.get("actor"), "–"), sub=given(e.get("role"), "")),
                    Cell(text=given(e.get("action"), "–"), sub=given(e.get("reason"), "")),
                )
            )
            for e in entries[-30:]
            if isinstance(e, Mapping)
        )
        blocks.append(
            Table(
                label="",
                caption="Last entries of the ledger",
                columns=(
                    Column(title="No.", align="right", width=8),
                    Column(title="Time", width=24),
                    Column(title="Who", width=24),
                    Column(title="What and why"),
                ),
                rows=rows,
                compact=True,
                source="record.json#/ledger",
            )
        )
    return Section(id="ledger", number="", title="Ledger", code="R29", blocks=tuple(blocks))


def glossary(material: Material) -> Section:
    used: dict[str, str] = {}
    for finding in material.evidence.findings:
        if finding.analysis == "confusion":
            continue  # its table says what it counts
        meaning = _meaning(finding.metric)
        if meaning is not None:
            used.setdefault(*meaning)
    words = {
        "Confidence interval": "Range of values compatible with the data; at 95 %, the procedure covers the true value "
        "in at least 95 of 100 such studies.",
        "Design effect": "How much the variance grows because several cases come from one patient.",
        "Not assessable": f"Too few {too_few_of(material)} in the group for an estimate to be shown.",
        "Worst case": "Every missing outcome counted against the device.",
    }
    items = {**dict(sorted(used.items())), **words}
    rows = tuple(Row(cells=(Cell(text=name, kind="head"), Cell(text=text))) for name, text in items.items())
    table = Table(
        label="",
        caption="Terms and metrics used in this report",
        columns=(Column(title="Term", width=30), Column(title="Meaning")),
        rows=rows,
        compact=True,
        source="docs/statistics.md",
    )
    return Section(id="glossary", number="", title="Glossary", code="R34", blocks=(table, *_sources(material)))


#: Figures that no endpoint asks for, and what they are.
_BESIDE = {
    "heterogeneity_i2": ("I²", "Share of the variation between sites that is more than chance."),
    "heterogeneity_tau": ("τ", "Standard deviation between sites, on the scale of their model."),
    "verified_among_positive_calls": ("Verified, positive calls", "Share of positive calls with a reference standard."),
    "verified_among_negative_calls": ("Verified, negative calls", "Share of negative calls with a reference standard."),
}


def _meaning(metric: str) -> tuple[str, str] | None:
    """A metric's name as printed, and what it is; None for parts of an analysis that its own section explains."""
    if metric in _BESIDE:
        return _BESIDE[metric]
    if metric.endswith(RATIO):
        return "Ratio", "One group's or device's figure over the other's, as the table says."
    if is_difference(metric):
        return "Difference, gap", "One group's or device's figure less the other's, as the table says."
    info = METRICS.get(metric)
    return (metric_title(metric), sentence(info.definition)) if info else None


def _sources(material: Material) -> tuple[Table, ...]:
    """Where the intervals and tests of this report were published."""
    found = material.evidence.findings
    methods = [f.estimate.method for f in found if f.estimate.value is not None]
    methods += [t.method for t in material.evidence.tests]
    used = sources_of(methods)
    if not used:
        return ()
    rows = tuple(Row(cells=(Cell(text=name, kind="head"), Cell(text=source))) for name, source in used)
    columns = (Column(title="Method", width=30), Column(title="Source"))
    caption = "Intervals and tests used in this report, and where they were published"
    return (Table(label="", caption=caption, columns=columns, rows=rows, compact=True, source="docs/statistics.md"),)
