"""What a positive or negative result means for the patient: predictive values at a stated prevalence, likelihood
ratios.

Sensitivity and specificity come from the study; the prevalence is declared, because that of an enriched test set says
nothing about the clinic.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

from evalsuite.stats._normal import check_count, check_level, expit, logit, z_two_sided
from evalsuite.stats._score import ratio_limits
from evalsuite.types import Estimate, Unit

PredictiveKind = Literal["ppv", "npv"]
RatioKind = Literal["positive", "negative"]
RatioMethod = Literal["log", "koopman"]


def _predictive_log_odds(kind: PredictiveKind, se: float, sp: float, prevalence: float) -> float:
    if kind == "ppv":
        return math.log(se) - math.log1p(-sp) + logit(prevalence)
    return math.log(sp) - math.log1p(-se) - logit(prevalence)


def _predictive_variance(kind: PredictiveKind, se: float, n1: float, sp: float, n0: float) -> float:
    if kind == "ppv":
        return (1.0 - se) / se / n1 + sp / (1.0 - sp) / n0
    return se / (1.0 - se) / n1 + (1.0 - sp) / sp / n0


def predictive_value(
    kind: PredictiveKind,
    *,
    true_positive: int,
    n_positive: int,
    true_negative: int,
    n_negative: int,
    prevalence: float,
    level: float = 0.95,
    unit: Unit = "case",
    design_effect_positive: float = 1.0,
    design_effect_negative: float = 1.0,
    **counts: Any,
) -> Estimate:
    """PPV or NPV at a declared prevalence, with the standard logit interval of Mercaldo, Lau & Zhou.

    Where sensitivity or specificity is 0 or 1 the logit has no variance; the interval is then their adjusted one
    (z²/2 added to every cell), and the method says so. An end that would exclude a value of exactly 0 or 1 is moved
    to it.

    Parameters
    ----------
    true_positive, n_positive, true_negative, n_negative
        Counts behind sensitivity and specificity.
    prevalence
        Of the population the value is for; strictly between 0 and 1, taken as known.
    design_effect_positive, design_effect_negative
        Variance inflation of sensitivity and specificity where patients contribute several cases
        (`clustered_proportion`).

    Returns
    -------
    Estimate
        Not estimable without positives or without negatives, and where the result in question can never occur
        (PPV with sensitivity 0 and specificity 1). `n` is all cases.

    Raises
    ------
    ValueError
        If counts contradict each other, the prevalence is not strictly between 0 and 1 or a design effect is below 1.

    References
    ----------
    Mercaldo, Lau & Zhou, Stat Med 26:2170-2183 (2007), equations 8 to 11.
    """
    if kind not in get_args(PredictiveKind):
        raise ValueError(f"kind is 'ppv' or 'npv', got {kind!r}")
    level = check_level(level)
    tp, n1 = check_count("true_positive", true_positive), check_count("n_positive", n_positive)
    tn, n0 = check_count("true_negative", true_negative), check_count("n_negative", n_negative)
    if tp > n1 or tn > n0:
        raise ValueError("true positives and negatives cannot exceed positives and negatives")
    if not 0.0 < prevalence < 1.0:
        raise ValueError(f"prevalence lies strictly between 0 and 1, got {prevalence!r}")
    if not (1.0 <= design_effect_positive < math.inf and 1.0 <= design_effect_negative < math.inf):
        raise ValueError("design effects are at least 1")
    name = f"Mercaldo logit at prevalence {prevalence:g}"
    fields: dict[str, Any] = {
        "n": n1 + n0,
        "n_positive": n1,
        "n_negative": n0,
        "level": level,
        "unit": unit,
        **counts,
    }
    if n1 == 0 or n0 == 0:
        missing = "reference-positive" if n1 == 0 else "reference-negative"
        return Estimate.not_estimable(f"no {missing} cases", method=name, **fields)
    se, sp = tp / n1, tn / n0
    right, wrong = (
        (se * prevalence, (1.0 - sp) * (1.0 - prevalence))
        if kind == "ppv"
        else (sp * (1.0 - prevalence), (1.0 - se) * prevalence)
    )
    if right == 0.0 and wrong == 0.0:
        result = "positive" if kind == "ppv" else "negative"
        return Estimate.not_estimable(f"no case is called {result}", method=name, **fields)
    value = right / (right + wrong)
    z = z_two_sided(level)
    e1, e0 = n1 / design_effect_positive, n0 / design_effect_negative
    if se in (0.0, 1.0) or sp in (0.0, 1.0):
        name = f"Mercaldo adjusted logit at prevalence {prevalence:g} (sensitivity or specificity is 0 or 1)"
        se, sp = (se * e1 + z * z / 2.0) / (e1 + z * z), (sp * e0 + z * z / 2.0) / (e0 + z * z)
        e1, e0 = e1 + z * z, e0 + z * z
    centre = _predictive_log_odds(kind, se, sp, prevalence)
    half = z * math.sqrt(_predictive_variance(kind, se, e1, sp, e0))
    low, high = min(expit(centre - half), value), max(expit(centre + half), value)
    return Estimate(value=value, low=low, high=high, method=name, **fields)


def likelihood_ratio(
    kind: RatioKind,
    *,
    tp: int,
    fn: int,
    tn: int,
    fp: int,
    level: float = 0.95,
    unit: Unit = "case",
    method: RatioMethod = "log",
    **counts: Any,
) -> Estimate:
    """LR+ = sensitivity / (1 - specificity) or LR- = (1 - sensitivity) / specificity.

    "log" is the interval of Simel, Samsa & Matchar; where a zero cell leaves it without width or meaning (a ratio of
    exactly 0, or everything called alike) the limits are Koopman's score limits, and the method says so. A ratio
    whose denominator is 0 has no finite value: not estimable, and the reason carries the lower limit that the data do
    support.

    Raises
    ------
    ValueError
        If a count is negative or no whole number, or the kind or method is unknown.

    References
    ----------
    Simel, Samsa & Matchar, J Clin Epidemiol 44:763-770 (1991); Koopman, Biometrics 40:513-517 (1984).
    """
    if kind not in get_args(RatioKind):
        raise ValueError(f"kind is 'positive' or 'negative', got {kind!r}")
    if method not in get_args(RatioMethod):
        raise ValueError(f"method is 'log' or 'koopman', got {method!r}")
    level = check_level(level)
    tp, fn, tn, fp = (check_count(k, v) for k, v in (("tp", tp), ("fn", fn), ("tn", tn), ("fp", fp)))
    n1, n0 = tp + fn, tn + fp
    name = "log method (Simel)" if method == "log" else "Koopman score"
    fields: dict[str, Any] = {
        "n": n1 + n0,
        "n_positive": n1,
        "n_negative": n0,
        "level": level,
        "unit": unit,
        **counts,
    }
    if n1 == 0 or n0 == 0:
        missing = "reference-positive" if n1 == 0 else "reference-negative"
        return Estimate.not_estimable(f"no {missing} cases", method=name, **fields)
    x1, x0, called = (tp, fp, "positive") if kind == "positive" else (fn, tn, "negative")
    if x1 == 0 and x0 == 0:
        return Estimate.not_estimable(f"no case is called {called}", method=name, **fields)
    z = z_two_sided(level)
    if x0 == 0:
        low, _ = ratio_limits(x1, n1, x0, n0, z)
        none = "no false positive" if kind == "positive" else "no true negative"
        reason = f"{none} result, so the ratio is unbounded; its lower {level:.4g} score limit is {low:.4g}"
        return Estimate.not_estimable(reason, method="Koopman score", **fields)
    value = (x1 / n1) / (x0 / n0)
    variance = 1.0 / x1 - 1.0 / n1 + 1.0 / x0 - 1.0 / n0 if x1 else 0.0
    if method == "log" and x1 > 0 and (x1 < n1 or x0 < n0):
        half = z * math.sqrt(variance)
        return Estimate(value=value, low=value * math.exp(-half), high=value * math.exp(half), method=name, **fields)
    if method == "log":
        name = "Koopman score (the log method has no variance at this zero cell)"
    score_low, score_high = ratio_limits(x1, n1, x0, n0, z)
    assert score_high is not None  # x0 > 0
    return Estimate(value=value, low=min(score_low, value), high=max(score_high, value), method=name, **fields)
