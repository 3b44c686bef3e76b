"""What gaps between groups show in simulated studies with known truth: coverage, false disparities, the four outcomes.

    python -m benchmarks.bias_simulations [--studies 10000] [--out benchmarks/results/bias_simulations.md]

Shares (sensitivities) of groups against a reference group, by counts alone, so that ten thousand studies take seconds.
The formulas are those of `evalsuite.stats.group_gaps` for whole arrays of studies; a test holds both together.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, ndtr, ndtri

from evalsuite.stats.group_gaps import gap
from evalsuite.stats.standardised import standard_of, standardised_share

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ALPHA, SUPPRESS_BELOW = 0.05, 10
#: 95 % should be covered; more than this below is under-coverage (contracts of the coverage studies).
ENOUGH = 0.935
GROUPS = (2, 3, 4, 6, 8)
SIZES = (30, 100, 300, 1000)
TRUTHS = (0.70, 0.85, 0.95)


def wilson(p: Floats, n: Floats, z: Floats | float) -> tuple[Floats, Floats]:
    """Wilson's limits of shares `p` of `n` (effective) cases."""
    z2 = np.square(z)
    middle = p + z2 / (2.0 * n)
    spread = z * np.sqrt(p * (1.0 - p) / n + z2 / (4.0 * n * n))
    return (middle - spread) / (1.0 + z2 / n), (middle + spread) / (1.0 + z2 / n)


def limits(p: Floats, n: Floats, q: Floats, m: Floats, z: Floats | float) -> tuple[Floats, Floats]:
    """Newcombe's limits of p - q."""
    (l1, u1), (l2, u2) = wilson(p, n, z), wilson(q, m, z)
    return p - q - np.hypot(p - l1, u2 - q), p - q + np.hypot(u1 - p, q - l2)


def p_values(p: Floats, n: Floats, q: Floats, m: Floats) -> Floats:
    """Two-sided p of "no gap", by inverting the interval (bisection on z)."""
    low, high = np.full(np.broadcast(p, q).shape, 1e-6), np.full(np.broadcast(p, q).shape, 8.2)
    for _ in range(45):
        z = (low + high) / 2.0
        a, b = limits(p, n, q, m, z)
        outside = (a > 0.0) | (b < 0.0)
        low, high = np.where(outside, z, low), np.where(outside, high, z)
    return np.asarray(2.0 * ndtr(-(low + high) / 2.0))


def holm(p: Floats) -> Floats:
    """Adjusted p-values along the last axis."""
    m = p.shape[-1]
    order = np.argsort(p, axis=-1, kind="stable")
    stepped = np.take_along_axis(p, order, axis=-1) * np.arange(m, 0, -1)
    out = np.empty_like(p)
    np.put_along_axis(out, order, np.minimum(1.0, np.maximum.accumulate(stepped, axis=-1)), axis=-1)
    return out


def pearson(p: Floats, n: Floats) -> Floats:
    """p of Pearson's chi-square that all shares (studies, groups) are equal."""
    pooled = (p * n).sum(axis=-1, keepdims=True) / n.sum(axis=-1, keepdims=True)
    spread = pooled * (1.0 - pooled)
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = np.where(spread[..., 0] > 0, (n * (p - pooled) ** 2 / spread).sum(axis=-1), 0.0)
    return np.asarray(chdtrc(p.shape[-1] - 1, statistic))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """(studies, groups - 1) of every gap to the first group, in the order of the report."""

    equivalent: Bools
    disparity: Bools
    inconclusive: Bools
    not_assessable: Bools


def outcomes(p: Floats, n: Floats, *, margin: float | None, counts: NDArray[np.int64]) -> Outcomes:
    """The four outcomes of groups 1, 2, … against group 0; `n` (studies, groups) effective numbers of cases."""
    ref_p, ref_n = p[:, :1], n[:, :1]
    few = (counts[1:] < SUPPRESS_BELOW) | (counts[0] < SUPPRESS_BELOW)
    few = np.broadcast_to(few, p[:, 1:].shape)
    low, high = limits(p[:, 1:], n[:, 1:], ref_p, ref_n, float(ndtri(1.0 - ALPHA)))
    equal = np.zeros(few.shape, dtype=bool) if margin is None else (low > -margin) & (high < margin)
    raw = np.where(few, 1.0, p_values(p[:, 1:], n[:, 1:], ref_p, ref_n))
    gate = np.ones((len(p), 1), dtype=bool)
    if p.shape[1] > 2:
        seen = counts >= SUPPRESS_BELOW
        gate = (pearson(p[:, seen], n[:, seen]) <= ALPHA)[:, None]
    apart = (holm(raw) <= ALPHA) & gate
    equal = equal & ~few
    disparity = apart & ~equal & ~few
    return Outcomes(equivalent=equal, disparity=disparity, not_assessable=few, inconclusive=~(equal | disparity | few))


# --- studies --------------------------------------------------------------------------------------------------------


