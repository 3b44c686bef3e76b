"""How many readers and cases a gain of readers takes: by formula first, then by simulated studies judged alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from evalsuite.analyses.planning_rows import ABOVE, Planned, prevalence_of, to_collect, with_cases, worth
from evalsuite.protocol.planning import Assumption, Plan, ReaderPilot
from evalsuite.protocol.readers import ReaderStudy, figure_of
from evalsuite.protocol.schema import Criterion, StudyProtocol
from evalsuite.stats.obuchowski_rockette import VarianceParts
from evalsuite.stats.planning import cases_for_readers, reader_power, simulated_reader_power
from evalsuite.stats.reader_calibration import Of, ReaderModel, model_of
from evalsuite.stats.reader_power import (
    MOST_READINGS,
    MOST_STUDIES,
    Judged,
    SimulatedPower,
    cases_by_simulation,
    corrected,
    simulated_power,
    studies_for,
)

_READERS = (3, 4, 5, 6, 8, 10, 12, 15, 20)
_OF: dict[str, Of] = {"auroc": "auroc", "sensitivity": "positives", "specificity": "negatives"}
_MOST_CASES = 20_000
#: Studies at most, and readings at most, of a planned power, one on the way to a size, one in a table or curve.
_PLAN, _SEARCH, _TABLE = (MOST_STUDIES, MOST_READINGS), (4_000, 4_000_000), (500, 1_000_000)
_KNOTS = (0.35, 0.6, 1.0, 1.5, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One gain: its pilot, what is to be shown, and the model to simulate by, or why there is none."""

    pilot: VarianceParts
    pilot_cases: int
    difference: float
    goal: float
    power: float
    judged: Judged
    seed: int
    share: float
    model: ReaderModel | None
    reason: str

    def by_formula(self, readers: int, cases: int) -> float:
        return reader_power(
            self.pilot, pilot_cases=self.pilot_cases, readers=readers, cases=cases, difference=self.difference,
            level=self.judged.level,
        ).power  # fmt: skip

    def cases_by_formula(self, readers: int, power: float) -> int | None:
        return cases_for_readers(
            self.pilot, pilot_cases=self.pilot_cases, readers=readers, difference=self.difference, power=power,
            level=self.judged.level,
        )  # fmt: skip

    def simulated(self, readers: int, cases: int, effort: tuple[int, int] = _PLAN) -> SimulatedPower:
        assert self.model is not None
        return simulated_power(
            self.model, readers=readers, n_positive=cases * self.share, n_negative=cases * (1.0 - self.share),
            goal=self.goal, judged=self.judged, seed=[self.seed, readers, cases],
            studies=studies_for(readers, cases, self.judged, most=effort[0], readings=effort[1]),
        )  # fmt: skip


