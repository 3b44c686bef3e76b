"""Files appear whole or not at all, and a full disk or a missing permission is said in plain words."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from evalsuite.errors import InputError, OutputError

_PART = 1 << 24
_HINTS = {
    errno.EACCES: "No permission to write there: choose another folder or change its permissions.",
    errno.EPERM: "No permission to write there: choose another folder or change its permissions.",
    errno.EROFS: "The file system is read-only: choose another folder.",
    errno.ENOSPC: "The disk is full: free some space or choose another disk.",
    errno.EDQUOT: "The disk quota is used up: free some space or choose another disk.",
    errno.ENOENT: "The folder does not exist: create it first.",
    errno.ENOTDIR: "A part of the path is a file, not a folder.",
    errno.EISDIR: "The path is a folder.",
    errno.ENAMETOOLONG: "The name is too long for the file system.",
}


def output_error(path: Path, cause: OSError) -> OutputError:
    """The operating system's complaint about writing `path`, as an error that says how to go on."""
    hint = _HINTS.get(cause.errno or 0, "Check the disk and the path.")
    return OutputError(f"{path} cannot be written ({cause.strerror or type(cause).__name__})", hint=hint)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn any `OSError` inside the block into an `OutputError` that names `path`."""
    try:
        yield
    except OSError as e:
        raise output_error(path, e) from e


def read_whole(path: str | os.PathLike[str]) -> bytes:
    """All bytes of a file, with as few calls as it takes: of each, a thread waits for the interpreter's lock.

    Raises
    ------
    OSError
        If it cannot be read; `IsADirectoryError` of a folder.
    """
    return read_with_time(path)[0]


def read_with_time(path: str | os.PathLike[str]) -> tuple[bytes, float]:
    """All bytes of a file, as `read_whole`, and when it was last changed (seconds since 1970)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        facts = os.fstat(descriptor)
        data = os.read(descriptor, facts.st_size + 1)  # less than asked for: the end of the file
        if len(data) != facts.st_size:  # more than one call gives, or a file that does not know its size
            parts = [data]
            while more := os.read(descriptor, _PART):
                parts.append(more)
            data = b"".join(parts)
        return data, facts.st_mtime
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def walk_files(folder: Path) -> list[str]:
    """Paths of all files under `folder`, relative to it, with `/`, sorted. Links to folders are listed, not followed.

    Raises
    ------
    OSError
        If a folder cannot be read: leaving its files out silently would be worse.
    """

    def fail(cause: OSError) -> None:
        raise cause

    found: list[str] = []
    for parent, folders, names in os.walk(folder, onerror=fail):
        prefix = os.path.relpath(parent, folder).replace(os.sep, "/")
        names += [name for name in folders if os.path.islink(os.path.join(parent, name))]
        found.extend(name if prefix == "." else f"{prefix}/{name}" for name in names)
    return sorted(found)


def atomic_write(path: Path, data: bytes) -> None:
    """Write `data` to `path` through a temporary file beside it: temp, fsync, rename, fsync of the folder.

    On failure the old file stays as it was and the temporary file is removed.

    Raises
    ------
    OutputError
        If the file cannot be written: no permission, disk full, folder missing.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}.tmp")
    with writing(path):
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def copy_file(source: Path, target: Path) -> None:
    """Copy `source` to `target` as `atomic_write` does.

    Raises InputError where `source` cannot be read, OutputError where `target` cannot be written.
    """
    try:
        data = Path(source).read_bytes()
    except OSError as e:
        raise InputError(f"Cannot read {source}: {e.strerror}.") from e
    atomic_write(target, data)
