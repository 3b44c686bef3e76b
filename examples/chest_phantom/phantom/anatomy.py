"""Projected anatomy of a chest phantom: how many millimetres of tissue, air and bone each X-ray crosses.

Every structure has an analytic line integral along the beam (parallel projection, anterior-posterior):

* stacked ellipses (trunk, lungs): the chord of an ellipse, ``2 b sqrt(1 - u**2)``, its axes varying with height;
* ellipsoids (heart, breasts, nodules): ``2 c sqrt(1 - q(x, z))``;
* curved tubes (ribs, clavicles, vessels): hollow or solid cylinders along a three-dimensional centre line.

Coordinates are millimetres: x to the patient's left (image right), z upwards; the origin is the image centre.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

SIZE = 256
FIELD_MM = 350.0
SPACING_MM = FIELD_MM / SIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodule:
    """A nodule in a lung: centre in mm, diameter in mm, density relative to soft tissue, elongation and turn."""

    x: float
    z: float
    diameter_mm: float
    density: float
    elongation: float = 1.0
    angle: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What makes one patient's chest differ from another's; lengths in mm, the rest relative."""

    sex: str
    age_years: int
    scale: float
    girth: float
    heart_width: float
    inspiration: float
    lean: float
    shift_x: float
    shift_z: float
    rib_contrast: float
    breast: float
    vessel_seed: int
    nodules: tuple[Nodule, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Thickness:
    """Millimetres along each ray, (256, 256): soft tissue (air removed), lung parenchyma, mineralised bone, nodule."""

    soft: Array
    lung: Array
    bone: Array
    nodule: Array


def grid() -> tuple[Array, Array]:
    """Pixel centres in mm: x (1, 256) rising to the image right, z (256, 1) falling from the top row."""
    ticks = (np.arange(SIZE, dtype=np.float32) - (SIZE - 1) / 2) * np.float32(SPACING_MM)
    return ticks[None, :], -ticks[:, None]


def chord(q: Array) -> Array:
    """Half chord of the unit circle or sphere, ``sqrt(1 - q)``, zero outside."""
    return np.sqrt(np.maximum(np.float32(1.0) - q, np.float32(0.0)))


def ellipsoid(
    x: Array, z: Array, *, cx: float, cz: float, ax: float, az: float, depth: float, angle: float = 0.0
) -> Array:
    """Chord in mm through an ellipsoid with half-axes `ax`, `az` (turned by `angle`, rad) and half-depth `depth`."""
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    out = np.zeros((SIZE, SIZE), dtype=np.float32)
    reach = max(ax, az)
    rows = slice(*np.searchsorted(-z[:, 0], (-cz - reach, -cz + reach)))
    middle = x[min(rows.start, SIZE - 1)] if x.shape[0] > 1 else x[0]
    cols = slice(*np.searchsorted(middle, (cx - 1.2 * reach - 4.0, cx + 1.2 * reach + 4.0)))
    dx, dz = x[rows, cols] - np.float32(cx), z[rows] - np.float32(cz)
    u = (dx * cos + dz * sin) / np.float32(ax)
    v = (dz * cos - dx * sin) / np.float32(az)
    out[rows, cols] = np.float32(2.0 * depth) * chord(u * u + v * v)
    return out


def mound(x: Array, z: Array, *, cx: float, cz: float, ax: float, az: float, depth: float) -> Array:
    """Thickness in mm of a paraboloid of soft tissue lying on the chest wall: `depth` at its summit, soft-edged."""
    q = ((x - np.float32(cx)) / np.float32(ax)) ** 2 + ((z - np.float32(cz)) / np.float32(az)) ** 2
    return np.float32(depth) * np.maximum(1.0 - q, 0.0) ** 0.8


def smoothstep(low: float, high: float, value: Array) -> Array:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((value - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thorax:
    """The rib cage that lungs, ribs and nodules share: heights and half-widths in mm."""

    apex: float
    base: float
    half_width: float
    apex_x: float
    medial: float
    depth: float
    dome_right: float
    dome_left: float

    def height(self, z: Array) -> Array:
        """Relative height of `z`: 0 at the costophrenic angles, 1 at the apices."""
        return np.clip((z - np.float32(self.base)) / np.float32(self.apex - self.base), 0.0, 1.0)

    def lateral(self, t: Array) -> Array:
        """Distance of the lateral lung border from the midline at relative height `t`."""
        rise = np.float32(1.0) - t**2.3
        foot = np.float32(1.0) - np.float32(0.05) * (1.0 - t) ** 4
        return np.float32(self.apex_x) + np.float32(self.half_width - self.apex_x) * rise**0.62 * foot

    def mediastinal(self, t: Array) -> Array:
        """Distance of the medial lung border from the midline at relative height `t`."""
        return np.float32(self.medial) + np.float32(self.apex_x - self.medial) * t**7


def thorax(body: Body) -> Thorax:
    """The rib cage of this patient."""
    s = body.scale
    dome = -62.0 * s - 26.0 * (body.inspiration - 0.5)
    return Thorax(
        apex=134.0 * s + body.shift_z,
        base=dome - 50.0 * s + body.shift_z,
        half_width=132.0 * s,
        apex_x=47.0 * s,
        medial=16.0 * s,
        depth=80.0 * s,
        dome_right=dome + 9.0 + body.shift_z,
        dome_left=dome - 4.0 + body.shift_z,
    )


def lung(x: Array, z: Array, cage: Thorax, *, side: int) -> Array:
    """Chord in mm through one lung (`side` +1 the patient's left), its base cut by the diaphragm's dome."""
    t = cage.height(z)
    outer, inner = cage.lateral(t), cage.mediastinal(t)
    centre, half = (outer + inner) / 2, np.maximum((outer - inner) / 2, np.float32(0.1))
    u = (x * np.float32(side) - centre) / half
    half_depth = np.float32(cage.depth) * np.sqrt(np.maximum(1.0 - 0.9 * t**3, 0.0)) * (0.72 + 0.28 * (1.0 - t))
    inside = half_depth * chord(np.abs(u) ** 2.6)
    inside *= smoothstep(0.0, 0.16, t) * (z < cage.apex)
    # The dome is a paraboloid in x and y: below its silhouette only the recesses before and behind it hold air.
    top = cage.dome_left if side > 0 else cage.dome_right
    reach = np.float32(0.92) * half
    summit = centre - np.float32(6.0)
    silhouette = np.float32(top) - np.float32(34.0) * ((x * np.float32(side) - summit) / reach) ** 2
    below = np.maximum(silhouette - z, 0.0)
    dome_half = np.sqrt(below / np.float32(42.0)) * np.float32(cage.depth)
    return 2.0 * np.maximum(inside - dome_half, 0.0)


def trunk(x: Array, z: Array, body: Body, cage: Thorax) -> Array:
    """Chord in mm through the trunk, shoulders and neck."""
    s, g = body.scale, body.girth
    up = z - np.float32(body.shift_z)
    shoulder = smoothstep(128.0 * s, 190.0 * s, up)
    arms = smoothstep(-10.0 * s, 110.0 * s, up)
    flank = np.float32(cage.half_width + (17.0 + 30.0 * max(g - 0.9, 0.0)) * s)
    width = (flank + np.float32(58.0 * s) * arms) * (1.0 - shoulder) + np.float32(74.0 * s) * shoulder
    abdomen = smoothstep(-60.0 * s, -190.0 * s, z)
    depth = np.float32(100.0 * s * g) * (1.0 - 0.40 * arms) + np.float32(12.0 * s * g) * abdomen
    u = np.abs(x / width)
    return 2.0 * depth * np.sqrt(np.maximum(1.0 - u**2.6, 0.0))


def heart(x: Array, z: Array, body: Body, cage: Thorax) -> Array:
    """Chord in mm through heart and great vessels: ventricles, right atrium, aortic arch, pulmonary trunk, cavae."""
    s, w = body.scale, body.heart_width
    floor = (cage.dome_left + cage.dome_right) / 2
    ventricle = ellipsoid(
        x, z, cx=26 * s * w, cz=floor + 26 * s, ax=62 * s * w, az=43 * s * w, depth=48 * s, angle=-0.62
    )
    atrium = ellipsoid(x, z, cx=-17 * s * w, cz=floor + 36 * s, ax=31 * s * w, az=46 * s * w, depth=44 * s, angle=0.08)
    elongation = 1.0 + max(body.age_years - 50, 0) / 160.0
    arch = ellipsoid(
        x, z, cx=21 * s, cz=cage.apex - 62 * s, ax=17 * s * elongation, az=16 * s * elongation, depth=28 * s
    )
    trunk_ = ellipsoid(x, z, cx=20 * s, cz=floor + 88 * s, ax=21 * s, az=24 * s, depth=24 * s, angle=0.2)
    cava = ellipsoid(x, z, cx=-15 * s, cz=floor + 108 * s, ax=13 * s, az=62 * s, depth=18 * s)
    column = ellipsoid(x, z, cx=1.0, cz=floor + 60 * s, ax=24 * s, az=150 * s, depth=44 * s)
    aorta = ellipsoid(x, z, cx=17 * s * elongation, cz=floor + 42 * s, ax=11 * s, az=96 * s, depth=11 * s)
    solid = np.maximum(np.maximum(ventricle, atrium), np.maximum(arch, trunk_))
    return np.maximum(np.maximum(solid, cava), column) + aorta


def tubes(points: NDArray[np.float64], radii: NDArray[np.float64], *, wall: float, across: int) -> Array:
    """Project m tubes given by centre lines `points` (m, n, 3) in mm and radii (m, n); `wall` 1 is solid, less hollow.

    Mass is laid down along the true three-dimensional length, so a tube that turns into the beam (a rib at the chest
    wall) grows denser, as it does in a radiograph. Returns mm of material per ray, (256, 256).
    """
    ahead = np.diff(points, axis=1)
    middle = (points[:, 1:] + points[:, :-1]) / 2
    radius = ((radii[:, 1:] + radii[:, :-1]) / 2)[..., None]
    length = np.sqrt((ahead**2).sum(axis=2))[..., None]
    seen = np.sqrt(ahead[..., 0] ** 2 + ahead[..., 2] ** 2) + 1e-9
    nx, nz = (-ahead[..., 2] / seen)[..., None], (ahead[..., 0] / seen)[..., None]
    # A rib is flat: tall where seen from behind, thin where it turns along the chest wall.
    half = radius * (0.62 + 0.38 * np.abs(nz)) if wall < 1.0 else radius
    offset = (np.arange(across) - (across - 1) / 2) * (2.0 / across)
    profile = np.sqrt(1.0 - offset**2)
    if wall < 1.0:
        profile = profile - 0.75 * (1.0 - wall) * np.sqrt(np.maximum(1.0 - (offset / (1.0 - wall)) ** 2, 0.0))
    mass = (4.0 / across) * half * radius * length * profile
    x = middle[..., 0, None] + nx * half * offset
    z = middle[..., 2, None] + nz * half * offset
    return splat(x.ravel(), z.ravel(), mass.ravel())


def splat(x: NDArray[np.float64], z: NDArray[np.float64], mass: NDArray[np.float64]) -> Array:
    """Lay point masses (mm**3) onto the pixel grid with bilinear weights; mm of material per ray."""
    col = x / SPACING_MM + (SIZE - 1) / 2 + 1.0
    row = -z / SPACING_MM + (SIZE - 1) / 2 + 1.0
    keep = (col >= 0) & (col < SIZE + 1) & (row >= 0) & (row < SIZE + 1)
    mass = np.where(keep, mass / SPACING_MM**2, 0.0)
    c0 = np.clip(col, 0, SIZE).astype(np.int64)
    r0 = np.clip(row, 0, SIZE).astype(np.int64)
    right, down = mass * (col - c0), row - r0
    left = mass - right
    width = SIZE + 2
    index = r0 * width + c0
    out = np.zeros(width * width)
    np.add.at(out, index, left * (1.0 - down))
    np.add.at(out, index + 1, right * (1.0 - down))
    np.add.at(out, index + width, left * down)
    np.add.at(out, index + width + 1, right * down)
    return out.reshape(width, width)[1:-1, 1:-1].astype(np.float32)
