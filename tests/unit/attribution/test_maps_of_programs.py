"""Maps of a program that reads files: changed images reach it as files of the same kind, and nothing else changes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pytest
from PIL import Image as Picture

from evalsuite.errors import ContractError, ImageError
from evalsuite.imaging import read_image
from evalsuite.imaging.image import Spec
from evalsuite.imaging.rewrite import write_like
from evalsuite.inference.attributed import attribute_sample, require_attributable
from evalsuite.inference.attribution_files import OTHERWISE
from evalsuite.inference.attribution_store import read_map
from evalsuite.inference.settings import InferenceSettings
from evalsuite.models.open import open_model
from evalsuite.protocol.interpretability import Interpretability
from evalsuite.testset.types import Case, LockedTestSet

SETTINGS = InferenceSettings(device="cpu", threads=1, decoders=1, repeat=False)
ASKED = Interpretability.model_validate(
    {
        "cases": 3,
        "methods": [
            {"method": "grad_cam"},
            {"method": "occlusion", "window": 4, "stride": 4, "sign": "signed"},
            {"method": "feature_ablation", "cells": 3, "sign": "signed"},
            {"method": "rise", "samples": 40, "cells": 3},
        ],
        "measures": ["randomisation", "deletion"],
        "fractions": 2,
    }
)
#: The sum of the first four rows' values over what it can be at most: uncompressed TIFF rows lie one behind the other.
PROGRAM = """
import json, struct, sys
source, target = sys.argv[1:3]
rows = []
for case in json.load(open(source + "/cases.json"))["cases"]:
    data = open(source + "/" + case["images"]["image"], "rb").read()
    at, = struct.unpack("<I", data[4:8])
    n, = struct.unpack("<H", data[at:at + 2])
    tags = {struct.unpack("<H", data[k:k + 2])[0]: data[k:k + 12] for k in range(at + 2, at + 2 + 12 * n, 12)}
    start, = struct.unpack("<I", tags[273][8:12])  # a short there has two bytes of zeros behind it
    rows.append({"case": case["case"], "score": sum(data[start:start + 48]) / 1000 MORE})
json.dump(rows, open(target + "/predictions.json", "w"))
"""
CONTRACT = {
    "schema": "evalsuite/model/1",
    "name": "vendor box",
    "cmd": ["{python}", "-S", "-I", "{package}/run.py", "{input}", "{output}"],
    "inputs": [{"name": "image", "shape": [1, None, None]}],
    "outputs": [{"name": "score", "meaning": "value"}],
}


def package(folder: Path, more: str = "") -> Path:
    folder.mkdir()
    (folder / "run.py").write_text(PROGRAM.replace("MORE", more))
    (folder / "evalsuite-model.yaml").write_text(json.dumps(CONTRACT))
    return folder


@pytest.fixture(scope="module")
def testset(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    cases = []
    for i in range(3):
        path = folder / f"{i}.tif"
        cv2.imwrite(str(path), rng.integers(1, 255, (12, 12), dtype=np.uint8), [cv2.IMWRITE_TIFF_COMPRESSION, 1])
        cases.append(
            Case(
                case_id=f"c{i}", patient_id=f"p{i}", study_id="", site="", acquired_at="", sample_weight=None,
                images={"image": (path,)},
            )
        )  # fmt: skip
    return LockedTestSet(
        path=Path("set"), lock={}, root="r" * 64, digest="d" * 64, set_id="s", version="1", cases=tuple(cases),
        has_images=True,
    )  # fmt: skip


def test_a_program_gets_the_maps_of_a_linear_function_exactly(testset, tmp_path):
    model = open_model(package(tmp_path / "box"))
    require_attributable(ASKED, model, score="score")
    found = attribute_sample(model, testset, ASKED, score="score", settings=SETTINGS, work=tmp_path / "w", seed=5)
    assert set(found.record["refused"]) == {"grad_cam", "randomisation"}
    assert [m.label for m in found.asked.methods] == ["occlusion", "feature_ablation", "rise"]
    assert found.record["passes"] == {k: 3 * v for k, v in found.record["planned_passes_per_case"].items()}
    assert found.record["planned_passes_per_case"]["occlusion"] == 9
    for case in testset.cases:
        image = read_image(case.images["image"][0], spec=Spec()).array[0].astype(float)
        for label in ("occlusion", "feature_ablation"):  # windows and cells are the same nine squares
            m = read_map(found.maps[label][case.case_id])
            for c in range(3):
                square = image[:4, 4 * c : 4 * c + 4].sum() / 1000
                np.testing.assert_allclose(m[:4, 4 * c : 4 * c + 4], square, rtol=1e-5)
            assert not m[4:].any()
        rise = read_map(found.maps["rise"][case.case_id])
        assert rise[:4].mean() > 3 * rise[5:].mean()
    assert any("written as files of the same kind" in note for note in found.record["notes"])
    assert found.record["n_cases"] == 3
    again = attribute_sample(model, testset, ASKED, score="score", settings=SETTINGS, work=tmp_path / "w", seed=5)
    assert again.record["resumed_parts"] > 0
    assert again.values == found.values
    model.close()


def test_a_case_whose_file_says_more_than_its_values_is_left_out_with_the_reason(testset, tmp_path):
    """The program's answer depends on the size of the file; one file has something behind its image."""
    first, *others = testset.cases
    path = tmp_path / "0.tif"
    path.write_bytes(first.images["image"][0].read_bytes() + b"something of the maker's own")
    changed = replace(testset, cases=(replace(first, images={"image": (path,)}), *others))
    model = open_model(package(tmp_path / "box", " + len(data)"))
    asked = ASKED.model_copy(update={"methods": ASKED.methods[1:2], "measures": []})
    found = attribute_sample(model, changed, asked, score="score", settings=SETTINGS, work=tmp_path / "w", seed=5)
    assert found.record["failed_by_reason"] == {OTHERWISE: 1}
    assert set(found.maps["occlusion"]) == {"c1", "c2"}
    model.close()


