"""Check a test set, run, frozen protocol, ledger or report years later: recompute every digest, replay the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import EvalsuiteError, InputError
from evalsuite.protocol.freeze import FREEZE_FILE, check_freeze_signature, check_freeze_timestamp, load_frozen
from evalsuite.protocol.load import load_protocol, protocol_digest
from evalsuite.record import ledger
from evalsuite.record.canonical import parse_json, read_json
from evalsuite.record.digest import digest_json, sha256_bytes, sha256_file
from evalsuite.record.seal import check_seal
from evalsuite.record.signed_head import KEY_OBJECT, check_head, check_ledger
from evalsuite.record.trust import NO_TRUST, Check, CheckStatus, Expected, Trust, check_file_signature
from evalsuite.spine import history
from evalsuite.spine.folder import RunFolder

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from evalsuite.testset.encryption import ReferenceKey

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Separate facts and one bottom line: intact unless something is broken, whatever the verdict was."""

    path: str
    kind: str
    checks: tuple[Check, ...]

    @property
    def intact(self) -> bool:
        return all(c.status != "broken" for c in self.checks)

    def to_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "kind": self.kind,
            "intact": self.intact,
            "checks": [asdict(c) for c in self.checks],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """What the person who verifies brings along: keys and certificates they trust, and who shows progress."""

    trust: Trust = NO_TRUST
    tsa_roots: tuple[Certificate, ...] = ()
    reference_key: ReferenceKey | None = None
    on_progress: OnProgress | None = None
    store: str | None = None


