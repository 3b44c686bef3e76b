"""Matching of 45,549 marks on 888 scans with 1,186 nodules, and the FROC with 1,000 bootstraps over patients.

    python -P benchmarks/detection.py [--out FILE]

The size of LUNA16. Beside it the loop that many scripts have: draw scans, collect their marks, sort, interpolate. Times
are CPU seconds on one thread, the first call (which compiles or loads machine code) apart. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from evalsuite.stats import detection, matching
from evalsuite.stats._resampled import read, replicated
from evalsuite.stats.draw import PatientDraw

SCANS, NODULES, MARKS, REPLICATES = 888, 1186, 45_549, 1000
LOOPED = 20


def study() -> dict[str, np.ndarray]:
    """Scans, nodules and marks at random; 85 % of the nodules have a mark nearby, with higher scores than elsewhere."""
    rng = np.random.default_rng(1)
    nodule_case = np.sort(rng.integers(0, 601, NODULES))
    nodule_mm = rng.uniform(0.0, 300.0, (NODULES, 3))
    near = np.flatnonzero(rng.random(NODULES) < 0.85)
    rest = MARKS - near.size
    mark_case = np.concatenate([nodule_case[near], rng.integers(0, SCANS, rest)])
    mark_mm = np.concatenate([nodule_mm[near] + rng.normal(0, 1, (near.size, 3)), rng.uniform(0, 300, (rest, 3))])
    score = np.concatenate([rng.beta(5, 2, near.size), rng.beta(1, 12, rest)])
    return {
        "nodule_case": nodule_case,
        "nodule_mm": nodule_mm,
        "radius": rng.uniform(2, 15, NODULES),
        "mark_case": mark_case,
        "mark_mm": mark_mm,
        "score": score,
    }


def matched(d: dict[str, np.ndarray]) -> detection.Detections:
    pairs = matching.pairs_by_distance(d["mark_case"], d["mark_mm"], d["nodule_case"], d["nodule_mm"], d["radius"])
    m = matching.match(pairs, d["score"], NODULES)
    return detection.Detections(
        abnormal=np.bincount(d["nodule_case"], minlength=SCANS) > 0,
        lesion_case=d["nodule_case"],
        lesion_score=np.where(m.found, d["score"][m.mark_of], -np.inf),
        false_case=d["mark_case"][m.false],
        false_score=d["score"][m.false],
    )


def bootstrap(found: detection.Detections) -> float:
    draw = PatientDraw(np.arange(SCANS), REPLICATES, 1)
    asked = detection.cpm(draw, found)
    table = replicated(draw, asked.material, asked.statistics, with_jackknife=False, threads=1)
    return float(read(table, method="percentile")[0][0].low or 0.0)


def loop(found: detection.Detections, replicates: int) -> float:
    """Scan by scan: lists of scores, drawn, joined, sorted and interpolated."""
    rng = np.random.default_rng(1)
    hits = [found.lesion_score[found.lesion_case == i] for i in range(SCANS)]
    misses = [found.false_score[found.false_case == i] for i in range(SCANS)]
    out = []
    for _ in range(replicates):
        scans = rng.integers(0, SCANS, SCANS)
        hit, miss = (np.concatenate([part[i] for i in scans]) for part in (hits, misses))
        threshold = np.unique(np.concatenate([hit[np.isfinite(hit)], miss]))[::-1]
        x = (miss.size - np.searchsorted(np.sort(miss), threshold)) / SCANS
        y = (hit.size - np.searchsorted(np.sort(hit), threshold)) / hit.size
        out.append(np.interp(detection.CPM_RATES, x, y).mean())
    return float(np.quantile(out, 0.025))


def timed(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def table() -> str:
    d = study()
    first = timed(lambda: bootstrap(matched(d)))
    found = matched(d)
    rows = [
        ("matching", float(np.median([timed(lambda: matched(d)) for _ in range(5)]))),
        (f"CPM, {REPLICATES:,} bootstraps", float(np.median([timed(lambda: bootstrap(found)) for _ in range(5)]))),
        (f"the same by a loop (from {LOOPED})", timed(lambda: loop(found, LOOPED)) * REPLICATES / LOOPED),
        ("first call of a process", first),
    ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    text = [f"{name:34s}{seconds:9.3f}" for name, seconds in rows]
    title = f"# FROC of {MARKS:,} marks on {SCANS} scans"
    return "\n".join([title, "", "```", f"{'':34s}{'CPU s':>9s}", *text, "", f"peak {peak:.0f} MB", "```", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    text = table()
    print(text)
    if asked.out:
        asked.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
