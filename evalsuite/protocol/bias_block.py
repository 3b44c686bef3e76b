"""Settings of the bias analysis: which groups are compared, in which figures, within which margins."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from evalsuite.protocol.blocks import Block, Name

#: Figures of one group of patients, in the order of the report.
BiasMetric = Literal[
    "sensitivity", "specificity", "ppv", "npv", "accuracy", "fpr", "fnr", "selection_rate", "underdiagnosis_rate",
    "auroc", "calibration_intercept", "calibration_slope", "brier",
]  # fmt: skip
_DEFAULT: tuple[BiasMetric, ...] = (
    *("sensitivity", "specificity", "ppv", "npv", "fpr", "fnr", "selection_rate", "underdiagnosis_rate"),
    *("auroc", "calibration_intercept", "calibration_slope", "brier"),
)
#: What `reference_group` says where a group is compared with everyone who is not in it.
REST = "rest"
#: Figures that are one less another one: the same gaps, the other way round.
COMPLEMENT = {"fpr": "specificity", "fnr": "sensitivity", "underdiagnosis_rate": "sensitivity"}
Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class BiasAttribute(Block):
    """Groups to compare: those of one stratum, which may be a cross. May be written as the stratum's name alone."""

    stratum: Name = Field(description="name of a declared stratum")
    reference: str | dict[str, str] | None = Field(
        default=None,
        description="group that the others are compared with, as its cells have it; of a cross its parts, e.g. `{sex: "
        "male, age: '<40'}`. Without one each group is compared with everyone else (the rest)",
    )


class GapCriterion(Block):
    """An acceptance criterion on gaps: met if every group's gap is shown to lie within ± the margin."""

    name: Name = Field(description="unique among endpoints and comparisons; what the report calls it")
    attribute: Name = Field(description="stratum of one of the attributes")
    metric: BiasMetric = Field(description="one of the block's metrics")
    margin: Annotated[float, Field(gt=0.0)] = Field(description="largest gap that would not matter, in its units")
    role: Literal["primary", "secondary", "exploratory"] = Field(
        default="secondary", description="primary criteria decide, as those of primary endpoints do"
    )
    rationale: str = Field(
        default="",
        description="why this margin; required for a primary criterion, which is judged on the 90 % interval (two "
        "one-sided tests at 5 %)",
    )


class Bias(Block):
    """Gaps between groups of patients: who is served worse, and whether chance or case mix explains it."""

    attributes: Annotated[list[BiasAttribute], Field(min_length=1)] = Field(description="groups to compare")
    at: str | None = Field(
        default=None, description="operating point of the calls; needed only where the protocol declares several"
    )
    metrics: Annotated[list[BiasMetric], Field(min_length=1)] | None = Field(
        default=None,
        description="figures to compare; unless stated all of these but accuracy, as far as the study has them: those "
        "of calls where an operating point is declared, those of probabilities where the score is one",
    )
    margins: dict[BiasMetric, Annotated[float, Field(gt=0.0)]] = Field(
        default_factory=dict,
        description="per metric the largest gap that would not matter; without one no gap can be called equivalent",
    )
    level: Annotated[float, Field(ge=0.5, lt=1.0)] | None = Field(
        default=None, description="two-sided level of the gaps' intervals; that of `confidence` unless stated"
    )
    adjustment: Literal["holm", "bh"] = Field(
        default="holm",
        description="over the groups of one attribute and metric: holm bounds the chance of any false disparity; bh "
        "only the expected share of false ones, which makes the analysis exploratory",
    )
    case_mix: list[Name] = Field(
        default_factory=list,
        description="strata that may explain a gap (severity, scanner, site): gaps are standardised, weighted and "
        "adjusted to them",
    )
    verification: Name | None = Field(
        default=None, description="stratum that says how the reference was established, e.g. biopsy or follow-up"
    )
    power: Share = Field(default=0.8, description="power of the minimal detectable gap printed for each group")
    criteria: list[GapCriterion] = Field(default_factory=list, description="acceptance criteria on gaps")

    @property
    def compared(self) -> tuple[str, ...]:
        """The metrics stated, or the default ones."""
        return tuple(self.metrics) if self.metrics is not None else _DEFAULT

    def margin(self, metric: str) -> float | None:
        """The margin of a metric, which is that of its mirror image too."""
        same = COMPLEMENT.get(metric, metric)
        return next((v for m, v in self.margins.items() if COMPLEMENT.get(m, m) == same), None)

    @field_validator("attributes", mode="before")
    @classmethod
    def _names_alone(cls, value: Any) -> Any:
        return [{"stratum": v} if isinstance(v, str) else v for v in value] if isinstance(value, list) else value
