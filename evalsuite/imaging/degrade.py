"""Images made worse by known amounts: ladders of five severities per modality, the same bytes whenever they are made.

A severity is declared in a unit that can be measured on the result: signal-to-noise in decibels, a standard deviation
in Hounsfield units, degrees, millimetres, shares. What depends on chance (noise, hairs) is drawn from the protocol's
seed and the case, so that the severities of one case differ in amount alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evalsuite.errors import ImageError
from evalsuite.imaging import degrade_geometry as geometry
from evalsuite.imaging import degrade_intensity as intensity
from evalsuite.imaging.degrade_scene import Floats, Scene
from evalsuite.imaging.image import Image

SEVERITIES = (1, 2, 3, 4, 5)
#: Changes when an image of any kind and severity comes out differently: part of the name of every stored answer.
VERSION = "2"

Apply = Callable[[Floats, float, Scene], Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One way of making an image worse: what it is called, the unit of its severities, and what does it."""

    title: str
    unit: str
    apply: Apply


KINDS: Mapping[str, Kind] = {
    "noise": Kind(title="Noise", unit="dB PSNR", apply=intensity.noise),
    "dose": Kind(title="Quantum noise of a lower dose", unit="dB PSNR", apply=intensity.dose),
    "noise_hu": Kind(title="Noise", unit="HU SD", apply=intensity.noise_sd),
    "rician": Kind(title="Rician noise", unit="dB PSNR", apply=intensity.rician),
    "speckle": Kind(title="Speckle", unit="dB PSNR", apply=intensity.speckle),
    "streak": Kind(title="Streaks of metal", unit="HU SD", apply=intensity.streak),
    "hu_offset": Kind(title="Offset", unit="HU", apply=intensity.offset),
    "contrast": Kind(title="Loss of contrast", unit="of the contrast left", apply=intensity.contrast),
    "gain": Kind(title="Detector gain", unit="of the signal left", apply=intensity.gain),
    "gain_db": Kind(title="Gain", unit="dB", apply=intensity.gain_db),
    "depth": Kind(title="Attenuation with depth", unit="dB at the bottom", apply=intensity.depth),
    "bias_field": Kind(title="Bias field", unit="% peak to peak", apply=intensity.bias_field),
    "vignette": Kind(title="Uneven illumination", unit="% lost at the corner", apply=intensity.vignette),
    "cast": Kind(title="Colour cast", unit="% of blue lost", apply=intensity.cast),
    "stain": Kind(title="Weaker haematoxylin", unit="% of the stain lost", apply=intensity.stain),
    "jpeg": Kind(title="JPEG compression", unit="quality", apply=intensity.jpeg),
    "hair": Kind(title="Hairs", unit="% of the area", apply=intensity.hair),
    "blur": Kind(title="Blur", unit="% of the shorter side, SD", apply=geometry.blur),
    "blur_mm": Kind(title="Smoother kernel", unit="mm SD", apply=geometry.blur_mm),
    "slice_thickness": Kind(title="Thicker slices", unit="slices averaged", apply=geometry.slices),
    "spacing": Kind(title="Coarser pixels", unit="times the spacing", apply=geometry.spacing),
    "gibbs": Kind(title="Gibbs ringing", unit="of k-space kept", apply=geometry.gibbs),
    "ghosting": Kind(title="Ghosting", unit="% of the signal", apply=geometry.ghosting),
    "motion": Kind(title="Motion between lines", unit="dB PSNR", apply=geometry.motion),
    "rotation": Kind(title="Rotation", unit="degrees", apply=geometry.rotation),
    "crop": Kind(title="Crop", unit="% of each side", apply=geometry.crop),
    "identity": Kind(title="Nothing changed", unit="", apply=geometry.identity),
    "flip_horizontal": Kind(title="Left and right exchanged", unit="", apply=geometry.flip_horizontal),
    "flip_vertical": Kind(title="Top and bottom exchanged", unit="", apply=geometry.flip_vertical),
}
"""Every kind by name; the last three are not worse images but questions of symmetry."""

Ladder = Mapping[str, tuple[float, float, float, float, float]]

