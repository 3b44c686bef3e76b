"""The ledger in a database: the same chain and the same lines, one row each, added in one serialisable transaction."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from evalsuite.errors import InputError, LedgerError, OutputError
from evalsuite.record import ledger
from evalsuite.record.ledger import Decide, Entry
from evalsuite.record.signed_head import named, sign_head
from evalsuite.record.store_index import METADATA, Index, advance_index, heal_index

if TYPE_CHECKING:
    from evalsuite.record.signing import Signer

T = TypeVar("T")

_ENTRY = sa.Table(
    "evalsuite_ledger",
    METADATA,
    sa.Column("testset", sa.String(64), primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("line", sa.Text, nullable=False),
)
_HEAD = sa.Table(
    "evalsuite_signed_head",
    METADATA,
    sa.Column("testset", sa.String(64), primary_key=True),
    sa.Column("envelope", sa.Text, nullable=False),
)
_WAIT_S = 60.0
_MOST_TRIES = 200
#: Two who add at the same moment: the database lets one of them through and tells the other to start again.
_AGAIN = ("40001", "40P01", "23505", "42P07", "SQLITE_BUSY")
_MIGRATION_LOCK = 0x6576616C  # any number, the same for all; keeps two from making the tables at once
_APPEND_ONLY = {
    "sqlite": tuple(
        f"CREATE TRIGGER IF NOT EXISTS evalsuite_ledger_no_{verb.lower()} BEFORE {verb} ON evalsuite_ledger "
        "BEGIN SELECT RAISE(ABORT, 'a ledger is only added to'); END"
        for verb in ("UPDATE", "DELETE")
    ),
    "postgresql": (
        "CREATE OR REPLACE FUNCTION evalsuite_ledger_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'a ledger is only added to'; END $$",
        "CREATE TRIGGER evalsuite_ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE "
        "ON evalsuite_ledger FOR EACH STATEMENT EXECUTE FUNCTION evalsuite_ledger_append_only()",
    ),
}


class DatabaseStore:
    """One chain of a shared database; several test sets lie in it side by side, by the roots of their locks.

    SQLite and PostgreSQL. The tables are made on first use; triggers refuse to change or delete an entry.

    Raises
    ------
    InputError
        For a URL that is none, a database of another kind, a missing driver, or one that cannot be reached.
    """

    def __init__(self, url: str, *, testset: str, n_cases: int) -> None:
        self._testset = testset
        self._n_cases = n_cases
        self._engine = _engine(_parsed(url))
        self._place = without_password(url)
        self._in_transaction(self._make_tables)

    @property
    def place(self) -> str:
        return self._place

    def entries(self) -> tuple[Entry, ...]:
        found = self._in_transaction(self._chain)
        if not found:
            raise LedgerError(
                f"{self._place} has no ledger of this test set",
                hint="Give the store it was locked with, or restore the database from a backup.",
            )
        return found

    def append(self, decide: Decide, *, signer: Signer | None = None) -> tuple[Entry, ...]:
        def work(connection: sa.Connection) -> tuple[Entry, ...]:
            entries = self._chain(connection)
            draft = decide(entries)
            if draft is None:
                return entries
            entry = ledger.next_entry(ledger.head_of(entries), named(draft, signer))
            line = ledger.line_of(entry).decode().removesuffix("\n")
            connection.execute(sa.insert(_ENTRY).values(testset=self._testset, seq=entry.seq, line=line))
            entries = (*entries, entry)
            advance_index(connection, self._testset, entries, self._n_cases)
            if signer is not None:
                connection.execute(sa.delete(_HEAD).where(_HEAD.c.testset == self._testset))
                envelope = sign_head(entry, signer).decode()
                connection.execute(sa.insert(_HEAD).values(testset=self._testset, envelope=envelope))
            return entries

        return self._in_transaction(work)

    def signed_head(self) -> bytes | None:
        select = sa.select(_HEAD.c.envelope).where(_HEAD.c.testset == self._testset)
        found = self._in_transaction(lambda connection: connection.execute(select).scalar_one_or_none())
        return None if found is None else str(found).encode()

    def index(self) -> Index:
        def work(connection: sa.Connection) -> Index:
            return heal_index(connection, self._testset, self._chain(connection), self._n_cases)

        return self._in_transaction(work)

    def _chain(self, connection: sa.Connection) -> tuple[Entry, ...]:
        rows = connection.execute(
            sa.select(_ENTRY.c.line).where(_ENTRY.c.testset == self._testset).order_by(_ENTRY.c.seq)
        )
        return ledger.parse(b"".join(line.encode() + b"\n" for (line,) in rows), self._place)

    def _make_tables(self, connection: sa.Connection) -> None:
        if sa.inspect(connection).has_table(_ENTRY.name):
            return
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        METADATA.create_all(connection)
        for statement in _APPEND_ONLY[connection.dialect.name]:
            connection.exec_driver_sql(statement)

    def _in_transaction(self, work: Callable[[sa.Connection], T]) -> T:
        """`work` in one serialisable transaction, again from its beginning where somebody else was faster."""
        for attempt in range(_MOST_TRIES):
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except sa.exc.DBAPIError as e:
                if not _collided(e):
                    raise InputError(
                        f"The store {self._place} cannot be used ({_cause(e)}).",
                        hint="Check the URL, that the server runs, and that the account may make and write tables.",
                    ) from e
                time.sleep(random.uniform(0, min(0.5, 0.005 * 2 ** min(attempt, 8))))
        raise OutputError(f"The store {self._place} is too busy: nothing was written.", hint="Try again.")


def _collided(error: sa.exc.DBAPIError) -> bool:
    names = (getattr(error.orig, "sqlstate", None), getattr(error.orig, "sqlite_errorname", None))
    return any(name in _AGAIN for name in names)


def _cause(error: sa.exc.DBAPIError) -> str:
    """What went wrong in the driver's words, first line only: later ones may quote the statement and its values."""
    return str(error.orig).strip().split("\n")[0].rstrip(".")


