"""Whether performance carries over: how much sites differ, what to expect at a new one, the figures without each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

import numpy as np

from evalsuite.analyses.common import Results
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.paired import Cutoff
from evalsuite.analyses.population import Bools, Floats, Population
from evalsuite.analyses.site_left_out import each_left_out
from evalsuite.analyses.views import primary_view
from evalsuite.protocol.metrics import METRICS
from evalsuite.protocol.schema import AurocInterval, BootstrapInterval, Endpoint, Generalisation, StudyProtocol
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.generalisation import (
    Scale,
    SiteEffect,
    SiteHeterogeneity,
    auroc_effects,
    effects_by_delta,
    effects_of_estimates,
    effects_of_shares,
    leave_one_site_out,
    proportion_effects,
    site_heterogeneity,
)
from evalsuite.stats.proportions import ProportionMethod
from evalsuite.stats.roc import auroc
from evalsuite.testset.strata import StratumLabels
from evalsuite.types import Estimate, Finding, TestOutcome

ANALYSIS = "generalisation"
_MISSING = "missing"
_RESAMPLED: tuple[str, ...] = get_args(BootstrapInterval)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cases:
    """The cases that count, each with its site; arrays of equal length."""

    reference: Bools
    score: Floats
    call: Bools | None
    site: np.ndarray
    patient: np.ndarray


#: Each site's figure as it enters the model, and the scale of the model.
EffectsOf = Callable[[Endpoint, StratumLabels], tuple[tuple[SiteEffect, ...], Scale]]


def generalise(
    protocol: StudyProtocol, labels: Mapping[str, StratumLabels], patient: np.ndarray, effects_of: EffectsOf
) -> Results:
    """Random effects over sites for every endpoint that `analyses.generalisation` names; nothing where it is absent.

    Findings, all of the whole set: the average of sites ("average_site"), the prediction interval for a site not in the
    study ("new_site"), the share of variation that is more than chance (metric "heterogeneity_i2") and the standard
    deviation between sites on the model's scale (metric "heterogeneity_tau"); each site's own figure ("site", in its
    stratum), the average of the others ("leave_out=SITE"), all others' cases taken together ("others=SITE") and the
    site less them ("gap=SITE", in its stratum). Missing data are treated within each site, or all others, as in the
    primary analysis. Cases whose site is not recorded do not enter. `patient (n,)` says whose each case is.
    """
    asked = protocol.analyses.generalisation
    if asked is None:
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=())
    group = labels[asked.site]
    findings: list[Finding] = []
    tests: list[TestOutcome] = []
    notes: list[str] = []
    lost = sum(int(group.mask(i).sum()) for i, level in enumerate(group.levels) if level == (_MISSING,))
    if lost:
        notes.append(f"{lost} cases without a recorded '{asked.site}' are in no model over sites.")
    by_name = {e.name: e for e in protocol.endpoints}
    for name in asked.endpoints:
        endpoint = by_name[name]
        effects, scale = effects_of(endpoint, group)
        model = site_heterogeneity(effects, scale=scale, level=two_sided_level(protocol.confidence), endpoint=name)
        findings += _of_model(protocol, endpoint, model)
        tests.append(_named(model.test, endpoint, asked))
        findings += [
            _finding(protocol, endpoint, e.estimate, "site", stratum={group.keys[0]: e.site}) for e in model.sites
        ]
        notes += [
            f"{asked.site} '{site}' is not in the model of {name} over sites: {why}."
            for site, why in model.left_out.items()
        ]
        if asked.leave_one_out:
            made, said = _left_out(protocol, endpoint, effects, asked, scale)
            findings += made
            notes += said
            names = [site for site, _ in sites_of(group)]
            findings += _beside_others(protocol, endpoint, group, names, patient, effects_of)
    return Results(findings=tuple(findings), curves=(), accounting=(), tests=tuple(tests), notes=tuple(notes))


def effects_of_one_question(
    protocol: StudyProtocol, population: Population, endpoint: Endpoint, group: StratumLabels, cutoff: Cutoff | None
) -> tuple[tuple[SiteEffect, ...], Scale]:
    """Sites' figures of a yes/no question: the task's, a label's, a class's against the rest (called by `cutoff`)."""
    return _effects(protocol, endpoint, _cases(protocol, population, endpoint, group, cutoff)), _scale(protocol)


def effects_of_figure(
    protocol: StudyProtocol, endpoint: Endpoint, estimates: Mapping[str, Estimate]
) -> tuple[tuple[SiteEffect, ...], Scale]:
    """Sites' figures of a whole task from each site's estimate: shares by their counts, others by their intervals.

    Figures that lie between 0 and 1 are modelled on the scale the protocol names, all others as they are.
    """
    info = METRICS[endpoint.metric]
    if all(e.numerator is not None and e.design_effect is not None for e in estimates.values() if e.value is not None):
        return effects_of_shares(estimates, scale=_scale(protocol)), _scale(protocol)
    scale: Scale = _scale(protocol) if (info.lower, info.upper) == (0.0, 1.0) else "identity"
    if scale == "logit":
        return effects_by_delta(estimates), scale
    return effects_of_estimates(estimates, scale=scale), scale


def sites_of(group: StratumLabels) -> Iterator[tuple[str, Bools]]:
    """Name and cases of every site that is recorded."""
    for i, level in enumerate(group.levels):
        if level != (_MISSING,) and group.mask(i).any():
            yield level[0], group.mask(i)


def _cases(
    protocol: StudyProtocol, population: Population, endpoint: Endpoint, group: StratumLabels, cutoff: Cutoff | None
) -> _Cases:
    """Every site's cases under its own primary scenario: the worst case is looked for within the site, as in strata."""
    parts: list[_Cases] = []
    for site, here in sites_of(group):
        view = primary_view(protocol, population, endpoint.metric, endpoint.at, within=here, cutoff=cutoff)
        m = view.include & here
        parts.append(
            _Cases(
                reference=view.reference[m],
                score=view.score[m],
                call=None if view.call is None else view.call[m],
                site=np.full(int(m.sum()), site, dtype=object),
                patient=population.patient_index[m],
            )
        )
    calls = [p.call for p in parts if p.call is not None]
    return _Cases(
        reference=np.concatenate([p.reference for p in parts] or [np.zeros(0, dtype=bool)]),
        score=np.concatenate([p.score for p in parts] or [np.zeros(0)]),
        call=np.concatenate(calls) if calls else None,
        site=np.concatenate([p.site for p in parts] or [np.zeros(0, dtype=object)]).astype(str),
        patient=np.concatenate([p.patient for p in parts] or [np.zeros(0, dtype=np.int64)]),
    )


