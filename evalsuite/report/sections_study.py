"""Sections about the study: intended use, model, protocol, test set, case flow and statistical methods."""

from __future__ import annotations

from collections.abc import Mapping

from evalsuite.report.figures_cases import Box, flow
from evalsuite.report.format import (
    format_bytes,
    format_count,
    format_level,
    format_utc,
)
from evalsuite.report.judged import RULES
from evalsuite.report.material import Material, metric_title
from evalsuite.report.text import clean, given, sentence
from evalsuite.report.view import (
    Bullets,
    Cell,
    Column,
    Facts,
    Figure,
    Heading,
    Item,
    Notice,
    Prose,
    Row,
    Section,
    Table,
)

STATUS_WORDS = {
    "ok": "Output usable, reference established",
    "rejected": "Rejected by the device's input check",
    "failed": "Inference failed or no output",
    "indeterminate": "Output indeterminate",
    "reference_equivocal": "Reference standard equivocal",
    "reference_missing": "Reference standard missing",
}
REFERENCE_WORDS = {"positive": "Positive", "negative": "Negative", "equivocal": "Equivocal", "missing": "Missing"}
OUTPUT_POLICIES = {
    "worst_case": "counted against the device (worst case): positive cases as called negative with the lowest score, "
    "negative ones the reverse",
    "exclude": "left out of the estimates",
    "as_negative": "counted as called negative",
    "as_positive": "counted as called positive",
}
REFERENCE_POLICIES = {
    "worst_case": "allocated to the class that is worst for the device",
    "tipping_point": "left out of the estimate; the verdict holds only if it holds under both extreme allocations",
    "exclude": "left out of the estimates",
}


def intended_use(material: Material) -> Section:
    use = material.protocol.intended_use
    names = {
        "indications": "Indications",
        "population": "Intended population",
        "users": "Users",
        "setting": "Setting",
        "autonomy": "Degree of autonomy",
        "inputs": "Inputs",
        "outputs": "Outputs",
        "contraindications": "Contraindications",
    }
    items, empty = [], []
    for field, name in names.items():
        value = clean(getattr(use, field), longest=1500)
        if value:
            items.append(Item(name=name, value=value))
        else:
            empty.append(name)
            items.append(Item(name=name, value="Open item: not stated in the protocol", tone="warning"))
    blocks = [Facts(items=tuple(items))]
    notes = [
        Prose(
            paragraphs=(
                "The text above is the manufacturer's, as the protocol states it. This is an evaluation of the device "
                "alone (standalone): no reader study was performed, and nothing here is evidence of the performance "
                "of readers aided by the device.",
            )
        )
    ]
    return Section(id="intended-use", number="", title="Intended use", code="R02", blocks=(*blocks, *notes))


def open_items(material: Material) -> list[str]:
    """What the report asks somebody to supply: empty intended-use fields, placeholder goals, absent sources."""
    use = material.protocol.intended_use
    fields = ("indications", "population", "users", "setting", "autonomy", "inputs", "outputs", "contraindications")
    empty = [name for name in fields if not str(getattr(use, name)).strip()]
    items = []
    if empty:
        items.append(f"intended use without {', '.join(empty)}")
    goals = [clean(e.name, longest=60) for e in material.protocol.endpoints if e.criterion and e.criterion.placeholder]
    if goals:
        items.append(f"placeholder goal still to be justified: {', '.join(goals)}")
    points = [clean(p.name, longest=60) for p in material.protocol.operating_points if not p.source]
    if points:
        items.append(f"operating point without a source: {', '.join(points)}")
    return items


def model_identity(material: Material) -> Section:
    m = material
    items = [
        Item(name="Name", value=given(m.evidence.model.get("name"), m.text("model.name"))),
        Item(name="Package format", value=given(m.evidence.model.get("format"), m.text("model.format"))),
        Item(name="Package SHA-256", value=given(m.evidence.model.get("digest"), m.text("model.digest")), mono=True),
        Item(
            name="Contract SHA-256",
            value=given(m.evidence.model.get("contract_digest"), m.text("model.contract_digest")),
            mono=True,
        ),
        Item(name="Size", value=format_bytes(m.recorded("model.size_bytes"))),
    ]
    blocks: list[Facts | Table | Bullets | Heading | Prose] = [Facts(items=tuple(items))]
    contract = m.recorded("model.contract")
    if isinstance(contract, Mapping) and contract:
        blocks.append(_contract_table(contract))
    else:
        blocks.append(
            Prose(
                paragraphs=(
                    "The model has no contract: its outputs were recorded elsewhere and read from a table. How they "
                    "were made is outside this report.",
                )
            )
        )
    notes = m.recorded("model.notes", [])
    if notes:
        blocks.append(Heading(text="Notes on the package", id="model-notes"))
        blocks.append(Bullets(items=tuple(sentence(clean(note)) for note in list(notes)[:20])))
    return Section(id="model", number="", title="Model under test", code="R03", blocks=tuple(blocks))


