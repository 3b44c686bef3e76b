"""Signing a finished run: author, reviewer and QA approver, in this order, each entered in the ledger first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import InputError, IntegrityError
from evalsuite.protocol.load import load_protocol
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.canonical import read_json
from evalsuite.record.digest import sha256_bytes, sha256_file
from evalsuite.record.files import atomic_write
from evalsuite.record.ledger import Entry
from evalsuite.record.seal import SIGNED_REPORT
from evalsuite.record.store import LedgerStore, export
from evalsuite.record.usage import RUN
from evalsuite.spine import history, roles, states
from evalsuite.spine.folder import RunFolder, claimed, require_intact
from evalsuite.spine.running_context import Who
from evalsuite.spine.running_score import remembered_set
from evalsuite.spine.undo import take_back

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from evalsuite.record.identity import Identity

#: Objects of a `signed` entry: the whole signed file, the signer's certificate, and the name in it.
REPORT, CERTIFICATE, NAME = "report", "certificate", "name"
#: The signed report until the ledger knows it; a command that was cut off leaves it, and the next one takes it up.
PENDING = f".{SIGNED_REPORT}.pending"


def sign_run(
    run_path: Path,
    *,
    identity: Identity,
    who: Who,
    tsa: str | None = None,
    tsa_roots: Sequence[Certificate] = (),
    testset_path: Path | None = None,
    store: str | None = None,
) -> dict[str, Any]:
    """Sign the report of a run in the role of `who`; writes report.signed.pdf and enters it in the set's ledger.

    The sealed report stays as it is. A command that was cut off is given again; what it had signed is then finished.

    Raises
    ------
    InputError
        If the run has no report yet, has ended, is signed in this role already, it is another role's turn, the person
        may not sign in this role (separation of duties), or the authority does not answer.
    IntegrityError
        If the run or an earlier signature is not what the ledger says.
    """
    from evalsuite.report.approval import APPROVERS
    from evalsuite.report.pdf_signing import Signing, sign_report

    folder = RunFolder(run_path)
    meaning = {a.role: a.meaning for a in APPROVERS}
    if who.role not in meaning:
        raise InputError(f"A report is not signed as {who.role}.", hint=f"Roles that sign: {', '.join(meaning)}.")
    with claimed(folder):
        take_back(folder)
        record = read_json(folder.record)
        name = str(record["run"]["id"])
        kept = history.open_ledger(testset_path or remembered_set(record), store)
        finished = _take_up(folder, kept, name, who.role)
        require_intact(folder)
        if finished is not None:
            return finished
        _require_report(folder)
        protocol = load_protocol(folder.protocol)

        def require(found: Sequence[Entry]) -> None:
            states.require_step(found, name, "signed")
            _require_turn(found, name, who.role, tuple(meaning))
            _require_apart(found, name, who, identity, protocol, record)

        before = kept.entries()
        require(before)
        signed = sign_report(
            _base(folder, signatures_of(before, name)),
            Signing(
                identity=identity,
                role=who.role,
                utc=_second(who.now()),
                meaning=who.reason or meaning[who.role],
                tsa=tsa,
            ),
        )
        made = _require_good(signed, identity, tsa_roots)
        atomic_write(folder.path / PENDING, signed)
        objects = {REPORT: sha256_bytes(signed), CERTIFICATE: identity.fingerprint, NAME: identity.name}
        reason = who.reason or meaning[who.role]

        def decide(found: tuple[Entry, ...]) -> None:
            if signatures_of(found, name) != signatures_of(before, name):
                raise InputError("Somebody else signed this run just now.", hint="Give the command again.")
            require(found)

        chain = history.add(kept, "signed", who, {RUN: name, **objects}, reason=reason, decide=decide)
        _take_up(folder, kept, name, who.role)
    return {**_facts(folder, chain[-1]), "stamped_utc": made}


def signatures_of(entries: Sequence[Entry], run: str) -> tuple[Entry, ...]:
    """The `signed` entries of a run, in their order."""
    return tuple(e for e in entries if e.action == "signed" and e.objects.get(RUN) == run)


def _take_up(folder: RunFolder, kept: LedgerStore, name: str, role: str) -> dict[str, Any] | None:
    """Bring the folder to what the ledger says: the pending file gets its name, or goes where the ledger has it not.

    Returns the facts of the last signature where that is the one of `role` and was unfinished here.
    """
    pending, target = folder.path / PENDING, folder.path / SIGNED_REPORT
    signed = signatures_of(kept.entries(), name)
    finished = None
    if pending.exists():
        if signed and sha256_file(pending) == signed[-1].objects[REPORT]:
            pending.replace(target)
            finished = _facts(folder, signed[-1]) if signed[-1].role == role else None
        else:
            pending.unlink()
    if signed:
        export(kept, folder.ledger)
    return finished


def _facts(folder: RunFolder, entry: Entry) -> dict[str, Any]:
    return {
        "run": entry.objects[RUN],
        "report": str(folder.path / SIGNED_REPORT),
        "sha256": entry.objects[REPORT],
        "role": entry.role,
        "name": entry.objects[NAME],
        "certificate": entry.objects[CERTIFICATE],
        "meaning": entry.reason,
        "utc": entry.utc,
        "ledger_entry": entry.seq,
    }


def _require_report(folder: RunFolder) -> None:
    if not folder.pdf.exists():
        raise InputError(f"{folder.path} has no report to sign.", hint=f"First: evalsuite score {folder.path}")


def _require_turn(found: Sequence[Entry], name: str, role: str, order: tuple[str, ...]) -> None:
    """InputError unless everybody before `role` has signed and nobody from there on."""
    done = [e.role for e in signatures_of(found, name)]
    if role in done:
        raise InputError(f"The run {name} is signed by its {role} already.", hint="A signature is not taken back.")
    due = order[len(done)] if len(done) < len(order) else None
    if role != due:
        raise InputError(
            f"The run {name} is not signed by its {due} yet, who signs before the {role}.",
            hint=f"Order: {', then '.join(order)}.",
        )


def _require_apart(
    found: Sequence[Entry], name: str, who: Who, identity: Identity, protocol: StudyProtocol, record: dict[str, Any]
) -> None:
    """InputError where this signature would break the separation of duties; see `roles`."""
    for entry in signatures_of(found, name):
        if entry.objects[CERTIFICATE] == identity.fingerprint or entry.actor == who.actor:
            raise InputError(
                f"{identity.name} has signed this run as {entry.role} already.",
                hint="Each role signs with its own person.",
            )
    frozen = record["protocol"]["frozen"]
    about = roles.concerning(found, name, None if frozen is None else frozen["ledger_seq"])
    last = found[-1]
    mine = replace(last, seq=last.seq + 1, actor=who.actor, role=who.role, action="signed", objects={RUN: name})
    before = roles.violations(protocol.roles, about)
    new = [v for v in roles.violations(protocol.roles, [*about, mine]) if _bare(v) not in {_bare(b) for b in before}]
    if new:
        raise InputError(f"Separation of duties: {'; '.join(new)}.", hint="Another person has to sign in this role.")


def _bare(violation: str) -> str:
    """A violation without the numbers of the entries that show it."""
    return re.sub(r"\d+(-\d+)?(,\d+(-\d+)?)*", "", violation).replace("entries", "entry")


def _base(folder: RunFolder, signed: tuple[Entry, ...]) -> bytes:
    """The bytes the next signature is added to. IntegrityError where they are not those the ledger knows."""
    if not signed:
        return folder.pdf.read_bytes()
    try:
        data = (folder.path / SIGNED_REPORT).read_bytes()
    except OSError as error:
        raise IntegrityError(
            f"{SIGNED_REPORT} cannot be read ({error.strerror}).", hint="Restore it from a copy."
        ) from error
    if sha256_bytes(data) != signed[-1].objects[REPORT]:
        raise IntegrityError(
            f"{SIGNED_REPORT} is not the file of ledger entry {signed[-1].seq}.", hint="Restore it from a copy."
        )
    return data


def _require_good(signed: bytes, identity: Identity, tsa_roots: Sequence[Certificate]) -> str | None:
    """Read back what was made before anybody relies on it; the time an authority attests."""
    from evalsuite.report.pdf_signatures import read_signatures

    last = read_signatures(signed, tsa_roots=tsa_roots)[-1]
    if last.certificate != identity.fingerprint:
        raise IntegrityError("The signature that was made is not by the certificate that was given.")
    if last.stamp_trusted is False:
        raise InputError("The timestamp is not by the authority given with --tsa-cert.", hint="Check both.")
    return last.stamped_utc


def _second(utc: str) -> str:
    """The time to the second, as the stamp shows it."""
    return utc.partition(".")[0].removesuffix("Z") + "Z"


__all__ = ["CERTIFICATE", "NAME", "PENDING", "REPORT", "sign_run", "signatures_of"]
