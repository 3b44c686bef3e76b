"""Development data in memory: the phantoms of the DICOM files, without the files, drawn by several processes."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .patients import PROFILES, patient_studies
from .render import render
from .scanner import MAX_VALUE


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """`image` (n, 128, 128) float32 0 to 1, halved; `target` (n,) bool; `place` (n, 32, 32) bool where nodules lie."""

    image: NDArray[np.float32]
    target: NDArray[np.bool_]
    place: NDArray[np.bool_]
    manufacturer: NDArray[np.str_]
    marker: NDArray[np.bool_]


def _draw(
    patient: int, *, seed: int, profile: str
) -> list[tuple[NDArray[np.float32], bool, NDArray[np.bool_], str, bool]]:
    drawn = []
    for study in patient_studies(patient, seed=seed, profile=PROFILES[profile]):
        radiograph = render(study)
        full = radiograph.shown.astype(np.float32) / np.float32(MAX_VALUE)
        half = full.reshape(128, 2, 128, 2).mean(axis=(1, 3))
        place = radiograph.mask.reshape(32, 8, 32, 8).mean(axis=(1, 3)) > 0.25
        drawn.append((half, bool(study.body.nodules), place, study.scanner.manufacturer, study.marker))
    return drawn


def draw(n_patients: int, *, seed: int, profile: str, workers: int) -> Images:
    """Phantoms of `n_patients` patients; the result does not depend on the number of workers."""
    one = partial(_draw, seed=seed, profile=profile)
    patients = range(1, n_patients + 1)
    if workers == 1:
        drawn = [study for patient in patients for study in one(patient)]
    else:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            drawn = [study for studies in pool.map(one, patients, chunksize=16) for study in studies]
    images, targets, places, makers, markers = zip(*drawn, strict=True)
    return Images(
        image=np.stack(images),
        target=np.array(targets),
        place=np.stack(places),
        manufacturer=np.array(makers),
        marker=np.array(markers),
    )
