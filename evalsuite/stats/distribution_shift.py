"""How far a window's inputs or outputs lie from the baseline's, beside what chance alone would show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evalsuite.stats._reshuffles import Members, Split

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]
Codes = NDArray[np.int32]
Places = NDArray[np.intp]
#: Reshuffles that are always made, so that the effects expected by chance are known.
LEAST_SHUFFLES = 200
#: Reshuffles at least as extreme as what was seen, after which no more are made: the p-value is large, and known well
#: enough.
ENOUGH_EXCEEDED = 20
#: A difference that chance alone shows less often than this needs no reshuffles to be believed.
CERTAIN = 1e-9
EFFECTS = ("ks", "wasserstein", "jensen_shannon", "psi", "total_variation")
METHOD = "reshuffled patients"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Covariate:
    """One column of baseline and window.

    `baseline` and `window` are floats with NaN where the value is missing (numeric), or text (categorical; every word,
    missing included, is a group). `edges`, for numeric covariates, are the inner edges of the bins of Jensen-Shannon
    and PSI; absent, the baseline's deciles.
    """

    name: str
    kind: Literal["numeric", "categorical"]
    baseline: NDArray[np.generic]
    window: NDArray[np.generic]
    edges: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """How one covariate moved.

    `effects` maps names of `EFFECTS` to values; `expected` and `high` have the mean and the 95th percentile of the same
    effects when patients are reshuffled between baseline and window: what chance alone shows at this size. `statistic`
    names the effect that `p_value` is about (KS for numbers, Jensen-Shannon for categories). `undefined` says why there
    is nothing, where a side has no value.
    """

    name: str
    kind: Literal["numeric", "categorical"]
    n_baseline: int
    n_window: int
    missing_baseline: int
    missing_window: int
    effects: dict[str, float]
    expected: dict[str, float]
    high: dict[str, float]
    statistic: str
    p_value: float | None
    shuffles: int
    exceeded: int
    unseen: tuple[str, ...] = ()
    undefined: str | None = None


def smallest_shuffles(alpha: float) -> int:
    """Reshuffles needed before a p-value can fall clearly below `alpha`: ten times its inverse.

    Raises
    ------
    ValueError
        If alpha does not lie between 0 and 1.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"a level lies between 0 and 1, got {alpha!r}")
    return int(np.ceil(10.0 / alpha))


def shifts(
    covariates: Sequence[Covariate],
    baseline_patients: Sequence[str],
    window_patients: Sequence[str],
    *,
    shuffles: int,
    seed: int,
) -> tuple[Shift, ...]:
    """Effect sizes of every covariate, and whether more than chance is needed to explain them.

    Patients are reshuffled between baseline and window with all their cases; one reshuffle serves all covariates. The
    p-value is (b + 1) / (B + 1), or exceedances / reshuffles once `ENOUGH_EXCEEDED` reshuffles were at least as extreme
    (Besag and Clifford 1991), which is exact at every size when neither period drifts, with ties and clusters too. A
    patient with cases in both periods counts as one patient in each. Where a tail bound (`tail_bound`) says that chance
    shows such a difference less than once in 10⁹ periods, only `LEAST_SHUFFLES` are made, and the p-value is the
    smallest that all of them could give.

    Raises
    ------
    ValueError
        If columns are not as long as the lists of patients, or fewer than `LEAST_SHUFFLES` are asked for.
    """
    if shuffles < LEAST_SHUFFLES:
        raise ValueError(f"at least {LEAST_SHUFFLES} reshuffles are needed, got {shuffles}")
    n_baseline, n_window = len(baseline_patients), len(window_patients)
    for c in covariates:
        if len(c.baseline) != n_baseline or len(c.window) != n_window:
            raise ValueError(f"the column '{c.name}' is not as long as the list of patients")
    if n_baseline == 0 or n_window == 0:
        return tuple(_nothing(c, "baseline or window has no cases") for c in covariates)
    members = Members(baseline_patients, window_patients, seed=seed)
    questions = [_question(c, members.order) for c in covariates]
    observed = [None if q is None else q.effects(members.observed) for q in questions]
    kept: list[list[dict[str, float]]] = [[] for _ in covariates]
    exceeded = [0] * len(covariates)
    made = [0] * len(covariates)
    going = [i for i, q in enumerate(questions) if q is not None]
    sure = [q is not None and _bound(c, members) <= CERTAIN for c, q in zip(covariates, questions, strict=True)]
    for r in range(shuffles):
        if not going:
            break
        split = members.shuffled(r)
        for i in going:
            question, seen = questions[i], observed[i]
            assert question is not None
            assert seen is not None
            found = question.effects(split) if r < LEAST_SHUFFLES else question.statistic_alone(split)
            if r < LEAST_SHUFFLES:
                kept[i].append(found)
            made[i] += 1
            # The same comparison of sums of the same numbers in another order may differ in the last digit.
            exceeded[i] += found[question.statistic] >= seen[question.statistic] * (1.0 - 1e-12)
        going = [i for i in going if made[i] < LEAST_SHUFFLES or (exceeded[i] < ENOUGH_EXCEEDED and not sure[i])]
    return tuple(
        _nothing(c, "baseline or window has no value of it")
        if q is None or seen is None
        else _shift(c, q, seen, kept[i], made[i], exceeded[i], shuffles=shuffles, sure=sure[i])
        for i, (c, q, seen) in enumerate(zip(covariates, questions, observed, strict=True))
    )


