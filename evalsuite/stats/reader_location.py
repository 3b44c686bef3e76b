"""Readers who mark lesions: areas under localisation curves of every reader, as figures of merit of a reader study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from evalsuite.stats._binary_inputs import FloatArray, as_clusters
from evalsuite.stats._resampled import replicated
from evalsuite.stats.detection import Area, Detections, localisation_area
from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.reader_figures import ReaderFigures, Readings, covariance_of_replicates, readings

LocationCovariance = Literal["jackknife", "bootstrap"]


def location_figures(
    found: Sequence[Sequence[Detections]],
    area: Area,
    *,
    cluster: npt.ArrayLike | None = None,
    covariance: LocationCovariance = "jackknife",
    replicates: int = 2000,
    seed: int = 0,
) -> tuple[ReaderFigures, Readings]:
    """Figures of merit and their covariances over the sampling of cases, for the analyses of `obuchowski_rockette`.

    Parameters
    ----------
    found
        One row per treatment, one entry per reader: what that reader marked; all on the same cases and lesions.
    area
        `lroc`, `afroc`, `wafroc`, `afroc1` or `wafroc1`, as `detection.localisation_area` defines them.
    cluster
        (n,) patient of each case; by default each case is a patient of its own.
    covariance
        `jackknife` leaves out one patient at a time; `bootstrap` draws patients, with and without lesions apart,
        `replicates` times from `seed`.

    Returns
    -------
    The figures, and the readings behind them: each case's highest mark (−inf without one), whose AUROC is that of the
    inferred ratings.

    Raises
    ------
    ValueError
        If rows differ in length, cases or lesions differ between readers, or leaving out a patient leaves no lesion or
        no case to rank it against.

    References
    ----------
    Chakraborty & Zhai, Acad Radiol 23:1264-1274 (2016); Hillis, Berbaum & Metz, Acad Radiol 15:647-661 (2008).
    """
    if not found or not found[0] or len({len(row) for row in found}) != 1:
        raise ValueError("every treatment has the same readers, and there is at least one of both")
    first = found[0][0]
    for row in found:
        for one in row:
            same = np.array_equal(one.abnormal, first.abnormal) and np.array_equal(one.lesion_case, first.lesion_case)
            if not same:
                raise ValueError("all readers read the same cases, with the same lesions")
    codes = as_clusters(cluster, first.n)
    patients = np.arange(first.n) if codes is None else codes
    drawing = covariance == "bootstrap"
    draw = (
        PatientDraw(patients, replicates=replicates, seed=seed, stratify=first.abnormal)
        if drawing
        else PatientDraw(patients, 1, 1)
    )
    value = np.empty((len(found), len(found[0])))
    rows: list[FloatArray] = []
    for t, row in enumerate(found):
        for r, one in enumerate(row):
            asked = localisation_area(draw, one, area)
            made = replicated(draw, asked.material, asked.statistics, with_jackknife=not drawing)
            value[t, r] = made.point[0, 0]
            left = made.values[0, 0] if drawing else made.jackknife[0][0]
            if left is None or not (np.isfinite(value[t, r]) and np.isfinite(left).all()):
                raise ValueError(
                    f"the {covariance} needs lesions, and cases to rank them against, in two patients each"
                )
            rows.append(left)
    moved = np.stack(rows)
    matrix = covariance_of_replicates(moved, value.shape) if drawing else _jackknifed(moved, value.shape)
    highest = np.array([[one.highest() for one in row] for row in found])
    method = (
        covariance + (" over patients" if draw.n_patients < first.n else "") + (f", B={replicates}" if drawing else "")
    )
    figures = ReaderFigures(value=value, covariance=matrix, figure=area, method=method)
    return figures, readings(first.abnormal, highest, cluster=cluster)


def _jackknifed(left: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Covariances (t, r, t, r) of figures whose values without each patient are the rows of `left (t r, patients)`."""
    n = left.shape[1]
    deviation = left - left.mean(axis=1, keepdims=True)
    matrix: FloatArray = ((n - 1) / n * (deviation @ deviation.T)).reshape(*shape, *shape)
    return matrix
