"""A reader study: figures of the readers with and without the device, in the whole set and in every stratum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd

from evalsuite.analyses.between_readers import among_readers
from evalsuite.analyses.common import Cell, OnStep, Results, cells_of, common_notes, judged_in, policies, variants
from evalsuite.analyses.lesion_population import matching_rule
from evalsuite.analyses.metrics import two_sided_level
from evalsuite.analyses.multiplicity import adjusted_findings
from evalsuite.analyses.population import Bools, Floats, OutputPolicy, accounting
from evalsuite.analyses.reader_curves import reader_curves
from evalsuite.analyses.reader_marks import figures_of_marks, is_of_marks
from evalsuite.analyses.readings import Read, collect
from evalsuite.protocol.readers import AGREEMENT, READERS, ReaderStudy, figure_of
from evalsuite.protocol.schema import Endpoint, StudyProtocol
from evalsuite.stats import obuchowski_rockette as orh
from evalsuite.stats import reader_ustatistics as ustat
from evalsuite.stats.agreement import bias
from evalsuite.stats.clustered import clustered_proportion
from evalsuite.stats.reader_figures import FigureOfMerit, ReaderFigures, Readings, reader_figures, readings
from evalsuite.stats.roc import auroc
from evalsuite.testset.strata import assign_strata
from evalsuite.types import Account, Curve, Estimate, Finding, TestOutcome


def evaluate_readers(
    protocol: StudyProtocol,
    *,
    case_id: tuple[str, ...],
    patient_id: tuple[str, ...],
    frame: pd.DataFrame,
    predictions: pd.DataFrame,
    on_step: OnStep | None = None,
) -> Results:
    """Every finding, count and test of a reader study.

    `predictions` holds the rows of all readers (`rater`, `condition`) and, where it was run alone, of the device. A
    missing reading counts at its worst: with the test treatment against it, with the control for it.

    Raises
    ------
    InputError
        If a case has no established reference standard, a condition has no readings, or readers differ between them.
    """
    study = _block(protocol)
    read = collect(protocol, study, case_id, patient_id, frame, predictions)
    labels = assign_strata(frame, protocol.strata)
    cells = cells_of(labels, read.base.n)
    outputs, _ = policies(protocol, None)
    possible: tuple[OutputPolicy, ...] = ("worst_case", "best_case", "exclude")
    if protocol.task.kind != "detection":
        possible = (*possible, "as_negative", "as_positive")
    findings: list[Finding] = []
    for done, endpoint in enumerate(protocol.endpoints):
        if endpoint.metric.startswith(AGREEMENT):
            findings += among_readers(protocol, read, endpoint, cells)
            continue
        findings += _answers(protocol, study, read, endpoint, cells, outputs)
        findings += _each_reader(protocol, study, read, endpoint, outputs)
        if on_step is not None:
            on_step(done + 1, len(protocol.endpoints))
    missing = bool(read.lost.any())
    for condition, policy, _ in variants(
        outputs=outputs,
        references="exclude",
        missing_outputs=missing,
        missing_references=False,
        output_policies=possible,
    ):
        for endpoint in protocol.endpoints:
            if endpoint.metric.startswith(AGREEMENT):
                continue  # nothing is assumed about what a reader would have said
            made = _answers(protocol, study, read, endpoint, cells, policy)
            findings += [replace(f, analysis="missing_data", condition=condition) for f in made]

    def again(endpoint: Endpoint, condition: str | None, level: float) -> list[Finding]:
        policy, _ = policies(protocol, condition)
        wanted = [c for c in cells if judged_in(protocol, endpoint, c)]
        if endpoint.metric.startswith(AGREEMENT):
            return [
                replace(f, condition=condition)
                for f in among_readers(protocol, read, endpoint, wanted, level=level)
                if f.condition is None
            ]
        return list(_answers(protocol, study, read, endpoint, wanted, policy, level=level, condition=condition))

    adjusted, adjusted_tests = adjusted_findings(protocol, findings, again)
    return Results(
        findings=(*findings, *adjusted),
        curves=_curves(protocol, read, outputs),
        accounting=tuple(
            Account(status=s, reference=r, stratum=cell, n=n, n_patients=patients)
            for s, r, cell, n, patients in accounting(read.base, labels)
        ),
        tests=(*_tests(protocol, study, read, outputs), *adjusted_tests),
        notes=(
            *_notes(study, read),
            *([f"Readings are marks. {matching_rule(protocol)}"] if read.marks is not None else []),
            *_remarks(protocol, study, read, outputs),
            *common_notes(read.base.n, read.base.n_patients, labels, frame),
        ),
    )


def _curves(protocol: StudyProtocol, read: Read, policy: OutputPolicy) -> tuple[Curve, ...]:
    areas = [e for e in protocol.endpoints if not e.metric.startswith(("standalone_", AGREEMENT)) and e.at is None]
    ratings = [_rating(protocol, read, e, policy) for e in areas]
    return tuple(reader_curves(read, areas, ratings, policy))


def _block(protocol: StudyProtocol) -> ReaderStudy:
    assert protocol.readers is not None, "the protocol's checks require it"
    return protocol.readers


def _rating(protocol: StudyProtocol, read: Read, endpoint: Endpoint, policy: OutputPolicy) -> Floats:
    """Ratings or calls `(t, r, c)` with what is assumed about missing ones; the device alone is the last reader.

    Nothing is assumed about times that are not known.
    """
    if figure_of(endpoint.metric) == "mean":
        assert read.seconds is not None, "the protocol's checks require it"
        return read.seconds
    score, lost = read.score, read.lost
    if endpoint.metric.startswith("standalone_"):
        assert read.device is not None
        # Against the control where there is one: what readers do without the device.
        score = np.concatenate([score[-1:], read.device[None, None, :]], axis=1)
        lost = np.concatenate([lost[-1:], np.isnan(read.device)[None, None, :]], axis=1)
    if endpoint.at is not None:
        point = protocol.operating_point(endpoint.at)
        called = score > point.threshold if point.comparison == ">" else score >= point.threshold
        low, high = 0.0, 1.0
        rating = np.where(np.isnan(score), np.nan, called.astype(np.float64))
    else:
        low, high = -np.inf, np.inf
        rating = score.copy()
    if policy == "exclude":
        return rating
    truth = np.broadcast_to(read.base.positive, rating.shape)
    wrong, right = np.where(truth, low, high), np.where(truth, high, low)
    # Which readings speak for the device: with the test treatment, or those of the device itself.
    for_device = np.zeros(rating.shape, dtype=np.bool_)
    if endpoint.metric.startswith("standalone_"):
        for_device[:, -1] = True
    else:
        for_device[0] = True
    filled = {
        "worst_case": np.where(for_device, wrong, right),
        "best_case": np.where(for_device, right, wrong),
        "as_negative": np.full(rating.shape, low),
        "as_positive": np.full(rating.shape, high),
    }[policy]
    return cast(Floats, np.where(lost, filled, rating))


def _answers(
    protocol: StudyProtocol,
    study: ReaderStudy,
    read: Read,
    endpoint: Endpoint,
    cells: Sequence[Cell],
    policy: OutputPolicy,
    *,
    level: float | None = None,
    condition: str | None = None,
) -> Iterator[Finding]:
    """One endpoint in every cell."""
    level = two_sided_level(protocol.confidence) if level is None else level
    for cell in cells:
        estimate = _unassessable(protocol, read, cell, level)
        if estimate is None and endpoint.metric.startswith("standalone_") and read.device is None:
            estimate = Estimate.not_estimable("the device was not run alone", n=int(cell.mask.sum()), level=level)
        if estimate is None:
            estimate, _ = _estimate(protocol, study, read, endpoint, policy, cell.mask, level)
        yield Finding(
            analysis=READERS,
            endpoint=endpoint.name,
            metric=endpoint.metric,
            role=endpoint.role,
            target=str(protocol.task.reference),
            operating_point=endpoint.at,
            stratum=dict(cell.stratum),
            condition=condition,
            estimate=estimate,
        )


def _unassessable(protocol: StudyProtocol, read: Read, cell: Cell, level: float) -> Estimate | None:
    n = int(cell.mask.sum())
    for kind, truth in (("positive", True), ("negative", False)):
        count = int((cell.mask & (read.base.positive == truth)).sum())
        least = protocol.small_strata.suppress_below
        if count == 0:
            return Estimate.not_estimable(f"no reference-{kind} cases", n=n, level=level)
        if not cell.whole and count < least:
            reason = f"not assessable: {count} reference-{kind} cases, fewer than {least}"
            return Estimate.not_estimable(reason, n=n, level=level)
    return None


def _estimate(
    protocol: StudyProtocol,
    study: ReaderStudy,
    read: Read,
    endpoint: Endpoint,
    policy: OutputPolicy,
    mask: Bools,
    level: float,
) -> tuple[Estimate, TestOutcome | None]:
    """The estimate of one cell and, for gains, its test; a reason where the design gives none."""
    try:
        if study.method == "u_statistics":
            made = _readings(protocol, read, endpoint, policy, mask)
            if made.n_patients < made.n_cases:
                raise ValueError("U-statistics take cases as independent; several belong to a patient")
            if endpoint.metric.endswith("_gain"):
                return ustat.auroc_difference(made, 0, 1, level=level)
            return ustat.average_auroc(made, 0, level=level), None
        found = _compared(study, *_figures(protocol, study, read, endpoint, policy, mask), endpoint, level)
    except ValueError as reason:
        return Estimate.not_estimable(str(reason), n=int(mask.sum()), level=level), None
    return found.estimate, found.test


def _readings(protocol: StudyProtocol, read: Read, endpoint: Endpoint, policy: OutputPolicy, mask: Bools) -> Readings:
    rating = _rating(protocol, read, endpoint, policy)[:, :, mask]
    return readings(read.base.positive[mask], rating, cluster=read.base.patient_index[mask])


def _figures(
    protocol: StudyProtocol, study: ReaderStudy, read: Read, endpoint: Endpoint, policy: OutputPolicy, mask: Bools
) -> tuple[ReaderFigures, Readings]:
    """Figures of every reader with each treatment in these cases. ValueError where there are none."""
    if is_of_marks(endpoint):
        return figures_of_marks(protocol, read, endpoint, policy, mask)
    made = _readings(protocol, read, endpoint, policy, mask)
    figures = reader_figures(
        made,
        figure=cast(FigureOfMerit, figure_of(endpoint.metric)),
        covariance=study.covariance,
        replicates=protocol.confidence.bootstrap.replicates,
        seed=protocol.seed,
    )
    return figures, made


def _compared(
    study: ReaderStudy, figures: ReaderFigures, made: Readings, endpoint: Endpoint, level: float
) -> orh.Comparison:
    common: dict[str, Any] = {"generalise": study.generalise, "level": level, "distribution": study.distribution}
    if endpoint.metric.startswith("standalone_"):
        return orh.against_standalone(figures, made, made.n_readers - 1, **common)
    if endpoint.metric.endswith("_gain"):
        return orh.difference(figures, made, 0, 1, **common)
    return orh.reader_average(figures, made, 0, **common)


def _each_reader(
    protocol: StudyProtocol, study: ReaderStudy, read: Read, endpoint: Endpoint, policy: OutputPolicy
) -> Iterator[Finding]:
    """The whole set's figures of every reader with each treatment, or their gains; over the sampling of cases."""
    if endpoint.metric.startswith("standalone_"):
        return
    level = two_sided_level(protocol.confidence)
    made: list[tuple[str, str | None, Estimate]] = []
    if endpoint.metric.endswith("_gain"):
        gains = _gains(protocol, study, read, endpoint, policy, level)
        made = [(name, None, e) for name, e in zip(read.names, gains, strict=True)]
    elif is_of_marks(endpoint):
        made = list(_each_area(protocol, study, read, endpoint, policy, level))
    else:
        rating = _rating(protocol, read, endpoint, policy)
        for t, treatment in enumerate(read.treatments):
            for r, name in enumerate(read.names):
                made.append((name, treatment, _one_reader(read, endpoint, rating[t, r], level)))
    for reader, shown_with, estimate in made:
        yield Finding(
            analysis=READERS,
            endpoint=endpoint.name,
            metric=endpoint.metric,
            role="descriptive",
            target=str(protocol.task.reference),
            operating_point=endpoint.at,
            rater=reader,
            condition=shown_with,
            estimate=estimate,
        )


