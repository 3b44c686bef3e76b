"""The whole chest, put together: line integrals of all its structures for one patient and pose."""

from __future__ import annotations

import numpy as np

from .anatomy import Body, Thickness, ellipsoid, grid, heart, lung, mound, thorax, trunk
from .skeleton import skeleton
from .vessels import airways, parenchyma, vessels


def project(body: Body) -> Thickness:
    """Line integrals of the whole chest for one patient and pose."""
    x, z = grid()
    x = x - np.float32(body.shift_x)
    x = x - np.float32(body.lean) * z  # a slightly rotated or leaning patient
    cage = thorax(body)
    lungs = lung(x, z, cage, side=1) + lung(x, z, cage, side=-1)
    trunk_mm = trunk(x, z, body, cage)
    core = heart(x, z, body, cage)
    air = np.maximum(lungs - core, 0.12 * lungs)
    floor = (cage.dome_left + cage.dome_right) / 2
    s = body.scale
    breast = np.zeros_like(trunk_mm)
    for side in (-1, 1):
        if body.sex == "F":
            breast += mound(
                x, z, cx=side * 76 * s, cz=floor + (16 - 10 * body.breast) * s, ax=(56 + 8 * body.breast) * s,
                az=(46 + 14 * body.breast) * s, depth=(22 + 24 * body.breast) * s,
            )  # fmt: skip
        else:
            breast += mound(x, z, cx=side * 88 * s, cz=floor + 92 * s, ax=64 * s, az=44 * s, depth=22 * s)
    gas = airways(x, z, body, cage)
    tree = vessels(body, cage)
    texture = parenchyma(body)
    lung_mm = air * (1.0 + 0.12 * texture)
    lesion = np.zeros_like(trunk_mm)
    for nodule in body.nodules:
        r = nodule.diameter_mm / 2
        stretch = np.sqrt(nodule.elongation)
        lesion += np.float32(nodule.density) * ellipsoid(
            x, z, cx=nodule.x, cz=nodule.z, ax=r * stretch, az=r / stretch, depth=r, angle=nodule.angle
        )
    soft = np.maximum(trunk_mm - np.minimum(air, 0.94 * trunk_mm) - gas, 0.0) + breast
    inside = np.minimum(air / 30.0, 1.0)
    return Thickness(
        soft=(soft + tree * inside).astype(np.float32),
        lung=np.maximum(lung_mm, 0.0).astype(np.float32),
        bone=skeleton(x, z, body, cage),
        nodule=lesion.astype(np.float32),
    )
