"""Averages over classes or labels in every stratum; each class is taken as the assumption about it is worst (or best).

Under the worst case every class (label) has its own: a case without output counts as not called for the class it has
and as called for every other, so that no average can look better than its parts allow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from evalsuite.analyses.binary_questions import Threshold, chosen_interval
from evalsuite.analyses.common import Cell
from evalsuite.analyses.figure_pair import PairUp, Sides
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.paired import OPPOSITE, unsearched
from evalsuite.analyses.population import Bools, Looks, OutputPolicy, Population, ReferencePolicy, scenario
from evalsuite.analyses.resampling import Resampling
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats import averages, multilabel
from evalsuite.stats.averages import Answers
from evalsuite.stats.bootstrap import Replicated, read
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.proportions import ProportionMethod
from evalsuite.types import Estimate

Found = dict[tuple[str, int], Estimate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """The classes or labels of a task: a population each for what is called and for what is ranked."""

    names: tuple[str, ...]
    kind: str
    called: tuple[Population, ...]
    ranked: tuple[Population, ...]

    @property
    def complete(self) -> bool:
        """Whether every case has an output and a reference for each."""
        return all(bool(p.has_output.all() and p.has_reference.all()) for p in self.called)


def looks_of(metric: str) -> Looks:
    """What has to be assumed about a case, by what the averaged metric looks at."""
    name = metric.split("_", 1)[1] if metric in averages.METRICS else metric
    if name in averages.RANKED:
        return "rank"
    return {"sensitivity": "positives", "specificity": "negatives"}.get(name, "call")  # type: ignore[return-value]


def averaged_estimates(
    protocol: StudyProtocol,
    members: Members,
    resampling: Resampling,
    endpoints: Sequence[Endpoint],
    cells: Sequence[Cell],
    *,
    thresholds: Mapping[str, Threshold],
    outputs: OutputPolicy,
    references: ReferencePolicy,
) -> Found:
    """Every endpoint in every cell, by endpoint name and position of the cell. `thresholds` by operating point; ""
    where a class is called without one."""
    found: Found = {}
    groups: dict[tuple[Looks, str, str], list[Endpoint]] = {}
    for endpoint in endpoints:
        looks = looks_of(endpoint.metric)
        if members.complete and looks != "rank":
            looks = "call"
        groups.setdefault((looks, endpoint.at or "", chosen_interval(protocol, endpoint)), []).append(endpoint)
    for (looks, at, _), group in groups.items():
        parts = [[i] for i in range(len(cells))]
        if looks != "rank" or members.complete:
            parts = [list(range(len(cells)))]
        for part in parts:
            within = cells[part[0]].mask if len(part) == 1 else None
            answers = _answers(members, looks, thresholds.get(at), outputs, references, within)
            taking = answers.cells.any(axis=1)
            for endpoint in [e for e in group if _counted(e)]:
                for i in part:
                    small = _too_small(protocol, endpoint.metric, answers, cells[i].mask, whole=cells[i].whole)
                    found[endpoint.name, i] = small or _share(protocol, endpoint, answers, cells[i], resampling)
            resampled = [e for e in group if not _counted(e)]
            if not resampled:
                continue
            method = chosen_interval(protocol, group[0])
            names = tuple(e.metric for e in resampled)
            table = resampling.table(
                (tuple(e.name for e in resampled), outputs, references, tuple(id(cells[i]) for i in part)),
                lambda answers=answers, names=names, part=part, taking=taking, method=method: (  # type: ignore[misc]
                    multilabel.multilabel_replicates(
                        resampling.draw,
                        answers,
                        names,
                        masks=np.array([cells[i].mask & taking for i in part]),
                        with_jackknife=method == "bca",
                    )
                ),
            )
            rows = read(table, level=two_sided_level(protocol.confidence), method=method)
            for i, row in zip(part, rows, strict=True):
                for endpoint, estimate in zip(resampled, row, strict=True):
                    small = _too_small(protocol, endpoint.metric, answers, cells[i].mask, whole=cells[i].whole)
                    found[endpoint.name, i] = small or estimate
    return found


def _counted(endpoint: Endpoint) -> bool:
    """Whether the endpoint is a share of cases with a closed interval."""
    return endpoint.metric == "subset_accuracy" and endpoint.interval not in ("percentile", "basic", "bca")


def _share(
    protocol: StudyProtocol, endpoint: Endpoint, answers: Answers, cell: Cell, resampling: Resampling
) -> Estimate:
    """Cases with every label right, of those with a settled reference for every label."""
    assert answers.call is not None, "the protocol's loader requires an operating point"
    settled = answers.cells.all(axis=1) & cell.mask
    level = two_sided_level(protocol.confidence)
    if not settled.any():
        return Estimate.not_estimable(multilabel.UNSETTLED, n=0, level=level, n_patients=0)
    right = (answers.call == answers.truth).all(axis=1)
    return clustered_proportion(
        right[settled],
        resampling.draw.patient[settled],
        level=level,
        method=cast(ProportionMethod, endpoint.interval or protocol.confidence.proportion),
    )


def _answers(
    members: Members,
    looks: Looks,
    threshold: Threshold | None,
    outputs: OutputPolicy,
    references: ReferencePolicy,
    within: Bools | None,
) -> Answers:
    views = [
        scenario(
            population,
            looks=looks,
            threshold=None if threshold is None or looks == "rank" else threshold.value,
            strict=threshold is not None and threshold.strict,
            outputs=outputs,
            references=references,
            within=within,
        )
        for population in (members.ranked if looks == "rank" else members.called)
    ]
    calls = [v.call for v in views if v.call is not None]
    return Answers(
        truth=np.stack([v.reference for v in views], axis=1),
        call=np.stack(calls, axis=1) if len(calls) == len(views) else None,
        score=np.stack([v.score for v in views], axis=1),
        known=np.stack([v.include for v in views], axis=1),
        names=members.names,
        kind=members.kind,
    )


def _too_small(protocol: StudyProtocol, metric: str, answers: Answers, mask: Bools, *, whole: bool) -> Estimate | None:
    """A macro average is as uncertain as its rarest class; pooled figures are as their sums."""
    if whole:
        return None
    known = answers.cells & mask[:, None]
    n = int(known.any(axis=1).sum())
    least = protocol.small_strata.suppress_below
    reason = None
    if metric in multilabel.SET_METRICS:
        reason = f"{n} cases" if n < least else None
    else:
        positive = (known & answers.truth).sum(axis=0)
        negative = (known & ~answers.truth).sum(axis=0)
        if metric.startswith("macro_"):
            k = int(np.minimum(positive, negative).argmin())
            count, where = int(min(positive[k], negative[k])), f" for {answers.kind} '{answers.names[k]}'"
            sign = "positive" if positive[k] <= negative[k] else "negative"
        else:
            count, where = int(min(positive.sum(), negative.sum())), ""
            sign = "positive" if positive.sum() <= negative.sum() else "negative"
        reason = f"{count} reference-{sign} cases{where}" if count < least else None
    if reason is None:
        return None
    return Estimate.not_estimable(
        f"not assessable: {reason}, fewer than {least}", n=n, level=two_sided_level(protocol.confidence)
    )


class AverageFigures:
    """Averages as two devices are compared on them; a view is a table of answers."""

    def absent(
        self, protocol: StudyProtocol, endpoint: Endpoint, view: Answers, mask: Bools, *, whole: bool
    ) -> Estimate | None:
        level = two_sided_level(protocol.confidence)
        if not mask.any():
            return Estimate.not_estimable("no cases", n=0, level=level, n_patients=0)
        return _too_small(protocol, endpoint.metric, view, mask, whole=whole)

    def right(self, endpoint: Endpoint, view: Answers) -> Bools | None:
        """`(n,)` where every label is right, for the subset accuracy; None for averages."""
        if endpoint.metric != "subset_accuracy":
            return None
        assert view.call is not None, "the protocol's loader requires an operating point"
        return np.asarray((view.call == view.truth).all(axis=1))

    def replicates(
        self,
        resampling: Resampling,
        endpoints: Sequence[Endpoint],
        view: Answers,
        masks: Bools,
        *,
        with_jackknife: bool,
    ) -> Replicated:
        return multilabel.multilabel_replicates(
            resampling.draw, view, [e.metric for e in endpoints], masks=masks, with_jackknife=with_jackknife
        )


def paired_averages(
    candidate: Members, baseline: Members, endpoint: Endpoint, thresholds: tuple[Threshold | None, Threshold | None]
) -> PairUp:
    """How two devices are seen by an average over classes or labels.

    Missing outputs as for a single device, the comparator's the other way round; answers count where both devices have
    one. No worst case is searched for missing references.
    """

    def pair_up(outputs: OutputPolicy, references: ReferencePolicy, within: Bools) -> Sides:
        looks = looks_of(endpoint.metric)
        first = _answers(candidate, looks, thresholds[0], outputs, "exclude", None)
        second = _answers(baseline, looks, thresholds[1], OPPOSITE.get(outputs, outputs), "exclude", None)
        known = first.cells & second.cells
        include = within & (known.all(axis=1) if endpoint.metric == "subset_accuracy" else known.any(axis=1))
        undefined = None
        settled = np.stack([p.has_reference for p in candidate.called], axis=1).all(axis=1)
        if references != "exclude" and bool((within & ~settled).any()):
            undefined = unsearched(int((within & ~settled).sum()))
        return Sides(
            candidate=replace(first, known=known),
            baseline=replace(second, known=known),
            include=include,
            undefined=undefined,
        )

    return pair_up
