"""AOTInductor packages: what is read of them before their library is loaded, and what is said where it cannot be.

Compiling one takes a minute of a C++ compiler: that is done by `make formats`, with a real network.
"""

from __future__ import annotations

import json
import platform
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from evalsuite.errors import ModelLoadError, ModelRunError
from evalsuite.models.open import inspect_model, open_model


def package(path: Path, facts: dict, *, contract: bytes | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/archive_format", "pt2")
        archive.writestr("m/data/aotinductor/model/x.wrapper.so", b"\x7fELF")
        archive.writestr("m/data/aotinductor/model/x.wrapper_metadata.json", json.dumps(facts))
        if contract is not None:
            archive.writestr("m/extra/evalsuite_contract.json", contract)
    return path


HERE = {
    "AOTI_DEVICE_KEY": "cpu", "AOTI_PLATFORM": platform.system().lower(), "AOTI_MACHINE": platform.machine(),
    "AOTI_CPU_ISA": "AVX2", "AOTI_COMPUTE_CAPABILITY": "",
}  # fmt: skip


def test_a_library_for_another_machine_is_refused_before_it_is_loaded(packages, tmp_path):
    path = package(tmp_path / "m.pt2", {**HERE, "AOTI_MACHINE": "riscv64"})
    with pytest.raises(ModelLoadError, match="compiled for riscv64, this machine is"):
        open_model(path, contract=packages / "contract.json")
    path = package(tmp_path / "m.pt2", {**HERE, "AOTI_PLATFORM": "plan9"})
    with pytest.raises(ModelLoadError, match="compiled for plan9"):
        open_model(path, contract=packages / "contract.json")


def test_a_library_that_is_none_is_a_load_error(packages, tmp_path):
    with pytest.raises(ModelLoadError, match="cannot be loaded as AOTInductor package"):
        open_model(package(tmp_path / "m.pt2", HERE), contract=packages / "contract.json")
    damaged = package(tmp_path / "d.pt2", HERE)
    damaged.write_bytes(damaged.read_bytes().replace(b'{"AOTI', b'["AOTI'))
    with pytest.raises(ModelLoadError, match="its description cannot be read"):
        open_model(damaged, contract=packages / "contract.json")


def test_what_is_loaded_runs_on_its_own_kind_of_device_only(packages, tiny, tmp_path, monkeypatch):
    class Loader:
        def __init__(self, path: str, *_: object) -> None:
            assert path.endswith("m.pt2")

        def run(self, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
            return [tiny(*inputs)]

    monkeypatch.setattr(torch._C._aoti, "AOTIModelPackageLoader", Loader)
    model = open_model(package(tmp_path / "m.pt2", HERE, contract=(packages / "contract.json").read_bytes()))
    assert model.format == "aotinductor"
    assert model.contract.name == "tiny"
    assert any("native code, compiled for cpu" in note and "AVX2" in note for note in model.notes)
    batch = {"image": np.ones((2, 3, 8, 8), np.float32)}
    wanted = open_model(packages / "tiny.ts", contract=packages / "contract.json").predict(batch)
    np.testing.assert_allclose(model.predict(batch)["p_malignant"], wanted["p_malignant"], atol=1e-7)
    with pytest.raises(ModelRunError, match="compiled for cpu and cannot run on cuda"):
        model.to("cuda")
    assert inspect_model(tmp_path / "m.pt2")["executes"].startswith("native code")
