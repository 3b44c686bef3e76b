"""The device's answers to the same cases twice: scores, calls, marks or masks, and what changed between the two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from evalsuite.analyses.classes import build_class_population
from evalsuite.analyses.common import Cell
from evalsuite.analyses.cuts import two_sided_level
from evalsuite.analyses.degraded_masks import AGREEMENT
from evalsuite.analyses.measurement_population import build_measurement_population
from evalsuite.analyses.multilabel import label_populations
from evalsuite.analyses.population import Bools, Floats, Ints, Population, build_population
from evalsuite.analyses.resampling import Resampling
from evalsuite.analyses.wrong_cases import operating_point
from evalsuite.inference.perturbed_names import NOT_OFFERED
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.protocol.several import targets
from evalsuite.stats._resampled import resampled
from evalsuite.stats.case_means import mean_of
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.types import Estimate, Finding

ANALYSIS = "robustness"
#: What findings of the sample's own images carry as condition, and differences as reference group.
CLEAN = "clean images"
ANSWERS = "answers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The sample in one condition and unchanged: (n,) arrays in lock order, of each target (None: the only one).

    `scores` are numbers of which a mean change means something; `calls` classes called, −1 for none; `numbers` all
    that the device said, for the largest change; `agreement` the Dice coefficient of the two masks of each structure;
    NaN where either is missing. `reasons` are why an answer is missing in the condition.
    """

    rows: np.ndarray
    patient_index: Ints
    scores: Mapping[str | None, tuple[Floats, Floats]] = field(default_factory=dict)
    calls: Mapping[str | None, tuple[Ints, Ints]] = field(default_factory=dict)
    numbers: tuple[Floats, Floats] | None = None
    agreement: Mapping[str, Floats] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        return len(self.rows)

    @property
    def not_offered(self) -> str | None:
        """Why no case has an answer in a setting that package or machine does not offer; None where some has one."""
        said = next((r for r in self.reasons if r.startswith(NOT_OFFERED)), None)
        return said if said is not None and len(self.reasons) == self.n else None

    @property
    def both(self) -> Bools:
        """Cases with an answer in the condition and without it."""
        made, own = self._everything()
        return np.asarray(np.isfinite(made).all(axis=1) & np.isfinite(own).all(axis=1))

    @property
    def same(self) -> Bools:
        """Cases whose two answers are equal to the last bit."""
        made, own = self._everything()
        return np.asarray((made == own).all(axis=1))

    def _everything(self) -> tuple[Floats, Floats]:
        """All numbers of each case; of masks their agreement beside that of equal ones, of bare calls the calls."""
        if self.numbers is not None:
            made, own = (x.reshape(self.n, -1) for x in self.numbers)
            return made, own
        if self.agreement:
            dice = np.stack(list(self.agreement.values()), axis=1)
            return dice, np.ones_like(dice)
        found = [np.stack([c[which] for c in self.calls.values()], axis=1).astype(np.float64) for which in (0, 1)]
        made, own = (np.where(x < 0, np.nan, x) for x in found)
        return made, own

    @property
    def largest(self) -> tuple[float, int] | None:
        """Largest change of any number, and of how many cases; absolute for numbers up to 1 in size, relative beyond,
        as the engine compares number formats."""
        if self.numbers is None:
            return None
        (worse, clean), both = self._everything(), self.both
        if not both.any():
            return None
        change = np.abs(worse[both] - clean[both]) / np.maximum(1.0, np.abs(clean[both]))
        return float(change.max(initial=0.0)), int(both.sum())


def pair_of(
    protocol: StudyProtocol,
    at: str | None,
    rows: np.ndarray,
    cases: Mapping[str, Any],
    worse: pd.DataFrame,
    clean: pd.DataFrame,
) -> Pair:
    """Both answers of every case of the sample, whatever the kind of task; `at` names the operating point of calls."""
    kind = protocol.task.kind
    reasons = tuple(str(r) for r, s in zip(worse["reason"], worse["status"], strict=True) if s != "ok" and r)
    common: dict[str, Any] = {"rows": rows, "reasons": reasons}
    if kind == "segmentation":
        return Pair(patient_index=_patients(cases["patient_id"]), agreement=_agreement(protocol, worse), **common)
    if kind == "binary":
        two = tuple(build_population(protocol, **cases, predictions=t) for t in (worse, clean))
        score = (two[0].score, two[1].score)
        called = _called(protocol, at, two)
        return Pair(
            patient_index=two[0].patient_index,
            scores={None: score},
            calls={} if called is None else {None: called},
            numbers=score,
            **common,
        )
    if kind == "multilabel":
        both = [label_populations(protocol, **cases, predictions=t) for t in (worse, clean)]
        return _labels(protocol, at, both, common)
    if kind == "regression":
        measured = [build_measurement_population(protocol, **cases, predictions=t) for t in (worse, clean)]
        numbers = (measured[0].device, measured[1].device)
        return Pair(patient_index=measured[0].patient_index, scores={None: numbers}, numbers=numbers, **common)
    if kind == "detection":
        return _marks(protocol, at, _patients(cases["patient_id"]), (worse, clean), common)
    answered = [build_class_population(protocol, **cases, predictions=t) for t in (worse, clean)]
    one, two_ = answered
    grades: dict[str | None, tuple[Floats, Floats]] = {}
    if one.value is not None and two_.value is not None:
        grades[None] = (one.value, two_.value)
    numbers_ = (one.score, two_.score) if one.score is not None and two_.score is not None else grades.get(None)
    return Pair(
        patient_index=one.patient_index,
        scores=grades,
        calls={None: (one.predicted, two_.predicted)},
        numbers=numbers_,
        **common,
    )


