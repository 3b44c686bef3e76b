"""The second stage of a run: open the reference standard, estimate, judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import InputError, IntegrityError
from evalsuite.protocol.comparisons import BASELINE, ORIGINAL
from evalsuite.protocol.load import load_protocol
from evalsuite.record import ledger
from evalsuite.record.canonical import read_json, write_json
from evalsuite.record.signed_head import KEY_OBJECT
from evalsuite.record.usage import CASES, RUN, intervals, is_use, run_states
from evalsuite.selftest import selftest
from evalsuite.spine import history, roles, states
from evalsuite.spine.audit_inputs import read_audit
from evalsuite.spine.baseline import recorded_digest
from evalsuite.spine.draft import draft_record
from evalsuite.spine.exhibits import write_exhibits
from evalsuite.spine.folder import RunFolder
from evalsuite.spine.running_context import RunContext
from evalsuite.spine.scoring import StoredMaps, evaluate_cases, exhibits_of, pictures_of_maps
from evalsuite.types import Evidence, Verdict

if TYPE_CHECKING:
    from evalsuite.testset import LockedTestSet


def evaluate_and_judge(run: RunContext) -> tuple[Evidence, Verdict]:
    """Open the reference standard, and write evidence, verdict and record; every step is on the ledger."""
    from evalsuite.inference.attribution_store import read_values
    from evalsuite.inference.mask_store import with_masks
    from evalsuite.inference.predictions import read_predictions
    from evalsuite.judging import judge
    from evalsuite.testset import open_testset
    from evalsuite.testset.encryption import require_reference_key

    folder = run.folder
    record = read_json(folder.record) if folder.record.exists() and not folder.plan.exists() else draft_record(folder)
    testset = open_testset(run.testset_path, verify=False, store=run.store)
    # Before the ledger says that the reference standard was opened; it is decrypted after that line is on disk.
    require_reference_key(testset, run.reference_key)
    testset = replace(testset, reference_key=run.reference_key)
    if testset.root != record["testset"]["root"]:
        raise IntegrityError(
            f"The test set at {run.testset_path} is not the one this run predicted.",
            hint="Give the set of this run with --testset.",
        )
    protocol = load_protocol(folder.protocol)
    predictions = with_masks(read_predictions(folder.predictions), folder.arrays)
    compared = {
        who: with_masks(read_predictions(folder.compared(who)), folder.arrays / who)
        for who in (BASELINE, ORIGINAL)
        if folder.compared(who).exists()
    }
    bound = recorded_digest(record)
    name = record["run"]["id"]
    states.require_sealed(run.ledger.entries(), name, predictions.digest)
    opened = history.step(
        run.ledger,
        "unblinded",
        run.who,
        name,
        {
            "protocol": record["protocol"]["digest"],
            "protocol_id": protocol.id,
            "model": record["model"]["digest"],
            "predictions": predictions.digest,
            **({} if bound is None else {"baseline": bound}),
        },
        reason="reference standard opened for scoring",
    )
    roles.apply_to_record(record, protocol.roles, opened)
    run.on_stage("evaluate", 0, 1)
    scored = evaluate_cases(
        protocol,
        testset,
        predictions,
        baseline=compared.get(BASELINE),
        original=compared.get(ORIGINAL),
        audit=read_audit(folder, run.baseline_key),
        used_before=_used_before(record["use"], testset),
        maps=read_values(folder.arrays),
        stored=_stored_maps(folder),
        on_step=lambda done, total: run.on_stage("evaluate", done, total),
    )
    evidence = scored.evidence
    verdict = judge(protocol, evidence, not_evidence_because=tuple(record["evidence_status"]["reasons"]))
    shown = exhibits_of(protocol, testset, predictions, scored)
    pictures = (*shown.pictures, *pictures_of_maps(protocol, testset, _stored_maps(folder)))
    write_exhibits(folder, replace(shown, pictures=pictures))
    write_json(folder.evidence, evidence.to_json())
    write_json(folder.verdict, verdict.to_json())
    entries = history.step(
        run.ledger,
        "analysed",
        run.who,
        name,
        {"evidence": verdict.evidence_digest, "overall": verdict.overall},
        reason="evidence and verdict written",
    )
    head = ledger.head_of(entries)
    record["run"]["finished_utc"] = run.who.now()
    record["paths"]["testset"] = str(run.testset_path.resolve())
    record["history"] = _history(entries)
    record["selftest"] = selftest().summary()
    record["signing"] = {"keyid": None if run.who.signer is None else run.who.signer.keyid}
    record["ledger"] = {
        "count": head.count,
        "head": head.digest,
        "signed_by": entries[-1].objects.get(KEY_OBJECT) if entries else None,
        "entries": [
            {"seq": e.seq, "utc": e.utc, "actor": e.actor, "role": e.role, "action": e.action, "reason": e.reason}
            for e in entries[-30:]
        ],
    }
    write_json(folder.record, record)
    return evidence, verdict


def _history(entries: Sequence[ledger.Entry]) -> list[dict[str, Any]]:
    """Every use of the set that the ledger knows, oldest first: runs, and evaluations outside any run."""
    states_of = run_states(entries)
    rows = []
    for e in entries:
        if not is_use(e):
            continue
        run = states_of.get(e.objects.get(RUN, ""))
        rows.append(
            {
                "run": e.objects.get(RUN),
                "utc": e.utc,
                "state": "evaluated from Python" if run is None else run.state,
                "protocol_id": e.objects.get("protocol_id", ""),
                "protocol": e.objects.get("protocol", ""),
                "model": e.objects.get("model", ""),
                "cases": e.objects.get(CASES, ""),
                "reason": e.reason,
            }
        )
    return rows


def _used_before(use: Mapping[str, Any], testset: LockedTestSet) -> tuple[str, ...]:
    """Ids of the run's cases that earlier runs used, as the ledger had it when the run began."""
    if not use["used_before"]:
        return ()
    found = intervals(use["used_before"], len(testset.cases))
    return tuple(c.case_id for low, high in found for c in testset.cases[low - 1 : high])


def remembered_set(record: Mapping[str, Any]) -> Path:
    """Where the test set of a sealed run lies; InputError where it lies there no more."""
    found = Path(record["paths"]["testset"])
    if not found.exists():
        raise InputError(
            f"The test set of this run is no longer at {found}.", hint="Say where it is with --testset SET."
        )
    return found


def _stored_maps(folder: RunFolder) -> StoredMaps | None:
    """Where this run's maps are; None where it made none."""
    from evalsuite.inference.attribution_store import read_index
    from evalsuite.models.contract import Contract

    if read_index(folder.arrays) is None:
        return None
    return StoredMaps(arrays=folder.arrays, contract=Contract.model_validate(read_json(folder.model)["contract"]))
