"""The ledger: who did what, when and why, in lines that are chained so that none can be changed or taken out unseen."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite.errors import EvalsuiteError, LedgerError
from evalsuite.record.canonical import canonical_json, parse_json
from evalsuite.record.digest import digest_json
from evalsuite.record.files import sync_folder, writing

FIRST_PREV = "0" * 64
_HEX64 = re.compile(r"[0-9a-f]{64}")
_TEXTS = ("utc", "actor", "role", "action", "reason", "prev", "digest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line. `objects` maps what was touched to its digest (no patient data); `prev` is the last line's digest."""

    seq: int
    utc: str
    actor: str
    role: str
    action: str
    reason: str
    objects: Mapping[str, str]
    prev: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerHead:
    """How many entries there are, and the digest of the last (64 zeros when there is none)."""

    count: int
    digest: str


def append(
    path: Path, *, action: str, actor: str, role: str, utc: str, reason: str, objects: Mapping[str, str]
) -> Entry:
    """Add an entry, after checking the whole chain, under an exclusive lock; on disk (fsync) before it returns.

    Raises
    ------
    LedgerError
        If the existing chain does not hold; nothing is written then.
    OutputError
        If the ledger cannot be written; a half-written line is taken back.
    ValueError
        If `action` or `utc` is empty.
    """
    if not action or not utc:
        raise ValueError("a ledger entry needs an action and a time")
    path = Path(path)
    with writing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        with writing(path):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
        entries = parse(_read_descriptor(descriptor, size), path.name)
        body: dict[str, Any] = {
            "seq": len(entries) + 1,
            "utc": utc,
            "actor": actor,
            "role": role,
            "action": action,
            "reason": reason,
            "objects": dict(objects),
            "prev": entries[-1].digest if entries else FIRST_PREV,
        }
        entry = Entry(**body, digest=digest_json(body))
        line = canonical_json({**body, "digest": entry.digest}) + b"\n"
        with writing(path):
            _write_or_take_back(descriptor, line, size)
            if not entries:
                sync_folder(path.parent)
    finally:
        os.close(descriptor)
    return entry


def _read_descriptor(descriptor: int, size: int) -> bytes:
    parts = []
    offset = 0
    while offset < size and (part := os.pread(descriptor, size - offset, offset)):
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


def _write_or_take_back(descriptor: int, line: bytes, size: int) -> None:
    try:
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, size)
        raise


def read(path: Path) -> tuple[Entry, ...]:
    """All entries, the chain verified: numbering, link to the line before, digest, and the exact bytes of every line.

    A ledger that was cut off after a whole line looks intact here; compare with a head recorded elsewhere
    (`holds_head`).

    Raises
    ------
    LedgerError
        If the file is absent or unreadable, or a line is malformed or does not fit; the message names the line.
    """
    try:
        with open(path, "rb") as file:
            with contextlib.suppress(OSError):  # a file system without locks: read as it is
                fcntl.flock(file, fcntl.LOCK_SH)  # not in the middle of somebody's append
            data = file.read()
    except FileNotFoundError as e:
        raise LedgerError(f"{path} is missing", hint="Restore the ledger from a backup.") from e
    except OSError as e:
        raise LedgerError(f"{path} cannot be read ({e.strerror})") from e
    return parse(data, Path(path).name)


def head(path: Path) -> LedgerHead:
    """Count and last digest of the verified ledger. Raises `LedgerError` as `read` does."""
    return head_of(read(path))


def head_of(entries: tuple[Entry, ...]) -> LedgerHead:
    """Count and last digest of `entries`."""
    return LedgerHead(count=len(entries), digest=entries[-1].digest if entries else FIRST_PREV)


def holds_head(entries: tuple[Entry, ...], recorded: LedgerHead) -> bool:
    """Whether `entries` still begin with everything up to `recorded`; later entries are allowed."""
    if not 0 <= recorded.count <= len(entries):
        return False
    return head_of(entries[: recorded.count]).digest == recorded.digest


def parse(data: bytes, name: str) -> tuple[Entry, ...]:
    """Entries from the bytes of a ledger, the chain verified; see `read`."""
    if not data:
        return ()
    *lines, rest = data.split(b"\n")
    if rest:
        raise _broken(name, len(lines) + 1, "is cut off before its end")
    entries: list[Entry] = []
    prev = FIRST_PREV
    for number, line in enumerate(lines, start=1):
        entry = _parse_line(line, name, number)
        if entry.seq != number:
            raise _broken(name, number, f"carries number {entry.seq}")
        if entry.prev != prev:
            raise _broken(name, number, "does not follow from the line before")
        prev = entry.digest
        entries.append(entry)
    return tuple(entries)


def _parse_line(line: bytes, name: str, number: int) -> Entry:
    try:
        fields = parse_json(line, name, error=LedgerError)
    except EvalsuiteError as e:
        raise _broken(name, number, "is not valid JSON") from e
    objects = fields.get("objects") if isinstance(fields, dict) else None
    if (
        not isinstance(objects, dict)
        or set(fields) != {*_TEXTS, "seq", "objects"}
        or type(fields["seq"]) is not int
        or not all(isinstance(fields[k], str) for k in _TEXTS)
        or not all(isinstance(v, str) for v in objects.values())
        or not _HEX64.fullmatch(fields["digest"])
    ):
        raise _broken(name, number, "does not have the fields of a ledger entry")
    body = {k: v for k, v in fields.items() if k != "digest"}
    try:
        intact = digest_json(body) == fields["digest"] and canonical_json(fields) == line
    except ValueError:
        intact = False
    if not intact:
        raise _broken(name, number, "was changed: its digest does not match")
    return Entry(**fields)


def _broken(name: str, number: int, what: str) -> LedgerError:
    return LedgerError(
        f"{name}: line {number} {what}", hint="The ledger was altered or damaged: restore it from a backup."
    )
