"""Two devices that find or outline, on the same cases: differences counted by hand, marks in common, the report."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from scipy.stats import wilcoxon

from .conftest import protocol_text

N = 40
DETECTION: dict[str, Any] = {
    "id": "two-finders",
    "kind": "comparison",
    "task": {
        "kind": "detection", "reference": "lesions", "score": "score",
        "matching": {"rule": "distance", "distance_mm": 5},
    },
    "operating_points": [{"name": "primary", "threshold": 0.5, "source": "fixed beforehand"}],
    "endpoints": [{"name": "found", "metric": "lesion_sensitivity", "at": "primary"}],
    "comparisons": [
        {"name": "more found", "metric": "lesion_sensitivity", "at": "primary", "role": "primary",
         "hypothesis": "non_inferiority", "margin": 0.2},
        {"name": "patients", "metric": "patient_detection", "at": "primary"},
        {"name": "curve", "metric": "froc_sensitivity", "false_positives": 0.5, "maximum": 3},
        {"name": "false", "metric": "false_positives_per_case", "at": "primary", "maximum": 3},
        {"name": "area", "metric": "wafroc"},
        {"name": "cases", "metric": "case_auroc"},
    ],
    "strata": [], "disclose": [],
}  # fmt: skip


def _marks() -> tuple[list[tuple[int, float]], tuple[list[tuple[int, float, float]], ...]]:
    """Lesions `(case, x)`, and each device's marks `(case, x, score)`; case 7 fails in the candidate."""
    rng = np.random.default_rng(3)
    lesions = [(i, 100.0 * k) for i in range(N) if i % 3 for k in range(1, 2 + i % 2)]
    devices = []
    for share, noise in ((0.85, 0.5), (0.7, 0.7)):
        own = [(i, x + 1.0, round(float(rng.beta(4, 2)), 3)) for i, x in lesions if rng.random() < share]
        own += [(i, -50.0 - 3.0 * (i % 4), round(float(rng.beta(3, 3)), 3)) for i in range(N) if rng.random() < noise]
        devices.append(own)
    return lesions, tuple(devices)


def _table(marks: list[tuple[int, float, float]], path: Path, *, failed: int | None = None) -> None:
    told = {i for i, _, _ in marks}
    rows = [f"c{i:02d},ok,{s},{x},0" for i, x, s in marks if i != failed]
    rows += [f"c{i:02d},ok,,," for i in range(N) if i not in told and i != failed]
    rows += [] if failed is None else [f"c{failed:02d},failed,,,"]
    path.write_text("case_id,status,score,x,y\n" + "\n".join(rows) + "\n")


def _compare(folder: Path, cli: Any, out: str, *more: Any) -> dict[str, Any]:
    on = ("--testset", folder / "set", "--model", folder / "candidate.csv", *more)
    done = cli("compare", folder / "protocol.yaml", *on, "--out", folder / out)
    assert done.code in (0, 1), done.err
    found: dict[str, Any] = json.loads((folder / out / "evidence.json").read_text())
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, cli: Any) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("finders")
    lesions, (one, two) = _marks()
    (folder / "cases.csv").write_text(
        "case_id,patient_id,lesions\n" + "".join(f"c{i:02d},p{i // 2:02d},lesions.csv\n" for i in range(N))
    )
    (folder / "lesions.csv").write_text("case_id,x,y\n" + "".join(f"c{i:02d},{x},0\n" for i, x in lesions))
    _table(one, folder / "candidate.csv", failed=7)
    _table(two, folder / "baseline.csv")
    (folder / "protocol.yaml").write_text(protocol_text(**DETECTION))
    done = cli("lock", folder / "cases.csv", "--protocol", folder / "protocol.yaml", "--out", folder / "set")
    assert done.code == 0, done.err
    return folder, _compare(folder, cli, "run", "--baseline", folder / "baseline.csv")


def _finding(evidence: dict[str, Any], endpoint: str, metric: str, condition: str | None = None) -> dict[str, Any]:
    (hit,) = [
        f["estimate"]
        for f in evidence["findings"]
        if (f["endpoint"], f["metric"], f["condition"]) == (endpoint, metric, condition)
        and f["analysis"] in ("comparison", "missing_data") and not f["stratum"]
    ]  # fmt: skip
    return hit


