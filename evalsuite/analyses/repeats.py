"""Repeated acquisitions of the same patients: how much of a score's spread is operator, camera, reader or repeat."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from evalsuite.analyses.common import Results
from evalsuite.analyses.measurement_population import MeasurementPopulation
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.population import Bools, Floats, Ints, Population
from evalsuite.errors import InputError, Problem
from evalsuite.protocol.blocks import VarianceSources
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.variance_components import RESIDUAL, gauge_study, variance_components
from evalsuite.types import Estimate, Finding

ANALYSIS = "variance_components"
SUBJECT = "subject"
#: Metrics of the findings, and the conditions under which two calls of one subject are compared.
COMPONENT, SHARE, DIFFER = "component_sd", "component_share", "calls_that_differ"
REPEATABILITY, REPRODUCIBILITY = "repeatability_coefficient", "reproducibility_coefficient"
SAME, ANY = "same_conditions", "any_other"
_MOST_PER_SUBJECT = 200
_FACTOR = 1.959963984540054 * math.sqrt(2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Acquisitions of all n cases: what was measured, under which conditions; `named` where all of it is recorded."""

    subject: Ints
    patient: Ints
    factors: Mapping[str, Ints]
    named: Bools
    crossed: bool

    def at(self, mask: Bools) -> Design:
        """The acquisitions of `mask` alone."""
        return Design(
            subject=self.subject[mask],
            patient=self.patient[mask],
            factors={name: codes[mask] for name, codes in self.factors.items()},
            named=self.named[mask],
            crossed=self.crossed,
        )


def spread_of_repeats(
    protocol: StudyProtocol, population: Population | MeasurementPopulation, frame: pd.DataFrame
) -> Results:
    """What `analyses.variance_components` asks for; nothing without it.

    Findings of the whole set, of endpoint "score": the standard deviation of each source (metric "component_sd",
    condition "source=NAME", "source=subject" and "source=residual" among them), its share of the variance
    ("component_share"), and the repeatability and reproducibility coefficients. Of "call at POINT" in a binary task:
    component shares, and the share of pairs of acquisitions of one subject with different calls ("calls_that_differ":
    "same_conditions", "other=FACTOR" whatever else differs, "any_other"). Acquisitions without an output, or with a
    factor that is not recorded, are left out, which a note says.

    Raises
    ------
    InputError
        If a column is absent, or a subject belongs to two patients.
    """
    asked = protocol.analyses.variance_components
    if asked is None:
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=())
    design = design_of(asked, population, frame)
    mask = design.named & population.has_output
    made = design.at(mask)
    values = population.device if isinstance(population, MeasurementPopulation) else population.score
    findings = list(_of_score(protocol, asked, values[mask], made))
    if isinstance(population, Population):
        for point in protocol.operating_points:
            score = values[mask]
            called = score > point.threshold if point.comparison == ">" else score >= point.threshold
            findings += _of_calls(protocol, asked, called, made, point.name)
    notes = tuple(_notes(population, design, made, mask))
    return Results(findings=tuple(findings), curves=(), accounting=(), tests=(), notes=notes)


def design_of(asked: VarianceSources, population: Population | MeasurementPopulation, frame: pd.DataFrame) -> Design:
    """The columns that the protocol names, as codes. InputError where one is absent or a subject has two patients."""
    wanted = [*asked.factors, *([asked.subject] if asked.subject else [])]
    absent = [c for c in wanted if c not in frame.columns]
    if absent:
        raise InputError(
            f"The locked test set has no column {', '.join(repr(c) for c in absent)} of repeated acquisitions.",
            hint=f"Columns: {', '.join(map(str, frame.columns))}. Correct analyses.variance_components.",
        )
    texts = {name: np.array([str(c).strip() for c in frame[name]], dtype=object) for name in wanted}
    named = np.ones(population.n, dtype=bool)
    for cells in texts.values():
        named &= cells != ""
    patient = np.asarray(population.patient_index)
    subject = patient if asked.subject is None else _codes(texts[asked.subject])
    strange: dict[int, int] = {}
    problems = []
    for case, own, who, known in zip(population.case_id, subject, patient, named, strict=True):
        if known and strange.setdefault(int(own), int(who)) != int(who):
            problems.append(Problem("another patient than earlier acquisitions of the same subject", f"case {case}"))
    if problems:
        raise InputError(
            f"Column '{asked.subject}' gives the same name to subjects of different patients.",
            problems=problems[:20],
            hint="Names of what was measured are unique over the whole table, e.g. patient and lesion joined.",
        )
    return Design(
        subject=subject,
        patient=patient,
        factors={name: _codes(texts[name]) for name in asked.factors},
        named=named,
        crossed=asked.interactions,
    )


