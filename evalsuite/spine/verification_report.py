"""A report by itself: the evidence it carries is its own, gives the verdict it carries, and is the sealed run's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evalsuite.errors import IntegrityError
from evalsuite.protocol.load import parse_protocol, protocol_digest
from evalsuite.record import ledger
from evalsuite.record.canonical import canonical_json, parse_json, read_json
from evalsuite.record.digest import sha256_bytes, sha256_file
from evalsuite.record.seal import LEDGER_NAME, SEAL_NAME
from evalsuite.record.trust import Check, CheckStatus
from evalsuite.spine.verification_parts import checked

#: What a copy that leaves figures out says of itself (`evalsuite.report.attachments.COPY`).
COPY = "copy.json"
_ATTACHED = ("evidence.json", "verdict.json", "protocol.yaml")


def check_report(path: Path) -> list[Check]:
    """What can be said of a report, beside its run or copied elsewhere.

    Returns
    -------
    list of Check
        `report` (evidence, verdict and protocol are attached, belong together, and the evidence judged again gives the
        verdict), `report file` (the file as a whole is the one that was sealed; `not checked` away from its run).
    """
    attached: dict[str, bytes] = {}

    def carries() -> tuple[CheckStatus, str]:
        attached.update(_attachments(path))
        return "holds", _belong_together(attached)

    return [checked("report", carries), checked("report file", lambda: _as_sealed(path, attached))]


def _attachments(path: Path) -> dict[str, bytes]:
    import pikepdf

    try:
        with pikepdf.open(path) as pdf:
            found = {name: bytes(spec.get_file().read_bytes()) for name, spec in pdf.attachments.items()}
    except (pikepdf.PdfError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise IntegrityError(f"the PDF cannot be read ({type(error).__name__})") from error
    missing = [name for name in _ATTACHED if name not in found]
    if missing:
        raise IntegrityError(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not attached")
    return found


def _belong_together(attached: Mapping[str, bytes]) -> str:
    """IntegrityError where protocol, evidence and verdict are not of one run; else what holds."""
    from evalsuite.judging import judge
    from evalsuite.types import Evidence

    digest = sha256_bytes(attached["evidence.json"])
    evidence = parse_json(attached["evidence.json"], "evidence.json", error=IntegrityError)
    verdict = parse_json(attached["verdict.json"], "verdict.json", error=IntegrityError)
    if verdict["evidence_digest"] != digest:
        raise IntegrityError("the attached verdict belongs to other evidence")
    protocol = parse_protocol(attached["protocol.yaml"], "protocol.yaml")
    if protocol_digest(protocol) != evidence["protocol"]["digest"]:
        raise IntegrityError("the attached evidence belongs to another protocol")
    if COPY in attached:
        copied = parse_json(attached[COPY], COPY, error=IntegrityError)
        return (
            f"a {copied['view']} copy of run {copied['run']}, whose evidence has the digest "
            f"{copied['run_evidence_digest']}; figures are left out of it, so its verdict is not judged again"
        )
    again = judge(
        protocol, Evidence.from_json(evidence), not_evidence_because=tuple(verdict["not_evidence_because"])
    ).to_json()
    if canonical_json(again) != attached["verdict.json"]:
        raise IntegrityError("judging the attached evidence again gives another verdict")
    return f"evidence attached, digest {digest}; judged again: {verdict['overall'].replace('_', ' ')}"


def _as_sealed(path: Path, attached: Mapping[str, bytes]) -> tuple[CheckStatus, str]:
    folder, digest = path.parent, sha256_file(path)
    seal = folder / SEAL_NAME
    if not seal.exists():
        return "not checked", (
            f"not beside its run: its pages were compared with nothing. Its SHA-256 is {digest}; the run's ledger has "
            "it in the line “reported”, of a signed one in the last line “signed”"
        )
    sealed = read_json(seal, error=IntegrityError)["files"]
    if path.name in sealed:
        if sealed[path.name]["sha256"] != digest:
            return "broken", "the file is not the one that was sealed"
    elif not any(digest in e.objects.values() for e in ledger.read(folder / LEDGER_NAME)):
        return "broken", "neither the seal nor the ledger of the run beside it knows this file"
    evidence = sealed.get("evidence.json", {}).get("sha256")
    if attached and evidence is not None and sha256_bytes(attached["evidence.json"]) != evidence:
        return "broken", "the attached evidence is not the run's"
    return "holds", f"as sealed, SHA-256 {digest}"
