"""Open a model package of any known format: by content, with its digest and its contract, or say why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalsuite.errors import ContractError, Problem
from evalsuite.models.base import AnyModel, PackagedModel
from evalsuite.models.contract import CONTRACT_NAMES, Contract, contract_digest, contract_to_json, load_contract
from evalsuite.models.drafting import draft_contract
from evalsuite.models.folder_model import FolderModel
from evalsuite.models.formats import Loaded, Located, Signature, formats, origin_of
from evalsuite.models.package import locate, package_digest, sidecar_contract, size_bytes


def open_model(path: Path | str, *, contract: Path | str | None = None, case_column: str = "case_id") -> AnyModel:
    """Open a model package, a model on a server, or a table of recorded predictions.

    Parameters
    ----------
    path
        A package file or folder of any format of `evalsuite list models`, a folder with exactly one package, a table,
        or an address such as `kserve+grpc://host:8001/model`.
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
        If the package is damaged, not loadable, or loading it would run code; if a server does not answer.
    CaseTableError
        If a table of recorded predictions is faulty.
    """
    located = locate(Path(path))
    explicit = Path(contract) if contract is not None else None
    if located.format == "recorded":
        from evalsuite.models.recorded import open_recorded

        return open_recorded(located.path, contract=explicit, case_column=case_column)
    digest = package_digest(located) if not located.address else ""
    loaded = formats()[located.format].load(located, explicit is None)
    agreed, notes = _agree(located, loaded, explicit)
    _check_fit(agreed, loaded.signature, located.path.name)
    facts: dict[str, Any] = {
        "name": agreed.name or loaded.name or located.path.stem,
        "format": located.format,
        "digest": loaded.digest or digest,
        "contract": agreed,
        "contract_digest": contract_digest(agreed),
        "notes": (*loaded.notes, *notes, *_brought(located)),
        "size_bytes": size_bytes(located.files) if loaded.size_bytes is None else loaded.size_bytes,
    }
    if loaded.runner is not None:
        return FolderModel(**facts, runner=loaded.runner)
    network = loaded.make(agreed) if loaded.make is not None else loaded.network
    if network is None:
        raise ValueError(f"format {located.format} opened neither a network nor a runner")
    return PackagedModel(**facts, network=network)


def _agree(located: Located, loaded: Loaded, explicit: Path | None) -> tuple[Contract, tuple[str, ...]]:
    """Which contract holds: the one named, the package's own, the one beside it; none is an error, never a guess."""
    if explicit is not None:
        # the package's own was not read: it may be the very reason why another one is given
        return load_contract(explicit), (f"Contract taken from {explicit.name}, given explicitly.",)
    if loaded.contract is not None:
        return loaded.contract, ()
    beside = None if located.address else sidecar_contract(located)
    if beside is not None:
        inside = located.path.is_dir()
        found = load_contract(beside)
        return found, () if inside else (f"Contract taken from {beside.name} beside the package.",)
    name = located.address or located.path.name
    beside_it = "" if located.address else f"Write {CONTRACT_NAMES[0]} beside it, or give "
    raise ContractError(
        f"model {name} states no contract: which pixel values it takes and what its outputs mean",
        hint=f"{beside_it or 'Give '}--contract FILE; 'evalsuite inspect {name} --draft FILE' writes a draft.",
    )


def _brought(located: Located) -> tuple[str, ...]:
    """A plugin has a part in the numbers, so its version stands beside them."""
    origin = origin_of(located.format)
    return () if origin == "evalsuite" else (f"The package was opened by the plugin {origin}.",)


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
        for kind, stated, named in (
            ("inputs", signature.inputs, [i.name for i in contract.inputs]),
            ("outputs", signature.outputs, [o.name for o in contract.outputs]),
        ):
            if list(stated) != named and set(stated) == set(named):
                what = f"the package's {kind} are {', '.join(stated)} in this order, the contract's {', '.join(named)}"
                problems.append(Problem(what=what, where=kind))
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


def digest_of(path: Path | str) -> str:
    """Digest of the model at `path`, as `open_model` gives it, without a contract and without running anything.

    That of a package is of its bytes; a container named by its tag, and a model on a server, are asked for theirs.
    """
    located = locate(Path(path))
    if located.address or formats()[located.format].runs == "apart":
        return formats()[located.format].load(located, False).digest or package_digest(located)
    return package_digest(located)


def inspect_model(path: Path | str, *, contract: Path | str | None = None) -> dict[str, Any]:
    """What a package is, for people and for JSON: format, digest, size, contract or a draft of one, what would run.

    Raises
    ------
    InputError, ModelLoadError
        As `open_model`. A missing or faulty contract is part of the answer, not an error.
    """
    located = locate(Path(path))
    answer = {"kind": "model", **seen(located)}
    try:
        model = open_model(path, contract=contract)
    except ContractError as error:
        loaded = _without_contract(located)
        if loaded.digest:
            answer["digest"] = loaded.digest
        draft = draft_contract(located, loaded.signature)
        problem = "; ".join(line.strip() for line in str(error).splitlines())
        return {**answer, "contract": None, "problem": problem, "draft": draft, "draft_file": CONTRACT_NAMES[0]}
    answer |= {"name": model.name, "digest": model.digest, "size_bytes": model.size_bytes, "notes": list(model.notes)}
    answer |= {"contract": contract_to_json(model.contract), "contract_digest": model.contract_digest}
    answer["outputs"] = list(model.contract.columns)
    unplaced = [f"inputs[{i}].{key}" for i, spec in enumerate(model.contract.inputs) for key in spec.places]
    if unplaced:
        answer["problem"] = "volumes need to know how they lie in the patient: " + ", ".join(unplaced)
    if isinstance(model, PackagedModel):
        answer["batch_limits"] = list(model.batch_limits)
    return answer


def seen(located: Located) -> dict[str, Any]:
    """What is known of a package from outside, before anything of it is opened."""
    format = formats()[located.format]
    remote = {"address": located.address, "digest of": "what the server says, not the weights"}
    return {
        "name": located.path.stem,
        "format": located.format,
        **({} if origin_of(located.format) == "evalsuite" else {"brought by": origin_of(located.format)}),
        "digest": package_digest(located) if not located.address else "",
        "size_bytes": size_bytes(located.files),
        "files": len(located.files),
        **(remote if located.address else {}),
        "executes": format.executes_in(located) if format.executes_in else format.executes,
        "runs": format.runs,
    }


def _without_contract(located: Located) -> Loaded:
    """The package opened for its shapes only; formats whose code needs the contract to be opened say nothing more."""
    try:
        return formats()[located.format].load(located, False)
    except ContractError:
        return Loaded()
