"""Freeze a study: bind protocol, test set and model to each other before anyone sees a result."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import IntegrityError, OutputError
from evalsuite.protocol.load import dump_protocol, parse_protocol, protocol_digest
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.canonical import canonical_json, read_json
from evalsuite.record.digest import digest_json, sha256_bytes, sha256_file
from evalsuite.record.envelope import declaration, envelope_path, sign
from evalsuite.record.files import atomic_write
from evalsuite.record.signing import Signer
from evalsuite.record.timestamp import Timestamp, check_timestamp, request_timestamp, timestamp_path
from evalsuite.record.trust import NO_TRUST, Check, CheckStatus, Expected, Trust, check_file_signature

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

FROZEN_SCHEMA = "evalsuite/frozen/1"
PROTOCOL_FILE = "protocol.yaml"
FREEZE_FILE = "freeze.json"
ENVELOPE_FILE = envelope_path(Path(FREEZE_FILE)).name
TIMESTAMP_FILE = timestamp_path(Path(FREEZE_FILE)).name

_OF_A_FREEZE = (PROTOCOL_FILE, FREEZE_FILE, ENVELOPE_FILE, TIMESTAMP_FILE)
_HALF_WRITTEN = re.compile(r"\.(protocol\.yaml|freeze\..*)\.\d+\.tmp")

_FIELDS = (
    "schema",
    "protocol",
    "testset",
    "model",
    "utc",
    "software",
    "signature",
    "digest",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """What was frozen together, and when. All digests are SHA-256 in hex; `digest` is over all the others."""

    protocol: StudyProtocol
    protocol_digest: str
    testset_root: str
    set_id: str
    set_version: str
    model_digest: str
    contract_digest: str | None
    baseline_digest: str | None
    utc: str
    software: str
    digest: str
    keyid: str | None = None
    timestamped_utc: str | None = None
    timestamp_sha256: str | None = None


def freeze(
    protocol: StudyProtocol,
    *,
    out: Path,
    utc: str,
    testset_root: str,
    model_digest: str,
    set_id: str = "",
    set_version: str = "",
    contract_digest: str | None = None,
    baseline_digest: str | None = None,
    protocol_path: Path | None = None,
    signer: Signer | None = None,
    tsa: str | None = None,
    tsa_roots: Sequence[Certificate] = (),
    entered: Collection[str] | None = None,
) -> Frozen:
    """Write the folder `out` with the normalised protocol and freeze.json, which binds it to test set and model.

    Parameters
    ----------
    out
        A folder that does not exist yet, or is empty; what was frozen is never overwritten.
    utc
        Time of freezing, ISO 8601 in UTC.
    contract_digest
        None for recorded predictions, which have no contract.
    baseline_digest
        Digest of the model it is compared with, where that is bound too.
    protocol_path
        The file the protocol was loaded from; its digest as written, comments included, is recorded beside the
        normalised one. None, or a name that is no file, where there is none.
    signer
        Signs freeze.json (freeze.dsse.json); None leaves it unsigned.
    tsa, tsa_roots
        Address of an RFC 3161 timestamp authority, asked to timestamp freeze.json (freeze.tsr), and the certificates
        its answer is checked with. Without an address nothing is asked, and the time is that of the local clock.
    entered
        Digests of the freezes that the test set's ledger has. What an interrupted freeze of the same protocol and test
        set left in `out` is then written anew, as long as it is not among them.

    Raises
    ------
    InputError
        If the authority gives no timestamp; nothing is frozen then.
    OutputError
        If the folder holds anything, or cannot be written.
    """
    text = dump_protocol(protocol).encode()
    content: dict[str, Any] = {
        "schema": FROZEN_SCHEMA,
        "protocol": {
            "id": protocol.id,
            "version": protocol.version,
            "digest": protocol_digest(protocol),
            "file_sha256": sha256_bytes(text),
            "source_sha256": sha256_file(protocol_path)
            if protocol_path is not None and protocol_path.is_file()
            else None,
        },
        "testset": {"root": testset_root, "set_id": set_id, "version": set_version},
        "model": {"digest": model_digest, "contract_digest": contract_digest},
        **({} if baseline_digest is None else {"baseline": {"digest": baseline_digest}}),
        "utc": utc,
        "software": {"evalsuite": importlib.metadata.version("evalsuite")},
        "signature": declaration(out / FREEZE_FILE, signer),
        **({} if tsa is None else {"timestamp": {"file": TIMESTAMP_FILE}}),
    }
    content["digest"] = digest_json(content)
    data = canonical_json(content) + b"\n"
    if entered is not None:
        _clear_unfinished(out, text, testset_root, entered)
    _make_folder(out)
    stamp = None if tsa is None else request_timestamp(data, tsa, roots=tsa_roots)
    atomic_write(out / PROTOCOL_FILE, text)
    if signer is not None:
        atomic_write(out / ENVELOPE_FILE, sign(FREEZE_FILE, sha256_bytes(data), {"utc": utc}, signer))
    if stamp is not None:
        atomic_write(out / TIMESTAMP_FILE, stamp.response)
    # Last, so that an interrupted freeze leaves a folder that does not load, not one that looks frozen.
    atomic_write(out / FREEZE_FILE, data)
    return _frozen(protocol, content, stamp)


def load_frozen(path: Path) -> Frozen:
    """Open a folder written by `freeze` and verify every digest in it, its signature and what its timestamp is of.

    By whom it was signed, and whether an authority the reader trusts made the timestamp, is for
    `check_freeze_signature` and `check_freeze_timestamp`.

    Raises
    ------
    IntegrityError
        If a file is missing, does not parse, or is not what was frozen; names the file.
    """
    content = _read(path / FREEZE_FILE)
    recorded = content["digest"]
    if digest_json({k: v for k, v in content.items() if k != "digest"}) != recorded:
        raise IntegrityError(f"{path / FREEZE_FILE} differs from what was frozen.", hint=_HINT)
    protocol_file = path / PROTOCOL_FILE
    try:
        data = protocol_file.read_bytes()
    except OSError as error:
        raise IntegrityError(f"{protocol_file} cannot be read: {error.strerror}.", hint=_HINT) from error
    found = sha256_bytes(data)
    expected = content["protocol"]["file_sha256"]
    if found != expected:
        raise IntegrityError(
            f"{protocol_file} differs from what was frozen.",
            hint=f"frozen sha256 {expected}, found sha256 {found}. {_HINT}",
        )
    protocol = parse_protocol(data, str(protocol_file))
    if protocol_digest(protocol) != content["protocol"]["digest"]:
        raise IntegrityError(
            f"{protocol_file} means something else to this version of evalsuite than when it was frozen.",
            hint=f"It was frozen by evalsuite {content['software'].get('evalsuite')}; use that version.",
        )
    for check in (check_freeze_signature(path / FREEZE_FILE), check_freeze_timestamp(path / FREEZE_FILE)):
        if check.status == "broken":
            raise IntegrityError(f"{path / FREEZE_FILE}: {check.detail}.", hint=_HINT)
    stamp = path / TIMESTAMP_FILE
    timestamp = check_timestamp(stamp.read_bytes(), (path / FREEZE_FILE).read_bytes()) if stamp.exists() else None
    return _frozen(protocol, content, timestamp)


def check_freeze_signature(
    file: Path, *, trust: Trust = NO_TRUST, expected: Expected | None = None, required: bool = True
) -> Check:
    """Whether a freeze.json is signed, by whom, and whether that is the expected or a trusted key."""
    try:
        declared = _read(file).get("signature")
    except IntegrityError as e:
        return Check(name="freeze signature", status="broken", detail=e.message)
    return check_file_signature("freeze signature", file, declared, trust=trust, expected=expected, required=required)


def check_freeze_timestamp(file: Path, *, roots: Sequence[Certificate] = ()) -> Check:
    """Whether a freeze.json has the timestamp it speaks of, and with `roots` whether their authority made it."""
    name, path = "timestamp", file.with_name(TIMESTAMP_FILE)
    try:
        declared = _read(file).get("timestamp")
        if declared is None:
            unasked = f"; {path.name} lies beside it, though none was asked for" if path.exists() else ""
            status: CheckStatus = "broken" if unasked else "absent"
            return Check(name=name, status=status, detail=f"none: the time is that of the local clock{unasked}")
        stamp = check_timestamp(path.read_bytes(), file.read_bytes(), roots=roots)
    except IntegrityError as e:
        return Check(name=name, status="broken", detail=e.message)
    except OSError as e:
        return Check(name=name, status="broken", detail=f"{path.name} cannot be read ({e.strerror})")
    if not roots:
        said = "which authority made it was not checked: --tsa-cert CERTIFICATE"
        return Check(name=name, status="holds", detail=f"{stamp.utc}, of this freeze.json; {said}")
    return Check(name=name, status="holds", detail=f"{stamp.utc}, by an authority under the given certificates")


_HINT = "Restore the folder from where it was kept, or freeze anew before unblinding: evalsuite freeze PROTOCOL …"


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise IntegrityError(f"{path.parent} is not a frozen study: {path.name} is missing.", hint=_HINT)
    content = read_json(path, error=IntegrityError)
    if not isinstance(content, dict) or content.get("schema") != FROZEN_SCHEMA:
        raise IntegrityError(f"{path} is not a file of {FROZEN_SCHEMA}.", hint=_HINT)
    shape = {"protocol": ("digest", "file_sha256"), "testset": ("root", "set_id", "version"), "model": ("digest",)}
    missing = [name for name in _FIELDS if name not in content]
    missing += [f"{k}.{n}" for k, names in shape.items() for n in names if n not in _mapping(content.get(k))]
    if missing:
        raise IntegrityError(f"{path} lacks {', '.join(missing)}.", hint=_HINT)
    return content


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _frozen(protocol: StudyProtocol, content: Mapping[str, Any], stamp: Timestamp | None) -> Frozen:
    return Frozen(
        protocol=protocol,
        protocol_digest=content["protocol"]["digest"],
        testset_root=content["testset"]["root"],
        set_id=content["testset"]["set_id"],
        set_version=content["testset"]["version"],
        model_digest=content["model"]["digest"],
        contract_digest=content["model"].get("contract_digest"),
        baseline_digest=_mapping(content.get("baseline")).get("digest"),
        utc=content["utc"],
        software=_mapping(content["software"]).get("evalsuite", ""),
        digest=content["digest"],
        keyid=_mapping(content["signature"]).get("keyid"),
        timestamped_utc=None if stamp is None else stamp.utc,
        timestamp_sha256=None if stamp is None else sha256_bytes(stamp.response),
    )


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        taken = any(out.iterdir())
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}.", hint="Choose another --out.") from error
    if taken:
        what = "holds a frozen protocol already" if (out / FREEZE_FILE).exists() else "is not empty"
        raise OutputError(f"{out} {what}.", hint="What was frozen is never overwritten; choose another --out.")


def _clear_unfinished(out: Path, text: bytes, testset_root: str, entered: Collection[str]) -> None:
    """Remove what a freeze of this protocol and set left that was cut off before the ledger had it; else nothing."""
    try:
        found = list(out.iterdir()) if out.is_dir() else []
        ours = all(p.name in _OF_A_FREEZE or _HALF_WRITTEN.fullmatch(p.name) for p in found)
        same = not (out / PROTOCOL_FILE).exists() or (out / PROTOCOL_FILE).read_bytes() == text
        if not (found and ours and same):
            return
        if (out / FREEZE_FILE).exists():
            content = _read(out / FREEZE_FILE)
            if content["testset"].get("root") != testset_root or content["digest"] in entered:
                return
        for path in found:
            path.unlink()
    except (OSError, IntegrityError):
        return  # what it is cannot be said: it stays, and the folder is refused
