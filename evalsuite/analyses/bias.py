"""Bias: gaps between groups of patients, with what they can and cannot show, before anyone speaks of fairness."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evalsuite.analyses.bias_explain import (
    PREDICTIVE,
    STANDARDISED,
    CaseMix,
    case_mix_of,
    cases_of,
    explained,
    imbalances,
    telling_strata,
)
from evalsuite.analyses.bias_figures import NEED_CALL, NEED_PROBABILITY, Figures, Found, complement
from evalsuite.analyses.bias_ranges import equalised_odds, ranges_and_worst
from evalsuite.analyses.common import Results
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.paired import cutoff
from evalsuite.analyses.population import Bools, OutputPolicy, Population, ReferencePolicy
from evalsuite.protocol.bias_block import COMPLEMENT, REST, Bias, BiasAttribute
from evalsuite.protocol.bias_outcomes import ADJUSTED, EQUIVALENCE, EXTREMES, GapOutcome, classify
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.group_figures import GroupFigure
from evalsuite.stats.group_gaps import detectable_gap, gap, gap_p, holm_levels, omnibus
from evalsuite.stats.multiplicity import adjust_p
from evalsuite.testset.strata import StratumLabels
from evalsuite.types import Estimate, Finding, TestOutcome

ANALYSIS = "bias"
#: In one extreme the group gets the worst case of what is missing and the other side the best; then the reverse.
_SIDES: tuple[tuple[tuple[OutputPolicy, ReferencePolicy], tuple[OutputPolicy, ReferencePolicy]], ...] = (
    (("worst_case", "worst_case"), ("best_case", "best_case")),
    (("best_case", "best_case"), ("worst_case", "worst_case")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One group of an attribute: how evidence names it, its name on one line, and its cases."""

    stratum: Mapping[str, str]
    name: str
    mask: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A group and what it is compared with; `declared` pairs are the pre-specified family, the others stand beside."""

    group: Group
    other: Group
    declared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """The groups of one attribute that have cases, and the pairs that are compared."""

    asked: BiasAttribute
    groups: tuple[Group, ...]
    pairs: tuple[Pair, ...]
    shared: bool


def asked_metrics(protocol: StudyProtocol, asked: Bias, population: Population | None = None) -> tuple[str, ...]:
    """The block's metrics that the study can have: those of calls need an operating point, others a probability."""
    calls = bool(protocol.operating_points)
    probability = protocol.task.probability and (population is None or population.is_probability)
    return tuple(
        m for m in asked.compared if (calls or m not in NEED_CALL) and (probability or m not in NEED_PROBABILITY)
    )


def point_of(protocol: StudyProtocol, asked: Bias) -> str | None:
    """Name of the operating point of the block's calls."""
    return asked.at or (protocol.operating_points[0].name if protocol.operating_points else None)


def groups_of(labels: StratumLabels) -> tuple[Group, ...]:
    """The groups that have cases."""
    made = (
        Group(stratum=labels.as_stratum(i), name=" × ".join(level), mask=labels.mask(i))
        for i, level in enumerate(labels.levels)
    )
    return tuple(g for g in made if g.mask.any())


def _attribute(asked: BiasAttribute, labels: StratumLabels, patient_index: np.ndarray) -> Attribute:
    groups = groups_of(labels)
    if asked.reference is None:
        if len(groups) == 2:
            # With two groups the rest of one is the other: one gap, said once.
            pairs = [Pair(group=groups[0], other=groups[1], declared=True)]
        else:
            pairs = [Pair(group=g, other=_rest(g), declared=True) for g in groups if not g.mask.all()]
    else:
        name = reference_name(asked, labels)
        of_nobody = Group(stratum={}, name=name, mask=np.zeros(len(labels.index), dtype=bool))
        other = next((g for g in groups if g.name == name), of_nobody)
        pairs = [Pair(group=g, other=other, declared=True) for g in groups if g.name != name]
        if len(groups) > 2:
            pairs += [Pair(group=g, other=_rest(g), declared=False) for g in groups]
    order = np.argsort(patient_index, kind="stable")
    who, level = patient_index[order], labels.index[order]
    shared = bool(((who[1:] == who[:-1]) & (level[1:] != level[:-1])).any())
    return Attribute(asked=asked, groups=groups, pairs=tuple(pairs), shared=shared)


