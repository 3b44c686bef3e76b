"""Case table and readings of a simulated reader study on the patients of the chest phantom.

    python examples/reader_study/make.py --out demo-readers/data

The patients are those of ../chest_phantom, without their images; the readers are simulated by Roe and Metz' model.
The same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy.special import ndtr

from evalsuite.stats.reader_simulation import ROE_METZ, simulate_readings

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "chest_phantom"))

PATIENTS, READERS, SEED = 160, 10, 20261123
STRUCTURE, GAIN = ROE_METZ["HH 1.5"], 0.8
CONDITIONS = ("aided", "unaided")


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def make(out: Path, *, patients: int = PATIENTS, readers: int = READERS, seed: int = SEED) -> tuple[Path, Path]:
    """Write `cases.csv` and `readings.csv` into `out`; return their paths.

    Suspicion is an integer from 0 to 100, 50 halfway between the mean positive and the mean negative case. The device
    alone (`rater` device, no condition) sees what one more reader would, and a little more.
    """
    from phantom.patients import PROFILES, studies

    cases = [s for s in studies(patients, seed=seed, profile=PROFILES["test"]) if s.study == 1]
    truth = np.array([bool(s.body.nodules) for s in cases])
    rng = np.random.default_rng(seed)
    made = simulate_readings(
        rng, STRUCTURE, readers=readers, n_positive=int(truth.sum()), n_negative=int((~truth).sum()), gain=GAIN
    )
    rating = np.empty_like(made.rating)
    rating[:, :, truth], rating[:, :, ~truth] = made.rating[:, :, made.reference], made.rating[:, :, ~made.reference]
    device = rng.normal(np.where(truth, STRUCTURE.separation + GAIN, 0.0), 1.0)

    def suspicion(x: np.ndarray) -> np.ndarray:
        return np.round(100.0 * ndtr(x - STRUCTURE.separation / 2.0)).astype(int)

    table = _write(
        out / "cases.csv",
        ("case_id", "patient_id", "nodule", "sex", "age", "site"),
        ((s.case_id, s.patient_id, int(t), s.sex, s.age_years, s.site) for s, t in zip(cases, truth, strict=True)),
    )
    # Seconds: of readers (log-normal), of cases, and a tenth less with the device.
    pace, effort = rng.normal(0, 0.25, (readers, 1)), rng.normal(0, 0.2, len(cases))
    log_seconds = np.log([[[36.0]], [[40.0]]]) + pace + effort + rng.normal(0, 0.3, rating.shape)
    seconds = np.round(np.exp(log_seconds), 1)
    rows: list[tuple[object, ...]] = [
        (s.case_id, f"reader-{r + 1:02d}", condition, int(value), time)
        for t, condition in enumerate(CONDITIONS)
        for r in range(readers)
        for s, value, time in zip(cases, suspicion(rating[t, r]), seconds[t, r], strict=True)
    ]
    rows += [(s.case_id, "device", "", int(v), "") for s, v in zip(cases, suspicion(device), strict=True)]
    return table, _write(out / "readings.csv", ("case_id", "rater", "condition", "suspicion", "seconds"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--patients", type=int, default=PATIENTS)
    parser.add_argument("--readers", type=int, default=READERS)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    for path in make(arguments.out, patients=arguments.patients, readers=arguments.readers, seed=arguments.seed):
        print(path)


if __name__ == "__main__":
    main()
