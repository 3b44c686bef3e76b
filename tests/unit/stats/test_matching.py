"""Marks and lesions: who belongs to whom, who chooses first, and what is left over."""

from __future__ import annotations

import numpy as np
import pytest

from evalsuite.stats import matching
from evalsuite.stats.matching import Pairs, match


def _pairs(*rows: tuple[int, int, float]) -> Pairs:
    mark, lesion, closeness = zip(*rows, strict=True)
    return Pairs(mark=np.array(mark), lesion=np.array(lesion), closeness=np.array(closeness, dtype=float))


def test_the_highest_mark_chooses_first_and_the_others_on_its_lesion_are_ignored_or_false() -> None:
    pairs = _pairs((0, 0, -1.0), (1, 0, -0.5), (1, 1, -4.0))
    m = match(pairs, [0.9, 0.8, 0.7], 2)
    assert m.mark_of.tolist() == [0, 1]
    assert m.hit.tolist() == [True, True, False]
    assert m.false.tolist() == [False, False, True]
    one = match(_pairs((0, 0, -1.0), (1, 0, -0.5)), [0.9, 0.8], 1)
    assert (one.hit.tolist(), one.false.tolist()) == ([True, False], [False, False])
    strict = match(_pairs((0, 0, -1.0), (1, 0, -0.5)), [0.9, 0.8], 1, extra="false")
    assert strict.false.tolist() == [False, True]


def test_rules_of_assignment_differ() -> None:
    # Mark 0 is on both lesions, mark 1 on the first only.
    pairs = _pairs((0, 0, 0.6), (0, 1, 0.5), (1, 0, 0.4))
    assert match(pairs, [0.9, 0.1], 2, assignment="by_score").mark_of.tolist() == [0, -1]
    assert match(pairs, [0.1, 0.9], 2, assignment="by_score").mark_of.tolist() == [1, 0]
    assert match(pairs, [0.1, 0.9], 2, assignment="by_closeness").mark_of.tolist() == [0, -1]
    best = match(pairs, [0.9, 0.1], 2, assignment="best_total")
    assert best.mark_of.tolist() == [1, 0]
    assert best.closeness.tolist() == [0.4, 0.5]


def test_equal_scores_are_ordered_by_closeness_then_as_given() -> None:
    assert match(_pairs((0, 0, -2.0), (1, 0, -1.0)), [0.5, 0.5], 1).mark_of.tolist() == [1]
    assert match(_pairs((1, 0, -1.0), (0, 0, -1.0)), [0.5, 0.5], 1).mark_of.tolist() == [0]
    assert match(_pairs((0, 0, 0.5), (1, 0, 0.5)), [0.1, 0.5], 1, assignment="by_closeness").mark_of.tolist() == [1]


def test_distance_is_within_the_limit_of_each_lesion_and_within_the_case() -> None:
    pairs = matching.pairs_by_distance(
        ["a", "a", "b"],
        [[0, 0, 0.3], [3, 4, 0], [0, 0, 0]],
        ["a", "a", "b"],
        [[0, 0, 0], [0, 0, 0], [0, 6, 8]],
        [0.1 * 3, 5, 9],
    )
    found = sorted(zip(pairs.mark.tolist(), pairs.lesion.tolist(), strict=True))
    assert found == [(0, 0), (0, 1), (1, 1)]
    assert sorted(pairs.closeness.tolist()) == [-5.0, -0.3, -0.3]
    assert matching.pairs_by_distance(["a"], [[1, 1]], ["b"], [[1, 1]], 5).mark.size == 0


def test_boxes() -> None:
    lesion = [[0, 0, 10, 10]]
    inside = matching.pairs_in_box([0, 0, 0], [[10, 10], [5, 6], [10.1, 5]], [0], lesion)
    assert inside.mark.tolist() == [0, 1]
    assert inside.closeness[1] == -1.0
    overlap = matching.pairs_by_box([0, 0], [[0, 0, 10, 5], [20, 20, 21, 21]], [0], lesion, least=0.5)
    assert (overlap.mark.tolist(), overlap.closeness.tolist()) == ([0], [0.5])
    cube = matching.pairs_by_box([0], [[0, 0, 0, 2, 2, 2]], [0], [[1, 1, 1, 3, 3, 3]], least=1 / 15)
    assert cube.closeness.tolist() == [1 / 15]
    # Boxes without extent overlap with nothing.
    assert matching.pairs_by_box([0], [[1, 1, 1, 1]], [0], [[1, 1, 1, 1]], least=0.1).mark.size == 0


