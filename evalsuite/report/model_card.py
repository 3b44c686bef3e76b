"""The model card: what run and study description say of a device, field by field; what nobody stated is open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalsuite.report.facts import stated
from evalsuite.report.format import OUTCOME_WORDS, format_count, format_estimate, format_stratum
from evalsuite.report.judged import conclusion, criterion_words, ranked
from evalsuite.report.material import Material, metric_title, question
from evalsuite.report.sections_record import limitation_statements
from evalsuite.report.sections_strata import worst_groups
from evalsuite.report.text import clean, given, sentence
from evalsuite.types import Finding

#: What stands in a field that only the manufacturer can fill, and that is empty.
OPEN = "Open item: not stated."
_MOST_RESULTS, _MOST_GROUPS = 16, 24


@dataclass(frozen=True, slots=True, kw_only=True)
class CardField:
    """One field: its place in the CHAI card, its title for people, and its text; None where it is open.

    `optional` fields of the CHAI card are left out where they are open, and are no open item.
    """

    path: str
    title: str
    text: str | None
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A measured figure: in words, and its finding; a count has no finding."""

    label: str
    words: str
    finding: Finding | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMetric:
    """One of the card's three groups of figures, with what was asked and what it means."""

    path: str
    title: str
    goal: str
    results: tuple[Measured, ...]
    interpretation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """A card, ready to be written. `warning` says of which copy it is, and that it is no evidence."""

    name: str
    warning: str | None
    fields: tuple[CardField, ...]
    metrics: tuple[KeyMetric, ...]
    test_type: str
    test_data: str
    validation: str

    @property
    def open_items(self) -> tuple[str, ...]:
        """Titles of the fields that nobody filled."""
        return tuple(f.title for f in self.fields if f.text is None and not f.optional)


def model_card(material: Material, *, report_id: str, kind: str) -> ModelCard:
    """The card of a run. A pure function of the report's material: nothing is invented, and nothing computed."""
    m = material
    rule = m.protocol.decision_rule.replace("_", " ")
    frozen = "frozen before the run" if m.recorded("protocol.frozen") is not None else "not frozen before the run"
    validation = (
        f"Protocol {m.protocol.id} {m.protocol.version}, {frozen}; decision rule: {rule}. "
        f"Evaluation report {report_id}, evidence SHA-256 {m.verdict.evidence_digest}."
    )
    said = [f"Not evidence: {clean(r, longest=200)}" for r in m.verdict.not_evidence_because]
    said = said or ([] if m.verdict.evidence else ["Not evidence"])
    if (view := m.recorded("view")) is not None:
        said.insert(0, clean(view, longest=200).capitalize())
    warning = " ".join(sentence(s) for s in said) or None
    validation = f"{warning} {validation}" if warning else validation
    return ModelCard(
        name=_name(m),
        warning=warning,
        fields=tuple(_fields(m, report_id)),
        metrics=(_usefulness(m), _fairness(m), _safety(m)),
        test_type=kind,
        test_data=_clean(_test_data(m)),
        validation=_clean(validation),
    )


def _clean(text: str) -> str:
    return clean(text, longest=600)


def _name(m: Material) -> str:
    says = stated(m).get("device", {})
    trade = says.get("trade_name") if isinstance(says, Mapping) else None
    return _clean(str(trade)) if trade else _clean(given(m.evidence.model.get("name"), m.text("model.name")))


def _said(m: Material, *paths: str) -> str | None:
    """What the study description (`a.b`) or the protocol's intended use (`use:a`) says, joined; None where nothing."""
    parts = []
    for path in paths:
        if path.startswith("use:"):
            value: Any = getattr(m.protocol.intended_use, path[4:])
        else:
            block, _, name = path.partition(".")
            found = stated(m).get(block, {})
            value = found.get(name) if isinstance(found, Mapping) else None
        if isinstance(value, list | tuple):
            value = " ".join(sentence(str(v)) for v in value if isinstance(v, str))
        if value and str(value).strip():
            parts.append(sentence(str(value)))
    return _clean(" ".join(parts)) if parts else None


