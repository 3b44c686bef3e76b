"""The last stages of a run: render the report from the files of the run, and seal the folder."""

from __future__ import annotations

from evalsuite.protocol.load import load_protocol
from evalsuite.record.canonical import read_json, write_json
from evalsuite.record.digest import sha256_file
from evalsuite.record.files import copy_file
from evalsuite.record.seal import write_seal
from evalsuite.spine import history
from evalsuite.spine.draft import draft_record
from evalsuite.spine.folder import RunFolder, clear_work
from evalsuite.spine.running_context import OnStage, RunContext
from evalsuite.types import Evidence, Verdict


def render_report(folder: RunFolder, on_stage: OnStage) -> Verdict:
    """Render from the files of the run, and from nothing else."""
    from evalsuite.report import write_report

    on_stage("report", 0, 1)
    verdict = Verdict.from_json(read_json(folder.verdict))
    write_report(
        folder.pdf,
        protocol=load_protocol(folder.protocol),
        evidence=Evidence.from_json(read_json(folder.evidence)),
        verdict=verdict,
        record=read_json(folder.record),
        html_path=folder.html,
    )
    on_stage("report", 1, 1)
    return verdict


def seal_predictions(run: RunContext) -> None:
    """Close a run that holds predictions only: record, ledger so far, and the digest of every file."""
    write_json(run.folder.record, draft_record(run.folder))
    _keep_ledger(run)
    clear_work(run.folder)
    write_seal(run.folder.path)


def seal_report(run: RunContext) -> None:
    """Close a finished run: the report's line in the ledger, the ledger as it stands, the digest of every file."""
    folder = run.folder
    record = read_json(folder.record)
    history.add(
        run.testset_path,
        "reported",
        run.who,
        {"run": record["run"]["id"], "report": sha256_file(folder.pdf) if folder.pdf.exists() else ""},
        reason="report written",
    )
    _keep_ledger(run)
    clear_work(folder)
    write_seal(folder.path)


def _keep_ledger(run: RunContext) -> None:
    copy_file(history.path_of(run.testset_path), run.folder.ledger)
