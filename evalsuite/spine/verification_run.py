"""A run years later: every file as sealed, signed by whom the ledger says, and the verdict reached once more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalsuite.errors import EvalsuiteError
from evalsuite.protocol.comparisons import BASELINE, ORIGINAL
from evalsuite.protocol.freeze import FREEZE_FILE, check_freeze_signature, check_freeze_timestamp, load_frozen
from evalsuite.protocol.load import load_protocol, protocol_digest
from evalsuite.record import ledger
from evalsuite.record.canonical import read_json
from evalsuite.record.digest import digest_json, sha256_bytes
from evalsuite.record.seal import check_seal
from evalsuite.record.signed_head import KEY_OBJECT, check_head
from evalsuite.record.trust import Check, CheckStatus, Expected, check_file_signature
from evalsuite.spine import history
from evalsuite.spine.audit_inputs import audit_digest
from evalsuite.spine.folder import RunFolder
from evalsuite.spine.signing import signatures_of
from evalsuite.spine.verification_parts import Reader, checked
from evalsuite.spine.verification_report import check_report
from evalsuite.spine.verification_signed import check_signed_run

#: Entries of a run that come after its seal and do not renew it.
_AFTER_SEAL = ("signed", "exported", "export_refused", "superseded", "void")


def verify_run(
    folder: RunFolder, reader: Reader, *, with_set: bool = True, withheld: frozenset[str] = frozenset()
) -> list[Check]:
    """Everything that can be checked of a run, with its test set where that still is where it was.

    Parameters
    ----------
    with_set
        False: the run by itself, wherever its test set is.
    withheld
        Sealed files that a copy of the run need not hold.
    """
    entries = _entries_of(folder)
    signed_by = _sealed_by(folder, entries)
    checks = list(check_seal(folder.path, trust=reader.trust, signed_by=signed_by, withheld=withheld))
    if entries:
        checks.append(check_head(folder.ledger, entries, trust=reader.trust))
    checks += _lock_of(folder, entries, reader)
    if (folder.path / FREEZE_FILE).exists():
        checks += _freeze_of(folder, entries, reader)
    checks.append(checked("protocol", lambda: _protocol(folder)))
    checks.append(checked("predictions", lambda: _predictions(folder)))
    if any(folder.arrays.rglob("masks-*.parquet")):
        checks.append(checked("masks", lambda: _masks(folder)))
    if folder.verdict.exists() or folder.evidence.exists():
        checks.append(checked("evidence", lambda: _evidence(folder)))
        checks.append(checked("verdict", lambda: _verdict(folder)))
    if folder.pdf.exists():
        checks += check_report(folder.pdf)
        checks += check_signed_run(folder.path, _signed(folder, entries), reader)
    if with_set:
        checks.append(_set_of(folder, reader))
    return checks


def not_in_ledger(folder: RunFolder, kept: Sequence[ledger.Entry]) -> str | None:
    """Why the test set's ledger, whose entries are `kept`, is not the one this run belongs to; None where it is."""
    sealed = read_json(folder.seal)["ledger"]
    head = ledger.LedgerHead(count=sealed["count"], digest=sealed["head"])
    if not ledger.holds_head(tuple(kept), head):
        return "the test set's ledger no longer contains this run: it was rolled back or replaced"
    if len(_signed(folder, kept)) > len(_signed(folder, _entries_of(folder))):
        return "the test set's ledger has more signatures of this run than the run: it was rolled back"
    return None


def check_seal_signature(folder: RunFolder, reader: Reader) -> list[Check]:
    """The signature of the seal alone, for a report that lies beside it; nothing where there is no seal."""
    if not folder.seal.exists():
        return []
    found = check_seal(folder.path, trust=reader.trust, signed_by=_sealed_by(folder, _entries_of(folder)))
    return [c for c in found if c.name in ("seal", "seal signature")]


def _entries_of(folder: RunFolder) -> tuple[ledger.Entry, ...]:
    """The run's own copy of the ledger; empty where it is damaged, which the seal's check says."""
    try:
        return ledger.read(folder.ledger)
    except EvalsuiteError:
        return ()