def test_a_program_asked_for_gradients_alone_is_refused_before_anything_runs(tmp_path):
    model = open_model(package(tmp_path / "box"))
    only = ASKED.model_copy(update={"methods": ASKED.methods[:1]})
    with pytest.raises(ContractError, match="none of the methods"):
        require_attributable(only, model, score="score")
    model.close()


def _written(kind: str, folder: Path) -> Path:
    rng = np.random.default_rng(1)
    grey = rng.integers(0, 255, (6, 8), dtype=np.uint8)
    path = folder / {"nifti": "a.nii.gz", "dicom": "a.dcm", "jpeg": "a.jpg"}.get(kind, f"a.{kind[:3]}")
    if kind == "nifti":
        nibabel.save(nibabel.Nifti1Image(rng.integers(-9, 90, (4, 5, 6)).astype(np.int16), np.diag([1, 2, 3, 1])), path)
    elif kind == "dicom":
        from pydicom.data import get_testdata_file

        path = Path(str(get_testdata_file("CT_small.dcm")))
    elif kind == "png16":
        cv2.imwrite(str(path), grey.astype(np.uint16) * 257)
    elif kind == "png":
        Picture.fromarray(rng.integers(0, 255, (6, 8, 3)).astype(np.uint8)).save(path)
    else:
        cv2.imwrite(str(path), grey)
    return path


@pytest.mark.parametrize("kind", ["png", "png16", "tif", "jpeg", "nifti", "dicom"])
def test_a_file_written_anew_holds_the_values_asked_for_and_keeps_its_place(kind, tmp_path):
    source = _written(kind, tmp_path)
    spec = Spec(layout="volume" if kind == "nifti" else "one")
    own = read_image(source, spec=spec)
    values = own.array.astype(np.float32)
    values[..., 1:3, 2:4] = 3.0
    (tmp_path / "new").mkdir()
    path = write_like(source, own, values, tmp_path / "new")
    again = read_image(path, spec=spec)
    np.testing.assert_array_equal(again.array, values.astype(own.array.dtype))
    assert (again.kind, again.affine, again.spacing_mm) == (own.kind, own.affine, own.spacing_mm)
    assert again.array.dtype == own.array.dtype
    if kind != "jpeg":
        assert "".join(path.suffixes) == "".join(source.suffixes)


def test_an_image_with_its_window_applied_is_not_written_anew(tmp_path):
    source = _written("dicom", tmp_path)
    own = read_image(source, spec=Spec(window=(40.0, 400.0)))
    with pytest.raises(ImageError, match="window applied"):
        write_like(source, own, own.array, tmp_path)