def independent(
    rng: np.random.Generator, studies: int, counts: Sequence[int], truths: Sequence[float]
) -> tuple[Floats, Floats]:
    """Shares and numbers (studies, groups) of one case per patient."""
    n = np.broadcast_to(np.array(counts, dtype=np.float64), (studies, len(counts)))
    return rng.binomial(np.array(counts), np.array(truths), (studies, len(counts))) / n, n


def clustered(
    rng: np.random.Generator, studies: int, patients: Sequence[int], truths: Sequence[float], *, each: int = 3
) -> tuple[Floats, Floats]:
    """The same with `each` cases per patient, alike (intraclass correlation 0.3): effective numbers of cases."""
    shares, effective = [], []
    for m, truth in zip(patients, truths, strict=True):
        total = 1.0 / 0.3 - 1.0
        ability = rng.beta(truth * total, (1.0 - truth) * total, (studies, m))
        x = rng.binomial(each, ability)
        p = x.sum(axis=1) / (m * each)
        z = x - each * p[:, None]
        variance = m / (m - 1.0) * np.square(z).sum(axis=1) / (m * each) ** 2
        binomial = p * (1.0 - p) / (m * each)
        with np.errstate(invalid="ignore", divide="ignore"):
            effect = np.where(binomial > 0, np.maximum(1.0, variance / binomial), float(each))
        # t quantiles on patients less one, as the interval has them at 95 %.
        from scipy.special import stdtrit

        ratio = float(stdtrit(m * each - 1, 0.975) / stdtrit(m - 1, 0.975)) ** 2
        shares.append(p)
        effective.append(np.where(binomial > 0, m * each / effect * min(1.0, ratio), float(m)))
    return np.stack(shares, axis=1), np.stack(effective, axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """One design: how often the gaps' 95 % intervals cover, and how often any group is falsely called a disparity."""

    design: str
    truth: str
    lowest: float
    mean: float
    false_disparity: float | None
    undefined: int
    studies: int

    @property
    def verdict(self) -> str:
        """Whether the lowest coverage is enough, given three Monte Carlo standard errors."""
        error = 3.0 * (0.95 * 0.05 / self.studies) ** 0.5
        if self.lowest < ENOUGH - error:
            return "too low"
        return "conservative" if self.mean > 0.965 else "as stated"


def covered(
    rng: np.random.Generator, studies: int, counts: Sequence[int], truths: Sequence[float], *, patients: bool = False
) -> Covered:
    """Coverage of every gap to the first group; the false-disparity rate where all truths are equal."""
    make = clustered if patients else independent
    p, n = make(rng, studies, counts, truths)
    low, high = limits(p[:, 1:], n[:, 1:], p[:, :1], n[:, :1], float(ndtri(1.0 - ALPHA / 2.0)))
    gaps = np.array(truths[1:]) - truths[0]
    hit = (low <= gaps) & (gaps <= high)
    false = None
    if len(set(truths)) == 1:
        cases = np.array(counts) * (3 if patients else 1)
        false = float(outcomes(p, n, margin=None, counts=cases).disparity.any(axis=1).mean())
    unit = " patients of 3 cases" if patients else ""
    return Covered(
        design=f"{len(counts)} groups of {', '.join(map(str, dict.fromkeys(counts)))}{unit}",
        truth=", ".join(f"{t:g}" for t in dict.fromkeys(truths)),
        lowest=float(hit.mean(axis=0).min()),
        mean=float(hit.mean()),
        false_disparity=false,
        undefined=int((~np.isfinite(low)).sum()),
        studies=studies,
    )


def designs() -> Iterator[tuple[list[int], list[float], bool]]:
    """Numbers of positives (or patients), truths, and whether patients have several cases."""
    for k in GROUPS:
        for n in SIZES:
            yield [n] * k, [0.85] * k, False
            yield [n] * k, [0.85] + [0.70] * (k - 1), False
        yield [1000] + [30] * (k - 1), [0.85] * k, False
        yield [1000] + [30] * (k - 1), [0.95] * k, False
        yield [1000] + [100] * (k - 1), [0.85] + [0.75] * (k - 1), False
        yield [100] * k, [0.95] * k, False
    for k in (2, 4, 8):
        for n in (30, 100, 300):
            yield [n] * k, [0.85] * k, True
            yield [n] * k, [0.85] + [0.70] * (k - 1), True


@dataclass(frozen=True, slots=True, kw_only=True)
class Characteristic:
    """How often a gap of this size, seen with this many positives, ends in each outcome."""

    positives: int
    gap: float
    margin: float
    rates: tuple[float, float, float, float]


def characteristics(rng: np.random.Generator, studies: int) -> Iterator[Characteristic]:
    """Four groups against a reference of 1,000 positives at 0.85; the first of them has the gap, the others none."""
    for positives in (5, 30, 100, 500, 2000):
        for size in (0.0, 0.03, 0.05, 0.10, 0.20):
            for margin in (0.05, 0.10):
                counts = [1000, positives, 300, 300]
                p, n = independent(rng, studies, counts, [0.85, 0.85 - size, 0.85, 0.85])
                found = outcomes(p, n, margin=margin, counts=np.array(counts))
                rates = tuple(
                    float(x[:, 0].mean())
                    for x in (found.equivalent, found.disparity, found.inconclusive, found.not_assessable)
                )
                yield Characteristic(positives=positives, gap=size, margin=margin, rates=rates)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A gap that is all case mix, or is not: how often crude and standardised intervals leave out 0, and cover."""

    name: str
    crude_apart: float
    standardised_apart: float
    covered: float
    mean: float


def explained(rng: np.random.Generator, studies: int, name: str, real: float, per_group: int = 300) -> Explained:
    """Mild .6 and severe .95 (less `real` in the second group), mixes 30/70 and 70/30."""
    mixes = (0.3, 0.7)
    crude = standardised = inside = 0
    values = []
    for _ in range(studies):
        sides = []
        for k, mild in enumerate(mixes):
            cell = np.repeat([0, 1], [round(mild * per_group), per_group - round(mild * per_group)])
            truth = np.array([0.6, 0.95])[cell] - (real if k else 0.0)
            sides.append((rng.random(per_group) < truth, cell))
        (y1, c1), (y2, c2) = sides
        standard, _ = standard_of(np.concatenate([c1, c2]), c1, c2, 2)
        people = np.arange(per_group)
        e = gap(*(standardised_share(y, c, people, standard) for y, c in sides))
        p, q = np.array([y1.mean()]), np.array([y2.mean()])
        n = np.array([float(per_group)])
        low, high = limits(p, n, q, n, float(ndtri(0.975)))
        crude += int(low[0] > 0.0 or high[0] < 0.0)
        assert e.low is not None
        assert e.high is not None
        assert e.value is not None
        standardised += int(e.low > 0.0 or e.high < 0.0)
        inside += int(e.low <= real <= e.high)
        values.append(e.value)
    return Explained(
        name=name,
        crude_apart=crude / studies,
        standardised_apart=standardised / studies,
        covered=inside / studies,
        mean=float(np.mean(values)),
    )


# --- tables ---------------------------------------------------------------------------------------------------------


def report(studies: int, seed: int = 20261123) -> str:
    """All tables as Markdown; the same seed gives the same text."""
    rng = np.random.default_rng(seed)
    lines = [
        "# Gaps between groups in simulated studies",
        "",
        f"`make bias-simulations`: {studies:,} studies per row, seed {seed}. Shares of positives found, against the "
        "first group.",
        "",
        "## Coverage of 95 % intervals, and false disparities",
        "",
        f"Enough is {100 * ENOUGH:g} % less three Monte Carlo standard errors; a mean above 96.5 % is called "
        "conservative. False disparity: any group called a disparity where all are equal (test of all groups, then "
        "Holm). With patients of three cases each (intraclass correlation 0.3) the numbers are those of patients.",
        "",
        "| groups and positives | truth | coverage, lowest gap % | mean % | | undefined | any false disparity % |",
        "|---|---|---|---|---|---|---|",
    ]
    worst = 0.0
    for counts, truths, patients in designs():
        c = covered(rng, studies, counts, truths, patients=patients)
        false = "–" if c.false_disparity is None else f"{100 * c.false_disparity:.1f}"
        worst = max(worst, c.false_disparity or 0.0)
        shown = f"{100 * c.lowest:.1f} | {100 * c.mean:.1f} | {c.verdict}"
        lines.append(f"| {c.design} | {c.truth} | {shown} | {c.undefined} | {false} |")
    lines += [
        "",
        f"Highest rate of any false disparity: {100 * worst:.1f} %.",
        "",
        "## The four outcomes",
        "",
        "Three groups against a reference of 1,000 positives at 0.85; the first has the gap, the two others (300 "
        "positives each) have none. Per cent of studies.",
        "",
        "| positives | true gap | margin | equivalent | disparity | inconclusive | not assessable |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in characteristics(rng, studies):
        rates = " | ".join(f"{100 * r:.1f}" for r in row.rates)
        lines.append(f"| {row.positives} | {row.gap:g} | {row.margin:g} | {rates} |")
    lines += [
        "",
        "## Case mix",
        "",
        "300 positives per group, found .6 of mild and .95 of severe, 30 to 70 mild to severe in one group and 70 to "
        "30 in the other. Per cent of studies whose interval leaves out 0; whose standardised one covers the truth.",
        "",
        "| truth | crude leaves out 0 | standardised leaves out 0 | standardised covers | mean standardised gap |",
        "|---|---|---|---|---|",
    ]
    for name, real in (("case mix alone", 0.0), ("case mix and a real gap of 0.1", 0.1)):
        x = explained(rng, max(20, studies // 5), name, real)
        lines.append(
            f"| {x.name} | {100 * x.crude_apart:.1f} | {100 * x.standardised_apart:.1f} | {100 * x.covered:.1f} "
            f"| {x.mean:.3f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    text = report(arguments.studies)
    if arguments.out is None:
        print(text)
    else:
        arguments.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