def tail_bound(values: NDArray[np.generic], window: Booleans, *, kind: Literal["numeric", "categorical"]) -> float:
    """No smaller than the chance of a difference like this between independent cases of one distribution.

    Numbers: two Kolmogorov-Smirnov distances to that distribution, each by Massart's inequality, 4 exp(−2 D² mn / (√m +
    √n)²). Categories: Hoeffding's inequality for sampling without replacement, in every group. Missing numbers are left
    out; 1 where a side has none. Far above the p-value near the customary levels, and certain far beyond them.

    Sources: Massart, Ann Probab 18:1269-1283 (1990); Hoeffding, JASA 58:13-30 (1963), section 6.
    """
    if kind == "numeric":
        numbers = np.asarray(values, dtype=np.float64)
        present = np.isfinite(numbers)
        inside, outside = np.sort(numbers[present & window]), np.sort(numbers[present & ~window])
        m, n = inside.size, outside.size
        if m == 0 or n == 0:
            return 1.0
        at = np.concatenate([inside, outside])
        steps = np.searchsorted(inside, at, side="right") / m - np.searchsorted(outside, at, side="right") / n
        most = float(np.abs(steps).max())
        return min(1.0, 4.0 * float(np.exp(-2.0 * most**2 * m * n / (np.sqrt(m) + np.sqrt(n)) ** 2)))
    names, codes = np.unique(np.asarray(values, dtype=object).astype(str), return_inverse=True)
    m, n = int(window.sum()), int((~window).sum())
    if m == 0 or n == 0:
        return 1.0
    shares = [np.bincount(codes[side], minlength=names.size) / side.sum() for side in (window, ~window)]
    most = float(np.abs(shares[0] - shares[1]).max())
    # Either side beside the two together: the larger one says more.
    size = m * n * max(m, n) / (m + n) ** 2
    return min(1.0, 2.0 * names.size * float(np.exp(-2.0 * size * most**2)))


def _bound(c: Covariate, members: Members) -> float:
    """`tail_bound` of the first case of every patient: whole patients are exchanged, so these are exchangeable."""
    first = members.first_cases
    return tail_bound(np.concatenate([c.baseline, c.window])[first], members.is_window[first], kind=c.kind)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Question:
    statistic: str
    effects: Callable[[Split], dict[str, float]]
    statistic_alone: Callable[[Split], dict[str, float]]
    unseen: tuple[str, ...] = ()


def _question(c: Covariate, order: Places) -> _Question | None:
    """How to measure one covariate for any split of the cases, which are in this order; None where a side has none."""
    return _numeric(c, order) if c.kind == "numeric" else _categorical(c, order)


def _numeric(c: Covariate, order: Places) -> _Question | None:
    pooled = np.concatenate([np.asarray(c.baseline, dtype=np.float64), np.asarray(c.window, dtype=np.float64)])
    present = np.isfinite(pooled)
    known = pooled[: len(c.baseline)][present[: len(c.baseline)]]
    if known.size == 0 or not present[len(c.baseline) :].any():
        return None
    from evalsuite.stats import _shift_kernels

    inner = np.unique(np.quantile(known, np.linspace(0.1, 0.9, 9))) if c.edges is None else np.asarray(c.edges)
    spread = float(known.std()) or 1.0
    pooled, present = pooled[order], present[order]
    different, group, cases = np.unique(pooled[present], return_inverse=True, return_counts=True)
    groups: Codes = np.full(pooled.size, different.size, dtype=np.int32)
    groups[present] = group
    through = np.cumsum(cases)
    gaps = np.append(np.diff(different), 0.0)
    work: Codes = np.zeros(different.size + 1, dtype=np.int32)
    bins: Codes = np.searchsorted(inner, different, side="left").astype(np.int32)
    # Cases without a value have a place of their own, left out below.
    codes = np.append(bins, np.int32(inner.size + 1))[groups]
    count = _counter(codes, inner.size + 1)

    def distances(split: Split) -> tuple[float, float]:
        found: tuple[float, float] = _shift_kernels.apart(
            split.some, split.some_are_window, groups, through, gaps, work
        )
        return found

    def alone(split: Split) -> dict[str, float]:
        return {"ks": distances(split)[0]}

    def all_of(split: Split) -> dict[str, float]:
        most, area = distances(split)
        return {"ks": most, "wasserstein": area / spread, **_of_counts(*count(split))}

    return _Question(statistic="ks", effects=all_of, statistic_alone=alone)


