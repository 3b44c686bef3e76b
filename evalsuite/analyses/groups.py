"""How far a figure differs between groups of different patients: differences and ratios, each with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from evalsuite.analyses.common import Results
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.protocol.blocks import GroupDifferences
from evalsuite.protocol.comparisons import RATIO, SUFFIX
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats.differences import difference, difference_test, mover_difference, ratio
from evalsuite.testset.strata import StratumLabels
from evalsuite.types import Estimate, Finding, TestOutcome

ANALYSIS = "group_differences"
SHARED = "a patient has cases in both groups, so that the two figures are not independent"
#: Successes and cases of the first group, then of the second.
_Counts = tuple[int, int, int, int]


def differences_between_groups(
    protocol: StudyProtocol,
    labels: Mapping[str, StratumLabels],
    patient_id: Sequence[str],
    findings: Sequence[Finding],
) -> Results:
    """Every group of a stratum less the reference group, for the endpoints of `analyses.group_differences`.

    Findings carry the group as their stratum, the other as `reference_group`, and the metric's name with `_difference`
    or, for shares of cases with one case per patient, `_ratio`. They are made of the groups' own estimates, so that
    missing outputs and references count within each group as in the primary analysis, and what is not assessable there
    has no difference. Shares with one case per patient get the interval the protocol names; any other figure the
    square-and-add of both groups' limits (for an AUROC with DeLong's interval that is DeLong's test of different
    patients). Nothing without the block.
    """
    asked = protocol.analyses.group_differences
    if asked is None:
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=())
    group = labels[asked.stratum]
    key = group.keys[0]
    masks = {level[0]: group.mask(i) for i, level in enumerate(group.levels)}
    patients = np.asarray(patient_id, dtype=object)
    people = {name: set(patients[mask]) for name, mask in masks.items()}
    notes = []
    if asked.reference not in masks:
        notes.append(f"No case belongs to the group '{asked.reference}' of '{asked.stratum}': nothing to compare with.")
    own = {
        (f.endpoint, str(f.stratum[key])): f
        for f in findings
        if f.condition is None and set(f.stratum) == {key} and f.reference_group is None and f.rater == "device"
    }
    made: list[Finding] = []
    tests: list[TestOutcome] = []
    for endpoint in (e for name in asked.endpoints for e in protocol.endpoints if e.name == name):
        second = own.get((endpoint.name, asked.reference))
        for name in (n for n in masks if n != asked.reference):
            first = own.get((endpoint.name, name))
            if first is None:
                continue  # an endpoint that is judged in other groups alone
            if second is None:
                none = Estimate.not_estimable("no cases of the reference group", n=0, level=_level(protocol))
                made.append(_finding(first, asked, SUFFIX, none))
                continue
            shared = bool(people[name] & people[asked.reference])
            made += _compared(endpoint, asked, first, second, shared=shared)
            counts = None if shared else _independent(endpoint, first, second)
            if counts is not None:
                tests.append(_test(endpoint, asked, name, counts))
    if any(f.estimate.interval_undefined == SHARED for f in made):
        notes.append(f"Groups of '{asked.stratum}' share patients: differences between those have no interval.")
    return Results(findings=tuple(made), curves=(), accounting=(), tests=tuple(tests), notes=tuple(notes))


def _level(protocol: StudyProtocol) -> float:
    return two_sided_level(protocol.confidence)


def _compared(
    endpoint: Endpoint, asked: GroupDifferences, first: Finding, second: Finding, *, shared: bool
) -> Iterator[Finding]:
    a, b = first.estimate, second.estimate
    counts = _independent(endpoint, first, second)
    if shared:
        yield _finding(first, asked, SUFFIX, _without_interval(mover_difference(a, b)))
        return
    if counts is None:
        yield _finding(first, asked, SUFFIX, mover_difference(a, b))
        return
    people = counts[1] + counts[3]
    gap = difference(*counts, method=asked.interval, level=a.level, unit=a.unit, n_patients=people)
    yield _finding(first, asked, SUFFIX, gap)
    over = ratio(*counts, method=asked.ratio, level=a.level, unit=a.unit, n_patients=people)
    yield _finding(first, asked, RATIO, over)


def _without_interval(e: Estimate) -> Estimate:
    if e.value is None:
        return e
    return Estimate(
        value=e.value,
        interval_undefined=SHARED,
        n=e.n,
        n_patients=None,
        level=e.level,
        unit=e.unit,
        method="difference of the two groups' figures",
    )


def _independent(endpoint: Endpoint, first: Finding, second: Finding) -> _Counts | None:
    """The counts of two shares of cases where every case is a patient of its own; None for anything else."""
    if endpoint.prevalence is not None:
        return None
    found: list[int] = []
    for e in (first.estimate, second.estimate):
        x, n = e.numerator, e.denominator
        if x is None or n is None or n <= 0 or n != e.n_patients or x != int(x):
            return None
        found += [int(x), int(n)]
    return found[0], found[1], found[2], found[3]


def _test(endpoint: Endpoint, asked: GroupDifferences, name: str, counts: _Counts) -> TestOutcome:
    said = f"{endpoint.name}: {asked.stratum} {name} = {asked.reference}"
    return difference_test(*counts, name=said, endpoint=endpoint.name)


def _finding(first: Finding, asked: GroupDifferences, suffix: str, estimate: Estimate) -> Finding:
    return Finding(
        analysis=ANALYSIS,
        endpoint=first.endpoint,
        metric=first.metric + suffix,
        role="secondary",
        target=first.target,
        operating_point=first.operating_point,
        stratum=first.stratum,
        reference_group=asked.reference,
        estimate=estimate,
    )
