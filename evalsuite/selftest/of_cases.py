"""Known answers of calls, probabilities, classes, grades and measurements: how each is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from evalsuite.stats import (
    agreement,
    calibration,
    calibration_error,
    change,
    contingency,
    decision_curve,
    deviation,
    method_comparison,
    multiclass,
    ordinal,
    reliability,
    repeatability,
    replicates,
    roc_operating,
    variance_components,
)
from evalsuite.stats._resampled import replicated
from evalsuite.stats.averages import Answers, material_of, statistic_of
from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.multilabel import multilabel_replicates
from evalsuite.types import Estimate

Figures = Mapping[str, Any]
Inputs = Mapping[str, Any]


def estimate(e: Estimate) -> Figures:
    """The figures of an estimate that can be compared."""
    return {"value": e.value, "low": e.low, "high": e.high}


def by(function: Callable[..., Estimate]) -> Callable[[Inputs], Figures]:
    """A statistic whose inputs are the function's arguments."""
    return lambda i: estimate(function(**i))


def once(n: int) -> PatientDraw:
    """Every case a patient; one replicate, for figures of the data alone."""
    return PatientDraw(np.arange(n), 1, 1)


def _calls(i: Inputs) -> Figures:
    """Figures of calls, from the four counts, through the engine that resamples them."""
    tp, fn, fp, tn = i["counts"]
    reference = np.repeat([True, True, False, False], [tp, fn, fp, tn])
    call = np.repeat([True, False, True, False], [tp, fn, fp, tn])
    names = i["metrics"]
    table = replicates.binary_replicates(
        once(reference.size), reference=reference, call=call, metrics=names, with_jackknife=False
    )
    return {name: float(v) for name, v in zip(names, table.point[0], strict=True)}


def _decomposition(i: Inputs) -> Figures:
    parts = calibration_error.brier_decomposition(**i)
    return {name: getattr(parts, name) for name in ("brier", "reliability", "resolution", "uncertainty")}


def _net_benefit(i: Inputs) -> Figures:
    return {
        q: decision_curve.net_benefit(**i, quantity=q, replicates=2).value
        for q in ("net_benefit", "standardised", "interventions_avoided")
    }


def _averages(i: Inputs) -> Figures:
    """Averages over classes, each against the rest."""
    probability, metrics = np.array(i["probability"]), i["metrics"]
    sample = multiclass.class_sample(
        i["reference"], i["names"], predicted=probability.argmax(axis=1), score=probability
    )
    answers = multiclass.one_vs_rest(sample)
    statistics = [statistic_of(answers, m) for m in metrics]
    draw = once(len(i["reference"]))
    table = replicated(draw, material_of(answers, metrics), statistics, with_jackknife=False)
    return {name: float(v) for name, v in zip(metrics, table.point[0], strict=True)}


def _classes(i: Inputs) -> Figures:
    """Every named figure of several classes from the same outputs, each class's probability a column."""
    probability = np.array(i["probability"])
    sample = multiclass.class_sample(
        i["reference"], i["names"], predicted=probability.argmax(axis=1), score=probability, probability=probability
    )
    metrics = i["metrics"]
    table = multiclass.multiclass_replicates(
        once(len(i["reference"])), sample, metrics, bins=i["bins"], top=i["top"], with_jackknife=False
    )
    return {name: float(v) for name, v in zip(metrics, table.point[0], strict=True)}


def _labels(i: Inputs) -> Figures:
    truth, call = np.array(i["truth"], dtype=bool), np.array(i["call"], dtype=bool)
    answers = Answers(truth=truth, names=tuple(i["names"]), call=call, score=None, known=None, kind="label")
    table = multilabel_replicates(once(len(truth)), answers, i["metrics"], with_jackknife=False)
    return {name: float(v) for name, v in zip(i["metrics"], table.point[0], strict=True)}


def _grades(i: Inputs) -> Figures:
    device, reference, k = np.array(i["device"]), np.array(i["reference"]), i["n_grades"]
    table = ordinal.grade_table(device, reference, k)
    return {
        "quadratic_kappa": ordinal.weighted_kappa(device, reference, k).value,
        "linear_kappa": ordinal.weighted_kappa(device, reference, k, weights="linear").value,
        "kendall_tau_b": ordinal.kendall_tau_b(table).value,
        "gwet_ac2": ordinal.gwet_ac(table).value,
        "adjacent_agreement": ordinal.grade_agreement(device, reference, within=1).value,
        "vus": ordinal.vus(i["score"], reference, n_grades=k).value,
        "rps": ordinal.ranked_probability_score(i["probability"], reference).value,
    }


