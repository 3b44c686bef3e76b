"""Intervals for other populations: new sites, sampling weights, partial verification, variance components."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import expit, logit, ndtr

from benchmarks.coverage.designs import alike, patients
from benchmarks.coverage.study import Answer, Cell, Family, grid
from evalsuite.stats import variance_components, weighting
from evalsuite.stats.generalisation import PooledInterval, proportion_effects, site_heterogeneity
from evalsuite.stats.verification_bias import begg_greenes

PAGE = "generalisation"
SHARE = 0.85
INTERVALS: dict[PooledInterval, str] = {
    "hartung-knapp-modified": "Hartung-Knapp, modified",
    "hartung-knapp": "Hartung-Knapp",
    "wald": "Wald",
}


def _sites(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    """A proportion at sites whose log-odds are normal; `n` patients at each site, one case each."""
    k, tau = int(cell.get("sites")), cell.get("tau")
    centre = float(logit(SHARE))
    for _ in range(studies):
        chance = expit(centre + tau * rng.normal(size=k))
        site = np.repeat(np.arange(k), cell.n)
        effects = proportion_effects(rng.random(site.size) < chance[site], site)
        new = float(expit(centre + tau * rng.normal()))
        for interval, title in INTERVALS.items():
            made = site_heterogeneity(effects, interval=interval)
            yield Answer("average over sites", title, SHARE, made.average)
            if interval == "hartung-knapp-modified":
                # The truth is another site's share in every study: a prediction interval holds new values.
                yield Answer("share at a new site", "prediction interval", new, made.prediction)
                yield Answer("SD between sites", "Q-profile", tau, made.tau)


SEPARATION = 1.5


@lru_cache(maxsize=1)
def mixture() -> tuple[float, float, float]:
    """Sensitivity, AUROC and Brier score of the population of `_weighted`, by integration."""
    x = np.linspace(-9.0, 12.0, 200_001)
    step = x[1] - x[0]

    def density(mean: float) -> np.ndarray:
        return np.exp(-((x - mean) ** 2) / 2.0) / math.sqrt(2.0 * math.pi) * step

    # A fifth of the patients are hard: prevalence .5 and a smaller shift; the others .1.
    positive = 0.2 * 0.5 * density(SEPARATION / 2.0) + 0.8 * 0.1 * density(SEPARATION)
    negative = (0.2 * 0.5 + 0.8 * 0.9) * density(0.0)
    p = expit(x - 1.0)
    under = np.cumsum(negative) - negative / 2.0
    return (
        float(positive[x >= 0.5].sum() / positive.sum()),
        float((positive * under).sum() / (positive.sum() * negative.sum())),
        float((positive * (1.0 - p) ** 2 + negative * p**2).sum()),
    )


def _weighted(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    """Half of the study's patients are hard ones, which are a fifth of the population."""
    sensitivity, auroc, brier = mixture()
    for _ in range(studies):
        patient = patients(rng, cell.n, cell.cases)
        hard = (np.arange(cell.n) < cell.n // 2)[patient]
        reference = (rng.random(cell.n) < np.where(np.arange(cell.n) < cell.n // 2, 0.5, 0.1))[patient]
        score = alike(rng, patient) + SEPARATION * reference * np.where(hard, 0.5, 1.0)
        weight = np.where(hard, 0.4, 1.6)
        common: dict[str, Any] = {"patient": patient, "stratum": hard}
        call = score >= 0.5
        for method, title in (("clopper-pearson", "Clopper-Pearson"), ("wilson", "Wilson")):
            e = weighting.weighted_proportion(call, weight, among=reference, method=method, **common)
            yield Answer("weighted sensitivity", f"{title}, effective n", sensitivity, e)
        e = weighting.weighted_auroc(reference, score, weight, **common)
        yield Answer("weighted AUROC", "logit, linearised", auroc, e)
        e = weighting.weighted_brier(reference, expit(score - 1.0), weight, **common)
        yield Answer("weighted Brier score", "Student t, linearised", brier, e)


def _at_prevalence(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    """Accuracy and Brier score at a declared prevalence of .05, from a set of prevalence `prevalence`."""
    assert cell.prevalence is not None
    pi = 0.05
    x = np.linspace(-9.0, 12.0, 200_001)
    step = x[1] - x[0]
    root = math.sqrt(2.0 * math.pi)
    positive, negative = (np.exp(-((x - m) ** 2) / 2.0) / root * step for m in (SEPARATION, 0.0))
    p = expit(x - 1.0)
    brier = float((pi * positive * (1.0 - p) ** 2 + (1.0 - pi) * negative * p**2).sum())
    right = pi * float(ndtr(SEPARATION - 1.0)) + (1.0 - pi) * float(ndtr(1.0))
    for _ in range(studies):
        patient = patients(rng, cell.n, cell.cases)
        y = (rng.random(cell.n) < cell.prevalence)[patient]
        score = alike(rng, patient) + SEPARATION * y
        e = weighting.mean_at_prevalence((score >= 1.0) == y, y, pi, patient=patient)
        yield Answer("accuracy at a declared prevalence", "square-and-add", right, e)
        e = weighting.mean_at_prevalence((expit(score - 1.0) - y) ** 2, y, pi, patient=patient)
        yield Answer("Brier score at a declared prevalence", "square-and-add", brier, e)


def _verified(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    """Nine in ten positive calls are verified, three in ten negative ones."""
    assert cell.prevalence is not None
    se, sp = 0.85, 0.9
    for _ in range(studies):
        disease = rng.random(cell.n) < cell.prevalence
        call = rng.random(cell.n) < np.where(disease, se, 1.0 - sp)
        verified = rng.random(cell.n) < np.where(call, 0.9, 0.3)
        made = begg_greenes(call, verified, disease)
        yield Answer("sensitivity, partial verification", "Begg-Greenes, logit", se, made.sensitivity)
        yield Answer("specificity, partial verification", "Begg-Greenes, logit", sp, made.specificity)


def _gauge(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    """Every operator measures every patient twice: standard deviations 5 (patients), 2 (operators), 1 (error)."""
    operators = int(cell.get("operators"))
    patient = np.repeat(np.arange(cell.n), operators * 2)
    operator = np.tile(np.repeat(np.arange(operators), 2), cell.n)
    for _ in range(studies):
        y = (
            5.0 * rng.normal(size=cell.n)[patient]
            + 2.0 * rng.normal(size=operators)[operator]
            + rng.normal(size=patient.size)
        )
        made = variance_components.gauge_study(y, patient, operator)
        name = "analysis of variance, modified large-sample"
        yield Answer("SD between patients", name, 5.0, made.patient)
        yield Answer("SD between operators", name, 2.0, made.operator)
        yield Answer("SD of repetition", "chi-square", 1.0, made.repeatability)
        yield Answer("SD in all", name, math.sqrt(5.0), replace(made.total))


def _one_way(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    """Patients with 1 to `cases` measurements: standard deviations 2 between and 1 within."""
    for _ in range(studies):
        patient = patients(rng, cell.n, cell.cases)
        y = 2.0 * rng.normal(size=cell.n)[patient] + rng.normal(size=patient.size)
        between, within = variance_components.one_way(y, patient)
        yield Answer("SD between groups", "analysis of variance, modified large-sample", 2.0, between)
        yield Answer("SD within groups", "chi-square", 1.0, within)


def _reml(cell: Cell, rng: np.random.Generator, studies: int) -> Iterator[Answer]:
    """The design of `_gauge`, one measurement each, by restricted maximum likelihood."""
    operators = int(cell.get("operators"))
    patient = np.repeat(np.arange(cell.n), operators)
    operator = np.tile(np.arange(operators), cell.n)
    for _ in range(studies):
        y = (
            5.0 * rng.normal(size=cell.n)[patient]
            + 2.0 * rng.normal(size=operators)[operator]
            + rng.normal(size=patient.size)
        )
        made = variance_components.variance_components(y, {"patient": patient, "operator": operator})
        for source, truth, title in (
            ("patient", 5.0, "SD between patients"),
            ("operator", 2.0, "SD between operators"),
            ("residual", 1.0, "SD of repetition"),
        ):
            yield Answer(title, "REML, profile likelihood", truth, made.sd[source])


FAMILIES = (
    Family(
        name="sites",
        page=PAGE,
        simulate=_sites,
        cells=grid(
            "sites",
            n=(100,),
            settings=tuple((("sites", k), ("tau", t)) for k in (3, 5, 10) for t in (0.0, 0.3, 0.8)),
            studies=10_000,
        ),
        stage=3,
        first=2,
    ),
    Family(
        name="weighted",
        page=PAGE,
        simulate=_weighted,
        cells=grid("weighted", n=(30, 100, 400, 2000)) + grid("weighted", n=(30, 100, 400), cases=(4,)),
        stage=3,
        first=3,
    ),
    Family(
        name="at prevalence",
        page=PAGE,
        simulate=_at_prevalence,
        cells=grid("at prevalence", n=(30, 100, 400), prevalence=(0.1, 0.5))
        + grid("at prevalence", n=(100,), prevalence=(0.5,), cases=(4,)),
        stage=3,
        first=3,
    ),
    Family(
        name="verification",
        page=PAGE,
        simulate=_verified,
        cells=grid("verification", n=(30, 100, 400, 2000), prevalence=(0.02, 0.1, 0.5)),
        stage=3,
        first=3,
    ),
    Family(
        name="gauge",
        page=PAGE,
        simulate=_gauge,
        cells=grid("gauge", n=(30, 100), settings=tuple((("operators", k),) for k in (2, 5))),
        stage=3,
        first=3,
    ),
    Family(
        name="one way",
        page=PAGE,
        simulate=_one_way,
        cells=grid("one way", n=(30, 100, 400), cases=(4, 8)),
        stage=3,
        first=3,
    ),
    Family(
        name="reml",
        page=PAGE,
        simulate=_reml,
        cells=grid("reml", n=(30,), settings=((("operators", 5),),), piece=100),
        stage=6,
        first=3,
    ),
)
