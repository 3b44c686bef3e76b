"""Sensitivity and specificity where only some cases got the reference standard: corrected, as a secondary figure."""

from __future__ import annotations

import numpy as np
import pandas as pd

from evalsuite.analyses.common import Results
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.population import Bools, Population
from evalsuite.errors import InputError, Problem
from evalsuite.protocol.schema import OperatingPoint, StudyProtocol, Verification
from evalsuite.stats.verification_bias import begg_greenes
from evalsuite.types import Estimate, Finding

ANALYSIS = "verification_bias"
_YES, _NO = ("1", "true", "yes"), ("0", "false", "no", "")


def corrected_figures(protocol: StudyProtocol, population: Population, frame: pd.DataFrame) -> Results:
    """Begg-Greenes corrected sensitivity and specificity at every operating point; nothing where it is not asked for.

    Findings of the whole set: "corrected", beside them "verified_only" (the verified cases alone) and the shares that
    were verified among positive and negative calls (metrics "verified_among_positive_calls" and
    "verified_among_negative_calls"). Cases without a usable output have no call and are left out, which a note says.

    Raises
    ------
    InputError
        If a column is absent, or a cell of the column of verified cases says neither yes nor no.
    """
    asked = protocol.analyses.verification
    if asked is None:
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=())
    said = _verified(frame, asked, population.case_id)
    verified = said & population.has_reference
    covariate = _covariate(frame, asked)
    findings = [f for point in protocol.operating_points for f in _at(protocol, population, verified, covariate, point)]
    but = "the call" if not asked.covariates else f"the call and {', '.join(asked.covariates)}"
    notes = [
        "Figures corrected for partial verification rest on the assumption that whether a case was verified depends on "
        f"nothing related to the disease but {but}; no criterion is judged on them."
    ]
    counts = {
        "cases have no usable output, hence no call, and are not in the figures corrected for verification": int(
            (~population.has_output).sum()
        ),
        "cases are marked verified without an established reference standard, and count as not verified": int(
            (said & ~population.has_reference).sum()
        ),
        "cases have a reference standard but are marked as not verified; the correction does not look at it": int(
            (~said & population.has_reference).sum()
        ),
    }
    notes += [f"{n} {what}." for what, n in counts.items() if n]
    return Results(findings=tuple(findings), curves=(), accounting=(), tests=(), notes=tuple(notes))


def _covariate(frame: pd.DataFrame, asked: Verification) -> np.ndarray | None:
    """One label per case (n,) for the combination of all covariates; an empty cell is a group of its own."""
    absent = [c for c in asked.covariates if c not in frame.columns]
    if absent:
        raise InputError(
            f"The locked test set has no column {', '.join(repr(c) for c in absent)}, on which verification depended.",
            hint=f"Columns: {', '.join(map(str, frame.columns))}. Correct analyses.verification.covariates.",
        )
    if not asked.covariates:
        return None
    rows = zip(*([str(v).strip() for v in frame[c]] for c in asked.covariates), strict=True)
    groups: dict[tuple[str, ...], int] = {}
    return np.array([groups.setdefault(row, len(groups)) for row in rows], dtype=np.intp)


def _verified(frame: pd.DataFrame, asked: Verification, case_id: tuple[str, ...]) -> Bools:
    if asked.verified not in frame.columns:
        raise InputError(
            f"The locked test set has no column '{asked.verified}', which says who was verified.",
            hint=f"Columns: {', '.join(map(str, frame.columns))}. Correct analyses.verification.verified.",
        )
    cells = [str(c).strip().lower() for c in frame[asked.verified]]
    strange = [name for name, cell in zip(case_id, cells, strict=True) if cell not in (*_YES, *_NO)]
    if strange:
        raise InputError(
            f"{len(strange)} cells of '{asked.verified}' say neither yes nor no.",
            problems=[Problem("neither yes nor no", f"case {c}") for c in strange[:20]],
            hint="Use 1, true or yes for a verified case; 0, false, no or an empty cell for another.",
        )
    return np.array([cell in _YES for cell in cells], dtype=bool)


def _at(
    protocol: StudyProtocol,
    population: Population,
    verified: Bools,
    covariate: np.ndarray | None,
    point: OperatingPoint,
) -> list[Finding]:
    m = population.has_output
    score = population.score[m]
    call = score > point.threshold if point.comparison == ">" else score >= point.threshold
    found = begg_greenes(
        call,
        verified[m],
        population.positive[m],
        covariate=None if covariate is None else covariate[m],
        patient=population.patient_index[m],
        level=two_sided_level(protocol.confidence),
    )
    rows: tuple[tuple[str, str, Estimate], ...] = (
        ("sensitivity", "corrected", found.sensitivity),
        ("sensitivity", "verified_only", found.naive_sensitivity),
        ("specificity", "corrected", found.specificity),
        ("specificity", "verified_only", found.naive_specificity),
        ("verified_among_positive_calls", "verified_only", found.verified_positive),
        ("verified_among_negative_calls", "verified_only", found.verified_negative),
    )
    return [
        Finding(
            analysis=ANALYSIS,
            endpoint=f"{metric} at {point.name}",
            metric=metric,
            role="secondary",
            target=str(protocol.task.reference),
            operating_point=point.name,
            condition=condition,
            estimate=estimate,
        )
        for metric, condition, estimate in rows
    ]
