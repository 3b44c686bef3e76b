"""A simulated deployment: the cases that a validation saw, and months in which one thing after another changes.

Cases are numbers, not images: a score, a reference standard, a scanner, age and sex, as a deployment's log has them.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

#: Stands for the digest of the deployed model in its log.
DEVICE = "5e" * 32
HEADER = ("case_id", "patient_id", "malignant", "scanner", "sex", "age", "p_malignant", "status", "model_digest")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is true of a month: prevalence, a healthy case's mean score and what a diseased one has over it (both on the
    logit scale), new scanners."""

    prevalence: float = 0.3
    healthy: float = -1.2
    separation: float = 2.6
    new_scanner: float = 0.0


def cases(world: World, n: int, *, prefix: str, seed: int) -> list[dict[str, str]]:
    """`n` cases of one patient each; ids begin with `prefix`. One in a hundred has no output."""
    rng = np.random.default_rng(seed)
    diseased = rng.random(n) < world.prevalence
    logit = rng.normal(world.healthy + np.where(diseased, world.separation, 0.0), 1.0)
    score = 1.0 / (1.0 + np.exp(-logit))
    scanner = np.where(rng.random(n) < 0.6, "Alpha 1", "Beta 2")
    scanner = np.where(rng.random(n) < world.new_scanner, "Gamma 3", scanner)
    failed = rng.random(n) < 0.01
    sex = np.where(rng.random(n) < 0.5, "female", "male")
    age = np.clip(rng.normal(58, 14, n), 18, 95).round()
    return [
        {
            "case_id": f"{prefix}-{i:05d}",
            "patient_id": f"{prefix}-p{i:05d}",
            "malignant": str(int(diseased[i])),
            "scanner": str(scanner[i]),
            "sex": str(sex[i]),
            "age": str(int(age[i])),
            "p_malignant": "" if failed[i] else f"{score[i]:.6f}",
            "status": "failed" if failed[i] else "ok",
            "model_digest": DEVICE,
        }
        for i in range(n)
    ]


def write(path: Path, rows: list[dict[str, str]], columns: tuple[str, ...] = HEADER) -> Path:
    """A CSV of these columns."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path
