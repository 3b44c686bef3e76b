import errno
import json
import os

import pandas as pd
import pytest
from testset_making import UTC, lock, write_image, write_table

from evalsuite.errors import CaseTableError, InputError, OutputError
from evalsuite.protocol.load import protocol_digest
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record import ledger
from evalsuite.record.canonical import canonical_json
from evalsuite.record.digest import sha256_bytes, sha256_file
from evalsuite.testset import open_reference, open_testset, verify_testset


def protocol(**changes):
    return StudyProtocol(
        **{
            "schema": "evalsuite/protocol/1",
            "id": "p",
            "version": "1",
            "title": "t",
            "kind": "standalone",
            "intended_use": {},
            "task": {"kind": "binary", "reference": "malignant", "score": "p"},
            "unit": {},
            "endpoints": [{"name": "auroc", "metric": "auroc"}],
            "seed": 1,
            **changes,
        }
    )


def problems(error):
    return [str(p) for p in error.value.problems]


def test_a_lock_holds_every_file_with_size_and_digest(table, tmp_path):
    testset = lock(table, tmp_path / "set")
    data = table.parent
    paths = ["../elsewhere/d.png", "images/a.png", "images/b.png", *(f"series/s1/{i}.bin" for i in range(3))]
    assert testset.lock["files"] == [
        {"path": p, "size": (data / p).stat().st_size, "sha256": sha256_file(data / p)} for p in paths
    ]
    assert testset.lock["counts"] == {
        "cases": 4,
        "patients": 3,
        "cases_without_patient": 1,
        "cases_with_image": 4,
        "files": 6,
        "bytes": 3_002_500,
    }
    assert testset.lock["schema"] == "evalsuite/testset/1"
    assert testset.lock["signature"] is None
    assert testset.lock["created_utc"] == UTC
    assert testset.set_id == "set"
    assert sorted(os.listdir(tmp_path / "set")) == [
        "cases.parquet",
        "intake.json",
        "ledger.jsonl",
        "location.json",
        "reference.parquet",
        "testset.lock.json",
    ]
    raw = (tmp_path / "set" / "testset.lock.json").read_bytes()
    assert raw == canonical_json(json.loads(raw))
    assert testset.digest == sha256_bytes(raw)


def test_the_first_ledger_entry_binds_lock_and_root(table, tmp_path):
    testset = lock(table, tmp_path / "set")
    (entry,) = ledger.read(tmp_path / "set" / "ledger.jsonl")
    assert (entry.action, entry.actor, entry.role, entry.utc) == ("locked", "A. Tester", "custodian", UTC)
    assert entry.objects == {"testset_lock": testset.digest, "testset_root": testset.root}


def test_cases_as_the_engine_sees_them(table, tmp_path):
    cases = lock(table, tmp_path / "set").cases
    assert [c.case_id for c in cases] == ["c1", "c2", "c3", "c4"]
    assert [c.patient_id for c in cases] == ["p1", "p1", "c3", "p4"]
    assert [c.site for c in cases] == ["H1", "H2", "H2", "H1"]
    assert cases[0].study_id == "s1"
    assert cases[0].sample_weight is None
    assert [[p.name for p in c.images["image"]] for c in cases] == [
        ["a.png"],
        ["b.png"],
        ["0.bin", "1.bin", "2.bin"],
        ["d.png"],
    ]
    assert all(p.is_file() for c in cases for p in c.images["image"])


def test_reference_and_strata_are_sealed_apart_from_the_rows(table, tmp_path):
    testset = lock(table, tmp_path / "set")
    rows = pd.read_parquet(tmp_path / "set" / "cases.parquet")
    sealed = pd.read_parquet(tmp_path / "set" / "reference.parquet")
    assert list(rows.columns) == ["case_id", "patient_id", "image", "study_id", "site"]
    assert list(sealed.columns) == ["malignant", "sex"]
    frame = open_reference(testset)
    assert list(frame.columns) == ["case_id", "patient_id", "study_id", "site", "malignant", "sex"]
    assert frame["malignant"].tolist() == ["0", "1", "1", "0"]
    assert frame["sex"].tolist() == ["f", "m", "", "f"]
    assert frame["patient_id"].tolist() == ["p1", "p1", "c3", "p4"]


def test_the_root_is_the_content_not_the_place_time_or_copy(table, tmp_path):
    one = lock(table, tmp_path / "one")
    two = lock(table, tmp_path / "deep" / "er" / "two", copy=True, set_id="x", set_version="2")
    assert one.root == two.root
    assert one.digest != two.digest
    frame = pd.read_csv(table, dtype=str, keep_default_na=False)
    frame.to_parquet(table.parent / "cases.parquet")
    assert lock(table.parent / "cases.parquet", tmp_path / "three").root == one.root


