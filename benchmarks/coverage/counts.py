"""Intervals made from counts alone: proportions, differences, ratios, two-by-two tables; and their clustered kin."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import get_args

import numpy as np
import numpy.typing as npt

from benchmarks.coverage.designs import patients
from benchmarks.coverage.study import Answer, Cell, Family, grid
from evalsuite.stats import contingency, differences, predictive
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.clustered_tests import clustered_paired_difference
from evalsuite.stats.proportions import METHOD_NAMES, ProportionMethod, proportion

METHODS: tuple[ProportionMethod, ...] = get_args(ProportionMethod)
SIZES = (30, 100, 400, 2000)
PREVALENCES = (0.02, 0.1, 0.5)
CLOSED = "closed form"


def distinct_rows(counts: npt.NDArray[np.int64]) -> Iterator[tuple[tuple[int, ...], int]]:
    """Rows of `counts (studies, k)` that came out alike, and how often: each is computed once."""
    rows, times = np.unique(counts, axis=0, return_counts=True)
    for row, often in zip(rows.tolist(), times.tolist(), strict=True):
        yield tuple(row), often


def _proportion(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    p = cell.get("p")
    for (x,), times in distinct_rows(rng.binomial(cell.n, p, (studies, 1))):
        for method in METHODS:
            yield Answer("proportion", METHOD_NAMES[method], p, proportion(x, cell.n, method=method), times)


def _sensitivity(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    """Sensitivity of a study that draws patients, so that the number of positives is not fixed."""
    assert cell.prevalence is not None
    p = cell.get("sensitivity")
    positives = rng.binomial(cell.n, cell.prevalence, studies)
    found = rng.binomial(positives, p)
    for (m, x), times in distinct_rows(np.stack([positives, found], axis=1)):
        for method in METHODS:
            yield Answer("sensitivity", METHOD_NAMES[method], p, proportion(x, m, method=method), times)


def shared_chance(rng: np.random.Generator, p: float, patients_: int, correlation: float) -> npt.NDArray[np.float64]:
    """Each patient's own chance of success, Beta with mean `p`, so that two cases correlate by `correlation`."""
    total = 1.0 / correlation - 1.0
    return rng.beta(p * total, (1.0 - p) * total, patients_)