def _effects(protocol: StudyProtocol, endpoint: Endpoint, cases: _Cases) -> tuple[SiteEffect, ...]:
    """Each site's figure on the logit scale with its sampling variance; its own interval is the endpoint's method."""
    level = two_sided_level(protocol.confidence)
    asked = None if endpoint.interval in _RESAMPLED else endpoint.interval
    scale = _scale(protocol)
    if endpoint.metric == "auroc":
        area = cast(AurocInterval, asked or protocol.confidence.auroc)
        return tuple(
            replace(effect, estimate=_area(cases, cases.site == effect.site, level, area))
            for effect in auroc_effects(
                cases.reference, cases.score, cases.site, patient=cases.patient, scale=scale, level=level
            )
        )
    method = cast(ProportionMethod, asked or protocol.confidence.proportion)
    y, called = cases.reference, cases.call
    if called is None:
        return ()
    success, among, empty = {
        "sensitivity": (called, y, "no reference-positive cases"),
        "specificity": (~called, ~y, "no reference-negative cases"),
        "ppv": (y, called, "no case is called positive"),
        "npv": (~y, ~called, "no case is called negative"),
        "accuracy": (called == y, np.ones(len(y), dtype=bool), "no cases"),
    }[endpoint.metric]
    found: dict[str, SiteEffect] = {}
    for effect in proportion_effects(
        success[among], cases.site[among], patient=cases.patient[among], scale=scale, level=level
    ):
        here = among & (cases.site == effect.site)
        own = clustered_proportion(success[here], cases.patient[here], level=level, method=method)
        found[effect.site] = replace(effect, estimate=own)
    for site in map(str, np.unique(cases.site)):
        if site not in found:
            none = Estimate.not_estimable(empty, n=0, level=level)
            found[site] = SiteEffect(site=site, estimate=none, effect=None, variance=None, left_out=empty)
    return tuple(found[site] for site in sorted(found))


