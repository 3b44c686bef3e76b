"""How numbers look in a report: one function for each kind, so that the same number never looks two ways."""

from __future__ import annotations

import math
from collections.abc import Mapping

from evalsuite.protocol.comparisons import OVERLAPS
from evalsuite.protocol.metrics import METRICS
from evalsuite.report.text import clean, given
from evalsuite.types import Estimate, Outcome

#: Metrics that are proportions of counted cases: printed as n/N and per cent.
PROPORTIONS = frozenset((*(name for name, info in METRICS.items() if info.family == "proportion"), *OVERLAPS))
_UNITS = {
    "patient": "patients", "study": "studies", "case": "cases", "lesion": "lesions", "eye": "eyes",
    "reader": "readers", "pixel": "pixels",
}  # fmt: skip
#: Below this, as clinicians are used to, a p-value is only said to be below it, and a number has powers of ten.
_SMALLEST = 0.0001
_OPERATORS = {">": ">", ">=": "≥", "<": "<", "<=": "≤"}
OUTCOME_WORDS: Mapping[Outcome, str] = {"met": "Met", "not_met": "Not met", "inconclusive": "Inconclusive"}
OUTCOME_MARKS: Mapping[Outcome, str] = {"met": "●", "not_met": "■", "inconclusive": "△"}


def format_number(value: float, digits: int = 3) -> str:
    """A number to `digits` decimals with a true minus sign: "0.912", "−0.120".

    One that would be printed as zero has two figures instead, "0.00037"; only below 0.0001, and from 100,000 on, are
    there powers of ten, "3.7×10^−5".
    """
    size = abs(value)
    small = 0 < size < 0.5 * 10**-digits
    if size >= 1e5 or (small and size < _SMALLEST):
        mantissa, exponent = f"{value:.{1 if small else 2}e}".split("e")
        return f"{mantissa}×10^{int(exponent)}".replace("-", "−")
    if small:
        digits = 1 - math.floor(math.log10(size))
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "−")


def format_p(value: float | None, *, sign: str = "") -> str:
    """A p-value to four decimals, "0.0123", or "< 0.0001"; `sign` "= " puts "= 0.0123" into a sentence."""
    if value is None:
        return "–"
    return f"< {_SMALLEST:g}" if value < _SMALLEST else f"{sign}{value:.4f}"


def format_percent(value: float, digits: int = 1) -> str:
    """A proportion as a percentage. 99.96 % is never rounded up to 100.0, nor 0.04 % down to 0.0."""
    percent = 100.0 * value
    text = f"{percent:.{digits}f}"
    step = 10.0**-digits
    if percent < 100.0 <= float(text):
        text = f">{100.0 - step:.{digits}f}"
    elif percent > 0.0 >= float(text):
        text = f"<{step:.{digits}f}"
    return text.replace("-", "−")


def format_count(value: float | int | None) -> str:
    """A count, with thin spaces between thousands; weighted counts keep one decimal."""
    if value is None:
        return "–"
    if float(value).is_integer():
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:,.1f}".replace(",", "\u202f")


def format_fraction(estimate: Estimate) -> str:
    """ "490/500", or nothing where the estimate is not a fraction."""
    if not _is_counted(estimate):
        return ""
    return f"{format_count(estimate.numerator)}/{format_count(estimate.denominator)}"


def format_level(level: float) -> str:
    """0.95 as "95 %", 0.975 as "97.5 %"."""
    return f"{100 * level:g}".replace("-", "−") + "\u00a0%"


def is_proportion(metric: str) -> bool:
    """Whether the estimate is a counted share, so that n/N and a percentage say more than a decimal number.

    A predictive value at a declared prevalence is not the share of the counted cases, and is printed as a percentage
    without n/N.
    """
    return metric in PROPORTIONS


def _is_counted(estimate: Estimate) -> bool:
    if estimate.value is None or estimate.numerator is None or not estimate.denominator:
        return False
    return math.isclose(estimate.numerator / estimate.denominator, estimate.value, rel_tol=0, abs_tol=1e-9)


def format_value(metric: str, estimate: Estimate, *, digits: int = 3) -> str:
    """The point estimate alone: "0.912", "98.0 %", or why there is none. Percentages have two decimals fewer."""
    if estimate.value is None:
        return not_estimable(estimate)
    if is_proportion(metric):
        return f"{format_percent(estimate.value, digits - 2)}\u00a0%"
    return format_number(estimate.value, digits)


