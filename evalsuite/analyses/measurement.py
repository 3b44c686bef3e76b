"""Agreement of a device's measurements with the reference, in the whole set and in every stratum."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import pandas as pd

from evalsuite.analyses.binary_questions import Question, chosen_interval
from evalsuite.analyses.common import Cell, OnStep, Results
from evalsuite.analyses.comparison import Both, beside
from evalsuite.analyses.equivalence import bias_tests
from evalsuite.analyses.figure_pair import FigurePair
from evalsuite.analyses.linear import bent
from evalsuite.analyses.measured_figures import OF_ERRORS, MeasuredFigures, paired_measurements, replicates
from evalsuite.analyses.measurement_curves import agreement_curves
from evalsuite.analyses.measurement_population import (
    Direction,
    Measured,
    MeasurementPopulation,
    build_measurement_population,
    measured,
)
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.monitoring import OF_CHANGE, OF_RESPONSE, pairs_of_visits, response, response_table
from evalsuite.analyses.population import Bools, OutputPolicy, ReferencePolicy
from evalsuite.analyses.repeats import design_of, reproducibility
from evalsuite.analyses.resampling import Resampling, with_level, with_small_groups
from evalsuite.analyses.several import Studied, enough, evaluate_several, with_standard_table
from evalsuite.analyses.tipping_several import tipping_of_errors
from evalsuite.errors import InputError
from evalsuite.protocol.schema import Analyses, Endpoint, StudyProtocol
from evalsuite.stats import agreement, deviation, method_comparison, repeatability
from evalsuite.stats.bootstrap import read
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.proportions import ProportionMethod
from evalsuite.testset.strata import assign_strata
from evalsuite.types import Estimate, Finding

#: Of repeated device measurements; the reference takes no part.
_REPEATED = {
    "within_subject_cv": repeatability.within_subject_cv,
    "within_subject_sd": repeatability.within_subject_sd,
    "repeatability_coefficient": repeatability.repeatability_coefficient,
}
_REPRODUCED = "reproducibility_coefficient"
_BENT = "nonlinearity"
STANDARD = ("bias", "mae", "rmse", "loa_lower", "loa_upper", "ccc", "icc", "deming_slope", "deming_intercept")

_POLICIES: tuple[OutputPolicy, ...] = ("worst_case", "best_case", "exclude")
#: Shares of cases, in which an unknown case counts as wrong.
_SHARES = ("coverage_probability", "category_agreement")
#: Closed intervals that take cases as independent: with several cases per patient the patient bootstrap serves.
_INDEPENDENT = frozenset({"ccc", "icc", "icc_consistency", "tdi"})


def evaluate_measurement(
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
    baseline: pd.DataFrame | None = None,
    original: pd.DataFrame | None = None,
    on_step: OnStep | None = None,
) -> Results:
    """Every finding, curve and count of a measurement protocol; arguments as for a binary one.

    Raises InputError where a reference is no number, an output is missing, or a column of repeats does not exist.
    """
    built = partial(build_measurement_population, protocol, case_id=case_id, patient_id=patient_id, frame=frame)
    population = built(predictions=predictions)
    study = _Study(protocol, population, frame)
    results = evaluate_several(
        protocol,
        population,
        _with_maximum(protocol, with_standard_table(protocol, _standard(protocol))),
        study,
        frame=frame,
        n_patients=population.n_patients,
        missing_outputs=not population.has_output.all() or study.undefined_changes,
        missing_references=not population.has_reference.all(),
        output_policies=_POLICIES,
        both=beside(protocol, baseline, original, lambda other, cells: _both(study, built(predictions=other))),
        extra=study.beside,
        notes=(*_notes(population), *(() if study.pairs is None else study.pairs.notes)),
        on_step=on_step,
    )
    labels = assign_strata(frame, protocol.strata)
    return replace(
        results,
        curves=agreement_curves(protocol, population, labels),
        tests=(*results.tests, *bias_tests(protocol, population)),
    )


def _standard(protocol: StudyProtocol) -> list[tuple[str, str | None, str | None]]:
    """Rows of the standard table, those of the change between visits where the protocol asks for it."""
    change = protocol.analyses.change
    more = () if change is None else (*OF_CHANGE, *(OF_RESPONSE if change.thresholds else ()))
    return [(metric, None, None) for metric in (*STANDARD, *more)]


def studied(
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
) -> Studied:
    """The population with its study, for analyses that stand beside performance; arguments as for a binary one."""
    population = build_measurement_population(
        protocol, case_id=case_id, patient_id=patient_id, frame=frame, predictions=predictions
    )
    return Studied(study=_Study(protocol, population, frame), population=population, one_of=None)


def _with_maximum(protocol: StudyProtocol, asked: Sequence[Question]) -> tuple[Question, ...]:
    """Rows of the standard table take the largest error that all endpoints agree on: it is of the same measurement."""
    declared = {e.maximum for e in protocol.endpoints if e.maximum is not None}
    if len(declared) != 1:
        return tuple(asked)
    (maximum,) = declared
    return tuple(
        q
        if q.prespecified or q.endpoint.metric not in OF_ERRORS
        else replace(q, endpoint=q.endpoint.model_copy(update={"maximum": maximum}))
        for q in asked
    )


def _notes(p: MeasurementPopulation) -> Iterator[str]:
    pairs = p.both
    if pairs.any() and np.ptp(p.reference[pairs]) == 0:
        yield "All cases have the same reference value: agreement over a range of values cannot be shown."
    if pairs.any() and np.array_equal(p.device[pairs], p.reference[pairs]):
        yield "Every measurement equals its reference exactly; check that the outputs are not the reference itself."


def _both(study: _Study, baseline: MeasurementPopulation) -> Both:
    """The candidate beside a baseline."""
    protocol, candidate, kept = study.protocol, study.population, study.resampling.keeping()
    pairs = {
        asked.name: FigurePair(
            protocol=protocol,
            comparison=asked,
            figures=MeasuredFigures(),
            pair_up=paired_measurements(candidate, baseline, asked),
            patient_index=candidate.patient_index,
            resampling=kept,
        )
        for asked in protocol.comparisons
    }
    return Both(
        pairs=pairs,
        lost=(int((~candidate.has_output).sum()), int((~baseline.has_output).sum())),
        missing_references=not candidate.has_reference.all(),
        output_policies=_POLICIES,
    )


class _Study:
    """The population with its one draw of patients, and how each endpoint is answered."""

    def __init__(self, protocol: StudyProtocol, population: MeasurementPopulation, frame: pd.DataFrame) -> None:
        self.protocol, self.population = protocol, population
        self.resampling = Resampling.of(protocol, population.patient_index)
        self.clustered = population.n_patients < population.n
        asked = protocol.analyses.variance_components
        self.design = None if asked is None else design_of(asked, population, frame)
        followed = protocol.analyses.change
        self.pairs = None if followed is None else pairs_of_visits(followed, population, frame)
        bare = protocol.model_copy(update={"analyses": Analyses(), "endpoints": []})
        self.followed = None if self.pairs is None else _Study(bare, self.pairs.changes, frame)
        self.repeats = {e.repeats: _column(frame, e.repeats) for e in protocol.endpoints if e.repeats is not None}

    @property
    def level(self) -> float:
        return two_sided_level(self.protocol.confidence)

    @property
    def undefined_changes(self) -> bool:
        """Whether some pair of visits has outputs from which no change can be formed."""
        return self.pairs is not None and not self.pairs.changes.has_output.all()

    def whatever_size(self) -> _Study:
        return with_small_groups(self)

    def at(self, level: float) -> _Study:
        return with_level(self, level)

    def beside(self, cells: Sequence[Cell]) -> Iterator[Finding]:
        """The table of response categories, and the errors of unresolved cases at which criteria fail."""
        asked = self.protocol.analyses.change
        if asked is not None and self.pairs is not None:
            yield from response_table(asked, self.pairs, self.level)
        p = self.population
        if self.protocol.missing_reference.primary == "tipping_point" and not p.has_reference.all():
            yield from tipping_of_errors(
                self.protocol,
                cells,
                [e for e in self.protocol.endpoints if e.metric in OF_ERRORS],
                lambda cell: int((cell.mask & p.has_output & ~p.has_reference).sum()),
                self._with_error,
                self._typical_error,
                self._no_tipping,
            )

    def _with_error(self, e: Endpoint, cell: Cell, size: float) -> Estimate:
        """The estimate with this error of every case that lacks a reference."""
        outputs: OutputPolicy = self.protocol.missing_outputs.primary
        return self._one(e.model_copy(update={"maximum": size}), cell, outputs, "worst_case")

    def _typical_error(self, cell: Cell) -> float | None:
        mask = cell.mask & self.population.both
        return float(np.abs(self.population.device - self.population.reference)[mask].mean()) if mask.any() else None

    def _no_tipping(self, e: Endpoint, cell: Cell) -> str | None:
        if e.maximum is None:
            return "the protocol declares no largest error (maximum) for this endpoint"
        if e.interval in ("percentile", "basic", "bca") or (self.clustered and e.metric in _INDEPENDENT):
            return "no tipping point is searched for with a bootstrap interval"
        if self.protocol.missing_outputs.primary == "worst_case" and (cell.mask & ~self.population.has_output).any():
            return "cases lack an output too, and their error is taken as the largest"
        return None

    def answer(
        self,
        endpoints: Sequence[Endpoint],
        cells: Sequence[Cell],
        outputs: OutputPolicy,
        references: ReferencePolicy,
    ) -> dict[tuple[str, int], Estimate]:
        return {
            (endpoint.name, i): self._one(endpoint, cell, outputs, references)
            for endpoint in endpoints
            for i, cell in enumerate(cells)
        }

    def _one(self, e: Endpoint, cell: Cell, outputs: OutputPolicy, references: ReferencePolicy) -> Estimate:
        if e.metric in _REPEATED:
            return self._repeated(e, cell, outputs)
        if e.metric == _REPRODUCED:
            return self._reproduced(cell, outputs)
        if e.metric == _BENT:
            return self._bent(cell, outputs, references)
        if e.metric in OF_CHANGE or e.metric in OF_RESPONSE:
            return self._changed(e, cell, outputs, references)
        made: list[Estimate] = []
        for direction in _directions(e, self.population, cell):
            view = measured(
                self.population, outputs=outputs, references=references, maximum=_largest(e), direction=direction
            )
            mask = cell.mask & view.include
            n = int(mask.sum())
            why = self._unknown(e, view, mask, outputs, references)
            if n == 0 or why is not None:
                return Estimate.not_estimable(why or "no cases", n=n, level=self.level)
            small = enough(self.protocol, cell.whole, {"cases": n}, self.level, n)
            if small is not None:
                return small
            made.append(self._estimate(e, view, mask, (e.name, outputs, references, direction, id(cell))))
            if not bool((view.assumed & mask).any()):
                break
        # Where the worse side is not known beforehand, the larger of the two is.
        return max(made, key=lambda estimate: -math.inf if estimate.value is None else estimate.value)

    def _unknown(
        self, e: Endpoint, view: Measured, mask: Bools, outputs: OutputPolicy, references: ReferencePolicy
    ) -> str | None:
        """Why nothing can be assumed about cases that lack an output or a reference, or None."""
        gone = view.assumed & mask
        k = int(gone.sum())
        if k == 0 or e.metric in _SHARES:
            return None
        cases = f"{k} case{'s' if k > 1 else ''} without an output or a reference"
        if e.metric not in OF_ERRORS:
            return f"{cases}, for which this measure has no worst case"
        lost_output = gone & ~self.population.has_output
        worst = (lost_output.any() and outputs == "worst_case") or (
            (gone & ~lost_output).any() and references == "worst_case"
        )
        if worst and e.maximum is None:
            return f"{cases}, and the protocol declares no largest error (maximum) for this endpoint"
        return None

    def _estimate(self, e: Endpoint, view: Measured, mask: Bools, key: Hashable) -> Estimate:
        patient = self.population.patient_index[mask]
        repeated = len(np.unique(patient)) < len(patient)
        bootstrap = e.interval in ("percentile", "basic", "bca") or (repeated and e.metric in _INDEPENDENT)
        if bootstrap:
            method = chosen_interval(self.protocol, e)
            table = self.resampling.table(
                key, lambda: replicates(self.resampling, e, view, mask, with_jackknife=method == "bca")
            )
            return read(table, level=self.level, method=method)[0][0]
        if e.metric == "category_agreement":
            return self._alike(e, view, mask, patient)
        estimate = _CLOSED[e.metric](e, view.device[mask], view.reference[mask], patient, self)
        return estimate if estimate.n_patients is not None else replace(estimate, n_patients=len(np.unique(patient)))

    def _alike(self, e: Endpoint, view: Measured, mask: Bools, patient: Any) -> Estimate:
        """Share of cases in the reference's category; an error that is assumed at its worst is in another one."""
        assert e.cuts is not None, "the protocol's loader requires it"
        device, reference = (
            np.searchsorted(e.cuts, values[mask], side="right") for values in (view.device, view.reference)
        )
        alike = (device == reference) & ~(view.assumed & (view.device != view.reference))[mask]
        method = cast(ProportionMethod, e.interval or self.protocol.confidence.proportion)
        return clustered_proportion(alike, patient, level=self.level, method=method)

    def _repeated(self, e: Endpoint, cell: Cell, outputs: OutputPolicy) -> Estimate:
        """Of repeated device measurements; the reference takes no part."""
        assert e.repeats is not None, "the protocol's loader requires it"
        labels = self.repeats[e.repeats]
        named = cell.mask & np.array([bool(t.strip()) for t in labels], dtype=bool)
        lost = int((named & ~self.population.has_output).sum())
        mask = named & self.population.has_output
        n = int(mask.sum())
        if lost and outputs != "exclude":
            cases = f"{lost} case{'s' if lost > 1 else ''} without an output"
            return Estimate.not_estimable(f"{cases}, for which this measure has no worst case", n=n, level=self.level)
        groups = np.unique(labels[mask], return_inverse=True)[1].reshape(-1)
        sizes = np.bincount(groups)
        patient = self.population.patient_index[mask]
        small = enough(self.protocol, cell.whole, {"repeated measurements": int((sizes > 1).sum())}, self.level, n)
        if small is not None:
            return small
        of_group = np.zeros(sizes.size, dtype=np.int64)
        of_group[groups] = patient
        if bool((of_group[groups] != patient).any()):
            return Estimate.not_estimable(
                "repeated measurements of one thing come from two patients", n=n, level=self.level
            )
        estimate = _REPEATED[e.metric](
            self.population.device[mask], groups, level=self.level, n_patients=len(np.unique(of_group[sizes > 1]))
        )
        people = of_group[sizes > 1]
        if len(np.unique(people)) < len(people) and estimate.low is not None:
            why = "patients have several repeated measurements; the interval for independent ones would be too narrow"
            return replace(estimate, low=None, high=None, interval_undefined=why)
        return estimate

    def _changed(self, e: Endpoint, cell: Cell, outputs: OutputPolicy, references: ReferencePolicy) -> Estimate:
        """Of pairs of visits: the same questions asked of changes, and agreement of response."""
        asked = self.protocol.analyses.change
        assert asked is not None, "the protocol's loader requires it"
        assert self.pairs is not None
        assert self.followed is not None
        within = self.pairs.cell(cell)
        if e.metric in OF_RESPONSE:
            return response(
                self.protocol, asked, self.pairs, e, within, outputs=outputs, references=references, level=self.level
            )
        of_change = e.model_copy(update={"metric": OF_CHANGE[e.metric]})
        return self.followed.at(self.level)._one(of_change, within, outputs, references)

    def _bent(self, cell: Cell, outputs: OutputPolicy, references: ReferencePolicy) -> Estimate:
        """Deviation from linearity, of cases with output and reference."""
        asked, p = self.protocol.analyses.linearity, self.population
        assert asked is not None, "the protocol's loader requires it"
        gone = cell.mask & ((~p.has_output & (outputs != "exclude")) | (~p.has_reference & (references != "exclude")))
        mask = cell.mask & p.both
        n = int(mask.sum())
        if gone.any():
            k = int(gone.sum())
            cases = f"{k} case{'s' if k > 1 else ''} without an output or a reference"
            return Estimate.not_estimable(f"{cases}, for which this measure has no worst case", n=n, level=self.level)
        small = enough(self.protocol, cell.whole, {"cases": n}, self.level, n)
        return small or replace(
            bent(asked, p, mask, self.level).largest, n_patients=len(np.unique(p.patient_index[mask]))
        )

    def _reproduced(self, cell: Cell, outputs: OutputPolicy) -> Estimate:
        """Of device measurements under different conditions; the reference takes no part."""
        assert self.design is not None, "the protocol's loader requires it"
        lost = int((cell.mask & self.design.named & ~self.population.has_output).sum())
        mask = cell.mask & self.design.named & self.population.has_output
        n = int(mask.sum())
        if lost and outputs != "exclude":
            cases = f"{lost} case{'s' if lost > 1 else ''} without an output"
            return Estimate.not_estimable(f"{cases}, for which this measure has no worst case", n=n, level=self.level)
        small = enough(self.protocol, cell.whole, {"measurements": n}, self.level, n)
        return small or reproducibility(self.population.device[mask], self.design.at(mask), self.level)


