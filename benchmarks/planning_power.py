"""Power that plans promise beside that of simulated studies of the size they ask for.

    python -m benchmarks.planning_power --out benchmarks/results/planning_power.md

Each study is judged by the suite's own interval: exact for shares, DeLong's for areas, Tango's for paired differences,
Newcombe's for gaps. Gains of readers stand in reader_simulations.md, marks in docs/planning.md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.special import ndtri

from evalsuite.stats import planning
from evalsuite.stats.differences import difference, tango_score
from evalsuite.stats.proportions import proportion_interval
from evalsuite.stats.roc import auroc

STUDIES, LEVEL = 10_000, 0.95


def _shares(rng: np.random.Generator, studies: int) -> Iterator[tuple[str, int, float, float]]:
    for p, goal in ((0.92, 0.85), (0.9, 0.8), (0.97, 0.95)):
        n = planning.cases_for_proportion(p, goal)
        assert n is not None
        clears = np.array([proportion_interval(x, n)[0] > goal for x in range(n + 1)])
        found = float(clears[rng.binomial(n, p, studies)].mean())
        yield f"sensitivity {p:g}, goal {goal:g}", n, planning.proportion_power(n, p, goal), found


def _areas(rng: np.random.Generator, studies: int) -> Iterator[tuple[str, int, float, float]]:
    for area, goal, ratio in ((0.8, 0.7, 1), (0.9, 0.85, 4), (0.95, 0.9, 1)):
        n = planning.positives_for_auroc(area, goal, negatives_per_positive=ratio)
        assert n is not None
        truth = np.repeat([1, 0], [n, n * ratio])
        shift = math.sqrt(2.0) * float(ndtri(area))
        lows = (auroc(truth, rng.normal(size=truth.size) + shift * truth).low for _ in range(studies))
        found = sum(low is not None and low > goal for low in lows) / studies
        yield (
            f"AUROC {area:g}, goal {goal:g}, {ratio} negatives each",
            n,
            planning.auroc_power(n, n * ratio, area, goal),
            found,
        )


def _pairs(rng: np.random.Generator, studies: int) -> Iterator[tuple[str, int, float, float]]:
    z = float(ndtri(0.5 + LEVEL / 2.0))
    for gain, discordant, margin in ((0.0, 0.1, 0.05), (0.03, 0.09, 0.0), (0.0, 0.04, 0.03)):
        n = planning.cases_for_paired(gain, discordant, margin)
        assert n is not None
        cells = ((discordant + gain) / 2, (discordant - gain) / 2, 1 - discordant)
        drawn = rng.multinomial(n, cells, size=studies)
        found = float(np.mean([tango_score(b, c, n, -margin) > z for b, c, _ in drawn]))
        name = f"paired difference {gain:g}, margin {margin:g}, {discordant:.0%} discordant"
        yield name, n, planning.paired_power(n, gain, discordant, margin), found


def _gaps(rng: np.random.Generator, studies: int) -> Iterator[tuple[str, int, float, float]]:
    for group in (30, 100):
        gap = planning.minimal_detectable_gap(1000, 0.85, group)
        assert gap is not None
        drawn = zip(rng.binomial(1000, 0.85, studies), rng.binomial(group, 0.85 - gap, studies), strict=True)
        ends = (difference(int(x), 1000, int(y), group, method="newcombe") for x, y in drawn)
        found = sum(e.low is not None and e.high is not None and (e.low > 0 or e.high < 0) for e in ends) / studies
        yield (
            f"gap of {gap:.3f} to 1,000 positives at 0.85",
            group,
            planning.gap_power(1000, 0.85, group, 0.85 - gap),
            found,
        )


def _widths(rng: np.random.Generator, studies: int) -> Iterator[tuple[str, int, float]]:
    for p, n in ((0.9, 139), (0.8, 246), (0.95, 60)):
        width = np.array([np.ptp(proportion_interval(x, n)) / 2 for x in range(n + 1)])
        yield (
            f"half-width at {p:g}: {planning.half_width(n, p):.4f} planned",
            n,
            float(width[rng.binomial(n, p, studies)].mean()),
        )


def table(studies: int) -> str:
    rng = np.random.default_rng(20260101)
    lines = [
        f"| {name} | {n:,} | {100 * planned:.1f} % | {100 * found:.1f} % | {100 * (found - planned):+.1f} |"
        for part in (_shares, _areas, _pairs, _gaps)
        for name, n, planned, found in part(rng, studies)
    ]
    widths = [f"| {name} | {n:,} | {found:.4f} |" for name, n, found in _widths(rng, studies)]
    return "\n".join([
        "# Plans: power and precision promised, and found in simulated studies", "",
        f"{studies:,} studies of the size each plan asks for, judged by the suite's own intervals; Monte Carlo",
        f"standard error {100 * math.sqrt(0.16 / studies):.2f} points at 80 %. Cases are of the kind the goal counts.",
        "Gains of readers: [reader_simulations.md](reader_simulations.md); marks: [planning](../../docs/planning.md).",
        "",
        "| goal | cases | planned | found | points |", "|---|---|---|---|---|", *lines, "",
        "| precision | cases | mean of the studies |", "|---|---|---|", *widths,
    ]) + "\n"  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planning_power", description=__doc__)
    parser.add_argument("--studies", type=int, default=STUDIES)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.write_text(table(options.studies), encoding="utf-8")


if __name__ == "__main__":
    main()
