"""Open a model package of any known format: by content, with its digest and its contract, or say why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import ContractError, Problem
from evalsuite.models.base import AnyModel, Network, PackagedModel
from evalsuite.models.contract import (
    CONTRACT_NAMES,
    CONTRACT_SCHEMA,
    Contract,
    contract_digest,
    contract_to_json,
    load_contract,
    parse_contract,
)
from evalsuite.models.package import Located, locate, package_digest, sidecar_contract, size_bytes

if TYPE_CHECKING:
    from evalsuite.models.exported import Signature

EXECUTES: Mapping[str, str] = {
    "torchscript": "the TorchScript program in the package, by torch's interpreter",
    "torch.export": "the operator graph in the package, by torch; no code of the file",
    "onnx": "the operator graph in the package, by ONNX Runtime",
    "monai-bundle": "the network file of the bundle; none of its Python expressions",
    "recorded": "nothing",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    network: Network
    contract: Contract | None = None
    signature: Signature | None = None
    notes: tuple[str, ...] = ()
    network_format: str = field(default="")


def open_model(path: Path | str, *, contract: Path | str | None = None, case_column: str = "case_id") -> AnyModel:
    """Open a model package, or a table of recorded predictions.

    Parameters
    ----------
    path
        A TorchScript, torch.export or ONNX file, a MONAI bundle folder, a folder with exactly one package, or a table.
    contract
        A contract file. It wins over the package's own, and a note says so.
    case_column
        For recorded predictions: the column of case identifiers, where it is not `case_id`.

    Raises
    ------
    InputError
        If nothing is there, or a folder holds several packages.
    ContractError
        If there is no contract, or it does not fit what the package states about its inputs and outputs.
    ModelLoadError
        If the package is damaged, not loadable, or loading it would run code.
    CaseTableError
        If a table of recorded predictions is faulty.
    """
    located = locate(Path(path))
    explicit = Path(contract) if contract is not None else None
    if located.format == "recorded":
        from evalsuite.models.recorded import open_recorded

        return open_recorded(located.path, contract=explicit, case_column=case_column)
    digest = package_digest(located)
    loaded = _load(located, translate=explicit is None)
    agreed, notes = _agree(located, loaded, explicit)
    _check_fit(agreed, loaded.signature, located.path.name)
    return PackagedModel(
        name=agreed.name or located.path.stem,
        format=located.format,
        digest=digest,
        contract=agreed,
        contract_digest=contract_digest(agreed),
        notes=(*loaded.notes, *notes),
        size_bytes=size_bytes(located.files),
        network=loaded.network,
    )


def _load(located: Located, *, translate: bool = True) -> _Loaded:
    if located.format == "monai-bundle":
        from evalsuite.models import bundle

        inner = locate(bundle.network_file(located.path))
        own, notes = bundle.bundle_contract(located.path) if translate else (None, ())
        loaded = _load(inner)
        return _Loaded(
            network=loaded.network, contract=own, signature=loaded.signature, notes=(*loaded.notes, *notes),
            network_format=inner.format,
        )  # fmt: skip
    if located.format == "torchscript":
        return _load_torchscript(located, translate=translate)
    if located.format == "torch.export":
        from evalsuite.models import exported

        network, extra, signature = exported.load(located.path)
        text = extra.get(exported.CONTRACT_FILE)
    else:
        from evalsuite.models import onnx

        network, extra, signature = onnx.load(located.path, located.files)  # type: ignore[assignment]
        text = extra.get(onnx.CONTRACT_KEY)
    own = parse_contract(text, where=f"inside {located.path.name}") if text and translate else None
    return _Loaded(network=network, contract=own, signature=signature, network_format=located.format)


def _load_torchscript(located: Located, *, translate: bool) -> _Loaded:
    import json

    from evalsuite.models import bundle, torchscript

    network, extra = torchscript.load(located.path)
    notes: tuple[str, ...] = (torchscript.NOTE,)
    own = None
    where = f"inside {located.path.name}"
    if translate and "evalsuite_contract.json" in extra:
        own = parse_contract(extra["evalsuite_contract.json"], where=where)
    elif translate and "metadata.json" in extra:
        try:
            metadata = json.loads(extra["metadata.json"])
        except ValueError:
            raise ContractError(f"metadata.json {where} is not valid JSON") from None
        if isinstance(metadata, dict) and metadata.get("network_data_format"):
            own, more = bundle.metadata_contract(metadata, inference=None, where=where)
            notes = (*notes, *more)
    return _Loaded(network=network, contract=own, notes=notes, network_format="torchscript")


def _agree(located: Located, loaded: _Loaded, explicit: Path | None) -> tuple[Contract, tuple[str, ...]]:
    """Which contract holds: the one named, the package's own, the one beside it; none is an error, never a guess."""
    if explicit is not None:
        # the package's own was not read: it may be the very reason why another one is given
        return load_contract(explicit), (f"Contract taken from {explicit.name}, given explicitly.",)
    if loaded.contract is not None:
        return loaded.contract, ()
    beside = sidecar_contract(located)
    if beside is not None:
        return load_contract(beside), (f"Contract taken from {beside.name} beside the package.",)
    raise ContractError(
        f"model {located.path.name} states no contract: which pixel values it takes and what its outputs mean",
        hint=f"Write {CONTRACT_NAMES[0]} beside it, or give --contract FILE; 'evalsuite inspect {located.path.name}' "
        "writes a draft.",
    )


