"""Agreement and discrimination on an ordered scale when patients have several cases: the patient bootstrap.

The closed-form intervals of `ordinal` take cases as independent; these do not. The estimates are the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from evalsuite.stats._binary_inputs import FloatArray
from evalsuite.stats._binary_metrics import ratio
from evalsuite.stats._kappa import agreement_weights
from evalsuite.stats._resampled import Material, Parts, Replicated, Statistic, read, replicated
from evalsuite.stats.bootstrap_interval import BootstrapMethod
from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.ordered_volume import components as ordered_components
from evalsuite.stats.ordered_volume import volume
from evalsuite.stats.ordinal import _grades, _vus_components
from evalsuite.types import Estimate, Unit

TABLE_METRICS = ("linear_kappa", "quadratic_kappa", "kendall_tau_b", "gwet_ac2", "accuracy", "adjacent_agreement")
METRICS = (*TABLE_METRICS, "rps")

_ONE_GRADE = "one of the two gives all cases the same grade"


def ordinal_bootstrap(
    draw: PatientDraw,
    device: npt.ArrayLike,
    reference: npt.ArrayLike,
    n_grades: int,
    metrics: Sequence[str],
    *,
    probability: npt.ArrayLike | None = None,
    masks: npt.ArrayLike | None = None,
    level: float = 0.95,
    method: BootstrapMethod = "bca",
    unit: Unit = "case",
    threads: int | None = None,
) -> list[list[Estimate]]:
    """Agreement of `(n,)` grades 0 … k − 1 with patient-bootstrap intervals, `[stratum][metric]`.

    `metrics` from `METRICS`; `rps` (normalised by k − 1) needs `probability (n, k)`. Definitions and references as the
    functions of the same names in `ordinal`.
    """
    table = ordinal_replicates(
        draw,
        device,
        reference,
        n_grades,
        metrics,
        probability=probability,
        masks=masks,
        with_jackknife=method == "bca",
        threads=threads,
    )
    return read(table, level=level, method=method, unit=unit)


def ordinal_replicates(
    draw: PatientDraw,
    device: npt.ArrayLike,
    reference: npt.ArrayLike,
    n_grades: int,
    metrics: Sequence[str],
    *,
    probability: npt.ArrayLike | None = None,
    masks: npt.ArrayLike | None = None,
    with_jackknife: bool = True,
    threads: int | None = None,
) -> Replicated:
    """Replicates of these figures, to be read at any level or set against another device's; see `ordinal_bootstrap`."""
    unknown = sorted(set(metrics) - set(METRICS))
    if unknown:
        raise ValueError(f"unknown metric: {', '.join(unknown)}")
    k = n_grades
    a, b = _grades(np.asarray(device), k, "device"), _grades(np.asarray(reference), k, "reference")
    if a.shape != b.shape:
        raise ValueError(f"device and reference hold one grade per case, got {a.size} and {b.size}")
    sums: dict[str, FloatArray] = {"n": np.ones((a.size, 1))}
    if any(m in TABLE_METRICS for m in metrics):
        sums["table"] = ((a * k + b)[:, None] == np.arange(k * k)[None, :]).astype(np.float64)
    if "rps" in metrics:
        if probability is None:
            raise ValueError("rps needs probability")
        p = np.asarray(probability, dtype=np.float64)
        if p.shape != (a.size, k):
            raise ValueError(f"probability must have shape ({a.size}, {k}), got {p.shape}")
        observed = np.arange(k - 1)[None, :] >= b[:, None]
        sums["rps"] = ((p.cumsum(axis=1)[:, :-1] - observed) ** 2).sum(axis=1, keepdims=True) / (k - 1.0)
    statistics = [_statistic(m, k) for m in metrics]
    return replicated(
        draw, Material(sums=sums), statistics, masks=masks, with_jackknife=with_jackknife, threads=threads
    )


def _statistic(metric: str, k: int) -> Statistic:
    if metric in ("linear_kappa", "quadratic_kappa"):
        w = agreement_weights(k, "linear" if metric == "linear_kappa" else "quadratic")
        return _of_table(
            lambda t: _kappa(t, w), k, "all cases fall in one category, so agreement by chance is complete"
        )
    if metric == "gwet_ac2":
        w = agreement_weights(k, "quadratic")
        return _of_table(lambda t: _gwet(t, w), k, "no cases", lowest=-math.inf)
    if metric == "kendall_tau_b":
        return _of_table(_tau_b, k, _ONE_GRADE)
    if metric == "rps":
        return Statistic(value=lambda p: ratio(p.sums["rps"][:, 0], p.sums["n"][:, 0]), reason=lambda p: "no cases")
    apart = np.abs(np.subtract.outer(np.arange(k), np.arange(k)))
    near = (apart <= (0 if metric == "accuracy" else 1)).astype(np.float64).reshape(-1)
    return Statistic(
        value=lambda p: ratio(p.sums["table"] @ near, p.sums["n"][:, 0]),
        reason=lambda p: "no cases",
        counts=lambda p: (float(p.sums["table"][0] @ near), float(p.sums["n"][0, 0])),
    )


