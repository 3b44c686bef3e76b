"""Masks as the reference of a detection study: marks looked up in them, lesions measured on them, bad masks told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from .conftest import protocol_text

N = 30
#: Index → RAS: a slanted grid with three spacings, so that no axis can be taken for another.
_TURN = np.array([[0.0, -1.0, 0.0], [0.96, 0.0, 0.28], [-0.28, 0.0, 0.96]])
AFFINE = np.eye(4)
AFFINE[:3, :3], AFFINE[:3, 3] = _TURN @ np.diag([0.9, 0.7, 2.0]), (40.0, -25.0, 10.0)
SHAPE = (24, 20, 12)
STUDY: dict[str, Any] = {
    "id": "in-mask",
    "task": {
        "kind": "detection", "reference": "mask", "score": "score", "coordinates": "lps",
        "matching": {"rule": "in_mask"},
        "lesion_strata": [{"name": "size", "column": "diameter_mm", "bins": [3.0]}],
    },
    "endpoints": [
        {"name": "found", "metric": "lesion_sensitivity", "at": "primary", "role": "primary",
         "criterion": {"bound": "lower", "op": ">", "value": 0.2}},
        {"name": "false", "metric": "false_positives_per_case", "at": "primary", "maximum": 3},
    ],
    "strata": [], "disclose": [], "small_strata": {"suppress_below": 3},
}  # fmt: skip


def _mask(i: int) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """No lesion in every third case; else a cube of 27 voxels (value 1) and in odd cases one of 2 along x (value 2)."""
    mask = np.zeros(SHAPE, np.uint8)
    if i % 3 == 0:
        return mask, []
    mask[4:7, 5:8, 2:5] = 1
    if i % 2:
        mask[15:17, 12, 8] = 2
    return mask, [(5, 6, 3), *([(15, 12, 8)] if i % 2 else [])]


def _lps(index: tuple[float, ...]) -> np.ndarray:
    return (AFFINE @ np.array([*index, 1.0]))[:3] * (-1, -1, 1)


def _marks(i: int) -> list[tuple[float, tuple[float, ...]]]:
    """The large lesion is marked in its corner voxel, just inside its edge; the small one in every other odd case."""
    out: list[tuple[float, tuple[float, ...]]] = []
    if i % 3:
        out.append((0.9, (6.4, 7.4, 4.4)))
        out.append((0.4, (6.6, 7.4, 4.4)))  # just outside
    if i % 3 and i % 4 == 1:
        out.append((0.8, (16.3, 12.0, 8.0)))
    if i % 5 == 0:
        out.append((0.7, (20.0, 18.0, 1.0)))
    return out


def _write(folder: Path, *, masks: dict[int, np.ndarray] | None = None, **changes: Any) -> None:
    (folder / "truth").mkdir()
    rows, marks = ["case_id,patient_id,mask"], ["case_id,score,x,y,z"]
    for i in range(N):
        made = (masks or {}).get(i, _mask(i)[0])
        nibabel.save(nibabel.Nifti1Image(made, AFFINE), folder / "truth" / f"c{i:02d}.nii.gz")
        rows.append(f"c{i:02d},p{i:02d},truth/c{i:02d}.nii.gz")
        drawn = [f"c{i:02d},{s}," + ",".join(f"{v:.4f}" for v in _lps(at)) for s, at in _marks(i)]
        marks += drawn or [f"c{i:02d},,,,"]
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    (folder / "marks.csv").write_text("\n".join(marks) + "\n")
    (folder / "protocol.yaml").write_text(protocol_text(**{**STUDY, **changes}))


def _score(folder: Path, cli: Any) -> Any:
    protocol, testset = folder / "protocol.yaml", folder / "set"
    done = cli("lock", folder / "cases.csv", "--protocol", protocol, "--out", testset)
    assert done.code == 0, done.err
    done = cli("predict", protocol, "--testset", testset, "--model", folder / "marks.csv", "--out", folder / "run")
    assert done.code == 0, done.err
    return cli("score", folder / "run")


def _find(folder: Path, endpoint: str, stratum: dict[str, str] | None = None) -> dict[str, Any]:
    evidence = json.loads((folder / "run" / "evidence.json").read_text())
    (hit,) = [
        f["estimate"] for f in evidence["findings"] if f["endpoint"] == endpoint and f["stratum"] == (stratum or {})
    ]
    assert any("in whose mask it lies" in n for n in evidence["notes"])
    found: dict[str, Any] = hit
    return found


def test_marks_find_the_lesions_in_whose_masks_they_lie(tmp_path: Path, cli: Any) -> None:
    _write(tmp_path)
    done = _score(tmp_path, cli)
    assert done.code in (0, 1), done.err
    large = sum(1 for i in range(N) if i % 3)
    small = sum(1 for i in range(N) if i % 3 and i % 2)
    hit = sum(1 for i in range(N) if i % 3 and i % 4 == 1)
    found = _find(tmp_path, "found")
    assert (found["numerator"], found["denominator"]) == (large + hit, large + small)
    # The cube's longest diameter is 2 voxels along each axis, the line's 1 along x.
    assert np.linalg.norm(AFFINE[:3, :3] @ (2, 2, 2)) > 3.0 > np.linalg.norm(AFFINE[:3, :3] @ (1, 0, 0))
    of_size = _find(tmp_path, "found", {"size": "<3"})
    assert (of_size["numerator"], of_size["denominator"]) == (hit, small)
    assert _find(tmp_path, "false")["value"] == pytest.approx(sum(i % 5 == 0 for i in range(N)) / N)
    # Every value is a lesion of its own: the two parts of value 1 are then one.
    apart = _mask(1)[0]
    apart[20:22, 2:4, 2:4] = 1
    (tmp_path / "labels").mkdir()
    _write(
        tmp_path / "labels", masks={1: apart},
        task={**STUDY["task"], "matching": {"rule": "in_mask", "lesions": "labels"}},
    )  # fmt: skip
    assert _score(tmp_path / "labels", cli).code in (0, 1)
    assert _find(tmp_path / "labels", "found")["denominator"] == large + small
    (tmp_path / "parts").mkdir()
    _write(tmp_path / "parts", masks={1: apart})
    assert _score(tmp_path / "parts", cli).code in (0, 1)
    assert _find(tmp_path / "parts", "found")["denominator"] == large + small + 1


def test_masks_that_are_none_are_told_case_by_case(tmp_path: Path, cli: Any) -> None:
    _write(tmp_path)
    (tmp_path / "truth" / "c04.nii.gz").write_bytes(b"no image")
    nibabel.save(nibabel.Nifti1Image(_mask(5)[0] + np.float32(0.5), AFFINE), tmp_path / "truth" / "c05.nii.gz")
    done = _score(tmp_path, cli)
    assert done.code == 2
    assert "case c04" in done.err
    assert "case c05" in done.err
    assert "no labels" in " ".join(done.err.split())


def test_a_protocol_says_what_marks_count_from_and_groups_by_size_only(tmp_path: Path, cli: Any) -> None:
    task = {**STUDY["task"], "lesion_strata": [{"name": "texture"}]}
    del task["coordinates"]
    (tmp_path / "protocol.yaml").write_text(protocol_text(**{**STUDY, "task": task}))
    done = cli("inspect", tmp_path / "protocol.yaml")
    assert done.code == 2
    said = " ".join(done.err.split())
    assert "task.coordinates" in said
    assert "diameter_mm or volume_ml" in said