@pytest.mark.parametrize("change", ["image", "label", "row", "policy", "sealing"])
def test_any_change_of_content_changes_the_root(table, tmp_path, change):
    before = lock(table, tmp_path / "one", reference=["malignant"]).root
    options = {"reference": ["malignant"]}
    if change == "image":
        write_image(table.parent / "images" / "a.png", 99)
    if change == "label":
        table.write_text(table.read_text().replace("s1,0,f", "s1,1,f"))
    if change == "row":
        table.write_text(table.read_text().replace("H1", "H3"))
    if change == "policy":
        options = {"protocol": protocol(reuse_policy={"max_uses_per_case": 1})}
    if change == "sealing":
        options = {"reference": ["malignant", "sex"]}
    assert lock(table, tmp_path / "two", **options).root != before


def test_copy_carries_every_file_into_the_set(table, tmp_path):
    testset = lock(table, tmp_path / "set", copy=True)
    for case in testset.cases:
        assert all((tmp_path / "set" / "files") in p.parents for p in case.images["image"])
    os.rename(tmp_path / "set", tmp_path / "moved")
    os.rename(table.parent, tmp_path / "gone")
    assert open_testset(tmp_path / "moved").root == testset.root


def test_set_and_images_can_move_together(table, tmp_path):
    root = lock(table, table.parent / "sets" / "one").root
    # an image outside the table's folder would stay behind
    os.rename(tmp_path / "elsewhere", tmp_path / "new_elsewhere")
    (tmp_path / "there").mkdir()
    os.rename(table.parent, tmp_path / "there" / "data")
    os.rename(tmp_path / "new_elsewhere", tmp_path / "there" / "elsewhere")
    assert open_testset(tmp_path / "there" / "data" / "sets" / "one").root == root