def _area(cases: _Cases, here: Bools, level: float, method: AurocInterval) -> Estimate:
    cluster = cases.patient[here]
    return auroc(cases.reference[here], cases.score[here], level=level, method=method, cluster=cluster)


def _of_model(protocol: StudyProtocol, endpoint: Endpoint, model: SiteHeterogeneity) -> Iterator[Finding]:
    yield _finding(protocol, endpoint, _within(model.average, endpoint), "average_site")
    yield _finding(protocol, endpoint, _within(model.prediction, endpoint), "new_site")
    yield _finding(protocol, endpoint, model.i2, "between_sites", metric="heterogeneity_i2")
    yield _finding(protocol, endpoint, model.tau, "between_sites", metric="heterogeneity_tau")


def _scale(protocol: StudyProtocol) -> Literal["logit", "identity"]:
    asked = protocol.analyses.generalisation
    return "logit" if asked is None else asked.scale


def _within(e: Estimate, endpoint: Endpoint) -> Estimate:
    """Limits on the identity scale may leave 0 to 1, which no proportion or area can: cut off, and it is said."""
    info = METRICS[endpoint.metric]
    if (info.lower, info.upper) != (0.0, 1.0):
        return e
    if e.value is None or e.low is None or e.high is None or (e.low >= 0.0 and e.high <= 1.0):
        return e
    return replace(e, low=max(0.0, e.low), high=min(1.0, e.high), method=f"{e.method}, cut off at 0 and 1")


def _left_out(
    protocol: StudyProtocol, endpoint: Endpoint, effects: tuple[SiteEffect, ...], asked: Generalisation, scale: Scale
) -> tuple[list[Finding], list[str]]:
    findings: list[Finding] = []
    notes: list[str] = []
    for left in leave_one_site_out(effects, scale=scale, level=two_sided_level(protocol.confidence)):
        findings.append(_finding(protocol, endpoint, _within(left.others, endpoint), f"leave_out={left.site}"))
        if left.within_prediction is False:
            notes.append(
                f"{endpoint.name}: {asked.site} '{left.site}' lies outside what the other sites predict for it, its "
                "own sampling error allowed for."
            )
    return findings, notes


def _beside_others(
    protocol: StudyProtocol,
    endpoint: Endpoint,
    group: StratumLabels,
    names: list[str],
    patient: np.ndarray,
    effects_of: EffectsOf,
) -> Iterator[Finding]:
    """Each site's figure beside that of all other sites' cases together."""
    for x in each_left_out(endpoint, group, names, patient, lambda e, merged: effects_of(e, merged)[0]):
        yield _finding(protocol, endpoint, x.others, f"others={x.site}")
        gap = _finding(
            protocol, endpoint, x.gap, f"gap={x.site}", metric=f"{endpoint.metric}_difference",
            stratum={group.keys[0]: x.site},
        )  # fmt: skip
        yield replace(gap, reference_group="all others")


def _named(test: TestOutcome, endpoint: Endpoint, asked: Generalisation) -> TestOutcome:
    return TestOutcome(
        name=f"{endpoint.name}: the same at every {asked.site}",
        statistic=test.statistic,
        p_value=test.p_value,
        method=test.method,
        endpoint=endpoint.name,
        undefined=test.undefined,
    )


def _finding(
    protocol: StudyProtocol,
    endpoint: Endpoint,
    estimate: Estimate,
    condition: str,
    *,
    metric: str | None = None,
    stratum: dict[str, str] | None = None,
) -> Finding:
    return Finding(
        analysis=ANALYSIS,
        endpoint=endpoint.name,
        metric=metric or endpoint.metric,
        role="descriptive",
        target=str(protocol.task.reference) if protocol.task.kind == "binary" else endpoint.target,
        operating_point=endpoint.at,
        stratum=stratum or {},
        condition=condition,
        estimate=estimate,
    )
