"""Type I error of reader-study methods in designs other than the crossed one of random readers and cases.

    python -m benchmarks.reader_designs --studies 10000 --jobs 4 --out benchmarks/results/reader_designs.md

Studies by Roe and Metz' model without a difference between treatments. Where readers (cases) are fixed, the null is of
these readers (cases): the treatment then has no effect of its own on a reader (a case). In a split-plot study each half
of the readers reads its own half of the cases; in a partly paired one a fifth of all readings is not made, at random.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from evalsuite.stats import obuchowski_rockette as orh
from evalsuite.stats import reader_ustatistics as ustat
from evalsuite.stats.reader_figures import Readings, reader_figures, readings
from evalsuite.stats.reader_simulation import ROE_METZ, simulate_readings

LEVEL, READERS, PARTS = 0.05, 6, 20
STRUCTURES = ("HH 1.5", "LL 1.5")


@dataclass(frozen=True, slots=True)
class Design:
    name: str
    method: str
    positives: int
    negatives: int


DESIGNS = (
    Design("fixed readers", "OR, jackknife, cases", 50, 50),
    Design("fixed cases", "OR, jackknife, readers", 50, 50),
    Design("split-plot", "U-statistics", 60, 60),
    Design("partly paired", "U-statistics", 60, 60),
    Design("unbalanced, 1 to 4", "OR, jackknife", 30, 120),
    Design("unbalanced, 1 to 4", "U-statistics", 30, 120),
)


def _drawn(rng: np.random.Generator, design: Design, structure: str) -> Readings:
    kind = ROE_METZ[structure]
    if design.name == "fixed readers":
        kind = replace(kind, treatment_reader=0.0)
    if design.name == "fixed cases":
        kind = replace(kind, treatment_case=0.0)
    made = simulate_readings(rng, kind, readers=READERS, n_positive=design.positives, n_negative=design.negatives)
    rating = made.rating.copy()
    if design.name == "split-plot":
        half = np.arange(made.n_cases) % 2
        rating[:, (np.arange(READERS) % 2)[:, None] != half[None, :]] = np.nan
    if design.name == "partly paired":
        rating[rng.random(rating.shape) < 0.2] = np.nan
    return readings(made.reference, rating)


def _p_value(design: Design, study: Readings) -> float | None:
    if design.method == "U-statistics":
        return ustat.auroc_difference(study, 0, 1)[1].p_value
    generalise = {"cases": "cases", "readers": "readers"}.get(design.method.split(", ")[-1], "readers_and_cases")
    figures = reader_figures(study, covariance="jackknife")
    return orh.difference(figures, study, 0, 1, generalise=generalise).test.p_value  # type: ignore[arg-type]


def _part(task: tuple[int, str, int, int]) -> tuple[int, int]:
    """Studies of one part in which a difference is found, and those without a p-value."""
    number, structure, studies, part = task
    design, rng = DESIGNS[number], np.random.default_rng([number, list(ROE_METZ).index(structure), part])
    made = [_p_value(design, _drawn(rng, design, structure)) for _ in range(studies)]
    return sum(p is not None and p < LEVEL for p in made), sum(p is None for p in made)


def rows(studies: int, jobs: int) -> Iterator[str]:
    tasks = [(n, s, studies // PARTS, k) for n in range(len(DESIGNS)) for s in STRUCTURES for k in range(PARTS)]
    with ProcessPoolExecutor(jobs) as pool:
        done = pool.map(_part, tasks)
        for n in range(len(DESIGNS)):
            for structure in STRUCTURES:
                found, none = (sum(v) for v in zip(*(next(done) for _ in range(PARTS)), strict=True))
                share, design = found / studies, DESIGNS[n]
                mark = "**above** " if share > 0.06 else "*conservative* " if share < 0.04 else ""
                undefined = f" ({none} undefined)" if none else ""
                cases = f"{READERS} × ({design.positives} + {design.negatives})"
                cells = (design.name, structure, cases, design.method, f"{mark}{100 * share:.1f} %{undefined}")
                yield f"| {' | '.join(cells)} |"


def table(studies: int, jobs: int) -> str:
    error = 100 * math.sqrt(LEVEL * (1 - LEVEL) / studies)
    head = (
        "# Reader studies of other designs: type I error in simulated studies",
        "",
        f"{studies:,} studies of each design by Roe and Metz' model, without a difference; two-sided test at 5 %,",
        f"Monte Carlo standard error {error:.2f} points. Fixed readers or cases: the null is of these. Split-plot:",
        "each half of the readers reads its own half of the cases. Partly paired: a fifth of the readings is not made,",
        "at random.",
        "**Above** is an error over 6 %, *conservative* one under 4 %.",
        "",
        "| design | structure | readers × (positive + negative cases) | method | error |",
        "|---|---|---|---|---|",
    )
    return "\n".join((*head, *rows(studies, jobs))) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path)
    ask = parser.parse_args()
    write: Callable[[str], object] = print if ask.out is None else ask.out.write_text
    write(table(ask.studies, ask.jobs))


if __name__ == "__main__":
    main()
