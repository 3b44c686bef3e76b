"""The study protocol: what was decided before anyone looked. Pydantic models, frozen, every unknown key refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from evalsuite.protocol.bias_block import Bias
from evalsuite.protocol.blocks import Block, Change, GroupDifferences, LinearityStudy, Name, TruthPanel, VarianceSources
from evalsuite.protocol.drift import Drift
from evalsuite.protocol.failures import Failures, Slices, ThresholdWhatIf
from evalsuite.protocol.interpretability import Interpretability
from evalsuite.protocol.lesion_blocks import EmptyMasks, LesionStratum, Matching, ReferenceFile
from evalsuite.protocol.modification import Modification
from evalsuite.protocol.planning import Plan
from evalsuite.protocol.readers import ReaderStudy
from evalsuite.protocol.robustness import Robustness
from evalsuite.protocol.triage import Triage
from evalsuite.protocol.uncertainty import Uncertainty

PROTOCOL_SCHEMA = "evalsuite/protocol/1"

Probability = Annotated[float, Field(gt=0.0, lt=1.0)]
Kind = Literal["standalone", "comparison", "reader_study", "drift_audit", "site_acceptance"]
TaskKind = Literal["binary", "multiclass", "multilabel", "ordinal", "regression", "segmentation", "detection"]
ProportionInterval = Literal["clopper-pearson", "wilson", "agresti-coull", "jeffreys"]
AurocInterval = Literal["delong", "logit-delong", "newcombe"]
BootstrapInterval = Literal["percentile", "basic", "bca"]
MissingPolicy = Literal["worst_case", "exclude", "as_negative", "as_positive"]
MissingReferencePolicy = Literal["worst_case", "tipping_point", "exclude"]


class IntendedUse(Block):
    """What the device is for, in the manufacturer's words; empty fields are listed in the report as open items."""

    indications: str = Field(default="", description="condition and purpose the device is for")
    population: str = Field(default="", description="patients it is meant for")
    users: str = Field(default="", description="who uses it")
    setting: str = Field(default="", description="where in care it is used")
    autonomy: str = Field(default="", description="CADt, CADe, CADx, CADe/x, quantification or autonomous")
    inputs: str = Field(default="", description="images and data it reads")
    outputs: str = Field(default="", description="what it shows or reports")
    contraindications: str = Field(default="", description="where it must not be used")


class Task(Block):
    """What is decided per case, against which column of the case table, from which output of the model."""

    kind: TaskKind = Field(description="what kind of answer the device gives")
    reference: str | list[str] = Field(description="column(s) of the case table that hold the reference standard")
    positive: int | float | str | bool | list[int | float | str] = Field(
        default=1, description="value(s) of the reference that mean: target condition present"
    )
    negative: list[int | float | str] | None = Field(
        default=None, description="value(s) that mean: target condition absent; any other value is then an error"
    )
    score: str | list[str] = Field(
        description="model output, a list of outputs, or an expression of them, e.g. p_mel + p_bcc + p_akiec; with "
        "several classes or labels one output for each, in their order; for grades that, or the predicted grade alone"
    )
    classes: list[str] | None = Field(
        default=None,
        description="the reference's values, in the order of `score`; for grades from the lowest to the highest; in a "
        "segmentation the structures",
    )
    probability: bool = Field(
        default=True, description="whether the score is a probability; calibration is estimated only if it is"
    )
    reference_is: Literal["reference_standard", "comparator"] = Field(
        default="reference_standard",
        description="comparator: what the device is compared with is no reference standard, so that agreement (PPA, "
        "NPA) is estimated, not sensitivity",
    )
    reference_file: ReferenceFile | None = Field(
        default=None, description="regression: the reference column names files, and this says what is read from them"
    )
    matching: Matching | None = Field(
        default=None, description="detection: when a mark counts as having found a lesion; required there"
    )
    labels: list[Annotated[int, Field(ge=1, le=255)]] | None = Field(
        default=None,
        description="segmentation: values of `classes` in the mask files; 1, 2, … unless stated, with one structure "
        "whatever is not 0",
    )
    second_reader: str | None = Field(
        default=None,
        description="segmentation: column that names another expert's masks of the same cases; their Dice coefficient "
        "against the reference is what a device can be expected to reach",
    )
    other_labels: Literal["fail", "background"] = Field(
        default="fail",
        description="segmentation: what values of a recorded mask are that `labels` does not name: a failure of the "
        "case, or background",
    )
    empty: EmptyMasks | None = Field(default=None, description="segmentation: what empty masks mean")
    lesion_strata: list[LesionStratum] = Field(
        default_factory=list, description="detection: groups of lesions that sensitivity per lesion is estimated in"
    )
    coordinates: Literal["lps", "ras", "image"] | None = Field(
        default=None,
        description="detection: what the millimetres of marks and lesions count from: the patient, as in DICOM (lps: "
        "to the left, back and head) or NIfTI (ras), or the first pixel (image: columns, rows, slices). Where it is "
        "stated, marks outside their image fail the case, and pictures show them",
    )