def readers_row(
    protocol: StudyProtocol, row: Planned, criterion: Criterion | None, assumed: Assumption | None, plan: Plan,
    level: float, *, by_readers: bool,
) -> Planned:  # fmt: skip
    """The row of a gain of readers; with `by_readers` also the cases that other numbers of readers take."""
    study = protocol.readers
    assert study is not None, "a gain of readers is of a reader study"
    if study.design != "crossed":
        return replace(row, reason="planned for crossed studies only: every reader reads every case")
    if assumed is None or assumed.pilot is None or plan.readers is None:
        return replace(row, reason="no gain, pilot study and number of readers are assumed: plan.assume, plan.readers")
    if criterion is None or criterion.bound != "lower" or criterion.op not in ABOVE:
        return replace(row, reason="no goal on the lower bound")
    asked = _asked(protocol, study, row.metric, assumed, assumed.pilot, plan, level, criterion.value)
    usual = study.generalise == "readers_and_cases" and study.method == "obuchowski_rockette"
    if asked.model is None and not usual:
        only = "planned by formula for random readers and cases and the Obuchowski-Rockette analysis only"
        return replace(row, reason=f"{only}; to simulate it: {asked.reason}")
    if asked.difference <= 0.0:
        return with_cases(replace(row, method="Hillis, Obuchowski & Berbaum (2011)"), None, plan)
    readers, n = plan.readers, worth(row.planned, plan)
    formula = asked.cases_by_formula(readers, plan.power)
    words = f"Hillis, Obuchowski & Berbaum (2011), {readers} readers, cases of both classes as in the pilot"
    if asked.model is None:
        row = with_cases(replace(row, method=f"{words}; not simulated: {asked.reason}"), formula, plan)
        if n:
            row = replace(row, power=asked.by_formula(readers, n))
        return _with_table(row, asked, plan) if by_readers else row
    words = f"{readers} readers, studies simulated with the pilot's components and judged as this one will be"
    words = "; ".join((words, *asked.model.notes, f"formula: {_formula_words(formula, plan)}"))
    found = cases_by_simulation(
        lambda cases: asked.simulated(readers, cases, _SEARCH),
        start=formula or _MOST_CASES, power=plan.power, most=_MOST_CASES,
    )  # fmt: skip
    row = with_cases(replace(row, method=words), None if found is None else found.cases, plan)
    if found is None:
        row = replace(row, reason=f"so many readers do not reach the power with {_MOST_CASES:,} cases: take more")
    else:
        row = replace(row, needed_power=found.found.power, power_error=found.found.standard_error)
    if usual:
        row = replace(row, formula_needed=None if formula is None else to_collect(formula, plan))
    if n:
        there = asked.simulated(readers, n)
        by_formula = asked.by_formula(readers, n) if usual else None
        row = replace(row, power=there.power, power_error=there.standard_error, formula_power=by_formula)
    return _with_table(row, asked, plan) if by_readers and usual else row


def _formula_words(formula: int | None, plan: Plan) -> str:
    needed = "no number of cases" if formula is None else f"{to_collect(formula, plan):,} cases"
    return f"{needed} (Hillis, Obuchowski & Berbaum 2011)"


def _asked(
    protocol: StudyProtocol, study: ReaderStudy, metric: str, assumed: Assumption, pilot: ReaderPilot, plan: Plan,
    level: float, goal: float,
) -> _Asked:  # fmt: skip
    parts = _parts(pilot)
    share = prevalence_of(plan)
    if share is None and pilot.positives is not None:
        share = pilot.positives / pilot.cases
    of = _OF.get(figure_of(metric))
    model, reason = None, ""
    if of is None:
        reason = f"no model of ratings has a {figure_of(metric)}"
    elif pilot.control is None or share is None:
        reason = "it takes pilot.control, and pilot.positives or plan.prevalence"
    else:
        positives = pilot.positives or pilot.cases * share
        try:
            model = model_of(
                parts, reader=pilot.treatment_reader if pilot.reader is None else pilot.reader, control=pilot.control,
                gain=assumed.value, n_positive=positives, n_negative=pilot.cases - positives, of=of,
            )  # fmt: skip
        except ValueError as error:
            reason = str(error)
    judged = Judged(
        method=study.method, generalise=study.generalise, distribution=study.distribution,
        delong=study.covariance in ("delong", "unbiased"), level=level,
    )  # fmt: skip
    return _Asked(
        pilot=parts, pilot_cases=pilot.cases, difference=assumed.value - goal, goal=goal, power=plan.power,
        judged=judged, seed=protocol.seed, share=0.5 if share is None else share, model=model, reason=reason,
    )  # fmt: skip


def _parts(pilot: ReaderPilot) -> VarianceParts:
    between = pilot.cov2 - pilot.cov3
    return VarianceParts(
        ms_treatment=None, ms_reader=None, error=pilot.error, cov1=pilot.cov1, cov2=pilot.cov2, cov3=pilot.cov3,
        ms_treatment_reader=pilot.treatment_reader + pilot.error - pilot.cov1 - between, n_treatments=2,
    )  # fmt: skip


