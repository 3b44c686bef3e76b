"""Averages over classes or labels: each against the rest, then the mean, a weighted mean, or all pooled (micro).

Used by tasks with several classes and by tasks with several labels alike: both are a table of yes/no answers, one
column per class or label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from evalsuite.stats._binary_inputs import BoolArray, FloatArray
from evalsuite.stats._binary_metrics import CALL_FORMULAS, Cells, Sums, undefined_reason
from evalsuite.stats._resampled import Material, Parts, Ranked, Statistic, resampled
from evalsuite.stats.bootstrap_interval import BootstrapMethod
from evalsuite.stats.draw import PatientDraw
from evalsuite.types import Estimate, Unit

Average = Literal["macro", "weighted", "micro"]
AVERAGES: tuple[Average, ...] = get_args(Average)
CALLED = ("sensitivity", "specificity", "ppv", "npv", "f1")
RANKED = ("auroc", "average_precision")
METRICS = tuple(f"{average}_{metric}" for average in AVERAGES for metric in (*CALLED, *RANKED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Columns of yes/no answers, one per class or label.

    `truth (n, k)` bool; `call (n, k)` bool or None; `score (n, k)` (any scale, higher means yes; infinite allowed) or
    None; `known (n, k)` False where a cell takes no part (its reference is not settled); `names` for reasons.
    """

    truth: BoolArray
    names: tuple[str, ...]
    call: BoolArray | None = None
    score: FloatArray | None = None
    known: BoolArray | None = None
    kind: str = "class"

    def __post_init__(self) -> None:
        shape = self.truth.shape
        if self.truth.dtype != np.bool_ or len(shape) != 2 or shape[1] != len(self.names) or not self.names:
            raise ValueError(f"truth must be bool of shape (n, {len(self.names)}), got {self.truth.dtype} {shape}")
        for name in ("call", "score", "known"):
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise ValueError(f"{name} must have shape {shape} like truth, got {array.shape}")
        if self.score is not None and bool(np.isnan(np.where(self.cells, self.score, 0.0)).any()):
            raise ValueError("score holds NaN; a case without a score must be handled before")

    @property
    def cells(self) -> BoolArray:
        return np.ones(self.truth.shape, dtype=np.bool_) if self.known is None else self.known


def averaged(
    draw: PatientDraw,
    answers: Answers,
    metrics: Sequence[str],
    *,
    masks: npt.ArrayLike | None = None,
    level: float = 0.95,
    method: BootstrapMethod = "bca",
    unit: Unit = "case",
    threads: int | None = None,
) -> list[list[Estimate]]:
    """Averages over classes or labels with patient-bootstrap intervals, `[stratum][metric]`.

    Parameters
    ----------
    metrics
        Names from `METRICS`: `macro_` (mean over classes), `weighted_` (weighted by each class's reference-positive
        cases) or `micro_` (all cells pooled into one two-by-two table, or one ranking) and sensitivity, specificity,
        ppv, npv, f1, auroc or average_precision.

    Returns
    -------
    list of list of Estimate
        Not estimable where a class or label that enters the average has no value (no reference-positive case, never
        called); the reason names it. A class is never left out silently. In a weighted average a class without
        reference-positive cases has weight 0.

    References
    ----------
    Sokolova & Lapalme, Inf Process Manag 45:427-437 (2009).
    """
    material = material_of(answers, metrics)
    statistics = [statistic_of(answers, metric) for metric in metrics]
    return resampled(draw, material, statistics, masks=masks, level=level, method=method, unit=unit, threads=threads)


