"""Evidence from its three locked inputs: protocol, test set, predictions. Nothing else goes in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import InputError, ProtocolError
from evalsuite.protocol.comparisons import BASELINE, ORIGINAL, compared_with
from evalsuite.protocol.load import protocol_digest
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.protocol.support import unsupported
from evalsuite.types import Evidence, Exhibits, Finding, Listing, Picture

if TYPE_CHECKING:
    import pandas as pd

    from evalsuite.analyses.common import Results
    from evalsuite.analyses.drift_periods import AuditInputs
    from evalsuite.inference.predictions import Predictions
    from evalsuite.models.contract import Contract
    from evalsuite.testset import LockedTestSet

OnStep = Callable[[int, int], None]


def require_supported(protocol: StudyProtocol) -> None:
    """ProtocolError listing everything this version cannot run, rather than leaving any of it out."""
    from evalsuite.analyses.tasks import computable

    problems = unsupported(protocol, computable())
    if problems:
        raise ProtocolError(
            f"Protocol {protocol.id} {protocol.version} asks for what this version does not do.",
            problems=problems,
            hint="Nothing is left out silently: remove these parts, or use a version that has them.",
        )


def require_baseline(protocol: StudyProtocol, *, given: bool, original: bool = False) -> None:
    """ProtocolError where a protocol that compares has nothing to compare with, or the reverse; the same for the
    original version."""
    if protocol.comparisons and not given:
        raise ProtocolError(
            f"Protocol {protocol.id} {protocol.version} compares with a baseline, and none is given.",
            hint="evalsuite compare PROTOCOL --testset SET --model M --baseline M2 --out RUN",
        )
    if given and not protocol.comparisons:
        raise ProtocolError(
            f"Protocol {protocol.id} {protocol.version} declares no comparison.",
            hint="Declare what is compared under `comparisons`, or use evalsuite run.",
        )
    wanted = ORIGINAL in compared_with(protocol)
    if wanted and not original:
        raise ProtocolError(
            f"Protocol {protocol.id} {protocol.version} compares with the original version, and none is given.",
            hint="Name it with --original M0; where the last version is the original one, name that one twice.",
        )
    if original and not wanted:
        raise ProtocolError(
            f"Protocol {protocol.id} {protocol.version} compares nothing with an original version.",
            hint="Give comparisons `against: original`, or leave --original out.",
        )


def require_audit(protocol: StudyProtocol, *, given: bool) -> None:
    """ProtocolError where a drift audit has nothing to be held against, or another study has."""
    if (protocol.kind == "drift_audit") == given:
        return
    hint = "evalsuite audit PROTOCOL --window CASES --baseline RUN --out RUN"
    if given:
        said, hint = "is no drift audit", "Give a protocol of kind drift_audit, or use evalsuite run."
    else:
        said = "is a drift audit, which needs a window and a baseline run"
    raise ProtocolError(f"Protocol {protocol.id} {protocol.version} {said}.", hint=hint)


def _identity(predictions: Predictions) -> dict[str, Any]:
    return {k: predictions.model.get(k) for k in ("name", "format", "digest", "contract_digest")}


def _device_rows(predictions: Predictions) -> pd.DataFrame:
    table = predictions.table
    return table[(table["rater"] == "device") & table["condition"].isna()].reset_index(drop=True)


def _each_case_alone(protocol: StudyProtocol, testset: LockedTestSet, frame: pd.DataFrame) -> bool:
    """Whether nothing says which cases belong to one patient."""
    return testset.lock["columns"]["patient"] is None and protocol.unit.cluster not in frame.columns


def _clusters(protocol: StudyProtocol, testset: LockedTestSet, frame: pd.DataFrame, rows: list[int]) -> tuple[str, ...]:
    """The unit of clustering of each case: the protocol's column, whatever the set was locked by.

    A case whose cell is empty is a cluster of its own. InputError where the protocol names a column the set does not
    have: clustering by something else would give other intervals than those that were specified.
    """
    wanted, locked = protocol.unit.cluster, testset.lock["columns"]["patient"]
    ids = tuple(testset.cases[i].patient_id for i in rows)
    if wanted == locked:
        return ids
    if wanted in frame.columns:
        return tuple(
            str(cell).strip() or f"case:{testset.cases[i].case_id}" for cell, i in zip(frame[wanted], rows, strict=True)
        )
    if locked is None and wanted == type(protocol.unit).model_fields["cluster"].default:
        return ids
    raise InputError(
        f"The protocol clusters cases by '{wanted}', which this test set does not have.",
        hint=f"The set was locked with patient column '{locked}': set unit.cluster to it, or lock the set again."
        if locked
        else "The set has no patient column: lock it again with --protocol or --patient-column.",
    )


def cases_of(
    protocol: StudyProtocol, testset: LockedTestSet, predictions: Predictions, reference: pd.DataFrame
) -> tuple[tuple[str, ...], tuple[str, ...], pd.DataFrame, pd.DataFrame]:
    """The device's cases in the order of the lock: their ids, their patients, the opened reference, the outputs."""
    device = _device_rows(predictions)
    case_id = tuple(str(c) for c in device["case_id"])
    in_set = {case.case_id: i for i, case in enumerate(testset.cases)}
    rows = [in_set[c] for c in case_id if c in in_set]
    frame = reference.iloc[rows].reset_index(drop=True)
    return case_id, _clusters(protocol, testset, frame, rows), frame, device


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMaps:
    """Where a run's maps lie, and the contract of the model they are of."""

    arrays: Path
    contract: Contract


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Evidence, the listings of single cases it was counted from, and each case's cell of the reference column and of
    the column of masks that are outlined in pictures of wrong cases."""

    evidence: Evidence
    listings: tuple[Listing, ...]
    cells: dict[str, str]
    outlines: dict[str, str]


def evaluate(
    protocol: StudyProtocol,
    testset: LockedTestSet,
    predictions: Predictions,
    *,
    baseline: Predictions | None = None,
    original: Predictions | None = None,
    audit: AuditInputs | None = None,
    used_before: Collection[str] = (),
    on_step: OnStep | None = None,
) -> Evidence:
    """The evidence of `evaluate_cases`, without its listings."""
    return evaluate_cases(
        protocol,
        testset,
        predictions,
        baseline=baseline,
        original=original,
        audit=audit,
        used_before=used_before,
        on_step=on_step,
    ).evidence


def exhibits_of(protocol: StudyProtocol, testset: LockedTestSet, predictions: Predictions, scored: Scored) -> Exhibits:
    """Listings of a task that finds or outlines, of wrong cases, and of cases that two devices decided differently, and
    pictures of the cases they single out.

    Raises LockError where a file shown is not the one that was locked.
    """
    from evalsuite.analyses.flip_pictures import flip_pictures
    from evalsuite.analyses.flips import LISTING

    changed = tuple(x for x in scored.listings if x.name == LISTING)
    own = replace(scored, listings=tuple(x for x in scored.listings if x.name != LISTING))
    made = _exhibits_of_one(protocol, testset, predictions, own)
    pictures = flip_pictures(protocol, scored.listings, testset, scored.outlines) if changed else ()
    return Exhibits(listings=(*made.listings, *changed), pictures=(*made.pictures, *pictures))


def pictures_of_maps(protocol: StudyProtocol, testset: LockedTestSet, stored: StoredMaps | None) -> tuple[Picture, ...]:
    """Pictures of the first maps of a run, each beside its image; none where the run made no maps.

    Raises LockError where a file shown is not the one that was locked.
    """
    if stored is None:
        return ()
    from evalsuite.analyses.lesion_maps import stored_maps
    from evalsuite.analyses.map_pictures import map_pictures

    return map_pictures(protocol, testset, stored_maps(stored.arrays, testset, stored.contract, baselines=False))


def _exhibits_of_one(
    protocol: StudyProtocol, testset: LockedTestSet, predictions: Predictions, scored: Scored
) -> Exhibits:
    """The same of the device alone."""
    if protocol.analyses.failures is not None:
        from evalsuite.analyses.failure_pictures import failure_pictures, with_shared_images

        listed = tuple(with_shared_images(x, testset, scored.cells) for x in scored.listings)
        return Exhibits(listings=listed, pictures=failure_pictures(protocol, listed, testset, scored.outlines))
    if not scored.listings or protocol.pictures == "none":
        return Exhibits(listings=scored.listings)
    if protocol.task.kind == "detection":
        from evalsuite.analyses.lesion_pictures import lesion_pictures

        return Exhibits(listings=scored.listings, pictures=lesion_pictures(protocol, scored.listings, testset))
    from evalsuite.analyses.mask_pictures import mask_pictures

    pictures = mask_pictures(protocol, scored.listings, testset, predictions, scored.cells)
    return Exhibits(listings=scored.listings, pictures=pictures)


def _require_inside(
    protocol: StudyProtocol, testset: LockedTestSet, frame: pd.DataFrame, case_id: tuple[str, ...]
) -> None:
    """InputError naming the cases of which a lesion shares nothing with the image: it is of another image, or its
    millimetres count from somewhere else. Says nothing of cases whose images state no place."""
    from evalsuite.errors import Problem
    from evalsuite.inference.mark_places import marks_outside
    from evalsuite.models.marks import BOX, POINT

    cases = {case.case_id: case for case in testset.cases}
    column, coordinates = str(protocol.task.reference), str(protocol.task.coordinates)
    problems = [
        Problem("a lesion lies outside the image", f"case {case}", "correct its place, or task.coordinates")
        for case, lesions in zip(case_id, frame[column], strict=True)
        if not isinstance(lesions, str)
        and lesions.n
        and marks_outside(cases, case, lesions.place, coordinates=coordinates, place=BOX if lesions.box else POINT)
    ]
    if problems:
        raise InputError(
            f"{len(problems)} cases have a lesion of the reference standard outside their image.",
            problems=problems[:20],
            hint=f"The protocol says that millimetres count as '{coordinates}'; nothing is scored on such a reference.",
        )


def evaluate_cases(
    protocol: StudyProtocol,
    testset: LockedTestSet,
    predictions: Predictions,
    *,
    baseline: Predictions | None = None,
    original: Predictions | None = None,
    audit: AuditInputs | None = None,
    used_before: Collection[str] = (),
    on_step: OnStep | None = None,
    maps: pd.DataFrame | None = None,
    stored: StoredMaps | None = None,
) -> Scored:
    """All findings, curves, counts and tests of a protocol on one test set and one set of predictions.

    `baseline` holds the predictions, on the same cases, of what the protocol compares with, `original` those of the
    original version; `audit` what a drift audit
    is held against.
    `maps` are the values measured of a run's maps (`attribution_store.read_values`), `stored` says where the maps are.
    `used_before` are the ids of cases that earlier runs used: where that is some and not all, the primary endpoints are
    given for both groups.

    The reference standard is opened here (its digest is checked first). The same inputs give the same evidence, to the
    byte once written as canonical JSON.

    Raises
    ------
    ProtocolError
        If the protocol asks for what this version does not do, or compares and there is no baseline (or the reverse).
    InputError
        If the reference is ambiguous, the baseline was predicted on other cases, or the score names an output that a
        model does not give.
    IntegrityError
        If the sealed reference differs from its lock.
    """
    import numpy
    import scipy

    import evalsuite
    from evalsuite.analyses.arrival import arrival_order
    from evalsuite.analyses.drift import drift_analysis, for_performance, with_audit
    from evalsuite.analyses.drift_periods import Period
    from evalsuite.analyses.flips import flips
    from evalsuite.analyses.interpretability import interpretability_figures
    from evalsuite.analyses.planning import planned_findings
    from evalsuite.analyses.readers import evaluate_readers
    from evalsuite.analyses.reuse import by_use
    from evalsuite.analyses.robustness import robustness_figures
    from evalsuite.analyses.shortcuts import shortcut_figures
    from evalsuite.analyses.tasks import evaluate_task
    from evalsuite.testset import open_reference

    require_supported(protocol)
    require_baseline(protocol, given=baseline is not None, original=original is not None)
    require_audit(protocol, given=audit is not None)
    table = predictions.table
    case_id, patient_id, frame, device = cases_of(protocol, testset, predictions, open_reference(testset))
    others = {who: p for who, p in ((BASELINE, baseline), (ORIGINAL, original)) if p is not None}
    compared = {who: _device_rows(p) for who, p in others.items()}
    for who, rows in compared.items():
        if list(rows["case_id"]) != list(device["case_id"]):
            raise InputError(
                f"The {who} was not predicted on the cases of the candidate.",
                hint="Predict both on the same locked test set, with the same --limit.",
            )
    arrived = arrival_order(protocol, frame, case_id)
    if arrived is not None:
        frame, device = frame.iloc[arrived].reset_index(drop=True), device.iloc[arrived].reset_index(drop=True)
        case_id, patient_id = (tuple(x[i] for i in arrived) for x in (case_id, patient_id))
        compared = {who: rows.iloc[arrived].reset_index(drop=True) for who, rows in compared.items()}
    conditions = table[table["condition"].notna()].reset_index(drop=True)
    cells = _cells(case_id, frame, protocol.task.reference)
    outlines = _cells(case_id, frame, protocol.analyses.failures.outline if protocol.analyses.failures else None)
    if protocol.task.reference_file is not None:
        from evalsuite.analyses.measured_files import with_measured
        from evalsuite.testset.reference_files import ReferenceFiles

        frame = with_measured(protocol, frame, case_id, ReferenceFiles.of(testset))
    if protocol.task.kind == "detection":
        from evalsuite.analyses.lesion_masks import with_lesion_masks
        from evalsuite.analyses.lesions import with_lesions
        from evalsuite.testset.reference_files import ReferenceFiles

        matching = protocol.task.matching
        of_masks = matching is not None and matching.rule == "in_mask"
        frame = (with_lesion_masks if of_masks else with_lesions)(protocol, frame, case_id, ReferenceFiles.of(testset))
        if not of_masks and protocol.task.coordinates is not None:
            _require_inside(protocol, testset, frame, case_id)
    if protocol.task.kind == "segmentation":
        from evalsuite.analyses.mask_figures import with_mask_figures
        from evalsuite.analyses.segmentation_task import figures_compared, figures_wanted
        from evalsuite.testset.reference_files import ReferenceFiles

        wanted, files = figures_wanted(protocol), ReferenceFiles.of(testset)
        device = with_mask_figures(protocol, frame, device, predictions, files, wanted)
        compared = {
            who: with_mask_figures(protocol, frame, rows, others[who], files, figures_compared(protocol))
            for who, rows in compared.items()
        }
        if protocol.analyses.robustness is not None:
            from evalsuite.analyses.degraded_masks import with_degraded_figures

            conditions = with_degraded_figures(protocol, frame, case_id, conditions, predictions, files, wanted)
    cases: dict[str, Any] = {"case_id": case_id, "patient_id": patient_id, "frame": frame}
    split: tuple[Finding, ...] = ()
    n_run = len(device)
    window: Period | None = None
    if protocol.kind == "drift_audit":
        if audit is not None:
            cases["frame"] = audit.with_images(frame, case_id)
        window = Period(**cases, predictions=device)
        labelled = for_performance(protocol, window)
        cases = {"case_id": labelled.case_id, "patient_id": labelled.patient_id, "frame": labelled.frame}
        device = labelled.predictions
    if protocol.kind == "reader_study":
        results = evaluate_readers(protocol, **cases, predictions=table, on_step=on_step)
    else:
        results = evaluate_task(
            protocol,
            **cases,
            predictions=device,
            on_step=on_step,
            baseline=compared.get(BASELINE),
            original=compared.get(ORIGINAL),
        )
        worse = robustness_figures(protocol, **cases, predictions=device, conditions=conditions, evaluate=evaluate_task)
        results = replace(results, findings=(*results.findings, *worse.findings), notes=(*results.notes, *worse.notes))
        tried = shortcut_figures(
            protocol, **cases, predictions=device, conditions=table[table["condition"].notna()], evaluate=evaluate_task
        )
        results = replace(results, findings=(*results.findings, *tried.findings), notes=(*results.notes, *tried.notes))
        seen = interpretability_figures(protocol, **cases, values=maps)
        results = replace(results, findings=(*results.findings, *seen.findings), notes=(*results.notes, *seen.notes))
        beside = _beside_lesions(protocol, testset, cases, stored)
        results = replace(
            results, findings=(*results.findings, *beside.findings), notes=(*results.notes, *beside.notes)
        )
        changed = flips(protocol, **cases, predictions=device, compared=compared)
        results = replace(
            results,
            findings=(*results.findings, *changed.findings),
            tests=(*results.tests, *changed.tests),
            listings=(*results.listings, *changed.listings),
        )
        split = by_use(protocol, **cases, predictions=device, used_before=used_before, evaluate=evaluate_task)
    if window is not None and audit is not None:
        audited = drift_analysis(
            protocol,
            baseline=audit.baseline,
            window=window,
            labelled=labelled,
            earlier=audit.earlier,
            former=audit.former,
        )
        results = with_audit(results, audited)
    notes = list(results.notes)
    if _each_case_alone(protocol, testset, frame):
        notes.append(
            "The case table has no patient identifier: every case is taken to be a patient of its own, and intervals "
            "are too narrow if that is not so."
        )
    if n_run < len(testset.cases):
        notes.append(f"Only the first {n_run} of {len(testset.cases)} cases were run.")
    raters = sorted({str(r) for r in table["rater"]} - {"device"})
    if raters and protocol.kind != "reader_study":
        notes.append(f"Predictions of {len(raters)} further raters are recorded; this analysis is of the device alone.")
    evidence = Evidence(
        protocol={"id": protocol.id, "version": protocol.version, "digest": protocol_digest(protocol)},
        testset={
            "set_id": testset.set_id,
            "version": testset.version,
            "root": testset.root,
            "n_cases": len(testset.cases),
            "n_patients": len({c.patient_id for c in testset.cases}),
        },
        model=_identity(predictions) | {who: _identity(p) for who, p in others.items()},
        predictions={
            "digest": predictions.digest,
            "n_cases": n_run,
            "outputs": [*predictions.outputs, *predictions.lists],
            **{f"{who}_digest": p.digest for who, p in others.items()},
            **({} if audit is None else {"audit_digest": audit.digest}),
        },
        software={"evalsuite": evalsuite.__version__, "numpy": numpy.__version__, "scipy": scipy.__version__},
        findings=(*results.findings, *split, *planned_findings(protocol, results.accounting)),
        curves=results.curves,
        accounting=results.accounting,
        tests=results.tests,
        notes=tuple(notes),
    )
    return Scored(evidence=evidence, listings=results.listings, cells=cells, outlines=outlines)


def _beside_lesions(
    protocol: StudyProtocol, testset: LockedTestSet, cases: Mapping[str, Any], stored: StoredMaps | None
) -> Results:
    """Maps of the case table's files, or those that the run stored, beside lesions; nothing where nobody asks."""
    from evalsuite.analyses.common import Results
    from evalsuite.analyses.lesion_boxes import lies_of
    from evalsuite.analyses.lesion_maps import given_maps, images_of, stored_maps
    from evalsuite.analyses.localisation import localisation_figures
    from evalsuite.testset.reference_files import ReferenceFiles

    block = protocol.analyses.interpretability
    asked = None if block is None else block.localisation
    if asked is None:
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=())
    files = ReferenceFiles.of(testset)
    if asked.maps is not None:
        read = given_maps(asked, cases["case_id"], cases["frame"], files, images_of(testset))
    elif stored is not None:
        read = stored_maps(stored.arrays, testset, stored.contract, baselines=asked.baselines)
    else:
        note = "The protocol asks for maps beside lesions, and this evaluation was given none."
        return Results(findings=(), curves=(), accounting=(), tests=(), notes=(note,))
    return localisation_figures(protocol, **cases, files=files, read_maps=read, lies=lies_of(testset))


def _cells(case_id: tuple[str, ...], frame: pd.DataFrame, column: object) -> dict[str, str]:
    """Each case's cell of one column; nothing where it is not one column of the set."""
    if not isinstance(column, str) or column not in frame.columns:
        return {}
    return {c: str(x) for c, x in zip(case_id, frame[column], strict=True)}
