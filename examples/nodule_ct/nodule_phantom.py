"""A simulated chest CT: trunk, lungs, branching vessels and nodules, seen by one of two invented scanners.

Lengths are millimetres, values Hounsfield units. Axes are (slice, row, column): slices from feet to head, rows to the
back, columns to the patient's left, as a supine patient is stored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Floats = NDArray[np.float32]

AIR, LUNG, SOFT, BONE = -1000.0, -860.0, 40.0, 500.0
DENSITY = {"solid": 40.0, "part-solid": -300.0, "ground glass": -640.0}
FIELD_MM = (96.0, 240.0, 240.0)
#: A small volume for tests.
SMALL_MM = (48.0, 140.0, 140.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanner:
    """How a scanner sees: distance of voxel centres (slice, row, column), blur of its kernel, noise in HU."""

    manufacturer: str
    model: str
    kernel: str
    spacing_mm: tuple[float, float, float]
    blur_mm: float
    noise: float


SCANNERS = (
    Scanner(
        manufacturer="Aurora Medical Systems",
        model="Helix-64",
        kernel="sharp",
        spacing_mm=(2.0, 2.0, 2.0),
        blur_mm=1.2,
        noise=22.0,
    ),
    Scanner(
        manufacturer="Borealis Imaging",
        model="BR-CT 16",
        kernel="soft",
        spacing_mm=(4.0, 2.5, 2.5),
        blur_mm=2.2,
        noise=48.0,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodule:
    """A nodule: its centre from the corner of the field (slice, row, column), diameter, type, and where it lies."""

    centre_mm: tuple[float, float, float]
    diameter_mm: float
    kind: str
    location: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """One patient's chest and nodules, drawn from a seed of its own."""

    nodules: tuple[Nodule, ...]
    seed: int
    field_mm: tuple[float, float, float] = FIELD_MM


