"""What the intake checks find: one small set with everything wrong, and the same checks on a clean one."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from testset_making import lock, write_table

from evalsuite.errors import CaseTableError, InputError, LockError
from evalsuite.imaging.header_processes import HeaderTask
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.digest import sha256_bytes
from evalsuite.testset import IntakeOptions, open_testset, read_intake
from evalsuite.testset.intake.look import look, pixel_bytes
from evalsuite.testset.intake.near_duplicates import alike_pairs
from evalsuite.testset.taking_in import to_decode


def scene(seed: int, side: int = 128) -> np.ndarray:
    """A smooth image with structure of its own."""
    noise = np.random.default_rng(seed).normal(size=(8, 8)).astype(np.float32)
    big = cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.normalize(big, None, 10, 240, cv2.NORM_MINMAX), dtype=np.uint8)


def write_png(path: Path, pixels: np.ndarray, *, level: int = 3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels, [cv2.IMWRITE_PNG_COMPRESSION, level])


def write_dicom(path: Path, pixels: np.ndarray, **header: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.Modality = "1.2.840.10008.5.1.4.1.1.2", "CT"
    data.SOPInstanceUID = f"1.2.3.{abs(hash(path.name)) % 10**9}"
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.PixelData = pixels.tobytes()
    for keyword, value in header.items():
        setattr(data, keyword, value)
    data.save_as(path, enforce_file_format=True)


def rows_of(testset) -> dict[str, dict]:
    report = read_intake(testset)
    assert report is not None
    return {row["check"]: row for row in report["rows"]}


def protocol(**more: object) -> StudyProtocol:
    return StudyProtocol(
        schema="evalsuite/protocol/1", id="p", version="1", title="t", kind="standalone", intended_use={},
        task={"kind": "binary", "reference": "y", "score": "p"}, unit={},
        endpoints=[{"name": "auroc", "metric": "auroc"}], strata=[{"name": "sex"}], seed=1, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Every kind of oddity, locked once."""
    base = tmp_path_factory.mktemp("odd")
    data = base / "data"
    text = cv2.putText(np.full((200, 400), 20, np.uint8), "DOE JOHN 19700101", (10, 100), 0, 1.0, 255, 2)
    write_png(data / "a.png", scene(1))
    write_png(data / "same_file.png", scene(1))
    write_png(data / "same_pixels.png", scene(1), level=9)
    write_png(data / "near.png", cv2.resize(scene(2), (90, 90), interpolation=cv2.INTER_AREA))
    write_png(data / "original.png", scene(2))
    write_png(data / "text.png", text)
    write_png(data / "whole.png", scene(3))
    (data / "cut.png").write_bytes((data / "whole.png").read_bytes()[:300])
    write_dicom(
        data / "canary_jane.dcm", scene(4), PatientName="Canary^Jane", PatientBirthDate="29990101", PatientSize="180",
        BurnedInAnnotation="YES", Modality="MR", PixelSpacing=[0.0, 0.5],
    )  # fmt: skip
    names = ["a", "same_file", "same_pixels", "near", "original", "text", "whole", "cut"]
    cases = [
        {"case_id": n, "patient_id": f"p{i}", "image": f"{n}.png", "y": str(i % 2), "sex": "f"}
        for i, n in enumerate(names)
    ]
    cases.append({"case_id": "d", "patient_id": "p1", "image": "canary_jane.dcm", "y": "", "sex": "m"})
    development = base / "development.csv"
    development.write_text(f"Patient ID,sha256\np6,\n,{sha256_bytes((data / 'text.png').read_bytes()).upper()}\n")
    plan = {"cases": 9, "positives": 5, "negatives": 4, "strata": {"sex": {"f": 8, "m": 2}}}
    found = lock(
        write_table(data, cases), base / "set", protocol=protocol(plan=plan),
        intake=IntakeOptions(development=development),
    )  # fmt: skip
    return data, base, found, rows_of(found)


def test_copies_are_found_as_files_and_as_pixels(odd):
    rows = odd[3]
    assert rows["same_file"]["groups"] == [["a", "same_file"]]
    assert rows["same_pixels"]["groups"] == [["a", "same_file", "same_pixels"]]
    assert rows["near_duplicates"]["groups"] == [["near", "original"]]
    assert rows["near_duplicates"]["counts"]["groups_across_patients"] == 1
    assert [rows[c]["outcome"] for c in ("same_file", "same_pixels", "near_duplicates")] == [
        "problem", "problem", "warning",
    ]  # fmt: skip


