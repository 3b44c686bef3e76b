"""The package formats the suite brings itself, one entry each; opening one imports what it needs, listing them nothing.

The order is that of recognition: the first format that knows a path has it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from evalsuite.errors import ContractError
from evalsuite.models.contract import Contract, parse_contract
from evalsuite.models.formats import Loaded, Located, ModelFormat
from evalsuite.models.glance import Glance

_AOTI = "data/aotinductor/"


def _is_torchscript(glance: Glance) -> bool:
    return "constants.pkl" in glance.inner and any(name.startswith("code/") for name in glance.inner)


def _is_exported(glance: Glance) -> bool:
    old = "serialized_exported_program.json" in (glance.names or ())
    return old or ("archive_format" in glance.inner and not _is_aotinductor(glance))


def _is_aotinductor(glance: Glance) -> bool:
    """A `.pt2` archive with a native library and no exported program; with both, torch.export's loader refuses it."""
    inner = glance.inner
    has_program = any(name.startswith("models/") and name.endswith(".json") for name in inner)
    return "archive_format" in inner and any(name.startswith(_AOTI) for name in inner) and not has_program


def _is_bundle(glance: Glance) -> bool:
    if glance.is_folder:
        return glance.has("configs/metadata.json")
    return any(name.endswith("configs/metadata.json") for name in glance.names or ()) and not _is_torchscript(glance)


def _is_recorded(glance: Glance) -> bool:
    return not glance.is_folder and bool(glance.head) and (
        glance.head.startswith(b"PAR1") or glance.suffix in (".csv", ".parquet")
    )  # fmt: skip


def _names(key: str) -> Callable[[Glance], bool]:
    def recognise(glance: Glance) -> bool:
        return glance.is_folder and key in (glance.settings or {})

    return recognise


def _load_torchscript(located: Located, translate: bool) -> Loaded:
    from evalsuite.models import bundle, torchscript

    network, extra = torchscript.load(located.path)
    notes: tuple[str, ...] = (torchscript.NOTE,)
    own = None
    where = f"inside {located.path.name}"
    if translate and "evalsuite_contract.json" in extra:
        own = parse_contract(extra["evalsuite_contract.json"], where=where)
    elif translate and "metadata.json" in extra:
        metadata, inference = (_json(extra, name, where) for name in ("metadata.json", "inference.json"))
        if isinstance(metadata, dict) and metadata.get("network_data_format"):
            usable = inference if isinstance(inference, dict) else None
            own, more = bundle.metadata_contract(metadata, inference=usable, where=where)
            notes = (*notes, *more)
    return Loaded(network=network, contract=own, notes=notes)


def _json(extra: Mapping[str, bytes], name: str, where: str) -> object:
    try:
        return json.loads(extra[name]) if name in extra else None
    except ValueError:
        raise ContractError(f"{name} {where} is not valid JSON") from None


def _own(text: bytes | None, located: Located, translate: bool) -> Contract | None:
    return parse_contract(text, where=f"inside {located.path.name}") if text and translate else None


def _load_exported(located: Located, translate: bool) -> Loaded:
    from evalsuite.models import exported

    network, extra, signature = exported.load(located.path)
    own = _own(extra.get(exported.CONTRACT_FILE), located, translate)
    return Loaded(network=network, contract=own, signature=signature)


def _load_aotinductor(located: Located, translate: bool) -> Loaded:
    from evalsuite.models import aotinductor

    network, text, notes = aotinductor.load(located.path)
    return Loaded(network=network, contract=_own(text, located, translate), notes=notes)


def _load_onnx(located: Located, translate: bool) -> Loaded:
    from evalsuite.models import onnx

    network, extra, signature = onnx.load(located.path, located.files)
    own = _own(extra.get(onnx.CONTRACT_KEY), located, translate)
    return Loaded(network=network, contract=own, signature=signature)


def _load_bundle(located: Located, translate: bool) -> Loaded:
    from evalsuite.models import bundle

    with bundle.unpacked(located.path) as folder:
        return bundle.load(folder, translate=translate)


