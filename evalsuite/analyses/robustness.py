"""Degraded images: what each amount of each degradation changes, pair by pair, and where a criterion would be lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from evalsuite.analyses.changed_study import changed_study
from evalsuite.analyses.common import Cell, Results, cells_of
from evalsuite.analyses.cuts import two_sided_level
from evalsuite.analyses.robustness_answers import ANALYSIS, ANSWERS, CLEAN, Pair, answer_findings, pair_of
from evalsuite.analyses.robustness_precision import precision_findings
from evalsuite.analyses.wrong_cases import operating_point
from evalsuite.errors import InputError
from evalsuite.protocol.robustness import (
    BATCH,
    IDENTITY,
    OWN,
    Robustness,
    conditions_of,
    endpoints_of,
    kinds_of,
    names_of,
    settings_of,
)
from evalsuite.protocol.schema import Criterion, Endpoint, StudyProtocol
from evalsuite.testset.strata import assign_strata
from evalsuite.types import Estimate, Finding

_COMPARISON = "comparison"


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
    cases (`reference_group` "clean images"), and of endpoint "answers" what changed case by case: `score_change`,
    `absolute_score_change` and `flip_rate` (of each label, and of a whole case), `mask_agreement`.
    `criterion_lost_at` is the first severity at which the endpoint's bound does not clear its goal, in this sample.
    `conditions` are the rows of the predictions that have a condition; `evaluate` is `tasks.evaluate_task`, so that
    paired differences are those of every comparison.

    Raises
    ------
    InputError
        If a condition that the block asks for has no answers.
    """
    asked = protocol.analyses.robustness
    if asked is None:
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=())
    whole = _Whole(protocol, asked, case_id, patient_id, frame, predictions, conditions)
    cells = cells_of(assign_strata(frame, _strata(protocol, asked)), len(case_id))
    point = operating_point(protocol, asked.at).name if protocol.operating_points else None
    findings: list[Finding] = []
    for number, c in enumerate(conditions_of(asked)):
        pair = whole.pair(c.name)
        here = _within(cells if c.severity else cells[:1], pair)
        findings += answer_findings(protocol, pair, c.name, here, point, check=not c.severity)
        if c.severity or number == 0:
            findings += _endpoints(protocol, asked, whole, c.name, evaluate, clean=not c.severity)
    if whole.has(BATCH):
        pair = whole.pair(BATCH)
        findings += answer_findings(protocol, pair, BATCH, _within(cells[:1], pair), point, check=True)
    findings += _lost(protocol, asked, findings)
    for setting in settings_of(asked):
        pair = whole.pair(setting.name)
        findings += precision_findings(protocol, pair, setting.name, point)
        if pair.not_offered is None:
            first = _within(cells[:1], pair)
            findings += answer_findings(protocol, pair, setting.name, first, point, check=True)
            findings += _endpoints(protocol, asked, whole, setting.name, evaluate, clean=False, verdicts=True)
    return Results(findings=tuple(findings), curves=(), accounting=(), tests=(), notes=tuple(_notes(whole)))


def _within(cells: Sequence[Cell], pair: Pair) -> list[Cell]:
    """The groups among the sample's cases."""
    return [replace(c, mask=c.mask[pair.rows]) for c in cells]


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
        self.predictions, self.at = predictions, asked.at
        self._at = {case: i for i, case in enumerate(case_id)}
        self._rows = dict(tuple(conditions[conditions["rater"] == "device"].groupby("condition", sort=False)))
        wanted = names_of(asked)
        self._settings = {s.name for s in settings_of(asked)}
        missing = [name for name in wanted if name not in self._rows]
        if missing:
            raise InputError(
                f"The predictions have no answers in {len(missing)} conditions of analyses.robustness: "
                f"{', '.join(missing[:8])}.",
                hint="Run the model again with this protocol.",
            )

    def has(self, name: str) -> bool:
        return name in self._rows

    def parts(self, name: str) -> tuple[np.ndarray, dict[str, Any], pd.DataFrame, pd.DataFrame]:
        """Rows of the sample, its cases and reference, and both tables of answers, all in lock order.

        A setting of `precision` is compared with the same cases by themselves, run as the run was, where there are
        such answers: in a run they stood in other company.
        """
        rows, worse = self._in_order(name)
        cases = {
            "case_id": tuple(self.case_id[i] for i in rows),
            "patient_id": tuple(self.patient_id[i] for i in rows),
            "frame": self.frame.iloc[rows].reset_index(drop=True),
        }
        if name in self._settings and self.has(OWN):
            found, own = self._in_order(OWN)
            if np.array_equal(found, rows):
                return rows, cases, worse, own
        return rows, cases, worse, self.predictions.iloc[rows].reset_index(drop=True)

    def _in_order(self, name: str) -> tuple[np.ndarray, pd.DataFrame]:
        """Places in the set and answers of a condition's cases, in lock order."""
        table = self._rows[name]
        found = sorted((self._at[str(c)], k) for k, c in enumerate(table["case_id"]) if str(c) in self._at)
        answers = table.iloc[[k for _, k in found]].reset_index(drop=True)
        answers["condition"] = None
        return np.array([i for i, _ in found], dtype=np.int64), answers

    def pair(self, name: str) -> Pair:
        """Answers in a condition and without it."""
        rows, cases, worse, clean = self.parts(name)
        return pair_of(self.protocol, self.at, rows, cases, worse, clean)


