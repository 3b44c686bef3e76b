"""Which cases a new version decides rightly that the other one got wrong, and which the other way round.

Nothing here is judged: the criteria are on differences. A case counts where both devices gave an output and the
reference is established; a case that lost its output, or has one now, is listed beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from evalsuite.analyses.classes import build_class_population
from evalsuite.analyses.common import Cell, Results, cells_of
from evalsuite.analyses.failures import disclosed
from evalsuite.analyses.lesion_listing import number, place_names
from evalsuite.analyses.lesion_population import LesionPopulation, build_lesion_population
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.paired import cutoff
from evalsuite.analyses.population import Bools, Floats, Ints, build_population
from evalsuite.analyses.wrong_cases import WrongCases, wrong_cases
from evalsuite.protocol.comparisons import BASELINE, point_pairs
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.clustered_tests import clustered_nam_test
from evalsuite.stats.differences import mcnemar
from evalsuite.stats.multiplicity import adjust_tests
from evalsuite.testset.strata import StratumLabels, assign_strata
from evalsuite.types import Estimate, Finding, Listing, TestOutcome, Unit

ANALYSIS = "flips"
LISTING = "flips"
BROKEN, FIXED = "broken", "fixed"
LOST, GAINED = "output lost", "output gained"
#: Metric of a finding, and what became of the cases it counts: right by the candidate, right by the other one.
RATES = {"fixed_rate": (True, False), "broken_rate": (False, True), "kept_right_rate": (True, True),
         "kept_wrong_rate": (False, False)}  # fmt: skip
#: Kinds of task with one decision per case (or lesion) that is right or wrong.
OF_TASKS = ("binary", "multiclass", "ordinal", "detection")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """Cases (or lesions) as two devices decided them: right by the candidate and by the other one, (n,) each.

    `counts` says where both decided and the answer is known, `gone` and `new` where only the other one did, or only the
    candidate. `sort` is the class of the reference where it has two, else empty texts. `cells` are the columns of the
    listing that lie between the kind of change and the groups.
    """

    name: str
    who: str
    at: str | None
    unit: Unit
    case_id: Sequence[str]
    patient_index: Ints
    right: tuple[Bools, Bools]
    counts: Bools
    gone: Bools
    new: Bools
    sort: Sequence[str]
    size: Floats
    columns: tuple[str, ...]
    cells: Sequence[tuple[str, ...]]
    within: Ints


def flips(
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
    compared: Mapping[str, pd.DataFrame],
) -> Results:
    """What changed between each device of `compared` (its predictions by `baseline` or `original`) and the candidate.

    Findings are shares of cases (`fixed_rate`, `broken_rate`, `kept_right_rate`, `kept_wrong_rate`), in the whole set,
    there by class of the reference too, and in every group. Tests are McNemar's mid-p (with several cases per patient
    Nam's on the effective number of cases), of groups adjusted after Holm. The listing `flips` has every changed case.
    Nothing for tasks without one decision per case or lesion, and where nothing is compared.
    """
    if protocol.task.kind not in OF_TASKS or not compared:
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=())
    cases: dict[str, Any] = {"case_id": case_id, "patient_id": patient_id, "frame": frame}
    labels = assign_strata(frame, protocol.strata)
    cells = cells_of(labels, len(case_id))
    findings: list[Finding] = []
    tests: list[TestOutcome] = []
    made = [d for who, other in compared.items() for d in _decided(protocol, cases, predictions, other, who)]
    for decided in made:
        findings += _findings(protocol, decided, cells)
        tests += _tests(protocol, decided, cells)
    whole = tuple(replace(t, analysis=ANALYSIS) for t in tests if not t.stratum)
    groups = tuple(replace(t, analysis=ANALYSIS) for t in tests if t.stratum)
    return Results(
        findings=tuple(findings),
        curves=(),
        accounting=(),
        tests=(*whole, *adjust_tests(groups, "holm")),
        notes=(),
        listings=(_listing(protocol, made, labels),) if made else (),
    )


# --- who decided what -------------------------------------------------------------------------------------------------


def _pairs(protocol: StudyProtocol, who: str) -> tuple[tuple[str | None, str | None], ...]:
    """Operating points of both devices; of a task without any the one pair of answers."""
    if protocol.task.kind in ("multiclass", "ordinal"):
        return ((None, None),)
    first = protocol.operating_points[0].name if protocol.operating_points else None
    return point_pairs(protocol, who) or (((first, first),) if first is not None else ())


def _name(who: str, at: str | None, other_at: str | None) -> str:
    said = "changed decisions" if who == BASELINE else f"changed decisions since the {who}"
    if at is None:
        return said
    return f"{said} ({at})" if at == other_at else f"{said} ({at}, before {other_at})"


def _decided(
    protocol: StudyProtocol, cases: Mapping[str, Any], predictions: pd.DataFrame, other: pd.DataFrame, who: str
) -> Iterator[Decided]:
    if protocol.task.kind == "detection":
        marked = [build_lesion_population(protocol, **cases, predictions=p) for p in (predictions, other)]
        for at, other_at in _pairs(protocol, who):
            yield _lesions(protocol, marked[0], marked[1], who, at, other_at)
        return
    build = build_population if protocol.task.kind == "binary" else build_class_population
    devices = [build(protocol, **cases, predictions=p) for p in (predictions, other)]
    for at, other_at in _pairs(protocol, who):
        first, second = (wrong_cases(protocol, p, a) for p, a in zip(devices, (at, other_at), strict=True))
        yield _cases(protocol, first, second, who, at, _name(who, at, other_at))


def _cases(
    protocol: StudyProtocol, first: WrongCases, second: WrongCases, who: str, at: str | None, name: str
) -> Decided:
    answered = [np.array([bool(c) for c in w.called]) for w in (first, second)]
    known = np.array([r not in ("equivocal", "missing", "") for r in first.reference])
    wrong = [np.array([bool(k) for k in w.kind]) for w in (first, second)]
    binary = protocol.task.kind == "binary"
    return Decided(
        name=name,
        who=who,
        at=at,
        unit="case",
        case_id=first.case_id,
        patient_index=first.patient_index,
        right=(~wrong[0], ~wrong[1]),
        counts=answered[0] & answered[1] & known,
        gone=known & answered[1] & ~answered[0],
        new=known & answered[0] & ~answered[1],
        sort=first.reference if binary else ("",) * first.n,
        size=np.nan_to_num(np.abs(first.score - second.score)),
        columns=("reference", "called", "called_before", "score", "score_before"),
        cells=[
            (first.reference[i], first.called[i], second.called[i],
             number(float(first.score[i])), number(float(second.score[i])))
            for i in range(first.n)
        ],
        within=np.arange(first.n),
    )  # fmt: skip


def _lesions(
    protocol: StudyProtocol,
    one: LesionPopulation,
    two: LesionPopulation,
    who: str,
    at: str | None,
    other_at: str | None,
) -> Decided:
    case = one.lesion_case
    found = []
    for p, name in ((one, at), (two, other_at)):
        point = cutoff(protocol, name)
        assert point is not None, "the loader requires an operating point"
        found.append(p.lesion_score > point.value if point.strict else p.lesion_score >= point.value)
    has = [p.has_output[case] for p in (one, two)]
    known = one.has_reference[case]
    names = place_names(one.located.lesion_at.shape[1])
    return Decided(
        name=_name(who, at, other_at).replace("decisions", "lesions"),
        who=who,
        at=at,
        unit="lesion",
        case_id=[one.case_id[c] for c in case],
        patient_index=one.patient_index[case],
        right=(found[0], found[1]),
        counts=has[0] & has[1] & known,
        gone=known & has[1] & ~has[0],
        new=known & has[0] & ~has[1],
        sort=("",) * len(case),
        size=np.nan_to_num(one.located.diameter_mm),
        columns=("lesion", *names, "score", "score_before"),
        cells=[
            (str(i), *(number(float(v)) for v in one.located.lesion_at[i]),
             number(float(one.lesion_score[i])), number(float(two.lesion_score[i])))
            for i in range(len(case))
        ],
        within=case,
    )  # fmt: skip


# --- counts and tests -------------------------------------------------------------------------------------------------


def _masks(protocol: StudyProtocol, d: Decided, cell: Cell) -> tuple[Bools, str | None]:
    """The cases of a cell that count, and why nothing is said of them."""
    mask = d.counts & cell.mask[d.within]
    n, small = int(mask.sum()), protocol.small_strata.suppress_below
    if n == 0:
        return mask, f"no {d.unit}s that both devices decided"
    if not cell.whole and n < small:
        return mask, f"not assessable: {n} {d.unit}s, fewer than {small}"
    return mask, None


def _findings(protocol: StudyProtocol, d: Decided, cells: Sequence[Cell]) -> Iterator[Finding]:
    for cell in cells:
        mask, why = _masks(protocol, d, cell)
        yield from _rates(protocol, d, cell, mask, why, None)
        sorts = [s for s in dict.fromkeys(d.sort[i] for i in np.flatnonzero(mask).tolist()) if s]
        for sort in sorted(sorts) if cell.whole else ():
            of = mask & np.array([s == sort for s in d.sort])
            yield from _rates(protocol, d, cell, of, None, f"reference {sort}")


def _rates(
    protocol: StudyProtocol, d: Decided, cell: Cell, mask: Bools, why: str | None, condition: str | None
) -> Iterator[Finding]:
    level = two_sided_level(protocol.confidence)
    reference = protocol.task.reference
    for metric, (now, before) in RATES.items():
        if why is not None:
            estimate = Estimate.not_estimable(why, n=int(mask.sum()), level=level)
        else:
            hit = (d.right[0] == now) & (d.right[1] == before)
            patient = d.patient_index[mask]
            estimate = clustered_proportion(hit[mask], patient, level=level, method="wilson", unit=d.unit)
        yield Finding(
            analysis=ANALYSIS,
            endpoint=d.name,
            metric=metric,
            role="descriptive",
            target=reference if isinstance(reference, str) and protocol.task.kind == "binary" else None,
            operating_point=d.at,
            stratum=dict(cell.stratum),
            condition=condition,
            reference_group=d.who,
            prespecified=False,
            estimate=estimate,
        )


def _tests(protocol: StudyProtocol, d: Decided, cells: Sequence[Cell]) -> Iterator[TestOutcome]:
    """More broken than fixed, or the reverse: two-sided, in the whole set and in every group that is assessable."""
    clustered = len(np.unique(d.patient_index)) < len(d.patient_index)
    for cell in cells:
        mask, why = _masks(protocol, d, cell)
        if why is not None:
            continue
        first, second = d.right[0][mask], d.right[1][mask]
        name = f"{d.name}: fixed and broken alike"
        if clustered:
            made = _two_sided(first, second, d.patient_index[mask], name, d.name)
        else:
            b, c = int((first & ~second).sum()), int((~first & second).sum())
            made = mcnemar(b, c, method="mid-p", name=name, endpoint=d.name)
        yield replace(made, stratum=dict(cell.stratum))


def _two_sided(first: Bools, second: Bools, patient: Ints, name: str, endpoint: str) -> TestOutcome:
    """Twice the smaller one-sided p of Nam's test on the effective number of cases."""
    up, down = (
        clustered_nam_test(first, second, patient, alternative=side, name=name, endpoint=endpoint)
        for side in ("greater", "less")
    )
    if up.p_value is None or down.p_value is None:
        return up
    return replace(up, p_value=min(1.0, 2.0 * min(up.p_value, down.p_value)), method=f"{up.method}, two-sided")


# --- the listing ------------------------------------------------------------------------------------------------------


def _listing(protocol: StudyProtocol, made: Sequence[Decided], labels: Mapping[str, StratumLabels]) -> Listing:
    """One row per changed case or lesion: broken before fixed, the largest change of the score (the largest lesion)
    first."""
    shown = disclosed(protocol)
    rows = []
    for d in made:
        kinds = (
            (BROKEN, d.counts & ~d.right[0] & d.right[1]),
            (FIXED, d.counts & d.right[0] & ~d.right[1]),
            (LOST, d.gone),
            (GAINED, d.new),
        )
        for kind, mask in kinds:
            for i in sorted(np.flatnonzero(mask).tolist(), key=lambda i: (-float(d.size[i]), i)):
                groups = (labels[n].levels[labels[n].index[d.within[i]]] for n in shown)
                rows.append((d.case_id[i], kind, d.name, *d.cells[i], *(" / ".join(g) for g in groups)))
    head = ("case_id", "change", "comparison", *made[0].columns, *(f"group: {name}" for name in shown))
    return Listing(name=LISTING, columns=head, rows=tuple(rows))
