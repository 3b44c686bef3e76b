"""Degradations of values: noise, gain, contrast, colour, compression, things that lie over the image."""

from __future__ import annotations

import numpy as np

from evalsuite.errors import ImageError
from evalsuite.imaging.degrade_scene import Floats, Scene

#: Optical density of haematoxylin, eosin and residual, per channel (Ruifrok & Johnston 2001).
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])


def noise(x: Floats, decibels: float, scene: Scene) -> Floats:
    """White noise."""
    n = scene.normal(x.shape)
    return scene.at_psnr(x, lambda a: x + a * n, decibels)


def noise_sd(x: Floats, deviation: float, scene: Scene) -> Floats:
    """White noise of this standard deviation, in the image's own unit."""
    return x + deviation * scene.normal(x.shape)


def dose(x: Floats, decibels: float, scene: Scene) -> Floats:
    """Noise whose variance grows with the signal, as that of counted quanta does."""
    n = scene.normal(x.shape) * np.sqrt(np.clip((x - scene.base) / scene.span, 0.0, None) + 0.01)
    return scene.at_psnr(x, lambda a: x + a * n, decibels)


def rician(x: Floats, decibels: float, scene: Scene) -> Floats:
    """Magnitude of a signal with independent noise in both channels of a receiver."""
    real, imaginary = scene.normal(x.shape), scene.normal(x.shape)
    signal = x - min(0.0, float(x.min()))
    return scene.at_psnr(x, lambda a: x - signal + np.hypot(signal + a * real, a * imaginary), decibels)


def speckle(x: Floats, decibels: float, scene: Scene) -> Floats:
    """Noise proportional to the signal, correlated over neighbouring pixels."""
    from scipy.ndimage import gaussian_filter

    n = gaussian_filter(scene.normal(x.shape), sigma=(*([0.0] * (x.ndim - 2)), 0.7, 0.7))
    pattern = n * (x - scene.base)
    return scene.at_psnr(x, lambda a: x + a / scene.span * pattern, decibels)


def offset(x: Floats, amount: float, scene: Scene) -> Floats:
    """Every value higher by the same."""
    return x + amount


def contrast(x: Floats, left: float, scene: Scene) -> Floats:
    """Every channel drawn towards its mean."""
    mean = x.mean(axis=tuple(range(1, x.ndim)), keepdims=True)
    return np.asarray(mean + left * (x - mean))


def gain(x: Floats, left: float, scene: Scene) -> Floats:
    """A darker image: the signal above black times a factor."""
    return scene.base + left * (x - scene.base)


def gain_db(x: Floats, decibels: float, scene: Scene) -> Floats:
    """A brighter image, saturated where it leaves the range."""
    factor: float = 10.0 ** (decibels / 20.0)
    return scene.base + factor * (x - scene.base)


def depth(x: Floats, decibels: float, scene: Scene) -> Floats:
    """Echoes fainter with depth, from the top row to the bottom one."""
    rows = np.linspace(0.0, 1.0, x.shape[-2])[:, None]
    return np.asarray(scene.base + (x - scene.base) * 10.0 ** (-decibels / 20.0 * rows))


def bias_field(x: Floats, percent: float, scene: Scene) -> Floats:
    """A smooth field over the image, drawn by chance, from 1 − half to 1 + half of `percent`."""
    axes = np.meshgrid(*(np.linspace(-1.0, 1.0, n) for n in x.shape[1:]), indexing="ij")
    field = np.zeros(x.shape[1:])
    for axis in axes:
        a, b = scene.rng.standard_normal(2)
        field += a * axis + b * axis**2
    spread = float(np.ptp(field))
    unit = (field - field.min()) / spread - 0.5 if spread > 0.0 else field
    return np.asarray(scene.base + (x - scene.base) * (1.0 + percent / 100.0 * unit))


def vignette(x: Floats, percent: float, scene: Scene) -> Floats:
    """Darker with the square of the distance from the middle, by `percent` at the corners."""
    rows, columns = (np.linspace(-1.0, 1.0, n) for n in x.shape[-2:])
    radius = (rows[:, None] ** 2 + columns[None, :] ** 2) / 2.0
    return np.asarray(scene.base + (x - scene.base) * (1.0 - percent / 100.0 * radius))


