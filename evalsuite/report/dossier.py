"""The report's view model: selects, sorts and words what evidence and verdict hold; computes no statistic."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from evalsuite.protocol.schema import StudyProtocol
from evalsuite.report import sections_cases as cases
from evalsuite.report import sections_curves as curves
from evalsuite.report import sections_missing as missing
from evalsuite.report import sections_record as about_run
from evalsuite.report import sections_results as results
from evalsuite.report import sections_strata as groups
from evalsuite.report import sections_study as study
from evalsuite.report import sections_truth as truth
from evalsuite.report.anchors import anchored, named, printed_findings, resolved, resolved_table
from evalsuite.report.approval import approvals
from evalsuite.report.contents import ORDER, in_order
from evalsuite.report.facts import stated
from evalsuite.report.format import format_count, format_utc
from evalsuite.report.judged import conclusion, criteria_table, judgement, ranked
from evalsuite.report.material import Material, places
from evalsuite.report.model_card import ModelCard, model_card
from evalsuite.report.sections_bias import bias, further_gaps
from evalsuite.report.sections_classes import has_several
from evalsuite.report.sections_clauses import cross_reference
from evalsuite.report.sections_comparison import comparison
from evalsuite.report.sections_drift import drift, stands
from evalsuite.report.sections_generalisation import generalisation
from evalsuite.report.sections_interpretability import interpretability
from evalsuite.report.sections_pictures import cases_shown
from evalsuite.report.sections_readers import readers
from evalsuite.report.sections_reuse import first_page_items
from evalsuite.report.sections_robustness import robustness
from evalsuite.report.sections_size import sample_size
from evalsuite.report.sections_tool import tool
from evalsuite.report.sections_traceability import traceability
from evalsuite.report.sections_triage import triage
from evalsuite.report.sections_uncertainty import uncertainty
from evalsuite.report.sections_unchanged import precision
from evalsuite.report.study_items import open_facts, speaks
from evalsuite.report.svg import text_width
from evalsuite.report.text import clean, given, short_digest
from evalsuite.report.view import Block, Cover, Dossier, Figure, Item, Pair, Section, Summary, Table
from evalsuite.types import Evidence, Exhibits, Verdict

KINDS = {
    "standalone": "Standalone performance",
    "comparison": "Comparison",
    "reader_study": "Reader study",
    "drift_audit": "Drift audit",
    "site_acceptance": "Site acceptance",
}
_MOST_CRITERIA, _FEWEST_CRITERIA = 9, 2
#: Characters from which a note is not printed twice in a section.
_LONG_NOTE = 160
#: Heights in CSS pixels: what rows and facts may take of the summary's page, beside everything that is always there.
_SUMMARY_ROOM = 560.0
_WIDTHS = (160.0, 135.0, 85.0, 100.0)


def build_dossier(
    protocol: StudyProtocol,
    evidence: Evidence,
    verdict: Verdict,
    record: Mapping[str, Any],
    exhibits: Exhibits | None = None,
) -> Dossier:
    """Everything a report says, as ready-to-place strings, tables and drawings, in reading order.

    A pure function of its arguments: no clock, no file but the report's own fonts, no statistic. What is missing in
    `record` is printed as "not recorded"; text from outside is made printable (see `evalsuite.report.text.clean`).
    """
    shown = exhibits or Exhibits()
    m = _in_order(Material(protocol=protocol, evidence=evidence, verdict=verdict, record=record, exhibits=shown))
    sections = (
        study.intended_use(m),
        study.model_identity(m),
        study.pre_specification(m),
        cases.test_set(m),
        cases.case_flow(m),
        cases.case_mix(m),
        truth.reference_standard(m),
        truth.independence(m),
        sample_size(m),
        study.methods(m),
        results.primary_results(m),
        *((readers(m),) if protocol.readers is not None else (curves.performance(m), curves.calibration(m))),
        *cases_shown(m),
        *_compared(m),
        groups.strata(m),
        *_bias(m),
        *_asked(drift(m)),
        *_triage(m),
        *_population(m),
        *_asked(robustness(m)),
        *_asked(precision(m)),
        *_asked(uncertainty(m)),
        *_asked(interpretability(m)),
        missing.missing(m),
        about_run.limitations(m),
        about_run.environment(m),
        about_run.reproducibility(m),
        about_run.ledger(m),
        tool(m),
        *approvals(m),
        about_run.glossary(m),
        *further_gaps(m),
    )
    sections = anchored(sections)
    sections = (*sections, *traceability(m, printed_findings(sections)))
    ordered = in_order(m, (*sections, cross_reference(m, _anchors(in_order(m, sections)))))
    identifier, summary, printed = report_id(m), _summary(m), printed_findings(ordered)
    table, facts, ordered = named(resolved_table(summary.table, printed), summary.facts, resolved(ordered, printed))
    return Dossier(
        report_id=identifier,
        title=clean(protocol.title, longest=300),
        language="en",
        author=given(m.recorded("run.actor"), "not recorded"),
        subject=f"{KINDS[protocol.kind]} evaluation report {identifier}",
        created=str(m.recorded("run.finished_utc", "1970-01-01T00:00:00Z")),
        banner=_banner(m),
        footer_digest=verdict.evidence_digest,
        cover=_cover(m, identifier),
        summary=replace(summary, table=table, facts=facts),
        how_to_read=_how_to_read(m),
        sections=_labelled(ordered),
    )


def _anchors(sections: Sequence[Section]) -> dict[str, str]:
    """Where each part of the order of contents begins; the summary is not a section."""
    return {"R01": "summary"} | {s.code: s.id for s in reversed(sections)}


def build_model_card(
    protocol: StudyProtocol, evidence: Evidence, verdict: Verdict, record: Mapping[str, Any]
) -> ModelCard:
    """The model card of what a report says; see `evalsuite.report.model_card`."""
    m = _in_order(Material(protocol=protocol, evidence=evidence, verdict=verdict, record=record))
    return model_card(m, report_id=report_id(m), kind=KINDS[protocol.kind])


def _compared(m: Material) -> tuple[Section, ...]:
    """The section of a comparison, where there is one."""
    section = comparison(m)
    return () if section is None else (section,)


def _triage(m: Material) -> tuple[Section, ...]:
    """The section on waiting times, where the protocol asks for them."""
    section = triage(m)
    return () if section is None else (section,)


def _bias(m: Material) -> tuple[Section, ...]:
    """The section on gaps between groups of patients, where the protocol asks for them."""
    section = bias(m)
    return () if section is None else (section,)


def _population(m: Material) -> tuple[Section, ...]:
    """The section on sites, weights and partial verification, where there is something to say."""
    section = generalisation(m)
    return () if section is None else (section,)


def _asked(section: Section | None) -> tuple[Section, ...]:
    """The section of an optional analysis, where there is one."""
    return () if section is None else (section,)


def _in_order(m: Material) -> Material:
    """The same material with the keys of every group as the protocol crosses them, however the files sort them."""
    evidence = replace(
        m.evidence,
        # The target of a task of one question is that question: naming it beside every metric would say nothing.
        findings=tuple(
            replace(f, stratum=m.ordered(f.stratum), target=f.target if has_several(m) else None)
            for f in m.evidence.findings
        ),
        accounting=tuple(replace(a, stratum=m.ordered(a.stratum)) for a in m.evidence.accounting),
    )
    criteria = tuple(replace(c, stratum=m.ordered(c.stratum)) for c in m.verdict.criteria)
    return replace(m, evidence=evidence, verdict=replace(m.verdict, criteria=criteria))


def report_id(material: Material) -> str:
    """An identifier that changes with the run, the evidence and the verdict, and with nothing else."""
    run = str(material.recorded("run.id", ""))
    text = "\n".join([run, material.verdict.evidence_digest, material.verdict.overall, str(material.verdict.evidence)])
    return f"ES-{hashlib.sha256(text.encode()).hexdigest()[:12].upper()}"


def _banner(m: Material) -> str | None:
    """What is said on every page: of which copy it is, and that it is no evidence."""
    said = [clean(copy, longest=110)] if (copy := m.recorded("banner")) is not None else []
    said += [line] if (line := _not_evidence(m)) is not None else []
    return " · ".join(said) or None


def _not_evidence(m: Material) -> str | None:
    if m.verdict.evidence:
        return None
    reasons = [clean(r, longest=110).rstrip(".") for r in m.verdict.not_evidence_because]
    text = reasons[0] if reasons else "no reason recorded"
    return f"NOT EVIDENCE — {text}" + (f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else "")


def _status(m: Material) -> str:
    return "FINAL" if m.verdict.evidence else "DRAFT — NOT EVIDENCE"


def _cover(m: Material, identifier: str) -> Cover:
    p, e = m.protocol, m.evidence
    model_name = given(e.model.get("name"), m.text("model.name"))
    frozen = m.recorded("protocol.frozen")
    control = (
        Item(name="Report", value=identifier, mono=True),
        Item(name="Status", value=_status(m), tone="neutral" if m.verdict.evidence else "warning"),
        Item(name="Protocol", value=f"{clean(p.id, longest=80)}, version {clean(p.version, longest=24)}"),
        Item(name="Protocol SHA-256", value=given(e.protocol.get("digest"), "not recorded"), mono=True),
        Item(
            name="Protocol frozen",
            value=format_utc(frozen.get("utc")) if isinstance(frozen, Mapping) else "not frozen",
            tone="neutral" if isinstance(frozen, Mapping) else "warning",
        ),
        Item(name="Model", value=clean(model_name, longest=80)),
        Item(name="Model SHA-256", value=given(e.model.get("digest"), "not recorded"), mono=True),
        Item(name="Test set", value=f"{m.set_name}, {_cases(m)}"),
        Item(name="Test-set root", value=given(e.testset.get("root"), "not recorded"), mono=True),
        Item(name="Test set locked", value=format_utc(m.recorded("testset.locked_utc"))),
        Item(
            name="Executed",
            value=f"{format_utc(m.recorded('run.started_utc'))} to {format_utc(m.recorded('run.finished_utc'))}",
        ),
        Item(
            name="Responsible",
            value=clean(f"{m.text('run.actor')}, {m.text('run.role', 'role not recorded')}", longest=100),
        ),
        *first_page_items(m),
        Item(name="Software", value=f"evalsuite {m.text('software.evalsuite')}"),
        Item(name="Evidence SHA-256", value=m.verdict.evidence_digest, mono=True),
    )
    return Cover(
        kicker=f"{KINDS[p.kind]} · evaluation report",
        title=clean(p.title, longest=120),
        subtitle=f"{clean(model_name, longest=80)} on {m.set_name}",
        verdict=judgement(m),
        status=_status(m),
        control=control,
    )


def _cases(m: Material) -> str:
    cases = format_count(m.n_cases) if m.n_cases is not None else "unknown number of"
    patients = m.recorded("testset.n_patients")
    tail = f" of {format_count(patients)} patients" if isinstance(patients, int) else ""
    return f"{cases} cases{tail}"


def _summary(m: Material) -> Summary:
    total = m.count()
    without = {s: m.count(status=s) for s in ("rejected", "failed", "indeterminate")}
    unsettled = m.count(status="reference_equivocal") + m.count(status="reference_missing")
    parts = ", ".join(f"{format_count(k)} {name}" for name, k in without.items() if k)
    lost = f"{format_count(sum(without.values()))} of {format_count(total)} cases without a usable output"
    lost += f" ({parts})" if parts else ""
    lost += f"; {format_count(unsettled)} without an established reference standard"
    policy = m.protocol.missing_outputs.primary.replace("_", " ")
    worst = groups.worst_groups(m)
    items = [*study.open_items(m), *_undescribed(m)]
    flags = [clean(f, longest=120) for f in m.flags]
    facts = [
        *stands(m),
        Item(
            name="Least favourable groups",
            value="\n".join(clean(w, longest=130) for w in worst) or "No assessable group.",
            of=places(m, groups.worst_findings(m)),
        ),
        Item(name="Missing and failed", value=f"{lost}. Primary analysis: {policy}."),
        Item(name="Evidence status", value=_evidence_status(m), tone="neutral" if m.verdict.evidence else "warning"),
        Item(
            name="Flags",
            value="\n".join(flags[:3]) + (f"\nand {len(flags) - 3} more (Primary results)" if len(flags) > 3 else "")
            if flags
            else "None.",
        ),
        *_sandbox_said(m),
        Item(name="Open items", value=clean("; ".join(items), longest=240) + "." if items else "None."),
    ]
    return Summary(
        verdict=judgement(m),
        table=_criteria_that_fit(m, facts),
        facts=tuple(facts),
        conclusion=conclusion(m),
    )


def _undescribed(m: Material) -> list[str]:
    """How many fields of the study description are open, in words; nothing where none is."""
    n = sum(len(open_facts(m, code)) for code, *_ in ORDER) if speaks(m) else 0
    if n == 0:
        return []
    missing = "" if stated(m) else "no study description; "
    return [f"{missing}{format_count(n)} fields of study.yaml not stated, listed in section 25"]


def _sandbox_said(m: Material) -> tuple[Item, ...]:
    """A line for a model whose program ran without a sandbox; nothing where it had one, or nothing was run."""
    ran = m.text("inference.kind", "") in ("packaged", "folders")
    if not ran or m.recorded("inference.sandbox") != "none":
        return ()
    value = "None (--unsandboxed): the model's program ran with all rights of the evaluating process."
    return (Item(name="Sandbox", value=value, tone="warning"),)


def _criteria_that_fit(m: Material, facts: Sequence[Item]) -> Table:
    """As many criteria as the page holds beside the facts, nine at most; the note says how many stand elsewhere."""
    room = _SUMMARY_ROOM
    for fact in facts:
        room -= 7 + sum(16 * _lines(line, 11.4, 455) for line in fact.value.split("\n"))
    table = criteria_table(
        m, ranked(m), label="Table ES-1", caption="Acceptance criteria", most=_MOST_CRITERIA, reasons=False
    )
    fitting = 0
    for row in table.rows:
        room -= 9 + max(
            15 * _lines(c.text, 10.7, w) + 13 * _lines(c.sub, 9.4, w) for c, w in zip(row.cells, _WIDTHS, strict=False)
        )
        if room < 0 and fitting >= _FEWEST_CRITERIA:
            break
        fitting += 1
    if fitting == len(table.rows):
        return table
    return criteria_table(m, ranked(m), label="Table ES-1", caption="Acceptance criteria", most=fitting, reasons=False)


def _lines(text: str, size: float, width: float) -> int:
    """Lines a text takes; broken lines are never quite full."""
    return math.ceil(1.12 * text_width(text, size) / width) if text else 0


def _evidence_status(m: Material) -> str:
    if not m.verdict.evidence:
        return "Not evidence: " + "; ".join(clean(r, longest=110) for r in m.verdict.not_evidence_because[:3]) + "."
    frozen = m.recorded("protocol.frozen")
    when = f"protocol frozen {format_utc(frozen.get('utc'))}" if isinstance(frozen, Mapping) else "protocol frozen"
    uses = m.recorded("testset.uses")
    reuse = (
        f"use number {format_count(uses)} of this test set" if isinstance(uses, int) else "earlier uses not recorded"
    )
    return f"Counts as evidence: {when}; {reuse}."


def _how_to_read(m: Material) -> tuple[str, ...]:
    return (
        "Sections keep their numbers in every report; section 33 lists those that are absent, and why. "
        "A criterion is met when the named bound of its interval clears the goal, not met when the opposite bound lies "
        "on the wrong side of it, and inconclusive otherwise. A verdict is always a word and a mark: ● met, ■ not met, "
        "△ inconclusive.",
        "Proportions are printed as n/N, per cent and interval; other estimates as value and interval. What cannot be "
        "estimated is printed with its reason, never as zero.",
        f"Identifiers such as f-0012 name a finding by its place in the attached evidence.json (SHA-256 "
        f"{short_digest(m.verdict.evidence_digest)}): f-0012 is /findings/12 there. The report computes nothing: every "
        "number is in that file.",
    )


def _labelled(sections: tuple[Section, ...]) -> tuple[Section, ...]:
    """Number tables and figures in reading order."""
    tables = figures = 0
    done: list[Section] = []
    for section in sections:
        blocks: list[Block] = []
        for block in section.blocks:
            if isinstance(block, Table) and not block.label:
                tables += 1
                blocks.append(replace(block, label=f"Table {tables}"))
            elif isinstance(block, Figure):
                figures += 1
                blocks.append(replace(block, label=f"Figure {figures}"))
            elif isinstance(block, Pair):
                figures += 1
                left = replace(block.left, label=f"Figure {figures}")
                if isinstance(block.right, Figure):
                    figures += 1
                    blocks.append(Pair(left=left, right=replace(block.right, label=f"Figure {figures}")))
                else:
                    tables += 1
                    blocks.append(Pair(left=left, right=replace(block.right, label=f"Table {tables}")))
            else:
                blocks.append(block)
        done.append(replace(section, blocks=_explained_once(blocks)))
    return tuple(done)


def _explained_once(blocks: Sequence[Block]) -> tuple[Block, ...]:
    """Long notes that stand word for word under an earlier table of the section refer to it."""
    said: dict[str, str] = {}
    made: list[Block] = []
    for block in blocks:
        if isinstance(block, Table):
            again = {note: said[note] for note in block.notes if note in said}
            kept = [note for note in block.notes if note not in again]
            said |= {note: block.label for note in kept if len(note) > _LONG_NOTE}
            refer = [f"Read as {label}." for label in dict.fromkeys(again.values())]
            block = replace(block, notes=(*refer, *kept))
        made.append(block)
    return tuple(made)


__all__ = ["Dossier", "build_dossier", "short_digest"]
