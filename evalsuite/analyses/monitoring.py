"""Disease monitoring: pairs of visits, the change each method sees, and whether the response is called alike."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import pandas as pd

from evalsuite.analyses.common import Cell
from evalsuite.analyses.measurement_population import MeasurementPopulation
from evalsuite.analyses.population import Bools, Floats, Ints, OutputPolicy, ReferencePolicy, matches
from evalsuite.analyses.several import confusion_findings, enough
from evalsuite.errors import InputError, Problem
from evalsuite.protocol.blocks import Change
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats.change import change, response_agreement, response_category
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.proportions import ProportionMethod
from evalsuite.types import Estimate, Finding

ANALYSIS = "response"
#: Metrics of the change, and the metric of a measurement that each is, asked of changes.
OF_CHANGE = {
    "change_bias": "bias",
    "change_mae": "mae",
    "change_loa_lower": "loa_lower",
    "change_loa_upper": "loa_upper",
}
OF_RESPONSE = ("response_agreement", "response_opposite", "response_kappa")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Every pair of visits: its earlier case, and the change that each method saw, NaN where one is not known.

    `changes` is a population of pairs, device and reference being changes. `notes` say which cases are in no pair.
    """

    earlier: Ints
    changes: MeasurementPopulation
    notes: tuple[str, ...]

    def cell(self, cell: Cell) -> Cell:
        """The pairs of a group: those whose earlier visit belongs to it."""
        return Cell(stratum=cell.stratum, mask=cell.mask[self.earlier])


def pairs_of_visits(asked: Change, population: MeasurementPopulation, frame: pd.DataFrame) -> Pairs:
    """Join the earlier and the later case of everything followed.

    Raises
    ------
    InputError
        If a column is absent, something has two cases at one visit or belongs to two patients, or a relative change
        would start from a reference that is not above 0. Where a device's first value is not, its change is not known.
    """
    absent = [c for c in (asked.visit, asked.pair) if c is not None and c not in frame.columns]
    if absent:
        raise InputError(
            f"The locked test set has no column {', '.join(repr(c) for c in absent)} of visits.",
            hint=f"Columns: {', '.join(map(str, frame.columns))}. Correct analyses.change.",
        )
    visit = [str(c) for c in frame[asked.visit]]
    followed: list[object] = (
        [str(c).strip() for c in frame[asked.pair]] if asked.pair is not None else list(population.patient_index)
    )
    ends: dict[object, dict[str, int]] = {}
    problems: list[Problem] = []
    other = unnamed = 0
    for i, (what, text) in enumerate(zip(followed, visit, strict=True)):
        end = next((e for e in ("before", "after") if matches(text, getattr(asked, e))), None)
        if end is None:
            other += 1
        elif what == "":
            unnamed += 1
        elif end in ends.setdefault(what, {}):
            problems.append(Problem("a second case at the same visit", f"case {population.case_id[i]}"))
        elif any(population.patient_index[j] != population.patient_index[i] for j in ends[what].values()):
            problems.append(Problem("another patient than at the other visit", f"case {population.case_id[i]}"))
        else:
            ends[what][end] = i
    pairs = [(e["before"], e["after"]) for e in ends.values() if len(e) == 2]
    first, second = (np.array([p[j] for p in pairs], dtype=np.int64) for j in (0, 1))
    if asked.relative:
        problems += [
            Problem("a relative change starts from a reference above 0", f"case {population.case_id[j]}")
            for j in first
            if population.reference[j] <= 0
        ]
    if problems:
        raise InputError(
            f"{len(problems)} cases cannot be paired as analyses.change asks.",
            problems=problems[:20],
            hint="One case per visit of what is followed; name it with `pair` where a patient has several.",
        )
    alone = sum(len(e) == 1 for e in ends.values())
    from_nothing = int((asked.relative & (population.device[first] <= 0)).sum())
    counts = {
        "cases are of neither visit and not in the figures of change": other,
        "cases do not say what is followed and are not in the figures of change": unnamed,
        "pairs of visits have a first output that is not above 0: the device gives no relative change": from_nothing,
        "patients or lesions were seen at one of the two visits only and are not in the figures of change": alone,
    }
    return Pairs(
        earlier=first,
        changes=_changes(asked, population, first, second),
        notes=tuple(f"{n} {what}." for what, n in counts.items() if n),
    )


