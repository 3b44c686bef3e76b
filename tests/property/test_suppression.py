"""A public copy is attacked with everything it prints: no small group shows, and none can be worked out."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from evalsuite.protocol.schema import StudyProtocol
from evalsuite.spine.suppression import publishable
from evalsuite.spine.views import public_evidence
from evalsuite.types import Account, Estimate, Evidence, Finding

BELOW = 10
CLASSES = ("positive", "negative")
PROTOCOL = StudyProtocol.model_validate(
    {
        "schema": "evalsuite/protocol/1",
        "id": "small",
        "version": "1.0.0",
        "title": "t",
        "kind": "standalone",
        "intended_use": {},
        "task": {"kind": "binary", "reference": "truth", "score": "p"},
        "unit": {},
        "operating_points": [{"name": "primary", "threshold": 0.5}],
        "endpoints": [
            {"name": "s", "metric": "sensitivity", "at": "primary", "role": "primary",
             "criterion": {"bound": "lower", "op": ">", "value": 0.5}},
        ],
        "strata": [
            {"name": "a", "column": "a"}, {"name": "b", "column": "b"},
            {"name": "a in two", "column": "a", "bins": [1]},
            {"name": "a and b", "cross": ["a", "b"]},
        ],
        "small_strata": {"suppress_below": BELOW},
        "seed": 1,
    }
)  # fmt: skip
Cells = dict[tuple[int, int], tuple[int, int]]


def _groups(cells: Cells) -> list[tuple[dict[str, str], frozenset[tuple[int, int]]]]:
    """Every group of the study, and the cells of a × b that it consists of."""
    n_a, n_b = (max(key[i] for key in cells) + 1 for i in (0, 1))
    made: list[tuple[dict[str, str], frozenset[tuple[int, int]]]] = [({}, frozenset(cells))]
    made += [({"a": str(a)}, frozenset((a, b) for b in range(n_b))) for a in range(n_a)]
    made += [({"b": str(b)}, frozenset((a, b) for a in range(n_a))) for b in range(n_b)]
    for name, chosen in (("<1", (0,)), (">=1", range(1, n_a))):
        made.append(({"a in two": name}, frozenset(product(chosen, range(n_b)))))
    return [*made, *(({"a": str(a), "b": str(b)}, frozenset({(a, b)})) for a, b in cells)]


def _evidence(cells: Cells) -> Evidence:
    findings, accounting = [], []
    for stratum, inside in _groups(cells):
        positive, negative = (sum(cells[c][k] for c in inside) for k in (0, 1))
        for reference, n in zip(CLASSES, (positive, negative), strict=True):
            accounting.append(Account(status="ok", reference=reference, stratum=stratum, n=n, n_patients=n))
        counts = {"n_positive": positive, "n_negative": negative}
        estimate = (
            Estimate.not_estimable("too few", n=positive, **counts)
            if positive < BELOW
            else Estimate(value=1.0, low=0.5, high=1.0, method="x", n=positive, numerator=positive,
                          denominator=positive, **counts)
        )  # fmt: skip
        findings.append(
            Finding(analysis="performance", endpoint="s", metric="sensitivity", role="primary", target=None,
                    operating_point="primary", stratum=stratum, estimate=estimate)
        )  # fmt: skip
    return Evidence(
        protocol={}, testset={}, model={}, predictions={}, software={}, findings=tuple(findings), curves=(),
        accounting=tuple(accounting), tests=(), notes=("a=0 has 3 cases",),
    )  # fmt: skip


def _published(evidence: Evidence) -> dict[frozenset[tuple[str, str]], tuple[int, int]]:
    """All counts somebody can read in the copy, by group."""
    found = {}
    for f in evidence.findings:
        e = f.estimate
        assert e.n_positive is not None
        assert e.n_negative is not None
        found[frozenset(f.stratum.items())] = (e.n_positive, e.n_negative)
    for a in evidence.accounting:
        assert not a.stratum
    assert not evidence.tests
    assert "3 cases" not in " ".join(evidence.notes)
    return found


def _most(rows: list[np.ndarray], right: list[int], wanted: np.ndarray) -> float:
    """The largest count a group could have, given everything that is printed."""
    solved = linprog(-wanted, A_eq=np.array(rows), b_eq=np.array(right), bounds=(0, None), method="highs")
    assert solved.status == 0
    return float(-solved.fun)


@st.composite
def tables(draw: st.DrawFn) -> Cells:
    n_a, n_b = draw(st.integers(2, 4)), draw(st.integers(2, 3))
    count = st.one_of(st.integers(0, 6), st.integers(8, 60))
    return {(a, b): (draw(count), draw(count)) for a in range(n_a) for b in range(n_b)}


@settings(max_examples=60, deadline=None)
@given(tables())
def test_nothing_small_is_shown_and_nothing_small_follows(cells: Cells) -> None:
    whole = _evidence(cells)
    shown = _published(public_evidence(PROTOCOL, whole, publishable(PROTOCOL, whole, BELOW)))
    order = sorted(cells)
    groups = _groups(cells)
    for stratum, _ in groups:
        if stratum and frozenset(stratum.items()) in shown:
            assert min(shown[frozenset(stratum.items())]) >= BELOW
    for kind in (0, 1):
        rows, right = [], []
        for stratum, inside in groups:
            if (counts := shown.get(frozenset(stratum.items()))) is not None:
                rows.append(np.array([c in inside for c in order], dtype=float))
                right.append(counts[kind])
        total = right[0]
        for stratum, inside in groups:
            true = sum(cells[c][kind] for c in inside)
            if not stratum or true >= BELOW or frozenset(stratum.items()) in shown:
                continue
            most = _most(rows, right, np.array([c in inside for c in order], dtype=float))
            assert most >= min(BELOW, total) - 1e-6, f"{stratum} follows from what is shown"


def test_one_small_group_takes_the_next_smallest_with_it() -> None:
    cells = {(a, b): (n, 50) for a, n in enumerate((3, 40, 20, 60)) for b in range(2)}
    whole = _evidence(cells)
    found = publishable(PROTOCOL, whole, BELOW)
    assert found.shown["a",] == {("1",), ("3",)}
    assert found.withheld["a",] == 2
    assert found.withheld["a", "b"] == 8, "a cross of it would add up to it"
    assert found.shown["b",] == {("0",), ("1",)}
    assert found.shows({})
    assert not found.shows({"a": "0"})
    assert not found.shows({"unknown": "x"})


@pytest.mark.parametrize("small", [0, 1, 9])
def test_the_other_of_two_groups_is_withheld_too(small: int) -> None:
    whole = _evidence(
        {(a, b): (small if a == 0 and b == 0 else 0 if a == 0 else 50, 50) for a in (0, 1) for b in (0, 1)}
    )
    assert publishable(PROTOCOL, whole, BELOW).shown["a",] == frozenset()


def test_everything_large_is_shown() -> None:
    whole = _evidence({(a, b): (30, 30) for a in range(3) for b in range(2)})
    found = publishable(PROTOCOL, whole, BELOW)
    assert not found.withheld
    assert len(public_evidence(PROTOCOL, whole, found).findings) == len(whole.findings)
