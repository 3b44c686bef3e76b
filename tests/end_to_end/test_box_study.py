"""Boxes on plane images: matching by overlap, panoptic quality, other overlaps, boxes outside their image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

N = 30
PROTOCOL: dict[str, Any] = {
    "schema": "evalsuite/protocol/1",
    "id": "boxes",
    "version": "1.0.0",
    "title": "Boxes on radiographs",
    "kind": "standalone",
    "intended_use": {"indications": "none: a test"},
    "task": {
        "kind": "detection",
        "reference": "boxes",
        "score": "score",
        "matching": {"rule": "overlap", "overlap": 0.3, "assignment": "best_total"},
        "coordinates": "image",
    },
    "unit": {"case": "case_id", "cluster": "patient_id"},
    "operating_points": [{"name": "shown", "threshold": 0.5, "source": "fixed on other data"}],
    "endpoints": [
        {
            "name": "sensitivity",
            "metric": "lesion_sensitivity",
            "at": "shown",
            "role": "primary",
            "criterion": {"bound": "lower", "op": ">", "value": 0.3},
        },
        {"name": "PQ", "metric": "panoptic_quality", "at": "shown", "maximum": 3},
        {"name": "SQ", "metric": "segmentation_quality", "at": "shown"},
        {"name": "RQ", "metric": "mark_f1", "at": "shown", "maximum": 3},
    ],
    "confidence": {"bootstrap": {"replicates": 100}},
    "seed": 5,
}


def _pairs() -> list[tuple[np.ndarray, np.ndarray, float]]:
    """One lesion of 20 × 20 per case, the device's box shifted by 0 to 9 pixels, and its score."""
    rng = np.random.default_rng(6)
    pairs = []
    for i in range(N):
        corner = rng.integers(5, 60, 2).astype(float)
        lesion = np.concatenate([corner, corner + 20])
        pairs.append((lesion, lesion + np.array([i % 10, 0, i % 10, 0]), 0.9 if i % 4 else 0.2))
    return pairs


def _iou(shift: int) -> float:
    return (20 - shift) / (20 + shift)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, cli: Any) -> Path:
    folder = tmp_path_factory.mktemp("boxes")
    rows, lesions = ["case_id,patient_id,image,boxes"], ["case_id,x0,y0,x1,y1"]
    marks = ["case_id,score,x0,y0,x1,y1"]
    for i, (lesion, mark, score) in enumerate(_pairs()):
        Image.fromarray(np.full((100, 90), 40 + i, np.uint8)).save(folder / f"i{i:02d}.png")
        rows.append(f"c{i:02d},p{i:02d},i{i:02d}.png,boxes.csv")
        lesions.append(f"c{i:02d}," + ",".join(map(str, lesion)))
        # The last case's box is of another image; one that reaches over the border is not.
        place = [500, 500, 520, 520] if i == N - 1 else [*mark[:2], 200, 200] if i == 4 else mark
        marks.append(f"c{i:02d},{score}," + ",".join(map(str, place)))
    for name, lines in (("cases", rows), ("boxes", lesions), ("marks", marks)):
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    (folder / "protocol.yaml").write_text(yaml.safe_dump(PROTOCOL, sort_keys=False))
    testset = folder / "set"
    assert cli("lock", folder / "cases.csv", "--protocol", folder / "protocol.yaml", "--out", testset).code == 0
    run = ("run", folder / "protocol.yaml", "--testset", testset, "--model", folder / "marks.csv")
    done = cli(*run, "--out", folder / "run")
    assert done.code == 1, done.err
    return folder / "run"


def _find(run: Path, endpoint: str) -> dict[str, Any]:
    evidence = json.loads((run / "evidence.json").read_text())
    found = [
        f for f in evidence["findings"] if f["endpoint"] == endpoint and not f["stratum"] and f["condition"] is None
    ]
    return dict(found[0]["estimate"])


def test_figures_are_those_counted_by_hand(study: Path) -> None:
    shifts = [i % 10 for i in range(N) if i % 4 and i != N - 1]
    assert _find(study, "sensitivity")["numerator"] == len(shifts)
    overlaps = sum(map(_iou, shifts))
    missed = N - len(shifts)
    assert _find(study, "SQ")["value"] == pytest.approx(overlaps / len(shifts))
    # The case without a usable output has three false marks at its worst.
    assert _find(study, "RQ")["value"] == pytest.approx(len(shifts) / (len(shifts) + missed / 2 + 3 / 2))
    assert _find(study, "PQ")["value"] == pytest.approx(overlaps / (len(shifts) + missed / 2 + 3 / 2))


def test_performance_across_the_overlap(study: Path) -> None:
    evidence = json.loads((study / "evidence.json").read_text())
    (curve,) = [c for c in evidence["curves"] if c["kind"] == "overlap"]
    shifts = [i % 10 for i in range(N) if i % 4 and i != N - 1]
    for least, share in zip(curve["x"], curve["y"], strict=True):
        assert share == pytest.approx(sum(_iou(s) >= least for s in shifts) / N)
    assert curve["y"][0] > curve["y"][-1] > 0
    assert "Sensitivity across the overlap that counts as found" in (study / "report.html").read_text()


def test_a_box_outside_its_image_fails_its_case_and_boxes_are_drawn(study: Path) -> None:
    from evalsuite.inference.predictions import read_predictions

    table = read_predictions(study / "predictions.parquet").table
    reasons = {c: r for c, r in zip(table["case_id"], table["reason"], strict=True) if isinstance(r, str)}
    assert reasons == {f"c{N - 1:02d}": "a mark lies outside the image"}
    pictures = json.loads((study / "arrays" / "pictures.json").read_text())["pictures"]
    found = next(p for p in pictures if p["group"] == "found")
    box = np.array(next(d["lines"] for d in found["drawn"] if d["kind"] == "found"))
    assert np.ptp(box[:, [0, 2]]) == np.ptp(box[:, [1, 3]]) == 20
