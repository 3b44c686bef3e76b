"""Does a 95 % interval hold the truth 95 % of the time: simulated studies for the two-class intervals, as markdown.

    python benchmarks/coverage_two_class.py [--replicates 10000] [--out docs/statistics/coverage_two_class.md]

Binormal scores with a known AUROC; probabilities that are exactly right, so that intercept 0, slope 1, O/E 1 and
ECE 0 are the truth. Studies in which an estimate or its interval does not exist are counted in a column of their own.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit, ndtri
from scipy.stats import norm

from evalsuite.stats import calibration as c
from evalsuite.stats.bootstrap import PatientDraw, binary_bootstrap
from evalsuite.stats.roc import auroc
from evalsuite.types import Estimate

GOAL = 0.935
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One kind of study: patients, prevalence, true AUROC, largest number of cases per patient."""

    patients: int
    prevalence: float
    auroc: float
    cases: int = 1

    def sample(self, rng: np.random.Generator) -> Arrays:
        """Scores binormal; cases of a patient share half of the score's variance and the reference."""
        size = rng.integers(1, self.cases + 1, self.patients)
        patient = np.repeat(np.arange(self.patients), size)
        truth = np.repeat(rng.random(self.patients) < self.prevalence, size)
        shift = math.sqrt(2.0) * ndtri(self.auroc)
        noise = rng.normal(size=patient.size)
        if self.cases > 1:
            noise = math.sqrt(0.5) * (noise + rng.normal(size=self.patients)[patient])
        score = noise + shift * truth
        # The probability of the condition given this score: logistic in the score for two normals of equal variance.
        probability = expit(shift * score - shift**2 / 2 + math.log(self.prevalence / (1 - self.prevalence)))
        return {"reference": truth, "score": score, "probability": probability, "patient": patient}


def _cluster(s: Scenario, d: Arrays) -> np.ndarray | None:
    return d["patient"] if s.cases > 1 else None


def rank_methods(s: Scenario, d: Arrays) -> Iterator[tuple[str, float, Estimate]]:
    """AUROC by each interval method."""
    for method in ("delong", "logit-delong", "newcombe"):
        if s.cases > 1 and method == "delong":
            continue
        name = {"logit-delong": "Obuchowski, logit", "newcombe": "Newcombe, effective n"}.get(method, method)
        e = auroc(d["reference"], d["score"], method=method, cluster=_cluster(s, d))  # type: ignore[arg-type]
        yield f"AUROC {name if s.cases > 1 else method}", s.auroc, e


def calibration_methods(s: Scenario, d: Arrays) -> Iterator[tuple[str, float, Estimate]]:
    """Intercept, slope, O/E of probabilities that are right."""
    y, p, k = d["reference"], d["probability"], _cluster(s, d)
    yield "calibration intercept, Wald", 0.0, c.calibration_intercept(y, p, cluster=k)
    yield "calibration slope, Wald", 1.0, c.calibration_slope(y, p, cluster=k)
    yield "O/E, log", 1.0, c.observed_expected(y, p, cluster=k)


def brier_truth(s: Scenario) -> float:
    """Expected Brier score by numerical integration over the two normals."""
    shift = math.sqrt(2.0) * ndtri(s.auroc)
    x = np.linspace(-10, 10 + shift, 20001)
    p = expit(shift * x - shift**2 / 2 + math.log(s.prevalence / (1 - s.prevalence)))
    density = s.prevalence * norm.pdf(x, shift) * (1 - p) ** 2 + (1 - s.prevalence) * norm.pdf(x) * p**2
    return float(np.trapezoid(density, x))


def bootstrap_methods(s: Scenario, d: Arrays) -> Iterator[tuple[str, float, Estimate]]:
    """Patient bootstrap, 400 replicates."""
    draw = PatientDraw(d["patient"], 400, int(d["score"][0] * 1e6) % 10_000)
    arrays = {k: d[k] for k in ("reference", "score", "probability")}
    for method in ("bca", "percentile"):
        rows = binary_bootstrap(draw, metrics=["auroc", "brier"], method=method, threads=1, **arrays)[0]  # type: ignore[arg-type]
        yield f"AUROC bootstrap {method}", s.auroc, rows[0]
        yield f"Brier bootstrap {method}", brier_truth(s), rows[1]
    ece = binary_bootstrap(draw, metrics=["ece"], threads=1, **arrays)[0][0]
    yield "ECE (truth 0)", 0.0, ece
    yield "Brier normal", brier_truth(s), c.brier(d["reference"], d["probability"], cluster=_cluster(s, d))


