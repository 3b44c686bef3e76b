"""Single-number summaries of a confusion table, each with an interval, and tests of whether two sets of calls differ.

Counts are those of independent cases; with several cases per patient the patient bootstrap takes their place.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from evalsuite.stats._kappa import Weights, kappa_from_table, square_table
from evalsuite.stats._normal import check_count, check_level, chi2_upper_p, z_two_sided
from evalsuite.stats.proportions import ProportionMethod, check_method, clopper_pearson, proportion_interval
from evalsuite.types import Estimate, TestOutcome, Unit

YoudenMethod = Literal["newcombe", "rectangle"]
McNemarMethod = Literal["exact", "mid-p", "asymptotic", "asymptotic-cc"]

__all__ = [
    "Weights",
    "balanced_accuracy",
    "cohen_kappa",
    "diagnostic_odds_ratio",
    "f1",
    "kappa_from_table",
    "mcc",
    "mcnemar",
    "number_needed_to_diagnose",
    "stuart_maxwell",
    "youden",
]


def _cells(tp: int, fn: int, fp: int, tn: int) -> tuple[int, int, int, int]:
    return (check_count("tp", tp), check_count("fn", fn), check_count("fp", fp), check_count("tn", tn))


def _fields(tp: int, fn: int, fp: int, tn: int, level: float, unit: Unit, counts: dict[str, Any]) -> dict[str, Any]:
    return {
        "n": tp + fn + fp + tn,
        "n_positive": tp + fn,
        "n_negative": fp + tn,
        "level": level,
        "unit": unit,
        **counts,
    }


def _missing_class(tp: int, fn: int, fp: int, tn: int) -> str | None:
    if tp + fn == 0:
        return "no reference-positive cases"
    return "no reference-negative cases" if fp + tn == 0 else None


def cohen_kappa(
    tp: int, fn: int, fp: int, tn: int, *, level: float = 0.95, unit: Unit = "case", **counts: Any
) -> Estimate:
    """Agreement of calls and reference standard beyond chance; see `kappa_from_table` for interval and edges."""
    tp, fn, fp, tn = _cells(tp, fn, fp, tn)
    fields = {"n_positive": tp + fn, "n_negative": fp + tn, **counts}
    return kappa_from_table([[tp, fn], [fp, tn]], level=level, unit=unit, **fields)


def mcc(tp: int, fn: int, fp: int, tn: int, *, level: float = 0.95, unit: Unit = "case", **counts: Any) -> Estimate:
    """Matthews correlation coefficient with the delta-method interval on Fisher's z scale.

    At exactly 1 or -1 the variance is 0; the limit is then the coefficient at the Clopper-Pearson limits of
    sensitivity and specificity and the observed prevalence (conservative: both at their worst at once), and the
    method says so. Not estimable where a margin of the table is empty.

    References
    ----------
    Matthews, Biochim Biophys Acta 405:442-451 (1975); Itaya, Tamura, Hayashi & Yamamoto, Stat Med (2024),
    doi:10.1002/sim.10303.
    """
    tp, fn, fp, tn = _cells(tp, fn, fp, tn)
    level = check_level(level)
    name = "Fisher z, delta method"
    fields = _fields(tp, fn, fp, tn, level, unit, counts)
    r1, r0, c1, c0 = float(tp + fn), float(fp + tn), float(tp + fp), float(fn + tn)
    missing = _missing_class(tp, fn, fp, tn)
    if missing is None and (c1 == 0 or c0 == 0):
        missing = f"no case is called {'positive' if c1 == 0 else 'negative'}"
    if missing is not None:
        return Estimate.not_estimable(missing, method=name, **fields)
    root = math.sqrt(r1) * math.sqrt(r0) * math.sqrt(c1) * math.sqrt(c0)
    value = max(-1.0, min(1.0, (float(tp) * tn - float(fp) * fn) / root))
    n = r1 + r0
    if (fn == 0 and fp == 0) or (tp == 0 and tn == 0):
        se, sp = clopper_pearson(tp, r1, level), clopper_pearson(tn, r0, level)
        value = math.copysign(1.0, value)  # exactly, whatever the roots round to
        low, high = (_mcc_at(se[i], sp[i], r1 / n) for i in (0, 1))
        name = "Clopper-Pearson limits of sensitivity and specificity at the observed prevalence (the variance is 0)"
        return Estimate(value=value, low=min(low, value), high=max(high, value), method=name, **fields)
    # Gradient with respect to the four cell probabilities.
    p = np.array([tp, fn, fp, tn]) / n
    d = root / n**2
    half = value / 2.0
    gradient = np.array(
        [
            p[3] / d - half * n * (1.0 / r1 + 1.0 / c1),
            -p[2] / d - half * n * (1.0 / r1 + 1.0 / c0),
            -p[1] / d - half * n * (1.0 / r0 + 1.0 / c1),
            p[0] / d - half * n * (1.0 / r0 + 1.0 / c0),
        ]
    )
    variance = float(p @ gradient**2 - (p @ gradient) ** 2) / n
    spread = z_two_sided(level) * math.sqrt(max(variance, 0.0)) / (1.0 - value * value)
    centre = math.atanh(value)
    return Estimate(value=value, low=math.tanh(centre - spread), high=math.tanh(centre + spread), method=name, **fields)


def _mcc_at(se: float, sp: float, prevalence: float) -> float:
    called = prevalence * se + (1.0 - prevalence) * (1.0 - sp)
    return (se + sp - 1.0) * math.sqrt(prevalence * (1.0 - prevalence) / (called * (1.0 - called)))


def f1(
    tp: int,
    fn: int,
    fp: int,
    tn: int = 0,
    *,
    level: float = 0.95,
    unit: Unit = "case",
    method: ProportionMethod = "wilson",
    **counts: Any,
) -> Estimate:
    """F1 = 2 TP / (2 TP + FP + FN): the harmonic mean of PPV and sensitivity.

    F1 = 2 J / (1 + J) rises with J = TP / (TP + FP + FN), which given its denominator is a proportion; the interval
    is that of J, transformed (the indirect method). Not estimable without a positive call and a positive reference.

    References
    ----------
    Lam, Gopal & Qian, arXiv:2309.14621 (2024): Clopper-Pearson and Wilson indirect methods.
    """
    tp, fn, fp, tn = _cells(tp, fn, fp, tn)
    level = check_level(level)
    name = f"{check_method(method)}, indirect (Lam)"
    fields = _fields(tp, fn, fp, tn, level, unit, counts)
    n = tp + fn + fp
    fields = {"numerator": 2.0 * tp, "denominator": float(2 * tp + fp + fn), **fields}
    if n == 0:
        return Estimate.not_estimable("no reference-positive case and no case called positive", method=name, **fields)
    low, high = proportion_interval(tp, n, level=level, method=method)
    return Estimate(
        value=2.0 * tp / (2 * tp + fp + fn),
        low=2.0 * low / (1.0 + low),
        high=2.0 * high / (1.0 + high),
        method=name,
        **fields,
    )


def _youden_limits(
    tp: int, fn: int, fp: int, tn: int, level: float, method: YoudenMethod
) -> tuple[float, float, float, str]:
    """Youden's index, its limits and their name."""
    n1, n0 = tp + fn, fp + tn
    se, sp = tp / n1, tn / n0
    if method == "rectangle":
        (l1, u1), (l0, u0) = clopper_pearson(tp, n1, level), clopper_pearson(tn, n0, level)
        return se + sp - 1.0, l1 + l0 - 1.0, u1 + u0 - 1.0, "sum of Clopper-Pearson limits (conservative)"
    (l1, u1), (l0, u0) = (
        proportion_interval(tp, n1, level=level, method="wilson"),
        proportion_interval(tn, n0, level=level, method="wilson"),
    )
    index = se + sp - 1.0
    low = index - math.hypot(se - l1, sp - l0)
    high = index + math.hypot(u1 - se, u0 - sp)
    return index, max(-1.0, low), min(1.0, high), "Newcombe hybrid score (MOVER of Wilson limits)"


