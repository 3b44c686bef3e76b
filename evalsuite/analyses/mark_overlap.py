"""Do two devices mark the same things? How many of one's right and of its wrong marks the other one has too."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from evalsuite.analyses.lesion_population import LesionPopulation
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.population import Bools, Floats, Ints
from evalsuite.models.marks import is_box
from evalsuite.protocol.comparisons import BASELINE, OVERLAPS, point_pairs
from evalsuite.protocol.schema import OperatingPoint, StudyProtocol
from evalsuite.stats import matching
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.types import Estimate, Finding

TRUE, FALSE = OVERLAPS
CANDIDATE = "candidate"


def mark_overlap(
    protocol: StudyProtocol, candidate: LesionPopulation, baseline: LesionPopulation, other_is: str = BASELINE
) -> Iterator[Finding]:
    """The overlap at every pair of operating points that is compared (at each one where none is), in the whole set.

    The condition of a finding says whose marks are counted, the candidate's or those of `other_is`; the other device
    is the one looked for.

    `tp_mark_overlap` is the share of one device's marks on lesions whose lesion the other device marked as well,
    `fp_mark_overlap` that of its false positives that have one of the other's at the same place, one each, the closest
    first. Cases count where both devices have an output and a reference. Intervals: of proportions, by patient.
    """
    level = two_sided_level(protocol.confidence)
    usable = candidate.has_output & baseline.has_output & candidate.has_reference
    for name, points in _points(protocol, other_is):
        devices = list(zip((candidate, baseline), points, strict=True))
        hit = [_called(point, p.lesion_score) & usable[p.lesion_case] for p, point in devices]
        patient = candidate.patient_index[candidate.lesion_case]
        false = [_false(p, point, usable) for p, point in devices]
        same = _same_place(protocol, candidate, baseline, false)
        for which, whose in enumerate((CANDIDATE, other_is)):
            own, other = hit[which], hit[1 - which]
            yield _finding(name, points[which], TRUE, whose, _share(other[own], patient[own], level))
            population = (candidate, baseline)[which]
            case = population.located.mark_case[false[which]]
            if isinstance(same, str):
                found = Estimate.not_estimable(same, n=case.size, level=level)
            else:
                found = _share(same[which], population.patient_index[case], level)
            yield _finding(name, points[which], FALSE, whose, found)


def _points(protocol: StudyProtocol, other_is: str) -> list[tuple[str, tuple[OperatingPoint, OperatingPoint]]]:
    pairs = point_pairs(protocol, other_is)
    names = list(pairs) or [(p.name, p.name) for p in protocol.operating_points]
    what = "mark overlap" if other_is == BASELINE else f"mark overlap with the {other_is}"
    return [
        (
            f"{what} at {one}" if one == two else f"{what} at {one}, {two}",
            (protocol.operating_point(str(one)), protocol.operating_point(str(two))),
        )
        for one, two in names
    ]


def _called(point: OperatingPoint, score: Floats) -> Bools:
    return np.asarray(score > point.threshold if point.comparison == ">" else score >= point.threshold)


def _false(p: LesionPopulation, point: OperatingPoint, usable: Bools) -> Ints:
    at = p.located
    return np.flatnonzero(at.false & _called(point, at.mark_score) & usable[at.mark_case])


def _share(right: Bools, patient: Ints, level: float) -> Estimate:
    if not right.size:
        return Estimate.not_estimable("no such marks", n=0, level=level, n_patients=0)
    return clustered_proportion(right, patient, level=level)


def _finding(name: str, point: OperatingPoint, metric: str, whose: str, estimate: Estimate) -> Finding:
    return Finding(
        analysis="comparison",
        endpoint=name,
        metric=metric,
        role="descriptive",
        target=None,
        operating_point=point.name,
        condition=whose,
        prespecified=False,
        estimate=estimate,
    )


def _same_place(
    protocol: StudyProtocol, candidate: LesionPopulation, baseline: LesionPopulation, false: list[Ints]
) -> tuple[Bools, Bools] | str:
    """Which of each device's false marks have one of the other's at the same place; why that cannot be said."""
    asked = protocol.task.matching
    assert asked is not None, "the protocol's loader requires it"
    one, two = candidate.located, baseline.located
    where = one.mark_at[false[0]], two.mark_at[false[1]]
    case = one.mark_case[false[0]], two.mark_case[false[1]]
    limit = asked.same_mark_mm or (asked.distance_mm if asked.rule == "distance" else None)
    if limit is not None:
        centres = _centres(where[0], is_box(one.place)), _centres(where[1], is_box(two.place))
        if centres[0].shape[1] != centres[1].shape[1]:
            return "one device marks in the plane, the other in space"
        pairs = matching.pairs_by_distance(case[0], centres[0], case[1], centres[1], limit)
    elif asked.overlap is not None and is_box(one.place) and one.place == two.place:
        pairs = matching.pairs_by_box(case[0], where[0], case[1], where[1], least=asked.overlap)
    else:
        return "the protocol does not say how close two marks at one place lie (task.matching.same_mark_mm)"
    found = matching.match(pairs, np.zeros(false[0].size), false[1].size, assignment="by_closeness")
    return found.hit, found.found


def _centres(at: Floats, box: bool) -> Floats:
    axes = at.shape[1] // 2
    return (at[:, :axes] + at[:, axes:]) / 2.0 if box else at