def format_interval(metric: str, estimate: Estimate, *, digits: int = 3) -> str:
    """The interval alone: "0.884–0.936", or why there is none."""
    if estimate.value is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"no interval: {given(estimate.interval_undefined, 'not computed for this metric')}"
    if is_proportion(metric):
        low, high = format_percent(estimate.low, digits - 2), format_percent(estimate.high, digits - 2)
        return f"{low}–{high}\u00a0%"
    low, high = format_number(estimate.low, digits), format_number(estimate.high, digits)
    return f"{low} to {high}" if "−" in low + high else f"{low}–{high}"


def format_estimate(metric: str, estimate: Estimate) -> str:
    """A whole estimate on one line: "0.912 (0.884–0.936)", "490/500 · 98.0 % (96.3–99.0)".

    Where there is no value it says why: "not estimable (n = 12: no reference-positive patients)".
    """
    if estimate.value is None:
        return not_estimable(estimate)
    value = format_value(metric, estimate)
    if is_proportion(metric):
        fraction = format_fraction(estimate)
        value = f"{fraction} · {value}" if fraction else value
    if estimate.low is None or estimate.high is None:
        return f"{value} ({format_interval(metric, estimate)})"
    return f"{value} ({format_interval(metric, estimate).removesuffix(chr(0xA0) + '%')})"


def not_estimable(estimate: Estimate) -> str:
    """Why there is no value, with the counts that explain it."""
    reason = given(estimate.undefined, "no reason recorded")
    word = "not assessable" if reason.startswith("not assessable") else "not estimable"
    reason = reason.removeprefix("not assessable").strip(" :()")
    detail = f"n = {format_count(estimate.n)}" + (f": {reason}" if reason else "")
    return f"{word} ({detail})"


def format_unit(estimate: Estimate) -> str:
    """ "1,204 cases of 903 patients"."""
    unit = _UNITS[estimate.unit] if estimate.n != 1 else estimate.unit
    text = f"{format_count(estimate.n)} {unit}"
    if estimate.n_patients is not None and estimate.unit != "patient" and estimate.n_patients != estimate.n:
        text += f" of {format_count(estimate.n_patients)} patients"
    return text


def format_criterion(criterion: Mapping[str, object], *, level: float, metric: str, title: str) -> str:
    """An acceptance criterion in words: "lower 95 % bound of AUROC > 0.850"."""
    bound = {"lower": "lower", "upper": "upper"}.get(str(criterion.get("bound")), "")
    op = _OPERATORS.get(str(criterion.get("op")), clean(criterion.get("op")))
    goal = criterion.get("value")
    if isinstance(goal, int | float) and math.isfinite(goal):
        target = f"{100 * goal:g}\u00a0%" if metric in PROPORTIONS else f"{goal:g}".replace("-", "−")
    else:
        target = given(goal)
    subject = f"{bound} {format_level(level)} bound" if bound else "point estimate"
    text = f"{subject} {op}\u00a0{target}"
    return text if not title else f"{title}: {text}"


def format_stratum(stratum: Mapping[str, str]) -> str:
    """A group in words, such as "sex = female, age ≥60"; "Whole test set" for an empty stratum."""
    if not stratum:
        return "Whole test set"
    return ", ".join(
        f"{clean(name, longest=60)} {'' if _is_bin(level) else '= '}{format_level_name(level)}"
        for name, level in stratum.items()
    )


def _is_bin(level: str) -> bool:
    return level.startswith(("<", ">=")) or "-<" in level


def format_level_name(text: str) -> str:
    """A group's name as printed: bins get proper signs ("40-<60" → "40 to <60", ">=60" → "≥60")."""
    if text.startswith(">="):
        return "≥" + clean(text[2:], longest=80)
    if "-<" in text:
        low, _, high = text.partition("-<")
        try:
            float(low), float(high)
        except ValueError:
            return clean(text, longest=80)
        return f"{low} to <{high}"
    return clean(text, longest=80) or "(empty)"


def format_utc(value: object) -> str:
    """An ISO time as "2026-03-14 09:26 UTC"; anything else as it stands."""
    text = given(value, "not recorded")
    if len(text) >= 16 and text[4:5] == "-" and text[10:11] in "T ":
        return f"{text[:10]} {text[11:16]} UTC" if text.endswith(("Z", "+00:00")) else text
    return text


def format_bytes(value: object) -> str:
    """A size in the unit that reads best."""
    if not isinstance(value, int | float):
        return "not recorded"
    size = float(value)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return "not recorded"
