"""Agreement and discrimination on an ordered scale of grades: weighted kappa, AC2, tau-b, ±1 agreement, VUS, RPS.

Grades are integers 0 to k - 1 in order. Closed-form intervals take cases as independent; with `patient` the function
says how patients are respected, elsewhere the patient bootstrap does.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalsuite.stats._kappa import Weights, agreement_weights, kappa_from_table, square_table
from evalsuite.stats._means import clustered_mean, patient_index
from evalsuite.stats._normal import check_level, expit, logit, t_two_sided, z_two_sided
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.ordered_volume import components as ordered_components
from evalsuite.types import Estimate, Unit

Ints = NDArray[np.intp]
Floats = NDArray[np.float64]


def _grades(values: ArrayLike, n_grades: int, name: str) -> Ints:
    raw = np.asarray(values)
    if raw.ndim != 1:
        raise ValueError(f"{name} holds one grade per case, got shape {raw.shape}")
    grades = raw.astype(np.int64) if raw.size else np.zeros(0, dtype=np.int64)
    if raw.size and ((grades != raw).any() or grades.min() < 0 or grades.max() >= n_grades):
        raise ValueError(f"{name} holds whole grades from 0 to {n_grades - 1}")
    return grades.astype(np.intp)


def grade_table(device: ArrayLike, reference: ArrayLike, n_grades: int) -> Floats:
    """(k, k) counts, device in rows and reference in columns.

    Raises
    ------
    ValueError
        If a grade is not a whole number from 0 to k - 1, lengths differ, or k < 2.
    """
    if n_grades < 2:
        raise ValueError(f"a scale has at least 2 grades, got {n_grades!r}")
    a, b = _grades(device, n_grades, "device"), _grades(reference, n_grades, "reference")
    if a.shape != b.shape:
        raise ValueError(f"device and reference hold one grade per case, got {a.size} and {b.size}")
    counts = np.bincount(a * n_grades + b, minlength=n_grades * n_grades)
    return np.asarray(counts.reshape(n_grades, n_grades), dtype=np.float64)


def weighted_kappa(
    device: ArrayLike,
    reference: ArrayLike,
    n_grades: int,
    *,
    weights: Weights = "quadratic",
    level: float = 0.95,
    unit: Unit = "case",
    **counts: Any,
) -> Estimate:
    """Cohen's weighted kappa of two (n,) gradings; interval and edges as `kappa_from_table`."""
    table = grade_table(device, reference, n_grades)
    return kappa_from_table(table, weights=weights, level=level, unit=unit, **counts)


def grade_agreement(
    device: ArrayLike,
    reference: ArrayLike,
    *,
    within: int = 0,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    unit: Unit = "case",
    **counts: Any,
) -> Estimate:
    """Share of cases graded alike, or at most `within` grades apart; Clopper-Pearson, patients as clusters."""
    a, b = np.asarray(device), np.asarray(reference)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"device and reference hold one grade per case, got shapes {a.shape} and {b.shape}")
    if within < 0:
        raise ValueError(f"within is not negative, got {within!r}")
    close = np.abs(a.astype(np.float64) - b.astype(np.float64)) <= within
    return clustered_proportion(close, patient_index(patient, a.size), level=level, unit=unit, **counts)


def gwet_ac(
    table: ArrayLike, *, weights: Weights = "quadratic", level: float = 0.95, unit: Unit = "case", **counts: Any
) -> Estimate:
    """Gwet's AC2 of a (k, k) table of counts (AC1 with weights "none"): agreement beyond chance, for any prevalence.

    Chance agreement is T/(k(k - 1)) Σ π(1 - π), T the sum of all weights, π the mean of the two raters' shares of each
    category. Student t interval on n - 1 degrees of freedom with Gwet's linearised variance, clipped to [-1, 1] (below,
    where the estimate itself is not).

    Returns
    -------
    Estimate
        Not estimable with fewer than 2 cases; without an interval where the variance is 0 (complete agreement).

    References
    ----------
    Gwet, Br J Math Stat Psychol 61:29-48 (2008); Gwet, Handbook of Inter-Rater Reliability, 4th ed. (2014).
    """
    cells = square_table(table)
    level = check_level(level)
    k, n = len(cells), int(cells.sum())
    w = agreement_weights(k, weights)
    name = f"Gwet linearisation, Student t ({'AC1' if weights == 'none' else f'AC2, {weights} weights'})"
    fields: dict[str, Any] = {"n": n, "level": level, "unit": unit, "method": name, **counts}
    if n < 2:
        return Estimate.not_estimable("fewer than 2 cases", **fields)
    p = cells / n
    share = (p.sum(axis=0) + p.sum(axis=1)) / 2.0
    scale = float(w.sum()) / (k * (k - 1))
    observed = float((w * p).sum())
    expected = scale * float((share * (1.0 - share)).sum())
    value = (observed - expected) / (1.0 - expected)
    # Each cell is what one of its cases contributes.
    of_case = scale * np.add.outer(1.0 - share, 1.0 - share) / 2.0
    linear = (w - expected) / (1.0 - expected) - 2.0 * (1.0 - value) * (of_case - expected) / (1.0 - expected)
    variance = float((cells * (linear - value) ** 2).sum()) / (n * (n - 1.0))
    if variance <= 1e-24:
        return Estimate(value=value, interval_undefined="complete agreement: the variance is 0", **fields)
    half = t_two_sided(level, n - 1) * math.sqrt(variance)
    # With weights, systematic disagreement of few cases can lie below -1: the limit then is as it comes.
    low = value - half if value < -1.0 else max(-1.0, value - half)
    return Estimate(value=value, low=low, high=min(1.0, value + half), **fields)


