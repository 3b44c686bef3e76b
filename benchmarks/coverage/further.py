"""Intervals of less common figures: paired ratios, several at once, change, linearity, sampling weights, panels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import ndtr

from benchmarks.coverage import counts
from benchmarks.coverage.beyond import SEPARATION, mixture
from benchmarks.coverage.designs import Floats, alike, patients, risk_population, risks
from benchmarks.coverage.study import FEWER, Answer, Cell, Family, grid
from evalsuite.stats import change, linearity, multiplicity, truth_panel, weighting
from evalsuite.stats.differences import PairedCounts
from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.paired_ratio import paired_ratio
from evalsuite.stats.proportions import proportion
from evalsuite.stats.roc import auroc
from evalsuite.types import Estimate

REPLICATES = 500


def _more(cell: Cell) -> str:
    return ", several cases per patient" if cell.cases > 1 else ""


# --- Proportions ------------------------------------------------------------------------------------------------------


def _paired_ratio(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    both, first, second = cell.get("both"), cell.get("first only"), cell.get("second only")
    rows = rng.multinomial(cell.n, [both, first, second, 1.0 - both - first - second], studies)
    for row, times in counts.distinct_rows(rows):
        pairs = PairedCounts(both=row[0], first_only=row[1], second_only=row[2], neither=row[3])
        truth = (both + first) / (both + second)
        yield Answer("ratio, paired cases", "Tang, paired score", truth, paired_ratio(pairs), times)


def together(estimates: Sequence[Estimate], truths: Sequence[float]) -> Estimate:
    """An estimate whose interval holds 0 exactly where every one of these holds its truth: below it, or above."""
    n = estimates[0].n
    if any(e.low is None or e.high is None for e in estimates):
        return Estimate.not_estimable("one of them has no interval", n=n, method="several at once")
    low, high = -1.0, 1.0
    for e, t in zip(estimates, truths, strict=True):
        assert e.low is not None
        assert e.high is not None
        if t < e.low - 1e-12:
            low, high = 0.25, 1.0
        elif t > e.high + 1e-12:
            low, high = -1.0, -0.25
    return Estimate(value=(low + high) / 2.0, low=low, high=high, n=n, method="several at once")


def _at_once(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    """Sensitivity, specificity and AUROC of one study, all three to hold."""
    assert cell.prevalence is not None
    p = risk_population(cell.prevalence)
    tp, fn, fp, tn = p.called()
    truth = (tp / (tp + fn), tn / (tn + fp), p.auroc())
    for _ in range(studies):
        d = risks(rng, patients(rng, cell.n, 1), cell.prevalence)
        y, call = d.reference, d.score >= p.cut

        def estimates(level: float, y: Any = y, call: Any = call, score: Floats = d.score) -> list[Estimate]:
            return [
                proportion(int((call & y).sum()), int(y.sum()), level=level),
                proportion(int((~call & ~y).sum()), int((~y).sum()), level=level),
                auroc(y, score, method="newcombe", level=level),
            ]

        for name in ("bonferroni", "sidak"):
            level = multiplicity.simultaneous_level(0.95, 3, name)  # type: ignore[arg-type]
            title = "Bonferroni" if name == "bonferroni" else "Šidák"
            yield Answer("three endpoints at once", title, 0.0, together(estimates(level), truth))
        yield Answer("three endpoints at once", "Holm, lower bounds", 0.0, _holm(estimates, truth))


def _holm(estimates: Any, truth: tuple[float, float, float]) -> Estimate:
    """Lower bounds that go with Holm's test at a one-sided 5 %, the first endpoint's goal at its true value."""
    goals = [truth[0], truth[1] - 0.1, truth[2] - 0.05]
    # A hair below the levels themselves: rounding must not decide.
    grid_of_levels = {a * (1.0 - 1e-9): estimates(1.0 - 2.0 * a) for a in (0.05, 0.025, 0.05 / 3.0)}
    if any(e.low is None for made in grid_of_levels.values() for e in made):
        return Estimate.not_estimable("one of them has no interval", n=1, method="Holm")
    # A p-value on the grid that Holm's method looks at is enough to follow its decisions.
    p = [
        min((a for a, made in grid_of_levels.items() if made[i].low > goal), default=1.0)
        for i, goal in enumerate(goals)
    ]
    bounds = multiplicity.holm_lower_bounds(p, goals, lambda i, a: _bound(estimates, i, a), alpha=0.05)
    held = all(bound <= t + 1e-12 for (bound, _), t in zip(bounds, truth, strict=True))
    low = -1.0 if held else 0.25
    return Estimate(value=0.5, low=low, high=1.0, n=3, method="Holm")


def _bound(estimates: Any, i: int, alpha: float) -> float:
    return float(estimates(1.0 - 2.0 * alpha)[i].low)


# --- Measurements -----------------------------------------------------------------------------------------------------

Z = 1.959963984540054
LEVELS = np.array([5.0, 10.0, 20.0, 40.0, 80.0])
BEND = 0.002
"""Of the square of the size: what the device of the bent design adds."""


def linearity_truth(bent: bool, repeats: int) -> tuple[Floats, float]:
    """Deviation of the best cubic from the best line at each level, and the line's slope; the noise averages out."""
    x = np.repeat(LEVELS, repeats)
    y = x + (BEND * x**2 if bent else 0.0)
    slope, intercept = np.polyfit(x, y, 1)
    return LEVELS + (BEND * LEVELS**2 if bent else 0.0) - intercept - slope * LEVELS, float(slope)


