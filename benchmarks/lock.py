"""How fast a test set is locked and verified, beside `sha256sum` on all processors: GB/s, medians, and the ratio.

    python benchmarks/lock.py [--megabytes 5000] [--repeats 3]

Four sets: files of 10 MB, of 0.5 MB and of 50 kB with random bytes, and CT slices in DICOM (0.5 MB, a header of a
hundred elements). "Warm": they lie in the page cache when they are read, so this measures hashing and everything around
it. "Cold": they were written out and dropped from the cache just before, so this measures the disk too.

The lock decodes what it decodes by default: 200 images of the sets of 5 GB, all of the small files (under 1 GB in all);
random bytes are no image and fail at once. Each round measures every row once, so that a busy moment hits all of them;
the tables show medians. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from evalsuite.record.digest import usable_cpus
from evalsuite.testset import IntakeOptions, lock_testset, open_testset
from evalsuite.testset.intake import DecodeCheck

UTC = "2026-01-01T00:00:00Z"


def make(folder: Path, n_files: int, content: bytes, suffix: str) -> Path:
    """A case table of `n_files` images that differ in their last eight bytes."""
    images = folder / "images"
    images.mkdir(parents=True)
    for i in range(n_files):
        (images / f"{i:06d}{suffix}").write_bytes(content[:-8] + i.to_bytes(8, "big"))
    rows = "".join(f"c{i},images/{i:06d}{suffix},{i % 2}\n" for i in range(n_files))
    (folder / "cases.csv").write_text("case_id,image,malignant\n" + rows)
    return folder / "cases.csv"


def ct_slice() -> bytes:
    """A CT slice of 512 by 512 pixels with a header as scanners write it: a hundred elements, some of them private."""
    y, x = np.mgrid[:512, :512] / 511
    noise = np.random.default_rng(1).normal(0, 10, (512, 512))
    pixels = (1000 * np.sin(5 * x) * np.cos(4 * y) + noise).astype(np.int16)
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.4"
    data.StudyInstanceUID, data.SeriesInstanceUID, data.Modality = "1.2.3.1", "1.2.3.2", "CT"
    data.PatientID, data.PatientSex, data.PatientAge, data.BodyPartExamined = "p1", "F", "061Y", "CHEST"
    data.Manufacturer, data.ManufacturerModelName, data.SoftwareVersions = "ACME", "CT 1", ["a1", "b2"]
    data.ImageType, data.StudyDate, data.StudyTime = ["ORIGINAL", "PRIMARY", "AXIAL"], "20250101", "101112.123"
    data.KVP, data.ExposureTime, data.XRayTubeCurrent, data.Exposure = "120", "500", "200", "100"
    data.ConvolutionKernel, data.FilterType, data.SliceThickness = "B30f", "BODY", "1.25"
    data.PixelSpacing, data.ImagePositionPatient = [0.7, 0.7], [-179.0, -179.0, 12.5]
    data.ImageOrientationPatient, data.PatientPosition, data.InstanceNumber = [1, 0, 0, 0, 1, 0], "HFS", "7"
    data.RescaleSlope, data.RescaleIntercept, data.WindowCenter, data.WindowWidth = "1", "-1024", "40", "400"
    block = data.private_block(0x0099, "ACME", create=True)
    for i in range(60):
        block.add_new(i, "LO", f"private value {i}")
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows = data.Columns = 512
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    data.PixelData = pixels.tobytes()
    target = io.BytesIO()
    data.save_as(target, enforce_file_format=True)
    return target.getvalue()


def drop_from_cache(files: list[Path]) -> None:
    """Write files out and ask the system to forget their pages."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def seconds_of(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(title: str, folder: Path, n_files: int, content: bytes, suffix: str, repeats: int) -> None:
    """Print one table."""
    table = make(folder, n_files, content, suffix)
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

    rows: dict[str, Callable[[], object]] = {f"sha256sum, xargs -P {cpus}": lambda: by_xargs("sha256sum")}
    if shutil.which("openssl"):
        # coreutils built without OpenSSL does not use the processor's SHA instructions: a fairer peer
        rows[f"openssl, xargs -P {cpus}"] = lambda: by_xargs("openssl", "dgst", "-sha256")
    rows |= {
        "lock, nothing decoded": lambda: lock("none"),
        "lock": lock,
        "verify": lambda: open_testset(folder / "set"),
    }
    cold = {}
    for name, work in rows.items():
        if not name.startswith("openssl"):
            drop_from_cache(files)
            cold[name] = seconds_of(work)
    warm: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(repeats):
        for name, work in rows.items():
            warm[name].append(seconds_of(work))
    gigabytes = n_files * len(content) / 1e9
    size = f"{n_files:,} files of {len(content) / 1e6:.2g} MB, {gigabytes:.2f} GB"
    print(f"\n{title}: {size}, {cpus} processors, {repeats} repeats, load average {os.getloadavg()[0]:.0f}")
    for state, found in (("warm, median", {n: statistics.median(s) for n, s in warm.items()}), ("cold, once", cold)):
        reference = next(iter(found.values()))
        print(f"{state:<24}{'s':>10}{'GB/s':>8}{'speed / sha256sum':>20}")
        for name, value in found.items():
            print(f"{name:<24}{value:>10.3f}{gigabytes / value:>8.2f}{reference / value:>20.2f}", flush=True)
    shutil.rmtree(folder)


def main() -> None:
    """Parse the options and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=5000, help="size of each set, but that of small files")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    megabytes, bytes_of = options.megabytes, random.Random(1).randbytes
    print("# Locking beside sha256sum\n\n```")
    with tempfile.TemporaryDirectory() as scratch:
        for title, n_files, content, suffix in (
            ("Large files", megabytes // 10, bytes_of(10_000_000), ".bin"),
            ("Half-megabyte files", megabytes * 2, bytes_of(500_000), ".bin"),
            ("Small files", megabytes * 4 // 5, bytes_of(50_000), ".bin"),
            ("CT slices in DICOM", megabytes * 2, ct_slice(), ".dcm"),
        ):
            measure(title, Path(scratch) / suffix[1:], max(1, n_files), content, suffix, options.repeats)
    print("```")


if __name__ == "__main__":
    main()
