"""Candidate against baseline on the same cases: paired differences with intervals and tests, in every stratum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from evalsuite.analyses.common import Cell, primary_reference_policy, variants
from evalsuite.analyses.metrics import COMPUTABLE, Cut, two_sided_level
from evalsuite.analyses.multiplicity import one_sided_p
from evalsuite.analyses.paired import Cutoff, Pair, Side, pair_up
from evalsuite.analyses.population import OutputPolicy, Population, ReferencePolicy
from evalsuite.protocol.comparisons import BASELINE, SUFFIX, compared_metric, criteria
from evalsuite.protocol.schema import Comparison, Endpoint, StudyProtocol
from evalsuite.stats.bootstrap import (
    BootstrapMethod,
    PatientDraw,
    ReplicateTable,
    binary_replicates,
    difference_estimate,
)
from evalsuite.stats.bootstrap import estimates as read_table
from evalsuite.stats.decision_curve import net_benefit_difference
from evalsuite.stats.differences import (
    McNemarMethod,
    PairedCounts,
    PairedMethod,
    mcnemar,
    paired_counts,
    paired_difference,
)
from evalsuite.stats.roc_compare import AurocDifference, paired_auroc_difference
from evalsuite.types import Estimate, Finding, TestOutcome

CANDIDATE = "candidate"
_PROPORTIONS = ("sensitivity", "specificity", "accuracy")
_RESAMPLED = ("percentile", "basic", "bca")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    """Replicates of both devices from one draw, and the row that is a cell's."""

    candidate: ReplicateTable
    baseline: ReplicateTable
    row: int


