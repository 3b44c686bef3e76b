"""A new version against the last and the original one, from images to the decision, and how it is refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from evalsuite.protocol.load import load_protocol

from .conftest import Outcome, lay_out_little

N = 60


@dataclass(frozen=True)
class Regression:
    """A finished comparison of three versions, and its command line."""

    folder: Path
    done: Outcome

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def arguments(self, *, protocol: str = "frozen", out: str = "run", original: str | None = "first.csv") -> list[str]:
        more = [] if original is None else ["--original", str(self.folder / original)]
        at = [str(self.folder / name) for name in (protocol, "set", "new.csv", "last.csv", out)]
        return ["compare", at[0], "--testset", at[1], "--model", at[2], "--baseline", at[3], "--out", at[4], *more]


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory, cli: Callable[..., Outcome]) -> Regression:
    """Sixty images; the new version has one newly wrong case (c07), one newly right (c00), and none for c11."""
    folder = tmp_path_factory.mktemp("regression")
    positive = [i % 2 == 0 for i in range(N)]
    right = {i: 0.9 if p else 0.1 for i, p in enumerate(positive)}
    tables = {"new": dict(right), "last": {**right, 0: 0.2}, "first": {**right, 0: 0.2, 2: 0.3, 9: 0.8}}
    tables["new"][7] = 0.7
    del tables["new"][11]
    for name, scores in tables.items():
        lines = [f"c{i:02d},{score}" for i, score in scores.items()]
        (folder / f"{name}.csv").write_text("\n".join(["case_id,p_target", *lines]) + "\n")
    (folder / "images").mkdir()
    rows = ["case_id,patient_id,image,target_present,sex,age,manufacturer"]
    for i, p in enumerate(positive):
        pixels = np.random.default_rng(i).integers(0, 255, (16, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
        rows.append(f"c{i:02d},p{i:02d},images/{i}.png,{int(p)},{'MF'[i // 30]},{30 if i < 30 else 70},A")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    body = load_protocol("pccp_version_regression").model_dump(mode="json", by_alias=True)
    body |= {"small_strata": {"suppress_below": 5}, "analyses": {}, "confidence": {"bootstrap": {"replicates": 100}}}
    (folder / "protocol.yaml").write_text(yaml.safe_dump(body))
    made = Regression(folder, Outcome(0, "", ""))
    bound = made.arguments()[2:8]
    lock = ("lock", folder / "cases.csv", "--protocol", folder / "protocol.yaml", "--out", folder / "set")
    assert cli(*lock).code == 0
    original = ("--original", folder / "first.csv", "--out", folder / "frozen")
    assert cli("freeze", folder / "protocol.yaml", *bound, *original).code == 0
    with pytest.MonkeyPatch.context() as patch:
        lay_out_little(patch)
        return Regression(folder, cli(*made.arguments()))


def test_an_open_criterion_means_do_not_implement_and_exit_1(regression: Regression) -> None:
    assert regression.done.code == 1, regression.done.err
    assert "DO NOT IMPLEMENT" in regression.done.out
    verdict = json.loads((regression.run / "verdict.json").read_text())
    assert verdict["decision"] == "do_not_implement"
    assert verdict["evidence"] is True
    judged = {(c["endpoint"], *c["stratum"].values()) for c in verdict["criteria"]}
    assert ("sensitivity against the last version", "F") in judged
    assert ("specificity against the original version",) in judged


def test_both_versions_are_compared_and_sealed(regression: Regression, cli: Callable[..., Outcome]) -> None:
    evidence = json.loads((regression.run / "evidence.json").read_text())
    differences = {
        (f["endpoint"], f["reference_group"]): f["estimate"]["value"]
        for f in evidence["findings"]
        if f["metric"] == "sensitivity_difference" and not f["stratum"] and f["condition"] is None
    }
    # One of 30 positive cases newly right against the last version, two against the original one.
    assert differences["sensitivity against the last version", "baseline"] == pytest.approx(1 / 30)
    assert differences["sensitivity against the original version", "original"] == pytest.approx(2 / 30)
    assert evidence["model"]["original"]["name"] == "first"
    record = json.loads((regression.run / "record.json").read_text())
    assert record["original"]["digest"] == evidence["model"]["original"]["digest"]
    frozen = json.loads((regression.folder / "frozen" / "freeze.json").read_text())
    assert frozen["baseline"]["digest"] == f"{record['baseline']['digest']} and original {record['original']['digest']}"
    assert cli("verify", regression.run).code == 0


def test_changed_cases_are_listed_and_pictured(regression: Regression) -> None:
    rows = list(csv.DictReader((regression.run / "arrays" / "flips.csv").read_text().splitlines()))
    last = {(r["case_id"], r["change"]) for r in rows if "original" not in r["comparison"]}
    assert last == {("c00", "fixed"), ("c07", "broken"), ("c11", "output lost")}
    first = {(r["case_id"], r["change"]) for r in rows if "original" in r["comparison"]}
    assert first == {(c, "fixed") for c in ("c00", "c02", "c09")} | {("c07", "broken"), ("c11", "output lost")}
    pictures = json.loads((regression.run / "arrays" / "pictures.json").read_text())["pictures"]
    shown = {
        (p["case_id"], p["group"].partition(":")[0]) for p in pictures if p["group"].startswith(("broken", "fixed"))
    }
    assert {("c07", "broken"), ("c00", "fixed"), ("c09", "fixed")} <= shown
    page = (regression.run / "report.html").read_text()
    for words in (
        "Do not implement the modification",
        "What to do: do not implement",
        "1 are newly right and 1 newly wrong",
        "3 are newly right and 1 newly wrong",
        "The versions that were compared",
        "Newly wrong: changed decisions",
        "lost their output",
        "guarded groups",
    ):
        assert words in page, words


def test_the_same_command_again_is_the_same_run_and_another_original_is_not(
    regression: Regression, cli: Callable[..., Outcome]
) -> None:
    again = cli(*regression.arguments(), "--json")
    assert (again.code, again.json()["already_done"]) == (1, True)
    other = cli(*regression.arguments(original="last.csv"))
    assert other.code == 2
    assert "another protocol" in other.err
    swapped = cli(*regression.arguments(original="last.csv", out="swapped"))
    assert swapped.code == 3
    assert "another baseline" in swapped.err


def test_the_original_version_is_named_where_the_protocol_compares_with_it(
    regression: Regression, cli: Callable[..., Outcome]
) -> None:
    none = cli(*regression.arguments(original=None, out="none"))
    assert none.code == 2
    assert "--original" in none.err
    body = yaml.safe_load((regression.folder / "protocol.yaml").read_text())
    body = {**body, "modification": None, "comparisons": [c for c in body["comparisons"] if c["against"] == "baseline"]}
    (regression.folder / "last_only.yaml").write_text(yaml.safe_dump(body))
    refused = cli(*regression.arguments(protocol="last_only.yaml", out="more"))
    assert refused.code == 2
    assert "nothing with an original version" in refused.err


def test_exchanged_predictions_of_the_original_are_found(regression: Regression, cli: Callable[..., Outcome]) -> None:
    sealed = regression.run / "original.parquet"
    kept = sealed.read_bytes()
    try:
        sealed.write_bytes((regression.run / "baseline.parquet").read_bytes())
        assert cli("verify", regression.run).code == 3
    finally:
        sealed.write_bytes(kept)
