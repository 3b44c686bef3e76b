"""How well marks find lesions: sensitivity, false positives per case, FROC, LROC, AFROC, average precision, PQ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from evalsuite.stats._binary_inputs import BoolArray, FloatArray, IntArray
from evalsuite.stats._blocks import Counts
from evalsuite.stats._resampled import Counted, Material, Parts, Statistic
from evalsuite.stats.draw import PatientDraw

#: Rates of false positives per case whose mean sensitivity is the CPM (Niemeijer et al. 2011; LUNA16).
CPM_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
Cases = Literal["all", "normal", "abnormal"]
Area = Literal["lroc", "afroc", "wafroc", "afroc1", "wafroc1"]
AREAS: tuple[Area, ...] = get_args(Area)
NO_LESION = "no lesions in the reference"
NO_NORMAL = "no cases without a lesion"
NO_ABNORMAL = "no cases with a lesion"


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """What a device found: every lesion with the score of the mark that found it, every false positive with its own.

    `abnormal (n,)` cases with a lesion in the reference; `lesion_case (l,)` and `false_case (f,)` are indices of
    cases; `lesion_score (l,)` is −inf where a lesion was not found, `false_score (f,)` is finite or +inf. Lesions may
    be a part of the reference's (`of_lesions`): `abnormal` then stays that of all. Scores have no unit; higher means
    more suspicious.

    Raises
    ------
    ValueError
        If shapes do not fit, a score is NaN, or a lesion lies in a case that is not abnormal.
    """

    abnormal: BoolArray
    lesion_case: IntArray
    lesion_score: FloatArray
    false_case: IntArray
    false_score: FloatArray
    lesions_in_case: IntArray = field(init=False)

    def __post_init__(self) -> None:
        n = self.abnormal.size
        if self.abnormal.dtype != np.bool_ or self.abnormal.shape != (n,):
            raise ValueError("abnormal must be bool, one per case")
        for name in ("lesion", "false"):
            case, score = getattr(self, f"{name}_case"), getattr(self, f"{name}_score")
            if case.ndim != 1 or case.shape != score.shape or bool(((case < 0) | (case >= n)).any()):
                raise ValueError(f"{name}_case must be indices of cases, as many as {name}_score")
            if bool(np.isnan(score).any()):
                raise ValueError(f"{name}_score holds NaN; a mark without a score cannot be ranked")
        if bool((~self.abnormal[self.lesion_case]).any()):
            raise ValueError("a lesion lies in a case that is not abnormal")
        if bool(np.isneginf(self.false_score).any()):
            raise ValueError("false_score holds −inf, which is the score of what was not marked")
        object.__setattr__(self, "lesions_in_case", np.bincount(self.lesion_case, minlength=n))

    @property
    def n(self) -> int:
        """Number of cases."""
        return int(self.abnormal.size)

    def of_lesions(self, kept: npt.ArrayLike) -> Detections:
        """The same with some of the lesions, such as those of one size; false positives stay."""
        chosen = np.asarray(kept)
        return Detections(
            abnormal=self.abnormal,
            lesion_case=self.lesion_case[chosen],
            lesion_score=self.lesion_score[chosen],
            false_case=self.false_case,
            false_score=self.false_score,
        )

    def of_cases(self, kept: npt.ArrayLike) -> Detections:
        """The same of some of the cases `(n,)` bool, numbered anew."""
        chosen = np.asarray(kept, dtype=np.bool_)
        place = np.cumsum(chosen) - 1
        lesions, marks = chosen[self.lesion_case], chosen[self.false_case]
        return Detections(
            abnormal=self.abnormal[chosen],
            lesion_case=place[self.lesion_case[lesions]],
            lesion_score=self.lesion_score[lesions],
            false_case=place[self.false_case[marks]],
            false_score=self.false_score[marks],
        )

    def counted_in(self, cases: Cases) -> BoolArray:
        """Cases that are counted over: all, or those without or with a lesion."""
        return np.ones(self.n, dtype=np.bool_) if cases == "all" else self.abnormal == (cases == "abnormal")

    def highest(self) -> FloatArray:
        """`(n,)` score of each case's highest mark, right or wrong; −inf without a mark."""
        out = np.full(self.n, -np.inf)
        np.maximum.at(out, self.lesion_case, self.lesion_score)
        np.maximum.at(out, self.false_case, self.false_score)
        return out

    def highest_false(self) -> FloatArray:
        """`(n,)` score of each case's highest false positive; −inf without one."""
        out = np.full(self.n, -np.inf)
        np.maximum.at(out, self.false_case, self.false_score)
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Froc:
    """The FROC curve: a point per distinct score, from (0, 0). `threshold[0]` is +inf; a mark counts from there up."""

    threshold: FloatArray
    false_per_case: FloatArray
    sensitivity: FloatArray


