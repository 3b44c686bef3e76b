"""The study description: what only a person knows about a study, asked for by the sections of the report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from evalsuite.protocol.blocks import Block
from evalsuite.protocol.study_blocks import (
    Anomaly,
    Deviation,
    Exclusion,
    Person,
    ReleasedDifference,
    Revision,
    Risk,
    Site,
    TestedVersion,
    Text,
    Truther,
    UnavailableAttribute,
)

STUDY_SCHEMA = "evalsuite/study/1"


class Report(Block):
    """R00, the document: who made it for whom."""

    purpose: Text = Field(
        default="", description="what it is for: release, submission, regression under a change plan, periodic audit"
    )
    version: Text = Field(default="", description="version of the report")
    sponsor: Text = Field(default="", description="sponsor or manufacturer")
    test_laboratory: Text = Field(default="", description="who carried out the evaluation")
    authors: Text = Field(default="", description="authors")
    confidentiality: Text = Field(default="", description="who may read it")
    funding: Text = Field(default="", description="funding, and the funder's part in the study")
    conflicts_of_interest: Text = Field(
        default="", description="conflicts of interest; write none where there are none"
    )
    distribution: list[Text] | None = Field(default=None, description="who gets it")
    revisions: list[Revision] | None = Field(default=None, description="its versions, oldest first")


class Use(Block):
    """R02, clinical context beyond the protocol's intended use."""

    background: Text = Field(default="", description="clinical background and rationale")
    reading_paradigm: Text = Field(default="", description="concurrent reader, second reader, triage, no reader")
    pathway: Text = Field(default="", description="place in the care pathway, and what follows from an output")
    false_negative: Text = Field(default="", description="consequence of a false negative")
    false_positive: Text = Field(default="", description="consequence of a false positive")
    user_interaction: Text = Field(default="", description="user interface, training and expertise users need")
    regulation: Text = Field(default="", description="regulatory class, product code, regulation number")
    predicate: Text = Field(default="", description="predicate or reference device; write none where there is none")
    patient_involvement: Text = Field(default="", description="involvement of patients and the public")


class Device(Block):
    """R03, the device and how it was made."""

    trade_name: Text = Field(default="", description="trade name")
    version: Text = Field(default="", description="software and model version as released")
    udi_di: Text = Field(default="", description="UDI-DI")
    forms: Text = Field(default="", description="how it is placed on the market: installation, cloud, in a scanner")
    architecture: Text = Field(default="", description="architecture, inputs, features, parameters")
    training: Text = Field(
        default="", description="training: data, method, initialisation, pre-trained parts, augmentation"
    )
    training_cutoff: Text = Field(default="", description="last day of the training data")
    selection: Text = Field(default="", description="how the final model was selected; ensembles")
    preprocessing: Text = Field(default="", description="pre- and post-processing, with the commit of its code")
    input_quality: Text = Field(default="", description="which inputs it accepts, and what happens to others")
    change_plan: Text = Field(default="", description="predetermined changes; write none where there are none")
    tested_vs_released: list[ReleasedDifference] | None = Field(
        default=None, description="differences between the tested and the released version; [] where there are none"
    )
    history: list[TestedVersion] | None = Field(
        default=None, description="versions tested before; [] where there are none"
    )


class Design(Block):
    """R04, design and conduct."""

    collection: Literal["", "prospective", "retrospective", "both"] = Field(
        default="", description="prospective, retrospective or both"
    )
    objectives: Text = Field(default="", description="objectives")
    hypotheses: Text = Field(default="", description="null and alternative hypotheses")
    registration: Text = Field(default="", description="study registration; write none where there is none")
    protocol_access: Text = Field(default="", description="where the full protocol can be read")
    masking: Text = Field(
        default="", description="masking of device and reference, readers and reference, developers and test data"
    )
    repeated_runs: Text = Field(default="", description="repeated runs and why; write none where there are none")
    deviations: list[Deviation] | None = Field(
        default=None, description="deviations from the protocol; [] where there are none"
    )


class Dataset(Block):
    """R05, where the cases come from."""

    sources: Text = Field(default="", description="source of the data, and whether it is fit for the purpose")
    sites: list[Site] | None = Field(default=None, description="sites")
    dates: Text = Field(default="", description="first and last acquisition")
    inclusion: Text = Field(default="", description="inclusion criteria")
    exclusion: Text = Field(default="", description="exclusion criteria")
    sampling: Text = Field(default="", description="consecutive, random, convenience or enriched, and how it was drawn")
    enrichment: Text = Field(
        default="",
        description="enrichment rule, which must not depend on the device's output; none where there is none",
    )
    acquisition: Text = Field(default="", description="acquisition protocols, equipment, operators, conditions of use")
    ethics: Text = Field(default="", description="ethics approval and consent")
    deidentification: Text = Field(default="", description="how the data were de-identified")
    synthetic: Text = Field(default="", description="synthetic data; write none where there are none")
    cleaning: Text = Field(
        default="", description="cleaning and pre-processing, and whether they equal the deployed ones"
    )
    treatments: Text = Field(default="", description="treatments received before imaging, where they matter")
    quality_control: Text = Field(default="", description="quality control of the data, and of human error")
    storage: Text = Field(default="", description="storage, version control, security")
    limitations: Text = Field(default="", description="limitations of the data")


