"""A drift audit from a window of production cases to a sealed run and a line in the deployment's history."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import InputError, Problem
from evalsuite.protocol.load import load_protocol, protocol_digest
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.canonical import read_json, write_json
from evalsuite.record.digest import sha256_bytes, sha256_file
from evalsuite.record.files import atomic_write
from evalsuite.sandbox.policy import SANDBOXED, Sandbox
from evalsuite.spine import audit_history, prepare
from evalsuite.spine.audit_device import require_contract, require_images, window_device
from evalsuite.spine.audit_dicom import DicomWindow, window_table
from evalsuite.spine.audit_images import CACHE_NAME, image_numbers
from evalsuite.spine.audit_inputs import AuditOf, open_audit
from evalsuite.spine.audit_labels import window_labels
from evalsuite.spine.audit_versions import FormerVersion, former_outputs
from evalsuite.spine.folder import RunFolder, claimed
from evalsuite.spine.running import run
from evalsuite.spine.running_context import OnStage, RunResult, Who, nobody_watches
from evalsuite.spine.scoring import require_audit, require_supported

if TYPE_CHECKING:
    from evalsuite.record.store import LedgerStore
    from evalsuite.testset import LockedTestSet
    from evalsuite.testset.encryption import ReferenceKey

_SHOWN = 20
WINDOW_SCHEMA = "evalsuite/window/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """A finished audit: its run, and how the deployment stands with it."""

    run: RunResult
    standing: audit_history.Standing


@dataclass(frozen=True, slots=True)
class WindowFolder:
    """The folder beside a run, `OUT.window`, in which its window was sealed."""

    path: Path

    @property
    def source(self) -> Path:
        """Which table it was made from."""
        return self.path / "window.json"

    @property
    def cases(self) -> Path:
        """The case table made of DICOM files and the prediction log, where the window was given so."""
        return self.path / "cases.csv"

    @property
    def testset(self) -> Path:
        return self.path / "testset"

    @property
    def frozen(self) -> Path:
        return self.path / "frozen"

    @property
    def log(self) -> Path:
        """The outputs that the deployment recorded, taken from the window's table."""
        return self.path / "predictions.csv"


