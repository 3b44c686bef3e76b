"""A first look at a model package: its kind of file and its table of contents, read without running anything of it."""

from __future__ import annotations

import json
import lzma
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from evalsuite.errors import InputError
from evalsuite.models.contract import CONTRACT_NAMES

_MOST = 2**20  # a contract is a page of text
#: What zipfile raises on a damaged archive. RuntimeError is its word for a password; NotImplementedError, which is one
#: too, for a version or compression it does not know.
DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, RuntimeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What can be seen of a path from outside.

    `head` are a file's first 8 bytes, `names` the entries of a zip file (None where it is none), `damaged` says that it
    begins as a zip file but has no table of contents, `settings` are the values of the contract file in a folder.
    """

    path: Path
    is_folder: bool = False
    head: bytes = b""
    names: tuple[str, ...] | None = None
    damaged: bool = False
    settings: Mapping[str, Any] | None = None

    @property
    def suffix(self) -> str:
        return self.path.suffix.lower()

    def has(self, name: str) -> bool:
        """Whether a folder holds the file `name` (a path inside it)."""
        return self.is_folder and (self.path / name).is_file()

    @property
    def inner(self) -> frozenset[str]:
        """Names in a zip file without their first folder, which torch's archives are wrapped in."""
        return frozenset(name.split("/", 1)[-1] for name in self.names or ())


def look(path: Path) -> Glance:
    """Look at a file or folder.

    Raises
    ------
    InputError
        If it does not exist or cannot be read.
    """
    if path.is_dir():
        return Glance(path=path, is_folder=True, settings=_settings(path))
    if not path.is_file():
        raise InputError(f"model {path} does not exist", hint="Give a package file, a bundle folder, or a table.")
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise InputError(f"model {path.name} cannot be read: {error.strerror}") from None
    if not head.startswith(b"PK"):
        return Glance(path=path, head=head)
    try:
        with zipfile.ZipFile(path) as archive:
            return Glance(path=path, head=head, names=tuple(archive.namelist()))
    except DAMAGED_ZIP:
        return Glance(path=path, head=head, damaged=True)


def _settings(folder: Path) -> Mapping[str, Any] | None:
    """The contract file's values; None where there is none, or it is not readable (opening it says why)."""
    path = next((folder / name for name in CONTRACT_NAMES if (folder / name).is_file()), None)
    if path is None or path.stat().st_size > _MOST:
        return None
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return found if isinstance(found, dict) else None
