"""How well each reader did with each aid on the same cases, and how those figures vary together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from evalsuite.stats._binary_inputs import BoolArray, FloatArray, IntArray, as_clusters, as_reference
from evalsuite.stats._blocks import Counts
from evalsuite.stats._rank import Placements, placements
from evalsuite.stats._resampled import Material, Parts, Ranked, Statistic, replicated
from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.roc_operating import partial_auroc_value

FigureOfMerit = Literal["auroc", "sensitivity", "specificity", "partial_auroc", "mean"]
Figure = FigureOfMerit | Literal["lroc", "afroc", "wafroc", "afroc1", "wafroc1"]
Covariance = Literal["jackknife", "delong", "unbiased", "bootstrap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Ratings of several readers with several treatments (with and without the device, say) on the same cases.

    `rating (t, r, c)` holds NaN where reader and case did not meet under a treatment; `cluster (c,)` numbers patients.
    Sensitivity and specificity take ratings of 0 and 1.
    """

    reference: BoolArray
    rating: FloatArray
    cluster: IntArray

    @property
    def n_treatments(self) -> int:
        return int(self.rating.shape[0])

    @property
    def n_readers(self) -> int:
        return int(self.rating.shape[1])

    @property
    def n_cases(self) -> int:
        return int(self.rating.shape[2])

    @property
    def n_patients(self) -> int:
        return int(self.cluster.max()) + 1 if self.cluster.size else 0

    @property
    def crossed(self) -> bool:
        """Whether every reader read every case with every treatment."""
        return not bool(np.isnan(self.rating).any())