def cast(x: Floats, percent: float, scene: Scene) -> Floats:
    """A yellowish image: less blue, so that nothing leaves the range."""
    _colours(x)
    made = x.copy()
    made[2] = scene.base + (1.0 - percent / 100.0) * (x[2] - scene.base)
    return made


def stain(x: Floats, percent: float, scene: Scene) -> Floats:
    """Less haematoxylin: optical densities taken apart into stains, one of them weakened, and put together again."""
    _colours(x)
    density = -np.log((x - scene.base + 1.0) / (scene.span + 1.0)).reshape(3, -1)
    stains = _STAINS / np.linalg.norm(_STAINS, axis=1, keepdims=True)
    amounts = np.linalg.solve(stains.T, density)
    amounts[0] -= percent / 100.0 * np.clip(amounts[0], 0.0, None)
    back = np.exp(-(stains.T @ amounts)) * (scene.span + 1.0) - 1.0 + scene.base
    return np.asarray(back.reshape(x.shape))


def jpeg(x: Floats, quality: float, scene: Scene) -> Floats:
    """Through baseline JPEG of this quality and back, 8 bits from black to white; plane images only."""
    import cv2

    if x.ndim != 3 or x.shape[0] not in (1, 3):
        raise ImageError("JPEG is of plane images with one or three channels", code="degrade")
    bytes_ = np.rint(np.clip((x - scene.base) / scene.span, 0.0, 1.0) * 255.0).astype(np.uint8)
    plane = bytes_[0] if len(bytes_) == 1 else np.ascontiguousarray(np.moveaxis(bytes_[::-1], 0, -1))
    done, packed = cv2.imencode(".jpg", plane, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    if not done:
        raise ImageError("the image could not be compressed", code="degrade")
    flag = cv2.IMREAD_GRAYSCALE if len(bytes_) == 1 else cv2.IMREAD_COLOR
    read = np.asarray(cv2.imdecode(packed, flag), dtype=np.float64)
    again = read[None] if len(bytes_) == 1 else np.moveaxis(read, -1, 0)[::-1]
    return np.asarray(scene.base + again / 255.0 * scene.span)


def hair(x: Floats, percent: float, scene: Scene) -> Floats:
    """Dark curved lines over exactly this share of the pixels; a higher severity has those of a lower one too."""
    import cv2

    height, width = x.shape[-2:]
    wanted = round(percent / 100.0 * height * width)
    covered = np.zeros((height, width), dtype=np.uint8)
    thick = max(1, round(min(height, width) / 150))
    while int(covered.sum()) < wanted:
        start, bend, end = (scene.rng.random(2) * (width, height) for _ in range(3))
        t = np.linspace(0.0, 1.0, 24)[:, None]
        line = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
        one = np.zeros_like(covered)
        cv2.polylines(one, [np.rint(line).astype(np.int32)], False, 1, thick)
        new = np.flatnonzero((one > 0) & (covered == 0))
        covered.flat[new[: wanted - int(covered.sum())]] = 1
    dark = scene.base + 0.08 * scene.span
    return np.where(covered.astype(bool), np.minimum(x, dark), x)


def streak(x: Floats, deviation: float, scene: Scene) -> Floats:
    """Dark and bright rays from one point, fainter with distance, of this standard deviation over each slice."""
    height, width = x.shape[-2:]
    rays = scene.rng.integers(8, 17)
    row, column = scene.rng.uniform(0.3, 0.7, 2) * (height, width)
    phase = scene.rng.uniform(0.0, 2.0 * np.pi)
    y, z = np.mgrid[0:height, 0:width]
    far = np.hypot(y - row, z - column) / (0.1 * min(height, width))
    pattern = np.cos(rays * np.arctan2(y - row, z - column) + phase) / (1.0 + far)
    pattern -= pattern.mean()
    return np.asarray(x + deviation * pattern / max(float(pattern.std()), 1e-12))


def _colours(x: Floats) -> None:
    if x.shape[0] != 3 or x.ndim != 3:
        raise ImageError("the image has no three colour channels", code="degrade")
