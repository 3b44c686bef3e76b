"""How often the 95 % patient-bootstrap interval holds the true value, in simulated studies with several classes.

Run from the repository: python benchmarks/coverage_several_classes.py [studies]
Each study draws patients with 1 to 3 cases that share a random effect; the true value comes from a million patients.
"""

from __future__ import annotations

import sys

import numpy as np

from evalsuite.stats import averages, multiclass
from evalsuite.stats.draw import PatientDraw

NAMES = ("a", "b", "c", "d")
SHARE = np.array([0.15, 0.5, 0.15, 0.2])
WHOLE = ("accuracy", "kappa", "mcc", "hand_till", "multiclass_brier")
MEAN = ("macro_sensitivity", "macro_f1", "weighted_f1", "macro_auroc", "macro_average_precision")
REPLICATES = 1000


def cases(rng: np.random.Generator, patients: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patient, class and probabilities of each case."""
    who = np.repeat(np.arange(patients), rng.integers(1, 4, patients))
    truth = rng.choice(4, who.size, p=SHARE)
    z = rng.normal(size=(who.size, 4)) + 1.5 * np.eye(4)[truth] + 0.6 * rng.normal(size=(patients, 4))[who]
    p = np.exp(z)
    return who, truth, p / p.sum(axis=1, keepdims=True)


def estimates(who: np.ndarray, truth: np.ndarray, p: np.ndarray, replicates: int, seed: int) -> list:
    sample = multiclass.class_sample(truth, NAMES, probability=p)
    draw = PatientDraw(who, replicates=replicates, seed=seed)
    method = "bca" if replicates > 2 else "percentile"
    whole = multiclass.multiclass_bootstrap(draw, sample, WHOLE, method=method, threads=1)[0]
    mean = averages.averaged(draw, multiclass.one_vs_rest(sample), MEAN, method=method, threads=1)[0]
    return [*whole, *mean]


def main(studies: int) -> None:
    truth = [e.value for e in estimates(*cases(np.random.default_rng(1), 1_000_000), 2, 1)]
    print(f"# Coverage of 95 % BCa intervals, several classes: {studies} studies, {REPLICATES} replicates\n")
    print("| patients | " + " | ".join((*WHOLE, *MEAN)) + " | without interval |")
    print("|---|" + "---|" * (len(truth) + 1))
    for patients in (40, 100, 300):
        rng = np.random.default_rng(patients)
        held, given, none = np.zeros(len(truth)), np.zeros(len(truth)), 0
        for study in range(studies):
            found = estimates(*cases(rng, patients), REPLICATES, study)
            for i, (e, t) in enumerate(zip(found, truth, strict=True)):
                if e.low is None or e.high is None:
                    none += 1
                    continue
                given[i] += 1
                held[i] += e.low <= t <= e.high
        row = " | ".join(f"{100 * h / g:.1f}" for h, g in zip(held, given, strict=True))
        print(f"| {patients} | {row} | {100 * none / (studies * len(truth)):.1f} % |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
