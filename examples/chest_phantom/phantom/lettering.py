"""Text burned into the image by the technologist: side letter and the block that marks a portable examination."""

from __future__ import annotations

import numpy as np

from .anatomy import Array

# Our own 5 x 7 dot letters: each row of a letter is five bits, most significant left.
_DOTS = {
    "A": (14, 17, 17, 31, 17, 17, 17),
    "B": (30, 17, 17, 30, 17, 17, 30),
    "E": (31, 16, 16, 30, 16, 16, 31),
    "L": (16, 16, 16, 16, 16, 16, 31),
    "O": (14, 17, 17, 17, 17, 17, 14),
    "P": (30, 17, 17, 30, 16, 16, 16),
    "R": (30, 17, 17, 30, 20, 18, 17),
    "T": (31, 4, 4, 4, 4, 4, 4),
}


def letters(text: str, *, factor: int = 1) -> Array:
    """A text as ones on zeros, 7 rows by 6 columns a letter, enlarged by `factor`."""
    rows = [
        [dot for letter in text for dot in (*((_DOTS[letter][row] >> bit & 1) for bit in (4, 3, 2, 1, 0)), 0)]
        for row in range(7)
    ]
    return np.kron(np.array(rows, dtype=np.float32), np.ones((factor, factor), dtype=np.float32))


def burn(shown: Array, text: str, *, row: int, col: int, factor: int = 1, level: float = 0.97) -> None:
    """Write a text into the displayed image, in place, its top left corner at (`row`, `col`)."""
    block = letters(text, factor=factor)
    area = shown[row : row + block.shape[0], col : col + block.shape[1]]
    area[block > 0] = level