def _contract_table(contract: Mapping[str, object]) -> Table:
    rows: list[Row] = []

    def walk(prefix: str, value: object) -> None:
        if len(rows) >= 60:
            return
        if isinstance(value, Mapping):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        elif isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value):
            for index, inner in enumerate(value):
                walk(f"{prefix}[{index}]", inner)
        elif value not in (None, "", [], ()):
            shown = ", ".join(_plain(v) for v in value) if isinstance(value, list | tuple) else _plain(value)
            rows.append(
                Row(cells=(Cell(text=clean(prefix, longest=120), kind="digest"), Cell(text=clean(shown, longest=300))))
            )

    walk("", contract)
    return Table(
        label="",
        caption="Contract of the model: what it takes and gives, checked before the first case",
        columns=(Column(title="Property", width=36), Column(title="Value")),
        rows=tuple(rows),
        notes=("The complete contract is bound by the contract digest above.",),
        compact=True,
    )


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "any" if value is None else str(value)


def pre_specification(material: Material) -> Section:
    m, p = material, material.protocol
    frozen = m.recorded("protocol.frozen")
    items = [
        Item(name="Protocol", value=f"{clean(p.title, longest=300)}"),
        Item(name="Identifier", value=f"{clean(p.id)} version {clean(p.version)}"),
        Item(
            name="Protocol SHA-256",
            value=given(m.evidence.protocol.get("digest"), m.text("protocol.digest")),
            mono=True,
        ),
        Item(name="Design", value=f"{p.kind.replace('_', ' ')}, {p.task.kind}"),
        Item(name="Decision rule", value=sentence(RULES.get(p.decision_rule, p.decision_rule))),
    ]
    if isinstance(frozen, Mapping):
        sequence = frozen.get("ledger_seq")
        place = f", ledger entry {format_count(sequence)}" if isinstance(sequence, int) else ""
        items.append(Item(name="Frozen", value=f"{format_utc(frozen.get('utc'))}{place}"))
        items.append(Item(name="Freeze SHA-256", value=given(frozen.get("digest"), "not recorded"), mono=True))
    else:
        items.append(
            Item(
                name="Frozen",
                value="NOT FROZEN: protocol, model and test set were not bound together before the reference "
                "standard was opened",
                tone="warning",
            )
        )
    blocks: list[Facts | Table | Bullets | Heading | Prose | Notice] = [Facts(items=tuple(items))]
    if not m.verdict.evidence:
        blocks.append(
            Notice(
                title="This run is not evidence",
                text=" ".join(sentence(clean(r)) for r in m.verdict.not_evidence_because) or "No reason was recorded.",
            )
        )
    blocks.append(_endpoints(material))
    if p.operating_points:
        blocks.append(_operating_points(material))
    sources = tuple(sentence(clean(s)) for s in p.sources[:30])
    if sources:
        blocks += [Heading(text="Sources of the goals", id="sources"), Bullets(items=sources)]
    return Section(id="protocol", number="", title="Protocol and pre-specification", code="R04", blocks=tuple(blocks))


def _endpoints(material: Material) -> Table:
    from evalsuite.report.format import format_criterion

    rows = []
    for e in material.protocol.endpoints:
        goal = "none: reported, not judged"
        if e.criterion is not None:
            goal = format_criterion(e.criterion.model_dump(), level=material.level, metric=e.metric, title="")
        where = "whole set"
        if e.stratum:
            where = ", ".join(f"{clean(k)} = {clean(v)}" for k, v in e.stratum.items())
        elif e.each:
            where = f"each group of {clean(e.each)}"
        point = f"at {clean(e.at, longest=60)}" if e.at else ""
        rows.append(
            Row(
                cells=(
                    Cell(text=clean(e.name, longest=90), sub=clean(e.rationale, longest=160)),
                    Cell(text=metric_title(e.metric), sub=point),
                    Cell(text=e.role),
                    Cell(text=goal),
                    Cell(text=where),
                )
            )
        )
    return Table(
        label="",
        caption="Endpoints as the protocol declares them",
        columns=(
            Column(title="Endpoint", width=26),
            Column(title="Metric", width=22),
            Column(title="Role", width=12),
            Column(title="Acceptance criterion", width=23),
            Column(title="Judged in"),
        ),
        rows=tuple(rows),
        notes=("Only primary endpoints with a criterion decide the verdict.",),
    )