class UnitOfAnalysis(Block):
    """Which column tells cases apart, and which tells patients apart: cases of one patient are not independent."""

    case: str = Field(default="case_id", description="column that identifies a case")
    cluster: str = Field(default="patient_id", description="column that identifies the patient, the resampling unit")


class OperatingPoint(Block):
    """A threshold fixed beforehand. It is never searched on the locked test set."""

    name: Name = Field(description="what endpoints call it in `at`")
    threshold: float = Field(description="in units of the score")
    comparison: Literal[">=", ">"] = Field(default=">=", description="a score this side of the threshold is positive")
    source: str = Field(default="", description="how, when and on which data the threshold was fixed")


class Criterion(Block):
    """Acceptance criterion: the named bound of the interval against a goal."""

    bound: Literal["lower", "upper", "point"] = Field(description="end of the interval that has to clear the goal")
    op: Literal[">", ">=", "<", "<="] = Field(description="how it has to compare, in quotes")
    value: float = Field(description="the goal")
    justification: str = Field(default="", description="required for a criterion on a point estimate")
    placeholder: bool = Field(
        default=False, description="a goal that still has to be justified: it is judged inconclusive and listed as open"
    )


class Endpoint(Block):
    """One question the study answers: a metric, where it is measured, and what it has to reach."""

    name: Name = Field(description="unique; what the report calls it")
    metric: str = Field(description="one of the metrics below")
    at: str | None = Field(default=None, description="name of an operating point, for metrics that need a call")
    target: str | None = Field(
        default=None,
        description="class or label the metric is of, against all others, or structure; for tasks with several",
    )
    role: Literal["primary", "secondary", "exploratory"] = Field(
        default="secondary", description="primary endpoints decide; the others are judged and listed"
    )
    criterion: Criterion | None = Field(default=None, description="required for a primary endpoint")
    stratum: dict[str, str] = Field(
        default_factory=dict, description="judge the criterion in this stratum only, e.g. {sex: female}"
    )
    each: str | None = Field(default=None, description="judge the criterion in every group of this stratum")
    interval: str | None = Field(default=None, description="interval method, where the default is not wanted")
    prevalence: Probability | None = Field(default=None, description="declared prevalence, for PPV and NPV")
    sensitivity: Probability | None = Field(default=None, description="for specificity at this sensitivity")
    specificity: Probability | None = Field(default=None, description="for sensitivity at this specificity")
    range: tuple[float, float] | None = Field(default=None, description="range of a partial area")
    over: Literal["specificity", "sensitivity"] | None = Field(
        default=None, description="axis of that range; specificity unless stated"
    )
    cuts: Annotated[list[float], Field(min_length=1, max_length=20)] | None = Field(
        default=None,
        description="increasing cut points of a measurement's categories, e.g. `[40, 50]` is <40, 40-<50, >=50",
    )
    bins: Annotated[int, Field(ge=2, le=100)] | None = Field(default=None, description="number of calibration bins")
    binning: Literal["equal_width", "equal_mass"] | None = Field(
        default=None, description="equally wide bins (the default but for debiased errors) or equally full ones"
    )
    smoother: Literal["loess", "lowess"] | None = Field(
        default=None, description="smoother of the calibration curve; loess unless stated"
    )
    top: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="how many classes count, for top-k accuracy"
    )
    maximum: float | None = Field(default=None, description="worst value an error can take, for cases without output")
    tolerance: Annotated[float, Field(ge=0.0)] | None = Field(
        default=None, description="largest error that counts as agreement, for coverage probability"
    )
    coverage: Probability | None = Field(
        default=None, description="share of cases within the total deviation index; 0.9 unless stated"
    )
    variance_ratio: Annotated[float, Field(gt=0.0)] | None = Field(
        default=None, description="error variance of device over reference, for Deming regression; 1 unless stated"
    )
    repeats: str | None = Field(
        default=None, description="column whose value repeated measurements of the same thing share"
    )
    false_positives: Annotated[float, Field(gt=0.0)] | None = Field(
        default=None, description="false positives per case at which the FROC curve is read"
    )
    counted_in: Literal["all", "normal"] | None = Field(
        default=None, description="cases in which false positives are counted: all, or those without a lesion only"
    )
    definition: Literal["voxel", "pooled", "surfel"] | None = Field(
        default=None, description="what a surface is, for distances: voxel unless stated (docs/statistics/masks.md)"
    )
    quantile: Probability | None = Field(
        default=None, description="this quantile of the cases' figures instead of their mean, e.g. 0.1"
    )
    rationale: str = Field(default="", description="why this endpoint, and why this goal")


