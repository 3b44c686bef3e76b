"""A reading room let run, image by image: how near the formulas are where no exact wait is known."""

from __future__ import annotations

import numpy as np
from scipy.stats import t as student

from evalsuite.stats.queueing import Discipline, Floats, ReadingRoom
from evalsuite.types import Estimate

IMAGES, BATCHES = 400_000, 40


def simulated_waits(
    room: ReadingRoom,
    sensitivity: float,
    specificity: float,
    *,
    discipline: Discipline,
    seed: int,
    images: int = IMAGES,
) -> tuple[Floats, Floats, np.ndarray]:
    """Waits in minutes `(images,)` without and with the device of the same images, and which have the condition.

    Reading times follow a gamma distribution with the mean and `cv` of the room (1: exponential; 0: all equal). Urgent
    images are among them, and have no condition here.
    """
    from evalsuite.stats._queueing_kernels import read_all

    rng = np.random.default_rng(seed)
    arrival = np.cumsum(rng.exponential(60.0 / room.arrivals_per_hour, images))
    urgent = rng.random(images) < room.urgent_share
    ill = ~urgent & (rng.random(images) < room.prevalence)
    mean = np.where(urgent, room.urgent_minutes, np.where(ill, room.minutes_with, room.minutes_without))
    spread = rng.gamma(1.0 / room.cv**2, room.cv**2, images) if room.cv > 0 else 1.0
    minutes = np.ascontiguousarray(mean * spread)
    flagged = ~urgent & np.where(ill, rng.random(images) < sensitivity, rng.random(images) >= specificity)
    waits = []
    for rank in (np.where(urgent, 0, 1), np.where(urgent, 0, np.where(flagged, 1, 2))):
        done = np.empty(images)
        read_all(arrival, minutes, rank.astype(np.int64), room.readers, discipline == "preemptive", done)
        waits.append(done - arrival - minutes)
    return waits[0], waits[1], ill


def simulated_saving(
    room: ReadingRoom,
    sensitivity: float,
    specificity: float,
    *,
    discipline: Discipline,
    level: float,
    seed: int,
    images: int = IMAGES,
) -> Estimate:
    """Mean minutes that patients with the condition wait less because of the device, with the interval of simulation.

    The run is cut into batches, of which the first is left out (the room was empty); the interval is Student's over
    their means. It says how well this mean is known, nothing about the device.

    References
    ----------
    Law AM, Kelton WD. Simulation Modeling and Analysis. 3rd ed. McGraw-Hill 2000, section 9.5 (batch means).
    """
    before, after, ill = simulated_waits(
        room, sensitivity, specificity, discipline=discipline, seed=seed, images=images
    )
    batch = np.arange(images) * BATCHES // images
    method = f"simulation of {images} images, {BATCHES} batches"
    n = int(ill.sum())
    kept = ill & (batch > 0)
    counts = np.bincount(batch[kept], minlength=BATCHES)[1:]
    if not (counts > 0).all():
        return Estimate.not_estimable("too few patients with the condition to simulate", n=n, level=level)
    means = np.bincount(batch[kept], weights=(before - after)[kept], minlength=BATCHES)[1:] / counts
    value = float(means.mean())
    half = float(student.ppf(0.5 + level / 2.0, means.size - 1) * means.std(ddof=1) / np.sqrt(means.size))
    return Estimate(value=value, low=value - half, high=value + half, level=level, method=method, n=n)
