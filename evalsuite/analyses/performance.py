"""Performance and calibration of a binary index test: every endpoint, in the whole set and in every stratum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import cast

import numpy as np
import pandas as pd

from evalsuite.analyses import curves as draw_curves
from evalsuite.analyses.binary_pair import BinaryPair
from evalsuite.analyses.binary_questions import (
    Question,
    by_bootstrap,
    chosen_interval,
    group_by_view,
    not_assessable,
    with_counts,
)
from evalsuite.analyses.common import (
    Cell,
    OnStep,
    Results,
    cells_of,
    common_notes,
    exact_tests,
    judged_in,
    policies,
    primary_reference_policy,
    variants,
)
from evalsuite.analyses.comparison import Both, beside, compare, either
from evalsuite.analyses.metrics import (
    COMPUTABLE,
    STANDARD_AGREEMENT,
    STANDARD_AT_POINT,
    STANDARD_OVERALL,
    cut,
    two_sided_level,
)
from evalsuite.analyses.multiplicity import AtLevel, adjusted_findings
from evalsuite.analyses.paired import cutoff
from evalsuite.analyses.population import (
    Bools,
    OutputPolicy,
    Population,
    ReferencePolicy,
    Scenario,
    accounting,
    build_population,
    scenario,
)
from evalsuite.analyses.resampling import Resampling, at_level
from evalsuite.analyses.utility import decision_curves
from evalsuite.protocol.metrics import METRICS
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats.bins import BinScheme
from evalsuite.stats.bootstrap import (
    BootstrapMethod,
    PatientDraw,
    ReplicateTable,
    binary_bootstrap,
    binary_replicates,
)
from evalsuite.stats.bootstrap import estimates as read_table
from evalsuite.testset.strata import StratumLabels, assign_strata
from evalsuite.types import Account, Estimate, Finding


def questions(protocol: StudyProtocol) -> tuple[Question, ...]:
    """The protocol's endpoints in its order, then what the standard table adds."""
    named = [Question(endpoint=e, role=e.role, prespecified=True) for e in protocol.endpoints]
    taken = {(e.metric, e.at) for e in protocol.endpoints if e.prevalence is None and e.interval is None}
    names = {e.name for e in protocol.endpoints}
    extra: list[Question] = []

    def add(metric: str, at: str | None) -> None:
        if (metric, at) in taken:
            return
        name = metric if at is None or len(protocol.operating_points) == 1 else f"{metric} at {at}"
        while name in names:
            name = f"{name} (standard table)"
        names.add(name)
        extra.append(
            Question(endpoint=Endpoint(name=name, metric=metric, at=at), role="descriptive", prespecified=False)
        )

    comparator = protocol.task.reference_is == "comparator"
    for point in protocol.operating_points:
        for metric in STANDARD_AGREEMENT if comparator else STANDARD_AT_POINT:
            add(metric, point.name)
    for metric in STANDARD_OVERALL:
        if comparator and metric == "prevalence":
            continue
        if protocol.task.probability or not COMPUTABLE[metric].needs_probability:
            add(metric, None)
    return (*named, *extra)