def _strata(protocol: StudyProtocol, asked: Robustness) -> list[Any]:
    return [s for s in protocol.strata if s.cross is None and (asked.groups is None or s.name in asked.groups)]


# --- endpoints ------------------------------------------------------------------------------------------------------


def _endpoints(
    protocol: StudyProtocol,
    asked: Robustness,
    whole: _Whole,
    condition: str,
    evaluate: Callable[..., Results],
    *,
    clean: bool,
    verdicts: bool = False,
) -> Iterator[Finding]:
    """Each endpoint in a condition and its difference from the unchanged images; `clean`: that of those instead;
    `verdicts`: also how many criteria would be judged otherwise on these cases."""
    chosen = endpoints_of(protocol)
    if not chosen:
        return
    _, cases, worse, before = whole.parts(condition)
    results = evaluate(
        changed_study(protocol, chosen, _strata(protocol, asked), images="degraded images"),
        **cases,
        predictions=worse,
        baseline=before,
    )
    by_name = {f"{e.name} on degraded images": e for e in chosen}
    for f in results.findings:
        if f.analysis != _COMPARISON or f.endpoint not in by_name:
            continue
        named = replace(f, analysis=ANALYSIS, endpoint=by_name[f.endpoint].name, role="secondary")
        if clean and f.condition == "baseline" and not f.stratum:
            yield replace(named, condition=CLEAN, reference_group=None)
        elif not clean and f.condition == "candidate" and not f.stratum:
            yield replace(named, condition=condition, reference_group=None)
        elif not clean and f.condition is None:
            yield replace(named, condition=condition, reference_group=CLEAN)
    if verdicts:
        yield from _other_verdicts(protocol, by_name, results.findings, condition)


def _other_verdicts(
    protocol: StudyProtocol, by_name: Mapping[str, Endpoint], found: Sequence[Finding], condition: str
) -> Iterator[Finding]:
    """How many of the endpoints' criteria are cleared by one of the two runs and not by the other."""
    own = {
        (f.endpoint, f.condition): f.estimate
        for f in found
        if f.analysis == _COMPARISON and not f.stratum and f.condition in ("candidate", "baseline")
    }
    judged = {name: e.criterion for name, e in by_name.items() if e.criterion is not None}
    if not judged:
        return
    changed = [n for n, c in judged.items() if clears(own[n, "candidate"], c) != clears(own[n, "baseline"], c)]
    yield Finding(
        analysis=ANALYSIS,
        endpoint=ANSWERS,
        metric="criteria_changed",
        role="secondary",
        target=None,
        operating_point=None,
        condition=condition,
        reference_group=CLEAN,
        estimate=Estimate(
            value=float(len(changed)),
            level=two_sided_level(protocol.confidence),
            method="criteria whose bound lies on another side of its goal",
            n=len(judged),
            interval_undefined="a count of these criteria has no interval",
        ),
    )


def _lost(protocol: StudyProtocol, asked: Robustness, findings: Sequence[Finding]) -> Iterator[Finding]:
    """The first severity of each kind at which an endpoint's criterion would not be met by this sample."""
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
            yield Finding(
                analysis=ANALYSIS,
                endpoint=e.name,
                metric="criterion_lost_at",
                role="secondary",
                target=e.target,
                operating_point=e.at,
                condition=kind,
                estimate=estimate,
            )


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
