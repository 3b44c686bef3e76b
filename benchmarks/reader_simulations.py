"""Type I error and power of the reader-study methods in Roe and Metz' simulated studies.

    python -m benchmarks.reader_simulations --studies 10000 --jobs 4 --out benchmarks/results/reader_simulations.md

Each structure is simulated without a difference between treatments (type I error of the two-sided 5 % test), and with a
gain for which `evalsuite.stats.planning.reader_power` promises a power, about 80 %, from the mean variance components.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import brentq

from evalsuite.stats import obuchowski_rockette as orh
from evalsuite.stats import reader_ustatistics as ustat
from evalsuite.stats.planning import reader_power
from evalsuite.stats.reader_figures import reader_figures
from evalsuite.stats.reader_simulation import ROE_METZ, simulate_readings

LEVEL, TARGET, PILOT_STUDIES = 0.05, 0.8, 400
SIZES = {name: [(5, 100)] for name in ROE_METZ} | {
    name: [(3, 50), (5, 100), (10, 200)] for name in ("HH 1.5", "LL 1.5")
}
METHODS = ("OR, jackknife", "OR, DeLong", "U-statistics")


@dataclass(frozen=True, slots=True)
class Design:
    structure: str
    readers: int
    cases: int

    @property
    def seed(self) -> list[int]:
        return [list(ROE_METZ).index(self.structure), self.readers, self.cases]

    def pilot(self, gain: float) -> orh.VarianceParts:
        """Mean components of studies of this design: what a planner with a perfect pilot would know."""
        rng = np.random.default_rng([*self.seed, 0])
        parts = [
            orh.variance_parts(reader_figures(self._draw(rng, gain), covariance="delong")) for _ in range(PILOT_STUDIES)
        ]
        names = ("ms_treatment", "ms_reader", "ms_treatment_reader", "error", "cov1", "cov2", "cov3")
        return orh.VarianceParts(**{k: float(np.mean([getattr(p, k) for p in parts])) for k in names}, n_treatments=2)

    def promised(self, pilot: orh.VarianceParts, difference: float) -> float:
        return reader_power(
            pilot, pilot_cases=self.cases, readers=self.readers, cases=self.cases, difference=difference
        ).power

    def plan(self) -> tuple[float, float]:
        """Shift of the positive cases' mean for about 80 % power, where an AUROC has room, and the power promised."""
        structure, at_rest = ROE_METZ[self.structure], self.pilot(0.0)
        room = 0.6 * (1.0 - structure.auroc())
        difference = room
        if self.promised(at_rest, room) > TARGET:
            difference = float(brentq(lambda d: self.promised(at_rest, d) - TARGET, 1e-4, room))
        gain = float(brentq(lambda g: structure.auroc(g) - structure.auroc() - difference, 0.0, 20.0))
        return gain, self.promised(self.pilot(gain), difference)

    def _draw(self, rng: np.random.Generator, gain: float):
        half = self.cases // 2
        return simulate_readings(
            rng, ROE_METZ[self.structure], readers=self.readers, n_positive=half, n_negative=half, gain=gain
        )

    def rejections(self, studies: int, gain: float, part: int) -> np.ndarray:
        """Studies in which each method finds a difference, and studies in which it has no p-value."""
        rng = np.random.default_rng([*self.seed, 1 + (gain > 0.0), part])
        found = np.zeros((len(METHODS), 2), dtype=np.int64)
        for _ in range(studies):
            study = self._draw(rng, gain)
            p_values = [
                orh.difference(reader_figures(study, covariance=covariance), study, 0, 1).test.p_value
                for covariance in ("jackknife", "delong")
            ]
            p_values.append(ustat.auroc_difference(study, 0, 1)[1].p_value)
            for i, p in enumerate(p_values):
                found[i] += (p is not None and p < LEVEL, p is None)
        return found


def _of(task: tuple[Design, int, float, int]) -> np.ndarray:
    design, studies, gain, part = task
    return design.rejections(studies, gain, part)


def _plan_of(design: Design) -> tuple[float, float]:
    return design.plan()


def simulate(studies: int, jobs: int, parts: int = 20) -> Iterator[tuple[Design, float, np.ndarray, np.ndarray]]:
    """Each design, the power promised, and its counts without and with the gain."""
    designs = [Design(name, *size) for name, sizes in SIZES.items() for size in sizes]
    with ProcessPoolExecutor(jobs) as pool:
        plans = list(pool.map(_plan_of, designs))
        done = pool.map(
            _of,
            [
                (design, studies // parts, g, part)
                for design, (gain, _) in zip(designs, plans, strict=True)
                for g in (0.0, gain)
                for part in range(parts)
            ],
        )
        for design, (_, promised) in zip(designs, plans, strict=True):
            error, power = (sum(next(done) for _ in range(parts)) for _ in range(2))
            yield design, promised, error, power


def table(studies: int, jobs: int) -> str:
    lines = [
        "# Reader studies: error and power in simulated studies",
        "",
        f"{studies:,} studies of each design by Roe and Metz' model (`evalsuite.stats.reader_simulation`; structure:",
        "correlation of the data high or low, variance of the readers high or low, separation), half of the cases",
        "positive, two-sided test at 5 %. Monte Carlo standard error:",
        f"{_error_points(0.05, studies)} points at 5 %, {_error_points(0.8, studies)} at 80 %.",
        "**Above** is an error over 6 %, *conservative* one under 4 %. The power promised is that of `reader_power` to",
        "someone who knows the mean variance components, at a gain of about 80 % power or of 0.6 × (1 − AUROC).",
        "",
        f"| structure | readers × cases | {' | '.join(f'error, {m}' for m in METHODS)} | power promised "
        f"| {' | '.join(f'power, {m}' for m in METHODS)} |",
        "|---|---|" + "---|" * (2 * len(METHODS) + 1),
    ]
    for design, promised, error, power in simulate(studies, jobs):
        row = [
            design.structure, f"{design.readers} × {design.cases}", *(_error(*e, studies) for e in error),
            f"{100 * promised:.1f} %", *(_share(*e, studies) for e in power),
        ]  # fmt: skip
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def _error_points(share: float, studies: int) -> str:
    return f"{100 * math.sqrt(share * (1.0 - share) / studies):.2f}"


def _share(rejected: int, undefined: int, studies: int) -> str:
    return f"{100 * rejected / studies:.1f} %" + (f" ({undefined} undefined)" if undefined else "")


def _error(rejected: int, undefined: int, studies: int) -> str:
    share = rejected / studies
    word = "**above** " if share > 0.06 else "*conservative* " if share < 0.04 else ""
    return word + _share(rejected, undefined, studies)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reader_simulations", description=__doc__)
    parser.add_argument("--studies", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.write_text(table(options.studies, options.jobs), encoding="utf-8")


if __name__ == "__main__":
    main()
