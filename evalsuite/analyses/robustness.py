"""Degraded images: what each amount of each degradation changes, pair by pair, and where a criterion would be lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from evalsuite.analyses.classes import build_class_population
from evalsuite.analyses.common import Cell, Results, cells_of
from evalsuite.analyses.cuts import two_sided_level
from evalsuite.analyses.population import Bools, Floats, Ints, Population, build_population
from evalsuite.analyses.resampling import Resampling
from evalsuite.analyses.wrong_cases import operating_point
from evalsuite.errors import InputError
from evalsuite.protocol.robustness import BATCH, IDENTITY, Condition, Robustness, conditions_of, endpoints_of, kinds_of
from evalsuite.protocol.schema import Analyses, Comparison, Criterion, Endpoint, Multiplicity, StudyProtocol
from evalsuite.stats._resampled import resampled
from evalsuite.stats.case_means import mean_of
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.testset.strata import StratumLabels, assign_strata
from evalsuite.types import Estimate, Finding

ANALYSIS = "robustness"
#: What findings of the sample's own images carry as condition, and differences as reference group.
CLEAN = "clean images"
ANSWERS = "answers"
_SHARED = ("metric", "at", "target", "prevalence", "top", "maximum", "tolerance")
_COMPARISON = "comparison"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """The sample in one condition and unchanged: (n,) arrays in lock order; `call` is the class called, −1 for none."""

    rows: np.ndarray
    patient_index: Ints
    score: tuple[Floats, Floats]
    call: tuple[Ints, Ints]

    @property
    def n(self) -> int:
        return len(self.rows)


def robustness_figures(
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
    conditions: pd.DataFrame,
    evaluate: Callable[..., Results],
) -> Results:
    """Everything `analyses.robustness` asks for; nothing without the block.

    Findings of `condition` "dose/3": each endpoint's own estimate, its difference from the unchanged images of the same
    cases (`reference_group` "clean images"), and of endpoint "answers" `score_change`, `absolute_score_change` and
    `flip_rate`. `criterion_lost_at` is the first severity at which the endpoint's bound does not clear its goal, in
    this sample. `conditions` are the rows of the predictions that have a condition; `evaluate` is
    `tasks.evaluate_task`, so that paired differences are those of every comparison.

    Raises
    ------
    InputError
        If a condition that the block asks for has no answers.
    """
    asked = protocol.analyses.robustness
    if asked is None:
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=())
    whole = _Whole(protocol, asked, case_id, patient_id, frame, predictions, conditions)
    labels = assign_strata(frame, _strata(protocol, asked))
    findings: list[Finding] = []
    for number, c in enumerate(conditions_of(asked)):
        pair = whole.pair(c.name)
        findings += _answers(protocol, pair, c.name, labels, in_groups=c.severity > 0)
        if c.severity:
            findings += _endpoints(protocol, asked, whole, c, evaluate, clean=False)
        elif number == 0:
            findings += _endpoints(protocol, asked, whole, c, evaluate, clean=True)
    if whole.has(BATCH):
        findings += _answers(protocol, whole.pair(BATCH), BATCH, labels, in_groups=False)
    findings += _lost(protocol, asked, findings)
    return Results(findings=tuple(findings), curves=(), accounting=(), tests=(), notes=tuple(_notes(whole)))


class _Whole:
    """The set's cases and the rows of every condition, by condition."""

    def __init__(
        self,
        protocol: StudyProtocol,
        asked: Robustness,
        case_id: tuple[str, ...],
        patient_id: tuple[str, ...],
        frame: pd.DataFrame,
        predictions: pd.DataFrame,
        conditions: pd.DataFrame,
    ) -> None:
        self.protocol, self.case_id, self.patient_id, self.frame = protocol, case_id, patient_id, frame
        self.predictions = predictions
        self._at = {case: i for i, case in enumerate(case_id)}
        self._rows = dict(tuple(conditions[conditions["rater"] == "device"].groupby("condition", sort=False)))
        missing = [c.name for c in conditions_of(asked) if c.name not in self._rows]
        if missing:
            raise InputError(
                f"The predictions have no answers in {len(missing)} conditions of analyses.robustness: "
                f"{', '.join(missing[:8])}.",
                hint="Run the model again with this protocol.",
            )

    def has(self, name: str) -> bool:
        return name in self._rows

    def parts(self, name: str) -> tuple[np.ndarray, dict[str, Any], pd.DataFrame, pd.DataFrame]:
        """Rows of the sample, its cases and reference, and both tables of answers, all in lock order."""
        table = self._rows[name]
        found = sorted((self._at[str(c)], k) for k, c in enumerate(table["case_id"]) if str(c) in self._at)
        rows = np.array([i for i, _ in found], dtype=np.int64)
        worse = table.iloc[[k for _, k in found]].reset_index(drop=True)
        worse["condition"] = None
        cases = {
            "case_id": tuple(self.case_id[i] for i in rows),
            "patient_id": tuple(self.patient_id[i] for i in rows),
            "frame": self.frame.iloc[rows].reset_index(drop=True),
        }
        return rows, cases, worse, self.predictions.iloc[rows].reset_index(drop=True)

    def pair(self, name: str) -> _Pair:
        """Scores and calls in a condition and without it."""
        asked = self.protocol.analyses.robustness
        assert asked is not None
        rows, cases, worse, clean = self.parts(name)
        build = build_population if self.protocol.task.kind == "binary" else build_class_population
        scores, calls = [], []
        who = np.zeros(0, dtype=np.int64)
        for table in (worse, clean):
            p = build(self.protocol, **cases, predictions=table)
            who = p.patient_index
            if not isinstance(p, Population):
                scores.append(np.full(p.n, np.nan))
                calls.append(p.predicted)
                continue
            scores.append(p.score)
            if not self.protocol.operating_points:
                calls.append(np.where(p.has_output, 0, -1))
                continue
            point = operating_point(self.protocol, asked.at)
            yes = (p.score > point.threshold) if point.comparison == ">" else (p.score >= point.threshold)
            calls.append(np.where(p.has_output, yes.astype(np.int64), -1))
        return _Pair(rows=rows, patient_index=who, score=(scores[0], scores[1]), call=(calls[0], calls[1]))