def froc_curve(found: Detections, *, cases: Cases = "all", mask: npt.ArrayLike | None = None) -> Froc:
    """Sensitivity per lesion against false positives per case over all thresholds.

    Parameters
    ----------
    cases
        False positives are counted, and divided by the number of cases, in these.
    mask
        `(n,)` bool: only these cases.

    Raises
    ------
    ValueError
        Without lesions or without such cases there is no curve.

    References
    ----------
    Bunch, Hamilton, Sanderson & Simmons, Proc SPIE 127:124-135 (1977).
    """
    chosen = np.ones(found.n, dtype=np.bool_) if mask is None else np.asarray(mask)
    counted = chosen & found.counted_in(cases)
    lesions = int(np.count_nonzero(chosen[found.lesion_case]))
    if not lesions or not counted.any():
        raise ValueError(NO_LESION if not lesions else "no such cases")
    hits = found.lesion_score[chosen[found.lesion_case] & (found.lesion_score > -np.inf)]
    misses = found.false_score[counted[found.false_case]]
    threshold = np.unique(np.concatenate([hits, misses]))[::-1]
    return Froc(
        threshold=np.concatenate([[np.inf], threshold]),
        false_per_case=np.concatenate([[0.0], _at_least(misses, threshold) / int(counted.sum())]),
        sensitivity=np.concatenate([[0.0], _at_least(hits, threshold) / lesions]),
    )


def _at_least(values: FloatArray, threshold: FloatArray) -> IntArray:
    return np.asarray(values.size - np.searchsorted(np.sort(values), threshold, "left"))


def froc_counted(draw: PatientDraw, found: Detections, rates: Sequence[float], cases: Cases = "all") -> Counted:
    """Sensitivity at each of the ascending rates, then the average precision, for any counts of patients."""

    def prepare(mask: BoolArray, patients: IntArray) -> Callable[[Counts], FloatArray]:
        counted = mask & found.counted_in(cases)
        hit = mask[found.lesion_case] & (found.lesion_score > -np.inf)
        miss = counted[found.false_case]
        score = np.concatenate([found.lesion_score[hit], found.false_score[miss]])
        case = np.concatenate([found.lesion_case[hit], found.false_case[miss]])
        lesion = np.concatenate([np.ones(int(hit.sum()), dtype=np.bool_), np.zeros(int(miss.sum()), dtype=np.bool_)])
        order = np.argsort(-score, kind="stable")
        local = np.searchsorted(patients, draw.patient)
        people = patients.size
        cases_of = np.bincount(local[counted], minlength=people)
        lesions_of = np.bincount(local[found.lesion_case[mask[found.lesion_case]]], minlength=people)
        arrays = local[case[order]], lesion[order], _last_of_tie(score[order]), cases_of, lesions_of
        asked = np.array(rates, dtype=np.float64)

        def of_counts(counts: Counts) -> FloatArray:
            from evalsuite.stats import _detection_kernels

            out = np.empty((len(counts), asked.size + 1))
            _detection_kernels.froc(np.ascontiguousarray(counts, dtype=np.int32), *arrays, asked, out)
            return out

        return of_counts

    return prepare