def kendall_tau_b(table: ArrayLike, *, level: float = 0.95, unit: Unit = "case", **counts: Any) -> Estimate:
    """Kendall's tau-b of a (k, l) table of counts over two ordered scales: rank correlation that allows for ties.

    Interval on Fisher's z scale with the large-sample standard error for a non-zero association. Not estimable where
    one of the two uses a single grade; without an interval where the standard error is 0 (a perfect ranking).

    References
    ----------
    Kendall, Biometrika 33:239-251 (1945); Brown & Benedetti, J Am Stat Assoc 72:309-315 (1977).
    """
    cells = np.asarray(table, dtype=np.float64)
    if cells.ndim != 2 or not np.isfinite(cells).all() or (cells < 0).any() or (cells != np.floor(cells)).any():
        raise ValueError("a table holds whole, non-negative counts in rows and columns")
    level = check_level(level)
    n = int(cells.sum())
    fields: dict[str, Any] = {"n": n, "level": level, "unit": unit, "method": "Fisher z, delta method", **counts}
    if n == 0:
        return Estimate.not_estimable("no cases", **fields)
    row, column = cells.sum(axis=1), cells.sum(axis=0)
    wr, wc = n * float(n) - float(row @ row), n * float(n) - float(column @ column)
    if wr == 0 or wc == 0:
        return Estimate.not_estimable("one of the two gives all cases the same grade", **fields)
    d = _concordance_margin(cells)
    w = math.sqrt(wr * wc)
    value = float((cells * d).sum()) / w
    v = np.add.outer(row * wc, column * wr)
    spread = float((cells * (2.0 * w * d + value * v) ** 2).sum()) - n**3 * value**2 * (wr + wc) ** 2
    variance = spread / w**4
    if 1.0 - abs(value) < 1e-12 or variance <= 1e-16:
        value = max(-1.0, min(1.0, value))
        return Estimate(value=value, interval_undefined="the large-sample variance is 0", **fields)
    half = z_two_sided(level) * math.sqrt(variance) / (1.0 - value * value)
    centre = math.atanh(value)
    return Estimate(value=value, low=math.tanh(centre - half), high=math.tanh(centre + half), **fields)


def _concordance_margin(cells: Floats) -> Floats:
    """Per cell: cases concordant with it less cases discordant with it."""
    below = np.zeros((cells.shape[0] + 1, cells.shape[1] + 1))
    below[1:, 1:] = cells.cumsum(axis=0).cumsum(axis=1)
    n, rows, columns = below[-1, -1], below[:, -1], below[-1, :]
    # Sums over the four quadrants strictly beyond each cell.
    lower_left = below[:-1, :-1]
    upper_right = n - rows[1:, None] - columns[None, 1:] + below[1:, 1:]
    lower_right = rows[:-1, None] - below[:-1, 1:]
    upper_left = columns[None, :-1] - below[1:, :-1]
    return np.asarray(lower_left + upper_right - lower_right - upper_left)


def vus(
    score: ArrayLike,
    grade: ArrayLike,
    *,
    n_grades: int = 3,
    level: float = 0.95,
    unit: Unit = "case",
    **counts: Any,
) -> Estimate:
    """Volume under the ROC surface: chance that scores of one case of each of three grades are in order (1/6 by luck).

    With k grades it is the volume under the ROC manifold, 1/k! by luck. Ties count 1/2, a tie of three 1/6. Variance
    from the sets of structural components of the grades; interval on the logit scale. One case per patient.

    Parameters
    ----------
    score, grade
        (n,) score (higher means a higher grade) and grade 0 to `n_grades` − 1.

    Returns
    -------
    Estimate
        Not estimable where a grade has no cases; without an interval where one has a single case or the order is
        perfect.

    References
    ----------
    Mossman, Med Decis Making 19:78-89 (1999); Nakas & Yiannoutsos, Stat Med 23:3437-3449 (2004); Dreiseitl,
    Ohno-Machado & Binder, Med Decis Making 20:323-331 (2000); Li & Fine, Biostatistics 9:566-576 (2008), k grades.
    """
    if n_grades < 2:
        raise ValueError(f"a scale has at least 2 grades, got {n_grades!r}")
    s = np.asarray(score, dtype=np.float64)
    g = _grades(grade, n_grades, "grade")
    level = check_level(level)
    if s.shape != g.shape:
        raise ValueError(f"score and grade hold one value per case, got shapes {s.shape} and {g.shape}")
    if np.isnan(s).any():
        raise ValueError("scores are numbers; leave out and account for missing ones first")
    name = "structural components, logit"
    fields: dict[str, Any] = {"n": s.size, "level": level, "unit": unit, "method": name, **counts}
    parts = [np.sort(s[g == i]) for i in range(n_grades)]
    for i, part in enumerate(parts):
        if part.size == 0:
            return Estimate.not_estimable(f"no cases of grade {i}", **fields)
    components = _vus_components(*parts) if n_grades == 3 else ordered_components(parts)
    value = float(components[1].mean())
    if min(c.size for c in components) < 2:
        return Estimate(value=value, interval_undefined="a grade has a single case", **fields)
    variance = sum(float(c.var(ddof=1)) / c.size for c in components)
    if variance <= 1e-24 or not 0.0 < value < 1.0:
        return Estimate(value=value, interval_undefined="the variance is 0", **fields)
    half = z_two_sided(level) * math.sqrt(variance) / (value * (1.0 - value))
    return Estimate(value=value, low=expit(logit(value) - half), high=expit(logit(value) + half), **fields)