def _column(frame: pd.DataFrame, name: str) -> np.ndarray:
    if name not in frame.columns:
        raise InputError(
            f"The locked test set has no column '{name}' of repeats.",
            hint=f"Columns: {', '.join(map(str, frame.columns))}. Correct the endpoint's `repeats`.",
        )
    return np.array([str(c) for c in frame[name]], dtype=object)


def _largest(e: Endpoint) -> float | None:
    """Size of the error of a case that is not known; outside the tolerance for the coverage probability."""
    if e.metric in _SHARES:
        return 2.0 * (e.tolerance or 0.0) + 1.0
    return e.maximum


def _directions(e: Endpoint, p: MeasurementPopulation, cell: Cell) -> tuple[Direction, ...]:
    """To which side an unknown error is worst: what the criterion guards against, else away from no bias."""
    if e.metric == "tdi":
        return ("above", "below")
    if e.metric in ("loa_lower", "loa_upper"):
        return ("below",) if e.metric == "loa_lower" else ("above",)
    if e.metric == "bias" and e.criterion is not None and e.criterion.op in (">", ">="):
        return ("below",)
    if e.metric == "bias" and e.criterion is None:
        pairs = cell.mask & p.both
        if pairs.any() and float((p.device - p.reference)[pairs].mean()) < 0:
            return ("below",)
    return ("above",)


