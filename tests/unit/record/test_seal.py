import json

import pytest

from evalsuite.errors import LedgerError
from evalsuite.record.digest import sha256_file
from evalsuite.record.ledger import append
from evalsuite.record.seal import check_seal, write_seal


def log(run, **objects):
    append(
        run / "ledger.jsonl", action="x", actor="a", role="r", utc="2026-01-01T00:00:00Z", reason="", objects=objects
    )


@pytest.fixture
def run(tmp_path):
    (tmp_path / "arrays").mkdir()
    (tmp_path / "arrays" / "m.bin").write_bytes(b"123")
    (tmp_path / "verdict.json").write_text("{}")
    log(tmp_path)
    write_seal(tmp_path)
    return tmp_path


def status(run):
    return {c.name: c.status for c in check_seal(run)}


def details(run):
    return " ".join(c.detail for c in check_seal(run))


INTACT = {"seal": "holds", "seal signature": "absent", "files": "holds", "ledger": "holds"}


def test_intact_run_holds(run):
    assert status(run) == INTACT
    seal = json.loads((run / "SEAL.json").read_text())
    assert seal["schema"] == "evalsuite/seal/1"
    assert sorted(seal["files"]) == ["arrays/m.bin", "verdict.json"]
    assert seal["ledger"]["count"] == 1


def test_ledger_may_grow(run):
    log(run)
    assert status(run) == INTACT


@pytest.mark.parametrize("name", ["verdict.json", "arrays/m.bin"])
def test_changed_and_missing_files_are_named(run, name):
    (run / name).write_bytes(b"456")
    assert status(run)["files"] == "broken"
    assert f"changed: {name}" in details(run)
    (run / name).unlink()
    assert f"missing: {name}" in details(run)


def test_extra_file_is_named_unless_the_ledger_records_it(run):
    (run / "report.signed.pdf").write_bytes(b"%PDF")
    assert "extra: report.signed.pdf" in details(run)
    log(run, report_signed=sha256_file(run / "report.signed.pdf"))
    assert status(run) == INTACT


def test_ledger_cut_below_the_sealed_head(run):
    log(run)
    write_seal(run)
    lines = (run / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (run / "ledger.jsonl").write_bytes(lines[0])
    assert status(run)["ledger"] == "broken"
    (run / "ledger.jsonl").unlink()
    assert status(run)["ledger"] == "broken"


@pytest.mark.parametrize("data", ["", "{}", "[]", '{"schema":"evalsuite/seal/1","files":{"a":1},"ledger":null}'])
def test_damaged_or_missing_seal(run, data):
    (run / "SEAL.json").write_text(data)
    assert status(run) == {"seal": "broken"}
    (run / "SEAL.json").unlink()
    assert status(run) == {"seal": "broken"}
    assert "missing" in details(run)


def test_a_broken_ledger_cannot_be_sealed(run):
    (run / "ledger.jsonl").write_text("nonsense\n")
    with pytest.raises(LedgerError):
        write_seal(run)
    assert status(run)["ledger"] == "broken"


def test_run_without_ledger(tmp_path):
    (tmp_path / "a").write_text("a")
    write_seal(tmp_path)
    assert status(tmp_path) == {"seal": "holds", "seal signature": "absent", "files": "holds", "ledger": "absent"}


def test_every_changed_bit_of_the_seal_is_seen(run):
    data = (run / "SEAL.json").read_bytes()
    for i in range(8 * len(data)):
        changed = bytearray(data)
        changed[i // 8] ^= 1 << (i % 8)
        (run / "SEAL.json").write_bytes(bytes(changed))
        assert "broken" in status(run).values(), (i, bytes(changed))
