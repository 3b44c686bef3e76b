"""Before a gap accuses the device: the same gap at the same case mix, and what else differs between the groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalsuite.analyses.bias_figures import Figures, answers
from evalsuite.analyses.population import Bools, Population
from evalsuite.stats.group_figures import GroupFigure
from evalsuite.stats.group_gaps import gap
from evalsuite.stats.standardised import (
    NO_SHARED_CELL,
    matched_mix,
    odds_ratio,
    overlap_weighted,
    standard_of,
    standardised_difference,
    standardised_share,
)
from evalsuite.testset.strata import StratumLabels
from evalsuite.types import Estimate, Finding

#: Of these the ones among cases with the same call, whose value at a given disease is known beforehand.
PREDICTIVE = ("ppv", "npv")
#: Figures that are shares of cases called right or wrong: those that can be standardised.
STANDARDISED = ("sensitivity", "specificity", "ppv", "npv", "accuracy", "selection_rate")
Codes = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseMix:
    """The strata that may explain a gap: their names, levels of each case, and the cell of each case."""

    names: tuple[str, ...]
    levels: tuple[Codes, ...]
    cell: Codes
    n_cells: int

    @property
    def said(self) -> str:
        return ", ".join(self.names)


def case_mix_of(
    names: Sequence[str], labels: Mapping[str, StratumLabels], attribute: str, telling: Sequence[str] = ()
) -> CaseMix | None:
    """The declared case mix but for what the attribute is made of and `telling` strata; None where nothing is left."""
    own = set(labels[attribute].keys)
    chosen = [name for name in names if not own & set(labels[name].keys) and name not in telling]
    if not chosen:
        return None
    levels = tuple(np.asarray(labels[name].index, dtype=np.intp) for name in chosen)
    combined = np.zeros(levels[0].size, dtype=np.int64)
    for name, codes in zip(chosen, levels, strict=True):
        combined = combined * len(labels[name].levels) + codes
    cell = np.unique(combined, return_inverse=True)[1].reshape(-1)
    return CaseMix(names=tuple(chosen), levels=levels, cell=cell.astype(np.intp), n_cells=int(cell.max()) + 1)


def telling_strata(names: Sequence[str], labels: Mapping[str, StratumLabels], population: Population) -> list[str]:
    """Strata whose every level holds cases of one class alone, such as the size of what was found.

    At a given size a predictive value is 0 or 1 by construction, so that predictive values are not brought to them.
    """
    known, positive = population.has_reference, population.positive
    found = []
    for name in names:
        index = labels[name].index[known]
        n = np.bincount(index, minlength=len(labels[name].levels))
        sick = np.bincount(index, weights=positive[known], minlength=n.size)
        if not ((sick > 0) & (sick < n)).any():
            found.append(name)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """The cases of one side of a gap that its metric is made of."""

    success: Bools
    cases: Codes

    def at(self, codes: Codes) -> Codes:
        return codes[self.cases]


def _side(figures: Figures, metric: str, mask: Bools) -> _Side:
    c, view = figures.cut(metric, mask)
    success, among, _ = answers(metric, c)
    return _Side(success=success[among], cases=np.flatnonzero(mask & view.include)[among])


def cases_of(figures: Figures, metric: str) -> Codes:
    """The whole set's cases that a metric is made of."""
    return _side(figures, metric, np.ones(figures.population.n, dtype=bool)).cases


