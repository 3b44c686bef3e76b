"""Type I error and power of the reader-study methods in Roe and Metz' simulated studies.

    python -m benchmarks.reader_simulations --studies 10000 --jobs 4 --out benchmarks/results/reader_simulations.md

Each structure is simulated without a difference between treatments (type I error of the two-sided 5 % test), and with a
gain for which a power is planned from the variance components of such studies: by formula, and as `evalsuite plan`
does, by studies of a model made from these components alone. Studies are drawn and judged by the compiled loops
of `evalsuite.stats.reader_power`, which the tests hold to the analyses of single studies.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import brentq

from evalsuite.stats import obuchowski_rockette as orh
from evalsuite.stats import reader_ustatistics as ustat
from evalsuite.stats.planning import reader_power
from evalsuite.stats.reader_calibration import ReaderModel, components_of, model_of
from evalsuite.stats.reader_figures import Readings, reader_figures
from evalsuite.stats.reader_power import Judged, SimulatedPower, simulated_power
from evalsuite.stats.reader_simulation import ROE_METZ, Structure, simulate_readings

TARGET, STUDIES_EACH, MORE = 0.8, 2000, 2
DESIGNS = [(name, 5, 100) for name in ROE_METZ] + [(n, *s) for n in ("HH 1.5", "LL 1.5") for s in ((3, 50), (10, 200))]
FEW = ((2, 50), (2, 100), (3, 50), (3, 100), (3, 200), (4, 50), (4, 100))
METHODS = {"OR": Judged(), "OR, DeLong": Judged(delong=True), "U-statistics": Judged(method="u_statistics")}
HILLIS = Judged(distribution="hillis")
#: Ratings on a scale of this many steps, which no normal model has: the plan's model is then not the truth.
STEPS = 5


@dataclass(frozen=True, slots=True)
class Design:
    structure: str
    readers: int
    cases: int
    steps: int = 0

    @property
    def seed(self) -> list[int]:
        return [list(ROE_METZ).index(self.structure), self.readers, self.cases, self.steps]

    @property
    def kind(self) -> Structure:
        return ROE_METZ[self.structure]

    def simulated(self, model: ReaderModel, judged: Judged, studies: int, part: int, *, goal: float = 0.0):
        half = self.cases / 2
        return simulated_power(
            model, readers=self.readers, n_positive=half, n_negative=half, goal=goal, judged=judged,
            seed=[*self.seed, part], studies=studies,
        )  # fmt: skip

    def drawn(self, rng: np.random.Generator, gain: float) -> Readings:
        half = self.cases // 2
        study = simulate_readings(rng, self.kind, readers=self.readers, n_positive=half, n_negative=half, gain=gain)
        if not self.steps:
            return study
        edges = np.linspace(-0.5, self.kind.separation + 0.5, self.steps - 1)
        return replace(study, rating=np.digitize(study.rating, edges).astype(np.float64))

    def model(self, gain: float) -> ReaderModel:
        return ReaderModel(structure=self.kind, of="auroc", gain=gain, case_worth=1.0)

    def pilot(self, gain: float) -> tuple[orh.VarianceParts, float, float, float]:
        """Components to plan from, the readers' one, and both treatments' AUROC: the model's, or means of studies."""
        if not self.steps:
            half = self.cases / 2
            parts, reader = components_of(self.kind, n_positive=half, n_negative=half, gain=gain)
            return parts, reader, self.kind.auroc(gain), self.kind.auroc()
        rng = np.random.default_rng([*self.seed, 0])
        figures = [reader_figures(self.drawn(rng, gain), covariance="delong") for _ in range(STUDIES_EACH)]
        found = [orh.variance_parts(f) for f in figures]
        names = ("ms_treatment", "ms_reader", "ms_treatment_reader", "error", "cov1", "cov2", "cov3")
        mean = orh.VarianceParts(**{k: float(np.mean([getattr(p, k) for p in found])) for k in names}, n_treatments=2)
        one, two = (float(np.mean([f.value[t].mean() for f in figures])) for t in (0, 1))
        return mean, max(mean.reader or 0.0, 0.0), one, two

    def by_formula(self, pilot: orh.VarianceParts, difference: float) -> float:
        asked = {"pilot_cases": self.cases, "cases": self.cases, "readers": self.readers, "difference": difference}
        return reader_power(pilot, **asked).power  # type: ignore[arg-type]

    def gain(self) -> float:
        """Shift of the positive cases' mean for about 80 % power by formula, where an AUROC has room."""
        at_rest, difference = replace(self, steps=0).pilot(0.0)[0], 0.6 * (1.0 - self.kind.auroc())
        if self.by_formula(at_rest, difference) > TARGET:
            difference = float(brentq(lambda d: self.by_formula(at_rest, d) - TARGET, 1e-4, difference))
        return float(brentq(lambda g: self.kind.auroc(g) - self.kind.auroc() - difference, 0.0, 20.0))


def _percent(found: float) -> str:
    return f"{100 * found:.1f} %"


def _error(found: SimulatedPower) -> str:
    share = found.two_sided
    word = "**above** " if share > 0.06 else "*conservative* " if share < 0.04 else ""
    return word + _percent(share) + (f" ({found.undefined} undefined)" if found.undefined else "")


def error_row(design: Design, studies: int) -> str:
    cells = [
        _error(design.simulated(design.model(0.0), judged, studies if name == "U-statistics" else MORE * studies, 1))
        for name, judged in METHODS.items()
    ]
    return f"| {design.structure} | {design.readers} × {design.cases} | {' | '.join(cells)} |"


