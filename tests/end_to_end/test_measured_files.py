"""Reference measurements in structured reports (TID 1500) and from outlines, to a report; what is wrong with them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import yaml
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

N = 14
PROTOCOL: dict[str, Any] = {
    "schema": "evalsuite/protocol/1",
    "id": "files",
    "version": "1.0.0",
    "title": "Volumes in files",
    "kind": "standalone",
    "intended_use": {"indications": "none: a test"},
    "unit": {"case": "case_id", "cluster": "patient_id"},
    "endpoints": [
        {
            "name": "error",
            "metric": "mae",
            "role": "primary",
            "maximum": 50,
            "criterion": {"bound": "upper", "op": "<", "value": 5},
        }
    ],
    "confidence": {"bootstrap": {"replicates": 100}},
    "seed": 5,
}


def _item(kind: str, code: str, meaning: str, *children: Dataset, **more: Any) -> Dataset:
    item, concept = Dataset(), Dataset()
    concept.CodeValue, concept.CodingSchemeDesignator, concept.CodeMeaning = code, "99X", meaning
    item.ValueType, item.ConceptNameCodeSequence = kind, [concept]
    if children:
        item.ContentSequence = list(children)
    for key, value in more.items():
        setattr(item, key, value)
    return item


def _num(code: str, meaning: str, value: float, unit: str) -> Dataset:
    measured, units = Dataset(), Dataset()
    units.CodeValue, units.CodingSchemeDesignator, units.CodeMeaning = unit, "UCUM", unit
    measured.NumericValue, measured.MeasurementUnitsCodeSequence = f"{value:g}", [units]
    return _item("NUM", code, meaning, MeasuredValueSequence=[measured])


def _group(tracking: str, *numbers: Dataset) -> Dataset:
    return _item(
        "CONTAINER", "125007", "Measurement Group", _item("TEXT", "112039", "Tracking", TextValue=tracking), *numbers
    )


def _report(path: Path, *groups: Dataset) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.34", "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("x", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = meta.MediaStorageSOPClassUID, "1.2.3", "SR"
    measurements = _item("CONTAINER", "126010", "Imaging Measurements", *groups)
    # A number outside the measurement groups is of something else.
    ds.ContentSequence = [_num("118565006", "Volume", 999, "ml"), measurements]
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    path.write_bytes(buffer.getvalue())


def _run(folder: Path, cli: Any, asked: dict[str, Any], names: list[str]) -> Any:
    task = {"kind": "regression", "reference": "truth", "score": "v", "reference_file": asked}
    (folder / "protocol.yaml").write_text(yaml.safe_dump({**PROTOCOL, "task": task}, sort_keys=False))
    rows = [f"c{i:02d},p{i:02d},{name}" for i, name in enumerate(names)]
    (folder / "cases.csv").write_text("\n".join(["case_id,patient_id,truth", *rows]) + "\n")
    (folder / "v.csv").write_text("case_id,v\n" + "".join(f"c{i:02d},{i + 2}\n" for i in range(N)))
    protocol, testset = folder / "protocol.yaml", folder / "set"
    assert cli("lock", folder / "cases.csv", "--protocol", protocol, "--out", testset).code == 0
    return cli("run", protocol, "--testset", testset, "--model", folder / "v.csv", "--out", folder / "run")


def _error(folder: Path) -> float:
    evidence = json.loads((folder / "run" / "evidence.json").read_text())
    found = next(f["estimate"] for f in evidence["findings"] if f["endpoint"] == "error" and f["condition"] is None)
    assert found["n"] == N
    return float(found["value"])


def test_numbers_of_structured_reports(tmp_path: Path, cli: Any) -> None:
    for i in range(N):
        other = _group("cyst", _num("118565006", "Volume", 77, "ml"), _num("81827009", "Diameter", 12, "mm"))
        _report(tmp_path / f"r{i:02d}.dcm", other, _group("lesion", _num("118565006", "Volume", i + 1, "ml")))
    asked = {"kind": "report", "concept": "volume", "unit": "ml", "tracking": "lesion"}
    done = _run(tmp_path, cli, asked, [f"r{i:02d}.dcm" for i in range(N)])
    assert done.code == 1, done.err
    assert _error(tmp_path) == pytest.approx(1.0)


def test_sizes_of_outlines(tmp_path: Path, cli: Any) -> None:
    for i in range(N):
        mask = np.zeros((20, 12, 8), np.uint8)
        mask[: i + 1, :10, :5] = 3
        mask[19] = 1
        nibabel.save(nibabel.Nifti1Image(mask, np.diag([2.0, 2.0, 5.0, 1.0])), tmp_path / f"m{i:02d}.nii.gz")
    done = _run(tmp_path, cli, {"kind": "mask_volume_ml", "label": 3}, [f"m{i:02d}.nii.gz" for i in range(N)])
    assert done.code == 1, done.err
    assert _error(tmp_path) == pytest.approx(1.0), "i + 1 layers of 10 × 5 voxels of 20 mm³ are i + 1 ml"


def test_every_report_without_the_number_is_named(tmp_path: Path, cli: Any) -> None:
    for i in range(N):
        groups = [_group("lesion", _num("118565006", "Volume", i + 1, "mm3" if i == 3 else "ml"))]
        _report(tmp_path / f"r{i:02d}.dcm", *(groups * 2 if i == 4 else [] if i == 5 else groups))
    (tmp_path / "r06.dcm").write_bytes(b"no report")
    asked = {"kind": "report", "concept": "118565006", "unit": "ml"}
    done = _run(tmp_path, cli, asked, [f"r{i:02d}.dcm" for i in range(N)])
    assert done.code == 2
    assert "4 reference files" in done.err
    for says in ("unit is not ml", "2 measurements of this concept", "no measurement of this concept", "case c06"):
        assert says in " ".join(done.err.split()), says