def _with_table(row: Planned, asked: _Asked, plan: Plan) -> Planned:
    """Cases by number of readers: of the row itself as found, of others by formula, corrected by simulated studies.

    A reader more never takes more cases: of figures that say so by chance the larger stands.
    """
    assert plan.readers is not None
    sizes: list[tuple[int, int | None]] = []
    least = 0
    for k in sorted({*_READERS, plan.readers}, reverse=True):
        n = None if k == plan.readers else _cases_of(asked, k)
        size = row.needed if k == plan.readers else None if n is None else max(to_collect(n, plan), least)
        if k > plan.readers and size is not None and row.needed is not None:
            size = min(size, row.needed)
        least = max(least, size or 0)
        sizes.append((k, size))
    return replace(row, by_readers=tuple(reversed(sizes)))


def _cases_of(asked: _Asked, readers: int) -> int | None:
    n = asked.cases_by_formula(readers, asked.power)
    if asked.model is None or n is None:
        return n
    for _ in range(2):
        n = min(max(n, 8), _MOST_CASES)
        found = asked.simulated(readers, n, _TABLE)
        if abs(found.power - asked.power) <= found.standard_error:
            break
        aim = corrected(asked.power, found.power, asked.by_formula(readers, n))
        if not 0.01 < aim < 0.999:
            return None
        n = asked.cases_by_formula(readers, aim)
        if n is None or n > _MOST_CASES:
            return None
    return n


def _of_row(protocol: StudyProtocol, row: Planned, level: float) -> tuple[_Asked, int]:
    plan = protocol.plan or Plan()
    assumed = plan.assume[row.name]
    criterion = next(e for e in protocol.endpoints if e.name == row.name).criterion
    assert assumed.pilot is not None, "a row that needs cases has one"
    assert plan.readers is not None, "a row that needs cases has them"
    assert protocol.readers is not None, "a row that needs cases has them"
    assert criterion is not None, "a row that needs cases has one"
    asked = _asked(protocol, protocol.readers, row.metric, assumed, assumed.pilot, plan, level, criterion.value)
    return asked, plan.readers


def readers_power(protocol: StudyProtocol, row: Planned, cases: int, level: float) -> float:
    """Power of a planned row with so many independent cases: simulated where it can be."""
    asked, readers = _of_row(protocol, row, level)
    if asked.model is None:
        return asked.by_formula(readers, cases)
    return asked.simulated(readers, max(cases, 4)).power


def readers_curve(protocol: StudyProtocol, row: Planned, cases: Sequence[int], level: float) -> list[float]:
    """Power over numbers of independent cases: the formula's, moved to that of simulated studies at five sizes."""
    asked, readers = _of_row(protocol, row, level)
    formula = [asked.by_formula(readers, max(n, 2)) for n in cases]
    if asked.model is None:
        return formula
    top = max(cases)
    sizes = sorted({max(8, round(top * k / _KNOTS[-1])) for k in _KNOTS})
    off = []
    for n in sizes:
        found = asked.simulated(readers, n, _TABLE).power
        off.append(_probit(found) - _probit(asked.by_formula(readers, n)))
    moved = np.interp(np.log([max(n, 2) for n in cases]), np.log(sizes), off)
    return [float(ndtr(_probit(p) + d)) for p, d in zip(formula, moved, strict=True)]


def _probit(power: float) -> float:
    return float(ndtri(min(max(power, 1e-4), 1.0 - 1e-4)))


def readers_simulated(
    protocol: StudyProtocol, row: Planned, cases: int, studies: int, rng: np.random.Generator, level: float
) -> float:
    """Share of other simulated studies that reach the goal; of readers' figures where ratings have no model."""
    asked, readers = _of_row(protocol, row, level)
    if asked.model is None:
        common: dict[str, Any] = {"pilot_cases": asked.pilot_cases, "readers": readers, "cases": cases}
        return simulated_reader_power(
            asked.pilot, difference=asked.difference, studies=studies, rng=rng, level=level, **common
        )
    apart = int(rng.integers(1, 2**31))
    return simulated_power(
        asked.model, readers=readers, n_positive=cases * asked.share, n_negative=cases * (1.0 - asked.share),
        goal=asked.goal, judged=asked.judged, seed=[asked.seed, readers, cases, apart], studies=studies,
    ).power  # fmt: skip