class Participants(Block):
    """R06, from the people identified to the cases locked."""

    identified: Annotated[int, Field(ge=0)] | None = Field(default=None, description="cases identified")
    eligible: Annotated[int, Field(ge=0)] | None = Field(default=None, description="of these eligible")
    excluded: list[Exclusion] | None = Field(
        default=None, description="excluded before locking, by reason; [] for none"
    )


class Demographics(Block):
    """R07, the patients."""

    characteristics: Text = Field(default="", description="age, sex, race, ethnicity, height, weight, as far as known")
    disease: Text = Field(default="", description="severity, stage, size and type of the disease")
    alternatives: Text = Field(default="", description="other diagnoses among cases without the condition")
    development_set: Text = Field(default="", description="how the development data differ")
    target_population: Text = Field(default="", description="how the intended population differs, with its prevalence")
    diversity: Text = Field(default="", description="what was done to enrol diverse patients")
    comparability: Text = Field(
        default="", description="why data from other countries carry over; none where there are none"
    )
    unavailable: list[UnavailableAttribute] | None = Field(
        default=None, description="characteristics that are not available; [] where all are"
    )


class ReferenceStandard(Block):
    """R08, how the reference standard was made."""

    definition: Text = Field(default="", description="definition, with its cut-offs")
    type: Text = Field(
        default="", description="pathology, follow-up, other device, laboratory, expert panel, composite"
    )
    rationale: Text = Field(default="", description="why this one, and its limits")
    fixed_before: Text = Field(default="", description="when the procedure was fixed, before the evaluation")
    truthers: list[Truther] | None = Field(default=None, description="who made it")
    information: Text = Field(default="", description="what they saw, and what was hidden, the device's output first")
    instructions: Text = Field(default="", description="instructions and training")
    combination: Text = Field(default="", description="how readings are combined, and disagreements adjudicated")
    variability: Text = Field(
        default="", description="agreement between and within truthers, and whether it is acceptable"
    )
    equivocal: Text = Field(default="", description="what is done with equivocal and missing results")
    scoring_rule: Text = Field(default="", description="when an output counts as correct (overlap, distance), and why")
    interval: Text = Field(default="", description="time between index test and reference standard")
    quality_control: Text = Field(
        default="", description="quality control of annotations, and what is done with wrong ones"
    )


class Independence(Block):
    """R09, how the test set was kept apart."""

    partitions: Text = Field(
        default="", description="how training, tuning and test data were divided, and how each was used"
    )
    level: Text = Field(default="", description="level at which they are disjoint: patient, site, time")
    external: Text = Field(default="", description="why the test set is external to development")
    sequestration: Text = Field(default="", description="what keeps developers from the test data, now and later")
    leakage: Text = Field(default="", description="checks for leakage against the development data, and their result")
    earlier_uses: Text = Field(
        default="", description="uses outside this test set's ledger; write none where there are none"
    )
    draw: Text = Field(
        default="", description="how the set was drawn from a larger, growing pool; which data are retired"
    )


class Analysis(Block):
    """R10 and R11, reasons for size, metrics and goals."""

    sample_size: Text = Field(
        default="", description="justification of the number of cases, and of readers where there are any"
    )
    subgroup_size: Text = Field(
        default="", description="policy for the size of subgroups, and which claims are powered"
    )
    metrics: Text = Field(default="", description="why these metrics suit the device")
    clinical_basis: Text = Field(default="", description="clinical justification of the acceptance criteria")
    assumptions: Text = Field(
        default="", description="assumptions of the methods, how they were checked, and fall-backs"
    )


class Fairness(Block):
    """R18, equity."""

    inequalities: Text = Field(default="", description="known health inequalities between groups")
    approach: Text = Field(default="", description="how fairness was examined, and why so")
    interpretation: Text = Field(default="", description="what the differences found mean")


class Robustness(Block):
    """R19 to R21, beyond the images of the test set."""

    equipment: Text = Field(default="", description="equipment and protocols that were tested, by name")
    foreseeable_changes: Text = Field(
        default="", description="foreseeable changes of the input, and how they were examined"
    )
    precision: Text = Field(
        default="", description="repeatability and reproducibility: operators, cameras, repeated scans"
    )
    explanations: Text = Field(
        default="", description="explanations shown to users, method and limits; none where there are none"
    )


