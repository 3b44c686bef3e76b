"""Decision rules that would treat groups alike: a threshold for each group, or two thresholds mixed by chance.

They answer a "what if". A rule found on the cases it is judged on looks too good, so the callers judge every case by a
rule found on other patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Call positive at `score >= first` with probability `share`, else at `score >= second`; but with probability
    `ignored` do not look at the score, and call positive by chance, with probability `blind`."""

    first: float
    second: float
    share: float = 1.0
    ignored: float = 0.0
    blind: float = 0.0

    @property
    def threshold(self) -> float | None:
        """The one threshold, where chance has no part in the rule."""
        return self.first if self.share == 1.0 and self.ignored == 0.0 else None

    def chance(self, score: ArrayLike) -> Floats:
        """(n,) probability that each case is called positive."""
        s = np.asarray(score, dtype=np.float64)
        looked = self.share * (s >= self.first) + (1.0 - self.share) * (s >= self.second)
        return np.asarray(self.ignored * self.blind + (1.0 - self.ignored) * looked)


def for_sensitivity(score: ArrayLike, positive: ArrayLike, goal: float) -> Rule | None:
    """The highest threshold whose sensitivity in these cases reaches `goal`; None without positives.

    Raises
    ------
    ValueError
        If `goal` is not from 0 to 1.
    """
    if not 0.0 <= goal <= 1.0:
        raise ValueError(f"a sensitivity is from 0 to 1, got {goal!r}")
    s, y = _two(score, positive)
    n = int(y.sum())
    if n == 0:
        return None
    needed = int(np.ceil(goal * n - 1e-9))
    ordered = np.sort(s[y])[::-1]
    # No positive needs to be found: the threshold lies above them all.
    threshold = float(ordered[needed - 1]) if needed else float(np.nextafter(ordered[0], np.inf))
    return Rule(first=threshold, second=threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hull:
    """Corners of the upper convex hull of a ROC curve from (0, 0) to (1, 1), and the threshold (`>=`) of each."""

    fpr: Floats
    tpr: Floats
    threshold: Floats

    def sensitivity(self, fpr: float) -> float:
        """The best sensitivity at a false positive rate, between corners by chance."""
        return float(np.interp(fpr, self.fpr, self.tpr))

    def rule(self, fpr: float, sensitivity: float) -> Rule:
        """The rule with this false positive rate and this sensitivity, which may not lie above the hull."""
        right = min(max(int(np.searchsorted(self.fpr, fpr, side="left")), 1), len(self.fpr) - 1)
        width = self.fpr[right] - self.fpr[right - 1]
        share = float((fpr - self.fpr[right - 1]) / width) if width > 0 else 1.0
        best = self.sensitivity(fpr)
        ignored = 0.0 if best <= fpr else min(1.0, max(0.0, (best - sensitivity) / (best - fpr)))
        return Rule(
            first=float(self.threshold[right]),
            second=float(self.threshold[right - 1]),
            share=share,
            ignored=ignored,
            blind=fpr,
        )


def roc_hull(score: ArrayLike, positive: ArrayLike) -> Hull | None:
    """The hull of the empirical ROC curve; None without positives or without negatives."""
    s, y = _two(score, positive)
    if not y.any() or y.all():
        return None
    levels = np.unique(s)[::-1]
    found = np.array([[(s[~y] >= t).mean(), (s[y] >= t).mean()] for t in levels])
    points = [(0.0, 0.0, float(np.nextafter(levels[0], np.inf)))]
    for (x, top), t in zip(found.tolist(), levels.tolist(), strict=True):
        while points and points[-1][0] == x and points[-1][1] <= top and len(points) > 1:
            points.pop()
        while len(points) > 1 and _below(points[-2], points[-1], (x, top)):
            points.pop()
        points.append((x, top, t))
    a = np.array(points)
    return Hull(fpr=a[:, 0], tpr=a[:, 1], threshold=a[:, 2])


def _below(a: tuple[float, ...], b: tuple[float, ...], c: tuple[float, ...]) -> bool:
    """Whether b lies on or below the line from a to c."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) >= 0.0


def for_odds(groups: Sequence[tuple[ArrayLike, ArrayLike]], fpr: float) -> tuple[float, tuple[Rule, ...]] | None:
    """Rules that give every group the false positive rate `fpr` and one sensitivity, the highest all can reach.

    Each group is (score, positive); the sensitivity is that of the worst group at `fpr`, to which the others' rules are
    diluted by chance. None where a group lacks positives or negatives.

    Raises
    ------
    ValueError
        If `fpr` is not from 0 to 1.

    References
    ----------
    Hardt, Price & Srebro, Adv Neural Inf Process Syst 29 (2016).
    """
    if not 0.0 <= fpr <= 1.0:
        raise ValueError(f"a false positive rate is from 0 to 1, got {fpr!r}")
    hulls = [roc_hull(score, positive) for score, positive in groups]
    known = [h for h in hulls if h is not None]
    if not known or len(known) < len(hulls):
        return None
    reached = min(h.sensitivity(fpr) for h in known)
    return reached, tuple(h.rule(fpr, reached) for h in known)


def _two(score: ArrayLike, positive: ArrayLike) -> tuple[Floats, Bools]:
    s, y = np.asarray(score, dtype=np.float64), np.asarray(positive, dtype=bool)
    if s.ndim != 1 or s.shape != y.shape or not np.isfinite(s).all():
        raise ValueError("score and positive are one number and one truth per case, and every score is finite")
    return s, y
