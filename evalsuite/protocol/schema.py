"""The study protocol: what was decided before anyone looked. Pydantic models, frozen, every unknown key refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

PROTOCOL_SCHEMA = "evalsuite/protocol/1"

Name = Annotated[str, Field(min_length=1, max_length=120)]
Probability = Annotated[float, Field(gt=0.0, lt=1.0)]
Kind = Literal["standalone", "comparison", "reader_study", "drift_audit", "site_acceptance"]
TaskKind = Literal["binary", "multiclass", "multilabel", "ordinal", "regression", "segmentation", "detection"]
ProportionInterval = Literal["clopper-pearson", "wilson", "agresti-coull", "jeffreys"]
AurocInterval = Literal["delong", "logit-delong"]
BootstrapInterval = Literal["percentile", "basic", "bca"]
MissingPolicy = Literal["worst_case", "exclude", "as_negative", "as_positive"]
MissingReferencePolicy = Literal["worst_case", "tipping_point", "exclude"]


class Block(BaseModel):
    """A part of a protocol: immutable, and a typo in a key is an error rather than a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)


class IntendedUse(Block):
    """What the device is for, in the manufacturer's words; empty fields are listed in the report as open items."""

    indications: str = ""
    population: str = ""
    users: str = ""
    setting: str = ""
    autonomy: str = Field(default="", description="CADt, CADe, CADx, CADe/x, quantification or autonomous")
    inputs: str = ""
    outputs: str = ""
    contraindications: str = ""


class Task(Block):
    """What is decided per case, against which column of the case table, from which output of the model."""

    kind: TaskKind
    reference: str | list[str] = Field(description="column(s) of the case table that hold the reference standard")
    positive: int | float | str | bool | list[int | float | str] = Field(
        default=1, description="value(s) of the reference that mean: target condition present"
    )
    negative: list[int | float | str] | None = Field(
        default=None, description="value(s) that mean: target condition absent; any other value is then an error"
    )
    score: str | list[str] = Field(
        description="model output, a list of outputs, or an expression of them, e.g. p_mel + p_bcc + p_akiec"
    )
    classes: list[str] | None = None
    probability: bool = Field(
        default=True, description="whether the score is a probability; calibration is estimated only if it is"
    )


class UnitOfAnalysis(Block):
    case: str = "case_id"
    cluster: str = "patient_id"


class OperatingPoint(Block):
    """A threshold fixed beforehand. It is never searched on the locked test set."""

    name: Name
    threshold: float
    comparison: Literal[">=", ">"] = ">="
    source: str = Field(default="", description="how, when and on which data the threshold was fixed")


class Criterion(Block):
    """Acceptance criterion: the named bound of the interval against a goal."""

    bound: Literal["lower", "upper", "point"]
    op: Literal[">", ">=", "<", "<="]
    value: float
    justification: str = Field(default="", description="required for a criterion on a point estimate")
    placeholder: bool = Field(
        default=False, description="a goal that still has to be justified: it is judged inconclusive and listed as open"
    )


class Endpoint(Block):
    """One question the study answers: a metric, where it is measured, and what it has to reach."""

    name: Name
    metric: str
    at: str | None = Field(default=None, description="name of an operating point, for metrics that need a call")
    role: Literal["primary", "secondary", "exploratory"] = "secondary"
    criterion: Criterion | None = None
    stratum: dict[str, str] = Field(
        default_factory=dict, description="judge the criterion in this stratum only, e.g. {sex: female}"
    )
    each: str | None = Field(default=None, description="judge the criterion in every group of this stratum")
    interval: str | None = Field(default=None, description="interval method, where the default is not wanted")
    prevalence: Probability | None = Field(default=None, description="declared prevalence, for PPV and NPV")
    sensitivity: Probability | None = None
    specificity: Probability | None = None
    range: tuple[float, float] | None = Field(default=None, description="range of a partial area")
    over: Literal["specificity", "sensitivity"] | None = Field(
        default=None, description="axis of that range; specificity unless stated"
    )
    bins: Annotated[int, Field(ge=2, le=100)] | None = None
    maximum: float | None = Field(default=None, description="worst value an error can take, for cases without output")
    rationale: str = ""


class Bootstrap(Block):
    replicates: Annotated[int, Field(ge=100, le=1_000_000)] = 2000
    interval: BootstrapInterval = "bca"


class Confidence(Block):
    level: Annotated[float, Field(ge=0.5, lt=1.0)] = 0.95
    sided: Literal["two", "one"] = "two"
    proportion: ProportionInterval = "clopper-pearson"
    auroc: AurocInterval = "delong"
    bootstrap: Bootstrap = Bootstrap()
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
    method: Literal["none", "holm", "hochberg", "fixed_sequence"] = "none"
    order: list[str] = Field(default_factory=list, description="endpoint names, for a fixed sequence")


class StratumSpec(Block):
    """Groups of cases: a column or DICOM attribute, optionally binned, or a cross of other strata."""

    name: Name
    column: str | None = None
    bins: list[float] | None = None
    cross: list[str] | None = None


class SmallStrata(Block):
    """Counts of positives or negatives under which a stratum is not assessable, or flagged."""

    suppress_below: Annotated[int, Field(ge=1)] = 10
    flag_below: Annotated[int, Field(ge=1)] = 30


class MissingOutputs(Block):
    primary: MissingPolicy = "worst_case"


class MissingReference(Block):
    primary: MissingReferencePolicy = "worst_case"


class ReusePolicy(Block):
    max_uses_per_case: Annotated[int, Field(ge=1)] = 3
    on_excess: Literal["warn", "refuse"] = "warn"


class Analyses(Block):
    """Optional analyses and their settings. A block this version does not run is an error, not a silent omission."""

    calibration: dict[str, Any] | None = None
    bias: dict[str, Any] | None = None
    interpretability: dict[str, Any] | None = None
    robustness: dict[str, Any] | None = None
    uncertainty: dict[str, Any] | None = None
    drift: dict[str, Any] | None = None
    failures: dict[str, Any] | None = None


class Inference(Block):
    """How the model runs. The package's own settings unless stated."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["package", "float32", "tf32", "bfloat16", "float16"] = "package"
    backend: Literal["package", "eager", "onnxruntime"] = "package"
    batch_size: Annotated[int, Field(ge=1, le=4096)] | None = None


class StudyProtocol(Block):
    """A whole protocol. `strata` is normalised to `StratumSpec`s when the file is loaded."""

    schema_: Literal["evalsuite/protocol/1"] = Field(alias="schema")
    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$")]
    version: Name
    title: Annotated[str, Field(min_length=1, max_length=300)]
    kind: Kind
    intended_use: IntendedUse
    task: Task
    unit: UnitOfAnalysis
    operating_points: list[OperatingPoint] = Field(default_factory=list)
    endpoints: Annotated[list[Endpoint], Field(min_length=1)]
    decision_rule: Literal["all_primary", "any_primary", "gatekeeping"] = "all_primary"
    confidence: Confidence = Confidence()
    multiplicity: Multiplicity = Multiplicity()
    strata: list[StratumSpec] = Field(default_factory=list)
    small_strata: SmallStrata = SmallStrata()
    missing_outputs: MissingOutputs = MissingOutputs()
    missing_reference: MissingReference = MissingReference()
    reuse_policy: ReusePolicy = ReusePolicy()
    analyses: Analyses = Analyses()
    inference: Inference = Inference()
    comparisons: list[dict[str, Any]] = Field(default_factory=list)
    disclose: list[str] = Field(default_factory=list, description="case-table columns that may appear in reports")
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    clauses: dict[str, Any] = Field(default_factory=dict)
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
