"""Which package format a file is, which contract belongs to it, and the digest of every byte of it."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evalsuite.errors import InputError, ModelLoadError
from evalsuite.models.contract import CONTRACT_NAMES
from evalsuite.record.digest import digest_json, hash_files, sha256_file

Format = Literal["torchscript", "torch.export", "onnx", "monai-bundle", "recorded"]

TABLE_SUFFIXES = (".csv", ".parquet")
PACKAGE_SUFFIXES = (".ts", ".pt", ".pth", ".pt2", ".onnx", ".zip")


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A package as found on disk: its format, the files that make it up, and the file or folder to open."""

    path: Path
    format: Format
    files: tuple[Path, ...]


def locate(path: Path) -> Located:
    """Find the one package at `path` and tell its format by content.

    Raises
    ------
    InputError
        If nothing is there, or a folder holds no package or several (they are listed).
    ModelLoadError
        If the file is no package this suite can load; the message says what to export instead.
    """
    path = Path(path)
    if path.is_dir():
        return _in_folder(path)
    if not path.is_file():
        raise InputError(f"model {path} does not exist", hint="Give a package file, a bundle folder, or a table.")
    return Located(path=path, format=_format(path), files=_companions(path))


def _in_folder(folder: Path) -> Located:
    if (folder / "configs" / "metadata.json").is_file():
        files = tuple(sorted(p for p in folder.rglob("*") if p.is_file()))
        return Located(path=folder, format="monai-bundle", files=files)
    found = [p for p in sorted(folder.iterdir()) if _is_candidate(p)]
    if len(found) > 1:
        found = [p for p in found if not _is_weights_only(p)] or found
    if len(found) == 1:
        return locate(found[0])
    if not found:
        raise InputError(
            f"folder {folder.name} holds no model package",
            hint="Expected: configs/metadata.json (MONAI bundle), or one .ts, .pt, .pt2, .onnx, .csv or .parquet file.",
        )
    names = ", ".join(p.name + ("/" if p.is_dir() else "") for p in found)
    raise InputError(f"folder {folder.name} holds several model packages: {names}", hint="Name the one to use.")


def _is_candidate(path: Path) -> bool:
    if path.is_dir():
        return (path / "configs" / "metadata.json").is_file()
    return path.suffix.lower() in (*PACKAGE_SUFFIXES, *TABLE_SUFFIXES)


def _is_weights_only(path: Path) -> bool:
    """Whether a file beside a package is but a checkpoint of weights, which nobody can have meant to run."""
    if path.is_dir() or path.suffix.lower() in TABLE_SUFFIXES:
        return False
    try:
        _format(path)
    except ModelLoadError as error:
        return error.hint == _EXPORT
    return False


def _companions(path: Path) -> tuple[Path, ...]:
    """The file itself and, for ONNX, the weights stored beside it."""
    beside = [path.with_name(path.name + end) for end in (".data", "_data")] if path.suffix.lower() == ".onnx" else []
    return (path, *(p for p in beside if p.is_file()))


def _format(path: Path) -> Format:
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise InputError(f"model {path.name} cannot be read: {error.strerror}") from None
    suffix = path.suffix.lower()
    if not head:
        raise ModelLoadError(f"{path.name} is empty")
    if head.startswith(b"PAR1") or suffix in TABLE_SUFFIXES:
        return "recorded"
    if head.startswith(b"PK"):
        return _zip_format(path)
    if suffix == ".onnx":
        return "onnx"
    if head[:1] == b"\x80":
        raise ModelLoadError(_PICKLE.format(path.name), hint=_EXPORT)
    if suffix in PACKAGE_SUFFIXES:
        raise ModelLoadError(f"{path.name} is not a {suffix} package: damaged, or a file of another kind")
    raise ModelLoadError(
        f"{path.name} is no model package this suite knows",
        hint="Known: TorchScript .ts/.pt, torch.export .pt2, .onnx, MONAI bundle folder, recorded .csv/.parquet.",
    )


_PICKLE = "{0} is a pickled checkpoint (weights or Python objects) without a network: there is nothing to run"
_EXPORT = "Export the network itself: torch.export.save, torch.jit.save or torch.onnx.export."


def _zip_format(path: Path) -> Format:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise ModelLoadError(f"{path.name} is truncated or damaged: its table of contents cannot be read") from None
    inner = {n.split("/", 1)[-1] for n in names}
    if "archive_format" in inner or "serialized_exported_program.json" in names:
        return "torch.export"
    if "constants.pkl" in inner and any(n.startswith("code/") for n in inner):
        return "torchscript"
    if "data.pkl" in inner:
        raise ModelLoadError(_PICKLE.format(path.name), hint=_EXPORT)
    if any(n.endswith("configs/metadata.json") for n in names):
        raise ModelLoadError(f"{path.name} is a zipped MONAI bundle", hint="Unpack it and give the folder.")
    raise ModelLoadError(f"{path.name} is a zip file, but no TorchScript or torch.export package")


def package_digest(located: Located) -> str:
    """SHA-256 over every byte: the file's own, or that of the sorted list of (path, SHA-256) of the package's files."""
    if located.files == (located.path,):
        return sha256_file(located.path)
    root = located.path if located.path.is_dir() else located.path.parent
    digests = hash_files(located.files)
    return digest_json(sorted([p.relative_to(root).as_posix(), digests[p]] for p in located.files))


def sidecar_contract(located: Located) -> Path | None:
    """The contract file beside a package (in a bundle: in its folder), or None."""
    folder = located.path if located.path.is_dir() else located.path.parent
    return next((folder / name for name in CONTRACT_NAMES if (folder / name).is_file()), None)


def size_bytes(files: Sequence[Path]) -> int:
    """Bytes of all files together."""
    return sum(p.stat().st_size for p in files)
