"""Watching performance as labels arrive: alarms with a true error rate, and limits valid at every look."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalsuite.types import Estimate

Floats = NDArray[np.float64]
#: Shares of the largest stake that is safe; the detector is the average of one process per share.
STAKES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5)
#: Largest share of the safe stake a confidence sequence may place on one patient.
_CAP = 0.75
#: Candidate values of the share between 0 and 1 at which the confidence sequence is first tried.
_GRID = 513
#: Patients times candidates that are looked at together: 1 MiB of numbers.
_BLOCK = 1 << 17
METHOD = "betting confidence sequence"


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorState:
    """What a detector needs to go on: the logarithm of the process of each stake, and patients so far.

    `log_processes` has one number per share of `STAKES`; empty where no patient has been seen.
    """

    log_processes: tuple[float, ...] = ()
    seen: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """A Shiryaev-Roberts e-detector's path.

    `log_evidence` has the logarithm of the detector after each patient; `alarm` is the index of the first patient at
    which it reached `threshold` (None: not reached). `false_alarm` bounds the chance of any alarm among `planned`
    patients while performance is at or above the limit, however often one looks.
    """

    log_evidence: Floats
    threshold: float
    alarm: int | None
    planned: int
    false_alarm: float
    state: DetectorState


def e_detector(
    successes: ArrayLike,
    cases: ArrayLike,
    *,
    limit: float,
    planned: int,
    false_alarm: float,
    weights: ArrayLike | None = None,
    most_weight: float | None = None,
    start: DetectorState | None = None,
) -> Detector:
    """Watch for the share of successes falling below `limit`, patient by patient in the order their labels arrive.

    Parameters
    ----------
    successes, cases
        Shape (patients,): correct calls and cases of each patient (for sensitivity: of their positive cases; 0 cases
        are passed over). The patient is the unit: a patient counts with their share of correct calls, once. Where every
        case is to count the same, give weights = cases and most_weight = the most cases a patient can have.
    limit
        The frozen action limit, above 0 and below 1: not the baseline's estimate, which is itself uncertain.
    planned
        Patients with labels planned for the calendar that `false_alarm` is spent on.
    false_alarm
        Chance of an alarm in the whole calendar that is accepted while performance is at or above the limit.
    weights, most_weight
        Shape (patients,): sampling weights (inverse probabilities) and the largest there can be, which must be fixed
        before: evidence is bounded by it.
    start
        Where an earlier call stopped: the path is the rest of that of one call with all patients.

    Returns
    -------
    The detector. M = (1 + M) · (1 + λ · w · (limit − share)) after each patient, w being the weight as a part of the
    largest, averaged over several λ; the alarm is at planned / false_alarm. As long as the expected factor is at most
    1, E[M at any stopping time T] is at most E[T], hence the bound. M starts anew with every patient, so that a long
    stable time costs no delay.

    Raises
    ------
    ValueError
        For shapes that differ, counts that are not whole or more successes than cases, a limit, level or plan out of
        range, more patients than planned, or a weight above `most_weight`.

    Source: Shin, Ramdas and Rinaldo, E-detectors (2024), Shiryaev-Roberts form with bounded observations.
    """
    share, weight = _patients(successes, cases, weights, most_weight)
    if not 0.0 < limit < 1.0:
        raise ValueError(f"an action limit lies between 0 and 1, got {limit!r}")
    if not 0.0 < false_alarm < 1.0 or planned < 1:
        raise ValueError("the chance of a false alarm lies between 0 and 1, and at least one patient is planned")
    before = start or DetectorState()
    if before.log_processes and len(before.log_processes) != len(STAKES):
        raise ValueError(f"a detector's state has one number for each of {len(STAKES)} stakes")
    if before.seen + share.size > planned:
        raise ValueError(
            f"{before.seen + share.size} patients have labels but {planned} were planned: the alarm's error rate is "
            "for those"
        )
    gain = weight * (limit - share)
    most = 1.0 - limit
    log_m = np.array(before.log_processes) if before.log_processes else np.full(len(STAKES), -np.inf)
    path = np.empty(share.size)
    stakes = np.array(STAKES) / most
    for i, g in enumerate(gain):
        log_m = np.logaddexp(0.0, log_m) + np.log1p(stakes * g)
        path[i] = np.logaddexp.reduce(log_m) - np.log(len(STAKES))
    threshold = planned / false_alarm
    at = np.flatnonzero(path >= np.log(threshold))
    alarm = int(at[0]) if at.size else None
    seen = before.seen + int(share.size)
    return Detector(
        log_evidence=path,
        threshold=threshold,
        alarm=alarm,
        planned=planned,
        false_alarm=false_alarm,
        state=DetectorState(log_processes=tuple(float(v) for v in log_m) if seen else (), seen=seen),
    )


def confidence_sequence(
    successes: ArrayLike,
    cases: ArrayLike,
    *,
    level: float = 0.95,
    planned: int | None = None,
    weights: ArrayLike | None = None,
    most_weight: float | None = None,
) -> Estimate:
    """The share of successes with limits that hold at every look at once, patients in the order their labels arrive.

    Arguments as in :func:`e_detector`. A value m is left out as soon as a bet against it has multiplied its stake by
    2 / (1 − level): the product of 1 + λ · w · (share − m) over patients, λ from the patients before, for m too low and
    for m too high. Limits only ever come closer (their running intersection), so that the last are the tightest that
    were ever reached; where they leave the estimate outside, the reason is given. Not estimable without cases.
    `planned`, the number of patients fixed before, makes the limits tightest there; they hold at every other number
    too.

    Source: Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting (2024), sections 4.2 and 5.
    """
    share, stake = _patients(successes, cases, weights, most_weight)
    total = np.asarray(cases, dtype=np.float64)
    n = int(total.sum())
    if not 0.0 < level < 1.0:
        raise ValueError(f"level lies between 0 and 1, got {level!r}")
    if share.size == 0:
        return Estimate.not_estimable("no labelled cases", n=0, level=level, method=METHOD, n_patients=0)
    value = float((stake * share).sum() / stake.sum())
    alpha = 0.5 * (1.0 - level)
    low = _lower(share, stake, alpha, planned)
    high = 1.0 - _lower(1.0 - share, stake, alpha, planned)
    made = Estimate(value=value, level=level, method=METHOD, n=n, n_patients=int(share.size))
    if weights is None and n == share.size:
        made = replace(made, numerator=float(share.sum()), denominator=float(n))
    if not low <= value <= high:
        return replace(
            made, interval_undefined="the share changed while labels arrived: no single value fits all of them"
        )
    return replace(made, low=low, high=high)


def fallen_below(
    successes: ArrayLike,
    cases: ArrayLike,
    *,
    limit: float,
    false_alarm: float,
    weights: ArrayLike | None = None,
    most_weight: float | None = None,
) -> bool:
    """Whether the limits of :func:`confidence_sequence` lie below `limit` at any look, one-sided at `false_alarm`.

    Arguments as in :func:`e_detector`. The chance that this is ever true while performance is at or above the limit is
    at most `false_alarm`. False without cases. Raises ValueError for a limit or level out of range.
    """
    share, stake = _patients(successes, cases, weights, most_weight)
    if not 0.0 < limit < 1.0 or not 0.0 < false_alarm < 1.0:
        raise ValueError("an action limit and the chance of a false alarm lie between 0 and 1")
    if share.size == 0:
        return False
    wrong = 1.0 - share
    bet = _bets(wrong, stake, false_alarm, None)
    return bool(_ruled_out(np.array([1.0 - limit]), wrong, stake, bet, false_alarm)[0])


def _lower(share: Floats, stake: Floats, alpha: float, planned: int | None) -> float:
    """Smallest share that the bets of 'it is more' never ruled out: at a fine grid, then between its points."""
    bet = _bets(share, stake, alpha, planned)
    low, high = 0.0, 1.0
    for _ in range(4):
        grid = np.linspace(low, high, _GRID if (low, high) == (0.0, 1.0) else 17)
        out = _ruled_out(grid, share, stake, bet, alpha)
        # What is ruled out is an interval from 0: a larger m makes the same bet pay less.
        last = int(np.flatnonzero(out)[-1]) if out.any() else -1
        if last < 0:
            return low
        if last == grid.size - 1:
            return high
        low, high = float(grid[last]), float(grid[last + 1])
    return low


def _ruled_out(candidates: Floats, share: Floats, stake: Floats, bet: Floats, alpha: float) -> NDArray[np.bool_]:
    """Which candidates the bets of 'it is more' have ruled out after any of the patients."""
    # λ · (x − m) stays above −1 for every x between 0 and 1 as long as λ · m < 1.
    wealth = np.zeros(candidates.size)
    most = np.zeros(candidates.size)
    cap = _CAP / np.maximum(candidates, 1e-12)
    block = max(1, _BLOCK // candidates.size)
    for i in range(0, share.size, block):
        x, s, b = (series[i : i + block, None] for series in (share, stake, bet))
        steps = np.log1p(np.minimum(b, cap) * s * (x - candidates))
        steps[0] += wealth
        path = np.add.accumulate(steps, axis=0)  # patient after patient, as one sum that goes on from block to block
        wealth = path[-1]
        np.maximum(most, path.max(axis=0), out=most)
    out: NDArray[np.bool_] = most >= np.log(1.0 / alpha)
    return out


def _bets(share: Floats, stake: Floats, alpha: float, planned: int | None) -> Floats:
    """The predictable stake at each patient, from the mean and variance of those before."""
    t = np.arange(1, share.size + 1)
    x = stake * share
    mean = (0.5 + np.cumsum(x)) / (1.0 + np.cumsum(stake))
    squared = (stake * (share - mean)) ** 2
    variance = (0.25 + np.cumsum(squared)) / (t + 1.0)
    before = np.concatenate([[0.25], variance[:-1]])
    horizon = t * np.log(1.0 + t) if planned is None else np.full(t.size, float(planned))
    out: Floats = np.sqrt(2.0 * np.log(1.0 / alpha) / (before * horizon))
    return out


def _patients(
    successes: ArrayLike, cases: ArrayLike, weights: ArrayLike | None, most_weight: float | None
) -> tuple[Floats, Floats]:
    """Share of successes and weight of each patient that has cases; weights as parts of the largest."""
    good = np.asarray(successes, dtype=np.float64)
    all_ = np.asarray(cases, dtype=np.float64)
    if good.ndim != 1 or good.shape != all_.shape:
        raise ValueError("successes and cases are two series with one entry per patient")
    if not (np.isfinite(good).all() and np.isfinite(all_).all()) or (good < 0).any() or (good > all_).any():
        raise ValueError("a patient has between 0 successes and as many as cases")
    given = np.ones_like(good) if weights is None else np.asarray(weights, dtype=np.float64)
    if given.shape != good.shape or not np.isfinite(given).all() or (given <= 0).any():
        raise ValueError("weights are positive, one per patient")
    if (weights is None) != (most_weight is None):
        raise ValueError("weights need the largest weight there can be, fixed before the labels were seen")
    largest = 1.0 if most_weight is None else most_weight
    if (given > largest).any():
        raise ValueError("a weight is above the largest weight there can be")
    has = all_ > 0
    return good[has] / all_[has], given[has] / largest
