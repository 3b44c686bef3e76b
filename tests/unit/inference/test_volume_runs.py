"""Volumes and masks through the engine: turned, never silently; counted on their own grid; kept, resumed, read back."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inference_fakes import make_testset

from evalsuite.errors import ContractError, IntegrityError
from evalsuite.imaging.grid import turn_between
from evalsuite.inference.engine import predict
from evalsuite.inference.mask_store import read_masks, verify_masks
from evalsuite.inference.predictions import read_predictions, write_predictions
from evalsuite.inference.settings import InferenceSettings
from evalsuite.models.open import open_model
from evalsuite.testset.types import LockedTestSet

SETTINGS = InferenceSettings(device="cpu", threads=1, decoders=1)
SPACING = (1.0, 2.0, 3.0)


class Segmenter(torch.nn.Module):
    """Bright voxels in the first half of the first axis are the lesion: turning the volume changes the answer."""

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        half = (torch.arange(volume.shape[2]) < volume.shape[2] // 2).to(volume.dtype).reshape(1, 1, -1, 1, 1)
        lesion = volume * half - 0.5
        return torch.cat([-lesion, lesion], dim=1)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("segmenter") / "model.ts"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Segmenter()), path)
    return path


def contract(folder: Path, output: dict[str, Any] | None = None, **changed: Any) -> Path:
    import json

    spec = {
        "name": "image", "shape": [1, None, None, None], "normalise": "linear", "source_range": [0, 200],
        "orientation": "RAS", "spacing_mm": list(SPACING),
    }  # fmt: skip
    spec = {k: v for k, v in (spec | changed).items() if v != "leave out"}
    mask = {"name": "seg", "meaning": "mask", "classes": ["background", "lesion"]}
    text = {"schema": "evalsuite/model/1", "inputs": [spec], "outputs": [output or mask]}
    path = folder / "contract.json"
    path.write_text(json.dumps(text))
    return path


def volume(i: int) -> np.ndarray:
    return np.random.default_rng(i).integers(0, 200, (8 + i, 6, 5)).astype(np.uint8)


def expected(array: np.ndarray) -> np.ndarray:
    found = (array.astype(np.float32) / 200 > 0.5).astype(np.uint8)
    found[array.shape[0] // 2 :] = 0
    return found


def nifti(path: Path, array: np.ndarray, codes: str | None = "RAS", spacing: tuple[float, ...] = SPACING) -> Path:
    import nibabel

    letters = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (code, step) in enumerate(zip(codes or "RAS", spacing, strict=True)):
        affine[letters[code][0], axis] = letters[code][1] * step
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, 1 if codes else 0)
    image.set_qform(affine, 1 if codes else 0)
    path.write_bytes(image.to_bytes())
    return path


def set_of(*files: Path, **more: Path) -> LockedTestSet:
    found = make_testset(len(files))
    cases = tuple(
        replace(c, images={"image": (f,)} if f.name != "absent" else {})
        for c, f in zip(found.cases, files, strict=True)
    )
    return replace(found, cases=cases)


def run(package: Path, tmp_path: Path, files: list[Path], **changed: Any):
    model = open_model(package, contract=contract(tmp_path, **changed))
    return predict(model, set_of(*files), settings=SETTINGS, work=tmp_path / "work")


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR", "PIL", "LIA"])
def test_a_volume_stored_another_way_round_is_turned_and_its_mask_turned_back(codes, package, tmp_path):
    array = volume(1)
    back = turn_between("RAS", codes)
    stored = back.apply(array)
    path = nifti(tmp_path / "a.nii", np.ascontiguousarray(stored), codes, back.of(SPACING))
    predictions = run(package, tmp_path, [path])
    assert predictions.outputs == ("voxels_background", "voxels_lesion", "volume_mm3_background", "volume_mm3_lesion")
    row = predictions.table.iloc[0]
    assert (row["status"], row["voxels_lesion"]) == ("ok", expected(array).sum())
    assert row["volume_mm3_lesion"] == expected(array).sum() * 6.0
    mask = next(read_masks(predictions.mask_files))
    np.testing.assert_array_equal(mask.labels(), back.apply(expected(array)))
    assert (mask.case_id, mask.output, mask.classes) == ("c000", "seg", ("background", "lesion"))
    assert mask.grid.orientation == codes
    done = predictions.record["inference"]["prepared"]
    assert ("image: turned from LPS to RAS without interpolation" in done) == (codes == "LPS")


def test_what_does_not_fit_is_refused_naming_both_sides(package, tmp_path):
    cases = [
        ({"spacing_mm": [1, 1, 1]}, "RAS", "1 × 2 × 3 mm, the model's contract takes 1 × 1 × 1 mm"),
        ({}, None, "does not state how it lies in the patient, the model's contract takes RAS"),
        ({"shape": [1, 9, 9, 9]}, "RAS", "9 × 6 × 5 pixels, the model's contract takes 9 × 9 × 9"),
        ({"orientation": "leave out", "spacing_mm": "leave out"}, "RAS", "does not say how they lie in the patient"),
        ({"shape": [2, None, None, None]}, "RAS", "1 channel, the model's contract takes 2"),
    ]
    for changed, codes, text in cases:
        path = nifti(tmp_path / "a.nii", volume(1), codes)
        with pytest.raises(ContractError, match="model") as caught:
            run(package, tmp_path, [path], **changed)
        assert text in str(caught.value)


def test_any_takes_what_the_file_states(package, tmp_path):
    path = nifti(tmp_path / "a.nii", volume(1), None, (1, 1, 9))
    predictions = run(package, tmp_path, [path], orientation="any", spacing_mm="any")
    assert predictions.table["volume_mm3_lesion"][0] == expected(volume(1)).sum() * 9.0
    assert predictions.record["inference"]["prepared"]["image: the file does not state how it lies in the patient"] == 1


def test_padding_cropping_and_resampling_are_taken_back(package, tmp_path):
    array = volume(1)  # 9 × 6 × 5
    path = nifti(tmp_path / "a.nii", array)
    for shape in ([1, 11, 8, 8], [1, 5, 9, 3]):
        predictions = run(package, tmp_path, [path], shape=shape, fit="pad_or_crop")
        mask = next(read_masks(predictions.mask_files))
        assert mask.grid.shape == array.shape
        assert predictions.table["voxels_lesion"][0] == mask.labels().sum()
        assert any("brought to" in text for text in predictions.record["inference"]["prepared"])
    # the model sees every voxel four times: each stored voxel keeps its own answer
    predictions = run(package, tmp_path, [path], spacing_mm=[1.0, 1.0, 1.5], resample="nearest")
    np.testing.assert_array_equal(next(read_masks(predictions.mask_files)).labels(), expected(array))


def test_masks_are_kept_in_shards_and_a_stopped_run_goes_on_to_the_same_bytes(package, tmp_path):
    from evalsuite.errors import Interrupted

    files = [nifti(tmp_path / f"{i}.nii", volume(i)) for i in range(6)]
    files[3].write_bytes(b"\0" * 400)
    model = open_model(package, contract=contract(tmp_path))
    once = predict(model, set_of(*files), settings=SETTINGS, work=tmp_path / "once")
    left = iter([False] * 5 + [True] * 9)
    with pytest.raises(Interrupted):
        predict(model, set_of(*files), settings=SETTINGS, work=tmp_path / "twice", should_stop=lambda: next(left))
    again = predict(model, set_of(*files), settings=SETTINGS, work=tmp_path / "twice")
    assert again.record["inference"]["resumed_shards"] == 1
    assert again.digest == once.digest
    assert [f.read_bytes() for f in again.mask_files] == [f.read_bytes() for f in once.mask_files]
    assert [m.case_id for m in read_masks(once.mask_files)] == ["c000", "c001", "c002", "c004", "c005"]
    assert [m.case_id for m in read_masks(once.mask_files, case_ids={"c004"})] == ["c004"]
    assert once.table["reason"][3] == "unreadable"

    write_predictions(once, tmp_path / "p.parquet")
    assert read_predictions(tmp_path / "p.parquet").masks == once.masks
    verify_masks(once.mask_files, once.masks)
    with pytest.raises(IntegrityError):
        verify_masks(once.mask_files[::-1], once.masks)
    # without its masks a shard is no shard: it is computed again
    once.mask_files[0].unlink()
    third = predict(model, set_of(*files), settings=SETTINGS, work=tmp_path / "once")
    assert third.record["inference"]["resumed_shards"] == 1
    assert third.digest == once.digest


def test_one_mask_per_class_by_threshold(package, tmp_path):
    output = {
        "name": "seg", "meaning": "mask", "classes": ["dark", "lesion"], "activation": "sigmoid", "threshold": 0.5,
    }  # fmt: skip
    predictions = run(package, tmp_path, [nifti(tmp_path / "a.nii", volume(2))], output=output)
    dark, lesion = read_masks(predictions.mask_files)
    assert (dark.channel, lesion.channel) == ("dark", "lesion")
    np.testing.assert_array_equal(lesion.labels() | dark.labels(), 1)
    assert predictions.table["voxels_dark"][0] == dark.labels().sum()


def test_not_a_number_anywhere_is_a_failed_case_and_no_mask(package, tmp_path):
    broken = volume(1).astype(np.float32)
    broken[0, 0, 0] = np.nan
    files = [nifti(tmp_path / "a.nii", volume(1)), nifti(tmp_path / "b.nii", broken)]
    predictions = run(package, tmp_path, files)
    assert predictions.table["status"].tolist() == ["ok", "failed"]
    assert predictions.table["reason"][1] == "output is not finite"
    assert [m.case_id for m in read_masks(predictions.mask_files)] == ["c000"]


class Two(torch.nn.Module):
    """Bright in the second image, dark in the first."""

    def forward(self, t1: torch.Tensor, flair: torch.Tensor) -> torch.Tensor:
        return torch.cat([t1 - flair, flair - t1], dim=1)


def test_a_missing_view_fails_its_case_or_is_replaced_where_the_contract_says_so(tmp_path):
    import json

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Two()), tmp_path / "model.ts")
    files = [nifti(tmp_path / f"{i}.nii", volume(0)) for i in range(6)]
    found = make_testset(3)
    columns = [{"t1": 0, "flair": 1}, {"flair": 2}, {"t1": 3}]
    cases = tuple(
        replace(case, images={name: (files[i],) for name, i in views.items()})
        for case, views in zip(found.cases, columns, strict=True)
    )

    def reasons(grid: str = "flair", **first: Any) -> tuple[list[str | None], dict[str, int]]:
        place = {"shape": [1, 8, 6, 5], "source_range": [0, 200], "orientation": "RAS", "spacing_mm": list(SPACING)}
        inputs = [{"name": "t1", **place, **first}, {"name": "flair", **place}]
        mask = {"name": "seg", "meaning": "mask", "classes": ["background", "lesion"], "grid": grid}
        (tmp_path / "c.json").write_text(json.dumps({"inputs": inputs, "outputs": [mask]}))
        model = open_model(tmp_path / "model.ts", contract=tmp_path / "c.json")
        made = predict(model, replace(found, cases=cases), settings=SETTINGS, work=tmp_path / "work")
        return made.table["reason"].tolist(), made.record["inference"]["prepared"]

    assert reasons() == ([None, "no image", "no image"], {})
    expected = {"t1: absent, replaced by an image of one value": 1}
    assert reasons(missing_value=0) == ([None, None, "no image"], expected)
    # a mask has to lie somewhere: the image it is drawn on cannot be replaced
    assert reasons(grid="t1", missing_value=0) == ([None, "no image", "no image"], {})


def test_masks_come_back_through_the_decoded_cache(package, tmp_path, monkeypatch):
    array = volume(1)
    turn = turn_between("RAS", "LIA")
    path = nifti(tmp_path / "a.nii", np.ascontiguousarray(turn.apply(array)), "LIA", turn.of(SPACING))
    monkeypatch.setattr("evalsuite.testset.places.locked_digests", lambda testset: {str(path): "a" * 64})
    model = open_model(package, contract=contract(tmp_path, shape=[1, 12, 8, 5], fit="pad_or_crop"))
    settings = replace(SETTINGS, cache=tmp_path / "cache")

    def once(name: str):
        return predict(model, set_of(path), settings=settings, work=tmp_path / name)

    first, second = once("first"), once("second")
    plain = predict(model, set_of(path), settings=SETTINGS, work=tmp_path / "plain")
    assert second.record["inference"]["cache"]["hits"] >= 1
    assert first.digest == second.digest == plain.digest
    assert first.record["inference"]["prepared"] == second.record["inference"]["prepared"]
    np.testing.assert_array_equal(
        next(read_masks(second.mask_files)).labels(), next(read_masks(plain.mask_files)).labels()
    )
