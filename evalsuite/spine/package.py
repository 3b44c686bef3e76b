"""Collect finished runs into one folder or zip that an assessor can check: the submission package."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite.errors import InputError, IntegrityError, OutputError, Problem
from evalsuite.protocol.load import load_protocol
from evalsuite.record import ledger
from evalsuite.record.bag import PAYLOAD, SIGNED_BY, TAG_MANIFEST, write_tags, write_zip
from evalsuite.record.canonical import read_json
from evalsuite.record.envelope import envelope_path, open_envelope, sign_file
from evalsuite.record.files import atomic_write, writing
from evalsuite.record.store import LedgerStore
from evalsuite.record.usage import ENDED, RUN
from evalsuite.spine import history, states
from evalsuite.spine.folder import RunFolder
from evalsuite.spine.package_contents import copy_run, derived_files
from evalsuite.spine.package_index import ledger_place
from evalsuite.spine.roles import ASSESSORS
from evalsuite.spine.running_context import Who
from evalsuite.spine.running_score import remembered_set
from evalsuite.spine.verification_parts import Reader
from evalsuite.spine.verification_run import not_in_ledger, verify_run
from evalsuite.spine.views import refusal

#: A run is packaged once it has a report.
_READY = ("reported", "signed")
#: Entries that say what left the set, and change nothing about its runs.
_EXPORTS = ("exported", "export_refused")
_VIEW = "package"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A run to be packaged, and where the ledger of its test set is."""

    folder: RunFolder
    name: str
    record: Mapping[str, Any]
    root: str
    testset: Path
    kept: LedgerStore


def package_runs(
    runs: Sequence[Path],
    *,
    out: Path,
    who: Who,
    testsets: Sequence[Path] = (),
    store: str | None = None,
    software: str,
) -> dict[str, Any]:
    """Write a package of finished runs to `out`: a new or empty folder, or a zip file where it ends in .zip.

    Parameters
    ----------
    testsets
        Locked sets that are no longer where the runs remember them.
    software
        Version of evalsuite, for the index and bag-info.txt.

    Returns
    -------
    dict
        `runs`, `files`, `package` (SHA-256 of the tag manifest, which the ledger has too), `ledger_entries` and
        `warnings`: unsigned reports and runs that are not evidence.

    Raises
    ------
    InputError
        If a run has no report, was superseded or declared void, is given twice, or the role may not have it (the
        ledger then says so).
    IntegrityError
        If a run is not as it was sealed, or its test set's ledger does not have it as it is.
    OutputError
        If `out` holds something or cannot be written.
    """
    _require_free(out)
    found = [_candidate(path, testsets, store) for path in runs]
    names = [c.name for c in found]
    if len(set(names)) != len(names):
        raise InputError("A run is given twice.", hint="Name each run once.")
    for candidate in found:
        _require_outside(out, candidate)
    for candidate in found:
        _require_allowed(candidate, who)
        _require_ready(candidate)
        _require_intact(candidate)
    with writing(out), tempfile.TemporaryDirectory(prefix=".evalsuite-package-", dir=out.absolute().parent) as scratch:
        bag = Path(scratch) / "bag"
        _fill(bag / PAYLOAD, found, software)
        digest = write_tags(bag, _info(found, who, software))
        if who.signer is not None:
            sign_file(bag / TAG_MANIFEST, who.signer, utc=who.now())
        n_files = sum(1 for p in bag.rglob("*") if p.is_file())
        finished = bag
        if out.suffix.lower() == ".zip":
            finished = Path(scratch) / "bag.zip"
            write_zip(bag, finished)
        # The lines are on disk before anything leaves the runs.
        entries = [_enter(c, who, digest) for c in found]
        if finished.is_dir() and out.exists():
            out.rmdir()  # it is empty
        shutil.move(finished, out)
    return {
        "runs": names,
        "files": n_files,
        "package": digest,
        "ledger_entries": entries,
        "warnings": [w for c in found for w in _warnings(c)],
    }


def _require_free(out: Path) -> None:
    if not out.absolute().parent.is_dir():
        raise OutputError(f"The folder of {out} does not exist.", hint="Create it first, or choose another --out.")
    taken = out.exists() and (not out.is_dir() or out.suffix.lower() == ".zip" or any(out.iterdir()))
    if taken:
        raise OutputError(f"{out} already holds something.", hint="Choose a new name or an empty folder with --out.")


def _require_outside(out: Path, candidate: _Candidate) -> None:
    """OutputError where a package would change what it is made of: a run or a test set with a new file in it."""
    for inside in (candidate.folder.path, candidate.testset):
        if out.resolve().is_relative_to(inside.resolve()):
            raise OutputError(f"{out} lies in {inside}, which is sealed.", hint="Choose an --out beside it.")