class Readers(Block):
    """R23, people with and without the device."""

    evidence: Text = Field(
        default="", description="evidence of the performance of users with the device, and where it is"
    )
    qualification: Text = Field(default="", description="qualification and selection of readers")
    training: Text = Field(default="", description="training of readers, on cases outside the test set")
    design: Text = Field(default="", description="arms, reading scenario, washout, randomisation")


class Monitoring(Block):
    """R24, after release."""

    plan: Text = Field(
        default="", description="monitoring plan: what is watched, how, how often, with which thresholds"
    )
    causes: Text = Field(
        default="", description="causes that are watched: population, input, integrity, users, subgroups"
    )
    response: Text = Field(default="", description="response to a deficiency, updates, roll-back criteria")
    incidents: Text = Field(default="", description="tracking of adverse events and misdiagnoses")
    communication: Text = Field(default="", description="how users hear of results")


class Conclusions(Block):
    """R25, limits and labelling."""

    limitations: list[Text] | None = Field(default=None, description="limitations that the evidence itself cannot show")
    bias: Text = Field(default="", description="sources of bias: selection, spectrum, verification, reference, context")
    implications: Text = Field(default="", description="implications for practice, and next steps")
    compatible_equipment: Text = Field(default="", description="for the labelling: tested and compatible equipment")
    failure_conditions: Text = Field(default="", description="for the labelling: known conditions in which it fails")
    instructions_for_use: Text = Field(default="", description="where the instructions for use state these results")


class Security(Block):
    """R27, system and cybersecurity."""

    requirements: Text = Field(default="", description="hardware and software it is meant to run on, and interfaces")
    cybersecurity: Text = Field(
        default="", description="cybersecurity evidence: threats, testing, support of components"
    )


class Availability(Block):
    """R28 and R29, what others can obtain, and how long records are kept."""

    data: Text = Field(default="", description="availability of the data")
    code_and_model: Text = Field(default="", description="availability of code and model")
    rerun: Text = Field(
        default="", description="independent rerun: by whom, with which result; none where there was none"
    )
    retention: Text = Field(default="", description="how long, where and by whom records are kept")


class Tool(Block):
    """R30, evalsuite in this organisation."""

    validation: Text = Field(default="", description="validation of evalsuite here: record, date, who approved it")
    procedures: Text = Field(default="", description="procedures on access, accountability and signatures")


class StudyDescription(Block):
    """A whole study description (study.yaml). An empty field is listed in the report as an open item."""

    schema_: Literal["evalsuite/study/1"] = Field(alias="schema", description="version of this file format")
    protocol: str = Field(min_length=1, description="id of the protocol it belongs to")
    report: Report = Field(default=Report(), description="the document")
    use: Use = Field(default=Use(), description="clinical context")
    device: Device = Field(default=Device(), description="the device")
    design: Design = Field(default=Design(), description="design and conduct")
    dataset: Dataset = Field(default=Dataset(), description="where the cases come from")
    participants: Participants = Field(default=Participants(), description="from people identified to cases locked")
    demographics: Demographics = Field(default=Demographics(), description="the patients")
    reference_standard: ReferenceStandard = Field(default=ReferenceStandard(), description="how the truth was made")
    independence: Independence = Field(default=Independence(), description="how the test set was kept apart")
    analysis: Analysis = Field(default=Analysis(), description="reasons for size, metrics and goals")
    fairness: Fairness = Field(default=Fairness(), description="equity")
    robustness: Robustness = Field(default=Robustness(), description="beyond the images of the test set")
    readers: Readers = Field(default=Readers(), description="people with and without the device")
    monitoring: Monitoring = Field(default=Monitoring(), description="after release")
    conclusions: Conclusions = Field(default=Conclusions(), description="limits and labelling")
    risks: list[Risk] | None = Field(default=None, description="hazards and the endpoints that show their control")
    security: Security = Field(default=Security(), description="system and cybersecurity")
    availability: Availability = Field(default=Availability(), description="what others can obtain")
    tool: Tool = Field(default=Tool(), description="evalsuite in this organisation")
    anomalies: list[Anomaly] | None = Field(
        default=None, description="known defects that are not resolved; [] where there are none"
    )
    approvers: list[Person] | None = Field(default=None, description="who answers for the report")
    checklists: list[str] = Field(
        default_factory=list, description="reporting checklists to print in the report (evalsuite list checklists)"
    )
    not_applicable: dict[str, Annotated[str, Field(min_length=3, max_length=500)]] = Field(
        default_factory=dict,
        description="what does not apply, and why: a field of this file (`device.udi_di`) or an item of a checklist "
        "(`claim2024 31`)",
    )

    model_config = ConfigDict(
        frozen=True, extra="forbid", str_strip_whitespace=True, allow_inf_nan=False, populate_by_name=True
    )
