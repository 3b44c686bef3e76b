"""The index of a ledger, in a database: states of the runs and uses of the cases, derived from the entries.

It is never asked against the ledger: whoever reads it has verified the chain, and an index that is not exactly at the
chain's head is brought there first, from the beginning if need be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from evalsuite.record.ledger import FIRST_PREV, Entry
from evalsuite.record.usage import RUN, RunState, Segment, run_states, use_segments

if TYPE_CHECKING:
    from sqlalchemy import Connection

METADATA = sa.MetaData()
_HEAD = sa.Table(
    "evalsuite_state",
    METADATA,
    sa.Column("testset", sa.String(64), primary_key=True),
    sa.Column("count", sa.BigInteger, key="count_", nullable=False),
    sa.Column("head", sa.String(64), nullable=False),
    sa.Column("n_cases", sa.BigInteger, nullable=False),
)
_RUN = sa.Table(
    "evalsuite_run",
    METADATA,
    sa.Column("testset", sa.String(64), primary_key=True),
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("utc", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("protocol", sa.Text, nullable=False),
    sa.Column("protocol_id", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("cases", sa.Text, nullable=False),
)
_USE = sa.Table(
    "evalsuite_use",
    METADATA,
    sa.Column("testset", sa.String(64), primary_key=True),
    sa.Column("first", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("last", sa.BigInteger, nullable=False),
    sa.Column("uses", sa.BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Runs in the order they were started, and the uses of all cases."""

    runs: tuple[RunState, ...]
    uses: tuple[Segment, ...]


def derive(entries: Sequence[Entry], n_cases: int) -> Index:
    """The index of a verified chain."""
    return Index(runs=tuple(run_states(entries).values()), uses=use_segments(entries, n_cases))


def make_tables(connection: Connection) -> None:
    """The tables of the index, where they are not there yet."""
    METADATA.create_all(connection, tables=[_HEAD, _RUN, _USE])


def heal_index(connection: Connection, testset: str, entries: Sequence[Entry], n_cases: int) -> Index:
    """The index of a verified chain; what the database holds is made equal to it, inside the caller's transaction."""
    found = derive(entries, n_cases)
    if _stored_head(connection, testset) != _head(entries, n_cases) or _stored(connection, testset) != found:
        _write(connection, testset, entries, n_cases, found)
    return found


def advance_index(connection: Connection, testset: str, entries: Sequence[Entry], n_cases: int) -> None:
    """Take the last entry of a verified chain into the index: one run and, where it was started, the uses of cases."""
    if _stored_head(connection, testset) != _head(entries[:-1], n_cases):
        _write(connection, testset, entries, n_cases, derive(entries, n_cases))
        return
    new = entries[-1]
    name = new.objects.get(RUN)
    if name is not None:
        connection.execute(sa.delete(_RUN).where(_RUN.c.testset == testset, _RUN.c.run == name))
        _insert_runs(connection, testset, run_states(e for e in entries if e.objects.get(RUN) == name).values())
    if new.action == "run_started":
        connection.execute(sa.delete(_USE).where(_USE.c.testset == testset))
        _insert_uses(connection, testset, use_segments(entries, n_cases))
    _write_head(connection, testset, entries, n_cases)


def _write(connection: Connection, testset: str, entries: Sequence[Entry], n_cases: int, found: Index) -> None:
    for table in (_RUN, _USE):
        connection.execute(sa.delete(table).where(table.c.testset == testset))
    _insert_runs(connection, testset, found.runs)
    _insert_uses(connection, testset, found.uses)
    _write_head(connection, testset, entries, n_cases)


def _insert_runs(connection: Connection, testset: str, runs: Iterable[RunState]) -> None:
    rows = [{"testset": testset, **asdict(r)} for r in runs]
    if rows:
        connection.execute(sa.insert(_RUN), rows)


def _insert_uses(connection: Connection, testset: str, uses: Sequence[Segment]) -> None:
    rows = [{"testset": testset, **asdict(s)} for s in uses]
    if rows:
        connection.execute(sa.insert(_USE), rows)


def _write_head(connection: Connection, testset: str, entries: Sequence[Entry], n_cases: int) -> None:
    count, digest, n = _head(entries, n_cases)
    connection.execute(sa.delete(_HEAD).where(_HEAD.c.testset == testset))
    connection.execute(sa.insert(_HEAD).values(testset=testset, count_=count, head=digest, n_cases=n))


def _head(entries: Sequence[Entry], n_cases: int) -> tuple[int, str, int]:
    return len(entries), entries[-1].digest if entries else FIRST_PREV, n_cases


def _stored_head(connection: Connection, testset: str) -> tuple[int, str, int] | None:
    row = connection.execute(sa.select(_HEAD).where(_HEAD.c.testset == testset)).one_or_none()
    return None if row is None else (row.count_, row.head, row.n_cases)


def _stored(connection: Connection, testset: str) -> Index:
    runs = connection.execute(sa.select(_RUN).where(_RUN.c.testset == testset).order_by(_RUN.c.seq))
    uses = connection.execute(sa.select(_USE).where(_USE.c.testset == testset).order_by(_USE.c.first))
    return Index(
        runs=tuple(RunState(**{k: v for k, v in r._mapping.items() if k != "testset"}) for r in runs),
        uses=tuple(Segment(first=u.first, last=u.last, uses=u.uses) for u in uses),
    )
