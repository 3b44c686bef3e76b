"""What the catalogue knows of one metric: what it means, what it needs, and which direction is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["proportion", "auroc", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricInfo:
    """One entry of the catalogue. It computes nothing.

    `requires` are endpoint keys that must be given, `accepts` those that may be; any other setting of an endpoint is
    refused for this metric. `lower` and `upper` bound the range, None where it has no bound. `higher_is_better`
    is None where the ideal lies inside the range (an observed/expected ratio of 1). `tasks` are those in which the
    metric is asked of the whole task. `intervals` are the methods an endpoint may name, where they are not those of
    the family; empty where the metric has one interval only.
    """

    name: str
    title: str
    definition: str
    analysis: str = "performance"
    family: Family = "other"
    needs_operating_point: bool = False
    needs_probability: bool = False
    requires: tuple[str, ...] = ()
    accepts: tuple[str, ...] = ()
    higher_is_better: bool | None = True
    lower: float | None = 0.0
    upper: float | None = 1.0
    tasks: tuple[str, ...] = ("binary",)
    intervals: tuple[str, ...] | None = None

    @property
    def per_target(self) -> bool:
        """Whether the metric may be of one class or label against all others (an endpoint's `target`)."""
        return "binary" in self.tasks

    def needs_threshold(self, task: str) -> bool:
        """Whether an endpoint names an operating point: classes and grades are called without one."""
        return self.needs_operating_point and task in ("binary", "multilabel", "detection")

    @property
    def needs_call(self) -> bool:
        """Whether the metric needs cases called positive or negative, hence an operating point."""
        return self.needs_operating_point