def without_password(url: str) -> str:
    """The URL with user, host and database, and no password. InputError if it is no database URL."""
    u = _parsed(url)
    query = {k: v for k, v in u.query.items() if "password" not in k.lower()}
    kept = sa.URL.create(u.drivername, username=u.username, host=u.host, port=u.port, database=u.database, query=query)
    return kept.render_as_string()


def _parsed(url: str) -> sa.URL:
    hint = "For example sqlite:////srv/evalsuite/ledger.sqlite or postgresql+psycopg://user@host/evalsuite."
    try:
        found = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError) as e:
        raise InputError("The store is not a database URL.", hint=hint) from e
    if found.drivername == "postgresql":
        found = found.set(drivername="postgresql+psycopg")
    if found.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise InputError(f"A store of kind {found.drivername} is not supported.", hint=hint)
    if found.get_backend_name() == "sqlite":
        if not found.database or found.database == ":memory:":
            raise InputError("A store in SQLite needs a file.", hint=hint)
        found = found.set(database=str(Path(found.database).absolute()))
    return found


def _engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() == "sqlite":
        return sqlite_engine(Path(str(url.database)))
    try:
        return sa.create_engine(url, isolation_level="SERIALIZABLE", poolclass=sa.NullPool)
    except ImportError as e:
        raise InputError(
            "PostgreSQL needs the driver psycopg, which is not installed.", hint="pip install 'evalsuite[store]'"
        ) from e


def sqlite_engine(path: Path) -> sa.Engine:
    """An SQLite database in which a transaction holds the write lock from its start, and is on disk when it ends."""
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)), poolclass=sa.NullPool, connect_args={"timeout": _WAIT_S}
    )

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver would begin transactions by itself, and too late
        for setting in ("journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {setting}").close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