@dataclass(slots=True, kw_only=True)
class _Study:
    """What all comparisons of a protocol share; replicates are made once per comparison, cell and assumption."""

    protocol: StudyProtocol
    candidate: Population
    baseline: Population
    cells: Sequence[Cell]
    draw: PatientDraw
    pairs: dict[tuple[str, str | None, int], Pair] = field(default_factory=dict)
    tables: dict[tuple[str, str | None, int], _Tables] = field(default_factory=dict)

    @property
    def level(self) -> float:
        return two_sided_level(self.protocol.confidence)

    @property
    def complete(self) -> bool:
        """Nothing is missing, so that every cell sees the same population."""
        return bool(
            self.candidate.has_output.all() and self.baseline.has_output.all() and self.candidate.has_reference.all()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What the comparisons of a protocol contribute to the evidence; `at_level` re-estimates one at another level."""

    findings: tuple[Finding, ...]
    tests: tuple[TestOutcome, ...]
    notes: tuple[str, ...]
    study: _Study

    def at_level(self, endpoint: Endpoint, condition: str | None, level: float) -> list[Finding]:
        """One comparison in the groups its criterion is judged in, at another two-sided level."""
        study = self.study
        comparison = next(c for c in study.protocol.comparisons if c.name == endpoint.name)
        return [
            _finding(study, comparison, cell, condition, level)
            for cell in study.cells
            if _judged(study, comparison, cell)
        ]


def compare(
    protocol: StudyProtocol,
    candidate: Population,
    baseline: Population,
    cells: Sequence[Cell],
    draw: PatientDraw,
) -> Compared:
    """Every comparison of the protocol in every cell, and under every other assumption where something is missing.

    A difference is candidate minus baseline. Intervals: Tango's score (or Newcombe's) for sensitivity, specificity
    and accuracy, DeLong's covariance for the AUROC (Obuchowski's with several cases per patient), the shared patient
    bootstrap for all other metrics, and for proportions of clustered cases. Both devices' own values stand beside it,
    under the same assumptions, as findings of condition "candidate" and "baseline".

    Both populations hold the same cases in the same order; `draw` resamples their patients.
    """
    study = _Study(protocol=protocol, candidate=candidate, baseline=baseline, cells=cells, draw=draw)
    findings: list[Finding] = []
    tests: list[TestOutcome] = []
    for comparison in protocol.comparisons:
        for cell in cells:
            findings.append(_finding(study, comparison, cell, None, study.level))
            findings += _sides(study, comparison, cell)
        for condition, _, _ in _variants(study):
            findings += [
                replace(_finding(study, comparison, cell, condition, study.level), analysis="missing_data")
                for cell in cells
                if cell.whole or _judged(study, comparison, cell)
            ]
        tests += _tests(study, comparison)
    return Compared(findings=tuple(findings), tests=tuple(tests), notes=tuple(_notes(study)), study=study)


def _variants(study: _Study) -> list[tuple[str, OutputPolicy, ReferencePolicy]]:
    return list(
        variants(
            outputs=study.protocol.missing_outputs.primary,
            references=primary_reference_policy(study.protocol),
            missing_outputs=not (study.candidate.has_output.all() and study.baseline.has_output.all()),
            missing_references=not study.candidate.has_reference.all(),
        )
    )


def _judged(study: _Study, comparison: Comparison, cell: Cell) -> bool:
    if comparison.each is not None:
        spec = study.protocol.stratum(comparison.each)
        return set(cell.stratum) == set(spec.cross or [spec.name])
    return dict(cell.stratum) == dict(comparison.stratum)


def _key(study: _Study, comparison: Comparison, condition: str | None, cell: Cell) -> tuple[str, str | None, int]:
    return comparison.name, condition, next(i for i, c in enumerate(study.cells) if c is cell)


def _cutoff(study: _Study, name: str | None) -> Cutoff | None:
    if name is None:
        return None
    point = study.protocol.operating_point(name)
    return Cutoff(value=point.threshold, strict=point.comparison == ">")


def _pair(study: _Study, comparison: Comparison, cell: Cell, condition: str | None) -> Pair:
    key = _key(study, comparison, condition, cell)
    if key not in study.pairs:
        policy = dict([condition.split("=", 1)]) if condition is not None else {}
        study.pairs[key] = pair_up(
            study.candidate,
            study.baseline,
            compared_metric(comparison),
            cutoffs=(_cutoff(study, comparison.at), _cutoff(study, comparison.baseline_at or comparison.at)),
            outputs=cast(OutputPolicy, policy.get("missing_outputs", study.protocol.missing_outputs.primary)),
            references=cast(ReferencePolicy, policy.get("missing_reference", primary_reference_policy(study.protocol))),
            within=cell.mask,
        )
    return study.pairs[key]


def _finding(study: _Study, comparison: Comparison, cell: Cell, condition: str | None, level: float) -> Finding:
    return Finding(
        analysis="comparison",
        endpoint=comparison.name,
        metric=f"{compared_metric(comparison)}{SUFFIX}",
        role=comparison.role,
        target=str(study.protocol.task.reference),
        operating_point=comparison.at,
        stratum=dict(cell.stratum),
        condition=condition,
        reference_group=BASELINE,
        estimate=_difference(study, comparison, cell, condition, level),
    )


# --- the difference -------------------------------------------------------------------------------------------------


def _counts(study: _Study, pair: Pair) -> dict[str, Any]:
    positive = int((pair.reference & pair.include).sum())
    return {
        "n_positive": positive,
        "n_negative": int(pair.include.sum()) - positive,
        "n_patients": len(np.unique(study.candidate.patient_index[pair.include])),
    }


def _not_assessable(study: _Study, metric: str, pair: Pair, cell: Cell, level: float) -> Estimate | None:
    n = int(pair.include.sum())
    counts = _counts(study, pair)

    def no(reason: str) -> Estimate:
        return Estimate.not_estimable(reason, n=n, level=level, **counts)

    if COMPUTABLE[metric].needs_probability:
        for who, side in ((CANDIDATE, pair.candidate), (BASELINE, pair.baseline)):
            if side.probability is None:
                return no(f"the {who}'s score is not a probability")
    if pair.undefined is not None:
        return no(pair.undefined)
    if n == 0:
        return no("no cases")
    needs = {"positives": ("positive",), "negatives": ("negative",), "both": ("positive", "negative"), "any": ()}
    small = study.protocol.small_strata.suppress_below
    for word in needs[COMPUTABLE[metric].needs]:
        have = counts[f"n_{word}"]
        if have == 0:
            return no(f"no reference-{word} cases")
        if not cell.whole and have < small:
            return no(f"not assessable: {have} reference-{word} cases, fewer than {small}")
    if COMPUTABLE[metric].needs == "any" and not cell.whole and n < small:
        return no(f"not assessable: {n} cases, fewer than {small}")
    return None


def _difference(study: _Study, comparison: Comparison, cell: Cell, condition: str | None, level: float) -> Estimate:
    metric = compared_metric(comparison)
    pair = _pair(study, comparison, cell, condition)
    absent = _not_assessable(study, metric, pair, cell, level)
    if absent is not None:
        return absent
    counts = _counts(study, pair)
    resampled = comparison.interval in _RESAMPLED
    if metric == "net_benefit":
        return _net_benefit(study, comparison, pair, level)
    if metric == "auroc" and not resampled:
        return replace(_auroc(study, pair, level).estimate, **counts)
    if metric in _PROPORTIONS and not resampled and not study.candidate.clustered:
        among, right = _right(metric, pair)
        return paired_difference(
            paired_counts(right[0][among], right[1][among]),
            level=level,
            method=cast(PairedMethod, comparison.interval or "tango"),
            **_within(study, pair, among),
        )
    if metric in _PROPORTIONS and not resampled:
        among, right = _right(metric, pair)
        if bool((right[0] == right[1])[among].all()):
            return _no_discordance(study, comparison, pair, among, level)
    tables = _tables(study, comparison, cell, condition)
    found = difference_estimate(
        (tables.candidate, tables.row, 0),
        (tables.baseline, tables.row, 0),
        level=level,
        method=_method(study, comparison),
    )
    if metric in _PROPORTIONS:
        among, _ = _right(metric, pair)
        return replace(found, n=int(among.sum()), **_within(study, pair, among))
    return replace(found, n=int(pair.include.sum()), **counts)


def _no_discordance(study: _Study, comparison: Comparison, pair: Pair, among: np.ndarray, level: float) -> Estimate:
    """Both devices right and wrong on the same cases of clustered patients: no resample varies, so patients count.

    As for a single clustered proportion without variance, the effective number of cases is the number of patients.
    """
    counts = _within(study, pair, among)
    calls = pair.candidate.call
    assert calls is not None, "the protocol's loader requires an operating point"
    both = round(counts["n_patients"] * float((calls == pair.reference)[among].mean()))
    found = paired_difference(
        PairedCounts(both=both, first_only=0, second_only=0, neither=counts["n_patients"] - both),
        level=level,
        method=cast(PairedMethod, comparison.interval or "tango"),
        **counts,
    )
    n = int(among.sum())
    return replace(found, n=n, method=f"{found.method} on as many pairs as patients (no discordant pair)")


def _within(study: _Study, pair: Pair, among: np.ndarray) -> dict[str, Any]:
    """Positives, negatives and patients among the cases a proportion is of."""
    return {
        "n_positive": int((pair.reference & among).sum()),
        "n_negative": int((~pair.reference & among).sum()),
        "n_patients": len(np.unique(study.candidate.patient_index[among])),
    }


def _right(metric: str, pair: Pair) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """The cases a proportion is of, and where each device is right."""
    among = pair.include.copy()
    if metric != "accuracy":
        among &= pair.reference if metric == "sensitivity" else ~pair.reference
    calls = [s.call for s in (pair.candidate, pair.baseline)]
    assert calls[0] is not None, "the protocol's loader requires an operating point"
    assert calls[1] is not None, "the protocol's loader requires an operating point"
    return among, (calls[0] == pair.reference, calls[1] == pair.reference)


def _auroc(study: _Study, pair: Pair, level: float) -> AurocDifference:
    m = pair.include
    return paired_auroc_difference(
        pair.reference[m],
        pair.candidate.score[m],
        pair.baseline.score[m],
        level=level,
        cluster=study.candidate.patient_index[m] if study.candidate.clustered else None,
    )


def _net_benefit(study: _Study, comparison: Comparison, pair: Pair, level: float) -> Estimate:
    m = pair.include
    assert pair.candidate.probability is not None, "cells without probabilities are not assessable"
    assert pair.baseline.probability is not None, "cells without probabilities are not assessable"
    return net_benefit_difference(
        pair.reference[m],
        pair.candidate.probability[m],
        pair.baseline.probability[m],
        study.protocol.operating_point(str(comparison.at)).threshold,
        level=level,
        method=cast(BootstrapMethod, comparison.interval or "percentile"),
        replicates=study.protocol.confidence.bootstrap.replicates,
        seed=study.protocol.seed,
        prevalence=comparison.prevalence,
        cluster=study.candidate.patient_index[m],
    )


def _method(study: _Study, comparison: Comparison) -> BootstrapMethod:
    chosen = comparison.interval if comparison.interval in _RESAMPLED else None
    return cast(BootstrapMethod, chosen or study.protocol.confidence.bootstrap.interval)


def _tables(study: _Study, comparison: Comparison, cell: Cell, condition: str | None) -> _Tables:
    """Replicates of both devices in this cell; of all cells at once where they see the same population."""
    name, condition, position = _key(study, comparison, condition, cell)
    key = (name, condition, -1 if study.complete else position)
    if key not in study.tables:
        pair = _pair(study, comparison, study.cells[0] if study.complete else cell, condition)
        masks = np.array([c.mask for c in study.cells]) if study.complete else pair.include[np.newaxis]

        def table(side: Side) -> ReplicateTable:
            return binary_replicates(
                study.draw,
                reference=pair.reference,
                score=side.score,
                call=side.call,
                probability=side.probability,
                metrics=[compared_metric(comparison)],
                masks=masks,
                prevalence=comparison.prevalence,
                with_jackknife=_method(study, comparison) == "bca",
            )

        study.tables[key] = _Tables(candidate=table(pair.candidate), baseline=table(pair.baseline), row=0)
    return replace(study.tables[key], row=position if study.complete else 0)


# --- both devices' own values ---------------------------------------------------------------------------------------


def _sides(study: _Study, comparison: Comparison, cell: Cell) -> Iterator[Finding]:
    """Each device's own estimate on the cases and under the assumptions of the difference."""
    metric = compared_metric(comparison)
    pair = _pair(study, comparison, cell, None)
    absent = _not_assessable(study, metric, pair, cell, study.level)
    for i, (who, side, at) in enumerate(
        (
            (CANDIDATE, pair.candidate, comparison.at),
            (BASELINE, pair.baseline, comparison.baseline_at or comparison.at),
        )
    ):
        yield Finding(
            analysis="comparison",
            endpoint=comparison.name,
            metric=metric,
            role="descriptive",
            target=str(study.protocol.task.reference),
            operating_point=at,
            stratum=dict(cell.stratum),
            condition=who,
            estimate=absent or _own(study, comparison, cell, pair, side, at, i),
        )


