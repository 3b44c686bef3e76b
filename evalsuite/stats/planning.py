"""How many cases a study needs: the chance that a goal is reached, by the very intervals that will judge it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, owens_t
from scipy.stats import binom, ncf
from scipy.stats import f as fisher
from scipy.stats import t as student

from evalsuite.stats._binary_inputs import FloatArray
from evalsuite.stats.obuchowski_rockette import VarianceParts
from evalsuite.stats.proportions import ProportionMethod, proportion_interval

Bound = Literal["lower", "upper"]
_MOST = 10_000_000


def _probability(value: float, name: str) -> None:
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} lies strictly between 0 and 1, got {value!r}")


def proportion_power(
    n: int,
    p: float,
    goal: float,
    *,
    bound: Bound = "lower",
    level: float = 0.95,
    method: ProportionMethod = "clopper-pearson",
) -> float:
    """Chance that the named bound of a proportion's interval clears `goal`, with `n` independent cases and a true `p`.

    Exact: the binomial probability of the counts whose interval clears it. 0 where no count does.

    Raises
    ------
    ValueError
        If `n` is below 1 or a probability outside (0, 1).
    """
    _probability(p, "p")
    _probability(goal, "goal")
    if n < 1:
        raise ValueError(f"n is at least 1, got {n}")
    if bound == "upper":  # the errors' side of the same coin
        return proportion_power(n, 1.0 - p, 1.0 - goal, bound="lower", level=level, method=method)
    least = _fewest_successes(n, goal, level, method)
    return 0.0 if least is None else float(binom.sf(least - 1, n, p))


def _fewest_successes(n: int, goal: float, level: float, method: ProportionMethod) -> int | None:
    """Smallest count whose lower bound exceeds the goal; lower bounds rise with the count."""
    low, high = 0, n + 1
    while low < high:
        middle = (low + high) // 2
        if middle <= n and proportion_interval(middle, n, level=level, method=method)[0] <= goal:
            low = middle + 1
        else:
            high = middle
    return low if low <= n else None


def cases_for_proportion(
    p: float,
    goal: float,
    *,
    power: float = 0.8,
    bound: Bound = "lower",
    level: float = 0.95,
    method: ProportionMethod = "clopper-pearson",
) -> int | None:
    """Fewest cases from which on every larger study reaches `power`; None where `p` does not clear the goal.

    Exact power is a saw-tooth in n: a study of a few more cases may have less of it. The answer is past its last dip,
    so that a case more than planned is never a case too many.
    """
    _probability(power, "power")
    ahead = p - goal if bound == "lower" else goal - p
    if ahead <= 0:
        return None
    z = float(ndtri(0.5 + level / 2.0) + max(ndtri(power), 0.0))
    guess = max(int(z**2 * 0.25 / ahead**2), 10)
    if guess > _MOST:
        return None
    if bound == "upper":
        p, goal = 1.0 - p, 1.0 - goal
    tooth = max(int(2.0 / ahead), 8)
    top = guess
    while min(_powers(top, top + tooth, p, goal, level, method)) < power:
        top = math.ceil(top * 1.3)
    low, high = 0, top  # the last dip lies above `low` (or there is none) and below `high`
    while high - low > 8 * tooth:
        middle = (low + high) // 2
        if min(_powers(middle, middle + tooth, p, goal, level, method)) < power:
            low = middle
        else:
            high = middle
    start = max(low, 1)
    dips = [n for n, found in enumerate(_powers(start, high, p, goal, level, method), start) if found < power]
    return dips[-1] + 1 if dips else start


def _powers(start: int, stop: int, p: float, goal: float, level: float, method: ProportionMethod) -> list[float]:
    """Power of every n from `start` to before `stop`: the count needed rises by 0 or 1 from one n to the next."""
    needed = _fewest_successes(start, goal, level, method)
    found = []
    for n in range(start, stop):
        if needed is None:
            needed = _fewest_successes(n, goal, level, method)
        elif proportion_interval(min(needed, n), n, level=level, method=method)[0] <= goal:
            needed = needed + 1 if needed < n else None
        found.append(0.0 if needed is None else float(binom.sf(needed - 1, n, p)))
    return found


def half_width(n: int, p: float, *, level: float = 0.95, method: ProportionMethod = "clopper-pearson") -> float:
    """Half the width of the interval to expect of a true `p` with `n` cases: at the count nearest to n·p."""
    low, high = proportion_interval(round(n * p), n, level=level, method=method)
    return (high - low) / 2.0


def cases_for_half_width(p: float, width: float, *, level: float = 0.95) -> int:
    """Cases for a Wald interval of half-width `width` (Buderer, Academic Emergency Medicine 3:895-900, 1996)."""
    _probability(p, "p")
    return math.ceil(float(ndtri(0.5 + level / 2.0)) ** 2 * p * (1.0 - p) / width**2 - 1e-9)


def binormal_variance(auroc: float, n_positive: float, n_negative: float) -> float:
    """Variance of the empirical AUROC of normal scores with equal spread: exact, from the areas of two pairs.

    References
    ----------
    Bamber, Journal of Mathematical Psychology 12:387-415 (1975); the chance that a positive case outranks two negative
    ones is a bivariate normal probability of correlation ½, in Owen's T function.
    """
    _probability(auroc, "auroc")
    h = float(ndtri(auroc))
    both = auroc - 2.0 * float(owens_t(h, math.sqrt(1.0 / 3.0)))
    spread = auroc * (1.0 - auroc) + (n_positive + n_negative - 2.0) * (both - auroc**2)
    return spread / (n_positive * n_negative)


def obuchowski_variance(auroc: float, n_positive: float, n_negative: float) -> float:
    """The approximation to it that pROC plans with; too large for areas above 0.9, by half at 0.95.

    References
    ----------
    Obuchowski, Lieber & Wians, Clinical Chemistry 50:1118-1125 (2004).
    """
    _probability(auroc, "auroc")
    a = 1.414 * float(ndtri(auroc))
    return 0.0099 * math.exp(-(a**2) / 2.0) * ((5 * a**2 + 8) / n_positive + (a**2 + 8) / n_negative)


def auroc_power(n_positive: float, n_negative: float, auroc: float, goal: float, *, level: float = 0.95) -> float:
    """Chance that the lower bound of DeLong's interval exceeds `goal`, for normal scores of equal spread.

    Normal approximation of the bound itself, not of the area alone: the estimated standard error falls as the
    estimated area rises, which spreads the bound more than the area and lowers the power, above 0.9 by several points.
    """
    error = math.sqrt(binormal_variance(auroc, n_positive, n_negative))
    step = min(1e-3, (1.0 - auroc) / 4.0, auroc / 4.0)
    around = [math.sqrt(binormal_variance(auroc + d, n_positive, n_negative)) for d in (-step, step)]
    z = float(ndtri(0.5 + level / 2.0))
    spread = error * (1.0 - z * (around[1] - around[0]) / (2.0 * step))
    return float(ndtr((auroc - z * error - goal) / spread))


def positives_for_auroc(
    auroc: float, goal: float, *, negatives_per_positive: float = 1.0, power: float = 0.8, level: float = 0.95
) -> int | None:
    """Positive cases for `power`, with so many negatives for each; None where the AUROC does not exceed the goal."""
    _probability(power, "power")
    if auroc <= goal:
        return None
    ratio = negatives_per_positive
    low, high = 1, 2
    while auroc_power(high, high * ratio, auroc, goal, level=level) < power:
        low, high = high, 2 * high
        if high > _MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        enough = auroc_power(middle, middle * ratio, auroc, goal, level=level) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high


def paired_power(n: int, difference: float, discordant: float, margin: float, *, level: float = 0.95) -> float:
    """Chance to show that a paired difference of proportions exceeds `−margin` (Nam's score test).

    `discordant` is the share of cases on which the two disagree, `difference` candidate minus baseline. Summed over all
    counts on which they may disagree, each with the fewest gains that Tango's interval needs.

    References
    ----------
    Nam, Biometrics 53:1422-1430 (1997); Tango, Statistics in Medicine 17:891-908 (1998).

    Raises
    ------
    ValueError
        If the two cannot disagree so little and differ so much.
    """
    if not abs(difference) <= discordant <= 1.0:
        raise ValueError(f"discordant is at least the difference, {abs(difference)}, and at most 1; got {discordant}")
    z = float(ndtri(0.5 + level / 2.0))
    counts = np.arange(int(binom.ppf(1e-10, n, discordant)), int(binom.isf(1e-10, n, discordant)) + 1)
    low, high = np.zeros_like(counts), counts + 1  # the fewest gains lie between; one more than there are: never enough
    while (low < high).any():
        middle = (low + high) // 2
        enough = (_paired_scores(middle, counts - middle, n, -margin) > z) | (middle > counts)
        low, high = np.where(enough, low, middle + 1), np.where(enough, middle, high)
    share = 0.5 if discordant == 0.0 else (discordant + difference) / (2.0 * discordant)
    return float(binom.pmf(counts, n, discordant) @ binom.sf(low - 1, counts, share))


def _paired_scores(gains: NDArray[np.int64], losses: NDArray[np.int64], n: int, delta: float) -> FloatArray:
    """Signed score of each table against `delta`, as `differences.tango_score`, for many tables at once."""
    linear = -gains - losses + (2.0 * n - gains + losses) * delta
    constant = -losses * delta * (1.0 - delta)
    restricted = (np.sqrt(np.maximum(linear**2 - 8.0 * n * constant, 0.0)) - linear) / (4.0 * n)
    variance = np.maximum(n * (2.0 * restricted + delta * (1.0 - delta)), 1e-300)
    scores: FloatArray = (gains - losses - n * delta) / np.sqrt(variance)
    return scores


def cases_for_paired(
    difference: float, discordant: float, margin: float, *, power: float = 0.8, level: float = 0.95
) -> int | None:
    """Fewest cases for `power` of Nam's test; None where the difference is not above `−margin`.

    Power is a saw-tooth in n: the answer is past the dips among the next cases (a tenth of it, at most 200).
    """
    _probability(power, "power")
    if difference + margin <= 0:
        return None

    def enough(n: int) -> bool:
        return paired_power(n, difference, discordant, margin, level=level) >= power

    low, high = 1, 2
    while not enough(high):
        low, high = high, 2 * high
        if high > _MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    dips = [n for n in range(high, high + min(200, 10 + high // 10)) if not enough(n)]
    return dips[-1] + 1 if dips else high


def gap_power(n_reference: int, p_reference: float, n_group: int, p_group: float, *, level: float = 0.95) -> float:
    """Chance that Newcombe's interval of the difference of two proportions excludes 0; exact, over all counts."""
    found = _found(n_reference, p_reference, n_group, level)
    return float(found @ binom.pmf(np.arange(n_group + 1), n_group, p_group))


def _found(n_reference: int, p_reference: float, n_group: int, level: float) -> FloatArray:
    """For each count of the group the chance, over the reference's counts, that the interval excludes 0."""
    x, y = np.arange(n_reference + 1), np.arange(n_group + 1)
    z = float(ndtri(0.5 + level / 2.0))

    def wilson(k: FloatArray, n: int) -> tuple[FloatArray, FloatArray]:
        middle, spread = k + z**2 / 2.0, z * np.sqrt(k * (n - k) / n + z**2 / 4.0)
        return (middle - spread) / (n + z**2), (middle + spread) / (n + z**2)

    p, q = (x / n_reference)[:, None], (y / n_group)[None, :]
    (l1, u1), (l2, u2) = wilson(x.astype(np.float64), n_reference), wilson(y.astype(np.float64), n_group)
    low = p - q - np.sqrt((p - l1[:, None]) ** 2 + (u2[None, :] - q) ** 2)
    high = p - q + np.sqrt((u1[:, None] - p) ** 2 + (q - l2[None, :]) ** 2)
    outside = (low > 0) | (high < 0)
    return np.asarray(binom.pmf(x, n_reference, p_reference) @ outside)


def minimal_detectable_gap(
    n_reference: int, p_reference: float, n_group: int, *, power: float = 0.8, level: float = 0.95
) -> float | None:
    """Smallest shortfall of a group that Newcombe's interval finds with `power`; None where none can be found."""
    _probability(power, "power")
    low, high = 0.0, p_reference
    # What is found does not depend on the gap, only how often it happens: one table serves the whole search.
    found, counts = _found(n_reference, p_reference, n_group, level), np.arange(n_group + 1)
    if float(found[0]) < power:
        return None
    while high - low > 1e-4:
        middle = (low + high) / 2.0
        if float(found @ binom.pmf(counts, n_group, p_reference - middle)) < power:
            low = middle
        else:
            high = middle
    return high


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderPower:
    """Power of a reader study, and what it comes from."""

    power: float
    noncentrality: float
    df: float


def reader_power(
    pilot: VarianceParts, *, pilot_cases: int, readers: int, cases: int, difference: float, level: float = 0.95
) -> ReaderPower:
    """Power of the two-sided Obuchowski-Rockette test of two treatments, for random readers and cases.

    Variances and covariances over cases shrink as the cases grow beyond the pilot's; those of readers do not. A
    variance component below 0, and a Cov2 below Cov3, count as 0.

    References
    ----------
    Hillis, Obuchowski & Berbaum, Academic Radiology 18:129-142 (2011).

    Raises
    ------
    ValueError
        If the pilot has one reader or one treatment only, or fewer than two readers are planned.
    """
    spread = pilot.treatment_reader
    if spread is None or pilot.cov1 is None or pilot.cov2 is None or pilot.cov3 is None:
        raise ValueError("a pilot for this has two treatments and at least two readers")
    if readers < 2:
        raise ValueError(f"random readers are at least two, got {readers}")
    scale = pilot_cases / cases
    between = max(pilot.cov2 - pilot.cov3, 0.0)
    within = max(spread, 0.0) + scale * (pilot.error - pilot.cov1 - between)
    below = within + scale * readers * between
    noncentrality = readers * difference**2 / (2.0 * below)
    df = below**2 / (within**2 / (readers - 1))
    critical = float(fisher.ppf(level, 1, df))
    return ReaderPower(power=float(ncf.sf(critical, 1, df, noncentrality)), noncentrality=noncentrality, df=df)


def cases_for_readers(
    pilot: VarianceParts, *, pilot_cases: int, readers: int, difference: float, power: float = 0.8, level: float = 0.95
) -> int | None:
    """Fewest cases for `power` with so many readers; None where no number of cases is enough."""
    _probability(power, "power")

    def reached(n: int) -> bool:
        found = reader_power(
            pilot, pilot_cases=pilot_cases, readers=readers, cases=n, difference=difference, level=level
        )
        return found.power >= power

    low, high = 1, 2
    while not reached(high):
        low, high = high, 2 * high
        if high > _MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def simulated_reader_power(
    pilot: VarianceParts, *, pilot_cases: int, readers: int, cases: int, difference: float, studies: int,
    rng: np.random.Generator, level: float = 0.95,
) -> float:  # fmt: skip
    """Share of studies, drawn from the Obuchowski-Rockette model, whose lower limit of the difference is above 0.

    Readers' differences are normal with the pilot's components, scaled to `cases`; those over cases count as known, as
    in `reader_power`; Hillis' degrees of freedom.
    """
    spread = pilot.treatment_reader
    if spread is None or pilot.cov1 is None or pilot.cov2 is None or pilot.cov3 is None:
        raise ValueError("a pilot for this has two treatments and at least two readers")
    scale = pilot_cases / cases
    between = scale * max(pilot.cov2 - pilot.cov3, 0.0)
    own = 2.0 * (max(spread, 0.0) + scale * (pilot.error - pilot.cov1) - between)
    drawn = (
        difference
        + rng.normal(0.0, math.sqrt(2.0 * between), (studies, 1))
        + rng.normal(0.0, math.sqrt(max(own, 0.0)), (studies, readers))
    )
    mean = drawn.mean(axis=1)
    mean_square = drawn.var(axis=1, ddof=1) / 2.0
    below = mean_square + readers * between
    df = below**2 / (mean_square**2 / (readers - 1))
    lower = mean - student.ppf(0.5 + level / 2.0, df) * np.sqrt(2.0 * below / readers)
    return float((lower > 0.0).mean())
