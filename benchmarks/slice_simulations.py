"""How often the search for slices finds what is not there, and how often what is: `make slice-simulations`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from evalsuite.stats.multiplicity import adjust_p
from evalsuite.stats.slices import search_half, search_slices

LEVEL = 0.05
BASE = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A made-up set: patients, cases of each, attributes of three levels, and how often the planted slice is wrong.

    `by_case` attributes differ between cases of a patient; `share` is the chance of each level of the planted slice.
    """

    name: str
    patients: int
    per_patient: int = 1
    attributes: int = 6
    by_case: bool = False
    wrong: float = BASE

    @property
    def null(self) -> bool:
        return self.wrong == BASE


DESIGNS = (
    Design(name="no effect, 400 patients", patients=400),
    Design(name="no effect, 2,000 patients", patients=2000),
    Design(name="no effect, 400 patients of 3 alike cases", patients=400, per_patient=3),
    Design(name="no effect, 400 patients of 3 cases, attributes of cases", patients=400, per_patient=3, by_case=True),
    Design(name="no effect, 12 attributes, 1,000 patients", patients=1000, attributes=12),
    Design(name="planted: 35 % wrong, 1,000 patients", patients=1000, wrong=0.35),
    Design(name="planted: 35 % wrong, 2,000 patients", patients=2000, wrong=0.35),
    Design(name="planted: 50 % wrong, 1,000 patients", patients=1000, wrong=0.5),
    Design(name="planted: 50 % wrong, 400 patients of 3 alike cases", patients=400, per_patient=3, wrong=0.5),
)
PLANTED = ((0, 0), (1, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Of `sets` simulated ones: a slice singled out, one that holds, one that holds though nothing is wrong there, and
    the planted slice (or one within it) that holds."""

    sets: int
    singled: int
    held: int
    planted: int


def draw(design: Design, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Event, codes and patient of one set; cases of a patient share a tendency to be wrong (latent correlation 0.5)."""
    n = design.patients * design.per_patient
    cluster = np.arange(design.patients).repeat(design.per_patient)
    rows = n if design.by_case else design.patients
    codes = rng.integers(0, 3, size=(rows, design.attributes))
    codes = codes if design.by_case else codes[cluster]
    inside = np.all([codes[:, a] == level for a, level in PLANTED], axis=0)
    shared = 0.5 if design.per_patient > 1 else 0.0
    latent = np.sqrt(shared) * rng.normal(size=design.patients)[cluster] + np.sqrt(1 - shared) * rng.normal(size=n)
    chance = np.where(inside, design.wrong, BASE)
    return latent < stats.norm.ppf(chance), codes, cluster


def study(design: Design, sets: int, *, seed: int = 1, permutations: int = 999) -> Tally:
    """Draw and search `sets` sets of one design, from one seed."""
    singled = held = planted = 0
    for i in range(sets):
        rng = np.random.default_rng([seed, i])
        event, codes, cluster = draw(design, rng)
        found = search_slices(
            event, codes, cluster, search_half(cluster, seed=i), level=LEVEL, permutations=permutations, seed=i
        ).found
        adjusted = adjust_p([f.p_check for f in found], "holm")
        holds = [f for f, p in zip(found, adjusted, strict=True) if p <= LEVEL]
        singled += bool(found)
        held += bool(holds)
        planted += any(set(PLANTED) <= set(f.terms) for f in holds)
    return Tally(sets=sets, singled=singled, held=held, planted=planted)


def table(sets: int, *, permutations: int = 999) -> Iterator[str]:
    """The lines of the table, one design each."""
    yield "| design | sets | a slice singled out | a slice holds | the planted slice holds |"
    yield "|---|---|---|---|---|"
    for design in DESIGNS:
        t = study(design, sets, permutations=permutations)
        planted = "–" if design.null else f"{100 * t.planted / sets:.1f} %"
        yield (
            f"| {design.name} | {sets:,} | {100 * t.singled / sets:.1f} % | {100 * t.held / sets:.1f} % | {planted} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    error = 100 * np.sqrt(LEVEL * (1 - LEVEL) / asked.sets)
    text = "\n".join(
        (
            "# Search for slices: errors and power",
            "",
            f"Simulated sets; {100 * BASE:g} % of cases wrong, attributes of three levels each, all combinations of up "
            "to two searched, at least 20 cases each. Singled out: false discovery rate 5 % in half of the patients. "
            f"Holds: Holm at 5 % in the other half; with no effect this is to happen in at most 5 % of sets "
            f"(simulation error {error:.2f} points). The planted slice is one level of two attributes, a ninth of the "
            "cases.",
            "",
            *table(asked.sets),
            "",
            "Made by `make slice-simulations`.",
            "",
        )
    )
    print(text)
    if asked.out is not None:
        asked.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
