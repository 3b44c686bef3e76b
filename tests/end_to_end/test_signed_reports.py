"""`evalsuite sign`: who may sign when, what is in the file, and what `verify` says when somebody meddles."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from evalsuite.record import ledger
from evalsuite.record.bag import write_tags
from evalsuite.record.digest import sha256_bytes
from evalsuite.record.identity import load_identity
from evalsuite.report.pdf_signatures import read_signatures
from evalsuite.report.pdf_signing import Signing, sign_report
from evalsuite.spine.signing import PENDING
from evalsuite.spine.verification_parts import Reader
from evalsuite.spine.verification_signed import check_signed_run
from tests.end_to_end.conftest import Outcome, Study, make_study
from tests.people import PASSWORD, Authority, make_ca, make_person
from tests.tsa import make_authority, running_tsa

Cli = Callable[..., Outcome]
ROLES = ("author", "reviewer", "qa")


@dataclass(frozen=True)
class Signers:
    """A finished study, the authority of its signers, and their keys."""

    study: Study
    ca: Authority

    @property
    def run(self) -> Path:
        return self.study.run

    @property
    def signed(self) -> Path:
        return self.run / "report.signed.pdf"

    def key(self, role: str) -> Path:
        return self.study.folder / f"{role}.p12"

    def sign(self, cli: Cli, role: str, *more: object) -> Outcome:
        return cli("sign", self.run, "--role", role, "--key", self.key(role), "--json", *more)


def states(outcome: Outcome) -> dict[str, str]:
    return {c["name"]: c["status"] for c in outcome.json()["checks"]}


def broken(outcome: Outcome) -> str:
    return " ".join(c["detail"] for c in outcome.json()["checks"] if c["status"] == "broken")


@dataclass(frozen=True)
class Kept:
    """A study where its run looks for it, as it was before and after it was signed, and the file after each signer."""

    signers: Signers
    unsigned: Path
    after: list[bytes]
    done: Path

    def put(self, state: Path) -> Signers:
        """The study as it was, in its place: a run finds its test set by the path in its record."""
        home = self.signers.study.folder
        shutil.rmtree(home)
        shutil.copytree(state, home)
        return self.signers


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Kept:
    base = tmp_path_factory.mktemp("signers")
    (base / "home").mkdir()
    s = make_study(base / "home")
    with_model = ("--testset", s.testset, "--model", s.predictions)
    assert cli("lock", s.cases, "--protocol", s.protocol, "--out", s.testset, "--actor", "C. Keeper").code == 0
    assert cli("freeze", s.protocol, *with_model, "--out", s.frozen, "--actor", "A. Author").code == 0
    assert cli("run", s.frozen, *with_model, "--out", s.run, "--actor", "O. Runner").code == 0
    signers = Signers(s, make_ca(base / "ca"))
    for role, name in zip(ROLES, ("A. Author", "R. Reviewer", "Q. Approver"), strict=True):
        make_person(signers.key(role), name, signers.ca)
    unsigned = Path(shutil.copytree(s.folder, base / "unsigned"))
    after = []
    for role in ROLES:
        done = signers.sign(cli, role)
        assert done.code == 0, done.err
        after.append(signers.signed.read_bytes())
    return Kept(signers, unsigned, after, Path(shutil.copytree(s.folder, base / "signed")))


@pytest.fixture
def fresh(kept: Kept) -> Signers:
    """A study that is run and not signed."""
    return kept.put(kept.unsigned)


@pytest.fixture
def signed(kept: Kept) -> Signers:
    """The same, signed by all three."""
    return kept.put(kept.done)


def test_three_signatures_are_over_the_sealed_report_and_on_the_ledger(signed: Signers, cli: Cli, kept: Kept) -> None:
    done = cli("verify", signed.run, "--trust", signed.ca.pem, "--json")
    assert done.code == 0, done.out
    assert {k: v for k, v in states(done).items() if "sign" in k} == {
        **dict.fromkeys(("seal signature", "lock signature", "freeze signature"), "absent"),
        **dict.fromkeys(("signed report", *(f"signature of the {r}" for r in ROLES)), "holds"),
    }
    sealed = (signed.run / "report.pdf").read_bytes()
    entries = [e for e in ledger.read(signed.run / "ledger.jsonl") if e.action == "signed"]
    assert [(e.role, e.actor) for e in entries] == [
        ("author", "A. Author"),
        ("reviewer", "R. Reviewer"),
        ("qa", "Q. Approver"),
    ]
    before = sealed
    for entry, data in zip(entries, kept.after, strict=True):
        assert data.startswith(before), "a signature is added behind what was there"
        assert entry.objects["report"] == sha256_bytes(data)
        before = data
    assert entries[0].reason.startswith("Authorship: ")
    listed = cli("inspect", signed.study.testset).out
    assert ": signed, " in listed
    assert cli("verify", signed.signed, "--json").json()["kind"] == "signed report"


def test_a_stamp_shows_name_time_and_meaning_in_its_box(kept: Kept) -> None:
    import pikepdf

    with pikepdf.open(io.BytesIO(kept.after[-1])) as pdf:
        assert pdf.Root.AcroForm.SigFlags == 3
        assert list(pdf.Root.Perms.keys()) == ["/DocMDP"]
        for field, role in zip(pdf.Root.AcroForm.Fields, ROLES, strict=True):
            assert str(field.T) == f"signature-{role}"
            assert field.V.SubFilter == "/ETSI.CAdES.detached"
            left, bottom, right, top = (float(x) for x in field.Rect)
            assert (right - left, top - bottom) == pytest.approx((112 * 72 / 25.4, 25 * 72 / 25.4), abs=1)
            assert field.P.MediaBox[2] > right
        assert len(pdf.pages) > 3
        # signature fields are not tagged: a signed copy stays PDF/A-3a and no longer says that it is PDF/UA-1
        assert b"pdfua/ns/id" not in pdf.Root.Metadata.read_bytes()
        assert pdf.open_metadata()["pdfaid:conformance"] == "A"
    with pikepdf.open(io.BytesIO((kept.unsigned / "run/report.pdf").read_bytes())) as pdf:
        assert b"pdfua/ns/id" in pdf.Root.Metadata.read_bytes()
    from evalsuite.report.stamp import Stamp, make_stamp

    page = make_stamp(
        Stamp(name="\u202eEve", utc="2026-01-01T00:00:00Z", clock="local clock", meaning="<b>all</b>", certificate="ab")
    )
    with pikepdf.open(io.BytesIO(page)) as pdf:
        assert len(pdf.pages) == 1


def test_signers_have_their_turn_once_and_each_signs_alone(fresh: Signers, cli: Cli, kept: Kept) -> None:
    before = (fresh.study.testset / "ledger.jsonl").read_bytes()
    for role, said in (("reviewer", "not signed by its author yet"), ("operator", "not signed as operator")):
        done = cli("sign", fresh.run, "--role", role, "--key", fresh.key("reviewer"))
        assert done.code == 2
        assert said in " ".join(done.err.split())
    assert (fresh.study.testset / "ledger.jsonl").read_bytes() == before
    assert not fresh.signed.exists()
    assert fresh.sign(cli, "author").code == 0
    assert fresh.sign(cli, "author").code == 2
    assert fresh.sign(cli, "qa").code == 2
    # the author's certificate under another name, and another certificate under the author's name
    for key, actor in ((fresh.key("author"), "R. Reviewer"), (fresh.key("reviewer"), "A. Author")):
        done = cli("sign", fresh.run, "--role", "reviewer", "--key", key, "--actor", actor)
        assert done.code == 2
        assert "has signed this run as author already" in " ".join(done.err.split())


def test_whoever_froze_the_protocol_does_not_approve_the_report(fresh: Signers, cli: Cli) -> None:
    make_person(fresh.key("author"), "Another Author", fresh.ca)
    make_person(fresh.key("qa"), "A. Author", fresh.ca)
    assert fresh.sign(cli, "author").code == 0
    assert fresh.sign(cli, "reviewer").code == 0
    done = fresh.sign(cli, "qa")
    assert done.code == 2
    assert "Separation of duties: A. Author is author and approves as QA what they wrote" in " ".join(done.err.split())


def test_a_signed_run_is_closed(signed: Signers, cli: Cli) -> None:
    assert cli("score", signed.run).code == 2
    assert cli("verify", signed.run).code == 0  # the refusal left nothing behind
    done = cli("report", signed.run)
    assert done.code == 2
    assert "is signed" in done.err
    assert cli("verify", signed.run).code == 0
    assert cli("void", signed.run, "--reason", "replaced by a new study").code == 0
    assert cli("sign", signed.run, "--role", "qa", "--key", signed.key("qa")).code == 2


def test_other_people_are_not_those_the_reader_trusts(signed: Signers, cli: Cli, tmp_path: Path) -> None:
    other = make_ca(tmp_path, "Other CA")
    for path in (signed.run, signed.signed):
        done = cli("verify", path, "--trust", other.pem, "--json")
        assert done.code == 3
        assert "leads to none of the trusted" in broken(done)
    eve = make_person(tmp_path / "eve.p12", "A. Author", other)
    forged = sign_report(
        (signed.run / "report.pdf").read_bytes(),
        Signing(identity=load_identity(eve), role="author", utc="2026-01-01T00:00:00Z", meaning="mine"),
    )
    signed.signed.write_bytes(forged)
    assert cli("verify", signed.run).code == 3
    away = tmp_path / "away.pdf"
    away.write_bytes(forged)
    assert cli("verify", away).code == 0, "whole in itself, by somebody"
    assert cli("verify", away, "--trust", signed.ca.pem).code == 3


def test_a_signature_taken_back_is_noticed(signed: Signers, cli: Cli, kept: Kept) -> None:
    sealed = (signed.run / "report.pdf").read_bytes()
    for content, said in (
        (kept.after[0], "rolled back to the signature of the author"),
        (kept.after[1], "rolled back to the signature of the reviewer"),
        (sealed, "it is not the file of ledger entry"),
        (kept.after[2] + b"\n", "it is not the file of ledger entry"),
        (b"", "it is not the file of ledger entry"),
    ):
        signed.signed.write_bytes(content)
        for path in (signed.run, signed.signed):
            done = cli("verify", path, "--json")
            assert done.code == 3
            assert said in broken(done)
    signed.signed.unlink()
    assert "is missing" in broken(cli("verify", signed.run, "--json"))
    # the run as a whole taken back to the author's signature: the test set's ledger remembers
    lines = (signed.run / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (signed.run / "ledger.jsonl").write_bytes(b"".join(lines[:-2]))
    signed.signed.write_bytes(kept.after[0])
    done = cli("verify", signed.run, "--json")
    assert done.code == 3
    assert broken(done) == "the test set's ledger has more signatures of this run than the run: it was rolled back"


def test_flipped_bits_are_noticed_beside_the_run_and_away_from_it(kept: Kept) -> None:
    """A sample of what the tamper campaign tries by the thousand.

    The value of the last signature is covered by nothing in the file itself, only by the ledger: see `gap`.
    """
    data = kept.after[-1]
    rng = random.Random(7)
    lengths = [len((kept.unsigned / "run/report.pdf").read_bytes()), *(len(d) for d in kept.after)]
    values = [data.index(b"/Contents <", start) + 11 for start in lengths[:-1]]
    gap = range(values[-1], data.index(b">", values[-1]))
    places = [8 * (v + rng.randrange(2000)) + rng.randrange(8) for v in values[:-1] for _ in range(3)]
    places += [8 * place for place in (values[0] - 1, gap[-1], len(data) - 1, lengths[0] + 5)]
    places += [bit for bit in (rng.randrange(8 * len(data)) for _ in range(6)) if bit // 8 not in gap]
    for bit in places:
        assert not _holds(_flipped(data, bit)), f"bit {bit}"
    for cut in (values[1], gap[5], len(data) - 1, 100):
        assert not _holds(data[:cut]), f"cut at {cut}"
    assert _holds(data)
    s = kept.put(kept.done)
    entries = [e for e in ledger.read(s.run / "ledger.jsonl") if e.action == "signed"]
    for bit in [8 * place + rng.randrange(8) for place in gap[:: len(gap) // 50]]:
        s.signed.write_bytes(_flipped(data, bit))
        assert [c.status for c in check_signed_run(s.run, entries, Reader())] == ["broken"], f"bit {bit}"


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def _holds(data: bytes) -> bool:
    from evalsuite.errors import IntegrityError

    try:
        return bool(read_signatures(data))
    except IntegrityError:
        return False


def test_wrong_orders_and_later_changes_do_not_verify(kept: Kept, tmp_path: Path) -> None:
    from pyhanko.pdf_utils import generic
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

    from evalsuite.errors import InputError, IntegrityError

    sealed = (kept.unsigned / "run/report.pdf").read_bytes()

    def sign(data: bytes, role: str) -> bytes:
        who = load_identity(kept.unsigned / f"{role}.p12")
        return sign_report(data, Signing(identity=who, role=role, utc="2026-01-01T00:00:00Z", meaning="m"))

    with pytest.raises(IntegrityError, match="not that of the author"):
        read_signatures(sign(sealed, "reviewer"))
    with pytest.raises(IntegrityError, match="not that of the reviewer"):
        read_signatures(sign(kept.after[0], "qa"))
    with pytest.raises(InputError, match="cannot be signed as author"):
        sign(kept.after[0], "author")

    def annotate(data: bytes) -> bytes:
        writer = IncrementalPdfFileWriter(io.BytesIO(data))
        page = writer.root["/Pages"]["/Kids"][0]
        page[generic.pdf_name("/Rotate")] = generic.NumberObject(90)
        writer.update_container(page)
        out = io.BytesIO()
        writer.write(out)
        return out.getvalue()

    turned = annotate(kept.after[0])
    with pytest.raises(IntegrityError, match="something other than signatures was added"):
        read_signatures(turned)
    with pytest.raises(IntegrityError, match="something other than signatures was added"):
        read_signatures(sign(turned, "reviewer"))


def test_a_command_that_was_cut_off_goes_on(fresh: Signers, signed: Signers, cli: Cli, kept: Kept) -> None:
    pending = signed.run / PENDING
    # Cut off after its line was written, before the file had its name.
    signed.signed.rename(pending)
    lines = (signed.run / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (signed.run / "ledger.jsonl").write_bytes(b"".join(lines[:-1]))
    done = signed.sign(cli, "qa")
    assert done.code == 0, done.err
    assert done.json()["ledger_entry"] == len(lines)
    assert signed.signed.read_bytes() == kept.after[-1]
    assert cli("verify", signed.run).code == 0
    # Cut off before its line: nothing was signed.
    s = kept.put(kept.unsigned)
    (s.run / PENDING).write_bytes(kept.after[0])
    assert cli("verify", s.run).code == 3
    assert s.sign(cli, "author").code == 0
    assert not (s.run / PENDING).exists()
    assert cli("verify", s.run).code == 0


def test_wrong_keys_and_passwords_are_said(fresh: Signers, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVALSUITE_P12_PASSWORD", raising=False)
    base = fresh.study.folder
    locked = make_person(base / "locked.p12", "A. Author", fresh.ca, password=PASSWORD)
    (base / "password").write_text(f"{PASSWORD}\n")
    (base / "wrong").write_text("wrong\n")
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    for key, more, said in (
        (base / "absent.p12", (), "does not exist"),
        (fresh.ca.pem, (), "is a PEM file"),
        (fresh.study.cases, (), "is not a PKCS#12 file"),
        (locked, (), "protected by a password"),
        (locked, ("--password-file", base / "wrong"), "does not open"),
        (locked, ("--password-file", base / "none"), "cannot be read"),
        (make_person(base / "old.p12", "A. Author", fresh.ca, days=(-9, -2)), (), "is valid from"),
        (make_person(base / "other.p12", "A. Author", fresh.ca, signs=False), (), "may not be used for signatures"),
        (make_person(base / "weak.p12", "A. Author", fresh.ca, key=weak), (), "has 1024 bits"),
    ):
        done = cli("sign", fresh.run, "--role", "author", "--key", key, *more)
        assert done.code == 2, key
        assert said in " ".join(done.err.split())
        assert PASSWORD not in done.out + done.err
    assert not fresh.signed.exists()
    monkeypatch.setenv("EVALSUITE_P12_PASSWORD", PASSWORD)
    assert cli("sign", fresh.run, "--role", "author", "--key", locked).code == 0


def test_an_authority_attests_the_time(fresh: Signers, cli: Cli, tmp_path: Path) -> None:
    other = make_authority(tmp_path / "other", "Other TSA")
    with running_tsa(tmp_path / "tsa") as tsa:
        unreachable = fresh.sign(cli, "author", "--tsa", tsa.url.replace("/tsa", "/garbage"))
        assert unreachable.code == 2
        assert "No timestamp from 127.0.0.1" in unreachable.err
        assert fresh.sign(cli, "author", "--tsa", tsa.url, "--tsa-cert", other).code == 2
        assert "signed" not in [e.action for e in ledger.read(fresh.study.testset / "ledger.jsonl")]
        done = fresh.sign(cli, "author", "--tsa", tsa.url, "--tsa-cert", tsa.certificate)
    assert done.code == 0, done.err
    assert done.json()["stamped_utc"].endswith("Z")
    (one,) = read_signatures(fresh.signed.read_bytes())
    assert one.stamped_utc == done.json()["stamped_utc"]
    said = cli("verify", fresh.signed, "--tsa-cert", tsa.certificate, "--json")
    assert said.code == 0, said.out
    assert "by an authority that is trusted" in said.out
    refused = cli("verify", fresh.signed, "--tsa-cert", other, "--json")
    assert refused.code == 3
    assert "not by one of the authorities" in broken(refused)


def test_the_ledgers_head_is_signed_too_where_there_is_a_key(fresh: Signers, cli: Cli) -> None:
    key = fresh.study.folder / "ledger.key"
    assert cli("keygen", key).code == 0
    assert fresh.sign(cli, "author", "--ledger-key", key).code == 0
    head = (fresh.run / "ledger.dsse.json").read_bytes()
    assert fresh.sign(cli, "reviewer", "--ledger-key", key).code == 0
    done = cli("verify", fresh.run, "--json")
    assert done.code == 0, done.out
    assert "all entries; signed by key" in done.out
    (fresh.run / "ledger.dsse.json").write_bytes(head)
    assert "an earlier head was put back" in broken(cli("verify", fresh.run, "--json"))


def test_a_package_keeps_the_signatures_and_notices_when_one_is_taken_off(
    signed: Signers, kept: Kept, cli: Cli, tmp_path: Path
) -> None:
    out = tmp_path / "package"
    done = cli("package", signed.run, "--out", out, "--role", "reviewer", "--actor", "rita", "--json")
    assert done.code == 0, done.err
    assert done.json()["warnings"] == []
    found = states(cli("verify", out, "--trust", signed.ca.pem, "--json"))
    run = next((out / "data" / "runs").iterdir())
    assert {found[f"run {run.name}: signature of the {r}"] for r in ROLES} == {"holds"}
    index = json.loads((out / "data" / "index.json").read_text())["runs"][0]
    assert [s["role"] for s in index["signatures"]] == list(ROLES)
    assert index["report"].endswith("report.signed.pdf")
    # Rolled back to the reviewer's signature, with manifests and ledger made to fit.
    (run / "report.signed.pdf").write_bytes(kept.after[1])
    lines = (run / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (run / "ledger.jsonl").write_bytes(b"".join(lines[:-1]))
    write_tags(out, {})
    assert "more signatures of this run than the run" in broken(cli("verify", out, "--json"))
