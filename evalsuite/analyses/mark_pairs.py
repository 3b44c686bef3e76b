"""Two devices marking lesions in the same cases: the differences of their figures, with patients as the unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evalsuite.analyses.comparison import Both
from evalsuite.analyses.detection_figures import COUNTING, NEEDS, called, figures_of
from evalsuite.analyses.figure_pair import FigurePair, PairUp, Sides
from evalsuite.analyses.lesion_population import LesionPopulation
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.paired import OPPOSITE
from evalsuite.analyses.population import Bools, Ints, OutputPolicy, ReferencePolicy
from evalsuite.analyses.resampling import Resampling
from evalsuite.analyses.several import enough
from evalsuite.protocol.comparisons import SHARES, as_endpoint, compared_metric
from evalsuite.protocol.schema import Comparison, Endpoint, StudyProtocol
from evalsuite.stats._resampled import Replicated, replicated
from evalsuite.stats.case_means import mean_of
from evalsuite.stats.detection import Detections
from evalsuite.types import Estimate, Unit

_OF = {"lesion_sensitivity": "lesions", "patient_detection": "patients with a lesion",
       "case_sensitivity": "cases with a lesion", "case_specificity": "cases without a lesion"}  # fmt: skip
_UNITS: dict[str, Unit] = {"lesion_sensitivity": "lesion", "patient_detection": "patient"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """One device under one assumption about its missing outputs, asked at its own operating point."""

    endpoint: Endpoint
    population: LesionPopulation
    found: Detections


class _MarkFigures:
    """Rates, curves and areas of marks; a view is a `_Seen`."""

    def __init__(self, protocol: StudyProtocol) -> None:
        self.protocol = protocol

    def absent(
        self, protocol: StudyProtocol, endpoint: Endpoint, view: _Seen, mask: Bools, *, whole: bool
    ) -> Estimate | None:
        abnormal = view.found.abnormal
        counts = {
            "lesions": int(mask[view.found.lesion_case].sum()),
            "cases with a lesion": int((mask & abnormal).sum()),
            "cases without a lesion": int((mask & ~abnormal).sum()),
            "cases": int(mask.sum()),
        }
        n, level = counts["cases"], two_sided_level(protocol.confidence)
        if n == 0:
            return Estimate.not_estimable("no cases", n=0, level=level)
        needed = {name: counts[name] for name in NEEDS.get(endpoint.metric, ("cases",))}
        return enough(protocol, whole, needed, level, n)

    def right(self, endpoint: Endpoint, view: _Seen) -> Bools | None:
        return None

    def replicates(
        self, resampling: Resampling, endpoints: Sequence[Endpoint], view: _Seen, masks: Bools, *, with_jackknife: bool
    ) -> Replicated:
        every = np.ones(view.population.lesion_case.size, dtype=np.bool_)
        made = figures_of(self.protocol, view.endpoint, view.population, view.found, every, resampling.draw)
        return replicated(resampling.draw, made.material, made.statistics, masks=masks, with_jackknife=with_jackknife)


class _Shares:
    """Shares of lesions, patients or cases that are right; a view is `(items,)` bool."""

    def absent(
        self, protocol: StudyProtocol, endpoint: Endpoint, view: Bools, mask: Bools, *, whole: bool
    ) -> Estimate | None:
        n, level, of = int(mask.sum()), two_sided_level(protocol.confidence), _OF[endpoint.metric]
        if n == 0:
            return Estimate.not_estimable(f"no {of}", n=0, level=level)
        return enough(protocol, whole, {of: n}, level, n)

    def right(self, endpoint: Endpoint, view: Bools) -> Bools | None:
        return view

    def replicates(
        self, resampling: Resampling, endpoints: Sequence[Endpoint], view: Bools, masks: Bools, *, with_jackknife: bool
    ) -> Replicated:
        material, statistic = mean_of(view.astype(np.float64), (0.0, 1.0))
        return replicated(resampling.draw, material, [statistic], masks=masks, with_jackknife=with_jackknife)


def both_mark(
    protocol: StudyProtocol,
    candidate: LesionPopulation,
    baseline: LesionPopulation,
    resampling: Resampling,
    policies: Sequence[OutputPolicy],
) -> Both:
    """The candidate beside a baseline, on the same lesions. A case without output counts against the candidate and for
    the baseline: no lesion found and `maximum` false positives, or all found and none."""
    kept = resampling.keeping()
    lost = (int((~candidate.has_output).sum()), int((~baseline.has_output).sum()))
    return Both(
        pairs={asked.name: _pair(protocol, asked, candidate, baseline, kept) for asked in protocol.comparisons},
        lost=lost,
        missing_references=not bool(candidate.has_reference.all()),
        output_policies=policies,
    )


def _pair(
    protocol: StudyProtocol,
    asked: Comparison,
    candidate: LesionPopulation,
    baseline: LesionPopulation,
    kept: Resampling,
) -> FigurePair:
    metric = compared_metric(asked)
    if metric not in SHARES:
        return FigurePair(
            protocol=protocol, comparison=asked, figures=_MarkFigures(protocol),
            pair_up=_pair_up(protocol, asked, candidate, baseline),
            patient_index=candidate.patient_index, resampling=kept,
        )  # fmt: skip
    patient = _patients(metric, candidate)
    return FigurePair(
        protocol=protocol, comparison=asked, figures=_Shares(),
        pair_up=_pair_up(protocol, asked, candidate, baseline),
        patient_index=patient, resampling=Resampling.of(protocol, patient).keeping(), unit=_UNITS.get(metric, "case"),
    )  # fmt: skip


def _patients(metric: str, p: LesionPopulation) -> Ints:
    """The patient of each item that a share is of."""
    if metric == "lesion_sensitivity":
        return p.patient_index[p.lesion_case]
    return np.arange(p.n_patients) if metric == "patient_detection" else p.patient_index


def _pair_up(
    protocol: StudyProtocol, asked: Comparison, candidate: LesionPopulation, baseline: LesionPopulation
) -> PairUp:
    own = as_endpoint(asked)
    other = own.model_copy(update={"at": asked.baseline_at or asked.at})
    metric = own.metric
    sides = ((candidate, own), (baseline, other))

    def pair_up(outputs: OutputPolicy, references: ReferencePolicy, within: Bools) -> Sides:
        policies = (outputs, OPPOSITE.get(outputs, outputs))
        include = within & candidate.has_reference
        if outputs == "exclude":
            include &= candidate.has_output & baseline.has_output
        seen = [
            p.seen(policy, asked.maximum if metric in COUNTING else None)
            for (p, _), policy in zip(sides, policies, strict=True)
        ]
        undefined = _unknown(asked, metric in COUNTING, within, references, candidate, baseline, policies)
        if metric not in SHARES:
            first, second = (
                _Seen(endpoint=e, population=p, found=found) for (p, e), found in zip(sides, seen, strict=True)
            )
            return Sides(candidate=first, baseline=second, include=include, undefined=undefined)
        right = [_right(protocol, e, p, found, include) for (p, e), found in zip(sides, seen, strict=True)]
        counted = _items(metric, candidate, include)
        return Sides(candidate=right[0], baseline=right[1], include=counted, undefined=undefined)

    return pair_up


def _items(metric: str, p: LesionPopulation, include: Bools) -> Bools:
    """Which lesions, patients or cases a share is of."""
    if metric == "lesion_sensitivity":
        return np.asarray(include[p.lesion_case])
    if metric == "patient_detection":
        out = np.zeros(p.n_patients, dtype=np.bool_)
        out[p.patient_index[include & p.abnormal]] = True
        return out
    return np.asarray(include & (p.abnormal == (metric == "case_sensitivity")))


def _right(protocol: StudyProtocol, e: Endpoint, p: LesionPopulation, found: Detections, include: Bools) -> Bools:
    """Lesions found, patients with one found, cases marked (with a lesion) or not (without)."""
    if e.metric in ("case_sensitivity", "case_specificity"):
        return np.asarray(called(protocol, e, found.highest()) == (e.metric == "case_sensitivity"))
    hit = called(protocol, e, found.lesion_score)
    if e.metric == "lesion_sensitivity":
        return hit
    out = np.zeros(p.n_patients, dtype=np.bool_)
    out[p.patient_index[p.lesion_case[hit & include[p.lesion_case]]]] = True
    return out


def _unknown(
    asked: Comparison,
    counting: bool,
    within: Bools,
    references: ReferencePolicy,
    candidate: LesionPopulation,
    baseline: LesionPopulation,
    policies: tuple[OutputPolicy, OutputPolicy],
) -> str | None:
    """Why nothing can be assumed about cases that lack a reference or an output, or None."""
    open_ = int((within & ~candidate.has_reference).sum())
    if open_ and references != "exclude":
        return f"{open_} cases lack a reference standard and may have any number of lesions: no worst case"
    lost = sum(
        int((within & ~p.has_output & p.has_reference).sum())
        for p, policy in zip((candidate, baseline), policies, strict=True)
        if policy == "worst_case"
    )
    if lost and counting and asked.maximum is None:
        return (
            f"{lost} cases lack an output, and the comparison declares no largest number of false positives (maximum)"
        )
    return None