def _candidate(path: Path, testsets: Sequence[Path], store: str | None) -> _Candidate:
    from evalsuite.testset.open import read_lock

    folder = RunFolder(path)
    if not any(p.exists() for p in (folder.record, folder.seal, folder.plan, folder.predictions)):
        raise InputError(f"{path} is no run folder.", hint="Give the folders written by evalsuite run.")
    if not (folder.verdict.exists() and folder.pdf.exists() and folder.record.exists()):
        raise InputError(
            f"{path} was never finished: it has no verdict or no report.",
            hint="Go on with the command that started it, or: evalsuite score, evalsuite report.",
        )
    record = read_json(folder.record)
    root = str(record["testset"]["root"])
    moved = next((t for t in testsets if read_lock(t)[0]["root"] == root), None)
    testset = moved or remembered_set(record)
    kept = history.open_ledger(testset, store)
    name = str(record["run"]["id"])
    return _Candidate(folder=folder, name=name, record=record, root=root, testset=testset, kept=kept)


def _require_allowed(candidate: _Candidate, who: Who) -> None:
    refused = refusal("assessor", who, load_protocol(candidate.folder.protocol))
    if refused is None:
        return
    objects = {RUN: candidate.name, "view": _VIEW}

    def known(found: tuple[ledger.Entry, ...]) -> None:
        states.state_of(found, candidate.name)

    history.add(candidate.kept, "export_refused", who, objects, reason=refused, decide=known)
    raise InputError(f"The package is refused: {refused}.", hint=f"It is for: {', '.join(ASSESSORS)} (--role).")


def _require_ready(candidate: _Candidate) -> None:
    entries = candidate.kept.entries()
    state = states.state_of(entries, candidate.name).state
    if state in ENDED:
        ended = next(e for e in reversed(entries) if e.action == state and e.objects.get(RUN) == candidate.name)
        instead = f" by run {ended.objects['by']}" if "by" in ended.objects else ""
        raise InputError(
            f"The run {candidate.name} is {state}{instead} (ledger entry {ended.seq}: {ended.reason}).",
            hint="It stays in the ledger extract of every package of this test set. Leave it out.",
        )
    if state not in _READY:
        raise InputError(
            f"The run {candidate.name} was never finished: it is in the state “{state}”.",
            hint="First: evalsuite score, evalsuite report.",
        )


def _require_intact(candidate: _Candidate) -> None:
    """IntegrityError unless everything about the run holds, and the set's ledger has it as the run does."""
    checks = verify_run(candidate.folder, Reader(), with_set=False)
    problems = [Problem(c.detail, c.name) for c in checks if c.status == "broken"]
    missing = not_in_ledger(candidate.folder, candidate.kept.entries()) if not problems else None
    if missing is not None:
        problems.append(Problem(missing, "ledger"))
    if problems:
        raise IntegrityError(
            f"{candidate.folder.path.name} is not as it was sealed.",
            problems=problems,
            hint="Restore the run folder from its copy; a changed run is not packaged.",
        )


def _fill(data: Path, found: Sequence[_Candidate], software: str) -> None:
    for candidate in found:
        copy_run(candidate.folder, data, candidate.name)
        extract = data / ledger_place(candidate.root)
        if not extract.exists():
            extract.parent.mkdir(parents=True, exist_ok=True)
            _extract(candidate.kept, extract)
    for name, content in derived_files(data, software):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(content)


def _extract(kept: LedgerStore, path: Path) -> None:
    """The chain up to its last entry that is no export, or further where its head is signed up to there.

    A beginning of a chain verifies like the whole, and packing the same runs twice gives the same bytes.
    """
    entries, head = kept.entries(), kept.signed_head()
    signed = 0 if head is None else int(open_envelope(head, envelope_path(path).name).facts["count"])
    last = max((e.seq for e in entries if e.action not in _EXPORTS), default=0)
    atomic_write(path, b"".join(ledger.line_of(e) for e in entries[: max(last, signed)]))
    if head is not None:
        atomic_write(envelope_path(path), head)


def _info(found: Sequence[_Candidate], who: Who, software: str) -> dict[str, str]:
    info = {
        "Bag-Software-Agent": f"evalsuite {software}",
        "External-Description": f"Submission package of {len(found)} evaluation run{'s' * (len(found) != 1)}",
        "External-Identifier": " ".join(sorted(c.name for c in found)),
    }
    return info if who.signer is None else {**info, SIGNED_BY: who.signer.keyid}


def _enter(candidate: _Candidate, who: Who, digest: str) -> int:
    objects = {"view": _VIEW, _VIEW: digest}
    reason = who.reason or "submission package written"
    return history.step(candidate.kept, "exported", who, candidate.name, objects, reason=reason)[-1].seq


def _warnings(candidate: _Candidate) -> list[str]:
    said = []
    if not candidate.record["evidence_status"]["evidence"]:
        reasons = "; ".join(candidate.record["evidence_status"]["reasons"])
        said.append(f"The run {candidate.name} is not evidence: {reasons}.")
    if not any(e.action == "signed" and e.objects.get(RUN) == candidate.name for e in candidate.kept.entries()):
        said.append(f"The report of run {candidate.name} is unsigned.")
    return said
