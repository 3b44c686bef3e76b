"""MONAI bundles: contract from the metadata, pre- and post-processing as declared, and no expression ever evaluated.

A bundle's configuration may hold Python (`$…`). The suite reads the configuration as data, translates the transforms it
knows into its own preprocessing, and refuses what it does not know rather than leave it out.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from evalsuite.errors import ContractError, ModelLoadError, Problem
from evalsuite.models.bundle_metadata import metadata_notes
from evalsuite.models.bundle_transforms import Translated, resolve, translate_postprocessing, translate_preprocessing
from evalsuite.models.bundle_volumes import mask_output, sliding_window
from evalsuite.models.contract import Contract, build_contract
from evalsuite.models.formats import Loaded
from evalsuite.models.glance import DAMAGED_ZIP

NETWORKS = ("models/model.ts", "models/model.pt2", "models/model.onnx")
INFERENCE = ("inference.json", "inference.yaml", "inference.yml")
_METADATA = "configs/metadata.json"
_MOST_FILES, _MOST_BYTES = 10_000, 64 * 2**30


def network_file(bundle: Path) -> Path:
    """The self-contained network of a bundle.

    Raises
    ------
    ModelLoadError
        If it has weights only: building the network would need the bundle's Python.
    """
    for name in NETWORKS:
        if (bundle / name).is_file():
            return bundle / name
    raise ModelLoadError(
        f"bundle {bundle.name} has no models/model.ts: its network would have to be built by code in its configuration",
        hint="Export it once where you trust it: python -m monai.bundle ckpt_export … --filepath models/model.ts",
    )


def load(folder: Path, *, translate: bool) -> Loaded:
    """Open a bundle folder: its network file, and its contract unless another one was given.

    Raises
    ------
    ModelLoadError
        If it has weights only, or the network file is damaged.
    ContractError
        See `bundle_contract`.
    """
    from evalsuite.models.formats import formats
    from evalsuite.models.package import locate

    inner = locate(network_file(folder))
    own, notes = bundle_contract(folder) if translate else (None, ())
    loaded = formats()[inner.format].load(inner, False)
    return replace(loaded, contract=own, notes=(*loaded.notes, *notes))


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A bundle's folder: itself, or that of a zip file, unpacked for the time of loading.

    Raises
    ------
    ModelLoadError
        If the archive holds several bundles, a path that leads out of it, more than 10,000 files or 64 GiB, or is
        damaged.
    """
    if path.is_dir():
        yield path
        return
    with TemporaryDirectory(prefix="evalsuite-bundle-") as scratch:
        yield _unpack(path, Path(scratch))


def _unpack(path: Path, target: Path) -> Path:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            roots = {m.filename.removesuffix(_METADATA) for m in members if m.filename.endswith(_METADATA)}
            parts = [part for m in members for part in PurePosixPath(m.filename).parts]
            if len(roots) != 1 or ".." in parts or "/" in parts or "\\" in "".join(parts):
                raise ModelLoadError(f"{path.name} is not one bundle: several, or with paths that lead out of it")
            if len(members) > _MOST_FILES or sum(m.file_size for m in members) > _MOST_BYTES:
                raise ModelLoadError(f"{path.name} unpacks to more than {_MOST_FILES} files or {_MOST_BYTES >> 30} GiB")
            archive.extractall(target)
    except DAMAGED_ZIP as error:
        raise ModelLoadError(f"{path.name} cannot be unpacked ({type(error).__name__}): damaged") from None
    return target / roots.pop()


def bundle_contract(bundle: Path) -> tuple[Contract, tuple[str, ...]]:
    """The contract of a bundle folder: metadata and inference configuration together, and notes on what was not used.

    Raises
    ------
    ContractError
        If the metadata describe no network input and output, or a transform is not among those the suite knows.
    """
    metadata = _read(bundle / "configs" / "metadata.json")
    path = next((bundle / "configs" / n for n in INFERENCE if (bundle / "configs" / n).is_file()), None)
    return metadata_contract(metadata, inference=_read(path) if path else None, where=f"{bundle.name}/configs")


