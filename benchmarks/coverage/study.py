"""Simulated studies of one design are run through interval methods, and counted: held, missed on either side, none."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from evalsuite.types import Estimate

GOAL = 0.935
"""A 95 % interval is suitable where it covers at least this, less three Monte Carlo standard errors."""
CONSERVATIVE = 0.965
FEWEST = 200
"""With fewer intervals than this nothing is said of their coverage."""
FEWER = 2_000
"""Studies of a dear design whose method is simulated `10_000` times in a cheaper one: half a point of error."""

LATER = 100
"""Stages from here on begin when every design has been simulated at least a few times."""

Verdict = Literal["ok", "conservative", "unsuitable", "too few intervals"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One design: what is simulated, how often, and in pieces of how many studies.

    `n` patients, of whom each has 1 to `cases` cases; `prevalence` of positives (None where there is no such thing).
    `setting` names what else the design fixes.
    """

    family: str
    n: int
    prevalence: float | None = None
    cases: int = 1
    setting: tuple[tuple[str, float | str], ...] = ()
    studies: int = 10_000
    piece: int = 1_000

    @property
    def key(self) -> str:
        """Names the design, not how often it is simulated."""
        more = ",".join(f"{k}={v}" for k, v in self.setting)
        return f"{self.family}|n={self.n}|prevalence={self.prevalence}|cases={self.cases}|{more}"

    def get(self, name: str) -> float:
        """A number of the setting."""
        return float(dict(self.setting)[name])

    def word(self, name: str) -> str:
        """A word of the setting."""
        return str(dict(self.setting)[name])

    def rng(self, piece: int) -> np.random.Generator:
        """The stream of one piece: it depends on the design and the piece alone."""
        digest = hashlib.sha256(self.key.encode()).digest()
        words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]
        return np.random.default_rng(np.random.SeedSequence([*words, piece]))

    @property
    def pieces(self) -> int:
        return math.ceil(self.studies / self.piece)


class Answer(NamedTuple):
    """One interval of one study; `times` for studies that came out alike."""

    quantity: str
    method: str
    truth: float
    estimate: Estimate
    times: int = 1


Simulate = Callable[[Cell, np.random.Generator, int], Iterator[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Designs that share a simulation. Later stages run after earlier ones: the dear ones come last.

    `first`: pieces of each cell that run in the family's stage (None: all); the others wait until `LATER`.
    """

    name: str
    page: str
    simulate: Simulate
    cells: tuple[Cell, ...]
    stage: int = 0
    first: int | None = None


@dataclass(slots=True, kw_only=True)
class Tally:
    """Studies in which the interval held the truth, lay above it (`truth_below`), below it, or did not exist."""

    truth: float
    held: int = 0
    truth_below: int = 0
    truth_above: int = 0
    none: int = 0

    def add(self, answer: Answer) -> None:
        e, t = answer.estimate, answer.truth
        slack = 1e-9 * (1.0 + abs(t))
        if e.low is None or e.high is None:
            self.none += answer.times
        elif t < e.low - slack:
            self.truth_below += answer.times
        elif t > e.high + slack:
            self.truth_above += answer.times
        else:
            self.held += answer.times

    @property
    def made(self) -> int:
        return self.held + self.truth_below + self.truth_above

    @property
    def studies(self) -> int:
        return self.made + self.none

    @property
    def coverage(self) -> float:
        return self.held / self.made

    @property
    def error(self) -> float:
        """Monte Carlo standard error of the coverage."""
        return math.sqrt(self.coverage * (1.0 - self.coverage) / self.made)

    @property
    def verdict(self) -> Verdict:
        if self.made < FEWEST:
            return "too few intervals"
        if self.coverage < GOAL - 3.0 * self.error:
            return "unsuitable"
        return "conservative" if self.coverage > CONSERVATIVE else "ok"

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            truth=self.truth,
            held=self.held + other.held,
            truth_below=self.truth_below + other.truth_below,
            truth_above=self.truth_above + other.truth_above,
            none=self.none + other.none,
        )


Tallies = dict[tuple[str, str], Tally]


@dataclass(slots=True)
class Counted:
    """Tallies of a piece, by quantity and method."""

    tallies: Tallies = field(default_factory=dict)

    def add(self, answer: Answer) -> None:
        key = (answer.quantity, answer.method)
        if key not in self.tallies:
            self.tallies[key] = Tally(truth=answer.truth)
        self.tallies[key].add(answer)


def run_piece(family: Family, cell: Cell, piece: int) -> Tallies:
    """Simulate one piece of a cell's studies."""
    counted = Counted()
    studies = min(cell.piece, cell.studies - piece * cell.piece)
    for answer in family.simulate(cell, cell.rng(piece), studies):
        counted.add(answer)
    return counted.tallies


def grid(
    family: str,
    *,
    n: tuple[int, ...],
    prevalence: tuple[float | None, ...] = (None,),
    cases: tuple[int, ...] = (1,),
    settings: tuple[tuple[tuple[str, float | str], ...], ...] = ((),),
    studies: int = 10_000,
    piece: int = 1_000,
    keep: Callable[[Cell], bool] = lambda cell: True,
) -> tuple[Cell, ...]:
    """All combinations for which `keep` holds."""
    made = (
        Cell(family=family, n=m, prevalence=p, cases=k, setting=s, studies=studies, piece=piece)
        for s in settings
        for k in cases
        for p in prevalence
        for m in n
    )
    return tuple(cell for cell in made if keep(cell))