def _rest(group: Group) -> Group:
    return Group(stratum={}, name=REST, mask=~group.mask)


def reference_name(asked: BiasAttribute, labels: StratumLabels) -> str:
    """The declared reference group on one line; parts of a cross in the order of the cross."""
    if isinstance(asked.reference, dict):
        return " × ".join(asked.reference.get(key, "") for key in labels.keys)
    return str(asked.reference)


def gaps_between_groups(
    protocol: StudyProtocol,
    population: Population,
    labels: Mapping[str, StratumLabels],
    findings: Sequence[Finding],
) -> Results:
    """Every figure in every group, every declared gap with its outcome, and what chance alone would do.

    Per attribute and metric: the groups' figures, a test that all are equal, each gap with its interval, its
    Holm-adjusted interval, its 90 % interval where a margin is declared, both extremes of what is missing, the smallest
    gap that could have been found, and the lowest group beside what the lowest of equal groups would show. Nothing
    without the block `analyses.bias`.

    Parameters
    ----------
    findings
        Of the primary analysis: where it has a group's figure already, that estimate is taken over.
    """
    asked = protocol.analyses.bias
    if asked is None:
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=())
    at = point_of(protocol, asked)
    made: list[Finding] = []
    tests: list[TestOutcome] = []
    notes: list[str] = []
    for attribute_asked in asked.attributes:
        group_labels = labels[attribute_asked.stratum]
        attribute = _attribute(attribute_asked, group_labels, population.patient_index)
        if attribute_asked.reference is not None and not any(p.other.mask.any() for p in attribute.pairs if p.declared):
            notes.append(
                f"No case belongs to the group '{reference_name(attribute_asked, group_labels)}' of "
                f"'{attribute_asked.stratum}': nothing to compare with."
            )
        figures = Figures(
            protocol=protocol,
            population=population,
            cutoff=cutoff(protocol, at),
            among_all=population.n_patients if attribute.shared else None,
        )
        names = asked_metrics(protocol, asked, population)
        mix = case_mix_of(asked.case_mix, labels, attribute_asked.stratum)
        telling = telling_strata(asked.case_mix, labels, population)
        blind = case_mix_of(asked.case_mix, labels, attribute_asked.stratum, telling)
        wanted = dict.fromkeys(COMPLEMENT.get(m, m) for m in names)
        both: dict[str, _Study] = {}
        for metric in wanted:
            study = _Study(
                protocol, asked, attribute, figures, metric, at, findings, blind if metric in PREDICTIVE else mix
            )
            mine = study.findings()
            both[metric] = study
            if metric in names:
                made += mine
                tests += study.tests
            for mirrored in (m for m in names if COMPLEMENT.get(m) == metric):
                made += _mirrored(mine, metric, mirrored)
        if "sensitivity" in both and "specificity" in both:
            first, second = both["sensitivity"], both["specificity"]
            made += equalised_odds(
                attribute_asked.stratum,
                first.assessable(),
                second.assessable(),
                level=first.level,
                template=replace(first.template, operating_point=at),
                seed=first.seed,
            )
        made += _imbalances(protocol, asked, population, labels, attribute, next(iter(both.values())))
        if attribute.shared:
            notes.append(
                f"Some patients have cases in several groups of '{attribute_asked.stratum}': gaps allow for it."
            )
    return Results(findings=tuple(made), curves=(), accounting=(), tests=tuple(tests), notes=tuple(notes))


