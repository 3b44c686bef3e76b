"""Simulated readers who are alike, differ and err as those of an earlier study did: Roe-Metz models of its components.

References
----------
Hillis, Statistics in Medicine 37:2067-2093 (2018), from a model's variances to those of readers' AUROCs; Hillis, Smith
& Chen, Journal of Medical Imaging 9:045501 (2022), Table 10, and back. Here shares of one class of cases (sensitivity,
specificity) are treated alike, with one case in the place of a pair.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, owens_t

from evalsuite.stats.obuchowski_rockette import VarianceParts
from evalsuite.stats.reader_simulation import Structure

Of = Literal["auroc", "positives", "negatives"]
_WIDEST, _NARROWEST = 20.0, 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderModel:
    """A model of a study's ratings, to draw others from.

    `structure.separation` is with the control and `gain` on the scale of the ratings; of shares it is the mean distance
    of the cases above the threshold. `case_worth` simulated cases stand for one real case: 1 unless the variance of
    readers' figures is one that no such model has. `notes` say what was set aside to fit.
    """

    structure: Structure
    of: Of
    gain: float
    case_worth: float
    notes: tuple[str, ...] = ()

    @property
    def variances(self) -> tuple[float, ...]:
        s = self.structure
        return s.reader, s.treatment_reader, s.case, s.treatment_case, s.reader_case, s.error

    def cases(self, n: float) -> int:
        """Cases to simulate for `n` real ones of a class."""
        return max(round(n * self.case_worth), 2)


def both_above(h: float, k: float, correlation: float) -> float:
    """Chance that two standard normal values lie below `h` and `k`, in Owen's T function."""
    if correlation >= 1.0:
        return float(ndtr(min(h, k)))
    h, k = h or 1e-300, k or 1e-300
    root = math.sqrt(1.0 - correlation**2)
    of_h, of_k = (float(owens_t(x, (y - correlation * x) / (x * root))) for x, y in ((h, k), (k, h)))
    return float(ndtr(h) + ndtr(k)) / 2.0 - of_h - of_k - (0.5 if h * k < 0.0 else 0.0)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """How figures are means over cases: weight of two successes with so much of the cases' variance in common."""

    weight: tuple[float, ...]
    shared: tuple[float, ...]

    def covariance(self, h: float, k: float, case: float, spread: float, readers: float) -> float:
        """Of two figures over cases; `case` of the cases' variance is common to both, `spread` of all is the readers'.

        `readers` is the correlation that both readings have by the reader.
        """
        return math.fsum(
            w * both_above(h, k, s * case * (1.0 - spread) + readers)
            for w, s in zip(self.weight, self.shared, strict=True)
        )


def _pairs(of: Of, n_positive: float, n_negative: float, scale: float) -> _Pairs:
    if of != "auroc":
        n = n_positive if of == "positives" else n_negative
        return _Pairs((1.0 / n, -1.0 / n), (1.0, 0.0))
    all_pairs = n_positive * n_negative
    weight = (1.0, n_positive - 1.0, n_negative - 1.0, 1.0 - n_positive - n_negative)
    of_positive = scale**2 / (1.0 + scale**2)
    return _Pairs(tuple(w / all_pairs for w in weight), (1.0, 1.0 - of_positive, of_positive, 0.0))


def components_of(
    structure: Structure, *, n_positive: float, n_negative: float, gain: float = 0.0, of: Of = "auroc"
) -> tuple[VarianceParts, float]:
    """Expected Obuchowski-Rockette components of studies by a model, and the variance component of the readers.

    Mean squares are those the components imply; that of treatments is not given.
    """
    within = structure.case + structure.treatment_case + structure.reader_case + structure.error
    classes = 2.0 if of == "auroc" else 1.0
    cases = (1.0 + structure.positive_scale**2) * within if of == "auroc" else within
    total = cases + classes * (structure.reader + structure.treatment_reader)
    x3 = classes * structure.reader / total
    x4 = classes * (structure.reader + structure.treatment_reader) / total
    one, two = ((structure.separation + g) / math.sqrt(total) for g in (gain, 0.0))
    pairs = _pairs(of, n_positive, n_negative, structure.positive_scale)
    alone = structure.case / within
    shared = {
        "error": (1.0, x4), "cov1": ((structure.case + structure.reader_case) / within, x3),
        "cov2": ((structure.case + structure.treatment_case) / within, 0.0), "cov3": (alone, 0.0),
    }  # fmt: skip
    found = {}
    for name, (case, by_reader) in shared.items():

        def covariance(h: float, k: float, case: float = case, by: float = by_reader) -> float:
            return pairs.covariance(h, k, case, x4, by)

        found[name] = _mean_over(name, one, two, covariance)
    readers = both_above(one, two, x3) - float(ndtr(one) * ndtr(two))
    own = _of_readers(one, two, x4) - readers
    parts = VarianceParts(
        ms_treatment=None, ms_reader=None, n_treatments=2,
        ms_treatment_reader=own + found["error"] - found["cov1"] - (found["cov2"] - found["cov3"]), **found,
    )  # fmt: skip
    return parts, readers


def _mean_over(name: str, one: float, two: float, of: Callable[[float, float], float]) -> float:
    """Between treatments where the covariance is of two treatments, else the mean of both."""
    return of(one, two) if name in ("cov1", "cov3") else (of(one, one) + of(two, two)) / 2.0