def _vus_components(low: Floats, middle: Floats, high: Floats) -> tuple[Floats, Floats, Floats]:
    """Per case of each grade: share of pairs of the other two that it is in order with. Sorted input, O(n log n)."""
    n0, n1, n2 = low.size, middle.size, high.size

    def under(sample: Floats, at: Floats) -> tuple[Floats, Floats]:
        left = np.searchsorted(sample, at, side="left").astype(np.float64)
        return left, np.searchsorted(sample, at, side="right") - left

    less, equal_low = under(low, middle)
    less_or, equal_high = under(high, middle)
    greater = n2 - less_or - equal_high
    # Two halves make a quarter where all three tie; 1/12 less makes the sixth.
    of_middle = ((less + equal_low / 2.0) * (greater + equal_high / 2.0) - equal_low * equal_high / 12.0) / (n0 * n2)

    def of_end(end: Floats, others: Floats, ties: Floats, above: bool, n_other: int) -> Floats:
        """Sum over middle cases beyond each end case of what those see on the far side."""
        total = np.concatenate(([0.0], np.cumsum(others)))
        tied = np.concatenate(([0.0], np.cumsum(ties)))
        first = np.searchsorted(middle, end, side="left")
        last = np.searchsorted(middle, end, side="right")
        beyond = total[-1] - total[last] if above else total[first]
        return np.asarray(
            (beyond + (total[last] - total[first]) / 2.0 - (tied[last] - tied[first]) / 12.0) / (n1 * n_other)
        )

    of_low = of_end(low, greater + equal_high / 2.0, equal_high, True, n2)
    of_high = of_end(high, less + equal_low / 2.0, equal_low, False, n0)
    return of_low, of_middle, of_high


def ranked_probability_score(
    probability: ArrayLike,
    grade: ArrayLike,
    *,
    normalised: bool = True,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    unit: Unit = "case",
    **counts: Any,
) -> Estimate:
    """Mean squared distance between predicted and observed cumulative probabilities of ordered grades; 0 is perfect.

    Normalised by k - 1 it lies in [0, 1], and with two grades it is the Brier score. Student t interval on patients - 1
    degrees of freedom, clipped to the possible range.

    Parameters
    ----------
    probability
        (n, k) probabilities, each row summing to 1 within 1e-6.
    grade
        (n,) observed grades 0 to k - 1.

    Raises
    ------
    ValueError
        If shapes differ or rows are no probabilities.

    References
    ----------
    Epstein, J Appl Meteorol 8:985-987 (1969); Murphy, J Appl Meteorol 10:155-156 (1971).
    """
    p = np.asarray(probability, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] < 2:
        raise ValueError(f"probability is (n, k >= 2), got shape {p.shape}")
    n, k = p.shape
    g = _grades(grade, k, "grade")
    level = check_level(level)
    if g.size != n:
        raise ValueError(f"probability and grade hold one row per case, got {n} and {g.size}")
    if not (np.isfinite(p).all() and (p >= 0).all() and (np.abs(p.sum(axis=1) - 1.0) <= 1e-6).all()):
        raise ValueError("each row of probability is not negative and sums to 1")
    index = patient_index(patient, n)
    clustered = n > 0 and int(index.max()) + 1 < n
    name = ("normalised, " if normalised else "") + "Student t" + (", patients as clusters" if clustered else "")
    name = name[0].upper() + name[1:]
    fields: dict[str, Any] = {"n": n, "level": level, "unit": unit, "method": name, **counts}
    if n == 0:
        return Estimate.not_estimable("no cases", n_patients=0, **fields)
    observed = np.arange(k - 1)[None, :] >= g[:, None]
    top = 1.0 if normalised else k - 1.0
    scores = ((p.cumsum(axis=1)[:, :-1] - observed) ** 2).sum(axis=1) / (k - 1.0) * top
    mean = clustered_mean(scores, index)
    fields.update(n_patients=mean.n_patients, design_effect=mean.design_effect)
    limits = mean.limits(level)
    if limits is None:
        return Estimate(value=mean.value, interval_undefined=mean.why_no_limits, **fields)
    return Estimate(value=mean.value, low=max(0.0, limits[0]), high=min(top, limits[1]), **fields)