_Closed = Callable[[Endpoint, Any, Any, Any, _Study], Estimate]


def _limit(which: str) -> _Closed:
    def estimate(e: Endpoint, device: Any, reference: Any, patient: Any, study: _Study) -> Estimate:
        method = cast(agreement.LimitsMethod, e.interval or "exact")
        found = agreement.bland_altman(device, reference, patient=patient, level=study.level, method=method)
        return cast(Estimate, getattr(found, which))

    return estimate


def _robust_line(which: str) -> _Closed:
    def estimate(e: Endpoint, device: Any, reference: Any, patient: Any, study: _Study) -> Estimate:
        if len(device) > method_comparison.LARGEST_N:
            why = f"looks at every pair of cases, and takes at most {method_comparison.LARGEST_N}"
            return Estimate.not_estimable(why, n=len(device), level=study.level, method="Passing-Bablok")
        found = cast(Estimate, getattr(method_comparison.passing_bablok(device, reference, level=study.level), which))
        if found.low is None or len(np.unique(patient)) == len(patient):
            return found
        why = "patients have several cases; the interval for independent ones would be too narrow"
        return replace(found, low=None, high=None, interval_undefined=why)

    return estimate


def _line(which: str) -> _Closed:
    def estimate(e: Endpoint, device: Any, reference: Any, patient: Any, study: _Study) -> Estimate:
        line = method_comparison.deming(
            device, reference, variance_ratio=e.variance_ratio or 1.0, patient=patient, level=study.level
        )
        return cast(Estimate, getattr(line, which))

    return estimate