def _of_readers(one: float, two: float, correlation: float) -> float:
    return math.fsum(both_above(h, h, correlation) - float(ndtr(h)) ** 2 for h in (one, two)) / 2.0


def model_of(
    pilot: VarianceParts, *, reader: float, control: float, gain: float, n_positive: float, n_negative: float,
    of: Of = "auroc",
) -> ReaderModel:  # fmt: skip
    """The model whose studies of so many cases have the pilot's components, with `control` and `control + gain`.

    Parameters
    ----------
    pilot
        Components of an analysis of `n_positive` and `n_negative` cases; one below 0 counts as 0, and a covariance as
        no less than those of readings that share less.
    reader
        Variance component of the readers.
    control, gain
        Mean figure of the readers with the control, and how much better it is with the test treatment.

    Raises
    ------
    ValueError
        If a figure does not lie between 0 and 1, the pilot has one reader or treatment only, or readers vary more than
        figures can.
    """
    if not (0.0 < control < 1.0 and 0.0 < control + gain < 1.0):
        raise ValueError(f"the readers' figures, {control:g} and {control + gain:g}, do not lie between 0 and 1")
    if pilot.treatment_reader is None or pilot.cov1 is None or pilot.cov2 is None or pilot.cov3 is None:
        raise ValueError("a pilot for this has two treatments and at least two readers")
    own = max(pilot.treatment_reader, 0.0)
    one, two = float(ndtri(control + gain)), float(ndtri(control))
    try:
        x3 = _root(lambda x: both_above(one, two, x) - float(ndtr(one) * ndtr(two)) - reader, 0.0, 1.0)
        x4 = max(x3, _root(lambda x: _of_readers(one, two, x) - reader - own, 0.0, 1.0))
    except ValueError as none:
        raise ValueError("readers vary more than figures of this size can") from none
    scale, notes = 1.0, []
    if of == "auroc":
        scale = _scale(pilot.error, one, two, x4, n_positive, n_negative)
    pairs = _pairs(of, n_positive, n_negative, scale)
    error = _mean_over("error", one, two, lambda h, k: pairs.covariance(h, k, 1.0, x4, x4))
    worth = error / pilot.error
    if abs(worth - 1.0) < 1e-3:
        worth = 1.0
    else:
        notes.append(f"{worth:.2f} simulated cases stand for one, as the variance over cases asks")
    least = max(pilot.cov3, 0.0)
    asked = {
        "cov3": (least, 0.0), "cov2": (max(pilot.cov2, least), 0.0), "cov1": (max(pilot.cov1, least), x3),
    }  # fmt: skip
    found = {}
    for name, (goal, by_reader) in asked.items():

        def off(case: float, name: str = name, goal: float = goal * worth, by: float = by_reader) -> float:
            return _mean_over(name, one, two, lambda h, k: pairs.covariance(h, k, case, x4, by)) - goal

        found[name] = 0.0 if off(0.0) >= 0.0 else 1.0 if off(1.0) <= 0.0 else _root(off, 0.0, 1.0)
    x5 = found["cov3"]
    x6, x7 = max(found["cov2"], x5), max(found["cov1"], x5)
    if x6 + x7 - x5 > 1.0:
        notes.append("one reader's readings with two treatments are simulated less alike than assumed")
        x7 = 1.0 - x6 + x5
    classes = 2.0 if of == "auroc" else 1.0
    total = (1.0 + scale**2 if of == "auroc" else 1.0) / (1.0 - x4)
    structure = Structure(
        separation=two * math.sqrt(total), reader=x3 * total / classes, treatment_reader=(x4 - x3) * total / classes,
        case=x5, treatment_case=x6 - x5, reader_case=x7 - x5, error=max(1.0 - x6 - x7 + x5, 0.0), positive_scale=scale,
    )  # fmt: skip
    return ReaderModel(
        structure=structure, of=of, gain=(one - two) * math.sqrt(total), case_worth=worth, notes=tuple(notes)
    )


def _root(of: Callable[[float], float], low: float, high: float) -> float:
    if of(low) >= 0.0:
        return low
    return float(brentq(of, low, high, xtol=1e-12))


def _scale(error: float, one: float, two: float, x4: float, n_positive: float, n_negative: float) -> float:
    """How much wider positive cases' ratings spread for the variance asked for: the nearest to 1 that has it, wider
    ones first; 1 where none has."""

    def off(scale: float) -> float:
        pairs = _pairs("auroc", n_positive, n_negative, scale)
        return _mean_over("error", one, two, lambda h, k: pairs.covariance(h, k, 1.0, x4, x4)) - error

    for ends in (np.geomspace(1.0, _WIDEST, 60), np.geomspace(1.0, _NARROWEST, 30)):
        found = _first_change(off, ends)
        if found is not None:
            return found
    return 1.0


def _first_change(of: Callable[[float], float], ends: Sequence[float] | np.ndarray) -> float | None:
    before = of(float(ends[0]))
    for low, high in pairwise(ends):
        after = of(float(high))
        if before * after <= 0.0:
            return float(brentq(of, float(low), float(high), xtol=1e-10))
        before = after
    return None