def audit(
    protocol_path: Path | str,
    *,
    window: Path | DicomWindow,
    baseline: Path,
    out: Path,
    who: Who,
    model: Path | None = None,
    contract: Path | None = None,
    former: FormerVersion | None = None,
    history: str | None = None,
    deployment: str = "default",
    reference_key: ReferenceKey | None = None,
    overrides: Mapping[str, Any] | None = None,
    store: str | None = None,
    on_stage: OnStage = nobody_watches,
    should_stop: Callable[[], bool] | None = None,
    sandbox: Sandbox = SANDBOXED,
) -> AuditResult:
    """Lock the window, freeze the protocol on it, run, and enter the audit in the deployment's history.

    Outputs are those of `model`, or those in the window's own table: the deployment's prediction log. Either must be of
    the model that the baseline validated. An audit that was interrupted goes on with the same command.

    Parameters
    ----------
    window
        The case table; or DICOM files with the prediction log, of which `OUT.window/cases.csv` is made: the window is
        that table, and the lock binds its rows and the files.
    former
        The version that the baseline's model replaced, and what it says of the window: how much of a change is the
        model's and how much the data's.
    history
        SQLite file or database URL; by default `drift-history.sqlite` beside `out`.
    deployment
        Which chain of a shared database it is.
    reference_key
        Opens the reference standard of the baseline's set, where it is encrypted; what the audit keeps of it is
        encrypted with the same key.

    Raises
    ------
    InputError
        For a protocol of another kind or without audits left, a window that shares cases with the baseline or is not
        the one this folder began with, cases that the device cannot have seen, another model or contract than the
        baseline's, another audit recorded meanwhile, or a clock that is behind the history's.
    EvalsuiteError
        As `run`.
    """
    from evalsuite.testset.table import read_table

    protocol = load_protocol(protocol_path)
    require_audit(protocol, given=True)
    require_supported(protocol)
    place = WindowFolder(Path(f"{Path(out)}.window"))
    if isinstance(window, DicomWindow):
        window = _written(place, window_table(window, protocol, Path(os.path.abspath(place.path))))
    folder = RunFolder(Path(out))
    beside = Path(out).absolute().parent / audit_history.DEFAULT_NAME
    kept = audit_history.open_history(history or str(beside), deployment)
    found = audit_history.audits(kept)
    digest = protocol_digest(protocol)
    own = str(read_json(folder.record)["run"]["id"]) if folder.seal.exists() else None
    before = audit_history.before(found, protocol, digest, run=own)
    cache = beside.with_name(CACHE_NAME)
    earlier = [a.to_json() for a in before]
    inputs = open_audit(
        protocol, baseline, earlier, window=window, who=who, cache=cache, store=store, reference_key=reference_key
    )
    asked = protocol.analyses.drift
    assert asked is not None, "the protocol's checks require it"
    with claimed(RunFolder(place.path)):
        testset = _locked(place, window, protocol_path, who, store)
        _require_apart(testset, inputs)
        table = read_table(window)
        labels = window_labels(protocol, table, [a.left for a in before])
        if asked.of_images:
            numbers = image_numbers(testset, asked.of_images, whose="window")
            inputs = inputs.with_images(numbers, [c.case_id for c in testset.cases])
        if former is not None:
            cases = [c.case_id for c in testset.cases]
            sealed = former_outputs(protocol, former, baseline=baseline, device=inputs.device, window=cases)
            inputs = replace(inputs, former=sealed)
        device = window_device(place.log, window, table, protocol, model, inputs)
        if model is not None:
            require_images(testset)
        if not (place.frozen / "freeze.json").exists():
            prepare.freeze(
                protocol_path,
                testset_path=place.testset,
                model_path=device,
                out=place.frozen,
                who=replace(who, role="author"),
                contract=contract,
                store=store,
                sandbox=sandbox,
                admit=lambda opened: require_contract(opened, inputs),
            )
        result = run(
            place.frozen,
            testset_path=place.testset,
            model_path=device,
            out=out,
            who=who,
            contract=contract,
            audit=inputs,
            overrides=overrides or {},
            store=store,
            on_stage=on_stage,
            should_stop=should_stop,
            sandbox=sandbox,
        )
    return AuditResult(run=result, standing=_recorded(kept, protocol, digest, inputs, result, who, before, labels))


# --- the window -----------------------------------------------------------------------------------------------------


def _written(place: WindowFolder, table: bytes) -> Path:
    """The window's table in its folder; InputError where an audit of another one was begun there."""
    with claimed(RunFolder(place.path)):
        _begin(place, sha256_bytes(table), "these files and this log")
        atomic_write(place.cases, table)
    return place.cases


def _begin(place: WindowFolder, sha256: str, name: str) -> None:
    """Take the folder for the window with this digest, also from one that was refused before it was frozen.

    Raises InputError where an audit of another window was begun there.
    """
    source = {"schema": WINDOW_SCHEMA, "sha256": sha256}
    if place.source.exists() and read_json(place.source) != source:
        if (place.frozen / "freeze.json").exists():
            raise InputError(
                f"{place.path} holds another window than {name}.",
                hint="An audit goes on with what it began with; choose another --out for this one.",
            )
        shutil.rmtree(place.testset, ignore_errors=True)
        place.log.unlink(missing_ok=True)
    write_json(place.source, source)


