"""Bones of the chest phantom: ribs as curved hollow tubes, clavicles, shoulder blades and the spine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .anatomy import Array, Body, Thorax, ellipsoid, tubes


def ribs(cage: Thorax, body: Body, *, points: int = 220) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre lines (20, n, 3) and radii (20, n) of ten pairs of ribs: ellipses in planes that fall to the front."""
    s = body.scale
    number = np.repeat(np.arange(1.0, 11.0), 2)[:, None]
    side = np.tile([-1.0, 1.0], 10)[:, None]
    spread = 20.0 * s + 3.0 * body.inspiration
    rng = np.random.default_rng(body.vessel_seed + 3)
    vertebra = cage.apex + 6.0 * s - spread * (number - 1.0)
    drop = (34.0 + 9.0 * np.minimum(number, 8.0)) * s * (1.0 + rng.normal(0.0, 0.045, (20, 1)))
    vertebra = vertebra + rng.normal(0.0, 1.3, (20, 1))
    t = np.clip((vertebra - 0.42 * drop - cage.base) / (cage.apex - cage.base), 0.02, 0.955)
    reach = cage.lateral(t.astype(np.float32)).astype(np.float64) + 3.0 * s
    front = np.where(number <= 7, 150.0, 150.0 - 10.0 * (number - 7.0))
    turn = np.deg2rad(9.0 + (front - 9.0) * np.linspace(0.0, 1.0, points))
    x = side * reach * np.sin(turn) ** 0.93
    y = -cage.depth * np.cos(turn)
    z = vertebra + 7.0 * s * np.sin(np.minimum(turn * 1.6, np.pi)) - drop * (0.5 - 0.5 * np.cos(turn)) ** 1.22
    radius = (5.4 + 0.2 * np.minimum(number, 7.0)) * s * (1.0 + 0.16 * np.linspace(-0.7, 1.0, points) ** 2)
    # Towards the breastbone a rib becomes cartilage and fades.
    radius = radius * np.sqrt(np.clip((1.0 - np.linspace(0.0, 1.0, points)) / 0.10, 0.0, 1.0))
    return np.stack([x, y, z], axis=2), radius


def clavicles(cage: Thorax, body: Body, *, points: int = 150) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre lines (2, n, 3) and radii (2, n) of the collar bones, S-shaped from breastbone to shoulder."""
    s = body.scale
    side = np.array([[-1.0], [1.0]])
    along = np.linspace(0.0, 1.0, points)
    x = side * (15.0 + 175.0 * along) * s
    z = np.broadcast_to(cage.apex + (-29.0 + 52.0 * along + 9.0 * np.sin(2 * np.pi * along)) * s, x.shape)
    y = np.broadcast_to((60.0 - 50.0 * along) * s, x.shape)
    radius = np.broadcast_to((5.6 + 4.4 * np.abs(along - 0.5)) * s, x.shape)
    return np.stack([x, y, z], axis=2), radius


def posed(points: NDArray[np.float64], body: Body) -> NDArray[np.float64]:
    """Centre lines moved and leant as the patient stands before the detector."""
    moved = points.copy()
    moved[..., 0] += body.shift_x + body.lean * points[..., 2]
    return moved


def spine(x: Array, z: Array, body: Body, cage: Thorax) -> Array:
    """Bone in mm along each ray through the vertebral column: bodies, discs and spinous processes."""
    s = body.scale
    pitch = (20.0 + 2.0 * (cage.apex - z) / 200.0) * s
    phase = 2 * np.pi * (cage.apex - z) / pitch
    vertebra = 0.5 + 0.5 * np.tanh(2.2 * (np.cos(phase) + 0.45))
    half_width = (15.5 + 4.5 * vertebra + 3.5 * np.clip((cage.apex - z) / 260.0, 0, 1)) * s
    u = x / half_width
    column = np.sqrt(np.maximum(1.0 - np.abs(u) ** 3.5, 0.0)) * (13.0 + 9.0 * vertebra) * s
    process = np.exp(-((x / (3.2 * s)) ** 2)) * (0.5 + 0.5 * np.cos(phase + 2.1)) * 9.0 * s
    pedicles = np.exp(-(((np.abs(x) - 11.5 * s) / (3.4 * s)) ** 2)) * np.maximum(np.cos(phase - 0.7), 0.0) ** 3
    return (column + process + 7.0 * s * pedicles).astype(np.float32)


def shoulder(x: Array, z: Array, body: Body, cage: Thorax) -> Array:
    """Bone in mm along each ray through the shoulder blades."""
    s = body.scale
    out = np.zeros(np.broadcast_shapes(x.shape, z.shape), dtype=np.float32)
    for side in (-1, 1):
        blade = ellipsoid(
            x, z, cx=side * 152 * s, cz=cage.apex - 66 * s, ax=27 * s, az=74 * s, depth=3.4 * s, angle=side * 0.20
        )
        border = ellipsoid(
            x, z, cx=side * 152 * s, cz=cage.apex - 66 * s, ax=24 * s, az=71 * s, depth=2.2 * s, angle=side * 0.20
        )
        out += blade - border
    return out


def skeleton(x: Array, z: Array, body: Body, cage: Thorax) -> Array:
    """All bone in mm along each ray, (256, 256)."""
    lines, radii = ribs(cage, body)
    cage_bone = tubes(posed(lines, body), radii, wall=0.26, across=9)
    lines, radii = clavicles(cage, body)
    collar = tubes(posed(lines, body), radii, wall=0.34, across=9)
    mineral = np.float32(1.06 - 0.0035 * max(body.age_years - 45, 0))
    plates = 0.5 * shoulder(x, z, body, cage) + 0.36 * spine(x, z, body, cage)
    return (np.float32(0.62 * body.rib_contrast) * cage_bone + 0.5 * collar + plates) * mineral
