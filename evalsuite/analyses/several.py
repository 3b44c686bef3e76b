"""From endpoints to findings for tasks with several classes, labels or grades: cells, missing data, tests, notes."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self, cast

import numpy as np
import pandas as pd

from evalsuite.analyses.binary_questions import Question
from evalsuite.analyses.common import (
    Cell,
    OnStep,
    Results,
    cells_of,
    common_notes,
    exact_tests,
    judged_in,
    policies,
    primary_reference_policy,
    variants,
)
from evalsuite.analyses.comparison import Both, compare, either
from evalsuite.analyses.curves import curves_of_targets
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.multiplicity import AtLevel, adjusted_findings
from evalsuite.analyses.paired import Cutoff
from evalsuite.analyses.population import (
    Accountable,
    Bools,
    Ints,
    OutputPolicy,
    Population,
    ReferencePolicy,
    accounting,
)
from evalsuite.protocol.metrics import METRICS
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.proportions import ProportionMethod
from evalsuite.testset.strata import assign_strata
from evalsuite.types import Account, Estimate, Finding

Found = Mapping[tuple[str, int], Estimate]


class Study(typing.Protocol):
    """A population with its one draw of patients, and how endpoints are answered on it."""

    def answer(
        self,
        endpoints: Sequence[Endpoint],
        cells: Sequence[Cell],
        outputs: OutputPolicy,
        references: ReferencePolicy,
    ) -> Found:
        """Estimates in these cells under two policies, by endpoint name and position of the cell."""
        ...

    def whatever_size(self) -> Self:
        """The same study with an estimate in every group, however small."""
        ...

    def at(self, level: float) -> Self:
        """The same study with intervals of this two-sided level; its replicates are made once and kept."""
        ...


#: Who is asked for a metric of one class or label, at an operating point where there is one, and how they are called.
OneOf = Callable[[str, str | None, str], tuple[Population, Cutoff | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Studied:
    """A population with its study, for analyses that stand beside performance; `one_of` where there are targets."""

    study: Study
    population: Accountable
    one_of: OneOf | None


#: Cases in one metric group: a confusion matrix's "no usable output" column.
NO_OUTPUT = "(no usable output)"


def with_standard_table(
    protocol: StudyProtocol, rows: Sequence[tuple[str, str | None, str | None]]
) -> tuple[Question, ...]:
    """The protocol's endpoints in its order, then rows `(metric, operating point, target)` that it does not name."""
    named = [Question(endpoint=e, role=e.role, prespecified=True) for e in protocol.endpoints]
    taken = {(e.metric, e.at, e.target) for e in protocol.endpoints if e.prevalence is None and e.interval is None}
    names = {e.name for e in protocol.endpoints}
    extra = []
    for metric, at, target in rows:
        if (metric, at, target) in taken:
            continue
        name = metric if target is None else f"{metric} of {target}"
        if at is not None and len(protocol.operating_points) > 1:
            name = f"{name} at {at}"
        while name in names:
            name = f"{name} (standard table)"
        names.add(name)
        endpoint = Endpoint.model_construct(name=name, metric=metric, at=at, target=target)
        extra.append(Question(endpoint=endpoint, role="descriptive", prespecified=False))
    return (*named, *extra)


def evaluate_several(
    protocol: StudyProtocol,
    population: Accountable,
    asked: Sequence[Question],
    study: Study,
    *,
    frame: pd.DataFrame,
    n_patients: int,
    missing_outputs: bool,
    missing_references: bool,
    output_policies: Sequence[OutputPolicy],
    extra: Callable[[Sequence[Cell]], Iterator[Finding]] | None = None,
    both: Callable[[tuple[Cell, ...]], Both] | None = None,
    of_targets: Mapping[str, Population] | None = None,
    notes: Sequence[str] = (),
    on_step: OnStep | None = None,
) -> Results:
    """Every finding, count and test of such a protocol. `extra` adds findings that are no endpoint's, `both` is the
    candidate beside a baseline, where the protocol compares them; `of_targets` are classes or labels against the rest,
    whose curves are drawn."""
    labels = assign_strata(frame, protocol.strata)
    cells = cells_of(labels, population.n)
    outputs: OutputPolicy = protocol.missing_outputs.primary
    references = primary_reference_policy(protocol)
    endpoints = [q.endpoint for q in asked]
    more = list(
        variants(
            outputs=outputs,
            references=references,
            missing_outputs=missing_outputs,
            missing_references=missing_references,
            output_policies=output_policies,
        )
    )
    steps = 1 + len(more)
    findings = list(_findings(asked, cells, study.answer(endpoints, cells, outputs, references)))
    if on_step is not None:
        on_step(1, steps)
    if extra is not None:
        findings += extra(cells)
    prespecified = [q for q in asked if q.prespecified]
    for done, (condition, output_policy, reference_policy) in enumerate(more, start=2):
        found = study.answer([q.endpoint for q in prespecified], cells, output_policy, reference_policy)
        for finding in _findings(prespecified, cells, found):
            question = next(q for q in prespecified if q.endpoint.name == finding.endpoint)
            if not finding.stratum or question.endpoint.stratum or question.endpoint.each:
                findings.append(replace(finding, analysis="missing_data", condition=condition))
        if on_step is not None:
            on_step(done, steps)
    tests = list(exact_tests(protocol, findings))
    again = _at_level(protocol, study, cells)
    said = list(notes)
    if both is not None:
        compared = compare(protocol, both(cells), cells)
        findings += compared.findings
        tests += compared.tests
        said += compared.notes
        again = either(again, compared.at_level)
    adjusted, adjusted_tests = adjusted_findings(protocol, findings, again)
    return Results(
        findings=(*findings, *adjusted),
        curves=curves_of_targets(protocol, of_targets or {}, cells),
        accounting=tuple(
            Account(status=s, reference=r, stratum=cell, n=n, n_patients=people)
            for s, r, cell, n, people in accounting(population, labels)
        ),
        tests=(*tests, *adjusted_tests),
        notes=(
            *said,
            *common_notes(population.n, n_patients, labels, frame, weighted=protocol.analyses.weighting is not None),
        ),
    )