def _strata(protocol: StudyProtocol, asked: Robustness) -> list[Any]:
    return [s for s in protocol.strata if s.cross is None and (asked.groups is None or s.name in asked.groups)]


# --- scores and calls -----------------------------------------------------------------------------------------------


def _answers(
    protocol: StudyProtocol, pair: _Pair, name: str, labels: Mapping[str, StratumLabels], *, in_groups: bool
) -> Iterator[Finding]:
    """Change of the score, its size, and the share of cases whose call is another one."""
    asked = protocol.analyses.robustness
    assert asked is not None
    cells = [Cell(stratum={}, mask=np.ones(pair.n, dtype=bool))]
    if in_groups:
        cells += [
            Cell(stratum=c.stratum, mask=c.mask[pair.rows])
            for c in cells_of(labels, next((len(s.index) for s in labels.values()), 0))
            if not c.whole
        ]
    point = operating_point(protocol, asked.at).name if protocol.operating_points else None
    called = protocol.task.kind != "binary" or point is not None
    change = pair.score[0] - pair.score[1]
    both = np.isfinite(change)
    if protocol.task.kind == "binary":
        estimates = _means(protocol, pair, np.where(both, change, 0.0), both, cells)
        sizes = _means(protocol, pair, np.where(both, np.abs(change), 0.0), both, cells)
        for cell, mean, size in zip(cells, estimates, sizes, strict=True):
            yield _finding("score_change", mean, name, cell, ANSWERS, point)
            if cell.whole:
                yield _finding("absolute_score_change", size, name, cell, ANSWERS, point)
        if name in (IDENTITY, BATCH, *asked.symmetric) and both.any():
            largest = Estimate(
                value=float(np.abs(change[both]).max()),
                level=two_sided_level(protocol.confidence),
                method="largest over all cases",
                n=int(both.sum()),
                interval_undefined="a largest value has no interval",
            )
            yield _finding("largest_score_change", largest, name, cells[0], ANSWERS, point)
    if called:
        for cell in cells:
            yield _finding("flip_rate", _flips(protocol, pair, cell), name, cell, ANSWERS, point)


def _means(protocol: StudyProtocol, pair: _Pair, values: Floats, there: Bools, cells: Sequence[Cell]) -> list[Estimate]:
    level, least = two_sided_level(protocol.confidence), protocol.small_strata.suppress_below
    masks = np.array([cell.mask & there for cell in cells])
    material, statistic = mean_of(values, (-np.inf, np.inf))
    draw = Resampling.of(protocol, pair.patient_index).draw
    found = resampled(draw, material, [statistic], masks=masks, level=level, method="percentile")
    return [
        _too_small(int(mask.sum()), least, level) if not cell.whole and mask.sum() < least else row[0]
        for cell, mask, row in zip(cells, masks, found, strict=True)
    ]


def _flips(protocol: StudyProtocol, pair: _Pair, cell: Cell) -> Estimate:
    """An answer in one of the two only is another answer; cases with none in either are left out."""
    level, least = two_sided_level(protocol.confidence), protocol.small_strata.suppress_below
    worse, clean = pair.call
    mask = cell.mask & ~((worse < 0) & (clean < 0))
    if not mask.any():
        return Estimate.not_estimable("no cases", n=0, level=level)
    if not cell.whole and mask.sum() < least:
        return _too_small(int(mask.sum()), least, level)
    return clustered_proportion((worse != clean)[mask], pair.patient_index[mask], level=level)


def _too_small(n: int, least: int, level: float) -> Estimate:
    return Estimate.not_estimable(f"not assessable: {n} cases, fewer than {least}", n=n, level=level)