def area_counted(draw: PatientDraw, found: Detections, area: Area) -> Counted:
    """The sum over pairs that an area under a localisation curve is made of, for any counts of patients."""

    def prepare(mask: BoolArray, patients: IntArray) -> Callable[[Counts], FloatArray]:
        case, score, positive, negative = _items(found, area)
        kept = mask[case]
        case, score, positive, negative = case[kept], score[kept], positive[kept], negative[kept]
        order = np.argsort(score, kind="stable")
        local = np.searchsorted(patients, draw.patient)
        arrays = local[case[order]], positive[order], negative[order], _last_of_tie(score[order])

        def of_counts(counts: Counts) -> FloatArray:
            from evalsuite.stats import _detection_kernels

            out = np.empty(len(counts))
            _detection_kernels.area(np.ascontiguousarray(counts, dtype=np.int32), *arrays, out)
            return out[:, None]

        return of_counts

    return prepare


def _items(found: Detections, area: Area) -> tuple[IntArray, FloatArray, FloatArray, FloatArray]:
    """Case, score, weight as a positive and weight as a negative item of all that a curve ranks."""
    # In the curves that end in 1 every case's highest false positive counts, else those of normal cases.
    against = np.arange(found.n) if area.endswith("1") else np.flatnonzero(~found.abnormal)
    if area == "lroc":
        case, score, weight = _first_choices(found)
    else:
        case, score = found.lesion_case, found.lesion_score
        weight = 1.0 / found.lesions_in_case[case] if area.startswith("w") else np.ones(case.size)
    return (
        np.concatenate([case, against]),
        np.concatenate([score, found.highest_false()[against]]),
        np.concatenate([weight, np.zeros(against.size)]),
        np.concatenate([np.zeros(case.size), np.ones(against.size)]),
    )


def _first_choices(found: Detections) -> tuple[IntArray, FloatArray, FloatArray]:
    """Abnormal cases whose highest mark found a lesion: case, score, and the share of its highest marks that did."""
    highest = found.highest()
    right = (found.lesion_score > -np.inf) & (found.lesion_score == highest[found.lesion_case])
    wrong = found.false_score == highest[found.false_case]
    n_right = np.bincount(found.lesion_case[right], minlength=found.n)
    n_wrong = np.bincount(found.false_case[wrong], minlength=found.n)
    case = np.flatnonzero(n_right)
    return case, highest[case], n_right[case] / (n_right + n_wrong)[case]


def _last_of_tie(ordered: FloatArray) -> BoolArray:
    return np.append(ordered[1:] != ordered[:-1], True)[: ordered.size]


# --- Statistics for the patient bootstrap -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionFigures:
    """What `_resampled.replicated` needs for a list of figures: their material and their formulas, in order."""

    material: Material
    statistics: tuple[Statistic, ...]


def sensitivity_at(draw: PatientDraw, found: Detections, rate: float, *, cases: Cases = "all") -> DetectionFigures:
    """Sensitivity per lesion at this many false positives per case, on the straight line between points of the FROC."""
    if not rate > 0.0:
        raise ValueError(f"rate must be positive, got {rate!r}")
    return _of_froc(draw, found, (rate,), cases)


def cpm(draw: PatientDraw, found: Detections, *, cases: Cases = "all") -> DetectionFigures:
    """Competition performance metric: mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives per case.

    References
    ----------
    Niemeijer et al., IEEE Trans Med Imaging 30:215-223 (2011). Setio et al., Med Image Anal 42:1-13 (2017).
    """
    return _of_froc(draw, found, CPM_RATES, cases)


def froc_band(
    draw: PatientDraw, found: Detections, rates: Sequence[float], *, cases: Cases = "all"
) -> DetectionFigures:
    """A statistic for each of the ascending rates: the FROC curve at a grid, for a pointwise band."""
    material = Material(counted={"froc": froc_counted(draw, found, rates, cases)})
    each = tuple(_froc_statistic(partial(_column, k)) for k in range(len(rates)))
    return DetectionFigures(material=material, statistics=each)


