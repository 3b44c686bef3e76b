import errno
import multiprocessing
import os

import pytest

from evalsuite.errors import LedgerError, OutputError
from evalsuite.record import ledger
from evalsuite.record.ledger import FIRST_PREV, LedgerHead, append, head, holds_head, read

UTC = "2026-01-02T03:04:05Z"


def add(path, action="run", reason="because", **objects):
    return append(path, action=action, actor="A. Tester", role="operator", utc=UTC, reason=reason, objects=objects)


@pytest.fixture
def three(tmp_path):
    path = tmp_path / "ledger.jsonl"
    for i in range(3):
        add(path, reason=f"ü{i}", model="ab" * 32)
    return path


def test_entries_are_numbered_and_chained(three):
    entries = read(three)
    assert [e.seq for e in entries] == [1, 2, 3]
    assert [e.prev for e in entries] == [FIRST_PREV, entries[0].digest, entries[1].digest]
    assert head(three) == LedgerHead(count=3, digest=entries[2].digest)
    assert entries[0].objects == {"model": "ab" * 32}


def test_every_one_bit_flip_and_every_truncation_inside_a_line_is_seen(three):
    data = three.read_bytes()
    for i in range(len(data)):
        flipped = bytearray(data)
        flipped[i] ^= 1 << (i % 8)
        with pytest.raises(LedgerError, match=r"line [123]"):
            ledger.parse(bytes(flipped), "ledger.jsonl")
    line_ends = {i + 1 for i, b in enumerate(data) if b == 10}
    for cut in set(range(1, len(data))) - line_ends:
        with pytest.raises(LedgerError, match=r"line [123]"):
            ledger.parse(data[:cut], "ledger.jsonl")


def test_a_removed_swapped_or_repeated_line_is_seen(three):
    a, b, c = three.read_bytes().splitlines(keepends=True)
    for lines in ([b, c], [a, c], [b, a, c], [a, a, b, c], [a, b, c, c]):
        with pytest.raises(LedgerError, match="line"):
            ledger.parse(b"".join(lines), "x")


def test_truncation_at_a_line_end_is_seen_through_the_recorded_head(three):
    recorded = head(three)
    entries = read(three)
    assert holds_head(entries, recorded)
    assert not holds_head(entries[:2], recorded)
    add(three)
    assert holds_head(read(three), recorded)
    assert not holds_head(entries, LedgerHead(count=3, digest="0" * 64))
    assert not holds_head(entries, LedgerHead(count=-1, digest=entries[1].digest))


@pytest.mark.parametrize(
    "line",
    [b"{}\n", b"\n", b"[]\n", b"nonsense\n", b'{"seq":1,"objects":{"a":1}}\n', b"[" * 50_000 + b"\n", b"\xff\n"],
)
def test_malformed_lines_name_the_line(three, line):
    with three.open("ab") as file:
        file.write(line)
    with pytest.raises(LedgerError, match="line 4"):
        read(three)
    before = three.read_bytes()
    with pytest.raises(LedgerError, match="line 4"):
        add(three)
    assert three.read_bytes() == before


def test_missing_and_empty(tmp_path):
    with pytest.raises(LedgerError, match="missing"):
        read(tmp_path / "none")
    (tmp_path / "empty").write_bytes(b"")
    assert read(tmp_path / "empty") == ()
    assert head(tmp_path / "empty") == LedgerHead(count=0, digest=FIRST_PREV)


def test_a_full_disk_takes_the_half_line_back(three, monkeypatch):
    before = three.read_bytes()
    real = os.write

    state = {"calls": 0}

    def write(descriptor, data):
        state["calls"] += 1
        if state["calls"] == 1:
            return real(descriptor, bytes(data[:10]))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("evalsuite.record.ledger.os.write", write)
    with pytest.raises(OutputError, match=r"ledger\.jsonl"):
        add(three)
    assert three.read_bytes() == before


def test_no_folder(tmp_path):
    with pytest.raises(OutputError):
        add(tmp_path / "none" / "ledger.jsonl")
    with pytest.raises(ValueError, match="action"):
        add(tmp_path / "l", action="")


def _many(path):
    for _ in range(20):
        add(path)


def test_processes_appending_together_lose_nothing(tmp_path):
    path = tmp_path / "ledger.jsonl"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_many, args=(path,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [w.exitcode for w in workers] == [0, 0, 0]
    assert len(read(path)) == 60
