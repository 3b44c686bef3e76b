"""Lung markings of the chest phantom: branching vessels from each hilum, airways, and the parenchyma's fine texture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from .anatomy import SIZE, SPACING_MM, Array, Body, Thorax, ellipsoid, tubes
from .skeleton import posed


def grow(
    rng: np.random.Generator,
    start: NDArray[np.float64],
    heading: NDArray[np.float64],
    radius: NDArray[np.float64],
    *,
    length: float,
    generations: int,
    points: int = 12,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Vessels from `start` (m, 2) and all their branches: each daughter thinner and shorter, the radii by Murray's law.

    Returns centre lines (k, n, 3) and radii (k, n), k = m * (2**(generations + 1) - 1).
    """  # fmt: skip
    steps = np.linspace(0.0, 1.0, points)
    lines, radii = [], []
    reach = np.full(len(start), length)
    for _ in range(generations + 1):
        count = len(start)
        angle = heading[:, None] + rng.normal(0.0, 0.30, count)[:, None] * steps
        stride = (reach / points)[:, None]
        x = start[:, :1] + np.cumsum(np.cos(angle) * stride, axis=1)
        z = start[:, 1:] + np.cumsum(np.sin(angle) * stride, axis=1)
        lines.append(np.stack([x, np.zeros_like(x), z], axis=2))
        radii.append(radius[:, None] * (1.0 - 0.2 * steps))
        share = rng.uniform(0.3, 0.7, count)
        fork = rng.uniform(0.25, 0.6, (2, count))
        start = np.tile(np.stack([x[:, -1], z[:, -1]], axis=1), (2, 1))
        heading = np.concatenate([angle[:, -1] + fork[0], angle[:, -1] - fork[1]])
        radius = np.tile(0.8 * radius, 2) * np.concatenate([share, 1.0 - share]) ** (1.0 / 3.0) * 1.08
        reach = np.tile(reach, 2) * rng.uniform(0.66, 0.95, 2 * count)
    return np.concatenate(lines), np.concatenate(radii)


def vessels(body: Body, cage: Thorax) -> Array:
    """Soft tissue in mm along each ray through the pulmonary vessels of both lungs."""
    rng = np.random.default_rng(body.vessel_seed)
    s = body.scale
    floor = (cage.dome_left + cage.dome_right) / 2
    headings = np.deg2rad(np.tile([82.0, 58.0, 30.0, 2.0, -28.0, -50.0, -72.0], 2) + rng.normal(0.0, 7.0, 14))
    left = np.arange(14) < 7
    start = np.stack([np.where(left, 30.0, -30.0) * s, floor + np.where(left, 88.0, 80.0) * s], axis=1)
    start += rng.normal(0.0, 5.0, (14, 2))
    headings = np.where(left, headings, np.pi - headings)
    lines, radii = grow(rng, start, headings, rng.uniform(3.0, 4.8, 14) * s, length=30.0 * s, generations=4)
    return tubes(posed(lines, body), radii, wall=1.0, across=3)


def airways(x: Array, z: Array, body: Body, cage: Thorax) -> Array:
    """Air in mm along each ray through windpipe, main bronchi and the stomach bubble."""
    s = body.scale
    carina = cage.apex - 78.0 * s
    tracheal = 15.0 * s * np.sqrt(np.maximum(1.0 - (x / (8.5 * s)) ** 2, 0.0))
    out = tracheal * (0.5 + 0.5 * np.tanh((z - carina) / 6.0))
    for side, angle in ((-1, 0.95), (1, 0.65)):
        out = out + ellipsoid(
            x, z, cx=side * 17 * s, cz=carina - 15 * s, ax=5.0 * s, az=23 * s, depth=5.5 * s, angle=side * angle
        )
    rng = np.random.default_rng(body.vessel_seed + 1)
    bubble = max(rng.uniform(-0.7, 1.0), 0.02)
    out = out + ellipsoid(
        x,
        z,
        cx=(62 + 12 * bubble) * s,
        cz=cage.dome_left - 30 * s,
        ax=(18 + 12 * bubble) * s,
        az=(5 + 7 * bubble) * s,
        depth=14 * s * bubble,
    )
    return out.astype(np.float32)


_FREQUENCY = np.hypot(np.fft.fftfreq(SIZE, SPACING_MM)[:, None], np.fft.rfftfreq(SIZE, SPACING_MM)[None, :])
_SPECTRUM = (1.0 / (0.03 + _FREQUENCY) ** 1.5 * np.exp(-((_FREQUENCY / 0.22) ** 2))).astype(np.float32)
_SPECTRUM[0, 0] = 0.0


def parenchyma(body: Body) -> Array:
    """Unit-variance texture with a power-law spectrum, the clutter of small vessels and alveoli."""
    rng = np.random.default_rng(body.vessel_seed + 2)
    white = fft.rfft2(rng.standard_normal((SIZE, SIZE), dtype=np.float32))
    texture = fft.irfft2(white * _SPECTRUM, s=(SIZE, SIZE))
    return texture / texture.std()
