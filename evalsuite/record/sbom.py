"""The software behind a run's numbers as a bill of materials other programs read (CycloneDX), from the run's record."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

#: Name space of serial numbers: the same run has the same one.
_NAMES = uuid.UUID("6f0b2c1e-6d0c-5a55-9d5b-6a3f6a4d9f10")


def bill_of_materials(record: Mapping[str, Any]) -> dict[str, Any]:
    """CycloneDX 1.6 of a run's record.json: evalsuite, the packages it needs, Python, the system, and the device.

    Versions are those the record names; it holds no licences and no digests of packages, so none are stated. The
    device (the model under test) is listed with the SHA-256 the run is bound to.

    References
    ----------
    CycloneDX Bill of Materials Specification v1.6, ECMA-424 (2024).
    """
    software, platform, run = record["software"], record.get("platform") or {}, record["run"]
    version = str(software["evalsuite"])
    packages = {n: str(v) for n, v in sorted((software.get("packages") or {}).items()) if n != "evalsuite"}
    libraries = [_library(n, v) for n, v in packages.items()]
    others = [_plain("platform", "Python", software.get("python")), *_system(platform), *_devices(record)]
    root = _purl("evalsuite", version)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMES, str(run['id']))}",
        "version": 1,
        "metadata": {
            "timestamp": run["finished_utc"],
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": "evalsuite",
                "version": version,
                "purl": root,
            },
            "properties": [{"name": "evalsuite:run", "value": str(run["id"])}],
        },
        "components": [*libraries, *(o for o in others if o is not None)],
        "dependencies": [{"ref": root, "dependsOn": [c["bom-ref"] for c in libraries]}],
    }


def _library(name: str, version: str) -> dict[str, Any]:
    purl = _purl(name, version)
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _purl(name: str, version: str) -> str:
    return f"pkg:pypi/{quote(name, safe='')}@{quote(version, safe='')}"


def _plain(kind: str, name: str, version: object) -> dict[str, Any] | None:
    return None if not version else {"type": kind, "name": name, "version": str(version)}


def _system(platform: Mapping[str, Any]) -> list[dict[str, Any] | None]:
    name, _, version = str(platform.get("os") or "").partition(" ")
    torch = platform.get("torch") or {}
    return [
        _plain("operating-system", name or "system", version),
        _plain("platform", "CUDA", torch.get("cuda")),
        _plain("library", "cuDNN", torch.get("cudnn")),
    ]


def _devices(record: Mapping[str, Any]) -> list[dict[str, Any] | None]:
    """The device under test and what it was compared with, by the digests the run is bound to."""
    found: list[dict[str, Any] | None] = []
    roles = {"device under test": "model", "comparator": "baseline", "original version": "original"}
    for role, model in ((role, record.get(key)) for role, key in roles.items()):
        digest = (model or {}).get("digest")
        if model and digest:
            found.append(
                {
                    "type": "machine-learning-model",
                    "name": str(model.get("name") or role),
                    "description": role,
                    "hashes": [{"alg": "SHA-256", "content": str(digest)}],
                }
            )
    return found