def _gains(
    protocol: StudyProtocol, study: ReaderStudy, read: Read, endpoint: Endpoint, policy: OutputPolicy, level: float
) -> Iterator[Estimate]:
    try:
        figures, made = _figures(protocol, study, read, endpoint, policy, _everyone(read))
    except ValueError as reason:
        for _ in read.names:
            yield Estimate.not_estimable(str(reason), n=read.base.n, level=level)
        return
    for found in orh.reader_differences(figures, made, 0, 1, level=level):
        yield found.estimate


def _each_area(
    protocol: StudyProtocol, study: ReaderStudy, read: Read, endpoint: Endpoint, policy: OutputPolicy, level: float
) -> Iterator[tuple[str, str, Estimate]]:
    """Reader, treatment and area under the curve of that reader's marks: the average over one reader, these cases."""
    every = [(t, r) for t in range(len(read.treatments)) for r in range(len(read.names))]
    try:
        figures, made = _figures(protocol, study, read, endpoint, policy, _everyone(read))
    except ValueError as reason:
        for t, r in every:
            lacking = Estimate.not_estimable(str(reason), n=read.base.n, level=level)
            yield read.names[r], read.treatments[t], lacking
        return
    for t, r in every:
        one = replace(figures, value=figures.value[t : t + 1, r : r + 1], covariance=figures.covariance[t, r, t, r])
        one = replace(one, covariance=one.covariance.reshape(1, 1, 1, 1))
        found = orh.reader_average(one, made, 0, generalise="cases", level=level)
        yield read.names[r], read.treatments[t], found.estimate