def _own(
    study: _Study, comparison: Comparison, cell: Cell, pair: Pair, side: Side, at: str | None, which: int
) -> Estimate:
    metric = COMPUTABLE[compared_metric(comparison)]
    m = pair.include
    endpoint = Endpoint(
        name=comparison.name, metric=compared_metric(comparison), at=at, prevalence=comparison.prevalence
    )
    c = Cut(
        reference=pair.reference[m],
        score=side.score[m],
        call=None if side.call is None else side.call[m],
        probability=None if side.probability is None else side.probability[m],
        patient_index=study.candidate.patient_index[m],
        confidence=study.protocol.confidence,
        level=study.level,
        threshold=None if at is None else study.protocol.operating_point(at).threshold,
        seed=study.protocol.seed,
    )
    if metric.direct is not None and not (study.candidate.clustered and metric.clustered_by_bootstrap):
        found = metric.direct(c, endpoint)
    else:
        tables = _tables(study, comparison, cell, None)
        table = (tables.candidate, tables.baseline)[which]
        found = read_table(table, method=_method(study, comparison), level=study.level)[tables.row][0]
    missing: dict[str, Any] = {k: v for k, v in c.counts().items() if getattr(found, k) is None}
    return replace(found, **missing) if missing else found


# --- tests ----------------------------------------------------------------------------------------------------------


