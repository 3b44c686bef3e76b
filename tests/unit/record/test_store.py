"""A ledger behaves alike in a file, in SQLite and in PostgreSQL, for one user and for several at once."""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from evalsuite.errors import InputError, LedgerError
from evalsuite.record import ledger
from evalsuite.record.ledger import Draft, Entry
from evalsuite.record.signed_head import check_ledger
from evalsuite.record.signing import load_signer, write_key_pair
from evalsuite.record.store import (
    STATE_NAME,
    LedgerStore,
    check_signed_head,
    database,
    export,
    open_store,
    record_url,
    recorded_url,
)
from evalsuite.record.trust import Trust
from evalsuite.record.usage import Segment
from tests.postgres import cluster

SET, OTHER = "a" * 64, "b" * 64
N = 10
Make = Callable[[], LedgerStore]


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with cluster() as url:
        yield url


def file_store(folder: Path, testset: str = SET) -> LedgerStore:
    return open_store(folder, testset=testset, n_cases=N)


@pytest.fixture(params=["file", "sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store is: a folder, or a URL."""
    if request.param == "file":
        return str(tmp_path)
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/shared.sqlite"
    url: str = request.getfixturevalue("postgres")
    name = f"t{abs(hash(str(tmp_path)))}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    return url.replace("/postgres?", f"/{name}?")


def at(place: str, testset: str = SET) -> LedgerStore:
    if "://" in place:
        return database(place, testset=testset, n_cases=N)
    return file_store(Path(place), testset)


def draft(action: str, **objects: str) -> Draft:
    return Draft(
        action=action, actor="ada", role="operator", utc="2026-01-05T10:00:00Z", reason="test", objects=objects
    )


def add(store: LedgerStore, action: str, **objects: str) -> Entry:
    return store.append(lambda _: draft(action, **objects))[-1]


def test_entries_come_back_as_one_verified_chain(place, tmp_path):
    store = at(place)
    with pytest.raises(LedgerError):
        store.entries()
    add(store, "locked", testset_root=SET)
    add(store, "run_started", run="r1", cases="1-10")
    entries = at(place).entries()
    assert [e.seq for e in entries] == [1, 2]
    assert entries[1].prev == entries[0].digest
    export(store, tmp_path / "copy.jsonl")
    assert ledger.read(tmp_path / "copy.jsonl") == entries


def test_the_export_has_the_same_bytes_wherever_the_ledger_is_kept(tmp_path):
    texts = []
    for where in (str(tmp_path), f"sqlite:///{tmp_path}/shared.sqlite"):
        store = at(where)
        add(store, "locked", testset_root=SET, note="ünï „quoted“ \\ \n")
        add(store, "run_started", run="r1")
        export(store, tmp_path / "copy")
        texts.append((tmp_path / "copy").read_bytes())
    assert texts[0] == texts[1] == (tmp_path / "ledger.jsonl").read_bytes()


def test_a_refusal_or_nothing_to_add_leaves_the_chain_as_it_was(place):
    store = at(place)
    add(store, "locked")

    def refuse(_: tuple[Entry, ...]) -> Draft:
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        store.append(refuse)
    assert len(store.append(lambda _: None)) == 1
    assert len(store.entries()) == 1


def test_the_index_follows_the_chain(place):
    store = at(place)
    add(store, "locked")
    add(store, "run_started", run="r1", cases="1-4", freeze="f")
    add(store, "run_started", run="r2", cases="3-6")
    add(store, "predictions_sealed", run="r2")
    found = store.index()
    assert [(r.run, r.state) for r in found.runs] == [("r1", "frozen"), ("r2", "executed")]
    assert found.uses == (
        Segment(first=1, last=2, uses=1),
        Segment(first=3, last=4, uses=2),
        Segment(first=5, last=6, uses=1),
        Segment(first=7, last=10, uses=0),
    )


def test_an_index_that_is_absent_behind_or_wrong_is_made_again_from_the_ledger(tmp_path):
    store = file_store(tmp_path)
    add(store, "locked")
    add(store, "run_started", run="r1", cases="1-4")
    truth = store.index()
    state = tmp_path / STATE_NAME
    for damage in ("UPDATE evalsuite_use SET uses = 0", "DELETE FROM evalsuite_run", "DELETE FROM evalsuite_state"):
        connection = sqlite3.connect(state)
        with connection:
            connection.execute(damage)
        connection.close()
        assert store.index() == truth
        connection = sqlite3.connect(state)
        assert connection.execute("SELECT max(uses), count(*) FROM evalsuite_use").fetchone() == (1, 2)
        connection.close()
    state.unlink()
    assert store.index() == truth
    state.write_bytes(b"this is no database" * 100)
    assert store.index() == truth  # it cannot be written, and is not needed
    add(store, "predictions_sealed", run="r1")
    assert store.index().runs[0].state == "executed"


def test_an_index_that_missed_entries_catches_up(tmp_path):
    store = file_store(tmp_path)
    add(store, "locked")
    add(store, "run_started", run="r1", cases="1-4")
    # cut off between the ledger's line and the index
    ledger.append_decided(tmp_path / "ledger.jsonl", lambda _: draft("run_started", run="r2", cases="1-10"))
    add(store, "predictions_sealed", run="r2")
    connection = sqlite3.connect(tmp_path / STATE_NAME)
    rows = connection.execute("SELECT run, state FROM evalsuite_run ORDER BY seq").fetchall()
    connection.close()
    assert rows == [("r1", "draft"), ("r2", "executed")]


def test_several_sets_share_a_database_and_not_a_chain(tmp_path):
    url = f"sqlite:///{tmp_path}/shared.sqlite"
    one, two = at(url, SET), at(url, OTHER)
    add(one, "locked")
    add(two, "locked")
    add(two, "run_started", run="r", cases="1-10")
    assert (len(one.entries()), len(two.entries())) == (1, 2)
    assert one.index().runs == ()


def test_a_changed_or_missing_row_of_a_database_breaks_the_chain(place):
    if "://" not in place:
        pytest.skip("a file's lines are tested with the ledger")
    store = at(place)
    for action in ("locked", "frozen", "run_started"):
        add(store, action)
    engine = sa.create_engine(place, poolclass=sa.NullPool)
    changes = ("UPDATE evalsuite_ledger SET line = replace(line, 'frozen', 'melted')", "DELETE FROM evalsuite_ledger")
    for change in changes:
        with pytest.raises(sa.exc.DBAPIError, match="only added to"), engine.begin() as connection:
            connection.exec_driver_sql(change)
    drop = "DROP TRIGGER evalsuite_ledger_append_only ON evalsuite_ledger"
    with engine.begin() as connection:
        for trigger in (
            [drop] if "postgres" in place else [f"DROP TRIGGER evalsuite_ledger_no_{v}" for v in ("update", "delete")]
        ):
            connection.exec_driver_sql(trigger)
        connection.exec_driver_sql(changes[0])
    with pytest.raises(LedgerError, match="line 2"):
        store.entries()
    with pytest.raises(LedgerError, match="line 2"):
        add(store, "unblinded")
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM evalsuite_ledger WHERE seq = 2")
    with pytest.raises(LedgerError, match="line 2"):
        store.entries()


def test_a_signed_head_covers_what_was_added_with_a_key_wherever_the_ledger_is_kept(place, tmp_path):
    write_key_pair(tmp_path / "ada.key")
    signer = load_signer(tmp_path / "ada.key")
    store = at(place)
    add(store, "locked")
    assert store.signed_head() is None
    assert check_signed_head(store, store.entries()).status == "absent"
    store.append(lambda _: draft("frozen"), signer=signer)
    head = store.signed_head()
    found = at(place)
    assert check_signed_head(found, found.entries(), trust=Trust(keys=(signer.public,))).status == "holds"
    store.append(lambda _: draft("run_started"), signer=signer)
    add(store, "exported")
    said = check_signed_head(at(place), store.entries())
    assert said.status == "holds"
    assert "entries 1 to 3; the last 1 added without a key" in said.detail
    (tmp_path / "copy").mkdir()
    export(store, tmp_path / "copy" / "ledger.jsonl")
    chain, covered = check_ledger(tmp_path / "copy" / "ledger.jsonl")
    assert (chain.status, covered.status) == ("holds", "holds")
    # an earlier head put back, and a ledger that was cut back below its head
    (tmp_path / "copy" / "ledger.dsse.json").write_bytes(head)
    assert "an earlier head was put back" in check_ledger(tmp_path / "copy" / "ledger.jsonl")[1].detail
    export(store, tmp_path / "copy" / "ledger.jsonl")
    lines = (tmp_path / "copy" / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "copy" / "ledger.jsonl").write_bytes(b"".join(lines[:2]))
    assert "rolled back" in check_ledger(tmp_path / "copy" / "ledger.jsonl")[1].detail


def take_the_last(place: str, barrier: object, rounds: int, results: object) -> None:
    """In each round: use the one use that is left, if it still is."""
    store = at(place)
    for number in range(rounds):

        def decide(found: tuple[Entry, ...], number: int = number) -> Draft:
            if any(e.objects.get("round") == str(number) for e in found):
                raise InputError("no use left")
            return draft("run_started", run=f"r{number}", round=str(number), cases="1-10")

        barrier.wait(60)  # type: ignore[attr-defined]
        try:
            store.append(decide)
            results.put((number, True))  # type: ignore[attr-defined]
        except InputError:
            results.put((number, False))  # type: ignore[attr-defined]


def test_of_several_processes_racing_for_the_last_use_one_wins(place):
    context = multiprocessing.get_context("spawn")
    n, rounds = 3, 15
    add(at(place), "locked")
    barrier, results = context.Barrier(n), context.Queue()
    workers = [context.Process(target=take_the_last, args=(place, barrier, rounds, results)) for _ in range(n)]
    for worker in workers:
        worker.start()
    outcomes = [results.get(timeout=120) for _ in range(n * rounds)]
    for worker in workers:
        worker.join(60)
    assert [w.exitcode for w in workers] == [0] * n
    for number in range(rounds):
        assert sorted(won for r, won in outcomes if r == number) == [False] * (n - 1) + [True]
    store = at(place)
    assert len(store.entries()) == 1 + rounds
    assert store.index().uses == (Segment(first=1, last=N, uses=rounds),)


def test_a_set_that_keeps_its_ledger_in_a_file_refuses_a_second_one(tmp_path):
    add(file_store(tmp_path), "locked")
    with pytest.raises(InputError, match="split its history"):
        open_store(tmp_path, testset=SET, n_cases=N, url=f"sqlite:///{tmp_path}/x.sqlite")


def test_a_set_remembers_its_store_without_the_password(tmp_path):
    record_url(tmp_path, "postgresql://ada:secret@db.example/ledger?sslpassword=secret")
    assert "secret" not in (tmp_path / "store.json").read_text()
    assert recorded_url(tmp_path) == "postgresql+psycopg://ada@db.example/ledger"
    (tmp_path / "store.json").write_text("{}")
    with pytest.raises(LedgerError, match="where the ledger is kept"):
        recorded_url(tmp_path)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "not a database URL"),
        ("mysql://x/y", "not supported"),
        ("sqlite://", "needs a file"),
        ("sqlite:////nowhere/at/all.sqlite", "cannot be used"),
        ("postgresql+psycopg://ada:secret@/x?host=/nowhere", "cannot be used"),
    ],
)
def test_a_store_that_cannot_be_used_is_said_without_the_password(url, said):
    if url.startswith("postgresql"):
        pytest.importorskip("psycopg", reason="the driver psycopg is not installed")
    with pytest.raises(InputError, match=said) as caught:
        database(url, testset=SET, n_cases=N)
    assert "secret" not in str(caught.value)
