"""Candidate against baseline on the same cases: paired differences with intervals and tests, in every stratum."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from evalsuite.analyses.common import Cell, judged_in, primary_reference_policy, variants
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.multiplicity import AtLevel, one_sided_p
from evalsuite.analyses.population import OutputPolicy
from evalsuite.protocol.comparisons import (
    BASELINE,
    ORIGINAL,
    RATIO,
    SUFFIX,
    compared_metric,
    compared_with,
    difference_endpoints,
    is_difference,
)
from evalsuite.protocol.schema import Comparison, Endpoint, StudyProtocol
from evalsuite.types import Estimate, Finding, TestOutcome

CANDIDATE = "candidate"
#: What a task has of a device it compares with: its predictions, or what was built of them.
Given = TypeVar("Given")


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
    """Two devices to compare (or three, `beside`): each comparison's question by name, and how many outputs the
    candidate lacks and each of those it is compared with, in the order of `compared_with`."""

    pairs: Mapping[str, Paired]
    lost: tuple[int, ...]
    missing_references: bool
    output_policies: Sequence[OutputPolicy] = ("worst_case", "best_case", "exclude", "as_negative", "as_positive")


def beside(
    protocol: StudyProtocol,
    baseline: Given | None,
    original: Given | None,
    make: Callable[[Given, tuple[Cell, ...]], Both],
) -> Callable[[tuple[Cell, ...]], Both] | None:
    """How the candidate is put beside the devices the protocol compares it with; None where it compares with none.

    `make` puts it beside one of them, given that one's predictions (as `baseline` or `original`). Each comparison is
    taken from the device it is against.
    """
    given = {who: frame for who, frame in ((BASELINE, baseline), (ORIGINAL, original)) if frame is not None}
    asked = {who: given[who] for who in compared_with(protocol) if who in given}
    if not asked:
        return None

    def put(cells: tuple[Cell, ...]) -> Both:
        made = {who: make(frame, cells) for who, frame in asked.items()}
        first = next(iter(made.values()))
        return replace(
            first,
            pairs={c.name: made[c.against].pairs[c.name] for c in protocol.comparisons},
            lost=(first.lost[0], *(both.lost[1] for both in made.values())),
        )

    return put


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
        judged = [c for c in self.cells if _judged(self.protocol, asked, c)]
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
            if cell.whole or _judged(protocol, asked, cell)
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


def _judged(protocol: StudyProtocol, asked: Comparison, cell: Cell) -> bool:
    """Whether the comparison itself or one of its guards is judged in the cell."""
    return any(judged_in(protocol, e, cell) for e in difference_endpoints(asked))


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
        reference_group=asked.against,
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
        condition=(CANDIDATE, asked.against)[which],
        estimate=pair.own(cell, which),
    )


def _tests(protocol: StudyProtocol, asked: Comparison, pair: Paired, cells: Sequence[Cell]) -> Iterator[TestOutcome]:
    """Tests of no difference in the whole set, and of each criterion where it is judged."""
    yield from pair.no_difference(next(c for c in cells if c.whole))
    for judged in difference_endpoints(asked):
        criterion = judged.criterion
        for cell in cells:
            if criterion is None or criterion.bound == "point" or not judged_in(protocol, judged, cell):
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
    others = compared_with(protocol)
    yield f"Differences are candidate minus {' or '.join(others)}, on the same cases."
    if any(both.lost):
        policy = protocol.missing_outputs.primary
        right = " and ".join(f"the {who}" for who in others)
        how = f"wrong for the candidate and right for {right}" if policy == "worst_case" else f"'{policy}'"
        lost = ", ".join(f"{n} of the {who}" for n, who in zip(both.lost[1:], others, strict=True))
        yield (
            f"Without a usable output: {both.lost[0]} cases of the candidate, {lost}; in differences they count as "
            f"{how}."
        )


def either(own: AtLevel, difference: AtLevel) -> AtLevel:
    """Re-estimates endpoints of the candidate, and differences from the baseline."""

    def found(endpoint: Endpoint, condition: str | None, level: float) -> Sequence[Finding]:
        return (difference if is_difference(endpoint.metric) else own)(endpoint, condition, level)

    return found
