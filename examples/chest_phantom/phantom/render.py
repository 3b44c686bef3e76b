"""From a study to its stored pixels and the mask of its nodules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .chest import project
from .lettering import burn
from .patients import Study
from .scanner import MAX_VALUE, expose, process


@dataclass(frozen=True, slots=True, kw_only=True)
class Radiograph:
    """`shown` (256, 256) uint16, 0 to 4095, dense tissue bright; `mask` (256, 256) bool, True on nodules."""

    shown: NDArray[np.uint16]
    mask: NDArray[np.bool_]


def render(study: Study) -> Radiograph:
    """The radiograph of a study; the same study always gives the same pixels."""
    rng = np.random.default_rng(study.noise_seed)
    thickness = project(study.body)
    shown = process(expose(thickness, study.scanner, rng), study.scanner)
    row, col = rng.integers(6, 14, size=2)
    burn(shown, "L", row=int(row), col=238 - int(col), factor=1, level=0.9)
    row, col = rng.integers(4, 16, size=2)
    if study.marker:
        burn(shown, "PORTABLE", row=int(row), col=int(col))
    pixels = np.rint(shown * MAX_VALUE).astype(np.uint16)
    return Radiograph(shown=pixels, mask=thickness.nodule > 0.0)