class Guard(Block):
    """No group of a stratum may be worse than the baseline by the margin or more: judged in every group."""

    stratum: Name = Field(description="name of the stratum whose every group is guarded")
    margin: Annotated[float, Field(gt=0.0)] = Field(description="in units of the metric")
    rationale: str = Field(default="", description="why this margin, in groups of this size")


class Comparison(Block):
    """A paired difference between the candidate and a baseline on the same cases: candidate minus baseline."""

    name: Name = Field(description="unique among endpoints and comparisons; what the report calls it")
    metric: str = Field(description="metric of which the difference is taken, e.g. sensitivity, auroc or brier")
    at: str | None = Field(default=None, description="name of an operating point, for metrics that need a call")
    target: str | None = Field(
        default=None, description="class or label the metric is of, against all others; for tasks with several"
    )
    baseline_at: str | None = Field(
        default=None, description="operating point of the baseline, where it has another; `at` unless stated"
    )
    role: Literal["primary", "secondary", "exploratory"] = Field(
        default="secondary", description="primary comparisons decide, as primary endpoints do"
    )
    baseline: str = Field(default="", description="what the candidate is compared with, in words")
    against: Literal["baseline", "original"] = Field(
        default="baseline",
        description="which device: that of --baseline (the last version, a predicate) or that of --original (the "
        "version that was first authorised)",
    )
    hypothesis: Literal["superiority", "non_inferiority", "equivalence"] | None = Field(
        default=None, description="what has to be shown; with the margin it makes the criterion"
    )
    margin: Annotated[float, Field(ge=0.0)] | None = Field(
        default=None, description="in units of the metric, not negative; for superiority 0 unless stated"
    )
    criterion: Criterion | None = Field(
        default=None, description="criterion on the difference, candidate minus baseline; instead of a hypothesis"
    )
    stratum: dict[str, str] = Field(default_factory=dict, description="judge it in this stratum only")
    each: str | None = Field(default=None, description="judge it in every group of this stratum")
    interval: str | None = Field(
        default=None, description="tango (default) or newcombe for proportions, delong for the AUROC, or a bootstrap"
    )
    guards: list[Guard] = Field(
        default_factory=list,
        description="strata in whose every group the candidate must not be worse by more than a margin; judged beside "
        "the comparison itself, all of them (decision_rule: all_primary)",
    )
    ratio: bool = Field(
        default=False, description="print candidate over baseline too, beside the difference; for shares of cases"
    )
    prevalence: Probability | None = Field(default=None, description="declared prevalence, for PPV and NPV")
    top: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="how many classes count, for top-k accuracy"
    )
    maximum: float | None = Field(default=None, description="worst value an error can take, for cases without output")
    tolerance: Annotated[float, Field(ge=0.0)] | None = Field(
        default=None, description="largest error that counts as agreement, for coverage probability"
    )
    coverage: Probability | None = Field(
        default=None, description="share of cases within the total deviation index; 0.9 unless stated"
    )
    false_positives: Annotated[float, Field(gt=0.0)] | None = Field(
        default=None, description="false positives per case at which both FROC curves are read"
    )
    counted_in: Literal["all", "normal"] | None = Field(
        default=None, description="cases in which false positives are counted: all, or those without a lesion only"
    )
    definition: Literal["voxel", "pooled", "surfel"] | None = Field(
        default=None, description="what a surface is, for distances: voxel unless stated (docs/statistics/masks.md)"
    )
    quantile: Probability | None = Field(
        default=None, description="compare this quantile of the cases' figures instead of their means, e.g. 0.1"
    )
    rationale: str = Field(default="", description="why this comparison, and why this margin")


