"""Sections about the study: intended use, model, protocol, test set, case flow and statistical methods."""

from __future__ import annotations

from collections.abc import Mapping

from evalsuite.protocol.comparisons import asked_endpoints
from evalsuite.protocol.decision import decision_family
from evalsuite.report.format import (
    format_bytes,
    format_count,
    format_level,
    format_utc,
)
from evalsuite.report.judged import RULES
from evalsuite.report.material import Material, metric_title
from evalsuite.report.sections_classes import has_several, is_detection, is_measurement, is_segmentation
from evalsuite.report.signatures import freeze_items
from evalsuite.report.text import clean, given, sentence
from evalsuite.report.view import (
    Bullets,
    Cell,
    Column,
    Facts,
    Heading,
    Item,
    Notice,
    Prose,
    Row,
    Section,
    Table,
)

_MOST_CONTRACT_ROWS = 24
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
    what = (
        "This is an evaluation of readers, in the conditions of the study described below."
        if material.protocol.readers is not None
        else "This is an evaluation of the device alone (standalone): no reader study was performed, and nothing here "
        "is evidence of the performance of readers aided by the device."
    )
    notes = [Prose(paragraphs=(f"The text above is the manufacturer's, as the protocol states it. {what}",))]
    return Section(id="intended-use", number="", title="Intended use", code="R02", blocks=(*blocks, *notes))


#: How the analyses begin what they note of a reference group that no case belongs to.
_NO_CASE = "No case belongs to the group"


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
    return items + [f"reference group without a case: {said}" for said in nothing_to_compare_with(material)]


def nothing_to_compare_with(material: Material, stratum: str | None = None) -> list[str]:
    """What the analyses say of declared reference groups that no case belongs to; of one stratum where it is given."""
    of = "" if stratum is None else f" of '{stratum}':"
    return [clean(n) for n in material.evidence.notes if n.startswith(_NO_CASE) and of in n]


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
                    "No contract of the model is recorded. Where its outputs were recorded elsewhere and read from a "
                    "table, how they were made is outside this report.",
                )
            )
        )
    notes = m.recorded("model.notes", [])
    if notes:
        blocks.append(Heading(text="Notes on the package", id="model-notes"))
        blocks.append(Bullets(items=tuple(sentence(clean(note)) for note in list(notes)[:20])))
    return Section(id="model", number="", title="Model under test", code="R03", blocks=tuple(blocks))


def _contract_table(contract: Mapping[str, object]) -> Table:
    """One row for each input, output and other property that says something."""
    rows: list[Row] = []
    for key, value in sorted(contract.items(), key=lambda item: (item[0] not in ("inputs", "outputs"), item[0])):
        several = isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value)
        for part in value if several and isinstance(value, list | tuple) else [value]:
            name = key.removesuffix("s") if several else key
            label = part.get("name") if isinstance(part, Mapping) else None
            words = _described(part)
            if words and not key.startswith("schema"):
                head = f"{name} {label}" if label else name
                rows.append(Row(cells=(Cell(text=clean(head, longest=80)), Cell(text=clean(words, longest=300)))))
    left_out = len(rows) - _MOST_CONTRACT_ROWS
    notes: tuple[str, ...] = ("The complete contract is bound by the contract digest above.",)
    if left_out > 0:
        notes = (f"{left_out} more inputs or outputs are not shown.", *notes)
    return Table(
        label="",
        caption="Contract of the model: what it takes and gives, checked before the first case",
        columns=(Column(title="Property", width=30), Column(title="Value")),
        rows=tuple(rows[:_MOST_CONTRACT_ROWS]),
        notes=notes,
        compact=True,
        source="record.json#/model/contract",
    )


def _described(value: object) -> str:
    if isinstance(value, Mapping):
        parts = [(k, _described(v)) for k, v in sorted(value.items()) if k != "name"]
        return "; ".join(f"{k.replace('_', ' ')} {words}" for k, words in parts if words)
    if isinstance(value, list | tuple):
        return ", ".join(_described(v) or "any" for v in value)
    return "" if value in (None, "", "none") else _plain(value)


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
        *_multiplicity(material),
        *_amendment(material),
    ]
    if isinstance(frozen, Mapping):
        sequence = frozen.get("ledger_seq")
        place = f", ledger entry {format_count(sequence)}" if isinstance(sequence, int) else ""
        items.append(Item(name="Frozen", value=f"{format_utc(frozen.get('utc'))}{place}"))
        items.append(Item(name="Freeze SHA-256", value=given(frozen.get("digest"), "not recorded"), mono=True))
        items += freeze_items(frozen)
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