def _column(k: int, curve: FloatArray) -> FloatArray:
    return np.asarray(curve[:, k])


def _of_froc(draw: PatientDraw, found: Detections, rates: Sequence[float], cases: Cases) -> DetectionFigures:
    material = Material(counted={"froc": froc_counted(draw, found, rates, cases)})
    return DetectionFigures(
        material=material, statistics=(_froc_statistic(lambda curve: np.asarray(curve[:, :-1].mean(axis=1))),)
    )


def _froc_statistic(of_curve: Callable[[FloatArray], FloatArray]) -> Statistic:
    return Statistic(value=lambda parts: of_curve(parts.counted["froc"]), reason=_why_no_froc)


def _why_no_froc(parts: Parts) -> str:
    # The average precision exists wherever there are lesions.
    return NO_LESION if np.isnan(parts.counted["froc"][0, -1]) else "no cases to count false positives in"


def lesion_average_precision(draw: PatientDraw, found: Detections) -> DetectionFigures:
    """Average precision over marks: the sum over scores of the gain in lesions found times the share of marks that are
    right; lesions never found add nothing. Not interpolated.

    References
    ----------
    Saha et al., Lancet Oncol 25:879-887 (2024), picai_eval.
    """
    material = Material(counted={"froc": froc_counted(draw, found, ())})
    return DetectionFigures(material=material, statistics=(_froc_statistic(lambda curve: np.asarray(curve[:, -1])),))


def localisation_area(draw: PatientDraw, found: Detections, area: Area) -> DetectionFigures:
    """Area under a curve that counts lesions found against normal cases with a false positive at least as high.

    `lroc`: share of abnormal cases whose highest mark is on a lesion (equal highest marks share), against normal cases.
    `afroc`: every lesion counts once; `wafroc`: every abnormal case counts once, its lesions sharing. A lesion without
    a mark and a case without one rank equally low, and count one half. `afroc1`, `wafroc1`: against the highest false
    positive of every case, abnormal ones included.

    References
    ----------
    Swensson, Med Phys 23:1709-1725 (1996), LROC. Chakraborty & Zhai, Acad Radiol 23:1264-1274 (2016), weighted AFROC.
    """
    if area not in AREAS:
        raise ValueError(f"area is one of {', '.join(AREAS)}, got {area!r}")
    per_case = area == "lroc" or area.startswith("w")
    ones = found.lesions_in_case > 0 if per_case else found.lesions_in_case
    if area == "lroc":
        ones = found.abnormal
    against = np.ones(found.n) if area.endswith("1") else (~found.abnormal).astype(np.float64)
    material = Material(
        sums={"positive": ones.astype(np.float64)[:, None], "negative": against[:, None]},
        counted={"pairs": area_counted(draw, found, area)},
    )

    def value(parts: Parts) -> FloatArray:
        pairs = parts.sums["positive"][:, 0] * parts.sums["negative"][:, 0]
        return _share(parts.counted["pairs"][:, 0], pairs)

    def reason(parts: Parts) -> str:
        if parts.sums["positive"][0, 0] == 0.0:
            return NO_ABNORMAL if area == "lroc" else NO_LESION
        return NO_NORMAL

    return DetectionFigures(material=material, statistics=(Statistic(value=value, reason=reason),))


def _share(part: FloatArray, whole: FloatArray) -> FloatArray:
    out: FloatArray = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0.0)
    return out


def localisation_curve(found: Detections, area: Area) -> tuple[FloatArray, FloatArray]:
    """The curve whose area `localisation_area` is: over all thresholds, from (0, 0), the share of cases that count
    against with a false positive, and the share of lesions (cases) found. Straight between points, as ties count.

    Raises ValueError without lesions or without cases to rank them against.
    """
    _, score, positive, negative = _items(found, area)
    ones = float(found.abnormal.sum()) if area == "lroc" else float(positive.sum())
    return ranked_curve(score, positive, negative, positives=ones)


