"""A sealed run that is scored again is kept aside until it is sealed anew, so that cutting it short loses nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from evalsuite.record.envelope import envelope_path
from evalsuite.record.files import copy_file, sync_folder, writing
from evalsuite.spine.folder import RunFolder, clear_work

_BEFORE = "before"


def keep_aside(folder: RunFolder) -> None:
    """Copy what scoring writes over, and the seal over it, into the folder's work. OutputError if it cannot."""
    copies, made = folder.work / f"{_BEFORE}.new", folder.work / _BEFORE
    with writing(made):
        shutil.rmtree(copies, ignore_errors=True)
        copies.mkdir(parents=True)
        for path in (*_written(folder), envelope_path(folder.seal), folder.seal):
            if path.exists():
                copy_file(path, copies / path.name)
        os.replace(copies, made)  # whole, or not there
        sync_folder(folder.work)


def take_back(folder: RunFolder) -> None:
    """Undo a scoring that was cut off before the run was sealed anew, and remove what only unfinished work needs.

    The run is then as it was sealed: whoever goes on checks that (`require_intact`), so nothing is taken on trust.
    """
    if not folder.seal.exists():
        return
    kept = folder.work / _BEFORE
    if kept.exists() and (kept / folder.seal.name).read_bytes() == folder.seal.read_bytes():
        for path in (*_written(folder), envelope_path(folder.seal)):
            if (kept / path.name).exists():
                copy_file(kept / path.name, path)
            else:
                path.unlink(missing_ok=True)
    clear_work(folder)


def _written(folder: RunFolder) -> tuple[Path, ...]:
    return (folder.evidence, folder.verdict, folder.record, folder.pdf, folder.html)