def _at_level(protocol: StudyProtocol, study: Study, cells: Sequence[Cell]) -> AtLevel:
    """Estimates of one endpoint at any level, in the groups its criterion is judged in."""
    again = study.at(two_sided_level(protocol.confidence))

    def found(endpoint: Endpoint, condition: str | None, level: float) -> list[Finding]:
        outputs, references = policies(protocol, condition)
        wanted = [c for c in cells if judged_in(protocol, endpoint, c)]
        question = Question(endpoint=endpoint, role=endpoint.role, prespecified=True)
        estimates = again.at(level).answer([endpoint], wanted, outputs, references)
        return list(_findings([question], wanted, estimates))

    return found


def _findings(asked: Sequence[Question], cells: Sequence[Cell], found: Found) -> Iterator[Finding]:
    for question in asked:
        e = question.endpoint
        for i, cell in enumerate(cells):
            yield Finding(
                analysis=METRICS[e.metric].analysis,
                endpoint=e.name,
                metric=e.metric,
                role=question.role,
                target=e.target,
                operating_point=e.at,
                stratum=dict(cell.stratum),
                prespecified=question.prespecified,
                estimate=found[e.name, i],
            )


def confusion_findings(
    reference: Ints,
    predicted: Ints,
    has_reference: Bools,
    has_output: Bools,
    patient_index: Ints,
    names: Sequence[str],
    *,
    level: float,
    cells: Sequence[Cell],
) -> Iterator[Finding]:
    """The confusion matrix as counted, one finding per reference class (`target`) and predicted class (`condition`).

    Each is a share of the reference class. Cases without a reference are not in it; those without a usable output have
    a column of their own, under no assumption. Only for the whole set and strata of one column.
    """
    for cell in cells:
        if len(cell.stratum) > 1:
            continue
        within = cell.mask & has_reference
        for i, own in enumerate(names):
            rows = within & (reference == i)
            n = int(rows.sum())
            columns = [(name, has_output & (predicted == j)) for j, name in enumerate(names)]
            if bool((within & ~has_output).any()):
                columns.append((NO_OUTPUT, ~has_output))
            for name, hit in columns:
                yield Finding(
                    analysis="confusion",
                    endpoint=f"{own} called {name}",
                    metric="confusion",
                    role="descriptive",
                    target=own,
                    operating_point=None,
                    stratum=dict(cell.stratum),
                    condition=f"predicted={name}",
                    prespecified=False,
                    estimate=_cell_share(hit[rows], patient_index[rows], n, level, own),
                )


def _cell_share(hit: Bools, patient: Ints, n: int, level: float, name: str) -> Estimate:
    if n == 0:
        return Estimate.not_estimable(f"no cases of class '{name}'", n=0, level=level, n_patients=0)
    return clustered_proportion(hit, patient, level=level, n_positive=n, n_negative=0)


def share_rows(names: Sequence[str]) -> list[tuple[str, str | None, str | None]]:
    """Rows of the standard table that say how common each class is."""
    return [("prevalence", None, name) for name in names]


def share(
    protocol: StudyProtocol, endpoint: Endpoint, right: Bools | None, mask: Bools, patient: Ints
) -> Estimate | None:
    """The share of right cases with its closed interval; None for other figures, or where a bootstrap is asked for."""
    if right is None or endpoint.interval in ("percentile", "basic", "bca"):
        return None
    return clustered_proportion(
        right[mask],
        patient[mask],
        level=two_sided_level(protocol.confidence),
        method=cast(ProportionMethod, endpoint.interval or protocol.confidence.proportion),
    )


def enough(protocol: StudyProtocol, whole: bool, counts: Mapping[str, int], level: float, n: int) -> Estimate | None:
    """Why a stratum is too small for a figure that rests on these counts; None if it is not, or for the whole set."""
    least = protocol.small_strata.suppress_below
    if whole or n == 0:
        return None
    short = [(name, count) for name, count in counts.items() if count < least]
    if not short:
        return None
    name, count = min(short, key=lambda item: item[1])
    return Estimate.not_estimable(f"not assessable: {count} {name}, fewer than {least}", n=n, level=level)


def class_counts(reference: Ints, mask: Bools, names: Sequence[str]) -> dict[str, int]:
    """Cases of each class in a cell, named for a reason."""
    seen = np.bincount(reference[mask], minlength=len(names))
    return {f"cases of class '{name}'": int(n) for name, n in zip(names, seen, strict=True)}
