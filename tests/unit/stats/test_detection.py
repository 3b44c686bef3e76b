"""FROC, localisation curves, quality and rates of marks: by hand, in strata, with intervals, where nothing exists."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats import detection
from evalsuite.stats._resampled import read, replicated, resampled
from evalsuite.stats.detection import Detections
from evalsuite.stats.draw import PatientDraw
from evalsuite.types import Estimate

INF = np.inf
#: Four cases: two lesions, one found; one lesion, found; normal with a mark; normal without.
FOUND = Detections(
    abnormal=np.array([True, True, False, False]),
    lesion_case=np.array([0, 0, 1]),
    lesion_score=np.array([0.9, -INF, 0.4]),
    false_case=np.array([0, 1, 2]),
    false_score=np.array([0.3, 0.6, 0.5]),
)
DRAW = PatientDraw(np.arange(4), 200, 7)


def _one(asked: detection.DetectionFigures, masks: np.ndarray | None = None, draw: PatientDraw = DRAW) -> Estimate:
    return resampled(draw, asked.material, asked.statistics, masks=masks, method="percentile")[0][0]


def test_the_curve_by_hand() -> None:
    curve = detection.froc_curve(FOUND)
    assert curve.threshold.tolist() == [INF, 0.9, 0.6, 0.5, 0.4, 0.3]
    assert curve.false_per_case.tolist() == [0, 0, 0.25, 0.5, 0.5, 0.75]
    assert curve.sensitivity == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 2 / 3, 2 / 3])
    normal = detection.froc_curve(FOUND, cases="normal")
    assert normal.threshold.tolist() == [INF, 0.9, 0.5, 0.4]
    assert normal.false_per_case.tolist() == [0, 0, 0.5, 0.5]


def test_sensitivity_at_a_rate_lies_on_the_curve() -> None:
    for rate, want in ((0.25, 1 / 3), (0.49, 1 / 3), (0.5, 2 / 3), (8.0, 2 / 3)):
        assert _one(detection.sensitivity_at(DRAW, FOUND, rate)).value == pytest.approx(want)
    tied = Detections(
        abnormal=FOUND.abnormal,
        lesion_case=FOUND.lesion_case,
        lesion_score=np.array([0.5, -INF, 0.5]),
        false_case=np.array([2, 3]),
        false_score=np.array([0.5, 0.5]),
    )
    # One point at (0.5, 2/3): before it, the straight line from the origin.
    assert _one(detection.sensitivity_at(DRAW, tied, 0.25)).value == pytest.approx(1 / 3)
    assert _one(detection.cpm(DRAW, tied)).value == pytest.approx((1 / 6 + 1 / 3 + 2 / 3 * 5) / 7)


def test_average_precision_by_hand() -> None:
    # 0.9 right: 1 of 1; 0.4 right: 2 of 4; a third lesion is never found.
    assert _one(detection.lesion_average_precision(DRAW, FOUND)).value == pytest.approx((1 + 0.5) / 3)


def test_localisation_areas_by_hand() -> None:
    # Normal cases rank 0.5 and "no mark". Lesions: 0.9 (1, 1), none (0, ½), 0.4 (0, 1).
    assert _one(detection.localisation_area(DRAW, FOUND, "afroc")).value == pytest.approx((2 + 0.5 + 1) / 6)
    assert _one(detection.localisation_area(DRAW, FOUND, "wafroc")).value == pytest.approx((2.5 / 2 + 1) / 4)
    # LROC: the highest mark of case 1 is wrong.
    assert _one(detection.localisation_area(DRAW, FOUND, "lroc")).value == pytest.approx(2 / 4)
    # Against the highest false positive of all four cases: 0.3, 0.6, 0.5, none.
    assert _one(detection.localisation_area(DRAW, FOUND, "afroc1")).value == pytest.approx((4 + 0.5 + 2) / 12)


def test_equal_highest_marks_share_the_first_choice() -> None:
    tied = Detections(
        abnormal=np.array([True, False]),
        lesion_case=np.array([0]),
        lesion_score=np.array([0.5]),
        false_case=np.array([0]),
        false_score=np.array([0.5]),
    )
    draw = PatientDraw(np.arange(2), 10, 1)
    assert _one(detection.localisation_area(draw, tied, "lroc"), draw=draw).value == 0.5


def test_rates_of_false_positives_apart() -> None:
    called = FOUND.false_score >= 0.5
    rates = {c: _one(detection.marks_per_case(FOUND, called, cases=c)) for c in ("all", "normal", "abnormal")}
    assert {c: e.value for c, e in rates.items()} == {"all": 0.5, "normal": 0.5, "abnormal": 0.5}
    assert (rates["all"].numerator, rates["all"].denominator) == (2, 4)
    assert (rates["normal"].numerator, rates["normal"].denominator) == (1, 2)


def test_quality_by_hand() -> None:
    lesion, false = FOUND.lesion_score >= 0.4, FOUND.false_score >= 0.5
    figures = {
        which: _one(detection.quality(FOUND, lesion, false, [0.8, np.nan, 0.6], which)).value
        for which in ("pq", "sq", "rq", "mark_f1", "mark_ppv")
    }
    assert figures == pytest.approx({"pq": 1.4 / 3.5, "sq": 0.7, "rq": 2 / 3.5, "mark_f1": 2 / 3.5, "mark_ppv": 0.5})


def test_some_of_the_lesions() -> None:
    large = FOUND.of_lesions(np.array([True, False, False]))
    assert _one(detection.sensitivity_at(DRAW, large, 8.0)).value == 1.0
    assert large.abnormal.tolist() == FOUND.abnormal.tolist()
    none = FOUND.of_lesions(np.zeros(3, dtype=bool))
    assert _one(detection.sensitivity_at(DRAW, none, 8.0)).undefined == detection.NO_LESION
    assert _one(detection.localisation_area(DRAW, none, "wafroc")).undefined == detection.NO_LESION


def test_reasons_where_nothing_exists() -> None:
    normal, abnormal = ~FOUND.abnormal[None], FOUND.abnormal[None]
    assert _one(detection.cpm(DRAW, FOUND), normal).undefined == detection.NO_LESION
    assert _one(detection.lesion_average_precision(DRAW, FOUND), normal).undefined == detection.NO_LESION
    assert _one(detection.cpm(DRAW, FOUND, cases="normal"), abnormal).undefined is not None
    assert _one(detection.localisation_area(DRAW, FOUND, "afroc"), abnormal).undefined == detection.NO_NORMAL
    assert _one(detection.localisation_area(DRAW, FOUND, "lroc"), normal).undefined == detection.NO_ABNORMAL
    called = FOUND.false_score >= 0.0
    assert _one(detection.marks_per_case(FOUND, called, cases="normal"), abnormal).undefined == detection.NO_NORMAL
    nothing = detection.quality(FOUND, FOUND.lesion_score > 1, FOUND.false_score > 1, [0, 0, 0], "mark_ppv")
    assert _one(nothing).undefined == "no marks"
    assert _one(detection.cpm(DRAW, FOUND), np.zeros((1, 4), dtype=bool)).undefined == "no cases"
    with pytest.raises(ValueError, match="no lesions"):
        detection.froc_curve(FOUND, mask=~FOUND.abnormal)
    with pytest.raises(ValueError, match="no such cases"):
        detection.froc_curve(FOUND, cases="normal", mask=FOUND.abnormal)


def _study(n: int = 60) -> Detections:
    rng = np.random.default_rng(5)
    abnormal = rng.random(n) < 0.6
    lesion_case = np.sort(rng.choice(np.flatnonzero(abnormal), 70))
    return Detections(
        abnormal=abnormal,
        lesion_case=lesion_case,
        lesion_score=np.where(rng.random(70) < 0.8, rng.integers(2, 12, 70) / 10, -INF),
        false_case=rng.integers(0, n, 80),
        false_score=rng.integers(0, 10, 80) / 10,
    )


def _repeated(found: Detections, times: np.ndarray) -> Detections:
    """Cases as often as they are drawn, written out."""
    case = np.repeat(np.arange(found.n), times)
    parts = [(np.flatnonzero(found.lesion_case == c), np.flatnonzero(found.false_case == c)) for c in case]
    lesion, false = (np.concatenate([p[i] for p in parts]) for i in (0, 1))
    return Detections(
        abnormal=found.abnormal[case],
        lesion_case=np.repeat(np.arange(case.size), [p[0].size for p in parts]),
        lesion_score=found.lesion_score[lesion],
        false_case=np.repeat(np.arange(case.size), [p[1].size for p in parts]),
        false_score=found.false_score[false],
    )


def test_a_replicate_is_the_figure_of_the_cases_it_draws() -> None:
    found = _study()
    patient = np.arange(found.n) // 2
    draw = PatientDraw(patient, 3, 11)
    for make in (
        lambda d, f: detection.sensitivity_at(d, f, 0.7),
        lambda d, f: detection.cpm(d, f, cases="normal"),
        lambda d, f: detection.lesion_average_precision(d, f),
        *(lambda d, f, a=a: detection.localisation_area(d, f, a) for a in detection.AREAS),
    ):
        asked = make(draw, found)
        table = replicated(draw, asked.material, asked.statistics)
        for r, counts in enumerate(draw.counts(0, 3)):
            drawn = _repeated(found, counts[patient])
            plain = PatientDraw(np.arange(drawn.n), 1, 1)
            again = make(plain, drawn)
            want = replicated(plain, again.material, again.statistics, with_jackknife=False).point[0, 0]
            assert table.values[0, 0, r] == pytest.approx(want)
        left_out = table.jackknife[0][0]
        assert left_out is not None
        drawn = _repeated(found, (patient != 4).astype(int))
        plain = PatientDraw(np.arange(drawn.n), 1, 1)
        again = make(plain, drawn)
        want = replicated(plain, again.material, again.statistics, with_jackknife=False).point[0, 0]
        assert left_out[4] == pytest.approx(want)


def test_a_stratum_is_a_study_of_its_cases() -> None:
    found, mask = _study(), np.arange(60) % 3 != 0
    draw = PatientDraw(np.arange(60), 50, 3)
    asked = detection.localisation_area(draw, found, "wafroc")
    inside = resampled(draw, asked.material, asked.statistics, masks=mask[None])[0][0]
    alone = _repeated(found, mask.astype(int))
    plain = PatientDraw(np.arange(alone.n), 50, 3)
    again = detection.localisation_area(plain, alone, "wafroc")
    assert inside.value == pytest.approx(_one(again, draw=plain).value)
    assert inside.n == int(mask.sum())


def test_band_holds_the_curve_and_does_not_depend_on_threads() -> None:
    found = _study()
    draw = PatientDraw(np.arange(60), 300, 9)
    asked = detection.froc_band(draw, found, (0.1, 0.5, 1.0, 2.0))
    one = replicated(draw, asked.material, asked.statistics, threads=1)
    three = replicated(draw, asked.material, asked.statistics, threads=3)
    np.testing.assert_array_equal(one.values, three.values)
    for e in read(one)[0]:
        assert e.value is not None
        assert e.low is not None
        assert e.high is not None
        assert e.low <= e.value <= e.high


def test_what_does_not_fit_is_refused() -> None:
    fields = {
        "abnormal": np.array([True, False]),
        "lesion_case": np.array([0]),
        "lesion_score": np.array([0.5]),
        "false_case": np.array([1]),
        "false_score": np.array([0.5]),
    }
    Detections(**fields)
    for name, wrong, why in (
        ("lesion_case", np.array([1]), "not abnormal"),
        ("lesion_case", np.array([2]), "indices of cases"),
        ("lesion_score", np.array([np.nan]), "NaN"),
        ("false_score", np.array([-INF]), "not marked"),
        ("abnormal", np.array([1, 0]), "must be bool"),
    ):
        with pytest.raises(ValueError, match=why):
            Detections(**{**fields, name: wrong})
    with pytest.raises(ValueError, match="positive"):
        detection.sensitivity_at(DRAW, FOUND, 0.0)
    with pytest.raises(ValueError, match="one of lroc"):
        detection.localisation_area(DRAW, FOUND, "roc")  # type: ignore[arg-type]
