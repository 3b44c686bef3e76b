"""A study that asks for sites, sampling weights, partial verification and tipping points: from protocol to report."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.end_to_end.conftest import protocol_text

pytestmark = pytest.mark.traced
N = 400
SITES = ("north", "south", "east", "west")


def write(study) -> None:
    rng = np.random.default_rng(17)
    truth = rng.random(N) < 0.45
    score = 1 / (1 + np.exp(-(2.0 * np.where(truth, 1, -1) + rng.normal(size=N) * 1.5)))
    call = score >= 0.5
    verified = rng.random(N) < np.where(call, 0.98, 0.93)
    weight = np.where(truth, 1.0, 3.0)
    drawn = np.where(rng.random(N) < 0.4, "clinic", "ward")
    votes = [np.where(rng.random(N) < 0.9, truth, ~truth).astype(int) for _ in range(3)]
    rows = ["case_id,patient_id,truth,site,sample_weight,verified,drawn,r1,r2,r3"]
    rows += [
        f"c{i:03d},p{i:03d},{int(truth[i]) if verified[i] else ''},{SITES[i % 4]},{weight[i]:g},{int(verified[i])},"
        f"{drawn[i]},{votes[0][i]},{votes[1][i]},{votes[2][i] if i % 9 else ''}"
        for i in range(N)
    ]
    study.cases.write_text("\n".join(rows) + "\n")
    study.predictions.write_text("case_id,p_disease\n" + "".join(f"c{i:03d},{score[i]:.6f}\n" for i in range(N)))
    study.protocol.write_text(
        protocol_text(
            strata=["site"],
            disclose=["site"],
            missing_reference={"primary": "tipping_point"},
            analyses={
                "generalisation": {"site": "site", "endpoints": ["discrimination", "sensitivity"]},
                "weighting": {"stratum": "drawn"},
                "verification": {"verified": "verified", "covariates": ["drawn"]},
                "truth_panel": {"readers": ["r1", "r2", "r3"], "endpoints": ["discrimination", "sensitivity"]},
                "group_differences": {
                    "stratum": "site",
                    "reference": "north",
                    "endpoints": ["discrimination", "sensitivity"],
                },
            },
        )
    )


@pytest.fixture
def done(study, cli):
    write(study)
    for command in (
        ("lock", study.cases, "--protocol", study.protocol, "--out", study.testset),
        ("freeze", study.protocol, "--testset", study.testset, "--model", study.predictions, "--out", study.frozen),
    ):
        result = cli(*command)
        assert result.code == 0, result.err
    result = cli("run", study.frozen, "--testset", study.testset, "--model", study.predictions, "--out", study.run)
    assert result.code in (0, 1), result.err
    return study


def test_all_blocks_reach_evidence_and_report(done, cli):
    evidence = json.loads((done.run / "evidence.json").read_text())
    found = evidence["findings"]
    by_analysis = {name: [f for f in found if f["analysis"] == name] for name in {f["analysis"] for f in found}}

    sites = by_analysis["generalisation"]
    for endpoint in ("discrimination", "sensitivity"):
        conditions = {f["condition"] for f in sites if f["endpoint"] == endpoint}
        each = {f"{said}={s}" for s in SITES for said in ("leave_out", "others", "gap")}
        assert conditions == {"average_site", "new_site", "between_sites", "site", *each}
        one = {f["condition"]: f["estimate"] for f in sites if f["endpoint"] == endpoint and not f["stratum"]}
        assert one["new_site"]["low"] <= one["average_site"]["low"]
        assert one["new_site"]["high"] >= one["average_site"]["high"]
    tests = [t for t in evidence["tests"] if t["method"].startswith("Cochran Q")]
    assert {t["endpoint"] for t in tests} == {"discrimination", "sensitivity"}
    assert all(0.0 <= t["p_value"] <= 1.0 for t in tests)

    weighted = {f["metric"]: f["estimate"] for f in by_analysis["weighting"] if not f["stratum"]}
    assert set(weighted) == {"auroc", "sensitivity", "specificity", "ppv", "npv", "brier"}
    plain = {f["metric"]: f["estimate"] for f in found if f["analysis"] == "performance" and not f["stratum"]}
    assert weighted["sensitivity"]["value"] == pytest.approx(plain["sensitivity"]["value"])  # equal within a class
    assert weighted["ppv"]["value"] < plain["ppv"]["value"]  # negatives count three times

    corrected = {(f["metric"], f["condition"]): f["estimate"] for f in by_analysis["verification_bias"]}
    assert corrected["sensitivity", "corrected"]["value"] < corrected["sensitivity", "verified_only"]["value"]
    assert corrected["specificity", "corrected"]["value"] > corrected["specificity", "verified_only"]["value"]

    tipping = {(f["endpoint"], f["metric"], f["condition"]): f for f in by_analysis["tipping_point"]}
    worst = {
        f["endpoint"]: f["estimate"]["value"]
        for f in by_analysis["missing_data"]
        if f["condition"] == "missing_reference=worst_case" and not f["stratum"]
    }
    for endpoint, metric in (("discrimination", "auroc"), ("sensitivity", "sensitivity")):
        assert tipping[endpoint, metric, "all_wrong"]["estimate"]["value"] == pytest.approx(worst[endpoint])
    assert tipping["sensitivity", "cases_wrong_to_fail", "tipping_point"]["estimate"]["n"] > 0
    assert not any("these estimates are of the set as it is, unweighted" in note for note in evidence["notes"])

    assert cli("verify", done.run).code == 0
    panel = {(f["endpoint"], f["condition"]): f["estimate"] for f in by_analysis["truth_panel"]}
    for endpoint in ("discrimination", "sensitivity"):
        both, patients = panel[endpoint, "panel_and_patients"], panel[endpoint, "patients"]
        assert both["value"] == patients["value"]
        assert both["high"] - both["low"] > patients["high"] - patients["low"]
        assert {c for e, c in panel if e == endpoint} >= {"panel", "reader=r2", "without_reader=r3"}

    apart = {(f["metric"], f["stratum"]["site"]): f for f in by_analysis["group_differences"]}
    assert {metric for metric, _ in apart} == {"auroc_difference", "sensitivity_difference", "sensitivity_ratio"}
    assert {site for _, site in apart} == {"south", "east", "west"}
    assert all(f["reference_group"] == "north" for f in apart.values())

    sealed = json.loads((done.testset / "testset.lock.json").read_text())["columns"]["sealed"]
    assert {"verified", "drawn", "r1", "r2", "r3"} <= set(sealed)
    pages = sections(done)
    assert [s for s in pages if s == "Generalisation and population"]
    assert pages.index("Generalisation and population") == pages.index("Groups") + 1


def sections(study) -> list[str]:
    from evalsuite.protocol.load import load_protocol
    from evalsuite.report import build_dossier
    from evalsuite.types import Evidence, Verdict

    def read(name):
        return json.loads((study.run / name).read_text())

    dossier = build_dossier(
        load_protocol(study.frozen),
        Evidence.from_json(read("evidence.json")),
        Verdict.from_json(read("verdict.json")),
        read("record.json"),
    )
    captions = [b.caption for s in dossier.sections for b in s.blocks if b.block == "table"]
    for words in (
        "How much results differ by site",
        "Each site, and the average without it",
        "weighted to the sampled population",
        "Correction for partial verification",
        "Performance against the reference panel",
        "Differences and ratios between groups, against north",
        "Tipping points",
    ):
        assert any(words in c for c in captions), words
    return [s.title for s in dossier.sections]


def test_weights_that_are_not_there_are_asked_for(study, cli):
    study.protocol.write_text(protocol_text(analyses={"weighting": {}}))
    assert cli("lock", study.cases, "--protocol", study.protocol, "--out", study.testset).code == 0
    done = cli("run", study.protocol, "--testset", study.testset, "--model", study.predictions, "--out", study.run)
    assert done.code == 2
    assert "sample_weight" in done.err
