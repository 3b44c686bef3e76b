"""Reader studies: time and memory of the analyses at the size of a large study, and of a thousand simulated ones.

    python -P benchmarks/readers.py [--out FILE]

20 readers, 2,000 cases and 2 treatments; 1,000 simulated studies of 5 readers and 200 cases (Roe-Metz, "HH 1.5").
Times are CPU seconds on one thread. The peers (MRMCaov and RJafroc for R, iMRMC for Java) are not on Debian or PyPI and
are not run here; their figures are in the tests. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from evalsuite.stats import obuchowski_rockette as orh
from evalsuite.stats import reader_ustatistics as ustat
from evalsuite.stats.reader_figures import Covariance, reader_figures
from evalsuite.stats.reader_simulation import ROE_METZ, simulate_readings

STRUCTURE = ROE_METZ["HH 1.5"]


def _timed(work: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def _obuchowski_rockette(readers: int, half: int, covariance: Covariance) -> Callable[[], object]:
    study = simulate_readings(np.random.default_rng(1), STRUCTURE, readers=readers, n_positive=half, n_negative=half)
    return lambda: orh.difference(reader_figures(study, covariance=covariance), study, 0, 1)


def _u_statistics(readers: int, half: int) -> Callable[[], object]:
    study = simulate_readings(np.random.default_rng(1), STRUCTURE, readers=readers, n_positive=half, n_negative=half)
    return lambda: ustat.auroc_difference(study, 0, 1)


def _simulated(studies: int) -> None:
    rng = np.random.default_rng(2)
    for _ in range(studies):
        study = simulate_readings(rng, STRUCTURE, readers=5, n_positive=100, n_negative=100)
        orh.difference(reader_figures(study), study, 0, 1)


def table() -> str:
    large, small = "20 readers × 2,000 cases × 2", "5 readers × 200 cases × 2"
    rows = [
        (f"Obuchowski-Rockette, jackknife, {large}", _timed(_obuchowski_rockette(20, 1000, "jackknife"), 5), 5.0),
        (f"Obuchowski-Rockette, DeLong, {large}", _timed(_obuchowski_rockette(20, 1000, "delong"), 5), 5.0),
        (f"U-statistics, {large}", _timed(_u_statistics(20, 1000), 3), 5.0),
        (f"1,000 simulated studies, Obuchowski-Rockette, {small}", _timed(lambda: _simulated(1000), 1), 60.0),
    ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return "\n".join([
        "# Reader studies: time", "",
        "| what | CPU s, median | goal |", "|---|---|---|",
        *(f"| {name} | {seconds:.2f} | {goal:g} |" for name, seconds, goal in rows),
        "", f"Peak memory of the whole table: {peak:.0f} MB. One thread. `python -P benchmarks/readers.py`", "",
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    text = table()
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
