"""Shortcuts by behaviour: what becomes of answers when a suspected part of the image is taken out or put in.

The change is paired, case by case, and held against the same treatment of another place of equal size. Convicted: its
interval lies wholly beyond the margin on one side, and the change exceeds that of the other place on the same side.
Acquitted: its interval lies wholly within every margin. A picture of what a model attends to decides nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from evalsuite.analyses.changed_study import changed_study
from evalsuite.analyses.classes import build_class_population
from evalsuite.analyses.common import Cell, Results, cells_of
from evalsuite.analyses.cuts import two_sided_level
from evalsuite.analyses.population import Bools, Floats, Ints, Population, build_population
from evalsuite.analyses.resampling import Resampling
from evalsuite.analyses.wrong_cases import operating_point
from evalsuite.errors import InputError
from evalsuite.protocol.comparisons import COMPARABLE
from evalsuite.protocol.interpretability import Interpretability
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.protocol.shortcuts import CALLS, NOT_CHANGED, SCORE, Shortcut, questions_of
from evalsuite.stats._resampled import resampled
from evalsuite.stats.case_means import mean_of
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.testset.strata import assign_strata
from evalsuite.types import Estimate, Finding

ANALYSIS = "interpretability"
#: What differences are held against: the same images as they are, and the same cases treated at another place.
UNCHANGED, ELSEWHERE = "unchanged images", "another place"
ANSWERS, OVERALL = "answers", "all margins"
VERDICT, FOUND = "shortcut_verdict", "cases_with_region"
CONVICTED, ACQUITTED = 1.0, 0.0
_COMPARISON = "comparison"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cases:
    """Cases `rows (k,)` of the set in lock order with answers as they are, changed, and treated at another place."""

    rows: Ints
    case_id: tuple[str, ...]
    patient_id: tuple[str, ...]
    frame: pd.DataFrame
    clean: pd.DataFrame
    changed: pd.DataFrame
    control: pd.DataFrame

    def pick(self, mask: Bools) -> _Cases:
        at = np.flatnonzero(mask)
        tables = {k: getattr(self, k).iloc[at].reset_index(drop=True) for k in ("frame", "clean", "changed", "control")}
        return _Cases(
            rows=self.rows[at],
            case_id=tuple(self.case_id[i] for i in at),
            patient_id=tuple(self.patient_id[i] for i in at),
            **tables,
        )

    @property
    def who(self) -> dict[str, Any]:
        return {"case_id": self.case_id, "patient_id": self.patient_id, "frame": self.frame}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """Scores (NaN: none), classes called (−1: none) and the reference of some cases, (n,) each."""

    score: Floats
    call: Ints
    patient_index: Ints
    positive: Bools | None
    has_reference: Bools


def shortcut_figures(
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
    conditions: pd.DataFrame,
    evaluate: Callable[..., Results],
) -> Results:
    """Everything `analyses.interpretability.shortcuts` asks for; nothing without it.

    Findings of `condition` "shortcut/NAME": of endpoint "answers" `cases_with_region`, `score_change` (also
    `score_change_positive`, `score_change_negative`) and `flip_rate`; of each endpoint its own estimate and its
    difference. `reference_group` "unchanged images" is the paired change, "another place" what it has beyond the same
    treatment of another place; condition "shortcut/NAME/control" is that treatment's own change. `shortcut_verdict` is
    1 for convicted, 0 for acquitted, else not estimable with the reason; of endpoint "all margins" for all of them.

    `conditions` are the rows of the predictions that have a condition; `evaluate` is `tasks.evaluate_task`.

    Raises
    ------
    InputError
        If a condition that the block asks for has no answers.
    """
    block = protocol.analyses.interpretability
    findings: list[Finding] = []
    notes: list[str] = []
    for asked in () if block is None else block.shortcuts:
        assert block is not None
        whole = _together(asked, case_id, patient_id, frame, predictions, conditions)
        test = _Test(protocol, block, asked, whole, evaluate)
        findings += test.findings()
        notes.append(
            f"Shortcut {asked.name}: the region was {'changed' if asked.change == 'remove' else 'put in'} in "
            f"{len(test.affected.rows)} of {len(whole.rows)} cases drawn without regard to groups or reference."
        )
    return Results(findings=tuple(findings), curves=(), accounting=(), tests=(), notes=tuple(notes))


def _together(
    asked: Shortcut,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
    conditions: pd.DataFrame,
) -> _Cases:
    """The cases of which there is a row of both conditions, in lock order."""
    device = conditions[conditions["rater"] == "device"]
    at = {case: i for i, case in enumerate(case_id)}
    places: list[dict[int, int]] = []
    tables: list[pd.DataFrame] = []
    for name in (asked.condition, asked.control):
        table = device[device["condition"] == name]
        if table.empty:
            raise InputError(
                f"The predictions have no answers in the condition {name} of the shortcut tests.",
                hint="Run the model again with this protocol.",
            )
        places.append({at[str(c)]: k for k, c in enumerate(table["case_id"]) if str(c) in at})
        tables.append(table.assign(condition=None))
    rows = sorted(places[0].keys() & places[1].keys())
    return _Cases(
        rows=np.array(rows, dtype=np.int64),
        case_id=tuple(case_id[i] for i in rows),
        patient_id=tuple(patient_id[i] for i in rows),
        frame=frame.iloc[rows].reset_index(drop=True),
        clean=predictions.iloc[rows].reset_index(drop=True),
        changed=tables[0].iloc[[places[0][i] for i in rows]].reset_index(drop=True),
        control=tables[1].iloc[[places[1][i] for i in rows]].reset_index(drop=True),
    )


def _done(table: pd.DataFrame) -> Bools:
    """Rows whose image was changed, whether or not the device then gave an answer."""
    return np.array([r not in NOT_CHANGED for r in table["reason"]], dtype=bool)


class _Test:
    """One shortcut test on the cases that have the region, and on those of them with a control."""

    def __init__(
        self,
        protocol: StudyProtocol,
        block: Interpretability,
        asked: Shortcut,
        whole: _Cases,
        evaluate: Callable[..., Results],
    ) -> None:
        self.protocol, self.asked, self.evaluate, self.whole = protocol, asked, evaluate, whole
        answered = np.array(whole.clean["status"] == "ok", dtype=bool)
        self.has = _done(whole.changed)
        self.affected = whole.pick(self.has & answered)
        self.held = self.affected.pick(_done(self.affected.control))
        self.level = two_sided_level(protocol.confidence)
        self.least = protocol.small_strata.suppress_below
        self.strata = [
            s for s in protocol.strata if s.cross is None and (block.groups is None or s.name in block.groups)
        ]
        self.point = operating_point(protocol, asked.at).name if protocol.operating_points else None

    def findings(self) -> Iterator[Finding]:
        """Everything, the verdicts last."""
        yield self._found()
        made: list[Finding] = []
        if len(self.affected.rows) >= self.least:
            made += self._answers()
            made += self._endpoints()
        yield from made
        yield from self._verdicts(made)

    def _finding(self, metric: str, estimate: Estimate, *, control: bool = False, against: str | None = UNCHANGED,
                 endpoint: str = ANSWERS, stratum: dict[str, str] | None = None) -> Finding:  # fmt: skip
        return Finding(
            analysis=ANALYSIS,
            endpoint=endpoint,
            metric=metric,
            role="secondary",
            target=None,
            operating_point=self.point,
            stratum=stratum or {},
            condition=self.asked.control if control else self.asked.condition,
            reference_group=against,
            estimate=estimate,
        )

    def _found(self) -> Finding:
        if not len(self.whole.rows):
            return self._finding(FOUND, Estimate.not_estimable("no cases", n=0, level=self.level), against=None)
        index = np.unique(np.array(self.whole.patient_id), return_inverse=True)[1]
        return self._finding(FOUND, clustered_proportion(self.has, index, level=self.level), against=None)

    # --- scores and calls -------------------------------------------------------------------------------------------

    def _answers(self) -> Iterator[Finding]:
        clean, changed = (self._of(self.affected, name) for name in ("clean", "changed"))
        cells = cells_of(assign_strata(self.affected.frame, self.strata), len(self.affected.rows))
        binary = self.protocol.task.kind == "binary"
        if binary:
            change = changed.score - clean.score
            for cell, mean in zip(cells, self._means(change, clean.patient_index, cells), strict=True):
                yield self._finding("score_change", mean, stratum=dict(cell.stratum))
            assert clean.positive is not None
            for name, mask in (("positive", clean.positive), ("negative", ~clean.positive)):
                cell = Cell(stratum={"reference": name}, mask=mask & clean.has_reference)
                (mean,) = self._means(change, clean.patient_index, [cell])
                yield self._finding(f"score_change_{name}", mean)
        called = not binary or self.point is not None
        if called:
            other = changed.call != clean.call
            for cell in cells:
                share = self._share(other, clean.patient_index, cell)
                yield self._finding("flip_rate", share, stratum=dict(cell.stratum))
        if len(self.held.rows) < self.least:
            return
        clean, changed, control = (self._of(self.held, name) for name in ("clean", "changed", "control"))
        whole = [Cell(stratum={}, mask=np.ones(len(self.held.rows), dtype=bool))]
        who = clean.patient_index
        if binary:
            (alone,) = self._means(control.score - clean.score, who, whole)
            (beyond,) = self._means(changed.score - control.score, who, whole)
            yield self._finding("score_change", alone, control=True)
            yield self._finding("score_change", beyond, against=ELSEWHERE)
        if called:
            moved, elsewhere = changed.call != clean.call, control.call != clean.call
            yield self._finding("flip_rate", self._share(elsewhere, who, whole[0]), control=True)
            (beyond,) = self._means(moved.astype(np.float64) - elsewhere, who, whole)
            yield self._finding("flip_rate", beyond, against=ELSEWHERE)

    def _of(self, cases: _Cases, which: str) -> _Answers:
        """Scores and calls of one table of answers."""
        build = build_population if self.protocol.task.kind == "binary" else build_class_population
        p = build(self.protocol, **cases.who, predictions=getattr(cases, which))
        if not isinstance(p, Population):
            return _Answers(
                score=np.full(p.n, np.nan), call=p.predicted, patient_index=p.patient_index, positive=None,
                has_reference=p.has_reference,
            )  # fmt: skip
        call = np.where(p.has_output, 0, -1)
        if self.protocol.operating_points:
            point = operating_point(self.protocol, self.asked.at)
            yes = (p.score > point.threshold) if point.comparison == ">" else (p.score >= point.threshold)
            call = np.where(p.has_output, yes.astype(np.int64), -1)
        return _Answers(
            score=p.score, call=call, patient_index=p.patient_index, positive=p.positive, has_reference=p.has_reference
        )

    def _means(self, values: Floats, patient_index: Ints, cells: Sequence[Cell]) -> list[Estimate]:
        there = np.isfinite(values)
        masks = np.array([cell.mask & there for cell in cells])
        material, statistic = mean_of(np.where(there, values, 0.0), (-np.inf, np.inf))
        draw = Resampling.of(self.protocol, patient_index).draw
        found = resampled(draw, material, [statistic], masks=masks, level=self.level, method="percentile")
        return [
            self._too_small(int(mask.sum())) if mask.sum() < self.least else row[0]
            for mask, row in zip(masks, found, strict=True)
        ]

    def _share(self, other: Bools, patient_index: Ints, cell: Cell) -> Estimate:
        n = int(cell.mask.sum())
        if n < self.least:
            return self._too_small(n)
        return clustered_proportion(other[cell.mask], patient_index[cell.mask], level=self.level)

    def _too_small(self, n: int) -> Estimate:
        return Estimate.not_estimable(f"not assessable: {n} cases, fewer than {self.least}", n=n, level=self.level)

    # --- endpoints --------------------------------------------------------------------------------------------------

    def _chosen(self) -> list[Endpoint]:
        """Endpoints with a margin, and the primary ones of which paired differences are made; each question once."""
        found: dict[str, Endpoint] = {}
        for e in self.protocol.endpoints:
            if e.metric in COMPARABLE and (e.name in self.asked.margins or e.role == "primary"):
                same = e.model_copy(update={"stratum": {}, "each": None})
                key = same.model_dump_json(exclude={"name", "criterion", "rationale", "role"})
                if e.name in self.asked.margins or key not in found:
                    found[key] = e
        return list(found.values())

    def _endpoints(self) -> Iterator[Finding]:
        chosen = self._chosen()
        if not chosen:
            return
        for f in self._compared(chosen, self.affected, "changed", "clean"):
            if f.condition in ("candidate", "baseline") and not f.stratum:
                against = None if f.condition == "candidate" else UNCHANGED
                name = f.metric if f.condition == "candidate" else f"{f.metric}_unchanged"
                yield replace(f, metric=name, condition=self.asked.condition, reference_group=against)
            elif f.condition is None:
                yield replace(f, condition=self.asked.condition, reference_group=UNCHANGED)
        if len(self.held.rows) < self.least:
            return
        for f in self._compared(chosen, self.held, "control", "clean"):
            if f.condition is None and not f.stratum:
                yield replace(f, condition=self.asked.control, reference_group=UNCHANGED)
        for f in self._compared(chosen, self.held, "changed", "control"):
            if f.condition is None and not f.stratum:
                yield replace(f, condition=self.asked.condition, reference_group=ELSEWHERE)

    def _compared(self, chosen: Sequence[Endpoint], cases: _Cases, one: str, other: str) -> Iterator[Finding]:
        """Differences of endpoints between two tables of answers, made as every comparison with a baseline is."""
        study = changed_study(self.protocol, chosen, self.strata, images="changed images")
        tables = {"predictions": getattr(cases, one), "baseline": getattr(cases, other)}
        results = self.evaluate(study, **cases.who, **tables)
        by_name = {f"{e.name} on changed images": e for e in chosen}
        for f in results.findings:
            if f.analysis == _COMPARISON and f.endpoint in by_name:
                yield replace(f, analysis=ANALYSIS, endpoint=by_name[f.endpoint].name, role="secondary")

    # --- verdicts ---------------------------------------------------------------------------------------------------

    def _verdicts(self, made: Sequence[Finding]) -> Iterator[Finding]:
        n = len(self.affected.rows)
        verdicts = []
        for q in questions_of(self.protocol, self.asked):
            endpoint = ANSWERS if q.endpoint is None else q.of
            metric = {SCORE: "score_change", CALLS: "flip_rate"}.get(q.of) if q.endpoint is None else None
            metric = metric or f"{q.endpoint.metric if q.endpoint else q.of}_difference"
            by = {
                f.reference_group: f.estimate
                for f in made
                if f.endpoint == endpoint and f.metric == metric and not f.stratum
                and f.condition == self.asked.condition
            }  # fmt: skip
            if n < self.least:
                verdict = self._none(f"not assessable: the region was changed in {n} cases, fewer than {self.least}")
            else:
                verdict = self._verdict(by.get(UNCHANGED), by.get(ELSEWHERE), q.margin)
            verdicts.append(verdict)
            yield self._finding(VERDICT, verdict, against=None, endpoint=q.of)
        yield self._finding(VERDICT, self._joined(verdicts), against=None, endpoint=OVERALL)

    def _none(self, reason: str) -> Estimate:
        return Estimate.not_estimable(reason, n=len(self.affected.rows), level=self.level)

    def _decided(self, value: float) -> Estimate:
        return Estimate(
            value=value,
            level=self.level,
            method="interval of the change against the margin, and of its excess over another place against 0",
            n=len(self.affected.rows),
            interval_undefined="a verdict has no interval",
        )

    def _verdict(self, change: Estimate | None, beyond: Estimate | None, margin: float) -> Estimate:
        """What the interval of the change and that of its excess over the control say."""
        ends = self._ends(change)
        if ends is None or change is None:
            why = "no change was estimated" if change is None else change.undefined or "the change has no interval"
            return self._none(f"not assessable: {why}")
        low, high = ends
        if -margin < low and high < margin:
            return self._decided(ACQUITTED)
        if low <= margin and high >= -margin:
            return self._none("inconclusive: the interval of the change reaches over the margin")
        excess = self._ends(beyond)
        if excess is None:
            return self._none("inconclusive: there is no control to hold the change against")
        if excess[0] > 0.0 if low > margin else excess[1] < 0.0:
            return self._decided(CONVICTED)
        return self._none("inconclusive: the same treatment of another place may do as much")

    def _ends(self, estimate: Estimate | None) -> tuple[float, float] | None:
        """The interval; the value twice where enough patients all changed by the same amount, often by nothing."""
        if estimate is None or estimate.value is None:
            return None
        if estimate.low is not None and estimate.high is not None:
            return estimate.low, estimate.high
        alike = str(estimate.interval_undefined).startswith("all replicates equal")
        return (estimate.value, estimate.value) if alike and (estimate.n_patients or 0) >= self.least else None

    def _joined(self, verdicts: Sequence[Estimate]) -> Estimate:
        """Convicted by any of them, acquitted by all of them, else open."""
        if any(v.value == CONVICTED for v in verdicts):
            return self._decided(CONVICTED)
        if all(v.value == ACQUITTED for v in verdicts):
            return self._decided(ACQUITTED)
        return self._none(str(next(v.undefined for v in verdicts if v.undefined is not None)))
