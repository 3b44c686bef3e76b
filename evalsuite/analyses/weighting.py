"""Figures for the population a set was sampled from: each case counts by the inverse of its chance of being drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pandas as pd

from evalsuite.analyses.common import Cell, Results
from evalsuite.analyses.metrics import COMPUTABLE, cut, two_sided_level
from evalsuite.analyses.paired import Cutoff, cutoff
from evalsuite.analyses.population import WEIGHT, Accountable, Population
from evalsuite.analyses.several import OneOf
from evalsuite.analyses.views import primary_view
from evalsuite.errors import InputError, Problem
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.proportions import ProportionMethod
from evalsuite.stats.weighting import (
    CallMetric,
    kish_effective_n,
    weighted_auroc,
    weighted_brier,
    weighted_call_metric,
)
from evalsuite.types import Estimate, Finding

ANALYSIS = "weighting"
WEIGHTED = ("auroc", "sensitivity", "specificity", "ppv", "npv", "brier")


def weighted_figures(
    protocol: StudyProtocol,
    population: Accountable,
    cells: Sequence[Cell],
    frame: pd.DataFrame,
    unweighted: Sequence[Finding],
    one_of: OneOf | None = None,
) -> Results:
    """Weighted AUROC, sensitivity, specificity, predictive values and Brier score, in the whole set and every group.

    A finding has the endpoint's name of its unweighted counterpart among `unweighted` (the primary analysis), the
    condition "weighted", and the same assumptions about missing data. Nothing where the protocol does not ask. With
    several classes or labels the figures are of each of them: `one_of` says who is asked, and called how.

    Raises
    ------
    InputError
        If the protocol asks for weights and the locked test set has none; if the column of sampling strata is absent or
        empty for a case, or puts a patient into two of them.
    """
    if protocol.analyses.weighting is None:
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=())
    if WEIGHT not in frame.columns:
        raise InputError(
            f"The protocol asks for weighted figures, and the locked test set has no column '{WEIGHT}'.",
            hint=f"Lock the set from a table with '{WEIGHT}', or remove analyses.weighting.",
        )
    weight = np.array([float(str(w)) for w in frame[WEIGHT]], dtype=np.float64)
    drawn_from = _sampling_strata(protocol.analyses.weighting.stratum, population, frame)
    names: dict[tuple[str, str | None, str | None], Finding] = {}
    declared = {e.name for e in protocol.endpoints if e.prevalence is not None}
    for f in unweighted:
        plain = f.condition is None and not f.stratum and f.analysis in ("performance", "calibration")
        weighable = f.metric in WEIGHTED and (one_of is None or f.target is not None)
        if plain and weighable and f.endpoint not in declared:
            names.setdefault((f.metric, f.operating_point, f.target), f)

    def asked(metric: str, at: str | None, target: str | None) -> tuple[Population, Cutoff | None]:
        if one_of is None or target is None:
            return cast(Population, population), cutoff(protocol, at)
        return one_of(metric, at, target)

    findings = [
        Finding(
            analysis=ANALYSIS,
            endpoint=beside.endpoint,
            metric=metric,
            role="descriptive",
            target=beside.target,
            operating_point=at,
            stratum=dict(cell.stratum),
            condition="weighted",
            estimate=_estimate(protocol, *asked(metric, at, target), cell, metric, weight, drawn_from),
        )
        for (metric, at, target), beside in names.items()
        for cell in cells
    ]
    effective = kish_effective_n(weight)
    notes: tuple[str, ...] = (
        f"The case table has sampling weights; {len(weight)} cases carry the information of about {effective:.0f} "
        "equally weighted ones. Criteria are judged on the set as it is, unweighted; weighted figures stand beside.",
    )
    if drawn_from is not None:
        strata = len(np.unique(drawn_from))
        notes += (f"Weighted intervals allow for {strata} sampling strata ('{protocol.analyses.weighting.stratum}').",)
    return Results(findings=tuple(findings), curves=(), accounting=(), tests=(), notes=notes)


def _sampling_strata(column: str | None, population: Accountable, frame: pd.DataFrame) -> np.ndarray | None:
    """The sampling stratum of each case (n,); None where the protocol names no column."""
    if column is None:
        return None
    if column not in frame.columns:
        raise InputError(
            f"The locked test set has no column '{column}' of sampling strata.",
            hint=f"Columns: {', '.join(map(str, frame.columns))}. Correct analyses.weighting.stratum.",
        )
    labels = np.array([str(c).strip() for c in frame[column]], dtype=object)
    first: dict[int, str] = {}
    problems: list[Problem] = []
    for case, patient, label in zip(population.case_id, population.patient_index, labels, strict=True):
        if not label:
            problems.append(Problem("no sampling stratum", f"case {case}"))
        elif first.setdefault(int(patient), label) != label:
            problems.append(
                Problem("another sampling stratum than an earlier case of the same patient", f"case {case}")
            )
    if problems:
        raise InputError(
            f"{len(problems)} cells of '{column}' do not say which stratum their patient was drawn from.",
            problems=problems[:20],
            hint="Every patient is drawn from one sampling stratum: write it into each of the patient's cases.",
        )
    return labels.astype(str)


def _estimate(
    protocol: StudyProtocol,
    population: Population,
    called: Cutoff | None,
    cell: Cell,
    metric: str,
    weight: np.ndarray,
    drawn_from: np.ndarray | None,
) -> Estimate:
    level = two_sided_level(protocol.confidence)
    view = primary_view(protocol, population, metric, None, within=cell.mask, cutoff=called)
    c = cut(view, cell.mask, population.patient_index, protocol.confidence)
    w = weight[cell.mask & view.include]
    s = None if drawn_from is None else drawn_from[cell.mask & view.include]
    reason = _why_not(protocol, cell, metric, n=len(w), n_positive=c.n_positive, n_negative=c.n_negative)
    if reason is not None:
        return Estimate.not_estimable(reason, n=len(w), level=level, **c.counts())
    if metric == "auroc":
        return weighted_auroc(c.reference, c.score, w, patient=c.patient_index, stratum=s, level=level)
    if metric == "brier":
        if c.probability is None:
            return Estimate.not_estimable("the score is not a probability", n=len(w), level=level, **c.counts())
        return weighted_brier(c.reference, c.probability, w, patient=c.patient_index, stratum=s, level=level)
    assert c.call is not None, "the protocol's loader requires an operating point"
    return weighted_call_metric(
        cast(CallMetric, metric),
        c.reference,
        c.call,
        w,
        patient=c.patient_index,
        stratum=s,
        level=level,
        method=cast(ProportionMethod, protocol.confidence.proportion),
    )


def _why_not(
    protocol: StudyProtocol, cell: Cell, metric: str, *, n: int, n_positive: int, n_negative: int
) -> str | None:
    """Why there is no figure in this group: the same rule as for the unweighted one."""
    if n == 0:
        return "no cases"
    least = protocol.small_strata.suppress_below
    kinds = {"positives": ("positive",), "negatives": ("negative",), "both": ("positive", "negative"), "any": ()}
    have = {"positive": n_positive, "negative": n_negative}
    for kind in kinds[COMPUTABLE[metric].needs]:
        if have[kind] == 0:
            return f"no reference-{kind} cases"
        if not cell.whole and have[kind] < least:
            return f"not assessable: {have[kind]} reference-{kind} cases, fewer than {least}"
    if COMPUTABLE[metric].needs == "any" and not cell.whole and n < least:
        return f"not assessable: {n} cases, fewer than {least}"
    return None
