"""Bundles as zip files and inside TorchScript files, and their metadata against MONAI's schema."""

from __future__ import annotations

import json
import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from evalsuite.errors import ModelLoadError
from evalsuite.models.bundle import unpacked
from evalsuite.models.bundle_metadata import metadata_faults
from evalsuite.models.open import inspect_model, open_model

BATCH = {"image": np.random.default_rng(0).uniform(-1, 1, (3, 3, 8, 8)).astype(np.float32)}


def zipped(bundle: Path, target: Path, prefix: str = "tiny/") -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(p for p in bundle.rglob("*") if p.is_file()):
            archive.write(path, prefix + path.relative_to(bundle).as_posix())
    return target


@pytest.mark.parametrize("prefix", ["", "tiny/", "a/b/"])
def test_a_zipped_bundle_is_the_bundle(packages, tmp_path, prefix):
    folder = open_model(packages / "bundle")
    model = open_model(zipped(packages / "bundle", tmp_path / "tiny.zip", prefix))
    assert model.format == "monai-bundle"
    assert model.contract == folder.contract
    np.testing.assert_array_equal(model.predict(BATCH)["p_malignant"], folder.predict(BATCH)["p_malignant"])
    assert list(tmp_path.iterdir()) == [tmp_path / "tiny.zip"]


@pytest.mark.parametrize("name", ["../outside.txt", "/tmp/outside.txt", "a\\..\\b"])
def test_a_path_that_leads_out_of_the_archive_is_refused(packages, tmp_path, name):
    path = zipped(packages / "bundle", tmp_path / "tiny.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), "x")
    with pytest.raises(ModelLoadError, match="paths that lead out"):
        open_model(path)


def test_two_bundles_in_one_archive_are_refused(packages, tmp_path):
    path = zipped(packages / "bundle", tmp_path / "two.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/configs/metadata.json", "{}")
    with pytest.raises(ModelLoadError, match="not one bundle"):
        open_model(path)


def test_a_damaged_member_is_a_load_error(packages, tmp_path):
    path = zipped(packages / "bundle", tmp_path / "tiny.zip")
    data = bytearray(path.read_bytes())
    at = data.find(b'"network_data_format"')
    data[at + 3] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(ModelLoadError, match="cannot be unpacked"):
        open_model(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compressed_member_damaged_anywhere_is_a_load_error(tmp_path, method):
    path = tmp_path / "tiny.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("tiny/configs/metadata.json", json.dumps({"channels": list(range(300))}))
    sound = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        begin, size = archive.infolist()[0].header_offset + 30 + 26, archive.infolist()[0].compress_size
    refused = []
    for at in range(begin, begin + size, 3):
        path.write_bytes(sound[:at] + bytes([sound[at] ^ 0x55]) + sound[at + 1 :])
        try:
            with unpacked(path):  # a bit of padding may change without changing what is unpacked
                pass
        except ModelLoadError as error:
            refused.append(error.message)
    assert len(refused) > size / 4
    assert all("cannot be unpacked" in message for message in refused)


def test_a_torchscript_file_with_both_configurations_prepares_as_the_bundle_does(packages, tmp_path):
    configs = packages / "bundle" / "configs"
    extra = {name: (configs / name).read_bytes() for name in ("metadata.json", "inference.json")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.load(str(packages / "tiny.ts")), str(tmp_path / "m.ts"), _extra_files=extra)
    spec, wanted = open_model(tmp_path / "m.ts").contract.inputs[0], open_model(packages / "bundle").contract.inputs[0]
    assert spec == wanted
    assert spec.source_range == (0.0, 255.0)
    assert open_model(tmp_path / "m.ts").contract.outputs[0].activation == "softmax"


COMPLETE = {
    "version": "1.0", "changelog": {"1.0": "first"}, "monai_version": "1.5.0", "pytorch_version": "2.6",
    "numpy_version": "2.0", "task": "t", "description": "d", "authors": "a", "copyright": "c",
    "network_data_format": {
        side: {name: {
            "type": "image", "format": "RGB", "num_channels": 3, "spatial_shape": [8, 8], "dtype": "float32",
            "value_range": [0, 1], "is_patch_data": False, "channel_def": {"0": "R"},
        }} for side, name in (("inputs", "image"), ("outputs", "pred"))
    },
}  # fmt: skip


def test_metadata_that_keep_the_schema_have_no_fault():
    assert metadata_faults(COMPLETE) == []


def test_a_published_bundles_metadata_have_no_fault(shared_real):
    real = shared_real / "models" / "derm_mnv2_7class" / "bundle" / "configs" / "metadata.json"
    assert metadata_faults(json.loads(real.read_text())) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"authors": None}, "authors is not text"),
        ({"changelog": "none"}, "changelog is not a mapping"),
        ({"network_data_format": {"inputs": {}}}, "network_data_format.outputs is missing or not a mapping"),
        (
            {"network_data_format": {"inputs": {"image": {**COMPLETE["network_data_format"]["inputs"]["image"],
                                                          "num_channels": True}}, "outputs": {}}},
            "network_data_format.inputs.image.num_channels is not a whole number",
        ),
    ],
)  # fmt: skip
def test_each_fault_of_the_metadata_is_named(change, fault):
    assert metadata_faults({**COMPLETE, **change}) == [fault]
    del_key = {k: v for k, v in COMPLETE.items() if k != "task"}
    assert metadata_faults(del_key) == ["task is missing"]


def test_faults_of_the_metadata_are_a_note_of_the_model(packages, tmp_path):
    shutil.copytree(packages / "bundle", tmp_path / "b")
    notes = inspect_model(tmp_path / "b")["notes"]
    assert any("does not keep MONAI's schema: monai_version is missing" in note for note in notes)
    assert any(note.endswith("more.") for note in notes)
