"""Check what the suite wrote years later, test set to submission package: recompute every digest, replay the ledger."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import InputError
from evalsuite.protocol.freeze import (
    ENVELOPE_FILE,
    FREEZE_FILE,
    TIMESTAMP_FILE,
    check_freeze_signature,
    check_freeze_timestamp,
    load_frozen,
)
from evalsuite.record.bag import PAYLOAD, TAGS
from evalsuite.record.seal import SEAL_NAME, SIGNED_REPORT
from evalsuite.record.signed_head import check_ledger
from evalsuite.record.trust import NO_TRUST, Check, CheckStatus, Trust
from evalsuite.spine.folder import RunFolder
from evalsuite.spine.package_index import RUNS
from evalsuite.spine.verification_package import verify_package
from evalsuite.spine.verification_parts import OnProgress, Reader, checked
from evalsuite.spine.verification_report import check_report
from evalsuite.spine.verification_run import check_seal_signature, signatures_beside, verify_run
from evalsuite.spine.verification_signed import check_signed_pdf

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from evalsuite.testset.encryption import ReferenceKey


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
        raise InputError(
            f"{path} does not exist.", hint="Give a test set, run, frozen protocol, package, ledger.jsonl or PDF."
        )
    reader = Reader(trust=trust, tsa_roots=tsa_roots, reference_key=reference_key, on_progress=on_progress, store=store)
    kind, checks = _dispatch(path, reader)
    return Verification(path=str(path), kind=kind, checks=tuple(checks))


_OF_A_FREEZE = (FREEZE_FILE, ENVELOPE_FILE, TIMESTAMP_FILE)
_OF_A_SET = ("testset.lock.json", "cases.parquet", "reference.parquet", "reference.parquet.aes")


def _dispatch(path: Path, reader: Reader) -> tuple[str, list[Check]]:
    if path.name in (SEAL_NAME, *_OF_A_FREEZE, *_OF_A_SET, *TAGS):
        path = path.parent
    if path.is_dir():
        if any((path / name).exists() for name in TAGS) or (path / PAYLOAD / RUNS).is_dir():
            return "package", verify_package(path, reader)
        folder = RunFolder(path)
        # A damaged run has lost files, so any of its names is enough to know it.
        if any(p.exists() for p in (folder.seal, folder.verdict, folder.evidence, folder.record, folder.predictions)):
            return "run", verify_run(folder, reader)
        if any((path / name).exists() for name in _OF_A_FREEZE):
            return "frozen protocol", _frozen(path, reader)
        if any((path / name).exists() for name in _OF_A_SET):
            return "test set", _set(path, reader)
    elif path.suffix.lower() == ".zip":
        return "package", verify_package(path, reader)
    elif path.suffix == ".jsonl":
        return "ledger", list(check_ledger(path, trust=reader.trust, required=True))
    elif path.suffix.lower() == ".pdf":
        return _report(path, reader)
    raise InputError(
        f"{path} is not a test set, run, frozen protocol, package, ledger or report.",
        hint="Give what lock, freeze, run or package wrote, a ledger.jsonl, or a report.pdf.",
    )


def _report(path: Path, reader: Reader) -> tuple[str, list[Check]]:
    """A report, signed or not, beside its run or by itself."""
    from evalsuite.report.pdf_signatures import is_signed

    folder = RunFolder(path.parent)
    seal = check_seal_signature(folder, reader)
    if path.name == SIGNED_REPORT and folder.seal.exists():
        return "signed report", [check_report(path)[0], *signatures_beside(path, reader), *seal]
    found = check_report(path)
    if found[0].status != "broken" and is_signed(path.read_bytes()):
        return "signed report", [*found, *check_signed_pdf(path.read_bytes(), reader), *seal]
    return "report", [*found, *seal]


def _set(path: Path, reader: Reader) -> list[Check]:
    from evalsuite.testset import verify_testset

    return verify_testset(
        path,
        trust=reader.trust,
        reference_key=reader.reference_key,
        on_progress=reader.on_progress,
        store=reader.store,
    )


def _frozen(path: Path, reader: Reader) -> list[Check]:
    def work() -> tuple[CheckStatus, str]:
        frozen = load_frozen(path)
        return "holds", f"{frozen.protocol.id} {frozen.protocol.version}, frozen {frozen.utc}"

    return [
        checked("frozen protocol", work),
        check_freeze_signature(path / FREEZE_FILE, trust=reader.trust),
        check_freeze_timestamp(path / FREEZE_FILE, roots=reader.tsa_roots),
    ]