_BLUR = (0.2, 0.4, 0.7, 1.0, 1.5)
_JPEG = (80.0, 60.0, 40.0, 25.0, 10.0)
_DECIBELS = (40.0, 36.0, 32.0, 28.0, 24.0)
LADDERS: Mapping[str, Ladder] = {
    "xray": {
        "dose": _DECIBELS,
        "blur": _BLUR,
        "contrast": (0.9, 0.8, 0.7, 0.6, 0.5),
        "gain": (0.95, 0.9, 0.8, 0.7, 0.6),
        "rotation": (2.0, 4.0, 7.0, 10.0, 15.0),
        "crop": (2.0, 4.0, 6.0, 9.0, 12.0),
        "jpeg": _JPEG,
    },
    "ct": {
        "noise_hu": (10.0, 20.0, 35.0, 55.0, 80.0),
        "slice_thickness": (2.0, 3.0, 4.0, 5.0, 6.0),
        "blur_mm": (0.4, 0.7, 1.0, 1.5, 2.0),
        "hu_offset": (5.0, 10.0, 20.0, 35.0, 50.0),
        "streak": (10.0, 20.0, 40.0, 70.0, 100.0),
    },
    "mr": {
        "rician": _DECIBELS,
        "bias_field": (10.0, 20.0, 30.0, 45.0, 60.0),
        "ghosting": (3.0, 6.0, 10.0, 15.0, 25.0),
        "motion": _DECIBELS,
        "gibbs": (0.9, 0.75, 0.6, 0.5, 0.4),
        "spacing": (1.25, 1.5, 2.0, 2.5, 3.0),
    },
    "ultrasound": {
        "speckle": _DECIBELS,
        "gain_db": (1.0, 2.0, 3.0, 4.5, 6.0),
        "depth": (2.0, 4.0, 6.0, 9.0, 12.0),
        "blur": _BLUR,
    },
    "microscopy": {
        "stain": (10.0, 20.0, 30.0, 40.0, 50.0),
        "cast": (5.0, 10.0, 15.0, 22.0, 30.0),
        "blur": _BLUR,
        "jpeg": _JPEG,
        "noise": _DECIBELS,
    },
    "dermoscopy": {
        "hair": (1.0, 2.0, 4.0, 7.0, 10.0),
        "cast": (5.0, 10.0, 15.0, 22.0, 30.0),
        "blur": _BLUR,
        "jpeg": _JPEG,
        "contrast": (0.9, 0.8, 0.7, 0.6, 0.5),
        "rotation": (5.0, 10.0, 20.0, 30.0, 45.0),
    },
    "fundus": {
        "blur": _BLUR,
        "vignette": (10.0, 20.0, 30.0, 45.0, 60.0),
        "cast": (5.0, 10.0, 15.0, 22.0, 30.0),
        "contrast": (0.9, 0.8, 0.7, 0.6, 0.5),
        "noise": _DECIBELS,
        "jpeg": _JPEG,
    },
}
"""Declared severities by modality and kind."""

CHECKS = ("identity", "flip_horizontal", "flip_vertical")
#: Kinds that move what is in the image.
MOVING = ("rotation", "crop", "flip_horizontal", "flip_vertical")


def degrade(image: Image, kind: str, value: float, *, seed: int, case_id: str) -> Image:
    """The image made worse by `value`, in the unit of its kind; the same type, size and place as before.

    Integers are rounded and kept within the range their kind of image can hold.

    Raises
    ------
    KeyError
        For a kind there is none of.
    ImageError
        Where the image cannot be made worse in this way: no colours, no slices, no spacing.
    """
    if kind == "identity":
        return image
    array = image.array
    scene = scene_of(image, np.random.default_rng(_entropy(seed, case_id, kind)))
    made = KINDS[kind].apply(array.astype(np.float64), value, scene)
    if made.shape != array.shape:
        raise ImageError(f"{kind} changed the size of the image", code="degrade")
    return replace(image, array=scene.as_stored(made, array.dtype))


def _entropy(seed: int, case_id: str, kind: str) -> list[int]:
    text = hashlib.sha256(f"{seed}\n{kind}\n{case_id}".encode()).digest()
    return [int.from_bytes(text[i : i + 4], "little") for i in range(0, 16, 4)]


def scene_of(image: Image, rng: np.random.Generator) -> Scene:
    """What an image's numbers may be, and how far apart black and white lie."""
    array: NDArray[np.generic] = image.array
    low, high = image.full_range or (None, None)
    if low is None and array.dtype.kind in "iu":
        info = np.iinfo(array.dtype.name)
        low, high = float(info.min), float(info.max)
    if image.full_range is not None:
        base, top = image.full_range
    else:
        base, top = (float(v) for v in np.percentile(array.astype(np.float64), [0.5, 99.5]))
    span = top - base if top > base else 1.0
    return Scene(
        low=low,
        high=high,
        base=base,
        span=span,
        spacing_mm=image.spacing_mm,
        rng=rng,
        orientation=image.orientation,
    )