def _categorical(c: Covariate, order: Places) -> _Question | None:
    words = np.concatenate([np.asarray(c.baseline, dtype=object), np.asarray(c.window, dtype=object)]).astype(str)
    if len(c.baseline) == 0 or len(c.window) == 0:
        return None
    names, at = np.unique(words, return_inverse=True)
    before = set(np.unique(at[: len(c.baseline)]).tolist())
    new = tuple(str(n) for i, n in enumerate(names) if i not in before)
    count = _counter(at[order].astype(np.int32), names.size)

    def all_of(split: Split) -> dict[str, float]:
        return _of_counts(*count(split))

    def alone(split: Split) -> dict[str, float]:
        return {"jensen_shannon": jensen_shannon(*count(split))}

    return _Question(statistic="jensen_shannon", effects=all_of, statistic_alone=alone, unseen=new)


def _counter(codes: Codes, groups: int) -> Callable[[Split], tuple[Floats, Floats]]:
    """How to count the cases of baseline and window in every group; codes beyond the groups are left out."""
    from evalsuite.stats import _shift_kernels

    every = np.bincount(codes, minlength=groups + 1)
    some = np.empty_like(every)

    def count(split: Split) -> tuple[Floats, Floats]:
        _shift_kernels.group_counts(codes, split.some, some)
        these = some[:groups].astype(np.float64)
        others = (every - some)[:groups].astype(np.float64)
        return (others, these) if split.some_are_window else (these, others)

    return count


def _of_counts(baseline: Floats, window: Floats) -> dict[str, float]:
    return {
        "jensen_shannon": jensen_shannon(baseline, window),
        "psi": population_stability(baseline, window),
        "total_variation": total_variation(baseline, window),
    }


def total_variation(baseline: Floats, window: Floats) -> float:
    """Half the sum of the absolute differences of two sets of shares, from counts; 0 alike, 1 nothing in common."""
    return float(0.5 * np.abs(_shares(baseline) - _shares(window)).sum())


def jensen_shannon(baseline: Floats, window: Floats) -> float:
    """Jensen-Shannon divergence of two sets of counts to base 2: 0 alike, 1 nothing in common (Lin 1991)."""
    p, q = _shares(baseline), _shares(window)
    middle = 0.5 * (p + q)
    total = 0.0
    for share in (p, q):
        has = share > 0
        total += 0.5 * float((share[has] * np.log2(share[has] / middle[has])).sum())
    return max(0.0, total)


def population_stability(baseline: Floats, window: Floats) -> float:
    """Population stability index of two sets of counts, half a case added to every group so that none is infinite.

    Σ (q − p) · log(q / p). The customary limits .1 and .25 know no sample size: with ten groups and no drift the index
    exceeds .1 in most windows of 50 cases; compare it with what chance shows. Source: Siddiqi (2006).
    """
    p, q = _shares(baseline + 0.5), _shares(window + 0.5)
    return float(((q - p) * np.log(q / p)).sum())


def _shares(counts: Floats) -> Floats:
    total = counts.sum()
    if not total > 0:
        return np.zeros_like(counts)
    out: Floats = counts / total
    return out


def _shift(
    c: Covariate,
    question: _Question,
    seen: dict[str, float],
    kept: Sequence[dict[str, float]],
    made: int,
    exceeded: int,
    *,
    shuffles: int,
    sure: bool,
) -> Shift:
    by_name = {name: np.array([k[name] for k in kept]) for name in seen}
    early = exceeded >= ENOUGH_EXCEEDED and made < shuffles
    least = 1.0 / (shuffles + 1)
    return replace(
        _nothing(c, None),
        effects=seen,
        expected={name: float(v.mean()) for name, v in by_name.items()},
        high={name: float(np.quantile(v, 0.95)) for name, v in by_name.items()},
        statistic=question.statistic,
        p_value=least if sure else exceeded / made if early else (exceeded + 1) / (made + 1),
        shuffles=made,
        exceeded=exceeded,
        unseen=question.unseen,
    )


def _nothing(c: Covariate, reason: str | None) -> Shift:
    """A covariate's sizes, and why there is no more to say of it."""
    gone, lost = _missing(c, c.baseline), _missing(c, c.window)
    return Shift(
        name=c.name,
        kind=c.kind,
        n_baseline=len(c.baseline) - gone,
        n_window=len(c.window) - lost,
        missing_baseline=gone,
        missing_window=lost,
        effects={},
        expected={},
        high={},
        statistic="ks" if c.kind == "numeric" else "jensen_shannon",
        p_value=None,
        shuffles=0,
        exceeded=0,
        undefined=reason,
    )


def _missing(c: Covariate, values: NDArray[np.generic]) -> int:
    return int((~np.isfinite(np.asarray(values, dtype=np.float64))).sum()) if c.kind == "numeric" else 0