def _of_table(formula: Callable[[FloatArray], FloatArray], k: int, reason: str, *, lowest: float = -1.0) -> Statistic:
    def value(parts: Parts) -> FloatArray:
        table = parts.sums["table"]
        return formula(table.reshape(table.shape[0], k, k))

    return Statistic(value=value, reason=lambda p: reason, bounds=(lowest, 1.0))


def _kappa(table: FloatArray, w: FloatArray) -> FloatArray:
    n = table.sum(axis=(1, 2))
    by_chance = np.einsum("ri,ij,rj->r", table.sum(axis=2), w, table.sum(axis=1))
    seen = n * (table * w).sum(axis=(1, 2))
    return ratio(seen - by_chance, np.where(n * n - by_chance <= 1e-12 * n * n, 0.0, n * n - by_chance))


def _gwet(table: FloatArray, w: FloatArray) -> FloatArray:
    k = len(w)
    n = table.sum(axis=(1, 2))
    share = ratio(table.sum(axis=2) + table.sum(axis=1), np.broadcast_to(2.0 * n[:, None], (len(n), k)).copy())
    expected = float(w.sum()) / (k * (k - 1)) * (share * (1.0 - share)).sum(axis=1)
    observed = ratio((table * w).sum(axis=(1, 2)), n)
    return ratio(observed - expected, 1.0 - expected)


def _tau_b(table: FloatArray) -> FloatArray:
    """Concordant less discordant pairs, over the geometric mean of the pairs not tied in one and in the other."""
    n = table.sum(axis=(1, 2))
    rows, columns = table.sum(axis=2), table.sum(axis=1)
    below = np.zeros((len(table), table.shape[1] + 1, table.shape[2] + 1))
    below[:, 1:, 1:] = table.cumsum(axis=1).cumsum(axis=2)
    beneath = below[:, :-1, :-1]
    # Cases in a higher row and a lower column.
    crossed = below[:, -1:, :-1] - below[:, 1:, :-1]
    score = 2.0 * (table * (beneath - crossed)).sum(axis=(1, 2))
    spread = (n * n - (rows**2).sum(axis=1)) * (n * n - (columns**2).sum(axis=1))
    return ratio(score, np.sqrt(np.maximum(spread, 0.0)))


def vus_bootstrap(
    draw: PatientDraw,
    score: npt.ArrayLike,
    grade: npt.ArrayLike,
    *,
    n_grades: int = 3,
    masks: npt.ArrayLike | None = None,
    level: float = 0.95,
    method: BootstrapMethod = "bca",
    unit: Unit = "case",
) -> list[Estimate]:
    """Volume under the ROC surface (with more grades, the manifold), one estimate per stratum, patients resampled.

    The bias correction's skewness comes from the structural components (the influence of each patient's cases).
    """
    table = vus_replicates(draw, score, grade, n_grades=n_grades, masks=masks)
    return [row[0] for row in read(table, level=level, method=method, unit=unit)]


def vus_replicates(
    draw: PatientDraw,
    score: npt.ArrayLike,
    grade: npt.ArrayLike,
    *,
    n_grades: int = 3,
    masks: npt.ArrayLike | None = None,
) -> Replicated:
    """Replicates of the volume, to be read at any level or set against another device's; see `vus_bootstrap`."""
    s, g = np.asarray(score, dtype=np.float64), _grades(np.asarray(grade), n_grades, "grade")
    if s.shape != g.shape or s.size != draw.n:
        raise ValueError(f"score and grade hold one value for each of {draw.n} cases, got {s.shape} and {g.shape}")
    if np.isnan(s).any():
        raise ValueError("scores are numbers; leave out and account for missing ones first")
    chosen = np.ones((1, draw.n), dtype=np.bool_) if masks is None else np.asarray(masks, dtype=np.bool_)
    plans = [_VusPlan(s[m], g[m], draw.patient[m], n_grades) for m in chosen]
    values = np.full((len(plans), draw.replicates), np.nan)
    for first, counts in draw.blocks():
        for row, plan in zip(values, plans, strict=True):
            if plan.empty is None:
                row[first : first + len(counts)] = plan.replicates(counts)
    rows = [plan.on_the_data() for plan in plans]
    return Replicated(
        statistics=(_VUS,),
        point=np.array([[point] for point, _ in rows]).reshape(len(plans), 1),
        values=values[:, None, :],
        errors={},
        reasons=tuple((plan.empty,) for plan in plans),
        jackknife=tuple((left_out,) for _, left_out in rows),
        proportions=((None,),) * len(plans),
        patients=tuple(plan.people for plan in plans),
        n_cases=tuple(plan.n for plan in plans),
    )


