"""Where a test set's ledger is kept: a file in its folder, or a database that a team shares; used in the same way."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from evalsuite.errors import InputError, LedgerError
from evalsuite.record.canonical import read_json, write_json
from evalsuite.record.envelope import envelope_path
from evalsuite.record.files import atomic_write
from evalsuite.record.ledger import Decide, Entry, line_of
from evalsuite.record.signed_head import check_head
from evalsuite.record.trust import NO_TRUST, Check, Trust

if TYPE_CHECKING:
    from evalsuite.record.signing import Signer
    from evalsuite.record.store_index import Index

LEDGER_NAME = "ledger.jsonl"
STATE_NAME = "state.sqlite"
#: Written beside the lock where the ledger is kept in a database: says in which.
STORE_NAME = "store.json"
STORE_SCHEMA = "evalsuite/store/1"
#: Every name a store may leave in a test set's folder; SQLite keeps the others while it is writing.
STORE_NAMES = (LEDGER_NAME, STORE_NAME, STATE_NAME, *(f"{STATE_NAME}{end}" for end in ("-wal", "-shm", "-journal")))


class LedgerStore(Protocol):
    """A ledger and its index. Entries are verified whenever they are read."""

    @property
    def place(self) -> str:
        """What messages call it; no password."""

    def entries(self) -> tuple[Entry, ...]:
        """The chain. LedgerError if it is absent or does not hold."""

    def append(self, decide: Decide, *, signer: Signer | None = None) -> tuple[Entry, ...]:
        """Add what `decide` wants to the chain it is shown; returns the chain. On disk before this returns.

        Nobody adds anything in between. With `signer` the entry names the key, and the head up to it is signed.
        """

    def signed_head(self) -> bytes | None:
        """The envelope of the last head that was signed; None where none was."""

    def index(self) -> Index:
        """States of the runs and uses of the cases, derived from the verified chain."""


def open_store(folder: Path, *, testset: str, n_cases: int, url: str | None = None) -> LedgerStore:
    """The ledger of the test set in `folder`.

    Parameters
    ----------
    testset
        Root of the lock: in a shared database, the name of the chain.
    n_cases
        Cases in the lock, for the index.
    url
        Database to use; by default the one that STORE_NAME names, else the file in `folder`.

    Raises
    ------
    InputError
        If the set keeps its ledger in a file and a database is named, or the database cannot be used.
    """
    from evalsuite.record.store_file import FileStore

    recorded = recorded_url(folder)
    if url and recorded is None and (folder / LEDGER_NAME).exists():
        raise InputError(
            f"{folder} keeps its ledger in its own folder; a second one elsewhere would split its history.",
            hint="Leave out --store (and EVALSUITE_STORE), or lock the set with --store from the start.",
        )
    if url or recorded:
        return database(url or str(recorded), testset=testset, n_cases=n_cases)
    return FileStore(folder / LEDGER_NAME, testset=testset, n_cases=n_cases)


def database(url: str, *, testset: str, n_cases: int) -> LedgerStore:
    """The ledger `testset` in a shared database. InputError if it cannot be used."""
    from evalsuite.record.store_database import DatabaseStore

    return DatabaseStore(url, testset=testset, n_cases=n_cases)


def recorded_url(folder: Path) -> str | None:
    """The database in which the ledger of the set in `folder` is kept; None where it is a file."""
    path = folder / STORE_NAME
    if not path.exists():
        return None
    found = read_json(path, error=LedgerError)
    if not isinstance(found, dict) or found.get("schema") != STORE_SCHEMA or not isinstance(found.get("url"), str):
        raise LedgerError(f"{path} does not say where the ledger is kept", hint="Restore the file.")
    return str(found["url"])


def record_url(folder: Path, url: str) -> None:
    """Write where the ledger is kept, without a password. OutputError if it cannot be written."""
    from evalsuite.record.store_database import without_password

    write_json(folder / STORE_NAME, {"schema": STORE_SCHEMA, "url": without_password(url)})


def export(kept: LedgerStore, path: Path) -> tuple[Entry, ...]:
    """Write the chain as a ledger file, its signed head beside it: the same bytes wherever it is kept.

    Returns its entries. Raises LedgerError if the chain does not hold, OutputError if it cannot be written.
    """
    entries, head = _snapshot(kept)
    if head is not None:
        atomic_write(envelope_path(path), head)
    atomic_write(path, b"".join(line_of(entry) for entry in entries))
    return entries


def _snapshot(kept: LedgerStore) -> tuple[tuple[Entry, ...], bytes | None]:
    """Entries and the head signed over them, of one moment: read again where somebody has added in between."""
    head = kept.signed_head()
    while True:
        entries, after = kept.entries(), kept.signed_head()
        if head == after:
            return entries, head
        head = after


def check_signed_head(kept: LedgerStore, entries: tuple[Entry, ...], *, trust: Trust = NO_TRUST) -> Check:
    """Compare the verified entries of a ledger, wherever it is kept, with its signed head.

    Where they do not fit, both are read once more: somebody may have added an entry since `entries` were read.
    """
    found = _compared(kept.signed_head(), entries, trust)
    if found.status == "broken":
        entries, head = _snapshot(kept)
        found = _compared(head, entries, trust)
    return found


def _compared(head: bytes | None, entries: tuple[Entry, ...], trust: Trust) -> Check:
    with tempfile.TemporaryDirectory(prefix="evalsuite-") as folder:
        path = Path(folder) / LEDGER_NAME
        if head is not None:
            atomic_write(envelope_path(path), head)
        return check_head(path, entries, trust=trust)