def test_marks_in_a_label_map_and_overlaps_of_label_maps() -> None:
    lesions = np.zeros((4, 6), dtype=np.uint8)
    lesions[1, 1:3], lesions[3, 5] = 1, 2
    voxel = np.flatnonzero(lesions)
    places = [[1.4, 0.6], [1.5, 1.0], [3, 5.49], [3, 5.5], [-1, 2], [0, 0]]
    held = matching.pairs_in_regions(lesions.shape, voxel, lesions.reshape(-1)[voxel] - 1, places)
    whole = matching.pairs_in_mask(lesions, places)
    assert (held.mark.tolist(), held.lesion.tolist()) == (whole.mark.tolist(), whole.lesion.tolist())
    inside = matching.pairs_in_mask(lesions, [[1.4, 0.6], [1.5, 1.0], [3, 5.49], [3, 5.5], [-1, 2], [0, 0]])
    assert list(zip(inside.mark.tolist(), inside.lesion.tolist(), strict=True)) == [(0, 0), (2, 1)]
    marks = np.zeros((4, 6), dtype=np.int64)
    marks[1, 2:5] = 1
    pairs = matching.pairs_by_overlap(lesions, marks, least=0.25)
    assert (pairs.mark.tolist(), pairs.lesion.tolist(), pairs.closeness.tolist()) == ([0], [0], [0.25])
    assert matching.pairs_by_overlap(lesions, marks, least=0.3).mark.size == 0
    assert matching.pairs_by_overlap(lesions, marks, least=0.4, measure="dice").closeness.tolist() == [0.4]


def test_components_touch_by_corners() -> None:
    mask = np.zeros((3, 3), dtype=bool)
    mask[0, 0] = mask[1, 1] = True
    mask[2, 2] = False
    assert matching.components(mask)[1] == 1
    assert matching.components(np.zeros((2, 2, 2), dtype=bool))[1] == 0


def test_cases_are_put_together() -> None:
    both = matching.joined([_pairs((0, 0, 1.0)), _pairs((1, 0, 0.5))], [0, 3], [0, 2])
    assert (both.mark.tolist(), both.lesion.tolist()) == ([0, 4], [0, 2])
    assert matching.joined([], [], []).mark.size == 0


def test_no_pairs_at_all() -> None:
    none = matching.joined([], [], [])
    for assignment in matching.ASSIGNMENTS:
        m = match(none, [0.5], 2, assignment=assignment)
        assert (m.mark_of.tolist(), m.false.tolist(), m.found.tolist()) == ([-1, -1], [True], [False, False])


def test_what_is_not_defined_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        match(_pairs((0, 0, 1.0)), [np.nan], 1)
    with pytest.raises(ValueError, match="unknown assignment"):
        match(_pairs((0, 0, 1.0)), [1.0], 1, assignment="best")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not be negative"):
        match(_pairs((0, 0, -1.0)), [1.0], 1, assignment="best_total")
    with pytest.raises(ValueError, match="limit_mm"):
        matching.pairs_by_distance([0], [[0, 0]], [0], [[0, 0]], -1)
    with pytest.raises(ValueError, match="finite"):
        matching.pairs_by_distance([0], [[0, np.nan]], [0], [[0, 0]], 1)
    with pytest.raises(ValueError, match="lower corner first"):
        matching.pairs_by_box([0], [[1, 1, 0, 2]], [0], [[0, 0, 1, 1]], least=0.5)
    with pytest.raises(ValueError, match="above 0"):
        matching.pairs_by_box([0], [[0, 0, 1, 1]], [0], [[0, 0, 1, 1]], least=0.0)
    with pytest.raises(ValueError, match="one case"):
        matching.pairs_by_distance([0, 1], [[0, 0]], [0], [[0, 0]], 1)
    with pytest.raises(ValueError, match="like lesions"):
        matching.pairs_by_overlap(np.zeros((2, 2), int), np.zeros((2, 3), int), least=0.5)
    with pytest.raises(ValueError, match="position"):
        matching.pairs_in_mask(np.zeros((2, 2), int), [[0.0, 0.0, 0.0]])
