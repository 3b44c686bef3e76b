"""How much of a device's performance hangs on who sat on the reference panel.

A reference standard made by a few readers would be another one with other readers. Readers are resampled with
replacement, as patients are, and the reference standard is made anew from the readers drawn: the spread of the metric
over such panels is the truth's own variability.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalsuite.stats._binary_inputs import as_reference, as_scores
from evalsuite.stats._means import Floats, patient_index
from evalsuite.stats._normal import check_level
from evalsuite.stats.bootstrap_interval import bootstrap_interval
from evalsuite.stats.draw import PatientDraw
from evalsuite.types import Estimate, Unit

Rule = Literal["majority", "mean"]
Ties = Literal["exclude", "positive", "negative"]
Bools = NDArray[np.bool_]
Statistic = Callable[[Floats, Floats], float]
"""Of the reference (n,), 0/1 under "majority", and the cases' weights (n,), 0 for cases left out; NaN if undefined."""

#: With up to this many readers every possible panel is looked at, with its probability.
_MAX_EXACT = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelVariability:
    """A metric under another panel, other patients, or both.

    `estimate` has the full panel's value, and an interval that holds both sources; `cases_only` the interval for this
    panel as it is; `panel_only` the range of the value over panels for these cases. `sd_*` are the standard deviations
    behind them, None where undefined. `each_reader` is the value with that reader alone as the truth, `without_reader`
    with the others; None where undefined. `n_unresolved` cases are tied or unread by the full panel.
    """

    estimate: Estimate
    cases_only: Estimate
    panel_only: Estimate
    sd_both: float | None
    sd_cases: float | None
    sd_panel: float | None
    each_reader: tuple[float | None, ...]
    without_reader: tuple[float | None, ...]
    n_unresolved: int


def panel_reference(
    readings: ArrayLike, *, rule: Rule = "majority", ties: Ties = "exclude", reader_weight: ArrayLike | None = None
) -> tuple[Floats, Bools]:
    """The panel's reference standard (n,) and which cases have one.

    Parameters
    ----------
    readings
        (n, readers): 0/1 votes for "majority", measurements for "mean"; NaN where a reader did not read a case.
    ties
        What a tied vote means.
    reader_weight
        (readers,) how often each reader counts; 1 each by default.

    Raises
    ------
    ValueError
        If the shape is wrong, a vote is neither 0, 1 nor NaN, or a reading is infinite.
    """
    x = _readings(readings, rule)
    w = np.ones(x.shape[1]) if reader_weight is None else np.asarray(reader_weight, dtype=np.float64)
    return _combine(np.where(np.isnan(x), 0.0, x), (~np.isnan(x)).astype(np.float64), w, rule, ties)


def _readings(readings: ArrayLike, rule: str) -> Floats:
    x = np.asarray(readings, dtype=np.float64)
    if rule not in get_args(Rule):
        raise ValueError(f"rule is 'majority' or 'mean', got {rule!r}")
    if x.ndim != 2 or x.shape[1] < 1:
        raise ValueError(f"readings are (n cases, readers), got shape {x.shape}")
    if np.isinf(x).any() or (rule == "majority" and not np.isin(x[~np.isnan(x)], (0.0, 1.0)).all()):
        raise ValueError("votes are 0, 1 or missing" if rule == "majority" else "readings are finite or missing")
    return x


def _combine(filled: Floats, read: Floats, w: Floats, rule: str, ties: str) -> tuple[Floats, Bools]:
    if ties not in get_args(Ties):
        raise ValueError(f"ties is one of {', '.join(get_args(Ties))}; got {ties!r}")
    total, sums = read @ w, filled @ w
    known = total > 0
    share = np.divide(sums, total, out=np.zeros_like(sums), where=known)
    if rule == "mean":
        return share, known
    tied = known & (2.0 * sums == total)
    reference = (2.0 * sums > total).astype(np.float64)
    if ties == "exclude":
        known &= ~tied
    else:
        reference[tied] = float(ties == "positive")
    return reference, known