def _codes(labels: np.ndarray) -> Ints:
    return np.unique(labels.astype(str), return_inverse=True)[1].reshape(-1).astype(np.int64)


def _notes(population: Population | MeasurementPopulation, design: Design, made: Design, mask: Bools) -> Iterator[str]:
    lost, unnamed = int((design.named & ~population.has_output).sum()), int((~design.named).sum())
    if lost:
        yield f"{lost} acquisitions without a usable output are not in the components of variation."
    if unnamed:
        yield f"{unnamed} acquisitions with an unrecorded factor or subject are not in the components of variation."
    sizes = np.bincount(made.subject) if mask.any() else np.zeros(0)
    once = int((sizes == 1).sum())
    if once:
        yield f"{once} of {int((sizes > 0).sum())} subjects were acquired once; they say nothing about repeats."


# --- scores ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spread:
    """Standard deviation of each source, each share of the variance, and the two coefficients."""

    sd: Mapping[str, Estimate]
    share: Mapping[str, float]
    repeatability: Estimate
    reproducibility: Estimate


def _of_score(protocol: StudyProtocol, asked: VarianceSources, values: Floats, made: Design) -> Iterator[Finding]:
    found = _spread(values, made, two_sided_level(protocol.confidence), intervals=True)
    for name, e in found.sd.items():
        yield _finding(protocol, "score", COMPONENT, f"source={name}", e)
    for name, share in found.share.items():
        yield _finding(protocol, "score", SHARE, f"source={name}", _of_variance(share, found.sd[name]))
    yield _finding(protocol, "score", REPEATABILITY, None, found.repeatability)
    yield _finding(protocol, "score", REPRODUCIBILITY, None, found.reproducibility)


def _of_variance(share: float, sd: Estimate) -> Estimate:
    return Estimate(
        value=share,
        interval_undefined="a share of the total variance; the interval is that of the standard deviation",
        n=sd.n,
        n_patients=sd.n_patients,
        level=sd.level,
        method=sd.method,
    )


def reproducibility(values: Floats, made: Design, level: float) -> Estimate:
    """The difference that two measurements of a subject under different conditions exceed 5 times in 100."""
    return _spread(values, made, level, intervals=False).reproducibility


def _spread(values: Floats, made: Design, level: float, *, intervals: bool) -> _Spread:
    """A balanced study of one factor by analysis of variance, any other by restricted maximum likelihood."""
    factors = _factors(made)
    people = len(np.unique(made.patient))
    if len(made.factors) == 1 and _balanced(made):
        ((name, codes),) = made.factors.items()
        g = gauge_study(values, made.subject, codes, level=level)
        sd = {SUBJECT: g.patient, name: g.operator}
        if g.interaction is not None:
            sd[f"{SUBJECT} by {name}"] = g.interaction
        sd[RESIDUAL] = g.repeatability
        squares = {k: float(e.value or 0.0) ** 2 for k, e in sd.items()}
        total = sum(squares.values())
        return _Spread(
            sd={k: replace(e, n_patients=people) for k, e in sd.items()},
            share={k: v / total for k, v in squares.items()} if total > 0 else {},
            repeatability=replace(g.repeatability_coefficient, n_patients=people),
            reproducibility=replace(g.reproducibility_coefficient, n_patients=people),
        )
    found = variance_components(values, factors, level=level, intervals=intervals)
    sd = {k: replace(e, n_patients=people) for k, e in found.sd.items()}
    residual = sd[RESIDUAL]
    if residual.value is None:
        return _Spread(sd=sd, share={}, repeatability=residual, reproducibility=residual)
    within = math.sqrt(sum(float(e.value or 0.0) ** 2 for k, e in sd.items() if k != SUBJECT))
    both = Estimate(
        value=_FACTOR * within,
        interval_undefined="a sum of several components has an interval in a balanced study of one factor only",
        n=residual.n,
        level=level,
        method=f"2.772 times the root of all components but the subject's; {found.method}",
        n_patients=people,
    )
    return _Spread(sd=sd, share=found.share, repeatability=_scaled(residual), reproducibility=both)


def _scaled(e: Estimate) -> Estimate:
    value, low, high = (None if v is None else _FACTOR * v for v in (e.value, e.low, e.high))
    return replace(e, value=value, low=low, high=high, method=f"2.772 times the standard deviation; {e.method}")


