"""Speed and memory of drift statistics, and of a whole audit of 100,000 cases with 60 covariates.

    python -P benchmarks/drift.py [--cases N] [--out FILE]

Every measurement runs in a process of its own, on one thread; times are CPU seconds but where wall is said, memory is
the largest that the process had. Nothing is asserted. Beside it stands alibi-detect's MMD test as it was measured on
another day: it needs numpy below 2 and is under the Business Source License, so it is not among what we install.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

SIDE, FEATURES, COVARIATES, BASELINE = 5000, 512, 60, 20_000
ALIBI_S = 100.0


def embeddings(moved: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(SIDE, FEATURES)), rng.normal(moved, 1.0, (SIDE, FEATURES))


def mmd(permutations: int, moved: float) -> dict[str, Any]:
    """MMD of 5,000 and 5,000 embeddings of 512 features."""
    from evalsuite.stats import mmd as stats

    a, b = embeddings(moved)
    bandwidth = stats.median_distance(a)
    started = time.process_time()
    found = stats.mmd_test(a, b, bandwidth=bandwidth, permutations=permutations, seed=1)
    return {"cpu_s": time.process_time() - started, "made": found.permutations, "p": found.p_value}


def needed() -> int:
    """Permutations that the shipped calendar's smallest level asks for, with an embedding beside its other tests."""
    from evalsuite.protocol.load import load_protocol

    drift = load_protocol("drift_audit").analyses.drift
    assert drift is not None
    return drift.model_copy(update={"embeddings": ["e0"], "shuffles": None}).most_shuffles


def table(path: Path, n: int, prefix: str, seed: int, *, moved: bool, outputs: Path | None) -> None:
    """A case table with 40 numbers and 20 groups; five numbers moved where asked."""
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.3
    score = 1.0 / (1.0 + np.exp(-(rng.normal(size=n) + np.where(positive, 1.6, -1.6))))
    columns: dict[str, list[str]] = {
        "case_id": [f"{prefix}{i}" for i in range(n)],
        "patient_id": [f"{prefix}p{i}" for i in range(n)],
        "malignant": [str(int(v)) for v in positive],
    }
    for j in range(COVARIATES):
        if j % 3:
            shift = 0.3 if moved and j < 8 else 0.0
            columns[f"x{j}"] = [f"{v:.4f}" for v in rng.normal(shift, 1.0, n)]
        else:
            columns[f"x{j}"] = [f"g{v}" for v in rng.integers(0, 8, n)]
    answers = {"p_malignant": [f"{v:.5f}" for v in score], "model_digest": ["a" * 64] * n}
    if outputs is None:
        columns |= answers
    else:
        lines = zip(columns["case_id"], *answers.values(), strict=True)
        outputs.write_text("case_id,p_malignant,model_digest\n" + "\n".join(map(",".join, lines)) + "\n")
    rows = zip(*columns.values(), strict=True)
    path.write_text(",".join(columns) + "\n" + "\n".join(map(",".join, rows)) + "\n")


def protocols() -> tuple[str, str]:
    """The validation's and the audit's protocol, from the one that ships."""
    import yaml

    from evalsuite.protocol.load import load_protocol

    body = load_protocol("drift_audit").model_dump(mode="json", by_alias=True)
    study = {k: v for k, v in body.items() if k not in ("analyses", "endpoints")} | {
        "id": "drift-benchmark-validation",
        "kind": "standalone",
        "endpoints": [
            {
                "name": "sensitivity",
                "metric": "sensitivity",
                "at": body["operating_points"][0]["name"],
                "role": "primary",
                "criterion": {"bound": "lower", "op": ">", "value": 0.5},
            }
        ],
    }
    drift = body["analyses"]["drift"]
    drift["covariates"] = [
        {"column": f"x{j}", "kind": "numeric"} if j % 3 else f"x{j}" for j in range(COVARIATES)
    ]  # fmt: skip
    drift |= {"labelled": None, "embeddings": [], "outputs": True}
    for one in (study, body):
        one |= {"strata": [], "disclose": []}
    return yaml.safe_dump(study), yaml.safe_dump(body)


