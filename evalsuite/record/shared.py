"""Files in shared storage (object stores, web servers) that are named by a URL instead of a path.

fsspec reads them; which schemes there are depends on what is installed (`s3://` needs s3fs, `gs://` gcsfs, `abfs://`
adlfs).
A URL that went through `Path` lost one of its two slashes: both forms are understood here.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from evalsuite.errors import InputError

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(?=[^/])")
_OF_THIS_MACHINE = ("file", "local")


def is_url(path: str | Path) -> bool:
    """Whether it is a URL, not a path of this machine."""
    return _URL.match(str(path)) is not None


def url_of(path: str | Path) -> str:
    """The URL with both its slashes."""
    return _URL.sub(r"\1://", str(path), count=1)


def require_reader(path: str | Path) -> None:
    """InputError where nothing installed here reads URLs of this scheme."""
    scheme = url_of(path).partition(":")[0]
    try:
        _system(path)
    except OSError as error:
        raise InputError(
            f"images at {scheme}:// cannot be read here: {error.strerror}",
            hint="Install the package that reads this scheme: s3fs, gcsfs, adlfs, aiohttp, …",
        ) from None


def size_of(path: str | Path) -> int | None:
    """Bytes of a file in shared storage; None where nothing or a folder is there. OSError if it cannot be asked."""
    with _typed(path):
        system, name = _system(path)
        try:
            found = system.info(name)
        except FileNotFoundError:
            return None
        return int(found["size"]) if found.get("type") == "file" else None


@contextmanager
def opened(path: str | Path) -> Iterator[BufferedIOBase]:
    """The file, open for reading from its start.

    Raises
    ------
    OSError
        If it cannot be read, whatever the storage calls that.
    """
    with _typed(path):
        system, name = _system(path)
        with system.open(name, "rb") as file:
            yield file


def read_bytes(path: Path) -> bytes:
    """All bytes of a file on this machine or in shared storage. OSError if it cannot be read."""
    if not is_url(path):
        return path.read_bytes()
    with opened(path) as file:
        return file.read()


def _system(path: str | Path) -> tuple[Any, str]:
    url = url_of(path)
    scheme = url.partition(":")[0]
    if scheme in _OF_THIS_MACHINE:
        raise OSError(errno.EPROTONOSUPPORT, f"{scheme}:// is this machine; give the path")
    try:
        from fsspec.core import url_to_fs

        found: tuple[Any, str] = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise OSError(errno.EPROTONOSUPPORT, f"nothing installed reads {scheme}://") from error
    return found


@contextmanager
def _typed(path: str | Path) -> Iterator[None]:
    """Whatever a storage raises, as an OSError that says its kind and no address, which may hold a secret."""
    name = Path(path).name
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "not in the shared storage", name) from error
    except PermissionError as error:
        raise PermissionError(errno.EACCES, "no permission in the shared storage", name) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise OSError(errno.EIO, f"the shared storage failed ({type(error).__name__})", name) from error
    except Exception as error:  # each storage has errors of its own, and they must be told from ours
        raise OSError(errno.EIO, f"the shared storage failed ({type(error).__name__})", name) from error
