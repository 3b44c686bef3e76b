"""The ledger: who did what, when and why, in lines that are chained so that none can be changed or taken out unseen."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from evalsuite.errors import LedgerError
from evalsuite.record.canonical import canonical_json
from evalsuite.record.digest import digest_json, sha256_bytes
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What an entry is to say, before it has a place in the chain."""

    action: str
    actor: str
    role: str
    utc: str
    reason: str
    objects: Mapping[str, str]

    def __post_init__(self) -> None:
        if not self.action or not self.utc:
            raise ValueError("a ledger entry needs an action and a time")


#: Reads the chain as it stands and says what to add; None adds nothing, an exception refuses.
Decide = Callable[[tuple[Entry, ...]], "Draft | None"]
#: Called with the chain, the new entry included, while nobody else can add to it.
OnEntry = Callable[[tuple[Entry, ...]], None]


def append(
    path: Path,
    *,
    action: str,
    actor: str,
    role: str,
    utc: str,
    reason: str,
    objects: Mapping[str, str],
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
    draft = Draft(action=action, actor=actor, role=role, utc=utc, reason=reason, objects=objects)
    return append_decided(path, lambda _: draft)[-1]


def append_decided(path: Path, decide: Decide, *, on_entry: OnEntry | None = None) -> tuple[Entry, ...]:
    """Add the entry that `decide` wants after it has seen the whole chain; otherwise as `append`.

    Nobody can add between what `decide` read and what is written: of two callers who both find one use left, one gets
    it. `on_entry` is called while the ledger is still locked, so that heads are signed in their order. Returns the
    chain, the new entry (where there is one) last.

    A process that comes back to the ledger it wrote last hashes it, and parses it only where the bytes are others.
    """
    global _written
    with _locked(Path(path)) as descriptor:
        entries, hasher = _chain(descriptor, Path(path).name)
        draft = decide(entries)
        if draft is None:
            return entries
        entries = (*entries, _add(descriptor, Path(path), head_of(entries), draft))
        hasher.update(line_of(entries[-1]))
        _written = (hasher.digest(), entries)
        if on_entry is not None:
            on_entry(entries)
    return entries


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The ledger, open for appending, which nobody else may read or write meanwhile."""
    with writing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        with writing(path):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _add(descriptor: int, path: Path, last: LedgerHead, draft: Draft) -> Entry:
    entry = next_entry(last, draft)
    with writing(path):
        _write_or_take_back(descriptor, line_of(entry), os.fstat(descriptor).st_size)
        if last.count == 0:
            sync_folder(path.parent)
    return entry


def next_entry(head: LedgerHead, draft: Draft) -> Entry:
    """The entry that follows `head` in the chain."""
    body: dict[str, Any] = {
        "seq": head.count + 1,
        "utc": draft.utc,
        "actor": draft.actor,
        "role": draft.role,
        "action": draft.action,
        "reason": draft.reason,
        "objects": dict(draft.objects),
        "prev": head.digest,
    }
    return Entry(**body, digest=digest_json(body))


def line_of(entry: Entry) -> bytes:
    """The bytes of an entry in a ledger file: canonical JSON and a line end."""
    return canonical_json({name: getattr(entry, name) for name in (*_TEXTS, "seq", "objects")}) + b"\n"


# The ledger this process wrote last: SHA-256 of its bytes, and its entries. One, so that memory does not grow.
_written: tuple[bytes, tuple[Entry, ...]] | None = None


def _chain(descriptor: int, name: str) -> tuple[tuple[Entry, ...], hashlib._Hash]:
    """Entries of the ledger that is open and locked, its chain verified, and the running hash of its bytes."""
    with open(descriptor, "rb", closefd=False) as file:
        if _written is not None:
            hasher = hashlib.file_digest(file, "sha256")
            if hasher.digest() == _written[0]:
                return _written[1], hasher
            file.seek(0)
        hasher = hashlib.sha256()
        return tuple(_entry(line) for line, _ in _verified(_hashing(file, hasher), name)), hasher


def _hashing(lines: Iterable[bytes], hasher: hashlib._Hash) -> Iterator[bytes]:
    for line in lines:
        hasher.update(line)
        yield line


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
    with _opened(path) as file:
        return tuple(_entry(line) for line, _ in _verified(file, Path(path).name))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with open(path, "rb") as file:
            with contextlib.suppress(OSError):  # a file system without locks: read as it is
                fcntl.flock(file, fcntl.LOCK_SH)  # not in the middle of somebody's append
            yield file
    except FileNotFoundError as e:
        raise LedgerError(f"{path} is missing", hint="Restore the ledger from a backup.") from e
    except OSError as e:
        raise LedgerError(f"{path} cannot be read ({e.strerror})") from e


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
    return tuple(_entry(line) for line, _ in _verified(io.BytesIO(data), name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What a verified ledger comes to, without its entries in memory: its head, and those that were asked for.

    `at` is the entry of the asked number, `last_with` the last one whose objects name the asked object; None where
    there is none.
    """

    head: LedgerHead
    at: Entry | None
    last_with: Entry | None


def outline(path: Path, *, at: int, having: str) -> Outline:
    """Verify the chain of a ledger of any length, line by line. Raises `LedgerError` as `read` does."""
    count, digest, line_at, last_line = 0, FIRST_PREV, b"", b""
    named = b'"%b":"' % having.encode()  # inside a text every quotation mark is escaped: this is the object's name
    with _opened(path) as file:
        for verified in _verified(file, Path(path).name):
            line, digest = verified
            count += 1
            if count == at:
                line_at = line
            if named in line:
                last_line = line
    return Outline(
        head=LedgerHead(count=count, digest=digest),
        at=_entry(line_at) if line_at else None,
        last_with=_entry(last_line) if last_line else None,
    )


def outline_of(entries: Sequence[Entry], *, at: int, having: str) -> Outline:
    """The same of entries that are in memory and verified."""
    return Outline(
        head=head_of(tuple(entries)),
        at=entries[at - 1] if 1 <= at <= len(entries) else None,
        last_with=next((e for e in reversed(entries) if having in e.objects), None),
    )


# An entry as `append` writes it. Lines with an escaped character do not match, and are read in full instead.
_TEXT = rb'"([^"\\\x00-\x1f]*)"'
_PAIR = rb'"[^"\\\x00-\x1f]*":"[^"\\\x00-\x1f]*"'
_LINE = re.compile(
    rb'\{"action":' + _TEXT + rb',"actor":' + _TEXT + rb',"digest":"([0-9a-f]{64})","objects":'
    rb'(\{(?:' + _PAIR + rb'(?:,' + _PAIR + rb')*)?\}),"prev":' + _TEXT + rb',"reason":' + _TEXT + rb',"role":'
    + _TEXT + rb',"seq":(0|[1-9][0-9]{0,15}),"utc":' + _TEXT + rb"\}"
)  # fmt: skip


def _verified(lines: Iterable[bytes], name: str) -> Iterator[tuple[bytes, str]]:
    """Every line without its end, and its digest, after checking number, link, digest and form."""
    prev = FIRST_PREV.encode()
    for number, ended in enumerate(lines, start=1):
        if not ended.endswith(b"\n"):
            raise _broken(name, number, "is cut off before its end")
        line = ended[:-1]
        match = _LINE.fullmatch(line)
        if match is None or not _plain(line, match):
            _require_form(line, name, number)
            fields = json.loads(line)
            seq, found_prev, digest = fields["seq"], fields["prev"].encode(), fields["digest"].encode()
            start = line.index(b'"digest":"')  # inside a text every quotation mark is escaped: this is the field
        else:
            digest, found_prev, seq = match[3], match[5], int(match[8])
            start = match.start(3) - len(b'"digest":"')
        body = line[:start] + line[start + len(b'"digest":"') + len(digest) + len(b'",') :]
        if sha256_bytes(body).encode() != digest:
            raise _broken(name, number, "was changed: its digest does not match")
        if seq != number:
            raise _broken(name, number, f"carries number {seq}")
        if found_prev != prev:
            raise _broken(name, number, "does not follow from the line before")
        prev = digest
        yield line, digest.decode()


def _plain(line: bytes, match: re.Match[bytes]) -> bool:
    """Whether a matching line is canonical: object names in order and once, valid UTF-8."""
    names = [pair.partition(b'":"')[0] for pair in match[4][2:-2].split(b'","')]
    if len(names) > 1 and names != sorted(set(names)):
        return False
    if line.isascii():
        return True
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _require_form(line: bytes, name: str, number: int) -> None:
    """LedgerError where a line is not an entry in canonical JSON."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as e:
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
    try:
        canonical = canonical_json(fields) == line
    except ValueError:
        canonical = False
    if not canonical:
        raise _broken(name, number, "was changed: it is not in the form it was written in")


def _entry(line: bytes) -> Entry:
    return Entry(**json.loads(line))


def _broken(name: str, number: int, what: str) -> LedgerError:
    return LedgerError(
        f"{name}: line {number} {what}", hint="The ledger was altered or damaged: restore it from a backup."
    )