def _hits(marks: list[tuple[int, float, float]], lesions: list[tuple[int, float]]) -> np.ndarray:
    """Lesions with a mark of 0.5 or more within 5 mm."""
    return np.array([any(i == j and abs(x - y) <= 5 and s >= 0.5 for j, y, s in marks) for i, x in lesions])


def test_differences_of_finders_are_those_counted_by_hand(found: tuple[Path, dict[str, Any]]) -> None:
    _, evidence = found
    lesions, (one, two) = _marks()
    failed = np.array([i == 7 for i, _ in lesions])
    first, second = _hits(one, lesions) & ~failed, _hits(two, lesions)
    ours = _finding(evidence, "more found", "lesion_sensitivity_difference")
    assert ours["value"] == pytest.approx(first.mean() - second.mean())
    assert (ours["n"], ours["unit"]) == (len(lesions), "lesion")
    assert ours["low"] < ours["value"] < ours["high"]
    assert _finding(evidence, "more found", "lesion_sensitivity", "candidate")["value"] == pytest.approx(first.mean())
    assert _finding(evidence, "more found", "lesion_sensitivity", "baseline")["value"] == pytest.approx(second.mean())
    best = _finding(evidence, "more found", "lesion_sensitivity_difference", "missing_outputs=best_case")
    assert best["value"] == pytest.approx((first | failed).mean() - second.mean())
    left = _finding(evidence, "more found", "lesion_sensitivity_difference", "missing_outputs=exclude")
    assert left["value"] == pytest.approx(first[~failed].mean() - second[~failed].mean())
    people = sorted({i // 2 for i, _ in lesions})
    by_patient = [
        np.mean([any(h for h, (i, _) in zip(hit, lesions, strict=True) if i // 2 == p) for p in people])
        for hit in (first, second)
    ]
    ours = _finding(evidence, "patients", "patient_detection_difference")
    assert ours["value"] == pytest.approx(by_patient[0] - by_patient[1])
    assert (ours["n"], ours["unit"]) == (len(people), "patient")
    wrong = [sum(s >= 0.5 and x < 0 and not (d == 0 and i == 7) for i, x, s in m) for d, m in enumerate((one, two))]
    ours = _finding(evidence, "false", "false_positives_per_case_difference")
    assert ours["value"] == pytest.approx((wrong[0] + 3 - wrong[1]) / N)
    for name, metric in (("curve", "froc_sensitivity"), ("area", "wafroc"), ("cases", "case_auroc")):
        own = [_finding(evidence, name, metric, who)["value"] for who in ("candidate", "baseline")]
        ours = _finding(evidence, name, f"{metric}_difference")
        assert ours["value"] == pytest.approx(own[0] - own[1])
        assert ours["low"] < ours["value"] < ours["high"]


def test_marks_that_both_devices_have(found: tuple[Path, dict[str, Any]]) -> None:
    folder, evidence = found
    lesions, (one, two) = _marks()
    there = np.array([i != 7 for i, _ in lesions])
    first, second = _hits(one, lesions) & there, _hits(two, lesions) & there
    name = "mark overlap at primary"
    ours = _finding(evidence, name, "tp_mark_overlap", "candidate")
    assert (ours["numerator"], ours["denominator"]) == ((first & second).sum(), first.sum())
    ours = _finding(evidence, name, "tp_mark_overlap", "baseline")
    assert (ours["numerator"], ours["denominator"]) == ((first & second).sum(), second.sum())
    # Each device has one false mark per case at most, at the same place: both have it, or one.
    wrong = [{i for i, x, s in m if x < 0 and s >= 0.5 and i != 7} for m in (one, two)]
    for whose, own in zip(("candidate", "baseline"), wrong, strict=True):
        ours = _finding(evidence, name, "fp_mark_overlap", whose)
        assert (ours["numerator"], ours["denominator"]) == (len(wrong[0] & wrong[1]), len(own))
    text = subprocess.run(
        ["pdftotext", "-layout", folder / "run" / "report.pdf", "-"], capture_output=True, text=True, check=True
    ).stdout
    assert "Marks that both devices have" in text
    assert "Difference in" in text


SHAPE = (12, 12, 8)
SEGMENTATION: dict[str, Any] = {
    "id": "two-drawers",
    "kind": "comparison",
    "task": {"kind": "segmentation", "reference": "mask", "score": "outline", "classes": ["organ"]},
    "operating_points": [],
    "endpoints": [{"name": "overlap", "metric": "dice"}],
    "comparisons": [
        {"name": "better", "metric": "dice", "role": "primary", "hypothesis": "superiority"},
        {"name": "distance", "metric": "hd95", "maximum": 30},
        {"name": "low end", "metric": "dice", "quantile": 0.25},
    ],
    "strata": [], "disclose": [],
}  # fmt: skip
M = 14


def _box(low: int, high: int) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:9, low:high, 2:6] = 1
    return mask


def _drawn(i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reference, candidate and baseline: the candidate is off by one voxel or none, the baseline by up to three."""
    return _box(2, 9), _box(2, 9 + i % 2), _box(2 + i % 4, 9)


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2.0 * float((a & b).sum()) / float(a.sum() + b.sum())


def test_differences_of_outlines_by_hand_and_against_a_run(tmp_path: Path, cli: Any) -> None:
    for i in range(M):
        for name, mask in zip(("truth", "one", "two"), _drawn(i), strict=True):
            (tmp_path / name).mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(mask, np.diag([1.0, 1.0, 2.0, 1.0])), tmp_path / name / f"c{i:02d}.nii")
    rows = "".join(f"c{i:02d},p{i:02d},truth/c{i:02d}.nii\n" for i in range(M))
    (tmp_path / "cases.csv").write_text("case_id,patient_id,mask\n" + rows)
    for table, name in (("candidate", "one"), ("baseline", "two")):
        # The candidate drew nothing of case 5.
        rows = "".join(f"c{i:02d},{name}/c{i:02d}.nii\n" for i in range(M) if (name, i) != ("one", 5))
        (tmp_path / f"{table}.csv").write_text("case_id,outline\n" + rows)
    (tmp_path / "protocol.yaml").write_text(protocol_text(**SEGMENTATION))
    done = cli("lock", tmp_path / "cases.csv", "--protocol", tmp_path / "protocol.yaml", "--out", tmp_path / "set")
    assert done.code == 0, done.err
    evidence = _compare(tmp_path, cli, "run", "--baseline", tmp_path / "baseline.csv")
    first = np.array([0.0 if i == 5 else _dice(_drawn(i)[0], _drawn(i)[1]) for i in range(M)])
    second = np.array([_dice(_drawn(i)[0], _drawn(i)[2]) for i in range(M)])
    ours = _finding(evidence, "better", "dice_difference")
    assert ours["value"] == pytest.approx((first - second).mean())
    assert ours["n"] == M
    assert ours["low"] < ours["value"] < ours["high"]
    low_end = _finding(evidence, "low end", "dice_difference")
    assert low_end["value"] == pytest.approx(np.quantile(first, 0.25) - np.quantile(second, 0.25))
    (test,) = [t for t in evidence["tests"] if t["name"] == "better: no difference"]
    change = (first - second)[first != second]
    assert test["p_value"] == pytest.approx(wilcoxon(change, method="asymptotic").pvalue)
    own = [_finding(evidence, "distance", "hd95", who)["value"] for who in ("candidate", "baseline")]
    assert _finding(evidence, "distance", "hd95_difference")["value"] == pytest.approx(own[0] - own[1])
    # The baseline as a run of its own: its sealed masks serve, and the figures are the same.
    alone = {**SEGMENTATION, "kind": "standalone", "comparisons": [], "id": "alone"}
    alone["endpoints"] = [
        {
            "name": "overlap",
            "metric": "dice",
            "role": "primary",
            "criterion": {"bound": "lower", "op": ">", "value": 0.1},
        }
    ]
    (tmp_path / "alone.yaml").write_text(protocol_text(**alone))
    on = ("--testset", tmp_path / "set", "--model", tmp_path / "baseline.csv", "--out", tmp_path / "before")
    assert cli("run", tmp_path / "alone.yaml", *on).code in (0, 1)
    again = _compare(tmp_path, cli, "again", "--baseline", tmp_path / "before")
    assert _finding(again, "better", "dice_difference") == ours
    assert cli("verify", tmp_path / "again").code == 0
