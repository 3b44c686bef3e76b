"""Shifts that need few reshuffles: bounds that are bounds, p-values that are those of all reshuffles, early stops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from evalsuite.stats import mmd
from evalsuite.stats.distribution_shift import CERTAIN, LEAST_SHUFFLES, Covariate, shifts, tail_bound


def sides(m: int, n: int, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(size=n), rng.normal(shift, 1, m)]), np.arange(n + m) >= n


@pytest.mark.parametrize(("m", "n"), [(40, 40), (30, 200), (500, 60)])
@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0, 2.0])
def test_the_bound_of_numbers_is_never_below_the_exact_p_value(m: int, n: int, shift: float) -> None:
    values, window = sides(m, n, shift)
    exact = stats.ks_2samp(values[window], values[~window], method="exact").pvalue
    assert tail_bound(values, window, kind="numeric") >= exact * (1 - 1e-9)


@pytest.mark.parametrize(("a", "b"), [(20, 25), (5, 40), (0, 60)])
def test_the_bound_of_groups_is_never_below_the_exact_p_value(a: int, b: int) -> None:
    m, n = 100, 150
    window = np.arange(m + n) < m
    words = np.array(["x"] * a + ["y"] * (m - a) + ["x"] * b + ["y"] * (n - b), dtype=object)
    exact = stats.fisher_exact([[a, m - a], [b, n - b]]).pvalue
    assert tail_bound(words, window, kind="categorical") >= exact


def test_a_certain_shift_has_the_smallest_p_value_after_few_reshuffles() -> None:
    rng = np.random.default_rng(1)
    moved = Covariate(name="moved", kind="numeric", baseline=rng.normal(size=400), window=rng.normal(2, 1, 400))
    words = np.array(["a", "b"], dtype=object)
    other = Covariate(
        name="groups",
        kind="categorical",
        baseline=words[rng.integers(0, 2, 400)],
        window=words[(rng.random(400) < 0.95).astype(int)],
    )
    same = Covariate(name="same", kind="numeric", baseline=rng.normal(size=400), window=rng.normal(size=400))
    patients = [f"b{i}" for i in range(400)], [f"w{i}" for i in range(400)]
    found = {s.name: s for s in shifts([moved, other, same], *patients, shuffles=50_000, seed=3)}
    for name in ("moved", "groups"):
        assert found[name].shuffles == LEAST_SHUFFLES
        assert found[name].p_value == 1 / 50_001
    assert (found["same"].p_value or 0) > 0.001
    # The same smallest p-value as the reshuffles themselves give, where they are all made.
    assert shifts([moved], *patients, shuffles=400, seed=3)[0].p_value == 1 / 401


def test_one_patient_with_many_cases_is_not_a_certain_shift() -> None:
    """Five hundred cases far away, of one patient: chance gives that patient to either side."""
    c = Covariate(
        name="x", kind="numeric", baseline=np.arange(40.0), window=np.append(np.arange(40.0), np.full(500, 99))
    )
    patients = [f"b{i}" for i in range(40)], [*(f"w{i}" for i in range(40)), *["one"] * 500]
    (found,) = shifts([c], *patients, shuffles=2000, seed=1)
    assert (found.p_value or 0) > 0.05


def test_embeddings_that_did_not_move_need_few_permutations_and_the_same_ones() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(60, 4)), rng.normal(size=(50, 4))
    few = mmd.mmd_test(a, b, bandwidth=2.0, permutations=5000, seed=1)
    assert few.exceeded == 20
    assert few.permutations < 5000
    assert few.p_value == 20 / few.permutations
    every = mmd.mmd_test(a, b, bandwidth=2.0, permutations=200, seed=1)
    assert every.permutations == 200
    assert few.p_value == pytest.approx(every.p_value, abs=0.15)
    assert few.mmd2 == pytest.approx(every.mmd2, abs=1e-9)


def test_embeddings_far_away_are_certain_and_near_ones_are_tried_to_the_end() -> None:
    rng = np.random.default_rng(4)
    a = rng.normal(size=(400, 4))
    far = mmd.mmd_test(a, rng.normal(6.0, 1, (400, 4)), bandwidth=2.0, permutations=3000, seed=1)
    assert (far.permutations, far.p_value) == (200, 1 / 3001)
    near = mmd.mmd_test(a, rng.normal(0.35, 1, (400, 4)), bandwidth=2.0, permutations=3000, seed=1)
    assert near.permutations == 3000
    assert near.p_value == (near.exceeded + 1) / 3001


def test_the_bound_of_embeddings_falls_with_size_and_says_nothing_near_zero() -> None:
    kernel = mmd._Kernel(np.random.default_rng(0).normal(size=(10, 2)).astype(np.float32), 1.0)
    assert kernel.tail_bound(-0.01, 5000, 5000) == kernel.tail_bound(0.002, 5000, 5000) == 1.0
    bounds = [kernel.tail_bound(0.1, n, n) for n in (500, 2000, 5000)]
    assert bounds[0] > bounds[1] > bounds[2]
    assert bounds[2] < CERTAIN
