"""Where the files of a locked test set lie on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import LockError, Problem
from evalsuite.record.canonical import read_json
from evalsuite.record.shared import is_url, require_reader
from evalsuite.testset import manifest
from evalsuite.testset.images import stored_name

if TYPE_CHECKING:
    from evalsuite.testset.types import LockedTestSet


def image_root(path: Path) -> tuple[Path | None, list[Problem]]:
    """The folder that the files of the set at `path` are relative to, or what is wrong with what the set says of it.

    A URL of shared storage comes as a Path too, which has one of its slashes only (`record.shared`).
    """
    try:
        location = read_json(path / manifest.LOCATION_NAME, error=LockError)
    except LockError as e:
        return None, [Problem(what=e.message)]
    root = location.get("root") if isinstance(location, dict) else None
    if not isinstance(root, str) or not root or "\0" in root or location.get("schema") != manifest.LOCATION_SCHEMA:
        return None, [Problem(what=f"{manifest.LOCATION_NAME} does not say where the images are")]
    if is_url(root):
        require_reader(root)
        return Path(root), []
    return Path(os.path.normpath(os.path.realpath(path) + os.sep + root)), []


def locator(root: Path, lock: Mapping[str, Any]) -> Callable[[str], str]:
    """From the name of a locked file to its path."""
    if lock["copied"]:
        return lambda name: os.path.join(root, stored_name(name))
    return lambda name: os.path.join(root, name)


def locked_digests(testset: LockedTestSet) -> dict[str, str]:
    """Where each file of the set lies → the SHA-256 (hex) its lock states; empty for a set without files.

    Raises
    ------
    LockError
        If the set no longer says where its files are.
    """
    return {str(path): sha256 for path, sha256 in locked_places(testset).values()}


def locked_places(testset: LockedTestSet) -> dict[str, tuple[Path, str]]:
    """Each file as the case table names it → where it lies and its SHA-256; otherwise as `locked_digests`."""
    files = testset.lock.get("files", [])
    if not files:
        return {}
    root, problems = image_root(testset.path)
    if root is None:
        raise LockError(problems[0].what)
    place = locator(root, testset.lock)
    return {entry["path"]: (Path(place(entry["path"])), entry["sha256"]) for entry in files}
