"""Real images, labels and models, where they lie beside the checkout."""

from __future__ import annotations

import csv
import json

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from .conftest import protocol_text

DERM = {
    "id": "derm-malignancy-standalone",
    "task": {"kind": "binary", "reference": "malignant", "positive": 1, "score": "p_mel + p_bcc + p_akiec"},
    "unit": {"case": "image_id", "cluster": "lesion_id"},
    "strata": [
        "sex",
        {"name": "age", "column": "age", "bins": [40, 60]},
        {"name": "body site", "column": "localization"},
        "dx_type",
    ],
    "disclose": [],
}


def finding(evidence: dict, metric: str, **stratum: str) -> dict:
    hits = [
        f
        for f in evidence["findings"]
        if f["metric"] == metric and f["stratum"] == stratum and f["analysis"] != "missing_data"
    ]
    assert len(hits) == 1
    return hits[0]["estimate"]


def test_recorded_predictions_of_the_whole_set_agree_with_scikit_learn(shared_real, tmp_path, cli):
    source = shared_real / "derm_ham10000"
    (tmp_path / "protocol.yaml").write_text(protocol_text(**{**DERM, "strata": ["sex"]}))
    model = source / "predictions_derm_mnv2_7class.csv"
    assert (
        cli("lock", source / "labels.csv", "--protocol", tmp_path / "protocol.yaml", "--out", tmp_path / "set").code
        == 0
    )
    done = cli(
        "run", tmp_path / "protocol.yaml", "--testset", tmp_path / "set", "--model", model, "--out", tmp_path / "run"
    )
    assert done.code == 1, done.err
    evidence = json.loads((tmp_path / "run" / "evidence.json").read_text())
    table = pd.read_csv(model)
    labels = pd.read_csv(source / "labels.csv").set_index("image_id").loc[table["image_id"], "malignant"]
    wanted = roc_auc_score(labels, table["p_mel"] + table["p_bcc"] + table["p_akiec"])
    assert finding(evidence, "auroc")["value"] == pytest.approx(wanted, abs=1e-9)
    assert round(wanted, 3) == 0.917


TRIAGE = {
    "id": "cxr-triage",
    "task": {"kind": "binary", "reference": "covid", "positive": 1, "score": "p_covid"},
    "unit": {"case": "image", "cluster": "patient_id"},
    "endpoints": [
        {
            "name": name,
            "metric": name,
            "at": "primary",
            "role": "primary",
            "criterion": {"bound": "lower", "op": ">", "value": 0.8},
        }
        for name in ("sensitivity", "specificity")
    ],
    "strata": ["sex"],
    "disclose": [],
}


@pytest.mark.parametrize(
    ("folder", "outcome", "reason"),
    [
        ("cxr_hannover", "inconclusive", "no reference-negative cases"),
        ("cxr_covid", "not_met", "upper bound"),
    ],
)
def test_a_shortcut_learner_does_not_pass_a_triage_protocol(folder, outcome, reason, shared_real, tmp_path, cli):
    source = shared_real / folder
    (tmp_path / "protocol.yaml").write_text(protocol_text(**TRIAGE))
    model = source / "predictions_cxr_covid_tm3.csv"
    common = ("--testset", tmp_path / "set", "--model", model)
    assert (
        cli("lock", source / "labels.csv", "--protocol", tmp_path / "protocol.yaml", "--out", tmp_path / "set").code
        == 0
    )
    assert cli("freeze", tmp_path / "protocol.yaml", *common, "--out", tmp_path / "frozen").code == 0
    done = cli("run", tmp_path / "frozen", *common, "--out", tmp_path / "run", "--json")
    assert done.code == 1, done.err
    verdict = done.json()
    assert verdict["evidence"] is True
    assert verdict["overall"] == outcome
    specificity = next(c for c in verdict["criteria"] if c["endpoint"] == "specificity")
    assert specificity["outcome"] == outcome
    assert reason in specificity["reason"]
    html = (tmp_path / "run" / "report.html").read_text()
    assert reason in html


def test_published_figures_of_one_biomarker_through_the_command_line(shared_golden, tmp_path, cli):
    expected = json.loads((shared_golden / "asah.expected.json").read_text())
    rows = list(csv.DictReader((shared_golden / "asah.csv").read_text().splitlines()))
    (tmp_path / "cases.csv").write_text(
        "case_id,patient_id,outcome\n" + "".join(f"c{i},p{i},{r['outcome']}\n" for i, r in enumerate(rows))
    )
    (tmp_path / "predictions.csv").write_text(
        "case_id,p_disease\n" + "".join(f"c{i},{r['s100b']}\n" for i, r in enumerate(rows))
    )
    (tmp_path / "protocol.yaml").write_text(
        protocol_text(
            task={
                "kind": "binary",
                "reference": "outcome",
                "positive": "Poor",
                "negative": ["Good"],
                "score": "p_disease",
                "probability": False,
            },
            operating_points=[{"name": "primary", "threshold": 0.205}],
            endpoints=[
                {
                    "name": "auroc",
                    "metric": "auroc",
                    "role": "primary",
                    "criterion": {"bound": "lower", "op": ">", "value": 0.6},
                }
            ],
            strata=[],
            disclose=[],
        )
    )
    cli("lock", tmp_path / "cases.csv", "--protocol", tmp_path / "protocol.yaml", "--out", tmp_path / "set")
    done = cli(
        "run",
        tmp_path / "protocol.yaml",
        "--testset",
        tmp_path / "set",
        "--model",
        tmp_path / "predictions.csv",
        "--out",
        tmp_path / "run",
    )
    assert done.code == 1, done.err
    evidence = json.loads((tmp_path / "run" / "evidence.json").read_text())
    auroc = finding(evidence, "auroc")
    assert auroc["value"] == pytest.approx(expected["auc"]["s100b"]["auc"], abs=1e-6)
    assert [auroc["low"], auroc["high"]] == pytest.approx(expected["auc"]["s100b"]["ci95"], abs=1e-6)
    published = {
        row["statistic"]: row
        for row in json.loads((shared_golden / "proportions_and_tests.expected.json").read_text())[
            "epi_tests_asah_s100b_0205"
        ]
    }
    names = {
        "sensitivity": "se",
        "specificity": "sp",
        "ppv": "pv.pos",
        "npv": "pv.neg",
        "accuracy": "diag.ac",
        "lr_positive": "lr.pos",
        "lr_negative": "lr.neg",
    }
    for metric, statistic in names.items():
        found = finding(evidence, metric)
        row = published[statistic]
        assert [found["value"], found["low"], found["high"]] == pytest.approx(
            [row["est"], row["lower"], row["upper"]], abs=1e-6
        ), metric


def test_every_vendor_file_decodes_or_fails_with_a_typed_reason(shared_real, tmp_path, cli):
    source = shared_real / "dicom_vendors"
    names = sorted(p.name for p in source.glob("*.dcm"))
    (tmp_path / "cases.csv").write_text(
        "case_id,image,truth\n" + "".join(f"c{i},{source / n},{i % 2}\n" for i, n in enumerate(names))
    )
    from evalsuite.errors import ImageError
    from evalsuite.imaging import read_image

    for name in names:
        refused, image = None, None
        try:
            image = read_image(source / name)
        except ImageError as error:
            refused = error
        if refused is not None:
            assert refused.code, name
            assert name in str(refused)
        else:
            assert image.array.ndim == 3, name
            assert image.array.size > 0, name
    locked = cli("lock", tmp_path / "cases.csv", "--reference", "truth", "--out", tmp_path / "set", "--json")
    assert locked.code == 0, locked.err
    assert locked.json()["n_cases"] == len(names)