def explained(
    figures: Figures,
    metric: str,
    first_mask: Bools,
    second_mask: Bools,
    mix: CaseMix,
    *,
    everyone: Codes,
    level: float,
    template: Finding,
) -> Iterator[Finding]:
    """The gap at the same case mix (standardised, matched, weighted, adjusted), and how much of it both sides share.

    Both sides' standardised figures come with it. `everyone` are the whole set's cases that the metric is made of
    (`cases_of`), `template` is the crude gap, whose metric, group and comparator they keep.
    """
    first, second = (_side(figures, metric, m) for m in (first_mask, second_mask))
    patient = figures.population.patient_index
    standard, covered = standard_of(mix.cell[everyone], first.at(mix.cell), second.at(mix.cell), mix.n_cells)
    n = first.cases.size + second.cases.size
    by = f"standardised={mix.said}"

    def finding(estimate: Estimate, condition: str, name: str | None = None) -> Finding:
        role: Any = "descriptive"
        return replace(
            template,
            metric=name or template.metric,
            estimate=estimate,
            condition=condition,
            outcome=None,
            role=role,
        )

    if not standard.any():
        yield finding(Estimate.not_estimable(NO_SHARED_CELL, n=n, level=level), by)
    else:
        made = [
            standardised_share(s.success, s.at(mix.cell), patient[s.cases], standard, among_all=figures.among_all)
            for s in (first, second)
        ]
        yield finding(_named(gap(made[0], made[1], level=level), "direct standardisation"), by)
        for which, figure in zip(("group", "other"), made, strict=True):
            yield finding(_share(figure, level), f"{by}; {which}", metric)
        shared = Estimate(
            value=covered,
            interval_undefined="a description of this set",
            method="share of the whole set's case mix that both have",
            n=everyone.size,
            level=level,
        )
        yield finding(shared, by, f"{metric}_case_mix_shared")
        alike, pairs = matched_mix(first.at(mix.cell), second.at(mix.cell), mix.n_cells)
        matched = [
            standardised_share(s.success, s.at(mix.cell), patient[s.cases], alike, among_all=figures.among_all)
            for s in (first, second)
        ]
        how = f"exact matching within the case mix, {pairs} pairs, the average of all such matchings"
        yield finding(_named(gap(*matched, level=level), how), f"matched={mix.said}")
    success = np.concatenate([first.success, second.success])
    cases = np.concatenate([first.cases, second.cases])
    in_group = np.arange(cases.size) < first.cases.size
    levels = [codes[cases] for codes in mix.levels]
    weighted = overlap_weighted(success, in_group, patient[cases], levels, among_all=figures.among_all)
    title = f"overlap_weighted={mix.said}"
    if isinstance(weighted, str):
        yield finding(Estimate.not_estimable(weighted, n=n, level=level), title)
    else:
        yield finding(_named(gap(*weighted, level=level), "overlap weights"), title)
    crude = odds_ratio(success, in_group, patient[cases], [], level=level)
    yield finding(crude, "crude", f"{metric}_odds_ratio")
    adjusted = odds_ratio(success, in_group, patient[cases], levels, level=level)
    yield finding(adjusted, f"regression_adjusted={mix.said}", f"{metric}_odds_ratio")


def _named(estimate: Estimate, how: str) -> Estimate:
    return replace(estimate, method=f"{how}; square-and-add of Wilson limits on effective numbers of cases")


def _share(figure: GroupFigure, level: float) -> Estimate:
    """A standardised share; its denominator is the effective number of cases."""
    fields: dict[str, Any] = {"n": figure.n, "n_patients": figure.n_patients, "level": level, "method": figure.method}
    if figure.limits is None or figure.effective_n is None:
        return Estimate(value=figure.value, interval_undefined=figure.no_interval, **fields)
    low, high = figure.limits(level)
    fields |= {"numerator": figure.value * figure.effective_n, "denominator": figure.effective_n}
    return Estimate(value=figure.value, low=low, high=high, **fields)


def imbalances(
    population: Population,
    labels: Mapping[str, StratumLabels],
    names: Sequence[str],
    spectrum: Sequence[str],
    attribute: str,
    pairs: Sequence[tuple[Bools, Bools, Finding]],
) -> Iterator[Finding]:
    """How differently two sides are made up: standardised differences of prevalence and of every level of `names`; of
    `spectrum` among cases with the condition too. The finding of each pair says which group against which.
    """
    own = set(labels[attribute].keys)
    for first, second, template in pairs:
        known = population.has_reference
        yield _imbalance(template, "prevalence", population.positive, first & known, second & known)
        for name in (n for n in names if not own & set(labels[n].keys)):
            for i, level in enumerate(labels[name].levels):
                said = f"{name}: {' × '.join(level)}"
                yield _imbalance(template, said, labels[name].mask(i), first, second)
        sick = known & population.positive
        for name in (n for n in spectrum if not own & set(labels[n].keys)):
            for i, level in enumerate(labels[name].levels):
                said = f"{name}: {' × '.join(level)}, of those with the condition"
                yield _imbalance(template, said, labels[name].mask(i), first & sick, second & sick)


def _imbalance(template: Finding, said: str, has: Bools, first: Bools, second: Bools) -> Finding:
    a, b = has[first], has[second]
    fields: dict[str, Any] = {"n": a.size + b.size, "method": "difference of shares over their standard deviation"}
    if not a.size or not b.size:
        estimate = Estimate.not_estimable("no cases on one side", **fields)
    else:
        fields |= {"numerator": float(a.mean()), "denominator": float(b.mean())}
        value = standardised_difference(a, b)
        if value is None:
            estimate = Estimate.not_estimable("all cases of one side and none of the other", **fields)
        else:
            estimate = Estimate(value=value, interval_undefined="a description of this set", **fields)
    return replace(
        template,
        endpoint="case mix",
        metric="standardised_difference",
        operating_point=None,
        condition=f"imbalance in {said}",
        estimate=estimate,
        outcome=None,
        role="descriptive",
    )