def _amendment(material: Material) -> list[Item]:
    """What this version changes of one that was frozen before, where it says so."""
    amendment = material.protocol.amendment
    if amendment is None:
        return []
    words = f"{amendment.kind} amendment of version {clean(amendment.of, longest=24)}: {clean(amendment.reason)}"
    return [Item(name="Amendment", value=sentence(words))]


def _multiplicity(material: Material) -> list[Item]:
    """How several claims share the error rate, where the protocol says so."""
    family = decision_family(material.protocol)
    if family is None:
        return []
    names = ", ".join(clean(claim[0].name, longest=60) for claim in family.claims[:12])
    order = " in this order" if family.ordered else ""
    use = "" if family.decides else "; for information, as every primary criterion must be met"
    return [Item(name="Multiplicity", value=f"{sentence(f'{family.title}{order}: {names}{use}')}")]


def _endpoints(material: Material) -> Table:
    from evalsuite.report.format import format_criterion

    rows = []
    for e in asked_endpoints(material.protocol):
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
                    Cell(text=metric_title(e.metric) + (f" of {clean(e.target)}" if e.target else ""), sub=point),
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
        source="protocol.yaml#/endpoints",
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
        source="protocol.yaml#/operating_points",
    )


def _output_policy(material: Material, policy: str) -> str:
    if is_measurement(material) and policy == "worst_case":
        return (
            "counted against the device (worst case): as far off as the endpoint's declared maximum; what has no such "
            "worst case is not estimable"
        )
    if is_detection(material) and policy == "worst_case":
        return (
            "counted against the device (worst case): no lesion of theirs is found; where marks are counted they have "
            "as many false positives as the endpoint's declared maximum, where cases are ranked one if they are normal"
        )
    if is_segmentation(material) and policy == "worst_case":
        return (
            "counted against the device (worst case): overlaps are 0, distances and volume errors the endpoint's "
            "declared maximum"
        )
    if has_several(material) and policy == "worst_case":
        kind = material.protocol.task.kind
        if kind == "multilabel":
            return "counted against the device (worst case): every label as called wrong and ranked last"
        farthest = "with the farthest grade" if kind == "ordinal" else "with its class ranked last"
        return f"counted against the device (worst case): as called wrong, {farthest}"
    return OUTPUT_POLICIES[policy]


def _reference_policy(material: Material, policy: str) -> str:
    if is_segmentation(material) and policy == "worst_case":
        return "taken to be as badly outlined as cases without an output"
    if is_measurement(material) and policy == "worst_case":
        return "taken to be as far from the device as the endpoint's declared maximum"
    return REFERENCE_POLICIES.get(policy, policy)


def methods(material: Material) -> Section:
    m, p = material, material.protocol
    level = format_level(m.level)
    output_policy = p.missing_outputs.primary
    few = "positives (or negatives)"
    if is_detection(m):
        few = "lesions (or cases)"
    elif is_measurement(m) or is_segmentation(m):
        few = "cases"
    statements = [
        f"Unit of analysis: the case ({clean(p.unit.case)}); the patient ({clean(p.unit.cluster)}) is the unit of "
        "clustering and of resampling.",
        f"Intervals are two-sided at {level}"
        + ("" if p.confidence.sided == "two" else "; criteria are judged one-sided on the corresponding bound")
        + ".",
        f"Cases without a usable output are {_output_policy(m, output_policy)}. "
        "All other policies are reported beside it.",
        f"Cases without an established reference standard are {_reference_policy(m, p.missing_reference.primary)}.",
        f"Groups with fewer than {p.small_strata.suppress_below} {few} are not assessable and "
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
    codes = {clean(method, longest=200): code for method, code in m.method_codes.items()}
    rows = tuple(
        Row(cells=(Cell(text=codes.get(method, "")), Cell(text=method), Cell(text=", ".join(names))))
        for method, names in list(used.items())[:25]
    )
    software = ", ".join(f"{clean(k)} {clean(v)}" for k, v in sorted(m.evidence.software.items()))
    table = Table(
        label="",
        caption="Interval methods as executed",
        columns=(Column(title="Code", width=8), Column(title="Method", width=42), Column(title="Used for")),
        rows=rows,
        notes=(f"Computed with {software}." if software else "Software versions are not recorded in the evidence.",),
        compact=True,
        source="evidence.json#/findings",
    )
    return Section(
        id="methods", number="", title="Statistical methods as executed", code="R11",
        blocks=(Bullets(items=tuple(statements)), table),
    )  # fmt: skip