def truth_panel(
    readings: ArrayLike,
    statistic: Statistic,
    *,
    rule: Rule = "majority",
    ties: Ties = "exclude",
    patient: ArrayLike | None = None,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    unit: Unit = "case",
) -> PanelVariability:
    """A metric when readers of the reference panel, patients, or both are resampled.

    Parameters
    ----------
    readings
        (n, readers), as for `panel_reference`.
    statistic
        Of the reference and the cases' weights; `sensitivity_to`, `specificity_to`, `auroc_to` make common ones.
    patient
        (n,) patient of each case.

    Returns
    -------
    PanelVariability
        Percentile intervals. Not estimable where the statistic is undefined with the full panel. `panel_only` has no
        interval with a single reader. With 3 readers the resampled spread is about a fifth too small ((R - 1)/R of the
        variance for R readers): it is a lower end of the truth's variability.

    Notes
    -----
    Up to 7 readers every possible panel is weighed by its probability; beyond, panels are drawn. The panels of the
    joint resampling are drawn independently of the patients.
    """
    level = check_level(level)
    x = _readings(readings, rule)
    n, m = x.shape
    index = patient_index(patient, n)
    filled, read = np.where(np.isnan(x), 0.0, x), (~np.isnan(x)).astype(np.float64)

    # Few readers make few different panels: each is combined once, as long as that fits into some 64 MB.
    @lru_cache(maxsize=int(64_000_000 // (9 * n + 1)))
    def combined(readers: bytes) -> tuple[Floats, Bools]:
        return _combine(filled, read, np.frombuffer(readers), rule, ties)

    def value(readers: Floats, cases: Floats) -> float:
        reference, known = combined(readers.tobytes())
        weight = np.where(known, cases, 0.0)
        return statistic(reference, weight) if weight.any() else math.nan

    everyone, all_cases = np.ones(m), np.ones(n)
    fields: dict[str, Any] = {
        "n": n,
        "n_patients": int(index.max()) + 1 if n else 0,
        "level": level,
        "unit": unit,
    }
    full, resolved = _combine(filled, read, everyone, rule, ties)
    unresolved = int((~resolved).sum())
    alone = [_or_none(value(np.eye(m)[j], all_cases)) for j in range(m)]
    without = [_or_none(value(1.0 - np.eye(m)[j], all_cases)) if m > 1 else None for j in range(m)]
    point = value(everyone, all_cases) if n else math.nan
    names = {
        "both": f"patients and readers resampled, percentile, B={replicates}",
        "cases": f"patients resampled, percentile, B={replicates}",
        "panel": f"all panels of {m} out of {m} readers" if m <= _MAX_EXACT else f"readers resampled, B={replicates}",
    }
    if not math.isfinite(point):
        reason = "no cases" if n == 0 else "undefined against the full panel"
        none = {k: Estimate.not_estimable(reason, method=v, **fields) for k, v in names.items()}
        made: dict[str, tuple[Estimate, float | None]] = {k: (e, None) for k, e in none.items()}
    else:
        draw = PatientDraw(index, replicates, seed)
        # Readers get streams of their own: with the same ones, reader 1 would be drawn whenever patient 1 is.
        own = int(np.random.SeedSequence([seed, 1]).generate_state(1, np.uint64)[0])
        readers = np.concatenate([c for _, c in PatientDraw(np.arange(m), replicates, own).blocks()]).astype(np.float64)
        both, cases = np.full(replicates, np.nan), np.full(replicates, np.nan)
        for start, counts in draw.blocks():
            for row, count in enumerate(counts):
                weight = count[draw.patient].astype(np.float64)
                both[start + row] = value(readers[start + row], weight)
                seen = np.where(resolved, weight, 0.0)
                cases[start + row] = statistic(full, seen) if seen.any() else math.nan
        made = {
            "both": _resampled(both, point, names["both"], level, bounds, fields),
            "cases": _resampled(cases, point, names["cases"], level, bounds, fields),
            "panel": _panels(value, m, readers, all_cases, point, names["panel"], level, fields),
        }
    return PanelVariability(
        estimate=made["both"][0],
        cases_only=made["cases"][0],
        panel_only=made["panel"][0],
        sd_both=made["both"][1],
        sd_cases=made["cases"][1],
        sd_panel=made["panel"][1],
        each_reader=tuple(alone),
        without_reader=tuple(without),
        n_unresolved=unresolved,
    )


def _or_none(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _resampled(
    values: Floats, point: float, method: str, level: float, bounds: tuple[float, float], fields: dict[str, Any]
) -> tuple[Estimate, float | None]:
    i = bootstrap_interval(values, point, method="percentile", level=level, bounds=bounds)
    defined = values[np.isfinite(values)]
    e = Estimate(
        value=point,
        low=i.low,
        high=i.high,
        interval_undefined=i.undefined,
        replicates=i.replicates,
        replicates_undefined=i.replicates_undefined,
        method=method,
        **fields,
    )
    return e, float(defined.std(ddof=1)) if defined.size > 1 else None


@lru_cache(maxsize=8)
def _compositions(m: int) -> tuple[tuple[NDArray[np.float64], float], ...]:
    """Every panel of m readers drawn with replacement from m: how often each is in it, and its probability."""
    found = []
    for drawn in itertools.combinations_with_replacement(range(m), m):
        counts = np.bincount(drawn, minlength=m)
        ways = math.factorial(m) / math.prod(math.factorial(int(c)) for c in counts)
        found.append((counts.astype(np.float64), ways / float(m) ** m))
    return tuple(found)


def _panels(
    value: Callable[[Floats, Floats], float],
    m: int,
    drawn: Floats,
    cases: Floats,
    point: float,
    method: str,
    level: float,
    fields: dict[str, Any],
) -> tuple[Estimate, float | None]:
    if m == 1:
        reason = "one reader: the panel's variability cannot be seen"
        return Estimate(value=point, interval_undefined=reason, method=method, **fields), None
    if m <= _MAX_EXACT:
        values, weights = (np.array(v) for v in zip(*((value(c, cases), p) for c, p in _compositions(m)), strict=True))
    else:
        values, weights = np.array([value(c, cases) for c in drawn]), np.full(len(drawn), 1.0 / len(drawn))
    defined = np.isfinite(values)
    lost = float(weights[~defined].sum())
    fields = {**fields, "replicates": int(values.size), "replicates_undefined": int((~defined).sum())}
    if lost > 0.05:
        reason = f"undefined for {lost:.0%} of panels"
        return Estimate(value=point, interval_undefined=reason, method=method, **fields), None
    v, w = values[defined], weights[defined] / weights[defined].sum()
    mean = float(w @ v)
    sd = math.sqrt(max(0.0, float(w @ (v - mean) ** 2)))
    if np.ptp(v) <= 1e-12 * max(1.0, abs(point)):
        reason = "every panel gives the same value"
        return Estimate(value=point, interval_undefined=reason, method=method, **fields), 0.0
    order = np.argsort(v, kind="stable")
    below = np.cumsum(w[order])
    tail = (1.0 - level) / 2.0
    low = float(v[order][np.searchsorted(below, tail + 1e-12)])
    high = float(v[order][min(np.searchsorted(below, 1.0 - tail - 1e-12), v.size - 1)])
    return Estimate(value=point, low=min(low, point), high=max(high, point), method=method, **fields), sd


def sensitivity_to(call: ArrayLike) -> Statistic:
    """Sensitivity of (n,) calls as a statistic of the panel's reference."""
    c = as_reference(call)
    return lambda reference, weight: _share(c, weight * (reference == 1.0))


def specificity_to(call: ArrayLike) -> Statistic:
    """Specificity of (n,) calls as a statistic of the panel's reference."""
    c = as_reference(call)
    return lambda reference, weight: _share(~c, weight * (reference == 0.0))


def _share(success: Bools, weight: Floats) -> float:
    total = float(weight.sum())
    return float(weight @ success) / total if total > 0 else math.nan


def auroc_to(score: ArrayLike) -> Statistic:
    """AUROC of (n,) scores as a statistic of the panel's reference."""
    s = as_scores(score, np.asarray(score).size)
    order = np.argsort(s, kind="stable")
    last = np.flatnonzero(np.append(s[order][1:] != s[order][:-1], True))

    def statistic(reference: Floats, weight: Floats) -> float:
        w = weight[order]
        positive, negative = (np.append(0.0, np.cumsum(w * (reference[order] == c))[last]) for c in (1.0, 0.0))
        if positive[-1] == 0 or negative[-1] == 0:
            return math.nan
        wins = float(np.diff(positive) @ (negative[1:] + negative[:-1]))
        return wins / (2.0 * float(positive[-1]) * float(negative[-1]))

    return statistic


def mean_difference_to(measurement: ArrayLike) -> Statistic:
    """Mean of (n,) device measurements less the panel's mean reading, a statistic for rule "mean"."""
    x = np.asarray(measurement, dtype=np.float64)

    def statistic(reference: Floats, weight: Floats) -> float:
        return float(weight @ (x - reference)) / float(weight.sum())

    return statistic
