"""Reshuffled periods, the fast way, beside the slow and obvious one: the same figures to the last digit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evalsuite.stats import _reshuffles
from evalsuite.stats._reshuffles import Members
from evalsuite.stats.distribution_shift import (
    ENOUGH_EXCEEDED,
    LEAST_SHUFFLES,
    Covariate,
    jensen_shannon,
    population_stability,
    shifts,
    total_variation,
)


def codes(baseline: list[str], window: list[str]) -> tuple[np.ndarray, int]:
    """A number for every patient of either period, and how many the baseline has."""
    first, second = sorted(set(baseline)), sorted(set(window))
    numbers = [first.index(p) for p in baseline] + [len(first) + second.index(p) for p in window]
    return np.array(numbers), len(first)


def slow_member(patient: np.ndarray, known: int, seed: int, number: int) -> np.ndarray:
    """Cases of the patients with the smallest of numpy's random numbers, as many patients as the window has."""
    n = int(patient.max()) + 1
    stream = np.random.SeedSequence(seed, spawn_key=(number,))
    lots = np.random.Generator(np.random.PCG64DXSM(stream)).random(n)
    return (lots <= np.sort(lots)[n - known - 1])[patient]


def slow_effects(c: Covariate, member: np.ndarray) -> dict[str, float]:
    values = np.concatenate([c.baseline, c.window])
    if c.kind == "categorical":
        groups = sorted(set(values.tolist()))
        counts = [np.array([float((values[side] == g).sum()) for g in groups]) for side in (~member, member)]
        first = {}
    else:
        have = np.isfinite(values)
        inside, n = values[member & have], int(have.sum())
        window, rest = inside.size, n - inside.size
        most, area = 0.0, 0.0
        different = np.unique(values[have])
        for v, following in zip(different, [*different[1:], different[-1]], strict=True) if window and rest else ():
            through, so_far = int((values[have] <= v).sum()), int((inside <= v).sum())
            difference = abs(so_far * (1.0 / window + 1.0 / rest) - through / rest)
            most, area = max(most, difference), area + difference * (following - v)
        known = c.baseline[np.isfinite(c.baseline)]
        edges = np.unique(np.quantile(known, np.linspace(0.1, 0.9, 9)))
        bins = np.searchsorted(edges, values)
        counts = [np.bincount(bins[have & s], minlength=edges.size + 1).astype(float) for s in (~member, member)]
        first = {"ks": most, "wasserstein": area / (float(known.std()) or 1.0)}
    names = ("jensen_shannon", "psi", "total_variation")
    formulas = (jensen_shannon, population_stability, total_variation)
    return first | {name: f(*counts) for name, f in zip(names, formulas, strict=True)}


def columns(nb: int, nw: int, seed: int) -> list[Covariate]:
    """Numbers with ties and gaps, with a shift that leaves it open how many reshuffles are needed; and groups."""
    rng = np.random.default_rng(seed)
    x, y = np.round(rng.normal(size=nb), 1), np.round(rng.normal(0.2, 1, nw), 1)
    with_gaps = [np.where(rng.random(v.size) < 0.2, np.nan, v) for v in (rng.normal(size=nb), rng.normal(size=nw))]
    words = np.array(["a", "b", "c"], dtype=object)
    return [
        Covariate(name="ties", kind="numeric", baseline=x, window=y),
        Covariate(name="gaps", kind="numeric", baseline=with_gaps[0], window=with_gaps[1]),
        Covariate(
            name="groups",
            kind="categorical",
            baseline=words[rng.integers(0, 2, nb)],
            window=words[rng.integers(0, 3, nw)],
        ),
    ]


@pytest.mark.parametrize(
    ("nb", "nw", "cluster", "seed"), [(40, 90, 1, 1), (90, 40, 1, 2**70 + 3), (60, 60, 3, 3), (9, 80, 4, 4)]
)
def test_every_figure_is_that_of_the_slow_way(nb: int, nw: int, cluster: int, seed: int) -> None:
    before, after = ([f"{who}{i // cluster}" for i in range(n)] for who, n in (("b", nb), ("w", nw)))
    made = columns(nb, nw, seed)
    patient, known = codes(before, after)
    found = shifts(made, before, after, shuffles=300, seed=seed)
    for c, shift in zip(made, found, strict=True):
        seen = slow_effects(c, patient >= known)
        every = [slow_effects(c, slow_member(patient, known, seed, r)) for r in range(shift.shuffles)]
        assert shift.effects == seen
        for name in seen:
            least = np.array([e[name] for e in every[:LEAST_SHUFFLES]])
            assert shift.expected[name] == float(least.mean())
            assert shift.high[name] == float(np.quantile(least, 0.95))
        beyond = sum(e[shift.statistic] >= seen[shift.statistic] * (1.0 - 1e-12) for e in every)
        assert shift.exceeded == beyond
        assert shift.shuffles == 300 or beyond >= ENOUGH_EXCEEDED or shift.p_value == 1 / 301


@pytest.mark.parametrize(("known", "drawn"), [(1, 1), (1, 2), (30, 3), (3, 30), (2000, 900), (900, 2000)])
def test_who_is_drawn_is_who_has_the_smallest_random_numbers(known: int, drawn: int) -> None:
    before, after = [f"b{i:04d}" for i in range(known)], [f"w{i:04d}" for i in range(drawn)]
    members = Members(before, after, seed=11)
    for number in (0, 1, 77):
        split = members.shuffled(number)
        slow = slow_member(np.arange(known + drawn), known, 11, number)
        assert split.some_are_window == (drawn <= known)
        chosen = np.isin(np.arange(known + drawn), split.some)
        np.testing.assert_array_equal(slow, chosen if split.some_are_window else ~chosen)


def test_a_border_that_is_not_where_it_is_expected_is_found_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    names: Any = [f"b{i:03d}" for i in range(200)], [f"w{i:03d}" for i in range(150)]
    usual = [Members(*names, seed=5).shuffled(r) for r in range(3)]
    for low, high in ((0.0, 1e-9), (1.0 - 1e-9, 1.0)):
        wrong = (int(low * _reshuffles._LOTS), int(high * _reshuffles._LOTS))
        monkeypatch.setattr(_reshuffles, "_expected", lambda _k, _n, wrong=wrong: wrong)
        for r, split in enumerate(usual):
            assert set(Members(*names, seed=5).shuffled(r).some.tolist()) == set(split.some.tolist())