def test_development_data_are_matched_by_patient_and_digest(odd):
    row = odd[3]["development"]
    assert row["outcome"] == "problem"
    assert row["cases"] == ["text", "whole"]
    assert row["counts"] == {"by_patient_id": 1, "by_file_sha256": 1, "cases": 2}


def test_damage_and_text_and_headers_are_found(odd):
    rows = odd[3]
    assert (rows["decode"]["outcome"], rows["decode"]["cases"]) == ("problem", ["cut"])
    assert rows["burned_in"]["cases"] == ["text", "d"]
    assert rows["headers"]["cases"] == ["d"]
    for phrase in ("PatientBirthDate lies in the future", "PatientSize is", "PixelSpacing is", "does not fit the SOP"):
        assert phrase in rows["headers"]["summary"]
    assert rows["transfer_syntax"]["outcome"] == "ok"


def test_identifiers_are_named_by_tag_and_never_by_value(odd):
    _, base, _, rows = odd
    assert rows["identifiers"]["counts"] == {"files": 1, "dicom_files": 1, "PatientBirthDate": 1, "PatientName": 1}
    assert rows["names"]["counts"]["header_value"] == 1
    assert "PatientName" in rows["names"]["summary"]
    text = (base / "set" / "intake.json").read_text()
    assert "canary" not in text.casefold()
    assert "2999" not in text


def test_counts_gaps_and_patients(odd):
    rows = odd[3]
    assert rows["plan"]["outcome"] == "problem"
    assert "positives 4 of 5" in rows["plan"]["summary"]
    assert "sex = m 1 of 2" in rows["plan"]["summary"]
    assert rows["plan"]["counts"]["negatives"] == 4
    assert rows["reference_gaps"]["counts"]["y empty"] == 1
    assert rows["reference_gaps"]["cases"] == [], "which cases lack a reference is sealed"
    assert rows["several_per_patient"]["counts"]["patients_with_several_cases"] == 1


def test_the_lock_binds_the_report(odd, tmp_path):
    _, base, found, _ = odd
    data = (base / "set" / "intake.json").read_bytes()
    assert found.lock["intake"]["digest"] == sha256_bytes(data)
    try:
        (base / "set" / "intake.json").write_bytes(data.replace(b'"cut"', b'"cat"'))
        with pytest.raises(LockError, match=r"intake\.json was changed"):
            open_testset(base / "set")
    finally:
        (base / "set" / "intake.json").write_bytes(data)
    open_testset(base / "set")


def test_the_same_set_gives_the_same_report(odd, tmp_path):
    data, base, found, _ = odd
    again = lock(
        data / "cases.csv", tmp_path / "again", protocol=protocol(plan={"cases": 9, "positives": 5, "negatives": 4,
        "strata": {"sex": {"f": 8, "m": 2}}}), intake=IntakeOptions(development=base / "development.csv"),
    )  # fmt: skip
    assert again.lock["intake"] == found.lock["intake"]
    assert again.root == found.root


def test_strict_lists_everything_that_stops(odd, tmp_path):
    data, base, *_ = odd
    options = IntakeOptions(strict=True, development=base / "development.csv")
    with pytest.raises(CaseTableError) as error:
        lock(data / "cases.csv", tmp_path / "set", reference=["y"], intake=options)
    where = [p.where for p in error.value.problems if p.where]
    assert where == ["case text", "case whole", "case cut"]
    assert not (tmp_path / "set").exists()


def test_nothing_is_looked_at_with_none(odd, tmp_path):
    data = odd[0]
    rows = rows_of(lock(data / "cases.csv", tmp_path / "set", intake=IntakeOptions(decode="none")))
    assert rows["decode"]["outcome"] == "not_checked"
    assert rows["same_file"]["outcome"] == "problem", "file digests are known without decoding"
    assert rows["headers"]["outcome"] == "warning", "headers are read all the same"
    assert rows["development"]["summary"] == "not verifiable: no development manifest was given"


def test_a_clean_set_has_no_findings(tmp_path):
    for i in range(6):
        write_png(tmp_path / "d" / f"{i}.png", scene(100 + i))
    rows = [
        {"case_id": f"c{i}", "patient_id": f"p{i}", "image": f"{i}.png", "y": str(i % 2), "sex": "f"} for i in range(6)
    ]
    known = tmp_path / "known.csv"
    known.write_text("patient_id\nsomebody else\n")
    found = lock(
        write_table(tmp_path / "d", rows), tmp_path / "set", protocol=protocol(plan={"cases": 6}),
        intake=IntakeOptions(development=known),
    )  # fmt: skip
    assert found.lock["intake"]["problems"] == found.lock["intake"]["warnings"] == 0
    assert {r["outcome"] for r in rows_of(found).values()} == {"ok", "not_checked"}