def _everyone(read: Read) -> Bools:
    return np.ones(read.base.n, dtype=np.bool_)


def _one_reader(read: Read, endpoint: Endpoint, rating: Floats, level: float) -> Estimate:
    there = ~np.isnan(rating)
    truth = read.base.positive[there]
    if figure_of(endpoint.metric) == "mean":
        if not there.any():
            return Estimate.not_estimable("no reading time is known", n=0, level=level)
        return bias(rating[there], np.zeros(truth.size), patient=read.base.patient_index[there], level=level)
    if endpoint.at is None:
        return auroc(truth, rating[there], level=level, cluster=read.base.patient_index[there])
    kind = endpoint.metric.endswith("sensitivity")
    right = rating[there][truth == kind] == float(kind)
    return clustered_proportion(right, read.base.patient_index[there][truth == kind], level=level)


def _tests(protocol: StudyProtocol, study: ReaderStudy, read: Read, policy: OutputPolicy) -> Iterator[TestOutcome]:
    """The two-sided test of no difference beside each gain in the whole set; the interval is what decides."""
    level = two_sided_level(protocol.confidence)
    for endpoint in protocol.endpoints:
        lone = endpoint.metric.startswith("standalone_") and read.device is None
        if endpoint.metric.endswith("_gain") and not lone:
            _, test = _estimate(protocol, study, read, endpoint, policy, _everyone(read), level)
            if test is not None:
                yield replace(test, name=f"{endpoint.name}: no difference", endpoint=endpoint.name)


