"""The last stages of a run: render the report from the files of the run, and seal the folder."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from evalsuite.errors import InputError
from evalsuite.protocol.freeze import FREEZE_FILE, TIMESTAMP_FILE
from evalsuite.protocol.load import load_protocol
from evalsuite.record.canonical import read_json, write_json
from evalsuite.record.digest import sha256_file
from evalsuite.record.envelope import envelope_path
from evalsuite.record.files import copy_file
from evalsuite.record.seal import SIGNED_REPORT, needs_key, signature_of, write_seal
from evalsuite.record.store import export
from evalsuite.spine import history
from evalsuite.spine.draft import draft_record
from evalsuite.spine.exhibits import read_exhibits
from evalsuite.spine.folder import RunFolder, clear_work
from evalsuite.spine.running_context import OnStage, RunContext, Who
from evalsuite.types import Evidence, Verdict


def render_report(folder: RunFolder, on_stage: OnStage, *, into: Path | None = None) -> Verdict:
    """Render from the files of the run, and from nothing else; into the run folder, or another one."""
    from evalsuite.report import write_report

    on_stage("report", 0, 1)
    verdict = Verdict.from_json(read_json(folder.verdict))
    write_report(
        (into or folder.path) / folder.pdf.name,
        protocol=load_protocol(folder.protocol),
        evidence=Evidence.from_json(read_json(folder.evidence)),
        verdict=verdict,
        record=read_json(folder.record),
        exhibits=read_exhibits(folder),
        html_path=(into or folder.path) / folder.html.name,
    )
    on_stage("report", 1, 1)
    return verdict


def seal_predictions(run: RunContext) -> None:
    """Close a run that holds predictions only: record, ledger so far, and the digest of every file."""
    write_json(run.folder.record, draft_record(run.folder))
    export(run.ledger, run.folder.ledger)
    write_seal(run.folder.path, signer=run.who.signer, utc=run.who.now())
    clear_work(run.folder)  # last: until the seal is there, the plan says how to go on


def seal_report(run: RunContext, *, more: Mapping[str, str] | None = None, reason: str = "report written") -> None:
    """Close a finished run: the report's line in the ledger, the ledger as it stands, the digest of every file.

    `more` are further digests for that line.
    """
    folder = run.folder
    record = read_json(folder.record)
    history.step(
        run.ledger,
        "reported",
        run.who,
        record["run"]["id"],
        {"report": sha256_file(folder.pdf) if folder.pdf.exists() else "", **(more or {})},
        reason=reason,
    )
    export(run.ledger, folder.ledger)
    write_seal(folder.path, signer=run.who.signer, utc=run.who.now())
    clear_work(folder)  # last: until the seal is there, the plan says how to go on


def render_again(folder: RunFolder, who: Who, on_stage: OnStage) -> Verdict:
    """Render the report of a sealed run again; a signed seal is signed anew where the report comes out differently.

    Raises InputError where that needs the key that sealed the run; the run folder is then as it was.
    """
    if (folder.path / SIGNED_REPORT).exists():
        raise InputError("The report of this run is signed: it is not written again.", hint="See: evalsuite verify RUN")
    signature = signature_of(folder.path)
    if signature is None and who.signer is not None:
        raise InputError("The seal of this run is unsigned.", hint="Leave --key out, or sign with: evalsuite score")
    if signature is not None:
        with tempfile.TemporaryDirectory(prefix="evalsuite-") as scratch:
            verdict = render_report(folder, on_stage, into=Path(scratch))
            if all(same_bytes(Path(scratch) / p.name, p) for p in (folder.pdf, folder.html)):
                return verdict
        if who.signer is None or who.signer.keyid != signature.get("keyid"):
            raise needs_key(folder.path, signature)
    verdict = render_report(folder, on_stage)
    write_seal(folder.path, signer=who.signer, utc=who.now())
    return verdict


def keep_proofs(run: RunContext, protocol_path: Path | str) -> None:
    """Copy into the run what proves its inputs: the lock with its signature, and the freeze it was run from."""
    copy_with_signature(run.testset_path / run.folder.lock.name, run.folder.lock)
    frozen = Path(protocol_path)
    if frozen.is_dir():
        copy_with_signature(frozen / FREEZE_FILE, run.folder.path / FREEZE_FILE)
        if (frozen / TIMESTAMP_FILE).exists():
            copy_file(frozen / TIMESTAMP_FILE, run.folder.path / TIMESTAMP_FILE)


def copy_with_signature(source: Path, target: Path) -> None:
    """Copy a file, and its signature where it has one."""
    if envelope_path(source).exists():
        copy_file(envelope_path(source), envelope_path(target))
    copy_file(source, target)


def same_bytes(a: Path, b: Path) -> bool:
    """Whether both files exist and hold the same."""
    return a.exists() and b.exists() and sha256_file(a) == sha256_file(b)