def _finding(metric: str, estimate: Estimate, name: str, cell: Cell, endpoint: str, point: str | None) -> Finding:
    return Finding(
        analysis=ANALYSIS,
        endpoint=endpoint,
        metric=metric,
        role="secondary",
        target=None,
        operating_point=point,
        stratum=dict(cell.stratum),
        condition=name,
        reference_group=CLEAN,
        estimate=estimate,
    )


# --- endpoints ------------------------------------------------------------------------------------------------------


def _endpoints(
    protocol: StudyProtocol,
    asked: Robustness,
    whole: _Whole,
    condition: Condition,
    evaluate: Callable[..., Results],
    *,
    clean: bool,
) -> Iterator[Finding]:
    """Each endpoint in a condition and its difference from the unchanged images; `clean`: that of those instead."""
    chosen = endpoints_of(protocol)
    if not chosen:
        return
    _, cases, worse, before = whole.parts(condition.name)
    results = evaluate(_study(protocol, asked, chosen), **cases, predictions=worse, baseline=before)
    by_name = {f"{e.name} on degraded images": e for e in chosen}
    for f in results.findings:
        if f.analysis != _COMPARISON or f.endpoint not in by_name:
            continue
        named = replace(f, analysis=ANALYSIS, endpoint=by_name[f.endpoint].name, role="secondary")
        if clean and f.condition == "baseline" and not f.stratum:
            yield replace(named, condition=CLEAN, reference_group=None)
        elif not clean and f.condition == "candidate" and not f.stratum:
            yield replace(named, condition=condition.name, reference_group=None)
        elif not clean and f.condition is None:
            yield replace(named, condition=condition.name, reference_group=CLEAN)


def _study(protocol: StudyProtocol, asked: Robustness, chosen: Sequence[Endpoint]) -> StudyProtocol:
    """The protocol of one condition: its images against the unchanged ones, and nothing judged."""
    comparisons = [
        Comparison(
            name=f"{e.name} on degraded images",
            **{k: getattr(e, k) for k in _SHARED if k in Comparison.model_fields and hasattr(e, k)},
        )
        for e in chosen
    ]
    bare = chosen[0].model_copy(update={"criterion": None, "role": "secondary", "stratum": {}, "each": None})
    return protocol.model_copy(
        update={
            "kind": "comparison",
            "endpoints": [bare],
            "comparisons": comparisons,
            "strata": _strata(protocol, asked),
            "analyses": Analyses(),
            "multiplicity": Multiplicity(),
            "decision_rule": "all_primary",
        }
    )


def _lost(protocol: StudyProtocol, asked: Robustness, findings: Sequence[Finding]) -> Iterator[Finding]:
    """The first severity of each kind at which an endpoint's criterion would not be met by this sample."""
    whole = Cell(stratum={}, mask=np.zeros(0, dtype=bool))
    level = two_sided_level(protocol.confidence)
    own = {
        (f.endpoint, f.condition): f
        for f in findings
        if not f.stratum and f.reference_group is None and f.endpoint != ANSWERS
    }
    for e in endpoints_of(protocol):
        if e.criterion is None or (e.name, CLEAN) not in own:
            continue
        n = own[e.name, CLEAN].estimate.n
        for kind in kinds_of(asked):
            steps = [c for c in conditions_of(asked) if c.kind == kind]
            kept = [clears(own[e.name, c.name].estimate, e.criterion) for c in steps if (e.name, c.name) in own]
            if not clears(own[e.name, CLEAN].estimate, e.criterion):
                why = "not met by the unchanged images of this sample either"
                estimate = Estimate.not_estimable(why, n=n, level=level)
            elif all(kept):
                estimate = Estimate.not_estimable("kept at every severity shown", n=n, level=level)
            else:
                estimate = Estimate(
                    value=float(steps[kept.index(False)].severity),
                    level=level,
                    method="first severity at which the bound does not clear the goal",
                    n=n,
                    interval_undefined="a first severity has no interval",
                )
            lost = _finding("criterion_lost_at", estimate, kind, whole, e.name, e.at)
            yield replace(lost, reference_group=None)


def clears(estimate: Estimate, criterion: Criterion) -> bool:
    """Whether the bound that the criterion names is on its good side; False where there is none."""
    bound = {"lower": estimate.low, "upper": estimate.high, "point": estimate.value}[criterion.bound]
    if bound is None:
        return False
    return {
        ">": bound > criterion.value,
        ">=": bound >= criterion.value,
        "<": bound < criterion.value,
        "<=": bound <= criterion.value,
    }[criterion.op]


def _notes(whole: _Whole) -> Iterator[str]:
    rows, cases, _, _ = whole.parts(IDENTITY)
    patients = len(set(cases["patient_id"]))
    yield (
        f"Robustness: {len(rows)} of {len(whole.case_id)} cases, of {patients} patients, drawn without regard to "
        "groups or reference."
    )
