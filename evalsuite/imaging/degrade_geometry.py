"""Degradations of place: blur, coarser sampling, errors of k-space, turned and cropped images."""

from __future__ import annotations

import numpy as np

from evalsuite.errors import ImageError
from evalsuite.imaging.degrade_scene import Floats, Scene


def identity(x: Floats, value: float, scene: Scene) -> Floats:
    """The image as it is."""
    return x


def flip_horizontal(x: Floats, value: float, scene: Scene) -> Floats:
    """Left and right exchanged: of a volume the patient's, of a plane image the columns'."""
    return np.ascontiguousarray(np.flip(x, axis=flip_axis("flip_horizontal", scene.orientation)))


def flip_vertical(x: Floats, value: float, scene: Scene) -> Floats:
    """Top and bottom exchanged: of a volume the patient's head and feet, of a plane image the rows'."""
    return np.ascontiguousarray(np.flip(x, axis=flip_axis("flip_vertical", scene.orientation)))


def flip_axis(kind: str, orientation: str | None) -> int:
    """The axis of an array, counted from its end, that an exchange of sides reverses; `orientation` as a grid's."""
    if orientation is None:
        return -1 if kind == "flip_horizontal" else -2
    sides = "LR" if kind == "flip_horizontal" else "IS"
    return next(i for i, letter in enumerate(orientation) if letter in sides) - len(orientation)


def blur(x: Floats, percent: float, scene: Scene) -> Floats:
    """A Gaussian whose standard deviation is this share of the shorter side, within each plane."""
    sigma = percent / 100.0 * min(x.shape[-2:])
    return _smoothed(x, [(axis, sigma) for axis in (x.ndim - 2, x.ndim - 1)])


def blur_mm(x: Floats, deviation_mm: float, scene: Scene) -> Floats:
    """A Gaussian of this standard deviation along every axis but that of the slices."""
    spacing = _spacing(x, scene)
    kept = slice_axis(x, scene) if x.ndim == 4 else None
    return _smoothed(x, [(axis, deviation_mm / spacing[axis - 1]) for axis in range(1, x.ndim) if axis != kept])


def _smoothed(x: Floats, sigmas: list[tuple[int, float]]) -> Floats:
    """Smoothed along each axis; below 0.7 pixels a sampled Gaussian is too narrow, so three weights of its variance."""
    from scipy.ndimage import convolve1d, gaussian_filter1d

    for axis, sigma in sigmas:
        if sigma < 0.7:
            side = sigma**2 / 2.0
            x = convolve1d(x, [side, 1.0 - 2.0 * side, side], axis=axis, mode="nearest")
        else:
            x = gaussian_filter1d(x, sigma, axis=axis, mode="nearest", truncate=5.0)
    return np.asarray(x)


def slices(x: Floats, count: float, scene: Scene) -> Floats:
    """Each slice the mean of so many around it, as a thicker slice would have it; of an even number the outer two count
    half, so that nothing moves."""
    from scipy.ndimage import convolve1d

    if x.ndim != 4:
        raise ImageError("a plane image has no slices", code="degrade")
    n = int(count)
    weights = np.ones(n) if n % 2 else np.array([0.5, *([1.0] * (n - 1)), 0.5])
    return np.asarray(convolve1d(x, weights / n, axis=slice_axis(x, scene), mode="nearest"))


def slice_axis(x: Floats, scene: Scene) -> int:
    """The axis of the array that runs across slices: the coarsest one, of equals the shortest, then the first."""
    spacing = scene.spacing_mm or (1.0,) * (x.ndim - 1)
    return max(range(1, x.ndim), key=lambda axis: (round(spacing[axis - 1], 6), -x.shape[axis], -axis))


def spacing(x: Floats, factor: float, scene: Scene) -> Floats:
    """Each plane averaged to pixels so many times as large, and interpolated back to its own."""
    import cv2

    rows, columns = x.shape[-2:]
    small = (max(1, round(columns / factor)), max(1, round(rows / factor)))

    def one(plane: Floats) -> Floats:
        coarse = cv2.resize(plane, small, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_LINEAR))

    flat = x.reshape(-1, rows, columns)
    return np.stack([one(plane) for plane in flat]).reshape(x.shape)


def gibbs(x: Floats, kept: float, scene: Scene) -> Floats:
    """The outer part of k-space left out along both axes of each plane."""
    return _of_k_space(x, [_window(n, kept) for n in x.shape[-2:]])


def _window(n: int, kept: float) -> Floats:
    """1 for the lowest frequencies, `kept` of all, as many below as above 0."""
    frequency = np.abs(np.fft.fftfreq(n))
    window = np.zeros(n)
    window[np.argsort(frequency, kind="stable")[: max(1, round(kept * n))]] = 1.0
    return window


def _of_k_space(x: Floats, windows: list[Floats]) -> Floats:
    spectrum = np.fft.fft2(x, axes=(-2, -1)) * windows[0][:, None] * windows[1][None, :]
    return np.asarray(np.real(np.fft.ifft2(spectrum, axes=(-2, -1))))


def ghosting(x: Floats, percent: float, scene: Scene) -> Floats:
    """A fainter copy displaced by half the field of view along the rows' axis, as from two kinds of echoes."""
    return np.asarray(x + percent / 100.0 * np.roll(x - scene.base, x.shape[-2] // 2, axis=-2))


def motion(x: Floats, decibels: float, scene: Scene) -> Floats:
    """Every other line of k-space from a displaced image, mixed in until the PSNR is reached."""
    moved = np.roll(x, max(1, round(0.03 * x.shape[-1])), axis=-1)
    still, other = (np.fft.fft(a, axis=-2) for a in (x, moved))
    lines = (np.arange(x.shape[-2]) % 2).astype(bool)
    mixed = np.real(np.fft.ifft(np.where(lines[:, None], other, still), axis=-2))
    change = (mixed - x) / scene.span
    return scene.at_psnr(x, lambda a: x + a * change, decibels)


def rotation(x: Floats, degrees: float, scene: Scene) -> Floats:
    """Counter-clockwise about the middle of each plane, edges continued."""
    from scipy.ndimage import rotate

    return np.asarray(rotate(x, degrees, axes=(-1, -2), reshape=False, order=1, mode="nearest"))


def crop(x: Floats, percent: float, scene: Scene) -> Floats:
    """This share off every side, and the rest enlarged to the size before."""
    import cv2

    rows, columns = x.shape[-2:]
    scale = 1.0 - 2.0 * percent / 100.0
    matrix = np.array(
        [[scale, 0.0, percent / 100.0 * (columns - 1)], [0.0, scale, percent / 100.0 * (rows - 1)]], dtype=np.float64
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def one(plane: Floats) -> Floats:
        return np.asarray(cv2.warpAffine(plane, matrix, (columns, rows), flags=flags, borderMode=cv2.BORDER_REPLICATE))

    flat = x.reshape(-1, rows, columns)
    return np.stack([one(plane) for plane in flat]).reshape(x.shape)


def _spacing(x: Floats, scene: Scene) -> tuple[float, ...]:
    if scene.spacing_mm is None:
        raise ImageError("the image states no spacing, and the severity is in millimetres", code="spacing")
    return scene.spacing_mm
