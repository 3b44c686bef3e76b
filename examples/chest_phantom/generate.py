"""Make a set of chest-radiograph phantoms: DICOM images, a case table, and lesion masks in a folder of their own.

    python examples/chest_phantom/generate.py --out demo/data --patients 250 --seed 20260101 --profile test

The same seed gives the same bytes. Everything is invented: anatomy, patients, sites, manufacturers and dates.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

_HERE = Path(__file__).resolve().parent
if str(_HERE) not in sys.path:
    sys.path.insert(0, str(_HERE))

from phantom.dicom_writer import write  # noqa: E402
from phantom.patients import PROFILES, Study, studies  # noqa: E402
from phantom.render import render  # noqa: E402
from PIL import Image  # noqa: E402

COLUMNS = (
    "case_id", "patient_id", "study_id", "image", "site", "acquired_at", "sex", "age", "nodule", "nodule_size_mm",
    "marker", "nodule_mask",
)  # fmt: skip


def row(study: Study) -> dict[str, str]:
    """The study's row of the case table."""
    sizes = [nodule.diameter_mm for nodule in study.body.nodules]
    return {
        "case_id": study.case_id,
        "patient_id": study.patient_id,
        "study_id": f"s{study.patient:04d}-{study.study}",
        "image": f"images/{study.case_id}.dcm",
        "site": study.site,
        "acquired_at": study.day.isoformat(),
        "sex": study.sex,
        "age": str(study.age_years),
        "nodule": "1" if sizes else "0",
        "nodule_size_mm": f"{max(sizes):.1f}" if sizes else "",
        "marker": "portable" if study.marker else "none",
        "nodule_mask": f"masks/{study.case_id}.png" if sizes else "",
    }


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
    profile: str = "test",
    markers_with_disease: float | None = None,
    on_case: Callable[[int, int], None] | None = None,
    threads: int = 2,
) -> Path:
    """Write the set into the folder `out` and return the path of its case table.

    Parameters
    ----------
    n_patients
        Patients to invent, one to three studies each (1.6 on average).
    seed
        Decides everything; the same seed gives the same bytes.
    profile
        ``test``, ``train`` or ``clean``: which sites, how many nodules, and whether the marker goes with disease.
    markers_with_disease
        Share of images with a nodule that carry the text marker, instead of the profile's.
    on_case
        Called as ``on_case(done, total)`` after each image.
    threads
        Images drawn side by side; their number changes nothing but the time.

    Raises
    ------
    ValueError
        If the profile is unknown, `n_patients` is under 1 or a share is not between 0 and 1.
    """
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}: choose one of {', '.join(PROFILES)}")
    if n_patients < 1:
        raise ValueError("n_patients must be at least 1")
    chosen = PROFILES[profile]
    if markers_with_disease is not None:
        if not 0.0 <= markers_with_disease <= 1.0:
            raise ValueError("markers_with_disease must lie between 0 and 1")
        chosen = replace(chosen, marker_with_nodule=markers_with_disease)
    out = Path(out)
    for folder in ("images", "masks"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    todo = list(studies(n_patients, seed=seed, profile=chosen))

    def make(study: Study) -> dict[str, str]:
        radiograph = render(study)
        entry = row(study)
        write(out / entry["image"], study, radiograph, seed=seed)
        if study.body.nodules:
            Image.fromarray(radiograph.mask.astype("uint8") * 255).save(out / entry["nodule_mask"])
        return entry

    rows = []
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for done, entry in enumerate(pool.map(make, todo), start=1):
            rows.append(entry)
            if on_case is not None:
                on_case(done, len(todo))
    masks = [{"case_id": r["case_id"], "mask": r["nodule_mask"]} for r in rows if r["nodule_mask"]]
    _table(out / "cases.csv", COLUMNS, rows)
    _table(out / "masks.csv", ("case_id", "mask"), masks)
    return out / "cases.csv"


def main(argv: list[str] | None = None) -> int:
    """Command line of the generator."""
    parser = argparse.ArgumentParser(description="Make chest-radiograph phantoms as DICOM with a case table.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--patients", type=int, default=250, help="number of patients (default 250, about 400 images)")
    parser.add_argument("--seed", type=int, default=20260101)
    parser.add_argument("--profile", choices=sorted(PROFILES), default="test")
    parser.add_argument("--markers-with-disease", type=float, metavar="P", help="share of nodule images with a marker")
    parser.add_argument("--verbose", action="store_true", help="say what was written")
    args = parser.parse_args(argv)
    cases = generate(
        args.out, n_patients=args.patients, seed=args.seed, profile=args.profile,
        markers_with_disease=args.markers_with_disease,
    )  # fmt: skip
    if args.verbose:
        sys.stderr.write(f"{cases}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