def _check_youden(method: str) -> None:
    if method not in get_args(YoudenMethod):
        raise ValueError(f"method is one of {', '.join(get_args(YoudenMethod))}; got {method!r}")


def youden(
    tp: int,
    fn: int,
    fp: int,
    tn: int,
    *,
    level: float = 0.95,
    unit: Unit = "case",
    method: YoudenMethod = "newcombe",
    **counts: Any,
) -> Estimate:
    """Youden's index: sensitivity + specificity - 1.

    "newcombe": the difference between sensitivity and the false-positive rate, two independent proportions, by
    Newcombe's square-and-add of Wilson limits. "rectangle": both exact limits at their worst at once (what epiR
    prints).

    References
    ----------
    Youden, Cancer 3:32-35 (1950); Newcombe, Stat Med 17:873-890 (1998), method 10.
    """
    tp, fn, fp, tn = _cells(tp, fn, fp, tn)
    level = check_level(level)
    _check_youden(method)
    fields = _fields(tp, fn, fp, tn, level, unit, counts)
    missing = _missing_class(tp, fn, fp, tn)
    if missing is not None:
        return Estimate.not_estimable(missing, method=method, **fields)
    value, low, high, name = _youden_limits(tp, fn, fp, tn, level, method)
    return Estimate(value=value, low=low, high=high, method=name, **fields)


