"""Tables of groups with intervals, and all gaps of a large study, beside fairlearn's bootstrap.

    python -P benchmarks/bias.py [--out FILE] [--quick]

Times are CPU seconds on one thread, the first call (which compiles or loads machine code) apart. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

from evalsuite.analyses.bias import gaps_between_groups
from evalsuite.analyses.population import build_population
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.bootstrap import PatientDraw, binary_bootstrap
from evalsuite.testset.strata import assign_strata

CASES, GROUPS, REPLICATES, LOOPED = 5_000, 4, 2_000, 20
LARGE, SCANNERS = 100_000, 60
METRICS = ("sensitivity", "specificity", "ppv", "npv", "accuracy")


def cases(n: int, seed: int = 1) -> pd.DataFrame:
    """Truth, score and attributes at random; one scanner in ten does worse."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.3
    scanner = rng.integers(0, SCANNERS, n)
    logit = rng.normal(size=n) + 1.8 * truth - 1.2 - 0.5 * (scanner % 10 == 0)
    return pd.DataFrame(
        {
            "case_id": [f"c{i}" for i in range(n)],
            "truth": np.where(truth, "1", "0"),
            "p": 1.0 / (1.0 + np.exp(-logit)),
            "scanner": [f"s{k:02d}" for k in scanner],
            "sex": np.where(rng.random(n) < 0.5, "f", "m"),
            "age": rng.integers(20, 90, n).astype(str),
            "severity": np.array(["mild", "moderate", "severe"])[rng.integers(0, 3, n)],
            "group": [f"g{k}" for k in rng.integers(0, GROUPS, n)],
        }
    )


def small_table(data: pd.DataFrame) -> None:
    """Five metrics in every group with patient-bootstrap intervals."""
    draw = PatientDraw(np.arange(len(data)), REPLICATES, 1)
    masks = np.array([data["group"] == g for g in sorted(set(data["group"]))])
    binary_bootstrap(
        draw,
        reference=data["truth"].to_numpy() == "1",
        call=data["p"].to_numpy() >= 0.5,
        metrics=METRICS,
        masks=masks,
        method="percentile",
        threads=1,
    )


def fairlearns(data: pd.DataFrame, replicates: int) -> None:
    """The same table by fairlearn, resampling rows."""
    from fairlearn.metrics import MetricFrame, selection_rate, true_negative_rate, true_positive_rate
    from sklearn.metrics import accuracy_score, precision_score

    metrics = {
        "sensitivity": true_positive_rate,
        "specificity": true_negative_rate,
        "ppv": precision_score,
        "selection": selection_rate,
        "accuracy": accuracy_score,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        MetricFrame(
            metrics=metrics,
            y_true=data["truth"].to_numpy() == "1",
            y_pred=data["p"].to_numpy() >= 0.5,
            sensitive_features=data["group"],
            n_boot=replicates,
            ci_quantiles=[0.025, 0.975],
            random_state=1,
        )


def protocol() -> StudyProtocol:
    """Sixty scanners, sex, age, and crosses of them; every metric, margins, case mix."""
    return StudyProtocol.model_validate(
        {
            "schema": "evalsuite/protocol/1",
            "id": "b",
            "version": "1",
            "title": "b",
            "kind": "standalone",
            "intended_use": {},
            "task": {"kind": "binary", "reference": "truth", "score": "p"},
            "unit": {},
            "operating_points": [{"name": "primary", "threshold": 0.5}],
            "endpoints": [{"name": "area", "metric": "auroc"}],
            "strata": [
                {"name": "scanner", "column": "scanner"},
                {"name": "sex", "column": "sex"},
                {"name": "age", "column": "age", "bins": [40, 60, 75]},
                {"name": "severity", "column": "severity"},
                {"name": "sex and age", "cross": ["sex", "age"]},
                {"name": "scanner and sex", "cross": ["scanner", "sex"]},
            ],
            "analyses": {
                "bias": {
                    "attributes": ["scanner", "sex", "age", "sex and age", "scanner and sex"],
                    "margins": {"sensitivity": 0.05, "specificity": 0.05, "auroc": 0.05},
                    "case_mix": ["severity"],
                }
            },
            "seed": 1,
        }
    )


def large_study(data: pd.DataFrame) -> int:
    """All groups, gaps, outcomes, worst groups and standardised gaps; the number of findings."""
    asked = protocol()
    table = pd.DataFrame(
        {"case_id": data["case_id"], "rater": "device", "condition": None, "status": "ok", "p": data["p"]}
    )
    ids = tuple(data["case_id"])
    population = build_population(asked, case_id=ids, patient_id=ids, frame=data, predictions=table)
    made = gaps_between_groups(asked, population, assign_strata(data, asked.strata), ())
    return len(made.findings)


def seconds(call: object, *arguments: object) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    call(*arguments)  # type: ignore[operator]
    return time.process_time() - start


def main() -> int:
    """Print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true", help="a tenth of the cases, to see that it runs")
    arguments = parser.parse_args()
    few = 10 if arguments.quick else 1
    small = cases(CASES // few)
    first = seconds(small_table, small)
    own = sorted(seconds(small_table, small) for _ in range(5))[2]
    peer = seconds(fairlearns, small, LOOPED) * REPLICATES / LOOPED
    big = cases(LARGE // few)
    start = time.process_time()
    findings = large_study(big)
    all_gaps = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    lines = [
        "# Groups and gaps: speed",
        "",
        "CPU seconds on one thread, median of five, by `python -P benchmarks/bias.py`.",
        "",
        "| work | evalsuite | fairlearn |",
        "|---|---|---|",
        f"| {len(small):,} cases, {GROUPS} groups, {len(METRICS)} metrics, {REPLICATES:,} replicates | {own:.3f} s "
        f"(first call {first:.2f} s) | {peer:.0f} s (extrapolated from {LOOPED}) |",
        f"| {len(big):,} cases, {SCANNERS} scanners, sex, age and crosses: all metrics, gaps, outcomes, worst groups "
        f"and standardised gaps ({findings:,} findings) | {all_gaps:.1f} s, peak {peak:.2f} GB in all | – |",
    ]
    text = "\n".join(lines) + "\n"
    if arguments.out is None:
        print(text)
    else:
        arguments.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
