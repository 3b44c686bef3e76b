"""How an image looks in a few numbers: brightness, contrast, noise, sharpness, size; nothing about its content."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evalsuite.imaging import ImageError, read_files, read_image
from evalsuite.imaging.image import Image, Spec

Floats = NDArray[np.float64]
#: Names of the numbers, and what each is.
FEATURES: dict[str, str] = {
    "mean": "mean grey value, in the image's own units",
    "sd": "standard deviation of the grey values",
    "contrast": "95th less 5th percentile of the grey values",
    "exposure": "where the median lies between the 1st and the 99th percentile: 0 dark, 1 bright",
    "noise": "standard deviation of fine noise as a part of the contrast (Immerkær 1996)",
    "sharpness": "variance of the Laplacian as a part of the variance of the grey values (Pech-Pacheco 2000)",
    "rows": "rows of pixels",
    "columns": "columns of pixels",
}
#: Rec. 601, as a radiologist's grey screen shows a colour image.
_LUMINANCE = (0.299, 0.587, 0.114)
_FEWEST = 3


def plane_of(image: Image) -> Floats:
    """(rows, columns) of an image in its own units: grey as it is, colour by its luminance, of a volume the middle
    slice (of a NIfTI file along its last axis, of frames the middle frame). What is not finite is left as it is."""
    array = image.array
    while array.ndim > 3:
        axis = array.ndim - 1 if image.kind == "nifti" else 1
        array = np.take(array, array.shape[axis] // 2, axis=axis)
    array = np.asarray(array, dtype=np.float64)
    if array.shape[0] >= len(_LUMINANCE):
        red, green, blue = array[: len(_LUMINANCE)]
        return np.asarray(_LUMINANCE[0] * red + _LUMINANCE[1] * green + _LUMINANCE[2] * blue, dtype=np.float64)
    return np.asarray(array[0], dtype=np.float64)


def quality(plane: Floats) -> dict[str, float]:
    """The numbers of `FEATURES` of a plane (rows, columns), NaN where one is not defined.

    Every number is the same on every machine up to the last digits. Contrast, exposure, noise and sharpness are NaN
    where the plane has one grey value only, noise and sharpness also where it has fewer than three rows or columns;
    everything but the size is where a grey value is not finite.

    Sources: Immerkær, Fast noise variance estimation (1996): √(π/2) times the mean absolute response to a mask that is
    blind to slopes and curvature; Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy (2000).
    """
    rows, columns = plane.shape
    out = dict.fromkeys(FEATURES, float("nan"))
    out |= {"rows": float(rows), "columns": float(columns)}
    if plane.size == 0 or not np.isfinite(plane).all():
        return out
    low, dark, middle, bright, high = (float(v) for v in np.percentile(plane, (1.0, 5.0, 50.0, 95.0, 99.0)))
    spread = float(plane.std())
    out |= {"mean": float(plane.mean()), "sd": spread}
    if not spread > 0.0:
        return out
    contrast = bright - dark
    out["contrast"] = contrast
    if high > low:
        out["exposure"] = (middle - low) / (high - low)
    if min(rows, columns) < _FEWEST:
        return out
    across = plane[:, :-2] - 2.0 * plane[:, 1:-1] + plane[:, 2:]
    down = plane[:-2] - 2.0 * plane[1:-1] + plane[2:]
    laplacian = across[1:-1] + down[:, 1:-1]
    out["sharpness"] = float(laplacian.var()) / spread**2
    if contrast > 0.0:
        twice = across[:-2] - 2.0 * across[1:-1] + across[2:]
        out["noise"] = float(np.sqrt(np.pi / 2.0) * np.abs(twice).mean() / 6.0) / contrast
    return out


def quality_of_files(paths: Sequence[Path]) -> dict[str, float]:
    """The numbers of an image of one file, or of the middle file of a series; of several frames the middle one's.

    Raises ImageError where it cannot be read.
    """
    path = paths[len(paths) // 2]
    try:
        return quality(plane_of(read_image(path)))
    except ImageError as error:
        if error.code != "multiframe":
            raise
    return quality(plane_of(read_files([path], spec=Spec(layout="stack"), name=path.name)))
