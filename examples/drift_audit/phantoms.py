"""Months of a deployment as chest-radiograph phantoms: what is drawn changes month by month, the device does not."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "chest_phantom"))

from phantom.dicom_writer import write
from phantom.patients import Profile, Study, studies
from phantom.render import render
from phantom.scanner import SCANNERS

KNOWN, NEW = SCANNERS[0], SCANNERS[2]
HEADER = ("case_id", "patient_id", "image", "sex", "age", "nodule", "labelled_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """What is true of a month: how many patients have nodules, how many images come from a new scanner, and how dense
    nodules are (1: as those that the device was validated on)."""

    prevalence: float = 0.40
    new_scanner: float = 0.0
    density: float = 1.0


def draw(folder: Path, month: Month, *, patients: int, seed: int, day: str) -> Path:
    """Draw the images of a month into `folder` and return its case table; the same seed gives the same bytes.

    `day` is the one on which the labels came, one after the other.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    profile = Profile(sites=(0.6, 0.4, 0.0), prevalence=month.prevalence, marker_with_nodule=0.1, marker_without=0.1)
    rows = []
    for i, study in enumerate(studies(patients, seed=seed, profile=profile)):
        case = f"{folder.name}-{study.case_id}"
        image = f"images/{case}.dcm"
        made = _as_in(month, study)
        write(folder / image, made, render(made), seed=seed)
        rows.append(
            {
                "case_id": case,
                "patient_id": f"{folder.name}-{study.patient_id}",
                "image": image,
                "sex": study.sex,
                "age": str(study.age_years),
                "nodule": "1" if study.body.nodules else "0",
                "labelled_at": f"{day}T{8 + i // 60:02d}:{i % 60:02d}:00",
            }
        )
    table = folder / "cases.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEADER, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return table


def _as_in(month: Month, study: Study) -> Study:
    """The study as it would have been in this month."""
    lot = np.random.default_rng([*study.noise_seed, 7]).random()
    scanner = KNOWN if study.scanner == NEW else study.scanner
    scanner = NEW if lot < month.new_scanner else scanner
    nodules = tuple(replace(n, density=n.density * month.density) for n in study.body.nodules)
    return replace(study, scanner=scanner, body=replace(study.body, nodules=nodules))
