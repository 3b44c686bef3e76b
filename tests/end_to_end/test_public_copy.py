"""`report --public`: what leaves the building for everybody holds no case and no small group, and says what it is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pikepdf
import pytest
import yaml

from .conftest import N, Outcome, Study, make_study, protocol_text

Cli = Callable[..., Outcome]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Study:
    """A run with a site that has three cases, and a criterion judged in every site."""
    study = make_study(tmp_path_factory.mktemp("public"))
    rows = study.cases.read_text().splitlines()
    sites = ["site", *("tinytown" if i < 3 else ("north", "south", "west")[i % 3] for i in range(N))]
    study.cases.write_text("\n".join(f"{r},{s}" for r, s in zip(rows, sites, strict=True)) + "\n")
    endpoint = {"name": "in sites", "metric": "sensitivity", "at": "primary", "each": "site",
                "criterion": {"bound": "lower", "op": ">", "value": 0.1}}  # fmt: skip
    plain = yaml.safe_load(protocol_text())
    study.protocol.write_text(
        protocol_text(
            strata=["sex", "site", {"name": "sex and site", "cross": ["sex", "site"]}],
            disclose=["sex", "site"],
            endpoints=[*plain["endpoints"], endpoint],
            small_strata={"suppress_below": 5, "flag_below": 20},
        )
    )
    assert cli("lock", study.cases, "--protocol", study.protocol, "--out", study.testset, "--actor", "carl").code == 0
    done = cli("run", study.protocol, "--testset", study.testset, "--model", study.predictions, "--out", study.run,
               "--actor", "olga")  # fmt: skip
    assert done.code == 1, done.err
    return study


def _attached(path: Path) -> dict[str, bytes]:
    with pikepdf.open(path) as pdf:
        return {name: spec.get_file().read_bytes() for name, spec in pdf.attachments.items()}


def test_a_public_copy_shows_no_case_and_no_small_group(run: Study, cli: Cli) -> None:
    before = {p.name: p.read_bytes() for p in run.run.iterdir() if p.is_file()}
    done = cli("report", run.run, "--public", "--actor", "olga", "--json")
    assert done.code == 0, done.err
    out = run.folder / "run-public"
    assert {p.name for p in out.iterdir()} == {"report.pdf", "report.html"}
    assert {p.name: p.read_bytes() for p in run.run.iterdir() if p.is_file()} == before, "the run is as it was"
    html = (out / "report.html").read_text()
    attached = _attached(out / "report.pdf")
    assert not set(attached) & {"intake.json", "record.json", "predictions.csv"}
    everything = html + "".join(data.decode() for data in attached.values())
    for hidden in ("c001", "tinytown", "carl", "olga", "predictions.csv", str(run.folder)):
        assert not re.search(rf"(?<!\w){re.escape(hidden)}(?!\w)", everything), hidden
    assert "PUBLIC COPY" in html
    evidence = json.loads(attached["evidence.json"])
    strata = {tuple(sorted(f["stratum"])) for f in evidence["findings"]}
    assert ("sex",) in strata, "groups that are large enough are shown"
    assert ("sex", "site") not in strata
    sites = {f["stratum"]["site"] for f in evidence["findings"] if "site" in f["stratum"]}
    assert len(sites) == 2, "the smallest of the others is withheld with the small one"
    assert not [a for a in evidence["accounting"] if a["stratum"]]
    assert cli("verify", out / "report.pdf").code == 0
    last = json.loads((run.testset / "ledger.jsonl").read_text().splitlines()[-1])
    assert (last["action"], last["actor"], last["objects"]["view"]) == ("exported", "olga", "public")
    assert cli("verify", run.run).code == 0


def test_the_same_run_gives_the_same_public_copy(run: Study, cli: Cli) -> None:
    for name in ("a", "b"):
        assert cli("report", run.run, "--public", "--out", run.folder / name).code == 0
    for file in ("report.pdf", "report.html"):
        assert (run.folder / "a" / file).read_bytes() == (run.folder / "b" / file).read_bytes()


def test_the_model_card_is_printed_or_written_outside_the_run(run: Study, cli: Cli) -> None:
    done = cli("report", run.run, "--model-card")
    assert done.code == 0, done.err
    assert done.out.startswith("# Model card: ")
    assert "**Not evidence:" in done.out
    done = cli("report", run.run, "--model-card", "--out", run.folder / "card.md", "--json")
    assert done.code == 0
    assert "Clinical risk level" in done.json()["open_items"]
    assert (run.folder / "card.md").read_text().startswith("# Model card: ")
    assert (run.folder / "card.md").read_bytes() == _attached(run.run / "report.pdf")["model-card.md"]
    assert cli("report", run.run, "--model-card", "--out", run.run / "card.md").code == 2
    assert cli("report", run.run, "--model-card", "--study", run.protocol).code == 2
    assert cli("verify", run.run).code == 0


def test_what_makes_no_sense_is_said(run: Study, cli: Cli) -> None:
    done = cli("report", run.run, "--out", run.folder / "x")
    assert done.code == 2
    assert "--public" in done.err
    done = cli("report", run.run, "--public", "--study", run.protocol)
    assert done.code == 2
    taken = run.folder / "taken"
    taken.mkdir()
    (taken / "file").touch()
    assert cli("report", run.run, "--public", "--out", taken).code == 2
    assert cli("report", run.folder / "absent", "--public").code in (2, 3)
    assert not (run.folder / "absent-public").exists()
