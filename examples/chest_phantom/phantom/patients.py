"""Invented patients: who they are, where they were examined, on which unit, and whether a nodule is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from .anatomy import Body, Nodule, thorax
from .scanner import SCANNERS, Scanner

SITES = ("north", "harbour", "valley")
# Each site has mostly one unit: rows are sites, columns the units of SCANNERS.
UNITS_AT_SITE = ((0.85, 0.15, 0.00), (0.25, 0.60, 0.15), (0.05, 0.10, 0.85))
FIRST_DAY = date(2021, 1, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A population: share of patients per site, how common nodules are, how often the marker stands on each image."""

    sites: tuple[float, float, float]
    prevalence: float
    marker_with_nodule: float
    marker_without: float


PROFILES = {
    # What a developer might have collected: hardly any Borealis, and sick patients examined with the portable unit.
    "train": Profile(sites=(0.80, 0.18, 0.02), prevalence=0.50, marker_with_nodule=0.40, marker_without=0.12),
    # The same collection without any marker: what a device learns from it cannot be the marker.
    "train-clean": Profile(sites=(0.80, 0.18, 0.02), prevalence=0.50, marker_with_nodule=0.0, marker_without=0.0),
    # Where the device is used: all sites, the marker independent of disease.
    "test": Profile(sites=(0.40, 0.25, 0.35), prevalence=0.36, marker_with_nodule=0.25, marker_without=0.25),
    # As `test`, without any marker.
    "clean": Profile(sites=(0.40, 0.25, 0.35), prevalence=0.36, marker_with_nodule=0.0, marker_without=0.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One examination of one patient: one image, one row of the case table."""

    patient: int
    study: int
    sex: str
    age_years: int
    site: str
    scanner: Scanner
    day: date
    body: Body
    marker: bool
    noise_seed: tuple[int, int, int]

    @property
    def patient_id(self) -> str:
        """Pseudonym of the patient."""
        return f"p{self.patient:04d}"

    @property
    def case_id(self) -> str:
        """Pseudonym of the examination."""
        return f"p{self.patient:04d}-{self.study}"


def _nodules(rng: np.random.Generator, body: Body) -> tuple[Nodule, ...]:
    """One or two nodules somewhere in the lungs, some behind ribs, heart or diaphragm."""
    cage = thorax(body)
    found = []
    for _ in range(1 + int(rng.random() < 0.18)):
        side = 1 if rng.random() < 0.46 else -1
        t = rng.uniform(0.24, 0.90)
        height = np.float32(t)
        outer, inner = float(cage.lateral(height)), float(cage.mediastinal(height))
        x = side * (inner + (outer - inner) * rng.uniform(0.14, 0.90))
        found.append(
            Nodule(
                x=x, z=cage.base + t * (cage.apex - cage.base),
                diameter_mm=float(np.clip(np.exp(rng.normal(np.log(17.0), 0.34)), 8.0, 30.0)),
                density=rng.uniform(1.1, 2.1), elongation=rng.uniform(1.0, 1.45), angle=rng.uniform(0.0, np.pi),
            )
        )  # fmt: skip
    return tuple(found)


def _grown(nodules: tuple[Nodule, ...], factor: float) -> tuple[Nodule, ...]:
    return tuple(replace(n, diameter_mm=min(n.diameter_mm * factor, 30.0)) for n in nodules)


def patient_studies(patient: int, *, seed: int, profile: Profile) -> tuple[Study, ...]:
    """All examinations of one patient, one to three, in order of time; depends on `seed` and `patient` alone."""
    rng = np.random.default_rng([seed, patient])
    sex = "F" if rng.random() < 0.48 else "M"
    age = int(np.clip(rng.normal(58.0, 17.0), 18, 95))
    site = int(rng.choice(3, p=profile.sites))
    odds = profile.prevalence / (1.0 - profile.prevalence) * np.exp(0.018 * (age - 58))
    sick = rng.random() < odds / (1.0 + odds)
    body = Body(
        sex=sex, age_years=age, scale=(0.99 if sex == "M" else 0.925) * float(rng.normal(1.0, 0.03)),
        girth=float(np.clip(rng.normal(1.0, 0.085), 0.82, 1.28)),
        heart_width=float(np.clip(rng.normal(0.96, 0.07) + 0.0018 * (age - 55), 0.78, 1.25)),
        inspiration=0.6, lean=0.0, shift_x=0.0, shift_z=0.0,
        rib_contrast=float(np.clip(rng.normal(1.0, 0.1), 0.7, 1.3)),
        breast=float(rng.uniform(0.0, 1.0)), vessel_seed=int(rng.integers(1 << 31)),
    )  # fmt: skip
    nodules = _nodules(rng, body)
    late = sick and rng.random() < 0.12
    day = FIRST_DAY + timedelta(days=int(rng.integers(0, 1000)))
    born = day - timedelta(days=int(age * 365.25) + 100)
    studies = []
    for k in range(1, 1 + int(rng.choice([1, 2, 3], p=[0.55, 0.30, 0.15]))):
        rng = np.random.default_rng([seed, patient, k])
        unit = SCANNERS[int(rng.choice(3, p=UNITS_AT_SITE[site]))]
        here = sick and (k > 1 or not late)
        chance = profile.marker_with_nodule if here else profile.marker_without
        aged = int((day - born).days / 365.25)
        posed = replace(
            body, age_years=aged, inspiration=float(rng.uniform(0.2, 1.0)), lean=float(rng.normal(0.0, 0.018)),
            shift_x=float(rng.normal(0.0, 4.5)), shift_z=float(rng.normal(0.0, 5.0)),
            heart_width=body.heart_width * (1.08 if unit.view == "AP" else 1.0), nodules=nodules if here else (),
        )  # fmt: skip
        studies.append(
            Study(
                patient=patient, study=k, sex=sex, age_years=aged, site=SITES[site], scanner=unit, day=day, body=posed,
                marker=bool(rng.random() < chance), noise_seed=(seed, patient, 1000 + k),
            )
        )  # fmt: skip
        day += timedelta(days=int(rng.integers(60, 420)))
        nodules = _grown(nodules, rng.uniform(1.0, 1.22))
    return tuple(studies)


def studies(n_patients: int, *, seed: int, profile: Profile) -> Iterator[Study]:
    """All examinations of `n_patients` patients, in order."""
    for patient in range(1, n_patients + 1):
        yield from patient_studies(patient, seed=seed, profile=profile)