def _check_fit(contract: Contract, signature: Signature | None, name: str) -> None:
    if not contract.inputs:
        raise ContractError(f"the contract of {name} names no input")
    if signature is None:
        return
    problems = []
    if len(signature.inputs) != len(contract.inputs):
        what = f"the package takes {len(signature.inputs)} inputs ({', '.join(signature.inputs)}), "
        problems.append(Problem(what=what + f"the contract names {len(contract.inputs)}", where="inputs"))
    elif len(signature.outputs) != len(contract.outputs):
        what = f"the package gives {len(signature.outputs)} outputs ({', '.join(signature.outputs)}), "
        problems.append(Problem(what=what + f"the contract names {len(contract.outputs)}", where="outputs"))
    else:
        for i, (spec, shape) in enumerate(zip(contract.inputs, signature.inputs.values(), strict=True)):
            if shape and not _agrees(spec.shape, shape[1:]):
                what = f"the package takes {_written(shape[1:])}, the contract says {_written(spec.shape)}"
                problems.append(Problem(what=what, where=f"inputs[{i}].shape"))
        for i, (output, shape) in enumerate(zip(contract.outputs, signature.outputs.values(), strict=True)):
            n = len(output.columns)
            if n and len(shape) == 2 and shape[1] not in (None, n):
                what = f"the package gives {shape[1]} values per case, the contract names {n}"
                problems.append(Problem(what=what, where=f"outputs[{i}].classes"))
    if problems:
        raise ContractError(f"contract and package {name} do not fit each other", problems=problems)


def _agrees(wanted: tuple[int | None, ...], found: tuple[int | None, ...]) -> bool:
    return len(wanted) == len(found) and all(
        a is None or b is None or a == b for a, b in zip(wanted, found, strict=True)
    )


def _written(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("any" if n is None else str(n) for n in shape) + "]"


def inspect_model(path: Path | str, *, contract: Path | str | None = None) -> dict[str, Any]:
    """What a package is, for people and for JSON: format, digest, size, contract or a draft of one, what would run.

    Raises
    ------
    InputError, ModelLoadError
        As `open_model`. A missing or faulty contract is part of the answer, not an error.
    """
    located = locate(Path(path))
    answer: dict[str, Any] = {
        "kind": "model",
        "name": located.path.stem,
        "format": located.format,
        "digest": package_digest(located),
        "size_bytes": size_bytes(located.files),
        "files": len(located.files),
        "executes": EXECUTES[located.format],
    }
    try:
        model = open_model(path, contract=contract)
    except ContractError as error:
        draft = _draft(located)
        return {**answer, "contract": None, "problem": str(error), "draft": draft, "draft_file": CONTRACT_NAMES[0]}
    answer |= {"name": model.name, "digest": model.digest, "notes": list(model.notes)}
    answer |= {"contract": contract_to_json(model.contract), "contract_digest": model.contract_digest}
    answer["outputs"] = list(model.contract.columns)
    if isinstance(model, PackagedModel):
        answer["batch_limits"] = list(model.batch_limits)
    return answer


def _draft(located: Located) -> dict[str, Any]:
    """A contract to complete: shapes where the package states them, and words where only its maker knows."""
    signature = _load(located, translate=False).signature
    inputs: Mapping[str, tuple[int | None, ...]] = {"image": (None, 3, None, None)}
    outputs: Mapping[str, tuple[int | None, ...]] = {"output": (None, 2)}
    if signature is not None:
        inputs, outputs = signature.inputs, signature.outputs
    return {
        "schema": CONTRACT_SCHEMA,
        "name": located.path.stem,
        "inputs": [
            {
                "name": name,
                "shape": list(shape[1:]),
                "colour": {3: "RGB", 1: "L"}.get(shape[1] or 0, "any") if len(shape) > 1 else "any",
                "value_range": [0.0, 1.0],
                "normalise": "linear",
            }
            for name, shape in inputs.items()
        ],
        "outputs": [
            {
                "name": name,
                "meaning": "logits",
                "activation": "softmax" if (shape[1:] or (1,))[0] != 1 else "sigmoid",
                "classes": [f"class_{i}" for i in range((shape[1] if len(shape) > 1 else None) or 1)],
            }
            for name, shape in outputs.items()
        ],
    }