def _fields(m: Material, report_id: str) -> Iterator[CardField]:
    def field(path: str, title: str, text: str | None, *, optional: bool = False) -> CardField:
        return CardField(path=path, title=title, text=text, optional=optional)

    biases = [*(s for s in (_said(m, "conclusions.bias", "fairness.interpretation"),) if s)]
    biases += [f"Least favourable group: {w}." for w in worst_groups(m, 2)]
    limits = [*(s for s in (_said(m, "conclusions.limitations"),) if s), *limitation_statements(m)]
    yield field("BasicInfo/ModelName", "Model name", _name(m))
    yield field("BasicInfo/ModelDeveloper", "Developer", _said(m, "report.sponsor"))
    yield field("BasicInfo/DeveloperContact", "Contact of the developer", None)
    yield field("ReleaseInfo/ReleaseStage", "Release stage", None)
    yield field("ReleaseInfo/ReleaseDate", "Release date", None)
    yield field("ReleaseInfo/ReleaseVersion", "Version released", _said(m, "device.version"))
    yield field("ReleaseInfo/GlobalAvailability", "Availability", None)
    yield field("ReleaseInfo/RegulatoryApproval", "Regulation", _said(m, "use.regulation"), optional=True)
    yield field("ModelSummary/Summary", "Summary", _clean(f"{sentence(m.protocol.title)} {conclusion(m)}"))
    use = "UsesAndDirections"
    yield field(
        f"{use}/IntendedUseAndWorkflow", "Intended use", _said(m, "use:indications", "use:setting", "use.pathway")
    )
    yield field(f"{use}/PrimaryIntendedUsers", "Intended users", _said(m, "use:users"))
    yield field(f"{use}/HowToUse", "How to use it", _said(m, "use.reading_paradigm", "use.user_interaction"))
    yield field(f"{use}/TargetedPatientPopulation", "Patients", _said(m, "use:population"))
    yield field(f"{use}/CautionedOutOfScopeSettings", "Not to be used", _said(m, "use:contraindications"))
    yield field(
        "Warnings/KnownRisksAndLimitations", "Known risks and limitations", clean(" ".join(limits), longest=1500)
    )
    yield field(
        "Warnings/KnownBiasesOrEthicalConsiderations", "Known biases", _clean(" ".join(biases)) if biases else None
    )
    yield field("Warnings/ClinicalRiskLevel", "Clinical risk level", None)
    facts = "TrustIngredients/AISystemFacts"
    yield field(f"{facts}/OutcomesAndOutputs", "Outcomes and outputs", _said(m, "use:outputs"))
    yield field(f"{facts}/ModelType", "Model type", _said(m, "device.architecture"))
    yield field(f"{facts}/InputDataSource", "Source of input data", _said(m, "dataset.sources"))
    yield field(f"{facts}/OutputAndInputDataTypes", "Input and output types", _said(m, "use:inputs", "use:outputs"))
    yield field(f"{facts}/DevelopmentDataCharacterization", "Development data", _said(m, "device.training"))
    yield field(f"{facts}/BiasMitigationApproaches", "Mitigation of bias", _said(m, "fairness.approach"))
    yield field(f"{facts}/OngoingMaintenance", "Maintenance and monitoring", _said(m, "monitoring.plan"))
    yield field(f"{facts}/Security", "Security", _said(m, "security.cybersecurity"), optional=True)
    yield field(f"{facts}/Transparency", "Transparency", _said(m, "availability.code_and_model"), optional=True)
    about = "TrustIngredients/TransparencyInformation"
    yield field(f"{about}/FundingSource", "Funding", _said(m, "report.funding"))
    yield field(f"{about}/StakeholdersConsulted", "Stakeholders consulted", _said(m, "use.patient_involvement"))
    reference = f"Evaluation report {report_id}; evidence SHA-256 {m.verdict.evidence_digest}."
    yield field("Resources/EvaluationReferences", "Evaluation", reference, optional=True)
    yield field("Resources/PeerReviewedPublications", "Peer-reviewed publications", None)
    yield field("Resources/PatientConsentOrDisclosure", "Patient consent or disclosure", _said(m, "dataset.ethics"))