def _factors(made: Design) -> dict[str, Ints]:
    """Subject and factors, and what each factor adds subject by subject where some cell was acquired repeatedly."""
    factors: dict[str, Ints] = {SUBJECT: made.subject, **made.factors}
    if made.crossed:
        for name, codes in made.factors.items():
            joint = _codes(np.array([f"{a} {b}" for a, b in zip(made.subject, codes, strict=True)], dtype=object))
            if len(np.unique(joint)) < joint.size and not _alike(joint, made.subject) and not _alike(joint, codes):
                factors[f"{SUBJECT} by {name}"] = joint
    return factors


def _alike(a: Ints, b: Ints) -> bool:
    return len(np.unique(a)) == len(np.unique(b))


def _balanced(made: Design) -> bool:
    """Whether every level of the one factor measured every subject equally often."""
    (codes,) = made.factors.values()
    s, f = (np.unique(c, return_inverse=True)[1].reshape(-1) for c in (made.subject, codes))
    if s.size == 0 or s.max() < 1 or f.max() < 1:
        return False
    cells = np.bincount(s * (int(f.max()) + 1) + f, minlength=(int(s.max()) + 1) * (int(f.max()) + 1))
    return bool(cells.min() == cells.max())


# --- calls ----------------------------------------------------------------------------------------------------------


def _of_calls(
    protocol: StudyProtocol, asked: VarianceSources, called: Bools, made: Design, point: str
) -> Iterator[Finding]:
    level = two_sided_level(protocol.confidence)
    endpoint = f"call at {point}"
    found = _spread(called.astype(np.float64), made, level, intervals=False)
    for name, share in found.share.items():
        e = replace(_of_variance(share, found.sd[name]), interval_undefined="calls are not normally distributed")
        yield _finding(protocol, endpoint, SHARE, f"source={name}", e, point)
    for condition, e in differing_calls(called, made, level):
        yield _finding(protocol, endpoint, DIFFER, condition, e, point)


def differing_calls(called: Bools, made: Design, level: float) -> Iterator[tuple[str, Estimate]]:
    """Share of pairs of acquisitions of one subject with different calls, every subject counting once.

    Under the same conditions; with another level of each factor; of any two. Patients are the clusters; the levels
    (cameras, operators) are those of the study.
    """
    order = np.argsort(made.subject, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(made.subject[order]) != 0]) if order.size else np.zeros(0, dtype=int)
    groups = np.split(order, starts[1:]) if order.size else []
    names = list(made.factors)
    if any(len(g) > _MOST_PER_SUBJECT for g in groups):
        why = f"more than {_MOST_PER_SUBJECT} acquisitions of one subject"
        for condition in (SAME, *(f"other={name}" for name in names), ANY):
            yield condition, Estimate.not_estimable(why, n=int(order.size), level=level)
        return
    pairs = np.array([p for g in groups for p in itertools.combinations(g, 2)], dtype=np.int64).reshape(-1, 2)
    a, b = pairs[:, 0], pairs[:, 1]
    differs = called[a] != called[b]
    other = {name: codes[a] != codes[b] for name, codes in made.factors.items()}
    same = ~np.logical_or.reduce(list(other.values())) if other else np.ones(len(pairs), dtype=bool)
    everyone = np.ones(len(pairs), dtype=bool)
    for condition, chosen in ((SAME, same), *((f"other={name}", other[name]) for name in names), (ANY, everyone)):
        yield condition, _share(differs[chosen], made.subject[a][chosen], made.patient[a][chosen], level)


def _share(differs: Bools, subject: Ints, patient: Ints, level: float) -> Estimate:
    if differs.size == 0:
        return Estimate.not_estimable("no two acquisitions of one subject differ so", n=0, level=level)
    index, size = np.unique(subject, return_inverse=True, return_counts=True)[1:]
    equal = np.ptp(size) == 0
    weight = None if equal else 1.0 / size[index.reshape(-1)]
    return clustered_proportion(differs, patient, level=level, weight=weight)


def _finding(
    protocol: StudyProtocol,
    endpoint: str,
    metric: str,
    condition: str | None,
    estimate: Estimate,
    at: str | None = None,
) -> Finding:
    return Finding(
        analysis=ANALYSIS,
        endpoint=endpoint,
        metric=metric,
        role="descriptive",
        target=str(protocol.task.reference),
        operating_point=at,
        condition=condition,
        estimate=estimate,
    )
