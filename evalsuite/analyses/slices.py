"""Search for groups with more wrong cases among combinations of attributes, checked on patients held out.

Everything found is exploratory: no criterion is judged on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from evalsuite.analyses.classes import ClassPopulation
from evalsuite.analyses.common import Results
from evalsuite.analyses.embedding import embedding_columns
from evalsuite.analyses.failures import REST, rate_finding, searched
from evalsuite.analyses.population import Bools, Ints, Population
from evalsuite.analyses.wrong_cases import NO_OUTPUT, Question, WrongCases, wrong_cases
from evalsuite.protocol.failures import Slices
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.grouping import fit_groups
from evalsuite.stats.multiplicity import adjust_p
from evalsuite.stats.slices import Found, in_slice, search_half, search_slices
from evalsuite.testset.strata import assign_strata
from evalsuite.types import Finding, TestOutcome

ANALYSIS = "slices"
SEARCHED, HELD_OUT = "searched half", "held-out half"
EMBEDDING = "group of alike images"
NO_GROUP = "no embedding"
SCREEN = "Fisher's exact test (patients with several cases: score test), one-sided"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attributes:
    """What is combined: names, their levels, and each case's level (n, attributes)."""

    names: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    codes: Ints

    def stratum(self, found: Found) -> dict[str, str]:
        return {self.names[a]: self.levels[a][i] for a, i in found.terms}


def slice_search(
    protocol: StudyProtocol, population: Population | ClassPopulation, frame: pd.DataFrame, predictions: pd.DataFrame
) -> Results:
    """What `analyses.slices` asks for: per kind of failure, slices singled out in one half and tested in the other.

    Findings carry the share of wrong cases in a slice and (`reference_group` "all others") outside it, in each half
    (`condition`). Tests of the searched half are adjusted by Benjamini and Hochberg for all slices searched, those of
    the held-out half by Holm for all that were singled out, over all kinds of failure. Nothing without the block.
    """
    asked = protocol.analyses.slices
    if asked is None:
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=())
    wrong = wrong_cases(protocol, population, asked.at)
    half = search_half(wrong.patient_index, seed=protocol.seed)
    attributes, notes = _attributes(protocol, asked, frame, predictions, half)
    singled: list[tuple[Question, Found]] = []
    n_searched = 0
    for question in wrong.questions:
        if question.kind == NO_OUTPUT or not question.wrong.any():
            continue
        e = question.eligible
        search = search_slices(
            question.wrong[e],
            attributes.codes[e],
            wrong.patient_index[e],
            half[e],
            depth=asked.depth,
            support=asked.support,
            level=asked.level,
            seed=protocol.seed,
        )
        n_searched += search.n_searched
        singled += [(question, found) for found in search.found]
    checked = adjust_p([found.p_check for _, found in singled], "holm")
    findings: list[Finding] = []
    tests: list[TestOutcome] = []
    for (question, found), p in zip(singled, checked, strict=True):
        findings += _shares(protocol, wrong, question, found, attributes, half)
        tests += _tests(question, found, attributes, float(p))
    depth = f"up to {asked.depth} attributes" if asked.depth > 1 else "one attribute"
    n_holding = int((checked <= asked.level).sum())
    notes.append(
        f"Slices: {n_searched} groups of {depth} with at least {asked.support} cases "
        f"({', '.join(attributes.names)}) were searched for more wrong cases in half of the patients; "
        f"{len(singled)} were singled out and tested in the other half, of which {n_holding} "
        f"{'holds' if n_holding == 1 else 'hold'} there at a family-wise error of {asked.level:g}."
    )
    return Results(findings=tuple(findings), curves=(), accounting=(), tests=tuple(tests), notes=tuple(notes))


def _attributes(
    protocol: StudyProtocol, asked: Slices, frame: pd.DataFrame, predictions: pd.DataFrame, half: Bools
) -> tuple[_Attributes, list[str]]:
    labels = assign_strata(frame, protocol.strata)
    names = list(searched(protocol, asked.attributes))
    levels = [tuple(" / ".join(level) for level in labels[n].levels) for n in names]
    codes = [labels[n].index.astype(np.int64) for n in names]
    notes: list[str] = []
    if asked.embedding:
        columns, absent = embedding_columns(asked.embedding, [str(c) for c in predictions.columns])
        if absent:
            notes.append(
                f"Slices over embeddings: the model gives no output named {', '.join(absent)}, and these are left out."
            )
        if columns:
            features = predictions[columns].to_numpy(dtype=np.float64, na_value=np.nan)
            searchable = np.isfinite(features).all(axis=1) & half
            if searchable.any():
                # The groups are drawn without the held-out half, and without anybody's reference standard.
                groups = fit_groups(features[searchable], asked.clusters, seed=protocol.seed)
                found = groups.of(features)
                k = len(groups.centres)
                names.append(EMBEDDING)
                levels.append((*(str(i + 1) for i in range(k)), NO_GROUP))
                codes.append(np.where(found < 0, k, found))
            else:
                notes.append("Slices over embeddings: no case of the searched half has one, so there are no groups.")
    table = np.array(codes, dtype=np.int64).T.reshape(len(frame), len(names))
    return _Attributes(names=tuple(names), levels=tuple(levels), codes=table), notes


def _shares(
    protocol: StudyProtocol,
    wrong: WrongCases,
    question: Question,
    found: Found,
    attributes: _Attributes,
    half: Bools,
) -> list[Finding]:
    member = in_slice(attributes.codes, found.terms)
    stratum = attributes.stratum(found)
    return [
        rate_finding(
            protocol, wrong, question, mask & side & question.eligible, stratum, rest,
            analysis=ANALYSIS, condition=condition,
        )
        for condition, side in ((SEARCHED, half), (HELD_OUT, ~half))
        for mask, rest in ((member, None), (~member, REST))
    ]  # fmt: skip


def _tests(question: Question, found: Found, attributes: _Attributes, p_holm: float) -> list[TestOutcome]:
    stratum = attributes.stratum(found)
    said = ", ".join(f"{k} {v}" for k, v in stratum.items())
    return [
        TestOutcome(
            name=f"{question.kind}: {said} above all others, {half}",
            statistic=None,
            p_value=p,
            p_adjusted=adjusted,
            method=method,
            endpoint=question.kind,
            stratum=stratum,
        )
        for half, p, adjusted, method in (
            (HELD_OUT, found.p_check, p_holm, f"{found.method}; Holm over the slices singled out"),
            (SEARCHED, found.p_plain, found.p_search, f"{SCREEN}; Benjamini-Hochberg over all slices searched"),
        )
    ]