def _clustered(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    p = cell.get("p")
    for _ in range(studies):
        patient = patients(rng, cell.n, cell.cases)
        success = rng.random(patient.size) < shared_chance(rng, p, cell.n, cell.get("correlation"))[patient]
        for method in METHODS:
            e = clustered_proportion(success, patient, method=method)
            yield Answer("proportion, several cases per patient", f"{METHOD_NAMES[method]}, effective n", p, e)


def _independent(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    p1, p2 = cell.get("p1"), cell.get("p2")
    n1 = round(cell.n * cell.get("share"))
    n2 = cell.n - n1
    counts = np.stack([rng.binomial(n1, p1, studies), rng.binomial(n2, p2, studies)], axis=1)
    for (x1, x2), times in distinct_rows(counts):
        for method, title in (("newcombe", "Newcombe"), ("miettinen-nurminen", "Miettinen-Nurminen"), ("mee", "Mee")):
            e = differences.difference(x1, n1, x2, n2, method=method)  # type: ignore[arg-type]
            yield Answer("difference, independent groups", title, p1 - p2, e, times)
        made = [proportion(x, n) for x, n in ((x1, n1), (x2, n2))]
        e = differences.mover_difference(made[0], made[1])
        yield Answer("difference, independent groups", "square-and-add of Clopper-Pearson", p1 - p2, e, times)
        for ratio, title in (("koopman", "Koopman"), ("katz", "Katz")):
            e = differences.ratio(x1, n1, x2, n2, method=ratio)  # type: ignore[arg-type]
            yield Answer("ratio, independent groups", title, p1 / p2, e, times)


def _gap(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    """Difference between two groups of patients who have several cases each."""
    p = (cell.get("p1"), cell.get("p2"))
    for _ in range(studies):
        groups = []
        for chance in p:
            patient = patients(rng, cell.n // 2, cell.cases)
            own = shared_chance(rng, chance, cell.n // 2, cell.get("correlation"))
            groups.append((rng.random(patient.size) < own[patient], patient))
        for method in ("clopper-pearson", "wilson"):
            made = [clustered_proportion(s, k, method=method) for s, k in groups]  # type: ignore[arg-type]
            yield Answer(
                "difference, independent groups of several cases per patient",
                f"square-and-add of {METHOD_NAMES[method]}, effective n",
                p[0] - p[1],
                differences.mover_difference(made[0], made[1]),
            )


def _paired(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    first, second = cell.get("first only"), cell.get("second only")
    rest = 1.0 - first - second
    counts = rng.multinomial(cell.n, [rest * 0.9, first, second, rest * 0.1], studies)
    for row, times in distinct_rows(counts):
        pairs = differences.PairedCounts(both=row[0], first_only=row[1], second_only=row[2], neither=row[3])
        for method, title in (("tango", "Tango"), ("newcombe", "Newcombe, paired")):
            e = differences.paired_difference(pairs, method=method)  # type: ignore[arg-type]
            yield Answer("difference, paired cases", title, first - second, e, times)


def _paired_clustered(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    p1, p2 = cell.get("p1"), cell.get("p2")
    for _ in range(studies):
        patient = patients(rng, cell.n, cell.cases)
        # Both devices see the same easy and difficult patients: the same rank in each one's distribution of chances.
        correlation = cell.get("correlation")
        one = shared_chance(rng, p1, cell.n, correlation)
        two = np.where(rng.random(cell.n) < 0.5, np.clip(one - p1 + p2, 0.0, 1.0), one)
        yield Answer(
            "difference, paired cases, several per patient",
            "Tango, effective n",
            cell.get("truth"),
            clustered_paired_difference(
                rng.random(patient.size) < one[patient], rng.random(patient.size) < two[patient], patient
            ),
        )


def _clipped_difference(p1: float, p2: float, correlation: float) -> float:
    """True difference of `_paired_clustered`, by integration over the Beta distribution of chances."""
    from scipy.stats import beta

    total = 1.0 / correlation - 1.0
    u = (np.arange(200_000) + 0.5) / 200_000
    one = beta.ppf(u, p1 * total, (1.0 - p1) * total)
    return float((one - np.clip(one - p1 + p2, 0.0, 1.0)).mean() / 2.0)


DECLARED = 0.05
"""Prevalence that predictive values are stated for, in the clinic: not the study's."""


def _table(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    assert cell.prevalence is not None
    pi, se, sp = cell.prevalence, cell.get("sensitivity"), cell.get("specificity")
    cells = [pi * se, pi * (1.0 - se), (1.0 - pi) * (1.0 - sp), (1.0 - pi) * sp]
    for (tp, fn, fp, tn), times in distinct_rows(rng.multinomial(cell.n, cells, studies)):
        for quantity, method, truth, e in _of_table(tp, fn, fp, tn, pi, se, sp):
            yield Answer(quantity, method, truth, e, times)


def _of_table(tp: int, fn: int, fp: int, tn: int, pi: float, se: float, sp: float) -> Iterator[tuple]:
    called = pi * se + (1.0 - pi) * (1.0 - sp)
    shares = {
        "PPV in the sample": (tp, tp + fp, pi * se / called),
        "NPV in the sample": (tn, tn + fn, (1.0 - pi) * sp / (1.0 - called)),
        "accuracy": (tp + tn, tp + fn + fp + tn, pi * se + (1.0 - pi) * sp),
    }
    for name, (x, n, truth) in shares.items():
        for method in ("clopper-pearson", "wilson"):
            yield name, METHOD_NAMES[method], truth, proportion(x, n, method=method)  # type: ignore[arg-type]
    true, false = DECLARED * se, (1.0 - DECLARED) * (1.0 - sp)
    counts = {"true_positive": tp, "n_positive": tp + fn, "true_negative": tn, "n_negative": fp + tn}
    e = predictive.predictive_value("ppv", prevalence=DECLARED, **counts)  # type: ignore[arg-type]
    yield "PPV at a declared prevalence", "logit (Mercaldo)", true / (true + false), e
    true, false = (1.0 - DECLARED) * sp, DECLARED * (1.0 - se)
    e = predictive.predictive_value("npv", prevalence=DECLARED, **counts)  # type: ignore[arg-type]
    yield "NPV at a declared prevalence", "logit (Mercaldo)", true / (true + false), e
    for method, title in (("log", "log (Simel)"), ("koopman", "Koopman")):
        for kind, name, truth in (
            ("positive", "likelihood ratio of a positive result", se / (1.0 - sp)),
            ("negative", "likelihood ratio of a negative result", (1.0 - se) / sp),
        ):
            e = predictive.likelihood_ratio(kind, tp=tp, fn=fn, tn=tn, fp=fp, method=method)  # type: ignore[arg-type]
            yield name, title, truth, e
    truth = 2.0 * pi * se / (pi + called)
    for method in ("wilson", "clopper-pearson"):
        e = contingency.f1(tp, fn, fp, tn, method=method)  # type: ignore[arg-type]
        yield "F1", f"{METHOD_NAMES[method]}, indirect", truth, e
    by_chance = pi * called + (1.0 - pi) * (1.0 - called)
    kappa = (pi * se + (1.0 - pi) * sp - by_chance) / (1.0 - by_chance)
    yield "kappa", "Fleiss-Cohen-Everitt", kappa, contingency.cohen_kappa(tp, fn, fp, tn)
    mcc = (se + sp - 1.0) * math.sqrt(pi * (1.0 - pi) / (called * (1.0 - called)))
    yield "MCC", "Fisher z, delta method", mcc, contingency.mcc(tp, fn, fp, tn)
    for method, title in (("newcombe", "Newcombe hybrid"), ("rectangle", "rectangle of exact limits")):
        e = contingency.youden(tp, fn, fp, tn, method=method)  # type: ignore[arg-type]
        yield "Youden index", title, se + sp - 1.0, e
        e = contingency.balanced_accuracy(tp, fn, fp, tn, method=method)  # type: ignore[arg-type]
        yield "balanced accuracy", title, (se + sp) / 2.0, e
        e = contingency.number_needed_to_diagnose(tp, fn, fp, tn, method=method)  # type: ignore[arg-type]
        yield "number needed to diagnose", title, 1.0 / (se + sp - 1.0), e
    odds = se * sp / ((1.0 - se) * (1.0 - sp))
    yield "diagnostic odds ratio", "log (Woolf)", odds, contingency.diagnostic_odds_ratio(tp, fn, fp, tn)


PAGE = "proportions"
_P = tuple((("p", p),) for p in PREVALENCES)
_ICC = tuple((("p", p), ("correlation", 0.3)) for p in PREVALENCES)
_TWO = (
    (("p1", 0.02), ("p2", 0.02), ("share", 0.5)),
    (("p1", 0.1), ("p2", 0.05), ("share", 0.5)),
    (("p1", 0.5), ("p2", 0.4), ("share", 0.5)),
    (("p1", 0.1), ("p2", 0.1), ("share", 0.2)),
)
_PAIRS = tuple(
    (("first only", a), ("second only", b)) for a, b in ((0.02, 0.02), (0.05, 0.02), (0.1, 0.1), (0.25, 0.15))
)


def _clustered_pairs() -> tuple[tuple[tuple[str, float | str], ...], ...]:
    return tuple(
        (("p1", a), ("p2", b), ("correlation", 0.3), ("truth", round(_clipped_difference(a, b, 0.3), 6)))
        for a, b in ((0.9, 0.8), (0.5, 0.5))
    )


FAMILIES = (
    Family(
        name="proportion",
        page=PAGE,
        simulate=_proportion,
        cells=grid("proportion", n=SIZES, settings=_P, studies=100_000, piece=100_000),
    ),
    Family(
        name="sensitivity",
        page=PAGE,
        simulate=_sensitivity,
        cells=grid(
            "sensitivity",
            n=SIZES,
            prevalence=PREVALENCES,
            settings=((("sensitivity", 0.9),), (("sensitivity", 0.98),)),
            studies=100_000,
            piece=100_000,
        ),
    ),
    Family(
        name="difference",
        page=PAGE,
        simulate=_independent,
        cells=grid("difference", n=SIZES, settings=_TWO, studies=20_000, piece=20_000),
    ),
    Family(
        name="paired",
        page=PAGE,
        simulate=_paired,
        cells=grid("paired", n=SIZES, settings=_PAIRS, studies=20_000, piece=20_000),
    ),
    Family(
        name="table",
        page="tables",
        simulate=_table,
        cells=grid(
            "table",
            n=SIZES,
            prevalence=PREVALENCES,
            settings=(
                (("sensitivity", 0.9), ("specificity", 0.8)),
                (("sensitivity", 0.98), ("specificity", 0.98)),
            ),
            piece=10_000,
        ),
    ),
    Family(
        name="clustered",
        page=PAGE,
        simulate=_clustered,
        cells=grid("clustered", n=SIZES, cases=(4, 8), settings=_ICC, keep=lambda c: c.n < 2000 or c.cases == 4),
        stage=1,
        first=4,
    ),
    Family(
        name="gap",
        page=PAGE,
        simulate=_gap,
        cells=grid(
            "gap",
            n=(30, 100, 400),
            cases=(4, 8),
            settings=(
                (("p1", 0.1), ("p2", 0.1), ("correlation", 0.3)),
                (("p1", 0.5), ("p2", 0.3), ("correlation", 0.3)),
            ),
        ),
        stage=1,
        first=4,
    ),
    Family(
        name="paired clustered",
        page=PAGE,
        simulate=_paired_clustered,
        cells=grid("paired clustered", n=(30, 100, 400), cases=(4, 8), settings=_clustered_pairs()),
        stage=1,
        first=4,
    ),
)