def _tests(study: _Study, comparison: Comparison) -> Iterator[TestOutcome]:
    """Tests of no difference in the whole set, and of each criterion where it is judged."""
    metric = compared_metric(comparison)
    whole = next(c for c in study.cells if c.whole)
    pair = _pair(study, comparison, whole, None)
    if _not_assessable(study, metric, pair, whole, study.level) is None:
        if metric == "auroc":
            yield replace(
                _auroc(study, pair, study.level).test,
                name=f"{comparison.name}: no difference",
                endpoint=comparison.name,
            )
        elif metric in _PROPORTIONS and not study.candidate.clustered:
            among, right = _right(metric, pair)
            counts = paired_counts(right[0][among], right[1][among])
            methods: tuple[McNemarMethod, ...] = ("exact", "mid-p")
            for how in methods:
                yield mcnemar(
                    counts.first_only,
                    counts.second_only,
                    method=how,
                    name=f"{comparison.name}: no difference",
                    endpoint=comparison.name,
                )
    for criterion in criteria(comparison):
        for cell in study.cells:
            if criterion.bound == "point" or not _judged(study, comparison, cell):
                continue
            p = one_sided_p(
                criterion,
                lambda level, cell=cell: _difference(study, comparison, cell, None, level),  # type: ignore[misc]
                alpha=study.protocol.confidence.alpha,
            )
            yield TestOutcome(
                name=f"{comparison.name} {criterion.op} {criterion.value:g}",
                statistic=None,
                p_value=p.value,
                method=f"one-sided, by inverting the interval ({p.method})",
                endpoint=comparison.name,
                stratum=dict(cell.stratum),
                undefined=p.undefined,
            )


def _notes(study: _Study) -> Iterator[str]:
    yield "Differences are candidate minus baseline, on the same cases."
    counts: Mapping[str, int] = {
        who: int((~population.has_output).sum())
        for who, population in ((CANDIDATE, study.candidate), (BASELINE, study.baseline))
    }
    if any(counts.values()):
        policy = study.protocol.missing_outputs.primary
        how = "wrong for the candidate and right for the baseline" if policy == "worst_case" else f"'{policy}'"
        yield (
            f"Without a usable output: {counts[CANDIDATE]} cases of the candidate, {counts[BASELINE]} of the baseline; "
            f"in differences they count as {how}."
        )
