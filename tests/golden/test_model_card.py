"""The model card: after its schema, open where nobody stated anything, and with no figure that the evidence lacks."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from io import BytesIO
from typing import Any

import pikepdf
import pytest
from factory import Study, study
from factory_odd import ODD

from evalsuite.report.attachments import attachments, custom_entries
from evalsuite.report.dossier import build_model_card
from evalsuite.report.model_card import OPEN
from evalsuite.report.model_card_files import LONGEST, NAMESPACE, chai_xml, markdown
from evalsuite.report.pdf import make_pdf

# https://github.com/coalition-for-health-ai/mc-schema, v0.2/schema.xsd: the sequence of each element; "?" is optional.
_METRIC = "MetricGoal Results Interpretation TestType TestingDataDescription ValidationProcessAndJustification"
SCHEMA = {
    "AppliedModelCard": "BasicInfo ReleaseInfo ModelSummary UsesAndDirections Warnings TrustIngredients KeyMetrics "
    "Resources Bibliography",
    "BasicInfo": "ModelName ModelDeveloper DeveloperContact",
    "ReleaseInfo": "ReleaseStage ReleaseDate ReleaseVersion GlobalAvailability EHRCompatibility? RegulatoryApproval?",
    "ModelSummary": "Summary Keywords",
    "Keywords": "",
    "UsesAndDirections": "IntendedUseAndWorkflow PrimaryIntendedUsers HowToUse TargetedPatientPopulation "
    "CautionedOutOfScopeSettings",
    "Warnings": "KnownRisksAndLimitations KnownBiasesOrEthicalConsiderations ClinicalRiskLevel",
    "TrustIngredients": "AISystemFacts TransparencyInformation",
    "AISystemFacts": "OutcomesAndOutputs ModelType FoundationModels? InputDataSource OutputAndInputDataTypes "
    "DevelopmentDataCharacterization BiasMitigationApproaches OngoingMaintenance Security? Transparency?",
    "TransparencyInformation": "FundingSource ThirdPartyInformation? StakeholdersConsulted",
    "KeyMetrics": "UsefulnessUsabilityEfficacy FairnessEquity SafetyReliability",
    "UsefulnessUsabilityEfficacy": _METRIC,
    "FairnessEquity": _METRIC,
    "SafetyReliability": _METRIC,
    "MetricResult": "Label ValueJson",
    "Resources": "EvaluationReferences? ClinicalTrial? PeerReviewedPublications ReimbursementStatus? "
    "PatientConsentOrDisclosure",
}


def _name(element: ElementTree.Element) -> str:
    assert element.tag.startswith(f"{{{NAMESPACE}}}")
    return element.tag.partition("}")[2]


def _require_valid(element: ElementTree.Element) -> None:
    name, kids = _name(element), [_name(k) for k in element]
    if name == "Results":
        assert kids
        assert set(kids) == {"MetricResult"}
    else:
        wanted = SCHEMA.get(name, "").split()
        required = [w for w in wanted if not w.endswith("?")]
        assert [k for k in kids if k in required] == required, name
        assert kids == [w.rstrip("?") for w in wanted if w.rstrip("?") in kids], name
    for kid in element:
        _require_valid(kid)


@pytest.mark.parametrize("name", ["final", "draft", *ODD])
def test_every_card_is_after_the_schema(name: str) -> None:
    s = study() if name == "final" else study(frozen=False, complete=False) if name == "draft" else ODD[name]()
    data = chai_xml(build_model_card(**s.arguments()))
    assert data.isascii()
    assert len(data) <= LONGEST
    _require_valid(ElementTree.fromstring(data))


def _with(s: Study, stated: dict[str, Any]) -> Study:
    return replace(s, record={**s.record, "study": {"stated": stated}})


def test_what_nobody_stated_is_open_and_what_somebody_stated_is_there() -> None:
    plain = build_model_card(**study(complete=False).arguments())
    assert {"Developer", "Contact of the developer", "Clinical risk level", "Intended users"} <= set(plain.open_items)
    assert OPEN in chai_xml(plain).decode()
    text = markdown(plain)
    assert all(f"- {item}" in text for item in plain.open_items)
    says = {"report": {"sponsor": "Phantom Devices"}, "device": {"trade_name": "Phantomatic", "version": "2.1"}}
    card = build_model_card(**_with(study(), says).arguments())
    assert card.name == "Phantomatic"
    assert not {"Developer", "Version released", "Intended users"} & set(card.open_items)
    assert "**Developer:** Phantom Devices." in markdown(card)


def test_every_figure_is_one_of_the_evidence() -> None:
    s = study()
    known = {(f.estimate.value, f.estimate.low, f.estimate.high) for f in s.evidence.findings}
    counts = {sum(a.n for a in s.evidence.accounting if not a.stratum and a.status == k)
              for k in ("rejected", "failed", "indeterminate")}  # fmt: skip
    root = ElementTree.fromstring(chai_xml(build_model_card(**s.arguments())))
    values = [json.loads(str(v.text)) for v in root.iter(f"{{{NAMESPACE}}}ValueJson")]
    assert len(values) > 20
    for v in values:
        if v["kind"] == "estimate_ci":
            assert (v["estimate"], v["lower"], v["upper"]) in known
            assert v["level"] == 95
        else:
            assert v["value"] in counts


def test_a_card_of_what_is_no_evidence_says_so_first() -> None:
    text = markdown(build_model_card(**study(frozen=False).arguments()))
    assert text.splitlines()[2].startswith("**Not evidence: the protocol is not frozen")
    assert "Not evidence" in chai_xml(build_model_card(**study(frozen=False).arguments())).decode()
    assert "Not evidence" not in markdown(build_model_card(**study().arguments()))


def test_hostile_texts_stay_texts_in_markdown() -> None:
    text = markdown(build_model_card(**ODD["hostile"]().arguments()))
    assert not re.search(r"(?<!\\)(<|\[|\]\(|!\[|`)|(?<!\\)://", text)
    assert not {"\u202e", "\x00", "\x1b"} & set(text)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.replace("\\|", "").count("|") == 3 for line in rows)


def test_programs_find_the_card_in_the_document_information() -> None:
    s = study(few=True)
    card = build_model_card(**s.arguments())
    files = attachments(s.protocol, s.evidence, s.verdict, s.record, None, card)
    html = '<!DOCTYPE html><html lang="en"><head><title>t</title></head><body><p>x</p></body></html>'
    data = make_pdf(html, attachments=files, identifier=b"x", created="", custom=custom_entries(files, s.record))
    with pikepdf.open(BytesIO(data)) as pdf:
        assert str(pdf.docinfo["/chaiMcXml"]).encode() == chai_xml(card)
        assert str(pdf.docinfo["/chaiMcSoftwareId"]) == "evalsuite 0.1.0"
        assert pdf.attachments["model-card.xml"].get_file().read_bytes() == chai_xml(card)