def signatures_beside(path: Path, reader: Reader) -> list[Check]:
    """The checks of the signed report in a run folder; `path` is that file."""
    folder = RunFolder(path.parent)
    return check_signed_run(folder.path, _signed(folder, _entries_of(folder)), reader)


def _run_id(folder: RunFolder) -> str | None:
    try:
        return str(read_json(folder.record)["run"]["id"])
    except (EvalsuiteError, KeyError, TypeError):
        return None  # the record is checked by itself


def _signed(folder: RunFolder, entries: Sequence[ledger.Entry]) -> tuple[ledger.Entry, ...]:
    run = _run_id(folder)
    return () if run is None else signatures_of(entries, run)


def _sealed_by(folder: RunFolder, entries: Sequence[ledger.Entry]) -> Expected | None:
    """Whose key the last line of this run before its seal names: that person sealed it."""
    run = _run_id(folder)
    own = (e for e in reversed(entries) if e.objects.get("run") == run and e.action not in _AFTER_SEAL)
    last = None if run is None else next(own, None)
    return None if last is None else _named_by(last)


def _named_by(entry: ledger.Entry) -> Expected | None:
    keyid = entry.objects.get(KEY_OBJECT)
    return None if keyid is None else Expected(keyid=keyid, by=f"ledger entry {entry.seq}")


def _lock_of(folder: RunFolder, entries: Sequence[ledger.Entry], reader: Reader) -> list[Check]:
    """The run's copy of the lock: its roots follow from its content, and it is signed by whom the ledger says."""
    from evalsuite.testset.manifest import parse_lock

    found: dict[str, Any] = {}

    def work() -> tuple[CheckStatus, str]:
        data = folder.lock.read_bytes()
        found.update(parse_lock(data, folder.lock.name))
        if entries and _lock_entry(entries, data) is None:
            return "broken", "the ledger does not begin with this lock"
        return "holds", f"root {found['root']}"

    lock = checked("lock", work)
    if not found:
        return [lock]
    entered = _lock_entry(entries, folder.lock.read_bytes())
    expected = None if entered is None else _named_by(entered)
    signature = check_file_signature(
        "lock signature", folder.lock, found["signature"], trust=reader.trust, expected=expected, required=False
    )
    return [lock, signature]


def _lock_entry(entries: Sequence[ledger.Entry], lock: bytes) -> ledger.Entry | None:
    """The entry of this lock: the first one, or a later one where equal sets share a ledger."""
    if not entries or entries[0].action != "locked":
        return None
    digest = sha256_bytes(lock)
    return next((e for e in entries if e.action == "locked" and e.objects.get("testset_lock") == digest), None)


def _freeze_of(folder: RunFolder, entries: Sequence[ledger.Entry], reader: Reader) -> list[Check]:
    """The run's copy of the freeze: the one the ledger has, and signed by whom the ledger says."""
    entry = None

    def work() -> tuple[CheckStatus, str]:
        nonlocal entry
        frozen = load_frozen(folder.path)
        entry = next((e for e in entries if e.objects.get("freeze") == frozen.digest), None)
        if entry is None:
            return "broken", "the ledger knows nothing of this freeze"
        if entry.objects.get("timestamp") != frozen.timestamp_sha256:
            return "broken", f"its timestamp is not the one of ledger entry {entry.seq}"
        return "holds", f"frozen {frozen.utc}, ledger entry {entry.seq}"

    freeze = checked("freeze", work)
    expected = None if entry is None else _named_by(entry)
    file = folder.path / FREEZE_FILE
    return [
        freeze,
        check_freeze_signature(file, trust=reader.trust, expected=expected, required=False),
        check_freeze_timestamp(file, roots=reader.tsa_roots),
    ]


