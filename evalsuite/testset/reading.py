"""Reading every file of a test set: for its digest, for a copy, and for a look while its bytes are at hand."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite.errors import CaseTableError, Problem
from evalsuite.imaging.header_processes import WORTH_IT, HeaderTask, read_headers
from evalsuite.record.digest import hashing_threads, in_threads, sha256_bytes, sha256_file, usable_cpus
from evalsuite.record.files import output_error, writing
from evalsuite.testset.images import stored_name
from evalsuite.testset.intake.look import look
from evalsuite.testset.intake.types import Look

OnProgress = Callable[[int, int], None]

_WHOLE = 2 << 30  # larger files are hashed in steps; of them only the header is looked at
_HEADER = 64 << 20
_SMALL = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesRead:
    """Entries {path, size, sha256} in the order asked for, and what was seen in the files that were looked at."""

    entries: list[dict[str, Any]]
    looks: Mapping[str, Look]


def sizes_of(names: Sequence[str], folder: Path, table: Path) -> dict[str, int]:
    """Bytes of every file. CaseTableError with every file that cannot be found or named."""
    found: dict[str, int] = {}
    problems = []
    for name in names:
        try:
            name.encode("utf-8")
            found[name] = os.stat(os.path.join(folder, name)).st_size
        except UnicodeEncodeError:
            problems.append(Problem(what=f"{name!a}: the file's name is not UTF-8"))
        except OSError as e:
            problems.append(Problem(what=f"{name}: {e.strerror}"))
    _require_readable(problems, table)
    return found


def read_files(
    sizes: Mapping[str, int],
    folder: Path,
    table: Path,
    *,
    images: Collection[str],
    decode: Collection[str],
    headers: HeaderTask,
    target: Path | None = None,
    on_progress: OnProgress | None = None,
) -> FilesRead:
    """Hash every file of `sizes`, copy it below `target` where given, and look at what is worth it.

    Parameters
    ----------
    images
        Files that may be looked at: the DICOM ones are, for their headers.
    decode
        Those of them whose pixels are decoded.
    headers
        What is read of a DICOM header. Of many files that are not decoded it is read by several processes, after all
        were hashed.

    Raises
    ------
    CaseTableError
        With every file that cannot be read.
    OutputError
        If a copy cannot be written.
    """
    total = sum(sizes.values())
    mutex = threading.Lock()
    done = 0
    unreadable: list[Problem] = []
    looks: dict[str, Look] = {}
    later: dict[str, int] = {}  # DICOM files whose headers are read afterwards: bytes whose progress is told then
    many = len(images) - len(decode) >= WORTH_IT

    def report(n: int) -> None:
        nonlocal done
        with mutex:
            done += n
            if on_progress is not None:
                on_progress(done, total)

    def one(name: str) -> dict[str, Any] | None:
        copy_to = None
        if target is not None:
            copy_to = target / stored_name(name)
            with writing(copy_to):
                copy_to.parent.mkdir(parents=True, exist_ok=True)
        source = os.path.join(folder, name)

        def read(n: int) -> None:
            if name in later:
                later[name] += n - n // 2
                n //= 2
            report(n)

        try:
            wanted, data = name in decode, b""
            if not wanted and name in images:
                wanted, data = _is_dicom(source, sizes[name])
            if wanted and many and name not in decode:
                wanted, later[name] = False, 0
            if (wanted or data) and sizes[name] <= _WHOLE:
                size, digest, data = _whole(source, copy_to, data)
                read(size)
            else:
                size, digest = _in_steps(source, copy_to, read)
                data = _start(source) if wanted else b""
        except OSError as e:
            later.pop(name, None)
            if copy_to is not None and os.access(source, os.R_OK):
                raise output_error(copy_to, e) from e
            with mutex:
                unreadable.append(Problem(what=f"{name}: {e.strerror}"))
            return None
        if wanted:
            looks[name] = look(data, name=name, decode=name in decode and sizes[name] <= _WHOLE, headers=headers)
        return {"path": name, "size": size, "sha256": digest}

    # decoding leaves Python's lock free for long; hashing small files does not
    workers = usable_cpus() if 2 * len(decode) > len(sizes) else hashing_threads(len(sizes), total)
    entries = in_threads(one, list(sizes), workers=workers)
    places = {name: os.path.join(folder, name) for name in later}
    found = read_headers(places, headers, on_read=lambda names: report(sum(later[name] for name in names)))
    for name, header in found.items():
        if isinstance(header, str):
            unreadable.append(Problem(what=f"{name}: {header}"))
        else:
            looks[name] = Look(is_dicom=True, header=header, header_broken=header is None)
    _require_readable(unreadable, table)
    if target is not None:
        with writing(target):
            target.mkdir(exist_ok=True)
    return FilesRead(entries=[e for e in entries if e is not None], looks=looks)


def _whole(source: str, copy_to: Path | None, data: bytes = b"") -> tuple[int, str, bytes]:
    if not data:
        with open(source, "rb", buffering=0) as file:
            data = file.readall()
    if copy_to is not None:
        copy_to.write_bytes(data)
    return len(data), sha256_bytes(data), data


def _in_steps(source: str, copy_to: Path | None, report: Callable[[int], None]) -> tuple[int, str]:
    size = 0

    def count(n: int) -> None:
        nonlocal size
        size += n
        report(n)

    digest = sha256_file(source, on_bytes=count, copy_to=copy_to)
    return size, digest


def _start(source: str) -> bytes:
    with open(source, "rb", buffering=0) as file:
        return file.read(_HEADER)


def _is_dicom(source: str, size: int) -> tuple[bool, bytes]:
    """Whether a file has DICOM's mark after its preamble; small files come with their bytes, to be read only once."""
    descriptor = os.open(source, os.O_RDONLY)
    try:
        if 0 < size < _SMALL:
            data = os.read(descriptor, _SMALL)
            # a file that grew or came in part is read again
            return data[128:132] == b"DICM", data if len(data) == size else b""
        return os.pread(descriptor, 4, 128) == b"DICM", b""
    finally:
        os.close(descriptor)


def _require_readable(problems: Sequence[Problem], table: Path) -> None:
    if problems:
        raise CaseTableError(
            f"{table} names files that cannot be read", problems=sorted(problems, key=str), hint="Check permissions."
        )
