"""Does a MONAI bundle's metadata.json keep MONAI's published schema? Checked from a copy of its rules, offline.

MONAI's own `verify_metadata` downloads the schema at run time, which a locked-down machine must not do. The rules below
are those of meta_schema_20240725.json (docs.monai.io, "MONAI Bundle Specification", metadata.json File).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_TEXTS = (
    "version", "monai_version", "pytorch_version", "numpy_version", "task", "description", "authors", "copyright",
)  # fmt: skip
_MAPPINGS = ("changelog", "network_data_format")
_OPTIONAL_TEXTS = ("data_source", "data_type", "intended_use", "name")
_SHOWN = 6
_TENSOR = {
    "type": str, "format": str, "num_channels": int, "spatial_shape": list, "dtype": str, "value_range": list,
    "is_patch_data": bool, "channel_def": dict,
}  # fmt: skip
_WORDS = {str: "text", int: "a whole number", list: "a list", bool: "true or false", dict: "a mapping"}


def metadata_faults(metadata: Mapping[str, Any]) -> list[str]:
    """Every way in which the metadata depart from the schema, each with its place; empty where they keep it."""
    return [*_top(metadata), *_network(metadata.get("network_data_format"))]


def metadata_notes(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """One sentence for the report where there are faults; they stop no run, since the contract is checked apart."""
    faults = metadata_faults(metadata)
    if not faults:
        return ()
    more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    return (f"The bundle's metadata.json does not keep MONAI's schema: {'; '.join(faults[:_SHOWN])}{more}.",)


def _top(metadata: Mapping[str, Any]) -> Iterator[str]:
    for key in (*_TEXTS, *_MAPPINGS):
        if key not in metadata:
            yield f"{key} is missing"
    for key in (*_TEXTS, *_OPTIONAL_TEXTS):
        if key in metadata and not isinstance(metadata[key], str):
            yield f"{key} is not text"
    for key in (*_MAPPINGS, "required_packages_version", "optional_packages_version"):
        if key in metadata and not isinstance(metadata[key], Mapping):
            yield f"{key} is not a mapping"


def _network(formats: object) -> Iterator[str]:
    if not isinstance(formats, Mapping):
        return
    for side in ("inputs", "outputs"):
        tensors = formats.get(side)
        if not isinstance(tensors, Mapping):
            yield f"network_data_format.{side} is missing or not a mapping"
            continue
        for name, spec in tensors.items():
            where = f"network_data_format.{side}.{name}"
            if not isinstance(spec, Mapping):
                yield f"{where} is not a mapping"
                continue
            for key, kind in _TENSOR.items():
                if key not in spec:
                    yield f"{where}.{key} is missing"
                elif not isinstance(spec[key], kind) or (kind is int and isinstance(spec[key], bool)):
                    yield f"{where}.{key} is not {_WORDS[kind]}"
