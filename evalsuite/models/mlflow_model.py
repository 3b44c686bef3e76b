"""MLflow models by their python_function flavour: a folder with an MLmodel file, opened by MLflow itself.

Whatever flavour made the package (PyTorch, ONNX, scikit-learn, a Python class), MLflow loads it by Python code, often
from pickled objects: it is opened in the sandbox.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml

from evalsuite.errors import ContractError, ModelLoadError, Problem
from evalsuite.models.contract import Contract, build_contract
from evalsuite.models.formats import Loaded, Located, Signature
from evalsuite.models.quiet import without_warnings

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTRACT_KEY = "evalsuite_contract"
NOTE = "MLflow model, flavour {loader}: Python code of the package and of MLflow {version} was run."
_MOST = 2**20
# MLflow reports its use unless told otherwise; the suite sends nothing.
_SILENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MlflowNetwork:
    """A pyfunc model. `names` are its inputs where the signature names them, else it takes one array."""

    model: Any
    names: tuple[str, ...]
    outputs: tuple[str, ...]
    batch_limits: tuple[int, int | None]

    def run(self, inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        arrays = [np.ascontiguousarray(x.detach().cpu().numpy(), dtype=np.float32) for x in inputs]
        if not self.names and len(arrays) != 1:
            raise ValueError(f"the model's signature names no inputs, so it takes one array, not {len(arrays)}")
        with without_warnings():
            found = self.model.predict(dict(zip(self.names, arrays, strict=True)) if self.names else arrays[0])
        return [torch.from_numpy(a) for a in _arrays(found, self.outputs)]

    def to(self, device: str) -> MlflowNetwork:
        if device != "cpu":
            raise ModelLoadError(
                f"MLflow's python_function takes no device {device}: it runs where its flavour puts it"
            )
        return self

    def with_threads(self, threads: int) -> MlflowNetwork:
        return self


def load(located: Located, *, translate: bool) -> Loaded:
    """Open the package.

    Raises
    ------
    ModelLoadError
        If MLflow is not installed, the package has no python_function flavour, or it fails while it is loaded.
    ContractError
        If its signature is not one of float32 tensors, or the contract in its metadata is faulty.
    """
    described = _read(located.path / "MLmodel")
    flavours = described.get("flavors")
    pyfunc = flavours.get("python_function") if isinstance(flavours, Mapping) else None
    if not isinstance(pyfunc, Mapping):
        raise ModelLoadError(
            f"MLflow model {located.path.name} has no python_function flavour",
            hint="Log it with one of MLflow's model flavours, or with mlflow.pyfunc.save_model.",
        )
    inputs, outputs = (_tensors(described.get("signature"), side) for side in ("inputs", "outputs"))
    own = _own_contract(described, located, translate)
    model, version = _open(located.path)
    named = tuple(inputs) if inputs and all(inputs) else ()
    sizes = {shape[0] for shape in inputs.values() if shape}
    fixed = next((n for n in sizes if n is not None), None)
    network = MlflowNetwork(
        model=model, names=named, outputs=tuple(outputs), batch_limits=(fixed, fixed) if fixed else (1, None)
    )
    complete = {name or "image": shape for name, shape in inputs.items()}
    given = {name or "output": shape for name, shape in outputs.items()}
    return Loaded(
        network=network,
        contract=own,
        signature=Signature(inputs=complete, outputs=given) if complete and given else None,
        notes=(NOTE.format(loader=pyfunc.get("loader_module", "unknown"), version=version),),
        name=located.path.name,
    )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > _MOST:
            raise ValueError
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        found = None
    if not isinstance(found, Mapping):
        raise ModelLoadError(f"{path.parent.name}/MLmodel cannot be read as YAML")
    return found


def _own_contract(described: Mapping[str, Any], located: Located, translate: bool) -> Contract | None:
    metadata = described.get("metadata")
    text = metadata.get(CONTRACT_KEY) if isinstance(metadata, Mapping) else None
    if not translate or text is None:
        return None
    where = f"in the metadata of {located.path.name}/MLmodel"
    try:
        return build_contract(json.loads(text) if isinstance(text, str) else text, where=where)
    except ValueError:
        raise ContractError(f"contract {where} is not valid JSON") from None


def _tensors(signature: Any, side: str) -> dict[str, tuple[int | None, ...]]:
    """Name ("" where it has none) → shape of the tensors of a signature; empty where there is no signature."""
    if not isinstance(signature, Mapping) or not signature.get(side):
        return {}
    try:
        listed = json.loads(signature[side])
        found, wrong = {}, []
        for entry in listed:
            name = str(entry.get("name") or "")
            spec = entry.get("tensor-spec")
            if spec is None or spec["dtype"] not in ("float32", "float64"):
                kind = entry.get("type") if spec is None else spec["dtype"]
                wrong.append(Problem(what=f"the signature says {kind}, a contract float32 tensors", where=name or side))
                continue
            found[name] = tuple(None if n < 0 else int(n) for n in spec["shape"])
    except (TypeError, ValueError, KeyError, AttributeError):
        raise ContractError(f"the signature of the MLflow model has {side} that cannot be read") from None
    if wrong and side == "inputs":
        raise ContractError("the signature of the MLflow model does not fit", problems=wrong)
    return found


def _open(path: Path) -> tuple[Any, str]:
    with _quietly():
        try:
            import mlflow
            import mlflow.pyfunc
        except ImportError:
            raise ModelLoadError(
                "MLflow is not installed", hint="Install it: pip install 'evalsuite[mlflow]'"
            ) from None
        try:
            return mlflow.pyfunc.load_model(str(path)), str(mlflow.__version__)
        except Exception as error:  # whatever the package's own code raised
            lines = str(error).splitlines()
            said = f": {lines[0][:200]}" if lines else ""
            raise ModelLoadError(
                f"MLflow cannot load {path.name} ({type(error).__name__}{said})",
                hint="What the package needs must be installed here: see its requirements.txt.",
            ) from error


@contextmanager
def _quietly() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _SILENT}
    os.environ.update(_SILENT)
    logger = logging.getLogger("mlflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with without_warnings():
            yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _arrays(found: Any, names: tuple[str, ...]) -> list[np.ndarray]:
    """The arrays of an answer: one, a mapping in the signature's order, a list of them, or a table's columns."""
    if isinstance(found, Mapping):
        ordered = [found[n] for n in names] if names and set(names) == set(found) else list(found.values())
    elif isinstance(found, list | tuple) and found and all(isinstance(a, np.ndarray) for a in found):
        ordered = list(found)
    elif hasattr(found, "to_numpy"):
        ordered = [found.to_numpy()]
    else:
        ordered = [found]
    arrays = [np.array(a) for a in ordered]
    for array in arrays:
        if array.dtype.kind not in "fiub":
            raise TypeError(f"the model gives {array.dtype} where numbers are expected")
    return arrays
