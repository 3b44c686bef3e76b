"""The fixed order of contents, R00 to R34: a section keeps its number, and what is absent is listed with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from evalsuite.report.material import Material
from evalsuite.report.study_items import has_content, open_facts, speaks, study_blocks, study_status
from evalsuite.report.view import Block, Cell, Column, Facts, Prose, Row, Section, Table

#: Number, anchor and title of every section of the order of contents; 1 is the summary.
ORDER = (
    ("R00", "document-control", "Document control"),
    ("R01", "summary", "Summary"),
    ("R02", "intended-use", "Intended use"),
    ("R03", "model", "Model under test"),
    ("R04", "protocol", "Protocol and pre-specification"),
    ("R05", "test-set", "Test set"),
    ("R06", "case-flow", "Case accounting"),
    ("R07", "case-mix", "Patients and case mix"),
    ("R08", "reference-standard", "Reference standard"),
    ("R09", "independence", "Independence and reuse"),
    ("R10", "size", "Size of the study"),
    ("R11", "methods", "Statistical methods as executed"),
    ("R12", "primary-results", "Primary results"),
    ("R13", "performance", "Secondary and exploratory results"),
    ("R14", "strata", "Groups"),
    ("R15", "calibration", "Calibration and operating point"),
    ("R16", "missing", "Missing and failed cases"),
    ("R17", "failures", "Failure analysis"),
    ("R18", "fairness", "Bias and fairness"),
    ("R19", "robustness", "Robustness and generalisability"),
    ("R20", "precision", "Repeatability and reproducibility"),
    ("R21", "interpretability", "Interpretability"),
    ("R22", "comparison", "Comparison with another version or a predicate"),
    ("R23", "readers", "Readers with and without the device"),
    ("R24", "monitoring", "Drift and monitoring"),
    ("R25", "limitations", "Limitations and open items"),
    ("R26", "traceability", "Traceability"),
    ("R27", "environment", "Environment"),
    ("R28", "reproducibility", "Reproducibility"),
    ("R29", "ledger", "Ledger"),
    ("R30", "tool", "Validation of the tool"),
    ("R31", "anomalies", "Unresolved anomalies"),
    ("R32", "approvals", "Approvals and signatures"),
    ("R33", "cross-reference", "Clauses and where they are answered"),
    ("R34", "glossary", "Glossary"),
)
#: A copy for others may lack what the run has; which of the two it is cannot be told from the copy.
_WITHHELD = "not part of this view of the report, or nothing to report"


def why_absent(material: Material, code: str) -> str:
    """Why a section is not in the report, from what the protocol asks for; "" where there is no more to say."""
    if not speaks(material):
        return _WITHHELD
    p = material.protocol
    a = p.analyses
    repeated = a.variance_components is not None
    nothing = "asked for, and nothing was found to show"
    reasons = {
        "R13": "a reader study has its results in section 23" if p.readers is not None else "",
        "R15": "calibration was not estimated",
        "R17": nothing if a.failures is not None else "the protocol asks for no failure analysis (analyses.failures)",
        "R18": nothing if a.bias is not None else "the protocol asks for no analysis of bias (analyses.bias)",
        "R19": nothing if a.robustness is not None else "the protocol asks for no robustness (analyses.robustness)",
        "R20": "the spread of repeated acquisitions is in section 14"
        if repeated
        else "no repeated acquisitions were analysed; section 28 says whether a batch was run twice",
        "R21": nothing
        if a.interpretability is not None
        else "the protocol asks for nothing of what answers depend on (analyses.interpretability)",
        "R22": "the protocol compares with no other version or predicate",
        "R23": "no reader study was performed: nothing here is evidence of readers aided by the device",
        "R24": "this is no drift audit" if p.kind != "drift_audit" else "",
    }
    return reasons.get(code, "")


def in_order(material: Material, sections: Iterable[Section]) -> tuple[Section, ...]:
    """Sections with what the study description adds, in the order of contents, numbered by it.

    Two sections of one number are 13.1 and 13.2. A section that only a person can fill is made where the description
    says anything of it.
    """
    given = sorted(sections, key=lambda s: s.code)
    codes = [s.code for s in given]
    made: list[Section] = []
    for code, anchor, title in ORDER:
        own = [s for s in given if s.code == code]
        added = tuple(study_blocks(material, code))
        if own:
            made += [replace(own[0], blocks=(*own[0].blocks, *added)), *own[1:]]
        elif (code == "R00" and speaks(material)) or has_content(material, code):
            lead = _lead(material, code)
            made.append(Section(id=anchor, number="", title=title, code=code, blocks=(*lead, *added)))
    assert set(codes) <= {code for code, *_ in ORDER}
    return tuple(_numbered(made))


def _lead(material: Material, code: str) -> tuple[Block, ...]:
    """What a section of a person's words alone begins with."""
    if code == "R00":
        return (Facts(items=tuple(study_status(material))),)
    absent = why_absent(material, code)
    why = f" ({absent})" if absent else ""
    return (Prose(paragraphs=(f"Stated by the sponsor in the study description; not evidence of this run{why}.",)),)


def _numbered(sections: list[Section]) -> Iterable[Section]:
    for section in sections:
        same = [s for s in sections if s.code == section.code]
        number = str(int(section.code[1:]))
        yield replace(section, number=number if len(same) == 1 else f"{number}.{same.index(section) + 1}")


def absent_sections(material: Material, present: Iterable[str]) -> Table | None:
    """Sections of the order of contents that this report does not have, and why."""
    there = {"R01", "R33", *present}
    rows = []
    for code, _, title in ORDER:
        if code in there or has_content(material, code):
            continue
        reasons = [r for r in (why_absent(material, code),) if r]
        left = open_facts(material, code) if speaks(material) else ()
        if left:
            reasons.append(f"not stated in study.yaml: {'; '.join(f.words for f in left)}")
        rows.append(
            Row(cells=(Cell(text=str(int(code[1:])), kind="head"), Cell(text=title), Cell(text=_said(reasons))))
        )
    if not rows:
        return None
    return Table(
        label="",
        caption="Not in this report, and why",
        columns=(Column(title="No.", width=8), Column(title="Section", width=34), Column(title="Why")),
        rows=tuple(rows),
        notes=("Section numbers are the same in every report; those missing are listed here.",),
        compact=True,
        source="record.json",
    )


def _said(reasons: list[str]) -> str:
    text = "; ".join(reasons) or "nothing to report"
    return text[:1].upper() + text[1:] + "."
