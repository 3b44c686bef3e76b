"""Every file is compared with its locked digest on the machine that decodes it, before it is decoded.

Files in shared storage are copied to this machine for as long as they are decoded, and compared on the way.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evalsuite.errors import ImageError, LockError
from evalsuite.inference.hooks import Hooks
from evalsuite.record.digest import sha256_file
from evalsuite.record.shared import is_url

if TYPE_CHECKING:
    from evalsuite.inference.slides import TiledCase
    from evalsuite.testset.types import Case


def checked(hooks: Hooks, digests: Mapping[str, str]) -> Hooks:
    """Hooks that read a case only after all its files have the SHA-256 (hex) that `digests` states for their path.

    The second reading of a file, by the decoder, comes from the system's cache: the check costs a hash, 1 to 1.7 GB/s.

    Raises (when reading)
    ---------------------
    LockError
        If a file has another content, which ends the run.
    ImageError
        If it cannot be read; where it is missing this ends the run too (`decoders.read_one`).
    """

    def read(case: Case) -> Mapping[str, np.ndarray]:
        with _here(case, digests) as (local, _):
            return hooks.read(local)

    def tiles(case: Case) -> TiledCase:
        assert hooks.tiles is not None
        with _here(case, digests) as (local, keep):
            found = hooks.tiles(local)
            weakref.finalize(found, keep())  # a slide is read tile by tile, from its file
            return found

    return replace(hooks, read=read, tiles=None if hooks.tiles is None else tiles)


def from_shared(hooks: Hooks, cases: Sequence[Case], digests: Callable[[], Mapping[str, str]]) -> Hooks:
    """The hooks as they are where all images lie on this machine, else `checked`: nothing else reads a URL."""
    far = any(is_url(path) for case in cases for paths in case.images.values() for path in paths)
    return checked(hooks, digests()) if far else hooks


@contextmanager
def _here(case: Case, digests: Mapping[str, str]) -> Iterator[tuple[Case, Callable[[], Callable[[], object]]]]:
    """The case with all its files on this machine and as locked; and a function that keeps copies beyond the block and
    gives what removes them."""
    with ExitStack() as stack:
        folder: Path | None = None
        images: dict[str, tuple[Path, ...]] = {}
        for column, paths in case.images.items():
            places = []
            for k, path in enumerate(paths):
                target = None
                if is_url(path):
                    folder = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evalsuite-image-")))
                    target = folder / column.replace("/", "_") / f"{k:06d}" / path.name
                    target.parent.mkdir(parents=True)
                _compare(case.case_id, path, digests, copy_to=target)
                places.append(target or path)
            images[column] = tuple(places)
        kept = stack.pop_all
        yield replace(case, images=images) if folder is not None else case, lambda: kept().close


def _compare(case_id: str, path: Path, digests: Mapping[str, str], *, copy_to: Path | None) -> None:
    try:
        found = sha256_file(path, copy_to=copy_to)
    except OSError as error:
        raise ImageError(f"{path.name} cannot be read: {error.strerror}") from error
    if found != digests.get(str(path)):
        raise LockError(
            f"an image of case {case_id} differs from the locked copy on the machine that reads it",
            hint="Give every machine of the run the locked files under the same path.",
        )