def test_a_manifest_that_cannot_be_compared(odd, tmp_path):
    manifest = tmp_path / "m.csv"
    manifest.write_text("colour\nred\n")
    with pytest.raises(InputError, match="no column that can be compared"):
        lock(odd[0] / "cases.csv", tmp_path / "set", intake=IntakeOptions(development=manifest))


def test_a_manifest_may_hold_pixel_digests(odd, tmp_path):
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"pixel_sha256\n{sha256_bytes(pixel_bytes(scene(1)))}\n")
    rows = rows_of(lock(odd[0] / "cases.csv", tmp_path / "set", intake=IntakeOptions(development=manifest)))
    assert rows["development"]["cases"] == ["a", "same_file", "same_pixels"]


def test_pixel_bytes_name_type_and_shape():
    assert pixel_bytes(np.array([[1, 2]], dtype=">u2")) == b"<u2 1x2\n\x01\x00\x02\x00"


def test_a_look_never_raises_on_damage():
    nothing = HeaderTask(today=date(2026, 1, 1), pseudonyms=(), keywords=(), with_attributes=())
    for data in (b"", b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM" + b"\xff" * 50, b"%PDF-1.4", b"\x89PNG\r\n\x1a\n"):
        seen = look(data, name="x", decode=True, headers=nothing)
        assert seen.decoded not in ("", "ok")


def test_alike_pairs_does_not_depend_on_order_or_block():
    from evalsuite.imaging.likeness import likeness

    found = [likeness(scene(i)) for i in range(20)] + [likeness(scene(3)), likeness(scene(7))]
    assert alike_pairs(found) == [(3, 20), (7, 21)]


def test_a_sample_is_even_and_bounded():
    names = [f"{i}" for i in range(1000)]
    sizes = dict.fromkeys(names, 2_000_000)
    chosen = to_decode("auto", names, sizes)
    assert len(chosen) == 200
    assert {"0", "5", "995"} <= chosen
    assert to_decode("all", names, sizes) == frozenset(names)
    assert to_decode("none", names, sizes) == frozenset()
    assert to_decode("auto", names, dict.fromkeys(names, 1000)) == frozenset(names)


def test_real_images_have_no_false_copies(shared_real, tmp_path):
    table = shared_real / "cxr_hannover" / "labels.csv"
    rows = rows_of(lock(table, tmp_path / "set", case_column="image"))
    assert rows["near_duplicates"]["outcome"] == "ok"
    assert rows["decode"]["counts"] == {"files": 0, "looked_at": 128}
    assert rows["burned_in"]["counts"]["seen"] == 0


def test_of_an_encrypted_reference_not_even_sums_are_told(odd, tmp_path):
    from evalsuite.testset.encryption import write_reference_key

    data, *_ = odd
    key = write_reference_key(tmp_path / "reference.key")
    plan = {"positives": 5, "negatives": 4}
    rows = rows_of(lock(data / "cases.csv", tmp_path / "set", protocol=protocol(plan=plan), reference_key=key))
    assert rows["plan"]["summary"] == "1 of 2 planned counts are not reached: positives below 5"
    assert rows["plan"]["counts"] == {"positives planned": 5, "negatives planned": 4}
    assert rows["reference_gaps"]["outcome"] == "not_checked"


def test_many_headers_are_read_after_hashing_and_the_lock_is_the_same(tmp_path, monkeypatch):
    cells = []
    for i in range(6):
        write_dicom(tmp_path / "data" / f"{i}.dcm", scene(i, 16), PatientName="DOE^JANE", Manufacturer=f"M{i % 2}")
        cells.append({"case_id": f"c{i}", "image": f"{i}.dcm", "truth": str(i % 2)})
    table = write_table(tmp_path / "data", cells)
    locks = []
    for name, worth_it in (("few", 1000), ("many", 1)):
        monkeypatch.setattr("evalsuite.testset.reading.WORTH_IT", worth_it)
        told: list[tuple[int, int]] = []
        made = lock(
            table,
            tmp_path / name,
            set_id="s",
            intake=IntakeOptions(decode="none"),
            on_progress=lambda done, total, told=told: told.append((done, total)),
        )
        assert told[-1][0] == told[-1][1] == made.lock["counts"]["bytes"]
        locks.append(made)
    assert locks[0].lock == locks[1].lock
    assert "dicom:Manufacturer" in locks[1].lock["columns"]["dicom"]
    assert read_intake(locks[0]) == read_intake(locks[1])