def _load_mlflow(located: Located, translate: bool) -> Loaded:
    from evalsuite.models import mlflow_model

    return mlflow_model.load(located, translate=translate)


def _load_python(located: Located, translate: bool) -> Loaded:
    from evalsuite.models import python_package

    return python_package.load(located)


def _load_command(located: Located, translate: bool) -> Loaded:
    from evalsuite.models import command

    return command.load(located)


def _load_container(located: Located, translate: bool) -> Loaded:
    from evalsuite.models import container

    return container.load(located)


def _load_kserve(located: Located, translate: bool) -> Loaded:
    from evalsuite.models.kserve import load

    return load(located, translate=translate)


def _load_recorded(located: Located, translate: bool) -> Loaded:
    raise ValueError("recorded predictions are opened as a table")  # models.open does, before it comes to formats


TORCHSCRIPT = ModelFormat(
    name="torchscript", what="TorchScript", files=".ts, .pt", recognise=_is_torchscript, load=_load_torchscript,
    executes="the TorchScript program in the package, by torch's interpreter",
)  # fmt: skip
EXPORTED = ModelFormat(
    name="torch.export", what="torch.export program", files=".pt2", recognise=_is_exported, load=_load_exported,
    executes="the operator graph in the package, by torch; no code of the file",
)  # fmt: skip
AOTINDUCTOR = ModelFormat(
    name="aotinductor", what="AOTInductor library", files=".pt2", recognise=_is_aotinductor, load=_load_aotinductor,
    executes="native code: the compiled library in the package",
)  # fmt: skip
ONNX = ModelFormat(
    name="onnx", what="ONNX graph", files=".onnx", load=_load_onnx, needs=("onnxruntime",), extra="onnx",
    recognise=lambda glance: glance.suffix == ".onnx" and bool(glance.head) and not glance.head.startswith(b"PK"),
    executes="the operator graph in the package, by ONNX Runtime",
)  # fmt: skip
BUNDLE = ModelFormat(
    name="monai-bundle", what="MONAI bundle", files="folder with configs/metadata.json, or its .zip",
    recognise=_is_bundle, load=_load_bundle,
    executes="the network file of the bundle; none of its Python expressions",
)  # fmt: skip
MLFLOW = ModelFormat(
    name="mlflow", what="MLflow model", files="folder with MLmodel", recognise=lambda glance: glance.has("MLmodel"),
    load=_load_mlflow, needs=("mlflow-skinny",), extra="mlflow",
    executes="Python code: what MLflow's python_function flavour of the package loads, pickled objects included",
)  # fmt: skip
PYTHON = ModelFormat(
    name="python", what="Python source with safetensors weights", files="folder with evalsuite-model.yaml: entry_point",
    recognise=_names("entry_point"), load=_load_python, executes="Python code of the package",
    executes_in=lambda located: f"Python code of the package: {(located.settings or {})['entry_point']}",
)  # fmt: skip
COMMAND = ModelFormat(
    name="command", what="command line", files="folder with evalsuite-model.yaml: cmd", runs="apart",
    recognise=_names("cmd"), load=_load_command, executes="the command named in the package, as a process of its own",
    executes_in=lambda located: "the command " + " ".join(map(str, _list((located.settings or {})["cmd"]))),
)  # fmt: skip
CONTAINER = ModelFormat(
    name="container", what="OCI container", files="folder with evalsuite-model.yaml: container", runs="apart",
    recognise=_names("container"), load=_load_container,
    executes="the container image, by podman, docker or apptainer, without network",
)  # fmt: skip
KSERVE = ModelFormat(
    name="kserve", what="model served by KServe v2 (Triton, KServe, MLServer …)", runs="remote",
    files="kserve+grpc://HOST:PORT/MODEL, kserve+http://…", recognise=lambda glance: False, load=_load_kserve,
    extra="kserve",
    executes="nothing here: the model runs on the server",
)  # fmt: skip
RECORDED = ModelFormat(
    name="recorded", what="recorded predictions", files=".csv, .parquet", runs="nowhere", recognise=_is_recorded,
    load=_load_recorded, executes="nothing",
)  # fmt: skip


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else [value]
