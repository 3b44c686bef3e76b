"""What must hold for any marks and lesions: order, ties, increasing maps of the score, more marks, monotone curves."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evalsuite.stats import detection, matching
from evalsuite.stats._resampled import replicated
from evalsuite.stats.detection import Detections
from evalsuite.stats.draw import PatientDraw


@st.composite
def _found(draw: st.DrawFn) -> Detections:
    seed = draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    n = draw(st.integers(2, 8))
    abnormal = rng.random(n) < 0.6
    abnormal[0], abnormal[-1] = True, False
    lesions, false = draw(st.integers(1, 8)), draw(st.integers(0, 10))
    scores = draw(st.sampled_from([2, 5, 100]))  # few values make ties
    return Detections(
        abnormal=abnormal,
        lesion_case=np.concatenate([[0], rng.choice(np.flatnonzero(abnormal), lesions - 1)]).astype(np.int64),
        lesion_score=np.where(rng.random(lesions) < 0.7, rng.integers(0, scores, lesions) / scores, -np.inf),
        false_case=rng.integers(0, n, false),
        false_score=rng.integers(0, scores, false) / scores,
    )


def _figures(found: Detections) -> list[float]:
    draw = PatientDraw(np.arange(found.n), 1, 1)
    asked = [
        detection.sensitivity_at(draw, found, 0.4),
        detection.cpm(draw, found),
        detection.lesion_average_precision(draw, found),
        *(detection.localisation_area(draw, found, a) for a in detection.AREAS),
    ]
    return [float(replicated(draw, a.material, a.statistics, with_jackknife=False).point[0, 0]) for a in asked]


@settings(max_examples=40, deadline=None)
@given(_found(), st.integers(0, 10_000))
def test_figures_do_not_depend_on_order_or_on_the_scale_of_scores(found: Detections, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lesions, false, cases = (rng.permutation(k) for k in (found.lesion_case.size, found.false_case.size, found.n))
    number = np.argsort(cases)
    shuffled = Detections(
        abnormal=found.abnormal[cases],
        lesion_case=number[found.lesion_case[lesions]],
        lesion_score=np.where(
            np.isneginf(found.lesion_score[lesions]), -np.inf, np.exp(3.0 * found.lesion_score[lesions])
        ),
        false_case=number[found.false_case[false]],
        false_score=np.exp(3.0 * found.false_score[false]),
    )
    np.testing.assert_allclose(_figures(shuffled), _figures(found), atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(_found())
def test_curves_rise_and_figures_stay_between_0_and_1(found: Detections) -> None:
    curve = detection.froc_curve(found)
    assert (np.diff(curve.false_per_case) >= 0).all()
    assert (np.diff(curve.sensitivity) >= 0).all()
    assert (np.diff(curve.threshold) < 0).all()
    figures = np.array(_figures(found))
    assert ((figures >= 0.0) & (figures <= 1.0)).all()
    draw = PatientDraw(np.arange(found.n), 1, 1)
    band = detection.froc_band(draw, found, (0.1, 0.2, 0.5, 1.0, 3.0))
    values = replicated(draw, band.material, band.statistics, with_jackknife=False).point[0]
    assert (np.diff(values) >= -1e-12).all()
    np.testing.assert_allclose(values, np.interp((0.1, 0.2, 0.5, 1.0, 3.0), curve.false_per_case, curve.sensitivity))


@settings(max_examples=40, deadline=None)
@given(_found())
def test_one_more_false_positive_never_helps(found: Detections) -> None:
    worse = Detections(
        abnormal=found.abnormal,
        lesion_case=found.lesion_case,
        lesion_score=found.lesion_score,
        false_case=np.append(found.false_case, found.n - 1),
        false_score=np.append(found.false_score, 0.5),
    )
    assert (np.array(_figures(worse)) <= np.array(_figures(found)) + 1e-12).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(matching.ASSIGNMENTS))
def test_lesions_and_marks_are_matched_one_to_one(seed: int, assignment: matching.Assignment) -> None:
    rng = np.random.default_rng(seed)
    marks, lesions, least = rng.integers(0, 9, (7, 2)), rng.integers(0, 9, (5, 2)), 0.1
    boxes = [np.concatenate([corner, corner + 3], axis=1).astype(float) for corner in (marks, lesions)]
    case = rng.integers(0, 2, 7), rng.integers(0, 2, 5)
    score = rng.integers(0, 4, 7) / 4
    pairs = matching.pairs_by_box(case[0], boxes[0], case[1], boxes[1], least=least)
    m = matching.match(pairs, score, 5, assignment=assignment)
    used = m.mark_of[m.found]
    assert len(set(used.tolist())) == used.size == int(m.hit.sum())
    assert (case[0][used] == case[1][m.found]).all()
    assert not (m.hit & m.false).any()
    # No pair is left of which both could still have been matched.
    free = ~m.hit[pairs.mark] & ~m.found[pairs.lesion]
    assert not free.any()
    # More overlap asked for: fewer pairs, and no mark that was false before is right now.
    fewer = matching.pairs_by_box(case[0], boxes[0], case[1], boxes[1], least=0.4)
    assert fewer.mark.size <= pairs.mark.size
    assert set(np.flatnonzero(m.false)) <= set(np.flatnonzero(matching.match(fewer, score, 5).false))
