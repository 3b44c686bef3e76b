"""Conformal sets: calibrated on some patients, tried on the others, and compared with what chance alone would show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evalsuite.analyses.answers import Answers, set_apart
from evalsuite.analyses.common import Cell, Results, cells_of
from evalsuite.analyses.cuts import two_sided_level
from evalsuite.analyses.population import Bools, Floats
from evalsuite.analyses.resampling import Resampling
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.protocol.uncertainty import Conformal
from evalsuite.stats._resampled import resampled
from evalsuite.stats.case_means import mean_of
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.conformal import conformal_threshold, coverage_band, needed, prediction_sets
from evalsuite.testset.strata import StratumLabels
from evalsuite.types import Estimate, Finding, TestOutcome

ANALYSIS = "uncertainty"
ENDPOINT = "conformal prediction"
KEY = "analyses.uncertainty.conformal.calibration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """Cases of both parts, each case's threshold (NaN where there is none) and the calibration cases behind it."""

    calibration: Bools
    tried: Bools
    threshold: Floats
    behind: np.ndarray


def conformal_figures(
    protocol: StudyProtocol,
    asked: Conformal,
    answers: Answers,
    labels: Mapping[str, StratumLabels],
    frame: pd.DataFrame,
) -> Results:
    """Coverage, expected coverage and sizes of the sets, in the whole part that was tried and in each group.

    Metrics: `conformal_coverage`, with `condition` "answer X" among the cases whose right answer is X;
    `conformal_expected`, the band in which coverage lies by chance alone (one case per patient, and calibrated on that
    very group); `conformal_set_size`, `conformal_single`, `conformal_empty`. A test compares coverage with the band, or
    says why there is none.
    """
    if answers.probability is None:
        note = "Conformal sets need a probability for each answer; the scores are none, so there are no sets."
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=(note,))
    parts = _calibrated(protocol, asked, answers, labels, frame)
    truth = 1.0 - answers.probability
    sets = prediction_sets(np.where(np.isfinite(truth), truth, np.inf), parts.threshold)
    rows = np.arange(answers.n)
    covered = sets[rows, np.where(answers.settled, answers.reference, 0)]
    findings: list[Finding] = []
    tests: list[TestOutcome] = []
    cells = _cells(asked, labels, answers.n)
    sizes = _sizes(protocol, answers, sets.sum(axis=1).astype(np.float64), parts.tried, cells)
    for cell, size in zip(cells, sizes, strict=True):
        mask = cell.mask & parts.tried
        if not cell.whole and mask.sum() < protocol.small_strata.suppress_below:
            why = f"not assessable: {int(mask.sum())} cases, fewer than {protocol.small_strata.suppress_below}"
            level = two_sided_level(protocol.confidence)
            absent = Estimate.not_estimable(why, n=int(mask.sum()), level=level)
            findings.append(_finding("conformal_coverage", absent, cell))
            continue
        findings += _coverages(protocol, answers, covered, mask, cell)
        findings.append(_finding("conformal_set_size", size, cell))
        many = sets.sum(axis=1)
        for metric, hit in (("conformal_single", many == 1), ("conformal_empty", many == 0)):
            findings.append(_finding(metric, _share(protocol, answers, hit, mask), cell))
        expected, test = _judged(protocol, asked, answers, parts, covered, mask, cell)
        findings += [] if expected is None else [_finding("conformal_expected", expected, cell)]
        tests.append(test)
    return Results(
        findings=tuple(findings), curves=(), accounting=(), tests=tuple(tests), notes=tuple(_notes(asked, parts))
    )


def _calibrated(
    protocol: StudyProtocol,
    asked: Conformal,
    answers: Answers,
    labels: Mapping[str, StratumLabels],
    frame: pd.DataFrame,
) -> Calibrated:
    assert answers.probability is not None
    calibration = set_apart(asked.calibration, KEY, answers, frame, protocol.seed, answers.settled)
    tried = answers.settled & ~calibration
    rows = np.arange(answers.n)
    score = 1.0 - answers.probability[rows, np.where(answers.settled, answers.reference, 0)]
    threshold = np.full(answers.n, np.nan)
    behind = np.zeros(answers.n, dtype=np.int64)
    for group in _groups(asked, labels, answers.n):
        mine = calibration & group
        found = conformal_threshold(score[mine], asked.alpha)
        # Too few to leave anything out: every answer is in the set, as the theory has it.
        threshold[group] = np.inf if found is None else found
        behind[group] = int(mine.sum())
    return Calibrated(calibration=calibration, tried=tried, threshold=threshold, behind=behind)


def _groups(asked: Conformal, labels: Mapping[str, StratumLabels], n: int) -> list[Bools]:
    if asked.per_group is None:
        return [np.ones(n, dtype=bool)]
    group = labels[asked.per_group]
    return [group.mask(i) for i in range(len(group.levels))]


