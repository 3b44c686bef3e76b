"""A paired comparison from the protocol file to the sealed report, and how it is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.conftest import N, Study, protocol_text

DIFFERENCES = [
    {"name": "sensitivity gain", "metric": "sensitivity", "at": "primary", "role": "primary",
     "hypothesis": "non_inferiority", "margin": 0.2, "baseline": "the previous version"},
    {"name": "area gain", "metric": "auroc", "hypothesis": "superiority"},
    {"name": "brier change", "metric": "brier"},
    {"name": "specificity alike", "metric": "specificity", "at": "primary", "hypothesis": "equivalence",
     "margin": 0.3},
]  # fmt: skip


@dataclass(frozen=True)
class Comparison(Study):
    @property
    def baseline(self) -> Path:
        return self.folder / "baseline.csv"


@pytest.fixture
def two(locked) -> Comparison:
    """The study with a second table of predictions: the same scores with more noise."""
    made = Comparison(locked.folder)
    rng = np.random.default_rng(77)
    rows = made.predictions.read_text().splitlines()[1:]
    scores = [float(r.split(",")[1]) for r in rows]
    worse = [1 / (1 + np.exp(-(np.log(s / (1 - s)) + rng.normal() * 1.5))) for s in scores]
    made.baseline.write_text("case_id,p_disease\n" + "".join(f"c{i:03d},{worse[i]:.6f}\n" for i in range(N)))
    made.protocol.write_text(protocol_text(kind="comparison", comparisons=DIFFERENCES))
    return made


def arguments(s: Comparison, protocol: Path, baseline: Path | None = None, out: Path | None = None):
    return (
        "compare", protocol, "--testset", s.testset, "--model", s.predictions,
        "--baseline", baseline or s.baseline, "--out", out or s.run,
    )  # fmt: skip


def freeze(cli, s: Comparison, *more: object) -> None:
    done = cli("freeze", s.protocol, "--testset", s.testset, "--model", s.predictions, "--out", s.frozen, *more)
    assert done.code == 0, done.err


def test_a_frozen_comparison_ends_in_a_verdict_on_differences(two, cli):
    freeze(cli, two, "--baseline", two.baseline)
    done = cli(*arguments(two, two.frozen), "--json")
    assert done.code == 0, done.err
    verdict = done.json()
    assert verdict["evidence"] is True
    judged = {(c["endpoint"], c["criterion"]["bound"]): c for c in verdict["criteria"]}
    gain = judged["sensitivity gain", "lower"]
    assert gain["metric"] == "sensitivity_difference"
    assert gain["criterion"]["value"] == -0.2
    assert gain["outcome"] == "met"
    assert {b for e, b in judged if e == "specificity alike"} == {"lower", "upper"}

    evidence = json.loads((two.run / "evidence.json").read_text())
    found = [f for f in evidence["findings"] if f["analysis"] == "comparison" and f["stratum"] == {}]
    difference = {f["metric"]: f["estimate"] for f in found if f["reference_group"] == "baseline"}
    assert set(difference) == {
        "sensitivity_difference", "auroc_difference", "brier_difference", "specificity_difference"
    }  # fmt: skip
    own = {(f["metric"], f["condition"]): f["estimate"]["value"] for f in found if f["condition"] is not None}
    for metric in ("sensitivity", "auroc", "brier", "specificity"):
        assert difference[f"{metric}_difference"]["value"] == pytest.approx(
            own[metric, "candidate"] - own[metric, "baseline"], abs=1e-12
        )
    in_strata = [f for f in evidence["findings"] if f["metric"] == "auroc_difference" and f["stratum"]]
    assert {tuple(f["stratum"].items()) for f in in_strata} == {
        (("sex", "female"),), (("sex", "male"),), (("age", "<50"),), (("age", ">=50"),)
    }  # fmt: skip
    assert {"McNemar exact", "McNemar mid-p", "DeLong, paired, two-sided z"} <= {t["method"] for t in evidence["tests"]}
    assert evidence["model"]["baseline"]["digest"]
    record = json.loads((two.run / "record.json").read_text())
    assert record["baseline"]["digest"] == evidence["model"]["baseline"]["digest"]
    assert (two.run / "baseline.parquet").is_file()
    assert cli("verify", two.run).code == 0
    (two.run / "baseline.parquet").write_bytes(b"changed")
    assert cli("verify", two.run).code == 3


def test_the_same_comparison_gives_the_same_bytes_and_is_not_run_twice(two, cli):
    assert cli(*arguments(two, two.protocol)).code == 1
    again = two.folder / "again"
    assert cli(*arguments(two, two.protocol, out=again)).code == 1
    assert (two.run / "evidence.json").read_bytes() == (again / "evidence.json").read_bytes()
    assert cli(*arguments(two, two.protocol)).code == 1
    other = cli(*arguments(two, two.protocol, baseline=two.predictions))
    assert other.code == 2
    assert "another" in other.err
    assert "least 2, median 2, most 2" in cli("inspect", two.testset).out, "a comparison is a use, and counted once"


def test_a_run_of_the_same_set_serves_as_baseline(two, cli):
    plain = two.folder / "plain.yaml"
    plain.write_text(protocol_text())
    earlier = two.folder / "earlier"
    assert cli("run", plain, "--testset", two.testset, "--model", two.baseline, "--out", earlier).code == 1
    assert cli(*arguments(two, two.protocol, baseline=earlier)).code == 1
    direct = two.folder / "direct"
    assert cli(*arguments(two, two.protocol, out=direct)).code == 1
    one, other = (json.loads((f / "evidence.json").read_text()) for f in (two.run, direct))
    assert one == other
    (earlier / "predictions.parquet").write_bytes(b"changed")
    assert cli(*arguments(two, two.protocol, baseline=earlier, out=two.folder / "third")).code == 3


def test_missing_outputs_count_against_the_candidate_and_for_the_baseline(two, cli):
    lines = two.predictions.read_text().splitlines()
    two.predictions.write_text("\n".join(lines[:1] + lines[31:]) + "\n")
    lines = two.baseline.read_text().splitlines()
    two.baseline.write_text("\n".join(lines[:-30]) + "\n")
    assert cli(*arguments(two, two.protocol)).code == 1
    evidence = json.loads((two.run / "evidence.json").read_text())
    values = {
        f["condition"]: f["estimate"]["value"]
        for f in evidence["findings"]
        if f["metric"] == "sensitivity_difference" and not f["stratum"]
    }
    assert values[None] == values["missing_outputs=worst_case"]
    assert (
        values["missing_outputs=worst_case"] < values["missing_outputs=exclude"] < values["missing_outputs=best_case"]
    )
    assert any("30 cases of the candidate, 30 of the baseline" in n for n in evidence["notes"])


def test_a_baseline_is_bound_by_the_freeze(two, cli):
    freeze(cli, two, "--baseline", two.predictions)
    other = cli(*arguments(two, two.frozen))
    assert other.code == 3
    assert "another baseline" in other.err
    named = cli(*arguments(two, two.protocol), "--json")
    assert named.json()["evidence"] is False


def test_an_unbound_baseline_is_told_and_may_not_be_exchanged(two, cli):
    freeze(cli, two)
    first = cli(*arguments(two, two.frozen), "--json")
    assert first.json()["evidence"] is True
    assert "not bound" in json.dumps(json.loads((two.run / "record.json").read_text())["flags"])
    second = cli(*arguments(two, two.frozen, baseline=two.predictions, out=two.folder / "second"), "--json")
    assert second.json()["evidence"] is False
    assert any("exchanged" in r for r in second.json()["not_evidence_because"])


def test_a_comparison_needs_its_verb_and_a_plain_protocol_refuses_it(two, cli):
    s = two
    bare = cli("run", s.protocol, "--testset", s.testset, "--model", s.predictions, "--out", s.run)
    assert bare.code == 2
    assert "evalsuite compare" in bare.err
    plain = s.folder / "plain.yaml"
    plain.write_text(protocol_text())
    refused = cli(*arguments(s, plain))
    assert refused.code == 2
    assert "no comparison" in refused.err


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"metric": "ece"}, "comparisons[0].metric"),
        ({"at": None}, "comparisons[0].at"),
        ({"margin": None}, "comparisons[0].margin"),
        ({"hypothesis": None, "margin": None}, "comparisons[0].hypothesis"),
        ({"criterion": {"bound": "lower", "op": ">", "value": 0.1}}, "comparisons[0].criterion"),
        ({"interval": "wilson"}, "comparisons[0].interval"),
        ({"name": "brier"}, "comparisons[0].name"),
        ({"each": "nothing"}, "comparisons[0].each"),
        ({"margin": 1.5}, "comparisons[0].margin"),
        ({"colour": "red"}, "comparisons[0]"),
    ],
)
def test_contradictions_are_told_with_their_place(two, cli, change, where):
    changed = {k: v for k, v in {**DIFFERENCES[0], **change}.items() if v is not None}
    two.protocol.write_text(protocol_text(kind="comparison", comparisons=[changed]))
    done = cli(*arguments(two, two.protocol))
    assert done.code == 2
    assert where in done.err
