"""Which tiles of a slide a model sees, and how its answers for tiles become one answer for the slide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalsuite.errors import ImageError
from evalsuite.imaging.slide import Level, Slide, tissue_mask
from evalsuite.models.contract import InputSpec
from evalsuite.models.contract_volumes import Tiles


@dataclass(frozen=True, slots=True, kw_only=True)
class TileGrid:
    """Tiles of one slide: `corners` (tiles, 2) row and column in pixels of `level`, each of `rows` × `columns`.

    `n_all` counts the tiles before those without tissue were left out.
    """

    level: int
    rows: int
    columns: int
    corners: NDArray[np.int64]
    n_all: int


def tile_grid(slide: Slide, spec: InputSpec, *, name: str) -> TileGrid:
    """The tiles the contract asks for, row by row.

    Tiles lie at a distance of their size less `overlap`; the last of a row or column is moved inwards, so that every
    pixel is covered and none is made up.

    Raises
    ------
    ImageError
        code spacing where the slide states no pixel size or none of its levels fits; size where it is smaller than a
        tile; no tissue.
    """
    tiles = spec.tiles
    assert tiles is not None, "only an input with tiles is tiled"
    rows, columns = (n or 0 for n in spec.spatial)
    index, scale = _level(slide.levels, tiles, name, may_resize=spec.resize != "none")
    rows, columns = round(rows * scale), round(columns * scale)
    level = slide.levels[index]
    if rows > level.rows or columns > level.columns:
        raise ImageError(
            f"{name} is {level.rows} × {level.columns} pixels at level {index}, a tile {rows} × {columns}", code="size"
        )
    step = [max(1, size - round(tiles.overlap * scale)) for size in (rows, columns)]
    down, across = (
        _starts(n, size, s) for n, size, s in zip((level.rows, level.columns), (rows, columns), step, strict=True)
    )
    corners = np.stack(np.meshgrid(down, across, indexing="ij"), axis=-1).reshape(-1, 2)
    n_all = len(corners)
    if tiles.tissue != "none":
        share = _tissue_shares(slide, corners, level, rows, columns)
        corners = corners[share >= tiles.min_tissue]
    if not len(corners):
        raise ImageError(f"{name} shows no tissue in any of its {n_all} tiles", code="no tissue")
    return TileGrid(level=index, rows=rows, columns=columns, corners=corners, n_all=n_all)


def _level(levels: tuple[Level, ...], tiles: Tiles, name: str, *, may_resize: bool) -> tuple[int, float]:
    """Level to read, and its pixels per pixel of a tile (1 unless tiles are resized)."""
    if tiles.level is not None:
        if tiles.level >= len(levels):
            raise ImageError(f"{name} has {len(levels)} levels, the contract takes level {tiles.level}", code="spacing")
        return tiles.level, 1.0
    assert tiles.mpp is not None, "the contract was checked"
    sizes = [level.mpp for level in levels]
    if sizes[0] is None:
        raise ImageError(
            f"{name} does not state the size of its pixels, the model's contract takes {tiles.mpp:g} µm", code="spacing"
        )
    known = [size for size in sizes if size is not None]
    for i, size in enumerate(known):
        if abs(size - tiles.mpp) <= tiles.tolerance * tiles.mpp:
            return i, 1.0
    finer = [i for i, size in enumerate(known) if size < tiles.mpp]
    if not may_resize or not finer:
        listed = ", ".join(f"{size:.4g}" for size in known)
        raise ImageError(
            f"{name} has levels of {listed} µm per pixel, the model's contract takes {tiles.mpp:g}",
            code="spacing",
            hint="The suite resamples nothing by itself: declare resize: area in the contract to shrink a finer level.",
        )
    return finer[-1], tiles.mpp / known[finer[-1]]


def _starts(n: int, size: int, step: int) -> NDArray[np.int64]:
    starts = list(range(0, n - size + 1, step))
    if starts[-1] + size < n:
        starts.append(n - size)
    return np.asarray(starts, dtype=np.int64)


def _tissue_shares(
    slide: Slide, corners: NDArray[np.int64], level: Level, rows: int, columns: int
) -> NDArray[np.float64]:
    """Share of tissue among the overview's pixels under each tile, from sums over rectangles."""
    overview, index = slide.overview()
    mask = tissue_mask(overview)
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1))
    sums[1:, 1:] = mask.cumsum(0).cumsum(1)
    factor = level.downsample / slide.levels[index].downsample
    low = np.floor(corners * factor).astype(np.intp)
    high = np.ceil((corners + np.array([rows, columns])) * factor).astype(np.intp)
    low = np.clip(low, 0, np.asarray(mask.shape) - 1)
    high = np.clip(np.maximum(high, low + 1), 1, mask.shape)
    total = sums[high[:, 0], high[:, 1]] - sums[low[:, 0], high[:, 1]] - sums[high[:, 0], low[:, 1]]
    total += sums[low[:, 0], low[:, 1]]
    return np.asarray(total / np.prod(high - low, axis=1))


def aggregate(columns: Mapping[str, NDArray[np.float64]], tiles: Tiles) -> dict[str, float]:
    """One number per column from those of the tiles: their mean, their largest, or the mean of the `k` largest.

    A slide of fewer than `k` tiles is the mean of all.
    """
    found = {}
    for name, values in columns.items():
        if tiles.aggregate == "mean":
            found[name] = float(values.mean())
        elif tiles.aggregate == "max":
            found[name] = float(values.max())
        else:
            assert tiles.k is not None, "the contract was checked"
            found[name] = float(np.sort(values)[-tiles.k :].mean())
    return found
