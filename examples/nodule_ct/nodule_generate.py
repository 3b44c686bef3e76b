"""Make a set of chest-CT phantoms: a DICOM series per scan, a case table, and a table of the nodules in them.

    python examples/nodule_ct/nodule_generate.py --out demo-detection/data --patients 90 --seed 20261203

The same seed gives the same bytes. Everything is invented: anatomy, patients, scanners and dates.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).resolve().parent
if str(_HERE) not in sys.path:
    sys.path.insert(0, str(_HERE))

import numpy as np  # noqa: E402
from nodule_phantom import FIELD_MM, SCANNERS, Patient, Scanner, draw_patient, render  # noqa: E402
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.uid import ExplicitVRLittleEndian  # noqa: E402

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
CASE_COLUMNS = ("case_id", "patient_id", "image", "nodules", "site", "sex", "age", "kernel", "slice_mm")
NODULE_COLUMNS = ("case_id", "x", "y", "z", "diameter_mm", "type", "location")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """One scan of one patient."""

    case_id: str
    patient_id: str
    sex: str
    age: int
    scanner: Scanner
    patient: Patient


def scans(
    n_patients: int, *, seed: int, borealis: float = 0.4, field_mm: tuple[float, float, float] = FIELD_MM
) -> list[Scan]:
    """The scans of `n_patients`, one or two each; a share of `borealis` on the second scanner. More patients leave the
    first ones unchanged."""
    found = []
    for i in range(n_patients):
        rng = np.random.default_rng([seed, i])
        scanner = SCANNERS[int(rng.random() < borealis)]
        sex, age = str(rng.choice(["F", "M"])), int(np.clip(rng.normal(63, 11), 30, 90))
        patient = draw_patient(rng, seed=int(rng.integers(2**31)), field_mm=field_mm)
        for k in range(1 + int(rng.random() < 0.25)):
            again = Patient(nodules=patient.nodules, seed=patient.seed + k, field_mm=field_mm)
            found.append(
                Scan(
                    case_id=f"n{i:04d}-{k + 1}", patient_id=f"p{i:04d}", sex=sex, age=age, scanner=scanner,
                    patient=again,
                )
            )  # fmt: skip
    return found


def uid(*parts: object) -> str:
    """A UID under 2.25 derived from its parts alone, so that the same seed gives the same file."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big') >> 1}"


def write_series(folder: Path, scan: Scan, *, seed: int) -> None:
    """The scan's slices as DICOM CT images; all of it is invented, the pseudonym stands in place of a name."""
    folder.mkdir(parents=True, exist_ok=True)
    volume, unit = render(scan.patient, scan.scanner), scan.scanner
    across = unit.spacing_mm
    for i, plane in enumerate(volume):
        ds = Dataset()
        ds.SOPClassUID, ds.SOPInstanceUID = CT_IMAGE, uid(seed, scan.case_id, i)
        ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = "20260301"
        ds.StudyTime, ds.AccessionNumber, ds.ReferringPhysicianName = "090000", "", ""
        ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = "CT", unit.manufacturer, unit.model
        ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "", scan.patient_id, "", scan.sex
        ds.BodyPartExamined, ds.SliceThickness, ds.KVP = "CHEST", str(across[0]), "120"
        ds.ConvolutionKernel = unit.kernel
        ds.StudyInstanceUID, ds.SeriesInstanceUID = uid(seed, scan.case_id, "study"), uid(seed, scan.case_id, "series")
        ds.FrameOfReferenceUID = uid(seed, scan.case_id, "frame")
        ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = "", "1", str(i + 1)
        ds.PositionReferenceIndicator = ""
        ds.ImagePositionPatient = ["0", "0", f"{i * across[0]:g}"]
        ds.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
        ds.PixelSpacing = [str(across[1]), str(across[2])]
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.Rows, ds.Columns = plane.shape
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "HU"
        ds.WindowCenter, ds.WindowWidth, ds.BurnedInAnnotation = "-500", "1400", "NO"
        ds.PixelData = np.ascontiguousarray(plane.astype("<i2")).tobytes()
        ds["PixelData"].VR = "OW"
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CT_IMAGE, ds.SOPInstanceUID
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        # Ours, not the library's: the bytes must not change with the version that wrote them.
        meta.ImplementationClassUID, meta.ImplementationVersionName = uid("nodule phantom"), "NODULEPHANTOM_1"
        ds.file_meta = meta
        ds.save_as(folder / f"{i:03d}.dcm", enforce_file_format=True)


def nodule_rows(scan: Scan) -> list[dict[str, str]]:
    """The scan's nodules in DICOM patient coordinates: x to the left, y to the back, z to the head."""
    return [
        {
            "case_id": scan.case_id,
            "x": f"{nodule.centre_mm[2]:g}",
            "y": f"{nodule.centre_mm[1]:g}",
            "z": f"{nodule.centre_mm[0]:g}",
            "diameter_mm": f"{nodule.diameter_mm:g}",
            "type": nodule.kind,
            "location": nodule.location,
        }
        for nodule in scan.patient.nodules
    ]


def _table(path: Path, columns: tuple[str, ...], rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def generate(
    out: Path | str,
    *,
    n_patients: int,
    seed: int,
    borealis: float = 0.4,
    field_mm: tuple[float, float, float] = FIELD_MM,
    on_case: Callable[[int, int], None] | None = None,
    threads: int = 2,
) -> Path:
    """Write the set into the folder `out` and return the path of its case table.

    ValueError if there is no patient or `borealis`, the share of the second scanner, is not between 0 and 1.
    """
    if n_patients < 1 or not 0.0 <= borealis <= 1.0:
        raise ValueError("at least one patient, and a share between 0 and 1")
    out = Path(out)
    todo = scans(n_patients, seed=seed, borealis=borealis, field_mm=field_mm)
    with ThreadPoolExecutor(max(1, threads)) as pool:
        made = pool.map(lambda scan: write_series(out / "images" / scan.case_id, scan, seed=seed), todo)
        for done, _ in enumerate(made, start=1):
            if on_case is not None:
                on_case(done, len(todo))
    cases = [
        {
            "case_id": scan.case_id,
            "patient_id": scan.patient_id,
            "image": f"images/{scan.case_id}",
            "nodules": "nodules.csv",
            "site": "north" if scan.scanner is SCANNERS[0] else "south",
            "sex": scan.sex,
            "age": str(scan.age),
            "kernel": scan.scanner.kernel,
            "slice_mm": f"{scan.scanner.spacing_mm[0]:g}",
        }
        for scan in todo
    ]
    _table(out / "nodules.csv", NODULE_COLUMNS, [row for scan in todo for row in nodule_rows(scan)])
    _table(out / "cases.csv", CASE_COLUMNS, cases)
    return out / "cases.csv"


def main(argv: list[str] | None = None) -> int:
    """Command line of the generator."""
    parser = argparse.ArgumentParser(description="Make chest-CT phantoms as DICOM series with tables.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--patients", type=int, default=90)
    parser.add_argument("--seed", type=int, default=20261203)
    parser.add_argument("--borealis", type=float, default=0.4, metavar="P", help="share of the second scanner")
    args = parser.parse_args(argv)
    generate(args.out, n_patients=args.patients, seed=args.seed, borealis=args.borealis)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