class Bootstrap(Block):
    """Resampling of patients, for metrics without a closed formula."""

    replicates: Annotated[int, Field(ge=100, le=1_000_000)] = Field(default=2000, description="resampled studies")
    interval: BootstrapInterval = Field(
        default="bca",
        description="how the interval is read from them; readings and parts of the ROC curve and net benefit: "
        "percentile instead of bca, unless the endpoint names an interval",
    )
    stratified: bool = Field(
        default=False,
        description="draw patients with and without positive cases apart, for a set sampled by class; binary tasks",
    )


class Confidence(Block):
    """Intervals: their level and their methods."""

    level: Annotated[float, Field(ge=0.5, lt=1.0)] = Field(default=0.95, description="confidence level")
    sided: Literal["two", "one"] = Field(default="two", description="one: `level` is that of a single bound")
    proportion: ProportionInterval = Field(
        default="clopper-pearson", description="on the effective n where patients have several cases"
    )
    auroc: AurocInterval = Field(default="delong", description="interval of the AUROC")
    bootstrap: Bootstrap = Field(default=Bootstrap(), description="for all other metrics")
    justification: str = Field(default="", description="required where a one-sided alpha exceeds 0.025")

    @property
    def alpha(self) -> float:
        """Chance of error on each side of the interval: a two-sided 95 % interval has 0.025, as a one-sided 97.5 %."""
        return 1.0 - self.level if self.sided == "one" else (1.0 - self.level) / 2.0

    @property
    def two_sided_level(self) -> float:
        """Level of the two-sided interval whose ends are the bounds that criteria are judged on."""
        return self.level if self.sided == "two" else 1.0 - 2.0 * (1.0 - self.level)


class Multiplicity(Block):
    """Adjustment for several primary endpoints of which not all have to be met."""

    method: Literal["none", "holm", "hochberg", "hommel", "fixed_sequence"] = Field(
        default="none", description="none is right for `all_primary`"
    )
    order: list[str] = Field(default_factory=list, description="endpoint names, for a fixed sequence")


class StratumSpec(Block):
    """Groups of cases: a column or DICOM attribute, optionally binned, or a cross of other strata."""

    name: Name = Field(description="what the report calls it")
    column: str | None = Field(
        default=None, description="case-table column, or a DICOM attribute as `dicom:Manufacturer`; `name` if not given"
    )
    bins: list[float] | None = Field(default=None, description="increasing edges: `[40, 60]` is <40, 40-<60, >=60")
    cross: list[str] | None = Field(default=None, description="names of strata whose combinations are the groups")


class SmallStrata(Block):
    """Counts of positives or negatives under which a stratum is not assessable, or flagged."""

    suppress_below: Annotated[int, Field(ge=1)] = Field(default=10, description="not assessable below")
    flag_below: Annotated[int, Field(ge=1)] = Field(default=30, description="flagged below")


class MissingOutputs(Block):
    """Cases for which the device gave no usable output. All policies are reported; one is primary."""

    primary: MissingPolicy = Field(
        default="worst_case", description="a criterion met under another policy only is inconclusive"
    )


class MissingReference(Block):
    """Cases whose reference standard is missing or equivocal."""

    primary: MissingReferencePolicy = Field(
        default="worst_case", description="where allocating those cases could change the verdict it is inconclusive"
    )


class ReusePolicy(Block):
    """How often the locked test set may be used, counted in its ledger."""

    max_uses_per_case: Annotated[int, Field(ge=1)] = Field(default=3, description="every run counts, a resume does not")
    on_excess: Literal["warn", "refuse"] = Field(default="warn", description="what happens beyond")