def _within(e: Endpoint, device: Any, reference: Any, patient: Any, study: _Study) -> Estimate:
    assert e.tolerance is not None, "the protocol's loader requires it"
    method = cast(ProportionMethod, e.interval or study.protocol.confidence.proportion)
    near = deviation.within_tolerance(device, reference, e.tolerance)
    return clustered_proportion(near, patient, level=study.level, method=method)


_CLOSED: dict[str, _Closed] = {
    "bias": lambda e, d, r, p, s: agreement.bias(d, r, patient=p, level=s.level),
    "mae": lambda e, d, r, p, s: agreement.mean_absolute_error(d, r, patient=p, level=s.level),
    "rmse": lambda e, d, r, p, s: agreement.root_mean_square_error(d, r, patient=p, level=s.level),
    "loa_lower": _limit("lower_limit"),
    "loa_upper": _limit("upper_limit"),
    "ccc": lambda e, d, r, p, s: repeatability.concordance(d, r, level=s.level),
    "icc": lambda e, d, r, p, s: repeatability.icc(np.column_stack((d, r)), "icc(2,1)", level=s.level),
    "icc_consistency": lambda e, d, r, p, s: repeatability.icc(np.column_stack((d, r)), "icc(3,1)", level=s.level),
    "proportional_bias": _limit("proportional_bias"),
    "passing_bablok_slope": _robust_line("slope"),
    "passing_bablok_intercept": _robust_line("intercept"),
    "deming_slope": _line("slope"),
    "deming_intercept": _line("intercept"),
    "tdi": lambda e, d, r, p, s: deviation.total_deviation_index(d, r, coverage=e.coverage or 0.9, level=s.level),
    "coverage_probability": _within,
}

COMPUTED = frozenset({*_CLOSED, *_SHARES, *_REPEATED, _REPRODUCED, *OF_CHANGE, *OF_RESPONSE, _BENT})
