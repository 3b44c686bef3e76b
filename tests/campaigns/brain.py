"""A real brain segmenter on a real T1 volume, stored every way round: always the documented counts, or a refusal.

Then from volumes to verdict: no expert has outlined this brain, so the reference is what the segmenter drew, moved by a
few voxels, and Dice is what numpy counts between the two.

Run by `make brain`, which needs the real data beside the checkout (`tests.conftest.SHARED`) and takes some minutes on a
processor: one forward pass of 256³ voxels takes about a minute on one thread.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import yaml

from tests.conftest import SHARED

VOXELS = {"background": 15_523_464, "white_matter": 518_540, "grey_matter": 735_212}  # MODEL.json, "check"
PROTOCOL = """
schema: evalsuite/protocol/1
id: brain-volume
version: 1.0.0
title: Volume of white matter
kind: standalone
intended_use: {indications: "none: a check of the suite"}
task: {kind: regression, reference: truth_mm3, score: volume_mm3_white_matter}
unit: {case: case_id, cluster: patient_id}
endpoints:
  - {name: error, metric: mae, role: primary, maximum: 1000000, criterion: {bound: upper, op: "<", value: 1}}
seed: 1
"""


SCORED = {
    "schema": "evalsuite/protocol/1",
    "id": "brain-outline",
    "version": "1.0.0",
    "title": "Outlines of white and grey matter",
    "kind": "standalone",
    "intended_use": {"indications": "none: a check of the suite"},
    "task": {
        "kind": "segmentation", "reference": "mask", "score": "seg",
        "classes": ["white_matter", "grey_matter"], "labels": [1, 2],
    },
    "unit": {"case": "case_id", "cluster": "patient_id"},
    "endpoints": [
        {"name": "white", "metric": "dice", "target": "white_matter", "role": "primary",
         "criterion": {"bound": "lower", "op": ">", "value": 0.5}},
        {"name": "grey", "metric": "dice", "target": "grey_matter"},
        {"name": "volume", "metric": "volume_error", "target": "white_matter", "maximum": 1000},
    ],
    "confidence": {"bootstrap": {"replicates": 200}},
    "seed": 1,
}  # fmt: skip


def contract(**place: object) -> str:
    """The package's contract, with or without what it says about the place of a volume."""
    image = {"name": "image", "shape": [1, 256, 256, 256], "normalise": "minmax", **place}
    mask = {"name": "seg", "meaning": "mask", "classes": list(VOXELS)}
    return json.dumps({"schema": "evalsuite/model/1", "inputs": [image], "outputs": [mask]})


def volumes(folder: Path) -> dict[str, Path]:
    """The volume as stored, and turned; and without a word about how it lies."""
    stored = SHARED / "real" / "mri_t1_brainchop" / "t1_crop.nii.gz"
    image = nibabel.load(stored)
    found = {"LIA": stored}
    for codes in ("RAS", "PSR"):
        turn = nibabel.orientations.ornt_transform(
            nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(codes)
        )
        found[codes] = folder / f"{codes}.nii.gz"
        nibabel.save(image.as_reoriented(turn), found[codes])
    silent = nibabel.Nifti1Image(np.asanyarray(image.dataobj), image.affine)
    silent.set_sform(None, 0)
    silent.set_qform(None, 0)
    found["none"] = folder / "none.nii.gz"
    nibabel.save(silent, found["none"])
    return found


def predicted(folder: Path, name: str, volume: Path, text: str, flags: list[str]) -> tuple[int, str, Path]:
    """Exit code, messages and run folder of `evalsuite predict` on one volume."""
    here = folder / name
    here.mkdir()
    (here / "cases.csv").write_text(f"case_id,patient_id,image,truth_mm3\nbrain,p1,{volume},{VOXELS['white_matter']}\n")
    (here / "protocol.yaml").write_text(PROTOCOL)
    (here / "contract.json").write_text(text)
    model = SHARED / "real" / "models" / "brain_meshnet5_gwm" / "model.ts"
    program = [sys.executable, "-m", "evalsuite"]
    lock = [*program, "lock", "cases.csv", "--out", "SET", "--reference", "truth_mm3", "--decode-check", "none"]
    subprocess.run(lock, cwd=here, check=True, capture_output=True)
    run = [*program, "predict", "protocol.yaml", "--testset", "SET", "--model", str(model), "--out", "RUN", *flags]
    done = subprocess.run([*run, "--contract", "contract.json"], cwd=here, check=False, capture_output=True, text=True)
    return done.returncode, done.stderr, here / "RUN"