def few_row(design: Design, studies: int) -> str:
    """The highest and lowest error of all structures, as a run judges and with Hillis' degrees of freedom."""
    cells = []
    for judged in (METHODS["OR"], HILLIS):
        found = []
        for name in ROE_METZ:
            one = replace(design, structure=name)
            found.append((one.simulated(one.model(0.0), judged, studies, 1).two_sided, name))
        cells.append(f"{_percent(min(found)[0])} ({min(found)[1]}) to {_percent(max(found)[0])} ({max(found)[1]})")
    return f"| {design.readers} × {design.cases} | {' | '.join(cells)} |"


def power_row(design: Design, studies: int) -> str:
    """Power by formula, by the plan's simulation, and in studies that are drawn apart; points between the latter."""
    gain = design.gain()
    parts, reader, one, two = design.pilot(gain)
    half = design.cases / 2
    model = model_of(parts, reader=reader, control=two, gain=one - two, n_positive=half, n_negative=half)
    cells = [_percent(design.by_formula(parts, one - two))]
    for name in ("OR", "U-statistics"):
        planned = design.simulated(model, METHODS[name], studies, 2).power
        apart = _each(design, gain, name) if design.steps else None
        found = design.simulated(design.model(gain), METHODS[name], studies, 3).power if apart is None else apart
        cells += [_percent(planned), _percent(found), f"{100 * (found - planned):+.1f}"]
    scale = f", {design.steps} steps" if design.steps else ""
    return f"| {design.structure}{scale} | {design.readers} × {design.cases} | {' | '.join(cells)} |"


def _each(design: Design, gain: float, method: str, studies: int = STUDIES_EACH) -> float:
    """Power in studies analysed one by one, as a run does."""
    rng, hits = np.random.default_rng([*design.seed, 4]), 0
    for _ in range(studies):
        study = design.drawn(rng, gain)
        if method == "U-statistics":
            estimate = ustat.auroc_difference(study, 0, 1)[0]
        else:
            estimate = orh.difference(reader_figures(study), study, 0, 1).estimate
        hits += estimate.low is not None and estimate.low > 0.0
    return hits / studies


def _apply(task: tuple[Callable[[Design, int], str], Design, int]) -> str:
    return task[0](task[1], task[2])


def tasks(studies: int) -> tuple[list[tuple[Callable[[Design, int], str], Design, int]], ...]:
    """Rows of the three tables."""
    return (
        [(error_row, Design(*row), studies) for row in DESIGNS],
        [(few_row, Design("HH 1.5", *size), studies) for size in FEW],
        [(power_row, Design(*row), studies) for row in DESIGNS]
        + [(power_row, Design(name, 5, 100, STEPS), studies) for name in ("HH 1.5", "LL 2.5")],
    )


def table(studies: int, rows: Sequence[Sequence[str]]) -> str:
    errors, few, powers = rows
    return "\n".join([
        "# Reader studies: error and power in simulated studies",
        "",
        f"{studies:,} studies of each design by Roe and Metz' model (`evalsuite.stats.reader_simulation`; structure:",
        "correlation of the data high or low, variance of the readers high or low, separation), half of the cases",
        "positive, two-sided test at 5 %. Monte Carlo standard error:",
        f"{_error_points(0.05, studies)} points at 5 %, {_error_points(0.8, studies)} at 80 %. OR: Obuchowski and",
        "Rockette's analysis with the jackknife as a run does it, with fewer than four readers by Behrens and Fisher's",
        "distribution.",
        "",
        "## Type I error",
        "",
        "**Above** is an error over 6 %, *conservative* one under 4 %. Obuchowski and Rockette's of",
        f"{MORE * studies:,} studies each (the highest of sixteen tells of chance as much as of the method), standard",
        f"error {_error_points(0.055, MORE * studies)} points.",
        "",
        f"| structure | readers × cases | {' | '.join(METHODS)} |",
        "|---|---|" + "---|" * len(METHODS),
        *errors,
        "",
        "## Few readers",
        "",
        "The lowest and highest error of the twelve structures; *Hillis' t* is `readers.distribution: hillis`.",
        "",
        "| readers × cases | OR, as a run judges | OR, Hillis' t |",
        "|---|---|---|",
        *few,
        "",
        "## Power",
        "",
        "*Formula*: Hillis, Obuchowski & Berbaum (2011); *plan*: simulated from the same components, as",
        "`evalsuite plan` does; *found*: in other studies by the true model, and the points between. Components are",
        "those of the structure, at a gain of about 80 % power by the formula or of 0.6 × (1 − AUROC). With",
        f"{STEPS} steps of the rating scale, which no such model has, components and both AUROCs are means of",
        f"{STUDIES_EACH:,} studies and the power is found in as many analysed one by one (standard error 1.1 points).",
        "",
        "| structure | readers × cases | formula | plan, OR | found, OR | points | plan, U | found, U | points |",
        "|---|---|---|---|---|---|---|---|---|",
        *powers,
    ]) + "\n"  # fmt: skip


def _error_points(share: float, studies: int) -> str:
    return f"{100 * math.sqrt(share * (1.0 - share) / studies):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reader_simulations", description=__doc__)
    parser.add_argument("--studies", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    parts = tasks(options.studies)
    with ProcessPoolExecutor(options.jobs) as pool:
        rows = [list(pool.map(_apply, part)) for part in parts]
    options.out.write_text(table(options.studies, rows), encoding="utf-8")


if __name__ == "__main__":
    main()
