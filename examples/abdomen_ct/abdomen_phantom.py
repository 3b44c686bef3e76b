"""A simulated abdominal CT with two organs, liver and left kidney, and how two experts would outline them.

Lengths are millimetres, values Hounsfield units. Axes are (left to right, back to front, feet to head): RAS, as in
NIfTI.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter, zoom

FIELD_MM = (288.0, 216.0, 192.0)
#: A small volume for tests.
SMALL_MM = (160.0, 128.0, 112.0)
ORGANS = ("liver", "kidney_left")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanner:
    """Distance of voxel centres (x, y, z), blur and noise in HU, and whether contrast medium is given there."""

    site: str
    manufacturer: str
    spacing_mm: tuple[float, float, float]
    blur_mm: float
    noise: float
    contrast: bool


SCANNERS = (
    Scanner(site="north", manufacturer="Aurora Medical Systems", spacing_mm=(4.0, 4.0, 4.0), blur_mm=2.5, noise=14.0,
            contrast=True),
    Scanner(site="south", manufacturer="Borealis Imaging", spacing_mm=(3.5, 3.5, 6.0), blur_mm=3.5, noise=30.0,
            contrast=False),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Abdomen:
    """One scan `(x, y, z)`: Hounsfield units, the outlines of two experts (0 nothing, 1 liver, 2 left kidney)."""

    image: NDArray[np.int16]
    first: NDArray[np.uint8]
    second: NDArray[np.uint8]


def draw(
    seed: int | list[int],
    scanner: Scanner,
    *,
    kidney: bool = True,
    field_mm: tuple[float, float, float] = FIELD_MM,
    distance_mm: tuple[float, float, float] | None = None,
) -> Abdomen:
    """One patient on a scanner, with or without a left kidney. The same seed gives the same bytes."""
    rng = np.random.default_rng(seed)
    spacing = np.array(distance_mm or scanner.spacing_mm)
    shape = tuple(int(n) for n in np.floor(np.array(field_mm) / spacing))
    points = np.stack(
        np.meshgrid(*((np.arange(n) * s / f - 0.5) for n, s, f in zip(shape, spacing, field_mm, strict=True)),
                    indexing="ij")
    ).astype(np.float32)  # fmt: skip
    # Organs are balls in a space that is bent a little differently in every patient.
    points += np.stack([_bend(rng, shape) for _ in range(3)]) * np.float32(0.045)
    x, y, z = points
    size = rng.uniform(0.92, 1.08, size=4)
    trunk = (x / 0.47) ** 2 + (y / 0.44) ** 2 < 1.0
    # The patient's left is at small x (the axis grows towards the right): the liver lies to the right.
    liver = (((x - 0.17) / (0.22 * size[0])) ** 2 + ((y - 0.04) / (0.27 * size[0])) ** 2
             + ((z - 0.12) / (0.27 * size[0])) ** 2 < 1.0)  # fmt: skip
    liver |= (((x - 0.01) / (0.17 * size[1])) ** 2 + ((y - 0.16) / (0.12 * size[1])) ** 2
              + ((z - 0.18) / (0.14 * size[1])) ** 2 < 1.0)  # fmt: skip
    left = (((x + 0.20) / (0.075 * size[2])) ** 2 + ((y + 0.15) / (0.085 * size[2])) ** 2
            + ((z + 0.12) / (0.17 * size[2])) ** 2 < 1.0)  # fmt: skip
    left &= ~((((x + 0.15) / 0.03) ** 2 + ((y + 0.13) / 0.03) ** 2 + ((z + 0.12) / 0.05) ** 2) < 1.0)
    right = (((x - 0.22) / (0.07 * size[3])) ** 2 + ((y + 0.20) / (0.08 * size[3])) ** 2
             + ((z + 0.17) / (0.16 * size[3])) ** 2 < 1.0) & ~liver  # fmt: skip
    spleen = ((x + 0.30) / 0.09) ** 2 + ((y + 0.10) / 0.13) ** 2 + ((z - 0.20) / 0.16) ** 2 < 1.0
    spine = (x / 0.07) ** 2 + ((y + 0.27) / 0.09) ** 2 < 1.0
    liver &= trunk
    left &= trunk & ~spleen & kidney
    more = 1.0 if scanner.contrast else 0.25
    image = np.where(trunk, -80.0, -1000.0).astype(np.float32)
    image[(x / 0.42) ** 2 + (y / 0.38) ** 2 < 1.0] = 20.0
    for part, value in ((liver, 55 + 55 * more), (spleen, 50 + 70 * more), (left | right, 30 + 130 * more)):
        image[part & trunk] = value
    image[spine] = 420.0
    image += 12.0 * _bend(rng, shape) * (image > -200)
    image = gaussian_filter(image, scanner.blur_mm / spacing, mode="nearest")
    grain = gaussian_filter(rng.standard_normal(shape).astype(np.float32), 0.6)
    image += grain * np.float32(scanner.noise / float(grain.std()))
    first = liver.astype(np.uint8) + 2 * left.astype(np.uint8)
    return Abdomen(
        image=np.clip(np.round(image), -1024, 3000).astype(np.int16), first=first, second=_redrawn(first, rng)
    )


def _bend(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A smooth random field of about unit size."""
    coarse = rng.standard_normal((6, 6, 6)).astype(np.float32)
    return np.asarray(zoom(coarse, [n / 6 for n in shape], order=3), dtype=np.float32)


def _redrawn(first: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The second expert: the same organs, a border that runs a voxel inside here and outside there."""
    second = np.zeros_like(first)
    side = _bend(rng, first.shape)
    for label in (1, 2):
        organ = first == label
        drawn = np.where(side > 0.5, binary_dilation(organ), np.where(side < -0.5, binary_erosion(organ), organ))
        second[drawn & (second == 0)] = label
    return second