def _imbalances(
    protocol: StudyProtocol,
    asked: Bias,
    population: Population,
    labels: Mapping[str, StratumLabels],
    attribute: Attribute,
    study: _Study,
) -> Iterator[Finding]:
    """What the sides of the declared gaps differ in: other attributes, case mix, how the reference was made."""
    simple = [a.stratum for a in asked.attributes if protocol.stratum(a.stratum).cross is None]
    verification = [] if asked.verification is None else [asked.verification]
    names = list(dict.fromkeys([*asked.case_mix, *verification, *simple]))
    pairs = [
        (
            p.group.mask,
            p.other.mask,
            replace(study.template, stratum=dict(p.group.stratum), reference_group=p.other.name),
        )
        for p in attribute.pairs
        if p.declared
    ]
    spectrum = [*asked.case_mix, *verification]
    return imbalances(population, labels, names, spectrum, attribute.asked.stratum, pairs)


def _mirrored(findings: Sequence[Finding], metric: str, name: str) -> Iterator[Finding]:
    """The same figures, gaps and outcomes of one less the metric."""
    for f in findings:
        if f.metric == metric:
            yield replace(f, metric=name, endpoint=name, estimate=complement(f.estimate))
        elif f.metric == f"{metric}_difference":
            yield replace(f, metric=f"{name}_difference", endpoint=name, estimate=complement(f.estimate, gap=True))