def _test_data(m: Material) -> str:
    patients = m.recorded("testset.n_patients")
    of = f" of {format_count(patients)} patients" if isinstance(patients, int) else ""
    cases = format_count(m.n_cases) if m.n_cases is not None else "an unknown number of"
    says = _said(m, "dataset.sources", "dataset.sampling") or ""
    return f"Locked test set {m.set_name}: {cases} cases{of}. {says}".strip()


def _measured(found: Sequence[Finding], *, most: int) -> tuple[Measured, ...]:
    chosen = []
    for f in found[:most]:
        label = question(f, several_points=True)
        if f.stratum:
            label += f", {format_stratum(f.stratum)}"
        chosen.append(Measured(label=_clean(label), words=_clean(format_estimate(f.metric, f.estimate)), finding=f))
    # Endpoints judged in different groups have the same figure of the whole set: it is told once.
    return tuple({(one.label, one.words): one for one in reversed(chosen)}.values())[::-1]


def _usefulness(m: Material) -> KeyMetric:
    asked = [
        f"{metric_title(c.metric)}: {criterion_words(c)}" for c in ranked(m) if c.role == "primary" and not c.stratum
    ]
    judged = [
        f"{clean(c.endpoint, longest=60)}: {OUTCOME_WORDS[c.outcome].lower()}" for c in ranked(m) if not c.stratum
    ]
    names = [e.name for e in m.protocol.endpoints if not e.stratum]
    found = [f for _, f in m.findings(overall=True) if f.endpoint in names and f.condition is None]
    return KeyMetric(
        path="UsefulnessUsabilityEfficacy",
        title="Performance",
        goal=_clean("; ".join(asked)) or OPEN,
        results=_measured(found, most=_MOST_RESULTS),
        interpretation=_clean(f"{conclusion(m)} {'; '.join(judged)}."),
    )


def _fairness(m: Material) -> KeyMetric:
    primary = {e.name for e in m.protocol.endpoints if e.role == "primary" and not e.stratum}
    found = [
        f
        for _, f in m.findings(overall=False)
        if f.endpoint in primary and f.condition is None and len(f.stratum) == 1 and f.estimate.value is not None
    ]
    groups = ", ".join(clean(s.name, longest=40) for s in m.protocol.strata if s.cross is None)
    worst = worst_groups(m, 3)
    return KeyMetric(
        path="FairnessEquity",
        title="Groups",
        goal=_clean(f"Performance by {groups}.") if groups else "No groups were declared.",
        results=_measured(found, most=_MOST_GROUPS),
        interpretation=_clean("Least favourable: " + "; ".join(worst) + ".") if worst else "No assessable group.",
    )


def _safety(m: Material) -> KeyMetric:
    names = (("rejected", "rejected by its input check"), ("failed", "failed"), ("indeterminate", "without a result"))
    counted = tuple(
        Measured(label=f"Cases {words}", words=format_count(m.count(status=s)), count=m.count(status=s))
        for s, words in names
    )
    lost = sum(m.count(status=s) for s, _ in names)
    calibrated = [f for _, f in m.findings(overall=True, analysis="calibration") if f.condition is None]
    return KeyMetric(
        path="SafetyReliability",
        title="Reliability",
        goal="Every case gets an output; probabilities agree with what was observed, where they were examined.",
        results=(*counted, *_measured(calibrated, most=6)),
        interpretation=f"{format_count(lost)} of {format_count(m.count())} cases had no usable output.",
    )
