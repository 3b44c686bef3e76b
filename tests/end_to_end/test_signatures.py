"""Signed locks, freezes, ledgers and runs, from the command line, and what `verify` says when somebody meddles."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from evalsuite.record.trust import Check
from evalsuite.spine import verify
from tests.end_to_end.conftest import Outcome, Study, make_study

Cli = Callable[..., Outcome]


@dataclass(frozen=True)
class Signed:
    """A study whose lock the custodian signed, and whose freeze and run the operator signed."""

    study: Study
    custodian: Path
    operator: Path

    def public(self, key: Path) -> Path:
        return key.with_name(f"{key.name}.pub")

    @property
    def trusted(self) -> tuple[object, ...]:
        return ("--trust", self.public(self.custodian), "--trust", self.public(self.operator))


def keyid(cli: Cli, path: Path) -> str:
    done = cli("keygen", path, "--json")
    assert done.code == 0, done.out
    found: str = done.json()["keyid"]
    return found


def states(outcome: Outcome) -> dict[str, str]:
    return {c["name"]: c["status"] for c in outcome.json()["checks"]}


def details(outcome: Outcome) -> str:
    return " ".join(c["detail"] for c in outcome.json()["checks"] if c["status"] == "broken")


def signed_in(folder: Path) -> Signed:
    return Signed(Study(folder), folder / "custodian.key", folder / "operator.key")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """One signed study, made once; every test works on a copy."""
    s = make_study(tmp_path_factory.mktemp("signed"))
    signed = signed_in(s.folder)
    keyid(cli, signed.custodian)
    keyid(cli, signed.operator)
    done = cli("lock", s.cases, "--protocol", s.protocol, "--out", s.testset, "--key", signed.custodian)
    assert done.code == 0, done.err
    with_model = ("--testset", s.testset, "--model", s.predictions, "--key", signed.operator)
    assert cli("freeze", s.protocol, *with_model, "--out", s.frozen).code == 0
    done = cli("run", s.frozen, *with_model, "--out", s.run)
    assert done.code == 0, done.err
    return s.folder


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Signed:
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    return signed_in(tmp_path)


def test_a_signed_study_verifies_and_names_its_keys(run: Signed, cli: Cli) -> None:
    s = run.study
    done = cli("verify", s.run, *run.trusted, "--json")
    assert done.code == 0, done.out
    assert states(done) == {
        **dict.fromkeys(
            ("seal", "seal signature", "files", "ledger", "ledger head", "lock", "lock signature", "freeze"), "holds"
        ),
        **dict.fromkeys(("freeze signature", "protocol", "predictions", "evidence", "verdict", "report"), "holds"),
        "report file": "holds",
        "timestamp": "absent",
        "signed report": "absent",
        "test set": "holds",
    }
    for path in (s.testset, s.frozen, s.testset / "ledger.jsonl", s.run / "ledger.jsonl"):
        assert cli("verify", path, *run.trusted).code == 0, path
    said = cli("verify", s.run, "--json")
    assert said.code == 0
    assert "whose key that is was not checked" in said.out
    record = json.loads((s.run / "record.json").read_text())
    assert record["testset"]["signed_by"] != record["signing"]["keyid"] == record["ledger"]["signed_by"]


def test_an_unsigned_set_is_said_and_not_failed_unless_a_key_was_expected(locked: Study, cli: Cli) -> None:
    done = cli("verify", locked.testset, "--json")
    assert done.code == 0
    assert states(done)["signature"] == states(done)["ledger head"] == "absent"
    keyid(cli, locked.folder / "some.key")
    done = cli("verify", locked.testset, "--trust", locked.folder / "some.key.pub", "--json")
    assert done.code == 3
    assert "unsigned; trusted were" in details(done)


def test_an_unknown_key_is_named_beside_the_trusted_one(run: Signed, cli: Cli) -> None:
    other = keyid(cli, run.study.folder / "other.key")
    done = cli("verify", run.study.testset, "--trust", run.study.folder / "other.key.pub", "--json")
    assert done.code == 3
    assert f"which is not among the trusted: {other}" in details(done)


@pytest.mark.parametrize("name", ["testset.lock.dsse.json", "ledger.dsse.json"])
def test_a_signature_taken_from_a_set_breaks_it(run: Signed, cli: Cli, name: str) -> None:
    s = run.study
    (s.testset / name).unlink()
    assert cli("verify", s.testset).code == 3
    again = ("--testset", s.testset, "--model", s.predictions, "--out", s.folder / "again")
    assert cli("predict", s.frozen, *again).code == 3


@pytest.mark.parametrize("name", ["SEAL.dsse.json", "testset.lock.dsse.json", "ledger.dsse.json", "freeze.dsse.json"])
def test_a_signature_taken_from_a_run_breaks_it(run: Signed, cli: Cli, name: str) -> None:
    (run.study.run / name).unlink()
    assert cli("verify", run.study.run).code == 3


def test_a_seal_rewritten_without_its_signature_is_given_away_by_the_ledger(run: Signed, cli: Cli) -> None:
    seal = run.study.run / "SEAL.json"
    content = json.loads(seal.read_bytes())
    key = content["signature"]["keyid"]
    content["signature"] = None
    seal.write_text(json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False))
    (run.study.run / "SEAL.dsse.json").unlink()
    done = cli("verify", run.study.run, "--json")
    assert done.code == 3
    assert f"says that it was signed by key {key}" in details(done)


def test_a_seal_signed_again_by_another_key_names_both(run: Signed, cli: Cli) -> None:
    from evalsuite.record.seal import write_seal
    from evalsuite.record.signing import load_signer

    s = run.study
    other = keyid(cli, s.folder / "other.key")
    own = load_signer(run.operator).keyid
    (s.run / "verdict.json").write_bytes((s.run / "verdict.json").read_bytes() + b" ")
    write_seal(s.run, signer=load_signer(s.folder / "other.key"), utc="2026-01-01T00:00:00Z")
    done = cli("verify", s.run, "--json")
    assert done.code == 3
    assert f"signed by key {other}" in details(done)
    assert f"names key {own}" in details(done)


def test_envelopes_cannot_be_swapped_between_sets(run: Signed, cli: Cli) -> None:
    s = run.study
    other = s.folder / "other"
    assert cli("lock", s.cases, "--reference", "truth", "--out", other, "--key", run.custodian).code == 0
    shutil.copy(other / "testset.lock.dsse.json", s.testset / "testset.lock.dsse.json")
    done = cli("verify", s.testset, "--json")
    assert done.code == 3
    assert "signs testset.lock.json with SHA-256" in details(done)


def test_a_ledger_cut_back_is_seen_by_its_signed_head(run: Signed, cli: Cli) -> None:
    path = run.study.testset / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2]))
    done = cli("verify", path, "--json")
    assert done.code == 3
    assert "rolled back" in details(done)
    assert cli("verify", run.study.testset).code == 3


def test_entries_without_a_key_after_a_signed_head_are_said(run: Signed, cli: Cli) -> None:
    s = run.study
    done = cli("predict", s.frozen, "--testset", s.testset, "--model", s.predictions, "--out", s.folder / "again")
    assert done.code == 0, done.err
    found = cli("verify", s.testset / "ledger.jsonl", "--json")
    assert found.code == 0
    assert "the last 2 added without a key" in found.out


@pytest.mark.full_pdf
def test_a_signed_run_is_not_scored_again_without_a_key(run: Signed, cli: Cli) -> None:
    before = (run.study.run / "SEAL.json").read_bytes()
    where = ("--testset", run.study.testset)
    done = cli("score", run.study.run, *where)
    assert done.code == 2
    assert "--key" in done.err
    assert (run.study.run / "SEAL.json").read_bytes() == before
    assert cli("report", run.study.run).code == 0  # the same bytes need no new seal
    assert (run.study.run / "SEAL.json").read_bytes() == before
    assert cli("score", run.study.run, *where, "--key", run.custodian).code == 0
    assert cli("verify", run.study.run, *run.trusted).code == 0


def test_an_encrypted_reference_needs_its_key_only_to_be_scored(study: Study, cli: Cli) -> None:
    s, key = study, study.folder / "reference.key"
    assert cli("keygen", key, "--reference").code == 0
    assert key.stat().st_mode & 0o777 == 0o600
    table = ("lock", s.cases, "--protocol", s.protocol, "--id", "small")
    lock = (*table, "--out", s.testset)
    assert cli(*lock, "--encrypt-reference").code == 2
    done = cli(*lock, "--encrypt-reference", "--reference-key", key, "--json")
    assert done.code == 0, done.err
    assert not (s.testset / "reference.parquet").exists()
    plain = s.folder / "plain"
    assert cli(*table, "--out", plain, "--json").json()["root"] == done.json()["root"]
    assert cli("verify", s.testset).code == 0
    assert cli("verify", s.testset, "--reference-key", key).code == 0
    with_model = ("--testset", s.testset, "--model", s.predictions)
    early = cli("run", s.protocol, *with_model, "--out", s.run)
    assert early.code == 2
    assert "--reference-key" in early.err
    assert "run_started" not in (s.testset / "ledger.jsonl").read_text()  # nothing was used up
    assert cli("predict", s.protocol, *with_model, "--out", s.run).code == 0
    assert cli("score", s.run).code == 2
    assert cli("keygen", s.folder / "wrong.key", "--reference").code == 0
    assert cli("score", s.run, "--reference-key", s.folder / "wrong.key").code == 3
    assert "unblinded" not in (s.testset / "ledger.jsonl").read_text()
    assert cli("score", s.run, "--reference-key", key).code == 1
    other = s.folder / "in-the-clear"
    assert cli("run", s.protocol, "--testset", plain, "--model", s.predictions, "--out", other).code == 1
    assert (other / "evidence.json").read_bytes() == (s.run / "evidence.json").read_bytes()
    assert cli("verify", s.run).code == 0


def test_a_changed_ciphertext_is_seen_without_the_key(study: Study, cli: Cli) -> None:
    key = study.folder / "reference.key"
    cli("keygen", key, "--reference")
    out = study.testset
    cli("lock", study.cases, "--reference", "truth", "--out", out, "--encrypt-reference", "--reference-key", key)
    path = out / "reference.parquet.aes"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    assert cli("verify", out).code == 3


def test_wrong_keys_are_typed_errors(study: Study, cli: Cli) -> None:
    key = study.folder / "a.key"
    keyid(cli, key)
    assert cli("keygen", key).code == 2  # never overwritten
    lock = ("lock", study.cases, "--out", study.testset, "--key")
    for wrong in (study.cases, study.folder / "absent.key", study.folder / "a.key.pub"):
        done = cli(*lock, wrong)
        assert done.code == 2, wrong
        assert "key" in done.err
    assert not study.testset.exists()
    done = cli(*lock, key)
    assert done.code == 0
    assert cli("verify", study.testset, "--trust", key).code == 2  # a private key is not a public one


def test_a_passphrase_protects_a_key(study: Study, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    key = study.folder / "a.key"
    monkeypatch.setenv("EVALSUITE_KEY_PASSPHRASE", "correct horse")
    keyid(cli, key)
    assert b"ENCRYPTED" in key.read_bytes()
    lock = ("lock", study.cases, "--out", study.testset, "--key", key)
    monkeypatch.setenv("EVALSUITE_KEY_PASSPHRASE", "wrong")
    assert cli(*lock).code == 2
    monkeypatch.delenv("EVALSUITE_KEY_PASSPHRASE")
    assert cli(*lock).code == 2
    monkeypatch.setenv("EVALSUITE_KEY_PASSPHRASE", "correct horse")
    assert cli(*lock).code == 0


@pytest.fixture(scope="module")
def by_hand(checkout: Path) -> str:
    """The commands of docs/trust.md that need nothing but openssl and sha256sum."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    (script,) = re.findall(r"```sh\n(.*?)```", (checkout / "docs" / "trust.md").read_text(), flags=re.DOTALL)
    return str(script)