@pytest.mark.parametrize("copy", [False, True])
def test_progress_ends_at_the_total(table, tmp_path, copy):
    seen = []
    lock(table, tmp_path / "set", copy=copy, on_progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (3_002_500, 3_002_500)
    assert seen == sorted(seen)


def test_what_reference_and_protocol_seal(table, tmp_path):
    assert lock(table, tmp_path / "a", reference=["malignant"]).lock["columns"]["sealed"] == ["malignant"]
    spec = protocol(strata=[{"name": "sex"}, {"name": "hospital", "column": "site"}], disclose=["study_id"])
    locked = lock(table, tmp_path / "b", protocol=spec)
    assert locked.lock["columns"]["sealed"] == ["malignant", "sex"]
    assert locked.cases[0].site == "H1"
    assert locked.lock["protocol"] == {"id": "p", "version": "1", "digest": protocol_digest(spec)}
    assert locked.lock["reuse_policy"] == {"max_uses_per_case": 3, "on_excess": "warn"}


def test_the_protocol_names_case_and_patient_columns(tmp_path):
    path = write_table(tmp_path, [{"img": "x", "lesion": "l1", "malignant": "1"}])
    locked = lock(path, tmp_path / "set", protocol=protocol(unit={"case": "img", "cluster": "lesion"}))
    assert (locked.cases[0].case_id, locked.cases[0].patient_id) == ("x", "l1")
    assert not locked.has_images
    with pytest.raises(CaseTableError) as error:
        lock(path, tmp_path / "other", protocol=protocol(unit={"case": "img", "cluster": "lesions"}))
    assert problems(error) == ["no column 'lesions' @ patient column   did you mean 'lesion'?"]


def test_a_protocol_and_a_command_that_disagree(tmp_path):
    path = write_table(tmp_path, [{"img": "x", "lesion": "l1", "malignant": "1"}])
    spec = protocol(unit={"case": "img", "cluster": "lesion"})
    assert lock(path, tmp_path / "set", protocol=spec, case_column="img", patient_column="lesion").cases
    with pytest.raises(InputError, match=r"unit\.cluster is 'lesion', the command says 'img'"):
        lock(path, tmp_path / "other", protocol=spec, patient_column="img")


def test_without_patients_every_case_is_its_own(tmp_path):
    locked = lock(write_table(tmp_path, [{"case_id": "a", "y": "1"}, {"case_id": "b", "y": "0"}]), tmp_path / "set")
    assert [c.patient_id for c in locked.cases] == ["a", "b"]
    assert locked.lock["unit"] == {"case_column": "case_id", "patient_column": None}
    assert locked.lock["columns"]["patient"] is None
    assert locked.lock["counts"]["cases_without_patient"] == 2


def test_a_case_without_patient_never_joins_a_patient_of_the_same_name(tmp_path):
    rows = [{"case_id": "a", "patient_id": "b", "y": "1"}, {"case_id": "b", "patient_id": "", "y": "0"}]
    locked = lock(write_table(tmp_path, rows), tmp_path / "set")
    assert [c.patient_id for c in locked.cases] == ["b", "case:b"]
    assert open_reference(locked)["patient_id"].tolist() == ["b", "case:b"]


def test_several_image_columns_masks_and_words_that_look_like_folders(tmp_path):
    for name in ("t1/a", "t1/b", "fl/a", "fl/b", "m/a", "m/b"):
        write_image(tmp_path / name, len(name))
    (tmp_path / "train").mkdir()
    rows = [
        {"case_id": i, "t1": f"t1/{i}", "flair": f"fl/{i}", "mask": f"m/{i}", "fold": "train", "image_id": f"x{i}"}
        for i in "ab"
    ]
    locked = lock(write_table(tmp_path, rows), tmp_path / "set")
    assert locked.lock["columns"]["image"] == ["t1", "flair"]
    assert locked.lock["columns"]["sealed"] == ["mask", "fold", "image_id"]
    assert locked.lock["columns"]["reference_files"] == ["mask"]
    assert sorted(locked.cases[0].images) == ["flair", "t1"]
    assert len(locked.lock["files"]) == 6  # a changed mask changes the reference standard
    again = lock(tmp_path / "cases.csv", tmp_path / "set2", reference=["flair", "mask"])
    assert again.lock["columns"]["image"] == ["t1"]
    assert again.lock["columns"]["reference_files"] == ["flair", "mask"]


def test_an_empty_image_cell_is_a_case_without_image(table, tmp_path):
    table.write_text(table.read_text().replace("images/a.png", ""))
    locked = lock(table, tmp_path / "set")
    assert locked.cases[0].images == {}
    assert locked.lock["counts"]["cases_with_image"] == 3


def test_the_image_column_may_name_the_cases(table, tmp_path):
    rows = [{"image": "images/a.png", "y": "1"}, {"image": "images/b.png", "y": "0"}]
    path = write_table(table.parent, rows, "other.csv")
    locked = lock(path, tmp_path / "set", case_column="image")
    assert [c.case_id for c in locked.cases] == ["images/a.png", "images/b.png"]
    assert locked.cases[0].images["image"][0].name == "a.png"
    assert list(open_reference(locked).columns) == ["image", "y"]
    path.write_text(path.read_text().replace("images/a", "./images/a"))
    with pytest.raises(CaseTableError, match="written in another way"):
        lock(path, tmp_path / "set2", case_column="image")


def test_sample_weights(tmp_path):
    rows = [{"case_id": "a", "sample_weight": "0.5", "y": "1"}, {"case_id": "b", "sample_weight": "2", "y": "1"}]
    path = write_table(tmp_path, rows)
    assert [c.sample_weight for c in lock(path, tmp_path / "set").cases] == [0.5, 2.0]
    for bad in ("0", "-1", "nan", "inf", "x", ""):
        path.write_text(f"case_id,sample_weight,y\na,{bad},1\nb,1,1\n")
        with pytest.raises(CaseTableError, match="sample_weight is not a number above 0 @ row 2"):
            lock(path, tmp_path / "bad")


def test_everything_wrong_with_a_table_is_said_at_once(table, tmp_path):
    lines = table.read_text().splitlines()
    statuses = ["reference_status", "ok", "", "missing", "established"]
    lines = [f"{line},{status}" for line, status in zip(lines, statuses, strict=True)]
    lines[2] = lines[2].replace("c2", "c1").replace("./images/../images/b.png", "images/none.png")
    lines[3] = lines[3].replace("c3", " ").replace("series/s1", "series/s9")
    table.write_text("\n".join(lines))
    with pytest.raises(CaseTableError) as error:
        lock(table, tmp_path / "set", reference=["malignent"])
    assert problems(error) == [
        "no column 'malignent' @ --reference   did you mean 'malignant'?",
        "empty case_id @ row 4",
        "case_id c1 is not unique @ rows 2, 3",
        "reference_status is none of established, equivocal, missing @ rows 2, 3",
        "images/none.png: no such file @ case c1, column 'image'",
        "series/s9: no such file @ case  , column 'image'",
    ]
    assert not (tmp_path / "set").exists()


def test_columns_a_protocol_names_that_are_not_there(table, tmp_path):
    spec = protocol(
        task={"kind": "binary", "reference": "malign", "score": "p"},
        strata=[{"name": "gender"}, {"name": "age", "column": "age_years", "bins": [40]}],
        disclose=["country"],
    )
    with pytest.raises(CaseTableError) as error:
        lock(table, tmp_path / "set", protocol=spec)
    assert [p.what for p in error.value.problems] == [
        f"no column {c!r}" for c in ("malign", "gender", "age_years", "country")
    ]
    assert [p.where for p in error.value.problems][:2] == ["task.reference", "stratum 'gender'"]


@pytest.mark.parametrize("text", ["case_id,y\n", "", "id,y\n1,1\n"])
def test_empty_tables_and_tables_without_case_id(tmp_path, text):
    (tmp_path / "cases.csv").write_text(text)
    with pytest.raises(CaseTableError, match=r"no rows|empty|no column 'case_id'"):
        lock(tmp_path / "cases.csv", tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_the_case_column_cannot_be_the_reference(table, tmp_path):
    with pytest.raises(CaseTableError, match="cannot be the reference"):
        lock(table, tmp_path / "set", reference=["case_id"])


def test_an_empty_series_folder_is_a_problem(table, tmp_path):
    for path in (table.parent / "series" / "s1").iterdir():
        path.unlink()
    with pytest.raises(CaseTableError, match="series/s1: the folder is empty"):
        lock(table, tmp_path / "set")


def test_a_locked_set_and_a_used_folder_are_never_overwritten(table, tmp_path):
    lock(table, tmp_path / "set")
    before = {p.name: p.read_bytes() for p in (tmp_path / "set").iterdir()}
    with pytest.raises(InputError, match="locked test set already") as error:
        lock(table, tmp_path / "set")
    assert error.value.hint
    assert {p.name: p.read_bytes() for p in (tmp_path / "set").iterdir()} == before
    with pytest.raises(InputError, match="not empty"):
        lock(table, table.parent)
    with pytest.raises(InputError, match="not empty"):
        lock(table, table)


def test_an_empty_folder_is_fine(table, tmp_path):
    (tmp_path / "set").mkdir()
    root = lock(table, tmp_path / "set").root
    assert open_testset(tmp_path / "set").root == root
    assert all(c.status in ("holds", "absent") for c in verify_testset(tmp_path / "set"))


def test_a_set_inside_one_of_its_series_is_refused(table, tmp_path):
    with pytest.raises(InputError, match="lies inside series/s1"):
        lock(table, table.parent / "series" / "s1" / "set")


@pytest.mark.parametrize("copy", [False, True])
def test_a_full_disk_leaves_nothing_behind(table, tmp_path, monkeypatch, copy):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(
        "evalsuite.record.digest.os.write" if copy else "evalsuite.record.files.os.replace", full, raising=True
    )
    (tmp_path / "sets").mkdir()
    with pytest.raises(OutputError, match="No space left"):
        lock(table, tmp_path / "sets" / "set", copy=copy)
    assert os.listdir(tmp_path / "sets") == []


def test_no_permission_to_write(table, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("evalsuite.testset.lock.tempfile.mkdtemp", refuse)
    with pytest.raises(OutputError, match="Permission denied") as error:
        lock(table, tmp_path / "set")
    assert "permission" in error.value.hint


def test_ctrl_c_leaves_nothing_behind(table, tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    (tmp_path / "sets").mkdir()
    with pytest.raises(KeyboardInterrupt):
        lock(table, tmp_path / "sets" / "set", on_progress=stop)
    assert os.listdir(tmp_path / "sets") == []


def test_an_unreadable_image_is_named(table, tmp_path, monkeypatch):
    from evalsuite.testset import reading

    real = reading._whole

    def refuse(source, *rest):
        if source.endswith("a.png"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(source, *rest)

    monkeypatch.setattr(reading, "_whole", refuse)
    with pytest.raises(CaseTableError, match=r"images/a\.png: Permission denied"):
        lock(table, tmp_path / "set")


def test_real_dermoscopy_table(shared_real, tmp_path):
    locked = lock(
        shared_real / "derm_ham10000" / "labels.csv",
        tmp_path / "set",
        reference=["malignant"],
        case_column="image_id",
        patient_column="lesion_id",
    )
    assert len(locked.cases) == locked.lock["counts"]["files"] == 1000
    assert locked.lock["columns"]["image"] == ["image"]


@pytest.mark.slow
def test_a_table_of_112120_rows(shared_real, tmp_path):
    locked = lock(
        shared_real / "nih_cxr14_metadata" / "Data_Entry_2017_v2020.csv.gz",
        tmp_path / "set",
        case_column="Image Index",
        patient_column="Patient ID",
    )
    assert locked.lock["counts"]["cases"] == 112_120
    assert locked.lock["counts"]["patients"] == 30_805
    assert not locked.has_images