def _lungs(field: tuple[float, float, float]) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Centre and half axes of the right and the left lung."""
    z, y, x = field
    half = np.array([0.75 * z, 0.30 * y, 0.19 * x])
    return [(np.array([0.5 * z, 0.47 * y, share * x]), half) for share in (0.28, 0.72)]


def draw_patient(rng: np.random.Generator, *, seed: int, field_mm: tuple[float, float, float] = FIELD_MM) -> Patient:
    """A patient with none to four nodules, inside the lungs and apart from each other."""
    n = int(rng.choice([0, 1, 2, 3, 4], p=[0.40, 0.30, 0.15, 0.10, 0.05]))
    nodules: list[Nodule] = []
    for _ in range(200):
        if len(nodules) == n:
            break
        diameter = float(np.clip(4.0 + rng.gamma(2.0, 3.0), 4.0, 24.0))
        kind = str(rng.choice(list(DENSITY), p=[0.65, 0.15, 0.20]))
        centre, half = _lungs(field_mm)[int(rng.integers(2))]
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        depth = float(rng.uniform(0.15, 0.93))
        place = centre + direction * depth * (half - diameter / 2.0 - 1.0)
        inside = bool(((place > diameter) & (place < np.array(field_mm) - diameter)).all())
        apart = all(np.linalg.norm(place - np.array(o.centre_mm)) > diameter + o.diameter_mm + 6.0 for o in nodules)
        if inside and apart:
            where = "juxtapleural" if depth > 0.8 else "perihilar" if depth < 0.4 else "other"
            z, y, x = (round(float(v), 2) for v in place)
            nodules.append(
                Nodule(centre_mm=(z, y, x), diameter_mm=round(diameter, 1), kind=kind, location=where)
            )  # fmt: skip
    return Patient(nodules=tuple(nodules), seed=seed, field_mm=field_mm)


def render(patient: Patient, scanner: Scanner) -> NDArray[np.int16]:
    """Hounsfield units (slice, row, column) as the scanner stores them."""
    rng = np.random.default_rng(patient.seed)
    spacing = np.array(scanner.spacing_mm)
    shape = tuple(int(n) for n in np.floor(np.array(patient.field_mm) / spacing))
    z, y, x = (
        (np.arange(n, dtype=np.float32) * s).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, (n, s) in enumerate(zip(shape, spacing, strict=True))
    )
    _, field_y, field_x = patient.field_mm
    trunk = ((y - 0.5 * field_y) / (0.42 * field_y)) ** 2 + ((x - 0.5 * field_x) / (0.48 * field_x)) ** 2
    image = np.where(trunk < 1.0, SOFT, AIR).astype(np.float32) + np.zeros(shape, np.float32)
    lung = np.zeros(shape, dtype=bool)
    for centre, half in _lungs(patient.field_mm):
        c, h = centre.astype(np.float32), half.astype(np.float32)
        lung |= ((z - c[0]) / h[0]) ** 2 + ((y - c[1]) / h[1]) ** 2 + ((x - c[2]) / h[2]) ** 2 < 1.0
    image[lung] = LUNG
    image[((y - 0.80 * field_y) ** 2 + (x - 0.5 * field_x) ** 2 < (0.06 * field_y) ** 2) & (z > -1.0)] = BONE
    for start, end, radius in _vessels(patient, rng):
        _tube(image, lung, (z, y, x), start, end, radius, spacing)
    for nodule in patient.nodules:
        _ball(image, (z, y, x), nodule, spacing)
    image = gaussian_filter(image, scanner.blur_mm / spacing, mode="nearest")
    grain = gaussian_filter(rng.standard_normal(shape).astype(np.float32), 0.6)
    image += grain * np.float32(scanner.noise / float(grain.std()))
    return np.clip(np.round(image), -1024, 3000).astype(np.int16)


def _vessels(
    patient: Patient, rng: np.random.Generator
) -> list[tuple[NDArray[np.float64], NDArray[np.float64], float]]:
    """Straight pieces of vessels, from each hilum outwards, thinner with every branching."""
    pieces = []
    for (centre, half), side in zip(_lungs(patient.field_mm), (1.0, -1.0), strict=True):
        hilum = centre + np.array([0.0, 0.0, side * 0.8 * half[2]])
        tips = [(hilum, centre - hilum, 3.4)]
        for _ in range(4):
            grown = []
            for start, direction, radius in tips:
                for _ in range(2):
                    turned = direction / np.linalg.norm(direction) + rng.normal(scale=0.55, size=3)
                    end = start + turned / np.linalg.norm(turned) * rng.uniform(14.0, 26.0)
                    pieces.append((start, end, radius))
                    grown.append((end, turned, radius * 0.74))
            tips = grown
    return pieces


def _window(low: NDArray[np.float64], high: NDArray[np.float64], spacing: NDArray[np.float64], shape: tuple[int, ...]):
    first = np.clip(np.floor(low / spacing).astype(int), 0, shape)
    last = np.clip(np.ceil(high / spacing).astype(int) + 1, 0, shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))


def _tube(image: Floats, lung: NDArray[np.bool_], axes, start, end, radius: float, spacing) -> None:
    """Blood in every lung voxel nearer than `radius` to the segment."""
    window = _window(np.minimum(start, end) - radius, np.maximum(start, end) + radius, spacing, image.shape)
    z, y, x = (
        a[tuple(w if i == j else slice(None) for j in range(3))]
        for i, (a, w) in enumerate(zip(axes, window, strict=True))
    )
    along = end - start
    length = float(along @ along)
    t = np.clip(((z - start[0]) * along[0] + (y - start[1]) * along[1] + (x - start[2]) * along[2]) / length, 0, 1)
    away = sum((a - s - t * d) ** 2 for a, s, d in zip((z, y, x), start, along, strict=True))
    part = image[window]
    part[(away < radius**2) & lung[window]] = SOFT


def _ball(image: Floats, axes, nodule: Nodule, spacing: NDArray[np.float64]) -> None:
    """The nodule replaces what is there, by the share of each voxel that it fills."""
    centre, radius = np.array(nodule.centre_mm), nodule.diameter_mm / 2.0
    reach = radius + spacing.max()
    window = _window(centre - reach, centre + reach, spacing, image.shape)
    z, y, x = (
        a[tuple(w if i == j else slice(None) for j in range(3))]
        for i, (a, w) in enumerate(zip(axes, window, strict=True))
    )
    away = np.sqrt((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
    share = np.clip((radius - away) / float(spacing.mean()) + 0.5, 0.0, 1.0)
    density = np.full(share.shape, DENSITY[nodule.kind], dtype=np.float32)
    if nodule.kind == "part-solid":
        density[away < 0.45 * radius] = DENSITY["solid"]
    part = image[window]
    part += (density - part) * share