def balanced_accuracy(
    tp: int,
    fn: int,
    fp: int,
    tn: int,
    *,
    level: float = 0.95,
    unit: Unit = "case",
    method: YoudenMethod = "newcombe",
    **counts: Any,
) -> Estimate:
    """Mean of sensitivity and specificity, (Youden's index + 1) / 2, with the interval of Youden's index."""
    tp, fn, fp, tn = _cells(tp, fn, fp, tn)
    level = check_level(level)
    _check_youden(method)
    fields = _fields(tp, fn, fp, tn, level, unit, counts)
    missing = _missing_class(tp, fn, fp, tn)
    if missing is not None:
        return Estimate.not_estimable(missing, method=method, **fields)
    value, low, high, name = _youden_limits(tp, fn, fp, tn, level, method)
    return Estimate(value=(value + 1.0) / 2.0, low=(low + 1.0) / 2.0, high=(high + 1.0) / 2.0, method=name, **fields)


def number_needed_to_diagnose(
    tp: int,
    fn: int,
    fp: int,
    tn: int,
    *,
    level: float = 0.95,
    unit: Unit = "case",
    method: YoudenMethod = "newcombe",
    **counts: Any,
) -> Estimate:
    """1 / Youden's index: patients to test for one more correct positive than false positive (equal numbers of both).

    Where the interval of Youden's index reaches 0 the reciprocal has no bounded interval, and the reason says so; an
    index of 0 or below is not estimable.
    """
    index = youden(tp, fn, fp, tn, level=level, unit=unit, method=method, **counts)
    fields = _fields(*_cells(tp, fn, fp, tn), index.level, unit, counts)
    if index.value is None:
        return index
    if index.value <= 0:
        return Estimate.not_estimable("Youden's index is not above 0", method=index.method, **fields)
    if index.low is None or index.high is None or index.low <= 0:
        reason = "the interval of Youden's index reaches 0, so its reciprocal is unbounded"
        return Estimate(value=1.0 / index.value, interval_undefined=reason, method=index.method, **fields)
    return Estimate(value=1.0 / index.value, low=1.0 / index.high, high=1.0 / index.low, method=index.method, **fields)


def diagnostic_odds_ratio(
    tp: int, fn: int, fp: int, tn: int, *, level: float = 0.95, unit: Unit = "case", **counts: Any
) -> Estimate:
    """TP·TN / (FP·FN) with Woolf's interval on the log scale.

    A ratio of exactly 0 has Gart's limits (one half added to every cell) with 0 as its lower end, and the method says
    so; without false positives or without false negatives the ratio is unbounded and not estimable.

    References
    ----------
    Woolf, Ann Hum Genet 19:251-253 (1955); Gart, J R Stat Soc B 28:164-179 (1966);
    Glas et al., J Clin Epidemiol 56:1129-1135 (2003).
    """
    tp, fn, fp, tn = _cells(tp, fn, fp, tn)
    level = check_level(level)
    name = "log method (Woolf)"
    fields = _fields(tp, fn, fp, tn, level, unit, counts)
    missing = _missing_class(tp, fn, fp, tn)
    if missing is None and fp * fn == 0:
        missing = f"no false {'positive' if fp == 0 else 'negative'} result, so the odds ratio is unbounded"
    if missing is not None:
        return Estimate.not_estimable(missing, method=name, **fields)
    z = z_two_sided(level)
    if tp * tn == 0:
        a, b, c, d = (v + 0.5 for v in (tp, fn, fp, tn))
        high = a * d / (b * c) * math.exp(z * math.sqrt(1 / a + 1 / b + 1 / c + 1 / d))
        name = "log method with one half added to every cell (Gart)"
        return Estimate(value=0.0, low=0.0, high=high, method=name, **fields)
    value = tp * tn / (fp * fn)
    half = z * math.sqrt(1 / tp + 1 / fn + 1 / fp + 1 / tn)
    return Estimate(value=value, low=value * math.exp(-half), high=value * math.exp(half), method=name, **fields)