def _operating_points(material: Material) -> Table:
    rows = tuple(
        Row(
            cells=(
                Cell(text=clean(p.name, longest=80)),
                Cell(text=f"score {'≥' if p.comparison == '>=' else '>'} {p.threshold:g}".replace("-", "−")),
                Cell(text=clean(p.source, longest=300) or "Open item: source not stated"),
            )
        )
        for p in material.protocol.operating_points
    )
    return Table(
        label="",
        caption="Operating points, fixed beforehand",
        columns=(
            Column(title="Name", width=24),
            Column(title="Called positive", width=22),
            Column(title="How, when and on which data it was fixed"),
        ),
        rows=rows,
        notes=("No threshold is searched on the locked test set.",),
    )


def test_set(material: Material) -> Section:
    m = material
    signed = m.recorded("testset.signed", False)
    items = [
        Item(name="Identifier", value=m.set_name),
        Item(name="Merkle root", value=given(m.evidence.testset.get("root"), m.text("testset.root")), mono=True),
        Item(name="Lock SHA-256", value=given(m.evidence.testset.get("digest"), m.text("testset.digest")), mono=True),
        Item(name="Locked", value=format_utc(m.recorded("testset.locked_utc"))),
        Item(
            name="Signature",
            value="signed" if signed else "unsigned: the lock shows change, not who made it",
            tone="neutral" if signed else "warning",
        ),
        Item(name="Cases", value=format_count(m.n_cases) if m.n_cases is not None else "not recorded"),
        Item(name="Patients", value=m.text("testset.n_patients")),
        Item(
            name="Files",
            value=f"{m.text('testset.n_files')} ({format_bytes(m.recorded('testset.n_bytes'))}), every one verified "
            "against its digest before use",
        ),
    ]
    task = m.protocol.task
    items.append(
        Item(
            name="Reference standard",
            value=f"column {clean(task.reference)}; target condition present where it is {_values(task.positive)}",
        )
    )
    blocks: list[Facts | Table | Bullets | Heading] = [Facts(items=tuple(items)), _mix(material)]
    return Section(id="test-set", number="", title="Test set", code="R05", blocks=tuple(blocks))


def _values(value: object) -> str:
    return " or ".join(clean(v) for v in value) if isinstance(value, list) else clean(value)


def _mix(material: Material) -> Table:
    """Cases per group and class of the reference standard."""
    from evalsuite.report.format import format_level_name

    cells: dict[tuple[tuple[str, ...], tuple[str, ...]], dict[str, int]] = {}
    for a in material.evidence.accounting:
        if len(a.stratum) > 1:
            continue
        key = (tuple(a.stratum), tuple(a.stratum.values()))
        row = cells.setdefault(key, {})
        row[a.reference] = row.get(a.reference, 0) + a.n
    rows: list[Row] = []
    last: tuple[str, ...] | None = None
    most = 60
    for (names, levels), counts in cells.items():
        if len(rows) >= most:
            break
        if names != last and names:
            rows.append(Row(cells=(Cell(text=clean(names[0], longest=80)),), group=True))
        last = names
        unsettled = counts.get("equivocal", 0) + counts.get("missing", 0)
        label = format_level_name(levels[0]) if levels else "Whole test set"
        rows.append(
            Row(
                cells=(
                    Cell(text=label, kind="head" if not levels else "text"),
                    Cell(text=format_count(sum(counts.values())), kind="number"),
                    Cell(text=format_count(counts.get("positive", 0)), kind="number"),
                    Cell(text=format_count(counts.get("negative", 0)), kind="number"),
                    Cell(text=format_count(unsettled), kind="number"),
                )
            )
        )
    notes = ["n counts cases; empty cells are the group “missing”, never dropped.", material.set_note]
    if len(rows) >= most:
        notes.insert(0, "More groups than fit here: all are in the attached evidence.json (accounting).")
    return Table(
        label="",
        caption="Case mix: cases by group and reference standard",
        columns=(
            Column(title="Group", width=40),
            Column(title="Cases", align="right"),
            Column(title="Reference positive", align="right"),
            Column(title="Reference negative", align="right"),
            Column(title="Equivocal or missing", align="right"),
        ),
        rows=tuple(rows),
        notes=tuple(notes),
        compact=True,
    )