def _patients(patient_id: Sequence[str]) -> Ints:
    index = {p: i for i, p in enumerate(dict.fromkeys(patient_id))}
    return np.array([index[p] for p in patient_id], dtype=np.int64)


def _agreement(protocol: StudyProtocol, worse: pd.DataFrame) -> dict[str, Floats]:
    from evalsuite.protocol.segmentation import structures

    found = worse[AGREEMENT].tolist()
    return {
        name: np.array([np.nan if f is None or f.get(name) is None else f[name] for f in found])
        for name in structures(protocol)
    }


def _called(protocol: StudyProtocol, at: str | None, two: Sequence[Population]) -> tuple[Ints, Ints] | None:
    """Calls at the operating point; None where the task has none."""
    if not protocol.operating_points:
        return None
    point = operating_point(protocol, at)
    made = []
    for p in two:
        yes = (p.score > point.threshold) if point.comparison == ">" else (p.score >= point.threshold)
        made.append(np.where(p.has_output, yes.astype(np.int64), -1))
    return made[0], made[1]


def _labels(
    protocol: StudyProtocol, at: str | None, both: Sequence[tuple[Population, ...]], common: Mapping[str, Any]
) -> Pair:
    names = targets(protocol)
    scores: dict[str | None, tuple[Floats, Floats]] = {}
    calls: dict[str | None, tuple[Ints, Ints]] = {}
    for name, worse, clean in zip(names, *both, strict=True):
        scores[name] = (worse.score, clean.score)
        called = _called(protocol, at, (worse, clean))
        if called is not None:
            calls[name] = called
    if calls:
        # A case's answer is all its labels: another one where any differs, none where any is missing.
        every = [np.stack([c[which] for c in calls.values()], axis=1) for which in (0, 1)]
        gone = [(e < 0).any(axis=1) for e in every]
        same = (every[0] == every[1]).all(axis=1)
        calls[None] = (np.where(gone[0], -1, np.where(same, 1, 2)), np.where(gone[1], -1, 1))
    numbers = tuple(np.stack([s[which] for s in scores.values()], axis=1) for which in (0, 1))
    return Pair(
        patient_index=both[0][0].patient_index, scores=scores, calls=calls, numbers=(numbers[0], numbers[1]), **common
    )


def _marks(
    protocol: StudyProtocol,
    at: str | None,
    patient_index: Ints,
    tables: tuple[pd.DataFrame, pd.DataFrame],
    common: Mapping[str, Any],
) -> Pair:
    """The number of marks per case (above the operating point, where there is one) and whether there is any."""
    point = operating_point(protocol, at) if protocol.operating_points else None
    counts, calls, scores = [], [], []
    for table in tables:
        ok = np.array([s == "ok" for s in table["status"]], dtype=bool)
        cells = [np.asarray(c if c is not None else (), dtype=np.float64) for c in table[str(protocol.task.score)]]
        if point is None:
            kept = cells
        elif point.comparison == ">":
            kept = [c[c > point.threshold] for c in cells]
        else:
            kept = [c[c >= point.threshold] for c in cells]
        n = np.array([len(c) for c in kept], dtype=np.float64)
        counts.append(np.where(ok, n, np.nan))
        calls.append(np.where(ok, (n > 0).astype(np.int64), -1))
        highest = np.array([c.max() if len(c) else np.nan for c in cells])
        scores.append(np.where(ok, highest, np.nan))
    return Pair(
        patient_index=patient_index,
        scores={None: (counts[0], counts[1])},
        calls={None: (calls[0], calls[1])},
        numbers=(np.stack([counts[0], _or_zero(scores[0])], 1), np.stack([counts[1], _or_zero(scores[1])], 1)),
        **common,
    )