def _locked(place: WindowFolder, window: Path, protocol_path: Path | str, who: Who, store: str | None) -> LockedTestSet:
    """The window as a test set of its own; that of an earlier, interrupted command where it is of the same table."""
    from evalsuite.testset import open_testset

    try:
        sha256 = sha256_file(window)
    except OSError as error:
        raise InputError(f"The window {window} cannot be read: {error.strerror}.") from error
    _begin(place, sha256, window.name)
    if (place.testset / "testset.lock.json").exists():
        return open_testset(place.testset, verify=False, store=store)
    custodian = replace(who, role="custodian")
    name = place.path.stem
    return prepare.lock(window, out=place.testset, who=custodian, protocol=str(protocol_path), set_id=name, store=store)


def _require_apart(testset: LockedTestSet, inputs: AuditOf) -> None:
    """InputError where a case or an image of the window is the baseline's."""
    shared = [c.case_id for c in testset.cases if c.case_id in inputs.cases]
    files = [f for f in testset.lock.get("files", []) if f.get("sha256") in inputs.files]
    if shared or files:
        raise InputError(
            f"The window shares {len(shared) or len(files)} {'cases' if shared else 'image files'} with the baseline.",
            problems=[Problem("in the baseline too", f"case {c}") for c in shared[:_SHOWN]],
            hint="A window has cases that came after the baseline; take the shared ones out.",
        )


# --- the history ----------------------------------------------------------------------------------------------------


def _recorded(
    kept: LedgerStore,
    protocol: StudyProtocol,
    digest: str,
    inputs: AuditOf,
    result: RunResult,
    who: Who,
    before: tuple[audit_history.Audit, ...],
    labels: Mapping[str, str],
) -> audit_history.Standing:
    """Enter the finished audit in the history, once, and say how the deployment stands."""
    record, evidence = read_json(result.folder.record), read_json(result.folder.evidence)
    asked = protocol.analyses.drift
    assert asked is not None, "the protocol's checks require it"
    now = who.now()
    left, indicators = left_behind(evidence, before[-1].left if before else {})
    made = audit_history.Audit(
        run=str(record["run"]["id"]),
        utc=now,
        protocol=digest,
        protocol_id=protocol.id,
        protocol_version=protocol.version,
        window=str(record["testset"]["root"]),
        model=inputs.device,
        overall=result.verdict.overall,
        next_due=audit_history.due(now, asked.calendar.every_days),
        indicators=tuple(indicators),
        left={**left, "labels": dict(labels), "utc": now},
    )
    found = audit_history.append(kept, made, who, after=before)
    entered = next(a for a in found if a.run == made.run)
    return audit_history.Standing(last=entered, n_audits=len(found), overdue=False)


def left_behind(evidence: Mapping[str, Any], last: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the next audits go on from, and the table of limits; `last` is what the audit before left."""
    from evalsuite.analyses.drift_log import noted

    findings = [f for f in evidence["findings"] if f["analysis"] == "drift"]
    figures = {
        f["endpoint"]: {"value": f["estimate"]["value"], "n": f["estimate"]["n"]}
        for f in findings
        if f["metric"] == "chart_figure" and f["condition"] is None
    }
    detectors = {
        c["series"]: {"log": c["y"], "seen": c["n"]} for c in evidence["curves"] if c["kind"] == "detector_state"
    }
    lines = [f for f in findings if f["metric"].startswith("indicator_")]
    indicators = [
        {
            "name": f["endpoint"],
            "kind": f["metric"].removeprefix("indicator_"),
            "status": f["condition"],
            "value": f["estimate"]["value"],
            "limits": f["estimate"]["method"],
        }
        for f in lines
    ]
    rose = {
        i["name"].removeprefix("Performance: ")
        for i in indicators
        if i["kind"] == "performance" and i["status"] == "action"
    }
    alarmed = sorted({*last.get("alarmed", ()), *rose})
    detectors = {**last.get("detectors", {}), **detectors}
    log = list(noted((str(i["name"]), str(i["kind"]), str(i["status"])) for i in indicators))
    return {"figures": figures, "detectors": detectors, "alarmed": alarmed, "noted": log}, indicators
