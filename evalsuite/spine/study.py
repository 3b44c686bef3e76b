"""The study description of a run: found beside its protocol, recorded with its digest, completed after the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalsuite.errors import EvalsuiteError, InputError
from evalsuite.protocol.load import load_protocol
from evalsuite.protocol.reading import parse_yaml
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.protocol.study_load import STUDY_FILE, changed_paths, load_study, stated_values
from evalsuite.record.canonical import read_json, write_json
from evalsuite.record.digest import digest_json
from evalsuite.record.seal import SIGNED_REPORT, require_same_signing
from evalsuite.spine import history
from evalsuite.spine.folder import RunFolder
from evalsuite.spine.running_close import render_report, seal_report
from evalsuite.spine.running_context import OnStage, RunContext, Who
from evalsuite.spine.running_score import remembered_set
from evalsuite.spine.undo import keep_aside, take_back
from evalsuite.types import Verdict


def study_beside(protocol_path: Path | str, protocol: StudyProtocol) -> Path | None:
    """study.yaml beside the protocol: in its folder, or beside its frozen folder; None where none belongs to it.

    A file of another protocol is not taken: several protocols may lie in one folder.
    """
    where = Path(protocol_path)
    if not where.exists():
        return None  # the name of a shipped protocol
    places = (
        [where / STUDY_FILE, where.resolve().parent / STUDY_FILE] if where.is_dir() else [where.parent / STUDY_FILE]
    )
    return next((p for p in places if p.is_file() and _belongs(p, protocol)), None)


def _belongs(path: Path, protocol: StudyProtocol) -> bool:
    """Whether a file names this protocol, or names none: what is wrong with it is said when it is loaded."""
    try:
        named = parse_yaml(path.read_bytes(), str(path)).get("protocol")
    except (EvalsuiteError, OSError):
        return True
    return named in (None, protocol.id)


def describe(path: Path | None, protocol_path: Path | str, protocol: StudyProtocol) -> dict[str, Any] | None:
    """What the record of a run says of its study: the values stated, and their digest; None without a description.

    Raises InputError with every problem of the file.
    """
    found = path or study_beside(protocol_path, protocol)
    if found is None:
        return None
    values = stated_values(load_study(found, protocol))
    return {"stated": values, "sha256": digest_json(values), "completed": None}


def complete_study(
    run_path: Path,
    path: Path,
    *,
    who: Who,
    testset_path: Path | None = None,
    store: str | None = None,
    on_stage: OnStage,
) -> Verdict:
    """Give a finished run another study description, and write its report again; no result changes.

    The ledger gets a further line "reported" that names the description's digest; the record keeps the digest of the
    description the run began with and the fields that changed, which the report prints.

    Raises
    ------
    InputError
        If the report is signed, the description has problems, or the test set is no longer where it was.
    """
    folder = RunFolder(run_path)
    if (folder.path / SIGNED_REPORT).exists():
        raise InputError("The report of this run is signed: it is not written again.", hint="See: evalsuite verify RUN")
    require_same_signing(folder.path, who.signer)
    record = read_json(folder.record)
    now = describe(path, folder.protocol, load_protocol(folder.protocol)) or {}
    place = Path(testset_path or remembered_set(record))
    this = RunContext(
        folder=folder,
        testset_path=place,
        ledger=history.open_ledger(place, store),
        store=store,
        who=who,
        on_stage=on_stage,
    )
    keep_aside(folder)
    try:
        record["study"] = _completed(record.get("study"), now, who)
        write_json(folder.record, record)
        verdict = render_report(folder, on_stage)
        seal_report(this, more={"study": now["sha256"]}, reason="study description completed, report written again")
    except EvalsuiteError:
        take_back(folder)  # refused: the run is as it was sealed
        raise
    return verdict


def _completed(before: Mapping[str, Any] | None, now: Mapping[str, Any], who: Who) -> dict[str, Any]:
    """The description now, with what it was at the start of the run and which fields say something else since."""
    first = (before or {}).get("completed") or {
        "at_start": None if before is None else before["sha256"],
        "stated_at_start": {} if before is None else before["stated"],
    }
    changed = changed_paths(first["stated_at_start"], now["stated"])
    return {**now, "completed": {**first, "utc": who.now(), "by": who.actor, "changed": list(changed)}}