def verify(
    path: Path,
    *,
    trust: Trust = NO_TRUST,
    tsa_roots: tuple[Certificate, ...] = (),
    reference_key: ReferenceKey | None = None,
    on_progress: OnProgress | None = None,
    store: str | None = None,
) -> Verification:
    """What holds, what does not, and what is not there.

    Parameters
    ----------
    trust
        Keys the reader knows: whatever is signed must be by one of them, and the lock, freeze, seal or ledger that is
        verified must be signed. Without any, signatures are checked by the key they carry, and that is said.
    tsa_roots
        Certificates of timestamp authorities the reader trusts.
    reference_key
        Opens an encrypted reference standard, so that its content is compared with the lock too.
    store
        Database that holds the test set's ledger, where the set itself does not say.

    Raises
    ------
    InputError
        If `path` is nothing that can be verified.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist.", hint="Give a test set, run, frozen protocol, ledger.jsonl or PDF.")
    reader = Reader(trust=trust, tsa_roots=tsa_roots, reference_key=reference_key, on_progress=on_progress, store=store)
    kind, checks = _dispatch(path, reader)
    return Verification(path=str(path), kind=kind, checks=tuple(checks))


def _dispatch(path: Path, reader: Reader) -> tuple[str, list[Check]]:
    if path.is_dir():
        folder = RunFolder(path)
        # A damaged run has lost files, so any of its names is enough to know it.
        if any(p.exists() for p in (folder.seal, folder.verdict, folder.evidence, folder.record, folder.predictions)):
            return "run", _run(folder, reader)
        if (path / "freeze.json").exists():
            return "frozen protocol", _frozen(path, reader)
        if any((path / name).exists() for name in ("testset.lock.json", "cases.parquet", "reference.parquet")):
            return "test set", _set(path, reader)
    elif path.name == "testset.lock.json":
        return "test set", _set(path.parent, reader)
    elif path.suffix == ".jsonl":
        return "ledger", list(check_ledger(path, trust=reader.trust, required=True))
    elif path.suffix.lower() == ".pdf":
        return "report", _pdf(path)
    raise InputError(
        f"{path} is not a test set, run, frozen protocol, ledger or report.",
        hint="Give the folder written by lock, freeze or run, a ledger.jsonl, or a report.pdf.",
    )


def _checked(name: str, work: Callable[[], tuple[CheckStatus, str]]) -> Check:
    """One check; a sealed file that no longer parses is broken, not an error of ours."""
    try:
        status, detail = work()
    except EvalsuiteError as error:
        return Check(name=name, status="broken", detail=error.message)
    except OSError as error:
        return Check(name=name, status="broken", detail=f"cannot be read ({error.strerror})")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return Check(
            name=name, status="broken", detail=f"does not have the form it was written in ({type(error).__name__})"
        )
    return Check(name=name, status=status, detail=detail)


def _set(path: Path, reader: Reader) -> list[Check]:
    from evalsuite.testset import verify_testset

    return verify_testset(
        path,
        trust=reader.trust,
        reference_key=reader.reference_key,
        on_progress=reader.on_progress,
        store=reader.store,
    )


def _frozen(path: Path, reader: Reader, expected: Expected | None = None) -> list[Check]:
    def work() -> tuple[CheckStatus, str]:
        frozen = load_frozen(path)
        return "holds", f"{frozen.protocol.id} {frozen.protocol.version}, frozen {frozen.utc}"

    return [
        _checked("frozen protocol", work),
        check_freeze_signature(path / FREEZE_FILE, trust=reader.trust, expected=expected),
        check_freeze_timestamp(path / FREEZE_FILE, roots=reader.tsa_roots),
    ]


def _run(folder: RunFolder, reader: Reader) -> list[Check]:
    entries = _entries_of(folder)
    checks = list(check_seal(folder.path, trust=reader.trust, signed_by=_sealed_by(folder, entries)))
    if entries:
        checks.append(check_head(folder.ledger, entries, trust=reader.trust))
    checks += _lock_of(folder, entries, reader)
    if (folder.path / FREEZE_FILE).exists():
        checks += _freeze_of(folder, entries, reader)
    checks.append(_checked("protocol", lambda: _protocol(folder)))
    checks.append(_checked("predictions", lambda: _predictions(folder)))
    if folder.verdict.exists() or folder.evidence.exists():
        checks.append(_checked("evidence", lambda: _evidence(folder)))
        checks.append(_checked("verdict", lambda: _verdict(folder)))
    if folder.pdf.exists():
        checks += _pdf(folder.pdf)
    checks.append(_set_of(folder, reader))
    return checks


def _entries_of(folder: RunFolder) -> tuple[ledger.Entry, ...]:
    """The run's own copy of the ledger; empty where it is damaged, which the seal's check says."""
    try:
        return ledger.read(folder.ledger)
    except EvalsuiteError:
        return ()


def _sealed_by(folder: RunFolder, entries: Sequence[ledger.Entry]) -> Expected | None:
    """Whose key the last line of this run in the ledger names: that person sealed it."""
    try:
        run = read_json(folder.record)["run"]["id"]
    except (EvalsuiteError, KeyError, TypeError):
        return None  # the record is checked by itself
    last = next((e for e in reversed(entries) if e.objects.get("run") == run), None)
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

    lock = _checked("lock", work)
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

    freeze = _checked("freeze", work)
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
        compared = read_json(folder.evidence)["predictions"].get("baseline_digest")
        if compared is not None and read_predictions(folder.baseline).digest != compared:
            return "broken", "the evidence was computed from other predictions of the baseline"
    return "holds", f"{len(found.table)} rows, digest {found.digest[:16]}…"


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


def _pdf(path: Path) -> list[Check]:
    """The report carries its evidence, and prints the digest of what it carries."""

    def work() -> tuple[CheckStatus, str]:
        import pikepdf

        try:
            with pikepdf.open(path) as pdf:
                files = {name: bytes(spec.get_file().read_bytes()) for name, spec in pdf.attachments.items()}
                keywords = str(pdf.docinfo.get("/Keywords", "")) if pdf.docinfo is not None else ""
        except (pikepdf.PdfError, OSError, ValueError, KeyError) as error:
            return "broken", f"the PDF cannot be read ({type(error).__name__})"
        if "evidence.json" not in files:
            return "broken", "evidence.json is not attached"
        evidence = parse_json(files["evidence.json"], "evidence.json")
        digest = digest_json(evidence)
        if "verdict.json" in files:
            verdict = parse_json(files["verdict.json"], "verdict.json")
            if verdict["evidence_digest"] != digest:
                return "broken", "the attached verdict belongs to other evidence"
        if keywords and digest not in keywords and "evidence" in keywords:
            return "broken", "the report prints the digest of other evidence"
        beside = path.parent / "evidence.json"
        if (
            path.name == "report.pdf"
            and beside.exists()
            and sha256_file(beside) != sha256_bytes(files["evidence.json"])
        ):
            return "broken", "the attached evidence is not the run's"
        return "holds", f"evidence attached, digest {digest[:16]}…"

    checks = [_checked("report", work)]
    if not (path.parent / "SEAL.json").exists():
        checks.append(
            Check(
                name="report file",
                status="not checked",
                detail="outside its run folder: only what is attached can be compared, not the file as a whole",
            )
        )
    return checks


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
        sealed = read_json(folder.seal)["ledger"]
        head = ledger.LedgerHead(count=sealed["count"], digest=sealed["head"])
        if not ledger.holds_head(history.open_ledger(where, reader.store).entries(), head):
            return "broken", "the test set's ledger no longer contains this run: it was rolled back or replaced"
        return "holds", f"{len(testset.cases)} cases, every file as locked"

    return _checked("test set", work)
