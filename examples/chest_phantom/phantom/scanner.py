"""Three radiography units of two invented manufacturers: dose, sharpness, scatter, processing and look-up table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft

from .anatomy import SIZE, SPACING_MM, Array, Thickness

SOFT_PER_MM, LUNG_PER_MM, BONE_PER_MM = 0.0193, 0.0050, 0.046
MAX_VALUE = 4095


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanner:
    """One unit. `quanta` reach a pixel in air; `blur_mm` is the detector's Gaussian sigma; `mottle` the
    relative unevenness of its phosphor, in spots of some 5 mm; `gamma` bends the LUT."""

    manufacturer: str
    model: str
    software: str
    photometric: str
    view: str
    kvp: int
    quanta: float
    blur_mm: float
    electronic: float
    scatter: float
    mottle: float
    compression: float
    edge: float
    centre: float
    slope: float
    gamma: float
    window: tuple[int, int]


SCANNERS = (
    Scanner(
        manufacturer="Aurora Medical Systems", model="AX-200", software="4.2.1", photometric="MONOCHROME2", view="PA",
        kvp=125, quanta=16000.0, blur_mm=0.75, electronic=2.0, scatter=0.28,
        mottle=0.0, compression=0.45, edge=0.55, centre=0.50, slope=1.35, gamma=1.0, window=(2048, 4096),
    ),
    Scanner(
        manufacturer="Aurora Medical Systems", model="AX-100M", software="3.9.0", photometric="MONOCHROME2", view="AP",
        kvp=110, quanta=6500.0, blur_mm=0.95, electronic=3.0, scatter=0.45,
        mottle=0.0, compression=0.42, edge=0.40,
        centre=0.50, slope=1.25, gamma=1.0, window=(2048, 4096),
    ),
    Scanner(
        manufacturer="Borealis Imaging", model="BR-1", software="11.0", photometric="MONOCHROME1", view="PA",
        kvp=102, quanta=3000.0, blur_mm=2.2, electronic=5.0, scatter=1.60,
        mottle=0.03, compression=0.30, edge=0.10,
        centre=0.42, slope=0.90, gamma=1.25, window=(2000, 3600),
    ),
)  # fmt: skip


@lru_cache(maxsize=32)
def _gaussian(sigma_mm: float) -> Array:
    """Transfer function of a Gaussian blur with this sigma, on the cosine basis (mirrored borders)."""
    frequency = np.arange(SIZE) / (2.0 * SIZE * SPACING_MM)
    line = np.exp(-2.0 * (np.pi * sigma_mm * frequency) ** 2).astype(np.float32)
    return line[:, None] * line[None, :]


def _filter(image: Array, transfer: Array) -> Array:
    return np.asarray(fft.idctn(fft.dctn(image) * transfer), dtype=np.float32)


def expose(thickness: Thickness, scanner: Scanner, rng: np.random.Generator) -> Array:
    """Detected quanta per pixel: Beer-Lambert transmission, scatter, Poisson noise, detector blur, electronic noise."""
    attenuation = (
        np.float32(SOFT_PER_MM) * (thickness.soft + thickness.nodule)
        + np.float32(LUNG_PER_MM) * thickness.lung
        + np.float32(BONE_PER_MM) * thickness.bone
    )
    primary = np.exp(-attenuation)
    padded = np.minimum(primary, np.float32(0.35))
    scattered = _filter(padded, _gaussian(28.0)) * np.float32(scanner.scatter * 0.35)
    mean = np.float32(scanner.quanta) * (primary + np.maximum(scattered, 0.0))
    if scanner.mottle:
        spots = _filter(rng.standard_normal(mean.shape, dtype=np.float32), _gaussian(2.4))
        mean *= np.exp(np.float32(scanner.mottle) * spots / spots.std())
    detected = rng.poisson(mean).astype(np.float32)
    blurred = _filter(detected, _gaussian(scanner.blur_mm))
    return blurred + np.float32(scanner.electronic) * rng.standard_normal(mean.shape, dtype=np.float32)


def process(detected: Array, scanner: Scanner) -> Array:
    """The unit's processing: logarithm, range compression, edge enhancement, look-up table; 12-bit, dense = bright."""
    density = -np.log(np.maximum(detected, 1.0) / np.float32(scanner.quanta))
    density = np.clip(density, 0.0, 6.0)
    transfer = (
        1.0
        - np.float32(scanner.compression) * _gaussian(22.0)
        + np.float32(scanner.edge) * (_gaussian(0.6) - _gaussian(3.2))
    )
    enhanced = _filter(density, transfer)
    # Exposure is normalised on the central field, as such units do: outside it lies air.
    low, high = np.percentile(enhanced[40:216, 56:200], (3.0, 97.0))
    relative = (enhanced - low) / max(float(high - low), 1e-6)
    curve = np.tanh(scanner.slope * (relative - scanner.centre))
    floor, top = np.tanh(-scanner.slope * (scanner.centre + 0.22)), np.tanh(scanner.slope * (1.25 - scanner.centre))
    shown = np.clip((curve - floor) / (top - floor), 0.0, 1.0) ** scanner.gamma
    return np.asarray(shown, dtype=np.float32)
