import pytest

from evalsuite.record import ledger
from evalsuite.record.envelope import envelope_path
from evalsuite.record.files import atomic_write
from evalsuite.record.ledger import Draft
from evalsuite.record.signed_head import KEY_OBJECT, check_head, check_ledger, named, sign_head
from evalsuite.record.signing import load_signer, write_key_pair
from evalsuite.record.trust import Trust

UTC = "2026-01-02T03:04:05Z"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    for name in ("a", "b"):
        write_key_pair(folder / name)
    return load_signer(folder / "a"), load_signer(folder / "b")


def add(path, signer=None, **objects):
    draft = named(Draft(action="run", actor="A", role="operator", utc=UTC, reason="ü", objects=objects), signer)
    entries = ledger.append_decided(path, lambda _: draft)
    if signer is not None:
        atomic_write(envelope_path(path), sign_head(entries[-1], signer))
    return entries


@pytest.fixture
def path(tmp_path, keys):
    made = tmp_path / "ledger.jsonl"
    add(made)
    add(made, keys[0], model="ab" * 32)
    return made


def test_a_signed_head_covers_what_was_there(path, keys):
    chain, head = check_ledger(path)
    assert (chain.status, head.status) == ("holds", "holds")
    assert "all entries; signed by key " + keys[0].keyid in head.detail
    add(path)
    assert "entries 1 to 2; the last 1 added without a key" in check_head(path).detail
    assert check_head(path, ledger.read(path)) == check_head(path)
    assert ledger.read(path)[1].objects[KEY_OBJECT] == keys[0].keyid


def test_no_head(tmp_path, keys):
    made = tmp_path / "ledger.jsonl"
    add(made)
    assert check_head(made).status == "absent"
    trust = Trust(keys=(keys[0].public,))
    assert check_head(made, trust=trust).status == "absent"
    assert check_head(made, trust=trust, required=True).status == "broken"


def test_a_removed_a_cut_back_and_a_foreign_ledger(path, keys, tmp_path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0])
    assert "rolled back" in check_head(path).detail
    other = tmp_path / "other.jsonl"
    add(other, note="another")
    add(other, note="another")
    atomic_write(envelope_path(other), envelope_path(path).read_bytes())
    assert check_head(other).status == "broken"
    path.write_bytes(b"".join(lines))
    envelope_path(path).unlink()
    assert "is missing, though entry 2 was signed by key " + keys[0].keyid in check_head(path).detail
    assert check_head(path).status == "broken"


def test_a_head_signed_by_another_than_who_made_the_entry(path, keys):
    a, b = keys
    atomic_write(envelope_path(path), sign_head(ledger.read(path)[-1], b))
    detail = check_head(path).detail
    assert f"signed by key {b.keyid}, but ledger entry 2 names key {a.keyid}" in detail
    atomic_write(envelope_path(path), sign_head(ledger.read(path)[-1], a))
    assert check_head(path, trust=Trust(keys=(b.public,))).status == "broken"
    assert check_head(path, trust=Trust(keys=(a.public, b.public))).status == "holds"


def test_a_broken_chain_and_a_broken_head(path):
    good = envelope_path(path).read_bytes()
    for i in range(0, len(good), 3):
        changed = bytearray(good)
        changed[i] ^= 1 << (i % 8)
        envelope_path(path).write_bytes(bytes(changed))
        assert check_head(path).status == "broken", i
    envelope_path(path).write_bytes(good)
    path.write_bytes(path.read_bytes().replace(b'"A"', b'"B"', 1))
    chain, head = check_ledger(path)
    assert (chain.status, head.status) == ("broken", "not checked")


def test_a_change_between_two_appends_of_one_process_is_seen(path):
    """The second append does not parse what it wrote itself, but it does look at every byte."""
    add(path)
    data = path.read_bytes()
    path.write_bytes(data.replace("ü".encode(), "ö".encode(), 1))
    with pytest.raises(ledger.LedgerError, match="line 1"):
        add(path)
    path.write_bytes(data)
    assert len(add(path)) == 4