def case_flow(material: Material) -> Section:
    m = material
    total = m.count()
    no_output = {s: m.count(status=s) for s in ("rejected", "failed", "indeterminate")}
    no_reference = {s: m.count(status=s) for s in ("reference_equivocal", "reference_missing")}
    usable = m.count(status="ok")
    positive, negative = m.count(status="ok", reference="positive"), m.count(status="ok", reference="negative")
    without = sum(no_output.values())
    unsettled = sum(no_reference.values())
    policy = m.protocol.missing_outputs.primary.replace("_", " ")
    reference_policy = m.protocol.missing_reference.primary.replace("_", " ")

    def split(status: str) -> str:
        pos, neg = m.count(status=status, reference="positive"), m.count(status=status, reference="negative")
        return f"{format_count(m.count(status=status))} ({format_count(pos)} positive, {format_count(neg)} negative)"

    aside_output = Box(
        title=f"No usable output: {format_count(without)}",
        lines=(
            f"rejected by input check: {split('rejected')}",
            f"failed: {split('failed')}",
            f"indeterminate: {split('indeterminate')}",
            f"primary analysis: {policy}",
        ),
    )
    aside_reference = Box(
        title=f"Reference not established: {format_count(unsettled)}",
        lines=(
            f"equivocal: {format_count(no_reference['reference_equivocal'])}",
            f"missing: {format_count(no_reference['reference_missing'])}",
            f"primary analysis: {reference_policy}",
        ),
    )
    declared = m.n_cases
    steps = [
        (Box(title=f"Cases in the locked test set: {format_count(declared if declared is not None else total)}",
             lines=(m.set_name,)), None),
        (Box(title=f"Submitted to the model: {format_count(total)}", lines=("every case of the set",)), aside_output),
        (Box(title=f"With a usable output: {format_count(total - without)}"), aside_reference),
        (Box(title=f"Output and reference: {format_count(usable)}"), None),
    ]  # fmt: skip
    ends = [
        Box(title=f"Reference positive: {format_count(positive)}"),
        Box(title=f"Reference negative: {format_count(negative)}"),
    ]
    holds = declared is None or declared == total
    check = (
        f"Sum check: {format_count(usable)} analysed + {format_count(without)} without output + "
        f"{format_count(unsettled)} without reference = {format_count(usable + without + unsettled)}; "
    )
    closes = usable + without + unsettled == total and positive + negative == usable
    check += (
        f"{'equals' if holds else 'DIFFERS FROM'} the {format_count(declared)} cases locked."
        if declared is not None
        else "the number of cases locked is not recorded."
    )
    if not closes:
        check += " The parts do not add up to the whole: see the attached evidence."
    alt = (
        f"Of {format_count(total)} cases, {format_count(without)} had no usable output and {format_count(unsettled)} no "
        f"established reference; {format_count(positive)} reference-positive and {format_count(negative)} "
        "reference-negative cases had both."
    )
    figure = Figure(
        label="",
        caption="Flow of cases from the locked test set to the analysis",
        svg=flow(steps, ends, alt=alt),
        alt=alt,
        notes=(check, m.set_note),
    )
    return Section(id="case-flow", number="", title="Case accounting", code="R06", blocks=(figure,))


def methods(material: Material) -> Section:
    m, p = material, material.protocol
    level = format_level(m.level)
    statements = [
        f"Unit of analysis: the case ({clean(p.unit.case)}); the patient ({clean(p.unit.cluster)}) is the unit of "
        "clustering and of resampling.",
        f"Intervals are two-sided at {level}"
        + ("" if p.confidence.sided == "two" else "; criteria are judged one-sided on the corresponding bound")
        + ".",
        f"Cases without a usable output are {OUTPUT_POLICIES.get(p.missing_outputs.primary, p.missing_outputs.primary)}. "
        "All other policies are reported beside it.",
        "Cases without an established reference standard are "
        f"{REFERENCE_POLICIES.get(p.missing_reference.primary, p.missing_reference.primary)}.",
        f"Groups with fewer than {p.small_strata.suppress_below} positives (or negatives) are not assessable and "
        f"printed with their n; groups under {p.small_strata.flag_below} are flagged as small.",
        f"Multiplicity: {p.multiplicity.method.replace('_', ' ')}. Random numbers start from seed {p.seed}.",
    ]
    used: dict[str, list[str]] = {}
    for _, finding in m.findings():
        if finding.estimate.value is None:
            continue
        title = metric_title(finding.metric)
        names = used.setdefault(clean(finding.estimate.method, longest=200), [])
        if title not in names:
            names.append(title)
    rows = tuple(
        Row(cells=(Cell(text=method), Cell(text=", ".join(names)))) for method, names in list(used.items())[:25]
    )
    software = ", ".join(f"{clean(k)} {clean(v)}" for k, v in sorted(m.evidence.software.items()))
    table = Table(
        label="",
        caption="Interval methods as executed",
        columns=(Column(title="Method", width=45), Column(title="Used for")),
        rows=rows,
        notes=(f"Computed with {software}." if software else "Software versions are not recorded in the evidence.",),
        compact=True,
    )
    return Section(
        id="methods", number="", title="Statistical methods as executed", code="R11",
        blocks=(Bullets(items=tuple(statements)), table),
    )  # fmt: skip
