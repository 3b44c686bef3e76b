"""The ledger as a file in the test set's folder, with its index in SQLite beside it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from evalsuite.errors import LedgerError
from evalsuite.record import ledger
from evalsuite.record.envelope import envelope_path
from evalsuite.record.files import atomic_write
from evalsuite.record.ledger import Decide, Draft, Entry
from evalsuite.record.signed_head import named, sign_head
from evalsuite.record.store import STATE_NAME

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from evalsuite.record.signing import Signer
    from evalsuite.record.store_index import Index

T = TypeVar("T")

_LOG = logging.getLogger(__name__)


class FileStore:
    """JSON lines, chained, under a file lock; the index is written before the lock is given back.

    The file is the truth. An index that cannot be written (a read-only folder, a file system without SQLite's locks) is
    left as it is, logged, and derived again from the file when next asked for.
    """

    def __init__(self, path: Path, *, testset: str, n_cases: int) -> None:
        self._path = path
        self._testset = testset
        self._n_cases = n_cases

    @property
    def place(self) -> str:
        return str(self._path)

    def entries(self) -> tuple[Entry, ...]:
        return ledger.read(self._path)

    def append(self, decide: Decide, *, signer: Signer | None = None) -> tuple[Entry, ...]:
        def after(entries: tuple[Entry, ...]) -> None:
            if entries[-1].action == "run_started" or self._path.with_name(STATE_NAME).exists():
                self._advance(entries)  # before the first run there is nothing to find in it
            if signer is not None:
                atomic_write(envelope_path(self._path), sign_head(entries[-1], signer))

        def wanted(entries: tuple[Entry, ...]) -> Draft | None:
            draft = decide(entries)
            return None if draft is None else named(draft, signer)

        return ledger.append_decided(self._path, wanted, on_entry=after)

    def signed_head(self) -> bytes | None:
        try:
            return envelope_path(self._path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as e:
            raise LedgerError(f"{envelope_path(self._path)} cannot be read ({e.strerror})") from e

    def index(self) -> Index:
        from evalsuite.record.store_index import derive, heal_index

        entries = self.entries()
        healed = self._with_index(lambda c: heal_index(c, self._testset, entries, self._n_cases))
        return healed if healed is not None else derive(entries, self._n_cases)

    def _advance(self, entries: tuple[Entry, ...]) -> None:
        from evalsuite.record.store_index import advance_index

        self._with_index(lambda c: advance_index(c, self._testset, entries, self._n_cases))

    def _with_index(self, work: Callable[[Connection], T]) -> T | None:
        import sqlalchemy as sa

        from evalsuite.record.store_database import sqlite_engine
        from evalsuite.record.store_index import make_tables

        engine = sqlite_engine(self._path.with_name(STATE_NAME))
        try:
            with engine.begin() as connection:
                make_tables(connection)
                return work(connection)
        except sa.exc.SQLAlchemyError as e:
            _LOG.warning("%s cannot be written (%s); the ledger itself is not affected", STATE_NAME, type(e).__name__)
            return None