def _linearity(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    """`n` measurements of each of five sizes, with an error of SD 1."""
    bent = cell.word("device") == "bent"
    deviations, slope = linearity_truth(bent, cell.n)
    x = np.repeat(LEVELS, cell.n)
    for _ in range(studies):
        made = linearity.linearity(x + (BEND * x**2 if bent else 0.0) + rng.normal(size=x.size), x)
        yield Answer(
            "deviation from linearity, all levels", "t, Bonferroni", 0.0, together(made.deviations, deviations)
        )
        yield Answer(
            "deviation from linearity, largest", "t, Bonferroni", float(np.abs(deviations).max()), made.largest
        )
        yield Answer("slope of the line", "Student t", slope, made.slope)


def _change(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    """Two visits: sizes change by a log-normal factor and each method errs by 5 % of the size; or, with absolute
    change, by a normal amount and each method errs with SD 1.5 whatever the size."""
    relative = not cell.setting
    truth = _change_truth() if relative else {"lower": -Z * 3.0, "upper": Z * 3.0}
    name = "MOVER" if cell.cases > 1 else "exact"
    for _ in range(studies):
        patient = patients(rng, cell.n, cell.cases)
        seen = (_visits if relative else _plain_visits)(rng, alike(rng, patient), alike(rng, patient))
        bland = change.change_agreement(*seen, relative=relative, patient=patient)
        for quantity, e in (("lower", bland.lower_limit), ("upper", bland.upper_limit)):
            title = f"{quantity} limit of agreement of change{_more(cell)}"
            yield Answer(title, name, truth[quantity], e)
        if not relative:
            continue
        device, reference = (change.response_category(seen[i], seen[i + 1]) for i in (0, 2))
        found = change.response_agreement(device, reference, 3, patient=patient)
        exact = "Clopper-Pearson, effective n" if cell.cases > 1 else "Clopper-Pearson"
        yield Answer("agreement on response" + _more(cell), exact, truth["agreement"], found.agreement)
        if cell.cases == 1:
            yield Answer("kappa of response, linear", "Fleiss-Cohen-Everitt", truth["kappa"], found.kappa)


def _plain_visits(rng: np.random.Generator, size: Floats, growth: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    before = 30.0 + 6.0 * size
    error = 1.5 * rng.normal(size=(4, size.size))
    return before + error[0], before + 5.0 * growth + error[1], before + error[2], before + 5.0 * growth + error[3]


def _visits(rng: np.random.Generator, size: Floats, growth: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    before = 30.0 * np.exp(0.3 * size)
    after = before * np.exp(-0.05 + 0.3 * growth)
    error = 1.0 + 0.05 * rng.normal(size=(4, size.size))
    return before * error[0], after * error[1], before * error[2], after * error[3]


@lru_cache(maxsize=1)
def _change_truth() -> dict[str, float]:
    """From 4 · 10⁶ pairs of visits, by plain numpy and scikit-learn."""
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(20260105)
    n = 4_000_000
    v = _visits(rng, rng.normal(size=n), rng.normal(size=n))
    device, reference = v[1] / v[0] - 1.0, v[3] / v[2] - 1.0
    d = device - reference
    grades = [np.where(c <= -0.3, 0, np.where(c >= 0.2, 2, 1)) for c in (device, reference)]
    return {
        "lower": float(d.mean() - Z * d.std()),
        "upper": float(d.mean() + Z * d.std()),
        "agreement": float((grades[0] == grades[1]).mean()),
        "kappa": float(cohen_kappa_score(*grades, weights="linear")),
    }


# --- Other populations and panels -------------------------------------------------------------------------------------


def _weighted_bootstrap(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    """The design of the linearised weighted figures: half of the patients are hard ones, a fifth of the population."""
    truth = mixture()[1]
    for _ in range(studies):
        patient = patients(rng, cell.n, cell.cases)
        hard = (np.arange(cell.n) < cell.n // 2)[patient]
        reference = (rng.random(cell.n) < np.where(np.arange(cell.n) < cell.n // 2, 0.5, 0.1))[patient]
        score = alike(rng, patient) + SEPARATION * reference * np.where(hard, 0.5, 1.0)
        draw = PatientDraw(patient, REPLICATES, int(rng.integers(2**31)), stratify=hard)
        for method in ("percentile", "basic"):
            e = weighting.weighted_auroc_bootstrap(
                draw,
                reference,
                score,
                np.where(hard, 0.4, 1.6),
                method=method,  # type: ignore[arg-type]
            )
            yield Answer("AUROC with sampling weights" + _more(cell), f"bootstrap, {method}", truth, e)


READERS = 5


def readings(rng: np.random.Generator, disease: np.ndarray) -> np.ndarray:
    """Votes `(n, READERS)`: readers differ in the threshold they set on what they see."""
    threshold = 1.0 + 0.5 * rng.normal(size=READERS)
    return np.asarray(
        (2.0 * disease[:, None] + rng.normal(size=(disease.size, READERS)) > threshold).astype(np.float64)
    )


@lru_cache(maxsize=2)
def panel_truth(prevalence: float) -> dict[str, float]:
    """Mean over 200,000 panels of the device's sensitivity and specificity against each, in endless cases."""
    rng = np.random.default_rng(20260106)
    threshold = 1.0 + 0.5 * rng.normal(size=(200_000, READERS))
    mass, called = {1: prevalence, 0: 1.0 - prevalence}, {d: float(ndtr((d - 0.5) / 0.7)) for d in (0, 1)}
    majority = {}
    for d in (0, 1):
        # Chance of 0 … READERS positive votes, a reader at a time.
        votes = np.zeros((threshold.shape[0], READERS + 1))
        votes[:, 0] = 1.0
        for p in ndtr(2.0 * d - threshold).T:
            votes[:, 1:] = votes[:, 1:] * (1.0 - p[:, None]) + votes[:, :-1] * p[:, None]
            votes[:, 0] *= 1.0 - p
        majority[d] = votes[:, READERS // 2 + 1 :].sum(axis=1)
    positive = sum(mass[d] * majority[d] for d in (0, 1))
    hit = sum(mass[d] * majority[d] * called[d] for d in (0, 1))
    right = sum(mass[d] * (1.0 - majority[d]) * (1.0 - called[d]) for d in (0, 1))
    return {"sensitivity": float(np.mean(hit / positive)), "specificity": float(np.mean(right / (1.0 - positive)))}


def _panel(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    """Sensitivity and specificity against the majority of five readers, for other panels and other patients."""
    assert cell.prevalence is not None
    truth = panel_truth(cell.prevalence)
    for _ in range(studies):
        disease = rng.random(cell.n) < cell.prevalence
        call = disease + 0.7 * rng.normal(size=cell.n) > 0.5
        votes = readings(rng, disease)
        for name, statistic in (
            ("sensitivity", truth_panel.sensitivity_to(call)),
            ("specificity", truth_panel.specificity_to(call)),
        ):
            made = truth_panel.truth_panel(
                votes,
                statistic,
                replicates=int(cell.get("resamples")),
                seed=int(rng.integers(2**31)),
                bounds=(0.0, 1.0),
            )
            quantity = f"{name} against another panel"
            yield Answer(quantity, "readers and patients resampled", truth[name], made.estimate)
            yield Answer(quantity, "patients resampled, panel as it is", truth[name], made.cases_only)


_RESAMPLES = ((("resamples", 200),),)

FAMILIES = (
    Family(
        name="paired ratio",
        page="proportions",
        simulate=_paired_ratio,
        cells=grid(
            "paired ratio",
            n=(30, 100, 400, 2000),
            settings=tuple(
                (("both", b), ("first only", f), ("second only", s))
                for b, f, s in ((0.7, 0.15, 0.05), (0.85, 0.05, 0.05), (0.1, 0.05, 0.02), (0.3, 0.2, 0.2))
            ),
            piece=5_000,
        ),
    ),
    Family(
        name="at once",
        page="proportions",
        simulate=_at_once,
        cells=grid("at once", n=(100, 400), prevalence=(0.1, 0.5), piece=1_000),
        stage=1,
        first=2,
    ),
    Family(
        name="linearity",
        page="measurement",
        simulate=_linearity,
        cells=grid("linearity", n=(3, 10), settings=tuple((("device", d),) for d in ("straight", "bent"))),
        stage=1,
        first=2,
    ),
    Family(
        name="change",
        page="measurement",
        simulate=_change,
        cells=grid("change", n=(30, 100, 400))
        + grid("change", n=(30, 100), cases=(4,))
        + grid("change", n=(30, 100), cases=(1, 4), settings=((("change", "absolute"),),)),
        stage=1,
        first=2,
    ),
    Family(
        name="weighted bootstrap",
        page="generalisation",
        simulate=_weighted_bootstrap,
        cells=grid("weighted bootstrap", n=(30, 100), piece=250)
        + grid("weighted bootstrap", n=(100,), cases=(4,), piece=250),
        stage=4,
        first=2,
    ),
    Family(
        name="panel",
        page="generalisation",
        simulate=_panel,
        cells=grid("panel", n=(100,), prevalence=(0.3,), settings=_RESAMPLES, piece=50)
        + grid("panel", n=(400,), prevalence=(0.3,), settings=_RESAMPLES, studies=FEWER, piece=50),
        stage=4,
        first=4,
    ),
)
