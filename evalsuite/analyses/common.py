"""What every analysis of a task shares: results, the cells of its strata, policies for missing data, plain facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import pandas as pd

from evalsuite.analyses.population import Bools, OutputPolicy, ReferencePolicy
from evalsuite.protocol.checks import SEQUENCE
from evalsuite.protocol.schema import Comparison, Endpoint, StudyProtocol
from evalsuite.stats.proportions import exact_binomial_test
from evalsuite.testset.strata import StratumLabels
from evalsuite.types import Account, Curve, Finding, Listing, TestOutcome

OnStep = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What one analysis contributes to the evidence."""

    findings: tuple[Finding, ...]
    curves: tuple[Curve, ...]
    accounting: tuple[Account, ...]
    tests: tuple[TestOutcome, ...]
    notes: tuple[str, ...]
    listings: tuple[Listing, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One stratum cell: its label and its cases."""

    stratum: Mapping[str, str]
    mask: Bools

    @property
    def whole(self) -> bool:
        return not self.stratum


def cells_of(labels: Mapping[str, StratumLabels], n: int) -> tuple[Cell, ...]:
    """The whole set, then every level of every stratum."""
    whole = Cell(stratum={}, mask=np.ones(n, dtype=bool))
    return (
        whole,
        *(
            Cell(stratum=group.as_stratum(i), mask=group.mask(i))
            for group in labels.values()
            for i in range(len(group.levels))
        ),
    )


def primary_reference_policy(protocol: StudyProtocol) -> ReferencePolicy:
    """Under a tipping-point analysis the estimate itself leaves unresolved cases out; the judge looks at both extremes,
    which the evidence holds as alternates."""
    return "worst_case" if protocol.missing_reference.primary == "worst_case" else "exclude"


def policies(protocol: StudyProtocol, condition: str | None) -> tuple[OutputPolicy, ReferencePolicy]:
    """What is assumed about missing outputs and references under a condition as `variants` names it; None: primary."""
    outputs: OutputPolicy = protocol.missing_outputs.primary
    references = primary_reference_policy(protocol)
    if condition is None:
        return outputs, references
    kind, policy = condition.split("=", 1)
    if kind == "missing_outputs":
        return cast(OutputPolicy, policy), references
    return outputs, cast(ReferencePolicy, policy)


def judged_in(protocol: StudyProtocol, asked: Endpoint | Comparison, cell: Cell) -> bool:
    """Whether a criterion of this endpoint or comparison is judged in the cell."""
    if asked.each is not None:
        spec = protocol.stratum(asked.each)
        return set(cell.stratum) == set(spec.cross or [spec.name])
    return dict(cell.stratum) == dict(asked.stratum)


def variants(
    *,
    outputs: OutputPolicy,
    references: ReferencePolicy,
    missing_outputs: bool,
    missing_references: bool,
    output_policies: Sequence[OutputPolicy] = ("worst_case", "best_case", "exclude", "as_negative", "as_positive"),
) -> Iterator[tuple[str, OutputPolicy, ReferencePolicy]]:
    """Every other assumption about what is missing, as the evidence names it; nothing where nothing is missing."""
    if missing_outputs:
        for policy in output_policies:
            yield f"missing_outputs={policy}", policy, references
    if missing_references:
        every: tuple[ReferencePolicy, ...] = ("worst_case", "best_case", "exclude")
        for reference_policy in every:
            yield f"missing_reference={reference_policy}", outputs, reference_policy


def exact_tests(protocol: StudyProtocol, findings: Sequence[Finding]) -> Iterator[TestOutcome]:
    """One-sided exact binomial tests of criteria on proportions of independent cases; the interval is what decides."""
    for endpoint in protocol.endpoints:
        criterion = endpoint.criterion
        if endpoint.interval == SEQUENCE:
            continue  # a p-value of one look beside limits for every look would contradict them
        if criterion is None or criterion.bound == "point" or not 0.0 < criterion.value < 1.0:
            continue
        for f in findings:
            e = f.estimate
            counted = e.numerator is not None and e.denominator is not None and e.denominator == e.n_patients
            if f.endpoint == endpoint.name and f.analysis == "performance" and not f.stratum and counted:
                x, n = int(e.numerator or 0), int(e.denominator or 0)
                side: Literal["greater", "less"] = "greater" if criterion.bound == "lower" else "less"
                yield TestOutcome(
                    name=f"{endpoint.name} {criterion.op} {criterion.value:g}",
                    statistic=float(x),
                    p_value=exact_binomial_test(x, n, criterion.value, side),
                    method="exact binomial, one-sided",
                    endpoint=endpoint.name,
                )


def common_notes(
    n: int, n_patients: int, labels: Mapping[str, StratumLabels], frame: pd.DataFrame, *, weighted: bool = False
) -> Iterator[str]:
    """Facts about any set that a reader of its numbers must know; `weighted` where weighted figures stand beside."""
    if n_patients < n:
        yield (
            f"{n} cases come from {n_patients} patients: intervals allow for the dependence of cases within a patient."
        )
    for group in labels.values():
        if len(group.levels) == 1:
            yield f"Stratum '{group.name}' has a single level in this set: no comparison within it is possible."
        missing = [i for i, level in enumerate(group.levels) if "missing" in level]
        lost = int(sum(group.mask(i).sum() for i in missing))
        if lost:
            yield f"Stratum '{group.name}' is not recorded for {lost} of {n} cases; they form a group of their own."
    if "sample_weight" in frame.columns and not weighted:
        yield "The case table has sampling weights; these estimates are of the set as it is, unweighted."