def audit(cases: int, moved: bool) -> dict[str, Any]:
    """Validate on 20,000 cases, then audit a window: locked, frozen, evaluated, reported and entered in the history."""
    from evalsuite.spine import Who, freeze, lock, run
    from evalsuite.spine import audit as audit_window

    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        table(at / "val.csv", BASELINE, "v", 1, moved=False, outputs=at / "outputs.csv")
        table(at / "window.csv", cases, "w", 2, moved=moved, outputs=None)
        for name, text in zip(("validation.yaml", "audit.yaml"), protocols(), strict=True):
            (at / name).write_text(text)
        who = Who(actor="benchmark", now=lambda: "2026-01-10T10:00:00.000Z")
        lock(at / "val.csv", out=at / "val", who=who, protocol=str(at / "audit.yaml"))
        bound: dict[str, Any] = {"testset_path": at / "val", "model_path": at / "outputs.csv", "who": who}
        freeze(at / "validation.yaml", out=at / "frozen", **bound)
        run(at / "frozen", out=at / "base", **bound)
        before, cpu = time.monotonic(), time.process_time()
        later = Who(actor="benchmark", now=lambda: "2026-02-10T10:00:00.000Z")
        made = audit_window(
            at / "audit.yaml", window=at / "window.csv", baseline=at / "base", out=at / "out", who=later
        )
        worst = [i["name"] for i in made.standing.last.indicators if i["status"] == "action"]
        return {
            "wall_s": time.monotonic() - before,
            "cpu_s": time.process_time() - cpu,
            "alarms": len(worst),
            "verdict": made.run.verdict.overall,
        }


JOBS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "mmd-100": lambda a: mmd(100, 0.0),
    "mmd-needed": lambda a: mmd(needed(), 0.0),
    "mmd-needed-near": lambda a: mmd(needed(), 0.02),
    "mmd-needed-far": lambda a: mmd(needed(), 0.2),
    "audit": lambda a: audit(a.cases, False),
    "audit-moved": lambda a: audit(a.cases, True),
}


def measured(job: str, cases: int) -> dict[str, Any]:
    """One job in a process of its own."""
    command = [sys.executable, "-P", __file__, "--job", job, "--cases", str(cases)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def report(found: dict[str, dict[str, Any]], cases: int) -> str:
    m, n = found, needed()

    def row(name: str, job: str, more: str) -> str:
        f = m[job]
        return f"| {name} | {f['cpu_s']:.1f} | {f['peak_mb']:.0f} | {more} |"

    lines = [
        "# Speed of drift audits",
        "",
        "`python -P benchmarks/drift.py`; one thread; CPU seconds and largest memory of the process.",
        "The first call on a machine compiles for some seconds more.",
        "",
        f"| embeddings: {SIDE:,} × {SIDE:,} × {FEATURES}, MMD by permutation | CPU s | MB | |",
        "|---|---|---|---|",
        row("evalsuite, 100 permutations", "mmd-100", f"p = {m['mmd-100']['p']:.3g}"),
        row(f"evalsuite, {n:,} (the shipped calendar's), no change", "mmd-needed", f"{m['mmd-needed']['made']} made"),
        row("… moved so little that all are made", "mmd-needed-near",
            f"{m['mmd-needed-near']['made']:,} made, p = {m['mmd-needed-near']['p']:.2g}"),
        row("… moved far", "mmd-needed-far",
            f"{m['mmd-needed-far']['made']} made, p = {m['mmd-needed-far']['p']:.2g}"),
        f"| alibi-detect 0.13, 100 permutations, as measured elsewhere | {ALIBI_S:.0f} | – | not run here |",
        "",
        "alibi-detect is under the Business Source License and needs numpy below 2: it is not installed here.",
        "Its 100 permutations cannot fall below p = 1/101, which no calendar's level admits.",
        "",
        f"| a whole audit: {cases:,} cases × {COVARIATES} covariates | wall s | CPU s | MB | alarms |",
        "|---|---|---|---|---|",
    ]  # fmt: skip
    for job, name in (("audit", "no covariate moved"), ("audit-moved", "five moved by 0.3 SD")):
        f = m[job]
        lines.append(f"| {name} | {f['wall_s']:.0f} | {f['cpu_s']:.0f} | {f['peak_mb']:.0f} | {f['alarms']} |")
    lines += [
        "",
        "After a validation on 20,000; from the window to the report: locked, frozen, evaluated, judged, sealed.",
        "The memory is that of making the data and of the validation as well.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--job", choices=sorted(JOBS), help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=sorted(JOBS), help="print one measurement")
    asked = parser.parse_args()
    if asked.job:
        found = JOBS[asked.job](asked)
        found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(found))
        return
    if asked.only:
        print(measured(asked.only, asked.cases))
        return
    text = report({job: measured(job, asked.cases) for job in JOBS}, asked.cases)
    print(text)
    if asked.out:
        asked.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
