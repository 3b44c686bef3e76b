"""How each known answer is computed: by the functions that evaluations use, from the inputs of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from evalsuite.judging import judge
from evalsuite.protocol.load import protocol_digest
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.digest import merkle_root, sha256_bytes
from evalsuite.selftest.of_cases import OF_CASES, Figures, Inputs
from evalsuite.selftest.of_cases import by as _by
from evalsuite.selftest.of_cases import estimate as _estimate
from evalsuite.selftest.of_images import OF_IMAGES
from evalsuite.selftest.of_studies import OF_STUDIES
from evalsuite.selftest.of_watching import OF_WATCHING
from evalsuite.stats import (
    agreement,
    calibration,
    calibration_error,
    contingency,
    decision_curve,
    differences,
    masks,
    method_comparison,
    multiplicity,
    overlap,
    precision_recall,
    predictive,
    proportions,
    repeatability,
    roc,
    roc_operating,
    surface,
    verification_bias,
)
from evalsuite.types import Estimate, Evidence, Finding, TestOutcome


def _test(t: TestOutcome) -> Figures:
    return {"statistic": t.statistic, "p_value": t.p_value}


def _value(function: Callable[..., float]) -> Callable[[Inputs], Figures]:
    return lambda i: {"value": function(**i)}


def _pairs(i: Inputs) -> differences.PairedCounts:
    both, first, second, neither = i["counts"]
    return differences.PairedCounts(both=both, first_only=first, second_only=second, neither=neither)


def _bland_altman(i: Inputs) -> Figures:
    r = agreement.bland_altman(i["device"], i["reference"], coverage=i["coverage"], method="bland-altman")
    return {
        "bias": r.bias.value,
        "bias_low": r.bias.low,
        "bias_high": r.bias.high,
        "sd": r.sd.value,
        "lower_limit": r.lower_limit.value,
        "upper_limit": r.upper_limit.value,
    }


def _boxes(i: Inputs) -> masks.MaskPair:
    def mask(ranges: list[list[int]]) -> npt.NDArray[np.bool_]:
        made = np.zeros(i["shape"], dtype=bool)
        made[tuple(slice(*r) for r in ranges)] = True
        return made

    return masks.mask_pair(mask(i["a"]), mask(i["b"]), tuple(i["spacing_mm"]))


def _begg_greenes(i: Inputs) -> Figures:
    """Groups of (positive, of these verified, of these diseased, negative, verified, diseased)."""
    call: list[bool] = []
    verified: list[bool] = []
    disease: list[bool] = []
    for n1, v1, d1, n0, v0, d0 in i["groups"]:
        for n, v, d, positive in ((n1, v1, d1, True), (n0, v0, d0, False)):
            call += [positive] * n
            verified += [True] * v + [False] * (n - v)
            disease += [True] * d + [False] * (n - d)
    r = verification_bias.begg_greenes(call, verified, disease)
    names = ("sensitivity", "specificity", "naive_sensitivity", "naive_specificity")
    return {name: getattr(r, name).value for name in names}


def _verdict(i: Inputs) -> Figures:
    """One criterion on one estimate, through the judgement that runs use."""
    criterion = {"bound": i["bound"], "op": i["op"], "value": i["goal"]}
    endpoint = {"name": "share", "metric": "sensitivity", "at": "point", "role": "primary", "criterion": criterion}
    protocol = StudyProtocol.model_validate(
        {
            "schema": "evalsuite/protocol/1",
            "id": "selftest",
            "version": "1",
            "title": "Self-test",
            "kind": "standalone",
            "intended_use": {},
            "task": {"kind": "binary", "reference": "x", "score": "p"},
            "unit": {},
            "operating_points": [{"name": "point", "threshold": 0.5}],
            "endpoints": [endpoint],
            "seed": 1,
        }
    )
    estimate = Estimate(
        value=i["value"], low=i["low"], high=i["high"], method="given", n=100, n_positive=50, n_negative=50
    )
    finding = Finding(
        analysis="performance",
        endpoint="share",
        metric="sensitivity",
        role="primary",
        target="x",
        operating_point="point",
        estimate=estimate,
    )
    identity = {"id": protocol.id, "version": protocol.version, "digest": protocol_digest(protocol)}
    evidence = Evidence(protocol=identity, testset={}, model={}, predictions={}, software={}, findings=(finding,))
    return {"outcome": judge(protocol, evidence).criteria[0].outcome}


STATISTICS: Mapping[str, Callable[[Inputs], Figures]] = {
    "proportion": lambda i: _estimate(proportions.proportion(i["x"], i["n"], method=i["method"])),
    "difference": lambda i: _estimate(differences.difference(*i["counts"], method=i["method"])),
    "ratio": lambda i: _estimate(differences.ratio(*i["counts"], method=i["method"])),
    "paired_difference": lambda i: _estimate(differences.paired_difference(_pairs(i), method=i["method"])),
    "mcnemar": lambda i: _test(contingency.mcnemar(i["b"], i["c"], method=i["method"])),
    "stuart_maxwell": lambda i: _test(contingency.stuart_maxwell(i["table"])),
    "auroc": _by(roc.auroc),
    "partial_auroc": _value(roc_operating.partial_auroc_value),
    "average_precision": _value(precision_recall.average_precision_value),
    "calibration_intercept": _by(calibration.calibration_intercept),
    "calibration_slope": _by(calibration.calibration_slope),
    "brier": _by(calibration.brier),
    "log_loss": _by(calibration.log_loss),
    "observed_expected": _by(calibration.observed_expected),
    "spiegelhalter": lambda i: _test(calibration_error.spiegelhalter(i["reference"], i["probability"])),
    "ici": _value(calibration_error.ici_value),
    "ece": _value(calibration_error.ece_value),
    "net_benefit": _value(decision_curve.net_benefit_value),
    "bland_altman": _bland_altman,
    "within_subject_sd": lambda i: _estimate(repeatability.within_subject_sd(i["values"], i["subject"])),
    "icc": lambda i: _estimate(repeatability.icc(i["ratings"], i["kind"])),
    "concordance": _by(repeatability.concordance),
    "deming_slope": lambda i: _estimate(method_comparison.deming(**i).slope),
    "passing_bablok_intercept": lambda i: _estimate(method_comparison.passing_bablok(**i).intercept),
    "mean_absolute_error": _by(agreement.mean_absolute_error),
    "adjust_p": lambda i: {str(k): float(p) for k, p in enumerate(multiplicity.adjust_p(i["p"], i["method"]))},
    "predictive_value": _by(predictive.predictive_value),
    "likelihood_ratio": _by(predictive.likelihood_ratio),
    "cohen_kappa": _by(contingency.cohen_kappa),
    "dice": lambda i: {"value": overlap.dice(_boxes(i)).value},
    "surface": lambda i: {"value": surface.surface_figure(_boxes(i), i["metric"]).value},
    "begg_greenes": _begg_greenes,
    "sha256": lambda i: {"digest": sha256_bytes(i["text"].encode())},
    "merkle_root": lambda i: {"digest": merkle_root([bytes.fromhex(x) for x in i["leaves"]])},
    "verdict": _verdict,
    **OF_CASES,
    **OF_IMAGES,
    **OF_STUDIES,
    **OF_WATCHING,
}
