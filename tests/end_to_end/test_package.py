"""`evalsuite package` and what `verify` says of a package, whole or meddled with."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from evalsuite import __version__
from evalsuite.protocol.jsonschema import json_schema
from evalsuite.record import ledger
from evalsuite.record.bag import check_bag, read_info, write_tags
from tests.end_to_end.conftest import Outcome, Study, make_study, protocol_text

Cli = Callable[..., Outcome]
RITA = ("--role", "reviewer", "--actor", "rita", "--json")
TRIAGE = {
    "at": "primary",
    "arrivals_per_hour": 5,
    "prevalence": 0.1,
    "reading": {"with_condition": 8, "without_condition": 8},
    "readers": 2,
}
CLAUSES = {"892.2080(b)(2)": ["sensitivity"], "discrimination": "claim C-1", "hazard H-3": "in the risk file"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Study:
    """A frozen study with two runs: one finished, one with predictions only."""
    from evalsuite.report import write
    from evalsuite.report.pdf import make_pdf

    def short(html: str, **others: object) -> bytes:
        start, end = html.find('<section class="contents"'), html.rfind("</body>")
        return make_pdf(re.sub(r' href="#[^"]*"', "", html[:start] + html[end:]), **others)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "make_pdf", short)
        s = make_study(tmp_path_factory.mktemp("package"))
        fast = {"bootstrap": {"replicates": 100}}
        s.protocol.write_text(protocol_text(clauses=CLAUSES, strata=[], confidence=fast, analyses={"triage": TRIAGE}))
        with_model = ("--testset", s.testset, "--model", s.predictions)
        assert cli("lock", s.cases, "--protocol", s.protocol, "--out", s.testset, "--actor", "carl").code == 0
        assert cli("freeze", s.protocol, *with_model, "--out", s.frozen, "--actor", "ada").code == 0
        assert cli("run", s.frozen, *with_model, "--out", s.run, "--actor", "olga").code == 0
        assert cli("predict", s.frozen, *with_model, "--out", s.folder / "half", "--actor", "olga").code == 0
    return s


@pytest.fixture(scope="module")
def packed(finished: Study, cli: Cli) -> Path:
    """The package as a folder."""
    out = finished.folder / "package"
    done = cli("package", finished.run, "--out", out, *RITA)
    assert done.code == 0, done.err
    return out


@pytest.fixture
def bag(packed: Path, tmp_path: Path) -> Path:
    """A copy to meddle with."""
    return Path(shutil.copytree(packed, tmp_path / "package"))


def run_of(bag: Path) -> Path:
    return next((bag / "data" / "runs").iterdir())


def sealed_again(bag: Path) -> None:
    """Manifests made anew, as whoever meddles would."""
    write_tags(bag, {k: v for k, v in read_info(bag).items() if k != "Payload-Oxum"})


def broken(done: Outcome) -> str:
    assert done.code == 3, done.out
    return "; ".join(f"{c['name']}: {c['detail']}" for c in done.json()["checks"] if c["status"] == "broken")


def test_a_package_is_whole_for_this_program_and_for_sha256sum(packed: Path, finished: Study, cli: Cli) -> None:
    done = cli("verify", packed, "--json")
    assert done.code == 0, done.out
    assert done.json()["kind"] == "package"
    command = ["sha256sum", "--check", "--strict", "--quiet", "manifest-sha256.txt", "tagmanifest-sha256.txt"]
    assert subprocess.run(command, cwd=packed, capture_output=True, check=False).returncode == 0
    said = cli("inspect", packed, "--json").json()
    assert (said["kind"], said["clauses"], len(said["runs"])) == ("package", 3, 1)
    index = json.loads((packed / "data" / "index.json").read_text())
    jsonschema.validate(index, json_schema("package"))
    name = run_of(packed).name
    assert index["runs"][0]["documents"] == [
        f"runs/{name}/{p.name}" for p in sorted(finished.run.iterdir(), key=lambda p: p.name)
    ]
    assert [(r["state"], r["in_package"]) for r in index["ledgers"][0]["runs"]] == [
        ("reported", True),
        ("executed", False),
    ]
    entries = ledger.read(finished.testset / "ledger.jsonl")
    tags = json.loads(done.out)["checks"][0]["detail"]
    assert next(e for e in entries if e.action == "exported").objects["package"] in tags


def test_clauses_lead_to_the_finding(packed: Path) -> None:
    index = json.loads((packed / "data" / "index.json").read_text())
    found = {(c["clause"], c["endpoint"]): c for c in index["clauses"]}
    evidence = json.loads((run_of(packed) / "evidence.json").read_text())
    place = found["892.2080(b)(2)", "sensitivity"]["places"][0]
    finding = evidence["findings"][int(place["finding"].removeprefix("f-"))]
    assert (finding["endpoint"], finding["stratum"], finding["condition"]) == ("sensitivity", {}, None)
    assert found["claim C-1", "discrimination"]["places"]
    assert found["hazard H-3", None]["says"] == "in the risk file"
    page = (packed / "data" / "index.html").read_text()
    for reference in (p.split('"')[0] for p in page.split('href="')[1:]):
        assert (packed / "data" / reference.partition("#")[0]).is_file(), reference


def test_waits_of_a_triage_device_reach_evidence_and_report(finished: Study) -> None:
    evidence = json.loads((finished.run / "evidence.json").read_text())
    jsonschema.validate(evidence, json_schema("evidence"))
    found = [f for f in evidence["findings"] if f["analysis"] == "triage" and f["metric"] == "wait_saved"]
    assert [f["condition"] for f in found] == ["nonpreemptive", "preemptive"]
    assert all(f["estimate"]["low"] < f["estimate"]["value"] < f["estimate"]["high"] for f in found)
    page = (finished.run / "report.html").read_text()
    assert "Triage benefit" in page
    assert "5 images per hour" in page


def test_no_image_no_case_table_and_no_reference_leaves_the_set(packed: Path, finished: Study) -> None:
    names = [p.name for p in packed.rglob("*") if p.is_file()]
    assert not {"cases.parquet", "reference.parquet", "cases.csv"} & set(names)
    listing = next((packed / "data" / "line-listings").iterdir()).read_text()
    assert listing.startswith("case_id,rater,condition,status,reason,p_disease\nc000,device,,ok,,")
    patients = {f"p{i:03d}".encode() for i in range(120)}
    for file in (p for p in packed.rglob("*") if p.is_file() and p.suffix not in (".pdf", ".html")):
        assert not any(p in file.read_bytes() for p in patients), file.name


def test_the_same_runs_make_the_same_zip(finished: Study, packed: Path, cli: Cli, tmp_path: Path) -> None:
    one, other = tmp_path / "one.zip", tmp_path / "other.zip"
    made = [cli("package", finished.run, "--out", p, *RITA) for p in (one, other)]
    assert [m.code for m in made] == [0, 0]
    assert one.read_bytes() == other.read_bytes()
    assert made[0].json()["package"] == made[1].json()["package"]
    assert cli("verify", one, "--json").code == 0
    one.write_bytes(one.read_bytes()[:-1])
    assert "zip file" in broken(cli("verify", one, "--json"))


def test_every_file_that_is_changed_removed_or_renamed_is_noticed(bag: Path) -> None:
    for file in sorted(p for p in bag.rglob("*") if p.is_file()):
        before, aside = file.read_bytes(), file.with_name("aside")
        file.write_bytes(bytes([before[0] ^ 1]) + before[1:])
        assert any(c.status == "broken" for c in check_bag(bag)), file
        file.write_bytes(before)
        file.rename(aside)
        assert any(c.status == "broken" for c in check_bag(bag)), file
        aside.unlink()
        assert any(c.status == "broken" for c in check_bag(bag)), file
        file.write_bytes(before)
    assert all(c.status == "holds" for c in check_bag(bag))


def test_verify_says_which_file(bag: Path, cli: Cli) -> None:
    (run_of(bag) / "evidence.json").rename(run_of(bag) / "evidences.json")
    (bag / "data" / "extra.txt").write_text("new")
    said = broken(cli("verify", bag, "--json"))
    assert f"renamed: data/runs/{run_of(bag).name}/evidence.json" in said
    assert "extra: data/extra.txt" in said


def test_manifests_made_anew_do_not_hide_what_the_runs_say(bag: Path, cli: Cli) -> None:
    verdict = run_of(bag) / "verdict.json"
    before = verdict.read_bytes()
    verdict.write_bytes(before.replace(b'"overall":"', b'"overall": "'))
    sealed_again(bag)
    assert "files: changed: verdict.json" in broken(cli("verify", bag, "--json"))
    verdict.write_bytes(before)
    listing = next((bag / "data" / "line-listings").iterdir())
    listing.write_text(listing.read_text().replace(",ok,", ",failed,", 1))
    sealed_again(bag)
    assert f"line-listings/{listing.name}" in broken(cli("verify", bag, "--json"))


@pytest.mark.parametrize("content", ["[]", "{}", f'{{"software": "{__version__}", "runs": [1]}}', "not JSON"])
def test_an_index_in_another_form_is_said_not_crashed_on(bag: Path, cli: Cli, content: str) -> None:
    (bag / "data" / "index.json").write_text(content)
    assert cli("inspect", bag).code in (2, 3)
    sealed_again(bag)
    assert "index" in broken(cli("verify", bag, "--json"))


def test_an_index_of_another_version_is_not_said_to_hold(bag: Path, cli: Cli) -> None:
    file = bag / "data" / "index.json"
    file.write_bytes(file.read_bytes().replace(f'"software":"{__version__}"'.encode(), b'"software":"99.0"'))
    sealed_again(bag)
    found = {c["name"]: c for c in cli("verify", bag, "--json").json()["checks"]}["index"]
    assert found["status"] == "not checked"
    assert "evalsuite 99.0 is said to have made index.html" in found["detail"]


def test_a_ledger_that_was_cut_or_says_the_run_is_void_is_noticed(bag: Path, finished: Study, cli: Cli) -> None:
    extract = next((bag / "data" / "ledgers").glob("*/ledger.jsonl"))
    lines = extract.read_bytes().splitlines(keepends=True)
    extract.write_bytes(b"".join(lines[:5]))
    sealed_again(bag)
    assert "state" in broken(cli("verify", bag, "--json"))
    extract.write_bytes(b"".join(lines))
    name = run_of(bag).name
    ledger.append(
        extract, action="void", actor="q", role="qa", utc="2026-01-01T00:00:00Z", reason="wrong", objects={"run": name}
    )
    sealed_again(bag)
    assert "says it is void" in broken(cli("verify", bag, "--json"))


def test_a_signed_package_names_its_key_and_keeps_it(finished: Study, cli: Cli, tmp_path: Path) -> None:
    key, other = tmp_path / "rita.key", tmp_path / "eve.key"
    assert cli("keygen", key).code == 0
    assert cli("keygen", other).code == 0
    out = tmp_path / "signed"
    home = shutil.copytree(finished.testset, tmp_path / "set")  # the ledger's head gets a signature
    assert cli("package", finished.run, "--out", out, "--testset", home, "--key", key, *RITA).code == 0
    states = {c["name"]: c["status"] for c in cli("verify", out, "--json").json()["checks"]}
    assert states["package signature"] == "holds"
    said = broken(cli("verify", out, "--trust", f"{other}.pub", "--json"))
    assert "package signature" in said
    (out / "tagmanifest-sha256.txt.dsse.json").unlink()
    assert "package signature" in broken(cli("verify", out, "--json"))


def test_what_is_unfinished_ended_or_not_for_this_person_is_refused(finished: Study, cli: Cli, tmp_path: Path) -> None:
    s = finished
    for runs, why in (
        ((s.folder / "half",), "never finished"),
        ((s.run, s.run), "given twice"),
        ((s.testset,), "no run folder"),
    ):
        done = cli("package", *runs, "--out", tmp_path / "p", *RITA)
        assert done.code == 2, done.out
        assert why in done.err + done.out
    refused = cli("package", s.run, "--out", tmp_path / "p", "--actor", "olga")
    assert refused.code == 2
    assert ledger.read(s.testset / "ledger.jsonl")[-1].action == "export_refused"
    assert cli("package", s.run, "--out", s.run, *RITA).code == 2  # holds something
    for sealed in (s.run, s.testset):
        done = cli("package", s.run, "--out", sealed / "new", *RITA)
        assert done.code == 2
        assert "which is sealed" in done.err + done.out
    assert cli("verify", s.run).code == 0
    home = shutil.copytree(s.testset, tmp_path / "set")
    void = ("--reason", "the wrong scanner was used", "--role", "qa", "--actor", "quinn")
    assert cli("void", s.run, "--testset", home, *void).code == 0
    done = cli("package", s.run, "--out", tmp_path / "p", "--testset", home, *RITA)
    assert done.code == 2
    assert "is void" in done.err + done.out
    assert "the wrong scanner was used" in done.err + done.out
    meddled = shutil.copytree(s.run, tmp_path / "run")
    (meddled / "evidence.json").write_text("{}")
    done = cli("package", meddled, "--out", tmp_path / "p", *RITA)
    assert done.code == 3
    assert not (tmp_path / "p").exists()