def evaluate_binary(
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
    """Every finding, curve, count and test of a binary protocol.

    `frame` (reference and stratum columns) and `predictions` (rater "device") have one row per case, in lock order, and
    so have the predictions of the `baseline` and of the `original` version, which the protocol's comparisons need.
    Raises InputError where the reference is ambiguous or the score cannot be formed.
    """
    built = partial(build_population, protocol, case_id=case_id, patient_id=patient_id, frame=frame)
    population = built(predictions=predictions)
    labels = assign_strata(frame, protocol.strata)
    cells = cells_of(labels, population.n)
    asked = questions(protocol)
    resampling = PatientDraw(
        population.patient_index,
        replicates=protocol.confidence.bootstrap.replicates,
        seed=protocol.seed,
        # Cases without a reference standard are a class of their own.
        stratify=np.where(population.has_reference, population.positive, 2)
        if protocol.confidence.bootstrap.stratified
        else None,
    )
    outputs: OutputPolicy = protocol.missing_outputs.primary
    references = primary_reference_policy(protocol)

    findings: list[Finding] = []
    total = len(asked)
    prepared = _bootstrapped_together(protocol, population, resampling, asked, cells)
    for done, question in enumerate(asked):
        findings += _answer(protocol, population, resampling, question, cells, outputs, references, prepared=prepared)
        if on_step is not None:
            on_step(done + 1, total)
    findings += _missing_data(protocol, population, resampling, asked, cells, outputs, references)
    again = _again(protocol, population, resampling, cells)
    tests = list(exact_tests(protocol, findings))
    notes = list(_notes(protocol, population, labels, frame))
    other = built(predictions=baseline) if protocol.comparisons and baseline is not None else None
    both = beside(
        protocol,
        baseline,
        original,
        lambda frame, _: _both(protocol, population, built(predictions=frame), cells, resampling),
    )
    if both is not None:
        compared = compare(protocol, both(cells), cells)
        findings += compared.findings
        tests += compared.tests
        notes += compared.notes
        again = either(again, compared.at_level)
    adjusted, adjusted_tests = adjusted_findings(protocol, findings, again)
    return Results(
        findings=(*findings, *adjusted),
        curves=(
            *draw_curves.curves(protocol, draw_curves.drawn(protocol, population, cells), seed=protocol.seed),
            *decision_curves(protocol, population, other, outputs),
        ),
        accounting=tuple(
            Account(status=s, reference=r, stratum=cell, n=n, n_patients=patients)
            for s, r, cell, n, patients in accounting(population, labels)
        ),
        tests=(*tests, *adjusted_tests),
        notes=tuple(notes),
    )


def _both(
    protocol: StudyProtocol, population: Population, other: Population, cells: tuple[Cell, ...], draw: PatientDraw
) -> Both:
    kept = Resampling(draw=draw, keep=True)
    pairs = {
        c.name: BinaryPair(
            protocol=protocol,
            comparison=c,
            candidate=population,
            baseline=other,
            cutoffs=(cutoff(protocol, c.at), cutoff(protocol, c.baseline_at or c.at)),
            cells=cells,
            resampling=kept,
        )
        for c in protocol.comparisons
    }
    return Both(
        pairs=pairs,
        lost=(int((~population.has_output).sum()), int((~other.has_output).sum())),
        missing_references=not population.has_reference.all(),
    )


def _view(
    protocol: StudyProtocol,
    population: Population,
    question: Question,
    outputs: OutputPolicy,
    references: ReferencePolicy,
    within: Bools | None,
) -> Scenario:
    at = question.endpoint.at
    point = None if at is None else protocol.operating_point(at)
    return scenario(
        population,
        looks=question.metric.looks,
        threshold=None if point is None else point.threshold,
        strict=point is not None and point.comparison == ">",
        outputs=outputs,
        references=references,
        within=within,
    )


def _answer(
    protocol: StudyProtocol,
    population: Population,
    resampling: PatientDraw,
    question: Question,
    cells: Sequence[Cell],
    outputs: OutputPolicy,
    references: ReferencePolicy,
    *,
    analysis: str | None = None,
    condition: str | None = None,
    prepared: Mapping[str, Sequence[Estimate]] | None = None,
) -> Iterator[Finding]:
    """One question in every cell; `prepared` holds estimates that were made together for all questions."""
    metric = question.metric
    # Only where the allocation of missing references is searched for does the scenario depend on the stratum.
    local = metric.looks in ("rank", "fit") and not (population.has_reference.all() and population.has_output.all())
    shared = None if local else _view(protocol, population, question, outputs, references, None)
    views = [shared or _view(protocol, population, question, outputs, references, c.mask) for c in cells]
    at = question.endpoint.at
    threshold = None if at is None else protocol.operating_point(at).threshold
    cuts = [
        cut(v, c.mask, population.patient_index, protocol.confidence, threshold=threshold, seed=protocol.seed)
        for v, c in zip(views, cells, strict=True)
    ]
    estimates: list[Estimate | None] = [
        not_assessable(protocol, question.metric, view, c, cell)
        for view, c, cell in zip(views, cuts, cells, strict=True)
    ]
    todo = [i for i, e in enumerate(estimates) if e is None]
    if metric.direct is not None and not by_bootstrap(question.endpoint, question.metric, population):
        for i in todo:
            estimates[i] = metric.direct(cuts[i], question.endpoint)
    elif todo and prepared is not None and question.endpoint.name in prepared:
        for i in todo:
            estimates[i] = prepared[question.endpoint.name][i]
    elif todo:
        for view, indices in group_by_view(views, todo):
            made = _bootstrapped(protocol, resampling, question, view, [cells[i].mask for i in indices])
            for i, estimate in zip(indices, made, strict=True):
                estimates[i] = estimate
    for cell, c, found in zip(cells, cuts, estimates, strict=True):
        assert found is not None, "every cell has an estimate or a reason"
        yield Finding(
            analysis=analysis or METRICS[question.endpoint.metric].analysis,
            endpoint=question.endpoint.name,
            metric=question.endpoint.metric,
            role=question.role,
            target=str(protocol.task.reference),
            operating_point=question.endpoint.at,
            stratum=dict(cell.stratum),
            condition=condition,
            prespecified=question.prespecified,
            estimate=with_counts(found, c),
        )


def _bootstrapped_together(
    protocol: StudyProtocol,
    population: Population,
    resampling: PatientDraw,
    asked: Sequence[Question],
    cells: Sequence[Cell],
) -> dict[str, list[Estimate]]:
    """Estimates of all bootstrapped questions, those that share a call in one pass; by endpoint name, per cell.

    Only where nothing is missing: then every metric sees the same population, and one set of weighted sums serves all.
    """
    if not (population.has_output.all() and population.has_reference.all()):
        return {}
    groups: dict[tuple[str | None, int, BinScheme, str, float | None], list[Question]] = {}
    for question in asked:
        if by_bootstrap(question.endpoint, question.metric, population) and not (
            question.metric.needs_probability and not population.is_probability
        ):
            e = question.endpoint
            key = (e.at, e.bins or 10, _scheme(e), chosen_interval(protocol, e), e.prevalence)
            groups.setdefault(key, []).append(question)
    made: dict[str, list[Estimate]] = {}
    for (_, bins, scheme, method, prevalence), members in groups.items():
        view = _view(protocol, population, members[0], "exclude", "exclude", None)
        names = list(dict.fromkeys(q.endpoint.metric for q in members))
        rows = binary_bootstrap(
            resampling,
            reference=view.reference,
            score=view.score,
            call=view.call,
            probability=view.probability,
            metrics=names,
            masks=np.array([c.mask for c in cells]),
            level=two_sided_level(protocol.confidence),
            method=cast(BootstrapMethod, method),
            bins=bins,
            scheme=scheme,
            prevalence=prevalence,
        )
        for question in members:
            column = names.index(question.endpoint.metric)
            made[question.endpoint.name] = [row[column] for row in rows]
    return made


def _scheme(endpoint: Endpoint) -> BinScheme:
    return endpoint.binning or "equal_width"


def _bootstrapped(
    protocol: StudyProtocol,
    resampling: PatientDraw,
    question: Question,
    view: Scenario,
    masks: Sequence[Bools],
) -> list[Estimate]:
    endpoint = question.endpoint
    rows = binary_bootstrap(
        resampling,
        reference=view.reference,
        score=view.score,
        call=view.call,
        probability=view.probability,
        metrics=[endpoint.metric],
        masks=np.array([m & view.include for m in masks]),
        level=two_sided_level(protocol.confidence),
        method=chosen_interval(protocol, endpoint),
        bins=endpoint.bins or 10,
        scheme=_scheme(endpoint),
        prevalence=endpoint.prevalence,
    )
    return [row[0] for row in rows]


def _missing_data(
    protocol: StudyProtocol,
    population: Population,
    resampling: PatientDraw,
    asked: Sequence[Question],
    cells: Sequence[Cell],
    outputs: OutputPolicy,
    references: ReferencePolicy,
) -> Iterator[Finding]:
    """The same endpoints under every other assumption about what is missing; nothing where nothing is missing."""
    others = variants(
        outputs=outputs,
        references=references,
        missing_outputs=not population.has_output.all(),
        missing_references=not population.has_reference.all(),
    )
    for condition, output_policy, reference_policy in others:
        for question in asked:
            if not question.prespecified:
                continue
            wanted = [c for c in cells if c.whole or question.endpoint.stratum or question.endpoint.each]
            yield from _answer(
                protocol,
                population,
                resampling,
                question,
                wanted,
                output_policy,
                reference_policy,
                analysis="missing_data",
                condition=condition,
            )


def _again(protocol: StudyProtocol, population: Population, resampling: PatientDraw, cells: Sequence[Cell]) -> AtLevel:
    """Estimates of one endpoint at any level, as the analysis makes them; bootstrap replicates are made once."""
    tables: dict[tuple[str, str | None, int], ReplicateTable] = {}

    def found(endpoint: Endpoint, condition: str | None, level: float) -> list[Finding]:
        study = at_level(protocol, level)
        question = Question(endpoint=endpoint, role=endpoint.role, prespecified=True)
        outputs, references = policies(protocol, condition)
        wanted = [c for c in cells if judged_in(protocol, endpoint, c)]
        prepared: dict[str, list[Estimate]] = {}
        if by_bootstrap(question.endpoint, question.metric, population):
            prepared[endpoint.name] = [
                _from_table(study, population, resampling, question, cell, outputs, references, tables, condition)
                for cell in wanted
            ]
        return list(
            _answer(
                study,
                population,
                resampling,
                question,
                wanted,
                outputs,
                references,
                condition=condition,
                prepared=prepared,
            )
        )

    return found


def _from_table(
    protocol: StudyProtocol,
    population: Population,
    resampling: PatientDraw,
    question: Question,
    cell: Cell,
    outputs: OutputPolicy,
    references: ReferencePolicy,
    tables: dict[tuple[str, str | None, int], ReplicateTable],
    condition: str | None,
) -> Estimate:
    """A bootstrap estimate read from replicates that are kept in `tables` from one level to the next."""
    endpoint = question.endpoint
    method = chosen_interval(protocol, endpoint)
    key = (endpoint.name, condition, id(cell))
    if key not in tables:
        view = _view(protocol, population, question, outputs, references, cell.mask)
        missing = question.metric.needs_probability and view.probability is None
        if missing or view.undefined is not None or not (cell.mask & view.include).any():
            return Estimate.not_estimable(
                "no replicates", n=0
            )  # the analysis gives its own reason before it reads this
        tables[key] = binary_replicates(
            resampling,
            reference=view.reference,
            score=view.score,
            call=view.call,
            probability=view.probability,
            metrics=[endpoint.metric],
            masks=np.array([cell.mask & view.include]),
            bins=endpoint.bins or 10,
            scheme=_scheme(endpoint),
            prevalence=endpoint.prevalence,
            with_jackknife=method == "bca",
        )
    return read_table(tables[key], method=method, level=two_sided_level(protocol.confidence))[0][0]


def _notes(
    protocol: StudyProtocol, population: Population, labels: Mapping[str, StratumLabels], frame: pd.DataFrame
) -> Iterator[str]:
    """Facts about this set that a reader of the numbers must know."""
    known = population.has_reference
    n_pos = int((population.positive & known).sum())
    n_neg = int((~population.positive & known).sum())
    if n_pos == 0 or n_neg == 0:
        only = "negative" if n_pos == 0 else "positive"
        yield (
            f"Every case with a reference standard is reference-{only}: nothing that compares the two classes can be "
            "estimated, and no criterion on it can be met."
        )
    if protocol.task.probability and not population.is_probability:
        yield "The score leaves the range 0 to 1: it is not a probability, and calibration is not estimated."
    weighted = protocol.analyses.weighting is not None
    yield from common_notes(population.n, population.n_patients, labels, frame, weighted=weighted)