def mcnemar(
    b: int, c: int, *, method: McNemarMethod = "exact", name: str = "McNemar", endpoint: str | None = None
) -> TestOutcome:
    """Whether two paired sets of calls are right equally often, from the two discordant counts.

    `b`: first right, second wrong; `c`: the reverse. "exact": binomial(b + c, 1/2), two-sided; "mid-p": the exact p
    less half the probability of the outcome seen; "asymptotic": (b - c)² / (b + c); "asymptotic-cc": with Edwards'
    continuity correction. Without discordant pairs there is no evidence of a difference: p = 1 for the exact tests,
    undefined for the asymptotic ones.

    References
    ----------
    McNemar, Psychometrika 12:153-157 (1947); Fagerland, Lydersen & Laake, BMC Med Res Methodol 13:91 (2013).
    """
    if method not in get_args(McNemarMethod):
        raise ValueError(f"method is one of {', '.join(get_args(McNemarMethod))}; got {method!r}")
    b, c = check_count("b", b), check_count("c", c)
    n, k = b + c, min(b, c)
    label = f"McNemar {method}" + (" (continuity corrected)" if method == "asymptotic-cc" else "")
    if method in ("exact", "mid-p"):
        # P(X <= k) for X ~ Binomial(n, 1/2), and the probability of k itself.
        tail = float(special.bdtr(k, n, 0.5)) if n else 1.0
        point = math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2.0))
        p = min(1.0, 2.0 * tail)
        if method == "mid-p":
            p = 1.0 if n == 0 else (1.0 - point / 2.0 if b == c else 2.0 * tail - point)
        return TestOutcome(name=name, statistic=float(k), p_value=p, method=label, endpoint=endpoint)
    if n == 0:
        return TestOutcome(
            name=name, statistic=None, p_value=None, method=label, endpoint=endpoint, undefined="no discordant pairs"
        )
    gap = abs(b - c) - (1.0 if method == "asymptotic-cc" else 0.0)
    statistic = max(0.0, gap) ** 2 / n
    return TestOutcome(
        name=name, statistic=statistic, p_value=chi2_upper_p(statistic, 1), method=label, endpoint=endpoint
    )


def stuart_maxwell(table: ArrayLike, *, name: str = "Stuart-Maxwell", endpoint: str | None = None) -> TestOutcome:
    """Whether two paired sets of calls use the categories equally often, from their (k, k) table of counts.

    With two categories it is McNemar's asymptotic test. Categories neither uses are left out. Undefined where no case
    is discordant.

    References
    ----------
    Stuart, Biometrika 42:412-416 (1955); Maxwell, Br J Psychiatry 116:651-655 (1970).
    """
    cells = square_table(table)
    discordant = cells - np.diag(np.diag(cells))
    # A category that is only ever agreed on adds a row of zeros to the covariance: it carries no information.
    active = (discordant.sum(axis=0) + discordant.sum(axis=1)) > 0
    d = discordant[np.ix_(active, active)]
    if not active.any():
        return TestOutcome(
            name=name,
            statistic=None,
            p_value=None,
            method="Stuart-Maxwell",
            endpoint=endpoint,
            undefined="no discordant pairs",
        )
    gap = d.sum(axis=1) - d.sum(axis=0)
    covariance = np.diag(d.sum(axis=1) + d.sum(axis=0)) - d - d.T
    # The covariance has one null vector per separate block of categories; its rank is the degrees of freedom.
    df = int(np.linalg.matrix_rank(covariance))
    statistic = float(gap @ np.linalg.pinv(covariance, hermitian=True) @ gap)
    return TestOutcome(
        name=name,
        statistic=statistic,
        p_value=chi2_upper_p(statistic, df),
        method=f"Stuart-Maxwell, {df} df",
        endpoint=endpoint,
    )
