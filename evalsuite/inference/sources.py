"""Every file is compared with its locked digest on the machine that decodes it, before it is decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from evalsuite.errors import ImageError, LockError
from evalsuite.inference.hooks import Hooks
from evalsuite.record.digest import sha256_file

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

    def compare(case: Case) -> None:
        for paths in case.images.values():
            for path in paths:
                try:
                    found = sha256_file(path)
                except OSError as error:
                    raise ImageError(f"{path.name} cannot be read: {error.strerror}") from error
                if found != digests.get(str(path)):
                    raise LockError(
                        f"an image of case {case.case_id} differs from the locked copy on the machine that reads it",
                        hint="Give every machine of the run the locked files under the same path.",
                    )

    def read(case: Case) -> Mapping[str, np.ndarray]:
        compare(case)
        return hooks.read(case)

    def tiles(case: Case) -> TiledCase:
        compare(case)
        assert hooks.tiles is not None
        return hooks.tiles(case)

    return replace(hooks, read=read, tiles=None if hooks.tiles is None else tiles)
