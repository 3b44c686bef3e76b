"""What a study of a million cases costs after the model has answered: lock, run with recorded predictions, verify.

    python -P benchmarks/scale.py --cases 10000 100000 1000000
    python -P benchmarks/scale.py --cases 100000 --images      # what the number of files costs, whatever their size
    python -P benchmarks/scale.py --shards 500                 # how fast one driver stores what its workers answer

Every stage is a command of its own, timed from outside with its peak memory, on a study of one case per patient, six
metrics, five strata cells and a bootstrap of 2,000 replicates. The report is measured by itself (benchmarks/report.py):
it does not grow with the cases.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

PROTOCOL = {
    "schema": "evalsuite/protocol/1",
    "id": "scale",
    "version": "1.0.0",
    "title": "Cost of many cases",
    "kind": "standalone",
    "intended_use": {"indications": "none: a measurement"},
    "task": {"kind": "binary", "reference": "truth", "score": "p_disease"},
    "unit": {"case": "case_id", "cluster": "patient_id"},
    "operating_points": [{"name": "primary", "threshold": 0.5, "source": "fixed beforehand"}],
    "endpoints": [
        {
            "name": "discrimination",
            "metric": "auroc",
            "role": "primary",
            "criterion": {"bound": "lower", "op": ">", "value": 0.6},
        },
        {"name": "sensitivity", "metric": "sensitivity", "at": "primary", "role": "secondary"},
        {"name": "specificity", "metric": "specificity", "at": "primary", "role": "secondary"},
        {"name": "ppv", "metric": "ppv", "at": "primary", "role": "secondary"},
        {"name": "f1", "metric": "f1", "at": "primary", "role": "secondary"},
        {"name": "brier", "metric": "brier", "role": "secondary"},
    ],
    "strata": ["sex", "site"],
    "disclose": ["sex", "site"],
    "seed": 11,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One stage: seconds of the clock, seconds of the processor, peak memory in MB, bytes it left behind."""

    stage: str
    cases: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    left_mb: float


def make_tables(folder: Path, n: int, *, images: bool) -> None:
    """Case table, recorded predictions and protocol of `n` cases; with `images` a small PNG file for each."""
    rng = np.random.default_rng(1)
    truth = rng.random(n) < 0.1
    ids = [f"c{i:08d}" for i in range(n)]
    pd.DataFrame(
        {
            "case_id": ids,
            **({"image": make_images(folder, n)} if images else {}),
            "patient_id": [f"p{i:08d}" for i in range(n)],
            "truth": truth.astype(int),
            "sex": np.where(rng.random(n) < 0.5, "female", "male"),
            "site": rng.choice(["a", "b", "c"], n),
        }
    ).to_parquet(folder / "cases.parquet")
    score = 1 / (1 + np.exp(-(rng.standard_normal(n) + 1.2 * truth - 1.0)))
    pd.DataFrame({"case_id": ids, "p_disease": score}).to_parquet(folder / "predictions.parquet")
    (folder / "protocol.yaml").write_text(yaml.safe_dump(PROTOCOL, sort_keys=False))


def make_images(folder: Path, n: int) -> list[str]:
    """Names of `n` PNG files of 16 × 16 noise, a thousand to a folder."""
    import cv2

    rng = np.random.default_rng(2)
    names = [f"images/{i // 1000:05d}/{i:08d}.png" for i in range(n)]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), rng.integers(0, 256, (16, 16), dtype=np.uint8))
    return names


def shards_stored(folder: Path, n: int) -> float:
    """Cases per second that one process stores: shards of the usual size with one output, each synced to the disk."""
    from evalsuite.inference.settings import InferenceSettings
    from evalsuite.inference.store import Shard, write_shard

    size = InferenceSettings().shard_size
    shard = Shard(reasons=(None,) * size, outputs={"p_disease": np.random.default_rng(3).random(size)})
    begun = time.perf_counter()
    for i in range(n):
        write_shard(folder / "shards", f"{i:064d}", shard)
    return n * size / (time.perf_counter() - begun)


def measured(stage: str, n: int, words: list[str], left: Path) -> Cost:
    """Run a command to its end; its children's time and the peak of the largest of them."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "evalsuite", *words], stdout=subprocess.PIPE)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, _rss_mb(process.pid))
        time.sleep(0.05)
    assert process.stdout is not None
    process.stdout.close()
    if process.returncode not in (0, 1):
        raise SystemExit(f"{words[0]} of {n} cases ended with {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(
        stage=stage,
        cases=n,
        wall_s=time.perf_counter() - begun,
        cpu_s=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        peak_mb=peak,
        left_mb=sum(p.stat().st_size for p in left.rglob("*") if p.is_file()) / 1e6,
    )


def _rss_mb(number: int) -> float:
    """Memory of a process and its children, in MB; 0 where there is no /proc."""
    found = 0.0
    todo = [number]
    while todo:
        pid = todo.pop()
        try:
            found += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
            for task in Path(f"/proc/{pid}/task").iterdir():
                todo += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def costs(folder: Path, n: int, *, images: bool) -> list[Cost]:
    """All stages of a study of `n` cases."""
    make_tables(folder, n, images=images)
    protocol, testset, run = folder / "protocol.yaml", folder / "set", folder / "run"
    bound = ["--testset", str(testset), "--model", str(folder / "predictions.parquet"), "--out", str(run)]
    lock = ["lock", str(folder / "cases.parquet"), "--protocol", str(protocol), "--out", str(testset)]
    return [
        measured(f"lock ({n:,} images)" if images else "lock (no images)", n, lock, testset),
        measured("predict (recorded)", n, ["predict", str(protocol), *bound], run),
        measured("score: evaluate and judge", n, ["score", str(run)], run),
        measured("verify", n, ["verify", str(run)], run),
    ]


def main(arguments: Iterable[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--images", action="store_true", help="with a small image for every case")
    parser.add_argument("--shards", type=int, help="store so many shards instead")
    options = parser.parse_args(None if arguments is None else list(arguments))
    if options.shards:
        with tempfile.TemporaryDirectory() as scratch:
            print(f"{shards_stored(Path(scratch), options.shards):,.0f} cases stored per second")
        return 0
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} from other work at the start.\n")
    print(
        "| cases | stage | wall (s) | processor (s) | peak memory (MB) | folder (MB) |\n|---:|---|---:|---:|---:|---:|"
    )
    for n in options.cases:
        with tempfile.TemporaryDirectory() as scratch:
            for c in costs(Path(scratch), n, images=options.images):
                print(
                    f"| {n:,} | {c.stage} | {c.wall_s:.1f} | {c.cpu_s:.1f} | {c.peak_mb:,.0f} | {c.left_mb:.1f} |",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
