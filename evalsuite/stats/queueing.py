"""Waiting time that a triage device saves: how long images wait to be read, with and without it, in a steady state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalsuite.types import Estimate

Floats = NDArray[np.float64]
Discipline = Literal["nonpreemptive", "preemptive"]
#: Points per side of the box of sensitivities and specificities over which the extremes of a figure are taken.
_GRID = 33


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingRoom:
    """Who reads how fast, and how much there is to read. Times are in minutes.

    Images arrive as a Poisson process and are read one at a time by each of `readers`, in the order of their class and,
    within a class, as they came. `cv` is the coefficient of variation of reading times (1: exponential, 0: all equal).
    `urgent_share` of the images is read before all others, with or without the device.

    Raises
    ------
    ValueError
        If a value is out of range, or the readers cannot keep up (`load` of 1 or more).
    """

    arrivals_per_hour: float
    prevalence: float
    minutes_with: float
    minutes_without: float
    readers: int = 1
    cv: float = 1.0
    urgent_share: float = 0.0
    urgent_minutes: float = 0.0

    def __post_init__(self) -> None:
        positive = {"arrivals_per_hour", "minutes_with", "minutes_without"}
        if any(not getattr(self, name) > 0 for name in positive) or self.readers < 1 or self.cv < 0:
            raise ValueError("arrivals, reading times and readers are above 0, the variation is not negative")
        if not 0 < self.prevalence < 1 or not 0 <= self.urgent_share < 1:
            raise ValueError("prevalence lies between 0 and 1, and so does the share of urgent images")
        if self.urgent_share > 0 and not self.urgent_minutes > 0:
            raise ValueError("urgent images take time to read")
        if self.load >= 1:
            raise ValueError(f"the readers cannot keep up: a load of {self.load:.3g}, and waits without end")

    @property
    def alike(self) -> bool:
        """Whether all images take equally long on average and reading times are exponential."""
        same = {self.minutes_with, self.minutes_without, *([self.urgent_minutes] if self.urgent_share else [])}
        return len(same) == 1 and self.cv == 1.0

    @property
    def exact(self) -> bool:
        """Whether the waits are known exactly: of one reader always, of several only where readings are alike."""
        return self.readers == 1 or self.alike

    @property
    def load(self) -> float:
        """Share of the readers' time that reading takes."""
        ordinary = self.prevalence * self.minutes_with + (1.0 - self.prevalence) * self.minutes_without
        mean = self.urgent_share * self.urgent_minutes + (1.0 - self.urgent_share) * ordinary
        return self.arrivals_per_hour / 60.0 * mean / self.readers