def _or_zero(highest: Floats) -> Floats:
    """A case without a mark has no highest score: the number of its marks says so already."""
    return np.nan_to_num(highest, nan=0.0)


# --- findings -------------------------------------------------------------------------------------------------------


def answer_findings(
    protocol: StudyProtocol, pair: Pair, name: str, cells: Sequence[Cell], point: str | None, *, check: bool
) -> Iterator[Finding]:
    """Changes of scores, calls or masks in a condition; `check` adds the largest, which must not be any."""
    whole = next(c for c in cells if c.whole)
    if check and not pair.both.any():
        why = f"no case has an answer: {', '.join(sorted(set(pair.reasons)))}" if pair.reasons else "no cases"
        none = Estimate.not_estimable(why, n=0, level=two_sided_level(protocol.confidence))
        for structure in pair.agreement:
            yield _finding("lowest_mask_agreement", none, name, whole, None, structure)
        if not pair.agreement:
            yield _finding("largest_score_change", none, name, whole, point, None)
        return
    for target, (worse, clean) in pair.scores.items():
        change = worse - clean
        both = np.isfinite(change)
        means = _means(protocol, pair, np.where(both, change, 0.0), both, cells)
        sizes = _means(protocol, pair, np.where(both, np.abs(change), 0.0), both, [whole])
        for cell, mean in zip(cells, means, strict=True):
            yield _finding("score_change", mean, name, cell, point, target)
        yield _finding("absolute_score_change", sizes[0], name, whole, point, target)
    for structure, dice in pair.agreement.items():
        there = np.isfinite(dice)
        means = _means(protocol, pair, np.where(there, dice, 0.0), there, cells, bounds=(0.0, 1.0))
        for cell, mean in zip(cells, means, strict=True):
            yield _finding("mask_agreement", mean, name, cell, None, structure)
        if check and there.any():
            yield _finding("lowest_mask_agreement", _extreme(protocol, dice[there].min(), there), name, whole, None,
                           structure)  # fmt: skip
    if check and pair.largest is not None:
        value, n = pair.largest
        yield _finding("largest_score_change", _extreme(protocol, value, np.ones(n)), name, whole, point, None)
    for target, calls in pair.calls.items():
        for cell in cells:
            yield _finding("flip_rate", _flips(protocol, pair, calls, cell), name, cell, point, target)


def _extreme(protocol: StudyProtocol, value: float, counted: np.ndarray) -> Estimate:
    return Estimate(
        value=float(value),
        level=two_sided_level(protocol.confidence),
        method="most extreme of all cases",
        n=int(counted.sum()),
        interval_undefined="an extreme value has no interval",
    )


def _means(
    protocol: StudyProtocol,
    pair: Pair,
    values: Floats,
    there: Bools,
    cells: Sequence[Cell],
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> list[Estimate]:
    level, least = two_sided_level(protocol.confidence), protocol.small_strata.suppress_below
    masks = np.array([cell.mask & there for cell in cells])
    material, statistic = mean_of(values, bounds)
    draw = Resampling.of(protocol, pair.patient_index).draw
    found = resampled(draw, material, [statistic], masks=masks, level=level, method="percentile")
    return [
        _too_small(int(mask.sum()), least, level) if not cell.whole and mask.sum() < least else row[0]
        for cell, mask, row in zip(cells, masks, found, strict=True)
    ]


def _flips(protocol: StudyProtocol, pair: Pair, calls: tuple[Ints, Ints], cell: Cell) -> Estimate:
    """An answer in one of the two only is another answer; cases with none in either are left out."""
    level, least = two_sided_level(protocol.confidence), protocol.small_strata.suppress_below
    worse, clean = calls
    mask = cell.mask & ~((worse < 0) & (clean < 0))
    if not mask.any():
        return Estimate.not_estimable("no cases", n=0, level=level)
    if not cell.whole and mask.sum() < least:
        return _too_small(int(mask.sum()), least, level)
    return clustered_proportion((worse != clean)[mask], pair.patient_index[mask], level=level)


def _too_small(n: int, least: int, level: float) -> Estimate:
    return Estimate.not_estimable(f"not assessable: {n} cases, fewer than {least}", n=n, level=level)


def _finding(metric: str, estimate: Estimate, name: str, cell: Cell, point: str | None, target: str | None) -> Finding:
    return Finding(
        analysis=ANALYSIS,
        endpoint=ANSWERS,
        metric=metric,
        role="secondary",
        target=target,
        operating_point=point,
        stratum=dict(cell.stratum),
        condition=name,
        reference_group=CLEAN,
        estimate=estimate,
    )