def study(
    s: Scenario,
    methods: Callable[[Scenario, Arrays], Iterator[tuple[str, float, Estimate]]],
    replicates: int,
    seed: int,
) -> Iterator[str]:
    """Rows of the table for one scenario."""
    rng = np.random.default_rng(seed)
    held: dict[str, list[int]] = {}
    for _ in range(replicates):
        for name, truth, e in methods(s, s.sample(rng)):
            count = held.setdefault(name, [0, 0, 0])
            if e.low is None or e.high is None:
                count[2] += 1
            else:
                count[1] += 1
                count[0] += e.low - 1e-12 <= truth <= e.high + 1e-12
    for name, (inside, made, missing) in held.items():
        if made == 0:
            yield f"| {name} | {s.patients} | {s.prevalence} | {s.auroc} | {s.cases} | – | {missing} | no interval |"
            continue
        share = inside / made
        error = math.sqrt(max(share * (1 - share), 1e-6) / made)
        verdict = "too low" if share < GOAL - 3 * error else "conservative" if share > 0.965 + 3 * error else ""
        yield (
            f"| {name} | {s.patients} | {s.prevalence} | {s.auroc} | {s.cases} | {100 * share:.1f} | {missing} "
            f"| {verdict} |"
        )


def scenarios(kind: str) -> list[Scenario]:
    """Which studies are simulated for which family."""
    if kind == "rank":
        alone = [
            Scenario(patients=n, prevalence=p, auroc=a)
            for n in (30, 100, 400, 2000)
            for p in (0.02, 0.1, 0.5)
            for a in (0.7, 0.9, 0.98)
            if n * p >= 2
        ]
        return alone + [
            Scenario(patients=n, prevalence=p, auroc=a, cases=k)
            for n in (20, 50, 150)
            for p in (0.2, 0.5)
            for a in (0.7, 0.9)
            for k in (4, 8)
        ]
    if kind == "calibration":
        out = [Scenario(patients=n, prevalence=p, auroc=0.8) for n in (100, 400, 2000) for p in (0.1, 0.5)]
        return out + [Scenario(patients=n, prevalence=0.3, auroc=0.8, cases=4) for n in (50, 150)]
    return [Scenario(patients=n, prevalence=p, auroc=0.85) for n in (50, 200) for p in (0.1, 0.4)] + [
        Scenario(patients=60, prevalence=0.3, auroc=0.85, cases=4)
    ]


def report(replicates: int) -> str:
    """The table."""
    lines = [
        "# Coverage of the two-class intervals",
        "",
        f"95 % intervals; {replicates:,} simulated studies a row (a tenth for the bootstrap, 400 resamples each).",
        "*too low*: under 93.5 % less three Monte Carlo standard errors, the method is not to be relied on there;",
        "*conservative*: over 96.5 %. *none*: studies without an interval (one class, separation, a reason), not part",
        "of the coverage.",
        "In the clustered rows the reference is the patient's and half the score's variance is shared.",
        "Made by `benchmarks/coverage_two_class.py`.",
        "",
        "| interval | patients | prevalence | AUROC | cases ≤ | coverage % | none | |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    families = (
        ("rank", rank_methods, replicates),
        ("calibration", calibration_methods, replicates),
        ("bootstrap", bootstrap_methods, max(10, replicates // 10)),
    )
    seed = 0
    for kind, methods, times in families:
        rows: list[str] = []
        for s in scenarios(kind):
            seed += 1
            rows += study(s, methods, times, seed)
        lines += sorted(rows, key=lambda row: row.split("|")[1])
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    text = report(options.replicates)
    print(text, end="")
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
