"""Check a test set, run, frozen protocol, ledger or report years later: recompute every digest, replay the ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evalsuite.errors import EvalsuiteError, InputError
from evalsuite.protocol.freeze import load_frozen
from evalsuite.protocol.load import load_protocol, protocol_digest
from evalsuite.record import ledger
from evalsuite.record.canonical import parse_json, read_json
from evalsuite.record.digest import digest_json, sha256_file
from evalsuite.record.seal import Check, CheckStatus, check_seal
from evalsuite.spine.folder import RunFolder

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


def verify(path: Path, *, on_progress: OnProgress | None = None) -> Verification:
    """What holds and what does not. InputError if `path` is nothing that can be verified."""
    if not path.exists():
        raise InputError(f"{path} does not exist.", hint="Give a test set, run, frozen protocol, ledger.jsonl or PDF.")
    kind, checks = _dispatch(path, on_progress)
    return Verification(path=str(path), kind=kind, checks=tuple(checks))


def _dispatch(path: Path, on_progress: OnProgress | None) -> tuple[str, list[Check]]:
    from evalsuite.testset import verify_testset

    if path.is_dir():
        folder = RunFolder(path)
        # A damaged run has lost files, so any of its names is enough to know it.
        if any(p.exists() for p in (folder.seal, folder.verdict, folder.evidence, folder.record, folder.predictions)):
            return "run", _run(folder, on_progress)
        if (path / "freeze.json").exists():
            return "frozen protocol", [_frozen(path)]
        if any((path / name).exists() for name in ("testset.lock.json", "cases.parquet", "reference.parquet")):
            return "test set", verify_testset(path)
    elif path.name == "testset.lock.json":
        return "test set", verify_testset(path.parent)
    elif path.suffix == ".jsonl":
        return "ledger", [_ledger(path)]
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
    except (KeyError, TypeError, ValueError) as error:
        return Check(
            name=name, status="broken", detail=f"does not have the form it was written in ({type(error).__name__})"
        )
    return Check(name=name, status=status, detail=detail)


def _ledger(path: Path) -> Check:
    def work() -> tuple[CheckStatus, str]:
        entries = ledger.read(path)
        return "holds", f"{len(entries)} entries, head {ledger.head(path).digest[:16]}…"

    return _checked("ledger chain", work)


def _frozen(path: Path) -> Check:
    def work() -> tuple[CheckStatus, str]:
        frozen = load_frozen(path)
        return "holds", f"{frozen.protocol.id} {frozen.protocol.version}, frozen {frozen.utc}"

    return _checked("frozen protocol", work)


def _run(folder: RunFolder, on_progress: OnProgress | None) -> list[Check]:
    checks = list(check_seal(folder.path))
    checks.append(_checked("protocol", lambda: _protocol(folder)))
    checks.append(_checked("predictions", lambda: _predictions(folder)))
    if folder.verdict.exists() or folder.evidence.exists():
        checks.append(_checked("evidence", lambda: _evidence(folder)))
        checks.append(_checked("verdict", lambda: _verdict(folder)))
    if folder.pdf.exists():
        checks += _pdf(folder.pdf)
    checks.append(_set_of(folder, on_progress))
    return checks


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
        if path.name == "report.pdf" and beside.exists() and sha256_file(beside) != _sha(files["evidence.json"]):
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


def _sha(data: bytes) -> str:
    from evalsuite.record.digest import sha256_bytes

    return sha256_bytes(data)


def _set_of(folder: RunFolder, on_progress: OnProgress | None) -> Check:
    from evalsuite.testset import open_testset

    def work() -> tuple[CheckStatus, str]:
        record = read_json(folder.record)
        where = Path(record["paths"]["testset"])
        if not (where / "testset.lock.json").exists():
            return "absent", "the test set is not where it was; the run itself is checked without it"
        testset = open_testset(where, on_progress=on_progress)
        if testset.root != record["testset"]["root"]:
            return "absent", "another test set is now where this run's was"
        entries = ledger.read(where / "ledger.jsonl")
        head = ledger.LedgerHead(count=record["ledger"]["count"], digest=record["ledger"]["head"])
        if not ledger.holds_head(entries, head):
            return "broken", "the test set's ledger no longer contains this run: it was rolled back or replaced"
        return "holds", f"{len(testset.cases)} cases, every file as locked"

    return _checked("test set", work)
