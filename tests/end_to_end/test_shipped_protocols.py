"""Every protocol that ships, as `init` writes it, from its case-table template to a sealed report that verifies."""

from __future__ import annotations

import ast
import csv
import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from evalsuite.protocol.load import load_protocol, shipped_protocols
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record import ledger

from .conftest import Outcome

pytestmark = [pytest.mark.traced, pytest.mark.full_pdf]

N = 24
LESIONS = "case_id,x,y,z,diameter_mm,type,location"


def _outputs(protocol: StudyProtocol) -> list[str]:
    """Names of the model's outputs that the protocol's score is made of."""
    parts = protocol.task.score if isinstance(protocol.task.score, list) else [protocol.task.score]
    return sorted({n.id for part in parts for n in ast.walk(ast.parse(str(part))) if isinstance(n, ast.Name)})


def _mask(path: Path, seed: int, values: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((8, 8, 8), np.uint8)
    for i, value in enumerate(values):
        mask[2 * i : 2 * i + 2, 1:7, 1 : 6 + seed % 2] = value
    nib.save(nib.Nifti1Image(mask, np.diag([2.0, 2.0, 2.0, 1.0])), path)


def _fill(study: Path, protocol: StudyProtocol) -> None:
    """Case table, reference and recorded outputs of a made-up device; the two template rows are repeated."""
    header, *template = csv.reader((study / "cases.csv").read_text().splitlines())
    ids = [f"case-{i:04d}" for i in range(N)]
    rows = []
    for i, name in enumerate(ids):
        row = dict(zip(header, template[i % 2], strict=True), case_id=name, patient_id=f"patient-{i:04d}")
        del row["image"]  # recorded outputs need none; what a DICOM header would have told is a column
        row |= {str(s.column): "A" for s in protocol.strata if str(s.column).startswith("dicom:")}
        rows.append(row)
    match protocol.task.kind:
        case "segmentation":
            values = [int(v) for v in protocol.task.labels or [1]]
            for i, row in enumerate(rows):
                row["mask"] = f"masks/{ids[i]}.nii.gz"
                _mask(study / row["mask"], i, values)
                _mask(study / "device" / f"{ids[i]}.nii.gz", i + 1, values)
            outputs = ["case_id,mask", *(f"{name},device/{name}.nii.gz" for name in ids)]
        case "detection":
            lesions = [f"{name},10,10,{10 + i},{4 + i},solid,other" for i, name in enumerate(ids) if i % 2]
            (study / "lesions.csv").write_text("\n".join([LESIONS, *lesions]) + "\n")
            marks = [f"{name},0.9,10,10,{10 + i}" if i % 2 else f"{name},,,," for i, name in enumerate(ids)]
            outputs = ["case_id,score,x,y,z", *marks]
        case _ if protocol.readers is not None:
            readings = [
                f"{name},reader {r},{condition},{20 * r + (50 - 10 * r if i % 2 == 0 else 0) + 5 * (i % 3)}"
                for r in range(3)
                for condition in (protocol.readers.test, protocol.readers.control)
                for i, name in enumerate(ids)
            ]
            outputs = ["case_id,rater,condition,suspicion", *readings]
        case _:
            names = _outputs(protocol)
            scores = [",".join([name, *(f"{0.8 - 0.6 * (i % 2):.1f}" for _ in names)]) for i, name in enumerate(ids)]
            outputs = [",".join(["case_id", *names]), *scores]
    with open(study / "cases.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (study / "predictions.csv").write_text("\n".join(outputs) + "\n")


@pytest.mark.parametrize("name", sorted(set(shipped_protocols()) - {"drift_audit"}))  # test_audit.py runs that
def test_a_shipped_protocol_runs_as_shipped(name: str, tmp_path: Path, cli: Callable[..., Outcome]) -> None:
    study = tmp_path / "study"
    assert cli("init", study, "--from", name).code == 0
    protocol = load_protocol(study / "protocol.yaml")
    assert protocol == load_protocol(name)
    _fill(study, protocol)
    bound: tuple[object, ...] = ("--testset", study / "testset", "--model", study / "predictions.csv")
    if protocol.comparisons:
        bound = (*bound, "--baseline", study / "predictions.csv", "--original", study / "predictions.csv")
    verb = "compare" if protocol.comparisons else "run"
    for code, arguments in (
        ((0,), ("lock", study / "cases.csv", "--protocol", study / "protocol.yaml", "--out", study / "testset")),
        ((0,), ("freeze", study / "protocol.yaml", *bound, "--out", study / "frozen")),
        ((0, 1), (verb, study / "frozen", *bound, "--out", study / "run-1")),
        ((0,), ("verify", study / "run-1")),
    ):
        done = cli(*arguments)
        assert done.code in code, done.err
    steps = [e.action for e in ledger.read(study / "run-1" / "ledger.jsonl")]
    assert steps == ["locked", "frozen", "run_started", "predictions_sealed", "unblinded", "analysed", "reported"]
    assert json.loads((study / "run-1" / "verdict.json").read_text())["evidence"] is True
