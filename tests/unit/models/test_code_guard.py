"""A crafted .pt2 cannot run code, by any of the ways torch's loader offers; the same file does run it unguarded."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from evalsuite.errors import ModelLoadError
from evalsuite.models.code_guard import _is_arithmetic
from evalsuite.models.open import open_model


class Payload:
    """Pickles to a call of `os.system`."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def rewrite(source: Path, target: Path, change: Callable[[str, bytes], bytes], extra: dict[str, bytes] | None = None):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        root = old.namelist()[0].split("/")[0]
        for name in old.namelist():
            new.writestr(name, change(name.split("/", 1)[1], old.read(name)))
        for name, data in (extra or {}).items():
            new.writestr(f"{root}/{name}", data)


def saved(obj: object, path: Path) -> bytes:
    torch.save(obj, path)
    return path.read_bytes()


def in_samples(packages: Path, target: Path, command: str) -> None:
    evil = saved((Payload(command),), target.with_suffix(".tmp"))
    rewrite(packages / "tiny.pt2", target, lambda n, d: evil if n == "data/sample_inputs/model.pt" else d)


def in_weights(packages: Path, target: Path, command: str) -> None:
    evil = saved(Payload(command), target.with_suffix(".tmp"))

    def change(name: str, data: bytes) -> bytes:
        if name == "data/weights/model_weights_config.json":
            config = json.loads(data)
            for entry in config["config"].values():
                entry["use_pickle"] = True
            return json.dumps(config).encode()
        return evil if name.startswith("data/weights/weight_") else data

    rewrite(packages / "tiny.pt2", target, change)


def in_constants(packages: Path, target: Path, command: str) -> None:
    def change(name: str, data: bytes) -> bytes:
        if name == "data/constants/model_constants_config.json":
            entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
            return json.dumps({"config": {"c": entry}}).encode()
        return data

    rewrite(packages / "tiny.pt2", target, change, {"data/constants/opaque_obj_0": pickle.dumps(Payload(command))})


def in_size_expression(packages: Path, target: Path, command: str) -> None:
    def change(name: str, data: bytes) -> bytes:
        if name != "models/model.json":
            return data
        model = json.loads(data)

        def walk(node: object) -> None:
            if isinstance(node, dict):
                if "expr_str" in node:
                    node["expr_str"] = f"__import__('os').system({command!r})"
                for value in node.values():
                    walk(value)
            elif isinstance(node, list):
                for value in node:
                    walk(value)

        walk(model)
        return json.dumps(model).encode()

    rewrite(packages / "tiny.pt2", target, change)


def in_guards(packages: Path, target: Path, command: str) -> None:
    def change(name: str, data: bytes) -> bytes:
        if name != "models/model.json":
            return data
        model = json.loads(data)
        model["guards_code"] = [f"__import__('os').system({command!r}) == 0"]
        return json.dumps(model).encode()

    rewrite(packages / "tiny.pt2", target, change)


def as_operator(packages: Path, target: Path, command: str) -> None:
    def change(name: str, data: bytes) -> bytes:
        if name != "models/model.json":
            return data
        model = json.loads(data)
        node = model["graph_module"]["graph"]["nodes"][0]
        node["target"] = "torch.os.system"
        node["inputs"] = [{"name": "", "arg": {"as_string": command}, "kind": 1}]
        return json.dumps(model).encode()

    rewrite(packages / "tiny.pt2", target, change)


REFUSED = {
    "sample inputs": in_samples,
    "pickled weights": in_weights,
    "opaque constant": in_constants,
    "size expression": in_size_expression,
    "operator name": as_operator,
}


@pytest.mark.parametrize("way", REFUSED)
def test_crafted_package_is_refused_and_nothing_ran(way, packages, tmp_path):
    marker = tmp_path / "ran"
    REFUSED[way](packages, tmp_path / "evil.pt2", f"touch {marker}")
    with pytest.raises(ModelLoadError, match="would run code") as caught:
        open_model(tmp_path / "evil.pt2", contract=packages / "contract.json")
    assert not marker.exists()
    assert caught.value.exit_code == 4


def test_guard_expressions_are_never_executed(packages, tmp_path):
    marker = tmp_path / "ran"
    in_guards(packages, tmp_path / "evil.pt2", f"touch {marker}")
    model = open_model(tmp_path / "evil.pt2", contract=packages / "contract.json")
    model.predict({"image": torch.zeros(1, 3, 8, 8)})
    assert not marker.exists()


def test_the_crafted_file_is_real(packages, tmp_path):
    # without the guard torch 2.13 runs it: the test above would otherwise prove nothing
    marker = tmp_path / "ran"
    in_samples(packages, tmp_path / "evil.pt2", f"touch {marker}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(Exception):
            torch.export.load(tmp_path / "evil.pt2")
    assert marker.exists()


def test_native_library_is_refused(packages, tmp_path):
    rewrite(
        packages / "tiny.pt2", tmp_path / "aoti.pt2", lambda n, d: d, {"data/aotinductor/model/model.so": b"\x7fELF"}
    )
    with pytest.raises(ModelLoadError, match="native library"):
        open_model(tmp_path / "aoti.pt2", contract=packages / "contract.json")


def test_torch_is_as_before_afterwards(packages):
    before = torch.load, torch._C._pickle_load_obj
    open_model(packages / "tiny.pt2", contract=packages / "contract.json")
    assert (torch.load, torch._C._pickle_load_obj) == before


@pytest.mark.parametrize(
    "text", ["Symbol('s77', positive=True, integer=True)", "2*s0 + 1", "Max(1, u0)", "s0 >= 2", "Add(Integer(2), s1)"]
)
def test_sizes_are_arithmetic(text):
    assert _is_arithmetic(text, {"FloorDiv"})


@pytest.mark.parametrize(
    "text",
    ["__import__('os')", "(1).__class__", "open('x')", "[x for x in s0]", "lambda: 1", "s0; s1", "eval", "f'{s0}'",
     "Symbol(\"x').__class__\")", "s0[0]", ""],
)  # fmt: skip
def test_anything_else_is_not(text):
    assert not _is_arithmetic(text, {"FloorDiv"})