def _protocol(folder: RunFolder) -> tuple[CheckStatus, str]:
    record = read_json(folder.record)
    digest = protocol_digest(load_protocol(folder.protocol))
    if digest != record["protocol"]["digest"]:
        return "broken", "protocol.yaml is not the protocol of this run"
    frozen = record["protocol"]["frozen"]
    said = f"frozen {frozen['utc']} (ledger entry {frozen['ledger_seq']})" if frozen else "was not frozen: not evidence"
    return "holds", f"{record['protocol']['id']} {record['protocol']['version']}, {said}"


def _predictions(folder: RunFolder) -> tuple[CheckStatus, str]:
    from evalsuite.inference.predictions import read_predictions

    found = read_predictions(folder.predictions)
    if folder.evidence.exists():
        used = read_json(folder.evidence)["predictions"]["digest"]
        if used != found.digest:
            return "broken", "the evidence was computed from other predictions"
        for who in (BASELINE, ORIGINAL):
            compared = read_json(folder.evidence)["predictions"].get(f"{who}_digest")
            if compared is not None and read_predictions(folder.compared(who)).digest != compared:
                return "broken", f"the evidence was computed from other predictions of the {who}"
        held_against = read_json(folder.evidence)["predictions"].get("audit_digest")
        if held_against is not None and audit_digest(folder) != held_against:
            return "broken", "the evidence was computed from another baseline or other earlier audits"
    return "holds", f"{len(found.table)} rows, digest {found.digest[:16]}…"


def _masks(folder: RunFolder) -> tuple[CheckStatus, str]:
    from evalsuite.inference.mask_store import mask_files, verify_masks
    from evalsuite.inference.predictions import read_predictions

    n = 0
    others = [(folder.compared(who), folder.arrays / who) for who in (BASELINE, ORIGINAL)]
    for predictions, place in ((folder.predictions, folder.arrays), *others):
        digest = read_predictions(predictions).masks if predictions.exists() else None
        files = mask_files(place)
        if files and digest is None:
            return "broken", f"{place.name} holds masks that no predictions speak of"
        if digest is not None:
            n += verify_masks(files, digest)
    return "holds", f"{n} masks, those the predictions were sealed with"


def _evidence(folder: RunFolder) -> tuple[CheckStatus, str]:
    evidence, lock = read_json(folder.evidence), read_json(folder.lock)
    if evidence["testset"]["root"] != lock["root"]:
        return "broken", "evidence and lock name different test sets"
    return "holds", f"{len(evidence['findings'])} findings, digest {digest_json(evidence)[:16]}…"


def _verdict(folder: RunFolder) -> tuple[CheckStatus, str]:
    """The verdict is a pure function of protocol and evidence: judge again and compare."""
    from evalsuite.judging import judge
    from evalsuite.types import Evidence

    written, record = read_json(folder.verdict), read_json(folder.record)
    again = judge(
        load_protocol(folder.protocol),
        Evidence.from_json(read_json(folder.evidence)),
        not_evidence_because=tuple(record["evidence_status"]["reasons"]),
    ).to_json()
    if digest_json(again) != digest_json(written):
        return "broken", "judging the evidence again gives another verdict"
    said = "counts as evidence" if written["evidence"] else "does not count as evidence"
    return "holds", f"{written['overall'].replace('_', ' ')}; {said}; judged again with the same result"


def _set_of(folder: RunFolder, reader: Reader) -> Check:
    from evalsuite.testset import open_testset

    def work() -> tuple[CheckStatus, str]:
        record = read_json(folder.record)
        where = Path(record["paths"]["testset"])
        if not (where / "testset.lock.json").exists():
            return "absent", "the test set is not where it was; the run itself is checked without it"
        testset = open_testset(where, on_progress=reader.on_progress, store=reader.store)
        if testset.root != record["testset"]["root"]:
            return "absent", "another test set is now where this run's was"
        missing = not_in_ledger(folder, history.open_ledger(where, reader.store).entries())
        if missing is not None:
            return "broken", missing
        return "holds", f"{len(testset.cases)} cases, every file as locked"

    return checked("test set", work)