def readings(reference: npt.ArrayLike, rating: npt.ArrayLike, *, cluster: npt.ArrayLike | None = None) -> Readings:
    """Checked readings.

    Parameters
    ----------
    reference
        (c,) reference standard of the cases.
    rating
        (t, r, c) ratings, higher for more suspicious; NaN where there is none, infinite values take part by rank.
    cluster
        (c,) patient of each case; by default each case is a patient of its own.

    Raises
    ------
    ValueError
        If shapes differ, or a reader has under some treatment no positive or no negative case.
    """
    truth = as_reference(reference)
    array = np.ascontiguousarray(rating, dtype=np.float64)
    if array.ndim != 3 or array.shape[2] != truth.size:
        raise ValueError(f"rating must have shape (treatments, readers, {truth.size}), got {array.shape}")
    if not array.shape[0] or not array.shape[1]:
        raise ValueError("a reader study has at least one treatment and one reader")
    read = ~np.isnan(array)
    lacking = ~(read & truth).any(axis=2) | ~(read & ~truth).any(axis=2)
    if bool(lacking.any()):
        t, r = (int(i[0]) for i in np.nonzero(lacking))
        raise ValueError(f"reader {r} has no positive or no negative case with treatment {t}")
    codes = as_clusters(cluster, truth.size)
    return Readings(
        reference=truth, rating=array, cluster=np.arange(truth.size, dtype=np.int64) if codes is None else codes
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderFigures:
    """The figure of merit `value (t, r)` and its covariances `covariance (t, r, t, r)` over the sampling of cases."""

    value: FloatArray
    covariance: FloatArray
    figure: Figure
    method: str


def reader_figures(
    study: Readings,
    *,
    figure: FigureOfMerit = "auroc",
    covariance: Covariance = "jackknife",
    max_fpr: float | None = None,
    replicates: int = 2000,
    seed: int = 0,
) -> ReaderFigures:
    """Figures of merit of every reader with every treatment, and their covariance matrix.

    The jackknife leaves out one patient at a time and serves every figure, as does the bootstrap, which draws patients
    (those with positive cases, with negative ones and with both apart): the same `seed` gives the same matrix.
    DeLong's covariance is that of the AUROC; an unbiased one exists of AUROC (U-statistics), sensitivity, specificity
    and the mean over all cases (of reading times, say). Where a pair of readings shares no case, their covariance is 0
    by design.

    Raises
    ------
    ValueError
        If the covariance does not belong to the figure, several cases of a patient meet a method for independent cases,
        ratings of sensitivity or specificity are not 0 and 1, or leaving out a patient leaves one class only.
    """
    if (covariance == "delong" and figure != "auroc") or (covariance == "unbiased" and figure == "partial_auroc"):
        raise ValueError(f"{figure} has no {covariance} covariance; take jackknife or bootstrap")
    clustered = study.n_patients < study.n_cases
    if covariance in ("delong", "unbiased") and clustered:
        raise ValueError(f"the {covariance} covariance takes cases as independent; several belong to a patient")
    if figure in ("sensitivity", "specificity"):
        known = study.rating[~np.isnan(study.rating)]
        if not bool(np.isin(known, (0.0, 1.0)).all()):
            raise ValueError(f"{figure} needs ratings of 0 and 1: the calls, not the scores")
    if (figure == "partial_auroc") != (max_fpr is not None):
        raise ValueError("max_fpr belongs to partial_auroc, and partial_auroc needs it")
    values = _values(study, figure, max_fpr)
    if covariance == "delong":
        matrix, method = _delong(study), "DeLong"
    elif covariance == "unbiased" and figure != "auroc":
        matrix, method = _of_means(_entering(study, figure)), "unbiased"
    elif covariance == "unbiased":
        from evalsuite.stats.reader_ustatistics import pair_covariances

        matrix, method = pair_covariances(study), "unbiased U-statistic"
    elif covariance == "jackknife":
        matrix, method = _jackknife(study, figure, max_fpr), "jackknife over patients" if clustered else "jackknife"
    else:
        matrix = _bootstrap(study, figure, max_fpr, replicates, seed)
        method = f"bootstrap over patients, B={replicates}" if clustered else f"bootstrap, B={replicates}"
    return ReaderFigures(value=values, covariance=matrix, figure=figure, method=method)


def _each(study: Readings, compute: Callable[[BoolArray, FloatArray, IntArray], FloatArray], width: int) -> FloatArray:
    """`compute(reference, rating, indices of the read cases)` of every treatment and reader: (t, r, width)."""
    out = np.empty((study.n_treatments, study.n_readers, width))
    for t in range(study.n_treatments):
        for r in range(study.n_readers):
            read = np.flatnonzero(~np.isnan(study.rating[t, r]))
            out[t, r] = compute(study.reference[read], study.rating[t, r, read], read)
    return out


def figure_value(reference: BoolArray, rating: FloatArray, figure: FigureOfMerit, max_fpr: float | None) -> float:
    """One figure of merit of one reader; both classes are present."""
    if figure == "auroc":
        return placements(reference, rating).auroc
    if figure == "sensitivity":
        return float(rating[reference].mean())
    if figure == "specificity":
        return 1.0 - float(rating[~reference].mean())
    if figure == "mean":
        return float(rating.mean())
    assert max_fpr is not None
    return partial_auroc_value(reference, rating, range=(1.0 - max_fpr, 1.0))


def _values(study: Readings, figure: FigureOfMerit, max_fpr: float | None) -> FloatArray:
    def one(reference: BoolArray, rating: FloatArray, _: IntArray) -> FloatArray:
        return np.array([figure_value(reference, rating, figure, max_fpr)])

    return _each(study, one, 1)[:, :, 0]


def _jackknife(study: Readings, figure: FigureOfMerit, max_fpr: float | None) -> FloatArray:
    n = study.n_patients
    whole = _values(study, figure, max_fpr)

    def without_each(reference: BoolArray, rating: FloatArray, read: IntArray) -> FloatArray:
        patient = study.cluster[read]
        if np.unique(patient).size == patient.size and figure == "auroc":
            # One case less, in closed form: what the others' area loses is that case's own placement.
            out = np.full(n, np.nan)
            ranks = placements(reference, rating)
            m, k = ranks.positive.size, ranks.negative.size
            if m < 2 or k < 2:
                raise ValueError("the jackknife needs two positive and two negative cases of every reader")
            out[patient[reference]] = (m * ranks.auroc - ranks.v10) / (m - 1)
            out[patient[~reference]] = (k * ranks.auroc - ranks.v01) / (k - 1)
            return out
        out = np.full(n, np.nan)
        for p in np.unique(patient):
            kept = patient != p
            if reference[kept].all() or not reference[kept].any():
                raise ValueError("the jackknife needs two patients with positive and two with negative cases")
            out[p] = figure_value(reference[kept], rating[kept], figure, max_fpr)
        return out

    left = _each(study, without_each, n)
    # A patient this reader did not see changes nothing.
    left = np.where(np.isnan(left), whole[:, :, None], left)
    deviation = left - left.mean(axis=2, keepdims=True)
    flat = deviation.reshape(-1, n)
    matrix: FloatArray = ((n - 1) / n * (flat @ flat.T)).reshape(*whole.shape, *whole.shape)
    return matrix


def _delong(study: Readings) -> FloatArray:
    """Both classes contribute the covariance of their mean placements."""
    total: FloatArray = np.zeros((study.n_treatments, study.n_readers) * 2)
    for label in (True, False):

        def place(reference: BoolArray, rating: FloatArray, read: IntArray, label: bool = label) -> FloatArray:
            ranks: Placements = placements(reference, rating)
            out = np.full(study.n_cases, np.nan)
            out[read[reference == label]] = ranks.v10 if label else ranks.v01
            return out

        total += _of_means(_each(study, place, study.n_cases))
    return total


def _entering(study: Readings, figure: FigureOfMerit) -> FloatArray:
    """What the figure is a mean of: sensitivity and specificity of the calls in one class, else all readings."""
    if figure == "mean":
        return study.rating
    return np.where(study.reference == (figure == "sensitivity"), study.rating, np.nan)


def _of_means(values: FloatArray) -> FloatArray:
    """Unbiased covariances (t, r, t, r) of the means over cases of `values (t, r, c)`, NaN where there is none."""
    flat = values.reshape(-1, values.shape[2])
    seen = ~np.isnan(flat)
    n = seen.sum(axis=1)
    if bool((n < 2).any()):
        raise ValueError("this covariance needs two positive and two negative cases of every reader")
    centred = np.where(seen, flat - np.nanmean(flat, axis=1, keepdims=True), 0.0)
    shared = seen.astype(np.float64) @ seen.T.astype(np.float64)
    # Of two means over cases shared in part: S(x, y) · shared / (n_x · n_y), S from the shared cases.
    with np.errstate(divide="ignore", invalid="ignore"):
        scatter = (centred @ centred.T) / (shared - 1.0)
    shape = (*values.shape[:2], *values.shape[:2])
    matrix: FloatArray = np.where(shared > 1, scatter * shared / np.outer(n, n), 0.0).reshape(shape)
    return matrix


def _bootstrap(study: Readings, figure: FigureOfMerit, max_fpr: float | None, replicates: int, seed: int) -> FloatArray:
    """The covariance of all figures over the same resamples of patients."""
    shape = (study.n_treatments, study.n_readers)
    draw = PatientDraw(study.cluster, replicates=replicates, seed=seed, stratify=study.reference)
    ratings = study.rating.reshape(-1, study.n_cases)
    material, statistics = _resampled_figures(draw, study, ratings, figure, max_fpr)
    drawn = replicated(draw, material, statistics, with_jackknife=False).values[0]
    return covariance_of_replicates(drawn, shape)


def covariance_of_replicates(drawn: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Covariances (t, r, t, r) of figures whose replicates are the rows of `drawn (t r, replicates)`.

    Raises ValueError where a replicate has no figure.
    """
    if not np.isfinite(drawn).all():
        raise ValueError("a bootstrap replicate left a reader without positive or negative cases")
    matrix: FloatArray = np.cov(drawn).reshape(*shape, *shape)
    return matrix


def _resampled_figures(
    draw: PatientDraw, study: Readings, ratings: FloatArray, figure: FigureOfMerit, max_fpr: float | None
) -> tuple[Material, tuple[Statistic, ...]]:
    """What the resampling engine needs for one figure of each row of `ratings (t r, c)`."""
    seen = ~np.isnan(ratings)
    if figure == "auroc":
        items = [
            Ranked(reference=study.reference[m], score=x[m], case=np.flatnonzero(m))
            for x, m in zip(ratings, seen, strict=True)
        ]
        return Material(ranked={"readers": items}, ranks=("auroc",)), _each_column(
            len(items), lambda parts, k: parts.auroc["readers"][:, k]
        )
    if figure == "partial_auroc":

        def prepare(mask: BoolArray, patients: IntArray) -> Callable[[Counts], FloatArray]:
            return lambda counts: _repeated(draw, study, ratings, figure, max_fpr, counts)

        return Material(counted={"readers": prepare}), _each_column(
            len(ratings), lambda parts, k: parts.counted["readers"][:, k]
        )
    entering = _entering(study, figure).reshape(ratings.shape)
    sums = {"right": np.nan_to_num(entering).T, "all": (~np.isnan(entering)).astype(np.float64).T}

    def mean(parts: Parts, k: int) -> FloatArray:
        right, whole = parts.sums["right"][:, k], parts.sums["all"][:, k]
        share: FloatArray = np.divide(right, whole, out=np.full(right.shape, np.nan), where=whole > 0)
        return share

    return Material(sums=sums), _each_column(len(ratings), mean)


def _each_column(many: int, value: Callable[[Parts, int], FloatArray]) -> tuple[Statistic, ...]:
    def nothing(parts: Parts) -> str:
        return "no positive or no negative cases"

    return tuple(Statistic(value=partial(_of_column, value, k), reason=nothing) for k in range(many))


def _of_column(value: Callable[[Parts, int], FloatArray], k: int, parts: Parts) -> FloatArray:
    return value(parts, k)


def _repeated(
    draw: PatientDraw,
    study: Readings,
    ratings: FloatArray,
    figure: FigureOfMerit,
    max_fpr: float | None,
    counts: Counts,
) -> FloatArray:
    """Figures `(replicates, t r)` of cases taken as often as their patient was drawn."""
    out = np.full((len(counts), len(ratings)), np.nan)
    for b, times in enumerate(counts):
        cases = np.repeat(np.arange(study.n_cases), times[draw.patient])
        for k, rating in enumerate(ratings[:, cases]):
            read = ~np.isnan(rating)
            reference = study.reference[cases][read]
            if reference.any() and not reference.all():
                out[b, k] = figure_value(reference, rating[read], figure, max_fpr)
    return out