LOAD = "reader_load"
_ASSUMED = "it follows from the assumptions alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Mean waits in minutes at each sensitivity and specificity; NaN for patients there are none of.

    A wait is the time from arrival to the end of reading, less the time of reading itself. `with_condition` and
    `without_condition` are patients outside the urgent class; `before_` is without the device. `found` and `missed` are
    those with the condition that the device flags and does not flag. `flagged` is the share of images it flags.
    """

    before_with_condition: Floats
    before_without_condition: Floats
    with_condition: Floats
    without_condition: Floats
    found: Floats
    missed: Floats
    flagged: Floats

    @property
    def saved(self) -> Floats:
        """What patients with the condition wait less on average because of the device."""
        return self.before_with_condition - self.with_condition


def triage_waits(room: ReadingRoom, sensitivity: ArrayLike, specificity: ArrayLike, *, discipline: Discipline) -> Waits:
    """Mean waits with and without a device that puts the images it flags before the others.

    Parameters
    ----------
    sensitivity, specificity
        Of the device among images that are not urgent; arrays of one shape, 0 to 1.
    discipline
        nonpreemptive: a reading that has begun is finished first. preemptive: a flagged (or urgent) image interrupts
        the reading of a lower class, which is taken up again where it was left.

    Notes
    -----
    One reader: M/G/1 with priorities (Cobham 1954; with interruption Kleinrock 1976), where the classes are mixtures of
    patients with and without the condition. Several readers: M/M/c (Cobham 1954; with interruption Buzen and Bondi
    1983: the classes up to an image's own wait in all what they would without classes). Several readers and unequal
    reading times (`ReadingRoom.exact` false) have no exact solution: the waits of one reader as fast as all of them
    together are multiplied by the ratio of waits in M/M/c and M/M/1 (Lee and Longton 1959; with interruption Bondi and
    Buzen 1984, here for the classes up to an image's own together). `queueing_simulation` says how near
    that is. The model, and the time saved
    for patients with the condition as its figure of merit, are those of Thompson et al. 2024.

    References
    ----------
    Cobham A. Priority assignment in waiting line problems. Oper Res 1954;2:70-76.
    Kleinrock L. Queueing Systems, Volume II: Computer Applications. Wiley 1976, chapter 3.
    Buzen JP, Bondi AB. The response times of priority classes under preemptive resume in M/M/m queues. Oper Res
    1983;31:456-465.
    Lee AM, Longton PA. Queueing processes associated with airline passenger check-in. Oper Res Q 1959;10:56-71.
    Bondi AB, Buzen JP. The response times of priority classes under preemptive resume in M/G/m queues. ACM SIGMETRICS
    Perform Eval Rev 1984;12:195-201.
    Thompson YLE, Levine GM, Chen W, et al. Applying queueing theory to evaluate wait-time-savings of triage algorithms.
    Queueing Syst 2024;108:579-610.

    Examples
    --------
    >>> room = ReadingRoom(arrivals_per_hour=4, prevalence=0.2, minutes_with=12, minutes_without=12)
    >>> w = triage_waits(room, 1.0, 1.0, discipline="nonpreemptive")
    >>> [round(float(v), 6) for v in (w.before_with_condition, w.with_condition)]
    [48.0, 11.428571]
    """
    se, sp = np.broadcast_arrays(np.asarray(sensitivity, dtype=float), np.asarray(specificity, dtype=float))
    if np.any((se < 0) | (se > 1) | (sp < 0) | (sp > 1)):
        raise ValueError("sensitivity and specificity lie between 0 and 1")
    rate, ordinary = room.arrivals_per_hour / 60.0, 1.0 - room.urgent_share
    ill, well = rate * ordinary * room.prevalence, rate * ordinary * (1.0 - room.prevalence)
    urgent = np.full(se.shape, rate * room.urgent_share)
    flagged = (ill * se, well * (1.0 - sp))
    others = (ill * (1.0 - se), well * sp)
    everyone = (np.full(se.shape, ill), np.full(se.shape, well))
    before = _delays(room, urgent, [everyone], discipline)[0]
    first, second = _delays(room, urgent, [flagged, others], discipline)
    found, missed = (d.of(room.minutes_with) for d in (first, second))
    false, rest = (d.of(room.minutes_without) for d in (first, second))
    return Waits(
        before_with_condition=before.of(room.minutes_with),
        before_without_condition=before.of(room.minutes_without),
        with_condition=_mixed(se, found, missed),
        without_condition=_mixed(1.0 - sp, false, rest),
        found=np.where(se > 0, found, np.nan),
        missed=np.where(se < 1, missed, np.nan),
        flagged=(flagged[0] + flagged[1]) / (ill + well),
    )


def triage_benefit(
    room: ReadingRoom, sensitivity: Estimate, specificity: Estimate, *, discipline: Discipline, level: float
) -> Mapping[str, Estimate]:
    """Waits with the device of this sensitivity and specificity, with what their uncertainty leaves open.

    Parameters
    ----------
    sensitivity, specificity
        Estimates at the two-sided level 1 − (1 − `level`)/2 each, so that both intervals hold together at `level`.
    level
        Level of the intervals returned: the smallest and largest value over all sensitivities and specificities within
        their intervals. That is at least `level` (Bonferroni), also at 100 %, and whatever the correlation of the two.

    Returns
    -------
    mapping
        `wait_without_device`, `wait_with_device`, `wait_saved`, `wait_saved_found`, `wait_added_missed` (patients with
        the condition), `wait_added_negatives` (those without), all in minutes, `flagged_share` and `reader_load`. Not
        estimable where sensitivity or specificity is not. The assumptions about the reading room have no uncertainty:
        what follows from them alone has no interval.
    """
    names = [f.name for f in fields(_Figures)]
    n = sensitivity.n + specificity.n

    def none(reason: str) -> Estimate:
        return Estimate.not_estimable(reason, n=n, level=level, n_positive=sensitivity.n, n_negative=specificity.n)

    ranges = []
    for which, e in (("sensitivity", sensitivity), ("specificity", specificity)):
        if e.value is None or e.low is None or e.high is None:
            return dict.fromkeys((*names, LOAD), none(f"{which}: {e.undefined or e.interval_undefined}"))
        ranges.append((e.value, e.low, e.high))
    (se, se_low, se_high), (sp, sp_low, sp_high) = ranges
    point = _figures(room, se, sp, discipline)
    across, down = np.meshgrid(np.linspace(se_low, se_high, _GRID), np.linspace(sp_low, sp_high, _GRID))
    box = _figures(room, across, down, discipline)
    method = method_of(room, discipline)

    def of(name: str) -> Estimate:
        value, around = float(getattr(point, name)), np.asarray(getattr(box, name), dtype=float)
        if np.isnan(value):
            return none("the device leaves no such patients in this study")
        low, high = min(value, float(np.nanmin(around))), max(value, float(np.nanmax(around)))
        return Estimate(
            value=value,
            low=low,
            high=high,
            level=level,
            method=method,
            n=n,
            n_positive=sensitivity.n,
            n_negative=specificity.n,
        )

    assumed = {"wait_without_device": float(point.wait_without_device), LOAD: room.load}
    made = {
        name: Estimate(value=value, level=level, method=method, n=n, interval_undefined=_ASSUMED)
        for name, value in assumed.items()
    }
    return {**made, **{name: of(name) for name in names if name not in assumed}}


def method_of(room: ReadingRoom, discipline: Discipline) -> str:
    """How the figures were made, for the report."""
    model = f"M/M/{room.readers}" if room.alike else f"M/G/{room.readers}"
    kind = "with interruption" if discipline == "preemptive" else "without interruption"
    kind += "" if room.exact else ", approximated (Bondi and Buzen 1984; Lee and Longton 1959)"
    return f"{model} priority queue {kind}; extremes over simultaneous intervals of sensitivity and specificity"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figures:
    wait_without_device: Floats
    wait_with_device: Floats
    wait_saved: Floats
    wait_saved_found: Floats
    wait_added_missed: Floats
    wait_added_negatives: Floats
    flagged_share: Floats


def _figures(room: ReadingRoom, sensitivity: ArrayLike, specificity: ArrayLike, discipline: Discipline) -> _Figures:
    w = triage_waits(room, sensitivity, specificity, discipline=discipline)
    return _Figures(
        wait_without_device=w.before_with_condition,
        wait_with_device=w.with_condition,
        wait_saved=w.saved,
        wait_saved_found=w.before_with_condition - w.found,
        wait_added_missed=w.missed - w.before_with_condition,
        wait_added_negatives=w.without_condition - w.before_without_condition,
        flagged_share=w.flagged,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Delay:
    """What an image of a class waits: until its reading begins, and for interruptions per minute of its reading."""

    start: Floats
    per_minute: Floats

    def of(self, minutes: float) -> Floats:
        return self.start + minutes * self.per_minute


def _delays(
    room: ReadingRoom, urgent: Floats, classes: list[tuple[Floats, Floats]], discipline: Discipline
) -> list[_Delay]:
    """Delay of each class of ordinary images, the first before the second; `classes` are (ill, well) arrival rates."""
    if room.readers == 1:
        return _one_reader(room, urgent, classes, discipline)[1:]
    if room.alike:
        return _several_readers(room, urgent, classes, discipline)
    return _approximated(room, urgent, classes, discipline)


def _one_reader(
    room: ReadingRoom, urgent: Floats, classes: list[tuple[Floats, Floats]], discipline: Discipline
) -> list[_Delay]:
    """Cobham's and Kleinrock's M/G/1: the work that is found, over what the classes above and one's own leave free.

    The urgent class comes first."""
    half = (1.0 + room.cv**2) / 2.0  # half the second moment of a reading time of mean 1
    kinds = [(urgent * room.urgent_minutes, urgent * room.urgent_minutes**2 * half)]
    for ill, well in classes:
        load = ill * room.minutes_with + well * room.minutes_without
        kinds.append((load, (ill * room.minutes_with**2 + well * room.minutes_without**2) * half))
    every = np.sum([r for _, r in kinds], axis=0)
    delays, above, residual = [], np.zeros_like(urgent), np.zeros_like(urgent)
    for load, own in kinds:
        residual = residual + own
        free, within = 1.0 - above, 1.0 - above - load
        if discipline == "nonpreemptive":
            delays.append(_Delay(start=every / (free * within), per_minute=np.zeros_like(urgent)))
        else:
            delays.append(_Delay(start=residual / (free * within), per_minute=above / free))
        above = above + load
    return delays


def _approximated(
    room: ReadingRoom, urgent: Floats, classes: list[tuple[Floats, Floats]], discipline: Discipline
) -> list[_Delay]:
    """M/G/c from M/G/1 with a reader as fast as all of them: waits times the ratio of those in M/M/c and M/M/1.

    It is exact for one reader, and for readings that are alike.
    """
    c = room.readers
    fast = replace(
        room, readers=1, minutes_with=room.minutes_with / c, minutes_without=room.minutes_without / c,
        urgent_minutes=room.urgent_minutes / c,
    )  # fmt: skip
    single = _one_reader(fast, urgent, classes, discipline)
    rates = [urgent, *(ill + well for ill, well in classes)]
    work = [urgent * room.urgent_minutes]
    work += [ill * room.minutes_with + well * room.minutes_without for ill, well in classes]
    total = np.sum(rates, axis=0)
    overall = np.sum(work, axis=0) / total
    if discipline == "nonpreemptive":
        ratio = _waiting_ratio(np.sum(work, axis=0), c)
        return [_Delay(start=d.start * ratio, per_minute=d.per_minute) for d in single[1:]]
    delays: list[_Delay] = []
    offered, alone, before = np.zeros_like(urgent), np.zeros_like(urgent), np.zeros_like(urgent)
    for d, rate, load in zip(single, rates, work, strict=True):
        # A class nobody is in waits what a first image of it would.
        own = np.maximum(rate, 1e-7 * total)
        mean = np.divide(load, rate, out=np.array(overall), where=rate > 0)
        offered = offered + own * mean
        alone = alone + own * (d.start + d.per_minute * mean / c)
        ratio = _waiting_ratio(np.minimum(offered, np.sum(work, axis=0)), c)
        waited = ratio * alone
        wait, per_minute = (waited - before) / own, d.per_minute / c * ratio
        before = waited
        delays.append(_Delay(start=np.maximum(wait - per_minute * mean, 0.0), per_minute=per_minute))
    return delays[1:]


def _waiting_ratio(offered: Floats, c: int) -> Floats:
    """Mean wait in M/M/c over that in M/M/1 with a reader c times as fast, under the same load."""
    ratio: Floats = np.divide(_erlang_c(offered, c), offered / c, out=np.zeros_like(offered), where=offered > 0)
    return ratio


def _several_readers(
    room: ReadingRoom, urgent: Floats, classes: list[tuple[Floats, Floats]], discipline: Discipline
) -> list[_Delay]:
    """M/M/c with one mean reading time: Cobham's formula, or what classes up to one's own wait in all."""
    mean, c = room.minutes_with, room.readers
    rates = [urgent, *(ill + well for ill, well in classes)]
    total = np.sum(rates, axis=0)
    delays, above = [], np.zeros_like(urgent)
    for rate in rates:
        # A class nobody is in waits what a first image of it would.
        own = np.maximum(rate, 1e-7 * total)
        upto = above + own
        if discipline == "nonpreemptive":
            busy = _erlang_c(total * mean, c) * mean / c
            start = busy / ((1.0 - above * mean / c) * (1.0 - np.minimum(upto, total) * mean / c))
        else:
            start = (upto * _fifo(upto, mean, c) - above * _fifo(above, mean, c)) / own
        delays.append(_Delay(start=start, per_minute=np.zeros_like(urgent)))
        above = above + rate
    return delays[1:]


def _fifo(rate: Floats, mean: float, c: int) -> Floats:
    """Mean wait in M/M/c in the order of arrival."""
    return _erlang_c(rate * mean, c) * mean / c / (1.0 - rate * mean / c)


def _erlang_c(offered: Floats, c: int) -> Floats:
    """Chance that all `c` readers are busy, from Erlang's B by its recursion (Erlang 1917)."""
    blocked = np.ones_like(offered)
    for k in range(1, c + 1):
        blocked = offered * blocked / (k + offered * blocked)
    return blocked / (1.0 - offered / c * (1.0 - blocked))


def _mixed(share: Floats, first: Floats, second: Floats) -> Floats:
    """Mean over two kinds of images, of which `share` are of the first."""
    return share * first + (1.0 - share) * second