def _changes(asked: Change, p: MeasurementPopulation, first: Ints, second: Ints) -> MeasurementPopulation:
    def of(values: Floats) -> Floats:
        made = np.full(first.size, np.nan)
        known = np.isfinite(values[first]) & np.isfinite(values[second])
        if asked.relative:
            known &= values[first] > 0
        made[known] = change(values[first][known], values[second][known], relative=asked.relative)
        return made

    worse = [i if p.status[i] != "ok" else j for i, j in zip(first, second, strict=True)]
    unsettled = [i if p.reference_class[i] != "known" else j for i, j in zip(first, second, strict=True)]
    return MeasurementPopulation(
        case_id=tuple(p.case_id[i] for i in first),
        patient_index=p.patient_index[first],
        n_patients=len(np.unique(p.patient_index[first])),
        reference=of(p.reference),
        device=of(p.device),
        reference_class=tuple(p.reference_class[i] for i in unsettled),
        status=tuple(p.status[i] for i in worse),
    )


# --- response -------------------------------------------------------------------------------------------------------


def categories(asked: Change, changes: Floats) -> Ints:
    """Category of each change, 0 the largest decrease; -1 where the change is not known."""
    made = np.full(changes.size, -1, dtype=np.int64)
    known = np.isfinite(changes)
    nothing = np.zeros(int(known.sum()))
    made[known] = response_category(nothing, changes[known], asked.thresholds or (), relative=False)
    return made


def category_names(asked: Change) -> tuple[str, ...]:
    """What the categories are called: by their cut points."""
    cuts = [f"{100 * t:+g} %" if asked.relative else f"{t:+g}" for t in asked.thresholds or ()]
    below = [t < 0 for t in asked.thresholds or ()]
    names = [f"{'up to' if below[0] else 'below'} {cuts[0]}"]
    names += [f"between {a} and {b}" for a, b in itertools.pairwise(cuts)]
    return (*names, f"{'above' if below[-1] else 'from'} {cuts[-1]}")


def response(
    protocol: StudyProtocol,
    asked: Change,
    pairs: Pairs,
    e: Endpoint,
    cell: Cell,
    *,
    outputs: OutputPolicy,
    references: ReferencePolicy,
    level: float,
) -> Estimate:
    """Agreement of response categories in a group of pairs under one policy for missing outputs and references.

    A pair of which a measurement is not known disagrees (is opposite) in the worst case and agrees in the best; kappa
    has no worst case.
    """
    p = pairs.changes
    include = cell.mask.copy()
    if outputs == "exclude":
        include &= p.has_output
    if references == "exclude":
        include &= p.has_reference
    gone = include & ~p.both
    n = int(include.sum())
    if n == 0:
        return Estimate.not_estimable("no pairs of visits", n=0, level=level)
    small = enough(protocol, cell.whole, {"pairs of visits": n}, level, n)
    if small is not None:
        return small
    d, r = categories(asked, p.device), categories(asked, p.reference)
    k = len(category_names(asked))
    if e.metric == "response_kappa":
        if gone.any():
            why = (
                f"{int(gone.sum())} pairs of visits without an output or a reference, for which kappa has no worst case"
            )
            return Estimate.not_estimable(why, n=n, level=level)
        return response_agreement(d[include], r[include], k, patient=p.patient_index[include], level=level).kappa
    lost = np.where(~p.has_output, outputs == "worst_case", references == "worst_case")
    if e.metric == "response_agreement":
        hit = np.where(p.both, d == r, ~lost)
    else:
        hit = np.where(p.both, np.abs(d - r) == k - 1, lost)
    method = cast(ProportionMethod, e.interval or protocol.confidence.proportion)
    return clustered_proportion(hit[include], p.patient_index[include], level=level, method=method)


def response_table(asked: Change, pairs: Pairs, level: float) -> Iterator[Finding]:
    """The table of response categories as counted: reference category as target, the device's as condition."""
    if asked.thresholds is None or pairs.earlier.size == 0:
        return
    p = pairs.changes
    everyone: Bools = np.ones(p.n, dtype=bool)
    for finding in confusion_findings(
        categories(asked, p.reference),
        categories(asked, p.device),
        p.has_reference,
        p.has_output,
        p.patient_index,
        category_names(asked),
        level=level,
        cells=[Cell(stratum={}, mask=everyone)],
    ):
        yield replace(finding, analysis=ANALYSIS)
