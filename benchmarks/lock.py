"""How fast a test set is locked and verified, beside `sha256sum` on all processors: GB/s, medians, and the ratio.

    python benchmarks/lock.py [--megabytes 5000] [--file-megabytes 8] [--repeats 3]

The files are random bytes in a temporary folder. "Warm": they lie in the page cache when they are read, so this
measures hashing and everything around it. "Cold": they were written out and dropped from the cache just before, so this
measures the disk too. A second table has the same for many small files.

The lock decodes what it decodes by default: 200 of the large files, all of the small ones (under 1 GB in all); random
bytes are no image and fail at once. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from evalsuite.record.digest import hash_files, usable_cpus
from evalsuite.testset import IntakeOptions, lock_testset, open_testset
from evalsuite.testset.intake import DecodeCheck

UTC = "2026-01-01T00:00:00Z"


def make(folder: Path, n_files: int, size: int) -> Path:
    """A case table of `n_files` images of `size` random bytes each."""
    images = folder / "images"
    images.mkdir(parents=True)
    block = random.Random(1).randbytes(size)
    for i in range(n_files):
        head = i.to_bytes(8, "big")
        (images / f"{i:06d}.bin").write_bytes((head + block)[:size])
    rows = "".join(f"c{i},images/{i:06d}.bin,{i % 2}\n" for i in range(n_files))
    (folder / "cases.csv").write_text("case_id,image,malignant\n" + rows)
    return folder / "cases.csv"


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Median wall time of `repeats` calls, after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def drop_from_cache(files: list[Path]) -> None:
    """Write files out and ask the system to forget their pages."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def cold_seconds(work: Callable[[], object], files: list[Path]) -> float:
    """Wall time of one call whose files are not in the page cache."""
    drop_from_cache(files)
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(title: str, folder: Path, n_files: int, size: int, repeats: int) -> None:
    """Print one table."""
    table = make(folder, n_files, size)
    files = sorted((folder / "images").iterdir())
    listing = b"\0".join(os.fsencode(f) for f in files)
    cpus = usable_cpus()
    # as many files per call as make every process start once or twice, and no argument list too long
    per_call = max(1, min(500, n_files // (2 * cpus)))

    def by_xargs(*command: str) -> None:
        subprocess.run(
            ["xargs", "-0", "-P", str(cpus), "-n", str(per_call), *command],
            input=listing,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def lock(decode: DecodeCheck = "auto") -> None:
        shutil.rmtree(folder / "set", ignore_errors=True)
        lock_testset(table, folder / "set", actor="benchmark", utc=UTC, intake=IntakeOptions(decode=decode))

    def opened() -> None:
        open_testset(folder / "set")

    cold = {
        f"sha256sum, xargs -P {cpus}": cold_seconds(lambda: by_xargs("sha256sum"), files),
        "lock_testset": cold_seconds(lock, files),
        "open_testset": cold_seconds(opened, files),
    }
    seconds = {f"sha256sum, xargs -P {cpus}": median_seconds(lambda: by_xargs("sha256sum"), repeats)}
    if shutil.which("openssl"):
        # coreutils built without OpenSSL does not use the processor's SHA instructions: a fairer peer
        seconds[f"openssl, xargs -P {cpus}"] = median_seconds(lambda: by_xargs("openssl", "dgst", "-sha256"), repeats)
    seconds |= {
        "hash_files": median_seconds(lambda: hash_files(files), repeats),
        "lock_testset": median_seconds(lock, repeats),
        "  nothing decoded": median_seconds(lambda: lock("none"), repeats),
        "open_testset": median_seconds(opened, repeats),
    }
    gigabytes = n_files * size / 1e9
    print(f"\n{title}: {n_files} files of {size / 1e6:g} MB, {gigabytes:.2f} GB, {cpus} processors, {repeats} repeats")
    for state, found in (("warm, median", seconds), ("cold, once", cold)):
        reference = next(iter(found.values()))
        print(f"{state:<24}{'s':>10}{'GB/s':>8}{'speed / sha256sum':>20}")
        for name, value in found.items():
            print(f"{name:<24}{value:>10.3f}{gigabytes / value:>8.2f}{reference / value:>20.2f}")
    shutil.rmtree(folder)


def main() -> None:
    """Parse the options and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=5000, help="size of the data in the first table")
    parser.add_argument("--file-megabytes", type=float, default=8.0, help="size of one file in the first table")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    size = int(options.file_megabytes * 1e6)
    print("# Locking beside sha256sum\n\n```")
    with tempfile.TemporaryDirectory() as scratch:
        measure(
            "Large files", Path(scratch) / "large", max(1, int(options.megabytes * 1e6) // size), size, options.repeats
        )
        measure("Small files", Path(scratch) / "small", max(1, options.megabytes * 4 // 5), 50_000, options.repeats)
    print("```")


if __name__ == "__main__":
    main()
