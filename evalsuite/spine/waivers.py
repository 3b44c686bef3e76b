"""A waiver: the custodian's signed permission to use cases more often than the policy allows, with the reason why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evalsuite.errors import InputError, IntegrityError, Problem
from evalsuite.record.digest import sha256_bytes
from evalsuite.record.envelope import envelope_path, open_envelope, sign
from evalsuite.record.files import atomic_write
from evalsuite.record.ledger import Entry
from evalsuite.record.signing import Signer

WAIVER_SCHEMA = "evalsuite/waiver/1"
#: Object under which a ledger entry names the waiver a run rests on.
WAIVER = "waiver"
_MAKE = "evalsuite waive SET --reason WHY --runs 1 --key CUSTODIAN.key --out waiver.yaml"


class _Form(BaseModel):
    """What the file says; `runs` or `until` limits it, or both do."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    schema_: str = Field(alias="schema")
    testset: str
    reason: str = Field(min_length=10)
    who: str = Field(min_length=1)
    role: str = Field(min_length=1)
    runs: int | None = Field(default=None, ge=1)
    until: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A waiver whose signature holds. `digest` is the file's SHA-256, `keyid` the key that signed it."""

    digest: str
    keyid: str
    reason: str
    who: str
    role: str
    runs: int | None
    until: str | None

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("digest", "keyid", "reason", "who", "role", "runs", "until")}

    def require_unspent(self, entries: Sequence[Entry], today: str) -> None:
        """InputError where it allows no further run: used up, according to the ledger, or expired (`today`, UTC)."""
        used = sum(e.action == "run_started" and e.objects.get(WAIVER) == self.digest for e in entries)
        if self.runs is not None and used >= self.runs:
            raise InputError(f"The waiver is used up: it allows {self.runs}, and {used} started on it.", hint=_MAKE)
        if self.until is not None and today > self.until:
            raise InputError(f"The waiver ended on {self.until}.", hint=_MAKE)


def write_waiver(
    path: Path,
    *,
    testset: str,
    reason: str,
    who: str,
    role: str,
    runs: int | None,
    until: str | None,
    signer: Signer,
    utc: str,
) -> Waiver:
    """Write the waiver and its signature beside it.

    Raises InputError where it says too little or there is one already, OutputError where it cannot be written.
    """
    content = {"schema": WAIVER_SCHEMA, "testset": testset, "reason": reason, "who": who, "role": role}
    content |= {k: v for k, v in (("runs", runs), ("until", until)) if v is not None}  # type: ignore[misc]
    data = yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()
    form = _parsed(data, path.name)
    if path.exists():
        raise InputError(f"{path} exists already.", hint="Choose another --out.")
    atomic_write(path, data)
    atomic_write(envelope_path(path), sign(path.name, sha256_bytes(data), {"utc": utc}, signer))
    return _waiver(form, sha256_bytes(data), signer.keyid)


def open_waiver(path: Path, lock: Mapping[str, Any]) -> Waiver:
    """Read a waiver for the set with this lock, and check its signature.

    Raises
    ------
    InputError
        If it cannot be read, says too little, is for another set, or is unsigned; if the lock is unsigned, so that no
        key is known to be the custodian's.
    IntegrityError
        If its signature does not hold, or is not by the key that signed the lock.
    """
    try:
        data = path.read_bytes()
    except OSError as e:
        raise InputError(f"The waiver {path} cannot be read ({e.strerror}).", hint=_MAKE) from e
    form = _parsed(data, path.name)
    if form.testset != lock["root"]:
        raise InputError(f"The waiver {path.name} is for another test set.", hint=_MAKE)
    envelope = envelope_path(path)
    if not envelope.exists():
        raise InputError(f"The waiver {path.name} is not signed ({envelope.name} is missing): refused.", hint=_MAKE)
    signature = lock.get("signature")
    if not isinstance(signature, Mapping):
        raise InputError(
            "The lock of this test set is unsigned, so nobody is known as its custodian: a waiver is refused.",
            hint="Lock the set with --key; the same key then signs waivers.",
        )
    statement = open_envelope(envelope.read_bytes(), envelope.name)
    if statement.sha256 != sha256_bytes(data):
        raise IntegrityError(f"{path.name} was changed after it was signed.", hint="Ask the custodian for it again.")
    if statement.key.keyid != signature.get("keyid"):
        raise IntegrityError(
            f"{path.name} is signed by key {statement.key.keyid}, and the lock by key {signature.get('keyid')}.",
            hint="A waiver is signed by the custodian, with the key that signed the lock.",
        )
    return _waiver(form, statement.sha256, statement.key.keyid)


def _waiver(form: _Form, digest: str, keyid: str) -> Waiver:
    return Waiver(
        digest=digest,
        keyid=keyid,
        reason=form.reason,
        who=form.who,
        role=form.role,
        runs=form.runs,
        until=None if form.until is None else form.until.isoformat(),
    )


def _parsed(data: bytes, name: str) -> _Form:
    problems: list[Problem] = []
    try:
        form = _Form.model_validate(yaml.safe_load(data))
    except yaml.YAMLError as e:
        raise InputError(f"{name} is not a YAML file.", hint=_MAKE) from e
    except ValidationError as e:
        problems = [Problem(f["msg"], ".".join(map(str, f["loc"]))) for f in e.errors()]
    else:
        if form.schema_ != WAIVER_SCHEMA:
            problems.append(Problem(f"is not {WAIVER_SCHEMA}", "schema"))
        if form.runs is None and form.until is None:
            problems.append(Problem("neither a number of runs nor a last day is given", "runs, until"))
        if not problems:
            return form
    raise InputError(f"{name} is not a waiver.", problems=problems, hint=_MAKE)