def ranked_curve(
    score: npt.ArrayLike, positive: npt.ArrayLike, negative: npt.ArrayLike, *, positives: float | None = None
) -> tuple[FloatArray, FloatArray]:
    """Shares of weight `negative (m,)` and `positive (m,)` with at least each score, from none to all.

    `positives` is what shares of positives are of, their sum unless given. Raises ValueError where a class is empty.
    """
    scores, ones, zeros = (np.asarray(a, dtype=np.float64) for a in (score, positive, negative))
    whole = float(ones.sum()) if positives is None else positives
    if not whole > 0.0 or not zeros.sum() > 0.0:
        raise ValueError(NO_LESION if not whole > 0.0 else NO_NORMAL)
    order = np.argsort(-scores, kind="stable")
    last = _last_of_tie(scores[order])
    x = np.cumsum(zeros[order])[last] / zeros.sum()
    y = np.cumsum(ones[order])[last] / whole
    return np.concatenate([[0.0], x]), np.concatenate([[0.0], y])


def marks_per_case(found: Detections, called: BoolArray, *, cases: Cases = "all") -> DetectionFigures:
    """False positives per case at an operating point: `called (f,)` are those at or above its threshold."""
    counted = found.counted_in(cases)
    false = np.bincount(found.false_case[called], minlength=found.n) * counted
    material = Material(sums={"false": false.astype(np.float64)[:, None], "cases": counted.astype(np.float64)[:, None]})
    why = {"all": "no cases", "normal": NO_NORMAL, "abnormal": NO_ABNORMAL}[cases]
    statistic = Statistic(
        value=lambda parts: _share(parts.sums["false"][:, 0], parts.sums["cases"][:, 0]),
        reason=lambda parts: why,
        bounds=(0.0, np.inf),
        counts=lambda parts: (float(parts.sums["false"][0, 0]), float(parts.sums["cases"][0, 0])),
    )
    return DetectionFigures(material=material, statistics=(statistic,))


Quality = Literal["pq", "sq", "rq", "mark_ppv", "mark_f1"]


def quality(
    found: Detections, called_lesion: BoolArray, called_false: BoolArray, overlap: npt.ArrayLike, which: Quality
) -> DetectionFigures:
    """Panoptic, segmentation and recognition quality, and what marks are worth, over all lesions and marks together.

    `pq` = sum of the overlaps of lesions found / (found + half of missed and false); `sq` = mean overlap of lesions
    found; `rq` = `mark_f1` = found / (found + half of missed and false); `mark_ppv` = found / (found + false). `overlap
    (l,)` is the IoU of each lesion with the mark that found it.

    References
    ----------
    Kirillov, He, Girshick, Rother & Dollár, CVPR 2019, 9404-9413.
    """
    iou = np.where(called_lesion, np.asarray(overlap, dtype=np.float64), 0.0)
    columns = {
        "found": np.bincount(found.lesion_case[called_lesion], minlength=found.n),
        "lesions": found.lesions_in_case,
        "false": np.bincount(found.false_case[called_false], minlength=found.n),
        "overlap": np.bincount(found.lesion_case, weights=iou, minlength=found.n),
    }
    material = Material(sums={name: column.astype(np.float64)[:, None] for name, column in columns.items()})

    def value(parts: Parts) -> FloatArray:
        hit, lesions, false, overlaps = (parts.sums[name][:, 0] for name in columns)
        if which == "sq":
            return _share(overlaps, hit)
        if which == "mark_ppv":
            return _share(hit, hit + false)
        return _share(overlaps if which == "pq" else hit, 0.5 * (lesions + hit + false))

    def reason(parts: Parts) -> str:
        return {"sq": "no lesions were found", "mark_ppv": "no marks"}.get(which, "no lesions and no marks")

    return DetectionFigures(material=material, statistics=(Statistic(value=value, reason=reason),))