def _measured(i: Inputs) -> Figures:
    device, reference = np.array(i["device"], dtype=float), np.array(i["reference"], dtype=float)
    limits = agreement.bland_altman(device, reference)
    return {
        "bias": agreement.bias(device, reference).value,
        "rmse": agreement.root_mean_square_error(device, reference).value,
        "proportional_bias": limits.proportional_bias.value,
        "coverage_probability": deviation.coverage_probability(device, reference, tolerance=i["tolerance"]).value,
        "deming_intercept": method_comparison.deming(device, reference).intercept.value,
        "passing_bablok_slope": method_comparison.passing_bablok(device, reference).slope.value,
    }


def _repeated(i: Inputs) -> Figures:
    values, subject = i["values"], i["subject"]
    between, within = variance_components.one_way(values, subject)
    return {
        "within_subject_sd": repeatability.within_subject_sd(values, subject).value,
        "repeatability_coefficient": repeatability.repeatability_coefficient(values, subject).value,
        "within_subject_cv": repeatability.within_subject_cv(values, subject).value,
        "between": between.value,
        "within": within.value,
    }


def _gauge(i: Inputs) -> Figures:
    found = variance_components.gauge_study(i["values"], i["patient"], i["operator"])
    parts = ("repeatability", "reproducibility", "reproducibility_coefficient")
    return {name: getattr(found, name).value for name in parts}


def _change(i: Inputs) -> Figures:
    found = change.change_agreement(**i["measured"])
    response = change.response_agreement(**i["response"])
    return {
        "change_bias": found.bias.value,
        "change_sd": found.sd.value,
        "response_agreement": response.agreement.value,
        "response_opposite": response.opposite.value,
        "response_kappa": response.kappa.value,
    }


def _chosen_test(i: Inputs) -> Figures:
    found = calibration_error.hosmer_lemeshow(**i)
    return {"statistic": found.statistic, "p_value": found.p_value}


def _at_points(i: Inputs) -> Figures:
    given: dict[str, Any] = {"reference": i["reference"], "score": i["score"]}
    options: dict[str, Any] = {"replicates": 2, "method": "percentile"}
    return {
        "sensitivity": roc_operating.sensitivity_at_specificity(**given, specificity=i["at"], **options).value,
        "specificity": roc_operating.specificity_at_sensitivity(**given, sensitivity=i["at"], **options).value,
    }


def _smooth(i: Inputs) -> Figures:
    given = (i["reference"], i["probability"])
    return {
        "ici": calibration_error.smooth_error_value(*given, "ici", smoother="lowess"),
        "e50": calibration_error.smooth_error_value(*given, "e50", smoother="lowess"),
        "e90": calibration_error.smooth_error_value(*given, "e90", smoother="lowess"),
        "emax": calibration_error.smooth_error_value(*given, "emax", smoother="lowess"),
    }


def _reliability(i: Inputs) -> Figures:
    found = reliability.reliability_curve(**i)
    return {f"observed {k}": float(v) for k, v in enumerate(found.observed)}


OF_CASES: Mapping[str, Callable[[Inputs], Figures]] = {
    "calls": _calls,
    "f1": by(contingency.f1),
    "mcc": by(contingency.mcc),
    "youden": by(contingency.youden),
    "balanced_accuracy": by(contingency.balanced_accuracy),
    "at_points": _at_points,
    "brier_decomposition": _decomposition,
    "total_deviation": by(deviation.total_deviation_index),
    "scaled_brier": by(calibration.scaled_brier),
    "recalibration_intercept": by(calibration.recalibration_intercept),
    "mce": lambda i: {"value": calibration_error.mce_value(**i)},
    "debiased_squared_error": lambda i: {"value": calibration_error.debiased_squared_error_value(**i)},
    "smooth_ece": lambda i: {"value": calibration_error.smooth_ece_value(**i)},
    "smooth": _smooth,
    "hosmer_lemeshow": _chosen_test,
    "reliability": _reliability,
    "net_benefits": _net_benefit,
    "classes": _classes,
    "averages": _averages,
    "labels": _labels,
    "grades": _grades,
    "measured": _measured,
    "repeated": _repeated,
    "gauge": _gauge,
    "change": _change,
}