def hold_by_hand(run: Signed, script: str) -> bool:
    environment = {**os.environ, "KEY_PUB": str(run.public(run.operator))}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=run.study.run, env=environment, capture_output=True, text=True
    )
    return done.returncode == 0 and all(
        said in done.stdout
        for said in (
            "Signature Verified Successfully",
            "SEAL.json is the file that was signed",
            "every file is as it was sealed",
            "the ledger is whole up to the seal",
        )
    )


def test_the_commands_of_the_trust_page_check_a_run(run: Signed, by_hand: str) -> None:
    assert hold_by_hand(run, by_hand)


@pytest.mark.parametrize("name", ["SEAL.json", "SEAL.dsse.json", "evidence.json", "ledger.jsonl", "report.pdf"])
def test_the_commands_of_the_trust_page_see_a_change(run: Signed, by_hand: str, name: str) -> None:
    path = run.study.run / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    assert not hold_by_hand(run, by_hand)
    assert verify(run.study.run).intact is False


@pytest.mark.parametrize("name", ["SEAL.json", "SEAL.dsse.json", "testset.lock.json", "testset.lock.dsse.json"])
def test_every_changed_bit_and_truncation_of_small_signed_files_is_seen(run: Signed, name: str) -> None:
    """A sample of what the tamper campaign tries exhaustively."""
    path = run.study.run / name
    data = path.read_bytes()
    step = max(1, len(data) // 40)
    for i in range(0, len(data), step):
        changed = bytearray(data)
        changed[i] ^= 1 << (i // step % 8)
        for harmed in (bytes(changed), data[:i]):
            path.write_bytes(harmed)
            assert any(c.status == "broken" for c in quick(run.study.run)), (name, i)


def quick(folder: Path) -> list[Check]:
    """The checks that concern seal, lock and signatures."""
    from evalsuite.record.seal import check_seal

    return list(check_seal(folder))


def test_a_report_is_checked_beside_its_run_and_away_from_it(run: Signed, cli: Cli) -> None:
    s = run.study
    done = cli("verify", s.run / "report.pdf", *run.trusted, "--json")
    assert done.code == 0, done.out
    assert states(done) == {"report": "holds", "report file": "holds", "seal": "holds", "seal signature": "holds"}
    away = s.folder / "sent.pdf"
    shutil.copy(s.run / "report.pdf", away)
    done = cli("verify", away, "--json")
    assert done.code == 0
    assert states(done) == {"report": "holds", "report file": "not checked"}
    data = away.read_bytes()
    (s.run / "report.pdf").write_bytes(data + b"\n")
    done = cli("verify", s.run / "report.pdf", "--json")
    assert done.code == 3
    assert "not the one that was sealed" in details(done)
    away.write_bytes(data[: len(data) // 2])
    assert cli("verify", away).code == 3


@pytest.mark.parametrize("change", ["evidence", "verdict", "protocol", "nothing attached"])
def test_a_report_whose_attachments_do_not_belong_together(run: Signed, cli: Cli, change: str) -> None:
    import pikepdf

    away = run.study.folder / "sent.pdf"
    with pikepdf.open(run.study.run / "report.pdf") as pdf:
        for name in list(pdf.attachments):
            data = pdf.attachments[name].get_file().read_bytes()
            if change == "nothing attached" and name == "evidence.json":
                del pdf.attachments[name]
                continue
            if name.startswith(change):
                old, new = {
                    "evidence": (b'"n":120', b'"n":121'),
                    "verdict": (b'"outcome":"met"', b'"outcome":"not_met"'),
                    "protocol": (b"value: 0.7", b"value: 0.6"),
                }[change]
                assert old in data
                del pdf.attachments[name]
                pdf.attachments[name] = pikepdf.AttachedFileSpec(pdf, data.replace(old, new, 1), filename=name)
        pdf.save(away)
    done = cli("verify", away, "--json")
    assert done.code == 3, done.out
    assert states(done)["report"] == "broken"


def test_a_file_of_a_run_or_freeze_stands_for_its_folder(run: Signed, cli: Cli) -> None:
    s = run.study
    assert cli("verify", s.run / "SEAL.json", "--json").json()["kind"] == "run"
    assert cli("verify", s.run / "testset.lock.json", "--json").json()["kind"] == "run"
    assert cli("verify", s.frozen / "freeze.json", "--json").json()["kind"] == "frozen protocol"
    assert cli("verify", s.testset / "testset.lock.json", "--json").json()["kind"] == "test set"
    (s.frozen / "freeze.json").unlink()
    assert cli("verify", s.frozen).code == 3
    (s.testset / "testset.lock.json").unlink()
    assert cli("verify", s.testset).code == 3
    assert cli("verify", s.cases).code == 2


@pytest.mark.parametrize(
    "name", ["SEAL.json", "record.json", "verdict.json", "evidence.json", "protocol.yaml", "ledger.jsonl"]
)
def test_a_sealed_file_that_no_longer_parses_is_broken_not_an_input_error(run: Signed, cli: Cli, name: str) -> None:
    for content in (b"", b"{", b"\xff\xfe", b"[1]"):
        (run.study.run / name).write_bytes(content)
        assert cli("verify", run.study.run).code == 3, content
