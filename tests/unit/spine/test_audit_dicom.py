"""DICOM files and a prediction log as a window: every file a case, one to one, and nobody named."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from evalsuite.errors import CaseTableError, EvalsuiteError, InputError
from evalsuite.protocol.load import load_protocol
from evalsuite.spine.audit_dicom import CaseUid, DicomWindow, window_table
from tests.small_dicom import write_dicom


@pytest.fixture
def files(tmp_path: Path) -> list[dict[str, str]]:
    """Four images of two patients, and what is no image."""
    place = tmp_path / "pacs"
    made = [write_dicom(place / f"{i % 2}" / f"{i}.dcm", seed=i, patient=f"MRN-{i // 2}") for i in range(4)]
    (place / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (place / "notes.txt").write_text("no image", encoding="utf-8")
    return made


def _table(path: Path, rows: list[str], uid: CaseUid = "SOPInstanceUID", files: str = "pacs") -> list[dict[str, str]]:
    (path / "log.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    window = DicomWindow(files=path / files, log=path / "log.csv", uid=uid)
    text = window_table(window, load_protocol("drift_audit"), path / "out.window").decode()
    return list(csv.DictReader(io.StringIO(text)))


def test_rows_keep_their_order_and_patients_become_numbers(tmp_path: Path, files: list[dict[str, str]]) -> None:
    uids = [f["SOPInstanceUID"] for f in files]
    rows = _table(tmp_path, ["case_id,malignant", *(f"{u},1" for u in reversed(uids))])
    assert [r["case_id"] for r in rows] == uids[::-1]
    assert [r["image"] for r in rows] == [f"../pacs/{i % 2}/{i}.dcm" for i in (3, 2, 1, 0)]
    assert [r["patient_id"] for r in rows] == ["patient-00001", "patient-00001", "patient-00002", "patient-00002"]
    named = _table(tmp_path, ["case_id,patient_id,malignant", *(f"{u},x{i},1" for i, u in enumerate(uids))])
    assert [r["patient_id"] for r in named] == ["x0", "x1", "x2", "x3"]
    own = _table(tmp_path, ["case_id,SOPInstanceUID", *(f"c{i},{u}" for i, u in enumerate(uids))])
    assert own[2] == {"case_id": "c2", "image": "../pacs/0/2.dcm", "patient_id": "patient-00002"}
    part = _table(tmp_path, ["case_id", uids[0], uids[2]], files="pacs/0/*.dcm")
    assert [r["image"] for r in part] == ["../pacs/0/0.dcm", "../pacs/0/2.dcm"]


def test_what_does_not_belong_together_is_counted_and_nobody_is_named(
    tmp_path: Path, files: list[dict[str, str]]
) -> None:
    uids = [f["SOPInstanceUID"] for f in files]
    pacs = tmp_path / "pacs"

    def refused(rows: list[str], kind: type[EvalsuiteError] = InputError, uid: CaseUid = "SOPInstanceUID") -> str:
        with pytest.raises(kind) as error:
            _table(tmp_path, rows, uid)
        said = "\n".join([str(error.value), *(f"{p.what} {p.where} {p.hint}" for p in error.value.problems)])
        assert "2.25." not in said
        assert "MRN" not in said
        return said

    said = refused(["case_id", *uids[:2], "unseen-1", "unseen-2", "unseen-3"])
    assert "2 cases (2 files) have no row in the log" in said
    assert "3 rows of the log have no file rows 4, 5, 6" in said
    assert "no column 'case_id'" in refused(["id", *uids], CaseTableError)
    assert "a column 'image'" in refused(["case_id,image", *(f"{u},x" for u in uids)], CaseTableError)
    assert "2 rows with the value of another" in refused(["case_id", *uids, uids[0]], CaseTableError)
    copy = pacs / "1" / "copy"
    copy.write_bytes((pacs / "0" / "0.dcm").read_bytes())  # DICOM is told by its mark, not by its name
    assert "2 files of the window have the same SOPInstanceUID" in refused(["case_id", *uids])
    copy.unlink()
    write_dicom(pacs / "0" / "0.dcm", seed=0, patient="")
    assert "the files of 1 cases have no PatientID row 2" in refused(["case_id", *uids])
    (pacs / "0" / "0.dcm").write_bytes(b"MRN-0" * 9)  # named so, and none
    assert "1 of 4 files cannot be read as DICOM" in refused(["case_id", *uids])
    for i in range(4):
        (pacs / f"{i % 2}" / f"{i}.dcm").unlink()
    assert "holds no DICOM file" in refused(["case_id", *uids])


def test_slices_of_a_series_are_one_case_in_a_folder_of_its_own(tmp_path: Path) -> None:
    pacs = tmp_path / "pacs"
    made = [write_dicom(pacs / f"s{i // 3}" / f"{i}", seed=i, series=f"s{i // 3}", patient="MRN") for i in range(6)]
    log = ["case_id", made[0]["SeriesInstanceUID"], made[3]["SeriesInstanceUID"]]
    assert [r["image"] for r in _table(tmp_path, log, "SeriesInstanceUID")] == ["../pacs/s0", "../pacs/s1"]
    (pacs / "s0" / "5").write_bytes((pacs / "s1" / "5").read_bytes())
    (pacs / "s1" / "5").unlink()
    with pytest.raises(InputError, match="not one series in a folder of its own"):
        _table(tmp_path, log, "SeriesInstanceUID")
