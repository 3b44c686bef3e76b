"""Groups nobody thought of: combinations of a few attributes, searched on half the patients, checked on the others.

A search over hundreds of groups always finds some that look bad. What it finds is therefore tested again on patients
who took no part in the search; only that second test says anything, and it is adjusted for how many are tested.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalsuite.stats.clustered import compact
from evalsuite.stats.excess import excess_tests, score_tests
from evalsuite.stats.multiplicity import adjust_p

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
#: (attribute, level) pairs, in the order of the attributes.
Terms = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A slice the search singled out: its terms, and what both halves of the patients say.

    `p_plain` is of the searched half, `p_search` the same adjusted by Benjamini and Hochberg for all slices searched;
    `p_check` is the plain p-value among the
    patients held out, 1 where no case of theirs is in the slice, or all are; `method` names its test.
    """

    terms: Terms
    p_plain: float
    p_search: float
    p_check: float
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What was found, the likeliest first, and how many slices were looked at."""

    found: tuple[Found, ...]
    n_searched: int


def search_half(cluster: ArrayLike, *, seed: int) -> Bools:
    """(n,) cases of a random half of the patients (the larger one where their number is odd): those to search in."""
    index = compact(np.asarray(cluster))
    patients = int(index.max()) + 1 if len(index) else 0
    chosen = np.zeros(patients, dtype=bool)
    rng = np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(seed, spawn_key=(0x51,))))
    chosen[rng.permutation(patients)[: (patients + 1) // 2]] = True
    return np.asarray(chosen[index], dtype=bool)


def search_slices(
    event: ArrayLike,
    codes: ArrayLike,
    cluster: ArrayLike,
    half: ArrayLike,
    *,
    depth: int = 2,
    support: int = 20,
    level: float = 0.05,
    most: int = 10,
    permutations: int = 9999,
    seed: int = 0,
) -> Search:
    """Slices with more events than all other cases: singled out in one half of the patients, tested in the other.

    Every combination of up to `depth` attributes with one level each is a slice, if at least `support` cases of the
    searched half are in it and as many outside. Those with a Benjamini-Hochberg adjusted p of `score_tests` of at most
    `level` are kept, less those that add a term to a kept slice without being less likely by chance; of these the
    `most` least likely. Each is then tested by `excess_tests` on the patients held out.

    Parameters
    ----------
    event
        (n,) bool.
    codes
        (n, attributes) level of each case, 0 or more.
    cluster
        (n,) patient of each case.
    half
        (n,) bool, the cases to search in; see `search_half`.

    Raises
    ------
    ValueError
        If shapes differ, or a code is negative.
    """
    y = np.asarray(event, dtype=bool)
    a = np.asarray(codes, dtype=np.int64)
    who, inside = np.asarray(cluster), np.asarray(half, dtype=bool)
    if a.ndim != 2 or not len(a) == len(y) == len(who) == len(inside) or (a.size and a.min() < 0):
        raise ValueError("event, codes, cluster and half have one row per case, and codes are not negative")
    slices: list[Terms] = []
    p_values: list[Floats] = []
    for terms, members in _candidates(a[inside], depth, support):
        slices += terms
        p_values.append(score_tests(y[inside], members, who[inside]))
    if not slices:
        return Search(found=(), n_searched=0)
    p = np.concatenate(p_values)
    adjusted = adjust_p(p, "bh")
    kept = _without_refinements(slices, p, np.flatnonzero(adjusted <= level))[:most]
    if not kept:
        return Search(found=(), n_searched=len(slices))
    out = ~inside
    members = np.array([in_slice(a[out], slices[i]) for i in kept])
    checked = excess_tests(y[out], members, who[out], permutations=permutations, seed=seed)
    found = tuple(
        Found(
            terms=slices[i],
            p_plain=float(p[i]),
            p_search=float(adjusted[i]),
            p_check=1.0 if np.isnan(q) else float(q),
            method=method,
        )
        for i, q, method in zip(kept, checked.p_value, checked.method, strict=True)
    )
    return Search(found=found, n_searched=len(slices))


def in_slice(codes: Ints, terms: Terms) -> Bools:
    """(n,) cases that have every level of a slice."""
    member = np.ones(len(codes), dtype=bool)
    for attribute, level in terms:
        member &= codes[:, attribute] == level
    return member


def _candidates(codes: Ints, depth: int, support: int) -> Iterator[tuple[list[Terms], Bools]]:
    """Slices of each combination of attributes that are large enough, with their members (k, n)."""
    n, width = codes.shape
    levels = codes.max(axis=0, initial=0) + 1
    for size in range(1, depth + 1):
        for chosen in itertools.combinations(range(width), size):
            code = np.zeros(n, dtype=np.int64)
            for attribute in chosen:
                code = code * levels[attribute] + codes[:, attribute]
            counts = np.bincount(code)
            large = np.flatnonzero((counts >= support) & (n - counts >= support))
            if large.size:
                yield [_terms(int(c), chosen, levels) for c in large], np.asarray(code == large[:, None])


def _terms(code: int, chosen: Sequence[int], levels: Ints) -> Terms:
    terms = []
    for attribute in reversed(chosen):
        code, level = divmod(code, int(levels[attribute]))
        terms.append((attribute, level))
    return tuple(reversed(terms))


def _without_refinements(slices: Sequence[Terms], p: Floats, chosen: NDArray[np.intp]) -> list[int]:
    """Indices by p, shorter slices first among equals, without those that only add a term to one kept before."""
    kept: list[int] = []
    for i in sorted(chosen.tolist(), key=lambda i: (p[i], len(slices[i]), slices[i])):
        if not any(set(slices[k]) < set(slices[i]) for k in kept):
            kept.append(i)
    return kept
