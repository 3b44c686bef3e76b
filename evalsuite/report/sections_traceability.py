"""R26: from hazard to verdict, row by row, and what is left over at either end."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evalsuite.protocol.clauses import clauses_of
from evalsuite.protocol.comparisons import asked_endpoints
from evalsuite.report.facts import stated
from evalsuite.report.format import format_estimate, format_stratum
from evalsuite.report.judged import outcome_cell
from evalsuite.report.material import Material, anchor
from evalsuite.report.study_items import speaks
from evalsuite.report.text import clean, sentence
from evalsuite.report.view import Block, Bullets, Cell, Column, Heading, Prose, Row, Section, Table
from evalsuite.types import CriterionResult

_MOST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    """One thing an endpoint answers: a hazard with its control, or a clause of the protocol."""

    what: str
    control: str
    requirement: str
    endpoint: str | None
    note: str = ""


def traceability(material: Material, printed: Collection[str]) -> tuple[Section, ...]:
    """Hazard, control, requirement, endpoint, group, result and verdict; then what is linked to nothing.

    `printed` are the anchors of findings that stand in the report: results link to them.

    None in a view that withholds results of groups.
    """
    if not speaks(material):
        return ()
    links = _links(material)
    blocks: list[Block] = []
    if links:
        blocks.append(_matrix(material, links, printed))
    else:
        text = "Neither the protocol (clauses) nor the study description (risks) links an endpoint to anything."
        blocks.append(Prose(paragraphs=(text,)))
    orphans = _orphans(material, links)
    if orphans:
        blocks += [Heading(text="Not linked", id="orphans"), Bullets(items=tuple(orphans))]
    return (Section(id="traceability", number="", title="Traceability", code="R26", blocks=tuple(blocks)),)


def _links(m: Material) -> list[_Link]:
    links = []
    for risk in stated(m).get("risks") or ():
        words = {k: clean(risk.get(k, ""), longest=400) for k in ("hazard", "control", "requirement", "residual")}
        for endpoint in risk.get("endpoints") or (None,):
            links.append(
                _Link(
                    what=words["hazard"],
                    control=words["control"],
                    requirement=words["requirement"],
                    endpoint=endpoint,
                    note=words["residual"],
                )
            )
    for clause, endpoint, said in clauses_of(m.protocol):
        text = clean(clause, longest=400)
        links.append(_Link(what="", control="", requirement=text, endpoint=endpoint, note=clean(said, longest=300)))
    return links


def _matrix(m: Material, links: Sequence[_Link], printed: Collection[str]) -> Table:
    rows = _said_once([row for link in links for row in _rows(m, link, printed)])
    more = f"{len(rows) - _MOST} more rows follow from the attached protocol and record. " if len(rows) > _MOST else ""
    return Table(
        label="",
        caption="From hazard, control and requirement to result and verdict",
        columns=(
            Column(title="Hazard and control", width=26),
            Column(title="Requirement, claim or clause", width=20),
            Column(title="Endpoint and group", width=20),
            Column(title="Result", width=21),
            Column(title="Verdict"),
        ),
        rows=tuple(rows[:_MOST]),
        notes=(
            f"{more}Every result is the finding named below it, in evidence.json with SHA-256 "
            f"{m.verdict.evidence_digest}. Results without a criterion are reported, not judged.",
            m.set_note,
        ),
        compact=True,
    )


def _said_once(rows: Sequence[Row]) -> list[Row]:
    """The hazard and its control in the first of their rows; the others refer to it."""
    made: list[Row] = []
    for before, row in zip((None, *rows), rows, strict=False):
        head = row.cells[0]
        if before is not None and head.text != "–" and head == before.cells[0]:
            short = head.text.partition(":")[0] if ":" in head.text[:24] else "as above"
            row = replace(
                row, cells=(replace(head, text=short, sub="as above" if short != "as above" else ""), *row.cells[1:])
            )
        made.append(row)
    return made


def _rows(m: Material, link: _Link, printed: Collection[str]) -> list[Row]:
    head = Cell(text=link.what or "–", sub=" · ".join(p for p in (link.control, link.note) if p))
    requirement = Cell(text=link.requirement or "–")
    if link.endpoint is None:
        gone = Cell(text="no endpoint", tone="warning")
        return [Row(cells=(head, requirement, gone, Cell(text="–"), Cell(text="–")))]
    judged = [c for c in m.verdict.criteria if c.endpoint == link.endpoint]
    if judged:
        return [_judged(m, head, requirement, c, printed) for c in judged]
    found = m.find(link.endpoint)
    result = Cell(text="not estimated", tone="warning")
    if found is not None:
        index, finding = found
        name = anchor(index)
        result = Cell(
            text=format_estimate(finding.metric, finding.estimate),
            sub=name,
            link=name if name in printed else None,
            of=(name,),
        )
    cells = (
        head,
        requirement,
        Cell(text=clean(link.endpoint, longest=90)),
        result,
        Cell(text="not judged", kind="muted"),
    )
    return [Row(cells=cells)]


def _judged(m: Material, head: Cell, requirement: Cell, criterion: CriterionResult, printed: Collection[str]) -> Row:
    found = m.judged(criterion)
    name = "" if found is None else anchor(found[0])
    group = format_stratum(criterion.stratum) if criterion.stratum else "whole set"
    return Row(
        cells=(
            head,
            requirement,
            Cell(text=clean(criterion.endpoint, longest=90), sub=f"{criterion.role}; {group}"),
            Cell(
                text=format_estimate(criterion.metric, criterion.estimate),
                sub=name,
                link=name if name in printed else None,
                of=(name,) if name else (),
            ),
            outcome_cell(criterion.outcome),
        )
    )


def _orphans(m: Material, links: Sequence[_Link]) -> list[str]:
    """Endpoints that answer nothing, and hazards and clauses that no endpoint answers."""
    linked = {link.endpoint for link in links}
    said = []
    asked: dict[str, str] = {
        e.name: e.role for e in asked_endpoints(m.protocol) if e.role == "primary" or e.criterion is not None
    }
    asked |= {c.endpoint: c.role for c in m.verdict.criteria}
    for name, role in asked.items():
        if name not in linked:
            said.append(f"Endpoint {clean(name, longest=90)} ({role}) answers no hazard, claim or clause.")
    for risk in stated(m).get("risks") or ():
        if not risk.get("endpoints"):
            said.append(
                sentence(f"Hazard {clean(_hazard(risk), longest=200)}: no endpoint shows that its control works")
            )
    unanswered = [link.requirement for link in links if link.endpoint is None and not link.what]
    said += [sentence(f"Clause {text}: no endpoint answers it") for text in dict.fromkeys(unanswered)]
    if stated(m).get("risks") is None:
        said.append("No hazards are stated (risks in study.yaml).")
    return said


def _hazard(risk: Mapping[str, Any]) -> str:
    return str(risk.get("hazard", ""))