def material_of(answers: Answers, metrics: Sequence[str]) -> Material:
    """The sums and rankings these metrics need."""
    unknown = sorted(set(metrics) - set(METRICS))
    if unknown:
        raise ValueError(f"unknown metric: {', '.join(unknown)}")
    split = [m.split("_", 1) for m in metrics]
    cells = answers.cells
    truth = answers.truth & cells
    sums: dict[str, FloatArray] = {"cells": cells.astype(np.float64), "positive": truth.astype(np.float64)}
    if any(metric in CALLED for _, metric in split):
        if answers.call is None:
            raise ValueError("these averages need calls")
        sums["tp"] = (truth & answers.call).astype(np.float64)
        sums["fp"] = (cells & ~answers.truth & answers.call).astype(np.float64)
    ranked: dict[str, list[Ranked]] = {}
    asked = [(average, metric) for average, metric in split if metric in RANKED]
    if asked:
        if answers.score is None:
            raise ValueError("these averages need scores")
        if any(average != "micro" for average, _ in asked):
            ranked["each"] = [_column(answers, k) for k in range(len(answers.names))]
        if any(average == "micro" for average, _ in asked):
            case, column = np.nonzero(cells)
            ranked["pooled"] = [
                Ranked(reference=answers.truth[case, column], score=answers.score[case, column], case=case)
            ]
    return Material(sums=sums, ranked=ranked, ranks=tuple(m for m in RANKED if any(m == x for _, x in asked)))


def _column(answers: Answers, k: int) -> Ranked:
    assert answers.score is not None, "checked by the caller"
    case = np.flatnonzero(answers.cells[:, k])
    return Ranked(reference=answers.truth[case, k], score=answers.score[case, k], case=case)


def statistic_of(answers: Answers, metric: str) -> Statistic:
    """The formula of one average and the reason where it has no value."""
    average, name = metric.split("_", 1)
    return Statistic(
        value=lambda parts: _value(parts, average, name),
        reason=lambda parts: _reason(parts, average, name, answers),
    )


def _cells(parts: Parts) -> Cells:
    tp, fp, positive = parts.sums["tp"], parts.sums["fp"], parts.sums["positive"]
    return Cells(tp=tp, fp=fp, fn=positive - tp, tn=parts.sums["cells"] - positive - fp)


def _each(parts: Parts, name: str) -> FloatArray:
    """`(r, k)` values of every class."""
    if name in CALLED:
        return CALL_FORMULAS[name](_cells(parts))
    return (parts.auroc if name == "auroc" else parts.average_precision)["each"]


def _value(parts: Parts, average: str, name: str) -> FloatArray:
    if average == "micro":
        if name in CALLED:
            c = _cells(parts)
            pooled = Cells(tp=c.tp.sum(axis=1), fp=c.fp.sum(axis=1), fn=c.fn.sum(axis=1), tn=c.tn.sum(axis=1))
            return CALL_FORMULAS[name](pooled)
        return (parts.auroc if name == "auroc" else parts.average_precision)["pooled"][:, 0]
    values = _each(parts, name)
    if average == "macro":
        return np.asarray(values.mean(axis=1))
    weight = parts.sums["positive"]
    total = weight.sum(axis=1)
    weighted = np.where(weight > 0.0, weight * values, 0.0).sum(axis=1)
    return np.asarray(np.divide(weighted, total, out=np.full(total.shape, np.nan), where=total > 0.0))


def _reason(parts: Parts, average: str, name: str, answers: Answers) -> str:
    positive, cells = parts.sums["positive"][0], parts.sums["cells"][0]
    if average == "micro":
        called = float((parts.sums["tp"] + parts.sums["fp"])[0].sum()) if name in CALLED else 0.0
        return _why(name, float(cells.sum()), float(positive.sum()), called)
    values = _each(parts, name)[0]
    weight = positive if average == "weighted" else np.ones(len(values))
    lost = np.flatnonzero(np.isnan(values) & (weight > 0.0))
    if lost.size == 0:
        return "no reference-positive cases"
    k = int(lost[0])
    called = float((parts.sums["tp"] + parts.sums["fp"])[0, k]) if name in CALLED else 0.0
    why = _why(name, float(cells[k]), float(positive[k]), called)
    more = f", and {lost.size - 1} more" if lost.size > 1 else ""
    return f"{answers.kind} '{answers.names[k]}': {why}{more}"


def _why(name: str, n: float, positive: float, called: float) -> str:
    row = np.array([1.0])
    return undefined_reason(name, Sums(n=row * n, positive=row * positive, tp=row * 0.0, fp=row * called))
