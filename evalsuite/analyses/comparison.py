"""Candidate against baseline on the same cases: paired differences with intervals and tests, in every stratum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from evalsuite.analyses.common import Cell, judged_in, primary_reference_policy, variants
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.multiplicity import AtLevel, one_sided_p
from evalsuite.analyses.population import OutputPolicy
from evalsuite.protocol.comparisons import BASELINE, RATIO, SUFFIX, compared_metric, criteria, is_difference
from evalsuite.protocol.schema import Comparison, Endpoint, StudyProtocol
from evalsuite.types import Estimate, Finding, TestOutcome

CANDIDATE = "candidate"


class Paired(Protocol):
    """Both devices on one question, as a task's analysis sees it."""

    def difference(self, cell: Cell, condition: str | None, level: float) -> Estimate:
        """Candidate minus baseline at a two-sided level, under an assumption about missing data (None: primary)."""
        ...

    def ratio(self, cell: Cell) -> Estimate:
        """Candidate over baseline, for shares of cases."""
        ...

    def own(self, cell: Cell, which: int) -> Estimate:
        """One device's own estimate (0 the candidate's, 1 the baseline's), as the primary difference sees it."""
        ...

    def no_difference(self, cell: Cell) -> Iterator[TestOutcome]:
        """Tests of no difference."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Both:
    """Two devices to compare: each comparison's question by name, and what each device lacks."""

    pairs: Mapping[str, Paired]
    lost: tuple[int, int]
    missing_references: bool
    output_policies: Sequence[OutputPolicy] = ("worst_case", "best_case", "exclude", "as_negative", "as_positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What the comparisons of a protocol contribute to the evidence; `at_level` re-estimates one at another level."""

    protocol: StudyProtocol
    both: Both
    cells: Sequence[Cell]
    findings: tuple[Finding, ...]
    tests: tuple[TestOutcome, ...]
    notes: tuple[str, ...]

    def at_level(self, endpoint: Endpoint, condition: str | None, level: float) -> list[Finding]:
        """One comparison in the groups its criterion is judged in, at another two-sided level."""
        asked = next(c for c in self.protocol.comparisons if c.name == endpoint.name)
        pair = self.both.pairs[asked.name]
        judged = [c for c in self.cells if judged_in(self.protocol, asked, c)]
        return [
            _finding(self.protocol, asked, cell, pair.difference(cell, condition, level), condition) for cell in judged
        ]


def compare(protocol: StudyProtocol, both: Both, cells: Sequence[Cell]) -> Compared:
    """Every comparison of the protocol in every cell, and under every other assumption where something is missing.

    A difference is candidate minus baseline. Intervals: Tango's score (or Newcombe's) for shares of cases, DeLong's
    covariance for the AUROC (Obuchowski's with several cases per patient), the shared patient bootstrap for all other
    metrics, and for shares of clustered cases. Both devices' own values stand beside it, under the same assumptions,
    as findings of condition "candidate" and "baseline".
    """
    level = two_sided_level(protocol.confidence)
    more = variants(
        outputs=protocol.missing_outputs.primary,
        references=primary_reference_policy(protocol),
        missing_outputs=any(both.lost),
        missing_references=both.missing_references,
        output_policies=both.output_policies,
    )
    conditions = [condition for condition, _, _ in more]
    findings: list[Finding] = []
    tests: list[TestOutcome] = []
    for asked in protocol.comparisons:
        pair = both.pairs[asked.name]
        for cell in cells:
            findings.append(_finding(protocol, asked, cell, pair.difference(cell, None, level), None))
            findings += [_own(protocol, asked, cell, pair, which) for which in (0, 1)]
            if asked.ratio:
                findings.append(_ratio(protocol, asked, cell, pair))
        findings += [
            replace(
                _finding(protocol, asked, cell, pair.difference(cell, condition, level), condition),
                analysis="missing_data",
            )
            for condition in conditions
            for cell in cells
            if cell.whole or judged_in(protocol, asked, cell)
        ]
        tests += _tests(protocol, asked, pair, cells)
    return Compared(
        protocol=protocol,
        both=both,
        cells=cells,
        findings=tuple(findings),
        tests=tuple(tests),
        notes=tuple(_notes(protocol, both)),
    )


def _target(protocol: StudyProtocol, asked: Comparison) -> str | None:
    return str(protocol.task.reference) if protocol.task.kind == "binary" else asked.target


def _finding(
    protocol: StudyProtocol, asked: Comparison, cell: Cell, estimate: Estimate, condition: str | None
) -> Finding:
    return Finding(
        analysis="comparison",
        endpoint=asked.name,
        metric=f"{compared_metric(asked)}{SUFFIX}",
        role=asked.role,
        target=_target(protocol, asked),
        operating_point=asked.at,
        stratum=dict(cell.stratum),
        condition=condition,
        reference_group=BASELINE,
        estimate=estimate,
    )


def _ratio(protocol: StudyProtocol, asked: Comparison, cell: Cell, pair: Paired) -> Finding:
    found = _finding(protocol, asked, cell, pair.ratio(cell), None)
    return replace(found, metric=f"{compared_metric(asked)}{RATIO}", role="descriptive")


def _own(protocol: StudyProtocol, asked: Comparison, cell: Cell, pair: Paired, which: int) -> Finding:
    """Each device's own estimate on the cases and under the assumptions of the difference."""
    return Finding(
        analysis="comparison",
        endpoint=asked.name,
        metric=compared_metric(asked),
        role="descriptive",
        target=_target(protocol, asked),
        operating_point=(asked.at, asked.baseline_at or asked.at)[which],
        stratum=dict(cell.stratum),
        condition=(CANDIDATE, BASELINE)[which],
        estimate=pair.own(cell, which),
    )


def _tests(protocol: StudyProtocol, asked: Comparison, pair: Paired, cells: Sequence[Cell]) -> Iterator[TestOutcome]:
    """Tests of no difference in the whole set, and of each criterion where it is judged."""
    yield from pair.no_difference(next(c for c in cells if c.whole))
    for criterion in criteria(asked):
        for cell in cells:
            if criterion.bound == "point" or not judged_in(protocol, asked, cell):
                continue
            p = one_sided_p(
                criterion,
                lambda level, cell=cell: pair.difference(cell, None, level),  # type: ignore[misc]
                alpha=protocol.confidence.alpha,
            )
            yield TestOutcome(
                name=f"{asked.name} {criterion.op} {criterion.value:g}",
                statistic=None,
                p_value=p.value,
                method=f"one-sided, by inverting the interval ({p.method})",
                endpoint=asked.name,
                stratum=dict(cell.stratum),
                undefined=p.undefined,
            )


def _notes(protocol: StudyProtocol, both: Both) -> Iterator[str]:
    yield "Differences are candidate minus baseline, on the same cases."
    if any(both.lost):
        policy = protocol.missing_outputs.primary
        how = "wrong for the candidate and right for the baseline" if policy == "worst_case" else f"'{policy}'"
        yield (
            f"Without a usable output: {both.lost[0]} cases of the candidate, {both.lost[1]} of the baseline; "
            f"in differences they count as {how}."
        )


def either(own: AtLevel, difference: AtLevel) -> AtLevel:
    """Re-estimates endpoints of the candidate, and differences from the baseline."""

    def found(endpoint: Endpoint, condition: str | None, level: float) -> Sequence[Finding]:
        return (difference if is_difference(endpoint.metric) else own)(endpoint, condition, level)

    return found
