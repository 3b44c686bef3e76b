"""The search for slices: what is a candidate, chance does not pass the check, a planted slice does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from evalsuite.stats.slices import in_slice, search_half, search_slices


def test_half_of_the_patients_with_all_their_cases():
    cluster = np.repeat(np.arange(101), 3)
    half = search_half(cluster, seed=4)
    per_patient = half.reshape(101, 3)
    assert (per_patient.all(axis=1) | ~per_patient.any(axis=1)).all()
    assert per_patient[:, 0].sum() == 51
    assert (half == search_half(cluster + 7, seed=4)).all()
    assert (half != search_half(cluster, seed=5)).any()


def test_one_attribute_is_searched_and_checked_by_fishers_test():
    rng = np.random.default_rng(2)
    n = 400
    codes = rng.integers(0, 2, size=(n, 1))
    event = rng.random(n) < np.where(codes[:, 0] == 1, 0.5, 0.1)
    half = search_half(np.arange(n), seed=0)
    search = search_slices(event, codes, np.arange(n), half, depth=1)
    assert search.n_searched == 2
    (found,) = search.found
    assert found.terms == ((0, 1),)
    for side, p in ((half, found.p_plain), (~half, found.p_check)):
        a = codes[side, 0] == 1
        y = event[side]
        table = [[(a & y).sum(), (a & ~y).sum()], [(~a & y).sum(), (~a & ~y).sum()]]
        assert p == pytest.approx(stats.fisher_exact(table, alternative="greater")[1], rel=1e-9)
    assert found.p_search == pytest.approx(2 * found.p_plain, rel=1e-9)  # the better of two


def test_candidates_have_support_inside_and_outside():
    codes = np.array([[0, 0]] * 30 + [[0, 1]] * 30 + [[1, 1]] * 5)
    event = np.zeros(65, bool)
    everybody = np.ones(65, bool)
    searched = search_slices(event, codes, np.arange(65), everybody, support=10).n_searched
    # Alone: a=0 has 5 outside; a=1 is too small; b=0 and b=1 stand. Crossed: 00 and 01 stand, 11 is too small.
    assert searched == 4


def planted(rng: np.random.Generator, n: int, *, effect: float, per_patient: int = 1):
    codes = rng.integers(0, 3, size=(n, 5)).repeat(per_patient, axis=0)
    cluster = np.arange(n).repeat(per_patient)
    weak = (codes[:, 1] == 2) & (codes[:, 3] == 0)
    proneness = rng.normal(scale=0.7 if per_patient > 1 else 0.0, size=n)[cluster]
    chance = stats.norm.cdf(-1.0 + proneness + effect * weak)
    return rng.random(n * per_patient) < chance, codes, cluster


def test_a_planted_slice_is_found_and_holds():
    event, codes, cluster = planted(np.random.default_rng(8), 1500, effect=1.4)
    search = search_slices(event, codes, cluster, search_half(cluster, seed=1))
    assert search.found[0].terms == ((1, 2), (3, 0))
    assert search.found[0].p_check < 1e-4
    # What only adds a term to it is not listed beside it.
    assert not any(set(search.found[0].terms) < set(f.terms) for f in search.found)


@pytest.mark.parametrize("per_patient", [1, 2])
def test_by_chance_alone_hardly_anything_holds(per_patient):
    # `make slice-simulations` does this 2,000 times per design; here only that the path keeps its level roughly.
    rng = np.random.default_rng(3)
    runs, singled, held = 60, 0, 0
    for seed in range(runs):
        event, codes, cluster = planted(rng, 300, effect=0.0, per_patient=per_patient)
        found = search_slices(event, codes, cluster, search_half(cluster, seed=seed), permutations=99, seed=seed).found
        singled += bool(found)
        held += bool(found) and min(f.p_check for f in found) * len(found) <= 0.05
    assert singled / runs < 0.25
    assert held <= 3


def test_a_search_in_everybody_has_nothing_to_check_with():
    event, codes, cluster = planted(np.random.default_rng(8), 600, effect=2.0)
    found = search_slices(event, codes, cluster, np.ones(600, bool)).found
    assert found
    assert {f.p_check for f in found} == {1.0}


def test_nothing_to_search():
    none = search_slices(np.zeros(0, bool), np.zeros((0, 2), int), np.zeros(0), np.zeros(0, bool))
    assert (none.found, none.n_searched) == ((), 0)
    alone = search_slices(np.ones(40, bool), np.zeros((40, 0), int), np.arange(40), np.ones(40, bool))
    assert alone.n_searched == 0


def test_members_have_every_level():
    codes = np.array([[0, 1], [0, 2], [1, 2]])
    assert in_slice(codes, ((0, 0), (1, 2))).tolist() == [False, True, False]


def test_rows_must_fit():
    with pytest.raises(ValueError, match="one row per case"):
        search_slices(np.ones(3, bool), np.zeros((4, 1), int), np.arange(3), np.ones(3, bool))
