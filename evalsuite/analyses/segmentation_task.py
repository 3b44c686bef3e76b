"""How well a device outlines structures, in the whole set and in every stratum: figures of cases, and their means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import pandas as pd

from evalsuite.analyses.binary_questions import Question, chosen_interval
from evalsuite.analyses.common import Cell, OnStep, Results
from evalsuite.analyses.comparison import Both, beside
from evalsuite.analyses.mask_figures import FIGURES, OF_GRID, OF_LABELS, SECOND, Asked, asked_of
from evalsuite.analyses.mask_listing import mask_listing
from evalsuite.analyses.mask_pairs import Outlined, both_outline
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.population import Bools, Floats, Ints, OutputPolicy, ReferencePolicy
from evalsuite.analyses.resampling import Resampling, with_level, with_small_groups
from evalsuite.analyses.several import Studied, enough, evaluate_several, with_standard_table
from evalsuite.errors import InputError
from evalsuite.protocol.comparisons import as_endpoint
from evalsuite.protocol.metrics import METRICS
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.protocol.segmentation import structure_of, structures
from evalsuite.stats._resampled import read, replicated
from evalsuite.stats.case_means import mean_of, quantile_of
from evalsuite.stats.masks import CaseFigure
from evalsuite.types import CaseStatus, Curve, Estimate, Finding, ReferenceClass

COMPUTED = frozenset(
    {
        *("dice", "iou", "boundary_iou", "cldice", "hd", "hd95", "assd", "masd", "nsd"),
        *("volume_error", "relative_volume_error"),
    }
)
STANDARD = ("dice", "iou", "volume_error", "relative_volume_error")
_POLICIES: tuple[OutputPolicy, ...] = ("worst_case", "best_case", "exclude")
_SIGNED = ("volume_error", "relative_volume_error")
_BINS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskPopulation:
    """All n cases in lock order; `figures` are those of each case with output and reference, None for the others."""

    case_id: tuple[str, ...]
    patient_index: Ints
    n_patients: int
    has_reference: Bools
    has_output: Bools
    reference_class: tuple[ReferenceClass, ...]
    status: tuple[CaseStatus, ...]
    figures: tuple[dict[Asked, CaseFigure] | None, ...]

    @property
    def n(self) -> int:
        return len(self.case_id)


def questions(protocol: StudyProtocol) -> tuple[Question, ...]:
    """What is asked: the protocol's endpoints, and the standard table of every structure."""
    names = structures(protocol)
    several = len(names) > 1
    rows: list[tuple[str, str | None, str | None]] = [
        (metric, None, name if several else None) for name in names for metric in STANDARD
    ]
    asked = with_standard_table(protocol, rows)
    taken = {(q.endpoint.metric, structure_of(protocol, q.endpoint)) for q in asked if q.prespecified}
    # With one structure an endpoint may name it or not: the standard table must not ask twice.
    return tuple(
        q for q in asked if q.prespecified or (q.endpoint.metric, structure_of(protocol, q.endpoint)) not in taken
    )


def figures_wanted(protocol: StudyProtocol) -> tuple[Asked, ...]:
    """Every figure of single cases that the questions rest on."""
    every = [asked_of(q.endpoint, structure_of(protocol, q.endpoint)) for q in questions(protocol)]
    return tuple(dict.fromkeys((*every, *figures_compared(protocol))))


def figures_compared(protocol: StudyProtocol) -> tuple[Asked, ...]:
    """The figures of single cases that the comparisons rest on."""
    endpoints = [as_endpoint(c) for c in protocol.comparisons]
    return tuple(dict.fromkeys(asked_of(e, structure_of(protocol, e)) for e in endpoints))


def _both(study: _Study, other: _Study) -> Both:
    one, two = (
        Outlined(values=s.paired, has_output=s.population.has_output, has_reference=s.population.has_reference)
        for s in (study, other)
    )
    return both_outline(study.protocol, one, two, study.population.patient_index, study.resampling, _POLICIES)


