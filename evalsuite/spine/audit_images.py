"""How the images of a baseline and a window look, in numbers: computed when an audit is made, and sealed in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import ImageError, InputError, LockError
from evalsuite.imaging.quality import FEATURES, quality_of_files
from evalsuite.protocol.drift import IMAGE
from evalsuite.record.canonical import canonical_json, read_json
from evalsuite.record.digest import digest_json, in_threads, sha256_file
from evalsuite.record.files import atomic_write

if TYPE_CHECKING:
    from evalsuite.testset import Case, LockedTestSet

CACHE_NAME = "drift-images.json"
CACHE_SCHEMA = "evalsuite/drift-images/1"
#: Digits kept: the same on every machine, and more than any comparison of images can use.
_DIGITS = 9
Numbers = dict[str, str]


def image_numbers(
    testset: LockedTestSet, asked: Sequence[str], *, whose: str, cache: Path | None = None
) -> dict[str, list[str]]:
    """Columns `image:NAME` of the numbers asked for, one text per case of the set in its order.

    A case whose image cannot be read, or of which a number is not defined, has an empty cell: a missing value, which is
    counted. Of a case with several images the first image column is measured, of a series the middle file.

    Parameters
    ----------
    whose
        What messages call the set.
    cache
        File that keeps the numbers of images by the digest of their file, so that a baseline's are computed once. It
        may be deleted at any time; one that is damaged is made anew.

    Raises
    ------
    InputError
        If the set has no images.
    LockError
        If an image is not the one that was locked.
    """
    from evalsuite.testset.places import locked_digests

    if not testset.has_images:
        raise InputError(
            f"The protocol compares how images look, and the {whose} has no images.",
            hint="Lock both from tables with an image column, or take `image:` out of analyses.drift.covariates.",
        )
    known = locked_digests(testset)
    kept = _read(cache)

    def measure(case: Case) -> tuple[str, Numbers]:
        paths = next(iter(case.images.values()), ())
        if not paths:
            return "", {}
        middle = paths[len(paths) // 2]
        digest = known.get(str(middle), "")
        if digest in kept:
            return digest, kept[digest]
        if digest and sha256_file(middle) != digest:
            raise LockError(f"The image of case {case.case_id} in the {whose} is not the one that was locked.")
        try:
            found = quality_of_files(paths)
        except ImageError:
            return digest, {}
        return digest, {name: _text(found[name]) for name in FEATURES}

    made = in_threads(measure, list(testset.cases))
    if cache is not None and any(d and n and d not in kept for d, n in made):
        _write(cache, dict(kept) | {digest: numbers for digest, numbers in made if digest and numbers})
    return {f"{IMAGE}{name}": [numbers.get(name, "") for _, numbers in made] for name in asked}


def _text(value: float) -> str:
    return f"{value:.{_DIGITS}g}" if math.isfinite(value) else ""


def _read(cache: Path | None) -> Mapping[str, Numbers]:
    """What the cache has; nothing where it is absent or not as this version wrote it."""
    if cache is None or not cache.exists():
        return {}
    try:
        found: Any = read_json(cache)
        files: dict[str, Numbers] = found["files"]
        whole = found["schema"] == CACHE_SCHEMA and digest_json(files) == found["digest"]
    except (KeyError, TypeError, ValueError, InputError):
        return {}
    return files if whole else {}


def _write(cache: Path, files: Mapping[str, Numbers]) -> None:
    data = {"schema": CACHE_SCHEMA, "digest": digest_json(dict(files)), "files": dict(files)}
    atomic_write(cache, canonical_json(data))