class _Study:
    """One attribute and one metric."""

    def __init__(
        self,
        protocol: StudyProtocol,
        asked: Bias,
        attribute: Attribute,
        figures: Figures,
        metric: str,
        at: str | None,
        findings: Sequence[Finding],
        mix: CaseMix | None = None,
    ) -> None:
        self.protocol, self.asked, self.attribute = protocol, asked, attribute
        self.figures, self.metric = figures, metric
        self.at = at if metric in NEED_CALL else None
        self.primary, self.mix = findings, mix
        self.level = asked.level or two_sided_level(protocol.confidence)
        self.margin = asked.margin(metric)
        criteria = any(
            COMPLEMENT.get(c.metric, c.metric) == metric and c.attribute == attribute.asked.stratum
            for c in asked.criteria
        )
        self.equivalence = self.margin is not None or criteria
        self.endpoint = self._endpoint()
        self.tests: list[TestOutcome] = []
        shares = mix is not None and metric in STANDARDISED
        self._everyone = cases_of(figures, metric) if shares else np.zeros(0, dtype=np.intp)
        self._found: dict[tuple[str, OutputPolicy | None, ReferencePolicy | None], Found] = {}

    def _endpoint(self) -> str:
        for e in self.protocol.endpoints:
            if (e.metric, e.at) == (self.metric, self.at) and e.prevalence is None and e.each is None and not e.stratum:
                return e.name
        return self.metric

    def _of(
        self,
        group: Group,
        owner: Group,
        outputs: OutputPolicy | None = None,
        references: ReferencePolicy | None = None,
    ) -> Found:
        """`owner` tells the rest of one group from the rest of another."""
        key = (group.name if group.name != REST else f"{REST} of {owner.name}", outputs, references)
        if key not in self._found:
            self._found[key] = self.figures.of(self.metric, group.mask, outputs, references)
        return self._found[key]

    def findings(self) -> list[Finding]:
        own = [(g, self._of(g, g)) for g in self.attribute.groups]
        made = [self._finding(g, self.metric, self._group_estimate(g, f), role="descriptive") for g, f in own]
        overall = omnibus(
            [f for _, f in self.assessable()],
            name=f"{self.endpoint}: all groups of {self.attribute.asked.stratum} equal",
            endpoint=self.endpoint,
        )
        self.tests.append(overall)
        declared = [p for p in self.attribute.pairs if p.declared]
        made += self._family(declared, overall, declared=True)
        beside = [p for p in self.attribute.pairs if not p.declared]
        made += self._family(beside, overall, declared=False)
        made += ranges_and_worst(
            self.metric,
            self.attribute.asked.stratum,
            self.assessable(),
            level=self.level,
            template=self.template,
            seed=self.seed,
        )
        return made

    def assessable(self) -> list[tuple[Mapping[str, str], GroupFigure]]:
        """The groups that have a figure."""
        own = ((g, self._of(g, g).figure) for g in self.attribute.groups)
        return [(g.stratum, f) for g, f in own if f is not None]

    @property
    def template(self) -> Finding:
        """A finding on the attribute as a whole, its figure still to be filled in."""
        return self._finding(None, self.metric, Estimate.not_estimable("to be filled in", n=0))

    @property
    def seed(self) -> tuple[int, ...]:
        """Of the draws under equality: the protocol's, and one's own for every attribute and metric."""
        return (self.protocol.seed, *_words(self.attribute.asked.stratum), *_words(self.metric))

    def _group_estimate(self, group: Group, found: Found) -> Estimate:
        """As the primary analysis has it, so that one group has one figure; else with the limits of its gaps."""
        for f in self.primary:
            same = f.metric == self.metric and f.operating_point == self.at and dict(f.stratum) == dict(group.stratum)
            if same and f.condition is None and f.reference_group is None and f.rater == "device":
                endpoint = next((e for e in self.protocol.endpoints if e.name == f.endpoint), None)
                if f.analysis in ("performance", "calibration") and (endpoint is None or endpoint.prevalence is None):
                    return f.estimate
        return found.estimate(self.level)

    # --- gaps ---------------------------------------------------------------------------------------------------------

    def _family(self, pairs: Sequence[Pair], overall: TestOutcome, *, declared: bool) -> Iterator[Finding]:
        holm = declared and self.asked.adjustment == "holm"
        alpha = 1.0 - self.level
        told = [self._gap(p, self.level) for p in pairs]
        p_values = [self._p(p) for p in pairs]
        adjusted = adjust_p([1.0 if p is None else p for _, p in p_values], "holm" if holm else "bh")
        levels = holm_levels([p for _, p in p_values], alpha)
        gate = len(self.attribute.groups) <= 2 or (overall.p_value is not None and overall.p_value <= alpha)
        for pair, estimate, (z, p), p_adjusted, each in zip(pairs, told, p_values, adjusted, levels, strict=True):
            name = f"{self.endpoint}: {self.attribute.asked.stratum} {pair.group.name} = {pair.other.name}"
            self.tests.append(
                TestOutcome(
                    name=name,
                    statistic=z,
                    p_value=p,
                    p_adjusted=None if p is None else float(p_adjusted),
                    method=f"by inverting the interval; {'Holm' if holm else 'Benjamini-Hochberg, exploratory'} over "
                    f"{len(pairs)} gap{'s' if len(pairs) > 1 else ''}",
                    endpoint=self.endpoint,
                    stratum=dict(pair.group.stratum),
                    undefined=None if p is not None else estimate.undefined or estimate.interval_undefined,
                )
            )
            yield from self._about(pair, estimate, each if holm else None, p_adjusted <= alpha and gate, declared)

    def _about(
        self, pair: Pair, estimate: Estimate, alpha: float | None, apart: bool, declared: bool
    ) -> Iterator[Finding]:
        narrow = self._gap(pair, 2.0 * self.level - 1.0) if self.equivalence else None
        extremes = self._extremes(pair)
        outcome: GapOutcome = classify(
            estimate,
            apart=apart,
            narrow=narrow,
            narrow_extremes=[e for _, e, _ in extremes if e is not None],
            wide_extremes=[e for _, _, e in extremes],
            margin=self.margin,
        )
        difference = f"{self.metric}_difference"
        role = "exploratory" if alpha is None else "secondary"

        def finding(e: Estimate, condition: str | None, word: GapOutcome | None = None) -> Finding:
            made = self._finding(pair.group, difference, e, role=role, prespecified=declared)
            return replace(made, reference_group=pair.other.name, condition=condition, outcome=word)

        yield finding(estimate, None, outcome)
        if alpha is not None:
            yield finding(self._gap(pair, 1.0 - alpha), ADJUSTED)
        if narrow is not None:
            yield finding(narrow, EQUIVALENCE)
        for condition, narrow_e, wide in extremes:
            yield finding(wide, condition)
            if narrow_e is not None:
                yield finding(narrow_e, f"{EQUIVALENCE}; {condition}")
        least = self._finding(
            pair.group, f"{self.metric}_detectable_gap", self._detectable(pair), prespecified=declared
        )
        yield replace(least, reference_group=pair.other.name)
        if self.mix is not None and self.metric in STANDARDISED and declared and estimate.value is not None:
            yield from explained(
                self.figures,
                self.metric,
                pair.group.mask,
                pair.other.mask,
                self.mix,
                everyone=self._everyone,
                level=self.level,
                template=finding(estimate, None),
            )

    def _gap(
        self,
        pair: Pair,
        level: float,
        first: tuple[OutputPolicy, ReferencePolicy] | None = None,
        second: tuple[OutputPolicy, ReferencePolicy] | None = None,
    ) -> Estimate:
        a = self._of(pair.group, pair.group, *(first or (None, None)))
        b = self._of(pair.other, pair.group, *(second or (None, None)))
        level = round(level, 12)
        counts: dict[str, Any] = {"n_positive": a.n_positive + b.n_positive, "n_negative": a.n_negative + b.n_negative}
        if a.figure is None or b.figure is None:
            which, why = (pair.group.name, a.reason) if a.figure is None else (pair.other.name, b.reason)
            word = "not assessable: " if not str(why).startswith("not assessable") else ""
            reason = f"{word}{why} ('{which}')"
            return Estimate.not_estimable(reason, n=a.n + b.n, level=level, **counts)
        return gap(a.figure, b.figure, level=level, **counts)

    def _p(self, pair: Pair) -> tuple[float | None, float | None]:
        a, b = self._of(pair.group, pair.group).figure, self._of(pair.other, pair.group).figure
        return (None, None) if a is None or b is None else gap_p(a, b)

    def _extremes(self, pair: Pair) -> list[tuple[str, Estimate | None, Estimate]]:
        if self.figures.complete(pair.group.mask | pair.other.mask):
            return []
        made = []
        for condition, (first, second) in zip(EXTREMES, _SIDES, strict=True):
            narrow = self._gap(pair, 2.0 * self.level - 1.0, first, second) if self.equivalence else None
            made.append((condition, narrow, self._gap(pair, self.level, first, second)))
        return made

    def _detectable(self, pair: Pair) -> Estimate:
        a, b = self._of(pair.group, pair.group), self._of(pair.other, pair.group)
        fields: dict[str, Any] = {"n": a.n + b.n, "level": self.level, "method": f"power {self.asked.power:g}"}
        if a.figure is None or b.figure is None:
            return Estimate.not_estimable((a if a.figure is None else b).reason or "not assessable", **fields)
        least = detectable_gap(b.figure, a.figure, power=self.asked.power, level=self.level)
        if least is None:
            return Estimate.not_estimable("no gap, however large, would be found with this power", **fields)
        return Estimate(value=least, interval_undefined="a figure of planning", **fields)

    def _finding(
        self,
        group: Group | None,
        metric: str,
        estimate: Estimate,
        *,
        role: str = "descriptive",
        prespecified: bool = True,
    ) -> Finding:
        return Finding(
            analysis=ANALYSIS,
            endpoint=self.endpoint,
            metric=metric,
            role=role,  # type: ignore[arg-type]
            target=str(self.protocol.task.reference),
            operating_point=self.at,
            stratum={} if group is None else dict(group.stratum),
            prespecified=prespecified,
            estimate=estimate,
        )


def _words(text: str) -> tuple[int, ...]:
    """A text as two numbers for a seed, the same on every machine."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:8], "big")