def scored(folder: Path, drawn: dict[str, np.ndarray], files: dict[str, Path], flags: list[str]) -> tuple[str, bool]:
    """Locks, runs and scores a set of these volumes; `drawn` are the labels of each on its own grid."""
    here = folder / "scored"
    here.mkdir()
    rows = ["case_id,patient_id,image,mask"]
    dice: dict[str, list[float]] = {"white": [], "grey": []}
    for k, (codes, labels) in enumerate(drawn.items()):
        reference = np.roll(labels, k + 1, axis=0)
        nibabel.save(nibabel.Nifti1Image(reference, nibabel.load(files[codes]).affine), here / f"{codes}.nii.gz")
        rows.append(f"{codes},p{k},{files[codes]},{codes}.nii.gz")
        for name, value in (("white", 1), ("grey", 2)):
            x, y = reference == value, labels == value
            dice[name].append(2.0 * (x & y).sum() / (x.sum() + y.sum()))
    (here / "cases.csv").write_text("\n".join(rows) + "\n")
    (here / "protocol.yaml").write_text(yaml.safe_dump(SCORED, sort_keys=False))
    (here / "contract.json").write_text(contract(orientation="LIA", spacing_mm=[1, 1, 1]))
    model = SHARED / "real" / "models" / "brain_meshnet5_gwm" / "model.ts"
    program = [sys.executable, "-m", "evalsuite"]
    lock = [*program, "lock", "cases.csv", "--protocol", "protocol.yaml", "--out", "SET", "--decode-check", "none"]
    subprocess.run(lock, cwd=here, check=True, capture_output=True)
    run = [*program, "run", "protocol.yaml", "--testset", "SET", "--model", str(model), "--contract", "contract.json"]
    done = subprocess.run([*run, "--out", "RUN", *flags], cwd=here, check=False, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        return done.stderr.strip().splitlines()[-1], False
    evidence = json.loads((here / "RUN" / "evidence.json").read_text())
    found = {f["endpoint"]: f["estimate"] for f in evidence["findings"] if not f["stratum"] and not f["condition"]}
    same = all(abs(found[name]["value"] - float(np.mean(values))) < 1e-9 for name, values in dice.items())
    exact = abs(found["volume"]["value"]) < 1e-9  # moved, not changed: the same volume
    said = " ".join(f"{n} {found[n]['value']:.4f} (numpy {np.mean(v):.4f})" for n, v in dice.items())
    return f"exit {done.returncode}: Dice {said}", same and exact and (here / "RUN" / "report.pdf").is_file()


def trials(folder: Path, flags: list[str], orientations: list[str]) -> Iterator[tuple[str, str, bool]]:
    """What was tried, what came of it, and whether that is right."""
    from evalsuite.inference.mask_store import read_masks
    from evalsuite.inference.predictions import read_predictions

    files = volumes(folder)
    placed = contract(orientation="LIA", spacing_mm=[1, 1, 1])
    code, text, _ = predicted(folder, "unsaid", files["LIA"], contract(), flags)
    yield "contract without orientation", f"exit {code}", code == 2 and "orientation" in text
    code, text, _ = predicted(folder, "silent", files["none"], placed, flags)
    yield "volume without orientation", f"exit {code}", code == 2 and "how it lies in the patient" in text
    first = None
    drawn: dict[str, np.ndarray] = {}
    for codes in orientations:
        code, text, run = predicted(folder, codes, files[codes], placed, flags)
        if code:
            yield f"stored {codes}", text.strip().splitlines()[-1], False
            continue
        row = read_predictions(run / "predictions.parquet").table.iloc[0]
        counts = {name: int(row[f"voxels_{name}"]) for name in VOXELS}
        mask = next(read_masks(run))
        turned = nibabel.as_closest_canonical(nibabel.Nifti1Image(mask.labels(), np.asarray(mask.grid.affine)))
        labels = np.asanyarray(turned.dataobj)
        drawn[codes] = mask.labels().astype(np.uint8)
        first = labels if first is None else first
        same = np.array_equal(labels, first) and mask.grid.orientation == codes
        yield f"stored {codes}", " ".join(f"{k} {v:,}" for k, v in counts.items()), counts == VOXELS and same
    two = dict(list(drawn.items())[:2])
    came, right = scored(folder, two, files, flags)
    yield f"scored, {len(two)} volumes", came, right


def main() -> int:
    """Print a line per trial; 1 where one is wrong, 0 with a word where the data are not here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orientations", nargs="+", default=["LIA", "RAS", "PSR"])
    parser.add_argument("--unsandboxed", action="store_true")
    ask = parser.parse_args()
    if not (SHARED / "real" / "mri_t1_brainchop").is_dir():
        sys.stdout.write("skipped: the real volume is not beside this checkout\n")
        return 0
    flags = ["--unsandboxed"] if ask.unsandboxed else []
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for what, came, right in trials(Path(folder), flags, ask.orientations):
            wrong += not right
            sys.stdout.write(f"{'ok   ' if right else 'WRONG'}  {what:30} {came}\n")
            sys.stdout.flush()
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