def evaluate_segmentation(
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
    """Every finding, curve and count of a segmentation protocol; arguments as for a binary one. `predictions` (and the
    `baseline`'s and the `original` version's) have been through `with_mask_figures`."""
    population = _population(protocol, case_id, patient_id, frame, predictions)
    study = _Study(protocol, population)
    results = evaluate_several(
        protocol,
        population,
        questions(protocol),
        study,
        frame=frame,
        n_patients=population.n_patients,
        missing_outputs=not population.has_output.all(),
        missing_references=not population.has_reference.all(),
        output_policies=_POLICIES,
        both=beside(
            protocol,
            baseline,
            original,
            lambda other, _: _both(study, _Study(protocol, _population(protocol, case_id, patient_id, frame, other))),
        ),
        notes=tuple(_notes(protocol, population, predictions)),
        on_step=on_step,
    )
    reasons = predictions["reason"].tolist()
    if protocol.task.second_reader is not None:
        results = replace(results, findings=(*results.findings, *_readers(protocol, study, predictions)))
    listing = mask_listing(case_id, population.status, reasons, population.figures, figures_wanted(protocol))
    return replace(results, curves=tuple(_distributions(protocol, study)), listings=(listing,))


def studied(
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
) -> Studied:
    """The population with its study, for analyses that stand beside performance; arguments as for a binary one."""
    population = _population(protocol, case_id, patient_id, frame, predictions)
    return Studied(study=_Study(protocol, population), population=population, one_of=None)


def _population(
    protocol: StudyProtocol,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
) -> MaskPopulation:
    if [str(c) for c in predictions["case_id"]] != list(case_id):
        raise InputError("The predictions are not those of this test set: their cases differ.")
    flags = [str(s) for s in frame["reference_status"]] if "reference_status" in frame.columns else [""] * len(frame)
    cells = [str(c).strip() for c in frame[str(protocol.task.reference)]]
    classes: list[ReferenceClass] = [
        "equivocal" if flag == "equivocal" else "missing" if flag == "missing" or not cell else "known"
        for flag, cell in zip(flags, cells, strict=True)
    ]
    status = [str(s) for s in predictions["status"]]
    patients = {p: i for i, p in enumerate(dict.fromkeys(patient_id))}
    has_reference = np.array([c == "known" for c in classes], dtype=bool)
    has_output = np.array([s == "ok" for s in status], dtype=bool)
    figures = predictions[FIGURES].tolist()
    return MaskPopulation(
        case_id=case_id,
        patient_index=np.array([patients[p] for p in patient_id], dtype=np.int64),
        n_patients=len(patients),
        has_reference=has_reference,
        has_output=has_output,
        reference_class=tuple(classes),
        status=tuple(
            cast(CaseStatus, s if s != "ok" else "ok" if c == "known" else f"reference_{c}")
            for s, c in zip(status, classes, strict=True)
        ),
        figures=tuple(f if both else None for f, both in zip(figures, has_reference & has_output, strict=True)),
    )


def _notes(protocol: StudyProtocol, p: MaskPopulation, predictions: pd.DataFrame) -> Iterator[str]:
    grids = sum(str(r).startswith(OF_GRID) for r in predictions["reason"])
    if grids:
        yield (
            f"{grids} of {p.n} cases have an output on another grid than the reference (shape, spacing, origin or "
            "direction): nothing is resampled, and they count as cases without output."
        )
    odd = sum(str(r).startswith(OF_LABELS) for r in predictions["reason"])
    if odd:
        yield f"{odd} of {p.n} cases have an output with values that are no label: they count as cases without output."
    for name in structures(protocol):
        key = Asked(structure=name, metric="dice")
        without = sum(f is not None and f.get(key, CaseFigure(value=0.0)).undefined is not None for f in p.figures)
        if without:
            yield f"{name}: {without} of {p.n} cases have no Dice (empty masks) and are in no mean of it."


def _readers(protocol: StudyProtocol, study: _Study, predictions: pd.DataFrame) -> Iterator[Finding]:
    """How well the second reader's outlines agree with the reference, per structure, in the cases where both drew."""
    for name in structures(protocol):
        found = [None if s is None else s[name].value for s in predictions[SECOND]]
        counts = np.array([v is not None for v in found], dtype=bool) & study.population.has_reference
        values = np.array([0.0 if v is None else v for v in found])
        yield Finding(
            analysis="segmentation",
            endpoint=f"second reader, {name}",
            metric="dice",
            role="descriptive",
            target=name,
            operating_point=None,
            rater="second reader",
            estimate=study.mean(values, counts),
        )


def _distributions(protocol: StudyProtocol, study: _Study) -> Iterator[Curve]:
    """How many cases have which Dice, per structure: the cases of the primary analysis that have one."""
    outputs: OutputPolicy = protocol.missing_outputs.primary
    for name in structures(protocol):
        endpoint = Endpoint.model_construct(name="dice", metric="dice", target=name)
        values, counts = study.values(endpoint, outputs, "exclude")
        if not counts.any():
            continue
        heights, edges = np.histogram(values[counts], bins=_BINS, range=(0.0, 1.0))
        yield Curve(
            analysis="segmentation",
            metric="dice",
            kind="histogram",
            series=name,
            x=tuple(float(x) for x in (edges[:-1] + edges[1:]) / 2.0),
            y=tuple(float(h) for h in heights),
            n=int(counts.sum()),
            method="cases by Dice coefficient",
        )


class _Study:
    """The population with its one draw of patients, and how each endpoint is answered."""

    def __init__(self, protocol: StudyProtocol, population: MaskPopulation) -> None:
        self.protocol, self.population = protocol, population
        self.resampling = Resampling.of(protocol, population.patient_index)

    @property
    def level(self) -> float:
        return two_sided_level(self.protocol.confidence)

    def whatever_size(self) -> _Study:
        return with_small_groups(self)

    def at(self, level: float) -> _Study:
        return with_level(self, level)

    def answer(
        self,
        endpoints: Sequence[Endpoint],
        cells: Sequence[Cell],
        outputs: OutputPolicy,
        references: ReferencePolicy,
    ) -> dict[tuple[str, int], Estimate]:
        return {
            (endpoint.name, i): self.one(endpoint, cell, outputs, references)
            for endpoint in endpoints
            for i, cell in enumerate(cells)
        }

    def one(self, e: Endpoint, cell: Cell, outputs: OutputPolicy, references: ReferencePolicy) -> Estimate:
        """The mean, or a quantile, of one figure over the cases of a cell."""
        why = self._unknown(e, cell.mask, outputs, references)
        values, counts = self.values(e, outputs, references)
        mask = cell.mask & counts
        n = int(mask.sum())
        if why is None and n == 0:
            why = self._none(e, cell.mask)
        if why is not None:
            return Estimate.not_estimable(why, n=n, level=self.level)
        small = enough(self.protocol, cell.whole, {"cases": n}, self.level, n)
        if small is not None:
            return small
        method = chosen_interval(self.protocol, e)
        info = METRICS[e.metric]
        bounds = (-np.inf if info.lower is None else info.lower, np.inf if info.upper is None else info.upper)
        draw = self.resampling.draw
        material, statistic = (
            mean_of(values, bounds) if e.quantile is None else quantile_of(draw, values, e.quantile, bounds)
        )
        table = replicated(draw, material, [statistic], masks=mask[None], with_jackknife=method == "bca")
        return read(table, level=self.level, method=method)[0][0]

    def mean(self, values: Floats, mask: Bools) -> Estimate:
        """The mean Dice coefficient of some cases."""
        if not mask.any():
            return Estimate.not_estimable("no case has an outline of a second reader", n=0, level=self.level)
        method = self.protocol.confidence.bootstrap.interval
        material, statistic = mean_of(values, (0.0, 1.0))
        table = replicated(
            self.resampling.draw, material, [statistic], masks=mask[None], with_jackknife=method == "bca"
        )
        return read(table, level=self.level, method=method)[0][0]

    def values(self, e: Endpoint, outputs: OutputPolicy, references: ReferencePolicy) -> tuple[Floats, Bools]:
        """`(n,)` the figure of every case, and which of them count; where one is missing, what the policies assume."""
        p = self.population
        key = asked_of(e, structure_of(self.protocol, e))
        found = [None if f is None else f.get(key) for f in p.figures]
        values = np.array([0.0 if f is None or f.value is None else f.value for f in found])
        counts = np.array([f is not None and f.value is not None for f in found], dtype=bool)
        lost = ~p.has_output
        open_ = ~p.has_reference & p.has_output
        for gone, policy in ((lost & (p.has_reference | (references != "exclude")), outputs), (open_, references)):
            if policy != "exclude":
                values[gone] = self._assumed(e, policy == "worst_case", values, counts)
                counts = counts | gone
        return values, counts

    def paired(
        self, e: Endpoint, mask: Bools, outputs: OutputPolicy, references: ReferencePolicy
    ) -> tuple[Floats, Bools, str | None]:
        """`values`, and why some case of `mask` has no worst case."""
        return *self.values(e, outputs, references), self._unknown(e, mask, outputs, references)

    def _assumed(self, e: Endpoint, worst: bool, values: Floats, counts: Bools) -> float:
        info = METRICS[e.metric]
        if info.higher_is_better:
            return 0.0 if worst else 1.0
        if not worst or e.maximum is None:
            return 0.0
        if e.metric not in _SIGNED:
            return e.maximum
        # Away from no error to the side that the criterion guards against, else to that of the other cases.
        if e.criterion is not None:
            below = e.criterion.op in (">", ">=")
        else:
            below = bool(counts.any()) and float(values[counts].mean()) < 0.0
        return -e.maximum if below else e.maximum

    def _unknown(self, e: Endpoint, mask: Bools, outputs: OutputPolicy, references: ReferencePolicy) -> str | None:
        """Why nothing can be assumed about cases that lack an output or a reference, or None."""
        p = self.population
        if METRICS[e.metric].higher_is_better or e.maximum is not None:
            return None
        k = int((mask & ~p.has_output).sum()) if outputs == "worst_case" else 0
        k += int((mask & ~p.has_reference & p.has_output).sum()) if references == "worst_case" else 0
        if not k:
            return None
        cases = f"{k} case{'s' if k > 1 else ''} without an output or a reference"
        return f"{cases}, and the protocol declares no largest error (maximum) for this endpoint"

    def _none(self, e: Endpoint, mask: Bools) -> str:
        """Why no case has this figure: the reason that most of them have."""
        key = asked_of(e, structure_of(self.protocol, e))
        reasons = [
            f[key].undefined
            for f, inside in zip(self.population.figures, mask, strict=True)
            if inside and f is not None and key in f and f[key].undefined is not None
        ]
        return "no cases" if not reasons else str(max(set(reasons), key=reasons.count))