def _read(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError):
        raise ContractError(f"{path.parent.name}/{path.name} is not valid JSON or YAML") from None
    if not isinstance(data, dict):
        raise ContractError(f"{path.parent.name}/{path.name} is not a mapping of keys to values")
    return data


def metadata_contract(
    metadata: Mapping[str, Any], *, inference: Mapping[str, Any] | None, where: str
) -> tuple[Contract, tuple[str, ...]]:
    """A contract from MONAI metadata (`network_data_format`) and, where there is one, the inference configuration."""
    formats = metadata.get("network_data_format")
    if not isinstance(formats, Mapping) or not formats.get("inputs") or not formats.get("outputs"):
        raise ContractError(
            f"{where}: metadata.json describes no network inputs and outputs (network_data_format)",
            hint="Add them, or give a contract with --contract FILE.",
        )
    problems: list[Problem] = []
    notes: list[str] = list(metadata_notes(metadata))
    pre, post = Translated(), Translated()
    window: dict[str, Any] | None = None
    if inference is None:
        notes.append("The bundle has no inference configuration: pixels map linearly to the metadata's value_range.")
    else:
        window = sliding_window(inference, lambda value: resolve(value, inference), problems)
        pre = translate_preprocessing(inference, problems)
        post = translate_postprocessing(inference, problems)
        if not pre.present:
            notes.append("The bundle declares no preprocessing: pixels map linearly to the metadata's value_range.")
    data = {
        "name": str(metadata.get("name") or metadata.get("task") or ""),
        "version": str(metadata.get("version", "")),
        "task": str(metadata.get("task", "")),
        "inputs": [_input(name, spec, pre, windows=window is not None) for name, spec in formats["inputs"].items()],
        "outputs": [
            _output(name, spec, post, "resample" in pre.settings, problems) for name, spec in formats["outputs"].items()
        ],
        **({} if window is None else {"sliding_window": window}),
    }
    if problems:
        n = len(problems)
        raise ContractError(
            f"{where}: {n} thing{'s' * (n != 1)} in the bundle cannot be translated",
            problems=problems,
            hint="Give a contract that says the same with --contract FILE.",
        )
    return build_contract(data, where=where), (*notes, *pre.notes, *post.notes)


def _input(name: str, spec: Mapping[str, Any], pre: Translated, *, windows: bool) -> dict[str, Any]:
    channels = spec.get("num_channels")
    spatial = [n if isinstance(n, int) else None for n in spec.get("spatial_shape", [None, None])]
    data: dict[str, Any] = {"name": name, "shape": [channels if isinstance(channels, int) else None, *spatial]}
    if str(spec.get("format", "")).upper() == "RGB" or channels == 3:
        data["colour"] = "RGB"
    elif channels == 1:
        data["colour"] = "L"
    if "value_range" in spec:
        data["value_range"] = spec["value_range"]
    data.update(pre.settings)
    if len(spatial) == 3:
        # MONAI's readers give volumes in the order in which NIfTI stores them, as the suite does
        data.pop("transpose", None)
        if windows:
            data["shape"] = [data["shape"][0], None, None, None]
    return data


def _output(
    name: str, spec: Mapping[str, Any], post: Translated, resampled: bool, problems: list[Problem]
) -> dict[str, Any]:
    kind, layout = str(spec.get("type", "")).lower(), str(spec.get("format", "")).lower()
    channel_def = spec.get("channel_def")
    classes = []
    if isinstance(channel_def, Mapping):
        try:
            classes = [str(channel_def[k]) for k in sorted(channel_def, key=int)]
        except ValueError:
            problems.append(
                Problem(what="keys of channel_def are channel numbers", where=f"outputs.{name}.channel_def")
            )
    activation = post.settings.get("activation", "none")
    if "segmentation" in (kind, layout) or kind == "mask" or layout == "mask":
        return mask_output(name, classes, post.settings, resampled, problems)
    if post.discrete:
        what = "AsDiscrete turns probabilities into labels: the score would be lost"
        problems.append(Problem(what=what, where="postprocessing"))
    if activation != "none" or kind in ("probabilities", "probability"):
        meaning = "probabilities"
    elif kind == "logits":
        meaning = "logits"
    else:
        meaning = "value"
    return {"name": name, "meaning": meaning, "activation": activation, "classes": classes}
