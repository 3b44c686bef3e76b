"""The part of the ROC curve that matters in use: partial areas, sensitivity at a specificity and the reverse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from evalsuite.stats._binary_inputs import BinarySample, FloatArray, binary_sample, check_level
from evalsuite.stats._polygons import Polygons, of_data, of_replicates, without_each_patient
from evalsuite.stats.bootstrap import method_title
from evalsuite.stats.bootstrap_interval import BootstrapMethod, bootstrap_interval, check_method
from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.statistic_bootstrap import MOST_JACKKNIFE_WORK, TOO_MANY_PATIENTS
from evalsuite.types import Estimate, Unit

Focus = Literal["specificity", "sensitivity"]


def partial_auroc_value(
    reference: npt.ArrayLike,
    score: npt.ArrayLike,
    *,
    focus: Focus = "specificity",
    range: tuple[float, float] = (0.9, 1.0),
    corrected: bool = False,
) -> float:
    """Area under the ROC polygon for specificities (or sensitivities) within `range`, ends interpolated.

    `corrected`: McClish's rescaling, ½ for no discrimination and 1 for perfect, whatever the range; below ½ where the
    curve runs under the diagonal there.

    Raises
    ------
    ValueError
        With one class only, or a range that is not rising within [0, 1].

    References
    ----------
    McClish, Medical Decision Making 9:190-195 (1989). pROC `auc(partial.auc = )`.
    """
    sample = _sample(reference, score, None, "case")
    reason = sample.one_class_reason()
    if reason is not None:
        raise ValueError(f"no partial AUROC: {reason}")
    return float(_partial(of_data(sample), focus, _checked(range, focus), corrected)[0])


def partial_auroc(
    reference: npt.ArrayLike,
    score: npt.ArrayLike,
    *,
    focus: Focus = "specificity",
    range: tuple[float, float] = (0.9, 1.0),
    corrected: bool = False,
    level: float = 0.95,
    method: BootstrapMethod = "percentile",
    replicates: int = 2000,
    seed: int = 0,
    stratified: bool = False,
    cluster: npt.ArrayLike | None = None,
    unit: Unit = "case",
) -> Estimate:
    """`partial_auroc_value` with a bootstrap interval over patients. Not estimable with one class only.

    `stratified` keeps the numbers of patients with and without positives fixed, as pROC does.
    """
    limits = _checked(range, focus)
    name = f"{'corrected ' if corrected else ''}partial area, {focus} {limits[0]:g} to {limits[1]:g}"
    return _bootstrapped(
        _sample(reference, score, cluster, unit),
        lambda curves: _partial(curves, focus, limits, corrected),
        name=name,
        level=level,
        method=method,
        replicates=replicates,
        seed=seed,
        stratified=stratified,
    )


def sensitivity_at_specificity(
    reference: npt.ArrayLike, score: npt.ArrayLike, specificity: float, **options: Any
) -> Estimate:
    """Sensitivity where the ROC polygon reaches this specificity, with a bootstrap interval over patients.

    Linear between ROC points; on a vertical rise the highest sensitivity counts. This reads the curve and is not a
    threshold: no operating point may be chosen from it. Options: `level`, `method`, `replicates`, `seed`, `stratified`,
    `cluster`, `unit` as in `partial_auroc`.
    """
    _unit_interval(specificity, "specificity")
    cluster, unit = options.pop("cluster", None), options.pop("unit", "case")
    at = np.array([1.0 - specificity])
    return _bootstrapped(
        _sample(reference, score, cluster, unit),
        lambda curves: curves.heights(at)[:, 0],
        name=f"sensitivity at specificity {specificity:g}",
        **options,
    )


def specificity_at_sensitivity(
    reference: npt.ArrayLike, score: npt.ArrayLike, sensitivity: float, **options: Any
) -> Estimate:
    """Specificity where the ROC polygon reaches this sensitivity; see `sensitivity_at_specificity`."""
    _unit_interval(sensitivity, "sensitivity")
    cluster, unit = options.pop("cluster", None), options.pop("unit", "case")
    at = np.array([1.0 - sensitivity])
    return _bootstrapped(
        _sample(reference, score, cluster, unit),
        lambda curves: curves.turned().heights(at)[:, 0],
        name=f"specificity at sensitivity {sensitivity:g}",
        **options,
    )


def _sample(reference: npt.ArrayLike, score: npt.ArrayLike, cluster: npt.ArrayLike | None, unit: Unit) -> BinarySample:
    return binary_sample(reference, score, cluster=cluster, unit=unit)


def _unit_interval(value: float, name: str) -> None:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} lies within [0, 1], got {value!r}")


def _checked(limits: tuple[float, float], focus: str) -> tuple[float, float]:
    low, high = float(limits[0]), float(limits[1])
    if not 0.0 <= low < high <= 1.0:
        raise ValueError(f"range must rise within [0, 1], got {limits!r}")
    if focus not in ("specificity", "sensitivity"):
        raise ValueError(f"focus is specificity or sensitivity, got {focus!r}")
    return low, high


def _partial(curves: Polygons, focus: Focus, limits: tuple[float, float], corrected: bool) -> FloatArray:
    """`(r,)` partial areas."""
    # Over the false-positive rate for a range of specificity; over 1 − sensitivity for one of sensitivity.
    start, stop = 1.0 - limits[1], 1.0 - limits[0]
    area = (curves if focus == "specificity" else curves.turned()).areas(start, stop)
    if not corrected:
        return area
    least, most = (stop**2 - start**2) / 2.0, stop - start
    return np.asarray(0.5 * (1.0 + (area - least) / (most - least)))


def _bootstrapped(
    sample: BinarySample,
    statistic: Callable[[Polygons], FloatArray],
    *,
    name: str,
    level: float = 0.95,
    method: BootstrapMethod = "percentile",
    replicates: int = 2000,
    seed: int = 0,
    stratified: bool = False,
) -> Estimate:
    check_method(method)
    title = f"{name}; {method_title(method, replicates, stratified=stratified)}"
    common: dict[str, Any] = {
        **sample.counts,
        "n": sample.n,
        "unit": sample.unit,
        "level": check_level(level),
        "method": title,
    }
    reason = sample.one_class_reason()
    if reason is not None:
        return Estimate.not_estimable(reason, **common)
    patients = sample.cluster if sample.cluster is not None else np.arange(sample.n)
    draw = PatientDraw(patients, replicates, seed, stratify=sample.reference if stratified else None)
    point = float(statistic(of_data(sample))[0])
    values = np.concatenate([statistic(curves) for curves in of_replicates(sample, draw)])
    left_out: FloatArray | None = None
    if method == "bca":
        if draw.n_patients * sample.n > MOST_JACKKNIFE_WORK:
            return Estimate(value=point, interval_undefined=TOO_MANY_PATIENTS, **common)
        left_out = np.concatenate([statistic(curves) for curves in without_each_patient(sample, draw)])
    interval = bootstrap_interval(values, point, method=method, level=level, jackknife=left_out, bounds=(0.0, 1.0))
    return Estimate(
        value=point,
        low=interval.low,
        high=interval.high,
        interval_undefined=interval.undefined,
        replicates=interval.replicates,
        replicates_undefined=interval.replicates_undefined,
        **common,
    )