#: What is read from the replicates of the volume: they are made by `_VusPlan`, not by a formula of sums.
_VUS = Statistic(value=lambda p: np.full(1, np.nan), reason=lambda p: "no cases")


class _VusPlan:
    """Cases of one stratum, sorted within each grade, so that a replicate is a few running sums."""

    def __init__(
        self, score: FloatArray, grade: npt.NDArray[np.intp], patient: npt.NDArray[np.int64], n_grades: int
    ) -> None:
        self.n, self.k = int(score.size), n_grades
        self.people = np.unique(patient)
        order = [np.flatnonzero(grade == c) for c in range(n_grades)]
        order = [i[np.argsort(score[i], kind="stable")] for i in order]
        self.score = [score[i] for i in order]
        self.patient = [patient[i] for i in order]
        absent = [c for c in range(n_grades) if order[c].size == 0]
        self.empty = "no cases" if self.n == 0 else f"no cases of grade {absent[0]}" if absent else None
        if n_grades != 3:
            self.distinct, inverse = np.unique(np.concatenate(self.score), return_inverse=True)
            self.place = np.split(inverse.reshape(-1), np.cumsum([part.size for part in self.score])[:-1])
            return
        low, middle, high = self.score
        self.low_left, self.low_right = (np.searchsorted(low, middle, side=x) for x in ("left", "right"))
        self.high_left, self.high_right = (np.searchsorted(high, middle, side=x) for x in ("left", "right"))

    def replicates(self, counts: npt.NDArray[np.int32]) -> FloatArray:
        step = max(1, 2_000_000 // max(1, self.n))
        return np.concatenate([self._values(counts[i : i + step]) for i in range(0, len(counts), step)])

    def _values(self, counts: npt.NDArray[np.int32]) -> FloatArray:
        return self._of_three(counts) if self.k == 3 else self._of_many(counts)

    def _of_many(self, counts: npt.NDArray[np.int32]) -> FloatArray:
        shares = np.zeros((self.distinct.size, self.k, len(counts)))
        for j, (place, patient) in enumerate(zip(self.place, self.patient, strict=True)):
            np.add.at(shares[:, j], place, counts[:, patient].T.astype(np.float64))
        total = shares.sum(axis=0)
        values = volume(np.divide(shares, total, out=np.zeros_like(shares), where=total > 0))
        return np.where((total > 0).all(axis=0), values, np.nan)

    def _of_three(self, counts: npt.NDArray[np.int32]) -> FloatArray:
        def running(c: int) -> FloatArray:
            drawn = counts[:, self.patient[c]].astype(np.float64)
            return np.concatenate([np.zeros((len(counts), 1)), drawn.cumsum(axis=1)], axis=1)

        low, high = running(0), running(2)
        weight = counts[:, self.patient[1]].astype(np.float64)
        less, tied_low = low[:, self.low_left], low[:, self.low_right] - low[:, self.low_left]
        greater = high[:, -1:] - high[:, self.high_right]
        tied_high = high[:, self.high_right] - high[:, self.high_left]
        inner = (less + tied_low / 2.0) * (greater + tied_high / 2.0) - tied_low * tied_high / 12.0
        return ratio((weight * inner).sum(axis=1), low[:, -1] * weight.sum(axis=1) * high[:, -1])

    def on_the_data(self) -> tuple[float, FloatArray | None]:
        """The volume, and the value less each patient's influence; NaN and nothing where a grade has no cases."""
        if self.empty is not None:
            return float("nan"), None
        parts = _vus_components(*self.score) if self.k == 3 else ordered_components(self.score)
        point = float(parts[1].mean())
        influence = np.zeros(self.people.size)
        for part, who in zip(parts, self.patient, strict=True):
            place = np.searchsorted(self.people, who)
            influence += np.bincount(place, weights=(part - point) / part.size, minlength=self.people.size)
        return point, point - influence