class Roles(Block):
    """Who holds which role, by the names the ledger has for them; a person named author must not be named QA."""

    author: list[str] = Field(default_factory=list, description="writes and freezes the protocol")
    custodian: list[str] = Field(default_factory=list, description="keeps and locks the test set; no developer")
    operator: list[str] = Field(default_factory=list, description="runs the device")
    statistician: list[str] = Field(default_factory=list, description="scores with the reference standard open")
    reviewer: list[str] = Field(default_factory=list, description="reviews the report")
    qa: list[str] = Field(default_factory=list, description="approves it; not who wrote the protocol")
    developer: list[str] = Field(default_factory=list, description="made the device; must not keep the test set")
    enforce: bool = Field(default=False, description="true: a violation means that the run is not evidence")


class Amendment(Block):
    """Why this version differs from one that was frozen before on the same test set."""

    of: str = Field(min_length=1, description="the version that was frozen before")
    kind: Literal["major", "minor"] = Field(description="major: it can change what is concluded")
    reason: str = Field(min_length=10, description="what changed, and why")


class Utility(Block):
    """Decision curves: over which threshold probabilities the net benefit of acting on the model is drawn."""

    thresholds: tuple[Probability, Probability, Annotated[int, Field(ge=2, le=999)]] = Field(
        default=(0.01, 0.99, 99), description="lowest, highest, and how many"
    )
    prevalence: Probability | None = Field(
        default=None, description="declared prevalence, where the test set is enriched; the set's own unless stated"
    )


class Generalisation(Block):
    """Sites: how much they differ, what to expect at a new one (random effects), and the figures without each."""

    site: Name = Field(description="name of the stratum whose groups are the sites")
    endpoints: Annotated[list[str], Field(min_length=1)] = Field(
        description="endpoints to model: sensitivity, specificity, accuracy, PPV, NPV or AUROC"
    )
    leave_one_out: bool = Field(default=True, description="also without each site in turn")
    scale: Literal["logit", "identity"] = Field(
        default="logit",
        description="scale of the model: logit keeps every limit within 0 and 1; identity also takes a perfect AUROC",
    )


class Weighting(Block):
    """Figures weighted by the column `sample_weight`, beside the unweighted ones: `weighting: {}` will do."""

    stratum: Name | None = Field(
        default=None,
        description="column that names the sampling stratum each patient was drawn from; one population if not given, "
        "and intervals are then wider than need be",
    )


class Verification(Block):
    """Sensitivity and specificity corrected where only some cases got the reference standard; secondary."""

    verified: Name = Field(description="column that says who got it: 1, true, yes; 0, false, no or empty")
    method: Literal["begg_greenes"] = Field(
        default="begg_greenes", description="right if verification depends on nothing related to disease but the call"
    )
    covariates: list[Name] = Field(
        default_factory=list,
        description="columns on which verification may also have depended: corrected within each combination of groups",
    )


class Analyses(Block):
    """Optional analyses and their settings. A block this version does not run is an error, not a silent omission."""

    calibration: dict[str, Any] | None = Field(default=None, description="agreement of probability and outcome")
    bias: Bias | None = Field(default=None, description="gaps between groups of patients, and what explains them")
    interpretability: Interpretability | None = Field(default=None, description="what an answer depends on")
    robustness: Robustness | None = Field(default=None, description="performance on degraded images")
    uncertainty: Uncertainty | None = Field(default=None, description="whether the device knows when it may be wrong")
    utility: Utility | None = Field(
        default=None, description="decision curves of a binary probability; drawn with these defaults if not given"
    )
    generalisation: Generalisation | None = Field(default=None, description="differences between sites, and new ones")
    group_differences: GroupDifferences | None = Field(
        default=None, description="differences and ratios between groups of different patients"
    )
    weighting: Weighting | None = Field(default=None, description="figures for the population that was sampled")
    verification: Verification | None = Field(default=None, description="correction for partial verification")
    truth_panel: TruthPanel | None = Field(default=None, description="another panel for the reference standard")
    variance_components: VarianceSources | None = Field(
        default=None, description="spread of repeated acquisitions by operator, camera, reader"
    )
    change: Change | None = Field(default=None, description="agreement of change between two visits")
    linearity: LinearityStudy | None = Field(default=None, description="linearity and limit of quantitation")
    triage: Triage | None = Field(default=None, description="waiting time a triage device saves")
    drift: Drift | None = Field(default=None, description="change since a baseline; for a drift audit")
    failures: Failures | None = Field(default=None, description="wrong cases, and what they have in common")
    slices: Slices | None = Field(default=None, description="search for groups with more wrong cases")
    threshold_what_if: ThresholdWhatIf | None = Field(
        default=None, description="what a threshold for each group would do; never applied"
    )


