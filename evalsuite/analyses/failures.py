"""Wrong cases: one line each for a reviewer, and the groups of patients among whom they are more frequent.

Nothing here is judged. Groups are searched after the fact: their tests are adjusted for how many were looked at, and
are exploratory all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evalsuite.analyses.classes import ClassPopulation
from evalsuite.analyses.common import Results
from evalsuite.analyses.lesion_listing import number
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.population import Bools, Population
from evalsuite.analyses.wrong_cases import NEARLY, NO_OUTPUT, Question, WrongCases, wrong_cases
from evalsuite.protocol.failures import Failures
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.excess import excess_tests
from evalsuite.stats.multiplicity import adjust_tests
from evalsuite.testset.strata import StratumLabels, assign_strata
from evalsuite.types import Estimate, Finding, Listing, TestOutcome

ANALYSIS = "failures"
LISTING = "failures"
REST = "all others"
#: What a reviewer fills in.
REVIEWED = ("category", "comment")
CANDIDATE = "candidate"
_KEYS = ("case_id", "kind", "reference", "reference_status", "called", "score", "beyond", "nearly", "reference_error")


def failure_analysis(
    protocol: StudyProtocol, population: Population | ClassPopulation, frame: pd.DataFrame, predictions: pd.DataFrame
) -> Results:
    """What `analyses.failures` asks for: shares of wrong cases per group with tests, and the listing `failures`.

    Findings carry the rate among those that could be wrong in that way (metric `false_negative_rate`,
    `false_positive_rate`, `error_rate` or `no_output_rate`), in the whole set and, with `reference_group` None or
    "all others", in each group and outside it. Cases without an established reference are left out. Nothing without
    the block.
    """
    asked = protocol.analyses.failures
    if asked is None:
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=())
    wrong = wrong_cases(protocol, population, asked.at)
    labels = assign_strata(frame, protocol.strata)
    names = searched(protocol, asked.attributes)
    findings: list[Finding] = []
    tests: list[TestOutcome] = []
    for question in wrong.questions:
        findings.append(rate_finding(protocol, wrong, question, question.eligible, {}, None))
        if question.wrong.any():
            made, compared = _groups(protocol, asked, wrong, question, [labels[n] for n in names])
            findings += made
            tests += compared
    return Results(
        findings=tuple(findings),
        curves=(),
        accounting=(),
        tests=adjust_tests(tests, "bh"),
        notes=tuple(_notes(protocol, wrong)),
        listings=(_listing(protocol, asked, wrong, labels, frame, predictions),),
    )


def searched(protocol: StudyProtocol, asked: Sequence[str] | None) -> tuple[str, ...]:
    """The strata that are searched: those named, or every one that is no cross."""
    return tuple(s.name for s in protocol.strata if s.cross is None) if asked is None else tuple(asked)


def disclosed(protocol: StudyProtocol) -> tuple[str, ...]:
    """Strata whose groups may stand beside a single case: those of columns under `disclose`."""
    allowed = set(protocol.disclose)
    return tuple(s.name for s in protocol.strata if s.cross is None and (s.column or s.name) in allowed)


# --- groups with more failures --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    stratum: dict[str, str]
    mask: Bools


def _groups(
    protocol: StudyProtocol, asked: Failures, wrong: WrongCases, question: Question, strata: Sequence[StratumLabels]
) -> tuple[list[Finding], list[TestOutcome]]:
    eligible = question.eligible
    groups = [
        _Group(stratum=s.as_stratum(i), mask=s.mask(i) & eligible)
        for s in strata
        for i in range(len(s.levels))
        if 0 < int((s.mask(i) & eligible).sum()) < int(eligible.sum())
    ]
    if not groups:
        return [], []
    found = excess_tests(
        question.wrong[eligible],
        np.array([g.mask[eligible] for g in groups]),
        wrong.patient_index[eligible],
        permutations=asked.permutations,
        seed=protocol.seed,
    )
    findings: list[Finding] = []
    tests: list[TestOutcome] = []
    for group, p, method in zip(groups, found.p_value, found.method, strict=True):
        findings.append(rate_finding(protocol, wrong, question, group.mask, group.stratum, None))
        findings.append(rate_finding(protocol, wrong, question, eligible & ~group.mask, group.stratum, REST))
        said = ", ".join(f"{k} {v}" for k, v in group.stratum.items())
        tests.append(
            TestOutcome(
                name=f"{question.kind}: {said} above all others",
                statistic=float((question.wrong & group.mask).sum()),
                p_value=float(p),
                method=method,
                endpoint=question.kind,
                stratum=group.stratum,
            )
        )
    return findings, tests


def rate_finding(
    protocol: StudyProtocol,
    wrong: WrongCases,
    question: Question,
    mask: Bools,
    stratum: Mapping[str, str],
    rest: str | None,
    *,
    analysis: str = ANALYSIS,
    condition: str | None = None,
) -> Finding:
    """The share of wrong cases among those of `mask`; `rest` where those are the ones outside the group."""
    level = two_sided_level(protocol.confidence)
    if mask.any():
        estimate = clustered_proportion(question.wrong[mask], wrong.patient_index[mask], level=level, method="wilson")
    else:
        estimate = Estimate.not_estimable("no case could be wrong in this way", n=0, level=level)
    reference = protocol.task.reference
    return Finding(
        analysis=analysis,
        endpoint=question.kind,
        metric=question.metric,
        role="exploratory",
        target=reference if isinstance(reference, str) else None,
        operating_point=None if wrong.point is None else wrong.point.name,
        stratum=dict(stratum),
        condition=condition,
        reference_group=rest,
        prespecified=False,
        estimate=estimate,
    )


# --- the line listing -----------------------------------------------------------------------------------------------


def _listing(
    protocol: StudyProtocol,
    asked: Failures,
    wrong: WrongCases,
    labels: Mapping[str, StratumLabels],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
) -> Listing:
    """One row per case that is wrong or nearly so: by kind, the farthest from being right first."""
    shown = disclosed(protocol)
    reasons = [str(r) if isinstance(r, str) else "" for r in predictions.get("reason", [""] * wrong.n)]
    stated = [str(s) for s in frame["reference_status"]] if "reference_status" in frame.columns else [""] * wrong.n
    near = _nearly(asked, wrong)
    rows = []
    for kind, i in _in_order(wrong, near):
        candidate = asked.confident is not None and wrong.distance[i] > 0 and wrong.doubt[i] < asked.confident
        rows.append(
            (
                wrong.case_id[i],
                kind,
                wrong.reference[i],
                stated[i],
                wrong.called[i],
                number(float(wrong.score[i])),
                number(float(wrong.distance[i])),
                "yes" if near[i] else "",
                CANDIDATE if candidate else "",
                wrong.status[i] if kind == NO_OUTPUT else "",
                reasons[i] if kind == NO_OUTPUT else "",
                *(" / ".join(labels[name].levels[labels[name].index[i]]) for name in shown),
                *("" for _ in REVIEWED),
            )
        )
    columns = (*_KEYS, "output_status", "reason", *(f"group: {name}" for name in shown), *REVIEWED)
    return Listing(name=LISTING, columns=columns, rows=tuple(rows))


def _nearly(asked: Failures, wrong: WrongCases) -> Bools:
    """(n,) cases within the declared band, whether right or wrong."""
    if asked.near is None:
        return np.zeros(wrong.n, dtype=bool)
    with np.errstate(invalid="ignore"):
        # A band written 0.05 holds a score of 0.35 at a threshold of 0.4, whatever rounding makes of the difference.
        return np.asarray(np.abs(wrong.distance) <= asked.near * (1.0 + 1e-9), dtype=bool)


def _in_order(wrong: WrongCases, near: Bools) -> Iterator[tuple[str, int]]:
    for question in wrong.questions:
        found = np.flatnonzero(question.wrong).tolist()
        far = {i: float(wrong.distance[i]) if np.isfinite(wrong.distance[i]) else 0.0 for i in found}
        yield from ((question.kind, i) for i in sorted(found, key=lambda i: (-far[i], i)))
    decided = np.array([bool(kind) for kind in wrong.kind], dtype=bool)
    right = np.flatnonzero(near & ~decided).tolist()
    yield from ((NEARLY, i) for i in sorted(right, key=lambda i: (-float(wrong.distance[i]), i)))


def _notes(protocol: StudyProtocol, wrong: WrongCases) -> Iterator[str]:
    if wrong.point is not None and len(protocol.operating_points) > 1:
        yield f"Wrong cases are those at the operating point '{wrong.point.name}'."
    hidden = [s.name for s in protocol.strata if s.cross is None and s.name not in disclosed(protocol)]
    if hidden:
        yield (
            f"The listing of wrong cases does not state groups of {', '.join(hidden)}: their columns are not under "
            "`disclose`."
        )
