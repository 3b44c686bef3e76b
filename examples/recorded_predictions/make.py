"""Make the small example of recorded predictions: 60 invented cases of 48 patients, and a device's scores for them.

    python examples/recorded_predictions/make.py

Scores follow the binormal model: logit of the score normal with a mean of -1.2 without and +1.2 with the finding. One
case failed on the device, and one was rejected by its quality check, so that the accounting has something to show.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

SEED = 20260101
N_CASES, N_PATIENTS = 60, 48


def tables(seed: int = SEED) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Case table and predictions."""
    rng = np.random.default_rng(seed)
    cases, predictions = [], []
    patients = [*range(1, N_PATIENTS + 1), *sorted(rng.choice(N_PATIENTS, N_CASES - N_PATIENTS, replace=False) + 1)]
    sex = rng.choice(["F", "M"], N_PATIENTS)
    age = rng.integers(25, 88, N_PATIENTS)
    site = rng.choice(["north", "valley"], N_PATIENTS, p=[0.6, 0.4])
    for number, patient in enumerate(patients, start=1):
        finding = rng.random() < 0.45
        logit = rng.normal(1.2 if finding else -1.2, 1.0)
        status = {17: "failed", 42: "rejected"}.get(number, "ok")
        score = f"{1.0 / (1.0 + np.exp(-logit)):.4f}" if status == "ok" else ""
        case_id = f"case{number:03d}"
        cases.append(
            {
                "case_id": case_id,
                "patient_id": f"pat{patient:03d}",
                "site": str(site[patient - 1]),
                "acquired_at": f"2023-{1 + number % 12:02d}-{1 + (7 * number) % 28:02d}",
                "finding": "1" if finding else "0",
                "sex": str(sex[patient - 1]),
                "age": str(age[patient - 1]),
            }
        )
        predictions.append({"case_id": case_id, "status": status, "p_finding": score})
    return cases, predictions


def write(out: Path, seed: int = SEED) -> None:
    """Write `cases.csv` and `predictions.csv` into the folder `out`."""
    for name, rows in zip(("cases.csv", "predictions.csv"), tables(seed), strict=True):
        with (out / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the example of recorded predictions.")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    write(parser.parse_args().out)
