"""What a sandboxed model may answer to a batch: exactly the columns and masks its contract names, of the right size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalsuite.models.contract import Contract, OutputSpec
from evalsuite.sandbox.text import clean
from evalsuite.sandbox.wire import Message

_SLACK = 1e-3  # as models.postprocess: half precision rounds a probability of 1 to at most 1.0005
_FINER = 8  # a mask may have so many times the voxels of its image; the engine then compares the grids


class BrokenPromise(Exception):
    """The answer is not what the contract promises; the text says what it is instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedMask:
    """A mask output: its name, number of axes with that of the cases, channels (0: none), and most voxels per case."""

    name: str
    n_axes: int
    channels: int
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is wanted of one batch."""

    columns: tuple[str, ...]
    probabilities: tuple[OutputSpec, ...]
    masks: tuple[WantedMask, ...]

    def most_bytes(self, n: int) -> int:
        """Bytes beyond which an answer to `n` cases is not read."""
        return n * (8 * len(self.columns) + sum(mask.most for mask in self.masks))

    def read(self, answer: Message, n: int) -> dict[str, NDArray[Any]]:
        """Column name to (n,) float64, mask name to labels (n, …) uint8. Numbers may be NaN or infinite.

        Raises
        ------
        BrokenPromise
            If names, shapes, number of bytes or a probability are not what they should be.
        """
        named = answer.header.get("columns")
        if named != list(self.columns):
            shown = ", ".join(clean(c, limit=60) for c in named[:20]) if isinstance(named, list) else ""
            raise BrokenPromise(f"gave the outputs {shown or 'none'}; its contract names {', '.join(self.columns)}")
        shapes = self._shapes(answer.header.get("masks"), n)
        sizes = [8 * n * len(self.columns), *(math.prod(shape) for shape in shapes.values())]
        if len(answer.payload) != sum(sizes):
            raise BrokenPromise(f"gave {len(answer.payload)} bytes where {sum(sizes)} are due for {n} cases")
        table = np.frombuffer(answer.payload, dtype="<f8", count=n * len(self.columns)).reshape(-1, n)
        found: dict[str, NDArray[Any]] = {name: np.array(table[i]) for i, name in enumerate(self.columns)}
        for output in self.probabilities:
            for name in output.columns:
                finite = found[name][np.isfinite(found[name])]
                if finite.size and (finite.min() < -_SLACK or finite.max() > 1 + _SLACK):
                    raise BrokenPromise(f"gave values outside 0..1 as probabilities of {output.name}")
        start = sizes[0]
        for (name, shape), size in zip(shapes.items(), sizes[1:], strict=True):
            labels = np.frombuffer(answer.payload, dtype=np.uint8, count=size, offset=start)
            found[name] = labels.reshape(shape).copy()
            start += size
        return found

    def _shapes(self, said: Any, n: int) -> dict[str, tuple[int, ...]]:
        if not isinstance(said, list) or len(said) != len(self.masks):
            raise BrokenPromise(f"gave no masks where its contract names {len(self.masks)}")
        found = {}
        for mask, pair in zip(self.masks, said, strict=True):
            if not isinstance(pair, list) or len(pair) != 2 or pair[0] != mask.name or not _is_shape(pair[1]):
                raise BrokenPromise(f"gave no mask of the name {mask.name}")
            shape = tuple(pair[1])
            if (
                len(shape) != mask.n_axes
                or shape[0] != n
                or math.prod(shape[1:]) > mask.most
                or (mask.channels and shape[1] != mask.channels)
            ):
                raise BrokenPromise(f"gave a mask {mask.name} of shape {list(shape)} for {n} cases")
            found[mask.name] = shape
        return found


def answer_of(contract: Contract, shapes: Mapping[str, tuple[int, ...]]) -> Wanted:
    """What the contract promises for a batch whose inputs have these shapes (n, channel, *spatial)."""
    masks = []
    for output in contract.masks:
        spatial = shapes[contract.grid_of(output).name][2:]
        channels = len(output.classes) if output.decided == "threshold" else 0
        most = _FINER * math.prod(spatial) * max(1, channels)
        masks.append(
            WantedMask(name=output.name, n_axes=1 + bool(channels) + len(spatial), channels=channels, most=most)
        )
    numbers = [output for output in contract.outputs if output.meaning != "mask"]
    return Wanted(
        columns=tuple(column for output in numbers for column in (*output.columns, *output.kept_columns)),
        probabilities=tuple(output for output in numbers if output.meaning == "probabilities"),
        masks=tuple(masks),
    )


def _is_shape(said: Any) -> bool:
    return isinstance(said, list) and all(isinstance(k, int) and not isinstance(k, bool) and k >= 0 for k in said)
