"""Whole slides through the model: tile by tile, a batch of tiles in memory at a time, one answer per slide."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evalsuite.errors import ImageError
from evalsuite.imaging import Image
from evalsuite.imaging.slide import Slide
from evalsuite.inference.crew import Crew, Worker
from evalsuite.inference.decoders import Allocate, Decoders, read_one
from evalsuite.inference.hooks import CaseInputs, Hooks
from evalsuite.inference.store import Shard
from evalsuite.models.preprocess import prepare_image
from evalsuite.models.tiling import aggregate, tile_grid

if TYPE_CHECKING:
    from evalsuite.inference.packaged import Clock, Plan
    from evalsuite.models.contract import InputSpec
    from evalsuite.models.contract_volumes import Tiles
    from evalsuite.testset.types import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One tile, which decoders and workers handle like a case: `row` and `column` of its corner at its level."""

    case_id: str
    row: int
    column: int
    images: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)


class TiledCase:
    """A case's slide, open, and its tiles. Use as a context manager."""

    def __init__(self, case: Case, column: str, spec: InputSpec) -> None:
        paths = case.images.get(column, ())
        if len(paths) != 1:
            code = "no image" if not paths else "several files"
            raise ImageError(f"case {case.case_id} has {len(paths)} files in column {column}, 1 expected", code=code)
        self._spec, self._name = spec, paths[0].name
        self._slide = Slide(paths[0])
        try:
            self._grid = tile_grid(self._slide, spec, name=self._name)
        except BaseException:
            self._slide.__exit__()
            raise
        self.tiles: tuple[Tile, ...] = tuple(
            Tile(case_id=f"{case.case_id} {row},{column}", row=row, column=column)
            for row, column in self._grid.corners.tolist()
        )

    def __enter__(self) -> TiledCase:
        return self

    def __exit__(self, *_: object) -> None:
        self._slide.__exit__()

    @property
    def how(self) -> Tiles:
        """How the slide is cut and answers are put together."""
        assert self._spec.tiles is not None, "only an input with tiles is tiled"
        return self._spec.tiles

    @property
    def notes(self) -> dict[str, int]:
        """For the record: how many tiles the model sees, and how many were left out."""
        left_out = self._grid.n_all - len(self.tiles)
        name = self._spec.name
        return {f"{name}: tiles seen": len(self.tiles), f"{name}: tiles without tissue left out": left_out}

    def read(self, tile: Tile) -> CaseInputs:
        """The model's input for one tile."""
        grid = self._grid
        array = self._slide.read(tile.row, tile.column, grid.rows, grid.columns, level=grid.level)
        image = Image(array=array, full_range=(0.0, 255.0), kind="raster", photometric="RGB")
        return CaseInputs({self._spec.name: prepare_image(image, self._spec).array})


def tiles_of(column: str, spec: InputSpec) -> Callable[[Case], TiledCase]:
    """How a case's slide in this column is opened and cut."""
    return lambda case: TiledCase(case, column, spec)


def first_tile(open_tiles: Callable[[Case], TiledCase]) -> Callable[[Case], CaseInputs]:
    """What stands for a case where one look at it is enough (the probe): its first tile."""

    def read(case: Case) -> CaseInputs:
        with open_tiles(case) as slide:
            return slide.read(slide.tiles[0])

    return read


def predict_slides(
    plan: Plan,
    todo: Sequence[int],
    workers: Sequence[Worker],
    hooks: Hooks,
    *,
    n_decoders: int,
    allocate: Allocate,
    depth: int,
    clock: Clock,
    outputs: tuple[str, ...],
    seed: int,
    on_batch: Callable[[int], None] | None,
    should_stop: Callable[[], bool] | None,
) -> Generator[tuple[int, Shard], None, None]:
    """`packaged.predict_shards` for whole slides: one at a time, `plan.batch_size` tiles per pass.

    A slide one of whose tiles cannot be decoded, or has an output that is not finite, is a failed case: an answer made
    of the other tiles would be one about another slide.
    """
    from evalsuite.inference.packaged import join_parts

    def answer(case: Case) -> Shard:
        assert hooks.tiles is not None, "only models of slides come here"
        slide, reason = read_one(hooks.tiles, case)
        if slide is None:
            return Shard(reasons=(reason,), outputs={})
        with slide:
            size = plan.batch_size
            batches = [slide.tiles[k : k + size] for k in range(0, len(slide.tiles), size)]
            parts = []
            with (
                Decoders(batches, slide.read, n_threads=n_decoders, depth=depth, allocate=allocate) as decoders,
                Crew(batches, workers, decoders, hooks, seed=seed, names=outputs) as crew,
            ):
                for part in crew.answers():
                    if should_stop is not None and should_stop():
                        raise KeyboardInterrupt
                    clock.spend(part)
                    parts.append(part.part)
                    if any(reason is not None for reason in part.part.reasons):
                        break
            tiles = join_parts(parts)
            reason = next((reason for reason in tiles.reasons if reason is not None), None)
            found = {} if reason else aggregate(tiles.outputs, slide.how)
            return Shard(
                reasons=(reason,),
                outputs={name: np.array([found.get(name, np.nan)]) for name in tiles.outputs},
                prepared=slide.notes,
            )

    for i in todo:
        shards = []
        for case in plan.shards[i]:
            if should_stop is not None and should_stop():
                raise KeyboardInterrupt
            started = time.perf_counter()
            shards.append(answer(case))
            clock.latency.append(np.array([time.perf_counter() - started]))
            if on_batch is not None:
                on_batch(1)
        yield i, join_parts(shards)
