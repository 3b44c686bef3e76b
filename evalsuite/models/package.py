"""Which package format a file is, which contract belongs to it, and the digest of every byte of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evalsuite.errors import InputError, ModelLoadError
from evalsuite.models.address import Address, is_address
from evalsuite.models.contract import CONTRACT_NAMES
from evalsuite.models.formats import BUILT_IN, Located, formats
from evalsuite.models.glance import Glance, look
from evalsuite.record.digest import digest_json, hash_files, sha256_file

TABLE_SUFFIXES = (".csv", ".parquet")
PACKAGE_SUFFIXES = (".ts", ".pt", ".pth", ".pt2", ".onnx", ".zip")


def locate(path: Path) -> Located:
    """Find the one package at `path` and tell its format by content.

    An address (`kserve+grpc://host:port/model`) is a package too: that of a model on a server.

    Raises
    ------
    InputError
        If nothing is there, an address is malformed, or a folder holds no package or several (they are listed).
    ModelLoadError
        If the file is no package this suite can load; the message says what to export instead.
    """
    if is_address(path):
        address = Address.parse(path)
        return Located(path=Path(address.model), format=address.format, address=str(address))
    glance = look(Path(path))
    format = _recognised(glance)
    if format is None:
        if not glance.is_folder:
            raise _unknown(glance)
        return _inside(glance.path)
    if not glance.is_folder:
        return Located(path=glance.path, format=format, files=_companions(glance.path))
    return Located(path=glance.path, format=format, files=_files(glance.path), settings=glance.settings)


def _recognised(glance: Glance) -> str | None:
    """Name of the format; a built-in one first, so that no plugin can take over what the suite knows."""
    claims = [name for name, known in formats().items() if known.recognise(glance)]
    own = [name for name in claims if name in BUILT_IN]
    if own:
        return own[0]
    if len(claims) > 1:
        raise InputError(
            f"{glance.path.name} is claimed by several plugins: {', '.join(claims)}", hint="Uninstall all but one."
        )
    return claims[0] if claims else None


def _inside(folder: Path) -> Located:
    found = [p for p in sorted(folder.iterdir()) if _is_candidate(p)]
    if len(found) > 1:
        found = [p for p in found if not _is_weights_only(p)] or found
    if len(found) == 1:
        return locate(found[0])
    if not found:
        raise InputError(
            f"folder {folder.name} holds no model package",
            hint="Expected: configs/metadata.json (MONAI bundle), MLmodel (MLflow), evalsuite-model.yaml with "
            "entry_point, cmd or container, or one .ts, .pt, .pt2, .onnx, .zip, .csv or .parquet file.",
        )
    names = ", ".join(p.name + ("/" if p.is_dir() else "") for p in found)
    raise InputError(f"folder {folder.name} holds several model packages: {names}", hint="Name the one to use.")


def _is_candidate(path: Path) -> bool:
    if path.is_file() and path.suffix.lower() in (*PACKAGE_SUFFIXES, *TABLE_SUFFIXES):
        return True
    has_plugins = len(formats()) > len(BUILT_IN)
    return (path.is_dir() or has_plugins) and _recognised(look(path)) is not None


def _is_weights_only(path: Path) -> bool:
    """Whether a file beside a package is but a checkpoint of weights, which nobody can have meant to run."""
    if path.is_dir() or path.suffix.lower() in TABLE_SUFFIXES:
        return False
    glance = look(path)
    return _recognised(glance) is None and _unknown(glance).hint == _EXPORT


def _companions(path: Path) -> tuple[Path, ...]:
    """The file itself and, for ONNX, the weights stored beside it."""
    beside = [path.with_name(path.name + end) for end in (".data", "_data")] if path.suffix.lower() == ".onnx" else []
    return (path, *(p for p in beside if p.is_file()))


def _files(folder: Path) -> tuple[Path, ...]:
    """Every file of a folder. A link that leads out of it would bring in what the digest of a copy does not cover."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            raise ModelLoadError(
                f"{path.relative_to(folder)} in {folder.name} is a link out of the package",
                hint="Copy the file into the package.",
            )
        if path.is_file():
            found.append(path)
    return tuple(found)


_PICKLE = "{0} is a pickled checkpoint (weights or Python objects) without a network: there is nothing to run"
_EXPORT = "Export the network itself: torch.export.save, torch.jit.save or torch.onnx.export."


def _unknown(glance: Glance) -> ModelLoadError:
    """Why a file is no package: what it is instead, and what to do about it."""
    name = glance.path.name
    if not glance.head:
        return ModelLoadError(f"{name} is empty")
    if glance.damaged:
        return ModelLoadError(f"{name} is truncated or damaged: its table of contents cannot be read")
    if glance.head[:1] == b"\x80" or (glance.names is not None and "data.pkl" in glance.inner):
        return ModelLoadError(_PICKLE.format(name), hint=_EXPORT)
    if glance.names is not None:
        return ModelLoadError(f"{name} is a zip file, but no TorchScript, torch.export or MONAI bundle package")
    if glance.suffix == ".safetensors":
        return ModelLoadError(
            f"{name} holds weights without a network: there is nothing to run",
            hint="Put it into a folder with the network's Python source and an evalsuite-model.yaml that names the "
            "entry_point (docs/models.md).",
        )
    if glance.suffix in PACKAGE_SUFFIXES:
        return ModelLoadError(f"{name} is not a {glance.suffix} package: damaged, or a file of another kind")
    return ModelLoadError(
        f"{name} is no model package this suite knows",
        hint="Known: " + "; ".join(f"{f.what} ({f.files})" for f in formats().values()) + ".",
    )


def package_digest(located: Located) -> str:
    """SHA-256 over every byte: the file's own, or that of the sorted list of (path, SHA-256) of the package's files."""
    if located.files == (located.path,):
        return sha256_file(located.path)
    root = located.path if located.path.is_dir() else located.path.parent
    digests = hash_files(located.files)
    return digest_json(sorted([p.relative_to(root).as_posix(), digests[p]] for p in located.files))


def sidecar_contract(located: Located) -> Path | None:
    """The contract file beside a package (in a folder package: inside it), or None."""
    folder = located.path if located.path.is_dir() else located.path.parent
    return next((folder / name for name in CONTRACT_NAMES if (folder / name).is_file()), None)


def size_bytes(files: Sequence[Path]) -> int:
    """Bytes of all files together."""
    return sum(p.stat().st_size for p in files)