def _cells(asked: Conformal, labels: Mapping[str, StratumLabels], n: int) -> tuple[Cell, ...]:
    named = [s.name for s in labels.values() if len(s.keys) == 1] if asked.groups is None else list(asked.groups)
    if asked.per_group is not None and asked.per_group not in named:
        named.append(asked.per_group)
    return cells_of({name: labels[name] for name in named}, n)


def _sizes(
    protocol: StudyProtocol, answers: Answers, size: Floats, tried: Bools, cells: Sequence[Cell]
) -> list[Estimate]:
    material, statistic = mean_of(size, (0.0, float(len(answers.names))))
    found = resampled(
        Resampling.of(protocol, answers.patient_index).draw,
        material,
        [statistic],
        masks=np.array([cell.mask & tried for cell in cells]),
        level=two_sided_level(protocol.confidence),
        method="percentile",
    )
    return [row[0] for row in found]


def _coverages(protocol: StudyProtocol, answers: Answers, covered: Bools, mask: Bools, cell: Cell) -> Iterator[Finding]:
    yield _finding("conformal_coverage", _share(protocol, answers, covered, mask), cell)
    for i, name in enumerate(answers.names):
        of_answer = _share(protocol, answers, covered, mask & (answers.reference == i))
        if cell.whole:
            yield _finding("conformal_coverage", of_answer, cell, condition=f"answer {name}")


def _share(protocol: StudyProtocol, answers: Answers, hit: Bools, mask: Bools) -> Estimate:
    level = two_sided_level(protocol.confidence)
    if not mask.any():
        return Estimate.not_estimable("no cases", n=0, level=level)
    return clustered_proportion(hit[mask], answers.patient_index[mask], level=level)


def _finding(metric: str, estimate: Estimate, cell: Cell, *, condition: str | None = None) -> Finding:
    return Finding(
        analysis=ANALYSIS,
        endpoint=ENDPOINT,
        metric=metric,
        role="secondary",
        target=None,
        operating_point=None,
        stratum=dict(cell.stratum),
        condition=condition,
        estimate=estimate,
    )


def _judged(
    protocol: StudyProtocol,
    asked: Conformal,
    answers: Answers,
    parts: Calibrated,
    covered: Bools,
    mask: Bools,
    cell: Cell,
) -> tuple[Estimate | None, TestOutcome]:
    """The band of coverage by chance alone and the test against it; where there is none, a test without p and why."""
    level = two_sided_level(protocol.confidence)
    n_test, n_calibration = int(mask.sum()), _behind(parts, mask)
    why = _no_band(asked, answers, parts, mask, cell, n_calibration)
    seen = int((covered & mask).sum())
    named = {
        "name": f"conformal coverage of {1.0 - asked.alpha:g}",
        "statistic": float(seen) if n_test else None,
        "endpoint": ENDPOINT,
        "stratum": dict(cell.stratum),
    }
    if why is not None:
        return None, TestOutcome(**named, p_value=None, method="none", undefined=why)  # type: ignore[arg-type]
    assert n_calibration is not None
    band = coverage_band(n_calibration, n_test, asked.alpha, level=level, covered=seen)
    method = f"beta-binomial, {n_test} cases, Beta({band.a}, {band.b})"
    expected = Estimate(
        value=band.expected, low=band.low, high=band.high, level=level, method=method, n=n_test, n_patients=n_test
    )
    test = TestOutcome(**named, p_value=band.p_value, method=f"{method}, two-sided")  # type: ignore[arg-type]
    return expected, test


def _behind(parts: Calibrated, mask: Bools) -> int | None:
    """Calibration cases behind the thresholds of these cases; None where they have several thresholds."""
    found = np.unique(parts.behind[mask])
    one = np.unique(parts.threshold[mask])
    return int(found[0]) if found.size == 1 and one.size == 1 else None


def _no_band(
    asked: Conformal, answers: Answers, parts: Calibrated, mask: Bools, cell: Cell, n_calibration: int | None
) -> str | None:
    own = asked.per_group is not None and set(cell.stratum) == {asked.per_group}
    used = parts.calibration | parts.tried
    if not mask.any():
        return "no cases"
    if len(np.unique(answers.patient_index[used])) < int(used.sum()):
        return "several cases per patient: no band by chance alone is known"
    if not own and not (cell.whole and asked.per_group is None):
        return "not calibrated on this group alone: nothing is promised for it"
    if n_calibration is None or n_calibration < needed(asked.alpha):
        return f"{n_calibration or 0} calibration cases, fewer than {needed(asked.alpha)}: every set holds every answer"
    return None


def _notes(asked: Conformal, parts: Calibrated) -> Iterator[str]:
    if int(parts.calibration.sum()) < needed(asked.alpha):
        yield (
            f"Conformal sets at alpha {asked.alpha:g} need {needed(asked.alpha)} calibration cases or more and have "
            f"{int(parts.calibration.sum())}: every set holds every answer."
        )