class Inference(Block):
    """How the model runs. The package's own settings unless stated: any other precision, backend or memory format is
    admitted only after its answers to a sample of cases were compared with the package's own.
    """

    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="where it runs")
    precision: Literal["package", "float32", "tf32", "bfloat16", "float16"] = Field(
        default="package", description="number format of the computation"
    )
    backend: Literal["package", "compile", "onnxruntime", "openvino"] = Field(
        default="package", description="what executes it"
    )
    memory_format: Literal["package", "channels_last"] = Field(
        default="package", description="layout of images in memory"
    )
    batch_size: Annotated[int, Field(ge=1, le=4096)] | None = Field(default=None, description="cases at a time")


class StudyProtocol(Block):
    """A whole protocol. A stratum may be written as a column's name alone."""

    schema_: Literal["evalsuite/protocol/1"] = Field(alias="schema", description="version of this file format")
    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$")] = Field(
        description="lower-case letters, digits, dots, dashes, underscores"
    )
    version: Name = Field(description="of the protocol, in quotes where it looks like a number")
    title: Annotated[str, Field(min_length=1, max_length=300)] = Field(description="title of the study")
    kind: Kind = Field(description="study design")
    intended_use: IntendedUse = Field(description="what the device is for")
    task: Task = Field(description="what is decided per case")
    unit: UnitOfAnalysis = Field(description="cases and patients")
    operating_points: list[OperatingPoint] = Field(default_factory=list, description="thresholds fixed beforehand")
    endpoints: Annotated[list[Endpoint], Field(min_length=1)] = Field(description="the questions, at least one")
    decision_rule: Literal["all_primary", "any_primary", "gatekeeping"] = Field(
        default="all_primary", description="how primary criteria make the verdict"
    )
    confidence: Confidence = Field(default=Confidence(), description="intervals")
    multiplicity: Multiplicity = Field(default=Multiplicity(), description="several primary endpoints")
    strata: list[StratumSpec] = Field(default_factory=list, description="groups every endpoint is estimated in")
    small_strata: SmallStrata = Field(default=SmallStrata(), description="groups too small to assess")
    missing_outputs: MissingOutputs = Field(default=MissingOutputs(), description="cases without a usable output")
    missing_reference: MissingReference = Field(default=MissingReference(), description="cases without a reference")
    reuse_policy: ReusePolicy = Field(default=ReusePolicy(), description="repeated use of the test set")
    roles: Roles | None = Field(default=None, description="who may act in which role, by name")
    amendment: Amendment | None = Field(default=None, description="for a version that changes one frozen before")
    modification: Modification | None = Field(
        default=None, description="for a new version of an authorised device: any unresolved criterion stops it"
    )
    plan: Plan | None = Field(default=None, description="planned smallest counts, and what they were planned for")
    readers: ReaderStudy | None = Field(default=None, description="which readings a reader study evaluates")
    analyses: Analyses = Field(default=Analyses(), description="optional analyses")
    inference: Inference = Field(default=Inference(), description="how the model runs")
    comparisons: list[Comparison] = Field(default_factory=list, description="paired differences against a baseline")
    disclose: list[str] = Field(default_factory=list, description="case-table columns that may appear in reports")
    pictures: Literal["images", "outlines", "none"] = Field(
        default="images",
        description="cases shown in the report of a task that finds or outlines: parts of images with outlines and "
        "marks, outlines alone, or nothing",
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(description="of every random draw")
    clauses: dict[str, Any] = Field(
        default_factory=dict, description="which claim, hazard or requirement an endpoint answers"
    )
    sources: list[str] = Field(default_factory=list, description="precedents and guidance the thresholds come from")

    model_config = ConfigDict(
        frozen=True, extra="forbid", str_strip_whitespace=True, allow_inf_nan=False, populate_by_name=True
    )

    def operating_point(self, name: str) -> OperatingPoint:
        """The declared operating point of this name. KeyError if there is none (the loader has checked all uses)."""
        for point in self.operating_points:
            if point.name == name:
                return point
        raise KeyError(name)

    def stratum(self, name: str) -> StratumSpec:
        """The declared stratum of this name. KeyError if there is none (the loader has checked all uses)."""
        for spec in self.strata:
            if spec.name == name:
                return spec
        raise KeyError(name)