def _remarks(protocol: StudyProtocol, study: ReaderStudy, read: Read, policy: OutputPolicy) -> Iterator[str]:
    """What the analysis of the whole set found and set aside as published, endpoint by endpoint."""
    for endpoint in protocol.endpoints:
        if endpoint.metric.startswith(("standalone_", AGREEMENT)):
            continue
        gain = endpoint.metric.endswith("_gain")
        try:
            if study.method == "u_statistics":
                made = _readings(protocol, read, endpoint, policy, _everyone(read))
                parts = ustat.difference_components(made, 0, 1) if gain else ustat.components(made, 0, 0)
                said = parts.notes
            else:
                figures, _ = _figures(protocol, study, read, endpoint, policy, _everyone(read))
                said = orh.variance_parts(figures).notes if gain else ()
        except ValueError:
            continue  # the estimate says why there is none
        for note in said:
            yield f"Readings for {endpoint.name}: {note}."


def _notes(study: ReaderStudy, read: Read) -> Iterator[str]:
    yield f"{len(read.names)} readers, {read.base.n} cases, {' and '.join(read.treatments)}."
    few = study.distribution == "by_readers" and len(read.names) < orh.FEW_READERS
    if few and study.generalise != "cases" and study.method == "obuchowski_rockette":
        yield (
            f"Fewer than {orh.FEW_READERS} readers: means and gains over readers follow Behrens and Fisher's "
            "distribution, since a t distribution with Hillis' degrees of freedom errs too often."
        )
    lost = int(read.lost.sum())
    if lost:
        yield f"{lost} of {int(read.expected.sum())} readings are missing."
    if read.seconds is not None:
        unknown = int((np.isnan(read.seconds) & read.expected).sum())
        if unknown:
            yield f"{unknown} of {int(read.expected.sum())} readings have no known time: means of times leave them out."
    if not bool(read.expected.all()):
        yield "Not every reader reads every case: the design is taken as recorded."
